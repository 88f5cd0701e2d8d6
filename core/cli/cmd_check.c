/*
 * cmd_check.c: validate, plan, explain, schema: everything that looks at a pipeline without running it.
 */
#include "cli.h"

#include <stdlib.h>

int fmp_cmd_validate(fmp_cli *cli)
{
    fmp_cli_pipeline p;
    int code = fmp_cli_load(cli, false, &p);
    if (code == 0 && cli->json) {
        cJSON *line = cJSON_CreateObject();
        cJSON_AddNumberToObject(line, "v", 1);
        cJSON_AddStringToObject(line, "event", "validate.end");
        cJSON_AddBoolToObject(line, "ok", true);
        cJSON_AddStringToObject(line, "pipeline", p.pipeline->name);
        cJSON_AddNumberToObject(line, "stages", (double)p.pipeline->n_stages);
        fmp_out_json(line);
    } else if (code == 0) {
        fmp_outf("%s: ok, %zu stage%s\n", p.pipeline->file, p.pipeline->n_stages,
                 p.pipeline->n_stages == 1 ? "" : "s");
    }
    fmp_cli_pipeline_free(&p);
    return code;
}

/* ---- plan ---- */

/* Where the option of "CONFIG(name)" is written, as "file:line", or "". */
static void option_place(const fmp_stage_node *stage, const char *reason, char *out, size_t size)
{
    out[0] = '\0';
    if (strncmp(reason, "CONFIG(", 7) != 0) { return; }
    char option[128];
    snprintf(option, sizeof option, "%.*s", (int)strcspn(reason + 7, ",)"), reason + 7);
    fmp_mark mark = fmp_option_where(stage, option);
    if (mark.line > 0) { snprintf(out, size, "%s:%u", mark.file, mark.line); }
}

static bool same_line(const fmp_stage_plan *a, const fmp_stage_plan *b)
{
    if (a->action != b->action) { return false; }
    return a->action == FMP_ACTION_CACHED ||
           (strcmp(a->detail ? a->detail : "", b->detail ? b->detail : "") == 0 &&
            strcmp(a->reason ? a->reason : "", b->reason ? b->reason : "") == 0);
}

static void print_plan(const fmp_pipeline *p, const fmp_plan *plan)
{
    fmp_buf out = {0};
    for (size_t i = 0, k; i < plan->n_stages; i = k) {
        const fmp_stage_plan *s = &plan->stages[i];
        for (k = i + 1; k < plan->n_stages && same_line(s, &plan->stages[k]); k++) {}
        char names[160], place[600];
        snprintf(names, sizeof names,
                 k - i > 2    ? "%s … %s"
                 : k - i == 2 ? "%s, %s"
                              : "%s",
                 p->stages[i].id, p->stages[k - 1].id);
        fmp_buf_puts(&out, s->action == FMP_ACTION_CACHED ? " = " : " ~ ");
        fmp_buf_padded(&out, names, 24);
        if (s->action == FMP_ACTION_CACHED) {
            fmp_buf_puts(&out, " cached\n");
            continue;
        }
        const char *why = s->detail && *s->detail ? s->detail : s->reason ? s->reason : "";
        option_place(&p->stages[i], s->reason ? s->reason : "", place, sizeof place);
        fmp_buf_puts(&out, " will run");
        if (*why) { fmp_buf_puts(&out, ": "); }
        fmp_buf_safe(&out, why);
        fmp_buf_printf(&out, "%s%s\n", *place ? "     " : "", place);
    }
    if (out.len > 0) { fmp_out(out.data, out.len); }
    fmp_buf_free(&out);
}

static void print_plan_json(const fmp_pipeline *p, const fmp_plan *plan)
{
    size_t n_run = 0;
    for (size_t i = 0; i < plan->n_stages; i++) {
        const fmp_stage_plan *s = &plan->stages[i];
        n_run += s->action == FMP_ACTION_RUN;
        cJSON *line = cJSON_CreateObject();
        cJSON_AddNumberToObject(line, "v", 1);
        cJSON_AddStringToObject(line, "event", "plan.stage");
        cJSON_AddStringToObject(line, "stage", p->stages[i].id);
        cJSON_AddStringToObject(line, "use", p->stages[i].info->name);
        cJSON_AddStringToObject(line, "action", s->action == FMP_ACTION_CACHED ? "cached" : "run");
        cJSON_AddStringToObject(line, "reason", s->reason ? s->reason : "");
        cJSON_AddStringToObject(line, "detail", s->detail ? s->detail : "");
        cJSON_AddBoolToObject(line, "known", s->known);
        cJSON_AddNumberToObject(line, "segment", s->segment);
        cJSON_AddStringToObject(line, "key", s->key);
        fmp_out_json(line);
    }
    cJSON *end = cJSON_CreateObject();
    cJSON_AddNumberToObject(end, "v", 1);
    cJSON_AddStringToObject(end, "event", "plan.end");
    cJSON_AddNumberToObject(end, "stages", (double)plan->n_stages);
    cJSON_AddNumberToObject(end, "run", (double)n_run);
    fmp_out_json(end);
}

int fmp_cmd_plan(fmp_cli *cli)
{
    fmp_cli_pipeline p;
    fmp_err err = FMP_ERR_INIT;
    fmp_plan *plan = NULL;
    int code = fmp_cli_load(cli, true, &p);
    if (code == 0 && fmp_plan_make(p.pipeline, &p.options, &plan, &err) != FMP_OK) {
        code = fmp_cli_fail(cli, &err);
    }
    if (code == 0 && cli->json) { print_plan_json(p.pipeline, plan); }
    if (code == 0 && !cli->json) { print_plan(p.pipeline, plan); }
    fmp_plan_free(plan);
    fmp_cli_pipeline_free(&p);
    return code;
}

/* ---- schema ---- */

int fmp_cmd_schema(fmp_cli *cli)
{
    if (fmp_cli_option_value(cli, "markdown")) { return fmp_cmd_docs(cli); }
    fmp_err err = FMP_ERR_INIT;
    fmp_registry *registry = NULL;
    cJSON *schema = NULL;
    fmp_status status = fmp_registry_new(NULL, &registry, &err);
    if (status == FMP_OK) { status = fmp_pipeline_schema(registry, &schema, &err); }
    char *text =
        status == FMP_OK ? fmp_json_text(schema, cli->json ? FMP_JSON_COMPACT : FMP_JSON_PRETTY) : NULL;
    if (text) { fmp_outf("%s\n", text); }
    free(text);
    cJSON_Delete(schema);
    fmp_registry_free(registry);
    return status == FMP_OK ? 0 : fmp_cli_fail(cli, &err);
}
