/*
 * fmk_ref.h: the plain loops that define what each kernel of fmk.h computes. Same arguments less the context,
 * one thread, no tricks; sums run in f64 where the result is compared with a tolerance. Slow; for tests and
 * for reading.
 */
#ifndef FMK_REF_H
#define FMK_REF_H

#include <fmk.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * fmk_limit_isa: use at most this instruction set (0 baseline, 1 AVX2 and FMA, 2 AVX-512), in the whole
 * process, from the next call on: how a test reaches every copy of a kernel, and how one machine repeats the
 * bits of a lesser one. Weights packed before belong to the old limit. Not while a kernel runs.
 */
void fmk_limit_isa(int level);

/* y (T,N) = x (T,K) w^T + beta*y, dx (T,K) = dy (T,N) w + beta*dx; w (N,K) f32, not packed. */
void fmk_matmul_packed_ref(int64_t T, int64_t N, int64_t K, const float *x, const float *w, bool bf16,
                           float beta, float *y);
void fmk_matmul_packed_bwd_ref(int64_t T, int64_t N, int64_t K, const float *dy, const float *w, bool bf16,
                               float beta, float *dx);
/* w, N: of each projection, the weight not packed and its rows; du (T,n_u) overwritten. */
void fmk_lora_fwd_ref(const fmk_lora *l, const float *const *w, const int64_t *N, float *u);
void fmk_lora_bwd_ref(const fmk_lora *l, const float *const *w, const int64_t *N, const float *u, float *du,
                      float *da, float *dx, float *dx_lora);
void fmk_rmsnorm_fwd_ref(int64_t T, int64_t C, float eps, float offset, const float *x, const float *g,
                         float *y, float *rstd);
void fmk_rmsnorm_bwd_ref(int64_t T, int64_t C, float offset, const float *x, const float *g,
                         const float *rstd, const float *dy, float *dx, float *dg);
void fmk_rope_ref(int64_t T, int64_t n_heads, int64_t D, int64_t n_rot, int64_t ld, const int32_t *pos,
                  const float *cos_t, const float *sin_t, bool interleaved, bool inverse, float *x);
void fmk_attn_fwd_ref(const fmk_attn *a, const float *q, const float *k, const float *v, float *o,
                      float *lse);
void fmk_attn_bwd_ref(const fmk_attn *a, const float *q, const float *k, const float *v, const float *o,
                      const float *lse, const float *d_o, float *dq, float *dk, float *dv);
void fmk_kv_store_ref(const fmk_kv *kv, int64_t slot, int64_t pos, int64_t n, const float *k, const float *v);
void fmk_kv_attend_ref(const fmk_kv_attn *a, const fmk_kv *kv, const float *q, float *o);
void fmk_swiglu_fwd_ref(int64_t T, int64_t F, int64_t ld, const float *gate, const float *up, float *h);
void fmk_swiglu_bwd_ref(int64_t T, int64_t F, int64_t ld, const float *gate, const float *up, const float *dh,
                        float *dgate, float *dup);
void fmk_geglu_fwd_ref(int64_t T, int64_t F, int64_t ld, const float *gate, const float *up, float *h);
void fmk_geglu_bwd_ref(int64_t T, int64_t F, int64_t ld, const float *gate, const float *up, const float *dh,
                       float *dgate, float *dup);
void fmk_softcap_fwd_ref(int64_t n, float cap, float *y);
void fmk_embed_fwd_ref(int64_t T, int64_t C, const float *E, const uint32_t *id, float *x);
void fmk_embed_bwd_ref(int64_t T, int64_t C, int64_t V, const uint32_t *id, const float *dx, float *dE);
void fmk_xent_ref(int64_t N, int64_t C, int64_t V, const float *x, const float *E, const uint32_t *label,
                  const float *weight, float grad_scale, float softcap, bool bf16, float *nll, uint8_t *hit,
                  float *dx, float *dE);
void fmk_dropout_ref(const fmk_drop *drop, int64_t T, int64_t C, const float *x, bool add, float *y);
void fmk_dora_fwd_ref(int64_t T, int64_t N, const float *z, const float *g, const float *bias, bool add,
                      float *y);
void fmk_dora_bwd_ref(int64_t T, int64_t N, const float *z, const float *g, const float *inv_norm,
                      const float *dy, float *dz, float *dmag);
void fmk_add_ref(int64_t n, const float *x, float *y);
void fmk_scale_ref(int64_t n, float a, float *y);
double fmk_sum_squares_ref(int64_t n, const float *x);
void fmk_adamw_ref(int64_t n, float *w, const float *g, float *m, float *v, float g_scale, float lr,
                   float beta1, float beta2, float eps, float weight_decay, int64_t step);
void fmk_f32_to_bf16_ref(int64_t n, const float *x, uint16_t *y); /* fmk_narrow's too */
void fmk_widen_ref(int64_t n, const uint16_t *x, float *y);

#ifdef __cplusplus
}
#endif
#endif
