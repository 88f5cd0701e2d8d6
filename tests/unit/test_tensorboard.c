/* links: fmbase fmengine */
/*
 * test_tensorboard.c: event files are taken apart again by a reader of their own: framing, checksums, messages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <tensorboard.h>
#include <unistd.h>

static uint64_t little(const unsigned char *p, int n)
{
    uint64_t v = 0;
    for (int i = n; i-- > 0;) {
        v = v << 8 | p[i];
    }
    return v;
}

/* CRC-32C by division, most significant bit first on the reflected bits. */
static uint32_t slow_crc(const unsigned char *p, size_t n)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < 8 * n; i++) {
        uint32_t bit = (uint32_t)(p[i / 8] >> i % 8 & 1) ^ (crc >> 31);
        crc = crc << 1 ^ (bit ? 0x1EDC6F41u : 0);
    }
    uint32_t reflected = 0;
    for (int i = 0; i < 32; i++) {
        reflected |= (crc >> i & 1) << (31 - i);
    }
    return ~reflected;
}

static uint32_t masked(const unsigned char *p, size_t n)
{
    uint32_t crc = slow_crc(p, n);
    return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
}

/* The data of the record at *at, which is moved behind it. */
static const unsigned char *next_record(const fmp_buf *file, size_t *at, size_t *len)
{
    const unsigned char *p = (const unsigned char *)file->data + *at;
    assert_true(file->len - *at >= 16);
    *len = (size_t)little(p, 8);
    assert_int_equal(little(p + 8, 4), masked(p, 8));
    assert_true(file->len - *at - 16 >= *len);
    assert_int_equal(little(p + 12 + *len, 4), masked(p + 12, *len));
    *at += *len + 16;
    return p + 12;
}

static uint64_t varint(const unsigned char **p)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        unsigned char c = *(*p)++;
        v |= (uint64_t)(c & 0x7F) << shift;
        if (!(c & 0x80)) { return v; }
    }
    fail_msg("a varint of more than 64 bits");
    return 0;
}

typedef struct event {
    double wall_time;
    uint64_t step;
    char version[32], tag[64];
    float value;
} event;

/* Fields of Event, Summary and Value, each of which has its own numbers at its own depth. */
static void read_message(const unsigned char *p, const unsigned char *end, int depth, event *e)
{
    while (p < end) {
        uint64_t key = varint(&p), field = key >> 3, wire = key & 7;
        if (wire == 1) {
            uint64_t bits = little(p, 8);
            memcpy(&e->wall_time, &bits, 8);
            p += 8;
        } else if (wire == 5) {
            uint32_t bits = (uint32_t)little(p, 4);
            assert_int_equal(depth, 2);
            assert_int_equal(field, 2);
            memcpy(&e->value, &bits, 4);
            p += 4;
        } else if (wire == 0) {
            assert_int_equal(depth, 0);
            assert_int_equal(field, 2);
            e->step = varint(&p);
        } else {
            assert_int_equal(wire, 2);
            size_t len = (size_t)varint(&p);
            assert_true(len <= (size_t)(end - p));
            bool text = (depth == 0 && field == 3) || (depth == 2 && field == 1);
            if (text) {
                char *to = depth == 0 ? e->version : e->tag;
                assert_true(len < sizeof e->version);
                memcpy(to, p, len);
                to[len] = '\0';
            } else {
                assert_int_equal(field, depth == 0 ? 5 : 1);
                read_message(p, p + len, depth + 1, e);
            }
            p += len;
        }
    }
    assert_ptr_equal(p, end);
}

static void a_record_has_the_bytes_of_the_format(void **state)
{
    (void)state;
    unsigned char zeros[32] = {0};
    assert_int_equal(slow_crc(zeros, sizeof zeros), 0x8A9136AAu); /* RFC 3720, B.4 */
    fmp_buf out = {0};
    size_t at = 0, len = 0;
    fmp_tboard_record(&out, zeros, sizeof zeros);
    fmp_tboard_record(&out, "", 0);
    assert_memory_equal(next_record(&out, &at, &len), zeros, sizeof zeros);
    assert_int_equal(len, sizeof zeros);
    (void)next_record(&out, &at, &len);
    assert_int_equal(len, 0);
    assert_int_equal(at, out.len);
    fmp_buf_free(&out);
}

static void an_event_has_the_bytes_that_protobuf_gives_it(void **state)
{
    (void)state;
    static const unsigned char want[] = {0x09, 0,    0,    0,    0,    0,    0,    0xF8, 0x3F,
                                         0x10, 0xAC, 0x02, 0x2A, 0x0D, 0x0A, 0x0B, 0x0A, 0x04,
                                         'l',  'o',  's',  's',  0x15, 0,    0,    0x20, 0x40};
    fmp_buf out = {0};
    fmp_tboard_event(&out, 1.5, 300, "loss", 2.5f);
    assert_int_equal(out.len, sizeof want);
    assert_memory_equal(out.data, want, sizeof want);
    fmp_buf_free(&out);
}

/* The one file of RUN/tensorboard.events/STAGE. */
static void read_events(const char *dir, const char *stage, fmp_buf *file)
{
    fmp_err err = FMP_ERR_INIT;
    char path[512] = "", folder[256];
    (void)snprintf(folder, sizeof folder, "%s/tensorboard.events/%s", dir, stage);
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.') { continue; }
        assert_true(strncmp(e->d_name, "events.out.tfevents.", 20) == 0);
        assert_true(path[0] == '\0');
        (void)snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    }
    closedir(d);
    assert_int_equal(fmp_read_file(path, 0, file, &err), FMP_OK);
}

static void points_of_two_stages_can_be_read_back(void **state)
{
    (void)state;
    enum { N = 3000 };
    fmp_err err = FMP_ERR_INIT;
    char dir[] = "/tmp/fmp_test_tboard.XXXXXX";
    assert_non_null(mkdtemp(dir));
    fmp_tboard *t = fmp_tboard_new(dir);
    for (unsigned i = 0; i < N; i++) {
        fmp_tboard_point(t, "train", "loss.de-DE", i, 1.0 / (i + 1));
        fmp_tboard_point(t, "other", "lr", 1u << i % 31, i);
        fmp_tboard_point(t, "other", "lr", 0, i % 2 ? NAN : INFINITY); /* left out */
    }
    assert_int_equal(fmp_tboard_free(t), 0);
    static const char *const stages[] = {"train", "other"};
    for (int k = 0; k < 2; k++) {
        fmp_buf file = {0};
        size_t at = 0, len = 0;
        event e = {0};
        read_events(dir, stages[k], &file);
        const unsigned char *p = next_record(&file, &at, &len);
        read_message(p, p + len, 0, &e);
        assert_string_equal(e.version, "brain.Event:2");
        for (unsigned i = 0; i < N; i++) {
            e = (event){0};
            p = next_record(&file, &at, &len);
            read_message(p, p + len, 0, &e);
            assert_string_equal(e.tag, k ? "lr" : "loss.de-DE");
            assert_int_equal(e.step, k ? 1u << i % 31 : i);
            assert_true(e.value == (k ? (float)i : (float)(1.0 / (i + 1))));
            assert_true(e.wall_time > 1.7e9);
        }
        assert_int_equal(at, file.len);
        fmp_buf_free(&file);
    }
    assert_int_equal(fmp_remove_tree(dir, &err), FMP_OK);
}

static void a_run_without_points_has_no_event_files_and_a_failed_write_is_told(void **state)
{
    (void)state;
    char dir[] = "/tmp/fmp_test_tboard.XXXXXX";
    assert_non_null(mkdtemp(dir));
    assert_int_equal(fmp_tboard_free(fmp_tboard_new(dir)), 0);
    assert_int_equal(rmdir(dir), 0);
    fmp_tboard *t = fmp_tboard_new("/proc/nowhere");
    fmp_tboard_point(t, "train", "loss", 1, 1.0);
    fmp_tboard_point(t, "train", "loss", 2, 1.0);
    assert_true(fmp_tboard_free(t) != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_has_the_bytes_of_the_format),
        cmocka_unit_test(an_event_has_the_bytes_that_protobuf_gives_it),
        cmocka_unit_test(points_of_two_stages_can_be_read_back),
        cmocka_unit_test(a_run_without_points_has_no_event_files_and_a_failed_write_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
