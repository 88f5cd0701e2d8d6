/*
 * json.h: strict JSON text to and from cJSON trees.
 *
 * The tree type is cJSON's, so transform authors use the library they know; reading and writing are fmpipe's,
 * because cJSON keeps no positions, accepts invalid UTF-8 and duplicate keys, and rewrites numbers.
 * Reading is RFC 8259 exactly, plus limits. A number whose text cJSON would not print back byte for byte becomes a
 * cJSON_Raw node holding that text. "\u0000" is refused: a cJSON string cannot carry it.
 *
 * Where nodes live: in the calling thread's JSON scope (an arena) if one is set, else on the heap. cJSON's own
 * allocation hooks follow the same rule, so cJSON_Duplicate, cJSON_Create* and cJSON_Delete work on both kinds.
 */
#ifndef FMPIPE_JSON_H
#define FMPIPE_JSON_H

#include <cjson/cJSON.h>
#include <fmpipe/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fmp_json_limits {
    size_t max_bytes;     /* 0: 64 MiB                                    */
    uint32_t max_depth;   /* 0: 64                                        */
    bool allow_duplicates;/* false: a key that occurs twice is an error   */
} fmp_json_limits;

/*
 * fmp_json_scope: from now on this thread's JSON nodes come from `arena`; NULL: from the heap again.
 * Returns the scope that was in force, to be restored. Install the hooks once per process before any thread starts.
 */
fmp_arena *fmp_json_scope(fmp_arena *arena);
void fmp_json_install_hooks(void);

/*
 * fmp_json_parse: one JSON text, nothing but white space after it.
 *   text (len)  borrowed, need not be terminated      out   returned in the scope (heap: free with cJSON_Delete)
 *   limits      NULL: the defaults above
 * Errors   FMP_E_DATA with offset, line and column (of `text`), expected and found; FMP_E_RANGE beyond a limit.
 */
FMP_MUST_USE fmp_status fmp_json_parse(const char *text, size_t len, const fmp_json_limits *limits, cJSON **out,
                                       fmp_err *err);
/* The same for a whole file; errors carry the path. */
FMP_MUST_USE fmp_status fmp_json_load(const char *path, const fmp_json_limits *limits, cJSON **out, fmp_err *err);

typedef enum fmp_json_style {
    FMP_JSON_COMPACT = 0, /* {"a":1,"b":[2,3]}                                                     */
    FMP_JSON_SPACED = 1,  /* {"a": 1, "b": [2, 3]}                                                 */
    FMP_JSON_PRETTY = 2,  /* two-space indent, one member a line                                   */
    FMP_JSON_SORTED = 4   /* flag: object keys in byte order                                       */
} fmp_json_style;

/* Append the text of `node` to `out`; non-ASCII is kept as UTF-8. style: one fmp_json_style, or'ed with SORTED. */
void fmp_json_print(const cJSON *node, unsigned style, fmp_buf *out);
/* The same as a fresh heap string, or NULL when out of memory.                        returned; free() */
char *fmp_json_text(const cJSON *node, unsigned style);

/* Byte offset in `text` (valid JSON) of the value at `path`, as "messages[3].tool_calls[0].function". */
FMP_MUST_USE bool fmp_json_locate(const char *text, size_t len, const char *path, size_t *offset);

/* Deep equality of values: keys in any order, numbers by value (1 equals 1.0), strings by bytes. */
bool fmp_json_equal(const cJSON *a, const cJSON *b);

/* Case-sensitive member, or NULL; and typed short cuts that return a fallback when absent or of another type. */
const cJSON *fmp_json_get(const cJSON *object, const char *key);
const char *fmp_json_str(const cJSON *object, const char *key, const char *fallback);
double fmp_json_num(const cJSON *object, const char *key, double fallback);
bool fmp_json_bool(const cJSON *object, const char *key, bool fallback);
/*
 * The number a node holds, whether cJSON_Number or a numeric cJSON_Raw; false if it is not a number. The nearest double:
 * infinite for a text such as 1e400.
 */
bool fmp_json_number(const cJSON *node, double *out);

/* First byte of the first invalid UTF-8 sequence in text[0..len), or len if all is valid (RFC 3629, no surrogates). */
size_t fmp_utf8_invalid_at(const char *text, size_t len);

#ifdef __cplusplus
}
#endif
#endif
