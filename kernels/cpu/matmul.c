/*
 * matmul.c: matrix products cut into tiles that one thread computes; see gemm.c for the tile, pack.c for
 * panels.
 *
 * B is laid out in panels once per call (or once for all calls, fmk_matmul_pack), unless few rows meet it,
 * when it is read where it lies. A is read where it lies; for bf16 it is rounded into scratch first. The tile
 * grid depends on M, N and K only, K is never split between threads.
 */
#include "internal.h"
#include "onednn.h"

#include <stdlib.h>

/* Columns of a tile: enough rows to share make wide tiles; a single row of tiles is cut finer to feed every
 * thread. */
#define TILE_COLS          384
#define TILE_COLS_FEW_ROWS 64
/* Rows that a thread multiplies in the time that B takes to arrive from memory. */
#define READ_ROWS 8
/* Up to this many rows, packing an untransposed B costs more than it saves. */
#define DIRECT_ROWS 24

typedef struct mm_job {
    fmk_tile whole; /* the product as if it were one tile        */
    int64_t cols;   /* columns of a tile                         */
    int64_t n_col_tiles;
    bool bf16;
} mm_job;

static void mm_task(void *arg, size_t i)
{
    const mm_job *job = arg;
    int64_t row = (int64_t)i / job->n_col_tiles * FMK_TILE_ROWS;
    int64_t col = (int64_t)i % job->n_col_tiles * job->cols;
    fmk_tile t = job->whole;
    t.M = fmk_min(FMK_TILE_ROWS, t.M - row);
    t.N = fmk_min(job->cols, t.N - col);
    t.b = (const uint32_t *)t.b + col / FMK_NR * t.b_panel;
    t.a = (const uint32_t *)t.a + row * t.ars;
    t.c += row * t.ldc + col;
    if (job->bf16) {
        fmk_tile_bf16(&t);
    } else {
        fmk_tile_f32(&t);
    }
}

static void run_tiles(fmk_ctx *ctx, const fmk_tile *whole, bool bf16)
{
    mm_job job = {.whole = *whole, .bf16 = bf16};
    job.cols = whole->M <= FMK_TILE_ROWS ? TILE_COLS_FEW_ROWS : TILE_COLS;
    job.n_col_tiles = fmk_ceil_div(whole->N, job.cols);
    /* Few rows cost what reading B costs, not what multiplying does. */
    double rows = (double)fmk_min(fmk_max(whole->M, READ_ROWS), FMK_TILE_ROWS);
    double work = rows * (double)job.cols * (double)whole->K / 16.0;
    fmk_par(ctx, fmk_ceil_div(whole->M, FMK_TILE_ROWS) * job.n_col_tiles, work, mm_task, &job);
}

/* ---- A rounded to bf16: (M,(K+1)/2) pairs, or rounded f32 (M,K) where the CPU has no bf16 product ---- */
typedef struct round_job {
    int64_t M, K, ld;
    bool ta;
    const float *a;
    uint32_t *out;
} round_job;

FMK_INLINE void pair_row_body(int64_t K, const float *x, uint32_t *out)
{
    for (int64_t k = 0; k < K / 2; k++) {
        out[k] = fmk_bf16_bits(x[2 * k]) | fmk_bf16_bits(x[2 * k + 1]) << 16;
    }
    if (K & 1) { out[K / 2] = fmk_bf16_bits(x[K - 1]); }
}
FMK_BY_ISA(pair_row, (int64_t K, const float *x, uint32_t *out), (K, x, out))

FMK_INLINE void round_row_body(int64_t K, const float *x, float *out)
{
    for (int64_t k = 0; k < K; k++) {
        out[k] = fmk_bf16_round(x[k]);
    }
}
FMK_BY_ISA(round_row, (int64_t K, const float *x, float *out), (K, x, out))

/* Rows i0..i0+15 of op(A) when A is (K,M): 16 columns, 64 k at a time, so that each cache line is read once.
 */
static void round_columns(const round_job *job, int64_t i0)
{
    enum { STRIP = 64, ROWS = 16 };
    float block[ROWS][STRIP];
    int64_t rows = fmk_min(ROWS, job->M - i0);
    int64_t stride = fmk_has_bf16() ? (job->K + 1) / 2 : job->K;
    for (int64_t k0 = 0; k0 < job->K; k0 += STRIP) {
        int64_t kn = fmk_min(STRIP, job->K - k0);
        for (int64_t k = 0; k < kn; k++) {
            const float *src = job->a + (k0 + k) * job->ld + i0;
            for (int64_t i = 0; i < rows; i++) {
                block[i][k] = src[i];
            }
        }
        for (int64_t i = 0; i < rows; i++) {
            uint32_t *out = job->out + (i0 + i) * stride;
            if (fmk_has_bf16()) {
                pair_row(kn, block[i], out + k0 / 2);
            } else {
                round_row(kn, block[i], (float *)out + k0);
            }
        }
    }
}

static void round_task(void *arg, size_t task)
{
    const round_job *job = arg;
    int64_t i0 = (int64_t)task * 16;
    if (job->ta) {
        round_columns(job, i0);
        return;
    }
    for (int64_t i = i0; i < fmk_min(i0 + 16, job->M); i++) {
        const float *row = job->a + i * job->ld;
        if (fmk_has_bf16()) {
            pair_row(job->K, row, job->out + i * ((job->K + 1) / 2));
        } else {
            round_row(job->K, row, (float *)job->out + i * job->K);
        }
    }
}

/* Point the tile at op(A), f32 where it lies or rounded in scratch. */
static void prepare_a(fmk_ctx *ctx, const fmk_mm *mm, const float *a, fmk_tile *t)
{
    t->a = a;
    t->K = mm->K;
    t->ars = mm->ta ? 1 : mm->lda;
    t->acs = mm->ta ? mm->lda : 1;
    if (!mm->bf16) { return; }
    int64_t K2 = fmk_has_bf16() ? (mm->K + 1) / 2 : mm->K;
    round_job job = {.M = mm->M, .K = mm->K, .ld = mm->lda, .ta = mm->ta, .a = a};
    job.out = fmk_take(ctx, (size_t)mm->M * (size_t)K2, sizeof *job.out);
    fmk_par(ctx, fmk_ceil_div(mm->M, 16), 16.0 * (double)mm->K, round_task, &job);
    *t = (fmk_tile){.a = job.out, .K = K2, .ars = K2, .acs = 1};
}

static void zero_or_keep(const fmk_mm *mm, float *out)
{
    for (int64_t i = 0; i < mm->M && mm->beta == 0.0f; i++) {
        memset(out + i * mm->ldc, 0, (size_t)mm->N * sizeof *out);
    }
}

void fmk_mm_panels(fmk_ctx *ctx, const fmk_mm *mm, const float *a, const uint32_t *panels, float *out)
{
    if (mm->M == 0 || mm->N == 0) { return; }
    if (mm->K == 0) {
        zero_or_keep(mm, out);
        return;
    }
    size_t mark = fmk_mark(ctx);
    fmk_tile t;
    prepare_a(ctx, mm, a, &t);
    t.M = mm->M;
    t.N = mm->N;
    t.b = panels;
    t.b_row = FMK_NR;
    t.b_panel = t.K * FMK_NR;
    t.c = out;
    t.ldc = mm->ldc;
    t.add = mm->beta != 0.0f;
    run_tiles(ctx, &t, mm->bf16 && fmk_has_bf16());
    fmk_release(ctx, mark);
}

/* Few rows and whole panels: B is read once anyway, so read it where it lies. */
static bool reads_b_in_place(const fmk_mm *mm)
{
    return !mm->bf16 && !mm->tb && mm->M <= DIRECT_ROWS && mm->N % FMK_NR == 0;
}

static void mm_block(fmk_ctx *ctx, const fmk_mm *mm, const float *a, const float *b, float *out)
{
    size_t mark = fmk_mark(ctx);
    if (reads_b_in_place(mm)) {
        fmk_tile t;
        prepare_a(ctx, mm, a, &t);
        t.M = mm->M;
        t.N = mm->N;
        t.b = b;
        t.b_row = mm->ldb;
        t.b_panel = FMK_NR;
        t.c = out;
        t.ldc = mm->ldc;
        t.add = mm->beta != 0.0f;
        run_tiles(ctx, &t, false);
    } else {
        uint32_t *panels = fmk_take(ctx, fmk_panels_count(mm->N, mm->K, mm->bf16), sizeof *panels);
        fmk_pack_panels(ctx, mm->N, mm->K, mm->tb, b, mm->ldb, mm->bf16, panels);
        fmk_mm_panels(ctx, mm, a, panels, out);
    }
    fmk_release(ctx, mark);
}

static bool wants_dnn(const fmk_ctx *ctx, const fmk_mm *mm)
{
    return (mm->bf16 ? ctx->dnn_bf16 : ctx->dnn_f32) && mm->M >= FMK_DNN_MIN_ROWS;
}

int64_t fmk_ctx_exact_rows(const fmk_ctx *ctx, bool bf16)
{
    return (bf16 ? ctx->dnn_bf16 : ctx->dnn_f32) ? FMK_DNN_MIN_ROWS - 1 : INT64_MAX;
}

void fmk_matmul(fmk_ctx *ctx, const fmk_mm *mm, const float *a, const float *b, float *out)
{
    assert(mm->M >= 0 && mm->N >= 0 && mm->K >= 0 && mm->ldc >= mm->N);
    assert(mm->beta == 0.0f || mm->beta == 1.0f);
    if (mm->M == 0 || mm->N == 0) { return; }
    if (mm->K == 0) {
        zero_or_keep(mm, out);
        return;
    }
    if (wants_dnn(ctx, mm) && fmk_dnn_matmul(ctx, mm, a, b, NULL, out)) { return; }
    /* Blocks of rows and columns keep the scratch bounded; they change no element's chain of additions. */
    int64_t cols = fmk_max(FMK_PACK_LIMIT / mm->K / TILE_COLS, 1) * TILE_COLS;
    int64_t rows = fmk_max(FMK_PACK_LIMIT / mm->K / FMK_TILE_ROWS, 1) * FMK_TILE_ROWS;
    for (int64_t i = 0; i < mm->M; i += rows) {
        for (int64_t j = 0; j < mm->N; j += cols) {
            fmk_mm part = *mm;
            part.M = fmk_min(rows, mm->M - i);
            part.N = fmk_min(cols, mm->N - j);
            mm_block(ctx, &part, a + i * (mm->ta ? 1 : mm->lda), b + j * (mm->tb ? mm->ldb : 1),
                     out + i * mm->ldc + j);
        }
    }
}

void fmk_matmul_ref(const fmk_mm *mm, const float *a, const float *b, float *out)
{
    for (int64_t i = 0; i < mm->M; i++) {
        for (int64_t j = 0; j < mm->N; j++) {
            double sum = 0.0;
            for (int64_t k = 0; k < mm->K; k++) {
                float x = mm->ta ? a[k * mm->lda + i] : a[i * mm->lda + k];
                float y = mm->tb ? b[j * mm->ldb + k] : b[k * mm->ldb + j];
                sum += mm->bf16 ? (double)fmk_bf16_round(x) * fmk_bf16_round(y) : (double)x * y;
            }
            float *c = out + i * mm->ldc + j;
            *c = (float)(mm->beta == 0.0f ? sum : sum + *c);
        }
    }
}

/* ---- frozen weights ---- */
fmp_status fmk_matmul_pack(fmk_ctx *ctx, int64_t N, int64_t K, const float *w, bool bf16, fmk_packed **out,
                           fmp_err *err)
{
    *out = NULL;
    fmk_packed *p = calloc(1, sizeof *p);
    if (!p) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a packed weight"); }
    p->N = N;
    p->K = K;
    p->bf16 = bf16;
    p->n_units = fmk_panels_count(N, K, bf16);
    p->panels = fmk_room_take(&ctx->room, p->n_units, sizeof *p->panels, &p->room);
    if (!p->panels) {
        fmk_packed_free(p);
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for a packed weight of %lld x %lld", (long long)N,
                        (long long)K);
    }
    if (bf16 && ctx->dnn_bf16) {
        p->plain = malloc((size_t)N * (size_t)K * sizeof *p->plain + 1);
        if (p->plain) { fmk_f32_to_bf16(N * K, w, p->plain); }
    }
    fmk_pack_panels(ctx, N, K, true, w, K, bf16, p->panels);
    *out = p;
    return FMP_OK;
}

void fmk_packed_free(fmk_packed *w)
{
    if (!w) { return; }
    fmk_room_drop(w->room);
    free(w->plain);
    free(w);
}

size_t fmk_packed_bytes(const fmk_packed *w)
{
    size_t plain = w->plain ? (size_t)w->N * (size_t)w->K * sizeof *w->plain : 0;
    return w->n_units * sizeof *w->panels + plain + sizeof *w;
}

/* Through oneDNN where it is the faster engine for this weight. */
static bool packed_dnn(fmk_ctx *ctx, const fmk_mm *mm, const float *x, const fmk_packed *w, float *y)
{
    bool usable = w->plain && wants_dnn(ctx, mm) && mm->N > 0 && mm->K > 0;
    return usable && fmk_dnn_matmul(ctx, mm, x, NULL, w->plain, y);
}

void fmk_matmul_packed(fmk_ctx *ctx, int64_t T, const float *x, const fmk_packed *w, float beta, float *y)
{
    fmk_mm mm = {.M = T,
                 .N = w->N,
                 .K = w->K,
                 .tb = true,
                 .lda = w->K,
                 .ldb = w->K,
                 .ldc = w->N,
                 .beta = beta,
                 .bf16 = w->bf16};
    if (!packed_dnn(ctx, &mm, x, w, y)) { fmk_mm_panels(ctx, &mm, x, w->panels, y); }
}

/* Some of a weight's columns, turned. */
typedef struct turn_job {
    const fmk_packed *w;
    int64_t k0, size; /* of the first column; of a panel in units */
    uint32_t *out;
} turn_job;

static void turn_task(void *arg, size_t i)
{
    const turn_job *job = arg;
    int64_t at = (int64_t)i;
    fmk_turn_panel(job->w, job->k0 + at * FMK_NR, 0, job->w->N, job->out + at * job->size);
}

void fmk_matmul_packed_bwd(fmk_ctx *ctx, int64_t T, const float *dy, const fmk_packed *w, float beta,
                           float *dx)
{
    fmk_mm mm = {
        .M = T, .N = w->K, .K = w->N, .lda = w->N, .ldb = w->K, .ldc = w->K, .beta = beta, .bf16 = w->bf16};
    if (packed_dnn(ctx, &mm, dy, w, dx)) { return; }
    int64_t cols = fmk_max(FMK_PACK_LIMIT / fmk_max(w->N, 1) / TILE_COLS, 1) * TILE_COLS;
    size_t mark = fmk_mark(ctx);
    for (int64_t k = 0; k < w->K; k += cols) {
        turn_job job = {.w = w, .k0 = k, .size = (int64_t)fmk_panels_count(1, w->N, w->bf16)};
        int64_t n = fmk_ceil_div(fmk_min(cols, w->K - k), FMK_NR);
        mm.N = fmk_min(cols, w->K - k);
        job.out = fmk_take(ctx, (size_t)(n * job.size), sizeof *job.out);
        fmk_par(ctx, n, (double)(FMK_NR * w->N) / 4, turn_task, &job);
        fmk_mm_panels(ctx, &mm, dy, job.out, dx + k);
        fmk_release(ctx, mark);
    }
}

void fmk_matmul_packed_ref(int64_t T, int64_t N, int64_t K, const float *x, const float *w, bool bf16,
                           float beta, float *y)
{
    fmk_mm mm = {
        .M = T, .N = N, .K = K, .tb = true, .lda = K, .ldb = K, .ldc = N, .beta = beta, .bf16 = bf16};
    fmk_matmul_ref(&mm, x, w, y);
}

void fmk_matmul_packed_bwd_ref(int64_t T, int64_t N, int64_t K, const float *dy, const float *w, bool bf16,
                               float beta, float *dx)
{
    fmk_mm mm = {.M = T, .N = K, .K = N, .lda = N, .ldb = K, .ldc = K, .beta = beta, .bf16 = bf16};
    fmk_matmul_ref(&mm, dy, w, dx);
}
