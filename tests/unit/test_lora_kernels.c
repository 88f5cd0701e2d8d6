/* links: fmbase fmkernels */
/*
 * test_lora_kernels.c: projections with LoRA, dropout and DoRA's scaling against their references, for every
 * instruction set and number of threads; what the mask depends on, and on what it does not.
 */
#include "kernel_test.h"

enum { T = 37, N_SEG = 3 };
static const uint32_t segs[N_SEG + 1] = {0, 9, 10, T};
static const uint32_t seg_keys[N_SEG] = {70, 5, 1000001};

static fmk_drop a_drop(uint32_t p_65536)
{
    return (fmk_drop){.key = 0x1234567887654321u,
                      .site = 6,
                      .p_65536 = p_65536,
                      .n_seg = N_SEG,
                      .seg = segs,
                      .seg_key = seg_keys};
}

static void dropout_equals_its_reference_for_all_widths(void **state)
{
    (void)state;
    static const int64_t widths[] = {1, 15, 16, 127, 128, 129, 300};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        int64_t C = widths[i];
        const fmk_drop d = a_drop(20000);
        float *x = noise(1, T * C), *y = noise(2, T * C), *want = copied(T * C, y);
        for (int add = 0; add < 2; add++) {
            fmk_dropout_ref(&d, T, C, x, add, want);
            for (int c = 0; c < N_CTX; c++) {
                float *got = add ? copied(T * C, y) : filled(T * C, NAN);
                if (add) { fmk_dropout_ref(&d, T, C, x, true, memcpy(want, y, (size_t)(T * C) * sizeof *y)); }
                fmk_dropout(ctxs[c], &d, T, C, x, add, got);
                check_close("dropout", T * C, got, want, 1e-6);
                free(got);
            }
        }
        free(x);
        free(y);
        free(want);
    }
}

static void dropout_keeps_the_share_it_says_and_the_mean(void **state)
{
    (void)state;
    enum { C = 4096 };
    static const uint32_t p[] = {0, 6554, 32768, 60000};
    float *x = filled(T * C, 1.0f), *y = filled(T * C, 0.0f);
    for (size_t i = 0; i < 4; i++) {
        const fmk_drop d = a_drop(p[i]);
        double sum = 0.0, zeros = 0.0, share = p[i] / 65536.0;
        fmk_dropout(CTX, &d, T, C, x, false, y);
        for (int64_t k = 0; k < T * C; k++) {
            sum += y[k];
            zeros += y[k] == 0.0f;
        }
        double n = T * C, deviation = sqrt(share * (1.0 - share) / n);
        assert_true(fabs(zeros / n - share) <= 5.0 * deviation + 1e-12);
        assert_true(fabs(sum / n - 1.0) <= 5.0 * deviation / (1.0 - share) + 1e-6);
    }
    free(x);
    free(y);
}

/* Differing elements of two masks, as a share. */
static double difference(const fmk_drop *a, const fmk_drop *b, int64_t C)
{
    float *x = filled(T * C, 1.0f), *ya = filled(T * C, 0.0f), *yb = filled(T * C, 0.0f);
    double n = 0.0;
    fmk_dropout(CTX, a, T, C, x, false, ya);
    fmk_dropout(CTX, b, T, C, x, false, yb);
    for (int64_t k = 0; k < T * C; k++) {
        n += ya[k] != yb[k];
    }
    free(x);
    free(ya);
    free(yb);
    return n / (double)(T * C);
}

static void another_key_site_or_segment_gives_another_mask(void **state)
{
    (void)state;
    const fmk_drop d = a_drop(32768);
    static const uint32_t other_keys[N_SEG] = {71, 6, 1000002};
    fmk_drop key = d, high = d, site = d, segment = d;
    key.key++;
    high.key ^= UINT64_C(1) << 40;
    site.site++;
    segment.seg_key = other_keys;
    assert_true(difference(&d, &d, 200) == 0.0);
    const fmk_drop *others[] = {&key, &high, &site, &segment};
    for (int i = 0; i < 4; i++) {
        double share = difference(&d, others[i], 200);
        assert_true(share > 0.45 && share < 0.55);
    }
}

static void a_segment_alone_has_the_mask_it_has_in_a_packed_row(void **state)
{
    (void)state;
    enum { C = 100 };
    const fmk_drop d = a_drop(30000);
    float *x = noise(3, T * C), *packed = filled(T * C, 0.0f), *alone = filled(T * C, 0.0f);
    fmk_dropout(CTX, &d, T, C, x, false, packed);
    for (int s = 0; s < N_SEG; s++) {
        const uint32_t own[2] = {0, segs[s + 1] - segs[s]};
        fmk_drop one = d;
        one.n_seg = 1;
        one.seg = own;
        one.seg_key = &seg_keys[s];
        fmk_dropout(CTX, &one, own[1], C, x + segs[s] * C, false, alone + segs[s] * C);
    }
    check_same("dropout of a segment", T * C, alone, packed);
    free(x);
    free(packed);
    free(alone);
}

static void dora_equals_its_reference_forward_and_backward(void **state)
{
    (void)state;
    static const int64_t widths[] = {1, 63, 64, 65, 200};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        int64_t N = widths[i];
        float *z = noise(1, T * N), *g = noise(2, N), *bias = noise(3, N), *y = noise(4, T * N);
        float *inv = noise(5, N), *mag = noise(6, N), *dz = filled(T * N, 0.0f);
        for (int c = 0; c < N_CTX; c++) {
            for (int k = 0; k < 4; k++) {
                float *want = copied(T * N, y), *got = copied(T * N, y);
                fmk_dora_fwd_ref(T, N, z, g, k & 1 ? bias : NULL, k & 2, want);
                fmk_dora_fwd(ctxs[c], T, N, z, g, k & 1 ? bias : NULL, k & 2, got);
                check_close("dora forward", T * N, got, want, 1e-6);
                free(want);
                free(got);
            }
            float *want = copied(N, mag), *got = copied(N, mag), *want_z = filled(T * N, 0.0f);
            fmk_dora_bwd_ref(T, N, z, g, inv, y, want_z, want);
            fmk_dora_bwd(ctxs[c], T, N, z, g, inv, y, dz, got);
            check_close("dora magnitude gradient", N, got, want, 1e-5);
            check_close("dora input gradient", T * N, dz, want_z, 1e-6);
            free(want);
            free(got);
            free(want_z);
        }
        float *all[] = {z, g, bias, y, inv, mag, dz};
        for (int j = 0; j < 7; j++) {
            free(all[j]);
        }
    }
}

static void results_have_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    enum { C = 513 };
    const fmk_drop d = a_drop(9000);
    float *z = noise(1, T * C), *g = noise(2, C), *dy = noise(3, T * C), *y[N_CTX], *dz[N_CTX], *mag[N_CTX];
    for (int c = 0; c < N_CTX; c++) {
        y[c] = filled(T * C, 0.0f);
        dz[c] = filled(T * C, 0.0f);
        mag[c] = filled(C, 1.0f);
        fmk_dropout(ctxs[c], &d, T, C, z, false, y[c]);
        fmk_dora_bwd(ctxs[c], T, C, z, g, g, dy, dz[c], mag[c]);
        fmk_dora_fwd(ctxs[c], T, C, z, g, g, true, y[c]);
        check_same("dropout and dora forward", T * C, y[c], y[0]);
        check_same("dora input gradient", T * C, dz[c], dz[0]);
        check_same("dora magnitude gradient", C, mag[c], mag[0]);
    }
    for (int c = 0; c < N_CTX; c++) {
        free(y[c]);
        free(dz[c]);
        free(mag[c]);
    }
    free(z);
    free(g);
    free(dy);
}

/* ---- projections with LoRA ---- */
typedef struct lora_shape {
    int64_t T, K, R;
    int n;
    int64_t N[FMK_LORA_MAX];
    int adapted; /* bit i: projection i has LoRA */
    bool apart;  /* LoRA reads an input of its own, its part of dx is apart */
} lora_shape;
static const lora_shape lora_shapes[] = {
    {1, 1, 1, 1, {1}, 1, false},
    {37, 20, 3, 3, {7, 33, 20}, 7, false},
    {50, 64, 8, 3, {64, 32, 32}, 5, true},
    {130, 33, 5, 2, {130, 65}, 2, false},
    {97, 48, 16, 1, {40}, 1, true},
    {1100, 24, 4, 2, {16, 70}, 3, false}, /* more than one depth of a sum */
};
#define N_LORA (sizeof lora_shapes / sizeof *lora_shapes)

typedef struct lora_set {
    fmk_lora l;
    fmk_lora_proj proj[FMK_LORA_MAX];
    const float *w[FMK_LORA_MAX];
    int64_t N[FMK_LORA_MAX];
    fmk_packed *packed[FMK_LORA_MAX];
    float *block[8 * FMK_LORA_MAX]; /* all that was allocated */
    int n_blocks;
    float *u, *du, *da, *dx, *dx_lora;
} lora_set;

static float *keep(lora_set *s, float *x)
{
    return s->block[s->n_blocks++] = x;
}

static void lora_make(fmk_ctx *ctx, const lora_shape *shape, lora_set *s)
{
    int64_t rows = shape->T, K = shape->K, R = shape->R, column = 0;
    fmp_err err = FMP_ERR_INIT;
    *s = (lora_set){.l = {.T = rows, .K = K, .R = R, .n = shape->n, .scale = 0.7f}};
    for (int i = 0; i < shape->n; i++) {
        int64_t N = s->N[i] = shape->N[i];
        fmk_lora_proj *p = &s->proj[i];
        s->w[i] = keep(s, noise(20 + (uint64_t)i, N * K));
        assert_int_equal(fmk_matmul_pack(ctx, N, K, s->w[i], true, &s->packed[i], &err), FMP_OK);
        *p = (fmk_lora_proj){.w = s->packed[i], .column = column, .add = i == 1};
        p->y = keep(s, noise(30 + (uint64_t)i, rows * N));
        p->dy = keep(s, noise(40 + (uint64_t)i, rows * N));
        if (!(shape->adapted >> i & 1)) { continue; }
        p->b = keep(s, noise(50 + (uint64_t)i, N * R));
        p->db = keep(s, noise(60 + (uint64_t)i, N * R));
        column += R;
    }
    s->l.n_u = column;
    s->l.proj = s->proj;
    s->l.x = s->l.x_lora = keep(s, noise(1, rows * K));
    if (shape->apart) { s->l.x_lora = keep(s, noise(2, rows * K)); }
    s->l.a = keep(s, noise(3, column * K));
    s->u = keep(s, filled(rows * column, NAN));
    s->du = keep(s, filled(rows * column, NAN));
    s->da = keep(s, noise(4, column * K));
    s->dx = keep(s, filled(rows * K, NAN));
    s->dx_lora = shape->apart ? keep(s, filled(rows * K, NAN)) : NULL;
}

static void lora_run(fmk_ctx *ctx, lora_set *s)
{
    fmk_lora_fwd(ctx, &s->l, s->u);
    fmk_lora_bwd(ctx, &s->l, s->u, s->da, s->dx, s->dx_lora);
}

static void lora_free(lora_set *s)
{
    for (int i = 0; i < s->n_blocks; i++) {
        free(s->block[i]);
    }
    for (int i = 0; i < s->l.n; i++) {
        fmk_packed_free(s->packed[i]);
    }
}

static void check_lora(const lora_shape *shape)
{
    lora_set got, want;
    lora_make(CTX, shape, &got);
    lora_make(CTX, shape, &want);
    lora_run(CTX, &got);
    fmk_lora_fwd_ref(&want.l, want.w, want.N, want.u);
    fmk_lora_bwd_ref(&want.l, want.w, want.N, want.u, want.du, want.da, want.dx, want.dx_lora);
    int64_t rows = got.l.T, K = got.l.K, n_u = got.l.n_u;
    /* u and du are rounded again for the next product: a last bit that differs there is 2^-8 of it. */
    check_close("u", rows * n_u, got.u, want.u, 1e-5);
    for (int i = 0; i < got.l.n; i++) {
        check_close("y", rows * got.N[i], got.proj[i].y, want.proj[i].y, 3e-3);
        if (got.proj[i].b) { check_close("db", got.N[i] * got.l.R, got.proj[i].db, want.proj[i].db, 3e-3); }
    }
    check_close("da", n_u * K, got.da, want.da, 3e-3);
    check_close("dx", rows * K, got.dx, want.dx, 3e-3);
    if (got.dx_lora) { check_close("dx of LoRA", rows * K, got.dx_lora, want.dx_lora, 3e-3); }
    lora_free(&got);
    lora_free(&want);
}

static void projections_with_lora_equal_their_reference(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_LORA; k++) {
        check_lora(&lora_shapes[k]);
    }
}

/* So many rows that a weight is turned in more than one piece. */
static void large_projections_with_lora_equal_their_reference(void **state)
{
    (void)state;
    static const lora_shape plain = {3, 230, 2, 1, {70001}, 1, false},
                            apart = {2, 200, 2, 2, {50000, 30001}, 2, true};
    check_lora(&plain);
    check_lora(&apart);
}

static void projections_with_lora_have_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_LORA; k++) {
        lora_set first;
        lora_make(ctxs[0], &lora_shapes[k], &first);
        lora_run(ctxs[0], &first);
        for (int c = 1; c < N_CTX; c++) {
            lora_set s;
            lora_make(ctxs[c], &lora_shapes[k], &s);
            lora_run(ctxs[c], &s);
            for (int i = 0; i < s.l.n; i++) {
                check_same("y", s.l.T * s.N[i], s.proj[i].y, first.proj[i].y);
                if (s.proj[i].b) { check_same("db", s.N[i] * s.l.R, s.proj[i].db, first.proj[i].db); }
            }
            check_same("da", s.l.n_u * s.l.K, s.da, first.da);
            check_same("dx", s.l.T * s.l.K, s.dx, first.dx);
            lora_free(&s);
        }
        lora_free(&first);
    }
}

static void a_row_of_a_projection_does_not_depend_on_the_others(void **state)
{
    (void)state;
    enum { FROM = 29 };
    const lora_shape whole = lora_shapes[3];
    lora_shape tail = whole;
    lora_set all, part;
    tail.T = whole.T - FROM;
    lora_make(CTX, &whole, &all);
    lora_make(CTX, &tail, &part);
    part.l.x = part.l.x_lora = all.l.x + FROM * whole.K;
    for (int i = 0; i < part.l.n; i++) {
        memcpy(part.proj[i].y, all.proj[i].y + FROM * part.N[i],
               (size_t)(tail.T * part.N[i]) * sizeof(float));
    }
    fmk_lora_fwd(CTX, &all.l, all.u);
    fmk_lora_fwd(CTX, &part.l, part.u);
    for (int i = 0; i < part.l.n; i++) {
        check_same("y", tail.T * part.N[i], part.proj[i].y, all.proj[i].y + FROM * part.N[i]);
    }
    lora_free(&all);
    lora_free(&part);
}

static void every_instruction_set_gives_the_reference_results(void **state)
{
    for (int level = 0; level < 2; level++) {
        fmk_limit_isa(level);
        dropout_equals_its_reference_for_all_widths(state);
        dora_equals_its_reference_forward_and_backward(state);
        projections_with_lora_equal_their_reference(state);
    }
    fmk_limit_isa(2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dropout_equals_its_reference_for_all_widths),
        cmocka_unit_test(dropout_keeps_the_share_it_says_and_the_mean),
        cmocka_unit_test(another_key_site_or_segment_gives_another_mask),
        cmocka_unit_test(a_segment_alone_has_the_mask_it_has_in_a_packed_row),
        cmocka_unit_test(dora_equals_its_reference_forward_and_backward),
        cmocka_unit_test(results_have_the_same_bits_for_any_thread_count),
        cmocka_unit_test(projections_with_lora_equal_their_reference),
        cmocka_unit_test(large_projections_with_lora_equal_their_reference),
        cmocka_unit_test(projections_with_lora_have_the_same_bits_for_any_thread_count),
        cmocka_unit_test(a_row_of_a_projection_does_not_depend_on_the_others),
        cmocka_unit_test(every_instruction_set_gives_the_reference_results),
    };
    return cmocka_run_group_tests(tests, make_contexts, free_contexts);
}
