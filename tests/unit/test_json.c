/* links: fmbase */
/* Reading, printing, locating and comparing JSON; the public JSON parsing test suite where it is at hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fmpipe/fs.h>
#include <fmpipe/json.h>

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

static fmp_arena *arena;

static int use_arena(void **state)
{
    (void)state;
    arena = fmp_arena_new(0);
    fmp_json_scope(arena);
    return 0;
}

static int drop_arena(void **state)
{
    (void)state;
    fmp_json_scope(NULL);
    fmp_arena_free(arena);
    return 0;
}

static cJSON *parse(const char *text)
{
    cJSON *node;
    fmp_err err = FMP_ERR_INIT;
    if (fmp_json_parse(text, strlen(text), NULL, &node, &err) != FMP_OK) {
        fail_msg("%s: %s", text, err.message);
    }
    return node;
}

static void prints_as(const char *text, unsigned style, const char *want)
{
    char *printed = fmp_json_text(parse(text), style);
    assert_string_equal(printed, want);
    free(printed);
}

static void unchanged(const char *text)
{
    prints_as(text, FMP_JSON_COMPACT, text);
}

static void refused_bytes(const char *text, size_t len, fmp_status status, uint32_t line, uint32_t column,
                          const char *message)
{
    fmp_err err = FMP_ERR_INIT;
    cJSON *node;
    assert_int_equal(fmp_json_parse(text, len, NULL, &node, &err), status);
    assert_null(node);
    assert_string_equal(err.message, message);
    assert_int_equal(err.line, line);
    assert_int_equal(err.column, column);
}

static void refused(const char *text, uint32_t line, uint32_t column, const char *message)
{
    refused_bytes(text, strlen(text), FMP_E_DATA, line, column, message);
}

/* ---- reading ---- */

static void values_have_their_types_and_order(void **state)
{
    (void)state;
    const cJSON *node = parse(" { \"a\" : [ 1 , true , false , null , \"x\" ] , \"b\" : { } } ");
    const cJSON *a = fmp_json_get(node, "a");
    assert_true(cJSON_IsArray(a));
    assert_int_equal(cJSON_GetArraySize(a), 5);
    assert_int_equal(cJSON_GetArrayItem(a, 0)->valueint, 1);
    assert_true(cJSON_IsTrue(cJSON_GetArrayItem(a, 1)));
    assert_true(cJSON_IsFalse(cJSON_GetArrayItem(a, 2)));
    assert_true(cJSON_IsNull(cJSON_GetArrayItem(a, 3)));
    assert_string_equal(cJSON_GetArrayItem(a, 4)->valuestring, "x");
    assert_true(cJSON_IsObject(fmp_json_get(node, "b")));
}

static void lists_are_linked_as_cjson_links_them(void **state)
{
    (void)state;
    cJSON *node = parse("[1,2,3]");
    assert_ptr_equal(node->child->prev, node->child->next->next);
    assert_null(node->child->next->next->next);
    assert_true(cJSON_AddItemToArray(node, cJSON_CreateNumber(4)));
    cJSON *one = parse("[1]");
    assert_ptr_equal(one->child->prev, one->child);
    cJSON_Delete(cJSON_DetachItemFromArray(node, 1));
    char *text = fmp_json_text(node, 0);
    assert_string_equal(text, "[1,3,4]");
    free(text);
}

static void escapes_become_the_characters_they_name(void **state)
{
    (void)state;
    assert_string_equal(parse("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"")->valuestring, "\"\\/\b\f\n\r\t");
    assert_string_equal(parse("\"\\u0041\\u00e9\\u20AC\\ud83d\\uDE00\"")->valuestring,
                        "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
    assert_string_equal(parse("{\"k\\u0065y\":1}")->child->string, "key");
}

/* The scan works on blocks of sixteen bytes: what it must see may lie at any place of a block. */
static void a_special_byte_is_seen_at_every_offset(void **state)
{
    (void)state;
    for (size_t n = 0; n < 70; n++) {
        char body[80], text[200], want[100];
        memset(body, 'a', n);
        body[n] = '\0';
        snprintf(text, sizeof text, "\"%s\\n%s\"", body, body);
        snprintf(want, sizeof want, "%.40s\n%.40s", body, body);
        if (n <= 40) { assert_string_equal(parse(text)->valuestring, want); }
        snprintf(text, sizeof text, "\"%s\xC3\xA9\"", body);
        snprintf(want, sizeof want, "%s\xC3\xA9", body);
        assert_string_equal(parse(text)->valuestring, want);
        snprintf(text, sizeof text, "\"%s\x01\"", body);
        refused(text, 1, (uint32_t)n + 2,
                "expected an escape, found the control character 0x01 as it is in a string");
        snprintf(text, sizeof text, "\"%s\xFF%.20s\"", body, body);
        refused(text, 1, (uint32_t)n + 2,
                "expected UTF-8, found an invalid sequence at byte 0xFF in a string");
        snprintf(text, sizeof text, "\"%s", body);
        refused(text, 1, 1,
                "expected the closing quote of the string that begins here, found the end of the text");
    }
}

static void each_kind_of_mistake_has_its_message_and_position(void **state)
{
    (void)state;
    refused("", 1, 1, "expected a value, found the end of the text");
    refused("[1] x", 1, 5, "expected nothing after the JSON value, found 'x'");
    refused("\xEF\xBB\xBF[]", 1, 1, "expected a value, found a byte order mark (EF BB BF)");
    refused("[1,]", 1, 4, "expected another member after ',', found ']'");
    refused("{\"a\":1,}", 1, 8, "expected another member after ',', found '}'");
    refused("[1 2]", 1, 4, "expected ',' or ']', found '2'");
    refused("{\"a\" 1}", 1, 6, "expected ':' after a key, found '1'");
    refused("{a:1}", 1, 2, "expected a key in double quotes, found 'a'");
    refused("['a']", 1, 2, "expected a value, found a single quote: JSON strings take \"");
    refused("[1,\n  NaN]", 2, 3, "expected a value, found NaN, which is not JSON");
    refused("-Infinity", 1, 1, "expected a number, found -Infinity, which is not JSON");
    refused("[True]", 1, 2, "expected a value, found True, which is not JSON");
    refused("[nul]", 1, 2, "expected a value, found 'n'");
    refused("01", 1, 1, "expected no digit after a leading zero, found '1'");
    refused("1.", 1, 3, "expected a digit after the decimal point, found the end of the text");
    refused("1e+", 1, 4, "expected a digit in the exponent, found the end of the text");
    refused("-x", 1, 2, "expected a digit after '-', found 'x'");
    refused("\"\\x\"", 1, 2, "expected one of \" \\ / b f n r t u after a backslash, found 'x'");
    refused("\"\\u12g4\"", 1, 2, "expected four hexadecimal digits after \\u");
    refused("\"\\ud800\"", 1, 2,
            "found the lone surrogate \\ud800: expected a pair \\ud800-\\udbff, \\udc00-\\udfff");
    refused("\"\\ud800\\u0041\"", 1, 2,
            "found the lone surrogate \\ud800: expected a pair \\ud800-\\udbff, \\udc00-\\udfff");
    refused("\"\\udc00\"", 1, 2,
            "found the lone surrogate \\udc00: expected a pair \\ud800-\\udbff, \\udc00-\\udfff");
    refused("\"a\\u0000\"", 1, 3, "found \\u0000: a NUL character cannot be held in a string");
    refused("{\n\"a\":1,\n \"a\":2}", 3, 2, "the key \"a\" occurs twice in one object");
    refused("{\"a\":1,\"\\u0061\":2}", 1, 8, "the key \"a\" occurs twice in one object");
    refused("\"a", 1, 1,
            "expected the closing quote of the string that begins here, found the end of the text");
    refused("\"a\\", 1, 4, "expected the rest of a string, found the end of the text");
    refused("\"\\\n\"", 1, 3, "expected an escape, found the control character 0x0A as it is in a string");
    refused("\"\\\xC3\xA9\"", 1, 2, "expected one of \" \\ / b f n r t u after a backslash, found byte 0xC3");
    refused_bytes("[\0]", 3, FMP_E_DATA, 1, 2, "expected a value, found byte 0x00");
    refused_bytes("\"a\0b\"", 5, FMP_E_DATA, 1, 3,
                  "expected an escape, found the control character 0x00 as it is in a string");
}

static void invalid_utf8_is_found_where_it_begins(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t at;
    } cases[] = {
        {"ok", 2},
        {"", 0},
        {"\xC3\xA9", 2},
        {"\xED\x9F\xBF\xEE\x80\x80", 6},
        {"\xF4\x8F\xBF\xBF", 4},
        {"a\x80", 1},
        {"\xC0\x80", 0},
        {"\xC1\xBF", 0},
        {"ab\xE0\x9F\xBF", 2},
        {"\xED\xA0\x80", 0},
        {"\xF0\x8F\xBF\xBF", 0},
        {"\xF4\x90\x80\x80", 0},
        {"\xF5\x80\x80\x80", 0},
        {"xx\xE2\x82", 2},
        {"\xE2\x82\xAC\xE2\x82", 3},
        {"aaaaaaaaaaaaaaaaaaa\xFF", 19},
        {"\xC3", 0},
        {"\xF0\x9F\x98", 0},
        {"\xE2\x28\xA1", 0},
        {"\xF0\x9F\x28\x80", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(fmp_utf8_invalid_at(cases[i].text, strlen(cases[i].text)), cases[i].at);
    }
}

static void limits_are_exact(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    cJSON *node;
    char text[600];
    for (size_t depth = 64; depth <= 65; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_int_equal(fmp_json_parse(text, 2 * depth, NULL, &node, &err),
                         depth == 64 ? FMP_OK : FMP_E_RANGE);
    }
    assert_string_equal(err.message, "nested more than 64 levels deep");
    assert_int_equal(err.column, 65);
    memset(text, '[', 300);
    memset(text + 300, ']', 300);
    fmp_json_limits limits = {.max_depth = 300};
    assert_int_equal(fmp_json_parse(text, 600, &limits, &node, &err), FMP_OK);
    limits = (fmp_json_limits){.max_bytes = 4};
    assert_int_equal(fmp_json_parse("1234", 4, &limits, &node, &err), FMP_OK);
    assert_int_equal(fmp_json_parse("12345", 5, &limits, &node, &err), FMP_E_RANGE);
    assert_string_equal(err.message, "the JSON text has 5 bytes, more than the limit of 4");
}

/*
 * Objects of up to 16 keys are compared pair by pair, larger ones by a hash set: both, and the change,
 * are tried.
 */
static void a_duplicate_key_is_found_in_objects_of_any_size(void **state)
{
    (void)state;
    for (int n = 1; n <= 200; n += n < 40 ? 1 : 37) {
        for (int twice = 0; twice < n; twice += 1 + n / 7) {
            fmp_buf text = {0};
            cJSON *node;
            fmp_buf_putc(&text, '{');
            for (int i = 0; i < n; i++) {
                fmp_buf_printf(&text, "\"key%d\":%d,", i, i);
            }
            size_t where = text.len;
            fmp_buf_printf(&text, "\"key%d\":0}", twice);
            fmp_err err = FMP_ERR_INIT;
            assert_int_equal(fmp_json_parse(text.data, text.len, NULL, &node, &err), FMP_E_DATA);
            assert_int_equal(err.offset, where);
            fmp_json_limits lenient = {.allow_duplicates = true};
            assert_int_equal(fmp_json_parse(text.data, text.len, &lenient, &node, &err), FMP_OK);
            assert_int_equal(cJSON_GetArraySize(node), n + 1);
            text.data[where - 1] = '}';
            assert_int_equal(fmp_json_parse(text.data, where, NULL, &node, &err), FMP_OK);
            fmp_buf_free(&text);
        }
    }
}

/* ---- numbers ---- */

static void numbers_print_as_they_were_read(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "0",
        "-0",
        "1",
        "-1",
        "123456789012345",
        "9007199254740992",
        "9007199254740993",
        "12345678901234567890",
        "1.0",
        "-0.0",
        "0.5",
        "0.10",
        "0.1",
        "3.14159",
        "0.0001",
        "0.00001",
        "0.00012345",
        "1e5",
        "1E5",
        "1e-05",
        "1e+16",
        "1e400",
        "-1e400",
        "2.5e-300",
        "0.1234567890123456",
        "0.30000000000000004",
        "123456.789",
        "99999999999999.9",
        "999999999999999.5",
        "100000000000000000000",
        "1.7976931348623157e+308",
        "5e-324",
        "4.9406564584124654e-324",
        "0.000",
        "1.50",
        "-12.25",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        unchanged(texts[i]);
    }
}

static void numbers_cjson_can_hold_are_numbers_and_others_are_raw(void **state)
{
    (void)state;
    static const char *const plain[] = {"0",   "-7",     "123456789012345", "0.5",
                                        "0.1", "-12.25", "1e-05",           "0.0001"};
    static const char *const raw[] = {"1.0", "1e5", "0.00001", "9007199254740993", "1e400", "0.10"};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        const cJSON *node = parse(plain[i]);
        assert_true(cJSON_IsNumber(node));
        assert_true(node->valuedouble == strtod(plain[i], NULL));
    }
    for (size_t i = 0; i < sizeof raw / sizeof raw[0]; i++) {
        double value;
        const cJSON *node = parse(raw[i]);
        assert_true(cJSON_IsRaw(node));
        assert_true(fmp_json_number(node, &value));
        assert_true(value == strtod(raw[i], NULL));
    }
}

static void random_decimals_survive_and_have_the_nearest_value(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 20000; i++) {
        char text[40];
        int digits = (int)fmp_rng_below(1, 0, i, 18);
        uint64_t whole = fmp_rng_u64(1, 1, i) >> fmp_rng_below(1, 2, i, 64);
        uint64_t fraction = fmp_rng_u64(1, 3, i) % 1000000000u;
        snprintf(text, sizeof text, i & 1 ? "-%llu.%0*llu" : "%llu.%0*llu",
                 (unsigned long long)whole % 1000000u, digits, (unsigned long long)fraction);
        unchanged(text);
        double value = 0;
        assert_true(fmp_json_number(parse(text), &value));
        assert_true(value == strtod(text, NULL));
    }
}

static void valueint_saturates_as_in_cjson(void **state)
{
    (void)state;
    assert_int_equal(parse("2147483648")->valueint, INT_MAX);
    assert_int_equal(parse("-2147483649")->valueint, INT_MIN);
    assert_int_equal(parse("2147483646")->valueint, 2147483646);
}

static void a_node_that_is_not_a_number_has_none(void **state)
{
    (void)state;
    double value;
    assert_false(fmp_json_number(NULL, &value));
    assert_false(fmp_json_number(parse("\"1\""), &value));
    static const char *const not_numbers[] = {"",    "-",   "01",  "1.",   ".5", "1e", "1e+",
                                              "[1]", "nan", "inf", "0x10", "1 ", "+1"};
    for (size_t i = 0; i < sizeof not_numbers / sizeof not_numbers[0]; i++) {
        if (fmp_json_number(cJSON_CreateRaw(not_numbers[i]), &value)) {
            fail_msg("a number: %s", not_numbers[i]);
        }
    }
}

/* ---- printing ---- */

static void the_styles_differ_in_white_space_only(void **state)
{
    (void)state;
    const char *text = "{\"b\":[1,{}],\"a\":{\"y\":[],\"x\":null}}";
    unchanged(text);
    prints_as(text, FMP_JSON_SPACED, "{\"b\": [1, {}], \"a\": {\"y\": [], \"x\": null}}");
    prints_as(text, FMP_JSON_COMPACT | FMP_JSON_SORTED, "{\"a\":{\"x\":null,\"y\":[]},\"b\":[1,{}]}");
    prints_as(text, FMP_JSON_PRETTY,
              "{\n  \"b\": [\n    1,\n    {}\n  ],\n  \"a\": {\n    \"y\": [],\n    \"x\": null\n  }\n}");
}

static void only_what_must_be_escaped_is_escaped(void **state)
{
    (void)state;
    unchanged("\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\x7F/\xC3\xA9\xF0\x9F\x98\x80\"");
    prints_as("\"\\u001F\\/\\u00e9\"", 0, "\"\\u001f/\xC3\xA9\"");
}

static void sorting_is_by_bytes_and_keeps_equal_keys_in_order(void **state)
{
    (void)state;
    fmp_json_limits lenient = {.allow_duplicates = true};
    const char *text = "{\"b\":1,\"a\":1,\"B\":2,\"\xC3\xA9\":3,\"a\":2,\"\":0}";
    cJSON *node;
    assert_int_equal(fmp_json_parse(text, strlen(text), &lenient, &node, NULL), FMP_OK);
    char *printed = fmp_json_text(node, FMP_JSON_SORTED);
    assert_string_equal(printed, "{\"\":0,\"B\":2,\"a\":1,\"a\":2,\"b\":1,\"\xC3\xA9\":3}");
    free(printed);
}

static void nodes_made_by_hand_print_as_cjson_would(void **state)
{
    (void)state;
    cJSON *node = cJSON_CreateArray();
    cJSON_AddItemToArray(node, cJSON_CreateNumber(1.0 / 3.0));
    cJSON_AddItemToArray(node, cJSON_CreateNumber(1e300 * 1e300));
    cJSON_AddItemToArray(node, cJSON_CreateNumber(-9007199254740992.0));
    cJSON_AddItemToArray(node, cJSON_CreateRaw("{\"kept\":  1}"));
    cJSON_AddItemToArray(node, cJSON_CreateStringReference("borrowed"));
    char *text = fmp_json_text(node, 0);
    assert_string_equal(text, "[0.33333333333333331,null,-9007199254740992,{\"kept\":  1},\"borrowed\"]");
    free(text);
    text = fmp_json_text(NULL, 0);
    assert_string_equal(text, "null");
    free(text);
}

static void a_cycle_fails_instead_of_overflowing_the_stack(void **state)
{
    (void)state;
    cJSON *node = parse("[[1]]");
    node->child->child = node->child;
    assert_null(fmp_json_text(node, 0));
    node->child->child = NULL;
}

/* ---- looking things up ---- */

static void typed_lookups_fall_back(void **state)
{
    (void)state;
    const cJSON *node = parse("{\"s\":\"text\",\"n\":1.50,\"b\":true,\"S\":\"other\"}");
    assert_string_equal(fmp_json_str(node, "s", "x"), "text");
    assert_string_equal(fmp_json_str(node, "n", "x"), "x");
    assert_null(fmp_json_str(node, "absent", NULL));
    assert_true(fmp_json_num(node, "n", 0) == 1.5);
    assert_true(fmp_json_num(node, "s", 7) == 7);
    assert_true(fmp_json_bool(node, "b", false));
    assert_true(fmp_json_bool(node, "s", true));
    assert_null(fmp_json_get(NULL, "s"));
    assert_null(fmp_json_get(parse("[1]"), "s"));
}

static void located(const char *text, const char *path, const char *want)
{
    size_t offset = 0;
    if (!fmp_json_locate(text, strlen(text), path, &offset)) { fail_msg("not found: %s", path); }
    assert_memory_equal(text + offset, want, strlen(want));
}

static void a_path_leads_to_the_offset_of_its_value(void **state)
{
    (void)state;
    const char *text =
        " {\"messages\": [ {\"role\":\"a]}\\\"\"} ,{\"tool_calls\":[{\"function\":{\"name\" : 1.5e3}}]}], "
        "\"a.b\":{\"c\":true}, \"a\":{\"b\":null}, \"\\u0065\":\"last\"}";
    size_t offset;
    located(text, "", "{\"messages\"");
    located(text, "messages", "[ {");
    located(text, "messages[0].role", "\"a]}");
    located(text, "messages[1].tool_calls[0].function", "{\"name\" :");
    located(text, "messages[1].tool_calls[0].function.name", "1.5e3");
    located(text, "a.b.c", "true");
    located(text, "e", "\"last\"");
    located("[[1,2],[3]]", "[1][0]", "3");
    static const char *const absent[] = {
        "messages[2]", "messages[x]",        "messages[0", "messages.role",
        "nothing",     "messages[0].role.x", "mess",       "messages[99999999999999999999]"};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        if (fmp_json_locate(text, strlen(text), absent[i], &offset)) { fail_msg("found: %s", absent[i]); }
    }
    assert_false(fmp_json_locate("", 0, "", &offset));
}

static void compared(const char *a, const char *b, bool want)
{
    if (fmp_json_equal(parse(a), parse(b)) != want) {
        fail_msg("%s %s %s", a, want ? "should equal" : "equals", b);
    }
}

static void equality_is_of_values(void **state)
{
    (void)state;
    compared("{\"a\":1,\"b\":[true,null]}", "{\"b\":[true,null],\"a\":1.0}", true);
    compared("{\"a\":1}", "{\"a\":1,\"b\":1}", false);
    compared("{\"a\":1,\"b\":2}", "{\"a\":1,\"c\":2}", false);
    compared("[1,2]", "[2,1]", false);
    compared("[1]", "[1,1]", false);
    compared("1", "\"1\"", false);
    compared("true", "false", false);
    compared("1", "1.0", true);
    compared("100", "1e2", true);
    compared("0.1", "1E-1", true);
    compared("0.10", "0.100", true);
    compared("-0", "0", true);
    compared("0.0", "0e5", true);
    compared("-1", "1", false);
    compared("12.50", "1.25e1", true);
    compared("0.001", "0.0010", true);
    compared("9007199254740993", "9007199254740992", false);
    compared("9007199254740993", "9007199254740993.0", true);
    compared("1e400", "1e401", false);
    compared("1e99999999999999999999", "1e-99999999999999999999", false);
    compared("\"a\"", "\"\\u0061\"", true);
    assert_false(fmp_json_equal(NULL, parse("null")));
}

/* ---- where nodes live ---- */

static void heap_and_arena_nodes_can_be_deleted_alike(void **state)
{
    (void)state;
    cJSON *in_arena = parse("{\"a\":[1,2.50,\"x\"]}");
    assert_true(fmp_arena_owns(in_arena));
    assert_true(fmp_arena_owns(in_arena->child->string));
    assert_ptr_equal(fmp_json_scope(NULL), arena);
    cJSON *on_heap = parse("{\"a\":[1,2.50,\"x\"],\"b\":{}}");
    assert_false(fmp_arena_owns(on_heap));
    cJSON *mixed = cJSON_Duplicate(in_arena, true);
    assert_false(fmp_arena_owns(mixed));
    assert_true(cJSON_AddItemToArray(mixed->child, cJSON_CreateString("heap")));
    fmp_json_scope(arena);
    assert_true(cJSON_AddItemToArray(mixed->child, cJSON_CreateString("arena")));
    cJSON_Delete(mixed);
    cJSON_Delete(on_heap);
    cJSON_Delete(in_arena);
}

static void an_error_on_the_heap_frees_what_was_read(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"a\":[1,2.50,\"x\",{\"b\":1,\"b\":2}]}",
        "{\"k\\q\":1}",
        "[\"\\ud800\"]",
        "{\"a\" 1}",
        "[1.0,1.0,",
        "[\"abc",
        "{\"a\":[[[[[[1e9999,}",
        ("{\"1\":1,\"2\":1,\"3\":1,\"4\":1,\"5\":1,\"6\":1,\"7\":1,\"8\":1,\"9\":1,\"a\":1,\"b\":1,"
         "\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":["),
    };
    fmp_json_scope(NULL);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        cJSON *node;
        assert_int_equal(fmp_json_parse(texts[i], strlen(texts[i]), NULL, &node, NULL), FMP_E_DATA);
        assert_null(node);
    }
    fmp_json_scope(arena);
}

static void an_arena_that_runs_out_is_an_error_of_the_reader(void **state)
{
    (void)state;
    for (size_t limit = 1; limit < 3000; limit += 16) {
        fmp_arena *small = fmp_arena_new(limit);
        fmp_err err = FMP_ERR_INIT;
        cJSON *node;
        const char *text = "{\"a\":[1,2,3,\"text\",{\"b\":null,\"c\":0.10}],\"d\":\"\\n\"}";
        fmp_arena *before = fmp_json_scope(small);
        fmp_status status = fmp_json_parse(text, strlen(text), NULL, &node, &err);
        fmp_json_scope(before);
        assert_true(status == FMP_OK ? node != NULL && limit > 500 : status == FMP_E_NOMEM && node == NULL);
        fmp_arena_free(small);
    }
}

static void a_loaded_file_that_is_wrong_is_named(void **state)
{
    (void)state;
    char path[] = "/tmp/fmp-test-json-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    fmp_err err = FMP_ERR_INIT;
    cJSON *node;
    assert_int_equal(fmp_write_file(path, "{\n  \"a\": tru\n}", 14, &err), FMP_OK);
    assert_int_equal(fmp_json_load(path, NULL, &node, &err), FMP_E_DATA);
    assert_string_equal(err.file, path);
    assert_int_equal(err.line, 2);
    assert_int_equal(err.column, 8);
    assert_int_equal(fmp_write_file(path, "{\"a\":1}", 7, &err), FMP_OK);
    assert_int_equal(fmp_json_load(path, NULL, &node, &err), FMP_OK);
    assert_true(fmp_json_num(node, "a", 0) == 1);
    unlink(path);
    assert_int_equal(fmp_json_load(path, NULL, &node, &err), FMP_E_IO);
}

/* ---- the public test suite ---- */

/*
 * Valid JSON that is refused on purpose: a cJSON string cannot hold NUL, and a duplicate key is always
 * a mistake.
 */
static bool refused_on_purpose(const char *name)
{
    static const char *const names[] = {
        "y_object_duplicated_key.json",
        "y_object_duplicated_key_and_value.json",
        "y_object_escaped_null_in_key.json",
        "y_string_null_escape.json",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) { return true; }
    }
    return false;
}

static void try_suite_file(const char *folder, const char *name)
{
    char path[700];
    fmp_err err = FMP_ERR_INIT;
    fmp_buf text = {0};
    cJSON *node, *again;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(fmp_read_file(path, 0, &text, &err), FMP_OK);
    fmp_status status = fmp_json_parse(text.data, text.len, NULL, &node, &err);
    bool accepted = status == FMP_OK;
    if (name[0] == 'y' && accepted == refused_on_purpose(name)) { fail_msg("%s: %s", name, err.message); }
    if (name[0] == 'n' && accepted) { fail_msg("%s was accepted", name); }
    if (!accepted) { assert_true(err.message[0] != '\0' && (status == FMP_E_DATA || status == FMP_E_RANGE)); }
    if (accepted) {
        char *printed = fmp_json_text(node, FMP_JSON_COMPACT);
        assert_int_equal(fmp_json_parse(printed, strlen(printed), NULL, &again, &err), FMP_OK);
        assert_true(fmp_json_equal(node, again));
        free(printed);
    }
    fmp_buf_free(&text);
}

static void the_public_parsing_suite_is_judged_as_it_should_be(void **state)
{
    (void)state;
    const char *data = getenv("FMP_SHARED_DATA");
    char folder[400];
    snprintf(folder, sizeof folder, "%s/json-test-suite/test_parsing", data ? data : "");
    DIR *dir = data ? opendir(folder) : NULL;
    if (!dir) {
        print_message("skipped: no json-test-suite below FMP_SHARED_DATA\n");
        skip();
    }
    int n = 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (!strstr(entry->d_name, ".json")) { continue; }
        try_suite_file(folder, entry->d_name);
        n++;
    }
    closedir(dir);
    print_message("%d files of the suite\n", n);
    assert_true(n > 300);
}

int main(void)
{
    fmp_json_install_hooks();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_have_their_types_and_order, use_arena, drop_arena),
        cmocka_unit_test_setup_teardown(lists_are_linked_as_cjson_links_them, use_arena, drop_arena),
        cmocka_unit_test_setup_teardown(escapes_become_the_characters_they_name, use_arena, drop_arena),
        cmocka_unit_test_setup_teardown(a_special_byte_is_seen_at_every_offset, use_arena, drop_arena),
        cmocka_unit_test_setup_teardown(each_kind_of_mistake_has_its_message_and_position, use_arena,
                                        drop_arena),
        cmocka_unit_test_setup_teardown(invalid_utf8_is_found_where_it_begins, use_arena, drop_arena),
        cmocka_unit_test_setup_teardown(limits_are_exact, use_arena, drop_arena),
        cmocka_unit_test_setup_teardown(a_duplicate_key_is_found_in_objects_of_any_size, use_arena,
                                        drop_arena),
        cmocka_unit_test_setup_teardown(numbers_print_as_they_were_read, use_arena, drop_arena),
        cmocka_unit_test_setup_teardown(numbers_cjson_can_hold_are_numbers_and_others_are_raw, use_arena,
                                        drop_arena),
        cmocka_unit_test_setup_teardown(random_decimals_survive_and_have_the_nearest_value, use_arena,
                                        drop_arena),
        cmocka_unit_test_setup_teardown(valueint_saturates_as_in_cjson, use_arena, drop_arena),
        cmocka_unit_test_setup_teardown(a_node_that_is_not_a_number_has_none, use_arena, drop_arena),
        cmocka_unit_test_setup_teardown(the_styles_differ_in_white_space_only, use_arena, drop_arena),
        cmocka_unit_test_setup_teardown(only_what_must_be_escaped_is_escaped, use_arena, drop_arena),
        cmocka_unit_test_setup_teardown(sorting_is_by_bytes_and_keeps_equal_keys_in_order, use_arena,
                                        drop_arena),
        cmocka_unit_test_setup_teardown(nodes_made_by_hand_print_as_cjson_would, use_arena, drop_arena),
        cmocka_unit_test_setup_teardown(a_cycle_fails_instead_of_overflowing_the_stack, use_arena,
                                        drop_arena),
        cmocka_unit_test_setup_teardown(typed_lookups_fall_back, use_arena, drop_arena),
        cmocka_unit_test_setup_teardown(a_path_leads_to_the_offset_of_its_value, use_arena, drop_arena),
        cmocka_unit_test_setup_teardown(equality_is_of_values, use_arena, drop_arena),
        cmocka_unit_test_setup_teardown(heap_and_arena_nodes_can_be_deleted_alike, use_arena, drop_arena),
        cmocka_unit_test_setup_teardown(an_error_on_the_heap_frees_what_was_read, use_arena, drop_arena),
        cmocka_unit_test_setup_teardown(an_arena_that_runs_out_is_an_error_of_the_reader, use_arena,
                                        drop_arena),
        cmocka_unit_test_setup_teardown(a_loaded_file_that_is_wrong_is_named, use_arena, drop_arena),
        cmocka_unit_test_setup_teardown(the_public_parsing_suite_is_judged_as_it_should_be, use_arena,
                                        drop_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
