/*
 * Names to stages. Folders are listed and manifests read on the first look-up, so that a command that needs
 * no plugin does not touch the disk; nothing here runs plugin code (a file without a note is read in a
 * child process).
 */
#include "diag.h"
#include "host.h"

#include <fmpipe/fs.h>

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_PLUGINS = 1024, MAX_DIRS = 64 };

struct fmp_registry {
    char *dirs[MAX_DIRS];
    size_t n_dirs;
    fmp_plugin_info *infos[MAX_PLUGINS]; /* found in dirs, by name           */
    size_t n_infos;
    fmp_plugin_info *files[MAX_PLUGINS]; /* named by path in a pipeline      */
    size_t n_files;
    bool scanned;
    fmp_err *refused; /* of each file in dirs that could not be read; heap */
    size_t n_refused;
};

static void add_dir(fmp_registry *reg, const char *dir, size_t len)
{
    if (reg->n_dirs == MAX_DIRS || len == 0) { return; }
    char *copy = strndup(dir, len);
    if (copy) { reg->dirs[reg->n_dirs++] = copy; }
}

/* fmpipe/plugins beside this library: lib/libfmpipe.so -> lib/fmpipe/plugins. */
static void add_own_dir(fmp_registry *reg)
{
    Dl_info self;
    char path[4096];
    if (dladdr((void *)(uintptr_t)add_own_dir, &self) == 0 || !self.dli_fname) { return; }
    const char *slash = strrchr(self.dli_fname, '/');
    int n = slash ? snprintf(path, sizeof path, "%.*s/fmpipe/plugins", (int)(slash - self.dli_fname),
                             self.dli_fname)
                  : -1;
    if (n > 0 && (size_t)n < sizeof path) { add_dir(reg, path, (size_t)n); }
}

fmp_status fmp_registry_new(const char *const *dirs, fmp_registry **out, fmp_err *err)
{
    fmp_registry *reg = calloc(1, sizeof *reg);
    if (!reg) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    for (; dirs && *dirs; dirs++) {
        add_dir(reg, *dirs, strlen(*dirs));
    }
    for (const char *path = getenv("FMPIPE_PLUGIN_PATH"); path && *path;) {
        size_t n = strcspn(path, ":");
        add_dir(reg, path, n);
        path += n + (path[n] == ':');
    }
    add_own_dir(reg);
    *out = reg;
    return FMP_OK;
}

void fmp_registry_free(fmp_registry *reg)
{
    if (!reg) { return; }
    for (size_t i = 0; i < reg->n_infos; i++) {
        fmp_plugin_info_free(reg->infos[i]);
    }
    for (size_t i = 0; i < reg->n_files; i++) {
        fmp_plugin_info_free(reg->files[i]);
    }
    for (size_t i = 0; i < reg->n_dirs; i++) {
        free(reg->dirs[i]);
    }
    free(reg->refused);
    free(reg);
}

static bool is_plugin_file(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);
    return n > 3 && entry->d_name[0] != '.' && strcmp(entry->d_name + n - 3, ".so") == 0;
}

static int only_plugins(const struct dirent *entry)
{
    return is_plugin_file(entry);
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void keep_refusal(fmp_registry *reg, const fmp_err *why)
{
    fmp_err *grown = reallocarray(reg->refused, reg->n_refused + 1, sizeof *grown);
    if (!grown) { return; }
    reg->refused = grown;
    reg->refused[reg->n_refused++] = *why;
}

static void read_one(fmp_registry *reg, const char *dir, const char *name)
{
    char *path = fmp_path_join(dir, name);
    fmp_plugin_info *info = NULL;
    fmp_err err = FMP_ERR_INIT;
    if (!path || reg->n_infos == MAX_PLUGINS) {
        free(path);
        return;
    }
    if (fmp_plugin_read(path, &info, &err) == FMP_OK) {
        reg->infos[reg->n_infos++] = info;
    } else {
        keep_refusal(reg, &err);
    }
    free(path);
}

static void scan(fmp_registry *reg)
{
    if (reg->scanned) { return; }
    reg->scanned = true;
    for (size_t d = 0; d < reg->n_dirs; d++) {
        struct dirent **entries = NULL;
        int n = scandir(reg->dirs[d], &entries, only_plugins,
                        by_bytes); /* a folder that is not there has no plugins */
        for (int i = 0; i < n; i++) {
            read_one(reg, reg->dirs[d], entries[i]->d_name);
            free(entries[i]);
        }
        free(entries);
    }
}

/* ---------------------------------------------------------------------------------------------- look-ups */

static fmp_status unknown_stage(fmp_registry *reg, const char *name, fmp_err *err)
{
    const char *names[MAX_PLUGINS + 1];
    size_t n = 0;
    for (size_t i = 0; i < reg->n_infos; i++) {
        for (size_t k = 0; k < reg->infos[i]->n_stages && n < MAX_PLUGINS; k++) {
            names[n++] = reg->infos[i]->stages[k].name;
        }
    }
    names[n] = NULL;
    const char *near_name = fmp_nearest_name(name, names);
    fmp_fail(err, FMP_E_CONFIG, "unknown stage '%.60s'", name);
    if (near_name) { return fmp_err_hint(err, "did you mean '%s'?", near_name); }
    if (reg->n_refused > 0) {
        return fmp_err_hint(err, "%zu plugin%s refused ('fmpipe doctor' shows all): %.160s: %.120s",
                            reg->n_refused, reg->n_refused == 1 ? " was" : "s were", reg->refused[0].file,
                            reg->refused[0].message);
    }
    return fmp_err_hint(err, "'fmpipe plugin list' shows the stages there are; a plugin of your own is named "
                             "by path, as ./build/mine.so");
}

static fmp_status find_by_name(fmp_registry *reg, const char *name, const fmp_stage_info **out, fmp_err *err)
{
    const fmp_stage_info *found = NULL;
    scan(reg);
    for (size_t i = 0; i < reg->n_infos; i++) {
        for (size_t k = 0; k < reg->infos[i]->n_stages; k++) {
            const fmp_stage_info *s = &reg->infos[i]->stages[k];
            if (strcmp(s->name, name) != 0) { continue; }
            if (found && strcmp(found->plugin->digest, s->plugin->digest) != 0) {
                fmp_fail(err, FMP_E_PLUGIN, "stage '%s' is in two plugins: %.200s and %.200s", name,
                         found->plugin->path, s->plugin->path);
                return fmp_err_hint(err, "name the file in the pipeline, as 'use: %.100s'", s->plugin->path);
            }
            if (!found) { found = s; }
        }
    }
    if (!found) { return unknown_stage(reg, name, err); }
    *out = found;
    return FMP_OK;
}

static fmp_status stage_of(const fmp_plugin_info *info, const char *stage, const fmp_stage_info **out,
                           fmp_err *err)
{
    if (!stage && info->n_stages > 1) {
        fmp_fail(err, FMP_E_CONFIG, "plugin '%s' has %zu stages; expected one to be named", info->path,
                 info->n_stages);
        return fmp_err_hint(err, "write 'use: FILE.so#%s'", info->stages[0].name);
    }
    for (size_t k = 0; k < info->n_stages; k++) {
        if (!stage || strcmp(info->stages[k].name, stage) == 0) {
            *out = &info->stages[k];
            return FMP_OK;
        }
    }
    fmp_fail(err, FMP_E_CONFIG, "plugin '%s' has no stage '%.60s'", info->path, stage);
    return fmp_err_hint(err, "its first stage is '%s'", info->stages[0].name);
}

static fmp_status find_by_file(fmp_registry *reg, const char *use, const char *base_dir,
                               const fmp_stage_info **out, fmp_err *err)
{
    const char *hash = strchr(use, '#');
    char *name = hash ? strndup(use, (size_t)(hash - use)) : strdup(use);
    char *path = name ? fmp_path_join(base_dir ? base_dir : ".", name) : NULL;
    char *real = path ? realpath(path, NULL) : NULL;
    fmp_plugin_info *info = NULL;
    fmp_status status = FMP_OK;
    for (size_t i = 0; real && i < reg->n_files; i++) {
        if (strcmp(reg->files[i]->path, real) == 0) { info = reg->files[i]; }
    }
    if (!path) {
        status = fmp_fail(err, FMP_E_NOMEM, "out of memory");
    } else if (!info && reg->n_files == MAX_PLUGINS) {
        status = fmp_fail(err, FMP_E_RANGE, "more than %d plugin files", MAX_PLUGINS);
    } else if (!info) {
        status = fmp_plugin_read(path, &info, err);
        if (status == FMP_OK) { reg->files[reg->n_files++] = info; }
    }
    if (status == FMP_OK) { status = stage_of(info, hash ? hash + 1 : NULL, out, err); }
    free(name);
    free(path);
    free(real);
    return status;
}

fmp_status fmp_registry_find(fmp_registry *reg, const char *use, const char *base_dir,
                             const fmp_stage_info **out, fmp_err *err)
{
    if (strchr(use, '/')) { return find_by_file(reg, use, base_dir, out, err); }
    return find_by_name(reg, use, out, err);
}

static int by_plugin_name(const void *a, const void *b)
{
    const fmp_plugin_info *x = *(fmp_plugin_info *const *)a, *y = *(fmp_plugin_info *const *)b;
    int order = strcmp(x->name, y->name);
    return order ? order : strcmp(x->path, y->path);
}

fmp_status fmp_registry_list(fmp_registry *reg, const fmp_plugin_info *const **out, size_t *n, fmp_err *err)
{
    scan(reg);
    qsort(reg->infos, reg->n_infos, sizeof reg->infos[0], by_plugin_name);
    *out = (const fmp_plugin_info *const *)reg->infos;
    *n = reg->n_infos;
    (void)err;
    return FMP_OK;
}

size_t fmp_registry_refused(fmp_registry *reg, const fmp_err **out)
{
    scan(reg);
    *out = reg->refused;
    return reg->n_refused;
}
