/*
 * template_filter_text.c: Jinja's filters that lay out, shorten or mark up text. Rows for them are in
 * template_filter.c. Every kept byte keeps its origin; what a filter puts between is COMPUTED, and an escape
 * has the origin of what it escapes.
 *
 * Source   jinja2 3.1 (templates documentation), markupsafe 3, Python 3.11's textwrap and html.
 */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>

#include <unicode/uchar.h>

#include "template_impl.h"

#define ARG(i) (c->arg[i])

static fmp_status put(tpl_rt *rt, tpl_sink *k, const char *text)
{
    return tpl_sink_add(rt, k, text, strlen(text), ORIGIN_COMPUTED, SRC_NONE);
}

/* ---- truncate ---- */

/* Bytes of the first n characters. */
static size_t bytes_of(const tpl_str *s, int64_t n)
{
    return n <= 0 ? 0 : tpl_str_byte_of(s, (size_t)n);
}

/* A text of characters [0, n), n below 0 counted from its end as in Python, and `end`. */
static fmp_status cut_text(tpl_rt *rt, const tpl_val *s, int64_t n, bool words, const tpl_str *end,
                           tpl_val *out)
{
    int64_t count = (int64_t)tpl_str_count(s->u.s);
    size_t stop = bytes_of(s->u.s, n < 0 ? count + n : n);
    if (words) {
        const char *space = stop ? memrchr(s->u.s->p, ' ', stop) : NULL;
        if (space) { stop = (size_t)(space - s->u.s->p); }
    }
    tpl_sink k = {0};
    FMP_TRY(tpl_sink_slice(rt, &k, s->u.s, 0, stop));
    FMP_TRY(tpl_sink_str(rt, &k, end));
    return tpl_sink_done(rt, &k, out);
}

/* truncate(length=255, killwords=False, end='...', leeway=5) */
fmp_status tpl_f_truncate(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    static const tpl_run dots_run = {3, ORIGIN_LITERAL, SRC_NONE};
    static const tpl_str dots = {"...", 3, 1, &dots_run, {3, ORIGIN_LITERAL, SRC_NONE}};
    const tpl_str *end = &dots;
    int64_t length, leeway;
    size_t n;
    FMP_TRY(tpl_int_arg(rt, c, ARG(0), 255, &length));
    FMP_TRY(tpl_int_arg(rt, c, ARG(3) && ARG(3)->type != T_NONE ? ARG(3) : NULL, 5, &leeway));
    if (ARG(2)) { FMP_TRY(tpl_str_arg(rt, c, ARG(2), &end)); }
    int64_t n_end = (int64_t)tpl_str_count(end);
    if (length < n_end) {
        return tpl_fail(rt, FMP_E_DATA, "truncate: expected length >= %lld, got %lld", (long long)n_end,
                        (long long)length);
    }
    if (leeway < 0) { return tpl_fail(rt, FMP_E_DATA, "truncate: expected leeway >= 0"); }
    FMP_TRY(tpl_length(rt, &c->self, &n));
    if (leeway > INT64_MAX - length || (int64_t)n <= length + leeway) {
        *out = c->self;
        return FMP_OK;
    }
    if (c->self.type != T_STR) {
        return tpl_fail(rt, FMP_E_DATA, "truncate: expected a str, found %s", tpl_type_name(&c->self));
    }
    return cut_text(rt, &c->self, length - n_end, !(ARG(1) && tpl_truth(ARG(1))), end, out);
}

/* ---- wordwrap ---- */

/* One line as characters, and the wrapped text under construction. */
typedef struct wrapper {
    const tpl_str *s;
    uint32_t *cp;     /* (n) characters of the line                              */
    uint32_t *offset; /* (n + 1) their bytes in the string                       */
    uint32_t *stop;   /* (n_chunks) where each chunk ends, in characters         */
    size_t n, n_chunks;
    int64_t width;
    bool break_words, hyphens;
    const tpl_str *between;
    tpl_sink *out;
} wrapper;

static bool is_word(uint32_t cp)
{
    return cp == '_' || (U_GET_GC_MASK((UChar32)cp) & (U_GC_L_MASK | U_GC_N_MASK));
}

static bool is_letter(uint32_t cp)
{
    return is_word(cp) && u_charType((UChar32)cp) != U_DECIMAL_DIGIT_NUMBER;
}

static bool is_punct(uint32_t cp)
{
    return is_word(cp) || (cp && cp < 0x80 && strchr("!\"'&.,?", (int)cp));
}

static bool is_blank(uint32_t cp)
{
    return (cp >= '\t' && cp <= '\r') || cp == ' ';
}

static bool letter_at(const wrapper *w, size_t i)
{
    return i < w->n && is_letter(w->cp[i]);
}

/* Dashes from i on, at least two and a word behind them: their number, else 0. */
static size_t dashes_at(const wrapper *w, size_t i)
{
    size_t n = 0;
    while (i + n < w->n && w->cp[i + n] == '-') {
        n++;
    }
    return n >= 2 && i + n < w->n && is_word(w->cp[i + n]) ? n : 0;
}

/* Character i is the hyphen of a hyphenated word: letters before it and behind it. */
static bool is_hyphen(const wrapper *w, size_t i)
{
    if (w->cp[i] != '-' || i < 2) { return false; }
    bool before = is_letter(w->cp[i - 1]) && is_letter(w->cp[i - 2]);
    before = before || (i >= 3 && is_punct(w->cp[i - 1]) && w->cp[i - 2] == '-' && is_letter(w->cp[i - 3]));
    return before && letter_at(w, i + 1) &&
           (letter_at(w, i + 2) || (i + 2 < w->n && w->cp[i + 2] == '-' && letter_at(w, i + 3)));
}

/* The end of the chunk that begins at character i: white space, a dash, a word or a part of one. */
static size_t chunk_end(const wrapper *w, size_t i)
{
    size_t j = i + 1;
    if (is_blank(w->cp[i])) {
        while (j < w->n && is_blank(w->cp[j])) {
            j++;
        }
        return j;
    }
    if (w->hyphens && i > 0 && is_punct(w->cp[i - 1]) && dashes_at(w, i)) { return i + dashes_at(w, i); }
    for (; j < w->n && !is_blank(w->cp[j]); j++) {
        if (!w->hyphens) { continue; }
        if (is_hyphen(w, j)) { return j + 1; }
        if (is_punct(w->cp[j - 1]) && dashes_at(w, j)) { return j; }
    }
    return j;
}

static bool is_all_space(const wrapper *w, size_t begin, size_t end)
{
    while (begin < end && tpl_is_space(w->cp[begin])) {
        begin++;
    }
    return begin == end;
}

/* Where a chunk of characters [begin, end) that fits no line is cut, `room` being left on this one. */
static size_t break_at(const wrapper *w, size_t begin, size_t end, size_t room)
{
    size_t cut = begin + room < end ? begin + room : end;
    for (size_t i = cut; w->hyphens && cut < end && i-- > begin + 1;) {
        if (w->cp[i] != '-') { continue; }
        for (size_t k = begin; k < i; k++) {
            if (w->cp[k] != '-') { return i + 1; }
        }
        break;
    }
    return cut;
}

/* Read characters [from, to) of bytes and cut them into chunks. */
static fmp_status read_line(tpl_rt *rt, wrapper *w, size_t from, size_t to)
{
    size_t len;
    w->n = w->n_chunks = 0;
    for (size_t at = from; at < to; at += len) {
        w->offset[w->n] = (uint32_t)at;
        w->cp[w->n++] = tpl_utf8_get(w->s->p + at, to - at, &len);
    }
    w->offset[w->n] = (uint32_t)to;
    for (size_t i = 0; i < w->n;) {
        i = chunk_end(w, i);
        w->stop[w->n_chunks++] = (uint32_t)i;
    }
    return tpl_step(rt, w->n);
}

/* One line of output from character *at of chunk *chunk on. */
static fmp_status wrap_line(tpl_rt *rt, wrapper *w, size_t *at, size_t *chunk, bool *first)
{
    size_t begin = *at, last = begin, width = (size_t)w->width;
    if (!*first && is_all_space(w, begin, w->stop[*chunk])) { begin = last = *at = w->stop[(*chunk)++]; }
    while (*chunk < w->n_chunks && w->stop[*chunk] - begin <= width) {
        last = *at;
        *at = w->stop[(*chunk)++];
    }
    if (*chunk < w->n_chunks && w->stop[*chunk] - *at > width) {
        size_t room = width - (*at - begin);
        if (w->break_words) { /* with no room an empty piece is what Python then drops as white space */
            last = *at;
            *at = room == 0 ? *at : break_at(w, *at, w->stop[*chunk], room);
        } else if (*at == begin) {
            last = *at;
            *at = w->stop[(*chunk)++];
        }
    }
    size_t end = *at;
    if (end > last && is_all_space(w, last, end)) { end = last; }
    if (end == begin) { return FMP_OK; }
    if (!*first) { FMP_TRY(tpl_sink_str(rt, w->out, w->between)); }
    *first = false;
    return tpl_sink_slice(rt, w->out, w->s, w->offset[begin], w->offset[end]);
}

/* wordwrap(width=79, break_long_words=True, wrapstring=None, break_on_hyphens=True) */
fmp_status tpl_f_wordwrap(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    static const tpl_str newline = {"\n", 1, 1, &newline.one, {1, ORIGIN_LITERAL, SRC_NONE}};
    tpl_sink k = {0};
    tpl_val lines;
    wrapper w = {.out = &k, .between = &newline};
    if (c->self.type == T_UNDEFINED) { return tpl_fail_undefined(rt, &c->self); }
    if (c->self.type != T_STR) {
        return tpl_fail(rt, FMP_E_DATA, "wordwrap: expected a str, found %s", tpl_type_name(&c->self));
    }
    FMP_TRY(tpl_int_arg(rt, c, ARG(0), 79, &w.width));
    if (ARG(2) && ARG(2)->type != T_NONE) { FMP_TRY(tpl_str_arg(rt, c, ARG(2), &w.between)); }
    w.break_words = !ARG(1) || tpl_truth(ARG(1));
    w.hyphens = !ARG(3) || tpl_truth(ARG(3));
    FMP_TRY(tpl_str_splitlines(rt, &c->self, false, &lines));
    for (uint32_t i = 0; i < lines.u.q->n; i++) {
        const tpl_str *line = lines.u.q->items[i].u.s;
        bool first = true;
        if (i > 0) { FMP_TRY(tpl_sink_str(rt, &k, w.between)); }
        if (w.width <= 0) { return tpl_fail(rt, FMP_E_DATA, "wordwrap: expected a width above 0"); }
        w.s = line;
        TPL_TAKE(rt, w.cp, line->len + 1);
        TPL_TAKE(rt, w.offset, line->len + 1);
        TPL_TAKE(rt, w.stop, line->len + 1);
        FMP_TRY(read_line(rt, &w, 0, line->len));
        for (size_t at = 0, chunk = 0; chunk < w.n_chunks;) {
            FMP_TRY(wrap_line(rt, &w, &at, &chunk, &first));
        }
    }
    return tpl_sink_done(rt, &k, out);
}

/* ---- urlencode ---- */

static fmp_status quote_into(tpl_rt *rt, tpl_sink *k, const tpl_val *v, bool query)
{
    tpl_val s;
    FMP_TRY(tpl_to_str(rt, v, &s));
    const tpl_str *t = s.u.s;
    size_t plain = 0;
    uint32_t run = 0;
    for (size_t i = 0; i < t->len; i++) {
        unsigned char ch = (unsigned char)t->p[i];
        bool safe = (ch < 0x80 && isalnum(ch)) || (ch && strchr("_.-~", ch)) || (ch == '/' && !query);
        if (safe) { continue; }
        char room[8];
        int n =
            query && ch == ' ' ? snprintf(room, sizeof room, "+") : snprintf(room, sizeof room, "%%%02X", ch);
        while (t->runs[run].end <= i) {
            run++;
        }
        FMP_TRY(tpl_sink_slice(rt, k, t, plain, i));
        FMP_TRY(tpl_sink_add(rt, k, room, (size_t)n, t->runs[run].origin, SRC_NONE));
        plain = i + 1;
    }
    return tpl_sink_slice(rt, k, t, plain, t->len);
}

/* A text, or pairs of a query: those of a dict or of a list. */
fmp_status tpl_f_urlencode(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_sink k = {0};
    const tpl_val *items, *pair;
    uint32_t n, two;
    bool dict = c->self.type == T_DICT;
    if (!dict && c->self.type != T_SEQ && c->self.type != T_UNDEFINED) {
        FMP_TRY(quote_into(rt, &k, &c->self, false));
        return tpl_sink_done(rt, &k, out);
    }
    FMP_TRY(tpl_iterate(rt, &c->self, &items, &n));
    for (uint32_t i = 0; i < n; i++) {
        tpl_val value;
        if (i > 0) { FMP_TRY(put(rt, &k, "&")); }
        if (dict) {
            FMP_TRY(tpl_get_item(rt, &c->self, &items[i], &value));
        } else {
            FMP_TRY(tpl_iterate(rt, &items[i], &pair, &two));
            if (two != 2) {
                return tpl_fail(rt, FMP_E_DATA, "urlencode: expected pairs, found %u values", two);
            }
            value = pair[1];
        }
        FMP_TRY(quote_into(rt, &k, dict ? &items[i] : &pair[0], true));
        FMP_TRY(put(rt, &k, "="));
        FMP_TRY(quote_into(rt, &k, &value, true));
    }
    return tpl_sink_done(rt, &k, out);
}

/* ---- xmlattr ---- */

/* A space, "/", ">" or "=" cannot be in an attribute's name. */
static bool is_bad_name(const tpl_str *s)
{
    for (size_t i = 0; i < s->len; i++) {
        if (s->p[i] == 0 || strchr(" \t\n\r\f\v/>=", s->p[i])) { return s->p[i] != 0; }
    }
    return false;
}

fmp_status tpl_f_xmlattr(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_sink k = {0};
    bool space = !ARG(0) || tpl_truth(ARG(0));
    if (c->self.type == T_UNDEFINED) { return tpl_fail_undefined(rt, &c->self); }
    if (c->self.type != T_DICT) {
        return tpl_fail(rt, FMP_E_DATA, "xmlattr: expected a dict, found %s", tpl_type_name(&c->self));
    }
    for (uint32_t i = 0; i < c->self.u.d->n; i++) {
        const tpl_val *key = &c->self.u.d->keys[i];
        tpl_val value, text, escaped;
        FMP_TRY(tpl_force(rt, &c->self.u.d->vals[i]));
        value = c->self.u.d->vals[i];
        if (value.type == T_NONE || value.type == T_UNDEFINED) { continue; }
        if (key->type != T_STR || is_bad_name(key->u.s)) {
            return tpl_fail(rt, FMP_E_DATA, "xmlattr: a key is no attribute name");
        }
        if (k.len > 0 || space) { FMP_TRY(put(rt, &k, " ")); }
        FMP_TRY(tpl_str_escape(rt, key, &escaped));
        FMP_TRY(tpl_sink_str(rt, &k, escaped.u.s));
        FMP_TRY(put(rt, &k, "=\""));
        FMP_TRY(tpl_to_str(rt, &value, &text));
        escaped = text;
        if (!text.flag) { FMP_TRY(tpl_str_escape(rt, &text, &escaped)); }
        FMP_TRY(tpl_sink_str(rt, &k, escaped.u.s));
        FMP_TRY(put(rt, &k, "\""));
    }
    return tpl_sink_done(rt, &k, out);
}

/* ---- striptags ---- */

/* The byte behind the tag or comment at `at`; SIZE_MAX: it is not closed. */
static size_t tag_end(const tpl_str *s, size_t at)
{
    bool comment = s->len - at >= 4 && memcmp(s->p + at, "<!--", 4) == 0;
    const char *end =
        comment ? memmem(s->p + at + 4, s->len - at - 4, "-->", 3) : memchr(s->p + at, '>', s->len - at);
    return end ? (size_t)(end - s->p) + (comment ? 3 : 1) : SIZE_MAX;
}

/* What &#n; stands for, as HTML 5 reads it: 0x80 to 0x9f are Windows-1252's. UINT32_MAX: nothing. */
static uint32_t char_of_number(uint64_t n)
{
    static const uint16_t windows[32] = {0x20AC, 0x81,   0x201A, 0x192,  0x201E, 0x2026, 0x2020, 0x2021,
                                         0x2C6,  0x2030, 0x160,  0x2039, 0x152,  0x8D,   0x17D,  0x8F,
                                         0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                         0x2DC,  0x2122, 0x161,  0x203A, 0x153,  0x9D,   0x17E,  0x178};
    if (n == 0 || (n >= 0xD800 && n <= 0xDFFF) || n > 0x10FFFF) { return 0xFFFD; }
    if (n >= 0x80 && n <= 0x9F) { return windows[n - 0x80]; }
    bool odd = (n < 0x20 && n != '\t' && n != '\n' && n != '\f' && n != '\r') || n == 0x7F ||
               (n >= 0xFDD0 && n <= 0xFDEF) || (n & 0xFFFE) == 0xFFFE;
    return odd ? UINT32_MAX : (uint32_t)n;
}

/* The character reference at `at` (an "&"): its text in `room` and the bytes it takes; 0: it is none. */
static size_t reference_at(const tpl_str *s, size_t at, char room[8], size_t *n_room)
{
    static const struct {
        const char *name;
        uint32_t cp;
        bool open; /* needs no semicolon */
    } names[] = {{"amp", '&', true},    {"lt", '<', true},        {"gt", '>', true},    {"quot", '"', true},
                 {"apos", '\'', false}, {"nbsp", 0xA0, true},     {"copy", 0xA9, true}, {"raquo", 0xBB, true},
                 {"laquo", 0xAB, true}, {"hellip", 0x2026, false}};
    const char *p = s->p + at + 1;
    size_t left = s->len - at - 1, n = 0;
    uint64_t value = 0;
    if (left > 1 && *p == '#') {
        bool hex = left > 2 && (p[1] | 0x20) == 'x';
        size_t begin = n = hex ? 2 : 1;
        for (; n < left && (hex ? isxdigit((unsigned char)p[n]) : isdigit((unsigned char)p[n])); n++) {
            unsigned digit = p[n] <= '9' ? (unsigned)(p[n] - '0') : (unsigned)((p[n] | 0x20) - 'a' + 10);
            value = value > 0x1000000 ? value : value * (hex ? 16 : 10) + digit;
        }
        if (n == begin) { return 0; }
        uint32_t cp = char_of_number(value);
        *n_room = cp == UINT32_MAX ? 0 : tpl_utf8_put(cp, room);
        return 1 + n + (n < left && p[n] == ';');
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        n = strlen(names[i].name);
        if (n > left || memcmp(p, names[i].name, n) != 0) { continue; }
        bool closed = n < left && p[n] == ';';
        if (!closed && !names[i].open) { continue; }
        *n_room = tpl_utf8_put(names[i].cp, room);
        return 1 + n + closed;
    }
    return 0;
}

/* A name that html.unescape may know and this table does not. */
static bool is_closed_name(const tpl_str *s, size_t at)
{
    size_t i = at + 1;
    while (i < s->len && isalnum((unsigned char)s->p[i])) {
        i++;
    }
    return i > at + 2 && i < s->len && s->p[i] == ';' && isalpha((unsigned char)s->p[at + 1]);
}

static fmp_status unescape(tpl_rt *rt, const tpl_str *s, tpl_val *out)
{
    tpl_sink k = {0};
    size_t plain = 0;
    uint32_t run = 0;
    for (size_t at = 0, n; at < s->len; at += n) {
        char room[8];
        size_t n_room = 0;
        n = 1;
        if (s->p[at] != '&') { continue; }
        size_t found = reference_at(s, at, room, &n_room);
        if (found == 0 && is_closed_name(s, at)) {
            return tpl_fail(rt, FMP_E_UNSUPPORTED, "unsupported character reference in striptags: '%.*s'",
                            (int)(s->len - at < 20 ? s->len - at : 20), s->p + at);
        }
        if (found == 0) { continue; }
        while (s->runs[run].end <= at) {
            run++;
        }
        FMP_TRY(tpl_sink_slice(rt, &k, s, plain, at));
        FMP_TRY(tpl_sink_add(rt, &k, room, n_room, s->runs[run].origin, SRC_NONE));
        n = found;
        plain = at + n;
    }
    FMP_TRY(tpl_sink_slice(rt, &k, s, plain, s->len));
    return tpl_sink_done(rt, &k, out);
}

fmp_status tpl_f_striptags(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_val s, words;
    tpl_sink kept = {0}, k = {0};
    FMP_TRY(tpl_to_str(rt, &c->self, &s));
    size_t at = 0;
    for (const char *open; (open = memchr(s.u.s->p + at, '<', s.u.s->len - at)) != NULL;) {
        size_t begin = (size_t)(open - s.u.s->p), end = tag_end(s.u.s, begin);
        if (end == SIZE_MAX) { break; }
        FMP_TRY(tpl_step(rt, 1));
        FMP_TRY(tpl_sink_slice(rt, &kept, s.u.s, at, begin));
        at = end;
    }
    FMP_TRY(tpl_sink_slice(rt, &kept, s.u.s, at, s.u.s->len));
    FMP_TRY(tpl_sink_done(rt, &kept, &s));
    FMP_TRY(tpl_str_split(rt, &s, NULL, -1, false, &words));
    for (uint32_t i = 0; i < words.u.q->n; i++) {
        if (i > 0) { FMP_TRY(put(rt, &k, " ")); }
        FMP_TRY(tpl_sink_str(rt, &k, words.u.q->items[i].u.s));
    }
    FMP_TRY(tpl_sink_done(rt, &k, &s));
    return unescape(rt, s.u.s, out);
}

/* ---- filesizeformat ---- */

fmp_status tpl_f_filesizeformat(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    static const char prefixes[] = "kMGTPEZY";
    char text[400];
    bool binary = ARG(0) && tpl_truth(ARG(0));
    const tpl_val *v = &c->self;
    double bytes = tpl_is_number(v) ? tpl_as_double(v) : NAN, base = binary ? 1024 : 1000, unit = base;
    uint32_t origin = v->type == T_STR ? tpl_str_origin(v->u.s) : v->origin;
    if (v->type == T_UNDEFINED) { return tpl_fail_undefined(rt, v); }
    if (isnan(bytes) && (v->type != T_STR || !tpl_parse_float(v->u.s, &bytes) || isnan(bytes))) {
        return tpl_fail(rt, FMP_E_DATA, "filesizeformat: expected a number");
    }
    if (bytes == 1) {
        snprintf(text, sizeof text, "1 Byte");
    } else if (bytes < base) {
        if (isinf(bytes)) { return tpl_fail(rt, FMP_E_DATA, "filesizeformat: expected a finite number"); }
        snprintf(text, sizeof text, "%.0f Bytes", trunc(bytes) == 0 ? 0.0 : trunc(bytes));
    } else {
        size_t i = 0;
        for (unit *= base; i < 7 && !(bytes < unit); i++) {
            unit *= base;
        }
        char prefix = binary && i == 0 ? 'K' : prefixes[i];
        snprintf(text, sizeof text, "%.1f %c%sB", base * bytes / unit, prefix, binary ? "i" : "");
    }
    tpl_sink k = {0};
    FMP_TRY(tpl_sink_add(rt, &k, text, strlen(text), origin, SRC_NONE));
    return tpl_sink_done(rt, &k, out);
}
