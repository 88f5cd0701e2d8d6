/*
 * Row forms to the canonical conversation.
 *
 * Each form is first brought to messages + tools + extras by moving the parsed nodes into a fresh object;
 * then one checker applies the rules for all forms (jsonl_rules.c). A row may have several problems:
 * the first eight, in document order, are told in full. Read canon_row first, at the end.
 */
#include "jsonl_row.h"

static cJSON *meta_of(canon *c)
{
    if (!c->meta) { c->meta = cJSON_CreateObject(); }
    return c->meta;
}

/* One member of meta that stands elsewhere in the row; meta itself may have it too. */
static void put_meta(canon *c, const char *constant_key, cJSON *node, const spot *where)
{
    if (fmp_json_get(meta_of(c), constant_key)) {
        fault(c, "given_twice", where, "expected '%s' once, found it also as meta.%s", where->key,
              constant_key);
        return;
    }
    put(c->meta, constant_key, node);
}

/* ---------------------------------------------------------------------------------------------- messages */

/* A list of {"type":"text","text":…} parts -> one string; other kinds of part are refused by name. */
static cJSON *join_parts(canon *c, const cJSON *parts, const spot *where)
{
    static const char *const known[] = {"type", "text", NULL};
    fmp_buf text = {0};
    char word[48];
    spot one_at = {.up = where};
    for (const cJSON *part = parts->child; part; part = part->next, one_at.index++) {
        const char *type = fmp_json_str(part, "type", NULL), *piece = fmp_json_str(part, "text", NULL);
        if (!type || strcmp(type, "text") != 0) {
            fault(c, "content_part", &one_at, "expected text parts only, found %s%s%s",
                  type ? "a part of type '" : kind_of(part), type ? quoted(word, sizeof word, type) : "",
                  type ? "'" : "");
            break;
        }
        if (!piece) {
            fault(c, "content_part", &one_at, "expected the part's 'text', found %s",
                  kind_of(fmp_json_get(part, "text")));
            break;
        }
        for (const cJSON *k = part->child; k; k = k->next) {
            if (!is_key(k, "type") && !is_key(k, "text")) {
                unknown_key(c, &one_at, k->string, "a text part", known);
            }
        }
        fmp_buf_puts(&text, piece);
    }
    cJSON *joined = cJSON_CreateString(text.data ? text.data : "");
    fmp_buf_free(&text);
    return joined;
}

static cJSON *canon_content(canon *c, cJSON *content, const char *role, const spot *where)
{
    if (cJSON_IsString(content)) { return content; }
    if (cJSON_IsNull(content)) { return NULL; }
    if (strcmp(role, "tool") == 0 && (cJSON_IsObject(content) || cJSON_IsArray(content))) {
        return content; /* a tool's result may be structured */
    }
    if (cJSON_IsArray(content)) { return join_parts(c, content, where); }
    fault(c, "content_type", where, "expected text, found %s", kind_of(content));
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

/* Of a message: what it has besides role and content, each checked for its type. */
typedef struct message_parts {
    cJSON *calls, *call_id, *name, *format, *weight;
} message_parts;

static void check_weight(canon *c, const cJSON *weight, const spot *where)
{
    double value = -1;
    if (!fmp_json_number(weight, &value)) {
        fault(c, "weight_type", where, "expected a number, found %s", kind_of(weight));
    } else if (!(value >= 0 && value <= 1000)) {
        fault(c, "weight_range", where, "expected a weight from 0 to 1000, found %g", value);
    }
}

/* {"type": "text" | "json_object"} or {"type": "json_schema", "json_schema": {"name", "schema", …}} */
static void check_format(canon *c, const cJSON *format, const spot *where)
{
    const char *type = fmp_json_str(format, "type", NULL);
    char word[48];
    spot schema_at = {.up = where, .key = "json_schema"};
    if (!cJSON_IsObject(format) || !type) {
        fault(c, "format_type", where, "expected an object with 'type', found %s",
              cJSON_IsObject(format) ? "none in it" : kind_of(format));
    } else if (strcmp(type, "json_schema") == 0) {
        const cJSON *named = fmp_json_get(format, "json_schema");
        if (!cJSON_IsObject(fmp_json_get(named, "schema")) || !fmp_json_str(named, "name", NULL)) {
            fault(c, "format_schema", named ? &schema_at : where,
                  "expected 'json_schema' with a 'name' and a 'schema' object");
        }
    } else if (strcmp(type, "text") != 0 && strcmp(type, "json_object") != 0) {
        spot type_at = {.up = where, .key = "type"};
        fault(c, "format_type", &type_at, "expected json_schema, json_object or text, found '%s'",
              quoted(word, sizeof word, type));
    }
}

static void check_is_text(canon *c, const char *reason, const cJSON *node, const spot *where)
{
    if (!cJSON_IsString(node)) { fault(c, reason, where, "expected text, found %s", kind_of(node)); }
}

/* One member of a message but role and content; null says nothing. */
static void take_member(canon *c, cJSON *m, cJSON *k, const char *role, message_parts *out, const spot *up)
{
    static const char *const known[] = {
        "role",          "content",         "tool_calls", "tool_call_id", "name",
        "function_call", "response_format", "weight",     "tools",        NULL};
    static const char *const nulls[] = {
        "tool_calls", "tool_call_id", "name",  "function_call", "response_format",
        "weight",     "tools",        "audio", "refusal",       NULL};
    spot where = {.up = up, .key = k->string};
    for (int i = 0; cJSON_IsNull(k) && nulls[i]; i++) {
        if (strcmp(k->string, nulls[i]) == 0) { return; }
    }
    if (is_key(k, "tool_calls")) {
        replace_once(c, &out->calls, canon_calls(c, move_out(m, k), &where), "the list of tool calls",
                     &where);
    } else if (is_key(k, "function_call")) {
        cJSON *calls = cJSON_CreateArray(), *one = canon_call(c, move_out(m, k), &where);
        if (one) { cJSON_AddItemToArray(calls, one); }
        replace_once(c, &out->calls, calls, "the list of tool calls", &where);
    } else if (is_key(k, "tool_call_id")) {
        check_is_text(c, "call_id", k, &where);
        out->call_id = move_out(m, k);
    } else if (is_key(k, "name")) {
        check_is_text(c, "name_type", k, &where);
        out->name = move_out(m, k);
    } else if (is_key(k, "response_format")) {
        check_format(c, k, &where);
        if (strcmp(role, "user") != 0) {
            fault(c, "format_role", &where,
                  "expected response_format on a user message, found it on role '%s'", role);
        }
        out->format = move_out(m, k);
    } else if (is_key(k, "weight")) {
        check_weight(c, k, &where);
        out->weight = move_out(m, k);
    } else if (is_key(k, "tools") && strcmp(role, "system") == 0) {
        take_tools(c, move_out(m, k), &where);
    } else {
        unknown_key(c, up, k->string, "a message", known);
    }
}

/* The canonical role of a message, or NULL after a fault. */
static const char *role_of(canon *c, const cJSON *m, const spot *where)
{
    char word[48];
    const cJSON *given = fmp_json_get(m, "role");
    const char *role = cJSON_IsString(given) ? canon_role(given->valuestring) : NULL;
    spot role_at = {.up = where, .key = "role"};
    if (!given) {
        fault(c, "role_missing", where, "expected a message with 'role', found none");
    } else if (!cJSON_IsString(given)) {
        fault(c, "role_unknown", &role_at, "expected system, user, assistant or tool, found %s",
              kind_of(given));
    } else if (!role) {
        fault(c, "role_unknown", &role_at, "expected system, user, assistant or tool, found '%s'",
              quoted(word, sizeof word, given->valuestring));
    }
    return role;
}

static cJSON *canon_message(canon *c, cJSON *m, const spot *where)
{
    message_parts parts = {0};
    cJSON *content = NULL, *next;
    bool has_content = false;
    if (!cJSON_IsObject(m)) {
        fault(c, "message_type", where, "expected an object with 'role' and 'content', found %s", kind_of(m));
        return NULL;
    }
    const char *role = role_of(c, m, where);
    if (!role) { return NULL; }
    for (cJSON *k = m->child; k; k = next) {
        next = k->next;
        if (is_key(k, "role")) { continue; }
        if (is_key(k, "content")) {
            spot here = {.up = where, .key = "content"};
            content = canon_content(c, move_out(m, k), role, &here);
            has_content = true;
        } else {
            take_member(c, m, k, role, &parts, where);
        }
    }
    if (parts.calls && strcmp(role, "assistant") != 0) {
        fault(c, "calls_role", where, "only an assistant message calls tools, found calls on role '%s'",
              role);
    }
    if (!has_content && !parts.calls) {
        fault(c, "content_missing", where, "expected a message with 'content', found none");
    }
    cJSON *out = cJSON_CreateObject();
    put_string(out, "role", role);
    put(out, "content", content ? content : cJSON_CreateString(""));
    put(out, "tool_calls", parts.calls);
    put(out, "tool_call_id", parts.call_id);
    put(out, "name", parts.name);
    put(out, "response_format", parts.format);
    put(out, "weight", parts.weight);
    return out;
}

static void take_messages(canon *c, cJSON *list, const char *key)
{
    spot list_at = {.key = key}, one_at = {.up = &list_at};
    c->list = key;
    if (!cJSON_IsArray(list)) {
        fault(c, "messages_type", &list_at, "expected an array of messages, found %s", kind_of(list));
        return;
    }
    c->messages = cJSON_CreateArray();
    cJSON *next;
    for (cJSON *m = list->child; m; m = next, one_at.index++) {
        next = m->next;
        cJSON *one = canon_message(c, move_out(list, m), &one_at);
        if (one) { cJSON_AddItemToArray(c->messages, one); }
    }
}

/* ---------------------------------------------------------------------------------------------- forms */

static void take_meta(canon *c, cJSON *meta)
{
    spot where = {.key = "meta"};
    cJSON *mine = c->meta;
    if (!cJSON_IsObject(meta)) {
        fault(c, "meta_type", &where, "expected an object, found %s", kind_of(meta));
        return;
    }
    c->meta = meta;
    for (cJSON *m = mine ? mine->child : NULL, *next; m; m = next) {
        next = m->next;
        if (fmp_json_get(meta, m->string)) {
            spot twice = {.up = &where, .key = m->string};
            fault(c, "given_twice", &twice, "expected '%s' once, found it also outside of meta", m->string);
        }
        cJSON_AddItemToObject(meta, m->string, move_out(mine, m));
    }
}

/* Keys that every object form shares; true if `node` was one of them. null says nothing. */
static bool take_common(canon *c, cJSON *row, cJSON *node)
{
    static const char *const keys[] = {"tools", "locale", "response_format", "meta", "id", NULL};
    spot where = {.key = node->string};
    int i = 0;
    while (keys[i] && !is_key(node, keys[i])) {
        i++;
    }
    if (!keys[i]) { return false; }
    if (cJSON_IsNull(node)) { return true; }
    move_out(row, node);
    switch (i) {
    case 0: take_tools(c, node, &where); break;
    case 1:
        if (!cJSON_IsString(node)) {
            fault(c, "locale_type", &where, "expected a language tag as text, found %s", kind_of(node));
        }
        c->locale = node;
        break;
    case 2:
        check_format(c, node, &where);
        c->response_format = node;
        break;
    case 3: take_meta(c, node); break;
    default: put_meta(c, "source_id", node, &where); break;
    }
    return true;
}

static void take_unknown(canon *c, cJSON *row, cJSON *node, const char *const *known)
{
    if (!c->opt->unknown_to_meta) {
        unknown_key(c, NULL, node->string, "the row", known);
        return;
    }
    cJSON *extra = cJSON_GetObjectItemCaseSensitive(meta_of(c), "extra");
    if (!extra) {
        extra = cJSON_CreateObject();
        put(c->meta, "extra", extra);
    }
    if (!cJSON_IsObject(extra) || fmp_json_get(extra, node->string)) {
        spot where = {.key = node->string};
        fault(c, "given_twice", &where, "expected room for this key in meta.extra, found meta.extra in use");
        return;
    }
    cJSON *moved = move_out(row, node);
    cJSON_AddItemToObject(extra, moved->string, moved);
}

static void from_messages(canon *c, cJSON *row)
{
    static const char *const known[] = {
        "messages", "tools", "functions", "parallel_tool_calls", "response_format", "locale",
        "meta",     "id",    NULL};
    cJSON *next;
    for (cJSON *m = row->child; m; m = next) {
        next = m->next;
        if (is_key(m, "messages")) {
            take_messages(c, move_out(row, m), "messages");
        } else if (is_key(m, "functions")) {
            spot where = {.key = "functions"};
            take_tools(c, move_out(row, m), &where);
        } else if (is_key(m, "parallel_tool_calls")) {
            spot where = {.key = "parallel_tool_calls"};
            put_meta(c, "parallel_tool_calls", move_out(row, m), &where);
        } else if (!take_common(c, row, m)) {
            take_unknown(c, row, m, known);
        }
    }
    if (!c->messages && c->problems->n == 0) {
        fault(c, "messages_missing", NULL, "expected a 'messages' array, found none");
    }
}

/* The adapter toolkit's object form: the first key's value is the message array, whatever its name. */
static void from_first_key(canon *c, cJSON *row)
{
    static const char *const known[] = {"tools", "response_format", "locale", "meta", "id", NULL};
    cJSON *first = row->child, *next;
    if (!cJSON_IsArray(first)) {
        static const char *const lists[] = {"messages", "conversations", "instruction", NULL};
        char word[64];
        const char *near_name = first ? nearest(first->string, lists) : NULL;
        fault(c, "form_unknown", NULL,
              "expected a message array, 'messages', 'conversations' or 'instruction', found %s%s%s%s%s%s",
              first ? "the key '" : "an empty object", first ? quoted(word, sizeof word, first->string) : "",
              first ? "'" : "", near_name ? "; did you mean '" : "", near_name ? near_name : "",
              near_name ? "'?" : "");
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

/* The row's own system message, ShareGPT and Alpaca. */
static void take_system(canon *c, const cJSON *system)
{
    spot where = {.key = "system"};
    if (!system || cJSON_IsNull(system)) { return; }
    if (!cJSON_IsString(system)) {
        fault(c, "content_type", &where, "expected text, found %s", kind_of(system));
    } else if (system->valuestring[0]) {
        cJSON_AddItemToArray(c->messages, plain_message("system", system->valuestring));
        c->own_system = true;
    }
}

/* "human" -> "user"; "function_call" -> "call"; NULL after a fault. */
static const char *sharegpt_role(canon *c, const cJSON *turn, const spot *where)
{
    static const char *const map[][2] = {{"human", "user"},
                                         {"user", "user"},
                                         {"gpt", "assistant"},
                                         {"assistant", "assistant"},
                                         {"chatgpt", "assistant"},
                                         {"model", "assistant"},
                                         {"system", "system"},
                                         {"function_call", "call"},
                                         {"observation", "tool"},
                                         {"tool", "tool"},
                                         {"function_response", "tool"}};
    char word[48];
    const char *from = fmp_json_str(turn, "from", NULL);
    spot from_at = {.up = where, .key = "from"};
    for (size_t k = 0; from && k < sizeof map / sizeof map[0]; k++) {
        if (strcmp(from, map[k][0]) == 0) { return map[k][1]; }
    }
    fault(c, from ? "role_unknown" : "role_missing", from ? &from_at : where,
          "expected 'from' to be human, gpt, system, function_call, observation or tool, found %s%s%s",
          from ? "'" : "", from ? quoted(word, sizeof word, from) : kind_of(fmp_json_get(turn, "from")),
          from ? "'" : "");
    return NULL;
}

/* The text of a function_call turn: one call or a list of them. */
static cJSON *sharegpt_calls(canon *c, const char *value, const spot *where)
{
    cJSON *call = NULL;
    fmp_err err = FMP_ERR_INIT;
    if (fmp_json_parse(value, strlen(value), NULL, &call, &err) != FMP_OK) {
        fault(c, "call_not_json", where, "expected the JSON text of a tool call: %s", err.message);
        return NULL;
    }
    if (cJSON_IsArray(call)) { return canon_calls(c, call, where); }
    cJSON *calls = cJSON_CreateArray(), *one = canon_call(c, call, where);
    if (one) { cJSON_AddItemToArray(calls, one); }
    return calls;
}

static cJSON *sharegpt_turn(canon *c, cJSON *turn, const spot *where)
{
    static const char *const known[] = {"from", "value", "weight", NULL};
    spot value_at = {.up = where, .key = "value"}, weight_at = {.up = where, .key = "weight"};
    if (!cJSON_IsObject(turn)) {
        fault(c, "message_type", where, "expected an object with 'from' and 'value', found %s",
              kind_of(turn));
        return NULL;
    }
    const char *value = fmp_json_str(turn, "value", NULL), *role = sharegpt_role(c, turn, where);
    if (!role) { return NULL; }
    if (!value) {
        const cJSON *node = fmp_json_get(turn, "value");
        fault(c, "content_type", node ? &value_at : where, "expected 'value' as text, found %s",
              kind_of(node));
        return NULL;
    }
    for (const cJSON *k = turn->child; k; k = k->next) {
        bool ours = is_key(k, "from") || is_key(k, "value") || is_key(k, "weight");
        if (!ours) { unknown_key(c, where, k->string, "a turn", known); }
    }
    bool call = strcmp(role, "call") == 0;
    cJSON *out = plain_message(call ? "assistant" : role, call ? "" : value);
    if (call) { put(out, "tool_calls", sharegpt_calls(c, value, &value_at)); }
    cJSON *weight = cJSON_GetObjectItemCaseSensitive(turn, "weight");
    if (weight && !cJSON_IsNull(weight)) {
        check_weight(c, weight, &weight_at);
        put(out, "weight", move_out(turn, weight));
    }
    return out;
}

static void from_sharegpt(canon *c, cJSON *row)
{
    static const char *const known[] = {"conversations", "system", "tools", "locale", "meta", "id", NULL};
    spot list_at = {.key = "conversations"}, one_at = {.up = &list_at};
    cJSON *turns = NULL, *next;
    c->list = "conversations";
    c->messages = cJSON_CreateArray();
    take_system(c, fmp_json_get(row, "system"));
    for (cJSON *m = row->child; m; m = next) {
        next = m->next;
        if (is_key(m, "conversations")) {
            turns = move_out(row, m);
        } else if (!is_key(m, "system") && !take_common(c, row, m)) {
            take_unknown(c, row, m, known);
        }
    }
    if (!cJSON_IsArray(turns)) {
        fault(c, turns ? "messages_type" : "messages_missing", turns ? &list_at : NULL,
              "expected 'conversations' as an array of turns, found %s", kind_of(turns));
        return;
    }
    for (cJSON *turn = turns->child; turn; turn = next, one_at.index++) {
        next = turn->next;
        cJSON *one = sharegpt_turn(c, turn, &one_at);
        if (one) { cJSON_AddItemToArray(c->messages, one); }
    }
}

/* One optional text member of an Alpaca row; a fault if it is there and no text. */
static const char *alpaca_text(canon *c, const cJSON *row, const char *key, bool required)
{
    const cJSON *node = fmp_json_get(row, key);
    spot where = {.key = key};
    if (cJSON_IsString(node)) { return node->valuestring; }
    if ((node && !cJSON_IsNull(node)) || required) {
        fault(c, "content_type", node ? &where : NULL, "expected '%s' as text, found %s", key, kind_of(node));
    }
    return "";
}

static void take_history(canon *c, const cJSON *history)
{
    spot where = {.key = "history"}, pair_at = {.up = &where};
    const cJSON *pair;
    if (!history || cJSON_IsNull(history)) { return; }
    if (!cJSON_IsArray(history)) {
        fault(c, "history_type", &where, "expected an array of [question, answer], found %s",
              kind_of(history));
        return;
    }
    cJSON_ArrayForEach(pair, history)
    {
        const cJSON *question = cJSON_GetArrayItem(pair, 0), *answer = cJSON_GetArrayItem(pair, 1);
        if (!cJSON_IsArray(pair) || !cJSON_IsString(question) || !cJSON_IsString(answer) ||
            cJSON_GetArraySize(pair) != 2) {
            fault(c, "history_type", &pair_at, "expected [question, answer], both text");
            return;
        }
        cJSON_AddItemToArray(c->messages, plain_message("user", question->valuestring));
        cJSON_AddItemToArray(c->messages, plain_message("assistant", answer->valuestring));
        pair_at.index++;
    }
    c->n_history = pair_at.index;
}

static void from_alpaca(canon *c, cJSON *row)
{
    static const char *const known[] = {"instruction", "input",  "output", "system", "history",
                                        "tools",       "locale", "meta",   "id",     NULL};
    const char *instruction = alpaca_text(c, row, "instruction", true),
               *input = alpaca_text(c, row, "input", false);
    const char *output = alpaca_text(c, row, "output", c->opt->require_last == LAST_ASSISTANT);
    spot output_at = {.key = "output"};
    c->messages = cJSON_CreateArray();
    take_system(c, fmp_json_get(row, "system"));
    take_history(c, fmp_json_get(row, "history"));
    fmp_buf user = {0};
    fmp_buf_puts(&user, instruction);
    if (*input) {
        if (*instruction) { fmp_buf_puts(&user, "\n\n"); }
        fmp_buf_puts(&user, input);
    }
    cJSON_AddItemToArray(c->messages, plain_message("user", user.data ? user.data : ""));
    fmp_buf_free(&user);
    if (*output) {
        cJSON_AddItemToArray(c->messages, plain_message("assistant", output));
    } else if (c->opt->require_last == LAST_ASSISTANT && cJSON_IsString(fmp_json_get(row, "output"))) {
        fault(c, "assistant_empty", &output_at, "expected text, found an empty 'output'");
    }
    cJSON *next;
    for (cJSON *m = row->child; m; m = next) {
        next = m->next;
        bool text = is_key(m, "instruction") || is_key(m, "input") || is_key(m, "output") ||
                    is_key(m, "system") || is_key(m, "history");
        if (!text && !take_common(c, row, m)) { take_unknown(c, row, m, known); }
    }
}

/* ---------------------------------------------------------------------------------------------- one row */

static row_form detect(const cJSON *row)
{
    if (cJSON_IsArray(row)) { return FORM_ARRAY; }
    for (const cJSON *m = row->child; m; m = m->next) {
        if (is_key(m, "messages")) { return FORM_MESSAGES; }
        if (is_key(m, "conversations")) { return FORM_SHAREGPT; }
        if (is_key(m, "instruction")) { return FORM_ALPACA; }
    }
    return FORM_ARRAY;
}

cJSON *canon_row(cJSON *row, const canon_options *opt, canon_problems *problems)
{
    canon c = {.opt = opt, .problems = problems, .list = ""};
    problems->n = 0;
    if (!cJSON_IsObject(row) && !cJSON_IsArray(row)) {
        fault(&c, "row_type", NULL, "expected a JSON array or object, found %s", kind_of(row));
        return NULL;
    }
    c.form = opt->form == FORM_AUTO ? detect(row) : opt->form;
    if (cJSON_IsArray(row) && c.form != FORM_ARRAY) {
        fault(&c, "form_mismatch", NULL,
              "expected an object of the form asked for, found a bare message array");
        return NULL;
    }
    switch (c.form) {
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
    if (problems->n == 0 && c.messages) { check_rules(&c); }
    if (problems->n > 0 || !c.messages) { return NULL; }
    cJSON *doc = cJSON_CreateObject();
    put(doc, "messages", c.messages);
    put(doc, "tools", c.tools);
    put(doc, "response_format", c.response_format);
    put(doc, "locale", c.locale);
    put(doc, "meta", c.meta);
    return doc;
}
