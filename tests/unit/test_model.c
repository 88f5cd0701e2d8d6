/* links: fmbase fmkernels fmmodel */
/*
 * test_model.c: the decoder, training and generation on tiny random models: gradients against finite
 * differences, and the promises of model.h (packing, splitting, threads, resuming, merging, batching) bit for
 * bit where they are.
 */
#include "model_test.h"

#include <fmpipe/fs.h>
#include <fmpipe/json.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { V = 67, T = 61, N_SEG = 4 };

/* ---- fixtures ---- */

/* Larger weights than a fresh model's, so that attention is not flat and every gradient counts. */
static void shake(fmp_model *m)
{
    fmp_err err = FMP_ERR_INIT;
    const fmp_train_options o = {.max_tokens = 1};
    fmp_trainer *tr = NULL;
    OK(fmp_trainer_new(m, NULL, &o, &tr, &err));
    float *w = NULL;
    size_t n = 0;
    for (size_t i = 0; fmp_trainer_tensor(tr, i, &w, &n); i++) {
        for (size_t k = 0; k < n; k++) {
            w[k] += (float)(0.15 * fmp_rng_normal(99, i, k));
        }
    }
    fmp_trainer_free(tr);
}

static fmp_model *new_model(const fmp_model_spec *spec, int n_threads, fmp_precision precision)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_model *m = NULL;
    const fmp_model_options o = {.n_threads = n_threads, .precision = precision};
    OK(fmp_model_new(spec, 5, &o, &m, &err));
    shake(m);
    return m;
}

static fmp_model *tiny_model(const char *type, int n_threads)
{
    fmp_model_spec s = tiny_spec(type, 3, V);
    s.tied = strcmp(type, "qwen2") != 0;
    return new_model(&s, n_threads, FMP_PRECISION_F32);
}

static fmp_adapter *new_adapter(fmp_model *m, const char *const *targets, size_t n)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_adapter *ad = NULL;
    const fmp_adapter_options o = {.rank = 4, .alpha = 6.0, .targets = targets, .n_targets = n, .seed = 3};
    OK(fmp_adapter_new(m, &o, &ad, &err));
    return ad;
}

static fmp_adapter *all_linear(fmp_model *m)
{
    const char *const targets[] = {"all-linear"};
    return new_adapter(m, targets, 1);
}

static fmp_trainer *new_trainer(fmp_model *m, fmp_adapter *ad, size_t memory_bytes)
{
    fmp_err err = FMP_ERR_INIT;
    const fmp_train_options o = {.beta2 = 0.95f,
                                 .weight_decay = 0.1f,
                                 .clip_norm = 1.0f,
                                 .max_tokens = T,
                                 .memory_bytes = memory_bytes};
    fmp_trainer *tr = NULL;
    OK(fmp_trainer_new(m, ad, &o, &tr, &err));
    return tr;
}

/* B starts at zero; give it values, or A has no gradient. */
static void fill_b(fmp_trainer *tr)
{
    float *w = NULL;
    size_t n = 0;
    const char *name = NULL;
    for (size_t i = 0; (name = fmp_trainer_tensor(tr, i, &w, &n)) != NULL; i++) {
        for (size_t k = 0; k < n && strstr(name, "lora_B"); k++) {
            w[k] = (float)(0.1 * fmp_rng_normal(17, i, k));
        }
    }
}

typedef struct data {
    uint32_t id[T], seg[N_SEG + 1];
    float weight[T];
    fmp_batch batch;
    double total;
} data;

static void fill_data(data *d, uint64_t seed)
{
    static const uint32_t seg[N_SEG + 1] = {0, 9, 10, 40, T};
    memset(d, 0, sizeof *d);
    memcpy(d->seg, seg, sizeof seg);
    size_t s = 0;
    for (size_t t = 0; t < T; t++) {
        d->id[t] = (uint32_t)fmp_rng_below(seed, 1, t, V);
        bool first = s < N_SEG && d->seg[s] == t;
        s += first;
        d->weight[t] = first || t % 5 == 2 ? 0.0f : t % 7 == 3 ? 0.25f : 1.0f;
        d->total += d->weight[t];
    }
    d->batch =
        (fmp_batch){.n_tokens = T, .n_segments = N_SEG, .id = d->id, .weight = d->weight, .seg = d->seg};
}

/* The batch of segment s alone; offsets into `seg` (2). */
static fmp_batch segment_of(const data *d, size_t s, uint32_t seg[2])
{
    seg[0] = 0;
    seg[1] = d->seg[s + 1] - d->seg[s];
    return (fmp_batch){.n_tokens = seg[1],
                       .n_segments = 1,
                       .id = d->id + d->seg[s],
                       .weight = d->weight + d->seg[s],
                       .seg = seg};
}

static fmp_step one_step(fmp_trainer *tr, const data *d, float lr)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_step step = {0};
    OK(fmp_trainer_begin(tr, d->total, &err));
    OK(fmp_trainer_micro(tr, &d->batch, NULL, NULL, &err));
    OK(fmp_trainer_end(tr, lr, &step, &err));
    return step;
}

/* All trained values, one after another.   returned; free() */
static float *snapshot(fmp_trainer *tr, size_t *n_values)
{
    float *w = NULL, *all = NULL;
    size_t n = 0;
    *n_values = 0;
    for (size_t i = 0; fmp_trainer_tensor(tr, i, &w, &n); i++) {
        all = realloc(all, (*n_values + n) * sizeof *all);
        assert_non_null(all);
        memcpy(all + *n_values, w, n * sizeof *w);
        *n_values += n;
    }
    return all;
}

static char *temp_dir(void)
{
    char *dir = strdup("/tmp/fmp_test_model.XXXXXX");
    assert_non_null(dir);
    assert_non_null(mkdtemp(dir));
    return dir;
}

static void drop_dir(char *dir)
{
    fmp_err err = FMP_ERR_INIT;
    OK(fmp_remove_tree(dir, &err));
    free(dir);
}

/* ---- gradients ---- */

static double mean_loss(fmp_model *m, fmp_adapter *ad, const data *d)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_loss loss;
    OK(fmp_model_eval(m, ad, &d->batch, &loss, NULL, &err));
    return loss.nll / loss.weight;
}

/* d loss / d direction by central difference; the values are put back. */
static double slope(fmp_model *m, fmp_adapter *ad, const data *d, float *w, size_t n, const float *dir,
                    float eps)
{
    float *kept = malloc(n * sizeof *kept);
    assert_non_null(kept);
    memcpy(kept, w, n * sizeof *kept);
    for (size_t k = 0; k < n; k++) {
        w[k] = kept[k] + eps * dir[k];
    }
    double up = mean_loss(m, ad, d);
    for (size_t k = 0; k < n; k++) {
        w[k] = kept[k] - eps * dir[k];
    }
    double down = mean_loss(m, ad, d);
    memcpy(w, kept, n * sizeof *kept);
    free(kept);
    return (up - down) / (2.0 * (double)eps);
}

/* Each tensor along the signs of its gradient and along a random direction of +-1. */
static void check_gradients(fmp_model *m, fmp_adapter *ad, fmp_trainer *tr, const data *d)
{
    fmp_err err = FMP_ERR_INIT;
    OK(fmp_trainer_begin(tr, d->total, &err));
    OK(fmp_trainer_micro(tr, &d->batch, NULL, NULL, &err));
    float *w = NULL;
    size_t n = 0;
    const char *name = NULL;
    for (size_t i = 0; (name = fmp_trainer_tensor(tr, i, &w, &n)) != NULL; i++) {
        const float *g = fmp_trainer_grad(tr, name, NULL);
        float *dir = malloc(n * sizeof *dir);
        assert_non_null(dir);
        double norm1 = 0.0, norm2 = 0.0;
        for (size_t k = 0; k < n; k++) {
            dir[k] = g[k] < 0.0f ? -1.0f : 1.0f;
            norm1 += fabs((double)g[k]);
            norm2 += (double)g[k] * g[k];
        }
        norm2 = sqrt(norm2);
        /* a key's bias adds the same to all scores of a row: its gradient is zero but for rounding */
        bool zero = strstr(name, "k_proj.bias") && norm2 < 1e-3;
        assert_true(zero || norm1 > 1e-4);
        float eps = (float)fmin(2e-3, fmax(1e-3 / norm1, 2e-5));
        double noise = 4e-7 / (double)eps;
        double along = slope(m, ad, d, w, n, dir, eps);
        if (!(fabs(along - norm1) <= 0.01 * norm1 + noise)) {
            fail_msg("%s: along its signs %g, expected %g", name, along, norm1);
        }
        double expected = 0.0;
        for (size_t k = 0; k < n; k++) {
            dir[k] = fmp_rng_u64(4, i, k) & 1 ? 1.0f : -1.0f;
            expected += (double)g[k] * dir[k];
        }
        eps = (float)fmin(5e-3, fmax(1e-3 / norm2, 2e-5));
        noise = 4e-7 / (double)eps;
        double across = slope(m, ad, d, w, n, dir, eps);
        if (!(fabs(across - expected) <= 0.03 * norm2 + noise)) {
            fail_msg("%s: at random %g, expected %g (norm %g)", name, across, expected, norm2);
        }
        free(dir);
    }
}

static void check_full_gradients(fmp_model *m)
{
    data d;
    fill_data(&d, 21);
    fmp_trainer *tr = new_trainer(m, NULL, 0);
    check_gradients(m, NULL, tr, &d);
    fmp_trainer_free(tr);
    fmp_model_free(m);
}

static void full_gradients_match_finite_differences(void **state)
{
    (void)state;
    static const char *const types[] = {"llama", "qwen2", "qwen3", "smollm3"};
    for (int i = 0; i < 4; i++) {
        check_full_gradients(tiny_model(types[i], 2));
    }
}

static void full_gradients_with_biases_windows_and_scaled_rope_match(void **state)
{
    (void)state;
    fmp_layer_spec layers[3] = {{.rope = true, .window = 7}, {.rope = true}, {.rope = true, .window = 7}};
    fmp_model_spec s = tiny_spec("mistral", 3, V);
    s.layers = layers;
    s.rope[0].kind = FMP_ROPE_LINEAR;
    s.rope[0].factor = 2.0;
    check_full_gradients(new_model(&s, 2, FMP_PRECISION_F32));
    s = tiny_spec("llama", 3, V);
    for (int l = 0; l < 3; l++) {
        layers[l] = (fmp_layer_spec){.rope = true, .qkv_bias = true, .o_bias = true, .mlp_bias = true};
    }
    s.layers = layers;
    s.tied = false;
    s.rope[0].kind = FMP_ROPE_LLAMA3;
    s.rope[0].factor = 8.0;
    s.rope[0].low_freq = 1.0;
    s.rope[0].high_freq = 4.0;
    s.rope[0].original_positions = 32;
    check_full_gradients(new_model(&s, 2, FMP_PRECISION_F32));
}

static void check_lora_gradients(const char *type, const char *const *targets, size_t n)
{
    data d;
    fill_data(&d, 22);
    fmp_model *m = tiny_model(type, 2);
    fmp_adapter *ad = new_adapter(m, targets, n);
    fmp_trainer *tr = new_trainer(m, ad, 0);
    fill_b(tr);
    check_gradients(m, ad, tr, &d);
    fmp_trainer_free(tr);
    fmp_adapter_free(ad);
    fmp_model_free(m);
}

static void lora_gradients_match_finite_differences(void **state)
{
    (void)state;
    static const char *const all[] = {"all-linear"}, *const attention[] = {"q_proj", "v_proj"},
                             *const down[] = {"model.layers.1.mlp.down_proj",
                                              "model.layers.2.self_attn.k_proj"},
                             *const gate[] = {"model.layers.[12].mlp.gate_proj"}, *const o[] = {"o_proj"};
    check_lora_gradients("llama", all, 1);
    check_lora_gradients("qwen2", all, 1);
    check_lora_gradients("qwen3", all, 1);
    check_lora_gradients("llama", attention, 2);
    check_lora_gradients("llama", down, 2);
    check_lora_gradients("qwen3", gate, 1);
    check_lora_gradients("llama", o, 1);
}

/* ---- packing, splitting, recomputing ---- */

static void a_packed_segment_has_the_bits_of_the_segment_alone(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    data d;
    fill_data(&d, 23);
    fmp_model *m = tiny_model("qwen3", 2);
    fmp_loss sum, packed[N_SEG];
    OK(fmp_model_eval(m, NULL, &d.batch, &sum, packed, &err));
    float *logits = malloc((size_t)T * V * sizeof *logits), *alone = malloc((size_t)T * V * sizeof *alone);
    assert_true(logits && alone);
    OK(fmp_model_logits(m, NULL, &d.batch, logits, &err));
    double nll = 0.0;
    for (size_t s = 0; s < N_SEG; s++) {
        uint32_t seg[2];
        fmp_batch b = segment_of(&d, s, seg);
        fmp_loss one;
        OK(fmp_model_eval(m, NULL, &b, &one, NULL, &err));
        assert_memory_equal(&one, &packed[s], sizeof one);
        OK(fmp_model_logits(m, NULL, &b, alone, &err));
        assert_memory_equal(alone, logits + (size_t)d.seg[s] * V, (size_t)seg[1] * V * sizeof *alone);
        nll += one.nll;
    }
    assert_true(fabs(nll - sum.nll) < 1e-9 * sum.nll);
    free(logits);
    free(alone);
    fmp_model_free(m);
}

static void compare_gradients(fmp_trainer *a, fmp_trainer *b, double tolerance)
{
    const char *name = NULL;
    size_t n = 0;
    for (size_t i = 0; (name = fmp_trainer_tensor(a, i, NULL, &n)) != NULL; i++) {
        const float *x = fmp_trainer_grad(a, name, NULL), *y = fmp_trainer_grad(b, name, NULL);
        double diff = 0.0, norm = 0.0;
        for (size_t k = 0; k < n; k++) {
            diff += ((double)x[k] - y[k]) * ((double)x[k] - y[k]);
            norm += (double)x[k] * x[k];
        }
        if (sqrt(diff) > tolerance * sqrt(norm) + 1e-9) {
            fail_msg("%s: %g of %g", name, sqrt(diff), sqrt(norm));
        }
    }
}

static void a_split_batch_has_the_gradient_of_the_whole(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    data d;
    fill_data(&d, 24);
    fmp_model *m = tiny_model("llama", 2);
    fmp_adapter *ad = all_linear(m);
    fmp_trainer *whole = new_trainer(m, ad, 0), *split = new_trainer(m, ad, 0);
    fill_b(whole);
    OK(fmp_trainer_begin(whole, d.total, &err));
    OK(fmp_trainer_micro(whole, &d.batch, NULL, NULL, &err));
    OK(fmp_trainer_begin(split, d.total, &err));
    for (size_t s = 0; s < N_SEG; s++) {
        uint32_t seg[2];
        fmp_batch b = segment_of(&d, s, seg);
        OK(fmp_trainer_micro(split, &b, NULL, NULL, &err));
    }
    compare_gradients(whole, split, 1e-5);
    fmp_step a, b;
    OK(fmp_trainer_end(whole, 0.0f, &a, &err));
    OK(fmp_trainer_end(split, 0.0f, &b, &err));
    assert_true(fabs(a.loss - b.loss) < 1e-7);
    assert_true(fabs(a.grad_norm - b.grad_norm) < 1e-5 * a.grad_norm);
    assert_int_equal(b.n_tokens, T);
    fmp_trainer_free(whole);
    fmp_trainer_free(split);
    fmp_adapter_free(ad);
    fmp_model_free(m);
}

/* Trained values after `steps` steps.   returned; free() */
static float *train(const char *type, bool lora, int n_threads, size_t memory_bytes, int steps, size_t *n)
{
    fmp_model *m = tiny_model(type, n_threads);
    fmp_adapter *ad = lora ? all_linear(m) : NULL;
    fmp_trainer *tr = new_trainer(m, ad, memory_bytes);
    for (int i = 0; i < steps; i++) {
        data d;
        fill_data(&d, 100 + (uint64_t)i);
        assert_true(one_step(tr, &d, 3e-3f).applied);
    }
    float *values = snapshot(tr, n);
    fmp_trainer_free(tr);
    fmp_adapter_free(ad);
    fmp_model_free(m);
    return values;
}

/* Large enough that kernels do share their work between threads. */
static fmp_model *larger_model(int n_threads, fmp_precision precision)
{
    fmp_model_spec s = tiny_spec("qwen3", 3, V);
    s.n_channels = 128;
    s.n_heads = 8;
    s.n_kv_heads = 4;
    s.head_size = 16;
    s.n_ff = 320;
    s.vocab_size = 512;
    s.max_positions = 256;
    return new_model(&s, n_threads, precision);
}

/* Trained values of a larger model after three steps of 500 tokens.   returned; free() */
static float *train_larger(bool lora, int n_threads, fmp_precision precision, size_t *n)
{
    enum { LONG = 500 };
    static uint32_t id[LONG];
    static float weight[LONG];
    static const uint32_t seg[] = {0, 180, 200, 431, LONG};
    fmp_err err = FMP_ERR_INIT;
    fmp_model *m = larger_model(n_threads, precision);
    fmp_adapter *ad = lora ? all_linear(m) : NULL;
    const fmp_train_options o = {.weight_decay = 0.1f, .clip_norm = 1.0f, .max_tokens = LONG};
    fmp_trainer *tr = NULL;
    OK(fmp_trainer_new(m, ad, &o, &tr, &err));
    for (uint64_t i = 0; i < 3; i++) {
        double total = 0.0;
        for (size_t t = 0; t < LONG; t++) {
            id[t] = (uint32_t)fmp_rng_below(9, i, t, 512);
            bool first = t == seg[0] || t == seg[1] || t == seg[2] || t == seg[3];
            weight[t] = first || t % 3 == 1 ? 0.0f : 1.0f;
            total += weight[t];
        }
        const fmp_batch b = {.n_tokens = LONG, .n_segments = 4, .id = id, .weight = weight, .seg = seg};
        fmp_step step = {0};
        OK(fmp_trainer_begin(tr, total, &err));
        OK(fmp_trainer_micro(tr, &b, NULL, NULL, &err));
        OK(fmp_trainer_end(tr, 1e-3f, &step, &err));
        assert_true(step.applied);
    }
    float *values = snapshot(tr, n);
    fmp_trainer_free(tr);
    fmp_adapter_free(ad);
    fmp_model_free(m);
    return values;
}

static void training_has_the_same_bits_for_any_number_of_threads(void **state)
{
    (void)state;
    static const int threads[] = {2, 3, 8};
    for (int mode = 0; mode < 4; mode++) {
        size_t n = 0, k = 0;
        fmp_precision precision = mode / 2 ? FMP_PRECISION_BF16 : FMP_PRECISION_F32;
        float *one = train_larger(mode % 2, 1, precision, &n);
        for (int i = 0; i < 3; i++) {
            float *many = train_larger(mode % 2, threads[i], precision, &k);
            assert_int_equal(n, k);
            assert_memory_equal(one, many, n * sizeof *one);
            free(many);
        }
        free(one);
    }
}

static void recomputed_activations_give_the_same_bits(void **state)
{
    (void)state;
    for (int lora = 0; lora < 2; lora++) {
        size_t n = 0, k = 0;
        float *kept = train("qwen3", lora, 2, 0, 3, &n), *again = train("qwen3", lora, 2, 1, 3, &k);
        assert_int_equal(n, k);
        assert_memory_equal(kept, again, n * sizeof *kept);
        free(kept);
        free(again);
    }
    fmp_model *m = tiny_model("llama", 1);
    fmp_train_options o = {.max_tokens = 1000};
    fmp_memory_plan all, least;
    fmp_trainer_plan(m, NULL, &o, &all);
    o.memory_bytes = 1;
    fmp_trainer_plan(m, NULL, &o, &least);
    assert_true(least.bytes < all.bytes && least.bytes == all.least_bytes);
    fmp_model_free(m);
}

static void training_lowers_the_loss(void **state)
{
    (void)state;
    for (int mode = 0; mode < 3; mode++) {
        data d;
        fill_data(&d, 31);
        fmp_model_spec s = tiny_spec("llama", 3, V);
        fmp_model *m = new_model(&s, 2, mode == 2 ? FMP_PRECISION_BF16 : FMP_PRECISION_F32);
        fmp_adapter *ad = mode == 0 ? NULL : all_linear(m);
        fmp_trainer *tr = new_trainer(m, ad, 0);
        double before = one_step(tr, &d, 1e-2f).loss;
        fmp_step step = {0};
        for (int i = 0; i < 60; i++) {
            step = one_step(tr, &d, 1e-2f);
        }
        assert_true(step.loss < 0.6 * before);
        assert_int_equal(step.step, 61);
        fmp_trainer_free(tr);
        fmp_adapter_free(ad);
        fmp_model_free(m);
    }
}

/* ---- guard, checkpoints ---- */

static void a_non_finite_step_changes_nothing_and_says_so(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    data d;
    fill_data(&d, 41);
    fmp_model *m = tiny_model("llama", 2);
    fmp_adapter *ad = all_linear(m);
    fmp_trainer *tr = new_trainer(m, ad, 0);
    (void)one_step(tr, &d, 1e-3f);
    float *w = NULL;
    (void)fmp_trainer_tensor(tr, 1, &w, NULL);
    float kept = w[0];
    w[0] = INFINITY;
    size_t n = 0, k = 0;
    float *before = snapshot(tr, &n);
    fmp_step step;
    fmp_loss seg_loss[N_SEG];
    OK(fmp_trainer_begin(tr, d.total, &err));
    OK(fmp_trainer_micro(tr, &d.batch, NULL, seg_loss, &err));
    OK(fmp_trainer_end(tr, 1e-3f, &step, &err));
    assert_false(step.applied);
    assert_int_equal(step.step, 1);
    assert_false(isfinite(step.loss) && isfinite(step.grad_norm));
    float *after = snapshot(tr, &k);
    assert_memory_equal(before, after, n * sizeof *before);
    w[0] = kept;
    step = one_step(tr, &d, 1e-3f);
    assert_true(step.applied);
    assert_int_equal(step.step, 2);
    free(before);
    free(after);
    fmp_trainer_free(tr);
    fmp_adapter_free(ad);
    fmp_model_free(m);
}

static void check_resume(bool lora)
{
    fmp_err err = FMP_ERR_INIT;
    size_t n = 0, k = 0;
    float *straight = train("llama", lora, 2, 0, 6, &n);
    char *dir = temp_dir();
    for (int part = 0; part < 2; part++) {
        fmp_model *m = tiny_model("llama", part + 1);
        fmp_adapter *ad = lora ? all_linear(m) : NULL;
        fmp_trainer *tr = new_trainer(m, ad, 0);
        if (part == 1) { OK(fmp_trainer_load(tr, dir, &err)); }
        for (int i = 3 * part; i < 3 * part + 3; i++) {
            data d;
            fill_data(&d, 100 + (uint64_t)i);
            (void)one_step(tr, &d, 3e-3f);
        }
        if (part == 0) { OK(fmp_trainer_save(tr, dir, &err)); }
        if (part == 1) {
            float *resumed = snapshot(tr, &k);
            assert_int_equal(n, k);
            assert_memory_equal(straight, resumed, n * sizeof *resumed);
            free(resumed);
        }
        fmp_trainer_free(tr);
        fmp_adapter_free(ad);
        fmp_model_free(m);
    }
    free(straight);
    drop_dir(dir);
}

static void a_resumed_run_has_the_bits_of_a_straight_one(void **state)
{
    (void)state;
    check_resume(true);
    check_resume(false);
}

static void a_checkpoint_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_model *m = tiny_model("llama", 1);
    fmp_adapter *all = all_linear(m);
    const char *const names[] = {"q_proj"};
    fmp_adapter *some = new_adapter(m, names, 1);
    fmp_trainer *a = new_trainer(m, all, 0), *b = new_trainer(m, some, 0);
    char *dir = temp_dir();
    OK(fmp_trainer_save(a, dir, &err));
    assert_int_equal(fmp_trainer_load(b, dir, &err), FMP_E_MISMATCH);
    char *path = fmp_path_join(dir, "trainer.safetensors");
    fmp_buf bytes = {0};
    OK(fmp_read_file(path, 0, &bytes, &err));
    bytes.data[bytes.len - 1] ^= 1;
    OK(fmp_write_file(path, bytes.data, bytes.len, &err));
    assert_int_equal(fmp_trainer_load(a, dir, &err), FMP_E_MISMATCH);
    assert_non_null(strstr(err.message, "SHA-256"));
    fmp_buf_free(&bytes);
    free(path);
    drop_dir(dir);
    fmp_trainer_free(a);
    fmp_trainer_free(b);
    fmp_adapter_free(all);
    fmp_adapter_free(some);
    fmp_model_free(m);
}

/* ---- files ---- */

static const fmp_model_options two_threads = {.n_threads = 2, .precision = FMP_PRECISION_F32};

static void a_saved_model_opens_as_the_same_model(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    static const char *const types[] = {"llama", "mistral", "qwen2", "qwen3", "smollm3"};
    for (int i = 0; i < 5; i++) {
        char *dir = temp_dir();
        char before[65], after[65], again[65];
        fmp_model *m = tiny_model(types[i], 1), *back = NULL, *third = NULL;
        OK(fmp_model_digest(m, before, &err));
        OK(fmp_model_save(m, NULL, dir, FMP_DTYPE_F32, &err));
        OK(fmp_model_open(dir, &two_threads, &back, &err));
        OK(fmp_model_digest(back, after, &err));
        assert_string_equal(before, after);
        assert_int_equal(fmp_model_n_params(m), fmp_model_n_params(back));
        char *half = fmp_path_join(dir, "half");
        OK(fmp_model_save(back, NULL, half, FMP_DTYPE_BF16, &err));
        OK(fmp_model_open(half, &two_threads, &third, &err));
        OK(fmp_model_digest(third, again, &err));
        assert_string_not_equal(before, again);
        free(half);
        fmp_model_free(third);
        fmp_model_free(back);
        fmp_model_free(m);
        drop_dir(dir);
    }
}

static double largest_difference(const float *a, const float *b, size_t n, double *scale)
{
    double most = 0.0;
    *scale = 0.0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)a[i] - b[i]));
        *scale = fmax(*scale, fabs((double)a[i]));
    }
    return most;
}

static void a_saved_adapter_loads_with_its_values_and_merges_into_the_same_logits(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    data d;
    fill_data(&d, 51);
    char *dir = temp_dir(), *merged_dir = fmp_path_join(dir, "merged");
    fmp_model *m = tiny_model("qwen2", 2), *merged = NULL;
    fmp_adapter *ad = all_linear(m), *back = NULL;
    fmp_trainer *tr = new_trainer(m, ad, 0);
    fill_b(tr);
    for (int i = 0; i < 3; i++) {
        (void)one_step(tr, &d, 1e-2f);
    }
    fmp_trainer_free(tr);
    size_t n = (size_t)T * V;
    float *base = malloc(n * sizeof *base), *beside = malloc(n * sizeof *beside),
          *other = malloc(n * sizeof *other);
    assert_true(base && beside && other);
    OK(fmp_model_logits(m, NULL, &d.batch, base, &err));
    OK(fmp_model_logits(m, ad, &d.batch, beside, &err));
    OK(fmp_adapter_save(ad, dir, "base", FMP_DTYPE_F32, &err));
    OK(fmp_adapter_load(m, dir, &back, &err));
    OK(fmp_model_logits(m, back, &d.batch, other, &err));
    assert_memory_equal(beside, other, n * sizeof *other);
    OK(fmp_model_save(m, ad, merged_dir, FMP_DTYPE_F32, &err));
    OK(fmp_model_open(merged_dir, &two_threads, &merged, &err));
    OK(fmp_model_logits(merged, NULL, &d.batch, other, &err));
    double scale = 0.0;
    assert_true(largest_difference(beside, base, n, &scale) > 1e-2 * scale);
    assert_true(largest_difference(beside, other, n, &scale) < 1e-5 * scale);
    free(base);
    free(beside);
    free(other);
    free(merged_dir);
    drop_dir(dir);
    fmp_adapter_free(ad);
    fmp_adapter_free(back);
    fmp_model_free(merged);
    fmp_model_free(m);
}

/* The configuration of a published adapter, with fields this library has never heard of. */
static void a_published_peft_configuration_is_read(void **state)
{
    (void)state;
    const char *data_dir = getenv("FMP_SHARED_DATA");
    if (!data_dir) {
        print_message("FMP_SHARED_DATA is not set: skipped\n");
        skip();
    }
    fmp_err err = FMP_ERR_INIT;
    char *from = fmp_path_join(data_dir, "peft-facts/Phishing-analyzer-LoRA.json"), *dir = temp_dir();
    char *config = fmp_path_join(dir, "adapter_config.json");
    fmp_model *m = tiny_model("qwen2", 1);
    const char *const targets[] = {"all-linear"};
    const fmp_adapter_options o = {.rank = 8, .alpha = 1.0, .targets = targets, .n_targets = 1, .seed = 3};
    fmp_adapter *ad = NULL, *back = NULL;
    OK(fmp_adapter_new(m, &o, &ad, &err));
    OK(fmp_adapter_save(ad, dir, "base", FMP_DTYPE_F32, &err));
    cJSON *facts = NULL;
    OK(fmp_json_load(from, NULL, &facts, &err));
    char *text = fmp_json_text(fmp_json_get(facts, "adapter_config"), FMP_JSON_PRETTY);
    assert_non_null(text);
    OK(fmp_write_file(config, text, strlen(text), &err));
    OK(fmp_adapter_load(m, dir, &back, &err));
    assert_int_equal(fmp_adapter_n_params(back), fmp_adapter_n_params(ad));
    char *dora = strstr(text, "\"use_dora\": false");
    assert_non_null(dora);
    memcpy(dora + strlen("\"use_dora\": "), "true ", 5);
    OK(fmp_write_file(config, text, strlen(text), &err));
    fmp_adapter_free(back);
    assert_int_equal(fmp_adapter_load(m, dir, &back, &err), FMP_E_DATA); /* and no magnitudes */
    assert_non_null(strstr(err.message, "layers.0.self_attn.q_proj.lora_magnitude_vector' is missing"));
    memcpy(dora + strlen("\"use_dora\": "), "false", 5);
    char *bias = strstr(text, "\"lora_bias\": false");
    assert_non_null(bias);
    memcpy(bias + strlen("\"lora_bias\": "), "true ", 5);
    OK(fmp_write_file(config, text, strlen(text), &err));
    assert_int_equal(fmp_adapter_load(m, dir, &back, &err), FMP_E_UNSUPPORTED);
    assert_string_equal(err.message, "'lora_bias' is set, which adapters here do not have");
    memcpy(bias, "\"kasa_config\": 1  ", strlen("\"lora_bias\": true "));
    OK(fmp_write_file(config, text, strlen(text), &err));
    assert_int_equal(fmp_adapter_load(m, dir, &back, &err), FMP_E_UNSUPPORTED);
    assert_string_equal(err.message, "'kasa_config' is set, which adapters here do not have");
    cJSON_Delete(facts);
    free(text);
    free(from);
    free(config);
    fmp_adapter_free(ad);
    fmp_model_free(m);
    drop_dir(dir);
}

static void an_adapter_for_another_shape_is_refused_by_tensor_name(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    char *dir = temp_dir();
    fmp_model *m = tiny_model("llama", 1), *wide = NULL;
    fmp_model_spec s = tiny_spec("llama", 3, V);
    s.n_ff = 56;
    OK(fmp_model_new(&s, 1, &two_threads, &wide, &err));
    fmp_adapter *ad = all_linear(m), *back = NULL;
    OK(fmp_adapter_save(ad, dir, NULL, FMP_DTYPE_BF16, &err));
    assert_int_equal(fmp_adapter_load(wide, dir, &back, &err), FMP_E_MISMATCH);
    assert_null(back);
    assert_non_null(strstr(err.message, "model.layers.0.mlp.gate_proj.lora_B.weight"));
    fmp_adapter_free(ad);
    fmp_model_free(wide);
    fmp_model_free(m);
    drop_dir(dir);
}

static void a_target_that_matches_nothing_is_an_error(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_model *m = tiny_model("llama", 1);
    fmp_adapter *ad = NULL;
    const char *const targets[] = {"q_proj", "proj"};
    const fmp_adapter_options o = {.rank = 4, .alpha = 8.0, .targets = targets, .n_targets = 2};
    assert_int_equal(fmp_adapter_new(m, &o, &ad, &err), FMP_E_CONFIG);
    assert_string_equal(err.message, "target 'proj' matches no linear layer");
    fmp_model_free(m);
}

static void what_the_decoder_lacks_is_refused_by_name(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    static const char *const cases[][2] = {
        {"\"model_type\":\"gpt2\"", "'model_type': expected one of llama, mistral, qwen2, qwen3, smollm3, "
                                    "gemma, gemma2, gemma3_text, phi3, "
                                    "olmo2, fmpipe; found 'gpt2'"},
        {"\"model_type\":\"llama\",\"hidden_act\":\"gelu\"", "'hidden_act': expected 'silu', found 'gelu'"},
        {"\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"mrope\",\"factor\":2}",
         "rope type: expected default, linear, dynamic, llama3, yarn or longrope, found 'mrope'"},
        {"\"model_type\":\"phi3\",\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,2,3]}",
         "'short_factor': expected 4 numbers"},
        {"\"model_type\":\"llama\",\"partial_rotary_factor\":0.5",
         "'partial_rotary_factor' other than 1 in a 'llama' decoder"},
        {"\"model_type\":\"llama\",\"attn_logit_softcapping\":50",
         "'attn_logit_softcapping' is set, which a 'llama' decoder does not have here"},
        {"\"model_type\":\"gemma2\",\"hidden_activation\":\"relu\"",
         "'hidden_activation': expected 'gelu_pytorch_tanh', found 'relu'"},
        {"\"model_type\":\"gemma3_text\",\"use_bidirectional_attention\":true",
         "'use_bidirectional_attention' is set, which a 'gemma3_text' decoder does not have here"},
        {"\"model_type\":\"fmpipe\",\"num_kv_shared_layers\":1",
         "'num_kv_shared_layers': expected a whole number of 0 to 0"},
        {"\"model_type\":\"llama\",\"quantization_config\":{\"bits\":4}",
         "'quantization_config' is set, which a 'llama' decoder does not have here"},
        {"\"model_type\":\"llama\",\"num_key_value_heads\":3",
         "4 query heads do not divide into 3 key/value heads"},
        {"\"model_type\":\"llama\",\"head_dim\":7", "head size 7: expected an even number of 2 to 256"},
        {"\"model_type\":\"llama\",\"num_hidden_layers\":1e9",
         "'num_hidden_layers': expected a whole number of 1 to 1024"},
        {"\"model_type\":\"qwen2\",\"layer_types\":[\"linear_attention\"]",
         "'layer_types[0]': expected full_attention or sliding_attention, found 'linear_attention'"},
        {"\"model_type\":\"llama\",\"sliding_window\":4,\"layer_types\":[\"sliding_attention\"]",
         "'layer_types[0]': all layers of a 'llama' decoder have full attention"},
        {"\"model_type\":\"phi3\",\"sliding_window\":4,\"layer_types\":[\"full_attention\"]",
         "'layer_types[0]': all layers of a 'phi3' decoder have the window"},
        {"\"model_type\":\"qwen2\",\"layer_types\":[\"full_attention\",\"full_attention\"]",
         "'layer_types': expected 1 names, found 2"},
        {"\"model_type\":\"qwen2\",\"eos_token_id\":\"2\"",
         "'eos_token_id': expected a token id, or several"},
        {"\"model_type\":\"qwen2\",\"use_sliding_window\":\"true\"",
         "'use_sliding_window': expected true or false"},
        {"\"model_type\":\"llama\",\"attention_bias\":1", "'attention_bias': expected true or false"},
        {"\"model_type\":\"llama\",\"tie_word_embeddings\":\"false\"",
         "'tie_word_embeddings': expected true or false"},
        {"\"model_type\":\"llama\",\"hidden_act\":5", "'hidden_act': expected a name"},
        {"\"model_type\":\"llama\",\"rope_scaling\":{\"type\":3,\"factor\":2}",
         "'type' of RoPE: expected a name"},
        {"\"model_type\":\"llama\",\"rope_parameters\":\"x\"",
         "'rope_scaling' or 'rope_parameters': expected an object or null"},
        {"\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"linear\",\"factor\":4},"
         "\"rope_parameters\":{\"rope_type\":\"default\"}",
         "'rope_scaling' and 'rope_parameters' say different things"},
    };
    char *dir = temp_dir(), *path = fmp_path_join(dir, "config.json");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        bool layers = strstr(cases[i][0], "num_hidden_layers") != NULL;
        int n = snprintf(text, sizeof text,
                         "{\"hidden_size\":32,%s\"num_attention_heads\":4,\"intermediate_size\":48,"
                         "\"vocab_size\":67,\"max_position_embeddings\":64,%s}",
                         layers ? "" : "\"num_hidden_layers\":1,", cases[i][0]);
        OK(fmp_write_file(path, text, (size_t)n, &err));
        fmp_model *m = NULL;
        assert_int_not_equal(fmp_model_open(dir, &two_threads, &m, &err), FMP_OK);
        assert_string_equal(err.message, cases[i][1]);
        assert_string_equal(err.file, path);
    }
    free(path);
    drop_dir(dir);
}

static void caps_and_factors_are_written_with_a_point(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_model_spec s = tiny_spec("gemma2", 2, V);
    s.attn_softcap = 50.0;
    s.logit_softcap = 30.0;
    s.rope[0].kind = FMP_ROPE_LINEAR;
    s.rope[0].factor = 2.0;
    fmp_model *m = new_model(&s, 1, FMP_PRECISION_F32);
    char *dir = temp_dir(), *path = fmp_path_join(dir, "config.json");
    fmp_buf text = {0};
    OK(fmp_model_save(m, NULL, dir, FMP_DTYPE_F32, &err));
    OK(fmp_read_file(path, 0, &text, &err));
    assert_non_null(strstr(text.data, "\"attn_logit_softcapping\": 50.0,"));
    assert_non_null(strstr(text.data, "\"final_logit_softcapping\": 30.0,"));
    assert_non_null(strstr(text.data, "\"factor\": 2.0"));
    fmp_buf_free(&text);
    free(path);
    drop_dir(dir);
    fmp_model_free(m);
}

static void a_bad_batch_is_refused_with_its_place(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    data d;
    fmp_loss loss;
    fmp_model *m = tiny_model("llama", 1);
    fill_data(&d, 1);
    d.id[7] = V;
    assert_int_equal(fmp_model_eval(m, NULL, &d.batch, &loss, NULL, &err), FMP_E_DATA);
    assert_string_equal(err.message, "token 7: id 67 is outside the vocabulary of 67");
    fill_data(&d, 1);
    d.weight[9] = 1.0f;
    assert_int_equal(fmp_model_eval(m, NULL, &d.batch, &loss, NULL, &err), FMP_E_DATA);
    assert_string_equal(err.message, "token 9: the first token of segment 1 cannot have a weight");
    fill_data(&d, 1);
    d.weight[5] = NAN;
    assert_int_equal(fmp_model_eval(m, NULL, &d.batch, &loss, NULL, &err), FMP_E_DATA);
    fill_data(&d, 1);
    d.seg[2] = 9;
    assert_int_equal(fmp_model_eval(m, NULL, &d.batch, &loss, NULL, &err), FMP_E_DATA);
    fill_data(&d, 1);
    d.seg[N_SEG] = T - 1;
    assert_int_equal(fmp_model_eval(m, NULL, &d.batch, &loss, NULL, &err), FMP_E_DATA);
    fmp_model_free(m);
}

static void a_weight_that_is_not_finite_is_not_saved(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    char *dir = temp_dir();
    fmp_model *m = tiny_model("llama", 1);
    fmp_adapter *ad = all_linear(m);
    fmp_trainer *tr = new_trainer(m, ad, 0);
    float *w = NULL;
    const char *name = fmp_trainer_tensor(tr, 0, &w, NULL);
    w[3] = NAN;
    assert_int_equal(fmp_trainer_save(tr, dir, &err), FMP_E_DATA);
    assert_non_null(strstr(err.message, name));
    assert_int_equal(fmp_adapter_save(ad, dir, NULL, FMP_DTYPE_BF16, &err), FMP_E_DATA);
    char *path = fmp_path_join(dir, "adapter_model.safetensors");
    assert_false(fmp_path_exists(path));
    free(path);
    drop_dir(dir);
    fmp_trainer_free(tr);
    fmp_adapter_free(ad);
    fmp_model_free(m);
}

/* ---- generation ---- */

enum { PROMPTS = 7, NEW = 20 };

static void fill_prompts(const data *d, fmp_prompt *prompts)
{
    static const uint8_t at[PROMPTS] = {0, 3, 9, 11, 20, 30, 2}, len[PROMPTS] = {5, 1, 12, 30, 2, 9, 44};
    for (size_t i = 0; i < PROMPTS; i++) {
        prompts[i] = (fmp_prompt){.id = d->id + at[i], .n = len[i], .stream = 1000 + i};
    }
}

static fmp_model *windowed_model(int n_threads)
{
    fmp_layer_spec layers[3] = {{.rope = true, .window = 5}, {.rope = true}, {.rope = true, .window = 5}};
    fmp_model_spec s = tiny_spec("mistral", 3, V);
    s.layers = layers;
    return new_model(&s, n_threads, FMP_PRECISION_F32);
}

static void greedy_text_is_the_argmax_of_the_full_pass(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    static const char *const types[] = {"llama", "qwen2", "qwen3", "smollm3", NULL};
    data d;
    fill_data(&d, 61);
    fmp_prompt prompts[PROMPTS];
    fill_prompts(&d, prompts);
    for (int k = 0; k < 5; k++) {
        fmp_model *m = types[k] ? tiny_model(types[k], 2) : windowed_model(2);
        fmp_adapter *ad = all_linear(m);
        fmp_arena *arena = fmp_arena_new(0);
        fmp_generated out[PROMPTS];
        const fmp_generate_options o = {.max_new_tokens = NEW, .max_batch = 3};
        OK(fmp_generate(m, ad, prompts, PROMPTS, &o, arena, out, &err));
        for (size_t i = 0; i < PROMPTS; i++) {
            uint32_t id[64], seg[2] = {0, 0};
            assert_int_equal(out[i].n, NEW);
            memcpy(id, prompts[i].id, prompts[i].n * sizeof *id);
            memcpy(id + prompts[i].n, out[i].id, out[i].n * sizeof *id);
            seg[1] = (uint32_t)(prompts[i].n + out[i].n);
            const fmp_batch b = {.n_tokens = seg[1], .n_segments = 1, .id = id, .seg = seg};
            float *logits = malloc((size_t)seg[1] * V * sizeof *logits);
            assert_non_null(logits);
            OK(fmp_model_logits(m, ad, &b, logits, &err));
            for (size_t t = prompts[i].n; t < seg[1]; t++) {
                const float *row = logits + (t - 1) * V;
                for (size_t j = 0; j < V; j++) {
                    assert_true(row[j] <= row[id[t]] + 1e-4f * fabsf(row[id[t]]));
                }
            }
            free(logits);
        }
        fmp_arena_free(arena);
        fmp_adapter_free(ad);
        fmp_model_free(m);
    }
}

static void a_text_depends_on_neither_batch_nor_threads(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    data d;
    fill_data(&d, 62);
    fmp_prompt prompts[PROMPTS];
    fill_prompts(&d, prompts);
    static const uint32_t stop[] = {5, 11};
    for (int sampled = 0; sampled < 3; sampled++) {
        fmp_arena *arena = fmp_arena_new(0);
        fmp_generated reference[PROMPTS], out[PROMPTS];
        fmp_generate_options o = {
            .max_new_tokens = NEW, .max_batch = 1, .stop = stop, .n_stop = 2, .seed = 8};
        o.temperature = sampled ? 0.9f : 0.0f;
        o.top_k = sampled ? 30 : 0;
        o.top_p = sampled ? 0.95f : 0.0f;
        fmp_precision precision = sampled == 2 ? FMP_PRECISION_BF16 : FMP_PRECISION_F32;
        fmp_model *m = larger_model(1, precision);
        /* oneDNN's products make no such promise: see model.h */
        bool promised = precision == FMP_PRECISION_F32 || !strstr(fmp_model_numerics(m), "bf16:oneDNN");
        for (size_t i = 0; i < PROMPTS; i++) {
            OK(fmp_generate(m, NULL, &prompts[i], 1, &o, arena, &reference[i], &err));
        }
        fmp_model_free(m);
        for (int threads = 1; threads <= 3 && promised; threads++) {
            m = larger_model(threads, precision);
            for (o.max_batch = 2; o.max_batch <= 8; o.max_batch += 3) {
                OK(fmp_generate(m, NULL, prompts, PROMPTS, &o, arena, out, &err));
                for (size_t i = 0; i < PROMPTS; i++) {
                    assert_int_equal(out[i].n, reference[i].n);
                    assert_int_equal(out[i].stopped, reference[i].stopped);
                    assert_memory_equal(out[i].id, reference[i].id, out[i].n * sizeof *out[i].id);
                }
            }
            fmp_model_free(m);
        }
        fmp_arena_free(arena);
    }
}

static void generation_ends_at_the_stop_id_and_at_the_last_position(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    data d;
    fill_data(&d, 63);
    fmp_model *m = tiny_model("llama", 2);
    fmp_arena *arena = fmp_arena_new(0);
    fmp_generated free_run, out;
    fmp_prompt p = {.id = d.id, .n = 50};
    fmp_generate_options o = {.max_new_tokens = 100};
    OK(fmp_generate(m, NULL, &p, 1, &o, arena, &free_run, &err));
    assert_int_equal(free_run.n, 14);
    assert_false(free_run.stopped);
    uint32_t stop = free_run.id[3];
    o.stop = &stop;
    o.n_stop = 1;
    OK(fmp_generate(m, NULL, &p, 1, &o, arena, &out, &err));
    assert_true(out.stopped && out.n <= 4 && out.id[out.n - 1] == stop);
    p.n = 0;
    assert_int_equal(fmp_generate(m, NULL, &p, 1, &o, arena, &out, &err), FMP_E_DATA);
    fmp_arena_free(arena);
    fmp_model_free(m);
}

static void sampling_follows_the_probabilities(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    enum { DRAWS = 4000 };
    data d;
    fill_data(&d, 64);
    fmp_model *m = tiny_model("llama", 2);
    uint32_t seg[2] = {0, 6};
    const fmp_batch b = {.n_tokens = 6, .n_segments = 1, .id = d.id, .seg = seg};
    float logits[6 * V];
    OK(fmp_model_logits(m, NULL, &b, logits, &err));
    static fmp_prompt prompts[DRAWS];
    static fmp_generated out[DRAWS];
    for (size_t i = 0; i < DRAWS; i++) {
        prompts[i] = (fmp_prompt){.id = d.id, .n = 6, .stream = i};
    }
    fmp_arena *arena = fmp_arena_new(0);
    const fmp_generate_options o = {.max_new_tokens = 1, .temperature = 1.0f, .seed = 5, .max_batch = 64};
    OK(fmp_generate(m, NULL, prompts, DRAWS, &o, arena, out, &err));
    double sum = 0.0, count[V] = {0}, distance = 0.0;
    for (size_t i = 0; i < DRAWS; i++) {
        count[out[i].id[0]] += 1.0 / DRAWS;
    }
    for (size_t j = 0; j < V; j++) {
        sum += exp(logits[5 * V + j]);
    }
    for (size_t j = 0; j < V; j++) {
        distance += 0.5 * fabs(count[j] - exp(logits[5 * V + j]) / sum);
    }
    assert_true(distance < 0.06); /* total variation; about 0.03 is expected of so many draws */
    fmp_arena_free(arena);
    fmp_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_gradients_match_finite_differences),
        cmocka_unit_test(full_gradients_with_biases_windows_and_scaled_rope_match),
        cmocka_unit_test(lora_gradients_match_finite_differences),
        cmocka_unit_test(a_packed_segment_has_the_bits_of_the_segment_alone),
        cmocka_unit_test(a_split_batch_has_the_gradient_of_the_whole),
        cmocka_unit_test(training_has_the_same_bits_for_any_number_of_threads),
        cmocka_unit_test(recomputed_activations_give_the_same_bits),
        cmocka_unit_test(training_lowers_the_loss),
        cmocka_unit_test(a_non_finite_step_changes_nothing_and_says_so),
        cmocka_unit_test(a_resumed_run_has_the_bits_of_a_straight_one),
        cmocka_unit_test(a_checkpoint_that_does_not_fit_is_refused),
        cmocka_unit_test(a_saved_model_opens_as_the_same_model),
        cmocka_unit_test(a_saved_adapter_loads_with_its_values_and_merges_into_the_same_logits),
        cmocka_unit_test(a_published_peft_configuration_is_read),
        cmocka_unit_test(an_adapter_for_another_shape_is_refused_by_tensor_name),
        cmocka_unit_test(a_target_that_matches_nothing_is_an_error),
        cmocka_unit_test(what_the_decoder_lacks_is_refused_by_name),
        cmocka_unit_test(caps_and_factors_are_written_with_a_point),
        cmocka_unit_test(a_bad_batch_is_refused_with_its_place),
        cmocka_unit_test(a_weight_that_is_not_finite_is_not_saved),
        cmocka_unit_test(greedy_text_is_the_argmax_of_the_full_pass),
        cmocka_unit_test(a_text_depends_on_neither_batch_nor_threads),
        cmocka_unit_test(generation_ends_at_the_stop_id_and_at_the_last_position),
        cmocka_unit_test(sampling_follows_the_probabilities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
