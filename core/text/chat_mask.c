/*
 * chat_mask.c: which bytes of a rendered conversation a model is trained on, from the provenance of the
 * bytes.
 *
 * No template needs to be changed or marked for it. Two facts suffice: which message each byte came from,
 * and where a generation prompt for that message would have ended. See fmp_chat_mask in chat_template.h for
 * the exact rule.
 */
#include "template_impl.h"

#define NO_MESSAGE SIZE_MAX

/* The message a path lies under ("messages[12].content": 12); NO_MESSAGE for other paths and for roles. */
static size_t message_of_path(const char *path, bool *is_role)
{
    static const char prefix[] = "messages[";
    size_t n = 0;
    *is_role = false;
    if (strncmp(path, prefix, sizeof prefix - 1) != 0) { return NO_MESSAGE; }
    for (path += sizeof prefix - 1; *path >= '0' && *path <= '9'; path++) {
        n = n * 10 + (size_t)(*path - '0');
    }
    *is_role = strcmp(path, "].role") == 0;
    return n;
}

typedef struct masker {
    const fmp_template *tmpl;
    const cJSON *context;
    const fmp_rendered *full;
    const fmp_chat_mask_options *options;
    fmp_rendered prefix;
    size_t next_span; /* spans before it end before the last prompt */
    fmp_err *err;
} masker;

/* Where generation of message i begins. */
static fmp_status prompt_length(masker *m, size_t i, size_t *out)
{
    const fmp_buf *full = &m->full->text, *prefix = &m->prefix.text;
    *out = 0;
    fmp_status st = tpl_render(m->tmpl, m->context, &m->options->render, i, true, &m->prefix, m->err);
    if (st != FMP_OK) {
        (void)fmp_err_note(m->err, "while rendering the prompt of messages[%zu]", i);
        return st;
    }
    size_t same = 0;
    while (same < prefix->len && same < full->len && prefix->data[same] == full->data[same]) {
        same++;
    }
    if (same < prefix->len) {
        return fmp_fail(
            m->err, FMP_E_MISMATCH,
            "template '%s' does not extend its own prompt: what it writes up to messages[%zu] differs at "
            "byte %zu from what it writes for the whole conversation",
            m->tmpl->name, i, same);
    }
    *out = prefix->len;
    return FMP_OK;
}

/* What a message became in the output, from where its generation begins. */
typedef struct extent {
    size_t last;    /* end of its last byte before the first byte of another message */
    size_t limit;   /* that other message's byte, or the end of the text             */
    bool has_calls; /* some of these bytes are from its tool_calls                   */
} extent;

static extent message_extent(masker *m, size_t i, size_t begin)
{
    extent e = {.last = begin, .limit = m->full->text.len};
    while (m->next_span < m->full->n_spans && m->full->spans[m->next_span].end <= begin) {
        m->next_span++;
    }
    for (size_t k = m->next_span; k < m->full->n_spans; k++) {
        const fmp_span *s = &m->full->spans[k];
        bool is_role;
        if (s->kind != FMP_SPAN_INPUT) { continue; }
        const char *path = m->full->paths[s->path];
        size_t from = message_of_path(path, &is_role);
        if (from == NO_MESSAGE) { continue; }
        if (from != i) {
            e.limit = s->begin;
            break;
        }
        if (!is_role) { e.last = s->end; }
        e.has_calls = e.has_calls || strstr(path, "].tool_calls") != NULL;
    }
    return e;
}

/* End of the first stop text that starts in [from, limit). */
static bool find_stop(const masker *m, size_t from, size_t limit, size_t *end)
{
    const char *text = m->full->text.data;
    for (size_t at = from; at < limit; at++) {
        for (size_t k = 0; k < m->options->n_stops; k++) {
            size_t n = strlen(m->options->stops[k]);
            if (n > 0 && n <= m->full->text.len - at && memcmp(text + at, m->options->stops[k], n) == 0) {
                *end = at + n;
                return true;
            }
        }
    }
    return false;
}

static fmp_status mask_message(masker *m, const cJSON *message, size_t i, fmp_mask_range *range)
{
    const cJSON *calls = cJSON_GetObjectItemCaseSensitive(message, "tool_calls");
    size_t begin;
    FMP_TRY(prompt_length(m, i, &begin));
    extent e = message_extent(m, i, begin);
    *range = (fmp_mask_range){.begin = begin, .message = i};
    if (cJSON_IsArray(calls) && calls->child && !e.has_calls) {
        return fmp_fail(m->err, FMP_E_DATA, "template '%s' leaves out the tool calls of messages[%zu]",
                        m->tmpl->name, i);
    }
    if (find_stop(m, e.last, e.limit, &range->end)) { return FMP_OK; }
    (void)fmp_fail(
        m->err, FMP_E_DATA,
        "messages[%zu] (assistant) is not followed by an end-of-turn text in the output of template '%s'", i,
        m->tmpl->name);
    return fmp_err_hint(m->err, "name the text that ends an assistant turn of this template as a stop");
}

static bool is_assistant(const cJSON *message)
{
    const cJSON *role = cJSON_GetObjectItemCaseSensitive(message, "role");
    return cJSON_IsString(role) && strcmp(role->valuestring, "assistant") == 0;
}

static fmp_status mask_all(masker *m, const cJSON *messages, fmp_mask_range *ranges, size_t *n_ranges)
{
    const cJSON *last = NULL;
    size_t i = 0;
    for (const cJSON *c = messages->child; c; c = c->next) {
        if (is_assistant(c)) { last = c; }
    }
    for (const cJSON *c = messages->child; c; c = c->next, i++) {
        bool wanted = is_assistant(c) && (m->options->policy == FMP_MASK_ALL || c == last);
        if (wanted) { FMP_TRY(mask_message(m, c, i, &ranges[(*n_ranges)++])); }
    }
    return FMP_OK;
}

fmp_status fmp_chat_mask(const fmp_template *tmpl, const cJSON *context, const fmp_rendered *rendered,
                         const fmp_chat_mask_options *options, fmp_arena *arena, fmp_mask_range **ranges,
                         size_t *n_ranges, fmp_err *err)
{
    masker m = {.tmpl = tmpl, .context = context, .full = rendered, .options = options, .err = err};
    const cJSON *messages = cJSON_GetObjectItemCaseSensitive(context, "messages");
    size_t n = 0;
    *ranges = NULL;
    *n_ranges = 0;
    if (!cJSON_IsArray(messages)) {
        return fmp_fail(err, FMP_E_DATA, "expected an array 'messages' in the context");
    }
    if (options->n_stops == 0) {
        return fmp_fail(err, FMP_E_CONFIG, "no text that ends an assistant turn was given");
    }
    for (const cJSON *c = messages->child; c; c = c->next) {
        n += is_assistant(c);
    }
    *ranges = fmp_arena_take(arena, (n + 1) * sizeof **ranges);
    FMP_TRY(fmp_arena_ok(arena, err));
    fmp_status st = mask_all(&m, messages, *ranges, n_ranges);
    fmp_rendered_free(&m.prefix);
    return st;
}
