/*
 * tokenizer_normal.c: normalizers, and text that remembers where it came from.
 *
 * Unicode normalization works segment by segment, a segment being what lies between two characters that start anew in
 * that form; so each byte of the result can name the input bytes it was made from. ASCII passes in one step.
 */
#include "tokenizer_impl.h"

#include <pthread.h>
#include <stdlib.h>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>

/* A segment is at most a base character and its marks; longer runs of marks are refused, not cut. */
#define SEGMENT_MAX 4096

tk_view tk_view_of(const tk_text *t, uint32_t base)
{
    return (tk_view){t->s, t->len, t->end_of, base};
}

tk_view tk_view_cut(const tk_view *v, size_t begin, size_t end)
{
    tk_view part = {v->s + begin, end - begin, v->end_of ? v->end_of + begin : NULL, tk_origin(v, begin)};
    return part;
}

static bool text_grow(tk_text *t, size_t extra)
{
    if (t->failed) { return false; }
    size_t need;
    if (!fmp_add_ok(t->len, extra, &need) || need > (t->limit ? t->limit : UINT32_MAX)) {
        t->failed = t->over = true;
        return false;
    }
    if (need <= t->cap) { return true; }
    size_t cap = t->cap < 256 ? 256 : t->cap;
    while (cap < need) {
        cap *= 2;
    }
    char *s = realloc(t->s, cap);
    if (s) { t->s = s; }
    uint32_t *end_of = realloc(t->end_of, cap * sizeof *end_of);
    if (end_of) { t->end_of = end_of; }
    if (!s || !end_of) {
        t->failed = true;
        return false;
    }
    t->cap = cap;
    return true;
}

void tk_text_add(tk_text *t, const char *s, size_t len, uint32_t end_of)
{
    if (len == 0 || !text_grow(t, len)) { return; }
    memcpy(t->s + t->len, s, len);
    for (size_t i = 0; i < len; i++) {
        t->end_of[t->len + i] = end_of;
    }
    t->len += len;
}

void tk_text_copy(tk_text *t, const tk_view *v, size_t begin, size_t end)
{
    if (begin == end || !text_grow(t, end - begin)) { return; }
    memcpy(t->s + t->len, v->s + begin, end - begin);
    for (size_t i = begin; i < end; i++) {
        t->end_of[t->len + i - begin] = tk_origin(v, i + 1);
    }
    t->len += end - begin;
}

void tk_text_free(tk_text *t)
{
    free(t->s);
    free(t->end_of);
    *t = (tk_text){0};
}

bool tk_is_word(const char *s, size_t i)
{
    UChar32 c = (UChar32)tk_utf8_next(s, &i);
    return u_isUAlphabetic(c) || (U_MASK(u_charType(c)) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) ||
           u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL);
}

/*
 * The library's normalization tables are of Unicode 9: newer characters have no decomposition and do not combine there.
 * One filtered form of each kind, made once for the process.
 */
static UNormalizer2 *forms[4];
static UErrorCode forms_code = U_ZERO_ERROR;
static pthread_once_t forms_once = PTHREAD_ONCE_INIT;

static void forms_make(void)
{
    static const UChar known[] = u"[:age=9.0:]";
    USet *set = uset_openPattern(known, -1, &forms_code);
    if (U_FAILURE(forms_code)) { return; }
    uset_freeze(set);
    forms[0] = unorm2_openFiltered(unorm2_getNFCInstance(&forms_code), set, &forms_code);
    forms[1] = unorm2_openFiltered(unorm2_getNFDInstance(&forms_code), set, &forms_code);
    forms[2] = unorm2_openFiltered(unorm2_getNFKCInstance(&forms_code), set, &forms_code);
    forms[3] = unorm2_openFiltered(unorm2_getNFKDInstance(&forms_code), set, &forms_code);
}

static const UNormalizer2 *unicode_form(tk_norm_kind kind, UErrorCode *code)
{
    (void)pthread_once(&forms_once, forms_make);
    *code = forms_code;
    return forms[kind - TK_NORM_NFC];
}

/* Normalize v[begin..end), one segment, which is not plain ASCII. */
static fmp_status normalize_segment(const UNormalizer2 *form, const tk_view *v, size_t begin, size_t end,
                                    tk_text *out, fmp_err *err)
{
    UChar in[SEGMENT_MAX], made[SEGMENT_MAX * 4];
    char utf8[SEGMENT_MAX * 4 * 3];
    int32_t n_in = 0, n_made = 0, n_utf8 = 0;
    UErrorCode code = U_ZERO_ERROR;
    if (end - begin <= SEGMENT_MAX) {
        u_strFromUTF8(in, SEGMENT_MAX, &n_in, v->s + begin, (int32_t)(end - begin), &code);
        n_made = unorm2_normalize(form, in, n_in, made, SEGMENT_MAX * 4, &code);
        u_strToUTF8(utf8, (int32_t)sizeof utf8, &n_utf8, made, n_made, &code);
    }
    if (U_FAILURE(code) || end - begin > SEGMENT_MAX) {
        return fmp_fail(err, FMP_E_RANGE,
                        "expected at most %d bytes of combining characters in a row, found %zu", SEGMENT_MAX,
                        end - begin);
    }
    if ((size_t)n_utf8 == end - begin && memcmp(utf8, v->s + begin, end - begin) == 0) {
        tk_text_copy(out, v, begin, end);
    } else {
        tk_text_add(out, utf8, (size_t)n_utf8, tk_origin(v, end));
    }
    return FMP_OK;
}

/* A character that, alone in its segment, stays as it is. */
static bool is_stable(tk_norm_kind kind, uint32_t c)
{
    static const UProperty quick[] = {UCHAR_NFC_QUICK_CHECK, UCHAR_NFD_QUICK_CHECK, UCHAR_NFKC_QUICK_CHECK,
                                      UCHAR_NFKD_QUICK_CHECK};
    return c < 0x80 || !tk_char_within(c, 9) ||
           u_getIntPropertyValue((UChar32)c, quick[kind - TK_NORM_NFC]) == UNORM_YES;
}

static fmp_status normalize_unicode(tk_norm_kind kind, const tk_view *v, tk_text *out, fmp_err *err)
{
    UErrorCode code = U_ZERO_ERROR;
    const UNormalizer2 *form = unicode_form(kind, &code);
    if (U_FAILURE(code)) {
        return fmp_fail(err, FMP_E_INTERNAL, "ICU has no normalization data: %s", u_errorName(code));
    }
    size_t begin = 0;
    while (begin < v->len) {
        size_t end = begin;
        uint32_t first = tk_utf8_next(v->s, &end);
        bool inert = first < 0x80, alone = true;
        while (end < v->len) {
            size_t next = end;
            uint32_t c = tk_utf8_next(v->s, &next);
            /* a run of ASCII is taken whole, but its last character may take part in what follows */
            bool ascii_run = inert && c < 0x80 && (next == v->len || (unsigned char)v->s[next] < 0x80);
            if (!ascii_run && unorm2_hasBoundaryBefore(form, (UChar32)c)) { break; }
            inert = inert && c < 0x80;
            alone = false;
            end = next;
        }
        if (inert || (alone && is_stable(kind, first))) {
            tk_text_copy(out, v, begin, end);
        } else {
            FMP_TRY(normalize_segment(form, v, begin, end, out, err));
        }
        begin = end;
    }
    return FMP_OK;
}

/* Character by character, as Rust's char::to_lowercase: U+0130 alone becomes two characters. */
static void normalize_lowercase(const tk_view *v, tk_text *out)
{
    for (size_t i = 0; i < v->len;) {
        size_t begin = i;
        uint32_t c = tk_utf8_next(v->s, &i);
        char utf8[8];
        size_t n = c == 0x130 ? 3 : tk_utf8_put((uint32_t)u_tolower((UChar32)c), utf8);
        if (c == 0x130) { memcpy(utf8, "i\xCC\x87", 3); }
        if (n == i - begin) {
            tk_view same = {utf8, n, v->end_of ? v->end_of + begin : NULL, tk_origin(v, begin)};
            tk_text_copy(out, &same, 0, n);
        } else {
            tk_text_add(out, utf8, n, tk_origin(v, i));
        }
    }
}

static void normalize_strip(const tk_norm *step, const tk_view *v, tk_text *out)
{
    size_t begin = 0, end = v->len;
    while (step->left && begin < end) {
        size_t next = begin;
        if (!u_isUWhiteSpace((UChar32)tk_utf8_next(v->s, &next))) { break; }
        begin = next;
    }
    while (step->right && end > begin) {
        size_t at = end;
        do {
            at--;
        } while (at > begin && ((unsigned char)v->s[at] & 0xC0) == 0x80);
        size_t next = at;
        if (!u_isUWhiteSpace((UChar32)tk_utf8_next(v->s, &next))) { break; }
        end = at;
    }
    tk_text_copy(out, v, begin, end);
}

static fmp_status normalize_replace(const tk_norm *step, tk_matcher *m, const tk_view *v, tk_text *out,
                                    fmp_err *err)
{
    size_t done = 0, at = 0;
    while (at <= v->len) {
        bool found = false;
        size_t begin = 0, end = 0;
        FMP_TRY(tk_regex_next(&step->re, m, v->s, v->len, at, &found, &begin, &end, err));
        if (!found) { break; }
        tk_text_copy(out, v, done, begin);
        tk_text_add(out, step->text, step->text_len, tk_origin(v, end));
        done = end;
        at = end;
        if (begin == end) {
            if (at == v->len) { break; }
            (void)tk_utf8_next(v->s, &at);
        }
    }
    tk_text_copy(out, v, done, v->len);
    return FMP_OK;
}

static void normalize_chars(tk_chars_fn chars, const tk_view *v, tk_text *out)
{
    for (size_t i = 0; i < v->len;) {
        char utf8[16];
        size_t begin = i;
        size_t n = chars(tk_utf8_next(v->s, &i), utf8);
        if (n == i - begin && memcmp(utf8, v->s + begin, n) == 0) {
            tk_text_copy(out, v, begin, i);
        } else {
            tk_text_add(out, utf8, n, tk_origin(v, i));
        }
    }
}

static bool is_ascii(const tk_view *v)
{
    for (size_t i = 0; i < v->len; i++) {
        if ((unsigned char)v->s[i] >= 0x80) { return false; }
    }
    return true;
}

/* One step from v into `out`. */
static fmp_status normalize_step(const fmp_tokenizer *tok, const tk_norm *step, tk_matcher *m,
                                 const tk_view *v, tk_text *out, fmp_err *err)
{
    switch (step->kind) {
    case TK_NORM_NFC:
    case TK_NORM_NFD:
    case TK_NORM_NFKC:
    case TK_NORM_NFKD: return normalize_unicode(step->kind, v, out, err);
    case TK_NORM_LOWERCASE: normalize_lowercase(v, out); return FMP_OK;
    case TK_NORM_STRIP: normalize_strip(step, v, out); return FMP_OK;
    case TK_NORM_PREPEND:
        if (v->len > 0) { tk_text_add(out, step->text, step->text_len, v->base); }
        tk_text_copy(out, v, 0, v->len);
        return FMP_OK;
    case TK_NORM_REPLACE: return normalize_replace(step, m, v, out, err);
    case TK_NORM_CHARS: normalize_chars(step->chars, v, out); return FMP_OK;
    case TK_NORM_CHARSMAP: tk_normalize_charsmap(&step->map, v, out); return FMP_OK;
    case TK_NORM_SPM: tk_normalize_spm(tok, step, v, out); return FMP_OK;
    }
    return FMP_OK;
}

/* Rules of a file may double a text many times over; those of real models make it a few times longer. */
static size_t longest_normalized(size_t len)
{
    enum { TIMES = 64, AT_LEAST = 1 << 16 };
    return len > (UINT32_MAX - AT_LEAST) / TIMES ? UINT32_MAX : len * TIMES + AT_LEAST;
}

fmp_status tk_normalize(const fmp_tokenizer *tok, tk_matcher *m, const tk_view *in, tk_text *a, tk_text *b,
                        tk_view *out, fmp_err *err)
{
    *out = *in;
    for (uint32_t i = 0; i < tok->n_norm; i++) {
        tk_norm_kind kind = tok->norm[i].kind;
        if (kind == TK_NORM_NFC ? tk_is_nfc(out->s, out->len) : kind <= TK_NORM_NFKD && is_ascii(out)) {
            continue;
        }
        tk_text *to = out->s == a->s && out->end_of == a->end_of ? b : a;
        to->len = 0;
        to->limit = longest_normalized(in->len);
        to->over = false;
        FMP_TRY(normalize_step(tok, &tok->norm[i], m, out, to, err));
        if (to->over) {
            return fmp_fail(err, FMP_E_RANGE, "the tokenizer's normalizer makes more than %zu bytes of %zu",
                            to->limit, in->len);
        }
        if (to->failed) {
            return fmp_fail(err, FMP_E_NOMEM, "out of memory while normalizing %zu bytes", in->len);
        }
        *out = tk_view_of(to, in->base);
    }
    return FMP_OK;
}
