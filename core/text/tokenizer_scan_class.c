/*
 * tokenizer_scan_class.c: the class of every character, asked of PCRE2 itself, so that a scanner and the
 * pattern it stands for cannot differ by Unicode version: one search over a text of all characters, in order,
 * tells the runs of each class.
 */
#include "tokenizer_scan.h"

#include <pthread.h>
#include <stdlib.h>

#define ROW        (1u << TK_CLASS_SHIFT)
#define N_CHARS    0x110000u
#define HASH_SLOTS 4096u

uint16_t tk_class_rows[TK_CLASS_BLOCKS][ROW];
uint16_t tk_class_row_of[N_CHARS / ROW];

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool ready;

/* Group k of the pattern has class bits[k]. White space is written out: see tokenizer_regex.c for why. */
static const char groups[] =
    "([" TK_SPACE_SET "]+)|([\\p{Lu}\\p{Lt}]+)|(\\p{Ll}+)|([\\p{Lm}\\p{Lo}]+)|(\\p{M}+)|(\\p{N}+)|"
    "((?:(?=[" TK_NEW_PUNCTUATION "])\\p{P})+)|((?:(?![" TK_NEW_PUNCTUATION "])\\p{P})+)|(\\p{S}+)";
static const uint16_t bits[] = {C_OTHER, C_SPACE,  C_UPPER,     C_LOWER, C_CALM,
                                C_MARK,  C_NUMBER, C_PUNCT_NEW, C_PUNCT, C_SYMBOL};

/* All characters but surrogates in order. */
static size_t fill_text(char *text)
{
    size_t n = 0;
    for (uint32_t c = 0; c < N_CHARS; c++) {
        if (c >= 0xD800 && c < 0xE000) { continue; }
        n += tk_utf8_put(c, text + n);
    }
    return n;
}

static void fill_runs(const pcre2_code *code, pcre2_match_data *data, const char *text, size_t len,
                      uint16_t *class_of)
{
    for (size_t at = 0; at < len;) {
        int rc = pcre2_match(code, (PCRE2_SPTR)text, len, at, PCRE2_NO_UTF_CHECK, data, NULL);
        if (rc < 2) { return; }
        const PCRE2_SIZE *range = pcre2_get_ovector_pointer(data);
        size_t begin = range[0], end = range[1];
        uint32_t first = tk_utf8_next(text, &begin), past = end < len ? 0 : N_CHARS;
        at = end;
        if (end < len) { past = tk_utf8_next(text, &end); }
        for (uint32_t c = first; c < past; c++) {
            class_of[c] = bits[rc - 1];
        }
    }
}

/* The flat table as rows, equal ones once. False if there are more different rows than room. */
static bool fold_rows(const uint16_t *class_of)
{
    static uint16_t seen[HASH_SLOTS]; /* row + 1 */
    uint16_t n_rows = 0;
    for (size_t k = 0; k < N_CHARS / ROW; k++) {
        const uint16_t *row = class_of + k * ROW;
        size_t i = (size_t)tk_hash((const char *)row, ROW * sizeof *row) % HASH_SLOTS;
        while (seen[i] != 0 && memcmp(tk_class_rows[seen[i] - 1], row, ROW * sizeof *row) != 0) {
            i = (i + 1) % HASH_SLOTS;
        }
        if (seen[i] == 0) {
            if (n_rows == TK_CLASS_BLOCKS) { return false; }
            memcpy(tk_class_rows[n_rows++], row, ROW * sizeof *row);
            seen[i] = n_rows;
        }
        tk_class_row_of[k] = (uint16_t)(seen[i] - 1);
    }
    return true;
}

static void fill_tables(void)
{
    int error;
    PCRE2_SIZE at;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)groups, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &error, &at, NULL);
    pcre2_match_data *data = pcre2_match_data_create(16, NULL);
    char *text = malloc((size_t)N_CHARS * 4);
    uint16_t *class_of = malloc(N_CHARS * sizeof *class_of);
    if (code && data && text && class_of) {
        (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
        for (uint32_t c = 0; c < N_CHARS; c++) {
            class_of[c] = C_OTHER;
        }
        fill_runs(code, data, text, fill_text(text), class_of);
        class_of['\r'] = class_of['\n'] = C_LINE;
        for (uint32_t c = 0; c < 0x80; c++) {
            if (class_of[c] == C_SYMBOL) { class_of[c] = C_ASCII; }
        }
        ready = fold_rows(class_of);
    }
    free(class_of);
    free(text);
    pcre2_match_data_free(data);
    pcre2_code_free(code);
}

bool tk_class_init(void)
{
    (void)pthread_once(&once, fill_tables);
    return ready;
}
