/*
 * template_pprint.c: the filter pprint: Python's pprint.pformat, with its defaults (80 columns, sorted keys).
 *
 * A value goes on one line if its repr() fits, else a container has a line for each member and a text is cut
 * behind white space. Source: Python 3.11, the documentation of pprint and its output.
 */
#include "template_impl.h"

enum { WIDTH = 80 };

typedef struct printer {
    tpl_rt *rt;
    tpl_sink *out;
} printer;

static fmp_status put(printer *p, const char *text, uint32_t origin)
{
    return tpl_sink_add(p->rt, p->out, text, strlen(text), origin, SRC_NONE);
}

static fmp_status new_line(printer *p, size_t indent, uint32_t origin)
{
    FMP_TRY(put(p, "\n", origin));
    for (size_t i = 0; i < indent; i++) {
        FMP_TRY(put(p, " ", origin));
    }
    return FMP_OK;
}

/* ---- keys in order ---- */

static fmp_status key_order(tpl_rt *rt, const tpl_val *a, const tpl_val *b, int *out)
{
    bool numbers = tpl_is_number(a) && tpl_is_number(b);
    if (numbers || (a->type == T_STR && b->type == T_STR)) { return tpl_order(rt, a, b, out); }
    *out = strcmp(tpl_type_name(a), tpl_type_name(b)); /* what cannot be compared goes by its type's name */
    return FMP_OK;
}

/* A copy of a value whose dicts are sorted by key. */
static fmp_status sorted_copy(tpl_rt *rt, const tpl_val *v, tpl_val *out, uint32_t depth)
{
    *out = *v;
    if (depth > TPL_MAX_DATA_DEPTH) { return tpl_fail(rt, FMP_E_RANGE, "pprint: a value nested too deep"); }
    if (v->type == T_SEQ && v->u.q->kind <= Q_TUPLE && !v->u.q->is_group) {
        FMP_TRY(tpl_seq_new(rt, v->u.q->kind, v->u.q->n, out));
        out->origin = v->origin;
        for (uint32_t i = 0; i < v->u.q->n; i++) {
            FMP_TRY(tpl_force(rt, &v->u.q->items[i]));
            FMP_TRY(sorted_copy(rt, &v->u.q->items[i], &out->u.q->items[i], depth + 1));
        }
    }
    if (v->type != T_DICT) { return FMP_OK; }
    const tpl_dict *d = v->u.d;
    uint32_t *order;
    TPL_TAKE(rt, order, d->n);
    for (uint32_t i = 0; i < d->n; i++) {
        uint32_t at = i;
        for (int cmp = 0; at > 0; at--) {
            FMP_TRY(tpl_step(rt, 1));
            FMP_TRY(key_order(rt, &d->keys[order[at - 1]], &d->keys[i], &cmp));
            if (cmp <= 0) { break; }
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    FMP_TRY(tpl_dict_new(rt, d->n, out));
    out->origin = v->origin;
    for (uint32_t i = 0; i < d->n; i++) {
        tpl_val member;
        FMP_TRY(tpl_force(rt, &d->vals[order[i]]));
        FMP_TRY(sorted_copy(rt, &d->vals[order[i]], &member, depth + 1));
        FMP_TRY(tpl_dict_put(rt, out->u.d, &d->keys[order[i]], &member));
    }
    return FMP_OK;
}

/* ---- what fits ---- */

static fmp_status repr(tpl_rt *rt, const tpl_val *v, tpl_val *out, size_t *columns)
{
    tpl_sink k = {0};
    FMP_TRY(tpl_print(rt, &k, v, true, 0));
    FMP_TRY(tpl_sink_done(rt, &k, out));
    *columns = tpl_str_count(out->u.s);
    return FMP_OK;
}

static bool fits(size_t columns, size_t indent, size_t allowance)
{
    return columns + indent + allowance <= WIDTH;
}

static fmp_status format(printer *p, const tpl_val *v, size_t indent, size_t allowance, uint32_t level);

static fmp_status format_list(printer *p, const tpl_val *v, size_t indent, size_t allowance, uint32_t level)
{
    const tpl_seq *q = v->u.q;
    bool tuple = q->kind == Q_TUPLE;
    const char *end = !tuple ? "]" : q->n == 1 ? ",)" : ")";
    FMP_TRY(put(p, tuple ? "(" : "[", v->origin));
    for (uint32_t i = 0; i < q->n; i++) {
        if (i > 0) {
            FMP_TRY(put(p, ",", v->origin));
            FMP_TRY(new_line(p, indent + 1, v->origin));
        }
        FMP_TRY(format(p, &q->items[i], indent + 1, i + 1 < q->n ? 1 : allowance + strlen(end), level));
    }
    return put(p, end, v->origin);
}

static fmp_status format_dict(printer *p, const tpl_val *v, size_t indent, size_t allowance, uint32_t level)
{
    const tpl_dict *d = v->u.d;
    FMP_TRY(put(p, "{", v->origin));
    for (uint32_t i = 0; i < d->n; i++) {
        tpl_val key;
        size_t columns;
        if (i > 0) {
            FMP_TRY(put(p, ",", v->origin));
            FMP_TRY(new_line(p, indent + 1, v->origin));
        }
        FMP_TRY(repr(p->rt, &d->keys[i], &key, &columns));
        FMP_TRY(tpl_sink_str(p->rt, p->out, key.u.s));
        FMP_TRY(put(p, ": ", v->origin));
        FMP_TRY(format(p, &d->vals[i], indent + 1 + columns + 2, i + 1 < d->n ? 1 : allowance + 1, level));
    }
    return put(p, "}", v->origin);
}

/* ---- long texts ---- */

/* Pieces of a text, each to be written as a text of its own on a line. */
typedef struct chunks {
    tpl_val *v; /* their repr() */
    uint32_t n;
} chunks;

static fmp_status add_chunk(printer *p, chunks *l, const tpl_val *text)
{
    size_t columns;
    return repr(p->rt, text, &l->v[l->n++], &columns);
}

/* The end of the white space behind the word at `at`. */
static size_t part_end(const tpl_str *s, size_t at)
{
    size_t n;
    while (at < s->len && !tpl_is_space(tpl_utf8_get(s->p + at, s->len - at, &n))) {
        at += n;
    }
    while (at < s->len && tpl_is_space(tpl_utf8_get(s->p + at, s->len - at, &n))) {
        at += n;
    }
    return at;
}

/* A line that does not fit is cut behind white space. `last`: allowance for the text's last part. */
static fmp_status cut_line(printer *p, const tpl_val *line, size_t indent, size_t last, chunks *l)
{
    const tpl_str *s = line->u.s;
    tpl_val piece, shown;
    size_t begin = 0, columns;
    for (size_t at = 0, end; at < s->len; at = end) {
        end = part_end(s, at);
        FMP_TRY(tpl_step(p->rt, 1 + (end - begin) / 64));
        FMP_TRY(tpl_str_slice(p->rt, line, begin, end, &piece));
        FMP_TRY(repr(p->rt, &piece, &shown, &columns));
        if (!fits(columns, indent, end == s->len ? last : 0) && at > begin) {
            FMP_TRY(tpl_str_slice(p->rt, line, begin, at, &piece));
            FMP_TRY(add_chunk(p, l, &piece));
            begin = at;
        }
    }
    FMP_TRY(tpl_str_slice(p->rt, line, begin, s->len, &piece));
    return add_chunk(p, l, &piece);
}

static fmp_status format_text(printer *p, const tpl_val *v, size_t indent, size_t allowance, uint32_t level)
{
    tpl_val lines, shown;
    chunks l = {0};
    size_t columns;
    FMP_TRY(tpl_str_splitlines(p->rt, v, true, &lines));
    TPL_TAKE(p->rt, l.v, v->u.s->len + 1);
    indent += level == 1;
    allowance += level == 1;
    for (uint32_t i = 0; i < lines.u.q->n; i++) {
        const tpl_val *line = &lines.u.q->items[i];
        size_t last = i + 1 == lines.u.q->n ? allowance : 0;
        FMP_TRY(repr(p->rt, line, &shown, &columns));
        if (fits(columns, indent, last)) {
            FMP_TRY(add_chunk(p, &l, line));
        } else {
            FMP_TRY(cut_line(p, line, indent, last, &l));
        }
    }
    if (l.n == 1) { return tpl_sink_str(p->rt, p->out, shown.u.s); }
    if (level == 1) { FMP_TRY(put(p, "(", ORIGIN_COMPUTED)); }
    for (uint32_t i = 0; i < l.n; i++) {
        if (i > 0) { FMP_TRY(new_line(p, indent, ORIGIN_COMPUTED)); }
        FMP_TRY(tpl_sink_str(p->rt, p->out, l.v[i].u.s));
    }
    return level == 1 ? put(p, ")", ORIGIN_COMPUTED) : FMP_OK;
}

static fmp_status format(printer *p, const tpl_val *v, size_t indent, size_t allowance, uint32_t level)
{
    tpl_val shown;
    size_t columns;
    FMP_TRY(repr(p->rt, v, &shown, &columns));
    if (!fits(columns, indent, allowance)) {
        if (v->type == T_DICT) { return format_dict(p, v, indent, allowance, level + 1); }
        if (v->type == T_SEQ && v->u.q->kind <= Q_TUPLE && !v->u.q->is_group) {
            return format_list(p, v, indent, allowance, level + 1);
        }
        if (v->type == T_STR && v->u.s->len > 0 && !v->flag) {
            return format_text(p, v, indent, allowance, level + 1);
        }
    }
    return tpl_sink_str(p->rt, p->out, shown.u.s);
}

fmp_status tpl_f_pprint(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_sink k = {0};
    tpl_val sorted;
    printer p = {rt, &k};
    FMP_TRY(sorted_copy(rt, &c->self, &sorted, 0));
    FMP_TRY(format(&p, &sorted, 0, 0, 0));
    return tpl_sink_done(rt, &k, out);
}
