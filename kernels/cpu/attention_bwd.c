/*
 * attention_bwd.c: attention's backward pass; attention.h has what it shares with attention.c.
 *
 * A task owns a span of keys of one head and walks the queries that see it, in five products: scores and dP, then
 * dQ = dS K, and dK^T = Q^T dS and dV^T = dO^T P, for which dS and P need no transposition. dQ's sums over the spans,
 * and those of dK and dV over the heads that share a key, are added up in a fixed order at the end.
 */
#include "attention.h"

#define TAKES 16 /* scratch is taken so often at most, each time aligned */

/* What one step of the walk makes: TILE queries, KEYS keys. */
typedef struct step {
    float p[TILE * KEYS], ds[TILE * KEYS]; /* right operands of dV^T, dK^T; rounded: units, pairs of rows */
    float s_sub[SUB * KEYS], dp_sub[SUB * KEYS]; /* SUB rows before they are rounded  */
    uint32_t ds_rows[SUB * KEYS];                /* and after: left operand of dQ     */
} step;

/* ---- what is summed apart ---- */

/* Keys of the piece of KEYS that begins at key0, with those that fill its last block. */
static int64_t width_of(const piece *b, int64_t key0)
{
    return fmk_min(KEYS, fmk_ceil_div(b->len - key0, FMK_NR) * FMK_NR);
}

/* dK's or dV's sums of one head over the keys of such a piece: (D, width_of) */
static float *key_sums(const attn_job *job, float *sums, int64_t head, const piece *b, int64_t key0)
{
    return sums + ((head * job->block.n + b->block0) * FMK_NR + key0) * job->a.D;
}

/* Where dQ's rows from `row` on are summed by this span: in dq itself by a segment's first. */
static float *dq_rows(const attn_job *job, const piece *span, int64_t head, int64_t row, int64_t *ld)
{
    const fmk_attn *a = &job->a;
    *ld = span->at == 0 ? a->ldq : a->D;
    return span->at == 0 ? job->dq + (span->start + row) * a->ldq + (job->h0 + head) * a->D
                         : job->dq_sum + (head * job->n_sums + span->sums + row - span->at) * a->D;
}

/* Is the tile that begins at query `row` within sight of the key? */
static bool sees(const attn_job *job, int64_t row, int64_t key)
{
    return row <= key + job->a.window - 1;
}

/* ---- before the walk ---- */

/* delta = dO o, and the log-sum-exp, where the walk reads them: by head, tokens in blocks */
FMK_INLINE void row_sums_body(const attn_job *job, const piece *b, int64_t head)
{
    const fmk_attn *a = &job->a;
    int64_t to = (head * job->block.n + b->block0) * FMK_NR + b->at, h = job->h0 + head;
    for (int64_t i = 0; i < b->n; i++) {
        int64_t t = b->start + b->at + i;
        job->row_lse[to + i] = job->lse_in[t * a->H + h];
        job->row_delta[to + i] =
            fmk_dot(a->D, job->d_o + t * a->ldo + h * a->D, job->o_in + t * a->ldo + h * a->D);
    }
}
FMK_BY_ISA(row_sums, (const attn_job *job, const piece *b, int64_t head), (job, b, head))

static void layout_task(void *arg, size_t i)
{
    const attn_job *job = arg;
    fmk_attn_lay_out(job, (int64_t)i);
    for (int64_t h = 0; h < job->n_h; h++) {
        row_sums(job, &job->block.p[i], h);
    }
}

/* ---- the walk ---- */

/*
 * Capped scores, so that what follows is the same as without a cap: plain scores become the capped ones over `scale`,
 * and dp is moved towards delta by the slope of the cap, dp - delta being what the gradient is made of.
 */
FMK_INLINE void cap_row(const attn_job *job, int64_t cols, float delta, float *restrict s, float *restrict dp)
{
    float cap = job->a.softcap, scale = job->a.scale;
    for (int64_t j = 0; j < cols; j++) {
        float y = fmk_softcap(cap, s[j] * scale);
        float slope = 1.0f - (y / cap) * (y / cap);
        s[j] = y / scale;
        dp[j] = delta + slope * (dp[j] - delta);
    }
}

/* m rows of scores and dp become probabilities and the scores' gradients, zero where a key is not seen. */
FMK_INLINE void grad_rows_body(const attn_job *job, int64_t pos0, int64_t m, int64_t key0, int64_t cols,
                               const float *lse, const float *delta, float *restrict s, float *restrict dp)
{
    float scale = job->a.scale;
    for (int64_t r = 0; r < m; r++) {
        float *restrict p = s + r * KEYS;
        float *restrict d = dp + r * KEYS;
        int64_t lo, hi;
        attn_visible(job, pos0 + r, key0, cols, &lo, &hi);
        if (job->a.softcap > 0.0f) { cap_row(job, cols, delta[r], p, d); }
        for (int64_t j = 0; j < cols; j++) {
            p[j] = fmk_exp(p[j] * scale - lse[r]);
            d[j] = p[j] * (d[j] - delta[r]) * scale;
        }
        for (int64_t j = 0; j < lo; j++) {
            p[j] = d[j] = 0.0f;
        }
        for (int64_t j = hi; j < cols; j++) {
            p[j] = d[j] = 0.0f;
        }
    }
}
FMK_BY_ISA(grad_rows,
           (const attn_job *job, int64_t pos0, int64_t m, int64_t key0, int64_t cols, const float *lse,
            const float *delta, float *restrict s, float *restrict dp),
           (job, pos0, m, key0, cols, lse, delta, s, dp))

/* Of the `width` keys from key0 the blocks that some of n rows from `row` see, at least one. */
static void blocks_seen(const attn_job *job, int64_t row, int64_t n, int64_t key0, int64_t width,
                        int64_t *from, int64_t *to)
{
    *to = fmk_min(width, ((row + n - 1 - key0) / FMK_NR + 1) * FMK_NR);
    *from = fmk_min(*to - FMK_NR, fmk_max(0, row + 1 - job->a.window - key0) / FMK_NR * FMK_NR);
}

/* Columns from..to-1 of m rows, in units, become zero. */
static void zero_columns(const attn_job *job, float *x, int64_t m, int64_t from, int64_t to)
{
    for (int64_t i = 0; i < fmk_ceil_div(m, job->pair) && from < to; i++) {
        memset(x + i * KEYS + from, 0, (size_t)(to - from) * sizeof *x);
    }
}

/* acc (D,w) += turned (D, n tokens) times cols (n tokens, w), w being whole blocks; acc's rows ld apart */
static void sum_queries(const attn_job *job, left turned, int64_t n, const float *cols, int64_t w, float *acc,
                        int64_t ld)
{
    attn_tile(job, &(fmk_tile){.M = job->a.D,
                               .N = w,
                               .K = fmk_ceil_div(n, job->pair),
                               .a = turned.at,
                               .ars = turned.row,
                               .acs = turned.column,
                               .b = cols,
                               .b_panel = FMK_NR,
                               .b_row = KEYS,
                               .c = acc,
                               .ldc = ld,
                               .add = true});
}

/* m <= SUB queries from `row` meet `cols` keys from key0: P and dS into p and ds; dS as a left operand. */
static left meet_keys(const attn_job *job, const piece *span, int64_t head, int64_t key0, int64_t cols,
                      int64_t row, int64_t m, float *p, float *ds, step *w)
{
    int64_t g = head / (job->a.H / job->a.G), block = span->block0 + key0 / FMK_NR;
    int64_t at = (head * job->block.n + span->block0) * FMK_NR + row;
    float *s = job->a.bf16 ? w->s_sub : p, *dp = job->a.bf16 ? w->dp_sub : ds;
    left q = fmk_attn_rows(job, PART_Q, head, span, row), d_o = fmk_attn_rows(job, PART_DO, head, span, row);
    fmk_attn_scores(job, m, q, fmk_attn_across(job, PART_K, g, block), cols / FMK_NR, s, KEYS);
    fmk_attn_scores(job, m, d_o, fmk_attn_across(job, PART_V, g, block), cols / FMK_NR, dp, KEYS);
    grad_rows(job, row, m, key0, cols, job->row_lse + at, job->row_delta + at, s, dp);
    if (job->a.bf16) {
        fmk_round_cols(m, cols, s, KEYS, (uint32_t *)p, KEYS, false);
        fmk_round_cols(m, cols, dp, KEYS, (uint32_t *)ds, KEYS, false);
    }
    return fmk_attn_left(job, m, cols, dp, KEYS, w->ds_rows);
}

/* n <= TILE queries from `row` meet the keys from key0; dk, dv (D,width_of) and dQ's sums follow. */
static void bwd_step(const attn_job *job, const piece *span, int64_t head, int64_t key0, int64_t row,
                     int64_t n, step *w, float *dk, float *dv)
{
    int64_t g = head / (job->a.H / job->a.G), width = width_of(span, key0), least, most, ld;
    blocks_seen(job, row, n, key0, width, &least, &most);
    bool add = key0 - KEYS >= span->at && sees(job, row, key0 - 1);
    float *dq = dq_rows(job, span, head, row, &ld);
    for (int64_t r = 0; r < n; r += SUB) {
        int64_t m = fmk_min(SUB, n - r), from, to;
        blocks_seen(job, row + r, m, key0, width, &from, &to);
        float *p = w->p + r / job->pair * KEYS, *dS = w->ds + r / job->pair * KEYS;
        left ds = meet_keys(job, span, head, key0 + from, to - from, row + r, m, p + from, dS + from, w);
        zero_columns(job, p, m, least, from);
        zero_columns(job, p, m, to, most);
        zero_columns(job, dS, m, least, from);
        zero_columns(job, dS, m, to, most);
        const uint32_t *k = fmk_attn_along(job, PART_K, g, span->block0 + (key0 + from) / FMK_NR);
        fmk_attn_sum_tokens(job, m, ds, k, (to - from) / FMK_NR, dq + r * ld, ld, add);
    }
    left d_o = fmk_attn_turned(job, PART_DO, head, span, row),
         q = fmk_attn_turned(job, PART_Q, head, span, row);
    sum_queries(job, d_o, n, w->p + least, most - least, dv + least, width);
    sum_queries(job, q, n, w->ds + least, most - least, dk + least, width);
}

static void bwd_task(void *arg, size_t i)
{
    const attn_job *job = arg;
    const piece *span = &job->span.p[(int64_t)i / job->n_h];
    int64_t head = (int64_t)i % job->n_h, end = span->at + span->n;
    step w;
    for (int64_t key0 = span->at; key0 < end; key0 += KEYS) {
        int64_t last = fmk_min(key0 + KEYS, end) - 1;
        size_t size_bytes = (size_t)(width_of(span, key0) * job->a.D) * sizeof(float);
        float *dk = key_sums(job, job->dk_sum, head, span, key0),
              *dv = key_sums(job, job->dv_sum, head, span, key0);
        memset(dk, 0, size_bytes);
        memset(dv, 0, size_bytes);
        for (int64_t row = key0; row < span->len && sees(job, row, last); row += TILE) {
            bwd_step(job, span, head, key0, row, fmk_min(TILE, span->len - row), &w, dk, dv);
        }
    }
}

/* ---- after it: adding up ---- */

/* dq's rows of one block: what the spans after the first have summed; zero where no span came. */
FMK_INLINE void add_dq_body(const attn_job *job, const piece *b, int64_t head)
{
    const fmk_attn *a = &job->a;
    for (int64_t row = b->at; row < b->at + b->n; row++) {
        float *dq = job->dq + (b->start + row) * a->ldq + (job->h0 + head) * a->D; /* (D) */
        int64_t tile = row / TILE * TILE;
        for (int64_t s = b->span0; s < job->span.n && job->span.p[s].start == b->start; s++) {
            const piece *span = &job->span.p[s];
            bool came = sees(job, tile, span->at + span->n - 1);
            if (span->at > row) { break; }
            if (span->at == 0 && !came) { memset(dq, 0, (size_t)a->D * sizeof *dq); }
            if (span->at == 0 || !came) { continue; }
            int64_t ld;
            const float *sum = dq_rows(job, span, head, row, &ld);
            for (int64_t d = 0; d < a->D; d++) {
                dq[d] += sum[d];
            }
        }
    }
}
FMK_BY_ISA(add_dq, (const attn_job *job, const piece *b, int64_t head), (job, b, head))

/* out (n,D) = the transposed sum over the heads of group g, of the block's columns of their (D, width_of) */
FMK_INLINE void add_heads_body(const attn_job *job, int64_t g, const piece *b, float *sums, float *out,
                               int64_t ld)
{
    int64_t D = job->a.D, per_g = job->a.H / job->a.G, column = b->at % KEYS, key0 = b->at - column;
    int64_t width = width_of(b, key0), next = job->block.n * FMK_NR * D; /* to the next head */
    const float *first = key_sums(job, sums, g * per_g, b, key0) + column;
    for (int64_t d0 = 0; d0 < D; d0 += FMK_NR) {
        float sum[FMK_NR * FMK_NR], turned[FMK_NR * FMK_NR];
        int64_t m = fmk_min(FMK_NR, D - d0);
        for (int64_t d = 0; d < m; d++) {
            const float *x = first + (d0 + d) * width;
            fmk_v16 lo = *(const fmk_v16 *)x, hi = *(const fmk_v16 *)(x + 16);
            for (int64_t h = 1; h < per_g; h++) {
                x += next;
                lo += *(const fmk_v16 *)x;
                hi += *(const fmk_v16 *)(x + 16);
            }
            *(fmk_v16 *)(sum + d * FMK_NR) = lo;
            *(fmk_v16 *)(sum + d * FMK_NR + 16) = hi;
        }
        fmk_pack_block_t(FMK_NR, m, sum, FMK_NR, turned);
        for (int64_t j = 0; j < b->n; j++) {
            memcpy(out + j * ld + d0, turned + j * FMK_NR, (size_t)m * sizeof *out);
        }
    }
}
FMK_BY_ISA(add_heads, (const attn_job *job, int64_t g, const piece *b, float *sums, float *out, int64_t ld),
           (job, g, b, sums, out, ld))

static void add_up_task(void *arg, size_t i)
{
    const attn_job *job = arg;
    const fmk_attn *a = &job->a;
    const piece *b = &job->block.p[i];
    int64_t t = b->start + b->at;
    for (int64_t h = 0; h < job->n_h; h++) {
        add_dq(job, b, h);
    }
    for (int64_t g = 0; g < job->n_g; g++) {
        int64_t at = (job->g0 + g) * a->D;
        add_heads(job, g, b, job->dk_sum, job->dk + t * a->ldk + at, a->ldk);
        add_heads(job, g, b, job->dv_sum, job->dv + t * a->ldv + at, a->ldv);
    }
}

/* ---- memory ---- */

/* Laid out and summed for each key/value head; `tokens` in whole blocks. */
static int64_t units_per_g(const fmk_attn *a, int64_t tokens, int64_t n_sums)
{
    int64_t per_g = a->H / a->G, pair = a->bf16 ? fmk_pair() : 1, D = a->D, Du = fmk_ceil_div(D, pair);
    int64_t keys = 2 * tokens * Du + tokens / pair * (fmk_ceil_div(D, FMK_NR) * FMK_NR);
    int64_t queries = a->bf16 ? 2 * (tokens * Du + (pair == 2 ? D * fmk_odd_lines(tokens / pair) : 0)) : 0;
    return keys + per_g * (queries + 2 * tokens + (n_sums + 2 * tokens) * D);
}

size_t fmk_attn_scratch(const fmk_attn *a, int64_t longest)
{
    int64_t n_blocks = (a->T + a->n_seg * (FMK_NR - 1)) / FMK_NR;
    int64_t n_spans =
        fmk_min(SPANS, fmk_ceil_div(longest, KEYS)); /* of the longest, which sums most for a token */
    int64_t units = units_per_g(a, n_blocks * FMK_NR, fmk_max(0, n_spans - 1) * a->T / 2);
    int64_t most = fmk_min(
        a->G * units, fmk_max(ATTN_PASS_UNITS, units)); /* forward is as bounded, and takes less a head */
    return (size_t)most * sizeof(float) + 3 * (size_t)n_blocks * sizeof(piece) + (size_t)TAKES * 64;
}

/* Laid out and summed for the heads of this pass. */
static void take_pass(fmk_ctx *ctx, attn_job *job, const float *q, const float *k, const float *v)
{
    const fmk_attn *a = &job->a;
    size_t n_h = (size_t)job->n_h, D = (size_t)a->D, tokens = (size_t)(job->block.n * FMK_NR);
    fmk_attn_take_part(ctx, job, PART_Q, q, a->ldq, LAY_ROWS | LAY_TURNED);
    fmk_attn_take_part(ctx, job, PART_K, k, a->ldk, LAY_ACROSS | LAY_ALONG);
    fmk_attn_take_part(ctx, job, PART_V, v, a->ldv, LAY_ACROSS);
    fmk_attn_take_part(ctx, job, PART_DO, job->d_o, a->ldo, LAY_ROWS | LAY_TURNED);
    job->row_lse = fmk_take(ctx, n_h * tokens, sizeof(float));
    job->row_delta = fmk_take(ctx, n_h * tokens, sizeof(float));
    job->dq_sum = fmk_take(ctx, n_h * (size_t)job->n_sums * D, sizeof(float));
    job->dk_sum = fmk_take(ctx, n_h * tokens * D, sizeof(float));
    job->dv_sum = fmk_take(ctx, n_h * tokens * D, sizeof(float));
}

void fmk_attn_bwd(fmk_ctx *ctx, const fmk_attn *a, const float *q, const float *k, const float *v,
                  const float *o, const float *lse, const float *d_o, float *dq, float *dk, float *dv)
{
    size_t mark = fmk_mark(ctx);
    attn_job job = {.o_in = o, .lse_in = lse, .d_o = d_o, .dq = dq, .dk = dk, .dv = dv};
    fmk_attn_start(ctx, &job, a);
    int64_t n_g = fmk_attn_heads_per_pass(&job, units_per_g(a, job.block.n * FMK_NR, job.n_sums));
    size_t pass_mark = fmk_mark(ctx);
    for (int64_t g = 0; g < a->G; g += n_g) {
        fmk_attn_choose_heads(&job, g, n_g);
        take_pass(ctx, &job, q, k, v);
        fmk_par(ctx, job.block.n, (double)((job.n_g + job.n_h) * a->D * FMK_NR) / 2, layout_task, &job);
        fmk_par(ctx, job.span.n * job.n_h, (double)a->D * TILE * KEYS / 8, bwd_task, &job);
        fmk_par(ctx, job.block.n, (double)((job.n_g + job.n_h) * a->D * FMK_NR) / 8, add_up_task, &job);
        fmk_release(ctx, pass_mark);
    }
    fmk_release(ctx, mark);
}
