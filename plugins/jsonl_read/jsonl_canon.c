/*
 * Row forms to the canonical conversation, and the rules every conversation must keep.
 *
 * Each form is first brought to messages + tools + extras by moving the parsed nodes into a fresh object; one checker then
 * applies the rules for all forms. A row may have several problems: the first, in document order, is told in full.
 * Read canon_row first, at the end.
 */
#include "jsonl_canon.h"

#include <stdlib.h>

enum { MAX_TOOLS = 1024 }; /* of one row; the search of a call's tool is linear */

typedef struct canon {
    const canon_options *opt;
    canon_problem *problem;
    const char *list; /* path of the message list in the row: "messages", "conversations", "" for a bare array */
    cJSON *messages, *tools, *response_format, *locale, *meta;
    row_form form;    /* of this row; never FORM_AUTO */
    bool own_system;  /* ShareGPT, Alpaca: messages[0] was the row's "system" */
    int n_history;    /* Alpaca: pairs before the instruction */
} canon;

FMP_PRINTF(4, 5)
static void fault(canon *c, const char *reason, const char *path, const char *fmt, ...)
{
    if (c->problem->n++ > 0) { return; }
    c->problem->reason = reason;
    fmp_err_clip_(c->problem->path, sizeof c->problem->path,
                  snprintf(c->problem->path, sizeof c->problem->path, "%s", path));
    va_list ap;
    va_start(ap, fmt);
    int need = vsnprintf(c->problem->message, sizeof c->problem->message, fmt, ap);
    fmp_err_clip_(c->problem->message, sizeof c->problem->message, need);
    va_end(ap);
}

/* "messages[3].role"; for a bare array "[3].role". A tail too long to show is cut. */
static const char *at(char *out, size_t size, const canon *c, int i, const char *tail)
{
    fmp_err_clip_(out, size, snprintf(out, size, "%s[%d]%s%s", c->list, i, *tail ? "." : "", tail));
    return out;
}

/* Where in the row the canonical message i came from: the other forms have no "messages[i]". */
static const char *at_message(char *out, size_t size, const canon *c, int i, const char *tail)
{
    int k = i - c->own_system;
    if (k < 0) {
        snprintf(out, size, "system");
    } else if (c->form == FORM_SHAREGPT) {
        at(out, size, c, k, strcmp(tail, "role") == 0 ? "from" : "value");
    } else if (c->form != FORM_ALPACA) {
        at(out, size, c, i, tail);
    } else if (k < 2 * c->n_history) {
        snprintf(out, size, "history[%d][%d]", k / 2, k % 2);
    } else {
        snprintf(out, size, "%s", k == 2 * c->n_history ? "instruction" : "output");
    }
    return out;
}

static const char *kind_of(const cJSON *node)
{
    if (!node) { return "nothing"; }
    if (cJSON_IsString(node)) { return "a string"; }
    if (cJSON_IsObject(node)) { return "an object"; }
    if (cJSON_IsArray(node)) { return "an array"; }
    if (cJSON_IsNull(node)) { return "null"; }
    if (cJSON_IsBool(node)) { return "a boolean"; }
    return "a number";
}

/* Control characters and length are made safe for a message. */
static const char *quoted(char *out, size_t size, const char *text)
{
    fmp_err_clip_(out, size, snprintf(out, size, "%s", text));
    for (char *p = out; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) { *p = '?'; }
    }
    return out;
}

static cJSON *move_out(cJSON *parent, cJSON *child)
{
    return cJSON_DetachItemViaPointer(parent, child);
}

static void put(cJSON *object, const char *constant_key, cJSON *node)
{
    if (node) { cJSON_AddItemToObjectCS(object, constant_key, node); }
}

static void put_string(cJSON *object, const char *constant_key, const char *text)
{
    put(object, constant_key, cJSON_CreateString(text));
}

static cJSON *meta_of(canon *c)
{
    if (!c->meta) { c->meta = cJSON_CreateObject(); }
    return c->meta;
}

/* One member of meta; the row may have given it twice, as "id" and as "meta.source_id". */
static void put_meta(canon *c, const char *constant_key, cJSON *node, const char *path)
{
    if (fmp_json_get(meta_of(c), constant_key)) {
        fault(c, "given_twice", path, "expected '%s' once, found it also in 'meta' as '%s'", path, constant_key);
        return;
    }
    put(c->meta, constant_key, node);
}

static bool replace_once(canon *c, cJSON **slot, cJSON *node, const char *what, const char *path)
{
    if (*slot) {
        fault(c, "given_twice", path, "%s is given twice; expected it in one place", what);
        return false;
    }
    *slot = node;
    return true;
}

/* ---------------------------------------------------------------------------------------------- keys */

static const char *nearest(const char *word, const char *const *names)
{
    const char *best = NULL;
    size_t best_cost = 3, n = strlen(word);
    for (; n < 40 && *names; names++) {
        size_t m = strlen(*names), row[41];
        if (m > 39) { continue; }
        for (size_t j = 0; j <= m; j++) { row[j] = j; }
        for (size_t i = 1; i <= n; i++) {
            size_t diagonal = row[0];
            row[0] = i;
            for (size_t j = 1; j <= m; j++) {
                size_t up = row[j], swap = diagonal + (word[i - 1] != (*names)[j - 1]);
                size_t best_edit = (up < row[j - 1] ? up : row[j - 1]) + 1;
                row[j] = swap < best_edit ? swap : best_edit;
                diagonal = up;
            }
        }
        if (row[m] < best_cost) {
            best_cost = row[m];
            best = *names;
        }
    }
    return best;
}

static void unknown_key(canon *c, const char *path, const char *key, const char *where, const char *const *known)
{
    char word[64];
    const char *near_name = nearest(key, known);
    if (near_name) {
        fault(c, "unknown_key", path, "unknown key '%s' in %s; did you mean '%s'?", quoted(word, sizeof word, key),
              where, near_name);
    } else {
        fault(c, "unknown_key", path, "unknown key '%s' in %s", quoted(word, sizeof word, key), where);
    }
}

/* ---------------------------------------------------------------------------------------------- tool calls */

/* Arguments as text or value -> a value; the text must be a JSON object. */
static cJSON *canon_arguments(canon *c, cJSON *arguments, const char *path)
{
    if (cJSON_IsObject(arguments)) { return arguments; }
    if (!cJSON_IsString(arguments)) {
        fault(c, "arguments_type", path, "expected an object or its JSON text, found %s", kind_of(arguments));
        return arguments;
    }
    cJSON *value = NULL;
    fmp_err err = FMP_ERR_INIT;
    if (fmp_json_parse(arguments->valuestring, strlen(arguments->valuestring), NULL, &value, &err) != FMP_OK) {
        fault(c, "arguments_not_json", path, "expected the JSON text of an object: %s (byte %llu of the string)",
              err.message, (unsigned long long)err.offset);
        return arguments;
    }
    if (!cJSON_IsObject(value)) {
        fault(c, "arguments_type", path, "expected the JSON text of an object, found %s", kind_of(value));
    }
    return value;
}

/* A call's or a tool's member that is not its name or schema; true if it was one of those. */
static bool take_call_frame(canon *c, cJSON *call, cJSON *m, cJSON **id, const char *path)
{
    char where[200];
    snprintf(where, sizeof where, "%s.%s", path, m->string);
    if (strcmp(m->string, "id") == 0) {
        if (cJSON_IsString(m)) {
            *id = move_out(call, m);
        } else if (!cJSON_IsNull(m)) {
            fault(c, "call_id", where, "expected the call's id as text, found %s", kind_of(m));
        }
    } else if (strcmp(m->string, "type") == 0) {
        if (!cJSON_IsString(m) || strcmp(m->valuestring, "function") != 0) {
            fault(c, "call_type", where, "expected \"function\", found %s", cJSON_IsString(m) ? "another type" : kind_of(m));
        }
    } else {
        return strcmp(m->string, "index") == 0; /* left over from streaming; the list's order says it */
    }
    return true;
}

/* {id?, type?, function:{name, arguments}} or {id?, type?, name, arguments} -> {id?, type, function:{name, arguments}} */
static cJSON *canon_call(canon *c, cJSON *call, const char *path)
{
    static const char *const known_call[] = {"id", "type", "function", NULL};
    static const char *const known_function[] = {"name", "arguments", NULL};
    char where[200];
    cJSON *id = NULL, *name = NULL, *arguments = NULL, *next;
    if (!cJSON_IsObject(call)) {
        fault(c, "call_type", path, "expected an object with 'function', found %s", kind_of(call));
        return NULL;
    }
    cJSON *nested = cJSON_GetObjectItemCaseSensitive(call, "function"), *function = nested ? nested : call;
    for (cJSON *m = call->child; m; m = next) {
        next = m->next;
        bool ours = m == nested || take_call_frame(c, call, m, &id, path);
        if (nested && !ours) {
            snprintf(where, sizeof where, "%s.%.80s", path, m->string);
            unknown_key(c, where, m->string, "a tool call", known_call);
        }
    }
    for (cJSON *m = cJSON_IsObject(function) ? function->child : NULL; m; m = next) {
        next = m->next;
        snprintf(where, sizeof where, "%s%s.%.80s", path, nested ? ".function" : "", m->string);
        if (strcmp(m->string, "name") == 0) {
            name = move_out(function, m);
        } else if (strcmp(m->string, "arguments") == 0) {
            arguments = canon_arguments(c, move_out(function, m), where);
        } else if (nested || (strcmp(m->string, "type") != 0 && strcmp(m->string, "id") != 0 && strcmp(m->string, "index") != 0)) {
            unknown_key(c, where, m->string, "a tool call's function", known_function);
        }
    }
    if (!cJSON_IsString(name) || !name->valuestring[0]) {
        fault(c, "call_name", path, "expected the tool's name as a string, found %s", name && cJSON_IsString(name) ? "an empty one" : kind_of(name));
        return NULL;
    }
    if (!arguments) {
        char word[64];
        fault(c, "arguments_missing", path, "the call of '%s' has no 'arguments'; expected an object, {} for none",
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

static cJSON *canon_calls(canon *c, cJSON *calls, const char *path)
{
    char where[160];
    cJSON *out = cJSON_CreateArray(), *next;
    int i = 0;
    if (!cJSON_IsArray(calls)) {
        fault(c, "calls_type", path, "expected an array of tool calls, found %s", kind_of(calls));
        return out;
    }
    for (cJSON *call = calls->child; call; call = next, i++) {
        next = call->next;
        snprintf(where, sizeof where, "%s[%d]", path, i);
        cJSON *one = canon_call(c, move_out(calls, call), where);
        if (one) { cJSON_AddItemToArray(out, one); }
    }
    if (i == 0) { fault(c, "calls_empty", path, "expected at least one tool call, found an empty array"); }
    return out;
}

/* ---------------------------------------------------------------------------------------------- tools */

/* The members of {"type":"function","function":{…}} around the declaration itself. */
static void check_tool_frame(canon *c, const cJSON *tool, const char *path)
{
    static const char *const known[] = {"type", "function", NULL};
    char where[200];
    for (const cJSON *m = tool->child; m; m = m->next) {
        snprintf(where, sizeof where, "%s.%.80s", path, m->string);
        if (strcmp(m->string, "type") == 0) {
            if (!cJSON_IsString(m) || strcmp(m->valuestring, "function") != 0) {
                fault(c, "tool_type", where, "expected \"function\", found %s", cJSON_IsString(m) ? "another type" : kind_of(m));
            }
        } else if (strcmp(m->string, "function") != 0) {
            unknown_key(c, where, m->string, "a tool", known);
        }
    }
}

static void check_tool(canon *c, const cJSON *name, const cJSON *description, const cJSON *parameters, const char *path)
{
    char word[64];
    if (!cJSON_IsString(name) || !name->valuestring[0]) {
        fault(c, "tool_name", path, "expected the tool's name as a string, found %s", cJSON_IsString(name) ? "an empty one" : kind_of(name));
        return;
    }
    quoted(word, sizeof word, name->valuestring);
    if (description && !cJSON_IsString(description)) {
        fault(c, "tool_description", path, "expected the description of '%s' as text, found %s", word, kind_of(description));
    }
    if (parameters && !cJSON_IsObject(parameters)) {
        fault(c, "tool_parameters", path, "expected the parameters of '%s' as a JSON Schema object, found %s", word,
              kind_of(parameters));
    }
}

/* One declaration, whichever spelling -> {"type":"function","function":{"name","description","parameters",…}} */
static cJSON *canon_tool(canon *c, cJSON *tool, const char *path)
{
    static const char *const known[] = {"name", "description", "parameters", "arguments", "strict", NULL};
    char where[200];
    if (!cJSON_IsObject(tool)) {
        fault(c, "tool_type", path, "expected an object, found %s", kind_of(tool));
        return NULL;
    }
    cJSON *function = cJSON_GetObjectItemCaseSensitive(tool, "function");
    if (function) { check_tool_frame(c, tool, path); }
    if (!function) { function = tool; }
    cJSON *name = NULL, *description = NULL, *parameters = NULL, *strict = NULL, *next;
    for (cJSON *m = cJSON_IsObject(function) ? function->child : NULL; m; m = next) {
        next = m->next;
        if (strcmp(m->string, "name") == 0) {
            name = move_out(function, m);
        } else if (strcmp(m->string, "description") == 0) {
            description = cJSON_IsNull(m) ? NULL : move_out(function, m);
        } else if (strcmp(m->string, "parameters") == 0 || strcmp(m->string, "arguments") == 0) {
            if (!cJSON_IsNull(m)) { replace_once(c, &parameters, move_out(function, m), "the tool's parameter schema", path); }
        } else if (strcmp(m->string, "strict") == 0) {
            strict = cJSON_IsNull(m) ? NULL : move_out(function, m);
        } else if (function != tool || strcmp(m->string, "type") != 0) {
            snprintf(where, sizeof where, "%s%s.%.80s", path, function != tool ? ".function" : "", m->string);
            unknown_key(c, where, m->string, "a tool", known);
        }
    }
    check_tool(c, name, description, parameters, path);
    cJSON *out = cJSON_CreateObject(), *fn = cJSON_CreateObject();
    put_string(out, "type", "function");
    put(fn, "name", name);
    put(fn, "description", description);
    put(fn, "parameters", parameters);
    put(fn, "strict", strict);
    put(out, "function", fn);
    return out;
}

static bool declared(const cJSON *tools, const char *name)
{
    const cJSON *tool;
    cJSON_ArrayForEach(tool, tools)
    {
        if (strcmp(fmp_json_str(fmp_json_get(tool, "function"), "name", ""), name) == 0) { return true; }
    }
    return false;
}

static void take_tools(canon *c, cJSON *tools, const char *path)
{
    char where[160];
    if (cJSON_IsNull(tools)) { return; }
    if (cJSON_IsString(tools)) { /* ShareGPT exports hold the list as text */
        cJSON *value = NULL;
        fmp_err err = FMP_ERR_INIT;
        if (fmp_json_parse(tools->valuestring, strlen(tools->valuestring), NULL, &value, &err) != FMP_OK) {
            fault(c, "tools_not_json", path, "expected the JSON text of an array: %s", err.message);
            return;
        }
        tools = value;
    }
    if (!cJSON_IsArray(tools)) {
        fault(c, "tools_type", path, "expected an array of tools, found %s", kind_of(tools));
        return;
    }
    cJSON *out = cJSON_CreateArray(), *next;
    int i = 0;
    for (cJSON *tool = tools->child; tool; tool = next, i++) {
        next = tool->next;
        if (i == MAX_TOOLS) {
            fault(c, "tools_too_many", path, "expected at most %d tools, found more", MAX_TOOLS);
            return;
        }
        snprintf(where, sizeof where, "%.120s[%d]", path, i);
        cJSON *one = canon_tool(c, move_out(tools, tool), where);
        const char *name = fmp_json_str(fmp_json_get(one, "function"), "name", NULL);
        if (name && declared(out, name)) {
            char word[64];
            fault(c, "tool_twice", where, "expected each tool once, found '%s' again", quoted(word, sizeof word, name));
        }
        if (one) { cJSON_AddItemToArray(out, one); }
    }
    if (i > 0) { replace_once(c, &c->tools, out, "the tool list", path); }
}

/* ---------------------------------------------------------------------------------------------- messages */

/* A list of {"type":"text","text":…} parts -> one string; other kinds of part are refused by name. */
static cJSON *join_parts(canon *c, const cJSON *parts, const char *path)
{
    fmp_buf text = {0};
    char word[48];
    for (const cJSON *part = parts->child; part; part = part->next) {
        const char *type = fmp_json_str(part, "type", "");
        const char *piece = fmp_json_str(part, "text", NULL);
        if (strcmp(type, "text") != 0 || !piece) {
            fault(c, "content_part", path, "expected text parts only, found a part of type '%s'",
                  quoted(word, sizeof word, type));
            break;
        }
        fmp_buf_puts(&text, piece);
    }
    cJSON *joined = cJSON_CreateString(text.data ? text.data : "");
    fmp_buf_free(&text);
    return joined;
}

static cJSON *canon_content(canon *c, cJSON *content, const char *role, const char *path)
{
    if (cJSON_IsString(content)) { return content; }
    if (cJSON_IsNull(content)) { return NULL; }
    if (strcmp(role, "tool") == 0 && (cJSON_IsObject(content) || cJSON_IsArray(content))) {
        return content; /* a tool's result may be structured */
    }
    if (cJSON_IsArray(content)) { return join_parts(c, content, path); }
    fault(c, "content_type", path, "expected text, found %s", kind_of(content));
    return NULL;
}

static const char *canon_role(const char *role)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool", NULL};
    for (int i = 0; roles[i]; i++) {
        if (strcmp(role, roles[i]) == 0) { return roles[i]; }
    }
    if (strcmp(role, "function") == 0) { return "tool"; }
    if (strcmp(role, "developer") == 0) { return "system"; }
    return NULL;
}

static cJSON *canon_message(canon *c, cJSON *m, int i)
{
    static const char *const known[] = {"role",         "content",         "tool_calls", "tool_call_id", "name",
                                        "function_call","response_format", "weight",     "tools",        NULL};
    char path[160];
    cJSON *content = NULL, *calls = NULL, *call_id = NULL, *name = NULL, *format = NULL, *weight = NULL, *next;
    if (!cJSON_IsObject(m)) {
        fault(c, "message_type", at(path, sizeof path, c, i, ""), "expected an object with 'role' and 'content', found %s",
              kind_of(m));
        return NULL;
    }
    const char *given = fmp_json_str(m, "role", NULL);
    const char *role = given ? canon_role(given) : NULL;
    if (!role) {
        char word[48];
        if (given) {
            fault(c, "role_unknown", at(path, sizeof path, c, i, "role"),
                  "expected system, user, assistant or tool, found '%s'", quoted(word, sizeof word, given));
        } else {
            fault(c, "role_missing", at(path, sizeof path, c, i, ""), "the message has no 'role'");
        }
        return NULL;
    }
    for (cJSON *k = m->child; k; k = next) {
        next = k->next;
        if (strcmp(k->string, "role") == 0) { continue; }
        at(path, sizeof path, c, i, k->string);
        if (strcmp(k->string, "content") == 0) {
            content = canon_content(c, move_out(m, k), role, path);
        } else if (cJSON_IsNull(k) && nearest(k->string, known)) {
            continue; /* "tool_calls": null and the like say nothing */
        } else if (strcmp(k->string, "tool_calls") == 0) {
            calls = canon_calls(c, move_out(m, k), path);
        } else if (strcmp(k->string, "function_call") == 0) {
            cJSON *one = canon_call(c, move_out(m, k), path);
            calls = cJSON_CreateArray();
            if (one) { cJSON_AddItemToArray(calls, one); }
        } else if (strcmp(k->string, "tool_call_id") == 0) {
            call_id = move_out(m, k);
        } else if (strcmp(k->string, "name") == 0) {
            name = move_out(m, k);
        } else if (strcmp(k->string, "response_format") == 0) {
            format = move_out(m, k);
        } else if (strcmp(k->string, "weight") == 0) {
            weight = move_out(m, k);
        } else if (strcmp(k->string, "tools") == 0 && strcmp(role, "system") == 0) {
            take_tools(c, move_out(m, k), path);
        } else if (strcmp(k->string, "refusal") != 0 || !cJSON_IsNull(k)) {
            unknown_key(c, path, k->string, "a message", known);
        }
    }
    if (calls && strcmp(role, "assistant") != 0) {
        fault(c, "calls_role", at(path, sizeof path, c, i, "tool_calls"), "only an assistant message calls tools, found role '%s'",
              role);
    }
    cJSON *out = cJSON_CreateObject();
    put_string(out, "role", role);
    put(out, "content", content ? content : cJSON_CreateString(""));
    put(out, "tool_calls", calls);
    put(out, "tool_call_id", call_id);
    put(out, "name", name);
    put(out, "response_format", format);
    put(out, "weight", weight);
    return out;
}

static void take_messages(canon *c, cJSON *list, const char *path)
{
    c->list = path;
    if (!cJSON_IsArray(list)) {
        fault(c, "messages_type", path, "expected an array of messages, found %s", kind_of(list));
        return;
    }
    c->messages = cJSON_CreateArray();
    cJSON *next;
    int i = 0;
    for (cJSON *m = list->child; m; m = next, i++) {
        next = m->next;
        cJSON *one = canon_message(c, move_out(list, m), i);
        if (one) { cJSON_AddItemToArray(c->messages, one); }
    }
}

/* ---------------------------------------------------------------------------------------------- forms */

static void take_meta(canon *c, cJSON *meta)
{
    if (!cJSON_IsObject(meta)) {
        fault(c, "meta_type", "meta", "expected an object, found %s", kind_of(meta));
        return;
    }
    cJSON *mine = c->meta;
    c->meta = meta;
    for (cJSON *m = mine ? mine->child : NULL, *next; m; m = next) {
        next = m->next;
        cJSON_AddItemToObject(meta, m->string, move_out(mine, m));
    }
}

/* Keys that every object form shares; true if `node` was one of them. */
static bool take_common(canon *c, cJSON *row, cJSON *node)
{
    const char *key = node->string;
    if (strcmp(key, "tools") == 0) {
        take_tools(c, move_out(row, node), "tools");
    } else if (strcmp(key, "locale") == 0) {
        if (!cJSON_IsString(node)) { fault(c, "locale_type", "locale", "expected a language tag as text, found %s", kind_of(node)); }
        c->locale = move_out(row, node);
    } else if (strcmp(key, "response_format") == 0) {
        c->response_format = move_out(row, node);
    } else if (strcmp(key, "meta") == 0) {
        take_meta(c, move_out(row, node));
    } else if (strcmp(key, "id") == 0) {
        put(meta_of(c), "source_id", move_out(row, node));
    } else {
        return false;
    }
    return true;
}

static void take_unknown(canon *c, cJSON *row, cJSON *node, const char *const *known)
{
    if (!c->opt->unknown_to_meta) {
        unknown_key(c, node->string, node->string, "the row", known);
        return;
    }
    cJSON *extra = cJSON_GetObjectItemCaseSensitive(meta_of(c), "extra");
    if (!extra) {
        extra = cJSON_CreateObject();
        put(c->meta, "extra", extra);
    }
    cJSON *moved = move_out(row, node);
    cJSON_AddItemToObject(extra, moved->string, moved);
}

static void from_messages(canon *c, cJSON *row)
{
    static const char *const known[] = {"messages", "tools", "functions", "parallel_tool_calls", "response_format",
                                        "locale",   "meta",  "id",        NULL};
    cJSON *next;
    for (cJSON *m = row->child; m; m = next) {
        next = m->next;
        if (strcmp(m->string, "messages") == 0) {
            take_messages(c, move_out(row, m), "messages");
        } else if (strcmp(m->string, "functions") == 0) {
            take_tools(c, move_out(row, m), "functions");
        } else if (strcmp(m->string, "parallel_tool_calls") == 0) {
            put(meta_of(c), "parallel_tool_calls", move_out(row, m));
        } else if (!take_common(c, row, m)) {
            take_unknown(c, row, m, known);
        }
    }
    if (!c->messages && c->problem->n == 0) {
        fault(c, "messages_missing", "", "expected a 'messages' array, found none");
    }
}

/* The adapter toolkit's object form: the first key's value is the message array, whatever its name. */
static void from_first_key(canon *c, cJSON *row)
{
    static const char *const known[] = {"tools", "response_format", "locale", "meta", "id", NULL};
    cJSON *first = row->child, *next;
    if (!cJSON_IsArray(first)) {
        char word[64];
        fault(c, "form_unknown", "", "expected a message array, 'messages', 'conversations' or 'instruction', found %s%s%s",
              first ? "the key '" : "an empty object", first ? quoted(word, sizeof word, first->string) : "",
              first ? "'" : "");
        return;
    }
    for (cJSON *m = first->next; m; m = next) {
        next = m->next;
        if (!take_common(c, row, m)) { take_unknown(c, row, m, known); }
    }
    take_messages(c, first, first->string);
}

static cJSON *plain_message(const char *role, const char *content)
{
    cJSON *m = cJSON_CreateObject();
    put_string(m, "role", role);
    put_string(m, "content", content);
    return m;
}

static cJSON *sharegpt_turn(canon *c, cJSON *turn, int i)
{
    static const char *const known[] = {"from", "value", "weight", NULL};
    static const char *const map[][2] = {
        {"human", "user"},     {"user", "user"},          {"gpt", "assistant"},      {"assistant", "assistant"},
        {"chatgpt", "assistant"}, {"model", "assistant"}, {"system", "system"},      {"function_call", "call"},
        {"observation", "tool"},  {"tool", "tool"},       {"function_response", "tool"}};
    char path[160], word[48];
    const char *from = fmp_json_str(turn, "from", NULL), *value = fmp_json_str(turn, "value", NULL), *role = NULL;
    for (size_t k = 0; from && k < sizeof map / sizeof map[0]; k++) {
        if (strcmp(from, map[k][0]) == 0) { role = map[k][1]; }
    }
    if (!role) {
        fault(c, from ? "role_unknown" : "role_missing", at(path, sizeof path, c, i, from ? "from" : ""),
              "expected 'from' to be human, gpt, system, function_call, observation or tool, found %s%s%s", from ? "'" : "",
              from ? quoted(word, sizeof word, from) : "nothing", from ? "'" : "");
        return NULL;
    }
    if (!value) {
        fault(c, "content_type", at(path, sizeof path, c, i, "value"), "expected text, found %s",
              kind_of(fmp_json_get(turn, "value")));
        return NULL;
    }
    for (const cJSON *k = turn->child; k; k = k->next) {
        bool ours = strcmp(k->string, "from") == 0 || strcmp(k->string, "value") == 0 || strcmp(k->string, "weight") == 0;
        if (!ours) { unknown_key(c, at(path, sizeof path, c, i, k->string), k->string, "a turn", known); }
    }
    cJSON *out;
    if (strcmp(role, "call") == 0) {
        cJSON *call = NULL;
        fmp_err err = FMP_ERR_INIT;
        at(path, sizeof path, c, i, "value");
        if (fmp_json_parse(value, strlen(value), NULL, &call, &err) != FMP_OK) {
            fault(c, "call_not_json", path, "expected the JSON text of a tool call: %s", err.message);
            return NULL;
        }
        cJSON *calls = cJSON_IsArray(call) ? canon_calls(c, call, path) : cJSON_CreateArray();
        if (!cJSON_IsArray(call)) {
            cJSON *one = canon_call(c, call, path);
            if (one) { cJSON_AddItemToArray(calls, one); }
        }
        out = plain_message("assistant", "");
        put(out, "tool_calls", calls);
    } else {
        out = plain_message(role, value);
    }
    cJSON *weight = cJSON_GetObjectItemCaseSensitive(turn, "weight");
    if (weight) { put(out, "weight", move_out(turn, weight)); }
    return out;
}

static void from_sharegpt(canon *c, cJSON *row)
{
    static const char *const known[] = {"conversations", "system", "tools", "locale", "meta", "id", NULL};
    cJSON *system = NULL, *turns = NULL, *next;
    for (cJSON *m = row->child; m; m = next) {
        next = m->next;
        if (strcmp(m->string, "conversations") == 0) {
            turns = move_out(row, m);
        } else if (strcmp(m->string, "system") == 0) {
            system = move_out(row, m);
        } else if (!take_common(c, row, m)) {
            take_unknown(c, row, m, known);
        }
    }
    c->list = "conversations";
    if (!cJSON_IsArray(turns)) {
        fault(c, "messages_type", "conversations", "expected an array of turns, found %s", kind_of(turns));
        return;
    }
    c->messages = cJSON_CreateArray();
    if (cJSON_IsString(system) && system->valuestring[0]) {
        cJSON_AddItemToArray(c->messages, plain_message("system", system->valuestring));
    }
    int i = 0;
    for (cJSON *turn = turns->child; turn; turn = next, i++) {
        next = turn->next;
        cJSON *one = sharegpt_turn(c, turn, i);
        if (one) { cJSON_AddItemToArray(c->messages, one); }
    }
}

/* One optional text member of an Alpaca row; a fault if it is there and no text. */
static const char *alpaca_text(canon *c, const cJSON *row, const char *key, bool required)
{
    const cJSON *node = fmp_json_get(row, key);
    if (cJSON_IsString(node)) { return node->valuestring; }
    if ((node && !cJSON_IsNull(node)) || required) {
        fault(c, "content_type", key, "expected '%s' as text, found %s", key, kind_of(node));
    }
    return "";
}

static void from_alpaca(canon *c, cJSON *row)
{
    static const char *const known[] = {"instruction", "input", "output", "system", "history",
                                        "tools",       "locale","meta",   "id",     NULL};
    const char *instruction = alpaca_text(c, row, "instruction", true), *input = alpaca_text(c, row, "input", false);
    const char *output = alpaca_text(c, row, "output", c->opt->require_last == LAST_ASSISTANT);
    const char *system = alpaca_text(c, row, "system", false);
    c->list = "messages";
    c->messages = cJSON_CreateArray();
    if (*system) { cJSON_AddItemToArray(c->messages, plain_message("system", system)); }
    const cJSON *history = fmp_json_get(row, "history"), *pair;
    int i = 0;
    cJSON_ArrayForEach(pair, history)
    {
        const cJSON *question = cJSON_GetArrayItem(pair, 0), *answer = cJSON_GetArrayItem(pair, 1);
        if (!cJSON_IsString(question) || !cJSON_IsString(answer) || cJSON_GetArraySize(pair) != 2) {
            char path[48];
            snprintf(path, sizeof path, "history[%d]", i);
            fault(c, "history_type", path, "expected [question, answer], both text");
            break;
        }
        cJSON_AddItemToArray(c->messages, plain_message("user", question->valuestring));
        cJSON_AddItemToArray(c->messages, plain_message("assistant", answer->valuestring));
        i++;
    }
    fmp_buf user = {0};
    fmp_buf_puts(&user, instruction);
    if (*input) {
        fmp_buf_puts(&user, "\n\n");
        fmp_buf_puts(&user, input);
    }
    cJSON_AddItemToArray(c->messages, plain_message("user", user.data ? user.data : ""));
    fmp_buf_free(&user);
    if (*output) { cJSON_AddItemToArray(c->messages, plain_message("assistant", output)); }
    cJSON *next;
    for (cJSON *m = row->child; m; m = next) {
        next = m->next;
        bool text = strcmp(m->string, "instruction") == 0 || strcmp(m->string, "input") == 0 ||
                    strcmp(m->string, "output") == 0 || strcmp(m->string, "system") == 0 || strcmp(m->string, "history") == 0;
        if (!text && !take_common(c, row, m)) { take_unknown(c, row, m, known); }
    }
}

/* ---------------------------------------------------------------------------------------------- rules */

static void check_calls(canon *c, const cJSON *calls, int i)
{
    char path[160], tail[64], word[64];
    const cJSON *call;
    int k = 0;
    cJSON_ArrayForEach(call, calls)
    {
        const char *name = fmp_json_str(fmp_json_get(call, "function"), "name", "");
        if (c->tools && !declared(c->tools, name)) {
            snprintf(tail, sizeof tail, "tool_calls[%d]", k);
            fault(c, "tool_unknown", at(path, sizeof path, c, i, tail), "expected a call of one of the declared tools, found '%s'",
                  quoted(word, sizeof word, name));
        }
        k++;
    }
}

static void check_text(canon *c, const cJSON *m, const char *role, int i)
{
    char path[160];
    const cJSON *content = fmp_json_get(m, "content"), *calls = fmp_json_get(m, "tool_calls");
    const char *text = cJSON_IsString(content) ? content->valuestring : NULL;
    size_t n = text ? strlen(text) : 1;
    if (n == 0 && strcmp(role, "assistant") == 0 && !calls) {
        fault(c, "assistant_empty", at(path, sizeof path, c, i, "content"), "expected text or tool calls, found an empty message");
    } else if (n == 0 && strcmp(role, "user") == 0) {
        fault(c, "user_empty", at(path, sizeof path, c, i, "content"), "expected text, found an empty message");
    } else if (n > 0 && text && strcmp(role, "system") == 0 && (text[0] == ' ' || text[n - 1] == ' ')) {
        fault(c, "system_space", at(path, sizeof path, c, i, "content"), "a system message may not begin or end with a space");
    }
}

/* `before` is the role of the message before, NULL at the start. */
static void check_order(canon *c, const char *role, const char *before, bool called_before, int i)
{
    char path[160];
    at(path, sizeof path, c, i, "role");
    if (strcmp(role, "system") == 0) {
        if (before) { fault(c, "system_not_first", path, "a system message may only be the first, found one after '%s'", before); }
    } else if (strcmp(role, "tool") == 0) {
        if (!called_before) {
            fault(c, "tool_without_call", path, "expected a tool result only after an assistant message with tool calls, found it after %s",
                  before ? before : "nothing");
        }
    } else if (before && strcmp(role, before) == 0) {
        fault(c, "role_repeated", path, "two '%s' messages in a row; expected roles to alternate", role);
    } else if (strcmp(role, "assistant") == 0) {
        if (!before || strcmp(before, "system") == 0) {
            fault(c, "role_order", path, "assistant message %s, expected a user message first",
                  before ? "directly after system" : "at the start");
        }
    } else if (before && strcmp(before, "tool") == 0) {
        fault(c, "role_order", path, "user message directly after a tool result, expected the assistant's answer first");
    }
}

static void check_rules(canon *c)
{
    char path[160];
    const char *before = NULL;
    bool called_before = false;
    int i = 0, n = cJSON_GetArraySize(c->messages);
    if (n < 2) {
        fault(c, "too_few_messages", c->list, "expected at least two messages, found %d", n);
    }
    for (const cJSON *m = c->messages->child; m; m = m->next, i++) {
        const char *role = m->child->valuestring; /* canon_message puts it first */
        const cJSON *calls = fmp_json_get(m, "tool_calls");
        check_order(c, role, before, called_before, i);
        check_text(c, m, role, i);
        check_calls(c, calls, i);
        if (strcmp(role, "tool") != 0) { called_before = calls != NULL; }
        before = role;
    }
    const char *want = c->opt->require_last == LAST_USER ? "user" : "assistant";
    if (c->opt->require_last != LAST_ANY && before && strcmp(before, want) != 0) {
        fault(c, "last_role", at(path, sizeof path, c, n - 1, "role"), "expected the conversation to end with '%s', found '%s'", want,
              before);
    }
}

static row_form detect(const cJSON *row)
{
    if (cJSON_IsArray(row)) { return FORM_ARRAY; }
    for (const cJSON *m = row->child; m; m = m->next) {
        if (strcmp(m->string, "messages") == 0) { return FORM_MESSAGES; }
        if (strcmp(m->string, "conversations") == 0) { return FORM_SHAREGPT; }
        if (strcmp(m->string, "instruction") == 0) { return FORM_ALPACA; }
    }
    return FORM_ARRAY;
}

cJSON *canon_row(cJSON *row, const canon_options *opt, canon_problem *problem)
{
    canon c = {.opt = opt, .problem = problem, .list = ""};
    problem->n = 0;
    problem->path[0] = '\0';
    if (!cJSON_IsObject(row) && !cJSON_IsArray(row)) {
        fault(&c, "row_type", "", "expected a JSON array or object, found %s", kind_of(row));
        return NULL;
    }
    row_form form = opt->form == FORM_AUTO ? detect(row) : opt->form;
    if (cJSON_IsArray(row) && form != FORM_ARRAY) {
        fault(&c, "form_mismatch", "", "expected an object of the form asked for, found a bare message array");
        return NULL;
    }
    switch (form) {
    case FORM_SHAREGPT: from_sharegpt(&c, row); break;
    case FORM_ALPACA: from_alpaca(&c, row); break;
    case FORM_ARRAY:
        if (cJSON_IsArray(row)) {
            take_messages(&c, row, "");
        } else {
            from_first_key(&c, row);
        }
        break;
    default: from_messages(&c, row); break;
    }
    if (problem->n == 0 && c.messages) { check_rules(&c); }
    if (problem->n > 0 || !c.messages) { return NULL; }
    cJSON *doc = cJSON_CreateObject();
    put(doc, "messages", c.messages);
    put(doc, "tools", c.tools);
    put(doc, "response_format", c.response_format);
    put(doc, "locale", c.locale);
    put(doc, "meta", c.meta);
    return doc;
}
