/* links: fmbase fmschema */
/*
 * The schema engine's own promises: what its errors say, where it gives up, what it calls forced, how it
 * reads and scores tool calls. Other people's collections are in test_schema_suite.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fmpipe/schema.h>
#include <stdlib.h>

static cJSON *json(const char *text)
{
    cJSON *value = NULL;
    fmp_err err = FMP_ERR_INIT;
    fmp_json_limits limits = {.max_depth = 1000};
    if (fmp_json_parse(text, strlen(text), &limits, &value, &err) != FMP_OK) {
        fail_msg("%s: %s", text, err.message);
    }
    return value;
}

static fmp_schema *schema_of(const char *text)
{
    fmp_schema *schema = NULL;
    fmp_err err = FMP_ERR_INIT;
    cJSON *source = json(text);
    if (fmp_schema_compile(source, NULL, &schema, &err) != FMP_OK) { fail_msg("%s: %s", text, err.message); }
    cJSON_Delete(source);
    return schema;
}

static fmp_status status_of(const char *schema_text, const char *value_text, bool *valid,
                            fmp_schema_fault *fault)
{
    fmp_schema *schema = schema_of(schema_text);
    cJSON *value = json(value_text);
    fmp_status status = fmp_schema_validate(schema, value, valid, fault, NULL);
    cJSON_Delete(value);
    fmp_schema_free(schema);
    return status;
}

/* expected: "instance|schema|expected|found"; NULL: valid. */
static void check(const char *schema_text, const char *value_text, const char *expected)
{
    bool valid = false;
    fmp_schema_fault f;
    char got[1200];
    assert_int_equal(status_of(schema_text, value_text, &valid, &f), FMP_OK);
    snprintf(got, sizeof got, "%s|%s|%s|%s", f.instance, f.schema, f.expected, f.found);
    if (!expected) {
        if (!valid) { fail_msg("%s under %s: %s", value_text, schema_text, got); }
        return;
    }
    assert_false(valid);
    assert_string_equal(got, expected);
}

static void faults_name_the_place_in_value_and_schema(void **state)
{
    (void)state;
    check("{\"properties\":{\"a/b\":{\"items\":{\"minimum\":3}}}}", "{\"a/b\":[5,1]}",
          "a/b[1]|#/properties/a~1b/items/minimum|at least 3|1");
    check("{\"type\":[\"integer\",\"null\"]}", "1.5", "|#/type|null or an integer|1.5");
    check("{\"$ref\":\"#/$defs/n\",\"$defs\":{\"n\":{\"maxLength\":2}}}", "\"\xc3\xa4\xc3\xb6\xc3\xbc\"",
          "|#/$defs/n/maxLength|at most 2 characters|3 characters");
    check("{\"uniqueItems\":true}", "[{\"a\":1,\"b\":2},3,{\"b\":2.0,\"a\":1}]",
          "|#/uniqueItems|items that all differ|items 0 and 2 that are equal");
    check("{\"pattern\":\"^a+$\"}", "\"ab\"", "|#/pattern|text that matches /^a+$/|\"ab\"");
    check("false", "1", "|#|nothing here|1");
}

static void any_of_tells_of_the_branch_that_got_furthest(void **state)
{
    const char *schema = "{\"anyOf\":[{\"type\":\"null\"},{\"properties\":{\"n\":{\"type\":\"integer\"}}}]}";
    (void)state;
    check(schema, "{\"n\":\"x\"}", "n|#/anyOf/1/properties/n/type|an integer|a string");
    check("{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"integer\"}]}", "\"x\"",
          "|#/anyOf|a value that one of 2 alternatives allows|\"x\"");
}

static void numbers_are_compared_as_decimals(void **state)
{
    (void)state;
    check("{\"multipleOf\":0.01}", "4.35", NULL);
    check("{\"multipleOf\":0.01}", "4.355", "|#/multipleOf|a multiple of 0.01|4.355");
    check("{\"maximum\":9007199254740992}", "9007199254740993",
          "|#/maximum|at most 9007199254740992|9007199254740993");
    check("{\"type\":\"integer\"}", "1.0", NULL);
    check("{\"type\":\"integer\"}", "1e400", NULL);
    check("{\"const\":1.0}", "1", NULL);
}

static void faulty_schemas_are_refused_with_their_place(void **state)
{
    static const struct {
        const char *schema, *message;
        fmp_status status;
    } cases[] = {
        {"{\"items\":{\"minLength\":-1}}",
         "#/items/minLength: expected a whole number of 0 or more, found a number", FMP_E_DATA},
        {"{\"required\":[1]}", "#/required: expected strings only, found a number", FMP_E_DATA},
        {"{\"properties\":{\"a\":3}}",
         "#/properties/a: expected a schema (an object, true or false), found a number", FMP_E_DATA},
        {"{\"pattern\":\"(\"}",
         "#/pattern: expected a regular expression, found '(': missing closing parenthesis at byte 1",
         FMP_E_DATA},
        {"{\"$ref\":\"#/$defs/x\"}",
         "#/$ref: expected a place in this schema, found '#/$defs/x': there is no '#/$defs'", FMP_E_DATA},
        {"{\"unevaluatedProperties\":false}", "#/unevaluatedProperties: this keyword is not supported",
         FMP_E_UNSUPPORTED},
        {"[]", "#: expected a schema (an object, true or false), found an array", FMP_E_DATA}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fmp_schema *schema = NULL;
        fmp_err err = FMP_ERR_INIT;
        cJSON *source = json(cases[i].schema);
        assert_int_equal(fmp_schema_compile(source, NULL, &schema, &err), cases[i].status);
        assert_string_equal(err.message, cases[i].message);
        assert_null(schema);
        cJSON_Delete(source);
    }
}

static char *nested(const char *open, const char *middle, const char *close, size_t n)
{
    fmp_buf text = {0};
    for (size_t i = 0; i < n; i++) {
        fmp_buf_puts(&text, open);
    }
    fmp_buf_puts(&text, middle);
    for (size_t i = 0; i < n; i++) {
        fmp_buf_puts(&text, close);
    }
    return text.data;
}

static void hostile_schemas_and_values_end_in_a_limit(void **state)
{
    bool valid;
    fmp_err err = FMP_ERR_INIT;
    fmp_schema *schema = NULL;
    (void)state;
    assert_int_equal(status_of("{\"$ref\":\"#\"}", "1", &valid, NULL), FMP_E_RANGE);
    assert_int_equal(
        status_of("{\"pattern\":\"^(a+)+$\"}", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\"", &valid, NULL),
        FMP_E_RANGE);
    assert_int_equal(status_of("{\"$defs\":{\"a\":{\"anyOf\":[{\"items\":{\"$ref\":\"#/$defs/"
                               "a\"},\"maxItems\":0},{\"items\":{\"$ref\":\"#/$defs/a\"},"
                               "\"type\":\"array\",\"maxItems\":0},{\"not\":{\"items\":{\"$ref\":\"#/$defs/"
                               "a\"}}}]}},\"$ref\":\"#/$defs/a\"}",
                               "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", &valid, NULL),
                     FMP_E_RANGE);
    char *deep = nested("{\"not\":", "{}", "}", 200);
    cJSON *source = json(deep);
    assert_int_equal(fmp_schema_compile(source, NULL, &schema, &err), FMP_E_RANGE);
    cJSON_Delete(source);
    free(deep);
}

static void canonical_schema_has_its_keys_in_the_documented_order(void **state)
{
    cJSON *source = json(
        "{\"title\":\"T\",\"x-order\":[\"b\",\"a\"],\"anyOf\":[],\"$defs\":{},\"additionalProperties\":false,"
        "\"required\":[\"a\"],\"properties\":{\"a\":{\"enum\":[{\"z\":1,\"type\":2}],\"type\":\"object\"},"
        "\"b\":{\"items\":{\"description\":\"\xc3\xa9\",\"type\":\"string\"},\"type\":\"array\"}},\"type\":"
        "\"object\"}");
    cJSON *out = NULL;
    (void)state;
    assert_int_equal(fmp_schema_canonical(source, &out, NULL), FMP_OK);
    char *text = fmp_json_text(out, FMP_JSON_SPACED);
    assert_string_equal(text, "{\"type\": \"object\", \"properties\": {\"b\": {\"type\": \"array\", "
                              "\"items\": {\"type\": \"string\", "
                              "\"description\": \"\xc3\xa9\"}}, \"a\": {\"type\": \"object\", \"enum\": "
                              "[{\"z\": 1, \"type\": 2}]}}, "
                              "\"required\": [\"a\"], \"additionalProperties\": false, \"$defs\": {}, "
                              "\"anyOf\": [], \"title\": \"T\", "
                              "\"x-order\": [\"b\", \"a\"]}");
    free(text);
    cJSON_Delete(out);
    cJSON_Delete(source);
}

static void values_are_arranged_through_refs_lists_and_branches(void **state)
{
    fmp_schema *schema = schema_of("{\"items\":{\"anyOf\":[{\"type\":\"null\"},{\"$ref\":\"#/$defs/"
                                   "p\"}]},\"$defs\":{\"p\":{\"properties\":"
                                   "{\"x\":{},\"y\":{}},\"x-order\":[\"y\",\"x\"]}}}");
    cJSON *value = json("[null,{\"b\":0,\"x\":1,\"a\":2,\"y\":3}]"), *out = NULL;
    (void)state;
    assert_int_equal(fmp_schema_arrange(schema, value, &out, NULL), FMP_OK);
    char *text = fmp_json_text(out, FMP_JSON_COMPACT);
    assert_string_equal(text, "[null,{\"y\":3,\"x\":1,\"b\":0,\"a\":2}]");
    free(text);
    cJSON_Delete(out);
    cJSON_Delete(value);
    fmp_schema_free(schema);
}

/* ------------------------------------------------------------------------------------------- forced bytes */

/* mask: '#' under each forced byte, '.' under the others. */
static void check_forced(const char *schema_text, unsigned flags, const char *text, const char *mask)
{
    fmp_schema *schema = schema_of(schema_text);
    fmp_arena *arena = fmp_arena_new(0);
    fmp_byte_range *ranges;
    size_t n, len = strlen(text);
    fmp_err err = FMP_ERR_INIT;
    char got[256];
    assert_int_equal(strlen(mask), len);
    if (fmp_schema_forced(schema, text, len, flags, arena, &ranges, &n, &err) != FMP_OK) {
        fail_msg("%s: %s", text, err.message);
    }
    memset(got, '.', len);
    got[len] = '\0';
    for (size_t i = 0; i < n; i++) {
        memset(got + ranges[i].begin, '#', ranges[i].end - ranges[i].begin);
    }
    if (strcmp(got, mask) != 0) { fail_msg("%s\n%s\n%s (expected)", text, got, mask); }
    fmp_arena_free(arena);
    fmp_schema_free(schema);
}

#define CLOSED "\"additionalProperties\":false"

static void required_keys_and_punctuation_are_forced(void **state)
{
    const char *schema =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"type\":\"boolean\"}},"
        "\"required\":[\"a\",\"b\"]," CLOSED "}";
    (void)state;
    check_forced(schema, 0, "{\"a\": \"x\", \"b\": true}", "#######..#######.####");
}

static void optional_keys_leave_a_choice_up_to_where_they_differ(void **state)
{
    const char *schema = "{\"type\":\"object\",\"properties\":{\"red\":{\"type\":\"null\"},\"rest\":{"
                         "\"type\":\"integer\"}}," CLOSED "}";
    (void)state;
    check_forced(schema, 0, "{}", "#.");
    check_forced(schema, 0, "{\"rest\": 12}", "#.##.####...");
}

static void open_objects_force_punctuation_only_unless_closed_is_asked_for(void **state)
{
    const char *schema =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]}";
    (void)state;
    check_forced(schema, 0, "{\"a\": \"\"}", "##..###..");
    check_forced(schema, FMP_FORCED_CLOSED, "{\"a\": \"\"}", "#######.#");
}

static void enum_values_are_forced_once_unique(void **state)
{
    (void)state;
    check_forced("{\"enum\":[\"blue\",\"black\",\"red\"]}", 0, "\"black\"", "#.#.###");
    check_forced("{\"enum\":[1,10]}", 0, "10", "#.");
    check_forced("{\"const\":{\"a\":[1]}}", 0, "{\"a\": [1]}", "##########");
}

static void counts_force_the_ends_of_lists(void **state)
{
    (void)state;
    check_forced("{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"minItems\":2,\"maxItems\":2}", 0,
                 "[\"a\", \"b\"]", "##..###..#");
    check_forced("{\"type\":\"array\",\"items\":{\"type\":\"string\"}}", 0, "[\"a\", \"b\"]", "#....##...");
}

static void alternatives_force_what_all_of_them_force(void **state)
{
    const char *two = "{\"anyOf\":[{\"type\":\"object\",\"properties\":{\"kind\":{\"const\":\"cat\"},"
                      "\"lives\":{\"type\":\"null\"}},"
                      "\"required\":[\"kind\",\"lives\"]," CLOSED
                      "},{\"type\":\"object\",\"properties\":{\"kind\":{\"const\":\"dog\"}},"
                      "\"required\":[\"kind\"]," CLOSED "}]}";
    (void)state;
    check_forced(two, 0, "{\"kind\": \"dog\"}", "##########.####");
    check_forced("{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}", 0, "null", ".###");
    check_forced("{\"anyOf\":[{\"const\":1},{\"const\":10}]}", 0, "1", "#");
}

/* All texts of a small language, and what "forced" means for it, said the long way. */
static void forced_bytes_are_those_that_every_continuation_shares(void **state)
{
    static const char *const a[] = {"\"x\"", "\"xy\"", "17", "1"}, *const b[] = {"", ", \"bb\": true",
                                                                                 ", \"bb\": false"};
    static const char *const c[] = {"", ", \"bc\": [null]", ", \"bc\": [null, null]", ", \"bc\": {}"};
    const char *schema =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"enum\":[\"x\",\"xy\",17,1]},\"bb\":{\"type\":"
        "\"boolean\"},"
        "\"bc\":{\"anyOf\":[{\"type\":\"array\",\"items\":{\"type\":\"null\"},\"minItems\":1,\"maxItems\":2},"
        "{\"type\":\"object\"," CLOSED "}]}},\"required\":[\"a\"]," CLOSED "}";
    char texts[48][64], mask[64];
    size_t n = 0;
    (void)state;
    for (size_t i = 0; i < 48; i++) {
        snprintf(texts[n++], sizeof texts[0], "{\"a\": %s%s%s}", a[i % 4], b[i / 4 % 3], c[i / 12]);
    }
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(texts[i]);
        for (size_t p = 0; p < len; p++) {
            bool same = true;
            for (size_t j = 0; j < n; j++) {
                bool reaches = strncmp(texts[i], texts[j], p) == 0;
                same = same && (!reaches || texts[i][p] == texts[j][p]);
            }
            mask[p] = same ? '#' : '.';
        }
        mask[len] = '\0';
        check_forced(schema, 0, texts[i], mask);
    }
}

static void text_that_no_decoder_would_write_is_an_error_with_its_byte(void **state)
{
    fmp_schema *schema = schema_of("{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}}," CLOSED "}");
    fmp_arena *arena = fmp_arena_new(0);
    fmp_byte_range *ranges;
    size_t n;
    fmp_err err = FMP_ERR_INIT;
    (void)state;
    assert_int_equal(fmp_schema_forced(schema, "{\"a\":1}", 7, 0, arena, &ranges, &n, &err), FMP_E_DATA);
    assert_int_equal(err.offset, 5);
    assert_int_equal(fmp_schema_forced(schema, "{\"b\": 1, \"a\": 1}", 16, 0, arena, &ranges, &n, &err),
                     FMP_E_DATA);
    assert_int_equal(err.offset, 7);
    assert_int_equal(fmp_schema_forced(schema, "", 0, 0, arena, &ranges, &n, &err), FMP_E_DATA);
    fmp_arena_free(arena);
    fmp_schema_free(schema);
}

/* --------------------------------------------------------------------------------------------- tool calls */

static void check_calls(const char *style, const char *text, size_t text_len, const char *calls)
{
    fmp_toolcalls out;
    fmp_err err = FMP_ERR_INIT;
    if (fmp_toolcall_parse(text, strlen(text), style, &out, &err) != FMP_OK) {
        fail_msg("%s: %s", text, err.message);
    }
    char *got = fmp_json_text(out.calls, FMP_JSON_COMPACT);
    assert_string_equal(got, calls);
    assert_int_equal(out.text_len, text_len);
    free(got);
    cJSON_Delete(out.calls);
}

static void calls_are_read_in_every_style(void **state)
{
    const char *two = "[{\"name\":\"a\",\"arguments\":{\"x\":\"}\"}},{\"name\":\"b\",\"arguments\":{}}]";
    (void)state;
    check_calls("fm-chat",
                "Sure. <|call|>{\"name\": \"a\", \"arguments\": {\"x\": \"}\"}}<|call|>{\"name\": \"b\", "
                "\"arguments\": {}}<|end|>",
                5, two);
    check_calls("fm-chat", "No call.<|end|>", 8, "[]");
    check_calls("toolkit",
                "<executable_start>\n```json\n[{\"name\": \"a\", \"arguments\": {\"x\": \"}\"}}, {\"name\": "
                "\"b\", \"arguments\": "
                "\"{}\"}]\n```\n<executable_end>",
                0, two);
    check_calls("toolkit", "<executable_start>[]<executable_end>", 0, "[]");
    check_calls("hermes",
                "<tool_call>\n{\"name\": \"a\", \"arguments\": {\"x\": "
                "\"}\"}}\n</tool_call>\n<tool_call>{\"name\": \"b\", "
                "\"arguments\": {}}</tool_call>",
                0, two);
}

static void check_call_error(const char *style, const char *text, uint64_t offset)
{
    fmp_toolcalls out;
    fmp_err err = FMP_ERR_INIT;
    assert_int_equal(fmp_toolcall_parse(text, strlen(text), style, &out, &err), FMP_E_DATA);
    if (err.offset != offset) { fail_msg("%s: %s", text, err.message); }
    assert_null(out.calls);
}

static void broken_calls_say_the_byte(void **state)
{
    (void)state;
    check_call_error("fm-chat", "<|call|>{\"name\": \"a\", \"arguments\": {\"x\": 1}", 43);
    check_call_error("fm-chat", "<|call|>{\"name\": \"a\", \"arguments\": {}} and", 39);
    check_call_error("fm-chat", "<|call|>set_light()", 8);
    check_call_error("fm-chat", "<|call|>{\"arguments\": {}}", 8);
    check_call_error("hermes", "x <tool_call>{\"name\": \"a\", \"arguments\": {}}", 43);
    check_call_error("toolkit", "<executable_start>```json\n[1]\n```<executable_end>", 26);
}

static fmp_call_score score(const char *expected, const char *got, unsigned flags)
{
    fmp_call_score out;
    fmp_err err = FMP_ERR_INIT;
    cJSON *a = json(expected), *b = json(got);
    if (fmp_score_tool_calls(a, b, flags, &out, &err) != FMP_OK) { fail_msg("%s", err.message); }
    cJSON_Delete(a);
    cJSON_Delete(b);
    return out;
}

static void parallel_calls_score_in_any_order(void **state)
{
    const char *ab = "[{\"name\":\"a\",\"arguments\":{\"n\":1,\"m\":[2]}},{\"name\":\"b\",\"arguments\":{}}]";
    const char *ba = "[{\"function\":{\"name\":\"b\",\"arguments\":\"{}\"}},{\"name\":\"a\",\"arguments\":{"
                     "\"m\":[2.0],\"n\":1}}]";
    (void)state;
    assert_true(score(ab, ba, 0).exact);
    assert_false(score(ab, ba, FMP_SCORE_ORDERED).exact);
    assert_true(score("[]", "[]", 0).exact);
    fmp_call_score s = score(
        ab, "[{\"name\":\"a\",\"arguments\":{\"n\":2}},{\"name\":\"c\",\"arguments\":{}},{\"x\":1}]", 0);
    assert_int_equal(s.name_exact, 1);
    assert_int_equal(s.args_exact, 0);
    assert_int_equal(s.missing, 1);
    assert_int_equal(s.extra, 2);
}

static void accepted_values_are_paired_as_well_as_possible(void **state)
{
    const char *lists = "[{\"f\":{\"x\":[1,2]}},{\"f\":{\"x\":[1],\"unit\":[\"\",\"km/h\"]}}]";
    (void)state;
    assert_true(score(lists,
                      "[{\"name\":\"f\",\"arguments\":{\"x\":1}},{\"name\":\"f\",\"arguments\":{\"x\":2}}]",
                      FMP_SCORE_ACCEPTED)
                    .exact);
    assert_true(score("[{\"f\":{\"u\":[\"New York\"]}}]",
                      "[{\"name\":\"f\",\"arguments\":{\"u\":\"new-york\"}}]", FMP_SCORE_ACCEPTED)
                    .exact);
    assert_false(
        score("[{\"f\":{\"u\":[\"New York\"]}}]", "[{\"name\":\"f\",\"arguments\":{}}]", FMP_SCORE_ACCEPTED)
            .exact);
}

static void json_answers_are_scored_in_three_steps(void **state)
{
    fmp_schema *schema = schema_of("{\"properties\":{\"n\":{\"type\":\"integer\"}}}");
    cJSON *expected = json("{\"n\":1}");
    fmp_json_score s;
    (void)state;
    assert_int_equal(fmp_score_json(expected, "{\"n\": 1.0} ", 11, schema, &s, NULL), FMP_OK);
    assert_true(s.parses && s.valid && s.exact && !*s.why);
    assert_int_equal(fmp_score_json(expected, "{\"n\": \"1\"}", 10, schema, &s, NULL), FMP_OK);
    assert_true(s.parses && !s.valid && !s.exact);
    assert_string_equal(s.why, "n: expected an integer, found a string (#/properties/n/type)");
    assert_int_equal(fmp_score_json(expected, "{\"n\": 1", 7, schema, &s, NULL), FMP_OK);
    assert_true(!s.parses && !s.valid && !s.exact && *s.why);
    cJSON_Delete(expected);
    fmp_schema_free(schema);
}

int main(void)
{
    fmp_json_install_hooks();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_name_the_place_in_value_and_schema),
        cmocka_unit_test(any_of_tells_of_the_branch_that_got_furthest),
        cmocka_unit_test(numbers_are_compared_as_decimals),
        cmocka_unit_test(faulty_schemas_are_refused_with_their_place),
        cmocka_unit_test(hostile_schemas_and_values_end_in_a_limit),
        cmocka_unit_test(canonical_schema_has_its_keys_in_the_documented_order),
        cmocka_unit_test(values_are_arranged_through_refs_lists_and_branches),
        cmocka_unit_test(required_keys_and_punctuation_are_forced),
        cmocka_unit_test(optional_keys_leave_a_choice_up_to_where_they_differ),
        cmocka_unit_test(open_objects_force_punctuation_only_unless_closed_is_asked_for),
        cmocka_unit_test(enum_values_are_forced_once_unique),
        cmocka_unit_test(counts_force_the_ends_of_lists),
        cmocka_unit_test(alternatives_force_what_all_of_them_force),
        cmocka_unit_test(forced_bytes_are_those_that_every_continuation_shares),
        cmocka_unit_test(text_that_no_decoder_would_write_is_an_error_with_its_byte),
        cmocka_unit_test(calls_are_read_in_every_style),
        cmocka_unit_test(broken_calls_say_the_byte),
        cmocka_unit_test(parallel_calls_score_in_any_order),
        cmocka_unit_test(accepted_values_are_paired_as_well_as_possible),
        cmocka_unit_test(json_answers_are_scored_in_three_steps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
