/*
 * llama2c.c: the checkpoints of llama2.c (Karpathy 2023) as a model: a header and plain f32 arrays.
 *
 *   legacy     7 int32: dim, hidden, layers, heads, kv heads, vocabulary (negative: the head is not the embedding),
 *              positions; then embedding, att norms, Q, K, V, O, ffn norms, w1, w2, w3, last norm, two RoPE tables,
 *              the head if it has one. Each array holds all layers.
 *   version 1  "ak42", int32 version, the same 7, a byte "head is embedding", zeros up to 256; then att norms, ffn
 *              norms, last norm, embedding, Q, K, V, O, w1, w2, w3, the head.
 *
 * Its RoPE turns neighbouring pairs; the rows of Q and K are put in the order of halves when the model is opened
 * (model.c), so that everything after this file sees a Hugging Face Llama.
 */
#include "internal.h"

#define MAGIC     0x616B3432u
#define V1_HEADER 256
#define MAX_NAME  64

typedef struct header {
    uint32_t dim, hidden, layers, heads, kv_heads, vocab, positions;
    bool shared_head, v1;
    size_t data_at;
} header;

static uint32_t word(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The seven sizes; false if they are not those of a model. The vocabulary's sign is given back. */
static bool read_sizes(const unsigned char *p, header *h, bool *negative)
{
    uint32_t *const to[7] = {&h->dim,      &h->hidden, &h->layers,   &h->heads,
                             &h->kv_heads, &h->vocab,  &h->positions};
    static const uint32_t most[7] = {65536, 1u << 20, 1024, 1024, 1024, 1u << 22, 1u << 24};
    *negative = false;
    for (int i = 0; i < 7; i++) {
        uint32_t v = word(p + 4 * i);
        if (i == 5 && v > INT32_MAX) {
            *negative = true;
            v = 0u - v;
        }
        if (v < 1 || v > most[i]) { return false; }
        *to[i] = v;
    }
    return h->heads % h->kv_heads == 0 && h->dim % h->heads == 0 && h->dim / h->heads % 2 == 0;
}

static bool parse(const unsigned char *data, size_t len, header *h, uint32_t *version)
{
    bool negative = false;
    memset(h, 0, sizeof *h);
    *version = 0;
    if (len >= V1_HEADER && word(data) == MAGIC) {
        *version = word(data + 4);
        h->v1 = true;
        h->shared_head = data[36] != 0;
        h->data_at = V1_HEADER;
        return read_sizes(data + 8, h, &negative) && !negative;
    }
    if (len < 28 || !read_sizes(data, h, &negative)) { return false; }
    h->shared_head = !negative;
    h->data_at = 28;
    return true;
}

bool fmp_llama2c_is(const char *path)
{
    unsigned char start[V1_HEADER] = {0};
    header h;
    uint32_t version = 0;
    FILE *f = fopen(path, "rb");
    if (!f) { return false; }
    size_t n = fread(start, 1, sizeof start, f);
    (void)fclose(f);
    return (n >= 4 && word(start) == MAGIC) || parse(start, n, &h, &version);
}

static fmp_status map_header(const char *path, fmp_map *map, header *h, fmp_err *err)
{
    uint32_t version = 0;
    FMP_TRY(fmp_map_file(path, map, err));
    bool ok = parse(map->data, map->len, h, &version);
    if (ok && (!h->v1 || version == 1)) { return FMP_OK; }
    if (version > 1) {
        (void)fmp_fail(err, FMP_E_UNSUPPORTED,
                       "llama2.c version %u (quantised weights): expected a legacy or version 1 file, of f32",
                       version);
    } else {
        (void)fmp_fail(err, FMP_E_DATA, "its header is not that of a llama2.c model");
    }
    if (version > 1) {
        (void)fmp_err_hint(err,
                           "quantised weights cannot be trained on; write the model again with llama2.c's "
                           "export.py --version 0 or 1");
    }
    (void)fmp_err_at(err, path, 0, 0, 0);
    fmp_unmap(map);
    return version > 1 ? FMP_E_UNSUPPORTED : FMP_E_DATA;
}

static fmp_status spec_of(const header *h, fmp_model_spec *s, fmp_err *err)
{
    *s = (fmp_model_spec){.model_type = "llama",
                          .n_layers = h->layers,
                          .n_channels = h->dim,
                          .n_heads = h->heads,
                          .n_kv_heads = h->kv_heads,
                          .head_size = h->dim / h->heads,
                          .n_ff = h->hidden,
                          .vocab_size = h->vocab,
                          .max_positions = h->positions,
                          .norm_eps = 1e-5,
                          .tied = h->shared_head,
                          .rope = {{.theta = 10000.0}},
                          .bos_id = 1,
                          .eos_id = 2,
                          .pad_id = -1};
    FMP_TRY(fmp_spec_check(s, err));
    return fmp_spec_default_layers(s, err);
}

fmp_status fmp_llama2c_spec(const char *path, fmp_model_spec *s, fmp_err *err)
{
    fmp_map map = {0};
    header h;
    FMP_TRY(map_header(path, &map, &h, err));
    fmp_unmap(&map);
    return spec_of(&h, s, err);
}

/* ---- tensors ---- */

typedef struct reader {
    const header *h;
    const unsigned char *at, *end;
    fmp_tensor *tensors;
    char (*names)[MAX_NAME];
    size_t n;
    const char *short_of; /* the array that the file has no room for, or NULL */
} reader;

/* n arrays of (rows, cols), rows 0: vectors; the name has a %u for the layer, or is NULL for what is passed over. */
static void take(reader *r, uint32_t n, uint64_t rows, uint64_t cols, const char *before, const char *after)
{
    size_t values = 0, bytes = 0, all = 0;
    bool ok = fmp_mul_ok((size_t)(rows ? rows : 1), (size_t)cols, &values) && fmp_mul_ok(values, 4, &bytes) &&
              fmp_mul_ok(bytes, n, &all) && all <= (size_t)(r->end - r->at);
    if (r->short_of || !ok) {
        if (!r->short_of) { r->short_of = after ? after : before ? before : "RoPE tables"; }
        return;
    }
    for (uint32_t l = 0; l < n; l++, r->at += bytes) {
        if (!before) { continue; }
        char *name = r->names[r->n];
        if (after) {
            (void)snprintf(name, MAX_NAME, "%s%u%s", before, l, after);
        } else {
            (void)snprintf(name, MAX_NAME, "%s", before);
        }
        fmp_tensor *t = &r->tensors[r->n++];
        *t = (fmp_tensor){.name = name, .dtype = FMP_DTYPE_F32, .n_dims = rows ? 2 : 1, .n_values = values};
        t->shape[0] = rows ? rows : cols;
        t->shape[1] = rows ? cols : 0;
        t->data = r->at;
    }
}

static void take_projections(reader *r, bool attention)
{
    const header *h = r->h;
    uint64_t C = h->dim, F = h->hidden, GD = C / h->heads * h->kv_heads;
    const char *layer = "model.layers.";
    if (attention) {
        take(r, h->layers, C, C, layer, ".self_attn.q_proj.weight");
        take(r, h->layers, GD, C, layer, ".self_attn.k_proj.weight");
        take(r, h->layers, GD, C, layer, ".self_attn.v_proj.weight");
        take(r, h->layers, C, C, layer, ".self_attn.o_proj.weight");
        return;
    }
    take(r, h->layers, F, C, layer, ".mlp.gate_proj.weight");
    take(r, h->layers, C, F, layer, ".mlp.down_proj.weight");
    take(r, h->layers, F, C, layer, ".mlp.up_proj.weight");
}

static void take_all(reader *r)
{
    const header *h = r->h;
    uint64_t C = h->dim;
    const char *layer = "model.layers.", *norm1 = ".input_layernorm.weight";
    const char *norm2 = ".post_attention_layernorm.weight";
    if (h->v1) {
        take(r, h->layers, 0, C, layer, norm1);
        take(r, h->layers, 0, C, layer, norm2);
        take(r, 1, 0, C, "model.norm.weight", NULL);
        take(r, 1, h->vocab, C, "model.embed_tokens.weight", NULL);
        take_projections(r, true);
        take_projections(r, false);
    } else {
        take(r, 1, h->vocab, C, "model.embed_tokens.weight", NULL);
        take(r, h->layers, 0, C, layer, norm1);
        take_projections(r, true);
        take(r, h->layers, 0, C, layer, norm2);
        take_projections(r, false);
        take(r, 1, 0, C, "model.norm.weight", NULL);
        take(r, 2, h->positions, C / h->heads / 2, NULL, NULL);
    }
    if (!h->shared_head) { take(r, 1, h->vocab, C, "lm_head.weight", NULL); }
}

fmp_status fmp_llama2c_open(const char *path, fmp_tensors **out, fmp_err *err)
{
    fmp_map map = {0};
    header h;
    *out = NULL;
    FMP_TRY(map_header(path, &map, &h, err));
    size_t most = (size_t)h.layers * 9 + 3;
    reader r = {.h = &h, .at = map.data + h.data_at, .end = map.data + map.len};
    r.tensors = calloc(most, sizeof *r.tensors);
    r.names = calloc(most, sizeof *r.names);
    fmp_status status =
        r.tensors && r.names ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for a model");
    if (status == FMP_OK) {
        take_all(&r);
        if (r.short_of || r.at != r.end) {
            status = fmp_fail(err, FMP_E_DATA, "its %zu bytes are %s the sizes in its header need%s%s",
                              map.len, r.short_of ? "fewer than" : "more than",
                              r.short_of ? ": it ends within " : "", r.short_of ? r.short_of : "");
            (void)fmp_err_at(err, path, 0, 0, (uint64_t)(r.at - map.data));
        }
    }
    if (status == FMP_OK) {
        status = fmp_tensors_wrap(path, map, r.tensors, r.n, out, err);
    } else {
        fmp_unmap(&map);
    }
    free(r.tensors);
    free(r.names);
    return status;
}

void fmp_rope_to_halves(int64_t n_heads, int64_t D, int64_t C, const float *in, float *out)
{
    for (int64_t h = 0; h < n_heads; h++) {
        for (int64_t i = 0; i < D; i++) {
            const float *from = in + (h * D + i) * C;                /* (C): pair i/2, its first or second */
            float *to = out + (h * D + i % 2 * (D / 2) + i / 2) * C; /* (C) */
            memcpy(to, from, (size_t)C * sizeof *to);
        }
    }
}
