/*
 * xent_packed.c: the fused head and cross-entropy of xent.c for a frozen head that was packed for bf16.
 *
 * Logits are 4 V bytes a row, more than any cache holds, so they are written once and read once: the task that makes a
 * tile of them also finds its rows' maxima and sums of exponentials, and leaves e^(l - its maximum) where no cap's slope
 * asks for l itself; the second pass turns a row into its gradient, already rounded for the last product, in the row's
 * own memory. That product sums over the vocabulary: a task owns some columns of dx and turns the head for them a
 * chunk of rows at a time.
 */
#include "internal.h"

#define LOGITS_LIMIT ((int64_t)32 << 20) /* logits held at once */
#define MAX_ROWS     (6 * FMK_TILE_ROWS)
#define COLS         384 /* of a tile of logits          */
#define GRAD_COLS    96
#define GRAD_DEPTH   512 /* units of the vocabulary that are turned at once */

/* Of one row in one tile of columns. */
typedef struct part {
    float max, sum; /* sum of e^(l - max) */
} part;

/* Of one row at its label. */
typedef struct own {
    float logit;
    bool first; /* no logit before it in its tile is as large */
} own;

typedef struct head_job {
    const fmk_packed *E;
    int64_t rows, row0, n_parts;
    int64_t Cu, Vu;    /* units of a row of x, of the gradient */
    int64_t ld;        /* from one row of logits to the next */
    int64_t grad_cols; /* of dx in a task */
    const uint32_t *x;
    float *logits; /* (rows,V), ld apart; then as far apart (rows, Vu) units */
    part *parts;   /* (rows, n_parts) */
    own *own;      /* (rows) */
    const uint32_t *label;
    const float *weight;
    float grad_scale, softcap;
    float *nll, *dx;
    uint8_t *hit;
} head_job;

static own own_of(const float *l, int64_t at)
{
    own o = {.logit = l[at], .first = true};
    for (int64_t j = 0; j < at && o.first; j++) {
        o.first = l[j] < o.logit;
    }
    return o;
}

FMK_INLINE void tile_parts_body(const head_job *job, int64_t r0, int64_t m, int64_t col, int64_t n)
{
    for (int64_t r = r0; r < r0 + m; r++) {
        float *l = job->logits + r * job->ld + col; /* (n) */
        int64_t label = (int64_t)job->label[job->row0 + r] - col;
        float e[COLS];
        for (int64_t j = 0; j < n && job->softcap > 0.0f; j++) {
            l[j] = fmk_softcap(job->softcap, l[j]);
        }
        if (label >= 0 && label < n) { job->own[r] = own_of(l, label); }
        float max = fmk_row_max(n, l);
        for (int64_t j = 0; j < n; j++) {
            e[j] = fmk_exp(l[j] - max);
        }
        job->parts[r * job->n_parts + col / COLS] = (part){max, fmk_row_sum(n, e)};
        if (!(job->softcap > 0.0f)) { memcpy(l, e, (size_t)n * sizeof *l); }
    }
}
FMK_BY_ISA(tile_parts, (const head_job *job, int64_t r0, int64_t m, int64_t col, int64_t n),
           (job, r0, m, col, n))

/* Rows in the inner loop: the head's columns stay in the cache meanwhile. */
static void logits_task(void *arg, size_t i)
{
    const head_job *job = arg;
    int64_t row_tiles = fmk_ceil_div(job->rows, FMK_TILE_ROWS), V = job->E->N;
    int64_t row = (int64_t)i % row_tiles * FMK_TILE_ROWS, col = (int64_t)i / row_tiles * COLS;
    const fmk_tile t = {.M = fmk_min(FMK_TILE_ROWS, job->rows - row),
                        .N = fmk_min(COLS, V - col),
                        .K = job->Cu,
                        .a = job->x + row * job->Cu,
                        .ars = job->Cu,
                        .acs = 1,
                        .b = job->E->panels + col * job->Cu,
                        .b_panel = job->Cu * FMK_NR,
                        .b_row = FMK_NR,
                        .c = job->logits + row * job->ld + col,
                        .ldc = job->ld};
    fmk_tile_rounded(&t);
    tile_parts(job, row, t.M, col, t.N);
}

/* The largest logit, and none before it is as large. */
static bool is_argmax(const part *parts, int64_t label, own o, float max)
{
    bool first = o.first && o.logit == max;
    for (int64_t p = 0; p < label / COLS && first; p++) {
        first = parts[p].max != max;
    }
    return first;
}

/* A tile's columns of a row become e^(l - max) scale, times the cap's slope; there, x (n) is l, else e^(l - top). */
FMK_INLINE void grad_strip_body(int64_t n, float top, float max, float scale, float softcap,
                                const float *restrict x, float *restrict out)
{
    if (!(softcap > 0.0f)) {
        float by = fmk_exp(top - max) * scale;
        for (int64_t j = 0; j < n; j++) {
            out[j] = x[j] * by;
        }
        return;
    }
    float per_cap = 1.0f / softcap;
    for (int64_t j = 0; j < n; j++) {
        float y = x[j] * per_cap;
        out[j] = fmk_exp(x[j] - max) * scale * (1.0f - y * y);
    }
}
FMK_BY_ISA(grad_strip,
           (int64_t n, float top, float max, float scale, float softcap, const float *restrict x,
            float *restrict out),
           (n, top, max, scale, softcap, x, out))

static void row_task(void *arg, size_t i)
{
    const head_job *job = arg;
    int64_t r = (int64_t)i, n = job->row0 + r, V = job->E->N, label = job->label[n];
    const part *parts = job->parts + r * job->n_parts;
    float *l = job->logits + r * job->ld; /* (V) */
    uint32_t *units = (uint32_t *)l;
    own o = job->own[r];
    float max = parts[0].max;
    double sum = 0.0;
    for (int64_t p = 1; p < job->n_parts; p++) {
        max = parts[p].max > max ? parts[p].max : max;
    }
    for (int64_t p = 0; p < job->n_parts; p++) {
        sum += (double)parts[p].sum * exp((double)parts[p].max - max);
    }
    if (job->hit) { job->hit[n] = is_argmax(parts, label, o, max); }
    job->nll[n] = (float)(log(sum) + (double)max - o.logit);
    if (!job->dx) { return; }
    float c = job->weight[n] * job->grad_scale, y = job->softcap > 0.0f ? o.logit / job->softcap : 0.0f;
    for (int64_t j = 0; j < V; j += COLS) { /* a tile's units end before the next tile's logits begin */
        float d[COLS];
        int64_t here = fmk_min(COLS, V - j);
        grad_strip(here, parts[j / COLS].max, max, (float)(c / sum), job->softcap, l + j, d);
        if (label >= j && label < j + here) { d[label - j] -= c * (1.0f - y * y); }
        fmk_round_rows(1, here, d, here, units + j / fmk_pair(), here);
    }
}

static void dx_task(void *arg, size_t i)
{
    const head_job *job = arg;
    int64_t C = job->E->K, V = job->E->N, pair = fmk_pair(), col = (int64_t)i * job->grad_cols;
    int64_t n = fmk_min(job->grad_cols, C - col);
    uint32_t panels[GRAD_COLS * GRAD_DEPTH];
    for (int64_t v = 0; v < V; v += GRAD_DEPTH * pair) {
        int64_t depth = fmk_min(GRAD_DEPTH * pair, V - v), K = fmk_ceil_div(depth, pair);
        for (int64_t j = 0; j < n; j += FMK_NR) {
            fmk_turn_panel(job->E, col + j, v, depth, panels + j * K);
        }
        for (int64_t row = 0; row < job->rows; row += FMK_TILE_ROWS) {
            const fmk_tile t = {.M = fmk_min(FMK_TILE_ROWS, job->rows - row),
                                .N = n,
                                .K = K,
                                .a = (const uint32_t *)job->logits + row * job->ld + v / pair,
                                .ars = job->ld,
                                .acs = 1,
                                .b = panels,
                                .b_panel = K * FMK_NR,
                                .b_row = FMK_NR,
                                .c = job->dx + (job->row0 + row) * C + col,
                                .ldc = C,
                                .add = v > 0};
            fmk_tile_rounded(&t);
        }
    }
}

/* One row's x, rounded. */
typedef struct round_job {
    int64_t C, Cu;
    const float *x;
    uint32_t *out;
} round_job;

static void round_task(void *arg, size_t i)
{
    const round_job *job = arg;
    int64_t r = (int64_t)i;
    fmk_round_rows(1, job->C, job->x + r * job->C, job->C, job->out + r * job->Cu, job->Cu);
}

void fmk_xent_packed(fmk_ctx *ctx, int64_t N, const float *x, const fmk_packed *E, const uint32_t *label,
                     const float *weight, float grad_scale, float softcap, float *nll, uint8_t *hit,
                     float *dx)
{
    assert(E->bf16 && E->N >= 1 && E->K >= 1);
    if (N == 0) { return; }
    size_t mark = fmk_mark(ctx);
    int64_t V = E->N, C = E->K, pair = fmk_pair();
    int64_t rows = fmk_min(MAX_ROWS, fmk_max(1, LOGITS_LIMIT / V / FMK_TILE_ROWS) * FMK_TILE_ROWS);
    rows = fmk_min(rows, N);
    head_job job = {.E = E,
                    .n_parts = fmk_ceil_div(V, COLS),
                    .Cu = fmk_ceil_div(C, pair),
                    .Vu = fmk_ceil_div(V, pair),
                    .ld = fmk_odd_lines(V),
                    .grad_cols = C >= 6 * GRAD_COLS ? GRAD_COLS : FMK_NR,
                    .label = label,
                    .weight = weight,
                    .grad_scale = grad_scale,
                    .softcap = softcap,
                    .nll = nll,
                    .hit = hit,
                    .dx = dx};
    uint32_t *xr = fmk_take(ctx, (size_t)(rows * job.Cu), sizeof *xr);
    job.logits = fmk_take(ctx, (size_t)(rows * job.ld), sizeof *job.logits);
    job.parts = fmk_take(ctx, (size_t)(rows * job.n_parts), sizeof *job.parts);
    job.own = fmk_take(ctx, (size_t)rows, sizeof *job.own);
    job.x = xr;
    for (int64_t n = 0; n < N; n += rows) {
        job.row0 = n;
        job.rows = fmk_min(rows, N - n);
        round_job to_round = {.C = C, .Cu = job.Cu, .x = x + n * C, .out = xr};
        fmk_par(ctx, job.rows, (double)C, round_task, &to_round);
        fmk_par(ctx, fmk_ceil_div(job.rows, FMK_TILE_ROWS) * job.n_parts,
                (double)(FMK_TILE_ROWS * C * COLS / 16), logits_task, &job);
        fmk_par(ctx, job.rows, (double)V / 2.0, row_task, &job);
        if (!dx) { continue; }
        fmk_par(ctx, fmk_ceil_div(C, job.grad_cols), (double)(job.rows * job.grad_cols) * (double)V / 16,
                dx_task, &job);
    }
    fmk_release(ctx, mark);
}
