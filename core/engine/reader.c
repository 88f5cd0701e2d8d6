/*
 * reader.c: fmp.records/1 reading: batches of about 1 MiB, parsed on all threads, handed out in order.
 *
 * Each batch is cut into a fixed number of parts; a part has an arena of its own, so threads share nothing.
 * The items of all parts lie in one array in line order, which is what the stage sees.
 */
#include "records.h"

#include <stdlib.h>

#define BATCH_BYTES ((size_t)1 << 20)
#define N_PARTS     8
#define KEEP_BYTES  ((size_t)4 << 20)

typedef struct line_span {
    const char *text;
    size_t len;
} line_span;

typedef struct part {
    fmp_arena *arena;
    fmp_status status;
    fmp_err err;
} part;

struct fmp_reader {
    fmp_records in;
    fmp_pool *pool; /* borrowed */
    fmp_buf text;
    uint64_t first_line;
    uint64_t n_read;
    line_span *lines;
    fmp_item *items;
    fmp_record *records; /* of the items, side by side, as the ABI hands them out */
    size_t n, cap;
    part parts[N_PARTS];
    fmp_reader **place; /* whoever wants to know that it is open */
};

fmp_status fmp_reader_open(const char *data_dir, fmp_pool *pool, fmp_reader **out, fmp_err *err)
{
    *out = NULL;
    fmp_reader *r = calloc(1, sizeof *r);
    if (!r) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for reading records"); }
    r->in.fd = -1;
    r->pool = pool;
    fmp_status st = FMP_OK;
    for (int i = 0; st == FMP_OK && i < N_PARTS; i++) {
        r->parts[i].arena = fmp_arena_new(0);
        if (!r->parts[i].arena) { st = fmp_fail(err, FMP_E_NOMEM, "out of memory for reading records"); }
    }
    if (st == FMP_OK) { st = fmp_records_open(data_dir, &r->in, err); }
    if (st != FMP_OK) {
        fmp_reader_close(r);
        return st;
    }
    *out = r;
    return FMP_OK;
}

void fmp_reader_track(fmp_reader *r, fmp_reader **place)
{
    r->place = place;
    *place = r;
}

void fmp_reader_close(fmp_reader *r)
{
    if (!r) { return; }
    if (r->place) { *r->place = NULL; }
    for (int i = 0; i < N_PARTS; i++) {
        fmp_arena_free(r->parts[i].arena);
    }
    fmp_records_close(&r->in);
    fmp_buf_free(&r->text);
    free(r->lines);
    free(r->items);
    free(r->records);
    free(r);
}

static fmp_status grow(fmp_reader *r, fmp_err *err)
{
    size_t cap = r->cap ? 2 * r->cap : 1024;
    void *lines = reallocarray(r->lines, cap, sizeof *r->lines);
    if (lines) { r->lines = lines; }
    void *items = reallocarray(r->items, cap, sizeof *r->items);
    if (items) { r->items = items; }
    void *records = reallocarray(r->records, cap, sizeof *r->records);
    if (records) { r->records = records; }
    if (!lines || !items || !records) {
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for a batch of records");
    }
    r->cap = cap;
    return FMP_OK;
}

static fmp_status split_lines(fmp_reader *r, fmp_err *err)
{
    r->n = 0;
    for (const char *p = r->text.data, *end = p + r->text.len; p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p)); /* fetch ends its text in a newline */
        if (r->n == r->cap) { FMP_TRY(grow(r, err)); }
        r->lines[r->n++] = (line_span){p, (size_t)(stop - p)};
        p = stop + 1;
    }
    return FMP_OK;
}

static void parse_part(void *arg, size_t index)
{
    fmp_reader *r = arg;
    part *own = &r->parts[index];
    size_t begin = r->n * index / N_PARTS, end = r->n * (index + 1) / N_PARTS;
    fmp_arena *before = fmp_json_scope(own->arena);
    own->status = FMP_OK;
    for (size_t i = begin; own->status == FMP_OK && i < end; i++) {
        own->status = fmp_records_parse(&r->in, r->lines[i].text, r->lines[i].len, r->first_line + i,
                                        &r->items[i], &own->err);
        r->records[i] = r->items[i].record;
    }
    if (own->status == FMP_OK) { own->status = fmp_arena_ok(own->arena, &own->err); }
    fmp_json_scope(before);
}

fmp_status fmp_reader_next(fmp_reader *r, const fmp_record **records, size_t *n, fmp_err *err)
{
    *records = NULL;
    *n = r->n = 0;
    for (int i = 0; i < N_PARTS; i++) {
        fmp_arena_reset(r->parts[i].arena, KEEP_BYTES);
    }
    FMP_TRY(fmp_records_fetch(&r->in, BATCH_BYTES, &r->text, &r->first_line, err));
    if (r->text.len > 0) { FMP_TRY(split_lines(r, err)); }
    r->n_read += r->n;
    if (r->n == 0 && r->n_read != r->in.n) {
        return fmp_fail(err, FMP_E_DATA, "expected %" PRIu64 " records in %s, found %" PRIu64, r->in.n,
                        r->in.path, r->n_read);
    }
    fmp_pool_for(r->pool, r->n ? N_PARTS : 0, parse_part, r);
    for (int i = 0; r->n && i < N_PARTS; i++) {
        if (r->parts[i].status == FMP_OK) { continue; }
        if (err) { *err = r->parts[i].err; }
        return r->parts[i].status;
    }
    *records = r->records;
    *n = r->n;
    return FMP_OK;
}

const fmp_item *fmp_reader_item(const fmp_reader *r, const fmp_record *record)
{
    uintptr_t at = (uintptr_t)record, first = (uintptr_t)r->records;
    if (!r->n || at < first || at >= (uintptr_t)(r->records + r->n)) { return NULL; }
    return &r->items[(at - first) / sizeof *r->records];
}

const fmp_file_table *fmp_reader_files(const fmp_reader *r)
{
    return &r->in.files;
}
