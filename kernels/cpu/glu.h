/*
 * glu.h: gated units over rows of gate and up, an element's function given by swiglu.c or geglu.c.
 */
#ifndef FMK_GLU_H
#define FMK_GLU_H

#include "internal.h"

/* n elements side by side. bwd: dgate and dup may be gate and up themselves. */
typedef void glu_fwd(int64_t n, const float *gate, const float *up, float *h);
typedef void glu_bwd(int64_t n, const float *gate, const float *up, const float *dh, float *dgate,
                     float *dup);

void fmk_glu_fwd(fmk_ctx *ctx, glu_fwd *fwd, int64_t T, int64_t F, int64_t ld, const float *gate,
                 const float *up, float *h);
void fmk_glu_bwd(fmk_ctx *ctx, glu_bwd *bwd, int64_t T, int64_t F, int64_t ld, const float *gate,
                 const float *up, const float *dh, float *dgate, float *dup);

#endif
