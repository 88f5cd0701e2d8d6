/*
 * tokenizer_impl.h: what the tokenizer_*.c files share.
 *
 * Order of work, one file each: tokenizer_load (model, added tokens) and tokenizer_parts (the other parts of the file)
 * fill an fmp_tokenizer; tokenizer_encode runs text through tokenizer_added, tokenizer_normal, tokenizer_split and
 * tokenizer_bpe; tokenizer_decode goes back. Names here begin with tk_ and are not for use outside.
 */
#ifndef FMPIPE_TOKENIZER_IMPL_H
#define FMPIPE_TOKENIZER_IMPL_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmpipe/json.h>
#include <fmpipe/tokenizer.h>
#include <pcre2.h>

#define TK_MAX_TOKENS ((size_t)1 << 22)
#define TK_MAX_ID_GAP 65536u     /* ids may lie this far beyond the number of tokens */
#define TK_MAX_FILE ((size_t)256 << 20)
#define TK_MAX_STEPS 16u         /* steps of one normalizer, pre-tokenizer, post-processor or decoder */
#define TK_MAX_PATTERN 65536u

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
    bool failed;
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
/* End of the word that begins at `at` (< n) in valid UTF-8 s[0..n). */
typedef size_t (*tk_scan_fn)(const char *s, size_t n, size_t at);

typedef struct tk_regex {
    pcre2_code *code;
    tk_scan_fn scan; /* not NULL: matches everywhere, and this finds the same matches faster */
} tk_regex;

/* pattern: Oniguruma syntax as Hugging Face uses it; `where` is the JSON path for messages. */
FMP_MUST_USE fmp_status tk_regex_compile(const char *pattern, bool literal, const char *where, tk_regex *out,
                                         fmp_err *err);
void tk_regex_free(tk_regex *re);
tk_scan_fn tk_scan_find(const char *pattern);
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
    TK_NORM_NFC, TK_NORM_NFD, TK_NORM_NFKC, TK_NORM_NFKD, TK_NORM_LOWERCASE, TK_NORM_STRIP, TK_NORM_PREPEND,
    TK_NORM_REPLACE
} tk_norm_kind;

typedef struct tk_norm {
    tk_norm_kind kind;
    const char *text; /* PREPEND, REPLACE: what is put in */
    size_t text_len;
    tk_regex re;      /* REPLACE */
    bool left, right; /* STRIP */
} tk_norm;

typedef enum tk_behavior {
    TK_ISOLATED, TK_REMOVED, TK_MERGED_PREVIOUS, TK_MERGED_NEXT, TK_CONTIGUOUS
} tk_behavior;

typedef enum tk_split_kind {
    TK_SPLIT_REGEX,
    TK_SPLIT_PREFIX_SPACE, /* a space before a piece that does not begin with one        */
    TK_SPLIT_MAP_BYTES     /* bytes become GPT-2 characters, for the steps that follow it */
} tk_split_kind;

typedef struct tk_split {
    tk_split_kind kind;
    tk_regex re;
    tk_behavior behavior;
    bool invert;
} tk_split;

/* Decoder steps after the byte level: what is done to each token's text when the table of bytes is made. */
typedef struct tk_decode_plan {
    bool byte_level, byte_fallback, fused;
    struct { const char *from, *to; } replace[TK_MAX_STEPS];
    uint32_t n_replace;
    char strip;           /* leave out up to n_strip of this character at the start of the text */
    uint32_t n_strip;
} tk_decode_plan;

/* ---- the tokenizer ---- */
typedef struct tk_token {
    const char *text;  /* as in the file; NULL: no token has this id */
    const char *bytes; /* decoded */
    uint32_t text_len, bytes_len;
} tk_token;

typedef struct tk_added {
    const char *content;   /* as it is searched: normalized where the token says so */
    size_t len;
    uint32_t id;
    bool special, single_word, lstrip, rstrip, normalized;
} tk_added;

/* Merge of two tokens, in an open-addressing table; key = left << 32 | right, UINT64_MAX: free. */
typedef struct tk_merge {
    uint64_t key;
    uint32_t rank, id;
} tk_merge;

typedef struct tk_trie tk_trie;

struct fmp_tokenizer {
    uint64_t serial;      /* tells tokenizers apart in a scratch's cache; never in any output */
    fmp_arena *arena;     /* every string and table below, patterns and tries apart */
    char digest[65];
    tk_token *tokens;     /* (size) */
    uint32_t size;
    uint32_t *by_text;    /* ids by hash of the text, FMP_TOKEN_NONE: free */
    size_t by_text_mask;
    uint8_t *special;     /* (size) 1: an added token marked special */
    uint8_t *in_model;    /* (size) 1: in the model's own vocabulary */
    tk_merge *merges;
    size_t merge_mask;
    unsigned merge_shift;
    bool byte_level, ignore_merges, byte_fallback, fuse_unk;
    uint32_t unk_model;
    uint16_t char_of_byte[256];
    uint32_t byte_id[256];     /* token of a byte (byte level), or of <0xNN> (byte fallback) */
    tk_added *added;
    uint32_t n_added;
    tk_trie *trie_raw, *trie_normalized; /* NULL: no such tokens */
    tk_norm norm[TK_MAX_STEPS];
    uint32_t n_norm;
    tk_split split[TK_MAX_STEPS];
    uint32_t n_split;
    bool maps_bytes;           /* one of the split steps is TK_SPLIT_MAP_BYTES */
    uint32_t *prefix, *suffix; /* what the post-processor adds */
    uint32_t n_prefix, n_suffix;
    tk_decode_plan decode;
    uint32_t bos, eos, pad, unk;
};

/* ---- tokenizer_vocab.c ---- */
/* GPT-2's character for a byte, and back (-1: not one of them). */
uint32_t tk_char_of_byte(unsigned byte);
int tk_byte_of_char(uint32_t c);
uint64_t tk_hash(const char *s, size_t len);
uint32_t tk_find(const fmp_tokenizer *tok, const char *text, size_t len);
/* Make room for ids 0..size-1 and the hash table; then enter tokens one by one. */
FMP_MUST_USE fmp_status tk_vocab_init(fmp_tokenizer *tok, size_t size, fmp_err *err);
FMP_MUST_USE fmp_status tk_vocab_add(fmp_tokenizer *tok, const char *text, uint32_t id, const char *where,
                                     fmp_err *err);
FMP_MUST_USE fmp_status tk_merges_init(fmp_tokenizer *tok, size_t n, fmp_err *err);
/* False if the pair is there already. */
bool tk_merge_add(fmp_tokenizer *tok, uint32_t left, uint32_t right, uint32_t rank, uint32_t id);
static inline const tk_merge *tk_merge_find(const fmp_tokenizer *tok, uint32_t left, uint32_t right)
{
    uint64_t key = (uint64_t)left << 32 | right;
    size_t i = (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> tok->merge_shift);
    while (tok->merges[i].key != key) {
        if (tok->merges[i].key == UINT64_MAX) { return NULL; }
        i = (i + 1) & tok->merge_mask;
    }
    return &tok->merges[i];
}
/* Fill tokens[].bytes from the decoder's plan. */
FMP_MUST_USE fmp_status tk_vocab_bytes(fmp_tokenizer *tok, fmp_err *err);

/* ---- tokenizer_parts.c ---- */
FMP_MUST_USE fmp_status tk_parse_normalizer(fmp_tokenizer *tok, const cJSON *node, fmp_err *err);
FMP_MUST_USE fmp_status tk_parse_pre_tokenizer(fmp_tokenizer *tok, const cJSON *node, fmp_err *err);
FMP_MUST_USE fmp_status tk_parse_decoder(fmp_tokenizer *tok, const cJSON *node, fmp_err *err);
/* ---- tokenizer_post.c: needs the vocabulary ---- */
FMP_MUST_USE fmp_status tk_parse_post(fmp_tokenizer *tok, const cJSON *node, fmp_err *err);
/* Shared by the parsers. */
FMP_MUST_USE fmp_status tk_want_string(const cJSON *object, const char *key, const char *where, const char **out,
                                       fmp_err *err);
FMP_MUST_USE fmp_status tk_want_bool(const cJSON *object, const char *key, bool fallback, const char *where, bool *out,
                                     fmp_err *err);
/* A whole number 0..max. */
FMP_MUST_USE fmp_status tk_want_id(const cJSON *node, uint32_t max, const char *where, uint32_t *out, fmp_err *err);
const char *tk_kind_name(const cJSON *node);
bool tk_is_null(const cJSON *node);

/* ---- tokenizer_added.c ---- */
/* What was searched for after normalization is in added[].content. */
FMP_MUST_USE fmp_status tk_trie_new(const fmp_tokenizer *tok, bool normalized, tk_trie **out, fmp_err *err);
void tk_trie_free(tk_trie *trie);
/* Cut text into added tokens and the text between them; offsets in `out` are within s. */
void tk_trie_split(const fmp_tokenizer *tok, const tk_trie *trie, const char *s, size_t len, bool special,
                   tk_pieces *out);

/* ---- tokenizer_normal.c ---- */
/* All normalizer steps on `in`; the result is in *out (one of a, b, or `in` itself if nothing changed). */
FMP_MUST_USE fmp_status tk_normalize(const fmp_tokenizer *tok, tk_matcher *m, const tk_view *in, tk_text *a, tk_text *b,
                                     tk_view *out, fmp_err *err);

/* ---- tokenizer_split.c ---- */
/* All pre-token steps; the words are in scratch->words, ranges of *text, which may have become another text. */
FMP_MUST_USE fmp_status tk_split_all(const fmp_tokenizer *tok, fmp_tok_scratch *scratch, tk_view *text, fmp_err *err);

/* ---- tokenizer_bpe.c ---- */
#define TK_CACHE_KEY 27u
#define TK_CACHE_IDS 7u
typedef struct tk_cache_slot {
    uint32_t ids[TK_CACHE_IDS];
    uint8_t ends[TK_CACHE_IDS];
    uint8_t n;   /* 0: free */
    uint8_t len;
    char key[TK_CACHE_KEY];
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
};

/* Empty the cache if the scratch served another tokenizer before. */
void tk_scratch_for(fmp_tok_scratch *scratch, const fmp_tokenizer *tok);
/*
 * Tokens of one word (len > 0): (n) ids, and where each ends, counted from the word's start: short_ends, or, where that
 * comes back NULL, scratch->ends. All lie in the scratch until the next call.
 */
FMP_MUST_USE fmp_status tk_bpe_word(const fmp_tokenizer *tok, fmp_tok_scratch *scratch, const char *word, size_t len,
                                    const uint32_t **ids, const uint8_t **short_ends, size_t *n, fmp_err *err);

#endif
