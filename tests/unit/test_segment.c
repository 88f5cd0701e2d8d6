/* links: fmengine fmbase */
/*
 * test_segment.c: streaming: the same bytes for any number of threads, bounded blocks, ids, policies, the
 * ABI's edges.
 */
#include "engine_test.h"

static const uint32_t thread_counts[] = {1, 2, 3, 8};
#define N_THREAD_COUNTS (sizeof thread_counts / sizeof *thread_counts)

static fmp_status run_fresh(bench *b, uint32_t threads)
{
    fmp_err err = FMP_ERR_INIT;
    assert_int_equal(fmp_remove_tree(b->store, &err), FMP_OK);
    b->o.n_threads = threads;
    return bench_run(b);
}

static void output_counts_and_rejects_are_the_same_for_any_thread_count(void **state)
{
    (void)state;
    bench b;
    fmp_buf first = {0}, first_rejects = {0};
    bench_begin(&b);
    bench_add(&b, "read", &count_stage, "{\"n\":30011,\"block\":37}", -1, 0);
    bench_add(&b, "twice", &twice_stage, "{\"tag\":\"x\"}", 0, 0);
    bench_add(&b, "check", &refuse_stage, "{\"at\":3,\"every\":101}", 1, 0)->on_bad = FMP_ON_BAD_SKIP;
    bench_add(&b, "even", &drop_odd_stage, "{}", 2, 0);
    bench_add(&b, "write", &sink_stage, "{}", 3, 0);
    assert_int_equal(fmp_mkdirs(b.store, &b.err), FMP_OK);
    for (size_t i = 0; i < N_THREAD_COUNTS; i++) {
        assert_int_equal(run_fresh(&b, thread_counts[i]), FMP_OK);
        fmp_buf text = read_result(&b, "write/out.txt"), rejects = read_result(&b, "rejected.jsonl");
        assert_int_equal(fmp_json_num(stage_result(&b, "twice"), "out", -1), 60022);
        assert_int_equal(fmp_json_num(stage_result(&b, "check"), "rejected", -1), 2 * 298);
        if (i == 0) {
            first = text;
            first_rejects = rejects;
            continue;
        }
        assert_int_equal(text.len, first.len);
        assert_memory_equal(text.data, first.data, first.len);
        assert_string_equal(rejects.data, first_rejects.data);
        fmp_buf_free(&text);
        fmp_buf_free(&rejects);
    }
    fmp_buf_free(&first);
    fmp_buf_free(&first_rejects);
    bench_end(&b);
}

static void no_more_blocks_than_twice_the_threads_and_two_are_alive(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    bench_add(&b, "read", &count_stage, "{\"n\":40000,\"block\":10}", -1, 0);
    assert_int_equal(fmp_mkdirs(b.store, &b.err), FMP_OK);
    for (size_t i = 0; i < N_THREAD_COUNTS; i++) {
        atomic_store(&blocks_fetched, 0);
        atomic_store(&blocks_done, 0);
        atomic_store(&blocks_most, 0);
        assert_int_equal(run_fresh(&b, thread_counts[i]), FMP_OK);
        assert_int_equal(atomic_load(&blocks_fetched), 4000);
        assert_true(atomic_load(&blocks_most) <= (int)(2 * thread_counts[i] + 2));
    }
    bench_end(&b);
}

static void ids_are_distinct_and_the_first_of_several_keeps_its_parents(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    bench_add(&b, "read", &count_stage, "{\"n\":50}", -1, 0);
    bench_add(&b, "twice", &twice_stage, "{\"tag\":\"x\"}", 0, 0);
    bench_add(&b, "write", &sink_stage, "{}", 1, 0);
    RUN_OK(&b);
    fmp_buf text = read_result(&b, "write/out.txt");
    char ids[100][17];
    char source[128];
    size_t n = 0;
    for (const char *p = text.data; n < 100 && *p; p = strchr(p, '\n') + 1, n++) {
        memcpy(ids[n], p, 16);
        ids[n][16] = '\0';
    }
    assert_int_equal(n, 100);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(ids[i], ids[j]);
        }
    }
    /* An id is the start of SHA-256(key ‖ 0 ‖ index), the index in 8 little-endian bytes. */
    unsigned char digest[32], hashed[73] = {0};
    char hex[65];
    (void)snprintf(source, sizeof source, "%s", fmp_json_str(stage_result(&b, "read"), "key", ""));
    memcpy(hashed, source, 64);
    hashed[65] = 7;
    fmp_sha256_bytes(hashed, sizeof hashed, digest);
    fmp_hex(digest, 32, hex);
    assert_memory_equal(hex, ids[14], 16);
    fmp_buf_free(&text);
    bench_end(&b);
}

static void an_empty_source_gives_an_empty_artifact(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    bench_add(&b, "read", &lines_stage, "{}", -1, 0);
    bench_add(&b, "split", &split_stage, "{}", 0, 0);
    bench_file(&b, 0, "empty.jsonl", "");
    RUN_OK(&b);
    assert_result(&b, "split.even/records.jsonl", "");
    assert_int_equal(fmp_json_num(stage_result(&b, "split"), "in", -1), 0);
    bench_end(&b);
}

static void the_problems_reported_do_not_depend_on_threads(void **state)
{
    (void)state;
    bench b;
    uint64_t rejected = 0;
    bench_begin(&b);
    bench_add(&b, "read", &count_stage, "{\"n\":20000,\"block\":13}", -1, 0);
    bench_add(&b, "check", &refuse_stage, "{\"at\":500,\"every\":700}", 0, 0);
    assert_int_equal(fmp_mkdirs(b.store, &b.err), FMP_OK);
    for (size_t i = 0; i < N_THREAD_COUNTS; i++) {
        assert_int_equal(run_fresh(&b, thread_counts[i]), FMP_E_DATA);
        assert_int_equal(b.diags.n, 20);
        uint64_t n = (uint64_t)fmp_json_num(stage_result(&b, "check"), "rejected", -1);
        if (i == 0) { rejected = n; }
        assert_int_equal(n, rejected);
    }
    bench_end(&b);
}

static void a_stop_ends_the_stream_without_an_output(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    bench_add(&b, "read", &count_stage, "{\"n\":1000}", -1, 0);
    test_stop = 1;
    assert_int_equal(bench_run(&b), FMP_E_CANCELLED);
    test_stop = 0;
    RUN_OK(&b);
    assert_action(&b, "read", "ran", "NEW");
    bench_end(&b);
}

/* A map that keeps to no rule but the ABI's: heap documents, writes where it may not, failing without a
   message. */
static fmp_status odd_process(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err)
{
    const map_self *m = self;
    if (strcmp(m->tag, "write") == 0) { return call->write(call, "x", 1, err); }
    if (strcmp(m->tag, "silent") == 0) { return FMP_E_FAILED; }
    if (strcmp(m->tag, "null") == 0) { return call->emit(call, NULL, err); }
    char *text = call->arena_take(call, 32);
    if (!text) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    (void)snprintf(text, 32, "{\"i\":%d}", (int)number_of(record));
    fmp_arena *scope = fmp_json_scope(NULL); /* as a plugin that was handed a tree made elsewhere */
    cJSON *doc = cJSON_Parse(text);
    fmp_json_scope(scope);
    return call->emit(call, doc, err);
}
TEST_MAP(odd_stage, "test.odd", odd_process);

static fmp_status find_odd_stage(void *arg, const fmp_stage_info *info, const fmp_stage **out, fmp_err *err)
{
    if (strcmp(info->name, odd_stage.name) != 0) { return find_test_stage(arg, info, out, err); }
    *out = &odd_stage;
    return FMP_OK;
}

static void heap_documents_are_taken_and_freed(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    b.o.load = find_odd_stage;
    bench_add(&b, "read", &count_stage, "{\"n\":300}", -1, 0);
    bench_add(&b, "odd", &odd_stage, "{}", 0, 0);
    RUN_OK(&b);
    assert_int_equal(fmp_json_num(stage_result(&b, "odd"), "out", -1), 300);
    bench_end(&b);
}

static void calls_that_a_kind_may_not_make_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"tag\":\"write\"}", "stage test.odd called write, which its kind may not use"},
        {"{\"tag\":\"silent\"}", "the stage failed and gave no message"},
        {"{\"tag\":\"null\"}", "expected a document from the stage, found NULL"},
    };
    bench b;
    bench_begin(&b);
    b.o.load = find_odd_stage;
    bench_add(&b, "read", &count_stage, "{\"n\":30}", -1, 0);
    bench_add(&b, "odd", &odd_stage, "{}", 0, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench_set(&b, 1, cases[i][0]);
        assert_int_not_equal(bench_run(&b), FMP_OK);
        assert_string_equal(b.err.message, cases[i][1]);
    }
    bench_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_counts_and_rejects_are_the_same_for_any_thread_count),
        cmocka_unit_test(no_more_blocks_than_twice_the_threads_and_two_are_alive),
        cmocka_unit_test(ids_are_distinct_and_the_first_of_several_keeps_its_parents),
        cmocka_unit_test(an_empty_source_gives_an_empty_artifact),
        cmocka_unit_test(the_problems_reported_do_not_depend_on_threads),
        cmocka_unit_test(a_stop_ends_the_stream_without_an_output),
        cmocka_unit_test(heap_documents_are_taken_and_freed),
        cmocka_unit_test(calls_that_a_kind_may_not_make_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
