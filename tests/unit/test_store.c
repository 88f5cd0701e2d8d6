/* links: fmengine fmbase */
/*
 * test_store.c: publishing, damage, tmp folders and their locks, gc, and hostile records artifacts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <records.h>
#include <stdlib.h>
#include <store.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct room {
    char dir[256];
    fmp_store *store;
    fmp_err err;
} room;

static void room_begin(room *r)
{
    const char *tmp = getenv("TMPDIR");
    memset(r, 0, sizeof *r);
    (void)snprintf(r->dir, sizeof r->dir, "%s/fmpipe-store-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(r->dir));
    assert_int_equal(fmp_store_open(r->dir, &r->store, &r->err), FMP_OK);
}

static void room_end(room *r)
{
    fmp_store_close(r->store);
    assert_int_equal(fmp_remove_tree(r->dir, &r->err), FMP_OK);
}

static void put_file(const char *dir, const char *name, const char *text)
{
    char path[1024];
    fmp_err err = FMP_ERR_INIT;
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(fmp_write_file(path, text, strlen(text), &err), FMP_OK);
}

static void publish(room *r, const char *text, char digest[65])
{
    fmp_store_tmp tmp;
    assert_int_equal(fmp_store_tmp_new(r->store, &tmp, &r->err), FMP_OK);
    put_file(tmp.data, "a.txt", text);
    assert_int_equal(fmp_store_publish(r->store, &tmp, "package", NULL, 0, digest, &r->err), FMP_OK);
}

static size_t count_tmp(const room *r)
{
    char command[300];
    (void)snprintf(command, sizeof command, "%s/tmp", r->dir);
    struct stat info;
    assert_int_equal(stat(command, &info), 0);
    return (size_t)info.st_nlink - 2; /* folders in it */
}

static void equal_contents_have_one_name_and_publishing_twice_is_harmless(void **state)
{
    (void)state;
    room r;
    char a[65], b[65], c[65], *data;
    room_begin(&r);
    publish(&r, "hello", a);
    publish(&r, "hello", b);
    publish(&r, "hellO", c);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    assert_int_equal(fmp_store_object(r.store, a, FMP_CHECK_DIGESTS, &data, &r.err), FMP_OK);
    assert_non_null(strstr(data, a));
    free(data);
    room_end(&r);
}

static void links_in_an_output_are_refused(void **state)
{
    (void)state;
    room r;
    fmp_store_tmp tmp;
    char digest[65], path[1024];
    room_begin(&r);
    assert_int_equal(fmp_store_tmp_new(r.store, &tmp, &r.err), FMP_OK);
    (void)snprintf(path, sizeof path, "%s/link", tmp.data);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(fmp_store_publish(r.store, &tmp, "package", NULL, 0, digest, &r.err), FMP_E_PLUGIN);
    assert_string_equal(r.err.message,
                        "expected regular files and folders in a stage's output, found 'link', which is a "
                        "symbolic link");
    fmp_store_tmp_drop(&tmp);
    room_end(&r);
}

static void each_kind_of_damage_is_told(void **state)
{
    (void)state;
    room r;
    char digest[65], path[1024];
    room_begin(&r);
    publish(&r, "hello", digest);
    (void)snprintf(path, sizeof path, "%s/objects/%s/data/a.txt", r.dir, digest);
    (void)chmod(path, 0644);
    assert_int_equal(fmp_write_file(path, "hellO", 5, &r.err), FMP_OK);
    assert_int_equal(fmp_store_object(r.store, digest, FMP_CHECK_SIZES, NULL, &r.err),
                     FMP_OK); /* same size */
    assert_int_equal(fmp_store_object(r.store, digest, FMP_CHECK_SMALL, NULL, &r.err), FMP_E_MISMATCH);
    assert_non_null(strstr(r.err.message, "file 'a.txt' has SHA-256"));
    assert_int_equal(fmp_write_file(path, "hell", 4, &r.err), FMP_OK);
    assert_int_equal(fmp_store_object(r.store, digest, FMP_CHECK_SIZES, NULL, &r.err), FMP_E_MISMATCH);
    assert_non_null(strstr(r.err.message, "file 'a.txt' has 4 bytes, expected 5"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fmp_store_object(r.store, digest, FMP_CHECK_SIZES, NULL, &r.err), FMP_E_MISMATCH);
    assert_non_null(strstr(r.err.message, "file 'a.txt' is missing"));
    assert_int_equal(fmp_store_drop(r.store, digest, &r.err), FMP_OK);
    assert_int_equal(fmp_store_object(r.store, digest, FMP_CHECK_SIZES, NULL, &r.err), FMP_E_MISMATCH);
    assert_non_null(strstr(r.err.message, "it is not there"));
    assert_int_equal(fmp_store_object(r.store, "../../etc", FMP_CHECK_SIZES, NULL, &r.err), FMP_E_MISMATCH);
    publish(&r, "hello", digest);
    assert_int_equal(fmp_store_object(r.store, digest, FMP_CHECK_DIGESTS, NULL, &r.err), FMP_OK);
    room_end(&r);
}

static void tmp_of_the_dead_is_swept_and_of_the_living_is_not(void **state)
{
    (void)state;
    room r;
    fmp_store_tmp mine;
    room_begin(&r);
    assert_int_equal(fmp_store_tmp_new(r.store, &mine, &r.err), FMP_OK);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        fmp_store *store;
        fmp_store_tmp tmp;
        fmp_status st = fmp_store_open(r.dir, &store, NULL);
        if (st == FMP_OK) { st = fmp_store_tmp_new(store, &tmp, NULL); }
        _exit((int)st); /* its folder stays */
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_int_equal(how, 0);
    assert_int_equal(count_tmp(&r), 2);
    fmp_store *other;
    assert_int_equal(fmp_store_open(r.dir, &other, &r.err), FMP_OK);
    assert_int_equal(count_tmp(&r), 1);
    assert_true(fmp_path_exists(mine.data));
    fmp_store_close(other);
    fmp_store_tmp_drop(&mine);
    assert_int_equal(count_tmp(&r), 0);
    room_end(&r);
}

static void put_action(room *r, char key_digit, const char *object)
{
    char key[65], record[512];
    memset(key, key_digit, 64);
    key[64] = '\0';
    (void)snprintf(record, sizeof record,
                   "{\"key\":\"%s\",\"preimage\":{\"stage\":\"x\"},\"out\":1,\"outputs\":{\"p\":\"%s\"}}",
                   key, object);
    cJSON *json = cJSON_Parse(record);
    assert_int_equal(fmp_store_put_action(r->store, key, json, NULL, &r->err), FMP_OK);
    if (key_digit == 'a') {
        assert_int_equal(fmp_store_put_last(r->store, "p", "s", key, fmp_json_get(json, "preimage"), &r->err),
                         FMP_OK);
    }
    cJSON_Delete(json);
}

static void gc_keeps_what_last_names_and_waits_for_runs(void **state)
{
    (void)state;
    room r;
    char a[65], b[65];
    fmp_gc_options options = {.dry_run = true};
    fmp_gc_result result;
    room_begin(&r);
    publish(&r, "one", a);
    publish(&r, "two", b);
    put_action(&r, 'a', a);
    put_action(&r, 'b', b);
    assert_int_equal(fmp_store_gc(r.dir, &options, &result, &r.err),
                     FMP_E_FAILED); /* this test holds the store open */
    fmp_store_close(r.store);
    cJSON *list = NULL;
    assert_int_equal(fmp_store_list(r.dir, &list, &r.err), FMP_OK);
    assert_int_equal(cJSON_GetArraySize(list), 2);
    cJSON_Delete(list);
    assert_int_equal(fmp_store_gc(r.dir, &options, &result, &r.err), FMP_OK);
    assert_int_equal(result.n_actions, 1);
    assert_int_equal(result.n_objects, 1);
    options.dry_run = false;
    assert_int_equal(fmp_store_gc(r.dir, &options, &result, &r.err), FMP_OK);
    assert_int_equal(fmp_store_open(r.dir, &r.store, &r.err), FMP_OK);
    assert_int_equal(fmp_store_object(r.store, a, FMP_CHECK_DIGESTS, NULL, &r.err), FMP_OK);
    assert_int_equal(fmp_store_object(r.store, b, FMP_CHECK_DIGESTS, NULL, &r.err), FMP_E_MISMATCH);
    room_end(&r);
}

static void a_damaged_action_record_is_no_record(void **state)
{
    (void)state;
    room r;
    char key[65], path[1024];
    room_begin(&r);
    memset(key, 'c', 64);
    key[64] = '\0';
    (void)snprintf(path, sizeof path, "%s/actions/%s.json", r.dir, key);
    static const char *const texts[] = {
        "", "{", "[]", "{\"key\":\"cc\",\"preimage\":{}}",
        ("{\"key\":\"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\","
         "\"preimage\":{}}")};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cJSON *record;
        assert_int_equal(fmp_write_file(path, texts[i], strlen(texts[i]), &r.err), FMP_OK);
        assert_int_equal(fmp_store_action(r.store, key, &record, &r.err), FMP_OK);
        assert_null(record);
    }
    room_end(&r);
}

static void a_work_folder_has_one_user_and_a_stop_ends_the_wait(void **state)
{
    (void)state;
    room r;
    char key[65], *path, *second;
    int lock, other;
    bool waited;
    volatile int stop = 1;
    room_begin(&r);
    memset(key, 'e', 64);
    key[64] = '\0';
    assert_int_equal(fmp_store_work(r.store, key, NULL, &path, &lock, &waited, &r.err), FMP_OK);
    assert_false(waited);
    assert_int_equal(fmp_store_work(r.store, key, &stop, &second, &other, &waited, &r.err), FMP_E_CANCELLED);
    assert_true(waited);
    close(lock);
    assert_int_equal(fmp_store_work(r.store, key, &stop, &second, &other, &waited, &r.err), FMP_OK);
    close(other);
    free(path);
    free(second);
    room_end(&r);
}

/* ------------------------------------------------------------------------------------------------ records */

static fmp_status read_records(room *r, const char *manifest, const char *lines)
{
    fmp_reader *reader;
    fmp_pool *pool;
    const fmp_record *records;
    size_t n = 1;
    put_file(r->dir, "manifest.json", manifest);
    put_file(r->dir, "records.jsonl", lines);
    assert_int_equal(fmp_pool_new(2, &pool, &r->err), FMP_OK);
    fmp_err_clear(&r->err);
    fmp_status st = fmp_reader_open(r->dir, pool, &reader, &r->err);
    if (st == FMP_OK) {
        while (st == FMP_OK && n > 0) {
            st = fmp_reader_next(reader, &records, &n, &r->err);
        }
        fmp_reader_close(reader);
    }
    fmp_pool_free(pool);
    return st;
}

static void hostile_records_are_refused_with_their_line(void **state)
{
    (void)state;
    static const char good[] = "{\"type\":\"records\",\"n\":1,\"files\":[\"a\"]}";
    static const char line[] =
        "{\"id\":\"0123456789abcdef\",\"file\":0,\"line\":1,\"offset\":2,\"doc\":{}}\n";
    static const struct {
        const char *manifest, *lines;
        fmp_status expected;
    } cases[] = {
        {good, line, FMP_OK},
        {good, "", FMP_E_DATA},
        {good, "{\"id\":\"0123456789abcdef\"", FMP_E_DATA},
        {good, "{\"id\":\"0123456789abcdef\",\"file\":1,\"line\":1,\"offset\":2,\"doc\":{}}\n", FMP_E_DATA},
        {good, "{\"id\":\"0123456789abcdef\",\"file\":99999999999,\"line\":1,\"offset\":2,\"doc\":{}}\n",
         FMP_E_DATA},
        {good,
         "{\"id\":\"0123456789abcdef\",\"file\":0,\"line\":99999999999999999999,\"offset\":2,\"doc\":{}}\n",
         FMP_E_DATA},
        {good, "{\"id\":\"0123456789abcde\",\"file\":0,\"line\":1,\"offset\":2,\"doc\":{}}\n", FMP_E_DATA},
        {good, "{\"id\":\"0123456789abcdef\",\"file\":0,\"line\":1,\"offset\":2,\"doc\":}\n", FMP_E_DATA},
        {good, "{\"id\":\"0123456789abcdef\",\"file\":0,\"line\":1,\"offset\":2,\"doc\":\n", FMP_E_DATA},
        {good, "\n", FMP_E_DATA},
        {"{\"type\":\"tokens\",\"n\":1,\"files\":[]}", line, FMP_E_DATA},
        {"{\"type\":\"records\",\"n\":-1,\"files\":[]}", line, FMP_E_DATA},
        {"{\"type\":\"records\",\"n\":1,\"files\":[\"a\",\"a\"]}", line, FMP_E_DATA},
        {"{\"type\":\"records\",\"n\":1,\"files\":[1]}", line, FMP_E_DATA},
        {"{", line, FMP_E_DATA},
    };
    room r;
    room_begin(&r);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fmp_status st = read_records(&r, cases[i].manifest, cases[i].lines);
        if (st != cases[i].expected) { fail_msg("case %zu gave %d: %s", i, (int)st, r.err.message); }
    }
    room_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_contents_have_one_name_and_publishing_twice_is_harmless),
        cmocka_unit_test(links_in_an_output_are_refused),
        cmocka_unit_test(each_kind_of_damage_is_told),
        cmocka_unit_test(tmp_of_the_dead_is_swept_and_of_the_living_is_not),
        cmocka_unit_test(gc_keeps_what_last_names_and_waits_for_runs),
        cmocka_unit_test(a_damaged_action_record_is_no_record),
        cmocka_unit_test(a_work_folder_has_one_user_and_a_stop_ends_the_wait),
        cmocka_unit_test(hostile_records_are_refused_with_their_line),
    };
    fmp_json_install_hooks();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
