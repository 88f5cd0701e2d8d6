/*
 * Tool calls and tool declarations in all their spellings: nested in "function" or flat, arguments as an
 * object or as its text, "parameters" or "arguments" for the schema. All come out in one form.
 */
#include "jsonl_row.h"

enum { MAX_TOOLS = 1024 }; /* of one row; the search of a call's tool is linear */

/* ------------------------------------------------------------------------------------ tool calls */

/* Arguments as text or value -> a value; the text must be a JSON object. */
static cJSON *canon_arguments(canon *c, cJSON *arguments, const spot *where)
{
    if (cJSON_IsObject(arguments)) { return arguments; }
    if (!cJSON_IsString(arguments)) {
        fault(c, "arguments_type", where, "expected an object or its JSON text, found %s",
              kind_of(arguments));
        return arguments;
    }
    cJSON *value = NULL;
    fmp_err err = FMP_ERR_INIT;
    if (fmp_json_parse(arguments->valuestring, strlen(arguments->valuestring), NULL, &value, &err) !=
        FMP_OK) {
        fault(c, "arguments_not_json", where,
              "expected the JSON text of an object: %s (byte %llu of the string)", err.message,
              (unsigned long long)err.offset + 1);
        return arguments;
    }
    if (!cJSON_IsObject(value)) {
        fault(c, "arguments_type", where, "expected the JSON text of an object, found that of %s",
              kind_of(value));
    }
    return value;
}

static void check_type(canon *c, const char *reason, const cJSON *type, const spot *up)
{
    char word[48];
    spot where = {.up = up, .key = "type"};
    if (!cJSON_IsString(type)) {
        fault(c, reason, &where, "expected \"function\", found %s", kind_of(type));
    } else if (strcmp(type->valuestring, "function") != 0) {
        fault(c, reason, &where, "expected \"function\", found '%s'",
              quoted(word, sizeof word, type->valuestring));
    }
}

/*
 * A call's id, type and index (left over from streaming: the list's order says it); false if `m` is
 * none of them.
 */
static bool take_call_frame(canon *c, cJSON *call, cJSON *m, cJSON **id, const spot *where)
{
    if (is_key(m, "id")) {
        spot here = {.up = where, .key = "id"};
        if (cJSON_IsString(m)) {
            *id = move_out(call, m);
        } else if (!cJSON_IsNull(m)) {
            fault(c, "call_id", &here, "expected the call's id as text, found %s", kind_of(m));
        }
        return true;
    }
    if (is_key(m, "type")) {
        check_type(c, "call_type", m, where);
        return true;
    }
    return is_key(m, "index");
}

/*
 * Name and arguments of `function`, the object that a call nests or, in the flat spelling, the call
 * itself.
 */
static void take_function(canon *c, cJSON *function, bool flat, cJSON **name, cJSON **arguments,
                          const spot *where)
{
    static const char *const known[] = {"name", "arguments", NULL};
    cJSON *next;
    for (cJSON *m = cJSON_IsObject(function) ? function->child : NULL; m; m = next) {
        next = m->next;
        if (is_key(m, "name")) {
            *name = move_out(function, m);
        } else if (is_key(m, "arguments")) {
            spot here = {.up = where, .key = "arguments"};
            *arguments = canon_arguments(c, move_out(function, m), &here);
        } else if (!flat || !(is_key(m, "type") || is_key(m, "index") || is_key(m, "id"))) {
            unknown_key(c, where, m->string, "a tool call's function", known);
        }
    }
}

/*
 * {id?, type?, function:{name, arguments}} or {id?, type?, name, arguments} -> {id?, type,
 * function:{name, arguments}}
 */
cJSON *canon_call(canon *c, cJSON *call, const spot *where)
{
    static const char *const known[] = {"id", "type", "function", NULL};
    cJSON *id = NULL, *name = NULL, *arguments = NULL, *next;
    if (!cJSON_IsObject(call)) {
        fault(c, "call_type", where, "expected an object with 'function', found %s", kind_of(call));
        return NULL;
    }
    cJSON *nested = cJSON_GetObjectItemCaseSensitive(call, "function");
    spot below = {.up = where, .key = "function"};
    for (cJSON *m = call->child; m; m = next) {
        next = m->next;
        if (m != nested && !take_call_frame(c, call, m, &id, where) && nested) {
            unknown_key(c, where, m->string, "a tool call", known);
        }
    }
    take_function(c, nested ? nested : call, !nested, &name, &arguments, nested ? &below : where);
    if (!cJSON_IsString(name) || !name->valuestring[0]) {
        fault(c, "call_name", nested ? &below : where, "expected the tool's name as a string, found %s",
              kind_of(name));
        return NULL;
    }
    if (!arguments) {
        char word[64];
        fault(c, "arguments_missing", nested ? &below : where,
              "the call of '%s' has no 'arguments'; expected an object, {} for none",
              quoted(word, sizeof word, name->valuestring));
        return NULL;
    }
    cJSON *out = cJSON_CreateObject(), *fn = cJSON_CreateObject();
    put(out, "id", id);
    put_string(out, "type", "function");
    put(fn, "name", name);
    put(fn, "arguments", arguments);
    put(out, "function", fn);
    return out;
}

cJSON *canon_calls(canon *c, cJSON *calls, const spot *where)
{
    cJSON *out = cJSON_CreateArray(), *next;
    spot one_at = {.up = where};
    if (!cJSON_IsArray(calls)) {
        fault(c, "calls_type", where, "expected an array of tool calls, found %s", kind_of(calls));
        return out;
    }
    for (cJSON *call = calls->child; call; call = next, one_at.index++) {
        next = call->next;
        cJSON *one = canon_call(c, move_out(calls, call), &one_at);
        if (one) { cJSON_AddItemToArray(out, one); }
    }
    if (one_at.index == 0) {
        fault(c, "calls_empty", where, "expected at least one tool call, found an empty array");
    }
    return out;
}

/* ---------------------------------------------------------------------------------------------- tools */

/* The members of {"type":"function","function":{…}} around the declaration itself. */
static void check_tool_frame(canon *c, const cJSON *tool, const spot *where)
{
    static const char *const known[] = {"type", "function", NULL};
    for (const cJSON *m = tool->child; m; m = m->next) {
        if (is_key(m, "type")) {
            check_type(c, "tool_type", m, where);
        } else if (!is_key(m, "function")) {
            unknown_key(c, where, m->string, "a tool", known);
        }
    }
}

static void check_tool(canon *c, const cJSON *name, const cJSON *description, const cJSON *parameters,
                       const spot *where)
{
    char word[64];
    if (!cJSON_IsString(name) || !name->valuestring[0]) {
        fault(c, "tool_name", where, "expected the tool's name as a string, found %s", kind_of(name));
        return;
    }
    if (description && !cJSON_IsString(description)) {
        fault(c, "tool_description", where, "expected the description of '%s' as text, found %s",
              quoted(word, sizeof word, name->valuestring), kind_of(description));
    }
    if (parameters && !cJSON_IsObject(parameters)) {
        fault(c, "tool_parameters", where,
              "expected the parameters of '%s' as a JSON Schema object, found %s",
              quoted(word, sizeof word, name->valuestring), kind_of(parameters));
    }
}

/*
 * One declaration, whichever spelling ->
 * {"type":"function","function":{"name","description","parameters",…}}
 */
static cJSON *canon_tool(canon *c, cJSON *tool, const spot *where)
{
    static const char *const known[] = {"name", "description", "parameters", "arguments", "strict", NULL};
    if (!cJSON_IsObject(tool)) {
        fault(c, "tool_type", where, "expected an object, found %s", kind_of(tool));
        return NULL;
    }
    cJSON *nested = cJSON_GetObjectItemCaseSensitive(tool, "function"), *function = nested ? nested : tool;
    cJSON *name = NULL, *description = NULL, *parameters = NULL, *strict = NULL, *next;
    spot below = {.up = where, .key = "function"};
    const spot *here = nested ? &below : where;
    if (nested) { check_tool_frame(c, tool, where); }
    for (cJSON *m = cJSON_IsObject(function) ? function->child : NULL; m; m = next) {
        next = m->next;
        if (is_key(m, "name")) {
            name = move_out(function, m);
        } else if (is_key(m, "description")) {
            description = cJSON_IsNull(m) ? NULL : move_out(function, m);
        } else if (is_key(m, "parameters") || is_key(m, "arguments")) {
            if (!cJSON_IsNull(m)) {
                replace_once(c, &parameters, move_out(function, m), "the tool's parameter schema", here);
            }
        } else if (is_key(m, "strict")) {
            strict = cJSON_IsNull(m) ? NULL : move_out(function, m);
        } else if (nested || !is_key(m, "type")) {
            unknown_key(c, here, m->string, "a tool", known);
        }
    }
    check_tool(c, name, description, parameters, here);
    cJSON *out = cJSON_CreateObject(), *fn = cJSON_CreateObject();
    put_string(out, "type", "function");
    put(fn, "name", name);
    put(fn, "description", description);
    put(fn, "parameters", parameters);
    put(fn, "strict", strict);
    put(out, "function", fn);
    return out;
}

bool tool_declared(const cJSON *tools, const char *name)
{
    const cJSON *tool;
    cJSON_ArrayForEach(tool, tools)
    {
        if (strcmp(fmp_json_str(fmp_json_get(tool, "function"), "name", ""), name) == 0) { return true; }
    }
    return false;
}

/* The list as a value: ShareGPT exports hold it as text. NULL after a fault. */
static cJSON *tool_list(canon *c, cJSON *tools, const spot *where)
{
    if (cJSON_IsString(tools)) {
        cJSON *value = NULL;
        fmp_err err = FMP_ERR_INIT;
        if (fmp_json_parse(tools->valuestring, strlen(tools->valuestring), NULL, &value, &err) != FMP_OK) {
            fault(c, "tools_not_json", where, "expected the JSON text of an array: %s", err.message);
            return NULL;
        }
        tools = value;
    }
    if (!cJSON_IsArray(tools)) {
        fault(c, "tools_type", where, "expected an array of tools, found %s", kind_of(tools));
        return NULL;
    }
    return tools;
}

void take_tools(canon *c, cJSON *tools, const spot *where)
{
    if (cJSON_IsNull(tools) || (cJSON_IsString(tools) && !tools->valuestring[0])) { return; }
    tools = tool_list(c, tools, where);
    if (!tools) { return; }
    cJSON *out = cJSON_CreateArray(), *next;
    spot one_at = {.up = where};
    for (cJSON *tool = tools->child; tool; tool = next, one_at.index++) {
        next = tool->next;
        if (one_at.index == MAX_TOOLS) {
            fault(c, "tools_too_many", where, "expected at most %d tools, found more", MAX_TOOLS);
            return;
        }
        cJSON *one = canon_tool(c, move_out(tools, tool), &one_at);
        const char *name = fmp_json_str(fmp_json_get(one, "function"), "name", NULL);
        if (name && tool_declared(out, name)) {
            char word[64];
            fault(c, "tool_twice", &one_at, "expected each tool once, found '%s' again",
                  quoted(word, sizeof word, name));
        }
        if (one) { cJSON_AddItemToArray(out, one); }
    }
    if (one_at.index > 0) { replace_once(c, &c->tools, out, "the tool list", where); }
}
