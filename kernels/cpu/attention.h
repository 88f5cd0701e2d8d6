/*
 * attention.h: what attention's two directions share: segments cut into pieces, operands laid out, their products.
 *
 * Products read 32-bit units. Where operands are rounded to bf16 these are the units of fmk_pair; in f32 a unit is the
 * value itself (pair is 1), and what is not laid out anew is read where the caller has it. Blocks of FMK_NR tokens
 * begin at the segment's start; for each head and block:
 *
 *     rows   (NR, D/pair)     left operand of scores; f32: the caller's
 *     across (D/pair, NR)     right operand of scores: columns are tokens
 *     along  (NR/pair, Dp)    right operand of sums over tokens; Dp: D rounded up to whole panels
 *     turned (D, NR/pair)     left operand of sums over tokens, columns of one (D, all blocks) a head; pair 1: rows, transposed
 *
 * Positions are relative to the segment, so its bits do not depend on what is packed beside it.
 */
#ifndef FMK_ATTENTION_H
#define FMK_ATTENTION_H

#include "internal.h"

#define SUB   12  /* rows that meet their keys together                           */
#define TILE  48  /* queries: rows of a forward task, a step of the backward walk */
#define KEYS  192 /* keys that a step of it meets: a multiple of TILE and NR      */
#define SPANS 8   /* most spans of a segment                                      */
/* What a pass may take in units, that is f32 values or pairs, so that memory is bounded at any length. */
#define ATTN_PASS_UNITS (2 * FMK_PACK_LIMIT)
#define MAX_DP          ((FMK_MAX_D + FMK_NR - 1) / FMK_NR * FMK_NR)

/* n tokens from `at` of a segment. */
typedef struct piece {
    int64_t start, len; /* of the segment                                            */
    int64_t at, n;
    int64_t block0; /* number of the segment's first block                           */
    int64_t span0;  /* and of its first span                                         */
    int64_t sums;   /* spans: dQ's first row in `dq_sum`; none for a segment's first */
} piece;

typedef struct piece_list {
    piece *p;
    int64_t n;
} piece_list;

/* An operand: n_heads heads, the pass's first at src; what is NULL is not laid out. */
typedef struct layout {
    const float *src;
    int64_t ld, n_heads;
    uint32_t *rows, *across, *along, *turned;
} layout;

/* A left operand: fmk_tile's a, ars, acs. */
typedef struct left {
    const void *at;
    int64_t row, column;
} left;

enum { PART_Q, PART_K, PART_V, PART_DO, N_PARTS };
enum { LAY_ROWS = 1, LAY_ACROSS = 2, LAY_ALONG = 4, LAY_TURNED = 8 };

typedef struct attn_job {
    fmk_attn a;
    int64_t Du, Dp, pair;
    int64_t g0, n_g, h0, n_h; /* key/value heads and query heads of this pass */
    piece_list block, tile, span;
    int64_t n_sums; /* rows of dq_sum, for each head */
    layout part[N_PARTS];
    float *o, *lse;                   /* forward */
    const float *o_in, *lse_in, *d_o; /* backward, and what follows */
    float *dq, *dk, *dv;
    float *row_lse, *row_delta; /* (n_h, tokens in blocks)    */
    float *dq_sum;              /* (n_h, n_sums, D)           */
    float *dk_sum, *dv_sum;     /* (n_h, tokens in blocks, D): see key_sums */
} attn_job;

/* Cuts the segments; taken from ctx until released. */
void fmk_attn_start(fmk_ctx *ctx, attn_job *job, const fmk_attn *a);
/* Key/value heads of one pass: so many that what it takes, units_per_g for each, stays within ATTN_PASS_UNITS; or one. */
int64_t fmk_attn_heads_per_pass(const attn_job *job, int64_t units_per_g);
void fmk_attn_choose_heads(attn_job *job, int64_t g0, int64_t n_g);
/* Takes memory for what `lay` (LAY_*) asks of an operand x (T, heads, D), its rows ld apart, in this pass. */
void fmk_attn_take_part(fmk_ctx *ctx, attn_job *job, int part, const float *x, int64_t ld, int lay);
/* Block i of every part. */
void fmk_attn_lay_out(const attn_job *job, int64_t i);

/* Heads count from the pass's first; `row` is of b's segment. */
left fmk_attn_rows(const attn_job *job, int part, int64_t head, const piece *b, int64_t row);
left fmk_attn_turned(const attn_job *job, int part, int64_t head, const piece *b, int64_t row);
const uint32_t *fmk_attn_across(const attn_job *job, int part, int64_t head, int64_t block);
const uint32_t *fmk_attn_along(const attn_job *job, int part, int64_t head, int64_t block);

/* x (m,n) as a left operand: rounded to `to`, ld values apart too, or as it is. */
left fmk_attn_left(const attn_job *job, int64_t m, int64_t n, const float *x, int64_t ld, uint32_t *to);
/* c (M, n_blocks*NR) = the rows of a times the tokens of n_blocks blocks */
void fmk_attn_scores(const attn_job *job, int64_t M, left a, const uint32_t *across, int64_t n_blocks,
                     float *c, int64_t ldc);
/* c (M,D) (+)= p (M, n_blocks*NR) times the rows of n_blocks blocks */
void fmk_attn_sum_tokens(const attn_job *job, int64_t M, left p, const uint32_t *along, int64_t n_blocks,
                         float *c, int64_t ldc, bool add);
/* The tile for this job's units */
FMK_INLINE void attn_tile(const attn_job *job, const fmk_tile *t)
{
    if (job->pair == 2) {
        fmk_tile_bf16(t);
    } else {
        fmk_tile_f32(t);
    }
}

/* Of `cols` keys from key0 the query at `pos` sees lo..hi-1. */
FMK_INLINE void attn_visible(const attn_job *job, int64_t pos, int64_t key0, int64_t cols, int64_t *lo,
                             int64_t *hi)
{
    *hi = fmk_max(0, fmk_min(cols, pos + 1 - key0));
    *lo = fmk_min(*hi, fmk_max(0, pos + 1 - job->a.window - key0));
}

#endif
