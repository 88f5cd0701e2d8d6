/*
 * backend.c: finds, checks and opens the shared object that computes (kernels/include/fmk_backend.h), and keeps values
 * that both the host and the device hold.
 *
 * A backend is named, not searched for: it lies in fmpipe/backends/ beside this library, in a build tree as in an
 * installation, or where the caller's path says. It is never unloaded.
 */
#include "internal.h"

#include <dlfcn.h>

#define BACKEND_FOLDER   "fmpipe/backends/"
#define BACKEND_NAME_MAX 32

/* ---- its file ---- */

static fmp_status check_name(const char *name, fmp_err *err)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    if (n > 0 && n <= BACKEND_NAME_MAX && name[n] == '\0') { return FMP_OK; }
    fmp_fail(err, FMP_E_CONFIG, "'%.48s' is no name of a backend: expected a-z, 0-9, _, at most %d of them",
             name, BACKEND_NAME_MAX);
    return fmp_err_hint(err, "a path to a backend's file has a '/' in it");
}

static fmp_status path_of(const char *backend, char **out, fmp_err *err)
{
    static const char here = 0; /* an address inside this library */
    *out = NULL;
    if (strchr(backend, '/')) {
        *out = strdup(backend);
        return *out ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for a path");
    }
    FMP_TRY(check_name(backend, err));
    Dl_info library;
    if (!dladdr(&here, &library) || !library.dli_fname) {
        return fmp_fail(err, FMP_E_IO, "backend '%s': cannot tell where libfmmodel lies, which it is beside",
                        backend);
    }
    const char *slash = strrchr(library.dli_fname, '/');
    int folder = slash ? (int)(slash + 1 - library.dli_fname) : 0;
    int n = asprintf(out, "%.*s" BACKEND_FOLDER "fmpipe_backend_%s.so", folder, library.dli_fname, backend);
    return n < 0 ? fmp_fail(err, FMP_E_NOMEM, "out of memory for a path") : FMP_OK;
}

/* Every member after `name` is a function. */
static bool is_complete(const fmk_backend *be)
{
    for (size_t at = offsetof(fmk_backend, open); at < sizeof *be; at += sizeof(void (*)(void))) {
        void (*member)(void) = NULL;
        memcpy(&member, (const char *)be + at, sizeof member);
        if (!member) { return false; }
    }
    return true;
}

static fmp_status check_table(const char *path, const fmk_backend *be, fmp_err *err)
{
    if (!be || be->abi != FMK_BACKEND_ABI) {
        fmp_fail(err, FMP_E_MISMATCH, "backend %s: its table has the version %u, this fmpipe needs %u", path,
                 be ? be->abi : 0, FMK_BACKEND_ABI);
    } else if (be->size < sizeof *be) {
        fmp_fail(err, FMP_E_MISMATCH, "backend %s: its table has %u bytes, this fmpipe needs %zu", path,
                 be->size, sizeof *be);
    } else if (!be->name || !is_complete(be)) {
        fmp_fail(err, FMP_E_MISMATCH, "backend %s: its table has no function where one is needed", path);
    } else {
        return FMP_OK;
    }
    return fmp_err_hint(err, "build it against this fmpipe's kernels/include/fmk_backend.h");
}

static fmp_status load(const char *backend, const fmk_backend **out, fmp_err *err)
{
    char *path = NULL;
    FMP_TRY(path_of(backend, &path, err));
    fmp_status status = FMP_OK;
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *symbol = object ? dlsym(object, FMK_BACKEND_SYMBOL) : NULL;
    fmk_backend_fn table = NULL;
    if (!object) {
        (void)fmp_fail(err, FMP_E_IO, "backend '%s' cannot be loaded: %s", backend, dlerror());
        status =
            fmp_err_hint(err, "a named backend lies in " BACKEND_FOLDER " beside fmpipe's libraries: is this "
                              "installation whole?");
    } else if (!symbol) {
        status = fmp_fail(err, FMP_E_MISMATCH, "%s is no backend: it exports no " FMK_BACKEND_SYMBOL, path);
    } else {
        memcpy(&table, &symbol, sizeof table); /* POSIX: an object pointer that is a function's */
        *out = table();
        status = check_table(path, *out, err);
    }
    free(path);
    return status;
}

/* ---- a device ---- */

fmp_status fmp_device_open(const char *backend, int n_threads, fmp_device **out, fmp_err *err)
{
    *out = NULL;
    const fmk_backend *be = NULL;
    FMP_TRY(load(backend ? backend : "cpu", &be, err));
    fmp_device *d = calloc(1, sizeof *d);
    if (!d) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a device"); }
    d->be = be;
    d->n_users = 1;
    const fmk_device_options o = {.size = sizeof o, .n_threads = n_threads};
    fmp_status status = be->open(&o, &d->dev, err);
    if (status == FMP_OK) { status = be->stream_open(d->dev, &d->q, err); }
    if (status != FMP_OK) {
        fmp_device_drop(d);
        return status;
    }
    *out = d;
    return FMP_OK;
}

fmp_device *fmp_device_keep(fmp_device *d)
{
    d->n_users++;
    return d;
}

void fmp_device_drop(fmp_device *d)
{
    if (!d || --d->n_users > 0) { return; }
    if (d->q) { d->be->stream_close(d->q); }
    if (d->dev) { d->be->close(d->dev); }
    free(d);
}

/* ---- values on both sides ---- */

fmp_status fmp_mirror_of(fmp_device *d, const float *host, size_t n, fmp_mirror *out, fmp_err *err)
{
    void *dev = d->be->adopt(d->dev, host, n * sizeof *host);
    *out = (fmp_mirror){.host = (float *)(uintptr_t)host, .n = n, .shared = dev != NULL};
    if (!dev) {
        FMP_TRY(d->be->alloc(d->dev, n * sizeof *host, &dev, err));
        out->newer = MIRROR_HOST;
    }
    out->dev = dev;
    return FMP_OK;
}

fmp_status fmp_mirror_new(fmp_device *d, size_t n, fmp_mirror *out, fmp_err *err)
{
    *out = (fmp_mirror){0};
    float *host = calloc(n > 0 ? n : 1, sizeof *host);
    if (!host) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for %zu values", n); }
    fmp_status status = fmp_mirror_of(d, host, n, out, err);
    out->owned = host;
    if (status == FMP_OK && !out->shared) {
        d->be->zero(d->q, out->dev, n * sizeof *host);
        out->newer = MIRROR_EQUAL;
    }
    return status;
}

void fmp_mirror_free(fmp_device *d, fmp_mirror *m)
{
    if (m->dev && !m->shared) { d->be->free(d->dev, m->dev); }
    free(m->owned);
    *m = (fmp_mirror){0};
}

void fmp_mirror_push(fmp_device *d, fmp_mirror *m)
{
    if (m->newer != MIRROR_HOST && !m->lent) { return; }
    if (!m->shared) { d->be->upload(d->q, m->dev, m->host, m->n * sizeof *m->host); }
    m->newer = MIRROR_EQUAL;
}

fmp_status fmp_mirror_pull(fmp_device *d, fmp_mirror *m, fmp_err *err)
{
    if (m->newer != MIRROR_DEVICE) { return FMP_OK; }
    if (!m->shared) { d->be->download(d->q, m->host, m->dev, m->n * sizeof *m->host); }
    FMP_TRY(d->be->sync(d->q, err));
    m->newer = MIRROR_EQUAL;
    return FMP_OK;
}
