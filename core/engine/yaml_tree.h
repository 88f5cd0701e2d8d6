/*
 * yaml_tree.h: YAML text to a small tree whose every node knows where it was written.
 *
 * The subset that fmpipe reads: one document; maps with string keys; lists; scalars typed by the YAML 1.2
 * core schema (true, 12, 0x1F, 0o17, 1e-3, .inf, ~ and nothing else: `no`, `on`, `12:30` are strings).
 * Tags, anchors, aliases, merge keys (<<), duplicate keys and several documents are errors that say so.
 * JSON text is YAML too. Limits: 4 MiB, 64 levels, 100,000 nodes.
 */
#ifndef FMP_ENGINE_YAML_TREE_H
#define FMP_ENGINE_YAML_TREE_H

#include "pipeline.h"

typedef enum fmp_yaml_kind {
    FMP_YAML_NULL,
    FMP_YAML_BOOL,
    FMP_YAML_INT,
    FMP_YAML_FLOAT,
    FMP_YAML_STRING,
    FMP_YAML_LIST,
    FMP_YAML_MAP
} fmp_yaml_kind;

/* Nodes are borrowed from the arena they were read into. A list has `items`; a map has `keys` beside them. */
typedef struct fmp_yaml {
    fmp_yaml_kind kind;
    bool plain;       /* a scalar written without quotes                                                  */
    bool verbatim;    /* from a command line: where a string is wanted it is `text`, whatever its kind      */
    bool failed;      /* a problem of it is reported already: nobody checks it further                    */
    bool truth;       /* BOOL                                                                             */
    double number;    /* INT and FLOAT; may be infinite or NaN                                            */
    const char *text; /* scalars: the text, quotes and escapes resolved. INT: also in `digits`              */
    const char *digits; /* INT: canonical decimal, as JSON writes it                                        */
    size_t n;
    struct fmp_yaml **items, **keys;
    fmp_mark mark;
    const char *dir; /* folder that a path written here is relative to; NULL: none                         */
} fmp_yaml;

/*
 * fmp_yaml_parse: one document.
 *   text (len)   borrowed        file, dir   borrowed until `arena` ends: for marks and for relative paths
 *   out          in `arena`; NULL after a syntax error
 * Every problem goes to `diags`; the status is FMP_E_CONFIG if there was one.
 */
FMP_MUST_USE fmp_status fmp_yaml_parse(const char *text, size_t len, const char *file, const char *dir,
                                       fmp_arena *arena, fmp_yaml **out, fmp_diags *diags, fmp_err *err);

/* A plain scalar of `text`, typed by the core schema; INTs beyond 64 bits hexadecimal or octal become
 * strings. */
fmp_yaml *fmp_yaml_scalar(fmp_arena *arena, const char *text, const fmp_mark *mark, const char *dir);
fmp_yaml *fmp_yaml_string(fmp_arena *arena, const char *text, const fmp_mark *mark, const char *dir);
/* An empty map at `mark`. */
fmp_yaml *fmp_yaml_map(fmp_arena *arena, const fmp_mark *mark, const char *dir);
/* Value of `key` in a map, or NULL (also when `map` is NULL or no map). */
fmp_yaml *fmp_yaml_get(const fmp_yaml *map, const char *key);
/* Replace the value of `key`, or add it at the end; `at` gives the mark of a new key. */
void fmp_yaml_put(fmp_arena *arena, fmp_yaml *map, const char *key, fmp_yaml *value, const fmp_mark *at);

/* JSON form: in the thread's JSON scope, else heap. FMP_E_CONFIG for .inf and .nan, which JSON cannot
 * hold. */
FMP_MUST_USE fmp_status fmp_yaml_to_json(const fmp_yaml *node, cJSON **out, fmp_err *err);
/* cJSON tree as nodes without marks, so that JSON values meet the same checks. NULL: nested too deeply. */
fmp_yaml *fmp_yaml_from_json(fmp_arena *arena, const cJSON *json, const char *dir);

/* "the string 'abc'", "the integer 5", "a list": for "found ...". Texts are cut at 40 bytes. `out`: 96
 * bytes. */
const char *fmp_yaml_describe(const fmp_yaml *node, char out[96]);

/* Add an error at `mark` to `diags`. */
FMP_PRINTF(3, 4) void fmp_diags_error(fmp_diags *diags, const fmp_mark *mark, const char *fmt, ...);
/* Set the hint, or the option path, of the diagnostic that was added last. */
FMP_PRINTF(2, 3) void fmp_diags_hint(fmp_diags *diags, const char *fmt, ...);
void fmp_diags_option(fmp_diags *diags, const char *option);

#endif
