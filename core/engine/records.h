/*
 * records.h: the records artifact, a folder of two files, and its lines as items.
 *
 *   records.jsonl   {"id":"0f…","file":0,"line":12,"offset":3456,"doc":{…}}   a line each, in this order
 *   manifest.json   {"type":"records","n":3,"files":["train.jsonl"],"digests":{"train.jsonl":"…"}}
 *
 * `file` is an index into `files`, -1 for generated records; `digests` has the content digest of each file
 * that has one.
 */
#ifndef FMP_ENGINE_RECORDS_H
#define FMP_ENGINE_RECORDS_H

#include "store.h"
#include <fmpipe/plugin.h>

#define FMP_RECORDS_NO_FILE  UINT32_MAX
#define FMP_RECORDS_LINE_MAX ((size_t)256 << 20)

/* A record on its way through the engine. */
typedef struct fmp_item {
    fmp_record record; /* what stages see; first, so that a pointer to it is one to the item */
    uint32_t file;     /* index into the file table, or FMP_RECORDS_NO_FILE                   */
    const char *raw;   /* text of record.doc while it is as read; NULL: changed or new        */
    size_t raw_len;
} fmp_item;

/* Id of a record: first 8 bytes of SHA-256(source ‖ 0 ‖ index as u64 LE), as 16 hex characters. */
void fmp_record_id(const char *source, uint64_t index, char id[17]);

/* ---- file tables: names as the user wrote them, with content digests ---- */
typedef struct fmp_file_table {
    char **names;
    char (*digests)[65]; /* "" where unknown */
    size_t n, cap;
} fmp_file_table;
/* Index of `name`, added if new. digest may be NULL. FMP_RECORDS_NO_FILE with `err` set when out of
   memory. */
uint32_t fmp_file_table_add(fmp_file_table *table, const char *name, const char *digest, fmp_err *err);
void fmp_file_table_free(fmp_file_table *table);

/* ---- writing ---- */
/* One line of records.jsonl. doc: text of the document, or NULL to print item->record.doc. */
void fmp_records_print(const fmp_item *item, uint32_t file, fmp_buf *out);

/* A file written in large pieces and hashed on the way. */
typedef struct fmp_file_writer {
    int fd;
    char *path;
    fmp_buf pending;
    fmp_sha256 *hash;
    uint64_t size_bytes;
} fmp_file_writer;
FMP_MUST_USE fmp_status fmp_file_writer_open(const char *path, fmp_file_writer *out, fmp_err *err);
FMP_MUST_USE fmp_status fmp_file_writer_add(fmp_file_writer *w, const void *data, size_t len, fmp_err *err);
/* Flush and close; digest may be NULL. */
FMP_MUST_USE fmp_status fmp_file_writer_end(fmp_file_writer *w, char digest[65], fmp_err *err);
void fmp_file_writer_free(fmp_file_writer *w); /* safe on {.fd = -1}, and after end */

/* manifest.json beside a finished records.jsonl. */
FMP_MUST_USE fmp_status fmp_records_manifest(const char *data_dir, const fmp_file_table *files, uint64_t n,
                                             fmp_err *err);

/* ---- reading ---- */
typedef struct fmp_records {
    char *path; /* of records.jsonl, for messages */
    int fd;
    uint64_t offset; /* of the next byte to read */
    uint64_t line;   /* lines handed out so far  */
    uint64_t n;      /* records, by the manifest */
    fmp_file_table files;
    fmp_buf carry; /* the start of a line whose end has not been read */
} fmp_records;
FMP_MUST_USE fmp_status fmp_records_open(const char *data_dir, fmp_records *out, fmp_err *err);
void fmp_records_close(fmp_records *records);
/* Whole lines, about `want` bytes, replacing what `text` held; len 0: the end. *first_line: 1-based, of
   this artifact. */
FMP_MUST_USE fmp_status fmp_records_fetch(fmp_records *records, size_t want, fmp_buf *text,
                                          uint64_t *first_line, fmp_err *err);
/* One line (without its newline) as an item; the document goes to the thread's JSON scope. raw is borrowed
   from `line`. */
FMP_MUST_USE fmp_status fmp_records_parse(const fmp_records *records, const char *line, size_t len,
                                          uint64_t number, fmp_item *out, fmp_err *err);

/* ---- fmp.records/1: see reader.c ---- */
FMP_MUST_USE fmp_status fmp_reader_open(const char *data_dir, fmp_pool *pool, fmp_reader **out, fmp_err *err);
FMP_MUST_USE fmp_status fmp_reader_next(fmp_reader *reader, const fmp_record **records, size_t *n,
                                        fmp_err *err);
/* The item behind a record of the current batch, or NULL if it is somebody's copy. */
const fmp_item *fmp_reader_item(const fmp_reader *reader, const fmp_record *record);
const fmp_file_table *fmp_reader_files(const fmp_reader *reader);
/* *place is the reader until it is closed, then NULL. */
void fmp_reader_track(fmp_reader *reader, fmp_reader **place);
void fmp_reader_close(fmp_reader *reader);

#endif
