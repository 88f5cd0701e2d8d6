/*
 * test_backend.c: models, training and generation on a device that is not the host (backend_far.c): the same bytes as on
 * `cpu`, every failure of the device reported, and backends that do not fit refused.
 */
#include "model_batch.h"

#include <fmpipe/fs.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAR FAR_DIR "/backend_far.so"

enum { LAYERS = 3, PROMPTS = 5 };

/* What is trained, on what model. */
typedef struct setting {
    const char *type;
    fmp_precision precision;
    bool full, dora, by_length; /* by_length: RoPE's frequencies depend on the text */
    double dropout;
    fmp_cache_kind cache;
} setting;

/* A run's state and all that it says, byte for byte. */
typedef struct run {
    const setting *s;
    fmp_model *m;
    fmp_adapter *ad;
    fmp_trainer *tr;
    fmp_buf said;
    char dir[64];
} run;

static fmp_status open_model(run *r, const char *backend, fmp_err *err)
{
    const fmp_model_options o = {.n_threads = r->s->precision == FMP_PRECISION_BF16 ? 2 : 1,
                                 .precision = r->s->precision,
                                 .backend = backend};
    fmp_model_spec spec = tiny_spec(r->s->type, LAYERS, V);
    if (strcmp(spec.model_type, "gemma3_text") == 0) { spec.rope[1].theta = 5000.0; }
    if (r->s->by_length) {
        spec.rope[0].kind = FMP_ROPE_DYNAMIC;
        spec.rope[0].factor = 2.0;
        spec.max_positions = 24;
    }
    return fmp_model_new(&spec, 5, &o, &r->m, err);
}

static fmp_status new_adapter(run *r, bool dora, fmp_err *err)
{
    return make_adapter(r->m, "all-linear", dora, r->s->dropout, &r->ad, err);
}

static fmp_status open_trainer(run *r, fmp_err *err)
{
    fmp_train_options o = {.clip_norm = 0.5f, .max_tokens = T, .seed = 8, .weight_decay = 0.1f};
    fmp_memory_plan plan;
    if (!r->s->full) { FMP_TRY(new_adapter(r, r->s->dora, err)); }
    fmp_trainer_plan(r->m, r->ad, &o, &plan);
    o.memory_bytes = (plan.bytes + plan.least_bytes) / 2; /* some layers are computed again */
    return fmp_trainer_new(r->m, r->ad, &o, &r->tr, err);
}

/* A step of two micro-batches, with what it says and one gradient. */
static fmp_status train_step(run *r, fmp_err *err)
{
    fmp_loss loss, by_segment[N_SEG];
    fmp_step step;
    size_t n = 0;
    FMP_TRY(fmp_trainer_begin(r->tr, 2.0 * total, err));
    for (int i = 0; i < 2; i++) {
        FMP_TRY(fmp_trainer_micro(r->tr, &batch, &loss, by_segment, err));
        fmp_buf_add(&r->said, &loss, sizeof loss);
        fmp_buf_add(&r->said, by_segment, sizeof by_segment);
    }
    FMP_TRY(fmp_trainer_end(r->tr, 1e-2f, &step, err));
    fmp_buf_printf(&r->said, "%.9g %.9g %d\n", step.loss, step.grad_norm, step.applied);
    const float *g = fmp_trainer_grad(r->tr, fmp_trainer_tensor(r->tr, 1, NULL, NULL), &n);
    if (!g) { return fmp_fail(err, FMP_E_IO, "no gradient: the far device is gone"); }
    fmp_buf_add(&r->said, g, n * sizeof *g);
    return FMP_OK;
}

static fmp_status say_file(run *r, const char *name, fmp_err *err)
{
    char path[128], hex[65];
    (void)snprintf(path, sizeof path, "%s/%s", r->dir, name);
    FMP_TRY(fmp_sha256_file(path, hex, err));
    fmp_buf_printf(&r->said, "%s %s\n", name, hex);
    return FMP_OK;
}

static fmp_status say_digest(run *r, fmp_err *err)
{
    char hex[65];
    FMP_TRY(fmp_model_digest(r->m, hex, err));
    fmp_buf_puts(&r->said, hex);
    return FMP_OK;
}

/* Two steps after a checkpoint, the checkpoint, and the same two steps again. */
static fmp_status train(run *r, fmp_err *err)
{
    FMP_TRY(add_noise(r->tr, 0.05, err));
    FMP_TRY(train_step(r, err));
    FMP_TRY(say_digest(r, err));
    FMP_TRY(train_step(r, err));
    FMP_TRY(fmp_trainer_save(r->tr, r->dir, err));
    FMP_TRY(say_file(r, "trainer.safetensors", err));
    for (int again = 0; again < 2; again++) {
        FMP_TRY(train_step(r, err));
        FMP_TRY(train_step(r, err));
        if (again == 0) { FMP_TRY(fmp_trainer_load(r->tr, r->dir, err)); }
    }
    return FMP_OK;
}

static fmp_status look(run *r, fmp_err *err)
{
    static float logits[T * V];
    fmp_loss loss, by_segment[N_SEG];
    FMP_TRY(fmp_model_logits(r->m, r->ad, &batch, logits, err));
    fmp_buf_add(&r->said, logits, sizeof logits);
    FMP_TRY(fmp_model_eval(r->m, r->ad, &batch, &loss, by_segment, err));
    fmp_buf_add(&r->said, by_segment, sizeof by_segment);
    return FMP_OK;
}

static fmp_status generate(run *r, fmp_arena *arena, fmp_err *err)
{
    fmp_prompt prompts[PROMPTS];
    fmp_generated out[PROMPTS];
    for (size_t i = 0; i < PROMPTS; i++) {
        prompts[i] = (fmp_prompt){.id = ids + i, .n = 2 + 3 * i, .stream = i};
    }
    const fmp_generate_options o = {.max_new_tokens = 9,
                                    .temperature = 0.9f,
                                    .top_p = 0.9f,
                                    .seed = 4,
                                    .max_batch = 3,
                                    .stop = ids,
                                    .n_stop = 3,
                                    .cache = r->s->cache};
    FMP_TRY(fmp_generate(r->m, r->ad, prompts, PROMPTS, &o, arena, out, err));
    for (size_t i = 0; i < PROMPTS; i++) {
        fmp_buf_add(&r->said, out[i].id, out[i].n * sizeof *out[i].id);
    }
    return FMP_OK;
}

/* The merged model, and the adapter read back. */
static fmp_status export(run *r, fmp_err *err)
{
    fmp_dtype dtype = r->s->precision == FMP_PRECISION_BF16 ? FMP_DTYPE_BF16 : FMP_DTYPE_F32;
    FMP_TRY(fmp_model_save(r->m, r->ad, r->dir, dtype, err));
    FMP_TRY(say_file(r, "model.safetensors", err));
    FMP_TRY(say_digest(r, err));
    if (!r->ad) { return FMP_OK; }
    FMP_TRY(fmp_adapter_save(r->ad, r->dir, "base", FMP_DTYPE_F32, err));
    FMP_TRY(say_file(r, "adapter_model.safetensors", err));
    fmp_adapter_free(r->ad);
    r->ad = NULL;
    return fmp_adapter_load(r->m, r->dir, &r->ad, err);
}

/* The saved model, its weights in a mapped file; then all of them trained. */
static fmp_status reopen(run *r, const char *backend, fmp_err *err)
{
    const fmp_model_options mo = {.n_threads = 1, .precision = r->s->precision, .backend = backend};
    const fmp_train_options to = {.max_tokens = T};
    fmp_adapter_free(r->ad);
    r->ad = NULL;
    fmp_model_free(r->m);
    r->m = NULL;
    FMP_TRY(fmp_model_open(r->dir, &mo, &r->m, err));
    FMP_TRY(look(r, err));
    FMP_TRY(fmp_trainer_new(r->m, NULL, &to, &r->tr, err));
    FMP_TRY(train_step(r, err));
    return look(r, err);
}

static fmp_status go(run *r, const char *backend, fmp_err *err)
{
    FMP_TRY(open_model(r, backend, err));
    FMP_TRY(look(r, err));
    FMP_TRY(open_trainer(r, err));
    FMP_TRY(train(r, err));
    FMP_TRY(look(r, err)); /* while training */
    fmp_trainer_free(r->tr);
    r->tr = NULL;
    if (r->s->full) { FMP_TRY(new_adapter(r, true, err)); } /* on weights that the device has */
    fmp_arena *arena = fmp_arena_new(0);
    fmp_status status = generate(r, arena, err);
    fmp_arena_free(arena);
    FMP_TRY(status);
    FMP_TRY(export(r, err));
    FMP_TRY(look(r, err));
    return reopen(r, backend, err);
}

/* Everything on one backend; r->said to be freed. */
static fmp_status all_of(run *r, const setting *s, const char *backend, fmp_err *err)
{
    *r = (run){.s = s, .dir = "/tmp/fmpipe-backend-XXXXXX"};
    assert_non_null(mkdtemp(r->dir));
    fmp_status status = go(r, backend, err);
    fmp_trainer_free(r->tr);
    fmp_adapter_free(r->ad);
    fmp_model_free(r->m);
    fmp_err swept = FMP_ERR_INIT;
    assert_int_equal(fmp_remove_tree(r->dir, &swept), FMP_OK);
    return status;
}

static const setting settings[] = {
    {.type = "llama"},
    {.type = "qwen2", .dora = true, .dropout = 0.2, .cache = FMP_CACHE_Q8},
    {.type = "llama", .full = true, .precision = FMP_PRECISION_BF16, .cache = FMP_CACHE_BF16},
    {.type = "qwen3", .dropout = 0.1, .precision = FMP_PRECISION_BF16},
    {.type = "phi3", .dora = true, .dropout = 0.1},
    {.type = "phi3", .full = true},
    {.type = "gemma3_text", .full = true, .cache = FMP_CACHE_BF16},
    {.type = "olmo2"},
    {.type = "llama", .by_length = true, .dora = true},
};

static void a_device_that_is_not_the_host_gives_the_same_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        fmp_err err = FMP_ERR_INIT;
        run near, far;
        OK(all_of(&near, &settings[i], NULL, &err));
        OK(all_of(&far, &settings[i], FAR, &err));
        assert_int_equal(near.said.len, far.said.len);
        for (size_t k = 0; k < near.said.len; k++) {
            if (near.said.data[k] != far.said.data[k]) {
                fail_msg("setting %zu (%s): byte %zu of %zu differs", i, settings[i].type, k, near.said.len);
            }
        }
        fmp_buf_free(&near.said);
        fmp_buf_free(&far.said);
    }
}

/* The n-th call of a kind fails, until none does: at first every n, then ever fewer. */
static void every_failure_is_reported(const char *variable, fmp_status expected, const setting *s)
{
    fmp_status status = FMP_E_FAILED;
    int n = 0;
    for (; status != FMP_OK; n += 1 + n / 6) {
        fmp_err err = FMP_ERR_INIT;
        char number[16];
        run r;
        (void)snprintf(number, sizeof number, "%d", n);
        setenv(variable, number, 1);
        status = all_of(&r, s, FAR, &err);
        fmp_buf_free(&r.said);
        if (status != FMP_OK && (status != expected || !err.message[0])) {
            fail_msg("%s=%d: status %d, '%s'", variable, n, status, err.message);
        }
        assert_in_range(n, 0, 1000);
    }
    unsetenv(variable);
    assert_true(n > 10);
}

static void a_device_that_fails_is_an_error_wherever_it_does(void **state)
{
    (void)state;
    every_failure_is_reported("FAR_FAIL_SYNC", FMP_E_IO, &settings[1]);
    every_failure_is_reported("FAR_FAIL_SYNC", FMP_E_IO, &settings[5]);
}

static void a_device_without_room_is_an_error_wherever_it_is(void **state)
{
    (void)state;
    every_failure_is_reported("FAR_FAIL_ALLOC", FMP_E_NOMEM, &settings[1]);
    every_failure_is_reported("FAR_FAIL_ALLOC", FMP_E_NOMEM, &settings[5]);
}

static void the_backend_says_what_computes(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    char line[192];
    run near = {.s = settings}, far = {.s = settings};
    OK(open_model(&near, "cpu", &err));
    OK(open_model(&far, FAR, &err));
    OK(fmp_numerics_describe(line, sizeof line, &err));
    assert_string_equal(fmp_model_numerics(near.m), line);
    assert_string_equal(fmp_model_numerics(far.m), "far");
    fmp_model_free(near.m);
    fmp_model_free(far.m);
}

static void a_backend_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *backend;
        fmp_status status;
        const char *message;
    } cases[] = {
        {"", FMP_E_CONFIG, "is no name of a backend"},
        {"CPU", FMP_E_CONFIG, "'CPU' is no name of a backend"},
        {"..", FMP_E_CONFIG, "is no name of a backend"},
        {"a_name_that_is_longer_than_any_ought_to_be", FMP_E_CONFIG, "is no name of a backend"},
        {"abacus", FMP_E_IO, "fmpipe/backends/fmpipe_backend_abacus.so"},
        {"./nothing.so", FMP_E_IO, "./nothing.so"},
        {NO_BACKEND, FMP_E_MISMATCH, "exports no fmk_backend_table"},
        {FAR_DIR "/backend_far_old.so", FMP_E_MISMATCH, "its table has the version 0, this fmpipe needs 2"},
        {FAR_DIR "/backend_far_short.so", FMP_E_MISMATCH, "its table has 64 bytes"},
        {FAR_DIR "/backend_far_hole.so", FMP_E_MISMATCH, "no function where one is needed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fmp_err err = FMP_ERR_INIT;
        run r = {.s = settings};
        fmp_status status = open_model(&r, cases[i].backend, &err);
        assert_null(r.m);
        if (status != cases[i].status || !strstr(err.message, cases[i].message)) {
            fail_msg("'%s': status %d, '%s'", cases[i].backend, status, err.message);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_that_is_not_the_host_gives_the_same_bytes),
        cmocka_unit_test(a_device_that_fails_is_an_error_wherever_it_does),
        cmocka_unit_test(a_device_without_room_is_an_error_wherever_it_is),
        cmocka_unit_test(the_backend_says_what_computes),
        cmocka_unit_test(a_backend_that_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, fill_batch, NULL);
}
