/*
 * tokenizer_bpe.c: one word to its tokens: repeat "merge the neighbouring pair of lowest rank, the leftmost
 * of equals".
 *
 * Most words never come here (tokenizer_encode.c keeps recent ones), and most that do are walked instead of
 * merged (tokenizer_bpe_walk.c). What is left is merged: short words in arrays searched from end to end at
 * each step, long ones with a heap of candidates.
 */
#include "tokenizer_impl.h"

#include <stdlib.h>

#define SHORT_WORD 64u

fmp_tok_scratch *fmp_tok_scratch_new(void)
{
    fmp_tok_scratch *s = calloc(1, sizeof *s);
    if (!s) { return NULL; }
    s->cache = aligned_alloc(2 * sizeof *s->cache, TK_CACHE_BYTES);
    s->pairs = calloc(TK_PAIR_SLOTS, sizeof *s->pairs);
    if (!s->cache || !s->pairs || tk_matcher_init(&s->matcher, NULL) != FMP_OK) {
        fmp_tok_scratch_free(s);
        return NULL;
    }
    memset(s->cache, 0, TK_CACHE_BYTES);
    return s;
}

void fmp_tok_scratch_free(fmp_tok_scratch *s)
{
    if (!s) { return; }
    tk_text *texts[] = {&s->norm_a, &s->norm_b, &s->split_a, &s->split_b};
    tk_pieces *pieces[] = {&s->raw, &s->normalized, &s->words, &s->words_next, &s->found};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        tk_text_free(texts[i]);
    }
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        free(pieces[i]->v);
    }
    tk_matcher_free(&s->matcher);
    free(s->cache);
    free(s->pairs);
    free(s->dead);
    free(s->ids);
    free(s->ends);
    free(s->symbols);
    free(s->heap);
    free(s->paths);
    free(s);
}

void tk_scratch_for(fmp_tok_scratch *s, const fmp_tokenizer *tok)
{
    if (s->serial == tok->serial) { return; }
    memset(s->cache, 0, TK_CACHE_BYTES);
    memset(s->pairs, 0, TK_PAIR_SLOTS * sizeof *s->pairs);
    s->serial = tok->serial;
}

/* Room for n more ids in the scratch's result. */
static fmp_status result_grow(fmp_tok_scratch *s, size_t n, fmp_err *err)
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

static void result_add(fmp_tok_scratch *s, uint32_t id, size_t end)
{
    s->ids[s->n] = id;
    s->ends[s->n++] = (uint32_t)end;
}

/*
 * The tokens that single bytes start as. Where there is none and no unk_token, the byte is left out, and
 * counted.
 */
static void start_bytes(const fmp_tokenizer *tok, fmp_tok_scratch *s, const char *word, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint32_t id = tok->byte_id[(unsigned char)word[i]];
        bool unknown = id == FMP_TOKEN_NONE;
        if (unknown && tok->unk_model == FMP_TOKEN_NONE) {
            s->dropped++;
            continue;
        }
        if (unknown && tok->fuse_unk && s->n > 0 && s->ids[s->n - 1] == tok->unk_model) {
            s->ends[s->n - 1] = (uint32_t)i + 1;
            continue;
        }
        result_add(s, unknown ? tok->unk_model : id, i + 1);
    }
}

static bool has_fallback(const fmp_tokenizer *tok, const char *word, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        if (tok->byte_id[(unsigned char)word[i]] == FMP_TOKEN_NONE) { return false; }
    }
    return tok->byte_fallback;
}

void tk_unknown_char(const fmp_tokenizer *tok, fmp_tok_scratch *s, const char *word, size_t begin, size_t end,
                     bool *fuse)
{
    if (has_fallback(tok, word, begin, end)) {
        for (size_t k = begin; k < end; k++) {
            result_add(s, tok->byte_id[(unsigned char)word[k]], k + 1);
        }
        *fuse = false;
    } else if (tok->unk_model == FMP_TOKEN_NONE) {
        s->dropped += end - begin;
    } else if (*fuse && tok->fuse_unk) {
        s->ends[s->n - 1] = (uint32_t)end;
    } else {
        result_add(s, tok->unk_model, end);
        *fuse = true;
    }
}

/* The token of a character where the vocabulary marks those inside a word or at its end. */
static uint32_t find_affixed(const fmp_tokenizer *tok, const char *s, size_t len, size_t begin, bool last)
{
    char text[160];
    const char *prefix = begin > 0 && tok->inner_prefix ? tok->inner_prefix : "";
    int n = snprintf(text, sizeof text, "%s%.*s%s", prefix, (int)len, s,
                     last && tok->word_suffix ? tok->word_suffix : "");
    return tk_find(tok, text, (size_t)n);
}

/* The tokens that characters start as, where the vocabulary is not byte-level. */
static void start_chars(const fmp_tokenizer *tok, fmp_tok_scratch *s, const char *word, size_t len)
{
    bool fuse = false;
    for (size_t i = 0; i < len;) {
        size_t begin = i;
        (void)tk_utf8_next(word, &i);
        uint32_t id = tok->inner_prefix || tok->word_suffix
                          ? find_affixed(tok, word + begin, i - begin, begin, i == len)
                          : tk_find(tok, word + begin, i - begin);
        if (id != FMP_TOKEN_NONE && !tok->special[id]) {
            result_add(s, id, i);
            fuse = false;
        } else {
            tk_unknown_char(tok, s, word, begin, i, &fuse);
        }
    }
}

/* Merge in place: ids and ends of the result, n <= SHORT_WORD. */
static void merge_short(const fmp_tokenizer *tok, fmp_tok_scratch *s)
{
    uint32_t rank[SHORT_WORD], made[SHORT_WORD]; /* of the pair that begins at i */
    size_t n = s->n;
    for (size_t i = 0; i + 1 < n; i++) {
        const tk_merge *m = tk_merge_find(tok, s->ids[i], s->ids[i + 1]);
        rank[i] = m ? m->rank : UINT32_MAX;
        made[i] = m ? m->id : 0;
    }
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++) {
            if (rank[i] < rank[best]) { best = i; }
        }
        if (rank[best] == UINT32_MAX) { break; }
        s->ids[best] = made[best];
        s->ends[best] = s->ends[best + 1];
        n--;
        for (size_t i = best + 1; i < n; i++) {
            s->ids[i] = s->ids[i + 1];
            s->ends[i] = s->ends[i + 1];
            rank[i] = rank[i + 1];
            made[i] = made[i + 1];
        }
        for (size_t i = best > 0 ? best - 1 : 0; i <= best && i + 1 < n; i++) {
            const tk_merge *m = tk_merge_find(tok, s->ids[i], s->ids[i + 1]);
            rank[i] = m ? m->rank : UINT32_MAX;
            made[i] = m ? m->id : 0;
        }
    }
    s->n = n;
}

static bool item_less(const tk_heap_item *a, const tk_heap_item *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->pos < b->pos;
}

static void heap_push(fmp_tok_scratch *s, tk_heap_item item)
{
    size_t i = s->heap_n++;
    while (i > 0 && item_less(&item, &s->heap[(i - 1) / 2])) {
        s->heap[i] = s->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->heap[i] = item;
}

static tk_heap_item heap_pop(fmp_tok_scratch *s)
{
    tk_heap_item top = s->heap[0], last = s->heap[--s->heap_n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= s->heap_n) { break; }
        if (child + 1 < s->heap_n && item_less(&s->heap[child + 1], &s->heap[child])) { child++; }
        if (!item_less(&s->heap[child], &last)) { break; }
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return top;
}

static void push_pair(const fmp_tokenizer *tok, fmp_tok_scratch *s, int32_t left)
{
    if (left < 0 || s->symbols[left].next < 0) { return; }
    uint32_t a = s->symbols[left].id, b = s->symbols[s->symbols[left].next].id;
    const tk_merge *m = tk_merge_find(tok, a, b);
    if (m) { heap_push(s, (tk_heap_item){m->rank, (uint32_t)left, m->id, a, b}); }
}

/* Symbols linked both ways, and room for every candidate there can be: one a pair at first, two a merge. */
static fmp_status long_init(fmp_tok_scratch *s, fmp_err *err)
{
    size_t n = s->n;
    if (n > INT32_MAX) { return fmp_fail(err, FMP_E_RANGE, "a word of %zu symbols is too long", n); }
    if (n > s->symbols_cap) {
        tk_symbol *symbols = realloc(s->symbols, n * sizeof *symbols);
        if (symbols) { s->symbols = symbols; }
        tk_heap_item *heap = realloc(s->heap, 3 * n * sizeof *heap);
        if (heap) { s->heap = heap; }
        if (!symbols || !heap) {
            return fmp_fail(err, FMP_E_NOMEM, "out of memory for a word of %zu symbols", n);
        }
        s->symbols_cap = n;
    }
    for (size_t i = 0; i < n; i++) {
        s->symbols[i] =
            (tk_symbol){s->ids[i], s->ends[i], (int32_t)i - 1, i + 1 < n ? (int32_t)i + 1 : -1, false};
    }
    s->heap_n = 0;
    return FMP_OK;
}

static fmp_status merge_long(const fmp_tokenizer *tok, fmp_tok_scratch *s, fmp_err *err)
{
    FMP_TRY(long_init(s, err));
    for (size_t i = 0; i + 1 < s->n; i++) {
        push_pair(tok, s, (int32_t)i);
    }
    while (s->heap_n > 0) {
        tk_heap_item top = heap_pop(s);
        tk_symbol *left = &s->symbols[top.pos];
        if (left->gone || left->next < 0 || left->id != top.left) { continue; }
        tk_symbol *right = &s->symbols[left->next];
        if (right->id != top.right) { continue; }
        left->id = top.id;
        left->end = right->end;
        left->next = right->next;
        right->gone = true;
        if (left->next >= 0) { s->symbols[left->next].prev = (int32_t)top.pos; }
        push_pair(tok, s, left->prev);
        push_pair(tok, s, (int32_t)top.pos);
    }
    s->n = 0;
    for (int32_t i = 0; i >= 0; i = s->symbols[i].next) {
        result_add(s, s->symbols[i].id, s->symbols[i].end);
    }
    return FMP_OK;
}

/* The id of a whole word, for models that try it before merging. */
static uint32_t find_word(const fmp_tokenizer *tok, const char *word, size_t len)
{
    char mapped[512];
    size_t n = 0;
    if (!tok->byte_level) { return tk_find(tok, word, len); }
    if (len > sizeof mapped / 2) { return FMP_TOKEN_NONE; }
    for (size_t i = 0; i < len; i++) {
        n += tk_utf8_put(tok->char_of_byte[(unsigned char)word[i]], mapped + n);
    }
    return tk_find(tok, mapped, n);
}

fmp_status tk_bpe_word(const fmp_tokenizer *tok, fmp_tok_scratch *s, const char *word, size_t len,
                       fmp_err *err)
{
    s->n = 0;
    if (tok->model == TK_UNIGRAM) { return tk_unigram_word(tok, s, word, len, err); }
    if (tok->model == TK_WORDPIECE) { return tk_wordpiece_word(tok, s, word, len, err); }
    if (tok->model == TK_WORDLEVEL) { return tk_wordlevel_word(tok, s, word, len, err); }
    FMP_TRY(result_grow(s, len, err));
    if (tok->ignore_merges && (!tok->index || tk_index_may_be_odd(tok->index, word, len))) {
        uint32_t id = find_word(tok, word, len);
        if (id != FMP_TOKEN_NONE && tok->in_model[id] && !tok->special[id]) {
            result_add(s, id, len);
            return FMP_OK;
        }
    }
    if (tok->index) {
        bool done = false;
        FMP_TRY(tk_walk_word(tok, s, word, len, &done, err));
        if (done) { return FMP_OK; }
    }
    if (tok->byte_level) {
        start_bytes(tok, s, word, len);
    } else {
        start_chars(tok, s, word, len);
    }
    if (s->n > SHORT_WORD) { return merge_long(tok, s, err); }
    merge_short(tok, s);
    return FMP_OK;
}
