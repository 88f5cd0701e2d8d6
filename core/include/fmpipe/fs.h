/*
 * fs.h: digests, files that appear whole or not at all, worker threads, counter-based random numbers.
 */
#ifndef FMPIPE_FS_H
#define FMPIPE_FS_H

#include <fmpipe/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- SHA-256 (OpenSSL libcrypto, SHA-NI where the CPU has it) ---- */
typedef struct fmp_sha256 fmp_sha256;
fmp_sha256 *fmp_sha256_new(void);                                  /* NULL: out of memory */
void fmp_sha256_add(fmp_sha256 *h, const void *data, size_t len);
void fmp_sha256_end(fmp_sha256 *h, unsigned char digest[32]);      /* frees h */
void fmp_sha256_bytes(const void *data, size_t len, unsigned char digest[32]);
void fmp_hex(const unsigned char *bytes, size_t n, char *out);     /* out: 2n+1 chars, lowercase */
FMP_MUST_USE fmp_status fmp_sha256_file(const char *path, char hex[65], fmp_err *err);
/*
 * Digest of a tree: every regular file's relative path, size and content digest, in byte order of the paths. A link to
 * a file counts as that file; a link to a folder, a pipe or a device is FMP_E_UNSUPPORTED.
 */
FMP_MUST_USE fmp_status fmp_sha256_tree(const char *path, char hex[65], fmp_err *err);

/* ---- files ---- */
/* Whole file into `out`; FMP_E_RANGE if larger than max_bytes (0: 1 GiB). */
FMP_MUST_USE fmp_status fmp_read_file(const char *path, size_t max_bytes, fmp_buf *out, fmp_err *err);
/* Write beside, fsync, rename, fsync the directory: `path` holds all of it or what it held before. Not onto a device or pipe. */
FMP_MUST_USE fmp_status fmp_write_file(const char *path, const void *data, size_t len, fmp_err *err);
FMP_MUST_USE fmp_status fmp_mkdirs(const char *path, fmp_err *err);
/* Remove a file or a tree; links are removed, never followed; a path that is not there is FMP_OK. */
FMP_MUST_USE fmp_status fmp_remove_tree(const char *path, fmp_err *err);
/* fsync every file and folder below `path`, and `path`. */
FMP_MUST_USE fmp_status fmp_sync_tree(const char *path, fmp_err *err);
/* Copy a file or a tree (reflink or copy_file_range where possible); the target must not exist. */
FMP_MUST_USE fmp_status fmp_copy_tree(const char *from, const char *to, fmp_err *err);
bool fmp_path_exists(const char *path);
/* dir + "/" + name on the heap; an absolute `name` is returned alone.                  returned; free() */
char *fmp_path_join(const char *dir, const char *name);

/* A file mapped read-only. `data` is NULL for an empty file. */
typedef struct fmp_map {
    const unsigned char *data;
    size_t len;
} fmp_map;
FMP_MUST_USE fmp_status fmp_map_file(const char *path, fmp_map *out, fmp_err *err);
void fmp_unmap(fmp_map *map);

/* Seconds since an arbitrary start, monotonic; peak resident memory of the process in bytes. */
double fmp_now(void);
size_t fmp_peak_rss(void);

/* ---- worker threads ---- */
/*
 * fmp_pool: n_threads - 1 workers beside the caller. fmp_pool_for calls fn(arg, i) once for each i in 0..n-1, on
 * whichever thread is free, and returns when all are done; which thread runs which i must not affect the result.
 * When     fmp_pool_for from one thread at a time; never from inside fn.
 * Cost     about 1 us a loop while loops follow within 30 us, for as long an idle thread keeps its processor busy; else
 *          the time to wake a thread.
 */
typedef struct fmp_pool fmp_pool;
FMP_MUST_USE fmp_status fmp_pool_new(int n_threads, fmp_pool **out, fmp_err *err);
void fmp_pool_free(fmp_pool *pool);
int fmp_pool_threads(const fmp_pool *pool);
void fmp_pool_for(fmp_pool *pool, size_t n, void (*fn)(void *arg, size_t i), void *arg);

/* ---- random numbers that are a function of where they are used ---- */
/*
 * fmp_rng_u64: the `index`-th 64-bit number of stream (seed, stream). Philox4x32-10, Salmon et al. 2011: no state,
 * so any order of use and any number of threads gives the same numbers.
 */
uint64_t fmp_rng_u64(uint64_t seed, uint64_t stream, uint64_t index);
/* Uniform in [0, 1) with 53 bits; uniform integer in [0, n) without bias (n > 0); standard normal (Box-Muller). */
double fmp_rng_unit(uint64_t seed, uint64_t stream, uint64_t index);
uint64_t fmp_rng_below(uint64_t seed, uint64_t stream, uint64_t index, uint64_t n);
double fmp_rng_normal(uint64_t seed, uint64_t stream, uint64_t index);
/* order[0..n): the permutation of (seed, epoch), Fisher-Yates on the stream above. */
void fmp_rng_shuffle(uint64_t seed, uint64_t epoch, size_t n, uint32_t *order);

#ifdef __cplusplus
}
#endif
#endif
