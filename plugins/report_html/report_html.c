/*
 * report.html: one page about the run so far, for people who were not there.
 *
 * The stage reads what the engine knows (fmp.run/1: the manifest) and the run's rejected.jsonl; its inputs
 * only make it run after what it tells about. The page is made by report_page.c; nothing in it is loaded
 * from elsewhere and nothing is a script.
 */
#include "report.h"

#include <fmpipe/fs.h>
#include <fmpipe/plugin.h>

#include <stdlib.h>

typedef struct report_html {
    const fmp_host *host;
    report_options options;
} report_html;

static const fmp_option options[] = {
    {.name = "title",
     .type = FMP_OPT_STRING,
     .min = 1,
     .max = 200,
     .unit = "bytes",
     .help = "Heading of the page. Left out: the pipeline's name."},
    {.name = "examples",
     .type = FMP_OPT_INT,
     .def = "12",
     .min = 0,
     .max = 200,
     .help = "Most evaluation examples that are shown."},
    {.name = "note",
     .type = FMP_OPT_STRING,
     .def = "",
     .max = 4000,
     .unit = "bytes",
     .help = "A paragraph of your own below the heading: what was tried and why."},
    {.name = NULL}};

static const fmp_port inputs[] = {{.name = "results",
                                   .type = FMP_PORT_ANY,
                                   .flags = FMP_PORT_OPTIONAL | FMP_PORT_MANY,
                                   .help = "What the page is about: it is made after these stages, and again "
                                           "when one of their results changes."},
                                  {.name = NULL}};
static const fmp_port outputs[] = {{.name = "report",
                                    .type = FMP_PORT_PACKAGE,
                                    .help = "A folder with report.html, which needs nothing beside it."},
                                   {.name = NULL}};

/* The rejects of a run without a folder, or whose list cannot be read, are left out of the page; the
 * counts stay. */
static cJSON *rejects_of(const report_html *s, const fmp_ext_run *run, const fmp_task *task)
{
    const fmp_ext_log *log = s->host->get_extension(s->host, FMP_EXT_LOG);
    const char *dir = run->run_dir(task);
    char *path = dir ? fmp_path_join(dir, "rejected.jsonl") : NULL;
    cJSON *rejects = NULL;
    fmp_err err = FMP_ERR_INIT;
    if (path && fmp_path_exists(path) && report_rejects(path, &rejects, &err) != FMP_OK && log) {
        log->log(s->host, FMP_LOG_WARNING, "the report says nothing of single rejects: %s", err.message);
    }
    free(path);
    return rejects;
}

static fmp_status write_page(const fmp_task *task, const fmp_buf *page, fmp_err *err)
{
    char *path = fmp_path_join(task->outputs[0].path, "report.html");
    if (!path) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    fmp_status status = fmp_write_file(path, page->data, page->len, err);
    free(path);
    return status;
}

static fmp_status report_run(void *self, const fmp_task *task, fmp_err *err)
{
    const report_html *s = self;
    const fmp_ext_run *run = s->host->get_extension(s->host, FMP_EXT_RUN);
    const fmp_ext_metrics *metrics = s->host->get_extension(s->host, FMP_EXT_METRICS);
    if (!run) { return fmp_fail(err, FMP_E_UNSUPPORTED, "this host offers no %s", FMP_EXT_RUN); }
    cJSON *rejects = rejects_of(s, run, task);
    fmp_buf page = {0};
    fmp_status status = report_page(run->manifest(task), rejects, &s->options, &page, err);
    if (status == FMP_OK) { status = write_page(task, &page, err); }
    if (status == FMP_OK && metrics) {
        /* The page holds times, so a second run of the same pipeline writes another one. */
        metrics->fact(s->host, "reproducibility", cJSON_CreateString("none"));
        cJSON *list = cJSON_CreateArray(), *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "label", "report");
        cJSON_AddStringToObject(row, "file", "report.html");
        cJSON_AddItemToArray(list, row);
        metrics->fact(s->host, "artifacts", list);
        metrics->summary(s->host, "report.html, %zu kB, opens in any browser", (page.len + 999) / 1000);
    }
    fmp_buf_free(&page);
    cJSON_Delete(rejects);
    return status;
}

static fmp_status report_create(const fmp_host *host, void **self, fmp_err *err)
{
    report_html *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    s->host = host;
    *self = s;
    return FMP_OK;
}

static fmp_status report_configure(void *self, const cJSON *values, fmp_err *err)
{
    report_html *s = self;
    (void)err;
    s->options.title = fmp_value_str(values, "title");
    s->options.note = fmp_value_str(values, "note");
    s->options.max_examples = (size_t)fmp_value_int(values, "examples");
    return FMP_OK;
}

static const fmp_stage stage = {FMP_STAGE_HEADER,
                                .name = "report.html",
                                .version = 1,
                                .kind = FMP_TASK,
                                .summary = "Write a self-contained HTML page about the run.",
                                .inputs = inputs,
                                .outputs = outputs,
                                .options = options,
                                .create = report_create,
                                .configure = report_configure,
                                .run = report_run,
                                .destroy = free};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "report-html", .version = "0.1.0",
                                  .license = "Apache-2.0", .stages = stages};
FMP_PLUGIN_ENTRY(&plugin)
