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

/*
 * Are the merges in order of rank? Equal ranks are those of one token: only one of its merges can ever fire, so which of
 * them comes first does not matter.
 */
static bool in_order(const tk_rule *rules, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        if (rules[i].rank < rules[i - 1].rank) { return false; }
        if (rules[i].rank == rules[i - 1].rank && rules[i].id != rules[i - 1].id) { return false; }
    }
    return n > 0 && rules[n - 1].rank != NO_RANK;
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
 * sides stood there. A merge of the two tokens themselves is the caller's business.
 */
typedef struct boundary {
    uint32_t left, right;
    uint32_t a, b; /* ranks of what made them */
    uint32_t limit;
} boundary;

static inline boundary boundary_of(const tk_index *x, uint32_t left, uint32_t right, uint32_t limit)
{
    return (boundary){left, right, x->makers[left].rank, x->makers[right].rank, limit};
}

/* One step back; false: both sides are starts. */
static inline bool undo(const tk_index *x, boundary *at)
{
    if (at->a != NO_RANK && (at->b == NO_RANK || at->a > at->b)) {
        at->limit = at->a;
        at->left = x->makers[at->left].right;
        at->a = x->makers[at->left].rank;
        return true;
    }
    if (at->b == NO_RANK) { return false; }
    at->limit = at->b + 1;
    at->right = x->makers[at->right].left;
    at->b = x->makers[at->right].rank;
    return true;
}

static inline bool survives_below(const fmp_tokenizer *tok, const tk_index *x, uint32_t left, uint32_t right,
                                  uint32_t limit)
{
    boundary at = boundary_of(x, left, right, limit);
    while (undo(x, &at)) {
        if (!tk_bit(x->pair_bits, pair_bit(x, at.left, at.right))) { continue; }
        const tk_merge *m = tk_merge_find(tok, at.left, at.right);
        if (m && m->rank < at.limit) { return false; }
    }
    return true;
}

bool tk_index_pair(const fmp_tokenizer *tok, uint32_t left, uint32_t right)
{
    const tk_index *x = tok->index;
    if (tk_bit(x->pair_bits, pair_bit(x, left, right)) && tk_merge_find(tok, left, right)) { return false; }
    return survives_below(tok, x, left, right, UINT32_MAX);
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

static bool fill_pair_bits(tk_index *x, const tk_rule *rules, size_t n)
{
    x->pair_bits = bits_new(n, &x->pair_bits_shift);
    for (size_t i = 0; i < n && x->pair_bits; i++) {
        uint64_t at = pair_bit(x, rules[i].left, rules[i].right);
        x->pair_bits[at / 64] |= UINT64_C(1) << (at % 64);
    }
    return x->pair_bits != NULL;
}

/* Ask for the memory that survives_below looks at first. */
static void fetch_boundary(const fmp_tokenizer *tok, const tk_index *x, const tk_rule *r)
{
    boundary at = boundary_of(x, r->left, r->right, r->rank);
    if (undo(x, &at) && tk_bit(x->pair_bits, pair_bit(x, at.left, at.right))) {
        tk_merge_fetch(tok, at.left, at.right);
    }
}

/* Find the one merge that makes each token. live[id]: a start, or a token whose merge was found. */
static void find_makers(const fmp_tokenizer *tok, tk_index *x, const tk_rule *rules, size_t n, uint8_t *live)
{
    for (size_t i = 0; i < n; i++) {
        const tk_rule *r = &rules[i];
        if (i + 2 * TK_AHEAD < n) {
            __builtin_prefetch(&x->makers[rules[i + 2 * TK_AHEAD].left]);
            __builtin_prefetch(&x->makers[rules[i + 2 * TK_AHEAD].right]);
            fetch_boundary(tok, x, &rules[i + TK_AHEAD]);
        }
        if (live[r->id] || !live[r->left] || !live[r->right] ||
            !survives_below(tok, x, r->left, r->right, r->rank)) {
            continue;
        }
        x->makers[r->id] = (tk_maker){r->left, r->right, r->rank};
        live[r->id] = 1;
    }
}

/* The tokens that merging starts from. False where an unknown character's token could itself be merged. */
static bool mark_starts(const fmp_tokenizer *tok, const tk_rule *rules, size_t n, uint8_t *live)
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
    if (!tk_unmap(t->text, t->text_len, out, &n)) { return NULL; }
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

/* Ask for the memory that the next tokens' first bytes will lie in. */
static void fetch_tokens(const fmp_tokenizer *tok, const tk_index *x, const uint8_t *live, uint32_t from)
{
    for (uint32_t id = from; id < tok->size && id < from + TK_AHEAD; id++) {
        const tk_token *t = &tok->tokens[id];
        char bytes[4 * TK_SHORT];
        uint64_t key = 0;
        size_t n = t->text_len < 2 * TK_SHORT ? t->text_len : 2 * TK_SHORT;
        if (!live[id]) { continue; }
        while (n < t->text_len && ((unsigned char)t->text[n] & 0xC0) == 0x80) {
            n++; /* whole characters, and at least TK_SHORT of them */
        }
        if (!tok->byte_level) {
            memcpy(bytes, t->text, n);
        } else if (!tk_unmap(t->text, n, bytes, &n)) {
            continue;
        }
        n = n < TK_SHORT ? n : TK_SHORT;
        memcpy(&key, bytes, n);
        uint64_t h = tk_short_hash(key, n);
        __builtin_prefetch(&x->shorts[h >> x->short_shift], 1);
        __builtin_prefetch(&x->short_bits[(h >> x->short_bits_shift) / 64], 1);
    }
}

/* Tokens longer than TK_SHORT on their way into the trie: some at a time, so that what each needs next is on its way. */
typedef struct tails {
    fmp_buf bytes;
    struct {
        size_t at, end; /* in bytes */
        uint32_t id, node;
    } v[TK_AHEAD];
    uint32_t n;
} tails;

static bool add_tails(tk_index *x, tails *t)
{
    for (bool more = t->n > 0; more;) {
        more = false;
        for (uint32_t i = 0; i < t->n; i++) {
            if (t->v[i].at == t->v[i].end) { continue; }
            uint32_t node = trie_child(x, t->v[i].node, (unsigned char)t->bytes.data[t->v[i].at++]);
            if (node == MAX_NODES) { return false; }
            t->v[i].node = node;
            if (t->v[i].at == t->v[i].end) {
                x->token_at[node] = t->v[i].id;
                continue;
            }
            uint32_t key = node << 8 | (unsigned char)t->bytes.data[t->v[i].at];
            __builtin_prefetch(&x->slots[tk_trie_slot_of(x, key)], 1);
            more = true;
        }
    }
    t->n = 0;
    t->bytes.len = 0;
    return true;
}

/* A token's first bytes; the rest of a long one goes to `t`. */
static bool add_token(const fmp_tokenizer *tok, tk_index *x, uint32_t id, char *scratch, tails *t)
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
    t->v[t->n].at = t->bytes.len;
    fmp_buf_add(&t->bytes, bytes + TK_SHORT, len - TK_SHORT);
    t->v[t->n].end = t->bytes.len;
    t->v[t->n].id = id;
    t->v[t->n++].node = node;
    return !t->bytes.failed && (t->n < TK_AHEAD || add_tails(x, t));
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
static bool cuts_at_mark(const fmp_tokenizer *tok, const tk_rule *rules, size_t n, const uint8_t *live)
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
    tails t = {.n = 0};
    for (uint32_t id = 0; id < tok->size && ok; id++) {
        if (id % TK_AHEAD == 0) { fetch_tokens(tok, x, live, id); }
        ok = !live[id] || add_token(tok, x, id, scratch, &t);
    }
    ok = ok && add_tails(x, &t);
    fmp_buf_free(&t.bytes);
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

static bool fill(const fmp_tokenizer *tok, tk_index *x, const tk_rule *rules, size_t n, uint8_t *live)
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
    const tk_rules *all = &tok->rules;
    if (!tok->merges || !in_order(all->v, all->n)) { return; }
    tk_index *x = calloc(1, sizeof *x);
    uint8_t *live = calloc(tok->size, 1);
    if (x && live && fill(tok, x, all->v, all->n, live)) {
        tok->index = x;
    } else {
        tk_index_free(x);
    }
    free(live);
}
