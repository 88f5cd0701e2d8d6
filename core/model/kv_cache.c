/*
 * kv_cache.c: the keys and values of the texts being generated, a slot for each text.
 *
 * A layer's slots lie in one block of the kind that was asked for (see fmk.h); pages that no text reaches are
 * never touched. Slots are moved, not shared, so a slot's rows belong to one text.
 */
#include "internal.h"

static const fmk_kv_kind kinds[] = {
    [FMP_CACHE_F32] = FMK_KV_F32, [FMP_CACHE_BF16] = FMK_KV_BF16, [FMP_CACHE_Q8] = FMK_KV_Q8};

/* Bytes of one head's row of D values, without its scale. */
static size_t row_bytes(fmk_kv_kind kind, int64_t D)
{
    size_t value = kind == FMK_KV_F32    ? sizeof(float)
                   : kind == FMK_KV_BF16 ? sizeof(uint16_t)
                                         : sizeof(int8_t);
    return (size_t)D * value;
}

void fmp_kv_free(fmp_kv_cache *c)
{
    for (size_t l = 0; c->layer && l < c->n_layers; l++) {
        void *const memory[] = {c->layer[l].k, c->layer[l].v, c->layer[l].k_scale, c->layer[l].v_scale};
        for (size_t i = 0; i < sizeof memory / sizeof *memory; i++) {
            if (memory[i]) { c->device->be->free(c->device->dev, memory[i]); }
        }
    }
    free(c->layer);
    *c = (fmp_kv_cache){0};
}

/* A layer that reads another one's keys and values has none of its own. */
static bool has_own(const fmp_model *m, size_t l)
{
    return m->spec.layers[l].kv_back == 0;
}

size_t fmp_cache_bytes(const fmp_model *m, fmp_cache_kind kind, size_t n_tokens)
{
    size_t heads = 0, bytes = 0;
    size_t row = row_bytes(kinds[kind], m->spec.head_size) + (kind == FMP_CACHE_Q8 ? sizeof(float) : 0);
    for (size_t l = 0; l < m->spec.n_layers; l++) {
        heads += has_own(m, l) ? 2 * (size_t)m->spec.n_kv_heads : 0;
    }
    bool ok = fmp_mul_ok(n_tokens, heads, &bytes) && fmp_mul_ok(bytes, row, &bytes);
    return ok ? bytes : SIZE_MAX;
}

/* A layer's block for `rows` head rows. */
static bool take_layer(fmp_device *d, fmk_dev_kv *kv, size_t rows, fmp_err *err)
{
    size_t bytes = 0;
    void *taken[4] = {NULL, NULL, NULL, NULL};
    bool ok = fmp_mul_ok(rows, row_bytes(kv->kind, kv->D), &bytes);
    for (int i = 0; ok && i < (kv->kind == FMK_KV_Q8 ? 4 : 2); i++) {
        ok = d->be->alloc(d->dev, i < 2 ? bytes : rows * sizeof(fmk_f32), &taken[i], err) == FMP_OK;
    }
    kv->k = taken[0];
    kv->v = taken[1];
    kv->k_scale = taken[2];
    kv->v_scale = taken[3];
    return ok;
}

fmp_status fmp_kv_new(const fmp_model *m, fmp_cache_kind kind, int64_t n_slots, int64_t cap, fmp_kv_cache *c,
                      fmp_err *err)
{
    size_t rows = 0, bytes = 0;
    *c = (fmp_kv_cache){.n_layers = m->spec.n_layers,
                        .device = m->device,
                        .layer = calloc(m->spec.n_layers, sizeof *c->layer)};
    bool ok = c->layer && fmp_mul_ok((size_t)n_slots, (size_t)cap, &bytes) &&
              fmp_mul_ok(bytes, m->spec.n_kv_heads, &rows);
    for (size_t l = 0; ok && l < c->n_layers; l++) {
        if (!has_own(m, l)) { continue; }
        c->layer[l] =
            (fmk_dev_kv){.kind = kinds[kind], .cap = cap, .G = m->spec.n_kv_heads, .D = m->spec.head_size};
        ok = take_layer(m->device, &c->layer[l], rows, err);
    }
    if (ok) { return FMP_OK; }
    fmp_kv_free(c);
    fmp_fail(err, FMP_E_NOMEM, "out of memory for the keys and values of %lld texts of up to %lld tokens",
             (long long)n_slots, (long long)cap);
    return fmp_err_hint(err, "generate fewer texts at once, fewer tokens, or keep them as bf16 or 8 bits");
}

/* n rows of `size` bytes from one slot to another; `stride` rows a slot. */
static void move_rows(const fmp_device *d, void *rows, size_t size, size_t stride, size_t from, size_t to,
                      size_t n)
{
    if (!rows) { return; }
    unsigned char *base = rows;
    d->be->copy_rows(d->q, 1, n * size, base + from * stride * size, n * size, base + to * stride * size,
                     n * size);
}

void fmp_kv_move(fmp_kv_cache *c, int64_t from, int64_t to, int64_t n_tokens)
{
    for (size_t l = 0; l < c->n_layers; l++) {
        const fmk_dev_kv *kv = &c->layer[l];
        size_t row = row_bytes(kv->kind, kv->D), stride = (size_t)(kv->cap * kv->G);
        size_t n = (size_t)(n_tokens * kv->G);
        move_rows(c->device, kv->k, row, stride, (size_t)from, (size_t)to, n);
        move_rows(c->device, kv->v, row, stride, (size_t)from, (size_t)to, n);
        move_rows(c->device, kv->k_scale, sizeof(fmk_f32), stride, (size_t)from, (size_t)to, n);
        move_rows(c->device, kv->v_scale, sizeof(fmk_f32), stride, (size_t)from, (size_t)to, n);
    }
}
