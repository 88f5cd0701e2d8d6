/* links: fmbase fmmodel */
/*
 * Generation on tiny random models: what each sampling filter keeps, against a sampler that sorts
 * everything; a text's independence of batch, threads and the other prompts for every kind of cache;
 * prompts longer than one pass; the caller's word after each token.
 */
#include "model_test.h"

#include <fmpipe/fs.h>
#include <math.h>
#include <stdlib.h>

enum { V = 61, DRAWS = 300, PROMPTS = 6, NEW = 24 };

/* Weights `spread` wider than a fresh model's, so that the next token is no matter of course. */
static fmp_model *new_model(uint32_t max_positions, int n_threads, fmp_precision precision, double spread)
{
    fmp_err err = FMP_ERR_INIT;
    const fmp_model_spec s = {.model_type = "llama",
                              .n_layers = 2,
                              .n_channels = 32,
                              .n_heads = 4,
                              .n_kv_heads = 2,
                              .head_size = 16,
                              .n_ff = 48,
                              .vocab_size = V,
                              .max_positions = max_positions,
                              .norm_eps = 1e-5,
                              .rope = {{.theta = 10000.0}},
                              .bos_id = -1,
                              .eos_id = -1,
                              .pad_id = -1};
    const fmp_model_options mo = {.n_threads = n_threads, .precision = precision};
    const fmp_train_options to = {.max_tokens = 1};
    fmp_model *m = NULL;
    fmp_trainer *tr = NULL;
    float *w = NULL;
    size_t n = 0;
    OK(fmp_model_new(&s, 5, &mo, &m, &err));
    OK(fmp_trainer_new(m, NULL, &to, &tr, &err));
    for (size_t i = 0; fmp_trainer_tensor(tr, i, &w, &n); i++) {
        for (size_t k = 0; k < n; k++) {
            w[k] += (float)(spread * fmp_rng_normal(99, i, k));
        }
    }
    fmp_trainer_free(tr);
    return m;
}

static uint32_t *random_ids(size_t n, uint64_t seed)
{
    uint32_t *id = malloc(n * sizeof *id);
    assert_non_null(id);
    for (size_t t = 0; t < n; t++) {
        id[t] = (uint32_t)fmp_rng_below(seed, 1, t, V);
    }
    return id;
}

/* logits (V) after the last of n ids, by a full pass */
static void last_logits(fmp_model *m, const uint32_t *id, size_t n, float *logits)
{
    fmp_err err = FMP_ERR_INIT;
    const uint32_t seg[2] = {0, (uint32_t)n};
    const fmp_batch b = {.n_tokens = n, .n_segments = 1, .id = id, .seg = seg};
    float *all = malloc(n * V * sizeof *all);
    assert_non_null(all);
    OK(fmp_model_logits(m, NULL, &b, all, &err));
    memcpy(logits, all + (n - 1) * V, V * sizeof *logits);
    free(all);
}

/* ---- sampling ---- */

typedef struct ranked {
    double p;
    uint32_t id;
} ranked;

static int by_rank(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->p != y->p) { return x->p > y->p ? -1 : 1; }
    return (x->id > y->id) - (x->id < y->id);
}

/* Word by word as model.h and sample.c define it: each filter on what the one before has left. */
static size_t filter(const fmp_generate_options *o, const float *logits, ranked *r)
{
    size_t n = V;
    double max = -INFINITY, total = 0.0, sum = 0.0;
    for (uint32_t j = 0; j < V; j++) {
        max = fmax(max, logits[j]);
    }
    for (uint32_t j = 0; j < V; j++) {
        r[j] = (ranked){.p = exp((logits[j] - max) / (double)o->temperature), .id = j};
    }
    qsort(r, V, sizeof *r, by_rank);
    if (o->top_k > 0 && o->top_k < n) { n = o->top_k; }
    for (size_t j = 0; j < n; j++) {
        total += r[j].p;
    }
    if (o->top_p > 0.0f && o->top_p < 1.0f) {
        size_t k = 0;
        while (k < n && sum / total < (double)o->top_p) {
            sum += r[k++].p;
        }
        n = k;
    }
    if (o->min_p > 0.0f) {
        size_t k = 1;
        while (k < n && r[k].p / r[0].p >= (double)o->min_p) {
            k++;
        }
        n = k;
    }
    return n;
}

static void check_draws(fmp_model *m, const uint32_t *id, const fmp_generate_options *o)
{
    fmp_err err = FMP_ERR_INIT;
    ranked r[V];
    float logits[V];
    static fmp_prompt prompts[DRAWS];
    static fmp_generated out[DRAWS];
    double mass = 0.0;
    fmp_arena *arena = fmp_arena_new(0);
    last_logits(m, id, 9, logits);
    size_t n = filter(o, logits, r), n_different = 0;
    for (size_t j = 0; j < n; j++) {
        mass += r[j].p;
    }
    for (size_t i = 0; i < DRAWS; i++) {
        prompts[i] = (fmp_prompt){.id = id, .n = 9, .stream = i};
    }
    OK(fmp_generate(m, NULL, prompts, DRAWS, o, arena, out, &err));
    for (size_t i = 0; i < DRAWS; i++) {
        double u = fmp_rng_unit(o->seed, i, 0) * mass;
        size_t j = 0;
        while (j + 1 < n && (u -= r[j].p) >= 0.0) {
            j++;
        }
        bool kept = false;
        for (size_t k = 0; k < n; k++) {
            kept = kept || r[k].id == out[i].id[0];
        }
        assert_true(kept);
        n_different += out[i].id[0] != r[j].id;
    }
    /* The two sum in other orders: a draw on the very edge between two tokens may fall to either side. */
    assert_true(n_different <= 1);
    fmp_arena_free(arena);
}

static void every_filter_keeps_what_its_definition_says(void **state)
{
    (void)state;
    static const fmp_generate_options cases[] = {
        {.temperature = 1.0f},
        {.temperature = 0.2f},
        {.temperature = 3.0f, .top_k = 1},
        {.temperature = 1.3f, .top_k = 5},
        {.temperature = 1.0f, .top_k = V + 10},
        {.temperature = 1.0f, .top_p = 0.01f},
        {.temperature = 1.0f, .top_p = 0.6f},
        {.temperature = 1.0f, .top_p = 1.0f},
        {.temperature = 1.0f, .min_p = 0.1f},
        {.temperature = 1.0f, .min_p = 1.0f},
        {.temperature = 1.5f, .top_k = 20, .top_p = 0.8f, .min_p = 0.05f},
        {.temperature = 0.7f, .top_k = 3, .top_p = 0.99f, .min_p = 0.001f},
    };
    fmp_model *m = new_model(64, 2, FMP_PRECISION_F32, 0.15);
    uint32_t *id = random_ids(9, 3);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fmp_generate_options o = cases[i];
        o.max_new_tokens = 1;
        o.seed = 40 + i;
        o.max_batch = 64;
        check_draws(m, id, &o);
    }
    free(id);
    fmp_model_free(m);
}

static void another_seed_or_stream_draws_other_texts(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_model *m = new_model(64, 1, FMP_PRECISION_F32, 0.15);
    uint32_t *id = random_ids(9, 3);
    fmp_arena *arena = fmp_arena_new(0);
    fmp_generated out[2], again[2];
    fmp_prompt prompts[2] = {{.id = id, .n = 9, .stream = 0}, {.id = id, .n = 9, .stream = 1}};
    fmp_generate_options o = {.max_new_tokens = NEW, .temperature = 1.0f, .seed = 1};
    OK(fmp_generate(m, NULL, prompts, 2, &o, arena, out, &err));
    assert_memory_not_equal(out[0].id, out[1].id, NEW * sizeof *out[0].id);
    o.seed = 2;
    OK(fmp_generate(m, NULL, prompts, 2, &o, arena, again, &err));
    assert_memory_not_equal(out[0].id, again[0].id, NEW * sizeof *out[0].id);
    fmp_arena_free(arena);
    free(id);
    fmp_model_free(m);
}

/* ---- the same text whatever runs beside it ---- */

static void a_text_is_the_same_in_any_company(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    static const size_t at[PROMPTS] = {0, 3, 9, 11, 20, 30}, n[PROMPTS] = {5, 1, 12, 30, 2, 60};
    uint32_t *id = random_ids(100, 8);
    fmp_prompt prompts[PROMPTS], backwards[PROMPTS];
    for (size_t i = 0; i < PROMPTS; i++) {
        prompts[i] = (fmp_prompt){.id = id + at[i], .n = n[i], .stream = 7 * i};
        backwards[PROMPTS - 1 - i] = prompts[i];
    }
    for (int kind = FMP_CACHE_F32; kind <= FMP_CACHE_Q8; kind++) {
        fmp_precision precision = kind == FMP_CACHE_BF16 ? FMP_PRECISION_BF16 : FMP_PRECISION_F32;
        fmp_generate_options o = {
            .max_new_tokens = NEW, .cache = (fmp_cache_kind)kind, .seed = 4, .max_batch = 1};
        o.temperature = 0.8f;
        o.min_p = 0.02f;
        fmp_arena *arena = fmp_arena_new(0);
        fmp_generated alone[PROMPTS], out[PROMPTS];
        fmp_model *m = new_model(128, 1, precision, 0.15);
        OK(fmp_generate(m, NULL, prompts, PROMPTS, &o, arena, alone, &err));
        fmp_model_free(m);
        for (int threads = 1; threads <= 3; threads++) {
            m = new_model(128, threads, precision, 0.15);
            for (o.max_batch = 2; o.max_batch <= PROMPTS; o.max_batch += 2) {
                OK(fmp_generate(m, NULL, backwards, PROMPTS, &o, arena, out, &err));
                for (size_t i = 0; i < PROMPTS; i++) {
                    assert_int_equal(out[PROMPTS - 1 - i].n, NEW);
                    assert_memory_equal(out[PROMPTS - 1 - i].id, alone[i].id, NEW * sizeof *alone[i].id);
                }
            }
            fmp_model_free(m);
        }
        fmp_arena_free(arena);
    }
    free(id);
}

/* How far below the best score of a full pass a greedy token lies, at most, in standard deviations. */
static double worst_choice(fmp_model *m, fmp_cache_kind kind, const uint32_t *id, size_t n_prompt)
{
    fmp_err err = FMP_ERR_INIT;
    uint32_t all[128];
    float logits[V];
    double worst = 0.0;
    fmp_arena *arena = fmp_arena_new(0);
    const fmp_prompt p = {.id = id, .n = n_prompt};
    const fmp_generate_options o = {.max_new_tokens = NEW, .cache = kind};
    fmp_generated out;
    OK(fmp_generate(m, NULL, &p, 1, &o, arena, &out, &err));
    memcpy(all, id, n_prompt * sizeof *id);
    memcpy(all + n_prompt, out.id, out.n * sizeof *id);
    for (size_t t = n_prompt; t < n_prompt + out.n; t++) {
        double max = -INFINITY, sum = 0.0, square = 0.0;
        last_logits(m, all, t, logits);
        for (size_t j = 0; j < V; j++) {
            max = fmax(max, logits[j]);
            sum += logits[j];
            square += (double)logits[j] * logits[j];
        }
        double deviation = sqrt(square / V - sum / V * (sum / V));
        worst = fmax(worst, (max - logits[all[t]]) / deviation);
    }
    fmp_arena_free(arena);
    return worst;
}

static void a_smaller_cache_chooses_among_near_equals_only(void **state)
{
    (void)state;
    fmp_model *m = new_model(128, 2, FMP_PRECISION_F32, 0.15);
    double worst[3] = {0};
    for (uint64_t seed = 0; seed < 5; seed++) {
        uint32_t *id = random_ids(40, 100 + seed);
        for (int kind = FMP_CACHE_F32; kind <= FMP_CACHE_Q8; kind++) {
            worst[kind] = fmax(worst[kind], worst_choice(m, (fmp_cache_kind)kind, id, 40));
        }
        free(id);
    }
    print_message(
        "chosen below the best score, at most, in standard deviations: f32 %.5f, bf16 %.5f, 8 bits %.5f\n",
        worst[0], worst[1], worst[2]);
    assert_true(worst[FMP_CACHE_F32] < 1e-4);
    assert_true(worst[FMP_CACHE_BF16] < 0.05);
    assert_true(worst[FMP_CACHE_Q8] < 0.15);
    assert_true(fmp_cache_bytes(m, FMP_CACHE_F32, 10) == (size_t)10 * 2 * 2 * 2 * 16 * 4);
    assert_true(fmp_cache_bytes(m, FMP_CACHE_Q8, 10) == (size_t)10 * 2 * 2 * 2 * (16 + 4));
    assert_true(fmp_cache_bytes(m, FMP_CACHE_F32, SIZE_MAX / 2) == SIZE_MAX);
    fmp_model_free(m);
}

static void a_prompt_longer_than_a_pass_is_read_whole(void **state)
{
    (void)state;
    enum { LONG = 8192 + 300 };
    fmp_err err = FMP_ERR_INIT;
    fmp_model *m = new_model(LONG + 8, 2, FMP_PRECISION_F32, 0.1);
    uint32_t *id = random_ids(LONG + 8, 12);
    float logits[V];
    fmp_arena *arena = fmp_arena_new(0);
    const fmp_prompt prompts[2] = {{.id = id, .n = LONG}, {.id = id + 5, .n = 3}};
    const fmp_generate_options o = {.max_new_tokens = 3};
    fmp_generated out[2];
    OK(fmp_generate(m, NULL, prompts, 2, &o, arena, out, &err));
    for (size_t t = 0; t < 3; t++) {
        last_logits(m, id, LONG + t, logits);
        for (size_t j = 0; j < V; j++) {
            assert_true(logits[j] <= logits[out[0].id[t]] + 1e-4f);
        }
        id[LONG + t] = out[0].id[t];
    }
    fmp_arena_free(arena);
    free(id);
    fmp_model_free(m);
}

/* ---- the caller's word ---- */

typedef struct listener {
    uint32_t got[PROMPTS][NEW];
    size_t n[PROMPTS];
    size_t end_prompt, end_at; /* this prompt's text is ended after so many tokens  */
    size_t fail_after;         /* an error after so many calls; 0: none             */
    size_t n_calls;
} listener;

static fmp_status listen(void *arg, size_t prompt, uint32_t id, bool *end, fmp_err *err)
{
    listener *l = arg;
    if (++l->n_calls == l->fail_after) { return fmp_fail(err, FMP_E_CANCELLED, "enough"); }
    l->got[prompt][l->n[prompt]++] = id;
    *end = prompt == l->end_prompt && l->n[prompt] == l->end_at;
    return FMP_OK;
}

static void the_caller_hears_every_token_and_may_end_a_text(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_model *m = new_model(128, 2, FMP_PRECISION_F32, 0.15);
    uint32_t *id = random_ids(60, 8);
    fmp_prompt prompts[PROMPTS];
    fmp_generated out[PROMPTS];
    for (size_t i = 0; i < PROMPTS; i++) {
        prompts[i] = (fmp_prompt){.id = id + i, .n = 3 + i};
    }
    fmp_arena *arena = fmp_arena_new(0);
    listener l = {.end_prompt = 2, .end_at = 7};
    fmp_generate_options o = {.max_new_tokens = NEW, .max_batch = 4, .on_token = listen, .on_token_arg = &l};
    OK(fmp_generate(m, NULL, prompts, PROMPTS, &o, arena, out, &err));
    for (size_t i = 0; i < PROMPTS; i++) {
        assert_int_equal(out[i].n, i == 2 ? 7 : NEW);
        assert_int_equal(out[i].ended, i == 2);
        assert_false(out[i].stopped);
        assert_int_equal(l.n[i], out[i].n);
        assert_memory_equal(l.got[i], out[i].id, out[i].n * sizeof *out[i].id);
    }
    l = (listener){.end_prompt = PROMPTS, .fail_after = 10};
    assert_int_equal(fmp_generate(m, NULL, prompts, PROMPTS, &o, arena, out, &err), FMP_E_CANCELLED);
    assert_int_equal(l.n_calls, 10);
    fmp_arena_free(arena);
    free(id);
    fmp_model_free(m);
}

/* ---- what is refused ---- */

static void options_out_of_range_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        fmp_generate_options o;
        const char *name;
    } cases[] = {
        {{.max_new_tokens = 0}, "max_new_tokens"},
        {{.max_new_tokens = 1, .temperature = -1.0f}, "temperature"},
        {{.max_new_tokens = 1, .temperature = NAN}, "temperature"},
        {{.max_new_tokens = 1, .top_p = 1.5f}, "top_p"},
        {{.max_new_tokens = 1, .min_p = -0.1f}, "min_p"},
    };
    fmp_err err = FMP_ERR_INIT;
    fmp_model *m = new_model(16, 1, FMP_PRECISION_F32, 0.1);
    fmp_arena *arena = fmp_arena_new(0);
    const uint32_t id[] = {1, 2, V};
    fmp_prompt p = {.id = id, .n = 2};
    fmp_generated out;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(fmp_generate(m, NULL, &p, 1, &cases[i].o, arena, &out, &err), FMP_E_RANGE);
        assert_non_null(strstr(err.message, cases[i].name));
    }
    const fmp_generate_options o = {.max_new_tokens = 1};
    p.n = 3;
    assert_int_equal(fmp_generate(m, NULL, &p, 1, &o, arena, &out, &err), FMP_E_DATA);
    assert_non_null(strstr(err.message, "token 2: id 61 is outside the vocabulary of 61"));
    fmp_arena_free(arena);
    fmp_model_free(m);
}

static void scores_that_are_not_finite_are_an_error(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_model *m = new_model(16, 1, FMP_PRECISION_F32, NAN);
    fmp_arena *arena = fmp_arena_new(0);
    const uint32_t id[] = {1, 2};
    const fmp_prompt p = {.id = id, .n = 2};
    const fmp_generate_options o = {.max_new_tokens = 4};
    fmp_generated out;
    assert_int_equal(fmp_generate(m, NULL, &p, 1, &o, arena, &out, &err), FMP_E_DATA);
    assert_string_equal(err.message, "prompt 0: the scores of token 0 are not finite numbers");
    fmp_arena_free(arena);
    fmp_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_filter_keeps_what_its_definition_says),
        cmocka_unit_test(another_seed_or_stream_draws_other_texts),
        cmocka_unit_test(a_text_is_the_same_in_any_company),
        cmocka_unit_test(a_smaller_cache_chooses_among_near_equals_only),
        cmocka_unit_test(a_prompt_longer_than_a_pass_is_read_whole),
        cmocka_unit_test(the_caller_hears_every_token_and_may_end_a_text),
        cmocka_unit_test(options_out_of_range_are_refused_by_name),
        cmocka_unit_test(scores_that_are_not_finite_are_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
