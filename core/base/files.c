/*
 * files.c: single files, read whole, written whole or not at all, mapped, hashed; paths; clock.
 *
 * Every message names the operation and the path as the user wrote it.
 */
#include "files_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_MAX_BYTES ((size_t)1 << 30)
#define CHUNK_BYTES       ((size_t)1 << 16)
#define TEMP_TRIES        64

fmp_status fmp_fs_fail_(fmp_err *err, const char *operation, const char *path)
{
    int code = errno;
    fmp_status status = fmp_fail(err, code == ENOMEM ? FMP_E_NOMEM : FMP_E_IO, "cannot %s %s: %s", operation,
                                 path, strerror(code));
    fmp_err_at(err, path, 0, 0, UINT64_MAX);
    return status;
}

bool fmp_fs_write_all_(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR) { continue; }
        if (n == 0) { errno = EIO; }
        if (n <= 0) { return false; }
        p += n;
        len -= (size_t)n;
    }
    return true;
}

ssize_t fmp_fs_read_(int fd, void *data, size_t len)
{
    ssize_t n;
    do {
        n = read(fd, data, len);
    } while (n < 0 && errno == EINTR);
    return n;
}

bool fmp_fs_sync_(int fd)
{
    int rc;
    do {
        rc = fsync(fd);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 || errno == EINVAL || errno == ENOTSUP;
}

bool fmp_fs_digest_(int fd, unsigned char digest[32], uint64_t *len)
{
    unsigned char chunk[CHUNK_BYTES];
    fmp_sha256 *h = fmp_sha256_new();
    if (!h) {
        errno = ENOMEM;
        return false;
    }
    *len = 0;
    ssize_t n;
    while ((n = fmp_fs_read_(fd, chunk, sizeof chunk)) > 0) {
        fmp_sha256_add(h, chunk, (size_t)n);
        *len += (uint64_t)n;
    }
    int code = errno;
    fmp_sha256_end(h, digest);
    errno = code;
    return n == 0;
}

fmp_status fmp_sha256_file(const char *path, char hex[65], fmp_err *err)
{
    unsigned char digest[32];
    uint64_t len;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) { return fmp_fs_fail_(err, "open", path); }
    fmp_status status = fmp_fs_digest_(fd, digest, &len) ? FMP_OK : fmp_fs_fail_(err, "read", path);
    close(fd);
    if (status == FMP_OK) { fmp_hex(digest, sizeof digest, hex); }
    return status;
}

static fmp_status too_large(fmp_err *err, const char *path, size_t max_bytes)
{
    fmp_fail(err, FMP_E_RANGE, "%s is larger than the limit of %zu bytes", path, max_bytes);
    fmp_err_at(err, path, 0, 0, UINT64_MAX);
    return FMP_E_RANGE;
}

/* Until the end, not until the size fstat gave: files grow, and those of /proc have size 0. */
static fmp_status read_rest(int fd, const char *path, size_t max_bytes, fmp_buf *out, fmp_err *err)
{
    for (;;) {
        size_t room = out->cap > out->len + 1 ? out->cap - out->len - 1 : CHUNK_BYTES;
        char *to = fmp_buf_grow(out, room);
        if (!to) { return fmp_buf_ok(out, err); }
        ssize_t n = fmp_fs_read_(fd, to, room);
        if (n < 0) { return fmp_fs_fail_(err, "read", path); }
        out->len += (size_t)n;
        out->data[out->len] = '\0';
        if (n == 0) { return FMP_OK; }
        if (out->len > max_bytes) { return too_large(err, path, max_bytes); }
    }
}

fmp_status fmp_read_file(const char *path, size_t max_bytes, fmp_buf *out, fmp_err *err)
{
    struct stat st;
    if (max_bytes == 0) { max_bytes = DEFAULT_MAX_BYTES; }
    out->len = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) { return fmp_fs_fail_(err, "open", path); }
    fmp_status status = FMP_OK;
    if (fstat(fd, &st) != 0) {
        status = fmp_fs_fail_(err, "examine", path);
    } else if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > max_bytes) {
        status = too_large(err, path, max_bytes);
    } else if (S_ISREG(st.st_mode) && !fmp_buf_grow(out, (size_t)st.st_size + 1)) {
        status = fmp_buf_ok(out, err);
    }
    if (status == FMP_OK) { status = read_rest(fd, path, max_bytes, out, err); }
    close(fd);
    return status;
}

/* The folder part of a path as a fresh string: "." for a bare name, NULL when out of memory. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) { return strdup("."); }
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

static fmp_status sync_folder(const char *folder, fmp_err *err)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) { return fmp_fs_fail_(err, "open", folder); }
    fmp_status status = fmp_fs_sync_(fd) ? FMP_OK : fmp_fs_fail_(err, "sync", folder);
    close(fd);
    return status;
}

/* A new file beside `path`, its name in *temp (returned; free()). -1 with errno set. */
static int open_temp(const char *folder, char **temp)
{
    static atomic_uint counter;
    for (int i = 0; i < TEMP_TRIES; i++) {
        unsigned n = atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed);
        if (asprintf(temp, "%s/.fmp-%ld-%u.tmp", folder, (long)getpid(), n) < 0) {
            *temp = NULL;
            errno = ENOMEM;
            return -1;
        }
        int fd = open(*temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) { return fd; }
        int code = errno;
        free(*temp);
        *temp = NULL;
        errno = code;
        if (code != EEXIST) { return -1; }
    }
    return -1;
}

static fmp_status write_and_rename(const char *path, const char *folder, const void *data, size_t len,
                                   fmp_err *err)
{
    char *temp;
    int fd = open_temp(folder, &temp);
    if (fd < 0) { return fmp_fs_fail_(err, "create a file beside", path); }
    fmp_status status = FMP_OK;
    if (!fmp_fs_write_all_(fd, data, len)) {
        status = fmp_fs_fail_(err, "write", path);
    } else if (!fmp_fs_sync_(fd)) {
        status = fmp_fs_fail_(err, "sync", path);
    }
    if (close(fd) != 0 && status == FMP_OK) { status = fmp_fs_fail_(err, "close", path); }
    if (status == FMP_OK && rename(temp, path) != 0) { status = fmp_fs_fail_(err, "put in place", path); }
    if (status != FMP_OK) { unlink(temp); }
    free(temp);
    return status;
}

fmp_status fmp_write_file(const char *path, const void *data, size_t len, fmp_err *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
        /* a rename would put a file where a device or a pipe is */
        return fmp_fail(err, FMP_E_IO, "cannot write %s: it is not a regular file", path);
    }
    char *folder = folder_of(path);
    if (!folder) { return fmp_fail(err, FMP_E_NOMEM, "out of memory while writing %s", path); }
    fmp_status status = write_and_rename(path, folder, data, len, err);
    if (status == FMP_OK) { status = sync_folder(folder, err); }
    free(folder);
    return status;
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static fmp_status make_folder(const char *path, fmp_err *err)
{
    if (mkdir(path, 0777) == 0) { return FMP_OK; }
    int code = errno;
    if (is_folder(path)) { return FMP_OK; }
    errno = code == EEXIST ? ENOTDIR : code;
    return fmp_fs_fail_(err, "create the folder", path);
}

fmp_status fmp_mkdirs(const char *path, fmp_err *err)
{
    if (is_folder(path)) { return FMP_OK; }
    char *part = strdup(path);
    if (!part) { return fmp_fail(err, FMP_E_NOMEM, "out of memory while creating the folder %s", path); }
    fmp_status status = FMP_OK;
    for (char *p = part + 1; status == FMP_OK && part[0] != '\0' && *p != '\0'; p++) {
        if (*p != '/' || p[-1] == '/') { continue; }
        *p = '\0';
        status = make_folder(part, err);
        *p = '/';
    }
    if (status == FMP_OK) { status = make_folder(path, err); }
    free(part);
    return status;
}

bool fmp_path_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

char *fmp_path_join(const char *dir, const char *name)
{
    char *out;
    size_t n = strlen(dir);
    if (name[0] == '/' || n == 0) { return strdup(name); }
    return asprintf(&out, "%s%s%s", dir, dir[n - 1] == '/' ? "" : "/", name) < 0 ? NULL : out;
}

fmp_status fmp_map_file(const char *path, fmp_map *out, fmp_err *err)
{
    struct stat st;
    *out = (fmp_map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) { return fmp_fs_fail_(err, "open", path); }
    fmp_status status = FMP_OK;
    if (fstat(fd, &st) != 0) {
        status = fmp_fs_fail_(err, "examine", path);
    } else if (!S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        status = fmp_fs_fail_(err, "map", path);
    } else if (st.st_size > 0) {
        void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            status = fmp_fs_fail_(err, "map", path);
        } else {
            *out = (fmp_map){data, (size_t)st.st_size};
        }
    }
    close(fd);
    return status;
}

void fmp_unmap(fmp_map *map)
{
    union {
        const unsigned char *borrowed;
        void *owned;
    } data = {map->data}; /* munmap takes away const by contract */
    if (map->data) { munmap(data.owned, map->len); }
    *map = (fmp_map){0};
}

double fmp_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

size_t fmp_peak_rss(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (size_t)usage.ru_maxrss * 1024 : 0;
}
