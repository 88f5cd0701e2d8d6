/* What computes, as one line, before any model is opened: part of the cache key of numeric stages. */
#include <fmk.h>
#include <fmpipe/model.h>

fmp_status fmp_numerics_describe(char *line, size_t size, fmp_err *err)
{
    fmk_ctx *ctx = NULL;
    FMP_TRY(fmk_ctx_new(1, &ctx, err));
    snprintf(line, size, "%s", fmk_ctx_describe(ctx));
    fmk_ctx_free(ctx);
    return FMP_OK;
}
