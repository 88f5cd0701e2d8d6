/* links: fmbase fmschema */
/*
 * Other people's collections against the schema engine: the official JSON Schema test suite (draft 7 and 2020-12), the
 * maskbench schemas, the BFCL answer lists. They lie in the folder that FMP_SHARED_DATA names; without it, skipped.
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

/* ---------------------------------------------------------------------------------------------- official suite */

/* What the suite asks for and the engine refuses by name: other documents, and keywords that schema.h lists. */
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
        print_message("  %s: %s: does not compile: %s\n", file, fmp_json_str(group, "description", ""), err.message);
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
    for (char *p = text.data; (p = strstr(p, "\\u0000")) != NULL;) { memcpy(p, "\\uE000", 6); }
    if (fmp_json_parse(text.data, text.len, NULL, &groups, &err) != FMP_OK) { fail_msg("%s: %s", path, err.message); }
    fmp_buf_free(&text);
    return groups;
}

static tally run_file(const char *folder, const char *name, const fmp_schema_options *options)
{
    tally t = {0};
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.json", folder, name);
    cJSON *groups = load_groups(path), *group;
    cJSON_ArrayForEach(group, groups) { run_group(name, group, options, &t); }
    cJSON_Delete(groups);
    print_message("  %-24s %4zu of %4zu pass, %3zu refused by name, %zu wrong\n", name, t.passed, t.tests, t.refused, t.wrong);
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
    print_message("  %-24s %4zu of %4zu pass, %3zu refused by name, %zu wrong\n", "all", all.passed, all.tests, all.refused,
                  all.wrong);
    return all;
}

static void official_suite_draft7_holds_on_every_keyword(void **state)
{
    static const char *const files[] = {
        "additionalItems", "additionalProperties", "allOf", "anyOf", "boolean_schema", "const", "contains", "default",
        "definitions", "dependencies", "enum", "exclusiveMaximum", "exclusiveMinimum", "format", "if-then-else",
        "infinite-loop-detection", "items", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength",
        "minProperties", "minimum", "multipleOf", "not", "oneOf", "pattern", "patternProperties", "properties",
        "propertyNames", "ref", "refRemote", "required", "type", "uniqueItems", NULL};
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
    static const char *const files[] = {
        "additionalProperties", "allOf", "anchor", "anyOf", "boolean_schema", "const", "contains", "content", "default", "defs",
        "dependentRequired", "dependentSchemas", "enum", "exclusiveMaximum", "exclusiveMinimum", "format", "if-then-else",
        "infinite-loop-detection", "items", "maxContains", "maxItems", "maxLength", "maxProperties", "maximum", "minContains",
        "minItems", "minLength", "minProperties", "minimum", "multipleOf", "not", "oneOf", "pattern", "patternProperties",
        "prefixItems", "properties", "propertyNames", "ref", "refRemote", "required", "type", "uniqueItems", NULL};
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
    static const char *const files[] = {"date", "time", "date-time", "email", "uuid", "uri", "ipv4", "ipv6", NULL};
    static const fmp_schema_options options = {.draft = FMP_SCHEMA_2020_12, .assert_formats = true};
    char *folder = data_path("json-schema-test-suite/tests/draft2020-12/optional/format");
    (void)state;
    if (!folder) { skip(); }
    tally t = run_files(folder, files, &options);
    free(folder);
    assert_int_equal(t.wrong, 0);
}

int main(void)
{
    fmp_json_install_hooks();
    const struct CMUnitTest tests[] = {cmocka_unit_test(official_suite_draft7_holds_on_every_keyword),
                                       cmocka_unit_test(official_suite_2020_12_holds_on_every_supported_keyword),
                                       cmocka_unit_test(official_suite_refuses_unsupported_keywords_by_name),
                                       cmocka_unit_test(official_suite_formats_are_asserted_where_asked)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
