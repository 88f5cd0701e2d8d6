/*
 * generate_bench.c: tokens per second of a prompt and of the text after it, for a random model of SmolLM2-135M's
 * shape, beside what the machine's memory allows: each token of a batch of one reads every weight once.
 *
 *   generate_bench [threads] [f32|bf16] [f32|bf16|q8 cache] [layers]
 */
#include <fmpipe/fs.h>
#include <fmpipe/model.h>
#include <stdlib.h>
#include <string.h>

enum { PROMPT = 512, NEW = 64, BATCH = 8, ROUNDS = 3 };

static int die(const fmp_err *err)
{
    fprintf(stderr, "generate_bench: %s\n", err->message);
    return 1;
}

/* ---- memory bandwidth: all threads add up 512 MiB ---- */

enum { PIECES = 512, PIECE = 1 << 17 }; /* 8-byte words of a piece: 1 MiB */

typedef struct sum_job {
    const uint64_t *data;
    uint64_t sum[PIECES];
} sum_job;

static void sum_piece(void *arg, size_t i)
{
    sum_job *job = arg;
    const uint64_t *x = job->data + i * PIECE;
    uint64_t lane[8] = {0};
    for (size_t k = 0; k < PIECE; k += 8) {
        for (size_t j = 0; j < 8; j++) {
            lane[j] += x[k + j];
        }
    }
    job->sum[i] = lane[0] + lane[1] + lane[2] + lane[3] + lane[4] + lane[5] + lane[6] + lane[7];
}

typedef struct memory {
    fmp_pool *pool;
    uint64_t *data;
    double best; /* bytes a second, in the best of all rounds */
} memory;

static fmp_status open_memory(memory *m, int n_threads, fmp_err *err)
{
    m->data = malloc((size_t)PIECES * PIECE * sizeof *m->data);
    if (!m->data) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for 512 MiB to read"); }
    memset(m->data, 1, (size_t)PIECES * PIECE * sizeof *m->data);
    return fmp_pool_new(n_threads, &m->pool, err);
}

static void read_memory(memory *m)
{
    static sum_job job;
    job.data = m->data;
    double start = fmp_now();
    fmp_pool_for(m->pool, PIECES, sum_piece, &job);
    double rate = (double)PIECES * PIECE * sizeof *m->data / (fmp_now() - start);
    m->best = rate > m->best ? rate : m->best;
}

static void close_memory(memory *m)
{
    fmp_pool_free(m->pool);
    free(m->data);
}

/* ---- generation ---- */

static fmp_status seconds_of(fmp_model *m, const fmp_generate_options *o, const fmp_prompt *prompts, size_t n,
                             double *seconds, fmp_err *err)
{
    fmp_generated out[BATCH];
    fmp_arena *arena = fmp_arena_new(0);
    double start = fmp_now();
    fmp_status status = fmp_generate(m, NULL, prompts, n, o, arena, out, err);
    double took = fmp_now() - start;
    *seconds = took < *seconds ? took : *seconds;
    fmp_arena_free(arena);
    return status;
}

/* weight_bytes: what one pass of one token reads. Memory is measured between, so that both see the same machine. */
static fmp_status bench(fmp_model *m, fmp_cache_kind cache, double weight_bytes, memory *mem, fmp_err *err)
{
    uint32_t id[PROMPT + BATCH];
    fmp_prompt prompts[BATCH];
    for (size_t t = 0; t < PROMPT + BATCH; t++) {
        id[t] = (uint32_t)fmp_rng_below(2, 1, t, fmp_model_get_spec(m)->vocab_size);
    }
    for (size_t i = 0; i < BATCH; i++) {
        prompts[i] = (fmp_prompt){.id = id + i, .n = PROMPT, .stream = i};
    }
    fmp_generate_options one = {.max_new_tokens = 1, .cache = cache}, many = one;
    many.max_new_tokens = NEW + 1;
    fmp_generate_options drawn = many;
    drawn.temperature = 0.8f;
    drawn.top_k = 50; /* a random model's probabilities are flat: top-p alone would sort all of them */
    drawn.top_p = 0.95f;
    double prompt = 1e9, text = 1e9, sampled = 1e9, batch = 1e9, prefill = 1e9;
    for (int r = 0; r < ROUNDS; r++) {
        read_memory(mem);
        FMP_TRY(seconds_of(m, &one, prompts, 1, &prompt, err));
        FMP_TRY(seconds_of(m, &many, prompts, 1, &text, err));
        read_memory(mem);
        FMP_TRY(seconds_of(m, &drawn, prompts, 1, &sampled, err));
        FMP_TRY(seconds_of(m, &one, prompts, BATCH, &prefill, err));
        FMP_TRY(seconds_of(m, &many, prompts, BATCH, &batch, err));
    }
    double rate = NEW / (text - prompt);
    printf("prompt of %d tokens     %8.0f tokens/s\n", PROMPT, PROMPT / prompt);
    printf("text, batch 1, greedy    %8.1f tokens/s\n", rate);
    printf("text, batch 1, sampled   %8.1f tokens/s\n", NEW / (sampled - prompt));
    printf("text, batch %d            %8.1f tokens/s\n", BATCH, BATCH * NEW / (batch - prefill));
    printf("weights %.0f MB, memory %.1f GB/s: at most %.1f tokens/s; reached %.0f %%\n", 1e-6 * weight_bytes,
           1e-9 * mem->best, mem->best / weight_bytes, 100.0 * rate * weight_bytes / mem->best);
    return FMP_OK;
}

static const char *word(int argc, char **argv, int i, const char *fallback)
{
    return argc > i ? argv[i] : fallback;
}

int main(int argc, char **argv)
{
    fmp_err err = FMP_ERR_INIT;
    int n_threads = (int)strtol(word(argc, argv, 1, "2"), NULL, 10);
    bool bf16 = strcmp(word(argc, argv, 2, "bf16"), "bf16") == 0;
    const char *cache = word(argc, argv, 3, "f32");
    const fmp_model_spec spec = {.model_type = "llama",
                                 .n_layers = (uint32_t)strtoul(word(argc, argv, 4, "30"), NULL, 10),
                                 .n_channels = 576,
                                 .n_heads = 9,
                                 .n_kv_heads = 3,
                                 .head_size = 64,
                                 .n_ff = 1536,
                                 .vocab_size = 49152,
                                 .max_positions = 2048,
                                 .norm_eps = 1e-5,
                                 .tied = true,
                                 .rope = {{.theta = 10000.0}},
                                 .bos_id = -1,
                                 .eos_id = -1,
                                 .pad_id = -1};
    const fmp_model_options mo = {.n_threads = n_threads,
                                  .precision = bf16 ? FMP_PRECISION_BF16 : FMP_PRECISION_F32};
    memory mem = {0};
    fmp_model *m = NULL;
    if (open_memory(&mem, n_threads, &err) != FMP_OK || fmp_model_new(&spec, 7, &mo, &m, &err) != FMP_OK) {
        return die(&err);
    }
    double bytes = (double)fmp_model_n_params(m) * (bf16 ? 2 : 4);
    printf("%s, %d threads, %.1f M parameters, weights %s, cache %s\n", fmp_model_numerics(m), n_threads,
           1e-6 * (double)fmp_model_n_params(m), bf16 ? "bf16" : "f32", cache);
    fmp_cache_kind kind = strcmp(cache, "q8") == 0     ? FMP_CACHE_Q8
                          : strcmp(cache, "bf16") == 0 ? FMP_CACHE_BF16
                                                       : FMP_CACHE_F32;
    fmp_status status = bench(m, kind, bytes, &mem, &err);
    fmp_model_free(m);
    close_memory(&mem);
    return status == FMP_OK ? 0 : die(&err);
}
