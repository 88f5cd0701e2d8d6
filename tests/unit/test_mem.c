/* links: fmbase */
/* Arenas, buffers and checked arithmetic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fmpipe/fs.h>
#include <fmpipe/mem.h>

#include <stdlib.h>

#define MIB ((size_t)1 << 20)

static void taken_memory_is_aligned_distinct_and_owned(void **state)
{
    (void)state;
    fmp_arena *arena = fmp_arena_new(0);
    char *before = NULL;
    for (size_t size = 0; size < 100; size++) {
        char *p = fmp_arena_take(arena, size);
        assert_int_equal((uintptr_t)p % 16, 0);
        assert_ptr_not_equal(p, before);
        assert_true(fmp_arena_owns(p));
        memset(p, 0xAB, size);
        before = p;
    }
    fmp_err err = FMP_ERR_INIT;
    assert_int_equal(fmp_arena_ok(arena, &err), FMP_OK);
    fmp_arena_free(arena);
}

static void heap_stack_and_null_are_not_arena_memory(void **state)
{
    (void)state;
    int local = 0;
    void *heap = malloc(32);
    fmp_arena *arena = fmp_arena_new(0);
    assert_false(fmp_arena_owns(heap));
    assert_false(fmp_arena_owns(&local));
    assert_false(fmp_arena_owns(NULL));
    fmp_arena_free(arena);
    free(heap);
}

static void requests_larger_than_a_block_keep_their_contents(void **state)
{
    (void)state;
    fmp_arena *arena = fmp_arena_new(0);
    unsigned char *parts[5];
    const size_t sizes[5] = {100, 3 * MIB, 200, MIB - 16, 17 * MIB + 1};
    for (int i = 0; i < 5; i++) {
        parts[i] = fmp_arena_take(arena, sizes[i]);
        memset(parts[i], i + 1, sizes[i]);
    }
    for (int i = 0; i < 5; i++) {
        assert_int_equal(parts[i][0], i + 1);
        assert_int_equal(parts[i][sizes[i] - 1], i + 1);
    }
    fmp_arena_free(arena);
}

static void a_request_beyond_the_limit_fails_until_reset(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_arena *arena = fmp_arena_new(1000);
    assert_non_null(fmp_arena_take(arena, 900));
    assert_int_equal(fmp_arena_ok(arena, &err), FMP_OK);
    assert_non_null(fmp_arena_take(arena, 200));
    assert_int_equal(fmp_arena_ok(arena, &err), FMP_E_NOMEM);
    assert_string_equal(err.message, "out of memory: the limit is 1000 bytes, 912 were in use");
    fmp_arena_reset(arena, MIB);
    assert_int_equal(fmp_arena_ok(arena, &err), FMP_OK);
    assert_int_equal(fmp_arena_used(arena), 0);
    assert_non_null(fmp_arena_take(arena, SIZE_MAX));
    assert_int_equal(fmp_arena_ok(arena, NULL), FMP_E_NOMEM);
    fmp_arena_reset(arena, 0);
    assert_non_null(fmp_arena_take_zero(arena, SIZE_MAX / 2, 3));
    assert_int_equal(fmp_arena_ok(arena, NULL), FMP_E_NOMEM);
    fmp_arena_free(arena);
}

static void texts_of_a_failed_arena_are_empty_and_terminated(void **state)
{
    (void)state;
    fmp_arena *arena = fmp_arena_new(16);
    assert_string_equal(fmp_arena_strdup(arena, "a text of more than sixteen bytes"), "");
    assert_string_equal(fmp_arena_printf(arena, "%0100d", 7), "");
    assert_int_equal(fmp_arena_ok(arena, NULL), FMP_E_NOMEM);
    assert_int_equal(fmp_arena_ok(NULL, NULL), FMP_E_NOMEM);
    assert_string_equal(fmp_arena_strdup(NULL, "x"), "");
    fmp_arena_free(arena);
}

static void text_helpers_copy_and_format(void **state)
{
    (void)state;
    fmp_arena *arena = fmp_arena_new(0);
    assert_string_equal(fmp_arena_strdup(arena, ""), "");
    assert_string_equal(fmp_arena_strndup(arena, "abcdef", 3), "abc");
    assert_string_equal(fmp_arena_printf(arena, "%s-%d", "row", 12), "row-12");
    const char *zero = fmp_arena_take_zero(arena, 10, 10);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(zero[i], 0);
    }
    fmp_arena_free(arena);
}

static void reset_reuses_kept_blocks(void **state)
{
    (void)state;
    fmp_arena *arena = fmp_arena_new(0);
    void *first = fmp_arena_take(arena, 100);
    for (int round = 0; round < 50; round++) {
        fmp_arena_reset(arena, 2 * MIB);
        assert_ptr_equal(fmp_arena_take(arena, 100), first);
    }
    fmp_arena_free(arena);
}

/* Blocks go to and fro between threads and arenas; each writes its own pattern and finds it again. */
static void churn(void *arg, size_t i)
{
    unsigned char *ok = arg;
    bool good = true;
    for (size_t round = 0; round < 8; round++) {
        fmp_arena *arena = fmp_arena_new(0);
        unsigned char *parts[6];
        size_t sizes[6];
        for (size_t k = 0; k < 6; k++) {
            sizes[k] = (size_t)fmp_rng_below(1, i, round * 6 + k, k == 5 ? 5 * MIB : MIB / 2) + 1;
            parts[k] = fmp_arena_take(arena, sizes[k]);
            parts[k][0] = parts[k][sizes[k] - 1] = (unsigned char)(i + k);
        }
        for (size_t k = 0; k < 6; k++) {
            good = good && parts[k][0] == (unsigned char)(i + k);
        }
        for (size_t k = 0; k < 6; k++) {
            good = good && parts[k][sizes[k] - 1] == (unsigned char)(i + k);
        }
        good = good && fmp_arena_ok(arena, NULL) == FMP_OK;
        fmp_arena_free(arena);
    }
    ok[i] = good;
}

static void arenas_of_several_threads_do_not_overlap(void **state)
{
    (void)state;
    unsigned char ok[64] = {0};
    fmp_pool *pool;
    assert_int_equal(fmp_pool_new(4, &pool, NULL), FMP_OK);
    fmp_pool_for(pool, 64, churn, ok);
    fmp_pool_free(pool);
    for (int i = 0; i < 64; i++) {
        assert_int_equal(ok[i], 1);
    }
}

static void a_buffer_is_terminated_at_every_length(void **state)
{
    (void)state;
    fmp_buf buf = {0};
    for (int i = 0; i < 300; i++) {
        fmp_buf_putc(&buf, 'x');
        assert_int_equal(buf.data[buf.len], '\0');
        assert_int_equal(strlen(buf.data), i + 1);
    }
    fmp_buf_free(&buf);
    fmp_buf_puts(&buf, "ab");
    fmp_buf_printf(&buf, "%d", 34);
    fmp_buf_add(&buf, NULL, 0);
    fmp_buf_add(&buf, "5\0z", 3);
    assert_int_equal(buf.len, 7);
    assert_memory_equal(buf.data, "ab345\0z", 8);
    fmp_buf_free(&buf);
}

static void a_filled_growth_is_terminated(void **state)
{
    (void)state;
    fmp_buf buf = {0};
    char *at = fmp_buf_grow(&buf, 10);
    assert_non_null(at);
    assert_string_equal(buf.data, "");
    memset(at, 'y', 10);
    buf.len += 10;
    assert_string_equal(buf.data, "yyyyyyyyyy");
    fmp_buf_free(&buf);
}

static void a_buffer_that_failed_takes_nothing_more(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_buf buf = {0};
    fmp_buf_puts(&buf, "kept");
    assert_null(fmp_buf_grow(&buf, SIZE_MAX));
    fmp_buf_puts(&buf, "lost");
    assert_string_equal(buf.data, "kept");
    assert_int_equal(fmp_buf_ok(&buf, &err), FMP_E_NOMEM);
    fmp_buf_free(&buf);
    assert_int_equal(fmp_buf_ok(&buf, &err), FMP_OK);
}

static void checked_arithmetic_refuses_overflow_and_leaves_the_result(void **state)
{
    (void)state;
    size_t out = 5;
    assert_false(fmp_add_ok(SIZE_MAX, 1, &out));
    assert_false(fmp_mul_ok(SIZE_MAX / 2, 3, &out));
    assert_int_equal(out, 5);
    assert_true(fmp_add_ok(SIZE_MAX - 1, 1, &out));
    assert_true(out == SIZE_MAX);
    assert_true(fmp_mul_ok(0, SIZE_MAX, &out));
    assert_int_equal(out, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taken_memory_is_aligned_distinct_and_owned),
        cmocka_unit_test(heap_stack_and_null_are_not_arena_memory),
        cmocka_unit_test(requests_larger_than_a_block_keep_their_contents),
        cmocka_unit_test(a_request_beyond_the_limit_fails_until_reset),
        cmocka_unit_test(texts_of_a_failed_arena_are_empty_and_terminated),
        cmocka_unit_test(text_helpers_copy_and_format),
        cmocka_unit_test(reset_reuses_kept_blocks),
        cmocka_unit_test(arenas_of_several_threads_do_not_overlap),
        cmocka_unit_test(a_buffer_is_terminated_at_every_length),
        cmocka_unit_test(a_filled_growth_is_terminated),
        cmocka_unit_test(a_buffer_that_failed_takes_nothing_more),
        cmocka_unit_test(checked_arithmetic_refuses_overflow_and_leaves_the_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
