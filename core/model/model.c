/*
 * model.c: a model's tensors: their names and shapes, where their values are, their form for the kernels.
 *
 * A weight of a file stays in the mapped file until it is needed; a frozen matrix then lives once, laid out
 * for the device in both directions; norms, biases and the embedding live as f32. Full training turns
 * everything into owned f32 (fmp_model_unfreeze).
 */
#include "internal.h"

#include <fmpipe/json.h>

static const char *const proj_paths[N_PROJ] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                               "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                               "mlp.down_proj"};
const char *fmp_proj_path(const fmp_model_spec *s, fmp_proj p)
{
    if (s->fused && p == PROJ_Q) { return "self_attn.qkv_proj"; }
    if (s->fused && p == PROJ_GATE) { return "mlp.gate_up_proj"; }
    return proj_paths[p];
}
bool fmp_model_is_bf16(const fmp_model *m)
{
    return m->precision == FMP_PRECISION_BF16;
}

/* ---- the list of parameters ---- */

FMP_PRINTF(4, 5) static fmp_param *add_param(fmp_model *m, int64_t rows, int64_t cols, const char *fmt, ...)
{
    fmp_param *p = &m->params[m->n_params++];
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&p->name, fmt, ap);
    va_end(ap);
    if (n < 0) { p->name = NULL; }
    p->is_matrix = rows > 0;
    p->rows = rows > 0 ? rows : 1;
    p->cols = cols;
    return p;
}

static void add_projections(fmp_model *m, size_t l)
{
    const fmp_model_spec *s = &m->spec;
    const fmp_layer_spec *ls = &s->layers[l];
    fmp_layer *layer = &m->layers[l];
    int64_t C = s->n_channels, F = s->n_ff, HD = (int64_t)s->n_heads * s->head_size;
    int64_t GD = (int64_t)s->n_kv_heads * s->head_size;
    const fmp_strides row = fmp_strides_of(s);
    const int64_t in[N_PROJ] = {C, C, C, HD, C, C, F}, out[N_PROJ] = {row.q, GD, GD, C, row.ff, F, C};
    for (int p = 0; p < N_PROJ; p++) {
        bool is_kv = p == PROJ_K || p == PROJ_V;
        if ((s->fused && (is_kv || p == PROJ_UP)) || (ls->kv_back && is_kv)) { continue; }
        const char *path = fmp_proj_path(s, (fmp_proj)p);
        bool bias = p < PROJ_O ? ls->qkv_bias : p == PROJ_O ? ls->o_bias : ls->mlp_bias;
        layer->w[p] = add_param(m, out[p], in[p], "model.layers.%zu.%s.weight", l, path);
        if (bias) { layer->b[p] = add_param(m, 0, out[p], "model.layers.%zu.%s.bias", l, path); }
    }
}

static void add_layer(fmp_model *m, size_t l)
{
    const fmp_model_spec *s = &m->spec;
    const fmp_layer_spec *ls = &s->layers[l];
    fmp_layer *layer = &m->layers[l];
    int64_t C = s->n_channels, D = s->head_size;
    bool before = s->norms != FMP_NORM_POST, after = s->norms != FMP_NORM_PRE;
    if (before) { layer->norm1 = add_param(m, 0, C, "model.layers.%zu.input_layernorm.weight", l); }
    add_projections(m, l);
    if (ls->qk_norm) {
        int64_t q = s->qk_norm_whole ? s->n_heads * D : D, k = s->qk_norm_whole ? s->n_kv_heads * D : D;
        layer->q_norm = add_param(m, 0, q, "model.layers.%zu.self_attn.q_norm.weight", l);
        if (!ls->kv_back) {
            layer->k_norm = add_param(m, 0, k, "model.layers.%zu.self_attn.k_norm.weight", l);
        }
    }
    /* the name of the norm before the feed-forward unit, in families that have none after attention */
    const char *post = "model.layers.%zu.post_attention_layernorm.weight";
    if (!after) {
        layer->norm2 = add_param(m, 0, C, post, l);
        return;
    }
    layer->post1 = add_param(m, 0, C, post, l);
    if (before) { layer->norm2 = add_param(m, 0, C, "model.layers.%zu.pre_feedforward_layernorm.weight", l); }
    layer->post2 = add_param(m, 0, C, "model.layers.%zu.post_feedforward_layernorm.weight", l);
}

fmp_status fmp_params_make(fmp_model *m, fmp_err *err)
{
    const fmp_model_spec *s = &m->spec;
    int64_t C = s->n_channels;
    m->params = calloc((size_t)s->n_layers * (2 * N_PROJ + 6) + 3, sizeof *m->params);
    m->layers = calloc(s->n_layers, sizeof *m->layers);
    if (!m->params || !m->layers) {
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for a model's tensors");
    }
    m->embed = add_param(m, s->vocab_size, C, "model.embed_tokens.weight");
    for (size_t l = 0; l < s->n_layers; l++) {
        add_layer(m, l);
    }
    m->norm = add_param(m, 0, C, "model.norm.weight");
    m->head = s->tied ? m->embed : add_param(m, s->vocab_size, C, "lm_head.weight");
    for (size_t i = 0; i < m->n_params; i++) {
        if (!m->params[i].name) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a tensor's name"); }
    }
    return FMP_OK;
}

/* ---- values ---- */

static bool in_place(const fmp_param *p)
{
    return p->src && p->src->dtype == FMP_DTYPE_F32 && (uintptr_t)p->src->data % sizeof(float) == 0;
}

/* own, with the file's values */
static fmp_status take_own(fmp_param *p, fmp_err *err)
{
    p->own = malloc(fmp_param_count(p) * sizeof *p->own);
    if (!p->own) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for tensor %s", p->name); }
    fmp_tensor_to_f32(p->src, p->own);
    return FMP_OK;
}

bool fmp_param_is_f32(const fmp_param *p)
{
    return p->own || in_place(p);
}

fmp_status fmp_param_f32(fmp_model *m, fmp_param *p, const float **out, fmp_err *err)
{
    if (!fmp_param_is_f32(p)) { FMP_TRY(take_own(p, err)); }
    if (p->values.dev) { FMP_TRY(fmp_mirror_pull(m->device, &p->values, err)); }
    const void *file = p->own ? NULL : p->src->data;
    *out = p->own ? p->own : file;
    return FMP_OK;
}

void fmp_param_rows(const fmp_param *p, const uint32_t *id, size_t n, float *rows)
{
    const size_t C = (size_t)p->cols;
    fmp_tensor row = {0};
    if (!p->own) { row = *p->src; }
    const size_t row_bytes = C * (row.dtype == FMP_DTYPE_F32 ? sizeof(float) : sizeof(uint16_t));
    row.n_values = C;
    for (size_t i = 0; i < n; i++) {
        if (p->own) {
            memcpy(rows + i * C, p->own + id[i] * C, C * sizeof *rows);
            continue;
        }
        row.data = p->src->data + id[i] * row_bytes;
        fmp_tensor_to_f32(&row, rows + i * C);
    }
}

/* The device has p's values as they are. */
static fmp_status to_device(fmp_model *m, fmp_param *p, fmp_err *err)
{
    const float *values = NULL;
    if (!p->values.dev) {
        FMP_TRY(fmp_param_f32(m, p, &values, err));
        FMP_TRY(fmp_mirror_of(m->device, values, fmp_param_count(p), &p->values, err));
    }
    fmp_mirror_push(m->device, &p->values);
    return FMP_OK;
}

fmp_status fmp_model_score_rows(fmp_model *m, const uint32_t *id, size_t n, float *rows, fmp_err *err)
{
    if (m->head->values.dev) { FMP_TRY(fmp_mirror_pull(m->device, &m->head->values, err)); }
    fmp_param_rows(m->head, id, n, rows);
    return FMP_OK;
}

/* Its file's pages, once it was copied. */
static void forget(const fmp_model *m, const fmp_param *p)
{
    if (!p->src) { return; }
    size_t value = p->src->dtype == FMP_DTYPE_F32 ? sizeof(float) : sizeof(uint16_t);
    fmp_tensors_forget(m->files, p->src, fmp_param_count(p) * value);
}

/* Lay a matrix out for the device; a conversion made for it alone is given up again. */
static fmp_status pack(fmp_model *m, fmp_param *p, fmp_err *err)
{
    if (p->packed) { return FMP_OK; }
    bool had_own = p->own != NULL;
    const float *w = NULL;
    FMP_TRY(fmp_param_f32(m, p, &w, err));
    fmp_status status =
        m->be->pack(m->device->dev, p->rows, p->cols, w, fmp_model_is_bf16(m), &p->packed, err);
    if (!had_own && p->own && !p->values.dev) {
        free(p->own);
        p->own = NULL;
    }
    forget(m, p);
    return status;
}

fmp_status fmp_model_ready(fmp_model *m, bool head, fmp_err *err)
{
    /* rounded, the loss reads the head packed, and the embedding is read in its file */
    bool bf16 = fmp_model_is_bf16(m), any = false;
    for (size_t i = 0; i < m->n_params; i++) {
        fmp_param *p = &m->params[i];
        bool table = p == m->embed || p == m->head;
        bool as_f32 = table && (!bf16 || (p == m->embed && fmp_param_is_f32(p)));
        if (m->trainable || !p->is_matrix || as_f32) { FMP_TRY(to_device(m, p, err)); }
        bool wanted = p == m->head && (head || bf16);
        if (m->trainable || !p->is_matrix || (table && !wanted)) { continue; }
        any = any || !p->packed;
        FMP_TRY(pack(m, p, err));
    }
    for (size_t i = 0; i < m->n_params && any; i++) { /* reading one brings a page of its neighbours back */
        const fmp_param *p = &m->params[i];
        if (p->packed) { forget(m, p); }
    }
    return FMP_OK;
}

fmp_status fmp_model_unfreeze(fmp_model *m, fmp_err *err)
{
    for (size_t i = 0; i < m->n_params; i++) {
        fmp_param *p = &m->params[i];
        if (!p->own) {
            fmp_mirror_free(m->device, &p->values); /* of the file's, which is not to be written to */
            FMP_TRY(take_own(p, err));
        }
        FMP_TRY(to_device(m, p, err));
        m->be->packed_free(m->device->dev, p->packed);
        p->packed = NULL;
    }
    m->trainable = true;
    return FMP_OK;
}

/* ---- RoPE tables ---- */

/* Whether any layer uses RoPE description i, as a table of the model's own. */
static bool wants_table(const fmp_model_spec *s, int i)
{
    if (fmp_rope_by_length(&s->rope[i])) { return false; } /* made anew in every pass */
    for (uint32_t l = 0; l < s->n_layers; l++) {
        if (s->layers[l].rope && s->layers[l].rope_set == i) { return true; }
    }
    return false;
}

/* Rows of positions 0..len-1. Angles are rounded to f32 as in transformers. */
static fmp_status make_table(fmp_model *m, int i, int64_t len, fmp_err *err)
{
    const fmp_model_spec *s = &m->spec;
    int64_t half = fmp_spec_rotary(s) / 2;
    float frequency[FMP_MAX_ROTARY / 2], factor = 1.0f;
    fmp_mirror *table[2] = {&m->rope_cos[i], &m->rope_sin[i]};
    for (int k = 0; k < 2; k++) {
        fmp_mirror_free(m->device, table[k]);
        FMP_TRY(fmp_mirror_new(m->device, (size_t)(len * half), table[k], err));
    }
    fmp_rope_frequencies(s, &s->rope[i], len, frequency, &factor);
    for (int64_t k = 0; k < half; k++) {
        for (int64_t t = 0; t < len; t++) {
            float angle = (float)t * frequency[k];
            table[0]->host[t * half + k] = (float)cos((double)angle) * factor;
            table[1]->host[t * half + k] = (float)sin((double)angle) * factor;
        }
    }
    for (int k = 0; k < 2; k++) {
        fmp_mirror_wrote_host(table[k]);
        fmp_mirror_push(m->device, table[k]);
    }
    return FMP_OK;
}

fmp_status fmp_model_positions(fmp_model *m, int64_t n, fmp_err *err)
{
    if (n <= m->rope_len) { return FMP_OK; }
    int64_t len = (n + 1023) / 1024 * 1024;
    m->rope_len = 0;
    for (int i = 0; i < 2; i++) {
        if (wants_table(&m->spec, i)) { FMP_TRY(make_table(m, i, len, err)); }
    }
    m->rope_len = len;
    return FMP_OK;
}

/* ---- making ---- */

static fmp_status new_shell(const fmp_model_options *o, fmp_model **out, fmp_err *err)
{
    if (o->n_threads < 1 || o->n_threads > 1024) {
        return fmp_fail(err, FMP_E_RANGE, "threads: expected 1 to 1024, found %d", o->n_threads);
    }
    fmp_model *m = calloc(1, sizeof *m);
    if (!m) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a model"); }
    m->precision = o->precision;
    fmp_status status = fmp_device_open(o->backend, o->n_threads, &m->device, err);
    if (status != FMP_OK) {
        fmp_model_free(m);
        return status;
    }
    m->be = m->device->be;
    m->q = m->device->q;
    *out = m;
    return FMP_OK;
}

void fmp_params_free(fmp_model *m)
{
    for (size_t i = 0; i < m->n_params; i++) {
        fmp_param *p = &m->params[i];
        fmp_mirror_free(m->device, &p->values);
        if (p->packed) { m->be->packed_free(m->device->dev, p->packed); }
        free(p->name);
        free(p->own);
    }
    free(m->params);
    free(m->layers);
}

void fmp_model_free(fmp_model *m)
{
    if (!m) { return; }
    fmp_params_free(m);
    free(m->spec.layers);
    for (int i = 0; i < 2; i++) {
        fmp_mirror_free(m->device, &m->rope_cos[i]);
        fmp_mirror_free(m->device, &m->rope_sin[i]);
    }
    free(m->config_text);
    free(m->generation_text);
    fmp_work_free(m->work);
    fmp_tensors_close(m->files);
    fmp_device_drop(m->device);
    free(m);
}

static fmp_status read_config(fmp_model *m, const char *path, fmp_err *err)
{
    fmp_buf text = {0};
    cJSON *config = NULL;
    fmp_status status = fmp_read_file(path, (size_t)4 << 20, &text, err);
    if (status == FMP_OK) { status = fmp_json_parse(text.data, text.len, NULL, &config, err); }
    if (status == FMP_OK) { status = fmp_spec_from_json(config, &m->spec, err); }
    m->text_part = fmp_config_has_text_part(config);
    if (status != FMP_OK && status != FMP_E_IO && err && err->file[0] == '\0') {
        (void)fmp_err_at(err, path, err->line, err->column, err->offset);
    }
    cJSON_Delete(config);
    if (m->text_part) { /* what is saved is the decoder alone, with a configuration of its own */
        fmp_buf_free(&text);
    } else {
        m->config_text = text.data;
    }
    return status;
}

static bool is_shape(const fmp_param *p, const fmp_tensor *t)
{
    if (!p->is_matrix) { return t->n_dims == 1 && t->shape[0] == (uint64_t)p->cols; }
    return t->n_dims == 2 && t->shape[0] == (uint64_t)p->rows && t->shape[1] == (uint64_t)p->cols;
}

static const fmp_tensor *find_tensor(const fmp_model *m, const char *name)
{
    if (!m->text_part) { return fmp_tensors_find(m->files, name); }
    for (size_t i = 0; i < fmp_tensors_count(m->files); i++) {
        const fmp_tensor *t = fmp_tensors_at(m->files, i);
        if (fmp_tensor_is_named(t->name, name)) { return t; }
    }
    return NULL;
}

static fmp_status bind_param(fmp_model *m, fmp_param *p, fmp_err *err)
{
    p->src = find_tensor(m, p->name);
    if (!p->src) { return fmp_fail(err, FMP_E_DATA, "tensor '%s' is missing from the model files", p->name); }
    if (is_shape(p, p->src)) { return FMP_OK; }
    fmp_buf found = {0};
    for (uint32_t d = 0; d < p->src->n_dims; d++) {
        fmp_buf_printf(&found, "%s%llu", d ? ", " : "", (unsigned long long)p->src->shape[d]);
    }
    fmp_status status =
        fmp_fail(err, FMP_E_DATA, "tensor '%s': config.json gives the shape (%lld%s%.0lld), the file (%s)",
                 p->name, (long long)(p->is_matrix ? p->rows : p->cols), p->is_matrix ? ", " : "",
                 (long long)(p->is_matrix ? p->cols : 0), found.data ? found.data : "");
    fmp_buf_free(&found);
    return status;
}

/* Old files carry RoPE buffers, tied ones a copy of the embedding, others a vision tower: no weights of the decoder. */
static bool is_ignored(const fmp_model *m, const char *name)
{
    const char *tail = strrchr(name, '.');
    bool head =
        m->text_part ? fmp_tensor_is_named(name, "lm_head.weight") : strcmp(name, "lm_head.weight") == 0;
    return (tail && strcmp(tail, ".inv_freq") == 0) || (m->spec.tied && head) ||
           (m->text_part && fmp_tensor_is_of_vision(name));
}

static bool is_param(const fmp_model *m, const char *name)
{
    for (size_t i = 0; i < m->n_params; i++) {
        if (strcmp(m->params[i].name, name) == 0) { return true; }
        if (m->text_part && fmp_tensor_is_named(name, m->params[i].name)) { return true; }
    }
    return false;
}

static fmp_status bind_files(fmp_model *m, fmp_err *err)
{
    for (size_t i = 0; i < m->n_params; i++) {
        FMP_TRY(bind_param(m, &m->params[i], err));
    }
    size_t n = fmp_tensors_count(m->files), ignored = 0;
    for (size_t i = 0; i < n; i++) {
        ignored += is_ignored(m, fmp_tensors_at(m->files, i)->name);
    }
    for (size_t i = 0; i < n && n - ignored != m->n_params; i++) {
        const char *name = fmp_tensors_at(m->files, i)->name;
        if (!is_ignored(m, name) && !is_param(m, name)) {
            return fmp_fail(err, FMP_E_UNSUPPORTED, "tensor '%.96s' has no place in a '%s' decoder", name,
                            m->spec.model_type);
        }
    }
    return FMP_OK;
}

/* Q and K of a llama2.c file, from neighbouring pairs to halves. */
static fmp_status turn_rows(fmp_model *m, fmp_err *err)
{
    for (size_t l = 0; l < m->spec.n_layers; l++) {
        for (int p = PROJ_Q; p <= PROJ_K; p++) {
            fmp_param *w = m->layers[l].w[p];
            int64_t D = m->spec.head_size;
            size_t n = fmp_param_count(w);
            float *in = malloc(n * sizeof *in);
            w->own = malloc(n * sizeof *w->own);
            if (!in || !w->own) {
                free(in);
                return fmp_fail(err, FMP_E_NOMEM, "out of memory for tensor %s", w->name);
            }
            fmp_tensor_to_f32(w->src, in);
            fmp_rope_to_halves(w->rows / D, D, w->cols, in, w->own);
            free(in);
        }
    }
    return FMP_OK;
}

static fmp_status open_llama2c(fmp_model *m, const char *path, fmp_err *err)
{
    FMP_TRY(fmp_llama2c_spec(path, &m->spec, err));
    FMP_TRY(fmp_params_make(m, err));
    FMP_TRY(fmp_llama2c_open(path, &m->files, err));
    FMP_TRY(bind_files(m, err));
    return turn_rows(m, err);
}

static fmp_status open_into(fmp_model *m, const char *dir, fmp_err *err)
{
    char *config = fmp_path_join(dir, "config.json");
    char *generation = fmp_path_join(dir, "generation_config.json");
    fmp_status status = FMP_OK;
    if (!config || !generation) { status = fmp_fail(err, FMP_E_NOMEM, "out of memory for a path"); }
    if (status == FMP_OK) { status = read_config(m, config, err); }
    if (status == FMP_OK && fmp_path_exists(generation)) {
        fmp_buf text = {0};
        status = fmp_read_file(generation, (size_t)1 << 20, &text, err);
        m->generation_text = text.data;
    }
    free(config);
    free(generation);
    FMP_TRY(status);
    FMP_TRY(fmp_params_make(m, err));
    FMP_TRY(fmp_tensors_open(dir, &m->files, err));
    return bind_files(m, err);
}

fmp_status fmp_model_open(const char *dir, const fmp_model_options *options, fmp_model **out, fmp_err *err)
{
    *out = NULL;
    fmp_model *m = NULL;
    FMP_TRY(new_shell(options, &m, err));
    struct stat st;
    bool is_file = stat(dir, &st) == 0 && S_ISREG(st.st_mode);
    fmp_status status = is_file ? open_llama2c(m, dir, err) : open_into(m, dir, err);
    if (status != FMP_OK) {
        fmp_model_free(m);
        (void)fmp_err_note(err, "while opening model %s", dir);
        return status;
    }
    *out = m;
    return FMP_OK;
}

/* First eight bytes of the name's digest: a stream of random numbers of its own. */
static uint64_t stream_of(const char *name)
{
    unsigned char digest[32];
    uint64_t stream = 0;
    fmp_sha256_bytes(name, strlen(name), digest);
    for (int i = 0; i < 8; i++) {
        stream = stream << 8 | digest[i];
    }
    return stream;
}

static fmp_status fill_random(fmp_model *m, uint64_t seed, fmp_err *err)
{
    float gain = m->spec.norm_plus_one ? 0.0f : 1.0f;
    for (size_t i = 0; i < m->n_params; i++) {
        fmp_param *p = &m->params[i];
        size_t n = fmp_param_count(p);
        p->own = malloc(n * sizeof *p->own);
        if (!p->own) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for tensor %s", p->name); }
        bool is_bias = !p->is_matrix && strstr(p->name, ".bias") != NULL;
        bool residual = strstr(p->name, "o_proj.weight") || strstr(p->name, "down_proj.weight");
        double std = residual ? 0.02 / sqrt(2.0 * m->spec.n_layers) : 0.02;
        uint64_t stream = stream_of(p->name);
        for (size_t k = 0; k < n; k++) {
            p->own[k] = p->is_matrix ? (float)(std * fmp_rng_normal(seed, stream, k)) : is_bias ? 0.0f : gain;
        }
    }
    return FMP_OK;
}

/* The layers must be what config.json can say of this model type, or a saved model would load as another. */
static fmp_status check_expressible(const fmp_model_spec *s, fmp_err *err)
{
    cJSON *config = fmp_spec_to_json(s, FMP_DTYPE_F32);
    fmp_model_spec back = {0};
    fmp_status status = fmp_spec_from_json(config, &back, err);
    cJSON_Delete(config);
    FMP_TRY(status);
    uint32_t layer = 0;
    if (!fmp_spec_same(s, &back, &layer)) {
        status = layer < s->n_layers
                     ? fmp_fail(err, FMP_E_UNSUPPORTED, "layer %u is not one that a '%s' model can have",
                                layer, s->model_type)
                     : fmp_fail(err, FMP_E_UNSUPPORTED, "a '%s' model cannot have these scales, caps or RoPE",
                                s->model_type);
    }
    free(back.layers);
    return status;
}

static fmp_status copy_spec(fmp_model *m, const fmp_model_spec *spec, fmp_err *err)
{
    m->spec = *spec;
    m->spec.layers = NULL;
    fmp_spec_set_family(&m->spec);
    FMP_TRY(fmp_spec_check(spec, err));
    FMP_TRY(fmp_spec_default_layers(&m->spec, err));
    if (spec->layers) { memcpy(m->spec.layers, spec->layers, spec->n_layers * sizeof *spec->layers); }
    return check_expressible(&m->spec, err);
}

fmp_status fmp_model_new(const fmp_model_spec *spec, uint64_t seed, const fmp_model_options *options,
                         fmp_model **out, fmp_err *err)
{
    *out = NULL;
    fmp_model *m = NULL;
    FMP_TRY(new_shell(options, &m, err));
    fmp_status status = copy_spec(m, spec, err);
    if (status == FMP_OK) { status = fmp_params_make(m, err); }
    if (status == FMP_OK) { status = fill_random(m, seed, err); }
    if (status != FMP_OK) {
        fmp_model_free(m);
        return status;
    }
    *out = m;
    return FMP_OK;
}

/* ---- facts ---- */

const fmp_model_spec *fmp_model_get_spec(const fmp_model *m)
{
    return &m->spec;
}
const char *fmp_model_numerics(const fmp_model *m)
{
    return m->be->describe(m->device->dev);
}

uint64_t fmp_model_n_params(const fmp_model *m)
{
    uint64_t n = 0;
    for (size_t i = 0; i < m->n_params; i++) {
        n += fmp_param_count(&m->params[i]);
    }
    return n;
}

const char *fmp_model_tensor(const fmp_model *m, size_t i, uint64_t *rows, uint64_t *cols)
{
    if (i >= m->n_params) { return NULL; }
    *rows = (uint64_t)m->params[i].rows;
    *cols = (uint64_t)m->params[i].cols;
    return m->params[i].name;
}

static void count_adapter(const fmp_model *m, const bool *on, uint32_t rank, fmp_model_size *out)
{
    for (size_t k = 0; k < (size_t)m->spec.n_layers * N_PROJ; k++) {
        if (!on[k]) { continue; }
        size_t l = k / N_PROJ;
        fmp_proj p = (fmp_proj)(k % N_PROJ);
        out->n_lora_tensors += 2;
        out->n_lora_params += (uint64_t)rank * (uint64_t)(fmp_proj_in(m, l, p) + fmp_proj_out(m, l, p));
    }
}

fmp_status fmp_spec_measure(const fmp_model_spec *spec, const fmp_adapter_options *adapter,
                            fmp_model_size *out, fmp_err *err)
{
    fmp_model m = {.spec = *spec}; /* tensors' names and shapes, no values */
    memset(out, 0, sizeof *out);
    fmp_status status = fmp_params_make(&m, err);
    bool *on = status == FMP_OK ? calloc((size_t)spec->n_layers * N_PROJ, sizeof *on) : NULL;
    if (status == FMP_OK && !on) { status = fmp_fail(err, FMP_E_NOMEM, "out of memory for a count"); }
    if (status == FMP_OK && adapter) {
        status = fmp_adapter_match(&m, adapter->targets, adapter->n_targets, on, err);
    }
    if (status == FMP_OK) {
        out->n_tensors = m.n_params;
        out->n_params = fmp_model_n_params(&m);
        count_adapter(&m, on, adapter ? adapter->rank : 0, out);
        for (uint32_t l = 0; l < spec->n_layers; l++) {
            out->kv_values += spec->layers[l].kv_back ? 0 : 2ull * spec->n_kv_heads * spec->head_size;
        }
    }
    free(on);
    fmp_params_free(&m);
    return status;
}

static fmp_status digest_param(fmp_model *m, fmp_sha256 *h, fmp_param *p, fmp_err *err)
{
    char shape[64];
    int n = snprintf(shape, sizeof shape, "%lld %lld\n", (long long)p->rows, (long long)p->cols);
    fmp_sha256_add(h, p->name, strlen(p->name) + 1);
    fmp_sha256_add(h, shape, (size_t)n);
    size_t count = fmp_param_count(p);
    FMP_TRY(fmp_mirror_pull(m->device, &p->values, err));
    if (p->own || p->src->dtype == FMP_DTYPE_F32) {
        fmp_sha256_add(h, p->own ? (const void *)p->own : p->src->data, count * sizeof(float));
        return FMP_OK;
    }
    float *values = malloc(count * sizeof *values);
    if (!values) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for tensor %s", p->name); }
    fmp_tensor_to_f32(p->src, values);
    fmp_sha256_add(h, values, count * sizeof *values);
    free(values);
    return FMP_OK;
}

fmp_status fmp_model_digest(fmp_model *m, char hex[65], fmp_err *err)
{
    fmp_sha256 *h = fmp_sha256_new();
    cJSON *shape = fmp_spec_to_json(&m->spec, FMP_DTYPE_F32);
    char *text = shape ? fmp_json_text(shape, FMP_JSON_COMPACT | FMP_JSON_SORTED) : NULL;
    cJSON_Delete(shape);
    fmp_status status = h && text ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for a digest");
    if (status == FMP_OK) { fmp_sha256_add(h, text, strlen(text) + 1); }
    for (size_t i = 0; i < m->n_params && status == FMP_OK; i++) {
        status = digest_param(m, h, &m->params[i], err);
    }
    free(text);
    unsigned char digest[32] = {0};
    if (h) { fmp_sha256_end(h, digest); }
    fmp_hex(digest, sizeof digest, hex);
    return status;
}
