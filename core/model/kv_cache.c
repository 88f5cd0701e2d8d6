/*
 * kv_cache.c: the keys and values of the texts being generated, a slot for each text.
 *
 * All layers lie in one block, of the kind that was asked for (see fmk.h): a small model's layers are less than a
 * large page each. Pages that no text reaches are never touched. Slots are moved, not shared, so a slot's rows belong
 * to one text.
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
    if (c->block) { c->device->be->free(c->device->dev, c->block); }
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

/* The next `count` values of the block, or with NULL: only counted, in *used. */
static void *cut(unsigned char *block, size_t count, size_t size, size_t *used)
{
    void *p = block ? block + *used : NULL;
    *used += (count * size + 63) / 64 * 64;
    return p;
}

/* Bytes of all layers' `rows` head rows each; with a block, where in it they lie. */
static size_t lay_out(fmp_kv_cache *c, size_t rows, unsigned char *block)
{
    size_t used = 0;
    for (size_t l = 0; l < c->n_layers; l++) {
        fmk_dev_kv *kv = &c->layer[l];
        if (kv->G == 0) { continue; }
        size_t row = row_bytes(kv->kind, kv->D);
        kv->k = cut(block, rows, row, &used);
        kv->v = cut(block, rows, row, &used);
        if (kv->kind != FMK_KV_Q8) { continue; }
        kv->k_scale = cut(block, rows, sizeof(fmk_f32), &used);
        kv->v_scale = cut(block, rows, sizeof(fmk_f32), &used);
    }
    return used;
}

fmp_status fmp_kv_new(const fmp_model *m, fmp_cache_kind kind, int64_t n_slots, int64_t cap, fmp_kv_cache *c,
                      fmp_err *err)
{
    size_t rows = 0, bytes = 0;
    int64_t G = m->spec.n_kv_heads, D = m->spec.head_size;
    *c = (fmp_kv_cache){.n_layers = m->spec.n_layers,
                        .device = m->device,
                        .layer = calloc(m->spec.n_layers, sizeof *c->layer)};
    for (size_t l = 0; c->layer && l < c->n_layers; l++) {
        if (has_own(m, l)) { c->layer[l] = (fmk_dev_kv){.kind = kinds[kind], .cap = cap, .G = G, .D = D}; }
    }
    /* a bound of what lay_out will count: f32 rows, two scales and the rounding of each piece, of every layer */
    bool ok = c->layer && fmp_mul_ok((size_t)n_slots, (size_t)cap, &rows) &&
              fmp_mul_ok(rows, (size_t)G, &rows) &&
              fmp_mul_ok(rows, ((size_t)D + 1) * 2 * sizeof(float), &bytes) && bytes < SIZE_MAX - 256 &&
              fmp_mul_ok(bytes + 256, c->n_layers, &bytes);
    ok = ok && m->be->alloc(m->device->dev, lay_out(c, rows, NULL), &c->block, err) == FMP_OK;
    if (ok) {
        (void)lay_out(c, rows, c->block);
        return FMP_OK;
    }
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
