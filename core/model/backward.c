/*
 * backward.c: gradients of a pass, from the last layer's output down to the lowest trained layer.
 *
 * What a LoRA run does not need is not computed: nothing for frozen weights, nothing below layer w->first,
 * and in that layer nothing below its lowest adapted projection.
 */
#include "internal.h"

/* Where the gradient of a parameter is summed, or NULL. */
static float *grad_of(const fmp_pass *p, const fmp_param *param)
{
    return param && p->grad_param ? p->grad_param[param - p->m->params] : NULL;
}

static bool trains_weights(const fmp_pass *p)
{
    return p->grad_param != NULL;
}

/* du (T,n*R), the columns of this projection = dy B; db += dy^T u */
static void lora_backward(fmp_pass *p, size_t l, fmp_group g, fmp_proj proj, const float *dy)
{
    const fmp_lora *lora = fmp_adapter_at(p->ad, l, proj);
    if (!lora) { return; }
    size_t first = 0;
    int64_t R = p->ad->rank, n = fmp_group_count(p->ad, l, g, &first), out = lora->out;
    int64_t column = (lora->a - p->ad->lora[first].a) / lora->in;
    bool bf16 = fmp_model_is_bf16(p->m);
    fmk_mm mm = {.M = p->T, .N = R, .K = out, .lda = out, .ldb = R, .ldc = n * R, .bf16 = bf16};
    fmk_matmul(p->m->ctx, &mm, dy, lora->b, p->w->du + column);
    mm = (fmk_mm){.M = out,
                  .N = R,
                  .K = p->T,
                  .ta = true,
                  .lda = out,
                  .ldb = n * R,
                  .ldc = R,
                  .beta = 1.0f,
                  .bf16 = bf16};
    float *db = p->grad_lora[2 * (l * N_PROJ + (size_t)proj) + 1];
    fmk_matmul(p->m->ctx, &mm, dy, fmp_work_acts(p->w, l)->u[g] + column, db);
}

/* da (n*R,in) += scale * du^T x; dx (T,in) += scale * du A, NULL: not wanted */
static void lora_input_backward(fmp_pass *p, size_t l, fmp_group g, const float *x, float *dx)
{
    size_t first = 0;
    int64_t n = fmp_group_count(p->ad, l, g, &first);
    if (n == 0) { return; }
    fmk_ctx *ctx = p->m->ctx;
    const fmp_lora *lora = &p->ad->lora[first];
    int64_t nR = n * p->ad->rank, in = lora->in;
    bool bf16 = fmp_model_is_bf16(p->m);
    fmk_scale(ctx, p->T * nR, p->ad->scale, p->w->du);
    fmk_mm mm = {
        .M = nR, .N = in, .K = p->T, .ta = true, .lda = nR, .ldb = in, .ldc = in, .beta = 1.0f, .bf16 = bf16};
    fmk_matmul(ctx, &mm, p->w->du, x, p->grad_lora[2 * first]);
    if (!dx) { return; }
    mm = (fmk_mm){.M = p->T, .N = in, .K = nR, .lda = nR, .ldb = in, .ldc = in, .beta = 1.0f, .bf16 = bf16};
    fmk_matmul(ctx, &mm, p->w->du, lora->a, dx);
}

/* db (N) += column sums of dy (T,N), rows in order */
static void bias_backward(int64_t T, int64_t N, const float *dy, float *db)
{
    for (int64_t t = 0; t < T; t++) {
        const float *dy_t = dy + t * N; /* (N) */
        for (int64_t j = 0; j < N; j++) {
            db[j] += dy_t[j];
        }
    }
}

static void weight_backward(fmp_pass *p, const fmp_param *w, const float *x, const float *dy, bool add,
                            float *dx)
{
    fmk_ctx *ctx = p->m->ctx;
    bool bf16 = fmp_model_is_bf16(p->m);
    float *dw = grad_of(p, w);
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
        fmk_matmul(ctx, &mm, dy, x, dw);
    }
    if (!dx) { return; }
    if (w->packed) {
        fmk_matmul_packed_bwd(ctx, p->T, dy, w->packed, add ? 1.0f : 0.0f, dx);
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
    fmk_matmul(ctx, &mm, dy, fmp_param_view(w), dx);
}

/* dx (T,in) = sum of dy[i] W over the group, NULL: not wanted; and the gradients of what is trained */
static void group_backward(fmp_pass *p, size_t l, fmp_group g, const float *x, const float *const *dy,
                           float *dx)
{
    const fmp_layer *layer = &p->m->layers[l];
    for (int i = 0, k = fmp_group_first[g]; k < (int)fmp_group_first[g + 1]; i++, k++) {
        weight_backward(p, layer->w[k], x, dy[i], i > 0, dx);
        float *db = grad_of(p, layer->b[k]);
        if (db) { bias_backward(p->T, layer->w[k]->rows, dy[i], db); }
        lora_backward(p, l, g, (fmp_proj)k, dy[i]);
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
    int64_t T = p->T, C = m->spec.n_channels, F = m->spec.n_ff;
    bool inner = below || adapted(p, l, PROJ_GATE, PROJ_UP);
    group_backward(p, l, GROUP_DOWN, a->h, (const float *const[]){w->dx}, inner ? w->dh : NULL);
    if (!inner) { return; }
    fmk_swiglu_bwd(m->ctx, T, F, a->gate, a->up, w->dh, w->dgate, w->dup);
    group_backward(p, l, GROUP_GATE_UP, a->n2, (const float *const[]){w->dgate, w->dup},
                   below ? w->dn : NULL);
    if (!below) { return; }
    const float *g = fmp_param_view(layer->norm2);
    fmk_rmsnorm_bwd(m->ctx, T, C, a->x_mid, g, a->rstd2, w->dn, w->dx, grad_of(p, layer->norm2));
}

/* From dq, dk of the attention to those of the projections. */
static void rope_norm_backward(fmp_pass *p, size_t l)
{
    fmp_model *m = p->m;
    fmp_work *w = p->w;
    const fmp_model_spec *s = &m->spec;
    const fmp_acts *a = fmp_work_acts(p->w, l);
    const fmp_layer *layer = &m->layers[l];
    int64_t T = p->T, H = s->n_heads, G = s->n_kv_heads, D = s->head_size;
    if (s->layers[l].rope) {
        fmk_rope(m->ctx, T, H, D, H * D, w->pos, m->rope_cos, m->rope_sin, false, true, w->dq);
        fmk_rope(m->ctx, T, G, D, G * D, w->pos, m->rope_cos, m->rope_sin, false, true, w->dk);
    }
    if (!layer->q_norm) { return; }
    memset(w->dq_raw, 0, (size_t)(T * H * D) * sizeof(float));
    memset(w->dk_raw, 0, (size_t)(T * G * D) * sizeof(float));
    fmk_rmsnorm_bwd(m->ctx, T * H, D, a->q_raw, fmp_param_view(layer->q_norm), a->rq, w->dq, w->dq_raw,
                    grad_of(p, layer->q_norm));
    fmk_rmsnorm_bwd(m->ctx, T * G, D, a->k_raw, fmp_param_view(layer->k_norm), a->rk, w->dk, w->dk_raw,
                    grad_of(p, layer->k_norm));
}

/* w->dx: in, d x_mid; out, d x_in if anything below wants it */
static void attention_backward(fmp_pass *p, size_t l, bool below)
{
    fmp_model *m = p->m;
    fmp_work *w = p->w;
    const fmp_model_spec *s = &m->spec;
    const fmp_acts *a = fmp_work_acts(p->w, l);
    const fmp_layer *layer = &m->layers[l];
    int64_t T = p->T, C = s->n_channels, H = s->n_heads, G = s->n_kv_heads, D = s->head_size;
    bool inner = below || adapted(p, l, PROJ_Q, PROJ_V);
    group_backward(p, l, GROUP_O, a->o, (const float *const[]){w->dx}, inner ? w->d_o : NULL);
    if (!inner) { return; }
    const fmk_attn attn = {.T = T,
                           .H = H,
                           .G = G,
                           .D = D,
                           .n_seg = (int64_t)p->n_seg,
                           .seg = p->seg,
                           .window = s->layers[l].window,
                           .scale = (float)(1.0 / sqrt((double)D)),
                           .ldq = H * D,
                           .ldk = G * D,
                           .ldv = G * D,
                           .ldo = H * D};
    fmk_attn_bwd(m->ctx, &attn, a->q, a->k, a->v, a->o, a->lse, w->d_o, w->dq, w->dk, w->dv);
    rope_norm_backward(p, l);
    const float *const dy[] = {w->dq_raw, w->dk_raw, w->dv};
    group_backward(p, l, GROUP_QKV, a->n1, dy, below ? w->dn : NULL);
    if (!below) { return; }
    const float *g = fmp_param_view(layer->norm1);
    fmk_rmsnorm_bwd(m->ctx, T, C, w->x[l], g, a->rstd1, w->dn, w->dx, grad_of(p, layer->norm1));
}

void fmp_pass_backward(fmp_pass *p)
{
    fmp_model *m = p->m;
    fmp_work *w = p->w;
    for (size_t l = m->spec.n_layers; l-- > w->first;) {
        bool below = l > w->first || trains_weights(p);
        bool attention = below || adapted(p, l, PROJ_Q, PROJ_O);
        if (w->mode == WORK_RECOMPUTE) { fmp_layer_forward(p, l); }
        mlp_backward(p, l, attention);
        if (attention) { attention_backward(p, l, below); }
    }
    float *d_embed = grad_of(p, m->embed);
    if (d_embed) {
        fmk_embed_bwd(m->ctx, p->T, m->spec.n_channels, m->spec.vocab_size, p->id, w->dx, d_embed);
    }
}
