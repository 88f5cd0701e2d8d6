/*
 * ctx.c: the kernel context: worker threads, scratch range, what this CPU offers.
 *
 * Scratch is one address range reserved when the context is made, so that no kernel can fail for memory
 * later; pages are the system's until a kernel first touches them. A kernel takes from it like from a stack.
 */
#include "internal.h"
#include "onednn.h"

#include <stdlib.h>
#include <sys/mman.h>

#define SCRATCH_WANTED ((size_t)8 << 30)
#define SCRATCH_LEAST  ((size_t)512 << 20)

static int isa_limit = FMK_ISA_AVX512;

void fmk_limit_isa(int level)
{
    isa_limit = level;
}

int fmk_isa(void)
{
#if FMK_X86
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (avx2 && avx512 && isa_limit >= FMK_ISA_AVX512) { return FMK_ISA_AVX512; }
    if (avx2 && isa_limit >= FMK_ISA_AVX2) { return FMK_ISA_AVX2; }
#endif
    return FMK_ISA_BASE;
}

bool fmk_has_bf16(void)
{
#if FMK_X86
    return fmk_isa() == FMK_ISA_AVX512 && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

static void describe(fmk_ctx *ctx)
{
    static const char *const isa[] = {"baseline", "avx2", "avx512"};
    char dnn[64] = "";
    if (ctx->dnn) { fmk_dnn_describe(dnn, sizeof dnn); }
    snprintf(ctx->describe, sizeof ctx->describe, "fmk3 %s f32:%s bf16:%s", isa[fmk_isa()],
             ctx->dnn_f32 ? dnn : "own",
             ctx->dnn_bf16    ? dnn
             : fmk_has_bf16() ? "avx512_bf16"
                              : "emulated");
}

void fmk_huge_pages(void *p, size_t size_bytes)
{
    const uintptr_t page = 4096;
    uintptr_t from = ((uintptr_t)p + page - 1) / page * page, end = ((uintptr_t)p + size_bytes) / page * page;
    if (end > from) {
        (void)madvise((void *)from, end - from, MADV_HUGEPAGE);
    } /* slower without, not wrong */
}

static fmp_status reserve_scratch(fmk_ctx *ctx, fmp_err *err)
{
    for (size_t size = SCRATCH_WANTED; size >= SCRATCH_LEAST; size /= 2) {
        void *p =
            mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p != MAP_FAILED) {
            ctx->scratch = p;
            ctx->scratch_cap = size;
            fmk_huge_pages(p, size);
            return FMP_OK;
        }
    }
    return fmp_fail(err, FMP_E_NOMEM, "cannot reserve %zu MiB of address space for kernel scratch",
                    SCRATCH_LEAST >> 20);
}

fmp_status fmk_ctx_new(int n_threads, fmk_ctx **out, fmp_err *err)
{
    assert(n_threads >= 1);
    *out = NULL;
    fmk_ctx *ctx = calloc(1, sizeof *ctx);
    if (!ctx) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a kernel context"); }
    fmp_status status = reserve_scratch(ctx, err);
    if (status == FMP_OK) { status = fmp_pool_new(n_threads, &ctx->pool, err); }
    if (status == FMP_OK && fmk_dnn_preferred()) {
        status = fmk_dnn_new(&ctx->dnn, err);
        ctx->dnn_bf16 = status == FMP_OK;
    }
    if (status != FMP_OK) {
        fmk_ctx_free(ctx);
        return status;
    }
    describe(ctx);
    *out = ctx;
    return FMP_OK;
}

void fmk_ctx_free(fmk_ctx *ctx)
{
    if (!ctx) { return; }
    if (ctx->pool) { fmp_pool_free(ctx->pool); }
    fmk_dnn_free(ctx->dnn);
    fmk_room_leave(&ctx->room);
    if (ctx->scratch) { munmap(ctx->scratch, ctx->scratch_cap); }
    free(ctx);
}

fmp_status fmk_ctx_use_onednn(fmk_ctx *ctx, bool on, fmp_err *err)
{
    if (on && !ctx->dnn) { FMP_TRY(fmk_dnn_new(&ctx->dnn, err)); }
    ctx->dnn_f32 = on;
    ctx->dnn_bf16 = on;
    describe(ctx);
    return FMP_OK;
}

int fmk_ctx_threads(const fmk_ctx *ctx)
{
    return fmp_pool_threads(ctx->pool);
}
const char *fmk_ctx_describe(const fmk_ctx *ctx)
{
    return ctx->describe;
}

size_t fmk_mark(const fmk_ctx *ctx)
{
    return ctx->scratch_used;
}
void fmk_release(fmk_ctx *ctx, size_t mark)
{
    ctx->scratch_used = mark;
}

void *fmk_take(fmk_ctx *ctx, size_t count, size_t size_bytes)
{
    size_t bytes = 0;
    bool ok = fmp_mul_ok(count, size_bytes, &bytes) && bytes <= ctx->scratch_cap - ctx->scratch_used;
    assert(ok && "kernel scratch exhausted: the shape is beyond what a kernel promises");
    if (!ok) { abort(); }
    void *p = ctx->scratch + ctx->scratch_used;
    size_t rounded = (bytes + 63) & ~(size_t)63;
    ctx->scratch_used =
        rounded > ctx->scratch_cap - ctx->scratch_used ? ctx->scratch_cap : ctx->scratch_used + rounded;
    return p;
}

void fmk_par(fmk_ctx *ctx, int64_t n, double work, void (*fn)(void *arg, size_t i), void *arg)
{
    if (n > 1 && fmp_pool_threads(ctx->pool) > 1 && work * (double)n > FMK_INLINE_WORK) {
        fmp_pool_for(ctx->pool, (size_t)n, fn, arg);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        fn(arg, (size_t)i);
    }
}

double fmk_measure_peak_gflops(fmk_ctx *ctx)
{
    enum { M = 768, N = 768, K = 384 };
    const fmk_mm mm = {.M = M, .N = N, .K = K, .lda = K, .ldb = N, .ldc = N};
    size_t mark = fmk_mark(ctx);
    float *a = fmk_take(ctx, (size_t)M * K, sizeof *a);
    float *b = fmk_take(ctx, (size_t)K * N, sizeof *b);
    float *c = fmk_take(ctx, (size_t)M * N, sizeof *c);
    for (int i = 0; i < M * K; i++) {
        a[i] = (float)(i % 7) * 0.25f;
    }
    for (int i = 0; i < K * N; i++) {
        b[i] = (float)(i % 5) * 0.25f;
    }
    double best = 0.0;
    double start = fmp_now();
    double last = start;
    do {
        fmk_matmul(ctx, &mm, a, b, c);
        double t = fmp_now();
        double rate = 2e-9 * M * N * K / (t - last);
        best = t > last && rate > best ? rate : best;
        last = t;
    } while (last - start < 0.2);
    fmk_release(ctx, mark);
    return best;
}
