/*
 * store_gc.c: listing the store and removing what is no longer wanted.
 *
 * Wanted: the actions named in last/, the newest N others, and the objects that these name. gc takes the
 * store's lock exclusively, so no run is alive while it works; an interrupted gc leaves whole entries only.
 */
#include "store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef struct action_entry {
    char *path;
    cJSON *record;
    struct timespec written;
    bool last; /* named in last/ */
    bool keep;
} action_entry;

typedef struct action_list {
    action_entry *items;
    size_t n;
} action_list;

static void free_actions(action_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        free(list->items[i].path);
        cJSON_Delete(list->items[i].record);
    }
    free(list->items);
    *list = (action_list){0};
}

/* Newest first; equal times by key, so that the order is one. */
static int newest_first(const void *a, const void *b)
{
    const action_entry *x = a, *y = b;
    if (x->written.tv_sec != y->written.tv_sec) { return x->written.tv_sec < y->written.tv_sec ? 1 : -1; }
    if (x->written.tv_nsec != y->written.tv_nsec) { return x->written.tv_nsec < y->written.tv_nsec ? 1 : -1; }
    return strcmp(x->path, y->path);
}

static bool is_record_name(const char *name)
{
    size_t n = strlen(name);
    return n == 64 + 5 && strcmp(name + 64, ".json") == 0 && strspn(name, "0123456789abcdef") == 64;
}

static fmp_status load_actions(const char *dir, action_list *out, fmp_err *err)
{
    char **names = NULL;
    size_t n = 0;
    char *folder = fmp_path_join(dir, "actions");
    if (!folder) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a path in the store"); }
    fmp_status st = fmp_store_entries_(folder, &names, &n, err);
    out->items = calloc(n ? n : 1, sizeof *out->items);
    if (st == FMP_OK && !out->items) { st = fmp_fail(err, FMP_E_NOMEM, "out of memory for %zu actions", n); }
    for (size_t i = 0; st == FMP_OK && i < n; i++) {
        struct stat info;
        if (!is_record_name(names[i])) { continue; }
        action_entry *a = &out->items[out->n];
        a->path = fmp_path_join(folder, names[i]);
        if (!a->path || stat(a->path, &info) != 0 ||
            fmp_json_load(a->path, NULL, &a->record, NULL) != FMP_OK) {
            a->record = NULL; /* damaged: listed without content, never kept */
        }
        a->written = info.st_mtim;
        if (a->path) { out->n++; }
    }
    fmp_store_entries_free_(names, n);
    free(folder);
    if (st != FMP_OK) { free_actions(out); }
    if (st == FMP_OK && out->n > 1) { qsort(out->items, out->n, sizeof *out->items, newest_first); }
    return st;
}

static void mark_last(action_list *list, const char *key)
{
    for (size_t i = 0; i < list->n; i++) {
        if (list->items[i].record && strcmp(fmp_json_str(list->items[i].record, "key", ""), key) == 0) {
            list->items[i].last = list->items[i].keep = true;
        }
    }
}

static fmp_status mark_last_folder(const char *folder, action_list *list, fmp_err *err)
{
    char **names;
    size_t n;
    FMP_TRY(fmp_store_entries_(folder, &names, &n, err));
    for (size_t i = 0; i < n; i++) {
        char *path = fmp_path_join(folder, names[i]);
        cJSON *record = NULL;
        if (path && fmp_json_load(path, NULL, &record, NULL) == FMP_OK) {
            mark_last(list, fmp_json_str(record, "key", ""));
            cJSON_Delete(record);
        }
        free(path);
    }
    fmp_store_entries_free_(names, n);
    return FMP_OK;
}

static fmp_status mark_last_all(const char *dir, action_list *list, fmp_err *err)
{
    char **names = NULL;
    size_t n = 0;
    char *last = fmp_path_join(dir, "last");
    fmp_status st = last ? fmp_store_entries_(last, &names, &n, err)
                         : fmp_fail(err, FMP_E_NOMEM, "out of memory for a path in the store");
    for (size_t i = 0; st == FMP_OK && i < n; i++) {
        char *folder = fmp_path_join(last, names[i]);
        st = folder ? mark_last_folder(folder, list, err)
                    : fmp_fail(err, FMP_E_NOMEM, "out of memory for a path");
        free(folder);
    }
    fmp_store_entries_free_(names, n);
    free(last);
    return st;
}

static uint64_t tree_bytes(const char *path)
{
    struct stat info;
    if (lstat(path, &info) != 0) { return 0; }
    if (!S_ISDIR(info.st_mode)) { return (uint64_t)info.st_size; }
    uint64_t sum = 0;
    char **names;
    size_t n;
    if (fmp_store_entries_(path, &names, &n, NULL) != FMP_OK) { return 0; }
    for (size_t i = 0; i < n; i++) {
        char *child = fmp_path_join(path, names[i]);
        if (child) { sum += tree_bytes(child); }
        free(child);
    }
    fmp_store_entries_free_(names, n);
    return sum;
}

/* ------------------------------------------------------------------------------------------------ list */

static cJSON *describe_action(const char *dir, const action_entry *a)
{
    cJSON *row = cJSON_CreateObject();
    uint64_t bytes = tree_bytes(a->path);
    cJSON_AddStringToObject(row, "key", fmp_json_str(a->record, "key", ""));
    cJSON_AddStringToObject(row, "stage", fmp_json_str(fmp_json_get(a->record, "preimage"), "stage", ""));
    cJSON_AddNumberToObject(row, "out", fmp_json_num(a->record, "out", 0.0));
    cJSON *outputs = cJSON_AddArrayToObject(row, "outputs");
    const cJSON *digest;
    cJSON_ArrayForEach(digest, fmp_json_get(a->record, "outputs"))
    {
        if (!cJSON_IsString(digest) || !fmp_store_is_digest_(digest->valuestring)) { continue; }
        char *path = fmp_store_path_(NULL, "%s/objects/%s", dir, digest->valuestring);
        if (path) { bytes += tree_bytes(path); }
        free(path);
        cJSON_AddItemToArray(outputs, cJSON_CreateString(digest->valuestring));
    }
    cJSON_AddNumberToObject(row, "bytes", (double)bytes);
    cJSON_AddBoolToObject(row, "last", a->last);
    return row;
}

fmp_status fmp_store_list(const char *dir, cJSON **out, fmp_err *err)
{
    *out = NULL;
    action_list list = {0};
    FMP_TRY(load_actions(dir, &list, err));
    fmp_status st = mark_last_all(dir, &list, err);
    if (st == FMP_OK) {
        *out = cJSON_CreateArray();
        for (size_t i = 0; i < list.n; i++) {
            if (list.items[i].record) { cJSON_AddItemToArray(*out, describe_action(dir, &list.items[i])); }
        }
    }
    free_actions(&list);
    return st;
}

/* ------------------------------------------------------------------------------------------------ gc */

typedef struct gc {
    const char *dir;
    const fmp_gc_options *options;
    fmp_gc_result *result;
    action_list actions;
} gc;

static bool is_wanted(const gc *g, const char *object)
{
    for (size_t i = 0; i < g->actions.n; i++) {
        const cJSON *digest;
        if (!g->actions.items[i].keep) { continue; }
        cJSON_ArrayForEach(digest, fmp_json_get(g->actions.items[i].record, "outputs"))
        {
            if (cJSON_IsString(digest) && strcmp(digest->valuestring, object) == 0) { return true; }
        }
    }
    return false;
}

static bool is_kept_action(const gc *g, const char *key)
{
    for (size_t i = 0; i < g->actions.n; i++) {
        const action_entry *a = &g->actions.items[i];
        if (a->keep && strcmp(fmp_json_str(a->record, "key", ""), key) == 0) { return true; }
    }
    return false;
}

static fmp_status collect(gc *g, const char *path, size_t *count, fmp_err *err)
{
    g->result->bytes += tree_bytes(path);
    ++*count;
    return g->options->dry_run ? FMP_OK : fmp_remove_tree(path, err);
}

static fmp_status collect_actions(gc *g, fmp_err *err)
{
    for (size_t i = 0; i < g->actions.n; i++) {
        const action_entry *a = &g->actions.items[i];
        if (a->keep) { continue; }
        FMP_TRY(collect(g, a->path, &g->result->n_actions, err));
        size_t stem = strlen(a->path) - strlen(".json");
        char *rejects = fmp_store_path_(err, "%.*s.rejects.jsonl", (int)stem, a->path);
        if (!rejects) { return FMP_E_NOMEM; }
        size_t uncounted = 0;
        fmp_status st = fmp_path_exists(rejects) ? collect(g, rejects, &uncounted, err) : FMP_OK;
        free(rejects);
        FMP_TRY(st);
    }
    return FMP_OK;
}

/* A work folder is dead weight once its action is finished, or when nobody has come back to it for long. */
static bool is_dead_work(const gc *g, const char *key, const char *path)
{
    struct stat info;
    uint32_t days = g->options->work_days ? g->options->work_days : 30;
    if (is_kept_action(g, key)) { return true; }
    return stat(path, &info) == 0 && time(NULL) - info.st_mtime > (time_t)days * 24 * 3600;
}

static fmp_status collect_folder(gc *g, const char *name, bool work, fmp_err *err)
{
    char **names = NULL;
    size_t n = 0;
    char *folder = fmp_path_join(g->dir, name);
    fmp_status st =
        folder ? fmp_store_entries_(folder, &names, &n, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    for (size_t i = 0; st == FMP_OK && i < n; i++) {
        char *path = fmp_path_join(folder, names[i]);
        bool dead = path && (work ? is_dead_work(g, names[i], path) : !is_wanted(g, names[i]));
        if (dead) { st = collect(g, path, work ? &g->result->n_work : &g->result->n_objects, err); }
        free(path);
    }
    fmp_store_entries_free_(names, n);
    free(folder);
    return st;
}

static fmp_status gc_locked(gc *g, fmp_err *err)
{
    FMP_TRY(load_actions(g->dir, &g->actions, err));
    FMP_TRY(mark_last_all(g->dir, &g->actions, err));
    size_t kept = 0;
    for (size_t i = 0; i < g->actions.n && kept < g->options->keep; i++) {
        if (!g->actions.items[i].record) { continue; }
        g->actions.items[i].keep = true;
        kept++;
    }
    FMP_TRY(collect_actions(g, err));
    FMP_TRY(collect_folder(g, "objects", false, err));
    return collect_folder(g, "work", true, err);
}

fmp_status fmp_store_gc(const char *dir, const fmp_gc_options *options, fmp_gc_result *out, fmp_err *err)
{
    *out = (fmp_gc_result){0};
    char *path = fmp_path_join(dir, "lock");
    if (!path) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a path in the store"); }
    int lock = open(path, O_RDWR | O_CLOEXEC);
    int why = errno;
    free(path);
    if (lock < 0) {
        if (why == ENOENT) { return FMP_OK; } /* no store, nothing to remove */
        return fmp_fail(err, FMP_E_IO, "cannot open the lock of the store %s: %s", dir, strerror(why));
    }
    fmp_status st;
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        st = fmp_fail(err, FMP_E_FAILED, "the store %s is in use by a run", dir);
        (void)fmp_err_hint(err, "try again when it has ended");
    } else {
        gc g = {.dir = dir, .options = options, .result = out};
        st = gc_locked(&g, err);
        free_actions(&g.actions);
    }
    close(lock);
    return st;
}
