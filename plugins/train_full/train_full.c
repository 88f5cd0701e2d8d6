/*
 * train.full: all weights of a model, from an existing one or from random numbers.
 *
 * The result is a whole Hugging Face folder: config.json, model.safetensors, and the tokenizer and chat
 * template that the tokens were made with. The loop is fmtrain's.
 */
#include <fmpipe/fs.h>
#include <fmpipe/json.h>
#include <fmpipe/plugin.h>
#include <fmpipe/tokenizer.h>
#include <fmpipe/train.h>

#include <math.h>
#include <stdlib.h>

typedef struct train_full {
    const fmp_host *host;
    fmp_train_config config;
    fmp_model_spec shape;
    const char *name;
    fmp_dtype dtype;
} train_full;

static const fmp_option options[] = {
    {.name = "name",
     .type = FMP_OPT_STRING,
     .flags = FMP_OPT_REQUIRED,
     .min = 1,
     .max = 100,
     .help = "Name and version of the model, as my-model-1.0: letters, digits and . _ -; it is written into "
             "config.json."},
    {.name = "dtype",
     .type = FMP_OPT_ENUM,
     .def = "bf16",
     .choices = "f32|bf16",
     .help = "How the weights are stored."},
    {.name = "new.layers",
     .type = FMP_OPT_INT,
     .def = "6",
     .min = 1,
     .max = 512,
     .help = "Without a model input: decoder layers."},
    {.name = "new.channels",
     .type = FMP_OPT_INT,
     .def = "192",
     .min = 16,
     .max = 65536,
     .help = "Hidden size."},
    {.name = "new.heads", .type = FMP_OPT_INT, .def = "6", .min = 1, .max = 1024, .help = "Query heads."},
    {.name = "new.kv_heads",
     .type = FMP_OPT_INT,
     .def = "2",
     .min = 1,
     .max = 1024,
     .help = "Key and value heads; they divide heads."},
    {.name = "new.ff",
     .type = FMP_OPT_INT,
     .def = "512",
     .min = 16,
     .max = 1048576,
     .help = "Feed-forward size."},
    {.name = "new.max_positions",
     .type = FMP_OPT_INT,
     .def = "2048",
     .min = 16,
     .max = 1048576,
     .help = "Longest sequence."},
    {.name = "new.rope_theta",
     .type = FMP_OPT_FLOAT,
     .def = "10000",
     .min = 1,
     .max = 1e9,
     .help = "Base of the rotary positions."},
    FMP_TRAIN_OPTIONS("2e-3", "0.1"),
    {.name = NULL}};

static const fmp_port inputs[] = {{.name = "tokens", .type = FMP_PORT_TOKENS, .help = "What to train on."},
                                  {.name = "eval",
                                   .type = FMP_PORT_TOKENS,
                                   .flags = FMP_PORT_OPTIONAL,
                                   .help = "What the evaluation loss is measured on."},
                                  {.name = "model",
                                   .type = FMP_PORT_MODEL,
                                   .flags = FMP_PORT_OPTIONAL,
                                   .help = "Where to start; unconnected: a new model of the shape in `new`."},
                                  {.name = NULL}};
static const fmp_port outputs[] = {
    {.name = "model", .type = FMP_PORT_MODEL, .help = "A Hugging Face folder."}, {.name = NULL}};

static int64_t id_or_none(uint32_t id)
{
    return id == FMP_TOKEN_NONE ? -1 : (int64_t)id;
}

/* The token artifact carries the tokenizer it was made with. */
static fmp_status new_model(const train_full *s, const fmp_task *task, const char *tokenizer_dir,
                            const fmp_model_options *o, fmp_model **out, fmp_err *err)
{
    fmp_tokenizer *tok = NULL;
    FMP_TRY(fmp_tokenizer_load(tokenizer_dir, &tok, err));
    fmp_model_spec spec = s->shape;
    spec.vocab_size = fmp_tokenizer_size(tok);
    spec.bos_id = id_or_none(fmp_tokenizer_bos(tok));
    spec.eos_id = id_or_none(fmp_tokenizer_eos(tok));
    spec.pad_id = id_or_none(fmp_tokenizer_pad(tok));
    fmp_tokenizer_free(tok);
    return fmp_model_new(&spec, task->seed, o, out, err);
}

/* Write the name into config.json, where loaders show it and adapters refer to it. */
static fmp_status name_model(const char *dir, const char *name, fmp_err *err)
{
    char *path = fmp_path_join(dir, "config.json"), *text = NULL;
    cJSON *json = NULL;
    fmp_status status =
        path ? fmp_json_load(path, NULL, &json, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (status == FMP_OK) {
        cJSON_DeleteItemFromObjectCaseSensitive(json, "_name_or_path");
        cJSON_AddStringToObject(json, "_name_or_path", name);
        text = fmp_json_text(json, FMP_JSON_PRETTY | FMP_JSON_SORTED);
        status = text ? fmp_write_file(path, text, strlen(text), err)
                      : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    }
    free(text);
    free(path);
    cJSON_Delete(json);
    return status;
}

static fmp_status save(const train_full *s, const fmp_task *task, const fmp_tokens *train, fmp_model *model,
                       const char *tokenizer_dir, const char *base_name, const fmp_train_result *result,
                       fmp_err *err)
{
    const char *dir = task->outputs[0].path;
    FMP_TRY(fmp_model_save(model, NULL, dir, s->dtype, err));
    FMP_TRY(name_model(dir, s->name, err));
    FMP_TRY(fmp_tokenizer_copy(tokenizer_dir, dir, NULL, err));
    return fmp_train_provenance(task, train, "full", base_name, result, dir, err);
}

static void report(const train_full *s, const fmp_model *model, const fmp_train_result *r)
{
    const fmp_ext_metrics *m = s->host->get_extension(s->host, FMP_EXT_METRICS);
    char outcome[192];
    if (!m) { return; }
    fmp_train_outcome(r, outcome, sizeof outcome);
    m->fact(s->host, "tokens_per_second", cJSON_CreateNumber(floor(r->tokens_per_second)));
    m->summary(s->host, "%.1f M parameters · %s", (double)fmp_model_n_params(model) / 1e6, outcome);
}

static fmp_status run_with(train_full *s, const fmp_task *task, const fmp_tokens *train,
                           const fmp_tokens *eval, const char *tokenizer_dir, fmp_err *err)
{
    const fmp_ext_parallel *parallel = s->host->get_extension(s->host, FMP_EXT_PARALLEL);
    const fmp_input *base = fmp_task_input(task, "model");
    char base_name[256] = "";
    fmp_model *model = NULL;
    fmp_train_result result;
    fmp_model_options o = {.n_threads = parallel ? (int)parallel->n_threads(s->host) : 1,
                           .precision = s->config.bf16 ? FMP_PRECISION_BF16 : FMP_PRECISION_F32};
    fmp_status status = FMP_OK;
    if (base) {
        status = fmp_train_check_tokenizer(train, base->path, err);
        if (status == FMP_OK) {
            status = fmp_model_folder_name(base->path, base_name, sizeof base_name, err);
        }
        if (status == FMP_OK) { status = fmp_model_open(base->path, &o, &model, err); }
    } else {
        status = new_model(s, task, tokenizer_dir, &o, &model, err);
    }
    if (status == FMP_OK) {
        status = fmp_train_run(task, &s->config, model, NULL, train, eval, &result, err);
    }
    if (status == FMP_OK) { status = save(s, task, train, model, tokenizer_dir, base_name, &result, err); }
    if (status == FMP_OK) { report(s, model, &result); }
    fmp_model_free(model);
    return status;
}

static fmp_status full_run(void *self, const fmp_task *task, fmp_err *err)
{
    train_full *s = self;
    const fmp_input *input = fmp_task_input(task, "tokens"), *eval_input = fmp_task_input(task, "eval");
    fmp_tokens train = {0}, eval = {0};
    char *tokenizer_dir = fmp_path_join(input->path, "tokenizer");
    fmp_status status = tokenizer_dir ? fmp_tokens_open(input->path, &train, err)
                                      : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (status == FMP_OK && eval_input) { status = fmp_tokens_open(eval_input->path, &eval, err); }
    if (status == FMP_OK && eval_input) { status = fmp_train_check_tokenizer(&eval, tokenizer_dir, err); }
    if (status == FMP_OK) {
        status = run_with(s, task, &train, eval_input ? &eval : NULL, tokenizer_dir, err);
    }
    fmp_tokens_close(&train);
    fmp_tokens_close(&eval);
    free(tokenizer_dir);
    return status;
}

static fmp_status full_create(const fmp_host *host, void **self, fmp_err *err)
{
    train_full *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    s->host = host;
    *self = s;
    return FMP_OK;
}

static fmp_status refuse_option(fmp_err *err, const char *option, const char *text)
{
    fmp_fail(err, FMP_E_CONFIG, "%s", text);
    if (err) { snprintf(err->option, sizeof err->option, "%s", option); }
    return FMP_E_CONFIG;
}

static fmp_status full_configure(void *self, const cJSON *values, fmp_err *err)
{
    train_full *s = self;
    fmp_train_config_read(values, &s->config);
    s->name = fmp_value_str(values, "name");
    s->dtype = strcmp(fmp_value_str(values, "dtype"), "f32") == 0 ? FMP_DTYPE_F32 : FMP_DTYPE_BF16;
    fmp_model_spec *m = &s->shape;
    snprintf(m->model_type, sizeof m->model_type, "llama");
    m->n_layers = (uint32_t)fmp_value_int(values, "new.layers");
    m->n_channels = (uint32_t)fmp_value_int(values, "new.channels");
    m->n_heads = (uint32_t)fmp_value_int(values, "new.heads");
    m->n_kv_heads = (uint32_t)fmp_value_int(values, "new.kv_heads");
    m->n_ff = (uint32_t)fmp_value_int(values, "new.ff");
    m->max_positions = (uint32_t)fmp_value_int(values, "new.max_positions");
    m->rope[0].theta = fmp_value_num(values, "new.rope_theta");
    m->norm_eps = 1e-5f;
    m->tied = true;
    for (const char *p = s->name; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
                     strchr("._-", *p);
        if (!plain || s->name[0] == '.') {
            return refuse_option(err, "name", "expected letters, digits and . _ -, not beginning with a dot");
        }
    }
    if (m->n_channels % m->n_heads != 0) {
        return refuse_option(err, "new.heads", "expected a number that divides new.channels");
    }
    if (m->n_heads % m->n_kv_heads != 0) {
        return refuse_option(err, "new.kv_heads", "expected a number that divides new.heads");
    }
    m->head_size = m->n_channels / m->n_heads;
    if (m->head_size % 2 != 0 || m->head_size > 256) {
        return refuse_option(err, "new.heads",
                             "expected an even head size of 2 to 256, which is new.channels / new.heads");
    }
    return FMP_OK;
}

static const fmp_ext_numeric_env numeric_env = {(uint32_t)sizeof numeric_env, fmp_numerics_describe};

static const void *get_extension(const char *name)
{
    return strcmp(name, FMP_EXT_NUMERIC_ENV) == 0 ? &numeric_env : NULL;
}

static const fmp_stage stage = {
    FMP_STAGE_HEADER,
    .name = "train.full",
    .version = 1,
    .kind = FMP_TASK,
    .flags = FMP_STAGE_NUMERIC,
    .summary = "Train all weights of a model, from one that exists or from random numbers.",
    .inputs = inputs,
    .outputs = outputs,
    .options = options,
    .create = full_create,
    .configure = full_configure,
    .run = full_run,
    .destroy = free};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "train-full",
                                  .version = "0.1.0",   .license = "Apache-2.0",
                                  .stages = stages,     .get_extension = get_extension};
FMP_PLUGIN_ENTRY(&plugin)
