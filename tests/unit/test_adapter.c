/* links: fmbase fmmodel */
/*
 * test_adapter.c: what an adapter may have beside A and B: DoRA's magnitudes and dropout, against finite
 * differences and the promises of model.h; and plans within a memory budget.
 */
#include "model_batch.h"

#include <fmpipe/fs.h>
#include <fmpipe/json.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { LAYERS = 4 };

/* ---- fixtures ---- */

static fmp_model *new_model(const char *type, int n_threads, fmp_precision precision)
{
    fmp_err err = FMP_ERR_INIT;
    const fmp_model_spec s = tiny_spec(type, LAYERS, V);
    const fmp_model_options o = {.n_threads = n_threads, .precision = precision};
    const fmp_train_options shaken = {.max_tokens = 1};
    fmp_model *m = NULL;
    fmp_trainer *tr = NULL;
    OK(fmp_model_new(&s, 5, &o, &m, &err));
    OK(fmp_trainer_new(m, NULL, &shaken, &tr, &err));
    OK(add_noise(tr, 0.15, &err)); /* larger than a fresh model's */
    fmp_trainer_free(tr);
    return m;
}

typedef struct setting {
    const char *type, *target;
    bool dora;
    double dropout;
} setting;

static fmp_adapter *new_adapter(fmp_model *m, const setting *s)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_adapter *ad = NULL;
    OK(make_adapter(m, s->target, s->dora, s->dropout, &ad, &err));
    return ad;
}

static fmp_trainer *new_trainer(fmp_model *m, fmp_adapter *ad, size_t memory_bytes)
{
    fmp_err err = FMP_ERR_INIT;
    const fmp_train_options o = {
        .clip_norm = 1.0f, .max_tokens = T, .memory_bytes = memory_bytes, .seed = 8, .weight_decay = 0.1f};
    fmp_trainer *tr = NULL;
    OK(fmp_trainer_new(m, ad, &o, &tr, &err));
    return tr;
}

/* Values that a trained adapter may have: B is not zero, magnitudes are not the base's. */
static void fill_values(fmp_trainer *tr)
{
    float *w = NULL;
    size_t n = 0;
    const char *name = NULL;
    for (size_t i = 0; (name = fmp_trainer_tensor(tr, i, &w, &n)) != NULL; i++) {
        for (size_t k = 0; k < n; k++) {
            if (strstr(name, "lora_B")) { w[k] = (float)(0.1 * fmp_rng_normal(17, i, k)); }
            if (strstr(name, "magnitude")) { w[k] *= (float)(1.0 + 0.2 * fmp_rng_normal(18, i, k)); }
        }
    }
}

static double micro_loss(fmp_trainer *tr)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_loss loss;
    OK(fmp_trainer_micro(tr, &batch, &loss, NULL, &err));
    return loss.nll / loss.weight;
}

/* ---- gradients ---- */

/*
 * Of A and B within one step, where norms and dropout stand still, as the gradient takes them; of magnitudes
 * between steps.
 */
static double slope(fmp_trainer *tr, size_t i, bool between_steps, const float *dir, float eps)
{
    fmp_err err = FMP_ERR_INIT;
    float *w = NULL;
    size_t n = 0;
    double loss[2];
    if (!between_steps) { OK(fmp_trainer_begin(tr, total, &err)); }
    for (int side = 0; side < 2; side++) {
        fmp_trainer_tensor(tr, i, &w, &n);
        for (size_t k = 0; k < n; k++) {
            w[k] += (side ? -2.0f : 1.0f) * eps * dir[k];
        }
        if (between_steps) { OK(fmp_trainer_begin(tr, total, &err)); }
        loss[side] = micro_loss(tr);
    }
    for (size_t k = 0; k < n; k++) {
        w[k] += eps * dir[k];
    }
    return (loss[0] - loss[1]) / (2.0 * (double)eps);
}

static void check_gradient(fmp_trainer *tr, size_t i, const char *name, const float *g, size_t n)
{
    bool magnitude = strstr(name, "magnitude") != NULL;
    float *dir = malloc(n * sizeof *dir);
    assert_non_null(dir);
    for (int random = 0; random < 2; random++) {
        double norm1 = 0.0, norm2 = 0.0, want = 0.0;
        for (size_t k = 0; k < n; k++) {
            bool down = random ? fmp_rng_u64(4, i, k) & 1 : g[k] < 0.0f;
            dir[k] = down ? -1.0f : 1.0f;
            want += (double)g[k] * dir[k];
            norm1 += fabs((double)g[k]);
            norm2 += (double)g[k] * g[k];
        }
        norm2 = sqrt(norm2);
        assert_true(norm1 > 1e-4);
        float eps = (float)fmin(3e-3, fmax(1e-3 / (random ? norm2 : norm1), 2e-5));
        double got = slope(tr, i, magnitude, dir, eps);
        double allowed = (random ? 0.03 * norm2 : 0.01 * norm1) + 4e-7 / (double)eps;
        if (!(fabs(got - want) <= allowed)) {
            fail_msg("%s: %s %g, expected %g within %g", name, random ? "at random" : "along its signs", got,
                     want, allowed);
        }
    }
    free(dir);
}

static void check_setting(const setting *s)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_model *m = new_model(s->type, 1, FMP_PRECISION_F32);
    fmp_adapter *ad = new_adapter(m, s);
    fmp_trainer *tr = new_trainer(m, ad, 0);
    fill_values(tr);
    OK(fmp_trainer_begin(tr, total, &err));
    (void)micro_loss(tr);
    const char *name = NULL;
    size_t n = 0, n_all = (size_t)fmp_adapter_n_params(ad), at = 0, n_tensors = 0;
    float *all = malloc(n_all * sizeof *all);
    assert_non_null(all);
    for (; (name = fmp_trainer_tensor(tr, n_tensors, NULL, &n)) != NULL; n_tensors++) {
        memcpy(all + at, fmp_trainer_grad(tr, name, NULL), n * sizeof *all);
        at += n;
    }
    assert_int_equal(at, n_all);
    at = 0;
    for (size_t i = 0; i < n_tensors; i++) {
        name = fmp_trainer_tensor(tr, i, NULL, &n);
        check_gradient(tr, i, name, all + at, n);
        at += n;
    }
    free(all);
    fmp_trainer_free(tr);
    fmp_adapter_free(ad);
    fmp_model_free(m);
}

static void gradients_match_finite_differences(void **state)
{
    (void)state;
    static const setting settings[] = {
        {"llama", "all-linear", .dora = true},
        {"qwen2", "model.layers.1.*", .dora = true}, /* biases */
        {"qwen3", "model.layers.[12].*", .dora = true, .dropout = 0.3},
        {"llama", "model.layers.2.*", .dropout = 0.2},
        {"llama", "v_proj", .dropout = 0.5},
        {"qwen3", "down_proj", .dora = true},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        check_setting(&settings[i]);
    }
}

/* All gradients of one step of what `fill_values` makes.   returned; free() */
static float *gradients(const setting *s, fmp_precision precision, size_t *n_all)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_model *m = new_model(s->type, 2, precision);
    fmp_adapter *ad = new_adapter(m, s);
    fmp_trainer *tr = new_trainer(m, ad, 0);
    float *all = NULL, *w = NULL;
    size_t n = 0;
    const char *name = NULL;
    fill_values(tr);
    OK(fmp_trainer_begin(tr, total, &err));
    micro_loss(tr);
    *n_all = 0;
    for (size_t i = 0; (name = fmp_trainer_tensor(tr, i, &w, &n)) != NULL; i++) {
        all = realloc(all, (*n_all + n) * sizeof *all);
        assert_non_null(all);
        memcpy(all + *n_all, fmp_trainer_grad(tr, name, NULL), n * sizeof *all);
        *n_all += n;
    }
    fmp_trainer_free(tr);
    fmp_adapter_free(ad);
    fmp_model_free(m);
    return all;
}

/* Products and kept activations are rounded to 8 bits. */
static void gradients_in_bf16_stay_near(void **state)
{
    (void)state;
    static const setting settings[] = {{"llama", "all-linear", .dora = false},
                                       {"qwen3", "all-linear", .dora = true},
                                       {"gemma2", "all-linear", .dora = false},
                                       {"phi3", "all-linear", .dropout = 0.2}};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        size_t n = 0, k = 0;
        double apart = 0.0, norm = 0.0;
        float *want = gradients(&settings[i], FMP_PRECISION_F32, &n);
        float *got = gradients(&settings[i], FMP_PRECISION_BF16, &k);
        assert_int_equal(n, k);
        for (k = 0; k < n; k++) {
            apart += pow((double)got[k] - want[k], 2);
            norm += pow((double)want[k], 2);
        }
        if (!(sqrt(apart / norm) < 0.04)) {
            fail_msg("%s: gradients differ by %.4f of their norm", settings[i].type, sqrt(apart / norm));
        }
        free(want);
        free(got);
    }
}

/* ---- what must be equal ---- */

static double eval_loss(fmp_model *m, const fmp_adapter *ad)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_loss loss;
    OK(fmp_model_eval(m, ad, &batch, &loss, NULL, &err));
    return loss.nll / loss.weight;
}

static float *logits_of(fmp_model *m, const fmp_adapter *ad)
{
    fmp_err err = FMP_ERR_INIT;
    float *x = malloc((size_t)T * V * sizeof *x);
    assert_non_null(x);
    OK(fmp_model_logits(m, ad, &batch, x, &err));
    return x;
}

static void assert_close(const float *a, const float *b, double tolerance)
{
    double worst = 0.0, most = 0.0;
    for (size_t i = 0; i < (size_t)T * V; i++) {
        worst = fmax(worst, fabs((double)a[i] - b[i]));
        most = fmax(most, fabs((double)a[i]));
    }
    if (!(worst <= tolerance * most)) { fail_msg("logits differ by %g of %g", worst, most); }
}

static char *temp_dir(void)
{
    char *dir = strdup("/tmp/fmp_test_adapter.XXXXXX");
    assert_non_null(dir);
    assert_non_null(mkdtemp(dir));
    return dir;
}

static void a_fresh_dora_adapter_is_the_base(void **state)
{
    (void)state;
    const setting s = {"qwen2", "all-linear", .dora = true, .dropout = 0.5};
    fmp_model *m = new_model(s.type, 2, FMP_PRECISION_F32);
    fmp_adapter *ad = new_adapter(m, &s);
    float *base = logits_of(m, NULL), *adapted = logits_of(m, ad);
    assert_close(base, adapted, 2e-6);
    free(base);
    free(adapted);
    fmp_adapter_free(ad);
    fmp_model_free(m);
}

static void a_dora_adapter_merged_or_saved_and_loaded_says_the_same(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    const setting s = {"llama", "all-linear", .dora = true, .dropout = 0.25};
    fmp_model *m = new_model(s.type, 2, FMP_PRECISION_F32), *merged = NULL;
    fmp_adapter *ad = new_adapter(m, &s), *again = NULL;
    fmp_trainer *tr = new_trainer(m, ad, 0);
    fill_values(tr);
    fmp_trainer_free(tr);
    char *dir = temp_dir(), *sub = fmp_path_join(dir, "adapter"), *whole = fmp_path_join(dir, "merged");
    OK(fmp_adapter_save(ad, sub, "base", FMP_DTYPE_F32, &err));
    OK(fmp_adapter_load(m, sub, &again, &err));
    float *want = logits_of(m, ad), *got = logits_of(m, again), *base = logits_of(m, NULL);
    assert_memory_equal(want, got, (size_t)T * V * sizeof *want);
    OK(fmp_model_save(m, ad, whole, FMP_DTYPE_F32, &err));
    const fmp_model_options o = {.n_threads = 1, .precision = FMP_PRECISION_F32};
    OK(fmp_model_open(whole, &o, &merged, &err));
    float *alone = logits_of(merged, NULL);
    assert_close(want, alone, 1e-4);
    double moved = 0.0;
    for (size_t i = 0; i < (size_t)T * V; i++) {
        moved = fmax(moved, fabs((double)want[i] - base[i]));
    }
    assert_true(moved > 0.1); /* the values do something */
    float *all[] = {want, got, base, alone};
    for (int i = 0; i < 4; i++) {
        free(all[i]);
    }
    fmp_adapter_free(ad);
    fmp_adapter_free(again);
    fmp_model_free(m);
    fmp_model_free(merged);
    OK(fmp_remove_tree(dir, &err));
    free(dir);
    free(sub);
    free(whole);
}

/* Trained values after some steps.   returned; free() */
static float *train(const setting *s, int n_threads, size_t memory_bytes, bool split, fmp_precision precision,
                    size_t *n_values)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_model *m = new_model(s->type, n_threads, precision);
    fmp_adapter *ad = new_adapter(m, s);
    fmp_trainer *tr = new_trainer(m, ad, memory_bytes);
    fmp_step step;
    fill_values(tr);
    for (int i = 0; i < 4; i++) {
        OK(fmp_trainer_begin(tr, total, &err));
        for (size_t k = 0; k < (split ? N_SEG : 1); k++) {
            const uint32_t own[2] = {0, segs[k + 1] - segs[k]};
            const fmp_batch one = {.n_tokens = own[1],
                                   .n_segments = 1,
                                   .id = ids + segs[k],
                                   .weight = weights + segs[k],
                                   .seg = own,
                                   .key = &keys[k]};
            OK(fmp_trainer_micro(tr, split ? &one : &batch, NULL, NULL, &err));
        }
        OK(fmp_trainer_end(tr, 1e-2f, &step, &err));
        assert_true(step.applied && step.flops > 0.0);
    }
    float *w = NULL, *all = NULL;
    size_t n = 0;
    *n_values = 0;
    for (size_t i = 0; fmp_trainer_tensor(tr, i, &w, &n); i++) {
        all = realloc(all, (*n_values + n) * sizeof *all);
        assert_non_null(all);
        memcpy(all + *n_values, w, n * sizeof *w);
        *n_values += n;
    }
    fmp_trainer_free(tr);
    fmp_adapter_free(ad);
    fmp_model_free(m);
    return all;
}

static const setting both = {"qwen3", "all-linear", .dora = true, .dropout = 0.2};

static void threads_change_no_bit_of_dora_and_dropout(void **state)
{
    (void)state;
    for (int precision = 0; precision < 2; precision++) {
        size_t n = 0, k = 0;
        float *want = train(&both, 1, 0, false, (fmp_precision)precision, &n);
        static const int threads[] = {2, 3, 8};
        for (int i = 0; i < 3; i++) {
            float *got = train(&both, threads[i], 0, false, (fmp_precision)precision, &k);
            assert_int_equal(n, k);
            assert_memory_equal(want, got, n * sizeof *want);
            free(got);
        }
        free(want);
    }
}

static void a_split_batch_has_the_dropout_of_the_whole(void **state)
{
    (void)state;
    size_t n = 0, k = 0;
    float *whole = train(&both, 2, 0, false, FMP_PRECISION_F32, &n);
    float *split = train(&both, 2, 0, true, FMP_PRECISION_F32, &k);
    const setting other = {"qwen3", "all-linear", .dora = true, .dropout = 0.0};
    float *without = train(&other, 2, 0, false, FMP_PRECISION_F32, &k);
    double apart = 0.0, masks = 0.0, norm = 0.0;
    for (size_t i = 0; i < n; i++) {
        apart += pow((double)whole[i] - split[i], 2);
        masks += pow((double)whole[i] - without[i], 2);
        norm += pow((double)whole[i], 2);
    }
    assert_true(sqrt(apart) < 1e-3 * sqrt(norm));
    assert_true(sqrt(masks) > 1e-2 * sqrt(norm));
    free(whole);
    free(split);
    free(without);
}

static void evaluation_has_no_dropout(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    const setting s = {"llama", "all-linear", .dropout = 0.5};
    fmp_model *m = new_model(s.type, 1, FMP_PRECISION_F32);
    fmp_adapter *ad = new_adapter(m, &s);
    fmp_trainer *tr = new_trainer(m, ad, 0);
    fill_values(tr);
    OK(fmp_trainer_begin(tr, total, &err));
    double dropped = micro_loss(tr), whole = eval_loss(m, ad);
    assert_true(fabs(dropped - whole) > 1e-4);
    OK(fmp_adapter_set_dropout(ad, 0.0, &err));
    OK(fmp_trainer_begin(tr, total, &err));
    assert_true(fabs(micro_loss(tr) - whole) < 1e-9);
    assert_int_equal(fmp_adapter_set_dropout(ad, 1.0, &err), FMP_E_RANGE);
    fmp_trainer_free(tr);
    fmp_adapter_free(ad);
    fmp_model_free(m);
}

static void check_plans(fmp_precision precision)
{
    fmp_model *m = new_model(both.type, 1, precision);
    fmp_adapter *ad = new_adapter(m, &both);
    fmp_train_options o = {.max_tokens = T};
    fmp_memory_plan all, plan;
    fmp_trainer_plan(m, ad, &o, &all);
    assert_int_equal(all.n_layers, LAYERS);
    assert_int_equal(all.n_kept, LAYERS);
    assert_true(all.least_bytes < all.bytes);
    size_t n = 0, k = 0;
    float *want = train(&both, 2, 0, false, precision, &n);
    for (size_t kept = LAYERS; kept >= 1; kept--) {
        o.memory_bytes = all.least_bytes + (all.bytes - all.least_bytes) * (kept - 1) / (LAYERS - 1);
        fmp_trainer_plan(m, ad, &o, &plan);
        assert_int_equal(plan.n_kept, kept);
        assert_true(plan.bytes <= o.memory_bytes);
        if (kept > 1) { /* one byte less is one layer less */
            o.memory_bytes--;
            fmp_trainer_plan(m, ad, &o, &plan);
            assert_int_equal(plan.n_kept, kept - 1);
            o.memory_bytes++;
        }
        float *got = train(&both, 2, o.memory_bytes, false, precision, &k);
        assert_memory_equal(want, got, n * sizeof *want);
        free(got);
    }
    free(want);
    o.memory_bytes = 1;
    fmp_trainer_plan(m, ad, &o, &plan);
    assert_int_equal(plan.n_kept, 1);
    assert_int_equal(plan.bytes, all.least_bytes);
    fmp_adapter_free(ad);
    fmp_model_free(m);
}

static void every_memory_plan_fits_its_budget_and_gives_the_same_bits(void **state)
{
    (void)state;
    for (int precision = 0; precision < 2; precision++) {
        check_plans((fmp_precision)precision);
    }
}

static void layers_below_the_lowest_target_need_no_activations(void **state)
{
    (void)state;
    const setting s = {"llama", "model.layers.2.*", .dropout = 0.0};
    fmp_model *m = new_model(s.type, 1, FMP_PRECISION_F32);
    fmp_adapter *ad = new_adapter(m, &s);
    const fmp_train_options o = {.max_tokens = T};
    fmp_memory_plan plan;
    fmp_trainer_plan(m, ad, &o, &plan);
    assert_int_equal(plan.n_layers, 2);
    fmp_adapter_free(ad);
    fmp_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_match_finite_differences),
        cmocka_unit_test(gradients_in_bf16_stay_near),
        cmocka_unit_test(a_fresh_dora_adapter_is_the_base),
        cmocka_unit_test(a_dora_adapter_merged_or_saved_and_loaded_says_the_same),
        cmocka_unit_test(threads_change_no_bit_of_dora_and_dropout),
        cmocka_unit_test(a_split_batch_has_the_dropout_of_the_whole),
        cmocka_unit_test(evaluation_has_no_dropout),
        cmocka_unit_test(every_memory_plan_fits_its_budget_and_gives_the_same_bits),
        cmocka_unit_test(layers_below_the_lowest_target_need_no_activations),
    };
    return cmocka_run_group_tests(tests, fill_batch, NULL);
}
