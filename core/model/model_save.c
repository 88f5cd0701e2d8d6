/*
 * model_save.c: a model as a Hugging Face folder, with an adapter merged in if one is given.
 *
 * A model that came from a folder keeps that folder's config.json, its dtype aside: fields that only other
 * programs read survive.
 */
#include "internal.h"

#include <fmpipe/json.h>

static fmp_status write_json(const char *dir, const char *name, const cJSON *node, fmp_err *err)
{
    fmp_buf text = {0};
    char *path = fmp_path_join(dir, name);
    if (node) { fmp_json_print(node, FMP_JSON_PRETTY, &text); }
    fmp_buf_putc(&text, '\n');
    fmp_status status = fmp_buf_ok(&text, err);
    if (status == FMP_OK && (!path || !node)) {
        status = fmp_fail(err, FMP_E_NOMEM, "out of memory for %s", name);
    }
    if (status == FMP_OK) { status = fmp_write_file(path, text.data, text.len, err); }
    free(path);
    fmp_buf_free(&text);
    return status;
}

/* transformers refuses, by type, a cap or a factor that is written without a point. */
static void add_points(cJSON *object)
{
    static const char *const keys[] = {
        "attn_logit_softcapping", "final_logit_softcapping", "factor",    "low_freq_factor",
        "high_freq_factor",       "attention_factor",        "beta_fast", "beta_slow"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char text[32];
        double v = fmp_json_num(object, keys[i], 0.5);
        if (v != floor(v) || fabs(v) >= 1e15) { continue; }
        (void)snprintf(text, sizeof text, "%.1f", v);
        cJSON_ReplaceItemInObjectCaseSensitive(object, keys[i], cJSON_CreateRaw(text));
    }
}

static fmp_status save_config(const fmp_model *m, const char *dir, fmp_dtype dtype, fmp_err *err)
{
    cJSON *config = NULL;
    if (m->config_text) {
        FMP_TRY(fmp_json_parse(m->config_text, strlen(m->config_text), NULL, &config, err));
        const char *key = fmp_json_get(config, "dtype") ? "dtype" : "torch_dtype";
        const char *name = dtype == FMP_DTYPE_F32 ? "float32" : "bfloat16";
        cJSON_DeleteItemFromObjectCaseSensitive(config, key);
        cJSON_AddStringToObject(config, key, name);
    } else {
        config = fmp_spec_to_json(&m->spec, dtype);
        add_points(config);
        add_points(cJSON_GetObjectItemCaseSensitive(config, "rope_scaling"));
    }
    fmp_status status = write_json(dir, "config.json", config, err);
    cJSON_Delete(config);
    return status;
}

static fmp_status save_generation_config(const fmp_model *m, const char *dir, fmp_err *err)
{
    cJSON *config = NULL;
    if (m->generation_text) {
        FMP_TRY(fmp_json_parse(m->generation_text, strlen(m->generation_text), NULL, &config, err));
    } else {
        config = cJSON_CreateObject();
        if (m->spec.bos_id >= 0) { cJSON_AddNumberToObject(config, "bos_token_id", (double)m->spec.bos_id); }
        if (m->spec.eos_id >= 0) { cJSON_AddNumberToObject(config, "eos_token_id", (double)m->spec.eos_id); }
        if (m->spec.pad_id >= 0) { cJSON_AddNumberToObject(config, "pad_token_id", (double)m->spec.pad_id); }
    }
    fmp_status status = write_json(dir, "generation_config.json", config, err);
    cJSON_Delete(config);
    return status;
}

/* The adapted module that owns this weight, or NULL. */
static const fmp_lora *lora_of(const fmp_model *m, const fmp_adapter *ad, const fmp_param *p)
{
    for (size_t l = 0; ad && l < m->spec.n_layers; l++) {
        for (int k = 0; k < N_PROJ; k++) {
            if (m->layers[l].w[k] == p) { return fmp_adapter_at(ad, l, (fmp_proj)k); }
        }
    }
    return NULL;
}

/* The tensor's values, owned by *fresh if they had to be made. */
static fmp_status saved_values(fmp_model *m, const fmp_adapter *ad, fmp_param *p, const float **data,
                               float **fresh, fmp_err *err)
{
    const fmp_lora *lora = lora_of(m, ad, p);
    const void *file = p->src ? p->src->data : NULL;
    bool in_place = file && p->src->dtype == FMP_DTYPE_F32 && (uintptr_t)file % sizeof(float) == 0;
    *fresh = NULL;
    FMP_TRY(fmp_mirror_pull(m->device, &p->values, err));
    if (!lora && (p->own || in_place)) {
        *data = p->own ? p->own : file;
        return FMP_OK;
    }
    size_t n = fmp_param_count(p);
    float *out = *fresh = malloc(n * sizeof *out);
    *data = out;
    if (!out) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for tensor %s", p->name); }
    if (p->own) {
        memcpy(out, p->own, n * sizeof *out);
    } else {
        fmp_tensor_to_f32(p->src, out);
    }
    return lora ? fmp_lora_merge(ad, lora, out, err) : FMP_OK;
}

static fmp_status save_tensors(fmp_model *m, const fmp_adapter *ad, const char *path, fmp_dtype dtype,
                               fmp_err *err)
{
    fmp_tensor_src *src = calloc(m->n_params, sizeof *src);
    float **fresh = calloc(m->n_params, sizeof *fresh);
    fmp_status status =
        src && fresh ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for saving a model");
    for (size_t i = 0; i < m->n_params && status == FMP_OK; i++) {
        fmp_param *p = &m->params[i];
        src[i] = (fmp_tensor_src){.name = p->name, .dtype = dtype, .n_dims = p->is_matrix ? 2 : 1};
        src[i].shape[0] = (uint64_t)(p->is_matrix ? p->rows : p->cols);
        src[i].shape[1] = (uint64_t)p->cols;
        status = saved_values(m, ad, p, &src[i].data, &fresh[i], err);
    }
    if (status == FMP_OK) { status = fmp_tensors_write(path, src, m->n_params, err); }
    for (size_t i = 0; fresh && i < m->n_params; i++) {
        free(fresh[i]);
    }
    free(fresh);
    free(src);
    return status;
}

fmp_status fmp_model_save(fmp_model *m, const fmp_adapter *ad, const char *dir, fmp_dtype dtype, fmp_err *err)
{
    if (dtype != FMP_DTYPE_F32 && dtype != FMP_DTYPE_BF16) {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "a model is saved as F32 or BF16");
    }
    FMP_TRY(fmp_mkdirs(dir, err));
    FMP_TRY(save_config(m, dir, dtype, err));
    FMP_TRY(save_generation_config(m, dir, err));
    char *path = fmp_path_join(dir, "model.safetensors");
    if (!path) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a path"); }
    fmp_status status = save_tensors(m, ad, path, dtype, err);
    free(path);
    return status;
}
