/*
 * tokenize.h: the pieces of chat.tokenize: encoding on all threads (tokenize_encode.c), what the stage
 * knows at the end (tokenize_totals.c), and the stage (chat_tokenize.c).
 */
#ifndef TOKENIZE_H
#define TOKENIZE_H

#include <fmpipe/chat.h>
#include <fmpipe/golden.h>
#include <fmpipe/json.h>
#include <fmpipe/plugin.h>
#include <fmpipe/token_view.h>
#include <fmpipe/tokens.h>

typedef enum overflow { OVERFLOW_ERROR, OVERFLOW_DROP, OVERFLOW_SPLIT } overflow;

typedef struct chat_tokenize {
    const fmp_host *host;
    const fmp_ext_records *records;
    const fmp_ext_metrics *metrics;
    fmp_arena *arena; /* lists of `setup` */
    const char *tokenizer;
    uint32_t max_tokens, bin_size;
    overflow overflow;
    bool pack;
    fmp_chat_setup setup;
} chat_tokenize;

/* ---- tokenize_encode.c ---- */
/* One training sequence, in the arrays of its piece. */
typedef struct sequence {
    size_t begin;
    uint32_t n, n_supervised;
} sequence;

/* What became of one record. */
typedef struct encoded {
    size_t first, n;      /* its sequences in the piece; none if it is refused or dropped */
    size_t n_tokens;      /* of the longest rendering, before anything is split           */
    uint32_t n_unlearned; /* windows left out because they have nothing to learn          */
    uint32_t n_too_long;  /* sequences left out under overflow: drop                      */
    bool is_split, is_dropped;
    uint64_t rank;     /* for the choice of golden conversations                       */
    fmp_status status; /* not FMP_OK: the record is refused                            */
    char reason[32], message[400];
} encoded;

/* A part of a batch, for one thread at a time. Arrays grow and are kept from batch to batch. */
typedef struct piece {
    const chat_tokenize *s;
    const fmp_chat *chat;
    fmp_chat_result result;
    fmp_arena *arena;          /* of one record: its turns */
    const fmp_record *records; /* (n_records) borrowed */
    size_t n_records;
    encoded *items; /* (n_records) */
    size_t items_cap;
    sequence *seqs;
    size_t n_seqs, seqs_cap;
    uint32_t *ids; /* (n) */
    float *weight; /* (n) */
    size_t n, cap;
    uint64_t n_straddling, n_control_text, n_rewritten, n_closed; /* of all batches */
    fmp_status status;                                            /* what ends the stage: out of memory */
} piece;

FMP_MUST_USE fmp_status piece_init(piece *p, const chat_tokenize *s, const fmp_chat *chat, fmp_err *err);
void piece_free(piece *p);
/* Share a batch among the pieces. False: out of memory. */
bool pieces_share(piece *pieces, size_t n_pieces, const fmp_record *batch, size_t n);
/* For fmp.parallel: piece `i` of the array `arg`. */
void piece_encode(void *arg, size_t i);

/* ---- tokenize_totals.c ---- */
enum { N_BUCKETS = 32, N_VIEWS = 2 };

typedef struct by_locale {
    char tag[40];
    uint64_t n_records, n_tokens, n_supervised;
} by_locale;

/* A conversation for the report, token by token. */
typedef struct view {
    uint64_t rank;
    cJSON *tokens; /* heap */
} view;

typedef struct totals {
    uint64_t n_records, n_sequences, n_tokens, n_supervised, n_dropped, n_too_long, n_split, n_unlearned;
    uint64_t bucket[N_BUCKETS];
    size_t longest;
    by_locale *locale; /* (n_locales) in byte order of the tags */
    size_t n_locales;
    view views[N_VIEWS]; /* by rank */
    size_t n_views;
} totals;

void totals_free(totals *t);
/* A record whose sequences were written. */
FMP_MUST_USE fmp_status totals_add(totals *t, const chat_tokenize *s, const fmp_record *record,
                                   const encoded *e, const piece *p, fmp_err *err);
/* Keep the record for the report if its rank is among the lowest. result: working memory. */
FMP_MUST_USE fmp_status totals_view(totals *t, const chat_tokenize *s, const fmp_chat *chat,
                                    const fmp_record *record, uint64_t rank, fmp_chat_result *result,
                                    fmp_err *err);
/* Facts and the stage's one line. */
void totals_report(totals *t, const chat_tokenize *s, const fmp_chat *chat, const fmp_tokens *made,
                   const piece *pieces, size_t n_pieces);

#endif
