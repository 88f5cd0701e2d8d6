/*
 * jsonl.read: conversations from JSON Lines files, every row checked.
 *
 * fetch reads (decompressing by content, not by name) and cuts at line ends; decode parses a block's rows,
 * brings each to the canonical conversation (jsonl_canon.c) and emits it, or rejects it with its position
 * and the reason. Where a block ends depends on the file only, never on the buffer at hand, so that runs
 * with any number of threads see the same blocks.
 */
#include "jsonl_canon.h"

#include <fmpipe/plugin.h>

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { BLOCK_BYTES = 256 * 1024, SHOWN_BYTES = 200 };

typedef struct jsonl_read {
    const fmp_host *host;
    canon_options canon;
    bool skip_blank;
    size_t max_line;
    fmp_json_limits limits;
    const char **paths; /* borrowed from the option values */
    size_t n_paths;

    /* The file being read. */
    size_t next_path;
    const char *path;
    int fd; /* -1: none open, or read through `archive` */
    struct archive *archive;
    bool archive_ended;
    uint64_t line, offset;
    char *carry; /* the unfinished last line of the block before */
    size_t carry_len, carry_cap;

    atomic_uint_least64_t n_good; /* conversations of all threads, for the summary */
} jsonl_read;

static const fmp_option options[] = {
    {.name = "path",
     .type = FMP_OPT_PATHS,
     .flags = FMP_OPT_REQUIRED,
     .help = "Files to read: a glob or a list of globs. Compressed files (.gz, .zst, .xz) are recognised by "
             "their content."},
    {.name = "form",
     .type = FMP_OPT_ENUM,
     .def = "auto",
     .choices = "auto|messages_array|messages|openai|sharegpt|alpaca",
     .help = "Form of the rows. auto decides for each row."},
    {.name = "require_last",
     .type = FMP_OPT_ENUM,
     .def = "assistant",
     .choices = "assistant|user|any",
     .help = "Role a conversation must end with: assistant for training, user for inference."},
    {.name = "unknown_keys",
     .type = FMP_OPT_ENUM,
     .def = "error",
     .choices = "error|meta",
     .help =
         "What to do with a row's unknown top-level keys: refuse the row, or keep them under meta.extra."},
    {.name = "skip_blank",
     .type = FMP_OPT_BOOL,
     .def = "true",
     .help = "Pass over blank lines; they are counted."},
    {.name = "max_line",
     .type = FMP_OPT_SIZE,
     .def = "64MiB",
     .unit = "bytes",
     .min = 1024,
     .max = 1073741824.0,
     .help = "Longest row that is accepted."},
    {.name = "max_depth",
     .type = FMP_OPT_INT,
     .def = "64",
     .min = 8,
     .max = 128,
     .help = "Deepest nesting of a row's JSON that is accepted."},
    {.name = NULL}};

static const fmp_port outputs[] = {
    {.name = "records", .type = FMP_PORT_RECORDS, .help = "Canonical conversations."}, {.name = NULL}};

/* ---------------------------------------------------------------------------------------------- files */

static fmp_status io_error(const jsonl_read *s, const char *what, const char *why, fmp_err *err)
{
    fmp_fail(err, FMP_E_IO, "cannot %s: %s", what, why);
    return fmp_err_at(err, s->path, 0, 0, s->offset);
}

static fmp_status archive_failed(const jsonl_read *s, fmp_err *err)
{
    const char *why = archive_error_string(s->archive);
    return io_error(s, "decompress the file", why ? why : "its content is damaged", err);
}

static void close_file(jsonl_read *s)
{
    if (s->archive) { archive_read_free(s->archive); }
    if (s->fd >= 0) { close(s->fd); }
    s->archive = NULL;
    s->fd = -1;
}

static bool looks_compressed(const unsigned char *head, ssize_t n)
{
    return (n >= 2 && head[0] == 0x1f && head[1] == 0x8b) ||
           (n >= 4 && memcmp(head, "\x28\xb5\x2f\xfd", 4) == 0) ||
           (n >= 6 && memcmp(head,
                             "\xfd"
                             "7zXZ\0",
                             6) == 0) ||
           (n >= 3 && memcmp(head, "BZh", 3) == 0);
}

static fmp_status open_file(jsonl_read *s, fmp_err *err)
{
    unsigned char head[6];
    s->path = s->paths[s->next_path++];
    s->line = 1;
    s->offset = 0;
    s->fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0) { return io_error(s, "open the file", strerror(errno), err); }
    ssize_t n = pread(s->fd, head, sizeof head, 0);
    if (n < 0) { return io_error(s, "read the file", strerror(errno), err); }
    if (!looks_compressed(head, n)) { return FMP_OK; }
    struct archive_entry *entry;
    s->archive = archive_read_new();
    if (!s->archive) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    /*
     * Named one by one: "all" would also unpack what lies inside, and start other programs for some
     * formats.
     */
    archive_read_support_filter_gzip(s->archive);
    archive_read_support_filter_zstd(s->archive);
    archive_read_support_filter_xz(s->archive);
    archive_read_support_filter_bzip2(s->archive);
    archive_read_support_format_raw(s->archive);
    archive_read_support_format_empty(s->archive);
    int rc = archive_read_open_fd(s->archive, s->fd, BLOCK_BYTES);
    if (rc == ARCHIVE_OK) { rc = archive_read_next_header(s->archive, &entry); }
    s->archive_ended = rc == ARCHIVE_EOF; /* nothing inside */
    return rc == ARCHIVE_OK || rc == ARCHIVE_EOF ? FMP_OK : archive_failed(s, err);
}

/* Up to `size` bytes; *n = 0 at the end of the file. */
static fmp_status read_some(jsonl_read *s, char *to, size_t size, size_t *n, fmp_err *err)
{
    for (;;) {
        if (s->archive && s->archive_ended) {
            *n = 0;
            return FMP_OK;
        }
        ssize_t got = s->archive ? archive_read_data(s->archive, to, size) : read(s->fd, to, size);
        if (got >= 0) {
            *n = (size_t)got;
            return FMP_OK;
        }
        if (s->archive) { return archive_failed(s, err); }
        if (errno != EINTR) { return io_error(s, "read the file", strerror(errno), err); }
    }
}

static fmp_status keep_carry(jsonl_read *s, const char *data, size_t len, fmp_err *err)
{
    if (len > s->carry_cap) {
        char *grown = realloc(s->carry, len);
        if (!grown) { return fmp_fail(err, FMP_E_NOMEM, "out of memory: a line of %zu bytes", len); }
        s->carry = grown;
        s->carry_cap = len;
    }
    if (len > 0) { memcpy(s->carry, data, len); }
    s->carry_len = len;
    return FMP_OK;
}

static uint64_t count_lines(const char *data, size_t len)
{
    uint64_t n = 0;
    for (size_t i = 0; i < len; i++) {
        n += data[i] == '\n';
    }
    return n;
}

/* Grow to `size`; the block's bytes come from the host. */
static fmp_status reserve(fmp_block *block, size_t size, fmp_err *err)
{
    if (block->cap < size && !block->grow(block, size)) {
        return fmp_fail(err, FMP_E_NOMEM, "out of memory");
    }
    return FMP_OK;
}

/* Past the rest of a line that is too long; what follows it is kept. */
static fmp_status skip_line(jsonl_read *s, fmp_err *err)
{
    char some[16 * 1024];
    for (;;) {
        size_t n = 0;
        FMP_TRY(read_some(s, some, sizeof some, &n, err));
        if (n == 0) { return FMP_OK; }
        const char *end = memchr(some, '\n', n);
        if (end) {
            size_t whole = (size_t)(end - some) + 1;
            s->offset += whole;
            return keep_carry(s, some + whole, n - whole, err);
        }
        s->offset += n;
    }
}

/* Read until the block holds `want` bytes or the file ends. */
static fmp_status fill(jsonl_read *s, fmp_block *block, size_t want, bool *ended, fmp_err *err)
{
    FMP_TRY(reserve(block, want, err));
    for (size_t n = 1; block->len < want && n > 0; block->len += n) {
        FMP_TRY(read_some(s, block->data + block->len, want - block->len, &n, err));
        *ended = n == 0;
    }
    return FMP_OK;
}

static fmp_status read_lines(jsonl_read *s, fmp_block *block, bool *more, fmp_err *err)
{
    bool ended = false;
    for (size_t want = s->carry_len + BLOCK_BYTES, seen = s->carry_len;; want *= 2) {
        FMP_TRY(fill(s, block, want, &ended, err));
        if (ended) { /* the file's last line may lack its newline */
            close_file(s);
            s->path = NULL;
            s->carry_len = 0;
            *more = s->next_path < s->n_paths;
            return FMP_OK;
        }
        const char *end = memrchr(block->data + seen, '\n', block->len - seen);
        if (end) {
            size_t whole = (size_t)(end - block->data) + 1;
            FMP_TRY(keep_carry(s, block->data + whole, block->len - whole, err));
            block->len = whole;
            s->line += count_lines(block->data, whole);
            s->offset += whole;
            return FMP_OK;
        }
        seen = block->len;
        if (block->len > s->max_line) { /* decode refuses it by its length */
            s->line++;
            s->offset += block->len;
            block->len = s->max_line + 1;
            s->carry_len = 0;
            return skip_line(s, err);
        }
    }
}

static fmp_status read_fetch(void *self, fmp_block *block, bool *more, fmp_err *err)
{
    jsonl_read *s = self;
    block->len = 0;
    *more = s->path || s->next_path < s->n_paths;
    if (!*more) { return FMP_OK; }
    if (!s->path) { FMP_TRY(open_file(s, err)); }
    block->file = s->path;
    block->first_line = s->line;
    block->offset = s->offset;
    FMP_TRY(reserve(block, s->carry_len + BLOCK_BYTES, err));
    if (s->carry_len > 0) { memcpy(block->data, s->carry, s->carry_len); }
    block->len = s->carry_len;
    return read_lines(s, block, more, err);
}

/* ---------------------------------------------------------------------------------------------- rows */

static bool is_blank(const char *row, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (row[i] != ' ' && row[i] != '\t' && row[i] != '\r') { return false; }
    }
    return true;
}

static fmp_status reject_row(const fmp_call *call, const fmp_origin *origin, const char *row, size_t len,
                             const char *reason, const char *path, uint32_t column, const char *message,
                             fmp_err *err)
{
    fmp_reject why = {.struct_size = (uint32_t)sizeof why,
                      .reason = reason,
                      .message = message,
                      .path = path && *path ? path : NULL,
                      .origin = *origin,
                      .column = column,
                      .text = row,
                      .text_len = len};
    return call->reject(call, &why, err);
}

/* Bytes before the key of the member whose value begins at row[at]. */
static size_t key_begin(const char *row, size_t at)
{
    size_t i = at;
    while (i > 0 && row[i] != ':') {
        i--;
    }
    while (i > 0 && row[i] != '"') {
        i--;
    }
    while (i > 0) {
        size_t slashes = 0;
        i--;
        while (slashes < i && row[i - 1 - slashes] == '\\') {
            slashes++;
        }
        if (row[i] == '"' && slashes % 2 == 0) { return i; }
    }
    return at;
}

/*
 * Where the fault is: at the unknown key itself, at the row where there is no place; 0: the host looks
 * at the path.
 */
static uint32_t column_of(const canon_problem *problem, const char *row, size_t len)
{
    size_t at = 0;
    if (!problem->path[0]) { return 1; }
    if (strcmp(problem->reason, "unknown_key") != 0 || !fmp_json_locate(row, len, problem->path, &at)) {
        return 0;
    }
    return (uint32_t)key_begin(row, at) + 1;
}

static fmp_status reject_syntax(const fmp_call *call, const fmp_origin *origin, const char *row, size_t len,
                                fmp_status status, const fmp_err *why, fmp_err *err)
{
    char message[sizeof why->message + 40];
    bool cut = strstr(why->message, "found the end of the text") != NULL;
    snprintf(message, sizeof message, "%s%s", why->message, cut ? "; a row ends with its line" : "");
    return reject_row(call, origin, row, len, status == FMP_E_RANGE ? "json_limit" : "json_syntax", NULL,
                      why->column, message, err);
}

static fmp_status reject_long(const jsonl_read *s, const fmp_call *call, const fmp_origin *origin,
                              const char *row, fmp_err *err)
{
    char message[160];
    snprintf(message, sizeof message,
             "expected a row of at most %zu bytes (max_line), found a longer one; is it one row a line?",
             s->max_line);
    return reject_row(call, origin, row, SHOWN_BYTES, "line_too_long", NULL, 1, message, err);
}

/* Each problem of the row at its own place; those that were only counted are named with the last one told. */
static fmp_status reject_problems(const fmp_call *call, const fmp_origin *origin, const char *row, size_t len,
                                  canon_problems *problems, fmp_err *err)
{
    fmp_problem told[CANON_TOLD];
    uint32_t n = problems->n < CANON_TOLD ? problems->n : CANON_TOLD;
    if (n == 0) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a row"); }
    char last[sizeof problems->told[0].message + 40];
    for (uint32_t i = 0; i < n; i++) {
        const canon_problem *p = &problems->told[i];
        told[i] = (fmp_problem){p->reason, p->message, p->path[0] ? p->path : NULL, column_of(p, row, len)};
    }
    if (problems->n > n) {
        snprintf(last, sizeof last, "%s (and %u more in this row)", told[n - 1].message, problems->n - n);
        told[n - 1].message = last;
    }
    fmp_reject why = {.struct_size = (uint32_t)sizeof why,
                      .reason = told[0].reason,
                      .message = told[0].message,
                      .path = told[0].path,
                      .origin = *origin,
                      .column = told[0].column,
                      .text = row,
                      .text_len = len,
                      .more = told + 1,
                      .n_more = n - 1};
    return call->reject(call, &why, err);
}

static fmp_status decode_row(jsonl_read *s, const char *row, size_t len, const fmp_origin *origin,
                             const fmp_call *call, fmp_err *err)
{
    cJSON *tree = NULL;
    if (len > s->max_line) { return reject_long(s, call, origin, row, err); }
    fmp_err why = FMP_ERR_INIT;
    fmp_status status = fmp_json_parse(row, len, &s->limits, &tree, &why);
    if (status == FMP_E_NOMEM) {
        if (err) { *err = why; }
        return status;
    }
    if (status != FMP_OK) { return reject_syntax(call, origin, row, len, status, &why, err); }
    canon_problems problems;
    cJSON *doc = canon_row(tree, &s->canon, &problems);
    if (doc) {
        atomic_fetch_add_explicit(&s->n_good, 1, memory_order_relaxed);
        return call->emit_row(call, doc, origin, err);
    }
    return reject_problems(call, origin, row, len, &problems, err);
}

static fmp_status read_decode(void *self, const fmp_block *block, const fmp_call *call, fmp_err *err)
{
    jsonl_read *s = self;
    fmp_origin origin = {.file = block->file, .line = block->first_line, .offset = block->offset};
    int64_t blank = 0;
    /* A byte order mark at the very start of a file is no part of its first row. */
    bool marked = block->offset == 0 && block->len >= 3 && memcmp(block->data, "\xef\xbb\xbf", 3) == 0;
    for (size_t at = marked ? 3 : 0; at < block->len; origin.line++) {
        const char *row = block->data + at;
        const char *end = memchr(row, '\n', block->len - at);
        size_t len = end ? (size_t)(end - row) : block->len - at;
        origin.offset = block->offset + at;
        at += len + (end != NULL);
        if (is_blank(row, len)) {
            blank++;
            if (!s->skip_blank) {
                FMP_TRY(reject_row(call, &origin, row, len, "blank_line", NULL, 1,
                                   "expected a JSON row, found a blank line", err));
            }
            continue;
        }
        FMP_TRY(decode_row(s, row, len, &origin, call, err));
    }
    if (blank > 0) { call->count(call, "blank", blank); }
    return FMP_OK;
}

/* ------------------------------------------------------------------------------------ life cycle */

static fmp_status read_create(const fmp_host *host, void **self, fmp_err *err)
{
    jsonl_read *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    s->host = host;
    s->fd = -1;
    *self = s;
    return FMP_OK;
}

static fmp_status read_configure(void *self, const cJSON *values, fmp_err *err)
{
    static const char *const forms[] = {"auto", "messages_array", "messages", "openai", "sharegpt", "alpaca"};
    jsonl_read *s = self;
    const char *form = fmp_value_str(values, "form"), *last = fmp_value_str(values, "require_last");
    for (int i = 0; i < 6; i++) {
        if (strcmp(form, forms[i]) == 0) { s->canon.form = (row_form)i; }
    }
    s->canon.require_last = strcmp(last, "any") == 0    ? LAST_ANY
                            : strcmp(last, "user") == 0 ? LAST_USER
                                                        : LAST_ASSISTANT;
    s->canon.unknown_to_meta = strcmp(fmp_value_str(values, "unknown_keys"), "meta") == 0;
    s->skip_blank = fmp_value_bool(values, "skip_blank");
    s->max_line = (size_t)fmp_value_int(values, "max_line");
    s->limits.max_bytes = s->max_line;
    s->limits.max_depth = (uint32_t)fmp_value_int(values, "max_depth");
    const cJSON *paths = fmp_value(values, "path"), *path;
    s->paths = calloc((size_t)cJSON_GetArraySize(paths) + 1, sizeof *s->paths);
    if (!s->paths) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    cJSON_ArrayForEach(path, paths)
    {
        s->paths[s->n_paths++] = path->valuestring;
    }
    return FMP_OK;
}

/* 1234567 -> "1,234,567" */
static const char *grouped(uint64_t n, char *out, size_t size)
{
    char plain[24];
    int len = snprintf(plain, sizeof plain, "%" PRIu64, n);
    size_t used = 0;
    for (int i = 0; i < len && used + 2 < size; i++) {
        if (i > 0 && (len - i) % 3 == 0) { out[used++] = ','; }
        out[used++] = plain[i];
    }
    out[used] = '\0';
    return out;
}

static void read_destroy(void *self)
{
    jsonl_read *s = self;
    close_file(s);
    free(s->carry);
    free(s->paths);
    free(s);
}

static const fmp_stage stage = {FMP_STAGE_HEADER,
                                .name = "jsonl.read",
                                .version = 1,
                                .kind = FMP_SOURCE,
                                .summary = "Read conversations from JSON Lines files and check every row.",
                                .outputs = outputs,
                                .options = options,
                                .create = read_create,
                                .configure = read_configure,
                                .fetch = read_fetch,
                                .decode = read_decode,
                                .destroy = read_destroy};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "jsonl-read", .version = "0.1.0",
                                  .license = "Apache-2.0", .stages = stages};
FMP_PLUGIN_ENTRY(&plugin)
