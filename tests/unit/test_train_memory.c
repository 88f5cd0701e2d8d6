/* links: fmbase fmtext fmmodel fmtrain */
/*
 * test_train_memory.c: what a training run is said to take before its first step, beside what it takes: for adapters and whole
 * models, long rows and large vocabularies, with and without a budget. Memory is looked at every half millisecond by a thread
 * of its own, in a child process for each case; what counts is its growth, so that nothing hides behind a large base.
 */
#include "model_test.h"

#include <fmpipe/fs.h>
#include <fmpipe/json.h>
#include <fmpipe/train.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* ---- a host that keeps the facts ---- */

static cJSON *facts;
static char announced[256];

static void host_point(const fmp_host *host, const char *series, uint64_t step, double value)
{
    (void)host, (void)series, (void)step, (void)value;
}

static void host_fact(const fmp_host *host, const char *name, cJSON *value)
{
    (void)host;
    cJSON_AddItemToObject(facts, name, value);
}

static void host_progress(const fmp_host *host, uint64_t done, uint64_t total, const char *unit,
                          const char *text)
{
    (void)host, (void)total, (void)unit;
    if (done == 0) { (void)snprintf(announced, sizeof announced, "%s", text); }
}

static const fmp_ext_metrics metrics = {
    .struct_size = sizeof metrics, .fact = host_fact, .point = host_point};
static const fmp_ext_progress progress = {.struct_size = sizeof progress, .update = host_progress};

static const void *host_extension(const fmp_host *host, const char *name)
{
    (void)host;
    if (strcmp(name, FMP_EXT_METRICS) == 0) { return &metrics; }
    return strcmp(name, FMP_EXT_PROGRESS) == 0 ? &progress : NULL;
}

static const fmp_host host = {.struct_size = sizeof host, .get_extension = host_extension};

/* ---- what the process has ---- */

/* Bytes that no file backs. */
static double anonymous_now(void)
{
    unsigned long size, resident, shared;
    FILE *f = fopen("/proc/self/statm", "r");
    bool ok = f && fscanf(f, "%lu %lu %lu", &size, &resident, &shared) == 3;
    if (f) { (void)fclose(f); }
    return ok ? (double)(resident - shared) * (double)sysconf(_SC_PAGESIZE) : 0.0;
}

static atomic_bool watching;
static double peak;

static void *watch(void *arg)
{
    const struct timespec pause = {.tv_nsec = 500 * 1000};
    while (atomic_load(&watching)) {
        peak = fmax(peak, anonymous_now());
        (void)nanosleep(&pause, NULL);
    }
    return arg;
}

/* ---- cases ---- */

typedef struct shape {
    const char *what;
    uint32_t layers, channels, ff, vocab, rank; /* rank 0: all weights */
    size_t row;
    bool bf16, dora;
} shape;

static const shape shapes[] = {
    {"deep, adapter", 8, 192, 512, 2048, 16, 768, false, false},
    {"long rows, bf16 adapter", 4, 128, 384, 1024, 8, 3072, true, false},
    {"large vocabulary, DoRA", 10, 128, 256, 24000, 32, 1024, false, true},
    {"all weights", 4, 192, 512, 4096, 0, 768, false, false},
};

typedef struct seen {
    double before;                  /* bytes of the process when the run begins */
    double grown, estimate, budget; /* bytes on top of them                     */
    double n_recomputed;
} seen;

/* Two rows of one segment each. */
static void fill_tokens(const shape *s, fmp_tokens *out)
{
    uint32_t *ids = calloc(2 * s->row, sizeof *ids), *bins = calloc(3, sizeof *bins);
    uint64_t *begin = calloc(3, sizeof *begin);
    float *weight = calloc(2 * s->row, sizeof *weight);
    static const uint32_t segments[] = {0, 1};
    assert_true(ids && bins && begin && weight);
    for (size_t i = 0; i < 2 * s->row; i++) {
        ids[i] = (uint32_t)fmp_rng_below(1, 2, i, s->vocab);
        weight[i] = i % s->row > 0 ? 1.0f : 0.0f;
    }
    for (uint32_t i = 0; i < 3; i++) {
        begin[i] = i * s->row;
        bins[i] = i;
    }
    *out = (fmp_tokens){.n_tokens = 2 * s->row,
                        .n_segments = 2,
                        .n_bins = 2,
                        .bin_size = (uint32_t)s->row,
                        .max_tokens = (uint32_t)s->row,
                        .vocab_size = s->vocab,
                        .ids = ids,
                        .weight = weight,
                        .seg_begin = begin,
                        .record = "00000000000000010000000000000002",
                        .bin_begin = bins,
                        .bin_seg = segments};
}

static fmp_status run(const shape *s, size_t budget, const char *work, seen *out, fmp_err *err)
{
    static const char *const all[] = {"all-linear"};
    fmp_model_spec spec = tiny_spec("llama", s->layers, s->vocab);
    spec.n_channels = s->channels;
    spec.n_ff = s->ff;
    spec.n_heads = s->channels / 32;
    spec.n_kv_heads = spec.n_heads / 2;
    spec.head_size = 32;
    spec.max_positions = (uint32_t)s->row;
    const fmp_model_options mo = {.n_threads = 2,
                                  .precision = s->bf16 ? FMP_PRECISION_BF16 : FMP_PRECISION_F32};
    const fmp_adapter_options ao = {
        .rank = s->rank, .alpha = 8.0, .targets = all, .n_targets = 1, .seed = 9, .dora = s->dora};
    const fmp_train_config config = {.epochs = 1,
                                     .batch = 1,
                                     .learning_rate = 1e-3,
                                     .beta1 = 0.9f,
                                     .beta2 = 0.99f,
                                     .eps = 1e-8f,
                                     .log_every = 1,
                                     .memory_bytes = budget};
    const fmp_task task = {.struct_size = sizeof task, .host = &host, .seed = 9, .work_dir = work};
    fmp_tokens tokens;
    fmp_train_result result;
    fmp_model *m = NULL;
    fmp_adapter *ad = NULL;
    fill_tokens(s, &tokens);
    FMP_TRY(fmp_model_new(&spec, 5, &mo, &m, err));
    if (s->rank) { FMP_TRY(fmp_adapter_new(m, &ao, &ad, err)); }
    facts = cJSON_CreateObject();
    double before = anonymous_now();
    pthread_t thread;
    atomic_store(&watching, true);
    assert_int_equal(pthread_create(&thread, NULL, watch, NULL), 0);
    fmp_status status = fmp_train_run(&task, &config, m, ad, &tokens, NULL, &result, err);
    atomic_store(&watching, false);
    assert_int_equal(pthread_join(thread, NULL), 0);
    *out = (seen){.before = before,
                  .grown = peak - before,
                  .estimate = fmp_json_num(facts, "memory_estimate_bytes", 0) - before,
                  .budget = budget > 0 ? (double)budget - before : 0.0,
                  .n_recomputed = fmp_json_num(facts, "recomputed_layers", -1)};
    return status;
}

/* In a child process: its heap is as a run finds it. */
static seen run_child(const shape *s, size_t budget)
{
    char work[] = "/tmp/fmp_test_memory.XXXXXX";
    int channel[2], how = 0;
    seen found = {0};
    fmp_err err = FMP_ERR_INIT;
    assert_non_null(mkdtemp(work));
    assert_int_equal(pipe(channel), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        fmp_status status = run(s, budget, work, &found, &err);
        if (status != FMP_OK) { (void)fprintf(stderr, "child: %s\n", err.message); }
        bool said = strncmp(announced, "takes about ", 12) == 0 && strstr(announced, " MiB");
        bool sent = write(channel[1], &found, sizeof found) == (ssize_t)sizeof found;
        _exit(status == FMP_OK && said && sent ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &how, 0), pid);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    assert_int_equal(read(channel[0], &found, sizeof found), sizeof found);
    (void)close(channel[0]);
    (void)close(channel[1]);
    OK(fmp_remove_tree(work, &err));
    return found;
}

static void check_close(const shape *s, const char *how, const seen *found)
{
    double share = found->estimate / found->grown;
    print_message("%-26s %-14s said %6.1f MiB, grew by %6.1f MiB: %.2f\n", s->what, how,
                  found->estimate / 1048576.0, found->grown / 1048576.0, share);
    if (share < 0.85 || share > 1.15) { fail_msg("%s, %s: more than 15 %% off", s->what, how); }
}

static void the_estimate_is_within_fifteen_percent(void **state)
{
    (void)state;
    if (SANITIZED) {
        print_message("skipped: a sanitizer's own memory is in what is measured\n");
        skip();
    }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const shape *s = &shapes[i];
        seen whole = run_child(s, 0);
        check_close(s, "without budget", &whole);
        assert_true(whole.n_recomputed == 0);
        /* what is there before, and four fifths of what is added */
        size_t budget = (size_t)(whole.before + 0.8 * whole.estimate);
        seen less = run_child(s, budget);
        check_close(s, "with a budget", &less);
        assert_true(less.n_recomputed > 0);
        assert_true(less.estimate <= less.budget && less.grown <= 1.05 * less.budget);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_estimate_is_within_fifteen_percent)};
    fmp_json_install_hooks();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
