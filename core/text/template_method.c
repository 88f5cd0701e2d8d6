/*
 * template_method.c: the methods of strings. What Python has beyond these is a row without a function:
 * calling it is an error that names it, not an undefined value.
 */
#include <unicode/uchar.h>

#include "template_impl.h"

#define ARG(i) (c->arg[i])

static fmp_status str_case(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    static const struct {
        const char *name;
        tpl_case how;
    } kinds[] = {{"upper", CASE_UPPER},           {"lower", CASE_LOWER},   {"title", CASE_TITLE},
                 {"capitalize", CASE_CAPITALIZE}, {"swapcase", CASE_SWAP}, {"casefold", CASE_LOWER}};
    size_t i = 0;
    while (strcmp(kinds[i].name, c->fn->name) != 0) {
        i++;
    }
    return tpl_str_case(rt, &c->self, kinds[i].how, out);
}

static fmp_status str_strip(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_str *chars = NULL;
    if (ARG(0) && ARG(0)->type != T_NONE) { FMP_TRY(tpl_str_arg(rt, c, ARG(0), &chars)); }
    return tpl_str_strip(rt, &c->self, chars, c->fn->name[0] != 'r', c->fn->name[0] != 'l', out);
}

static fmp_status str_split(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_str *sep = NULL;
    int64_t max;
    if (ARG(0) && ARG(0)->type != T_NONE) { FMP_TRY(tpl_str_arg(rt, c, ARG(0), &sep)); }
    FMP_TRY(tpl_int_arg(rt, c, ARG(1), -1, &max));
    return tpl_str_split(rt, &c->self, sep, max, c->fn->name[0] == 'r', out);
}

static fmp_status str_splitlines(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    return tpl_str_splitlines(rt, &c->self, ARG(0) && tpl_truth(ARG(0)), out);
}

static fmp_status str_replace(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_str *old, *with;
    int64_t max;
    FMP_TRY(tpl_str_arg(rt, c, ARG(0), &old));
    FMP_TRY(tpl_str_arg(rt, c, ARG(1), &with));
    FMP_TRY(tpl_int_arg(rt, c, ARG(2), -1, &max));
    return tpl_str_replace(rt, &c->self, old, with, max, out);
}

/* Byte range that optional start and end arguments (characters, may be negative) select. */
static fmp_status str_window(tpl_rt *rt, const tpl_call *c, int first, size_t *begin, size_t *end)
{
    const tpl_str *s = c->self.u.s;
    size_t *at[2] = {begin, end};
    *begin = 0;
    *end = s->len;
    for (int i = 0; i < 2; i++) {
        const tpl_val *v = c->arg[first + i];
        int64_t x;
        if (!v || v->type == T_NONE) { continue; }
        FMP_TRY(tpl_to_int(rt, v, c->fn->name, &x));
        if (x < 0) { x += (int64_t)tpl_str_count(s); }
        *at[i] = x < 0 ? 0 : tpl_str_byte_of(s, (size_t)x);
    }
    return FMP_OK;
}

static bool affix_matches(const tpl_str *s, size_t begin, size_t end, const tpl_str *affix, bool at_start)
{
    if (begin > end || affix->len > end - begin) { return false; }
    return memcmp(s->p + (at_start ? begin : end - affix->len), affix->p, affix->len) == 0;
}

/* startswith, endswith: a string or a tuple of strings */
static fmp_status str_affix(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    bool at_start = c->fn->name[0] == 's', yes = false;
    size_t begin, end;
    const tpl_str *affix;
    FMP_TRY(str_window(rt, c, 1, &begin, &end));
    if (ARG(0)->type == T_SEQ && ARG(0)->u.q->kind == Q_TUPLE) {
        const tpl_seq *q = ARG(0)->u.q;
        for (uint32_t i = 0; !yes && i < q->n; i++) {
            FMP_TRY(tpl_str_arg(rt, c, &q->items[i], &affix));
            yes = affix_matches(c->self.u.s, begin, end, affix, at_start);
        }
    } else {
        FMP_TRY(tpl_str_arg(rt, c, ARG(0), &affix));
        yes = affix_matches(c->self.u.s, begin, end, affix, at_start);
    }
    *out = tpl_bool(yes);
    return FMP_OK;
}

/* find, rfind, index, rindex */
static fmp_status str_find(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_str *s = c->self.u.s, *needle;
    bool from_right = c->fn->name[0] == 'r', must = strstr(c->fn->name, "index") != NULL;
    size_t begin, end, hit = SIZE_MAX;
    FMP_TRY(tpl_str_arg(rt, c, ARG(0), &needle));
    FMP_TRY(str_window(rt, c, 1, &begin, &end));
    tpl_str window = *s;
    window.len = (uint32_t)end;
    for (size_t at = tpl_str_find(&window, needle, begin); at != SIZE_MAX;
         at = tpl_str_find(&window, needle, at + 1)) {
        FMP_TRY(tpl_step(rt, 1));
        hit = at;
        if (!from_right) { break; }
    }
    if (hit == SIZE_MAX && must) { return tpl_fail(rt, FMP_E_DATA, "%s: substring not found", c->fn->name); }
    window.len = (uint32_t)(hit == SIZE_MAX ? 0 : hit);
    *out = tpl_int(hit == SIZE_MAX ? -1 : (int64_t)tpl_str_count(&window));
    return FMP_OK;
}

static fmp_status str_count(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_str *s = c->self.u.s, *needle;
    int64_t n = 0;
    FMP_TRY(tpl_str_arg(rt, c, ARG(0), &needle));
    if (needle->len == 0) {
        n = (int64_t)tpl_str_count(s) + 1;
    } else {
        for (size_t at = 0; (at = tpl_str_find(s, needle, at)) != SIZE_MAX; at += needle->len) {
            n++;
        }
    }
    FMP_TRY(tpl_step(rt, (uint64_t)n));
    *out = tpl_int(n);
    return FMP_OK;
}

static fmp_status str_join(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_val *items;
    uint32_t n;
    tpl_sink k = {0};
    FMP_TRY(tpl_iterate(rt, ARG(0), &items, &n));
    for (uint32_t i = 0; i < n; i++) {
        const tpl_str *item;
        FMP_TRY(tpl_str_arg(rt, c, &items[i], &item));
        if (i > 0) { FMP_TRY(tpl_sink_str(rt, &k, c->self.u.s)); }
        FMP_TRY(tpl_sink_str(rt, &k, item));
    }
    return tpl_sink_done(rt, &k, out);
}

static fmp_status str_format(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    return tpl_format_braces(rt, c->self.u.s, c->args, out);
}

static bool has_class(const char *method, uint32_t cp)
{
    UChar32 u = (UChar32)cp;
    if (strcmp(method, "isspace") == 0) { return tpl_is_space(cp); }
    if (strcmp(method, "isalpha") == 0) { return u_isalpha(u); }
    if (strcmp(method, "isdigit") == 0 || strcmp(method, "isdecimal") == 0 ||
        strcmp(method, "isnumeric") == 0) {
        return u_isdigit(u);
    }
    return u_isalnum(u);
}

/* isspace, isalpha, isdigit, isalnum: every character is, and there is one */
static fmp_status str_is_class(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_str *s = c->self.u.s;
    bool yes = s->len > 0;
    (void)rt;
    for (size_t at = 0, n; yes && at < s->len; at += n) {
        yes = has_class(c->fn->name, tpl_utf8_get(s->p + at, s->len - at, &n));
    }
    *out = tpl_bool(yes);
    return FMP_OK;
}

/* isupper, islower: no character of the other case, and at least one of this */
static fmp_status str_is_case(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_str *s = c->self.u.s;
    bool upper = strcmp(c->fn->name, "isupper") == 0, yes = false;
    (void)rt;
    for (size_t at = 0, n; at < s->len; at += n) {
        UChar32 cp = (UChar32)tpl_utf8_get(s->p + at, s->len - at, &n);
        if (upper ? u_islower(cp) || u_istitle(cp) : u_isupper(cp) || u_istitle(cp)) {
            yes = false;
            break;
        }
        yes = yes || (upper ? u_isupper(cp) : u_islower(cp));
    }
    *out = tpl_bool(yes);
    return FMP_OK;
}

static fmp_status str_remove_affix(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_str *s = c->self.u.s, *affix;
    bool at_start = strcmp(c->fn->name, "removeprefix") == 0;
    FMP_TRY(tpl_str_arg(rt, c, ARG(0), &affix));
    size_t n = affix_matches(s, 0, s->len, affix, at_start) ? affix->len : 0;
    return tpl_str_slice(rt, &c->self, at_start ? n : 0, at_start ? s->len : s->len - n, out);
}

static fmp_status str_partition(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_str *s = c->self.u.s, *sep;
    bool from_right = c->fn->name[0] == 'r';
    FMP_TRY(tpl_str_arg(rt, c, ARG(0), &sep));
    if (sep->len == 0) { return tpl_fail(rt, FMP_E_DATA, "%s: empty separator", c->fn->name); }
    size_t hit = tpl_str_find(s, sep, 0);
    for (size_t at = hit; from_right && at != SIZE_MAX; at = tpl_str_find(s, sep, at + 1)) {
        hit = at;
    }
    FMP_TRY(tpl_seq_new(rt, Q_TUPLE, 3, out));
    tpl_val *part = out->u.q->items;
    if (hit == SIZE_MAX) {
        part[0] = part[1] = part[2] = tpl_of_str(&tpl_empty);
        part[from_right ? 2 : 0] = c->self;
        return FMP_OK;
    }
    FMP_TRY(tpl_str_slice(rt, &c->self, 0, hit, &part[0]));
    FMP_TRY(tpl_str_slice(rt, &c->self, hit, hit + sep->len, &part[1]));
    return tpl_str_slice(rt, &c->self, hit + sep->len, s->len, &part[2]);
}

/* center, ljust, rjust, zfill */
static fmp_status str_pad(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const char *name = c->fn->name;
    const tpl_str *fill = NULL;
    int64_t width, have = (int64_t)tpl_str_count(c->self.u.s);
    char with = name[0] == 'z' ? '0' : ' ';
    FMP_TRY(tpl_int_arg(rt, c, ARG(0), 0, &width));
    if (ARG(1)) {
        FMP_TRY(tpl_str_arg(rt, c, ARG(1), &fill));
        if (fill->len != 1) {
            return tpl_fail(rt, FMP_E_UNSUPPORTED, "%s: a fill of one ASCII character only", name);
        }
        with = fill->p[0];
    }
    if (width <= have) {
        *out = c->self;
        return FMP_OK;
    }
    size_t room = (size_t)(width - have), left = room;
    if (name[0] == 'c') { left = room / 2 + (room & (size_t)width & 1); }
    if (name[0] == 'l') { left = 0; }
    if (name[0] == 'z' && c->self.u.s->len > 0 && strchr("+-", c->self.u.s->p[0])) {
        return tpl_fail(rt, FMP_E_UNSUPPORTED, "zfill of a signed number");
    }
    return tpl_str_pad(rt, &c->self, left, room - left, with, out);
}

const tpl_builtin tpl_str_methods[] = {
    {"upper", "", 0, str_case},
    {"lower", "", 0, str_case},
    {"title", "", 0, str_case},
    {"capitalize", "", 0, str_case},
    {"swapcase", "", 0, str_case},
    {"casefold", "", 0, str_case},
    {"strip", "chars", 0, str_strip},
    {"lstrip", "chars", 0, str_strip},
    {"rstrip", "chars", 0, str_strip},
    {"split", "sep maxsplit", 0, str_split},
    {"rsplit", "sep maxsplit", 0, str_split},
    {"splitlines", "keepends", 0, str_splitlines},
    {"replace", "old new count", 2, str_replace},
    {"startswith", "prefix start end", 1, str_affix},
    {"endswith", "suffix start end", 1, str_affix},
    {"find", "sub start end", 1, str_find},
    {"rfind", "sub start end", 1, str_find},
    {"index", "sub start end", 1, str_find},
    {"rindex", "sub start end", 1, str_find},
    {"count", "sub", 1, str_count},
    {"join", "iterable", 1, str_join},
    {"format", "*", 0, str_format},
    {"isspace", "", 0, str_is_class},
    {"isalpha", "", 0, str_is_class},
    {"isdigit", "", 0, str_is_class},
    {"isdecimal", "", 0, str_is_class},
    {"isnumeric", "", 0, str_is_class},
    {"isalnum", "", 0, str_is_class},
    {"isupper", "", 0, str_is_case},
    {"islower", "", 0, str_is_case},
    {"removeprefix", "prefix", 1, str_remove_affix},
    {"removesuffix", "suffix", 1, str_remove_affix},
    {"partition", "sep", 1, str_partition},
    {"rpartition", "sep", 1, str_partition},
    {"center", "width fillchar", 1, str_pad},
    {"ljust", "width fillchar", 1, str_pad},
    {"rjust", "width fillchar", 1, str_pad},
    {"zfill", "width", 1, str_pad},
    {"encode", "*", 0, NULL},
    {"expandtabs", "*", 0, NULL},
    {"format_map", "*", 0, NULL},
    {"isascii", "*", 0, NULL},
    {"isidentifier", "*", 0, NULL},
    {"isprintable", "*", 0, NULL},
    {"istitle", "*", 0, NULL},
    {"maketrans", "*", 0, NULL},
    {"translate", "*", 0, NULL},
    {NULL, NULL, 0, NULL},
};
