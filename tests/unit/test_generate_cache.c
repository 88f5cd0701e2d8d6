/* links: fmbase fmkernels */
/*
 * The cache of keys and values: what each kind keeps of a row, attention to it against the plain reference,
 * the same bits for any number of threads and whatever lies in other slots, and what 8 bits cost.
 */
#include "kernel_test.h"

enum { SLOTS = 3, CAP = 290, H = 6, G = 2, MAX_D = 256 };

static const int32_t slot[SLOTS] = {2, 0, 1}, len[SLOTS] = {1, 290, 150};

typedef struct cache {
    fmk_kv kv;
    float *k, *v; /* what was stored, (SLOTS,CAP,G,D) */
} cache;

static cache new_cache(fmk_kv_kind kind, int64_t D)
{
    size_t rows = (size_t)SLOTS * CAP * G, values = rows * (size_t)D;
    cache c = {.kv = {.kind = kind, .cap = CAP, .G = G, .D = D}};
    c.kv.k = calloc(values, sizeof(float));
    c.kv.v = calloc(values, sizeof(float));
    c.kv.k_scale = kind == FMK_KV_Q8 ? calloc(rows, sizeof(float)) : NULL;
    c.kv.v_scale = kind == FMK_KV_Q8 ? calloc(rows, sizeof(float)) : NULL;
    c.k = noise(2, (int64_t)values);
    c.v = noise(3, (int64_t)values);
    assert_true(c.kv.k && c.kv.v);
    return c;
}

static void store_all(const cache *c, bool by_reference)
{
    int64_t token = G * c->kv.D;
    for (int64_t s = 0; s < SLOTS; s++) {
        for (int64_t t = 0, n = 0; t < CAP; t += n) { /* 1, 2, 4, ... tokens at a time */
            n = t + 1 < CAP - t ? t + 1 : CAP - t;
            int64_t at = (s * CAP + t) * token;
            if (by_reference) {
                fmk_kv_store_ref(&c->kv, s, t, n, c->k + at, c->v + at);
            } else {
                fmk_kv_store(&c->kv, s, t, n, c->k + at, c->v + at);
            }
        }
    }
}

static void free_cache(cache *c)
{
    void *all[] = {c->kv.k, c->kv.v, c->kv.k_scale, c->kv.v_scale, c->k, c->v};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        free(all[i]);
    }
}

static void a_stored_row_is_the_references_row(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 17, 64};
    for (size_t i = 0; i < 3; i++) {
        int64_t values = (int64_t)SLOTS * CAP * G * sizes[i];
        for (int kind = FMK_KV_F32; kind <= FMK_KV_BF16; kind++) {
            cache a = new_cache((fmk_kv_kind)kind, sizes[i]), b = new_cache((fmk_kv_kind)kind, sizes[i]);
            store_all(&a, false);
            store_all(&b, true);
            assert_memory_equal(a.kv.k, b.kv.k,
                                (size_t)values * sizeof(float)); /* unused bytes are zero in both */
            assert_memory_equal(a.kv.v, b.kv.v, (size_t)values * sizeof(float));
            free_cache(&a);
            free_cache(&b);
        }
    }
}

static void an_8_bit_value_is_within_half_a_scale(void **state)
{
    (void)state;
    enum { D = 33 };
    cache c = new_cache(FMK_KV_Q8, D);
    for (int64_t d = 0; d < D; d++) {
        c.k[d] = 0.0f; /* a row of zeros has no scale to divide by */
        c.k[D + d] = d == 3 ? -1e30f : 1e28f;
    }
    store_all(&c, false);
    const int8_t *q = c.kv.k;
    for (int64_t row = 0; row < (int64_t)SLOTS * CAP * G; row++) {
        double scale = c.kv.k_scale[row];
        bool reached = scale == 0.0;
        for (int64_t d = 0; d < D; d++) {
            double x = c.k[row * D + d], kept = scale * q[row * D + d];
            assert_true(fabs(x - kept) <= 0.5 * scale * (1.0 + 1e-5));
            reached = reached || abs(q[row * D + d]) == 127;
        }
        assert_true(reached); /* the largest value uses the whole range */
    }
    assert_int_equal(q[D + 3], -127);
    free_cache(&c);
}

static fmk_kv_attn new_rows(int64_t window, float softcap)
{
    return (fmk_kv_attn){
        .B = SLOTS, .H = H, .window = window, .scale = 0.2f, .softcap = softcap, .slot = slot, .len = len};
}

static void attention_to_every_kind_is_the_references(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 16, 24, 80, MAX_D};
    for (int isa = 0; isa <= 2; isa++) {
        fmk_limit_isa(isa);
        for (int kind = FMK_KV_F32; kind <= FMK_KV_Q8; kind++) {
            for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
                int64_t n = SLOTS * H * sizes[i];
                cache c = new_cache((fmk_kv_kind)kind, sizes[i]);
                float *q = noise(1, n), *o = filled(n, 0), *want = filled(n, 0);
                fmk_kv_attn a = new_rows(i % 2 ? 70 : 0, i % 3 == 1 ? 2.5f : 0.0f);
                store_all(&c, false);
                fmk_kv_attend(CTX, &a, &c.kv, q, o);
                fmk_kv_attend_ref(&a, &c.kv, q, want);
                check_close("attention to the cache", n, o, want, 1e-5);
                free(q);
                free(o);
                free(want);
                free_cache(&c);
            }
        }
    }
    fmk_limit_isa(2);
}

static void neither_threads_nor_other_slots_show(void **state)
{
    (void)state;
    enum { D = 40, N = SLOTS * H * D };
    for (int kind = FMK_KV_F32; kind <= FMK_KV_Q8; kind++) {
        cache c = new_cache((fmk_kv_kind)kind, D);
        float *q = noise(1, N), *o = filled(N, 0), *alone = filled(H * D, 0);
        fmk_kv_attn a = new_rows(0, 0.0f);
        store_all(&c, false);
        fmk_kv_attend(ctxs[0], &a, &c.kv, q, o);
        for (int t = 1; t < N_CTX; t++) {
            float *again = filled(N, 0);
            fmk_kv_attend(ctxs[t], &a, &c.kv, q, again);
            assert_memory_equal(o, again, N * sizeof *o);
            free(again);
        }
        float *noisy = filled(G * D, NAN);
        for (int64_t t = 0; t < CAP; t++) { /* everything but slot 1's first 150 tokens is poisoned */
            fmk_kv_store(&c.kv, 0, t, 1, noisy, noisy);
            fmk_kv_store(&c.kv, 2, t, 1, noisy, noisy);
            if (t >= len[2]) { fmk_kv_store(&c.kv, 1, t, 1, noisy, noisy); }
        }
        a.B = 1;
        a.slot = slot + 2;
        a.len = len + 2;
        fmk_kv_attend(CTX, &a, &c.kv, q + (int64_t)2 * H * D, alone);
        assert_memory_equal(o + (int64_t)2 * H * D, alone, H * D * sizeof *o);
        free(noisy);
        free(alone);
        free(q);
        free(o);
        free_cache(&c);
    }
}

/* Largest error of a head's output, relative to the output's own size. */
static double worst_error(fmk_kv_kind kind)
{
    enum { D = 64, N = SLOTS * H * D };
    cache whole = new_cache(FMK_KV_F32, D), small = new_cache(kind, D);
    float *q = noise(1, N), *want = filled(N, 0), *got = filled(N, 0);
    const fmk_kv_attn a = new_rows(0, 0.0f);
    store_all(&whole, false);
    store_all(&small, false);
    fmk_kv_attend(CTX, &a, &whole.kv, q, want);
    fmk_kv_attend(CTX, &a, &small.kv, q, got);
    double worst = 0.0;
    for (int64_t head = 0; head < SLOTS * H; head++) {
        double error = 0.0, size = 0.0;
        for (int64_t d = head * D; d < (head + 1) * D; d++) {
            error += ((double)got[d] - want[d]) * ((double)got[d] - want[d]);
            size += (double)want[d] * want[d];
        }
        worst = fmax(worst, sqrt(error / size));
    }
    free(q);
    free(want);
    free(got);
    free_cache(&whole);
    free_cache(&small);
    return worst;
}

static void smaller_kinds_cost_what_they_are_said_to(void **state)
{
    (void)state;
    double bf16 = worst_error(FMK_KV_BF16), q8 = worst_error(FMK_KV_Q8);
    print_message("error of attention beside an f32 cache, heads of 64: bf16 %.2f %%, 8 bits %.2f %%\n",
                  100 * bf16, 100 * q8);
    assert_true(bf16 > 0.0 && bf16 < 0.01);
    assert_true(q8 > 0.0 && q8 < 0.03);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stored_row_is_the_references_row),
        cmocka_unit_test(an_8_bit_value_is_within_half_a_scale),
        cmocka_unit_test(attention_to_every_kind_is_the_references),
        cmocka_unit_test(neither_threads_nor_other_slots_show),
        cmocka_unit_test(smaller_kinds_cost_what_they_are_said_to),
    };
    return cmocka_run_group_tests(tests, make_contexts, free_contexts);
}
