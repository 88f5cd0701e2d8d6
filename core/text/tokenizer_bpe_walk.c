/*
 * tokenizer_bpe_walk.c: the tokens of a word without merging: from left to right the longest token that stays
 * apart from the one before it; where none fits, one token back and the next shorter one.
 *
 * Every sequence built this way is what merging makes of the bytes so far, and merging has one result, so an
 * offset is reached by one sequence only: once left behind it is dead, and the work is linear in the word.
 * Read tokenizer_bpe_index.c first; it says why this equals merging and where it is from.
 */
#include "tokenizer_impl.h"

#include <stdlib.h>

#define PAIR_BITS 15u
_Static_assert(TK_PAIR_SLOTS == 1u << PAIR_BITS, "pair_slot gives PAIR_BITS bits");
_Static_assert(TK_MAX_TOKENS <= 1u << 22, "two ids and two bits fit a 64-bit word");

/*
 * Longest token of at most *len bytes, and more than 8, that s begins with; `node` is where the first 8 bytes
 * lead.
 */
static uint32_t longest_beyond(const tk_index *x, uint32_t node, const unsigned char *s, size_t *len)
{
    uint32_t last = 0;
    size_t n = *len;
    for (size_t i = TK_SHORT; i < n; i++) {
        uint32_t key = node << 8 | s[i];
        uint32_t k = tk_trie_slot_of(x, key);
        while (x->slots[k].key != key) {
            if (x->slots[k].key == UINT32_MAX) { return x->token_at[last]; }
            k = (k + 1) & x->slot_mask;
        }
        uint32_t child = x->slots[k].child;
        node = child & TK_NODE_ID;
        if (child & TK_NODE_TOKEN) {
            last = node;
            *len = i + 1;
        }
        if (!(child & TK_NODE_MORE)) { break; }
    }
    return x->token_at[last];
}

static inline const tk_short_slot *short_find(const tk_index *x, uint64_t key, size_t len)
{
    uint64_t h = tk_short_hash(key, len), mask = UINT64_MAX >> x->short_shift;
    if (!tk_bit(x->short_bits, h >> x->short_bits_shift)) { return NULL; }
    for (uint64_t i = h >> x->short_shift; x->shorts[i].node_len != 0; i = (i + 1) & mask) {
        if (x->shorts[i].key == key && (x->shorts[i].node_len & 15) == len) { return &x->shorts[i]; }
    }
    return NULL;
}

/*
 * Longest token of at most *len > 0 bytes that s begins with; *len is its length. FMP_TOKEN_NONE: there is
 * none.
 */
static inline uint32_t longest_token(const tk_index *x, const unsigned char *s, size_t *len)
{
    static const unsigned char mask_bytes[16] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    size_t n = *len < TK_SHORT ? *len : TK_SHORT;
    uint64_t word = 0;
    memcpy(&word, s, n);
    for (unsigned left = x->lengths[tk_start_of(word)] & ((1u << n) - 1); left != 0; left ^= 1u << (n - 1)) {
        uint64_t mask;
        n = 32 - (unsigned)__builtin_clz(left);
        memcpy(&mask, mask_bytes + TK_SHORT - n, sizeof mask);
        const tk_short_slot *slot = short_find(x, word & mask, n);
        if (!slot) { continue; }
        if (n == TK_SHORT && slot->node_len >> 4 != 0) {
            uint32_t token = longest_beyond(x, slot->node_len >> 4, s, len);
            if (token != FMP_TOKEN_NONE) { return token; }
        }
        if (slot->token == FMP_TOKEN_NONE) { continue; }
        *len = n;
        return slot->token;
    }
    return FMP_TOKEN_NONE;
}

/* tk_index_pair through a cache: a slot is left << 24 | right << 2 | 2 | answer; 0: free. */
static inline bool pair_stands(const fmp_tokenizer *tok, fmp_tok_scratch *s, uint32_t left, uint32_t right)
{
    uint64_t key = (uint64_t)left << 24 | (uint64_t)right << 2 | 2;
    uint64_t *slot = &s->pairs[key * UINT64_C(0x9E3779B97F4A7C15) >> (64 - PAIR_BITS)];
    if ((*slot & ~UINT64_C(1)) == key) { return *slot & 1; }
    bool stands = tk_index_pair(tok, left, right);
    *slot = key | stands;
    return stands;
}

/* One bit an offset, all clear. */
static fmp_status dead_init(fmp_tok_scratch *s, size_t len, fmp_err *err)
{
    size_t words = len / 64 + 1;
    if (words > s->dead_cap) {
        uint64_t *dead = realloc(s->dead, words * sizeof *dead);
        if (!dead) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a word of %zu bytes", len); }
        s->dead = dead;
        s->dead_cap = words;
    }
    memset(s->dead, 0, words * sizeof *s->dead);
    return FMP_OK;
}

/* Does a token that ends at `end` go there, behind the last one? */
static inline bool fits(const fmp_tokenizer *tok, fmp_tok_scratch *s, uint32_t token, size_t end, bool first)
{
    return !tk_bit(s->dead, end) && (first || pair_stands(tok, s, s->ids[s->n - 1], token));
}

/*
 * Walk from `start` until the end, or until a character that has no token; returns where. The tokens follow
 * those that are in the result already, none of which is touched. SIZE_MAX: no sequence of tokens gives these
 * bytes.
 */
static size_t walk(const fmp_tokenizer *tok, fmp_tok_scratch *s, const char *word, size_t len, size_t start)
{
    const size_t base = s->n;
    size_t at = start, most = len - start; /* the next token has at most so many bytes */
    while (at < len) {
        size_t n = most;
        uint32_t token = FMP_TOKEN_NONE;
        for (; n > 0; n--) {
            token = longest_token(tok->index, (const unsigned char *)word + at, &n);
            if (token == FMP_TOKEN_NONE || fits(tok, s, token, at + n, s->n == base)) { break; }
            token = FMP_TOKEN_NONE;
        }
        if (token == FMP_TOKEN_NONE && n == len - at) { return at; } /* none begins here at all */
        if (token == FMP_TOKEN_NONE) {
            if (s->n == base) { return SIZE_MAX; }
            s->dead[at / 64] |= UINT64_C(1) << (at % 64);
            s->n--;
            size_t before = s->n > base ? s->ends[s->n - 1] : start;
            most = at - before - 1;
            at = before;
            continue;
        }
        at += n;
        most = len - at;
        s->ids[s->n] = token;
        s->ends[s->n++] = (uint32_t)at;
    }
    return at;
}

fmp_status tk_walk_word(const fmp_tokenizer *tok, fmp_tok_scratch *s, const char *word, size_t len,
                        bool *done, fmp_err *err)
{
    size_t dropped = s->dropped, at = 0;
    bool fuse = false;
    FMP_TRY(dead_init(s, len, err));
    while (at < len) {
        size_t begin = at;
        at = walk(tok, s, word, len, at);
        if (at == SIZE_MAX || (at < len && tok->byte_level)) { break; }
        fuse = fuse && at == begin;
        if (at == len) { break; }
        begin = at;
        (void)tk_utf8_next(word, &at);
        tk_unknown_char(tok, s, word, begin, at, &fuse);
    }
    *done = at == len;
    if (!*done) {
        s->n = 0;
        s->dropped = dropped;
    }
    return FMP_OK;
}
