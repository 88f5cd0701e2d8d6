/*
 * fmk_backend.h: the one table of operations between core/model and a machine that computes.
 *
 * A backend is a shared object, fmpipe_backend_NAME.so, that exports fmk_backend_table. Models, training and generation
 * reach memory and arithmetic through that table only, and are written so that neither need be the host's:
 *
 * Memory   Device memory is named by pointers to one-field structs (fmk_f32, ...). They may be added to, compared and
 *          passed on; the host never follows one. What the host must see comes by `download`, what it made goes by
 *          `upload`.
 * Time     An operation is put into a stream and may return before it ran. Operations of one stream run in their order.
 *          Host memory that an argument points to (a descriptor, the source of an upload) is read before the call
 *          returns; the target of a download holds its bytes after the next `sync`.
 * Errors   An operation cannot fail by itself: `sync` reports the first failure since the last one, and what ran after
 *          it is undefined. Shapes are the caller's contract.
 * Bits     Same operations, same bits, whenever they run: no atomics whose order shows.
 * When     A device and its streams: one thread at a time.
 *
 * Shape letters and numbers are those of fmk.h, whose functions are the `cpu` backend's operations; its comments hold
 * here. Strides and counts are in elements unless a name says bytes.
 */
#ifndef FMK_BACKEND_H
#define FMK_BACKEND_H

#include <fmk_types.h>
#include <fmpipe/err.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Grows with every change that an older program or backend would misread; new members go to the end of the table. */
#define FMK_BACKEND_ABI 2u

typedef struct fmk_f32 {
    float v_;
} fmk_f32;
typedef struct fmk_f64 {
    double v_;
} fmk_f64;
typedef struct fmk_bf16 {
    uint16_t v_;
} fmk_bf16;
typedef struct fmk_u32 {
    uint32_t v_;
} fmk_u32;
typedef struct fmk_i32 {
    int32_t v_;
} fmk_i32;
typedef struct fmk_u8 {
    uint8_t v_;
} fmk_u8;

typedef struct fmk_device fmk_device;
typedef struct fmk_stream fmk_stream;

typedef struct fmk_device_options {
    uint32_t size; /* of this struct */
    int n_threads; /* of the host that a device may use, >= 1 */
} fmk_device_options;

/* Attention inside segments: fmk_attn with device arrays. */
typedef struct fmk_dev_attn {
    int64_t T, H, G, D, n_seg;
    const fmk_u32 *seg; /* (n_seg + 1) */
    int64_t window;
    float scale, softcap;
    int64_t ldq, ldk, ldv, ldo;
    bool bf16;
} fmk_dev_attn;

/* Dropout: fmk_drop with device arrays. */
typedef struct fmk_dev_drop {
    uint64_t key;
    uint32_t site, p_65536;
    int64_t n_seg;
    const fmk_u32 *seg;     /* (n_seg + 1) */
    const fmk_u32 *seg_key; /* (n_seg), or NULL */
} fmk_dev_drop;

/* Projections that read one input: fmk_lora in device memory; proj itself is the host's, read before the call returns. */
typedef struct fmk_dev_lora_proj {
    const fmk_packed *w;
    const fmk_f32 *b;
    int64_t column;
    bool add;
    fmk_f32 *y;
    const fmk_f32 *dy;
    fmk_f32 *db;
} fmk_dev_lora_proj;
typedef struct fmk_dev_lora {
    int64_t T, K, R, n_u;
    float scale;
    const fmk_f32 *x, *x_lora, *a;
    int n;
    const fmk_dev_lora_proj *proj;
} fmk_dev_lora;

/* One layer's cache of keys and values: fmk_kv in device memory. */
typedef struct fmk_dev_kv {
    fmk_kv_kind kind;
    int64_t cap, G, D;
    void *k, *v;
    fmk_f32 *k_scale, *v_scale; /* NULL unless Q8 */
} fmk_dev_kv;

/* One new token for each of B sequences: fmk_kv_attn with device arrays. */
typedef struct fmk_dev_kv_attn {
    int64_t B, H, ldq, window;
    float scale, softcap;
    const fmk_i32 *slot, *len; /* (B) */
} fmk_dev_kv_attn;

/* Every backend has every member; sizes and shapes may be zero. */
typedef struct fmk_backend {
    uint32_t size, abi; /* sizeof(fmk_backend), FMK_BACKEND_ABI */
    const char *name;   /* as in its file's name */

    /* ---- a device ---- */
    fmp_status (*open)(const fmk_device_options *options, fmk_device **out, fmp_err *err);
    void (*close)(fmk_device *d); /* after all that was made from it */
    /* What computes, in one line: part of cache keys.                              borrowed from the device */
    const char *(*describe)(const fmk_device *d);
    /* The most rows of a product for which a row's bits do not depend on the others; INT64_MAX: any. */
    int64_t (*exact_rows)(const fmk_device *d, bool bf16);
    /*
     * Bytes beside arguments that operations may take at most: a product (also by a packed weight (mm.K,mm.N), back);
     * lora_fwd and lora_bwd whose weights have N rows together; the fused loss (packed: xent_packed); attention of T
     * tokens in at most n_seg segments of at most `longest`, of whose arguments only T, H, G, D, n_seg and bf16 are read.
     */
    size_t (*matmul_scratch)(const fmk_device *d, const fmk_mm *mm);
    size_t (*lora_scratch)(const fmk_device *d, int64_t T, int64_t K, int64_t N, int64_t n_u);
    size_t (*xent_scratch)(const fmk_device *d, int64_t N, int64_t C, int64_t V, bool bf16, bool packed);
    size_t (*attn_scratch)(const fmk_device *d, const fmk_dev_attn *a, int64_t longest);

    /* ---- memory; contents undefined until written ---- */
    fmp_status (*alloc)(fmk_device *d, size_t bytes, void **out, fmp_err *err); /* 64-byte aligned; free */
    void (*free)(fmk_device *d, void *memory); /* NULL allowed; waits for what was enqueued before */
    /*
     * The device's address of host memory that stays where it is until the device is closed or the memory is no
     * longer used, without a copy; NULL where the device cannot: then alloc and upload. The host may write to it only
     * after a sync. Needs no free.
     */
    void *(*adopt)(fmk_device *d, const void *host, size_t bytes);
    /* w (N,K) in host memory, read before the call returns. */
    fmp_status (*pack)(fmk_device *d, int64_t N, int64_t K, const float *w, bool bf16, fmk_packed **out,
                       fmp_err *err);
    void (*packed_free)(fmk_device *d, fmk_packed *w); /* as free */

    /* ---- streams ---- */
    fmp_status (*stream_open)(fmk_device *d, fmk_stream **out, fmp_err *err);
    void (*stream_close)(fmk_stream *q); /* waits */
    fmp_status (*sync)(fmk_stream *q, fmp_err *err);
    void (*upload)(fmk_stream *q, void *to, const void *host, size_t bytes);
    void (*download)(fmk_stream *q, void *host, const void *from, size_t bytes);
    void (*zero)(fmk_stream *q, void *to, size_t bytes);
    /* n rows of row_bytes, from_stride and to_stride bytes apart; they do not overlap */
    void (*copy_rows)(fmk_stream *q, int64_t n, size_t row_bytes, const void *from, size_t from_stride, void *to,
                      size_t to_stride);

    /* ---- products ---- */
    void (*matmul)(fmk_stream *q, const fmk_mm *mm, const fmk_f32 *a, const fmk_f32 *b, fmk_f32 *out);
    void (*matmul_packed)(fmk_stream *q, int64_t T, const fmk_f32 *x, const fmk_packed *w, float beta, fmk_f32 *y);
    void (*matmul_packed_bwd)(fmk_stream *q, int64_t T, const fmk_f32 *dy, const fmk_packed *w, float beta,
                              fmk_f32 *dx);
    void (*lora_fwd)(fmk_stream *q, const fmk_dev_lora *l, fmk_f32 *u);
    void (*lora_bwd)(fmk_stream *q, const fmk_dev_lora *l, const fmk_f32 *u, fmk_f32 *da, fmk_f32 *dx, fmk_f32 *dx_lora);

    /* ---- norms, positions, attention ---- */
    void (*rmsnorm_fwd)(fmk_stream *q, int64_t T, int64_t C, float eps, float offset, const fmk_f32 *x,
                        const fmk_f32 *g, fmk_f32 *y, fmk_f32 *rstd);
    void (*rmsnorm_bwd)(fmk_stream *q, int64_t T, int64_t C, float offset, const fmk_f32 *x, const fmk_f32 *g,
                        const fmk_f32 *rstd, const fmk_f32 *dy, fmk_f32 *dx, fmk_f32 *dg);
    void (*rope)(fmk_stream *q, int64_t T, int64_t n_heads, int64_t D, int64_t n_rot, int64_t ld,
                 const fmk_i32 *pos, const fmk_f32 *cos_t, const fmk_f32 *sin_t, bool interleaved, bool inverse,
                 fmk_f32 *x);
    void (*attn_fwd)(fmk_stream *q, const fmk_dev_attn *a, const fmk_f32 *Q, const fmk_f32 *K, const fmk_f32 *V,
                     fmk_f32 *o, fmk_f32 *lse);
    void (*attn_bwd)(fmk_stream *q, const fmk_dev_attn *a, const fmk_f32 *Q, const fmk_f32 *K, const fmk_f32 *V,
                     const fmk_f32 *o, const fmk_f32 *lse, const fmk_f32 *d_o, fmk_f32 *dQ, fmk_f32 *dK,
                     fmk_f32 *dV);
    /* Row t of k, v (T,G,D), rows ld apart, becomes position pos[t] of slot[t]; no place is written twice. */
    void (*kv_store)(fmk_stream *q, const fmk_dev_kv *kv, int64_t T, int64_t ld, const fmk_i32 *slot,
                     const fmk_i32 *pos, const fmk_f32 *k, const fmk_f32 *v);
    void (*kv_attend)(fmk_stream *q, const fmk_dev_kv_attn *a, const fmk_dev_kv *kv, const fmk_f32 *Q, fmk_f32 *o);

    /* ---- gated units ---- */
    void (*swiglu_fwd)(fmk_stream *q, int64_t T, int64_t F, int64_t ld, const fmk_f32 *gate, const fmk_f32 *up,
                       fmk_f32 *h);
    void (*swiglu_bwd)(fmk_stream *q, int64_t T, int64_t F, int64_t ld, const fmk_f32 *gate, const fmk_f32 *up,
                       const fmk_f32 *dh, fmk_f32 *dgate, fmk_f32 *dup);
    void (*geglu_fwd)(fmk_stream *q, int64_t T, int64_t F, int64_t ld, const fmk_f32 *gate, const fmk_f32 *up,
                      fmk_f32 *h);
    void (*geglu_bwd)(fmk_stream *q, int64_t T, int64_t F, int64_t ld, const fmk_f32 *gate, const fmk_f32 *up,
                      const fmk_f32 *dh, fmk_f32 *dgate, fmk_f32 *dup);

    /* ---- rows: a table's by id (or any matrix's, by number), biases ---- */
    void (*embed_fwd)(fmk_stream *q, int64_t T, int64_t C, const fmk_f32 *E, const fmk_u32 *id, fmk_f32 *x);
    void (*embed_bwd)(fmk_stream *q, int64_t T, int64_t C, int64_t V, const fmk_u32 *id, const fmk_f32 *dx,
                      fmk_f32 *dE);
    /* y[row[i]] = x (n,C); no row twice */
    void (*scatter_rows)(fmk_stream *q, int64_t n, int64_t C, const fmk_f32 *x, const fmk_u32 *row, fmk_f32 *y);
    /* y (T,N) = bias (N) in each row; += with add */
    void (*bias_fwd)(fmk_stream *q, int64_t T, int64_t N, const fmk_f32 *bias, bool add, fmk_f32 *y);
    /* db (N) += the sum of the rows of dy (T,N), each added in order of t */
    void (*bias_bwd)(fmk_stream *q, int64_t T, int64_t N, const fmk_f32 *dy, fmk_f32 *db);

    /* ---- loss and logits ---- */
    void (*xent)(fmk_stream *q, int64_t N, int64_t C, int64_t V, const fmk_f32 *x, const fmk_f32 *E,
                 const fmk_u32 *label, const fmk_f32 *weight, float grad_scale, float softcap, bool bf16,
                 fmk_f32 *nll, fmk_u8 *hit, fmk_f32 *dx, fmk_f32 *dE);
    void (*xent_packed)(fmk_stream *q, int64_t N, const fmk_f32 *x, const fmk_packed *E, const fmk_u32 *label,
                        const fmk_f32 *weight, float grad_scale, float softcap, fmk_f32 *nll, fmk_u8 *hit, fmk_f32 *dx);
    void (*softcap_fwd)(fmk_stream *q, int64_t n, float cap, fmk_f32 *y);

    /* ---- adapters ---- */
    void (*dropout)(fmk_stream *q, const fmk_dev_drop *drop, int64_t T, int64_t C, const fmk_f32 *x, bool add,
                    fmk_f32 *y);
    void (*dora_fwd)(fmk_stream *q, int64_t T, int64_t N, const fmk_f32 *z, const fmk_f32 *g, const fmk_f32 *bias,
                     bool add, fmk_f32 *y);
    void (*dora_bwd)(fmk_stream *q, int64_t T, int64_t N, const fmk_f32 *z, const fmk_f32 *g,
                     const fmk_f32 *inv_norm, const fmk_f32 *dy, fmk_f32 *dz, fmk_f32 *dmag);
    /*
     * The lengths of the rows of W + s B A, and what they scale by: with base_sq (N) the squared lengths of W's rows,
     * b (N,R), aw (R,N) = A W^T, baa (N,R) = B A A^T, in f64:
     *   norm = f32(sqrt(base_sq + 2 s b aw + s^2 b baa))   gain (N) = mag (N) / norm   inv_norm (N) = 1 / norm
     * both 0 for a row of zeros.
     */
    void (*dora_gain)(fmk_stream *q, int64_t N, int64_t R, double s, const fmk_f64 *base_sq, const fmk_f32 *b,
                      const fmk_f32 *aw, const fmk_f32 *baa, const fmk_f32 *mag, fmk_f32 *gain, fmk_f32 *inv_norm);

    /* ---- vectors of n elements ---- */
    void (*add)(fmk_stream *q, int64_t n, const fmk_f32 *x, fmk_f32 *y);
    void (*scale)(fmk_stream *q, int64_t n, float a, fmk_f32 *y);
    void (*narrow)(fmk_stream *q, int64_t n, const fmk_f32 *x, fmk_bf16 *y); /* to the nearest, ties to even */
    void (*widen)(fmk_stream *q, int64_t n, const fmk_bf16 *x, fmk_f32 *y);
    void (*sum_squares)(fmk_stream *q, int64_t n, const fmk_f32 *x, fmk_f64 *sum);
    void (*adamw)(fmk_stream *q, int64_t n, fmk_f32 *w, const fmk_f32 *g, fmk_f32 *m, fmk_f32 *v, float g_scale,
                  float lr, float beta1, float beta2, float eps, float weight_decay, int64_t step);
} fmk_backend;

/* What a backend's shared object exports: its table, static. */
#define FMK_BACKEND_SYMBOL "fmk_backend_table"
typedef const fmk_backend *(*fmk_backend_fn)(void);
const fmk_backend *fmk_backend_table(void);

#ifdef __cplusplus
}
#endif
#endif
