/*
 * backend.c: the `cpu` backend: the kernels of fmk.h behind the table of fmk_backend.h.
 *
 * Device memory is host memory and a stream runs each operation at once, so uploads are copies, adopted memory is
 * used where it lies and sync has nothing to wait for. Operations that are no kernel of their own (biases, scattered
 * rows, DoRA's gains) are plain loops here: they touch each value once.
 */
#include "internal.h"
#include <fmk_backend.h>
#include <math.h>
#include <stdlib.h>

/* A device has one stream's worth of kernels: its streams share a context, since one thread uses them in turn. */
struct fmk_device {
    fmk_ctx *ctx;
};
struct fmk_stream {
    fmk_ctx *ctx;
};

/* Here a device address is the host's. */
static float *f(fmk_f32 *p)
{
    return (float *)(void *)p;
}
static const float *cf(const fmk_f32 *p)
{
    return (const float *)(const void *)p;
}
static const uint32_t *cu(const fmk_u32 *p)
{
    return (const uint32_t *)(const void *)p;
}
static const int32_t *ci(const fmk_i32 *p)
{
    return (const int32_t *)(const void *)p;
}

/* ---- a device ---- */

static void cpu_close(fmk_device *d)
{
    if (!d) { return; }
    fmk_ctx_free(d->ctx);
    free(d);
}

static fmp_status cpu_open(const fmk_device_options *o, fmk_device **out, fmp_err *err)
{
    *out = NULL;
    fmk_device *d = calloc(1, sizeof *d);
    if (!d) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a device"); }
    fmp_status status = fmk_ctx_new(o->n_threads, &d->ctx, err);
    if (status != FMP_OK) {
        cpu_close(d);
        return status;
    }
    *out = d;
    return FMP_OK;
}

static const char *cpu_describe(const fmk_device *d)
{
    return fmk_ctx_describe(d->ctx);
}
static int64_t cpu_exact_rows(const fmk_device *d, bool bf16)
{
    return fmk_ctx_exact_rows(d->ctx, bf16);
}

/* ---- scratch: the limits are those of matmul.c and xent.c ---- */

#define PACK_LIMIT   ((double)FMK_PACK_LIMIT)
#define LOGITS_LIMIT ((double)(32 << 20)) /* logits of a block of rows               */
#define TILE_ROWS    ((double)FMK_TILE_ROWS)
#define MOST_ROWS    (8.0 * TILE_ROWS)
#define PACKED_ROWS  (6.0 * TILE_ROWS)
#define PAGE         ((double)(2 << 20)) /* a reserved range is backed by large pages */

static size_t bytes_of(double values)
{
    return values < 0x1p60 ? (size_t)(ceil(sizeof(float) * values / PAGE) * PAGE) : SIZE_MAX;
}

/* What an operand's element takes, in f32. */
static double narrow_of(bool bf16)
{
    return bf16 ? 1.0 / (double)fmk_pair() : 1.0;
}

/* The right operand is laid out at each call; with bf16 the left one too. */
static size_t cpu_matmul_scratch(const fmk_device *d, const fmk_mm *mm)
{
    (void)d;
    double narrow = narrow_of(mm->bf16);
    double right = fmin((double)mm->N * (double)mm->K, PACK_LIMIT), left = (double)mm->M * (double)mm->K;
    return bytes_of(narrow * right + (mm->bf16 ? narrow * left : 0.0));
}

/* A block of rows: dy, the input with and without dropout, u and du; A, B; the weights, turned. */
static size_t cpu_lora_scratch(const fmk_device *d, int64_t T, int64_t K, int64_t N, int64_t n_u)
{
    (void)d;
    double k = (double)K, n = (double)N, u = (double)n_u, narrow = narrow_of(true);
    double rows = fmin((double)T, 2.0 * PACK_LIMIT / (2.0 * k + 2.0 * u + n));
    double forward = rows * (2.0 * k + u), backward = rows * (n + 3.0 * u) + fmin(n * k, PACK_LIMIT);
    return bytes_of(narrow * (fmax(forward, backward) + u * (k + n)) + rows * u);
}

/* The logits of a block of rows, beside the head in both layouts unless it is packed. */
static size_t cpu_xent_scratch(const fmk_device *d, int64_t N, int64_t C, int64_t V, bool bf16, bool packed)
{
    (void)d;
    double head = (double)V * (double)C, narrow = narrow_of(bf16);
    double laid_out = packed ? 0.0 : head <= 4.0 * PACK_LIMIT ? 2.0 * narrow * head : PACK_LIMIT;
    double blocks = fmax(1.0, floor(LOGITS_LIMIT / (double)V / TILE_ROWS));
    double rows = fmin((double)N, fmin(packed ? PACKED_ROWS : MOST_ROWS, blocks * TILE_ROWS));
    return bytes_of(rows * ((double)V + 32.0) + laid_out);
}

/* ---- memory ---- */

static fmp_status cpu_alloc(fmk_device *d, size_t bytes, void **out, fmp_err *err)
{
    (void)d;
    const size_t page = (size_t)PAGE;
    *out = NULL;
    if (bytes >= SIZE_MAX - page || posix_memalign(out, bytes < page ? 64 : page, bytes + 64) != 0) {
        *out = NULL;
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for %zu MiB", bytes >> 20);
    }
    fmk_huge_pages(*out, bytes);
    return FMP_OK;
}
static void cpu_free(fmk_device *d, void *memory)
{
    (void)d;
    free(memory);
}
static void *cpu_adopt(fmk_device *d, const void *host, size_t bytes)
{
    (void)d;
    (void)bytes;
    return (void *)(uintptr_t)host;
}
static fmp_status cpu_pack(fmk_device *d, int64_t N, int64_t K, const float *w, bool bf16, fmk_packed **out,
                           fmp_err *err)
{
    return fmk_matmul_pack(d->ctx, N, K, w, bf16, out, err);
}
static void cpu_packed_free(fmk_device *d, fmk_packed *w)
{
    (void)d;
    fmk_packed_free(w);
}

/* ---- streams ---- */

static fmp_status cpu_stream_open(fmk_device *d, fmk_stream **out, fmp_err *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a stream"); }
    (*out)->ctx = d->ctx;
    return FMP_OK;
}
static void cpu_stream_close(fmk_stream *q)
{
    free(q);
}
static fmp_status cpu_sync(fmk_stream *q, fmp_err *err)
{
    (void)q;
    (void)err;
    return FMP_OK;
}
static void cpu_upload(fmk_stream *q, void *to, const void *host, size_t bytes)
{
    (void)q;
    if (bytes > 0 && to != host) { memcpy(to, host, bytes); }
}
static void cpu_download(fmk_stream *q, void *host, const void *from, size_t bytes)
{
    (void)q;
    if (bytes > 0 && host != from) { memcpy(host, from, bytes); }
}
static void cpu_zero(fmk_stream *q, void *to, size_t bytes)
{
    (void)q;
    if (bytes > 0) { memset(to, 0, bytes); }
}
static void cpu_copy_rows(fmk_stream *q, int64_t n, size_t row_bytes, const void *from, size_t from_stride,
                          void *to, size_t to_stride)
{
    (void)q;
    bool whole = from_stride == row_bytes && to_stride == row_bytes;
    size_t bytes = whole ? (size_t)n * row_bytes : row_bytes;
    for (int64_t i = 0; i < (whole ? n > 0 : n); i++) {
        memcpy((char *)to + (size_t)i * to_stride, (const char *)from + (size_t)i * from_stride, bytes);
    }
}

/* ---- products ---- */

static void cpu_matmul(fmk_stream *q, const fmk_mm *mm, const fmk_f32 *a, const fmk_f32 *b, fmk_f32 *out)
{
    fmk_matmul(q->ctx, mm, cf(a), cf(b), f(out));
}
static void cpu_matmul_packed(fmk_stream *q, int64_t T, const fmk_f32 *x, const fmk_packed *w, float beta,
                              fmk_f32 *y)
{
    fmk_matmul_packed(q->ctx, T, cf(x), w, beta, f(y));
}
static void cpu_matmul_packed_bwd(fmk_stream *q, int64_t T, const fmk_f32 *dy, const fmk_packed *w,
                                  float beta, fmk_f32 *dx)
{
    fmk_matmul_packed_bwd(q->ctx, T, cf(dy), w, beta, f(dx));
}

/* proj (FMK_LORA_MAX): the list's room */
static fmk_lora lora_of(const fmk_dev_lora *l, fmk_lora_proj *proj)
{
    for (int i = 0; i < l->n; i++) {
        const fmk_dev_lora_proj *p = &l->proj[i];
        proj[i] = (fmk_lora_proj){.w = p->w,
                                  .b = cf(p->b),
                                  .column = p->column,
                                  .add = p->add,
                                  .y = f(p->y),
                                  .dy = cf(p->dy),
                                  .db = f(p->db)};
    }
    return (fmk_lora){.T = l->T,
                      .K = l->K,
                      .R = l->R,
                      .n_u = l->n_u,
                      .scale = l->scale,
                      .x = cf(l->x),
                      .x_lora = cf(l->x_lora),
                      .a = cf(l->a),
                      .n = l->n,
                      .proj = proj};
}
static void cpu_lora_fwd(fmk_stream *q, const fmk_dev_lora *l, fmk_f32 *u)
{
    fmk_lora_proj proj[FMK_LORA_MAX];
    const fmk_lora lora = lora_of(l, proj);
    fmk_lora_fwd(q->ctx, &lora, f(u));
}
static void cpu_lora_bwd(fmk_stream *q, const fmk_dev_lora *l, const fmk_f32 *u, fmk_f32 *da, fmk_f32 *dx,
                         fmk_f32 *dx_lora)
{
    fmk_lora_proj proj[FMK_LORA_MAX];
    const fmk_lora lora = lora_of(l, proj);
    fmk_lora_bwd(q->ctx, &lora, cf(u), f(da), f(dx), f(dx_lora));
}

/* ---- norms, positions, attention ---- */

static void cpu_rmsnorm_fwd(fmk_stream *q, int64_t T, int64_t C, float eps, float offset, const fmk_f32 *x,
                            const fmk_f32 *g, fmk_f32 *y, fmk_f32 *rstd)
{
    fmk_rmsnorm_fwd(q->ctx, T, C, eps, offset, cf(x), cf(g), f(y), f(rstd));
}
static void cpu_rmsnorm_bwd(fmk_stream *q, int64_t T, int64_t C, float offset, const fmk_f32 *x,
                            const fmk_f32 *g, const fmk_f32 *rstd, const fmk_f32 *dy, fmk_f32 *dx,
                            fmk_f32 *dg)
{
    fmk_rmsnorm_bwd(q->ctx, T, C, offset, cf(x), cf(g), cf(rstd), cf(dy), f(dx), f(dg));
}
static void cpu_rope(fmk_stream *q, int64_t T, int64_t n_heads, int64_t D, int64_t n_rot, int64_t ld,
                     const fmk_i32 *pos, const fmk_f32 *cos_t, const fmk_f32 *sin_t, bool interleaved,
                     bool inverse, fmk_f32 *x)
{
    fmk_rope(q->ctx, T, n_heads, D, n_rot, ld, ci(pos), cf(cos_t), cf(sin_t), interleaved, inverse, f(x));
}

static fmk_attn attn_of(const fmk_dev_attn *a)
{
    return (fmk_attn){.T = a->T,
                      .H = a->H,
                      .G = a->G,
                      .D = a->D,
                      .n_seg = a->n_seg,
                      .seg = cu(a->seg),
                      .window = a->window,
                      .scale = a->scale,
                      .softcap = a->softcap,
                      .ldq = a->ldq,
                      .ldk = a->ldk,
                      .ldv = a->ldv,
                      .ldo = a->ldo,
                      .bf16 = a->bf16};
}
static size_t cpu_attn_scratch(const fmk_device *d, const fmk_dev_attn *a, int64_t longest)
{
    (void)d;
    const fmk_attn attn = attn_of(a);
    return bytes_of((double)fmk_attn_scratch(&attn, longest) / sizeof(float));
}
static void cpu_attn_fwd(fmk_stream *q, const fmk_dev_attn *a, const fmk_f32 *Q, const fmk_f32 *K,
                         const fmk_f32 *V, fmk_f32 *o, fmk_f32 *lse)
{
    const fmk_attn attn = attn_of(a);
    fmk_attn_fwd(q->ctx, &attn, cf(Q), cf(K), cf(V), f(o), f(lse));
}
static void cpu_attn_bwd(fmk_stream *q, const fmk_dev_attn *a, const fmk_f32 *Q, const fmk_f32 *K,
                         const fmk_f32 *V, const fmk_f32 *o, const fmk_f32 *lse, const fmk_f32 *d_o,
                         fmk_f32 *dQ, fmk_f32 *dK, fmk_f32 *dV)
{
    const fmk_attn attn = attn_of(a);
    fmk_attn_bwd(q->ctx, &attn, cf(Q), cf(K), cf(V), cf(o), cf(lse), cf(d_o), f(dQ), f(dK), f(dV));
}

static fmk_kv kv_of(const fmk_dev_kv *kv)
{
    return (fmk_kv){.kind = kv->kind,
                    .cap = kv->cap,
                    .G = kv->G,
                    .D = kv->D,
                    .k = kv->k,
                    .v = kv->v,
                    .k_scale = f(kv->k_scale),
                    .v_scale = f(kv->v_scale)};
}
/* Neighbouring rows that are neighbours in the cache too go together. */
static void cpu_kv_store(fmk_stream *q, const fmk_dev_kv *dev, int64_t T, int64_t ld, const fmk_i32 *slots,
                         const fmk_i32 *positions, const fmk_f32 *k, const fmk_f32 *v)
{
    (void)q;
    const fmk_kv kv = kv_of(dev);
    const int32_t *slot = ci(slots), *pos = ci(positions);
    bool packed = ld == kv.G * kv.D;
    for (int64_t t = 0, n = 1; t < T; t += n) {
        for (n = 1; packed && t + n < T && slot[t + n] == slot[t] && pos[t + n] == pos[t] + n;) {
            n++;
        }
        fmk_kv_store(&kv, slot[t], pos[t], n, cf(k) + t * ld, cf(v) + t * ld);
    }
}
static void cpu_kv_attend(fmk_stream *q, const fmk_dev_kv_attn *a, const fmk_dev_kv *dev, const fmk_f32 *Q,
                          fmk_f32 *o)
{
    const fmk_kv kv = kv_of(dev);
    const fmk_kv_attn attn = {.B = a->B,
                              .H = a->H,
                              .window = a->window,
                              .scale = a->scale,
                              .softcap = a->softcap,
                              .slot = ci(a->slot),
                              .len = ci(a->len),
                              .ldq = a->ldq};
    fmk_kv_attend(q->ctx, &attn, &kv, cf(Q), f(o));
}

/* ---- gated units ---- */

static void cpu_swiglu_fwd(fmk_stream *q, int64_t T, int64_t F, int64_t ld, const fmk_f32 *gate,
                           const fmk_f32 *up, fmk_f32 *h)
{
    fmk_swiglu_fwd(q->ctx, T, F, ld, cf(gate), cf(up), f(h));
}
static void cpu_swiglu_bwd(fmk_stream *q, int64_t T, int64_t F, int64_t ld, const fmk_f32 *gate,
                           const fmk_f32 *up, const fmk_f32 *dh, fmk_f32 *dgate, fmk_f32 *dup)
{
    fmk_swiglu_bwd(q->ctx, T, F, ld, cf(gate), cf(up), cf(dh), f(dgate), f(dup));
}
static void cpu_geglu_fwd(fmk_stream *q, int64_t T, int64_t F, int64_t ld, const fmk_f32 *gate,
                          const fmk_f32 *up, fmk_f32 *h)
{
    fmk_geglu_fwd(q->ctx, T, F, ld, cf(gate), cf(up), f(h));
}
static void cpu_geglu_bwd(fmk_stream *q, int64_t T, int64_t F, int64_t ld, const fmk_f32 *gate,
                          const fmk_f32 *up, const fmk_f32 *dh, fmk_f32 *dgate, fmk_f32 *dup)
{
    fmk_geglu_bwd(q->ctx, T, F, ld, cf(gate), cf(up), cf(dh), f(dgate), f(dup));
}

/* ---- rows ---- */

static void cpu_embed_fwd(fmk_stream *q, int64_t T, int64_t C, const fmk_f32 *E, const fmk_u32 *id,
                          fmk_f32 *x)
{
    fmk_embed_fwd(q->ctx, T, C, cf(E), cu(id), f(x));
}
static void cpu_embed_bwd(fmk_stream *q, int64_t T, int64_t C, int64_t V, const fmk_u32 *id,
                          const fmk_f32 *dx, fmk_f32 *dE)
{
    fmk_embed_bwd(q->ctx, T, C, V, cu(id), cf(dx), f(dE));
}
static void cpu_scatter_rows(fmk_stream *q, int64_t n, int64_t C, const fmk_f32 *x, const fmk_u32 *row,
                             fmk_f32 *y)
{
    (void)q;
    for (int64_t i = 0; i < n; i++) {
        memcpy(y + (int64_t)cu(row)[i] * C, x + i * C, (size_t)C * sizeof *x);
    }
}
static void cpu_bias_fwd(fmk_stream *q, int64_t T, int64_t N, const fmk_f32 *bias, bool add, fmk_f32 *y)
{
    (void)q;
    const float *b = cf(bias); /* (N) */
    for (int64_t t = 0; t < T; t++) {
        float *y_t = f(y) + t * N; /* (N) */
        for (int64_t j = 0; j < N; j++) {
            y_t[j] = add ? y_t[j] + b[j] : b[j];
        }
    }
}
static void cpu_bias_bwd(fmk_stream *q, int64_t T, int64_t N, const fmk_f32 *dy, fmk_f32 *db)
{
    (void)q;
    float *sum = f(db); /* (N) */
    for (int64_t t = 0; t < T; t++) {
        const float *dy_t = cf(dy) + t * N; /* (N) */
        for (int64_t j = 0; j < N; j++) {
            sum[j] += dy_t[j];
        }
    }
}

/* ---- loss and logits ---- */

static void cpu_xent(fmk_stream *q, int64_t N, int64_t C, int64_t V, const fmk_f32 *x, const fmk_f32 *E,
                     const fmk_u32 *label, const fmk_f32 *weight, float grad_scale, float softcap, bool bf16,
                     fmk_f32 *nll, fmk_u8 *hit, fmk_f32 *dx, fmk_f32 *dE)
{
    fmk_xent(q->ctx, N, C, V, cf(x), cf(E), cu(label), cf(weight), grad_scale, softcap, bf16, f(nll),
             (uint8_t *)(void *)hit, f(dx), f(dE));
}
static void cpu_xent_packed(fmk_stream *q, int64_t N, const fmk_f32 *x, const fmk_packed *E,
                            const fmk_u32 *label, const fmk_f32 *weight, float grad_scale, float softcap,
                            fmk_f32 *nll, fmk_u8 *hit, fmk_f32 *dx)
{
    fmk_xent_packed(q->ctx, N, cf(x), E, cu(label), cf(weight), grad_scale, softcap, f(nll),
                    (uint8_t *)(void *)hit, f(dx));
}
static void cpu_softcap_fwd(fmk_stream *q, int64_t n, float cap, fmk_f32 *y)
{
    fmk_softcap_fwd(q->ctx, n, cap, f(y));
}

/* ---- adapters ---- */

static void cpu_dropout(fmk_stream *q, const fmk_dev_drop *drop, int64_t T, int64_t C, const fmk_f32 *x,
                        bool add, fmk_f32 *y)
{
    const fmk_drop d = {.key = drop->key,
                        .site = drop->site,
                        .p_65536 = drop->p_65536,
                        .n_seg = drop->n_seg,
                        .seg = cu(drop->seg),
                        .seg_key = cu(drop->seg_key)};
    fmk_dropout(q->ctx, &d, T, C, cf(x), add, f(y));
}
static void cpu_dora_fwd(fmk_stream *q, int64_t T, int64_t N, const fmk_f32 *z, const fmk_f32 *g,
                         const fmk_f32 *bias, bool add, fmk_f32 *y)
{
    fmk_dora_fwd(q->ctx, T, N, cf(z), cf(g), cf(bias), add, f(y));
}
static void cpu_dora_bwd(fmk_stream *q, int64_t T, int64_t N, const fmk_f32 *z, const fmk_f32 *g,
                         const fmk_f32 *inv_norm, const fmk_f32 *dy, fmk_f32 *dz, fmk_f32 *dmag)
{
    fmk_dora_bwd(q->ctx, T, N, cf(z), cf(g), cf(inv_norm), cf(dy), f(dz), f(dmag));
}
static void cpu_dora_gain(fmk_stream *q, int64_t N, int64_t R, double s, const fmk_f64 *base_sq,
                          const fmk_f32 *b, const fmk_f32 *aw, const fmk_f32 *baa, const fmk_f32 *mag,
                          fmk_f32 *gain, fmk_f32 *inv_norm)
{
    (void)q;
    for (int64_t o = 0; o < N; o++) {
        const float *b_o = cf(b) + o * R, *baa_o = cf(baa) + o * R; /* (R) */
        double cross = 0.0, own = 0.0;
        for (int64_t r = 0; r < R; r++) {
            cross += (double)b_o[r] * cf(aw)[r * N + o];
            own += (double)b_o[r] * baa_o[r];
        }
        double sq = base_sq[o].v_ + 2.0 * s * cross + s * s * own;
        float norm = sq > 0.0 ? (float)sqrt(sq) : 0.0f;
        f(gain)[o] = norm > 0.0f ? cf(mag)[o] / norm : 0.0f;
        f(inv_norm)[o] = norm > 0.0f ? 1.0f / norm : 0.0f;
    }
}

/* ---- vectors ---- */

static void cpu_add(fmk_stream *q, int64_t n, const fmk_f32 *x, fmk_f32 *y)
{
    fmk_add(q->ctx, n, cf(x), f(y));
}
static void cpu_scale(fmk_stream *q, int64_t n, float a, fmk_f32 *y)
{
    fmk_scale(q->ctx, n, a, f(y));
}
static void cpu_narrow(fmk_stream *q, int64_t n, const fmk_f32 *x, fmk_bf16 *y)
{
    fmk_narrow(q->ctx, n, cf(x), &y->v_);
}
static void cpu_widen(fmk_stream *q, int64_t n, const fmk_bf16 *x, fmk_f32 *y)
{
    fmk_widen(q->ctx, n, &x->v_, f(y));
}
static void cpu_sum_squares(fmk_stream *q, int64_t n, const fmk_f32 *x, fmk_f64 *sum)
{
    sum->v_ = fmk_sum_squares(q->ctx, n, cf(x));
}
static void cpu_adamw(fmk_stream *q, int64_t n, fmk_f32 *w, const fmk_f32 *g, fmk_f32 *m, fmk_f32 *v,
                      float g_scale, float lr, float beta1, float beta2, float eps, float weight_decay,
                      int64_t step)
{
    fmk_adamw(q->ctx, n, f(w), cf(g), f(m), f(v), g_scale, lr, beta1, beta2, eps, weight_decay, step);
}

static const fmk_backend table = {
    .size = sizeof table,
    .abi = FMK_BACKEND_ABI,
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .describe = cpu_describe,
    .exact_rows = cpu_exact_rows,
    .matmul_scratch = cpu_matmul_scratch,
    .lora_scratch = cpu_lora_scratch,
    .xent_scratch = cpu_xent_scratch,
    .attn_scratch = cpu_attn_scratch,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .adopt = cpu_adopt,
    .pack = cpu_pack,
    .packed_free = cpu_packed_free,
    .stream_open = cpu_stream_open,
    .stream_close = cpu_stream_close,
    .sync = cpu_sync,
    .upload = cpu_upload,
    .download = cpu_download,
    .zero = cpu_zero,
    .copy_rows = cpu_copy_rows,
    .matmul = cpu_matmul,
    .matmul_packed = cpu_matmul_packed,
    .matmul_packed_bwd = cpu_matmul_packed_bwd,
    .lora_fwd = cpu_lora_fwd,
    .lora_bwd = cpu_lora_bwd,
    .rmsnorm_fwd = cpu_rmsnorm_fwd,
    .rmsnorm_bwd = cpu_rmsnorm_bwd,
    .rope = cpu_rope,
    .attn_fwd = cpu_attn_fwd,
    .attn_bwd = cpu_attn_bwd,
    .kv_store = cpu_kv_store,
    .kv_attend = cpu_kv_attend,
    .swiglu_fwd = cpu_swiglu_fwd,
    .swiglu_bwd = cpu_swiglu_bwd,
    .geglu_fwd = cpu_geglu_fwd,
    .geglu_bwd = cpu_geglu_bwd,
    .embed_fwd = cpu_embed_fwd,
    .embed_bwd = cpu_embed_bwd,
    .scatter_rows = cpu_scatter_rows,
    .bias_fwd = cpu_bias_fwd,
    .bias_bwd = cpu_bias_bwd,
    .xent = cpu_xent,
    .xent_packed = cpu_xent_packed,
    .softcap_fwd = cpu_softcap_fwd,
    .dropout = cpu_dropout,
    .dora_fwd = cpu_dora_fwd,
    .dora_bwd = cpu_dora_bwd,
    .dora_gain = cpu_dora_gain,
    .add = cpu_add,
    .scale = cpu_scale,
    .narrow = cpu_narrow,
    .widen = cpu_widen,
    .sum_squares = cpu_sum_squares,
    .adamw = cpu_adamw,
};

__attribute__((visibility("default"))) const fmk_backend *fmk_backend_table(void)
{
    return &table;
}
