/*
 * The host side of plugin.h's extensions: tables of functions over one instance's fmp_services, and the
 * regex service. fmp_host is the first member of the real object, so that an extension gets from the public
 * struct to its services.
 */
#include "host.h"

#include <fmpipe/fs.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <pthread.h>
#include <stdlib.h>

typedef struct host_object {
    fmp_host base;
    const fmp_services *services;
    fmp_ext_log log;
    fmp_ext_rng rng;
    fmp_ext_regex regex;
    fmp_ext_parallel parallel;
    fmp_ext_progress progress;
    fmp_ext_metrics metrics;
    fmp_ext_cancel cancel;
} host_object;

static const fmp_services *services_of(const fmp_host *host)
{
    return ((const host_object *)host)->services;
}

/* --------------------------------------------------------------------------------------------- small ones */

FMP_PRINTF(3, 4) static void host_log(const fmp_host *host, fmp_log_level level, const char *fmt, ...)
{
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    int need = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fmp_err_clip_(text, sizeof text, need);
    const fmp_services *s = services_of(host);
    if (s->log) { s->log(s->arg, level, text); }
}

static uint64_t host_u64(const fmp_host *host, uint64_t stream, uint64_t index)
{
    return fmp_rng_u64(services_of(host)->seed, stream, index);
}

static double host_unit(const fmp_host *host, uint64_t stream, uint64_t index)
{
    return fmp_rng_unit(services_of(host)->seed, stream, index);
}

static uint64_t host_below(const fmp_host *host, uint64_t stream, uint64_t index, uint64_t n)
{
    return fmp_rng_below(services_of(host)->seed, stream, index, n);
}

static uint32_t host_n_threads(const fmp_host *host)
{
    const fmp_services *s = services_of(host);
    return s->n_threads ? s->n_threads(s->arg) : 1;
}

static void host_for_each(const fmp_host *host, size_t n, void (*fn)(void *arg, size_t i), void *arg)
{
    const fmp_services *s = services_of(host);
    if (s->for_each) {
        s->for_each(s->arg, n, fn, arg);
    } else {
        for (size_t i = 0; i < n; i++) {
            fn(arg, i);
        }
    }
}

static void host_progress(const fmp_host *host, uint64_t done, uint64_t total, const char *unit,
                          const char *text)
{
    const fmp_services *s = services_of(host);
    if (s->progress) { s->progress(s->arg, done, total, unit, text); }
}

static void host_count(const fmp_host *host, const char *name, int64_t n)
{
    const fmp_services *s = services_of(host);
    if (s->count) { s->count(s->arg, name, n); }
}

static void host_fact(const fmp_host *host, const char *name, cJSON *value)
{
    const fmp_services *s = services_of(host);
    if (s->fact) {
        s->fact(s->arg, name, value);
    } else {
        cJSON_Delete(value);
    }
}

static void host_point(const fmp_host *host, const char *series, uint64_t step, double value)
{
    const fmp_services *s = services_of(host);
    if (s->point) { s->point(s->arg, series, step, value); }
}

FMP_PRINTF(2, 3) static void host_summary(const fmp_host *host, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    int need = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fmp_err_clip_(text, sizeof text, need);
    const fmp_services *s = services_of(host);
    if (s->summary) { s->summary(s->arg, text); }
}

static bool host_cancelled(const fmp_host *host)
{
    const fmp_services *s = services_of(host);
    return s->cancelled && s->cancelled(s->arg);
}

/* ---------------------------------------------------------------------------------------------- regex */

enum {
    MATCH_LIMIT = 100000,
    DEPTH_LIMIT = 10000,
    HEAP_LIMIT_KIB = 65536,
    MAX_PATTERN = 4096,
    JIT_STACK = 1 << 20
};

struct fmp_regex {
    pcre2_code *code;
    uint32_t n_groups; /* with the whole match */
    bool jit;
};

/* What one thread needs to match; grown to the largest pattern it has met, freed when the thread ends. */
typedef struct match_scratch {
    pcre2_match_data *data;
    uint32_t n_groups;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
} match_scratch;

static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;

static void free_scratch(void *p)
{
    match_scratch *s = p;
    pcre2_match_data_free(s->data);
    pcre2_match_context_free(s->context);
    pcre2_jit_stack_free(s->stack);
    free(s);
}

static void make_scratch_key(void)
{
    if (pthread_key_create(&scratch_key, free_scratch) != 0) { abort(); }
}

static match_scratch *thread_scratch(uint32_t n_groups)
{
    pthread_once(&scratch_once, make_scratch_key);
    match_scratch *s = pthread_getspecific(scratch_key);
    if (!s) {
        s = calloc(1, sizeof *s);
        if (!s) { return NULL; }
        s->context = pcre2_match_context_create(NULL);
        s->stack = pcre2_jit_stack_create(32 * 1024, JIT_STACK, NULL);
        if (!s->context || !s->stack || pthread_setspecific(scratch_key, s) != 0) {
            free_scratch(s);
            return NULL;
        }
        pcre2_set_match_limit(s->context, MATCH_LIMIT);
        pcre2_set_depth_limit(s->context, DEPTH_LIMIT);
        pcre2_set_heap_limit(s->context, HEAP_LIMIT_KIB);
        pcre2_jit_stack_assign(s->context, NULL, s->stack);
    }
    if (s->n_groups < n_groups) {
        pcre2_match_data_free(s->data);
        s->data = pcre2_match_data_create(n_groups, NULL);
        s->n_groups = s->data ? n_groups : 0;
    }
    return s->data ? s : NULL;
}

static void regex_free(fmp_regex *regex)
{
    if (regex) { pcre2_code_free(regex->code); }
    free(regex);
}

static fmp_status regex_compile(const fmp_host *host, const char *pattern, bool ignore_case, fmp_regex **out,
                                fmp_err *err)
{
    (void)host;
    size_t len = strlen(pattern), at = 0;
    int code = 0;
    if (len > MAX_PATTERN) {
        return fmp_fail(err, FMP_E_CONFIG, "a pattern may have %d bytes, found %zu", MAX_PATTERN, len);
    }
    fmp_regex *r = calloc(1, sizeof *r);
    if (!r) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    uint32_t flags = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | (ignore_case ? PCRE2_CASELESS : 0);
    r->code = pcre2_compile((PCRE2_SPTR)pattern, len, flags, &code, &at, NULL);
    if (!r->code) {
        unsigned char text[160];
        pcre2_get_error_message(code, text, sizeof text);
        free(r);
        fmp_fail(err, FMP_E_CONFIG, "the pattern is not valid at byte %zu: %s", at, (const char *)text);
        return fmp_err_at(err, NULL, 0, 0, at);
    }
    pcre2_pattern_info(r->code, PCRE2_INFO_CAPTURECOUNT, &r->n_groups);
    r->n_groups++;
    r->jit = pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE) ==
             0; /* absent on some machines: the interpreter serves */
    *out = r;
    return FMP_OK;
}

static fmp_status regex_match(const fmp_regex *r, const char *text, size_t len, size_t from,
                              fmp_regex_group *groups, size_t *n_groups, fmp_err *err)
{
    match_scratch *s = thread_scratch(r->n_groups);
    size_t room = *n_groups;
    *n_groups = 0;
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    /* Documents are checked UTF-8; `from` is a character bound because it comes from a match or a
     * plugin's own walk. */
    int rc = pcre2_match(r->code, (PCRE2_SPTR)text, len, from, PCRE2_NO_UTF_CHECK, s->data, s->context);
    if (rc == PCRE2_ERROR_NOMATCH) { return FMP_OK; }
    if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT || rc == PCRE2_ERROR_HEAPLIMIT ||
        rc == PCRE2_ERROR_JIT_STACKLIMIT) {
        return fmp_fail(err, FMP_E_RANGE,
                        "the pattern gave up on a text of %zu bytes: it backtracks too much (limit %d)", len,
                        MATCH_LIMIT);
    }
    if (rc < 0) { return fmp_fail(err, FMP_E_INTERNAL, "PCRE2 failed with code %d", rc); }
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(s->data);
    size_t n = (size_t)rc < room ? (size_t)rc : room;
    for (size_t i = 0; i < n; i++) {
        groups[i].begin = at[2 * i];
        groups[i].end = at[2 * i + 1];
    }
    *n_groups = n;
    return FMP_OK;
}

/* --------------------------------------------------------------------------------------------- the object */

static const void *get_extension(const fmp_host *host, const char *name)
{
    const host_object *h = (const host_object *)host;
    const struct {
        const char *name;
        const void *table;
    } offered[] = {{FMP_EXT_LOG, &h->log},           {FMP_EXT_RNG, &h->rng},
                   {FMP_EXT_REGEX, &h->regex},       {FMP_EXT_PARALLEL, &h->parallel},
                   {FMP_EXT_PROGRESS, &h->progress}, {FMP_EXT_METRICS, &h->metrics},
                   {FMP_EXT_CANCEL, &h->cancel},     {FMP_EXT_RECORDS, h->services->records},
                   {FMP_EXT_RUN, h->services->run}};
    for (size_t i = 0; i < sizeof offered / sizeof offered[0]; i++) {
        if (strcmp(offered[i].name, name) == 0) { return offered[i].table; }
    }
    return NULL;
}

fmp_status fmp_host_new(const fmp_services *services, fmp_host **out, fmp_err *err)
{
    host_object *h = calloc(1, sizeof *h);
    if (!h) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    h->base = (fmp_host){.struct_size = (uint32_t)sizeof h->base,
                         .abi_major = FMP_ABI_MAJOR,
                         .abi_minor = FMP_ABI_MINOR,
                         .version = FMP_VERSION,
                         .impl = h,
                         .get_extension = get_extension};
    h->services = services;
    h->log = (fmp_ext_log){(uint32_t)sizeof h->log, host_log};
    h->rng = (fmp_ext_rng){(uint32_t)sizeof h->rng, host_u64, host_unit, host_below};
    h->regex = (fmp_ext_regex){(uint32_t)sizeof h->regex, regex_compile, regex_free, regex_match};
    h->parallel = (fmp_ext_parallel){(uint32_t)sizeof h->parallel, host_n_threads, host_for_each};
    h->progress = (fmp_ext_progress){(uint32_t)sizeof h->progress, host_progress};
    h->metrics =
        (fmp_ext_metrics){(uint32_t)sizeof h->metrics, host_count, host_fact, host_point, host_summary};
    h->cancel = (fmp_ext_cancel){(uint32_t)sizeof h->cancel, host_cancelled};
    *out = &h->base;
    return FMP_OK;
}

void fmp_host_free(fmp_host *host)
{
    free(host);
}
