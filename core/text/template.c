/*
 * template.c: the public face of the template engine: parse, render, and the output's spans.
 *
 * A render runs in the arena of its output object: the interpreter's values first, then what the caller
 * gets. Names of the context are looked up once per render for the names the template mentions.
 */
#include <stdlib.h>

#include "template_impl.h"

#define MAX_SOURCE_BYTES ((size_t)4 << 20)
#define KEEP_BYTES       ((size_t)1 << 20) /* of a reused arena */

static size_t or_default(size_t v, size_t fallback)
{
    return v ? v : fallback;
}

/* Jinja's view of a source: every newline is "\n", and one at the very end does not count. */
static char *normalise(fmp_arena *arena, const char *text, size_t len, uint32_t *out_len)
{
    char *s = fmp_arena_take(arena, len + 1);
    size_t n = 0;
    if (fmp_arena_ok(arena, NULL) != FMP_OK) { return NULL; }
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\r') {
            s[n++] = '\n';
            if (i + 1 < len && text[i + 1] == '\n') { i++; }
        } else {
            s[n++] = text[i];
        }
    }
    if (n > 0 && s[n - 1] == '\n') { n--; }
    s[n] = 0;
    *out_len = (uint32_t)n;
    return s;
}

fmp_status fmp_template_parse(const char *text, size_t len, const char *name, fmp_template **out,
                              fmp_err *err)
{
    *out = NULL;
    if (len > MAX_SOURCE_BYTES) {
        return fmp_fail(err, FMP_E_RANGE, "a template of %zu bytes, longer than the limit of %zu", len,
                        MAX_SOURCE_BYTES);
    }
    fmp_arena *arena = fmp_arena_new(0);
    fmp_template *t = calloc(1, sizeof *t);
    fmp_status st = fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (arena && t) {
        t->arena = arena;
        t->name = fmp_arena_strdup(arena, name);
        t->source = normalise(arena, text, len, &t->source_len);
        if (t->source && fmp_arena_ok(arena, err) == FMP_OK) { st = tpl_parse(t, err); }
    }
    if (st != FMP_OK) {
        fmp_arena_free(arena);
        free(t);
        return st;
    }
    fmp_err_clear(err);
    *out = t;
    return FMP_OK;
}

void fmp_template_free(fmp_template *tmpl)
{
    if (!tmpl) { return; }
    fmp_arena_free(tmpl->arena);
    free(tmpl);
}

const char *fmp_template_name(const fmp_template *tmpl)
{
    return tmpl->name;
}

void fmp_rendered_free(fmp_rendered *rendered)
{
    fmp_buf_free(&rendered->text);
    fmp_arena_free(rendered->arena);
    memset(rendered, 0, sizeof *rendered);
}

size_t fmp_rendered_span_at(const fmp_rendered *rendered, size_t at)
{
    size_t low = 0, high = rendered->n_spans;
    while (low + 1 < high) {
        size_t mid = low + (high - low) / 2;
        if (rendered->spans[mid].begin > at) {
            high = mid;
        } else {
            low = mid;
        }
    }
    return low;
}

/* ---- rendering ---- */

static fmp_status init_globals(tpl_rt *rt, const cJSON *context)
{
    const fmp_template *t = rt->tmpl;
    TPL_TAKE(rt, rt->globals, t->n_names);
    for (uint32_t i = 0; i < t->n_names; i++) {
        const tpl_builtin *fn = tpl_find_function(t->names[i]);
        rt->globals[i] = tpl_undefined(t->names[i], 255);
        if (fn) { rt->globals[i] = (tpl_val){.type = T_FUNCTION, .origin = ORIGIN_COMPUTED, .u.fn = fn}; }
    }
    for (const cJSON *c = context->child; c; c = c->next) {
        const char *key = c->string ? c->string : "";
        uint32_t i = 0;
        while (i < t->n_names && !tpl_str_is(t->names[i], key)) {
            i++;
        }
        if (i == t->n_names) { continue; }
        rt->globals[i] = (tpl_val){.type = T_LAZY, .u.json = c};
        FMP_TRY(tpl_add_path(rt, ORIGIN_ROOT, key, 0, &rt->globals[i].origin));
    }
    for (uint32_t i = 0; rt->overrides->set_prompt && i < t->n_names; i++) {
        if (tpl_str_is(t->names[i], "add_generation_prompt")) {
            rt->globals[i] = tpl_bool(rt->overrides->prompt);
        }
    }
    return FMP_OK;
}

static bool is_identifier(const char *key)
{
    for (size_t i = 0; key[i]; i++) {
        char c = key[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(i > 0 && c >= '0' && c <= '9')) { return false; }
    }
    return key[0] != 0;
}

/* ["odd \"key\""] */
static void add_quoted_key(fmp_buf *b, const char *key)
{
    fmp_buf_puts(b, "[\"");
    for (; *key; key++) {
        unsigned char c = (unsigned char)*key;
        if (c == '"' || c == '\\') {
            fmp_buf_printf(b, "\\%c", c);
        } else if (c < 0x20) {
            fmp_buf_printf(b, "\\u%04x", c);
        } else {
            fmp_buf_putc(b, (char)c);
        }
    }
    fmp_buf_puts(b, "\"]");
}

static void add_index(fmp_buf *b, uint32_t index)
{
    char digits[12];
    size_t n = sizeof digits;
    digits[--n] = ']';
    do {
        digits[--n] = (char)('0' + index % 10);
        index /= 10;
    } while (index > 0);
    digits[--n] = '[';
    fmp_buf_add(b, digits + n, sizeof digits - n);
}

/* One part of a path, after what is in `b`. */
static void add_part(fmp_buf *b, const tpl_path *p)
{
    if (!p->key) {
        add_index(b, p->index);
    } else if (!is_identifier(p->key)) {
        add_quoted_key(b, p->key);
    } else {
        if (b->len > 0) { fmp_buf_putc(b, '.'); }
        fmp_buf_puts(b, p->key);
    }
}

/* Ancestors are spelled once: the text of a path begins with that of its parent. */
static fmp_status spell_path(tpl_rt *rt, uint32_t id, fmp_buf *b, const char **out)
{
    uint32_t chain[TPL_MAX_RUN_DEPTH];
    size_t n = 0;
    for (; id != ORIGIN_ROOT && !rt->paths[id].text; id = rt->paths[id].parent) {
        if (n == TPL_MAX_RUN_DEPTH) {
            return tpl_fail(rt, FMP_E_RANGE, "a path of more than %u parts", TPL_MAX_RUN_DEPTH);
        }
        chain[n++] = id;
    }
    const char *text = id == ORIGIN_ROOT ? "" : rt->paths[id].text;
    b->len = 0;
    fmp_buf_puts(b, text);
    while (n > 0) {
        tpl_path *p = &rt->paths[chain[--n]];
        char *own;
        add_part(b, p);
        FMP_TRY(fmp_buf_ok(b, rt->err));
        TPL_TAKE(rt, own, b->len + 1);
        memcpy(own, b->data ? b->data : "", b->len);
        own[b->len] = 0;
        p->text = text = own;
    }
    *out = text;
    return FMP_OK;
}

/* Runs to spans; path ids are renumbered in the order of their first byte. */
static fmp_status make_spans(tpl_rt *rt, const tpl_sink *k, fmp_buf *scratch, fmp_rendered *out)
{
    uint32_t *number;
    fmp_span *spans;
    const char **paths;
    TPL_TAKE(rt, number, rt->n_paths);
    TPL_TAKE(rt, spans, k->n_runs);
    TPL_TAKE(rt, paths, k->n_runs < rt->n_paths ? k->n_runs : rt->n_paths);
    memset(number, 0xFF, rt->n_paths * sizeof *number);
    out->n_paths = 0;
    for (size_t i = 0; i < k->n_runs; i++) {
        const tpl_run *r = &k->runs[i];
        uint32_t origin = r->origin & ORIGIN_MASK;
        fmp_span *s = &spans[i];
        *s = (fmp_span){.begin = i ? k->runs[i - 1].end : 0, .end = r->end, .src = FMP_SPAN_NO_SRC};
        s->generation = (r->origin & ORIGIN_GENERATION) != 0;
        s->path = FMP_SPAN_NO_PATH;
        s->kind = origin == ORIGIN_LITERAL    ? FMP_SPAN_LITERAL
                  : origin == ORIGIN_COMPUTED ? FMP_SPAN_COMPUTED
                                              : FMP_SPAN_INPUT;
        if (s->kind != FMP_SPAN_INPUT) { continue; }
        if (number[origin] == UINT32_MAX) {
            number[origin] = (uint32_t)out->n_paths;
            FMP_TRY(spell_path(rt, origin, scratch, &paths[out->n_paths++]));
        }
        s->path = number[origin];
        if (r->src != SRC_NONE) { s->src = r->src; }
    }
    out->spans = spans;
    out->n_spans = k->n_runs;
    out->paths = paths;
    return FMP_OK;
}

static fmp_status run(tpl_rt *rt, const cJSON *context, fmp_rendered *out)
{
    tpl_sink root = {0};
    fmp_buf scratch = {0};
    rt->sink = &root;
    rt->cap_paths = 64;
    TPL_TAKE(rt, rt->paths, rt->cap_paths);
    rt->n_paths = ORIGIN_ROOT + 1;
    memset(rt->paths, 0, rt->n_paths * sizeof *rt->paths);
    FMP_TRY(init_globals(rt, context));
    FMP_TRY(tpl_exec_root(rt));
    rt->at = NULL;
    if (!rt->overrides->text_only) {
        fmp_status st = make_spans(rt, &root, &scratch, out);
        fmp_buf_free(&scratch);
        FMP_TRY(st);
    }
    fmp_buf_add(&out->text, root.p ? root.p : "", root.len);
    return fmp_buf_ok(&out->text, rt->err);
}

fmp_status tpl_render(const fmp_template *t, const cJSON *context, const fmp_template_options *options,
                      const tpl_overrides *overrides, fmp_rendered *out, fmp_err *err)
{
    static const fmp_template_options none = {0};
    const fmp_template_options *o = options ? options : &none;
    fmp_err own;
    out->text.len = 0;
    out->spans = NULL;
    out->paths = NULL;
    out->n_spans = out->n_paths = 0;
    if (!cJSON_IsObject(context)) {
        return fmp_fail(err, FMP_E_DATA, "the context of a template must be an object");
    }
    if (!out->arena) { out->arena = fmp_arena_new(0); }
    if (!out->arena) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    fmp_arena_reset(out->arena, KEEP_BYTES);
    tpl_rt rt = {
        .tmpl = t,
        .arena = out->arena,
        .err = err ? err : &own,
        .max_steps = o->max_steps ? o->max_steps : 5000000,
        .max_output = or_default(o->max_output_bytes, (size_t)16 << 20),
        .max_memory = or_default(o->max_memory_bytes, (size_t)256 << 20),
        .has_now = o->has_now,
        .now_unix = o->now_unix,
        .overrides = overrides,
    };
    if (rt.max_output > (size_t)1 << 30) { rt.max_output = (size_t)1 << 30; }
    fmp_status st = run(&rt, context, out);
    if (st != FMP_OK) {
        out->text.len = 0;
        out->n_spans = out->n_paths = 0;
    }
    return st;
}

fmp_status fmp_template_render(const fmp_template *tmpl, const cJSON *context,
                               const fmp_template_options *options, fmp_rendered *out, fmp_err *err)
{
    static const tpl_overrides none = {.n_messages = SIZE_MAX};
    return tpl_render(tmpl, context, options, &none, out, err);
}
