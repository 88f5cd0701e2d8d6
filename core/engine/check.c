/*
 * The conformance suite: which tests there are for a stage, and each in a process of its own. Tests of the
 * plugin as a file and of its tables are here; check_life.c watches an instance's life, check_records.c
 * what it does to records.
 */
#include "check_private.h"

#include "elf_note.h"
#include "pipeline.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TIMEOUT_SECONDS = 60, MAX_PLUGIN_BYTES = 256 << 20 };

void fmp_check_say_(check_context *c, fmp_check_verdict verdict, const char *fmt, ...)
{
    if (c->result->detail[0]) { return; }
    c->result->verdict = verdict;
    va_list ap;
    va_start(ap, fmt);
    int need = vsnprintf(c->result->detail, sizeof c->result->detail, fmt, ap);
    va_end(ap);
    fmp_err_clip_(c->result->detail, sizeof c->result->detail, need);
}

/* ---- the file and its tables ---- */

static void inspect_file(check_context *c, fmp_elf_facts *facts, bool *has_note)
{
    fmp_buf image = {0};
    fmp_err err = FMP_ERR_INIT;
    const unsigned char *note = NULL;
    size_t note_len = 0;
    memset(facts, 0, sizeof *facts);
    fmp_status status = fmp_read_file(c->info->plugin->path, MAX_PLUGIN_BYTES, &image, &err);
    const unsigned char *bytes = (const unsigned char *)image.data;
    if (status == FMP_OK) { status = fmp_elf_inspect(bytes, image.len, FMP_PLUGIN_SYMBOL, facts, &err); }
    if (status == FMP_OK) { status = fmp_elf_find_note(bytes, image.len, &note, &note_len, &err); }
    if (status != FMP_OK) { fmp_check_say_(c, FMP_CHECK_FAIL, "%s", err.message); }
    if (facts->extra_symbol) {
        fmp_check_say_(c, FMP_CHECK_FAIL, "it also exports '%.100s'; build with -fvisibility=hidden",
                       facts->extra_symbol);
    }
    *has_note = note != NULL;
    fmp_buf_free(&image); /* the facts' strings are gone with it */
}

static void test_one_symbol(check_context *c)
{
    fmp_elf_facts facts;
    bool has_note;
    inspect_file(c, &facts, &has_note);
    if (!facts.has_entry) { fmp_check_say_(c, FMP_CHECK_FAIL, "it does not export " FMP_PLUGIN_SYMBOL); }
}

static void test_loads(check_context *c)
{
    (void)fmp_check_load_(c);
}

static void test_note(check_context *c)
{
    fmp_elf_facts facts;
    bool has_note;
    inspect_file(c, &facts, &has_note);
    if (!has_note) {
        fmp_check_say_(
            c, FMP_CHECK_SKIP,
            "the file has no note; 'fmpipe plugin note FILE.so' writes one (start-up is faster with it)");
    }
    (void)fmp_check_load_(c); /* compares the two */
}

static void test_summary(check_context *c)
{
    const fmp_stage_info *i = c->info;
    if (!i->summary || !*i->summary) { fmp_check_say_(c, FMP_CHECK_FAIL, "the stage has no summary"); }
    if (i->summary && strchr(i->summary, '\n')) {
        fmp_check_say_(c, FMP_CHECK_FAIL, "the summary is more than one line");
    }
    if (i->version == 0) { fmp_check_say_(c, FMP_CHECK_FAIL, "the stage's version is 0; the first is 1"); }
    if (!*i->plugin->license) { fmp_check_say_(c, FMP_CHECK_WARN, "the plugin names no license (SPDX)"); }
}

static void test_ports(check_context *c)
{
    static const char *const types[] = {FMP_PORT_RECORDS, FMP_PORT_TOKENS, FMP_PORT_MODEL,
                                        FMP_PORT_ADAPTER, FMP_PORT_DRAFT,  FMP_PORT_METRICS,
                                        FMP_PORT_PACKAGE, FMP_PORT_ANY};
    const fmp_port *tables[] = {c->info->inputs, c->info->outputs};
    for (int t = 0; t < 2; t++) {
        for (const fmp_port *p = tables[t]; p->name; p++) {
            bool known = false;
            for (size_t i = 0; i < sizeof types / sizeof types[0] - (size_t)t; i++) {
                known = known || strcmp(types[i], p->type) == 0;
            }
            if (!known) {
                fmp_check_say_(c, FMP_CHECK_FAIL, "port '%s' has the unknown type '%s'", p->name, p->type);
            }
            for (const fmp_port *q = tables[t]; q < p; q++) {
                if (strcmp(p->name, q->name) == 0) {
                    fmp_check_say_(c, FMP_CHECK_FAIL, "port '%s' is declared twice", p->name);
                }
            }
        }
    }
    bool in = c->info->inputs->name && strcmp(c->info->inputs->type, FMP_PORT_RECORDS) == 0;
    bool out = c->info->outputs->name && strcmp(c->info->outputs->type, FMP_PORT_RECORDS) == 0;
    if (c->info->kind == FMP_SOURCE && (c->info->inputs->name || !out)) {
        fmp_check_say_(c, FMP_CHECK_FAIL, "a source has no input and puts out records");
    }
    if (c->info->kind == FMP_MAP && !(in && out)) {
        fmp_check_say_(c, FMP_CHECK_FAIL, "a map takes records and puts out records");
    }
    if (c->info->kind == FMP_SINK && !in) { fmp_check_say_(c, FMP_CHECK_FAIL, "a sink takes records"); }
}

static void test_option_help(check_context *c)
{
    for (const fmp_option *o = c->info->options; o->name; o++) {
        size_t n = o->help ? strlen(o->help) : 0;
        if (n == 0) {
            fmp_check_say_(c, FMP_CHECK_FAIL, "option '%s' has no help", o->name);
        } else if (o->help[n - 1] != '.') {
            fmp_check_say_(c, FMP_CHECK_WARN, "the help of option '%s' does not end in a full stop", o->name);
        }
    }
}

/* One option through the host's own check, alone in a table. `text` NULL: its default. */
static fmp_status check_alone(const fmp_option *option, cJSON *given, fmp_err *err)
{
    fmp_option table[2] = {*option};
    cJSON *values = NULL;
    fmp_status status = fmp_options_check(table, given, "/", &values, err);
    cJSON_Delete(values);
    return status;
}

static void test_option_defaults(check_context *c)
{
    for (const fmp_option *o = c->info->options; o->name; o++) {
        fmp_err err = FMP_ERR_INIT;
        if (!o->def && (o->flags & FMP_OPT_REQUIRED)) { continue; }
        if (o->def && (o->flags & FMP_OPT_REQUIRED)) {
            fmp_check_say_(c, FMP_CHECK_FAIL, "option '%s' is required and has a default", o->name);
        }
        if (o->def && (o->type == FMP_OPT_PATH || o->type == FMP_OPT_PATHS)) {
            continue;
        } /* may not be there on this machine */
        if (check_alone(o, NULL, &err) != FMP_OK) {
            fmp_check_say_(c, FMP_CHECK_FAIL, "the default of option '%s': %s", o->name, err.message);
        }
    }
}

static void test_option_tables(check_context *c)
{
    for (const fmp_option *o = c->info->options; o->name; o++) {
        if (o->min > o->max) {
            fmp_check_say_(c, FMP_CHECK_FAIL, "option '%s' has the empty range %g ... %g", o->name, o->min,
                           o->max);
        }
        if (o->type == FMP_OPT_ENUM && (!o->choices || !*o->choices || strstr(o->choices, "||") ||
                                        o->choices[strlen(o->choices) - 1] == '|')) {
            fmp_check_say_(c, FMP_CHECK_FAIL, "option '%s' has an empty choice in '%s'", o->name,
                           o->choices ? o->choices : "");
        }
        if ((o->flags & FMP_OPT_OUTPUT) && o->type != FMP_OPT_PATH) {
            fmp_check_say_(c, FMP_CHECK_FAIL, "option '%s' is an output but no path", o->name);
        }
    }
}

static void test_required(check_context *c)
{
    fmp_err err = FMP_ERR_INIT;
    cJSON *values = NULL;
    bool any = false;
    for (const fmp_option *o = c->info->options; o->name; o++) {
        any = any || (o->flags & FMP_OPT_REQUIRED);
    }
    if (!any) { fmp_check_say_(c, FMP_CHECK_SKIP, "no option is required"); }
    if (any && fmp_options_check(c->info->options, NULL, "/", &values, &err) == FMP_OK) {
        fmp_check_say_(c, FMP_CHECK_FAIL, "a required option was left out and not missed");
    }
    cJSON_Delete(values);
}

static void test_out_of_range(check_context *c)
{
    size_t tried = 0;
    for (const fmp_option *o = c->info->options; o->name; o++) {
        if ((o->type != FMP_OPT_INT && o->type != FMP_OPT_FLOAT) || !(o->min < o->max) ||
            strchr(o->name, '.')) {
            continue;
        }
        fmp_err err = FMP_ERR_INIT;
        cJSON *given = cJSON_CreateObject();
        cJSON_AddNumberToObject(given, o->name, o->max < 1e15 ? o->max + 1 : o->min - 1);
        tried++;
        if (check_alone(o, given, &err) == FMP_OK) {
            fmp_check_say_(c, FMP_CHECK_FAIL, "a value beyond the range of option '%s' was accepted",
                           o->name);
        }
        cJSON_Delete(given);
    }
    if (tried == 0) { fmp_check_say_(c, FMP_CHECK_SKIP, "no number option has a range"); }
}

static void test_unknown_key(check_context *c)
{
    fmp_err err = FMP_ERR_INIT;
    cJSON *given = cJSON_CreateObject(), *values = NULL;
    cJSON_AddStringToObject(given, "no_such_option_", "x");
    if (fmp_options_check(c->info->options, given, "/", &values, &err) == FMP_OK) {
        fmp_check_say_(c, FMP_CHECK_FAIL, "an unknown option was accepted");
    }
    cJSON_Delete(given);
    cJSON_Delete(values);
}

const check_test fmp_check_static_[] = {
    {"one_exported_symbol", "nothing but the entry point is visible", ON_ALL, false, test_one_symbol},
    {"loads", "ABI, layout, callbacks and run path pass the loader's gates", ON_ALL, false, test_loads},
    {"note_says_what_the_code_says", "the ELF note equals the descriptor", ON_ALL, false, test_note},
    {"describes_itself", "version, one-line summary, license", ON_ALL, false, test_summary},
    {"ports_fit_the_kind", "known types, no duplicates", ON_ALL, false, test_ports},
    {"option_help_is_there", "every option says what it does", ON_ALL, false, test_option_help},
    {"option_defaults_are_valid", "each default passes the option's own check", ON_ALL, false,
     test_option_defaults},
    {"option_tables_make_sense", "ranges, choices and flags fit the types", ON_ALL, false,
     test_option_tables},
    {"required_options_are_missed", "leaving one out is an error", ON_ALL, false, test_required},
    {"out_of_range_is_refused", "values beyond a range are errors", ON_ALL, false, test_out_of_range},
    {"unknown_option_is_refused", "a misspelt option is an error", ON_ALL, false, test_unknown_key},
    {NULL, NULL, 0, false, NULL}};

/* ---- option values ---- */

/* A value for a required option, or NULL where none can be made up. */
static cJSON *made_up(const fmp_option *o)
{
    char word[64];
    switch (o->type) {
    case FMP_OPT_BOOL: return cJSON_CreateTrue();
    case FMP_OPT_INT:
    case FMP_OPT_FLOAT: return cJSON_CreateNumber(o->min < o->max ? o->min : 1);
    case FMP_OPT_STRING: return cJSON_CreateString("text");
    case FMP_OPT_ENUM:
        snprintf(word, sizeof word, "%.*s", (int)strcspn(o->choices, "|"), o->choices);
        return cJSON_CreateString(word);
    case FMP_OPT_LIST: {
        const char *text = "text";
        return cJSON_CreateStringArray(&text, 1);
    }
    default: return NULL;
    }
}

/* Checked values: --with, else the defaults with required ones made up. */
static void find_values(check_context *c, cJSON **values)
{
    fmp_err err = FMP_ERR_INIT;
    cJSON *given = c->options->with ? cJSON_Duplicate(c->options->with, true) : cJSON_CreateObject();
    *values = NULL;
    for (const fmp_option *o = c->info->options; o->name && !c->options->with; o++) {
        cJSON *value = (o->flags & FMP_OPT_REQUIRED) && !strchr(o->name, '.') ? made_up(o) : NULL;
        if (value) { cJSON_AddItemToObject(given, o->name, value); }
    }
    if (fmp_options_check(c->info->options, given, c->options->base_dir ? c->options->base_dir : "/", values,
                          &err) != FMP_OK) {
        snprintf(c->values_missing, sizeof c->values_missing,
                 "no valid option values (%.60s%s%.120s); give some with --with", err.option,
                 err.option[0] ? ": " : "", err.message);
    }
    c->values = *values;
    cJSON_Delete(given);
}

/* ---- processes ---- */

static void child_run(check_context *c, const check_test *test, int out)
{
    int null = open("/dev/null", O_RDWR);
    for (int number = 1; number < 32; number++) {
        signal(number, SIG_DFL);
    } /* the program's handlers are not for this child */
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        if (null > STDERR_FILENO) { close(null); }
    }
    c->result->verdict = FMP_CHECK_PASS;
    c->result->detail[0] = '\0';
    test->run(c);
    ssize_t n = write(out, c->result, sizeof *c->result);
    _exit(n == (ssize_t)sizeof *c->result ? 0 : 1);
}

/* The child's result, or what became of it. The pointers of the result are ours again afterwards. */
static void collect(pid_t child, int from, uint32_t timeout_s, fmp_check_result *result)
{
    fmp_check_result got;
    struct pollfd p = {.fd = from, .events = POLLIN};
    int state = 0;
    int ready = poll(&p, 1, (int)timeout_s * 1000);
    ssize_t n = ready > 0 ? read(from, &got, sizeof got) : 0;
    if (n != (ssize_t)sizeof got) { kill(child, SIGKILL); }
    while (waitpid(child, &state, 0) < 0 && errno == EINTR) {}
    if (n == (ssize_t)sizeof got) {
        result->verdict = got.verdict;
        memcpy(result->detail, got.detail, sizeof result->detail);
        return;
    }
    result->verdict = FMP_CHECK_FAIL;
    if (ready == 0) {
        snprintf(result->detail, sizeof result->detail, "no result after %u s", timeout_s);
    } else if (WIFSIGNALED(state) && WTERMSIG(state) != SIGKILL) {
        snprintf(result->detail, sizeof result->detail, "crashed (%s)", strsignal(WTERMSIG(state)));
    } else {
        snprintf(result->detail, sizeof result->detail, "ended the process (a plugin must not call exit)");
    }
}

static fmp_status run_test(check_context *c, const check_test *test, fmp_err *err)
{
    int ends[2];
    fmp_check_result *result = c->result;
    *result = (fmp_check_result){.stage = c->info->name, .test = test->name, .promise = test->promise};
    if (!(test->kinds & 1u << c->info->kind)) { return FMP_OK; }
    if (test->needs_values && !c->values) {
        result->verdict = FMP_CHECK_SKIP;
        snprintf(result->detail, sizeof result->detail, "%s", c->values_missing);
    } else {
        if (pipe2(ends, O_CLOEXEC) != 0) { return fmp_fail(err, FMP_E_IO, "pipe: %s", strerror(errno)); }
        pid_t child = fork();
        if (child < 0) { return fmp_fail(err, FMP_E_IO, "fork: %s", strerror(errno)); }
        if (child == 0) { child_run(c, test, ends[1]); }
        close(ends[1]);
        collect(child, ends[0], c->options->timeout_s ? c->options->timeout_s : TIMEOUT_SECONDS, result);
        close(ends[0]);
    }
    if (c->options->each) { c->options->each(c->options->arg, result); }
    return FMP_OK;
}

static fmp_status check_stage(const fmp_stage_info *info, const fmp_check_options *options, size_t *n_failed,
                              fmp_err *err)
{
    const check_test *const lists[] = {fmp_check_static_, fmp_check_life_, fmp_check_records_};
    fmp_check_result result;
    check_context c = {.options = options, .info = info, .result = &result};
    cJSON *values;
    fmp_status status = FMP_OK;
    find_values(&c, &values);
    for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++) {
        for (const check_test *t = lists[l]; t->name && status == FMP_OK; t++) {
            if (options->test && strcmp(options->test, t->name) != 0) { continue; }
            status = run_test(&c, t, err);
            *n_failed += status == FMP_OK && result.verdict == FMP_CHECK_FAIL;
        }
    }
    cJSON_Delete(values);
    return status;
}

static bool test_exists(const char *name)
{
    const check_test *const lists[] = {fmp_check_static_, fmp_check_life_, fmp_check_records_};
    for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++) {
        for (const check_test *t = lists[l]; t->name; t++) {
            if (strcmp(t->name, name) == 0) { return true; }
        }
    }
    return false;
}

fmp_status fmp_check_plugin(const char *path, const fmp_check_options *options, size_t *n_failed,
                            fmp_err *err)
{
    fmp_plugin_info *info = NULL;
    bool found = false;
    *n_failed = 0;
    if (options->test && !test_exists(options->test)) {
        return fmp_fail(err, FMP_E_USAGE, "there is no test '%s'", options->test);
    }
    FMP_TRY(fmp_plugin_read(path, &info, err));
    fmp_status status = FMP_OK;
    for (size_t i = 0; i < info->n_stages && status == FMP_OK; i++) {
        if (options->stage && strcmp(options->stage, info->stages[i].name) != 0) { continue; }
        found = true;
        status = check_stage(&info->stages[i], options, n_failed, err);
    }
    if (status == FMP_OK && !found) {
        status = fmp_fail(err, FMP_E_USAGE, "plugin '%s' has no stage '%s'", path, options->stage);
    }
    fmp_plugin_info_free(info);
    return status;
}
