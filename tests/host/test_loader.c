/*
 * test_loader.c: what the loader refuses and how it says so; that hashed bytes are the loaded bytes; that
 * foreign code never runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <elf_note.h>
#include <fmpipe/fs.h>
#include <host.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct folder {
    char dir[256];
} folder;

static int make_folder(void **state)
{
    folder *f = calloc(1, sizeof *f);
    const char *tmp = getenv("TMPDIR");
    if (!f) { return -1; }
    snprintf(f->dir, sizeof f->dir, "%s/fmpipe-host-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    *state = f;
    return mkdtemp(f->dir) ? 0 : -1;
}

static int remove_folder(void **state)
{
    folder *f = *state;
    fmp_err err = FMP_ERR_INIT;
    int code = fmp_remove_tree(f->dir, &err);
    free(f);
    return code;
}

static void path_in(const folder *f, const char *name, char path[512])
{
    snprintf(path, 512, "%s/%s", f->dir, name);
}

static void odd_path(const char *kind, char path[512])
{
    snprintf(path, 512, "%s/odd_%s.so", ODD_DIR, kind);
}

static void copy_odd(const char *kind, const char *to)
{
    char from[512];
    fmp_err err = FMP_ERR_INIT;
    odd_path(kind, from);
    (void)unlink(to);
    assert_int_equal(fmp_copy_tree(from, to, &err), FMP_OK);
}

/* Read and load; the error of whichever fails first. */
static fmp_status read_and_load(const char *path, fmp_err *err)
{
    fmp_plugin_info *info = NULL;
    const fmp_stage *stage = NULL;
    fmp_status status = fmp_plugin_read(path, &info, err);
    if (status == FMP_OK) { status = fmp_plugin_load(&info->stages[0], &stage, err); }
    fmp_plugin_info_free(info);
    return status;
}

static void expect_refusal(const char *kind, const char *words)
{
    char path[512];
    fmp_err err = FMP_ERR_INIT;
    odd_path(kind, path);
    fmp_status status = read_and_load(path, &err);
    if (status != FMP_E_PLUGIN || !strstr(err.message, words)) {
        fail_msg("%s: expected a refusal with '%s', found status %d, '%s'", kind, words, (int)status,
                 err.message);
    }
    assert_non_null(strstr(err.file, kind)); /* it says which file */
}

static void faulty_plugins_are_refused_with_the_reason(void **state)
{
    (void)state;
    expect_refusal("MAJOR", "ABI version 2");
    expect_refusal("MINOR", "needs ABI 1.99");
    expect_refusal("LAYOUT", "laid out differently");
    expect_refusal("LARGE", "bytes, this program knows");
    expect_refusal("SMALL", "laid out differently");
    expect_refusal("NO_ENTRY", "does not export fmp_plugin_v1");
    expect_refusal("EXTRA_SYMBOL", "odd_visible");
    expect_refusal("NO_CALLBACK", "odd.stage");
    expect_refusal("TWO_OPTIONS", "mode");
    expect_refusal("NULL", "returned NULL");
    expect_refusal("CRASH", "signal 11");
    expect_refusal("UNDEFINED", "odd_not_anywhere");
    expect_refusal("RUN_PATH", "/nowhere/evil");
    expect_refusal("STAGE_SIZE", "another size");
    expect_refusal("NAME", "team.verb");
}

static void a_sound_plugin_loads_once_however_it_is_named(void **state)
{
    char path[512], copy[512];
    fmp_err err = FMP_ERR_INIT;
    fmp_plugin_info *a = NULL, *b = NULL;
    const fmp_stage *first = NULL, *second = NULL;
    odd_path("NONE", path);
    path_in(*state, "copy.so", copy);
    copy_odd("NONE", copy);
    assert_int_equal(fmp_plugin_read(path, &a, &err), FMP_OK);
    assert_int_equal(fmp_plugin_read(copy, &b, &err), FMP_OK);
    assert_string_equal(a->digest, b->digest);
    assert_int_equal(fmp_plugin_load(&a->stages[0], &first, &err), FMP_OK);
    assert_int_equal(fmp_plugin_load(&b->stages[0], &second, &err), FMP_OK);
    assert_ptr_equal(first, second);
    assert_string_equal(first->name, "odd.stage");
    fmp_plugin_info_free(a);
    fmp_plugin_info_free(b);
}

static void the_note_round_trips_and_writing_it_again_changes_nothing(void **state)
{
    char path[512];
    fmp_err err = FMP_ERR_INIT;
    fmp_buf once = {0}, twice = {0};
    path_in(*state, "noted.so", path);
    copy_odd("NONE", path);
    assert_int_equal(fmp_plugin_write_note(path, &err), FMP_OK);
    assert_int_equal(fmp_read_file(path, 0, &once, &err), FMP_OK);
    assert_int_equal(fmp_plugin_write_note(path, &err), FMP_OK);
    assert_int_equal(fmp_read_file(path, 0, &twice, &err), FMP_OK);
    assert_int_equal(once.len, twice.len);
    assert_memory_equal(once.data, twice.data, once.len);
    assert_int_equal(read_and_load(path, &err), FMP_OK);
    fmp_buf_free(&once);
    fmp_buf_free(&twice);
}

static void a_note_that_lies_is_refused(void **state)
{
    static const char lie[] = "{\"abi_major\":1,\"abi_minor_needed\":0,\"license\":\"MIT\",\"name\":\"odd\","
                              "\"stages\":[{\"kind\":\"map\","
                              "\"name\":\"odd.stage\",\"version\":9}],\"version\":\"1.0.0\"}";
    char path[512];
    fmp_err err = FMP_ERR_INIT;
    fmp_buf image = {0}, out = {0};
    path_in(*state, "lie.so", path);
    copy_odd("NONE", path);
    assert_int_equal(fmp_read_file(path, 0, &image, &err), FMP_OK);
    assert_int_equal(
        fmp_elf_with_note((const unsigned char *)image.data, image.len, lie, sizeof lie - 1, &out, &err),
        FMP_OK);
    assert_int_equal(fmp_write_file(path, out.data, out.len, &err), FMP_OK);
    assert_int_equal(read_and_load(path, &err), FMP_E_PLUGIN);
    assert_non_null(strstr(err.message, "note"));
    fmp_buf_free(&image);
    fmp_buf_free(&out);
}

/* ---- foreign code: MARKER's constructor leaves a file when it runs ---- */

static void set_marker(const folder *f, char marker[512])
{
    path_in(f, "marker", marker);
    setenv("FMP_TEST_MARKER", marker, 1);
}

static void reading_a_plugin_with_a_note_runs_none_of_its_code(void **state)
{
    char path[512], marker[512];
    fmp_err err = FMP_ERR_INIT;
    fmp_plugin_info *info = NULL;
    path_in(*state, "quiet.so", path);
    copy_odd("MARKER", path);
    assert_int_equal(fmp_plugin_write_note(path, &err), FMP_OK);
    set_marker(*state, marker);
    assert_int_equal(fmp_plugin_read(path, &info, &err), FMP_OK);
    assert_false(fmp_path_exists(marker));
    fmp_plugin_info_free(info);
    unsetenv("FMP_TEST_MARKER");
}

static void a_file_swapped_after_the_check_is_not_loaded(void **state)
{
    char path[512], marker[512];
    fmp_err err = FMP_ERR_INIT;
    fmp_plugin_info *info = NULL;
    const fmp_stage *stage = NULL;
    path_in(*state, "swap.so", path);
    copy_odd("NONE", path);
    assert_int_equal(fmp_plugin_write_note(path, &err),
                     FMP_OK); /* bytes that this process has not loaded yet */
    fmp_buf image = {0};
    assert_int_equal(fmp_read_file(path, 0, &image, &err), FMP_OK);
    fmp_buf_putc(&image, '\n');
    assert_int_equal(fmp_write_file(path, image.data, image.len, &err), FMP_OK);
    fmp_buf_free(&image);
    assert_int_equal(fmp_plugin_read(path, &info, &err), FMP_OK);
    copy_odd("MARKER", path);
    set_marker(*state, marker);
    assert_int_equal(fmp_plugin_load(&info->stages[0], &stage, &err), FMP_E_MISMATCH);
    char expected[13];
    snprintf(expected, sizeof expected, "%.12s", info->digest);
    assert_non_null(strstr(err.message, expected)); /* it names the digest that was expected */
    assert_false(fmp_path_exists(marker));
    fmp_plugin_info_free(info);
    unsetenv("FMP_TEST_MARKER");
}

static void a_link_moved_after_the_check_does_not_matter(void **state)
{
    char real[512], link_path[512], evil[512], marker[512];
    fmp_err err = FMP_ERR_INIT;
    fmp_plugin_info *info = NULL;
    const fmp_stage *stage = NULL;
    path_in(*state, "real.so", real);
    path_in(*state, "link.so", link_path);
    path_in(*state, "evil.so", evil);
    copy_odd("NONE", real);
    copy_odd("MARKER", evil);
    assert_int_equal(symlink(real, link_path), 0);
    assert_int_equal(fmp_plugin_read(link_path, &info, &err), FMP_OK);
    assert_int_equal(unlink(link_path), 0);
    assert_int_equal(symlink(evil, link_path), 0);
    set_marker(*state, marker);
    assert_int_equal(fmp_plugin_load(&info->stages[0], &stage, &err), FMP_OK); /* the file that was checked */
    assert_false(fmp_path_exists(marker));
    fmp_plugin_info_free(info);
    unsetenv("FMP_TEST_MARKER");
}

static void a_bare_file_name_never_means_the_current_folder(void **state)
{
    char path[512], marker[512], before[512];
    fmp_err err = FMP_ERR_INIT;
    fmp_registry *reg = NULL;
    const fmp_stage_info *info = NULL;
    path_in(*state, "odd.so", path);
    copy_odd("MARKER", path);
    set_marker(*state, marker);
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(((folder *)*state)->dir), 0);
    assert_int_equal(fmp_registry_new(NULL, &reg, &err), FMP_OK);
    assert_int_equal(fmp_registry_find(reg, "odd.so", NULL, &info, &err), FMP_E_CONFIG);
    assert_int_equal(fmp_registry_find(reg, "odd.stage", NULL, &info, &err), FMP_E_CONFIG);
    assert_false(fmp_path_exists(marker));
    fmp_registry_free(reg);
    assert_int_equal(chdir(before), 0);
    unsetenv("FMP_TEST_MARKER");
}

static void two_plugins_with_one_stage_name_are_an_error_that_names_both(void **state)
{
    char one[512], two[512];
    fmp_err err = FMP_ERR_INIT;
    fmp_registry *reg = NULL;
    const fmp_stage_info *info = NULL;
    const char *dirs[] = {((folder *)*state)->dir, NULL};
    path_in(*state, "one.so", one);
    path_in(*state, "two.so", two);
    copy_odd("NONE", one);
    copy_odd("NONE", two);
    assert_int_equal(fmp_registry_new(dirs, &reg, &err), FMP_OK);
    assert_int_equal(fmp_registry_find(reg, "odd.stage", NULL, &info, &err),
                     FMP_OK); /* equal bytes are one plugin */
    fmp_registry_free(reg);
    assert_int_equal(fmp_plugin_write_note(two, &err), FMP_OK);
    assert_int_equal(fmp_registry_new(dirs, &reg, &err), FMP_OK);
    assert_int_equal(fmp_registry_find(reg, "odd.stage", NULL, &info, &err), FMP_E_PLUGIN);
    assert_non_null(strstr(err.message, "one.so"));
    assert_non_null(strstr(err.message, "two.so"));
    fmp_registry_free(reg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faulty_plugins_are_refused_with_the_reason),
        cmocka_unit_test_setup_teardown(a_sound_plugin_loads_once_however_it_is_named, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(the_note_round_trips_and_writing_it_again_changes_nothing,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_note_that_lies_is_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(reading_a_plugin_with_a_note_runs_none_of_its_code, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_file_swapped_after_the_check_is_not_loaded, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_link_moved_after_the_check_does_not_matter, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_bare_file_name_never_means_the_current_folder, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(two_plugins_with_one_stage_name_are_an_error_that_names_both,
                                        make_folder, remove_folder),
    };
    fmp_json_install_hooks();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
