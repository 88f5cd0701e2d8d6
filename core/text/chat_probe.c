/*
 * chat_probe.c: what a chat template accepts, found out by rendering small conversations when it is opened.
 *
 * Templates differ in ways that lose data without an error: arguments as a JSON value come out as Python
 * text, tools are left out, earlier turns change. Provenance makes each of these visible: the bytes of a
 * call are those that came from its arguments, and they must read back as the value that went in.
 */
#include "chat_impl.h"

#include <stdlib.h>

#define USER   "{\"role\":\"user\",\"content\":\"Uqa\"}"
#define USER2  "{\"role\":\"user\",\"content\":\"Wqj\"}"
#define ANSWER "{\"role\":\"assistant\",\"content\":\"Aqb\"}"
#define SYSTEM "{\"role\":\"system\",\"content\":\"Sqc\"}"
#define RESULT "{\"role\":\"tool\",\"tool_call_id\":\"call12345\",\"name\":\"fqd\",\"content\":\"Rqe\"}"
#define ARGS   "{\"city\":\"Vqf\",\"n\":7,\"on\":true,\"list\":[\"x y\",null]}"
#define ARGTEXT                                                                                              \
    "\"{\\\"city\\\": \\\"Vqf\\\", \\\"n\\\": 7, \\\"on\\\": true, \\\"list\\\": [\\\"x y\\\", null]}\""
#define CALL(arguments)                                                                                      \
    "{\"id\":\"call12345\",\"type\":\"function\",\"function\":{\"name\":\"fqd\",\"arguments\":" arguments "}}"
#define CALL_AS(id)           "{" id "\"type\":\"function\",\"function\":{\"name\":\"fqd\",\"arguments\":" ARGS "}}"
#define CALLS(content, calls) "{\"role\":\"assistant\"," content "\"tool_calls\":[" calls "]}"
#define NO_TEXT               "\"content\":\"\","
#define TOOLS                                                                                                \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"fqd\",\"description\":\"Dqg\","              \
    "\"parameters\":{\"type\":"                                                                              \
    "\"object\",\"properties\":{\"city\":{\"type\":\"string\",\"description\":\"Pqh\"}},\"required\":["      \
    "\"city\"]}}}],"
#define ASKED                USER "," CALLS(NO_TEXT, CALL(ARGS)) "," RESULT
#define TALK(more, messages) "{" more "\"messages\":[" messages "]}"

typedef struct prober {
    fmp_chat *chat;
    fmp_arena *arena;
    fmp_rendered out;
    cJSON *context; /* of the last render */
    fmp_err err;
} prober;

static bool renders(prober *p, const char *doc, bool prompt)
{
    cJSON *json = NULL;
    fmp_err_clear(&p->err);
    if (fmp_json_parse(doc, strlen(doc), NULL, &json, &p->err) != FMP_OK) { return false; }
    p->context = chat_context(p->chat, json, 0, prompt);
    return fmp_template_render(p->chat->tmpl, p->context, &p->chat->render, &p->out, &p->err) == FMP_OK;
}

static bool shows(prober *p, const char *doc, const char *word)
{
    return renders(p, doc, false) && memmem(p->out.text.data, p->out.text.len, word, strlen(word));
}

/* The output from the first to the last byte whose path begins so; false: there is none. */
static bool bytes_from(const fmp_rendered *r, const char *prefix, const char **text, size_t *len)
{
    size_t begin = SIZE_MAX, end = 0;
    for (size_t i = 0; i < r->n_spans; i++) {
        const fmp_span *s = &r->spans[i];
        if (s->kind != FMP_SPAN_INPUT || strncmp(r->paths[s->path], prefix, strlen(prefix)) != 0) {
            continue;
        }
        begin = begin == SIZE_MAX ? s->begin : begin;
        end = s->end;
    }
    *text = r->text.data + (begin == SIZE_MAX ? 0 : begin);
    *len = begin == SIZE_MAX ? 0 : end - begin;
    return *len > 0;
}

/* ---- calls ---- */

#define ARGUMENTS_PATH "messages[1].tool_calls[0].function.arguments"

/* The last render's call reads back as the value that went in. */
static bool reads_back(const prober *p)
{
    const char *text;
    size_t len;
    cJSON *found = NULL, *wanted = NULL;
    if (!bytes_from(&p->out, ARGUMENTS_PATH, &text, &len)) { return false; }
    if (fmp_json_parse(text, len, NULL, &found, NULL) != FMP_OK) { return false; }
    return fmp_json_parse(ARGS, strlen(ARGS), NULL, &wanted, NULL) == FMP_OK &&
           cJSON_Compare(found, wanted, true);
}

/* Every form of a call: with each form of no content, arguments as a value or as text. */
#define CALLED(content, arguments) TALK(TOOLS, USER "," CALLS(content, CALL(arguments)))
static const char *const called[CHAT_N_CONTENTS][2] = {
    {CALLED(NO_TEXT, ARGS), CALLED(NO_TEXT, ARGTEXT)},
    {CALLED("\"content\":null,", ARGS), CALLED("\"content\":null,", ARGTEXT)},
    {CALLED("", ARGS), CALLED("", ARGTEXT)},
};

/* The call is there, in a notation of the template's own: some bytes under the path of each argument. */
static bool is_shown(const prober *p, bool text)
{
    const char *bytes;
    size_t len;
    return bytes_from(&p->out, text ? ARGUMENTS_PATH : ARGUMENTS_PATH ".city", &bytes, &len);
}

/* Which of the forms come out as `good` says; those that come out unlike the first of them do not count. */
static void sort_forms(prober *p, bool json, chat_facts *f)
{
    fmp_buf first = {0};
    for (int text = 0; text < 2; text++) {
        bool *whole = text ? &f->text_arguments : &f->value_arguments;
        for (int k = 0; k < CHAT_N_CONTENTS; k++) {
            bool good = renders(p, called[k][text], false) && (json ? reads_back(p) : is_shown(p, text));
            if (!good) { continue; }
            if (first.len == 0) { fmp_buf_add(&first, p->out.text.data, p->out.text.len); }
            bool same = first.len == p->out.text.len && memcmp(first.data, p->out.text.data, first.len) == 0;
            f->content[k] = f->content[k] || same;
            *whole = true;
        }
        if (!json && *whole) { break; } /* in another notation a value says more than a text */
    }
    fmp_buf_free(&first);
}

static void probe_calls(prober *p, chat_facts *f)
{
    const char *text;
    size_t len;
    sort_forms(p, true, f);
    f->json_calls = f->value_arguments || f->text_arguments;
    if (!f->json_calls) { sort_forms(p, false, f); }
    if (f->value_arguments || f->text_arguments) {
        p->chat->facts = *f;
    } /* from here on calls are given as they fit */
    f->many_calls = renders(p, TALK(TOOLS, USER "," CALLS(NO_TEXT, CALL(ARGS) "," CALL(ARGS))), false) &&
                    bytes_from(&p->out, "messages[1].tool_calls[1]", &text, &len);
    f->tool_results = shows(p, TALK(TOOLS, ASKED "," ANSWER), "Rqe");
    if (!f->value_arguments && !f->text_arguments) { return; }
    f->nine_ids = !renders(p, TALK(TOOLS, USER "," CALLS(NO_TEXT, CALL_AS("\"id\":\"call_1\","))), false);
    f->needs_ids = !renders(p, TALK(TOOLS, USER "," CALLS(NO_TEXT, CALL_AS(""))), false);
}

/* ---- turns ---- */

/* What the prompt writes behind the last byte of the conversation's last message; NULL: not to be had. */
static char *tail_of(prober *p, const char *doc)
{
    char last[24];
    if (!renders(p, doc, true)) { return NULL; }
    const cJSON *messages = fmp_json_get(p->context, "messages");
    snprintf(last, sizeof last, "messages[%d]", cJSON_GetArraySize(messages) - 1);
    for (size_t i = p->out.n_spans; i-- > 0;) {
        const fmp_span *s = &p->out.spans[i];
        const char *path = s->kind == FMP_SPAN_INPUT ? p->out.paths[s->path] : "";
        if (strncmp(path, "messages[", 9) != 0) { continue; }
        if (strncmp(path, last, strlen(last)) != 0) { return NULL; }
        return strndup(p->out.text.data + s->end, p->out.text.len - s->end);
    }
    return NULL;
}

static void probe_tails(prober *p, fmp_chat_tails tails[2])
{
    tails[0].after[CHAT_AFTER_USER] = tail_of(p, TALK("", USER));
    tails[1].after[CHAT_AFTER_USER] = tail_of(p, TALK(TOOLS, USER));
    tails[0].after[CHAT_AFTER_SYSTEM] = tail_of(p, TALK("", SYSTEM));
    tails[1].after[CHAT_AFTER_SYSTEM] = tail_of(p, TALK(TOOLS, SYSTEM));
    tails[0].after[CHAT_AFTER_TOOL] = tail_of(p, TALK("", ASKED));
    tails[1].after[CHAT_AFTER_TOOL] = tail_of(p, TALK(TOOLS, ASKED));
}

/* The mask of a conversation; *rewritten: some turn's past differs from what inference saw; *end: of the first
 * range. */
static fmp_status mask_of(prober *p, const char *doc, bool *rewritten, size_t *end)
{
    const fmp_chat_mask_options o = {.stops = (const char *const *)p->chat->stop_texts,
                                     .n_stops = p->chat->n_stop_texts,
                                     .render = p->chat->render,
                                     .check_past = true};
    fmp_chat_mask_result found;
    if (!renders(p, doc, false)) { return (fmp_status)p->err.code; }
    fmp_status status = fmp_chat_mask(p->chat->tmpl, p->context, &p->out, &o, p->arena, &found, &p->err);
    *rewritten = status == FMP_E_MISMATCH || (status == FMP_OK && found.n_rewritten > 0);
    *end = status == FMP_OK && found.n_ranges > 0 ? found.ranges[0].end : 0;
    return status;
}

/* No stop text follows a message of tool calls, though the conversation goes on behind it. */
static bool has_open_calls(prober *p)
{
    const fmp_chat_mask_options o = {.stops = (const char *const *)p->chat->stop_texts,
                                     .n_stops = p->chat->n_stop_texts,
                                     .render = p->chat->render,
                                     .only_one = true,
                                     .one = 1};
    fmp_chat_mask_result found;
    if (!renders(p, TALK(TOOLS, ASKED "," ANSWER), false)) { return false; }
    fmp_status status = fmp_chat_mask(p->chat->tmpl, p->context, &p->out, &o, p->arena, &found, &p->err);
    return status == FMP_OK && found.open;
}

/* The text behind the last byte of messages[1], up to the next message's first; false: it left no byte. */
static bool text_behind_answer(const prober *p, const char **text, size_t *len)
{
    size_t from = SIZE_MAX, to = p->out.text.len;
    for (size_t i = 0; i < p->out.n_spans; i++) {
        const fmp_span *s = &p->out.spans[i];
        if (s->kind != FMP_SPAN_INPUT) { continue; }
        const char *path = p->out.paths[s->path];
        if (strncmp(path, "messages[1].content", 19) == 0) { from = s->end; }
        if (strncmp(path, "messages[2]", 11) == 0 && to == p->out.text.len) { to = s->begin; }
    }
    *text = p->out.text.data + (from == SIZE_MAX ? 0 : from);
    *len = from < to ? to - from : 0;
    return from <= to;
}

/* Behind a whole conversation stands text that does not stand behind its last message otherwise. */
static bool has_trail(prober *p)
{
    fmp_buf last = {0};
    const char *text;
    size_t len;
    bool trails = false;
    if (renders(p, TALK(TOOLS, USER "," ANSWER), false) && text_behind_answer(p, &text, &len)) {
        fmp_buf_add(&last, text, len);
        trails = renders(p, TALK(TOOLS, USER "," ANSWER "," USER2 "," ANSWER), false) &&
                 text_behind_answer(p, &text, &len) &&
                 (last.len > len || (last.len > 0 && memcmp(last.data, text, last.len) != 0));
    }
    fmp_buf_free(&last);
    return trails;
}

/* The longest stop text that ends at byte `end` of the last rendering. */
static char *stop_before(const prober *p, size_t end)
{
    const char *best = NULL;
    for (size_t i = 0; i < p->chat->n_stop_texts; i++) {
        const char *stop = p->chat->stop_texts[i];
        size_t n = strlen(stop);
        bool fits = n <= end && memcmp(p->out.text.data + end - n, stop, n) == 0;
        if (fits && (!best || n > strlen(best))) { best = stop; }
    }
    return best ? strdup(best) : NULL;
}

#define THOUGHT "{\"role\":\"assistant\",\"content\":\"<think>\\nTqi\\n</think>\\n\\nAqb\"}," USER2 "," ANSWER
#define REASON  "{\"role\":\"assistant\",\"reasoning_content\":\"Tqi\",\"content\":\"Aqb\"}," USER2 "," ANSWER

static void probe_turns(prober *p, chat_facts *f)
{
    static const char *const talks[] = {TALK("", USER "," ANSWER "," USER2 "," ANSWER),
                                        TALK("", USER "," THOUGHT), TALK("", USER "," REASON),
                                        TALK(TOOLS, USER "," ANSWER "," USER2 "," ANSWER),
                                        TALK(TOOLS, ASKED "," ANSWER "," USER2 "," ANSWER)};
    static const char one[] = TALK("", USER "," ANSWER), with_tools[] = TALK(TOOLS, USER "," ANSWER);
    const char *plain = one;
    bool rewritten = false;
    size_t end;
    f->conversation = renders(p, one, false);
    if (!f->conversation &&
        renders(p, with_tools, false)) { /* a template for conversations with tools only */
        f->conversation = true;
        plain = with_tools;
    }
    if (!f->conversation) { snprintf(f->refusal, sizeof f->refusal, "%.190s", p->err.message); }
    for (size_t i = 0; i < p->out.n_spans; i++) {
        f->generation_marks |= p->out.spans[i].generation;
    }
    f->ends_turn = mask_of(p, plain, &rewritten, &end) == FMP_OK;
    p->chat->turn_end = f->ends_turn ? stop_before(p, end) : NULL;
    f->open_calls = p->chat->turn_end && has_open_calls(p);
    f->trails = f->open_calls && has_trail(p);
    for (size_t i = 0; i < sizeof talks / sizeof talks[0]; i++) {
        rewritten = false;
        (void)!mask_of(p, talks[i], &rewritten, &end);
        f->rewrites_past = f->rewrites_past || rewritten;
    }
}

static fmp_status probe_all(fmp_chat *chat, prober *p, fmp_err *err)
{
    chat_facts found = {0};
    /* nothing is exchanged while it is being found out */
    chat->facts = (chat_facts){.value_arguments = true, .text_arguments = true};
    for (int i = 0; i < CHAT_N_CONTENTS; i++) {
        chat->facts.content[i] = true;
    }
    probe_calls(p, &found);
    found.system =
        shows(p, TALK("", SYSTEM "," USER), "Sqc") || shows(p, TALK(TOOLS, SYSTEM "," USER), "Sqc");
    found.tools = shows(p, TALK(TOOLS, USER), "fqd");
    probe_turns(p, &found);
    probe_tails(p, chat->tails);
    chat->facts = found;
    return fmp_arena_ok(p->arena, err);
}

fmp_status chat_probe(fmp_chat *chat, fmp_err *err)
{
    prober p = {.chat = chat, .arena = fmp_arena_new(0), .err = FMP_ERR_INIT};
    if (!p.arena) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    fmp_arena *outer = fmp_json_scope(p.arena);
    fmp_status status = probe_all(chat, &p, err);
    fmp_json_scope(outer);
    fmp_rendered_free(&p.out);
    fmp_arena_free(p.arena);
    return status;
}

const fmp_chat_tails *chat_tails(const fmp_chat *chat, const cJSON *doc)
{
    const cJSON *tools = fmp_json_get(doc, "tools");
    return &chat->tails[cJSON_IsArray(tools) && tools->child];
}

/* ---- for the caller ---- */

cJSON *fmp_chat_facts(const fmp_chat *chat)
{
    static const char *const contents[] = {"empty", "null", "absent"};
    static const char *const arguments[] = {"none", "text", "value", "either"};
    const chat_facts *f = &chat->facts;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddBoolToObject(o, "system", f->system);
    cJSON_AddBoolToObject(o, "tools", f->tools);
    cJSON_AddBoolToObject(o, "tool_results", f->tool_results);
    cJSON_AddBoolToObject(o, "many_calls", f->many_calls);
    cJSON_AddStringToObject(o, "arguments", arguments[f->value_arguments * 2 + f->text_arguments]);
    cJSON_AddStringToObject(o, "calls",
                            f->json_calls                             ? "json"
                            : f->value_arguments || f->text_arguments ? "other"
                                                                      : "none");
    cJSON *list = cJSON_AddArrayToObject(o, "empty_content");
    for (int i = 0; i < CHAT_N_CONTENTS; i++) {
        if (f->content[i]) { cJSON_AddItemToArray(list, cJSON_CreateString(contents[i])); }
    }
    cJSON_AddStringToObject(o, "call_ids", f->nine_ids ? "nine" : f->needs_ids ? "needed" : "any");
    cJSON_AddBoolToObject(o, "ends_turn", f->ends_turn);
    cJSON_AddBoolToObject(o, "ends_calls", f->ends_turn && !f->open_calls);
    cJSON_AddBoolToObject(o, "generation_marks", f->generation_marks);
    cJSON_AddBoolToObject(o, "rewrites_past", f->rewrites_past);
    return o;
}

fmp_status fmp_chat_check(const fmp_chat *chat, fmp_err *err)
{
    const char *name = fmp_template_name(chat->tmpl);
    if (!chat->facts.conversation) {
        fmp_fail(err, FMP_E_CONFIG, "template '%s' refuses a plain conversation: %s", name,
                 chat->facts.refusal);
        return fmp_err_hint(err, "use another template, or set the template variables that it needs");
    }
    if (chat->facts.ends_turn) { return FMP_OK; }
    fmp_buf stops = {0};
    for (size_t i = 0; i < chat->n_stop_texts; i++) {
        fmp_buf_printf(&stops, "%s'%s'", i ? ", " : "", chat->stop_texts[i]);
    }
    fmp_fail(err, FMP_E_CONFIG,
             "template '%s' writes no stop text behind an assistant message: expected one of %s", name,
             stops.data ? stops.data : "");
    fmp_buf_free(&stops);
    return fmp_err_hint(
        err, "name the text that ends an assistant turn of this template as a stop, or use the template of "
             "this tokenizer");
}
