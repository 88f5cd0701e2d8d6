/*
 * test_check.c: each fault of the odd stage makes the conformance test that is there for it fail, and a
 * sound stage passes all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <check.h>
#include <stdlib.h>

typedef struct tally {
    const char *wanted; /* test that must fail */
    bool failed_wanted;
    size_t n, n_pass;
    char others[512]; /* other failures, for the message */
} tally;

static void on_result(void *arg, const fmp_check_result *r)
{
    tally *t = arg;
    t->n++;
    t->n_pass += r->verdict == FMP_CHECK_PASS;
    if (r->verdict != FMP_CHECK_FAIL) { return; }
    if (t->wanted && strcmp(r->test, t->wanted) == 0) { t->failed_wanted = true; }
    size_t used = strlen(t->others);
    snprintf(t->others + used, sizeof t->others - used, "%s (%.60s) ", r->test, r->detail);
}

static size_t check_mode(const char *mode, const char *wanted, tally *t)
{
    size_t n_failed = 0;
    fmp_err err = FMP_ERR_INIT;
    cJSON *with = cJSON_CreateObject();
    cJSON_AddStringToObject(with, "mode", mode);
    *t = (tally){.wanted = wanted};
    const fmp_check_options options = {
        .test = wanted, .with = with, .timeout_s = 20, .each = on_result, .arg = t};
    assert_int_equal(fmp_check_plugin(ODD_DIR "/odd_NONE.so", &options, &n_failed, &err), FMP_OK);
    cJSON_Delete(with);
    return n_failed;
}

static void a_sound_stage_passes_every_test(void **state)
{
    (void)state;
    tally t;
    size_t n_failed = check_mode("pass", NULL, &t);
    if (n_failed > 0) { fail_msg("%s", t.others); }
    assert_true(t.n >= 40);
    assert_true(t.n_pass >= 36);
}

static void each_fault_is_found_by_its_test(void **state)
{
    (void)state;
    static const struct {
        const char *mode, *test;
    } faults[] = {{"crash", "minimal_conversation"},
                  {"exit", "minimal_conversation"},
                  {"print", "prints_nothing"},
                  {"leak", "memory_does_not_grow"},
                  {"open_file", "closes_files"},
                  {"signal", "keeps_signals"},
                  {"locale", "keeps_locale"},
                  {"umask", "keeps_surroundings"},
                  {"environment", "keeps_surroundings"},
                  {"folder", "keeps_surroundings"},
                  {"thread", "ends_threads"},
                  {"change_input", "input_not_modified"},
                  {"remember", "order_does_not_matter"},
                  {"remember", "records_are_independent"},
                  {"random", "same_input_same_output"},
                  {"bad_utf8", "output_is_a_valid_tree"},
                  {"no_messages", "output_is_a_conversation"},
                  {"cycle", "output_is_a_valid_tree"},
                  {"empty_reject", "output_is_a_valid_tree"},
                  {"fail", "minimal_conversation"},
                  {"bad_option", "thousand_instances"},
                  {"abort", "huge_record"}};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        tally t;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
        if (strcmp(faults[i].mode, "leak") == 0) { /* their allocators do not count for mallinfo2 */
            print_message("skipped under a sanitizer: %s\n", faults[i].test);
            continue;
        }
#endif
        (void)check_mode(faults[i].mode, faults[i].test, &t);
        if (!t.failed_wanted) {
            fail_msg("mode %s: expected %s to fail, failed: %s", faults[i].mode, faults[i].test, t.others);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_stage_passes_every_test),
        cmocka_unit_test(each_fault_is_found_by_its_test),
    };
    fmp_json_install_hooks();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
