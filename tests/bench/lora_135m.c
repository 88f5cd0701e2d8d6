/*
 * lora_135m.c: one side of lora_135m.sh: LoRA training on a model folder, in bf16, timed; and the sequences that both
 * sides train on.
 *
 *   lora_135m dense COUNT LENGTH VOCAB              random ids, all supervised, to stdout
 *   lora_135m tokens FOLDER COUNT                   the first sequences of a token artifact, to stdout
 *   lora_135m train MODEL FILE STEPS [THREADS]      one line of JSON
 *
 * A sequence is a line of ids, a supervised one marked by '*'. An optimizer step is PER_STEP lines; they are packed into
 * micro-batches of up to MICRO tokens, whose gradients are summed.
 */
#include <fmpipe/fs.h>
#include <fmpipe/model.h>
#include <fmpipe/tokens.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PER_STEP 4
#define MICRO    512
#define RANK     32

static int die(const fmp_err *err)
{
    (void)fprintf(stderr, "lora_135m: %s\n", err->message);
    return 1;
}

static int write_dense(uint64_t count, uint64_t length, uint64_t vocab)
{
    for (uint64_t i = 0; i < count * length; i++) {
        printf("%" PRIu64 "*%c", fmp_rng_below(1, 1, i, vocab), (i + 1) % length ? ' ' : '\n');
    }
    return 0;
}

static int write_tokens(const char *folder, uint64_t count)
{
    fmp_tokens tokens;
    fmp_err err = FMP_ERR_INIT;
    if (fmp_tokens_open(folder, &tokens, &err) != FMP_OK) { return die(&err); }
    for (uint64_t s = 0; s < tokens.n_segments && s < count; s++) {
        for (uint64_t t = tokens.seg_begin[s]; t < tokens.seg_begin[s + 1]; t++) {
            printf("%" PRIu32 "%s%c", tokens.ids[t], tokens.weight[t] > 0.0f ? "*" : "",
                   t + 1 < tokens.seg_begin[s + 1] ? ' ' : '\n');
        }
    }
    fmp_tokens_close(&tokens);
    return 0;
}

/* All lines, one after another. */
typedef struct sequences {
    uint32_t *id, *begin; /* (n_tokens), (n + 1) */
    float *weight;
    size_t n, n_tokens;
} sequences;

static fmp_status read_sequences(const char *path, sequences *s, fmp_err *err)
{
    fmp_map map;
    FMP_TRY(fmp_map_file(path, &map, err));
    size_t most = map.len / 2 + 2;
    *s = (sequences){.id = malloc(most * sizeof *s->id),
                     .begin = malloc(most * sizeof *s->begin),
                     .weight = malloc(most * sizeof *s->weight)};
    const char *at = (const char *)map.data, *end = at + map.len;
    if (!s->id || !s->begin || !s->weight) {
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for %s", path);
    }
    s->begin[0] = 0;
    while (at < end) {
        uint32_t id = 0;
        while (at < end && *at >= '0' && *at <= '9') {
            id = id * 10 + (uint32_t)(*at++ - '0');
        }
        bool labelled = at < end && *at == '*', first = s->n_tokens == s->begin[s->n];
        at += labelled;
        s->id[s->n_tokens] = id;
        s->weight[s->n_tokens++] = labelled && !first ? 1.0f : 0.0f; /* nothing predicts a first token */
        if (at == end || *at == '\n') { s->begin[++s->n] = (uint32_t)s->n_tokens; }
        at++;
    }
    fmp_unmap(&map);
    return FMP_OK;
}

static void free_sequences(sequences *s)
{
    free(s->id);
    free(s->begin);
    free(s->weight);
}

/* Lines from..end-1 as one micro-batch; seg: room for them. */
static fmp_status micro_batch(fmp_trainer *tr, const sequences *s, size_t from, size_t end, fmp_err *err)
{
    uint32_t seg[PER_STEP + 1], first = s->begin[from];
    for (size_t i = from; i <= end; i++) {
        seg[i - from] = s->begin[i] - first;
    }
    const fmp_batch b = {.n_tokens = s->begin[end] - first,
                         .id = s->id + first,
                         .weight = s->weight + first,
                         .n_segments = end - from,
                         .seg = seg};
    return fmp_trainer_micro(tr, &b, NULL, NULL, err);
}

static fmp_status one_step(fmp_trainer *tr, const sequences *s, size_t from, fmp_step *step, fmp_err *err)
{
    double weight = 0.0;
    for (uint32_t t = s->begin[from]; t < s->begin[from + PER_STEP]; t++) {
        weight += s->weight[t];
    }
    FMP_TRY(fmp_trainer_begin(tr, weight, err));
    for (size_t i = from, end; i < from + PER_STEP; i = end) {
        end = i + 1;
        while (end < from + PER_STEP && s->begin[end + 1] - s->begin[i] <= MICRO) {
            end++;
        }
        FMP_TRY(micro_batch(tr, s, i, end, err));
    }
    return fmp_trainer_end(tr, 1e-4f, step, err);
}

static fmp_status train(fmp_model *m, fmp_adapter *ad, const sequences *s, size_t steps, fmp_err *err)
{
    fmp_train_options o = {.clip_norm = 1.0f, .max_tokens = MICRO};
    for (size_t i = 0; i < s->n; i++) {
        size_t len = s->begin[i + 1] - s->begin[i];
        o.max_tokens = len > o.max_tokens ? len : o.max_tokens;
    }
    fmp_trainer *tr = NULL;
    FMP_TRY(fmp_trainer_new(m, ad, &o, &tr, err));
    double start = 0.0, flops = 0.0, first_loss = 0.0;
    uint64_t tokens = 0;
    fmp_step step = {0};
    fmp_status status = FMP_OK;
    size_t n = 0; /* the first step warms up */
    for (; n <= steps && (n + 1) * PER_STEP <= s->n && status == FMP_OK; n++) {
        if (n == 1) { start = fmp_now(); }
        status = one_step(tr, s, n * PER_STEP, &step, err);
        first_loss = n ? first_loss : step.loss;
        tokens += n ? step.n_tokens : 0;
        flops += n ? step.flops : 0.0;
    }
    double seconds = fmp_now() - start, peak_gflops = fmp_model_measure_gflops(m);
    fmp_memory_plan plan;
    fmp_trainer_plan(m, ad, &o, &plan);
    fmp_trainer_free(tr);
    if (status != FMP_OK) { return status; }
    printf("{\"what\": \"%s\", \"steps\": %zu, \"tokens_per_s\": %.1f, \"sequences_per_s\": %.4f, "
           "\"first_loss\": %.5f, "
           "\"last_loss\": %.5f, \"peak_mib\": %.0f, \"plan_mib\": %zu, \"gflops\": %.1f, "
           "\"matmul_peak_gflops\": %.1f}\n",
           fmp_model_numerics(m), n - 1, (double)tokens / seconds, (double)((n - 1) * PER_STEP) / seconds,
           first_loss, step.loss, (double)fmp_peak_rss() / 0x1p20, plan.bytes >> 20, 1e-9 * flops / seconds,
           peak_gflops);
    return FMP_OK;
}

static int run_training(const char *folder, const char *path, size_t steps, int n_threads)
{
    fmp_err err = FMP_ERR_INIT;
    const fmp_model_options mo = {.n_threads = n_threads, .precision = FMP_PRECISION_BF16};
    const char *const targets[] = {"all-linear"};
    const fmp_adapter_options ao = {
        .rank = RANK, .alpha = RANK, .targets = targets, .n_targets = 1, .seed = 1};
    fmp_model *m = NULL;
    fmp_adapter *ad = NULL;
    sequences s = {0};
    fmp_status status = read_sequences(path, &s, &err);
    if (status == FMP_OK) { status = fmp_model_open(folder, &mo, &m, &err); }
    if (status == FMP_OK) { status = fmp_adapter_new(m, &ao, &ad, &err); }
    if (status == FMP_OK) { status = train(m, ad, &s, steps, &err); }
    fmp_adapter_free(ad);
    fmp_model_free(m);
    free_sequences(&s);
    return status == FMP_OK ? 0 : die(&err);
}

static uint64_t number(const char *text)
{
    return strtoull(text, NULL, 10);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "dense") == 0 && argc == 5) {
        return write_dense(number(argv[2]), number(argv[3]), number(argv[4]));
    }
    if (strcmp(what, "tokens") == 0 && argc == 4) { return write_tokens(argv[2], number(argv[3])); }
    if (strcmp(what, "train") == 0 && (argc == 5 || argc == 6)) {
        return run_training(argv[2], argv[3], (size_t)number(argv[4]), argc > 5 ? (int)number(argv[5]) : 2);
    }
    (void)fprintf(stderr,
                  "usage: lora_135m dense COUNT LENGTH VOCAB | tokens FOLDER COUNT | train MODEL FILE STEPS "
                  "[THREADS]\n");
    return 2;
}
