/*
 * lora.c: the projections that read one input, each a frozen packed weight and LoRA (Hu et al. 2021) beside it, with
 * operands rounded to bf16; forward and backward.
 *
 * The products of LoRA are so thin (R columns, or R deep) that laying out their operands costs more than multiplying.
 * So an input and an output gradient are rounded once for all products that read them, LoRA's part is added while the
 * tile of the frozen part lies in the cache, and the sums over tokens (dA, dB) lay out a strip of columns where they
 * multiply it. What needs no other's result is one loop: threads meet three times in a pass. Rows come in blocks that
 * bound the scratch.
 *
 *   forward    u = scale x A^T                y_i = x W_i^T + u_i B_i^T
 *   backward   du = scale dy_i B_i            dx = sum of dy_i W_i, + du A        dB_i += dy_i^T u_i    dA += du^T x
 */
#include "internal.h"

#define TILE_COLS 192
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

/* out (M,N) += a (M,T) x (T,N) for tokens; x or, where they were wanted anyway, its rounded rows. turned: out is (N,M). */
typedef struct token_sum {
    int64_t M, N, first; /* first: number of its first strip */
    operand a;
    const float *x;
    operand rows;
    float *out;
    bool turned;
} token_sum;

typedef struct lora_job {
    fmk_lora l;
    int64_t T, t0, pair, row_tiles; /* the block of rows: T from t0 */
    operand x, x_lora, u[FMK_LORA_MAX], dy[FMK_LORA_MAX], du, du_turned;
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

/* Out of which an operand is made that is (n, T) in units. */
static operand take_turned(fmk_ctx *ctx, const lora_job *job, int64_t n)
{
    int64_t ld = fmk_odd_lines(units(job, job->T));
    return (operand){fmk_take(ctx, (size_t)(n * ld), sizeof(uint32_t)), ld};
}

/* ---- laying out: one loop over all that is wanted ---- */
#define MOST_LAYOUTS (3 * FMK_LORA_MAX + 1)

/* x (T,n), its rows ldx apart, rounded to rows, or turned to (n, T/pair); a matrix in panels; columns of a weight. */
typedef struct layout {
    enum { ROWS, TURNED, PANELS, WEIGHT } kind;
    int64_t T, n, ldx, first; /* first: number of its first task */
    const float *x;
    operand out; /* ld: of a panel */
    fmk_pack_job pack;
    const fmk_packed *w;
    int64_t k0;
} layout;
typedef struct layouts {
    layout l[MOST_LAYOUTS];
    int n;
    int64_t n_tasks;
    double work; /* of all tasks */
} layouts;

/* m rows from t; as many as fit in a panel of pairs */
static void turn_rows(const layout *l, int64_t t, int64_t m)
{
    int64_t pair = fmk_pair(), n_units = fmk_ceil_div(m, pair);
    for (int64_t j = 0; j < l->n; j += FMK_NR) {
        uint32_t cols[FMK_NR * FMK_NR], part[FMK_NR * FMK_NR];
        int64_t n = fmk_min(FMK_NR, l->n - j);
        fmk_round_cols(m, n, l->x + t * l->ldx + j, l->ldx, cols, FMK_NR, true);
        fmk_pack_block_t(n, n_units, (float *)cols, FMK_NR, (float *)part);
        for (int64_t r = 0; r < n; r++) {
            memcpy(l->out.p + (j + r) * l->out.ld + t / pair, part + r * FMK_NR,
                   (size_t)n_units * sizeof *part);
        }
    }
}

static void layout_task(void *arg, size_t task)
{
    layouts *all = arg;
    int k = 0;
    while (k + 1 < all->n && (int64_t)task >= all->l[k + 1].first) {
        k++;
    }
    layout *l = &all->l[k];
    int64_t i = (int64_t)task - l->first;
    if (l->kind == PANELS) {
        fmk_pack_task(&l->pack, (size_t)i);
        return;
    }
    if (l->kind == WEIGHT) {
        fmk_turn_panel(l->w, l->k0 + i * FMK_NR, 0, l->w->N, l->out.p + i * l->out.ld);
        return;
    }
    int64_t step = l->kind == ROWS ? 16 : FMK_NR * fmk_pair(), t = i * step, m = fmk_min(step, l->T - t);
    if (l->kind == TURNED) {
        turn_rows(l, t, m);
    } else {
        fmk_round_rows(m, l->n, l->x + t * l->ldx, l->ldx, l->out.p + t * l->out.ld, l->out.ld);
    }
}

static void add_layout(layouts *all, layout l, int64_t n_tasks, double work)
{
    assert(all->n < MOST_LAYOUTS);
    l.first = all->n_tasks;
    all->l[all->n++] = l;
    all->n_tasks += n_tasks;
    all->work += work;
}

static operand add_rows(fmk_ctx *ctx, const lora_job *job, layouts *all, int64_t n, const float *x)
{
    operand out = take_rows(ctx, job, n);
    layout l = {.kind = ROWS, .T = job->T, .n = n, .ldx = n, .x = x + job->t0 * n, .out = out};
    add_layout(all, l, fmk_ceil_div(job->T, 16), 2.0 * (double)(job->T * n) / 16);
    return out;
}

static operand add_turned(fmk_ctx *ctx, const lora_job *job, layouts *all, int64_t n, const float *x,
                          int64_t ldx)
{
    operand out = take_turned(ctx, job, n);
    layout l = {.kind = TURNED, .T = job->T, .n = n, .ldx = ldx, .x = x + job->t0 * ldx, .out = out};
    add_layout(all, l, fmk_ceil_div(job->T, FMK_NR * fmk_pair()), 2.0 * (double)(job->T * n));
    return out;
}

static uint32_t *add_panels(fmk_ctx *ctx, layouts *all, int64_t N, int64_t K, bool t, const float *b,
                            int64_t ldb)
{
    uint32_t *out = fmk_take(ctx, fmk_panels_count(N, K, true), sizeof *out);
    layout l = {.kind = PANELS,
                .pack = {.N = N, .K = K, .ldb = ldb, .t = t, .bf16 = true, .b = b, .out = out}};
    add_layout(all, l, fmk_ceil_div(N, FMK_NR), (double)(N * K));
    return out;
}

/* The weight's columns k0..k0+n-1 as panels that a product reads which sums over its rows. */
static uint32_t *add_weight(fmk_ctx *ctx, const lora_job *job, layouts *all, const fmk_packed *w, int64_t k0,
                            int64_t n)
{
    int64_t n_panels = fmk_ceil_div(n, FMK_NR), size = units(job, w->N) * FMK_NR;
    operand out = {fmk_take(ctx, (size_t)(n_panels * size), sizeof *out.p), size};
    add_layout(all, (layout){.kind = WEIGHT, .w = w, .k0 = k0, .out = out}, n_panels, (double)(n * w->N) / 4);
    return out.p;
}

static void lay_out(fmk_ctx *ctx, layouts *all)
{
    fmk_par(ctx, all->n_tasks, all->work / (double)all->n_tasks, layout_task, all);
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
static void product_task(const lora_job *job, int64_t i)
{
    int p = 0;
    while (p + 1 < job->n_products && i >= job->product[p + 1].first) {
        p++;
    }
    const product *m = &job->product[p];
    int64_t at = i - m->first, row = at % job->row_tiles * FMK_TILE_ROWS;
    int64_t col = at / job->row_tiles * TILE_COLS;
    for (int64_t r = 0; r < m->n_ranges; r++) {
        multiply(fmk_min(FMK_TILE_ROWS, job->T - row), fmk_min(TILE_COLS, m->N - col), &m->range[r], row, col,
                 m->out + row * m->ldc + col, m->ldc, m->add || r > 0);
    }
}

/* N columns of rows ldc apart */
static product *add_product(lora_job *job, int64_t N, int64_t ldc, float *out, bool add)
{
    product *p = &job->product[job->n_products++];
    int64_t first = p == job->product ? 0 : p[-1].first + job->row_tiles * fmk_ceil_div(p[-1].N, TILE_COLS);
    *p = (product){.N = N, .ldc = ldc, .first = first, .out = out + job->t0 * ldc, .add = add};
    return p;
}

static void add_range(product *p, const operand *a, const uint32_t *b, int64_t K)
{
    p->range[p->n_ranges++] = (range){.a = a->p, .b = b, .lda = a->ld, .K = K};
}

static int64_t count_products(const lora_job *job)
{
    if (job->n_products == 0) { return 0; }
    const product *last = &job->product[job->n_products - 1];
    return last->first + job->row_tiles * fmk_ceil_div(last->N, TILE_COLS);
}

/* ---- sums over tokens ---- */
/* out (n,m) += part (m,n) transposed */
static void add_transposed(int64_t m, int64_t n, const float *part, float *out, int64_t ld)
{
    for (int64_t j = 0; j < n; j++) {
        for (int64_t k = 0; k < m; k++) {
            out[j * ld + k] += part[k * STRIP + j];
        }
    }
}

/* Tokens t..t+depth-1 of n columns as panels. */
static void lay_out_strip(const lora_job *job, const token_sum *q, int64_t t, int64_t depth, int64_t col,
                          int64_t n, uint32_t *panels)
{
    int64_t K = units(job, depth);
    for (int64_t j = 0; j < n; j += FMK_NR) {
        int64_t w = fmk_min(FMK_NR, n - j);
        if (q->rows.p) {
            const uint32_t *rows = q->rows.p + t * q->rows.ld + (col + j) / job->pair;
            fmk_pair_rows(depth, w, rows, q->rows.ld, panels + j * K, FMK_NR, true);
        } else {
            fmk_round_cols(depth, w, q->x + t * q->N + col + j, q->N, panels + j * K, FMK_NR, true);
        }
    }
}

static void sum_task(const lora_job *job, int64_t i)
{
    int s = 0;
    while (s + 1 < job->n_sums && i >= job->sum[s + 1].first) {
        s++;
    }
    const token_sum *q = &job->sum[s];
    int64_t col = (i - q->first) * STRIP, n = fmk_min(STRIP, q->N - col);
    uint32_t panels[STRIP * DEPTH];
    float part[FMK_TILE_ROWS * STRIP];
    for (int64_t t = 0; t < job->T; t += DEPTH) {
        int64_t depth = fmk_min(DEPTH, job->T - t), K = units(job, depth);
        lay_out_strip(job, q, t, depth, col, n, panels);
        for (int64_t r = 0; r < q->M; r += FMK_TILE_ROWS) {
            int64_t m = fmk_min(FMK_TILE_ROWS, q->M - r);
            const range x = {.a = q->a.p + t / job->pair, .b = panels, .lda = q->a.ld, .K = K};
            if (!q->turned) {
                multiply(m, n, &x, r, 0, q->out + r * q->N + col, q->N, true);
                continue;
            }
            multiply(m, n, &x, r, 0, part, STRIP, false);
            add_transposed(m, n, part, q->out + col * q->M + r, q->M);
        }
    }
}

static void add_sum(lora_job *job, token_sum sum)
{
    token_sum *s = &job->sum[job->n_sums++];
    int64_t first = s == job->sum ? 0 : s[-1].first + fmk_ceil_div(s[-1].N, STRIP);
    *s = sum;
    s->first = first;
}

static int64_t count_sums(const lora_job *job)
{
    if (job->n_sums == 0) { return 0; }
    const token_sum *last = &job->sum[job->n_sums - 1];
    return last->first + fmk_ceil_div(last->N, STRIP);
}

/* The sums come last: they are short, so that no thread waits for long. */
static void multiply_task(void *arg, size_t i)
{
    const lora_job *job = arg;
    int64_t n = count_products(job);
    if ((int64_t)i < n) {
        product_task(job, (int64_t)i);
    } else {
        sum_task(job, (int64_t)i - n);
    }
}

/* All sums, all products that were added. */
static void run_all(fmk_ctx *ctx, lora_job *job)
{
    fmk_par(ctx, count_sums(job) + count_products(job),
            (double)FMK_TILE_ROWS * TILE_COLS * (double)job->l.K / 32, multiply_task, job);
    job->n_sums = job->n_products = 0;
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
    const uint32_t *b[FMK_LORA_MAX] = {0};
    layouts all = {0};
    job->x = add_rows(ctx, job, &all, l->K, l->x);
    job->x_lora = l->x_lora != l->x ? add_rows(ctx, job, &all, l->K, l->x_lora) : job->x;
    job->a = add_panels(ctx, &all, l->n_u, l->K, true, l->a, l->K);
    job->u_out = u + job->t0 * l->n_u;
    for (int p = 0; p < l->n; p++) {
        const fmk_lora_proj *proj = &l->proj[p];
        if (!proj->b) { continue; }
        job->u[p] = take_rows(ctx, job, l->R);
        b[p] = add_panels(ctx, &all, proj->w->N, l->R, true, proj->b, l->R);
    }
    lay_out(ctx, &all);
    fmk_par(ctx, job->row_tiles, (double)FMK_TILE_ROWS * (double)(l->n_u * l->K) / 16, u_task, job);
    for (int p = 0; p < l->n; p++) {
        const fmk_lora_proj *proj = &l->proj[p];
        product *y = add_product(job, proj->w->N, proj->w->N, proj->y, proj->add);
        add_range(y, &job->x, proj->w->panels, units(job, l->K));
        if (proj->b) { add_range(y, &job->u[p], b[p], units(job, l->R)); }
    }
    run_all(ctx, job);
}

/* ---- backward ---- */
/* du of a tile's rows, rounded, and turned. */
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
    const layout turned = {.n = l->n_u, .ldx = l->n_u, .x = job->u_out, .out = job->du_turned};
    int64_t most = FMK_NR * job->pair;
    for (int64_t r = 0; r < m; r += most) {
        turn_rows(&turned, row + r, fmk_min(most, m - r));
    }
}

/* Columns k0..k0+n-1 of dx; the sums that wait run beside it. */
static void input_columns(fmk_ctx *ctx, lora_job *job, const uint32_t *a, int64_t k0, int64_t n, float *dx,
                          float *dx_lora)
{
    const fmk_lora *l = &job->l;
    layouts all = {0};
    product *sum = add_product(job, n, l->K, dx + k0, false);
    for (int p = 0; p < l->n; p++) {
        const fmk_packed *w = l->proj[p].w;
        add_range(sum, &job->dy[p], add_weight(ctx, job, &all, w, k0, n), units(job, w->N));
    }
    lay_out(ctx, &all);
    if (dx_lora) { sum = add_product(job, n, l->K, dx_lora + k0, false); }
    add_range(sum, &job->du, a + k0 * units(job, l->n_u), units(job, l->n_u));
    run_all(ctx, job);
}

static void input_gradient(fmk_ctx *ctx, lora_job *job, const uint32_t *a, float *dx, float *dx_lora)
{
    const fmk_lora *l = &job->l;
    size_t mark = fmk_mark(ctx);
    int64_t rows = 1;
    for (int p = 0; p < l->n; p++) {
        rows += l->proj[p].w->N;
    }
    int64_t cols = fmk_max(1, FMK_PACK_LIMIT / rows / TILE_COLS) * TILE_COLS;
    for (int64_t k = 0; k < l->K; k += cols) {
        input_columns(ctx, job, a, k, fmk_min(cols, l->K - k), dx, dx_lora);
        fmk_release(ctx, mark);
    }
}

static void backward_block(fmk_ctx *ctx, lora_job *job, const float *u, float *da, float *dx, float *dx_lora)
{
    const fmk_lora *l = &job->l;
    layouts all = {0};
    operand u_turned[FMK_LORA_MAX] = {0};
    for (int p = 0; p < l->n; p++) {
        const fmk_lora_proj *proj = &l->proj[p];
        job->dy[p] = add_rows(ctx, job, &all, proj->w->N, proj->dy);
        if (!proj->b) { continue; }
        job->b[p] = add_panels(ctx, &all, l->R, proj->w->N, false, proj->b, l->R);
        u_turned[p] = add_turned(ctx, job, &all, l->R, u + proj->column, l->n_u);
    }
    const uint32_t *a = dx ? add_panels(ctx, &all, l->K, l->n_u, false, l->a, l->K) : NULL;
    lay_out(ctx, &all);
    job->u_out = fmk_take(ctx, (size_t)(job->T * l->n_u), sizeof(float));
    job->du = take_rows(ctx, job, l->n_u);
    job->du_turned = take_turned(ctx, job, l->n_u);
    fmk_par(ctx, job->row_tiles, (double)FMK_TILE_ROWS * (double)(l->n_u * l->K) / 16, du_task, job);
    for (int p = 0; p < l->n; p++) {
        const fmk_lora_proj *proj = &l->proj[p];
        if (!proj->b) { continue; }
        add_sum(job, (token_sum){.M = l->R,
                                 .N = proj->w->N,
                                 .a = u_turned[p],
                                 .rows = job->dy[p],
                                 .out = proj->db,
                                 .turned = true});
    }
    add_sum(
        job,
        (token_sum){.M = l->n_u, .N = l->K, .a = job->du_turned, .x = l->x_lora + job->t0 * l->K, .out = da});
    if (!dx || dx_lora) { run_all(ctx, job); } /* dx_lora may be x_lora, which the sums read */
    if (dx) { input_gradient(ctx, job, a, dx, dx_lora); }
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
