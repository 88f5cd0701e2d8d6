/*
 * chat_mask.c: which bytes of a rendered conversation a model is trained on, from the provenance of the
 * bytes.
 *
 * No template needs to be changed or marked for it. Two facts suffice: which message each byte came from,
 * and the text with which a prompt leads over to the answer. See fmp_chat_mask in chat_template.h for the
 * exact rule. A "touch" is a span that came from a message.
 */
#include "chat_impl.h"

#define NO_MESSAGE UINT32_MAX

typedef struct touch {
    size_t begin, end;
    uint32_t message;
    bool role, calls;
} touch;

typedef struct touches {
    touch *v;
    size_t n;
} touches;

typedef struct masker {
    const fmp_template *tmpl;
    const cJSON *context;
    const fmp_rendered *full;
    const fmp_chat_mask_options *options;
    fmp_arena *arena;
    touches touched; /* of the full rendering, in order */
    bool use_tails, joins, open;
    size_t n_rewritten;
    fmp_rendered prompt, other;
    fmp_err *err;
} masker;

/* The message a path lies under ("messages[12].content": 12), or NO_MESSAGE. */
static uint32_t message_of_path(const char *path)
{
    static const char prefix[] = "messages[";
    uint32_t n = 0;
    if (strncmp(path, prefix, sizeof prefix - 1) != 0) { return NO_MESSAGE; }
    for (path += sizeof prefix - 1; *path >= '0' && *path <= '9'; path++) {
        n = n * 10 + (uint32_t)(*path - '0');
    }
    return n;
}

static fmp_status find_touches(masker *m, const fmp_rendered *r, touches *out)
{
    touch *of_path = fmp_arena_take(m->arena, (r->n_paths + 1) * sizeof *of_path);
    out->v = fmp_arena_take(m->arena, (r->n_spans + 1) * sizeof *out->v);
    out->n = 0;
    FMP_TRY(fmp_arena_ok(m->arena, m->err));
    for (size_t i = 0; i < r->n_paths; i++) {
        const char *path = r->paths[i], *close = strchr(path, ']');
        of_path[i] = (touch){.message = message_of_path(path)};
        if (of_path[i].message == NO_MESSAGE || !close) { continue; }
        of_path[i].role = strcmp(close, "].role") == 0;
        of_path[i].calls = strncmp(close, "].tool_calls", 12) == 0;
    }
    for (size_t i = 0; i < r->n_spans; i++) {
        const fmp_span *s = &r->spans[i];
        if (s->kind != FMP_SPAN_INPUT || of_path[s->path].message == NO_MESSAGE) { continue; }
        out->v[out->n] = of_path[s->path];
        out->v[out->n].begin = s->begin;
        out->v[out->n++].end = s->end;
    }
    return FMP_OK;
}

/* ---- where a message lies ---- */

/* The first stretch of the output without a byte of another message, and what lies around it. */
typedef struct place {
    size_t before; /* end of the last byte of another message in front of it; 0: there is none          */
    size_t begin;  /* its first byte that is no role; `limit` if it has none                            */
    size_t end;    /* of its last byte                                                                  */
    size_t limit;  /* the first byte of another message behind it, or the end of the text               */
    bool after_previous; /* the byte at `before` is from the message before it                          */
} place;

static void note_before(const masker *m, size_t first, uint32_t message, place *p)
{
    if (first == 0) { return; }
    p->before = m->touched.v[first - 1].end;
    p->after_previous = m->touched.v[first - 1].message + 1 == message;
}

/* A message that left no bytes, or its role alone. */
static void place_empty(const masker *m, uint32_t message, place *p)
{
    const touches *t = &m->touched;
    size_t k = 0;
    while (k < t->n && t->v[k].message != message) {
        k++;
    }
    if (k == t->n) {
        for (k = 0; k < t->n && t->v[k].message < message; k++) {}
    }
    note_before(m, k, message, p);
    while (k < t->n && t->v[k].message == message) {
        k++;
    }
    if (k < t->n) { p->limit = t->v[k].begin; }
    p->begin = p->limit;
    p->end = p->before;
}

static place find_place(const masker *m, size_t i)
{
    const touches *t = &m->touched;
    uint32_t message = (uint32_t)i;
    place p = {.limit = m->full->text.len};
    size_t k = 0, first;
    while (k < t->n && (t->v[k].message != message || t->v[k].role)) {
        k++;
    }
    if (k == t->n) {
        place_empty(m, message, &p);
        return p;
    }
    p.begin = t->v[k].begin;
    for (first = k; first > 0 && t->v[first - 1].message == message; first--) {}
    note_before(m, first, message, &p);
    for (; k < t->n && t->v[k].message == message; k++) {
        p.end = t->v[k].end;
    }
    if (k < t->n) { p.limit = t->v[k].begin; }
    return p;
}

/* ---- where an answer begins ---- */

static fmp_status render_part(masker *m, size_t n_messages, bool prompt, fmp_rendered *out, bool spans)
{
    const tpl_overrides o = {
        .n_messages = n_messages, .prompt = prompt, .set_prompt = true, .text_only = !spans};
    fmp_status st = tpl_render(m->tmpl, m->context, &m->options->render, &o, out, m->err);
    if (st != FMP_OK) {
        (void)fmp_err_note(m->err, "while rendering the prompt of messages[%zu]", n_messages);
    }
    return st;
}

static size_t common_prefix(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t n = 0;
    while (n < a_len && n < b_len && a[n] == b[n]) {
        n++;
    }
    return n;
}

/* The text of the prompt that the full rendering has in another form before message i. */
static fmp_status not_a_prefix(masker *m, size_t i, size_t same)
{
    const fmp_buf *full = &m->full->text, *prompt = &m->prompt.text;
    int n_full = (int)(full->len - same < 40 ? full->len - same : 40);
    int n_prompt = (int)(prompt->len - same < 40 ? prompt->len - same : 40);
    (void)fmp_fail(
        m->err, FMP_E_MISMATCH,
        "template '%s' does not extend its own prompt: what it writes up to messages[%zu] differs at "
        "byte %zu from what it writes for the whole conversation: expected '%.*s', found '%.*s'",
        m->tmpl->name, i, same, n_prompt, prompt->data + same, n_full, full->data + same);
    return fmp_err_hint(
        m->err,
        "set the message's weight to 0, or use a template that writes each answer behind its own prompt");
}

/* The last place in [from, to) that holds all of `what`; SIZE_MAX: none. */
static size_t find_last_text(const char *text, size_t from, size_t to, const char *what, size_t len)
{
    for (size_t at = to; len > 0 && at >= from + len; at--) {
        if (memcmp(text + at - len, what, len) == 0) { return at - len; }
    }
    return SIZE_MAX;
}

/* The text that add_generation_prompt adds after messages[:i], which m->prompt holds: its length. */
static fmp_status added_by_prompt(masker *m, size_t i, size_t *len)
{
    FMP_TRY(render_part(m, i, false, &m->other, false));
    size_t same =
        common_prefix(m->prompt.text.data, m->prompt.text.len, m->other.text.data, m->other.text.len);
    *len = same == m->other.text.len ? m->prompt.text.len - same : 0;
    return FMP_OK;
}

/* The part of text[0, n) up to the end of its last whole mark; 0 if that is blank. A text that goes on
 * otherwise in the middle of a mark (<think> here, <tool_call> there) shares nothing of it. */
static size_t whole_marks(const char *text, size_t n)
{
    while (n > 0 && text[n - 1] != '>' && text[n - 1] != ']' && text[n - 1] != '\n') {
        n--;
    }
    return strspn(text, " \t\r\n") < n ? n : 0;
}

/* The full text is another one before this turn: look for the tail of the prompt in the gap. */
static fmp_status begin_by_tail(masker *m, size_t i, const place *p, size_t same, size_t *out)
{
    const fmp_buf *full = &m->full->text, *prompt = &m->prompt.text;
    touches t;
    size_t added;
    FMP_TRY(render_part(m, i, true, &m->prompt, true));
    FMP_TRY(find_touches(m, &m->prompt, &t));
    size_t tail_at = t.n > 0 ? t.v[t.n - 1].end : 0, tail_len = prompt->len - tail_at,
           gap = p->begin - p->before;
    size_t shared = common_prefix(full->data + p->before, gap, prompt->data + tail_at, tail_len);
    *out = p->before + shared;
    m->joins = shared == tail_len;
    if (m->joins || (shared > 0 && shared == gap)) { return FMP_OK; }
    FMP_TRY(added_by_prompt(m, i, &added));
    shared = whole_marks(full->data + p->before, shared);
    *out = p->before + shared;
    if (added <= tail_len && shared > tail_len - added) {
        return FMP_OK;
    } /* some of what begins the answer is there */
    size_t hit = find_last_text(full->data, p->before, p->begin, prompt->data + prompt->len - added, added);
    *out = hit + added;
    m->joins = hit != SIZE_MAX;
    return m->joins ? FMP_OK : not_a_prefix(m, i, same);
}

static fmp_status begin_by_rendering(masker *m, size_t i, const place *p, bool *exact, size_t *out)
{
    FMP_TRY(render_part(m, i, true, &m->prompt, false));
    const fmp_buf *full = &m->full->text, *prompt = &m->prompt.text;
    size_t same = common_prefix(full->data, full->len, prompt->data, prompt->len);
    *exact = same == prompt->len;
    *out = same;
    if (*exact) { return FMP_OK; }
    return begin_by_tail(m, i, p, same, out);
}

static const char *role_of(const cJSON *message)
{
    const cJSON *role = cJSON_GetObjectItemCaseSensitive(message, "role");
    return cJSON_IsString(role) ? role->valuestring : "";
}

/* The probed tail after the message before `message`; NULL: none that could apply. */
static const char *tail_before(const masker *m, const cJSON *message, const place *p)
{
    const char *role = message->prev ? role_of(message->prev) : "";
    if (!m->options->tails || !p->after_previous) { return NULL; }
    if (strcmp(role, "user") == 0) { return m->options->tails->after[CHAT_AFTER_USER]; }
    if (strcmp(role, "tool") == 0) { return m->options->tails->after[CHAT_AFTER_TOOL]; }
    return strcmp(role, "system") == 0 ? m->options->tails->after[CHAT_AFTER_SYSTEM] : NULL;
}

static bool begin_by_probe(const masker *m, const cJSON *message, const place *p, size_t *out)
{
    const char *tail = tail_before(m, message, p);
    size_t n = tail ? strlen(tail) : 0;
    if (!tail || n > p->begin - p->before) { return false; }
    *out = p->before + n;
    return memcmp(m->full->text.data + p->before, tail, n) == 0;
}

/* The turn as it was when it was the last one is how the full text begins. */
static fmp_status is_same_turn(masker *m, size_t i, size_t end, bool *same)
{
    FMP_TRY(render_part(m, i + 1, false, &m->other, false));
    *same = m->other.text.len >= end && memcmp(m->other.text.data, m->full->text.data, end) == 0;
    return FMP_OK;
}

/* ---- where it ends ---- */

/* Text that stands for itself: the template's own, and the token texts it was given. */
static bool is_own_text(const fmp_rendered *r, const fmp_span *s)
{
    if (s->kind != FMP_SPAN_INPUT) { return true; }
    return strcmp(r->paths[s->path], "eos_token") == 0 || strcmp(r->paths[s->path], "bos_token") == 0;
}

static size_t stop_at(const masker *m, size_t at, size_t end)
{
    for (size_t k = 0; k < m->options->n_stops; k++) {
        size_t n = strlen(m->options->stops[k]);
        if (n > 0 && n <= end - at && memcmp(m->full->text.data + at, m->options->stops[k], n) == 0) {
            return n;
        }
    }
    return 0;
}

/* End of the first stop text of the template in [from, limit); 0: there is none. It may reach past the limit. */
static size_t find_stop(const masker *m, size_t from, size_t limit)
{
    const fmp_rendered *r = m->full;
    size_t low = 0, high = r->n_spans;
    while (low < high) { /* the first span that ends behind `from` */
        size_t mid = low + (high - low) / 2;
        if (r->spans[mid].end > from) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    for (size_t k = low; k < r->n_spans && r->spans[k].begin < limit;) {
        size_t at = r->spans[k].begin > from ? r->spans[k].begin : from, end = at;
        for (; k < r->n_spans && is_own_text(r, &r->spans[k]); k++) {
            end = r->spans[k].end;
        }
        for (; at < end && at < limit; at++) {
            size_t n = stop_at(m, at, end);
            if (n > 0) { return at + n; }
        }
        while (k < r->n_spans && !is_own_text(r, &r->spans[k])) {
            k++;
        }
    }
    return 0;
}

static bool has_calls(const cJSON *message)
{
    const cJSON *calls = cJSON_GetObjectItemCaseSensitive(message, "tool_calls");
    return cJSON_IsArray(calls) && calls->child;
}

static bool leaves_out_calls(const masker *m, const cJSON *message, size_t i, const fmp_mask_range *range)
{
    if (!has_calls(message)) { return false; }
    for (size_t k = 0; k < m->touched.n; k++) {
        const touch *t = &m->touched.v[k];
        if (t->calls && t->message == i && t->begin >= range->begin && t->end <= range->end) { return false; }
    }
    return true;
}

/* No stop text follows: tell what does. */
static fmp_status no_end(masker *m, const place *p, size_t message)
{
    const char *text = m->full->text.data;
    size_t from = p->end < p->limit ? p->end : p->limit;
    while (from < p->limit && strchr(" \t\r\n", text[from])) {
        from++;
    }
    size_t n = p->limit - from < 80 ? p->limit - from : 80;
    while (n > 0 && from + n < p->limit && ((unsigned char)text[from + n] & 0xC0) == 0x80) {
        n--;
    }
    (void)fmp_fail(m->err, FMP_E_DATA,
                   "template '%s' writes no end-of-turn text behind messages[%zu] (assistant): found '%.*s'",
                   m->tmpl->name, message, (int)n, n > 0 ? text + from : "");
    return fmp_err_hint(
        m->err,
        "name the text at which the model shall stop there in 'stops' (what serves it must stop "
        "there, too)%s",
        m->options->only_one ? "" : ", or use expand: per_turn, which ends such turns itself");
}

/* Where the template's text behind a message is not the message's, a stop text in it is not, either. */
static size_t find_own_stop(const masker *m, const cJSON *message, const place *p, size_t from)
{
    bool last = p->limit == m->full->text.len;
    return m->options->trails && last && has_calls(message) ? 0 : find_stop(m, from, p->limit);
}

static fmp_status find_end(masker *m, const cJSON *message, const place *p, fmp_mask_range *range)
{
    range->end = find_own_stop(m, message, p, range->begin);
    m->open = range->end == 0;
    if (m->open && (!m->options->only_one || m->options->trails)) { return no_end(m, p, range->message); }
    if (m->open) { range->end = p->limit; }
    if (leaves_out_calls(m, message, range->message, range)) {
        return fmp_fail(m->err, FMP_E_DATA, "template '%s' leaves out the tool calls of messages[%zu]",
                        m->tmpl->name, range->message);
    }
    return FMP_OK;
}

/* ---- the messages ---- */

static bool is_assistant(const cJSON *message)
{
    return strcmp(role_of(message), "assistant") == 0;
}

bool chat_is_wanted(const cJSON *message, fmp_mask_policy policy, const char *const *roles, size_t n_roles,
                    bool last)
{
    const cJSON *weight = cJSON_GetObjectItemCaseSensitive(message, "weight");
    const char *role = role_of(message);
    double value;
    switch (policy) {
    case FMP_MASK_ALL: return is_assistant(message);
    case FMP_MASK_LAST: return last;
    case FMP_MASK_WEIGHT: return fmp_json_number(weight, &value) && value > 0;
    case FMP_MASK_ROLES: break;
    }
    for (size_t i = 0; i < n_roles; i++) {
        if (strcmp(role, roles[i]) == 0) { return true; }
    }
    return false;
}

/* A message that no model writes: from its first byte, with the stop text if one follows. */
static void mask_other(masker *m, size_t i, fmp_chat_mask_result *out)
{
    place p = find_place(m, i);
    if (p.begin >= p.limit) { return; }
    fmp_mask_range range = {.begin = p.begin, .end = find_stop(m, p.begin, p.limit), .message = i};
    if (range.end == 0) { range.end = p.end; }
    out->ranges[out->n_ranges++] = range;
}

static fmp_status mask_answer(masker *m, const cJSON *message, size_t i, bool check_probe,
                              fmp_mask_range *range)
{
    place p = find_place(m, i);
    bool exact = true;
    *range = (fmp_mask_range){.message = i};
    if (!m->use_tails || check_probe || !begin_by_probe(m, message, &p, &range->begin)) {
        size_t probed = SIZE_MAX;
        FMP_TRY(begin_by_rendering(m, i, &p, &exact, &range->begin));
        if (check_probe) {
            m->use_tails = exact && begin_by_probe(m, message, &p, &probed) && probed == range->begin;
        }
    }
    FMP_TRY(find_end(m, message, &p, range));
    if (m->options->check_past && exact) { FMP_TRY(is_same_turn(m, i, range->end, &exact)); }
    m->joins = m->joins && !exact && m->options->only_one;
    m->n_rewritten += !exact && !m->joins;
    return FMP_OK;
}

static bool is_chosen(const masker *m, const cJSON *message, size_t i, bool last)
{
    const fmp_chat_mask_options *o = m->options;
    return o->only_one ? i == o->one : chat_is_wanted(message, o->policy, o->roles, o->n_roles, last);
}

/* Ranges may touch, never overlap: a turn that another one's stop text swallowed is cut. */
static void keep_apart(fmp_chat_mask_result *out)
{
    for (size_t i = 1; i < out->n_ranges; i++) {
        fmp_mask_range *r = &out->ranges[i], *before = &out->ranges[i - 1];
        if (r->begin < before->end) { r->begin = before->end < r->end ? before->end : r->end; }
    }
}

static fmp_status mask_all(masker *m, const cJSON *messages, fmp_chat_mask_result *out)
{
    const cJSON *last = NULL, *probe = NULL, *c;
    size_t i = 0, probe_at = 0;
    fmp_mask_range probed;
    for (c = messages->child; c; c = c->next) {
        last = is_assistant(c) ? c : last;
    }
    for (c = messages->child; c; c = c->next, i++) {
        if (is_chosen(m, c, i, c == last) && is_assistant(c)) {
            probe = c;
            probe_at = i;
        }
    }
    m->use_tails = m->options->tails && !m->options->check_past && !m->options->only_one;
    if (probe) { FMP_TRY(mask_answer(m, probe, probe_at, m->use_tails, &probed)); }
    for (c = messages->child, i = 0; c; c = c->next, i++) {
        if (!is_chosen(m, c, i, c == last)) { continue; }
        if (c == probe) {
            out->ranges[out->n_ranges++] = probed;
        } else if (is_assistant(c)) {
            FMP_TRY(mask_answer(m, c, i, false, &out->ranges[out->n_ranges++]));
        } else {
            mask_other(m, i, out);
        }
    }
    keep_apart(out);
    out->n_rewritten = m->n_rewritten;
    out->joins = m->joins;
    out->open = m->open && m->options->only_one;
    return FMP_OK;
}

fmp_status fmp_chat_mask(const fmp_template *tmpl, const cJSON *context, const fmp_rendered *rendered,
                         const fmp_chat_mask_options *options, fmp_arena *arena, fmp_chat_mask_result *out,
                         fmp_err *err)
{
    masker m = {
        .tmpl = tmpl, .context = context, .full = rendered, .options = options, .arena = arena, .err = err};
    const cJSON *messages = cJSON_GetObjectItemCaseSensitive(context, "messages");
    *out = (fmp_chat_mask_result){0};
    if (!cJSON_IsArray(messages)) {
        return fmp_fail(err, FMP_E_DATA, "expected an array 'messages' in the context");
    }
    if (options->n_stops == 0) {
        return fmp_fail(err, FMP_E_CONFIG, "no text that ends an assistant turn was given");
    }
    out->ranges = fmp_arena_take(arena, ((size_t)cJSON_GetArraySize(messages) + 1) * sizeof *out->ranges);
    FMP_TRY(fmp_arena_ok(arena, err));
    fmp_status st = find_touches(&m, rendered, &m.touched);
    if (st == FMP_OK) { st = mask_all(&m, messages, out); }
    fmp_rendered_free(&m.prompt);
    fmp_rendered_free(&m.other);
    return st;
}
