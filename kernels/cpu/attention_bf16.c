/*
 * attention_bf16.c: the attention of attention.c with operands rounded to bf16; sums and softmax are f32.
 *
 * Forward: a task owns TILE queries of one head and walks their keys CHUNK at a time, 12 rows together: their scores
 * stay in the first-level cache, and little is computed above the diagonal. Backward: a task owns a span of keys of
 * one head and walks the queries that see it, in five products: scores and dP, then dQ = dS K, and dK^T = Q^T dS and
 * dV^T = dO^T P, for which dS and P need no transposition. dQ's sums over the spans, and those of dK and dV over the
 * heads that share a key, are added up in a fixed order at the end.
 *
 * What is laid out first, by blocks of FMK_NR tokens from the segment's start, in the units of fmk_pair:
 *
 *     rows   (tokens, D/pair)     left operand of scores
 *     across (D/pair, NR)         right operand of scores: columns are tokens
 *     along  (NR/pair, Dp)        right operand of sums over tokens
 *     turned (D, tokens/pair)     left operand of sums over tokens
 *
 * Positions are relative to the segment, so its bits do not depend on what is packed beside it.
 */
#include "internal.h"

#define SUB    12  /* rows that meet their keys together   */
#define TILE   48  /* queries: rows of a forward task, a step of the backward walk */
#define CHUNK  512 /* keys whose scores are held at once, forward  */
#define KEYS   192 /* the same, backward: a multiple of TILE and NR */
#define SPANS  8   /* most spans of a segment              */
#define MAX_DP ((FMK_MAX_D + FMK_NR - 1) / FMK_NR * FMK_NR)

/* n tokens from `at` of a segment. */
typedef struct piece {
    int64_t start, len; /* of the segment                                            */
    int64_t at, n;
    int64_t block0; /* number of the segment's first block                           */
    int64_t span0;  /* and of its first span                                         */
    int64_t sums;   /* spans: dQ's first row in `dq_sum`; none for a segment's first */
    int64_t keys0;  /* spans: its first KEYS among all                               */
} piece;

typedef struct piece_list {
    piece *p;
    int64_t n;
} piece_list;

typedef struct layout {
    uint32_t *rows, *across, *along, *turned; /* NULL: not wanted */
} layout;

typedef struct attn_job {
    fmk_attn a;
    int64_t Du, Dp, pair;
    int64_t g0, n_g, h0, n_h; /* of this pass */
    piece_list block, tile, span;
    int64_t n_sums, n_keys; /* rows of dq_sum and pieces of KEYS, for each head */
    const float *q, *k, *v, *o, *d_o, *lse_in;
    float *out, *lse, *dq, *dk, *dv;
    layout lk, lv, lq, ldo;
    float *row_lse, *row_delta; /* (n_h, tokens in blocks)       */
    float *dq_sum;              /* (n_h, n_sums, D)              */
    float *dk_sum, *dv_sum;     /* (n_h, n_keys, D, KEYS)        */
} attn_job;

/* ---- cutting segments ---- */
static int64_t span_size(int64_t len)
{
    return fmk_max(1, fmk_ceil_div(len, (int64_t)SPANS * KEYS)) * KEYS;
}

/* size 0: into spans */
static piece_list cut(fmk_ctx *ctx, attn_job *job, int64_t size)
{
    const fmk_attn *a = &job->a;
    piece_list list = {0};
    int64_t block0 = 0, span0 = 0, sums = 0, keys0 = 0;
    for (int64_t s = 0; s < a->n_seg; s++) {
        int64_t len = (int64_t)a->seg[s + 1] - a->seg[s];
        list.n += fmk_ceil_div(len, size ? size : span_size(len));
    }
    list.p = fmk_take(ctx, (size_t)list.n, sizeof *list.p);
    int64_t i = 0;
    for (int64_t s = 0; s < a->n_seg; s++) {
        int64_t len = (int64_t)a->seg[s + 1] - a->seg[s], step = size ? size : span_size(len);
        for (int64_t at = 0; at < len; at += step) {
            piece *p = &list.p[i++];
            *p = (piece){a->seg[s], len, at, fmk_min(step, len - at), block0, span0, sums, keys0};
            sums += at > 0 ? len - at : 0;
            keys0 += fmk_ceil_div(p->n, KEYS);
        }
        block0 += fmk_ceil_div(len, FMK_NR);
        span0 += fmk_ceil_div(len, span_size(len));
    }
    job->n_sums = sums;
    job->n_keys = keys0;
    return list;
}

static void start_job(fmk_ctx *ctx, attn_job *job, const fmk_attn *a)
{
    assert(a->D >= 1 && a->D <= FMK_MAX_D && a->G >= 1 && a->H % a->G == 0);
    job->a = *a;
    if (job->a.window <= 0) { job->a.window = INT64_MAX / 2; }
    job->pair = fmk_pair();
    job->Du = fmk_ceil_div(a->D, job->pair);
    job->Dp = fmk_ceil_div(a->D, FMK_NR) * FMK_NR;
    job->block = cut(ctx, job, FMK_NR);
    job->tile = cut(ctx, job, TILE);
    job->span = cut(ctx, job, 0);
}

/* The part of a layout that belongs to one head's block. */
static uint32_t *rows_at(const attn_job *job, const layout *l, int64_t head, int64_t block)
{
    return l->rows + (head * job->block.n + block) * FMK_NR * job->Du;
}
static uint32_t *across_at(const attn_job *job, const layout *l, int64_t head, int64_t block)
{
    return l->across + (head * job->block.n + block) * FMK_NR * job->Du;
}
static uint32_t *along_at(const attn_job *job, const layout *l, int64_t head, int64_t block)
{
    return l->along + (head * job->block.n + block) * FMK_NR / job->pair * job->Dp;
}
/* (D, all tokens / pair): the block's first column */
static int64_t turned_ld(const attn_job *job)
{
    return fmk_odd_lines(job->block.n * FMK_NR / job->pair);
}
static uint32_t *turned_at(const attn_job *job, const layout *l, int64_t head, int64_t block)
{
    return l->turned + head * job->a.D * turned_ld(job) + block * FMK_NR / job->pair;
}

static layout take_layout(fmk_ctx *ctx, const attn_job *job, int64_t heads, bool rows, bool across,
                          bool along, bool turned)
{
    layout l = {0};
    size_t tokens = (size_t)(heads * job->block.n * FMK_NR);
    if (rows) { l.rows = fmk_take(ctx, tokens * (size_t)job->Du, sizeof *l.rows); }
    if (across) { l.across = fmk_take(ctx, tokens * (size_t)job->Du, sizeof *l.across); }
    if (along) { l.along = fmk_take(ctx, tokens / (size_t)job->pair * (size_t)job->Dp, sizeof *l.along); }
    if (turned) { l.turned = fmk_take(ctx, (size_t)(heads * job->a.D * turned_ld(job)), sizeof *l.turned); }
    return l;
}

/* One block of one head, x (n,D). */
static void lay_out(const attn_job *job, const layout *l, int64_t head, int64_t block, int64_t n,
                    const float *x, int64_t ld)
{
    int64_t D = job->a.D, Du = job->Du, Dp = job->Dp, units = FMK_NR / job->pair;
    uint32_t rows[FMK_NR * FMK_MAX_D], along[FMK_NR * MAX_DP];
    uint32_t *r = l->rows ? rows_at(job, l, head, block) : rows;
    uint32_t *c = l->along ? along_at(job, l, head, block) : along;
    if (l->rows || l->across) { fmk_round_rows(n, D, x, ld, r, Du); }
    if (l->across) { fmk_pack_block_t(Du, n, (float *)r, Du, (float *)across_at(job, l, head, block)); }
    if (!l->along && !l->turned) { return; }
    int64_t used = fmk_ceil_div(n, job->pair);
    fmk_round_cols(n, D, x, ld, c, Dp, true);
    memset(c + used * Dp, 0, (size_t)((units - used) * Dp) * sizeof *c);
    for (int64_t d = 0; d < D && l->turned; d += FMK_NR) {
        float part[FMK_NR * FMK_NR]; /* (D, units), to be cut to its columns */
        int64_t m = fmk_min(FMK_NR, D - d);
        fmk_pack_block_t(m, units, (float *)c + d, Dp, part);
        uint32_t *to = turned_at(job, l, head, block) + d * turned_ld(job);
        for (int64_t i = 0; i < m; i++) {
            memcpy(to + i * turned_ld(job), part + i * FMK_NR, (size_t)units * sizeof *to);
        }
    }
}

/* delta = dO o, and the log-sum-exp, where the backward walk reads them: by head, tokens in blocks */
FMK_INLINE void row_sums_body(const attn_job *job, const piece *b, int64_t head, int64_t block)
{
    const fmk_attn *a = &job->a;
    int64_t to = (head * job->block.n + block) * FMK_NR, h = job->h0 + head;
    for (int64_t i = 0; i < b->n; i++) {
        int64_t t = b->start + b->at + i;
        job->row_lse[to + i] = job->lse_in[t * a->H + h];
        job->row_delta[to + i] =
            fmk_dot(a->D, job->d_o + t * a->ldo + h * a->D, job->o + t * a->ldo + h * a->D);
    }
}
FMK_BY_ISA(row_sums, (const attn_job *job, const piece *b, int64_t head, int64_t block),
           (job, b, head, block))

static void layout_task(void *arg, size_t i)
{
    const attn_job *job = arg;
    const fmk_attn *a = &job->a;
    int64_t block = (int64_t)i;
    const piece *b = &job->block.p[i];
    int64_t t = b->start + b->at;
    for (int64_t g = 0; g < job->n_g; g++) {
        int64_t at = (job->g0 + g) * a->D;
        lay_out(job, &job->lk, g, block, b->n, job->k + t * a->ldk + at, a->ldk);
        lay_out(job, &job->lv, g, block, b->n, job->v + t * a->ldv + at, a->ldv);
    }
    for (int64_t h = 0; h < job->n_h; h++) {
        int64_t at = (job->h0 + h) * a->D;
        lay_out(job, &job->lq, h, block, b->n, job->q + t * a->ldq + at, a->ldq);
        if (!job->d_o) { continue; }
        lay_out(job, &job->ldo, h, block, b->n, job->d_o + t * a->ldo + at, a->ldo);
        row_sums(job, b, h, block);
    }
}

/* Key/value heads of one pass, so that what is laid out stays within bounds at any length. */
static int64_t heads_per_pass(const attn_job *job, int64_t units_per_g)
{
    return fmk_min(job->a.G, fmk_max(1, 2 * FMK_PACK_LIMIT / (units_per_g + 1)));
}

static void choose_heads(attn_job *job, int64_t g0, int64_t n_g)
{
    int64_t per_g = job->a.H / job->a.G;
    job->g0 = g0;
    job->n_g = fmk_min(n_g, job->a.G - g0);
    job->h0 = g0 * per_g;
    job->n_h = job->n_g * per_g;
}

/* c (M, n_blocks*NR) = the rows of a times the tokens of n_blocks blocks */
static void scores(const attn_job *job, int64_t M, const uint32_t *a, const uint32_t *across,
                   int64_t n_blocks, float *c, int64_t ldc)
{
    const fmk_tile t = {.M = M,
                        .N = n_blocks * FMK_NR,
                        .K = job->Du,
                        .a = a,
                        .ars = job->Du,
                        .acs = 1,
                        .b = across,
                        .b_panel = job->Du * FMK_NR,
                        .b_row = FMK_NR,
                        .c = c,
                        .ldc = ldc};
    fmk_tile_rounded(&t);
}

/* c (M,D) (+)= p (M, n_blocks*NR) times the rows of n_blocks blocks */
static void sum_tokens(const attn_job *job, int64_t M, const uint32_t *p, int64_t ldp, const uint32_t *along,
                       int64_t n_blocks, float *c, int64_t ldc, bool add)
{
    const fmk_tile t = {.M = M,
                        .N = job->a.D,
                        .K = n_blocks * FMK_NR / job->pair,
                        .a = p,
                        .ars = ldp,
                        .acs = 1,
                        .b = along,
                        .b_panel = FMK_NR,
                        .b_row = job->Dp,
                        .c = c,
                        .ldc = ldc,
                        .add = add};
    fmk_tile_rounded(&t);
}

/* ---- forward ---- */
typedef struct running {
    float max[SUB], sum[SUB];
} running;

/* Row r of SUB: its columns lo..hi-1 of a chunk are its keys. */
FMK_INLINE void visible(const attn_job *job, int64_t pos, int64_t key0, int64_t cols, int64_t *lo,
                        int64_t *hi)
{
    *hi = fmk_max(0, fmk_min(cols, pos + 1 - key0));
    *lo = fmk_min(*hi, fmk_max(0, pos + 1 - job->a.window - key0));
}

/* Scores s become probabilities over the running maximum, rounded into p; `run` and o (m,Dp) follow. */
FMK_INLINE void online_softmax_body(const attn_job *job, int64_t pos0, int64_t m, int64_t key0, int64_t cols,
                                    float *s, running *run, float *o)
{
    float scale = job->a.scale;
    for (int64_t r = 0; r < m; r++) {
        float *row = s + r * CHUNK;
        int64_t lo, hi;
        visible(job, pos0 + r, key0, cols, &lo, &hi);
        if (job->a.softcap > 0.0f) {
            for (int64_t j = 0; j < cols; j++) {
                row[j] = fmk_softcap(job->a.softcap, row[j] * scale) / scale;
            }
        }
        for (int64_t j = 0; j < lo; j++) {
            row[j] = -INFINITY;
        }
        for (int64_t j = hi; j < cols; j++) {
            row[j] = -INFINITY;
        }
        float top = fmk_row_max(cols, row) * scale;
        float max = top > run->max[r] ? top : run->max[r];
        float shift = hi > lo ? max : 0.0f;
        for (int64_t j = 0; j < cols; j++) {
            row[j] = fmk_exp(row[j] * scale - shift);
        }
        if (hi == lo) { continue; }
        float keep = fmk_exp(run->max[r] - max);
        run->sum[r] = run->sum[r] * keep + fmk_row_sum(cols, row);
        run->max[r] = max;
        for (int64_t d = 0; d < job->Dp && keep != 1.0f; d++) {
            o[r * job->Dp + d] *= keep;
        }
    }
}
FMK_BY_ISA(online_softmax,
           (const attn_job *job, int64_t pos0, int64_t m, int64_t key0, int64_t cols, float *s, running *run,
            float *o),
           (job, pos0, m, key0, cols, s, run, o))

/* o (m,Dp) over its rows' sums to `out`, rows ld apart. */
FMK_INLINE void finish_rows_body(int64_t m, int64_t D, int64_t Dp, const running *run, const float *o,
                                 float *out, int64_t ld)
{
    for (int64_t r = 0; r < m; r++) {
        float inv = 1.0f / run->sum[r];
        for (int64_t d = 0; d < D; d++) {
            out[r * ld + d] = o[r * Dp + d] * inv;
        }
    }
}
FMK_BY_ISA(finish_rows,
           (int64_t m, int64_t D, int64_t Dp, const running *run, const float *o, float *out, int64_t ld),
           (m, D, Dp, run, o, out, ld))

/* m <= SUB queries of one head, from `row` of tile's segment. */
static void fwd_rows(const attn_job *job, const piece *tile, int64_t head, int64_t row, int64_t m)
{
    const fmk_attn *a = &job->a;
    int64_t g = head / (a->H / a->G), h = job->h0 + head, t0 = tile->start + row;
    float s[SUB * CHUNK], o[SUB * MAX_DP];
    uint32_t p[SUB * CHUNK];
    running run;
    memset(o, 0, (size_t)(m * job->Dp) * sizeof *o);
    for (int r = 0; r < SUB; r++) {
        run.max[r] = -INFINITY;
        run.sum[r] = 0.0f;
    }
    const uint32_t *q = rows_at(job, &job->lq, head, tile->block0) + row * job->Du;
    int64_t first = fmk_max(0, row + 1 - a->window) / FMK_NR, end = (row + m - 1) / FMK_NR + 1;
    for (int64_t b = first; b < end; b += CHUNK / FMK_NR) {
        int64_t n = fmk_min(CHUNK / FMK_NR, end - b), cols = n * FMK_NR;
        scores(job, m, q, across_at(job, &job->lk, g, tile->block0 + b), n, s, CHUNK);
        online_softmax(job, row, m, b * FMK_NR, cols, s, &run, o);
        fmk_round_rows(m, cols, s, CHUNK, p, CHUNK / job->pair);
        sum_tokens(job, m, p, CHUNK / job->pair, along_at(job, &job->lv, g, tile->block0 + b), n, o, job->Dp,
                   true);
    }
    finish_rows(m, a->D, job->Dp, &run, o, job->out + t0 * a->ldo + h * a->D, a->ldo);
    for (int64_t r = 0; r < m; r++) {
        job->lse[(t0 + r) * a->H + h] = run.max[r] + logf(run.sum[r]);
    }
}

static void fwd_task(void *arg, size_t i)
{
    const attn_job *job = arg;
    const piece *tile = &job->tile.p[job->tile.n - 1 - (int64_t)i / job->n_h]; /* the longest rows first */
    for (int64_t r = 0; r < tile->n; r += SUB) {
        fwd_rows(job, tile, (int64_t)i % job->n_h, tile->at + r, fmk_min(SUB, tile->n - r));
    }
}

void fmk_attn_fwd_bf16(fmk_ctx *ctx, const fmk_attn *a, const float *q, const float *k, const float *v,
                       float *o, float *lse)
{
    size_t mark = fmk_mark(ctx);
    attn_job job = {.q = q, .k = k, .v = v, .out = o, .lse = lse};
    start_job(ctx, &job, a);
    int64_t tokens = job.block.n * FMK_NR;
    int64_t n_g = heads_per_pass(&job, tokens * job.Dp * (2 + a->H / a->G));
    size_t pass_mark = fmk_mark(ctx);
    for (int64_t g = 0; g < a->G; g += n_g) {
        choose_heads(&job, g, n_g);
        job.lk = take_layout(ctx, &job, job.n_g, false, true, false, false);
        job.lv = take_layout(ctx, &job, job.n_g, false, false, true, false);
        job.lq = take_layout(ctx, &job, job.n_h, true, false, false, false);
        fmk_par(ctx, job.block.n, (double)((job.n_g + job.n_h) * a->D * FMK_NR) / 4, layout_task, &job);
        fmk_par(ctx, job.tile.n * job.n_h, (double)a->D * TILE * TILE / 8, fwd_task, &job);
        fmk_release(ctx, pass_mark);
    }
    fmk_release(ctx, mark);
}

/* ---- backward ---- */

/* What one step of the walk makes: TILE queries, KEYS keys. */
typedef struct step {
    float s[SUB * KEYS], dp[SUB * KEYS];
    uint32_t ds[TILE * KEYS];                           /* rows: left operand of dQ                  */
    uint32_t p_cols[TILE * KEYS], ds_cols[TILE * KEYS]; /* pairs of rows: right operands of dV^T, dK^T */
} step;

/* A capped score over `scale`, and dp moved towards delta by the cap's slope: see cap_tile in attention.c. */
FMK_INLINE void cap_row(const attn_job *job, int64_t cols, float delta, float *restrict s, float *restrict dp)
{
    float cap = job->a.softcap, scale = job->a.scale;
    for (int64_t j = 0; j < cols; j++) {
        float y = fmk_softcap(cap, s[j] * scale);
        float slope = 1.0f - (y / cap) * (y / cap);
        s[j] = y / scale;
        dp[j] = delta + slope * (dp[j] - delta);
    }
}

/* m rows of scores and dp become probabilities and the scores' gradients, zero where a key is not seen. */
FMK_INLINE void grad_rows_body(const attn_job *job, int64_t pos0, int64_t m, int64_t key0, int64_t cols,
                               const float *lse, const float *delta, float *restrict s, float *restrict dp)
{
    float scale = job->a.scale;
    for (int64_t r = 0; r < m; r++) {
        float *restrict p = s + r * KEYS;
        float *restrict d = dp + r * KEYS;
        int64_t lo, hi;
        visible(job, pos0 + r, key0, cols, &lo, &hi);
        if (job->a.softcap > 0.0f) { cap_row(job, cols, delta[r], p, d); }
        for (int64_t j = 0; j < cols; j++) {
            p[j] = fmk_exp(p[j] * scale - lse[r]);
            d[j] = p[j] * (d[j] - delta[r]) * scale;
        }
        for (int64_t j = 0; j < lo; j++) {
            p[j] = d[j] = 0.0f;
        }
        for (int64_t j = hi; j < cols; j++) {
            p[j] = d[j] = 0.0f;
        }
    }
}
FMK_BY_ISA(grad_rows,
           (const attn_job *job, int64_t pos0, int64_t m, int64_t key0, int64_t cols, const float *lse,
            const float *delta, float *restrict s, float *restrict dp),
           (job, pos0, m, key0, cols, lse, delta, s, dp))

/* Units of the pairs of rows r0.. of a step: columns cols..all-1 become zero. */
static void zero_tail(const attn_job *job, uint32_t *x, int64_t m, int64_t cols, int64_t all)
{
    for (int64_t i = 0; i < fmk_ceil_div(m, job->pair) && cols < all; i++) {
        memset(x + i * KEYS + cols, 0, (size_t)(all - cols) * sizeof *x);
    }
}

/* acc (D,KEYS) += turned (D, n tokens) times cols (n tokens, n_blocks*NR) */
static void sum_queries(const attn_job *job, const uint32_t *turned, int64_t n, const uint32_t *cols,
                        int64_t n_blocks, float *acc)
{
    const fmk_tile t = {.M = job->a.D,
                        .N = n_blocks * FMK_NR,
                        .K = fmk_ceil_div(n, job->pair),
                        .a = turned,
                        .ars = turned_ld(job),
                        .acs = 1,
                        .b = cols,
                        .b_panel = FMK_NR,
                        .b_row = KEYS,
                        .c = acc,
                        .ldc = KEYS,
                        .add = true};
    fmk_tile_rounded(&t);
}

/* Where dQ's rows from `row` on are summed by this span: in dq itself by a segment's first. */
static float *dq_rows(const attn_job *job, const piece *span, int64_t head, int64_t row, int64_t *ld)
{
    const fmk_attn *a = &job->a;
    *ld = span->at == 0 ? a->ldq : a->D;
    return span->at == 0 ? job->dq + (span->start + row) * a->ldq + (job->h0 + head) * a->D
                         : job->dq_sum + (head * job->n_sums + span->sums + row - span->at) * a->D;
}

/* Is the tile that begins at query `row` within sight of the key? */
static bool sees(const attn_job *job, int64_t row, int64_t key)
{
    return row <= key + job->a.window - 1;
}

/* n <= TILE queries from `row` meet the keys key0..; dv, dk (D,KEYS) and dQ's sums follow. */
static void bwd_step(const attn_job *job, const piece *span, int64_t head, int64_t key0, int64_t row,
                     int64_t n, step *w, float *dk, float *dv)
{
    const fmk_attn *a = &job->a;
    int64_t g = head / (a->H / a->G), block = span->block0, Du = job->Du, ld, units = KEYS / job->pair;
    int64_t most = fmk_ceil_div(fmk_min(span->at + span->n - key0, KEYS), FMK_NR);
    int64_t n_blocks = fmk_min(most, (row + n - 1 - key0) / FMK_NR + 1);
    int64_t at = head * job->block.n * FMK_NR + block * FMK_NR + row;
    bool add = key0 - KEYS >= span->at && sees(job, row, key0 - 1);
    float *dq = dq_rows(job, span, head, row, &ld);
    for (int64_t r = 0; r < n; r += SUB) {
        int64_t m = fmk_min(SUB, n - r), nb = fmk_min(most, (row + r + m - 1 - key0) / FMK_NR + 1);
        int64_t cols = nb * FMK_NR, kb = block + key0 / FMK_NR, pairs = r / job->pair * KEYS;
        scores(job, m, job->lq.rows + (at + r) * Du, across_at(job, &job->lk, g, kb), nb, w->s, KEYS);
        scores(job, m, job->ldo.rows + (at + r) * Du, across_at(job, &job->lv, g, kb), nb, w->dp, KEYS);
        grad_rows(job, row + r, m, key0, cols, job->row_lse + at + r, job->row_delta + at + r, w->s, w->dp);
        fmk_round_cols(m, cols, w->s, KEYS, w->p_cols + pairs, KEYS, false);
        fmk_round_cols(m, cols, w->dp, KEYS, w->ds_cols + pairs, KEYS, false);
        zero_tail(job, w->p_cols + pairs, m, cols, n_blocks * FMK_NR);
        zero_tail(job, w->ds_cols + pairs, m, cols, n_blocks * FMK_NR);
        fmk_round_rows(m, cols, w->dp, KEYS, w->ds, units);
        sum_tokens(job, m, w->ds, units, along_at(job, &job->lk, g, kb), nb, dq + r * ld, ld, add);
    }
    int64_t column = row / job->pair;
    sum_queries(job, turned_at(job, &job->ldo, head, block) + column, n, w->p_cols, n_blocks, dv);
    sum_queries(job, turned_at(job, &job->lq, head, block) + column, n, w->ds_cols, n_blocks, dk);
}

static void bwd_task(void *arg, size_t i)
{
    const attn_job *job = arg;
    const piece *span = &job->span.p[(int64_t)i / job->n_h];
    int64_t head = (int64_t)i % job->n_h, size = job->a.D * KEYS;
    step w;
    for (int64_t k = 0; k * KEYS < span->n; k++) {
        int64_t key0 = span->at + k * KEYS, last = fmk_min(key0 + KEYS, span->at + span->n) - 1;
        int64_t slot = (head * job->n_keys + span->keys0 + k) * size;
        memset(job->dk_sum + slot, 0, (size_t)size * sizeof(float));
        memset(job->dv_sum + slot, 0, (size_t)size * sizeof(float));
        for (int64_t row = key0; row < span->len && sees(job, row, last); row += TILE) {
            bwd_step(job, span, head, key0, row, fmk_min(TILE, span->len - row), &w, job->dk_sum + slot,
                     job->dv_sum + slot);
        }
    }
}

/* dq's rows of one block: what the spans after the first have summed; zero where no span came. */
FMK_INLINE void add_dq_body(const attn_job *job, const piece *b, int64_t head)
{
    const fmk_attn *a = &job->a;
    for (int64_t row = b->at; row < b->at + b->n; row++) {
        float *dq = job->dq + (b->start + row) * a->ldq + (job->h0 + head) * a->D; /* (D) */
        int64_t tile = row / TILE * TILE;
        for (int64_t s = b->span0; s < job->span.n && job->span.p[s].start == b->start; s++) {
            const piece *span = &job->span.p[s];
            bool came = sees(job, tile, span->at + span->n - 1);
            if (span->at > row) { break; }
            if (span->at == 0 && !came) { memset(dq, 0, (size_t)a->D * sizeof *dq); }
            if (span->at == 0 || !came) { continue; }
            int64_t ld;
            const float *sum = dq_rows(job, span, head, row, &ld);
            for (int64_t d = 0; d < a->D; d++) {
                dq[d] += sum[d];
            }
        }
    }
}

FMK_BY_ISA(add_dq, (const attn_job *job, const piece *b, int64_t head), (job, b, head))

/* out (n,D) = the transposed sum over the heads of a group, of columns column.. of their (D,KEYS) */
FMK_INLINE void add_heads_body(const attn_job *job, int64_t g, int64_t slot, int64_t column, int64_t n,
                               const float *sums, float *out, int64_t ld)
{
    int64_t D = job->a.D, per_g = job->a.H / job->a.G;
    for (int64_t d0 = 0; d0 < D; d0 += FMK_NR) {
        float sum[FMK_NR * FMK_NR], turned[FMK_NR * FMK_NR];
        int64_t m = fmk_min(FMK_NR, D - d0);
        for (int64_t d = 0; d < m; d++) {
            const float *x = sums + ((g * per_g * job->n_keys + slot) * D + d0 + d) * KEYS + column;
            fmk_v16 lo = *(const fmk_v16 *)x, hi = *(const fmk_v16 *)(x + 16);
            for (int64_t h = 1; h < per_g; h++) {
                x += job->n_keys * D * KEYS;
                lo += *(const fmk_v16 *)x;
                hi += *(const fmk_v16 *)(x + 16);
            }
            *(fmk_v16 *)(sum + d * FMK_NR) = lo;
            *(fmk_v16 *)(sum + d * FMK_NR + 16) = hi;
        }
        fmk_pack_block_t(FMK_NR, m, sum, FMK_NR, turned);
        for (int64_t j = 0; j < n; j++) {
            memcpy(out + j * ld + d0, turned + j * FMK_NR, (size_t)m * sizeof *out);
        }
    }
}

FMK_BY_ISA(add_heads,
           (const attn_job *job, int64_t g, int64_t slot, int64_t column, int64_t n, const float *sums,
            float *out, int64_t ld),
           (job, g, slot, column, n, sums, out, ld))

static void add_up_task(void *arg, size_t i)
{
    const attn_job *job = arg;
    const fmk_attn *a = &job->a;
    const piece *b = &job->block.p[i];
    const piece *span = &job->span.p[b->span0 + b->at / span_size(b->len)];
    int64_t slot = span->keys0 + (b->at - span->at) / KEYS, column = (b->at - span->at) % KEYS;
    int64_t t = b->start + b->at;
    for (int64_t h = 0; h < job->n_h; h++) {
        add_dq(job, b, h);
    }
    for (int64_t g = 0; g < job->n_g; g++) {
        int64_t at = (job->g0 + g) * a->D;
        add_heads(job, g, slot, column, b->n, job->dk_sum, job->dk + t * a->ldk + at, a->ldk);
        add_heads(job, g, slot, column, b->n, job->dv_sum, job->dv + t * a->ldv + at, a->ldv);
    }
}

/* Laid out and summed for the heads of this pass. */
static void take_backward(fmk_ctx *ctx, attn_job *job)
{
    size_t n_h = (size_t)job->n_h, D = (size_t)job->a.D, tokens = (size_t)(job->block.n * FMK_NR);
    job->lk = take_layout(ctx, job, job->n_g, false, true, true, false);
    job->lv = take_layout(ctx, job, job->n_g, false, true, false, false);
    job->lq = take_layout(ctx, job, job->n_h, true, false, false, true);
    job->ldo = take_layout(ctx, job, job->n_h, true, false, false, true);
    job->row_lse = fmk_take(ctx, n_h * tokens, sizeof(float));
    job->row_delta = fmk_take(ctx, n_h * tokens, sizeof(float));
    job->dq_sum = fmk_take(ctx, n_h * (size_t)job->n_sums * D, sizeof(float));
    job->dk_sum = fmk_take(ctx, n_h * (size_t)job->n_keys * D * KEYS, sizeof(float));
    job->dv_sum = fmk_take(ctx, n_h * (size_t)job->n_keys * D * KEYS, sizeof(float));
}

void fmk_attn_bwd_bf16(fmk_ctx *ctx, const fmk_attn *a, const float *q, const float *k, const float *v,
                       const float *o, const float *lse, const float *d_o, float *dq, float *dk, float *dv)
{
    size_t mark = fmk_mark(ctx);
    attn_job job = {.q = q, .k = k, .v = v, .o = o, .lse_in = lse, .d_o = d_o, .dq = dq, .dk = dk, .dv = dv};
    start_job(ctx, &job, a);
    int64_t per_g = a->H / a->G, tokens = job.block.n * FMK_NR;
    int64_t sums = (job.n_sums + 2 * job.n_keys * KEYS) * a->D * per_g;
    int64_t n_g = heads_per_pass(&job, tokens * job.Dp * (3 + 4 * per_g) + sums);
    size_t pass_mark = fmk_mark(ctx);
    for (int64_t g = 0; g < a->G; g += n_g) {
        choose_heads(&job, g, n_g);
        take_backward(ctx, &job);
        fmk_par(ctx, job.block.n, (double)((job.n_g + job.n_h) * a->D * FMK_NR) / 2, layout_task, &job);
        fmk_par(ctx, job.span.n * job.n_h, (double)a->D * TILE * KEYS / 8, bwd_task, &job);
        fmk_par(ctx, job.block.n, (double)((job.n_g + job.n_h) * a->D * FMK_NR) / 8, add_up_task, &job);
        fmk_release(ctx, pass_mark);
    }
    fmk_release(ctx, mark);
}
