/*
 * cmd_cache.c: results kept between runs.
 */
#include "cli.h"

#include <store.h>

static int list(const fmp_cli *cli)
{
    fmp_err err = FMP_ERR_INIT;
    cJSON *items = NULL;
    if (fmp_store_list(cli->store_dir, &items, &err) != FMP_OK) { return fmp_cli_fail(cli, &err); }
    cJSON *item;
    double total = 0;
    char bytes[32];
    cJSON_ArrayForEach(item, items)
    {
        total += fmp_json_num(item, "bytes", 0);
        if (cli->json) {
            cJSON *line = cJSON_Duplicate(item, true);
            cJSON_AddNumberToObject(line, "v", 1);
            fmp_out_json(line);
            continue;
        }
        fmp_outf(" %.12s  %-20s %10s%s\n", fmp_json_str(item, "key", ""), fmp_json_str(item, "stage", "?"),
                 fmp_human_bytes(fmp_json_num(item, "bytes", 0), bytes),
                 fmp_json_bool(item, "last", false) ? "  in use" : "");
    }
    if (!cli->json) {
        fmp_outf(" %d results, %s in %s\n", cJSON_GetArraySize(items), fmp_human_bytes(total, bytes),
                 cli->store_dir);
    }
    cJSON_Delete(items);
    return 0;
}

static int collect(const fmp_cli *cli)
{
    fmp_err err = FMP_ERR_INIT;
    uint64_t keep = 100;
    if (!fmp_cli_number(cli, "keep", 1000000000, &keep)) { return FMP_EXIT_USAGE; }
    fmp_gc_options options = {.keep = (size_t)keep, .dry_run = fmp_cli_option_value(cli, "dry-run") != NULL};
    fmp_gc_result result = {0};
    if (fmp_store_gc(cli->store_dir, &options, &result, &err) != FMP_OK) { return fmp_cli_fail(cli, &err); }
    char bytes[32];
    if (!cli->json) {
        fmp_outf("%s %zu results, %zu artifacts, %zu unfinished works, %s\n",
                 options.dry_run ? "would remove" : "removed", result.n_actions, result.n_objects,
                 result.n_work, fmp_human_bytes((double)result.bytes, bytes));
        return 0;
    }
    cJSON *line = cJSON_CreateObject();
    cJSON_AddNumberToObject(line, "v", 1);
    cJSON_AddStringToObject(line, "event", "cache.gc");
    cJSON_AddBoolToObject(line, "dry_run", options.dry_run);
    cJSON_AddNumberToObject(line, "actions", (double)result.n_actions);
    cJSON_AddNumberToObject(line, "objects", (double)result.n_objects);
    cJSON_AddNumberToObject(line, "works", (double)result.n_work);
    cJSON_AddNumberToObject(line, "bytes", (double)result.bytes);
    fmp_out_json(line);
    return 0;
}

int fmp_cmd_cache(fmp_cli *cli)
{
    if (strcmp(cli->operands[0], "list") == 0) { return list(cli); }
    if (strcmp(cli->operands[0], "gc") == 0) { return collect(cli); }
    return fmp_cli_usage(cli, NULL, "expected list or gc, found '%.40s'", cli->operands[0]);
}
