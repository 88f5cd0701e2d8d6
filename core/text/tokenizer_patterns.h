/*
 * tokenizer_patterns.h: the patterns by which published byte-level vocabularies cut text into words, for the kinds of files that
 * do not hold them: rank files (tokenizer_ranks.c) and GGUF (tokenizer_gguf_pre.c).
 *
 * Source   the tokenizer.json files of the models, and tiktoken's definitions of its encodings.
 */
#ifndef FMP_TOKENIZER_PATTERNS_H
#define FMP_TOKENIZER_PATTERNS_H

#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define ODD         "[^\\r\\n\\p{L}\\p{N}]?" /* at most one sign in front of letters */
#define REST        "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define REST_SLASH  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER       "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER       "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
/* Han apart, and in no other word. */
#define NO_HAN(set) "(?:(?!\\p{Han})" set ")"

#define LLAMA3 CONTRACTION "|" ODD "\\p{L}+|\\p{N}{1,3}" REST
#define QWEN2  CONTRACTION "|" ODD "\\p{L}+|\\p{N}" REST
#define QWEN35                                                                                               \
    CONTRACTION "|" ODD                                                                                      \
                "[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define O200K                                                                                                \
    ODD UPPER "*" LOWER "+" CONTRACTION "?|" ODD UPPER "+" LOWER "*" CONTRACTION "?|\\p{N}{1,3}" REST_SLASH
#define TEKKEN ODD UPPER "*" LOWER "+|" ODD UPPER "+" LOWER "*|\\p{N}" REST_SLASH
#define KIMI                                                                                                 \
    "\\p{Han}+|" ODD NO_HAN(UPPER) "*" NO_HAN(LOWER) "+" CONTRACTION "?|" ODD NO_HAN(UPPER) "+" NO_HAN(      \
        LOWER) "*" CONTRACTION "?|\\p{N}{1,3}" REST

#endif
