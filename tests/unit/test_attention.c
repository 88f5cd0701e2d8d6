/* links: fmbase fmkernels */
/*
 * Attention and the fused loss: against their plain references, those against finite differences, the same
 * bits for any thread count, and no sight of another segment or of the future.
 */
#include "kernel_test.h"

#include <stdio.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif
#define SLACK ((double)(3 << 20)) /* a huge page of the scratch, and the stack's */

/* ---- attention ---- */
typedef struct attn_set {
    fmk_attn a;
    float *q, *k, *v, *o, *lse, *d_o, *dq, *dk, *dv;
    int64_t nq, nk, nv, no;
} attn_set;

static attn_set attn_make(int64_t H, int64_t G, int64_t D, int64_t n_seg, const uint32_t *seg, int64_t window,
                          bool bf16)
{
    attn_set s = {.a = {.T = seg[n_seg],
                        .H = H,
                        .G = G,
                        .D = D,
                        .n_seg = n_seg,
                        .seg = seg,
                        .window = window,
                        .scale = 1.0f / sqrtf((float)D),
                        .softcap = n_seg % 2 ? 0.0f : 2.0f, /* an even number of segments: capped scores */
                        .ldq = H * D + 3,
                        .ldk = G * D + 1,
                        .ldv = G * D,
                        .ldo = H * D + 2,
                        .bf16 = bf16}};
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
    for (int j = 0; j < 9; j++) {
        free(all[j]);
    }
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
    {2, 1, 16, 1, 0, {0, 1700}},
    {1, 1, 8, 1, 230, {0, 1700}}, /* keys beyond one chunk, more than one span */
};
#define N_ATTN (sizeof attn_shapes / sizeof attn_shapes[0])

static attn_set attn_of(const attn_shape *s, bool bf16)
{
    return attn_make(s->H, s->G, s->D, s->n_seg, s->seg, s->window, bf16);
}

static void attention_equals_its_reference_forward_and_backward(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * N_ATTN; i++) {
        bool bf16 = i >= N_ATTN;
        const attn_shape *shape = &attn_shapes[i % N_ATTN];
        attn_set got = attn_of(shape, bf16), want = attn_of(shape, bf16);
        attn_run(CTX, &got);
        fmk_attn_fwd_ref(&want.a, want.q, want.k, want.v, want.o, want.lse);
        fmk_attn_bwd_ref(&want.a, want.q, want.k, want.v, want.o, want.lse, want.d_o, want.dq, want.dk,
                         want.dv);
        /* bf16 rounds the probabilities and their gradients too, the reference only what it is given. */
        check_close("o", got.no, got.o, want.o, bf16 ? 1e-2 : 3e-6);
        check_close("lse", got.a.T * got.a.H, got.lse, want.lse, 3e-6);
        /* With a window of one token these are exactly zero: a difference of products of size one. */
        check_close_to("dq", got.nq, got.dq, want.dq, bf16 ? 1e-2 : 1e-5, 1.0);
        check_close_to("dk", got.nk, got.dk, want.dk, bf16 ? 1e-2 : 1e-5, 1.0);
        check_close("dv", got.nv, got.dv, want.dv, bf16 ? 1e-2 : 1e-5);
        attn_free(&got);
        attn_free(&want);
    }
}

static void attention_has_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * N_ATTN; i++) {
        const attn_shape *shape = &attn_shapes[i % N_ATTN];
        attn_set first = attn_of(shape, i >= N_ATTN);
        attn_run(ctxs[0], &first);
        for (int c = 1; c < N_CTX; c++) {
            attn_set s = attn_of(shape, i >= N_ATTN);
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
static void check_other_segments(bool bf16)
{
    const uint32_t seg[] = {0, 37, 140, 200};
    attn_set a = attn_make(2, 1, 32, 3, seg, 0, bf16), b = attn_make(2, 1, 32, 3, seg, 0, bf16);
    for (int64_t t = 0; t < 200; t++) {
        if (t >= 37 && t < 140) { continue; }
        for (int64_t j = 0; j < b.a.ldq; j++) {
            b.q[t * b.a.ldq + j] = NAN;
        }
        for (int64_t j = 0; j < b.a.ldk; j++) {
            b.k[t * b.a.ldk + j] = NAN;
        }
        for (int64_t j = 0; j < b.a.ldv; j++) {
            b.v[t * b.a.ldv + j] = NAN;
        }
        for (int64_t j = 0; j < b.a.ldo; j++) {
            b.d_o[t * b.a.ldo + j] = NAN;
        }
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
static void attention_never_sees_another_segment(void **state)
{
    (void)state;
    check_other_segments(false);
    check_other_segments(true);
}

static void check_packing(bool bf16)
{
    const uint32_t packed[] = {0, 37, 140, 200}, alone[] = {0, 103};
    attn_set a = attn_make(4, 2, 48, 3, packed, 50, bf16), b = attn_make(4, 2, 48, 1, alone, 50, bf16);
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
static void a_segment_has_the_same_bits_alone_and_packed(void **state)
{
    (void)state;
    check_packing(false);
    check_packing(true);
}

static void check_future(bool bf16)
{
    const uint32_t seg[] = {0, 90};
    attn_set a = attn_make(2, 1, 32, 1, seg, 0, bf16), b = attn_make(2, 1, 32, 1, seg, 0, bf16);
    for (int64_t j = 60 * b.a.ldk; j < b.nk; j++) {
        b.k[j] += 100.0f;
    }
    for (int64_t j = 60 * b.a.ldv; j < b.nv; j++) {
        b.v[j] += 100.0f;
    }
    attn_run(CTX, &a);
    attn_run(CTX, &b);
    check_same("o before the change", 60 * a.a.ldo, b.o, a.o);
    attn_free(&a);
    attn_free(&b);
}
static void attention_does_not_see_the_future(void **state)
{
    (void)state;
    check_future(false);
    check_future(true);
}

/* ---- what it takes ---- */

/* Bytes of the process that no file backs: pages of scratch stay once they were touched. */
static double anonymous_now(void)
{
    unsigned long size, resident, shared;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu %lu %lu", &size, &resident, &shared), 3);
    (void)fclose(f);
    return (double)(resident - shared) * (double)sysconf(_SC_PAGESIZE);
}

/* T tokens in segments of seg_len; the share of what it says that it takes. */
static double scratch_share(int64_t T, int64_t H, int64_t G, int64_t D, int64_t seg_len, int64_t window,
                            bool bf16)
{
    uint32_t seg[65];
    int64_t n_seg = 0;
    fmp_err err = FMP_ERR_INIT;
    fmk_ctx *ctx = NULL;
    for (int64_t at = 0; at < T; at += seg_len) {
        assert_true(n_seg < 64);
        seg[n_seg++] = (uint32_t)at;
    }
    seg[n_seg] = (uint32_t)T;
    attn_set s = attn_make(H, G, D, n_seg, seg, window, bf16);
    assert_int_equal(fmk_ctx_new(1, &ctx, &err), FMP_OK);
    double before = anonymous_now(), said = (double)fmk_attn_scratch(&s.a, seg_len);
    attn_run(ctx, &s);
    double taken = anonymous_now() - before;
    fmk_ctx_free(ctx);
    attn_free(&s);
    if (taken > said + SLACK) { fail_msg("%.0f bytes taken, %.0f said", taken, said); }
    return taken / said;
}

static void attention_takes_the_scratch_that_it_says_at_most(void **state)
{
    (void)state;
    if (SANITIZED) {
        print_message("skipped: a sanitizer's own memory is in what is measured\n");
        skip();
    }
    for (int bf16 = 0; bf16 < 2; bf16++) {
        assert_true(scratch_share(1536, 8, 4, 64, 1536, 0, bf16) > 0.7);
        assert_true(scratch_share(1980, 8, 4, 64, 33, 0, bf16) > 0.7);
        scratch_share(1900, 4, 4, 40, 200, 0, bf16);
        scratch_share(16384, 16, 16, 8, 16384, 16, bf16); /* more than one pass */
    }
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
    attn_set s = attn_make(4, 2, 6, 2, seg, 5, false);
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
    const int32_t len[B] = {1, 150, 300}, slot[B] = {0, 1, 2};
    for (int64_t window = 0; window <= 70; window += 70) {
        float *k = noise(2, B * CAP * G * D), *v = noise(3, B * CAP * G * D), *o = filled(B * H * D, 0);
        float *q = noise(1, B * H * D), *o_ref = filled(B * H * D, 0);
        const fmk_kv kv = {.kind = FMK_KV_F32, .cap = CAP, .G = G, .D = D, .k = k, .v = v};
        const fmk_kv_attn at = {.B = B, .H = H, .window = window, .scale = 0.2f, .slot = slot, .len = len};
        fmk_kv_attend(CTX, &at, &kv, q, o);
        fmk_kv_attend_ref(&at, &kv, q, o_ref);
        check_close("decode", B * H * D, o, o_ref, 3e-6);
        for (int b = 0; b < B; b++) {
            const uint32_t seg[] = {0, (uint32_t)len[b]};
            fmk_attn a = {.T = len[b],
                          .H = H,
                          .G = G,
                          .D = D,
                          .n_seg = 1,
                          .seg = seg,
                          .window = window,
                          .scale = 0.2f,
                          .ldq = H * D,
                          .ldk = G * D,
                          .ldv = G * D,
                          .ldo = H * D};
            float *qs = noise(9, len[b] * H * D), *os = filled(len[b] * H * D, 0),
                  *lse = filled(len[b] * H, 0);
            memcpy(qs + (len[b] - 1) * H * D, q + b * H * D, H * D * sizeof(float));
            fmk_attn_fwd(CTX, &a, qs, k + b * CAP * G * D, v + b * CAP * G * D, os, lse);
            check_close("forward's last row", H * D, o + b * H * D, os + (len[b] - 1) * H * D, 3e-6);
            free(qs);
            free(os);
            free(lse);
        }
        float *all[] = {q, k, v, o, o_ref};
        for (int j = 0; j < 5; j++) {
            free(all[j]);
        }
    }
}

/* ---- cross-entropy ---- */
typedef struct xent_set {
    int64_t N, C, V;
    float softcap;
    float *x, *E, *weight, *nll, *dx, *dE;
    uint32_t *label;
    uint8_t *hit;
} xent_set;

/* Odd vocabularies have capped logits. */
static xent_set xent_make(int64_t N, int64_t C, int64_t V)
{
    xent_set s = {.N = N, .C = C, .V = V, .softcap = V % 2 ? 4.0f : 0.0f};
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
        for (int64_t c = 0; c < C; c++) {
            s.x[n * C + c] = s.E[s.label[n] * C + c];
        }
    }
    return s;
}

static void xent_run(fmk_ctx *ctx, xent_set *s, bool bf16)
{
    fmk_xent(ctx, s->N, s->C, s->V, s->x, s->E, s->label, s->weight, 0.1f, s->softcap, bf16, s->nll, s->hit,
             s->dx, s->dE);
}

static void xent_free(xent_set *s)
{
    float *all[] = {s->x, s->E, s->weight, s->nll, s->dx, s->dE};
    for (int j = 0; j < 6; j++) {
        free(all[j]);
    }
    free(s->label);
    free(s->hit);
}

static void xent_equals_its_reference(void **state)
{
    (void)state;
    const int64_t sizes[][3] = {{0, 4, 5},     {1, 1, 1},      {3, 7, 33},
                                {50, 32, 257}, {97, 48, 1000}, {450, 8, 40}};
    for (size_t i = 0; i < 6; i++) {
        for (int bf16 = 0; bf16 < 2; bf16++) {
            xent_set a = xent_make(sizes[i][0], sizes[i][1], sizes[i][2]);
            xent_set b = xent_make(sizes[i][0], sizes[i][1], sizes[i][2]);
            xent_run(CTX, &a, bf16);
            fmk_xent_ref(b.N, b.C, b.V, b.x, b.E, b.label, b.weight, 0.1f, b.softcap, bf16, b.nll, b.hit,
                         b.dx, b.dE);
            double grad_tolerance = bf16 ? 1e-2 : 5e-6; /* bf16 rounds the gradient of the logits too */
            check_close("nll", a.N, a.nll, b.nll, 5e-6);
            check_close("dx", a.N * a.C, a.dx, b.dx, grad_tolerance);
            check_close("dE", a.V * a.C, a.dE, b.dE, grad_tolerance);
            for (int64_t n = 0; n < a.N; n++) {
                assert_int_equal(a.hit[n], b.hit[n]);
            }
            xent_free(&a);
            xent_free(&b);
        }
    }
}

static void xent_run_packed(fmk_ctx *ctx, xent_set *s)
{
    fmk_packed *E = NULL;
    fmp_err err = FMP_ERR_INIT;
    assert_int_equal(fmk_matmul_pack(ctx, s->V, s->C, s->E, true, &E, &err), FMP_OK);
    fmk_xent_packed(ctx, s->N, s->x, E, s->label, s->weight, 0.1f, s->softcap, s->nll, s->hit, s->dx);
    fmk_packed_free(E);
}

static void xent_of_a_packed_head_equals_its_reference(void **state)
{
    (void)state;
    const int64_t sizes[][3] = {{0, 4, 5},      {1, 1, 1},      {3, 7, 33},
                                {50, 32, 1025}, {97, 48, 2500}, {450, 8, 41}};
    for (size_t i = 0; i < 6; i++) {
        xent_set a = xent_make(sizes[i][0], sizes[i][1], sizes[i][2]);
        xent_set b = xent_make(sizes[i][0], sizes[i][1], sizes[i][2]);
        xent_run_packed(CTX, &a);
        fmk_xent_ref(b.N, b.C, b.V, b.x, b.E, b.label, b.weight, 0.1f, b.softcap, true, b.nll, b.hit, b.dx,
                     b.dE);
        check_close("nll", a.N, a.nll, b.nll, 5e-6);
        check_close("dx", a.N * a.C, a.dx, b.dx, 1e-2);
        for (int64_t n = 0; n < a.N; n++) {
            assert_int_equal(a.hit[n], b.hit[n]);
        }
        xent_free(&a);
        xent_free(&b);
    }
}

static void xent_counts_a_tie_for_the_lowest_index_only(void **state)
{
    (void)state;
    const float x[2] = {1, 1}, E[3] = {0.5f, 2, 2}, weight[2] = {1, 1};
    const uint32_t label[2] = {1, 2};
    float nll[2];
    uint8_t hit[2];
    fmk_xent(CTX, 2, 1, 3, x, E, label, weight, 1.0f, 0.0f, false, nll, hit, NULL, NULL);
    assert_int_equal(hit[0], 1);
    assert_int_equal(hit[1], 0);
}

static void xent_has_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        xent_set first = xent_make(500, 64, 700);
        xent_run(ctxs[0], &first, bf16);
        xent_set first_packed = xent_make(500, 64, 700);
        xent_run_packed(ctxs[0], &first_packed);
        for (int c = 1; c < N_CTX; c++) {
            xent_set s = xent_make(500, 64, 700);
            xent_run_packed(ctxs[c], &s);
            check_same("nll, packed head", s.N, s.nll, first_packed.nll);
            check_same("dx, packed head", s.N * s.C, s.dx, first_packed.dx);
            xent_run(ctxs[c], &s, bf16);
            check_same("nll", s.N, s.nll, first.nll);
            check_same("dx", s.N * s.C, s.dx, first.dx);
            check_same("dE", s.V * s.C, s.dE, first.dE);
            xent_free(&s);
        }
        xent_free(&first);
        xent_free(&first_packed);
    }
}

static void xent_gradient_equals_finite_differences(void **state)
{
    (void)state;
    xent_set s = xent_make(6, 5, 9);
    memset(s.dE, 0, (size_t)(s.V * s.C) * sizeof *s.dE);
    fmk_xent_ref(s.N, s.C, s.V, s.x, s.E, s.label, s.weight, 0.1f, s.softcap, false, s.nll, NULL, s.dx, s.dE);
    for (int which = 0; which < 2; which++) {
        float *param = which ? s.E : s.x, *grad = which ? s.dE : s.dx;
        for (int64_t i = 0; i < (which ? s.V : s.N) * s.C; i++) {
            float keep = param[i];
            double loss[2], at[2];
            for (int side = 0; side < 2; side++) {
                param[i] = keep + (side ? 1e-2f : -1e-2f);
                at[side] = param[i];
                loss[side] = 0.0;
                fmk_xent_ref(s.N, s.C, s.V, s.x, s.E, s.label, s.weight, 0.1f, s.softcap, false, s.nll, NULL,
                             NULL, NULL);
                for (int64_t n = 0; n < s.N; n++) {
                    loss[side] += 0.1 * s.weight[n] * s.nll[n];
                }
            }
            param[i] = keep;
            double want = (loss[1] - loss[0]) / (at[1] - at[0]);
            assert_true(fabs(want - grad[i]) < 1e-3);
        }
    }
    xent_free(&s);
}

static void every_instruction_set_gives_the_reference_results(void **state)
{
    for (int level = 0; level < 2; level++) {
        fmk_limit_isa(level);
        attention_equals_its_reference_forward_and_backward(state);
        attention_never_sees_another_segment(state);
        decoding_equals_the_last_row_of_forward(state);
        xent_equals_its_reference(state);
        xent_of_a_packed_head_equals_its_reference(state);
    }
    fmk_limit_isa(2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_equals_its_reference_forward_and_backward),
        cmocka_unit_test(attention_has_the_same_bits_for_any_thread_count),
        cmocka_unit_test(attention_never_sees_another_segment),
        cmocka_unit_test(a_segment_has_the_same_bits_alone_and_packed),
        cmocka_unit_test(attention_does_not_see_the_future),
        cmocka_unit_test(attention_takes_the_scratch_that_it_says_at_most),
        cmocka_unit_test(attention_gradient_equals_finite_differences),
        cmocka_unit_test(decoding_equals_the_last_row_of_forward),
        cmocka_unit_test(xent_equals_its_reference),
        cmocka_unit_test(xent_of_a_packed_head_equals_its_reference),
        cmocka_unit_test(xent_counts_a_tie_for_the_lowest_index_only),
        cmocka_unit_test(xent_has_the_same_bits_for_any_thread_count),
        cmocka_unit_test(xent_gradient_equals_finite_differences),
        cmocka_unit_test(every_instruction_set_gives_the_reference_results),
    };
    return cmocka_run_group_tests(tests, make_contexts, free_contexts);
}
