/*
 * template_format.c: "%s" % x and "{}".format(x), the parts templates use. A conversion or specification
 * beyond these is an error that shows it; nothing is formatted approximately.
 */
#include <stdlib.h>

#include "template_impl.h"

/* flags, width, precision and conversion of one field */
typedef struct spec {
    char align; /* '<' '>' '^' '=' or 0 */
    char fill;
    char sign;
    bool zero, comma;
    int64_t width, precision; /* precision -1: not given */
    char conv;                /* 0: str()                */
} spec;

/* Decimal digits at s[*i]; false if they are too many. */
static bool read_count(const tpl_str *s, size_t *i, size_t end, int64_t *out)
{
    size_t begin = *i;
    *out = 0;
    while (*i < end && s->p[*i] >= '0' && s->p[*i] <= '9') {
        *out = *out * 10 + (s->p[*i] - '0');
        if (*i - begin > 6) { return false; }
        (*i)++;
    }
    return true;
}

/* "1234567" to "1,234,567" */
static size_t group_digits(char *text, size_t n, size_t room)
{
    size_t first = 0;
    while (first < n && (text[first] < '0' || text[first] > '9')) {
        first++;
    }
    size_t last = first;
    while (last < n && text[last] >= '0' && text[last] <= '9') {
        last++;
    }
    for (size_t at = last; at > first + 3 && n + 1 < room; n++) {
        at -= 3;
        memmove(text + at + 1, text + at, n - at);
        text[at] = ',';
    }
    return n;
}

/* The number's text without padding; text[0] is its sign if it has one. */
static fmp_status number_text(tpl_rt *rt, const spec *s, const tpl_val *v, char *text, size_t room, size_t *n)
{
    int precision = s->precision < 0 ? 6 : (int)(s->precision > 100 ? 100 : s->precision);
    double f = tpl_as_double(v);
    long long i = v->type == T_INT ? (long long)v->u.i : v->type == T_BOOL ? (long long)v->u.b : 0;
    int got;
    if (!tpl_is_number(v) || v->type == T_BIG) {
        return tpl_fail(rt, FMP_E_DATA, "format: a number is required, found %s", tpl_type_name(v));
    }
    bool integral = strchr("dixXo", s->conv) != NULL;
    if (integral && v->type == T_FLOAT) {
        if (f != f || f >= 9.2e18 || f <= -9.2e18 || !strchr("di", s->conv)) {
            return tpl_fail(rt, FMP_E_DATA, "format: an integer is required, found a float");
        }
        i = (long long)f;
    }
    unsigned long long u = i < 0 ? 0ULL - (unsigned long long)i : (unsigned long long)i;
    const char *sign = (integral ? i < 0 : f < 0) ? "-" : s->sign == '+' ? "+" : s->sign == ' ' ? " " : "";
    if (f < 0) { f = -f; }
    switch (s->conv) {
    case 'x': got = snprintf(text, room, "%s%llx", sign, u); break;
    case 'X': got = snprintf(text, room, "%s%llX", sign, u); break;
    case 'o': got = snprintf(text, room, "%s%llo", sign, u); break;
    case 'f':
    case 'F': got = snprintf(text, room, "%s%.*f", sign, precision, f); break;
    case 'e': got = snprintf(text, room, "%s%.*e", sign, precision, f); break;
    case 'g': got = snprintf(text, room, "%s%.*g", sign, precision, f); break;
    default: got = snprintf(text, room, "%s%llu", sign, u); break;
    }
    *n = (size_t)got;
    if (s->comma) { *n = group_digits(text, *n, room); }
    return FMP_OK;
}

static fmp_status put_padded(tpl_rt *rt, tpl_sink *k, const spec *s, const tpl_val *text, bool is_number)
{
    int64_t have = (int64_t)tpl_str_count(text->u.s), room = s->width > have ? s->width - have : 0;
    char align = s->align ? s->align : is_number ? '>' : '<', fill = s->fill ? s->fill : ' ';
    size_t sign = is_number && text->u.s->len && strchr("+- ", text->u.s->p[0]) ? 1 : 0;
    tpl_val padded;
    if (is_number && s->zero && (!s->align || s->align == '=')) {
        FMP_TRY(tpl_sink_slice(rt, k, text->u.s, 0, sign));
        for (; room > 0; room--) {
            FMP_TRY(tpl_sink_add(rt, k, "0", 1, ORIGIN_COMPUTED, SRC_NONE));
        }
        return tpl_sink_slice(rt, k, text->u.s, sign, text->u.s->len);
    }
    int64_t left = align == '>' ? room : align == '^' ? room / 2 : 0;
    FMP_TRY(tpl_str_pad(rt, text, (size_t)left, (size_t)(room - left), fill, &padded));
    return tpl_sink_str(rt, k, padded.u.s);
}

static fmp_status put_value(tpl_rt *rt, tpl_sink *k, const spec *s, const tpl_val *v)
{
    tpl_val text;
    tpl_sink tmp = {0};
    if (s->conv && s->conv != 's' && s->conv != 'r') {
        char room[512];
        size_t n = 0;
        FMP_TRY(number_text(rt, s, v, room, sizeof room, &n));
        FMP_TRY(tpl_sink_add(rt, &tmp, room, n, v->origin, SRC_NONE));
        FMP_TRY(tpl_sink_done(rt, &tmp, &text));
        return put_padded(rt, k, s, &text, true);
    }
    FMP_TRY(tpl_print(rt, &tmp, v, s->conv == 'r', 0));
    FMP_TRY(tpl_sink_done(rt, &tmp, &text));
    if (s->precision >= 0) {
        tpl_val whole = text;
        FMP_TRY(tpl_str_slice(rt, &whole, 0, tpl_str_byte_of(whole.u.s, (size_t)s->precision), &text));
    }
    return put_padded(rt, k, s, &text, tpl_is_number(v) && !s->conv);
}

/* ---- "%" ---- */

/* One "%..." at fmt[*i], behind the percent sign. Tuples are used up from *next, mappings read by name. */
static fmp_status percent_field(tpl_rt *rt, tpl_sink *k, const tpl_str *fmt, size_t *i, const tpl_val *arg,
                                uint32_t *next)
{
    spec s = {.precision = -1};
    const tpl_val *v = NULL;
    tpl_val member, *slot;
    if (*i < fmt->len && fmt->p[*i] == '%') {
        FMP_TRY(tpl_sink_slice(rt, k, fmt, *i, *i + 1));
        (*i)++;
        return FMP_OK;
    }
    if (*i < fmt->len && fmt->p[*i] == '(') {
        const char *close = memchr(fmt->p + *i, ')', fmt->len - *i);
        if (!close || arg->type != T_DICT) { return tpl_fail(rt, FMP_E_DATA, "format requires a mapping"); }
        size_t begin = *i + 1, end = (size_t)(close - fmt->p);
        slot = tpl_dict_get_text(arg->u.d, fmt->p + begin, end - begin);
        if (!slot) {
            return tpl_fail(rt, FMP_E_DATA, "format: no key '%.*s'", (int)(end - begin), fmt->p + begin);
        }
        FMP_TRY(tpl_force(rt, slot));
        member = *slot;
        v = &member;
        *i = end + 1;
    }
    for (; *i < fmt->len && strchr("-+ 0", fmt->p[*i]) && fmt->p[*i]; (*i)++) {
        char c = fmt->p[*i];
        if (c == '-') {
            s.align = '<';
        } else if (c == '0') {
            s.zero = true;
        } else {
            s.sign = c;
        }
    }
    bool ok = read_count(fmt, i, fmt->len, &s.width);
    if (ok && *i < fmt->len && fmt->p[*i] == '.') {
        (*i)++;
        ok = read_count(fmt, i, fmt->len, &s.precision);
    }
    if (!s.align) { s.align = s.zero ? 0 : '>'; }
    if (!ok || *i >= fmt->len || !fmt->p[*i] || !strchr("sdirfFeigxXo", fmt->p[*i])) {
        return tpl_fail(rt, FMP_E_UNSUPPORTED, "unsupported format '%.*s'", (int)fmt->len, fmt->p);
    }
    s.conv = fmt->p[(*i)++];
    if (!v) {
        bool tuple = arg->type == T_SEQ && arg->u.q->kind == Q_TUPLE;
        if (*next >= (tuple ? arg->u.q->n : 1)) {
            return tpl_fail(rt, FMP_E_DATA, "not enough arguments for format string");
        }
        v = tuple ? &arg->u.q->items[*next] : arg;
        (*next)++;
    }
    return put_value(rt, k, &s, v);
}

fmp_status tpl_format_percent(tpl_rt *rt, const tpl_str *fmt, const tpl_val *arg, tpl_val *out)
{
    tpl_sink k = {0};
    uint32_t next = 0;
    bool tuple = arg->type == T_SEQ && arg->u.q->kind == Q_TUPLE;
    for (size_t i = 0; i < fmt->len;) {
        const char *hit = memchr(fmt->p + i, '%', fmt->len - i);
        size_t end = hit ? (size_t)(hit - fmt->p) : fmt->len;
        FMP_TRY(tpl_sink_slice(rt, &k, fmt, i, end));
        i = end + 1;
        if (hit) { FMP_TRY(percent_field(rt, &k, fmt, &i, arg, &next)); }
    }
    if (tuple ? next < arg->u.q->n : next == 0 && arg->type != T_DICT && arg->type != T_SEQ) {
        return tpl_fail(rt, FMP_E_DATA, "not all arguments converted during string formatting");
    }
    return tpl_sink_done(rt, &k, out);
}

/* ---- "{}" ---- */

/* name, .attribute and [item] of a field, in fmt[i..end) */
static fmp_status field_value(tpl_rt *rt, const tpl_str *fmt, size_t i, size_t end, const tpl_args *args,
                              uint32_t *next, tpl_val *out)
{
    tpl_val whole = tpl_of_str(fmt), name;
    size_t stop = i;
    int64_t at = 0;
    while (stop < end && fmt->p[stop] != '.' && fmt->p[stop] != '[') {
        stop++;
    }
    if (stop < end) { return tpl_fail(rt, FMP_E_UNSUPPORTED, "format: attributes and items inside a field"); }
    size_t digits = i;
    if (!read_count(fmt, &digits, stop, &at)) {
        return tpl_fail(rt, FMP_E_RANGE, "format: field number too large");
    }
    if (stop == i) { at = (*next)++; }
    if (digits == stop) {
        if (at >= (int64_t)args->n_pos) {
            return tpl_fail(rt, FMP_E_DATA, "format: no argument number %d", (int)at);
        }
        *out = args->pos[at];
        return FMP_OK;
    }
    FMP_TRY(tpl_str_slice(rt, &whole, i, stop, &name));
    for (uint32_t k = 0; k < args->n_kw; k++) {
        if (tpl_str_eq(args->kw_names[k].u.s, name.u.s)) {
            *out = args->kw_vals[k];
            return FMP_OK;
        }
    }
    return tpl_fail(rt, FMP_E_DATA, "format: no argument '%.*s'", (int)name.u.s->len, name.u.s->p);
}

/* [[fill]align][sign][0][width][,][.precision][type] */
static bool read_spec(const tpl_str *f, size_t i, size_t end, spec *s)
{
    if (end - i >= 2 && strchr("<>^=", f->p[i + 1]) && f->p[i + 1]) {
        s->fill = f->p[i];
        s->align = f->p[i + 1];
        i += 2;
    } else if (i < end && f->p[i] && strchr("<>^=", f->p[i])) {
        s->align = f->p[i++];
    }
    if (i < end && f->p[i] && strchr("+- ", f->p[i])) { s->sign = f->p[i++]; }
    if (i < end && f->p[i] == '0') {
        s->zero = true;
        i++;
    }
    if (!read_count(f, &i, end, &s->width)) { return false; }
    if (i < end && f->p[i] == ',') {
        s->comma = true;
        i++;
    }
    if (i < end && f->p[i] == '.') {
        i++;
        if (!read_count(f, &i, end, &s->precision)) { return false; }
    }
    if (i < end && f->p[i] && strchr("sdfFegxXo", f->p[i])) { s->conv = f->p[i++]; }
    return i == end;
}

static fmp_status brace_field(tpl_rt *rt, tpl_sink *k, const tpl_str *fmt, size_t begin, size_t end,
                              const tpl_args *args, uint32_t *next)
{
    spec s = {.precision = -1};
    size_t stop = begin, name_end;
    tpl_val v;
    while (stop < end && fmt->p[stop] != ':' && fmt->p[stop] != '!') {
        stop++;
    }
    name_end = stop;
    if (stop < end && fmt->p[stop] == '!') {
        if (end - stop < 2 || !strchr("sr", fmt->p[stop + 1])) { stop = end + 1; }
        if (stop < end) {
            s.conv = fmt->p[stop + 1];
            stop += 2;
        }
    }
    bool ok = stop == end || (stop < end && fmt->p[stop] == ':' && read_spec(fmt, stop + 1, end, &s));
    if (!ok || memchr(fmt->p + begin, '{', end - begin)) {
        return tpl_fail(rt, FMP_E_UNSUPPORTED, "unsupported format field '{%.*s}'", (int)(end - begin),
                        fmt->p + begin);
    }
    FMP_TRY(field_value(rt, fmt, begin, name_end, args, next, &v));
    if (!s.conv && v.type == T_FLOAT && s.precision >= 0) {
        return tpl_fail(rt, FMP_E_UNSUPPORTED, "unsupported format field '{%.*s}': add a type",
                        (int)(end - begin), fmt->p + begin);
    }
    if (!s.conv && s.comma) { s.conv = v.type == T_FLOAT ? 'f' : 'd'; }
    return put_value(rt, k, &s, &v);
}

fmp_status tpl_format_braces(tpl_rt *rt, const tpl_str *fmt, const tpl_args *args, tpl_val *out)
{
    tpl_sink k = {0};
    uint32_t next = 0;
    for (size_t i = 0; i < fmt->len;) {
        size_t end = i;
        while (end < fmt->len && fmt->p[end] != '{' && fmt->p[end] != '}') {
            end++;
        }
        FMP_TRY(tpl_sink_slice(rt, &k, fmt, i, end));
        if (end == fmt->len) { break; }
        if (end + 1 < fmt->len && fmt->p[end + 1] == fmt->p[end]) {
            FMP_TRY(tpl_sink_slice(rt, &k, fmt, end, end + 1));
            i = end + 2;
            continue;
        }
        const char *close = fmt->p[end] == '{' ? memchr(fmt->p + end, '}', fmt->len - end) : NULL;
        if (!close) {
            return tpl_fail(rt, FMP_E_DATA, "format: a single '%c' in the format string", fmt->p[end]);
        }
        i = (size_t)(close - fmt->p) + 1;
        FMP_TRY(brace_field(rt, &k, fmt, end + 1, i - 1, args, &next));
    }
    return tpl_sink_done(rt, &k, out);
}
