/*
 * tokenizer_added.c: finding added tokens in text: leftmost, then longest, as the Hugging Face library does.
 *
 * A byte trie with one row of 256 entries would be large for long tokens, so a node keeps its children as a sorted
 * run of (byte, node); most text never gets past the table of first bytes.
 */
#include "tokenizer_impl.h"

#include <stdlib.h>

typedef struct node {
    uint32_t first, n_children; /* children[first..first + n_children) */
    uint32_t token;             /* index into added, FMP_TOKEN_NONE */
} node;

struct tk_trie {
    uint32_t root[256]; /* node + 1, 0: no token begins so */
    node *nodes;
    uint8_t *bytes; /* of the children */
    uint32_t *targets;
    size_t n_nodes, n_children;
};

typedef struct entry {
    const char *s;
    size_t len;
    uint32_t token;
} entry;

static int by_bytes(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int c = memcmp(x->s, y->s, n);
    if (c != 0) { return c; }
    if (x->len != y->len) { return x->len < y->len ? -1 : 1; }
    return x->token < y->token ? -1 : x->token > y->token;
}

/* A node still to be filled: from the sorted entries [from, to), which agree in their first `depth` bytes. */
typedef struct work {
    size_t from, to, depth;
    uint32_t node;
} work;

static void add_children(tk_trie *t, const entry *e, const work *w, work *queue, size_t *queue_n)
{
    node *self = &t->nodes[w->node];
    size_t i = w->from;
    self->token = FMP_TOKEN_NONE;
    for (; i < w->to && e[i].len == w->depth; i++) {
        if (self->token == FMP_TOKEN_NONE) {
            self->token = e[i].token;
        } /* normalization can make two equal */
    }
    self->first = (uint32_t)t->n_children;
    self->n_children = 0;
    while (i < w->to) {
        size_t j = i;
        while (j < w->to && e[j].s[w->depth] == e[i].s[w->depth]) {
            j++;
        }
        uint32_t child = (uint32_t)t->n_nodes++;
        t->bytes[t->n_children] = (uint8_t)e[i].s[w->depth];
        t->targets[t->n_children++] = child;
        self->n_children++;
        queue[(*queue_n)++] = (work){i, j, w->depth + 1, child};
        i = j;
    }
}

/* Rows of the trie for n entries with `total` bytes: at most one node a byte, and the root. */
static fmp_status build(tk_trie *t, const entry *e, size_t n, size_t total, fmp_err *err)
{
    work *queue = malloc((total + 1) * sizeof *queue);
    t->nodes = malloc((total + 1) * sizeof *t->nodes);
    t->bytes = malloc(total + 1);
    t->targets = malloc((total + 1) * sizeof *t->targets);
    if (!queue || !t->nodes || !t->bytes || !t->targets) {
        free(queue);
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for %zu added tokens", n);
    }
    size_t queue_n = 1;
    queue[0] = (work){0, n, 0, 0};
    t->n_nodes = 1;
    for (size_t i = 0; i < queue_n; i++) {
        work w = queue[i];
        add_children(t, e, &w, queue, &queue_n);
    }
    for (uint32_t k = 0; k < t->nodes[0].n_children; k++) {
        t->root[t->bytes[k]] = t->targets[k] + 1;
    }
    free(queue);
    return FMP_OK;
}

fmp_status tk_trie_new(const fmp_tokenizer *tok, bool normalized, tk_trie **out, fmp_err *err)
{
    size_t n = 0, total = 0;
    for (uint32_t i = 0; i < tok->n_added; i++) {
        if (tok->added[i].normalized == normalized && tok->added[i].len > 0) {
            n++;
            total += tok->added[i].len;
        }
    }
    *out = NULL;
    if (n == 0) { return FMP_OK; }
    entry *e = malloc(n * sizeof *e);
    tk_trie *t = calloc(1, sizeof *t);
    if (!e || !t) {
        free(e);
        free(t);
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for %zu added tokens", n);
    }
    n = 0;
    for (uint32_t i = 0; i < tok->n_added; i++) {
        const tk_added *a = &tok->added[i];
        if (a->normalized == normalized && a->len > 0) { e[n++] = (entry){a->content, a->len, i}; }
    }
    qsort(e, n, sizeof *e, by_bytes);
    fmp_status status = build(t, e, n, total, err);
    free(e);
    *out = t;
    return status;
}

void tk_trie_free(tk_trie *t)
{
    if (!t) { return; }
    free(t->nodes);
    free(t->bytes);
    free(t->targets);
    free(t);
}

/* Longest token at s[i], as index into added; *end is where it ends. */
static uint32_t longest_at(const tk_trie *t, const char *s, size_t len, size_t i, size_t *end)
{
    uint32_t found = FMP_TOKEN_NONE, at = t->root[(unsigned char)s[i]];
    if (at == 0) { return found; }
    const node *self = &t->nodes[at - 1];
    for (size_t k = i + 1;; k++) {
        if (self->token != FMP_TOKEN_NONE) {
            found = self->token;
            *end = k;
        }
        if (k == len) { return found; }
        const node *next = NULL;
        for (uint32_t c = self->first; c < self->first + self->n_children; c++) {
            if (t->bytes[c] >= (uint8_t)s[k]) {
                next = t->bytes[c] == (uint8_t)s[k] ? &t->nodes[t->targets[c]] : NULL;
                break;
            }
        }
        if (!next) { return found; }
        self = next;
    }
}

uint32_t tk_trie_longest(const tk_trie *trie, const char *s, size_t len, size_t i, size_t *end)
{
    return longest_at(trie, s, len, i, end);
}

void tk_piece_add(tk_pieces *p, size_t begin, size_t end, uint32_t id)
{
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 64;
        tk_piece *v = p->failed ? NULL : realloc(p->v, cap * sizeof *v);
        if (!v) {
            p->failed = true;
            return;
        }
        p->v = v;
        p->cap = cap;
    }
    p->v[p->n++] = (tk_piece){(uint32_t)begin, (uint32_t)end, id};
}

static bool is_space(const char *s, size_t i)
{
    uint32_t c = tk_utf8_next(s, &i);
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
           c == 0x3000;
}

static size_t char_before(const char *s, size_t i)
{
    do {
        i--;
    } while (i > 0 && ((unsigned char)s[i] & 0xC0) == 0x80);
    return i;
}

static bool stands_alone(const char *s, size_t len, size_t begin, size_t end)
{
    return (begin == 0 || !tk_is_word(s, char_before(s, begin))) && (end == len || !tk_is_word(s, end));
}

void tk_trie_split(const fmp_tokenizer *tok, const tk_trie *trie, const char *s, size_t len,
                   const tk_asked *asked, tk_pieces *out)
{
    size_t done = 0;
    out->n = 0;
    for (size_t i = 0; i < len;) {
        size_t begin = i, end = i;
        uint32_t k = longest_at(trie, s, len, i, &end);
        if (k == FMP_TOKEN_NONE) {
            i++;
            continue;
        }
        const tk_added *a = &tok->added[k];
        i = end;
        if (a->special && !asked->special) { continue; }
        if (a->single_word && !stands_alone(s, len, begin, end)) { continue; }
        if (asked->allow &&
            !asked->allow(asked->arg, a->id, tk_origin(asked->view, begin), tk_origin(asked->view, end))) {
            i = begin + 1; /* another may begin inside it */
            continue;
        }
        while (a->lstrip && begin > done && is_space(s, char_before(s, begin))) {
            begin = char_before(s, begin);
        }
        while (a->rstrip && end < len && is_space(s, end)) {
            size_t next = end;
            (void)tk_utf8_next(s, &next);
            end = next;
        }
        if (done < begin) { tk_piece_add(out, done, begin, FMP_TOKEN_NONE); }
        tk_piece_add(out, begin, end, a->id);
        done = end;
    }
    if (done < len) { tk_piece_add(out, done, len, FMP_TOKEN_NONE); }
}
