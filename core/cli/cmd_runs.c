/*
 * cmd_runs.c: runs and inspect run: what run folders say about finished runs.
 */
#include "cli.h"

#include <dirent.h>
#include <fmpipe/fs.h>
#include <stdlib.h>

static cJSON *load_manifest(const char *run_dir, fmp_err *err)
{
    char *path = fmp_path_join(run_dir, "manifest.json");
    cJSON *manifest = NULL;
    if (path && fmp_json_load(path, NULL, &manifest, err) != FMP_OK) { manifest = NULL; }
    free(path);
    return manifest;
}

static const char *seconds_of(const cJSON *manifest, char out[32])
{
    double seconds =
        fmp_json_num(fmp_json_get(fmp_json_get(manifest, "runDetails"), "metadata"), "seconds", -1);
    if (seconds < 0) { return "-"; }
    snprintf(out, 32, "%.1f s", seconds);
    return out;
}

static void show_run(const fmp_cli *cli, const char *id, const cJSON *manifest)
{
    char seconds[32];
    const cJSON *stages = fmp_json_get(manifest, "stages"), *stage;
    const char *name = fmp_json_str(fmp_json_get(manifest, "pipeline"), "name", "?");
    int n = cJSON_GetArraySize(stages), cached = 0;
    cJSON_ArrayForEach(stage, stages)
    {
        cached += strcmp(fmp_json_str(stage, "action", ""), "cached") == 0;
    }
    if (!cli->json) {
        fmp_outf(" %-20s %-20s %-10s %3d stages, %d cached  %8s\n", id, name,
                 fmp_json_str(manifest, "status", "?"), n, cached, seconds_of(manifest, seconds));
        return;
    }
    cJSON *line = cJSON_CreateObject();
    cJSON_AddNumberToObject(line, "v", 1);
    cJSON_AddStringToObject(line, "run", id);
    cJSON_AddStringToObject(line, "pipeline", name);
    cJSON_AddStringToObject(line, "status", fmp_json_str(manifest, "status", "?"));
    cJSON_AddNumberToObject(line, "stages", n);
    cJSON_AddNumberToObject(line, "cached", cached);
    fmp_out_json(line);
}

static int is_run(const struct dirent *entry)
{
    return entry->d_name[0] >= '0' && entry->d_name[0] <= '9';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

int fmp_cmd_runs(fmp_cli *cli)
{
    if (cli->n_operands > 0 && strcmp(cli->operands[0], "list") != 0) {
        return fmp_cli_usage(cli, NULL, "expected list, found '%.40s'", cli->operands[0]);
    }
    struct dirent **entries = NULL;
    int n = scandir(cli->runs_dir, &entries, is_run, by_bytes);
    if (n <= 0 && !cli->json) { fmp_errf("no runs in %s\n", cli->runs_dir); }
    for (int i = 0; i < n; i++) {
        char *dir = fmp_path_join(cli->runs_dir, entries[i]->d_name);
        cJSON *manifest = dir ? load_manifest(dir, NULL) : NULL;
        if (manifest) { show_run(cli, entries[i]->d_name, manifest); }
        cJSON_Delete(manifest);
        free(dir);
        free(entries[i]);
    }
    free(entries);
    return 0;
}

/* ---- inspect run ---- */

static void show_stage(const cJSON *stage)
{
    fmp_buf line = {0};
    char digits[32];
    static const char *const counts[] = {"in", "out", "rejected"};
    fmp_buf_putc(&line, ' ');
    fmp_buf_padded(&line, fmp_json_str(stage, "id", "?"), 14);
    fmp_buf_padded(&line, fmp_json_str(stage, "use", "?"), 18);
    fmp_buf_padded(&line, fmp_json_str(stage, "action", "?"), 8);
    fmp_buf_printf(&line, "%7.1f s  ", fmp_json_num(stage, "seconds", 0));
    for (size_t i = 0; i < 3; i++) {
        double n = fmp_json_num(stage, counts[i], 0);
        if (n > 0) { fmp_buf_printf(&line, "%s %s  ", fmp_group_digits((uint64_t)n, digits), counts[i]); }
    }
    fmp_buf_safe(&line, fmp_json_str(stage, "detail", ""));
    fmp_buf_putc(&line, '\n');
    if (!line.failed) { fmp_out(line.data, line.len); }
    fmp_buf_free(&line);
}

static void show_manifest(const char *dir, const cJSON *m)
{
    char seconds[32], bytes[32];
    const cJSON *stage, *error = fmp_json_get(m, "error");
    fmp_outf("run %s · %s · %s · %s", fmp_json_str(m, "run", "?"),
             fmp_json_str(fmp_json_get(m, "pipeline"), "name", "?"), fmp_json_str(m, "status", "?"),
             seconds_of(m, seconds));
    double peak = fmp_json_num(fmp_json_get(fmp_json_get(m, "runDetails"), "metadata"), "peak_bytes", 0);
    if (peak > 0) { fmp_outf(" · peak %s", fmp_human_bytes(peak, bytes)); }
    fmp_outf("\n\n");
    cJSON_ArrayForEach(stage, fmp_json_get(m, "stages"))
    {
        show_stage(stage);
    }
    if (error) { fmp_outf("\n error: %s\n", fmp_json_str(error, "message", "?")); }
    fmp_outf("\n everything there is to know: %s/manifest.json\n", dir);
}

int fmp_cmd_inspect(fmp_cli *cli)
{
    if (strcmp(cli->operands[0], "tokens") == 0) { return fmp_cli_run_late(cli, "fmp_late_inspect_tokens"); }
    if (strcmp(cli->operands[0], "run") != 0) {
        return fmp_cli_usage(cli, NULL, "expected run or tokens, found '%.40s'", cli->operands[0]);
    }
    if (!fmp_cli_only(cli, "inspect run", "")) { return FMP_EXIT_USAGE; }
    fmp_err err = FMP_ERR_INIT;
    char *latest = fmp_path_join(cli->runs_dir, "latest");
    const char *dir = cli->n_operands > 1 ? cli->operands[1] : latest ? latest : "";
    cJSON *manifest = load_manifest(dir, &err);
    int code = 0;
    if (!manifest) {
        fmp_err_hint(&err, "fmpipe runs lists the runs there are");
        code = fmp_cli_fail(cli, &err);
    } else if (cli->json) {
        fmp_out_json(manifest);
        manifest = NULL;
    } else {
        show_manifest(dir, manifest);
    }
    cJSON_Delete(manifest);
    free(latest);
    return code;
}
