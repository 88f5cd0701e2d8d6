/*
 * tokenizer_impl.h: what the tokenizer_*.c files share.
 *
 * Order of work: tokenizer_load recognises the kind of file; one file for each kind (tokenizer_json with tokenizer_parts
 * and tokenizer_post, tokenizer_spm, tokenizer_gguf, tokenizer_ranks, tokenizer_llama2c) fills an fmp_tokenizer, and
 * tokenizer_build completes it. tokenizer_encode runs text through tokenizer_added, tokenizer_normal, tokenizer_split and
 * one model (tokenizer_bpe, tokenizer_unigram, tokenizer_wordpiece), which no kind of file has for itself;
 * tokenizer_decode goes back. Names here begin with tk_ and are not for use outside.
 */
#ifndef FMPIPE_TOKENIZER_IMPL_H
#define FMPIPE_TOKENIZER_IMPL_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmpipe/json.h>
#include <fmpipe/tokenizer.h>
#include <pcre2.h>

#define TK_MAX_TOKENS  ((size_t)1 << 22)
#define TK_MAX_ID_GAP  65536u /* ids may lie this far beyond the number of tokens */
#define TK_MAX_FILE    ((size_t)256 << 20)
#define TK_MAX_STEPS   16u /* steps of one normalizer, pre-tokenizer, post-processor or decoder */
#define TK_MAX_PATTERN 65536u
#define TK_SHORT       8u             /* texts of so many bytes are looked up as one number */
#define TK_MARK        "\xE2\x96\x81" /* U+2581, which stands for a space in SentencePiece vocabularies */

/* ---- text with origins ---- */
/*
 * Text on its way through the steps. end_of[k] is the offset in the caller's text that has been used up after byte k;
 * NULL where the text is the caller's own bytes from `base` on.
 */
typedef struct tk_view {
    const char *s;
    size_t len;
    const uint32_t *end_of;
    uint32_t base;
} tk_view;

/* Growable text of the same shape. */
typedef struct tk_text {
    char *s;
    uint32_t *end_of;
    size_t len, cap;
    size_t limit; /* bytes that it may have; 0: 4 GiB */
    bool failed;
    bool over; /* failed for the limit, not for memory */
} tk_text;

typedef struct tk_piece {
    uint32_t begin, end;
    uint32_t id; /* FMP_TOKEN_NONE: text still to be encoded */
} tk_piece;

typedef struct tk_pieces {
    tk_piece *v;
    size_t n, cap;
    bool failed;
} tk_pieces;

/* Offset in the caller's text before byte k of the view. */
static inline uint32_t tk_origin(const tk_view *v, size_t k)
{
    if (!v->end_of) { return v->base + (uint32_t)k; }
    return k == 0 ? v->base : v->end_of[k - 1];
}

tk_view tk_view_of(const tk_text *t, uint32_t base);
/* A part of a view. */
tk_view tk_view_cut(const tk_view *v, size_t begin, size_t end);
void tk_text_add(tk_text *t, const char *s, size_t len, uint32_t end_of);
/* Bytes of `v` from begin to end with their own origins. */
void tk_text_copy(tk_text *t, const tk_view *v, size_t begin, size_t end);
void tk_text_free(tk_text *t);
void tk_piece_add(tk_pieces *p, size_t begin, size_t end, uint32_t id);

/* ---- patterns ---- */
/* White space as Unicode has it: the set that \s means, for PCRE2. */
#define TK_SPACE_SET                                                                                         \
    "\\t-\\r\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define TK_DIGITS_PATTERN "\\p{N}"
/* Punctuation as Hugging Face has it: ASCII signs, and what was punctuation in Unicode 8, so not these. */
#define TK_NEW_PUNCTUATION                                                                                   \
    "\\x{61d}\\x{9fd}\\x{a76}\\x{c77}\\x{c84}\\x{1b7d}\\x{1b7e}\\x{2e43}-\\x{2e7f}"                          \
    "\\x{10ead}\\x{10f55}-\\x{10f59}\\x{10f86}-\\x{10f89}\\x{1144b}-\\x{1144f}"                              \
    "\\x{1145a}-\\x{1145d}\\x{11660}-\\x{1166c}\\x{116b9}\\x{1183b}"                                         \
    "\\x{11944}-\\x{11946}\\x{119e2}\\x{11a3f}-\\x{11a46}\\x{11a9a}-\\x{11aa2}"                              \
    "\\x{11b00}-\\x{11b09}\\x{11c41}-\\x{11c45}\\x{11c70}\\x{11c71}\\x{11ef7}"                               \
    "\\x{11ef8}\\x{11f43}-\\x{11f4f}\\x{11fff}\\x{12ff1}\\x{12ff2}"                                          \
    "\\x{16e97}-\\x{16e9a}\\x{16fe2}\\x{1e95e}\\x{1e95f}"
#define TK_PUNCTUATION_PATTERN                                                                               \
    "[\\x21-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\x7e]|(?![" TK_NEW_PUNCTUATION "])\\p{P}"

/* Patterns that tokenizer_scan.c knows by their text. */
typedef enum tk_pattern {
    TK_PATTERN_OTHER,
    TK_PATTERN_GPT2,
    TK_PATTERN_QWEN, /* ..._ASCII: with contractions spelled '[sS], which a long s does not match */
    TK_PATTERN_QWEN_ASCII,
    TK_PATTERN_QWEN35,
    TK_PATTERN_QWEN35_ASCII,
    TK_PATTERN_CL100K,
    TK_PATTERN_CL100K_ASCII,
    TK_PATTERN_CL100K_END, /* white space at the end of the text is one word */
    TK_PATTERN_O200K,
    TK_PATTERN_O200K_ASCII,
    TK_PATTERN_TEKKEN,
    TK_PATTERN_FM,
    TK_PATTERN_DIGITS,
    TK_PATTERN_PUNCTUATION,
    TK_PATTERN_THREE, /* steps of Falcon, StarCoder */
    TK_PATTERN_NUMBERS,
    TK_PATTERN_HAN,
    TK_PATTERN_DEEPSEEK /* steps of DeepSeek          */
} tk_pattern;

/* End of the word that begins at `at` (< n) in valid UTF-8 s[0..n). */
typedef size_t (*tk_scan_fn)(const char *s, size_t n, size_t at);

typedef struct tk_regex {
    pcre2_code *code;
    tk_pattern known;
    tk_scan_fn scan; /* not NULL: matches everywhere, and this finds the same matches faster */
    char *literal;   /* not NULL: the pattern is just this text, not empty                  */
    size_t literal_len;
} tk_regex;

/* pattern: Oniguruma syntax as Hugging Face uses it; `where` is the JSON path for messages. */
FMP_MUST_USE fmp_status tk_regex_compile(const char *pattern, bool literal, const char *where, tk_regex *out,
                                         fmp_err *err);
void tk_regex_free(tk_regex *re);
tk_pattern tk_pattern_find(const char *pattern);
/* The scanner of a pattern that matches everywhere, or NULL. */
tk_scan_fn tk_scan_one(tk_pattern pattern);
/* Match state of one thread. */
typedef struct tk_matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
} tk_matcher;
FMP_MUST_USE fmp_status tk_matcher_init(tk_matcher *m, fmp_err *err);
void tk_matcher_free(tk_matcher *m);
/* The first match at or after `at`: *found, *begin, *end. */
FMP_MUST_USE fmp_status tk_regex_next(const tk_regex *re, tk_matcher *m, const char *s, size_t len, size_t at,
                                      bool *found, size_t *begin, size_t *end, fmp_err *err);
/* Code point at s[*i] (valid UTF-8); moves *i behind it. */
uint32_t tk_utf8_next(const char *s, size_t *i);
/* The character at s[i] is one of \w (Unicode). */
bool tk_is_word(const char *s, size_t i);
size_t tk_utf8_put(uint32_t c, char *out);

/* ---- steps ---- */
typedef enum tk_norm_kind {
    TK_NORM_NFC,
    TK_NORM_NFD,
    TK_NORM_NFKC,
    TK_NORM_NFKD,
    TK_NORM_LOWERCASE,
    TK_NORM_STRIP,
    TK_NORM_PREPEND,
    TK_NORM_REPLACE,
    TK_NORM_CHARS,    /* character by character: tk_chars_fn                              */
    TK_NORM_CHARSMAP, /* SentencePiece's rules as the Hugging Face library applies them   */
    TK_NORM_SPM       /* SentencePiece's own normalizer: rules, white space, dummy prefix */
} tk_norm_kind;

/* One character to what takes its place: writes at most 16 bytes to `out`, returns how many. */
typedef size_t (*tk_chars_fn)(uint32_t c, char *out);

/*
 * SentencePiece's precompiled rules: a double array (Darts) from UTF-8 keys to offsets in `texts`, a row of strings that end
 * in NUL. Nothing in it is trusted: every step is checked against the bounds.
 */
typedef struct tk_charsmap {
    const uint32_t *units;
    size_t n_units;
    const char *texts;
    size_t texts_len;
} tk_charsmap;

typedef struct tk_spm_rules {
    bool dummy_prefix, remove_extra_spaces, escape_spaces, space_is_suffix;
} tk_spm_rules;

typedef struct tk_norm {
    tk_norm_kind kind;
    const char *text; /* PREPEND, REPLACE: what is put in */
    size_t text_len;
    tk_regex re;       /* REPLACE */
    bool left, right;  /* STRIP */
    tk_chars_fn chars; /* CHARS */
    tk_charsmap map;   /* CHARSMAP, SPM; n_units 0: no rules */
    tk_spm_rules spm;  /* SPM */
} tk_norm;

typedef enum tk_behavior {
    TK_ISOLATED,
    TK_REMOVED,
    TK_MERGED_PREVIOUS,
    TK_MERGED_NEXT,
    TK_CONTIGUOUS
} tk_behavior;

typedef enum tk_split_kind {
    TK_SPLIT_REGEX,
    TK_SPLIT_PREFIX_SPACE, /* a space before a piece that does not begin with one        */
    TK_SPLIT_MAP_BYTES,    /* bytes become GPT-2 characters, for the steps that follow it */
    TK_SPLIT_METASPACE     /* spaces become `meta`, which is put first where there is none */
} tk_split_kind;

typedef enum tk_prepend { TK_PREPEND_ALWAYS, TK_PREPEND_FIRST, TK_PREPEND_NEVER } tk_prepend;

typedef struct tk_split {
    tk_split_kind kind;
    tk_regex re;
    tk_behavior behavior;
    bool invert;
    tk_prepend prepend; /* METASPACE */
    const char *meta;   /* METASPACE */
} tk_split;

/* Where a scanner of many words stands: {0} at the start of a text. */
typedef struct tk_scan_state {
    size_t at, word; /* word: for sequences that cut words further, where the present one ends */
} tk_scan_state;

/* The ends of the next words, at most max; returns how many, 0 at the end of the text. The first begins at state->at. */
typedef size_t (*tk_scan_many_fn)(const char *s, size_t n, tk_scan_state *state, uint32_t *ends, size_t max);
/* The scanner that does what all these splits do, one after the other, or NULL. Words lie end to end. */
tk_scan_many_fn tk_scan_many(const tk_split *splits, uint32_t n);

/* Decoder steps after the byte level: what is done to each token's text when the table of bytes is made. */
typedef struct tk_decode_plan {
    bool byte_level, byte_fallback, fused;
    struct {
        const char *from, *to;
    } replace[TK_MAX_STEPS];
    uint32_t n_replace;
    char strip; /* leave out up to n_strip of this character at the start of the text */
    uint32_t n_strip;
    bool strip_on;           /* ... and go on with the next token where one had nothing else */
    const char *word_prefix; /* WordPiece: a token without it begins with a space; NULL: no such decoder */
    bool cleanup;            /* WordPiece: no space before signs, contractions joined */
    const char *unk_text;    /* what the unknown token decodes to; NULL: as any other */
    const char *word_suffix; /* BPEDecoder: becomes a space that only a next token brings out; NULL: none */
} tk_decode_plan;

/* ---- the tokenizer ---- */
typedef struct tk_token {
    const char *text;  /* as in the file; NULL: no token has this id */
    const char *bytes; /* decoded */
    uint32_t text_len, bytes_len;
} tk_token;

/* Of at most 8 bytes the key and the length are the text; of a longer one the key is a hash. */
typedef struct tk_text_slot {
    uint64_t key;
    uint32_t id, len; /* id FMP_TOKEN_NONE: free */
} tk_text_slot;

typedef struct tk_added {
    const char *content; /* as it is searched: normalized where the token says so */
    size_t len;
    uint32_t id;
    bool special, single_word, lstrip, rstrip, normalized;
} tk_added;

/* A merge as it is read. */
typedef struct tk_rule {
    uint32_t left, right, rank, id;
} tk_rule;

typedef struct tk_rules {
    tk_rule *v; /* on the heap */
    size_t n, cap;
} tk_rules;

/* Merge of two tokens, in an open-addressing table; key = left << 32 | right, UINT64_MAX: free. */
typedef struct tk_merge {
    uint64_t key;
    uint32_t rank, id;
} tk_merge;

typedef struct tk_trie tk_trie;
typedef struct tk_words tk_words;

typedef enum tk_model { TK_BPE, TK_UNIGRAM, TK_WORDPIECE, TK_WORDLEVEL } tk_model;

/* What Unigram and WordPiece have beside the vocabulary. */
typedef struct tk_word_model {
    tk_words *words; /* pieces that text may become */
    double *score;   /* (size) Unigram */
    double unk_score;
    bool single; /* Unigram: scores add up in f32, as SentencePiece does; else in f64, as Hugging Face does */
    const char
        *begin;     /* WordPiece: put before each word ("", or U+2581 in GGUF files); WordLevel: begins one */
    bool mark_last; /* WordLevel: `begin` ends a word instead */
    uint32_t continues; /* WordPiece: node in `words` where pieces inside a word begin */
    uint32_t max_chars; /* WordPiece: a longer word is unknown */
} tk_word_model;
typedef struct tk_index tk_index;

struct fmp_tokenizer {
    uint64_t serial;  /* tells tokenizers apart in a scratch's cache; never in any output */
    fmp_arena *arena; /* every string and table below, patterns and tries apart */
    char digest[65];
    tk_token *tokens; /* (size) */
    uint32_t size;
    tk_text_slot *by_text; /* (by_text_mask + 1), open addressing */
    size_t by_text_mask;
    uint8_t *special;  /* (size) 1: an added token marked special */
    uint8_t *in_model; /* (size) 1: in the model's own vocabulary */
    bool has_twins;    /* some text has several ids */
    tk_rules rules;    /* all merges by rank, until the index is built */
    tk_merge *merges;
    size_t merge_mask;
    unsigned merge_shift;
    tk_index *index; /* NULL: words are merged pair by pair */
    tk_model model;
    bool is_spm;        /* read from a SentencePiece model */
    tk_word_model word; /* Unigram, WordPiece */
    const char *inner_prefix,
        *word_suffix; /* BPE: of characters inside a word, of a word's last one; NULL: none */
    bool byte_level, ignore_merges, byte_fallback, fuse_unk;
    uint32_t unk_model;
    uint16_t char_of_byte[256];
    uint32_t byte_id[256]; /* token of a byte (byte level), or of <0xNN> (byte fallback) */
    tk_added *added;
    uint32_t n_added;
    tk_trie *trie_raw, *trie_normalized; /* NULL: no such tokens */
    tk_trie *trie_keep; /* symbols that SentencePiece's normalizer leaves alone; may be trie_normalized */
    tk_norm norm[TK_MAX_STEPS];
    uint32_t n_norm;
    tk_split split[TK_MAX_STEPS];
    uint32_t n_split;
    bool maps_bytes;           /* one of the split steps is TK_SPLIT_MAP_BYTES */
    tk_scan_many_fn scan;      /* not NULL: does what the split steps do     */
    uint32_t *prefix, *suffix; /* what the post-processor adds */
    uint32_t n_prefix, n_suffix;
    tk_decode_plan decode;
    uint32_t bos, eos, pad, unk;
};

static inline bool tk_bit(const uint64_t *bits, uint64_t at)
{
    return bits[at / 64] >> (at % 64) & 1;
}

/* ---- tokenizer_vocab.c ---- */
/* GPT-2's character for a byte, and back (-1: not one of them). */
uint32_t tk_char_of_byte(unsigned byte);
int tk_byte_of_char(uint32_t c);
uint64_t tk_hash(const char *s, size_t len);
uint32_t tk_find(const fmp_tokenizer *tok, const char *text, size_t len);
/* Several at once (n <= TK_MANY), which waits for memory once instead of n times. */
#define TK_MANY 32u
typedef struct tk_key {
    const char *s;
    size_t len;
} tk_key;
void tk_find_many(const fmp_tokenizer *tok, const tk_key *keys, size_t n, uint32_t *ids);
/* Make room for ids 0..size-1 and the hash table; then enter tokens one by one. */
FMP_MUST_USE fmp_status tk_vocab_init(fmp_tokenizer *tok, size_t size, fmp_err *err);
FMP_MUST_USE fmp_status tk_vocab_add(fmp_tokenizer *tok, const char *text, size_t len, uint32_t id,
                                     const char *where, fmp_err *err);
/* Ask for the memory that a text's entry will lie in; best for TK_AHEAD of them at once. */
#define TK_AHEAD 16u
void tk_vocab_fetch(const fmp_tokenizer *tok, const char *text, size_t len);
/* The same where a text may come twice: the last id is the one that tk_find gives. */
FMP_MUST_USE fmp_status tk_vocab_put(fmp_tokenizer *tok, const char *text, size_t len, uint32_t id,
                                     fmp_err *err);
/* The next merge in order of rank, on its way to tk_merges_build. */
FMP_MUST_USE fmp_status tk_rule_add(fmp_tokenizer *tok, const tk_rule *rule, fmp_err *err);
/*
 * The table of all merges. Of a pair that comes twice the first counts, and the others leave the rules; the first of
 * those is copied to *twice (or NULL).
 */
FMP_MUST_USE fmp_status tk_merges_build(fmp_tokenizer *tok, tk_rule *twice, fmp_err *err);
static inline size_t tk_merge_slot(const fmp_tokenizer *tok, uint32_t left, uint32_t right)
{
    uint64_t key = (uint64_t)left << 32 | right;
    return (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> tok->merge_shift);
}

static inline void tk_merge_fetch(const fmp_tokenizer *tok, uint32_t left, uint32_t right)
{
    __builtin_prefetch(&tok->merges[tk_merge_slot(tok, left, right)]);
}

static inline const tk_merge *tk_merge_find(const fmp_tokenizer *tok, uint32_t left, uint32_t right)
{
    uint64_t key = (uint64_t)left << 32 | right;
    size_t i = tk_merge_slot(tok, left, right);
    while (tok->merges[i].key != key) {
        if (tok->merges[i].key == UINT64_MAX) { return NULL; }
        i = (i + 1) & tok->merge_mask;
    }
    return &tok->merges[i];
}
/*
 * Merges on their way into the table, some at a time for the sake of tk_find_many. {0} is empty; flush it at the end, and
 * free its text.
 */
#define TK_BATCH 10u
typedef struct tk_merge_batch {
    fmp_buf text;
    size_t at[TK_BATCH + 1], a_len[TK_BATCH];
    uint32_t n, rank; /* rank of the first */
} tk_merge_batch;
/* The next merge in order of rank; both texts are copied. An error may be of one of the merges before it. */
FMP_MUST_USE fmp_status tk_merge_texts(fmp_tokenizer *tok, tk_merge_batch *batch, tk_key a, tk_key b,
                                       fmp_err *err);
/* The last of them, and tk_merges_build; a pair that comes twice is an error. */
FMP_MUST_USE fmp_status tk_merges_end(fmp_tokenizer *tok, tk_merge_batch *batch, fmp_err *err);
/* Text in GPT-2's alphabet to the bytes it stands for, at most len; false where a character is not of the alphabet. */
bool tk_unmap(const char *text, size_t len, char *out, size_t *n);
/* Fill tokens[].bytes from the decoder's plan. */
FMP_MUST_USE fmp_status tk_vocab_bytes(fmp_tokenizer *tok, fmp_err *err);

/* ---- tokenizer_build.c: what every kind of file needs ---- */
FMP_MUST_USE fmp_status tk_new(fmp_tokenizer **out, fmp_err *err);
/* Room for n added tokens. */
FMP_MUST_USE fmp_status tk_added_init(fmp_tokenizer *tok, size_t n, fmp_err *err);
/* Token `id`, already in the vocabulary, is found in text as it is spelled. */
void tk_added_put(fmp_tokenizer *tok, uint32_t id, bool special, bool normalized, bool rstrip);
/* The token each byte starts as; a special token is none. */
void tk_fill_bytes(fmp_tokenizer *tok);
/*
 * Merges of a vocabulary that has none written down: two tokens side by side become the token both spell, in the order of
 * `rank` (size; each below size, or UINT32_MAX: a token that takes no part).
 */
FMP_MUST_USE fmp_status tk_merges_of_ranks(fmp_tokenizer *tok, const uint32_t *rank, fmp_err *err);
/* WordPiece: the trie; `prefix` stands before pieces inside a word. */
FMP_MUST_USE fmp_status tk_wordpiece_init(fmp_tokenizer *tok, const char *prefix, fmp_err *err);
/* Ranks by falling score, equal scores equal; takes_part (size). Returned in the tokenizer's arena. */
FMP_MUST_USE fmp_status tk_ranks_of_scores(fmp_tokenizer *tok, const float *score, const uint8_t *takes_part,
                                           uint32_t **out, fmp_err *err);
/*
 * Unigram: the trie and the score of an unknown character from word.score; takes_part (size): 0 leaves a piece out, 2 leaves
 * its score out of the lowest.
 */
FMP_MUST_USE fmp_status tk_unigram_init(fmp_tokenizer *tok, const uint8_t *takes_part, fmp_err *err);
/* What FMP_TOK_TEMPLATE adds: `first` before a text and `last` after it, each if wanted and not FMP_TOKEN_NONE. */
FMP_MUST_USE fmp_status tk_put_template(fmp_tokenizer *tok, bool want_first, uint32_t first, bool want_last,
                                        uint32_t last, fmp_err *err);
/* A plan that turns U+2581 to spaces and <0xNN> to bytes. */
void tk_decode_meta(fmp_tokenizer *tok, const char *meta);
/* Steps for formats that name their pre-tokenizer instead of spelling it. */
FMP_MUST_USE fmp_status tk_add_split(fmp_tokenizer *tok, tk_split_kind kind, const char *where,
                                     tk_split **out, fmp_err *err);
FMP_MUST_USE fmp_status tk_add_pattern(fmp_tokenizer *tok, const char *pattern, bool literal,
                                       tk_behavior behavior, bool invert, const char *where, fmp_err *err);
FMP_MUST_USE fmp_status tk_add_norm(fmp_tokenizer *tok, tk_norm_kind kind, const char *where, tk_norm **out,
                                    fmp_err *err);
FMP_MUST_USE fmp_status tk_add_chars(fmp_tokenizer *tok, tk_chars_fn chars, const char *where, fmp_err *err);
/* The last step of every loader: tries, decoded bytes. */
FMP_MUST_USE fmp_status tk_complete(fmp_tokenizer *tok, fmp_err *err);

/* ---- the kinds of file; text (len) is the whole file, borrowed ---- */
FMP_MUST_USE fmp_status tk_read_json(fmp_tokenizer *tok, const char *text, size_t len, fmp_err *err);
FMP_MUST_USE fmp_status tk_read_spm(fmp_tokenizer *tok, const char *text, size_t len, fmp_err *err);
/* *used: bytes of the file that were read, the tensors being none of them. */
FMP_MUST_USE fmp_status tk_read_gguf(fmp_tokenizer *tok, const char *text, size_t len, size_t *used,
                                     fmp_err *err);
/* What comes before the tensors' descriptions: *used bytes, TK_GGUF_COUNT of them the number of tensors. */
#define TK_GGUF_COUNT_AT 8u
#define TK_GGUF_COUNT    8u
FMP_MUST_USE fmp_status tk_gguf_head(const char *data, size_t len, size_t *used, fmp_err *err);
FMP_MUST_USE fmp_status tk_read_ranks(fmp_tokenizer *tok, const char *text, size_t len, fmp_err *err);
FMP_MUST_USE fmp_status tk_read_llama2c(fmp_tokenizer *tok, const char *text, size_t len, fmp_err *err);
/* Steps of a byte-level GGUF vocabulary by the name of its pre-tokenizer, and what else the name implies. */
enum { TK_PRE_IGNORE_MERGES = 1, TK_PRE_BOS = 2, TK_PRE_SEP = 4 };
FMP_MUST_USE fmp_status tk_gguf_pre(fmp_tokenizer *tok, const char *name, unsigned *flags, fmp_err *err);
/* GPT-2's own pair of files: vocab.json or encoder.json, and merges.txt or vocab.bpe. */
FMP_MUST_USE fmp_status tk_read_pair(fmp_tokenizer *tok, const char *vocab, size_t vocab_len,
                                     const char *merges, size_t merges_len, fmp_err *err);
/* The one file of a folder that may be a tokenizer, or an error that names what was looked for. On the heap. */
FMP_MUST_USE fmp_status tk_only_file(const char *folder, char **out, fmp_err *err);
bool tk_is_gguf(const char *text, size_t len);
/* Call `take` with each text of a GGUF file's metadata whose key begins so, and the rest of its key. */
typedef fmp_status (*tk_gguf_text)(void *arg, const char *key, size_t key_len, const char *text, size_t len,
                                   fmp_err *err);
FMP_MUST_USE fmp_status tk_gguf_texts(const char *data, size_t len, const char *prefix, tk_gguf_text take,
                                      void *arg, fmp_err *err);
bool tk_is_spm(const char *text, size_t len);
bool tk_is_ranks(const char *text, size_t len);
bool tk_is_llama2c(const char *text, size_t len);

/* ---- tokenizer_scanjson.c: JSON without a tree, for the two large parts of tokenizer.json ---- */
typedef struct tk_json {
    const char *s;
    size_t len, at;
    fmp_buf text; /* of the last string with escapes; its owner frees it */
} tk_json;
typedef struct tk_json_range {
    size_t begin, end;
} tk_json_range;
/* Where the values of model.vocab and model.merges lie; both empty where the text is not of that shape. */
void tk_json_model_parts(const char *s, size_t len, tk_json_range *vocab, tk_json_range *merges);
/* Skip white space; the next byte, or '\0' at the end. */
char tk_json_peek(tk_json *j);
/* Take `c` if it comes next. */
bool tk_json_take(tk_json *j, char c);
/* The string at the cursor; valid until the next one is read. */
FMP_MUST_USE fmp_status tk_json_string(tk_json *j, const char **out, size_t *len, fmp_err *err);
FMP_MUST_USE fmp_status tk_json_number(tk_json *j, double *out, fmp_err *err);
FMP_MUST_USE fmp_status tk_json_fail(const tk_json *j, const char *expected, fmp_err *err);

/* ---- tokenizer_words.c: a trie of pieces ---- */
FMP_MUST_USE fmp_status tk_words_new(size_t n_bytes, tk_words **out, fmp_err *err);
void tk_words_free(tk_words *words);
FMP_MUST_USE fmp_status tk_words_add(tk_words *words, const char *s, size_t len, uint32_t id, fmp_err *err);
/* The node after `node` (0: the root) and byte b; 0 if there is none. */
uint32_t tk_words_step(const tk_words *words, uint32_t node, unsigned char b);
/* The piece that ends in this node, or FMP_TOKEN_NONE. */
uint32_t tk_words_at(const tk_words *words, uint32_t node);

/* ---- tokenizer_charsmap.c ---- */
/* blob: borrowed, as the file has it; what is kept lies in the tokenizer's arena. */
FMP_MUST_USE fmp_status tk_charsmap_open(fmp_tokenizer *tok, const char *blob, size_t len, const char *where,
                                         tk_charsmap *out, fmp_err *err);
void tk_normalize_charsmap(const tk_charsmap *map, const tk_view *v, tk_text *out);
void tk_normalize_spm(const fmp_tokenizer *tok, const tk_norm *step, const tk_view *v, tk_text *out);

/* ---- tokenizer_parts.c ---- */
FMP_MUST_USE fmp_status tk_parse_normalizer(fmp_tokenizer *tok, const cJSON *node, fmp_err *err);
FMP_MUST_USE fmp_status tk_parse_pre_tokenizer(fmp_tokenizer *tok, const cJSON *node, fmp_err *err);
FMP_MUST_USE fmp_status tk_parse_decoder(fmp_tokenizer *tok, const cJSON *node, fmp_err *err);
/* ---- tokenizer_post.c: needs the vocabulary ---- */
FMP_MUST_USE fmp_status tk_parse_post(fmp_tokenizer *tok, const cJSON *node, fmp_err *err);
/* Shared by the parsers. */
FMP_MUST_USE fmp_status tk_want_string(const cJSON *object, const char *key, const char *where,
                                       const char **out, fmp_err *err);
FMP_MUST_USE fmp_status tk_want_bool(const cJSON *object, const char *key, bool fallback, const char *where,
                                     bool *out, fmp_err *err);
/* A whole number 0..max. */
FMP_MUST_USE fmp_status tk_want_id(const cJSON *node, uint32_t max, const char *where, uint32_t *out,
                                   fmp_err *err);
/* Base64 with its padding, appended to `out`. */
FMP_MUST_USE fmp_status tk_base64(const char *text, size_t len, const char *where, fmp_buf *out,
                                  fmp_err *err);
const char *tk_kind_name(const cJSON *node);
bool tk_is_null(const cJSON *node);

/* ---- tokenizer_added.c ---- */
/* Longest added token at s[i] that is searched for in this trie, or FMP_TOKEN_NONE; an index into added. */
uint32_t tk_trie_longest(const tk_trie *trie, const char *s, size_t len, size_t i, size_t *end);
/* What was searched for after normalization is in added[].content. */
FMP_MUST_USE fmp_status tk_trie_new(const fmp_tokenizer *tok, bool normalized, tk_trie **out, fmp_err *err);
void tk_trie_free(tk_trie *trie);
/* Which matches become tokens: special ones only if `special`, and all only where `allow`, if any, says so; it is asked
 * with offsets in the whole text, of which `view` is a part. */
typedef struct tk_asked {
    bool special;
    fmp_tok_allow allow;
    void *arg;
    const tk_view *view;
} tk_asked;
/* Cut text into added tokens and the text between them; offsets in `out` are within s. */
void tk_trie_split(const fmp_tokenizer *tok, const tk_trie *trie, const char *s, size_t len,
                   const tk_asked *asked, tk_pieces *out);

/* ---- tokenizer_chars.c: characters of the BERT normalizer and others ---- */
size_t tk_chars_bert_clean(uint32_t c, char *out);
size_t tk_chars_bert_cjk(uint32_t c, char *out);
size_t tk_chars_no_mn(uint32_t c, char *out);
size_t tk_chars_no_marks(uint32_t c, char *out);
size_t tk_chars_nmt(uint32_t c, char *out);
size_t tk_chars_byte_level(uint32_t c, char *out);
size_t tk_chars_base(uint32_t c, char *out);
size_t tk_chars_wpm(uint32_t c, char *out);
/* c was assigned by this version of Unicode. */
bool tk_char_within(uint32_t c, unsigned version);
bool tk_char_is_cjk(uint32_t c);

/* ---- tokenizer_normal.c ---- */
/* All normalizer steps on `in`; the result is in *out (one of a, b, or `in` itself if nothing changed). */
FMP_MUST_USE fmp_status tk_normalize(const fmp_tokenizer *tok, tk_matcher *m, const tk_view *in, tk_text *a,
                                     tk_text *b, tk_view *out, fmp_err *err);

/* ---- tokenizer_normal_quick.c ---- */
/* True: the text is in NFC. False: it may be. */
bool tk_is_nfc(const char *s, size_t n);

/* ---- tokenizer_split.c ---- */
/* All pre-token steps; the words are in scratch->words, ranges of *text, which may have become another text. */
FMP_MUST_USE fmp_status tk_split_all(const fmp_tokenizer *tok, fmp_tok_scratch *scratch, tk_view *text,
                                     fmp_err *err);

/* ---- tokenizer_bpe_index.c ---- */
/* The merge that makes a token. rank UINT32_MAX: none does. */
typedef struct tk_maker {
    uint32_t left, right, rank;
} tk_maker;

/* A text of at most 8 bytes that is a token, or that longer tokens begin with (8 bytes then), or both. */
typedef struct tk_short_slot {
    uint64_t key;      /* the bytes, then zeros                                                        */
    uint32_t token;    /* FMP_TOKEN_NONE: not a token                                                  */
    uint32_t node_len; /* node of the trie for the bytes that follow << 4 | length; node 0: none; 0: free */
} tk_short_slot;

typedef struct tk_trie_slot {
    uint32_t key;   /* node << 8 | byte, UINT32_MAX: free           */
    uint32_t child; /* a node, with TK_NODE_TOKEN and TK_NODE_MORE  */
} tk_trie_slot;
#define TK_NODE_TOKEN UINT32_C(0x80000000) /* a token ends there   */
#define TK_NODE_MORE  UINT32_C(0x40000000) /* longer ones go on    */
#define TK_NODE_ID    UINT32_C(0x00FFFFFF)
#define TK_ODD_BITS   65536u

/*
 * All tokens that merging can give, to find the longest that a text begins with. Tables of this size lie outside the
 * caches, so what counts is how many places are touched, and whether the next one can be fetched before the last arrived:
 * the first 8 bytes are looked up by all their lengths at once, behind a small table of bits that answers "no" for most;
 * only longer tokens go on byte by byte, in a trie kept as one table of edges.
 */
struct tk_index {
    tk_maker *makers;      /* (size of the tokenizer)                      */
    tk_short_slot *shorts; /* (2^(64 - short_shift)), open addressing      */
    uint64_t *short_bits;  /* bit hash >> short_bits_shift                 */
    uint8_t *lengths;      /* (TK_STARTS) see tk_start_of                  */
    uint64_t *pair_bits;   /* the same of pairs that merge; see survives() */
    tk_trie_slot *slots;   /* (slot_mask + 1)                              */
    uint32_t *token_at;    /* (n_nodes) FMP_TOKEN_NONE: no token ends here */
    uint32_t slot_mask, n_nodes;
    unsigned short_shift, short_bits_shift, pair_bits_shift, slot_shift;
    bool cuts_at_mark; /* no token has a U+2581 behind another character: words can be cut before it */
    uint64_t odd[TK_ODD_BITS /
                 64]; /* bit tk_hash >> 48: there is a token of this hash that merging does not give */
};

static inline uint32_t tk_trie_slot_of(const tk_index *x, uint32_t key)
{
    return key * UINT32_C(0x9E3779B1) >> x->slot_shift;
}

static inline uint64_t tk_short_hash(uint64_t key, size_t len)
{
    uint64_t h = (key ^ key >> 32 ^ len << 56) * UINT64_C(0x9E3779B97F4A7C15);
    return (h ^ h >> 29) * UINT64_C(0xC4CEB9FE1A85EC53);
}

#define TK_STARTS 65536u
/* lengths[tk_start_of(k)] bit n - 1: a short text of n > 2 bytes begins with the first three of k, or others like them. */
static inline uint32_t tk_start_of(uint64_t key)
{
    uint32_t three;
    memcpy(&three, &key, 4);
    unsigned char *b = (unsigned char *)&three;
    b[3] = 0;
    return three * UINT32_C(0x9E3779B1) >> 16;
}

/* False: the word is no token, or one that the walk finds. */
static inline bool tk_index_may_be_odd(const tk_index *x, const char *word, size_t len)
{
    uint64_t h = tk_hash(word, len) >> 48;
    return x->odd[h / 64] >> (h % 64) & 1;
}

/* Makes tok->index when merges and tokens are complete; leaves NULL where the vocabulary is not fit or memory is out. */
void tk_index_build(fmp_tokenizer *tok);
void tk_index_free(tk_index *index);
/* Do these two tokens stay apart when their bytes are merged together? */
bool tk_index_pair(const fmp_tokenizer *tok, uint32_t left, uint32_t right);

/* ---- tokenizer_bpe_walk.c ---- */
/*
 * The tokens of a word, into scratch->ids and ends, as merging would give them. *done = false: not this word (a byte
 * without a token); scratch->n is 0 again. Room for len tokens must be there.
 */
FMP_MUST_USE fmp_status tk_walk_word(const fmp_tokenizer *tok, fmp_tok_scratch *scratch, const char *word,
                                     size_t len, bool *done, fmp_err *err);

/* ---- tokenizer_bpe.c ---- */
/* One character without a token: bytes, unk_token or nothing; *fuse: the last one was unk_token, and is now. */
void tk_unknown_char(const fmp_tokenizer *tok, fmp_tok_scratch *scratch, const char *word, size_t begin,
                     size_t end, bool *fuse);
#define TK_CACHE_IDS   3u
#define TK_CACHE_KEY   16u
#define TK_PAIR_SLOTS  32768u
#define TK_CACHE_SETS  16384u
#define TK_CACHE_BYTES (TK_CACHE_SETS * 2 * sizeof(tk_cache_slot))
/* A word of at most 16 bytes and 3 tokens; two slots are a set, and a cache line, the one used last first. */
typedef struct tk_cache_slot {
    uint64_t key[2]; /* the word's bytes, then zeros */
    uint32_t ids[TK_CACHE_IDS];
    uint8_t ends[TK_CACHE_IDS];
    uint8_t size; /* length of the word << 2 | number of tokens; 0: free */
} tk_cache_slot;

typedef struct tk_symbol {
    uint32_t id, end;
    int32_t prev, next;
    bool gone;
} tk_symbol;

typedef struct tk_heap_item {
    uint32_t rank, pos, id;
    uint32_t left, right;
} tk_heap_item;

/* Unigram: the best way to a byte: its last piece begins at `start`; `next`, on the way chosen, is where the next one ends. */
typedef struct tk_path {
    double score;
    uint32_t id, start, next;
} tk_path;

struct fmp_tok_scratch {
    uint64_t serial;
    tk_cache_slot *cache;
    tk_matcher matcher;
    tk_text norm_a, norm_b, split_a, split_b;
    tk_pieces raw, normalized, words, words_next, found;
    /* result of the last merge */
    uint32_t *ids, *ends;
    size_t n, cap;
    size_t dropped; /* bytes without a token, since this text began */
    tk_symbol *symbols;
    size_t symbols_cap;
    tk_heap_item *heap;
    size_t heap_n, heap_cap;
    tk_path *paths;
    size_t paths_cap;
    uint64_t *pairs; /* (TK_PAIR_SLOTS) of recent pairs of tokens, whether they stay apart; see pair_stands */
    uint64_t *dead;  /* (dead_cap) bit k: no sequence of tokens passes through offset k */
    size_t dead_cap;
};

/* Room for n more ids in the scratch's result; one more id, ending at byte `end` of the word. */
FMP_MUST_USE fmp_status tk_result_grow(fmp_tok_scratch *s, size_t n, fmp_err *err);
static inline void tk_result_add(fmp_tok_scratch *s, uint32_t id, size_t end)
{
    s->ids[s->n] = id;
    s->ends[s->n++] = (uint32_t)end;
}
/* A stretch of a word that no piece spells: its bytes' tokens, or the unknown token, or nothing, counted. */
FMP_MUST_USE fmp_status tk_result_unknown(const fmp_tokenizer *tok, fmp_tok_scratch *s, const char *word,
                                          size_t begin, size_t end, fmp_err *err);
/* ---- tokenizer_unigram.c, tokenizer_wordpiece.c: one word to scratch->ids and ends ---- */
FMP_MUST_USE fmp_status tk_unigram_word(const fmp_tokenizer *tok, fmp_tok_scratch *s, const char *word,
                                        size_t len, fmp_err *err);
FMP_MUST_USE fmp_status tk_wordpiece_word(const fmp_tokenizer *tok, fmp_tok_scratch *s, const char *word,
                                          size_t len, fmp_err *err);
FMP_MUST_USE fmp_status tk_wordlevel_word(const fmp_tokenizer *tok, fmp_tok_scratch *s, const char *word,
                                          size_t len, fmp_err *err);

/* Empty the cache if the scratch served another tokenizer before. */
void tk_scratch_for(fmp_tok_scratch *scratch, const fmp_tokenizer *tok);
/*
 * Tokens of one word (len > 0) by merging or walking, no cache: scratch->n ids, and where each ends, counted from the
 * word's start, in scratch->ids and ends until the next call.
 */
FMP_MUST_USE fmp_status tk_bpe_word(const fmp_tokenizer *tok, fmp_tok_scratch *scratch, const char *word,
                                    size_t len, fmp_err *err);

#endif
