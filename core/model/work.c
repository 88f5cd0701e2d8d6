/*
 * work.c: the workspace of a pass: one block, cut once from the shapes.
 *
 *   | layer inputs x[first..L] | activations of layer first | ... of layer L-1 | labelled rows | gradients |
 *
 * WORK_FORWARD has one x, updated in place, and one set of activations that every layer overwrites.
 * WORK_RECOMPUTE keeps all x and one set. Every piece starts at a multiple of 64 bytes.
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
static float *carve_f32(carver *c, int64_t count)
{
    return carve(c, count, sizeof(float));
}

static void carve_acts(carver *c, const fmp_model *m, const fmp_adapter *ad, int64_t T, bool in_place,
                       fmp_acts *a)
{
    const fmp_model_spec *s = &m->spec;
    int64_t C = s->n_channels, H = s->n_heads, G = s->n_kv_heads, D = s->head_size, F = s->n_ff;
    bool qk_norm = s->layers[0].qk_norm;
    memset(a, 0, sizeof *a);
    a->n1 = carve_f32(c, T * C);
    a->rstd1 = carve_f32(c, T);
    a->q = carve_f32(c, T * H * D);
    a->k = carve_f32(c, T * G * D);
    a->v = carve_f32(c, T * G * D);
    a->q_raw = qk_norm ? carve_f32(c, T * H * D) : a->q;
    a->k_raw = qk_norm ? carve_f32(c, T * G * D) : a->k;
    a->rq = carve_f32(c, qk_norm ? T * H : 0);
    a->rk = carve_f32(c, qk_norm ? T * G : 0);
    a->o = carve_f32(c, T * H * D);
    a->lse = carve_f32(c, T * H);
    a->x_mid = in_place ? NULL : carve_f32(c, T * C);
    a->n2 = in_place ? a->n1 : carve_f32(c, T * C);
    a->rstd2 = carve_f32(c, T);
    a->gate = carve_f32(c, T * F);
    a->up = carve_f32(c, T * F);
    a->h = carve_f32(c, T * F);
    for (int g = 0; ad && g < N_GROUP; g++) {
        a->u[g] = carve_f32(c, T * ad->rank * ((int64_t)fmp_group_first[g + 1] - fmp_group_first[g]));
    }
}

static void carve_gradients(carver *c, const fmp_model *m, const fmp_adapter *ad, int64_t T, fmp_work *w)
{
    const fmp_model_spec *s = &m->spec;
    int64_t C = s->n_channels, HD = (int64_t)s->n_heads * s->head_size, F = s->n_ff;
    int64_t GD = (int64_t)s->n_kv_heads * s->head_size;
    bool qk_norm = s->layers[0].qk_norm;
    w->dx = carve_f32(c, T * C);
    w->dn = carve_f32(c, T * C);
    w->dh = carve_f32(c, T * F);
    w->dgate = carve_f32(c, T * F);
    w->dup = carve_f32(c, T * F);
    w->d_o = carve_f32(c, T * HD);
    w->dq = carve_f32(c, T * HD);
    w->dk = carve_f32(c, T * GD);
    w->dv = carve_f32(c, T * GD);
    w->dq_raw = qk_norm ? carve_f32(c, T * HD) : w->dq;
    w->dk_raw = qk_norm ? carve_f32(c, T * GD) : w->dk;
    w->du = carve_f32(c, ad ? 3 * T * ad->rank : 0);
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
    w->pos = carve(c, T, sizeof *w->pos);
}

static void lay_out(carver *c, const fmp_model *m, const fmp_adapter *ad, fmp_work *w)
{
    size_t L = m->spec.n_layers;
    int64_t T = w->T, C = m->spec.n_channels;
    bool in_place = w->mode == WORK_FORWARD;
    float *x = NULL;
    for (size_t l = 0; l <= L; l++) {
        if (l == 0 || (!in_place && l > w->first)) { x = carve_f32(c, T * C); }
        w->x[l] = x;
    }
    for (size_t i = 0; i < w->n_acts; i++) {
        carve_acts(c, m, ad, T, in_place, &w->acts[i]);
    }
    carve_rows(c, T, C, !in_place, w);
    if (!in_place) { carve_gradients(c, m, ad, T, w); }
}

/* The lists, without the block. */
static fmp_work *new_shell(const fmp_model *m, int64_t T, fmp_work_mode mode, size_t first)
{
    fmp_work *w = calloc(1, sizeof *w);
    if (!w) { return NULL; }
    *w = (fmp_work){.T = T, .mode = mode, .first = first};
    w->n_acts = mode == WORK_KEEP && first < m->spec.n_layers ? m->spec.n_layers - first : 1;
    w->acts = calloc(w->n_acts, sizeof *w->acts);
    w->x = calloc((size_t)m->spec.n_layers + 1, sizeof *w->x);
    if (!w->acts || !w->x) {
        fmp_work_free(w);
        return NULL;
    }
    return w;
}

size_t fmp_work_bytes(const fmp_model *m, const fmp_adapter *ad, int64_t T, fmp_work_mode mode, size_t first)
{
    fmp_work *w = new_shell(m, T, mode, first);
    carver c = {0};
    if (!w) { return SIZE_MAX; }
    lay_out(&c, m, ad, w);
    fmp_work_free(w);
    return c.used;
}

fmp_status fmp_work_new(const fmp_model *m, const fmp_adapter *ad, int64_t T, fmp_work_mode mode,
                        size_t first, fmp_work **out, fmp_err *err)
{
    *out = NULL;
    fmp_work *w = new_shell(m, T, mode, first);
    size_t bytes = fmp_work_bytes(m, ad, T, mode, first);
    void *block = w && bytes < SIZE_MAX / 2 ? aligned_alloc(64, bytes + 64 - bytes % 64) : NULL;
    if (!block) {
        fmp_work_free(w);
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for activations: %zu MiB for %lld tokens",
                        bytes >> 20, (long long)T);
    }
    w->block = block;
    w->size_bytes = bytes;
    carver c = {.base = block};
    lay_out(&c, m, ad, w);
    *out = w;
    return FMP_OK;
}

void fmp_work_free(fmp_work *w)
{
    if (!w) { return; }
    free(w->block);
    free(w->acts);
    free(w->x);
    free(w);
}

fmp_status fmp_work_shared(fmp_model *m, const fmp_adapter *ad, int64_t T, fmp_work **out, fmp_err *err)
{
    size_t need = fmp_work_bytes(m, ad, T, WORK_FORWARD, 0);
    if (!m->work || m->work->size_bytes < need) {
        fmp_work_free(m->work);
        m->work = NULL;
        FMP_TRY(fmp_work_new(m, ad, T, WORK_FORWARD, 0, &m->work, err));
    }
    /* An adapter or a batch size that differs cuts the same block anew. */
    carver c = {.base = m->work->block};
    m->work->T = T;
    lay_out(&c, m, ad, m->work);
    *out = m->work;
    return FMP_OK;
}
