/*
 * adapter.c: LoRA (Hu et al. 2021), y += scale * B (A x) beside frozen linear layers: which, and its start.
 * rslora: Kalajdzievski 2023. DoRA's magnitudes are in dora.c.
 */
#include "internal.h"

#include <fnmatch.h>

static void module_path(const fmp_model *m, size_t l, fmp_proj p, char out[96])
{
    (void)snprintf(out, 96, "model.layers.%zu.%s", l, fmp_proj_path(&m->spec, p));
}

/* PEFT's rule: a target is the whole path, or what follows a dot in it; or a glob of the whole path. */
static bool matches(const char *target, const char *path)
{
    if (strcmp(target, "all-linear") == 0) { return true; }
    if (strpbrk(target, "*?[")) { return fnmatch(target, path, 0) == 0; }
    size_t n = strlen(target), len = strlen(path);
    return n > 0 && n <= len && strcmp(path + len - n, target) == 0 && (n == len || path[len - n - 1] == '.');
}

fmp_status fmp_adapter_match(const fmp_model *m, const char *const *targets, size_t n, bool *on, fmp_err *err)
{
    if (n == 0) { return fmp_fail(err, FMP_E_CONFIG, "an adapter needs at least one target"); }
    for (size_t i = 0; i < n; i++) {
        bool found = false;
        for (size_t k = 0; k < (size_t)m->spec.n_layers * N_PROJ; k++) {
            char path[96];
            if (!fmp_proj_has(m, k / N_PROJ, (fmp_proj)(k % N_PROJ))) { continue; }
            module_path(m, k / N_PROJ, (fmp_proj)(k % N_PROJ), path);
            bool hit = matches(targets[i], path);
            on[k] = on[k] || hit;
            found = found || hit;
        }
        if (!found) {
            (void)fmp_fail(err, FMP_E_CONFIG, "target '%.96s' matches no linear layer", targets[i]);
            (void)fmp_err_hint(err, "the names are %s",
                               m->spec.fused
                                   ? "qkv_proj, o_proj, gate_up_proj, down_proj"
                                   : "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj");
            return FMP_E_CONFIG;
        }
    }
    return FMP_OK;
}

/* Names that PEFT understands: a glob or "all-linear" becomes the paths it matched. */
static fmp_status name_targets(fmp_adapter *ad, const fmp_adapter_options *o, const bool *on, fmp_err *err)
{
    bool plain = true;
    for (size_t i = 0; i < o->n_targets; i++) {
        plain = plain && !strpbrk(o->targets[i], "*?[") && strcmp(o->targets[i], "all-linear") != 0;
    }
    size_t most = o->n_targets > ad->n_lora ? o->n_targets : ad->n_lora;
    ad->targets = calloc(most, sizeof *ad->targets);
    if (!ad->targets) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for an adapter"); }
    for (size_t i = 0; i < (plain ? o->n_targets : ad->n_lora); i++) {
        char path[96];
        module_path(ad->model, i / N_PROJ, (fmp_proj)(i % N_PROJ), path);
        if (!plain && !on[i]) { continue; }
        char *name = strdup(plain ? o->targets[i] : path);
        if (!name) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for an adapter"); }
        ad->targets[ad->n_targets++] = name;
    }
    return FMP_OK;
}

static fmp_status take_values(fmp_adapter *ad, const bool *on, fmp_err *err)
{
    const fmp_model *m = ad->model;
    size_t R = ad->rank;
    for (size_t k = 0; k < ad->n_lora; k++) {
        if (!on[k]) { continue; }
        ad->lora[k].in = fmp_proj_in(m, k / N_PROJ, (fmp_proj)(k % N_PROJ));
        ad->lora[k].out = fmp_proj_out(m, k / N_PROJ, (fmp_proj)(k % N_PROJ));
        ad->n_values += R * (size_t)(ad->lora[k].in + ad->lora[k].out);
        ad->n_values += ad->dora ? (size_t)ad->lora[k].out : 0;
    }
    ad->values = calloc(1, sizeof *ad->values);
    if (!ad->values) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for an adapter"); }
    FMP_TRY(fmp_mirror_new(ad->device, ad->n_values, ad->values, err));
    fmk_f32 *at = ad->values->dev;
    for (size_t i = 0; i < (size_t)m->spec.n_layers * N_GROUP; i++) {
        size_t first = i / N_GROUP * N_PROJ + (size_t)fmp_group_first[i % N_GROUP];
        size_t end = i / N_GROUP * N_PROJ + (size_t)fmp_group_first[i % N_GROUP + 1];
        for (size_t k = first; k < end; k++) {
            if (on[k]) { ad->lora[k].a = at; }
            at += on[k] ? R * (size_t)ad->lora[k].in : 0;
        }
        for (size_t k = first; k < end; k++) {
            if (on[k]) { ad->lora[k].b = at; }
            at += on[k] ? R * (size_t)ad->lora[k].out : 0;
        }
    }
    for (size_t k = 0; ad->dora && k < ad->n_lora; k++) {
        if (on[k]) { ad->lora[k].mag = at; }
        at += on[k] ? ad->lora[k].out : 0;
    }
    return FMP_OK;
}

fmp_status fmp_adapter_alloc(const fmp_model *m, const fmp_adapter_options *o, const bool *on,
                             fmp_adapter **out, fmp_err *err)
{
    *out = NULL;
    if (o->rank < 1 || o->rank > 1024) {
        return fmp_fail(err, FMP_E_RANGE, "rank: expected 1 to 1024, found %u", o->rank);
    }
    if (!(o->alpha > 0.0 && o->alpha < 1e6)) {
        return fmp_fail(err, FMP_E_RANGE, "alpha: expected a number above 0");
    }
    if (!(o->dropout >= 0.0 && o->dropout <= FMP_MAX_DROPOUT)) {
        return fmp_fail(err, FMP_E_RANGE, "dropout: expected 0 to %g", FMP_MAX_DROPOUT);
    }
    fmp_adapter *ad = calloc(1, sizeof *ad);
    if (!ad) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for an adapter"); }
    *ad = (fmp_adapter){.model = m,
                        .device = fmp_device_keep(m->device),
                        .rank = o->rank,
                        .alpha = o->alpha,
                        .dropout = o->dropout,
                        .rslora = o->rslora,
                        .dora = o->dora};
    ad->scale = (float)(o->alpha / (o->rslora ? sqrt(o->rank) : (double)o->rank));
    ad->n_lora = (size_t)m->spec.n_layers * N_PROJ;
    ad->lora = calloc(ad->n_lora, sizeof *ad->lora);
    fmp_status status =
        ad->lora ? take_values(ad, on, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory for an adapter");
    if (status == FMP_OK) { status = name_targets(ad, o, on, err); }
    if (status == FMP_OK) { status = fmp_dora_new(ad, err); }
    if (status != FMP_OK) {
        fmp_adapter_free(ad);
        return status;
    }
    *out = ad;
    return FMP_OK;
}

fmp_status fmp_adapter_new(fmp_model *m, const fmp_adapter_options *o, fmp_adapter **out, fmp_err *err)
{
    *out = NULL;
    bool *on = calloc((size_t)m->spec.n_layers * N_PROJ, sizeof *on);
    if (!on) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for an adapter"); }
    fmp_status status = fmp_adapter_match(m, o->targets, o->n_targets, on, err);
    if (status == FMP_OK) { status = fmp_adapter_alloc(m, o, on, out, err); }
    free(on);
    FMP_TRY(status);
    for (size_t k = 0; k < (*out)->n_lora; k++) {
        fmp_lora *lora = &(*out)->lora[k];
        double bound = lora->a ? 1.0 / sqrt((double)lora->in) : 0.0;
        float *a = lora->a ? fmp_adapter_host(*out, lora->a) : NULL;
        for (size_t i = 0; a && i < (size_t)lora->in * o->rank; i++) {
            a[i] = (float)(bound * (2.0 * fmp_rng_unit(o->seed, k, i) - 1.0));
        }
    }
    fmp_mirror_wrote_host((*out)->values);
    status = fmp_dora_start(m, *out, err);
    if (status != FMP_OK) {
        fmp_adapter_free(*out);
        *out = NULL;
    }
    return status;
}

fmp_status fmp_adapter_set_dropout(fmp_adapter *ad, double dropout, fmp_err *err)
{
    if (!(dropout >= 0.0 && dropout <= FMP_MAX_DROPOUT)) {
        return fmp_fail(err, FMP_E_RANGE, "dropout: expected 0 to %g", FMP_MAX_DROPOUT);
    }
    ad->dropout = dropout;
    return FMP_OK;
}

void fmp_adapter_free(fmp_adapter *ad)
{
    if (!ad) { return; }
    for (size_t i = 0; i < ad->n_targets; i++) {
        free(ad->targets[i]);
    }
    fmp_dora_free(ad);
    free(ad->targets);
    free(ad->lora);
    if (ad->values) { fmp_mirror_free(ad->device, ad->values); }
    free(ad->values);
    fmp_device_drop(ad->device);
    free(ad);
}

uint64_t fmp_adapter_n_params(const fmp_adapter *ad)
{
    return ad->n_values;
}

/* merged (out,in) on the device += scale B A; tmp (out,R) */
static fmp_status add_product(const fmp_adapter *ad, const fmp_lora *lora, fmk_f32 *merged, fmk_f32 *tmp,
                              fmp_err *err)
{
    const fmk_backend *be = ad->device->be;
    fmk_stream *q = ad->device->q;
    size_t row = ad->rank * sizeof *tmp;
    fmp_mirror_push(ad->device, ad->values);
    be->copy_rows(q, lora->out, row, lora->b, row, tmp, row);
    be->scale(q, lora->out * ad->rank, ad->scale, tmp);
    const fmk_mm mm = {.M = lora->out,
                       .N = lora->in,
                       .K = ad->rank,
                       .lda = ad->rank,
                       .ldb = lora->in,
                       .ldc = lora->in,
                       .beta = 1.0f};
    be->matmul(q, &mm, tmp, lora->a, merged);
    return be->sync(q, err);
}

fmp_status fmp_lora_merge(const fmp_adapter *ad, const fmp_lora *lora, float *out, fmp_err *err)
{
    fmp_device *d = ad->device;
    fmp_mirror merged;
    void *tmp = NULL;
    FMP_TRY(fmp_mirror_of(d, out, (size_t)(lora->out * lora->in), &merged, err));
    fmp_mirror_push(d, &merged);
    fmp_status status = d->be->alloc(d->dev, (size_t)lora->out * ad->rank * sizeof(fmk_f32), &tmp, err);
    if (status == FMP_OK) { status = add_product(ad, lora, merged.dev, tmp, err); }
    fmp_mirror_wrote_device(&merged);
    if (status == FMP_OK) { status = fmp_mirror_pull(d, &merged, err); }
    if (status == FMP_OK && lora->mag) { status = fmp_mirror_pull(d, ad->values, err); }
    if (status == FMP_OK && lora->mag) { fmp_dora_scale_rows(lora, fmp_adapter_host(ad, lora->mag), out); }
    d->be->free(d->dev, tmp);
    fmp_mirror_free(d, &merged);
    return status;
}
