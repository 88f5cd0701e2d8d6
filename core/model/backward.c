/*
 * backward.c: gradients of a pass, from the last layer's output down to the lowest layer with something to train.
 *
 * What a LoRA run does not need is not computed: nothing for frozen weights, nothing below layer w->first, and in that
 * layer nothing below its lowest adapted projection.
 */
#include "internal.h"

static fmp_acts *acts_of(const fmp_pass *p, size_t l)
{
    return &p->w->acts[p->w->mode == WORK_KEEP ? l - p->w->first : 0];
}

/* Where the gradient of a parameter is summed, or NULL. */
static float *grad_of(const fmp_pass *p, const fmp_param *param)
{
    return param && p->grad_param ? p->grad_param[param - p->m->params] : NULL;
}

static bool trains_weights(const fmp_pass *p) { return p->grad_param != NULL; }

/* da += du^T x, db += dy^T u, dx += du A, with du = scale * dy B */
static void lora_backward(fmp_pass *p, size_t k, const float *x, const float *u, const float *dy, float *dx)
{
    fmk_ctx *ctx = p->m->ctx;
    const fmp_lora *lora = &p->ad->lora[k];
    int64_t T = p->T, R = p->ad->rank, in = lora->in, out = lora->out;
    bool bf16 = fmp_model_is_bf16(p->m);
    float *du = p->w->du;
    fmk_mm mm = {.M = T, .N = R, .K = out, .lda = out, .ldb = R, .ldc = R, .bf16 = bf16};
    fmk_matmul(ctx, &mm, dy, lora->b, du);
    fmk_scale(ctx, T * R, p->ad->scale, du);
    mm = (fmk_mm){.M = R, .N = in, .K = T, .ta = true, .lda = R, .ldb = in, .ldc = in, .beta = 1.0f, .bf16 = bf16};
    fmk_matmul(ctx, &mm, du, x, p->grad_lora[2 * k]);
    mm = (fmk_mm){.M = out, .N = R, .K = T, .ta = true, .lda = out, .ldb = R, .ldc = R, .beta = 1.0f, .bf16 = bf16};
    fmk_matmul(ctx, &mm, dy, u, p->grad_lora[2 * k + 1]);
    if (!dx) { return; }
    mm = (fmk_mm){.M = T, .N = in, .K = R, .lda = R, .ldb = in, .ldc = in, .beta = 1.0f, .bf16 = bf16};
    fmk_matmul(ctx, &mm, du, lora->a, dx);
}

/* db (N) += column sums of dy (T,N), rows in order */
static void bias_backward(int64_t T, int64_t N, const float *dy, float *db)
{
    for (int64_t t = 0; t < T; t++) {
        const float *dy_t = dy + t * N; /* (N) */
        for (int64_t j = 0; j < N; j++) { db[j] += dy_t[j]; }
    }
}

static void weight_backward(fmp_pass *p, const fmp_param *w, const float *x, const float *dy, bool add, float *dx)
{
    fmk_ctx *ctx = p->m->ctx;
    bool bf16 = fmp_model_is_bf16(p->m);
    float *dw = grad_of(p, w);
    if (dw) {
        const fmk_mm mm = {.M = w->rows, .N = w->cols, .K = p->T, .ta = true, .lda = w->rows, .ldb = w->cols,
                           .ldc = w->cols, .beta = 1.0f, .bf16 = bf16};
        fmk_matmul(ctx, &mm, dy, x, dw);
    }
    if (!dx) { return; }
    if (w->packed) {
        fmk_matmul_packed_bwd(ctx, p->T, dy, w->packed, add ? 1.0f : 0.0f, dx);
        return;
    }
    const fmk_mm mm = {.M = p->T, .N = w->cols, .K = w->rows, .lda = w->rows, .ldb = w->cols, .ldc = w->cols,
                       .beta = add ? 1.0f : 0.0f, .bf16 = bf16};
    fmk_matmul(ctx, &mm, dy, fmp_param_view(w), dx);
}

/* dx (T,in) = dy W (+ dx if add), NULL: not wanted; and the gradients of what is trained */
static void proj_backward(fmp_pass *p, size_t l, fmp_proj proj, const float *x, const float *dy, bool add, float *dx)
{
    const fmp_layer *layer = &p->m->layers[l];
    weight_backward(p, layer->w[proj], x, dy, add, dx);
    float *db = grad_of(p, layer->b[proj]);
    if (db) { bias_backward(p->T, layer->w[proj]->rows, dy, db); }
    if (fmp_adapter_at(p->ad, l, proj)) {
        lora_backward(p, l * N_PROJ + (size_t)proj, x, acts_of(p, l)->u[proj], dy, dx);
    }
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
    const fmp_acts *a = acts_of(p, l);
    const fmp_layer *layer = &m->layers[l];
    int64_t T = p->T, C = m->spec.n_channels, F = m->spec.n_ff;
    bool inner = below || adapted(p, l, PROJ_GATE, PROJ_UP);
    proj_backward(p, l, PROJ_DOWN, a->h, w->dx, false, inner ? w->dh : NULL);
    if (!inner) { return; }
    fmk_swiglu_bwd(m->ctx, T, F, a->gate, a->up, w->dh, w->dgate, w->dup);
    proj_backward(p, l, PROJ_GATE, a->n2, w->dgate, false, below ? w->dn : NULL);
    proj_backward(p, l, PROJ_UP, a->n2, w->dup, true, below ? w->dn : NULL);
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
    const fmp_acts *a = acts_of(p, l);
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
    const fmp_acts *a = acts_of(p, l);
    const fmp_layer *layer = &m->layers[l];
    int64_t T = p->T, C = s->n_channels, H = s->n_heads, G = s->n_kv_heads, D = s->head_size;
    bool inner = below || adapted(p, l, PROJ_Q, PROJ_V);
    proj_backward(p, l, PROJ_O, a->o, w->dx, false, inner ? w->d_o : NULL);
    if (!inner) { return; }
    const fmk_attn attn = {.T = T, .H = H, .G = G, .D = D, .n_seg = (int64_t)p->n_seg, .seg = p->seg,
                           .window = s->layers[l].window, .scale = (float)(1.0 / sqrt((double)D)), .ldq = H * D,
                           .ldk = G * D, .ldv = G * D, .ldo = H * D};
    fmk_attn_bwd(m->ctx, &attn, a->q, a->k, a->v, a->o, a->lse, w->d_o, w->dq, w->dk, w->dv);
    rope_norm_backward(p, l);
    float *dn = below ? w->dn : NULL;
    proj_backward(p, l, PROJ_Q, a->n1, w->dq_raw, false, dn);
    proj_backward(p, l, PROJ_K, a->n1, w->dk_raw, true, dn);
    proj_backward(p, l, PROJ_V, a->n1, w->dv, true, dn);
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
    if (d_embed) { fmk_embed_bwd(m->ctx, p->T, m->spec.n_channels, m->spec.vocab_size, p->id, w->dx, d_embed); }
}
