/* links: fmbase fmkernels */
/*
 * Every kernel against its plain reference, the gradients' references against finite differences, and every kernel
 * for 1, 2, 3 and 8 threads bit by bit.
 */
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
    for (int i = 0; i < N_CTX; i++) { fmk_ctx_free(ctxs[i]); }
    return 0;
}

/* n normal numbers of stream `stream`; n == 0 gives a pointer all the same. */
static float *noise(uint64_t stream, int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x + 64);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) { x[i] = (float)fmp_rng_normal(7, stream, (uint64_t)i); }
    return x;
}

static float *filled(int64_t n, float value)
{
    float *x = malloc((size_t)n * sizeof *x + 64);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) { x[i] = value; }
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
    for (int64_t i = 0; i < n; i++) { scale = fmax(scale, fabs(want[i])); }
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)got[i] - want[i]);
        if (!(d <= worst)) {
            worst = d;
            at = i;
        }
    }
    if (!(worst <= tolerance * scale)) {
        fail_msg("%s: element %lld of %lld is %.9g, expected %.9g (relative %.3g, allowed %.3g)", what, (long long)at,
                 (long long)n, (double)got[at], (double)want[at], worst / scale, tolerance);
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
            fail_msg("%s: element %lld of %lld differs in its bits: %.9g, %.9g", what, (long long)i, (long long)n,
                     (double)got[i], (double)want[i]);
        }
    }
}

/* ---- matrix products ---- */
static const int64_t mm_sizes[][3] = {{1, 1, 1},    {1, 33, 7},    {3, 5, 2},     {12, 32, 16},  {13, 31, 17},
                                      {48, 64, 65}, {49, 100, 33}, {100, 7, 513}, {97, 200, 600}, {7, 700, 90},
                                      {200, 400, 48}, {8, 64, 1100}};
#define N_MM (sizeof mm_sizes / sizeof mm_sizes[0])

static void check_matmul(fmk_ctx *ctx, const int64_t *size, int flags)
{
    fmk_mm mm = {.M = size[0], .N = size[1], .K = size[2], .ta = flags & 1, .tb = flags & 2, .bf16 = flags & 8};
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
        for (int flags = 0; flags < 16; flags++) { check_matmul(CTX, mm_sizes[i], flags); }
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
    const int64_t more[][3] = {{200, 520, 40}, {192, 512, 64}, {385, 33, 100}};
    for (int flags = 0; flags < 16; flags++) {
        for (size_t i = 0; i < N_MM; i++) { check_matmul(CTX, mm_sizes[i], flags); }
        for (size_t i = 0; i < 3; i++) { check_matmul(CTX, more[i], flags); }
    }
    assert_int_equal(fmk_ctx_use_onednn(CTX, false, &err), FMP_OK);
    assert_null(strstr(fmk_ctx_describe(CTX), "oneDNN"));
}

static void matmul_has_the_same_bits_for_any_thread_count_with_either_engine(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    for (int mode = 0; mode < 4; mode++) {
        fmk_mm mm = {.M = 250, .N = 800, .K = 300, .ta = true, .lda = 250, .ldb = 800, .ldc = 800, .bf16 = mode & 1};
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
    const int64_t sizes[][3] = {{0, 5, 3}, {1, 1, 1}, {1, 200, 64}, {5, 33, 31}, {64, 96, 160}, {130, 65, 77}};
    for (size_t i = 0; i < 6; i++) {
        for (int flags = 0; flags < 4; flags++) {
            int64_t T = sizes[i][0], N = sizes[i][1], K = sizes[i][2];
            float beta = flags & 1 ? 1.0f : 0.0f;
            float *x = noise(1, T * K), *w = noise(2, N * K), *dy = noise(3, T * N);
            float *y = noise(4, T * N), *dx = noise(5, T * K), *y_ref = noise(4, T * N), *dx_ref = noise(5, T * K);
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
            for (int j = 0; j < 7; j++) { free(all[j]); }
        }
    }
}

/* ---- norm, rope, swiglu, embedding, vectors ---- */
static const int64_t row_sizes[][2] = {{0, 8}, {1, 1}, {3, 17}, {33, 192}, {100, 65}, {300, 256}};
#define N_ROWS (sizeof row_sizes / sizeof row_sizes[0])

static void rmsnorm_equals_its_reference_forward_and_backward(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ROWS; i++) {
        int64_t T = row_sizes[i][0], C = row_sizes[i][1], n = T * C;
        float *x = noise(1, n), *g = noise(2, C), *dy = noise(3, n);
        float *y = filled(n, 0), *y2 = filled(n, 0), *rstd = filled(T, 0), *rstd2 = filled(T, 0);
        float *dx = noise(4, n), *dx2 = noise(4, n), *dg = noise(5, C), *dg2 = noise(5, C);
        fmk_rmsnorm_fwd(CTX, T, C, 1e-5f, x, g, y, rstd);
        fmk_rmsnorm_fwd_ref(T, C, 1e-5f, x, g, y2, rstd2);
        check_close("y", n, y, y2, 2e-6);
        check_close("rstd", T, rstd, rstd2, 2e-6);
        fmk_rmsnorm_bwd(CTX, T, C, x, g, rstd, dy, dx, dg);
        fmk_rmsnorm_bwd_ref(T, C, x, g, rstd, dy, dx2, dg2);
        check_close("dx", n, dx, dx2, 3e-6);
        check_close("dg", C, dg, dg2, 3e-6);
        fmk_rmsnorm_bwd(CTX, T, C, x, g, rstd, dy, dx, NULL);
        float *all[] = {x, g, dy, y, y2, rstd, rstd2, dx, dx2, dg, dg2};
        for (int j = 0; j < 11; j++) { free(all[j]); }
    }
}

static void rope_turns_both_layouts_and_its_inverse_turns_back(void **state)
{
    (void)state;
    enum { T = 70, H = 3, D = 24, LD = 80, MAX_POS = 100 };
    float *c = filled(MAX_POS * D / 2, 0), *s = filled(MAX_POS * D / 2, 0);
    int32_t pos[T];
    fmk_rope_table(MAX_POS, D, 10000.0, c, s);
    for (int t = 0; t < T; t++) { pos[t] = (t * 7) % MAX_POS; }
    for (int flags = 0; flags < 4; flags++) {
        float *x = noise(1, T * LD), *x0 = noise(1, T * LD), *want = noise(1, T * LD);
        fmk_rope(CTX, T, H, D, LD, pos, c, s, flags & 1, flags & 2, x);
        fmk_rope_ref(T, H, D, LD, pos, c, s, flags & 1, flags & 2, want);
        check_close("rope", T * LD, x, want, 1e-6);
        fmk_rope(CTX, T, H, D, LD, pos, c, s, flags & 1, !(flags & 2), x);
        check_close("rope and back", T * LD, x, x0, 1e-6);
        free(x);
        free(x0);
        free(want);
    }
    free(c);
    free(s);
}

static void swiglu_equals_its_reference_also_far_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ROWS; i++) {
        int64_t T = row_sizes[i][0], F = row_sizes[i][1], n = T * F;
        float *gate = noise(1, n), *up = noise(2, n), *dh = noise(3, n);
        for (int64_t j = 0; j < n; j += 5) { gate[j] *= 60.0f; }
        float *h = filled(n, 0), *h2 = filled(n, 0), *dg = filled(n, 9), *dg2 = filled(n, 0), *du = filled(n, 9),
              *du2 = filled(n, 0);
        fmk_swiglu_fwd(CTX, T, F, gate, up, h);
        fmk_swiglu_fwd_ref(T, F, gate, up, h2);
        fmk_swiglu_bwd(CTX, T, F, gate, up, dh, dg, du);
        fmk_swiglu_bwd_ref(T, F, gate, up, dh, dg2, du2);
        check_close("h", n, h, h2, 1e-6);
        check_close("dgate", n, dg, dg2, 1e-6);
        check_close("dup", n, du, du2, 1e-6);
        float *all[] = {gate, up, dh, h, h2, dg, dg2, du, du2};
        for (int j = 0; j < 9; j++) { free(all[j]); }
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
        for (int64_t t = 0; t < T; t++) { id[t] = (uint32_t)(t * t % V); }
        fmk_embed_fwd(CTX, T, C, E, id, x);
        fmk_embed_fwd_ref(T, C, E, id, x2);
        check_same("x", T * C, x, x2);
        fmk_embed_bwd(CTX, T, C, V, id, dx, dE);
        fmk_embed_bwd_ref(T, C, V, id, dx, dE2);
        check_same("dE", V * C, dE, dE2);
        free(id);
        float *all[] = {E, x, x2, dx, dE, dE2};
        for (int j = 0; j < 6; j++) { free(all[j]); }
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

static void all_finite_finds_one_bad_value_anywhere(void **state)
{
    (void)state;
    const float bad[] = {INFINITY, -INFINITY, NAN};
    const int64_t at[] = {0, 16383, 16384, 50000};
    float *x = noise(1, 50001);
    assert_true(fmk_all_finite(CTX, 50001, x) && fmk_all_finite(CTX, 0, x));
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 3; j++) {
            float keep = x[at[i]];
            x[at[i]] = bad[j];
            assert_false(fmk_all_finite(CTX, 50001, x));
            assert_false(fmk_all_finite_ref(50001, x));
            x[at[i]] = keep;
        }
    }
    free(x);
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
    float *x = noise(1, N), *back = filled(N, 0);
    uint16_t y[N], y2[N];
    fmk_f32_to_bf16(N, x, y);
    fmk_f32_to_bf16_ref(N, x, y2);
    assert_memory_equal(y, y2, sizeof y);
    fmk_bf16_to_f32(N, y, back);
    check_close("bf16 and back", N, back, x, 1.0 / 256);
    free(x);
    free(back);
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
    for (int j = 0; j < 6; j++) { free(all[j]); }
}

/* ---- attention ---- */
typedef struct attn_set {
    fmk_attn a;
    float *q, *k, *v, *o, *lse, *d_o, *dq, *dk, *dv;
    int64_t nq, nk, nv, no;
} attn_set;

static attn_set attn_make(int64_t H, int64_t G, int64_t D, int64_t n_seg, const uint32_t *seg, int64_t window)
{
    attn_set s = {.a = {.T = seg[n_seg], .H = H, .G = G, .D = D, .n_seg = n_seg, .seg = seg, .window = window,
                        .scale = 1.0f / sqrtf((float)D), .ldq = H * D + 3, .ldk = G * D + 1, .ldv = G * D,
                        .ldo = H * D + 2}};
    int64_t T = s.a.T;
    s.nq = T * s.a.ldq;
    s.nk = T * s.a.ldk;
    s.nv = T * s.a.ldv;
    s.no = T * s.a.ldo;
    s.q = noise(1, s.nq);
    s.k = noise(2, s.nk);
    s.v = noise(3, s.nv);
    s.d_o = noise(4, s.no);
    s.o = filled(s.no, 0);
    s.lse = filled(T * H, 0);
    s.dq = filled(s.nq, 0);
    s.dk = filled(s.nk, 0);
    s.dv = filled(s.nv, 0);
    return s;
}

static void attn_run(fmk_ctx *ctx, attn_set *s)
{
    fmk_attn_fwd(ctx, &s->a, s->q, s->k, s->v, s->o, s->lse);
    fmk_attn_bwd(ctx, &s->a, s->q, s->k, s->v, s->o, s->lse, s->d_o, s->dq, s->dk, s->dv);
}

static void attn_free(attn_set *s)
{
    float *all[] = {s->q, s->k, s->v, s->o, s->lse, s->d_o, s->dq, s->dk, s->dv};
    for (int j = 0; j < 9; j++) { free(all[j]); }
}

typedef struct attn_shape {
    int64_t H, G, D, n_seg, window;
    uint32_t seg[6];
} attn_shape;
static const attn_shape attn_shapes[] = {
    {1, 1, 1, 1, 0, {0, 1}},
    {2, 1, 8, 1, 0, {0, 0}},
    {2, 2, 16, 3, 0, {0, 5, 5, 40}},
    {6, 2, 32, 4, 0, {0, 31, 32, 130, 330}},
    {3, 3, 33, 2, 0, {0, 49, 260}},
    {4, 1, 64, 2, 20, {0, 150, 151}},
    {2, 1, 40, 3, 1, {0, 3, 70, 100}},
    {4, 2, 128, 5, 130, {0, 7, 20, 300, 301, 420}},
};
#define N_ATTN (sizeof attn_shapes / sizeof attn_shapes[0])

static attn_set attn_of(const attn_shape *s) { return attn_make(s->H, s->G, s->D, s->n_seg, s->seg, s->window); }

static void attention_equals_its_reference_forward_and_backward(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ATTN; i++) {
        attn_set got = attn_of(&attn_shapes[i]), want = attn_of(&attn_shapes[i]);
        attn_run(CTX, &got);
        fmk_attn_fwd_ref(&want.a, want.q, want.k, want.v, want.o, want.lse);
        fmk_attn_bwd_ref(&want.a, want.q, want.k, want.v, want.o, want.lse, want.d_o, want.dq, want.dk, want.dv);
        check_close("o", got.no, got.o, want.o, 3e-6);
        check_close("lse", got.a.T * got.a.H, got.lse, want.lse, 3e-6);
        /* With a window of one token these are exactly zero: a difference of products of size one. */
        check_close_to("dq", got.nq, got.dq, want.dq, 1e-5, 1.0);
        check_close_to("dk", got.nk, got.dk, want.dk, 1e-5, 1.0);
        check_close("dv", got.nv, got.dv, want.dv, 1e-5);
        attn_free(&got);
        attn_free(&want);
    }
}

static void attention_has_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ATTN; i++) {
        attn_set first = attn_of(&attn_shapes[i]);
        attn_run(ctxs[0], &first);
        for (int c = 1; c < N_CTX; c++) {
            attn_set s = attn_of(&attn_shapes[i]);
            attn_run(ctxs[c], &s);
            check_same("o", s.no, s.o, first.o);
            check_same("lse", s.a.T * s.a.H, s.lse, first.lse);
            check_same("dq", s.nq, s.dq, first.dq);
            check_same("dk", s.nk, s.dk, first.dk);
            check_same("dv", s.nv, s.dv, first.dv);
            attn_free(&s);
        }
        attn_free(&first);
    }
}

/* Values of another segment may even be NaN. */
static void attention_never_sees_another_segment(void **state)
{
    (void)state;
    const uint32_t seg[] = {0, 37, 140, 200};
    attn_set a = attn_make(2, 1, 32, 3, seg, 0), b = attn_make(2, 1, 32, 3, seg, 0);
    for (int64_t t = 0; t < 200; t++) {
        if (t >= 37 && t < 140) { continue; }
        for (int64_t j = 0; j < b.a.ldq; j++) { b.q[t * b.a.ldq + j] = NAN; }
        for (int64_t j = 0; j < b.a.ldk; j++) { b.k[t * b.a.ldk + j] = NAN; }
        for (int64_t j = 0; j < b.a.ldv; j++) { b.v[t * b.a.ldv + j] = NAN; }
        for (int64_t j = 0; j < b.a.ldo; j++) { b.d_o[t * b.a.ldo + j] = NAN; }
    }
    attn_run(CTX, &a);
    attn_run(CTX, &b);
    int64_t n = 140 - 37;
    check_same("o", n * a.a.ldo, b.o + 37 * a.a.ldo, a.o + 37 * a.a.ldo);
    check_same("dq", n * a.a.ldq, b.dq + 37 * a.a.ldq, a.dq + 37 * a.a.ldq);
    check_same("dk", n * a.a.ldk, b.dk + 37 * a.a.ldk, a.dk + 37 * a.a.ldk);
    check_same("dv", n * a.a.ldv, b.dv + 37 * a.a.ldv, a.dv + 37 * a.a.ldv);
    attn_free(&a);
    attn_free(&b);
}

static void a_segment_has_the_same_bits_alone_and_packed(void **state)
{
    (void)state;
    const uint32_t packed[] = {0, 37, 140, 200}, alone[] = {0, 103};
    attn_set a = attn_make(4, 2, 48, 3, packed, 50), b = attn_make(4, 2, 48, 1, alone, 50);
    memcpy(b.q, a.q + 37 * a.a.ldq, (size_t)b.nq * sizeof(float));
    memcpy(b.k, a.k + 37 * a.a.ldk, (size_t)b.nk * sizeof(float));
    memcpy(b.v, a.v + 37 * a.a.ldv, (size_t)b.nv * sizeof(float));
    memcpy(b.d_o, a.d_o + 37 * a.a.ldo, (size_t)b.no * sizeof(float));
    attn_run(CTX, &a);
    attn_run(CTX, &b);
    check_same("o", b.no, b.o, a.o + 37 * a.a.ldo);
    check_same("dq", b.nq, b.dq, a.dq + 37 * a.a.ldq);
    check_same("dk", b.nk, b.dk, a.dk + 37 * a.a.ldk);
    check_same("dv", b.nv, b.dv, a.dv + 37 * a.a.ldv);
    attn_free(&a);
    attn_free(&b);
}

static void attention_does_not_see_the_future(void **state)
{
    (void)state;
    const uint32_t seg[] = {0, 90};
    attn_set a = attn_make(2, 1, 32, 1, seg, 0), b = attn_make(2, 1, 32, 1, seg, 0);
    for (int64_t j = 60 * b.a.ldk; j < b.nk; j++) { b.k[j] += 100.0f; }
    for (int64_t j = 60 * b.a.ldv; j < b.nv; j++) { b.v[j] += 100.0f; }
    attn_run(CTX, &a);
    attn_run(CTX, &b);
    check_same("o before the change", 60 * a.a.ldo, b.o, a.o);
    attn_free(&a);
    attn_free(&b);
}

/* fwd_ref and bwd_ref against each other: d/dx of sum(o * d_o) by central differences. */
static double attn_loss(attn_set *s)
{
    double sum = 0.0;
    fmk_attn_fwd_ref(&s->a, s->q, s->k, s->v, s->o, s->lse);
    for (int64_t t = 0; t < s->a.T; t++) {
        for (int64_t j = 0; j < s->a.H * s->a.D; j++) {
            sum += (double)s->o[t * s->a.ldo + j] * s->d_o[t * s->a.ldo + j];
        }
    }
    return sum;
}

static void check_slope(const char *what, attn_set *s, float *x, float slope)
{
    float keep = *x, step = 1e-2f;
    *x = keep + step;
    double up = attn_loss(s), hi = *x;
    *x = keep - step;
    double down = attn_loss(s), lo = *x;
    *x = keep;
    double want = (up - down) / (hi - lo);
    if (fabs(want - slope) > 2e-3 * (1.0 + fabs(want))) {
        fail_msg("%s: gradient %.6g, finite difference %.6g", what, (double)slope, want);
    }
}

static void attention_gradient_equals_finite_differences(void **state)
{
    (void)state;
    const uint32_t seg[] = {0, 4, 13};
    attn_set s = attn_make(4, 2, 6, 2, seg, 5);
    attn_loss(&s);
    fmk_attn_bwd_ref(&s.a, s.q, s.k, s.v, s.o, s.lse, s.d_o, s.dq, s.dk, s.dv);
    for (int64_t t = 0; t < 13; t += 2) {
        for (int64_t j = 0; j < 12; j += 3) {
            check_slope("dq", &s, s.q + t * s.a.ldq + j, s.dq[t * s.a.ldq + j]);
            check_slope("dk", &s, s.k + t * s.a.ldk + j, s.dk[t * s.a.ldk + j]);
            check_slope("dv", &s, s.v + t * s.a.ldv + j, s.dv[t * s.a.ldv + j]);
        }
    }
    attn_free(&s);
}

static void decoding_equals_the_last_row_of_forward(void **state)
{
    (void)state;
    enum { B = 3, H = 4, G = 2, D = 24, CAP = 300 };
    const int32_t len[B] = {1, 150, 300};
    for (int64_t window = 0; window <= 70; window += 70) {
        float *k = noise(2, B * CAP * G * D), *v = noise(3, B * CAP * G * D), *o = filled(B * H * D, 0);
        float *q = noise(1, B * H * D), *o_ref = filled(B * H * D, 0);
        fmk_attn_decode(CTX, B, H, G, D, CAP, 0.2f, window, q, k, v, len, o);
        fmk_attn_decode_ref(B, H, G, D, CAP, 0.2f, window, q, k, v, len, o_ref);
        check_close("decode", B * H * D, o, o_ref, 3e-6);
        for (int b = 0; b < B; b++) {
            const uint32_t seg[] = {0, (uint32_t)len[b]};
            fmk_attn a = {.T = len[b], .H = H, .G = G, .D = D, .n_seg = 1, .seg = seg, .window = window,
                          .scale = 0.2f, .ldq = H * D, .ldk = G * D, .ldv = G * D, .ldo = H * D};
            float *qs = noise(9, len[b] * H * D), *os = filled(len[b] * H * D, 0), *lse = filled(len[b] * H, 0);
            memcpy(qs + (len[b] - 1) * H * D, q + b * H * D, H * D * sizeof(float));
            fmk_attn_fwd(CTX, &a, qs, k + b * CAP * G * D, v + b * CAP * G * D, os, lse);
            check_close("forward's last row", H * D, o + b * H * D, os + (len[b] - 1) * H * D, 3e-6);
            free(qs);
            free(os);
            free(lse);
        }
        float *all[] = {q, k, v, o, o_ref};
        for (int j = 0; j < 5; j++) { free(all[j]); }
    }
}

/* ---- cross-entropy ---- */
typedef struct xent_set {
    int64_t N, C, V;
    float *x, *E, *weight, *nll, *dx, *dE;
    uint32_t *label;
    uint8_t *hit;
} xent_set;

static xent_set xent_make(int64_t N, int64_t C, int64_t V)
{
    xent_set s = {.N = N, .C = C, .V = V};
    s.x = noise(1, N * C);
    s.E = noise(2, V * C);
    s.weight = noise(3, N);
    s.nll = filled(N, 0);
    s.dx = filled(N * C, 9);
    s.dE = noise(4, V * C);
    s.label = malloc((size_t)N * sizeof *s.label + 4);
    s.hit = calloc((size_t)N + 1, 1);
    assert_true(s.label && s.hit);
    for (int64_t n = 0; n < N; n++) {
        s.label[n] = (uint32_t)(n * 37 % V);
        s.weight[n] = n % 5 == 0 ? 0.0f : fabsf(s.weight[n]);
    }
    for (int64_t n = 0; n < N; n += 3) { /* some rows that are right */
        for (int64_t c = 0; c < C; c++) { s.x[n * C + c] = s.E[s.label[n] * C + c]; }
    }
    return s;
}

static void xent_run(fmk_ctx *ctx, xent_set *s, bool bf16)
{
    fmk_xent(ctx, s->N, s->C, s->V, s->x, s->E, s->label, s->weight, 0.1f, bf16, s->nll, s->hit, s->dx, s->dE);
}

static void xent_free(xent_set *s)
{
    float *all[] = {s->x, s->E, s->weight, s->nll, s->dx, s->dE};
    for (int j = 0; j < 6; j++) { free(all[j]); }
    free(s->label);
    free(s->hit);
}

static void xent_equals_its_reference(void **state)
{
    (void)state;
    const int64_t sizes[][3] = {{0, 4, 5}, {1, 1, 1}, {3, 7, 33}, {50, 32, 257}, {97, 48, 1000}, {450, 8, 40}};
    for (size_t i = 0; i < 6; i++) {
        for (int bf16 = 0; bf16 < 2; bf16++) {
            xent_set a = xent_make(sizes[i][0], sizes[i][1], sizes[i][2]);
            xent_set b = xent_make(sizes[i][0], sizes[i][1], sizes[i][2]);
            xent_run(CTX, &a, bf16);
            fmk_xent_ref(b.N, b.C, b.V, b.x, b.E, b.label, b.weight, 0.1f, bf16, b.nll, b.hit, b.dx, b.dE);
            double grad_tolerance = bf16 ? 1e-2 : 5e-6; /* bf16 rounds the gradient of the logits too */
            check_close("nll", a.N, a.nll, b.nll, 5e-6);
            check_close("dx", a.N * a.C, a.dx, b.dx, grad_tolerance);
            check_close("dE", a.V * a.C, a.dE, b.dE, grad_tolerance);
            for (int64_t n = 0; n < a.N; n++) { assert_int_equal(a.hit[n], b.hit[n]); }
            xent_free(&a);
            xent_free(&b);
        }
    }
}

static void xent_counts_a_tie_for_the_lowest_index_only(void **state)
{
    (void)state;
    const float x[2] = {1, 1}, E[3] = {0.5f, 2, 2}, weight[2] = {1, 1};
    const uint32_t label[2] = {1, 2};
    float nll[2];
    uint8_t hit[2];
    fmk_xent(CTX, 2, 1, 3, x, E, label, weight, 1.0f, false, nll, hit, NULL, NULL);
    assert_int_equal(hit[0], 1);
    assert_int_equal(hit[1], 0);
}

static void xent_has_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        xent_set first = xent_make(500, 64, 700);
        xent_run(ctxs[0], &first, bf16);
        for (int c = 1; c < N_CTX; c++) {
            xent_set s = xent_make(500, 64, 700);
            xent_run(ctxs[c], &s, bf16);
            check_same("nll", s.N, s.nll, first.nll);
            check_same("dx", s.N * s.C, s.dx, first.dx);
            check_same("dE", s.V * s.C, s.dE, first.dE);
            xent_free(&s);
        }
        xent_free(&first);
    }
}

static void xent_gradient_equals_finite_differences(void **state)
{
    (void)state;
    xent_set s = xent_make(6, 5, 9);
    memset(s.dE, 0, (size_t)(s.V * s.C) * sizeof *s.dE);
    fmk_xent_ref(s.N, s.C, s.V, s.x, s.E, s.label, s.weight, 0.1f, false, s.nll, NULL, s.dx, s.dE);
    for (int which = 0; which < 2; which++) {
        float *param = which ? s.E : s.x, *grad = which ? s.dE : s.dx;
        for (int64_t i = 0; i < (which ? s.V : s.N) * s.C; i++) {
            float keep = param[i];
            double loss[2], at[2];
            for (int side = 0; side < 2; side++) {
                param[i] = keep + (side ? 1e-2f : -1e-2f);
                at[side] = param[i];
                loss[side] = 0.0;
                fmk_xent_ref(s.N, s.C, s.V, s.x, s.E, s.label, s.weight, 0.1f, false, s.nll, NULL, NULL, NULL);
                for (int64_t n = 0; n < s.N; n++) { loss[side] += 0.1 * s.weight[n] * s.nll[n]; }
            }
            param[i] = keep;
            double want = (loss[1] - loss[0]) / (at[1] - at[0]);
            assert_true(fabs(want - grad[i]) < 1e-3);
        }
    }
    xent_free(&s);
}

/* ---- the rest of thread invariance, and the other gradients ---- */
static void row_kernels_have_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    enum { T = 333, C = 272, N = T * C };
    float *x = noise(1, N), *g = noise(2, C), *dy = noise(3, N), *first[8] = {NULL};
    double first_sum = 0.0;
    uint32_t id[T];
    for (int t = 0; t < T; t++) { id[t] = (uint32_t)(t % 13); }
    for (int c = 0; c < N_CTX; c++) {
        float *out[8] = {filled(N, 0), filled(N, 0), filled(C, 0), filled(N, 0),
                         filled(N, 0), filled(N, 0), filled(13 * C, 0), copied(N, x)};
        float *rstd = filled(T, 0), *m = filled(N, 0), *v = filled(N, 0);
        fmk_rmsnorm_fwd(ctxs[c], T, C, 1e-5f, x, g, out[0], rstd);
        fmk_rmsnorm_bwd(ctxs[c], T, C, x, g, rstd, dy, out[1], out[2]);
        fmk_swiglu_fwd(ctxs[c], T, C, x, dy, out[3]);
        fmk_swiglu_bwd(ctxs[c], T, C, x, dy, dy, out[4], out[5]);
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
    for (int i = 0; i < 8; i++) { free(first[i]); }
    free(x);
    free(g);
    free(dy);
}

static double norm_loss(int64_t C, const float *x, const float *g, const float *dy)
{
    float y[32], rstd[1];
    double sum = 0.0;
    fmk_rmsnorm_fwd_ref(1, C, 1e-5f, x, g, y, rstd);
    for (int64_t c = 0; c < C; c++) { sum += (double)y[c] * dy[c]; }
    return sum;
}

static double swiglu_loss(int64_t C, const float *x, const float *g, const float *dy)
{
    float h[32];
    double sum = 0.0;
    fmk_swiglu_fwd_ref(1, C, x, g, h);
    for (int64_t c = 0; c < C; c++) { sum += (double)h[c] * dy[c]; }
    return sum;
}

static void check_two_input_gradient(double (*loss)(int64_t, const float *, const float *, const float *),
                                     float *x, float *g, const float *dy, int64_t C, const float *dx, const float *dg)
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

static void norm_and_swiglu_gradients_equal_finite_differences(void **state)
{
    (void)state;
    enum { C = 19 };
    float *x = noise(1, C), *g = noise(2, C), *dy = noise(3, C), *dx = filled(C, 0), *dg = filled(C, 0);
    float y[C], rstd[1];
    fmk_rmsnorm_fwd_ref(1, C, 1e-5f, x, g, y, rstd);
    fmk_rmsnorm_bwd_ref(1, C, x, g, rstd, dy, dx, dg);
    check_two_input_gradient(norm_loss, x, g, dy, C, dx, dg);
    fmk_swiglu_bwd_ref(1, C, x, g, dy, dx, dg);
    check_two_input_gradient(swiglu_loss, x, g, dy, C, dx, dg);
    float *all[] = {x, g, dy, dx, dg};
    for (int j = 0; j < 5; j++) { free(all[j]); }
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
        swiglu_equals_its_reference_also_far_out(state);
        embedding_gathers_rows_and_adds_gradients_in_token_order(state);
        vectors_add_scale_and_sum(state);
        bf16_rounds_to_nearest_even_and_keeps_nan(state);
        adamw_follows_its_reference_over_twenty_steps(state);
        attention_equals_its_reference_forward_and_backward(state);
        attention_never_sees_another_segment(state);
        decoding_equals_the_last_row_of_forward(state);
        xent_equals_its_reference(state);
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
        cmocka_unit_test(rmsnorm_equals_its_reference_forward_and_backward),
        cmocka_unit_test(rope_turns_both_layouts_and_its_inverse_turns_back),
        cmocka_unit_test(swiglu_equals_its_reference_also_far_out),
        cmocka_unit_test(embedding_gathers_rows_and_adds_gradients_in_token_order),
        cmocka_unit_test(vectors_add_scale_and_sum),
        cmocka_unit_test(all_finite_finds_one_bad_value_anywhere),
        cmocka_unit_test(bf16_rounds_to_nearest_even_and_keeps_nan),
        cmocka_unit_test(adamw_follows_its_reference_over_twenty_steps),
        cmocka_unit_test(attention_equals_its_reference_forward_and_backward),
        cmocka_unit_test(attention_has_the_same_bits_for_any_thread_count),
        cmocka_unit_test(attention_never_sees_another_segment),
        cmocka_unit_test(a_segment_has_the_same_bits_alone_and_packed),
        cmocka_unit_test(attention_does_not_see_the_future),
        cmocka_unit_test(attention_gradient_equals_finite_differences),
        cmocka_unit_test(decoding_equals_the_last_row_of_forward),
        cmocka_unit_test(xent_equals_its_reference),
        cmocka_unit_test(xent_counts_a_tie_for_the_lowest_index_only),
        cmocka_unit_test(xent_has_the_same_bits_for_any_thread_count),
        cmocka_unit_test(xent_gradient_equals_finite_differences),
        cmocka_unit_test(row_kernels_have_the_same_bits_for_any_thread_count),
        cmocka_unit_test(norm_and_swiglu_gradients_equal_finite_differences),
        cmocka_unit_test(every_instruction_set_gives_the_reference_results),
        cmocka_unit_test(the_machine_reaches_some_speed_and_says_what_computes),
    };
    return cmocka_run_group_tests(tests, make_contexts, free_contexts);
}
