/*
 * run_cases [--update] FILE.case...: text cases of stages that are found by name (FMPIPE_PLUGIN_PATH and
 * the build's own plugin folder). Format: docs/reference/cases.md. Exit 0: all pass; 1: a case failed; 3: a
 * file is no case file.
 */
#include "cases.h"

#include <fmpipe/json.h>

#include <stdlib.h>

static int run_all(char **files, int n, const fmp_cases_options *options)
{
    fmp_cases_result result = {0};
    fmp_buf report = {0};
    int code = 0;
    for (int i = 0; i < n; i++) {
        fmp_err err = FMP_ERR_INIT;
        if (fmp_cases_run(files[i], options, &report, &result, &err) != FMP_OK) {
            fprintf(stderr, "%s:%u: %s\n", err.file[0] ? err.file : files[i], err.line, err.message);
            if (err.hint[0]) { fprintf(stderr, "  help: %s\n", err.hint); }
            if (err.notes[0]) { fprintf(stderr, "  %s\n", err.notes); }
            code = 3;
        }
    }
    if (report.len > 0) { fputs(report.data, stdout); }
    printf("%zu cases, %zu failed, %zu updated\n", result.n_cases, result.n_failed, result.n_updated);
    fmp_buf_free(&report);
    return code ? code : result.n_failed > 0;
}

int main(int argc, char **argv)
{
    fmp_err err = FMP_ERR_INIT;
    const char *temp = getenv("TMPDIR");
    fmp_cases_options options = {.temp_dir = temp && *temp ? temp : "/tmp"};
    int first = 1;
    if (argc > 1 && strcmp(argv[1], "--update") == 0) {
        options.update = true;
        first = 2;
    }
    if (first >= argc) {
        fprintf(stderr, "usage: run_cases [--update] FILE.case...\n");
        return 2;
    }
    fmp_json_install_hooks();
    if (fmp_registry_new(NULL, &options.registry, &err) != FMP_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 70;
    }
    int code = run_all(argv + first, argc - first, &options);
    fmp_registry_free(options.registry);
    return code;
}
