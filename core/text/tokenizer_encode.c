/*
 * tokenizer_encode.c: text to tokens: added tokens out of the raw text, the rest normalized, added tokens out of that,
 * the rest split into words, each word merged. Offsets always count in the caller's bytes.
 */
#include "tokenizer_impl.h"

#include <stdlib.h>

#define TEXT_MAX ((size_t)512 << 20)

void fmp_token_list_free(fmp_token_list *list)
{
    free(list->ids);
    free(list->begin);
    free(list->end);
    *list = (fmp_token_list){ 0 };
}

static fmp_status list_grow(fmp_token_list *list, size_t extra, fmp_err *err)
{
    size_t need = list->n + extra, cap = list->cap ? list->cap : 256;
    if (need <= list->cap) { return FMP_OK; }
    while (cap < need) { cap *= 2; }
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

/* What one call of encode carries along; `at` is where the last token ended. */
typedef struct encoder {
    const fmp_tokenizer *tok;
    fmp_tok_scratch *s;
    fmp_token_list *out;
    uint32_t at;
    bool special;
} encoder;

static inline void emit(encoder *e, uint32_t id, uint32_t end)
{
    fmp_token_list *out = e->out;
    out->ids[out->n] = id;
    out->begin[out->n] = e->at;
    out->end[out->n++] = end;
    e->at = end;
}

static fmp_status encode_word(encoder *e, const tk_view *v, size_t begin, size_t end, fmp_err *err)
{
    const uint32_t *ids = NULL;
    const uint8_t *short_ends = NULL;
    size_t n = 0;
    FMP_TRY(tk_bpe_word(e->tok, e->s, v->s + begin, end - begin, &ids, &short_ends, &n, err));
    FMP_TRY(list_grow(e->out, n, err));
    for (size_t i = 0; i < n; i++) {
        emit(e, ids[i], tk_origin(v, begin + (short_ends ? short_ends[i] : e->s->ends[i])));
    }
    return FMP_OK;
}

/* One pattern, each match a word and each gap a word. */
static fmp_status encode_matches(encoder *e, const tk_split *step, const tk_view *v, fmp_err *err)
{
    if (step->re.scan) {
        for (size_t at = 0; at < v->len;) {
            size_t end = step->re.scan(v->s, v->len, at);
            FMP_TRY(encode_word(e, v, at, end, err));
            at = end;
        }
        return FMP_OK;
    }
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

/* Text without added tokens, normalized. */
static fmp_status encode_text(encoder *e, const tk_view *v, fmp_err *err)
{
    const fmp_tokenizer *tok = e->tok;
    if (v->len == 0) { return FMP_OK; }
    if (tok->n_split == 0) { return encode_word(e, v, 0, v->len, err); }
    const tk_split *only = &tok->split[0];
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
    tk_trie_split(e->tok, e->tok->trie_normalized, v.s, v.len, e->special, pieces);
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
    tk_trie_split(e->tok, e->tok->trie_raw, text->s, text->len, e->special, pieces);
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
    for (uint32_t i = 0; i < n; i++) { emit(e, ids[i], e->at); }
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

fmp_status fmp_tokenizer_encode(const fmp_tokenizer *tok, fmp_tok_scratch *scratch, const char *text, size_t len,
                                unsigned flags, fmp_token_list *out, fmp_err *err)
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
    encoder e = { tok, scratch, out, 0, (flags & FMP_TOK_SPECIAL) != 0 };
    tk_view view = { text, len, NULL, 0 };
    fmp_status status = encode_checked(&e, &view, flags, err);
    if (status == FMP_OK) {
        out->n_dropped += scratch->dropped;
    } else {
        out->n = before;
    }
    return status;
}
