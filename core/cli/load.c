/*
 * load.c: the pipeline that a command is about, and its problems on the way.
 */
#include "cli.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_FILE "pipeline.yaml"

/* Operand 0 as a file: a folder means the pipeline.yaml in it. */
static char *pipeline_path(const char *operand)
{
    struct stat st;
    if (operand && stat(operand, &st) == 0 && S_ISDIR(st.st_mode)) {
        size_t n = strlen(operand) + sizeof "/" DEFAULT_FILE;
        char *path = malloc(n);
        const char *slash = operand[strlen(operand) - 1] == '/' ? "" : "/";
        if (path) { snprintf(path, n, "%s%s%s", operand, slash, DEFAULT_FILE); }
        return path;
    }
    return strdup(operand ? operand : DEFAULT_FILE);
}

int fmp_cli_problems(const fmp_cli *cli, const char *path, const fmp_diags *diags, fmp_status status)
{
    fmp_cli_diags(cli, diags);
    if (status == FMP_OK) { return 0; }
    if (!cli->json) {
        fmp_errf("%s: %zu problem%s\n", path, diags->n_errors, diags->n_errors == 1 ? "" : "s");
    }
    return fmp_exit_code(status);
}

static int load(const fmp_cli *cli, const char *path, bool digest_files, fmp_cli_pipeline *out,
                fmp_diags *diags)
{
    fmp_err err = FMP_ERR_INIT;
    if (fmp_registry_new(NULL, &out->registry, &err) != FMP_OK) { return fmp_cli_fail(cli, &err); }
    fmp_status status = fmp_pipeline_load(path, out->registry, cli->sets, cli->n_sets, digest_files,
                                          cli->store_dir, &out->pipeline, diags, &err);
    if (status != FMP_OK && diags->n_errors == 0) {
        fmp_cli_diags(cli, diags);
        return fmp_cli_fail(cli, &err);
    }
    return fmp_cli_problems(cli, path, diags, status);
}

int fmp_cli_load(const fmp_cli *cli, bool digest_files, fmp_cli_pipeline *out)
{
    memset(out, 0, sizeof *out);
    out->options = (fmp_run_options){.store_dir = cli->store_dir,
                                     .runs_dir = cli->runs_dir,
                                     .n_threads = cli->n_threads,
                                     .force = cli->force,
                                     .n_force = cli->n_force,
                                     .stop = &fmp_cli_stop,
                                     .verbose = cli->verbose,
                                     .verify_store = fmp_cli_option_value(cli, "verify-store") != NULL};
    const char *operand = cli->n_operands > 0 ? cli->operands[0] : NULL;
    if (!operand && access(DEFAULT_FILE, F_OK) != 0) {
        return fmp_cli_usage(cli, "name a pipeline file",
                             "expected a pipeline file, found no %s in this folder", DEFAULT_FILE);
    }
    char *path = pipeline_path(operand);
    fmp_diags diags = {0};
    int code = path ? load(cli, path, digest_files, out, &diags) : fmp_exit_code(FMP_E_NOMEM);
    fmp_diags_free(&diags);
    free(path);
    return code;
}

void fmp_cli_pipeline_free(fmp_cli_pipeline *p)
{
    fmp_pipeline_free(p->pipeline);
    fmp_registry_free(p->registry);
    memset(p, 0, sizeof *p);
}
