/*
 * kernel_bench: what the kernels reach on this machine: GFLOP/s of matrix products (own tiles and oneDNN),
 * milliseconds of attention, tokens a second of the fused head, microseconds of the small ones. Argument:
 * threads (default 1).
 */
#include <fmk.h>
#include <fmpipe/fs.h>
#include <math.h>
#include <stdlib.h>

static fmk_ctx *ctx;

static float *noise(int64_t n)
{
    float *x = aligned_alloc(64, ((size_t)n * sizeof *x + 127) / 64 * 64);
    if (!x) { exit(70); }
    for (int64_t i = 0; i < n; i++) {
        x[i] = (float)((i * 2654435761u) % 2048) / 1024.0f - 1.0f;
    }
    return x;
}

/* Seconds of one call: the best of several rounds of about 30 ms. */
static double seconds(void (*call)(void *), void *arg)
{
    double best = 1e9;
    call(arg);
    for (int round = 0; round < 7; round++) {
        int n = 0;
        double start = fmp_now(), t = start;
        while (t - start < 0.03) {
            call(arg);
            n++;
            t = fmp_now();
        }
        best = fmin(best, (t - start) / n);
    }
    return best;
}

typedef struct product {
    fmk_mm mm;
    float *a, *b, *c;
    fmk_packed *packed;
} product;

static void call_matmul(void *arg)
{
    product *p = arg;
    fmk_matmul(ctx, &p->mm, p->a, p->b, p->c);
}
static void call_packed(void *arg)
{
    product *p = arg;
    fmk_matmul_packed(ctx, p->mm.M, p->a, p->packed, 0.0f, p->c);
}

static double gflops(product *p, void (*call)(void *), bool onednn)
{
    fmp_err err = FMP_ERR_INIT;
    if (fmk_ctx_use_onednn(ctx, onednn, &err) != FMP_OK) { return 0.0; }
    double s = seconds(call, p);
    if (fmk_ctx_use_onednn(ctx, false, &err) != FMP_OK) { return 0.0; }
    return 2e-9 * (double)(p->mm.M * p->mm.N * p->mm.K) / s;
}

static void bench_matmul(int64_t M, int64_t N, int64_t K, bool ta, bool tb)
{
    printf("matmul %5lld x %5lld x %5lld %s%s ", (long long)M, (long long)N, (long long)K, ta ? "ta" : "  ",
           tb ? "tb" : "  ");
    for (int bf16 = 0; bf16 < 2; bf16++) {
        fmp_err err = FMP_ERR_INIT;
        product p = {.mm = {.M = M,
                            .N = N,
                            .K = K,
                            .ta = ta,
                            .tb = tb,
                            .lda = ta ? M : K,
                            .ldb = tb ? K : N,
                            .ldc = N,
                            .bf16 = bf16}};
        p.a = noise(M * K);
        p.b = noise(N * K);
        p.c = noise(M * N);
        if (fmk_matmul_pack(ctx, N, K, p.b, bf16, &p.packed, &err) != FMP_OK) { exit(74); }
        printf("  %s own %6.1f  oneDNN %6.1f  packed %6.1f", bf16 ? "bf16" : "f32",
               gflops(&p, call_matmul, false), gflops(&p, call_matmul, true), gflops(&p, call_packed, false));
        fmk_packed_free(p.packed);
        free(p.a);
        free(p.b);
        free(p.c);
    }
    printf("\n");
}

typedef struct attention {
    fmk_attn a;
    float *q, *k, *v, *o, *lse, *d_o, *dq, *dk, *dv;
} attention;

static void call_attn_fwd(void *arg)
{
    attention *t = arg;
    fmk_attn_fwd(ctx, &t->a, t->q, t->k, t->v, t->o, t->lse);
}
static void call_attn_bwd(void *arg)
{
    attention *t = arg;
    fmk_attn_bwd(ctx, &t->a, t->q, t->k, t->v, t->o, t->lse, t->d_o, t->dq, t->dk, t->dv);
}

static void bench_attention(int64_t T, int64_t H, int64_t G, int64_t D, int64_t seg_len)
{
    uint32_t seg[65];
    attention t = {.a = {.T = T,
                         .H = H,
                         .G = G,
                         .D = D,
                         .seg = seg,
                         .scale = 0.15f,
                         .ldq = H * D,
                         .ldk = G * D,
                         .ldv = G * D,
                         .ldo = H * D}};
    for (int64_t at = 0; at < T; at += seg_len) {
        seg[t.a.n_seg++] = (uint32_t)at;
    }
    seg[t.a.n_seg] = (uint32_t)T;
    float **all[] = {&t.q, &t.k, &t.v, &t.o, &t.lse, &t.d_o, &t.dq, &t.dk, &t.dv};
    for (int i = 0; i < 9; i++) {
        *all[i] = noise(T * H * D);
    }
    printf("attention T=%lld H=%lld G=%lld D=%lld segments of %lld:", (long long)T, (long long)H,
           (long long)G, (long long)D, (long long)seg_len);
    for (int bf16 = 0; bf16 < 2; bf16++) {
        t.a.bf16 = bf16;
        double fwd = seconds(call_attn_fwd, &t), bwd = seconds(call_attn_bwd, &t);
        printf("%s forward %.3f ms, backward %.3f ms", bf16 ? "; bf16" : " f32", fwd * 1e3, bwd * 1e3);
    }
    printf("\n");
    for (int i = 0; i < 9; i++) {
        free(*all[i]);
    }
}

typedef struct loss {
    int64_t N, C, V;
    float *x, *E, *w, *nll, *dx, *dE;
    uint32_t *label;
    bool bf16;
} loss;

static void call_xent(void *arg)
{
    loss *l = arg;
    fmk_xent(ctx, l->N, l->C, l->V, l->x, l->E, l->label, l->w, 1.0f, 0.0f, l->bf16, l->nll, NULL, l->dx, l->dE);
}

static void bench_xent(int64_t N, int64_t C, int64_t V)
{
    loss l = {.N = N, .C = C, .V = V};
    l.x = noise(N * C);
    l.E = noise(V * C);
    l.w = noise(N);
    l.nll = noise(N);
    l.label = calloc((size_t)N, sizeof *l.label);
    if (!l.label) { exit(70); }
    for (int bf16 = 0; bf16 < 2; bf16++) {
        l.bf16 = bf16;
        float *dx = noise(N * C), *dE = noise(V * C);
        double eval = seconds(call_xent, &l);
        l.dx = dx;
        double frozen = seconds(call_xent, &l);
        l.dE = dE;
        double full = seconds(call_xent, &l);
        printf("xent N=%lld C=%lld V=%lld %s: loss only %.0f, with dx %.0f, with dx and dE %.0f rows/s\n",
               (long long)N, (long long)C, (long long)V, bf16 ? "bf16" : "f32 ", (double)N / eval,
               (double)N / frozen, (double)N / full);
        l.dx = l.dE = NULL;
        free(dx);
        free(dE);
    }
    free(l.x);
    free(l.E);
    free(l.w);
    free(l.nll);
    free(l.label);
}

typedef struct rows {
    int64_t T, C;
    float *x, *y, *z, *w, *g, *rstd;
    float *cos_t, *sin_t;
    int32_t *pos;
} rows;
static void call_norm(void *arg)
{
    rows *r = arg;
    fmk_rmsnorm_fwd(ctx, r->T, r->C, 1e-5f, 0.0f, r->x, r->g, r->y, r->rstd);
}
static void call_norm_bwd(void *arg)
{
    rows *r = arg;
    fmk_rmsnorm_bwd(ctx, r->T, r->C, 0.0f, r->x, r->g, r->rstd, r->z, r->y, r->w);
}
static void call_swiglu(void *arg)
{
    rows *r = arg;
    fmk_swiglu_fwd(ctx, r->T, r->C, r->C, r->x, r->z, r->y);
}
static void call_swiglu_bwd(void *arg)
{
    rows *r = arg;
    fmk_swiglu_bwd(ctx, r->T, r->C, r->C, r->x, r->z, r->z, r->y, r->w);
}
static void call_rope(void *arg)
{
    rows *r = arg;
    fmk_rope(ctx, r->T, r->C / 32, 32, 32, r->C, r->pos, r->cos_t, r->sin_t, false, false, r->y);
}
static void call_add(void *arg)
{
    rows *r = arg;
    fmk_add(ctx, r->T * r->C, r->x, r->y);
}
static void call_adamw(void *arg)
{
    rows *r = arg;
    fmk_adamw(ctx, r->T * r->C, r->x, r->z, r->y, r->w, 1.0f, 1e-6f, 0.9f, 0.999f, 1e-8f, 0.0f, 1);
}
static void call_nothing(void *arg)
{
    (void)arg;
    fmk_add(ctx, 0, NULL, NULL);
}

static void bench_rows(int64_t T, int64_t C)
{
    rows r = {.T = T, .C = C, .x = noise(T * C), .y = noise(T * C), .z = noise(T * C), .w = noise(T * C)};
    r.g = noise(C);
    r.rstd = noise(T);
    r.cos_t = noise(16);
    r.sin_t = noise(16);
    r.pos = calloc((size_t)T, sizeof *r.pos);
    const struct {
        const char *name;
        void (*call)(void *);
    } op[] = {{"rmsnorm", call_norm},  {"rmsnorm backward", call_norm_bwd},
              {"swiglu", call_swiglu}, {"swiglu backward", call_swiglu_bwd},
              {"rope", call_rope},     {"add", call_add},
              {"adamw", call_adamw},   {"nothing", call_nothing}};
    printf("T=%lld C=%lld:", (long long)T, (long long)C);
    for (size_t i = 0; i < sizeof op / sizeof op[0]; i++) {
        printf(" %s %.1f us;", op[i].name, seconds(op[i].call, &r) * 1e6);
    }
    printf("\n");
    float *all[] = {r.x, r.y, r.z, r.w, r.g, r.rstd, r.cos_t, r.sin_t};
    for (int i = 0; i < 8; i++) {
        free(all[i]);
    }
    free(r.pos);
}

int main(int argc, char **argv)
{
    fmp_err err = FMP_ERR_INIT;
    int n_threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 1;
    if (n_threads < 1 || fmk_ctx_new(n_threads, &ctx, &err) != FMP_OK) {
        fprintf(stderr, "kernel_bench: %s\n", err.message[0] ? err.message : "threads must be 1 or more");
        return 2;
    }
    printf("%s, %d threads, peak %.0f GFLOP/s f32\n", fmk_ctx_describe(ctx), n_threads,
           fmk_measure_peak_gflops(ctx));
    const int64_t shapes[][3] = {
        {512, 192, 192}, {512, 192, 512}, {512, 512, 192}, {1024, 1536, 576}, {1024, 576, 1536}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        bench_matmul(shapes[i][0], shapes[i][1], shapes[i][2], false, true);
    }
    bench_matmul(576, 1536, 1024, true, false);
    bench_matmul(16, 192, 2048, true, false);
    bench_matmul(2048, 16, 192, false, true);
    bench_matmul(2048, 192, 16, false, true);
    bench_matmul(1, 1536, 576, false, true);
    bench_matmul(8, 1536, 576, false, true);
    bench_attention(1024, 6, 2, 32, 128);
    bench_attention(1024, 6, 2, 32, 1024);
    bench_attention(2048, 9, 3, 64, 256);
    bench_xent(512, 192, 4096);
    bench_rows(1024, 192);
    bench_rows(1024, 512);
    fmk_ctx_free(ctx);
    return 0;
}
