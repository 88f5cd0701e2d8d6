/*
 * tokenizer_build.c: what the loaders of all kinds of file share: an empty tokenizer, added tokens, merges worked out of a
 * vocabulary, the last steps; and the small results that the models share.
 */
#include "tokenizer_impl.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

fmp_status tk_new(fmp_tokenizer **out, fmp_err *err)
{
    static atomic_uint_fast64_t serials = 1;
    fmp_tokenizer *tok = calloc(1, sizeof *tok);
    if (tok) { tok->arena = fmp_arena_new(0); }
    if (!tok || !tok->arena) {
        free(tok);
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for a tokenizer");
    }
    tok->serial = atomic_fetch_add(&serials, 1);
    tok->bos = tok->eos = tok->pad = tok->unk = tok->unk_model = FMP_TOKEN_NONE;
    tok->word.begin = "";
    *out = tok;
    return FMP_OK;
}

void fmp_tokenizer_free(fmp_tokenizer *tok)
{
    if (!tok) { return; }
    for (uint32_t i = 0; i < tok->n_norm; i++) {
        tk_regex_free(&tok->norm[i].re);
    }
    for (uint32_t i = 0; i < tok->n_split; i++) {
        tk_regex_free(&tok->split[i].re);
    }
    if (tok->trie_keep != tok->trie_normalized) { tk_trie_free(tok->trie_keep); }
    tk_trie_free(tok->trie_raw);
    tk_trie_free(tok->trie_normalized);
    tk_words_free(tok->word.words);
    tk_index_free(tok->index);
    free(tok->rules.v);
    fmp_arena_free(tok->arena);
    free(tok);
}

/* ---- added tokens ---- */
fmp_status tk_added_init(fmp_tokenizer *tok, size_t n, fmp_err *err)
{
    tok->added = fmp_arena_take_zero(tok->arena, n + 1, sizeof *tok->added);
    return fmp_arena_ok(tok->arena, err);
}

void tk_added_put(fmp_tokenizer *tok, uint32_t id, bool special, bool normalized, bool rstrip)
{
    const tk_token *t = &tok->tokens[id];
    tok->special[id] = special;
    if (t->text_len == 0) { return; }
    tok->added[tok->n_added++] = (tk_added){.content = t->text,
                                            .len = t->text_len,
                                            .id = id,
                                            .special = special,
                                            .normalized = normalized,
                                            .rstrip = rstrip};
}

/* ---- bytes ---- */
void tk_fill_bytes(fmp_tokenizer *tok)
{
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        size_t len = tok->byte_level ? tk_utf8_put(tk_char_of_byte(b), text)
                                     : (size_t)snprintf(text, sizeof text, "<0x%02X>", b);
        uint32_t id = tk_find(tok, text, len);
        tok->byte_id[b] =
            id != FMP_TOKEN_NONE && tok->in_model[id] && !tok->special[id] ? id : FMP_TOKEN_NONE;
        tok->char_of_byte[b] = (uint16_t)tk_char_of_byte(b);
    }
}

/* ---- merges out of a vocabulary ---- */
/* Ways to cut tokens in two, some at a time for the sake of tk_find_many. */
typedef struct cuts {
    uint32_t id[TK_MANY];
    tk_key left[TK_MANY];
    size_t n;
} cuts;

static bool takes_part(const uint32_t *rank, uint32_t id)
{
    return id != FMP_TOKEN_NONE && rank[id] != UINT32_MAX;
}

/* The cuts between two tokens that take part are merges. */
static fmp_status flush_cuts(fmp_tokenizer *tok, cuts *c, const uint32_t *rank, fmp_err *err)
{
    uint32_t left[TK_MANY], right[TK_MANY];
    tk_key rest[TK_MANY];
    size_t n = 0;
    tk_find_many(tok, c->left, c->n, left);
    for (size_t k = 0; k < c->n; k++) {
        const tk_token *t = &tok->tokens[c->id[k]];
        if (!takes_part(rank, left[k])) { continue; }
        left[n] = left[k];
        c->id[n] = c->id[k];
        rest[n++] = (tk_key){t->text + c->left[k].len, t->text_len - c->left[k].len};
    }
    tk_find_many(tok, rest, n, right);
    for (size_t k = 0; k < n; k++) {
        uint32_t id = c->id[k];
        if (!takes_part(rank, right[k])) { continue; }
        FMP_TRY(tk_rule_add(tok, &(tk_rule){left[k], right[k], rank[id], id}, err));
    }
    c->n = 0;
    return FMP_OK;
}

/* Every way to spell token `id` as two tokens. */
static fmp_status cut_token(fmp_tokenizer *tok, uint32_t id, cuts *c, const uint32_t *rank, fmp_err *err)
{
    const tk_token *t = &tok->tokens[id];
    size_t at = 0;
    if (t->text_len < 2) { return FMP_OK; }
    (void)tk_utf8_next(t->text, &at);
    while (at < t->text_len) {
        c->id[c->n] = id;
        c->left[c->n++] = (tk_key){t->text, at};
        (void)tk_utf8_next(t->text, &at);
        if (c->n == TK_MANY) { FMP_TRY(flush_cuts(tok, c, rank, err)); }
    }
    return FMP_OK;
}

/* Ids by rank, of equals the lower id first; *n of them take part. On the heap; NULL: out of memory. */
static uint32_t *ids_by_rank(const fmp_tokenizer *tok, const uint32_t *rank, size_t *n)
{
    uint32_t *first = calloc((size_t)tok->size + 1, sizeof *first); /* how many come before a rank */
    uint32_t *ids = malloc(((size_t)tok->size + 1) * sizeof *ids);
    for (uint32_t id = 0; id < tok->size && first; id++) {
        if (rank[id] != UINT32_MAX) { first[rank[id] + 1]++; }
    }
    for (uint32_t r = 0; r < tok->size && first; r++) {
        first[r + 1] += first[r];
    }
    *n = first ? first[tok->size] : 0;
    for (uint32_t id = 0; id < tok->size && first && ids; id++) {
        if (rank[id] != UINT32_MAX) { ids[first[rank[id]]++] = id; }
    }
    if (!first) {
        free(ids);
        return NULL;
    }
    free(first);
    return ids;
}

fmp_status tk_merges_of_ranks(fmp_tokenizer *tok, const uint32_t *rank, fmp_err *err)
{
    size_t n = 0;
    cuts c = {.n = 0};
    uint32_t *ids = ids_by_rank(tok, rank, &n);
    if (!ids) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for %u tokens", tok->size); }
    fmp_status status = FMP_OK;
    for (size_t i = 0; i < n && status == FMP_OK; i++) {
        status = cut_token(tok, ids[i], &c, rank, err);
    }
    free(ids);
    if (status == FMP_OK) { status = flush_cuts(tok, &c, rank, err); }
    return status == FMP_OK ? tk_merges_build(tok, NULL, err) : status;
}

typedef struct scored {
    float score;
    uint32_t id;
} scored;

static int by_score(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    if (x->score != y->score) { return x->score > y->score ? -1 : 1; }
    return x->id < y->id ? -1 : x->id > y->id;
}

fmp_status tk_ranks_of_scores(fmp_tokenizer *tok, const float *score, const uint8_t *takes_part,
                              uint32_t **out, fmp_err *err)
{
    size_t n = 0;
    uint32_t rank = 0;
    scored *all = malloc(((size_t)tok->size + 1) * sizeof *all);
    uint32_t *ranks = fmp_arena_take(tok->arena, ((size_t)tok->size + 1) * sizeof *ranks);
    fmp_status status = fmp_arena_ok(tok->arena, err);
    if (!all || status != FMP_OK) {
        free(all);
        return status != FMP_OK ? status
                                : fmp_fail(err, FMP_E_NOMEM, "out of memory for %u scores", tok->size);
    }
    for (uint32_t id = 0; id < tok->size; id++) {
        ranks[id] = UINT32_MAX;
        if (takes_part[id]) { all[n++] = (scored){score[id], id}; }
    }
    qsort(all, n, sizeof *all, by_score);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && all[i].score != all[i - 1].score) { rank++; }
        ranks[all[i].id] = rank;
    }
    free(all);
    *out = ranks;
    return FMP_OK;
}

/* ---- completing ---- */
fmp_status tk_put_template(fmp_tokenizer *tok, bool want_first, uint32_t first, bool want_last, uint32_t last,
                           fmp_err *err)
{
    tok->prefix = fmp_arena_take(tok->arena, sizeof *tok->prefix);
    tok->suffix = fmp_arena_take(tok->arena, sizeof *tok->suffix);
    FMP_TRY(fmp_arena_ok(tok->arena, err));
    if (want_first && first != FMP_TOKEN_NONE) { tok->prefix[tok->n_prefix++] = first; }
    if (want_last && last != FMP_TOKEN_NONE) { tok->suffix[tok->n_suffix++] = last; }
    return FMP_OK;
}

void tk_decode_meta(fmp_tokenizer *tok, const char *meta)
{
    tok->decode.replace[0].from = meta;
    tok->decode.replace[0].to = " ";
    tok->decode.n_replace = 1;
}

fmp_status tk_complete(fmp_tokenizer *tok, fmp_err *err)
{
    FMP_TRY(tk_trie_new(tok, false, &tok->trie_raw, err));
    FMP_TRY(tk_trie_new(tok, true, &tok->trie_normalized, err));
    FMP_TRY(tk_vocab_bytes(tok, err));
    tok->scan = tk_scan_many(tok->split, tok->n_split);
    if (tok->model == TK_BPE && !tok->inner_prefix && !tok->word_suffix) { tk_index_build(tok); }
    free(tok->rules.v);
    tok->rules = (tk_rules){0};
    return FMP_OK;
}

/* ---- results of the models ---- */
fmp_status tk_result_grow(fmp_tok_scratch *s, size_t n, fmp_err *err)
{
    size_t need = s->n + n;
    if (need <= s->cap) { return FMP_OK; }
    size_t cap = s->cap ? s->cap : 256;
    while (cap < need) {
        cap *= 2;
    }
    uint32_t *ids = realloc(s->ids, cap * sizeof *ids);
    if (ids) { s->ids = ids; }
    uint32_t *ends = realloc(s->ends, cap * sizeof *ends);
    if (ends) { s->ends = ends; }
    if (!ids || !ends) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for %zu tokens", need); }
    s->cap = cap;
    return FMP_OK;
}

fmp_status tk_result_unknown(const fmp_tokenizer *tok, fmp_tok_scratch *s, const char *word, size_t begin,
                             size_t end, fmp_err *err)
{
    bool bytes = tok->byte_fallback;
    for (size_t i = begin; i < end && bytes; i++) {
        bytes = tok->byte_id[(unsigned char)word[i]] != FMP_TOKEN_NONE;
    }
    if (bytes) {
        FMP_TRY(tk_result_grow(s, end - begin, err));
        for (size_t i = begin; i < end; i++) {
            tk_result_add(s, tok->byte_id[(unsigned char)word[i]], i + 1);
        }
        return FMP_OK;
    }
    if (tok->unk_model == FMP_TOKEN_NONE) {
        s->dropped += end - begin;
        return FMP_OK;
    }
    FMP_TRY(tk_result_grow(s, 1, err));
    tk_result_add(s, tok->unk_model, end);
    return FMP_OK;
}
