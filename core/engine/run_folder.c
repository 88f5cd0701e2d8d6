/*
 * run_folder.c: making a run's folder, and the small files and links in it.
 */
#include "run_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The run's name for people: a date and six random characters. No key depends on it. */
static bool make_id(char id[64])
{
    unsigned char random[3];
    char hex[7];
    struct tm day;
    time_t now = time(NULL);
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random || !gmtime_r(&now, &day)) {
        return false;
    }
    fmp_hex(random, sizeof random, hex);
    (void)snprintf(id, 64, "%04d%02d%02d-%s", day.tm_year + 1900, day.tm_mon + 1, day.tm_mday, hex);
    return true;
}

static fmp_status open_folder(fmp_run_folder *f, fmp_err *err)
{
    char *rejected = fmp_path_join(f->path, "rejected.jsonl");
    if (!rejected) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for the run's folder"); }
    f->lock = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->lock >= 0 && flock(f->lock, LOCK_EX | LOCK_NB) == 0) {
        f->rejected = open(rejected, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    }
    int why = errno;
    free(rejected);
    if (f->rejected >= 0) { return FMP_OK; }
    return fmp_fail(err, FMP_E_IO, "cannot use the run folder %s: %s", f->path, strerror(why));
}

fmp_status fmp_run_folder_new(const char *runs_dir, fmp_run_folder *out, fmp_err *err)
{
    *out = (fmp_run_folder){.lock = -1, .rejected = -1};
    FMP_TRY(fmp_mkdirs(runs_dir, err));
    out->runs_dir = strdup(runs_dir);
    for (int attempt = 0; attempt < 16 && !out->path; attempt++) {
        if (!make_id(out->id)) { continue; }
        out->path = fmp_path_join(runs_dir, out->id);
        if (out->path && mkdir(out->path, 0777) == 0) { break; }
        free(out->path);
        out->path = NULL;
    }
    fmp_status st = out->path && out->runs_dir ? open_folder(out, err)
                                               : fmp_fail(err, FMP_E_IO, "cannot make a folder in %s: %s",
                                                          runs_dir, strerror(errno));
    if (st != FMP_OK) { fmp_run_folder_free(out); }
    return st;
}

void fmp_run_folder_free(fmp_run_folder *f)
{
    if (f->rejected >= 0) { close(f->rejected); }
    if (f->lock >= 0) { close(f->lock); }
    free(f->path);
    free(f->runs_dir);
    *f = (fmp_run_folder){.lock = -1, .rejected = -1};
}

/* -------------------------------------------------------------------------------------- interrupted runs */

#define RUNS_LOOKED_AT 16

typedef struct dated_run {
    char id[64];
    struct timespec at; /* when its manifest was written last */
} dated_run;

static bool is_newer(const dated_run *a, const dated_run *b)
{
    if (a->at.tv_sec != b->at.tv_sec) { return a->at.tv_sec > b->at.tv_sec; }
    return a->at.tv_nsec > b->at.tv_nsec;
}

/* The newest ones of the folder, newest first; the day and six random characters of an id give no order. */
static size_t newest_runs(const char *runs_dir, dated_run out[RUNS_LOOKED_AT])
{
    size_t n = 0;
    DIR *dir = opendir(runs_dir);
    for (const struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        char path[4096];
        struct stat st;
        dated_run one;
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9' || strlen(entry->d_name) >= sizeof one.id) {
            continue;
        }
        int len = snprintf(path, sizeof path, "%s/%s/manifest.json", runs_dir, entry->d_name);
        if (len < 0 || (size_t)len >= sizeof path || stat(path, &st) != 0) { continue; }
        (void)snprintf(one.id, sizeof one.id, "%s", entry->d_name);
        one.at = st.st_mtim;
        if (n == RUNS_LOOKED_AT && !is_newer(&one, &out[n - 1])) { continue; }
        size_t k = n < RUNS_LOOKED_AT ? n++ : n - 1;
        for (; k > 0 && is_newer(&one, &out[k - 1]); k--) {
            out[k] = out[k - 1];
        }
        out[k] = one;
    }
    if (dir) { (void)closedir(dir); }
    return n;
}

/* A run holds the lock of its folder as long as its process lives. */
static bool is_at_work(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool held = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0;
    if (fd >= 0) { close(fd); }
    return held;
}

static bool read_broken(const cJSON *manifest, bool at_work, fmp_broken_run *out)
{
    const char *status = fmp_json_str(manifest, "status", "");
    out->stopped = strcmp(status, "stopped") == 0;
    if (!out->stopped && (strcmp(status, "running") != 0 || at_work)) { return false; }
    const cJSON *stage;
    cJSON_ArrayForEach(stage, fmp_json_get(manifest, "stages"))
    {
        const char *action = fmp_json_str(stage, "action", "");
        bool done = strcmp(action, "ran") == 0 || strcmp(action, "cached") == 0;
        out->n_done += done;
        if (done || out->stage[0]) { continue; }
        (void)snprintf(out->stage, sizeof out->stage, "%s", fmp_json_str(stage, "id", ""));
    }
    return true;
}

bool fmp_run_folder_broken(const char *runs_dir, const char *pipeline, fmp_broken_run *out)
{
    dated_run runs[RUNS_LOOKED_AT];
    size_t n = newest_runs(runs_dir, runs);
    for (size_t i = 0; i < n; i++) {
        char folder[4096], path[4200];
        cJSON *manifest = NULL;
        (void)snprintf(folder, sizeof folder, "%s/%s", runs_dir, runs[i].id);
        (void)snprintf(path, sizeof path, "%s/manifest.json", folder);
        if (fmp_json_load(path, NULL, &manifest, NULL) != FMP_OK) { continue; }
        *out = (fmp_broken_run){0};
        memcpy(out->id, runs[i].id, sizeof out->id);
        bool same = strcmp(fmp_json_str(fmp_json_get(manifest, "pipeline"), "name", ""), pipeline) == 0;
        bool broken = same && read_broken(manifest, is_at_work(folder), out);
        cJSON_Delete(manifest);
        if (same) { return broken; }
    }
    return false;
}

/* ----------------------------------------------------------------------------------------- rejected.jsonl */

static fmp_status write_all(int fd, const char *data, size_t len, const char *what, fmp_err *err)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR) { continue; }
        if (n < 0) { return fmp_fail(err, FMP_E_IO, "cannot write the run's %s: %s", what, strerror(errno)); }
        data += n;
        len -= (size_t)n;
    }
    return FMP_OK;
}

static fmp_status append_rejects(int fd, FILE *in, const char *stage, fmp_err *err)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    fmp_status st = FMP_OK;
    fmp_buf out = {0};
    while (st == FMP_OK && (n = getline(&line, &cap, in)) > 0) {
        fmp_buf_printf(&out, "{\"stage\":\"%s\",", stage);
        fmp_buf_add(&out, line + 1, (size_t)n - 1); /* stored lines begin with {"id": */
        if (out.len >= 65536) {
            st = write_all(fd, out.data, out.len, "rejected.jsonl", err);
            out.len = 0;
        }
    }
    if (st == FMP_OK) { st = fmp_buf_ok(&out, err); }
    if (st == FMP_OK) { st = write_all(fd, out.data, out.len, "rejected.jsonl", err); }
    fmp_buf_free(&out);
    free(line);
    return st;
}

fmp_status fmp_run_folder_rejects(fmp_run_folder *f, const char *stage, const char *path, fmp_err *err)
{
    FILE *in = fopen(path, "re");
    if (!in) { return fmp_fail(err, FMP_E_IO, "cannot open %s: %s", path, strerror(errno)); }
    fmp_status st = append_rejects(f->rejected, in, stage, err);
    (void)fclose(in);
    return st;
}

/* ------------------------------------------------------------------------------------------------ links */

/* `target` as seen from the folder `from`; both absolute, without links. */
static void relative_path(const char *from, const char *target, fmp_buf *out)
{
    size_t common = 0; /* length of the shared leading folders, their '/' included */
    for (size_t i = 0; from[i] && from[i] == target[i]; i++) {
        if (from[i] == '/') { common = i + 1; }
    }
    for (const char *p = from + common; *p; p++) {
        if (p == from + common || p[-1] == '/') { fmp_buf_puts(out, "../"); }
    }
    fmp_buf_puts(out, target + common);
}

fmp_status fmp_run_folder_link(const fmp_run_folder *f, const char *name, const char *target, fmp_err *err)
{
    fmp_buf to = {0};
    char *from = realpath(f->path, NULL), *path = fmp_path_join(f->path, name);
    fmp_status st =
        from && path ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for a link in %s", f->path);
    if (st == FMP_OK) {
        relative_path(from, target, &to);
        st = fmp_buf_ok(&to, err);
    }
    if (st == FMP_OK && symlink(to.data, path) != 0) {
        if (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS) {
            st = fmp_copy_tree(target, path, err);
        } else {
            st = fmp_fail(err, FMP_E_IO, "cannot make the link %s: %s", path, strerror(errno));
        }
    }
    free(from);
    free(path);
    fmp_buf_free(&to);
    return st;
}

fmp_status fmp_run_folder_latest(const fmp_run_folder *f, fmp_err *err)
{
    char *path = fmp_path_join(f->runs_dir, "latest"), *fresh = NULL;
    fmp_status st = FMP_OK;
    if (path && asprintf(&fresh, "%s.%s", path, f->id) >= 0) {
        bool made = symlink(f->id, fresh) == 0;
        if (!made || rename(fresh, path) != 0) {
            int why = errno;
            if (made) { (void)unlink(fresh); }
            st = fmp_fail(err, FMP_E_IO, "cannot make the link %s: %s", path, strerror(why));
        }
    } else {
        st = fmp_fail(err, FMP_E_NOMEM, "out of memory for a link in %s", f->runs_dir);
    }
    free(path);
    free(fresh);
    return st;
}

fmp_status fmp_run_folder_manifest(const fmp_run_folder *f, const cJSON *manifest, fmp_err *err)
{
    fmp_buf text = {0};
    char *path = fmp_path_join(f->path, "manifest.json");
    fmp_json_print(manifest, FMP_JSON_PRETTY, &text);
    fmp_buf_putc(&text, '\n');
    fmp_status st =
        path ? fmp_buf_ok(&text, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory for the run's manifest");
    if (st == FMP_OK) { st = fmp_write_file(path, text.data, text.len, err); }
    free(path);
    fmp_buf_free(&text);
    return st;
}
