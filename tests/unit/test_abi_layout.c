/* links: fmbase */
/*
 * The plugin ABI's structs, to the byte, on LP64. A number here changes only by growing a struct at its
 * end: every plugin that was ever built relies on these.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fmpipe/plugin.h>

#define SIZE(type, n)       assert_int_equal(sizeof(type), n)
#define AT(type, member, n) assert_int_equal(offsetof(type, member), n)

static void errors_and_options_have_their_layout(void **state)
{
    (void)state;
    SIZE(fmp_err, 2648);
    AT(fmp_err, struct_size, 0);
    AT(fmp_err, code, 4);
    AT(fmp_err, offset, 8);
    AT(fmp_err, line, 16);
    AT(fmp_err, column, 20);
    AT(fmp_err, file, 24);
    AT(fmp_err, option, 536);
    AT(fmp_err, record, 664);
    AT(fmp_err, message, 728);
    AT(fmp_err, hint, 1496);
    AT(fmp_err, notes, 1880);
    SIZE(fmp_option, 72);
    AT(fmp_option, name, 0);
    AT(fmp_option, type, 8);
    AT(fmp_option, flags, 12);
    AT(fmp_option, def, 16);
    AT(fmp_option, unit, 24);
    AT(fmp_option, min, 32);
    AT(fmp_option, max, 40);
    AT(fmp_option, choices, 48);
    AT(fmp_option, help, 56);
    AT(fmp_option, items, 64);
    SIZE(fmp_port, 32);
    AT(fmp_port, name, 0);
    AT(fmp_port, type, 8);
    AT(fmp_port, flags, 16);
    AT(fmp_port, help, 24);
}

static void host_and_extensions_have_their_layout(void **state)
{
    (void)state;
    SIZE(fmp_host, 40);
    AT(fmp_host, struct_size, 0);
    AT(fmp_host, abi_major, 4);
    AT(fmp_host, abi_minor, 8);
    AT(fmp_host, version, 16);
    AT(fmp_host, impl, 24);
    AT(fmp_host, get_extension, 32);
    SIZE(fmp_ext_log, 16);
    AT(fmp_ext_log, struct_size, 0);
    AT(fmp_ext_log, log, 8);
    SIZE(fmp_ext_rng, 32);
    AT(fmp_ext_rng, struct_size, 0);
    AT(fmp_ext_rng, u64, 8);
    AT(fmp_ext_rng, unit, 16);
    AT(fmp_ext_rng, below, 24);
    SIZE(fmp_regex_group, 16);
    AT(fmp_regex_group, begin, 0);
    AT(fmp_regex_group, end, 8);
    SIZE(fmp_ext_regex, 32);
    AT(fmp_ext_regex, struct_size, 0);
    AT(fmp_ext_regex, compile, 8);
    AT(fmp_ext_regex, free, 16);
    AT(fmp_ext_regex, match, 24);
    SIZE(fmp_ext_parallel, 24);
    AT(fmp_ext_parallel, struct_size, 0);
    AT(fmp_ext_parallel, n_threads, 8);
    AT(fmp_ext_parallel, for_each, 16);
    SIZE(fmp_ext_progress, 16);
    AT(fmp_ext_progress, struct_size, 0);
    AT(fmp_ext_progress, update, 8);
    SIZE(fmp_ext_metrics, 40);
    AT(fmp_ext_metrics, struct_size, 0);
    AT(fmp_ext_metrics, count, 8);
    AT(fmp_ext_metrics, fact, 16);
    AT(fmp_ext_metrics, point, 24);
    AT(fmp_ext_metrics, summary, 32);
    SIZE(fmp_ext_cancel, 16);
    AT(fmp_ext_cancel, struct_size, 0);
    AT(fmp_ext_cancel, requested, 8);
    SIZE(fmp_ext_records, 48);
    AT(fmp_ext_records, struct_size, 0);
    AT(fmp_ext_records, open, 8);
    AT(fmp_ext_records, next, 16);
    AT(fmp_ext_records, close, 24);
    AT(fmp_ext_records, emit, 32);
    AT(fmp_ext_records, reject, 40);
    SIZE(fmp_ext_run, 24);
    AT(fmp_ext_run, struct_size, 0);
    AT(fmp_ext_run, manifest, 8);
    AT(fmp_ext_run, run_dir, 16);
    SIZE(fmp_ext_numeric_env, 16);
    AT(fmp_ext_numeric_env, struct_size, 0);
    AT(fmp_ext_numeric_env, describe, 8);
}

static void records_and_calls_have_their_layout(void **state)
{
    (void)state;
    SIZE(fmp_origin, 24);
    AT(fmp_origin, file, 0);
    AT(fmp_origin, line, 8);
    AT(fmp_origin, offset, 16);
    SIZE(fmp_record, 56);
    AT(fmp_record, struct_size, 0);
    AT(fmp_record, id, 4);
    AT(fmp_record, origin, 24);
    AT(fmp_record, doc, 48);
    SIZE(fmp_problem, 32);
    AT(fmp_problem, reason, 0);
    AT(fmp_problem, message, 8);
    AT(fmp_problem, path, 16);
    AT(fmp_problem, column, 24);
    SIZE(fmp_reject, 96);
    AT(fmp_reject, struct_size, 0);
    AT(fmp_reject, reason, 8);
    AT(fmp_reject, message, 16);
    AT(fmp_reject, path, 24);
    AT(fmp_reject, origin, 32);
    AT(fmp_reject, column, 56);
    AT(fmp_reject, text, 64);
    AT(fmp_reject, text_len, 72);
    AT(fmp_reject, more, 80);
    AT(fmp_reject, n_more, 88);
    SIZE(fmp_call, 72);
    AT(fmp_call, struct_size, 0);
    AT(fmp_call, worker, 4);
    AT(fmp_call, impl, 8);
    AT(fmp_call, arena_take, 16);
    AT(fmp_call, emit, 24);
    AT(fmp_call, emit_row, 32);
    AT(fmp_call, pass, 40);
    AT(fmp_call, reject, 48);
    AT(fmp_call, write, 56);
    AT(fmp_call, count, 64);
    SIZE(fmp_block, 80);
    AT(fmp_block, struct_size, 0);
    AT(fmp_block, data, 8);
    AT(fmp_block, len, 16);
    AT(fmp_block, cap, 24);
    AT(fmp_block, file, 32);
    AT(fmp_block, first_line, 40);
    AT(fmp_block, first_row, 48);
    AT(fmp_block, n_rows, 56);
    AT(fmp_block, offset, 64);
    AT(fmp_block, grow, 72);
}

static void tasks_have_their_layout(void **state)
{
    (void)state;
    SIZE(fmp_input, 56);
    AT(fmp_input, struct_size, 0);
    AT(fmp_input, port, 8);
    AT(fmp_input, type, 16);
    AT(fmp_input, stage, 24);
    AT(fmp_input, path, 32);
    AT(fmp_input, digest, 40);
    AT(fmp_input, facts, 48);
    SIZE(fmp_output, 32);
    AT(fmp_output, struct_size, 0);
    AT(fmp_output, port, 8);
    AT(fmp_output, type, 16);
    AT(fmp_output, path, 24);
    SIZE(fmp_task, 72);
    AT(fmp_task, struct_size, 0);
    AT(fmp_task, host, 8);
    AT(fmp_task, seed, 16);
    AT(fmp_task, n_inputs, 24);
    AT(fmp_task, n_outputs, 32);
    AT(fmp_task, inputs, 40);
    AT(fmp_task, outputs, 48);
    AT(fmp_task, work_dir, 56);
    AT(fmp_task, pipeline_dir, 64);
}

static void descriptors_have_their_layout(void **state)
{
    (void)state;
    SIZE(fmp_stage, 152);
    AT(fmp_stage, struct_size, 0);
    AT(fmp_stage, name, 8);
    AT(fmp_stage, version, 16);
    AT(fmp_stage, kind, 20);
    AT(fmp_stage, flags, 24);
    AT(fmp_stage, summary, 32);
    AT(fmp_stage, inputs, 40);
    AT(fmp_stage, outputs, 48);
    AT(fmp_stage, options, 56);
    AT(fmp_stage, create, 64);
    AT(fmp_stage, configure, 72);
    AT(fmp_stage, start, 80);
    AT(fmp_stage, fetch, 88);
    AT(fmp_stage, decode, 96);
    AT(fmp_stage, process, 104);
    AT(fmp_stage, encode, 112);
    AT(fmp_stage, file_name, 120);
    AT(fmp_stage, finish, 128);
    AT(fmp_stage, run, 136);
    AT(fmp_stage, destroy, 144);
    SIZE(fmp_plugin, 72);
    AT(fmp_plugin, struct_size, 0);
    AT(fmp_plugin, abi_major, 4);
    AT(fmp_plugin, abi_minor_needed, 8);
    AT(fmp_plugin, layout, 16);
    AT(fmp_plugin, name, 24);
    AT(fmp_plugin, version, 32);
    AT(fmp_plugin, license, 40);
    AT(fmp_plugin, option_size, 48);
    AT(fmp_plugin, port_size, 52);
    AT(fmp_plugin, stages, 56);
    AT(fmp_plugin, get_extension, 64);
}

/* Plugins carry this number; the loader compares it with its own. */
static void the_layout_signature_is_the_one_of_version_1(void **state)
{
    (void)state;
    assert_true(FMP_LAYOUT == UINT64_C(2648273056));
    assert_int_equal(FMP_ABI_MAJOR, 1);
}

static void status_codes_and_enums_keep_their_numbers(void **state)
{
    (void)state;
    assert_int_equal(FMP_E_USAGE, 1);
    assert_int_equal(FMP_E_PLUGIN, 6);
    assert_int_equal(FMP_E_INTERNAL, 12);
    assert_int_equal(FMP_OPT_BOOL, 1);
    assert_int_equal(FMP_OPT_JSON, 12);
    assert_int_equal(FMP_SOURCE, 1);
    assert_int_equal(FMP_TASK, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_and_options_have_their_layout),
        cmocka_unit_test(host_and_extensions_have_their_layout),
        cmocka_unit_test(records_and_calls_have_their_layout),
        cmocka_unit_test(tasks_have_their_layout),
        cmocka_unit_test(descriptors_have_their_layout),
        cmocka_unit_test(the_layout_signature_is_the_one_of_version_1),
        cmocka_unit_test(status_codes_and_enums_keep_their_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
