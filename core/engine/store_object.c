/*
 * store_object.c: publishing a folder as an object, and checking one that was published.
 *
 * object.json lists every file of data/ with size and SHA-256; its own SHA-256 is the object's name. So the
 * listing proves the files and the name proves the listing. Nothing about the stage or the time goes in:
 * equal results have one name, whoever made them.
 */
#include "store_private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTING_MAX_BYTES ((size_t)256 << 20)
#define SMALL_FILE_BYTES  ((uint64_t)64 << 20)
#define TREE_DEPTH_MAX    32

/* ------------------------------------------------------------------------------------------------ publish */

typedef struct listing {
    cJSON *files; /* array, in byte order of the paths within each folder */
    const fmp_store_file *known;
    size_t n_known;
} listing;

static const fmp_store_file *find_known(const listing *l, const char *relative, uint64_t size)
{
    for (size_t i = 0; i < l->n_known; i++) {
        if (strcmp(l->known[i].path, relative) == 0 && l->known[i].size_bytes == size) {
            return &l->known[i];
        }
    }
    return NULL;
}

static fmp_status list_file(listing *l, const char *path, const char *relative, uint64_t size, fmp_err *err)
{
    char digest[65];
    const fmp_store_file *known = find_known(l, relative, size);
    if (known) {
        memcpy(digest, known->digest, sizeof digest);
    } else {
        FMP_TRY(fmp_sha256_file(path, digest, err));
    }
    if (chmod(path, 0444) != 0) {
        return fmp_fail(err, FMP_E_IO, "cannot make %s read-only: %s", path, strerror(errno));
    }
    cJSON *file = cJSON_CreateObject();
    cJSON_AddStringToObject(file, "path", relative);
    cJSON_AddNumberToObject(file, "size", (double)size);
    cJSON_AddStringToObject(file, "sha256", digest);
    if (!cJSON_AddItemToArray(l->files, file)) {
        cJSON_Delete(file);
        return fmp_fail(err, FMP_E_NOMEM, "out of memory while listing %s", path);
    }
    return FMP_OK;
}

static fmp_status list_folder(listing *l, const char *path, const char *relative, int depth, fmp_err *err);

static fmp_status list_entry(listing *l, const char *path, const char *relative, int depth, fmp_err *err)
{
    struct stat info;
    if (lstat(path, &info) != 0) {
        return fmp_fail(err, FMP_E_IO, "cannot read %s: %s", path, strerror(errno));
    }
    if (S_ISREG(info.st_mode)) { return list_file(l, path, relative, (uint64_t)info.st_size, err); }
    if (S_ISDIR(info.st_mode)) { return list_folder(l, path, relative, depth + 1, err); }
    return fmp_fail(err, FMP_E_PLUGIN,
                    "expected regular files and folders in a stage's output, found '%s', which is %s",
                    relative, S_ISLNK(info.st_mode) ? "a symbolic link" : "a device, pipe or socket");
}

static fmp_status list_folder(listing *l, const char *path, const char *relative, int depth, fmp_err *err)
{
    if (depth > TREE_DEPTH_MAX) {
        return fmp_fail(err, FMP_E_PLUGIN,
                        "expected at most %d nested folders in a stage's output, found more at '%s'",
                        TREE_DEPTH_MAX, relative);
    }
    char **names;
    size_t n;
    FMP_TRY(fmp_store_entries_(path, &names, &n, err));
    fmp_status st = FMP_OK;
    for (size_t i = 0; st == FMP_OK && i < n; i++) {
        char *child = fmp_path_join(path, names[i]);
        char *shown = fmp_store_path_(err, "%s%s%s", relative, *relative ? "/" : "", names[i]);
        st = child && shown ? list_entry(l, child, shown, depth, err)
                            : fmp_fail(err, FMP_E_NOMEM, "out of memory while listing %s", path);
        free(child);
        free(shown);
    }
    fmp_store_entries_free_(names, n);
    return st;
}

static fmp_status write_listing(const fmp_store_tmp *tmp, const char *type, const fmp_store_file *known,
                                size_t n_known, char digest[65], fmp_err *err)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "v", 1);
    cJSON_AddStringToObject(object, "type", type);
    listing l = {.files = cJSON_AddArrayToObject(object, "files"), .known = known, .n_known = n_known};
    fmp_buf text = {0};
    char *path = fmp_path_join(tmp->path, "object.json");
    fmp_status st = l.files && path ? list_folder(&l, tmp->data, "", 0, err)
                                    : fmp_fail(err, FMP_E_NOMEM, "out of memory for an object's listing");
    if (st == FMP_OK) {
        fmp_json_print(object, FMP_JSON_PRETTY, &text);
        fmp_buf_putc(&text, '\n');
        st = fmp_buf_ok(&text, err);
    }
    if (st == FMP_OK) {
        unsigned char sum[32];
        fmp_sha256_bytes(text.data, text.len, sum);
        fmp_hex(sum, sizeof sum, digest);
        st = fmp_write_file(path, text.data, text.len, err);
    }
    if (st == FMP_OK && chmod(path, 0444) != 0) {
        st = fmp_fail(err, FMP_E_IO, "cannot make %s read-only: %s", path, strerror(errno));
    }
    fmp_buf_free(&text);
    free(path);
    cJSON_Delete(object);
    return st;
}

fmp_status fmp_store_publish(fmp_store *store, fmp_store_tmp *tmp, const char *type,
                             const fmp_store_file *known, size_t n_known, char digest[65], fmp_err *err)
{
    FMP_TRY(write_listing(tmp, type, known, n_known, digest, err));
    char *objects = fmp_path_join(store->dir, "objects");
    char *target = objects ? fmp_path_join(objects, digest) : NULL;
    fmp_status st =
        target ? fmp_sync_tree(tmp->path, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory for a path");
    if (st == FMP_OK && rename(tmp->path, target) == 0) {
        st = fmp_store_sync_dir_(objects, err);
        free(tmp->path);
        tmp->path = NULL; /* nothing left to drop */
        close(tmp->lock);
    } else if (st == FMP_OK && errno != ENOTEMPTY && errno != EEXIST) {
        st = fmp_fail(err, FMP_E_IO, "cannot rename %s to %s: %s", tmp->path, target, strerror(errno));
    }
    fmp_store_tmp_drop(tmp);
    free(objects);
    free(target);
    return st;
}

/* ------------------------------------------------------------------------------------------------ check */

static fmp_status check_file(const char *data, const cJSON *file, fmp_store_check check, fmp_err *err)
{
    const char *relative = fmp_json_str(file, "path", "");
    const char *digest = fmp_json_str(file, "sha256", "");
    double size = fmp_json_num(file, "size", -1.0);
    char *path = fmp_store_path_(err, "%s/%s", data, relative);
    if (!path) { return FMP_E_NOMEM; }
    struct stat info;
    fmp_status st = FMP_OK;
    if (lstat(path, &info) != 0 || !S_ISREG(info.st_mode)) {
        st = fmp_fail(err, FMP_E_MISMATCH, "file '%s' is missing", relative);
    } else if ((double)info.st_size != size) {
        st = fmp_fail(err, FMP_E_MISMATCH, "file '%s' has %lld bytes, expected %.0f", relative,
                      (long long)info.st_size, size);
    } else if (check == FMP_CHECK_DIGESTS ||
               (check == FMP_CHECK_SMALL && (uint64_t)info.st_size < SMALL_FILE_BYTES)) {
        char found[65];
        st = fmp_sha256_file(path, found, err);
        if (st == FMP_OK && strcmp(found, digest) != 0) {
            st = fmp_fail(err, FMP_E_MISMATCH, "file '%s' has SHA-256 %.12s…, expected %.12s…", relative,
                          found, digest);
        }
    }
    free(path);
    return st;
}

static fmp_status check_listing(const char *folder, const char *digest, fmp_store_check check, fmp_err *err)
{
    fmp_buf text = {0};
    cJSON *object = NULL;
    char *path = fmp_path_join(folder, "object.json");
    char *data = fmp_path_join(folder, "data");
    fmp_status st =
        path && data ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for a path in the store");
    if (st == FMP_OK && !fmp_path_exists(path)) { st = fmp_fail(err, FMP_E_MISMATCH, "it is not there"); }
    if (st == FMP_OK) { st = fmp_read_file(path, LISTING_MAX_BYTES, &text, err); }
    if (st == FMP_OK) {
        unsigned char sum[32];
        char found[65];
        fmp_sha256_bytes(text.data, text.len, sum);
        fmp_hex(sum, sizeof sum, found);
        if (strcmp(found, digest) != 0) {
            st = fmp_fail(err, FMP_E_MISMATCH, "its listing has SHA-256 %.12s…", found);
        }
    }
    fmp_json_limits limits = {.max_bytes = LISTING_MAX_BYTES};
    if (st == FMP_OK) { st = fmp_json_parse(text.data, text.len, &limits, &object, err); }
    const cJSON *file;
    cJSON_ArrayForEach(file, fmp_json_get(object, "files"))
    {
        if (st == FMP_OK) { st = check_file(data, file, check, err); }
    }
    cJSON_Delete(object);
    fmp_buf_free(&text);
    free(path);
    free(data);
    return st;
}

fmp_status fmp_store_object(const fmp_store *store, const char *digest, fmp_store_check check, char **data,
                            fmp_err *err)
{
    if (data) { *data = NULL; }
    if (!fmp_store_is_digest_(digest)) {
        return fmp_fail(err, FMP_E_MISMATCH, "expected the digest of a store entry, found '%s'",
                        digest ? digest : "");
    }
    char *folder = fmp_store_path_(err, "%s/objects/%s", store->dir, digest);
    if (!folder) { return FMP_E_NOMEM; }
    fmp_err why = FMP_ERR_INIT;
    fmp_status st = check_listing(folder, digest, check, &why);
    if (st == FMP_OK && data) {
        *data = fmp_path_join(folder, "data");
        if (!*data) { st = fmp_fail(err, FMP_E_NOMEM, "out of memory for a path in the store"); }
    } else if (st != FMP_OK && st != FMP_E_NOMEM) {
        st = fmp_fail(err, FMP_E_MISMATCH, "store entry %.12s… cannot be used: %s", digest, why.message);
    } else if (st != FMP_OK && err) {
        *err = why;
    }
    free(folder);
    return st;
}

/* Renamed first: no other process sees it half removed. */
fmp_status fmp_store_drop(fmp_store *store, const char *digest, fmp_err *err)
{
    fmp_store_tmp tmp;
    if (!fmp_store_is_digest_(digest)) { return FMP_OK; }
    FMP_TRY(fmp_store_tmp_new(store, &tmp, err));
    char *from = fmp_store_path_(err, "%s/objects/%s", store->dir, digest);
    char *to = fmp_store_path_(err, "%s/dropped", tmp.path);
    fmp_status st = from && to ? FMP_OK : FMP_E_NOMEM;
    if (st == FMP_OK && rename(from, to) != 0 && errno != ENOENT) {
        st = fmp_fail(err, FMP_E_IO, "cannot move %s away: %s", from, strerror(errno));
    }
    free(from);
    free(to);
    fmp_store_tmp_drop(&tmp);
    return st;
}
