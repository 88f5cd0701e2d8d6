/*
 * template_filter.c: Jinja's filters.
 *
 * Each is a row in a table: name, parameter names, how many are required, function. A row without a function
 * is known to Jinja and not offered here: using it is an error that names it. What Python computes as a
 * generator is a list marked as one, so that it is true when empty and has no length, as in Python.
 */
#include <math.h>
#include <stdlib.h>

#include <unicode/uchar.h>

#include "template_impl.h"

#define ARG(i) (c->arg[i])

static fmp_status opt_int(tpl_rt *rt, const tpl_call *c, int i, int64_t fallback, int64_t *out)
{
    *out = fallback;
    return ARG(i) ? tpl_to_int(rt, ARG(i), c->fn->name, out) : FMP_OK;
}

static bool opt_bool(const tpl_call *c, int i)
{
    return ARG(i) && tpl_truth(ARG(i));
}

/* ---- text ---- */

static fmp_status f_case(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_val s;
    char k = c->fn->name[0];
    FMP_TRY(tpl_to_str(rt, &c->self, &s));
    return tpl_str_case(rt, &s,
                        k == 'u'   ? CASE_UPPER
                        : k == 'l' ? CASE_LOWER
                        : k == 't' ? CASE_TITLE_FILTER
                                   : CASE_CAPITALIZE,
                        out);
}

static fmp_status f_trim(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_val s;
    FMP_TRY(tpl_to_str(rt, &c->self, &s));
    const tpl_str *chars = ARG(0) && ARG(0)->type == T_STR ? ARG(0)->u.s : NULL;
    return tpl_str_strip(rt, &s, chars, true, true, out);
}

static fmp_status f_replace(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_val s, old, with;
    int64_t max = -1;
    FMP_TRY(tpl_to_str(rt, &c->self, &s));
    FMP_TRY(tpl_to_str(rt, ARG(0), &old));
    FMP_TRY(tpl_to_str(rt, ARG(1), &with));
    if (ARG(2) && ARG(2)->type != T_NONE) { FMP_TRY(opt_int(rt, c, 2, -1, &max)); }
    return tpl_str_replace(rt, &s, old.u.s, with.u.s, max, out);
}

static fmp_status f_indent(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_val s, by, empty = tpl_of_str(&tpl_empty);
    int64_t width = 4;
    if (c->self.type == T_UNDEFINED) { return tpl_fail_undefined(rt, &c->self); }
    if (c->self.type != T_STR) {
        return tpl_fail(rt, FMP_E_DATA, "indent: expected a str, found %s", tpl_type_name(&c->self));
    }
    s = c->self;
    if (ARG(0) && ARG(0)->type == T_STR) {
        by = *ARG(0);
    } else {
        FMP_TRY(opt_int(rt, c, 0, 4, &width));
        FMP_TRY(tpl_str_pad(rt, &empty, width > 0 ? (size_t)width : 0, 0, ' ', &by));
    }
    return tpl_str_indent(rt, &s, by.u.s, opt_bool(c, 1), opt_bool(c, 2), out);
}

static fmp_status f_string(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    return tpl_to_str(rt, &c->self, out);
}

static fmp_status f_safe(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    FMP_TRY(tpl_to_str(rt, &c->self, out));
    out->flag = 1;
    return FMP_OK;
}

static fmp_status f_escape(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_val s;
    FMP_TRY(tpl_to_str(rt, &c->self, &s));
    if (s.flag && c->fn->name[0] != 'f') {
        *out = s;
        return FMP_OK;
    }
    return tpl_str_escape(rt, &s, out);
}

static fmp_status f_format(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_val s, arg;
    FMP_TRY(tpl_to_str(rt, &c->self, &s));
    if (c->args->n_kw > 0 && c->args->n_pos > 0) {
        return tpl_fail(rt, FMP_E_DATA, "format: positional and keyword arguments at the same time");
    }
    if (c->args->n_kw > 0) {
        FMP_TRY(tpl_dict_new(rt, c->args->n_kw, &arg));
        for (uint32_t i = 0; i < c->args->n_kw; i++) {
            FMP_TRY(tpl_dict_put(rt, arg.u.d, &c->args->kw_names[i], &c->args->kw_vals[i]));
        }
    } else {
        FMP_TRY(tpl_seq_new(rt, Q_TUPLE, c->args->n_pos, &arg));
        for (uint32_t i = 0; i < c->args->n_pos; i++) {
            arg.u.q->items[i] = c->args->pos[i];
        }
    }
    return tpl_format_percent(rt, s.u.s, &arg, out);
}

static fmp_status f_center(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_val s;
    int64_t width;
    FMP_TRY(tpl_to_str(rt, &c->self, &s));
    FMP_TRY(opt_int(rt, c, 0, 80, &width));
    int64_t room = width - (int64_t)tpl_str_count(s.u.s);
    if (room <= 0) {
        *out = s;
        return FMP_OK;
    }
    size_t left = (size_t)room / 2 + ((size_t)room & (size_t)width & 1);
    return tpl_str_pad(rt, &s, left, (size_t)room - left, ' ', out);
}

static fmp_status f_wordcount(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_val s;
    int64_t n = 0;
    bool in_word = false;
    FMP_TRY(tpl_to_str(rt, &c->self, &s));
    for (size_t at = 0, len; at < s.u.s->len; at += len) {
        uint32_t cp = tpl_utf8_get(s.u.s->p + at, s.u.s->len - at, &len);
        bool word = u_isalnum((UChar32)cp) || cp == '_';
        n += word && !in_word;
        in_word = word;
    }
    *out = tpl_int(n);
    return FMP_OK;
}

/* ---- JSON ---- */

static fmp_status opt_text(tpl_rt *rt, const tpl_val *v, const char **p, size_t *len)
{
    if (v->type != T_STR) {
        return tpl_fail(rt, FMP_E_DATA, "tojson: a separator must be a str, found %s", tpl_type_name(v));
    }
    *p = v->u.s->p;
    *len = v->u.s->len;
    return FMP_OK;
}

static fmp_status json_indent(tpl_rt *rt, const tpl_call *c, tpl_json_style *style)
{
    int64_t width;
    tpl_val by, empty = tpl_of_str(&tpl_empty);
    if (!ARG(1) || ARG(1)->type == T_NONE) { return FMP_OK; }
    style->has_indent = true;
    style->item_sep = ",";
    style->item_sep_len = 1;
    if (ARG(1)->type == T_STR) {
        by = *ARG(1);
    } else {
        FMP_TRY(tpl_to_int(rt, ARG(1), "tojson", &width));
        FMP_TRY(tpl_str_pad(rt, &empty, width > 0 ? (size_t)width : 0, 0, ' ', &by));
    }
    style->indent = by.u.s->p;
    style->indent_len = by.u.s->len;
    return FMP_OK;
}

/* transformers' tojson: json.dumps(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False) */
static fmp_status f_tojson(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_json_style style = {.item_sep = ", ", .item_sep_len = 2, .key_sep = ": ", .key_sep_len = 2};
    style.ensure_ascii = opt_bool(c, 0);
    style.sort_keys = opt_bool(c, 3);
    FMP_TRY(json_indent(rt, c, &style));
    if (ARG(2) && ARG(2)->type != T_NONE) {
        const tpl_val *sep;
        uint32_t n;
        FMP_TRY(tpl_iterate(rt, ARG(2), &sep, &n));
        if (n != 2) { return tpl_fail(rt, FMP_E_DATA, "tojson: expected two separators, found %u", n); }
        FMP_TRY(opt_text(rt, &sep[0], &style.item_sep, &style.item_sep_len));
        FMP_TRY(opt_text(rt, &sep[1], &style.key_sep, &style.key_sep_len));
    }
    tpl_sink k = {0};
    FMP_TRY(tpl_print_json(rt, &k, &c->self, &style, 0));
    return tpl_sink_done(rt, &k, out);
}

/* ---- numbers ---- */

/* Python's int(text, base): surrounding space, sign, prefix and single underscores allowed. */
static bool parse_int(const tpl_str *s, int64_t base, int64_t *out)
{
    char text[80], *end;
    size_t n = 0, begin = 0, stop = s->len;
    while (begin < stop && tpl_is_space((unsigned char)s->p[begin])) {
        begin++;
    }
    while (stop > begin && tpl_is_space((unsigned char)s->p[stop - 1])) {
        stop--;
    }
    for (size_t i = begin; i < stop; i++) {
        char ch = s->p[i];
        if (ch == '_' && i > begin && i + 1 < stop && s->p[i - 1] != '_') { continue; }
        if (n + 1 >= sizeof text || (unsigned char)ch >= 0x80 || ch == 0) { return false; }
        text[n++] = ch;
    }
    text[n] = 0;
    const char *digits = text + (text[0] == '-' || text[0] == '+');
    char x = digits[0] == '0' ? (char)(digits[1] | 0x20) : 0;
    bool negative = text[0] == '-';
    if ((x == 'x' && base == 16) || (x == 'o' && base == 8) || (x == 'b' && base == 2)) { digits += 2; }
    if (!*digits || tpl_is_space((unsigned char)*digits) || *digits == '-' || *digits == '+') {
        return false;
    }
    unsigned long long u = strtoull(digits, &end, (int)base);
    if (*end || u > INT64_MAX || strlen(digits) > 64) { return false; }
    *out = negative ? -(int64_t)u : (int64_t)u;
    return true;
}

/* Python's float(text) */
bool tpl_parse_float(const tpl_str *s, double *out)
{
    char text[400], *end;
    size_t begin = 0, stop = s->len;
    while (begin < stop && tpl_is_space((unsigned char)s->p[begin])) {
        begin++;
    }
    while (stop > begin && tpl_is_space((unsigned char)s->p[stop - 1])) {
        stop--;
    }
    if (stop == begin || stop - begin >= sizeof text) { return false; }
    memcpy(text, s->p + begin, stop - begin);
    text[stop - begin] = 0;
    if (strpbrk(text, "xX") || strlen(text) != stop - begin || strchr(text, '(')) { return false; }
    *out = strtod(text, &end);
    return *end == 0;
}

static fmp_status int_of_float(tpl_rt *rt, double f, const tpl_val *fallback, tpl_val *out)
{
    (void)rt;
    if (isnan(f) || isinf(f) || fabs(f) >= 9.2e18) {
        *out = *fallback;
    } else {
        *out = tpl_int((int64_t)f);
    }
    return FMP_OK;
}

static fmp_status f_int(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_val fallback = ARG(0) ? *ARG(0) : tpl_int(0);
    const tpl_val *v = &c->self;
    int64_t base, i;
    double f;
    FMP_TRY(opt_int(rt, c, 1, 10, &base));
    if (base < 2 || base > 36) { return tpl_fail(rt, FMP_E_DATA, "int: base out of range"); }
    *out = fallback;
    if (v->type == T_UNDEFINED) { return tpl_fail_undefined(rt, v); }
    if (v->type == T_INT || v->type == T_BIG) { *out = *v; }
    if (v->type == T_BOOL) { *out = tpl_int(v->u.b); }
    if (v->type == T_FLOAT) { FMP_TRY(int_of_float(rt, v->u.f, &fallback, out)); }
    if (v->type == T_STR && parse_int(v->u.s, base, &i)) {
        *out = tpl_int(i);
    } else if (v->type == T_STR && tpl_parse_float(v->u.s, &f)) {
        FMP_TRY(int_of_float(rt, f, &fallback, out));
    }
    if (v->type == T_STR && out->type == T_INT) { out->origin = tpl_str_origin(v->u.s); }
    return FMP_OK;
}

static fmp_status f_float(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_val *v = &c->self;
    double f;
    *out = ARG(0) ? *ARG(0) : tpl_float(0.0);
    if (v->type == T_UNDEFINED) { return tpl_fail_undefined(rt, v); }
    if (tpl_is_number(v)) {
        *out = tpl_float(tpl_as_double(v));
        out->origin = v->type == T_FLOAT ? v->origin : ORIGIN_COMPUTED;
    } else if (v->type == T_STR && tpl_parse_float(v->u.s, &f)) {
        *out = tpl_float(f);
    }
    return FMP_OK;
}

static fmp_status f_abs(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_val *v = &c->self;
    if (v->type == T_FLOAT) {
        *out = tpl_float(fabs(v->u.f));
        return FMP_OK;
    }
    if (v->type != T_INT && v->type != T_BOOL) {
        return tpl_fail(rt, FMP_E_DATA, "abs: bad operand type %s", tpl_type_name(v));
    }
    int64_t i = v->type == T_INT ? v->u.i : v->u.b;
    *out = tpl_int(i < 0 ? -i : i);
    return FMP_OK;
}

static fmp_status f_round(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    int64_t digits;
    char text[400], *end;
    FMP_TRY(opt_int(rt, c, 0, 0, &digits));
    if (!tpl_is_number(&c->self) || c->self.type == T_BIG) {
        return tpl_fail(rt, FMP_E_DATA, "round: expected a number, found %s", tpl_type_name(&c->self));
    }
    if (digits > 300 || digits < -300) { return tpl_fail(rt, FMP_E_RANGE, "round: precision out of range"); }
    bool common = !ARG(1) || (ARG(1)->type == T_STR && tpl_str_is(ARG(1)->u.s, "common"));
    double f = tpl_as_double(&c->self), scale = pow(10.0, (double)digits);
    if (!common) {
        if (ARG(1)->type != T_STR || !(tpl_str_is(ARG(1)->u.s, "ceil") || tpl_str_is(ARG(1)->u.s, "floor"))) {
            return tpl_fail(rt, FMP_E_DATA, "round: method must be common, ceil or floor");
        }
        *out = tpl_float((ARG(1)->u.s->p[0] == 'c' ? ceil(f * scale) : floor(f * scale)) / scale + 0.0);
    } else if (c->self.type != T_FLOAT && digits >= 0) {
        *out = tpl_int(c->self.type == T_INT ? c->self.u.i : c->self.u.b);
    } else if (digits < 0) {
        *out = tpl_float(nearbyint(f * scale) / scale);
        if (c->self.type != T_FLOAT) { *out = tpl_int((int64_t)out->u.f); }
    } else {
        snprintf(text, sizeof text, "%.*f", (int)digits,
                 f); /* exact decimal value, ties to even: Python's round() */
        *out = tpl_float(strtod(text, &end));
    }
    return FMP_OK;
}

/* ---- attributes for map, select, sort, ... ---- */

/* item."a.0.b": each part an item, else an attribute; digits are indices */
static fmp_status get_path(tpl_rt *rt, const tpl_val *item, const tpl_val *path, tpl_val *out)
{
    *out = *item;
    if (path->type == T_INT) { return tpl_get_item(rt, item, path, out); }
    if (path->type != T_STR) { return tpl_fail(rt, FMP_E_DATA, "an attribute name must be a str or int"); }
    const tpl_str *s = path->u.s;
    for (size_t at = 0; at <= s->len;) {
        const char *dot = memchr(s->p + at, '.', s->len - at);
        size_t end = dot ? (size_t)(dot - s->p) : s->len;
        tpl_val part, obj = *out;
        int64_t i;
        FMP_TRY(tpl_str_slice(rt, path, at, end, &part));
        bool digits = end > at && end - at < 18;
        for (size_t k = at; k < end; k++) {
            digits = digits && s->p[k] >= '0' && s->p[k] <= '9';
        }
        if (digits && parse_int(part.u.s, 10, &i)) { part = tpl_int(i); }
        FMP_TRY(tpl_get_item(rt, &obj, &part, out));
        at = end + 1;
    }
    return FMP_OK;
}

/* The value sort, unique, min and max compare by: an attribute, and text without its case. */
static fmp_status sort_key(tpl_rt *rt, const tpl_val *item, const tpl_val *attribute, bool case_sensitive,
                           tpl_val *out)
{
    *out = *item;
    if (attribute && attribute->type != T_NONE) { FMP_TRY(get_path(rt, item, attribute, out)); }
    if (case_sensitive || out->type != T_STR) { return FMP_OK; }
    tpl_val s = *out;
    return tpl_str_case(rt, &s, CASE_LOWER, out);
}

static fmp_status new_list(tpl_rt *rt, tpl_seq_kind kind, const tpl_val *items, size_t n, tpl_val *out)
{
    FMP_TRY(tpl_seq_new(rt, kind, n, out));
    if (n) { memcpy(out->u.q->items, items, n * sizeof *items); }
    return FMP_OK;
}

/* ---- lists ---- */

static fmp_status f_join(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_val *items;
    uint32_t n;
    tpl_sink k = {0};
    tpl_val sep = tpl_of_str(&tpl_empty), item;
    if (ARG(0)) { FMP_TRY(tpl_to_str(rt, ARG(0), &sep)); }
    FMP_TRY(tpl_iterate(rt, &c->self, &items, &n));
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0) { FMP_TRY(tpl_sink_str(rt, &k, sep.u.s)); }
        item = items[i];
        if (ARG(1) && ARG(1)->type != T_NONE) { FMP_TRY(get_path(rt, &items[i], ARG(1), &item)); }
        FMP_TRY(tpl_print(rt, &k, &item, false, 0));
    }
    return tpl_sink_done(rt, &k, out);
}

static fmp_status f_length(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    size_t n;
    FMP_TRY(tpl_length(rt, &c->self, &n));
    *out = tpl_int((int64_t)n);
    return FMP_OK;
}

static fmp_status f_first_last(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    static const tpl_str what = {"item of an empty sequence", 25, 0, NULL, {0, 0, 0}};
    const tpl_val *items;
    uint32_t n;
    bool last = c->fn->name[0] == 'l';
    if (last && c->self.type == T_SEQ && c->self.u.q->kind == Q_GENERATOR) {
        return tpl_fail(rt, FMP_E_DATA, "last: 'generator' object is not reversible");
    }
    FMP_TRY(tpl_iterate(rt, &c->self, &items, &n));
    *out = n ? items[last ? n - 1 : 0] : tpl_undefined(&what, 255);
    return FMP_OK;
}

static fmp_status f_list(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_val *items;
    uint32_t n;
    FMP_TRY(tpl_iterate(rt, &c->self, &items, &n));
    FMP_TRY(new_list(rt, Q_LIST, items, n, out));
    out->origin = c->self.type == T_SEQ || c->self.type == T_DICT ? c->self.origin : ORIGIN_COMPUTED;
    return FMP_OK;
}

static fmp_status f_reverse(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_val *items;
    uint32_t n;
    tpl_sink k = {0};
    FMP_TRY(tpl_iterate(rt, &c->self, &items, &n));
    if (c->self.type == T_STR) {
        for (uint32_t i = n; i-- > 0;) {
            FMP_TRY(tpl_sink_str(rt, &k, items[i].u.s));
        }
        return tpl_sink_done(rt, &k, out);
    }
    FMP_TRY(tpl_seq_new(rt, Q_GENERATOR, n, out));
    for (uint32_t i = 0; i < n; i++) {
        out->u.q->items[i] = items[n - 1 - i];
    }
    return FMP_OK;
}

static fmp_status f_items(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    static const tpl_str items = {"items", 5, 0, NULL, {0, 0, 0}};
    tpl_args none = {0};
    bool forbidden;
    if (c->self.type == T_UNDEFINED) { return tpl_seq_new(rt, Q_GENERATOR, 0, out); }
    if (c->self.type != T_DICT) {
        return tpl_fail(rt, FMP_E_DATA, "items: can only get item pairs from a mapping");
    }
    FMP_TRY(tpl_invoke(rt, "method", tpl_find_method(&c->self, &items, &forbidden), &c->self, &none, out));
    out->u.q->kind = Q_GENERATOR;
    return FMP_OK;
}

/* Stable merge sort by keys: order[] are the indices of the items. */
static fmp_status merge_sort(tpl_rt *rt, const tpl_val *keys, uint32_t *order, uint32_t *room, uint32_t n,
                             bool reverse)
{
    if (n < 2) { return FMP_OK; }
    uint32_t half = n / 2, a = 0, b = half;
    FMP_TRY(merge_sort(rt, keys, order, room, half, reverse));
    FMP_TRY(merge_sort(rt, keys, order + half, room, n - half, reverse));
    for (uint32_t i = 0; i < n; i++) {
        int cmp = 0;
        if (a < half && b < n) { FMP_TRY(tpl_order(rt, &keys[order[a]], &keys[order[b]], &cmp)); }
        bool left = b == n || (a < half && (reverse ? cmp >= 0 : cmp <= 0));
        room[i] = order[left ? a++ : b++];
    }
    memcpy(order, room, n * sizeof *order);
    return FMP_OK;
}

static fmp_status sort_items(tpl_rt *rt, const tpl_val *items, const tpl_val *keys, uint32_t n, bool reverse,
                             tpl_val *out)
{
    uint32_t *order, *room;
    TPL_TAKE(rt, order, n);
    TPL_TAKE(rt, room, n);
    for (uint32_t i = 0; i < n; i++) {
        order[i] = i;
    }
    FMP_TRY(merge_sort(rt, keys, order, room, n, reverse));
    FMP_TRY(tpl_seq_new(rt, Q_LIST, n, out));
    for (uint32_t i = 0; i < n; i++) {
        out->u.q->items[i] = items[order[i]];
    }
    return FMP_OK;
}

/* The list of the values by which sort compares: of each attribute of "a,b", in this order. */
static fmp_status sort_keys(tpl_rt *rt, const tpl_val *item, const tpl_val *attributes, bool exact,
                            tpl_val *out)
{
    static const tpl_str comma = {",", 1, 0, NULL, {0, 0, SRC_NONE}};
    tpl_val parts;
    FMP_TRY(tpl_str_split(rt, attributes, &comma, -1, false, &parts));
    FMP_TRY(tpl_seq_new(rt, Q_LIST, parts.u.q->n, out));
    for (uint32_t i = 0; i < parts.u.q->n; i++) {
        FMP_TRY(sort_key(rt, item, &parts.u.q->items[i], exact, &out->u.q->items[i]));
    }
    return FMP_OK;
}

static fmp_status f_sort(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_val *items;
    tpl_val *keys;
    uint32_t n;
    FMP_TRY(tpl_iterate(rt, &c->self, &items, &n));
    TPL_TAKE(rt, keys, n);
    for (uint32_t i = 0; i < n; i++) {
        bool named = ARG(2) && ARG(2)->type == T_STR && ARG(2)->u.s->len > 0;
        FMP_TRY(named ? sort_keys(rt, &items[i], ARG(2), opt_bool(c, 1), &keys[i])
                      : sort_key(rt, &items[i], ARG(2), opt_bool(c, 1), &keys[i]));
    }
    return sort_items(rt, items, keys, n, opt_bool(c, 0), out);
}

static fmp_status f_dictsort(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_val pairs, *keys, args_none = tpl_none();
    tpl_call items = {.self = c->self, .fn = c->fn};
    bool by_value = ARG(1) && ARG(1)->type == T_STR && tpl_str_is(ARG(1)->u.s, "value");
    if (c->self.type != T_DICT) {
        return tpl_fail(rt, FMP_E_DATA, "dictsort: expected a dict, found %s", tpl_type_name(&c->self));
    }
    FMP_TRY(f_items(rt, &items, &pairs));
    uint32_t n = pairs.u.q->n;
    TPL_TAKE(rt, keys, n);
    for (uint32_t i = 0; i < n; i++) {
        FMP_TRY(
            sort_key(rt, &pairs.u.q->items[i].u.q->items[by_value], &args_none, opt_bool(c, 0), &keys[i]));
    }
    return sort_items(rt, pairs.u.q->items, keys, n, opt_bool(c, 2), out);
}

static fmp_status f_unique(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_val *items;
    tpl_val *keys, seen;
    uint32_t n, kept = 0;
    FMP_TRY(tpl_iterate(rt, &c->self, &items, &n));
    TPL_TAKE(rt, keys, n);
    FMP_TRY(tpl_dict_new(rt, n, &seen));
    for (uint32_t i = 0; i < n; i++) {
        tpl_val key, *slot;
        FMP_TRY(sort_key(rt, &items[i], ARG(1), opt_bool(c, 0), &key));
        FMP_TRY(tpl_dict_get(rt, seen.u.d, &key, &slot));
        if (slot) { continue; }
        FMP_TRY(tpl_dict_put(rt, seen.u.d, &key, &items[i]));
        keys[kept++] = items[i];
    }
    return new_list(rt, Q_GENERATOR, keys, kept, out);
}

static fmp_status f_min_max(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    static const tpl_str what = {"item of an empty sequence", 25, 0, NULL, {0, 0, 0}};
    const tpl_val *items;
    tpl_val best, key;
    uint32_t n;
    FMP_TRY(tpl_iterate(rt, &c->self, &items, &n));
    *out = tpl_undefined(&what, 255);
    for (uint32_t i = 0; i < n; i++) {
        int cmp = 0;
        FMP_TRY(sort_key(rt, &items[i], ARG(1), opt_bool(c, 0), &key));
        if (i > 0) { FMP_TRY(tpl_order(rt, &key, &best, &cmp)); }
        if (i == 0 || (c->fn->name[1] == 'i' ? cmp < 0 : cmp > 0)) {
            best = key;
            *out = items[i];
        }
    }
    return FMP_OK;
}

static fmp_status f_sum(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_val *items;
    uint32_t n;
    *out = ARG(1) ? *ARG(1) : tpl_int(0);
    FMP_TRY(tpl_iterate(rt, &c->self, &items, &n));
    for (uint32_t i = 0; i < n; i++) {
        tpl_val item = items[i], sum = *out;
        if (ARG(0) && ARG(0)->type != T_NONE) { FMP_TRY(get_path(rt, &items[i], ARG(0), &item)); }
        FMP_TRY(tpl_binary(rt, OP_ADD, &sum, &item, out));
    }
    return FMP_OK;
}

static fmp_status f_batch(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_val *items;
    uint32_t n;
    int64_t size;
    bool fill = ARG(1) && ARG(1)->type != T_NONE;
    FMP_TRY(opt_int(rt, c, 0, 1, &size));
    if (size < 1) { return tpl_fail(rt, FMP_E_DATA, "batch: the size must be positive"); }
    FMP_TRY(tpl_iterate(rt, &c->self, &items, &n));
    uint64_t n_batches = ((uint64_t)n + (uint64_t)size - 1) / (uint64_t)size;
    FMP_TRY(tpl_seq_new(rt, Q_GENERATOR, n_batches, out));
    for (uint64_t b = 0; b < n_batches; b++) {
        uint64_t begin = b * (uint64_t)size, have = n - begin < (uint64_t)size ? n - begin : (uint64_t)size;
        uint64_t want = fill ? (uint64_t)size : have;
        FMP_TRY(tpl_step(rt, want));
        FMP_TRY(tpl_seq_new(rt, Q_LIST, want, &out->u.q->items[b]));
        for (uint64_t i = 0; i < want; i++) {
            out->u.q->items[b].u.q->items[i] = i < have ? items[begin + i] : *ARG(1);
        }
    }
    return FMP_OK;
}

/* slice(slices, fill_with): so many columns of nearly one length */
static fmp_status f_slice(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_val *items;
    uint32_t n;
    int64_t n_slices;
    bool fill = ARG(1) && ARG(1)->type != T_NONE;
    FMP_TRY(opt_int(rt, c, 0, 1, &n_slices));
    if (n_slices == 0) { return tpl_fail(rt, FMP_E_DATA, "slice: expected a number of slices above 0"); }
    FMP_TRY(tpl_iterate(rt, &c->self, &items, &n));
    if (n_slices < 0) { n_slices = 0; }
    FMP_TRY(tpl_step(rt, (uint64_t)n_slices));
    FMP_TRY(tpl_seq_new(rt, Q_GENERATOR, (size_t)n_slices, out));
    uint64_t at = 0, n_longer = n_slices > 0 ? n % (uint64_t)n_slices : 0;
    for (uint64_t i = 0; i < (uint64_t)n_slices; i++) {
        uint64_t have = n / (uint64_t)n_slices + (i < n_longer), want = have + (fill && i >= n_longer);
        FMP_TRY(tpl_seq_new(rt, Q_LIST, want, &out->u.q->items[i]));
        for (uint64_t k = 0; k < want; k++) {
            out->u.q->items[i].u.q->items[k] = k < have ? items[at + k] : *ARG(1);
        }
        at += have;
    }
    return FMP_OK;
}

/* The value groupby goes by: an attribute, or its default where it is missing. */
static fmp_status group_key(tpl_rt *rt, const tpl_call *c, const tpl_val *item, tpl_val *out)
{
    FMP_TRY(get_path(rt, item, ARG(0), out));
    if (out->type == T_UNDEFINED && ARG(1) && ARG(1)->type != T_NONE) { *out = *ARG(1); }
    return FMP_OK;
}

/* One pair (grouper, list) of the sorted items [begin, end). */
static fmp_status new_group(tpl_rt *rt, const tpl_val *key, const tpl_val *items, size_t n, tpl_val *out)
{
    FMP_TRY(tpl_seq_new(rt, Q_TUPLE, 2, out));
    out->u.q->is_group = true;
    out->u.q->items[0] = *key;
    return new_list(rt, Q_LIST, items, n, &out->u.q->items[1]);
}

/* groupby(attribute, default=None, case_sensitive=False): sorted by the attribute, and cut where it changes */
static fmp_status f_groupby(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_val *items;
    tpl_val *keys, *groups, sorted, key;
    uint32_t n, n_groups = 0;
    bool exact = opt_bool(c, 2);
    FMP_TRY(tpl_iterate(rt, &c->self, &items, &n));
    TPL_TAKE(rt, keys, n);
    TPL_TAKE(rt, groups, n);
    for (uint32_t i = 0; i < n; i++) {
        FMP_TRY(group_key(rt, c, &items[i], &key));
        FMP_TRY(sort_key(rt, &key, NULL, exact, &keys[i]));
    }
    FMP_TRY(sort_items(rt, items, keys, n, false, &sorted));
    for (uint32_t begin = 0, end; begin < n; begin = end) {
        const tpl_val *first = &sorted.u.q->items[begin];
        tpl_val own, other;
        bool same = true;
        FMP_TRY(group_key(rt, c, first, &key));
        FMP_TRY(sort_key(rt, &key, NULL, exact, &own));
        for (end = begin + 1; end < n; end += same) {
            FMP_TRY(group_key(rt, c, &sorted.u.q->items[end], &other));
            tpl_val folded = other;
            FMP_TRY(sort_key(rt, &other, NULL, exact, &folded));
            FMP_TRY(tpl_equal(rt, &own, &folded, &same));
            if (!same) { break; }
        }
        FMP_TRY(new_group(rt, &key, first, end - begin, &groups[n_groups++]));
    }
    return new_list(rt, Q_LIST, groups, n_groups, out);
}

static fmp_status f_default(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    (void)rt;
    bool missing = c->self.type == T_UNDEFINED || (opt_bool(c, 1) && !tpl_truth(&c->self));
    *out = !missing ? c->self : ARG(0) ? *ARG(0) : tpl_of_str(&tpl_empty);
    return FMP_OK;
}

static fmp_status f_attr(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    bool is_dict = c->self.type == T_DICT;
    if (ARG(0)->type != T_STR) { return tpl_fail(rt, FMP_E_DATA, "attr: expected a name"); }
    if (!is_dict) { return tpl_get_attr(rt, &c->self, ARG(0)->u.s, out); }
    *out = tpl_undefined(ARG(0)->u.s, T_DICT); /* attributes only, and members of a dict are items */
    return FMP_OK;
}

/* ---- map, select, reject ---- */

/* args from `skip` on, keywords dropped */
static tpl_args args_from(const tpl_args *a, uint32_t skip)
{
    return (tpl_args){a->pos + skip, a->n_pos - skip, a->kw_names, a->kw_vals, a->n_kw};
}

static const tpl_val *keyword(const tpl_args *a, const char *name)
{
    for (uint32_t i = 0; i < a->n_kw; i++) {
        if (tpl_str_is(a->kw_names[i].u.s, name)) { return &a->kw_vals[i]; }
    }
    return NULL;
}

/* map and select take anything false, none included, as empty. */
static fmp_status iterate_if_true(tpl_rt *rt, const tpl_val *v, const tpl_val **items, uint32_t *n)
{
    *items = NULL;
    *n = 0;
    return tpl_truth(v) ? tpl_iterate(rt, v, items, n) : FMP_OK;
}

static fmp_status f_map(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_args *a = c->args;
    const tpl_val *items, *attribute = keyword(a, "attribute"), *fallback = keyword(a, "default");
    const tpl_builtin *filter = NULL;
    uint32_t n;
    if (!attribute) {
        if (a->n_pos == 0 || a->pos[0].type != T_STR) {
            return tpl_fail(rt, FMP_E_DATA, "map requires a filter argument");
        }
        filter = tpl_find_filter(a->pos[0].u.s);
        if (!filter) {
            return tpl_fail(rt, FMP_E_UNSUPPORTED, "unsupported filter '%.*s'", (int)a->pos[0].u.s->len,
                            a->pos[0].u.s->p);
        }
    }
    FMP_TRY(iterate_if_true(rt, &c->self, &items, &n));
    FMP_TRY(tpl_seq_new(rt, Q_GENERATOR, n, out));
    for (uint32_t i = 0; i < n; i++) {
        tpl_val *slot = &out->u.q->items[i];
        if (filter) {
            tpl_args rest = args_from(a, 1);
            FMP_TRY(tpl_invoke(rt, "filter", filter, &items[i], &rest, slot));
        } else {
            FMP_TRY(get_path(rt, &items[i], attribute, slot));
            if (slot->type == T_UNDEFINED && fallback) { *slot = *fallback; }
        }
    }
    return FMP_OK;
}

/* select, reject, selectattr, rejectattr: [attribute,] [test, arguments...] */
static fmp_status f_select(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_args *a = c->args;
    bool keep = c->fn->name[0] == 's';
    uint32_t n_attr = strstr(c->fn->name, "attr") ? 1 : 0, n, kept = 0;
    const tpl_builtin *test = NULL;
    const tpl_val *items;
    tpl_val *list;
    if (a->n_pos < n_attr) { return tpl_fail(rt, FMP_E_DATA, "%s: missing the attribute", c->fn->name); }
    if (a->n_pos > n_attr) {
        const tpl_val *name = &a->pos[n_attr];
        test = name->type == T_STR ? tpl_find_test(name->u.s) : NULL;
        if (!test) { return tpl_fail(rt, FMP_E_UNSUPPORTED, "%s: unsupported test", c->fn->name); }
    }
    FMP_TRY(iterate_if_true(rt, &c->self, &items, &n));
    TPL_TAKE(rt, list, n);
    for (uint32_t i = 0; i < n; i++) {
        tpl_val v = items[i], yes;
        if (n_attr) { FMP_TRY(get_path(rt, &items[i], &a->pos[0], &v)); }
        yes = tpl_bool(tpl_truth(&v));
        if (test) {
            tpl_args rest = args_from(a, n_attr + 1);
            FMP_TRY(tpl_invoke(rt, "test", test, &v, &rest, &yes));
        }
        if (tpl_truth(&yes) == keep) { list[kept++] = items[i]; }
    }
    return new_list(rt, Q_GENERATOR, list, kept, out);
}

static const tpl_builtin filters[] = {
    {"abs", "", 0, f_abs},
    {"attr", "name", 1, f_attr},
    {"batch", "linecount fill_with", 1, f_batch},
    {"capitalize", "", 0, f_case},
    {"center", "width", 0, f_center},
    {"count", "", 0, f_length},
    {"d", "default_value boolean", 0, f_default},
    {"default", "default_value boolean", 0, f_default},
    {"dictsort", "case_sensitive by reverse", 0, f_dictsort},
    {"e", "", 0, f_escape},
    {"escape", "", 0, f_escape},
    {"filesizeformat", "binary", 0, tpl_f_filesizeformat},
    {"first", "", 0, f_first_last},
    {"float", "default", 0, f_float},
    {"forceescape", "", 0, f_escape},
    {"format", "*", 0, f_format},
    {"groupby", "attribute default case_sensitive", 1, f_groupby},
    {"indent", "width first blank", 0, f_indent},
    {"int", "default base", 0, f_int},
    {"items", "", 0, f_items},
    {"join", "d attribute", 0, f_join},
    {"last", "", 0, f_first_last},
    {"length", "", 0, f_length},
    {"list", "", 0, f_list},
    {"lower", "", 0, f_case},
    {"map", "*", 0, f_map},
    {"max", "case_sensitive attribute", 0, f_min_max},
    {"min", "case_sensitive attribute", 0, f_min_max},
    {"pprint", "", 0, tpl_f_pprint},
    {"random", "*", 0, NULL},
    {"reject", "*", 0, f_select},
    {"rejectattr", "*", 0, f_select},
    {"replace", "old new count", 2, f_replace},
    {"reverse", "", 0, f_reverse},
    {"round", "precision method", 0, f_round},
    {"safe", "", 0, f_safe},
    {"select", "*", 0, f_select},
    {"selectattr", "*", 0, f_select},
    {"slice", "slices fill_with", 1, f_slice},
    {"sort", "reverse case_sensitive attribute", 0, f_sort},
    {"string", "", 0, f_string},
    {"striptags", "", 0, tpl_f_striptags},
    {"sum", "attribute start", 0, f_sum},
    {"title", "", 0, f_case},
    {"tojson", "ensure_ascii indent separators sort_keys", 0, f_tojson},
    {"trim", "chars", 0, f_trim},
    {"truncate", "length killwords end leeway", 0, tpl_f_truncate},
    {"unique", "case_sensitive attribute", 0, f_unique},
    {"upper", "", 0, f_case},
    {"urlencode", "", 0, tpl_f_urlencode},
    {"urlize", "*", 0, NULL},
    {"wordcount", "", 0, f_wordcount},
    {"wordwrap", "width break_long_words wrapstring break_on_hyphens", 0, tpl_f_wordwrap},
    {"xmlattr", "autospace", 0, tpl_f_xmlattr},
};

const tpl_builtin *tpl_find_filter(const tpl_str *name)
{
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        if (tpl_str_is(name, filters[i].name)) { return &filters[i]; }
    }
    return NULL;
}
