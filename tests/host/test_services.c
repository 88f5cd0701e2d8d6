/*
 * test_services.c: what the host's extensions promise: regular expressions that always end, numbers that
 * depend on the seed only, and manifests that are checked before they are believed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fmpipe/fs.h>
#include <host.h>
#include <stdlib.h>

typedef struct bench {
    fmp_services services;
    fmp_host *host;
    const fmp_ext_regex *regex;
    fmp_err err;
} bench;

static int open_bench(void **state)
{
    bench *b = calloc(1, sizeof *b);
    if (!b) { return -1; }
    b->services.seed = 7;
    *state = b;
    if (fmp_host_new(&b->services, &b->host, &b->err) != FMP_OK) { return -1; }
    b->regex = b->host->get_extension(b->host, FMP_EXT_REGEX);
    return b->regex ? 0 : -1;
}

static int close_bench(void **state)
{
    bench *b = *state;
    fmp_host_free(b->host);
    free(b);
    return 0;
}

/* Patterns known for backtracking without end. On a megabyte each must match, not match or give up, soon. */
static void catastrophic_patterns_end_within_their_limits(void **state)
{
    static const char *const patterns[] = {"^(a+)+$",
                                           "^(a|aa)+$",
                                           "^(a|a?)+$",
                                           "^(.*a){11}$",
                                           "(a*)*b",
                                           "(a+)+b",
                                           "(a|a)*b",
                                           "(a|aa)*b",
                                           "(a*)*(a*)*b",
                                           "^(([a-z])+.)+[A-Z]([a-z])+$",
                                           "(x+x+)+y",
                                           "(.*)*c",
                                           "(\\w+\\s?)*z$",
                                           "^(\\w+)*$!",
                                           "((a?){20}){20}b",
                                           "(?:(?:a+)+)+b",
                                           "(a+a+)+b",
                                           "^(a?){25}a{25}$",
                                           "(.+)+\\d",
                                           "([a-z]+)*1",
                                           "^((ab)*)+$",
                                           "(\\s*\\w*)*;",
                                           "(a{1,9}){1,9}b",
                                           "(?=(a+)+b)a",
                                           "(?<n>a+)+\\k<n>b",
                                           "(a+)\\1+b",
                                           "^(?:a+b?)+c$",
                                           "(.*?,){11}P",
                                           "\\b(\\w+\\b\\s*)+!",
                                           "(?i)(A+)+B"};
    bench *b = *state;
    size_t len = 1 << 20;
    char *text = malloc(len + 1);
    assert_non_null(text);
    memset(text, 'a', len);
    text[len] = '\0';
    size_t n_limited = 0;
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        fmp_regex *regex = NULL;
        fmp_regex_group group;
        size_t n = 1;
        fmp_status status = b->regex->compile(b->host, patterns[i], false, &regex, &b->err);
        if (status != FMP_OK) { fail_msg("%s: %s", patterns[i], b->err.message); }
        double begin = fmp_now();
        status = b->regex->match(regex, text, len, 0, &group, &n, &b->err);
        double seconds = fmp_now() - begin;
        if (status != FMP_OK && status != FMP_E_RANGE) { fail_msg("%s: %s", patterns[i], b->err.message); }
        n_limited += status == FMP_E_RANGE;
        if (seconds > 20) {
            fail_msg("%s took %.1f s", patterns[i], seconds);
        } /* generous: sanitizers, loaded machines */
        print_message("  %-32s %s %.3f s\n", patterns[i], status == FMP_OK ? "ok   " : "limit", seconds);
        b->regex->free(regex);
    }
    assert_true(n_limited >= 10);
    free(text);
}

static void patterns_that_are_refused_say_where(void **state)
{
    bench *b = *state;
    fmp_regex *regex = NULL;
    assert_int_equal(b->regex->compile(b->host, "ab(c", false, &regex, &b->err), FMP_E_CONFIG);
    assert_int_equal(b->err.offset, 4);
    assert_int_equal(b->regex->compile(b->host, "a\\Cb", false, &regex, &b->err),
                     FMP_E_CONFIG); /* half a character */
    char *endless = calloc(1, 5000);
    assert_non_null(endless);
    memset(endless, 'a', 4999);
    assert_int_equal(b->regex->compile(b->host, endless, false, &regex, &b->err), FMP_E_CONFIG);
    assert_null(regex);
    free(endless);
}

static void matches_are_in_bytes_and_characters_are_unicode(void **state)
{
    bench *b = *state;
    fmp_regex *regex = NULL;
    fmp_regex_group groups[3];
    size_t n = 3;
    const char *text = "x \xc3\xa9t\xc3\xa9 y";
    assert_int_equal(b->regex->compile(b->host, "(\\w{3})( z)?", true, &regex, &b->err), FMP_OK);
    assert_int_equal(b->regex->match(regex, text, strlen(text), 0, groups, &n, &b->err), FMP_OK);
    assert_int_equal(n, 2);
    assert_int_equal(groups[1].begin, 2);
    assert_int_equal(groups[1].end, 7);
    n = 3;
    assert_int_equal(b->regex->match(regex, text, strlen(text), 7, groups, &n, &b->err), FMP_OK);
    assert_int_equal(n, 0);
    b->regex->free(regex);
}

static void random_numbers_are_those_of_the_seed(void **state)
{
    bench *b = *state;
    const fmp_ext_rng *rng = b->host->get_extension(b->host, FMP_EXT_RNG);
    assert_true(rng->u64(b->host, 3, 4) == fmp_rng_u64(7, 3, 4));
    assert_true(rng->below(b->host, 3, 4, 10) == fmp_rng_below(7, 3, 4, 10));
    assert_null(b->host->get_extension(b->host, "fmp.no_such/1"));
    assert_null(b->host->get_extension(b->host, FMP_EXT_RECORDS)); /* not offered to this instance */
}

#define STAGE          "{\"name\":\"a.b\",\"kind\":\"map\",\"version\":1}"
#define PLUGIN(stages) "{\"abi_major\":1,\"name\":\"p\",\"version\":\"1\",\"stages\":" stages "}"

static void hostile_manifests_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "null",
        "{\"stages\":[]}",
        PLUGIN("[]"),
        PLUGIN("{}"),
        PLUGIN("[1]"),
        PLUGIN("[{}]"),
        PLUGIN("[{\"name\":\"ab\",\"kind\":\"map\"}]"),
        PLUGIN("[{\"name\":\"a..b\",\"kind\":\"map\"}]"),
        PLUGIN("[{\"name\":\"../b\",\"kind\":\"map\"}]"),
        PLUGIN("[{\"name\":\"a.b\",\"kind\":\"pam\"}]"),
        PLUGIN("[{\"name\":\"a.b\",\"kind\":\"map\",\"version\":-1}]"),
        PLUGIN("[{\"name\":\"a.b\",\"kind\":\"map\",\"version\":1e99}]"),
        PLUGIN("[{\"name\":\"a.b\",\"kind\":\"map\",\"options\":{}}]"),
        PLUGIN("[{\"name\":\"a.b\",\"kind\":\"map\",\"options\":[{\"name\":\"x\",\"type\":\"none\"}]}]"),
        PLUGIN("[{\"name\":\"a.b\",\"kind\":\"map\",\"options\":[{\"name\":\"x\",\"type\":\"enum\"}]}]"),
        PLUGIN("[{\"name\":\"a.b\",\"kind\":\"map\",\"options\":[{\"name\":\"x\",\"type\":\"table\"}]}]"),
        PLUGIN("[{\"name\":\"a.b\",\"kind\":\"map\",\"options\":[{\"name\":\"x\",\"type\":\"int\",\"min\":"
               "\"a\"}]}]"),
        PLUGIN("[{\"name\":\"a.b\",\"kind\":\"map\",\"inputs\":[{\"name\":\"x\"}]}]"),
        PLUGIN("[" STAGE "]") "x",
        PLUGIN("[" STAGE)};
    fmp_plugin_info info;
    fmp_err err = FMP_ERR_INIT;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (fmp_manifest_parse(bad[i], strlen(bad[i]), &info, &err) != FMP_E_PLUGIN) {
            fail_msg("accepted or another status: %s", bad[i]);
        }
        assert_true(err.message[0] != '\0');
    }
    assert_int_equal(fmp_manifest_parse(PLUGIN("[" STAGE "]"), strlen(PLUGIN("[" STAGE "]")), &info, &err),
                     FMP_OK);
    assert_string_equal(info.stages[0].name, "a.b");
    assert_null(info.stages[0].options->name);
    fmp_arena_free(info.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(catastrophic_patterns_end_within_their_limits, open_bench,
                                        close_bench),
        cmocka_unit_test_setup_teardown(patterns_that_are_refused_say_where, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(matches_are_in_bytes_and_characters_are_unicode, open_bench,
                                        close_bench),
        cmocka_unit_test_setup_teardown(random_numbers_are_those_of_the_seed, open_bench, close_bench),
        cmocka_unit_test(hostile_manifests_are_refused),
    };
    fmp_json_install_hooks();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
