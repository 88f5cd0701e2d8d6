/*
 * test_isolate.c: a stage in worker processes gives what it gives in this one, and a worker that dies is
 * named with its record.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fmpipe/fs.h>
#include <stdlib.h>
#include <trial.h>
#include <unistd.h>

typedef struct said {
    int64_t seen;
    int64_t finished;
    int n_summaries;
} said;

static void on_count(void *arg, const char *name, int64_t n)
{
    if (strcmp(name, "seen") == 0) { ((said *)arg)->seen += n; }
}

static void on_fact(void *arg, const char *name, cJSON *value)
{
    if (strcmp(name, "finished") == 0) { ((said *)arg)->finished = (int64_t)value->valuedouble; }
    cJSON_Delete(value);
}

static void on_summary(void *arg, const char *text)
{
    (void)text;
    ((said *)arg)->n_summaries++;
}

/* One isolated instance of the odd stage. */
typedef struct bed {
    fmp_plugin_info *info;
    fmp_services services;
    said said;
    fmp_trial *trial; /* only its catches are used */
    const fmp_stage *proxy;
    void *self;
    cJSON *values;
    fmp_err err;
} bed;

static void bed_open(bed *b, const char *mode)
{
    memset(b, 0, sizeof *b);
    fmp_err_clear(&b->err);
    b->services =
        (fmp_services){.arg = &b->said, .seed = 7, .count = on_count, .fact = on_fact, .summary = on_summary};
    assert_int_equal(fmp_plugin_read(ODD_DIR "/odd_NONE.so", &b->info, &b->err), FMP_OK);
    assert_int_equal(fmp_isolated_stage(&b->info->stages[0], &b->services, &b->proxy, &b->self, &b->err),
                     FMP_OK);
    assert_int_equal(fmp_trial_new(b->proxy, 7, NULL, &b->trial, &b->err), FMP_OK);
    b->trial->self = b->self; /* destroyed with the trial */
    b->values = cJSON_CreateObject();
    cJSON_AddStringToObject(b->values, "mode", mode);
    cJSON_AddNumberToObject(b->values, "number", 3);
    assert_int_equal(b->proxy->configure(b->self, b->values, &b->err), FMP_OK);
}

static void bed_close(bed *b)
{
    fmp_trial_close(b->trial);
    cJSON_Delete(b->values);
    fmp_plugin_info_free(b->info);
}

/* One record through worker `w`; documents and rejects as text. */
static fmp_status send_one(bed *b, uint32_t w, const char *json, fmp_buf *out)
{
    cJSON *doc = NULL;
    fmp_catch k;
    fmp_arena *arena = fmp_arena_new(0);
    assert_int_equal(fmp_json_parse(json, strlen(json), NULL, &doc, &b->err), FMP_OK);
    fmp_record record = {.struct_size = sizeof record,
                         .id = "0123456789abcdef",
                         .origin = {.file = "in.jsonl", .line = 12},
                         .doc = doc};
    fmp_catch_begin(&k, b->trial, arena, w, &record);
    fmp_status status = fmp_catch_record(&k, &b->err);
    for (size_t i = 0; status == FMP_OK && i < k.n_docs; i++) {
        fmp_json_print(k.docs[i].doc, FMP_JSON_COMPACT, out);
        fmp_buf_puts(out, k.docs[i].passed ? " (passed)\n" : "\n");
    }
    for (size_t i = 0; status == FMP_OK && i < k.n_rejects; i++) {
        fmp_buf_printf(out, "%s %s %s\n", k.rejects[i].reason, k.rejects[i].path, k.rejects[i].message);
        for (size_t m = 0; m < k.rejects[i].n_more; m++) {
            const fmp_problem *more = &k.rejects[i].more[m];
            fmp_buf_printf(out, "and %s %s %s\n", more->reason, more->path, more->message);
        }
    }
    fmp_arena_free(arena);
    cJSON_Delete(doc);
    return status;
}

#define DOC                                                                                                  \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"\\u00e9 "                                               \
    "\\\"x\\\"\"}],\"meta\":{\"n\":12345678901234567890,\"m\":1.50}}"
#define DOC_OUT                                                                                              \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"\xc3\xa9 "                                              \
    "\\\"x\\\"\"}],\"meta\":{\"n\":12345678901234567890,\"m\":1.50}}"

static void results_come_back_in_order_and_byte_for_byte(void **state)
{
    (void)state;
    bed b;
    fmp_buf out = {0};
    bed_open(&b, "twice");
    assert_int_equal(b.proxy->start(b.self, 2, &b.err), FMP_OK);
    assert_int_equal(send_one(&b, 0, DOC, &out), FMP_OK);
    assert_int_equal(send_one(&b, 1, "{\"messages\":[]}", &out), FMP_OK);
    assert_string_equal(
        out.data, DOC_OUT
        " (passed)\n"
        "{\"messages\":[{\"role\":\"user\",\"content\":\"\xc3\xa9 \\\"x\\\"\"}],\"meta\":\"second\"}\n"
        "{\"messages\":[]} (passed)\n{\"messages\":[],\"meta\":\"second\"}\n");
    fmp_buf_free(&out);
    bed_close(&b);
}

static void rejects_counts_facts_and_the_summary_come_back(void **state)
{
    (void)state;
    bed b;
    fmp_buf out = {0};
    bed_open(&b, "reject");
    assert_int_equal(b.proxy->start(b.self, 1, &b.err), FMP_OK);
    assert_int_equal(send_one(&b, 0, DOC, &out), FMP_OK);
    assert_string_equal(out.data, "odd messages expected another mode\n");
    assert_int_equal(b.proxy->finish(b.self, &b.err), FMP_OK);
    assert_int_equal(b.said.finished, 1);
    assert_int_equal(b.said.n_summaries, 1);
    fmp_buf_free(&out);
    bed_close(&b);

    fmp_buf two = {0};
    bed_open(&b, "reject_twice");
    assert_int_equal(b.proxy->start(b.self, 1, &b.err), FMP_OK);
    assert_int_equal(send_one(&b, 0, DOC, &two), FMP_OK);
    assert_string_equal(two.data,
                        "odd messages expected another mode\nand long meta expected a shorter text\n");
    fmp_buf_free(&two);
    bed_close(&b);

    fmp_buf more = {0};
    bed_open(&b, "count");
    assert_int_equal(b.proxy->start(b.self, 3, &b.err), FMP_OK);
    for (uint32_t i = 0; i < 9; i++) {
        assert_int_equal(send_one(&b, i % 3, DOC, &more), FMP_OK);
    }
    assert_int_equal(b.trial->counts[0].n, 18); /* through call->count */
    assert_int_equal(b.proxy->finish(b.self, &b.err), FMP_OK);
    assert_int_equal(b.said.finished, 3); /* numbers of the workers add up */
    fmp_buf_free(&more);
    bed_close(&b);
}

static void expect_death(const char *mode, const char *words)
{
    bed b;
    fmp_buf out = {0};
    bed_open(&b, mode);
    assert_int_equal(b.proxy->start(b.self, 2, &b.err), FMP_OK);
    assert_int_equal(send_one(&b, 0, DOC, &out), FMP_E_PLUGIN);
    if (!strstr(b.err.message, words)) { fail_msg("expected '%s' in '%s'", words, b.err.message); }
    assert_non_null(strstr(b.err.message, "odd.stage"));
    assert_non_null(strstr(b.err.message, "on record 0123456789abcdef (in.jsonl:12)"));
    assert_non_null(strstr(b.err.message, "sha256:"));
    assert_int_equal(send_one(&b, 0, DOC, &out), FMP_E_PLUGIN); /* that worker is gone, and says so */
    fmp_buf_free(&out);
    bed_close(&b);
}

static void a_worker_that_dies_is_named_with_signal_and_record(void **state)
{
    (void)state;
    expect_death("crash", "crashed (SIGSEGV)");
    expect_death("abort", "crashed (SIGABRT)");
    expect_death("exit", "ended its process with exit code 7");
    setenv("FMPIPE_WORKER_TIMEOUT", "1", 1);
    expect_death("hang", "gave no answer in 1 s");
    unsetenv("FMPIPE_WORKER_TIMEOUT");
}

static void an_error_of_the_stage_is_the_same_as_in_this_process(void **state)
{
    (void)state;
    bed b;
    fmp_buf out = {0};
    bed_open(&b, "fail");
    assert_int_equal(b.proxy->start(b.self, 1, &b.err), FMP_OK);
    assert_int_equal(send_one(&b, 0, DOC, &out), FMP_E_FAILED);
    assert_string_equal(b.err.message, "failed as asked");
    bed_close(&b);
    bed_open(&b, "bad_option");
    assert_int_equal(b.proxy->start(b.self, 1, &b.err), FMP_E_CONFIG);
    assert_string_equal(b.err.option, "mode");
    bed_close(&b);
    fmp_buf_free(&out);
}

static void what_a_stage_prints_does_not_mix_with_its_answers(void **state)
{
    (void)state;
    bed b;
    fmp_buf out = {0};
    bed_open(&b, "print");
    assert_int_equal(b.proxy->start(b.self, 1, &b.err), FMP_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(send_one(&b, 0, "{\"messages\":[]}", &out), FMP_OK);
    }
    assert_string_equal(
        out.data, "{\"messages\":[]} (passed)\n{\"messages\":[]} (passed)\n{\"messages\":[]} (passed)\n");
    fmp_buf_free(&out);
    bed_close(&b);
}

static void a_worker_refuses_a_plugin_with_another_digest(void **state)
{
    (void)state;
    bed b;
    bed_open(&b, "pass");
    b.info->digest[0] = b.info->digest[0] == '0' ? '1' : '0';
    assert_int_equal(b.proxy->start(b.self, 1, &b.err), FMP_E_MISMATCH);
    bed_close(&b);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_come_back_in_order_and_byte_for_byte),
        cmocka_unit_test(rejects_counts_facts_and_the_summary_come_back),
        cmocka_unit_test(a_worker_that_dies_is_named_with_signal_and_record),
        cmocka_unit_test(an_error_of_the_stage_is_the_same_as_in_this_process),
        cmocka_unit_test(what_a_stage_prints_does_not_mix_with_its_answers),
        cmocka_unit_test(a_worker_refuses_a_plugin_with_another_digest),
    };
    fmp_json_install_hooks();
    if (argc == 3 && strcmp(argv[1], "--stage-worker") == 0) {
        return fmp_stage_worker_main((int)strtol(argv[2], NULL, 10));
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
