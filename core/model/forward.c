/*
 * forward.c: one pass of T packed tokens through the decoder's layers.
 *
 * Per layer:   x_mid = x + O(attention(rope(norm(Q,K)), V))      x_out = x_mid + down(act(gate) * up)
 * with norms before, after, or on both sides of the two units. What a layer has is read from its description and
 * its parameters, never from the family's name.
 * Biases are laid under a product (rows start from the bias), residuals too, so that a sum costs no pass of
 * its own.
 */
#include "internal.h"

/* ---- norms ---- */

void fmp_norm_forward(const fmp_model *m, int64_t T, int64_t C, const fmk_f32 *x, const fmp_param *g,
                      fmk_f32 *y, fmk_f32 *rstd)
{
    float offset = m->spec.norm_plus_one ? 1.0f : 0.0f;
    m->be->rmsnorm_fwd(m->q, T, C, (float)m->spec.norm_eps, offset, x, fmp_param_view(g), y, rstd);
}

/* y = norm(x), or x itself where there is no norm */
static const fmk_f32 *norm_or_same(fmp_pass *p, const fmp_param *g, const fmk_f32 *x, fmk_f32 *y,
                                   fmk_f32 *rstd)
{
    if (!g) { return x; }
    fmp_norm_forward(p->m, p->T, p->m->spec.n_channels, x, g, y, rstd);
    return y;
}

/* ---- linear layers ---- */

/* y (T,out) += u B^T with the columns of u (T,n*R) that belong to this one of the group's n projections */
static void lora_forward(fmp_pass *p, size_t l, fmp_group g, fmp_proj proj, fmk_f32 *y)
{
    const fmp_lora *lora = fmp_adapter_at(p->ad, l, proj);
    if (!lora) { return; }
    size_t first = 0;
    int64_t R = p->ad->rank, n = fmp_group_count(p->ad, l, g, &first);
    const fmk_f32 *u = fmp_work_acts(p->w, l)->u[g] + (lora->a - p->ad->lora[first].a) / lora->in;
    const fmk_mm mm = {.M = p->T,
                       .N = lora->out,
                       .K = R,
                       .tb = true,
                       .lda = n * R,
                       .ldb = R,
                       .ldc = lora->out,
                       .beta = 1.0f,
                       .bf16 = fmp_model_is_bf16(p->m)};
    p->m->be->matmul(p->m->q, &mm, u, lora->b, y);
}

const fmk_f32 *fmp_lora_source(fmp_pass *p, size_t l, fmp_group g, int64_t in, const fmk_f32 *x)
{
    if (!p->drop) { return x; }
    const fmk_dev_drop d = fmp_drop_at(p, l, g);
    p->m->be->dropout(p->m->q, &d, p->T, in, x, false, p->w->xd);
    return p->w->xd;
}

/* u (T,n*R) = scale * x A^T for all adapted projections that read x (T,in) */
static void lora_input_forward(fmp_pass *p, size_t l, fmp_group g, const fmk_f32 *x)
{
    size_t first = 0;
    int64_t n = fmp_group_count(p->ad, l, g, &first);
    if (n == 0) { return; }
    const fmp_lora *lora = &p->ad->lora[first];
    int64_t nR = n * p->ad->rank;
    fmk_f32 *u = fmp_work_acts(p->w, l)->u[g];
    const fmk_mm mm = {.M = p->T,
                       .N = nR,
                       .K = lora->in,
                       .tb = true,
                       .lda = lora->in,
                       .ldb = lora->in,
                       .ldc = nR,
                       .bf16 = fmp_model_is_bf16(p->m)};
    p->m->be->matmul(p->m->q, &mm, fmp_lora_source(p, l, g, lora->in, x), lora->a, u);
    p->m->be->scale(p->m->q, p->T * nR, p->ad->scale, u);
}

/* y (T,N) = x (T,K) W^T (+ y): the packed form if there is one. */
static void weight_forward(fmp_model *m, int64_t T, const fmp_param *w, const fmk_f32 *x, bool add,
                           fmk_f32 *y)
{
    if (w->packed) {
        m->be->matmul_packed(m->q, T, x, w->packed, add ? 1.0f : 0.0f, y);
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
    m->be->matmul(m->q, &mm, x, fmp_param_view(w), y);
}

/* y (T,out) = gain * (x W^T + LoRA) + bias (+ y if add) */
static void dora_forward(fmp_pass *p, size_t l, fmp_group g, fmp_proj proj, const fmk_f32 *x, bool add,
                         fmk_f32 *y)
{
    const fmp_param *w = p->m->layers[l].w[proj], *b = p->m->layers[l].b[proj];
    fmk_f32 *z = fmp_work_acts(p->w, l)->z[proj];
    weight_forward(p->m, p->T, w, x, false, z);
    lora_forward(p, l, g, proj, z);
    p->m->be->dora_fwd(p->m->q, p->T, w->rows, z, fmp_adapter_at(p->ad, l, proj)->gain,
                       b ? fmp_param_view(b) : NULL, add, y);
}

bool fmp_lora_shared(const fmp_pass *p, size_t l, fmp_group g, const fmk_f32 *x, fmp_lora_group *out)
{
    const fmp_model *m = p->m;
    size_t first = 0, k = fmp_group_first[g];
    int64_t n = fmp_group_count(p->ad, l, g, &first);
    if (n == 0 || p->ad->dora || !fmp_model_is_bf16(m) ||
        m->be->exact_rows(m->device->dev, true) != INT64_MAX) {
        return false;
    }
    const fmp_lora *lora = &p->ad->lora[first];
    *out = (fmp_lora_group){.l = {.T = p->T,
                                  .K = lora->in,
                                  .R = p->ad->rank,
                                  .n_u = n * p->ad->rank,
                                  .scale = p->ad->scale,
                                  .x = x,
                                  .a = lora->a}};
    for (; k < (size_t)fmp_group_first[g + 1]; k++) {
        const fmp_param *w = m->layers[l].w[k];
        const fmp_lora *at = fmp_adapter_at(p->ad, l, (fmp_proj)k);
        if (!w) { continue; }
        if (!w->packed) { return false; }
        out->place[out->l.n] = (int)(k - fmp_group_first[g]);
        out->proj[out->l.n++] = (fmk_dev_lora_proj){
            .w = w->packed, .b = at ? at->b : NULL, .column = at ? (at->a - lora->a) / lora->in : 0};
    }
    out->l.proj = out->proj;
    return true;
}

/* The group at once, its input rounded once for all products; false: nothing was done. */
static bool shared_forward(fmp_pass *p, size_t l, fmp_group g, const fmk_f32 *x, bool add, fmk_f32 *const *y)
{
    fmp_lora_group group;
    if (!fmp_lora_shared(p, l, g, x, &group)) { return false; }
    group.l.x_lora = fmp_lora_source(p, l, g, group.l.K, x);
    for (int i = 0; i < group.l.n; i++) {
        const fmp_param *b = p->m->layers[l].b[(int)fmp_group_first[g] + group.place[i]];
        fmk_f32 *out = y[group.place[i]];
        if (b) { p->m->be->bias_fwd(p->m->q, p->T, b->cols, fmp_param_view(b), add, out); }
        group.proj[i].y = out;
        group.proj[i].add = add || b;
    }
    p->m->be->lora_fwd(p->m->q, &group.l, fmp_work_acts(p->w, l)->u[g]);
    return true;
}

/* y[i] (T,out) = x W^T + bias (+ y[i] if add) + LoRA for the i-th projection of the group */
static void group_forward(fmp_pass *p, size_t l, fmp_group g, const fmk_f32 *x, bool add, fmk_f32 *const *y)
{
    const fmp_layer *layer = &p->m->layers[l];
    if (shared_forward(p, l, g, x, add, y)) { return; }
    lora_input_forward(p, l, g, x);
    for (int k = fmp_group_first[g]; k < (int)fmp_group_first[g + 1]; k++) {
        const fmp_param *w = layer->w[k], *b = layer->b[k];
        if (!w) { continue; }
        fmk_f32 *out = y[k - (int)fmp_group_first[g]];
        const fmp_lora *lora = fmp_adapter_at(p->ad, l, (fmp_proj)k);
        if (lora && lora->mag) {
            dora_forward(p, l, g, (fmp_proj)k, x, add, out);
            continue;
        }
        if (b) { p->m->be->bias_fwd(p->m->q, p->T, w->rows, fmp_param_view(b), add, out); }
        weight_forward(p->m, p->T, w, x, add || b, out);
        lora_forward(p, l, g, (fmp_proj)k, out);
    }
}

void fmp_head_forward(fmp_model *m, int64_t n, const fmk_f32 *x, fmk_f32 *y)
{
    weight_forward(m, n, m->head, x, false, y);
    if (m->spec.logit_softcap > 0.0) {
        m->be->softcap_fwd(m->q, n * (int64_t)m->spec.vocab_size, (float)m->spec.logit_softcap, y);
    }
}

/* ---- attention ---- */

void fmp_pass_kv(const fmp_pass *p, size_t l, fmk_f32 **k, fmk_f32 **v)
{
    size_t from = l - p->m->spec.layers[l].kv_back;
    const fmp_lent *lent = &p->w->lent[from];
    fmp_acts *a = fmp_work_acts(p->w, l);
    *k = lent->k ? lent->k : a->k;
    *v = lent->v ? lent->v : a->v;
}

fmk_dev_attn fmp_pass_attn(const fmp_pass *p, size_t l)
{
    const fmp_model_spec *s = &p->m->spec;
    const fmp_strides row = fmp_strides_of(s);
    double scale = s->attn_scale > 0.0 ? s->attn_scale : 1.0 / sqrt((double)s->head_size);
    return (fmk_dev_attn){.T = p->T,
                          .H = s->n_heads,
                          .G = s->n_kv_heads,
                          .D = s->head_size,
                          .n_seg = (int64_t)p->n_seg,
                          .seg = p->w->seg,
                          .window = s->layers[l].window,
                          .scale = (float)scale,
                          .softcap = (float)s->attn_softcap,
                          .ldq = row.q,
                          .ldk = row.kv,
                          .ldv = row.kv,
                          .ldo = (int64_t)s->n_heads * s->head_size,
                          .bf16 = fmp_model_is_bf16(p->m)};
}

/* One new token for each sequence, its query against the cache. */
static void attend_cache(fmp_pass *p, size_t l, const fmk_dev_attn *attn, fmp_acts *a)
{
    size_t from = l - p->m->spec.layers[l].kv_back;
    const fmk_dev_kv_attn new_rows = {.B = p->T,
                                      .H = attn->H,
                                      .ldq = attn->ldq,
                                      .window = attn->window,
                                      .scale = attn->scale,
                                      .softcap = attn->softcap,
                                      .slot = p->w->slot,
                                      .len = p->w->len};
    p->m->be->kv_attend(p->m->q, &new_rows, &p->cache->layer[from], a->q, a->o);
}

static void attend(fmp_pass *p, size_t l, fmp_acts *a)
{
    const fmk_dev_attn attn = fmp_pass_attn(p, l);
    fmk_f32 *k = NULL, *v = NULL;
    fmp_pass_kv(p, l, &k, &v);
    if (p->cache && p->m->spec.layers[l].kv_back == 0) { /* of this pass, into the cache */
        p->m->be->kv_store(p->m->q, &p->cache->layer[l], p->T, attn.ldk, p->w->slot, p->w->pos, k, v);
    }
    if (p->len) {
        attend_cache(p, l, &attn, a);
        return;
    }
    p->m->be->attn_fwd(p->m->q, &attn, a->q, k, v, a->o, a->lse);
}

void fmp_pass_rope(const fmp_pass *p, size_t l, int64_t heads, int64_t ld, bool inverse, fmk_f32 *x)
{
    const fmp_model *m = p->m;
    const fmp_model_spec *s = &m->spec;
    int set = s->layers[l].rope_set;
    bool own = p->w->rope_cos[set] != NULL;
    m->be->rope(m->q, p->T, heads, s->head_size, fmp_spec_rotary(s), ld, own ? p->w->rope_row : p->w->pos,
                own ? p->w->rope_cos[set] : m->rope_cos[set].dev,
                own ? p->w->rope_sin[set] : m->rope_sin[set].dev, s->rope_interleaved, inverse, x);
}

/* Of each head, or of all at once */
static void qk_norm_forward(fmp_pass *p, int64_t heads, const fmk_f32 *x, const fmp_param *g, fmk_f32 *y,
                            fmk_f32 *rstd)
{
    const fmp_model_spec *s = &p->m->spec;
    bool whole = s->qk_norm_whole;
    fmp_norm_forward(p->m, whole ? p->T : p->T * heads, whole ? heads * s->head_size : s->head_size, x, g, y,
                     rstd);
}

static void attention_forward(fmp_pass *p, size_t l, const fmk_f32 *n1, fmp_acts *a)
{
    const fmp_model_spec *s = &p->m->spec;
    const fmp_layer *layer = &p->m->layers[l];
    const fmp_strides row = fmp_strides_of(s);
    bool own_kv = s->layers[l].kv_back == 0;
    fmk_f32 *k = NULL, *v = NULL;
    fmp_pass_kv(p, l, &k, &v);
    fmk_f32 *q_raw = layer->q_norm ? a->q_raw : a->q, *k_raw = layer->k_norm ? a->k_raw : k;
    group_forward(p, l, GROUP_QKV, n1, false, (fmk_f32 *const[]){q_raw, k_raw, v});
    if (layer->q_norm) { qk_norm_forward(p, s->n_heads, q_raw, layer->q_norm, a->q, a->rq); }
    if (layer->k_norm) { qk_norm_forward(p, s->n_kv_heads, k_raw, layer->k_norm, k, a->rk); }
    if (s->layers[l].rope) {
        fmp_pass_rope(p, l, s->n_heads, row.q, false, a->q);
        if (own_kv) { fmp_pass_rope(p, l, s->n_kv_heads, row.kv, false, k); }
    }
    attend(p, l, a);
}

/* x_out = x + projection of in, through a norm where there is one: y keeps its input */
static void add_unit(fmp_pass *p, size_t l, fmp_group g, const fmk_f32 *in, const fmp_param *post,
                     const fmk_f32 *x, fmk_f32 *y, fmk_f32 *rstd, fmk_f32 *x_out)
{
    int64_t C = p->m->spec.n_channels;
    if (x_out != x) {
        size_t bytes = (size_t)(p->T * C) * sizeof *x;
        p->m->be->copy_rows(p->m->q, 1, bytes, x, bytes, x_out, bytes);
    }
    group_forward(p, l, g, in, !post, post ? &y : &x_out);
    if (!post) { return; }
    fmp_norm_forward(p->m, p->T, C, y, post, p->w->y, rstd);
    p->m->be->add(p->m->q, p->T * C, p->w->y, x_out);
}

void fmp_gate_forward(const fmp_pass *p, const fmp_acts *a)
{
    const fmp_model_spec *s = &p->m->spec;
    int64_t ld = fmp_strides_of(s).ff;
    if (s->activation == FMP_ACT_SILU) {
        p->m->be->swiglu_fwd(p->m->q, p->T, s->n_ff, ld, a->gate, a->up, a->h);
    } else {
        p->m->be->geglu_fwd(p->m->q, p->T, s->n_ff, ld, a->gate, a->up, a->h);
    }
}

void fmp_layer_forward(fmp_pass *p, size_t l)
{
    fmp_work *w = p->w;
    const fmp_layer *layer = &p->m->layers[l];
    fmp_acts *a = fmp_work_acts(w, l);
    fmk_f32 *x = w->x[l], *x_mid = a->x_mid ? a->x_mid : x;
    attention_forward(p, l, norm_or_same(p, layer->norm1, x, a->n1, a->rstd1), a);
    add_unit(p, l, GROUP_O, a->o, layer->post1, x, a->y1, a->rstd_y1, x_mid);
    const fmk_f32 *n2 = norm_or_same(p, layer->norm2, x_mid, a->n2, a->rstd2);
    group_forward(p, l, GROUP_GATE_UP, n2, false, (fmk_f32 *const[]){a->gate, a->up});
    fmp_gate_forward(p, a);
    add_unit(p, l, GROUP_DOWN, a->h, layer->post2, x_mid, a->y2, a->rstd_y2, w->x[l + 1]);
}

void fmp_layer_keep(fmp_pass *p, size_t l)
{
    const fmp_acts *a = fmp_work_acts(p->w, l);
    if (a->kept) { p->m->be->narrow(p->m->q, p->w->n_wide, p->w->wide, a->kept); }
}

/* A row of cosines and sines for each token, by the length of its own text. */
static void rope_rows(fmp_pass *p, int set)
{
    const fmp_model_spec *s = &p->m->spec;
    const fmp_staging *host = &p->w->staging;
    int64_t half = fmp_spec_rotary(s) / 2;
    float frequency[FMP_MAX_ROTARY / 2], factor = 1.0f;
    for (size_t i = 0; i < p->n_seg; i++) {
        int64_t n = p->len ? p->len[i] : (int64_t)p->seg[i + 1] - p->seg[i];
        fmp_rope_frequencies(s, &s->rope[set], n, frequency, &factor);
        for (uint32_t t = p->seg[i]; t < p->seg[i + 1]; t++) {
            float *c = host->rope_cos[set] + (int64_t)t * half, *sn = host->rope_sin[set] + (int64_t)t * half;
            host->rope_row[t] = (int32_t)t;
            for (int64_t k = 0; k < half; k++) {
                float angle = (float)host->pos[t] * frequency[k];
                c[k] = (float)cos((double)angle) * factor;
                sn[k] = (float)sin((double)angle) * factor;
            }
        }
    }
    size_t bytes = (size_t)(p->T * half) * sizeof(float);
    p->m->be->upload(p->m->q, p->w->rope_cos[set], host->rope_cos[set], bytes);
    p->m->be->upload(p->m->q, p->w->rope_sin[set], host->rope_sin[set], bytes);
    p->m->be->upload(p->m->q, p->w->rope_row, host->rope_row, (size_t)p->T * sizeof *host->rope_row);
}

void fmp_pass_begin(fmp_pass *p)
{
    const fmk_backend *be = p->m->be;
    fmk_stream *q = p->m->q;
    fmp_work *w = p->w;
    const fmp_staging *host = &w->staging;
    size_t T = (size_t)p->T;
    for (size_t s = 0; s < p->n_seg; s++) {
        for (uint32_t t = p->seg[s]; t < p->seg[s + 1]; t++) {
            host->pos[t] = p->len ? p->len[s] - 1 : (int32_t)(t - p->seg[s]);
            host->slot[t] = p->cache ? p->slot_of_seg[s] : 0;
        }
    }
    be->upload(q, w->id, p->id, T * sizeof *p->id);
    be->upload(q, w->pos, host->pos, T * sizeof *host->pos);
    if (p->cache) { be->upload(q, w->slot, host->slot, T * sizeof *host->slot); }
    if (p->len) {
        be->upload(q, w->len, p->len, T * sizeof *p->len);
    } else {
        be->upload(q, w->seg, p->seg, (p->n_seg + 1) * sizeof *p->seg);
    }
    if (p->seg_key) { be->upload(q, w->seg_key, p->seg_key, p->n_seg * sizeof *p->seg_key); }
    for (int set = 0; set < 2; set++) {
        if (w->rope_cos[set]) { rope_rows(p, set); }
    }
}

/* Rows of an embedding that stays as its file has it. */
static void embed_from_file(const fmp_pass *p)
{
    size_t n = (size_t)p->T;
    fmp_param_rows(p->m->embed, p->id, n, p->w->staging.x);
    p->m->be->upload(p->m->q, p->w->x[0], p->w->staging.x, n * p->m->spec.n_channels * sizeof(float));
}

void fmp_pass_forward(fmp_pass *p)
{
    fmp_model *m = p->m;
    int64_t C = m->spec.n_channels;
    if (fmp_param_is_f32(m->embed)) {
        m->be->embed_fwd(m->q, p->T, C, fmp_param_view(m->embed), p->w->id, p->w->x[0]);
    } else {
        embed_from_file(p);
    }
    if (m->spec.embed_scale > 0.0) { m->be->scale(m->q, p->T * C, (float)m->spec.embed_scale, p->w->x[0]); }
    for (size_t l = 0; l < m->spec.n_layers; l++) {
        fmp_layer_forward(p, l);
        if (l >= p->w->keep) { fmp_layer_keep(p, l); }
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
        if (b->seg[s + 1] - b->seg[s] > fmp_spec_positions(&m->spec)) {
            return fmp_fail(err, FMP_E_RANGE, "segment %zu has %u tokens; the model's positions end at %u", s,
                            b->seg[s + 1] - b->seg[s], fmp_spec_positions(&m->spec));
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
