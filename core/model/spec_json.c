/*
 * spec_json.c: a description of a decoder as the config.json that spec.c and transformers read; and whether two
 * descriptions are the same. The digest of a model holds this text: what an existing family writes stays.
 */
#include "internal.h"

static void add_id(cJSON *c, const char *key, int64_t id)
{
    if (id >= 0) {
        cJSON_AddNumberToObject(c, key, (double)id);
    } else {
        cJSON_AddNullToObject(c, key);
    }
}

static void add_factors(cJSON *rope, const char *key, const float *factor, int64_t n)
{
    cJSON *list = cJSON_AddArrayToObject(rope, key);
    for (int64_t i = 0; i < n; i++) {
        cJSON_AddItemToArray(list, cJSON_CreateNumber((double)factor[i]));
    }
}

static void add_scaling(cJSON *c, const fmp_model_spec *s, const fmp_rope_spec *r)
{
    static const char *const names[] = {"default", "linear", "llama3", "dynamic", "yarn", "longrope"};
    cJSON *rope = cJSON_AddObjectToObject(c, "rope_scaling");
    cJSON_AddStringToObject(rope, "rope_type", names[r->kind]);
    cJSON_AddNumberToObject(rope, "factor", r->factor);
    if (r->kind == FMP_ROPE_LLAMA3) {
        cJSON_AddNumberToObject(rope, "low_freq_factor", r->low_freq);
        cJSON_AddNumberToObject(rope, "high_freq_factor", r->high_freq);
    }
    if (r->kind == FMP_ROPE_YARN) {
        cJSON_AddNumberToObject(rope, "beta_fast", r->beta_fast);
        cJSON_AddNumberToObject(rope, "beta_slow", r->beta_slow);
        cJSON_AddBoolToObject(rope, "truncate", !r->exact_bounds);
    }
    if (r->kind == FMP_ROPE_LONGROPE) {
        add_factors(rope, "short_factor", r->short_factor, fmp_spec_rotary(s) / 2);
        add_factors(rope, "long_factor", r->long_factor, fmp_spec_rotary(s) / 2);
    }
    if (r->kind == FMP_ROPE_YARN || r->kind == FMP_ROPE_LONGROPE) {
        cJSON_AddNumberToObject(rope, "attention_factor",
                                r->attention_factor > 0.0 ? r->attention_factor : 1.0);
    }
    if (r->kind != FMP_ROPE_LINEAR && r->kind != FMP_ROPE_DYNAMIC) {
        cJSON_AddNumberToObject(rope, "original_max_position_embeddings", r->original_positions);
    }
}

static void add_rope(cJSON *c, const fmp_model_spec *s, const fmp_family *family)
{
    cJSON_AddNumberToObject(c, "rope_theta", s->rope[0].theta);
    if (s->rope[0].kind == FMP_ROPE_DEFAULT) {
        cJSON_AddNullToObject(c, "rope_scaling");
    } else {
        add_scaling(c, s, &s->rope[0]);
    }
    if (family->local_rope) { cJSON_AddNumberToObject(c, "rope_local_base_freq", s->rope[1].theta); }
    if (fmp_spec_rotary(s) != s->head_size) {
        cJSON_AddNumberToObject(c, "partial_rotary_factor", (double)s->n_rotary / s->head_size);
    }
    if (family->fused && s->rope[0].kind == FMP_ROPE_LONGROPE) {
        cJSON_AddNumberToObject(c, "original_max_position_embeddings", s->rope[0].original_positions);
    }
}

static void add_layer_types(cJSON *c, const fmp_model_spec *s)
{
    cJSON *types = cJSON_AddArrayToObject(c, "layer_types");
    for (uint32_t l = 0; l < s->n_layers; l++) {
        const char *kind = s->layers[l].window ? "sliding_attention" : "full_attention";
        cJSON_AddItemToArray(types, cJSON_CreateString(kind));
    }
}

static void add_layers(cJSON *c, const fmp_model_spec *s, const fmp_family *family)
{
    const fmp_layer_spec *first = &s->layers[0];
    if (family->bias_field) { cJSON_AddBoolToObject(c, "attention_bias", first->o_bias); }
    if (family->mlp_bias_field) { cJSON_AddBoolToObject(c, "mlp_bias", first->mlp_bias); }
    uint32_t window = 0, shared = 0;
    for (uint32_t l = 0; l < s->n_layers; l++) {
        window = s->layers[l].window ? s->layers[l].window : window;
        shared += s->layers[l].kv_back > 0;
    }
    if (window) {
        cJSON_AddNumberToObject(c, "sliding_window", window);
    } else {
        cJSON_AddNullToObject(c, "sliding_window");
    }
    cJSON_AddBoolToObject(c, "use_sliding_window", window != 0);
    if (window || family->window_period) { add_layer_types(c, s); }
    if (family->nope_field) {
        cJSON *nope = cJSON_AddArrayToObject(c, "no_rope_layers");
        for (uint32_t l = 0; l < s->n_layers; l++) {
            cJSON_AddItemToArray(nope, cJSON_CreateNumber(s->layers[l].rope ? 1.0 : 0.0));
        }
    }
    if (family->own) {
        cJSON_AddBoolToObject(c, "use_qk_norm", first->qk_norm);
        cJSON_AddBoolToObject(c, "rope_interleaved", s->rope_interleaved);
        cJSON_AddNumberToObject(c, "num_kv_shared_layers", shared);
    }
}

static double scale_of(const fmp_model_spec *s)
{
    return s->attn_scale > 0.0 ? s->attn_scale : 1.0 / sqrt((double)s->head_size);
}

static void add_softcap(cJSON *c, const char *key, double cap)
{
    if (cap > 0.0) {
        cJSON_AddNumberToObject(c, key, cap);
    } else {
        cJSON_AddNullToObject(c, key);
    }
}

static void add_scales(cJSON *c, const fmp_model_spec *s, const fmp_family *family)
{
    if (family->gemma) { cJSON_AddStringToObject(c, "hidden_activation", "gelu_pytorch_tanh"); }
    if (family->scale_field) {
        double scalar = 1.0 / (scale_of(s) * scale_of(s));
        double whole = rint(scalar); /* what files have; the square of a rounded root misses it by a bit */
        cJSON_AddNumberToObject(c, "query_pre_attn_scalar",
                                fabs(scalar - whole) < 1e-9 * whole ? whole : scalar);
    }
    if (family->attn_softcap_field) { add_softcap(c, "attn_logit_softcapping", s->attn_softcap); }
    if (family->logit_softcap_field) { add_softcap(c, "final_logit_softcapping", s->logit_softcap); }
}

cJSON *fmp_spec_to_json(const fmp_model_spec *s, fmp_dtype dtype)
{
    const fmp_family *family = fmp_family_find(s->model_type);
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
    cJSON_AddStringToObject(c, "hidden_act", family->gemma ? "gelu_pytorch_tanh" : "silu");
    add_scales(c, s, family);
    cJSON_AddBoolToObject(c, "tie_word_embeddings", s->tied);
    add_rope(c, s, family);
    add_layers(c, s, family);
    cJSON_AddNumberToObject(c, "attention_dropout", 0.0);
    add_id(c, "bos_token_id", s->bos_id);
    add_id(c, "eos_token_id", s->eos_id);
    add_id(c, "pad_token_id", s->pad_id);
    cJSON_AddStringToObject(c, "torch_dtype", dtype == FMP_DTYPE_F32 ? "float32" : "bfloat16");
    return c;
}

/* ---- comparison ---- */

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b));
}

static bool same_rope(const fmp_model_spec *s, const fmp_rope_spec *a, const fmp_rope_spec *b)
{
    float factor_a = 1.0f, factor_b = 1.0f, fa[FMP_MAX_ROTARY / 2], fb[FMP_MAX_ROTARY / 2];
    int64_t half = fmp_spec_rotary(s) / 2, past = (int64_t)fmp_spec_positions(s);
    const int64_t lengths[] = {1, past};
    for (int i = 0; i < 2; i++) { /* a short and a long text */
        fmp_rope_frequencies(s, a, lengths[i], fa, &factor_a);
        fmp_rope_frequencies(s, b, lengths[i], fb, &factor_b);
        if (memcmp(fa, fb, (size_t)half * sizeof *fa) != 0 || !near((double)factor_a, (double)factor_b)) {
            return false;
        }
    }
    return a->kind == b->kind;
}

static bool same_layer(const fmp_layer_spec *a, const fmp_layer_spec *b)
{
    return a->window == b->window && a->kv_back == b->kv_back && a->rope == b->rope &&
           a->rope_set == b->rope_set && a->qk_norm == b->qk_norm && a->qkv_bias == b->qkv_bias &&
           a->o_bias == b->o_bias && a->mlp_bias == b->mlp_bias;
}

bool fmp_spec_same(const fmp_model_spec *a, const fmp_model_spec *b, uint32_t *layer)
{
    for (*layer = 0; *layer < a->n_layers; (*layer)++) {
        if (!same_layer(&a->layers[*layer], &b->layers[*layer])) { return false; }
    }
    bool sets = same_rope(a, &a->rope[0], &b->rope[0]) &&
                (!(a->rope[1].theta > 0.0) || same_rope(a, &a->rope[1], &b->rope[1]));
    return sets && fmp_spec_rotary(a) == fmp_spec_rotary(b) && near(scale_of(a), scale_of(b)) &&
           near(a->attn_softcap, b->attn_softcap) && near(a->logit_softcap, b->logit_softcap) &&
           near(a->embed_scale, b->embed_scale) && a->norms == b->norms && a->activation == b->activation &&
           a->norm_plus_one == b->norm_plus_one && a->qk_norm_whole == b->qk_norm_whole &&
           a->fused == b->fused && a->rope_interleaved == b->rope_interleaved;
}
