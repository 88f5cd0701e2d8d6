/*
 * tokens_view.c: tokens with their provenance, for the terminal and the report; and the options of
 * chat.tokenize, which both need to repeat what training saw. Read chat.h first.
 */
#include <fmpipe/token_view.h>

#include <fmpipe/json.h>

#include <stdarg.h>

const char *fmp_view_kind_name(fmp_view_kind kind)
{
    static const char *const names[] = {"template", "input", "learned", "forced"};
    return names[kind];
}

static const char *span_name(const fmp_rendered *r, const fmp_span *span)
{
    if (span->kind == FMP_SPAN_INPUT) { return r->paths[span->path]; }
    return span->kind == FMP_SPAN_COMPUTED ? "computed" : "template";
}

/* Names of the spans that a token lies in, each once in a row. */
static const char *source_of(const fmp_rendered *r, const fmp_token_view *v, fmp_arena *arena)
{
    size_t first = fmp_rendered_span_at(r, v->begin), last = first;
    const char *name = span_name(r, &r->spans[first]);
    while (last + 1 < r->n_spans && r->spans[last + 1].begin < v->end) {
        last++;
    }
    const char *all = name;
    for (size_t i = first + 1; i <= last; i++) {
        const char *next = span_name(r, &r->spans[i]);
        if (strcmp(next, name) != 0) { all = fmp_arena_printf(arena, "%s + %s", all, next); }
        name = next;
    }
    return all;
}

static bool is_template(const fmp_rendered *r, const fmp_token_view *v)
{
    for (size_t i = fmp_rendered_span_at(r, v->begin); i < r->n_spans && r->spans[i].begin < v->end; i++) {
        if (r->spans[i].kind == FMP_SPAN_INPUT) { return false; }
    }
    return true;
}

/* Tokens wholly inside bytes [begin, end). */
static void mark_forced(const fmp_chat_result *r, fmp_token_view *views, size_t begin, size_t end)
{
    size_t low = 0, high = r->tokens.n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (views[mid].begin >= begin) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    for (; low < r->tokens.n && views[low].end <= end; low++) {
        if (views[low].end > views[low].begin) { views[low].kind = FMP_VIEW_FORCED; }
    }
}

/* Forced bytes of messages[index].content, wherever the template put them. */
static void mark_message(const fmp_chat_result *r, fmp_token_view *views, const cJSON *forced, size_t index)
{
    char path[48];
    const cJSON *pair;
    snprintf(path, sizeof path, "messages[%zu].content", index);
    for (size_t i = 0; i < r->rendered.n_spans; i++) {
        const fmp_span *s = &r->rendered.spans[i];
        if (s->kind != FMP_SPAN_INPUT || s->src == FMP_SPAN_NO_SRC ||
            strcmp(r->rendered.paths[s->path], path) != 0) {
            continue;
        }
        cJSON_ArrayForEach(pair, forced)
        {
            double begin = 0, end = 0, src = (double)s->src, stop = (double)(s->src + (s->end - s->begin));
            if (!fmp_json_number(cJSON_GetArrayItem(pair, 0), &begin) ||
                !fmp_json_number(cJSON_GetArrayItem(pair, 1), &end)) {
                continue;
            }
            begin = begin > src ? begin : src;
            end = end < stop ? end : stop;
            if (begin < end) {
                mark_forced(r, views, s->begin + (size_t)(begin - src), s->begin + (size_t)(end - src));
            }
        }
    }
}

fmp_status fmp_token_views(const cJSON *doc, const fmp_chat_result *r, fmp_arena *arena, fmp_token_view **out,
                           fmp_err *err)
{
    fmp_token_view *views = fmp_arena_take_zero(arena, r->tokens.n + 1, sizeof *views);
    FMP_TRY(fmp_arena_ok(arena, err));
    for (size_t i = 0; i < r->tokens.n; i++) {
        fmp_token_view *v = &views[i];
        v->id = r->tokens.ids[i];
        v->begin = r->tokens.begin[i];
        v->end = r->tokens.end[i];
        v->weight = r->weight[i];
        v->source = r->rendered.n_spans > 0 ? source_of(&r->rendered, v, arena) : "template";
        v->kind = v->weight > 0                  ? FMP_VIEW_LEARNED
                  : is_template(&r->rendered, v) ? FMP_VIEW_TEMPLATE
                                                 : FMP_VIEW_INPUT;
    }
    const cJSON *m;
    size_t index = 0;
    cJSON_ArrayForEach(m, fmp_json_get(doc, "messages"))
    {
        const cJSON *forced = fmp_json_get(fmp_json_get(m, "fmp"), "forced");
        if (cJSON_IsArray(forced)) { mark_message(r, views, forced, index); }
        index++;
    }
    *out = views;
    return fmp_arena_ok(arena, err);
}

void fmp_token_view_text(const char *text, size_t begin, size_t end, fmp_buf *out)
{
    while (begin < end) {
        size_t valid = fmp_utf8_invalid_at(text + begin, end - begin);
        fmp_buf_add(out, text + begin, valid);
        begin += valid;
        if (begin < end) { fmp_buf_printf(out, "\\x%02x", (unsigned char)text[begin++]); }
    }
}

/* ---- options ---- */

FMP_PRINTF(3, 4) static fmp_status bad_option(fmp_err *err, const char *option, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)fmp_fail(err, FMP_E_CONFIG, "%s", text);
    if (err) { snprintf(err->option, sizeof err->option, "%s", option); }
    return FMP_E_CONFIG;
}

static fmp_status read_list(const cJSON *values, const char *key, fmp_arena *arena, const char *const **out,
                            size_t *n, fmp_err *err)
{
    const cJSON *list = fmp_json_get(values, key), *item;
    size_t i = 0;
    const char **items = fmp_arena_take(arena, ((size_t)cJSON_GetArraySize(list) + 1) * sizeof *items);
    FMP_TRY(fmp_arena_ok(arena, err));
    cJSON_ArrayForEach(item, list)
    {
        if (!cJSON_IsString(item) || !*item->valuestring) {
            return bad_option(err, key, "expected texts that are not empty");
        }
        items[i++] = item->valuestring;
    }
    *out = items;
    *n = i;
    return FMP_OK;
}

static fmp_status read_policy(const cJSON *values, fmp_chat_options *o, fmp_err *err)
{
    static const struct {
        const char *name;
        fmp_mask_policy policy;
    } policies[] = {{"assistant", FMP_MASK_ALL},
                    {"last", FMP_MASK_LAST},
                    {"all", FMP_MASK_ALL},
                    {"roles", FMP_MASK_ROLES},
                    {"weight", FMP_MASK_WEIGHT}};
    const char *name = fmp_json_str(values, "supervise", "assistant");
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        if (strcmp(name, policies[i].name) != 0) { continue; }
        o->policy = policies[i].policy;
        o->all_text = strcmp(name, "all") == 0;
        bool by_role = o->policy == FMP_MASK_ROLES;
        if (by_role != (o->n_roles > 0)) {
            return bad_option(err, "roles",
                              by_role ? "expected the roles that are learned, for supervise: roles"
                                      : "expected roles only with supervise: roles");
        }
        return FMP_OK;
    }
    return bad_option(err, "supervise", "expected assistant, last, all, roles or weight, found '%.40s'",
                      name);
}

/* "2026-11-21" as seconds since 1970, UTC. */
static fmp_status read_date(const char *text, int64_t *out, fmp_err *err)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = 0, month = 0, day = 0, used = 0;
    bool shaped =
        sscanf(text, "%4d-%2d-%2d%n", &year, &month, &day, &used) == 3 && text[used] == '\0' && used == 10;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (!shaped || year < 1970 || month < 1 || month > 12 || day < 1 ||
        day > lengths[month - 1] + (month == 2 && leap)) {
        return bad_option(err, "date", "expected a date such as 2026-11-21, found '%.40s'", text);
    }
    int64_t days = day - 1;
    for (int y = 1970; y < year; y++) {
        days += 365 + (y % 4 == 0 && (y % 100 != 0 || y % 400 == 0));
    }
    for (int m = 1; m < month; m++) {
        days += lengths[m - 1] + (m == 2 && leap);
    }
    *out = days * 86400;
    return FMP_OK;
}

fmp_status fmp_chat_setup_read(const cJSON *values, fmp_arena *arena, fmp_chat_setup *out, fmp_err *err)
{
    const char *template_ = fmp_json_str(values, "template", "model"),
               *date = fmp_json_str(values, "date", NULL);
    *out = (fmp_chat_setup){.encode = {.supervise = true,
                                       .context_weight = (float)fmp_json_num(values, "context_weight", 1),
                                       .check_past = fmp_json_bool(values, "check_past", false)},
                            .per_turn = strcmp(fmp_json_str(values, "expand", "none"), "per_turn") == 0};
    out->open.template_ = fmp_json_str(values, "template_file", NULL);
    if (!out->open.template_ && strcmp(template_, "model") != 0) { out->open.template_ = template_; }
    out->open.template_name = fmp_json_str(values, "template_name", NULL);
    if (out->open.template_name && out->open.template_) {
        return bad_option(err, "template_name", "expected the model's own template with template_name");
    }
    out->open.variables = fmp_json_get(values, "variables");
    if (out->open.variables && !cJSON_IsObject(out->open.variables)) {
        return bad_option(err, "variables", "expected a map of template variables");
    }
    FMP_TRY(read_list(values, "stops", arena, &out->open.stops, &out->open.n_stops, err));
    FMP_TRY(read_list(values, "roles", arena, &out->encode.roles, &out->encode.n_roles, err));
    if (date) {
        out->open.has_now = true;
        FMP_TRY(read_date(date, &out->open.now_unix, err));
    }
    FMP_TRY(read_policy(values, &out->encode, err));
    if (out->per_turn && out->encode.all_text) {
        return bad_option(err, "expand", "expected supervise to choose turns, found supervise: all");
    }
    return FMP_OK;
}
