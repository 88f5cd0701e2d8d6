/*
 * A plugin that misbehaves on request, for the tests of the loader, of isolation and of the conformance
 * suite. Faults of the file itself are chosen by the macro ODD at build time, faults of the stage by its
 * option `mode`.
 */
#include <fmpipe/plugin.h>

#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Values of ODD. */
#define ODD_NONE         0
#define ODD_MAJOR        1
#define ODD_MINOR        2
#define ODD_LAYOUT       3
#define ODD_LARGE        4
#define ODD_SMALL        5
#define ODD_NO_ENTRY     6
#define ODD_EXTRA_SYMBOL 7
#define ODD_NO_CALLBACK  8
#define ODD_TWO_OPTIONS  9
#define ODD_NULL         10
#define ODD_CRASH        11
#define ODD_MARKER       12
#define ODD_UNDEFINED    13
#define ODD_RUN_PATH     14
#define ODD_STAGE_SIZE   15
#define ODD_NAME         16

typedef struct odd {
    const char *mode;
    uint64_t n_seen;
    const fmp_host *host;
} odd;

static const fmp_option options[] = {
    {.name = "mode", .type = FMP_OPT_STRING, .def = "pass", .min = 1, .max = 40, .help = "What to do wrong."},
    {.name = "number", .type = FMP_OPT_INT, .def = "3", .min = 1, .max = 9, .help = "A number."},
#if ODD == ODD_TWO_OPTIONS
    {.name = "mode", .type = FMP_OPT_STRING, .help = "The same name again."},
#endif
    {.name = NULL}};
static const fmp_port inputs[] = {{.name = "records", .type = FMP_PORT_RECORDS, .help = "Any."},
                                  {.name = NULL}};
static const fmp_port outputs[] = {{.name = "records", .type = FMP_PORT_RECORDS, .help = "Any."},
                                   {.name = NULL}};

static bool is(const odd *s, const char *mode)
{
    return strcmp(s->mode, mode) == 0;
}

static void *sleep_long(void *arg)
{
    sleep(20);
    return arg;
}

static void *volatile lost; /* so that no compiler sees an allocation without a use, and drops it */

/* What goes wrong beside the record's own result. */
static void misbehave(odd *s, const fmp_record *record)
{
    if (is(s, "crash")) { raise(SIGSEGV); }
    if (is(s, "abort")) { abort(); }
    if (is(s, "exit")) { _exit(7); }
    if (is(s, "hang")) { sleep(20); }
    if (is(s, "print")) { printf("printed\n"); }
    if (is(s, "leak")) { lost = calloc(1, 4096); }
    if (is(s, "open_file")) { (void)!open("/dev/null", O_RDONLY); }
    if (is(s, "signal")) { signal(SIGUSR1, SIG_IGN); }
    if (is(s, "locale")) { setlocale(LC_ALL, "C.UTF-8"); }
    if (is(s, "umask")) { umask(0); }
    if (is(s, "environment")) { setenv("ODD_LEFT_THIS", "1", 1); }
    if (is(s, "folder")) { (void)!chdir("/"); }
    if (is(s, "thread")) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, sleep_long, NULL) == 0) { pthread_detach(thread); }
    }
    if (is(s, "change_input")) {
        cJSON_AddItemToObject((cJSON *)(uintptr_t)record->doc, "added", cJSON_CreateTrue());
    }
}

static fmp_status emit_text(cJSON *doc, const char *text, const fmp_call *call, fmp_err *err)
{
    cJSON_DeleteItemFromObjectCaseSensitive(doc, "meta");
    cJSON_AddItemToObject(doc, "meta", cJSON_CreateString(text));
    return call->emit(call, doc, err);
}

static fmp_status process(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err)
{
    odd *s = self;
    char text[64];
    misbehave(s, record);
    cJSON *doc = cJSON_Duplicate(record->doc, true);
    if (!doc) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    if (is(s, "twice")) {
        FMP_TRY(call->pass(call, err));
        return emit_text(doc, "second", call, err);
    }
    if (is(s, "reject")) { return fmp_reject_record(call, "odd", "messages", "expected another mode", err); }
    if (is(s, "reject_twice")) {
        const fmp_problem also = {.reason = "long", .message = "expected a shorter text", .path = "meta"};
        const fmp_reject why = {.struct_size = (uint32_t)sizeof why,
                                .reason = "odd",
                                .message = "expected another mode",
                                .path = "messages",
                                .more = &also,
                                .n_more = 1};
        return call->reject(call, &why, err);
    }
    if (is(s, "empty_reject")) { return fmp_reject_record(call, "", NULL, "", err); }
    if (is(s, "fail")) { return fmp_fail(err, FMP_E_FAILED, "failed as asked"); }
    if (is(s, "drop")) { return FMP_OK; }
    if (is(s, "count")) { call->count(call, "seen", 2); }
    if (is(s, "remember")) {
        snprintf(text, sizeof text, "%d", (int)s->n_seen++);
        return emit_text(doc, text, call, err);
    }
    if (is(s, "random")) {
        snprintf(text, sizeof text, "%p %d", (void *)doc, rand());
        return emit_text(doc, text, call, err);
    }
    if (is(s, "bad_utf8")) { return emit_text(doc, "\xff", call, err); }
    if (is(s, "no_messages")) {
        cJSON_DeleteItemFromObjectCaseSensitive(doc, "messages");
        return call->emit(call, doc, err);
    }
    if (is(s, "cycle")) {
        cJSON *ring = cJSON_AddArrayToObject(doc, "ring");
        ring->child = cJSON_CreateTrue();
        ring->child->prev = ring->child->next = ring->child;
        return call->emit(call, doc, err);
    }
    return call->pass(call, err);
}

static fmp_status create(const fmp_host *host, void **self, fmp_err *err)
{
    odd *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    s->host = host;
    s->mode = "pass";
    *self = s;
    return FMP_OK;
}

static fmp_status configure(void *self, const cJSON *values, fmp_err *err)
{
    odd *s = self;
    s->mode = fmp_value_str(values, "mode");
    if (is(s, "bad_option")) {
        fmp_fail(err, FMP_E_CONFIG, "this mode is refused");
        if (err) { snprintf(err->option, sizeof err->option, "mode"); }
        return FMP_E_CONFIG;
    }
    return FMP_OK;
}

static fmp_status finish(void *self, fmp_err *err)
{
    odd *s = self;
    (void)err;
    const fmp_ext_metrics *metrics = s->host->get_extension(s->host, FMP_EXT_METRICS);
    if (metrics) {
        metrics->fact(s->host, "finished", cJSON_CreateNumber(1));
        metrics->summary(s->host, "done in mode %s", s->mode);
    }
    return FMP_OK;
}

static void destroy(void *self)
{
    free(self);
}

static const fmp_stage stage = {
#if ODD == ODD_STAGE_SIZE
    .struct_size = sizeof(fmp_stage) - 8,
#else
    FMP_STAGE_HEADER,
#endif
#if ODD == ODD_NAME
    .name = "Odd Stage",
#else
    .name = "odd.stage",
#endif
    .version = 1,
    .kind = FMP_MAP,
    .summary = "Misbehave on request.",
    .inputs = inputs,
    .outputs = outputs,
    .options = options,
    .create = create,
    .configure = configure,
    .finish = finish,
    .destroy = destroy,
#if ODD != ODD_NO_CALLBACK
    .process = process,
#endif
};
static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {.struct_size = (uint32_t)sizeof(fmp_plugin) + (ODD == ODD_LARGE ? 8 : 0) -
                                                 (ODD == ODD_SMALL ? 8 : 0),
                                  .abi_major = ODD == ODD_MAJOR ? 2 : FMP_ABI_MAJOR,
                                  .abi_minor_needed = ODD == ODD_MINOR ? 99 : 0,
                                  .layout = FMP_LAYOUT + (ODD == ODD_LAYOUT ? 1 : 0),
                                  .name = "odd",
                                  .version = "1.0.0",
                                  .license = "Apache-2.0",
                                  .option_size = (uint32_t)sizeof(fmp_option),
                                  .port_size = (uint32_t)sizeof(fmp_port),
                                  .stages = stages};

#if ODD == ODD_NULL
FMP_PLUGIN_ENTRY(NULL)
#elif ODD == ODD_CRASH
FMP_EXPORT const fmp_plugin *fmp_plugin_v1(void);
const fmp_plugin *fmp_plugin_v1(void)
{
    raise(SIGSEGV);
    return &plugin;
}
#elif ODD == ODD_NO_ENTRY
const void *odd_unused(void);
const void *odd_unused(void)
{
    return &plugin;
}
#else
FMP_PLUGIN_ENTRY(&plugin)
#endif

#if ODD == ODD_EXTRA_SYMBOL
FMP_EXPORT int odd_visible;
#endif

#if ODD == ODD_UNDEFINED
extern int odd_not_anywhere(void);
int odd_calls_it(void);
int odd_calls_it(void)
{
    return odd_not_anywhere();
}
#endif

#if ODD == ODD_MARKER
/* Foreign code that must not run: it leaves the file that FMP_TEST_MARKER names. */
__attribute__((constructor)) static void leave_marker(void)
{
    const char *path = getenv("FMP_TEST_MARKER");
    if (path) { close(open(path, O_CREAT | O_WRONLY, 0600)); }
}
#endif
