/*
 * loss.c: final norm, head and cross-entropy, for labelled rows only; evaluation and logits.
 *
 * Token t with weight > 0 is predicted from row t - 1 of its segment. Those rows are gathered, so that
 * neither norm nor head is computed where there is no label, and their gradient is scattered back.
 */
#include "internal.h"

/* Which rows, their labels and weights: to the device, with the rows of x that they name. */
static void gather(fmp_pass *p, const float *weight)
{
    fmp_work *w = p->w;
    const fmp_staging *host = &w->staging;
    const fmk_backend *be = p->m->be;
    size_t n = 0;
    for (int64_t t = 1; t < p->T; t++) {
        if (!(weight[t] > 0.0f)) { continue; }
        host->row[n] = (uint32_t)(t - 1);
        host->label[n] = p->id[t];
        host->w_lab[n] = weight[t];
        n++;
    }
    w->n_rows = n;
    be->upload(p->m->q, w->row, host->row, n * sizeof *host->row);
    be->upload(p->m->q, w->label, host->label, n * sizeof *host->label);
    be->upload(p->m->q, w->w_lab, host->w_lab, n * sizeof *host->w_lab);
    be->embed_fwd(p->m->q, (int64_t)n, p->m->spec.n_channels, w->x[p->m->spec.n_layers], w->row, w->x_lab);
}

/* f64 sums in row order */
fmp_status fmp_pass_sums(fmp_pass *p, fmp_loss *loss, fmp_loss *seg_loss, fmp_err *err)
{
    const fmp_staging *host = &p->w->staging;
    size_t s = 0;
    memset(loss, 0, sizeof *loss);
    if (seg_loss) { memset(seg_loss, 0, p->n_seg * sizeof *seg_loss); }
    FMP_TRY(p->m->be->sync(p->m->q, err));
    for (size_t i = 0; i < p->w->n_rows; i++) {
        while (host->row[i] + 1 >= p->seg[s + 1]) {
            s++;
        }
        double nll = (double)host->w_lab[i] * host->nll[i];
        fmp_loss *to[2] = {loss, seg_loss ? &seg_loss[s] : NULL};
        for (int k = 0; k < 2 && to[k]; k++) {
            to[k]->nll += nll;
            to[k]->weight += host->w_lab[i];
            to[k]->n_labels++;
            to[k]->n_hits += host->hit[i];
        }
    }
    return FMP_OK;
}

static fmk_f32 *grad_or_null(const fmp_pass *p, const fmp_param *param)
{
    return p->grad_param ? p->grad_param[param - p->m->params] : NULL;
}

static void head_backward(fmp_pass *p, int64_t n)
{
    fmp_model *m = p->m;
    fmp_work *w = p->w;
    int64_t C = m->spec.n_channels;
    m->be->zero(m->q, w->dx_lab, (size_t)(n * C) * sizeof *w->dx_lab);
    fmp_norm_backward(m, n, C, w->x_lab, m->norm, w->rstd_lab, w->dn_lab, w->dx_lab,
                      grad_or_null(p, m->norm));
    m->be->zero(m->q, w->dx, (size_t)(p->T * C) * sizeof *w->dx);
    m->be->scatter_rows(m->q, n, C, w->dx_lab, w->row, w->dx);
}

void fmp_pass_loss(fmp_pass *p, const float *weight, bool want_grad, float grad_scale)
{
    fmp_model *m = p->m;
    fmp_work *w = p->w;
    gather(p, weight);
    int64_t n = (int64_t)w->n_rows, C = m->spec.n_channels;
    fmp_norm_forward(m, n, C, w->x_lab, m->norm, w->n_lab, w->rstd_lab);
    if (m->head->packed && fmp_model_is_bf16(m)) {
        m->be->xent_packed(m->q, n, w->n_lab, m->head->packed, w->label, w->w_lab, grad_scale,
                           (float)m->spec.logit_softcap, w->nll, w->hit, want_grad ? w->dn_lab : NULL);
    } else {
        m->be->xent(m->q, n, C, m->spec.vocab_size, w->n_lab, fmp_param_view(m->head), w->label, w->w_lab,
                    grad_scale, (float)m->spec.logit_softcap, fmp_model_is_bf16(m), w->nll, w->hit,
                    want_grad ? w->dn_lab : NULL, want_grad ? grad_or_null(p, m->head) : NULL);
    }
    m->be->download(m->q, w->staging.nll, w->nll, w->n_rows * sizeof *w->nll);
    m->be->download(m->q, w->staging.hit, w->hit, w->n_rows * sizeof *w->hit);
    if (want_grad) { head_backward(p, n); }
}

/* Checks, tables and memory of a pass without gradients, then the pass. */
static fmp_status forward_only(fmp_model *m, const fmp_adapter *ad, const fmp_batch *b, bool head,
                               fmp_pass *p, fmp_err *err)
{
    FMP_TRY(fmp_batch_check(m, b, err));
    FMP_TRY(fmp_model_ready(m, head, err));
    *p = (fmp_pass){
        .m = m, .ad = ad, .T = (int64_t)b->n_tokens, .n_seg = b->n_segments, .id = b->id, .seg = b->seg};
    FMP_TRY(fmp_work_shared(m, ad, p->T, &p->w, err));
    uint32_t longest = 0;
    for (size_t s = 0; s < b->n_segments; s++) {
        longest = b->seg[s + 1] - b->seg[s] > longest ? b->seg[s + 1] - b->seg[s] : longest;
    }
    FMP_TRY(fmp_model_positions(m, longest, err));
    fmp_pass_begin(p);
    fmp_pass_forward(p);
    return FMP_OK;
}

fmp_status fmp_model_eval(fmp_model *m, const fmp_adapter *ad, const fmp_batch *batch, fmp_loss *loss,
                          fmp_loss *seg_loss, fmp_err *err)
{
    fmp_pass p;
    if (!batch->weight) { return fmp_fail(err, FMP_E_DATA, "a batch to evaluate needs weights"); }
    FMP_TRY(forward_only(m, ad, batch, false, &p, err));
    fmp_pass_loss(&p, batch->weight, false, 0.0f);
    return fmp_pass_sums(&p, loss, seg_loss, err);
}

fmp_status fmp_model_logits(fmp_model *m, const fmp_adapter *ad, const fmp_batch *batch, float *logits,
                            fmp_err *err)
{
    fmp_pass p;
    fmp_mirror out;
    FMP_TRY(forward_only(m, ad, batch, true, &p, err));
    fmp_work *w = p.w;
    fmp_norm_forward(m, p.T, m->spec.n_channels, w->x[m->spec.n_layers], m->norm, w->n_lab, w->rstd_lab);
    FMP_TRY(fmp_mirror_of(m->device, logits, (size_t)p.T * m->spec.vocab_size, &out, err));
    fmp_head_forward(m, p.T, w->n_lab, out.dev);
    fmp_mirror_wrote_device(&out);
    fmp_status status = fmp_mirror_pull(m->device, &out, err);
    fmp_mirror_free(m->device, &out);
    return status;
}
