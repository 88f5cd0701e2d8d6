/*
 * fmk_types.h: what the kernels (fmk.h) and the table of operations (fmk_backend.h) say in the same words.
 */
#ifndef FMK_TYPES_H
#define FMK_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- matrix product: out (M,N) = op(A) op(B) + beta*out; op is transpose when ta/tb ---- */
typedef struct fmk_mm {
    int64_t M, N, K;
    bool ta, tb;            /* A is (K,M) when ta; B is (N,K) when tb                 */
    int64_t lda, ldb, ldc;  /* row strides in elements                                */
    float beta;             /* 0 or 1                                                 */
    bool bf16;              /* round A and B to bf16 before multiplying (f32 sums)    */
} fmk_mm;

/* A frozen weight (N,K), as in y = x W^T, laid out once for products in both directions: about as large as its values. */
typedef struct fmk_packed fmk_packed;

/* How keys and values of past tokens are kept: see fmk_kv. */
typedef enum fmk_kv_kind { FMK_KV_F32, FMK_KV_BF16, FMK_KV_Q8 } fmk_kv_kind;

/* Projections that read one input: see fmk_lora. */
#define FMK_LORA_MAX 3

#ifdef __cplusplus
}
#endif
#endif
