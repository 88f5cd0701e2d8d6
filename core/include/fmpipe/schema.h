/*
 * schema.h: JSON Schema, what guided generation makes of it, and tool calls: parsing them out of generated text and
 * comparing them with what was expected.
 *
 * JSON values are cJSON trees as json.h makes them; nodes returned here live where json.h says (the thread's JSON
 * scope, else the heap). Programs that use JSON scopes call fmp_json_install_hooks() first.
 */
#ifndef FMPIPE_SCHEMA_H
#define FMPIPE_SCHEMA_H

#include <fmpipe/json.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------ validation */

/* A compiled schema; immutable, for any number of threads. */
typedef struct fmp_schema fmp_schema;

typedef enum fmp_schema_draft {
    FMP_SCHEMA_AUTO = 0, /* by "$schema"; without one, the keywords of all drafts                         */
    FMP_SCHEMA_DRAFT7 = 7,   /* also for 4 and 6: what stands beside "$ref" is ignored                    */
    FMP_SCHEMA_2020_12 = 2020
} fmp_schema_draft;

typedef struct fmp_schema_options {
    fmp_schema_draft draft;
    bool assert_formats; /* "format" rejects: date, time, date-time, email, uuid, uri, ipv4, ipv6,
                            hostname (RFC 1123; the Unicode behind "xn--" is not looked at); others never    */
} fmp_schema_options;

/*
 * fmp_schema_compile: check a schema and make it fast to apply.
 *   schema   borrowed; copied, so it may go away       options   NULL: all zero
 *   out      returned; fmp_schema_free
 * Errors   FMP_E_DATA: a keyword with a wrong value, a "$ref" to nothing, a pattern that does not compile; the message
 *          has the place in the schema ("#/properties/age/minimum"). FMP_E_UNSUPPORTED, by name: a "$ref" to another
 *          document, "$dynamicRef", "$recursiveRef", "unevaluatedItems", "unevaluatedProperties". FMP_E_RANGE: nested
 *          deeper than 128.
 * Cost     O(size of the schema); ~0.1 ms for a typical tool.
 * Source   JSON Schema draft-07 and 2020-12, core and validation. "pattern" is PCRE2 with ECMA 262's reading of \d, \w, $, \u.
 */
FMP_MUST_USE fmp_status fmp_schema_compile(const cJSON *schema, const fmp_schema_options *options, fmp_schema **out,
                                           fmp_err *err);
void fmp_schema_free(fmp_schema *schema);

/* The first thing found wrong with a value. Always terminated; long texts end in "...". */
typedef struct fmp_schema_fault {
    char instance[256]; /* where in the value: "rooms[2].name"; "" the value itself      */
    char schema[256];   /* the keyword that it breaks: "#/properties/rooms/items/required" */
    char expected[256]; /* "an integer", "one of \"a\", \"b\"", "at most 3 items"          */
    char found[128];    /* "a string", "\"c\"", "5 items"                                 */
} fmp_schema_fault;

/*
 * fmp_schema_validate: does `value` hold under the schema?
 *   value   borrowed         fault   filled when *valid is false; NULL: not wanted
 * Errors   FMP_E_RANGE: the work limit (4 million keyword checks), the depth limit (512) or a pattern's match limit
 *          was reached, so nothing is known about the value.
 * When     any thread.
 */
FMP_MUST_USE fmp_status fmp_schema_validate(const fmp_schema *schema, const cJSON *value, bool *valid,
                                            fmp_schema_fault *fault, fmp_err *err);

/* ------------------------------------------------------------------------------------------------ guided generation */

/*
 * fmp_schema_canonical: the schema as a model is shown it: in every schema object type, description, enum, items,
 * properties, required, additionalProperties, $defs, anyOf, then the rest as it stood; properties in the order that
 * "x-order" lists, then the rest. Print it with FMP_JSON_SPACED.
 *   schema   borrowed        out   returned (a copy)
 */
FMP_MUST_USE fmp_status fmp_schema_canonical(const cJSON *schema, cJSON **out, fmp_err *err);

/*
 * fmp_schema_arrange: `value` with the members of its objects in the order of the schema's properties (x-order, else as
 * written), undeclared ones after them as they stood. Follows $ref, allOf, items, and the first branch of anyOf and
 * oneOf that the value is valid under.
 *   value   borrowed         out   returned (a copy)
 */
FMP_MUST_USE fmp_status fmp_schema_arrange(const fmp_schema *schema, const cJSON *value, cJSON **out, fmp_err *err);

typedef struct fmp_byte_range {
    size_t begin, end; /* bytes, end exclusive */
} fmp_byte_range;

enum {
    FMP_FORCED_CLOSED = 1 /* objects hold declared properties only, whatever additionalProperties says */
};

/*
 * fmp_schema_forced: which bytes of a generated text were no choice. A byte is forced if, after the bytes before it,
 * every text that a constrained decoder could go on to has that same byte: braces and quotes where the type is known,
 * required keys, ", " and ": ", the rest of an enum value once it is unique. The decoder in question writes what
 * FMP_JSON_SPACED writes, keys in the order of the schema, optional ones present or absent. Limits on strings, numbers and
 * counts other than minItems and maxItems are not used: a byte reported as forced is, but a few forced ones are missed.
 *   text (len)   JSON in that form, valid under the schema               borrowed
 *   ranges       ascending, disjoint, *n_ranges of them                  returned in `arena`
 * Errors   FMP_E_DATA with err->offset: the first byte that such a decoder could not have written.
 *          FMP_E_RANGE: more than 4 million steps, or nested deeper than 512.
 */
FMP_MUST_USE fmp_status fmp_schema_forced(const fmp_schema *schema, const char *text, size_t len, unsigned flags,
                                          fmp_arena *arena, fmp_byte_range **ranges, size_t *n_ranges, fmp_err *err);

/* ------------------------------------------------------------------------------------------------ tool calls */

/*
 * How generated text spells tool calls. Special tokens are spelled out in the text.
 *   "fm-chat"   TEXT <|call|>{"name": …, "arguments": {…}} <|call|>{…}          to <|end|> or the end of the text
 *   "toolkit"   TEXT <executable_start> ```json [{"name": …, "arguments": …}, …] ``` <executable_end>   (fence optional)
 *   "hermes"    TEXT <tool_call>{"name": …, "arguments": …}</tool_call> …
 */
typedef struct fmp_toolcalls {
    cJSON *calls;      /* array of {"name": string, "arguments": object}; empty if the text has none      */
    size_t text_len;   /* bytes of ordinary text before the first call, white space at its end not counted */
} fmp_toolcalls;

/*
 * fmp_toolcall_parse: the calls in a generated text, in order. Arguments given as JSON text are parsed.
 *   text (len)   borrowed       out->calls   returned
 * Errors   FMP_E_DATA with err->offset: bytes from the start of `text` to the fault. FMP_E_CONFIG: unknown style.
 */
FMP_MUST_USE fmp_status fmp_toolcall_parse(const char *text, size_t len, const char *style, fmp_toolcalls *out, fmp_err *err);

typedef struct fmp_call_score {
    bool exact;                /* every expected call was made, right in all, and nothing else: counts toward accuracy */
    size_t n_expected, n_got;
    size_t name_exact;         /* calls got with the name of an expected call (each expected call used once)   */
    size_t args_exact;         /* of those, calls whose arguments are also right                              */
    size_t missing, extra;     /* expected calls not made; calls made that were not expected                   */
} fmp_call_score;

enum {
    FMP_SCORE_ORDERED = 1,  /* calls must come in the order expected; default: any (parallel calls)            */
    FMP_SCORE_ACCEPTED = 2  /* `expected` is an answer list: [{NAME: {ARGUMENT: [accepted value, …], …}}, …]; an argument
                               that accepts "" may be left out; strings compare without case, spaces and ,./-_*^ and quotes */
};

/*
 * fmp_score_tool_calls: compare calls. Arguments are equal as JSON values: key order free, 1 = 1.0, text exact.
 *   expected, got   arrays of calls; each {"name", "arguments"} or {"function": {"name", "arguments"}}, arguments an object
 *                   or its JSON text                                                                     borrowed
 * Pairs are chosen so that args_exact is as large as possible, then name_exact.
 * Errors   FMP_E_DATA: `expected` is malformed. A malformed call in `got` counts as extra.
 * Source   answer lists: the Berkeley function calling leaderboard's AST check.
 */
FMP_MUST_USE fmp_status fmp_score_tool_calls(const cJSON *expected, const cJSON *got, unsigned flags, fmp_call_score *out,
                                             fmp_err *err);

typedef struct fmp_json_score {
    bool parses; /* the text is one JSON value (white space around it is allowed)   */
    bool valid;  /* parses, and is valid under the schema (no schema: = parses)     */
    bool exact;  /* parses, and equals the expected value                           */
    char why[512]; /* what is wrong, for a report; "" when exact, or valid and nothing was expected */
} fmp_json_score;

/*
 * fmp_score_json: judge a generated JSON answer.
 *   expected   borrowed; NULL: nothing to compare with (exact stays false)
 *   text (len) borrowed          schema   borrowed; NULL: any JSON
 * Errors   FMP_E_RANGE as fmp_schema_validate; a bad answer is a score, not an error.
 */
FMP_MUST_USE fmp_status fmp_score_json(const cJSON *expected, const char *text, size_t len, const fmp_schema *schema,
                                       fmp_json_score *out, fmp_err *err);

#ifdef __cplusplus
}
#endif
#endif
