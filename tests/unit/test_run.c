/* links: fmengine fmbase */
/*
 * test_run.c: runs of whole pipelines: results, the cache and its reasons, crashes, damage, concurrency.
 */
#include "engine_test.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* read → twice → split → sum */
static void add_small(bench *b)
{
    bench_add(b, "read", &count_stage, "{\"n\":10}", -1, 0);
    bench_add(b, "twice", &twice_stage, "{\"tag\":\"x\"}", 0, 0);
    bench_add(b, "split", &split_stage, "{}", 1, 0);
    bench_add(b, "sum", &sum_stage, "{\"steps\":3}", 2, 0);
}

static void source_map_sink_writes_one_file_in_order(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    bench_add(&b, "read", &count_stage, "{\"n\":5}", -1, 0);
    bench_add(&b, "even", &drop_odd_stage, "{}", 0, 0);
    bench_add(&b, "write", &sink_stage, "{}", 1, 0);
    RUN_OK(&b);
    fmp_buf text = read_result(&b, "write/out.txt");
    int i, expected = 0, n;
    for (const char *p = text.data; sscanf(p, "%*16[0-9a-f] %d %n", &i, &n) == 1; p += n) {
        assert_int_equal(i, expected);
        expected += 2;
    }
    assert_int_equal(expected, 6);
    fmp_buf_free(&text);
    assert_int_equal(fmp_json_num(stage_result(&b, "even"), "in", -1), 5);
    assert_int_equal(fmp_json_num(stage_result(&b, "even"), "out", -1), 3);
    assert_int_equal(fmp_json_num(fmp_json_get(stage_result(&b, "even"), "counts"), "odd", -1), 2);
    assert_int_equal(fmp_json_num(fmp_json_get(stage_result(&b, "read"), "counts"), "made", -1), 5);
    bench_end(&b);
}

static void gather_and_task_get_what_the_segment_published(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    add_small(&b);
    RUN_OK(&b);
    assert_result(&b, "sum/sum.txt", "120\n"); /* (0+2+4+6+8) twice, three rounds */
    assert_int_equal(fmp_json_num(stage_result(&b, "split"), "in", -1), 20);
    assert_int_equal(fmp_json_num(fmp_json_get(stage_result(&b, "split"), "out_by"), "odd", -1), 10);
    assert_int_equal(fmp_json_num(fmp_json_get(stage_result(&b, "sum"), "facts"), "sum", -1), 120);
    assert_string_equal(fmp_json_str(stage_result(&b, "sum"), "summary", ""), "sum 120");
    assert_result(&b, "metrics.jsonl",
                  "{\"stage\":\"sum\",\"series\":\"sum\",\"step\":0,\"value\":40}\n"
                  "{\"stage\":\"sum\",\"series\":\"sum\",\"step\":1,\"value\":80}\n"
                  "{\"stage\":\"sum\",\"series\":\"sum\",\"step\":2,\"value\":120}\n");
    bench_end(&b);
}

static void a_second_run_takes_everything_from_the_cache(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    add_small(&b);
    RUN_OK(&b);
    assert_action(&b, "read", "ran", "NEW");
    assert_action(&b, "sum", "ran", "NEW");
    RUN_OK(&b);
    for (size_t i = 0; i < b.p.n_stages; i++) {
        assert_action(&b, b.nodes[i].id, "cached", "");
    }
    assert_result(&b, "sum/sum.txt", "120\n");
    assert_int_equal(fmp_json_num(fmp_json_get(stage_result(&b, "sum"), "facts"), "sum", -1), 120);
    bench_end(&b);
}

static void each_change_is_a_miss_with_its_reason(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    add_small(&b);
    RUN_OK(&b);
    bench_set(&b, 1, "{\"tag\":\"y\"}");
    RUN_OK(&b);
    assert_action(&b, "read", "ran", "STREAM(twice)");
    assert_action(&b, "twice", "ran", "CONFIG(tag)");
    assert_string_equal(fmp_json_str(stage_result(&b, "twice"), "detail", ""),
                        "option tag changed (\"x\" → \"y\")");
    assert_action(&b, "split", "ran", "INPUT(records)");
    b.nodes[3].seed = 9;
    RUN_OK(&b);
    assert_action(&b, "split", "cached", "");
    assert_action(&b, "sum", "ran", "SEED");
    memset(b.plugin.digest, 'b', 64);
    RUN_OK(&b);
    assert_action(&b, "read", "ran", "PLUGIN");
    assert_action(&b, "sum", "ran", "PLUGIN");
    b.infos[3].version = 2;
    RUN_OK(&b);
    assert_action(&b, "sum", "ran", "PLUGIN");
    const char *force[] = {"split"};
    b.o.force = force;
    b.o.n_force = 1;
    RUN_OK(&b);
    assert_action(&b, "split", "ran", "FORCED");
    assert_action(&b, "sum", "cached", ""); /* the forced stage gave the same bytes */
    bench_end(&b);
}

/* What the numeric environment of the test's plugin says. */
static char numeric_line[64];

static fmp_status describe_numeric(char *line, size_t size, fmp_err *err)
{
    (void)err;
    (void)snprintf(line, size, "%s", numeric_line);
    return FMP_OK;
}

static const void *find_numeric(void *arg, const fmp_stage_info *info, const char *name)
{
    static const fmp_ext_numeric_env env = {.struct_size = sizeof env, .describe = describe_numeric};
    (void)arg;
    (void)info;
    return strcmp(name, FMP_EXT_NUMERIC_ENV) == 0 ? &env : NULL;
}

static void numeric_environment_and_base_model_are_reasons(void **state)
{
    (void)state;
    static const fmp_port model_in[] = {{.name = "model", .type = FMP_PORT_MODEL}, {0}};
    bench b;
    bench_begin(&b);
    add_small(&b);
    fmp_link links[2] = {b.links[3], {.in = &model_in[0], .stage = -1}};
    b.nodes[3].links = links;
    b.nodes[3].n_links = 2;
    b.p.base_path = b.dir;
    b.p.base_shown = "base";
    memset(b.p.base_digest, '1', 64);
    b.infos[3].flags = FMP_STAGE_NUMERIC;
    b.o.extension = find_numeric;
    (void)snprintf(numeric_line, sizeof numeric_line, "one");
    RUN_OK(&b);
    memset(b.p.base_digest, '2', 64);
    RUN_OK(&b);
    assert_action(&b, "split", "cached", "");
    assert_action(&b, "sum", "ran", "BASE_MODEL");
    (void)snprintf(numeric_line, sizeof numeric_line, "two");
    RUN_OK(&b);
    assert_action(&b, "sum", "ran", "NUMERIC_ENV");
    assert_string_equal(fmp_json_str(stage_result(&b, "sum"), "detail", ""),
                        "the numeric environment changed (one → two)");
    bench_end(&b);
}

/* Names of the events in order, progress left out. */
static void note_event(void *arg, const cJSON *event)
{
    fmp_buf *names = arg;
    const char *name = fmp_json_str(event, "event", "?");
    if (strcmp(name, "stage.progress") == 0) { return; }
    fmp_buf_printf(names, "%s %s%s%s\n", name, fmp_json_str(event, "stage", "-"),
                   fmp_json_get(event, "action") ? " " : "", fmp_json_str(event, "action", ""));
}

static void events_come_in_order_and_end_with_run_end(void **state)
{
    (void)state;
    bench b;
    fmp_buf names = {0};
    bench_begin(&b);
    bench_add(&b, "read", &count_stage, "{\"n\":20}", -1, 0);
    bench_add(&b, "check", &refuse_stage, "{\"at\":7}", 0, 0)->on_bad = FMP_ON_BAD_SKIP;
    bench_add(&b, "split", &split_stage, "{}", 1, 0);
    fmp_events events = {.arg = &names, .event = note_event};
    assert_int_equal(fmp_run(&b.p, &b.o, &events, &b.diags, &b.result, &b.err), FMP_OK);
    assert_string_equal(names.data, "run.start -\n"
                                    "stage.start read\nstage.start check\nreject check\n"
                                    "stage.end read ran\nstage.end check ran\n"
                                    "stage.start split\nstage.end split ran\nrun.end -\n");
    fmp_buf_free(&names);
    bench_end(&b);
}

static void a_changed_data_file_is_an_input_reason(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    bench_add(&b, "read", &lines_stage, "{}", -1, 0);
    bench_add(&b, "split", &split_stage, "{}", 0, 0);
    bench_file(&b, 0, "a.jsonl", "{\"i\":1}\n{\"i\":2}\n");
    RUN_OK(&b);
    bench_file(&b, 0, "a.jsonl", "{\"i\":1}\n{\"i\":3}\n");
    RUN_OK(&b);
    assert_action(&b, "read", "ran", "INPUT(path)");
    bench_file(&b, 0, "b.jsonl", "{\"i\":1}\n{\"i\":3}\n");
    RUN_OK(&b);
    assert_action(&b, "read", "cached", ""); /* the content counts, not the name */
    bench_end(&b);
}

static void records_keep_file_line_and_offset(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    bench_add(&b, "read", &lines_stage, "{}", -1, 0);
    bench_file(&b, 0, "a.jsonl", "{\"i\":1}\n{\"i\":22}\n{\"i\":3}\n");
    RUN_OK(&b);
    fmp_buf text = read_result(&b, "read/records.jsonl");
    const char *third = strrchr(text.data, '{'); /* its document */
    assert_string_equal(third, "{\"i\":3}}\n");
    assert_non_null(strstr(text.data, "\"file\":0,\"line\":3,\"offset\":17,\"doc\":{\"i\":3}"));
    fmp_buf_free(&text);
    assert_non_null(strstr((text = read_result(&b, "read/manifest.json")).data, "\"a.jsonl\""));
    fmp_buf_free(&text);
    bench_end(&b);
}

static void plan_says_what_run_will_do(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    add_small(&b);
    fmp_plan *plan;
    assert_int_equal(fmp_plan_make(&b.p, &b.o, &plan, &b.err), FMP_OK);
    assert_true(plan->stages[0].known && plan->stages[1].known);
    assert_int_equal(plan->stages[0].segment, plan->stages[1].segment);
    assert_int_not_equal(plan->stages[1].segment, plan->stages[2].segment);
    assert_string_equal(plan->stages[0].reason, "NEW");
    assert_false(plan->stages[2].known);
    assert_string_equal(plan->stages[2].key, "");
    assert_string_equal(plan->stages[2].reason, "INPUT(records)");
    assert_string_equal(plan->stages[2].detail, "its input from 'twice' may change");
    fmp_plan_free(plan);
    RUN_OK(&b);
    assert_int_equal(fmp_plan_make(&b.p, &b.o, &plan, &b.err), FMP_OK);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(plan->stages[i].action, FMP_ACTION_CACHED);
    }
    fmp_plan_free(plan);
    bench_end(&b);
}

static void plan_gives_the_time_of_the_last_run_scaled_by_records(void **state)
{
    (void)state;
    bench b;
    fmp_plan *plan;
    bench_begin(&b);
    add_small(&b);
    assert_int_equal(fmp_plan_make(&b.p, &b.o, &plan, &b.err), FMP_OK);
    assert_true(plan->stages[3].seconds < 0 && plan->stages[3].peak_bytes < 0);
    fmp_plan_free(plan);
    RUN_OK(&b);
    double took = fmp_json_num(stage_result(&b, "sum"), "seconds", -1);
    bench_set(&b, 3, "{\"steps\":4}");
    assert_int_equal(fmp_plan_make(&b.p, &b.o, &plan, &b.err), FMP_OK);
    assert_true(plan->stages[3].seconds == took);
    assert_true(plan->stages[3].peak_bytes > 0);
    fmp_plan_free(plan);
    /* split's even half is known to have 10 records; sum now reads both halves of them */
    fmp_link twice[2] = {b.links[3], b.links[3]};
    b.nodes[3].links = twice;
    b.nodes[3].n_links = 2;
    assert_int_equal(fmp_plan_make(&b.p, &b.o, &plan, &b.err), FMP_OK);
    assert_true(plan->stages[3].seconds == 2 * took);
    fmp_plan_free(plan);
    b.infos[3].name = "test.other"; /* the same id, another stage: nothing is known of it */
    assert_int_equal(fmp_plan_make(&b.p, &b.o, &plan, &b.err), FMP_OK);
    assert_true(plan->stages[3].seconds < 0);
    fmp_plan_free(plan);
    b.infos[3].name = sum_stage.name;
    bench_end(&b);
}

static void explain_lists_the_differences(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    add_small(&b);
    RUN_OK(&b);
    bench_set(&b, 1, "{\"tag\":\"y\"}");
    cJSON *why = NULL;
    assert_int_equal(fmp_explain(&b.p, &b.o, "twice", &why, &b.err), FMP_OK);
    assert_string_equal(fmp_json_str(why, "reason", ""), "CONFIG(tag)");
    const cJSON *differences = fmp_json_get(why, "differences");
    assert_int_equal(cJSON_GetArraySize(differences), 1);
    assert_string_equal(fmp_json_str(differences->child, "field", ""), "options.tag");
    assert_string_equal(fmp_json_str(differences->child, "last", ""), "x");
    assert_string_equal(fmp_json_str(differences->child, "now", ""), "y");
    cJSON_Delete(why);
    assert_int_equal(fmp_explain(&b.p, &b.o, "nobody", &why, &b.err), FMP_E_USAGE);
    bench_end(&b);
}

/* ----------------------------------------------------------------------------------------------- policies */

static void fail_policy_reports_the_problems_in_order(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    bench_add(&b, "read", &count_stage, "{\"n\":1000}", -1, 0);
    bench_add(&b, "check", &refuse_stage, "{\"at\":7,\"every\":300}", 0, 0);
    assert_int_equal(bench_run(&b), FMP_E_DATA);
    assert_non_null(strstr(b.err.message, "4 of 1,000 records are refused"));
    assert_non_null(strstr(b.err.message, "policy of 'check' is on_bad: fail"));
    assert_string_equal(b.err.hint, "repair them, or set on_bad: skip, or limit: 4");
    assert_int_equal(b.diags.n, 4);
    assert_false(b.result.ok);
    assert_string_equal(fmp_json_str(b.result.manifest, "status", ""), "failed");
    fmp_buf text = read_result(&b, "rejected.jsonl");
    assert_non_null(strstr(text.data, "{\"stage\":\"check\",\"id\":"));
    fmp_buf_free(&text);
    bench_end(&b);
}

static void limit_policy_fails_only_beyond_its_number(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    bench_add(&b, "read", &count_stage, "{\"n\":1000}", -1, 0);
    fmp_stage_node *check = bench_add(&b, "check", &refuse_stage, "{\"at\":7,\"every\":300}", 0, 0);
    check->on_bad = FMP_ON_BAD_LIMIT;
    check->bad_limit = 4;
    RUN_OK(&b);
    assert_int_equal(fmp_json_num(stage_result(&b, "check"), "rejected", -1), 4);
    assert_int_equal(fmp_json_num(fmp_json_get(stage_result(&b, "check"), "rejected_by"), "unwanted", -1), 4);
    check->bad_limit = 3;
    assert_int_equal(bench_run(&b), FMP_E_DATA);
    assert_non_null(strstr(b.err.message, "on_bad: {limit: 3}"));
    bench_end(&b);
}

static void a_gather_stage_is_stopped_soon_after_its_policy_is_broken(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    bench_add(&b, "read", &count_stage, "{\"n\":5000}", -1, 0);
    fmp_stage_node *all = bench_add(&b, "all", &refuse_all_stage, "{}", 0, 0);
    refuse_all_seen = 0;
    assert_int_equal(bench_run(&b), FMP_E_DATA);
    assert_int_equal(refuse_all_seen, 20);
    assert_int_equal(b.diags.n, 20); /* of ten records: each has two problems, and counts once */
    assert_string_equal(b.diags.items[0].err.message, "expected another record");
    assert_string_equal(b.diags.items[1].err.message, "expected a shorter record");
    assert_string_equal(b.diags.items[1].err.record, b.diags.items[0].err.record);
    fmp_buf rejected = read_result(&b, "rejected.jsonl");
    assert_non_null(strstr(rejected.data,
                           "\"more\":[{\"column\":0,\"reason\":\"long\",\"message\":\"expected a "
                           "shorter record\",\"path\":\"i\"}]"));
    fmp_buf_free(&rejected);
    assert_non_null(strstr(b.err.message, "20 of 5,000 records are refused"));
    assert_action(&b, "all", "failed", "NEW");
    all->on_bad = FMP_ON_BAD_LIMIT;
    all->bad_limit = 100;
    refuse_all_seen = 0;
    assert_int_equal(bench_run(&b), FMP_E_DATA);
    assert_int_equal(refuse_all_seen, 120);
    all->on_bad = FMP_ON_BAD_SKIP;
    RUN_OK(&b);
    assert_int_equal(fmp_json_num(stage_result(&b, "all"), "rejected", -1), 5000);
    bench_end(&b);
}

static void refused_rows_have_column_and_text_and_are_replayed_from_the_cache(void **state)
{
    (void)state;
    static const char expected[] =
        "\"file\":\"a.jsonl\",\"line\":2,\"column\":6,\"offset\":8,\"reason\":\"bad_word\",\"message\":"
        "\"expected no bad word\",\"row\":\"{\\\"i\\\":bad}\"}\n";
    static const char unwanted[] =
        "\"file\":\"a.jsonl\",\"line\":3,\"column\":7,\"offset\":18,\"reason\":\"unwanted\",\"message\":"
        "\"expected another number\",\"path\":\"i\",\"row\":\"{ \\\"i\\\":3}\"}\n";
    bench b;
    bench_begin(&b);
    bench_add(&b, "read", &lines_stage, "{}", -1, 0)->on_bad = FMP_ON_BAD_SKIP;
    bench_add(&b, "check", &refuse_stage, "{\"at\":3}", 0, 0)->on_bad = FMP_ON_BAD_SKIP;
    bench_file(&b, 0, "a.jsonl", "{\"i\":1}\n{\"i\":bad}\n{ \"i\":3}\n");
    RUN_OK(&b);
    fmp_buf first = read_result(&b, "rejected.jsonl");
    assert_non_null(strstr(first.data, expected));
    assert_non_null(strstr(first.data, unwanted));
    RUN_OK(&b);
    assert_action(&b, "read", "cached", "");
    assert_result(&b, "rejected.jsonl", first.data);
    fmp_buf_free(&first);
    bench_end(&b);
}

static void a_stage_error_names_record_and_stage(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    bench_add(&b, "read", &count_stage, "{\"n\":1000}", -1, 0);
    bench_add(&b, "broken", &broken_stage, "{\"at\":350}", 0, 0);
    for (uint32_t threads = 1; threads <= 3; threads++) {
        b.o.n_threads = threads;
        assert_int_equal(bench_run(&b), FMP_E_FAILED);
        assert_string_equal(b.err.message,
                            "cannot do 350"); /* the first in order, whichever thread was faster */
        assert_int_equal(strlen(b.err.record), 16);
        assert_non_null(strstr(b.err.notes, "while running stage 'broken'"));
    }
    bench_end(&b);
}

static void a_refused_option_points_into_the_pipeline_file(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    fmp_option_mark marks[] = {{.path = "n", .mark = {.file = "test.yaml", .line = 12, .column = 5}}};
    fmp_stage_node *read = bench_add(&b, "read", &count_stage, "{\"n\":11,\"refuse\":true}", -1, 0);
    read->marks = marks;
    read->n_marks = 1;
    assert_int_equal(bench_run(&b), FMP_E_CONFIG);
    assert_string_equal(b.err.file, "test.yaml");
    assert_int_equal(b.err.line, 12);
    bench_end(&b);
}

static void all_refused_options_are_told_before_anything_runs(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    bench_add(&b, "read", &count_stage, "{\"n\":10}", -1, 0);
    bench_add(&b, "second", &count_stage, "{\"n\":11,\"refuse\":true}", -1, 0);
    bench_add(&b, "third", &count_stage, "{\"n\":12,\"refuse\":true}", -1, 0);
    int done = atomic_load(&blocks_done);
    assert_int_equal(bench_run(&b), FMP_E_CONFIG);
    assert_int_equal(b.diags.n_errors, 2);
    assert_int_equal(b.diags.items[0].err.line, 2);
    assert_string_equal(b.diags.items[0].err.option, "n");
    assert_non_null(strstr(b.diags.items[1].err.notes, "'third'"));
    assert_null(b.result.run_dir);
    assert_false(fmp_path_exists(b.runs));
    assert_int_equal(atomic_load(&blocks_done), done);
    bench_end(&b);
}

static void a_cached_stage_is_not_configured_again(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    bench_add(&b, "read", &count_stage, "{\"n\":10}", -1, 0);
    RUN_OK(&b);
    cJSON_AddTrueToObject(b.nodes[0].values, "refuse"); /* not in the key: the result stands */
    RUN_OK(&b);
    assert_action(&b, "read", "cached", "");
    bench_end(&b);
}

/* ------------------------------------------------------------------------------------------ store trouble */

static void object_path(const bench *b, const char *stage, const char *port, const char *file,
                        char path[1024])
{
    const char *digest = fmp_json_str(fmp_json_get(stage_result(b, stage), "outputs"), port, "");
    assert_int_equal(strlen(digest), 64);
    (void)snprintf(path, 1024, "%s/objects/%s%s", b->store, digest, file);
}

static void a_damaged_object_is_detected_and_made_again(void **state)
{
    (void)state;
    bench b;
    char path[1024];
    bench_begin(&b);
    add_small(&b);
    RUN_OK(&b);
    object_path(&b, "split", "even", "/data/records.jsonl", path);
    assert_int_equal(chmod(path, 0644), 0);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    assert_int_equal(fseek(f, 30, SEEK_SET), 0);
    assert_int_equal(fputc('#', f), '#');
    assert_int_equal(fclose(f), 0);
    bench_set(&b, 3, "{\"steps\":1}"); /* so that the damaged input is read */
    RUN_OK(&b);
    assert_action(&b, "split", "ran", "STORE");
    assert_result(&b, "sum/sum.txt", "40\n");
    fmp_buf log = read_result(&b, "log.txt");
    assert_non_null(strstr(log.data, "it is made again"));
    fmp_buf_free(&log);
    bench_end(&b);
}

static void a_missing_middle_result_is_not_made_if_nobody_reads_it(void **state)
{
    (void)state;
    bench b;
    char path[1024];
    bench_begin(&b);
    add_small(&b);
    RUN_OK(&b);
    object_path(&b, "twice", "records", "", path);
    assert_int_equal(fmp_remove_tree(path, &b.err), FMP_OK);
    RUN_OK(&b);
    assert_action(&b, "twice", "cached", "");
    b.nodes[2].seed = 5; /* now somebody does */
    RUN_OK(&b);
    assert_action(&b, "read", "ran", "STREAM(twice)");
    assert_action(&b, "twice", "ran", "STORE");
    assert_action(&b, "split", "ran", "SEED");
    assert_action(&b, "sum", "cached", "");
    bench_end(&b);
}

static void a_missing_final_result_is_made_again(void **state)
{
    (void)state;
    bench b;
    char path[1024];
    bench_begin(&b);
    add_small(&b);
    RUN_OK(&b);
    object_path(&b, "sum", "file", "", path);
    assert_int_equal(fmp_remove_tree(path, &b.err), FMP_OK);
    RUN_OK(&b);
    assert_action(&b, "split", "cached", "");
    assert_action(&b, "sum", "ran", "STORE");
    assert_result(&b, "sum/sum.txt", "120\n");
    bench_end(&b);
}

/* The run.start event of a run that must succeed.                                     returned; heap */
static void keep_start(void *arg, const cJSON *event)
{
    cJSON **start = arg;
    if (strcmp(fmp_json_str(event, "event", ""), "run.start") == 0) { *start = cJSON_Duplicate(event, true); }
}

static cJSON *run_and_keep_start(bench *b)
{
    cJSON *start = NULL;
    fmp_events events = {.arg = &start, .event = keep_start};
    fmp_run_result_free(&b->result);
    fmp_err_clear(&b->err);
    assert_int_equal(fmp_run(&b->p, &b->o, &events, &b->diags, &b->result, &b->err), FMP_OK);
    assert_non_null(start);
    return start;
}

static void assert_interrupted(const cJSON *start, const char *run, bool stopped, int done)
{
    const cJSON *broken = fmp_json_get(start, "interrupted"), *resumes = fmp_json_get(start, "resumes");
    assert_non_null(broken);
    if (run) { assert_string_equal(fmp_json_str(broken, "run", ""), run); }
    assert_int_equal(fmp_json_bool(broken, "stopped", !stopped), stopped);
    assert_string_equal(fmp_json_str(broken, "stage", ""), "sum");
    assert_int_equal(fmp_json_num(broken, "done", -1), done);
    assert_int_equal(cJSON_GetArraySize(resumes), 1);
    assert_string_equal(resumes->child->valuestring, "sum");
}

static void a_stopped_task_keeps_its_work_and_resumes(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    add_small(&b);
    sum_stop_at = 1;
    assert_int_equal(bench_run(&b), FMP_E_CANCELLED);
    assert_string_equal(fmp_json_str(b.result.manifest, "status", ""), "stopped");
    char stopped[64];
    (void)snprintf(stopped, sizeof stopped, "%s", b.result.run_id);
    sum_stop_at = -1;
    fmp_plan *plan = NULL;
    assert_int_equal(fmp_plan_make(&b.p, &b.o, &plan, &b.err), FMP_OK);
    assert_false(plan->stages[2].resumes);
    assert_true(plan->stages[3].resumes);
    fmp_plan_free(plan);
    cJSON *start = run_and_keep_start(&b);
    assert_interrupted(start, stopped, true, 3);
    cJSON_Delete(start);
    assert_action(&b, "split", "cached", "");
    assert_int_equal(fmp_json_num(fmp_json_get(stage_result(&b, "sum"), "counts"), "resumed_at", -1), 2);
    assert_result(&b, "sum/sum.txt", "120\n");
    bench_end(&b);
}

static void killed_in_a_task_the_next_run_gives_the_same_bytes(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    add_small(&b);
    for (int64_t step = 0; step < 3; step++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            sum_kill_at = step;
            fmp_status st = bench_run(&b);
            _exit((int)st);
        }
        int how;
        assert_int_equal(waitpid(child, &how, 0), child);
        assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    }
    cJSON *start = run_and_keep_start(&b);
    assert_interrupted(start, NULL, false, 3);
    cJSON_Delete(start);
    assert_action(&b, "split", "cached", "");
    assert_int_equal(fmp_json_num(fmp_json_get(stage_result(&b, "sum"), "counts"), "resumed_at", -1), 3);
    assert_result(&b, "sum/sum.txt", "120\n");
    start = run_and_keep_start(&b); /* that one came to its end */
    assert_null(fmp_json_get(start, "interrupted"));
    assert_int_equal(cJSON_GetArraySize(fmp_json_get(start, "resumes")), 0);
    cJSON_Delete(start);
    bench_end(&b);
}

/* Killed after 1, 2, 3 … decoded blocks of a stream of many. */
static void killed_while_streaming_the_next_run_gives_the_same_bytes(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    bench_add(&b, "read", &count_stage, "{\"n\":20000}", -1, 0);
    bench_add(&b, "twice", &twice_stage, "{\"tag\":\"x\"}", 0, 0);
    for (int kill_after = 1; kill_after < 200; kill_after += 66) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            atomic_store(&blocks_done, 0);
            kill_after_blocks = kill_after;
            fmp_status st = bench_run(&b);
            _exit((int)st);
        }
        int how;
        assert_int_equal(waitpid(child, &how, 0), child);
        assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    }
    RUN_OK(&b);
    char digest[65];
    (void)snprintf(digest, sizeof digest, "%s",
                   fmp_json_str(fmp_json_get(stage_result(&b, "twice"), "outputs"), "records", ""));
    (void)snprintf(b.store, sizeof b.store, "%s/other", b.dir);
    RUN_OK(&b);
    assert_string_equal(digest,
                        fmp_json_str(fmp_json_get(stage_result(&b, "twice"), "outputs"), "records", ""));
    bench_end(&b);
}

/* Every write beyond 64 KiB of a file fails, as on a full disk. */
static void a_failed_write_fails_the_run_and_leaves_a_good_store(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    bench_add(&b, "read", &count_stage, "{\"n\":5000}", -1, 0);
    bench_add(&b, "split", &split_stage, "{}", 0, 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit limit = {65536, 65536};
        (void)signal(SIGXFSZ, SIG_IGN);
        fmp_status st = setrlimit(RLIMIT_FSIZE, &limit) == 0 ? bench_run(&b) : FMP_E_INTERNAL;
        _exit((int)st);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how));
    assert_int_equal(WEXITSTATUS(how), FMP_E_IO);
    RUN_OK(&b);
    assert_int_equal(fmp_json_num(fmp_json_get(stage_result(&b, "split"), "out_by"), "even", -1), 2500);
    bench_end(&b);
}

static void runs_at_once_on_one_store_do_not_disturb_each_other(void **state)
{
    (void)state;
    bench b;
    pid_t children[3];
    bench_begin(&b);
    bench_add(&b, "read", &count_stage, "{\"n\":5000}", -1, 0);
    bench_add(&b, "twice", &twice_stage, "{\"tag\":\"x\"}", 0, 0);
    bench_add(&b, "split", &split_stage, "{}", 1, 0);
    bench_add(&b, "sum", &sum_stage, "{\"steps\":2}", 2, 0);
    for (int i = 0; i < 3; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            fmp_status st = bench_run(&b);
            _exit((int)st);
        }
    }
    for (int i = 0; i < 3; i++) {
        int how;
        assert_int_equal(waitpid(children[i], &how, 0), children[i]);
        assert_true(WIFEXITED(how));
        assert_int_equal(WEXITSTATUS(how), 0);
    }
    RUN_OK(&b);
    for (size_t i = 0; i < 4; i++) {
        assert_action(&b, b.nodes[i].id, "cached", "");
    }
    assert_result(&b, "sum/sum.txt", "24990000\n"); /* evens below 5,000 add up to 6,247,500 */
    bench_end(&b);
}

static void a_fan_out_publishes_and_both_branches_read_it(void **state)
{
    (void)state;
    bench b;
    bench_begin(&b);
    bench_add(&b, "read", &count_stage, "{\"n\":10}", -1, 0);
    bench_add(&b, "even", &drop_odd_stage, "{}", 0, 0);
    bench_add(&b, "all", &sink_stage, "{}", 0, 0);
    bench_add(&b, "write", &sink_stage, "{}", 1, 0);
    RUN_OK(&b);
    assert_int_equal(fmp_json_num(stage_result(&b, "all"), "out", -1), 10);
    assert_int_equal(fmp_json_num(stage_result(&b, "write"), "out", -1), 5);
    bench_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(source_map_sink_writes_one_file_in_order),
        cmocka_unit_test(gather_and_task_get_what_the_segment_published),
        cmocka_unit_test(a_second_run_takes_everything_from_the_cache),
        cmocka_unit_test(each_change_is_a_miss_with_its_reason),
        cmocka_unit_test(numeric_environment_and_base_model_are_reasons),
        cmocka_unit_test(events_come_in_order_and_end_with_run_end),
        cmocka_unit_test(a_changed_data_file_is_an_input_reason),
        cmocka_unit_test(records_keep_file_line_and_offset),
        cmocka_unit_test(plan_says_what_run_will_do),
        cmocka_unit_test(plan_gives_the_time_of_the_last_run_scaled_by_records),
        cmocka_unit_test(explain_lists_the_differences),
        cmocka_unit_test(fail_policy_reports_the_problems_in_order),
        cmocka_unit_test(limit_policy_fails_only_beyond_its_number),
        cmocka_unit_test(a_gather_stage_is_stopped_soon_after_its_policy_is_broken),
        cmocka_unit_test(refused_rows_have_column_and_text_and_are_replayed_from_the_cache),
        cmocka_unit_test(a_stage_error_names_record_and_stage),
        cmocka_unit_test(a_refused_option_points_into_the_pipeline_file),
        cmocka_unit_test(all_refused_options_are_told_before_anything_runs),
        cmocka_unit_test(a_cached_stage_is_not_configured_again),
        cmocka_unit_test(a_damaged_object_is_detected_and_made_again),
        cmocka_unit_test(a_missing_middle_result_is_not_made_if_nobody_reads_it),
        cmocka_unit_test(a_missing_final_result_is_made_again),
        cmocka_unit_test(a_stopped_task_keeps_its_work_and_resumes),
        cmocka_unit_test(killed_in_a_task_the_next_run_gives_the_same_bytes),
        cmocka_unit_test(killed_while_streaming_the_next_run_gives_the_same_bytes),
        cmocka_unit_test(a_failed_write_fails_the_run_and_leaves_a_good_store),
        cmocka_unit_test(runs_at_once_on_one_store_do_not_disturb_each_other),
        cmocka_unit_test(a_fan_out_publishes_and_both_branches_read_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
