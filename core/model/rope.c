/*
 * rope.c: what config.json says of RoPE (Su et al. 2021) and its ways to longer texts; their frequencies.
 *
 * Frequencies are rounded to f32 as in transformers, since base models were trained with those.
 */
#include "internal.h"

#include <fmpipe/json.h>

#define PI 3.14159265358979323846

/* ---- reading ---- */

static fmp_status read_kind(const char *name, const fmp_family *family, fmp_rope_kind *out, fmp_err *err)
{
    static const struct {
        const char *name;
        fmp_rope_kind kind;
    } kinds[] = {{"default", FMP_ROPE_DEFAULT}, {"linear", FMP_ROPE_LINEAR}, {"llama3", FMP_ROPE_LLAMA3},
                 {"dynamic", FMP_ROPE_DYNAMIC}, {"yarn", FMP_ROPE_YARN},     {"longrope", FMP_ROPE_LONGROPE}};
    /* Phi-3's first files called its one kind by two other names. */
    bool early = family->fused && (strcmp(name, "su") == 0 || strcmp(name, "yarn") == 0);
    const char *meant = early ? "longrope" : name;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].name, meant) == 0) {
            *out = kinds[i].kind;
            return FMP_OK;
        }
    }
    return fmp_fail(err, FMP_E_UNSUPPORTED,
                    "rope type: expected default, linear, dynamic, llama3, yarn or longrope, found '%.32s'",
                    name);
}

static fmp_status read_factors(const cJSON *rope, const char *key, int64_t n, float *out, fmp_err *err)
{
    const cJSON *list = fmp_json_get(rope, key);
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != n) {
        return fmp_fail(err, FMP_E_DATA, "'%s': expected %lld numbers", key, (long long)n);
    }
    for (const cJSON *node = list->child; node; node = node->next) {
        double v = 0.0;
        if (!fmp_json_number(node, &v) || !(v > 0.0 && v < 1e9)) {
            return fmp_fail(err, FMP_E_RANGE, "'%s': expected numbers above 0", key);
        }
        *out++ = (float)v;
    }
    return FMP_OK;
}

static double yarn_mscale(double factor, double mscale)
{
    return factor <= 1.0 ? 1.0 : 0.1 * mscale * log(factor) + 1.0;
}

static fmp_status read_yarn(const cJSON *rope, fmp_rope_spec *out, fmp_err *err)
{
    FMP_TRY(fmp_config_positive(rope, "beta_fast", 32.0, &out->beta_fast, err));
    FMP_TRY(fmp_config_positive(rope, "beta_slow", 1.0, &out->beta_slow, err));
    bool truncate = true;
    FMP_TRY(fmp_config_bool(rope, "truncate", true, &truncate, err));
    out->exact_bounds = !truncate;
    double mscale = fmp_json_num(rope, "mscale", 0.0), all_dim = fmp_json_num(rope, "mscale_all_dim", 0.0);
    double usual = yarn_mscale(out->factor, 1.0);
    if (mscale != 0.0 && all_dim != 0.0) {
        usual = yarn_mscale(out->factor, mscale) / yarn_mscale(out->factor, all_dim);
    }
    return fmp_config_positive(rope, "attention_factor", usual, &out->attention_factor, err);
}

static fmp_status read_longrope(const cJSON *rope, const fmp_model_spec *s, fmp_rope_spec *out, fmp_err *err)
{
    int64_t half = fmp_spec_rotary(s) / 2;
    FMP_TRY(read_factors(rope, "short_factor", half, out->short_factor, err));
    FMP_TRY(read_factors(rope, "long_factor", half, out->long_factor, err));
    double usual =
        out->factor <= 1.0 ? 1.0 : sqrt(1.0 + log(out->factor) / log((double)out->original_positions));
    return fmp_config_positive(rope, "attention_factor", usual, &out->attention_factor, err);
}

/* The length first trained on: in the rope object, else beside it, else the model's. */
static fmp_status read_original(const cJSON *c, const cJSON *rope, const fmp_model_spec *s,
                                fmp_rope_spec *out, fmp_err *err)
{
    uint32_t usual = 0;
    FMP_TRY(
        fmp_config_uint(c, "original_max_position_embeddings", s->max_positions, 2, 1u << 24, &usual, err));
    return fmp_config_uint(rope, "original_max_position_embeddings", usual, 2, 1u << 24,
                           &out->original_positions, err);
}

static fmp_status read_scaling(const cJSON *c, const cJSON *rope, const fmp_family *family, fmp_model_spec *s,
                               fmp_rope_spec *out, fmp_err *err)
{
    const cJSON *type = fmp_json_get(rope, "rope_type");
    if (!type || cJSON_IsNull(type)) { type = fmp_json_get(rope, "type"); }
    bool named = type && !cJSON_IsNull(type);
    if (named && !cJSON_IsString(type)) {
        return fmp_fail(err, FMP_E_DATA, "'%s' of RoPE: expected a name", type->string);
    }
    const char *kind = named ? type->valuestring : "default";
    FMP_TRY(read_kind(kind, family, &out->kind, err));
    if (out->kind == FMP_ROPE_DEFAULT) { return FMP_OK; }
    bool by_lengths = out->kind == FMP_ROPE_YARN || out->kind == FMP_ROPE_LONGROPE;
    if (by_lengths || out->kind == FMP_ROPE_LLAMA3) { FMP_TRY(read_original(c, rope, s, out, err)); }
    double usual = by_lengths ? (double)s->max_positions / out->original_positions : 0.0;
    FMP_TRY(fmp_config_positive(rope, "factor", usual, &out->factor, err));
    if (out->kind == FMP_ROPE_YARN) { return read_yarn(rope, out, err); }
    if (out->kind == FMP_ROPE_LONGROPE) { return read_longrope(rope, s, out, err); }
    if (out->kind != FMP_ROPE_LLAMA3) { return FMP_OK; }
    FMP_TRY(fmp_config_positive(rope, "low_freq_factor", 0.0, &out->low_freq, err));
    FMP_TRY(fmp_config_positive(rope, "high_freq_factor", 0.0, &out->high_freq, err));
    if (out->high_freq <= out->low_freq) {
        return fmp_fail(err, FMP_E_RANGE, "'high_freq_factor' must be above 'low_freq_factor'");
    }
    return FMP_OK;
}

/* One description; `rope` may be NULL. */
static fmp_status read_set(const cJSON *c, const cJSON *rope, const fmp_family *family, double theta,
                           fmp_model_spec *s, fmp_rope_spec *out, fmp_err *err)
{
    out->theta = theta;
    if (!rope || cJSON_IsNull(rope)) { rope = NULL; }
    if (rope && !cJSON_IsObject(rope)) {
        return fmp_fail(err, FMP_E_DATA, "'rope_scaling' or 'rope_parameters': expected an object or null");
    }
    double partial = 1.0;
    FMP_TRY(fmp_config_positive(c, "partial_rotary_factor", 1.0, &partial, err));
    if (rope) {
        FMP_TRY(fmp_config_positive(rope, "rope_theta", theta, &out->theta, err));
        FMP_TRY(fmp_config_positive(rope, "partial_rotary_factor", partial, &partial, err));
    }
    if (partial > 1.0) { return fmp_fail(err, FMP_E_RANGE, "'partial_rotary_factor' is above 1"); }
    /* transformers reads the field for these families only as 1; Phi-3's has it for good */
    if (partial != 1.0 && !family->fused && !family->own) {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "'partial_rotary_factor' other than 1 in a '%s' decoder",
                        family->model_type);
    }
    if (partial < 1.0) { s->n_rotary = (uint32_t)(s->head_size * partial); }
    if (partial < 1.0 && s->n_rotary < 2) {
        return fmp_fail(err, FMP_E_RANGE,
                        "'partial_rotary_factor': it leaves less than 2 of a head's %u values", s->head_size);
    }
    return rope ? read_scaling(c, rope, family, s, out, err) : FMP_OK;
}

fmp_status fmp_rope_read(const cJSON *c, const fmp_family *family, fmp_model_spec *s, fmp_err *err)
{
    const cJSON *params = fmp_json_get(c, "rope_parameters");
    const cJSON *scaling = fmp_json_get(c, "rope_scaling");
    bool both = params && !cJSON_IsNull(params) && scaling && !cJSON_IsNull(scaling);
    if (both && !fmp_json_equal(params, scaling)) { /* transformers lets one of them win without a word */
        return fmp_fail(err, FMP_E_DATA, "'rope_scaling' and 'rope_parameters' say different things");
    }
    const cJSON *rope = params && !cJSON_IsNull(params) ? params : scaling;
    const cJSON *far = NULL, *near = NULL;
    double theta = 0.0, local = 0.0;
    FMP_TRY(fmp_config_positive(c, "rope_theta", family->rope_theta, &theta, err));
    if (family->local_rope) {
        far = fmp_json_get(rope, "full_attention");
        near = fmp_json_get(rope, "sliding_attention");
        FMP_TRY(fmp_config_positive(c, "rope_local_base_freq", 10000.0, &local, err));
        FMP_TRY(read_set(c, near, family, local, s, &s->rope[1], err));
    }
    return read_set(c, far || near ? far : rope, family, theta, s, &s->rope[0], err);
}

static fmp_status check_set(const fmp_model_spec *s, const fmp_rope_spec *r, fmp_err *err)
{
    if (!(r->theta > 0.0)) { return fmp_fail(err, FMP_E_RANGE, "RoPE theta must be above 0"); }
    if (r->kind == FMP_ROPE_DEFAULT) { return FMP_OK; }
    bool by_lengths = r->kind == FMP_ROPE_YARN || r->kind == FMP_ROPE_LONGROPE || r->kind == FMP_ROPE_LLAMA3;
    if (!(r->factor > 0.0) || (by_lengths && r->original_positions < 2)) {
        return fmp_fail(err, FMP_E_RANGE, "RoPE: its factor must be above 0, its original length above 1");
    }
    if (r->kind == FMP_ROPE_YARN && !(r->beta_fast > 0.0 && r->beta_slow > 0.0 && r->theta > 1.0)) {
        return fmp_fail(err, FMP_E_RANGE, "RoPE: yarn's betas must be above 0, theta above 1");
    }
    if (r->kind == FMP_ROPE_DYNAMIC && (fmp_spec_rotary(s) <= 2 || r->factor < 1.0)) {
        return fmp_fail(err, FMP_E_RANGE,
                        "RoPE: dynamic needs more than 2 turned values and a factor of 1 or more");
    }
    for (int64_t i = 0; r->kind == FMP_ROPE_LONGROPE && i < fmp_spec_rotary(s) / 2; i++) {
        if (!(r->short_factor[i] > 0.0f) || !(r->long_factor[i] > 0.0f)) {
            return fmp_fail(err, FMP_E_RANGE, "RoPE: longrope's factors must be above 0");
        }
    }
    return FMP_OK;
}

fmp_status fmp_rope_check(const fmp_model_spec *s, fmp_err *err)
{
    const fmp_family *family = fmp_family_find(s->model_type);
    if (s->n_rotary > s->head_size || s->n_rotary % 2 != 0) {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "RoPE turns %u of %u values: expected an even number",
                        s->n_rotary, s->head_size);
    }
    FMP_TRY(check_set(s, &s->rope[0], err));
    return family && family->local_rope ? check_set(s, &s->rope[1], err) : FMP_OK;
}

/* ---- frequencies ---- */

/* Llama 3: long wavelengths are stretched, short ones kept, those between blended. */
static double llama3_frequency(const fmp_rope_spec *r, double f)
{
    double wavelength = 2.0 * PI / f;
    double low = r->original_positions / r->low_freq;
    double high = r->original_positions / r->high_freq;
    if (wavelength > low) { return f / r->factor; }
    if (wavelength < high) { return f; }
    double smooth = (r->original_positions / wavelength - r->low_freq) / (r->high_freq - r->low_freq);
    return (1.0 - smooth) * f / r->factor + smooth * f;
}

/* The dimension whose frequency makes n turns within the original length. */
static double yarn_dimension(const fmp_rope_spec *r, int64_t dims, double turns)
{
    return (double)dims * log(r->original_positions / (turns * 2.0 * PI)) / (2.0 * log(r->theta));
}

static double yarn_frequency(const fmp_rope_spec *r, int64_t dims, int64_t i, double f)
{
    double low = yarn_dimension(r, dims, r->beta_fast), high = yarn_dimension(r, dims, r->beta_slow);
    low = fmax(r->exact_bounds ? low : floor(low), 0.0);
    high = fmin(r->exact_bounds ? high : ceil(high), (double)dims - 1.0);
    if (low == high) { high += 0.001; }
    double stretched = fmin(fmax(((double)i - low) / (high - low), 0.0), 1.0);
    return f / r->factor * stretched + f * (1.0 - stretched);
}

void fmp_rope_frequencies(const fmp_model_spec *s, const fmp_rope_spec *r, int64_t n_tokens, float *out,
                          float *attention_factor)
{
    int64_t dims = fmp_spec_rotary(s);
    double theta = r->theta;
    if (r->kind == FMP_ROPE_DYNAMIC && n_tokens > (int64_t)s->max_positions) {
        double growth = r->factor * (double)n_tokens / s->max_positions - (r->factor - 1.0);
        theta *= pow(growth, (double)dims / ((double)dims - 2.0));
    }
    bool is_long = n_tokens > (int64_t)r->original_positions;
    for (int64_t i = 0; i < dims / 2; i++) {
        double f = (float)(1.0 / pow(theta, 2.0 * (double)i / (double)dims));
        switch (r->kind) {
        case FMP_ROPE_LINEAR: f /= r->factor; break;
        case FMP_ROPE_LLAMA3: f = llama3_frequency(r, f); break;
        case FMP_ROPE_YARN: f = yarn_frequency(r, dims, i, f); break;
        case FMP_ROPE_LONGROPE: f /= is_long ? r->long_factor[i] : r->short_factor[i]; break;
        case FMP_ROPE_DEFAULT:
        case FMP_ROPE_DYNAMIC: break;
        }
        out[i] = (float)f;
    }
    bool scaled = r->kind == FMP_ROPE_YARN || r->kind == FMP_ROPE_LONGROPE;
    *attention_factor = scaled && r->attention_factor > 0.0 ? (float)r->attention_factor : 1.0f;
}
