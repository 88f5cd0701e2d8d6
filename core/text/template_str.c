/*
 * template_str.c: strings whose every byte knows its origin.
 *
 * A string is its bytes and a list of runs (see tpl_run). Strings are immutable; a new one is put together
 * in a sink, which merges neighbouring runs of one origin whose source offsets follow on. Positions the
 * template sees are characters (code points), as in Python; positions in here are bytes.
 */
#include <unicode/ucasemap.h>
#include <unicode/uchar.h>

#include "template_impl.h"

const tpl_str tpl_empty = {"", 0, 0, NULL, {0, 0, SRC_NONE}};

/* ---- UTF-8 ---- */

uint32_t tpl_utf8_get(const char *p, size_t left, size_t *n)
{
    const unsigned char *u = (const unsigned char *)p;
    *n = 1;
    if (u[0] < 0x80) { return u[0]; }
    size_t need = u[0] >= 0xF0 ? 4 : u[0] >= 0xE0 ? 3 : u[0] >= 0xC2 ? 2 : 1;
    if (need == 1 || need > left) { return 0xFFFD; }
    uint32_t cp = u[0] & (0xFFu >> (need + 1));
    for (size_t i = 1; i < need; i++) {
        if ((u[i] & 0xC0) != 0x80) { return 0xFFFD; }
        cp = cp << 6 | (u[i] & 0x3Fu);
    }
    *n = need;
    return cp;
}

size_t tpl_utf8_len(const char *p, size_t left)
{
    size_t n;
    (void)tpl_utf8_get(p, left, &n);
    return n;
}

size_t tpl_utf8_put(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (cp & 0x3F));
        cp >>= 6;
    }
    out[0] = (char)(lead[n] | cp);
    return n;
}

/* str.isspace() of one character */
bool tpl_is_space(uint32_t cp)
{
    if (cp <= 0x20) { return cp == 0x20 || (cp >= 0x09 && cp <= 0x0D) || (cp >= 0x1C && cp <= 0x1F); }
    if (cp < 0x80) { return false; }
    return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 ||
           cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

size_t tpl_str_count(const tpl_str *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->len; i += tpl_utf8_len(s->p + i, s->len - i)) {
        n++;
    }
    return n;
}

size_t tpl_str_byte_of(const tpl_str *s, size_t at)
{
    size_t i = 0;
    for (; at > 0 && i < s->len; at--) {
        i += tpl_utf8_len(s->p + i, s->len - i);
    }
    return i;
}

/* ---- the sink ---- */

static fmp_status sink_room(tpl_rt *rt, tpl_sink *k, size_t extra)
{
    if (extra > rt->max_output || k->len > rt->max_output - extra) {
        return tpl_fail(rt, FMP_E_RANGE, "text longer than the limit of %zu bytes", rt->max_output);
    }
    if (k->cap - k->len >= extra) { return FMP_OK; }
    size_t cap = k->cap * 2 > k->len + extra ? k->cap * 2 : k->len + extra + 64;
    char *p;
    TPL_TAKE(rt, p, cap);
    if (k->len) { memcpy(p, k->p, k->len); }
    k->p = p;
    k->cap = cap;
    return FMP_OK;
}

static bool follows_on(const tpl_sink *k, uint32_t origin, uint32_t src)
{
    const tpl_run *last = &k->runs[k->n_runs - 1];
    if (last->origin != origin) { return false; }
    if (last->src == SRC_NONE || src == SRC_NONE) { return last->src == src; }
    uint32_t begin = k->n_runs > 1 ? k->runs[k->n_runs - 2].end : 0;
    return last->src + (last->end - begin) == src;
}

fmp_status tpl_sink_add(tpl_rt *rt, tpl_sink *k, const char *p, size_t len, uint32_t origin, uint32_t src)
{
    if (len == 0) { return FMP_OK; }
    FMP_TRY(sink_room(rt, k, len));
    if (len > 256) { FMP_TRY(tpl_step(rt, len / 64)); }
    memcpy(k->p + k->len, p, len);
    k->len += len;
    origin |= rt->generation;
    if (k->n_runs > 0 && follows_on(k, origin, src)) {
        k->runs[k->n_runs - 1].end = (uint32_t)k->len;
        return FMP_OK;
    }
    if (k->n_runs == k->cap_runs) {
        size_t cap = k->cap_runs ? k->cap_runs * 2 : 8;
        tpl_run *runs;
        TPL_TAKE(rt, runs, cap);
        if (k->n_runs) { memcpy(runs, k->runs, k->n_runs * sizeof *runs); }
        k->runs = runs;
        k->cap_runs = cap;
    }
    k->runs[k->n_runs++] = (tpl_run){(uint32_t)k->len, origin, src};
    return FMP_OK;
}

fmp_status tpl_sink_slice(tpl_rt *rt, tpl_sink *k, const tpl_str *s, size_t begin, size_t end)
{
    size_t at = 0;
    for (uint32_t i = 0; i < s->n_runs && at < end; at = s->runs[i].end, i++) {
        const tpl_run *r = &s->runs[i];
        if (r->end <= begin) { continue; }
        size_t from = at > begin ? at : begin, to = r->end < end ? r->end : end;
        uint32_t src = r->src == SRC_NONE ? SRC_NONE : r->src + (uint32_t)(from - at);
        FMP_TRY(tpl_sink_add(rt, k, s->p + from, to - from, r->origin, src));
    }
    return FMP_OK;
}

fmp_status tpl_sink_str(tpl_rt *rt, tpl_sink *k, const tpl_str *s)
{
    return tpl_sink_slice(rt, k, s, 0, s->len);
}

fmp_status tpl_sink_done(tpl_rt *rt, tpl_sink *k, tpl_val *out)
{
    if (k->len == 0) {
        *out = tpl_of_str(&tpl_empty);
        return FMP_OK;
    }
    tpl_str *s;
    TPL_TAKE(rt, s, 1);
    s->p = k->p;
    s->len = (uint32_t)k->len;
    s->n_runs = (uint32_t)k->n_runs;
    s->one = k->runs[0];
    s->runs = k->n_runs == 1 ? &s->one : k->runs;
    *out = tpl_of_str(s);
    return FMP_OK;
}

/* ---- making strings ---- */

/* A string over bytes that outlive it (the context, the template, the arena): nothing is copied. */
static fmp_status str_over(tpl_rt *rt, const char *p, size_t len, uint32_t origin, uint32_t src, tpl_val *out)
{
    tpl_str *s;
    TPL_TAKE(rt, s, 1);
    s->p = p;
    s->len = (uint32_t)len;
    s->n_runs = len > 0;
    s->one = (tpl_run){(uint32_t)len, origin, src};
    s->runs = &s->one;
    *out = tpl_of_str(s);
    return FMP_OK;
}

fmp_status tpl_str_new(tpl_rt *rt, const char *p, size_t len, uint32_t origin, uint32_t src, tpl_val *out)
{
    if (len > rt->max_output) {
        return tpl_fail(rt, FMP_E_RANGE, "a string of %zu bytes, longer than the limit of %zu", len,
                        rt->max_output);
    }
    return str_over(rt, p, len, origin, src, out);
}

fmp_status tpl_str_slice(tpl_rt *rt, const tpl_val *v, size_t begin, size_t end, tpl_val *out)
{
    const tpl_str *s = v->u.s;
    uint8_t flag = v->flag;
    if (begin == 0 && end == s->len) {
        *out = *v;
        return FMP_OK;
    }
    if (begin >= end) {
        *out = tpl_of_str(&tpl_empty);
    } else if (s->n_runs == 1) {
        uint32_t src = s->one.src == SRC_NONE ? SRC_NONE : s->one.src + (uint32_t)begin;
        FMP_TRY(str_over(rt, s->p + begin, end - begin, s->one.origin, src, out));
    } else {
        tpl_sink k = {0};
        FMP_TRY(tpl_sink_slice(rt, &k, s, begin, end));
        FMP_TRY(tpl_sink_done(rt, &k, out));
    }
    out->flag = flag;
    return FMP_OK;
}

fmp_status tpl_str_concat(tpl_rt *rt, const tpl_val *a, const tpl_val *b, tpl_val *out)
{
    if (b->u.s->len == 0 || a->u.s->len == 0) {
        *out = a->u.s->len == 0 ? *b : *a;
        return FMP_OK;
    }
    tpl_sink k = {0};
    FMP_TRY(tpl_sink_str(rt, &k, a->u.s));
    FMP_TRY(tpl_sink_str(rt, &k, b->u.s));
    return tpl_sink_done(rt, &k, out);
}

uint32_t tpl_str_origin(const tpl_str *s)
{
    return s->n_runs == 1 ? s->runs[0].origin : ORIGIN_COMPUTED;
}

bool tpl_str_eq(const tpl_str *a, const tpl_str *b)
{
    return a->len == b->len && memcmp(a->p, b->p, a->len) == 0;
}

bool tpl_str_is(const tpl_str *s, const char *text)
{
    return strlen(text) == s->len && memcmp(s->p, text, s->len) == 0;
}

size_t tpl_str_find(const tpl_str *s, const tpl_str *needle, size_t from)
{
    if (from > s->len || needle->len > s->len - from) { return SIZE_MAX; }
    if (needle->len == 0) { return from; }
    const char *hit = memmem(s->p + from, s->len - from, needle->p, needle->len);
    return hit ? (size_t)(hit - s->p) : SIZE_MAX;
}

/* ---- strip, replace, split ---- */

/* Is the character at p one to strip: of `chars`, or white space if chars is NULL. */
static bool strips(const char *p, size_t n, uint32_t cp, const tpl_str *chars)
{
    if (!chars) { return tpl_is_space(cp); }
    tpl_str one = {p, (uint32_t)n, 0, NULL, {0, 0, 0}};
    return tpl_str_find(chars, &one, 0) != SIZE_MAX;
}

fmp_status tpl_str_strip(tpl_rt *rt, const tpl_val *v, const tpl_str *chars, bool left, bool right,
                         tpl_val *out)
{
    const tpl_str *s = v->u.s;
    size_t begin = 0, end = s->len, n;
    while (left && begin < end) {
        uint32_t cp = tpl_utf8_get(s->p + begin, end - begin, &n);
        if (!strips(s->p + begin, n, cp, chars)) { break; }
        begin += n;
    }
    while (right && end > begin) {
        size_t at = end - 1;
        while (at > begin && ((unsigned char)s->p[at] & 0xC0) == 0x80) {
            at--;
        }
        uint32_t cp = tpl_utf8_get(s->p + at, end - at, &n);
        if (!strips(s->p + at, n, cp, chars)) { break; }
        end = at;
    }
    return tpl_str_slice(rt, v, begin, end, out);
}

fmp_status tpl_str_replace(tpl_rt *rt, const tpl_val *v, const tpl_str *old, const tpl_str *with, int64_t max,
                           tpl_val *out)
{
    const tpl_str *s = v->u.s;
    size_t at = 0, hit = max == 0 ? SIZE_MAX : tpl_str_find(s, old, 0);
    if (hit == SIZE_MAX) {
        *out = *v;
        return FMP_OK;
    }
    tpl_sink k = {0};
    for (int64_t done = 0; hit != SIZE_MAX && (max < 0 || done < max); done++) {
        FMP_TRY(tpl_step(rt, 1));
        FMP_TRY(tpl_sink_slice(rt, &k, s, at, hit));
        FMP_TRY(tpl_sink_str(rt, &k, with));
        at = hit + old->len;
        if (old->len == 0) { /* between all characters, and at both ends */
            if (hit >= s->len) { break; }
            size_t n = tpl_utf8_len(s->p + hit, s->len - hit);
            FMP_TRY(tpl_sink_slice(rt, &k, s, hit, hit + n));
            at = hit + n;
        }
        hit = tpl_str_find(s, old, at);
    }
    FMP_TRY(tpl_sink_slice(rt, &k, s, at, s->len));
    return tpl_sink_done(rt, &k, out);
}

/* Pieces of a split: byte ranges, growing. */
typedef struct pieces {
    uint32_t (*v)[2];
    uint32_t n, cap;
} pieces;

static fmp_status add_piece(tpl_rt *rt, pieces *l, size_t begin, size_t end)
{
    FMP_TRY(tpl_step(rt, 1));
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? l->cap * 2 : 8;
        uint32_t(*v)[2];
        TPL_TAKE(rt, v, cap);
        if (l->n) { memcpy(v, l->v, l->n * sizeof *v); }
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n][0] = (uint32_t)begin;
    l->v[l->n++][1] = (uint32_t)end;
    return FMP_OK;
}

static fmp_status pieces_done(tpl_rt *rt, const pieces *l, const tpl_val *s, bool reversed, tpl_val *out)
{
    FMP_TRY(tpl_seq_new(rt, Q_LIST, l->n, out));
    for (uint32_t i = 0; i < l->n; i++) {
        const uint32_t *piece = l->v[reversed ? l->n - 1 - i : i];
        FMP_TRY(tpl_str_slice(rt, s, piece[0], piece[1], &out->u.q->items[i]));
    }
    return FMP_OK;
}

static fmp_status split_space(tpl_rt *rt, const tpl_str *s, int64_t max, pieces *l)
{
    size_t at = 0, n;
    for (;;) {
        while (at < s->len && tpl_is_space(tpl_utf8_get(s->p + at, s->len - at, &n))) {
            at += n;
        }
        if (at >= s->len) { return FMP_OK; }
        size_t begin = at;
        if (max >= 0 && (int64_t)l->n >= max) { return add_piece(rt, l, begin, s->len); }
        while (at < s->len && !tpl_is_space(tpl_utf8_get(s->p + at, s->len - at, &n))) {
            at += n;
        }
        FMP_TRY(add_piece(rt, l, begin, at));
    }
}

static size_t find_last(const tpl_str *s, const tpl_str *sep, size_t end)
{
    for (size_t at = end - sep->len + 1; end >= sep->len && at-- > 0;) {
        if (memcmp(s->p + at, sep->p, sep->len) == 0) { return at; }
    }
    return SIZE_MAX;
}

/* Start of the character that ends at byte `end`. */
static size_t char_before(const tpl_str *s, size_t end)
{
    size_t at = end - 1;
    while (at > 0 && ((unsigned char)s->p[at] & 0xC0) == 0x80) {
        at--;
    }
    return at;
}

static fmp_status rsplit_space(tpl_rt *rt, const tpl_str *s, int64_t max, pieces *l)
{
    size_t end = s->len, n;
    for (;;) {
        while (end > 0 &&
               tpl_is_space(tpl_utf8_get(s->p + char_before(s, end), end - char_before(s, end), &n))) {
            end = char_before(s, end);
        }
        if (end == 0) { return FMP_OK; }
        size_t at = end;
        if (max >= 0 && (int64_t)l->n >= max) { return add_piece(rt, l, 0, end); }
        while (at > 0 &&
               !tpl_is_space(tpl_utf8_get(s->p + char_before(s, at), s->len - char_before(s, at), &n))) {
            at = char_before(s, at);
        }
        FMP_TRY(add_piece(rt, l, at, end));
        end = at;
    }
}

static fmp_status rsplit_sep(tpl_rt *rt, const tpl_str *s, const tpl_str *sep, int64_t max, pieces *l)
{
    size_t end = s->len;
    while (max < 0 || (int64_t)l->n < max) {
        size_t hit = find_last(s, sep, end);
        if (hit == SIZE_MAX) { break; }
        FMP_TRY(add_piece(rt, l, hit + sep->len, end));
        end = hit;
    }
    return add_piece(rt, l, 0, end);
}

static fmp_status split_sep(tpl_rt *rt, const tpl_str *s, const tpl_str *sep, int64_t max, pieces *l)
{
    size_t at = 0;
    while (max < 0 || (int64_t)l->n < max) {
        size_t hit = tpl_str_find(s, sep, at);
        if (hit == SIZE_MAX) { break; }
        FMP_TRY(add_piece(rt, l, at, hit));
        at = hit + sep->len;
    }
    return add_piece(rt, l, at, s->len);
}

fmp_status tpl_str_split(tpl_rt *rt, const tpl_val *v, const tpl_str *sep, int64_t max, bool from_right,
                         tpl_val *out)
{
    pieces l = {0};
    if (sep && sep->len == 0) { return tpl_fail(rt, FMP_E_DATA, "split: empty separator"); }
    if (!sep) {
        FMP_TRY(from_right ? rsplit_space(rt, v->u.s, max, &l) : split_space(rt, v->u.s, max, &l));
    } else {
        FMP_TRY(from_right ? rsplit_sep(rt, v->u.s, sep, max, &l) : split_sep(rt, v->u.s, sep, max, &l));
    }
    return pieces_done(rt, &l, v, from_right, out);
}

static bool is_line_end(uint32_t cp)
{
    return (cp >= 0x0A && cp <= 0x0D) || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 || cp == 0x2028 ||
           cp == 0x2029;
}

fmp_status tpl_str_splitlines(tpl_rt *rt, const tpl_val *v, bool keep, tpl_val *out)
{
    const tpl_str *s = v->u.s;
    pieces l = {0};
    size_t begin = 0, at = 0, n;
    while (at < s->len) {
        uint32_t cp = tpl_utf8_get(s->p + at, s->len - at, &n);
        size_t line_end = at;
        at += n;
        if (!is_line_end(cp)) { continue; }
        if (cp == '\r' && at < s->len && s->p[at] == '\n') { at++; }
        FMP_TRY(add_piece(rt, &l, begin, keep ? at : line_end));
        begin = at;
    }
    if (begin < s->len) { FMP_TRY(add_piece(rt, &l, begin, s->len)); }
    return pieces_done(rt, &l, v, false, out);
}

/* ---- case ---- */

/* Upper (U), lower (L) or title (T) form of one character; full mapping, so it may be several characters. */
static size_t map_char(const char *p, size_t n, uint32_t cp, char how, char *room, size_t size)
{
    UErrorCode status = U_ZERO_ERROR;
    UCaseMap *map = NULL;
    int32_t got = 0;
    if (cp < 0x80) {
        if (how == 'L' && cp >= 'A' && cp <= 'Z') { cp |= 0x20; }
        if (how != 'L' && cp >= 'a' && cp <= 'z') { cp &= ~0x20u; }
        room[0] = (char)cp;
        return 1;
    }
    map = ucasemap_open("", 0, &status);
    if (U_SUCCESS(status)) {
        if (how == 'L') {
            got = ucasemap_utf8ToLower(map, room, (int32_t)size, p, (int32_t)n, &status);
        } else if (how == 'U') {
            got = ucasemap_utf8ToUpper(map, room, (int32_t)size, p, (int32_t)n, &status);
        } else {
            ucasemap_close(map);
            return tpl_utf8_put((uint32_t)u_totitle((UChar32)cp), room);
        }
    }
    if (map) { ucasemap_close(map); }
    if (U_SUCCESS(status) && got > 0) { return (size_t)got; }
    memcpy(room, p, n);
    return n;
}

/* Python's rule for the final sigma: a cased letter before it, none after it. */
static bool is_final_sigma(const tpl_str *s, size_t at, size_t n)
{
    size_t i = at, m;
    bool before = false;
    while (i > 0 && !before) {
        i = char_before(s, i);
        uint32_t cp = tpl_utf8_get(s->p + i, s->len - i, &m);
        if (u_hasBinaryProperty((UChar32)cp, UCHAR_CASE_IGNORABLE)) { continue; }
        if (!u_hasBinaryProperty((UChar32)cp, UCHAR_CASED)) { return false; }
        before = true;
    }
    for (i = at + n; before && i < s->len; i += m) {
        uint32_t cp = tpl_utf8_get(s->p + i, s->len - i, &m);
        if (u_hasBinaryProperty((UChar32)cp, UCHAR_CASE_IGNORABLE)) { continue; }
        return !u_hasBinaryProperty((UChar32)cp, UCHAR_CASED);
    }
    return before;
}

static bool is_cased(uint32_t cp)
{
    if (cp < 0x80) { return (cp | 0x20) >= 'a' && (cp | 0x20) <= 'z'; }
    return u_hasBinaryProperty((UChar32)cp, UCHAR_CASED);
}

/* After these, Jinja's title filter starts a new word. */
static bool splits_word(uint32_t cp)
{
    return cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<' || tpl_is_space(cp);
}

static char case_of(tpl_case how, uint32_t cp, bool word_start, bool first)
{
    switch (how) {
    case CASE_UPPER: return 'U';
    case CASE_TITLE: return word_start ? 'T' : 'L';
    case CASE_CAPITALIZE: return first ? 'T' : 'L';
    case CASE_TITLE_FILTER: return word_start ? 'U' : 'L';
    case CASE_SWAP: return u_isupper((UChar32)cp) ? 'L' : 'U';
    default: return 'L';
    }
}

fmp_status tpl_str_case(tpl_rt *rt, const tpl_val *v, tpl_case how, tpl_val *out)
{
    const tpl_str *s = v->u.s;
    tpl_sink k = {0};
    bool word_start = true;
    uint32_t run = 0;
    for (size_t at = 0, n; at < s->len; at += n) {
        char room[32];
        uint32_t cp = tpl_utf8_get(s->p + at, s->len - at, &n);
        while (s->runs[run].end <= at) {
            run++;
        }
        const tpl_run *r = &s->runs[run];
        uint32_t run_begin = run > 0 ? s->runs[run - 1].end : 0;
        uint32_t src = r->src == SRC_NONE ? SRC_NONE : r->src + (uint32_t)at - run_begin;
        char to = case_of(how, cp, word_start, at == 0);
        size_t m = map_char(s->p + at, n, cp, to, room, sizeof room);
        if (cp == 0x3A3 && to == 'L' && is_final_sigma(s, at, n)) { m = tpl_utf8_put(0x3C2, room); }
        bool same = m == n && memcmp(room, s->p + at, n) == 0;
        FMP_TRY(tpl_sink_add(rt, &k, room, m, r->origin, same ? src : SRC_NONE));
        word_start = how == CASE_TITLE_FILTER ? splits_word(cp) : !is_cased(cp);
    }
    uint8_t flag = v->flag;
    FMP_TRY(tpl_sink_done(rt, &k, out));
    out->flag = flag;
    return FMP_OK;
}

/* ---- escape, indent, pad ---- */

/* markupsafe.escape */
fmp_status tpl_str_escape(tpl_rt *rt, const tpl_val *v, tpl_val *out)
{
    static const char special[] = "&<>'\"";
    static const char *const with[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    const tpl_str *s = v->u.s;
    tpl_sink k = {0};
    size_t begin = 0;
    uint32_t run = 0;
    for (size_t at = 0; at < s->len; at++) {
        const char *hit = s->p[at] ? strchr(special, s->p[at]) : NULL;
        if (!hit) { continue; }
        while (s->runs[run].end <= at) {
            run++;
        }
        FMP_TRY(tpl_sink_slice(rt, &k, s, begin, at));
        FMP_TRY(tpl_sink_add(rt, &k, with[hit - special], strlen(with[hit - special]), s->runs[run].origin,
                             SRC_NONE));
        begin = at + 1;
    }
    FMP_TRY(tpl_sink_slice(rt, &k, s, begin, s->len));
    FMP_TRY(tpl_sink_done(rt, &k, out));
    out->flag = 1;
    return FMP_OK;
}

/* Jinja's indent: the lines of splitlines(), joined by "\n" again; a newline that stays keeps its origin. */
fmp_status tpl_str_indent(tpl_rt *rt, const tpl_val *v, const tpl_str *by, bool first, bool blank,
                          tpl_val *out)
{
    const tpl_str *s = v->u.s;
    tpl_sink k = {0};
    size_t begin = 0, at = 0, n;
    uint32_t run = 0;
    bool indent = first;
    if (first && s->len == 0) { FMP_TRY(tpl_sink_str(rt, &k, by)); }
    while (at < s->len) {
        size_t line_end = at;
        uint32_t cp = tpl_utf8_get(s->p + at, s->len - at, &n);
        at += n;
        if (!is_line_end(cp) && at < s->len) { continue; }
        bool ended = is_line_end(cp);
        if (!ended) { line_end = at; }
        if (cp == '\r' && at < s->len && s->p[at] == '\n') { at++; }
        if (indent && (begin == 0 || blank || line_end > begin)) { FMP_TRY(tpl_sink_str(rt, &k, by)); }
        FMP_TRY(tpl_sink_slice(rt, &k, s, begin, line_end));
        while (s->runs[run].end <= line_end && line_end < s->len) {
            run++;
        }
        if (ended && cp == '\n') {
            FMP_TRY(tpl_sink_slice(rt, &k, s, line_end, at));
        } else if (ended && !(cp == '\r' && at == s->len)) {
            FMP_TRY(tpl_sink_add(rt, &k, "\n", 1, s->runs[run].origin, SRC_NONE));
        }
        indent = true;
        begin = at;
        if (at == s->len && ended && cp != '\r' && blank) { FMP_TRY(tpl_sink_str(rt, &k, by)); }
    }
    uint8_t flag = v->flag;
    FMP_TRY(tpl_sink_done(rt, &k, out));
    out->flag = flag;
    return FMP_OK;
}

fmp_status tpl_str_pad(tpl_rt *rt, const tpl_val *v, size_t left, size_t right, char with, tpl_val *out)
{
    tpl_sink k = {0};
    if (left > rt->max_output || right > rt->max_output) {
        return tpl_fail(rt, FMP_E_RANGE, "a width of more than %zu", rt->max_output);
    }
    FMP_TRY(tpl_step(rt, left + right));
    for (size_t i = 0; i < left; i++) {
        FMP_TRY(tpl_sink_add(rt, &k, &with, 1, ORIGIN_COMPUTED, SRC_NONE));
    }
    FMP_TRY(tpl_sink_str(rt, &k, v->u.s));
    for (size_t i = 0; i < right; i++) {
        FMP_TRY(tpl_sink_add(rt, &k, &with, 1, ORIGIN_COMPUTED, SRC_NONE));
    }
    return tpl_sink_done(rt, &k, out);
}
