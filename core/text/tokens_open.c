/*
 * tokens_open.c: mapping a token artifact. Nothing in the file is believed before it has been compared with
 * the file's real size, and no index is used before it has been compared with its range.
 */
#include "tokens_impl.h"

#include <fmpipe/fs.h>
#include <fmpipe/json.h>
#include <math.h>
#include <stdlib.h>

struct fmp_tokens_owner {
    fmp_map map, records;
    fmp_arena *arena; /* strings of meta.json */
};

bool ts_layout(const ts_header *h, uint64_t begin[TS_SECTIONS], uint64_t *file_size)
{
    size_t seg1, at = TS_HEADER;
    if (!fmp_add_ok(h->n_segments, 1, &seg1)) { return false; }
    const struct {
        size_t n, size;
    } sections[TS_SECTIONS] = {
        {h->n_tokens, 4},   {h->n_tokens, 4},           {seg1, 8},
        {h->n_segments, 2}, {(size_t)h->n_bins + 1, 4}, {h->n_segments, 4},
    };
    for (int i = 0; i < TS_SECTIONS; i++) {
        size_t bytes;
        begin[i] = at;
        if (!fmp_mul_ok(sections[i].n, sections[i].size, &bytes) || !fmp_add_ok(at, bytes, &at)) {
            return false;
        }
        if (i + 1 < TS_SECTIONS) {
            if (!fmp_add_ok(at, 63, &at)) { return false; }
            at &= ~(size_t)63;
        }
    }
    *file_size = at;
    return at <= (size_t)INT64_MAX;
}

void ts_check_digest(const ts_header *h, unsigned char check[8])
{
    unsigned char digest[32];
    fmp_sha256_bytes(h, offsetof(ts_header, check), digest);
    memcpy(check, digest, 8);
}

/* Malformed at `offset` of the file (UINT64_MAX: not one place). */
FMP_PRINTF(4, 5) static fmp_status bad(fmp_err *err, const char *path, uint64_t offset, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)fmp_fail(err, FMP_E_DATA, "%s", text);
    (void)fmp_err_at(err, path, 0, 0, offset);
    return FMP_E_DATA;
}

static fmp_status check_header(const ts_header *h, uint64_t size, const char *path,
                               uint64_t begin[TS_SECTIONS], fmp_err *err)
{
    unsigned char check[8];
    uint64_t expected = 0;
    if (memcmp(h->magic, TS_MAGIC, 8) != 0) {
        return bad(err, path, 0, "expected a token file, found another kind");
    }
    if (h->version != TS_VERSION) {
        return bad(err, path, 8, "expected version %u, found %u", TS_VERSION, h->version);
    }
    ts_check_digest(h, check);
    if (memcmp(check, h->check, 8) != 0) {
        return bad(err, path, 56, "the header's check digits do not fit");
    }
    if (h->file_size != size) {
        return bad(err, path, 48, "expected %llu bytes as the header says, found %llu",
                   (unsigned long long)h->file_size, (unsigned long long)size);
    }
    if (!ts_layout(h, begin, &expected) || expected != size) {
        return bad(err, path, 16, "%llu tokens, %llu segments and %u bins do not make %llu bytes",
                   (unsigned long long)h->n_tokens, (unsigned long long)h->n_segments, h->n_bins,
                   (unsigned long long)size);
    }
    if (h->bin_size == 0 || h->bin_size > FMP_TOKENS_MAX_BIN || h->max_tokens == 0 ||
        h->max_tokens > h->bin_size) {
        return bad(err, path, 12, "expected max_tokens 1..bin_size, found max_tokens %u, bin_size %u",
                   h->max_tokens, h->bin_size);
    }
    if (h->n_segments >= UINT32_MAX || h->n_bins > h->n_segments || h->n_locales > UINT16_MAX) {
        return bad(err, path, 24, "the counts of segments, bins or locales are too large");
    }
    return FMP_OK;
}

static fmp_status check_segments(const fmp_tokens *t, const char *path, fmp_err *err)
{
    for (uint64_t s = 0; s <= t->n_segments; s++) {
        uint64_t before = s ? t->seg_begin[s - 1] : 0, here = t->seg_begin[s];
        uint64_t last = s == t->n_segments ? t->n_tokens : here;
        bool fits = s == 0 ? here == 0 : here > before && here - before <= t->max_tokens;
        if (!fits || here != last || here > t->n_tokens) {
            return bad(err, path, UINT64_MAX,
                       "segment border %llu: expected up to %u tokens after %llu and %llu in all, found %llu",
                       (unsigned long long)s, t->max_tokens, (unsigned long long)before,
                       (unsigned long long)t->n_tokens, (unsigned long long)here);
        }
    }
    for (uint64_t s = 0; s < t->n_segments; s++) {
        if (t->locale[s] >= t->n_locales) {
            return bad(err, path, UINT64_MAX, "segment %llu: expected a locale below %u, found %u",
                       (unsigned long long)s, t->n_locales, t->locale[s]);
        }
        if (t->weight[t->seg_begin[s]] != 0) {
            return bad(err, path, UINT64_MAX, "segment %llu: the first token has a weight",
                       (unsigned long long)s);
        }
    }
    return FMP_OK;
}

static fmp_status check_tokens(const fmp_tokens *t, const char *path, fmp_err *err)
{
    for (uint64_t i = 0; i < t->n_tokens; i++) {
        if (t->ids[i] >= t->vocab_size) {
            return bad(err, path, TS_HEADER + i * 4, "token %llu: expected an id below %u, found %u",
                       (unsigned long long)i, t->vocab_size, t->ids[i]);
        }
        if (!(t->weight[i] >= 0) || !isfinite(t->weight[i])) {
            return bad(err, path, UINT64_MAX, "token %llu: expected a weight of 0 or more, found %.9g",
                       (unsigned long long)i, (double)t->weight[i]);
        }
    }
    return FMP_OK;
}

/* bin_begin rises from 0 to S, bin_seg has every segment once, no bin has more than bin_size tokens. seen:
 * (S) zeros */
static fmp_status check_bins(const fmp_tokens *t, uint8_t *seen, const char *path, fmp_err *err)
{
    if (t->bin_begin[0] != 0 || t->bin_begin[t->n_bins] != t->n_segments) {
        return bad(err, path, UINT64_MAX, "expected bins over segments 0 to %llu, found %u to %u",
                   (unsigned long long)t->n_segments, t->bin_begin[0], t->bin_begin[t->n_bins]);
    }
    for (uint32_t b = 0; b < t->n_bins; b++) {
        uint64_t tokens = 0;
        if (t->bin_begin[b + 1] <= t->bin_begin[b] || t->bin_begin[b + 1] > t->n_segments) {
            return bad(err, path, UINT64_MAX,
                       "bin %u: expected at least one segment of %llu, found border %u", b,
                       (unsigned long long)t->n_segments, t->bin_begin[b + 1]);
        }
        for (uint32_t k = t->bin_begin[b]; k < t->bin_begin[b + 1]; k++) {
            uint32_t s = t->bin_seg[k];
            if (s >= t->n_segments || seen[s]) {
                return bad(err, path, UINT64_MAX, "bin %u: expected each segment once, found %u", b, s);
            }
            seen[s] = 1;
            tokens += t->seg_begin[s + 1] - t->seg_begin[s];
        }
        if (tokens > t->bin_size) {
            return bad(err, path, UINT64_MAX, "bin %u: expected at most %u tokens, found %llu", b,
                       t->bin_size, (unsigned long long)tokens);
        }
    }
    return FMP_OK;
}

static fmp_status check_all(const fmp_tokens *t, const char *path, fmp_err *err)
{
    FMP_TRY(check_segments(t, path, err));
    FMP_TRY(check_tokens(t, path, err));
    uint8_t *seen = calloc((size_t)t->n_segments + 1, 1);
    if (!seen) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for %s", path); }
    fmp_status status = check_bins(t, seen, path, err);
    free(seen);
    return status;
}

/* The strings of meta.json, and that it belongs to this tokens.bin. */
static fmp_status take_meta(fmp_tokens *t, const cJSON *meta, const char *path, fmp_err *err)
{
    fmp_arena *arena = t->owner->arena;
    const cJSON *locales = fmp_json_get(meta, "locales"), *name;
    const struct {
        const char *key;
        double value;
    } counts[] = {
        {"tokens", (double)t->n_tokens}, {"segments", (double)t->n_segments}, {"bins", t->n_bins},
        {"bin_size", t->bin_size},       {"max_tokens", t->max_tokens},       {"vocab_size", t->vocab_size},
    };
    if (strcmp(fmp_json_str(meta, "format", ""), TS_META_FORMAT) != 0) {
        return bad(err, path, UINT64_MAX, "expected format \"%s\", found \"%s\"", TS_META_FORMAT,
                   fmp_json_str(meta, "format", ""));
    }
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        double found = fmp_json_num(meta, counts[i].key, -1);
        if (found != counts[i].value) {
            return bad(err, path, UINT64_MAX, "%s: expected %.0f as in %s, found %.0f", counts[i].key,
                       counts[i].value, TS_FILE, found);
        }
    }
    if (!cJSON_IsArray(locales) || (uint32_t)cJSON_GetArraySize(locales) != t->n_locales) {
        return bad(err, path, UINT64_MAX, "locales: expected %u names as in %s", t->n_locales, TS_FILE);
    }
    const char **names = fmp_arena_take(arena, ((size_t)t->n_locales + 1) * sizeof *names);
    FMP_TRY(fmp_arena_ok(arena, err));
    size_t n = 0;
    cJSON_ArrayForEach(name, locales)
    {
        if (!cJSON_IsString(name)) {
            return bad(err, path, UINT64_MAX, "locales[%zu]: expected a string", n);
        }
        names[n++] = fmp_arena_strdup(arena, name->valuestring);
    }
    t->locales = names;
    t->tokenizer_digest = fmp_arena_strdup(arena, fmp_json_str(meta, "tokenizer_digest", ""));
    t->template_digest = fmp_arena_strdup(arena, fmp_json_str(meta, "template_digest", ""));
    return fmp_arena_ok(arena, err);
}

static fmp_status open_bin(fmp_tokens *t, const char *path, fmp_err *err)
{
    uint64_t begin[TS_SECTIONS];
    ts_header h;
    fmp_map *map = &t->owner->map;
    FMP_TRY(fmp_map_file(path, map, err));
    if (map->len < TS_HEADER) {
        return bad(err, path, 0, "expected %u bytes of header, found %zu", TS_HEADER, map->len);
    }
    memcpy(&h, map->data, sizeof h);
    FMP_TRY(check_header(&h, map->len, path, begin, err));
    const unsigned char *p = map->data;
    t->n_tokens = h.n_tokens;
    t->n_segments = h.n_segments;
    t->n_bins = h.n_bins;
    t->bin_size = h.bin_size;
    t->max_tokens = h.max_tokens;
    t->vocab_size = h.vocab_size;
    t->n_locales = h.n_locales;
    t->ids = (const void *)(p + begin[TS_IDS]);
    t->weight = (const void *)(p + begin[TS_WEIGHT]);
    t->seg_begin = (const void *)(p + begin[TS_SEG_BEGIN]);
    t->locale = (const void *)(p + begin[TS_LOCALE]);
    t->bin_begin = (const void *)(p + begin[TS_BIN_BEGIN]);
    t->bin_seg = (const void *)(p + begin[TS_BIN_SEG]);
    return check_all(t, path, err);
}

/* After open_bin: one id of 16 hex digits for each segment. */
static fmp_status open_records(fmp_tokens *t, const char *path, fmp_err *err)
{
    fmp_map *map = &t->owner->records;
    FMP_TRY(fmp_map_file(path, map, err));
    if (map->len != t->n_segments * FMP_TOKENS_RECORD) {
        return bad(err, path, UINT64_MAX, "expected %llu ids of %d bytes, found %zu bytes",
                   (unsigned long long)t->n_segments, FMP_TOKENS_RECORD, map->len);
    }
    for (size_t i = 0; i < map->len; i++) {
        unsigned char c = map->data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return bad(err, path, i, "segment %zu: expected 16 hex digits as record id",
                       i / FMP_TOKENS_RECORD);
        }
    }
    t->record = (const char *)map->data;
    return FMP_OK;
}

static fmp_status open_meta(fmp_tokens *t, const char *path, fmp_err *err)
{
    cJSON *meta = NULL;
    FMP_TRY(fmp_json_load(path, NULL, &meta, err));
    fmp_status status = take_meta(t, meta, path, err);
    cJSON_Delete(meta);
    return status;
}

fmp_status fmp_tokens_open(const char *dir, fmp_tokens *out, fmp_err *err)
{
    fmp_tokens t = {0};
    char *bin = fmp_path_join(dir, TS_FILE), *meta = fmp_path_join(dir, TS_META);
    char *records = fmp_path_join(dir, TS_RECORDS);
    t.owner = calloc(1, sizeof *t.owner);
    if (t.owner) { t.owner->arena = fmp_arena_new(0); }
    fmp_status status = FMP_OK;
    if (!bin || !meta || !records || !t.owner || !t.owner->arena) {
        status = fmp_fail(err, FMP_E_NOMEM, "out of memory for %s", dir);
    }
    if (status == FMP_OK) { status = open_bin(&t, bin, err); }
    if (status == FMP_OK) { status = open_records(&t, records, err); }
    if (status == FMP_OK) { status = open_meta(&t, meta, err); }
    free(records);
    free(bin);
    free(meta);
    if (status != FMP_OK) {
        fmp_tokens_close(&t);
        return status;
    }
    *out = t;
    return FMP_OK;
}

void fmp_tokens_close(fmp_tokens *t)
{
    if (t->owner) {
        fmp_unmap(&t->owner->map);
        fmp_unmap(&t->owner->records);
        fmp_arena_free(t->owner->arena);
        free(t->owner);
    }
    *t = (fmp_tokens){0};
}
