/*
 * train.lora: a LoRA adapter for one version of a base model.
 *
 * The base is frozen; A starts as PEFT starts it, B at zero, so step 0 is the base itself. The loop (order,
 * schedule, checkpoints) is fmtrain's; here are the options, the adapter and what is written about it.
 */
#include <fmpipe/fs.h>
#include <fmpipe/json.h>
#include <fmpipe/plugin.h>
#include <fmpipe/train.h>

#include <math.h>
#include <stdlib.h>

enum { MAX_TARGETS = 64 };

typedef struct train_lora {
    const fmp_host *host;
    fmp_train_config config;
    uint32_t rank;
    double alpha, dropout;
    bool rslora, dora;
    const char *init;
    const char *targets[MAX_TARGETS];
    size_t n_targets;
} train_lora;

static const fmp_option options[] = {
    {.name = "rank", .type = FMP_OPT_INT, .def = "32", .min = 1, .max = 1024, .help = "LoRA rank."},
    {.name = "alpha",
     .type = FMP_OPT_FLOAT,
     .def = "16",
     .min = 0.001,
     .max = 100000,
     .help = "LoRA alpha; the update is scaled by alpha / rank."},
    {.name = "rslora",
     .type = FMP_OPT_BOOL,
     .def = "false",
     .help = "Scale by alpha / sqrt(rank) instead (rank-stabilised LoRA)."},
    {.name = "dora",
     .type = FMP_OPT_BOOL,
     .def = "false",
     .help =
         "Learn the length of each row of the adapted weights apart from its direction (DoRA): often better "
         "at low ranks, and slower."},
    {.name = "dropout",
     .type = FMP_OPT_FLOAT,
     .def = "0",
     .unit = "fraction",
     .min = 0,
     .max = FMP_MAX_DROPOUT,
     .help =
         "Share of the adapter's input that is left out in each training step; the same elements whatever "
         "the number of threads."},
    {.name = "targets",
     .type = FMP_OPT_LIST,
     .def = "[all-linear]",
     .help =
         "Linear layers to adapt: names or tails such as q_proj, globs of the whole path, or all-linear."},
    {.name = "init",
     .type = FMP_OPT_PATH,
     .help = "PEFT adapter folder to start from; rank, alpha, rslora, dora and targets are then its own."},
    FMP_TRAIN_OPTIONS("1e-3", "0.01"),
    {.name = NULL}};

static const fmp_port inputs[] = {{.name = "tokens", .type = FMP_PORT_TOKENS, .help = "What to train on."},
                                  {.name = "eval",
                                   .type = FMP_PORT_TOKENS,
                                   .flags = FMP_PORT_OPTIONAL,
                                   .help = "What the evaluation loss is measured on."},
                                  {.name = "model", .type = FMP_PORT_MODEL, .help = "The base model."},
                                  {.name = NULL}};
static const fmp_port outputs[] = {
    {.name = "adapter",
     .type = FMP_PORT_ADAPTER,
     .help = "PEFT folder with fmpipe.json, which says what it was made from."},
    {.name = NULL}};

/* An adapter of another base with the same shapes would go unnoticed: its fmpipe.json, if it has one, says which. */
static fmp_status compare_bases(const train_lora *s, const fmp_task *task, fmp_err *err)
{
    const fmp_ext_log *log = s->host->get_extension(s->host, FMP_EXT_LOG);
    const char *now = fmp_task_input(task, "model")->digest;
    char *path = fmp_path_join(s->init, "fmpipe.json");
    cJSON *made = NULL;
    fmp_status status = path ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (status == FMP_OK && fmp_path_exists(path)) { status = fmp_json_load(path, NULL, &made, err); }
    const cJSON *base = fmp_json_get(made, "base");
    const char *then = fmp_json_str(base, "digest", "");
    if (log && *then && now && strcmp(then, now) != 0) {
        log->log(
            s->host, FMP_LOG_WARNING,
            "init: the adapter was trained on another base, '%.64s' (sha256:%.12s); this one is sha256:%.12s",
            fmp_json_str(base, "name", ""), then, now);
    }
    cJSON_Delete(made);
    free(path);
    return status;
}

static fmp_status make_adapter(const train_lora *s, const fmp_task *task, fmp_model *model, fmp_adapter **out,
                               fmp_err *err)
{
    if (s->init) {
        FMP_TRY(compare_bases(s, task, err));
        FMP_TRY(fmp_adapter_load(model, s->init, out, err));
        return fmp_adapter_set_dropout(*out, s->dropout, err);
    }
    fmp_adapter_options o = {.rank = s->rank,
                             .alpha = s->alpha,
                             .rslora = s->rslora,
                             .dora = s->dora,
                             .dropout = s->dropout,
                             .targets = s->targets,
                             .n_targets = s->n_targets,
                             .seed = task->seed};
    fmp_status status = fmp_adapter_new(model, &o, out, err);
    if (status == FMP_E_CONFIG && err) { snprintf(err->option, sizeof err->option, "targets"); }
    return status;
}

static void report(const train_lora *s, const fmp_train_result *r)
{
    const fmp_ext_metrics *m = s->host->get_extension(s->host, FMP_EXT_METRICS);
    char outcome[192];
    if (!m) { return; }
    fmp_train_outcome(r, outcome, sizeof outcome);
    m->fact(s->host, "supervised_tokens", cJSON_CreateNumber((double)r->n_labels));
    m->fact(s->host, "tokens_per_second", cJSON_CreateNumber(floor(r->tokens_per_second)));
    m->summary(s->host, "%s", outcome);
}

static fmp_status train_and_save(train_lora *s, const fmp_task *task, const fmp_tokens *train,
                                 const fmp_tokens *eval, fmp_model *model, const char *base_name,
                                 fmp_err *err)
{
    fmp_adapter *adapter = NULL;
    fmp_train_result result;
    fmp_status status = make_adapter(s, task, model, &adapter, err);
    if (status == FMP_OK) {
        status = fmp_train_run(task, &s->config, model, adapter, train, eval, &result, err);
    }
    if (status == FMP_OK) {
        status = fmp_adapter_save(adapter, task->outputs[0].path, base_name, FMP_DTYPE_F32, err);
    }
    if (status == FMP_OK) {
        status = fmp_train_provenance(task, train, "lora", base_name, &result, task->outputs[0].path, err);
    }
    if (status == FMP_OK) { report(s, &result); }
    fmp_adapter_free(adapter);
    return status;
}

static fmp_status lora_run(void *self, const fmp_task *task, fmp_err *err)
{
    train_lora *s = self;
    const fmp_ext_parallel *parallel = s->host->get_extension(s->host, FMP_EXT_PARALLEL);
    const fmp_input *base = fmp_task_input(task, "model"), *eval_input = fmp_task_input(task, "eval");
    fmp_tokens train = {0}, eval = {0};
    fmp_model *model = NULL;
    char base_name[256];
    fmp_model_options o = {.n_threads = parallel ? (int)parallel->n_threads(s->host) : 1,
                           .precision = s->config.bf16 ? FMP_PRECISION_BF16 : FMP_PRECISION_F32};
    fmp_status status = fmp_tokens_open(fmp_task_input(task, "tokens")->path, &train, err);
    if (status == FMP_OK && eval_input) { status = fmp_tokens_open(eval_input->path, &eval, err); }
    if (status == FMP_OK) { status = fmp_train_check_tokenizer(&train, base->path, err); }
    if (status == FMP_OK && eval_input) { status = fmp_train_check_tokenizer(&eval, base->path, err); }
    if (status == FMP_OK) { status = fmp_model_folder_name(base->path, base_name, sizeof base_name, err); }
    if (status == FMP_OK) { status = fmp_model_open(base->path, &o, &model, err); }
    if (status == FMP_OK) {
        status = train_and_save(s, task, &train, eval_input ? &eval : NULL, model, base_name, err);
    }
    fmp_model_free(model);
    fmp_tokens_close(&train);
    fmp_tokens_close(&eval);
    return status;
}

static fmp_status lora_create(const fmp_host *host, void **self, fmp_err *err)
{
    train_lora *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    s->host = host;
    *self = s;
    return FMP_OK;
}

/* After fmp_fail: it is the option targets that is wrong. */
static fmp_status blame_targets(fmp_err *err)
{
    if (err) { snprintf(err->option, sizeof err->option, "targets"); }
    return FMP_E_CONFIG;
}

static fmp_status lora_configure(void *self, const cJSON *values, fmp_err *err)
{
    train_lora *s = self;
    const cJSON *item;
    fmp_train_config_read(values, &s->config);
    s->rank = (uint32_t)fmp_value_int(values, "rank");
    s->alpha = fmp_value_num(values, "alpha");
    s->rslora = fmp_value_bool(values, "rslora");
    s->dora = fmp_value_bool(values, "dora");
    s->dropout = fmp_value_num(values, "dropout");
    s->init = fmp_value_str(values, "init");
    cJSON_ArrayForEach(item, fmp_value(values, "targets"))
    {
        if (s->n_targets == MAX_TARGETS || *item->valuestring == '\0') {
            fmp_fail(err, FMP_E_CONFIG, "expected at most %d targets, none of them empty", MAX_TARGETS);
            return blame_targets(err);
        }
        s->targets[s->n_targets++] = item->valuestring;
    }
    if (s->n_targets > 0) { return FMP_OK; }
    fmp_fail(err, FMP_E_CONFIG, "expected at least one target");
    return blame_targets(err);
}

static const fmp_ext_numeric_env numeric_env = {(uint32_t)sizeof numeric_env, fmp_numerics_describe};

static const void *get_extension(const char *name)
{
    return strcmp(name, FMP_EXT_NUMERIC_ENV) == 0 ? &numeric_env : NULL;
}

static const fmp_stage stage = {FMP_STAGE_HEADER,
                                .name = "train.lora",
                                .version = 1,
                                .kind = FMP_TASK,
                                .flags = FMP_STAGE_NUMERIC,
                                .summary = "Train a LoRA adapter for a frozen base model.",
                                .inputs = inputs,
                                .outputs = outputs,
                                .options = options,
                                .create = lora_create,
                                .configure = lora_configure,
                                .run = lora_run,
                                .destroy = free};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "train-lora",
                                  .version = "0.1.0",   .license = "Apache-2.0",
                                  .stages = stages,     .get_extension = get_extension};
FMP_PLUGIN_ENTRY(&plugin)
