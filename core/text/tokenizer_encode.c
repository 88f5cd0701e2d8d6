/*
 * tokenizer_encode.c: text to tokens: added tokens out of the raw text, the rest normalized, added tokens out
 * of that, the rest split into words, each word merged. Offsets always count in the caller's bytes.
 */
#include "tokenizer_impl.h"

#include <stdlib.h>

#define TEXT_MAX   ((size_t)512 << 20)
#define SCAN_WORDS 64u /* at a time */

_Static_assert(sizeof(tk_cache_slot) == 32, "two slots are a cache line");

void fmp_token_list_free(fmp_token_list *list)
{
    free(list->ids);
    free(list->begin);
    free(list->end);
    *list = (fmp_token_list){0};
}

static fmp_status list_grow_now(fmp_token_list *list, size_t extra, fmp_err *err)
{
    size_t need = list->n + extra, cap = list->cap ? list->cap : 256;
    while (cap < need) {
        cap *= 2;
    }
    uint32_t *ids = realloc(list->ids, cap * sizeof *ids);
    if (ids) { list->ids = ids; }
    uint32_t *begin = realloc(list->begin, cap * sizeof *begin);
    if (begin) { list->begin = begin; }
    uint32_t *end = realloc(list->end, cap * sizeof *end);
    if (end) { list->end = end; }
    if (!ids || !begin || !end) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for %zu tokens", need); }
    list->cap = cap;
    return FMP_OK;
}

static inline fmp_status list_grow(fmp_token_list *list, size_t extra, fmp_err *err)
{
    return list->cap - list->n >= extra ? FMP_OK : list_grow_now(list, extra, err);
}

/* What one call of encode carries along; `at` is where the last token ended. */
typedef struct encoder {
    const fmp_tokenizer *tok;
    fmp_tok_scratch *s;
    fmp_token_list *out;
    uint32_t at;
    bool special;
    fmp_tok_allow allow;
    void *arg;
} encoder;

static inline void emit(encoder *e, uint32_t id, uint32_t end)
{
    fmp_token_list *out = e->out;
    out->ids[out->n] = id;
    out->begin[out->n] = e->at;
    out->end[out->n++] = end;
    e->at = end;
}

/* ---- words ---- */
/* A word of at most 16 bytes as two numbers; `room` bytes can be read from s. */
static inline void load_key(const char *s, size_t len, size_t room, uint64_t key[2])
{
    static const unsigned char mask_bytes[32] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                                 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    uint64_t mask[2];
    if (room < TK_CACHE_KEY) {
        key[0] = key[1] = 0;
        memcpy(key, s, len);
        return;
    }
    memcpy(key, s, TK_CACHE_KEY);
    memcpy(mask, mask_bytes + TK_CACHE_KEY - len, sizeof mask);
    key[0] &= mask[0];
    key[1] &= mask[1];
}

/* The two slots where a word can be. */
static inline tk_cache_slot *cache_set(const fmp_tok_scratch *s, const uint64_t key[2], size_t len)
{
    uint64_t h = (key[0] ^ len) * UINT64_C(0x9E3779B97F4A7C15) + key[1] * UINT64_C(0xC4CEB9FE1A85EC53);
    h = (h ^ h >> 32) * UINT64_C(0xFF51AFD7ED558CCD);
    return &s->cache[(h >> 40) % TK_CACHE_SETS * 2];
}

static inline bool is_cached(const tk_cache_slot *slot, const uint64_t key[2], size_t len)
{
    return slot->key[0] == key[0] && slot->key[1] == key[1] && slot->size >> 2 == len;
}

/* A word that is not in the cache; into `set` if it fits there. */
static fmp_status encode_new_word(encoder *e, const tk_view *v, size_t begin, size_t len, tk_cache_slot *set,
                                  const uint64_t key[2], fmp_err *err)
{
    fmp_tok_scratch *s = e->s;
    size_t dropped = s->dropped;
    FMP_TRY(tk_bpe_word(e->tok, s, v->s + begin, len, err));
    FMP_TRY(list_grow(e->out, s->n, err));
    for (size_t i = 0; i < s->n; i++) {
        emit(e, s->ids[i], tk_origin(v, begin + s->ends[i]));
    }
    if (!set || s->n > TK_CACHE_IDS || s->n == 0 || s->dropped != dropped) { return FMP_OK; }
    set[1] = set[0];
    set[0].key[0] = key[0];
    set[0].key[1] = key[1];
    for (size_t i = 0; i < s->n; i++) {
        set[0].ids[i] = s->ids[i];
        set[0].ends[i] = (uint8_t)s->ends[i];
    }
    set[0].size = (uint8_t)(len << 2 | s->n);
    return FMP_OK;
}

static inline fmp_status encode_word(encoder *e, const tk_view *v, size_t begin, size_t end, fmp_err *err)
{
    uint64_t key[2] = {0, 0};
    size_t len = end - begin;
    if (len > TK_CACHE_KEY) { return encode_new_word(e, v, begin, len, NULL, key, err); }
    load_key(v->s + begin, len, v->len - begin, key);
    tk_cache_slot *set = cache_set(e->s, key, len);
    if (!is_cached(&set[0], key, len)) {
        if (!is_cached(&set[1], key, len)) { return encode_new_word(e, v, begin, len, set, key, err); }
        tk_cache_slot swap = set[0];
        set[0] = set[1];
        set[1] = swap;
    }
    FMP_TRY(list_grow(e->out, TK_CACHE_IDS, err));
    for (size_t i = 0; i < (set[0].size & 3u); i++) {
        emit(e, set[0].ids[i], tk_origin(v, begin + set[0].ends[i]));
    }
    return FMP_OK;
}

/* Words lie end to end: all of a tokenizer's splits in one scanner. */
static fmp_status encode_scanned(encoder *e, const tk_view *v, fmp_err *err)
{
    uint32_t ends[SCAN_WORDS];
    tk_scan_state state = {0, 0};
    size_t n, at = 0;
    while ((n = e->tok->scan(v->s, v->len, &state, ends, SCAN_WORDS)) > 0) {
        for (size_t i = 0; i < n; i++) {
            FMP_TRY(encode_word(e, v, at, ends[i], err));
            at = ends[i];
        }
    }
    return FMP_OK;
}

/* One pattern, each match a word and each gap a word. */
static fmp_status encode_matches(encoder *e, const tk_split *step, const tk_view *v, fmp_err *err)
{
    size_t done = 0, at = 0;
    while (at < v->len) {
        bool found = false;
        size_t begin = 0, end = 0;
        FMP_TRY(tk_regex_next(&step->re, &e->s->matcher, v->s, v->len, at, &found, &begin, &end, err));
        if (!found) { break; }
        if (begin > done) { FMP_TRY(encode_word(e, v, done, begin, err)); }
        if (end > begin) { FMP_TRY(encode_word(e, v, begin, end, err)); }
        done = end;
        at = end;
        if (end == begin && at < v->len) { (void)tk_utf8_next(v->s, &at); }
    }
    return done < v->len ? encode_word(e, v, done, v->len, err) : FMP_OK;
}

/*
 * A text that no split cuts, before each mark that no token has inside: the tokens are the same, the words
 * short.
 */
static fmp_status encode_marked(encoder *e, const tk_view *v, fmp_err *err)
{
    size_t begin = 0;
    bool was_mark = true;
    for (size_t i = 0; i < v->len;) {
        bool is_mark = v->s[i] == TK_MARK[0] && v->len - i >= 3 && memcmp(v->s + i, TK_MARK, 3) == 0;
        if (is_mark && !was_mark) {
            FMP_TRY(encode_word(e, v, begin, i, err));
            begin = i;
        }
        was_mark = is_mark;
        i += is_mark ? 3 : 1;
    }
    return encode_word(e, v, begin, v->len, err);
}

/* Text without added tokens, normalized. */
static fmp_status encode_text(encoder *e, const tk_view *v, fmp_err *err)
{
    const fmp_tokenizer *tok = e->tok;
    if (v->len == 0) { return FMP_OK; }
    if (tok->scan) { return encode_scanned(e, v, err); }
    if (tok->n_split == 0) {
        return tok->index && tok->index->cuts_at_mark ? encode_marked(e, v, err)
                                                      : encode_word(e, v, 0, v->len, err);
    }
    const tk_split *only = &tok->split[0]; /* a pattern that no scanner stands for */
    if (tok->n_split == 1 && only->kind == TK_SPLIT_REGEX && only->behavior == TK_ISOLATED) {
        return encode_matches(e, only, v, err);
    }
    tk_view text = *v;
    FMP_TRY(tk_split_all(tok, e->s, &text, err));
    for (size_t i = 0; i < e->s->words.n; i++) {
        const tk_piece *p = &e->s->words.v[i];
        if (p->end > p->begin) { FMP_TRY(encode_word(e, &text, p->begin, p->end, err)); }
    }
    return FMP_OK;
}

/* Text without raw added tokens, not yet normalized. */
static fmp_status encode_raw(encoder *e, const tk_view *raw, fmp_err *err)
{
    tk_view v = *raw;
    if (e->tok->n_norm > 0) {
        FMP_TRY(tk_normalize(e->tok, &e->s->matcher, raw, &e->s->norm_a, &e->s->norm_b, &v, err));
    }
    if (!e->tok->trie_normalized) { return encode_text(e, &v, err); }
    tk_pieces *pieces = &e->s->normalized;
    const tk_asked asked = {e->special, e->allow, e->arg, &v};
    tk_trie_split(e->tok, e->tok->trie_normalized, v.s, v.len, &asked, pieces);
    if (pieces->failed) { return fmp_fail(err, FMP_E_NOMEM, "out of memory while looking for added tokens"); }
    for (size_t i = 0; i < pieces->n; i++) {
        tk_view part = tk_view_cut(&v, pieces->v[i].begin, pieces->v[i].end);
        if (pieces->v[i].id == FMP_TOKEN_NONE) {
            FMP_TRY(encode_text(e, &part, err));
        } else {
            FMP_TRY(list_grow(e->out, 1, err));
            emit(e, pieces->v[i].id, tk_origin(&part, part.len));
        }
    }
    return FMP_OK;
}

static fmp_status encode_all(encoder *e, const tk_view *text, fmp_err *err)
{
    if (!e->tok->trie_raw) { return encode_raw(e, text, err); }
    tk_pieces *pieces = &e->s->raw;
    const tk_asked asked = {e->special, e->allow, e->arg, text};
    tk_trie_split(e->tok, e->tok->trie_raw, text->s, text->len, &asked, pieces);
    if (pieces->failed) { return fmp_fail(err, FMP_E_NOMEM, "out of memory while looking for added tokens"); }
    for (size_t i = 0; i < pieces->n; i++) {
        tk_view part = tk_view_cut(text, pieces->v[i].begin, pieces->v[i].end);
        if (pieces->v[i].id == FMP_TOKEN_NONE) {
            FMP_TRY(encode_raw(e, &part, err));
        } else {
            FMP_TRY(list_grow(e->out, 1, err));
            emit(e, pieces->v[i].id, tk_origin(&part, part.len));
        }
    }
    return FMP_OK;
}

static fmp_status emit_all(encoder *e, const uint32_t *ids, uint32_t n, fmp_err *err)
{
    FMP_TRY(list_grow(e->out, n, err));
    for (uint32_t i = 0; i < n; i++) {
        emit(e, ids[i], e->at);
    }
    return FMP_OK;
}

static fmp_status encode_checked(encoder *e, const tk_view *text, unsigned flags, fmp_err *err)
{
    if (flags & FMP_TOK_TEMPLATE) { FMP_TRY(emit_all(e, e->tok->prefix, e->tok->n_prefix, err)); }
    if (text->len > 0) { FMP_TRY(encode_all(e, text, err)); }
    return flags & FMP_TOK_TEMPLATE ? emit_all(e, e->tok->suffix, e->tok->n_suffix, err) : FMP_OK;
}

/* A failed buffer must not stay failed for the next text. */
static void forget_failures(fmp_tok_scratch *s)
{
    s->norm_a.failed = s->norm_b.failed = s->split_a.failed = s->split_b.failed = false;
    s->raw.failed = s->normalized.failed = s->words.failed = s->words_next.failed = s->found.failed = false;
}

fmp_status fmp_tokenizer_encode(const fmp_tokenizer *tok, fmp_tok_scratch *scratch, const char *text,
                                size_t len, unsigned flags, fmp_token_list *out, fmp_err *err)
{
    return fmp_tokenizer_encode_where(tok, scratch, text, len, flags, NULL, NULL, out, err);
}

fmp_status fmp_tokenizer_encode_where(const fmp_tokenizer *tok, fmp_tok_scratch *scratch, const char *text,
                                      size_t len, unsigned flags, fmp_tok_allow allow, void *arg,
                                      fmp_token_list *out, fmp_err *err)
{
    if (len > TEXT_MAX) {
        return fmp_fail(err, FMP_E_RANGE, "expected a text of at most %zu bytes, found %zu", TEXT_MAX, len);
    }
    size_t bad = fmp_utf8_invalid_at(text, len);
    if (bad < len) {
        fmp_status status = fmp_fail(err, FMP_E_DATA, "expected UTF-8, found byte 0x%02X at offset %zu",
                                     (unsigned char)text[bad], bad);
        fmp_err_at(err, NULL, 0, 0, bad);
        return status;
    }
    size_t before = out->n;
    tk_scratch_for(scratch, tok);
    forget_failures(scratch);
    scratch->dropped = 0;
    encoder e = {tok, scratch, out, 0, (flags & FMP_TOK_SPECIAL) != 0, allow, arg};
    tk_view view = {text, len, NULL, 0};
    fmp_status status = encode_checked(&e, &view, flags, err);
    if (status == FMP_OK) {
        out->n_dropped += scratch->dropped;
    } else {
        out->n = before;
    }
    return status;
}
