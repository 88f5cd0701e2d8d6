/*
 * backward.c: gradients of a pass, from the last layer's output down to the lowest trained layer.
 *
 * What a LoRA run does not need is not computed: nothing for frozen weights, nothing below layer w->first,
 * and in that layer nothing below its lowest adapted projection.
 */
#include "internal.h"

/* Where the gradient of a parameter is summed, or NULL. */
static fmk_f32 *grad_of(const fmp_pass *p, const fmp_param *param)
{
    return param && p->grad_param ? p->grad_param[param - p->m->params] : NULL;
}

void fmp_norm_backward(const fmp_model *m, int64_t T, int64_t C, const fmk_f32 *x, const fmp_param *g,
                       const fmk_f32 *rstd, const fmk_f32 *dy, fmk_f32 *dx, fmk_f32 *dg)
{
    float offset = m->spec.norm_plus_one ? 1.0f : 0.0f;
    m->be->rmsnorm_bwd(m->q, T, C, offset, x, fmp_param_view(g), rstd, dy, dx, dg);
}

/* dx += the gradient through a norm, or dy itself where there is none */
static void norm_or_same_backward(fmp_pass *p, const fmp_param *g, const fmk_f32 *x, const fmk_f32 *rstd,
                                  const fmk_f32 *dy, fmk_f32 *dx)
{
    int64_t C = p->m->spec.n_channels;
    if (g) {
        fmp_norm_backward(p->m, p->T, C, x, g, rstd, dy, dx, grad_of(p, g));
    } else {
        p->m->be->add(p->m->q, p->T * C, dy, dx);
    }
}

/* The gradient of what a unit's last projection made: w->dx, or what a norm after it lets through. */
static const fmk_f32 *post_backward(fmp_pass *p, const fmp_param *post, const fmk_f32 *y, const fmk_f32 *rstd)
{
    int64_t C = p->m->spec.n_channels;
    if (!post) { return p->w->dx; }
    p->m->be->zero(p->m->q, p->w->y, (size_t)(p->T * C) * sizeof *p->w->y);
    fmp_norm_backward(p->m, p->T, C, y, post, rstd, p->w->dx, p->w->y, grad_of(p, post));
    return p->w->y;
}

static bool trains_weights(const fmp_pass *p)
{
    return p->grad_param != NULL;
}

/* du (T,n*R), the columns of this projection = dy B; db += dy^T u */
static void lora_backward(fmp_pass *p, size_t l, fmp_group g, fmp_proj proj, const fmk_f32 *dy)
{
    const fmp_lora *lora = fmp_adapter_at(p->ad, l, proj);
    if (!lora) { return; }
    size_t first = 0;
    int64_t R = p->ad->rank, n = fmp_group_count(p->ad, l, g, &first), out = lora->out;
    int64_t column = (lora->a - p->ad->lora[first].a) / lora->in;
    bool bf16 = fmp_model_is_bf16(p->m);
    fmk_mm mm = {.M = p->T, .N = R, .K = out, .lda = out, .ldb = R, .ldc = n * R, .bf16 = bf16};
    p->m->be->matmul(p->m->q, &mm, dy, lora->b, p->w->du + column);
    mm = (fmk_mm){.M = out,
                  .N = R,
                  .K = p->T,
                  .ta = true,
                  .lda = out,
                  .ldb = n * R,
                  .ldc = R,
                  .beta = 1.0f,
                  .bf16 = bf16};
    fmk_f32 *db = p->grad_lora[2 * (l * N_PROJ + (size_t)proj) + 1];
    p->m->be->matmul(p->m->q, &mm, dy, fmp_work_acts(p->w, l)->u[g] + column, db);
}

/* da (n*R,in) += scale * du^T x; dx (T,in) += scale * du A, NULL: not wanted */
static void lora_input_backward(fmp_pass *p, size_t l, fmp_group g, const fmk_f32 *x, fmk_f32 *dx)
{
    size_t first = 0;
    int64_t n = fmp_group_count(p->ad, l, g, &first);
    if (n == 0) { return; }
    const fmk_backend *be = p->m->be;
    fmk_stream *q = p->m->q;
    const fmp_lora *lora = &p->ad->lora[first];
    int64_t nR = n * p->ad->rank, in = lora->in;
    bool bf16 = fmp_model_is_bf16(p->m);
    be->scale(q, p->T * nR, p->ad->scale, p->w->du);
    fmk_mm mm = {
        .M = nR, .N = in, .K = p->T, .ta = true, .lda = nR, .ldb = in, .ldc = in, .beta = 1.0f, .bf16 = bf16};
    be->matmul(q, &mm, p->w->du, fmp_lora_source(p, l, g, in, x), p->grad_lora[2 * first]);
    if (!dx) { return; }
    mm = (fmk_mm){.M = p->T, .N = in, .K = nR, .lda = nR, .ldb = in, .ldc = in, .bf16 = bf16};
    mm.beta = p->drop ? 0.0f : 1.0f;
    be->matmul(q, &mm, p->w->du, lora->a, p->drop ? p->w->xd : dx);
    if (!p->drop) { return; }
    const fmk_dev_drop d = fmp_drop_at(p, l, g);
    be->dropout(q, &d, p->T, in, p->w->xd, true, dx);
}

static void weight_backward(fmp_pass *p, const fmp_param *w, const fmk_f32 *x, const fmk_f32 *dy, bool add,
                            fmk_f32 *dx)
{
    const fmk_backend *be = p->m->be;
    fmk_stream *q = p->m->q;
    bool bf16 = fmp_model_is_bf16(p->m);
    fmk_f32 *dw = grad_of(p, w);
    if (dw) {
        const fmk_mm mm = {.M = w->rows,
                           .N = w->cols,
                           .K = p->T,
                           .ta = true,
                           .lda = w->rows,
                           .ldb = w->cols,
                           .ldc = w->cols,
                           .beta = 1.0f,
                           .bf16 = bf16};
        be->matmul(q, &mm, dy, x, dw);
    }
    if (!dx) { return; }
    if (w->packed) {
        be->matmul_packed_bwd(q, p->T, dy, w->packed, add ? 1.0f : 0.0f, dx);
        return;
    }
    const fmk_mm mm = {.M = p->T,
                       .N = w->cols,
                       .K = w->rows,
                       .lda = w->rows,
                       .ldb = w->cols,
                       .ldc = w->cols,
                       .beta = add ? 1.0f : 0.0f,
                       .bf16 = bf16};
    be->matmul(q, &mm, dy, fmp_param_view(w), dx);
}

/* The gradient of x W^T + LoRA, given that of the projection: dy itself, or with DoRA w->dz, gain * dy. */
static const fmk_f32 *dora_backward(fmp_pass *p, size_t l, fmp_proj proj, const fmk_f32 *dy)
{
    const fmp_lora *lora = fmp_adapter_at(p->ad, l, proj);
    if (!lora || !lora->mag) { return dy; }
    p->m->be->dora_bwd(p->m->q, p->T, lora->out, fmp_work_acts(p->w, l)->z[proj], lora->gain, lora->inv_norm,
                       dy, p->w->dz, p->grad_mag[l * N_PROJ + (size_t)proj]);
    return p->w->dz;
}

/* The group at once, each dy rounded once for all products; false: nothing was done. */
static bool shared_backward(fmp_pass *p, size_t l, fmp_group g, const fmk_f32 *x, const fmk_f32 *const *dy,
                            fmk_f32 *dx)
{
    fmp_lora_group group;
    size_t first = 0;
    if (!fmp_lora_shared(p, l, g, x, &group)) { return false; }
    (void)fmp_group_count(p->ad, l, g, &first);
    for (int i = 0; i < group.l.n; i++) {
        size_t k = l * N_PROJ + (size_t)((int)fmp_group_first[g] + group.place[i]);
        group.proj[i].dy = dy[group.place[i]];
        group.proj[i].db = p->grad_lora[2 * k + 1];
    }
    group.l.x_lora = fmp_lora_source(p, l, g, group.l.K, x);
    fmk_f32 *part = p->drop && dx ? p->w->xd : NULL; /* may be what x_lora was: read by then */
    p->m->be->lora_bwd(p->m->q, &group.l, fmp_work_acts(p->w, l)->u[g], p->grad_lora[2 * first], dx, part);
    if (!part) { return true; }
    const fmk_dev_drop d = fmp_drop_at(p, l, g);
    p->m->be->dropout(p->m->q, &d, p->T, group.l.K, part, true, dx);
    return true;
}

/* dx (T,in) = sum of dy[i] W over the group, NULL: not wanted; and the gradients of what is trained */
static void group_backward(fmp_pass *p, size_t l, fmp_group g, const fmk_f32 *x, const fmk_f32 *const *dy,
                           fmk_f32 *dx)
{
    const fmp_layer *layer = &p->m->layers[l];
    if (shared_backward(p, l, g, x, dy, dx)) { return; }
    for (int i = 0, k = fmp_group_first[g]; k < (int)fmp_group_first[g + 1]; i++, k++) {
        if (!layer->w[k]) { continue; } /* never the first */
        const fmk_f32 *dz = dora_backward(p, l, (fmp_proj)k, dy[i]);
        weight_backward(p, layer->w[k], x, dz, i > 0, dx);
        fmk_f32 *db = grad_of(p, layer->b[k]);
        if (db) { p->m->be->bias_bwd(p->m->q, p->T, layer->w[k]->rows, dy[i], db); }
        lora_backward(p, l, g, (fmp_proj)k, dz);
    }
    lora_input_backward(p, l, g, x, dx);
}

static bool adapted(const fmp_pass *p, size_t l, fmp_proj from, fmp_proj to)
{
    for (int k = from; k <= (int)to; k++) {
        if (fmp_adapter_at(p->ad, l, (fmp_proj)k)) { return true; }
    }
    return trains_weights(p);
}

/* w->dx: in, d x_out; out, d x_mid */
static void mlp_backward(fmp_pass *p, size_t l, bool below)
{
    fmp_model *m = p->m;
    fmp_work *w = p->w;
    const fmp_acts *a = fmp_work_acts(p->w, l);
    const fmp_layer *layer = &m->layers[l];
    int64_t T = p->T, F = m->spec.n_ff, ld = fmp_strides_of(&m->spec).ff;
    bool inner = below || adapted(p, l, PROJ_GATE, PROJ_UP);
    const fmk_f32 *dy = post_backward(p, layer->post2, a->y2, a->rstd_y2);
    fmp_gate_forward(p, a);
    group_backward(p, l, GROUP_DOWN, a->h, &dy, inner ? w->dh : NULL);
    if (!inner) { return; }
    if (m->spec.activation == FMP_ACT_SILU) {
        m->be->swiglu_bwd(m->q, T, F, ld, a->gate, a->up, w->dh, w->dgate, w->dup);
    } else {
        m->be->geglu_bwd(m->q, T, F, ld, a->gate, a->up, w->dh, w->dgate, w->dup);
    }
    if (layer->norm2) { fmp_norm_forward(m, T, m->spec.n_channels, a->x_mid, layer->norm2, a->n2, a->rstd2); }
    group_backward(p, l, GROUP_GATE_UP, layer->norm2 ? a->n2 : a->x_mid,
                   (const fmk_f32 *const[]){w->dgate, w->dup}, below ? w->dn : NULL);
    if (below) { norm_or_same_backward(p, layer->norm2, a->x_mid, a->rstd2, w->dn, w->dx); }
}

/* dx (overwritten) = gradient through the norm of each head, or of all at once */
static void qk_norm_backward(fmp_pass *p, int64_t heads, const fmk_f32 *x, const fmp_param *g,
                             const fmk_f32 *rstd, const fmk_f32 *dy, fmk_f32 *dx)
{
    int64_t D = p->m->spec.head_size;
    bool whole = p->m->spec.qk_norm_whole;
    p->m->be->zero(p->m->q, dx, (size_t)(p->T * heads * D) * sizeof *dx);
    fmp_norm_backward(p->m, whole ? p->T : p->T * heads, whole ? heads * D : D, x, g, rstd, dy, dx,
                      grad_of(p, g));
}

/* From dq, dk of the attention to those of the projections. */
static void rope_norm_backward(fmp_pass *p, size_t l)
{
    fmp_work *w = p->w;
    const fmp_model_spec *s = &p->m->spec;
    const fmp_acts *a = fmp_work_acts(p->w, l);
    const fmp_layer *layer = &p->m->layers[l];
    const fmp_strides row = fmp_strides_of(s);
    bool own_kv = s->layers[l].kv_back == 0;
    if (s->layers[l].rope) {
        fmp_pass_rope(p, l, s->n_heads, row.q, true, w->dq);
        if (own_kv) { fmp_pass_rope(p, l, s->n_kv_heads, row.kv, true, w->dk); }
    }
    if (layer->q_norm) { qk_norm_backward(p, s->n_heads, a->q_raw, layer->q_norm, a->rq, w->dq, w->dq_raw); }
    if (layer->k_norm) {
        qk_norm_backward(p, s->n_kv_heads, a->k_raw, layer->k_norm, a->rk, w->dk, w->dk_raw);
    }
}

/* Keys and values that several layers use: their gradients meet at the layer that made them. */
static void lent_backward(fmp_pass *p, size_t l)
{
    const fmp_model_spec *s = &p->m->spec;
    size_t from = l - s->layers[l].kv_back;
    const fmp_lent *lent = &p->w->lent[from];
    int64_t n = p->T * s->n_kv_heads * s->head_size;
    if (!lent->dk || from < p->w->first) { return; }
    if (from == l) {
        p->m->be->add(p->m->q, n, lent->dk, p->w->dk);
        p->m->be->add(p->m->q, n, lent->dv, p->w->dv);
    } else {
        p->m->be->add(p->m->q, n, p->w->dk, lent->dk);
        p->m->be->add(p->m->q, n, p->w->dv, lent->dv);
    }
}

/* w->dx: in, d x_mid; out, d x_in if anything below wants it */
static void attention_backward(fmp_pass *p, size_t l, bool below)
{
    fmp_work *w = p->w;
    const fmp_acts *a = fmp_work_acts(p->w, l);
    const fmp_layer *layer = &p->m->layers[l];
    bool inner = below || adapted(p, l, PROJ_Q, PROJ_V);
    const fmk_f32 *dy = post_backward(p, layer->post1, a->y1, a->rstd_y1);
    group_backward(p, l, GROUP_O, a->o, &dy, inner ? w->d_o : NULL);
    if (!inner) { return; }
    const fmk_dev_attn attn = fmp_pass_attn(p, l);
    fmk_f32 *k = NULL, *v = NULL;
    fmp_pass_kv(p, l, &k, &v);
    p->m->be->attn_bwd(p->m->q, &attn, a->q, k, v, a->o, a->lse, w->d_o, w->dq, w->dk, w->dv);
    lent_backward(p, l);
    rope_norm_backward(p, l);
    const fmk_f32 *const dqkv[] = {layer->q_norm ? w->dq_raw : w->dq, layer->k_norm ? w->dk_raw : w->dk,
                                   w->dv};
    if (layer->norm1) {
        fmp_norm_forward(p->m, p->T, p->m->spec.n_channels, w->x[l], layer->norm1, a->n1, a->rstd1);
    }
    group_backward(p, l, GROUP_QKV, layer->norm1 ? a->n1 : w->x[l], dqkv, below ? w->dn : NULL);
    if (below) { norm_or_same_backward(p, layer->norm1, w->x[l], a->rstd1, w->dn, w->dx); }
}

static void clear_lent(fmp_pass *p)
{
    const fmp_model_spec *s = &p->m->spec;
    size_t bytes = (size_t)p->T * s->n_kv_heads * s->head_size * sizeof(float);
    for (size_t l = 0; l < s->n_layers; l++) {
        const fmp_lent *lent = &p->w->lent[l];
        if (!lent->dk) { continue; }
        p->m->be->zero(p->m->q, lent->dk, bytes);
        p->m->be->zero(p->m->q, lent->dv, bytes);
    }
}

/* The activations of a layer: computed again where they were not kept, rounded in any case. */
static void restore(fmp_pass *p, size_t l)
{
    const fmp_acts *a = fmp_work_acts(p->w, l);
    if (l < p->w->keep) {
        fmp_layer_forward(p, l);
        fmp_layer_keep(p, l);
    }
    if (a->kept) { p->m->be->widen(p->m->q, p->w->n_wide, a->kept, p->w->wide); }
}

void fmp_pass_backward(fmp_pass *p)
{
    fmp_model *m = p->m;
    fmp_work *w = p->w;
    clear_lent(p);
    for (size_t l = m->spec.n_layers; l-- > w->first;) {
        bool below = l > w->first || trains_weights(p);
        bool attention = below || adapted(p, l, PROJ_Q, PROJ_O);
        restore(p, l);
        mlp_backward(p, l, attention);
        if (attention) { attention_backward(p, l, below); }
    }
    fmk_f32 *d_embed = grad_of(p, m->embed);
    if (d_embed) {
        int64_t n = p->T * (int64_t)m->spec.n_channels;
        if (m->spec.embed_scale > 0.0) { m->be->scale(m->q, n, (float)m->spec.embed_scale, w->dx); }
        m->be->embed_bwd(m->q, p->T, m->spec.n_channels, m->spec.vocab_size, w->id, w->dx, d_embed);
    }
}
