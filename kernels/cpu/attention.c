/*
 * attention.c: causal attention inside segments in tiles, forward and backward, in f32; with rounded operands:
 * attention_bf16.c; one new token: kv.c.
 *
 * Forward is FlashAttention's online softmax (Dao et al. 2022): a task owns ROWS queries of one head of one
 * segment and walks its keys CHUNK at a time. Backward runs twice over the scores so that every output has
 * one writer: dq by query tiles, dk and dv by key tiles. Keys, values (and for the backward pass queries and
 * output gradients) are laid out first in blocks of FMK_NR tokens that start at the segment's start:
 *
 *     across (D,NR)   columns are tokens    right operand of scores
 *     along  (NR,Dp)  rows are tokens       right operand of sums over tokens
 *
 * Dp is D rounded up to whole panels.
 *
 * Positions below are relative to the segment, so a segment's bits do not depend on what is packed beside it.
 */
#include "internal.h"

#define ROWS   FMK_TILE_ROWS
#define CHUNK  128
#define MAX_DP ((FMK_MAX_D + FMK_NR - 1) / FMK_NR * FMK_NR)

/* ROWS tokens of a segment, queries or keys. */
typedef struct attn_tile {
    int64_t seg_start, seg_len;
    int64_t row0, rows;
    int64_t block0; /* number of the segment's first block */
} attn_tile;

/* One operand laid out: head h's block b at data + (h*n_blocks + b) * block_size. */
typedef struct layout {
    const float *src;
    int64_t ld, n_heads, h0;
    float *across, *along;
} layout;

typedef struct attn_job {
    fmk_attn a;
    int64_t Dp, n_blocks, n_tiles;
    int64_t g0, n_g;  /* key/value heads of this pass   */
    int64_t h0, n_h;  /* query heads of this pass       */
    attn_tile *tile;  /* (n_tiles) of ROWS tokens       */
    attn_tile *block; /* (n_blocks) of FMK_NR tokens    */
    layout part[4];   /* k, v, q, d_o                   */
    int n_parts;
    const float *q, *k, *v, *o, *d_o, *lse_in;
    float *out, *lse, *dq, *dk, *dv;
    float *row_lse, *row_delta; /* (n_h,T) */
} attn_job;

enum { PART_K, PART_V, PART_Q, PART_DO };

static const float *across(const attn_job *job, int part, int64_t head, int64_t block)
{
    const layout *p = &job->part[part];
    return p->across + ((head - p->h0) * job->n_blocks + block) * job->a.D * FMK_NR;
}
static const float *along(const attn_job *job, int part, int64_t head, int64_t block)
{
    const layout *p = &job->part[part];
    return p->along + ((head - p->h0) * job->n_blocks + block) * job->Dp * FMK_NR;
}

/* ---- cutting segments, laying operands out ---- */
static int64_t count_pieces(const fmk_attn *a, int64_t size)
{
    int64_t n = 0;
    for (int64_t s = 0; s < a->n_seg; s++) {
        n += fmk_ceil_div((int64_t)a->seg[s + 1] - a->seg[s], size);
    }
    return n;
}

static attn_tile *cut_segments(fmk_ctx *ctx, const fmk_attn *a, int64_t size, int64_t n)
{
    attn_tile *out = fmk_take(ctx, (size_t)n, sizeof *out);
    int64_t at = 0, block0 = 0;
    for (int64_t s = 0; s < a->n_seg; s++) {
        int64_t len = (int64_t)a->seg[s + 1] - a->seg[s];
        for (int64_t row = 0; row < len; row += size) {
            out[at++] = (attn_tile){a->seg[s], len, row, fmk_min(size, len - row), block0};
        }
        block0 += fmk_ceil_div(len, FMK_NR);
    }
    return out;
}

static void layout_task(void *arg, size_t i)
{
    const attn_job *job = arg;
    const attn_tile *b = &job->block[i];
    int64_t D = job->a.D, Dp = job->Dp;
    for (int n = 0; n < job->n_parts; n++) {
        const layout *p = &job->part[n];
        for (int64_t h = 0; h < p->n_heads; h++) {
            const float *src = p->src + (b->seg_start + b->row0) * p->ld + (p->h0 + h) * D;
            int64_t at = h * job->n_blocks + (int64_t)i;
            if (p->across) { fmk_pack_block_t(D, b->rows, src, p->ld, p->across + at * D * FMK_NR); }
            if (!p->along) { continue; }
            float *dst = p->along + at * Dp * FMK_NR;
            memset(dst, 0, (size_t)(Dp * FMK_NR) * sizeof *dst);
            for (int64_t r = 0; r < b->rows; r++) {
                memcpy(dst + r * Dp, src + r * p->ld, (size_t)D * sizeof *dst);
            }
        }
    }
}

static void add_part(fmk_ctx *ctx, attn_job *job, const float *src, int64_t ld, int64_t h0, int64_t n_heads,
                     bool want_across, bool want_along)
{
    layout *p = &job->part[job->n_parts++];
    size_t n = (size_t)(n_heads * job->n_blocks);
    *p = (layout){.src = src, .ld = ld, .n_heads = n_heads, .h0 = h0};
    if (want_across) { p->across = fmk_take(ctx, n * (size_t)(job->a.D * FMK_NR), sizeof(float)); }
    if (want_along) { p->along = fmk_take(ctx, n * (size_t)(job->Dp * FMK_NR), sizeof(float)); }
}

static void start_job(fmk_ctx *ctx, attn_job *job, const fmk_attn *a)
{
    assert(a->D >= 1 && a->D <= FMK_MAX_D && a->G >= 1 && a->H % a->G == 0);
    job->a = *a;
    if (job->a.window <= 0) { job->a.window = INT64_MAX / 2; }
    job->Dp = fmk_ceil_div(a->D, FMK_NR) * FMK_NR;
    job->n_blocks = count_pieces(a, FMK_NR);
    job->n_tiles = count_pieces(a, ROWS);
    job->block = cut_segments(ctx, a, FMK_NR, job->n_blocks);
    job->tile = cut_segments(ctx, a, ROWS, job->n_tiles);
}

/* Key/value heads of one pass, so that what is laid out stays within bounds at any length. */
static int64_t heads_per_pass(const attn_job *job, int64_t operands_per_g)
{
    int64_t per_g = job->n_blocks * FMK_NR * job->Dp * operands_per_g + 1;
    return fmk_min(job->a.G, fmk_max(1, 2 * FMK_PACK_LIMIT / per_g));
}

static void choose_heads(attn_job *job, int64_t g0, int64_t n_g)
{
    int64_t per_g = job->a.H / job->a.G;
    job->g0 = g0;
    job->n_g = fmk_min(n_g, job->a.G - g0);
    job->h0 = g0 * per_g;
    job->n_h = job->n_g * per_g;
}

/* c (M,n_blocks*NR) = a (M,D) times the tokens of n_blocks blocks. */
static void scores(const attn_job *job, int64_t M, const float *a, int64_t lda, const float *b,
                   int64_t n_blocks, float *c)
{
    fmk_tile t = {.M = M,
                  .N = n_blocks * FMK_NR,
                  .K = job->a.D,
                  .a = a,
                  .ars = lda,
                  .acs = 1,
                  .b = b,
                  .b_panel = job->a.D * FMK_NR,
                  .b_row = FMK_NR,
                  .c = c,
                  .ldc = CHUNK};
    fmk_tile_f32(&t);
}

/* c (M,D) (+)= p (M,n_blocks*NR) times the rows of n_blocks blocks. */
static void sum_tokens(const attn_job *job, int64_t M, const float *p, const float *b, int64_t n_blocks,
                       float *c, int64_t ldc, bool add)
{
    fmk_tile t = {.M = M,
                  .N = job->a.D,
                  .K = n_blocks * FMK_NR,
                  .a = p,
                  .ars = CHUNK,
                  .acs = 1,
                  .b = b,
                  .b_panel = FMK_NR,
                  .b_row = job->Dp,
                  .c = c,
                  .ldc = ldc,
                  .add = add};
    fmk_tile_f32(&t);
}

/* ---- forward ---- */
typedef struct running {
    float max[ROWS], sum[ROWS];
} running;

/* Columns lo..hi-1 of a score row become exp(scale*s - max), the others zero; `run` and o (rows,Dp) follow.
 */
FMK_INLINE void online_softmax_body(const attn_job *job, const attn_tile *tile, int64_t key0, int64_t cols,
                                    float *s, running *run, float *o)
{
    for (int64_t r = 0; r < tile->rows; r++) {
        float *row = s + r * CHUNK;
        int64_t pos = tile->row0 + r;
        int64_t hi = fmk_max(0, fmk_min(cols, pos + 1 - key0));
        int64_t lo = fmk_min(hi, fmk_max(0, pos + 1 - job->a.window - key0));
        for (int64_t j = 0; j < cols; j++) {
            row[j] *= job->a.scale;
        }
        for (int64_t j = 0; j < cols && job->a.softcap > 0.0f; j++) {
            row[j] = fmk_softcap(job->a.softcap, row[j]);
        }
        for (int64_t j = 0; j < lo; j++) {
            row[j] = -INFINITY;
        }
        for (int64_t j = hi; j < cols; j++) {
            row[j] = -INFINITY;
        }
        float top = fmk_row_max(cols, row);
        float max = top > run->max[r] ? top : run->max[r];
        float shift = hi > lo ? max : 0.0f;
        for (int64_t j = 0; j < cols; j++) {
            row[j] = fmk_exp(row[j] - shift);
        }
        if (hi == lo) { continue; }
        float keep = fmk_exp(run->max[r] - max);
        run->sum[r] = run->sum[r] * keep + fmk_row_sum(cols, row);
        run->max[r] = max;
        for (int64_t d = 0; d < job->Dp; d++) {
            o[r * job->Dp + d] *= keep;
        }
    }
}
FMK_BY_ISA(online_softmax,
           (const attn_job *job, const attn_tile *tile, int64_t key0, int64_t cols, float *s, running *run,
            float *o),
           (job, tile, key0, cols, s, run, o))

static void fwd_task(void *arg, size_t i)
{
    const attn_job *job = arg;
    const fmk_attn *a = &job->a;
    const attn_tile *tile = &job->tile[job->n_tiles - 1 - (int64_t)i / job->n_h]; /* the longest rows first */
    int64_t h = job->h0 + (int64_t)i % job->n_h, g = h / (a->H / a->G);
    int64_t t0 = tile->seg_start + tile->row0;
    float s[ROWS * CHUNK], o[ROWS * MAX_DP];
    running run;
    memset(o, 0, (size_t)(tile->rows * job->Dp) * sizeof *o);
    for (int r = 0; r < ROWS; r++) {
        run.max[r] = -INFINITY;
        run.sum[r] = 0.0f;
    }
    int64_t first = fmk_max(0, tile->row0 + 1 - a->window) / FMK_NR;
    int64_t end = (tile->row0 + tile->rows - 1) / FMK_NR + 1;
    for (int64_t b = first; b < end; b += CHUNK / FMK_NR) {
        int64_t n = fmk_min(CHUNK / FMK_NR, end - b);
        scores(job, tile->rows, job->q + t0 * a->ldq + h * a->D, a->ldq,
               across(job, PART_K, g, tile->block0 + b), n, s);
        online_softmax(job, tile, b * FMK_NR, n * FMK_NR, s, &run, o);
        sum_tokens(job, tile->rows, s, along(job, PART_V, g, tile->block0 + b), n, o, job->Dp, true);
    }
    for (int64_t r = 0; r < tile->rows; r++) {
        float *out = job->out + (t0 + r) * a->ldo + h * a->D; /* (D) */
        float inv = 1.0f / run.sum[r];
        for (int64_t d = 0; d < a->D; d++) {
            out[d] = o[r * job->Dp + d] * inv;
        }
        job->lse[(t0 + r) * a->H + h] = run.max[r] + logf(run.sum[r]);
    }
}

void fmk_attn_fwd(fmk_ctx *ctx, const fmk_attn *a, const float *q, const float *k, const float *v, float *o,
                  float *lse)
{
    if (a->bf16) {
        fmk_attn_fwd_bf16(ctx, a, q, k, v, o, lse);
        return;
    }
    size_t mark = fmk_mark(ctx);
    attn_job job = {.q = q, .out = o, .lse = lse};
    start_job(ctx, &job, a);
    int64_t n_g = heads_per_pass(&job, 2);
    size_t pass_mark = fmk_mark(ctx);
    for (int64_t g = 0; g < a->G; g += n_g) {
        choose_heads(&job, g, n_g);
        job.n_parts = 0;
        add_part(ctx, &job, k, a->ldk, job.g0, job.n_g, true, false);
        add_part(ctx, &job, v, a->ldv, job.g0, job.n_g, false, true);
        fmk_par(ctx, job.n_blocks, (double)(job.n_g * a->D * FMK_NR), layout_task, &job);
        fmk_par(ctx, job.n_tiles * job.n_h, (double)a->D * ROWS * ROWS / 4, fwd_task, &job);
        fmk_release(ctx, pass_mark);
    }
    fmk_release(ctx, mark);
}

/* ---- backward ---- */
FMK_INLINE void row_sums_body(const attn_job *job, const attn_tile *b)
{
    const fmk_attn *a = &job->a;
    for (int64_t t = b->seg_start + b->row0; t < b->seg_start + b->row0 + b->rows; t++) {
        for (int64_t i = 0; i < job->n_h; i++) {
            int64_t h = job->h0 + i;
            job->row_lse[i * a->T + t] = job->lse_in[t * a->H + h];
            job->row_delta[i * a->T + t] =
                fmk_dot(a->D, job->d_o + t * a->ldo + h * a->D, job->o + t * a->ldo + h * a->D);
        }
    }
}
FMK_BY_ISA(row_sums, (const attn_job *job, const attn_tile *b), (job, b))

static void row_sums_task(void *arg, size_t i)
{
    const attn_job *job = arg;
    row_sums(job, &job->block[i]);
}

/*
 * Capped scores, so that what follows is the same as without a cap: plain scores s become the capped ones over
 * `scale`, and dp is moved towards delta by the slope of the cap, dp - delta being what the gradient is made of.
 * delta by rows or by columns.
 */
FMK_INLINE void cap_tile_body(const attn_job *job, int64_t rows, int64_t cols, const float *delta,
                              bool by_row, float *restrict s, float *restrict dp)
{
    float cap = job->a.softcap, scale = job->a.scale;
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t j = 0; j < cols; j++) {
            float y = fmk_softcap(cap, s[r * CHUNK + j] * scale);
            float slope = 1.0f - (y / cap) * (y / cap), base = by_row ? delta[r] : delta[j];
            s[r * CHUNK + j] = y / scale;
            dp[r * CHUNK + j] = base + slope * (dp[r * CHUNK + j] - base);
        }
    }
}
FMK_BY_ISA(cap_tile,
           (const attn_job *job, int64_t rows, int64_t cols, const float *delta, bool by_row,
            float *restrict s, float *restrict dp),
           (job, rows, cols, delta, by_row, s, dp))

static const float *delta_at(const attn_job *job, int64_t head, int64_t t)
{
    return job->row_delta + (head - job->h0) * job->a.T + t;
}

/* s := probabilities from scores; dp := gradient of the scores. Rows are queries, columns keys. */
FMK_INLINE void grad_by_query_body(const attn_job *job, const attn_tile *tile, int64_t head, int64_t key0,
                                   int64_t cols, float *restrict s, float *restrict dp)
{
    const float *lse = job->row_lse + (head - job->h0) * job->a.T + tile->seg_start + tile->row0;
    const float *delta = job->row_delta + (head - job->h0) * job->a.T + tile->seg_start + tile->row0;
    float scale = job->a.scale;
    for (int64_t r = 0; r < tile->rows; r++) {
        int64_t pos = tile->row0 + r;
        int64_t hi = fmk_max(0, fmk_min(cols, pos + 1 - key0));
        int64_t lo = fmk_min(hi, fmk_max(0, pos + 1 - job->a.window - key0));
        float *p = s + r * CHUNK;
        float *d = dp + r * CHUNK;
        for (int64_t j = 0; j < cols; j++) {
            d[j] = fmk_exp(p[j] * scale - lse[r]) * (d[j] - delta[r]) * scale;
        }
        for (int64_t j = 0; j < lo; j++) {
            d[j] = 0.0f;
        }
        for (int64_t j = hi; j < cols; j++) {
            d[j] = 0.0f;
        }
    }
}
FMK_BY_ISA(grad_by_query,
           (const attn_job *job, const attn_tile *tile, int64_t head, int64_t key0, int64_t cols,
            float *restrict s, float *restrict dp),
           (job, tile, head, key0, cols, s, dp))

static void dq_task(void *arg, size_t i)
{
    const attn_job *job = arg;
    const fmk_attn *a = &job->a;
    const attn_tile *tile = &job->tile[job->n_tiles - 1 - (int64_t)i / job->n_h];
    int64_t h = job->h0 + (int64_t)i % job->n_h, g = h / (a->H / a->G);
    int64_t t0 = tile->seg_start + tile->row0;
    float s[ROWS * CHUNK], dp[ROWS * CHUNK];
    int64_t first = fmk_max(0, tile->row0 + 1 - a->window) / FMK_NR;
    int64_t end = (tile->row0 + tile->rows - 1) / FMK_NR + 1;
    for (int64_t b = first; b < end; b += CHUNK / FMK_NR) {
        int64_t n = fmk_min(CHUNK / FMK_NR, end - b), at = tile->block0 + b;
        scores(job, tile->rows, job->q + t0 * a->ldq + h * a->D, a->ldq, across(job, PART_K, g, at), n, s);
        scores(job, tile->rows, job->d_o + t0 * a->ldo + h * a->D, a->ldo, across(job, PART_V, g, at), n, dp);
        if (a->softcap > 0.0f) { cap_tile(job, tile->rows, n * FMK_NR, delta_at(job, h, t0), true, s, dp); }
        grad_by_query(job, tile, h, b * FMK_NR, n * FMK_NR, s, dp);
        sum_tokens(job, tile->rows, dp, along(job, PART_K, g, at), n, job->dq + t0 * a->ldq + h * a->D,
                   a->ldq, b > first);
    }
}

/* The same with rows keys, columns queries query0..; both s and dp are results. */
FMK_INLINE void grad_by_key_body(const attn_job *job, const attn_tile *tile, int64_t head, int64_t query0,
                                 int64_t cols, float *restrict s, float *restrict dp)
{
    int64_t n = fmk_min(cols, tile->seg_len - query0);
    const float *lse = job->row_lse + (head - job->h0) * job->a.T + tile->seg_start + query0;
    const float *delta = job->row_delta + (head - job->h0) * job->a.T + tile->seg_start + query0;
    float scale = job->a.scale;
    for (int64_t r = 0; r < tile->rows; r++) {
        int64_t pos = tile->row0 + r;
        int64_t lo = fmk_min(n, fmk_max(0, pos - query0));
        int64_t hi = fmk_max(lo, fmk_min(n, pos - query0 + job->a.window));
        float *p = s + r * CHUNK;
        float *d = dp + r * CHUNK;
        for (int64_t j = 0; j < n; j++) {
            p[j] = fmk_exp(p[j] * scale - lse[j]);
            d[j] = p[j] * (d[j] - delta[j]) * scale;
        }
        for (int64_t j = 0; j < lo; j++) {
            p[j] = d[j] = 0.0f;
        }
        for (int64_t j = hi; j < cols; j++) {
            p[j] = d[j] = 0.0f;
        }
    }
}
FMK_BY_ISA(grad_by_key,
           (const attn_job *job, const attn_tile *tile, int64_t head, int64_t query0, int64_t cols,
            float *restrict s, float *restrict dp),
           (job, tile, head, query0, cols, s, dp))

static void dkv_task(void *arg, size_t i)
{
    const attn_job *job = arg;
    const fmk_attn *a = &job->a;
    const attn_tile *tile = &job->tile[(int64_t)i / job->n_g];
    int64_t g = job->g0 + (int64_t)i % job->n_g, per_g = a->H / a->G;
    int64_t t0 = tile->seg_start + tile->row0;
    const float *k = job->k + t0 * a->ldk + g * a->D, *v = job->v + t0 * a->ldv + g * a->D;
    float s[ROWS * CHUNK], dp[ROWS * CHUNK];
    int64_t last = fmk_min(tile->seg_len - 1, tile->row0 + tile->rows - 1 + fmk_min(a->window, a->T) - 1);
    int64_t first = tile->row0 / FMK_NR, end = last / FMK_NR + 1;
    bool add = false;
    for (int64_t h = g * per_g; h < (g + 1) * per_g; h++) {
        for (int64_t b = first; b < end; b += CHUNK / FMK_NR) {
            int64_t n = fmk_min(CHUNK / FMK_NR, end - b), at = tile->block0 + b;
            scores(job, tile->rows, k, a->ldk, across(job, PART_Q, h, at), n, s);
            scores(job, tile->rows, v, a->ldv, across(job, PART_DO, h, at), n, dp);
            if (a->softcap > 0.0f) {
                int64_t cols = fmk_min(n * FMK_NR, tile->seg_len - b * FMK_NR);
                cap_tile(job, tile->rows, cols, delta_at(job, h, tile->seg_start + b * FMK_NR), false, s, dp);
            }
            grad_by_key(job, tile, h, b * FMK_NR, n * FMK_NR, s, dp);
            sum_tokens(job, tile->rows, s, along(job, PART_DO, h, at), n, job->dv + t0 * a->ldv + g * a->D,
                       a->ldv, add);
            sum_tokens(job, tile->rows, dp, along(job, PART_Q, h, at), n, job->dk + t0 * a->ldk + g * a->D,
                       a->ldk, add);
            add = true;
        }
    }
}

void fmk_attn_bwd(fmk_ctx *ctx, const fmk_attn *a, const float *q, const float *k, const float *v,
                  const float *o, const float *lse, const float *d_o, float *dq, float *dk, float *dv)
{
    if (a->bf16) {
        fmk_attn_bwd_bf16(ctx, a, q, k, v, o, lse, d_o, dq, dk, dv);
        return;
    }
    size_t mark = fmk_mark(ctx);
    attn_job job = {.q = q, .k = k, .v = v, .o = o, .lse_in = lse, .d_o = d_o, .dq = dq, .dk = dk, .dv = dv};
    start_job(ctx, &job, a);
    int64_t per_g = a->H / a->G;
    int64_t n_g = heads_per_pass(&job, 3 + 4 * per_g);
    size_t pass_mark = fmk_mark(ctx);
    double tile_work = (double)a->D * ROWS * ROWS / 2;
    for (int64_t g = 0; g < a->G; g += n_g) {
        choose_heads(&job, g, n_g);
        job.n_parts = 0;
        add_part(ctx, &job, k, a->ldk, job.g0, job.n_g, true, true);
        add_part(ctx, &job, v, a->ldv, job.g0, job.n_g, true, false);
        add_part(ctx, &job, q, a->ldq, job.h0, job.n_h, true, true);
        add_part(ctx, &job, d_o, a->ldo, job.h0, job.n_h, true, true);
        job.row_lse = fmk_take(ctx, (size_t)(job.n_h * a->T), sizeof(float));
        job.row_delta = fmk_take(ctx, (size_t)(job.n_h * a->T), sizeof(float));
        fmk_par(ctx, job.n_blocks, (double)(2 * job.n_h * a->D * FMK_NR), layout_task, &job);
        fmk_par(ctx, job.n_blocks, (double)(job.n_h * a->D * FMK_NR) / 8, row_sums_task, &job);
        fmk_par(ctx, job.n_tiles * job.n_h, tile_work, dq_task, &job);
        fmk_par(ctx, job.n_tiles * job.n_g, tile_work * (double)per_g, dkv_task, &job);
        fmk_release(ctx, pass_mark);
    }
    fmk_release(ctx, mark);
}

/* ---- by the definition, one query at a time, in f64 ---- */
static void ref_range(const fmk_attn *a, int64_t s, int64_t t, int64_t *from)
{
    *from = a->seg[s];
    if (a->window > 0) { *from = fmk_max(*from, t + 1 - a->window); }
}

/* A product's operand */
static double ref_value(const fmk_attn *a, float x)
{
    return (double)(a->bf16 ? fmk_bf16_round(x) : x);
}

static double ref_score(const fmk_attn *a, int64_t t, int64_t j, int64_t h, const float *q, const float *k)
{
    int64_t g = h / (a->H / a->G);
    double s = 0.0;
    for (int64_t d = 0; d < a->D; d++) {
        s += ref_value(a, q[t * a->ldq + h * a->D + d]) * ref_value(a, k[j * a->ldk + g * a->D + d]);
    }
    s *= a->scale;
    return a->softcap > 0.0f ? a->softcap * tanh(s / a->softcap) : s;
}

static void ref_fwd_row(const fmk_attn *a, int64_t from, int64_t t, int64_t h, const float *q, const float *k,
                        const float *v, float *o, float *lse)
{
    int64_t g = h / (a->H / a->G);
    double acc[FMK_MAX_D] = {0};
    double max = -INFINITY, sum = 0.0;
    for (int64_t j = from; j <= t; j++) {
        max = fmax(max, ref_score(a, t, j, h, q, k));
    }
    for (int64_t j = from; j <= t; j++) {
        double p = exp(ref_score(a, t, j, h, q, k) - max);
        sum += p;
        for (int64_t d = 0; d < a->D; d++) {
            acc[d] += p * ref_value(a, v[j * a->ldv + g * a->D + d]);
        }
    }
    for (int64_t d = 0; d < a->D; d++) {
        o[t * a->ldo + h * a->D + d] = (float)(acc[d] / sum);
    }
    lse[t * a->H + h] = (float)(max + log(sum));
}

void fmk_attn_fwd_ref(const fmk_attn *a, const float *q, const float *k, const float *v, float *o, float *lse)
{
    for (int64_t s = 0; s < a->n_seg; s++) {
        for (int64_t t = a->seg[s]; t < a->seg[s + 1]; t++) {
            int64_t from;
            ref_range(a, s, t, &from);
            for (int64_t h = 0; h < a->H; h++) {
                ref_fwd_row(a, from, t, h, q, k, v, o, lse);
            }
        }
    }
}

static void ref_bwd_row(const fmk_attn *a, int64_t from, int64_t t, int64_t h, const float *q, const float *k,
                        const float *v, const float *o, const float *lse, const float *d_o, float *dq,
                        float *dk, float *dv)
{
    int64_t D = a->D, g = h / (a->H / a->G);
    double delta = 0.0;
    for (int64_t d = 0; d < D; d++) {
        delta += (double)d_o[t * a->ldo + h * D + d] * o[t * a->ldo + h * D + d];
    }
    for (int64_t j = from; j <= t; j++) {
        double score = ref_score(a, t, j, h, q, k), p = exp(score - lse[t * a->H + h]);
        double slope = a->softcap > 0.0f ? 1.0 - pow(score / a->softcap, 2.0) : 1.0;
        double dp = 0.0;
        for (int64_t d = 0; d < D; d++) {
            dp += ref_value(a, d_o[t * a->ldo + h * D + d]) * ref_value(a, v[j * a->ldv + g * D + d]);
        }
        double ds = p * (dp - delta) * slope * a->scale;
        for (int64_t d = 0; d < D; d++) {
            dq[t * a->ldq + h * D + d] += (float)(ds * ref_value(a, k[j * a->ldk + g * D + d]));
            dk[j * a->ldk + g * D + d] += (float)(ds * ref_value(a, q[t * a->ldq + h * D + d]));
            dv[j * a->ldv + g * D + d] += (float)(p * ref_value(a, d_o[t * a->ldo + h * D + d]));
        }
    }
}

static void ref_zero(int64_t T, int64_t n, int64_t ld, float *x)
{
    for (int64_t t = 0; t < T; t++) {
        memset(x + t * ld, 0, (size_t)n * sizeof *x);
    }
}

void fmk_attn_bwd_ref(const fmk_attn *a, const float *q, const float *k, const float *v, const float *o,
                      const float *lse, const float *d_o, float *dq, float *dk, float *dv)
{
    ref_zero(a->T, a->H * a->D, a->ldq, dq);
    ref_zero(a->T, a->G * a->D, a->ldk, dk);
    ref_zero(a->T, a->G * a->D, a->ldv, dv);
    for (int64_t s = 0; s < a->n_seg; s++) {
        for (int64_t t = a->seg[s]; t < a->seg[s + 1]; t++) {
            int64_t from;
            ref_range(a, s, t, &from);
            for (int64_t h = 0; h < a->H; h++) {
                ref_bwd_row(a, from, t, h, q, k, v, o, lse, d_o, dq, dk, dv);
            }
        }
    }
}
