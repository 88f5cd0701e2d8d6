/*
 * tokenizer_words.c: a trie of vocabulary pieces, byte by byte, for the models that look for pieces in text.
 *
 * An edge is one slot of an open-addressing table: its key is the node it leaves and its byte. So the trie is built in one
 * pass over any order of pieces, and a step costs one probe; a vocabulary of 250,000 pieces takes about 20 MiB.
 */
#include "tokenizer_impl.h"

#include <stdlib.h>

#define MAX_NODES ((uint32_t)1 << 24)
#define FREE      UINT64_MAX

struct tk_words {
    uint64_t *edges; /* node << 40 | byte << 32 | the node it leads to */
    unsigned shift;
    size_t mask;
    uint32_t *piece; /* (cap) id of the piece that ends in a node */
    uint32_t n, cap;
    uint32_t root[256];
};

static inline uint64_t edge_key(uint32_t node, unsigned char b)
{
    return (uint64_t)node << 8 | b;
}

static size_t slot_of(const tk_words *w, uint64_t key)
{
    return (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> w->shift);
}

static fmp_status table_make(tk_words *w, unsigned bits, fmp_err *err)
{
    size_t slots = (size_t)1 << bits;
    w->edges = malloc(slots * sizeof *w->edges);
    if (!w->edges) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a trie of %zu edges", slots / 2); }
    memset(w->edges, 0xFF, slots * sizeof *w->edges);
    w->mask = slots - 1;
    w->shift = 64 - bits;
    return FMP_OK;
}

static void table_put(tk_words *w, uint64_t edge)
{
    size_t i = slot_of(w, edge >> 32);
    while (w->edges[i] != FREE) {
        i = (i + 1) & w->mask;
    }
    w->edges[i] = edge;
}

/* Twice the slots, once they are half full. */
static fmp_status table_grow(tk_words *w, fmp_err *err)
{
    if ((size_t)w->n * 2 <= w->mask) { return FMP_OK; }
    uint64_t *old = w->edges;
    size_t n_old = w->mask + 1;
    fmp_status status = table_make(w, 64 - w->shift + 1, err);
    if (status != FMP_OK) {
        w->edges = old;
        return status;
    }
    for (size_t i = 0; i < n_old; i++) {
        if (old[i] != FREE) { table_put(w, old[i]); }
    }
    free(old);
    return FMP_OK;
}

static fmp_status node_new(tk_words *w, uint32_t *out, fmp_err *err)
{
    if (w->n == MAX_NODES) {
        return fmp_fail(err, FMP_E_RANGE, "the pieces need more than %u trie nodes", MAX_NODES);
    }
    if (w->n == w->cap) {
        uint32_t cap = w->cap ? w->cap * 2 : 1024;
        uint32_t *piece = realloc(w->piece, cap * sizeof *piece);
        if (!piece) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a trie of %u nodes", cap); }
        w->piece = piece;
        w->cap = cap;
    }
    w->piece[w->n] = FMP_TOKEN_NONE;
    *out = w->n++;
    return FMP_OK;
}

fmp_status tk_words_new(size_t n_bytes, tk_words **out, fmp_err *err)
{
    unsigned bits = 10;
    uint32_t root = 0;
    tk_words *w = calloc(1, sizeof *w);
    if (!w) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a trie"); }
    *out = w;
    /* pieces share most of their bytes: about one node for three */
    while (bits < 24 && ((size_t)1 << bits) < n_bytes / 2) {
        bits++;
    }
    FMP_TRY(table_make(w, bits, err));
    return node_new(w, &root, err);
}

void tk_words_free(tk_words *w)
{
    if (!w) { return; }
    free(w->edges);
    free(w->piece);
    free(w);
}

uint32_t tk_words_step(const tk_words *w, uint32_t node, unsigned char b)
{
    if (node == 0) { return w->root[b]; }
    uint64_t key = edge_key(node, b);
    for (size_t i = slot_of(w, key); w->edges[i] != FREE; i = (i + 1) & w->mask) {
        if (w->edges[i] >> 32 == key) { return (uint32_t)w->edges[i]; }
    }
    return 0;
}

uint32_t tk_words_at(const tk_words *w, uint32_t node)
{
    return w->piece[node];
}

fmp_status tk_words_add(tk_words *w, const char *s, size_t len, uint32_t id, fmp_err *err)
{
    uint32_t node = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char b = (unsigned char)s[i];
        uint32_t next = tk_words_step(w, node, b);
        if (next == 0) {
            FMP_TRY(node_new(w, &next, err));
            FMP_TRY(table_grow(w, err));
            if (node == 0) {
                w->root[b] = next;
            } else {
                table_put(w, edge_key(node, b) << 32 | next);
            }
        }
        node = next;
    }
    w->piece[node] = id;
    return FMP_OK;
}
