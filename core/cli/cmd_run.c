/*
 * cmd_run.c: run a pipeline.
 */
#include "show.h"

#include <fmpipe/fs.h>
#include <stdlib.h>

/* The manifest of the newest run so far, or NULL. */
static cJSON *latest_manifest(const char *runs_dir)
{
    char *path = fmp_path_join(runs_dir, "latest/manifest.json");
    cJSON *manifest = NULL;
    if (path && fmp_path_exists(path) && fmp_json_load(path, NULL, &manifest, NULL) != FMP_OK) {
        manifest = NULL;
    }
    free(path);
    return manifest;
}

/* The earlier run's id if both have the same results. */
static const char *same_run(const cJSON *before, const cJSON *now)
{
    const cJSON *a = fmp_json_get(before, "results"), *b = fmp_json_get(now, "results");
    return a && b && fmp_json_equal(a, b) ? fmp_json_str(before, "run", NULL) : NULL;
}

/*
 * What went wrong with data is in `diags` already; the error says which policy ended the run. A run that
 * never began was refused for its options: `diags` has all there is to say.
 */
static int report(const fmp_cli *cli, const fmp_pipeline *p, fmp_diags *diags, bool begun, fmp_status status,
                  const fmp_err *err)
{
    fmp_diags_sort(diags);
    if (!begun && diags->n_errors > 0) { return fmp_cli_problems(cli, p->file, diags, status); }
    fmp_cli_diags(cli, diags);
    return fmp_cli_fail(cli, err);
}

static int run(fmp_cli *cli, const fmp_cli_pipeline *p, fmp_show *show)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_diags diags = {0};
    fmp_run_result result = {0};
    fmp_events events = {show, fmp_show_event};
    cJSON *before = latest_manifest(p->options.runs_dir);
    fmp_status status = fmp_run(p->pipeline, &p->options, &events, &diags, &result, &err);
    bool ok = status == FMP_OK && result.ok;
    int code = fmp_exit_code(status);
    if (status == FMP_OK && !result.ok) { code = fmp_exit_code(FMP_E_FAILED); }
    if (!cli->json) { fmp_show_end(show, ok, result.run_dir, same_run(before, result.manifest)); }
    if (status != FMP_OK) {
        code = report(cli, p->pipeline, &diags, result.run_dir != NULL, status, &err);
    } else if (diags.n > 0) {
        fmp_diags_sort(&diags);
        fmp_cli_diags(cli, &diags);
    }
    if (cli->json) { fmp_show_end(show, ok, result.run_dir, NULL); }
    if (status == FMP_E_CANCELLED && !cli->json) { fmp_errf("stopped; run it again to go on from here\n"); }
    cJSON_Delete(before);
    fmp_diags_free(&diags);
    fmp_run_result_free(&result);
    return code;
}

int fmp_cmd_run(fmp_cli *cli)
{
    fmp_cli_pipeline p;
    int code = fmp_cli_load(cli, true, &p);
    if (code == 0) {
        fmp_show *show = fmp_show_new(cli, p.pipeline);
        code = show ? run(cli, &p, show) : fmp_exit_code(FMP_E_NOMEM);
        fmp_show_free(show);
    }
    fmp_cli_pipeline_free(&p);
    return code;
}
