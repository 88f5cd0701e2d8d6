/*
 * tokenizer_spm.c: a SentencePiece .model (a protobuf message) to an fmp_tokenizer. Start reading at tk_read_spm().
 *
 * Only the wire format of protobuf is read, with fields picked by number; every length is checked against the bytes left.
 * BPE pieces have scores instead of merges: the merges are worked out, so no second encoder is needed. Control pieces are
 * special tokens; user-defined pieces are found whole wherever they stand, and the normalizer leaves them alone.
 * Source   sentencepiece_model.proto, sentencepiece 0.2.
 */
#include "tokenizer_impl.h"

#include <math.h>
#include <stdlib.h>

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 };
enum { UNIGRAM = 1, BPE = 2, WORD = 3, CHAR = 4 };

#define META "\xE2\x96\x81"
/* SentencePiece 0.2.3 takes the best score to be at least this when it makes a user-defined piece win. */
#define LEAST_BEST 0.1f

/* A message or a part of one. */
typedef struct wire {
    const unsigned char *p, *end;
    const unsigned char *start; /* of the file, for positions */
} wire;

/* One field: varint and fixed values in `value`, length-delimited ones in `body`. */
typedef struct field {
    uint32_t number;
    unsigned type;
    uint64_t value;
    wire body;
} field;

static fmp_status broken(const wire *w, const char *what, fmp_err *err)
{
    fmp_status status =
        fmp_fail(err, FMP_E_DATA, "SentencePiece model: %s at byte %zu", what, (size_t)(w->p - w->start));
    (void)fmp_err_at(err, NULL, 0, 0, (uint64_t)(w->p - w->start));
    return status;
}

static fmp_status read_varint(wire *w, uint64_t *out, fmp_err *err)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (w->p == w->end) { return broken(w, "a number goes beyond the end", err); }
        unsigned char b = *w->p++;
        value |= (uint64_t)(b & 0x7F) << shift;
        if (!(b & 0x80)) {
            *out = value;
            return FMP_OK;
        }
    }
    return broken(w, "a number has more than 10 bytes", err);
}

static fmp_status read_fixed(wire *w, size_t n, uint64_t *out, fmp_err *err)
{
    if ((size_t)(w->end - w->p) < n) { return broken(w, "a fixed value goes beyond the end", err); }
    *out = 0;
    for (size_t i = 0; i < n; i++) {
        *out |= (uint64_t)w->p[i] << (8 * i);
    }
    w->p += n;
    return FMP_OK;
}

/* The next field; *more is false at the end of the message. */
static fmp_status read_field(wire *w, field *out, bool *more, fmp_err *err)
{
    uint64_t key = 0, len = 0;
    *more = w->p < w->end;
    if (!*more) { return FMP_OK; }
    FMP_TRY(read_varint(w, &key, err));
    *out = (field){.number = (uint32_t)(key >> 3), .type = (unsigned)(key & 7)};
    if (key >> 3 == 0 || key >> 3 > 0x1FFFFFFF) { return broken(w, "a field has no valid number", err); }
    switch (out->type) {
    case 0: return read_varint(w, &out->value, err);
    case 1: return read_fixed(w, 8, &out->value, err);
    case 5: return read_fixed(w, 4, &out->value, err);
    case 2:
        FMP_TRY(read_varint(w, &len, err));
        if (len > (uint64_t)(w->end - w->p)) { return broken(w, "a field goes beyond the end", err); }
        out->body = (wire){w->p, w->p + len, w->start};
        w->p += len;
        return FMP_OK;
    default: return broken(w, "a field has an unknown wire type", err);
    }
}

static float as_float(uint64_t bits)
{
    uint32_t low = (uint32_t)bits;
    float value;
    memcpy(&value, &low, sizeof value);
    return value;
}

/* What is read of the message. */
typedef struct spm {
    wire *pieces; /* (n_pieces) */
    size_t n_pieces, cap;
    uint32_t model_type;
    bool byte_fallback, has_denormalizer;
    tk_spm_rules rules;
    wire charsmap, bos, eos, pad, unk_text;
} spm;

static fmp_status read_trainer(spm *m, wire w, fmp_err *err)
{
    field f;
    for (bool more;;) {
        FMP_TRY(read_field(&w, &f, &more, err));
        if (!more) { return FMP_OK; }
        if (f.number == 3 && f.type == 0) { m->model_type = (uint32_t)f.value; }
        if (f.number == 24 && f.type == 0) { m->rules.space_is_suffix = f.value != 0; }
        if (f.number == 35 && f.type == 0) { m->byte_fallback = f.value != 0; }
        if (f.type != 2) { continue; }
        if (f.number == 44) { m->unk_text = f.body; }
        if (f.number == 46) { m->bos = f.body; }
        if (f.number == 47) { m->eos = f.body; }
        if (f.number == 48) { m->pad = f.body; }
    }
}

static fmp_status read_normalizer(spm *m, wire w, fmp_err *err)
{
    field f;
    for (bool more;;) {
        FMP_TRY(read_field(&w, &f, &more, err));
        if (!more) { return FMP_OK; }
        if (f.number == 2 && f.type == 2) { m->charsmap = f.body; }
        if (f.number == 3 && f.type == 0) { m->rules.dummy_prefix = f.value != 0; }
        if (f.number == 4 && f.type == 0) { m->rules.remove_extra_spaces = f.value != 0; }
        if (f.number == 5 && f.type == 0) { m->rules.escape_spaces = f.value != 0; }
    }
}

static fmp_status read_denormalizer(spm *m, wire w, fmp_err *err)
{
    field f;
    for (bool more;;) {
        FMP_TRY(read_field(&w, &f, &more, err));
        if (!more) { return FMP_OK; }
        if (f.number == 2 && f.type == 2 && f.body.p < f.body.end) { m->has_denormalizer = true; }
    }
}

static fmp_status add_piece(spm *m, const wire *body, fmp_err *err)
{
    if (m->n_pieces == TK_MAX_TOKENS) {
        return fmp_fail(err, FMP_E_RANGE, "SentencePiece model: more than %zu pieces", TK_MAX_TOKENS);
    }
    if (m->n_pieces == m->cap) {
        size_t cap = m->cap ? m->cap * 2 : 4096;
        wire *pieces = realloc(m->pieces, cap * sizeof *pieces);
        if (!pieces) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for %zu pieces", cap); }
        m->pieces = pieces;
        m->cap = cap;
    }
    m->pieces[m->n_pieces++] = *body;
    return FMP_OK;
}

static fmp_status read_model(spm *m, wire w, fmp_err *err)
{
    field f;
    for (bool more;;) {
        FMP_TRY(read_field(&w, &f, &more, err));
        if (!more) { return FMP_OK; }
        if (f.type != 2) { continue; }
        if (f.number == 1) { FMP_TRY(add_piece(m, &f.body, err)); }
        if (f.number == 2) { FMP_TRY(read_trainer(m, f.body, err)); }
        if (f.number == 3) { FMP_TRY(read_normalizer(m, f.body, err)); }
        if (f.number == 5) { FMP_TRY(read_denormalizer(m, f.body, err)); }
    }
}

/* ---- pieces ---- */
typedef struct piece {
    const char *text;
    size_t len;
    float score;
    uint32_t type;
} piece;

static fmp_status read_piece(wire w, size_t id, piece *out, fmp_err *err)
{
    wire whole = w;
    field f;
    *out = (piece){.text = "", .type = NORMAL};
    for (bool more = true; more;) {
        FMP_TRY(read_field(&w, &f, &more, err));
        if (!more) { break; }
        if (f.number == 1 && f.type == 2) {
            out->text = (const char *)f.body.p;
            out->len = (size_t)(f.body.end - f.body.p);
        }
        if (f.number == 2 && f.type == 5) { out->score = as_float(f.value); }
        if (f.number == 3 && f.type == 0) { out->type = f.value <= BYTE ? (uint32_t)f.value : 0; }
    }
    if (out->type == 0) { return broken(&whole, "a piece has an unknown type", err); }
    if (!isfinite(out->score)) { return broken(&whole, "a piece has a score that is not finite", err); }
    if (out->len == 0 || fmp_utf8_invalid_at(out->text, out->len) < out->len) {
        return fmp_fail(err, FMP_E_DATA, "SentencePiece model: piece %zu: expected some UTF-8 text", id);
    }
    return FMP_OK;
}

/* Tables by id while the pieces are put in. */
typedef struct tables {
    float *score;
    uint8_t *type;
    uint8_t *takes_part; /* in merges, or in the lattice */
    size_t n_found;      /* pieces that are found whole */
} tables;

static fmp_status put_pieces(fmp_tokenizer *tok, const spm *m, tables *t, fmp_err *err)
{
    FMP_TRY(tk_vocab_init(tok, m->n_pieces, err));
    t->score = fmp_arena_take_zero(tok->arena, m->n_pieces, sizeof *t->score);
    t->type = fmp_arena_take_zero(tok->arena, m->n_pieces, 1);
    t->takes_part = fmp_arena_take_zero(tok->arena, m->n_pieces, 1);
    FMP_TRY(fmp_arena_ok(tok->arena, err));
    for (uint32_t id = 0; id < m->n_pieces; id++) {
        piece p;
        FMP_TRY(read_piece(m->pieces[id], id, &p, err));
        FMP_TRY(tk_vocab_add(tok, p.text, p.len, id, "SentencePiece model", err));
        t->score[id] = p.score;
        t->type[id] = (uint8_t)p.type;
        tok->in_model[id] = p.type != CONTROL;
        t->takes_part[id] = p.type == NORMAL ? 1 : p.type == USER_DEFINED ? 2 : 0;
        t->n_found += p.type == CONTROL || p.type == USER_DEFINED || p.type == UNKNOWN;
        if (p.type == UNKNOWN) { tok->unk_model = tok->unk = id; }
        if (p.type == UNUSED && m->model_type == BPE) {
            return fmp_fail(err, FMP_E_UNSUPPORTED,
                            "SentencePiece model: piece %u \"%.*s\" is UNUSED, which is not supported "
                            "in a BPE model",
                            id, (int)(p.len < 60 ? p.len : 60), p.text);
        }
    }
    if (tok->unk_model == FMP_TOKEN_NONE) {
        return fmp_fail(err, FMP_E_DATA, "SentencePiece model: no unknown piece");
    }
    return FMP_OK;
}

static fmp_status put_added(fmp_tokenizer *tok, const tables *t, fmp_err *err)
{
    FMP_TRY(tk_added_init(tok, t->n_found, err));
    for (uint32_t id = 0; id < tok->size; id++) {
        bool special = t->type[id] == CONTROL || t->type[id] == UNKNOWN;
        if (special || t->type[id] == USER_DEFINED) { tk_added_put(tok, id, special, !special, false); }
    }
    return FMP_OK;
}

/* Scores of the lattice. A user-defined piece has, for each byte, the best score there is, so that it is chosen. */
static fmp_status make_unigram(fmp_tokenizer *tok, const tables *t, fmp_err *err)
{
    float most = LEAST_BEST;
    tok->model = TK_UNIGRAM;
    tok->word.single = true;
    tok->word.score = fmp_arena_take_zero(tok->arena, tok->size, sizeof *tok->word.score);
    FMP_TRY(fmp_arena_ok(tok->arena, err));
    for (uint32_t id = 0; id < tok->size; id++) {
        if (t->type[id] == NORMAL && t->score[id] > most) { most = t->score[id]; }
    }
    for (uint32_t id = 0; id < tok->size; id++) {
        float per_piece = (float)tok->tokens[id].text_len * most;
        tok->word.score[id] =
            t->type[id] == USER_DEFINED ? (double)(float)((double)per_piece - 0.1) : (double)t->score[id];
    }
    return tk_unigram_init(tok, t->takes_part, err);
}

static fmp_status make_bpe(fmp_tokenizer *tok, tables *t, bool merge, fmp_err *err)
{
    uint32_t *rank = NULL;
    tok->model = TK_BPE;
    for (uint32_t id = 0; id < tok->size && !merge; id++) {
        t->takes_part[id] = 0;
    }
    FMP_TRY(tk_ranks_of_scores(tok, t->score, t->takes_part, &rank, err));
    return tk_merges_of_ranks(tok, rank, err);
}

static fmp_status make_model(fmp_tokenizer *tok, const spm *m, tables *t, fmp_err *err)
{
    switch (m->model_type) {
    case UNIGRAM: return make_unigram(tok, t, err);
    case BPE: return make_bpe(tok, t, true, err);
    case CHAR: return make_bpe(tok, t, false, err);
    case WORD:
        tok->model = TK_WORDLEVEL;
        tok->word.begin = META;
        tok->word.mark_last = m->rules.space_is_suffix;
        return FMP_OK;
    default:
        return fmp_fail(err, FMP_E_UNSUPPORTED, "SentencePiece model: model_type %u is not supported",
                        m->model_type);
    }
}

static uint32_t id_of(const fmp_tokenizer *tok, const wire *name, const char *fallback)
{
    size_t len = (size_t)(name->end - name->p);
    uint32_t id = len > 0 ? tk_find(tok, (const char *)name->p, len) : fmp_tokenizer_id_of(tok, fallback);
    return id != FMP_TOKEN_NONE && tok->special[id] ? id : FMP_TOKEN_NONE;
}

static fmp_status fill(fmp_tokenizer *tok, const spm *m, fmp_err *err)
{
    tables t = {0};
    tk_norm *step = NULL;
    if (m->has_denormalizer) {
        return fmp_fail(err, FMP_E_UNSUPPORTED,
                        "SentencePiece model: denormalization rules are not supported");
    }
    FMP_TRY(put_pieces(tok, m, &t, err));
    FMP_TRY(put_added(tok, &t, err));
    tok->byte_fallback = m->byte_fallback;
    tok->fuse_unk = tok->is_spm = true;
    tk_fill_bytes(tok);
    FMP_TRY(tk_add_norm(tok, TK_NORM_SPM, "SentencePiece model", &step, err));
    step->spm = m->rules;
    FMP_TRY(tk_charsmap_open(tok, (const char *)m->charsmap.p, (size_t)(m->charsmap.end - m->charsmap.p),
                             "SentencePiece model: precompiled_charsmap", &step->map, err));
    FMP_TRY(make_model(tok, m, &t, err));
    tok->decode.byte_fallback = m->byte_fallback;
    tok->decode.unk_text = " \xE2\x81\x87 ";
    if (m->rules.escape_spaces) { tk_decode_meta(tok, META); }
    if (m->unk_text.p < m->unk_text.end) {
        tok->decode.unk_text = fmp_arena_strndup(tok->arena, (const char *)m->unk_text.p,
                                                 (size_t)(m->unk_text.end - m->unk_text.p));
    }
    tok->decode.strip = ' ';
    tok->decode.n_strip = m->rules.remove_extra_spaces ? UINT32_MAX : m->rules.dummy_prefix;
    tok->decode.strip_on = m->rules.remove_extra_spaces;
    FMP_TRY(tk_complete(tok, err));
    tok->trie_keep = tok->trie_normalized;
    if (tok->model != TK_BPE) { tok->trie_normalized = NULL; } /* the lattice finds them */
    tok->bos = id_of(tok, &m->bos, "<s>");
    tok->eos = id_of(tok, &m->eos, "</s>");
    tok->pad = id_of(tok, &m->pad, "<pad>");
    return FMP_OK;
}

fmp_status tk_read_spm(fmp_tokenizer *tok, const char *text, size_t len, fmp_err *err)
{
    const unsigned char *p = (const unsigned char *)text;
    wire empty = {p, p, p};
    spm m = {.model_type = UNIGRAM,
             .rules = {true, true, true, false},
             .charsmap = empty,
             .bos = empty,
             .eos = empty,
             .pad = empty,
             .unk_text = empty};
    fmp_status status = read_model(&m, (wire){p, p + len, p}, err);
    if (status == FMP_OK && m.n_pieces == 0) {
        status = fmp_fail(err, FMP_E_DATA, "SentencePiece model: no pieces");
    }
    if (status == FMP_OK) { status = fill(tok, &m, err); }
    free(m.pieces);
    return status;
}

/* The first field is a piece (0A, length), and the piece begins with its text (0A). */
bool tk_is_spm(const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text;
    return len >= 4 && p[0] == 0x0A && p[1] > 0 && p[1] < 0x80 &&
           (p[2] == 0x0A || p[2] == 0x15 || p[2] == 0x18);
}
