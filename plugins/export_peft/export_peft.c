/*
 * export.peft: an adapter as the folder that the `peft` library loads, opened again and compared before it
 * counts as done.
 *
 * adapter_config.json and adapter_model.safetensors are PEFT's; fmpipe.json says what the adapter was made
 * from and which base it fits; README.md is for people. The exported file is read back and its logits
 * compared with the trained adapter's.
 */
#include <fmpipe/fs.h>
#include <fmpipe/golden.h>
#include <fmpipe/json.h>
#include <fmpipe/model.h>
#include <fmpipe/plugin.h>

#include <math.h>
#include <stdlib.h>

enum { PROBE_TOKENS = 48 };

typedef struct export_peft {
    const fmp_host *host;
    const char *name, *author, *description, *license;
    fmp_dtype dtype;
    double tolerance;
} export_peft;

static const fmp_option options[] = {
    {.name = "name",
     .type = FMP_OPT_STRING,
     .flags = FMP_OPT_REQUIRED,
     .min = 1,
     .max = 80,
     .help = "Name of the adapter: letters, digits and _, so that every runtime accepts it."},
    {.name = "author", .type = FMP_OPT_STRING, .def = "", .max = 200, .help = "Who made it; for README.md."},
    {.name = "description",
     .type = FMP_OPT_STRING,
     .def = "",
     .max = 2000,
     .help = "What it is for; for README.md."},
    {.name = "license",
     .type = FMP_OPT_STRING,
     .def = "",
     .max = 100,
     .help = "SPDX identifier; for README.md."},
    {.name = "dtype",
     .type = FMP_OPT_ENUM,
     .def = "f32",
     .choices = "f32|bf16",
     .help = "How the weights are stored."},
    {.name = "tolerance",
     .type = FMP_OPT_FLOAT,
     .def = "0.001",
     .min = 0,
     .max = 100,
     .help = "Largest difference of logits between the trained and the exported adapter; bf16 needs more "
             "than f32."},
    {.name = NULL}};

static const fmp_port inputs[] = {{.name = "adapter", .type = FMP_PORT_ADAPTER, .help = "What was trained."},
                                  {.name = "model", .type = FMP_PORT_MODEL, .help = "The base it fits."},
                                  {.name = NULL}};
static const fmp_port outputs[] = {{.name = "package", .type = FMP_PORT_PACKAGE, .help = "The PEFT folder."},
                                   {.name = NULL}};

static const fmp_input *input_at(const fmp_task *task, const char *port)
{
    for (size_t i = 0; i < task->n_inputs; i++) {
        if (strcmp(task->inputs[i].port, port) == 0) { return &task->inputs[i]; }
    }
    return NULL;
}

/* Logits of a fixed token sequence, spread over the vocabulary. */
static fmp_status probe(fmp_model *model, const fmp_adapter *adapter, float *logits, fmp_err *err)
{
    uint32_t id[PROBE_TOKENS], seg[2] = {0, PROBE_TOKENS}, vocab = fmp_model_get_spec(model)->vocab_size;
    for (uint32_t i = 0; i < PROBE_TOKENS; i++) {
        id[i] = (uint32_t)(fmp_rng_u64(1, 2, i) % vocab);
    }
    fmp_batch batch = {.n_tokens = PROBE_TOKENS, .n_segments = 1, .id = id, .seg = seg};
    return fmp_model_logits(model, adapter, &batch, logits, err);
}

static fmp_status compare(const export_peft *s, fmp_model *model, const fmp_adapter *trained, const char *dir,
                          double *delta, fmp_err *err)
{
    size_t n = (size_t)PROBE_TOKENS * fmp_model_get_spec(model)->vocab_size;
    float *a = malloc(n * sizeof *a), *b = malloc(n * sizeof *b);
    fmp_adapter *exported = NULL;
    fmp_status status =
        a && b ? fmp_adapter_load(model, dir, &exported, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (status == FMP_OK) { status = probe(model, trained, a, err); }
    if (status == FMP_OK) { status = probe(model, exported, b, err); }
    *delta = 0;
    for (size_t i = 0; status == FMP_OK && i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= *delta)) { *delta = d; } /* a NaN stays */
    }
    if (status == FMP_OK && !(*delta <= s->tolerance)) {
        fmp_fail(err, FMP_E_FAILED,
                 "the exported adapter differs from the trained one: logits by %g, expected at most %g",
                 *delta, s->tolerance);
        status = fmp_err_hint(err, "export as f32, or raise tolerance if the loss of precision is meant");
    }
    fmp_adapter_free(exported);
    free(a);
    free(b);
    return status;
}

static fmp_status write_text(const char *dir, const char *name, const fmp_buf *text, fmp_err *err)
{
    char *path = fmp_path_join(dir, name);
    fmp_status status = path ? fmp_buf_ok(text, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (status == FMP_OK) { status = fmp_write_file(path, text->data, text->len, err); }
    free(path);
    return status;
}

static fmp_status write_readme(const export_peft *s, const cJSON *made, const char *dir, fmp_err *err)
{
    const cJSON *base = fmp_json_get(made, "base");
    fmp_buf text = {0};
    fmp_buf_printf(&text, "# %s\n\n%s%sA LoRA adapter for `%s`, and for that version only:\n\n", s->name,
                   s->description, *s->description ? "\n\n" : "",
                   fmp_json_str(base, "name", "the base model"));
    fmp_buf_printf(&text, "- base digest: sha256:%s\n- tokenizer: sha256:%s\n- chat template: sha256:%s\n",
                   fmp_json_str(base, "digest", ""), fmp_json_str(made, "tokenizer_digest", ""),
                   fmp_json_str(made, "template_digest", ""));
    if (*s->author) { fmp_buf_printf(&text, "- author: %s\n", s->author); }
    if (*s->license) { fmp_buf_printf(&text, "- licence: %s\n", s->license); }
    fmp_buf_puts(
        &text,
        "\n```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n"
        "model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE), THIS_FOLDER)\n```\n");
    fmp_status status = write_text(dir, "README.md", &text, err);
    fmp_buf_free(&text);
    return status;
}

/* fmpipe.json of the adapter with the export's own name in it. */
static fmp_status write_provenance(const export_peft *s, const char *from, const char *dir, fmp_err *err)
{
    char *path = fmp_path_join(from, "fmpipe.json");
    cJSON *made = NULL;
    fmp_buf text = {0};
    fmp_status status =
        path ? fmp_json_load(path, NULL, &made, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (status == FMP_OK) {
        cJSON_AddStringToObject(made, "name", s->name);
        fmp_json_print(made, FMP_JSON_PRETTY, &text);
        status = write_text(dir, "fmpipe.json", &text, err);
    }
    if (status == FMP_OK) { status = write_readme(s, made, dir, err); }
    free(path);
    fmp_buf_free(&text);
    cJSON_Delete(made);
    return status;
}

/* An adapter fits the bytes of one base, which fmpipe.json names. */
static fmp_status check_base(const char *adapter_dir, const fmp_input *model, fmp_err *err)
{
    char *path = fmp_path_join(adapter_dir, "fmpipe.json");
    cJSON *made = NULL;
    fmp_status status =
        path ? fmp_json_load(path, NULL, &made, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    const char *wanted = fmp_json_str(fmp_json_get(made, "base"), "digest", "");
    if (status == FMP_OK && strcmp(wanted, model->digest) != 0) {
        fmp_fail(err, FMP_E_MISMATCH,
                 "the adapter was trained for the base sha256:%.12s, not for sha256:%.12s", wanted,
                 model->digest);
        status = fmp_err_hint(err, "give export.peft the model that the training stage had");
    }
    cJSON_Delete(made);
    free(path);
    return status;
}

/* Before the digest of the whole base: a changed tokenizer or template is named as such. */
static fmp_status check_golden(const char *adapter_dir, const char *model_dir, fmp_err *err)
{
    char *path = fmp_path_join(adapter_dir, FMP_GOLDEN_FILE);
    fmp_chat *chat = NULL;
    if (!path) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    fmp_status status = fmp_path_exists(path) ? fmp_golden_open_chat(model_dir, adapter_dir, &chat, err) : FMP_OK;
    fmp_chat_free(chat);
    free(path);
    return status;
}

static void report(const export_peft *s, double delta)
{
    const fmp_ext_metrics *m = s->host->get_extension(s->host, FMP_EXT_METRICS);
    if (!m) { return; }
    cJSON *list = cJSON_CreateArray(), *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "label", "adapter");
    cJSON_AddStringToObject(row, "note", "PEFT folder");
    cJSON_AddItemToArray(list, row);
    m->fact(s->host, "artifacts", list);
    m->fact(s->host, "max_logit_delta", cJSON_CreateNumber(delta));
    m->summary(s->host, "PEFT folder, opened again: logits differ by %g", delta);
}

static fmp_status export_run(void *self, const fmp_task *task, fmp_err *err)
{
    export_peft *s = self;
    const fmp_ext_parallel *parallel = s->host->get_extension(s->host, FMP_EXT_PARALLEL);
    const char *dir = task->outputs[0].path, *adapter_dir = input_at(task, "adapter")->path;
    fmp_model_options o = {.n_threads = parallel ? (int)parallel->n_threads(s->host) : 1};
    fmp_model *model = NULL;
    fmp_adapter *trained = NULL;
    double delta = 0;
    char *config = fmp_path_join(adapter_dir, "adapter_config.json");
    cJSON *json = NULL;
    fmp_status status =
        config ? fmp_json_load(config, NULL, &json, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (status == FMP_OK) { status = check_golden(adapter_dir, input_at(task, "model")->path, err); }
    if (status == FMP_OK) { status = check_base(adapter_dir, input_at(task, "model"), err); }
    if (status == FMP_OK) { status = fmp_model_open(input_at(task, "model")->path, &o, &model, err); }
    if (status == FMP_OK) { status = fmp_adapter_load(model, adapter_dir, &trained, err); }
    if (status == FMP_OK) {
        status =
            fmp_adapter_save(trained, dir, fmp_json_str(json, "base_model_name_or_path", ""), s->dtype, err);
    }
    if (status == FMP_OK) { status = compare(s, model, trained, dir, &delta, err); }
    if (status == FMP_OK) { status = write_provenance(s, adapter_dir, dir, err); }
    if (status == FMP_OK) { status = fmp_golden_copy(adapter_dir, dir, err); }
    if (status == FMP_OK) { report(s, delta); }
    fmp_adapter_free(trained);
    fmp_model_free(model);
    cJSON_Delete(json);
    free(config);
    return status;
}

static fmp_status export_create(const fmp_host *host, void **self, fmp_err *err)
{
    export_peft *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    s->host = host;
    *self = s;
    return FMP_OK;
}

static fmp_status export_configure(void *self, const cJSON *values, fmp_err *err)
{
    export_peft *s = self;
    s->name = fmp_value_str(values, "name");
    s->author = fmp_value_str(values, "author");
    s->description = fmp_value_str(values, "description");
    s->license = fmp_value_str(values, "license");
    s->dtype = strcmp(fmp_value_str(values, "dtype"), "bf16") == 0 ? FMP_DTYPE_BF16 : FMP_DTYPE_F32;
    s->tolerance = fmp_value_num(values, "tolerance");
    for (const char *p = s->name; *p; p++) {
        bool word =
            (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '_';
        if (!word) {
            fmp_fail(err, FMP_E_CONFIG, "expected letters, digits and _ in the name, found '%c' in '%s'", *p,
                     s->name);
            if (err) { snprintf(err->option, sizeof err->option, "name"); }
            return fmp_err_hint(err,
                                "runtimes refuse other names when they load the adapter, which is too late");
        }
    }
    return FMP_OK;
}

static const fmp_ext_numeric_env numeric_env = {(uint32_t)sizeof numeric_env, fmp_numerics_describe};

static const void *get_extension(const char *name)
{
    return strcmp(name, FMP_EXT_NUMERIC_ENV) == 0 ? &numeric_env : NULL;
}

static const fmp_stage stage = {FMP_STAGE_HEADER,
                                .name = "export.peft",
                                .version = 1,
                                .kind = FMP_TASK,
                                .flags = FMP_STAGE_NUMERIC,
                                .summary = "Export an adapter as a PEFT folder and prove that it loads.",
                                .inputs = inputs,
                                .outputs = outputs,
                                .options = options,
                                .create = export_create,
                                .configure = export_configure,
                                .run = export_run,
                                .destroy = free};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "export-peft",
                                  .version = "0.1.0",   .license = "Apache-2.0",
                                  .stages = stages,     .get_extension = get_extension};
FMP_PLUGIN_ENTRY(&plugin)
