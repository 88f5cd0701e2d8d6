/*
 * store.c: the store's folders, locks, tmp folders, action records and work folders.
 *
 * Crash safety rests on three rules: nothing is visible before it is complete (rename), a lock dies with its
 * process (flock), and a reader that finds something unreadable treats it as absent, so that it is made
 * again. Objects are in store_object.c, listing and gc in store_gc.c.
 */
#include "store_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ACTION_MAX_BYTES ((size_t)64 << 20)

char *fmp_store_path_(fmp_err *err, const char *fmt, ...)
{
    char *path = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&path, fmt, ap);
    va_end(ap);
    if (n >= 0) { return path; }
    (void)fmp_fail(err, FMP_E_NOMEM, "out of memory for a path in the store");
    return NULL;
}

bool fmp_store_is_digest_(const char *text)
{
    return text && strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

bool fmp_store_is_name_(const char *text)
{
    return text && *text && !strchr(text, '/') && strcmp(text, ".") != 0 && strcmp(text, "..") != 0;
}

fmp_status fmp_store_sync_dir_(const char *path, fmp_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) { return fmp_fail(err, FMP_E_IO, "cannot open the folder %s: %s", path, strerror(errno)); }
    int rc = fsync(fd);
    int why = errno;
    close(fd);
    if (rc != 0) { return fmp_fail(err, FMP_E_IO, "cannot sync the folder %s: %s", path, strerror(why)); }
    return FMP_OK;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void fmp_store_entries_free_(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(names[i]);
    }
    free(names);
}

static bool entries_add(char ***names, size_t *n, size_t *cap, const char *name)
{
    if (*n == *cap) {
        size_t want = *cap ? 2 * *cap : 16;
        char **grown = reallocarray(*names, want, sizeof *grown);
        if (!grown) { return false; }
        *names = grown;
        *cap = want;
    }
    (*names)[*n] = strdup(name);
    if (!(*names)[*n]) { return false; }
    (*n)++;
    return true;
}

fmp_status fmp_store_entries_(const char *path, char ***names, size_t *n, fmp_err *err)
{
    *names = NULL;
    *n = 0;
    DIR *dir = opendir(path);
    if (!dir) {
        if (errno == ENOENT) { return FMP_OK; }
        return fmp_fail(err, FMP_E_IO, "cannot list %s: %s", path, strerror(errno));
    }
    size_t cap = 0;
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) { continue; }
        ok = entries_add(names, n, &cap, e->d_name);
    }
    closedir(dir);
    if (!ok) {
        fmp_store_entries_free_(*names, *n);
        *names = NULL;
        *n = 0;
        return fmp_fail(err, FMP_E_NOMEM, "out of memory while listing %s", path);
    }
    if (*n > 1) { qsort(*names, *n, sizeof **names, by_bytes); }
    return FMP_OK;
}

/* -------------------------------------------------------------------------------------------- open, close */

/* A tmp folder whose flock can be had belongs to nobody alive. */
static void sweep_tmp(const char *tmp_dir)
{
    char **names;
    size_t n;
    if (fmp_store_entries_(tmp_dir, &names, &n, NULL) != FMP_OK) { return; }
    for (size_t i = 0; i < n; i++) {
        char *path = fmp_path_join(tmp_dir, names[i]);
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
            fmp_status swept = fmp_remove_tree(path, NULL); /* what stays is tried again next time */
            (void)swept;
        }
        if (fd >= 0) { close(fd); }
        free(path);
    }
    fmp_store_entries_free_(names, n);
}

static fmp_status make_folders(const char *dir, fmp_err *err)
{
    static const char *const folders[] = {"objects", "actions", "last", "work", "tmp"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *path = fmp_path_join(dir, folders[i]);
        if (!path) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a path in the store"); }
        fmp_status st = fmp_mkdirs(path, err);
        free(path);
        FMP_TRY(st);
    }
    return FMP_OK;
}

static fmp_status take_run_lock(fmp_store *store, fmp_err *err)
{
    char *path = fmp_store_path_(err, "%s/lock", store->dir);
    if (!path) { return FMP_E_NOMEM; }
    store->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    int why = errno;
    fmp_status st = FMP_OK;
    if (store->lock < 0) {
        st = fmp_fail(err, FMP_E_IO, "cannot open %s: %s", path, strerror(why));
    } else if (flock(store->lock, LOCK_SH) != 0) {
        st = fmp_fail(err, FMP_E_IO, "cannot lock %s: %s", path, strerror(errno));
    }
    free(path);
    return st;
}

fmp_status fmp_store_open(const char *dir, fmp_store **out, fmp_err *err)
{
    *out = NULL;
    fmp_store *store = calloc(1, sizeof *store);
    if (!store) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for the store"); }
    store->lock = -1;
    fmp_status st = make_folders(dir, err);
    if (st == FMP_OK) {
        store->dir = realpath(dir, NULL);
        if (!store->dir) { st = fmp_fail(err, FMP_E_IO, "cannot resolve %s: %s", dir, strerror(errno)); }
    }
    if (st == FMP_OK) { st = take_run_lock(store, err); }
    if (st != FMP_OK) {
        fmp_store_close(store);
        (void)fmp_err_note(err, "while opening the store %s", dir);
        return st;
    }
    char *tmp = fmp_path_join(store->dir, "tmp");
    if (tmp) { sweep_tmp(tmp); }
    free(tmp);
    *out = store;
    return FMP_OK;
}

void fmp_store_close(fmp_store *store)
{
    if (!store) { return; }
    if (store->lock >= 0) { close(store->lock); }
    free(store->dir);
    free(store);
}

const char *fmp_store_dir(const fmp_store *store)
{
    return store->dir;
}

/* -------------------------------------------------------------------------------------------- tmp folders */

/* Between mkdir and flock a sweeping process may take the folder for abandoned: then make another. */
static bool lock_new_folder(const char *path, int *lock)
{
    struct stat mine, there;
    *lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock < 0) { return false; }
    if (flock(*lock, LOCK_EX | LOCK_NB) == 0 && fstat(*lock, &mine) == 0 && stat(path, &there) == 0 &&
        mine.st_ino == there.st_ino && mine.st_dev == there.st_dev) {
        return true;
    }
    close(*lock);
    *lock = -1;
    return false;
}

fmp_status fmp_store_tmp_new(fmp_store *store, fmp_store_tmp *out, fmp_err *err)
{
    *out = (fmp_store_tmp){.lock = -1};
    for (int attempt = 0; attempt < 16; attempt++) {
        unsigned char random[8];
        char name[17];
        if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) { continue; }
        fmp_hex(random, sizeof random, name);
        char *path = fmp_store_path_(err, "%s/tmp/%s", store->dir, name);
        if (!path) { return FMP_E_NOMEM; }
        if (mkdir(path, 0777) != 0 || !lock_new_folder(path, &out->lock)) {
            free(path);
            continue;
        }
        out->path = path;
        out->data = fmp_path_join(path, "data");
        if (out->data && mkdir(out->data, 0777) == 0) { return FMP_OK; }
        break;
    }
    int why = errno;
    fmp_store_tmp_drop(out);
    return fmp_fail(err, FMP_E_IO, "cannot make a folder in %s/tmp: %s", store->dir, strerror(why));
}

void fmp_store_tmp_drop(fmp_store_tmp *tmp)
{
    if (tmp->path) {
        fmp_status removed = fmp_remove_tree(tmp->path, NULL); /* what stays is swept by a later open */
        (void)removed;
        if (tmp->lock >= 0) { close(tmp->lock); }
    }
    free(tmp->path);
    free(tmp->data);
    *tmp = (fmp_store_tmp){.lock = -1};
}

/* ----------------------------------------------------------------------------------------- action records */

/* A small JSON file of the store; NULL if it is missing or not what was written. */
static cJSON *load_record(const char *path)
{
    if (!fmp_path_exists(path)) { return NULL; }
    fmp_json_limits limits = {.max_bytes = ACTION_MAX_BYTES};
    cJSON *record = NULL;
    if (fmp_json_load(path, &limits, &record, NULL) != FMP_OK) { return NULL; }
    if (cJSON_IsObject(record) && cJSON_IsObject(fmp_json_get(record, "preimage")) &&
        fmp_store_is_digest_(fmp_json_str(record, "key", NULL))) {
        return record;
    }
    cJSON_Delete(record);
    return NULL;
}

static fmp_status save_record(const char *path, const cJSON *record, fmp_err *err)
{
    fmp_buf text = {0};
    fmp_json_print(record, FMP_JSON_PRETTY, &text);
    fmp_buf_putc(&text, '\n');
    fmp_status st = fmp_buf_ok(&text, err);
    if (st == FMP_OK) { st = fmp_write_file(path, text.data, text.len, err); }
    fmp_buf_free(&text);
    return st;
}

fmp_status fmp_store_action(const fmp_store *store, const char *key, cJSON **out, fmp_err *err)
{
    *out = NULL;
    char *path = fmp_store_path_(err, "%s/actions/%s.json", store->dir, key);
    if (!path) { return FMP_E_NOMEM; }
    *out = load_record(path);
    free(path);
    if (*out && strcmp(fmp_json_str(*out, "key", ""), key) != 0) {
        cJSON_Delete(*out);
        *out = NULL;
    }
    return FMP_OK;
}

char *fmp_store_rejects_path(const fmp_store *store, const char *key)
{
    return fmp_store_path_(NULL, "%s/actions/%s.rejects.jsonl", store->dir, key);
}

/* The rejects go first: a record that is there promises that they are, too. */
fmp_status fmp_store_put_action(fmp_store *store, const char *key, const cJSON *record, const char *rejects,
                                fmp_err *err)
{
    char *path = fmp_store_path_(err, "%s/actions/%s.json", store->dir, key);
    char *target = fmp_store_rejects_path(store, key);
    fmp_status st =
        path && target ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for a path in the store");
    if (st == FMP_OK && rejects) {
        st = fmp_sync_tree(rejects, err);
        if (st == FMP_OK && rename(rejects, target) != 0) {
            st = fmp_fail(err, FMP_E_IO, "cannot rename %s to %s: %s", rejects, target, strerror(errno));
        }
    }
    if (st == FMP_OK) { st = save_record(path, record, err); }
    free(path);
    free(target);
    return st;
}

fmp_status fmp_store_last(const fmp_store *store, const char *pipeline, const char *stage, cJSON **out,
                          fmp_err *err)
{
    *out = NULL;
    if (!fmp_store_is_name_(pipeline) || !fmp_store_is_name_(stage)) { return FMP_OK; }
    char *path = fmp_store_path_(err, "%s/last/%s/%s.json", store->dir, pipeline, stage);
    if (!path) { return FMP_E_NOMEM; }
    *out = load_record(path);
    free(path);
    return FMP_OK;
}

fmp_status fmp_store_put_last(fmp_store *store, const char *pipeline, const char *stage, const char *key,
                              const cJSON *preimage, fmp_err *err)
{
    if (!fmp_store_is_name_(pipeline) || !fmp_store_is_name_(stage)) { return FMP_OK; }
    cJSON *before = NULL;
    FMP_TRY(fmp_store_last(store, pipeline, stage, &before, err));
    bool same = strcmp(fmp_json_str(before, "key", ""), key) == 0;
    cJSON_Delete(before);
    if (same) { return FMP_OK; } /* a fully cached run writes nothing */
    char *dir = fmp_store_path_(err, "%s/last/%s", store->dir, pipeline);
    char *path = fmp_store_path_(err, "%s/last/%s/%s.json", store->dir, pipeline, stage);
    cJSON *record = cJSON_CreateObject();
    fmp_status st = dir && path && record ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for a record");
    if (st == FMP_OK) { st = fmp_mkdirs(dir, err); }
    if (st == FMP_OK) {
        cJSON_AddStringToObject(record, "key", key);
        cJSON_AddItemToObject(record, "preimage", cJSON_Duplicate(preimage, true));
        st = save_record(path, record, err);
    }
    cJSON_Delete(record);
    free(dir);
    free(path);
    return st;
}

/* ------------------------------------------------------------------------------------------- work folders */

fmp_status fmp_store_work(fmp_store *store, const char *key, const volatile int *stop, char **path, int *lock,
                          bool *waited, fmp_err *err)
{
    *lock = -1;
    *waited = false;
    *path = fmp_store_path_(err, "%s/work/%s", store->dir, key);
    if (!*path) { return FMP_E_NOMEM; }
    fmp_status st = fmp_mkdirs(*path, err);
    while (st == FMP_OK && !lock_new_folder(*path, lock)) {
        *waited = true;
        if (stop && *stop) {
            st = fmp_fail(err, FMP_E_CANCELLED, "stopped while another run works on the same stage");
            break;
        }
        struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
        st = fmp_mkdirs(*path, err);
    }
    if (st != FMP_OK) {
        free(*path);
        *path = NULL;
    }
    return st;
}

bool fmp_store_has_work(const fmp_store *store, const char *key)
{
    char *path = fmp_store_path_(NULL, "%s/work/%s", store->dir, key);
    DIR *dir = path ? opendir(path) : NULL;
    bool found = false;
    for (const struct dirent *entry; dir && !found && (entry = readdir(dir)) != NULL;) {
        found = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    if (dir) { (void)closedir(dir); }
    free(path);
    return found;
}
