/*
 * trainer_cost.c: what training takes, before and while it runs: bytes, and how the budget is kept; operations,
 * and what this machine could do at most.
 */
#include "trainer.h"

size_t fmp_trainer_lowest(const fmp_adapter *ad)
{
    size_t k = 0;
    while (ad && k < ad->n_lora && !ad->lora[k].a) {
        k++;
    }
    return k / N_PROJ;
}

static size_t most_of(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Of a layer's groups: the projections that read one input, with LoRA beside them. */
static size_t lora_scratch(const fmp_model *m, const fmp_adapter *ad, int64_t T, size_t l)
{
    size_t most = 0;
    for (int g = 0; g < N_GROUP; g++) {
        const fmp_param *const *w = (const fmp_param *const *)m->layers[l].w;
        int64_t rows = 0, n_u = fmp_group_count(ad, l, (fmp_group)g, NULL) * (int64_t)ad->rank;
        for (int k = fmp_group_first[g]; k < (int)fmp_group_first[g + 1]; k++) {
            rows += w[k] ? w[k]->rows : 0;
        }
        if (n_u > 0) {
            most =
                most_of(most, m->be->lora_scratch(m->device->dev, T, w[fmp_group_first[g]]->cols, rows, n_u));
        }
    }
    return most;
}

/*
 * What the device takes beside arguments: the largest of a product whose operand is laid out at each call (LoRA's
 * gradients; weights on the way back, in full training on both), of LoRA's groups, of attention, and of
 * the loss.
 */
static size_t scratch_bytes(const fmp_model *m, const fmp_adapter *ad, const fmp_train_options *o)
{
    const fmk_backend *be = m->be;
    const fmk_device *d = m->device->dev;
    int64_t T = (int64_t)o->max_tokens;
    bool bf16 = fmp_model_is_bf16(m);
    const fmk_dev_attn attn = {.T = T,
                               .H = m->spec.n_heads,
                               .G = m->spec.n_kv_heads,
                               .D = m->spec.head_size,
                               .n_seg = o->max_segments ? (int64_t)o->max_segments : 1,
                               .bf16 = bf16};
    size_t most = be->xent_scratch(d, T, m->spec.n_channels, m->spec.vocab_size, bf16, ad && bf16);
    most = most_of(most, be->attn_scratch(d, &attn, o->longest ? (int64_t)o->longest : T));
    for (size_t k = 0; k < (size_t)m->spec.n_layers * N_PROJ; k++) {
        const fmp_param *w = m->layers[k / N_PROJ].w[k % N_PROJ];
        if (!w) { continue; }
        int64_t rows = ad && 3 * (int64_t)ad->rank > w->rows ? 3 * (int64_t)ad->rank : w->rows;
        const fmk_mm gradient = {.M = rows, .N = w->cols, .K = T, .bf16 = bf16};
        const fmk_mm input = {.M = T, .N = w->cols, .K = w->rows, .bf16 = bf16};
        most = most_of(most, be->matmul_scratch(d, &gradient));
        most = most_of(most, be->matmul_scratch(d, &input));
    }
    for (size_t l = 0; ad && bf16 && l < m->spec.n_layers; l++) {
        most = most_of(most, lora_scratch(m, ad, T, l));
    }
    return most;
}

/* f32 copies of the weights that full training will make. */
static double weight_bytes(const fmp_model *m)
{
    double n = 0.0;
    for (size_t i = 0; i < m->n_params; i++) {
        n += m->params[i].own ? 0.0 : (double)fmp_param_count(&m->params[i]);
    }
    return sizeof(float) * n;
}

/* With n_acts sets of activations. */
static size_t bytes_with(const fmp_model *m, const fmp_adapter *ad, const fmp_train_options *o, size_t n_acts)
{
    int64_t T = (int64_t)o->max_tokens;
    double n = ad ? (double)ad->n_values : (double)fmp_model_n_params(m);
    double all = (double)fmp_work_bytes(m, ad, T, WORK_TRAIN, fmp_trainer_lowest(ad), n_acts);
    all += 3.0 * sizeof(float) * n + (double)scratch_bytes(m, ad, o) + (ad ? 0.0 : weight_bytes(m));
    all += o->evaluates ? (double)fmp_work_bytes(m, ad, T, WORK_FORWARD, 0, 1) : 0.0;
    return all < 0x1p62 ? (size_t)all : SIZE_MAX;
}

void fmp_trainer_plan(const fmp_model *m, const fmp_adapter *ad, const fmp_train_options *o,
                      fmp_memory_plan *plan)
{
    size_t n_layers = m->spec.n_layers - fmp_trainer_lowest(ad), n = n_layers;
    size_t all = bytes_with(m, ad, o, n), least = bytes_with(m, ad, o, 1);
    if (o->memory_bytes && all > o->memory_bytes && n > 1) { /* each set takes the same */
        size_t each = (all - least) / (n - 1), room = o->memory_bytes > least ? o->memory_bytes - least : 0;
        n = each > 0 && room / each < n - 1 ? 1 + room / each : n;
        while (n > 1 && bytes_with(m, ad, o, n) > o->memory_bytes) {
            n--;
        }
    }
    *plan = (fmp_memory_plan){
        .bytes = bytes_with(m, ad, o, n), .least_bytes = least, .n_layers = n_layers, .n_kept = n};
}

/* Pairs of a query and a key that a segment of n tokens has. */
static double attended(double n, double window)
{
    double w = window > 0.0 && window < n ? window : n;
    return w * (w + 1.0) / 2.0 + (n - w) * w;
}

/*
 * Of one token, forward: two for each weight and LoRA value. Backward, as much again for the gradient of the
 * input, from the lowest trained layer up, and as much for the gradient of what is trained.
 */
static double linear_flops(const fmp_trainer *tr, size_t l)
{
    double weights = 0.0, lora = 0.0;
    for (int k = 0; k < N_PROJ; k++) {
        const fmp_param *w = tr->m->layers[l].w[k];
        const fmp_lora *ad = fmp_adapter_at(tr->ad, l, (fmp_proj)k);
        weights += w ? 2.0 * (double)w->rows * (double)w->cols : 0.0;
        lora += ad ? 2.0 * tr->ad->rank * (double)(ad->in + ad->out) : 0.0;
    }
    bool backward = l >= fmp_trainer_lowest(tr->ad);
    return weights * (1.0 + backward + (tr->ad ? 0.0 : 1.0)) + 3.0 * lora;
}

double fmp_trainer_flops(const fmp_trainer *tr, const fmp_batch *b, uint64_t n_labels)
{
    const fmp_model_spec *s = &tr->m->spec;
    double sum = (tr->ad ? 4.0 : 6.0) * (double)n_labels * s->n_channels * s->vocab_size;
    for (size_t l = 0; l < s->n_layers; l++) {
        double pairs = 0.0;
        for (size_t i = 0; i < b->n_segments; i++) {
            pairs += attended(b->seg[i + 1] - b->seg[i], s->layers[l].window);
        }
        double attention = 4.0 * s->n_heads * s->head_size * pairs;
        sum += (double)b->n_tokens * linear_flops(tr, l);
        sum += attention * (l >= fmp_trainer_lowest(tr->ad) ? 3.0 : 1.0);
    }
    return sum;
}

fmp_status fmp_model_prepare(fmp_model *m, fmp_err *err)
{
    return fmp_model_ready(m, false, err);
}

/* x (n): small numbers, none of them slow to multiply. */
static void fill(float *x, int n, int period)
{
    for (int i = 0; x && i < n; i++) {
        x[i] = (float)(i % period) * 0.25f;
    }
}

enum { PEAK_ROWS = 384, PEAK_N = 768, PEAK_K = 768 };

/* The best rate of 0.1 s of x W^T. */
static double best_rate(fmp_model *m, const fmk_packed *w, const fmk_f32 *x, fmk_f32 *y, fmp_err *err)
{
    double best = 0.0, start = fmp_now(), last = start;
    do {
        m->be->matmul_packed(m->q, PEAK_ROWS, x, w, 0.0f, y);
        if (m->be->sync(m->q, err) != FMP_OK) { return 0.0; }
        double now = fmp_now(), rate = now > last ? 2e-9 * PEAK_ROWS * PEAK_N * PEAK_K / (now - last) : 0.0;
        best = rate > best ? rate : best;
        last = now;
    } while (last - start < 0.1);
    return best;
}

double fmp_model_measure_gflops(fmp_model *m)
{
    fmk_packed *w = NULL;
    fmp_mirror x = {0}, y = {0};
    fmp_err err = FMP_ERR_INIT;
    float *values = malloc((size_t)PEAK_N * PEAK_K * sizeof *values);
    double best = 0.0;
    fill(values, PEAK_N * PEAK_K, 5);
    if (values &&
        m->be->pack(m->device->dev, PEAK_N, PEAK_K, values, fmp_model_is_bf16(m), &w, &err) == FMP_OK &&
        fmp_mirror_new(m->device, (size_t)PEAK_ROWS * PEAK_K, &x, &err) == FMP_OK &&
        fmp_mirror_new(m->device, (size_t)PEAK_ROWS * PEAK_N, &y, &err) == FMP_OK) {
        fill(x.host, PEAK_ROWS * PEAK_K, 7);
        fmp_mirror_wrote_host(&x);
        fmp_mirror_push(m->device, &x);
        best = best_rate(m, w, x.dev, y.dev, &err);
    }
    m->be->packed_free(m->device->dev, w);
    fmp_mirror_free(m->device, &x);
    fmp_mirror_free(m->device, &y);
    free(values);
    return best;
}
