/* links: fmbase fmtext fmmodel fmtrain */
/*
 * test_train.c: the training loop, run by a host of its own in child processes that are killed at named points:
 * before a micro-batch in the middle of a step, around an update, inside a checkpoint, at an epoch's end. Every
 * run that is then continued, with any number of threads, must write the bytes of an undisturbed one.
 * The points are those of kill_points.h.
 */
#include "model_test.h"

#include "kill_points.h"
#include <fmpipe/json.h>
#include <fmpipe/sources.h>
#include <fmpipe/train.h>
#include <math.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- data: 10 bins of 1 to 3 segments in two locales, the last bin a short one ---- */

enum { V = 48, N_BINS = 10, MAX_SEGMENTS = 3 * N_BINS, MAX_TOKENS = 40 * MAX_SEGMENTS };

typedef struct corpus {
    uint32_t ids[MAX_TOKENS], bin_begin[N_BINS + 1], bin_seg[MAX_SEGMENTS];
    float weight[MAX_TOKENS];
    uint64_t seg_begin[MAX_SEGMENTS + 1];
    uint16_t locale[MAX_SEGMENTS];
    char record[MAX_SEGMENTS * FMP_TOKENS_RECORD + 1];
    double locale_weight[2];
    fmp_tokens tokens;
} corpus;

static const char *const locales[] = {"de-DE", "en-US"};

static void fill_corpus(corpus *c, uint64_t seed)
{
    size_t at = 0, s = 0;
    memset(c, 0, sizeof *c);
    for (uint32_t b = 0; b < N_BINS; b++) {
        size_t n_segments = b + 1 == N_BINS ? 1 : 1 + fmp_rng_below(seed, 1, b, 3);
        for (size_t k = 0; k < n_segments; k++, s++) {
            size_t len = 8 + fmp_rng_below(seed, 2, s, 30);
            c->locale[s] = (uint16_t)fmp_rng_below(seed, 3, s, 2);
            c->bin_seg[s] = (uint32_t)s;
            for (size_t t = 0; t < len; t++, at++) {
                c->ids[at] = (uint32_t)(t % 3 ? (t * 7 + c->locale[s]) % V : fmp_rng_below(seed, 4, at, V));
                c->weight[at] = t > 0 && t % 4 ? 1.0f : 0.0f;
                c->locale_weight[c->locale[s]] += c->weight[at];
            }
            c->seg_begin[s + 1] = at;
            (void)snprintf(c->record + s * FMP_TOKENS_RECORD, FMP_TOKENS_RECORD + 1, "%016zx", s + 1);
        }
        c->bin_begin[b + 1] = (uint32_t)s;
    }
    c->tokens = (fmp_tokens){.n_tokens = at,
                             .n_segments = s,
                             .n_bins = N_BINS,
                             .bin_size = 128,
                             .max_tokens = 40,
                             .vocab_size = V,
                             .n_locales = 2,
                             .ids = c->ids,
                             .weight = c->weight,
                             .seg_begin = c->seg_begin,
                             .record = c->record,
                             .locale = c->locale,
                             .bin_begin = c->bin_begin,
                             .bin_seg = c->bin_seg,
                             .locales = locales};
}

/* ---- a host that remembers points and log lines ---- */

typedef struct seen_point {
    char series[64];
    uint64_t step;
    double value;
} seen_point;

static seen_point seen[4096];
static size_t n_seen;
static char logged[16384];

static void host_point(const fmp_host *host, const char *series, uint64_t step, double value)
{
    (void)host;
    assert_true(isfinite(value) && n_seen < sizeof seen / sizeof *seen);
    seen[n_seen] = (seen_point){.step = step, .value = value};
    (void)snprintf(seen[n_seen++].series, sizeof seen->series, "%s", series);
}

/* Losses by a property are kept as points "FACT.NAME" of step 0. */
static void host_fact(const fmp_host *host, const char *name, cJSON *value)
{
    const cJSON *row, *losses = strstr(name, "loss_by_") ? value : NULL;
    cJSON_ArrayForEach(row, losses)
    {
        char series[64];
        (void)snprintf(series, sizeof series, "%s.%s", name, cJSON_GetArrayItem(row, 0)->valuestring);
        host_point(host, series, 0, cJSON_GetArrayItem(row, 1)->valuedouble);
    }
    cJSON_Delete(value);
}

FMP_PRINTF(3, 4) static void host_log(const fmp_host *host, fmp_log_level level, const char *fmt, ...)
{
    (void)host;
    (void)level;
    size_t used = strlen(logged);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(logged + used, sizeof logged - used, fmt, ap);
    va_end(ap);
}

static const fmp_ext_metrics host_metrics = {
    .struct_size = sizeof host_metrics, .fact = host_fact, .point = host_point};
static const fmp_ext_log host_logs = {.struct_size = sizeof host_logs, .log = host_log};

static const void *host_extension(const fmp_host *host, const char *name)
{
    (void)host;
    if (strcmp(name, FMP_EXT_METRICS) == 0) { return &host_metrics; }
    if (strcmp(name, FMP_EXT_LOG) == 0) { return &host_logs; }
    return NULL;
}

static const fmp_host host = {.struct_size = sizeof host, .get_extension = host_extension};

/* ---- one run ---- */

typedef struct job {
    fmp_train_config config;
    bool full, dora, bf16;
    double dropout;
    bool without_eval;
} job;

static corpus train_data, eval_data;

static job plain_job(void)
{
    return (job){
        .config = {.epochs = 2.6, /* ends in the middle of an epoch, steps reach over their borders */
                   .batch = 3,
                   .schedule = FMP_SCHEDULE_COSINE,
                   .learning_rate = 1e-2,
                   .warmup = 0.2,
                   .weight_decay = 0.1f,
                   .clip_norm = 1.0f,
                   .beta1 = 0.9f,
                   .beta2 = 0.99f,
                   .eps = 1e-8f,
                   .eval_every = 2,
                   .log_every = 2,
                   .checkpoint_every = 2,
                   .keep_best = true}};
}

static const char *base_dir; /* NULL: a model made from a seed */

static fmp_status new_model(const job *j, int n_threads, fmp_model **out, fmp_err *err)
{
    const fmp_model_spec spec = tiny_spec("llama", 3, V);
    const fmp_model_options o = {.n_threads = n_threads,
                                 .precision = j->bf16 ? FMP_PRECISION_BF16 : FMP_PRECISION_F32};
    return base_dir ? fmp_model_open(base_dir, &o, out, err) : fmp_model_new(&spec, 5, &o, out, err);
}

/* Train in `work`, write the result into `out` (NULL: nowhere). */
static fmp_status run_job(const job *j, int n_threads, const char *work, const char *out,
                          fmp_train_result *result, fmp_err *err)
{
    static const char *const all[] = {"all-linear"};
    const fmp_adapter_options o = {.rank = 4,
                                   .alpha = 8.0,
                                   .targets = all,
                                   .n_targets = 1,
                                   .seed = 9,
                                   .dora = j->dora,
                                   .dropout = j->dropout};
    const fmp_input tokens = {.struct_size = sizeof tokens, .port = "tokens", .path = work};
    const fmp_task task = {.struct_size = sizeof task,
                           .host = &host,
                           .seed = 9,
                           .work_dir = work,
                           .n_inputs = 1,
                           .inputs = &tokens};
    fmp_model *m = NULL;
    fmp_adapter *ad = NULL;
    fmp_status status = new_model(j, n_threads, &m, err);
    if (status == FMP_OK && !j->full) { status = fmp_adapter_new(m, &o, &ad, err); }
    if (status == FMP_OK) {
        status = fmp_train_run(&task, &j->config, m, ad, &train_data.tokens,
                               j->without_eval ? NULL : &eval_data.tokens, result, err);
    }
    if (status == FMP_OK && out) {
        status = ad ? fmp_adapter_save(ad, out, "base", FMP_DTYPE_F32, err)
                    : fmp_model_save(m, NULL, out, FMP_DTYPE_F32, err);
    }
    fmp_adapter_free(ad);
    fmp_model_free(m);
    return status;
}

/* In a child process; its signal or, negative, its exit code. */
static int run_child(const job *j, int n_threads, kill_plan kill, const char *work, const char *out)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        fmp_err err = FMP_ERR_INIT;
        fmp_train_result result;
        memset(reached, 0, sizeof reached);
        plan = kill;
        fmp_status status = run_job(j, n_threads, work, out, &result, &err);
        if (status != FMP_OK) { (void)fprintf(stderr, "child: %s %s\n", err.message, err.notes); }
        _exit(status == FMP_OK ? 0 : 1);
    }
    int how = 0;
    assert_int_equal(waitpid(pid, &how, 0), pid);
    return WIFSIGNALED(how) ? WTERMSIG(how) : -WEXITSTATUS(how);
}

/* In memory where that is offered: a killed process does not need a disk, and syncing one takes a while. */
static char *temp_dir(void)
{
    bool memory = access("/dev/shm", W_OK) == 0;
    char *dir = strdup(memory ? "/dev/shm/fmp_test_train.XXXXXX" : "/tmp/fmp_test_train.XXXXXX");
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

enum { MOST_KILLS = 3 };

/* Digest of the result of a run that is killed at each of `kills` and continued. */
static void digest_of(const job *j, const int *threads, const kill_plan *kills, char hex[65])
{
    fmp_err err = FMP_ERR_INIT;
    char *dir = temp_dir(), *work = fmp_path_join(dir, "work"), *out = fmp_path_join(dir, "out");
    OK(fmp_mkdirs(work, &err));
    for (int i = 0; i <= MOST_KILLS; i++) {
        kill_plan kill = i < MOST_KILLS && kills ? kills[i] : (kill_plan){0};
        int how = run_child(j, threads[i], kill, work, out);
        if (kill.at == NOWHERE) {
            assert_int_equal(how, 0);
            break;
        }
        if (how != SIGKILL) {
            fail_msg("point %d was not reached %d times: ended with %d", kill.at, kill.n, how);
        }
    }
    OK(fmp_sha256_tree(out, hex, &err));
    free(work);
    free(out);
    drop_dir(dir);
}

/* ---- tests ---- */

static void threads_change_no_byte(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        job j = plain_job();
        j.full = kind == 1;
        j.dora = kind == 2;
        j.bf16 = kind == 2;
        j.dropout = kind == 2 ? 0.1 : 0.0;
        char want[65], got[65];
        digest_of(&j, (const int[]){1}, NULL, want);
        static const int counts[] = {2, 3, 8};
        for (int i = 0; i < 3; i++) {
            digest_of(&j, &counts[i], NULL, got);
            if (strcmp(want, got) != 0) { fail_msg("kind %d: other bytes with %d threads", kind, counts[i]); }
        }
    }
}

/* Steps have 3 micro-batches; checkpoints are made after steps 2, 4, 6 and 8 of 9, the best one beside them. */
static const struct {
    const char *what;
    kill_plan kills[MOST_KILLS];
    int threads[MOST_KILLS + 1];
} cases[] = {
    {"before the first step", {{MICRO, 1}}, {2, 1}},
    {"in the middle of step 1", {{MICRO, 3}}, {1, 2}},
    {"in the middle of step 6", {{MICRO, 17}}, {3, 1}},
    {"between gradient and update of step 5", {{END, 5}}, {1, 8}},
    {"after the update of step 7", {{ENDED, 7}}, {2, 3}},
    {"where an epoch ends within step 4", {{MICRO, 11}}, {8, 2}},
    {"before the second checkpoint's tensors", {{SAVE, 3}}, {1, 1}},
    {"between the files of a checkpoint", {{WRITE, 5}}, {2, 1}},
    {"before a checkpoint is synced", {{SYNC, 3}}, {1, 2}},
    {"before a checkpoint has its name", {{RENAME, 9}}, {3, 2}},
    {"after it has, and twice more", {{RENAMED, 9}, {MICRO, 2}, {MICRO, 8}}, {1, 2, 3, 8}},
    {"three times, at the last step too", {{MICRO, 14}, {END, 4}, {END, 1}}, {2, 1, 8, 3}},
};

static void a_killed_run_goes_on_to_the_same_bytes(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        job j = plain_job();
        j.full = kind == 0;
        j.dora = kind == 1;
        j.dropout = kind == 1 ? 0.1 : 0.0;
        char want[65], got[65];
        digest_of(&j, (const int[]){1}, NULL, want);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            digest_of(&j, cases[i].threads, cases[i].kills, got);
            if (strcmp(want, got) != 0) {
                fail_msg("%s killed %s: other bytes", kind ? "adapter" : "model", cases[i].what);
            }
        }
    }
}

/* Damage of a file below work/, which the run that goes on must notice. */
static void damage(const char *work, const char *file)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_buf bytes = {0};
    char *path = fmp_path_join(work, file);
    OK(fmp_read_file(path, 0, &bytes, &err));
    assert_true(bytes.len > 100);
    bytes.data[bytes.len - 50] ^= 1;
    OK(fmp_write_file(path, bytes.data, bytes.len, &err));
    fmp_buf_free(&bytes);
    free(path);
}

static void damaged_checkpoints_are_not_used(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    const job j = plain_job();
    char want[65], got[65];
    digest_of(&j, (const int[]){1}, NULL, want);
    static const char *const files[] = {"best/state/trainer.safetensors",
                                        "ckpt-00000000000000000006/state/trainer.safetensors",
                                        "ckpt-00000000000000000006/state/loop.json"};
    for (int i = 0; i < 3; i++) {
        char *dir = temp_dir(), *work = fmp_path_join(dir, "work"), *out = fmp_path_join(dir, "out");
        OK(fmp_mkdirs(work, &err));
        assert_int_equal(run_child(&j, 1, (kill_plan){END, 8}, work, out), SIGKILL);
        damage(work, files[i]);
        assert_int_equal(run_child(&j, 1, (kill_plan){0}, work, out), 0);
        OK(fmp_sha256_tree(out, got, &err));
        assert_string_equal(want, got);
        free(work);
        free(out);
        drop_dir(dir);
    }
}

/* A checkpoint whose best weights are gone would be no use: wherever a run is killed, they stand beside it. */
static void the_best_weights_are_never_gone(void **state)
{
    (void)state;
    const job j = plain_job();
    int how = SIGKILL, n = 1;
    bool had_best = false;
    for (; how == SIGKILL; n++) {
        char *dir = temp_dir(), *best = fmp_path_join(dir, "best/checkpoint.json");
        how = run_child(&j, 1, (kill_plan){RENAME, n}, dir, NULL);
        bool has_best = access(best, F_OK) == 0;
        if (had_best && !has_best) { fail_msg("killed before rename %d: no best weights", n); }
        had_best = has_best;
        free(best);
        drop_dir(dir);
    }
    assert_true(how == 0 && had_best && n > 20);
}

static fmp_status run_here(const job *j, fmp_train_result *result, fmp_err *err)
{
    char *dir = temp_dir();
    n_seen = 0;
    logged[0] = '\0';
    fmp_status status = run_job(j, 1, dir, NULL, result, err);
    drop_dir(dir);
    return status;
}

static const seen_point *find_point(const char *series, uint64_t step)
{
    for (size_t i = 0; i < n_seen; i++) {
        if (strcmp(seen[i].series, series) == 0 && seen[i].step == step) { return &seen[i]; }
    }
    fail_msg("no point of %s at step %llu", series, (unsigned long long)step);
    return NULL;
}

/* What a run says last is the same where it was killed in between. */
static void last_losses_outlive_a_kill(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_train_result result;
    const job j = plain_job();
    double want[2] = {0};
    for (int killed = 0; killed < 2; killed++) {
        char *dir = temp_dir();
        if (killed) { assert_int_equal(run_child(&j, 1, (kill_plan){END, 9}, dir, NULL), SIGKILL); }
        n_seen = 0;
        OK(run_job(&j, 1, dir, NULL, &result, &err));
        assert_int_equal(result.resumed_from, killed ? 8 : 0);
        for (int i = 0; i < 2; i++) {
            char series[64];
            (void)snprintf(series, sizeof series, "loss_by_locale.%s", locales[i]);
            double value = find_point(series, 0)->value;
            if (killed) { assert_true(value == want[i]); }
            want[i] = value;
        }
        drop_dir(dir);
    }
}

/* The first step has nothing to learn: the first loss is the second step's, not that of an interval. */
static void how_often_the_loss_is_noted_changes_no_result(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_train_result result[2];
    job j = plain_job();
    static corpus kept;
    uint32_t order[N_BINS];
    memcpy(kept.weight, train_data.weight, sizeof kept.weight);
    fmp_rng_shuffle(9, 0, N_BINS, order);
    for (uint32_t b = 0; b < j.config.batch; b++) {
        for (uint32_t s = train_data.bin_begin[order[b]]; s < train_data.bin_begin[order[b] + 1]; s++) {
            for (uint64_t t = train_data.seg_begin[s]; t < train_data.seg_begin[s + 1]; t++) {
                train_data.weight[t] = 0.0f;
            }
        }
    }
    for (int i = 0; i < 2; i++) {
        j.config.log_every = 2 + 5 * (uint32_t)i;
        OK(run_here(&j, &result[i], &err));
    }
    memcpy(train_data.weight, kept.weight, sizeof kept.weight);
    assert_true(isfinite(result[0].first_loss));
    assert_true(result[0].first_loss == result[1].first_loss && result[0].last_loss == result[1].last_loss);
}

static void losses_by_locale_add_up_to_the_loss(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_train_result result;
    job j = plain_job();
    j.config.epochs = 1;
    j.config.batch = N_BINS; /* one step, of all data */
    OK(run_here(&j, &result, &err));
    assert_int_equal(result.steps, 1);
    const corpus *data[] = {&train_data, &eval_data};
    static const char *const series[] = {"loss", "eval_loss"};
    for (int k = 0; k < 2; k++) {
        char name[64];
        double sum = 0.0, weight = 0.0;
        for (int i = 0; i < 2; i++) {
            (void)snprintf(name, sizeof name, "%s.%s", series[k], locales[i]);
            sum += find_point(name, 1)->value * data[k]->locale_weight[i];
            weight += data[k]->locale_weight[i];
            char fact[64];
            (void)snprintf(fact, sizeof fact, "%s_by_locale.%s", series[k], locales[i]);
            assert_true(find_point(fact, 0)->value == find_point(name, 1)->value);
        }
        assert_true(fabs(sum / weight - find_point(series[k], 1)->value) < 1e-9);
    }
    assert_true(find_point("tokens_per_second", 1)->value > 0.0);
    assert_true(find_point("peak_share", 1)->value > 0.0);
}

/* A record's doc with this source. */
static void add_source(fmp_sources *sources, const char *name)
{
    fmp_err err = FMP_ERR_INIT;
    cJSON *doc = cJSON_CreateObject(), *meta = cJSON_AddObjectToObject(doc, "meta");
    if (name) { cJSON_AddStringToObject(meta, "source", name); }
    OK(fmp_sources_add(sources, doc, &err));
    cJSON_Delete(doc);
}

static void losses_by_source_add_up_to_the_loss(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_train_result result;
    fmp_sources sources = {0};
    static const char *const names[] = {"books", "none", "chat"};
    double weight[3] = {0}, sum = 0.0, all = 0.0;
    for (size_t s = 0; s < train_data.tokens.n_segments; s++) {
        add_source(&sources, s % 3 == 1 ? NULL : names[s % 3]);
        for (uint64_t t = train_data.seg_begin[s]; t < train_data.seg_begin[s + 1]; t++) {
            weight[s % 3] += train_data.weight[t];
        }
    }
    char *dir = temp_dir();
    OK(fmp_sources_write(&sources, dir, &err));
    job j = plain_job();
    j.config.epochs = 1;
    j.config.batch = N_BINS;
    n_seen = 0;
    OK(run_job(&j, 1, dir, NULL, &result, &err));
    for (int i = 0; i < 3; i++) {
        char series[64];
        (void)snprintf(series, sizeof series, "loss.source.%s", names[i]);
        sum += find_point(series, 1)->value * weight[i];
        all += weight[i];
    }
    assert_true(fabs(sum / all - find_point("loss", 1)->value) < 1e-9);
    char *bin = fmp_path_join(dir, "sources.bin");
    OK(fmp_write_file(bin, "\xFF\xFF\xFF", 3, &err));
    fmp_sources again;
    assert_int_equal(fmp_sources_read(dir, sources.n_segments, &again, &err), FMP_E_DATA);
    assert_int_equal(fmp_sources_read(dir, sources.n_segments + 1, &again, &err), FMP_E_DATA);
    sources.of[2] = 3; /* there are three names */
    OK(fmp_write_file(bin, sources.of, sources.n_segments * sizeof *sources.of, &err));
    assert_int_equal(fmp_sources_read(dir, sources.n_segments, &again, &err), FMP_E_DATA);
    free(bin);
    fmp_sources_free(&sources);
    drop_dir(dir);
}

static void many_sources_end_in_one(void **state)
{
    (void)state;
    fmp_sources sources = {0};
    char name[32];
    for (int i = 0; i < FMP_SOURCES_MOST + 50; i++) {
        (void)snprintf(name, sizeof name, "site %d", i);
        add_source(&sources, name);
    }
    assert_int_equal(sources.n, FMP_SOURCES_MOST);
    assert_string_equal(sources.names[sources.of[FMP_SOURCES_MOST + 49]], "other");
    assert_string_equal(sources.names[sources.of[FMP_SOURCES_MOST - 2]], "site 998");
    fmp_sources_free(&sources);
}

static void every_step_has_the_rate_of_its_schedule(void **state)
{
    (void)state;
    static const int schedules[] = {FMP_SCHEDULE_COSINE, FMP_SCHEDULE_LINEAR, FMP_SCHEDULE_CONSTANT};
    fmp_err err = FMP_ERR_INIT;
    fmp_train_result result;
    for (int k = 0; k < 3; k++) {
        job j = plain_job();
        j.config.schedule = schedules[k];
        j.config.log_every = 1;
        j.config.min_lr = 0.1f;
        OK(run_here(&j, &result, &err));
        double n = (double)result.steps, warm = floor(j.config.warmup * n);
        assert_true(warm >= 1 && n > warm + 2);
        for (uint64_t step = 1; step <= result.steps; step++) {
            double s = (double)step - 1, done = (s - warm) / (n - warm);
            double shape = k == 0 ? 0.5 * (1 + cos(acos(-1.0) * done)) : k == 1 ? 1 - done : 1;
            double rate = s < warm ? (s + 1) / warm : 0.1 + 0.9 * shape;
            assert_true(fabs(find_point("lr", step)->value - rate * j.config.learning_rate) < 1e-8);
        }
        assert_true(find_point("lr", result.steps)->value >
                    0.11 * j.config.learning_rate); /* the last one moves, too */
    }
}

static void training_ends_when_patience_does(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_train_result result;
    job j = plain_job();
    j.config.epochs = 100;
    j.config.patience = 3;
    j.config.learning_rate = 0.5; /* far too much: soon no evaluation is better */
    OK(run_here(&j, &result, &err));
    assert_true(result.stopped_early);
    double best = INFINITY;
    uint64_t best_step = 0, last = 0;
    for (size_t i = 0; i < n_seen; i++) {
        if (strcmp(seen[i].series, "eval_loss") != 0) { continue; }
        last = seen[i].step;
        if (seen[i].value < best) {
            best = seen[i].value;
            best_step = last;
        }
    }
    assert_int_equal(last, result.steps);
    assert_int_equal(last, best_step + 3 * j.config.eval_every);
    assert_true(result.eval_loss == best); /* keep: best */
}

static void options_that_would_have_no_effect_are_refused(void **state)
{
    (void)state;
    fmp_train_result result;
    for (int i = 0; i < 3; i++) {
        fmp_err err = FMP_ERR_INIT;
        job j = plain_job();
        j.without_eval = i < 2;
        j.config.keep_best = i == 0;
        j.config.patience = i > 0 ? 2 : 0;
        j.config.eval_every = i == 2 ? 0 : 2;
        assert_int_equal(run_here(&j, &result, &err), FMP_E_CONFIG);
        assert_string_equal(err.option, i == 0 ? "keep" : "patience");
    }
}

static void a_budget_is_kept_or_refused_with_the_least_that_would_do(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_train_result result;
    double least = 0.0;
    job j = plain_job();
    for (int i = 0; i < 2; i++) { /* the second time with the heap as a run leaves it */
        err = (fmp_err)FMP_ERR_INIT;
        j.config.memory_bytes = 1;
        assert_int_equal(run_here(&j, &result, &err), FMP_E_CONFIG);
        assert_string_equal(err.option, "memory");
        assert_int_equal(sscanf(err.message, "training takes at least %lf MiB", &least), 1);
        assert_true(least > 0.0);
        err = (fmp_err)FMP_ERR_INIT;
        j.config.memory_bytes = 0;
        OK(run_here(&j, &result, &err));
    }
    j.config.memory_bytes = (size_t)(3.0 * least * 1048576.0);
    OK(run_here(&j, &result, &err));
    assert_non_null(strstr(logged, "training takes about"));
}

/* The rows of tokens 3, 7 and 11 made one, that of 5 one thousandth of a thousandth off 9's; 40 is never supervised. */
static void make_twins(fmp_model *m, char *dir)
{
    enum { C = 32 };
    fmp_err err = FMP_ERR_INIT;
    fmp_tensors *in = NULL;
    char *model = fmp_path_join(dir, "model"), *file = fmp_path_join(model, "model.safetensors");
    OK(fmp_model_save(m, NULL, model, FMP_DTYPE_F32, &err));
    OK(fmp_tensors_open(model, &in, &err));
    size_t n = fmp_tensors_count(in);
    fmp_tensor_src *src = calloc(n, sizeof *src);
    float rows[V * C];
    for (size_t i = 0; i < n; i++) {
        const fmp_tensor *t = fmp_tensors_at(in, i);
        src[i] = (fmp_tensor_src){
            .name = t->name, .dtype = FMP_DTYPE_F32, .n_dims = t->n_dims, .data = (const void *)t->data};
        memcpy(src[i].shape, t->shape, sizeof src[i].shape);
        if (strcmp(t->name, "model.embed_tokens.weight") != 0) { continue; }
        memcpy(rows, t->data, sizeof rows);
        for (int c = 0; c < C; c++) {
            rows[7 * C + c] = rows[11 * C + c] = rows[40 * C + c] = rows[3 * C + c];
            rows[5 * C + c] = rows[9 * C + c] * 1.000001f;
        }
        src[i].data = rows;
    }
    OK(fmp_tensors_write(file, src, n, &err));
    fmp_tensors_close(in);
    free(src);
    free(model);
    free(file);
}

static void supervised_tokens_that_the_base_cannot_tell_apart_are_named(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_train_result result;
    job j = plain_job();
    j.config.epochs = 0.3;
    char *dir = temp_dir(), *work = fmp_path_join(dir, "work"), *model = fmp_path_join(dir, "model");
    fmp_model *m = NULL;
    OK(new_model(&j, 1, &m, &err));
    make_twins(m, dir);
    fmp_model_free(m);
    OK(fmp_mkdirs(work, &err));
    uint64_t count[V] = {0};
    for (size_t i = 0; i < train_data.tokens.n_tokens; i++) {
        if (train_data.ids[i] == 40) { train_data.weight[i] = 0.0f; }
        count[train_data.ids[i]] += train_data.weight[i] > 0.0f;
    }
    assert_true(count[3] && count[5] && count[7] && count[9] && count[11]);
    n_seen = 0;
    logged[0] = '\0';
    base_dir = model;
    OK(run_job(&j, 1, work, NULL, &result, &err));
    base_dir = NULL;
    char want[256];
    (void)snprintf(
        want, sizeof want,
        "5 supervised tokens have the same row in the base's head as another of them, so no adapter can tell "
        "them apart (a base that was never trained on them is like that): '' (id 3, %d times), "
        "'' (id 7, %d times)",
        (int)count[3], (int)count[7]);
    const char *told = strstr(logged, "5 supervised tokens");
    if (!told || strncmp(told, want, strlen(want)) != 0) {
        fail_msg("expected '%s', found '%s'", want, logged);
    }
    assert_non_null(strstr(told, "and 1 more"));
    assert_null(strstr(told, "id 40"));
    j.full = true; /* trains the rows themselves */
    logged[0] = '\0';
    OK(run_here(&j, &result, &err));
    assert_null(strstr(logged, "supervised tokens have"));
    j.full = false; /* a base without such rows */
    OK(run_here(&j, &result, &err));
    assert_null(strstr(logged, "supervised tokens have"));
    fill_corpus(&train_data, 1);
    free(work);
    free(model);
    drop_dir(dir);
}

static void a_loss_that_is_not_finite_names_step_and_record_and_is_not_written(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_train_result result;
    job j = plain_job();
    j.full = true;
    j.config.epochs = 10;
    j.config.learning_rate = 1e30;
    j.config.warmup = 0;
    j.config.clip_norm = 0;
    j.without_eval = true;
    j.config.keep_best = false;
    char *dir = temp_dir();
    logged[0] = '\0';
    n_seen = 0;
    assert_int_equal(run_job(&j, 1, dir, NULL, &result, &err), FMP_E_FAILED);
    if (!strstr(err.message, "was not finite in 4 steps, last in step 4 with records ")) {
        fail_msg("%s", err.message);
    }
    const char *named = strstr(logged, "records 0000");
    assert_non_null(named);
    assert_int_equal(strspn(named + 8, "0123456789abcdef"), FMP_TOKENS_RECORD);
    drop_dir(dir);
}

static int set_up(void **state)
{
    (void)state;
    fmp_json_install_hooks();
    fill_corpus(&train_data, 1);
    fill_corpus(&eval_data, 2);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_change_no_byte),
        cmocka_unit_test(a_killed_run_goes_on_to_the_same_bytes),
        cmocka_unit_test(damaged_checkpoints_are_not_used),
        cmocka_unit_test(the_best_weights_are_never_gone),
        cmocka_unit_test(last_losses_outlive_a_kill),
        cmocka_unit_test(how_often_the_loss_is_noted_changes_no_result),
        cmocka_unit_test(losses_by_locale_add_up_to_the_loss),
        cmocka_unit_test(losses_by_source_add_up_to_the_loss),
        cmocka_unit_test(many_sources_end_in_one),
        cmocka_unit_test(every_step_has_the_rate_of_its_schedule),
        cmocka_unit_test(training_ends_when_patience_does),
        cmocka_unit_test(options_that_would_have_no_effect_are_refused),
        cmocka_unit_test(a_budget_is_kept_or_refused_with_the_least_that_would_do),
        cmocka_unit_test(supervised_tokens_that_the_base_cannot_tell_apart_are_named),
        cmocka_unit_test(a_loss_that_is_not_finite_names_step_and_record_and_is_not_written),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
