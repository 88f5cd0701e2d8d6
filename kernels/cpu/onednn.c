/*
 * onednn.c: the only file that speaks to oneDNN; 2.x (operation descriptors) and 3.x (opaque memory
 * descriptors).
 *
 * A product is cut into tiles as in matmul.c; each distinct tile shape is one primitive, kept for the next
 * call. A tile is computed by one thread (OpenMP is told so), with scratchpad memory of ours: the library's
 * own scratchpad belongs to the thread that made the primitive.
 */
#include "onednn.h"

#include <dnnl.h>
#include <omp.h>
#include <stdlib.h>

/* Larger than our own tiles: a call costs microseconds. */
#define DNN_ROWS  192
#define DNN_COLS  512
#define MAX_PRIMS 256

typedef struct prim_key {
    int64_t M, N, K, lda, ldb, ldc;
    bool ta, tb, add, bf16;
} prim_key;

typedef struct prim {
    prim_key key;
    dnnl_primitive_t handle;
    size_t scratch_bytes;
} prim;

struct fmk_dnn {
    dnnl_engine_t engine;
    prim prim[MAX_PRIMS];
    int n_prims;
};

fmp_status fmk_dnn_new(fmk_dnn **out, fmp_err *err)
{
    fmk_dnn *dnn = calloc(1, sizeof *dnn);
    if (!dnn) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for the oneDNN engine"); }
    dnnl_status_t status = dnnl_engine_create(&dnn->engine, dnnl_cpu, 0);
    if (status != dnnl_success) {
        free(dnn);
        return fmp_fail(err, FMP_E_UNSUPPORTED, "oneDNN cannot make a CPU engine (status %d)", (int)status);
    }
    *out = dnn;
    return FMP_OK;
}

static void forget_prims(fmk_dnn *dnn)
{
    for (int i = 0; i < dnn->n_prims; i++) {
        dnnl_primitive_destroy(dnn->prim[i].handle);
    }
    dnn->n_prims = 0;
}

void fmk_dnn_free(fmk_dnn *dnn)
{
    if (!dnn) { return; }
    forget_prims(dnn);
    dnnl_engine_destroy(dnn->engine);
    free(dnn);
}

bool fmk_dnn_preferred(void)
{
#if FMK_X86
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_amx) == dnnl_cpu_isa_avx512_core_amx &&
           fmk_has_bf16();
#else
    return false;
#endif
}

void fmk_dnn_describe(char *text, size_t size)
{
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, size, "oneDNN-%d.%d.%d-isa%d", v->major, v->minor, v->patch,
             (int)dnnl_get_effective_cpu_isa());
}

/* ---- what differs between the versions ---- */
#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t desc;

static bool desc_make(desc *md, int64_t rows, int64_t cols, int64_t row_stride, int64_t col_stride,
                      dnnl_data_type_t type)
{
    const dnnl_dims_t dims = {rows, cols}, strides = {row_stride, col_stride};
    *md = NULL;
    return dnnl_memory_desc_create_with_strides(md, 2, dims, type, strides) == dnnl_success;
}
static void desc_free(desc *md)
{
    if (*md) { dnnl_memory_desc_destroy(*md); }
}
static bool memory_make(dnnl_memory_t *m, const desc *md, dnnl_engine_t engine, void *data)
{
    return dnnl_memory_create(m, *md, engine, data) == dnnl_success;
}
static bool append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef) == dnnl_success;
}
static bool pd_make(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, const desc *a, const desc *b,
                    const desc *c, dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(pd, engine, *a, *b, NULL, *c, attr) == dnnl_success;
}
#else
typedef dnnl_memory_desc_t desc;

static bool desc_make(desc *md, int64_t rows, int64_t cols, int64_t row_stride, int64_t col_stride,
                      dnnl_data_type_t type)
{
    const dnnl_dims_t dims = {rows, cols}, strides = {row_stride, col_stride};
    return dnnl_memory_desc_init_by_strides(md, 2, dims, type, strides) == dnnl_success;
}
static void desc_free(desc *md)
{
    (void)md;
}
static bool memory_make(dnnl_memory_t *m, const desc *md, dnnl_engine_t engine, void *data)
{
    return dnnl_memory_create(m, md, engine, data) == dnnl_success;
}
static bool append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f) == dnnl_success;
}
static bool pd_make(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, const desc *a, const desc *b,
                    const desc *c, dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t op;
    return dnnl_matmul_desc_init(&op, a, b, NULL, c) == dnnl_success &&
           dnnl_primitive_desc_create(pd, &op, attr, engine, NULL) == dnnl_success;
}
#endif

/* The three operands of one tile shape. */
typedef struct tile_descs {
    desc a, b, c;
} tile_descs;

static bool descs_make(tile_descs *d, const prim_key *k)
{
    dnnl_data_type_t type = k->bf16 ? dnnl_bf16 : dnnl_f32;
    memset(d, 0, sizeof *d);
    return desc_make(&d->a, k->M, k->K, k->ta ? 1 : k->lda, k->ta ? k->lda : 1, type) &&
           desc_make(&d->b, k->K, k->N, k->tb ? 1 : k->ldb, k->tb ? k->ldb : 1, type) &&
           desc_make(&d->c, k->M, k->N, k->ldc, 1, dnnl_f32);
}

static void descs_free(tile_descs *d)
{
    desc_free(&d->a);
    desc_free(&d->b);
    desc_free(&d->c);
}

/* ---- primitives by shape ---- */
static bool attr_make(dnnl_primitive_attr_t *attr, bool add)
{
    dnnl_post_ops_t ops = NULL;
    if (dnnl_primitive_attr_create(attr) != dnnl_success) { return false; }
    bool ok = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user) == dnnl_success;
    if (ok && add) {
        ok = dnnl_post_ops_create(&ops) == dnnl_success && append_sum(ops) &&
             dnnl_primitive_attr_set_post_ops(*attr, ops) == dnnl_success;
        if (ops) { dnnl_post_ops_destroy(ops); }
    }
    return ok;
}

static bool prim_make(fmk_dnn *dnn, const prim_key *key, prim *out)
{
    tile_descs d;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    bool ok = descs_make(&d, key) && attr_make(&attr, key->add) &&
              pd_make(&pd, dnn->engine, &d.a, &d.b, &d.c, attr) &&
              dnnl_primitive_create(&out->handle, pd) == dnnl_success;
    if (ok) {
        out->key = *key;
        out->scratch_bytes =
            dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0));
    }
    if (pd) { dnnl_primitive_desc_destroy(pd); }
    if (attr) { dnnl_primitive_attr_destroy(attr); }
    descs_free(&d);
    return ok;
}

static bool same_key(const prim_key *a, const prim_key *b)
{
    return a->M == b->M && a->N == b->N && a->K == b->K && a->lda == b->lda && a->ldb == b->ldb &&
           a->ldc == b->ldc && a->ta == b->ta && a->tb == b->tb && a->add == b->add && a->bf16 == b->bf16;
}

static bool prim_get(fmk_dnn *dnn, const prim_key *key, prim *out)
{
    for (int i = 0; i < dnn->n_prims; i++) {
        if (same_key(&dnn->prim[i].key, key)) {
            *out = dnn->prim[i];
            return true;
        }
    }
    if (!prim_make(dnn, key, out)) { return false; }
    dnn->prim[dnn->n_prims++] = *out;
    return true;
}

/* ---- one product ---- */
typedef struct dnn_job {
    dnnl_engine_t engine;
    fmk_mm mm;
    const void *a, *b; /* f32 or bf16 */
    float *out;
    size_t element; /* bytes of an element of a and b */
    int64_t n_col_tiles;
    prim prim[2][2]; /* [last row of tiles][last column of tiles] */
    unsigned char *scratch;
    size_t slot; /* bytes of scratch a tile has */
} dnn_job;

static bool run_prim(const prim *p, dnnl_engine_t engine, const void *a, const void *b, float *c,
                     void *scratch)
{
    tile_descs d;
    desc pad;
    dnnl_memory_t m[4] = {NULL};
    dnnl_stream_t stream = NULL;
    bool pad_ok = desc_make(&pad, 1, (int64_t)p->scratch_bytes, (int64_t)p->scratch_bytes, 1, dnnl_u8);
    bool ok = descs_make(&d, &p->key) && pad_ok && memory_make(&m[0], &d.a, engine, (void *)(uintptr_t)a) &&
              memory_make(&m[1], &d.b, engine, (void *)(uintptr_t)b) && memory_make(&m[2], &d.c, engine, c) &&
              memory_make(&m[3], &pad, engine, scratch) &&
              dnnl_stream_create(&stream, engine, dnnl_stream_default_flags) == dnnl_success;
    if (ok) {
        const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, m[0]},
                                        {DNNL_ARG_WEIGHTS, m[1]},
                                        {DNNL_ARG_DST, m[2]},
                                        {DNNL_ARG_SCRATCHPAD, m[3]}};
        ok = dnnl_primitive_execute(p->handle, stream, 4, args) == dnnl_success &&
             dnnl_stream_wait(stream) == dnnl_success;
    }
    for (int i = 0; i < 4; i++) {
        if (m[i]) { dnnl_memory_destroy(m[i]); }
    }
    if (stream) { dnnl_stream_destroy(stream); }
    descs_free(&d);
    if (pad_ok) { desc_free(&pad); }
    return ok;
}

static void dnn_task(void *arg, size_t i)
{
    const dnn_job *job = arg;
    const fmk_mm *mm = &job->mm;
    int64_t row = (int64_t)i / job->n_col_tiles * DNN_ROWS, col = (int64_t)i % job->n_col_tiles * DNN_COLS;
    const prim *p = &job->prim[row + DNN_ROWS > mm->M][col + DNN_COLS > mm->N];
    const char *a = (const char *)job->a + (size_t)(mm->ta ? row : row * mm->lda) * job->element;
    const char *b = (const char *)job->b + (size_t)(mm->tb ? col * mm->ldb : col) * job->element;
    omp_set_num_threads(1); /* this thread's own setting: the primitive runs here and nowhere else */
    bool ok = run_prim(p, job->engine, a, b, job->out + row * mm->ldc + col, job->scratch + i * job->slot);
    assert(ok && "oneDNN refused to run a primitive it had made");
    if (!ok) { abort(); }
}

/* rows x cols of x, row stride ld, to bf16 at the same stride. */
typedef struct narrow_job {
    int64_t rows, cols, ld;
    const float *x;
    uint16_t *y;
} narrow_job;

static void narrow_task(void *arg, size_t i)
{
    const narrow_job *job = arg;
    for (int64_t r = (int64_t)i * 16; r < fmk_min((int64_t)i * 16 + 16, job->rows); r++) {
        fmk_f32_to_bf16(job->cols, job->x + r * job->ld, job->y + r * job->ld);
    }
}

static const uint16_t *narrow(fmk_ctx *ctx, int64_t rows, int64_t cols, int64_t ld, const float *x)
{
    narrow_job job = {.rows = rows, .cols = cols, .ld = ld, .x = x};
    job.y = fmk_take(ctx, (size_t)rows * (size_t)ld, sizeof *job.y);
    fmk_par(ctx, fmk_ceil_div(rows, 16), 4.0 * (double)cols, narrow_task, &job);
    return job.y;
}

static bool get_prims(fmk_ctx *ctx, dnn_job *job)
{
    const fmk_mm *mm = &job->mm;
    if (ctx->dnn->n_prims + 4 > MAX_PRIMS) { forget_prims(ctx->dnn); } /* never one that this product holds */
    for (int last_row = 0; last_row < 2; last_row++) {
        for (int last_col = 0; last_col < 2; last_col++) {
            prim_key key = {.K = mm->K,
                            .lda = mm->lda,
                            .ldb = mm->ldb,
                            .ldc = mm->ldc,
                            .ta = mm->ta,
                            .tb = mm->tb,
                            .add = mm->beta != 0.0f,
                            .bf16 = mm->bf16};
            key.M = last_row ? mm->M % DNN_ROWS : fmk_min(DNN_ROWS, mm->M);
            key.N = last_col ? mm->N % DNN_COLS : fmk_min(DNN_COLS, mm->N);
            bool absent = key.M == 0 || key.N == 0 || (!last_row && mm->M < DNN_ROWS) ||
                          (!last_col && mm->N < DNN_COLS);
            if (absent) { continue; }
            prim *p = &job->prim[last_row][last_col];
            if (!prim_get(ctx->dnn, &key, p)) { return false; }
            if (p->scratch_bytes > job->slot) { job->slot = p->scratch_bytes; }
        }
    }
    job->slot = (job->slot + 127) / 64 * 64;
    return true;
}

/* Tiles one row or one column wide, where oneDNN 3.7 ignores strides: it reads a transposed row as if it lay
   together, and writes a column so. */
static bool has_thin_tile(const fmk_mm *mm)
{
    return mm->M % DNN_ROWS == 1 || mm->N % DNN_COLS == 1;
}

bool fmk_dnn_matmul(fmk_ctx *ctx, const fmk_mm *mm, const float *a, const float *b, const uint16_t *b16,
                    float *out)
{
    if (has_thin_tile(mm)) { return false; }
    int64_t a_rows = mm->ta ? mm->K : mm->M, b_rows = mm->tb ? mm->N : mm->K;
    if (a_rows * mm->lda > 2 * FMK_PACK_LIMIT || b_rows * mm->ldb > 2 * FMK_PACK_LIMIT) { return false; }
    dnn_job job = {
        .engine = ctx->dnn->engine, .mm = *mm, .a = a, .b = b, .out = out, .element = sizeof(float)};
    if (!get_prims(ctx, &job)) { return false; }
    job.n_col_tiles = fmk_ceil_div(mm->N, DNN_COLS);
    int64_t n_tiles = fmk_ceil_div(mm->M, DNN_ROWS) * job.n_col_tiles;
    if ((double)n_tiles * (double)job.slot > (double)(ctx->scratch_cap / 4)) { return false; }
    size_t mark = fmk_mark(ctx);
    job.scratch = fmk_take(ctx, (size_t)n_tiles, job.slot);
    if (mm->bf16) {
        job.element = sizeof(uint16_t);
        job.a = narrow(ctx, a_rows, mm->ta ? mm->M : mm->K, mm->lda, a);
        job.b = b16 ? b16 : narrow(ctx, b_rows, mm->tb ? mm->K : mm->N, mm->ldb, b);
    }
    fmk_par(ctx, n_tiles, (double)DNN_ROWS * (double)mm->K * 16.0, dnn_task, &job);
    fmk_release(ctx, mark);
    return true;
}
