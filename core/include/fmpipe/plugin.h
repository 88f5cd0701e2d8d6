/*
 * plugin.h: the fmpipe plugin ABI, version 1. The one header a data transform needs, with cJSON and libc.
 *
 * A plugin is a shared object with one visible symbol, fmp_plugin_v1 (FMP_PLUGIN_ENTRY), which returns a static
 * const descriptor. It links nothing of fmpipe: the host's services come as tables of functions.
 *
 * Life of a stage instance, and the thread each call comes on:
 *
 *     create -> configure -> start -> [ process | decode | encode ]* -> finish -> destroy      (records)
 *     create -> configure -> run -> destroy                                                    (gather, task)
 *
 *   create, configure, start, fetch, finish, run, destroy   one thread at a time, never two at once
 *   process, decode, encode                                 any number of threads at once on the same instance:
 *                                                           after `start` treat `self` as read-only, or keep scratch
 *                                                           per call->worker
 * A call that fails is followed only by destroy.
 *
 * Ownership words, only these: *borrowed* (valid during the call), *taken* (the host frees it, also on failure),
 * *returned in the batch's arena* (valid until the batch ends; never freed by the plugin). cJSON nodes that a plugin
 * makes inside process/decode/encode are made in the batch's arena: give them to the host or forget them, and keep
 * none of them for a later call.
 *
 * Versioning: every struct begins with its size and only grows at the end. Test a member that is newer than minor 0
 * with FMP_HAS(). Arrays of structs end with an element whose `name` is NULL; their stride is in the descriptor.
 */
#ifndef FMPIPE_PLUGIN_H
#define FMPIPE_PLUGIN_H

#include <cjson/cJSON.h>
#include <fmpipe/err.h>
#include <inttypes.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FMP_ABI_MAJOR 1
#define FMP_ABI_MINOR 0

/* True if the struct at `p` is large enough to hold `member`. */
#define FMP_HAS(p, type, member)                                                                                       \
    ((p)->struct_size >= offsetof(type, member) + sizeof(((const type *)0)->member))

/* ------------------------------------------------------------------------------------------------ options */

typedef enum fmp_opt_type {
    FMP_OPT_BOOL = 1,
    FMP_OPT_INT = 2,    /* 64-bit; min and max apply                                                     */
    FMP_OPT_FLOAT = 3,  /* finite; min and max apply                                                     */
    FMP_OPT_STRING = 4, /* min and max: bytes                                                            */
    FMP_OPT_ENUM = 5,   /* one of `choices`                                                              */
    FMP_OPT_SIZE = 6,   /* bytes: 4096, 64KiB, 2GiB, 10MB                                                */
    FMP_OPT_PATH = 7,   /* one file or folder, relative to the pipeline file; its content counts         */
    FMP_OPT_PATHS = 8,  /* a glob or a list of globs; the files' contents count                          */
    FMP_OPT_LIST = 9,   /* list of strings; a single string is a list of one                             */
    FMP_OPT_TABLE = 10, /* list of maps, each checked by `items`                                         */
    FMP_OPT_MAP = 11,   /* map from string to scalar                                                     */
    FMP_OPT_JSON = 12   /* any value                                                                     */
} fmp_opt_type;

enum {
    FMP_OPT_REQUIRED = 1,  /* no default: leaving it out is an error                                           */
    FMP_OPT_COSMETIC = 2,  /* does not affect the output: not part of the cache key                            */
    FMP_OPT_OUTPUT = 4     /* PATH that the stage writes (need not exist; its content does not count)          */
};

/*
 * One option. This table alone gives validation, defaults, help, reference docs, the editors' JSON Schema, completion
 * and the cache key. A name with a dot ("augment.rename") is a member of a nested map in the pipeline file.
 */
typedef struct fmp_option {
    const char *name;
    fmp_opt_type type;
    uint32_t flags;
    const char *def;      /* default, as it would be written in the file ("32", "true", "[a, b]"); NULL: absent */
    const char *unit;     /* "tokens", "bytes", "fraction"; NULL: none                                        */
    double min, max;      /* inclusive; both 0: no range                                                      */
    const char *choices;  /* ENUM: "error|drop|split"                                                         */
    const char *help;     /* one or two sentences, ending in a full stop                                      */
    const struct fmp_option *items; /* TABLE: the options of one row, ended by a NULL name                    */
} fmp_option;

/* ------------------------------------------------------------------------------------------------ ports */

/* Artifact types; a connection between different ones is an error before anything runs. */
#define FMP_PORT_RECORDS "records"
#define FMP_PORT_TOKENS "tokens"
#define FMP_PORT_MODEL "model"
#define FMP_PORT_ADAPTER "adapter"
#define FMP_PORT_DRAFT "draft"
#define FMP_PORT_METRICS "metrics"
#define FMP_PORT_PACKAGE "package"
#define FMP_PORT_ANY "any" /* inputs only */

enum {
    FMP_PORT_OPTIONAL = 1, /* may stay unconnected             */
    FMP_PORT_MANY = 2      /* takes one or more connections    */
};

typedef struct fmp_port {
    const char *name; /* "records", "train", "model" ...; the first input is where the previous stage connects */
    const char *type; /* FMP_PORT_*                                                                       */
    uint32_t flags;
    const char *help;
} fmp_port;

/* ------------------------------------------------------------------------------------------------ host */

/*
 * What the host offers beyond this header's core: tables asked for by name, from create to destroy. NULL: this host
 * does not have it. A plugin may offer tables of its own through fmp_plugin.get_extension.
 */
typedef struct fmp_host {
    uint32_t struct_size;
    uint32_t abi_major, abi_minor;
    const char *version; /* of the program, for messages only */
    void *impl;
    const void *(*get_extension)(const struct fmp_host *host, const char *name);
} fmp_host;

/* Log lines: shown with -v, kept in the run's log always. Any thread, any time. */
#define FMP_EXT_LOG "fmp.log/1"
typedef enum fmp_log_level { FMP_LOG_DEBUG = 0, FMP_LOG_INFO = 1, FMP_LOG_WARNING = 2 } fmp_log_level;
typedef struct fmp_ext_log {
    uint32_t struct_size;
    FMP_PRINTF(3, 4) void (*log)(const fmp_host *host, fmp_log_level level, const char *fmt, ...);
} fmp_ext_log;

/* Random numbers as a function of (stage seed, stream, index): same for any thread and order. Any thread. */
#define FMP_EXT_RNG "fmp.rng/1"
typedef struct fmp_ext_rng {
    uint32_t struct_size;
    uint64_t (*u64)(const fmp_host *host, uint64_t stream, uint64_t index);
    double (*unit)(const fmp_host *host, uint64_t stream, uint64_t index);                 /* [0, 1)         */
    uint64_t (*below)(const fmp_host *host, uint64_t stream, uint64_t index, uint64_t n);  /* [0, n), n > 0  */
} fmp_ext_rng;

/*
 * PCRE2 patterns (UTF and UCP on), always with match, depth and heap limits. compile in configure or start; match on
 * any thread. FMP_E_RANGE from match: the subject hit a limit; reject the record with reason "regex_limit".
 */
#define FMP_EXT_REGEX "fmp.regex/1"
typedef struct fmp_regex fmp_regex;
typedef struct fmp_regex_group {
    size_t begin, end; /* byte offsets; both SIZE_MAX: the group took no part */
} fmp_regex_group;
typedef struct fmp_ext_regex {
    uint32_t struct_size;
    fmp_status (*compile)(const fmp_host *host, const char *pattern, bool ignore_case, fmp_regex **out, fmp_err *err);
    void (*free)(fmp_regex *regex);
    /* Search from byte `from`. *n_groups in: room in `groups`; out: groups set, 0 if there is no match. */
    fmp_status (*match)(const fmp_regex *regex, const char *text, size_t len, size_t from, fmp_regex_group *groups,
                        size_t *n_groups, fmp_err *err);
    /* Byte offset of the fault in the pattern that compile last refused is in err->offset. */
} fmp_ext_regex;

/* Work on all of the run's threads. Only from `run`, one call at a time; which thread runs which i must not matter. */
#define FMP_EXT_PARALLEL "fmp.parallel/1"
typedef struct fmp_ext_parallel {
    uint32_t struct_size;
    uint32_t (*n_threads)(const fmp_host *host);
    void (*for_each)(const fmp_host *host, size_t n, void (*fn)(void *arg, size_t i), void *arg);
} fmp_ext_parallel;

/* What a person sees while `run` works. total 0: unknown. `text` (may be NULL) is shown beside the bar; with done = 0 it
 * says what is about to be done and becomes a line of its own. */
#define FMP_EXT_PROGRESS "fmp.progress/1"
typedef struct fmp_ext_progress {
    uint32_t struct_size;
    void (*update)(const fmp_host *host, uint64_t done, uint64_t total, const char *unit, const char *text);
} fmp_ext_progress;

/*
 * Results about the work. Counters add up over records and threads ("detected", "rule.email"). Facts are values of the
 * finished stage (`value` taken). Series points go to metrics.jsonl. `summary` is the stage's one line.
 * count: any thread; the others: not from process, decode or encode.
 */
#define FMP_EXT_METRICS "fmp.metrics/1"
typedef struct fmp_ext_metrics {
    uint32_t struct_size;
    void (*count)(const fmp_host *host, const char *name, int64_t n);
    void (*fact)(const fmp_host *host, const char *name, cJSON *value);
    void (*point)(const fmp_host *host, const char *series, uint64_t step, double value);
    FMP_PRINTF(2, 3) void (*summary)(const fmp_host *host, const char *fmt, ...);
} fmp_ext_metrics;

/* True once a stop was asked for: finish the step, save what is resumable, return FMP_E_CANCELLED. Any thread. */
#define FMP_EXT_CANCEL "fmp.cancel/1"
typedef struct fmp_ext_cancel {
    uint32_t struct_size;
    bool (*requested)(const fmp_host *host);
} fmp_ext_cancel;

/* ------------------------------------------------------------------------------------------------ records */

/* Where a record came from. */
typedef struct fmp_origin {
    const char *file;  /* as the user wrote it; "" for generated records                    */
    uint64_t line;     /* 1-based; 0: not from a text file                                  */
    uint64_t offset;   /* bytes from the start of the (decompressed) file                   */
} fmp_origin;

/* One conversation. Everything borrowed. */
typedef struct fmp_record {
    uint32_t struct_size;
    char id[17];        /* 16 hex characters, stable: digest of source content and row      */
    fmp_origin origin;
    const cJSON *doc;   /* canonical conversation: messages, tools, response_format, locale, meta */
} fmp_record;

/* One more thing that is wrong with a refused record; members as in fmp_reject. This struct does not grow. */
typedef struct fmp_problem {
    const char *reason, *message, *path;
    uint32_t column;
} fmp_problem;

/* One row of a source that is not fit to be a record, or the record a stage refuses. All borrowed. */
typedef struct fmp_reject {
    uint32_t struct_size;
    const char *reason;  /* short stable word: "json_syntax", "role_order", "regex_limit"     */
    const char *message; /* expected, found                                                   */
    const char *path;    /* where in the document: "messages[3].role"; NULL: whole record     */
    /* sources only; zero elsewhere: */
    fmp_origin origin;
    uint32_t column;     /* 1-based bytes in the line; 0: unknown (the host derives it from `path` if it can) */
    const char *text;    /* the raw row                                                       */
    size_t text_len;
    /* any stage: what else is wrong, each shown at its own place; the record counts once. The host takes up to 32. */
    const fmp_problem *more;
    size_t n_more;
} fmp_reject;

/*
 * The host's side of one process, decode or encode call. `arena_take`: 16-byte aligned memory returned in the batch's
 * arena, NULL when out of memory.
 */
typedef struct fmp_call {
    uint32_t struct_size;
    uint32_t worker; /* 0 .. n_workers - 1: this call has the thread to itself under this number */
    void *impl;
    void *(*arena_take)(const struct fmp_call *call, size_t size_bytes);
    /* Give the host one output document. `doc` taken. From a source, say the row it came from. */
    fmp_status (*emit)(const struct fmp_call *call, cJSON *doc, fmp_err *err);
    fmp_status (*emit_row)(const struct fmp_call *call, cJSON *doc, const fmp_origin *origin, fmp_err *err);
    /* The input goes on unchanged, at no cost. Map stages only. */
    fmp_status (*pass)(const struct fmp_call *call, fmp_err *err);
    /* The record (or row) goes to rejected.jsonl; the stage's policy decides what then. Returns the status to return. */
    fmp_status (*reject)(const struct fmp_call *call, const fmp_reject *why, fmp_err *err);
    /* Bytes of the file that a sink writes. Sink stages only. */
    fmp_status (*write)(const struct fmp_call *call, const void *data, size_t len, fmp_err *err);
    void (*count)(const struct fmp_call *call, const char *name, int64_t n);
} fmp_call;

/* A piece of a source, cut at row bounds by fetch, decoded on any thread. Members after `len` are the plugin's own. */
typedef struct fmp_block {
    uint32_t struct_size;
    char *data;          /* set by fetch from host memory (capacity `cap`, grown with `grow`)                 */
    size_t len, cap;
    const char *file;    /* as the user wrote it; must stay valid until destroy; NULL: generated              */
    uint64_t first_line; /* 1-based line of data[0]                                                           */
    uint64_t first_row;  /* 0-based index of the first row, for generated records                             */
    uint64_t n_rows;     /* for generated records; 0: the rows are in `data`                                  */
    uint64_t offset;     /* byte offset of data[0] in the decompressed file                                   */
    char *(*grow)(struct fmp_block *block, size_t cap); /* NULL: out of memory                                */
} fmp_block;

/* ------------------------------------------------------------------------------------------------ gather, task */

typedef struct fmp_input {
    uint32_t struct_size;
    const char *port;
    const char *type;
    const char *stage;   /* id of the producing stage, or "base"                             */
    const char *path;    /* the artifact's folder, read-only                                 */
    const char *digest;  /* SHA-256 of its content, 64 hex characters                        */
    const cJSON *facts;  /* what the producing stage said about it; may be an empty object   */
} fmp_input;

typedef struct fmp_output {
    uint32_t struct_size;
    const char *port;
    const char *type;
    const char *path;    /* an empty folder to fill; published by the host after run succeeds. records: use fmp.records */
} fmp_output;

typedef struct fmp_task {
    uint32_t struct_size;
    const fmp_host *host;
    uint64_t seed;
    size_t n_inputs, n_outputs;
    const fmp_input *inputs;   /* connected ports only, in the port table's order             */
    const fmp_output *outputs; /* every output port, in the port table's order                */
    const char *work_dir;      /* private folder that survives a stop or a crash of this very action: checkpoints    */
    const char *pipeline_dir;
} fmp_task;

/* Records in and out of gather and task stages. Only from `run`, one thread at a time. */
#define FMP_EXT_RECORDS "fmp.records/1"
typedef struct fmp_reader fmp_reader;
typedef struct fmp_ext_records {
    uint32_t struct_size;
    fmp_status (*open)(const fmp_task *task, const fmp_input *input, fmp_reader **out, fmp_err *err);
    /* Next records in order (parsed on all threads); valid until the next call or close. *n = 0: the end. */
    fmp_status (*next)(fmp_reader *reader, const fmp_record **records, size_t *n, fmp_err *err);
    void (*close)(fmp_reader *reader);
    /* Append to a records output: `record` as read (byte for byte), or with `doc` (borrowed) in its place if not NULL. */
    fmp_status (*emit)(const fmp_task *task, const fmp_output *output, const fmp_record *record, const cJSON *doc,
                       fmp_err *err);
    fmp_status (*reject)(const fmp_task *task, const fmp_record *record, const fmp_reject *why, fmp_err *err);
} fmp_ext_records;

/* The run so far, as its manifest will say it: stages, actions, counts, facts, machine.       borrowed until run ends */
#define FMP_EXT_RUN "fmp.run/1"
typedef struct fmp_ext_run {
    uint32_t struct_size;
    const cJSON *(*manifest)(const fmp_task *task);
    const char *(*run_dir)(const fmp_task *task);
} fmp_ext_run;

/*
 * Offered by a plugin (its get_extension) whose stages are FMP_STAGE_NUMERIC: one line that names everything outside its
 * own bytes that decides the last bit of its results ("oneDNN 2.6.3 avx512_core_bf16"). It joins the cache key.
 */
#define FMP_EXT_NUMERIC_ENV "fmp.numeric_env/1"
typedef struct fmp_ext_numeric_env {
    uint32_t struct_size;
    fmp_status (*describe)(char *line, size_t size, fmp_err *err);
} fmp_ext_numeric_env;

/* ------------------------------------------------------------------------------------------------ descriptor */

typedef enum fmp_stage_kind {
    FMP_SOURCE = 1, /* fetch + decode: makes records                                               */
    FMP_MAP = 2,    /* process: record -> 0..n records; pure, parallel, order kept                 */
    FMP_SINK = 3,   /* encode: record -> bytes of one file, in order                               */
    FMP_GATHER = 4, /* run: needs all records at once                                              */
    FMP_TASK = 5    /* run: artifact -> artifact                                                   */
} fmp_stage_kind;

enum {
    FMP_STAGE_NUMERIC = 1 /* the result depends on CPU kind and numeric libraries: they join the cache key */
};

typedef struct fmp_stage {
    uint32_t struct_size;
    const char *name;    /* "team.verb": lower case, digits, '_', one dot or more                       */
    uint32_t version;    /* of the implementation; part of the cache key                                */
    fmp_stage_kind kind;
    uint32_t flags;
    const char *summary; /* one line */
    const fmp_port *inputs;     /* ended by a NULL name; NULL: none       */
    const fmp_port *outputs;
    const fmp_option *options;  /* ended by a NULL name; NULL: none       */

    /* A fresh instance. *self is destroyed even when this fails after setting it. */
    fmp_status (*create)(const fmp_host *host, void **self, fmp_err *err);
    /*
     * `values`: every option of the table, checked and with defaults applied, nested as in the file; absent ones are
     * missing; paths absolute. Borrowed until destroy. Point err->option at what is wrong.
     * Before a run the host tries this on an instance that it destroys at once: nothing but looking at options here.
     */
    fmp_status (*configure)(void *self, const cJSON *values, fmp_err *err);
    /* Optional. Before the first record; n_workers bounds call->worker. */
    fmp_status (*start)(void *self, uint32_t n_workers, fmp_err *err);
    /* SOURCE: fill `block`; *more = false when this block was the last (it may be empty). */
    fmp_status (*fetch)(void *self, fmp_block *block, bool *more, fmp_err *err);
    fmp_status (*decode)(void *self, const fmp_block *block, const fmp_call *call, fmp_err *err);
    /* MAP: call emit, pass or reject any number of times; calling none drops the record, which is counted. */
    fmp_status (*process)(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err);
    /* SINK: call write with the record's bytes. `file_name` of the artifact comes from file_name(). */
    fmp_status (*encode)(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err);
    const char *(*file_name)(void *self);
    /* Optional. After the last record of a segment: facts and summary. Not reached after an error. */
    fmp_status (*finish)(void *self, fmp_err *err);
    /* GATHER, TASK. Not resumable work leaves nothing behind; resumable work keeps its state in task->work_dir. */
    fmp_status (*run)(void *self, const fmp_task *task, fmp_err *err);
    void (*destroy)(void *self);
} fmp_stage;

typedef struct fmp_plugin {
    uint32_t struct_size;
    uint32_t abi_major;
    uint32_t abi_minor_needed; /* lowest host minor this plugin works with, by its author's word (not the header's)  */
    uint64_t layout;           /* FMP_LAYOUT                                                       */
    const char *name;          /* of the plugin: "team-transforms"                                 */
    const char *version;
    const char *license;       /* SPDX                                                             */
    uint32_t option_size, port_size; /* strides of the tables below                                */
    const fmp_stage *const *stages;  /* ended by NULL                                              */
    const void *(*get_extension)(const char *name); /* may be NULL */
} fmp_plugin;

/* Sizes of what crosses the boundary, folded to one number: a header and a host that disagree are told apart. */
#define FMP_LAYOUT                                                                                                     \
    ((uint64_t)sizeof(fmp_err) * 1000003u ^ (uint64_t)sizeof(fmp_option) * 10007u ^ (uint64_t)sizeof(fmp_port) * 5003u \
     ^ (uint64_t)offsetof(fmp_stage, destroy) * 2003u ^ (uint64_t)sizeof(cJSON) * 1009u                                \
     ^ (uint64_t)offsetof(fmp_plugin, get_extension))

#define FMP_PLUGIN_SYMBOL "fmp_plugin_v1"
typedef const fmp_plugin *(*fmp_plugin_fn)(void);

/* The plugin's one visible function: FMP_PLUGIN_ENTRY(&my_plugin) at the end of one source file. */
#define FMP_PLUGIN_ENTRY(descriptor)                                                                                   \
    FMP_EXPORT const fmp_plugin *fmp_plugin_v1(void);                                                                  \
    const fmp_plugin *fmp_plugin_v1(void) { return (descriptor); }
#define FMP_EXPORT __attribute__((visibility("default")))

/* Descriptor fields that are the same for everybody. */
#define FMP_PLUGIN_HEADER(minor_needed)                                                                                \
    .struct_size = (uint32_t)sizeof(fmp_plugin), .abi_major = FMP_ABI_MAJOR, .abi_minor_needed = (minor_needed),       \
    .layout = FMP_LAYOUT, .option_size = (uint32_t)sizeof(fmp_option), .port_size = (uint32_t)sizeof(fmp_port)
#define FMP_STAGE_HEADER .struct_size = (uint32_t)sizeof(fmp_stage)

/* ------------------------------------------------------------------------------------------------ conveniences */

/* Member of an object, case-sensitive; dotted path ("augment.rename") for nested option values. NULL: absent. */
FMP_UNUSED_FN static const cJSON *fmp_value(const cJSON *values, const char *path)
{
    const cJSON *node = values;
    while (node && *path) {
        char key[128];
        size_t n = strcspn(path, ".");
        if (n == 0 || n >= sizeof key) { return NULL; }
        memcpy(key, path, n);
        key[n] = '\0';
        node = cJSON_GetObjectItemCaseSensitive(node, key);
        path += n + (path[n] == '.');
    }
    return node;
}

/* Typed reads of checked values; absent gives 0, 0.0, false or NULL. */
FMP_UNUSED_FN static int64_t fmp_value_int(const cJSON *values, const char *path)
{
    const cJSON *node = fmp_value(values, path);
    if (cJSON_IsRaw(node) && node->valuestring) { /* beyond 2^53 */
        int64_t v = 0;
        return sscanf(node->valuestring, "%" SCNd64, &v) == 1 ? v : 0;
    }
    return cJSON_IsNumber(node) ? (int64_t)node->valuedouble : 0;
}

FMP_UNUSED_FN static double fmp_value_num(const cJSON *values, const char *path)
{
    const cJSON *node = fmp_value(values, path);
    if (cJSON_IsRaw(node) && node->valuestring) { /* a number kept as its text */
        double v = 0.0;
        return sscanf(node->valuestring, "%lf", &v) == 1 ? v : 0.0;
    }
    return cJSON_IsNumber(node) ? node->valuedouble : 0.0;
}

FMP_UNUSED_FN static bool fmp_value_bool(const cJSON *values, const char *path)
{
    return cJSON_IsTrue(fmp_value(values, path));
}

FMP_UNUSED_FN static const char *fmp_value_str(const cJSON *values, const char *path)
{
    const cJSON *node = fmp_value(values, path);
    return cJSON_IsString(node) ? node->valuestring : NULL;
}

/* reject in one line; returns what process should return. */
FMP_UNUSED_FN static fmp_status fmp_reject_record(const fmp_call *call, const char *reason, const char *path,
                                                  const char *message, fmp_err *err)
{
    fmp_reject why;
    memset(&why, 0, sizeof why);
    why.struct_size = (uint32_t)sizeof why;
    why.reason = reason;
    why.path = path;
    why.message = message;
    return call->reject(call, &why, err);
}

#ifdef __cplusplus
}
#endif
#endif
