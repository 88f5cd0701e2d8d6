/*
 * safetensors_write.c: deterministic .safetensors files. Written tensor by tensor, so that a model is never
 * held twice; the name appears only when all of it is on the disk.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <fmpipe/json.h>
#include <unistd.h>

#define CHUNK_VALUES ((size_t)64 << 10)

static int by_src_name(const void *a, const void *b)
{
    const fmp_tensor_src *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static size_t src_values(const fmp_tensor_src *t)
{
    size_t n = 1;
    for (uint32_t d = 0; d < t->n_dims; d++) {
        n *= (size_t)t->shape[d];
    }
    return n;
}

static fmp_status add_name(fmp_buf *out, const char *name, fmp_err *err)
{
    cJSON *node = cJSON_CreateStringReference(name);
    if (!node) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a tensor name"); }
    fmp_json_print(node, FMP_JSON_COMPACT, out);
    cJSON_Delete(node);
    return FMP_OK;
}

/* A weight that no reader would take back: not finite, or beyond what bf16 rounds to a finite number. */
static fmp_status check_values(const char *path, const fmp_tensor_src *t, fmp_err *err)
{
    float most = t->dtype == FMP_DTYPE_F32 ? 3.402823466e38f : 3.389531389e38f;
    for (size_t i = 0, n = src_values(t); i < n; i++) {
        if (!(fabsf(t->data[i]) <= most)) {
            return fmp_fail(err, FMP_E_DATA,
                            "%s is not written: value %zu of tensor '%.96s' is NaN or infinite", path, i,
                            t->name);
        }
    }
    return FMP_OK;
}

/* Length and header; padded with spaces so that the data begins at a multiple of 8. */
static fmp_status build_header(const fmp_tensor_src *src, size_t n, fmp_buf *out, fmp_err *err)
{
    uint64_t at = 0;
    fmp_buf_add(out, "\0\0\0\0\0\0\0\0", 8);
    fmp_buf_puts(out, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < n; i++) {
        fmp_buf_putc(out, ',');
        FMP_TRY(add_name(out, src[i].name, err));
        fmp_buf_printf(out, ":{\"dtype\":\"%s\",\"shape\":[", src[i].dtype == FMP_DTYPE_F32 ? "F32" : "BF16");
        for (uint32_t d = 0; d < src[i].n_dims; d++) {
            fmp_buf_printf(out, "%s%llu", d ? "," : "", (unsigned long long)src[i].shape[d]);
        }
        uint64_t end = at + src_values(&src[i]) * (src[i].dtype == FMP_DTYPE_F32 ? 4u : 2u);
        fmp_buf_printf(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
                       (unsigned long long)end);
        at = end;
    }
    fmp_buf_putc(out, '}');
    while (!out->failed && out->len % 8 != 0) {
        fmp_buf_putc(out, ' ');
    }
    FMP_TRY(fmp_buf_ok(out, err));
    uint64_t len = out->len - 8;
    for (int i = 0; i < 8; i++) {
        out->data[i] = (char)(len >> (8 * i) & 0xFF);
    }
    return FMP_OK;
}

static fmp_status write_all(int fd, const char *path, const void *data, size_t len, fmp_err *err)
{
    const char *p = data;
    while (len > 0) {
        ssize_t k = write(fd, p, len);
        if (k < 0 && errno == EINTR) { continue; }
        if (k <= 0) {
            return fmp_fail(err, FMP_E_IO, "cannot write %s: %s", path, strerror(k < 0 ? errno : EIO));
        }
        p += k;
        len -= (size_t)k;
    }
    return FMP_OK;
}

/* Rounded to nearest even; x (n) is finite. */
static void to_bf16(size_t n, const float *x, uint16_t *y)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t u = 0;
        memcpy(&u, x + i, sizeof u);
        y[i] = (uint16_t)((u + 0x7FFFu + (u >> 16 & 1u)) >> 16);
    }
}

static fmp_status write_tensor(int fd, const char *path, const fmp_tensor_src *t, fmp_err *err)
{
    size_t n = src_values(t);
    if (t->dtype == FMP_DTYPE_F32) { return write_all(fd, path, t->data, n * sizeof *t->data, err); }
    uint16_t *half = malloc(CHUNK_VALUES * sizeof *half);
    if (!half) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for writing %s", path); }
    fmp_status status = FMP_OK;
    for (size_t i = 0; i < n && status == FMP_OK; i += CHUNK_VALUES) {
        size_t k = n - i < CHUNK_VALUES ? n - i : CHUNK_VALUES;
        to_bf16(k, t->data + i, half);
        status = write_all(fd, path, half, k * sizeof *half, err);
    }
    free(half);
    return status;
}

static fmp_status write_body(int fd, const char *path, const fmp_tensor_src *src, size_t n, fmp_err *err)
{
    fmp_buf header = {0};
    fmp_status status = build_header(src, n, &header, err);
    if (status == FMP_OK) { status = write_all(fd, path, header.data, header.len, err); }
    fmp_buf_free(&header);
    for (size_t i = 0; i < n && status == FMP_OK; i++) {
        status = write_tensor(fd, path, &src[i], err);
    }
    if (status == FMP_OK && fsync(fd) != 0) {
        status = fmp_fail(err, FMP_E_IO, "cannot sync %s: %s", path, strerror(errno));
    }
    return status;
}

static fmp_status sync_folder_of(const char *path, fmp_err *err)
{
    char *folder = strdup(path);
    if (!folder) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a path"); }
    char *slash = strrchr(folder, '/');
    if (slash) { slash[slash == folder] = '\0'; }
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fmp_status status = FMP_OK;
    if (fd < 0 || fsync(fd) != 0) {
        status = fmp_fail(err, FMP_E_IO, "cannot sync the folder of %s: %s", path, strerror(errno));
    }
    if (fd >= 0) { close(fd); }
    free(folder);
    return status;
}

fmp_status fmp_tensors_write(const char *path, fmp_tensor_src *src, size_t n, fmp_err *err)
{
    qsort(src, n, sizeof *src, by_src_name);
    for (size_t i = 0; i < n; i++) {
        FMP_TRY(check_values(path, &src[i], err));
    }
    fmp_buf temp = {0};
    fmp_buf_printf(&temp, "%s.XXXXXX", path);
    FMP_TRY(fmp_buf_ok(&temp, err));
    int fd = mkostemp(temp.data, O_CLOEXEC);
    if (fd < 0) {
        fmp_status failed = fmp_fail(err, FMP_E_IO, "cannot create %s: %s", path, strerror(errno));
        fmp_buf_free(&temp);
        return failed;
    }
    fmp_status status = write_body(fd, path, src, n, err);
    if (status == FMP_OK && fchmod(fd, 0644) != 0) {
        status = fmp_fail(err, FMP_E_IO, "cannot set the mode of %s: %s", path, strerror(errno));
    }
    if (close(fd) != 0 && status == FMP_OK) {
        status = fmp_fail(err, FMP_E_IO, "cannot close %s: %s", path, strerror(errno));
    }
    if (status == FMP_OK && rename(temp.data, path) != 0) {
        status = fmp_fail(err, FMP_E_IO, "cannot rename to %s: %s", path, strerror(errno));
    }
    if (status != FMP_OK) { unlink(temp.data); }
    fmp_buf_free(&temp);
    return status == FMP_OK ? sync_folder_of(path, err) : status;
}
