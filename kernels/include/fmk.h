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

#include <fmk_types.h>
#include <fmpipe/err.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Thread pool, oneDNN engine, primitive cache, scratch. n_threads >= 1.              returned; fmk_ctx_free */
typedef struct fmk_ctx fmk_ctx;
FMP_MUST_USE fmp_status fmk_ctx_new(int n_threads, fmk_ctx **out, fmp_err *err);
void fmk_ctx_free(fmk_ctx *ctx);
int fmk_ctx_threads(const fmk_ctx *ctx);
/* "fmk3 avx512 f32:own bf16:avx512_bf16": what computes, for manifests and cache keys.  borrowed from ctx */
const char *fmk_ctx_describe(const fmk_ctx *ctx);
/*
 * fmk_ctx_use_onednn: let oneDNN compute fmk_matmul (16 rows or more) instead of fmpipe's own tiles, or not. Off
 * unless the CPU has AMX, where oneDNN's bf16 product is several times faster. Other bits, same determinism over
 * threads; but only the own tiles promise that a row's result does not depend on the other rows.
 */
FMP_MUST_USE fmp_status fmk_ctx_use_onednn(fmk_ctx *ctx, bool on, fmp_err *err);
/* The most rows for which a row's bits do not depend on the other rows: INT64_MAX where fmpipe's own tiles compute. */
int64_t fmk_ctx_exact_rows(const fmk_ctx *ctx, bool bf16);
/* A hint for a large block that passes read from end to end: pages of 2 MiB cost a fraction of the look-ups. */
void fmk_huge_pages(void *p, size_t size_bytes);
/* f32 matmul GFLOP/s reached on this machine now with all threads of ctx (about 0.2 s of work). */
double fmk_measure_peak_gflops(fmk_ctx *ctx);

/* ---- matrix product, described by an fmk_mm ---- */
void fmk_matmul(fmk_ctx *ctx, const fmk_mm *mm, const float *a, const float *b, float *out);
void fmk_matmul_ref(const fmk_mm *mm, const float *a, const float *b, float *out);

/* w (N,K)                                                                          returned; fmk_packed_free */
FMP_MUST_USE fmp_status fmk_matmul_pack(fmk_ctx *ctx, int64_t N, int64_t K, const float *w, bool bf16,
                                        fmk_packed **out, fmp_err *err);
void fmk_packed_free(fmk_packed *w);
size_t fmk_packed_bytes(const fmk_packed *w);
/* y (T,N) = x (T,K) W^T + beta*y          dx (T,K) = dy (T,N) W + beta*dx */
void fmk_matmul_packed(fmk_ctx *ctx, int64_t T, const float *x, const fmk_packed *w, float beta, float *y);
void fmk_matmul_packed_bwd(fmk_ctx *ctx, int64_t T, const float *dy, const fmk_packed *w, float beta, float *dx);

/*
 * fmk_lora: projections that read one input, each a frozen weight packed for bf16 with LoRA beside it, operands rounded
 * to bf16 as in fmk_mm:
 *
 *   u (T,n_u) = scale * x_lora A^T        y_i (T,N_i) = x W_i^T + u_i B_i^T (+ y_i)
 *
 * u_i are R columns of u. The same numbers as the single products, less laying out. Everything is borrowed.
 */
typedef struct fmk_lora_proj {
    const fmk_packed *w; /* (N_i,K), bf16                         */
    const float *b;      /* (N_i,R), or NULL: no LoRA here        */
    int64_t column;      /* u_i's first                           */
    bool add;            /* forward: y += instead of y =          */
    float *y;            /* (T,N_i) forward                       */
    const float *dy;     /* (T,N_i) backward                      */
    float *db;           /* (N_i,R) backward, +=                  */
} fmk_lora_proj;
typedef struct fmk_lora {
    int64_t T, K, R, n_u; /* n_u: R times the projections that have LoRA, at least one of them */
    float scale;
    const float *x, *x_lora; /* (T,K); x_lora: what LoRA reads, x itself but for dropout */
    const float *a;          /* (n_u,K) */
    int n;                   /* 1 .. FMK_LORA_MAX */
    const fmk_lora_proj *proj;
} fmk_lora;
void fmk_lora_fwd(fmk_ctx *ctx, const fmk_lora *l, float *u);
/* dx (T,K) overwritten, NULL: not wanted; dx_lora (T,K): LoRA's part of it apart, NULL: added; da (n_u,K) += */
void fmk_lora_bwd(fmk_ctx *ctx, const fmk_lora *l, const float *u, float *da, float *dx, float *dx_lora);

/*
 * ---- RMSNorm: y = x / sqrt(mean(x^2) + eps) * (offset + g); x,y (T,C), g (C), rstd (T) kept for the backward
 * pass. offset 0, or 1 where a file's gains count from 1 (Gemma). ----
 */
void fmk_rmsnorm_fwd(fmk_ctx *ctx, int64_t T, int64_t C, float eps, float offset, const float *x, const float *g,
                     float *y, float *rstd);
/* dx += ...; dg (C) += ... unless NULL */
void fmk_rmsnorm_bwd(fmk_ctx *ctx, int64_t T, int64_t C, float offset, const float *x, const float *g,
                     const float *rstd, const float *dy, float *dx, float *dg);

/*
 * ---- RoPE in place on x (T, n_heads, D), row stride ld; pos (T): row of the tables cos,sin (rows, n_rot/2) ----
 * The first n_rot values of each head are turned, the others left. interleaved: pairs (2i, 2i+1); else half-split
 * pairs (i, i + n_rot/2), the Hugging Face layout. inverse: backward.
 */
void fmk_rope(fmk_ctx *ctx, int64_t T, int64_t n_heads, int64_t D, int64_t n_rot, int64_t ld, const int32_t *pos,
              const float *cos_t, const float *sin_t, bool interleaved, bool inverse, float *x);

/* ---- causal attention inside segments: token t sees tokens seg[s]..t of its own segment only ---- */
typedef struct fmk_attn {
    int64_t T, H, G, D;      /* H % G == 0: query head h reads key/value head h / (H/G); D <= 256 */
    int64_t n_seg;
    const uint32_t *seg;     /* (n_seg + 1) offsets into 0..T, ascending                   */
    int64_t window;          /* 0: none; else a token sees at most `window` tokens, itself included */
    float scale;             /* > 0, usually 1/sqrt(D) */
    float softcap;           /* 0: off; else a score s becomes softcap * tanh(s / softcap) */
    int64_t ldq, ldk, ldv, ldo; /* row strides in elements */
    bool bf16;               /* round the operands of every product to bf16 first (f32 sums, softmax in f32) */
} fmk_attn;
/* q (T,H,D) k,v (T,G,D) -> o (T,H,D); lse (T,H) log-sum-exp of each row, kept for the backward pass. Tiled, never T*T. */
void fmk_attn_fwd(fmk_ctx *ctx, const fmk_attn *a, const float *q, const float *k, const float *v, float *o,
                  float *lse);
/* dq, dk, dv have the strides of q, k, v and are overwritten. */
void fmk_attn_bwd(fmk_ctx *ctx, const fmk_attn *a, const float *q, const float *k, const float *v, const float *o,
                  const float *lse, const float *d_o, float *dq, float *dk, float *dv);
/*
 * Bytes of scratch that these take at most for T tokens in at most n_seg segments of at most `longest` tokens. Of `a`
 * only T, H, G, D, n_seg and bf16 are read.
 */
size_t fmk_attn_scratch(const fmk_attn *a, int64_t longest);
/* ---- the cache of keys and values that generation reads ---- */
/*
 * One layer's cache, k and v (slots, cap, G, D), a slot for each sequence; borrowed.
 *   FMK_KV_F32 float; FMK_KV_BF16 uint16_t, rounded to nearest even; FMK_KV_Q8 int8_t with k_scale, v_scale (slots, cap, G)
 *   for each head's row, the largest absolute value / 127: a value is within half a scale of what was stored.
 */
typedef struct fmk_kv {
    fmk_kv_kind kind;
    int64_t cap, G, D; /* D <= 256 */
    void *k, *v;
    float *k_scale, *v_scale; /* NULL unless Q8 */
} fmk_kv;
/* k, v (n,G,D): the tokens at positions pos..pos+n-1 of a slot. */
void fmk_kv_store(const fmk_kv *kv, int64_t slot, int64_t pos, int64_t n, const float *k, const float *v);
/* One new token for each of B sequences: it sees its slot's first len tokens, itself among them. */
typedef struct fmk_kv_attn {
    int64_t B, H;           /* query head h reads head h / (H/G) */
    int64_t window;         /* as in fmk_attn                    */
    float scale;
    float softcap;          /* 0: off; else a score s becomes softcap * tanh(s / softcap) */
    const int32_t *slot;    /* (B) */
    const int32_t *len;     /* (B) */
    int64_t ldq;            /* from one row of q to the next; 0: H*D */
} fmk_kv_attn;
/* q (B,H,D) -> o (B,H,D) */
void fmk_kv_attend(fmk_ctx *ctx, const fmk_kv_attn *a, const fmk_kv *kv, const float *q, float *o);

/*
 * ---- SwiGLU: h = silu(gate) * up; GeGLU: h = gelu(gate) * up, gelu in its tanh form ----
 * h, dh (T,F) contiguous; gate, up, dgate, dup (T,F) with rows ld >= F apart; dgate, dup overwritten
 */
void fmk_swiglu_fwd(fmk_ctx *ctx, int64_t T, int64_t F, int64_t ld, const float *gate, const float *up, float *h);
void fmk_swiglu_bwd(fmk_ctx *ctx, int64_t T, int64_t F, int64_t ld, const float *gate, const float *up,
                    const float *dh, float *dgate, float *dup);
void fmk_geglu_fwd(fmk_ctx *ctx, int64_t T, int64_t F, int64_t ld, const float *gate, const float *up, float *h);
void fmk_geglu_bwd(fmk_ctx *ctx, int64_t T, int64_t F, int64_t ld, const float *gate, const float *up,
                   const float *dh, float *dgate, float *dup);

/* ---- embedding: x[t] = E[id[t]]; backward: dE[id[t]] += dx[t], rows in token order ---- */
void fmk_embed_fwd(fmk_ctx *ctx, int64_t T, int64_t C, const float *E, const uint32_t *id, float *x);
void fmk_embed_bwd(fmk_ctx *ctx, int64_t T, int64_t C, int64_t V, const uint32_t *id, const float *dx, float *dE);

/*
 * fmk_xent: the language-model head fused with the weighted cross-entropy, for N labelled rows only.
 *   x (N,C), E (V,C) the head weight, label (N), weight (N), grad_scale: d loss / d sum, usually 1/sum of weights
 *   nll (N) -log p(label), unweighted        hit (N) 1 if the label is the argmax, or NULL
 *   dx (N,C) overwritten, NULL: forward only  dE (V,C) += , NULL: frozen head
 *   softcap > 0: the logits are softcap * tanh(logit / softcap)
 * Logits exist only for one tile of rows at a time. bf16 as in fmk_mm.
 */
void fmk_xent(fmk_ctx *ctx, int64_t N, int64_t C, int64_t V, const float *x, const float *E, const uint32_t *label,
              const float *weight, float grad_scale, float softcap, bool bf16, float *nll, uint8_t *hit, float *dx,
              float *dE);
/* The same with a frozen head (V,C) packed for bf16: nothing is laid out anew, and no logit goes through memory twice. */
void fmk_xent_packed(fmk_ctx *ctx, int64_t N, const float *x, const fmk_packed *E, const uint32_t *label,
                     const float *weight, float grad_scale, float softcap, float *nll, uint8_t *hit, float *dx);
/* y (n) = cap * tanh(y / cap) in place */
void fmk_softcap_fwd(fmk_ctx *ctx, int64_t n, float cap, float *y);

/*
 * fmk_dropout: y (T,C) = mask * x / (1 - p), or += with add; the mask of row t, channel c is a function of (key, site,
 * the segment's key, the row's place in its segment, c): Philox4x32-10.
 */
typedef struct fmk_drop {
    uint64_t key;            /* of the step                                              */
    uint32_t site;           /* of the layer and its input                               */
    uint32_t p_65536;        /* share that is dropped, in 65536ths, below 65536          */
    int64_t n_seg;
    const uint32_t *seg;     /* (n_seg + 1) offsets into 0..T, ascending                 */
    const uint32_t *seg_key; /* (n_seg), or NULL: the segment's number                   */
} fmk_drop;
void fmk_dropout(fmk_ctx *ctx, const fmk_drop *drop, int64_t T, int64_t C, const float *x, bool add, float *y);

/* ---- DoRA: y (T,N) = g (N) * z (T,N) + bias (N), NULL: none; += with add ---- */
void fmk_dora_fwd(fmk_ctx *ctx, int64_t T, int64_t N, const float *z, const float *g, const float *bias, bool add,
                  float *y);
/* dz (T,N) = g * dy; dmag (N) += inv_norm * sum over T of dy * z */
void fmk_dora_bwd(fmk_ctx *ctx, int64_t T, int64_t N, const float *z, const float *g, const float *inv_norm,
                  const float *dy, float *dz, float *dmag);

/* ---- vectors of n elements ---- */
void fmk_add(fmk_ctx *ctx, int64_t n, const float *x, float *y);              /* y += x      */
void fmk_scale(fmk_ctx *ctx, int64_t n, float a, float *y);                   /* y *= a      */
double fmk_sum_squares(fmk_ctx *ctx, int64_t n, const float *x);              /* f64, fixed order */
/* AdamW, Loshchilov & Hutter 2019: decoupled decay; step counts from 1; g is multiplied by g_scale (clipping) first. */
void fmk_adamw(fmk_ctx *ctx, int64_t n, float *w, const float *g, float *m, float *v, float g_scale, float lr,
               float beta1, float beta2, float eps, float weight_decay, int64_t step);
/* The one rounding in use: round to nearest even. By the calling thread; by all. */
void fmk_f32_to_bf16(int64_t n, const float *x, uint16_t *y);
void fmk_narrow(fmk_ctx *ctx, int64_t n, const float *x, uint16_t *y);
void fmk_widen(fmk_ctx *ctx, int64_t n, const uint16_t *x, float *y);

#ifdef __cplusplus
}
#endif
#endif
