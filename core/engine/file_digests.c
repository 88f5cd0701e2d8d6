/*
 * file_digests.c: SHA-256 of input files and folders, remembered between runs.
 *
 * A plan must know the content of every input, and inputs are large. <store>/digests.json maps a
 * fingerprint of what the file system says (device, inode, size, modification and change time in
 * nanoseconds; of a folder, of everything in it) to the content's digest. A file that changed less than two
 * seconds ago is not remembered: a further write within the clock's tick would not show.
 */
#include "pipeline_private.h"

#include <errno.h>
#include <fmpipe/fs.h>
#include <fts.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#define KEPT_MAX        4096
#define SETTLED_SECONDS 2

struct fmp_digests {
    char *file; /* NULL: nothing is remembered */
    cJSON *known;
    bool changed;
};

fmp_status fmp_digests_open(const char *store_dir, fmp_digests **out, fmp_err *err)
{
    fmp_digests *d = calloc(1, sizeof *d);
    if (!d) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    *out = d;
    cJSON *json = NULL;
    if (store_dir) { d->file = fmp_path_join(store_dir, "digests.json"); }
    if (d->file && fmp_path_exists(d->file)) {
        /* Anything unreadable in there is as good as nothing remembered. */
        if (fmp_json_load(d->file, NULL, &json, NULL) != FMP_OK) { json = NULL; }
    }
    d->known = json ? cJSON_DetachItemFromObjectCaseSensitive(json, "digests") : NULL;
    cJSON_Delete(json);
    if (!cJSON_IsObject(d->known)) {
        cJSON_Delete(d->known);
        d->known = cJSON_CreateObject();
    }
    return FMP_OK;
}

static void add_stat(fmp_buf *out, const char *name, const struct stat *st)
{
    fmp_buf_printf(out, "%s|%" PRIuMAX "|%" PRIuMAX "|%" PRIdMAX "|%" PRIdMAX ".%09ld|%" PRIdMAX ".%09ld\n",
                   name, (uintmax_t)st->st_dev, (uintmax_t)st->st_ino, (intmax_t)st->st_size,
                   (intmax_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec, (intmax_t)st->st_ctim.tv_sec,
                   st->st_ctim.tv_nsec);
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static bool tree_stats(const char *path, fmp_buf *out, time_t *newest)
{
    char *start = strdup(path);
    char *paths[] = {start, NULL};
    FTS *walk = start ? fts_open(paths, FTS_LOGICAL | FTS_NOCHDIR, by_name) : NULL;
    bool ok = walk != NULL;
    for (FTSENT *e; ok && (e = fts_read(walk)) != NULL;) {
        if (e->fts_info == FTS_DP || e->fts_info == FTS_SLNONE) { continue; }
        ok = e->fts_info == FTS_D || e->fts_info == FTS_F;
        if (!ok) { break; }
        add_stat(out, e->fts_path + strlen(path), e->fts_statp);
        if (e->fts_statp->st_ctim.tv_sec > *newest) { *newest = e->fts_statp->st_ctim.tv_sec; }
    }
    if (walk) { fts_close(walk); }
    free(start);
    return ok && !out->failed;
}

/* Fingerprint of a settled file or folder; false if it must be read anyway. */
static bool fingerprint(const char *path, const struct stat *st, char hex[65])
{
    fmp_buf text = {0};
    time_t newest = st->st_ctim.tv_sec;
    bool ok = true;
    if (S_ISDIR(st->st_mode)) {
        ok = tree_stats(path, &text, &newest);
    } else {
        add_stat(&text, "", st);
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    ok = ok && !text.failed && newest + SETTLED_SECONDS <= now.tv_sec;
    if (ok) {
        unsigned char digest[32];
        fmp_sha256_bytes(text.data, text.len, digest);
        fmp_hex(digest, sizeof digest, hex);
    }
    fmp_buf_free(&text);
    return ok;
}

fmp_status fmp_digests_get(fmp_digests *d, const char *path, char hex[65], fmp_err *err)
{
    struct stat st;
    if (stat(path, &st) != 0) { return fmp_fail(err, FMP_E_IO, "cannot read %s: %s", path, strerror(errno)); }
    char print[65];
    bool settled = fingerprint(path, &st, print);
    const char *known = settled ? fmp_json_str(d->known, print, NULL) : NULL;
    if (known && strlen(known) == 64 && strspn(known, "0123456789abcdef") == 64) {
        memcpy(hex, known, 65);
        return FMP_OK;
    }
    FMP_TRY(S_ISDIR(st.st_mode) ? fmp_sha256_tree(path, hex, err) : fmp_sha256_file(path, hex, err));
    /* Only if nothing moved while it was read. */
    char after[65];
    if (settled && stat(path, &st) == 0 && fingerprint(path, &st, after) && strcmp(print, after) == 0) {
        cJSON_DeleteItemFromObjectCaseSensitive(d->known, print);
        cJSON_AddStringToObject(d->known, print, hex);
        d->changed = true;
    }
    return FMP_OK;
}

static void save(fmp_digests *d)
{
    int excess = cJSON_GetArraySize(d->known) - KEPT_MAX;
    while (excess-- > 0) {
        cJSON_DeleteItemFromArray(d->known, 0);
    }
    cJSON *root = cJSON_CreateObject();
    cJSON_AddNumberToObject(root, "v", 1);
    cJSON_AddItemToObject(root, "digests", d->known);
    d->known = NULL;
    fmp_buf text = {0};
    fmp_json_print(root, FMP_JSON_PRETTY, &text);
    char *slash = strrchr(d->file, '/');
    *slash = '\0';
    fmp_status made = fmp_mkdirs(d->file, NULL);
    *slash = '/';
    /* A failure costs time only: the next run reads the files again. */
    if (made == FMP_OK && !text.failed) { made = fmp_write_file(d->file, text.data, text.len, NULL); }
    (void)made;
    fmp_buf_free(&text);
    cJSON_Delete(root);
}

void fmp_digests_close(fmp_digests *d)
{
    if (!d) { return; }
    if (d->changed && d->file) { save(d); }
    cJSON_Delete(d->known);
    free(d->file);
    free(d);
}
