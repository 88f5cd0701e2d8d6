/*
 * chat_context.c: the variables a chat template sees for one conversation, as transformers would pass them.
 *
 * Messages are views of the document, which is never changed. Only where the probing of the template showed
 * that it loses or refuses a form (call arguments as a value or as text, no content beside tool calls, ids
 * of calls) is that form exchanged for one that comes out whole.
 */
#include "chat_impl.h"

#include <stdlib.h>

/* A node that shares its value with `node`; the template only reads. */
static cJSON *view(const cJSON *node)
{
    cJSON *v = cJSON_CreateNull();
    if (v && node) {
        v->type = (node->type & 0xFF) | cJSON_IsReference;
        v->child = node->child;
        v->valuestring = node->valuestring;
        v->valuedouble = node->valuedouble;
        v->valueint = node->valueint;
    }
    return v;
}

/* A copy of an object whose members are views, with `with` (taken) in place of the member `name`; NULL:
 * without it. */
static cJSON *with_member(const cJSON *object, const char *name, cJSON *with)
{
    cJSON *copy = cJSON_CreateObject();
    bool done = false;
    const cJSON *c;
    cJSON_ArrayForEach(c, object)
    {
        bool same = strcmp(c->string, name) == 0;
        if (!same || with) { cJSON_AddItemToObjectCS(copy, c->string, same ? with : view(c)); }
        done = done || same;
    }
    if (!done && with) { cJSON_AddItemToObjectCS(copy, name, with); }
    return copy;
}

/* The arguments in the form that comes out whole; NULL: leave them. */
static cJSON *converted_arguments(const chat_facts *facts, const cJSON *arguments)
{
    if (!arguments) { return NULL; }
    if (cJSON_IsString(arguments)) {
        cJSON *value = NULL;
        const char *text = arguments->valuestring;
        if (facts->text_arguments || !facts->value_arguments) { return NULL; }
        if (fmp_json_parse(text, strlen(text), NULL, &value, NULL) != FMP_OK) { return NULL; }
        return cJSON_IsObject(value) ? value : NULL;
    }
    if (facts->value_arguments || !facts->text_arguments) { return NULL; }
    char *text = fmp_json_text(arguments, FMP_JSON_SPACED);
    cJSON *string = text ? cJSON_CreateString(text) : NULL;
    free(text);
    return string;
}

/* ---- ids of calls ---- */

static bool id_fits(const chat_facts *facts, const char *id)
{
    if (!id) { return !facts->needs_ids; }
    return !facts->nine_ids ||
           (strlen(id) == 9 && strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789") == 9);
}

/* An id that every template takes, for the n-th call of the conversation. */
static cJSON *made_id(size_t n)
{
    char text[32];
    snprintf(text, sizeof text, "call%05zu", n % 100000);
    return cJSON_CreateString(text);
}

static size_t calls_before(const cJSON *messages, const cJSON *message)
{
    size_t n = 0;
    for (const cJSON *m = messages->child; m && m != message; m = m->next) {
        n += (size_t)cJSON_GetArraySize(fmp_json_get(m, "tool_calls"));
    }
    return n;
}

/* The number of the call that a tool message answers: the last one with its id, else the one at its own place
 * behind the last message with calls. */
static size_t answered_call(const cJSON *messages, const cJSON *message)
{
    const char *id = fmp_json_str(message, "tool_call_id", NULL);
    const cJSON *asking = NULL, *m, *call;
    size_t n = 0, found = SIZE_MAX, first = 0, place = 0;
    for (m = messages->child; m && m != message; m = m->next) {
        const cJSON *calls = fmp_json_get(m, "tool_calls");
        if (cJSON_IsArray(calls) && calls->child) {
            asking = m;
            first = n;
            place = 0;
        } else {
            place += asking && strcmp(fmp_json_str(m, "role", ""), "tool") == 0;
        }
        cJSON_ArrayForEach(call, calls)
        {
            if (id && strcmp(fmp_json_str(call, "id", ""), id) == 0) { found = n; }
            n++;
        }
    }
    return found != SIZE_MAX ? found : first + place;
}

static cJSON *with_ids(const chat_facts *facts, const cJSON *messages, const cJSON *message, cJSON *changed)
{
    cJSON *calls = cJSON_GetObjectItemCaseSensitive(changed, "tool_calls"), *list = NULL, *call;
    if (strcmp(fmp_json_str(message, "role", ""), "tool") == 0) {
        if (id_fits(facts, fmp_json_str(message, "tool_call_id", NULL))) { return changed; }
        return with_member(changed, "tool_call_id", made_id(answered_call(messages, message)));
    }
    size_t n = calls_before(messages, message);
    cJSON_ArrayForEach(call, calls)
    {
        if (!list) { list = cJSON_CreateArray(); }
        bool fits = id_fits(facts, fmp_json_str(call, "id", NULL));
        cJSON_AddItemToArray(list, fits ? view(call) : with_member(call, "id", made_id(n)));
        n++;
    }
    return list ? with_member(changed, "tool_calls", list) : changed;
}

/* ---- messages ---- */

static cJSON *fitting_call(const chat_facts *facts, const cJSON *call)
{
    const cJSON *function = fmp_json_get(call, "function"), *inner = function ? function : call;
    cJSON *arguments = converted_arguments(facts, fmp_json_get(inner, "arguments"));
    if (!arguments) { return view(call); }
    cJSON *changed = with_member(inner, "arguments", arguments);
    return function ? with_member(call, "function", changed) : changed;
}

static bool has_odd_arguments(const chat_facts *facts, const cJSON *calls)
{
    const cJSON *call;
    cJSON_ArrayForEach(call, calls)
    {
        const cJSON *function = fmp_json_get(call, "function");
        const cJSON *arguments = fmp_json_get(function ? function : call, "arguments");
        bool text = cJSON_IsString(arguments);
        if (arguments && !(text ? facts->text_arguments : facts->value_arguments)) { return true; }
    }
    return false;
}

static int content_form(const cJSON *message)
{
    const cJSON *content = fmp_json_get(message, "content");
    if (!content) { return CHAT_CONTENT_ABSENT; }
    if (cJSON_IsNull(content)) { return CHAT_CONTENT_NULL; }
    return cJSON_IsString(content) && !*content->valuestring ? CHAT_CONTENT_EMPTY : CHAT_N_CONTENTS;
}

/* A message with tool calls, as the template needs it. */
static cJSON *with_fitting_calls(const chat_facts *facts, const cJSON *message, cJSON *changed)
{
    const cJSON *calls = fmp_json_get(message, "tool_calls"), *call;
    if (!cJSON_IsArray(calls) || !calls->child) { return changed; }
    if (has_odd_arguments(facts, calls)) {
        cJSON *list = cJSON_CreateArray();
        cJSON_ArrayForEach(call, calls)
        {
            cJSON_AddItemToArray(list, fitting_call(facts, call));
        }
        changed = with_member(changed, "tool_calls", list);
    }
    int form = content_form(message);
    if (form == CHAT_N_CONTENTS || facts->content[form]) { return changed; }
    if (facts->content[CHAT_CONTENT_EMPTY]) {
        return with_member(changed, "content", cJSON_CreateString(""));
    }
    if (facts->content[CHAT_CONTENT_NULL]) { return with_member(changed, "content", cJSON_CreateNull()); }
    return facts->content[CHAT_CONTENT_ABSENT] ? with_member(changed, "content", NULL) : changed;
}

static cJSON *fitting_message(const chat_facts *facts, const cJSON *messages, const cJSON *message)
{
    cJSON *changed = with_fitting_calls(facts, message, view(message));
    return facts->needs_ids || facts->nine_ids ? with_ids(facts, messages, message, changed) : changed;
}

static void add_token(cJSON *context, const fmp_chat *chat, const char *name, uint32_t id)
{
    const char *text = id == FMP_TOKEN_NONE ? NULL : fmp_tokenizer_text(chat->tok, id);
    if (text) { cJSON_AddItemToObjectCS(context, name, cJSON_CreateString(text)); }
}

static void add_tokens(cJSON *context, const fmp_chat *chat)
{
    if (!chat->tok) { /* a template alone is looked at with the commonest ones */
        cJSON_AddItemToObjectCS(context, "bos_token", cJSON_CreateString("<s>"));
        cJSON_AddItemToObjectCS(context, "eos_token", cJSON_CreateString("</s>"));
        return;
    }
    add_token(context, chat, "bos_token", fmp_tokenizer_bos(chat->tok));
    add_token(context, chat, "eos_token", fmp_tokenizer_eos(chat->tok));
    add_token(context, chat, "unk_token", fmp_tokenizer_unk(chat->tok));
    add_token(context, chat, "pad_token", fmp_tokenizer_pad(chat->tok));
}

static void add_views(cJSON *context, const cJSON *from, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const cJSON *value = fmp_json_get(from, names[i]);
        if (value) { cJSON_AddItemToObjectCS(context, names[i], view(value)); }
    }
}

cJSON *chat_context(const fmp_chat *chat, const cJSON *doc, size_t n_messages, bool generation_prompt)
{
    static const char *const own[] = {"response_format"};
    cJSON *context = cJSON_CreateObject(), *messages = cJSON_CreateArray();
    const cJSON *given = fmp_json_get(doc, "messages"), *m;
    size_t n = 0;
    cJSON_ArrayForEach(m, given)
    {
        if (n_messages > 0 && n == n_messages) { break; }
        cJSON_AddItemToArray(messages, fitting_message(&chat->facts, given, m));
        n++;
    }
    cJSON_AddItemToObjectCS(context, "messages", messages);
    cJSON_AddItemToObjectCS(context, "tools", view(fmp_json_get(doc, "tools")));
    cJSON_AddItemToObjectCS(context, "documents", view(fmp_json_get(doc, "documents")));
    add_views(context, doc, own, sizeof own / sizeof own[0]);
    cJSON_AddItemToObjectCS(context, "add_generation_prompt", cJSON_CreateBool(generation_prompt));
    add_tokens(context, chat);
    cJSON_ArrayForEach(m, chat->variables)
    {
        if (!fmp_json_get(context, m->string)) { cJSON_AddItemToObjectCS(context, m->string, view(m)); }
    }
    return context;
}
