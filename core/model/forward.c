/*
 * forward.c: one pass of T packed tokens through the decoder's layers.
 *
 * Per layer:   x_mid = x + O(attention(rope(norm(Q,K)), V))      x_out = x_mid + down(silu(gate) * up)
 * Biases are laid under a product (rows start from the bias), residuals too, so that a sum costs no pass of
 * its own.
 */
#include "internal.h"

/* ---- linear layers ---- */

static void fill_rows(int64_t T, int64_t N, const float *bias, bool add, float *y)
{
    for (int64_t t = 0; t < T; t++) {
        float *y_t = y + t * N; /* (N) */
        for (int64_t j = 0; j < N; j++) {
            y_t[j] = add ? y_t[j] + bias[j] : bias[j];
        }
    }
}

/* y (T,out) += u B^T with the columns of u (T,n*R) that belong to this one of the group's n projections */
static void lora_forward(fmp_pass *p, size_t l, fmp_group g, fmp_proj proj, float *y)
{
    const fmp_lora *lora = fmp_adapter_at(p->ad, l, proj);
    if (!lora) { return; }
    size_t first = 0;
    int64_t R = p->ad->rank, n = fmp_group_count(p->ad, l, g, &first);
    const float *u = fmp_work_acts(p->w, l)->u[g] + (lora->a - p->ad->lora[first].a) / lora->in;
    const fmk_mm mm = {.M = p->T,
                       .N = lora->out,
                       .K = R,
                       .tb = true,
                       .lda = n * R,
                       .ldb = R,
                       .ldc = lora->out,
                       .beta = 1.0f,
                       .bf16 = fmp_model_is_bf16(p->m)};
    fmk_matmul(p->m->ctx, &mm, u, lora->b, y);
}

/* u (T,n*R) = scale * x A^T for all adapted projections that read x (T,in) */
static void lora_input_forward(fmp_pass *p, size_t l, fmp_group g, const float *x)
{
    size_t first = 0;
    int64_t n = fmp_group_count(p->ad, l, g, &first);
    if (n == 0) { return; }
    const fmp_lora *lora = &p->ad->lora[first];
    int64_t nR = n * p->ad->rank;
    float *u = fmp_work_acts(p->w, l)->u[g];
    const fmk_mm mm = {.M = p->T,
                       .N = nR,
                       .K = lora->in,
                       .tb = true,
                       .lda = lora->in,
                       .ldb = lora->in,
                       .ldc = nR,
                       .bf16 = fmp_model_is_bf16(p->m)};
    fmk_matmul(p->m->ctx, &mm, x, lora->a, u);
    fmk_scale(p->m->ctx, p->T * nR, p->ad->scale, u);
}

/* y (T,N) = x (T,K) W^T (+ y): the packed form if there is one. */
static void weight_forward(fmp_model *m, int64_t T, const fmp_param *w, const float *x, bool add, float *y)
{
    if (w->packed) {
        fmk_matmul_packed(m->ctx, T, x, w->packed, add ? 1.0f : 0.0f, y);
        return;
    }
    const fmk_mm mm = {.M = T,
                       .N = w->rows,
                       .K = w->cols,
                       .tb = true,
                       .lda = w->cols,
                       .ldb = w->cols,
                       .ldc = w->rows,
                       .beta = add ? 1.0f : 0.0f,
                       .bf16 = fmp_model_is_bf16(m)};
    fmk_matmul(m->ctx, &mm, x, fmp_param_view(w), y);
}

/* y[i] (T,out) = x W^T + bias (+ y[i] if add) + LoRA for the i-th projection of the group */
static void group_forward(fmp_pass *p, size_t l, fmp_group g, const float *x, bool add, float *const *y)
{
    const fmp_layer *layer = &p->m->layers[l];
    lora_input_forward(p, l, g, x);
    for (int k = fmp_group_first[g]; k < (int)fmp_group_first[g + 1]; k++) {
        const fmp_param *w = layer->w[k], *b = layer->b[k];
        float *out = y[k - (int)fmp_group_first[g]];
        if (b) { fill_rows(p->T, w->rows, fmp_param_view(b), add, out); }
        weight_forward(p->m, p->T, w, x, add || b, out);
        lora_forward(p, l, g, (fmp_proj)k, out);
    }
}

void fmp_head_forward(fmp_model *m, int64_t n, const float *x, float *y)
{
    weight_forward(m, n, m->head, x, false, y);
}

/* ---- attention ---- */

/* Keys and values of this pass into the cache. */
static void store_kv(fmp_pass *p, size_t l, const fmp_acts *a)
{
    int64_t GD = (int64_t)p->m->spec.n_kv_heads * p->m->spec.head_size;
    fmp_kv_cache *cache = p->cache;
    for (size_t s = 0; s < p->n_seg; s++) {
        for (int64_t t = p->seg[s]; t < (int64_t)p->seg[s + 1]; t++) {
            size_t at = ((size_t)p->slot_of_seg[s] * (size_t)cache->cap + (size_t)p->w->pos[t]) * (size_t)GD;
            memcpy(cache->k[l] + at, a->k + t * GD, (size_t)GD * sizeof(float));
            memcpy(cache->v[l] + at, a->v + t * GD, (size_t)GD * sizeof(float));
        }
    }
}

static void attend(fmp_pass *p, size_t l, fmp_acts *a)
{
    const fmp_model_spec *s = &p->m->spec;
    int64_t H = s->n_heads, G = s->n_kv_heads, D = s->head_size;
    float scale = (float)(1.0 / sqrt((double)D));
    if (p->cache) { store_kv(p, l, a); }
    if (p->len) {
        fmk_attn_decode(p->m->ctx, p->T, H, G, D, p->cache->cap, scale, s->layers[l].window, a->q,
                        p->cache->k[l], p->cache->v[l], p->len, a->o);
        return;
    }
    const fmk_attn attn = {.T = p->T,
                           .H = H,
                           .G = G,
                           .D = D,
                           .n_seg = (int64_t)p->n_seg,
                           .seg = p->seg,
                           .window = s->layers[l].window,
                           .scale = scale,
                           .ldq = H * D,
                           .ldk = G * D,
                           .ldv = G * D,
                           .ldo = H * D};
    fmk_attn_fwd(p->m->ctx, &attn, a->q, a->k, a->v, a->o, a->lse);
}

static void attention_forward(fmp_pass *p, size_t l, fmp_acts *a)
{
    fmp_model *m = p->m;
    const fmp_model_spec *s = &m->spec;
    const fmp_layer *layer = &m->layers[l];
    int64_t T = p->T, H = s->n_heads, G = s->n_kv_heads, D = s->head_size;
    group_forward(p, l, GROUP_QKV, a->n1, false, (float *const[]){a->q_raw, a->k_raw, a->v});
    if (layer->q_norm) {
        float eps = (float)s->norm_eps;
        fmk_rmsnorm_fwd(m->ctx, T * H, D, eps, a->q_raw, fmp_param_view(layer->q_norm), a->q, a->rq);
        fmk_rmsnorm_fwd(m->ctx, T * G, D, eps, a->k_raw, fmp_param_view(layer->k_norm), a->k, a->rk);
    }
    if (s->layers[l].rope) {
        fmk_rope(m->ctx, T, H, D, H * D, p->w->pos, m->rope_cos, m->rope_sin, false, false, a->q);
        fmk_rope(m->ctx, T, G, D, G * D, p->w->pos, m->rope_cos, m->rope_sin, false, false, a->k);
    }
    attend(p, l, a);
}

/* to = from, unless they are the same rows */
static void copy_rows(int64_t n, const float *from, float *to)
{
    if (from != to) { memcpy(to, from, (size_t)n * sizeof *to); }
}

void fmp_layer_forward(fmp_pass *p, size_t l)
{
    fmp_model *m = p->m;
    fmp_work *w = p->w;
    const fmp_layer *layer = &m->layers[l];
    fmp_acts *a = fmp_work_acts(w, l);
    int64_t T = p->T, C = m->spec.n_channels, F = m->spec.n_ff;
    float eps = (float)m->spec.norm_eps;
    float *x = w->x[l], *x_mid = a->x_mid ? a->x_mid : x;
    fmk_rmsnorm_fwd(m->ctx, T, C, eps, x, fmp_param_view(layer->norm1), a->n1, a->rstd1);
    attention_forward(p, l, a);
    copy_rows(T * C, x, x_mid);
    group_forward(p, l, GROUP_O, a->o, true, &x_mid);
    fmk_rmsnorm_fwd(m->ctx, T, C, eps, x_mid, fmp_param_view(layer->norm2), a->n2, a->rstd2);
    group_forward(p, l, GROUP_GATE_UP, a->n2, false, (float *const[]){a->gate, a->up});
    fmk_swiglu_fwd(m->ctx, T, F, a->gate, a->up, a->h);
    copy_rows(T * C, x_mid, w->x[l + 1]);
    group_forward(p, l, GROUP_DOWN, a->h, true, &w->x[l + 1]);
}

void fmp_pass_positions(fmp_pass *p)
{
    for (size_t s = 0; s < p->n_seg; s++) {
        for (uint32_t t = p->seg[s]; t < p->seg[s + 1]; t++) {
            p->w->pos[t] = (int32_t)(t - p->seg[s]);
        }
    }
}

void fmp_pass_forward(fmp_pass *p)
{
    fmp_model *m = p->m;
    fmk_embed_fwd(m->ctx, p->T, m->spec.n_channels, fmp_param_view(m->embed), p->id, p->w->x[0]);
    for (size_t l = 0; l < m->spec.n_layers; l++) {
        fmp_layer_forward(p, l);
    }
}

/* ---- batches ---- */

static fmp_status check_segments(const fmp_model *m, const fmp_batch *b, fmp_err *err)
{
    if (b->n_segments == 0 || b->seg[0] != 0 || b->seg[b->n_segments] != b->n_tokens) {
        return fmp_fail(err, FMP_E_DATA, "segments must begin at 0 and end at the %zu tokens of the batch",
                        b->n_tokens);
    }
    for (size_t s = 0; s < b->n_segments; s++) {
        if (b->seg[s + 1] <= b->seg[s] || b->seg[s + 1] > b->n_tokens) {
            return fmp_fail(err, FMP_E_DATA, "segment %zu is empty or goes backwards", s);
        }
        if (b->seg[s + 1] - b->seg[s] > m->spec.max_positions) {
            return fmp_fail(err, FMP_E_RANGE, "segment %zu has %u tokens; the model's positions end at %u", s,
                            b->seg[s + 1] - b->seg[s], m->spec.max_positions);
        }
    }
    return FMP_OK;
}

fmp_status fmp_batch_check(const fmp_model *m, const fmp_batch *b, fmp_err *err)
{
    if (b->n_tokens == 0 || b->n_tokens > (size_t)1 << 24) {
        return fmp_fail(err, FMP_E_RANGE, "a batch has 1 to 2^24 tokens, found %zu", b->n_tokens);
    }
    FMP_TRY(check_segments(m, b, err));
    for (size_t t = 0; t < b->n_tokens; t++) {
        if (b->id[t] >= m->spec.vocab_size) {
            return fmp_fail(err, FMP_E_DATA, "token %zu: id %u is outside the vocabulary of %u", t, b->id[t],
                            m->spec.vocab_size);
        }
        if (b->weight && !(b->weight[t] >= 0.0f && b->weight[t] < INFINITY)) {
            return fmp_fail(err, FMP_E_DATA, "token %zu: its weight is negative or not finite", t);
        }
    }
    for (size_t s = 0; b->weight && s < b->n_segments; s++) {
        if (b->weight[b->seg[s]] != 0.0f) {
            return fmp_fail(err, FMP_E_DATA, "token %u: the first token of segment %zu cannot have a weight",
                            b->seg[s], s);
        }
    }
    return FMP_OK;
}
