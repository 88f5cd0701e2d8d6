/* links: fmbase fmschema */
/*
 * Other people's collections against the schema engine: the official JSON Schema test suite (draft 7 and
 * 2020-12), the maskbench schemas, the BFCL answer lists. They lie in the folder that FMP_SHARED_DATA names;
 * without it, skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fmpipe/fs.h>
#include <fmpipe/schema.h>
#include <stdlib.h>

static char *data_path(const char *name)
{
    const char *root = getenv("FMP_SHARED_DATA");
    if (!root) {
        print_message("skipped: FMP_SHARED_DATA is not set\n");
        return NULL;
    }
    char *path = fmp_path_join(root, name);
    assert_non_null(path);
    if (fmp_path_exists(path)) { return path; }
    print_message("skipped: no %s\n", path);
    free(path);
    return NULL;
}

/* ----------------------------------------------------------------------------------------- official suite */

/*
 * What the suite asks for and the engine refuses by name: other documents, and keywords that schema.h lists.
 */
typedef struct tally {
    size_t tests, passed, refused, wrong;
} tally;

static void run_group(const char *file, const cJSON *group, const fmp_schema_options *options, tally *t)
{
    fmp_schema *schema = NULL;
    fmp_err err = FMP_ERR_INIT;
    const cJSON *tests = fmp_json_get(group, "tests"), *test;
    size_t n = (size_t)cJSON_GetArraySize(tests);
    fmp_status status = fmp_schema_compile(fmp_json_get(group, "schema"), options, &schema, &err);
    t->tests += n;
    if (status == FMP_E_UNSUPPORTED) {
        t->refused += n;
        return;
    }
    if (status != FMP_OK) {
        t->wrong += n;
        print_message("  %s: %s: does not compile: %s\n", file, fmp_json_str(group, "description", ""),
                      err.message);
        return;
    }
    cJSON_ArrayForEach(test, tests)
    {
        bool valid = false, wanted = fmp_json_bool(test, "valid", false);
        status = fmp_schema_validate(schema, fmp_json_get(test, "data"), &valid, NULL, &err);
        if (status == FMP_OK && valid == wanted) {
            t->passed++;
            continue;
        }
        t->wrong++;
        print_message("  %s: %s: %s: expected %s, found %s\n", file, fmp_json_str(group, "description", ""),
                      fmp_json_str(test, "description", ""), wanted ? "valid" : "invalid",
                      status == FMP_OK ? "the opposite" : err.message);
    }
    fmp_schema_free(schema);
}

/* json.h refuses NUL in strings; the few tests that have one keep their meaning with U+E000 in its place. */
static cJSON *load_groups(const char *path)
{
    fmp_buf text = {0};
    cJSON *groups = NULL;
    fmp_err err = FMP_ERR_INIT;
    if (fmp_read_file(path, 0, &text, &err) != FMP_OK) { fail_msg("%s: %s", path, err.message); }
    for (char *p = text.data; (p = strstr(p, "\\u0000")) != NULL;) {
        memcpy(p, "\\uE000", 6);
    }
    if (fmp_json_parse(text.data, text.len, NULL, &groups, &err) != FMP_OK) {
        fail_msg("%s: %s", path, err.message);
    }
    fmp_buf_free(&text);
    return groups;
}

static tally run_file(const char *folder, const char *name, const fmp_schema_options *options)
{
    tally t = {0};
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.json", folder, name);
    cJSON *groups = load_groups(path), *group;
    cJSON_ArrayForEach(group, groups)
    {
        run_group(name, group, options, &t);
    }
    cJSON_Delete(groups);
    print_message("  %-24s %4zu of %4zu pass, %3zu refused by name, %zu wrong\n", name, t.passed, t.tests,
                  t.refused, t.wrong);
    return t;
}

static tally run_files(const char *folder, const char *const *names, const fmp_schema_options *options)
{
    tally all = {0};
    for (; *names; names++) {
        tally t = run_file(folder, *names, options);
        all.tests += t.tests;
        all.passed += t.passed;
        all.refused += t.refused;
        all.wrong += t.wrong;
    }
    print_message("  %-24s %4zu of %4zu pass, %3zu refused by name, %zu wrong\n", "all", all.passed,
                  all.tests, all.refused, all.wrong);
    return all;
}

static void official_suite_draft7_holds_on_every_keyword(void **state)
{
    static const char *const files[] = {"additionalItems",
                                        "additionalProperties",
                                        "allOf",
                                        "anyOf",
                                        "boolean_schema",
                                        "const",
                                        "contains",
                                        "default",
                                        "definitions",
                                        "dependencies",
                                        "enum",
                                        "exclusiveMaximum",
                                        "exclusiveMinimum",
                                        "format",
                                        "if-then-else",
                                        "infinite-loop-detection",
                                        "items",
                                        "maxItems",
                                        "maxLength",
                                        "maxProperties",
                                        "maximum",
                                        "minItems",
                                        "minLength",
                                        "minProperties",
                                        "minimum",
                                        "multipleOf",
                                        "not",
                                        "oneOf",
                                        "pattern",
                                        "patternProperties",
                                        "properties",
                                        "propertyNames",
                                        "ref",
                                        "refRemote",
                                        "required",
                                        "type",
                                        "uniqueItems",
                                        NULL};
    static const fmp_schema_options options = {.draft = FMP_SCHEMA_DRAFT7};
    char *folder = data_path("json-schema-test-suite/tests/draft7");
    (void)state;
    if (!folder) { skip(); }
    tally t = run_files(folder, files, &options);
    free(folder);
    assert_int_equal(t.wrong, 0);
    assert_int_equal(t.tests - t.passed - t.refused, 0);
    assert_true(t.passed > 0 && t.refused < 60);
}

static void official_suite_2020_12_holds_on_every_supported_keyword(void **state)
{
    static const char *const files[] = {"additionalProperties",
                                        "allOf",
                                        "anchor",
                                        "anyOf",
                                        "boolean_schema",
                                        "const",
                                        "contains",
                                        "content",
                                        "default",
                                        "defs",
                                        "dependentRequired",
                                        "dependentSchemas",
                                        "enum",
                                        "exclusiveMaximum",
                                        "exclusiveMinimum",
                                        "format",
                                        "if-then-else",
                                        "infinite-loop-detection",
                                        "items",
                                        "maxContains",
                                        "maxItems",
                                        "maxLength",
                                        "maxProperties",
                                        "maximum",
                                        "minContains",
                                        "minItems",
                                        "minLength",
                                        "minProperties",
                                        "minimum",
                                        "multipleOf",
                                        "not",
                                        "oneOf",
                                        "pattern",
                                        "patternProperties",
                                        "prefixItems",
                                        "properties",
                                        "propertyNames",
                                        "ref",
                                        "refRemote",
                                        "required",
                                        "type",
                                        "uniqueItems",
                                        NULL};
    static const fmp_schema_options options = {.draft = FMP_SCHEMA_2020_12};
    char *folder = data_path("json-schema-test-suite/tests/draft2020-12");
    (void)state;
    if (!folder) { skip(); }
    tally t = run_files(folder, files, &options);
    free(folder);
    assert_int_equal(t.wrong, 0);
    assert_true(t.passed > 0 && t.refused < 100);
}

static void official_suite_refuses_unsupported_keywords_by_name(void **state)
{
    static const char *const files[] = {"dynamicRef", "unevaluatedItems", "unevaluatedProperties", NULL};
    static const fmp_schema_options options = {.draft = FMP_SCHEMA_2020_12};
    char *folder = data_path("json-schema-test-suite/tests/draft2020-12");
    (void)state;
    if (!folder) { skip(); }
    tally t = run_files(folder, files, &options);
    free(folder);
    assert_int_equal(t.wrong, 0);
}

static void official_suite_formats_are_asserted_where_asked(void **state)
{
    static const char *const files[] = {"date", "time", "date-time", "email", "uuid",
                                        "uri",  "ipv4", "ipv6",      NULL};
    static const fmp_schema_options options = {.draft = FMP_SCHEMA_2020_12, .assert_formats = true};
    char *folder = data_path("json-schema-test-suite/tests/draft2020-12/optional/format");
    (void)state;
    if (!folder) { skip(); }
    tally t = run_files(folder, files, &options);
    free(folder);
    assert_int_equal(t.wrong, 0);
}

/* ------------------------------------------------------------------------------------------ lines of JSON */

/* Calls `each` with every line's document. */
static void for_each_line(const char *path, void (*each)(const cJSON *line, void *arg), void *arg)
{
    fmp_buf text = {0};
    fmp_err err = FMP_ERR_INIT;
    if (fmp_read_file(path, 0, &text, &err) != FMP_OK) { fail_msg("%s: %s", path, err.message); }
    fmp_arena *arena = fmp_arena_new(0);
    for (char *p = text.data, *end = text.data + text.len; p < end;) {
        char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t len = stop ? (size_t)(stop - p) : (size_t)(end - p);
        fmp_arena *scope = fmp_json_scope(arena);
        fmp_json_limits limits = {.max_depth = 200};
        cJSON *line = NULL;
        /* A line with NUL in a string, or a key twice, is not this engine's business. */
        if (len > 0 && fmp_json_parse(p, len, &limits, &line, NULL) == FMP_OK) { each(line, arg); }
        (void)fmp_json_scope(scope);
        fmp_arena_reset(arena, 1u << 20);
        p += len + 1;
    }
    fmp_arena_free(arena);
    fmp_buf_free(&text);
}

/* ---------------------------------------------------------------------------------------------- maskbench */

typedef struct bench {
    size_t schemas, compiled, refused, faulty, tests, agree, too_strict, too_lax, given_up;
    const char *name;
} bench;

static void bench_case(const cJSON *line, void *arg)
{
    bench *b = arg;
    const cJSON *entry = fmp_json_get(line, "case"), *test;
    fmp_schema *schema = NULL;
    fmp_err err = FMP_ERR_INIT;
    static const fmp_schema_options options = {.assert_formats =
                                                   true}; /* as this collection's expectations do */
    b->schemas++;
    fmp_status status = fmp_schema_compile(fmp_json_get(entry, "schema"), &options, &schema, &err);
    if (status != FMP_OK) {
        b->refused += status == FMP_E_UNSUPPORTED;
        b->faulty += status != FMP_E_UNSUPPORTED;
        if (getenv("FMP_TEST_VERBOSE")) {
            print_message("  %s: %s\n", fmp_json_str(line, "file", ""), err.message);
        }
        return;
    }
    b->compiled++;
    cJSON_ArrayForEach(test, fmp_json_get(entry, "tests"))
    {
        bool valid, wanted = fmp_json_bool(test, "valid", false);
        fmp_schema_fault fault;
        status = fmp_schema_validate(schema, fmp_json_get(test, "data"), &valid, &fault, &err);
        b->tests++;
        if (status != FMP_OK) {
            b->given_up++;
        } else if (valid == wanted) {
            b->agree++;
        } else {
            b->too_strict += wanted;
            b->too_lax += !wanted;
            if (getenv("FMP_TEST_VERBOSE")) {
                print_message("  %s: wanted %s: %s: expected %s, found %s (%s)\n",
                              fmp_json_str(line, "file", ""), wanted ? "valid" : "invalid", fault.instance,
                              fault.expected, fault.found, fault.schema);
            }
        }
    }
    fmp_schema_free(schema);
}

static void maskbench_schemas_compile_and_agree(void **state)
{
    static const char *const files[] = {"BFCL_java",
                                        "BFCL_javascript",
                                        "BFCL_multiple",
                                        "BFCL_parallel",
                                        "BFCL_parallel_multiple",
                                        "BFCL_simple",
                                        "BFCL_sql",
                                        "Github_easy",
                                        "Github_medium",
                                        "Github_trivial",
                                        "Glaiveai2K",
                                        "Handwritten",
                                        NULL};
    char *folder = data_path("maskbench");
    bench all = {0};
    (void)state;
    if (!folder) { skip(); }
    for (const char *const *name = files; *name; name++) {
        char path[1024];
        bench b = {.name = *name};
        snprintf(path, sizeof path, "%s/%s.jsonl", folder, *name);
        for_each_line(path, bench_case, &b);
        print_message("  %-22s %4zu schemas, %4zu compile, %2zu refused by name, %2zu faulty; %5zu tests, "
                      "%5zu agree, %zu too "
                      "strict, %zu too lax, %zu given up\n",
                      b.name, b.schemas, b.compiled, b.refused, b.faulty, b.tests, b.agree, b.too_strict,
                      b.too_lax, b.given_up);
        all.schemas += b.schemas;
        all.compiled += b.compiled;
        all.tests += b.tests;
        all.agree += b.agree;
    }
    free(folder);
    print_message("  %-22s %4zu schemas, %4zu compile; %5zu tests, %5zu agree\n", "all", all.schemas,
                  all.compiled, all.tests, all.agree);
    assert_true(all.schemas > 7000);
    assert_int_equal(all.compiled, all.schemas);
    /* The rest: draft 4 alone knows no if/then and no integer 1.0; formats regex and iri are not asserted. */
    assert_true(all.agree + 8 >= all.tests);
}

/* ------------------------------------------------------------------------------------------- answer lists */

/* The first accepted value of a place: what a right answer looks like. */
static cJSON *first_accepted(const cJSON *accepted);

static cJSON *plain_value(const cJSON *accepted)
{
    if (cJSON_IsObject(accepted)) { return first_accepted(accepted); }
    if (!cJSON_IsArray(accepted)) { return cJSON_Duplicate(accepted, true); }
    cJSON *out = cJSON_CreateArray(), *m;
    cJSON_ArrayForEach(m, accepted)
    {
        cJSON_AddItemToArray(out, plain_value(m));
    }
    return out;
}

static cJSON *first_accepted(const cJSON *accepted)
{
    cJSON *out = cJSON_CreateObject(), *m;
    cJSON_ArrayForEach(m, accepted)
    {
        if (!cJSON_IsArray(m)) {
            cJSON_AddItemToObject(out, m->string, plain_value(m));
            continue;
        }
        bool left_out = cJSON_IsString(m->child) && !m->child->valuestring[0];
        if (m->child && !left_out) { cJSON_AddItemToObject(out, m->string, plain_value(m->child)); }
    }
    return out;
}

static void answer_line(const cJSON *line, void *arg)
{
    size_t *n = arg;
    const cJSON *truth = fmp_json_get(line, "ground_truth"), *answer;
    cJSON *calls = cJSON_CreateArray();
    fmp_call_score score;
    fmp_err err = FMP_ERR_INIT;
    cJSON_ArrayForEach(answer, truth)
    {
        cJSON *call = cJSON_CreateObject();
        cJSON_AddStringToObject(call, "name", answer->child->string);
        cJSON_AddItemToObject(call, "arguments", first_accepted(answer->child));
        cJSON_AddItemToArray(calls, call);
    }
    if (fmp_score_tool_calls(truth, calls, FMP_SCORE_ACCEPTED, &score, &err) != FMP_OK) {
        fail_msg("%s", err.message);
    }
    if (!score.exact) { print_message("  %s\n", fmp_json_str(line, "id", "")); }
    assert_true(score.exact);
    cJSON_AddStringToObject(cJSON_GetObjectItemCaseSensitive(calls->child, "arguments"), "no such argument",
                            "x");
    assert_int_equal(fmp_score_tool_calls(truth, calls, FMP_SCORE_ACCEPTED, &score, &err), FMP_OK);
    assert_false(score.exact);
    assert_int_equal(score.name_exact, score.n_expected);
    ++*n;
}

static void bfcl_answer_lists_accept_their_answers_and_no_surplus_argument(void **state)
{
    static const char *const files[] = {"simple_python", "simple_java", "simple_javascript", "multiple"};
    char *folder = data_path("toolcall-bfcl/possible_answer");
    size_t n = 0;
    (void)state;
    if (!folder) { skip(); }
    for (size_t i = 0; i < 4; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/BFCL_v4_%s.json", folder, files[i]);
        for_each_line(path, answer_line, &n);
    }
    free(folder);
    print_message("  %zu answer lists\n", n);
    assert_true(n >= 700);
}

/* ---------------------------------------------------------------------------------------------- SGD */

typedef struct sgd {
    size_t records, calls, bytes, forced;
} sgd;

static const cJSON *tool_schema(const cJSON *doc, const char *name)
{
    const cJSON *tool;
    cJSON_ArrayForEach(tool, fmp_json_get(doc, "tools"))
    {
        const cJSON *function = fmp_json_get(tool, "function");
        if (strcmp(fmp_json_str(function, "name", ""), name) == 0) {
            return fmp_json_get(function, "parameters");
        }
    }
    return NULL;
}

static void sgd_call(const cJSON *doc, const cJSON *call, sgd *s)
{
    const cJSON *function = fmp_json_get(call, "function");
    const char *text = fmp_json_str(function, "arguments", "");
    fmp_schema *schema = NULL;
    fmp_err err = FMP_ERR_INIT;
    cJSON *value = NULL, *arranged = NULL;
    bool valid;
    fmp_schema_fault fault;
    fmp_byte_range *ranges;
    size_t n;
    assert_int_equal(
        fmp_schema_compile(tool_schema(doc, fmp_json_str(function, "name", "")), NULL, &schema, &err),
        FMP_OK);
    assert_int_equal(fmp_json_parse(text, strlen(text), NULL, &value, &err), FMP_OK);
    assert_int_equal(fmp_schema_validate(schema, value, &valid, &fault, &err), FMP_OK);
    if (!valid) {
        fail_msg("%s: %s: expected %s, found %s", text, fault.instance, fault.expected, fault.found);
    }
    assert_int_equal(fmp_schema_arrange(schema, value, &arranged, &err), FMP_OK);
    assert_true(fmp_json_equal(value, arranged));
    char *written = fmp_json_text(arranged, FMP_JSON_SPACED);
    fmp_arena *arena = fmp_arena_new(0);
    if (fmp_schema_forced(schema, written, strlen(written), 0, arena, &ranges, &n, &err) != FMP_OK) {
        fail_msg("%s: %s", written, err.message);
    }
    s->calls++;
    s->bytes += strlen(written);
    for (size_t i = 0; i < n; i++) {
        s->forced += ranges[i].end - ranges[i].begin;
    }
    fmp_arena_free(arena);
    free(written);
    fmp_schema_free(schema);
}

static void sgd_line(const cJSON *line, void *arg)
{
    sgd *s = arg;
    const cJSON *m, *call;
    s->records++;
    cJSON_ArrayForEach(m, fmp_json_get(line, "messages"))
    {
        cJSON_ArrayForEach(call, fmp_json_get(m, "tool_calls"))
        {
            sgd_call(line, call, s);
        }
    }
}

static void sgd_calls_are_valid_and_could_have_been_decoded(void **state)
{
    sgd s = {0};
    char *path = data_path("sgd/dev.openai.jsonl");
    (void)state;
    if (!path) { skip(); }
    for_each_line(path, sgd_line, &s);
    free(path);
    print_message("  %zu records, %zu calls, %zu bytes of arguments, %zu of them forced (%.1f %%)\n",
                  s.records, s.calls, s.bytes, s.forced, 100.0 * (double)s.forced / (double)s.bytes);
    assert_true(s.calls > 500 && s.forced > s.bytes / 5);
}

int main(void)
{
    fmp_json_install_hooks();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(official_suite_draft7_holds_on_every_keyword),
        cmocka_unit_test(official_suite_2020_12_holds_on_every_supported_keyword),
        cmocka_unit_test(official_suite_refuses_unsupported_keywords_by_name),
        cmocka_unit_test(official_suite_formats_are_asserted_where_asked),
        cmocka_unit_test(maskbench_schemas_compile_and_agree),
        cmocka_unit_test(bfcl_answer_lists_accept_their_answers_and_no_surplus_argument),
        cmocka_unit_test(sgd_calls_are_valid_and_could_have_been_decoded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
