/*
 * model_test.h: what the tests of models share: the check of a status, and a shape small enough for finite differences.
 */
#ifndef MODEL_TEST_H
#define MODEL_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fmpipe/model.h>

/* `err` is the caller's fmp_err. */
#define OK(call) assert_ok((call), &err, #call, __LINE__)

static inline void assert_ok(fmp_status status, const fmp_err *err, const char *what, int line)
{
    if (status != FMP_OK) { fail_msg("line %d: %s: %s %s", line, what, err->message, err->notes); }
}

static inline fmp_model_spec tiny_spec(const char *type, uint32_t n_layers, uint32_t vocab_size)
{
    fmp_model_spec s = {.n_layers = n_layers,
                        .n_channels = 32,
                        .n_heads = 4,
                        .n_kv_heads = 2,
                        .head_size = 8,
                        .n_ff = 48,
                        .vocab_size = vocab_size,
                        .max_positions = 64,
                        .norm_eps = 1e-5,
                        .tied = true,
                        .rope = {{.theta = 10000.0}},
                        .bos_id = 1,
                        .eos_id = 2,
                        .pad_id = -1};
    (void)snprintf(s.model_type, sizeof s.model_type, "%s", type);
    return s;
}

#endif
