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

/*
 * What the kernels' scratch grows to: the largest of a product whose operand is laid out at each call (LoRA's
 * gradients; all weights in full training), of attention's keys and values, and of the logits of a block of
 * labelled rows beside the head in both layouts. The limits are those of kernels/cpu.
 */
static double scratch_bytes(const fmp_model *m, const fmp_adapter *ad, const fmp_train_options *o)
{
    const double page = 2 << 20, pack_limit = 16 << 20, logits_limit = 32 << 20, tile_rows = 48;
    const bool packed = ad && fmp_model_is_bf16(m); /* the head: see fmk_xent_packed */
    const double most_rows = (packed ? 6.0 : 8.0) * tile_rows;
    double T = (double)o->max_tokens, V = m->spec.vocab_size, head = V * m->spec.n_channels, most = 0.0;
    double narrow = fmp_model_is_bf16(m) ? 0.5 : 1.0;
    for (size_t k = 0; k < (size_t)m->spec.n_layers * N_PROJ; k++) {
        const fmp_param *w = m->layers[k / N_PROJ].w[k % N_PROJ];
        if (!w) { continue; }
        double rows = ad ? 3.0 * ad->rank : (double)w->rows, cols = (double)w->cols;
        double operand = fmin(fmax(T * cols, ad ? 0.0 : rows * cols), pack_limit);
        most = fmax(most, narrow * operand + (narrow < 1.0 ? narrow * T * fmax(rows, (double)w->rows) : 0.0));
    }
    double rows = fmin(T, fmin(most_rows, fmax(1.0, floor(logits_limit / V / tile_rows)) * tile_rows));
    most = fmax(most, rows * V + (packed                     ? 0.0
                                  : head <= 4.0 * pack_limit ? 2.0 * narrow * head
                                                             : pack_limit));
    double keys = 4.0 * T * m->spec.n_kv_heads * m->spec.head_size;
    double bytes = sizeof(float) * fmax(most, fmin(keys, 2.0 * pack_limit));
    return ceil(bytes / page) * page; /* a reserved range is backed by large pages */
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
    all += 3.0 * sizeof(float) * n + scratch_bytes(m, ad, o) + (ad ? 0.0 : weight_bytes(m));
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

double fmp_model_measure_gflops(fmp_model *m)
{
    enum { ROWS = 384, N = 768, K = 768 };
    fmk_packed *w = NULL;
    fmp_err err = FMP_ERR_INIT;
    float *x = malloc((size_t)ROWS * K * sizeof *x), *y = malloc((size_t)ROWS * N * sizeof *y);
    float *values = malloc((size_t)N * K * sizeof *values);
    double best = 0.0;
    for (int i = 0; x && i < ROWS * K; i++) {
        x[i] = (float)(i % 7) * 0.25f;
    }
    for (int i = 0; values && i < N * K; i++) {
        values[i] = (float)(i % 5) * 0.25f;
    }
    if (x && y && values && fmk_matmul_pack(m->ctx, N, K, values, fmp_model_is_bf16(m), &w, &err) == FMP_OK) {
        double start = fmp_now(), last = start;
        do {
            fmk_matmul_packed(m->ctx, ROWS, x, w, 0.0f, y);
            double now = fmp_now(), rate = now > last ? 2e-9 * ROWS * N * K / (now - last) : 0.0;
            best = rate > best ? rate : best;
            last = now;
        } while (last - start < 0.1);
    }
    fmk_packed_free(w);
    free(x);
    free(y);
    free(values);
    return best;
}
