/*
 * model_bench.c: tokens per second of training and generation on a random model.
 *
 *   model_bench [threads] [C] [layers] [T] [f32|bf16] [lora|full]
 */
#include <fmpipe/fs.h>
#include <fmpipe/model.h>
#include <stdlib.h>

static int die(const fmp_err *err)
{
    fprintf(stderr, "model_bench: %s\n", err->message);
    return 1;
}

/* Segments of 50 to 300 tokens, as packed conversations have; two tokens of three are labelled. */
static size_t make_batch(size_t T, uint32_t V, uint32_t *id, float *weight, uint32_t *seg)
{
    size_t n = 0, at = 0;
    while (at < T) {
        size_t len = 50 + fmp_rng_below(1, 1, n, 251);
        seg[n++] = (uint32_t)at;
        at = T - at < len + 50 ? T : at + len;
    }
    seg[n] = (uint32_t)T;
    for (size_t t = 0; t < T; t++) {
        id[t] = (uint32_t)fmp_rng_below(2, 1, t, V);
        weight[t] = t % 3 == 0 ? 0.0f : 1.0f;
    }
    for (size_t s = 0; s < n; s++) {
        weight[seg[s]] = 0.0f;
    }
    return n;
}

static double total_weight(const fmp_batch *b)
{
    double sum = 0.0;
    for (size_t t = 0; t < b->n_tokens; t++) {
        sum += b->weight[t];
    }
    return sum;
}

static fmp_status bench_training(fmp_model *m, fmp_adapter *ad, const fmp_batch *b, const char *what,
                                 fmp_err *err)
{
    const fmp_train_options o = {.clip_norm = 1.0f, .max_tokens = b->n_tokens};
    fmp_trainer *tr = NULL;
    FMP_TRY(fmp_trainer_new(m, ad, &o, &tr, err));
    double start = 0.0;
    fmp_step step = {0};
    fmp_status status = FMP_OK;
    int n = 0;
    for (; n < 40 && status == FMP_OK && (n < 6 || fmp_now() - start < 4.0); n++) {
        if (n == 2) { start = fmp_now(); }
        status = fmp_trainer_begin(tr, total_weight(b), err);
        if (status == FMP_OK) { status = fmp_trainer_micro(tr, b, NULL, NULL, err); }
        if (status == FMP_OK) { status = fmp_trainer_end(tr, 1e-3f, &step, err); }
    }
    double seconds = fmp_now() - start;
    fmp_memory_plan plan;
    fmp_trainer_plan(m, ad, &o, &plan);
    printf("%-5s %8.0f tokens/s  %6.1f ms a step of %zu tokens, loss %.3f, %zu MiB\n", what,
           (double)b->n_tokens * (n - 2) / seconds, 1e3 * seconds / (n - 2), b->n_tokens, step.loss,
           plan.bytes >> 20);
    fmp_trainer_free(tr);
    return status;
}

static fmp_status bench_generation(fmp_model *m, const fmp_adapter *ad, const fmp_batch *b, fmp_err *err)
{
    enum { PROMPTS = 16, NEW = 64 };
    fmp_prompt prompts[PROMPTS];
    fmp_generated out[PROMPTS];
    const fmp_generate_options o = {.max_new_tokens = NEW};
    for (size_t i = 0; i < PROMPTS; i++) {
        prompts[i] = (fmp_prompt){.id = b->id + i, .n = 40 + i, .stream = i};
    }
    fmp_arena *arena = fmp_arena_new(0);
    FMP_TRY(fmp_generate(m, ad, prompts, 1, &o, arena, out, err));
    double start = fmp_now();
    FMP_TRY(fmp_generate(m, ad, prompts, 1, &o, arena, out, err));
    double one = fmp_now() - start;
    start = fmp_now();
    FMP_TRY(fmp_generate(m, ad, prompts, PROMPTS, &o, arena, out, err));
    double all = fmp_now() - start;
    printf("generation: 1 prompt %.0f tokens/s, 16 prompts %.0f tokens/s\n", NEW / one, PROMPTS * NEW / all);
    fmp_arena_free(arena);
    return FMP_OK;
}

static uint32_t number(int argc, char **argv, int i, uint32_t fallback)
{
    return argc > i ? (uint32_t)strtoul(argv[i], NULL, 10) : fallback;
}

int main(int argc, char **argv)
{
    fmp_err err = FMP_ERR_INIT;
    uint32_t C = number(argc, argv, 2, 192), L = number(argc, argv, 3, 6), T = number(argc, argv, 4, 2048);
    bool bf16 = argc > 5 && strcmp(argv[5], "bf16") == 0, full = argc > 6 && strcmp(argv[6], "full") == 0;
    const fmp_model_spec spec = {.model_type = "llama",
                                 .n_layers = L,
                                 .n_channels = C,
                                 .n_heads = C / 32,
                                 .n_kv_heads = C / 64,
                                 .head_size = 32,
                                 .n_ff = (C * 8 / 3 + 63) / 64 * 64,
                                 .vocab_size = 4096,
                                 .max_positions = 2048,
                                 .norm_eps = 1e-5,
                                 .tied = true,
                                 .rope = {{.theta = 10000.0}},
                                 .bos_id = -1,
                                 .eos_id = -1,
                                 .pad_id = -1};
    const fmp_model_options mo = {.n_threads = (int)number(argc, argv, 1, 2),
                                  .precision = bf16 ? FMP_PRECISION_BF16 : FMP_PRECISION_F32};
    const char *const targets[] = {"all-linear"};
    const fmp_adapter_options ao = {.rank = 16, .alpha = 32.0, .targets = targets, .n_targets = 1, .seed = 1};
    fmp_model *m = NULL;
    fmp_adapter *ad = NULL;
    uint32_t *id = malloc(T * sizeof *id), *seg = malloc((T + 1) * sizeof *seg);
    float *weight = malloc(T * sizeof *weight);
    if (!id || !seg || !weight || fmp_model_new(&spec, 7, &mo, &m, &err) != FMP_OK) { return die(&err); }
    fmp_batch b = {.n_tokens = T, .id = id, .weight = weight, .seg = seg};
    b.n_segments = make_batch(T, spec.vocab_size, id, weight, seg);
    printf("%s, %d threads, %.2f M parameters, %zu segments\n", fmp_model_numerics(m), mo.n_threads,
           1e-6 * (double)fmp_model_n_params(m), b.n_segments);
    if (!full && fmp_adapter_new(m, &ao, &ad, &err) != FMP_OK) { return die(&err); }
    if (bench_training(m, ad, &b, full ? "full" : "lora", &err) != FMP_OK) { return die(&err); }
    if (bench_generation(m, ad, &b, &err) != FMP_OK) { return die(&err); }
    fmp_adapter_free(ad);
    fmp_model_free(m);
    free(id);
    free(seg);
    free(weight);
    return 0;
}
