/*
 * onednn.h: the second engine for fmk_matmul, oneDNN (2.x and 3.x), behind this one door.
 *
 * fmpipe's own tiles are as fast on AVX2 and AVX-512 CPUs; oneDNN is preferred where it knows more, namely
 * bf16 on CPUs with AMX. It is called for one tile by one thread.
 */
#ifndef FMK_ONEDNN_H
#define FMK_ONEDNN_H

#include "internal.h"

/* Fewer rows than this stay with fmpipe's own tiles: a call's overhead would dominate. */
#define FMK_DNN_MIN_ROWS 16

FMP_MUST_USE fmp_status fmk_dnn_new(fmk_dnn **out, fmp_err *err);
void fmk_dnn_free(fmk_dnn *dnn);
/* True on CPUs where oneDNN is the faster engine (AMX). */
bool fmk_dnn_preferred(void);
void fmk_dnn_describe(char *text, size_t size);
/*
 * fmk_dnn_matmul: as fmk_matmul for M, N, K >= 1. `b16`, unless NULL, is B already in bf16, same shape and
 * strides. False where oneDNN does not offer the shape or it is too large for the scratch: nothing was
 * written.
 */
bool fmk_dnn_matmul(fmk_ctx *ctx, const fmk_mm *mm, const float *a, const float *b, const uint16_t *b16,
                    float *out);

#endif
