/*
 * kv.c: the cache of keys and values, and one new token's attention to it.
 *
 * A cache holds the rows as f32, as bf16, or as 8-bit numbers with one scale for each head's row: what is
 * read at every step is then a half or a quarter. Rows are widened in registers where they are used; scores,
 * weights and sums are f32 for every kind. Same online softmax as attention.c (Dao et al. 2022), CHUNK keys
 * at a time; a head's bits depend on its own row and cache only.
 *
 * A cache is mostly read from memory, so each row is read once, by one thread, for all heads that use it. First the
 * scores, threads sharing the keys out; then weights and sums, threads sharing out the values of a row: so each sum
 * still runs over the keys in order.
 */
#include "internal.h"

#define CHUNK        128 /* keys whose weights are made at once     */
#define STRIP        32  /* keys of a task that makes scores        */
#define PART         32  /* values of a row in a task that sums     */
#define BUNDLE       4   /* heads of a group in such a task         */
#define SCORES_LIMIT ((int64_t)1 << 20)
#define Q8_MAX       127.0f

typedef uint16_t u16x16 __attribute__((vector_size(32), aligned(2), may_alias));
typedef uint32_t u32x16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef int8_t s8x16 __attribute__((vector_size(16), aligned(1), may_alias));
typedef float f32x8 __attribute__((vector_size(32)));
typedef float f32x4 __attribute__((vector_size(16)));
typedef int16_t s16x16 __attribute__((vector_size(32), aligned(2), may_alias));
typedef int32_t s32x16 __attribute__((vector_size(64), aligned(4), may_alias));

static size_t value_bytes(fmk_kv_kind kind)
{
    return kind == FMK_KV_F32 ? sizeof(float) : kind == FMK_KV_BF16 ? sizeof(uint16_t) : sizeof(int8_t);
}

/* ---- rows in ---- */

/* One head's row to 8 bits: x is within half a scale of q * scale. */
FMK_INLINE void quantize_row_body(int64_t D, const float *restrict x, int8_t *restrict q, float *scale)
{
    float most = 0.0f;
    for (int64_t d = 0; d < D; d++) {
        float a = fabsf(x[d]);
        most = a > most ? a : most;
    }
    float up = most > 0.0f ? Q8_MAX / most : 0.0f;
    for (int64_t d = 0; d < D; d++) {
        float y = rintf(x[d] * up);
        y = y > Q8_MAX ? Q8_MAX : y < -Q8_MAX ? -Q8_MAX : y;
        q[d] = (int8_t)y;
    }
    *scale = most / Q8_MAX;
}
FMK_BY_ISA(quantize_row, (int64_t D, const float *restrict x, int8_t *restrict q, float *scale),
           (D, x, q, scale))

static void store_rows(const fmk_kv *kv, int64_t at, int64_t n, const float *x, void *rows, float *scales)
{
    int64_t values = n * kv->G * kv->D, first = at * kv->G * kv->D;
    switch (kv->kind) {
    case FMK_KV_F32: memcpy((float *)rows + first, x, (size_t)values * sizeof *x); break;
    case FMK_KV_BF16: fmk_f32_to_bf16(values, x, (uint16_t *)rows + first); break;
    case FMK_KV_Q8:
        for (int64_t i = 0; i < n * kv->G; i++) {
            quantize_row(kv->D, x + i * kv->D, (int8_t *)rows + first + i * kv->D, scales + at * kv->G + i);
        }
        break;
    }
}

void fmk_kv_store(const fmk_kv *kv, int64_t slot, int64_t pos, int64_t n, const float *k, const float *v)
{
    assert(pos >= 0 && n >= 0 && pos + n <= kv->cap);
    store_rows(kv, slot * kv->cap + pos, n, k, kv->k, kv->k_scale);
    store_rows(kv, slot * kv->cap + pos, n, v, kv->v, kv->v_scale);
}

void fmk_kv_store_ref(const fmk_kv *kv, int64_t slot, int64_t pos, int64_t n, const float *k, const float *v)
{
    int64_t row = kv->D, first = (slot * kv->cap + pos) * kv->G;
    for (int64_t i = 0; i < n * kv->G; i++) {
        for (int side = 0; side < 2; side++) {
            const float *x = (side ? v : k) + i * row;
            void *out = side ? kv->v : kv->k;
            float most = 0.0f;
            for (int64_t d = 0; d < row; d++) {
                most = fmaxf(most, fabsf(x[d]));
            }
            for (int64_t d = 0; d < row; d++) {
                int64_t to = (first + i) * row + d;
                if (kv->kind == FMK_KV_F32) { ((float *)out)[to] = x[d]; }
                if (kv->kind == FMK_KV_BF16) { fmk_f32_to_bf16_ref(1, x + d, (uint16_t *)out + to); }
                if (kv->kind == FMK_KV_Q8) {
                    ((int8_t *)out)[to] = most > 0.0f ? (int8_t)lrint((double)x[d] * Q8_MAX / most) : 0;
                }
            }
            if (kv->kind == FMK_KV_Q8) { (side ? kv->v_scale : kv->k_scale)[first + i] = most / Q8_MAX; }
        }
    }
}

/* ---- attention ---- */

/* `kind` is a constant at each place of use. */
FMK_INLINE float widen(fmk_kv_kind kind, const void *row, int64_t d)
{
    if (kind == FMK_KV_F32) { return ((const float *)row)[d]; }
    if (kind == FMK_KV_BF16) { return fmk_float((uint32_t)((const uint16_t *)row)[d] << 16); }
    return (float)((const int8_t *)row)[d];
}

/* Sixteen values of a row from d on. */
FMK_INLINE fmk_v16 widen16(fmk_kv_kind kind, const void *row, int64_t d)
{
    if (kind == FMK_KV_F32) { return *(const fmk_v16 *)((const float *)row + d); }
    if (kind == FMK_KV_BF16) {
        return (fmk_v16)(__builtin_convertvector(*(const u16x16 *)((const uint16_t *)row + d), u32x16) << 16);
    }
    s16x16 half = __builtin_convertvector(*(const s8x16 *)((const int8_t *)row + d), s16x16);
    s32x16 whole = __builtin_convertvector(half, s32x16);
    return __builtin_convertvector(whole, fmk_v16);
}

/* fmk_fold_add, in registers: the same additions. */
FMK_INLINE float fold(fmk_v16 x)
{
    f32x8 s8 = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7) +
               __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
    f32x4 s4 = __builtin_shufflevector(s8, s8, 0, 1, 2, 3) + __builtin_shufflevector(s8, s8, 4, 5, 6, 7);
    return (s4[0] + s4[2]) + (s4[1] + s4[3]);
}

FMK_INLINE float dot_row(fmk_kv_kind kind, int64_t D, const float *q, const void *row)
{
    fmk_v16 sum = {0};
    float lane[16];
    int64_t d = 0;
    for (; d + 16 <= D; d += 16) {
        sum += *(const fmk_v16 *)(q + d) * widen16(kind, row, d);
    }
    if (d == D) { return fold(sum); }
    *(fmk_v16 *)lane = sum;
    for (; d < D; d++) {
        lane[d & 15] += q[d] * widen(kind, row, d);
    }
    return fmk_fold_add(lane);
}

typedef struct attend_job {
    const fmk_kv_attn *a;
    const fmk_kv *kv;
    int64_t first;     /* sequence of the block's first row */
    int64_t most;      /* keys of the block's longest row   */
    int64_t n_strips;  /* of STRIP keys, of the longest row */
    int64_t n_parts;   /* of PART values of a head's row    */
    int64_t n_bundles; /* of BUNDLE heads of a group        */
    const float *q;
    float *score; /* (rows of the block, H, most) */
    float *o;
} attend_job;

/* The tokens from..len-1 of a slot that a sequence's new token sees. */
typedef struct seen {
    int64_t b, slot, from, len;
    float *score; /* (H, most) */
} seen;

static seen seen_by(const attend_job *job, int64_t row)
{
    const fmk_kv_attn *a = job->a;
    seen s = {.b = job->first + row, .score = job->score + row * a->H * job->most};
    s.slot = a->slot[s.b];
    s.len = a->len[s.b];
    s.from = a->window > 0 ? fmk_max(0, s.len - a->window) : 0;
    assert(s.len >= 1 && s.len <= job->kv->cap);
    return s;
}

/* A row of the cache: token j of `slot`, head g. */
FMK_INLINE const void *row_at(fmk_kv_kind kind, const void *rows, const fmk_kv *kv, int64_t slot, int64_t j,
                              int64_t g)
{
    return (const char *)rows + (size_t)(((slot * kv->cap + j) * kv->G + g) * kv->D) * value_bytes(kind);
}

/* Tokens j0..j1-1 of all heads of the cache, each row met by the query heads of its group. */
FMK_INLINE void score_strip(fmk_kv_kind kind, int64_t D, const attend_job *job, const seen *s, int64_t j0,
                            int64_t j1)
{
    const fmk_kv_attn *a = job->a;
    const fmk_kv *kv = job->kv;
    const float *q = job->q + s->b * (a->ldq > 0 ? a->ldq : a->H * D);
    int64_t group = a->H / kv->G;
    for (int64_t j = j0; j < j1; j++) {
        for (int64_t g = 0; g < kv->G; g++) {
            const void *k_j = row_at(kind, kv->k, kv, s->slot, j, g); /* (D) */
            float unit = kind == FMK_KV_Q8 ? kv->k_scale[(s->slot * kv->cap + j) * kv->G + g] : 1.0f;
            for (int64_t h = g * group; h < (g + 1) * group; h++) {
                float dot = dot_row(kind, D, q + h * D, k_j);
                if (kind == FMK_KV_Q8) { dot *= unit; }
                s->score[h * job->most + j - s->from] = dot * a->scale;
            }
        }
    }
    for (int64_t h = 0; h < a->H && a->softcap > 0.0f; h++) {
        float *p = s->score + h * job->most - s->from;
        for (int64_t j = j0; j < j1; j++) {
            p[j] = fmk_softcap(a->softcap, p[j]);
        }
    }
}

/* o (n,w) += p (n,CHUNK)'s m weights times rows of V, their values d0..d0+w-1, rows `step` bytes apart. */
FMK_INLINE void add_values(fmk_kv_kind kind, int n, int64_t w, int64_t m, float (*p)[CHUNK], const char *v,
                           size_t step, float (*o)[PART])
{
    for (int64_t j = 0; j < m; j++) {
        const char *v_j = v + (size_t)j * step; /* (w) */
        for (int i = 0; i < n; i++) {
            for (int64_t d = 0; d < w; d++) {
                o[i][d] += p[i][j] * widen(kind, v_j, d);
            }
        }
    }
}

/* n heads from h on: their softmax over the scores, CHUNK at a time, and its sum of V's values d0..d0+w-1. */
FMK_INLINE void weigh_values(fmk_kv_kind kind, int n, int64_t w, const attend_job *job, const seen *s,
                             int64_t h, int64_t d0)
{
    const fmk_kv *kv = job->kv;
    float p[BUNDLE][CHUNK], o[BUNDLE][PART] = {{0}}, max[BUNDLE], sum[BUNDLE] = {0};
    int64_t g = h / (job->a->H / kv->G), n_keys = s->len - s->from;
    size_t step = (size_t)(kv->G * kv->D) * value_bytes(kind);
    for (int i = 0; i < n; i++) {
        max[i] = -INFINITY;
    }
    for (int64_t j0 = 0; j0 < n_keys; j0 += CHUNK) {
        int64_t m = fmk_min(CHUNK, n_keys - j0), row = s->slot * kv->cap + s->from + j0;
        for (int i = 0; i < n; i++) {
            const float *score = s->score + (h + i) * job->most + j0;
            float top = fmk_row_max(m, score);
            float now = top > max[i] ? top : max[i];
            float keep = fmk_exp(max[i] - now);
            for (int64_t j = 0; j < m; j++) {
                p[i][j] = fmk_exp(score[j] - now);
            }
            sum[i] = sum[i] * keep + fmk_row_sum(m, p[i]);
            max[i] = now;
            for (int64_t d = 0; d < w; d++) {
                o[i][d] *= keep;
            }
            for (int64_t j = 0; j < m && kind == FMK_KV_Q8; j++) {
                p[i][j] *= kv->v_scale[(row + j) * kv->G + g];
            }
        }
        const char *v = row_at(kind, kv->v, kv, s->slot, s->from + j0, g);
        add_values(kind, n, w, m, p, v + (size_t)d0 * value_bytes(kind), step, o);
    }
    for (int i = 0; i < n; i++) {
        float inv = 1.0f / sum[i];
        float *out = job->o + (s->b * job->a->H + h + i) * kv->D + d0;
        for (int64_t d = 0; d < w; d++) {
            out[d] = o[i][d] * inv;
        }
    }
}

/* With constant n and w the sums stay in registers. */
FMK_INLINE void weigh_kind(fmk_kv_kind kind, int n, int64_t w, const attend_job *job, const seen *s,
                           int64_t h, int64_t d0)
{
    switch (w == PART ? n : 0) {
    case 1: weigh_values(kind, 1, PART, job, s, h, d0); break;
    case 2: weigh_values(kind, 2, PART, job, s, h, d0); break;
    case 3: weigh_values(kind, 3, PART, job, s, h, d0); break;
    case 4: weigh_values(kind, 4, PART, job, s, h, d0); break;
    default: weigh_values(kind, n, w, job, s, h, d0); break;
    }
}

FMK_INLINE void weigh_any_body(const attend_job *job, const seen *s, int n, int64_t w, int64_t h, int64_t d0)
{
    switch (job->kv->kind) {
    case FMK_KV_F32: weigh_kind(FMK_KV_F32, n, w, job, s, h, d0); break;
    case FMK_KV_BF16: weigh_kind(FMK_KV_BF16, n, w, job, s, h, d0); break;
    case FMK_KV_Q8: weigh_kind(FMK_KV_Q8, n, w, job, s, h, d0); break;
    }
}
FMK_BY_ISA(weigh_any, (const attend_job *job, const seen *s, int n, int64_t w, int64_t h, int64_t d0),
           (job, s, n, w, h, d0))

FMK_INLINE void score_kind(fmk_kv_kind kind, const attend_job *job, const seen *s, int64_t j0, int64_t j1)
{
    switch (job->kv->D) {
    case 64: score_strip(kind, 64, job, s, j0, j1); break;
    case 128: score_strip(kind, 128, job, s, j0, j1); break;
    default: score_strip(kind, job->kv->D, job, s, j0, j1); break;
    }
}

FMK_INLINE void score_any_body(const attend_job *job, const seen *s, int64_t j0, int64_t j1)
{
    switch (job->kv->kind) {
    case FMK_KV_F32: score_kind(FMK_KV_F32, job, s, j0, j1); break;
    case FMK_KV_BF16: score_kind(FMK_KV_BF16, job, s, j0, j1); break;
    case FMK_KV_Q8: score_kind(FMK_KV_Q8, job, s, j0, j1); break;
    }
}
FMK_BY_ISA(score_any, (const attend_job *job, const seen *s, int64_t j0, int64_t j1), (job, s, j0, j1))

static void score_task(void *arg, size_t i)
{
    const attend_job *job = arg;
    const seen s = seen_by(job, (int64_t)i / job->n_strips);
    int64_t j0 = s.from + (int64_t)i % job->n_strips * STRIP;
    if (j0 < s.len) { score_any(job, &s, j0, fmk_min(j0 + STRIP, s.len)); }
}

static void weigh_task(void *arg, size_t i)
{
    const attend_job *job = arg;
    int64_t group = job->a->H / job->kv->G, task = (int64_t)i;
    int64_t d0 = task % job->n_parts * PART, bundle = task / job->n_parts % job->n_bundles * BUNDLE;
    int64_t g = task / job->n_parts / job->n_bundles % job->kv->G;
    const seen s = seen_by(job, task / job->n_parts / job->n_bundles / job->kv->G);
    weigh_any(job, &s, (int)fmk_min(BUNDLE, group - bundle), fmk_min(PART, job->kv->D - d0),
              g * group + bundle, d0);
}

/* Sequences first.. whose scores fit into SCORES_LIMIT, at least one; job: the block of them. */
static int64_t next_block(const fmk_kv_attn *a, int64_t first, attend_job *job)
{
    int64_t n = 0, most = 0;
    for (; first + n < a->B; n++) {
        int64_t len = a->len[first + n], keys = a->window > 0 ? fmk_min(len, a->window) : len;
        if (n > 0 && (n + 1) * a->H * fmk_max(most, keys) > SCORES_LIMIT) { break; }
        most = fmk_max(most, keys);
    }
    job->first = first;
    job->most = most;
    job->n_strips = fmk_ceil_div(most, STRIP);
    return n;
}

void fmk_kv_attend(fmk_ctx *ctx, const fmk_kv_attn *a, const fmk_kv *kv, const float *q, float *o)
{
    assert(kv->D >= 1 && kv->D <= FMK_MAX_D && a->H % kv->G == 0);
    attend_job job = {.a = a,
                      .kv = kv,
                      .q = q,
                      .o = o,
                      .n_parts = fmk_ceil_div(kv->D, PART),
                      .n_bundles = fmk_ceil_div(a->H / kv->G, BUNDLE)};
    for (int64_t first = 0, n = 0; first < a->B; first += n) {
        size_t mark = fmk_mark(ctx);
        n = next_block(a, first, &job);
        job.score = fmk_take(ctx, (size_t)(n * a->H * job.most), sizeof *job.score);
        /* What reading a row costs beside what the heads that meet it do. */
        double row = (double)kv->G + (double)a->H / 4.0;
        int64_t parts = kv->G * job.n_bundles * job.n_parts;
        fmk_par(ctx, n * job.n_strips, STRIP * (double)kv->D * row, score_task, &job);
        fmk_par(ctx, n * parts, (double)(job.most * kv->D) * row / (double)parts, weigh_task, &job);
        fmk_release(ctx, mark);
    }
}

/* ---- by the definition, in f64 ---- */

static double ref_value(const fmk_kv *kv, bool is_k, int64_t row, int64_t d)
{
    const float *scale = is_k ? kv->k_scale : kv->v_scale;
    double x = widen(kv->kind, is_k ? kv->k : kv->v, row * kv->D + d);
    return kv->kind == FMK_KV_Q8 ? x * scale[row] : x;
}

static void ref_head(const fmk_kv_attn *a, const fmk_kv *kv, int64_t b, int64_t h, const float *q, float *o)
{
    double acc[FMK_MAX_D] = {0}, sum = 0.0, max = -INFINITY;
    int64_t from = a->window > 0 ? fmk_max(0, a->len[b] - a->window) : 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t j = from; j < a->len[b]; j++) {
            int64_t row = (a->slot[b] * kv->cap + j) * kv->G + h / (a->H / kv->G);
            double s = 0.0;
            for (int64_t d = 0; d < kv->D; d++) {
                s += q[d] * ref_value(kv, true, row, d);
            }
            s *= a->scale;
            if (a->softcap > 0.0f) { s = a->softcap * tanh(s / a->softcap); }
            max = pass == 0 ? fmax(max, s) : max;
            for (int64_t d = 0; d < kv->D && pass == 1; d++) {
                acc[d] += exp(s - max) * ref_value(kv, false, row, d);
            }
            sum += pass == 1 ? exp(s - max) : 0.0;
        }
    }
    for (int64_t d = 0; d < kv->D; d++) {
        o[d] = (float)(acc[d] / sum);
    }
}

void fmk_kv_attend_ref(const fmk_kv_attn *a, const fmk_kv *kv, const float *q, float *o)
{
    for (int64_t b = 0; b < a->B; b++) {
        for (int64_t h = 0; h < a->H; h++) {
            int64_t ldq = a->ldq > 0 ? a->ldq : a->H * kv->D;
            ref_head(a, kv, b, h, q + b * ldq + h * kv->D, o + (b * a->H + h) * kv->D);
        }
    }
}
