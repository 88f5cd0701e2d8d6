/*
 * spec.c: config.json of a Hugging Face model to a description of the decoder, layer by layer, and back.
 *
 * A field that would change the numbers and is not known here is refused by name: a model that loads computes
 * what transformers computes. Both spellings are read: rope_theta + rope_scaling, and rope_parameters.
 */
#include "internal.h"

#include <fmpipe/json.h>

static const struct family {
    const char *model_type, *architecture;
    bool qkv_bias;   /* always, whatever the file says              */
    bool bias_field; /* attention_bias is read                      */
    bool mlp_bias_field;
    bool qk_norm;
    bool always_window; /* sliding_window holds for all layers if set  */
    bool nope_field;    /* no_rope_layers is read                      */
    bool tied;          /* when the file does not say                  */
    double rope_theta;  /* when the file has none                      */
} families[] = {
    {.model_type = "llama",
     .architecture = "LlamaForCausalLM",
     .bias_field = true,
     .mlp_bias_field = true,
     .rope_theta = 10000.0},
    {.model_type = "mistral",
     .architecture = "MistralForCausalLM",
     .always_window = true,
     .rope_theta = 10000.0},
    {.model_type = "qwen2", .architecture = "Qwen2ForCausalLM", .qkv_bias = true, .rope_theta = 10000.0},
    {.model_type = "qwen3",
     .architecture = "Qwen3ForCausalLM",
     .bias_field = true,
     .qk_norm = true,
     .rope_theta = 10000.0},
    {.model_type = "smollm3",
     .architecture = "SmolLM3ForCausalLM",
     .bias_field = true,
     .mlp_bias_field = true,
     .nope_field = true,
     .tied = true,
     .rope_theta = 2000000.0},
};

static const struct family *find_family(const char *model_type)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strcmp(families[i].model_type, model_type) == 0) { return &families[i]; }
    }
    return NULL;
}

/* A whole number in lo..hi; `fallback` when absent or null, or an error if fallback < 0. */
static fmp_status read_uint(const cJSON *c, const char *key, int64_t fallback, uint32_t lo, uint32_t hi,
                            uint32_t *out, fmp_err *err)
{
    const cJSON *node = fmp_json_get(c, key);
    if (!node || cJSON_IsNull(node)) {
        if (fallback < 0) { return fmp_fail(err, FMP_E_DATA, "'%s' is missing", key); }
        *out = (uint32_t)fallback;
        return FMP_OK;
    }
    double v = 0.0;
    if (!fmp_json_number(node, &v) || v != floor(v) || v < lo || v > hi) {
        return fmp_fail(err, FMP_E_RANGE, "'%s': expected a whole number of %u to %u", key, lo, hi);
    }
    *out = (uint32_t)v;
    return FMP_OK;
}

static fmp_status read_positive(const cJSON *c, const char *key, double fallback, double *out, fmp_err *err)
{
    const cJSON *node = fmp_json_get(c, key);
    *out = fallback;
    if (!node || cJSON_IsNull(node)) {
        return fallback > 0.0 ? FMP_OK : fmp_fail(err, FMP_E_DATA, "'%s' is missing", key);
    }
    if (!fmp_json_number(node, out) || !(*out > 0.0 && *out < 1e18)) {
        return fmp_fail(err, FMP_E_RANGE, "'%s': expected a number above 0", key);
    }
    return FMP_OK;
}

static int64_t read_id(const cJSON *c, const char *key)
{
    const cJSON *node = fmp_json_get(c, key);
    if (cJSON_IsArray(node)) { node = node->child; }
    double v = -1.0;
    return node && fmp_json_number(node, &v) && v >= 0.0 && v < 4294967296.0 ? (int64_t)v : -1;
}

static fmp_status refuse_set(const cJSON *c, const char *key, fmp_err *err)
{
    const cJSON *node = fmp_json_get(c, key);
    if (!node || cJSON_IsNull(node) || cJSON_IsFalse(node)) { return FMP_OK; }
    return fmp_fail(err, FMP_E_UNSUPPORTED, "'%s' is set, which this decoder does not have", key);
}

static fmp_status read_shape(const cJSON *c, const struct family *family, fmp_model_spec *s, fmp_err *err)
{
    FMP_TRY(read_uint(c, "hidden_size", -1, 1, 65536, &s->n_channels, err));
    FMP_TRY(read_uint(c, "num_hidden_layers", -1, 1, 1024, &s->n_layers, err));
    FMP_TRY(read_uint(c, "num_attention_heads", -1, 1, 1024, &s->n_heads, err));
    FMP_TRY(read_uint(c, "num_key_value_heads", s->n_heads, 1, 1024, &s->n_kv_heads, err));
    bool is_qwen3 = strcmp(s->model_type, "qwen3") == 0;
    FMP_TRY(
        read_uint(c, "head_dim", is_qwen3 ? 128 : s->n_channels / s->n_heads, 1, 256, &s->head_size, err));
    FMP_TRY(read_uint(c, "intermediate_size", -1, 1, 1u << 20, &s->n_ff, err));
    FMP_TRY(read_uint(c, "vocab_size", -1, 1, 1u << 22, &s->vocab_size, err));
    FMP_TRY(read_uint(c, "max_position_embeddings", -1, 1, 1u << 24, &s->max_positions, err));
    FMP_TRY(read_positive(c, "rms_norm_eps", 1e-6, &s->norm_eps, err));
    const char *act = fmp_json_str(c, "hidden_act", "silu");
    if (strcmp(act, "silu") != 0) {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "'hidden_act': expected 'silu', found '%.32s'", act);
    }
    s->tied = fmp_json_bool(c, "tie_word_embeddings", family->tied);
    s->bos_id = read_id(c, "bos_token_id");
    s->eos_id = read_id(c, "eos_token_id");
    s->pad_id = read_id(c, "pad_token_id");
    return refuse_set(c, "quantization_config", err);
}

static fmp_status read_rope_kind(const cJSON *rope, fmp_model_spec *s, fmp_err *err)
{
    const char *kind = fmp_json_str(rope, "rope_type", fmp_json_str(rope, "type", "default"));
    if (strcmp(kind, "default") == 0) { return FMP_OK; }
    FMP_TRY(read_positive(rope, "factor", 0.0, &s->rope_factor, err));
    if (strcmp(kind, "linear") == 0) {
        s->rope_kind = FMP_ROPE_LINEAR;
        return FMP_OK;
    }
    if (strcmp(kind, "llama3") != 0) {
        return fmp_fail(err, FMP_E_UNSUPPORTED,
                        "rope type: expected default, linear or llama3, found '%.32s'", kind);
    }
    s->rope_kind = FMP_ROPE_LLAMA3;
    FMP_TRY(read_positive(rope, "low_freq_factor", 0.0, &s->rope_low_freq, err));
    FMP_TRY(read_positive(rope, "high_freq_factor", 0.0, &s->rope_high_freq, err));
    if (s->rope_high_freq <= s->rope_low_freq) {
        return fmp_fail(err, FMP_E_RANGE, "'high_freq_factor' must be above 'low_freq_factor'");
    }
    return read_uint(rope, "original_max_position_embeddings", -1, 1, 1u << 24, &s->rope_original_positions,
                     err);
}

static fmp_status read_rope(const cJSON *c, const struct family *family, fmp_model_spec *s, fmp_err *err)
{
    const cJSON *params = fmp_json_get(c, "rope_parameters");
    const cJSON *scaling = fmp_json_get(c, "rope_scaling");
    const cJSON *rope = cJSON_IsObject(params) ? params : scaling;
    FMP_TRY(read_positive(c, "rope_theta", family->rope_theta, &s->rope_theta, err));
    if (!rope || cJSON_IsNull(rope)) { return FMP_OK; }
    if (!cJSON_IsObject(rope)) {
        return fmp_fail(err, FMP_E_DATA, "'rope_scaling': expected an object or null");
    }
    FMP_TRY(read_positive(rope, "rope_theta", s->rope_theta, &s->rope_theta, err));
    double partial = 1.0;
    FMP_TRY(read_positive(rope, "partial_rotary_factor", fmp_json_num(c, "partial_rotary_factor", 1.0),
                          &partial, err));
    if (partial != 1.0) { return fmp_fail(err, FMP_E_UNSUPPORTED, "'partial_rotary_factor' other than 1"); }
    return read_rope_kind(rope, s, err);
}

/* Window of layer l, 0 if none, as transformers decides it. */
static fmp_status read_window(const cJSON *c, const struct family *family, uint32_t l, uint32_t *out,
                              fmp_err *err)
{
    uint32_t window = 0, full_layers = 0;
    *out = 0;
    if (fmp_json_get(c, "sliding_window")) {
        FMP_TRY(read_uint(c, "sliding_window", 0, 0, 1u << 24, &window, err));
    } else {
        window = 4096; /* what a file without the key means; null means none */
    }
    const cJSON *types = fmp_json_get(c, "layer_types");
    if (cJSON_IsArray(types)) {
        const cJSON *type = cJSON_GetArrayItem(types, (int)l);
        const char *name = cJSON_IsString(type) ? type->valuestring : "";
        bool sliding = strcmp(name, "sliding_attention") == 0;
        if (!sliding && strcmp(name, "full_attention") != 0) {
            return fmp_fail(err, FMP_E_UNSUPPORTED,
                            "'layer_types[%u]': expected full_attention or sliding_attention, found '%.32s'",
                            l, name);
        }
        if (sliding && window == 0) { return fmp_fail(err, FMP_E_DATA, "'sliding_window' is missing"); }
        *out = sliding ? window : 0;
        return FMP_OK;
    }
    FMP_TRY(read_uint(c, "max_window_layers", 28, 0, 4096, &full_layers, err));
    bool some = fmp_json_bool(c, "use_sliding_window", false) && l >= full_layers;
    *out = family->always_window || some ? window : 0;
    return FMP_OK;
}

static fmp_status read_layers(const cJSON *c, const struct family *family, fmp_model_spec *s, fmp_err *err)
{
    bool bias = family->bias_field && fmp_json_bool(c, "attention_bias", false);
    bool mlp_bias = family->mlp_bias_field && fmp_json_bool(c, "mlp_bias", false);
    const cJSON *nope = family->nope_field ? fmp_json_get(c, "no_rope_layers") : NULL;
    uint32_t interval = 0;
    FMP_TRY(read_uint(c, "no_rope_layer_interval", 4, 1, 4096, &interval, err));
    for (uint32_t l = 0; l < s->n_layers; l++) {
        fmp_layer_spec *layer = &s->layers[l];
        FMP_TRY(read_window(c, family, l, &layer->window, err));
        layer->qk_norm = family->qk_norm;
        layer->qkv_bias = family->qkv_bias || bias;
        layer->o_bias = bias;
        layer->mlp_bias = mlp_bias;
        layer->rope = !family->nope_field || (l + 1) % interval != 0;
        if (cJSON_IsArray(nope)) {
            double v = 1.0;
            const cJSON *item = cJSON_GetArrayItem(nope, (int)l);
            if (!item || !fmp_json_number(item, &v)) {
                return fmp_fail(err, FMP_E_DATA, "'no_rope_layers': expected %u numbers", s->n_layers);
            }
            layer->rope = v != 0.0; /* the field's ones mark layers that do have RoPE */
        }
    }
    return FMP_OK;
}

fmp_status fmp_spec_check(const fmp_model_spec *s, fmp_err *err)
{
    if (!find_family(s->model_type)) {
        return fmp_fail(err, FMP_E_UNSUPPORTED,
                        "'model_type': expected llama, mistral, qwen2, qwen3 or smollm3, found '%s'",
                        s->model_type);
    }
    if (!s->n_layers || !s->n_channels || !s->n_heads || !s->n_kv_heads || !s->n_ff || !s->vocab_size ||
        !s->max_positions || s->n_layers > 1024 || s->n_channels > 65536 || s->n_ff > 1u << 20 ||
        s->vocab_size > 1u << 22 || s->n_heads > 1024) {
        return fmp_fail(err, FMP_E_RANGE, "a size of the model is zero or beyond its limit");
    }
    if (s->n_heads % s->n_kv_heads != 0) {
        return fmp_fail(err, FMP_E_DATA, "%u query heads do not divide into %u key/value heads", s->n_heads,
                        s->n_kv_heads);
    }
    if (s->head_size == 0 || s->head_size % 2 != 0 || s->head_size > 256) {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "head size %u: expected an even number of 2 to 256",
                        s->head_size);
    }
    if (!(s->norm_eps > 0.0) || !(s->rope_theta > 0.0)) {
        return fmp_fail(err, FMP_E_RANGE, "norm epsilon and RoPE theta must be above 0");
    }
    return FMP_OK;
}

fmp_status fmp_spec_default_layers(fmp_model_spec *s, fmp_err *err)
{
    const struct family *family = find_family(s->model_type);
    s->layers = family ? calloc(s->n_layers, sizeof *s->layers) : NULL;
    if (!s->layers) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for %u layers", s->n_layers); }
    for (uint32_t l = 0; l < s->n_layers; l++) {
        s->layers[l] = (fmp_layer_spec){.rope = !family->nope_field || (l + 1) % 4 != 0,
                                        .qk_norm = family->qk_norm,
                                        .qkv_bias = family->qkv_bias};
    }
    return FMP_OK;
}

fmp_status fmp_spec_from_json(const cJSON *c, fmp_model_spec *s, fmp_err *err)
{
    memset(s, 0, sizeof *s);
    if (!cJSON_IsObject(c)) { return fmp_fail(err, FMP_E_DATA, "expected an object"); }
    const char *type = fmp_json_str(c, "model_type", "");
    (void)snprintf(s->model_type, sizeof s->model_type, "%s", type);
    const struct family *family = find_family(type);
    if (!family) {
        return fmp_fail(err, FMP_E_UNSUPPORTED,
                        "'model_type': expected llama, mistral, qwen2, qwen3 or smollm3, found '%.64s'",
                        type);
    }
    FMP_TRY(read_shape(c, family, s, err));
    FMP_TRY(read_rope(c, family, s, err));
    FMP_TRY(fmp_spec_check(s, err));
    s->layers = calloc(s->n_layers, sizeof *s->layers);
    if (!s->layers) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for %u layers", s->n_layers); }
    fmp_status status = read_layers(c, family, s, err);
    if (status != FMP_OK) {
        free(s->layers);
        s->layers = NULL;
    }
    return status;
}

static void add_id(cJSON *c, const char *key, int64_t id)
{
    if (id >= 0) {
        cJSON_AddNumberToObject(c, key, (double)id);
    } else {
        cJSON_AddNullToObject(c, key);
    }
}

static void add_rope(cJSON *c, const fmp_model_spec *s)
{
    cJSON_AddNumberToObject(c, "rope_theta", s->rope_theta);
    if (s->rope_kind == FMP_ROPE_DEFAULT) {
        cJSON_AddNullToObject(c, "rope_scaling");
        return;
    }
    cJSON *rope = cJSON_AddObjectToObject(c, "rope_scaling");
    cJSON_AddStringToObject(rope, "rope_type", s->rope_kind == FMP_ROPE_LINEAR ? "linear" : "llama3");
    cJSON_AddNumberToObject(rope, "factor", s->rope_factor);
    if (s->rope_kind == FMP_ROPE_LLAMA3) {
        cJSON_AddNumberToObject(rope, "low_freq_factor", s->rope_low_freq);
        cJSON_AddNumberToObject(rope, "high_freq_factor", s->rope_high_freq);
        cJSON_AddNumberToObject(rope, "original_max_position_embeddings", s->rope_original_positions);
    }
}

static void add_layers(cJSON *c, const fmp_model_spec *s, const struct family *family)
{
    const fmp_layer_spec *first = &s->layers[0];
    if (family->bias_field) { cJSON_AddBoolToObject(c, "attention_bias", first->o_bias); }
    if (family->mlp_bias_field) { cJSON_AddBoolToObject(c, "mlp_bias", first->mlp_bias); }
    uint32_t window = 0;
    for (uint32_t l = 0; l < s->n_layers; l++) {
        window = s->layers[l].window ? s->layers[l].window : window;
    }
    if (window) {
        cJSON_AddNumberToObject(c, "sliding_window", window);
    } else {
        cJSON_AddNullToObject(c, "sliding_window");
    }
    cJSON_AddBoolToObject(c, "use_sliding_window", window != 0);
    if (window) {
        cJSON *types = cJSON_AddArrayToObject(c, "layer_types");
        for (uint32_t l = 0; l < s->n_layers; l++) {
            const char *kind = s->layers[l].window ? "sliding_attention" : "full_attention";
            cJSON_AddItemToArray(types, cJSON_CreateString(kind));
        }
    }
    if (family->nope_field) {
        cJSON *nope = cJSON_AddArrayToObject(c, "no_rope_layers");
        for (uint32_t l = 0; l < s->n_layers; l++) {
            cJSON_AddItemToArray(nope, cJSON_CreateNumber(s->layers[l].rope ? 1.0 : 0.0));
        }
    }
}

cJSON *fmp_spec_to_json(const fmp_model_spec *s, fmp_dtype dtype)
{
    const struct family *family = find_family(s->model_type);
    cJSON *c = cJSON_CreateObject();
    if (!c || !family) { return c; }
    cJSON *names = cJSON_AddArrayToObject(c, "architectures");
    cJSON_AddItemToArray(names, cJSON_CreateString(family->architecture));
    cJSON_AddStringToObject(c, "model_type", s->model_type);
    cJSON_AddNumberToObject(c, "hidden_size", s->n_channels);
    cJSON_AddNumberToObject(c, "num_hidden_layers", s->n_layers);
    cJSON_AddNumberToObject(c, "num_attention_heads", s->n_heads);
    cJSON_AddNumberToObject(c, "num_key_value_heads", s->n_kv_heads);
    cJSON_AddNumberToObject(c, "head_dim", s->head_size);
    cJSON_AddNumberToObject(c, "intermediate_size", s->n_ff);
    cJSON_AddNumberToObject(c, "vocab_size", s->vocab_size);
    cJSON_AddNumberToObject(c, "max_position_embeddings", s->max_positions);
    cJSON_AddNumberToObject(c, "rms_norm_eps", s->norm_eps);
    cJSON_AddStringToObject(c, "hidden_act", "silu");
    cJSON_AddBoolToObject(c, "tie_word_embeddings", s->tied);
    add_rope(c, s);
    add_layers(c, s, family);
    cJSON_AddNumberToObject(c, "attention_dropout", 0.0);
    add_id(c, "bos_token_id", s->bos_id);
    add_id(c, "eos_token_id", s->eos_id);
    add_id(c, "pad_token_id", s->pad_id);
    cJSON_AddStringToObject(c, "torch_dtype", dtype == FMP_DTYPE_F32 ? "float32" : "bfloat16");
    return c;
}
