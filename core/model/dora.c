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
    double *base_sq; /* squared norms of the base's rows, module after module */
    float *gain, *inv_norm;
    bool known; /* base_sq */
    bool fresh; /* gain and inv_norm */
} fmp_dora;

fmp_status fmp_dora_new(fmp_adapter *ad, fmp_err *err)
{
    if (!ad->dora) { return FMP_OK; }
    size_t n = 0;
    for (size_t k = 0; k < ad->n_lora; k++) {
        n += ad->lora[k].a ? (size_t)ad->lora[k].out : 0;
    }
    fmp_dora *d = ad->derived = calloc(1, sizeof *d);
    if (d) {
        d->base_sq = calloc(n, sizeof *d->base_sq);
        d->gain = calloc(n, sizeof *d->gain);
        d->inv_norm = calloc(n, sizeof *d->inv_norm);
    }
    if (!d || !d->base_sq || !d->gain || !d->inv_norm) {
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for an adapter");
    }
    n = 0;
    for (size_t k = 0; k < ad->n_lora; k++) {
        fmp_lora *lora = &ad->lora[k];
        if (!lora->a) { continue; }
        lora->base_sq = d->base_sq + n;
        lora->gain = d->gain + n;
        lora->inv_norm = d->inv_norm + n;
        n += (size_t)lora->out;
    }
    return FMP_OK;
}

void fmp_dora_free(fmp_adapter *ad)
{
    if (!ad->derived) { return; }
    free(ad->derived->base_sq);
    free(ad->derived->gain);
    free(ad->derived->inv_norm);
    free(ad->derived);
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
static fmp_status base_norms(const fmp_model *m, const fmp_adapter *ad, fmp_err *err)
{
    for (size_t k = 0; k < ad->n_lora && !ad->derived->known; k++) {
        const fmp_lora *lora = &ad->lora[k];
        if (!lora->a) { continue; }
        const fmp_param *w = m->layers[k / N_PROJ].w[k % N_PROJ];
        float *copy = w->own ? NULL : malloc(fmp_param_count(w) * sizeof *copy);
        if (!w->own && !copy) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for tensor %s", w->name); }
        if (copy) { fmp_tensor_to_f32(w->src, copy); }
        const float *values = copy ? copy : w->own;
        for (int64_t o = 0; o < lora->out; o++) {
            lora->base_sq[o] = row_sq(lora->in, values + o * lora->in);
        }
        free(copy);
    }
    ad->derived->known = true;
    return FMP_OK;
}

fmp_status fmp_dora_start(fmp_model *m, fmp_adapter *ad, fmp_err *err)
{
    if (!ad->dora) { return FMP_OK; }
    FMP_TRY(base_norms(m, ad, err));
    for (size_t k = 0; k < ad->n_lora; k++) {
        const fmp_lora *lora = &ad->lora[k];
        for (int64_t o = 0; lora->a && o < lora->out; o++) {
            lora->mag[o] = (float)sqrt(lora->base_sq[o]);
        }
    }
    fmp_adapter_changed(ad);
    return FMP_OK;
}

/* Products of one module. */
typedef struct scratch {
    float *aw;  /* (R,out) A W^T      */
    float *aa;  /* (R,R)   A A^T      */
    float *baa; /* (out,R) B A A^T    */
} scratch;

static void module_products(fmp_model *m, const fmp_adapter *ad, const fmp_lora *lora, const fmp_param *w,
                            const scratch *s)
{
    int64_t R = ad->rank, in = lora->in, out = lora->out;
    if (w->packed) {
        fmk_matmul_packed(m->ctx, R, lora->a, w->packed, 0.0f, s->aw);
    } else {
        const fmk_mm mm = {.M = R, .N = out, .K = in, .tb = true, .lda = in, .ldb = in, .ldc = out};
        fmk_matmul(m->ctx, &mm, lora->a, fmp_param_view(w), s->aw);
    }
    fmk_mm mm = {.M = R, .N = R, .K = in, .tb = true, .lda = in, .ldb = in, .ldc = R};
    fmk_matmul(m->ctx, &mm, lora->a, lora->a, s->aa);
    mm = (fmk_mm){.M = out, .N = R, .K = R, .lda = R, .ldb = R, .ldc = R};
    fmk_matmul(m->ctx, &mm, lora->b, s->aa, s->baa);
}

/* A row of zeros has no direction: nothing is scaled, nothing is learned. */
static void set_gain(const fmp_lora *lora, int64_t o, double sq)
{
    float norm = sq > 0.0 ? (float)sqrt(sq) : 0.0f;
    lora->gain[o] = norm > 0.0f ? lora->mag[o] / norm : 0.0f;
    lora->inv_norm[o] = norm > 0.0f ? 1.0f / norm : 0.0f;
}

static void module_gains(const fmp_adapter *ad, const fmp_lora *lora, const scratch *s)
{
    double scale = ad->scale;
    int64_t R = ad->rank;
    for (int64_t o = 0; o < lora->out; o++) {
        const float *b = lora->b + o * R, *baa = s->baa + o * R; /* (R) */
        double cross = 0.0, own = 0.0;
        for (int64_t r = 0; r < R; r++) {
            cross += (double)b[r] * s->aw[r * lora->out + o];
            own += (double)b[r] * baa[r];
        }
        set_gain(lora, o, lora->base_sq[o] + 2.0 * scale * cross + scale * scale * own);
    }
}

fmp_status fmp_adapter_ready(fmp_model *m, const fmp_adapter *ad, fmp_err *err)
{
    if (!ad || !ad->dora || ad->derived->fresh) { return FMP_OK; }
    FMP_TRY(fmp_model_ready(m, false, err));
    FMP_TRY(base_norms(m, ad, err));
    size_t widest = 0, R = ad->rank;
    for (size_t k = 0; k < ad->n_lora; k++) {
        size_t out = ad->lora[k].a ? (size_t)ad->lora[k].out : 0;
        widest = out > widest ? out : widest;
    }
    float *block = malloc((2 * R * widest + R * R) * sizeof *block);
    if (!block) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for the norms of an adapter"); }
    const scratch s = {.aw = block, .baa = block + R * widest, .aa = block + 2 * R * widest};
    for (size_t k = 0; k < ad->n_lora; k++) {
        if (!ad->lora[k].a) { continue; }
        module_products(m, ad, &ad->lora[k], m->layers[k / N_PROJ].w[k % N_PROJ], &s);
        module_gains(ad, &ad->lora[k], &s);
    }
    free(block);
    ad->derived->fresh = true;
    return FMP_OK;
}

void fmp_dora_scale_rows(const fmp_lora *lora, float *out)
{
    for (int64_t o = 0; o < lora->out; o++) {
        float *row = out + o * lora->in;
        double norm = sqrt(row_sq(lora->in, row));
        float gain = norm > 0.0 ? (float)(lora->mag[o] / norm) : 0.0f;
        for (int64_t i = 0; i < lora->in; i++) {
            row[i] *= gain;
        }
    }
}
