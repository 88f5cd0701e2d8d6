/*
 * cmd_explain.c: why a stage runs: what decides its result, now and the last time.
 */
#include "cli.h"

#include <stdlib.h>

/* Rewrite "STAGE" and "PIPELINE STAGE" to a pipeline operand and a stage. */
static const char *take_stage(fmp_cli *cli)
{
    const char *stage = cli->operands[cli->n_operands - 1];
    cli->n_operands--;
    return stage;
}

static char *side_text(const cJSON *difference, const char *side)
{
    const cJSON *value = fmp_json_get(difference, side);
    return value ? fmp_json_text(value, FMP_JSON_COMPACT) : strdup("(absent)");
}

static void print_differences(const cJSON *list)
{
    fmp_buf out = {0};
    const cJSON *d;
    fmp_buf_printf(&out, "\n %-32s %-36s %s\n", "what", "last time", "now");
    cJSON_ArrayForEach(d, list)
    {
        char *last = side_text(d, "last"), *now = side_text(d, "now");
        fmp_buf_putc(&out, ' ');
        fmp_buf_padded(&out, fmp_json_str(d, "field", "?"), 32);
        fmp_buf_putc(&out, ' ');
        fmp_buf_padded(&out, last ? last : "?", 36);
        fmp_buf_printf(&out, " %s\n", now ? now : "?");
        free(last);
        free(now);
    }
    if (!out.failed) { fmp_out(out.data, out.len); }
    fmp_buf_free(&out);
}

static void print_explanation(const cJSON *e)
{
    const char *detail = fmp_json_str(e, "detail", ""), *reason = fmp_json_str(e, "reason", "");
    const cJSON *differences = fmp_json_get(e, "differences");
    bool cached = strcmp(fmp_json_str(e, "action", ""), "cached") == 0;
    fmp_outf("%s (%s): %s%s%s\n", fmp_json_str(e, "stage", "?"), fmp_json_str(e, "use", "?"),
             cached ? "cached" : "will run", *detail || *reason ? ": " : "", *detail ? detail : reason);
    if (cJSON_GetArraySize(differences) > 0) { print_differences(differences); }
    if (!cached && !fmp_json_bool(e, "known", true)) {
        fmp_outf(" its inputs are not known before the stages above it have run\n");
    }
}

int fmp_cmd_explain(fmp_cli *cli)
{
    const char *stage = take_stage(cli);
    fmp_cli_pipeline p;
    fmp_err err = FMP_ERR_INIT;
    cJSON *explanation = NULL;
    int code = fmp_cli_load(cli, true, &p);
    if (code == 0 && fmp_explain(p.pipeline, &p.options, stage, &explanation, &err) != FMP_OK) {
        const char *ids[1001];
        size_t n = 0;
        for (; n < p.pipeline->n_stages && n < 1000; n++) {
            ids[n] = p.pipeline->stages[n].id;
        }
        ids[n] = NULL;
        const char *near = err.code == FMP_E_USAGE ? fmp_nearest_name(stage, ids) : NULL;
        if (near) { fmp_err_hint(&err, "did you mean '%s'?", near); }
        code = fmp_cli_fail(cli, &err);
    }
    if (code == 0 && cli->json) {
        cJSON_AddNumberToObject(explanation, "v", 1);
        fmp_out_json(explanation);
        explanation = NULL;
    }
    if (code == 0 && explanation) { print_explanation(explanation); }
    cJSON_Delete(explanation);
    fmp_cli_pipeline_free(&p);
    return code;
}
