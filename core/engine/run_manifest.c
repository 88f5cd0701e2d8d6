/*
 * run_manifest.c: the run's manifest, shaped like a SLSA provenance predicate (buildDefinition, runDetails)
 * with the stages, the machine and the results beside it. Fields: schemas/run-manifest.schema.json.
 */
#include "run_folder.h"

#include <stdlib.h>
#include <time.h>

#ifndef FMP_VERSION
#define FMP_VERSION "0.1.0"
#endif

static void add_time(cJSON *out, const char *name)
{
    char text[32];
    struct tm now;
    time_t seconds = time(NULL);
    if (gmtime_r(&seconds, &now) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &now) > 0) {
        cJSON_AddStringToObject(out, name, text);
    }
}

static void add_u64(cJSON *out, const char *name, uint64_t value)
{
    char text[24];
    if (value <= (uint64_t)1 << 53) {
        cJSON_AddNumberToObject(out, name, (double)value);
    } else {
        (void)snprintf(text, sizeof text, "%" PRIu64, value);
        cJSON_AddRawToObject(out, name, text);
    }
}

/* One entry of resolvedDependencies, once for each (kind, digest, name). */
static void add_dependency(cJSON *list, const char *kind, const char *name, const char *digest)
{
    const cJSON *known;
    cJSON_ArrayForEach(known, list)
    {
        const char *sum = fmp_json_str(fmp_json_get(known, "digest"), "sha256", "");
        if (strcmp(fmp_json_str(known, "name", ""), name) == 0 && strcmp(sum, digest) == 0) { return; }
    }
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "kind", kind);
    cJSON_AddStringToObject(row, "name", name);
    cJSON_AddStringToObject(cJSON_AddObjectToObject(row, "digest"), "sha256", digest);
    cJSON_AddItemToArray(list, row);
}

static void add_dependencies(cJSON *list, const fmp_pipeline *p, const char *pipeline_digest)
{
    if (pipeline_digest[0]) { add_dependency(list, "pipeline", p->file, pipeline_digest); }
    if (p->base_path) { add_dependency(list, "base_model", p->base_shown, p->base_digest); }
    for (size_t s = 0; s < p->n_stages; s++) {
        const fmp_plugin_info *plugin = p->stages[s].info->plugin;
        add_dependency(list, "plugin", plugin->name, plugin->digest);
    }
    for (size_t s = 0; s < p->n_stages; s++) {
        for (size_t i = 0; i < p->stages[s].n_files; i++) {
            add_dependency(list, "input", p->stages[s].files[i].shown, p->stages[s].files[i].digest);
        }
    }
}

static cJSON *inputs_json(const fmp_pipeline *p, const fmp_stage_node *node)
{
    cJSON *inputs = cJSON_CreateArray();
    for (size_t i = 0; i < node->n_links; i++) {
        const fmp_link *link = &node->links[i];
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "port", link->in->name);
        cJSON_AddStringToObject(row, "stage", link->stage < 0 ? "base" : p->stages[link->stage].id);
        if (link->stage >= 0) {
            cJSON_AddStringToObject(row, "output", p->stages[link->stage].info->outputs[link->out].name);
        }
        cJSON_AddItemToArray(inputs, row);
    }
    return inputs;
}

/* What is known of a stage before it runs. */
static cJSON *stage_json(const fmp_pipeline *p, const fmp_stage_node *node, const char *action)
{
    const fmp_stage_info *info = node->info;
    cJSON *out = cJSON_CreateObject();
    cJSON_AddStringToObject(out, "id", node->id);
    cJSON_AddStringToObject(out, "use", info->name);
    cJSON_AddStringToObject(out, "action", action);
    cJSON_AddNumberToObject(out, "version", info->version);
    cJSON_AddStringToObject(out, "plugin", info->plugin->name);
    cJSON_AddStringToObject(out, "plugin_sha256", info->plugin->digest);
    add_u64(out, "seed", node->seed);
    cJSON_AddStringToObject(out, "isolation", node->isolated ? "process" : "inprocess");
    cJSON_AddItemToObject(out, "options",
                          node->values ? cJSON_Duplicate(node->values, true) : cJSON_CreateObject());
    cJSON_AddItemToObject(out, "inputs", inputs_json(p, node));
    return out;
}

fmp_status fmp_run_manifest_new(const fmp_pipeline *p, const fmp_run_options *o, const char *run_id,
                                cJSON **out, fmp_err *err)
{
    char digest[65] = "";
    if (fmp_path_exists(p->file)) { FMP_TRY(fmp_sha256_file(p->file, digest, err)); }
    cJSON *m = cJSON_CreateObject();
    cJSON_AddNumberToObject(m, "v", 1);
    cJSON_AddStringToObject(m, "type", "fmpipe.run/1");
    cJSON_AddStringToObject(m, "run", run_id);
    cJSON_AddStringToObject(m, "status", "running");
    cJSON *pipeline = cJSON_AddObjectToObject(m, "pipeline");
    cJSON_AddStringToObject(pipeline, "name", p->name);
    cJSON_AddStringToObject(pipeline, "file", p->file);
    cJSON_AddStringToObject(pipeline, "sha256", digest);
    cJSON *build = cJSON_AddObjectToObject(m, "buildDefinition");
    cJSON_AddStringToObject(build, "buildType", "fmpipe.pipeline/1");
    cJSON *parameters = cJSON_AddObjectToObject(build, "externalParameters");
    add_u64(parameters, "seed", p->seed);
    cJSON *force = cJSON_AddArrayToObject(parameters, "force");
    for (size_t i = 0; i < o->n_force; i++) {
        cJSON_AddItemToArray(force, cJSON_CreateString(o->force[i]));
    }
    add_dependencies(cJSON_AddArrayToObject(build, "resolvedDependencies"), p, digest);
    cJSON *details = cJSON_AddObjectToObject(m, "runDetails");
    cJSON *builder = cJSON_AddObjectToObject(details, "builder");
    cJSON_AddStringToObject(builder, "id", "fmpipe");
    cJSON_AddStringToObject(builder, "version", FMP_VERSION);
    cJSON *metadata = cJSON_AddObjectToObject(details, "metadata");
    cJSON_AddStringToObject(metadata, "invocationId", run_id);
    add_time(metadata, "startedOn");
    cJSON_AddItemToObject(m, "machine", fmp_machine_json());
    cJSON *stages = cJSON_AddArrayToObject(m, "stages");
    for (size_t s = 0; s < p->n_stages; s++) {
        cJSON_AddItemToArray(stages, stage_json(p, &p->stages[s], "pending"));
    }
    cJSON_AddArrayToObject(m, "results");
    *out = m;
    return stages ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for the run's manifest");
}

/* bitwise: same inputs, same bytes, on the numeric environment that is named; a stage may say otherwise of
   itself. */
static const char *grade_of(const cJSON *record)
{
    return fmp_json_str(fmp_json_get(record, "facts"), "reproducibility", "bitwise");
}

void fmp_run_manifest_stage(cJSON *manifest, const fmp_graph *g, size_t s, const char *action,
                            const cJSON *record)
{
    static const char *const copied[] = {"outputs",  "in",          "out",        "out_by",
                                         "rejected", "rejected_by", "counts",     "facts",
                                         "summary",  "seconds",     "peak_bytes", "streamed"};
    const fmp_stage_state *state = &g->states[s];
    cJSON *out = stage_json(g->p, &g->p->stages[s], action);
    cJSON_AddStringToObject(out, "reason", state->reason);
    cJSON_AddStringToObject(out, "detail", state->detail);
    if (state->known) { cJSON_AddStringToObject(out, "key", state->key); }
    if (state->numeric_env) { cJSON_AddStringToObject(out, "numeric_env", state->numeric_env); }
    for (size_t i = 0; record && i < sizeof copied / sizeof *copied; i++) {
        const cJSON *value = fmp_json_get(record, copied[i]);
        if (value) { cJSON_AddItemToObject(out, copied[i], cJSON_Duplicate(value, true)); }
    }
    if (record) { cJSON_AddStringToObject(out, "reproducibility", grade_of(record)); }
    cJSON *stages = cJSON_GetObjectItemCaseSensitive(manifest, "stages");
    cJSON_ReplaceItemInArray(stages, (int)s, out);
}

void fmp_run_manifest_end(cJSON *manifest, const char *status, double seconds, const fmp_err *err)
{
    cJSON *details = cJSON_GetObjectItemCaseSensitive(manifest, "runDetails");
    cJSON *metadata = cJSON_GetObjectItemCaseSensitive(details, "metadata");
    cJSON_ReplaceItemInObjectCaseSensitive(manifest, "status", cJSON_CreateString(status));
    cJSON_AddBoolToObject(manifest, "ok", strcmp(status, "ok") == 0);
    add_time(metadata, "finishedOn");
    cJSON_AddNumberToObject(metadata, "seconds", fmp_round_ms(seconds));
    cJSON_AddNumberToObject(metadata, "peak_bytes", (double)fmp_peak_rss());
    if (!err || err->code == FMP_OK) { return; }
    cJSON *error = cJSON_AddObjectToObject(manifest, "error");
    cJSON_AddNumberToObject(error, "code", err->code);
    cJSON_AddStringToObject(error, "message", err->message);
    if (err->file[0]) { cJSON_AddStringToObject(error, "file", err->file); }
    if (err->line) { cJSON_AddNumberToObject(error, "line", err->line); }
    if (err->column) { cJSON_AddNumberToObject(error, "column", err->column); }
    if (err->record[0]) { cJSON_AddStringToObject(error, "record", err->record); }
    if (err->hint[0]) { cJSON_AddStringToObject(error, "hint", err->hint); }
    if (err->notes[0]) { cJSON_AddStringToObject(error, "notes", err->notes); }
}
