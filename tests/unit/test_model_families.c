/* links: fmbase fmmodel */
/*
 * test_model_families.c: every decoder family and option against stored results of transformers and PEFT
 * (tests/parity/model_golden.py says how they are made), and the promises of model.h for each of them.
 */
#include "model_test.h"

#include <fmpipe/fs.h>
#include <fmpipe/json.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { V = 37, T = 24, N_SEG = 3, N_STEPS = 20 };

static const char *const families[] = {"llama_tied",
                                       "llama_biases_llama3_rope",
                                       "llama_linear_rope",
                                       "llama_dynamic_rope",
                                       "mistral_window",
                                       "qwen2",
                                       "qwen2_windows",
                                       "qwen2_yarn",
                                       "qwen2_yarn_exact_bounds",
                                       "qwen3",
                                       "smollm3",
                                       "gemma",
                                       "gemma2",
                                       "gemma3",
                                       "gemma3_scaled",
                                       "phi3",
                                       "phi3_longrope",
                                       "phi3_part_of_a_head",
                                       "olmo2",
                                       "fmpipe_shared_keys_and_values"};
#define N_FAMILIES (sizeof families / sizeof *families)

/* ---- the formula of model_golden.py ---- */

static double noise(const char *name, uint64_t i)
{
    uint64_t h = UINT64_C(0xCBF29CE484222325);
    for (const char *c = name; *c; c++) {
        h = (h ^ (unsigned char)*c) * UINT64_C(0x100000001B3);
    }
    uint64_t z = h + (i + 1) * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-52 - 1.0;
}

static bool ends_with(const char *text, const char *tail)
{
    size_t n = strlen(text), k = strlen(tail);
    return n >= k && strcmp(text + n - k, tail) == 0;
}

/* All trained tensors. */
static void fill(fmp_trainer *tr, bool plus_one)
{
    float *w = NULL;
    size_t n = 0;
    const char *name = NULL;
    for (size_t i = 0; (name = fmp_trainer_tensor(tr, i, &w, &n)) != NULL; i++) {
        for (size_t k = 0; k < n; k++) {
            double v = noise(name, k);
            if (strstr(name, "norm")) {
                w[k] = (float)((plus_one ? 0.0 : 1.0) + 0.2 * v);
            } else {
                w[k] = (float)((ends_with(name, ".bias") ? 0.1 : 0.3) * v);
            }
        }
    }
}

/* ---- fixtures ---- */

typedef struct data {
    uint32_t id[T], seg[N_SEG + 1];
    float weight[T];
    fmp_batch batch;
    double total;
} data;

static void fill_data(data *d)
{
    static const uint32_t seg[N_SEG + 1] = {0, 7, 8, T};
    memset(d, 0, sizeof *d);
    memcpy(d->seg, seg, sizeof seg);
    for (uint32_t t = 0; t < T; t++) {
        d->id[t] = (t * 7 + 3) % V;
        bool first = t == seg[0] || t == seg[1] || t == seg[2];
        d->weight[t] = first ? 0.0f : t % 4 == 1 ? 0.5f : 1.0f;
        d->total += (double)d->weight[t];
    }
    d->batch =
        (fmp_batch){.n_tokens = T, .n_segments = N_SEG, .id = d->id, .weight = d->weight, .seg = d->seg};
}

/* tests/parity/golden/NAME.EXT   returned; free() */
static char *golden_path(const char *name, const char *ext)
{
    const char *root = getenv("FMP_SOURCE_DIR");
    fmp_buf path = {0};
    if (!root) { fail_msg("FMP_SOURCE_DIR is not set: it names the source tree, as ctest does"); }
    fmp_buf_printf(&path, "%s/tests/parity/golden/%s.%s", root, name, ext);
    assert_false(path.failed);
    return path.data;
}

static fmp_model *new_model(const char *family, int n_threads)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_model_spec spec;
    fmp_model *m = NULL;
    fmp_trainer *tr = NULL;
    const fmp_model_options o = {.n_threads = n_threads};
    const fmp_train_options t = {.max_tokens = 1};
    char *config = golden_path(family, "json");
    OK(fmp_spec_load(config, &spec, &err));
    OK(fmp_model_new(&spec, 1, &o, &m, &err));
    OK(fmp_trainer_new(m, NULL, &t, &tr, &err));
    fill(tr, spec.norm_plus_one);
    fmp_trainer_free(tr);
    fmp_spec_free(&spec);
    free(config);
    return m;
}

static fmp_adapter *new_adapter(fmp_model *m)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_adapter *ad = NULL;
    const char *const targets[] = {"all-linear"};
    const fmp_adapter_options o = {.rank = 2, .alpha = 3.0, .targets = targets, .n_targets = 1, .seed = 3};
    OK(fmp_adapter_new(m, &o, &ad, &err));
    return ad;
}

static fmp_trainer *new_trainer(fmp_model *m, fmp_adapter *ad, size_t memory_bytes)
{
    fmp_err err = FMP_ERR_INIT;
    const fmp_train_options o = {
        .weight_decay = 0.01f, .clip_norm = 1.0f, .max_tokens = T, .memory_bytes = memory_bytes};
    fmp_trainer *tr = NULL;
    OK(fmp_trainer_new(m, ad, &o, &tr, &err));
    if (ad) { fill(tr, false); }
    return tr;
}

static void run_micro(fmp_trainer *tr, const data *d)
{
    fmp_err err = FMP_ERR_INIT;
    OK(fmp_trainer_begin(tr, d->total, &err));
    OK(fmp_trainer_micro(tr, &d->batch, NULL, NULL, &err));
}

static char *temp_dir(void)
{
    char *dir = strdup("/tmp/fmp_test_families.XXXXXX");
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

/* The largest difference, relative to the largest value or to `least`. */
static double distance(size_t n, const float *a, const float *b, double least)
{
    double top = least, worst = 0.0;
    for (size_t i = 0; i < n; i++) {
        top = fmax(top, fabs((double)b[i]));
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    }
    return worst / top;
}

static float *logits_of(fmp_model *m, const fmp_adapter *ad, const fmp_batch *b)
{
    fmp_err err = FMP_ERR_INIT;
    float *logits = malloc(b->n_tokens * V * sizeof *logits);
    assert_non_null(logits);
    OK(fmp_model_logits(m, ad, b, logits, &err));
    return logits;
}

/* ---- against transformers and PEFT ---- */

/* The stored tensor as f32.   returned; free() */
static float *stored(const fmp_tensors *ts, const char *name, size_t n)
{
    const fmp_tensor *t = fmp_tensors_find(ts, name);
    if (!t || t->n_values != n) { fail_msg("%s: not stored, or not with %zu values", name, n); }
    float *out = malloc(n * sizeof *out);
    assert_non_null(out);
    fmp_tensor_to_f32(t, out);
    return out;
}

static void check_gradients_stored(const char *family, fmp_trainer *tr, const fmp_tensors *ts)
{
    const char *name = NULL;
    size_t n = 0, n_tensors = 0;
    double top = 0.0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; (name = fmp_trainer_tensor(tr, i, NULL, NULL)) != NULL; i++) {
            const float *g = fmp_trainer_grad(tr, name, &n);
            float *want = stored(ts, name, n);
            for (size_t k = 0; k < n && pass == 0; k++) {
                top = fmax(top, fabs((double)want[k]));
            }
            double d = pass ? distance(n, g, want, 1e-3 * top) : 0.0;
            if (!(d <= 1e-3)) { fail_msg("%s: gradient of %s: off by %g", family, name, d); }
            n_tensors += pass == 0;
            free(want);
        }
    }
    assert_int_equal(n_tensors + 2, fmp_tensors_count(ts));
}

static void check_losses_stored(const char *family, fmp_trainer *tr, const data *d, const fmp_tensors *ts)
{
    fmp_err err = FMP_ERR_INIT;
    float *want = stored(ts, "losses", N_STEPS), got[N_STEPS];
    for (int i = 0; i < N_STEPS; i++) {
        fmp_step step;
        run_micro(tr, d);
        OK(fmp_trainer_end(tr, 3e-3f, &step, &err));
        got[i] = (float)step.loss;
    }
    double off = distance(N_STEPS, got, want, 0.0);
    if (!(off <= 1e-3)) { fail_msg("%s: losses: off by %g", family, off); }
    assert_true(want[N_STEPS - 1] < want[0]);
    free(want);
}

static void logits_gradients_and_losses_equal_those_of_transformers(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FAMILIES; i++) {
        fmp_err err = FMP_ERR_INIT;
        data d;
        fill_data(&d);
        fmp_tensors *ts = NULL;
        char *path = golden_path(families[i], "safetensors");
        OK(fmp_tensors_open(path, &ts, &err));
        fmp_model *m = new_model(families[i], 2);
        float *logits = logits_of(m, NULL, &d.batch), *want = stored(ts, "logits", (size_t)T * V);
        double off = distance((size_t)T * V, logits, want, 0.0);
        if (!(off <= 1e-4)) { fail_msg("%s: logits: off by %g", families[i], off); }
        fmp_adapter *ad = new_adapter(m);
        fmp_trainer *tr = new_trainer(m, ad, 0);
        run_micro(tr, &d);
        check_gradients_stored(families[i], tr, ts);
        check_losses_stored(families[i], tr, &d, ts);
        fmp_trainer_free(tr);
        fmp_adapter_free(ad);
        fmp_model_free(m);
        fmp_tensors_close(ts);
        free(logits);
        free(want);
        free(path);
    }
}

/* ---- what model.h promises, for each ---- */

static void a_saved_model_opens_as_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FAMILIES; i++) {
        fmp_err err = FMP_ERR_INIT;
        data d;
        fill_data(&d);
        char *dir = temp_dir(), before[65], after[65];
        fmp_model *m = new_model(families[i], 2), *back = NULL;
        const fmp_model_options o = {.n_threads = 1};
        OK(fmp_model_save(m, NULL, dir, FMP_DTYPE_F32, &err));
        OK(fmp_model_open(dir, &o, &back, &err));
        OK(fmp_model_digest(m, before, &err));
        OK(fmp_model_digest(back, after, &err));
        assert_string_equal(before, after);
        float *a = logits_of(m, NULL, &d.batch), *b = logits_of(back, NULL, &d.batch);
        if (!(distance((size_t)T * V, a, b, 0.0) <= 1e-5)) { fail_msg("%s: other logits", families[i]); }
        free(a);
        free(b);
        fmp_model_free(back);
        fmp_model_free(m);
        drop_dir(dir);
    }
}

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

static void a_packed_segment_has_the_bits_of_the_segment_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FAMILIES; i++) {
        data d;
        fill_data(&d);
        fmp_model *m = new_model(families[i], 2);
        float *all = logits_of(m, NULL, &d.batch);
        for (size_t s = 0; s < N_SEG; s++) {
            uint32_t seg[2];
            fmp_batch b = segment_of(&d, s, seg);
            float *alone = logits_of(m, NULL, &b);
            if (memcmp(alone, all + (size_t)d.seg[s] * V, (size_t)seg[1] * V * sizeof *all) != 0) {
                fail_msg("%s: segment %zu differs", families[i], s);
            }
            free(alone);
        }
        free(all);
        fmp_model_free(m);
    }
}

/* Gradients of all trained tensors, one after another.   returned; free() */
static float *gradients_of(fmp_trainer *tr, size_t *n_values)
{
    const char *name = NULL;
    float *all = NULL;
    size_t n = 0;
    *n_values = 0;
    for (size_t i = 0; (name = fmp_trainer_tensor(tr, i, NULL, NULL)) != NULL; i++) {
        const float *g = fmp_trainer_grad(tr, name, &n);
        all = realloc(all, (*n_values + n) * sizeof *all);
        assert_non_null(all);
        memcpy(all + *n_values, g, n * sizeof *g);
        *n_values += n;
    }
    return all;
}

/* Activations kept or computed again, 1 or 3 threads: the same bits; by segments: the same up to rounding. */
static void a_gradient_does_not_depend_on_memory_threads_or_splitting(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FAMILIES; i++) {
        fmp_err err = FMP_ERR_INIT;
        data d;
        fill_data(&d);
        float *g[3] = {NULL};
        size_t n = 0;
        for (int k = 0; k < 3; k++) {
            fmp_model *m = new_model(families[i], k == 1 ? 3 : 1);
            fmp_adapter *ad = new_adapter(m);
            fmp_trainer *tr = new_trainer(m, ad, k == 1 ? 1 : 0);
            OK(fmp_trainer_begin(tr, d.total, &err));
            for (size_t s = 0; s < (k < 2 ? 1 : N_SEG); s++) {
                uint32_t seg[2];
                fmp_batch b = k < 2 ? d.batch : segment_of(&d, s, seg);
                OK(fmp_trainer_micro(tr, &b, NULL, NULL, &err));
            }
            g[k] = gradients_of(tr, &n);
            fmp_trainer_free(tr);
            fmp_adapter_free(ad);
            fmp_model_free(m);
        }
        if (memcmp(g[0], g[1], n * sizeof **g) != 0) { fail_msg("%s: other bits", families[i]); }
        if (!(distance(n, g[2], g[0], 0.0) <= 1e-5)) { fail_msg("%s: the split batch differs", families[i]); }
        free(g[0]);
        free(g[1]);
        free(g[2]);
    }
}

static void a_merged_adapter_computes_what_it_does_beside_the_weights(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FAMILIES; i++) {
        fmp_err err = FMP_ERR_INIT;
        data d;
        fill_data(&d);
        char *dir = temp_dir(), *adapter_dir = temp_dir();
        fmp_model *m = new_model(families[i], 2), *merged = NULL;
        fmp_adapter *ad = new_adapter(m), *again = NULL;
        fmp_trainer_free(new_trainer(m, ad, 0)); /* gives B values */
        const fmp_model_options o = {.n_threads = 2};
        OK(fmp_model_save(m, ad, dir, FMP_DTYPE_F32, &err));
        OK(fmp_model_open(dir, &o, &merged, &err));
        OK(fmp_adapter_save(ad, adapter_dir, NULL, FMP_DTYPE_F32, &err));
        OK(fmp_adapter_load(m, adapter_dir, &again, &err));
        float *plain = logits_of(m, NULL, &d.batch), *beside = logits_of(m, ad, &d.batch);
        float *inside = logits_of(merged, NULL, &d.batch), *loaded = logits_of(m, again, &d.batch);
        if (!(distance((size_t)T * V, inside, beside, 0.0) <= 1e-5)) {
            fail_msg("%s: merged differs", families[i]);
        }
        assert_true(distance((size_t)T * V, plain, beside, 0.0) > 1e-3);
        assert_memory_equal(loaded, beside, (size_t)T * V * sizeof *beside);
        float *all[] = {plain, beside, inside, loaded};
        for (int k = 0; k < 4; k++) {
            free(all[k]);
        }
        fmp_adapter_free(again);
        fmp_adapter_free(ad);
        fmp_model_free(merged);
        fmp_model_free(m);
        drop_dir(adapter_dir);
        drop_dir(dir);
    }
}

static uint32_t best_of(const float *logits)
{
    uint32_t best = 0;
    for (uint32_t v = 1; v < V; v++) {
        best = logits[v] > logits[best] ? v : best;
    }
    return best;
}

/*
 * Decoding with a cache picks what a pass over the whole text picks. (Where RoPE depends on the text's length, as
 * long as the length does not cross the bound: cached keys are not turned again, in transformers neither.)
 */
static void cached_decoding_equals_a_pass_over_the_whole_text(void **state)
{
    (void)state;
    enum { N_NEW = 11, N_PROMPTS = 2 };
    for (size_t i = 0; i < N_FAMILIES; i++) {
        fmp_err err = FMP_ERR_INIT;
        fmp_model *m = new_model(families[i], 2);
        bool crosses = fmp_model_get_spec(m)->rope[0].kind == FMP_ROPE_DYNAMIC ||
                       fmp_model_get_spec(m)->rope[0].kind == FMP_ROPE_LONGROPE;
        size_t n_new = crosses ? 4 : N_NEW;
        uint32_t text[N_PROMPTS][4 + N_NEW] = {{5, 9, 30, 2}, {11, 8, 1, 7}};
        fmp_prompt prompts[N_PROMPTS] = {{.id = text[0], .n = 4}, {.id = text[1], .n = 3, .stream = 1}};
        fmp_generated out[N_PROMPTS];
        fmp_arena *arena = fmp_arena_new(0);
        const fmp_generate_options o = {.max_new_tokens = n_new};
        OK(fmp_generate(m, NULL, prompts, N_PROMPTS, &o, arena, out, &err));
        for (size_t k = 0; k < N_PROMPTS; k++) {
            size_t n = prompts[k].n;
            for (size_t t = 0; t < n_new; t++, n++) {
                const uint32_t seg[2] = {0, (uint32_t)n};
                const fmp_batch b = {.n_tokens = n, .n_segments = 1, .id = text[k], .seg = seg};
                float *logits = logits_of(m, NULL, &b);
                text[k][n] = best_of(logits + (n - 1) * V);
                if (out[k].id[t] != text[k][n]) {
                    fail_msg("%s: prompt %zu: token %zu is %u, expected %u", families[i], k, t, out[k].id[t],
                             text[k][n]);
                }
                free(logits);
            }
        }
        fmp_arena_free(arena);
        fmp_model_free(m);
    }
}

static double mean_loss(fmp_model *m, const data *d)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_loss loss;
    OK(fmp_model_eval(m, NULL, &d->batch, &loss, NULL, &err));
    return loss.nll / loss.weight;
}

/* Every weight tensor along the signs of its gradient. */
static void full_gradients_equal_finite_differences(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FAMILIES; i++) {
        data d;
        fill_data(&d);
        fmp_model *m = new_model(families[i], 2);
        fmp_trainer *tr = new_trainer(m, NULL, 0);
        run_micro(tr, &d);
        float *w = NULL;
        size_t n = 0;
        const char *name = NULL;
        for (size_t k = 0; (name = fmp_trainer_tensor(tr, k, &w, &n)) != NULL; k++) {
            const float *g = fmp_trainer_grad(tr, name, NULL);
            double norm1 = 0.0, loss[2];
            for (size_t j = 0; j < n; j++) {
                norm1 += fabs((double)g[j]);
            }
            /* a key's bias adds the same to all scores of a row: its gradient is zero but for rounding */
            bool zero = ends_with(name, "k_proj.bias") && norm1 < 1e-3;
            assert_true(zero || norm1 > 1e-4);
            float eps = (float)fmin(2e-3, fmax(1e-3 / norm1, 2e-5));
            for (int side = 0; side < 2; side++) {
                float *kept = malloc(n * sizeof *kept);
                assert_non_null(kept);
                memcpy(kept, w, n * sizeof *kept);
                for (size_t j = 0; j < n; j++) {
                    w[j] += (g[j] < 0.0f) == (side == 1) ? eps : -eps;
                }
                loss[side] = mean_loss(m, &d);
                memcpy(w, kept, n * sizeof *kept);
                free(kept);
            }
            double slope = (loss[0] - loss[1]) / (2.0 * (double)eps);
            if (!(fabs(slope - norm1) <= 0.01 * norm1 + 4e-7 / (double)eps)) {
                fail_msg("%s: %s: %g along its signs, expected %g", families[i], name, slope, norm1);
            }
        }
        fmp_trainer_free(tr);
        fmp_model_free(m);
    }
}

/* ---- counts ---- */

/* The adapter toolkit's plan: 35 layers of their own keys and values, 21 that use those of the last of them. */
static fmp_model_spec toolkit_plan(fmp_layer_spec layers[56])
{
    fmp_model_spec s = {.model_type = "fmpipe",
                        .n_layers = 56,
                        .n_channels = 2048,
                        .n_heads = 16,
                        .n_kv_heads = 2,
                        .head_size = 128,
                        .n_ff = 6656,
                        .vocab_size = 153600,
                        .max_positions = 4096,
                        .norm_eps = 1e-5,
                        .tied = true,
                        .rope = {{.theta = 500000.0}},
                        .rope_interleaved = true,
                        .bos_id = -1,
                        .eos_id = -1,
                        .pad_id = -1};
    for (uint32_t l = 0; l < 56; l++) {
        layers[l] = (fmp_layer_spec){.rope = true, .qk_norm = true, .kv_back = l > 34 ? l - 34 : 0};
    }
    s.layers = layers;
    return s;
}

static void the_toolkits_plan_has_its_published_counts(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_layer_spec layers[56];
    const fmp_model_spec s = toolkit_plan(layers);
    const char *const targets[] = {"all-linear"};
    const fmp_adapter_options lora = {.rank = 32, .alpha = 16.0, .targets = targets, .n_targets = 1};
    fmp_model_size size;
    OK(fmp_spec_measure(&s, &lora, &size, &err));
    assert_int_equal(size.n_lora_params, 66633728);
    assert_int_equal(size.n_params + size.n_lora_params, UINT64_C(3178001792));
    assert_int_equal(size.n_lora_tensors, 700);
    assert_int_equal(size.kv_values, 35 * 2 * 2 * 128); /* 37.5 % less than 56 layers' */
    assert_true(fmp_peak_rss() < (size_t)1 << 30);
}

/* The same plan as a config.json says it. */
static void a_config_describes_the_toolkits_plan(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    static const char text[] =
        "{\"model_type\":\"fmpipe\",\"hidden_size\":2048,\"num_hidden_layers\":56,\"num_attention_heads\":16,"
        "\"num_key_value_heads\":2,\"head_dim\":128,\"intermediate_size\":6656,\"vocab_size\":153600,"
        "\"max_position_embeddings\":4096,\"num_kv_shared_layers\":21,\"rope_interleaved\":true,"
        "\"rope_theta\":500000}";
    char *dir = temp_dir(), *path = fmp_path_join(dir, "config.json");
    fmp_layer_spec layers[56];
    const fmp_model_spec want = toolkit_plan(layers);
    fmp_model_spec s;
    fmp_model_size size;
    OK(fmp_write_file(path, text, sizeof text - 1, &err));
    OK(fmp_spec_load(dir, &s, &err));
    assert_true(s.rope_interleaved && s.tied);
    for (uint32_t l = 0; l < 56; l++) {
        assert_memory_equal(&s.layers[l], &want.layers[l], sizeof want.layers[l]);
    }
    OK(fmp_spec_measure(&s, NULL, &size, &err));
    assert_int_equal(size.n_params, UINT64_C(3178001792) - 66633728);
    fmp_spec_free(&s);
    free(path);
    drop_dir(dir);
}

static void parse(const char *text, fmp_model_spec *s)
{
    fmp_err err = FMP_ERR_INIT;
    OK(fmp_spec_parse(text, strlen(text), s, &err));
}

/* As published files write them, without what later versions of transformers add. */
static void configs_as_first_published_are_read(void **state)
{
    (void)state;
    fmp_model_spec s;
    parse(
        "{\"model_type\":\"phi3\",\"hidden_size\":32,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
        "\"intermediate_size\":64,\"vocab_size\":100,\"max_position_embeddings\":131072,"
        "\"original_max_position_embeddings\":4096,\"sliding_window\":262144,\"rope_theta\":10000.0,"
        "\"rope_scaling\":{\"type\":\"su\",\"short_factor\":[1,1.05,1.1,1.2],\"long_factor\":[1,2,8,64.5]}}",
        &s);
    assert_int_equal(s.rope[0].kind, FMP_ROPE_LONGROPE);
    assert_true(s.fused && !s.tied && s.n_kv_heads == 4 && s.norm_eps == 1e-5);
    assert_true(s.rope[0].factor == 32.0 && s.rope[0].original_positions == 4096);
    assert_true(fabs(s.rope[0].attention_factor - sqrt(1.0 + log(32.0) / log(4096.0))) < 1e-12);
    assert_true(s.rope[0].long_factor[3] == 64.5f && s.layers[1].window == 262144);
    fmp_spec_free(&s);
    parse("{\"model_type\":\"gemma3_text\",\"hidden_size\":64,\"num_hidden_layers\":7,\"num_attention_"
          "heads\":4,"
          "\"num_key_value_heads\":1,\"intermediate_size\":96,\"vocab_size\":100,"
          "\"max_position_embeddings\":32768,\"query_pre_attn_scalar\":256,\"sliding_window\":512,"
          "\"sliding_window_pattern\":6,\"rope_theta\":1000000,\"rope_local_base_freq\":10000,"
          "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8.0},\"final_logit_softcapping\":null,"
          "\"hidden_activation\":\"gelu_pytorch_tanh\"}",
          &s);
    assert_true(s.head_size == 256 && s.tied && s.norm_plus_one && s.norms == FMP_NORM_BOTH);
    assert_true(s.attn_scale == 0.0625 && s.embed_scale == 8.0 && s.logit_softcap == 0.0);
    assert_true(s.rope[0].kind == FMP_ROPE_LINEAR && s.rope[0].theta == 1e6 && s.rope[0].factor == 8.0);
    assert_true(s.rope[1].kind == FMP_ROPE_DEFAULT && s.rope[1].theta == 1e4);
    for (uint32_t l = 0; l < 7; l++) {
        assert_int_equal(s.layers[l].window, l == 5 ? 0 : 512);
        assert_int_equal(s.layers[l].rope_set, l == 5 ? 0 : 1);
    }
    fmp_spec_free(&s);
    parse("{\"model_type\":\"gemma2\",\"hidden_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
          "\"num_key_value_heads\":2,\"intermediate_size\":96,\"vocab_size\":100,"
          "\"max_position_embeddings\":8192,\"hidden_act\":\"gelu_pytorch_tanh\"}",
          &s);
    assert_true(s.attn_softcap == 50.0 && s.logit_softcap == 30.0);
    assert_true(s.layers[0].window == 4096 && s.layers[1].window == 0);
    fmp_spec_free(&s);
}

static void a_measured_shape_equals_the_model_made_of_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FAMILIES; i++) {
        fmp_err err = FMP_ERR_INIT;
        fmp_model_size size;
        fmp_model *m = new_model(families[i], 1);
        fmp_adapter *ad = new_adapter(m);
        const char *const targets[] = {"all-linear"};
        const fmp_adapter_options o = {.rank = 2, .alpha = 3.0, .targets = targets, .n_targets = 1};
        OK(fmp_spec_measure(fmp_model_get_spec(m), &o, &size, &err));
        assert_int_equal(size.n_params, fmp_model_n_params(m));
        assert_int_equal(size.n_lora_params, fmp_adapter_n_params(ad));
        fmp_adapter_free(ad);
        fmp_model_free(m);
    }
}

/* ---- llama2.c ---- */

/* Rows of Q or K from halves to neighbours: what a converter to llama2.c does. */
static void put_pairs(fmp_buf *out, const float *w, int64_t heads, int64_t D, int64_t C)
{
    for (int64_t h = 0; h < heads; h++) {
        for (int64_t i = 0; i < D; i++) {
            fmp_buf_add(out, (const char *)(w + (h * D + i / 2 + i % 2 * (D / 2)) * C),
                        (size_t)C * sizeof *w);
        }
    }
}

static void put_tensor(fmp_buf *out, fmp_trainer *tr, const fmp_model_spec *s, const char *name)
{
    float *w = NULL;
    size_t n = 0;
    const char *at = NULL;
    for (size_t i = 0; (at = fmp_trainer_tensor(tr, i, &w, &n)) != NULL; i++) {
        if (strcmp(at, name) != 0) { continue; }
        bool is_q = strstr(name, "q_proj") != NULL, is_k = strstr(name, "k_proj") != NULL;
        if (is_q || is_k) {
            put_pairs(out, w, is_q ? s->n_heads : s->n_kv_heads, s->head_size, s->n_channels);
        } else {
            fmp_buf_add(out, (const char *)w, n * sizeof *w);
        }
        return;
    }
    fail_msg("%s: no such tensor", name);
}

static void put_layers(fmp_buf *out, fmp_trainer *tr, const fmp_model_spec *s, const char *tail)
{
    for (uint32_t l = 0; l < s->n_layers; l++) {
        char name[96];
        (void)snprintf(name, sizeof name, "model.layers.%u.%s.weight", l, tail);
        put_tensor(out, tr, s, name);
    }
}

static void put_words(fmp_buf *out, const int32_t *words, size_t n)
{
    fmp_buf_add(out, (const char *)words, n * sizeof *words);
}

/* The bytes of a llama2.c file of this model; version 0: the legacy form. */
static fmp_buf llama2c_bytes(fmp_model *m, int version)
{
    fmp_buf out = {0};
    const fmp_model_spec *s = fmp_model_get_spec(m);
    fmp_trainer *tr = new_trainer(m, NULL, 0);
    const int32_t sizes[7] = {
        (int32_t)s->n_channels,   (int32_t)s->n_ff,
        (int32_t)s->n_layers,     (int32_t)s->n_heads,
        (int32_t)s->n_kv_heads,   (int32_t)s->vocab_size * (s->tied || version ? 1 : -1),
        (int32_t)s->max_positions};
    static const char *const matrices[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                           "self_attn.o_proj", "mlp.gate_proj",    "mlp.down_proj",
                                           "mlp.up_proj"};
    if (version) {
        const int32_t magic[2] = {0x616B3432, version};
        put_words(&out, magic, 2);
        put_words(&out, sizes, 7);
        fmp_buf_putc(&out, s->tied);
        while (out.len < 256) {
            fmp_buf_putc(&out, 0);
        }
        put_layers(&out, tr, s, "input_layernorm");
        put_layers(&out, tr, s, "post_attention_layernorm");
        put_tensor(&out, tr, s, "model.norm.weight");
    } else {
        put_words(&out, sizes, 7);
    }
    put_tensor(&out, tr, s, "model.embed_tokens.weight");
    if (!version) { put_layers(&out, tr, s, "input_layernorm"); }
    for (int k = 0; k < 7; k++) {
        if (k == 4 && !version) { put_layers(&out, tr, s, "post_attention_layernorm"); }
        put_layers(&out, tr, s, matrices[k]);
    }
    if (!version) {
        put_tensor(&out, tr, s, "model.norm.weight");
        for (uint32_t i = 0; i < s->max_positions * s->head_size; i++) {
            put_words(&out, (const int32_t[]){0}, 1);
        }
    }
    if (!s->tied) { put_tensor(&out, tr, s, "lm_head.weight"); }
    assert_false(out.failed);
    fmp_trainer_free(tr);
    return out;
}

static fmp_status open_bytes(const char *path, const char *bytes, size_t len, fmp_model **m, fmp_err *err)
{
    const fmp_model_options o = {.n_threads = 1};
    FMP_TRY(fmp_write_file(path, bytes, len, err));
    return fmp_model_open(path, &o, m, err);
}

/* A Llama with the norms' epsilon of llama2.c. */
static fmp_model *llama2c_like(bool own_head)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_model_spec s;
    fmp_model *m = NULL;
    const fmp_model_options o = {.n_threads = 1};
    char *config = golden_path("llama_tied", "json");
    OK(fmp_spec_load(config, &s, &err));
    s.norm_eps = 1e-5;
    s.tied = !own_head;
    OK(fmp_model_new(&s, 9, &o, &m, &err));
    fmp_spec_free(&s);
    free(config);
    return m;
}

static void a_llama2c_file_is_the_model_it_was_made_of(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) {
        fmp_err err = FMP_ERR_INIT;
        data d;
        fill_data(&d);
        fmp_model *m = llama2c_like(k % 2), *back = NULL;
        char *dir = temp_dir(), *path = fmp_path_join(dir, "model.bin"), *folder = fmp_path_join(dir, "hf");
        fmp_buf bytes = llama2c_bytes(m, k / 2);
        OK(open_bytes(path, bytes.data, bytes.len, &back, &err));
        float *a = logits_of(m, NULL, &d.batch), *b = logits_of(back, NULL, &d.batch);
        if (!(distance((size_t)T * V, b, a, 0.0) <= 1e-5)) { fail_msg("kind %d: other logits", k); }
        const fmp_model_options o = {.n_threads = 1};
        fmp_model *converted = NULL;
        OK(fmp_model_save(back, NULL, folder, FMP_DTYPE_F32, &err));
        OK(fmp_model_open(folder, &o, &converted, &err));
        float *c = logits_of(converted, NULL, &d.batch);
        assert_memory_equal(b, c, (size_t)T * V * sizeof *b);
        fmp_model_free(converted);
        fmp_model_free(back);
        fmp_model_free(m);
        float *all[] = {a, b, c};
        for (int j = 0; j < 3; j++) {
            free(all[j]);
        }
        fmp_buf_free(&bytes);
        free(folder);
        free(path);
        drop_dir(dir);
    }
}

static void a_damaged_llama2c_file_is_refused(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    char *dir = temp_dir(), *path = fmp_path_join(dir, "model.bin");
    fmp_model *m = new_model("llama_tied", 1), *back = NULL;
    for (int version = 0; version < 2; version++) {
        fmp_buf bytes = llama2c_bytes(m, version);
        for (size_t cut = 0; cut < bytes.len; cut += 1 + bytes.len / 23) {
            assert_int_not_equal(open_bytes(path, bytes.data, cut, &back, &err), FMP_OK);
            assert_null(back);
        }
        assert_int_equal(open_bytes(path, bytes.data, bytes.len - 4, &back, &err), FMP_E_DATA);
        assert_non_null(strstr(err.message, "fewer than the sizes in its header need"));
        fmp_buf_putc(&bytes, 0);
        assert_int_equal(open_bytes(path, bytes.data, bytes.len, &back, &err), FMP_E_DATA);
        assert_non_null(strstr(err.message, "more than the sizes in its header need"));
        /* every byte of the sizes; in version 1 nothing tells the longest text */
        for (size_t at = version ? 8 : 0; at < (version ? 32u : 28u); at++) {
            char kept = bytes.data[at];
            bytes.data[at] = (char)(kept ^ 0x55);
            assert_int_not_equal(open_bytes(path, bytes.data, bytes.len - 1, &back, &err), FMP_OK);
            bytes.data[at] = kept;
        }
        if (version) {
            bytes.data[4] = 2;
            assert_int_equal(open_bytes(path, bytes.data, bytes.len - 1, &back, &err), FMP_E_UNSUPPORTED);
            assert_non_null(strstr(err.message, "version 2 (quantised weights)"));
        }
        fmp_buf_free(&bytes);
    }
    fmp_model_free(m);
    free(path);
    drop_dir(dir);
}

/* llama2.c's vocabulary: int32 longest, then for each token f32 score, int32 length, bytes. */
static void decode_piece(const fmp_buf *vocab, uint32_t id, bool first, fmp_buf *out)
{
    size_t at = 4;
    int32_t len = 0;
    for (uint32_t i = 0;; i++, at += 8 + (size_t)len) {
        assert_true(at + 8 <= vocab->len);
        memcpy(&len, vocab->data + at + 4, sizeof len);
        assert_true(len >= 0 && at + 8 + (size_t)len <= vocab->len);
        if (i == id) { break; }
    }
    const char *piece = vocab->data + at + 8;
    unsigned byte = 0;
    if (len == 6 && sscanf(piece, "<0x%02X>", &byte) == 1) {
        fmp_buf_putc(out, (char)byte);
    } else {
        bool strip = first && len > 0 && piece[0] == ' ';
        fmp_buf_add(out, piece + strip, (size_t)len - strip);
    }
}

/* 200 greedy tokens after <s> as llama2.c prints them: up to the next <s>. */
static void check_story(fmp_model *m, const fmp_buf *vocab, const fmp_buf *want)
{
    fmp_err err = FMP_ERR_INIT;
    const uint32_t start = 1, stop = 1;
    const fmp_prompt prompt = {.id = &start, .n = 1};
    const fmp_generate_options o = {.max_new_tokens = 200, .stop = &stop, .n_stop = 1};
    fmp_generated out;
    fmp_arena *arena = fmp_arena_new(0);
    fmp_buf text = {0};
    OK(fmp_generate(m, NULL, &prompt, 1, &o, arena, &out, &err));
    for (size_t i = 0; i < out.n && out.id[i] != stop; i++) {
        decode_piece(vocab, out.id[i], i == 0, &text);
    }
    assert_int_equal(text.len, want->len);
    assert_memory_equal(text.data, want->data, want->len);
    fmp_buf_free(&text);
    fmp_arena_free(arena);
}

static void a_real_llama2c_model_tells_its_reference_story(void **state)
{
    (void)state;
    const char *data_dir = getenv("FMP_SHARED_DATA");
    if (!data_dir) {
        print_message("FMP_SHARED_DATA is not set: skipped\n");
        skip();
    }
    fmp_err err = FMP_ERR_INIT;
    char *folder = fmp_path_join(data_dir, "stories260k"), *converted_dir = temp_dir();
    char *bin = fmp_path_join(folder, "stories260K.bin"), *tok = fmp_path_join(folder, "tok512.bin");
    char *text = fmp_path_join(folder, "expected_greedy_200.txt");
    const fmp_model_options o = {.n_threads = 2};
    fmp_buf vocab = {0}, want = {0};
    fmp_model *m = NULL, *converted = NULL;
    OK(fmp_read_file(tok, 0, &vocab, &err));
    OK(fmp_read_file(text, 0, &want, &err));
    OK(fmp_model_open(bin, &o, &m, &err));
    check_story(m, &vocab, &want);
    OK(fmp_model_save(m, NULL, converted_dir, FMP_DTYPE_F32, &err));
    OK(fmp_model_open(converted_dir, &o, &converted, &err));
    check_story(converted, &vocab, &want);
    fmp_model_free(converted);
    fmp_model_free(m);
    fmp_buf_free(&vocab);
    fmp_buf_free(&want);
    char *all[] = {folder, bin, tok, text};
    for (int i = 0; i < 4; i++) {
        free(all[i]);
    }
    drop_dir(converted_dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_gradients_and_losses_equal_those_of_transformers),
        cmocka_unit_test(a_saved_model_opens_as_the_same),
        cmocka_unit_test(a_packed_segment_has_the_bits_of_the_segment_alone),
        cmocka_unit_test(a_gradient_does_not_depend_on_memory_threads_or_splitting),
        cmocka_unit_test(a_merged_adapter_computes_what_it_does_beside_the_weights),
        cmocka_unit_test(cached_decoding_equals_a_pass_over_the_whole_text),
        cmocka_unit_test(full_gradients_equal_finite_differences),
        cmocka_unit_test(the_toolkits_plan_has_its_published_counts),
        cmocka_unit_test(a_config_describes_the_toolkits_plan),
        cmocka_unit_test(configs_as_first_published_are_read),
        cmocka_unit_test(a_measured_shape_equals_the_model_made_of_it),
        cmocka_unit_test(a_llama2c_file_is_the_model_it_was_made_of),
        cmocka_unit_test(a_damaged_llama2c_file_is_refused),
        cmocka_unit_test(a_real_llama2c_model_tells_its_reference_story),
    };
    fmp_json_install_hooks();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
