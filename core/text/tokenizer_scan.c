/*
 * tokenizer_scan.c: hand-written scanners for the pre-token patterns that nearly every byte-level tokenizer
 * uses, each exactly what its pattern matches (tests/unit/test_tokenizer_scan.c compares them with PCRE2),
 * several times faster.
 *
 * A scanner stands for one pattern that matches at every position, or for a whole sequence of splits, so
 * words lie end to end. Where one split cuts the text before the next one sees it, its characters are "ends"
 * to the next: as the end of the text. Read tokenizer_scan.h first; the patterns are at the bottom.
 */
#include "tokenizer_scan.h"

#define INLINE static inline __attribute__((always_inline))

/* ---- one pattern ---- */
/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
INLINE size_t gpt2(const char *s, size_t n, size_t i, unsigned ends)
{
    if (s[i] == '\'') {
        size_t len = tk_contraction(s, n, i + 1);
        if (len > 0) { return i + 1 + len; }
    }
    size_t next;
    unsigned class = tk_class_next(s, i, &next);
    if (s[i] == ' ') { /* joins what follows, unless that is white space, or an end */
        class = tk_class_at(s, n, next) & ~ends;
        if (class == 0 || (class & C_SPACES)) { return tk_space_end(s, n, i, ends); }
    }
    if (class & C_LETTER) { return tk_run_end(s, n, next, C_LETTER); }
    if (class & C_SPACES) { return tk_space_end(s, n, i, ends); }
    return tk_run_end(s, n, next, class & C_NUMBER ? C_NUMBER : C_REST & ~ends);
}

/* \p{N}{1,max} at a number. */
INLINE size_t digits_end(const char *s, size_t n, size_t i, unsigned max)
{
    size_t next;
    (void)tk_class_next(s, i, &next);
    for (unsigned k = 1; k < max && tk_class_at(s, n, next) == C_NUMBER; k++) {
        i = next;
        (void)tk_class_next(s, i, &next);
    }
    return next;
}

/* ` ?[^\s\p{L}\p{N}]+[\r\n]*` from a character of the set that begins at i; `slash`: [\r\n/]*. */
INLINE size_t signs_end(const char *s, size_t n, size_t i, unsigned set, bool slash)
{
    i = tk_run_end(s, n, i, set);
    while (i < n && (s[i] == '\r' || s[i] == '\n' || (slash && s[i] == '/'))) {
        i++;
    }
    return i;
}

/* How the patterns of the GPT-4 family differ. */
enum {
    ASCII_TAILS = 1, /* contractions of ASCII letters only              */
    MARKS = 2,       /* combining marks are letters: [\p{L}\p{M}]       */
    WHOLE_END = 4,   /* white space at the end of the text is one word  */
    SLASH = 8,       /* line ends and slashes go with signs             */
    NO_TAILS = 16    /* no contractions                                 */
};

/* What the GPT-4 family does where neither letters nor numbers come first: signs and white space. */
INLINE size_t signs_or_spaces(const char *s, size_t n, size_t i, size_t next, unsigned class, unsigned how)
{
    const unsigned set = how & MARKS ? C_REST & ~C_MARK : C_REST;
    if (class & set) { return signs_end(s, n, next, set, how & SLASH); }
    if (s[i] == ' ' && (tk_class_at(s, n, next) & set)) { return signs_end(s, n, next, set, how & SLASH); }
    return tk_line_end(s, n, i, 0, how & WHOLE_END);
}

/* (?i:'s|...)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,max}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
INLINE size_t cl100k(const char *s, size_t n, size_t i, unsigned max_digits, unsigned how)
{
    const unsigned word = how & MARKS ? C_LETTER | C_MARK : C_LETTER;
    if (s[i] == '\'') {
        size_t len = tk_contraction_nocase(s, n, i + 1, !(how & ASCII_TAILS));
        if (len > 0) { return i + 1 + len; }
    }
    size_t next;
    unsigned class = tk_class_next(s, i, &next);
    if (class & word) { return tk_run_end(s, n, next, word); }
    if (class == C_NUMBER) { return digits_end(s, n, i, max_digits); }
    if (class != C_LINE && (tk_class_at(s, n, next) & word)) { return tk_run_end(s, n, next, word); }
    return signs_or_spaces(s, n, i, next, class, how);
}

/*
 * [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+ at i, 0 where it does not match.
 * What the first set takes too much of it gives back, down to the last character that is in both. *upper_end:
 * where the first set's run ends.
 */
INLINE size_t upper_lower(const char *s, size_t n, size_t i, size_t *upper_end)
{
    size_t both_end = 0;
    while (i < n) {
        i = tk_ascii_run(s, n, i, 'A', 0);
        if (i == n) { break; }
        size_t next;
        unsigned class = tk_class_next(s, i, &next);
        if (class == C_LOWER) { return tk_run_end(s, n, next, C_LOWER | C_CALM | C_MARK); }
        if (!(class & (C_UPPER | C_CALM | C_MARK))) { break; }
        i = next;
        if (class != C_UPPER) { both_end = i; }
    }
    *upper_end = i;
    return both_end;
}

/*
 * The two alternatives of o200k that begin with letters or marks, with or without a leading sign; 0: neither.
 */
INLINE size_t cased_word(const char *s, size_t n, size_t i, size_t next, unsigned class)
{
    size_t upper_end = i, end = 0;
    if (class & C_LETTER) {
        end = upper_lower(s, n, i, &upper_end);
        return end > 0 ? end : upper_end;
    }
    if (class == C_LINE) { return 0; }
    end = upper_lower(s, n, next, &upper_end);
    if (end == 0 && class == C_MARK) { return next; } /* the mark alone is a word of the first alternative */
    if (end == 0 && upper_end > next) { end = upper_end; }
    return end;
}

INLINE size_t o200k(const char *s, size_t n, size_t i, unsigned max_digits, unsigned how)
{
    size_t next;
    unsigned class = tk_class_next(s, i, &next);
    if (class == C_NUMBER) { return digits_end(s, n, i, max_digits); }
    size_t end = cased_word(s, n, i, next, class);
    if (end == 0) { return signs_or_spaces(s, n, i, next, class, SLASH); }
    if ((how & NO_TAILS) || end == n || s[end] != '\'') { return end; }
    size_t tail = tk_contraction_nocase(s, n, end + 1, !(how & ASCII_TAILS));
    return tail > 0 ? end + 1 + tail : end;
}

INLINE bool is_fm_cjk(uint32_t c)
{
    return (c >= 0x3040 && c <= 0x30FF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF);
}

/* FMP_TOK_PATTERN_FM */
INLINE size_t fm(const char *s, size_t n, size_t i)
{
    const unsigned set = C_REST & ~C_MARK;
    size_t next;
    uint32_t c;
    unsigned class = tk_class_char(s, i, &next, &c);
    if (is_fm_cjk(c) || class == C_NUMBER) { return next; }
    if (s[i] == ' ' && (tk_class_at(s, n, next) & set)) { return tk_run_end(s, n, next, set); }
    if (class & C_SPACES) { return next; }
    if (class & set) { return tk_run_end(s, n, next, set); }
    for (i = tk_ascii_run(s, n, next, 'a', 0x20); i < n; i = next) {
        class = tk_class_char(s, i, &next, &c);
        if (!(class & (C_LETTER | C_MARK)) || is_fm_cjk(c)) { break; }
    }
    return i;
}

/* ---- sequences ---- */
/* Single numbers, then GPT-2's pattern: StarCoder, SmolLM. */
INLINE size_t starcoder(const char *s, size_t n, size_t i)
{
    size_t next;
    return tk_class_next(s, i, &next) == C_NUMBER ? next : gpt2(s, n, i, C_NUMBER);
}

/* Runs of punctuation, then GPT-2's pattern: what Falcon does before it maps bytes. */
INLINE size_t falcon(const char *s, size_t n, size_t i)
{
    size_t next;
    const unsigned set = C_PUNCT | C_ASCII;
    return tk_class_next(s, i, &next) & set ? tk_run_end(s, n, next, set) : gpt2(s, n, i, set);
}

/* Is the character that stands for a byte in GPT-2's alphabet a number? 0-9, and U+00B2 B3 B9 BC BD BE. */
INLINE bool is_digit_byte(char c)
{
    unsigned char b = (unsigned char)c;
    return (b >= '0' && b <= '9') || b == 0xB2 || b == 0xB3 || b == 0xB9 || (b >= 0xBC && b <= 0xBE);
}

INLINE bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/*
 * Within a word that ends at `end`, in mapped bytes: runs of numbers apart, and [0-9][0-9][0-9] apart in
 * those.
 */
INLINE size_t falcon_cut(const char *s, size_t i, size_t end)
{
    size_t k = i;
    if (!is_digit_byte(s[i])) {
        while (k < end && !is_digit_byte(s[k])) {
            k++;
        }
        return k;
    }
    for (; k < end && is_digit_byte(s[k]); k++) {
        if (end - k >= 3 && is_digit(s[k]) && is_digit(s[k + 1]) && is_digit(s[k + 2])) {
            return k == i ? k + 3 : k;
        }
    }
    return k;
}

/*
 * DeepSeek's three splits. A character is seen as an end where an earlier split has cut before or behind it.
 */
enum { HAN = 1 << 11 };

INLINE unsigned deepseek_class(const char *s, size_t n, size_t i, size_t *next, unsigned han)
{
    uint32_t c;
    if (i >= n) { return 0; }
    unsigned class = tk_class_char(s, i, next, &c);
    bool is_han = (c >= 0x3040 && c <= 0x30FF) || (c >= 0x4E00 && c <= 0x9FA5);
    return class == C_NUMBER || is_han != (han != 0) ? 0 : class;
}

INLINE size_t deepseek_run(const char *s, size_t n, size_t i, unsigned set, unsigned han)
{
    size_t next = i;
    while (deepseek_class(s, n, i, &next, han) & set) {
        i = next;
    }
    return i;
}

/*
 * [!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]* at i, 0 where none
 * matches; white space comes after. No character here is a number, and all are within the range of kana and
 * Han (han), or none is.
 */
INLINE size_t deepseek_match(const char *s, size_t n, size_t i, unsigned han)
{
    const unsigned word = C_LETTER | C_MARK, signs = C_PUNCT | C_PUNCT_NEW | C_ASCII | C_SYMBOL;
    size_t next = i, third = i;
    unsigned class = deepseek_class(s, n, i, &next, han);
    if ((class & signs) && (unsigned char)s[i] < 0x80) {
        size_t end = tk_ascii_run(s, n, next, 'a', 0x20);
        if (end > next) { return end; }
    }
    unsigned after = deepseek_class(s, n, next, &third, han);
    if (class & word) { return deepseek_run(s, n, next, word, han); }
    if (!(class & (signs | C_LINE)) && (after & word)) { return deepseek_run(s, n, next, word, han); }
    if ((class & signs) || (s[i] == ' ' && (after & signs))) {
        size_t end = deepseek_run(s, n, next, signs, han);
        while (han == 0 && end < n && (s[end] == '\r' || s[end] == '\n')) {
            end++;
        }
        return end;
    }
    return 0;
}

/* White space at i as in tk_line_end; numbers and characters of the range are ends. */
INLINE size_t deepseek_spaces(const char *s, size_t n, size_t i)
{
    size_t end = i, next = i, last = i, after = 0;
    unsigned class;
    while ((class = deepseek_class(s, n, end, &next, 0)) & C_SPACES) {
        last = end;
        end = next;
        if (class == C_LINE) { after = end; }
    }
    if (after > 0) { return after; }
    return class == 0 || last == i ? end : last;
}

/* What no alternative matches (control characters, say) is a word up to the next match or end. */
INLINE size_t deepseek(const char *s, size_t n, size_t i)
{
    size_t next = i;
    if (deepseek_class(s, n, i, &next, 0) == 0) {
        if (deepseek_class(s, n, i, &next, HAN) == 0) { return digits_end(s, n, i, 3); }
        size_t end = deepseek_match(s, n, i, HAN);
        while (end == 0) {
            i = next;
            end = deepseek_class(s, n, i, &next, HAN) == 0 || deepseek_match(s, n, i, HAN) > 0 ? i : 0;
        }
        return end;
    }
    for (size_t begin = i;; i = next) {
        unsigned class = deepseek_class(s, n, i, &next, 0);
        if (class == 0 && i > begin) { return i; }
        size_t end = deepseek_match(s, n, i, 0);
        if (end == 0 && (class & C_SPACES)) { end = deepseek_spaces(s, n, i); }
        if (end > 0) { return i > begin ? i : end; }
    }
}

/* ---- the two forms of each ---- */
#define ONE(name, call)                                                                                      \
    static size_t one_##name(const char *s, size_t n, size_t i)                                              \
    {                                                                                                        \
        return call;                                                                                         \
    }
#define MANY(name, call)                                                                                     \
    static size_t many_##name(const char *s, size_t n, tk_scan_state *state, uint32_t *ends, size_t max)     \
    {                                                                                                        \
        size_t i = state->at, k = 0;                                                                         \
        for (; i < n && k < max; ends[k++] = (uint32_t)i) {                                                  \
            i = call;                                                                                        \
        }                                                                                                    \
        state->at = i;                                                                                       \
        return k;                                                                                            \
    }
#define BOTH(name, call) ONE(name, call) MANY(name, call)

BOTH(gpt2, gpt2(s, n, i, 0))
BOTH(qwen, cl100k(s, n, i, 1, 0))
BOTH(qwen_ascii, cl100k(s, n, i, 1, ASCII_TAILS))
BOTH(qwen35, cl100k(s, n, i, 1, MARKS))
BOTH(qwen35_ascii, cl100k(s, n, i, 1, MARKS | ASCII_TAILS))
BOTH(cl100k, cl100k(s, n, i, 3, 0))
BOTH(cl100k_ascii, cl100k(s, n, i, 3, ASCII_TAILS))
BOTH(cl100k_end, cl100k(s, n, i, 3, WHOLE_END))
BOTH(o200k, o200k(s, n, i, 3, 0))
BOTH(o200k_ascii, o200k(s, n, i, 3, ASCII_TAILS))
BOTH(tekken, o200k(s, n, i, 1, NO_TAILS))
BOTH(fm, fm(s, n, i))
MANY(starcoder, starcoder(s, n, i))
MANY(deepseek, deepseek(s, n, i))

static size_t many_falcon(const char *s, size_t n, tk_scan_state *state, uint32_t *ends, size_t max)
{
    size_t i = state->at, word = state->word, k = 0;
    for (; i < n && k < max; ends[k++] = (uint32_t)i) {
        if (i >= word) { word = falcon(s, n, i); }
        i = falcon_cut(s, i, word);
    }
    *state = (tk_scan_state){i, word};
    return k;
}

/* ---- patterns by their text ---- */
#define SPACES_  "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define REST_    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" SPACES_
#define WORDS_   "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
#define WORDS35_ "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" SPACES_
#define UPPER_   "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER_   "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED_(tail)                                                                                         \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER_ "*" LOWER_ "+" tail "|[^\\r\\n\\p{L}\\p{N}]?" UPPER_ "+" LOWER_ "*" tail \
    "|\\p{N}"
#define CASED_REST_ "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES_
/* Contractions as three authors write them; the first two mean the same. */
#define TAILS_       "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define TAILS_SHORT_ "'(?i:[sdmt]|ll|ve|re)"
#define TAILS_ASCII_ "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
/*
 * tiktoken's cl100k of 2023 and of today. What its "possessive" quantifiers do not give back nothing after them could
 * take, and \s*[\r\n] ends where \s*[\r\n]+ does.
 */
#define CL100K_2023_                                                                                         \
    TAILS_SHORT_ "|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*"
#define CL100K_NOW_                                                                                          \
    TAILS_SHORT_ "|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+"

static const struct {
    const char *pattern;
    tk_pattern id;
} patterns[] = {
    {FMP_TOK_PATTERN_GPT2, TK_PATTERN_GPT2},
    {"'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", TK_PATTERN_GPT2},
    {"'(?:[sdmt]|ll|ve|re)| ?\\p{L}++| ?\\p{N}++| ?[^\\s\\p{L}\\p{N}]++|\\s++$|\\s+(?!\\S)|\\s",
     TK_PATTERN_GPT2},
    {TAILS_ WORDS_ REST_, TK_PATTERN_QWEN},
    {TAILS_SHORT_ WORDS_ REST_, TK_PATTERN_QWEN},
    {TAILS_ASCII_ WORDS_ REST_, TK_PATTERN_QWEN_ASCII},
    {TAILS_ WORDS35_, TK_PATTERN_QWEN35},
    {TAILS_ASCII_ WORDS35_, TK_PATTERN_QWEN35_ASCII},
    {TAILS_ WORDS_ "{1,3}" REST_, TK_PATTERN_CL100K},
    {TAILS_SHORT_ WORDS_ "{1,3}" REST_, TK_PATTERN_CL100K},
    {TAILS_ASCII_ WORDS_ "{1,3}" REST_, TK_PATTERN_CL100K_ASCII},
    {CL100K_2023_ "|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+", TK_PATTERN_CL100K},
    {CL100K_2023_ SPACES_, TK_PATTERN_CL100K},
    {CL100K_NOW_ "|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s", TK_PATTERN_CL100K_END},
    {CASED_(TAILS_ "?") "{1,3}" CASED_REST_, TK_PATTERN_O200K},
    {CASED_(TAILS_ASCII_ "?") "{1,3}" CASED_REST_, TK_PATTERN_O200K_ASCII},
    {CASED_("") CASED_REST_, TK_PATTERN_TEKKEN},
    {FMP_TOK_PATTERN_FM, TK_PATTERN_FM},
    {TK_DIGITS_PATTERN, TK_PATTERN_DIGITS},
    {TK_PUNCTUATION_PATTERN, TK_PATTERN_PUNCTUATION},
    {"[0-9][0-9][0-9]", TK_PATTERN_THREE},
    {"\\p{N}{1,3}", TK_PATTERN_NUMBERS},
    {"[\xE4\xB8\x80-\xE9\xBE\xA5\xE3\x81\x80-\xE3\x82\x9F\xE3\x82\xA0-\xE3\x83\xBF]+", TK_PATTERN_HAN},
    {"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
     "?[\\p{P}\\p{S}]+[\r\n]*"
     "|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
     TK_PATTERN_DEEPSEEK},
};

tk_pattern tk_pattern_find(const char *pattern)
{
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        if (strcmp(patterns[i].pattern, pattern) == 0 && tk_class_init()) { return patterns[i].id; }
    }
    return TK_PATTERN_OTHER;
}

tk_scan_fn tk_scan_one(tk_pattern pattern)
{
    switch (pattern) {
    case TK_PATTERN_GPT2: return one_gpt2;
    case TK_PATTERN_QWEN: return one_qwen;
    case TK_PATTERN_QWEN_ASCII: return one_qwen_ascii;
    case TK_PATTERN_QWEN35: return one_qwen35;
    case TK_PATTERN_QWEN35_ASCII: return one_qwen35_ascii;
    case TK_PATTERN_CL100K: return one_cl100k;
    case TK_PATTERN_CL100K_ASCII: return one_cl100k_ascii;
    case TK_PATTERN_CL100K_END: return one_cl100k_end;
    case TK_PATTERN_O200K: return one_o200k;
    case TK_PATTERN_O200K_ASCII: return one_o200k_ascii;
    case TK_PATTERN_TEKKEN: return one_tekken;
    case TK_PATTERN_FM: return one_fm;
    default: return NULL;
    }
}

/* ---- the splits of a whole tokenizer ---- */
#define MAX_SPLITS 5u

static const struct {
    uint32_t n;
    tk_pattern step[MAX_SPLITS]; /* TK_PATTERN_OTHER: the step that maps bytes */
    uint32_t contiguous;         /* bit k: step k has that behavior, the others "Isolated" */
    tk_scan_many_fn scan;
} sequences[] = {
    {1, {TK_PATTERN_GPT2}, 0, many_gpt2},
    {1, {TK_PATTERN_QWEN}, 0, many_qwen},
    {1, {TK_PATTERN_QWEN_ASCII}, 0, many_qwen_ascii},
    {1, {TK_PATTERN_QWEN35}, 0, many_qwen35},
    {1, {TK_PATTERN_QWEN35_ASCII}, 0, many_qwen35_ascii},
    {1, {TK_PATTERN_CL100K}, 0, many_cl100k},
    {1, {TK_PATTERN_CL100K_ASCII}, 0, many_cl100k_ascii},
    {1, {TK_PATTERN_CL100K_END}, 0, many_cl100k_end},
    {1, {TK_PATTERN_O200K}, 0, many_o200k},
    {1, {TK_PATTERN_O200K_ASCII}, 0, many_o200k_ascii},
    {1, {TK_PATTERN_TEKKEN}, 0, many_tekken},
    {1, {TK_PATTERN_FM}, 0, many_fm},
    {2, {TK_PATTERN_DIGITS, TK_PATTERN_GPT2}, 0, many_starcoder},
    {3, {TK_PATTERN_NUMBERS, TK_PATTERN_HAN, TK_PATTERN_DEEPSEEK}, 0, many_deepseek},
    {5,
     {TK_PATTERN_PUNCTUATION, TK_PATTERN_GPT2, TK_PATTERN_OTHER, TK_PATTERN_DIGITS, TK_PATTERN_THREE},
     1 | 8,
     many_falcon},
};

/* A step as the table has it. A pattern that matches everywhere has no gaps to remove. */
static bool is_step(const tk_split *split, tk_pattern want, bool contiguous)
{
    if (want == TK_PATTERN_OTHER) { return split->kind == TK_SPLIT_MAP_BYTES; }
    if (split->kind != TK_SPLIT_REGEX || split->re.known != want) { return false; }
    if (split->behavior == TK_REMOVED) { return split->invert && split->re.scan; }
    return split->behavior == (contiguous ? TK_CONTIGUOUS : TK_ISOLATED) && !split->invert;
}

tk_scan_many_fn tk_scan_many(const tk_split *splits, uint32_t n)
{
    for (size_t i = 0; i < sizeof sequences / sizeof *sequences; i++) {
        uint32_t k = 0;
        if (sequences[i].n != n) { continue; }
        while (k < n && is_step(&splits[k], sequences[i].step[k], sequences[i].contiguous >> k & 1)) {
            k++;
        }
        if (k == n) { return sequences[i].scan; }
    }
    return NULL;
}
