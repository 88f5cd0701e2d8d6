/*
 * spec.c: config.json of a Hugging Face model to a description of the decoder, layer by layer. Back: spec_json.c.
 *
 * A family is a row of a table, not code: everything after this file sees the description only. A field that would
 * change the numbers and is not known here is refused by name: a model that loads computes what transformers
 * computes. Both spellings of RoPE are read: rope_theta + rope_scaling, and rope_parameters.
 */
#include "internal.h"

#include <fmpipe/json.h>

static const fmp_family families[] = {
    {.model_type = "llama",
     .uniform = true,
     .architecture = "LlamaForCausalLM",
     .bias_field = true,
     .mlp_bias_field = true,
     .rope_theta = 10000.0},
    {.model_type = "mistral",
     .architecture = "MistralForCausalLM",
     .always_window = true,
     .default_window = 4096,
     .rope_theta = 10000.0},
    {.model_type = "qwen2",
     .architecture = "Qwen2ForCausalLM",
     .qkv_bias = true,
     .default_window = 4096,
     .rope_theta = 10000.0},
    {.model_type = "qwen3",
     .architecture = "Qwen3ForCausalLM",
     .bias_field = true,
     .qk_norm = true,
     .default_window = 4096,
     .head_size = 128,
     .rope_theta = 10000.0},
    {.model_type = "smollm3",
     .architecture = "SmolLM3ForCausalLM",
     .bias_field = true,
     .mlp_bias_field = true,
     .nope_field = true,
     .tied = true,
     .rope_theta = 2000000.0},
    {.model_type = "gemma",
     .uniform = true,
     .architecture = "GemmaForCausalLM",
     .bias_field = true,
     .tied = true,
     .head_size = 256,
     .gemma = true,
     .rope_theta = 10000.0},
    {.model_type = "gemma2",
     .architecture = "Gemma2ForCausalLM",
     .bias_field = true,
     .tied = true,
     .head_size = 256,
     .gemma = true,
     .norms = FMP_NORM_BOTH,
     .scale_field = true,
     .attn_softcap_field = true,
     .logit_softcap_field = true,
     .attn_softcap = 50.0,
     .logit_softcap = 30.0,
     .default_window = 4096,
     .window_period = 2,
     .rope_theta = 10000.0},
    {.model_type = "gemma3_text",
     .architecture = "Gemma3ForCausalLM",
     .bias_field = true,
     .qk_norm = true,
     .tied = true,
     .head_size = 256,
     .gemma = true,
     .norms = FMP_NORM_BOTH,
     .scale_field = true,
     .logit_softcap_field = true,
     .default_window = 4096,
     .window_period = 6,
     .local_rope = true,
     .rope_theta = 1000000.0},
    {.model_type = "phi3",
     .uniform = true,
     .architecture = "Phi3ForCausalLM",
     .always_window = true,
     .fused = true,
     .norm_eps = 1e-5,
     .rope_theta = 10000.0},
    {.model_type = "olmo2",
     .uniform = true,
     .architecture = "Olmo2ForCausalLM",
     .bias_field = true,
     .qk_norm = true,
     .qk_norm_whole = true,
     .norms = FMP_NORM_POST,
     .norm_eps = 1e-5,
     .rope_theta = 10000.0},
    {.model_type = "fmpipe",
     .architecture = "FmpipeForCausalLM",
     .own = true,
     .bias_field = true,
     .mlp_bias_field = true,
     .qk_norm = true,
     .tied = true,
     .norm_eps = 1e-5,
     .rope_theta = 10000.0},
};

const fmp_family *fmp_family_find(const char *model_type)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strcmp(families[i].model_type, model_type) == 0) { return &families[i]; }
    }
    return NULL;
}

const char *fmp_model_families(void)
{
    return "llama, mistral, qwen2, qwen3, smollm3, gemma, gemma2, gemma3_text, phi3, olmo2, fmpipe";
}

void fmp_spec_set_family(fmp_model_spec *s)
{
    const fmp_family *family = fmp_family_find(s->model_type);
    if (!family) { return; }
    s->norms = family->norms;
    s->norm_plus_one = family->gemma;
    s->qk_norm_whole = family->qk_norm_whole;
    s->fused = family->fused;
    s->embed_scale = family->gemma ? sqrt((double)s->n_channels) : 0.0;
    if (!family->own) { s->rope_interleaved = false; }
    if (family->gemma) { s->activation = FMP_ACT_GELU_TANH; }
}

/* ---- values ---- */

/* A whole number in lo..hi; `fallback` when absent or null, or an error if fallback < 0. */
fmp_status fmp_config_uint(const cJSON *c, const char *key, int64_t fallback, uint32_t lo, uint32_t hi,
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

/* A number above 0; `fallback` when absent or null, or an error if that is 0. */
fmp_status fmp_config_positive(const cJSON *c, const char *key, double fallback, double *out, fmp_err *err)
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

/* true or false; `fallback` when absent or null. */
fmp_status fmp_config_bool(const cJSON *c, const char *key, bool fallback, bool *out, fmp_err *err)
{
    const cJSON *node = fmp_json_get(c, key);
    *out = cJSON_IsBool(node) ? cJSON_IsTrue(node) : fallback;
    if (!node || cJSON_IsNull(node) || cJSON_IsBool(node)) { return FMP_OK; }
    return fmp_fail(err, FMP_E_DATA, "'%s': expected true or false", key);
}

/* The same where null means none, and absence means `fallback`; 0: none. */
static fmp_status read_softcap(const cJSON *c, const char *key, double fallback, double *out, fmp_err *err)
{
    const cJSON *node = fmp_json_get(c, key);
    *out = node ? 0.0 : fallback;
    if (!node || cJSON_IsNull(node)) { return FMP_OK; }
    return fmp_config_positive(c, key, 1.0, out, err);
}

/* The first of several; -1: none, as a negative number and null say. */
static fmp_status read_id(const cJSON *c, const char *key, int64_t *out, fmp_err *err)
{
    const cJSON *node = fmp_json_get(c, key);
    if (cJSON_IsArray(node)) { node = node->child; }
    double v = -1.0;
    *out = -1;
    if (!node || cJSON_IsNull(node)) { return FMP_OK; }
    if (!fmp_json_number(node, &v) || v != floor(v) || v >= 4294967296.0) {
        return fmp_fail(err, FMP_E_DATA, "'%s': expected a token id, or several", key);
    }
    if (v >= 0.0) { *out = (int64_t)v; }
    return FMP_OK;
}

/* ---- what is refused ---- */

/* Null, false, 0, or the number that changes nothing. */
static bool is_neutral(const cJSON *node, double neutral)
{
    double v = 0.0;
    if (!node || cJSON_IsNull(node) || cJSON_IsFalse(node)) { return true; }
    return fmp_json_number(node, &v) && (v == 0.0 || v == neutral);
}

/* Fields of other decoders: a file that sets one means another computation. */
static fmp_status refuse_fields(const cJSON *c, const fmp_family *family, fmp_err *err)
{
    static const struct {
        const char *key;
        double neutral;
    } refused[] = {{"quantization_config", 0.0},   {"use_bidirectional_attention", 0.0},
                   {"num_experts", 0.0},           {"num_local_experts", 1.0},
                   {"n_routed_experts", 0.0},      {"clip_qkv", 0.0},
                   {"attention_chunk_size", 0.0},  {"embedding_multiplier", 1.0},
                   {"residual_multiplier", 1.0},   {"attention_multiplier", 1.0},
                   {"logits_scaling", 1.0},        {"logit_scale", 1.0},
                   {"use_parallel_residual", 0.0}, {"vision_config", 0.0}};
    const char *wrong = NULL;
    for (size_t i = 0; i < sizeof refused / sizeof *refused && !wrong; i++) {
        if (!is_neutral(fmp_json_get(c, refused[i].key), refused[i].neutral)) { wrong = refused[i].key; }
    }
    const struct {
        const char *key;
        bool known;
    } of_family[] = {{"query_pre_attn_scalar", family->scale_field},
                     {"attn_logit_softcapping", family->attn_softcap_field},
                     {"final_logit_softcapping", family->logit_softcap_field},
                     {"num_kv_shared_layers", family->own}};
    for (size_t i = 0; i < sizeof of_family / sizeof *of_family && !wrong; i++) {
        if (!of_family[i].known && !is_neutral(fmp_json_get(c, of_family[i].key), 0.0)) {
            wrong = of_family[i].key;
        }
    }
    if (!wrong) { return FMP_OK; }
    return fmp_fail(err, FMP_E_UNSUPPORTED, "'%s' is set, which a '%s' decoder does not have here", wrong,
                    family->model_type);
}

/* ---- shapes ---- */

static fmp_status read_activation(const cJSON *c, const fmp_family *family, fmp_model_spec *s, fmp_err *err)
{
    const char *usual = family->gemma ? "gelu_pytorch_tanh" : "silu";
    const char *key = family->gemma && cJSON_IsString(fmp_json_get(c, "hidden_activation"))
                          ? "hidden_activation"
                          : "hidden_act";
    const cJSON *node = fmp_json_get(c, key);
    const char *act = fmp_json_str(c, key, usual);
    if (node && !cJSON_IsNull(node) && !cJSON_IsString(node)) {
        return fmp_fail(err, FMP_E_DATA, "'%s': expected a name", key);
    }
    s->activation = FMP_ACT_SILU;
    if (strcmp(act, "silu") == 0 && !family->gemma) { return FMP_OK; }
    s->activation = FMP_ACT_GELU_TANH;
    /* Gemma's first files said "gelu" and meant the tanh form. */
    if (strcmp(act, "gelu_pytorch_tanh") == 0 && family->gemma) { return FMP_OK; }
    if (strcmp(act, "gelu") == 0 && strcmp(family->model_type, "gemma") == 0) { return FMP_OK; }
    return fmp_fail(err, FMP_E_UNSUPPORTED, "'%s': expected '%s', found '%.32s'", key, usual, act);
}

static fmp_status read_shape(const cJSON *c, const fmp_family *family, fmp_model_spec *s, fmp_err *err)
{
    FMP_TRY(fmp_config_uint(c, "hidden_size", -1, 1, 65536, &s->n_channels, err));
    FMP_TRY(fmp_config_uint(c, "num_hidden_layers", -1, 1, 1024, &s->n_layers, err));
    FMP_TRY(fmp_config_uint(c, "num_attention_heads", -1, 1, 1024, &s->n_heads, err));
    FMP_TRY(fmp_config_uint(c, "num_key_value_heads", s->n_heads, 1, 1024, &s->n_kv_heads, err));
    uint32_t head_size = family->head_size ? family->head_size : s->n_channels / s->n_heads;
    FMP_TRY(fmp_config_uint(c, "head_dim", head_size, 1, 256, &s->head_size, err));
    FMP_TRY(fmp_config_uint(c, "intermediate_size", -1, 1, 1u << 20, &s->n_ff, err));
    FMP_TRY(fmp_config_uint(c, "vocab_size", -1, 1, 1u << 22, &s->vocab_size, err));
    FMP_TRY(fmp_config_uint(c, "max_position_embeddings", -1, 1, 1u << 24, &s->max_positions, err));
    FMP_TRY(fmp_config_positive(c, "rms_norm_eps", family->norm_eps > 0.0 ? family->norm_eps : 1e-6,
                                &s->norm_eps, err));
    FMP_TRY(read_activation(c, family, s, err));
    if (family->scale_field) {
        double scalar = 0.0;
        FMP_TRY(fmp_config_positive(c, "query_pre_attn_scalar", 256.0, &scalar, err));
        s->attn_scale = 1.0 / sqrt(scalar);
    }
    if (family->attn_softcap_field) {
        FMP_TRY(read_softcap(c, "attn_logit_softcapping", family->attn_softcap, &s->attn_softcap, err));
    }
    if (family->logit_softcap_field) {
        FMP_TRY(read_softcap(c, "final_logit_softcapping", family->logit_softcap, &s->logit_softcap, err));
    }
    if (family->own) { FMP_TRY(fmp_config_bool(c, "rope_interleaved", false, &s->rope_interleaved, err)); }
    FMP_TRY(fmp_config_bool(c, "tie_word_embeddings", family->tied, &s->tied, err));
    FMP_TRY(read_id(c, "bos_token_id", &s->bos_id, err));
    FMP_TRY(read_id(c, "eos_token_id", &s->eos_id, err));
    return read_id(c, "pad_token_id", &s->pad_id, err);
}

/* ---- layers ---- */

/* Layer l as the family makes it when the file says nothing of layers. */
static fmp_layer_spec usual_layer(const fmp_family *family, uint32_t l, uint32_t window)
{
    bool far = family->window_period ? (l + 1) % family->window_period == 0 : !family->always_window;
    return (fmp_layer_spec){.rope = !family->nope_field || (l + 1) % 4 != 0,
                            .window = far ? 0 : window,
                            .rope_set = family->local_rope && !far,
                            .qk_norm = family->qk_norm,
                            .qkv_bias = family->qkv_bias};
}

/* layer_types[l] against the two names; sets `sliding`. */
static fmp_status read_layer_type(const cJSON *types, uint32_t l, bool *sliding, fmp_err *err)
{
    const cJSON *type = cJSON_GetArrayItem(types, (int)l);
    const char *name = cJSON_IsString(type) ? type->valuestring : "";
    *sliding = strcmp(name, "sliding_attention") == 0;
    if (*sliding || strcmp(name, "full_attention") == 0) { return FMP_OK; }
    return fmp_fail(err, FMP_E_UNSUPPORTED,
                    "'layer_types[%u]': expected full_attention or sliding_attention, found '%.32s'", l,
                    name);
}

/* True if layer l has a window when the file says nothing of layers, as transformers decides it. */
static fmp_status slides_by_family(const cJSON *c, const fmp_family *family, uint32_t l, bool rope, bool *out,
                                   fmp_err *err)
{
    if (family->window_period) {
        uint32_t period = 0;
        FMP_TRY(fmp_config_uint(c, "sliding_window_pattern", family->window_period, 1, 1024, &period, err));
        *out = (l + 1) % period != 0;
        return FMP_OK;
    }
    uint32_t full_layers = 0;
    bool asked = false;
    FMP_TRY(fmp_config_uint(c, "max_window_layers", 28, 0, 4096, &full_layers, err));
    FMP_TRY(fmp_config_bool(c, "use_sliding_window", false, &asked, err));
    asked = asked && !family->uniform;
    *out = family->always_window || (asked && (family->nope_field ? !rope : l >= full_layers));
    return FMP_OK;
}

/* By layer_types where the file has them; a family whose layers are all alike must be told nothing else. */
static fmp_status is_sliding(const cJSON *c, const fmp_family *family, const fmp_model_spec *s, uint32_t l,
                             uint32_t window, bool *out, fmp_err *err)
{
    const cJSON *types = fmp_json_get(c, "layer_types");
    bool usual = false;
    FMP_TRY(slides_by_family(c, family, l, s->layers[l].rope, &usual, err));
    *out = usual;
    if (!types || cJSON_IsNull(types)) { return FMP_OK; }
    if (!cJSON_IsArray(types)) { return fmp_fail(err, FMP_E_DATA, "'layer_types': expected a list"); }
    FMP_TRY(read_layer_type(types, l, out, err));
    if (cJSON_GetArraySize(types) != (int)s->n_layers) {
        return fmp_fail(err, FMP_E_DATA, "'layer_types': expected %u names, found %d", s->n_layers,
                        cJSON_GetArraySize(types));
    }
    if (family->uniform && *out != (usual && window > 0)) {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "'layer_types[%u]': all layers of a '%s' decoder have %s", l,
                        family->model_type, usual && window > 0 ? "the window" : "full attention");
    }
    if (*out && window == 0) { return fmp_fail(err, FMP_E_DATA, "'sliding_window' is missing"); }
    return FMP_OK;
}

static fmp_status read_has_rope(const cJSON *c, const fmp_family *family, const fmp_model_spec *s, uint32_t l,
                                bool *out, fmp_err *err)
{
    *out = true;
    if (!family->nope_field) { return FMP_OK; }
    uint32_t interval = 0;
    FMP_TRY(fmp_config_uint(c, "no_rope_layer_interval", 4, 1, 4096, &interval, err));
    *out = (l + 1) % interval != 0;
    const cJSON *nope = fmp_json_get(c, "no_rope_layers");
    if (!cJSON_IsArray(nope)) { return FMP_OK; }
    double v = 1.0;
    const cJSON *item = cJSON_GetArrayItem(nope, (int)l);
    if (!item || !fmp_json_number(item, &v)) {
        return fmp_fail(err, FMP_E_DATA, "'no_rope_layers': expected %u numbers", s->n_layers);
    }
    *out = v != 0.0; /* the field's ones mark layers that do have RoPE */
    return FMP_OK;
}

static fmp_status read_layers(const cJSON *c, const fmp_family *family, fmp_model_spec *s, fmp_err *err)
{
    bool bias = false, mlp_bias = false, qk_norm = family->qk_norm;
    if (family->bias_field) { FMP_TRY(fmp_config_bool(c, "attention_bias", false, &bias, err)); }
    if (family->mlp_bias_field) { FMP_TRY(fmp_config_bool(c, "mlp_bias", false, &mlp_bias, err)); }
    if (family->own) { FMP_TRY(fmp_config_bool(c, "use_qk_norm", true, &qk_norm, err)); }
    uint32_t window = 0, shared = 0;
    /* a file without the key means the family's; null means none */
    uint32_t usual = fmp_json_get(c, "sliding_window") ? 0 : family->default_window;
    FMP_TRY(fmp_config_uint(c, "sliding_window", usual, 0, 1u << 24, &window, err));
    if (family->own) {
        FMP_TRY(fmp_config_uint(c, "num_kv_shared_layers", 0, 0, s->n_layers - 1, &shared, err));
    }
    for (uint32_t l = 0; l < s->n_layers; l++) {
        fmp_layer_spec *layer = &s->layers[l];
        bool sliding = false;
        FMP_TRY(read_has_rope(c, family, s, l, &layer->rope, err));
        FMP_TRY(is_sliding(c, family, s, l, window, &sliding, err));
        layer->window = sliding ? window : 0;
        layer->rope_set = family->local_rope && sliding;
        layer->qk_norm = qk_norm;
        layer->qkv_bias = family->qkv_bias || bias;
        layer->o_bias = bias;
        layer->mlp_bias = mlp_bias;
        layer->kv_back = l >= s->n_layers - shared ? l - (s->n_layers - shared - 1) : 0;
    }
    return FMP_OK;
}

/* ---- the whole ---- */

static fmp_status check_layers(const fmp_model_spec *s, fmp_err *err)
{
    for (uint32_t l = 0; s->layers && l < s->n_layers; l++) {
        const fmp_layer_spec *layer = &s->layers[l];
        if (layer->rope_set > 1) {
            return fmp_fail(err, FMP_E_RANGE, "layer %u: expected RoPE set 0 or 1", l);
        }
        if (layer->kv_back > l || (layer->kv_back && s->layers[l - layer->kv_back].kv_back)) {
            return fmp_fail(err, FMP_E_DATA, "layer %u: the layer whose keys and values it uses has none", l);
        }
        if (layer->kv_back && s->fused) {
            return fmp_fail(err, FMP_E_UNSUPPORTED,
                            "layer %u: shared keys and values with a fused projection", l);
        }
    }
    return FMP_OK;
}

fmp_status fmp_spec_check(const fmp_model_spec *s, fmp_err *err)
{
    if (!fmp_family_find(s->model_type)) {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "'model_type': expected one of %s; found '%s'",
                        fmp_model_families(), s->model_type);
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
    if (s->head_size == 0 || s->head_size % 2 != 0 || s->head_size > FMP_MAX_ROTARY) {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "head size %u: expected an even number of 2 to %d",
                        s->head_size, FMP_MAX_ROTARY);
    }
    if (!(s->norm_eps > 0.0)) { return fmp_fail(err, FMP_E_RANGE, "norm epsilon must be above 0"); }
    FMP_TRY(fmp_rope_check(s, err));
    return check_layers(s, err);
}

fmp_status fmp_spec_default_layers(fmp_model_spec *s, fmp_err *err)
{
    const fmp_family *family = fmp_family_find(s->model_type);
    s->layers = family ? calloc(s->n_layers, sizeof *s->layers) : NULL;
    if (!s->layers) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for %u layers", s->n_layers); }
    for (uint32_t l = 0; l < s->n_layers; l++) {
        s->layers[l] = usual_layer(family, l, family->window_period ? family->default_window : 0);
    }
    return FMP_OK;
}

fmp_status fmp_spec_from_json(const cJSON *c, fmp_model_spec *s, fmp_err *err)
{
    memset(s, 0, sizeof *s);
    if (!cJSON_IsObject(c)) { return fmp_fail(err, FMP_E_DATA, "expected an object"); }
    if (fmp_config_has_text_part(c)) {
        cJSON *part = NULL;
        FMP_TRY(fmp_config_text_part(c, &part, err));
        fmp_status found = fmp_spec_from_json(part, s, err); /* a text part has no text_config that is read */
        cJSON_Delete(part);
        return found;
    }
    const char *type = fmp_json_str(c, "model_type", "");
    (void)snprintf(s->model_type, sizeof s->model_type, "%s", type);
    const fmp_family *family = fmp_family_find(type);
    if (!family) {
        (void)fmp_fail(err, FMP_E_UNSUPPORTED, "'model_type': expected one of %s; found '%.64s'",
                       fmp_model_families(), type);
        if (cJSON_IsObject(fmp_json_get(c, "text_config"))) {
            (void)fmp_err_hint(err, "this model reads more than text; of those, the text decoders of gemma3 "
                                    "and mistral3 are read");
        }
        return FMP_E_UNSUPPORTED;
    }
    FMP_TRY(refuse_fields(c, family, err));
    FMP_TRY(read_shape(c, family, s, err));
    fmp_spec_set_family(s);
    FMP_TRY(fmp_rope_read(c, family, s, err));
    FMP_TRY(fmp_spec_check(s, err));
    s->layers = calloc(s->n_layers, sizeof *s->layers);
    if (!s->layers) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for %u layers", s->n_layers); }
    fmp_status status = read_layers(c, family, s, err);
    if (status == FMP_OK) { status = check_layers(s, err); }
    if (status != FMP_OK) { fmp_spec_free(s); }
    return status;
}

fmp_status fmp_spec_parse(const char *text, size_t len, fmp_model_spec *out, fmp_err *err)
{
    cJSON *config = NULL;
    memset(out, 0, sizeof *out);
    FMP_TRY(fmp_json_parse(text, len, NULL, &config, err));
    fmp_status status = fmp_spec_from_json(config, out, err);
    cJSON_Delete(config);
    return status;
}

static fmp_status load_json(const char *path, fmp_model_spec *out, fmp_err *err)
{
    cJSON *config = NULL;
    FMP_TRY(fmp_json_load(path, NULL, &config, err));
    fmp_status status = fmp_spec_from_json(config, out, err);
    if (status != FMP_OK) { (void)fmp_err_at(err, path, 0, 0, UINT64_MAX); }
    cJSON_Delete(config);
    return status;
}

fmp_status fmp_spec_load(const char *path, fmp_model_spec *out, fmp_err *err)
{
    struct stat st;
    memset(out, 0, sizeof *out);
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        return fmp_llama2c_is(path) ? fmp_llama2c_spec(path, out, err) : load_json(path, out, err);
    }
    char *config = fmp_path_join(path, "config.json");
    fmp_status status =
        config ? load_json(config, out, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory for a path");
    free(config);
    return status;
}

void fmp_spec_free(fmp_model_spec *spec)
{
    free(spec->layers);
    spec->layers = NULL;
}

uint32_t fmp_spec_positions(const fmp_model_spec *s)
{
    bool grows = s->rope[0].kind == FMP_ROPE_DYNAMIC && s->rope[0].factor > 1.0;
    double positions = s->max_positions * (grows ? s->rope[0].factor : 1.0);
    return positions < 1 << 24 ? (uint32_t)positions : 1u << 24;
}
