/*
 * dora.c: DoRA's magnitudes (Liu et al. 2024): y = (W + s B A) x * mag / norm, norm (out) the lengths of the rows
 * of W + s B A.
 *
 * The rows are never formed: |w + s b A|^2 = |w|^2 + 2 s b (A w) + s^2 b (A A^T) b, where A w for all rows is one
 * product of A with the weight as the kernels hold it. It costs as much as R tokens of a forward pass, once for
 * each update of the values.
 */
#include "internal.h"

typedef struct fmp_dora {
    size_t n;        /* rows of all modules */
    double *base_sq; /* squared norms of the base's rows, module after module; on the host */
    void *base_sq_dev, *gain, *inv_norm;
    void *products; /* of one module: A W^T (R,out), B A A^T (out,R), A A^T (R,R) */
    size_t widest;  /* out of the widest */
    bool known;     /* base_sq, on both sides */
    bool fresh;     /* gain and inv_norm */
} fmp_dora;

static fmp_status take_memory(fmp_device *d, fmp_dora *dora, size_t R, fmp_err *err)
{
    dora->base_sq = calloc(dora->n, sizeof *dora->base_sq);
    if (!dora->base_sq) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for an adapter"); }
    FMP_TRY(d->be->alloc(d->dev, dora->n * sizeof(fmk_f64), &dora->base_sq_dev, err));
    FMP_TRY(d->be->alloc(d->dev, dora->n * sizeof(fmk_f32), &dora->gain, err));
    FMP_TRY(d->be->alloc(d->dev, dora->n * sizeof(fmk_f32), &dora->inv_norm, err));
    return d->be->alloc(d->dev, (2 * R * dora->widest + R * R) * sizeof(fmk_f32), &dora->products, err);
}

fmp_status fmp_dora_new(fmp_adapter *ad, fmp_err *err)
{
    if (!ad->dora) { return FMP_OK; }
    fmp_dora *d = ad->derived = calloc(1, sizeof *d);
    if (!d) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for an adapter"); }
    for (size_t k = 0; k < ad->n_lora; k++) {
        size_t out = ad->lora[k].a ? (size_t)ad->lora[k].out : 0;
        d->n += out;
        d->widest = out > d->widest ? out : d->widest;
    }
    FMP_TRY(take_memory(ad->device, d, ad->rank, err));
    size_t at = 0;
    for (size_t k = 0; k < ad->n_lora; k++) {
        fmp_lora *lora = &ad->lora[k];
        if (!lora->a) { continue; }
        lora->base_sq = d->base_sq + at;
        lora->base_sq_dev = (fmk_f64 *)d->base_sq_dev + at;
        lora->gain = (fmk_f32 *)d->gain + at;
        lora->inv_norm = (fmk_f32 *)d->inv_norm + at;
        at += (size_t)lora->out;
    }
    return FMP_OK;
}

void fmp_dora_free(fmp_adapter *ad)
{
    fmp_dora *d = ad->derived;
    if (!d) { return; }
    void *const memory[] = {d->base_sq_dev, d->gain, d->inv_norm, d->products};
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++) {
        if (memory[i]) { ad->device->be->free(ad->device->dev, memory[i]); }
    }
    free(d->base_sq);
    free(d);
}

void fmp_adapter_changed(const fmp_adapter *ad)
{
    if (ad && ad->derived) { ad->derived->fresh = false; }
}

static double row_sq(int64_t n, const float *x)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i] * x[i];
    }
    return sum;
}

/* From the weights as they are stored, not as a product may round them. */
static fmp_status module_base(fmp_model *m, const fmp_lora *lora, fmp_param *w, fmp_err *err)
{
    FMP_TRY(fmp_mirror_pull(m->device, &w->values, err));
    float *copy = w->own ? NULL : malloc(fmp_param_count(w) * sizeof *copy);
    if (!w->own && !copy) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for tensor %s", w->name); }
    if (copy) { fmp_tensor_to_f32(w->src, copy); }
    const float *values = copy ? copy : w->own;
    for (int64_t o = 0; o < lora->out; o++) {
        lora->base_sq[o] = row_sq(lora->in, values + o * lora->in);
    }
    free(copy);
    return FMP_OK;
}

static fmp_status base_norms(fmp_model *m, const fmp_adapter *ad, fmp_err *err)
{
    fmp_dora *d = ad->derived;
    if (d->known) { return FMP_OK; }
    for (size_t k = 0; k < ad->n_lora; k++) {
        if (!ad->lora[k].a) { continue; }
        FMP_TRY(module_base(m, &ad->lora[k], m->layers[k / N_PROJ].w[k % N_PROJ], err));
    }
    m->be->upload(m->q, d->base_sq_dev, d->base_sq, d->n * sizeof *d->base_sq);
    d->known = true;
    return FMP_OK;
}

fmp_status fmp_dora_start(fmp_model *m, fmp_adapter *ad, fmp_err *err)
{
    if (!ad->dora) { return FMP_OK; }
    FMP_TRY(base_norms(m, ad, err));
    for (size_t k = 0; k < ad->n_lora; k++) {
        const fmp_lora *lora = &ad->lora[k];
        for (int64_t o = 0; lora->a && o < lora->out; o++) {
            fmp_adapter_host(ad, lora->mag)[o] = (float)sqrt(lora->base_sq[o]);
        }
    }
    fmp_mirror_wrote_host(ad->values);
    fmp_adapter_changed(ad);
    return FMP_OK;
}

/* gain and inv_norm of one module */
static void module_gains(fmp_model *m, const fmp_adapter *ad, const fmp_lora *lora, const fmp_param *w)
{
    int64_t R = ad->rank, in = lora->in, out = lora->out, widest = (int64_t)ad->derived->widest;
    fmk_f32 *aw = ad->derived->products, *baa = aw + R * widest, *aa = baa + R * widest;
    if (w->packed) {
        m->be->matmul_packed(m->q, R, lora->a, w->packed, 0.0f, aw);
    } else {
        const fmk_mm mm = {.M = R, .N = out, .K = in, .tb = true, .lda = in, .ldb = in, .ldc = out};
        m->be->matmul(m->q, &mm, lora->a, fmp_param_view(w), aw);
    }
    fmk_mm mm = {.M = R, .N = R, .K = in, .tb = true, .lda = in, .ldb = in, .ldc = R};
    m->be->matmul(m->q, &mm, lora->a, lora->a, aa);
    mm = (fmk_mm){.M = out, .N = R, .K = R, .lda = R, .ldb = R, .ldc = R};
    m->be->matmul(m->q, &mm, lora->b, aa, baa);
    m->be->dora_gain(m->q, out, R, ad->scale, lora->base_sq_dev, lora->b, aw, baa, lora->mag, lora->gain,
                     lora->inv_norm);
}

fmp_status fmp_adapter_ready(fmp_model *m, const fmp_adapter *ad, fmp_err *err)
{
    if (!ad) { return FMP_OK; }
    fmp_mirror_push(ad->device, ad->values);
    if (!ad->dora || ad->derived->fresh) { return FMP_OK; }
    FMP_TRY(fmp_model_ready(m, false, err));
    FMP_TRY(base_norms(m, ad, err));
    for (size_t k = 0; k < ad->n_lora; k++) {
        if (!ad->lora[k].a) { continue; }
        module_gains(m, ad, &ad->lora[k], m->layers[k / N_PROJ].w[k % N_PROJ]);
    }
    ad->derived->fresh = true;
    return FMP_OK;
}

void fmp_dora_scale_rows(const fmp_lora *lora, const float *mag, float *out)
{
    for (int64_t o = 0; o < lora->out; o++) {
        float *row = out + o * lora->in;
        double norm = sqrt(row_sq(lora->in, row));
        float gain = norm > 0.0 ? (float)(mag[o] / norm) : 0.0f;
        for (int64_t i = 0; i < lora->in; i++) {
            row[i] *= gain;
        }
    }
}
