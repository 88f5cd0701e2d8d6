/* links: fmengine fmbase */
/*
 * test_options.c: fmp_options_check: defaults, types, ranges, names, nesting, paths. Exact messages where a
 * person reads them.
 */
#include "options.h"

#include <fmpipe/fs.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const fmp_option rows[] = {
    {.name = "pattern",
     .type = FMP_OPT_STRING,
     .flags = FMP_OPT_REQUIRED,
     .min = 1,
     .max = 8,
     .help = "What."},
    {.name = "times", .type = FMP_OPT_INT, .def = "1", .min = 1, .max = 9, .help = "How often."},
    {.name = NULL}};

static const fmp_option table[] = {
    {.name = "flag", .type = FMP_OPT_BOOL, .def = "false", .help = "A switch."},
    {.name = "rank",
     .type = FMP_OPT_INT,
     .def = "32",
     .unit = "columns",
     .min = 1,
     .max = 1024,
     .help = "A number."},
    {.name = "big", .type = FMP_OPT_INT, .help = "Any integer."},
    {.name = "rate", .type = FMP_OPT_FLOAT, .def = "1e-3", .min = 0, .max = 1, .help = "A share."},
    {.name = "label", .type = FMP_OPT_STRING, .def = "x", .min = 1, .max = 5, .help = "A text."},
    {.name = "mode",
     .type = FMP_OPT_ENUM,
     .def = "drop",
     .choices = "error|drop|split|8",
     .help = "A choice."},
    {.name = "memory", .type = FMP_OPT_SIZE, .def = "64KiB", .min = 1024, .max = 1e12, .help = "A size."},
    {.name = "augment.rename", .type = FMP_OPT_BOOL, .def = "true", .help = "Nested."},
    {.name = "augment.deep.p", .type = FMP_OPT_FLOAT, .def = "0.5", .help = "Nested twice."},
    {.name = "names", .type = FMP_OPT_LIST, .def = "[a, b]", .help = "Texts."},
    {.name = "rules", .type = FMP_OPT_TABLE, .def = "[]", .items = rows, .help = "Rows."},
    {.name = "vars", .type = FMP_OPT_MAP, .help = "Scalars by name."},
    {.name = "any", .type = FMP_OPT_JSON, .help = "Anything."},
    {.name = NULL}};

static const fmp_option paths[] = {
    {.name = "file", .type = FMP_OPT_PATH, .help = "One."},
    {.name = "files", .type = FMP_OPT_PATHS, .help = "Many."},
    {.name = "out", .type = FMP_OPT_PATH, .flags = FMP_OPT_OUTPUT, .help = "Written."},
    {.name = NULL}};

static void assert_values(const fmp_option *t, const char *given, const char *dir, const char *expected)
{
    cJSON *in = NULL, *values = NULL;
    fmp_err err = FMP_ERR_INIT;
    assert_int_equal(fmp_json_parse(given, strlen(given), NULL, &in, &err), FMP_OK);
    fmp_status status = fmp_options_check(t, in, dir, &values, &err);
    if (status != FMP_OK) { print_error("%s: %s\n", given, err.message); }
    assert_int_equal(status, FMP_OK);
    char *text = fmp_json_text(values, FMP_JSON_COMPACT);
    assert_string_equal(text, expected);
    free(text);
    cJSON_Delete(values);
    cJSON_Delete(in);
}

static void assert_problem(const fmp_option *t, const char *given, const char *option, const char *message,
                           const char *hint)
{
    cJSON *in = NULL, *values = NULL;
    fmp_err err = FMP_ERR_INIT;
    assert_int_equal(fmp_json_parse(given, strlen(given), NULL, &in, &err), FMP_OK);
    assert_int_equal(fmp_options_check(t, in, NULL, &values, &err), FMP_E_CONFIG);
    assert_null(values);
    assert_string_equal(err.message, message);
    assert_string_equal(err.option, option);
    if (hint) { assert_string_equal(err.hint, hint); }
    cJSON_Delete(in);
}

static void defaults_come_in_the_order_of_the_table(void **state)
{
    (void)state;
    static const char all[] =
        "{\"flag\":false,\"rank\":32,\"rate\":0.001,\"label\":\"x\",\"mode\":\"drop\",\"memory\":65536,"
        "\"augment\":{\"rename\":true,\"deep\":{\"p\":0.5}},\"names\":[\"a\",\"b\"],\"rules\":[]}";
    assert_values(table, "{}", NULL, all);
    assert_values(table, "{\"names\":[\"a\",\"b\"],\"rank\":32,\"flag\":false}", NULL, all);
    assert_values(table, "{\"rank\":null}", NULL, all);
}

static void given_values_replace_defaults(void **state)
{
    (void)state;
    assert_values(
        table,
        "{\"rank\":8,\"rate\":0,\"label\":\"y\",\"mode\":\"8\",\"memory\":\"2MiB\",\"augment\":{\"deep\":{"
        "\"p\":1}},"
        "\"names\":\"one\",\"rules\":[{\"pattern\":\"a\"},{\"times\":2,\"pattern\":\"b\"}],\"vars\":{\"k\":1."
        "5,\"l\":\"m\"},"
        "\"any\":[null,{}],\"big\":9223372036854775807}",
        NULL,
        "{\"flag\":false,\"rank\":8,\"big\":9223372036854775807,\"rate\":0,\"label\":\"y\",\"mode\":\"8\","
        "\"memory\":2097152,\"augment\":{\"rename\":true,\"deep\":{\"p\":1}},\"names\":[\"one\"],"
        "\"rules\":[{\"pattern\":\"a\",\"times\":1},{\"pattern\":\"b\",\"times\":2}],\"vars\":{\"k\":1.5,"
        "\"l\":\"m\"},"
        "\"any\":[null,{}]}");
}

static void wrong_types_name_both_sides(void **state)
{
    (void)state;
    assert_problem(table, "{\"rank\":\"abc\"}", "rank", "'rank': expected an integer, found the string 'abc'",
                   NULL);
    assert_problem(table, "{\"rank\":1.5}", "rank", "'rank': expected an integer, found the number 1.5",
                   NULL);
    assert_problem(table, "{\"rate\":[1]}", "rate", "'rate': expected a number, found a list", NULL);
    assert_problem(table, "{\"flag\":\"yes\"}", "flag",
                   "'flag': expected true or false, found the string 'yes'", "write true");
    assert_problem(table, "{\"label\":12}", "label", "'label': expected a string, found the integer 12",
                   "put it in quotes: \"12\"");
    assert_problem(table, "{\"names\":[\"a\",3]}", "names[1]",
                   "'names[1]': expected a string in the list, found the integer 3", NULL);
    assert_problem(table, "{\"memory\":\"2 lots\"}", "memory",
                   "'memory': expected a size such as 4096, 64KiB or 2GiB, found the string '2 lots'", NULL);
    assert_problem(table, "{\"rules\":{}}", "rules", "'rules': expected a list of maps, found a map", NULL);
    assert_problem(table, "{\"vars\":{\"k\":[]}}", "vars.k",
                   "'vars.k': expected a string, number or boolean, found an empty list", NULL);
    assert_problem(table, "{\"augment\":3}", "", "'augment': expected a map, found the integer 3", NULL);
    assert_problem(table, "{\"big\":9223372036854775808}", "big",
                   "'big': expected an integer of 64 bits, found 9223372036854775808", NULL);
}

static void values_out_of_range_name_the_range(void **state)
{
    (void)state;
    assert_problem(table, "{\"rank\":0}", "rank", "'rank': expected 1 … 1024 columns, found 0", NULL);
    assert_problem(table, "{\"rate\":1.5}", "rate", "'rate': expected 0 … 1, found 1.5", NULL);
    assert_problem(table, "{\"label\":\"abcdef\"}", "label",
                   "'label': expected a string of 1 … 5 bytes, found one of 6", NULL);
    assert_problem(table, "{\"memory\":\"1KB\"}", "memory",
                   "'memory': expected 1024 … 1000000000000, found 1000", NULL);
    assert_problem(table, "{\"mode\":\"splat\"}", "mode",
                   "'mode': expected error, drop, split or 8, found the string 'splat'",
                   "did you mean 'split'?");
    assert_problem(table, "{\"rules\":[{\"pattern\":\"a\",\"times\":0}]}", "rules[0].times",
                   "'rules[0].times': expected 1 … 9, found 0", NULL);
}

static void unknown_names_get_the_nearest(void **state)
{
    (void)state;
    assert_problem(table, "{\"rnak\":1}", "rnak", "unknown option 'rnak'", "did you mean 'rank'?");
    assert_problem(table, "{\"augment\":{\"renam\":true}}", "augment.renam", "unknown option 'augment.renam'",
                   "did you mean 'rename'?");
    assert_problem(table, "{\"rename\":true}", "rename", "unknown option 'rename'",
                   "did you mean 'augment.rename'? A dot stands for a nested map");
    assert_problem(table, "{\"augment.rename\":true}", "augment.rename", "unknown option 'augment.rename'",
                   "write it nested: augment: {rename: ...}");
    assert_problem(table, "{\"rules\":[{\"pattern\":\"a\",\"tims\":1}]}", "rules[0].tims",
                   "unknown option 'rules[0].tims'", "did you mean 'times'?");
    assert_problem(table, "{\"rules\":[{\"times\":1}]}", "rules[0].pattern",
                   "missing option 'rules[0].pattern', which has no default", "pattern: What.");
}

/* ---- paths ---- */

static char folder[64];

static int make_files(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/fmp-options-XXXXXX");
    if (!mkdtemp(folder)) { return -1; }
    static const char *const names[] = {"b.txt", "a.txt", "Z.txt", "x[1].txt", "c.md"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = fmp_path_join(folder, names[i]);
        fmp_status status = fmp_write_file(path, names[i], 1, NULL);
        free(path);
        if (status != FMP_OK) { return -1; }
    }
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    return fmp_remove_tree(folder, NULL) == FMP_OK ? 0 : -1;
}

static void paths_become_absolute_and_globs_are_sorted_by_bytes(void **state)
{
    (void)state;
    char expected[1024];
    snprintf(expected, sizeof expected,
             "{\"file\":\"%s/c.md\",\"files\":[\"%s/Z.txt\",\"%s/a.txt\",\"%s/b.txt\",\"%s/x[1].txt\"],"
             "\"out\":\"%s/new/thing\"}",
             folder, folder, folder, folder, folder, folder);
    assert_values(paths, "{\"file\":\"./c.md\",\"files\":\"*.txt\",\"out\":\"new/thing\"}", folder, expected);
    snprintf(expected, sizeof expected, "{\"files\":[\"%s/x[1].txt\",\"%s/c.md\"]}", folder, folder);
    assert_values(paths, "{\"files\":[\"x[1].txt\",\"c.*\"]}", folder, expected);
}

static void missing_files_urls_and_doubles_are_errors(void **state)
{
    (void)state;
    assert_problem(paths, "{\"file\":\"nowhere.txt\"}", "file",
                   "'file': expected a file or folder, found nothing at 'nowhere.txt'", NULL);
    assert_problem(paths, "{\"files\":\"no-such-*.txt\"}", "files",
                   "'files': expected files, found none that match 'no-such-*.txt'", NULL);
    assert_problem(paths, "{\"file\":\"https://example.org/x\"}", "file",
                   "'file': expected a local path, found the URL 'https://example.org/x'",
                   "fmpipe reads local files; fetch it first and name the file");
    assert_problem(paths, "{\"file\":\"/dev/null\"}", "file",
                   "'file': expected a file or folder, found something else at '/dev/null'", NULL);
    char given[256];
    snprintf(given, sizeof given, "{\"files\":[\"%s/a.txt\",\"%s/a.*\"]}", folder, folder);
    cJSON *in = NULL, *values = NULL;
    fmp_err err = FMP_ERR_INIT;
    assert_int_equal(fmp_json_parse(given, strlen(given), NULL, &in, NULL), FMP_OK);
    assert_int_equal(fmp_options_check(paths, in, folder, &values, &err), FMP_E_CONFIG);
    assert_non_null(strstr(err.message, "named twice"));
    cJSON_Delete(in);
}

static void nearest_name_forgives_small_slips_only(void **state)
{
    (void)state;
    static const char *const names[] = {"learning_rate", "rank", "seed", NULL};
    assert_string_equal(fmp_nearest_name("lerning_rate", names), "learning_rate");
    assert_string_equal(fmp_nearest_name("Learning-Rate", names), "learning_rate");
    assert_string_equal(fmp_nearest_name("rnak", names), "rank");
    assert_null(fmp_nearest_name("banana", names));
    assert_null(fmp_nearest_name("", names));
}

int main(void)
{
    fmp_json_install_hooks();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_come_in_the_order_of_the_table),
        cmocka_unit_test(given_values_replace_defaults),
        cmocka_unit_test(wrong_types_name_both_sides),
        cmocka_unit_test(values_out_of_range_name_the_range),
        cmocka_unit_test(unknown_names_get_the_nearest),
        cmocka_unit_test(paths_become_absolute_and_globs_are_sorted_by_bytes),
        cmocka_unit_test(missing_files_urls_and_doubles_are_errors),
        cmocka_unit_test(nearest_name_forgives_small_slips_only),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
