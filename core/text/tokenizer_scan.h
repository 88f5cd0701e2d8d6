/*
 * tokenizer_scan.h: what the files tokenizer_scan*.c share: one class for every character, and the pieces of
 * patterns that scanners are put together from. All take valid UTF-8 s[0..n).
 */
#ifndef FMPIPE_TOKENIZER_SCAN_H
#define FMPIPE_TOKENIZER_SCAN_H

#include "tokenizer_impl.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* A character has exactly one of these bits, so a set of characters is a sum of bits. */
enum {
    C_OTHER = 1 << 0,
    C_SPACE = 1 << 1, /* white space but CR and LF               */
    C_LINE = 1 << 2,  /* CR, LF                                  */
    C_UPPER = 1 << 3, /* Lu Lt                                   */
    C_LOWER = 1 << 4, /* Ll                                      */
    C_CALM = 1 << 5,  /* Lm Lo: letters without case             */
    C_MARK = 1 << 6,
    C_NUMBER = 1 << 7,
    C_PUNCT = 1 << 8,
    C_ASCII = 1 << 9, /* ASCII symbols: $ + < = > ^ ` | ~         */
    C_SYMBOL = 1 << 10,
    C_PUNCT_NEW = 1 << 11, /* punctuation that TK_PUNCTUATION_PATTERN leaves out */
    C_SPACES = C_SPACE | C_LINE,
    C_LETTER = C_UPPER | C_LOWER | C_CALM,
    C_REST = C_OTHER | C_MARK | C_PUNCT | C_PUNCT_NEW | C_ASCII | C_SYMBOL, /* [^\s\p{L}\p{N}] */
};

#define TK_CLASS_SHIFT  7u
#define TK_CLASS_BLOCKS 512u
/*
 * Class bit of character c: tk_class_rows[tk_class_row_of[c >> TK_CLASS_SHIFT]][c & 127]; filled by
 * tk_class_init.
 */
extern uint16_t tk_class_rows[TK_CLASS_BLOCKS][1u << TK_CLASS_SHIFT];
extern uint16_t tk_class_row_of[0x110000 >> TK_CLASS_SHIFT];
/* Fill the tables, once; false if PCRE2 could not (out of memory): then there are no scanners. */
bool tk_class_init(void);

/* Class bit and code point of the character at s[i]; *next is behind it. */
static inline unsigned tk_class_char(const char *s, size_t i, size_t *next, uint32_t *c)
{
    unsigned char b = (unsigned char)s[i];
    if (b < 0x80) {
        *next = i + 1;
        *c = b;
        return tk_class_rows[0][b];
    }
    *next = i;
    *c = tk_utf8_next(s, next);
    return tk_class_rows[tk_class_row_of[*c >> TK_CLASS_SHIFT]][*c & ((1u << TK_CLASS_SHIFT) - 1)];
}

static inline unsigned tk_class_next(const char *s, size_t i, size_t *next)
{
    uint32_t c;
    return tk_class_char(s, i, next, &c);
}

/* Class bit at s[i], 0 at the end of the text. */
static inline unsigned tk_class_at(const char *s, size_t n, size_t i)
{
    size_t next;
    return i < n ? tk_class_next(s, i, &next) : 0;
}

/*
 * End of the run of ASCII letters at i; of one case only where `first` is 'A' or 'a' and fold is 0, else fold
 * is 0x20.
 */
static inline size_t tk_ascii_run(const char *s, size_t n, size_t i, char first, char fold)
{
#ifdef __SSE2__
    while (n - i >= 16) {
        __m128i v =
            _mm_or_si128(_mm_loadu_si128((const __m128i *)(const void *)(s + i)), _mm_set1_epi8(fold));
        __m128i from = _mm_sub_epi8(v, _mm_set1_epi8(first));
        int in = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(from, _mm_set1_epi8(25)), from));
        if (in != 0xFFFF) { return i + (size_t)__builtin_ctz(~(unsigned)in); }
        i += 16;
    }
#endif
    while (i < n && (unsigned char)((unsigned char)(s[i] | fold) - (unsigned char)first) < 26) {
        i++;
    }
    return i;
}

/* End of the run of characters of a set that begins at i. */
static inline size_t tk_run_end(const char *s, size_t n, size_t i, unsigned set)
{
    const bool upper = set & C_UPPER, lower = set & C_LOWER;
    while (i < n) {
        if (upper || lower) {
            i = tk_ascii_run(s, n, i, upper && !lower ? 'A' : 'a', upper && lower ? 0x20 : 0);
            if (i == n) { break; }
        }
        size_t next;
        if (!(tk_class_next(s, i, &next) & set)) { break; }
        i = next;
    }
    return i;
}

/*
 * \s+(?!\S)|\s+ at i: all of the white space, but its last character if something follows and it is not
 * alone. Characters of the set `ends` are as the end of the text: for a splitter that an earlier one has cut
 * the text for.
 */
static inline size_t tk_space_end(const char *s, size_t n, size_t i, unsigned ends)
{
    size_t last = i, end = i;
    while (end < n) {
        size_t next;
        unsigned class = tk_class_next(s, end, &next);
        if (!(class & C_SPACES)) { return last == i || (class & ends) ? end : last; }
        last = end;
        end = next;
    }
    return end;
}

/*
 * \s*[\r\n]+|\s+(?!\S)|\s+ at white space: up to its last line end, else as above. `whole`: \s+\z comes first, so
 * that white space at the end of the text stays together.
 */
static inline size_t tk_line_end(const char *s, size_t n, size_t i, unsigned ends, bool whole)
{
    size_t after = 0, end = i;
    while (end < n) {
        size_t next;
        unsigned class = tk_class_next(s, end, &next);
        if (!(class & C_SPACES)) { break; }
        end = next;
        if (class == C_LINE) { after = end; }
    }
    if (whole && end == n) { return n; }
    return after > 0 ? after : tk_space_end(s, n, i, ends);
}

/* Length of s t re ve m ll d after an apostrophe, 0 if none. */
static inline size_t tk_contraction(const char *s, size_t n, size_t i)
{
    char a = i < n ? s[i] : '\0', b = i + 1 < n ? s[i + 1] : '\0';
    if (a == 's' || a == 't' || a == 'm' || a == 'd') { return 1; }
    return ((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l') ? 2 : 0;
}

/* The same ignoring case; `long_s`: U+017F counts as an s. */
static inline size_t tk_contraction_nocase(const char *s, size_t n, size_t i, bool long_s)
{
    if (long_s && i + 1 < n && (unsigned char)s[i] == 0xC5 && (unsigned char)s[i + 1] == 0xBF) { return 2; }
    char low[2] = {'\0', '\0'};
    for (size_t k = 0; k < 2 && i + k < n; k++) {
        char c = s[i + k];
        low[k] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    return tk_contraction(low, 2, 0);
}

#endif
