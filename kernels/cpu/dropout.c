/*
 * dropout.c: inverted dropout (Srivastava et al. 2014) whose mask is a function of where an element stands.
 *
 * Philox4x32-10 (Salmon et al. 2011, as in core/base/rng.c) with the counter (block, position in the segment,
 * segment's key, site) and the step's key. A block is 8 sixteen-bit numbers; an element is dropped when its
 * number is below p. So neither threads, packing, splitting a batch nor resuming changes a mask, and the
 * backward pass makes it again instead of keeping it.
 *
 * Channels are taken in strips of 128: number k of block 16*strip + lane belongs to channel 128*strip + 16*k
 * + lane, which lets sixteen blocks be computed side by side.
 */
#include "internal.h"

enum { LANES = 16, NUMBERS = 8, STRIP = LANES * NUMBERS, ROUNDS = 10, ROWS = 8 };

typedef struct strip {
    uint32_t w[4][LANES];
} strip;

/* Sixteen Philox blocks: word 0 of the counters is block0 + lane. */
FMK_INLINE void philox_lanes(uint64_t key, uint32_t block0, uint32_t c1, uint32_t c2, uint32_t c3, strip *s)
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int i = 0; i < LANES; i++) {
        s->w[0][i] = block0 + (uint32_t)i;
        s->w[1][i] = c1;
        s->w[2][i] = c2;
        s->w[3][i] = c3;
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < LANES; i++) {
            uint64_t a = (uint64_t)0xD2511F53u * s->w[0][i];
            uint64_t b = (uint64_t)0xCD9E8D57u * s->w[2][i];
            uint32_t x1 = s->w[1][i], x3 = s->w[3][i];
            s->w[0][i] = (uint32_t)(b >> 32) ^ x1 ^ k0;
            s->w[1][i] = (uint32_t)b;
            s->w[2][i] = (uint32_t)(a >> 32) ^ x3 ^ k1;
            s->w[3][i] = (uint32_t)a;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/* y (C) = or += mask * scale * x */
FMK_INLINE void drop_row_body(const fmk_drop *d, uint32_t seg_key, uint32_t pos, int64_t C, const float *x,
                              bool add, float *y)
{
    float scale = 65536.0f / (65536.0f - (float)d->p_65536);
    for (int64_t c0 = 0; c0 < C; c0 += STRIP) {
        strip s;
        philox_lanes(d->key, (uint32_t)(c0 / NUMBERS), pos, seg_key, d->site, &s);
        for (int k = 0; k < NUMBERS; k++) {
            int64_t at = c0 + (int64_t)k * LANES, n = fmk_min(LANES, C - at);
            unsigned shift = k & 1 ? 16 : 0;
            for (int64_t i = 0; i < n; i++) {
                uint32_t number = s.w[k / 2][i] >> shift & 0xFFFFu;
                float kept = number < d->p_65536 ? 0.0f : scale * x[at + i];
                y[at + i] = add ? y[at + i] + kept : kept;
            }
        }
    }
}
FMK_BY_ISA(drop_row,
           (const fmk_drop *d, uint32_t seg_key, uint32_t pos, int64_t C, const float *x, bool add, float *y),
           (d, seg_key, pos, C, x, add, y))

typedef struct drop_job {
    const fmk_drop *d;
    int64_t T, C;
    const float *x;
    bool add;
    float *y;
} drop_job;

/* The segment that row t lies in, by bisection. */
static int64_t segment_at(const fmk_drop *d, int64_t t)
{
    int64_t low = 0, high = d->n_seg;
    while (high - low > 1) {
        int64_t mid = (low + high) / 2;
        if ((int64_t)d->seg[mid] <= t) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return low;
}

static void drop_task(void *arg, size_t task)
{
    const drop_job *job = arg;
    const fmk_drop *d = job->d;
    int64_t t = (int64_t)task * ROWS, end = fmk_min(t + ROWS, job->T), s = segment_at(d, t);
    for (; t < end; t++) {
        s += t >= (int64_t)d->seg[s + 1];
        uint32_t key = d->seg_key ? d->seg_key[s] : (uint32_t)s;
        drop_row(d, key, (uint32_t)(t - (int64_t)d->seg[s]), job->C, job->x + t * job->C, job->add,
                 job->y + t * job->C);
    }
}

void fmk_dropout(fmk_ctx *ctx, const fmk_drop *d, int64_t T, int64_t C, const float *x, bool add, float *y)
{
    assert(d->p_65536 < 65536 && d->n_seg >= 1 && d->seg[d->n_seg] == T);
    drop_job job = {.d = d, .T = T, .C = C, .x = x, .add = add, .y = y};
    fmk_par(ctx, fmk_ceil_div(T, ROWS), 4.0 * ROWS * (double)C, drop_task, &job);
}

void fmk_dropout_ref(const fmk_drop *d, int64_t T, int64_t C, const float *x, bool add, float *y)
{
    for (int64_t t = 0, s = 0; t < T; t++) {
        s += t >= (int64_t)d->seg[s + 1];
        for (int64_t c = 0; c < C; c++) {
            int64_t lane = c % LANES, k = c % STRIP / LANES;
            uint32_t w[4] = {(uint32_t)(c / STRIP * LANES + lane), (uint32_t)(t - (int64_t)d->seg[s]),
                             d->seg_key ? d->seg_key[s] : (uint32_t)s, d->site};
            uint32_t k0 = (uint32_t)d->key, k1 = (uint32_t)(d->key >> 32);
            for (int round = 0; round < ROUNDS; round++) {
                uint64_t a = (uint64_t)0xD2511F53u * w[0], b = (uint64_t)0xCD9E8D57u * w[2];
                uint32_t x1 = w[1], x3 = w[3];
                w[0] = (uint32_t)(b >> 32) ^ x1 ^ k0;
                w[1] = (uint32_t)b;
                w[2] = (uint32_t)(a >> 32) ^ x3 ^ k1;
                w[3] = (uint32_t)a;
                k0 += 0x9E3779B9u;
                k1 += 0xBB67AE85u;
            }
            uint32_t number = w[k / 2] >> (k & 1 ? 16 : 0) & 0xFFFFu;
            float scale = 65536.0f / (65536.0f - (float)d->p_65536);
            float kept = number < d->p_65536 ? 0.0f : scale * x[t * C + c];
            y[t * C + c] = add ? y[t * C + c] + kept : kept;
        }
    }
}
