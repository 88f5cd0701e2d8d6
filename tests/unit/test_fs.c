/* links: fmbase */
/* Digests, files, trees, worker threads and random numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fmpipe/fs.h>

#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/fmp-test-fs-XXXXXX";

/* A path below the test's folder, in one of a few rotating buffers. */
static const char *in_root(const char *name)
{
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

static int make_root(void **state)
{
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    return fmp_remove_tree(root, NULL) == FMP_OK && !fmp_path_exists(root) ? 0 : -1;
}

static void put(const char *name, const char *text)
{
    fmp_err err = FMP_ERR_INIT;
    if (fmp_write_file(in_root(name), text, strlen(text), &err) != FMP_OK) { fail_msg("%s", err.message); }
}

static size_t n_entries(const char *path)
{
    size_t n = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir)) {
        n++;
    }
    closedir(dir);
    return n - 2;
}

/* ---- digests ---- */

static void sha256_matches_the_published_vectors(void **state)
{
    (void)state;
    unsigned char digest[32];
    char hex[65];
    fmp_sha256_bytes("", 0, digest);
    fmp_hex(digest, 32, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    fmp_sha256_bytes("abc", 3, digest);
    fmp_hex(digest, 32, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    fmp_sha256 *h = fmp_sha256_new();
    for (int i = 0; i < 1000000; i++) {
        fmp_sha256_add(h, "a", 1);
    }
    fmp_sha256_end(h, digest);
    fmp_hex(digest, 32, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void the_digest_of_a_file_is_that_of_its_bytes(void **state)
{
    (void)state;
    char hex[65];
    fmp_err err = FMP_ERR_INIT;
    put("abc.txt", "abc");
    assert_int_equal(fmp_sha256_file(in_root("abc.txt"), hex, &err), FMP_OK);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(fmp_sha256_file(in_root("absent"), hex, &err), FMP_E_IO);
    assert_non_null(strstr(err.message, "cannot open "));
    assert_string_equal(err.file, in_root("absent"));
}

static void tree_hex(const char *name, char hex[65])
{
    fmp_err err = FMP_ERR_INIT;
    if (fmp_sha256_tree(in_root(name), hex, &err) != FMP_OK) { fail_msg("%s", err.message); }
}

static void the_digest_of_a_tree_sees_names_contents_and_their_borders(void **state)
{
    (void)state;
    char base[65], other[65];
    assert_int_equal(fmp_mkdirs(in_root("t1/a"), NULL), FMP_OK);
    assert_int_equal(fmp_mkdirs(in_root("t2/a"), NULL), FMP_OK);
    put("t1/a/x", "12");
    put("t1/a-b", "3");
    tree_hex("t1", base);
    put("t2/a-b", "3");
    put("t2/a/x", "12");
    tree_hex("t2", other);
    assert_string_equal(base, other);
    put("t2/a/x", "1");
    put("t2/a-b", "23");
    tree_hex("t2", other);
    assert_string_not_equal(base, other);
    put("t2/a/x", "12");
    put("t2/a-b", "3");
    assert_int_equal(rename(in_root("t2/a-b"), in_root("t2/a-c")), 0);
    tree_hex("t2", other);
    assert_string_not_equal(base, other);
}

static void the_digest_of_a_tree_follows_links_to_files_and_refuses_pipes(void **state)
{
    (void)state;
    char base[65], linked[65];
    fmp_err err = FMP_ERR_INIT;
    assert_int_equal(fmp_mkdirs(in_root("l1"), NULL), FMP_OK);
    assert_int_equal(fmp_mkdirs(in_root("l2"), NULL), FMP_OK);
    put("l1/f", "content");
    put("blob", "content");
    assert_int_equal(symlink("../blob", in_root("l2/f")), 0);
    tree_hex("l1", base);
    tree_hex("l2", linked);
    assert_string_equal(base, linked);
    assert_int_equal(mkfifo(in_root("l2/pipe"), 0600), 0);
    assert_int_equal(fmp_sha256_tree(in_root("l2"), linked, &err), FMP_E_UNSUPPORTED);
}

/* ---- files ---- */

static void a_written_file_reads_back_and_leaves_nothing_beside(void **state)
{
    (void)state;
    fmp_buf text = {0};
    assert_int_equal(fmp_mkdirs(in_root("w"), NULL), FMP_OK);
    put("w/f", "old");
    put("w/f", "new contents");
    assert_int_equal(fmp_read_file(in_root("w/f"), 0, &text, NULL), FMP_OK);
    assert_string_equal(text.data, "new contents");
    assert_int_equal(n_entries(in_root("w")), 1);
    put("w/empty", "");
    assert_int_equal(fmp_read_file(in_root("w/empty"), 0, &text, NULL), FMP_OK);
    assert_int_equal(text.len, 0);
    assert_string_equal(text.data, "");
    fmp_buf_free(&text);
}

static void a_write_that_fails_leaves_the_old_file_and_no_other(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    assert_int_equal(fmp_mkdirs(in_root("d/sub"), NULL), FMP_OK);
    assert_int_equal(fmp_write_file(in_root("d/sub"), "x", 1, &err), FMP_E_IO);
    assert_non_null(strstr(err.message, "cannot put in place"));
    assert_int_equal(n_entries(in_root("d")), 1);
    assert_int_equal(fmp_write_file(in_root("nowhere/f"), "x", 1, &err), FMP_E_IO);
    assert_non_null(strstr(err.message, "cannot create a file beside"));
    struct stat st;
    assert_int_equal(mkfifo(in_root("d/pipe"), 0600), 0);
    assert_int_equal(fmp_write_file(in_root("d/pipe"), "x", 1, &err), FMP_E_IO);
    assert_non_null(strstr(err.message, "it is not a regular file"));
    assert_true(stat(in_root("d/pipe"), &st) == 0 && S_ISFIFO(st.st_mode));
}

static void a_file_over_the_limit_is_a_range_error(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_buf text = {0};
    put("ten", "0123456789");
    assert_int_equal(fmp_read_file(in_root("ten"), 10, &text, &err), FMP_OK);
    assert_int_equal(fmp_read_file(in_root("ten"), 9, &text, &err), FMP_E_RANGE);
    assert_non_null(strstr(err.message, "larger than the limit of 9 bytes"));
    assert_int_equal(fmp_read_file(root, 0, &text, &err), FMP_E_IO);
    fmp_buf_free(&text);
}

static void a_file_without_a_size_is_read_to_its_end(void **state)
{
    (void)state;
    fmp_buf text = {0};
    assert_int_equal(fmp_read_file("/proc/self/status", 0, &text, NULL), FMP_OK);
    assert_non_null(strstr(text.data, "Threads:"));
    fmp_buf_free(&text);
}

static void mapping_gives_the_bytes_and_null_for_an_empty_file(void **state)
{
    (void)state;
    fmp_map map;
    put("mapped", "mapped bytes");
    put("void", "");
    assert_int_equal(fmp_map_file(in_root("mapped"), &map, NULL), FMP_OK);
    assert_int_equal(map.len, 12);
    assert_memory_equal(map.data, "mapped bytes", 12);
    fmp_unmap(&map);
    assert_null(map.data);
    assert_int_equal(fmp_map_file(in_root("void"), &map, NULL), FMP_OK);
    assert_null(map.data);
    assert_int_equal(map.len, 0);
    fmp_unmap(&map);
    assert_int_equal(fmp_map_file(root, &map, NULL), FMP_E_IO);
}

static void mkdirs_makes_parents_and_refuses_a_file_in_the_way(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    assert_int_equal(fmp_mkdirs(in_root("m//n/o/"), &err), FMP_OK);
    assert_int_equal(fmp_mkdirs(in_root("m/n/o"), &err), FMP_OK);
    assert_true(fmp_path_exists(in_root("m/n/o")));
    put("m/file", "");
    assert_int_equal(fmp_mkdirs(in_root("m/file/x"), &err), FMP_E_IO);
    assert_non_null(strstr(err.message, "cannot create the folder"));
    assert_int_equal(fmp_mkdirs("", &err), FMP_E_IO);
}

static void joined_paths_have_one_slash_and_absolute_names_stand_alone(void **state)
{
    (void)state;
    const char *cases[][3] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"a", "/b", "/b"}, {"", "b", "b"}};
    for (size_t i = 0; i < 4; i++) {
        char *path = fmp_path_join(cases[i][0], cases[i][1]);
        assert_string_equal(path, cases[i][2]);
        free(path);
    }
}

/* ---- trees ---- */

static void a_copied_tree_has_the_same_digest_modes_and_links(void **state)
{
    (void)state;
    char from[65], to[65];
    struct stat st;
    fmp_err err = FMP_ERR_INIT;
    assert_int_equal(fmp_mkdirs(in_root("c/deep/er"), NULL), FMP_OK);
    put("c/deep/er/f", "contents");
    put("c/run", "#!");
    assert_int_equal(chmod(in_root("c/run"), 0755), 0);
    assert_int_equal(symlink("run", in_root("c/link")), 0);
    assert_int_equal(fmp_copy_tree(in_root("c"), in_root("c-copy"), &err), FMP_OK);
    tree_hex("c", from);
    tree_hex("c-copy", to);
    assert_string_equal(from, to);
    assert_int_equal(stat(in_root("c-copy/run"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
    assert_int_equal(lstat(in_root("c-copy/link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(fmp_copy_tree(in_root("c"), in_root("c-copy"), &err), FMP_E_IO);
    assert_int_equal(fmp_sync_tree(in_root("c-copy"), &err), FMP_OK);
}

static void a_tree_is_not_copied_into_itself(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    assert_int_equal(fmp_mkdirs(in_root("self/b"), NULL), FMP_OK);
    assert_int_equal(fmp_copy_tree(in_root("self"), in_root("self/b/copy"), &err), FMP_E_IO);
    assert_non_null(strstr(err.message, "cannot copy into itself"));
    assert_false(fmp_path_exists(in_root("self/b/copy/b/copy")));
}

static void a_large_file_is_copied_whole(void **state)
{
    (void)state;
    char from[65], to[65];
    size_t n = 3000001;
    char *data = malloc(n);
    for (size_t i = 0; i < n; i++) {
        data[i] = (char)fmp_rng_u64(1, 2, i);
    }
    assert_int_equal(fmp_write_file(in_root("large"), data, n, NULL), FMP_OK);
    free(data);
    assert_int_equal(fmp_copy_tree(in_root("large"), in_root("large-copy"), NULL), FMP_OK);
    assert_int_equal(fmp_sha256_file(in_root("large"), from, NULL), FMP_OK);
    assert_int_equal(fmp_sha256_file(in_root("large-copy"), to, NULL), FMP_OK);
    assert_string_equal(from, to);
}

static void removal_does_not_follow_links_and_forgives_absence(void **state)
{
    (void)state;
    assert_int_equal(fmp_mkdirs(in_root("keep"), NULL), FMP_OK);
    assert_int_equal(fmp_mkdirs(in_root("gone/sub"), NULL), FMP_OK);
    put("keep/f", "kept");
    put("gone/sub/f", "lost");
    assert_int_equal(symlink("../keep", in_root("gone/link")), 0);
    assert_int_equal(fmp_remove_tree(in_root("gone"), NULL), FMP_OK);
    assert_false(fmp_path_exists(in_root("gone")));
    assert_true(fmp_path_exists(in_root("keep/f")));
    assert_int_equal(fmp_remove_tree(in_root("gone"), NULL), FMP_OK);
}

/* ---- threads ---- */

typedef struct tally {
    atomic_uint hits[1000];
    atomic_int unblocked; /* calls on a worker whose SIGINT is not blocked */
    pthread_t caller;
} tally;

static void count_hit(void *arg, size_t i)
{
    tally *t = arg;
    sigset_t set;
    atomic_fetch_add(&t->hits[i], 1);
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    if (!pthread_equal(pthread_self(), t->caller) && !sigismember(&set, SIGINT)) {
        atomic_fetch_add(&t->unblocked, 1);
    }
}

static void every_index_is_visited_once_at_any_thread_count(void **state)
{
    (void)state;
    static tally t;
    const size_t sizes[] = {0, 1, 2, 7, 1000};
    for (int n_threads = 1; n_threads <= 5; n_threads++) {
        fmp_pool *pool;
        assert_int_equal(fmp_pool_new(n_threads, &pool, NULL), FMP_OK);
        assert_int_equal(fmp_pool_threads(pool), n_threads);
        for (size_t k = 0; k < 5; k++) {
            for (int i = 0; i < 1000; i++) {
                atomic_store(&t.hits[i], 0);
            }
            t.caller = pthread_self();
            fmp_pool_for(pool, sizes[k], count_hit, &t);
            for (size_t i = 0; i < 1000; i++) {
                assert_int_equal(atomic_load(&t.hits[i]), i < sizes[k]);
            }
        }
        fmp_pool_free(pool);
    }
    assert_int_equal(atomic_load(&t.unblocked), 0);
}

static void a_pool_of_no_threads_is_refused(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_pool *pool;
    assert_int_equal(fmp_pool_new(0, &pool, &err), FMP_E_RANGE);
    assert_string_equal(err.message, "expected 1 to 1024 threads, found 0");
    assert_null(pool);
}

/* ---- random numbers ---- */

/* Philox4x32-10 vectors published with Random123; the first two words of each block. */
static void philox_matches_the_published_vectors(void **state)
{
    (void)state;
    assert_true(fmp_rng_u64(0, 0, 0) == 0xe169c58d6627e8d5u);
    assert_true(fmp_rng_u64(UINT64_MAX, UINT64_MAX, UINT64_MAX) == 0x41c83b0e408f276du);
    assert_true(fmp_rng_u64(0x299f31d0a4093822u, 0x0370734413198a2eu, 0x85a308d3243f6a88u) ==
                0x94fdccebd16cfe09u);
}

static void bounded_numbers_stay_in_range_and_spread_evenly(void **state)
{
    (void)state;
    size_t counts[7] = {0};
    for (uint64_t i = 0; i < 70000; i++) {
        uint64_t x = fmp_rng_below(42, 1, i, 7);
        assert_true(x < 7);
        counts[x]++;
    }
    /* 10,000 expected in each, standard deviation 93 */
    for (int i = 0; i < 7; i++) {
        assert_true(counts[i] > 9500 && counts[i] < 10500);
    }
    for (uint64_t i = 0; i < 1000; i++) {
        assert_int_equal(fmp_rng_below(1, 1, i, 1), 0);
        assert_true(fmp_rng_below(1, 1, i, UINT64_MAX / 3 * 2) < UINT64_MAX / 3 * 2);
        double u = fmp_rng_unit(1, 1, i);
        assert_true(u >= 0.0 && u < 1.0);
    }
}

static void normal_numbers_have_mean_zero_and_variance_one(void **state)
{
    (void)state;
    const int n = 100000;
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) {
        double x = fmp_rng_normal(3, 9, (uint64_t)i);
        sum += x;
        squares += x * x;
    }
    assert_true(fabs(sum / n) < 0.015);
    assert_true(fabs(squares / n - 1.0) < 0.02);
}

static void normal_numbers_match_an_independent_computation(void **state)
{
    (void)state;
    const double want[3] = {-1.6553816395620733, -1.2343375014315892, -0.2299126148078942};
    for (uint64_t i = 0; i < 3; i++) {
        assert_true(fabs(fmp_rng_normal(7, 3, i) - want[i]) < 1e-14);
    }
}

static void a_shuffle_is_a_permutation_that_depends_on_seed_and_epoch(void **state)
{
    (void)state;
    uint32_t a[500], b[500], c[500];
    bool seen[500] = {false};
    fmp_rng_shuffle(5, 0, 500, a);
    fmp_rng_shuffle(5, 0, 500, b);
    fmp_rng_shuffle(5, 1, 500, c);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, c, sizeof a);
    for (int i = 0; i < 500; i++) {
        assert_true(a[i] < 500 && !seen[a[i]]);
        seen[a[i]] = true;
    }
    fmp_rng_shuffle(5, 0, 0, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_matches_the_published_vectors),
        cmocka_unit_test(the_digest_of_a_file_is_that_of_its_bytes),
        cmocka_unit_test(the_digest_of_a_tree_sees_names_contents_and_their_borders),
        cmocka_unit_test(the_digest_of_a_tree_follows_links_to_files_and_refuses_pipes),
        cmocka_unit_test(a_written_file_reads_back_and_leaves_nothing_beside),
        cmocka_unit_test(a_write_that_fails_leaves_the_old_file_and_no_other),
        cmocka_unit_test(a_file_over_the_limit_is_a_range_error),
        cmocka_unit_test(a_file_without_a_size_is_read_to_its_end),
        cmocka_unit_test(mapping_gives_the_bytes_and_null_for_an_empty_file),
        cmocka_unit_test(mkdirs_makes_parents_and_refuses_a_file_in_the_way),
        cmocka_unit_test(joined_paths_have_one_slash_and_absolute_names_stand_alone),
        cmocka_unit_test(a_copied_tree_has_the_same_digest_modes_and_links),
        cmocka_unit_test(a_tree_is_not_copied_into_itself),
        cmocka_unit_test(a_large_file_is_copied_whole),
        cmocka_unit_test(removal_does_not_follow_links_and_forgives_absence),
        cmocka_unit_test(every_index_is_visited_once_at_any_thread_count),
        cmocka_unit_test(a_pool_of_no_threads_is_refused),
        cmocka_unit_test(philox_matches_the_published_vectors),
        cmocka_unit_test(bounded_numbers_stay_in_range_and_spread_evenly),
        cmocka_unit_test(normal_numbers_have_mean_zero_and_variance_one),
        cmocka_unit_test(normal_numbers_match_an_independent_computation),
        cmocka_unit_test(a_shuffle_is_a_permutation_that_depends_on_seed_and_epoch),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
