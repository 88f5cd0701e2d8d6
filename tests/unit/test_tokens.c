/* links: fmbase fmtext */
/* Packing, and the token artifact: what is written is read back, and no damaged byte of a header is
 * believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fmpipe/fs.h>
#include <fmpipe/json.h>
#include <fmpipe/tokens.h>

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static char root[] = "/tmp/fmp-test-tokens-XXXXXX";
static char dir[300], bin[320], meta[320];

static int make_root(void **state)
{
    (void)state;
    if (!mkdtemp(root)) { return -1; }
    snprintf(dir, sizeof dir, "%s/t", root);
    snprintf(bin, sizeof bin, "%s/tokens.bin", dir);
    snprintf(meta, sizeof meta, "%s/meta.json", dir);
    return 0;
}

static int remove_root(void **state)
{
    (void)state;
    return fmp_remove_tree(root, NULL) == FMP_OK ? 0 : -1;
}

/* ---- packing ---- */
static void check_packing(const uint32_t *len, uint32_t n, uint32_t bin_size)
{
    fmp_arena *arena = fmp_arena_new(0);
    uint32_t *bin_of = NULL, n_bins = 0, next = 0;
    uint64_t total = 0;
    assert_int_equal(fmp_pack_best_fit(len, n, bin_size, arena, &bin_of, &n_bins, NULL), FMP_OK);
    uint64_t *fill = calloc((size_t)n_bins + 1, sizeof *fill);
    for (uint32_t i = 0; i < n; i++) {
        assert_true(bin_of[i] <= next && bin_of[i] < n_bins); /* numbered by first sample */
        if (bin_of[i] == next) { next++; }
        fill[bin_of[i]] += len[i];
        total += len[i];
    }
    assert_int_equal(next, n_bins);
    for (uint32_t b = 0; b < n_bins; b++) {
        assert_true(fill[b] > 0 && fill[b] <= bin_size);
    }
    uint64_t least = (total + bin_size - 1) / bin_size;
    for (uint32_t b = 1; b < n_bins; b++) {
        assert_true(fill[b - 1] + fill[b] > bin_size);
    } /* no two fit in one */
    if (n > 0) { assert_true(n_bins >= least && n_bins <= 2 * least + 1); }
    free(fill);
    fmp_arena_free(arena);
}

static void best_fit_places_every_sample_and_overfills_no_bin(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1, 2, 63, 64, 65, 512, 4096, 4097, 300000};
    uint32_t *len = malloc(3000 * sizeof *len);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        for (uint32_t n = 0; n < 3000; n = n * 3 + 1) {
            for (uint32_t i = 0; i < n; i++) {
                len[i] = 1 + (uint32_t)fmp_rng_below(5, k, i, sizes[k]);
            }
            check_packing(len, n, sizes[k]);
        }
    }
    free(len);
}

static void best_fit_fills_the_fullest_bin_that_has_room(void **state)
{
    (void)state;
    static const uint32_t len[] = {4, 7, 6, 3, 10};
    static const uint32_t expected[] = {0, 1, 0, 1, 2};
    fmp_arena *arena = fmp_arena_new(0);
    uint32_t *bin_of = NULL, n_bins = 0;
    assert_int_equal(fmp_pack_best_fit(len, 5, 10, arena, &bin_of, &n_bins, NULL), FMP_OK);
    assert_int_equal(n_bins, 3);
    assert_memory_equal(bin_of, expected, sizeof expected);
    fmp_arena_free(arena);
}

static void best_fit_refuses_samples_that_no_bin_can_hold(void **state)
{
    (void)state;
    static const uint32_t long_one[] = {3, 11}, empty[] = {0};
    fmp_arena *arena = fmp_arena_new(0);
    fmp_err err = FMP_ERR_INIT;
    uint32_t *bin_of = NULL, n_bins = 0;
    assert_int_equal(fmp_pack_best_fit(long_one, 2, 10, arena, &bin_of, &n_bins, &err), FMP_E_RANGE);
    assert_string_equal(err.message, "sample 1: expected 1 to 10 tokens, found 11");
    assert_int_equal(fmp_pack_best_fit(empty, 1, 10, arena, &bin_of, &n_bins, NULL), FMP_E_RANGE);
    assert_int_equal(fmp_pack_best_fit(empty, 0, 0, arena, &bin_of, &n_bins, NULL), FMP_E_RANGE);
    fmp_arena_free(arena);
}

/* ---- the artifact ---- */
static const char *const locales[] = {"ja-JP", "en-US"}; /* numbered in byte order: en-US is 0 */
static const fmp_tokens_info info = {
    .tokenizer_digest = "aa", .template_digest = "bb", .vocab_size = 100, .max_tokens = 8, .bin_size = 10};

static void write_sample(uint32_t n_segments, bool pack)
{
    fmp_tokens_writer *w = NULL;
    assert_int_equal(fmp_tokens_writer_new(dir, &info, &w, NULL), FMP_OK);
    for (uint32_t s = 0; s < n_segments; s++) {
        uint32_t ids[8];
        float weight[8];
        char record[17];
        for (uint32_t i = 0; i < 8; i++) {
            ids[i] = (s * 7 + i) % 100;
            weight[i] = i > 1 ? 0.5f * (float)i : 0.0f;
        }
        snprintf(record, sizeof record, "%016x", s);
        assert_int_equal(fmp_tokens_append(w, ids, weight, 1 + s % 8, record, locales[s % 2], NULL), FMP_OK);
    }
    assert_int_equal(fmp_tokens_finish(w, pack, NULL), FMP_OK);
    fmp_tokens_writer_free(w);
}

static void what_was_written_is_read_back(void **state)
{
    (void)state;
    fmp_tokens t;
    fmp_err err = FMP_ERR_INIT;
    for (uint32_t n = 0; n < 40; n += 13) {
        write_sample(n, n % 2 == 0);
        if (fmp_tokens_open(dir, &t, &err) != FMP_OK) { fail_msg("%s", err.message); }
        assert_int_equal(t.n_segments, n);
        assert_true(n % 2 == 0 || t.n_bins == n);
        for (uint32_t s = 0; s < n; s++) {
            char record[17];
            snprintf(record, sizeof record, "%016x", s);
            assert_memory_equal(t.record + s * 16, record, 16);
            assert_int_equal(t.seg_begin[s + 1] - t.seg_begin[s], 1 + s % 8);
            assert_int_equal(t.locale[s], 1 - s % 2);
            for (uint64_t i = t.seg_begin[s]; i < t.seg_begin[s + 1]; i++) {
                uint32_t k = (uint32_t)(i - t.seg_begin[s]);
                assert_int_equal(t.ids[i], (s * 7 + k) % 100);
                assert_true(t.weight[i] == (k > 1 ? 0.5f * (float)k : 0.0f));
            }
        }
        if (n > 0) { assert_string_equal(t.locales[1], "ja-JP"); }
        assert_string_equal(t.tokenizer_digest, "aa");
        fmp_tokens_close(&t);
        char part[330];
        snprintf(part, sizeof part, "%s/weights.part", dir);
        assert_false(fmp_path_exists(part));
    }
}

static void the_same_segments_make_the_same_bytes(void **state)
{
    (void)state;
    char first[65], second[65];
    write_sample(37, true);
    assert_int_equal(fmp_sha256_tree(dir, first, NULL), FMP_OK);
    write_sample(37, true);
    assert_int_equal(fmp_sha256_tree(dir, second, NULL), FMP_OK);
    assert_string_equal(first, second);
}

static void meta_counts_supervised_tokens_by_locale(void **state)
{
    (void)state;
    cJSON *root_node = NULL;
    write_sample(8, true); /* lengths 1..8, weights from the third token on */
    assert_int_equal(fmp_json_load(meta, NULL, &root_node, NULL), FMP_OK);
    assert_int_equal((int)fmp_json_num(root_node, "tokens", -1), 36);
    assert_int_equal((int)fmp_json_num(root_node, "supervised_tokens", -1), 21);
    const cJSON *one = cJSON_GetArrayItem(fmp_json_get(root_node, "by_locale"), 0);
    assert_string_equal(fmp_json_str(one, "locale", ""), "en-US"); /* even lengths */
    assert_int_equal((int)fmp_json_num(one, "tokens", -1), 20);
    assert_int_equal((int)fmp_json_num(one, "supervised_tokens", -1), 12);
    assert_int_equal(
        (int)fmp_json_num(cJSON_GetArrayItem(fmp_json_get(root_node, "lengths"), 3), "segments", -1), 4);
    cJSON_Delete(root_node);
}

static void append_refuses_what_a_trainer_could_not_use(void **state)
{
    (void)state;
    static const struct {
        uint32_t n, id;
        float first, second;
        const char *record, *message;
    } bad[] = {
        {0, 1, 0, 0, "0123456789abcdef", "expected a segment of 1 to 8 tokens, found 0"},
        {9, 1, 0, 0, "0123456789abcdef", "expected a segment of 1 to 8 tokens, found 9"},
        {2, 100, 0, 0, "0123456789abcdef", "token 0: expected an id below 100, found 100"},
        {2, 1, 1, 0, "0123456789abcdef",
         "token 0: expected a weight of 0, since nothing predicts the first token, found 1"},
        {2, 1, 0, -1, "0123456789abcdef", "token 1: expected a weight of 0 or more, found -1"},
        {2, 1, 0, NAN, "0123456789abcdef", "token 1: expected a weight of 0 or more, found nan"},
        {2, 1, 0, INFINITY, "0123456789abcdef", "token 1: expected a weight of 0 or more, found inf"},
        {2, 1, 0, 0, "0123456789abcde", "expected a record id of 16 hex digits, found \"0123456789abcde\""},
        {2, 1, 0, 0, "0123456789ABCDEF", "expected a record id of 16 hex digits, found \"0123456789ABCDEF\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fmp_tokens_writer *w = NULL;
        fmp_err err = FMP_ERR_INIT;
        uint32_t ids[9] = {bad[i].id, 1, 1, 1, 1, 1, 1, 1, 1};
        float weight[9] = {bad[i].first, bad[i].second, 0, 0, 0, 0, 0, 0, 0};
        assert_int_equal(fmp_tokens_writer_new(dir, &info, &w, NULL), FMP_OK);
        assert_int_equal(fmp_tokens_append(w, ids, weight, bad[i].n, bad[i].record, "", &err), FMP_E_RANGE);
        assert_string_equal(err.message, bad[i].message);
        fmp_tokens_writer_free(w);
    }
}

static void more_locales_than_the_artifact_can_number_are_refused(void **state)
{
    (void)state;
    fmp_tokens_writer *w = NULL;
    fmp_tokens t;
    uint32_t id = 1;
    float weight = 0;
    char tag[16];
    assert_int_equal(fmp_tokens_writer_new(dir, &info, &w, NULL), FMP_OK);
    for (uint32_t i = 0; i < UINT16_MAX; i++) {
        snprintf(tag, sizeof tag, "x%05u", UINT16_MAX - i); /* each goes in front of all others */
        assert_int_equal(fmp_tokens_append(w, &id, &weight, 1, "0123456789abcdef", tag, NULL), FMP_OK);
    }
    assert_int_equal(fmp_tokens_append(w, &id, &weight, 1, "0123456789abcdef", "one more", NULL),
                     FMP_E_RANGE);
    assert_int_equal(fmp_tokens_append(w, &id, &weight, 1, "0123456789abcdef", "x00001", NULL), FMP_OK);
    assert_int_equal(fmp_tokens_finish(w, true, NULL), FMP_OK);
    fmp_tokens_writer_free(w);
    assert_int_equal(fmp_tokens_open(dir, &t, NULL), FMP_OK);
    assert_int_equal(t.n_locales, UINT16_MAX);
    assert_string_equal(t.locales[t.locale[0]], "x65535");
    assert_string_equal(t.locales[t.locale[UINT16_MAX]], "x00001");
    fmp_tokens_close(&t);
}

static void meta_tells_the_percentiles_of_the_lengths(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double value;
    } expected[] = {{"min", 1}, {"p50", 4}, {"p90", 8}, {"p99", 8}, {"max", 8}, {"mean", 4.5}};
    cJSON *root_node = NULL;
    write_sample(16, true); /* lengths 1..8, twice */
    assert_int_equal(fmp_json_load(meta, NULL, &root_node, NULL), FMP_OK);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        double found = -1;
        const cJSON *node = fmp_json_get(fmp_json_get(root_node, "length"), expected[i].name);
        assert_true(fmp_json_number(node, &found) && found == expected[i].value);
    }
    cJSON_Delete(root_node);
}

static void an_empty_artifact_is_one(void **state)
{
    (void)state;
    fmp_tokens t;
    write_sample(0, true);
    assert_int_equal(fmp_tokens_open(dir, &t, NULL), FMP_OK);
    assert_int_equal(t.n_segments + t.n_tokens + t.n_bins + t.n_locales, 0);
    fmp_tokens_close(&t);
}

/* Opens a changed copy of tokens.bin; with `seal`, the header's check digits are made to fit again. */
static fmp_status open_changed(const fmp_buf *good, size_t at, const void *bytes, size_t n, size_t len,
                               bool seal)
{
    unsigned char digest[32];
    fmp_tokens t;
    char *copy = malloc(good->len + 64);
    memset(copy, 0, good->len + 64);
    memcpy(copy, good->data, good->len);
    memcpy(copy + at, bytes, n);
    if (seal) {
        fmp_sha256_bytes(copy, 56, digest);
        memcpy(copy + 56, digest, 8);
    }
    assert_int_equal(fmp_write_file(bin, copy, len, NULL), FMP_OK);
    free(copy);
    fmp_status status = fmp_tokens_open(dir, &t, NULL);
    if (status == FMP_OK) { fmp_tokens_close(&t); }
    return status;
}

static void a_damaged_header_is_refused_even_with_fitting_check_digits(void **state)
{
    (void)state;
    static const uint64_t values[] = {0, 1, 9, 0x7FFFFFFF, UINT32_MAX, UINT64_C(1) << 61, UINT64_MAX};
    static const struct {
        size_t at, size;
    } fields[] = {{0, 8}, {8, 4}, {12, 4}, {16, 8}, {24, 8}, {32, 4}, {36, 4}, {40, 4}, {44, 4}, {48, 8}};
    fmp_buf good = {0};
    write_sample(29, true);
    assert_int_equal(fmp_read_file(bin, 0, &good, NULL), FMP_OK);
    for (size_t i = 0; i < 64; i++) { /* every byte, without fitting digits */
        char c = (char)(good.data[i] ^ 0x20);
        assert_int_equal(open_changed(&good, i, &c, 1, good.len, false), FMP_E_DATA);
    }
    for (size_t f = 0; f < sizeof fields / sizeof *fields; f++) {
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            if (memcmp(good.data + fields[f].at, &values[v], fields[f].size) == 0) { continue; }
            if (open_changed(&good, fields[f].at, &values[v], fields[f].size, good.len, true) == FMP_OK) {
                fail_msg("header field at %zu set to %llu was believed", fields[f].at,
                         (unsigned long long)values[v]);
            }
        }
    }
    for (size_t len = 0; len < good.len; len += 61) {
        assert_int_equal(open_changed(&good, 0, "", 0, len, false), FMP_E_DATA);
    }
    assert_int_equal(open_changed(&good, 0, "", 0, good.len + 1, false), FMP_E_DATA);
    assert_int_equal(open_changed(&good, 0, "", 0, good.len, false), FMP_OK);
    fmp_buf_free(&good);
}

static void damaged_sections_are_refused(void **state)
{
    (void)state;
    fmp_buf good = {0};
    fmp_tokens t;
    write_sample(29, true);
    assert_int_equal(fmp_read_file(bin, 0, &good, NULL), FMP_OK);
    assert_int_equal(fmp_tokens_open(dir, &t, NULL), FMP_OK);
    const char *base = (const char *)t.ids - 64;
    const size_t at[] = {
        (size_t)((const char *)t.ids - base),       (size_t)((const char *)t.weight - base),
        (size_t)((const char *)t.seg_begin - base), (size_t)((const char *)t.locale - base),
        (size_t)((const char *)t.bin_begin - base), (size_t)((const char *)t.bin_seg - base)};
    fmp_tokens_close(&t);
    for (size_t i = 0; i < sizeof at / sizeof *at;
         i++) { /* too large an index or offset, not a number, no hex digit */
        static const uint32_t ones = UINT32_MAX;
        assert_int_equal(open_changed(&good, at[i], &ones, sizeof ones, good.len, false), FMP_E_DATA);
    }
    fmp_buf_free(&good);
}

static void record_ids_of_another_form_or_number_are_refused(void **state)
{
    (void)state;
    fmp_tokens t;
    fmp_buf good = {0};
    write_sample(5, true);
    char *path = fmp_path_join(dir, "records.bin");
    assert_int_equal(fmp_read_file(path, 0, &good, NULL), FMP_OK);
    assert_int_equal(good.len, 5 * 16);
    assert_int_equal(fmp_write_file(path, good.data, good.len - 16, NULL), FMP_OK);
    assert_int_equal(fmp_tokens_open(dir, &t, NULL), FMP_E_DATA);
    good.data[20] = 'G';
    assert_int_equal(fmp_write_file(path, good.data, good.len, NULL), FMP_OK);
    assert_int_equal(fmp_tokens_open(dir, &t, NULL), FMP_E_DATA);
    fmp_buf_free(&good);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(best_fit_places_every_sample_and_overfills_no_bin),
        cmocka_unit_test(best_fit_fills_the_fullest_bin_that_has_room),
        cmocka_unit_test(best_fit_refuses_samples_that_no_bin_can_hold),
        cmocka_unit_test(what_was_written_is_read_back),
        cmocka_unit_test(the_same_segments_make_the_same_bytes),
        cmocka_unit_test(meta_counts_supervised_tokens_by_locale),
        cmocka_unit_test(append_refuses_what_a_trainer_could_not_use),
        cmocka_unit_test(more_locales_than_the_artifact_can_number_are_refused),
        cmocka_unit_test(meta_tells_the_percentiles_of_the_lengths),
        cmocka_unit_test(an_empty_artifact_is_one),
        cmocka_unit_test(a_damaged_header_is_refused_even_with_fitting_check_digits),
        cmocka_unit_test(damaged_sections_are_refused),
        cmocka_unit_test(record_ids_of_another_form_or_number_are_refused),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
