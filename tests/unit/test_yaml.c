/* links: fmengine fmbase */
/*
 * test_yaml.c: the YAML reader: types, positions, refusals, limits, and the public YAML test suite.
 */
#include "yaml_tree.h"

#include <dirent.h>
#include <fmpipe/fs.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct parsed {
    fmp_arena *arena;
    fmp_yaml *root;
    fmp_diags diags;
    fmp_status status;
} parsed;

static parsed parse_bytes(const char *text, size_t len)
{
    parsed p = {.arena = fmp_arena_new(0)};
    p.status = fmp_yaml_parse(text, len, "t.yaml", "/dir", p.arena, &p.root, &p.diags, NULL);
    return p;
}

static parsed parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

static void done(parsed *p)
{
    fmp_diags_free(&p->diags);
    fmp_arena_free(p->arena);
}

/* The text is refused with exactly one problem, at line:column, with `part` in its message. */
static void assert_refused(const char *text, uint32_t line, uint32_t column, const char *part)
{
    parsed p = parse(text);
    assert_int_equal(p.status, FMP_E_CONFIG);
    assert_true(p.diags.n >= 1);
    const fmp_err *err = &p.diags.items[0].err;
    if (err->line != line || err->column != column || !strstr(err->message, part)) {
        print_error("%s\n-> %u:%u: %s\n", text, err->line, err->column, err->message);
    }
    assert_int_equal(err->line, line);
    assert_int_equal(err->column, column);
    assert_non_null(strstr(err->message, part));
    done(&p);
}

static void assert_json(const char *text, const char *json)
{
    parsed p = parse(text);
    if (p.diags.n > 0) { print_error("%s: %s\n", text, p.diags.items[0].err.message); }
    assert_int_equal(p.status, FMP_OK);
    cJSON *node = NULL;
    assert_int_equal(fmp_yaml_to_json(p.root, &node, NULL), FMP_OK);
    char *printed = fmp_json_text(node, FMP_JSON_COMPACT);
    assert_string_equal(printed, json);
    free(printed);
    cJSON_Delete(node);
    done(&p);
}

static void plain_scalars_have_the_types_of_the_core_schema(void **state)
{
    (void)state;
    assert_json("[no, yes, on, off, y, n, NO]", "[\"no\",\"yes\",\"on\",\"off\",\"y\",\"n\",\"NO\"]");
    assert_json("[true, True, TRUE, false, tRUE]", "[true,true,true,false,\"tRUE\"]");
    assert_json("[~, null, Null, NULL, nuLL, ]", "[null,null,null,null,\"nuLL\"]");
    assert_json("[0, -0, +12, 007, 0o17, 0x1F, 0X1F, 1_000]", "[0,0,12,7,15,31,\"0X1F\",\"1_000\"]");
    assert_json("[1.5, .5, 1., 1e3, -1.5E-2, 1e, e3, ., 12:30, 1.2.3]",
                "[1.5,0.5,1,1000,-0.015,\"1e\",\"e3\",\".\",\"12:30\",\"1.2.3\"]");
    assert_json("['12', \"true\", ~x]", "[\"12\",\"true\",\"~x\"]");
    assert_json("a:\nb: ''", "{\"a\":null,\"b\":\"\"}");
}

static void integers_beyond_2_53_keep_every_digit(void **state)
{
    (void)state;
    assert_json(
        "[9007199254740993, -9223372036854775808, 123456789012345678901234567890, 0xFFFFFFFFFFFFFFFF]",
        "[9007199254740993,-9223372036854775808,123456789012345678901234567890,18446744073709551615]");
}

static void infinities_are_numbers_that_json_cannot_hold(void **state)
{
    (void)state;
    parsed p = parse("[.inf, -.Inf, .NaN]");
    assert_int_equal(p.status, FMP_OK);
    assert_true(isinf(p.root->items[0]->number) && p.root->items[0]->number > 0);
    assert_true(isinf(p.root->items[1]->number) && p.root->items[1]->number < 0);
    assert_true(isnan(p.root->items[2]->number));
    cJSON *json = NULL;
    assert_int_equal(fmp_yaml_to_json(p.root, &json, NULL), FMP_E_CONFIG);
    done(&p);
}

static void marks_count_bytes_from_one(void **state)
{
    (void)state;
    parsed p = parse("a: ä\nliste: [ü, öl, 12]\nb: \"x y\"\n");
    assert_int_equal(p.status, FMP_OK);
    const fmp_yaml *twelve = fmp_yaml_get(p.root, "liste")->items[2];
    assert_int_equal(twelve->mark.line, 2);
    assert_int_equal(twelve->mark.column, 18);
    assert_int_equal(twelve->mark.span, 2);
    const fmp_yaml *b = fmp_yaml_get(p.root, "b");
    assert_int_equal(b->mark.line, 3);
    assert_int_equal(b->mark.column, 4);
    assert_int_equal(b->mark.span, 5);
    assert_string_equal(b->mark.file, "t.yaml");
    assert_string_equal(b->dir, "/dir");
    done(&p);
}

static void a_byte_order_mark_is_skipped(void **state)
{
    (void)state;
    assert_json("\xEF\xBB\xBF"
                "a: 1",
                "{\"a\":1}");
}

static void duplicate_keys_name_both_places(void **state)
{
    (void)state;
    assert_refused("a: 1\nb: 2\na: 3\n", 3, 1, "'a' again; it is also in 1:1");
    assert_refused("x: {k: 1, j: 2, k: 3}\n", 1, 17, "it is also in 1:5");
    assert_refused("a: 1\n\"a\": 2\n", 2, 1, "again");
}

static void features_outside_the_subset_are_named(void **state)
{
    (void)state;
    assert_refused("a: !!str 12\n", 1, 4, "found the tag");
    assert_refused("a: ! 12\n", 1, 4, "found the tag");
    assert_refused("a: &x 1\n", 1, 4, "found the anchor '&x'");
    assert_refused("a: *x\n", 1, 4, "found the alias '*x'");
    assert_refused("a: 1\n<<: {b: 2}\n", 2, 1, "merge key");
    assert_refused("a: 1\n---\nb: 2\n", 2, 1, "second document");
    assert_refused("12: a\n", 1, 1, "expected a string as key, found the integer 12");
    assert_refused("true: a\n", 1, 1, "expected a string as key, found the boolean true");
    assert_refused("? [a]\n: b\n", 1, 3, "expected a string as key, found a list");
    assert_refused("%YAML 1.1\n---\na: 1\n", 1, 1, "expected YAML 1.2");
    assert_refused("", 1, 1, "found an empty file");
    assert_refused("# only a comment\n", 1, 1, "found an empty file");
}

static void syntax_errors_say_what_was_expected(void **state)
{
    (void)state;
    assert_refused("a: b: c\n", 1, 5, "expected one value");
    assert_refused("a:\n\tb: 1\n", 2, 1, "found a tab");
    assert_refused("a: [1, 2\nb: 3\n", 2, 2, "expected ',' or ']'");
    assert_refused("a: {b: 1\nc: 3\n", 2, 2, "expected ',' or '}'");
    assert_refused("a: 'abc\n", 1, 4, "expected a closing single quote");
    assert_refused("a: \"abc\n", 1, 4, "expected a closing double quote");
    assert_refused("a: \"\\q\"\n", 1, 5, "expected a known escape");
    assert_refused("a: @x\n", 1, 4, "found '@x'");
    assert_refused("abc\nd: 1\n", 2, 2, "expected one value");
}

static void bytes_that_are_no_text_are_refused_where_they_are(void **state)
{
    (void)state;
    assert_refused("a: \xFF\n", 1, 4, "expected UTF-8");
    assert_refused("a: b\nc: \x01\n", 2, 4, "a control character");
    assert_refused("a: \"\\0\"\n", 1, 4, "U+0000");
    assert_refused("a: \"x\xE2\x80\xA8y\"\n", 1, 6, "U+2028");
    parsed p = parse_bytes("a: \0b", 5);
    assert_int_equal(p.status, FMP_E_CONFIG);
    done(&p);
}

static char *repeat(const char *text, size_t times)
{
    size_t n = strlen(text);
    char *out = malloc(n * times + 1);
    assert_non_null(out);
    for (size_t i = 0; i < times; i++) {
        memcpy(out + i * n, text, n);
    }
    out[n * times] = '\0';
    return out;
}

static void depth_size_and_count_have_limits(void **state)
{
    (void)state;
    char *deep = repeat("[", 64), *close = repeat("]", 64);
    fmp_buf text = {0};
    fmp_buf_printf(&text, "%s%s", deep, close);
    parsed p = parse(text.data);
    assert_int_equal(p.status, FMP_OK);
    done(&p);
    free(deep);
    deep = repeat("[", 100000);
    assert_refused(deep, 1, 65, "64 levels");
    char *many = repeat("- a\n", 100001);
    parsed q = parse(many);
    assert_int_equal(q.status, FMP_E_CONFIG);
    assert_non_null(strstr(q.diags.items[0].err.message, "at most 100000 values"));
    done(&q);
    char *large = repeat("#aaaaaaa", 1 << 20);
    parsed r = parse(large);
    assert_int_equal(r.status, FMP_E_CONFIG);
    assert_non_null(strstr(r.diags.items[0].err.message, "bytes of YAML"));
    done(&r);
    free(deep);
    free(close);
    free(many);
    free(large);
    fmp_buf_free(&text);
}

/* Every prefix of a file, and the file with each byte changed, ends in a tree or in a problem with a
 * place. */
static void damaged_text_never_gets_past_the_reader(void **state)
{
    (void)state;
    static const char text[] =
        "fmpipe: 1\nvars: {a: \"x\\ty\", b: [1, 'q']}\nstages:\n  - id: read # c\n    with: |\n      t\n";
    static const char swaps[] = "\t\"'[]{}:,#&*!|>%@`-?\\ \n\x80\xC3";
    char copy[sizeof text];
    for (size_t i = 0; i < sizeof text - 1; i++) {
        parsed p = parse_bytes(text, i);
        assert_true(p.status == FMP_OK || p.diags.n > 0);
        done(&p);
        for (size_t s = 0; s < sizeof swaps - 1; s++) {
            memcpy(copy, text, sizeof text);
            copy[i] = swaps[s];
            parsed q = parse_bytes(copy, sizeof text - 1);
            assert_true(q.status == FMP_OK || q.diags.n > 0);
            if (q.diags.n > 0) { assert_true(q.diags.items[0].err.line > 0); }
            done(&q);
        }
    }
}

/* ---- the YAML test suite ---- */

typedef struct suite_count {
    size_t n_cases, n_right, n_refused, n_wrong, n_invalid_refused, n_invalid_accepted;
} suite_count;

static void replace_all(fmp_buf *out, const char *text, const char *const (*pairs)[2])
{
    while (*text) {
        size_t i = 0;
        for (; pairs[i][0]; i++) {
            size_t n = strlen(pairs[i][0]);
            if (strncmp(text, pairs[i][0], n) != 0) { continue; }
            fmp_buf_puts(out, pairs[i][1]);
            text += n;
            break;
        }
        if (!pairs[i][0]) { fmp_buf_putc(out, *text++); }
    }
}

/* The suite writes invisible characters as visible ones. */
static char *unescape(const char *text)
{
    static const char *const pairs[][2] = {
        {"␣", " "}, {"————»", "\t"}, {"———»", "\t"}, {"——»", "\t"}, {"—»", "\t"},          {"»", "\t"},
        {"↵", ""},  {"∎\n", ""},     {"∎", ""},      {"←", "\r"},   {"⇔", "\xEF\xBB\xBF"}, {NULL, NULL}};
    fmp_buf out = {0};
    replace_all(&out, text, pairs);
    return out.data ? out.data : strdup("");
}

static void check_case(const char *file, const char *text, const char *json, bool fail, suite_count *count)
{
    char *yaml = unescape(text);
    parsed p = parse(yaml);
    bool accepted = p.status == FMP_OK;
    count->n_cases++;
    if (fail) {
        if (accepted) { print_message("accepted, but invalid in YAML 1.2: %s\n", file); }
        *(accepted ? &count->n_invalid_accepted : &count->n_invalid_refused) += 1;
    } else if (!accepted) {
        count->n_refused++;
    } else {
        cJSON *got = NULL, *want = NULL;
        bool same = json && fmp_yaml_to_json(p.root, &got, NULL) == FMP_OK &&
                    fmp_json_parse(json, strlen(json), NULL, &want, NULL) == FMP_OK &&
                    fmp_json_equal(got, want);
        if (!same) {
            char *shown = got ? fmp_json_text(got, FMP_JSON_COMPACT) : NULL;
            print_error("%s: expected %s, found %s\n", file, json ? json : "(nothing)",
                        shown ? shown : "(nothing)");
            free(shown);
        }
        *(same ? &count->n_right : &count->n_wrong) += 1;
        cJSON_Delete(got);
        cJSON_Delete(want);
    }
    done(&p);
    free(yaml);
}

/* A file of the suite is a list; yaml and json that are absent are those of the item before. */
static void check_file(const char *path, const char *name, suite_count *count)
{
    fmp_buf text = {0};
    assert_int_equal(fmp_read_file(path, 0, &text, NULL), FMP_OK);
    parsed p = parse_bytes(text.data, text.len);
    assert_int_equal(p.status, FMP_OK);
    const char *yaml = NULL, *json = NULL;
    bool fail = false;
    for (size_t i = 0; i < p.root->n; i++) {
        const fmp_yaml *item = p.root->items[i], *y = fmp_yaml_get(item, "yaml"),
                       *j = fmp_yaml_get(item, "json");
        const fmp_yaml *f = fmp_yaml_get(item, "fail");
        if (y) { yaml = y->text; }
        if (j) { json = j->text; }
        fail = f && f->truth;
        if (yaml) { check_case(name, yaml, json, fail, count); }
    }
    done(&p);
    fmp_buf_free(&text);
}

static int is_yaml(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return n > 5 && strcmp(e->d_name + n - 5, ".yaml") == 0;
}

static void what_is_accepted_of_the_yaml_test_suite_is_right(void **state)
{
    (void)state;
    const char *shared = getenv("FMP_SHARED_DATA");
    char dir[1024];
    snprintf(dir, sizeof dir, "%s/yaml-test-suite/src", shared ? shared : "");
    struct dirent **files = NULL;
    int n = shared ? scandir(dir, &files, is_yaml, alphasort) : -1;
    if (n <= 0) {
        print_message("skipped: FMP_SHARED_DATA names no folder with yaml-test-suite\n");
        skip();
    }
    suite_count count = {0};
    for (int i = 0; i < n; i++) {
        char *path = fmp_path_join(dir, files[i]->d_name);
        check_file(path, files[i]->d_name, &count);
        free(path);
        free(files[i]);
    }
    free(files);
    print_message("yaml-test-suite: %zu cases; valid: %zu read right, %zu refused, %zu wrong; invalid: %zu "
                  "refused, %zu accepted\n",
                  count.n_cases, count.n_right, count.n_refused, count.n_wrong, count.n_invalid_refused,
                  count.n_invalid_accepted);
    assert_int_equal(count.n_wrong, 0);
    assert_true(count.n_right >= 150);
}

int main(void)
{
    fmp_json_install_hooks();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_scalars_have_the_types_of_the_core_schema),
        cmocka_unit_test(integers_beyond_2_53_keep_every_digit),
        cmocka_unit_test(infinities_are_numbers_that_json_cannot_hold),
        cmocka_unit_test(marks_count_bytes_from_one),
        cmocka_unit_test(a_byte_order_mark_is_skipped),
        cmocka_unit_test(duplicate_keys_name_both_places),
        cmocka_unit_test(features_outside_the_subset_are_named),
        cmocka_unit_test(syntax_errors_say_what_was_expected),
        cmocka_unit_test(bytes_that_are_no_text_are_refused_where_they_are),
        cmocka_unit_test(depth_size_and_count_have_limits),
        cmocka_unit_test(damaged_text_never_gets_past_the_reader),
        cmocka_unit_test(what_is_accepted_of_the_yaml_test_suite_is_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
