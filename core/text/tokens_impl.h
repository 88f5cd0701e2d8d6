/* tokens_impl.h: the layout of tokens.bin, shared by its writer and its reader. */
#ifndef FMPIPE_TOKENS_IMPL_H
#define FMPIPE_TOKENS_IMPL_H

#include <fmpipe/tokens.h>

#define TS_MAGIC       "FMPTOKS"
#define TS_VERSION     1u
#define TS_HEADER      64u
#define TS_FILE        "tokens.bin"
#define TS_RECORDS     "records.bin"
#define TS_META        "meta.json"
#define TS_META_FORMAT "fmpipe.tokens/1"

/* The header as it lies in the file; the machine is little-endian (checked when compiling). */
typedef struct ts_header {
    char magic[8];
    uint32_t version, bin_size;
    uint64_t n_tokens, n_segments;
    uint32_t n_bins, n_locales, max_tokens, vocab_size;
    uint64_t file_size;
    unsigned char check[8];
} ts_header;

_Static_assert(sizeof(ts_header) == TS_HEADER, "the header has no gaps");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tokens.bin is mapped as it is");

typedef enum ts_section_id {
    TS_IDS,
    TS_WEIGHT,
    TS_SEG_BEGIN,
    TS_LOCALE,
    TS_BIN_BEGIN,
    TS_BIN_SEG
} ts_section_id;
#define TS_SECTIONS 6

/* Where each section begins, and the size of the file; false if the counts do not fit into 63 bits. */
bool ts_layout(const ts_header *h, uint64_t begin[TS_SECTIONS], uint64_t *file_size);
void ts_check_digest(const ts_header *h, unsigned char check[8]);

/* A whole file without a sync: artifacts are synced when they are published. */
FMP_MUST_USE fmp_status ts_write_file(const char *path, const void *data, size_t len, fmp_err *err);

#endif
