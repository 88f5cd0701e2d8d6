/*
 * template_print.c: values as text: Python's str() and repr(), and json.dumps.
 *
 * Every leaf writes its bytes under its own origin; brackets, separators and keys under that of their
 * container. So a tool schema printed by tojson still says, byte by byte, which member of which tool it
 * shows.
 */
#include <stdlib.h>
#include <unicode/uchar.h>

#include "template_impl.h"

static fmp_status put(tpl_rt *rt, tpl_sink *k, const char *text, uint32_t origin)
{
    return tpl_sink_add(rt, k, text, strlen(text), origin, SRC_NONE);
}

/* Bytes of a string from `at` on that both JSON and repr() write as they are. */
static size_t plain_bytes(const tpl_str *s, size_t at)
{
    size_t i = at;
    while (i < s->len) {
        unsigned char c = (unsigned char)s->p[i];
        if (c < 0x20 || c >= 0x7F || c == '"' || c == '\'' || c == '\\') { break; }
        i++;
    }
    return i - at;
}

/* Walks the characters of a string together with their origins. */
typedef struct walker {
    const tpl_str *s;
    size_t at, n; /* the current character: its offset and length */
    size_t plain; /* start of the bytes not yet written           */
    uint32_t run;
} walker;

static uint32_t walk_origin(walker *w)
{
    while (w->s->runs[w->run].end <= w->at) {
        w->run++;
    }
    return w->s->runs[w->run].origin;
}

/* Write what is pending, then `with` in place of the current character. */
static fmp_status walk_replace(tpl_rt *rt, tpl_sink *k, walker *w, const char *with, size_t len)
{
    FMP_TRY(tpl_sink_slice(rt, k, w->s, w->plain, w->at));
    w->plain = w->at + w->n;
    return tpl_sink_add(rt, k, with, len, walk_origin(w), SRC_NONE);
}

static bool is_printable(uint32_t cp)
{
    if (cp < 0x7F) { return cp >= 0x20; }
    switch (u_charType((UChar32)cp)) {
    case U_CONTROL_CHAR:
    case U_FORMAT_CHAR:
    case U_SURROGATE:
    case U_PRIVATE_USE_CHAR:
    case U_UNASSIGNED:
    case U_LINE_SEPARATOR:
    case U_PARAGRAPH_SEPARATOR:
    case U_SPACE_SEPARATOR: return false;
    default: return true;
    }
}

/* What repr() writes for a character inside quotes; 0: itself. */
static size_t repr_escape(uint32_t cp, char quote, char out[16])
{
    static const char from[] = "\n\r\t\\", to[] = "nrt\\";
    const char *hit = cp && cp < 0x80 ? strchr(from, (int)cp) : NULL;
    if (hit) { return (size_t)snprintf(out, 16, "\\%c", to[hit - from]); }
    if (cp == (unsigned char)quote) { return (size_t)snprintf(out, 16, "\\%c", quote); }
    if (is_printable(cp)) { return 0; }
    if (cp < 0x100) { return (size_t)snprintf(out, 16, "\\x%02x", (unsigned)cp); }
    return (size_t)snprintf(out, 16, cp < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)cp);
}

static size_t json_escape(uint32_t cp, bool ensure_ascii, char out[16])
{
    static const char from[] = "\n\r\t\b\f\\\"", to[] = "nrtbf\\\"";
    const char *hit = cp && cp < 0x80 ? strchr(from, (int)cp) : NULL;
    if (hit) { return (size_t)snprintf(out, 16, "\\%c", to[hit - from]); }
    if (cp < 0x20 || (ensure_ascii && cp >= 0x7F && cp < 0x10000 && cp != 0x7F)) {
        return (size_t)snprintf(out, 16, "\\u%04x", (unsigned)cp);
    }
    if (ensure_ascii && cp >= 0x10000) {
        unsigned v = (unsigned)cp - 0x10000;
        return (size_t)snprintf(out, 16, "\\u%04x\\u%04x", 0xD800 + (v >> 10), 0xDC00 + (v & 0x3FF));
    }
    return 0;
}

/* A string in quotes: JSON's, or as repr() chooses them. */
static fmp_status print_quoted(tpl_rt *rt, tpl_sink *k, const tpl_val *v, bool json, bool ensure_ascii)
{
    const tpl_str *s = v->u.s;
    char quote[2] = "\"", room[16];
    if (!json && !(memchr(s->p, '\'', s->len) && !memchr(s->p, '"', s->len))) { quote[0] = '\''; }
    walker w = {s, 0, 0, 0, 0};
    uint32_t first = s->len ? s->runs[0].origin : v->origin;
    uint32_t last = s->len ? s->runs[s->n_runs - 1].origin : v->origin;
    FMP_TRY(put(rt, k, quote, first));
    for (w.at = plain_bytes(s, 0); w.at < s->len; w.at += w.n + plain_bytes(s, w.at + w.n)) {
        uint32_t cp = tpl_utf8_get(s->p + w.at, s->len - w.at, &w.n);
        size_t n = json ? json_escape(cp, ensure_ascii, room) : repr_escape(cp, quote[0], room);
        if (n > 0) { FMP_TRY(walk_replace(rt, k, &w, room, n)); }
    }
    FMP_TRY(tpl_sink_slice(rt, k, s, w.plain, s->len));
    return put(rt, k, quote, last);
}

static fmp_status print_number(tpl_rt *rt, tpl_sink *k, const tpl_val *v)
{
    char room[40];
    size_t n;
    if (v->type == T_BIG) { return tpl_sink_str(rt, k, v->u.s); }
    if (v->type == T_INT) {
        n = (size_t)snprintf(room, sizeof room, "%lld", (long long)v->u.i);
    } else {
        n = tpl_float_repr(v->u.f, room);
    }
    return tpl_sink_add(rt, k, room, n, v->origin, SRC_NONE);
}

static fmp_status print_seq(tpl_rt *rt, tpl_sink *k, const tpl_val *v, uint32_t depth)
{
    static const char *const open[] = {"[",     "(", "", "dict_keys([", "dict_values([", "dict_items([",
                                       "range("};
    static const char *const close[] = {"]", ")", "", "])", "])", "])", ")"};
    const tpl_seq *q = v->u.q;
    char room[96];
    if (q->kind == Q_GENERATOR) {
        return tpl_fail(rt, FMP_E_UNSUPPORTED, "a generator cannot be printed; add |list");
    }
    FMP_TRY(put(rt, k, open[q->kind], v->origin));
    if (q->kind == Q_RANGE) {
        snprintf(room, sizeof room, q->step == 1 ? "%lld, %lld" : "%lld, %lld, %lld", (long long)q->start,
                 (long long)q->stop, (long long)q->step);
        FMP_TRY(put(rt, k, room, v->origin));
    }
    for (uint32_t i = 0; q->kind != Q_RANGE && i < q->n; i++) {
        if (i > 0) { FMP_TRY(put(rt, k, ", ", v->origin)); }
        FMP_TRY(tpl_force(rt, &q->items[i]));
        FMP_TRY(tpl_print(rt, k, &q->items[i], true, depth + 1));
    }
    if (q->kind == Q_TUPLE && q->n == 1) { FMP_TRY(put(rt, k, ",", v->origin)); }
    return put(rt, k, close[q->kind], v->origin);
}

static fmp_status print_dict(tpl_rt *rt, tpl_sink *k, const tpl_val *v, uint32_t depth)
{
    tpl_dict *d = v->u.d;
    FMP_TRY(put(rt, k, v->type == T_DICT ? "{" : "<Namespace {", v->origin));
    for (uint32_t i = 0; i < d->n; i++) {
        if (i > 0) { FMP_TRY(put(rt, k, ", ", v->origin)); }
        FMP_TRY(tpl_print(rt, k, &d->keys[i], true, depth + 1));
        FMP_TRY(put(rt, k, ": ", v->origin));
        FMP_TRY(tpl_force(rt, &d->vals[i]));
        FMP_TRY(tpl_print(rt, k, &d->vals[i], true, depth + 1));
    }
    return put(rt, k, v->type == T_DICT ? "}" : "}>", v->origin);
}

fmp_status tpl_print(tpl_rt *rt, tpl_sink *k, const tpl_val *v, bool repr, uint32_t depth)
{
    if (depth > TPL_MAX_DATA_DEPTH) {
        return tpl_fail(rt, FMP_E_RANGE, "a value nested deeper than %u", TPL_MAX_DATA_DEPTH);
    }
    FMP_TRY(tpl_step(rt, 1));
    switch ((tpl_type)v->type) {
    case T_UNDEFINED: return repr ? put(rt, k, "Undefined", ORIGIN_COMPUTED) : FMP_OK;
    case T_NONE: return put(rt, k, "None", v->origin);
    case T_BOOL: return put(rt, k, v->u.b ? "True" : "False", v->origin);
    case T_INT:
    case T_FLOAT:
    case T_BIG: return print_number(rt, k, v);
    case T_STR:
        if (!repr) { return tpl_sink_str(rt, k, v->u.s); }
        if (!v->flag) { return print_quoted(rt, k, v, false, false); }
        FMP_TRY(put(rt, k, "Markup(", ORIGIN_COMPUTED));
        FMP_TRY(print_quoted(rt, k, v, false, false));
        return put(rt, k, ")", ORIGIN_COMPUTED);
    case T_SEQ: return print_seq(rt, k, v, depth);
    case T_DICT:
    case T_NAMESPACE: return print_dict(rt, k, v, depth);
    default: break;
    }
    return tpl_fail(rt, FMP_E_UNSUPPORTED, "a %s cannot be printed", tpl_type_name(v));
}

/* ---- json.dumps ---- */

/* The line break and indentation before a member at `level`; nothing when there is no indent. */
static fmp_status json_newline(tpl_rt *rt, tpl_sink *k, const tpl_json_style *style, uint32_t level,
                               uint32_t origin)
{
    if (!style->has_indent) { return FMP_OK; }
    FMP_TRY(tpl_sink_add(rt, k, "\n", 1, origin, SRC_NONE));
    for (uint32_t i = 0; i < level; i++) {
        FMP_TRY(tpl_sink_add(rt, k, style->indent, style->indent_len, origin, SRC_NONE));
    }
    return FMP_OK;
}

static fmp_status json_seq(tpl_rt *rt, tpl_sink *k, const tpl_val *v, const tpl_json_style *style,
                           uint32_t depth)
{
    const tpl_seq *q = v->u.q;
    if (q->kind > Q_TUPLE) {
        return tpl_fail(rt, FMP_E_DATA, "tojson: an object of type %s is not JSON serializable",
                        tpl_type_name(v));
    }
    if (q->n == 0) { return put(rt, k, "[]", v->origin); }
    FMP_TRY(put(rt, k, "[", v->origin));
    for (uint32_t i = 0; i < q->n; i++) {
        if (i > 0) {
            FMP_TRY(tpl_sink_add(rt, k, style->item_sep, style->item_sep_len, v->origin, SRC_NONE));
        }
        FMP_TRY(json_newline(rt, k, style, depth + 1, v->origin));
        FMP_TRY(tpl_force(rt, &q->items[i]));
        FMP_TRY(tpl_print_json(rt, k, &q->items[i], style, depth + 1));
    }
    FMP_TRY(json_newline(rt, k, style, depth, v->origin));
    return put(rt, k, "]", v->origin);
}

/* json.dumps turns keys that are numbers, booleans or None into strings. */
static fmp_status json_key(tpl_rt *rt, tpl_sink *k, const tpl_val *key, const tpl_json_style *style)
{
    if (key->type == T_STR) { return print_quoted(rt, k, key, true, style->ensure_ascii); }
    if (key->type > T_STR || key->type == T_UNDEFINED) {
        return tpl_fail(rt, FMP_E_DATA, "tojson: keys must be str, int, float, bool or None, not %s",
                        tpl_type_name(key));
    }
    FMP_TRY(put(rt, k, "\"", key->origin));
    FMP_TRY(tpl_print_json(rt, k, key, style, 0));
    return put(rt, k, "\"", key->origin);
}

/* Member order of sort_keys: insertion into a list of indices (stable; keys are unique). */
static fmp_status json_order(tpl_rt *rt, const tpl_dict *d, bool sorted, uint32_t **out)
{
    uint32_t *order;
    *out = NULL;
    TPL_TAKE(rt, order, d->n);
    *out = order;
    for (uint32_t i = 0; i < d->n; i++) {
        uint32_t at = i;
        for (; sorted && at > 0; at--) {
            int c;
            FMP_TRY(tpl_order(rt, &d->keys[order[at - 1]], &d->keys[i], &c));
            if (c <= 0) { break; }
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    return FMP_OK;
}

static fmp_status json_dict(tpl_rt *rt, tpl_sink *k, const tpl_val *v, const tpl_json_style *style,
                            uint32_t depth)
{
    tpl_dict *d = v->u.d;
    uint32_t *order;
    if (d->n == 0) { return put(rt, k, "{}", v->origin); }
    FMP_TRY(json_order(rt, d, style->sort_keys, &order));
    FMP_TRY(put(rt, k, "{", v->origin));
    for (uint32_t i = 0; i < d->n; i++) {
        if (i > 0) {
            FMP_TRY(tpl_sink_add(rt, k, style->item_sep, style->item_sep_len, v->origin, SRC_NONE));
        }
        FMP_TRY(json_newline(rt, k, style, depth + 1, v->origin));
        FMP_TRY(json_key(rt, k, &d->keys[order[i]], style));
        FMP_TRY(tpl_sink_add(rt, k, style->key_sep, style->key_sep_len, v->origin, SRC_NONE));
        FMP_TRY(tpl_force(rt, &d->vals[order[i]]));
        FMP_TRY(tpl_print_json(rt, k, &d->vals[order[i]], style, depth + 1));
    }
    FMP_TRY(json_newline(rt, k, style, depth, v->origin));
    return put(rt, k, "}", v->origin);
}

fmp_status tpl_print_json(tpl_rt *rt, tpl_sink *k, const tpl_val *v, const tpl_json_style *style,
                          uint32_t depth)
{
    if (depth > TPL_MAX_DATA_DEPTH) {
        return tpl_fail(rt, FMP_E_RANGE, "a value nested deeper than %u", TPL_MAX_DATA_DEPTH);
    }
    FMP_TRY(tpl_step(rt, 1));
    switch ((tpl_type)v->type) {
    case T_NONE: return put(rt, k, "null", v->origin);
    case T_BOOL: return put(rt, k, v->u.b ? "true" : "false", v->origin);
    case T_FLOAT:
        if (v->u.f != v->u.f) { return put(rt, k, "NaN", v->origin); }
        if (v->u.f - v->u.f != 0.0) { return put(rt, k, v->u.f < 0 ? "-Infinity" : "Infinity", v->origin); }
        return print_number(rt, k, v);
    case T_INT:
    case T_BIG: return print_number(rt, k, v);
    case T_STR: return print_quoted(rt, k, v, true, style->ensure_ascii);
    case T_SEQ: return json_seq(rt, k, v, style, depth);
    case T_DICT: return json_dict(rt, k, v, style, depth);
    default: break;
    }
    return tpl_fail(rt, FMP_E_DATA, "tojson: an object of type %s is not JSON serializable",
                    tpl_type_name(v));
}
