/*
 * work.c: the workspace of a pass: one block, cut once from the shapes.
 *
 *   | layer inputs x[first..L] | activations of layer first | ... of layer L-1 | labelled rows | gradients |
 *
 * WORK_FORWARD has one x, updated in place, and one set of activations that every layer overwrites.
 * WORK_TRAIN keeps all x; with fewer sets than layers the lower layers share the first set. In bf16 a set holds the
 * matrices rounded (fmp_acts.kept), and the layers compute on one set of them in f32. Every piece starts at a multiple
 * of 64 bytes. A second, small block holds the host's side of what is uploaded and downloaded.
 */
#include "internal.h"

/* Cuts a block, or, with base NULL, measures it. */
typedef struct carver {
    unsigned char *base;
    size_t used;
} carver;

static void *carve(carver *c, int64_t count, size_t size_bytes)
{
    void *p = c->base ? c->base + c->used : NULL;
    c->used += ((size_t)count * size_bytes + 63) & ~(size_t)63;
    return p;
}
static fmk_f32 *carve_f32(carver *c, int64_t count)
{
    return carve(c, count, sizeof(fmk_f32));
}

/* Of the adapted projections of this kind, or of the kind N_PROJ: of any. */
static int64_t widest_output(const fmp_adapter *ad, fmp_proj kind)
{
    int64_t most = 0;
    for (size_t k = 0; k < ad->n_lora; k++) {
        bool counts = ad->lora[k].a && (kind == N_PROJ || k % N_PROJ == (size_t)kind);
        most = counts && ad->lora[k].out > most ? ad->lora[k].out : most;
    }
    return most;
}

static int64_t widest_input(const fmp_adapter *ad)
{
    int64_t most = 0;
    for (size_t k = 0; k < ad->n_lora; k++) {
        most = ad->lora[k].a && ad->lora[k].in > most ? ad->lora[k].in : most;
    }
    return most;
}

/* The layer that makes the keys and values of layer l. */
static uint32_t kv_layer(const fmp_model_spec *s, uint32_t l)
{
    return l - s->layers[l].kv_back;
}

static bool any_qk_norm(const fmp_model_spec *s)
{
    bool any = false;
    for (uint32_t l = 0; l < s->n_layers; l++) {
        any = any || s->layers[l].qk_norm;
    }
    return any;
}

static void carve_attention(carver *c, const fmp_model_spec *s, int64_t T, fmp_acts *a)
{
    int64_t H = s->n_heads, G = s->n_kv_heads, D = s->head_size;
    bool qk_norm = any_qk_norm(s);
    a->q = carve_f32(c, T * fmp_strides_of(s).q);
    a->k = s->fused ? a->q + H * D : carve_f32(c, T * G * D);
    a->v = s->fused ? a->k + G * D : carve_f32(c, T * G * D);
    a->q_raw = qk_norm ? carve_f32(c, T * H * D) : a->q;
    a->k_raw = qk_norm ? carve_f32(c, T * G * D) : a->k;
    a->o = carve_f32(c, T * H * D);
}

/* A number or a few for each token. */
static void carve_columns(carver *c, const fmp_model_spec *s, int64_t T, fmp_acts *a)
{
    bool qk_norm = any_qk_norm(s), after = s->norms != FMP_NORM_PRE;
    a->rstd1 = carve_f32(c, T);
    a->rstd2 = carve_f32(c, T);
    a->rstd_y1 = carve_f32(c, after ? T : 0);
    a->rstd_y2 = carve_f32(c, after ? T : 0);
    a->rq = carve_f32(c, qk_norm ? T * s->n_heads : 0);
    a->rk = carve_f32(c, qk_norm ? T * s->n_kv_heads : 0);
    a->lse = carve_f32(c, T * s->n_heads);
}

static void carve_matrices(carver *c, const fmp_model *m, const fmp_adapter *ad, int64_t T, bool in_place,
                           fmp_acts *a)
{
    const fmp_model_spec *s = &m->spec;
    int64_t C = s->n_channels, F = s->n_ff;
    bool after = s->norms != FMP_NORM_PRE;
    carve_attention(c, s, T, a);
    a->x_mid = in_place ? NULL : carve_f32(c, T * C);
    a->gate = carve_f32(c, T * fmp_strides_of(s).ff);
    a->up = s->fused ? a->gate + F : carve_f32(c, T * F);
    if (after) {
        a->y1 = carve_f32(c, T * C);
        a->y2 = in_place ? a->y1 : carve_f32(c, T * C);
    }
    for (int g = 0; ad && g < N_GROUP; g++) {
        a->u[g] = carve_f32(c, T * ad->rank * ((int64_t)fmp_group_first[g + 1] - fmp_group_first[g]));
    }
    for (int k = 0; ad && ad->dora && k < N_PROJ; k++) {
        a->z[k] = carve_f32(c, T * widest_output(ad, (fmp_proj)k));
    }
}

/* The sets; n1, n2 (T,C) and h (T,F) are of all layers, made again by the backward pass. */
static void carve_acts(carver *c, const fmp_model *m, const fmp_adapter *ad, bool in_place, fmp_work *w)
{
    const fmp_model_spec *s = &m->spec;
    bool rounded = !in_place && fmp_model_is_bf16(m);
    fmk_f32 *n = s->norms != FMP_NORM_POST ? carve_f32(c, w->T * s->n_channels) : NULL;
    fmk_f32 *h = carve_f32(c, w->T * (int64_t)s->n_ff);
    fmp_acts one = {0};
    size_t from = c->used;
    if (rounded) {
        w->wide = carve_f32(c, 0);
        carve_matrices(c, m, ad, w->T, in_place, &one);
        w->n_wide = (int64_t)((c->used - from) / sizeof(fmk_f32));
    }
    for (size_t i = 0; i < w->n_acts; i++) {
        fmp_acts *a = &w->acts[i];
        *a = one;
        if (rounded) {
            a->kept = carve(c, w->n_wide, sizeof *a->kept);
        } else {
            carve_matrices(c, m, ad, w->T, in_place, a);
        }
        carve_columns(c, s, w->T, a);
        a->n1 = a->n2 = n;
        a->h = h;
    }
}

static void carve_gradients(carver *c, const fmp_model *m, const fmp_adapter *ad, int64_t T, fmp_work *w)
{
    const fmp_model_spec *s = &m->spec;
    int64_t C = s->n_channels, HD = (int64_t)s->n_heads * s->head_size, F = s->n_ff;
    int64_t GD = (int64_t)s->n_kv_heads * s->head_size;
    bool qk_norm = any_qk_norm(s);
    w->dx = carve_f32(c, T * C);
    w->dn = carve_f32(c, T * C);
    w->dh = carve_f32(c, T * F);
    w->dgate = carve_f32(c, T * fmp_strides_of(s).ff);
    w->dup = s->fused ? w->dgate + F : carve_f32(c, T * F);
    w->d_o = carve_f32(c, T * HD);
    w->dq = carve_f32(c, T * fmp_strides_of(s).q);
    w->dk = s->fused ? w->dq + HD : carve_f32(c, T * GD);
    w->dv = s->fused ? w->dk + GD : carve_f32(c, T * GD);
    w->dq_raw = qk_norm ? carve_f32(c, T * HD) : w->dq;
    w->dk_raw = qk_norm ? carve_f32(c, T * GD) : w->dk;
    w->du = carve_f32(c, ad ? 3 * T * ad->rank : 0);
    w->xd = carve_f32(c, ad && ad->dropout > 0.0 ? T * widest_input(ad) : 0);
    w->dz = carve_f32(c, ad && ad->dora ? T * widest_output(ad, N_PROJ) : 0);
}

static void carve_rows(carver *c, int64_t T, int64_t C, bool gradients, fmp_work *w)
{
    w->x_lab = carve_f32(c, T * C);
    w->n_lab = carve_f32(c, T * C);
    w->rstd_lab = carve_f32(c, T);
    w->w_lab = carve_f32(c, T);
    w->nll = carve_f32(c, T);
    w->dn_lab = gradients ? carve_f32(c, T * C) : NULL;
    w->dx_lab = gradients ? carve_f32(c, T * C) : NULL;
    w->row = carve(c, T, sizeof *w->row);
    w->label = carve(c, T, sizeof *w->label);
    w->hit = carve(c, T, sizeof *w->hit);
}

/* What the batch says. */
static void carve_batch(carver *c, int64_t T, fmp_work *w)
{
    w->id = carve(c, T, sizeof *w->id);
    w->seg = carve(c, T + 1, sizeof *w->seg);
    w->seg_key = carve(c, T, sizeof *w->seg_key);
    w->pos = carve(c, T, sizeof *w->pos);
    w->slot = carve(c, T, sizeof *w->slot);
    w->len = carve(c, T, sizeof *w->len);
}

/* What outlives a layer: keys and values that later layers use. */
static void carve_lent(carver *c, const fmp_model_spec *s, int64_t T, bool gradients, fmp_work *w)
{
    int64_t n = T * s->n_kv_heads * s->head_size;
    memset(w->lent, 0, s->n_layers * sizeof *w->lent);
    for (uint32_t l = 0; l < s->n_layers; l++) {
        fmp_lent *lent = &w->lent[kv_layer(s, l)];
        if (s->layers[l].kv_back == 0 || lent->k) { continue; }
        lent->k = carve_f32(c, n);
        lent->v = carve_f32(c, n);
        lent->dk = gradients ? carve_f32(c, n) : NULL;
        lent->dv = gradients ? carve_f32(c, n) : NULL;
    }
}

/* RoPE tables of the pass, where one for all positions will not do. */
static void carve_rope(carver *c, const fmp_model_spec *s, int64_t T, fmp_work *w)
{
    int64_t half = fmp_spec_rotary(s) / 2;
    bool any = false;
    for (int i = 0; i < 2; i++) {
        bool own = fmp_rope_by_length(&s->rope[i]);
        w->rope_cos[i] = own ? carve_f32(c, T * half) : NULL;
        w->rope_sin[i] = own ? carve_f32(c, T * half) : NULL;
        any = any || own;
    }
    w->rope_row = any ? carve(c, T, sizeof *w->rope_row) : NULL;
}

static void carve_staging(carver *c, const fmp_model *m, int64_t T, fmp_work *w)
{
    const fmp_model_spec *s = &m->spec;
    fmp_staging *h = &w->staging;
    int64_t half = fmp_spec_rotary(s) / 2;
    h->pos = carve(c, T, sizeof *h->pos);
    h->slot = carve(c, T, sizeof *h->slot);
    h->row = carve(c, T, sizeof *h->row);
    h->label = carve(c, T, sizeof *h->label);
    h->w_lab = carve(c, T, sizeof *h->w_lab);
    h->nll = carve(c, T, sizeof *h->nll);
    h->hit = carve(c, T, sizeof *h->hit);
    h->rope_row = carve(c, T, sizeof *h->rope_row);
    h->x = fmp_param_is_f32(m->embed) ? NULL : carve(c, T * s->n_channels, sizeof *h->x);
    for (int i = 0; i < 2; i++) {
        bool own = fmp_rope_by_length(&s->rope[i]);
        h->rope_cos[i] = own ? carve(c, T * half, sizeof(float)) : NULL;
        h->rope_sin[i] = own ? carve(c, T * half, sizeof(float)) : NULL;
    }
}

static void lay_out(carver *c, const fmp_model *m, const fmp_adapter *ad, fmp_work *w)
{
    size_t L = m->spec.n_layers;
    int64_t T = w->T, C = m->spec.n_channels;
    bool in_place = w->mode == WORK_FORWARD;
    fmk_f32 *x = NULL;
    for (size_t l = 0; l <= L; l++) {
        if (l == 0 || (!in_place && l > w->first)) { x = carve_f32(c, T * C); }
        w->x[l] = x;
    }
    carve_acts(c, m, ad, in_place, w);
    carve_rows(c, T, C, !in_place, w);
    carve_batch(c, T, w);
    carve_lent(c, &m->spec, T, !in_place, w);
    carve_rope(c, &m->spec, T, w);
    w->y = m->spec.norms != FMP_NORM_PRE ? carve_f32(c, T * C) : NULL;
    if (!in_place) { carve_gradients(c, m, ad, T, w); }
}

/* The lists, without the block. */
static fmp_work *new_shell(const fmp_model *m, int64_t T, fmp_work_mode mode, size_t first, size_t n_acts)
{
    fmp_work *w = calloc(1, sizeof *w);
    if (!w) { return NULL; }
    *w = (fmp_work){.T = T, .most_tokens = T, .mode = mode, .first = first};
    w->n_acts = n_acts;
    w->keep = m->spec.n_layers - n_acts;
    w->acts = calloc(w->n_acts, sizeof *w->acts);
    w->x = calloc((size_t)m->spec.n_layers + 1, sizeof *w->x);
    w->lent = calloc(m->spec.n_layers, sizeof *w->lent);
    if (!w->acts || !w->x || !w->lent) {
        fmp_work_free(w);
        return NULL;
    }
    return w;
}

/* Bytes of the device's block and of the host's. */
static void measure(const fmp_model *m, const fmp_adapter *ad, fmp_work *w, size_t *device, size_t *staging)
{
    carver d = {0}, h = {0};
    lay_out(&d, m, ad, w);
    carve_staging(&h, m, w->T, w);
    *device = d.used;
    *staging = h.used;
}

size_t fmp_work_bytes(const fmp_model *m, const fmp_adapter *ad, int64_t T, fmp_work_mode mode, size_t first,
                      size_t n_acts)
{
    fmp_work *w = new_shell(m, T, mode, first, n_acts);
    size_t device = 0, staging = 0;
    if (!w) { return SIZE_MAX; }
    measure(m, ad, w, &device, &staging);
    fmp_work_free(w);
    return device + staging;
}

static void cut(const fmp_model *m, const fmp_adapter *ad, fmp_work *w)
{
    carver device = {.base = w->block}, host = {.base = w->staging_block};
    lay_out(&device, m, ad, w);
    carve_staging(&host, m, w->T, w);
}

fmp_status fmp_work_new(const fmp_model *m, const fmp_adapter *ad, int64_t T, fmp_work_mode mode,
                        size_t first, size_t n_acts, fmp_work **out, fmp_err *err)
{
    *out = NULL;
    fmp_work *w = new_shell(m, T, mode, first, n_acts);
    if (!w) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a workspace"); }
    w->device = fmp_device_keep(m->device);
    size_t staging = 0;
    measure(m, ad, w, &w->size_bytes, &staging);
    w->staging_block = malloc(staging);
    fmp_status status = w->staging_block ? m->be->alloc(m->device->dev, w->size_bytes, &w->block, err)
                                         : fmp_fail(err, FMP_E_NOMEM, "out of memory for a batch");
    if (status != FMP_OK) {
        (void)fmp_err_note(err, "while taking memory for the activations of %lld tokens", (long long)T);
        fmp_work_free(w);
        return status;
    }
    cut(m, ad, w);
    *out = w;
    return FMP_OK;
}

void fmp_work_free(fmp_work *w)
{
    if (!w) { return; }
    if (w->block) { w->device->be->free(w->device->dev, w->block); }
    fmp_device_drop(w->device);
    free(w->staging_block);
    free(w->acts);
    free(w->x);
    free(w->lent);
    free(w);
}

/* Whether a workspace's blocks allow a pass of T tokens with this adapter; leaves it to be cut. */
static bool fits(const fmp_model *m, const fmp_adapter *ad, int64_t T, fmp_work *w)
{
    size_t device = 0, staging = 0;
    w->T = T;
    measure(m, ad, w, &device, &staging);
    return device <= w->size_bytes && T <= w->most_tokens;
}

void fmp_work_cut(const fmp_model *m, const fmp_adapter *ad, int64_t T, fmp_work *w)
{
    w->T = T;
    cut(m, ad, w);
}

fmp_status fmp_work_shared(fmp_model *m, const fmp_adapter *ad, int64_t T, fmp_work **out, fmp_err *err)
{
    FMP_TRY(fmp_adapter_ready(m, ad, err));
    if (!m->work || !fits(m, ad, T, m->work)) {
        fmp_work_free(m->work);
        m->work = NULL;
        FMP_TRY(fmp_work_new(m, ad, T, WORK_FORWARD, 0, 1, &m->work, err));
    }
    /* An adapter or a batch size that differs cuts the same blocks anew. */
    cut(m, ad, m->work);
    *out = m->work;
    return FMP_OK;
}
