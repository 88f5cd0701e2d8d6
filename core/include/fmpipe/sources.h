/*
 * sources.h: which source each segment of a token artifact came from, for losses by source: two files beside the
 * artifact's own, only where some record says one.
 *
 *   sources.json   {"format": "fmpipe.sources/1", "segments": S, "sources": [name, …]}
 *   sources.bin    (S) u16, little-endian: index into the names
 *
 * A record's source is the text of its meta.source; "" without one. A source is content, never a path. At most
 * FMP_SOURCES_MOST names are kept apart; records of later ones count as "other".
 */
#ifndef FMPIPE_SOURCES_H
#define FMPIPE_SOURCES_H

#include <cjson/cJSON.h>
#include <fmpipe/err.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FMP_SOURCES_MOST 1000

/* All zero: empty. */
typedef struct fmp_sources {
    uint32_t n;   /* names; 0: no segment has a source */
    char **names; /* (n) by first appearance           */
    uint16_t *of; /* (n_segments)                      */
    uint64_t n_segments;
    uint64_t cap;
} fmp_sources;

/* One more segment, of the record `doc`, borrowed. */
FMP_MUST_USE fmp_status fmp_sources_add(fmp_sources *s, const cJSON *doc, fmp_err *err);
/* The files, if any record said a source. */
FMP_MUST_USE fmp_status fmp_sources_write(const fmp_sources *s, const char *dir, fmp_err *err);
/*
 * fmp_sources_read: what fmp_sources_write left in dir; n == 0 and of == NULL where it left nothing.
 * Errors   FMP_E_DATA: not the files of n_segments segments, or an index without a name; FMP_E_IO.
 */
FMP_MUST_USE fmp_status fmp_sources_read(const char *dir, uint64_t n_segments, fmp_sources *out,
                                         fmp_err *err);
void fmp_sources_free(fmp_sources *s);

#ifdef __cplusplus
}
#endif
#endif
