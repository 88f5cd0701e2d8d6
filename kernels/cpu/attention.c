/*
 * attention.c: causal attention inside segments, forward, and what both directions share; backward: attention_bwd.c;
 * one new token: kv.c. Read attention.h first.
 *
 * Forward is FlashAttention's online softmax (Dao et al. 2022): a task owns TILE queries of one head and walks their
 * keys CHUNK at a time, SUB rows together: their scores stay in the first-level cache, and little is computed above
 * the diagonal. Sums and softmax are f32.
 */
#include "attention.h"

#define CHUNK 512 /* keys whose scores are held at once */

/* ---- cutting segments ---- */

/* size 0: into at most SPANS pieces, multiples of KEYS */
static int64_t step_of(int64_t size, int64_t len)
{
    return size ? size : fmk_max(1, fmk_ceil_div(len, (int64_t)SPANS * KEYS)) * KEYS;
}

static piece_list cut(fmk_ctx *ctx, attn_job *job, int64_t size)
{
    const fmk_attn *a = &job->a;
    piece_list list = {0};
    int64_t block0 = 0, span0 = 0, sums = 0, i = 0;
    for (int64_t s = 0; s < a->n_seg; s++) {
        int64_t len = (int64_t)a->seg[s + 1] - a->seg[s];
        list.n += fmk_ceil_div(len, step_of(size, len));
    }
    list.p = fmk_take(ctx, (size_t)list.n, sizeof *list.p);
    for (int64_t s = 0; s < a->n_seg; s++) {
        int64_t len = (int64_t)a->seg[s + 1] - a->seg[s], step = step_of(size, len);
        for (int64_t at = 0; at < len; at += step) {
            list.p[i++] = (piece){a->seg[s], len, at, fmk_min(step, len - at), block0, span0, sums};
            sums += at > 0 ? len - at : 0;
        }
        block0 += fmk_ceil_div(len, FMK_NR);
        span0 += fmk_ceil_div(len, step_of(0, len));
    }
    job->n_sums = sums;
    return list;
}

void fmk_attn_start(fmk_ctx *ctx, attn_job *job, const fmk_attn *a)
{
    assert(a->D >= 1 && a->D <= FMK_MAX_D && a->G >= 1 && a->H % a->G == 0);
    job->a = *a;
    if (job->a.window <= 0) { job->a.window = INT64_MAX / 2; }
    job->pair = a->bf16 ? fmk_pair() : 1;
    job->Du = fmk_ceil_div(a->D, job->pair);
    job->Dp = fmk_ceil_div(a->D, FMK_NR) * FMK_NR;
    job->block = cut(ctx, job, FMK_NR);
    job->tile = cut(ctx, job, TILE);
    job->span = cut(ctx, job, 0); /* the last: its sums count */
}

int64_t fmk_attn_heads_per_pass(const attn_job *job, int64_t units_per_g)
{
    return fmk_min(job->a.G, fmk_max(1, ATTN_PASS_UNITS / (units_per_g + 1)));
}

void fmk_attn_choose_heads(attn_job *job, int64_t g0, int64_t n_g)
{
    int64_t per_g = job->a.H / job->a.G;
    job->g0 = g0;
    job->n_g = fmk_min(n_g, job->a.G - g0);
    job->h0 = g0 * per_g;
    job->n_h = job->n_g * per_g;
}

/* ---- laying operands out ---- */
static int64_t turned_ld(const attn_job *job)
{
    return fmk_odd_lines(job->block.n * FMK_NR / job->pair);
}

void fmk_attn_take_part(fmk_ctx *ctx, attn_job *job, int part, const float *x, int64_t ld, int lay)
{
    bool keys = part == PART_K || part == PART_V;
    int64_t D = job->a.D, heads = keys ? job->n_g : job->n_h;
    size_t tokens = (size_t)(heads * job->block.n * FMK_NR), Du = (size_t)job->Du, pair = (size_t)job->pair;
    layout l = {.src = x + (keys ? job->g0 : job->h0) * D, .ld = ld, .n_heads = heads};
    if ((lay & LAY_ROWS) && job->a.bf16) { l.rows = fmk_take(ctx, tokens * Du, sizeof *l.rows); }
    if (lay & LAY_ACROSS) { l.across = fmk_take(ctx, tokens * Du, sizeof *l.across); }
    if (lay & LAY_ALONG) { l.along = fmk_take(ctx, tokens / pair * (size_t)job->Dp, sizeof *l.along); }
    if ((lay & LAY_TURNED) && pair == 2) {
        l.turned = fmk_take(ctx, (size_t)(heads * D * turned_ld(job)), sizeof *l.turned);
    }
    job->part[part] = l;
}

left fmk_attn_rows(const attn_job *job, int part, int64_t head, const piece *b, int64_t row)
{
    const layout *l = &job->part[part];
    if (!l->rows) { return (left){l->src + (b->start + row) * l->ld + head * job->a.D, l->ld, 1}; }
    int64_t at = (head * job->block.n + b->block0) * FMK_NR + row;
    return (left){l->rows + at * job->Du, job->Du, 1};
}
left fmk_attn_turned(const attn_job *job, int part, int64_t head, const piece *b, int64_t row)
{
    const layout *l = &job->part[part];
    if (!l->turned) {
        left rows = fmk_attn_rows(job, part, head, b, row);
        return (left){rows.at, 1, rows.row};
    }
    int64_t ld = turned_ld(job);
    return (left){l->turned + head * job->a.D * ld + (b->block0 * FMK_NR + row) / job->pair, ld, 1};
}
const uint32_t *fmk_attn_across(const attn_job *job, int part, int64_t head, int64_t block)
{
    return job->part[part].across + (head * job->block.n + block) * FMK_NR * job->Du;
}
const uint32_t *fmk_attn_along(const attn_job *job, int part, int64_t head, int64_t block)
{
    return job->part[part].along + (head * job->block.n + block) * FMK_NR / job->pair * job->Dp;
}

/* One block along and, of pairs, turned: c is the block along, (NR/pair, Dp). */
static void lay_along(const attn_job *job, const piece *b, const float *x, int64_t ld, uint32_t *c,
                      uint32_t *turned)
{
    int64_t D = job->a.D, Dp = job->Dp, units = FMK_NR / job->pair, used = fmk_ceil_div(b->n, job->pair);
    if (job->a.bf16) {
        fmk_round_cols(b->n, D, x, ld, c, Dp, true);
    } else {
        for (int64_t i = 0; i < b->n; i++) {
            memcpy(c + i * Dp, x + i * ld, (size_t)D * sizeof *c);
            memset(c + i * Dp + D, 0, (size_t)(Dp - D) * sizeof *c);
        }
    }
    memset(c + used * Dp, 0, (size_t)((units - used) * Dp) * sizeof *c);
    for (int64_t d = 0; d < D && turned; d += FMK_NR) {
        float part[FMK_NR * FMK_NR]; /* (D, units), to be cut to its columns */
        int64_t m = fmk_min(FMK_NR, D - d);
        fmk_pack_block_t(m, units, (float *)c + d, Dp, part);
        for (int64_t i = 0; i < m; i++) {
            memcpy(turned + (d + i) * turned_ld(job), part + i * FMK_NR, (size_t)units * sizeof *turned);
        }
    }
}

static void lay_head(const attn_job *job, const layout *l, int64_t head, int64_t i)
{
    const piece *b = &job->block.p[i];
    const float *x = l->src + (b->start + b->at) * l->ld + head * job->a.D; /* (n,D) */
    int64_t Du = job->Du, ld = l->ld, at = head * job->block.n + i;
    uint32_t rows[FMK_NR * FMK_MAX_D], along[FMK_NR * MAX_DP];
    if (job->a.bf16 && (l->rows || l->across)) {
        uint32_t *r = l->rows ? l->rows + at * FMK_NR * Du : rows;
        fmk_round_rows(b->n, job->a.D, x, ld, r, Du);
        if (l->across) { fmk_pack_block_t(Du, b->n, (float *)r, Du, (float *)l->across + at * FMK_NR * Du); }
    } else if (l->across) {
        fmk_pack_block_t(Du, b->n, x, ld, (float *)l->across + at * FMK_NR * Du);
    }
    if (l->along || l->turned) {
        int64_t units = FMK_NR / job->pair;
        uint32_t *c = l->along ? l->along + at * units * job->Dp : along;
        lay_along(job, b, x, ld, c,
                  l->turned ? l->turned + head * job->a.D * turned_ld(job) + i * units : NULL);
    }
}

void fmk_attn_lay_out(const attn_job *job, int64_t i)
{
    for (int part = 0; part < N_PARTS; part++) {
        for (int64_t head = 0; head < job->part[part].n_heads; head++) {
            lay_head(job, &job->part[part], head, i);
        }
    }
}

/* ---- products ---- */
left fmk_attn_left(const attn_job *job, int64_t m, int64_t n, const float *x, int64_t ld, uint32_t *to)
{
    if (!job->a.bf16) { return (left){x, ld, 1}; }
    fmk_round_rows(m, n, x, ld, to, ld / job->pair);
    return (left){to, ld / job->pair, 1};
}

void fmk_attn_scores(const attn_job *job, int64_t M, left a, const uint32_t *across, int64_t n_blocks,
                     float *c, int64_t ldc)
{
    attn_tile(job, &(fmk_tile){.M = M,
                               .N = n_blocks * FMK_NR,
                               .K = job->Du,
                               .a = a.at,
                               .ars = a.row,
                               .acs = a.column,
                               .b = across,
                               .b_panel = job->Du * FMK_NR,
                               .b_row = FMK_NR,
                               .c = c,
                               .ldc = ldc});
}

void fmk_attn_sum_tokens(const attn_job *job, int64_t M, left p, const uint32_t *along, int64_t n_blocks,
                         float *c, int64_t ldc, bool add)
{
    attn_tile(job, &(fmk_tile){.M = M,
                               .N = job->a.D,
                               .K = n_blocks * FMK_NR / job->pair,
                               .a = p.at,
                               .ars = p.row,
                               .acs = p.column,
                               .b = along,
                               .b_panel = FMK_NR,
                               .b_row = job->Dp,
                               .c = c,
                               .ldc = ldc,
                               .add = add});
}

/* ---- forward ---- */
typedef struct running {
    float max[SUB], sum[SUB];
} running;

/* Scores s become probabilities over the running maximum; `run` and o (m,Dp) follow. */
FMK_INLINE void online_softmax_body(const attn_job *job, int64_t pos0, int64_t m, int64_t key0, int64_t cols,
                                    float *s, running *run, float *o)
{
    float scale = job->a.scale;
    for (int64_t r = 0; r < m; r++) {
        float *row = s + r * CHUNK;
        int64_t lo, hi;
        attn_visible(job, pos0 + r, key0, cols, &lo, &hi);
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
    uint32_t rounded[SUB * CHUNK];
    running run;
    memset(o, 0, (size_t)(m * job->Dp) * sizeof *o);
    for (int r = 0; r < SUB; r++) {
        run.max[r] = -INFINITY;
        run.sum[r] = 0.0f;
    }
    left q = fmk_attn_rows(job, PART_Q, head, tile, row);
    int64_t first = fmk_max(0, row + 1 - a->window) / FMK_NR, end = (row + m - 1) / FMK_NR + 1;
    for (int64_t b = first; b < end; b += CHUNK / FMK_NR) {
        int64_t n = fmk_min(CHUNK / FMK_NR, end - b), cols = n * FMK_NR, block = tile->block0 + b;
        fmk_attn_scores(job, m, q, fmk_attn_across(job, PART_K, g, block), n, s, CHUNK);
        online_softmax(job, row, m, b * FMK_NR, cols, s, &run, o);
        left p = fmk_attn_left(job, m, cols, s, CHUNK, rounded);
        fmk_attn_sum_tokens(job, m, p, fmk_attn_along(job, PART_V, g, block), n, o, job->Dp, true);
    }
    finish_rows(m, a->D, job->Dp, &run, o, job->o + t0 * a->ldo + h * a->D, a->ldo);
    for (int64_t r = 0; r < m; r++) {
        job->lse[(t0 + r) * a->H + h] = run.max[r] + logf(run.sum[r]);
    }
}

static void layout_task(void *arg, size_t i)
{
    fmk_attn_lay_out(arg, (int64_t)i);
}

static void fwd_task(void *arg, size_t i)
{
    const attn_job *job = arg;
    const piece *tile = &job->tile.p[job->tile.n - 1 - (int64_t)i / job->n_h]; /* the longest rows first */
    for (int64_t r = 0; r < tile->n; r += SUB) {
        fwd_rows(job, tile, (int64_t)i % job->n_h, tile->at + r, fmk_min(SUB, tile->n - r));
    }
}

void fmk_attn_fwd(fmk_ctx *ctx, const fmk_attn *a, const float *q, const float *k, const float *v, float *o,
                  float *lse)
{
    size_t mark = fmk_mark(ctx);
    attn_job job = {.o = o, .lse = lse};
    fmk_attn_start(ctx, &job, a);
    int64_t tokens = job.block.n * FMK_NR;
    int64_t n_g = fmk_attn_heads_per_pass(&job, tokens * job.Dp * (2 + (a->bf16 ? a->H / a->G : 0)));
    size_t pass_mark = fmk_mark(ctx);
    for (int64_t g = 0; g < a->G; g += n_g) {
        fmk_attn_choose_heads(&job, g, n_g);
        fmk_attn_take_part(ctx, &job, PART_Q, q, a->ldq, LAY_ROWS);
        fmk_attn_take_part(ctx, &job, PART_K, k, a->ldk, LAY_ACROSS);
        fmk_attn_take_part(ctx, &job, PART_V, v, a->ldv, LAY_ALONG);
        fmk_par(ctx, job.block.n, (double)((job.n_g + job.n_h) * a->D * FMK_NR) / 4, layout_task, &job);
        fmk_par(ctx, job.tile.n * job.n_h, (double)a->D * TILE * TILE / 8, fwd_task, &job);
        fmk_release(ctx, pass_mark);
    }
    fmk_release(ctx, mark);
}
