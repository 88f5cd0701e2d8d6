/*
 * xent.c: the language-model head and the weighted cross-entropy in one pass over blocks of rows.
 *
 * For each block of rows: logits = X E^T, in place softmax and gradient, dX = P E, dE += P^T X. Blocks follow
 * each other in a fixed order whose size depends on N and V only; inside a block threads share tiles. The
 * head's two layouts are made once per call when they fit the scratch limit.
 */
#include "internal.h"

/* Logits held at once, in elements; rows of a block at most. */
#define LOGITS_LIMIT ((int64_t)32 << 20)
#define MAX_ROWS     (8 * FMK_TILE_ROWS)

typedef struct xent_job {
    int64_t V, row0;
    float *logits; /* (rows,V): logits, then the gradient */
    const uint32_t *label;
    const float *weight;
    float grad_scale, softcap;
    float *nll;
    uint8_t *hit;
    bool want_grad;
} xent_job;

/* e^(l-max) in place; returns the sum: f32 in lanes within 1024 values, f64 beyond. */
FMK_INLINE double exp_row(int64_t V, float max, float *l)
{
    double sum = 0.0;
    for (int64_t j0 = 0; j0 < V; j0 += 1024) {
        int64_t n = fmk_min(1024, V - j0);
        for (int64_t j = 0; j < n; j++) {
            l[j0 + j] = fmk_exp(l[j0 + j] - max);
        }
        sum += fmk_row_sum(n, l + j0);
    }
    return sum;
}

FMK_INLINE bool is_argmax(int64_t V, const float *l, int64_t label, float max)
{
    if (l[label] != max) { return false; }
    for (int64_t j = 0; j < label && j < V; j++) {
        if (l[j] == max) { return false; }
    }
    return true;
}

/* The same row with capped logits; they are needed once more for the cap's slope, so that e^(l-max) is made twice. */
FMK_INLINE void capped_row(const xent_job *job, int64_t r)
{
    int64_t n = job->row0 + r, V = job->V, label = job->label[n];
    float *l = job->logits + r * V; /* (V) */
    for (int64_t j = 0; j < V; j++) {
        l[j] = fmk_softcap(job->softcap, l[j]);
    }
    float max = fmk_row_max(V, l), c = job->weight[n] * job->grad_scale;
    if (job->hit) { job->hit[n] = is_argmax(V, l, label, max); }
    double sum = 0.0;
    for (int64_t j0 = 0; j0 < V; j0 += 1024) {
        float e[1024];
        int64_t m = fmk_min(1024, V - j0);
        for (int64_t j = 0; j < m; j++) {
            e[j] = fmk_exp(l[j0 + j] - max);
        }
        sum += fmk_row_sum(m, e);
    }
    job->nll[n] = (float)(log(sum) + (double)max - l[label]);
    if (!job->want_grad) { return; }
    float scale = (float)(c / sum), per_cap = 1.0f / job->softcap;
    float label_slope = 1.0f - l[label] * per_cap * (l[label] * per_cap);
    for (int64_t j = 0; j < V; j++) {
        float y = l[j] * per_cap;
        l[j] = fmk_exp(l[j] - max) * scale * (1.0f - y * y);
    }
    l[label] -= c * label_slope;
}

FMK_INLINE void xent_row_body(const xent_job *job, int64_t r)
{
    if (job->softcap > 0.0f) {
        capped_row(job, r);
        return;
    }
    int64_t n = job->row0 + r, V = job->V, label = job->label[n];
    float *l = job->logits + r * V; /* (V) */
    float max = fmk_row_max(V, l);
    float at_label = l[label];
    if (job->hit) { job->hit[n] = is_argmax(V, l, label, max); }
    double sum = exp_row(V, max, l);
    job->nll[n] = (float)(log(sum) + (double)max - at_label);
    if (!job->want_grad) { return; }
    float c = job->weight[n] * job->grad_scale;
    float scale = (float)(c / sum);
    for (int64_t j = 0; j < V; j++) {
        l[j] *= scale;
    }
    l[label] -= c;
}
FMK_BY_ISA(xent_row, (const xent_job *job, int64_t r), (job, r))

static void xent_task(void *arg, size_t i)
{
    xent_row(arg, (int64_t)i);
}

/* The head in the two layouts, or NULL where it is too large to hold twice. */
typedef struct head {
    const float *E;
    int64_t C, V;
    bool bf16;
    uint32_t *forward, *backward;
} head;

static head lay_out_head(fmk_ctx *ctx, int64_t C, int64_t V, const float *E, bool bf16, bool want_backward)
{
    head h = {.E = E, .C = C, .V = V, .bf16 = bf16};
    if (C * V > 4 * FMK_PACK_LIMIT) { return h; }
    h.forward = fmk_take(ctx, fmk_panels_count(V, C, bf16), sizeof *h.forward);
    fmk_pack_panels(ctx, V, C, true, E, C, bf16, h.forward);
    if (want_backward) {
        h.backward = fmk_take(ctx, fmk_panels_count(C, V, bf16), sizeof *h.backward);
        fmk_pack_panels(ctx, C, V, false, E, C, bf16, h.backward);
    }
    return h;
}

static void head_logits(fmk_ctx *ctx, const head *h, int64_t rows, const float *x, float *logits)
{
    fmk_mm mm = {
        .M = rows, .N = h->V, .K = h->C, .tb = true, .lda = h->C, .ldb = h->C, .ldc = h->V, .bf16 = h->bf16};
    if (h->forward) {
        fmk_mm_panels(ctx, &mm, x, h->forward, logits);
    } else {
        fmk_matmul(ctx, &mm, x, h->E, logits);
    }
}

static void head_input_grad(fmk_ctx *ctx, const head *h, int64_t rows, const float *p, float *dx)
{
    fmk_mm mm = {.M = rows, .N = h->C, .K = h->V, .lda = h->V, .ldb = h->C, .ldc = h->C, .bf16 = h->bf16};
    if (h->backward) {
        fmk_mm_panels(ctx, &mm, p, h->backward, dx);
    } else {
        fmk_matmul(ctx, &mm, p, h->E, dx);
    }
}

void fmk_xent(fmk_ctx *ctx, int64_t N, int64_t C, int64_t V, const float *x, const float *E,
              const uint32_t *label, const float *weight, float grad_scale, float softcap, bool bf16,
              float *nll, uint8_t *hit, float *dx, float *dE)
{
    if (N == 0) { return; }
    assert(V >= 1 && C >= 1);
    size_t mark = fmk_mark(ctx);
    head h = lay_out_head(ctx, C, V, E, bf16, dx != NULL);
    int64_t rows = fmk_max(1, LOGITS_LIMIT / V / FMK_TILE_ROWS) * FMK_TILE_ROWS;
    rows = fmk_min(rows, MAX_ROWS);
    xent_job job = {.V = V,
                    .label = label,
                    .weight = weight,
                    .grad_scale = grad_scale,
                    .softcap = softcap,
                    .nll = nll,
                    .hit = hit,
                    .want_grad = dx || dE};
    job.logits = fmk_take(ctx, (size_t)(fmk_min(rows, N) * V), sizeof *job.logits);
    for (int64_t n = 0; n < N; n += rows) {
        int64_t here = fmk_min(rows, N - n);
        job.row0 = n;
        head_logits(ctx, &h, here, x + n * C, job.logits);
        fmk_par(ctx, here, (double)V / 2.0, xent_task, &job);
        if (dx) { head_input_grad(ctx, &h, here, job.logits, dx + n * C); }
        if (dE) {
            fmk_mm mm = {.M = V,
                         .N = C,
                         .K = here,
                         .ta = true,
                         .lda = V,
                         .ldb = C,
                         .ldc = C,
                         .beta = 1.0f,
                         .bf16 = bf16};
            fmk_matmul(ctx, &mm, job.logits, x + n * C, dE);
        }
    }
    fmk_release(ctx, mark);
}

/* One row: the logits in f64, from rounded inputs when bf16; then the definition. */
static double ref_logit(int64_t C, const float *x, const float *e, float softcap, bool bf16)
{
    double s = 0.0;
    for (int64_t c = 0; c < C; c++) {
        s += bf16 ? (double)fmk_bf16_round(x[c]) * fmk_bf16_round(e[c]) : (double)x[c] * e[c];
    }
    return softcap > 0.0f ? softcap * tanh(s / softcap) : s;
}

void fmk_xent_ref(int64_t N, int64_t C, int64_t V, const float *x, const float *E, const uint32_t *label,
                  const float *weight, float grad_scale, float softcap, bool bf16, float *nll, uint8_t *hit,
                  float *dx, float *dE)
{
    for (int64_t n = 0; n < N; n++) {
        const float *row = x + n * C;
        double max = -INFINITY, sum = 0.0, own = 0.0;
        int64_t best = 0;
        for (int64_t j = 0; j < V; j++) {
            double l = ref_logit(C, row, E + j * C, softcap, bf16);
            if (l > max) {
                max = l;
                best = j;
            }
            own = j == label[n] ? l : own;
        }
        for (int64_t j = 0; j < V; j++) {
            sum += exp(ref_logit(C, row, E + j * C, softcap, bf16) - max);
        }
        nll[n] = (float)(log(sum) + max - own);
        if (hit) { hit[n] = best == label[n]; }
        if (dx) { memset(dx + n * C, 0, (size_t)C * sizeof *dx); }
        for (int64_t j = 0; j < V && (dx || dE); j++) {
            double l = ref_logit(C, row, E + j * C, softcap, bf16);
            double p = exp(l - max) / sum - (j == label[n] ? 1.0 : 0.0);
            double slope = softcap > 0.0f ? 1.0 - pow(l / softcap, 2.0) : 1.0;
            double d = p * weight[n] * grad_scale * slope;
            for (int64_t c = 0; c < C; c++) {
                if (dx) { dx[n * C + c] += (float)(d * E[j * C + c]); }
                if (dE) { dE[j * C + c] += (float)(d * row[c]); }
            }
        }
    }
}
