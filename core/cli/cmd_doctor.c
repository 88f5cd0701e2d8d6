/*
 * cmd_doctor.c: is everything here that a run needs?
 */
#include "cli.h"

#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

typedef struct findings {
    const fmp_cli *cli;
    bool ok;
} findings;

static void finding(findings *f, bool ok, const char *what, const char *text)
{
    f->ok = f->ok && ok;
    if (!f->cli->json) {
        fmp_outf(" %s %-14s %s\n", ok ? "✓" : "✗", what, text);
        return;
    }
    cJSON *line = cJSON_CreateObject();
    cJSON_AddNumberToObject(line, "v", 1);
    cJSON_AddStringToObject(line, "check", what);
    cJSON_AddBoolToObject(line, "ok", ok);
    cJSON_AddStringToObject(line, "text", text);
    fmp_out_json(line);
}

/* Version functions of libraries that are loaded anyway; asked by name, so that nothing is linked for
 * this. */
static void check_libraries(findings *f)
{
    static const struct {
        const char *name, *symbol;
    } libraries[] = {{"cJSON", "cJSON_Version"}, {"libyaml", "yaml_get_version_string"}};
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        const char *(*version)(void) = NULL;
        void *symbol = dlsym(RTLD_DEFAULT, libraries[i].symbol);
        memcpy(&version, &symbol, sizeof version);
        finding(f, version != NULL, libraries[i].name, version ? version() : "not loaded");
    }
    const char *(*openssl)(int) = NULL;
    void *symbol = dlsym(RTLD_DEFAULT, "OpenSSL_version");
    memcpy(&openssl, &symbol, sizeof openssl);
    finding(f, openssl != NULL, "OpenSSL", openssl ? openssl(0) : "not loaded");
}

static void check_processor(findings *f)
{
    char text[256] = "";
#if defined(__x86_64__)
    const char *found[] = {__builtin_cpu_supports("avx2") ? "avx2" : NULL,
                           __builtin_cpu_supports("fma") ? "fma" : NULL,
                           __builtin_cpu_supports("avx512f") ? "avx512f" : NULL,
                           __builtin_cpu_supports("avx512vnni") ? "avx512vnni" : NULL,
                           __builtin_cpu_supports("avx512bf16") ? "avx512bf16" : NULL};
    size_t used = 0;
    for (size_t i = 0; i < sizeof found / sizeof *found; i++) {
        if (found[i]) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used ? " " : "", found[i]);
        }
    }
#endif
    finding(f, true, "processor", *text ? text : "no vector extensions that are asked for");
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    snprintf(text, sizeof text, "%d", cores);
    finding(f, true, "cores", text);
    struct utsname system;
    if (uname(&system) == 0) {
        snprintf(text, sizeof text, "%.60s %.60s %.60s", system.sysname, system.release, system.machine);
        finding(f, true, "system", text);
    }
}

/* Can the folder, or the one it would be made in, be written? */
static void check_folder(findings *f, const char *what, const char *dir)
{
    char text[512], parent[512];
    bool there = access(dir, F_OK) == 0;
    snprintf(parent, sizeof parent, "%s", dir);
    char *slash = strrchr(parent, '/');
    if (slash && slash != parent) {
        *slash = '\0';
    } else {
        snprintf(parent, sizeof parent, "%s", slash ? "/" : ".");
    }
    bool ok = access(there ? dir : parent, W_OK | X_OK) == 0;
    snprintf(text, sizeof text, "%.400s: %s", dir,
             !ok     ? strerror(errno)
             : there ? "can be written"
                     : "can be made");
    finding(f, ok, what, text);
}

static void check_plugins(findings *f)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_registry *registry = NULL;
    const fmp_plugin_info *const *plugins = NULL;
    size_t n = 0, n_stages = 0;
    char text[640];
    fmp_status status = fmp_registry_new(NULL, &registry, &err);
    if (status == FMP_OK) { status = fmp_registry_list(registry, &plugins, &n, &err); }
    for (size_t i = 0; i < n; i++) {
        n_stages += plugins[i]->n_stages;
    }
    snprintf(text, sizeof text, "%zu with %zu stages", n, n_stages);
    if (status == FMP_OK && n == 0) {
        snprintf(text, sizeof text, "none found; set FMPIPE_PLUGIN_PATH to their folder");
    }
    if (status != FMP_OK) { snprintf(text, sizeof text, "%.600s", err.message); }
    finding(f, status == FMP_OK && n > 0, "plugins", text);
    const fmp_err *refused = NULL;
    size_t n_refused = status == FMP_OK ? fmp_registry_refused(registry, &refused) : 0;
    for (size_t i = 0; i < n_refused; i++) {
        snprintf(text, sizeof text, "%.200s: %.400s", refused[i].file, refused[i].message);
        finding(f, false, "refused", text);
    }
    for (size_t i = 0; i < n && f->cli->verbose; i++) {
        finding(f, true, plugins[i]->name, plugins[i]->path);
    }
    fmp_registry_free(registry);
}

int fmp_cmd_doctor(fmp_cli *cli)
{
    findings f = {cli, true};
    finding(&f, true, "fmpipe", FMP_VERSION);
    check_libraries(&f);
    check_processor(&f);
    check_folder(&f, "store", cli->store_dir);
    check_folder(&f, "runs", cli->runs_dir);
    check_plugins(&f);
    return f.ok ? 0 : fmp_exit_code(FMP_E_FAILED);
}
