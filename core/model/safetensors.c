/*
 * safetensors.c: reading .safetensors files, mapped, and nothing in them believed before it is checked.
 *
 * Layout: u64 little-endian header length, a JSON object {name: {dtype, shape, data_offsets}}, then the data.
 * A file is accepted only if its tensors, sorted by offset, cover the data without a hole or an overlap, and
 * every value is finite. A folder with model.safetensors.index.json is the union of its shards.
 */
#include "internal.h"

#include <fmpipe/json.h>
#include <sys/mman.h>

#define HEADER_LIMIT ((uint64_t)16 << 20)
#define SHARDS_LIMIT 4096

typedef struct shard {
    char *path;
    fmp_map map;
} shard;

struct fmp_tensors {
    fmp_arena *arena; /* names and tensors */
    shard *shards;    /* (n_shards)        */
    size_t n_shards;
    fmp_tensor *tensors; /* (n), sorted by name */
    size_t n;
};

static size_t dtype_bytes(fmp_dtype dtype)
{
    return dtype == FMP_DTYPE_F32 ? 4 : 2;
}

static fmp_status bad(fmp_err *err, const shard *s, fmp_status code, const char *name, const char *what)
{
    fmp_status status =
        name ? fmp_fail(err, code, "tensor '%.96s': %s", name, what) : fmp_fail(err, code, "%s", what);
    (void)fmp_err_at(err, s->path, 0, 0, UINT64_MAX);
    return status;
}

/* A JSON number that is a whole number of bytes or elements. */
static bool whole_number(const cJSON *node, uint64_t *out)
{
    if (!cJSON_IsNumber(node)) { return false; }
    double v = node->valuedouble;
    if (!(v >= 0.0 && v <= 9007199254740991.0) || v != floor(v)) { return false; }
    *out = (uint64_t)v;
    return true;
}

static fmp_status read_dtype(const shard *s, const char *name, const cJSON *node, fmp_dtype *out,
                             fmp_err *err)
{
    static const char *const names[] = {"F32", "BF16", "F16"};
    if (!cJSON_IsString(node)) { return bad(err, s, FMP_E_DATA, name, "expected a string 'dtype'"); }
    for (int i = 0; i < 3; i++) {
        if (strcmp(node->valuestring, names[i]) == 0) {
            *out = (fmp_dtype)i;
            return FMP_OK;
        }
    }
    fmp_status status =
        fmp_fail(err, FMP_E_UNSUPPORTED, "tensor '%.96s': expected dtype F32, BF16 or F16, found '%.16s'",
                 name, node->valuestring);
    (void)fmp_err_at(err, s->path, 0, 0, UINT64_MAX);
    return status;
}

static fmp_status read_shape(const shard *s, const cJSON *node, fmp_tensor *t, fmp_err *err)
{
    if (!cJSON_IsArray(node)) { return bad(err, s, FMP_E_DATA, t->name, "expected an array 'shape'"); }
    size_t product = 1;
    for (const cJSON *d = node->child; d; d = d->next) {
        if (t->n_dims == FMP_TENSOR_MAX_DIMS) {
            return bad(err, s, FMP_E_RANGE, t->name, "more than 8 dimensions");
        }
        if (!whole_number(d, &t->shape[t->n_dims])) {
            return bad(err, s, FMP_E_DATA, t->name, "a dimension is not a whole number of 0 to 2^53");
        }
        if (!fmp_mul_ok(product, t->shape[t->n_dims], &product)) {
            return bad(err, s, FMP_E_DATA, t->name, "the product of its shape overflows");
        }
        t->n_dims++;
    }
    t->n_values = product;
    return FMP_OK;
}

static fmp_status read_tensor(const shard *s, uint64_t data_at, const cJSON *node, fmp_tensor *t,
                              fmp_err *err)
{
    if (!cJSON_IsObject(node)) { return bad(err, s, FMP_E_DATA, t->name, "expected an object"); }
    for (const cJSON *m = node->child; m; m = m->next) {
        if (strcmp(m->string, "dtype") != 0 && strcmp(m->string, "shape") != 0 &&
            strcmp(m->string, "data_offsets") != 0) {
            return bad(err, s, FMP_E_DATA, t->name, "expected dtype, shape and data_offsets only");
        }
    }
    FMP_TRY(read_dtype(s, t->name, fmp_json_get(node, "dtype"), &t->dtype, err));
    FMP_TRY(read_shape(s, fmp_json_get(node, "shape"), t, err));
    const cJSON *range = fmp_json_get(node, "data_offsets");
    uint64_t begin = 0, end = 0;
    if (!cJSON_IsArray(range) || cJSON_GetArraySize(range) != 2 || !whole_number(range->child, &begin) ||
        !whole_number(range->child->next, &end)) {
        return bad(err, s, FMP_E_DATA, t->name, "expected data_offsets of two whole numbers");
    }
    uint64_t left = s->map.len - data_at;
    if (begin > end || end > left) {
        fmp_status status =
            fmp_fail(err, FMP_E_DATA,
                     "tensor '%.96s': data_offsets [%llu, %llu] are not inside the %llu bytes of data",
                     t->name, (unsigned long long)begin, (unsigned long long)end, (unsigned long long)left);
        (void)fmp_err_at(err, s->path, 0, 0, UINT64_MAX);
        return status;
    }
    size_t bytes = 0;
    if (!fmp_mul_ok(t->n_values, dtype_bytes(t->dtype), &bytes) || bytes != end - begin) {
        return bad(err, s, FMP_E_DATA, t->name, "its shape does not fill its data_offsets");
    }
    t->data = s->map.data + data_at + begin;
    return FMP_OK;
}

static int by_place(const void *a, const void *b)
{
    const fmp_tensor *x = a, *y = b;
    if (x->data != y->data) { return x->data < y->data ? -1 : 1; }
    /* empty tensors first: they share the next one's offset */
    return (x->n_values > y->n_values) - (x->n_values < y->n_values);
}

static int by_name(const void *a, const void *b)
{
    const fmp_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static fmp_status check_cover(const shard *s, uint64_t data_at, fmp_tensor *t, size_t n, fmp_err *err)
{
    qsort(t, n, sizeof *t, by_place);
    const unsigned char *at = s->map.data + data_at;
    for (size_t i = 0; i < n; i++) {
        if (t[i].data < at) {
            return bad(err, s, FMP_E_DATA, t[i].name, "its bytes overlap another tensor's");
        }
        if (t[i].data > at) { return bad(err, s, FMP_E_DATA, t[i].name, "unused bytes before its data"); }
        at += t[i].n_values * dtype_bytes(t[i].dtype);
    }
    if (at != s->map.data + s->map.len) {
        return bad(err, s, FMP_E_DATA, NULL, "unused bytes after the last tensor");
    }
    return FMP_OK;
}

/* Index of the first NaN or Inf, or n_values. */
static size_t first_non_finite(const fmp_tensor *t)
{
    uint32_t mask = t->dtype == FMP_DTYPE_F16 ? 0x7C00u : 0x7F80u;
    for (size_t i = 0; i < t->n_values; i++) {
        uint32_t bits;
        if (t->dtype == FMP_DTYPE_F32) {
            memcpy(&bits, t->data + 4 * i, 4);
            bits >>= 16;
        } else {
            uint16_t half;
            memcpy(&half, t->data + 2 * i, 2);
            bits = half;
        }
        if ((bits & mask) == mask) { return i; }
    }
    return t->n_values;
}

static fmp_status check_finite(const shard *s, const fmp_tensor *t, size_t n, fmp_err *err)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = first_non_finite(&t[i]);
        if (at < t[i].n_values) {
            fmp_status status =
                fmp_fail(err, FMP_E_DATA, "tensor '%.96s': value %zu is NaN or infinite", t[i].name, at);
            (void)fmp_err_at(err, s->path, 0, 0,
                             (uint64_t)(t[i].data - s->map.data) + at * dtype_bytes(t[i].dtype));
            return status;
        }
    }
    return FMP_OK;
}

static fmp_status add_tensors(fmp_tensors *ts, const shard *s, uint64_t data_at, const cJSON *header,
                              fmp_err *err)
{
    size_t first = ts->n, more = 0;
    for (const cJSON *node = header->child; node; node = node->next) {
        more++;
    }
    fmp_tensor *grown = realloc(ts->tensors, (ts->n + more + 1) * sizeof *grown);
    if (!grown) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for %zu tensors", more); }
    ts->tensors = grown;
    for (const cJSON *node = header->child; node; node = node->next) {
        if (strcmp(node->string, "__metadata__") == 0) {
            if (!cJSON_IsObject(node)) {
                return bad(err, s, FMP_E_DATA, NULL, "__metadata__ is not an object");
            }
            continue;
        }
        fmp_tensor *t = &ts->tensors[ts->n];
        memset(t, 0, sizeof *t);
        t->name = fmp_arena_strdup(ts->arena, node->string);
        FMP_TRY(fmp_arena_ok(ts->arena, err));
        FMP_TRY(read_tensor(s, data_at, node, t, err));
        ts->n++;
    }
    FMP_TRY(check_cover(s, data_at, ts->tensors + first, ts->n - first, err));
    return check_finite(s, ts->tensors + first, ts->n - first, err);
}

static fmp_status open_shard(fmp_tensors *ts, shard *s, fmp_err *err)
{
    FMP_TRY(fmp_map_file(s->path, &s->map, err));
    if (s->map.len < 8) {
        return bad(err, s, FMP_E_DATA, NULL, "shorter than the 8 bytes of a safetensors length");
    }
    uint64_t len = 0;
    for (int i = 7; i >= 0; i--) {
        len = len << 8 | s->map.data[i];
    }
    if (len > HEADER_LIMIT || len > s->map.len - 8) {
        fmp_status status =
            fmp_fail(err, FMP_E_DATA, "its header claims %llu bytes; at most 16 MiB and the file's %zu",
                     (unsigned long long)len, s->map.len - 8);
        (void)fmp_err_at(err, s->path, 0, 0, 0);
        return status;
    }
    const char *text = (const char *)s->map.data + 8;
    if (len == 0 || text[0] != '{') {
        return bad(err, s, FMP_E_DATA, NULL, "its header does not begin with '{'");
    }
    const fmp_json_limits limits = {.max_bytes = HEADER_LIMIT, .max_depth = 8};
    cJSON *header = NULL;
    fmp_status status = fmp_json_parse(text, (size_t)len, &limits, &header, err);
    if (status != FMP_OK) {
        (void)fmp_err_at(err, s->path, 0, 0, err ? err->offset + 8 : 0);
        (void)fmp_err_note(err, "while reading the safetensors header");
        return status;
    }
    status = add_tensors(ts, s, 8 + len, header, err);
    cJSON_Delete(header);
    return status;
}

static fmp_status add_shard(fmp_tensors *ts, char *path, fmp_err *err)
{
    shard *grown = path ? realloc(ts->shards, (ts->n_shards + 1) * sizeof *grown) : NULL;
    if (!grown) {
        free(path);
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for a list of files");
    }
    ts->shards = grown;
    shard *s = &ts->shards[ts->n_shards++];
    *s = (shard){.path = path};
    return open_shard(ts, s, err);
}

static bool is_plain_name(const char *name)
{
    return name[0] != '\0' && name[0] != '.' && !strchr(name, '/') && strlen(name) < 256;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The shard names of an index, each once, sorted, in the arena. */
static fmp_status shard_names(fmp_tensors *ts, const cJSON *index, const char ***names, size_t *n,
                              fmp_err *err)
{
    const cJSON *map = fmp_json_get(index, "weight_map");
    if (!cJSON_IsObject(map)) { return fmp_fail(err, FMP_E_DATA, "expected an object 'weight_map'"); }
    size_t count = 0;
    for (const cJSON *m = map->child; m; m = m->next) {
        count++;
    }
    const char **list = fmp_arena_take_zero(ts->arena, count + 1, sizeof *list);
    FMP_TRY(fmp_arena_ok(ts->arena, err));
    count = 0;
    for (const cJSON *m = map->child; m; m = m->next) {
        if (!cJSON_IsString(m) || !is_plain_name(m->valuestring)) {
            return fmp_fail(err, FMP_E_DATA, "weight_map '%.96s': expected a plain file name", m->string);
        }
        list[count++] = fmp_arena_strdup(ts->arena, m->valuestring);
    }
    FMP_TRY(fmp_arena_ok(ts->arena, err));
    qsort(list, count, sizeof *list, by_text);
    size_t unique = 0;
    for (size_t i = 0; i < count; i++) {
        if (unique == 0 || strcmp(list[unique - 1], list[i]) != 0) { list[unique++] = list[i]; }
    }
    if (unique == 0 || unique > SHARDS_LIMIT) {
        return fmp_fail(err, FMP_E_RANGE, "expected 1 to %d files, found %zu", SHARDS_LIMIT, unique);
    }
    *names = list;
    *n = unique;
    return FMP_OK;
}

static fmp_status open_index(fmp_tensors *ts, const char *dir, const char *index_path, fmp_err *err)
{
    cJSON *index = NULL;
    FMP_TRY(fmp_json_load(index_path, NULL, &index, err));
    const char **names = NULL;
    size_t n = 0;
    fmp_status status = shard_names(ts, index, &names, &n, err);
    if (status != FMP_OK) { (void)fmp_err_at(err, index_path, 0, 0, UINT64_MAX); }
    cJSON_Delete(index);
    for (size_t i = 0; i < n && status == FMP_OK; i++) {
        status = add_shard(ts, fmp_path_join(dir, names[i]), err);
    }
    return status;
}

static fmp_status open_folder(fmp_tensors *ts, const char *dir, fmp_err *err)
{
    char *single = fmp_path_join(dir, "model.safetensors");
    char *index = fmp_path_join(dir, "model.safetensors.index.json");
    fmp_status status;
    if (!single || !index) {
        status = fmp_fail(err, FMP_E_NOMEM, "out of memory for a path");
    } else if (fmp_path_exists(single) || !fmp_path_exists(index)) {
        status = add_shard(ts, single, err);
        single = NULL;
    } else {
        status = open_index(ts, dir, index, err);
    }
    free(single);
    free(index);
    return status;
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static fmp_status new_set(fmp_tensors **out, fmp_err *err)
{
    fmp_tensors *ts = calloc(1, sizeof *ts);
    if (ts) { ts->arena = fmp_arena_new(0); }
    if (!ts || !ts->arena) {
        free(ts);
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for a safetensors file");
    }
    *out = ts;
    return FMP_OK;
}

static fmp_status copy_tensors(fmp_tensors *ts, const fmp_tensor *tensors, size_t n, fmp_err *err)
{
    ts->tensors = calloc(n + 1, sizeof *ts->tensors);
    if (!ts->tensors) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for %zu tensors", n); }
    for (; ts->n < n; ts->n++) {
        ts->tensors[ts->n] = tensors[ts->n];
        ts->tensors[ts->n].name = fmp_arena_strdup(ts->arena, tensors[ts->n].name);
    }
    FMP_TRY(fmp_arena_ok(ts->arena, err));
    qsort(ts->tensors, n, sizeof *ts->tensors, by_name);
    return check_finite(&ts->shards[0], ts->tensors, n, err);
}

fmp_status fmp_tensors_wrap(const char *path, fmp_map map, const fmp_tensor *tensors, size_t n,
                            fmp_tensors **out, fmp_err *err)
{
    fmp_tensors *ts = NULL;
    fmp_status status = new_set(&ts, err);
    if (status == FMP_OK) { ts->shards = calloc(1, sizeof *ts->shards); }
    char *name = ts && ts->shards ? strdup(path) : NULL;
    if (!name) {
        fmp_unmap(&map);
        fmp_tensors_close(ts);
        return status != FMP_OK ? status : fmp_fail(err, FMP_E_NOMEM, "out of memory for a list of files");
    }
    ts->shards[ts->n_shards++] = (shard){.path = name, .map = map};
    status = copy_tensors(ts, tensors, n, err);
    if (status != FMP_OK) {
        fmp_tensors_close(ts);
        return status;
    }
    *out = ts;
    return FMP_OK;
}

fmp_status fmp_tensors_open(const char *path, fmp_tensors **out, fmp_err *err)
{
    *out = NULL;
    fmp_tensors *ts = NULL;
    FMP_TRY(new_set(&ts, err));
    fmp_status status = is_folder(path) ? open_folder(ts, path, err) : add_shard(ts, strdup(path), err);
    if (status == FMP_OK) {
        if (ts->n > 0) { qsort(ts->tensors, ts->n, sizeof *ts->tensors, by_name); }
        for (size_t i = 1; i < ts->n && status == FMP_OK; i++) {
            if (strcmp(ts->tensors[i - 1].name, ts->tensors[i].name) == 0) {
                status = bad(err, &ts->shards[0], FMP_E_DATA, ts->tensors[i].name, "it is in two files");
            }
        }
    }
    if (status != FMP_OK) {
        fmp_tensors_close(ts);
        return status;
    }
    *out = ts;
    return FMP_OK;
}

void fmp_tensors_forget(const fmp_tensors *ts, const fmp_tensor *t, size_t size_bytes)
{
    const uintptr_t page = 4096, at = (uintptr_t)t->data;
    for (size_t i = 0; ts && i < ts->n_shards;
         i++) { /* nothing but a file's own pages, which come back when read */
        uintptr_t begin = (uintptr_t)ts->shards[i].map.data, end = begin + ts->shards[i].map.len;
        uintptr_t from = (at + page - 1) / page * page, to = (at + size_bytes) / page * page;
        if (at >= begin && at + size_bytes <= end && to > from) {
            (void)madvise((void *)from, to - from, MADV_DONTNEED);
        }
    }
}

void fmp_tensors_close(fmp_tensors *ts)
{
    if (!ts) { return; }
    for (size_t i = 0; i < ts->n_shards; i++) {
        fmp_unmap(&ts->shards[i].map);
        free(ts->shards[i].path);
    }
    free(ts->shards);
    free(ts->tensors);
    fmp_arena_free(ts->arena);
    free(ts);
}

size_t fmp_tensors_count(const fmp_tensors *ts)
{
    return ts->n;
}
const fmp_tensor *fmp_tensors_at(const fmp_tensors *ts, size_t i)
{
    return i < ts->n ? &ts->tensors[i] : NULL;
}

const fmp_tensor *fmp_tensors_find(const fmp_tensors *ts, const char *name)
{
    const fmp_tensor key = {.name = name};
    return ts->n ? bsearch(&key, ts->tensors, ts->n, sizeof key, by_name) : NULL;
}

/* IEEE 754 binary16; the file's values are finite. */
static float half_to_f32(uint16_t h)
{
    int exponent = h >> 10 & 0x1F;
    float fraction = (float)(h & 0x3FF);
    float v = exponent == 0 ? ldexpf(fraction, -24) : ldexpf(fraction + 1024.0f, exponent - 25);
    return h & 0x8000 ? -v : v;
}

void fmp_tensor_to_f32(const fmp_tensor *t, float *out)
{
    if (t->n_values == 0) { return; }
    if (t->dtype == FMP_DTYPE_F32) {
        memcpy(out, t->data, t->n_values * sizeof *out);
        return;
    }
    for (size_t i = 0; i < t->n_values; i++) {
        uint16_t half;
        memcpy(&half, t->data + 2 * i, 2);
        if (t->dtype == FMP_DTYPE_BF16) {
            uint32_t bits = (uint32_t)half << 16;
            memcpy(&out[i], &bits, 4);
        } else {
            out[i] = half_to_f32(half);
        }
    }
}
