/*
 * gemm.c: one tile of a matrix product by one thread, for each instruction set.
 *
 * Why not a library here: at the sizes of small models (192..576 channels) this register-blocked loop reaches
 * the same share of peak as oneDNN, and it gives what no library promises: an element is one chain of
 * multiply-adds in order of k (cut at fixed multiples of KC), so a row has the same bits alone, in a batch,
 * packed or not. Hence the fused multiply-add by name: a compiler that reads a + x * b may fuse it in one
 * block and not in another (gcc 14 leaves lone chains of 256-bit sums unfused).
 */
#include "internal.h"

#if FMK_X86
#include <immintrin.h>
#endif

/* Rows of a panel met before moving on: KC x 32 floats of B stay in the second-level cache. */
#define KC 512

typedef float vec4 __attribute__((vector_size(16), aligned(4), may_alias));
#define GB(name) name##_base
#define GB_TARGET
#define GB_MR             4
#define GB_VW             4
#define GB_V              vec4
#define GB_BV             vec4
#define GB_E              float
#define GB_FMA(acc, x, v) ((acc) + (x) * (v))
#include "gemm_block.h"

#if FMK_X86
typedef float vec8 __attribute__((vector_size(32), aligned(4), may_alias));
#define GB(name)          name##_avx2
#define GB_TARGET         FMK_T256
#define GB_MR             6
#define GB_VW             8
#define GB_V              vec8
#define GB_BV             vec8
#define GB_E              float
#define GB_FMA(acc, x, v) (vec8) _mm256_fmadd_ps(_mm256_set1_ps(x), (__m256)(v), (__m256)(acc))
#include "gemm_block.h"

#define GB(name)          name##_avx512
#define GB_TARGET         FMK_T512
#define GB_MR             12
#define GB_VW             16
#define GB_V              fmk_v16
#define GB_BV             fmk_v16
#define GB_E              float
#define GB_FMA(acc, x, v) (fmk_v16) _mm512_fmadd_ps(_mm512_set1_ps(x), (__m512)(v), (__m512)(acc))
#include "gemm_block.h"

typedef uint32_t pair16 __attribute__((vector_size(64), aligned(4), may_alias));
#define T512_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,avx512bf16")))
T512_BF16 FMK_INLINE fmk_v16 fma_pairs(fmk_v16 sum, uint32_t x, pair16 b)
{
    __m512i both = _mm512_set1_epi32((int)x);
    return (fmk_v16)_mm512_dpbf16_ps((__m512)sum, (__m512bh)both, (__m512bh)b);
}
#define GB(name)          name##_bf16
#define GB_TARGET         T512_BF16
#define GB_MR             12
#define GB_VW             16
#define GB_V              fmk_v16
#define GB_BV             pair16
#define GB_E              uint32_t
#define GB_FMA(acc, x, v) fma_pairs(acc, x, v)
#include "gemm_block.h"
#endif

void fmk_tile_f32(const fmk_tile *t)
{
#if FMK_X86
    switch (fmk_isa()) {
    case FMK_ISA_AVX512: tile_avx512(t); return;
    case FMK_ISA_AVX2: tile_avx2(t); return;
    default: break;
    }
#endif
    tile_base(t);
}

void fmk_tile_bf16(const fmk_tile *t)
{
#if FMK_X86
    tile_bf16(t);
#else
    (void)t;
    assert(!"bf16 tiles need avx512_bf16; see fmk_has_bf16");
#endif
}

void fmk_tile_rounded(const fmk_tile *t)
{
    if (fmk_has_bf16()) {
        fmk_tile_bf16(t);
    } else {
        fmk_tile_f32(t);
    }
}
