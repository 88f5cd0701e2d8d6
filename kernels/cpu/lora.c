/*
 * lora.c: the projections that read one input, each a frozen packed weight and LoRA (Hu et al. 2021) beside it, with
 * operands rounded to bf16; forward and backward.
 *
 * The products of LoRA are so thin (R columns, or R deep) that laying out their operands costs more than multiplying.
 * So an input and an output gradient are rounded once for all products that read them, LoRA's part is added while the
 * tile of the frozen part lies in the cache, and the sums over tokens (dA, dB) round a strip of columns where they
 * multiply it. Rows come in blocks that bound the scratch.
 *
 *   forward    u = scale x A^T                y_i = x W_i^T + u_i B_i^T
 *   backward   du = scale dy_i B_i            dx = sum of dy_i W_i, + du A        dB_i += dy_i^T u_i    dA += du^T x
 */
#include "internal.h"

#define TILE_COLS 384
#define STRIP     (2 * FMK_NR) /* columns of a sum over tokens  */
#define DEPTH     1024         /* tokens of a sum at once       */

/* A matrix (T,n) in units: rows (T, n/pair), or turned (n, T/pair). */
typedef struct operand {
    uint32_t *p;
    int64_t ld;
} operand;

/* out (T,N) = sum over ranges of a b; a: rows, b: panels. */
typedef struct range {
    const uint32_t *a, *b;
    int64_t lda, K;
} range;
typedef struct product {
    int64_t N, ldc, n_ranges, first; /* first: number of its first tile */
    range range[FMK_LORA_MAX + 1];
    float *out;
    bool add;
} product;

/* out (M,N) += a (M,T) x (T,N) for tokens; turned: out is (N,M). */
typedef struct token_sum {
    int64_t M, N, first; /* first: number of its first strip */
    operand a;
    const float *x;
    float *out;
    bool turned;
} token_sum;

typedef struct lora_job {
    fmk_lora l;
    int64_t T, t0, pair, row_tiles; /* the block of rows: T from t0 */
    operand x, x_lora, u[FMK_LORA_MAX], dy[FMK_LORA_MAX], du;
    uint32_t *a, *b[FMK_LORA_MAX]; /* panels */
    float *u_out;                  /* (T,n_u) of the block: u, or du */
    product product[FMK_LORA_MAX];
    int n_products;
    token_sum sum[FMK_LORA_MAX + 1];
    int n_sums;
} lora_job;

static int64_t units(const lora_job *job, int64_t n)
{
    return fmk_ceil_div(n, job->pair);
}

static operand take_rows(fmk_ctx *ctx, const lora_job *job, int64_t n)
{
    int64_t ld = units(job, n);
    return (operand){fmk_take(ctx, (size_t)(job->T * ld), sizeof(uint32_t)), ld};
}

static uint32_t *take_panels(fmk_ctx *ctx, int64_t N, int64_t K, bool t, const float *b, int64_t ldb)
{
    uint32_t *p = fmk_take(ctx, fmk_panels_count(N, K, true), sizeof *p);
    fmk_pack_panels(ctx, N, K, t, b, ldb, true, p);
    return p;
}

/* ---- rounding rows ---- */
typedef struct round_job {
    int64_t T, n[FMK_LORA_MAX];
    const float *x[FMK_LORA_MAX];
    operand out[FMK_LORA_MAX];
    int n_operands;
} round_job;

static void round_task(void *arg, size_t i)
{
    const round_job *job = arg;
    int64_t t = (int64_t)i * 16, m = fmk_min(16, job->T - t);
    for (int k = 0; k < job->n_operands; k++) {
        const operand *out = &job->out[k];
        fmk_round_rows(m, job->n[k], job->x[k] + t * job->n[k], job->n[k], out->p + t * out->ld, out->ld);
    }
}

static void add_operand(round_job *job, int64_t n, const float *x, operand out)
{
    job->n[job->n_operands] = n;
    job->x[job->n_operands] = x;
    job->out[job->n_operands++] = out;
}

static void round_all(fmk_ctx *ctx, const round_job *job)
{
    double work = 0.0;
    for (int k = 0; k < job->n_operands; k++) {
        work += 2.0 * (double)job->n[k];
    }
    fmk_par(ctx, fmk_ceil_div(job->T, 16), work, round_task, (void *)(uintptr_t)job);
}

/* out (n, T/pair) = x (T,n) transposed */
typedef struct turn_job {
    int64_t T, n, ldx;
    const float *x;
    operand out;
} turn_job;

static void turn_task(void *arg, size_t i)
{
    const turn_job *job = arg;
    int64_t pair = fmk_pair(), column = (int64_t)i * FMK_NR, t = column * pair;
    int64_t m = fmk_min(FMK_NR * pair, job->T - t), n_units = fmk_ceil_div(m, pair);
    for (int64_t j = 0; j < job->n; j += FMK_NR) {
        uint32_t cols[FMK_NR * FMK_NR], part[FMK_NR * FMK_NR];
        int64_t n = fmk_min(FMK_NR, job->n - j);
        fmk_round_cols(m, n, job->x + t * job->ldx + j, job->ldx, cols, FMK_NR, true);
        fmk_pack_block_t(n, n_units, (float *)cols, FMK_NR, (float *)part);
        for (int64_t r = 0; r < n; r++) {
            memcpy(job->out.p + (j + r) * job->out.ld + column, part + r * FMK_NR,
                   (size_t)n_units * sizeof *part);
        }
    }
}

static operand turn(fmk_ctx *ctx, int64_t T, int64_t n, const float *x, int64_t ldx)
{
    turn_job job = {.T = T, .n = n, .ldx = ldx, .x = x};
    job.out.ld = fmk_ceil_div(T, fmk_pair());
    job.out.p = fmk_take(ctx, (size_t)(n * job.out.ld), sizeof *job.out.p);
    fmk_par(ctx, fmk_ceil_div(job.out.ld, FMK_NR), 4.0 * FMK_NR * (double)n, turn_task, &job);
    return job.out;
}

/* ---- products ---- */
static void multiply(int64_t M, int64_t N, const range *r, int64_t row, int64_t col, float *c, int64_t ldc,
                     bool add)
{
    const fmk_tile t = {.M = M,
                        .N = N,
                        .K = r->K,
                        .a = r->a + row * r->lda,
                        .ars = r->lda,
                        .acs = 1,
                        .b = r->b + col * r->K,
                        .b_panel = r->K * FMK_NR,
                        .b_row = FMK_NR,
                        .c = c,
                        .ldc = ldc,
                        .add = add};
    fmk_tile_rounded(&t);
}

/* Rows in the inner loop: the panels of a column of tiles stay in the cache. */
static void product_task(void *arg, size_t i)
{
    const lora_job *job = arg;
    int p = 0;
    while (p + 1 < job->n_products && (int64_t)i >= job->product[p + 1].first) {
        p++;
    }
    const product *m = &job->product[p];
    int64_t at = (int64_t)i - m->first, row = at % job->row_tiles * FMK_TILE_ROWS;
    int64_t col = at / job->row_tiles * TILE_COLS;
    for (int64_t r = 0; r < m->n_ranges; r++) {
        multiply(fmk_min(FMK_TILE_ROWS, job->T - row), fmk_min(TILE_COLS, m->N - col), &m->range[r], row, col,
                 m->out + row * m->ldc + col, m->ldc, m->add || r > 0);
    }
}

static product *add_product(lora_job *job, int64_t N, float *out, bool add)
{
    product *p = &job->product[job->n_products++];
    int64_t first = p == job->product ? 0 : p[-1].first + job->row_tiles * fmk_ceil_div(p[-1].N, TILE_COLS);
    *p = (product){.N = N, .ldc = N, .first = first, .out = out + job->t0 * N, .add = add};
    return p;
}

static void add_range(product *p, const operand *a, const uint32_t *b, int64_t K)
{
    p->range[p->n_ranges++] = (range){.a = a->p, .b = b, .lda = a->ld, .K = K};
}

static void run_products(fmk_ctx *ctx, lora_job *job)
{
    const product *last = &job->product[job->n_products - 1];
    int64_t n = last->first + job->row_tiles * fmk_ceil_div(last->N, TILE_COLS);
    fmk_par(ctx, n, (double)FMK_TILE_ROWS * TILE_COLS * (double)job->l.K / 32, product_task, job);
}

/* ---- sums over tokens ---- */
/* out (n,m) += part (m,n) transposed */
static void add_turned(int64_t m, int64_t n, const float *part, float *out, int64_t ld)
{
    for (int64_t j = 0; j < n; j++) {
        for (int64_t k = 0; k < m; k++) {
            out[j * ld + k] += part[k * STRIP + j];
        }
    }
}

static void sum_task(void *arg, size_t i)
{
    const lora_job *job = arg;
    int s = 0;
    while (s + 1 < job->n_sums && (int64_t)i >= job->sum[s + 1].first) {
        s++;
    }
    const token_sum *q = &job->sum[s];
    int64_t col = ((int64_t)i - q->first) * STRIP, n = fmk_min(STRIP, q->N - col);
    uint32_t panels[STRIP * DEPTH];
    float part[FMK_TILE_ROWS * STRIP];
    for (int64_t t = 0; t < job->T; t += DEPTH) {
        int64_t depth = fmk_min(DEPTH, job->T - t), K = units(job, depth);
        for (int64_t j = 0; j < n; j += FMK_NR) {
            fmk_round_cols(depth, fmk_min(FMK_NR, n - j), q->x + t * q->N + col + j, q->N, panels + j * K,
                           FMK_NR, true);
        }
        for (int64_t r = 0; r < q->M; r += FMK_TILE_ROWS) {
            int64_t m = fmk_min(FMK_TILE_ROWS, q->M - r);
            const range x = {.a = q->a.p + t / job->pair, .b = panels, .lda = q->a.ld, .K = K};
            if (!q->turned) {
                multiply(m, n, &x, r, 0, q->out + r * q->N + col, q->N, true);
                continue;
            }
            multiply(m, n, &x, r, 0, part, STRIP, false);
            add_turned(m, n, part, q->out + col * q->M + r, q->M);
        }
    }
}

static void add_sum(lora_job *job, int64_t M, int64_t N, operand a, const float *x, float *out, bool turned)
{
    token_sum *s = &job->sum[job->n_sums++];
    int64_t first = s == job->sum ? 0 : s[-1].first + fmk_ceil_div(s[-1].N, STRIP);
    *s = (token_sum){
        .M = M, .N = N, .first = first, .a = a, .x = x + job->t0 * N, .out = out, .turned = turned};
}

static void run_sums(fmk_ctx *ctx, lora_job *job)
{
    const token_sum *last = &job->sum[job->n_sums - 1];
    fmk_par(ctx, last->first + fmk_ceil_div(last->N, STRIP), (double)job->T * STRIP * (double)job->l.R / 16,
            sum_task, job);
}

/* ---- forward ---- */
FMK_INLINE void scale_rows_body(int64_t m, int64_t n, int64_t ld, float scale, float *x)
{
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            x[i * ld + j] *= scale;
        }
    }
}
FMK_BY_ISA(scale_rows, (int64_t m, int64_t n, int64_t ld, float scale, float *x), (m, n, ld, scale, x))

/* u of a tile's rows, and its parts rounded. */
static void u_task(void *arg, size_t i)
{
    const lora_job *job = arg;
    const fmk_lora *l = &job->l;
    int64_t row = (int64_t)i * FMK_TILE_ROWS, m = fmk_min(FMK_TILE_ROWS, job->T - row);
    const range x = {.a = job->x_lora.p, .b = job->a, .lda = job->x_lora.ld, .K = units(job, l->K)};
    float *u = job->u_out + row * l->n_u;
    multiply(m, l->n_u, &x, row, 0, u, l->n_u, false);
    scale_rows(m, l->n_u, l->n_u, l->scale, u);
    for (int p = 0; p < l->n; p++) {
        const operand *to = &job->u[p];
        if (l->proj[p].b) {
            fmk_round_rows(m, l->R, u + l->proj[p].column, l->n_u, to->p + row * to->ld, to->ld);
        }
    }
}

static void forward_block(fmk_ctx *ctx, lora_job *job, float *u)
{
    const fmk_lora *l = &job->l;
    round_job rounds = {.T = job->T};
    job->x = take_rows(ctx, job, l->K);
    add_operand(&rounds, l->K, l->x + job->t0 * l->K, job->x);
    job->x_lora = job->x;
    if (l->x_lora != l->x) {
        job->x_lora = take_rows(ctx, job, l->K);
        add_operand(&rounds, l->K, l->x_lora + job->t0 * l->K, job->x_lora);
    }
    round_all(ctx, &rounds);
    job->a = take_panels(ctx, l->n_u, l->K, true, l->a, l->K);
    job->u_out = u + job->t0 * l->n_u;
    for (int p = 0; p < l->n; p++) {
        if (l->proj[p].b) { job->u[p] = take_rows(ctx, job, l->R); }
    }
    fmk_par(ctx, job->row_tiles, (double)FMK_TILE_ROWS * (double)(l->n_u * l->K) / 16, u_task, job);
    for (int p = 0; p < l->n; p++) {
        const fmk_lora_proj *proj = &l->proj[p];
        product *y = add_product(job, proj->w->N, proj->y, proj->add);
        add_range(y, &job->x, proj->w->fwd, units(job, l->K));
        if (!proj->b) { continue; }
        add_range(y, &job->u[p], take_panels(ctx, proj->w->N, l->R, true, proj->b, l->R), units(job, l->R));
    }
    run_products(ctx, job);
}

/* ---- backward ---- */
/* du of a tile's rows, and rounded. */
static void du_task(void *arg, size_t i)
{
    const lora_job *job = arg;
    const fmk_lora *l = &job->l;
    int64_t row = (int64_t)i * FMK_TILE_ROWS, m = fmk_min(FMK_TILE_ROWS, job->T - row);
    float *du = job->u_out + row * l->n_u;
    for (int p = 0; p < l->n; p++) {
        const range dy = {
            .a = job->dy[p].p, .b = job->b[p], .lda = job->dy[p].ld, .K = units(job, l->proj[p].w->N)};
        if (l->proj[p].b) { multiply(m, l->R, &dy, row, 0, du + l->proj[p].column, l->n_u, false); }
    }
    scale_rows(m, l->n_u, l->n_u, l->scale, du);
    fmk_round_rows(m, l->n_u, du, l->n_u, job->du.p + row * job->du.ld, job->du.ld);
}

static void input_gradient(fmk_ctx *ctx, lora_job *job, float *dx, float *dx_lora)
{
    const fmk_lora *l = &job->l;
    const uint32_t *a = take_panels(ctx, l->K, l->n_u, false, l->a, l->K);
    product *sum = add_product(job, l->K, dx, false);
    for (int p = 0; p < l->n; p++) {
        add_range(sum, &job->dy[p], l->proj[p].w->bwd, units(job, l->proj[p].w->N));
    }
    if (dx_lora) { sum = add_product(job, l->K, dx_lora, false); }
    add_range(sum, &job->du, a, units(job, l->n_u));
    run_products(ctx, job);
}

static void backward_block(fmk_ctx *ctx, lora_job *job, const float *u, float *da, float *dx, float *dx_lora)
{
    const fmk_lora *l = &job->l;
    round_job rounds = {.T = job->T};
    for (int p = 0; p < l->n; p++) {
        const fmk_lora_proj *proj = &l->proj[p];
        int64_t N = proj->w->N;
        job->dy[p] = take_rows(ctx, job, N);
        add_operand(&rounds, N, proj->dy + job->t0 * N, job->dy[p]);
        if (proj->b) { job->b[p] = take_panels(ctx, l->R, N, false, proj->b, l->R); }
    }
    round_all(ctx, &rounds);
    job->u_out = fmk_take(ctx, (size_t)(job->T * l->n_u), sizeof(float));
    job->du = take_rows(ctx, job, l->n_u);
    fmk_par(ctx, job->row_tiles, (double)FMK_TILE_ROWS * (double)(l->n_u * l->K) / 16, du_task, job);
    for (int p = 0; p < l->n; p++) {
        const fmk_lora_proj *proj = &l->proj[p];
        if (!proj->b) { continue; }
        operand turned = turn(ctx, job->T, l->R, u + job->t0 * l->n_u + proj->column, l->n_u);
        add_sum(job, l->R, proj->w->N, turned, proj->dy, proj->db, true);
    }
    add_sum(job, l->n_u, l->K, turn(ctx, job->T, l->n_u, job->u_out, l->n_u), l->x_lora, da, false);
    run_sums(ctx, job);
    if (dx) { input_gradient(ctx, job, dx, dx_lora); }
}

/* ---- blocks of rows ---- */
static int64_t block_rows(const fmk_lora *l)
{
    int64_t width = 2 * l->K + 2 * l->n_u;
    assert(l->n >= 1 && l->n <= FMK_LORA_MAX && l->n_u >= 1 && l->R >= 1);
    for (int p = 0; p < l->n; p++) {
        assert(l->proj[p].w->bf16 && l->proj[p].w->K == l->K);
        width += l->proj[p].w->N;
    }
    return fmk_max(1, 2 * FMK_PACK_LIMIT / width / FMK_TILE_ROWS) * FMK_TILE_ROWS;
}

static lora_job block_at(const fmk_lora *l, int64_t t0, int64_t rows)
{
    lora_job job = {.l = *l, .t0 = t0, .T = fmk_min(rows, l->T - t0), .pair = fmk_pair()};
    job.row_tiles = fmk_ceil_div(job.T, FMK_TILE_ROWS);
    return job;
}

void fmk_lora_fwd(fmk_ctx *ctx, const fmk_lora *l, float *u)
{
    size_t mark = fmk_mark(ctx);
    int64_t rows = block_rows(l);
    for (int64_t t = 0; t < l->T; t += rows) {
        lora_job job = block_at(l, t, rows);
        forward_block(ctx, &job, u);
        fmk_release(ctx, mark);
    }
}

void fmk_lora_bwd(fmk_ctx *ctx, const fmk_lora *l, const float *u, float *da, float *dx, float *dx_lora)
{
    size_t mark = fmk_mark(ctx);
    int64_t rows = block_rows(l);
    for (int64_t t = 0; t < l->T; t += rows) {
        lora_job job = block_at(l, t, rows);
        backward_block(ctx, &job, u, da, dx, dx_lora);
        fmk_release(ctx, mark);
    }
}

/* ---- by the definition ---- */
static void ref_product(fmk_mm mm, const float *a, const float *b, float *out)
{
    mm.bf16 = true;
    fmk_matmul_ref(&mm, a, b, out);
}

static void ref_scale(int64_t n, float scale, float *x)
{
    for (int64_t i = 0; i < n; i++) {
        x[i] *= scale;
    }
}

void fmk_lora_fwd_ref(const fmk_lora *l, const float *const *w, const int64_t *N, float *u)
{
    int64_t K = l->K, R = l->R, n_u = l->n_u;
    ref_product((fmk_mm){.M = l->T, .N = n_u, .K = K, .tb = true, .lda = K, .ldb = K, .ldc = n_u}, l->x_lora,
                l->a, u);
    ref_scale(l->T * n_u, l->scale, u);
    for (int p = 0; p < l->n; p++) {
        const fmk_lora_proj *proj = &l->proj[p];
        fmk_mm mm = {.M = l->T, .N = N[p], .K = K, .tb = true, .lda = K, .ldb = K, .ldc = N[p]};
        mm.beta = proj->add ? 1.0f : 0.0f;
        ref_product(mm, l->x, w[p], proj->y);
        mm = (fmk_mm){
            .M = l->T, .N = N[p], .K = R, .tb = true, .lda = n_u, .ldb = R, .ldc = N[p], .beta = 1.0f};
        if (proj->b) { ref_product(mm, u + proj->column, proj->b, proj->y); }
    }
}

/* du (T,n_u): scratch of the caller's */
void fmk_lora_bwd_ref(const fmk_lora *l, const float *const *w, const int64_t *N, const float *u, float *du,
                      float *da, float *dx, float *dx_lora)
{
    int64_t T = l->T, K = l->K, R = l->R, n_u = l->n_u;
    for (int p = 0; p < l->n; p++) {
        const fmk_lora_proj *proj = &l->proj[p];
        fmk_mm mm = {.M = T, .N = K, .K = N[p], .lda = N[p], .ldb = K, .ldc = K, .beta = p > 0 ? 1.0f : 0.0f};
        if (dx) { ref_product(mm, proj->dy, w[p], dx); }
        if (!proj->b) { continue; }
        mm = (fmk_mm){.M = T, .N = R, .K = N[p], .lda = N[p], .ldb = R, .ldc = n_u};
        ref_product(mm, proj->dy, proj->b, du + proj->column);
        mm = (fmk_mm){.M = N[p], .N = R, .K = T, .ta = true, .lda = N[p], .ldb = n_u, .ldc = R, .beta = 1.0f};
        ref_product(mm, proj->dy, u + proj->column, proj->db);
    }
    ref_scale(T * n_u, l->scale, du);
    fmk_mm mm = {.M = n_u, .N = K, .K = T, .ta = true, .lda = n_u, .ldb = K, .ldc = K, .beta = 1.0f};
    ref_product(mm, du, l->x_lora, da);
    mm = (fmk_mm){.M = T, .N = K, .K = n_u, .lda = n_u, .ldb = K, .ldc = K, .beta = dx_lora ? 0.0f : 1.0f};
    if (dx) { ref_product(mm, du, l->a, dx_lora ? dx_lora : dx); }
}
