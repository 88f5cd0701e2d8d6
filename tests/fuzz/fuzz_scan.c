/* links: fmbase fmtext */
/*
 * fuzz_scan.c: on any text, every hand-written scanner cuts the words that the patterns cut by PCRE2. The
 * first byte says how many words are asked for at a time; bytes that are not UTF-8 are left out of the rest.
 */
#include "fuzz.h"
#include "scan_compare.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fmp_tokenizer *toks[N_SCAN_CASES];
    static fmp_tok_scratch *scratch;
    if (!scratch) {
        scratch = fmp_tok_scratch_new();
        for (size_t i = 0; i < N_SCAN_CASES; i++) {
            toks[i] = scan_case_load(i);
        }
    }
    char *text = malloc(size + 1);
    size_t n = 0, batch = size > 0 ? data[0] % 64u + 1 : 1;
    if (!text || !scratch) { abort(); }
    for (size_t i = 1; i < size;) {
        size_t good = fmp_utf8_invalid_at((const char *)data + i, size - i);
        memcpy(text + n, data + i, good);
        n += good;
        i += good + 1;
    }
    for (size_t i = 0; i < N_SCAN_CASES; i++) {
        size_t at = scan_differs_at(toks[i], scratch, text, n, batch);
        if (at < n) {
            fprintf(stderr, "%s: words differ at byte %zu of the text\n", scan_cases[i].name, at);
            abort();
        }
    }
    free(text);
    return 0;
}
