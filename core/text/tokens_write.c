/*
 * tokens_write.c: writing a token artifact. Ids go straight to their place in tokens.bin and weights to a
 * file beside it, since where the weights begin is known at the end only; what belongs to segments stays in
 * memory.
 *
 * The folder is published and synced as a whole by whoever asked for it: nothing here is atomic or synced.
 */
#include "tokens_impl.h"

#include <fmpipe/fs.h>
#include <fmpipe/json.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TS_WEIGHTS     "weights.part"
#define CHUNK          65536u
#define LENGTH_CLASSES 33 /* 1, 2, 3..4, 5..8, ... */

typedef struct locale_count {
    char *tag;
    uint64_t segments, tokens, supervised;
} locale_count;

struct fmp_tokens_writer {
    ts_header head;
    char *bin_path, *part_path, *meta_path, *records_path;
    FILE *bin, *part;
    fmp_buf begin, record, locale; /* u64 (S + 1), 16 bytes (S), u16 (S): by first appearance until the end */
    cJSON *meta;
    locale_count *locales; /* (head.n_locales), by first appearance */
    uint16_t *by_name;     /* (head.n_locales) their numbers in byte order of the tags */
    size_t cap_locales;
    uint64_t by_length[LENGTH_CLASSES];
};

static fmp_status io_failed(const char *path, fmp_err *err)
{
    fmp_status status = fmp_fail(err, FMP_E_IO, "cannot write %s: %s", path, strerror(errno));
    (void)fmp_err_at(err, path, 0, 0, UINT64_MAX);
    return status;
}

fmp_status ts_write_file(const char *path, const void *data, size_t len, fmp_err *err)
{
    FILE *file = fopen(path, "wbe");
    if (!file) { return io_failed(path, err); }
    bool whole = fwrite(data, 1, len, file) == len;
    return fclose(file) == 0 && whole ? FMP_OK : io_failed(path, err);
}

static fmp_status no_memory(fmp_err *err)
{
    return fmp_fail(err, FMP_E_NOMEM, "out of memory while writing tokens");
}

/* Bytes, then zeros up to the next section. */
static fmp_status put(fmp_tokens_writer *w, const void *data, size_t len, bool pad, fmp_err *err)
{
    static const char zeros[TS_HEADER];
    if (len > 0 && fwrite(data, 1, len, w->bin) != len) { return io_failed(w->bin_path, err); }
    size_t rest = pad ? (TS_HEADER - len % TS_HEADER) % TS_HEADER : 0;
    return fwrite(zeros, 1, rest, w->bin) == rest ? FMP_OK : io_failed(w->bin_path, err);
}

static fmp_status check_info(const fmp_tokens_info *info, fmp_err *err)
{
    if (info->bin_size == 0 || info->bin_size > FMP_TOKENS_MAX_BIN || info->max_tokens == 0 ||
        info->max_tokens > info->bin_size) {
        return fmp_fail(err, FMP_E_RANGE,
                        "expected max_tokens 1..bin_size and bin_size up to %u, found %u and %u",
                        FMP_TOKENS_MAX_BIN, info->max_tokens, info->bin_size);
    }
    return FMP_OK;
}

static fmp_status init_meta(fmp_tokens_writer *w, const fmp_tokens_info *info, fmp_err *err)
{
    w->meta = cJSON_CreateObject();
    bool ok = cJSON_AddStringToObject(w->meta, "format", TS_META_FORMAT) &&
              cJSON_AddStringToObject(w->meta, "tokenizer_digest",
                                      info->tokenizer_digest ? info->tokenizer_digest : "") &&
              cJSON_AddStringToObject(w->meta, "template_digest",
                                      info->template_digest ? info->template_digest : "");
    return ok ? FMP_OK : no_memory(err);
}

static fmp_status init(fmp_tokens_writer *w, const char *dir, const fmp_tokens_info *info, fmp_err *err)
{
    uint64_t zero = 0;
    memcpy(w->head.magic, TS_MAGIC, sizeof w->head.magic);
    w->head.version = TS_VERSION;
    w->head.bin_size = info->bin_size;
    w->head.max_tokens = info->max_tokens;
    w->head.vocab_size = info->vocab_size;
    w->bin_path = fmp_path_join(dir, TS_FILE);
    w->part_path = fmp_path_join(dir, TS_WEIGHTS);
    w->meta_path = fmp_path_join(dir, TS_META);
    w->records_path = fmp_path_join(dir, TS_RECORDS);
    if (!w->bin_path || !w->part_path || !w->meta_path || !w->records_path) { return no_memory(err); }
    FMP_TRY(init_meta(w, info, err));
    FMP_TRY(fmp_mkdirs(dir, err));
    w->bin = fopen(w->bin_path, "wb");
    if (!w->bin) { return io_failed(w->bin_path, err); }
    w->part = fopen(w->part_path, "w+b");
    if (!w->part) { return io_failed(w->part_path, err); }
    fmp_buf_add(&w->begin, &zero, sizeof zero);
    return put(w, &w->head, sizeof w->head, false, err);
}

fmp_status fmp_tokens_writer_new(const char *dir, const fmp_tokens_info *info, fmp_tokens_writer **out,
                                 fmp_err *err)
{
    FMP_TRY(check_info(info, err));
    fmp_tokens_writer *w = calloc(1, sizeof *w);
    if (!w) { return no_memory(err); }
    fmp_status status = init(w, dir, info, err);
    if (status != FMP_OK) {
        fmp_tokens_writer_free(w);
        return status;
    }
    *out = w;
    return FMP_OK;
}

void fmp_tokens_writer_free(fmp_tokens_writer *w)
{
    if (!w) { return; }
    if (w->bin) { fclose(w->bin); }
    if (w->part) {
        fclose(w->part);
        (void)unlink(w->part_path);
    }
    fmp_buf_free(&w->begin);
    fmp_buf_free(&w->record);
    fmp_buf_free(&w->locale);
    cJSON_Delete(w->meta);
    for (uint32_t i = 0; i < w->head.n_locales; i++) {
        free(w->locales[i].tag);
    }
    free(w->locales);
    free(w->by_name);
    free(w->bin_path);
    free(w->part_path);
    free(w->meta_path);
    free(w->records_path);
    free(w);
}

static fmp_status check_segment(const fmp_tokens_writer *w, const uint32_t *ids, const float *weight,
                                uint32_t n, const char *record, fmp_err *err)
{
    if (n == 0 || n > w->head.max_tokens) {
        return fmp_fail(err, FMP_E_RANGE, "expected a segment of 1 to %u tokens, found %u",
                        w->head.max_tokens, n);
    }
    if (w->head.n_segments >= UINT32_MAX - 1) { return fmp_fail(err, FMP_E_RANGE, "too many segments"); }
    if (strnlen(record, FMP_TOKENS_RECORD) < FMP_TOKENS_RECORD ||
        strspn(record, "0123456789abcdef") < FMP_TOKENS_RECORD) {
        return fmp_fail(err, FMP_E_RANGE, "expected a record id of 16 hex digits, found \"%.20s\"", record);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (ids[i] >= w->head.vocab_size) {
            return fmp_fail(err, FMP_E_RANGE, "token %u: expected an id below %u, found %u", i,
                            w->head.vocab_size, ids[i]);
        }
        if (!(weight[i] >= 0) || !isfinite(weight[i]) || (i == 0 && weight[i] != 0)) {
            return fmp_fail(err, FMP_E_RANGE, "token %u: expected a weight of 0%s, found %.9g", i,
                            i ? " or more" : ", since nothing predicts the first token", (double)weight[i]);
        }
    }
    return FMP_OK;
}

/* 0 for 1 token, k for 2^(k-1)+1 .. 2^k. */
static unsigned length_class(uint32_t n)
{
    return n <= 1 ? 0 : 32u - (unsigned)__builtin_clz(n - 1);
}

/* A new one at `at` of by_name. */
static fmp_status add_locale(fmp_tokens_writer *w, const char *tag, size_t at, fmp_err *err)
{
    size_t n = w->head.n_locales;
    if (n == UINT16_MAX) { return fmp_fail(err, FMP_E_RANGE, "more than %u different locales", UINT16_MAX); }
    if (n == w->cap_locales) {
        size_t cap = n ? 2 * n : 16;
        locale_count *grown = realloc(w->locales, cap * sizeof *grown);
        if (grown) { w->locales = grown; }
        uint16_t *order = realloc(w->by_name, cap * sizeof *order);
        if (order) { w->by_name = order; }
        if (!grown || !order) { return no_memory(err); }
        w->cap_locales = cap;
    }
    w->locales[n] = (locale_count){.tag = strdup(tag)};
    if (!w->locales[n].tag) { return no_memory(err); }
    memmove(w->by_name + at + 1, w->by_name + at, (n - at) * sizeof *w->by_name);
    w->by_name[at] = (uint16_t)n;
    w->head.n_locales++;
    return FMP_OK;
}

static fmp_status locale_number(fmp_tokens_writer *w, const char *tag, uint16_t *out, fmp_err *err)
{
    size_t low = 0, high = w->head.n_locales;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(w->locales[w->by_name[mid]].tag, tag);
        if (order == 0) {
            *out = w->by_name[mid];
            return FMP_OK;
        }
        if (order < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    *out = (uint16_t)w->head.n_locales;
    return add_locale(w, tag, low, err);
}

fmp_status fmp_tokens_append(fmp_tokens_writer *w, const uint32_t *ids, const float *weight, uint32_t n,
                             const char *record, const char *locale, fmp_err *err)
{
    uint16_t index;
    FMP_TRY(check_segment(w, ids, weight, n, record, err));
    FMP_TRY(locale_number(w, locale, &index, err));
    if (fwrite(ids, sizeof *ids, n, w->bin) != n) { return io_failed(w->bin_path, err); }
    if (fwrite(weight, sizeof *weight, n, w->part) != n) { return io_failed(w->part_path, err); }
    w->head.n_tokens += n;
    w->head.n_segments++;
    locale_count *count = &w->locales[index];
    count->tokens += n;
    count->segments++;
    w->by_length[length_class(n)]++;
    for (uint32_t i = 0; i < n; i++) {
        count->supervised += weight[i] > 0;
    }
    fmp_buf_add(&w->begin, &w->head.n_tokens, sizeof w->head.n_tokens);
    fmp_buf_add(&w->record, record, FMP_TOKENS_RECORD);
    fmp_buf_add(&w->locale, &index, sizeof index);
    FMP_TRY(fmp_buf_ok(&w->begin, err));
    FMP_TRY(fmp_buf_ok(&w->record, err));
    return fmp_buf_ok(&w->locale, err);
}

/* From order of appearance to byte order of the tags. */
static fmp_status number_locales(fmp_tokens_writer *w, fmp_err *err)
{
    size_t n = w->head.n_locales;
    uint16_t *to = malloc((n + 1) * sizeof *to), *locale = (uint16_t *)(void *)w->locale.data;
    if (!to) { return no_memory(err); }
    for (size_t i = 0; i < n; i++) {
        to[w->by_name[i]] = (uint16_t)i;
    }
    for (uint64_t s = 0; s < w->head.n_segments; s++) {
        locale[s] = to[locale[s]];
    }
    free(to);
    return FMP_OK;
}

/* ---- bins ---- */
typedef struct bins {
    uint32_t *begin, *seg; /* (B + 1), (S), in the arena */
} bins;

static fmp_status make_bins(fmp_tokens_writer *w, bool pack, fmp_arena *arena, bins *out, fmp_err *err)
{
    uint32_t n = (uint32_t)w->head.n_segments, *bin_of = NULL;
    const uint64_t *begin = (const uint64_t *)(const void *)w->begin.data;
    uint32_t *len = fmp_arena_take(arena, ((size_t)n + 1) * sizeof *len);
    FMP_TRY(fmp_arena_ok(arena, err));
    for (uint32_t s = 0; s < n; s++) {
        len[s] = (uint32_t)(begin[s + 1] - begin[s]);
    }
    if (pack) {
        FMP_TRY(fmp_pack_best_fit(len, n, w->head.bin_size, arena, &bin_of, &w->head.n_bins, err));
    } else {
        bin_of = len;
        for (uint32_t s = 0; s < n; s++) {
            bin_of[s] = s;
        }
        w->head.n_bins = n;
    }
    out->begin = fmp_arena_take_zero(arena, (size_t)w->head.n_bins + 3, sizeof *out->begin);
    out->seg = fmp_arena_take(arena, ((size_t)n + 1) * sizeof *out->seg);
    FMP_TRY(fmp_arena_ok(arena, err));
    /* A counting sort by bin, one place to the right, so that filling in leaves begin[] as it should be. */
    for (uint32_t s = 0; s < n; s++) {
        out->begin[bin_of[s] + 2]++;
    }
    for (uint32_t b = 1; b <= w->head.n_bins; b++) {
        out->begin[b] += out->begin[b - 1];
    }
    for (uint32_t s = 0; s < n; s++) {
        out->seg[out->begin[bin_of[s] + 1]++] = s;
    }
    return FMP_OK;
}

/* ---- the files ---- */
static fmp_status put_weights(fmp_tokens_writer *w, fmp_err *err)
{
    char chunk[CHUNK];
    size_t n, total = 0;
    if (fflush(w->part) != 0 || fseek(w->part, 0, SEEK_SET) != 0) { return io_failed(w->part_path, err); }
    while ((n = fread(chunk, 1, sizeof chunk, w->part)) > 0) {
        FMP_TRY(put(w, chunk, n, false, err));
        total += n;
    }
    if (ferror(w->part) || total != w->head.n_tokens * sizeof(float)) { return io_failed(w->part_path, err); }
    static const char zeros[TS_HEADER];
    return put(w, zeros, (TS_HEADER - total % TS_HEADER) % TS_HEADER, false, err);
}

static fmp_status write_bin(fmp_tokens_writer *w, const bins *b, fmp_err *err)
{
    uint64_t begin[TS_SECTIONS];
    static const char zeros[TS_HEADER];
    size_t S = w->head.n_segments, ids = w->head.n_tokens * sizeof(uint32_t);
    if (!ts_layout(&w->head, begin, &w->head.file_size)) {
        return fmp_fail(err, FMP_E_RANGE, "too many tokens");
    }
    ts_check_digest(&w->head, w->head.check);
    FMP_TRY(put(w, zeros, (TS_HEADER - ids % TS_HEADER) % TS_HEADER, false, err));
    FMP_TRY(put_weights(w, err));
    FMP_TRY(put(w, w->begin.data, w->begin.len, true, err));
    FMP_TRY(put(w, w->locale.data, w->locale.len, true, err));
    FMP_TRY(put(w, b->begin, ((size_t)w->head.n_bins + 1) * sizeof *b->begin, true, err));
    FMP_TRY(put(w, b->seg, S * sizeof *b->seg, false, err));
    if (fseek(w->bin, 0, SEEK_SET) != 0) { return io_failed(w->bin_path, err); }
    FMP_TRY(put(w, &w->head, sizeof w->head, false, err));
    FILE *bin = w->bin;
    w->bin = NULL;
    return fclose(bin) == 0 ? FMP_OK : io_failed(w->bin_path, err);
}

/* Six decimals, made from whole numbers: the same text everywhere. */
static void add_share(cJSON *node, uint64_t part, uint64_t whole)
{
    char text[32];
    snprintf(text, sizeof text, "%.6f", whole ? (double)part / (double)whole : 0.0);
    cJSON_AddRawToObject(node, "supervised_share", text);
}

static void add_counts(cJSON *node, uint64_t segments, uint64_t tokens, uint64_t supervised)
{
    cJSON_AddNumberToObject(node, "segments", (double)segments);
    cJSON_AddNumberToObject(node, "tokens", (double)tokens);
    cJSON_AddNumberToObject(node, "supervised_tokens", (double)supervised);
    add_share(node, supervised, tokens);
}

/* Lengths of the segments: smallest, some percentiles, largest, mean. */
static fmp_status add_lengths(fmp_tokens_writer *w, fmp_err *err)
{
    static const struct {
        const char *name;
        unsigned percent;
    } marks[] = {{"min", 0}, {"p50", 50}, {"p90", 90}, {"p99", 99}, {"max", 100}};
    const uint64_t *begin = (const uint64_t *)(const void *)w->begin.data, n = w->head.n_segments;
    uint64_t *count = calloc((size_t)w->head.max_tokens + 1, sizeof *count), below = 0;
    if (!count) { return no_memory(err); }
    for (uint64_t s = 0; s < n; s++) {
        count[begin[s + 1] - begin[s]]++;
    }
    cJSON *length = cJSON_AddObjectToObject(w->meta, "length");
    size_t k = 0, n_marks = sizeof marks / sizeof *marks;
    for (uint32_t tokens = 1; n > 0 && tokens <= w->head.max_tokens && k < n_marks; tokens++) {
        below += count[tokens];
        for (; k < n_marks && below > 0 && below * 100 >= n * marks[k].percent; k++) {
            cJSON_AddNumberToObject(length, marks[k].name, tokens);
        }
    }
    char mean[32];
    snprintf(mean, sizeof mean, "%.6f", n > 0 ? (double)w->head.n_tokens / (double)n : 0.0);
    cJSON_AddRawToObject(length, "mean", mean);
    free(count);
    cJSON *classes = cJSON_AddArrayToObject(w->meta, "lengths");
    for (unsigned c = 0; c < LENGTH_CLASSES; c++) {
        if (w->by_length[c] == 0) { continue; }
        cJSON *one = cJSON_CreateObject();
        cJSON_AddNumberToObject(one, "up_to", (double)(UINT64_C(1) << c));
        cJSON_AddNumberToObject(one, "segments", (double)w->by_length[c]);
        cJSON_AddItemToArray(classes, one);
    }
    return FMP_OK;
}

static void add_locales(fmp_tokens_writer *w)
{
    cJSON *names = cJSON_AddArrayToObject(w->meta, "locales"),
          *by = cJSON_AddArrayToObject(w->meta, "by_locale");
    for (uint32_t i = 0; i < w->head.n_locales; i++) {
        const locale_count *count = &w->locales[w->by_name[i]];
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "locale", count->tag);
        add_counts(one, count->segments, count->tokens, count->supervised);
        cJSON_AddItemToArray(by, one);
        cJSON_AddItemToArray(names, cJSON_CreateString(count->tag));
    }
}

static fmp_status write_meta(fmp_tokens_writer *w, bool pack, fmp_err *err)
{
    uint64_t supervised = 0;
    for (uint32_t i = 0; i < w->head.n_locales; i++) {
        supervised += w->locales[i].supervised;
    }
    add_counts(w->meta, w->head.n_segments, w->head.n_tokens, supervised);
    cJSON_AddNumberToObject(w->meta, "bins", w->head.n_bins);
    cJSON_AddNumberToObject(w->meta, "bin_size", w->head.bin_size);
    cJSON_AddBoolToObject(w->meta, "packed", pack);
    cJSON_AddNumberToObject(w->meta, "max_tokens", w->head.max_tokens);
    cJSON_AddNumberToObject(w->meta, "vocab_size", w->head.vocab_size);
    FMP_TRY(add_lengths(w, err));
    add_locales(w);
    char *text = fmp_json_text(w->meta, FMP_JSON_PRETTY);
    if (!text) { return no_memory(err); }
    fmp_status status = ts_write_file(w->meta_path, text, strlen(text), err);
    free(text);
    return status;
}

fmp_status fmp_tokens_finish(fmp_tokens_writer *w, bool pack, fmp_err *err)
{
    bins b = {NULL, NULL};
    fmp_arena *arena = fmp_arena_new(0);
    if (!arena) { return no_memory(err); }
    fmp_status status = number_locales(w, err);
    if (status == FMP_OK) { status = make_bins(w, pack, arena, &b, err); }
    if (status == FMP_OK) { status = write_bin(w, &b, err); }
    if (status == FMP_OK) {
        status = ts_write_file(w->records_path, w->record.data ? w->record.data : "", w->record.len, err);
    }
    if (status == FMP_OK) { status = write_meta(w, pack, err); }
    fmp_arena_free(arena);
    return status;
}
