/*
 * tokens_write.c: writing a token artifact. Ids go straight to their place in tokens.bin and weights to a file beside it,
 * since where the weights begin is known at the end only; what belongs to segments stays in memory.
 *
 * The folder is published as a whole by whoever asked for it: nothing here needs to be atomic.
 */
#include "tokens_impl.h"

#include <fmpipe/fs.h>
#include <fmpipe/json.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TS_WEIGHTS "weights.part"
#define CHUNK 65536u
#define LENGTH_CLASSES 33 /* 1, 2, 3..4, 5..8, ... */

struct fmp_tokens_writer {
    ts_header head;
    char *bin_path, *part_path, *meta_path, *records_path;
    FILE *bin, *part;
    fmp_buf begin, record, locale; /* u64 (S + 1), 16 bytes (S), u16 (S) */
    cJSON *meta, *golden;
    uint64_t *tokens, *supervised, *segments; /* (n_locales) */
    uint64_t by_length[LENGTH_CLASSES];
};

static fmp_status io_failed(const char *path, fmp_err *err)
{
    fmp_status status = fmp_fail(err, FMP_E_IO, "cannot write %s: %s", path, strerror(errno));
    (void)fmp_err_at(err, path, 0, 0, UINT64_MAX);
    return status;
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
        return fmp_fail(err, FMP_E_RANGE, "expected max_tokens 1..bin_size and bin_size up to %u, found %u and %u",
                        FMP_TOKENS_MAX_BIN, info->max_tokens, info->bin_size);
    }
    if (info->n_locales > UINT16_MAX) {
        return fmp_fail(err, FMP_E_RANGE, "expected at most %u locales, found %u", UINT16_MAX, info->n_locales);
    }
    return FMP_OK;
}

static fmp_status init_meta(fmp_tokens_writer *w, const fmp_tokens_info *info, fmp_err *err)
{
    cJSON *locales = cJSON_CreateArray();
    w->meta = cJSON_CreateObject();
    w->golden = cJSON_CreateArray();
    cJSON_AddStringToObject(w->meta, "format", TS_META_FORMAT);
    cJSON_AddStringToObject(w->meta, "tokenizer_digest", info->tokenizer_digest ? info->tokenizer_digest : "");
    cJSON_AddStringToObject(w->meta, "template_digest", info->template_digest ? info->template_digest : "");
    for (uint32_t i = 0; i < info->n_locales; i++) {
        cJSON_AddItemToArray(locales, cJSON_CreateString(info->locales[i]));
    }
    bool ok = w->meta && w->golden && cJSON_AddItemToObject(w->meta, "locales", locales) &&
              (uint32_t)cJSON_GetArraySize(locales) == info->n_locales;
    return ok ? FMP_OK : no_memory(err);
}

static fmp_status init(fmp_tokens_writer *w, const char *dir, const fmp_tokens_info *info, fmp_err *err)
{
    uint64_t zero = 0;
    size_t n = (size_t)info->n_locales + 1;
    memcpy(w->head.magic, TS_MAGIC, sizeof w->head.magic);
    w->head.version = TS_VERSION;
    w->head.bin_size = info->bin_size;
    w->head.max_tokens = info->max_tokens;
    w->head.vocab_size = info->vocab_size;
    w->head.n_locales = info->n_locales;
    w->bin_path = fmp_path_join(dir, TS_FILE);
    w->part_path = fmp_path_join(dir, TS_WEIGHTS);
    w->meta_path = fmp_path_join(dir, TS_META);
    w->records_path = fmp_path_join(dir, TS_RECORDS);
    w->tokens = calloc(n, sizeof *w->tokens);
    w->supervised = calloc(n, sizeof *w->supervised);
    w->segments = calloc(n, sizeof *w->segments);
    if (!w->bin_path || !w->part_path || !w->meta_path || !w->records_path || !w->tokens || !w->supervised ||
        !w->segments) {
        return no_memory(err);
    }
    FMP_TRY(init_meta(w, info, err));
    FMP_TRY(fmp_mkdirs(dir, err));
    w->bin = fopen(w->bin_path, "wb");
    if (!w->bin) { return io_failed(w->bin_path, err); }
    w->part = fopen(w->part_path, "w+b");
    if (!w->part) { return io_failed(w->part_path, err); }
    fmp_buf_add(&w->begin, &zero, sizeof zero);
    return put(w, &w->head, sizeof w->head, false, err);
}

fmp_status fmp_tokens_writer_new(const char *dir, const fmp_tokens_info *info, fmp_tokens_writer **out, fmp_err *err)
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
    cJSON_Delete(w->golden);
    free(w->tokens);
    free(w->supervised);
    free(w->segments);
    free(w->bin_path);
    free(w->part_path);
    free(w->meta_path);
    free(w->records_path);
    free(w);
}

static fmp_status check_segment(const fmp_tokens_writer *w, const uint32_t *ids, const float *weight, uint32_t n,
                                const char *record, uint32_t locale, fmp_err *err)
{
    if (n == 0 || n > w->head.max_tokens) {
        return fmp_fail(err, FMP_E_RANGE, "expected a segment of 1 to %u tokens, found %u", w->head.max_tokens, n);
    }
    if (w->head.n_segments >= UINT32_MAX - 1) { return fmp_fail(err, FMP_E_RANGE, "too many segments"); }
    if (locale >= w->head.n_locales) {
        return fmp_fail(err, FMP_E_RANGE, "expected a locale below %u, found %u", w->head.n_locales, locale);
    }
    if (strnlen(record, FMP_TOKENS_RECORD) < FMP_TOKENS_RECORD ||
        strspn(record, "0123456789abcdef") < FMP_TOKENS_RECORD) {
        return fmp_fail(err, FMP_E_RANGE, "expected a record id of 16 hex digits, found \"%.20s\"", record);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (ids[i] >= w->head.vocab_size) {
            return fmp_fail(err, FMP_E_RANGE, "token %u: expected an id below %u, found %u", i, w->head.vocab_size,
                            ids[i]);
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

fmp_status fmp_tokens_append(fmp_tokens_writer *w, const uint32_t *ids, const float *weight, uint32_t n,
                             const char *record, uint32_t locale, fmp_err *err)
{
    uint16_t index = (uint16_t)locale;
    FMP_TRY(check_segment(w, ids, weight, n, record, locale, err));
    if (fwrite(ids, sizeof *ids, n, w->bin) != n) { return io_failed(w->bin_path, err); }
    if (fwrite(weight, sizeof *weight, n, w->part) != n) { return io_failed(w->part_path, err); }
    w->head.n_tokens += n;
    w->head.n_segments++;
    w->tokens[locale] += n;
    w->segments[locale]++;
    w->by_length[length_class(n)]++;
    for (uint32_t i = 0; i < n; i++) { w->supervised[locale] += weight[i] > 0; }
    fmp_buf_add(&w->begin, &w->head.n_tokens, sizeof w->head.n_tokens);
    fmp_buf_add(&w->record, record, FMP_TOKENS_RECORD);
    fmp_buf_add(&w->locale, &index, sizeof index);
    FMP_TRY(fmp_buf_ok(&w->begin, err));
    FMP_TRY(fmp_buf_ok(&w->record, err));
    return fmp_buf_ok(&w->locale, err);
}

fmp_status fmp_tokens_golden(fmp_tokens_writer *w, const char *text, const uint32_t *ids, uint32_t n, fmp_err *err)
{
    cJSON *pair = cJSON_CreateObject(), *list = cJSON_CreateArray();
    bool ok = pair && list && cJSON_AddStringToObject(pair, "text", text);
    for (uint32_t i = 0; i < n && ok; i++) { ok = cJSON_AddItemToArray(list, cJSON_CreateNumber(ids[i])); }
    if (!ok || !cJSON_AddItemToObject(pair, "ids", list)) {
        cJSON_Delete(list);
        cJSON_Delete(pair);
        return no_memory(err);
    }
    cJSON_AddItemToArray(w->golden, pair);
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
    for (uint32_t s = 0; s < n; s++) { len[s] = (uint32_t)(begin[s + 1] - begin[s]); }
    if (pack) {
        FMP_TRY(fmp_pack_best_fit(len, n, w->head.bin_size, arena, &bin_of, &w->head.n_bins, err));
    } else {
        bin_of = len;
        for (uint32_t s = 0; s < n; s++) { bin_of[s] = s; }
        w->head.n_bins = n;
    }
    out->begin = fmp_arena_take_zero(arena, (size_t)w->head.n_bins + 3, sizeof *out->begin);
    out->seg = fmp_arena_take(arena, ((size_t)n + 1) * sizeof *out->seg);
    FMP_TRY(fmp_arena_ok(arena, err));
    /* A counting sort by bin, one place to the right, so that filling in leaves begin[] as it should be. */
    for (uint32_t s = 0; s < n; s++) { out->begin[bin_of[s] + 2]++; }
    for (uint32_t b = 1; b <= w->head.n_bins; b++) { out->begin[b] += out->begin[b - 1]; }
    for (uint32_t s = 0; s < n; s++) { out->seg[out->begin[bin_of[s] + 1]++] = s; }
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
    if (!ts_layout(&w->head, begin, &w->head.file_size)) { return fmp_fail(err, FMP_E_RANGE, "too many tokens"); }
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
    bool synced = fflush(bin) == 0 && fsync(fileno(bin)) == 0;
    return fclose(bin) == 0 && synced ? FMP_OK : io_failed(w->bin_path, err);
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

static fmp_status write_meta(fmp_tokens_writer *w, bool pack, fmp_err *err)
{
    uint64_t supervised = 0;
    const cJSON *name = fmp_json_get(w->meta, "locales");
    name = name->child;
    for (uint32_t i = 0; i < w->head.n_locales; i++) { supervised += w->supervised[i]; }
    add_counts(w->meta, w->head.n_segments, w->head.n_tokens, supervised);
    cJSON_AddNumberToObject(w->meta, "bins", w->head.n_bins);
    cJSON_AddNumberToObject(w->meta, "bin_size", w->head.bin_size);
    cJSON_AddBoolToObject(w->meta, "packed", pack);
    cJSON_AddNumberToObject(w->meta, "max_tokens", w->head.max_tokens);
    cJSON_AddNumberToObject(w->meta, "vocab_size", w->head.vocab_size);
    cJSON *by_locale = cJSON_AddArrayToObject(w->meta, "by_locale");
    for (uint32_t i = 0; i < w->head.n_locales; i++, name = name->next) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "locale", name->valuestring);
        add_counts(one, w->segments[i], w->tokens[i], w->supervised[i]);
        cJSON_AddItemToArray(by_locale, one);
    }
    cJSON *lengths = cJSON_AddArrayToObject(w->meta, "lengths");
    for (unsigned k = 0; k < LENGTH_CLASSES; k++) {
        if (w->by_length[k] == 0) { continue; }
        cJSON *one = cJSON_CreateObject();
        cJSON_AddNumberToObject(one, "up_to", (double)(UINT64_C(1) << k));
        cJSON_AddNumberToObject(one, "segments", (double)w->by_length[k]);
        cJSON_AddItemToArray(lengths, one);
    }
    cJSON_AddItemToObject(w->meta, "golden", w->golden);
    w->golden = NULL;
    char *text = fmp_json_text(w->meta, FMP_JSON_PRETTY);
    if (!text) { return no_memory(err); }
    fmp_status status = fmp_write_file(w->meta_path, text, strlen(text), err);
    free(text);
    return status;
}

fmp_status fmp_tokens_finish(fmp_tokens_writer *w, bool pack, fmp_err *err)
{
    bins b = { NULL, NULL };
    fmp_arena *arena = fmp_arena_new(0);
    if (!arena) { return no_memory(err); }
    fmp_status status = make_bins(w, pack, arena, &b, err);
    if (status == FMP_OK) { status = write_bin(w, &b, err); }
    if (status == FMP_OK) {
        status = fmp_write_file(w->records_path, w->record.data ? w->record.data : "", w->record.len, err);
    }
    if (status == FMP_OK) { status = write_meta(w, pack, err); }
    fmp_arena_free(arena);
    return status;
}
