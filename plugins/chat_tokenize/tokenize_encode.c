/*
 * Encoding on all threads. A batch of records is cut into a fixed number of pieces; each piece renders,
 * encodes and masks its records into arrays of its own, and whoever writes goes through them in order. What
 * is longer than max_tokens becomes windows here, or is marked for the writer to refuse or drop.
 */
#include "tokenize.h"

#include <stdlib.h>

fmp_status piece_init(piece *p, const chat_tokenize *s, const fmp_chat *chat, fmp_err *err)
{
    p->s = s;
    p->chat = chat;
    p->arena = fmp_arena_new(0);
    if (!p->arena) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    return fmp_chat_result_init(&p->result, err);
}

void piece_free(piece *p)
{
    fmp_chat_result_free(&p->result);
    fmp_arena_free(p->arena);
    free(p->items);
    free(p->seqs);
    free(p->ids);
    free(p->weight);
}

bool pieces_share(piece *pieces, size_t n_pieces, const fmp_record *batch, size_t n)
{
    for (size_t i = 0; i < n_pieces; i++) {
        size_t from = n * i / n_pieces, to = n * (i + 1) / n_pieces;
        pieces[i].records = batch + from;
        pieces[i].n_records = to - from;
        if (to - from <= pieces[i].items_cap) { continue; }
        encoded *items = realloc(pieces[i].items, (to - from) * sizeof *items);
        if (!items) { return false; }
        pieces[i].items = items;
        pieces[i].items_cap = to - from;
    }
    return true;
}

static bool room_for(piece *p, size_t extra)
{
    if (p->n + extra <= p->cap) { return true; }
    size_t cap = (p->n + extra) * 2;
    uint32_t *ids = realloc(p->ids, cap * sizeof *ids);
    if (ids) { p->ids = ids; }
    float *weight = realloc(p->weight, cap * sizeof *weight);
    if (weight) { p->weight = weight; }
    if (!ids || !weight) { return false; }
    p->cap = cap;
    return true;
}

/* A sequence of the tokens [at, at + n) of the piece. */
static bool add_sequence(piece *p, encoded *e, size_t at, size_t n)
{
    if (p->n_seqs == p->seqs_cap) {
        size_t cap = p->seqs_cap ? 2 * p->seqs_cap : 256;
        sequence *grown = realloc(p->seqs, cap * sizeof *grown);
        if (!grown) { return false; }
        p->seqs = grown;
        p->seqs_cap = cap;
    }
    sequence *q = &p->seqs[p->n_seqs++];
    *q = (sequence){.begin = at, .n = (uint32_t)n};
    for (size_t i = at; i < at + n; i++) {
        q->n_supervised += p->weight[i] > 0;
    }
    e->n++;
    return true;
}

/* ---- windows ---- */

static bool is_stop(const fmp_chat *chat, uint32_t id)
{
    size_t n;
    const uint32_t *stops = fmp_chat_stops(chat, &n);
    for (size_t i = 0; i < n; i++) {
        if (stops[i] == id) { return true; }
    }
    return false;
}

/* Tokens of the window at `at`: up to behind the last end of a turn in its second half, or all it can
 * hold. */
static size_t window_size(const piece *p, size_t at, size_t end)
{
    size_t most = p->s->max_tokens;
    if (end - at <= most) { return end - at; }
    for (size_t n = most; n > most / 2; n--) {
        if (is_stop(p->chat, p->ids[at + n - 1])) { return n; }
    }
    return most;
}

/* Windows without anything to learn are counted and left out. */
static bool add_windows(piece *p, encoded *e, size_t begin, size_t end)
{
    e->is_split = true;
    for (size_t at = begin, n; at < end; at += n) {
        n = window_size(p, at, end);
        p->weight[at] = 0.0f; /* a window's first token has nothing before it */
        if (!add_sequence(p, e, at, n)) { return false; }
        if (p->seqs[p->n_seqs - 1].n_supervised == 0) {
            p->n_seqs--;
            e->n--;
            e->n_unlearned++;
        }
    }
    return true;
}

/* ---- records ---- */

FMP_PRINTF(3, 4) static void refuse(encoded *e, const char *reason, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int need = vsnprintf(e->message, sizeof e->message, fmt, ap);
    va_end(ap);
    fmp_err_clip_(e->message, sizeof e->message, need);
    snprintf(e->reason, sizeof e->reason, "%s", reason);
    if (e->status == FMP_OK) { e->status = FMP_E_DATA; }
}

static const char *reason_for(fmp_status status)
{
    return status == FMP_E_MISMATCH ? "template_not_prefix"
           : status == FMP_E_RANGE  ? "limit"
                                    : "not_trainable";
}

/* The result of one rendering as sequences of the record. */
static bool take_result(piece *p, encoded *e)
{
    const fmp_chat_result *r = &p->result;
    size_t begin = p->n, n = r->tokens.n;
    if (n > e->n_tokens) { e->n_tokens = n; }
    if (n > p->s->max_tokens && p->s->overflow == OVERFLOW_DROP) {
        e->n_too_long++;
        return true;
    }
    if (n > p->s->max_tokens && p->s->overflow == OVERFLOW_ERROR) {
        refuse(e, "too_long", "%s has %zu tokens, expected at most %u",
               p->s->setup.per_turn ? "a turn with its past" : "the conversation", n, p->s->max_tokens);
        return true;
    }
    if (!room_for(p, n)) { return false; }
    memcpy(p->ids + begin, r->tokens.ids, n * sizeof *p->ids);
    memcpy(p->weight + begin, r->weight, n * sizeof *p->weight);
    p->n += n;
    p->n_straddling += r->n_straddling;
    p->n_control_text += r->n_control_text;
    p->n_rewritten += r->n_rewritten;
    p->n_closed += r->n_closed;
    return n > p->s->max_tokens ? add_windows(p, e, begin, p->n) : add_sequence(p, e, begin, n);
}

/* A status that refuses the record; FMP_E_NOMEM ends the stage. */
static fmp_status take_status(encoded *e, fmp_status status, const fmp_err *err)
{
    if (status == FMP_OK || status == FMP_E_NOMEM) { return status; }
    e->status = status;
    refuse(e, reason_for(status), "%s%s%s", err->message, *err->hint ? "; " : "", err->hint);
    return FMP_OK;
}

static uint64_t rank_of(const fmp_rendered *r)
{
    return fmp_golden_rank(r->text.data ? r->text.data : "", r->text.len);
}

/* One sequence for each turn that is learned, as a model will see it when it is that turn. */
static fmp_status encode_turns(piece *p, const fmp_record *record, encoded *e, fmp_err *err)
{
    size_t *turns = NULL, n = 0;
    fmp_arena_reset(p->arena, 1u << 16);
    FMP_TRY(take_status(e, fmp_chat_turns(record->doc, &p->s->setup.encode, p->arena, &turns, &n, err), err));
    if (e->status == FMP_OK && n == 0) {
        refuse(e, "not_trainable", "expected a message to learn from, found none");
    }
    for (size_t i = 0; i < n && e->status == FMP_OK; i++) {
        fmp_status status =
            fmp_chat_encode_turn(p->chat, record->doc, &p->s->setup.encode, turns[i], &p->result, err);
        FMP_TRY(take_status(e, status, err));
        if (status == FMP_OK && !take_result(p, e)) { return FMP_E_NOMEM; }
        if (status == FMP_OK && i + 1 == n) { e->rank = rank_of(&p->result.rendered); }
    }
    return FMP_OK;
}

static fmp_status encode_whole(piece *p, const fmp_record *record, encoded *e, fmp_err *err)
{
    fmp_status status = fmp_chat_encode(p->chat, record->doc, &p->s->setup.encode, &p->result, err);
    FMP_TRY(take_status(e, status, err));
    if (status != FMP_OK) { return FMP_OK; }
    e->rank = rank_of(&p->result.rendered);
    return take_result(p, e) ? FMP_OK : FMP_E_NOMEM;
}

static fmp_status encode_record(piece *p, const fmp_record *record, encoded *e)
{
    fmp_err err = FMP_ERR_INIT;
    *e = (encoded){.first = p->n_seqs};
    FMP_TRY(p->s->setup.per_turn ? encode_turns(p, record, e, &err) : encode_whole(p, record, e, &err));
    e->is_dropped = e->status == FMP_OK && e->n == 0 && e->n_too_long > 0;
    if (e->status == FMP_OK && !e->is_dropped && e->n == 0) {
        refuse(e, "not_trainable", "no window of %u tokens has anything to learn", p->s->max_tokens);
    }
    return FMP_OK;
}

void piece_encode(void *arg, size_t i)
{
    piece *p = (piece *)arg + i;
    p->n = p->n_seqs = 0;
    p->status = FMP_OK;
    for (size_t k = 0; k < p->n_records && p->status == FMP_OK; k++) {
        p->status = encode_record(p, &p->records[k], &p->items[k]);
    }
}
