/*
 * trainer.c: one optimizer step: begin, micro-batches, end.
 *
 * What is trained is a list of tensors (the adapter's A and B, or every parameter of the model), with
 * gradient and moments in three blocks of the same layout. Gradients of all micro-batches are summed in place
 * with 1 / (total weight of the step) already in them, so that accumulation changes no result but the order
 * of additions.
 */
#include "trainer.h"

/* The stream of the seed that names each step's dropout. */
#define DROPOUT_STREAM UINT64_C(0x64726f706f7574)

static fmp_status check_options(const fmp_train_options *o, fmp_err *err)
{
    if (o->max_tokens == 0 || o->max_tokens > (size_t)1 << 24) {
        return fmp_fail(err, FMP_E_RANGE, "max_tokens: expected 1 to 2^24, found %zu", o->max_tokens);
    }
    bool ok = o->beta1 >= 0.0f && o->beta1 < 1.0f && o->beta2 >= 0.0f && o->beta2 < 1.0f && o->eps >= 0.0f &&
              o->weight_decay >= 0.0f && o->weight_decay < INFINITY && o->clip_norm >= 0.0f;
    return ok ? FMP_OK : fmp_fail(err, FMP_E_RANGE, "an optimizer option is outside its range");
}

/* ---- the list of trained tensors ---- */

/* `at`: where its gradient and moments are in the blocks */
static fmp_status add_tensor(fmp_trainer *tr, char *name, fmp_mirror *values, fmk_f32 *w, int64_t rows,
                             int64_t cols, ptrdiff_t at, fmp_err *err)
{
    if (!name) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a tensor's name"); }
    fmp_trained *t = &tr->tensors[tr->n_tensors++];
    *t = (fmp_trained){.name = name,
                       .values = values,
                       .w = w,
                       .rows = rows,
                       .cols = cols,
                       .matrix = true,
                       .at = (size_t)at,
                       .n = (size_t)rows * (size_t)cols};
    return FMP_OK;
}

static fmp_status list_adapter(fmp_trainer *tr, fmp_err *err)
{
    const fmp_adapter *ad = tr->ad;
    tr->tensors = calloc(3 * ad->n_lora, sizeof *tr->tensors);
    tr->grad_lora = calloc(2 * ad->n_lora, sizeof *tr->grad_lora);
    tr->grad_mag = calloc(ad->n_lora, sizeof *tr->grad_mag);
    if (!tr->tensors || !tr->grad_lora || !tr->grad_mag) {
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for a trainer");
    }
    for (size_t k = 0; k < ad->n_lora; k++) {
        const fmp_lora *lora = &ad->lora[k];
        if (!lora->a) { continue; }
        /* as the values lie in the adapter, so that a group's gradients of A are one matrix too */
        const struct {
            char kind;
            fmk_f32 *w;
            int64_t rows, cols;
        } piece[] = {{'A', lora->a, ad->rank, lora->in},
                     {'B', lora->b, lora->out, ad->rank},
                     {'M', lora->mag, 1, lora->out}};
        for (int i = 0; i < (lora->mag ? 3 : 2); i++) {
            ptrdiff_t at = piece[i].w - ad->values->dev;
            char *name = fmp_peft_name(ad->model, k, piece[i].kind);
            FMP_TRY(add_tensor(tr, name, ad->values, piece[i].w, piece[i].rows, piece[i].cols, at, err));
            *(i < 2 ? &tr->grad_lora[2 * k + (size_t)i] : &tr->grad_mag[k]) = tr->g + at;
        }
        tr->tensors[tr->n_tensors - 1].matrix = !lora->mag;
    }
    return FMP_OK;
}

static fmp_status list_params(fmp_trainer *tr, fmp_err *err)
{
    fmp_model *m = tr->m;
    tr->tensors = calloc(m->n_params, sizeof *tr->tensors);
    tr->grad_param = calloc(m->n_params, sizeof *tr->grad_param);
    if (!tr->tensors || !tr->grad_param) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a trainer"); }
    ptrdiff_t at = 0;
    for (size_t i = 0; i < m->n_params; i++) {
        fmp_param *p = &m->params[i];
        FMP_TRY(add_tensor(tr, strdup(p->name), &p->values, p->values.dev, p->rows, p->cols, at, err));
        tr->tensors[i].matrix = p->is_matrix;
        tr->grad_param[i] = tr->g + at;
        at += (ptrdiff_t)fmp_param_count(p);
    }
    return FMP_OK;
}

static fmp_status take_blocks(fmp_trainer *tr, fmp_err *err)
{
    tr->n_values = tr->ad ? tr->ad->n_values : (size_t)fmp_model_n_params(tr->m);
    tr->state = calloc(3, sizeof *tr->state);
    if (!tr->state) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a trainer"); }
    for (int i = 0; i < 3; i++) {
        fmp_status status = fmp_mirror_new(tr->m->device, tr->n_values, &tr->state[i], err);
        if (status != FMP_OK) {
            (void)fmp_err_note(err, "while taking memory for the optimizer state of %zu values",
                               tr->n_values);
            return status;
        }
    }
    tr->g = tr->state[0].dev;
    tr->mom1 = tr->state[1].dev;
    tr->mom2 = tr->state[2].dev;
    return tr->m->be->alloc(tr->m->device->dev, sizeof(fmk_f64), &tr->norm_sq, err);
}

static fmp_status build(fmp_trainer *tr, fmp_err *err)
{
    FMP_TRY(take_blocks(tr, err));
    if (tr->ad) {
        FMP_TRY(fmp_model_ready(tr->m, false, err));
        FMP_TRY(list_adapter(tr, err));
    } else {
        FMP_TRY(fmp_model_unfreeze(tr->m, err));
        FMP_TRY(list_params(tr, err));
    }
    fmp_memory_plan plan;
    fmp_trainer_plan(tr->m, tr->ad, &tr->o, &plan);
    return fmp_work_new(tr->m, tr->ad, (int64_t)tr->o.max_tokens, WORK_TRAIN, fmp_trainer_lowest(tr->ad),
                        plan.n_kept, &tr->w, err);
}

fmp_status fmp_trainer_new(fmp_model *m, fmp_adapter *ad, const fmp_train_options *options, fmp_trainer **out,
                           fmp_err *err)
{
    *out = NULL;
    FMP_TRY(check_options(options, err));
    if (ad && ad->model != m) { return fmp_fail(err, FMP_E_USAGE, "the adapter was made for another model"); }
    if (m->trainable) {
        return fmp_fail(err, FMP_E_USAGE, "the model's weights are being trained by another trainer");
    }
    fmp_trainer *tr = calloc(1, sizeof *tr);
    if (!tr) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a trainer"); }
    tr->m = m;
    tr->ad = ad;
    tr->o = *options;
    tr->o.beta1 = options->beta1 > 0.0f ? options->beta1 : 0.9f;
    tr->o.beta2 = options->beta2 > 0.0f ? options->beta2 : 0.999f;
    tr->o.eps = options->eps > 0.0f ? options->eps : 1e-8f;
    fmp_status status = build(tr, err);
    if (status != FMP_OK) {
        fmp_trainer_free(tr);
        return status;
    }
    *out = tr;
    return FMP_OK;
}

void fmp_trainer_free(fmp_trainer *tr)
{
    if (!tr) { return; }
    fmp_device *d = tr->m->device;
    if (!tr->ad) { tr->m->trainable = false; }
    for (size_t i = 0; i < tr->n_tensors; i++) {
        free(tr->tensors[i].name);
    }
    free(tr->tensors);
    free(tr->grad_lora);
    free(tr->grad_mag);
    free(tr->grad_param);
    for (int i = 0; tr->state && i < 3; i++) {
        fmp_mirror_free(d, &tr->state[i]);
    }
    free(tr->state);
    if (tr->norm_sq) { d->be->free(d->dev, tr->norm_sq); }
    fmp_work_free(tr->w);
    free(tr);
}

/* ---- a step ---- */

fmp_status fmp_trainer_begin(fmp_trainer *tr, double total_weight, fmp_err *err)
{
    if (!(total_weight > 0.0 && total_weight < INFINITY)) {
        return fmp_fail(err, FMP_E_DATA, "a step needs a total weight above 0, found %g", total_weight);
    }
    if (!tr->ad) { FMP_TRY(fmp_model_ready(tr->m, false, err)); }
    FMP_TRY(fmp_adapter_ready(tr->m, tr->ad, err));
    tr->m->be->zero(tr->m->q, tr->g, tr->n_values * sizeof *tr->g);
    fmp_mirror_wrote_device(&tr->state[0]);
    tr->total_weight = total_weight;
    tr->sum = (fmp_loss){0};
    tr->n_tokens = 0;
    tr->flops = 0.0;
    tr->drop = (fmk_dev_drop){.key = fmp_rng_u64(tr->o.seed, DROPOUT_STREAM, (uint64_t)tr->step),
                              .p_65536 = tr->ad ? (uint32_t)lround(tr->ad->dropout * 65536.0) : 0};
    tr->open = true;
    return FMP_OK;
}

fmp_status fmp_trainer_micro(fmp_trainer *tr, const fmp_batch *batch, fmp_loss *loss, fmp_loss *seg_loss,
                             fmp_err *err)
{
    fmp_loss sum;
    if (!tr->open) { return fmp_fail(err, FMP_E_USAGE, "a micro-batch before fmp_trainer_begin"); }
    FMP_TRY(fmp_batch_check(tr->m, batch, err));
    if (!batch->weight || batch->n_tokens > tr->o.max_tokens) {
        return fmp_fail(err, FMP_E_RANGE, "a micro-batch needs weights and at most %zu tokens, found %zu",
                        tr->o.max_tokens, batch->n_tokens);
    }
    FMP_TRY(fmp_model_positions(tr->m,
                                tr->m->spec.max_positions < tr->o.max_tokens ? tr->m->spec.max_positions
                                                                             : (int64_t)tr->o.max_tokens,
                                err));
    fmp_work_cut(tr->m, tr->ad, (int64_t)batch->n_tokens, tr->w);
    fmp_pass p = {.m = tr->m,
                  .ad = tr->ad,
                  .w = tr->w,
                  .T = (int64_t)batch->n_tokens,
                  .n_seg = batch->n_segments,
                  .id = batch->id,
                  .seg = batch->seg,
                  .grad_param = tr->grad_param,
                  .grad_lora = tr->grad_lora,
                  .grad_mag = tr->grad_mag};
    if (tr->drop.p_65536 > 0) {
        tr->drop.n_seg = (int64_t)batch->n_segments;
        tr->drop.seg = tr->w->seg;
        tr->drop.seg_key = batch->key ? tr->w->seg_key : NULL;
        p.drop = &tr->drop;
        p.seg_key = batch->key;
    }
    fmp_pass_begin(&p);
    fmp_pass_forward(&p);
    fmp_pass_loss(&p, batch->weight, true, (float)(1.0 / tr->total_weight));
    if (tr->w->n_rows > 0) { fmp_pass_backward(&p); }
    fmp_mirror_wrote_device(&tr->state[0]);
    FMP_TRY(fmp_pass_sums(&p, &sum, seg_loss, err));
    tr->sum.nll += sum.nll;
    tr->sum.weight += sum.weight;
    tr->sum.n_labels += sum.n_labels;
    tr->sum.n_hits += sum.n_hits;
    tr->n_tokens += batch->n_tokens;
    tr->flops += fmp_trainer_flops(tr, batch, sum.n_labels);
    if (loss) { *loss = sum; }
    return FMP_OK;
}

static void update(fmp_trainer *tr, float g_scale, float lr)
{
    for (size_t i = 0; i < tr->n_tensors; i++) {
        const fmp_trained *t = &tr->tensors[i];
        tr->m->be->adamw(tr->m->q, (int64_t)t->n, t->w, tr->g + t->at, tr->mom1 + t->at, tr->mom2 + t->at,
                         g_scale, lr, tr->o.beta1, tr->o.beta2, tr->o.eps,
                         t->matrix ? tr->o.weight_decay : 0.0f, tr->step);
        fmp_mirror_wrote_device(t->values);
    }
    fmp_mirror_wrote_device(&tr->state[1]);
    fmp_mirror_wrote_device(&tr->state[2]);
    fmp_adapter_changed(tr->ad);
}

/* Of the whole gradient; waits for it. */
static fmp_status gradient_norm(fmp_trainer *tr, double *norm, fmp_err *err)
{
    const fmk_backend *be = tr->m->be;
    double sum = 0.0;
    be->sum_squares(tr->m->q, (int64_t)tr->n_values, tr->g, tr->norm_sq);
    be->download(tr->m->q, &sum, tr->norm_sq, sizeof sum);
    FMP_TRY(be->sync(tr->m->q, err));
    *norm = sqrt(sum);
    return FMP_OK;
}

fmp_status fmp_trainer_end(fmp_trainer *tr, float learning_rate, fmp_step *step, fmp_err *err)
{
    if (!tr->open) { return fmp_fail(err, FMP_E_USAGE, "fmp_trainer_end before fmp_trainer_begin"); }
    if (!(learning_rate >= 0.0f && learning_rate < INFINITY)) {
        return fmp_fail(err, FMP_E_RANGE, "the learning rate is negative or not finite");
    }
    double gap = fabs(tr->sum.weight - tr->total_weight);
    if (gap > 1e-3 * tr->total_weight) {
        return fmp_fail(err, FMP_E_USAGE,
                        "the step began with a total weight of %g, its micro-batches had %g",
                        tr->total_weight, tr->sum.weight);
    }
    tr->open = false;
    double norm = 0.0;
    FMP_TRY(gradient_norm(tr, &norm, err));
    double loss = tr->sum.nll / tr->total_weight;
    bool finite = isfinite(loss) && isfinite(norm);
    if (finite) {
        bool clip = tr->o.clip_norm > 0.0f && norm > (double)tr->o.clip_norm;
        tr->step++;
        update(tr, clip ? (float)(tr->o.clip_norm / norm) : 1.0f, learning_rate);
    }
    *step = (fmp_step){.loss = loss,
                       .grad_norm = norm,
                       .n_tokens = tr->n_tokens,
                       .n_labels = tr->sum.n_labels,
                       .flops = tr->flops,
                       .step = tr->step,
                       .applied = finite};
    return FMP_OK;
}

const float *fmp_trainer_grad(const fmp_trainer *tr, const char *name, size_t *n)
{
    fmp_err err = FMP_ERR_INIT;
    for (size_t i = 0; i < tr->n_tensors; i++) {
        if (strcmp(tr->tensors[i].name, name) == 0) {
            if (n) { *n = tr->tensors[i].n; }
            bool here = fmp_mirror_pull(tr->m->device, &tr->state[0], &err) == FMP_OK;
            return here ? tr->state[0].host + tr->tensors[i].at : NULL;
        }
    }
    return NULL;
}

fmp_status fmp_trainer_pull(const fmp_trainer *tr, fmp_err *err)
{
    for (size_t i = 0; i < tr->n_tensors; i++) {
        FMP_TRY(fmp_mirror_pull(tr->m->device, tr->tensors[i].values, err));
    }
    return FMP_OK;
}

const char *fmp_trainer_tensor(fmp_trainer *tr, size_t i, float **values, size_t *n)
{
    fmp_err err = FMP_ERR_INIT;
    if (i >= tr->n_tensors) { return NULL; }
    const fmp_trained *t = &tr->tensors[i];
    if (values) {
        if (fmp_mirror_pull(tr->m->device, t->values, &err) != FMP_OK) { return NULL; }
        *values = fmp_trained_host(t);
        t->values->lent = true; /* the caller may write */
        fmp_adapter_changed(tr->ad);
    }
    if (n) { *n = t->n; }
    return t->name;
}
