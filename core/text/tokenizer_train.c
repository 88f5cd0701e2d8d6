/*
 * tokenizer_train.c: learning byte-level BPE merges.
 *
 * Texts are cut at special tokens, then into words, and equal words are counted. Each step merges the most frequent
 * pair; only words that hold it are touched. Counts live in a table of pairs; a heap of (count, pair) finds the best
 * one: an entry whose count is out of date is put back with the right one when it comes up.
 * Ties are broken by the bytes of the two tokens, so neither text order nor hash order can show in the result.
 */
#include "tokenizer_impl.h"

#include <fmpipe/fs.h>
#include <stdlib.h>

#define VOCAB_MAX 1000000u
#define WORD_MAX  ((size_t)1 << 20) /* bytes of one word */

typedef struct word {
    uint32_t begin, n; /* ids[begin..begin + n) */
    uint64_t count;
} word;

/* Distinct words: first as bytes, one u32 a byte, later as the tokens they have been merged to. */
typedef struct words {
    word *v;
    size_t n, cap;
    uint32_t *ids;
    size_t n_ids, ids_cap;
    uint32_t *slots; /* word + 1, 0: free */
    size_t mask;
} words;

typedef struct pair {
    uint32_t left, right;
    uint64_t count;
    uint32_t *where; /* words that have held it; may repeat and may be out of date */
    uint32_t n_where, where_cap;
} pair;

typedef struct pairs {
    pair *v;
    size_t n, cap;
    uint32_t *slots; /* pair + 1, 0: free */
    size_t mask;
} pairs;

typedef struct candidate {
    uint64_t count;
    uint32_t pair;
} candidate;

typedef struct piece_bytes {
    const char *s;
    uint32_t len;
} piece_bytes;

typedef struct trainer {
    const fmp_tok_train_options *options;
    fmp_arena *arena; /* bytes of the tokens */
    tk_regex re;
    tk_matcher matcher;
    words words;
    pairs pairs;
    candidate *heap;
    size_t heap_n, heap_cap;
    piece_bytes *tokens; /* (vocab_size) */
    uint32_t n_tokens;
    uint32_t *by_bytes; /* token + 1 by hash of its bytes, 0: free */
    size_t by_bytes_mask;
    uint32_t (*merges)[2];
    size_t n_merges, merges_cap;
    uint32_t *touched; /* pairs whose count grew in this step */
    size_t n_touched, touched_cap;
} trainer;

/* Room for one more element; false when out of memory. */
static bool room(void **v, size_t *cap, size_t n, size_t size)
{
    if (n < *cap) { return true; }
    size_t more = *cap ? *cap * 2 : 64, bytes;
    void *p = fmp_mul_ok(more, size, &bytes) ? realloc(*v, bytes) : NULL;
    if (!p) { return false; }
    *v = p;
    *cap = more;
    return true;
}

static fmp_status no_memory(fmp_err *err)
{
    return fmp_fail(err, FMP_E_NOMEM, "out of memory while training a tokenizer");
}

/* ---- counting words ---- */
static uint64_t word_hash(const words *w, const word *x)
{
    return tk_hash((const char *)(w->ids + x->begin), x->n * sizeof *w->ids);
}

static bool words_rehash(words *w)
{
    size_t slots = w->mask ? (w->mask + 1) * 2 : 1024;
    uint32_t *fresh = calloc(slots, sizeof *fresh);
    if (!fresh) { return false; }
    free(w->slots);
    w->slots = fresh;
    w->mask = slots - 1;
    for (size_t i = 0; i < w->n; i++) {
        size_t k = (size_t)word_hash(w, &w->v[i]) & w->mask;
        while (w->slots[k]) {
            k = (k + 1) & w->mask;
        }
        w->slots[k] = (uint32_t)i + 1;
    }
    return true;
}

static fmp_status count_word(trainer *t, const char *s, size_t len, fmp_err *err)
{
    words *w = &t->words;
    if (len > WORD_MAX || w->n_ids + len > UINT32_MAX) {
        return fmp_fail(err, FMP_E_RANGE, "expected words of at most %zu bytes, %u in all; found %zu",
                        WORD_MAX, UINT32_MAX, len);
    }
    if ((w->n + 1) * 2 > w->mask && !words_rehash(w)) { return no_memory(err); }
    if (!room((void **)&w->v, &w->cap, w->n, sizeof *w->v)) { return no_memory(err); }
    while (w->n_ids + len > w->ids_cap) {
        if (!room((void **)&w->ids, &w->ids_cap, w->ids_cap, sizeof *w->ids)) { return no_memory(err); }
    }
    word fresh = {(uint32_t)w->n_ids, (uint32_t)len, 1};
    for (size_t i = 0; i < len; i++) {
        w->ids[fresh.begin + i] = (unsigned char)s[i];
    }
    size_t k = (size_t)word_hash(w, &fresh) & w->mask;
    for (; w->slots[k]; k = (k + 1) & w->mask) {
        word *known = &w->v[w->slots[k] - 1];
        if (known->n == len &&
            memcmp(w->ids + known->begin, w->ids + fresh.begin, len * sizeof *w->ids) == 0) {
            known->count++;
            return FMP_OK;
        }
    }
    w->slots[k] = (uint32_t)w->n + 1;
    w->v[w->n++] = fresh;
    w->n_ids += len;
    return FMP_OK;
}

/* Words of a text without special tokens. */
static fmp_status count_plain(trainer *t, const char *s, size_t len, fmp_err *err)
{
    size_t done = 0, at = 0;
    while (at < len) {
        bool found = true;
        size_t begin = at, end = at;
        if (t->re.scan) {
            end = t->re.scan(s, len, at);
        } else {
            FMP_TRY(tk_regex_next(&t->re, &t->matcher, s, len, at, &found, &begin, &end, err));
        }
        if (!found) { break; }
        if (begin > done) { FMP_TRY(count_word(t, s + done, begin - done, err)); }
        if (end > begin) { FMP_TRY(count_word(t, s + begin, end - begin, err)); }
        done = end;
        at = end;
        if (end == begin && at < len) { (void)tk_utf8_next(s, &at); }
    }
    return done < len ? count_word(t, s + done, len - done, err) : FMP_OK;
}

/* Length of the longest special token at s[0..len), 0 if none. */
static size_t special_at(const fmp_tok_train_options *o, const char *s, size_t len)
{
    size_t best = 0;
    for (uint32_t i = 0; i < o->n_special; i++) {
        size_t n = strlen(o->special[i]);
        if (n > best && n <= len && memcmp(o->special[i], s, n) == 0) { best = n; }
    }
    return best;
}

static fmp_status count_text(trainer *t, const char *s, size_t len, fmp_err *err)
{
    size_t bad = fmp_utf8_invalid_at(s, len), done = 0;
    if (bad < len) {
        return fmp_fail(err, FMP_E_DATA, "expected UTF-8, found an invalid byte at offset %zu", bad);
    }
    bool first[256] = {false};
    for (uint32_t i = 0; i < t->options->n_special; i++) {
        first[(unsigned char)t->options->special[i][0]] = true;
    }
    for (size_t i = 0; i < len;) {
        size_t n = first[(unsigned char)s[i]] ? special_at(t->options, s + i, len - i) : 0;
        if (n == 0) {
            i++;
            continue;
        }
        FMP_TRY(count_plain(t, s + done, i - done, err));
        i += n;
        done = i;
    }
    return count_plain(t, s + done, len - done, err);
}

/* ---- pairs ---- */
static uint64_t pair_hash(uint32_t left, uint32_t right)
{
    uint64_t h = ((uint64_t)left << 32 | right) * UINT64_C(0x9E3779B97F4A7C15);
    return h ^ h >> 32;
}

static bool pairs_rehash(pairs *p)
{
    size_t slots = p->mask ? (p->mask + 1) * 2 : 4096;
    uint32_t *fresh = calloc(slots, sizeof *fresh);
    if (!fresh) { return false; }
    free(p->slots);
    p->slots = fresh;
    p->mask = slots - 1;
    for (size_t i = 0; i < p->n; i++) {
        size_t k = (size_t)pair_hash(p->v[i].left, p->v[i].right) & p->mask;
        while (p->slots[k]) {
            k = (k + 1) & p->mask;
        }
        p->slots[k] = (uint32_t)i + 1;
    }
    return true;
}

/* The pair's entry, made if need be; NULL when out of memory. */
static pair *pair_get(pairs *p, uint32_t left, uint32_t right)
{
    if ((p->n + 1) * 2 > p->mask && !pairs_rehash(p)) { return NULL; }
    size_t k = (size_t)pair_hash(left, right) & p->mask;
    for (; p->slots[k]; k = (k + 1) & p->mask) {
        pair *known = &p->v[p->slots[k] - 1];
        if (known->left == left && known->right == right) { return known; }
    }
    if (!room((void **)&p->v, &p->cap, p->n, sizeof *p->v)) { return NULL; }
    p->slots[k] = (uint32_t)p->n + 1;
    p->v[p->n] = (pair){.left = left, .right = right};
    return &p->v[p->n++];
}

/* Add a word's pairs to the counts. */
static fmp_status pairs_add(trainer *t, uint32_t at, fmp_err *err)
{
    const word *w = &t->words.v[at];
    const uint32_t *ids = t->words.ids + w->begin;
    for (uint32_t i = 0; i + 1 < w->n; i++) {
        pair *p = pair_get(&t->pairs, ids[i], ids[i + 1]);
        size_t cap = p ? p->where_cap : 0;
        if (!p || !room((void **)&p->where, &cap, p->n_where, sizeof *p->where)) { return no_memory(err); }
        p->where_cap = (uint32_t)cap;
        p->count += w->count;
        if (p->n_where == 0 || p->where[p->n_where - 1] != at) { p->where[p->n_where++] = at; }
        if (!room((void **)&t->touched, &t->touched_cap, t->n_touched, sizeof *t->touched)) {
            return no_memory(err);
        }
        t->touched[t->n_touched++] = (uint32_t)(p - t->pairs.v);
    }
    return FMP_OK;
}

static void pairs_subtract(trainer *t, const word *w)
{
    const uint32_t *ids = t->words.ids + w->begin;
    for (uint32_t i = 0; i + 1 < w->n; i++) {
        pair_get(&t->pairs, ids[i], ids[i + 1])->count -= w->count;
    }
}

static int compare_bytes(const piece_bytes *a, const piece_bytes *b)
{
    int c = memcmp(a->s, b->s, a->len < b->len ? a->len : b->len);
    return c != 0 ? c : (a->len > b->len) - (a->len < b->len);
}

/* a comes out of the heap before b */
static bool before(const trainer *t, const candidate *a, const candidate *b)
{
    if (a->count != b->count) { return a->count > b->count; }
    const pair *x = &t->pairs.v[a->pair], *y = &t->pairs.v[b->pair];
    int c = compare_bytes(&t->tokens[x->left], &t->tokens[y->left]);
    return c != 0 ? c > 0 : compare_bytes(&t->tokens[x->right], &t->tokens[y->right]) > 0;
}

static fmp_status heap_push(trainer *t, candidate c, fmp_err *err)
{
    if (!room((void **)&t->heap, &t->heap_cap, t->heap_n, sizeof *t->heap)) { return no_memory(err); }
    size_t i = t->heap_n++;
    while (i > 0 && before(t, &c, &t->heap[(i - 1) / 2])) {
        t->heap[i] = t->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    t->heap[i] = c;
    return FMP_OK;
}

static candidate heap_pop(trainer *t)
{
    candidate top = t->heap[0], last = t->heap[--t->heap_n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= t->heap_n) { break; }
        if (child + 1 < t->heap_n && before(t, &t->heap[child + 1], &t->heap[child])) { child++; }
        if (!before(t, &t->heap[child], &last)) { break; }
        t->heap[i] = t->heap[child];
        i = child;
    }
    t->heap[i] = last;
    return top;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Each pair that grew becomes a candidate once, with its count as it is now. */
static fmp_status push_touched(trainer *t, fmp_err *err)
{
    if (t->n_touched > 1) { qsort(t->touched, t->n_touched, sizeof *t->touched, by_number); }
    for (size_t i = 0; i < t->n_touched; i++) {
        uint32_t p = t->touched[i];
        if ((i == 0 || t->touched[i - 1] != p) && t->pairs.v[p].count > 0) {
            FMP_TRY(heap_push(t, (candidate){t->pairs.v[p].count, p}, err));
        }
    }
    t->n_touched = 0;
    return FMP_OK;
}

/* ---- merging ---- */
static void merge_in_word(words *all, word *w, uint32_t left, uint32_t right, uint32_t made)
{
    uint32_t *ids = all->ids + w->begin, n = 0;
    for (uint32_t i = 0; i < w->n; n++) {
        bool hit = i + 1 < w->n && ids[i] == left && ids[i + 1] == right;
        ids[n] = hit ? made : ids[i];
        i += hit ? 2 : 1;
    }
    w->n = n;
}

static bool holds(const words *all, const word *w, uint32_t left, uint32_t right)
{
    const uint32_t *ids = all->ids + w->begin;
    for (uint32_t i = 0; i + 1 < w->n; i++) {
        if (ids[i] == left && ids[i + 1] == right) { return true; }
    }
    return false;
}

/* The token with these bytes: two ways of merging can lead to one text, and a text has one id. */
static uint32_t token_get(trainer *t, const char *s, uint32_t len)
{
    size_t k = (size_t)tk_hash(s, len) & t->by_bytes_mask;
    for (; t->by_bytes[k]; k = (k + 1) & t->by_bytes_mask) {
        const piece_bytes *known = &t->tokens[t->by_bytes[k] - 1];
        if (known->len == len && memcmp(known->s, s, len) == 0) { return t->by_bytes[k] - 1; }
    }
    t->by_bytes[k] = t->n_tokens + 1;
    t->tokens[t->n_tokens] = (piece_bytes){s, len};
    return t->n_tokens++;
}

/* The token a pair makes, entered with its merge. */
static fmp_status merge_token(trainer *t, const pair *p, uint32_t *made, fmp_err *err)
{
    const piece_bytes *left = &t->tokens[p->left], *right = &t->tokens[p->right];
    uint32_t len = left->len + right->len;
    char *bytes = fmp_arena_take(t->arena, len);
    FMP_TRY(fmp_arena_ok(t->arena, err));
    memcpy(bytes, left->s, left->len);
    memcpy(bytes + left->len, right->s, right->len);
    if (!room((void **)&t->merges, &t->merges_cap, t->n_merges, sizeof *t->merges)) { return no_memory(err); }
    t->merges[t->n_merges][0] = p->left;
    t->merges[t->n_merges++][1] = p->right;
    *made = token_get(t, bytes, len);
    return FMP_OK;
}

static fmp_status merge_pair(trainer *t, uint32_t index, fmp_err *err)
{
    pair p = t->pairs.v[index];
    uint32_t made = 0;
    FMP_TRY(merge_token(t, &p, &made, err));
    /* The list goes from the table for good: the pair does not come up again. */
    t->pairs.v[index].where = NULL;
    t->pairs.v[index].n_where = t->pairs.v[index].where_cap = 0;
    fmp_status status = FMP_OK;
    for (uint32_t i = 0; i < p.n_where && status == FMP_OK; i++) {
        word *w = &t->words.v[p.where[i]];
        if (!holds(&t->words, w, p.left, p.right)) { continue; }
        pairs_subtract(t, w);
        merge_in_word(&t->words, w, p.left, p.right, made);
        status = pairs_add(t, p.where[i], err);
    }
    free(p.where);
    return status != FMP_OK ? status : push_touched(t, err);
}

static fmp_status learn(trainer *t, fmp_err *err)
{
    uint64_t min = t->options->min_count ? t->options->min_count : 1;
    for (size_t i = 0; i < t->words.n; i++) {
        FMP_TRY(pairs_add(t, (uint32_t)i, err));
    }
    FMP_TRY(push_touched(t, err));
    while (t->heap_n > 0 && t->n_tokens + t->options->n_special < t->options->vocab_size) {
        candidate best = heap_pop(t);
        uint64_t count = t->pairs.v[best.pair].count;
        if (count != best.count) {
            if (count > 0 && count < best.count) {
                FMP_TRY(heap_push(t, (candidate){count, best.pair}, err));
            }
            continue;
        }
        if (count < min) { break; }
        FMP_TRY(merge_pair(t, best.pair, err));
    }
    return FMP_OK;
}

/* ---- the files ---- */
/* A token in GPT-2's alphabet. */
static void spell(const piece_bytes *token, fmp_buf *out)
{
    out->len = 0;
    for (uint32_t i = 0; i < token->len; i++) {
        char utf8[4];
        fmp_buf_add(out, utf8, tk_utf8_put(tk_char_of_byte((unsigned char)token->s[i]), utf8));
    }
}

static void put_json(fmp_buf *out, const char *text)
{
    cJSON *node = cJSON_CreateStringReference(text);
    if (node) {
        fmp_json_print(node, FMP_JSON_COMPACT, out);
    } else {
        out->failed = true;
    }
    cJSON_Delete(node);
}

static void put_added(const fmp_tok_train_options *o, fmp_buf *out)
{
    fmp_buf_puts(out, "  \"added_tokens\": [");
    for (uint32_t i = 0; i < o->n_special; i++) {
        fmp_buf_printf(out, "%s\n    {\"id\": %u, \"content\": ", i ? "," : "", i);
        put_json(out, o->special[i]);
        fmp_buf_puts(out,
                     ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
                     "\"special\": true}");
    }
    fmp_buf_puts(out, "\n  ],\n");
}

static void put_steps(const char *pattern, fmp_buf *out)
{
    static const char byte_level[] = "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                                     "\"trim_offsets\": true, \"use_regex\": false}";
    fmp_buf_puts(
        out, "  \"normalizer\": null,\n  \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [\n"
             "    {\"type\": \"Split\", \"pattern\": {\"Regex\": ");
    put_json(out, pattern);
    fmp_buf_printf(out, "}, \"behavior\": \"Isolated\", \"invert\": false},\n    %s\n  ]},\n", byte_level);
    fmp_buf_printf(out, "  \"post_processor\": %s,\n  \"decoder\": %s,\n", byte_level, byte_level);
}

/* Ids: special tokens, bytes in the order of their characters, merges. order[] lists the bytes so. */
static void byte_order(unsigned char order[256])
{
    size_t n = 0;
    for (uint32_t c = 0; c < 0x144; c++) {
        int byte = tk_byte_of_char(c);
        if (byte >= 0) { order[n++] = (unsigned char)byte; }
    }
}

static void put_model(const trainer *t, fmp_buf *out)
{
    unsigned char order[256];
    fmp_buf word_text = {0}, other = {0};
    uint32_t id = 0;
    byte_order(order);
    fmp_buf_puts(out,
                 "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": null,\n"
                 "    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n"
                 "    \"fuse_unk\": false,\n    \"byte_fallback\": false,\n    \"ignore_merges\": false,\n"
                 "    \"vocab\": {");
    for (uint32_t i = 0; i < t->options->n_special; i++) {
        fmp_buf_puts(out, id ? ",\n      " : "\n      ");
        put_json(out, t->options->special[i]);
        fmp_buf_printf(out, ": %u", id++);
    }
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        spell(&t->tokens[i < 256 ? order[i] : i], &word_text);
        fmp_buf_puts(out, id ? ",\n      " : "\n      ");
        put_json(out, word_text.data ? word_text.data : "");
        fmp_buf_printf(out, ": %u", id++);
    }
    fmp_buf_puts(out, "\n    },\n    \"merges\": [");
    for (size_t i = 0; i < t->n_merges; i++) {
        spell(&t->tokens[t->merges[i][0]], &word_text);
        spell(&t->tokens[t->merges[i][1]], &other);
        fmp_buf_putc(&word_text, ' ');
        fmp_buf_add(&word_text, other.data ? other.data : "", other.len);
        fmp_buf_puts(out, i ? ",\n      " : "\n      ");
        put_json(out, word_text.data ? word_text.data : "");
    }
    fmp_buf_puts(out, "\n    ]\n  }\n}\n");
    out->failed = out->failed || word_text.failed || other.failed;
    fmp_buf_free(&word_text);
    fmp_buf_free(&other);
}

static void put_config(const fmp_tok_train_options *o, fmp_buf *out)
{
    const char *const names[] = {o->bos, o->eos, o->pad};
    static const char *const keys[] = {"bos_token", "eos_token", "pad_token"};
    fmp_buf_puts(out, "{\n  \"added_tokens_decoder\": {");
    for (uint32_t i = 0; i < o->n_special; i++) {
        fmp_buf_printf(out, "%s\n    \"%u\": {\"content\": ", i ? "," : "", i);
        put_json(out, o->special[i]);
        fmp_buf_puts(out,
                     ", \"lstrip\": false, \"normalized\": false, \"rstrip\": false, \"single_word\": false, "
                     "\"special\": true}");
    }
    fmp_buf_puts(out, "\n  },\n");
    for (size_t i = 0; i < 3; i++) {
        if (!names[i]) { continue; }
        fmp_buf_printf(out, "  \"%s\": ", keys[i]);
        put_json(out, names[i]);
        fmp_buf_puts(out, ",\n");
    }
    fmp_buf_puts(out, "  \"clean_up_tokenization_spaces\": false,\n"
                      "  \"tokenizer_class\": \"PreTrainedTokenizerFast\"\n}\n");
}

static fmp_status write_text(const char *dir, const char *name, const fmp_buf *text, fmp_err *err)
{
    FMP_TRY(fmp_buf_ok(text, err));
    char *path = fmp_path_join(dir, name);
    if (!path) { return no_memory(err); }
    fmp_status status = fmp_write_file(path, text->data, text->len, err);
    free(path);
    return status;
}

static fmp_status write_files(const trainer *t, const char *pattern, const char *dir, fmp_err *err)
{
    fmp_buf text = {0};
    fmp_status status = fmp_mkdirs(dir, err);
    fmp_buf_puts(&text, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n");
    put_added(t->options, &text);
    put_steps(pattern, &text);
    put_model(t, &text);
    if (status == FMP_OK) { status = write_text(dir, "tokenizer.json", &text, err); }
    text.len = 0;
    put_config(t->options, &text);
    if (status == FMP_OK) { status = write_text(dir, "tokenizer_config.json", &text, err); }
    fmp_buf_free(&text);
    return status;
}

/* ---- the call ---- */
static bool is_among(const fmp_tok_train_options *o, const char *name)
{
    for (uint32_t i = 0; i < o->n_special; i++) {
        if (strcmp(o->special[i], name) == 0) { return true; }
    }
    return false;
}

static fmp_status check_options(const fmp_tok_train_options *o, fmp_err *err)
{
    const char *const names[] = {o->bos, o->eos, o->pad};
    if (o->vocab_size > VOCAB_MAX || o->n_special > VOCAB_MAX || o->vocab_size < o->n_special + 256) {
        return fmp_fail(err, FMP_E_RANGE,
                        "expected a vocabulary of %u (special tokens and bytes) to %u tokens, found %u",
                        o->n_special + 256, VOCAB_MAX, o->vocab_size);
    }
    for (uint32_t i = 0; i < o->n_special; i++) {
        const char *s = o->special[i];
        size_t len = strlen(s), at = 0;
        bool is_symbol =
            len > 0 && (tk_byte_of_char((unsigned char)s[0]) >= 0 || (unsigned char)s[0] >= 0x80);
        if (len == 0 || fmp_utf8_invalid_at(s, len) < len) {
            return fmp_fail(err, FMP_E_CONFIG, "special token %u: expected UTF-8 text, found \"%s\"", i, s);
        }
        (void)tk_utf8_next(s, &at);
        if (is_symbol && at == len) {
            return fmp_fail(err, FMP_E_CONFIG,
                            "special token %u: expected more than one character, found \"%s\"", i, s);
        }
        fmp_tok_train_options earlier = *o;
        earlier.n_special = i;
        if (is_among(&earlier, s)) {
            return fmp_fail(err, FMP_E_CONFIG, "special token \"%s\" is named twice", s);
        }
    }
    for (size_t i = 0; i < 3; i++) {
        if (names[i] && !is_among(o, names[i])) {
            return fmp_fail(err, FMP_E_CONFIG, "\"%s\" is not among the special tokens", names[i]);
        }
    }
    return FMP_OK;
}

static fmp_status trainer_init(trainer *t, const char *pattern, fmp_err *err)
{
    t->arena = fmp_arena_new(0);
    t->tokens = calloc(t->options->vocab_size, sizeof *t->tokens);
    size_t slots = 1024;
    while (slots < (size_t)t->options->vocab_size * 2) {
        slots *= 2;
    }
    t->by_bytes = calloc(slots, sizeof *t->by_bytes);
    t->by_bytes_mask = slots - 1;
    if (!t->arena || !t->tokens || !t->by_bytes) { return no_memory(err); }
    for (unsigned b = 0; b < 256; b++) {
        char c = (char)b;
        (void)token_get(t, fmp_arena_strndup(t->arena, &c, 1), 1);
    }
    FMP_TRY(fmp_arena_ok(t->arena, err));
    FMP_TRY(tk_matcher_init(&t->matcher, err));
    return tk_regex_compile(pattern, false, "pattern", &t->re, err);
}

static void trainer_clear(trainer *t)
{
    for (size_t i = 0; i < t->pairs.n; i++) {
        free(t->pairs.v[i].where);
    }
    free(t->pairs.v);
    free(t->pairs.slots);
    free(t->words.v);
    free(t->words.ids);
    free(t->words.slots);
    free(t->heap);
    free(t->touched);
    free(t->tokens);
    free(t->by_bytes);
    free(t->merges);
    fmp_arena_free(t->arena);
    tk_matcher_free(&t->matcher);
    tk_regex_free(&t->re);
}

fmp_status fmp_tokenizer_train(const fmp_tok_train_options *options, fmp_tok_text_fn next, void *arg,
                               const char *dir, fmp_err *err)
{
    const char *pattern = options->pattern ? options->pattern : FMP_TOK_PATTERN_FM;
    trainer t = {.options = options};
    FMP_TRY(check_options(options, err));
    fmp_status status = trainer_init(&t, pattern, err);
    while (status == FMP_OK) {
        const char *text = NULL;
        size_t len = 0;
        status = next(arg, &text, &len, err);
        if (status != FMP_OK || !text) { break; }
        status = count_text(&t, text, len, err);
    }
    if (status == FMP_OK) { status = learn(&t, err); }
    if (status == FMP_OK) { status = write_files(&t, pattern, dir, err); }
    trainer_clear(&t);
    return status;
}
