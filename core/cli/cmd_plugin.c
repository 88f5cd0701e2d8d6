/*
 * `fmpipe plugin`: list, inspect, new, test, check, note. It reads its own arguments, since each of them
 * has options of its own.
 */
#include "cli.h"

#include "cases.h"
#include "check.h"
#include "plugin_new.h"

#include <fmpipe/fs.h>

#include <stdlib.h>
#include <unistd.h>

enum { MAX_OPERANDS = 512, MAX_ROW_BYTES = 64 << 20 };

typedef struct plugin_args {
    const fmp_cli *cli;
    bool json, update;
    const char *stage, *test, *record, *with;
    const char *operands[MAX_OPERANDS];
    size_t n_operands;
} plugin_args;

static const char usage[] =
    "usage: fmpipe plugin list                      the plugins and stages there are\n"
    "       fmpipe plugin inspect FILE.so|STAGE     what a plugin says of itself, its digest, its options\n"
    "       fmpipe plugin new NAME                  a folder to begin a transform in\n"
    "       fmpipe plugin test [--update] FILE.so CASE...   run text cases (docs/reference/cases.md)\n"
    "       fmpipe plugin check [--stage S] [--test T] [--with JSON] [--record FILE:LINE] FILE.so   "
    "conformance suite\n"
    "       fmpipe plugin note FILE.so              write the manifest note (the build helper does it)\n";

static const char *stage_kind(const fmp_stage_info *s)
{
    static const char *const names[] = {"?", "source", "map", "sink", "gather", "task"};
    return names[s->kind >= FMP_SOURCE && s->kind <= FMP_TASK ? s->kind : 0];
}

/* ---- list, inspect ---- */

static cJSON *plugin_json(const fmp_plugin_info *info)
{
    cJSON *line = cJSON_CreateObject();
    cJSON_AddNumberToObject(line, "v", 1);
    cJSON_AddStringToObject(line, "path", info->path);
    cJSON_AddStringToObject(line, "digest", info->digest);
    cJSON_AddItemToObject(line, "manifest", cJSON_Duplicate(info->json, true));
    return line;
}

static void show_refused(const plugin_args *a, fmp_registry *reg)
{
    const fmp_err *refused = NULL;
    size_t n = fmp_registry_refused(reg, &refused);
    for (size_t i = 0; i < n; i++) {
        if (!a->json) {
            fmp_errf("refused: %s: %s\n", refused[i].file, refused[i].message);
            continue;
        }
        cJSON *line = cJSON_CreateObject();
        cJSON_AddNumberToObject(line, "v", 1);
        cJSON_AddStringToObject(line, "refused", refused[i].file);
        cJSON_AddStringToObject(line, "message", refused[i].message);
        fmp_out_json(line);
    }
}

static int list_plugins(const plugin_args *a)
{
    fmp_registry *reg = NULL;
    fmp_err err = FMP_ERR_INIT;
    const fmp_plugin_info *const *infos = NULL;
    size_t n = 0, width = 0;
    fmp_status status = fmp_registry_new(NULL, &reg, &err);
    if (status == FMP_OK) { status = fmp_registry_list(reg, &infos, &n, &err); }
    if (status != FMP_OK) {
        fmp_registry_free(reg);
        return fmp_cli_fail(a->cli, &err);
    }
    fmp_buf out = {0};
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < infos[i]->n_stages; k++) {
            size_t len = strlen(infos[i]->stages[k].name);
            width = len > width ? len : width;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (a->json) { fmp_out_json(plugin_json(infos[i])); }
        for (size_t k = 0; k < infos[i]->n_stages && !a->json; k++) {
            const fmp_stage_info *s = &infos[i]->stages[k];
            fmp_buf_padded(&out, s->name, width + 2);
            fmp_buf_padded(&out, stage_kind(s), 8);
            fmp_buf_safe(&out, s->summary ? s->summary : "");
            fmp_buf_putc(&out, '\n');
        }
    }
    if (out.len > 0) { fmp_out(out.data, out.len); }
    fmp_buf_free(&out);
    show_refused(a, reg);
    fmp_registry_free(reg);
    return 0;
}

/* A name with a '/' in front where it is a file here: stage names have none. */
static const char *as_file(const char *name, char path[4096])
{
    if (strchr(name, '/') || !fmp_path_exists(name)) { return name; }
    snprintf(path, 4096, "./%s", name);
    return path;
}

static int inspect_plugin(const plugin_args *a)
{
    fmp_registry *reg = NULL;
    fmp_err err = FMP_ERR_INIT;
    char path[4096];
    const char *use = as_file(a->operands[0], path);
    fmp_plugin_info *own = NULL;
    const fmp_plugin_info *info = NULL;
    const fmp_stage_info *stage = NULL;
    fmp_status status = fmp_registry_new(NULL, &reg, &err);
    if (status == FMP_OK && strchr(use, '/')) {
        status = fmp_plugin_read(use, &own, &err);
        info = own;
    } else if (status == FMP_OK) {
        status = fmp_registry_find(reg, use, ".", &stage, &err);
        info = stage ? stage->plugin : NULL;
    }
    if (status == FMP_OK && a->json) { fmp_out_json(plugin_json(info)); }
    if (status == FMP_OK && !a->json) {
        fmp_buf out = {0};
        fmp_buf_puts(&out, "plugin   ");
        fmp_buf_safe(&out, info->name);
        fmp_buf_puts(&out, " ");
        fmp_buf_safe(&out, info->version);
        fmp_buf_printf(&out, "%s%s\nfile     %s\ndigest   sha256:%s\nabi      %u, needs %u.%u\n\n",
                       *info->license ? ", " : "", info->license, info->path, info->digest, info->abi_major,
                       info->abi_major, info->abi_minor_needed);
        for (size_t i = 0; i < info->n_stages; i++) {
            if (!stage || stage == &info->stages[i]) { fmp_stage_help(&info->stages[i], &out); }
        }
        if (out.data) { fmp_out(out.data, out.len); }
        fmp_buf_free(&out);
    }
    fmp_plugin_info_free(own);
    fmp_registry_free(reg);
    return status == FMP_OK ? 0 : fmp_cli_fail(a->cli, &err);
}

/* ---- new, note, test ---- */

static int new_plugin(const plugin_args *a)
{
    char folder[128];
    fmp_err err = FMP_ERR_INIT;
    if (fmp_plugin_new(a->operands[0], folder, &err) != FMP_OK) { return fmp_cli_fail(a->cli, &err); }
    fmp_outf(
        "%s/ is ready. Build it and test it:\n\n  cd %s\n"
        "  gcc -std=c11 -shared -fPIC -fvisibility=hidden $(pkg-config --cflags fmpipe) %s.c -o %s.so\n"
        "  fmpipe plugin test %s.so cases/*.case\n"
        "  fmpipe plugin check --with '{\"prefix\": \"> \"}' %s.so\n\nThen change what it does: %s/%s.c\n",
        folder, folder, folder, folder, folder, folder, folder, folder);
    return 0;
}

static int note_plugin(const plugin_args *a)
{
    fmp_err err = FMP_ERR_INIT;
    return fmp_plugin_write_note(a->operands[0], &err) == FMP_OK ? 0 : fmp_cli_fail(a->cli, &err);
}

static int test_plugin(const plugin_args *a)
{
    char path[4096];
    const char *temp = getenv("TMPDIR");
    fmp_err err = FMP_ERR_INIT;
    fmp_buf report = {0};
    fmp_cases_result result = {0};
    fmp_cases_options options = {.plugin = as_file(a->operands[0], path),
                                 .update = a->update,
                                 .temp_dir = temp && *temp ? temp : "/tmp"};
    fmp_status status = fmp_registry_new(NULL, &options.registry, &err);
    for (size_t i = 1; i < a->n_operands && status == FMP_OK; i++) {
        status = fmp_cases_run(a->operands[i], &options, &report, &result, &err);
    }
    fmp_registry_free(options.registry);
    if (report.len > 0) { fmp_out(report.data, report.len); }
    fmp_buf_free(&report);
    if (status != FMP_OK) { return fmp_cli_fail(a->cli, &err); }
    fmp_outf("%zu cases, %zu failed, %zu updated\n", result.n_cases, result.n_failed, result.n_updated);
    return result.n_failed > 0;
}

/* ---- check ---- */

typedef struct check_view {
    bool json;
    const char *stage; /* whose heading was shown last */
    size_t n[4];
} check_view;

static void show_result(void *arg, const fmp_check_result *r)
{
    static const char *const words[] = {"pass", "FAIL", "warn", "skip"};
    static const char *const json_words[] = {"pass", "fail", "warn", "skip"};
    check_view *v = arg;
    v->n[r->verdict]++;
    if (v->json) {
        cJSON *line = cJSON_CreateObject();
        cJSON_AddNumberToObject(line, "v", 1);
        cJSON_AddStringToObject(line, "event", "check");
        cJSON_AddStringToObject(line, "stage", r->stage);
        cJSON_AddStringToObject(line, "test", r->test);
        cJSON_AddStringToObject(line, "result", json_words[r->verdict]);
        if (r->detail[0]) { cJSON_AddStringToObject(line, "detail", r->detail); }
        fmp_out_json(line);
        return;
    }
    fmp_buf out = {0};
    if (!v->stage || strcmp(v->stage, r->stage) != 0) {
        fmp_buf_printf(&out, "%s%s\n", v->stage ? "\n" : "", r->stage);
    }
    v->stage = r->stage;
    fmp_buf_printf(&out, "  %s  ", words[r->verdict]);
    fmp_buf_padded(&out, r->test, 30);
    fmp_buf_safe(&out, r->verdict == FMP_CHECK_PASS ? r->promise : r->detail);
    fmp_buf_putc(&out, '\n');
    if (!out.failed) { fmp_out(out.data, out.len); }
    fmp_buf_free(&out);
}

/* FILE:LINE to the document in that line; a bare array is a list of messages. */
static fmp_status read_record(const char *where, cJSON **out, fmp_err *err)
{
    const char *colon = strrchr(where, ':');
    char *end = NULL;
    unsigned long long line = colon ? strtoull(colon + 1, &end, 10) : 0;
    fmp_buf text = {0};
    if (!colon || line == 0 || !end || *end) {
        return fmp_fail(err, FMP_E_USAGE, "--record: expected FILE:LINE, found '%s'", where);
    }
    char *path = strndup(where, (size_t)(colon - where));
    fmp_status status =
        path ? fmp_read_file(path, MAX_ROW_BYTES, &text, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    const char *p = text.data ? text.data : "";
    for (unsigned long long i = 1; i < line && p; i++) {
        p = strchr(p, '\n');
        p += p != NULL;
    }
    if (status == FMP_OK && (!p || !*p)) {
        status = fmp_fail(err, FMP_E_USAGE, "--record: '%s' has no line %llu", path, line);
    }
    if (status == FMP_OK) { status = fmp_json_parse(p, strcspn(p, "\n"), NULL, out, err); }
    if (status == FMP_OK && cJSON_IsArray(*out)) {
        cJSON *doc = cJSON_CreateObject();
        cJSON_AddItemToObject(doc, "messages", *out);
        *out = doc;
    }
    free(path);
    fmp_buf_free(&text);
    return status;
}

static int check_plugin(const plugin_args *a)
{
    char path[4096], folder[4096];
    fmp_err err = FMP_ERR_INIT;
    check_view view = {.json = a->json};
    cJSON *with = NULL, *record = NULL;
    size_t n_failed = 0;
    fmp_check_options options = {.stage = a->stage,
                                 .test = a->test,
                                 .each = show_result,
                                 .arg = &view,
                                 .base_dir = getcwd(folder, sizeof folder)};
    fmp_status status = a->with ? fmp_json_parse(a->with, strlen(a->with), NULL, &with, &err) : FMP_OK;
    if (status != FMP_OK) { fmp_err_note(&err, "while reading --with"); }
    if (status == FMP_OK && a->record) { status = read_record(a->record, &record, &err); }
    options.with = with;
    options.record = record;
    if (status == FMP_OK) {
        status = fmp_check_plugin(as_file(a->operands[0], path), &options, &n_failed, &err);
    }
    cJSON_Delete(with);
    cJSON_Delete(record);
    if (status != FMP_OK) { return fmp_cli_fail(a->cli, &err); }
    if (!a->json) {
        fmp_outf("\n%zu passed, %zu failed, %zu warnings, %zu skipped\n", view.n[FMP_CHECK_PASS],
                 view.n[FMP_CHECK_FAIL], view.n[FMP_CHECK_WARN], view.n[FMP_CHECK_SKIP]);
    }
    return n_failed > 0;
}

/* ---- arguments ---- */

static const struct {
    const char *name;
    size_t min, max;
    int (*run)(const plugin_args *a);
} actions[] = {{"list", 0, 0, list_plugins},  {"inspect", 1, 1, inspect_plugin},
               {"new", 1, 1, new_plugin},     {"test", 2, MAX_OPERANDS, test_plugin},
               {"check", 1, 1, check_plugin}, {"note", 1, 1, note_plugin}};

static const char **value_option(plugin_args *a, const char *word)
{
    if (strcmp(word, "--stage") == 0) { return &a->stage; }
    if (strcmp(word, "--test") == 0) { return &a->test; }
    if (strcmp(word, "--record") == 0) { return &a->record; }
    return strcmp(word, "--with") == 0 ? &a->with : NULL;
}

static int read_args(plugin_args *a, int argc, char **argv)
{
    bool only_operands = false;
    for (int i = 2; i < argc; i++) {
        const char **value = only_operands ? NULL : value_option(a, argv[i]);
        if (only_operands || argv[i][0] != '-') {
            if (a->n_operands == MAX_OPERANDS) { return fmp_cli_usage(a->cli, NULL, "too many files"); }
            a->operands[a->n_operands++] = argv[i];
        } else if (strcmp(argv[i], "--") == 0) {
            only_operands = true;
        } else if (strcmp(argv[i], "--json") == 0) {
            a->json = true;
        } else if (strcmp(argv[i], "--update") == 0) {
            a->update = true;
        } else if (value && i + 1 < argc) {
            *value = argv[++i];
        } else if (value) {
            return fmp_cli_usage(a->cli, NULL, "%s needs a value", argv[i]);
        } else {
            return fmp_cli_usage(a->cli, NULL, "unknown option '%s'", argv[i]);
        }
    }
    return 0;
}

int fmp_cmd_plugin(int argc, char **argv)
{
    plugin_args a = {.cli = fmp_cli_current()};
    a.json = a.cli->json;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fmp_outf("%s", usage);
            return 0;
        }
    }
    if (argc < 2) {
        fmp_errf("%s", usage);
        return FMP_EXIT_USAGE;
    }
    int code = read_args(&a, argc, argv);
    if (code != 0) { return code; }
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(argv[1], actions[i].name) != 0) { continue; }
        if (a.n_operands < actions[i].min || a.n_operands > actions[i].max) {
            fmp_errf("%s", usage);
            return FMP_EXIT_USAGE;
        }
        return actions[i].run(&a);
    }
    return fmp_cli_usage(a.cli, "list, inspect, new, test, check or note", "unknown plugin command '%s'",
                         argv[1]);
}
