/*
 * fmk.h: the number loops behind training and generation.
 *
 * Shape letters: B sequences, T tokens (rows), C channels, H query heads, G key/value heads, D head size,
 * F feed-forward, V vocabulary, R LoRA rank, S segments. All matrices are row-major f32 unless a name says bf16.
 *
 * Determinism  Every result has the same bits for any number of threads: work is cut into tiles whose bounds depend
 *              on the shapes only, one thread computes a tile, and partial sums are added in tile order. oneDNN is
 *              only ever called for one tile by one thread, so it never splits K across threads.
 * References   Each fmk_x has a plain loop fmk_x_ref with the same arguments less ctx; tests compare the two.
 * When         Any function: from the thread that owns `ctx`, one call at a time. No function keeps a pointer.
 * Errors       Only fmk_ctx_new, fmk_ctx_use_onednn and fmk_matmul_pack can fail; shapes are the caller's contract
 *              (asserted). Scratch is reserved address space; a kernel that exhausts it aborts (beyond 8 GiB).
 */
#ifndef FMK_H
#define FMK_H

#include <fmpipe/err.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Thread pool, oneDNN engine, primitive cache, scratch. n_threads >= 1.              returned; fmk_ctx_free */
typedef struct fmk_ctx fmk_ctx;
FMP_MUST_USE fmp_status fmk_ctx_new(int n_threads, fmk_ctx **out, fmp_err *err);
void fmk_ctx_free(fmk_ctx *ctx);
int fmk_ctx_threads(const fmk_ctx *ctx);
/* "fmk1 avx512 f32:own bf16:avx512_bf16": what computes, for manifests and cache keys.  borrowed from ctx */
const char *fmk_ctx_describe(const fmk_ctx *ctx);
/*
 * fmk_ctx_use_onednn: let oneDNN compute fmk_matmul (16 rows or more) instead of fmpipe's own tiles, or not. Off
 * unless the CPU has AMX, where oneDNN's bf16 product is several times faster. Other bits, same determinism over
 * threads; but only the own tiles promise that a row's result does not depend on the other rows.
 */
FMP_MUST_USE fmp_status fmk_ctx_use_onednn(fmk_ctx *ctx, bool on, fmp_err *err);
/* f32 matmul GFLOP/s reached on this machine now with all threads of ctx (about 0.2 s of work). */
double fmk_measure_peak_gflops(fmk_ctx *ctx);

/* ---- matrix product: out (M,N) = op(A) op(B) + beta*out; op is transpose when ta/tb ---- */
typedef struct fmk_mm {
    int64_t M, N, K;
    bool ta, tb;            /* A is (K,M) when ta; B is (N,K) when tb                 */
    int64_t lda, ldb, ldc;  /* row strides in elements                                */
    float beta;             /* 0 or 1                                                 */
    bool bf16;              /* round A and B to bf16 before multiplying (f32 sums)    */
} fmk_mm;
void fmk_matmul(fmk_ctx *ctx, const fmk_mm *mm, const float *a, const float *b, float *out);
void fmk_matmul_ref(const fmk_mm *mm, const float *a, const float *b, float *out);

/* A frozen weight (N,K), as in y = x W^T, laid out once for fmk_matmul_packed in both directions. */
typedef struct fmk_packed fmk_packed;
FMP_MUST_USE fmp_status fmk_matmul_pack(fmk_ctx *ctx, int64_t N, int64_t K, const float *w, bool bf16,
                                        fmk_packed **out, fmp_err *err);
void fmk_packed_free(fmk_packed *w);
size_t fmk_packed_bytes(const fmk_packed *w);
/* y (T,N) = x (T,K) W^T + beta*y          dx (T,K) = dy (T,N) W + beta*dx */
void fmk_matmul_packed(fmk_ctx *ctx, int64_t T, const float *x, const fmk_packed *w, float beta, float *y);
void fmk_matmul_packed_bwd(fmk_ctx *ctx, int64_t T, const float *dy, const fmk_packed *w, float beta, float *dx);

/* ---- RMSNorm: y = x / sqrt(mean(x^2) + eps) * g;  x,y (T,C), g (C), rstd (T) kept for the backward pass ---- */
void fmk_rmsnorm_fwd(fmk_ctx *ctx, int64_t T, int64_t C, float eps, const float *x, const float *g, float *y,
                     float *rstd);
/* dx += ...; dg (C) += ... unless NULL */
void fmk_rmsnorm_bwd(fmk_ctx *ctx, int64_t T, int64_t C, const float *x, const float *g, const float *rstd,
                     const float *dy, float *dx, float *dg);

/* ---- RoPE in place on x (T, n_heads, D), row stride ld; pos (T); cos,sin (max_pos, D/2) ---- */
/* interleaved: pairs (2i, 2i+1); else half-split pairs (i, i + D/2), the Hugging Face layout. inverse: backward. */
void fmk_rope_table(int64_t max_pos, int64_t D, double theta, float *cos_t, float *sin_t);
void fmk_rope(fmk_ctx *ctx, int64_t T, int64_t n_heads, int64_t D, int64_t ld, const int32_t *pos,
              const float *cos_t, const float *sin_t, bool interleaved, bool inverse, float *x);

/* ---- causal attention inside segments: token t sees tokens seg[s]..t of its own segment only ---- */
typedef struct fmk_attn {
    int64_t T, H, G, D;      /* H % G == 0: query head h reads key/value head h / (H/G); D <= 256 */
    int64_t n_seg;
    const uint32_t *seg;     /* (n_seg + 1) offsets into 0..T, ascending                   */
    int64_t window;          /* 0: none; else a token sees at most `window` tokens, itself included */
    float scale;             /* usually 1/sqrt(D) */
    int64_t ldq, ldk, ldv, ldo; /* row strides in elements */
} fmk_attn;
/* q (T,H,D) k,v (T,G,D) -> o (T,H,D); lse (T,H) log-sum-exp of each row, kept for the backward pass. Tiled, never T*T. */
void fmk_attn_fwd(fmk_ctx *ctx, const fmk_attn *a, const float *q, const float *k, const float *v, float *o,
                  float *lse);
/* dq, dk, dv have the strides of q, k, v and are overwritten. */
void fmk_attn_bwd(fmk_ctx *ctx, const fmk_attn *a, const float *q, const float *k, const float *v, const float *o,
                  const float *lse, const float *d_o, float *dq, float *dk, float *dv);
/*
 * One new token for each of B sequences against its cache: q (B,H,D) contiguous, k/v caches (B, cap, G, D),
 * len (B): tokens in the cache, the new one included -> o (B,H,D).
 */
void fmk_attn_decode(fmk_ctx *ctx, int64_t B, int64_t H, int64_t G, int64_t D, int64_t cap, float scale,
                     int64_t window, const float *q, const float *k_cache, const float *v_cache, const int32_t *len,
                     float *o);

/* ---- SwiGLU: h = silu(gate) * up; all (T,F) contiguous ---- */
void fmk_swiglu_fwd(fmk_ctx *ctx, int64_t T, int64_t F, const float *gate, const float *up, float *h);
/* dgate, dup overwritten */
void fmk_swiglu_bwd(fmk_ctx *ctx, int64_t T, int64_t F, const float *gate, const float *up, const float *dh,
                    float *dgate, float *dup);

/* ---- embedding: x[t] = E[id[t]]; backward: dE[id[t]] += dx[t], rows in token order ---- */
void fmk_embed_fwd(fmk_ctx *ctx, int64_t T, int64_t C, const float *E, const uint32_t *id, float *x);
void fmk_embed_bwd(fmk_ctx *ctx, int64_t T, int64_t C, int64_t V, const uint32_t *id, const float *dx, float *dE);

/*
 * fmk_xent: the language-model head fused with the weighted cross-entropy, for N labelled rows only.
 *   x (N,C), E (V,C) the head weight, label (N), weight (N), grad_scale: d loss / d sum, usually 1/sum of weights
 *   nll (N) -log p(label), unweighted        hit (N) 1 if the label is the argmax, or NULL
 *   dx (N,C) overwritten, NULL: forward only  dE (V,C) += , NULL: frozen head
 * Logits exist only for one tile of rows at a time. bf16 as in fmk_mm.
 */
void fmk_xent(fmk_ctx *ctx, int64_t N, int64_t C, int64_t V, const float *x, const float *E, const uint32_t *label,
              const float *weight, float grad_scale, bool bf16, float *nll, uint8_t *hit, float *dx, float *dE);

/* ---- vectors of n elements ---- */
void fmk_add(fmk_ctx *ctx, int64_t n, const float *x, float *y);              /* y += x      */
void fmk_scale(fmk_ctx *ctx, int64_t n, float a, float *y);                   /* y *= a      */
double fmk_sum_squares(fmk_ctx *ctx, int64_t n, const float *x);              /* f64, fixed order */
bool fmk_all_finite(fmk_ctx *ctx, int64_t n, const float *x);
/* AdamW, Loshchilov & Hutter 2019: decoupled decay; step counts from 1; g is multiplied by g_scale (clipping) first. */
void fmk_adamw(fmk_ctx *ctx, int64_t n, float *w, const float *g, float *m, float *v, float g_scale, float lr,
               float beta1, float beta2, float eps, float weight_decay, int64_t step);
/* The one rounding in use: round to nearest even. */
void fmk_f32_to_bf16(int64_t n, const float *x, uint16_t *y);
void fmk_bf16_to_f32(int64_t n, const uint16_t *x, float *y);

#ifdef __cplusplus
}
#endif
#endif
