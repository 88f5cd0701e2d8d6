/*
 * records.c: reading and writing the lines of a records artifact.
 *
 * The members of a line have a fixed order, so the head is matched byte by byte and only the document goes
 * through the JSON parser. A store is input like any other: every length and index is checked, and what is
 * wrong is named.
 */
#include "records.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define WRITE_BYTES ((size_t)1 << 20)
#define FILES_MAX   1000000

void fmp_record_id(const char *source, uint64_t index, char id[17])
{
    unsigned char text[128], digest[32];
    size_t n = strnlen(source, sizeof text - 9);
    memcpy(text, source, n);
    text[n++] = '\0'; /* so that source and index cannot run into each other */
    for (int i = 0; i < 8; i++) {
        text[n++] = (unsigned char)(index >> (8 * i));
    }
    fmp_sha256_bytes(text, n, digest);
    fmp_hex(digest, 8, id);
}

/* -------------------------------------------------------------------------------------------- file tables */

uint32_t fmp_file_table_add(fmp_file_table *table, const char *name, const char *digest, fmp_err *err)
{
    /* From the end: consecutive records come from one file. */
    for (size_t i = table->n; i-- > 0;) {
        if (strcmp(table->names[i], name) == 0) { return (uint32_t)i; }
    }
    if (table->n == table->cap) {
        size_t cap = table->cap ? 2 * table->cap : 8;
        char **names = reallocarray(table->names, cap, sizeof *names);
        if (names) { table->names = names; }
        char(*digests)[65] = reallocarray(table->digests, cap, sizeof *digests);
        if (digests) { table->digests = digests; }
        if (!names || !digests) { goto nomem; }
        table->cap = cap;
    }
    table->names[table->n] = strdup(name);
    if (!table->names[table->n]) { goto nomem; }
    (void)snprintf(table->digests[table->n], sizeof *table->digests, "%s", digest ? digest : "");
    return (uint32_t)table->n++;
nomem:
    (void)fmp_fail(err, FMP_E_NOMEM, "out of memory for the table of source files");
    return FMP_RECORDS_NO_FILE;
}

void fmp_file_table_free(fmp_file_table *table)
{
    for (size_t i = 0; i < table->n; i++) {
        free(table->names[i]);
    }
    free(table->names);
    free(table->digests);
    *table = (fmp_file_table){0};
}

/* ------------------------------------------------------------------------------------------------ writing */

static char *put_text(char *p, const char *text, size_t len)
{
    memcpy(p, text, len);
    return p + len;
}

static char *put_u64(char *p, uint64_t v)
{
    char digits[20];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    while (n > 0) {
        *p++ = digits[--n];
    }
    return p;
}

void fmp_records_print(const fmp_item *item, uint32_t file, fmp_buf *out)
{
    size_t at = out->len;
    char *p = fmp_buf_grow(out, 128 + item->raw_len);
    if (!p) { return; }
    char *start = p;
    p = put_text(p, "{\"id\":\"", 7);
    p = put_text(p, item->record.id, 16);
    p = put_text(p, "\",\"file\":", 9);
    if (file == FMP_RECORDS_NO_FILE) {
        p = put_text(p, "-1", 2);
    } else {
        p = put_u64(p, file);
    }
    p = put_text(p, ",\"line\":", 8);
    p = put_u64(p, item->record.origin.line);
    p = put_text(p, ",\"offset\":", 10);
    p = put_u64(p, item->record.origin.offset);
    p = put_text(p, ",\"doc\":", 7);
    if (item->raw) { p = put_text(p, item->raw, item->raw_len); }
    out->len = at + (size_t)(p - start);
    if (!item->raw) { fmp_json_print(item->record.doc, FMP_JSON_COMPACT, out); }
    fmp_buf_add(out, "}\n", 2);
}

fmp_status fmp_file_writer_open(const char *path, fmp_file_writer *out, fmp_err *err)
{
    *out = (fmp_file_writer){.fd = -1};
    out->path = strdup(path);
    out->hash = fmp_sha256_new();
    if (!out->path || !out->hash) {
        fmp_file_writer_free(out);
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for writing %s", path);
    }
    out->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (out->fd >= 0) { return FMP_OK; }
    int why = errno;
    fmp_file_writer_free(out);
    return fmp_fail(err, FMP_E_IO, "cannot create %s: %s", path, strerror(why));
}

static fmp_status write_out(fmp_file_writer *w, const char *data, size_t len, fmp_err *err)
{
    fmp_sha256_add(w->hash, data, len);
    w->size_bytes += len;
    while (len > 0) {
        ssize_t n = write(w->fd, data, len);
        if (n < 0 && errno == EINTR) { continue; }
        if (n < 0) { return fmp_fail(err, FMP_E_IO, "cannot write %s: %s", w->path, strerror(errno)); }
        data += n;
        len -= (size_t)n;
    }
    return FMP_OK;
}

fmp_status fmp_file_writer_add(fmp_file_writer *w, const void *data, size_t len, fmp_err *err)
{
    fmp_buf_add(&w->pending, data, len);
    FMP_TRY(fmp_buf_ok(&w->pending, err));
    if (w->pending.len < WRITE_BYTES) { return FMP_OK; }
    fmp_status st = write_out(w, w->pending.data, w->pending.len, err);
    w->pending.len = 0;
    return st;
}

fmp_status fmp_file_writer_end(fmp_file_writer *w, char digest[65], fmp_err *err)
{
    unsigned char sum[32];
    fmp_status st = w->pending.len ? write_out(w, w->pending.data, w->pending.len, err) : FMP_OK;
    fmp_sha256_end(w->hash, sum);
    w->hash = NULL;
    if (digest) { fmp_hex(sum, sizeof sum, digest); }
    int rc = close(w->fd);
    w->fd = -1;
    if (st == FMP_OK && rc != 0) {
        st = fmp_fail(err, FMP_E_IO, "cannot write %s: %s", w->path, strerror(errno));
    }
    fmp_file_writer_free(w);
    return st;
}

void fmp_file_writer_free(fmp_file_writer *w)
{
    if (w->hash) {
        unsigned char unused[32];
        fmp_sha256_end(w->hash, unused);
    }
    if (w->fd >= 0) { close(w->fd); }
    fmp_buf_free(&w->pending);
    free(w->path);
    w->fd = -1;
    w->hash = NULL;
    w->path = NULL;
}

fmp_status fmp_records_manifest(const char *data_dir, const fmp_file_table *files, uint64_t n, fmp_err *err)
{
    cJSON *manifest = cJSON_CreateObject();
    cJSON_AddStringToObject(manifest, "type", FMP_PORT_RECORDS);
    cJSON_AddNumberToObject(manifest, "n", (double)n);
    cJSON *names = cJSON_AddArrayToObject(manifest, "files");
    cJSON *digests = cJSON_AddObjectToObject(manifest, "digests");
    for (size_t i = 0; i < files->n; i++) {
        cJSON_AddItemToArray(names, cJSON_CreateString(files->names[i]));
        if (files->digests[i][0]) { cJSON_AddStringToObject(digests, files->names[i], files->digests[i]); }
    }
    fmp_buf text = {0};
    fmp_json_print(manifest, FMP_JSON_PRETTY, &text);
    fmp_buf_putc(&text, '\n');
    char *path = fmp_path_join(data_dir, "manifest.json");
    fmp_status st =
        path && digests ? fmp_buf_ok(&text, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory for a manifest");
    if (st == FMP_OK) { st = fmp_write_file(path, text.data, text.len, err); }
    free(path);
    fmp_buf_free(&text);
    cJSON_Delete(manifest);
    return st;
}

/* ------------------------------------------------------------------------------------------------ reading */

static fmp_status read_manifest(const char *path, fmp_records *r, fmp_err *err)
{
    cJSON *manifest = NULL;
    fmp_json_limits limits = {.max_bytes = (size_t)256 << 20};
    FMP_TRY(fmp_json_load(path, &limits, &manifest, err));
    const cJSON *files = fmp_json_get(manifest, "files");
    const cJSON *digests = fmp_json_get(manifest, "digests");
    double n = fmp_json_num(manifest, "n", -1.0);
    fmp_status st = FMP_OK;
    if (!cJSON_IsArray(files) || strcmp(fmp_json_str(manifest, "type", ""), FMP_PORT_RECORDS) != 0 ||
        !(n >= 0.0) || n > 9007199254740992.0) {
        st = fmp_fail(err, FMP_E_DATA,
                      "expected the manifest of a records artifact with \"type\", \"n\" and \"files\"");
        (void)fmp_err_at(err, path, 0, 0, UINT64_MAX);
    }
    const cJSON *name;
    cJSON_ArrayForEach(name, files)
    {
        if (st != FMP_OK) { break; }
        size_t before = r->files.n;
        if (!cJSON_IsString(name) || before >= FILES_MAX) {
            st = fmp_fail(err, FMP_E_DATA, "expected a file name as entry %zu of \"files\"", before);
            (void)fmp_err_at(err, path, 0, 0, UINT64_MAX);
        } else if (fmp_file_table_add(&r->files, name->valuestring,
                                      fmp_json_str(digests, name->valuestring, NULL),
                                      err) == FMP_RECORDS_NO_FILE) {
            st = FMP_E_NOMEM;
        } else if (r->files.n == before) {
            st = fmp_fail(err, FMP_E_DATA, "expected each file once in \"files\", found '%s' twice",
                          name->valuestring);
            (void)fmp_err_at(err, path, 0, 0, UINT64_MAX);
        }
    }
    r->n = st == FMP_OK ? (uint64_t)n : 0;
    cJSON_Delete(manifest);
    return st;
}

fmp_status fmp_records_open(const char *data_dir, fmp_records *out, fmp_err *err)
{
    *out = (fmp_records){.fd = -1};
    char *manifest = fmp_path_join(data_dir, "manifest.json");
    out->path = fmp_path_join(data_dir, "records.jsonl");
    fmp_status st = manifest && out->path ? read_manifest(manifest, out, err)
                                          : fmp_fail(err, FMP_E_NOMEM, "out of memory for reading records");
    free(manifest);
    if (st == FMP_OK) {
        out->fd = open(out->path, O_RDONLY | O_CLOEXEC);
        if (out->fd < 0) { st = fmp_fail(err, FMP_E_IO, "cannot open %s: %s", out->path, strerror(errno)); }
    }
    if (st != FMP_OK) { fmp_records_close(out); }
    return st;
}

void fmp_records_close(fmp_records *r)
{
    if (r->fd >= 0) { close(r->fd); }
    free(r->path);
    fmp_file_table_free(&r->files);
    fmp_buf_free(&r->carry);
    *r = (fmp_records){.fd = -1};
}

static fmp_status read_some(fmp_records *r, size_t want, fmp_buf *text, size_t *got, fmp_err *err)
{
    char *at = fmp_buf_grow(text, want);
    if (!at) { return fmp_buf_ok(text, err); }
    ssize_t n;
    do {
        n = read(r->fd, at, want);
    } while (n < 0 && errno == EINTR);
    if (n < 0) { return fmp_fail(err, FMP_E_IO, "cannot read %s: %s", r->path, strerror(errno)); }
    text->len += (size_t)n;
    r->offset += (uint64_t)n;
    *got = (size_t)n;
    return FMP_OK;
}

static uint64_t count_lines(const char *text, size_t len)
{
    uint64_t n = 0;
    for (const char *p = text; (p = memchr(p, '\n', len - (size_t)(p - text))) != NULL; p++) {
        n++;
    }
    return n;
}

fmp_status fmp_records_fetch(fmp_records *r, size_t want, fmp_buf *text, uint64_t *first_line, fmp_err *err)
{
    *first_line = r->line + 1;
    text->len = 0;
    fmp_buf_add(text, r->carry.data, r->carry.len);
    r->carry.len = 0;
    size_t searched = 0;
    for (;;) {
        size_t got = 0;
        FMP_TRY(read_some(r, want, text, &got, err));
        const char *end =
            text->len > searched ? memrchr(text->data + searched, '\n', text->len - searched) : NULL;
        if (end) {
            size_t whole = (size_t)(end - text->data) + 1;
            fmp_buf_add(&r->carry, text->data + whole, text->len - whole);
            text->len = whole;
            break;
        }
        if (got == 0 && text->len == 0) { return FMP_OK; }
        if (got == 0 || text->len > FMP_RECORDS_LINE_MAX) {
            return fmp_fail(err, FMP_E_DATA,
                            "%s:%" PRIu64 ": expected a line of at most %zu bytes ending in a newline",
                            r->path, r->line + 1, FMP_RECORDS_LINE_MAX);
        }
        searched = text->len;
    }
    r->line += count_lines(text->data, text->len);
    return fmp_buf_ok(&r->carry, err);
}

/* Matches `text` at *p and steps over it. */
static bool skip_text(const char **p, const char *end, const char *text)
{
    size_t n = strlen(text);
    if ((size_t)(end - *p) < n || memcmp(*p, text, n) != 0) { return false; }
    *p += n;
    return true;
}

static bool read_u64(const char **p, const char *end, uint64_t *out)
{
    uint64_t v = 0;
    const char *start = *p;
    for (; *p < end && **p >= '0' && **p <= '9'; ++*p) {
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(**p - '0'), &v)) {
            return false;
        }
    }
    *out = v;
    return *p > start;
}

static bool read_id(const char **p, const char *end, char id[17])
{
    if (end - *p < 16 || strspn(*p, "0123456789abcdef") < 16) { return false; }
    memcpy(id, *p, 16);
    id[16] = '\0';
    *p += 16;
    return true;
}

static bool read_head(const char **p, const char *end, fmp_item *out)
{
    uint64_t file = FMP_RECORDS_NO_FILE;
    bool ok = skip_text(p, end, "{\"id\":\"") && read_id(p, end, out->record.id) &&
              skip_text(p, end, "\",\"file\":") && (skip_text(p, end, "-1") || read_u64(p, end, &file)) &&
              skip_text(p, end, ",\"line\":") && read_u64(p, end, &out->record.origin.line) &&
              skip_text(p, end, ",\"offset\":") && read_u64(p, end, &out->record.origin.offset) &&
              skip_text(p, end, ",\"doc\":");
    out->file = file > FMP_RECORDS_NO_FILE ? FMP_RECORDS_NO_FILE - 1 : (uint32_t)file;
    return ok;
}

fmp_status fmp_records_parse(const fmp_records *r, const char *line, size_t len, uint64_t number,
                             fmp_item *out, fmp_err *err)
{
    const char *p = line, *end = line + len;
    *out = (fmp_item){.record = {.struct_size = (uint32_t)sizeof(fmp_record)}};
    if (!read_head(&p, end, out) || end - p < 2 || end[-1] != '}') {
        return fmp_fail(err, FMP_E_DATA,
                        "%s:%" PRIu64
                        ": expected {\"id\":…,\"file\":…,\"line\":…,\"offset\":…,\"doc\":…}, found "
                        "something else at byte %zu",
                        r->path, number, (size_t)(p - line));
    }
    if (out->file != FMP_RECORDS_NO_FILE && out->file >= r->files.n) {
        return fmp_fail(err, FMP_E_DATA, "%s:%" PRIu64 ": expected a file below %zu, found %" PRIu32, r->path,
                        number, r->files.n, out->file);
    }
    out->record.origin.file = out->file == FMP_RECORDS_NO_FILE ? "" : r->files.names[out->file];
    out->raw = p;
    out->raw_len = (size_t)(end - 1 - p);
    cJSON *doc = NULL;
    fmp_json_limits limits = {.max_bytes = FMP_RECORDS_LINE_MAX, .max_depth = 256, .allow_duplicates = true};
    fmp_status st = fmp_json_parse(out->raw, out->raw_len, &limits, &doc, err);
    if (st != FMP_OK) { return fmp_err_note(err, "while reading %s:%" PRIu64, r->path, number); }
    out->record.doc = doc;
    return FMP_OK;
}
