/* What computes, as one line, before any model is opened: part of the cache key of numeric stages. */
#include "internal.h"

fmp_status fmp_numerics_describe(char *line, size_t size, fmp_err *err)
{
    fmp_device *d = NULL;
    FMP_TRY(fmp_device_open(NULL, 1, &d, err));
    snprintf(line, size, "%s", d->be->describe(d->dev));
    fmp_device_drop(d);
    return FMP_OK;
}
