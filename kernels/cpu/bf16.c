/*
 * bf16.c: f32 to bf16 and back; see fmk_bf16_bits in internal.h for the one rounding in use.
 */
#include "internal.h"

FMK_INLINE void to_bf16_body(int64_t n, const float *restrict x, uint16_t *restrict y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = (uint16_t)fmk_bf16_bits(x[i]);
    }
}
FMK_BY_ISA(to_bf16, (int64_t n, const float *restrict x, uint16_t *restrict y), (n, x, y))

FMK_INLINE void to_f32_body(int64_t n, const uint16_t *restrict x, float *restrict y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = fmk_float((uint32_t)x[i] << 16);
    }
}
FMK_BY_ISA(to_f32, (int64_t n, const uint16_t *restrict x, float *restrict y), (n, x, y))

void fmk_f32_to_bf16(int64_t n, const float *x, uint16_t *y)
{
    to_bf16(n, x, y);
}
void fmk_bf16_to_f32(int64_t n, const uint16_t *x, float *y)
{
    to_f32(n, x, y);
}

/* By the definition: the nearer of the two neighbours, the one with an even last bit when both are as near.
 */
void fmk_f32_to_bf16_ref(int64_t n, const float *x, uint16_t *y)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t u = fmk_bits(x[i]);
        uint32_t low = u & 0xFFFFu, high = u >> 16;
        if (isnan(x[i])) {
            y[i] = (uint16_t)(high | 0x40u);
        } else {
            y[i] = (uint16_t)(high + (low > 0x8000u || (low == 0x8000u && (high & 1u))));
        }
    }
}
