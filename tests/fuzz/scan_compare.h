/*
 * scan_compare.h: the words that a hand-written scanner finds against those that PCRE2 finds, split after
 * split, with the patterns as tokenizer.json has them. For the fuzz target and the unit test.
 */
#ifndef FMP_SCAN_COMPARE_H
#define FMP_SCAN_COMPARE_H

#include "../../core/text/tokenizer_impl.h"

#include <fmpipe/json.h>
#include <stdlib.h>

#define CMP_REST   "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CMP_SUFFIX "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define CMP_SHORT  "'(?i:[sdmt]|ll|ve|re)"
#define CMP_ASCII  "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define CMP_MARKED                                                                                           \
    "[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CMP_UPPER      "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define CMP_LOWER      "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CMP_SIGN       "[^\\r\\n\\p{L}\\p{N}]?"
#define CMP_CASED_REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CMP_SPLIT      "{\"type\":\"Split\",\"behavior\":\"Isolated\",\"invert\":false}"
#define CMP_BYTES      "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"
#define CMP_GPT2       "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"

/* Steps of a pre-tokenizer; a Split takes the next pattern. */
static const struct {
    const char *name, *steps[5], *patterns[3];
} scan_cases[] = {
    {"GPT-2", {CMP_GPT2}, {NULL}},
    {"GPT-2, written shorter",
     {CMP_SPLIT},
     {"'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"}},
    {"Qwen 2", {CMP_SPLIT, CMP_BYTES}, {CMP_SUFFIX "|" CMP_SIGN "\\p{L}+|\\p{N}" CMP_REST}},
    {"Llama 3", {CMP_SPLIT, CMP_BYTES}, {CMP_SUFFIX "|" CMP_SIGN "\\p{L}+|\\p{N}{1,3}" CMP_REST}},
    {"cl100k", {CMP_SPLIT}, {"'(?i:[sdmt]|ll|ve|re)|" CMP_SIGN "\\p{L}+|\\p{N}{1,3}" CMP_REST}},
    {"GPT-2 of today's tiktoken",
     {CMP_SPLIT},
     {"'(?:[sdmt]|ll|ve|re)| ?\\p{L}++| ?\\p{N}++| ?[^\\s\\p{L}\\p{N}]++|\\s++$|\\s+(?!\\S)|\\s"}},
    {"Qwen 2, contractions in brackets", {CMP_SPLIT}, {CMP_ASCII "|" CMP_SIGN "\\p{L}+|\\p{N}" CMP_REST}},
    {"Qwen 3.5", {CMP_SPLIT, CMP_BYTES}, {CMP_SUFFIX "|" CMP_SIGN CMP_MARKED}},
    {"Qwen 3.5, contractions in brackets", {CMP_SPLIT}, {CMP_ASCII "|" CMP_SIGN CMP_MARKED}},
    {"Llama 3, contractions in brackets",
     {CMP_SPLIT},
     {CMP_ASCII "|" CMP_SIGN "\\p{L}+|\\p{N}{1,3}" CMP_REST}},
    {"cl100k of 2023",
     {CMP_SPLIT},
     {CMP_SHORT "|" CMP_SIGN
                "+\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}},
    {"cl100k of today's tiktoken",
     {CMP_SPLIT},
     {CMP_SHORT
      "|" CMP_SIGN
      "+\\p{L}++|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s"}},
    {"o200k, contractions in brackets",
     {CMP_SPLIT},
     {CMP_SIGN CMP_UPPER "*" CMP_LOWER "+" CMP_ASCII "?|" CMP_SIGN CMP_UPPER "+" CMP_LOWER "*" CMP_ASCII
                         "?|\\p{N}{1,3}" CMP_CASED_REST}},
    {"o200k",
     {CMP_SPLIT},
     {CMP_SIGN CMP_UPPER "*" CMP_LOWER "+" CMP_SUFFIX "?|" CMP_SIGN CMP_UPPER "+" CMP_LOWER "*" CMP_SUFFIX
                         "?|\\p{N}{1,3}" CMP_CASED_REST}},
    {"Tekken",
     {CMP_SPLIT},
     {CMP_SIGN CMP_UPPER "*" CMP_LOWER "+|" CMP_SIGN CMP_UPPER "+" CMP_LOWER "*|\\p{N}" CMP_CASED_REST}},
    {"FM", {CMP_SPLIT}, {FMP_TOK_PATTERN_FM}},
    {"StarCoder", {"{\"type\":\"Digits\",\"individual_digits\":true}", CMP_GPT2}, {NULL}},
    {"Falcon",
     {"{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"}", CMP_GPT2,
      "{\"type\":\"Digits\",\"individual_digits\":false}", CMP_SPLIT},
     {"[0-9][0-9][0-9]"}},
    {"DeepSeek",
     {CMP_SPLIT, CMP_SPLIT, CMP_SPLIT, CMP_BYTES},
     {"\\p{N}{1,3}", "[\xE4\xB8\x80-\xE9\xBE\xA5\xE3\x81\x80-\xE3\x82\x9F\xE3\x82\xA0-\xE3\x83\xBF]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
      " ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"}},
};
#define N_SCAN_CASES (sizeof scan_cases / sizeof scan_cases[0])

/* A tokenizer of one token with the splits of a case. Aborts where they have no scanner. */
static fmp_tokenizer *scan_case_load(size_t which)
{
    cJSON *root = cJSON_Parse("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},"
                              "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[]}}");
    cJSON *steps = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(root, "pre_tokenizer"),
                                                    "pretokenizers");
    fmp_tokenizer *tok = NULL;
    fmp_err err = FMP_ERR_INIT;
    for (size_t i = 0, k = 0; i < 5 && scan_cases[which].steps[i]; i++) {
        cJSON *step = cJSON_Parse(scan_cases[which].steps[i]);
        if (strcmp(scan_cases[which].steps[i], CMP_SPLIT) == 0) {
            cJSON *pattern = cJSON_AddObjectToObject(step, "pattern");
            cJSON_AddStringToObject(pattern, "Regex", scan_cases[which].patterns[k++]);
        }
        cJSON_AddItemToArray(steps, step);
    }
    char *text = cJSON_PrintUnformatted(root);
    if (fmp_tokenizer_parse(text, strlen(text), scan_cases[which].name, &tok, &err) != FMP_OK || !tok->scan) {
        fprintf(stderr, "%s: %s\n", scan_cases[which].name, tok ? "no scanner" : err.message);
        abort();
    }
    cJSON_free(text);
    cJSON_Delete(root);
    return tok;
}

/*
 * Where the two differ first in valid UTF-8 s[0..n): the offset in the text where the word begins, or n if
 * nowhere. `batch`: how many words the scanner is asked for at a time, at most 64.
 */
static size_t scan_differs_at(const fmp_tokenizer *tok, fmp_tok_scratch *scratch, const char *s, size_t n,
                              size_t batch)
{
    tk_view view = {s, n, NULL, 0};
    tk_scan_state state = {0, 0};
    uint32_t ends[64];
    size_t done = 0, at = 0, k;
    if (n == 0) { return 0; }
    if (tk_split_all(tok, scratch, &view, NULL) != FMP_OK) { abort(); }
    const tk_pieces *words = &scratch->words;
    while ((k = tok->scan(s, n, &state, ends, batch)) > 0) {
        for (size_t i = 0; i < k; i++, done++) {
            if (done == words->n || tk_origin(&view, words->v[done].end) != ends[i]) { return at; }
            at = ends[i];
        }
    }
    return done == words->n ? n : at;
}

#endif
