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
    if (a->action != b->action || a->resumes != b->resumes) { return false; }
    return a->action == FMP_ACTION_CACHED ||
           (strcmp(a->detail ? a->detail : "", b->detail ? b->detail : "") == 0 &&
            strcmp(a->reason ? a->reason : "", b->reason ? b->reason : "") == 0);
}

/* What the stages [from, to) that will run took last time. */
typedef struct estimate {
    double seconds, peak_bytes;
    size_t n, n_known;
} estimate;

static estimate estimate_of(const fmp_plan *plan, size_t from, size_t to)
{
    estimate e = {.peak_bytes = -1};
    for (size_t i = from; i < to; i++) {
        const fmp_stage_plan *s = &plan->stages[i];
        if (s->action == FMP_ACTION_CACHED) { continue; }
        e.n++;
        if (s->seconds < 0) { continue; }
        e.n_known++;
        e.seconds += s->seconds;
        if (s->peak_bytes > e.peak_bytes) { e.peak_bytes = s->peak_bytes; }
    }
    return e;
}

static const char *duration(double seconds, char out[32])
{
    if (seconds < 0.05) { return "<0.1 s"; }
    if (seconds < 120) {
        snprintf(out, 32, seconds < 10 ? "%.1f s" : "%.0f s", seconds);
    } else if (seconds < 7200) {
        snprintf(out, 32, "%.0f min", seconds / 60);
    } else {
        snprintf(out, 32, "%.1f h", seconds / 3600);
    }
    return out;
}

/* "0.3 s, 41 MB" of one line of the plan; "—" if a stage of it never ran. */
static void add_estimate(fmp_buf *out, const estimate *e)
{
    char time[32], bytes[32], text[80];
    snprintf(text, sizeof text, "%s, %s", duration(e->seconds, time), fmp_human_bytes(e->peak_bytes, bytes));
    fmp_buf_padded(out, e->n_known == e->n ? text : "—", 16);
}

static void add_total(fmp_buf *out, const fmp_plan *plan)
{
    char time[32], bytes[32];
    estimate e = estimate_of(plan, 0, plan->n_stages);
    if (e.n == 0) { return; }
    if (e.n_known == 0) {
        fmp_buf_puts(out, "   estimate —: nothing of this has run before\n");
        return;
    }
    fmp_buf_printf(out, "   estimate %s, peak %s", duration(e.seconds, time),
                   fmp_human_bytes(e.peak_bytes, bytes));
    if (e.n_known < e.n) {
        fmp_buf_printf(out, ", and %zu of %zu stages that have not run before", e.n - e.n_known, e.n);
    } else {
        fmp_buf_puts(out, ", by what the stages took last time");
    }
    fmp_buf_putc(out, '\n');
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
        estimate e = estimate_of(plan, i, k);
        fmp_buf_putc(&out, ' ');
        add_estimate(&out, &e);
        fmp_buf_puts(&out, s->resumes ? "will go on from what it had saved" : "will run");
        if (*why) { fmp_buf_puts(&out, ": "); }
        fmp_buf_safe(&out, why);
        fmp_buf_printf(&out, "%s%s\n", *place ? "     " : "", place);
    }
    add_total(&out, plan);
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
        cJSON_AddBoolToObject(line, "resumes", s->resumes);
        if (s->seconds >= 0) { cJSON_AddNumberToObject(line, "last_seconds", s->seconds); }
        if (s->peak_bytes >= 0) { cJSON_AddNumberToObject(line, "last_peak_bytes", s->peak_bytes); }
        fmp_out_json(line);
    }
    cJSON *end = cJSON_CreateObject();
    cJSON_AddNumberToObject(end, "v", 1);
    cJSON_AddStringToObject(end, "event", "plan.end");
    cJSON_AddNumberToObject(end, "stages", (double)plan->n_stages);
    cJSON_AddNumberToObject(end, "run", (double)n_run);
    estimate e = estimate_of(plan, 0, plan->n_stages);
    if (e.n_known > 0 && e.n_known == e.n) {
        cJSON_AddNumberToObject(end, "seconds", e.seconds);
        cJSON_AddNumberToObject(end, "peak_bytes", e.peak_bytes);
    }
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
