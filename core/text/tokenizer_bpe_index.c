/*
 * tokenizer_bpe_index.c: what tokenizer_bpe_walk.c needs to encode without merging: for each token the merge
 * that makes it, and a trie of all tokens. Read tk_index_pair first.
 *
 * Of all merges that make a token only one can ever fire: the last step of merging the token's own bytes,
 * because a merge fires only where nothing crossed the token's ends before, and there the merging runs as if
 * the token stood alone. Going through the merges by rank finds it, where merges fire in order of rank. A
 * merge that ranks before one of its parts (Llama 3 has some hundred) fires out of order: its token is left
 * out of the trie, but every check of a boundary knows the merge, so a word in which it fires has no sequence
 * of tokens here and is merged pair by pair instead.
 *
 * Source   the encoding is the only sequence of tokens each of which survives with its neighbour: H. van
 *          Antwerpen and A. Neubeck, "So many tokens, so little time" (2024); Berglund and van der Merwe,
 *          "Formalizing BPE Tokenization" (2023), for when order by rank and order in time agree.
 */
#include "tokenizer_impl.h"

#include <stdlib.h>

#define NO_RANK   UINT32_MAX /* of a token that is not made by a merge */
#define MAX_NODES (1u << 24)

/* Merges by rank while the index is built. */
typedef struct rule {
    uint32_t left, right, rank, id;
} rule;

static int by_rank(const void *a, const void *b)
{
    const rule *x = a, *y = b;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

/* All merges in order of rank, on the heap; *n = 0 if they cannot be ordered. NULL: out of memory. */
static rule *rules_by_rank(const fmp_tokenizer *tok, size_t *n)
{
    uint32_t max = 0;
    *n = 0;
    for (size_t i = 0; i <= tok->merge_mask; i++) {
        const tk_merge *m = &tok->merges[i];
        if (m->key == UINT64_MAX) { continue; }
        (*n)++;
        if (m->rank > max) { max = m->rank; }
    }
    if (max == NO_RANK) { *n = 0; }
    bool dense = max < *n * 2 + 1024;
    size_t room = dense ? (size_t)max + 1 : *n;
    rule *all = malloc((room + 1) * sizeof *all);
    if (!all) { return NULL; }
    for (size_t i = 0; i < room && dense; i++) {
        all[i].rank = NO_RANK;
    }
    bool twice = false;
    size_t k = 0;
    for (size_t i = 0; i <= tok->merge_mask; i++) {
        const tk_merge *m = &tok->merges[i];
        if (m->key == UINT64_MAX) { continue; }
        rule *to = dense ? &all[m->rank] : &all[k++];
        twice |= dense && to->rank != NO_RANK;
        *to = (rule){(uint32_t)(m->key >> 32), (uint32_t)m->key, m->rank, m->id};
    }
    if (dense) {
        for (size_t i = 0; i < room; i++) {
            if (all[i].rank != NO_RANK) { all[k++] = all[i]; }
        }
    } else {
        qsort(all, *n, sizeof *all, by_rank);
        for (size_t i = 1; i < *n; i++) {
            twice |= all[i].rank == all[i - 1].rank;
        }
    }
    if (twice) { *n = 0; }
    return all;
}

/* Bit of a pair in pair_bits. */
static inline uint64_t pair_bit(const tk_index *x, uint32_t left, uint32_t right)
{
    return ((uint64_t)left << 32 | right) * UINT64_C(0xD6E8FEB86659FD93) >> x->pair_bits_shift;
}

/*
 * Does the boundary between two tokens survive when their bytes are merged together, looking at merges of
 * rank below `limit`? The last tokens beside it are undone step by step, latest merge first (of equals the
 * right one: it came second); a merge that crosses the boundary must not have been possible while both its
 * sides stood there.
 */
static bool survives(const fmp_tokenizer *tok, const tk_index *x, uint32_t left, uint32_t right,
                     uint32_t limit)
{
    uint32_t a = x->makers[left].rank, b = x->makers[right].rank;
    for (;;) {
        if (tk_bit(x->pair_bits, pair_bit(x, left, right))) {
            const tk_merge *m = tk_merge_find(tok, left, right);
            if (m && m->rank < limit) { return false; }
        }
        if (a != NO_RANK && (b == NO_RANK || a > b)) {
            limit = a;
            left = x->makers[left].right;
            a = x->makers[left].rank;
        } else if (b != NO_RANK) {
            limit = b + 1;
            right = x->makers[right].left;
            b = x->makers[right].rank;
        } else {
            return true;
        }
    }
}

bool tk_index_pair(const fmp_tokenizer *tok, uint32_t left, uint32_t right)
{
    return survives(tok, tok->index, left, right, UINT32_MAX);
}

/* Table of bits for n entries: one of eight to sixteen is set. */
static uint64_t *bits_new(size_t n, unsigned *shift)
{
    unsigned log = 9;
    while (((size_t)1 << log) < n * 8) {
        log++;
    }
    *shift = 64 - log;
    return calloc(((size_t)1 << log) / 64, sizeof(uint64_t));
}

static bool fill_pair_bits(tk_index *x, const rule *rules, size_t n)
{
    x->pair_bits = bits_new(n, &x->pair_bits_shift);
    for (size_t i = 0; i < n && x->pair_bits; i++) {
        uint64_t at = pair_bit(x, rules[i].left, rules[i].right);
        x->pair_bits[at / 64] |= UINT64_C(1) << (at % 64);
    }
    return x->pair_bits != NULL;
}

/* Find the one merge that makes each token. live[id]: a start, or a token whose merge was found. */
static void find_makers(const fmp_tokenizer *tok, tk_index *x, const rule *rules, size_t n, uint8_t *live)
{
    for (size_t i = 0; i < n; i++) {
        const rule *r = &rules[i];
        if (live[r->id] || !live[r->left] || !live[r->right] ||
            !survives(tok, x, r->left, r->right, r->rank)) {
            continue;
        }
        x->makers[r->id] = (tk_maker){r->left, r->right, r->rank};
        live[r->id] = 1;
    }
}

/* The tokens that merging starts from. False where an unknown character's token could itself be merged. */
static bool mark_starts(const fmp_tokenizer *tok, const rule *rules, size_t n, uint8_t *live)
{
    if (tok->byte_level) {
        for (unsigned b = 0; b < 256; b++) {
            if (tok->byte_id[b] != FMP_TOKEN_NONE) { live[tok->byte_id[b]] = 1; }
        }
        return true;
    }
    for (unsigned b = 0; b < 256; b++) {
        if (tok->byte_id[b] != FMP_TOKEN_NONE) { live[tok->byte_id[b]] = 2; }
    }
    if (tok->unk_model != FMP_TOKEN_NONE) { live[tok->unk_model] = 2; }
    for (size_t i = 0; i < n; i++) {
        if (live[rules[i].left] == 2 || live[rules[i].right] == 2 || live[rules[i].id] == 2) { return false; }
    }
    for (uint32_t id = 0; id < tok->size; id++) {
        size_t end = 0;
        live[id] = 0;
        if (!tok->tokens[id].text || tok->tokens[id].text_len == 0 || tok->special[id]) { continue; }
        (void)tk_utf8_next(tok->tokens[id].text, &end);
        live[id] = end == tok->tokens[id].text_len;
    }
    return true;
}

/* ---- the trie ---- */
static bool trie_grow(tk_index *x)
{
    size_t slots = ((size_t)x->slot_mask + 1) * 2;
    tk_trie_slot *old = x->slots, *grown = malloc(slots * sizeof *grown);
    uint32_t *at = realloc(x->token_at, slots * sizeof *at);
    if (at) { x->token_at = at; }
    if (!grown || !at) {
        free(grown);
        return false;
    }
    memset(grown, 0xFF, slots * sizeof *grown);
    x->slots = grown;
    x->slot_shift--;
    size_t n_old = (size_t)x->slot_mask + 1;
    x->slot_mask = (uint32_t)(slots - 1);
    for (size_t i = 0; i < n_old && old; i++) {
        if (old[i].key == UINT32_MAX) { continue; }
        size_t k = tk_trie_slot_of(x, old[i].key);
        while (grown[k].key != UINT32_MAX) {
            k = (k + 1) & x->slot_mask;
        }
        grown[k] = old[i];
    }
    free(old);
    return true;
}

static bool trie_init(tk_index *x, unsigned log)
{
    x->slot_shift = 32 - log;
    x->slot_mask = (UINT32_C(1) << log) - 1;
    x->slots = malloc(((size_t)x->slot_mask + 1) * sizeof *x->slots);
    x->token_at = malloc(((size_t)x->slot_mask + 1) * sizeof *x->token_at);
    if (!x->slots || !x->token_at) { return false; }
    memset(x->slots, 0xFF, ((size_t)x->slot_mask + 1) * sizeof *x->slots);
    x->token_at[0] = FMP_TOKEN_NONE;
    x->n_nodes = 1; /* node 0 stands for "none" */
    return true;
}

/* MAX_NODES: out of memory or of room. The last nodes' keys could look like a free slot. */
static uint32_t new_node(tk_index *x)
{
    if (x->n_nodes + 2 >= MAX_NODES) { return MAX_NODES; }
    if (x->n_nodes * 3 > (size_t)x->slot_mask * 2 && !trie_grow(x)) { return MAX_NODES; }
    x->token_at[x->n_nodes] = FMP_TOKEN_NONE;
    return x->n_nodes++;
}

/* The child of `node` by a byte, made if there is none; MAX_NODES as above. */
static uint32_t trie_child(tk_index *x, uint32_t node, unsigned char byte)
{
    uint32_t key = node << 8 | byte;
    size_t i = tk_trie_slot_of(x, key);
    while (x->slots[i].key != UINT32_MAX) {
        if (x->slots[i].key == key) { return x->slots[i].child; }
        i = (i + 1) & x->slot_mask;
    }
    uint32_t child = new_node(x);
    if (child == MAX_NODES) { return MAX_NODES; }
    for (i = tk_trie_slot_of(x, key); x->slots[i].key != UINT32_MAX;) {
        i = (i + 1) & x->slot_mask;
    } /* it may have grown */
    x->slots[i] = (tk_trie_slot){key, child};
    return child;
}

/* The bytes a token stands for in the text that is merged. NULL if it is not in the alphabet. */
static const char *own_bytes(const fmp_tokenizer *tok, uint32_t id, char *out, size_t *len)
{
    const tk_token *t = &tok->tokens[id];
    size_t n = 0;
    *len = t->text_len;
    if (!tok->byte_level) { return t->text; }
    for (size_t i = 0; i < t->text_len;) {
        int byte = tk_byte_of_char(tk_utf8_next(t->text, &i));
        if (byte < 0) { return NULL; }
        out[n++] = (char)byte;
    }
    *len = n;
    return out;
}

/* The slot of a short text, made if there is none: there is room for all. */
static tk_short_slot *short_slot(tk_index *x, uint64_t key, size_t len)
{
    uint64_t h = tk_short_hash(key, len), mask = UINT64_MAX >> x->short_shift, bit = h >> x->short_bits_shift;
    uint64_t i = h >> x->short_shift;
    while (x->shorts[i].node_len != 0) {
        if (x->shorts[i].key == key && (x->shorts[i].node_len & 15) == len) { return &x->shorts[i]; }
        i = (i + 1) & mask;
    }
    x->short_bits[bit / 64] |= UINT64_C(1) << (bit % 64);
    x->shorts[i] = (tk_short_slot){key, FMP_TOKEN_NONE, (uint32_t)len};
    if (len > 2) { x->lengths[tk_start_of(key)] |= (uint8_t)(1u << (len - 1)); }
    return &x->shorts[i];
}

static bool add_token(const fmp_tokenizer *tok, tk_index *x, uint32_t id, char *scratch)
{
    size_t len = 0;
    uint64_t key = 0;
    const char *bytes = own_bytes(tok, id, scratch, &len);
    if (!bytes) { return false; }
    memcpy(&key, bytes, len < TK_SHORT ? len : TK_SHORT);
    tk_short_slot *slot = short_slot(x, key, len < TK_SHORT ? len : TK_SHORT);
    if (len <= TK_SHORT) {
        slot->token = id;
        return true;
    }
    uint32_t node = slot->node_len >> 4;
    if (node == 0) {
        node = new_node(x);
        if (node == MAX_NODES) { return false; }
        slot->node_len |= node << 4;
    }
    for (size_t i = TK_SHORT; i < len; i++) {
        node = trie_child(x, node, (unsigned char)bytes[i]);
        if (node == MAX_NODES) { return false; }
    }
    x->token_at[node] = id;
    return true;
}

/*
 * Tokens of the model that merging does not give: a model that looks whole words up first can still give
 * them.
 */
static bool fill_odd(const fmp_tokenizer *tok, tk_index *x, const uint8_t *live)
{
    size_t longest = 0, len = 0;
    for (uint32_t id = 0; id < tok->size; id++) {
        if (tok->tokens[id].text_len > longest) { longest = tok->tokens[id].text_len; }
    }
    char *scratch = malloc(longest + 1);
    for (uint32_t id = 0; id < tok->size && scratch; id++) {
        if (live[id] || !tok->in_model[id] || tok->special[id]) { continue; }
        const char *bytes = own_bytes(tok, id, scratch, &len);
        uint64_t h = bytes ? tk_hash(bytes, len) >> 48 : 0;
        if (bytes) { x->odd[h / 64] |= UINT64_C(1) << (h % 64); }
    }
    free(scratch);
    return scratch != NULL;
}

/*
 * Can no merge make a token with U+2581, the mark for a space, behind another character, and is the mark a
 * token?
 */
static bool cuts_at_mark(const fmp_tokenizer *tok, const rule *rules, size_t n, const uint8_t *live)
{
    uint32_t mark = tk_find(tok, TK_MARK, 3);
    if (tok->byte_level || tok->ignore_merges || mark == FMP_TOKEN_NONE || !live[mark]) { return false; }
    for (size_t i = 0; i < n; i++) {
        const char *s = tok->tokens[rules[i].id].text;
        while (strncmp(s, TK_MARK, 3) == 0) {
            s += 3;
        }
        if (strstr(s, TK_MARK)) { return false; }
    }
    return true;
}

/* Tell at each edge what the walk would have to look up at its node. */
static bool mark_nodes(tk_index *x)
{
    uint8_t *more = calloc(x->n_nodes, 1);
    if (!more) { return false; }
    for (size_t i = 0; i <= x->slot_mask; i++) {
        if (x->slots[i].key != UINT32_MAX) { more[x->slots[i].key >> 8] = 1; }
    }
    for (size_t i = 0; i <= x->slot_mask; i++) {
        tk_trie_slot *slot = &x->slots[i];
        if (slot->key == UINT32_MAX) { continue; }
        uint32_t node = slot->child;
        slot->child |=
            (more[node] ? TK_NODE_MORE : 0) | (x->token_at[node] != FMP_TOKEN_NONE ? TK_NODE_TOKEN : 0);
    }
    free(more);
    return true;
}

static bool fill_tokens(const fmp_tokenizer *tok, tk_index *x, const uint8_t *live)
{
    size_t n = 0, longest = 0;
    unsigned log = 4;
    for (uint32_t id = 0; id < tok->size; id++) {
        if (!live[id]) { continue; }
        n++;
        if (tok->tokens[id].text_len > longest) { longest = tok->tokens[id].text_len; }
    }
    while (((size_t)1 << log) < n * 2) {
        log++;
    }
    char *scratch = malloc(longest + 1);
    x->short_shift = 64 - log;
    x->shorts = calloc((size_t)1 << log, sizeof *x->shorts);
    x->short_bits = bits_new(n, &x->short_bits_shift);
    x->lengths = malloc(TK_STARTS);
    if (x->lengths) { memset(x->lengths, 3, TK_STARTS); } /* one and two bytes are always tried */
    bool ok = scratch && x->shorts && x->short_bits && x->lengths && trie_init(x, log);
    for (uint32_t id = 0; id < tok->size && ok; id++) {
        ok = !live[id] || add_token(tok, x, id, scratch);
    }
    free(scratch);
    return ok && mark_nodes(x);
}

void tk_index_free(tk_index *x)
{
    if (!x) { return; }
    free(x->makers);
    free(x->shorts);
    free(x->short_bits);
    free(x->lengths);
    free(x->pair_bits);
    free(x->slots);
    free(x->token_at);
    free(x);
}

static bool fill(const fmp_tokenizer *tok, tk_index *x, const rule *rules, size_t n, uint8_t *live)
{
    x->makers = malloc(tok->size * sizeof *x->makers);
    if (!x->makers || !fill_pair_bits(x, rules, n)) { return false; }
    for (uint32_t id = 0; id < tok->size; id++) {
        x->makers[id] = (tk_maker){FMP_TOKEN_NONE, FMP_TOKEN_NONE, NO_RANK};
    }
    if (!mark_starts(tok, rules, n, live)) { return false; }
    find_makers(tok, x, rules, n, live);
    x->cuts_at_mark = cuts_at_mark(tok, rules, n, live);
    return fill_tokens(tok, x, live) && fill_odd(tok, x, live);
}

void tk_index_build(fmp_tokenizer *tok)
{
    size_t n = 0;
    if (!tok->merges) { return; }
    rule *rules = rules_by_rank(tok, &n);
    tk_index *x = calloc(1, sizeof *x);
    uint8_t *live = calloc(tok->size, 1);
    if (rules && x && live && n > 0 && fill(tok, x, rules, n, live)) {
        tok->index = x;
    } else {
        tk_index_free(x);
    }
    free(rules);
    free(live);
}
