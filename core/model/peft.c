/*
 * peft.c: adapters as the PEFT library stores them: adapter_config.json and adapter_model.safetensors.
 *
 * An option that changes what the adapter computes and is not implemented here is refused by name.
 */
#include "internal.h"

#include <fmpipe/json.h>

char *fmp_peft_name(const fmp_model *m, size_t k, char which)
{
    char *name = NULL;
    const char *path = fmp_proj_path(&m->spec, (fmp_proj)(k % N_PROJ));
    int n =
        which == 'M'
            ? asprintf(&name, "base_model.model.model.layers.%zu.%s.lora_magnitude_vector", k / N_PROJ, path)
            : asprintf(&name, "base_model.model.model.layers.%zu.%s.lora_%c.weight", k / N_PROJ, path, which);
    return n < 0 ? NULL : name;
}

/* ---- loading ---- */

/* True for null, false, 0, "none", [] and {}: an option that is off. */
static bool is_off(const cJSON *node)
{
    double v = 1.0;
    if (!node || cJSON_IsNull(node) || cJSON_IsFalse(node)) { return true; }
    if (cJSON_IsString(node)) { return strcmp(node->valuestring, "none") == 0; }
    if (cJSON_IsArray(node) || cJSON_IsObject(node)) { return node->child == NULL; }
    return fmp_json_number(node, &v) && v == 0.0;
}

static fmp_status refuse_options(const cJSON *c, fmp_err *err)
{
    static const char *const refused[] = {"alora_invocation_tokens",
                                          "alpha_pattern",
                                          "arrow_config",
                                          "bias",
                                          "exclude_modules",
                                          "fan_in_fan_out",
                                          "kasa_config",
                                          "layer_replication",
                                          "layers_pattern",
                                          "layers_to_transform",
                                          "lora_bias",
                                          "modules_to_save",
                                          "monteclora_config",
                                          "rank_pattern",
                                          "target_parameters",
                                          "trainable_token_indices",
                                          "use_bdlora",
                                          "use_qalora"};
    const char *type = fmp_json_str(c, "peft_type", "");
    if (strcmp(type, "LORA") != 0) {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "'peft_type': expected LORA, found '%.32s'", type);
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (!is_off(fmp_json_get(c, refused[i]))) {
            return fmp_fail(err, FMP_E_UNSUPPORTED, "'%s' is set, which adapters here do not have",
                            refused[i]);
        }
    }
    const char *init = fmp_json_str(c, "init_lora_weights", "");
    static const char *const moves_base[] = {"pissa", "olora", "corda", "loftq", "lora_ga"};
    for (size_t i = 0; i < sizeof moves_base / sizeof *moves_base; i++) {
        if (strncmp(init, moves_base[i], strlen(moves_base[i])) == 0) {
            return fmp_fail(err, FMP_E_UNSUPPORTED, "'init_lora_weights': '%.32s' changes the base's weights",
                            init);
        }
    }
    return FMP_OK;
}

/* The options in the file; targets are a fresh array of borrowed strings. */
static fmp_status read_options(const cJSON *c, fmp_adapter_options *o, const char ***targets, fmp_err *err)
{
    double rank = 0.0;
    FMP_TRY(refuse_options(c, err));
    if (!fmp_json_number(fmp_json_get(c, "r"), &rank) || rank != floor(rank) || rank < 1.0 || rank > 1024.0) {
        return fmp_fail(err, FMP_E_RANGE, "'r': expected a whole number of 1 to 1024");
    }
    o->rank = (uint32_t)rank;
    if (!fmp_json_number(fmp_json_get(c, "lora_alpha"), &o->alpha)) {
        return fmp_fail(err, FMP_E_DATA, "'lora_alpha': expected a number");
    }
    o->rslora = fmp_json_bool(c, "use_rslora", false);
    o->dora = fmp_json_bool(c, "use_dora", false);
    const cJSON *dropout = fmp_json_get(c, "lora_dropout");
    if (dropout && (!fmp_json_number(dropout, &o->dropout) || !(o->dropout >= 0.0 && o->dropout < 1.0))) {
        return fmp_fail(err, FMP_E_DATA, "'lora_dropout': expected a number of 0 to below 1");
    }
    o->dropout = fmin(o->dropout, FMP_MAX_DROPOUT);
    const cJSON *list = fmp_json_get(c, "target_modules");
    bool all = cJSON_IsString(list) && strcmp(list->valuestring, "all-linear") == 0;
    if (!all && !cJSON_IsArray(list)) {
        return fmp_fail(err, FMP_E_UNSUPPORTED,
                        "'target_modules': expected a list of names or \"all-linear\"");
    }
    *targets = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof **targets);
    if (!*targets) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for target names"); }
    o->targets = *targets;
    if (all) { (*targets)[o->n_targets++] = list->valuestring; }
    for (const cJSON *t = all ? NULL : list->child; t; t = t->next) {
        if (!cJSON_IsString(t)) { return fmp_fail(err, FMP_E_DATA, "'target_modules': expected names"); }
        (*targets)[o->n_targets++] = t->valuestring;
    }
    return FMP_OK;
}

static fmp_status load_tensor(const fmp_model *m, const fmp_tensors *ts, size_t k, char which, int64_t rows,
                              int64_t cols, float *out, fmp_err *err)
{
    char *name = fmp_peft_name(m, k, which);
    if (!name) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a tensor's name"); }
    const fmp_tensor *t = fmp_tensors_find(ts, name);
    fmp_status status = FMP_OK;
    if (!t) {
        status = fmp_fail(err, FMP_E_DATA, "tensor '%s' is missing from the adapter", name);
    } else if (t->n_dims != 2 || t->shape[0] != (uint64_t)rows || t->shape[1] != (uint64_t)cols) {
        status =
            fmp_fail(err, FMP_E_MISMATCH,
                     "tensor '%s': the base model needs the shape (%lld, %lld), found (%llu, %llu)", name,
                     (long long)rows, (long long)cols, (unsigned long long)(t->n_dims > 0 ? t->shape[0] : 1),
                     (unsigned long long)(t->n_dims > 1 ? t->shape[1] : 1));
    } else {
        fmp_tensor_to_f32(t, out);
    }
    free(name);
    return status;
}

/* PEFT stores the magnitudes as a vector. */
static fmp_status load_magnitudes(const fmp_model *m, const fmp_tensors *ts, size_t k, int64_t n, float *mag,
                                  fmp_err *err)
{
    char *name = fmp_peft_name(m, k, 'M');
    if (!name) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a tensor's name"); }
    const fmp_tensor *t = fmp_tensors_find(ts, name);
    fmp_status status = FMP_OK;
    if (!t) {
        status = fmp_fail(err, FMP_E_DATA, "tensor '%s' is missing from the adapter", name);
    } else if (t->n_dims != 1 || t->shape[0] != (uint64_t)n) {
        status = fmp_fail(err, FMP_E_MISMATCH, "tensor '%s': the base model needs the shape (%lld)", name,
                          (long long)n);
    } else {
        fmp_tensor_to_f32(t, mag);
    }
    free(name);
    return status;
}

static fmp_status load_values(fmp_adapter *ad, const fmp_tensors *ts, fmp_err *err)
{
    size_t used = 0;
    for (size_t k = 0; k < ad->n_lora; k++) {
        const fmp_lora *lora = &ad->lora[k];
        if (!lora->a) { continue; }
        float *a = fmp_adapter_host(ad, lora->a), *b = fmp_adapter_host(ad, lora->b);
        FMP_TRY(load_tensor(ad->model, ts, k, 'A', ad->rank, lora->in, a, err));
        FMP_TRY(load_tensor(ad->model, ts, k, 'B', lora->out, ad->rank, b, err));
        if (lora->mag) {
            float *mag = fmp_adapter_host(ad, lora->mag);
            FMP_TRY(load_magnitudes(ad->model, ts, k, lora->out, mag, err));
        }
        used += lora->mag ? 3 : 2;
    }
    fmp_mirror_wrote_host(ad->values);
    if (used != fmp_tensors_count(ts)) {
        return fmp_fail(err, FMP_E_UNSUPPORTED,
                        "the adapter has %zu tensors, of which %zu belong to its target_modules",
                        fmp_tensors_count(ts), used);
    }
    return FMP_OK;
}

static fmp_status load_config(fmp_model *m, const char *path, fmp_adapter **out, fmp_err *err)
{
    cJSON *config = NULL;
    FMP_TRY(fmp_json_load(path, NULL, &config, err));
    fmp_adapter_options o = {0};
    const char **targets = NULL;
    bool *on = calloc((size_t)m->spec.n_layers * N_PROJ, sizeof *on);
    fmp_status status = on ? read_options(config, &o, &targets, err)
                           : fmp_fail(err, FMP_E_NOMEM, "out of memory for an adapter");
    if (status == FMP_OK) { status = fmp_adapter_match(m, o.targets, o.n_targets, on, err); }
    if (status == FMP_OK) { status = fmp_adapter_alloc(m, &o, on, out, err); }
    if (status != FMP_OK) { (void)fmp_err_at(err, path, 0, 0, UINT64_MAX); }
    free(on);
    free(targets);
    cJSON_Delete(config);
    return status;
}

fmp_status fmp_adapter_load(fmp_model *m, const char *dir, fmp_adapter **out, fmp_err *err)
{
    *out = NULL;
    fmp_adapter *ad = NULL;
    fmp_tensors *ts = NULL;
    char *config = fmp_path_join(dir, "adapter_config.json");
    char *weights = fmp_path_join(dir, "adapter_model.safetensors");
    fmp_status status = config && weights ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for a path");
    if (status == FMP_OK) { status = load_config(m, config, &ad, err); }
    if (status == FMP_OK) { status = fmp_tensors_open(weights, &ts, err); }
    if (status == FMP_OK) {
        status = load_values(ad, ts, err);
        if (status != FMP_OK) { (void)fmp_err_at(err, weights, 0, 0, UINT64_MAX); }
    }
    fmp_tensors_close(ts);
    free(config);
    free(weights);
    if (status != FMP_OK) {
        fmp_adapter_free(ad);
        return status;
    }
    *out = ad;
    return FMP_OK;
}

/* ---- saving ---- */

/* The fields PEFT needs to rebuild the adapter, and those whose defaults matter, in order of their names. */
static cJSON *config_json(const fmp_adapter *ad, const char *base_name)
{
    cJSON *c = cJSON_CreateObject();
    if (!c) { return NULL; }
    cJSON_AddObjectToObject(c, "alpha_pattern");
    cJSON_AddNullToObject(c, "auto_mapping");
    cJSON_AddStringToObject(c, "base_model_name_or_path", base_name ? base_name : "");
    cJSON_AddStringToObject(c, "bias", "none");
    cJSON_AddBoolToObject(c, "fan_in_fan_out", false);
    cJSON_AddBoolToObject(c, "inference_mode", true);
    cJSON_AddBoolToObject(c, "init_lora_weights", true);
    cJSON_AddNullToObject(c, "layer_replication");
    cJSON_AddNullToObject(c, "layers_pattern");
    cJSON_AddNullToObject(c, "layers_to_transform");
    cJSON_AddNumberToObject(c, "lora_alpha", ad->alpha);
    cJSON_AddNumberToObject(c, "lora_dropout", ad->dropout);
    cJSON_AddNullToObject(c, "modules_to_save");
    cJSON_AddStringToObject(c, "peft_type", "LORA");
    cJSON_AddNumberToObject(c, "r", ad->rank);
    cJSON_AddObjectToObject(c, "rank_pattern");
    cJSON_AddNullToObject(c, "revision");
    cJSON *targets = cJSON_AddArrayToObject(c, "target_modules");
    for (size_t i = 0; i < ad->n_targets; i++) {
        cJSON_AddItemToArray(targets, cJSON_CreateString(ad->targets[i]));
    }
    cJSON_AddStringToObject(c, "task_type", "CAUSAL_LM");
    cJSON_AddBoolToObject(c, "use_dora", ad->dora);
    cJSON_AddBoolToObject(c, "use_rslora", ad->rslora);
    return c;
}

static fmp_status save_config(const fmp_adapter *ad, const char *path, const char *base_name, fmp_err *err)
{
    cJSON *config = config_json(ad, base_name);
    if (!config) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for an adapter's configuration"); }
    fmp_buf text = {0};
    fmp_json_print(config, FMP_JSON_PRETTY, &text);
    fmp_buf_putc(&text, '\n');
    cJSON_Delete(config);
    fmp_status status = fmp_buf_ok(&text, err);
    if (status == FMP_OK) { status = fmp_write_file(path, text.data, text.len, err); }
    fmp_buf_free(&text);
    return status;
}

static fmp_tensor_src tensor_src(char *name, fmp_dtype dtype, int64_t rows, int64_t cols, const float *data)
{
    return (fmp_tensor_src){
        .name = name, .dtype = dtype, .n_dims = 2, .shape = {(uint64_t)rows, (uint64_t)cols}, .data = data};
}

static fmp_status save_values(const fmp_adapter *ad, const char *path, fmp_dtype dtype, fmp_err *err)
{
    size_t n = 0;
    FMP_TRY(fmp_mirror_pull(ad->device, ad->values, err));
    fmp_tensor_src *src = calloc(3 * ad->n_lora + 1, sizeof *src);
    fmp_status status = src ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for saving an adapter");
    for (size_t k = 0; k < ad->n_lora && status == FMP_OK; k++) {
        const fmp_lora *lora = &ad->lora[k];
        if (!lora->a) { continue; }
        const float *a = fmp_adapter_host(ad, lora->a), *b = fmp_adapter_host(ad, lora->b);
        src[n++] = tensor_src(fmp_peft_name(ad->model, k, 'A'), dtype, ad->rank, lora->in, a);
        src[n++] = tensor_src(fmp_peft_name(ad->model, k, 'B'), dtype, lora->out, ad->rank, b);
        if (lora->mag) {
            const float *mag = fmp_adapter_host(ad, lora->mag);
            src[n] = tensor_src(fmp_peft_name(ad->model, k, 'M'), dtype, lora->out, 1, mag);
            src[n++].n_dims = 1;
        }
        if (!src[n - 1].name || !src[n - 2].name || !src[n - (lora->mag ? 3 : 2)].name) {
            status = fmp_fail(err, FMP_E_NOMEM, "out of memory for a tensor's name");
        }
    }
    if (status == FMP_OK) { status = fmp_tensors_write(path, src, n, err); }
    for (size_t i = 0; i < n; i++) {
        free((char *)src[i].name);
    }
    free(src);
    return status;
}

fmp_status fmp_adapter_save(const fmp_adapter *ad, const char *dir, const char *base_name, fmp_dtype dtype,
                            fmp_err *err)
{
    if (dtype != FMP_DTYPE_F32 && dtype != FMP_DTYPE_BF16) {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "an adapter is saved as F32 or BF16");
    }
    FMP_TRY(fmp_mkdirs(dir, err));
    char *config = fmp_path_join(dir, "adapter_config.json");
    char *weights = fmp_path_join(dir, "adapter_model.safetensors");
    fmp_status status = config && weights ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for a path");
    if (status == FMP_OK) { status = save_values(ad, weights, dtype, err); }
    if (status == FMP_OK) { status = save_config(ad, config, base_name, err); }
    free(config);
    free(weights);
    return status;
}
