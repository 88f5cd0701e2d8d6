/* links: fmbase fmkernels */
/*
 * Matrix products and row kernels against their plain references, the gradients' references against finite
 * differences, and every kernel for 1, 2, 3 and 8 threads bit by bit. Attention and loss: test_attention.c.
 */
#include "kernel_test.h"

/* ---- matrix products ---- */
static const int64_t mm_sizes[][3] = {{1, 1, 1},      {1, 33, 7},   {3, 5, 2},      {12, 32, 16},
                                      {13, 31, 17},   {48, 64, 65}, {49, 100, 33},  {100, 7, 513},
                                      {97, 200, 600}, {7, 700, 90}, {200, 400, 48}, {8, 64, 1100}};
#define N_MM (sizeof mm_sizes / sizeof mm_sizes[0])

static void check_matmul(fmk_ctx *ctx, const int64_t *size, int flags)
{
    fmk_mm mm = {
        .M = size[0], .N = size[1], .K = size[2], .ta = flags & 1, .tb = flags & 2, .bf16 = flags & 8};
    mm.beta = flags & 4 ? 1.0f : 0.0f;
    mm.lda = (mm.ta ? mm.M : mm.K) + 3;
    mm.ldb = (mm.tb ? mm.K : mm.N) + 5;
    mm.ldc = mm.N + 1;
    float *a = noise(1, (mm.ta ? mm.K : mm.M) * mm.lda), *b = noise(2, (mm.tb ? mm.N : mm.K) * mm.ldb);
    float *got = noise(3, mm.M * mm.ldc), *want = noise(3, mm.M * mm.ldc);
    fmk_matmul(ctx, &mm, a, b, got);
    fmk_matmul_ref(&mm, a, b, want);
    check_close("matmul", mm.M * mm.ldc, got, want, 3e-6);
    free(a);
    free(b);
    free(got);
    free(want);
}

static void matmul_equals_its_reference_for_all_shapes_transposes_and_betas(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MM; i++) {
        for (int flags = 0; flags < 16; flags++) {
            check_matmul(CTX, mm_sizes[i], flags);
        }
    }
}

static void matmul_of_an_empty_side_writes_what_beta_says(void **state)
{
    (void)state;
    float c[4] = {1, 2, 3, 4};
    const float x[4] = {1, 1, 1, 1};
    fmk_mm mm = {.M = 2, .N = 2, .K = 0, .lda = 1, .ldb = 2, .ldc = 2, .beta = 1.0f};
    fmk_matmul(CTX, &mm, x, x, c);
    assert_true(c[3] == 4.0f);
    mm.beta = 0.0f;
    fmk_matmul(CTX, &mm, x, x, c);
    assert_true(c[0] == 0.0f && c[3] == 0.0f);
    mm.M = 0;
    mm.K = 1;
    c[0] = 5.0f;
    fmk_matmul(CTX, &mm, x, x, c);
    assert_true(c[0] == 5.0f);
}

static void matmul_through_onednn_equals_the_reference_too(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    assert_int_equal(fmk_ctx_use_onednn(CTX, true, &err), FMP_OK);
    assert_non_null(strstr(fmk_ctx_describe(CTX), "oneDNN"));
    const int64_t more[][3] = {{200, 520, 40}, {192, 512, 64}, {385, 33, 100}, {64, 1, 20}, {40, 513, 9}};
    for (int flags = 0; flags < 16; flags++) {
        for (size_t i = 0; i < N_MM; i++) {
            check_matmul(CTX, mm_sizes[i], flags);
        }
        for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
            check_matmul(CTX, more[i], flags);
        }
    }
    assert_int_equal(fmk_ctx_use_onednn(CTX, false, &err), FMP_OK);
    assert_null(strstr(fmk_ctx_describe(CTX), "oneDNN"));
}

static void matmul_has_the_same_bits_for_any_thread_count_with_either_engine(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    for (int mode = 0; mode < 4; mode++) {
        fmk_mm mm = {
            .M = 250, .N = 800, .K = 300, .ta = true, .lda = 250, .ldb = 800, .ldc = 800, .bf16 = mode & 1};
        float *a = noise(1, 300 * 250), *b = noise(2, 300 * 800), *first = NULL;
        for (int i = 0; i < N_CTX; i++) {
            float *c = filled(250 * 800, 0.0f);
            assert_int_equal(fmk_ctx_use_onednn(ctxs[i], mode & 2, &err), FMP_OK);
            fmk_matmul(ctxs[i], &mm, a, b, c);
            assert_int_equal(fmk_ctx_use_onednn(ctxs[i], false, &err), FMP_OK);
            if (first) { check_same("matmul", 250 * 800, c, first); }
            if (!first) {
                first = c;
            } else {
                free(c);
            }
        }
        free(a);
        free(b);
        free(first);
    }
}

/* The property that makes a generated text independent of what else is in its batch. */
static void a_row_of_a_product_does_not_depend_on_the_other_rows(void **state)
{
    (void)state;
    enum { M = 131, N = 200, K = 700 };
    float *a = noise(1, M * K), *w = noise(2, N * K), *all = filled(M * N, 0.0f), *one = filled(N, 0.0f);
    for (int bf16 = 0; bf16 < 2; bf16++) {
        fmp_err err = FMP_ERR_INIT;
        fmk_packed *p = NULL;
        assert_int_equal(fmk_matmul_pack(CTX, N, K, w, bf16, &p, &err), FMP_OK);
        fmk_matmul_packed(CTX, M, a, p, 0.0f, all);
        for (int m = 0; m < M; m += 13) {
            fmk_matmul_packed(CTX, 1, a + m * K, p, 0.0f, one);
            check_same("row alone", N, one, all + m * N);
        }
        fmk_mm mm = {.M = M, .N = N, .K = K, .tb = true, .lda = K, .ldb = K, .ldc = N, .bf16 = bf16};
        float *plain = filled(M * N, 0.0f);
        fmk_matmul(CTX, &mm, a, w, plain);
        check_same("packed and not", M * N, plain, all);
        free(plain);
        fmk_packed_free(p);
    }
    free(a);
    free(w);
    free(all);
    free(one);
}

static void packed_weights_multiply_in_both_directions(void **state)
{
    (void)state;
    const int64_t sizes[][3] = {{0, 5, 3},   {1, 1, 1},     {1, 200, 64},
                                {5, 33, 31}, {64, 96, 160}, {130, 65, 77}};
    for (size_t i = 0; i < 6; i++) {
        for (int flags = 0; flags < 4; flags++) {
            int64_t T = sizes[i][0], N = sizes[i][1], K = sizes[i][2];
            float beta = flags & 1 ? 1.0f : 0.0f;
            float *x = noise(1, T * K), *w = noise(2, N * K), *dy = noise(3, T * N);
            float *y = noise(4, T * N), *dx = noise(5, T * K), *y_ref = noise(4, T * N),
                  *dx_ref = noise(5, T * K);
            fmk_packed *p = NULL;
            fmp_err err = FMP_ERR_INIT;
            assert_int_equal(fmk_matmul_pack(CTX, N, K, w, flags & 2, &p, &err), FMP_OK);
            assert_true(fmk_packed_bytes(p) >= (size_t)(N * K) * 2);
            fmk_matmul_packed(CTX, T, x, p, beta, y);
            fmk_matmul_packed_bwd(CTX, T, dy, p, beta, dx);
            fmk_matmul_packed_ref(T, N, K, x, w, flags & 2, beta, y_ref);
            fmk_matmul_packed_bwd_ref(T, N, K, dy, w, flags & 2, beta, dx_ref);
            check_close("packed", T * N, y, y_ref, 3e-6);
            check_close("packed backward", T * K, dx, dx_ref, 3e-6);
            fmk_packed_free(p);
            float *all[] = {x, w, dy, y, dx, y_ref, dx_ref};
            for (int j = 0; j < 7; j++) {
                free(all[j]);
            }
        }
    }
}

/* A weight is held once, and turned for the way back, a large one in pieces: the bits are those of the plain product. */
static void a_packed_weight_is_as_large_as_its_values(void **state)
{
    (void)state;
    enum { T = 2, N = 70001, K = 230 };
    float *w = noise(2, N * K), *dy = noise(3, T * N), *dx = filled(T * K, NAN), *plain = filled(T * K, NAN);
    for (int bf16 = 0; bf16 < 2; bf16++) {
        fmk_packed *p = NULL;
        fmp_err err = FMP_ERR_INIT;
        assert_int_equal(fmk_matmul_pack(CTX, N, K, w, bf16, &p, &err), FMP_OK);
        if (fmk_packed_bytes(p) > 4 * (size_t)N * K * 102 / 100) {
            fail_msg("%zu bytes", fmk_packed_bytes(p));
        }
        const fmk_mm mm = {.M = T, .N = K, .K = N, .lda = N, .ldb = K, .ldc = K, .bf16 = bf16};
        fmk_matmul_packed_bwd(CTX, T, dy, p, 0.0f, dx);
        fmk_matmul(CTX, &mm, dy, w, plain);
        check_same("turned in pieces", T * K, dx, plain);
        fmk_packed_free(p);
    }
    free(w);
    free(dy);
    free(dx);
    free(plain);
}

/* They are cut from shared blocks: whichever goes, and whatever comes after it, the others keep their values. */
static void packed_weights_come_and_go_in_any_order(void **state)
{
    (void)state;
    enum { N_WEIGHTS = 12, ROUNDS = 200, MOST = 700 };
    fmk_packed *p[N_WEIGHTS] = {0};
    uint64_t seed[N_WEIGHTS] = {0};
    int64_t rows[N_WEIGHTS] = {0};
    enum { K = 33 };
    float *x = noise(1, K), *y = filled(MOST, NAN), *want = filled(MOST, NAN);
    fmk_ctx *own = NULL;
    fmp_err err = FMP_ERR_INIT;
    assert_int_equal(fmk_ctx_new(1, &own, &err), FMP_OK);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        size_t i = (size_t)fmp_rng_below(3, 1, round, N_WEIGHTS);
        fmk_packed_free(p[i]);
        rows[i] = 1 + (int64_t)fmp_rng_below(3, 2, round, MOST - 1);
        seed[i] = round;
        float *w = noise(seed[i], rows[i] * K);
        assert_int_equal(fmk_matmul_pack(own, rows[i], K, w, false, &p[i], &err), FMP_OK);
        free(w);
        size_t k = (size_t)fmp_rng_below(3, 3, round, N_WEIGHTS);
        if (!p[k]) { continue; }
        w = noise(seed[k], rows[k] * K);
        fmk_matmul_packed(own, 1, x, p[k], 0.0f, y);
        fmk_matmul_packed_ref(1, rows[k], K, x, w, false, 0.0f, want);
        check_close("a weight among others", rows[k], y, want, 3e-6);
        free(w);
    }
    fmk_ctx_free(own); /* weights outlive what cut them */
    for (size_t i = 0; i < N_WEIGHTS; i++) {
        fmk_packed_free(p[i]);
    }
    free(x);
    free(y);
    free(want);
}

/* ---- norm, rope, swiglu, embedding, vectors ---- */
static const int64_t row_sizes[][2] = {{0, 8}, {1, 1}, {3, 17}, {33, 192}, {100, 65}, {300, 256}};
#define N_ROWS (sizeof row_sizes / sizeof row_sizes[0])

static void rmsnorm_equals_its_reference_forward_and_backward(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ROWS; i++) {
        int64_t T = row_sizes[i][0], C = row_sizes[i][1], n = T * C;
        float offset = i % 2 ? 1.0f : 0.0f;
        float *x = noise(1, n), *g = noise(2, C), *dy = noise(3, n);
        float *y = filled(n, 0), *y2 = filled(n, 0), *rstd = filled(T, 0), *rstd2 = filled(T, 0);
        float *dx = noise(4, n), *dx2 = noise(4, n), *dg = noise(5, C), *dg2 = noise(5, C);
        fmk_rmsnorm_fwd(CTX, T, C, 1e-5f, offset, x, g, y, rstd);
        fmk_rmsnorm_fwd_ref(T, C, 1e-5f, offset, x, g, y2, rstd2);
        check_close("y", n, y, y2, 2e-6);
        check_close("rstd", T, rstd, rstd2, 2e-6);
        fmk_rmsnorm_bwd(CTX, T, C, offset, x, g, rstd, dy, dx, dg);
        fmk_rmsnorm_bwd_ref(T, C, offset, x, g, rstd, dy, dx2, dg2);
        check_close("dx", n, dx, dx2, 3e-6);
        check_close("dg", C, dg, dg2, 3e-6);
        fmk_rmsnorm_bwd(CTX, T, C, offset, x, g, rstd, dy, dx, NULL);
        float *all[] = {x, g, dy, y, y2, rstd, rstd2, dx, dx2, dg, dg2};
        for (int j = 0; j < 11; j++) {
            free(all[j]);
        }
    }
}

static void fill_rope_table(int64_t n_pos, int64_t D, double theta, float *cos_t, float *sin_t)
{
    for (int64_t i = 0; i < n_pos * (D / 2); i++) {
        double angle = (double)(i / (D / 2)) * pow(theta, -2.0 * (double)(i % (D / 2)) / (double)D);
        cos_t[i] = (float)cos(angle);
        sin_t[i] = (float)sin(angle);
    }
}

static void rope_turns_both_layouts_and_its_inverse_turns_back(void **state)
{
    (void)state;
    enum { T = 70, H = 3, D = 24, LD = 80, MAX_POS = 100 };
    float *c = filled(MAX_POS * D / 2, 0), *s = filled(MAX_POS * D / 2, 0);
    int32_t pos[T];
    fill_rope_table(MAX_POS, D, 10000.0, c, s);
    for (int t = 0; t < T; t++) {
        pos[t] = (t * 7) % MAX_POS;
    }
    for (int flags = 0; flags < 8; flags++) {
        int64_t n_rot = flags & 4 ? D / 2 : D;
        float *x = noise(1, T * LD), *x0 = noise(1, T * LD), *want = noise(1, T * LD);
        fmk_rope(CTX, T, H, D, n_rot, LD, pos, c, s, flags & 1, flags & 2, x);
        fmk_rope_ref(T, H, D, n_rot, LD, pos, c, s, flags & 1, flags & 2, want);
        check_close("rope", T * LD, x, want, 1e-6);
        fmk_rope(CTX, T, H, D, n_rot, LD, pos, c, s, flags & 1, !(flags & 2), x);
        check_close("rope and back", T * LD, x, x0, 1e-6);
        free(x);
        free(x0);
        free(want);
    }
    free(c);
    free(s);
}

/* Both gated units, with rows side by side and with gaps, whose values must stay. */
static void gated_units_equal_their_references_also_far_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4 * N_ROWS; i++) {
        int64_t T = row_sizes[i / 4][0], F = row_sizes[i / 4][1], ld = F + (i % 2 ? 3 : 0), n = T * ld;
        bool gelu = i / 2 % 2;
        float *gate = noise(1, n), *up = noise(2, n), *dh = noise(3, n);
        for (int64_t j = 0; j < n; j += 5) {
            gate[j] *= 60.0f;
        }
        float *h = filled(n, 0), *h2 = filled(n, 0), *dg = filled(n, 9), *dg2 = filled(n, 9),
              *du = filled(n, 9), *du2 = filled(n, 9);
        (gelu ? fmk_geglu_fwd : fmk_swiglu_fwd)(CTX, T, F, ld, gate, up, h);
        (gelu ? fmk_geglu_fwd_ref : fmk_swiglu_fwd_ref)(T, F, ld, gate, up, h2);
        (gelu ? fmk_geglu_bwd : fmk_swiglu_bwd)(CTX, T, F, ld, gate, up, dh, dg, du);
        (gelu ? fmk_geglu_bwd_ref : fmk_swiglu_bwd_ref)(T, F, ld, gate, up, dh, dg2, du2);
        check_close("h", T * F, h, h2, 1e-6);
        check_close("dgate", n, dg, dg2, 1e-6);
        check_close("dup", n, du, du2, 1e-6);
        float *all[] = {gate, up, dh, h, h2, dg, dg2, du, du2};
        for (int j = 0; j < 9; j++) {
            free(all[j]);
        }
    }
}

static void embedding_gathers_rows_and_adds_gradients_in_token_order(void **state)
{
    (void)state;
    enum { V = 11 };
    for (size_t i = 0; i < N_ROWS; i++) {
        int64_t T = row_sizes[i][0], C = row_sizes[i][1];
        float *E = noise(1, V * C), *x = filled(T * C, 0), *x2 = filled(T * C, 0);
        float *dx = noise(2, T * C), *dE = noise(3, V * C), *dE2 = noise(3, V * C);
        uint32_t *id = malloc((size_t)T * sizeof *id + 4);
        assert_non_null(id);
        for (int64_t t = 0; t < T; t++) {
            id[t] = (uint32_t)(t * t % V);
        }
        fmk_embed_fwd(CTX, T, C, E, id, x);
        fmk_embed_fwd_ref(T, C, E, id, x2);
        check_same("x", T * C, x, x2);
        fmk_embed_bwd(CTX, T, C, V, id, dx, dE);
        fmk_embed_bwd_ref(T, C, V, id, dx, dE2);
        check_same("dE", V * C, dE, dE2);
        free(id);
        float *all[] = {E, x, x2, dx, dE, dE2};
        for (int j = 0; j < 6; j++) {
            free(all[j]);
        }
    }
}

static void a_cap_flattens_as_tanh_does(void **state)
{
    (void)state;
    const int64_t sizes[] = {0, 1, 17, 20000};
    for (int i = 0; i < 4; i++) {
        float *y = noise(1, sizes[i]), *want = noise(1, sizes[i]);
        for (int64_t j = 0; j < sizes[i]; j += 3) {
            y[j] *= 1000.0f;
            want[j] *= 1000.0f;
        }
        fmk_softcap_fwd(CTX, sizes[i], 30.0f, y);
        fmk_softcap_fwd_ref(sizes[i], 30.0f, want);
        check_close("capped", sizes[i], y, want, 1e-6);
        free(y);
        free(want);
    }
}

static void vectors_add_scale_and_sum(void **state)
{
    (void)state;
    const int64_t sizes[] = {0, 1, 7, 16385, 100003};
    for (int i = 0; i < 5; i++) {
        int64_t n = sizes[i];
        float *x = noise(1, n), *y = noise(2, n), *y2 = noise(2, n);
        fmk_add(CTX, n, x, y);
        fmk_add_ref(n, x, y2);
        check_same("add", n, y, y2);
        fmk_scale(CTX, n, 0.3f, y);
        fmk_scale_ref(n, 0.3f, y2);
        check_same("scale", n, y, y2);
        double a = fmk_sum_squares(CTX, n, x), b = fmk_sum_squares_ref(n, x);
        assert_true(fabs(a - b) <= 1e-12 * (1.0 + b));
        free(x);
        free(y);
        free(y2);
    }
}

static void bf16_rounds_to_nearest_even_and_keeps_nan(void **state)
{
    (void)state;
    const uint32_t cases[][2] = {{0x3F800000u, 0x3F80}, {0x3F808000u, 0x3F80}, {0x3F808001u, 0x3F81},
                                 {0x3F818000u, 0x3F82}, {0x7F800000u, 0x7F80}, {0x7FFFFFFFu, 0x7FFF},
                                 {0x7F800001u, 0x7FC0}, {0x7F7FFFFFu, 0x7F80}, {0x80000001u, 0x8000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float x;
        uint16_t y;
        memcpy(&x, &cases[i][0], sizeof x);
        fmk_f32_to_bf16(1, &x, &y);
        assert_int_equal(y, cases[i][1]);
    }
    enum { N = 4099 };
    float *x = noise(1, N);
    uint16_t y[N], y2[N];
    fmk_f32_to_bf16(N, x, y);
    fmk_f32_to_bf16_ref(N, x, y2);
    assert_memory_equal(y, y2, sizeof y);
    free(x);
}

static void vectors_of_bf16_are_rounded_and_come_back(void **state)
{
    (void)state;
    enum { N = 3 * 16384 + 77 };
    float *x = noise(2, N), *y = malloc(N * sizeof *y), *y2 = malloc(N * sizeof *y2);
    uint16_t *h = malloc(N * sizeof *h), *h2 = malloc(N * sizeof *h2);
    assert_true(y && y2 && h && h2);
    fmk_narrow(CTX, N, x, h);
    fmk_f32_to_bf16_ref(N, x, h2);
    assert_memory_equal(h, h2, N * sizeof *h);
    fmk_widen(CTX, N, h, y);
    fmk_widen_ref(N, h, y2);
    assert_memory_equal(y, y2, N * sizeof *y);
    for (int i = 0; i < N; i++) {
        assert_true(fabsf(y[i] - x[i]) <= ldexpf(fabsf(x[i]), -8));
    }
    free(x);
    free(y);
    free(y2);
    free(h);
    free(h2);
}

static void adamw_follows_its_reference_over_twenty_steps(void **state)
{
    (void)state;
    enum { N = 9001 };
    float *w = noise(1, N), *w2 = noise(1, N), *m = filled(N, 0), *m2 = filled(N, 0), *v = filled(N, 0),
          *v2 = filled(N, 0);
    for (int64_t step = 1; step <= 20; step++) {
        float *g = noise((uint64_t)step + 10, N);
        fmk_adamw(CTX, N, w, g, m, v, 0.5f, 1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, step);
        fmk_adamw_ref(N, w2, g, m2, v2, 0.5f, 1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, step);
        free(g);
    }
    check_close("w", N, w, w2, 1e-5);
    check_close("m", N, m, m2, 1e-5);
    check_close("v", N, v, v2, 1e-5);
    float *all[] = {w, w2, m, m2, v, v2};
    for (int j = 0; j < 6; j++) {
        free(all[j]);
    }
}

/* ---- the rest of thread invariance, and the other gradients ---- */
static void row_kernels_have_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    enum { T = 333, C = 272, N = T * C };
    float *x = noise(1, N), *g = noise(2, C), *dy = noise(3, N), *first[8] = {NULL};
    double first_sum = 0.0;
    uint32_t id[T];
    for (int t = 0; t < T; t++) {
        id[t] = (uint32_t)(t % 13);
    }
    for (int c = 0; c < N_CTX; c++) {
        float *out[8] = {filled(N, 0), filled(N, 0), filled(C, 0),      filled(N, 0),
                         filled(N, 0), filled(N, 0), filled(13 * C, 0), copied(N, x)};
        float *rstd = filled(T, 0), *m = filled(N, 0), *v = filled(N, 0);
        fmk_rmsnorm_fwd(ctxs[c], T, C, 1e-5f, 1.0f, x, g, out[0], rstd);
        fmk_rmsnorm_bwd(ctxs[c], T, C, 1.0f, x, g, rstd, dy, out[1], out[2]);
        fmk_swiglu_fwd(ctxs[c], T, C, C, x, dy, out[3]);
        fmk_geglu_bwd(ctxs[c], T, C, C, x, dy, dy, out[4], out[5]);
        fmk_embed_bwd(ctxs[c], T, C, 13, id, dy, out[6]);
        fmk_adamw(ctxs[c], N, out[7], dy, m, v, 1.0f, 1e-3f, 0.9f, 0.999f, 1e-8f, 0.01f, 1);
        double sum = fmk_sum_squares(ctxs[c], N, x);
        assert_true(c == 0 || memcmp(&sum, &first_sum, sizeof sum) == 0);
        first_sum = sum;
        for (int i = 0; i < 8; i++) {
            if (c > 0) {
                check_same("row kernel", i == 2 ? C : i == 6 ? 13 * C : N, out[i], first[i]);
                free(out[i]);
            } else {
                first[i] = out[i];
            }
        }
        free(rstd);
        free(m);
        free(v);
    }
    for (int i = 0; i < 8; i++) {
        free(first[i]);
    }
    free(x);
    free(g);
    free(dy);
}

static double norm_loss(int64_t C, const float *x, const float *g, const float *dy)
{
    float y[32], rstd[1];
    double sum = 0.0;
    fmk_rmsnorm_fwd_ref(1, C, 1e-5f, 1.0f, x, g, y, rstd);
    for (int64_t c = 0; c < C; c++) {
        sum += (double)y[c] * dy[c];
    }
    return sum;
}

static double swiglu_loss(int64_t C, const float *x, const float *g, const float *dy)
{
    float h[32];
    double sum = 0.0;
    fmk_swiglu_fwd_ref(1, C, C, x, g, h);
    for (int64_t c = 0; c < C; c++) {
        sum += (double)h[c] * dy[c];
    }
    return sum;
}

static double geglu_loss(int64_t C, const float *x, const float *g, const float *dy)
{
    float h[32];
    double sum = 0.0;
    fmk_geglu_fwd_ref(1, C, C, x, g, h);
    for (int64_t c = 0; c < C; c++) {
        sum += (double)h[c] * dy[c];
    }
    return sum;
}

static void check_two_input_gradient(double (*loss)(int64_t, const float *, const float *, const float *),
                                     float *x, float *g, const float *dy, int64_t C, const float *dx,
                                     const float *dg)
{
    for (int64_t i = 0; i < 2 * C; i++) {
        float *p = i < C ? x + i : g + i - C;
        float slope = i < C ? dx[i] : dg[i - C], keep = *p;
        *p = keep + 1e-2f;
        double up = loss(C, x, g, dy), hi = *p;
        *p = keep - 1e-2f;
        double down = loss(C, x, g, dy), lo = *p;
        *p = keep;
        double want = (up - down) / (hi - lo);
        assert_true(fabs(want - slope) < 1e-3 * (1.0 + fabs(want)));
    }
}

static void norm_and_gated_unit_gradients_equal_finite_differences(void **state)
{
    (void)state;
    enum { C = 19 };
    float *x = noise(1, C), *g = noise(2, C), *dy = noise(3, C), *dx = filled(C, 0), *dg = filled(C, 0);
    float y[C], rstd[1];
    fmk_rmsnorm_fwd_ref(1, C, 1e-5f, 1.0f, x, g, y, rstd);
    fmk_rmsnorm_bwd_ref(1, C, 1.0f, x, g, rstd, dy, dx, dg);
    check_two_input_gradient(norm_loss, x, g, dy, C, dx, dg);
    fmk_swiglu_bwd_ref(1, C, C, x, g, dy, dx, dg);
    check_two_input_gradient(swiglu_loss, x, g, dy, C, dx, dg);
    fmk_geglu_bwd_ref(1, C, C, x, g, dy, dx, dg);
    check_two_input_gradient(geglu_loss, x, g, dy, C, dx, dg);
    float *all[] = {x, g, dy, dx, dg};
    for (int j = 0; j < 5; j++) {
        free(all[j]);
    }
}

static void every_instruction_set_gives_the_reference_results(void **state)
{
    for (int level = 0; level < 2; level++) {
        fmk_limit_isa(level);
        matmul_equals_its_reference_for_all_shapes_transposes_and_betas(state);
        a_row_of_a_product_does_not_depend_on_the_other_rows(state);
        packed_weights_multiply_in_both_directions(state);
        rmsnorm_equals_its_reference_forward_and_backward(state);
        rope_turns_both_layouts_and_its_inverse_turns_back(state);
        gated_units_equal_their_references_also_far_out(state);
        embedding_gathers_rows_and_adds_gradients_in_token_order(state);
        a_cap_flattens_as_tanh_does(state);
        vectors_add_scale_and_sum(state);
        bf16_rounds_to_nearest_even_and_keeps_nan(state);
        vectors_of_bf16_are_rounded_and_come_back(state);
        adamw_follows_its_reference_over_twenty_steps(state);
    }
    fmk_limit_isa(2);
}

static void the_machine_reaches_some_speed_and_says_what_computes(void **state)
{
    (void)state;
    assert_true(fmk_measure_peak_gflops(CTX) > 0.1);
    assert_int_equal(fmk_ctx_threads(CTX), thread_counts[1]);
    assert_non_null(strstr(fmk_ctx_describe(CTX), "fmk"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matmul_equals_its_reference_for_all_shapes_transposes_and_betas),
        cmocka_unit_test(matmul_of_an_empty_side_writes_what_beta_says),
        cmocka_unit_test(matmul_through_onednn_equals_the_reference_too),
        cmocka_unit_test(matmul_has_the_same_bits_for_any_thread_count_with_either_engine),
        cmocka_unit_test(a_row_of_a_product_does_not_depend_on_the_other_rows),
        cmocka_unit_test(packed_weights_multiply_in_both_directions),
        cmocka_unit_test(a_packed_weight_is_as_large_as_its_values),
        cmocka_unit_test(packed_weights_come_and_go_in_any_order),
        cmocka_unit_test(rmsnorm_equals_its_reference_forward_and_backward),
        cmocka_unit_test(rope_turns_both_layouts_and_its_inverse_turns_back),
        cmocka_unit_test(gated_units_equal_their_references_also_far_out),
        cmocka_unit_test(embedding_gathers_rows_and_adds_gradients_in_token_order),
        cmocka_unit_test(a_cap_flattens_as_tanh_does),
        cmocka_unit_test(vectors_add_scale_and_sum),
        cmocka_unit_test(bf16_rounds_to_nearest_even_and_keeps_nan),
        cmocka_unit_test(vectors_of_bf16_are_rounded_and_come_back),
        cmocka_unit_test(adamw_follows_its_reference_over_twenty_steps),
        cmocka_unit_test(row_kernels_have_the_same_bits_for_any_thread_count),
        cmocka_unit_test(norm_and_gated_unit_gradients_equal_finite_differences),
        cmocka_unit_test(every_instruction_set_gives_the_reference_results),
        cmocka_unit_test(the_machine_reaches_some_speed_and_says_what_computes),
    };
    return cmocka_run_group_tests(tests, make_contexts, free_contexts);
}
