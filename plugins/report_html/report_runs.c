/*
 * What ran, with which settings, from what: the sections for whoever has to repeat the run or to answer for
 * it.
 */
#include "report.h"

/* The stage that is writing the page says nothing yet. */
static bool is_pending(const cJSON *stage)
{
    return strcmp(fmp_json_str(stage, "action", ""), "pending") == 0;
}

static void put_number_cell(fmp_buf *out, const cJSON *stage, const char *key, const char *label)
{
    fmp_buf_printf(out, "<td role=\"cell\" class=\"n\" data-label=\"%s\">", label);
    bool told = strcmp(key, "out") == 0 ? makes_records(stage) && fmp_json_get(stage, key)
                                        : count_of(stage, "in") > 0;
    if (told) { put_count(out, count_of(stage, key)); }
    fmp_buf_puts(out, "</td>");
}

static void put_stage(fmp_buf *out, const cJSON *stage)
{
    const char *action = fmp_json_str(stage, "action", ""), *summary = fmp_json_str(stage, "summary", "");
    fmp_buf_puts(out, "<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">");
    put_text(out, fmp_json_str(stage, "id", ""));
    fmp_buf_puts(out, "<br><span class=\"soft\">");
    put_text(out, fmp_json_str(stage, "use", ""));
    fmp_buf_printf(out, "</span></th><td role=\"cell\" data-label=\"Action\"><span class=\"chip%s\">",
                   strcmp(action, "ran") == 0 ? " ran" : "");
    put_text(out, action);
    fmp_buf_puts(out, "</span> <span class=\"soft\">");
    put_text(out, fmp_json_str(stage, "detail", ""));
    fmp_buf_puts(out, "</span>");
    if (*summary) {
        fmp_buf_puts(out, "<br>");
        put_text(out, summary);
    }
    fmp_buf_puts(out, "</td>");
    put_number_cell(out, stage, "in", "In");
    put_number_cell(out, stage, "out", "Out");
    put_number_cell(out, stage, "rejected", "Rejected");
    fmp_buf_puts(out, "<td role=\"cell\" class=\"n\" data-label=\"Time\">");
    put_seconds(out, count_of(stage, "seconds"));
    fmp_buf_puts(out, "</td></tr>");
}

void section_stages(fmp_buf *out, const cJSON *manifest)
{
    const cJSON *stage;
    bool cached = false;
    fmp_buf_puts(out, "\n<section id=\"stages\"><h2>What ran</h2><table role=\"table\" "
                      "class=\"stack\"><thead role=\"rowgroup\"><tr role=\"row\">"
                      "<th role=\"columnheader\" scope=\"col\">Stage</th><th role=\"columnheader\" "
                      "scope=\"col\">Action and result</th>"
                      "<th role=\"columnheader\" scope=\"col\" class=\"n\">In</th><th role=\"columnheader\" "
                      "scope=\"col\" class=\"n\">Out</th>"
                      "<th role=\"columnheader\" scope=\"col\" class=\"n\">Rejected</th>"
                      "<th role=\"columnheader\" scope=\"col\" class=\"n\">Time</th></tr></thead><tbody "
                      "role=\"rowgroup\">");
    cJSON_ArrayForEach(stage, fmp_json_get(manifest, "stages"))
    {
        if (is_pending(stage)) { continue; }
        cached = cached || strcmp(fmp_json_str(stage, "action", ""), "cached") == 0;
        put_stage(out, stage);
    }
    fmp_buf_printf(out, "</tbody></table>%s</section>",
                   cached ? "<p class=\"soft\">Cached: the result of an earlier run with the same inputs, "
                            "settings and plugin; its time is that run's."
                            "</p>"
                          : "");
}

/* ---------------------------------------------------------------------------------------------- settings */

static void put_pair(fmp_buf *out, const char *name, const cJSON *value)
{
    if (!value) { return; }
    fmp_buf_puts(out, "<dt>");
    put_text(out, name);
    fmp_buf_puts(out, "</dt><dd><code>");
    put_value(out, value);
    fmp_buf_puts(out, "</code></dd>");
}

/* Members of nested maps under their dotted names, as `fmpipe help STAGE` has them. */
static void put_options(fmp_buf *out, const cJSON *options, const char *prefix)
{
    const cJSON *option;
    char name[256];
    cJSON_ArrayForEach(option, options)
    {
        snprintf(name, sizeof name, "%s%s", prefix, option->string);
        if (cJSON_IsObject(option) && option->child && !*prefix) {
            snprintf(name, sizeof name, "%s.", option->string);
            put_options(out, option, name);
        } else {
            put_pair(out, name, option);
        }
    }
}

void section_settings(fmp_buf *out, const cJSON *manifest)
{
    const cJSON *stage;
    fmp_buf_puts(out, "\n<section id=\"settings\"><h2>Settings</h2><p class=\"soft\">Every option of every "
                      "stage, defaults included.</p>");
    cJSON_ArrayForEach(stage, fmp_json_get(manifest, "stages"))
    {
        fmp_buf_puts(out, "<details><summary>");
        put_text(out, fmp_json_str(stage, "id", ""));
        fmp_buf_puts(out, " <span class=\"soft\">");
        put_text(out, fmp_json_str(stage, "use", ""));
        fmp_buf_puts(out, "</span></summary><dl class=\"values\">");
        put_options(out, object_at(stage, "options"), "");
        put_pair(out, "seed", fmp_json_get(stage, "seed"));
        put_pair(out, "action key", fmp_json_get(stage, "key"));
        put_pair(out, "plugin", fmp_json_get(stage, "plugin"));
        put_pair(out, "plugin sha256", fmp_json_get(stage, "plugin_sha256"));
        put_pair(out, "stage version", fmp_json_get(stage, "version"));
        put_pair(out, "numeric environment", fmp_json_get(stage, "numeric_env"));
        put_pair(out, "reproducibility", fmp_json_get(stage, "reproducibility"));
        put_options(out, object_at(stage, "outputs"), "output ");
        fmp_buf_puts(out, "</dl></details>");
    }
    fmp_buf_puts(out, "</section>");
}

/* ---------------------------------------------------------------------------------------------- origin */

static void put_dependencies(fmp_buf *out, const cJSON *list)
{
    const cJSON *d;
    if (cJSON_GetArraySize(list) == 0) { return; }
    fmp_buf_puts(
        out,
        "<h3>Inputs and their digests</h3><table role=\"table\" class=\"stack\"><thead role=\"rowgroup\"><tr "
        "role=\"row\">"
        "<th role=\"columnheader\" scope=\"col\">Name</th><th role=\"columnheader\" scope=\"col\">Kind</th>"
        "<th role=\"columnheader\" scope=\"col\">SHA-256</th></tr></thead><tbody role=\"rowgroup\">");
    cJSON_ArrayForEach(d, list)
    {
        fmp_buf_puts(out, "<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">");
        put_text(out, fmp_json_str(d, "name", ""));
        fmp_buf_puts(out, "</th><td role=\"cell\" data-label=\"Kind\">");
        const char *kind = fmp_json_str(d, "kind", "");
        put_text(out, strcmp(kind, "base_model") == 0 ? "base model" : kind);
        fmp_buf_puts(out, "</td><td role=\"cell\" data-label=\"SHA-256\"><code>");
        put_text(out, fmp_json_str(fmp_json_get(d, "digest"), "sha256", ""));
        fmp_buf_puts(out, "</code></td></tr>");
    }
    fmp_buf_puts(out, "</tbody></table>");
}

static void put_machine(fmp_buf *out, const cJSON *machine)
{
    const cJSON *item;
    double memory = count_of(machine, "memory_bytes");
    if (!machine) { return; }
    fmp_buf_puts(out, "<h3>Machine and versions</h3><dl class=\"values\">");
    put_pair(out, "processor", fmp_json_get(machine, "cpu"));
    put_pair(out, "cores usable", fmp_json_get(machine, "cores_usable"));
    if (memory > 0) {
        fmp_buf_puts(out, "<dt>memory</dt><dd><code>");
        put_bytes(out, memory);
        fmp_buf_puts(out, "</code></dd>");
    }
    put_pair(out, "architecture", fmp_json_get(machine, "architecture"));
    put_pair(out, "processor features", fmp_json_get(machine, "cpu_features"));
    put_pair(out, "system", fmp_json_get(machine, "os"));
    put_pair(out, "kernel", fmp_json_get(machine, "kernel"));
    cJSON_ArrayForEach(item, object_at(machine, "libraries"))
    {
        put_pair(out, item->string, item);
    }
    fmp_buf_puts(out, "</dl>");
}

void section_origin(fmp_buf *out, const cJSON *manifest)
{
    const cJSON *build = fmp_json_get(manifest, "buildDefinition"),
                *details = fmp_json_get(manifest, "runDetails");
    fmp_buf_puts(out, "\n<section id=\"origin\"><h2>Where it comes from</h2><dl class=\"values\">");
    put_pair(out, "run", fmp_json_get(manifest, "run"));
    put_pair(out, "pipeline file", fmp_json_get(fmp_json_get(manifest, "pipeline"), "file"));
    put_pair(out, "seed", fmp_json_get(fmp_json_get(build, "externalParameters"), "seed"));
    put_pair(out, "started", fmp_json_get(fmp_json_get(details, "metadata"), "startedOn"));
    put_pair(out, "fmpipe", fmp_json_get(fmp_json_get(details, "builder"), "version"));
    fmp_buf_puts(out, "</dl>");
    put_dependencies(out, fmp_json_get(build, "resolvedDependencies"));
    put_machine(out, fmp_json_get(manifest, "machine"));
    fmp_buf_puts(out, "</section>");
}
