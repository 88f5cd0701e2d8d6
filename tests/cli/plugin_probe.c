/*
 * plugin_probe.c: stages with every kind of option and port, so that tests of the command line depend on no
 * shipped stage. Their work is the least that a run can be: generated records, passed on, counted.
 */
#include <fmpipe/plugin.h>

#include <stdlib.h>

typedef struct probe {
    const fmp_host *host;
    uint64_t n, next;
} probe;

static fmp_status create(const fmp_host *host, void **self, fmp_err *err)
{
    probe *p = calloc(1, sizeof *p);
    if (!p) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    p->host = host;
    *self = p;
    return FMP_OK;
}

static fmp_status configure(void *self, const cJSON *values, fmp_err *err)
{
    const char *label = fmp_value_str(values, "label");
    ((probe *)self)->n = (uint64_t)fmp_value_int(values, "n");
    if (label && strchr(label, '-')) { /* no option table can say this: only this code knows */
        (void)fmp_fail(err, FMP_E_CONFIG, "expected a label without '-', found '%s'", label);
        (void)snprintf(err->option, sizeof err->option, "label");
        return fmp_err_hint(err, "write '_' instead");
    }
    return FMP_OK;
}

static void destroy(void *self)
{
    free(self);
}

enum { ROWS_A_BLOCK = 100 };

static fmp_status fetch(void *self, fmp_block *block, bool *more, fmp_err *err)
{
    (void)err;
    probe *p = self;
    uint64_t left = p->n - p->next;
    block->file = NULL;
    block->first_row = p->next;
    block->n_rows = left < ROWS_A_BLOCK ? left : ROWS_A_BLOCK;
    p->next += block->n_rows;
    *more = p->next < p->n;
    return FMP_OK;
}

static fmp_status decode(void *self, const fmp_block *block, const fmp_call *call, fmp_err *err)
{
    (void)self;
    for (uint64_t i = 0; i < block->n_rows; i++) {
        char text[32];
        snprintf(text, sizeof text, "row %" PRIu64, block->first_row + i);
        cJSON *doc = cJSON_CreateObject(), *messages = cJSON_AddArrayToObject(doc, "messages");
        cJSON *message = cJSON_CreateObject();
        cJSON_AddStringToObject(message, "role", "user");
        cJSON_AddStringToObject(message, "content", text);
        cJSON_AddItemToArray(messages, message);
        fmp_origin origin = {"", block->first_row + i + 1, 0};
        FMP_TRY(call->emit_row(call, doc, &origin, err));
    }
    return FMP_OK;
}

static fmp_status pass(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err)
{
    (void)self;
    (void)record;
    return call->pass(call, err);
}

/* probe.refuse: every tenth record. */
static fmp_status refuse(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err)
{
    (void)self;
    if (record->origin.line % 10 != 0) { return call->pass(call, err); }
    return fmp_reject_record(call, "tenth", "messages[0].content", "expected another line, found a tenth one",
                             err);
}

/* A table with everything that one may hold. */
static fmp_status show_table(void *self, fmp_err *err)
{
    (void)err;
    static const char text[] = "{\"title\":\"lines\",\"columns\":[\"kind\",\"n\",\"share kept\",\"loss\"],"
                               "\"rows\":[[\"tenth\",25,\"0.0 % → 100.0 %\",\"3.9 → 12.31\"],"
                               "[\"other\",225,\"–\",\"3.70 → 0.33\"]],"
                               "\"note\":\"± 4.1\",\"sides\":[\"base\",\"adapter\"]}";
    const probe *p = self;
    const fmp_ext_metrics *m = p->host->get_extension(p->host, FMP_EXT_METRICS);
    if (m) { m->fact(p->host, "table", cJSON_Parse(text)); }
    return FMP_OK;
}

static const fmp_option row_options[] = {
    {.name = "pattern",
     .type = FMP_OPT_STRING,
     .flags = FMP_OPT_REQUIRED,
     .min = 1,
     .max = 16,
     .help = "What to look for."},
    {.name = "weight", .type = FMP_OPT_FLOAT, .def = "1", .min = 0, .max = 10, .help = "How much it counts."},
    {.name = NULL}};

static const fmp_option map_options[] = {
    {.name = "rank",
     .type = FMP_OPT_INT,
     .def = "32",
     .unit = "columns",
     .min = 1,
     .max = 1024,
     .help = "A number."},
    {.name = "learning_rate",
     .type = FMP_OPT_FLOAT,
     .def = "0.001",
     .min = 0,
     .max = 1,
     .help = "A small number."},
    {.name = "mode", .type = FMP_OPT_ENUM, .def = "drop", .choices = "error|drop|split", .help = "A choice."},
    {.name = "memory", .type = FMP_OPT_SIZE, .def = "64KiB", .min = 1024, .max = 1e12, .help = "A size."},
    {.name = "label", .type = FMP_OPT_STRING, .def = "", .flags = FMP_OPT_COSMETIC, .help = "A text."},
    {.name = "strict", .type = FMP_OPT_BOOL, .def = "false", .help = "A switch."},
    {.name = "augment.rename", .type = FMP_OPT_BOOL, .def = "false", .help = "A nested switch."},
    {.name = "names", .type = FMP_OPT_LIST, .def = "[]", .help = "Texts."},
    {.name = "rules", .type = FMP_OPT_TABLE, .def = "[]", .items = row_options, .help = "Rows."},
    {.name = "vars", .type = FMP_OPT_MAP, .help = "Values by name."},
    {.name = "file", .type = FMP_OPT_PATH, .help = "A file."},
    {.name = "files", .type = FMP_OPT_PATHS, .help = "Files."},
    {.name = "any", .type = FMP_OPT_JSON, .help = "Anything."},
    {.name = NULL}};

static const fmp_option source_options[] = {{.name = "n",
                                             .type = FMP_OPT_INT,
                                             .flags = FMP_OPT_REQUIRED,
                                             .unit = "records",
                                             .min = 1,
                                             .max = 1e6,
                                             .help = "How many."},
                                            {.name = NULL}};

static const fmp_option no_options[] = {{.name = NULL}};
static const fmp_port no_ports[] = {{.name = NULL}};
static const fmp_port records[] = {{.name = "records", .type = FMP_PORT_RECORDS, .help = "Records."},
                                   {.name = NULL}};
static const fmp_port train_inputs[] = {{.name = "tokens", .type = FMP_PORT_TOKENS, .help = "Tokens."},
                                        {.name = "model", .type = FMP_PORT_MODEL, .help = "The model."},
                                        {.name = NULL}};
static const fmp_port adapters[] = {{.name = "adapter", .type = FMP_PORT_ADAPTER, .help = "The adapter."},
                                    {.name = NULL}};

static fmp_status run_nothing(void *self, const fmp_task *task, fmp_err *err)
{
    (void)self;
    (void)task;
    return fmp_fail(err, FMP_E_UNSUPPORTED, "probe.train is for checking connections; it trains nothing");
}

#define INSTANCE .create = create, .configure = configure, .destroy = destroy
static const fmp_stage source = {FMP_STAGE_HEADER,
                                 .name = "probe.source",
                                 .version = 1,
                                 .kind = FMP_SOURCE,
                                 .summary = "Make records.",
                                 .inputs = no_ports,
                                 .outputs = records,
                                 .options = source_options,
                                 INSTANCE,
                                 .fetch = fetch,
                                 .decode = decode};
static const fmp_stage map = {FMP_STAGE_HEADER,
                              .name = "probe.map",
                              .version = 1,
                              .kind = FMP_MAP,
                              .summary = "Pass records on; has an option of every type.",
                              .inputs = records,
                              .outputs = records,
                              .options = map_options,
                              INSTANCE,
                              .process = pass};
static const fmp_stage refusing = {FMP_STAGE_HEADER,
                                   .name = "probe.refuse",
                                   .version = 1,
                                   .kind = FMP_MAP,
                                   .summary = "Refuse every tenth record.",
                                   .inputs = records,
                                   .outputs = records,
                                   .options = no_options,
                                   INSTANCE,
                                   .process = refuse,
                                   .finish = show_table};
static const fmp_stage train = {FMP_STAGE_HEADER,
                                .name = "probe.train",
                                .version = 1,
                                .kind = FMP_TASK,
                                .summary = "Need tokens and a model.",
                                .inputs = train_inputs,
                                .outputs = adapters,
                                .options = no_options,
                                INSTANCE,
                                .run = run_nothing};

static const fmp_stage *const stages[] = {&source, &map, &refusing, &train, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "probe", .version = "1.0.0",
                                  .license = "Apache-2.0", .stages = stages};
FMP_PLUGIN_ENTRY(&plugin)
