/*
 * kernel_test.h: what the kernel tests share: contexts of 1, 2, 3 and 8 threads, noise, comparisons.
 */
#ifndef KERNEL_TEST_H
#define KERNEL_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fmk.h>
#include <fmk_ref.h>
#include <fmpipe/fs.h>
#include <math.h>
#include <stdlib.h>

#define N_CTX 4
static const int thread_counts[N_CTX] = {1, 2, 3, 8};
static fmk_ctx *ctxs[N_CTX];
#define CTX ctxs[1]

static int make_contexts(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    for (int i = 0; i < N_CTX; i++) {
        if (fmk_ctx_new(thread_counts[i], &ctxs[i], &err) != FMP_OK) { return -1; }
    }
    return 0;
}

static int free_contexts(void **state)
{
    (void)state;
    for (int i = 0; i < N_CTX; i++) {
        fmk_ctx_free(ctxs[i]);
    }
    return 0;
}

/* n normal numbers of stream `stream`; n == 0 gives a pointer all the same. */
static float *noise(uint64_t stream, int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x + 64);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) {
        x[i] = (float)fmp_rng_normal(7, stream, (uint64_t)i);
    }
    return x;
}

static float *filled(int64_t n, float value)
{
    float *x = malloc((size_t)n * sizeof *x + 64);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) {
        x[i] = value;
    }
    return x;
}

static float *copied(int64_t n, const float *from)
{
    float *x = filled(n, 0.0f);
    memcpy(x, from, (size_t)n * sizeof *x);
    return x;
}

/* Largest difference relative to the largest reference value, or to `least` where all are smaller. */
static void check_close_to(const char *what, int64_t n, const float *got, const float *want, double tolerance,
                           double least)
{
    double scale = least, worst = 0.0;
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        scale = fmax(scale, fabs(want[i]));
    }
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)got[i] - want[i]);
        if (!(d <= worst)) {
            worst = d;
            at = i;
        }
    }
    if (!(worst <= tolerance * scale)) {
        fail_msg("%s: element %lld of %lld is %.9g, expected %.9g (relative %.3g, allowed %.3g)", what,
                 (long long)at, (long long)n, (double)got[at], (double)want[at], worst / scale, tolerance);
    }
}

static void check_close(const char *what, int64_t n, const float *got, const float *want, double tolerance)
{
    check_close_to(what, n, got, want, tolerance, 1e-6);
}

static void check_same(const char *what, int64_t n, const float *got, const float *want)
{
    for (int64_t i = 0; i < n; i++) {
        if (memcmp(&got[i], &want[i], sizeof *got) != 0) {
            fail_msg("%s: element %lld of %lld differs in its bits: %.9g, %.9g", what, (long long)i,
                     (long long)n, (double)got[i], (double)want[i]);
        }
    }
}

#endif
