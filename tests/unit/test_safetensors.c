/* links: fmbase fmkernels fmmodel */
/* test_safetensors.c: files that must be refused, each with its message; what is written is read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fmpipe/fs.h>
#include <fmpipe/model.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define OK(call) assert_ok((call), &err, #call, __LINE__)

static void assert_ok(fmp_status status, const fmp_err *err, const char *what, int line)
{
    if (status != FMP_OK) { fail_msg("line %d: %s: %s %s", line, what, err->message, err->notes); }
}

static char dir[] = "/tmp/fmp_test_safetensors.XXXXXX";

static const char *in_dir(const char *name)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}
static int remove_dir(void **state)
{
    fmp_err err = FMP_ERR_INIT;
    (void)state;
    return fmp_remove_tree(dir, &err) == FMP_OK ? 0 : -1;
}

/* A file of `claimed` header bytes (SIZE_MAX: what the header has), the header, and n_data bytes of data. */
static void write_file(const char *path, size_t claimed, const char *header, const void *data, size_t n_data)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_buf out = {0};
    uint64_t len = claimed == SIZE_MAX ? strlen(header) : claimed;
    for (int i = 0; i < 8; i++) {
        fmp_buf_putc(&out, (char)(len >> (8 * i) & 0xFF));
    }
    fmp_buf_puts(&out, header);
    fmp_buf_add(&out, data, n_data);
    OK(fmp_write_file(path, out.data, out.len, &err));
    fmp_buf_free(&out);
}

typedef struct bad_file {
    const char *header;
    size_t n_data;
    fmp_status status;
    const char *message;
} bad_file;

#define RANGE(b, e) "\"data_offsets\":[" #b "," #e "]"

static const bad_file bad_files[] = {
    {"", 0, FMP_E_DATA, "its header does not begin with '{'"},
    {"[1]", 0, FMP_E_DATA, "its header does not begin with '{'"},
    {" {}", 0, FMP_E_DATA, "its header does not begin with '{'"},
    {"{}", 4, FMP_E_DATA, "unused bytes after the last tensor"},
    {"{\"a\":3}", 0, FMP_E_DATA, "tensor 'a': expected an object"},
    {"{\"__metadata__\":[]}", 0, FMP_E_DATA, "__metadata__ is not an object"},
    {"{\"a\":{\"shape\":[1]," RANGE(0, 4) "}}", 4, FMP_E_DATA, "tensor 'a': expected a string 'dtype'"},
    {"{\"a\":{\"dtype\":\"I64\",\"shape\":[1]," RANGE(0, 8) "}}", 8, FMP_E_UNSUPPORTED,
     "tensor 'a': expected dtype F32, BF16 or F16, found 'I64'"},
    {"{\"a\":{\"dtype\":\"F32\"," RANGE(0, 4) "}}", 4, FMP_E_DATA, "tensor 'a': expected an array 'shape'"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1]," RANGE(0, 4) "}}", 4, FMP_E_DATA,
     "tensor 'a': a dimension is not a whole number of 0 to 2^53"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5]," RANGE(0, 4) "}}", 4, FMP_E_DATA,
     "tensor 'a': a dimension is not a whole number of 0 to 2^53"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[18446744073709551615]," RANGE(0, 4) "}}", 4, FMP_E_DATA,
     "tensor 'a': a dimension is not a whole number of 0 to 2^53"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[\"1\"]," RANGE(0, 4) "}}", 4, FMP_E_DATA,
     "tensor 'a': a dimension is not a whole number of 0 to 2^53"},
    /* 2^32 * 2^32 = 0 modulo 2^64; 2^31 * 2^31 * 4 = 2^64 bytes */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296]," RANGE(0, 0) "}}", 0, FMP_E_DATA,
     "tensor 'a': the product of its shape overflows"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2147483648,2147483648]," RANGE(0, 0) "}}", 0, FMP_E_DATA,
     "tensor 'a': its shape does not fill its data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1]," RANGE(0, 4) "}}", 4, FMP_E_RANGE,
     "tensor 'a': more than 8 dimensions"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1000000]," RANGE(0, 4) "}}", 4, FMP_E_DATA,
     "tensor 'a': its shape does not fill its data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]," RANGE(0, 8) "}}", 4, FMP_E_DATA,
     "tensor 'a': data_offsets [0, 8] are not inside the 4 bytes of data"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]," RANGE(4, 0) "}}", 4, FMP_E_DATA,
     "tensor 'a': data_offsets [4, 0] are not inside the 4 bytes of data"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, FMP_E_DATA,
     "tensor 'a': expected data_offsets of two whole numbers"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, FMP_E_DATA,
     "tensor 'a': expected data_offsets of two whole numbers"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]," RANGE(0, 4) ",\"x\":1}}", 4, FMP_E_DATA,
     "tensor 'a': expected dtype, shape and data_offsets only"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]," RANGE(0, 4) "},\"b\":{\"dtype\":\"F32\",\"shape\":[1]," RANGE(
         2, 6) "}}",
     6, FMP_E_DATA, "tensor 'b': its bytes overlap another tensor's"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]," RANGE(0, 4) "},\"b\":{\"dtype\":\"F32\",\"shape\":[1]," RANGE(
         0, 4) "}}",
     4, FMP_E_DATA, "its bytes overlap another tensor's"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]," RANGE(0, 4) "},\"b\":{\"dtype\":\"F32\",\"shape\":[1]," RANGE(
         8, 12) "}}",
     12, FMP_E_DATA, "tensor 'b': unused bytes before its data"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]," RANGE(0, 4) "}}", 5, FMP_E_DATA,
     "unused bytes after the last tensor"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]," RANGE(0, 4) "},\"a\":{\"dtype\":\"F32\",\"shape\":[1]," RANGE(
         4, 8) "}}",
     8, FMP_E_DATA, ""},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]," RANGE(0, 4) "}", 4, FMP_E_DATA, ""},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[[[[[[[[[[1]]]]]]]]]]," RANGE(0, 4) "}}", 4, FMP_E_RANGE, ""},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]," RANGE(0, 4) "}}garbage", 4, FMP_E_DATA, ""},
};

static void a_malformed_header_is_refused_with_its_reason(void **state)
{
    (void)state;
    static const unsigned char zeros[16];
    const char *path = in_dir("bad.safetensors");
    for (size_t i = 0; i < sizeof bad_files / sizeof *bad_files; i++) {
        const bad_file *b = &bad_files[i];
        fmp_err err = FMP_ERR_INIT;
        fmp_tensors *ts = NULL;
        write_file(path, SIZE_MAX, b->header, zeros, b->n_data);
        fmp_status status = fmp_tensors_open(path, &ts, &err);
        if (status != b->status || !strstr(err.message, b->message) || strcmp(err.file, path) != 0) {
            fail_msg("case %zu: status %d, %s: %s", i, status, err.file, err.message);
        }
        assert_null(ts);
    }
}

static void a_length_beyond_the_file_or_the_limit_is_refused_before_use(void **state)
{
    (void)state;
    static const size_t claims[] = {3, 1000, (size_t)1 << 40, SIZE_MAX - 1, SIZE_MAX - 7};
    const char *path = in_dir("length.safetensors");
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
        fmp_err err = FMP_ERR_INIT;
        fmp_tensors *ts = NULL;
        write_file(path, claims[i], "{}", NULL, 0);
        assert_int_equal(fmp_tensors_open(path, &ts, &err), FMP_E_DATA);
        assert_non_null(strstr(err.message, "its header claims"));
    }
    fmp_err err = FMP_ERR_INIT;
    fmp_tensors *ts = NULL;
    OK(fmp_write_file(path, "\2\0\0", 3, &err));
    assert_int_equal(fmp_tensors_open(path, &ts, &err), FMP_E_DATA);
    OK(fmp_write_file(path, "", 0, &err));
    assert_int_equal(fmp_tensors_open(path, &ts, &err), FMP_E_DATA);
    assert_int_equal(fmp_tensors_open(in_dir("absent"), &ts, &err), FMP_E_IO);
}

static void a_value_that_is_not_finite_is_refused_with_tensor_and_index(void **state)
{
    (void)state;
    static const struct {
        const char *dtype;
        unsigned char bytes[8];
        const char *shape;
        const char *message;
    } cases[] = {
        {"F32", {0, 0, 0x80, 0x3F, 0, 0, 0xC0, 0x7F}, "[2]", "tensor 'w': value 1 is NaN or infinite"},
        {"F32", {0, 0, 0x80, 0xFF, 0, 0, 0, 0}, "[2]", "tensor 'w': value 0 is NaN or infinite"},
        {"BF16",
         {0x80, 0x3F, 0x80, 0x3F, 0x80, 0x7F, 0, 0},
         "[2,2]",
         "tensor 'w': value 2 is NaN or infinite"},
        {"F16", {0, 0x3C, 0, 0x3C, 0, 0x3C, 1, 0x7C}, "[4]", "tensor 'w': value 3 is NaN or infinite"},
    };
    const char *path = in_dir("nan.safetensors");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fmp_err err = FMP_ERR_INIT;
        fmp_tensors *ts = NULL;
        char header[128];
        (void)snprintf(header, sizeof header,
                       "{\"w\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[0,8]}}", cases[i].dtype,
                       cases[i].shape);
        write_file(path, SIZE_MAX, header, cases[i].bytes, 8);
        assert_int_equal(fmp_tensors_open(path, &ts, &err), FMP_E_DATA);
        assert_string_equal(err.message, cases[i].message);
    }
}

static void half_precision_values_are_read_exactly(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_tensors *ts = NULL;
    /* F16: 1, -2, the smallest subnormal, the largest; then BF16 1.5 */
    static const unsigned char data[] = {0, 0x3C, 0, 0xC0, 1, 0, 0xFF, 0x7B, 0xC0, 0x3F};
    const char *path = in_dir("half.safetensors");
    write_file(path, SIZE_MAX,
               "{\"h\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[0,8]},"
               "\"b\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[8,10]},"
               "\"e\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[8,8]}}  ",
               data, sizeof data);
    OK(fmp_tensors_open(path, &ts, &err));
    float v[4];
    assert_int_equal(fmp_tensors_count(ts), 3);
    fmp_tensor_to_f32(fmp_tensors_find(ts, "h"), v);
    assert_true(v[0] == 1.0f && v[1] == -2.0f && v[2] == ldexpf(1.0f, -24) && v[3] == 65504.0f);
    fmp_tensor_to_f32(fmp_tensors_find(ts, "b"), v);
    assert_true(v[0] == 1.5f);
    assert_int_equal(fmp_tensors_find(ts, "e")->n_values, 0);
    assert_null(fmp_tensors_find(ts, "x"));
    fmp_tensors_close(ts);
}

static void what_is_written_is_read_back_and_does_not_depend_on_the_order_given(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    static const float a[6] = {1, 2, 3, -4, 5.5f, 1e-20f}, b[3] = {0.1f, -0.1f, 3.0f};
    fmp_tensor_src one[2] = {
        {.name = "z", .dtype = FMP_DTYPE_F32, .n_dims = 2, .shape = {2, 3}, .data = a},
        {.name = "quo\"te", .dtype = FMP_DTYPE_BF16, .n_dims = 1, .shape = {3}, .data = b}};
    fmp_tensor_src two[2] = {one[1], one[0]};
    OK(fmp_tensors_write(in_dir("one.safetensors"), one, 2, &err));
    OK(fmp_tensors_write(in_dir("two.safetensors"), two, 2, &err));
    char hex1[65], hex2[65];
    OK(fmp_sha256_file(in_dir("one.safetensors"), hex1, &err));
    OK(fmp_sha256_file(in_dir("two.safetensors"), hex2, &err));
    assert_string_equal(hex1, hex2);
    fmp_tensors *ts = NULL;
    OK(fmp_tensors_open(in_dir("one.safetensors"), &ts, &err));
    float v[6];
    fmp_tensor_to_f32(fmp_tensors_find(ts, "z"), v);
    assert_memory_equal(v, a, sizeof a);
    fmp_tensor_to_f32(fmp_tensors_at(ts, 0), v);
    assert_string_equal(fmp_tensors_at(ts, 0)->name, "quo\"te");
    for (int i = 0; i < 3; i++) {
        assert_true(fabsf(v[i] - b[i]) <= fabsf(b[i]) / 256.0f);
    }
    fmp_tensors_close(ts);
}

static void shards_are_read_as_one_and_a_tensor_in_two_of_them_is_refused(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    static const float a[2] = {1, 2}, b[1] = {3};
    fmp_tensor_src x = {.name = "x", .n_dims = 1, .shape = {2}, .data = a};
    fmp_tensor_src y = {.name = "y", .n_dims = 1, .shape = {1}, .data = b};
    static const char index[] =
        "{\"metadata\":{},\"weight_map\":{\"x\":\"m-1.safetensors\",\"y\":\"m-2.safetensors\"}}";
    OK(fmp_mkdirs(in_dir("shards"), &err));
    OK(fmp_tensors_write(in_dir("shards/m-1.safetensors"), &x, 1, &err));
    OK(fmp_tensors_write(in_dir("shards/m-2.safetensors"), &y, 1, &err));
    const char *path = in_dir("shards/model.safetensors.index.json");
    OK(fmp_write_file(path, index, sizeof index - 1, &err));
    fmp_tensors *ts = NULL;
    OK(fmp_tensors_open(in_dir("shards"), &ts, &err));
    assert_int_equal(fmp_tensors_count(ts), 2);
    fmp_tensors_close(ts);
    OK(fmp_tensors_write(in_dir("shards/m-2.safetensors"), &x, 1, &err));
    assert_int_equal(fmp_tensors_open(in_dir("shards"), &ts, &err), FMP_E_DATA);
    assert_string_equal(err.message, "tensor 'x': it is in two files");
    static const char escape[] = "{\"weight_map\":{\"x\":\"../one.safetensors\"}}";
    path = in_dir("shards/model.safetensors.index.json");
    OK(fmp_write_file(path, escape, sizeof escape - 1, &err));
    assert_int_equal(fmp_tensors_open(in_dir("shards"), &ts, &err), FMP_E_DATA);
    assert_string_equal(err.message, "weight_map 'x': expected a plain file name");
}

/* Every single-byte change of a small file either is refused or reads without touching foreign memory. */
static void no_single_byte_change_reads_outside_the_file(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    static const float a[6] = {1, 2, 3, 4, 5, 6};
    fmp_tensor_src src[2] = {{.name = "a", .n_dims = 2, .shape = {2, 2}, .data = a},
                             {.name = "b", .n_dims = 1, .shape = {2}, .data = a + 4}};
    const char *path = in_dir("flip.safetensors");
    OK(fmp_tensors_write(path, src, 2, &err));
    fmp_buf bytes = {0};
    OK(fmp_read_file(path, 0, &bytes, &err));
    char *fresh = strdup(in_dir("flipped.safetensors"));
    size_t n_read = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        char kept = bytes.data[i];
        bytes.data[i] = (char)(kept ^ (1 << (i % 8)));
        FILE *f = fopen(fresh, "wb");
        assert_true(f && fwrite(bytes.data, 1, bytes.len, f) == bytes.len && fclose(f) == 0);
        fmp_tensors *ts = NULL;
        if (fmp_tensors_open(fresh, &ts, &err) == FMP_OK) {
            for (size_t k = 0; k < fmp_tensors_count(ts); k++) {
                float v[6];
                const fmp_tensor *t = fmp_tensors_at(ts, k);
                assert_true(t->n_values <= 6);
                fmp_tensor_to_f32(t, v);
                n_read++;
            }
        }
        fmp_tensors_close(ts);
        bytes.data[i] = kept;
    }
    assert_true(n_read > 0);
    free(fresh);
    fmp_buf_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_malformed_header_is_refused_with_its_reason),
        cmocka_unit_test(a_length_beyond_the_file_or_the_limit_is_refused_before_use),
        cmocka_unit_test(a_value_that_is_not_finite_is_refused_with_tensor_and_index),
        cmocka_unit_test(half_precision_values_are_read_exactly),
        cmocka_unit_test(what_is_written_is_read_back_and_does_not_depend_on_the_order_given),
        cmocka_unit_test(shards_are_read_as_one_and_a_tensor_in_two_of_them_is_refused),
        cmocka_unit_test(no_single_byte_change_reads_outside_the_file),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
