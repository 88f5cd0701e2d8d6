/*
 * tokenizer_scan.c: hand-written scanners for the pre-token patterns nearly every byte-level tokenizer uses.
 *
 * Each returns exactly what the pattern matches at a position (checked against PCRE2 in tests/unit/test_tokenizer.c),
 * several times faster. The patterns match at every position, so words lie end to end.
 * Characters fall into five classes; ASCII and the rest of the BMP come from a table, made once from ICU.
 */
#include "tokenizer_impl.h"

#include <pthread.h>
#include <unicode/uchar.h>

enum { OTHER, LETTER, NUMBER, SPACE, LINE_END };

static uint8_t bmp_class[0x10000];
static pthread_once_t bmp_once = PTHREAD_ONCE_INIT;

static uint8_t class_of_char(uint32_t c)
{
    uint32_t mask = U_MASK(u_charType((UChar32)c));
    if (c == '\r' || c == '\n') { return LINE_END; }
    if (u_isUWhiteSpace((UChar32)c)) { return SPACE; }
    if (mask & U_GC_L_MASK) { return LETTER; }
    return mask & U_GC_N_MASK ? NUMBER : OTHER;
}

static void bmp_fill(void)
{
    for (uint32_t c = 0; c < 0x10000; c++) { bmp_class[c] = class_of_char(c); }
}

/* Class of the character at s[*i]; moves *i behind it. */
static inline unsigned class_next(const char *s, size_t *i)
{
    unsigned char b = (unsigned char)s[*i];
    if (b < 0x80) {
        *i += 1;
        return bmp_class[b];
    }
    uint32_t c = tk_utf8_next(s, i);
    return c < 0x10000 ? bmp_class[c] : class_of_char(c);
}

static inline unsigned class_at(const char *s, size_t n, size_t i)
{
    return i < n ? class_next(s, &i) : SPACE;
}

/* End of the run of one class that begins at i. */
static inline size_t run_end(const char *s, size_t n, size_t i, unsigned class)
{
    while (i < n) {
        size_t next = i;
        if (class_next(s, &next) != class) { break; }
        i = next;
    }
    return i;
}

/* \s+(?!\S)|\s+ at i: all of the white space, but its last character if something follows and it is not alone. */
static size_t space_end(const char *s, size_t n, size_t i)
{
    size_t last = i, end = i;
    while (end < n) {
        size_t next = end;
        unsigned class = class_next(s, &next);
        if (class != SPACE && class != LINE_END) { break; }
        last = end;
        end = next;
    }
    return end == n || last == i ? end : last;
}

/* Length of s t re ve m ll d after an apostrophe, 0 if none. */
static inline size_t contraction(const char *s, size_t n, size_t i)
{
    char a = i < n ? s[i] : '\0', b = i + 1 < n ? s[i + 1] : '\0';
    if (a == 's' || a == 't' || a == 'm' || a == 'd') { return 1; }
    return ((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l') ? 2 : 0;
}

/* The same ignoring case; U+017F, the long s, folds to s. */
static inline size_t contraction_nocase(const char *s, size_t n, size_t i)
{
    if (i + 1 < n && (unsigned char)s[i] == 0xC5 && (unsigned char)s[i + 1] == 0xBF) { return 2; }
    char low[2] = { '\0', '\0' };
    for (size_t k = 0; k < 2 && i + k < n; k++) {
        char c = s[i + k];
        low[k] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    return contraction(low, 2, 0);
}

static size_t scan_gpt2(const char *s, size_t n, size_t i)
{
    if (s[i] == '\'') {
        size_t len = contraction(s, n, i + 1);
        if (len > 0) { return i + 1 + len; }
    }
    size_t next = i;
    unsigned class = class_next(s, &next);
    if (s[i] == ' ') { class = class_at(s, n, next); }
    if (class == SPACE || class == LINE_END) { return space_end(s, n, i); }
    return run_end(s, n, s[i] == ' ' ? next : i, class);
}

/* White space where neither letters nor signs follow directly: up to its last line end, else as space_end. */
static size_t line_end(const char *s, size_t n, size_t i)
{
    size_t after = 0, end = i;
    while (end < n) {
        size_t next = end;
        unsigned class = class_next(s, &next);
        if (class != SPACE && class != LINE_END) { break; }
        end = next;
        if (class == LINE_END) { after = end; }
    }
    return after > 0 ? after : space_end(s, n, i);
}

/* Everything of the GPT-4 family but the contractions, which come first. */
static inline size_t scan_words(const char *s, size_t n, size_t i, unsigned max_digits)
{
    size_t next = i;
    unsigned class = class_next(s, &next);
    if (class == LETTER) { return run_end(s, n, next, LETTER); }
    if (class == NUMBER) {
        for (unsigned k = 1; k < max_digits && class_at(s, n, next) == NUMBER; k++) {
            (void)class_next(s, &next);
        }
        return next;
    }
    unsigned after = class_at(s, n, next);
    if (class != LINE_END && after == LETTER) { return run_end(s, n, next, LETTER); }
    if (class == OTHER || (s[i] == ' ' && after == OTHER)) {
        return run_end(s, n, run_end(s, n, class == OTHER ? i : next, OTHER), LINE_END);
    }
    return line_end(s, n, i);
}

static size_t scan_qwen(const char *s, size_t n, size_t i)
{
    size_t len = s[i] == '\'' ? contraction_nocase(s, n, i + 1) : 0;
    return len > 0 ? i + 1 + len : scan_words(s, n, i, 1);
}

static size_t scan_llama3(const char *s, size_t n, size_t i)
{
    size_t len = s[i] == '\'' ? contraction_nocase(s, n, i + 1) : 0;
    return len > 0 ? i + 1 + len : scan_words(s, n, i, 3);
}

#define NOCASE "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const struct {
    const char *pattern;
    tk_scan_fn scan;
} scanners[] = {
    { FMP_TOK_PATTERN_GPT2, scan_gpt2 },
    { NOCASE "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" REST, scan_qwen },
    { NOCASE "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}" REST, scan_llama3 },
};

tk_scan_fn tk_scan_find(const char *pattern)
{
    for (size_t i = 0; i < sizeof scanners / sizeof *scanners; i++) {
        if (strcmp(scanners[i].pattern, pattern) == 0) {
            (void)pthread_once(&bmp_once, bmp_fill);
            return scanners[i].scan;
        }
    }
    return NULL;
}
