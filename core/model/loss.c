/*
 * loss.c: final norm, head and cross-entropy, for labelled rows only; evaluation and logits.
 *
 * Token t with weight > 0 is predicted from row t - 1 of its segment. Those rows are gathered, so that
 * neither norm nor head is computed where there is no label, and their gradient is scattered back.
 */
#include "internal.h"

static void gather(fmp_pass *p, const float *weight, int64_t *n_rows)
{
    fmp_work *w = p->w;
    int64_t C = p->m->spec.n_channels, n = 0;
    const float *x = w->x[p->m->spec.n_layers];
    for (int64_t t = 1; t < p->T; t++) {
        if (!(weight[t] > 0.0f)) { continue; }
        w->row[n] = (uint32_t)(t - 1);
        w->label[n] = p->id[t];
        w->w_lab[n] = weight[t];
        memcpy(w->x_lab + n * C, x + (t - 1) * C, (size_t)C * sizeof *x);
        n++;
    }
    *n_rows = n;
}

/* f64 sums in row order */
static void sum_losses(const fmp_pass *p, int64_t n, fmp_loss *loss, fmp_loss *seg_loss)
{
    const fmp_work *w = p->w;
    size_t s = 0;
    memset(loss, 0, sizeof *loss);
    if (seg_loss) { memset(seg_loss, 0, p->n_seg * sizeof *seg_loss); }
    for (int64_t i = 0; i < n; i++) {
        while (w->row[i] + 1 >= p->seg[s + 1]) {
            s++;
        }
        double nll = (double)w->w_lab[i] * w->nll[i];
        fmp_loss *to[2] = {loss, seg_loss ? &seg_loss[s] : NULL};
        for (int k = 0; k < 2 && to[k]; k++) {
            to[k]->nll += nll;
            to[k]->weight += w->w_lab[i];
            to[k]->n_labels++;
            to[k]->n_hits += w->hit[i];
        }
    }
}

static float *grad_or_null(const fmp_pass *p, const fmp_param *param)
{
    return p->grad_param ? p->grad_param[param - p->m->params] : NULL;
}

static void head_backward(fmp_pass *p, int64_t n)
{
    fmp_model *m = p->m;
    fmp_work *w = p->w;
    int64_t C = m->spec.n_channels;
    memset(w->dx_lab, 0, (size_t)(n * C) * sizeof(float));
    fmp_norm_backward(m, n, C, w->x_lab, m->norm, w->rstd_lab, w->dn_lab, w->dx_lab,
                      grad_or_null(p, m->norm));
    memset(w->dx, 0, (size_t)(p->T * C) * sizeof(float));
    for (int64_t i = 0; i < n; i++) {
        memcpy(w->dx + (int64_t)w->row[i] * C, w->dx_lab + i * C, (size_t)C * sizeof(float));
    }
}

void fmp_pass_loss(fmp_pass *p, const float *weight, bool want_grad, float grad_scale, fmp_loss *loss,
                   fmp_loss *seg_loss)
{
    fmp_model *m = p->m;
    fmp_work *w = p->w;
    int64_t n = 0, C = m->spec.n_channels;
    gather(p, weight, &n);
    fmp_norm_forward(m, n, C, w->x_lab, m->norm, w->n_lab, w->rstd_lab);
    if (m->head->packed && fmp_model_is_bf16(m)) {
        fmk_xent_packed(m->ctx, n, w->n_lab, m->head->packed, w->label, w->w_lab, grad_scale,
                        (float)m->spec.logit_softcap, w->nll, w->hit, want_grad ? w->dn_lab : NULL);
    } else {
        fmk_xent(m->ctx, n, C, m->spec.vocab_size, w->n_lab, fmp_param_view(m->head), w->label, w->w_lab,
                 grad_scale, (float)m->spec.logit_softcap, fmp_model_is_bf16(m), w->nll, w->hit,
                 want_grad ? w->dn_lab : NULL, want_grad ? grad_or_null(p, m->head) : NULL);
    }
    sum_losses(p, n, loss, seg_loss);
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
    fmp_pass_positions(p);
    fmp_pass_forward(p);
    return FMP_OK;
}

fmp_status fmp_model_eval(fmp_model *m, const fmp_adapter *ad, const fmp_batch *batch, fmp_loss *loss,
                          fmp_loss *seg_loss, fmp_err *err)
{
    fmp_pass p;
    if (!batch->weight) { return fmp_fail(err, FMP_E_DATA, "a batch to evaluate needs weights"); }
    FMP_TRY(forward_only(m, ad, batch, false, &p, err));
    fmp_pass_loss(&p, batch->weight, false, 0.0f, loss, seg_loss);
    return FMP_OK;
}

fmp_status fmp_model_logits(fmp_model *m, const fmp_adapter *ad, const fmp_batch *batch, float *logits,
                            fmp_err *err)
{
    fmp_pass p;
    FMP_TRY(forward_only(m, ad, batch, true, &p, err));
    fmp_work *w = p.w;
    fmp_norm_forward(m, p.T, m->spec.n_channels, w->x[m->spec.n_layers], m->norm, w->n_lab, w->rstd_lab);
    fmp_head_forward(m, p.T, w->n_lab, logits);
    return FMP_OK;
}
