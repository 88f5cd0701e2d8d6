/*
 * tokens.h: the token artifact: tokenized, weighted, packed training data as one memory-mapped file.
 *
 * A folder with three files. meta.json says how the data was made and what is in it; records.bin has the id of the
 * record that each segment came from, 16 hex digits each, apart, so that equal conversations make an equal tokens.bin
 * whatever file they were read from; tokens.bin holds the numbers, little-endian, a 64-byte header and then six
 * sections, each starting at a multiple of 64 bytes (zeros between):
 *
 *   offset  size  header
 *        0     8  magic "FMPTOKS\0"
 *        8     4  version, 1
 *       12     4  bin_size: most tokens in a bin
 *       16     8  N tokens
 *       24     8  S segments
 *       32     4  B bins
 *       36     4  number of locales
 *       40     4  max_tokens: most tokens in a segment
 *       44     4  vocab_size: every id is below it
 *       48     8  size of the file in bytes
 *       56     8  first 8 bytes of the SHA-256 of the header's first 56 bytes
 *
 *   section        shape    type
 *   ids            (N)      u32
 *   weight         (N)      f32   loss weight of predicting ids[i] from the tokens of its segment before it; 0: none
 *   seg_begin      (S + 1)  u64   segment s is ids[seg_begin[s] .. seg_begin[s + 1])
 *   locale         (S)      u16   index into the locales of meta.json
 *   bin_begin      (B + 1)  u32   bin b is bin_seg[bin_begin[b] .. bin_begin[b + 1])
 *   bin_seg        (S)      u32   a permutation of the segments
 *
 * A segment is one training sequence: attention never crosses its borders. A bin is a set of segments that together
 * have at most bin_size tokens. The weight of a segment's first token is 0: nothing predicts it.
 */
#ifndef FMPIPE_TOKENS_H
#define FMPIPE_TOKENS_H

#include <fmpipe/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FMP_TOKENS_RECORD 16 /* hex digits of a record id */
#define FMP_TOKENS_MAX_BIN (UINT32_C(1) << 24)

/*
 * fmp_pack_best_fit: place samples into fixed-size bins.
 *
 *   len    (n)     u32   tokens of each sample, 1..bin_size        borrowed
 *   bin_of (n)     u32   bin of each sample, in input order        returned in `arena`
 *
 * Bins are numbered by their first sample in input order, so the result is a function of `len` alone.
 *
 * Errors   FMP_E_RANGE if a sample is empty or longer than bin_size (never cut here), or bin_size is not
 *          1..FMP_TOKENS_MAX_BIN; FMP_E_NOMEM.
 * When     any thread; no shared state.
 * Cost     O(n + bin_size); ≤ 1.23 × the optimal number of bins + 1.
 * Source   Johnson 1973, best-fit decreasing.
 */
FMP_MUST_USE fmp_status fmp_pack_best_fit(const uint32_t *len, uint32_t n, uint32_t bin_size, fmp_arena *arena,
                                          uint32_t **bin_of, uint32_t *n_bins, fmp_err *err);

/* ---- reading ---- */
/* All pointers lie in the mapped files and live until fmp_tokens_close; shapes as in the table above. */
typedef struct fmp_tokens {
    uint64_t n_tokens;
    uint64_t n_segments; /* at most UINT32_MAX */
    uint32_t n_bins;
    uint32_t bin_size;
    uint32_t max_tokens;
    uint32_t vocab_size;
    uint32_t n_locales;
    const uint32_t *ids;
    const float *weight;
    const uint64_t *seg_begin;
    const char *record;          /* (S, 16) not terminated */
    const uint16_t *locale;
    const uint32_t *bin_begin;
    const uint32_t *bin_seg;
    const char *const *locales;  /* (n_locales) names from meta.json */
    const char *tokenizer_digest, *template_digest;
    struct fmp_tokens_owner *owner;
} fmp_tokens;

/*
 * fmp_tokens_open: map a token artifact and check all of it: every count against the size of the file, every offset,
 * id, weight and index against its range, the bins against bin_size, and meta.json against tokens.bin.
 *   dir   borrowed          out   returned; fmp_tokens_close
 * Errors   FMP_E_IO; FMP_E_DATA or FMP_E_RANGE with the file, the byte offset, expected and found.
 * When     any thread; the result may be read by any number of threads.
 * Cost     one pass over the file.
 */
FMP_MUST_USE fmp_status fmp_tokens_open(const char *dir, fmp_tokens *out, fmp_err *err);
void fmp_tokens_close(fmp_tokens *tokens);

/* ---- writing ---- */
/* Everything is borrowed and copied. */
typedef struct fmp_tokens_info {
    const char *tokenizer_digest; /* hex; of the tokenizer that made the ids */
    const char *template_digest;  /* hex; of the chat template               */
    uint32_t vocab_size;
    uint32_t max_tokens;          /* longest segment accepted, ≤ bin_size    */
    uint32_t bin_size;
} fmp_tokens_info;

typedef struct fmp_tokens_writer fmp_tokens_writer;

/* dir: made if need be; what an earlier attempt left there is replaced.             out: fmp_tokens_writer_free */
FMP_MUST_USE fmp_status fmp_tokens_writer_new(const char *dir, const fmp_tokens_info *info, fmp_tokens_writer **out,
                                              fmp_err *err);
/*
 * fmp_tokens_append: one segment; ids and weights go to disk, 26 bytes a segment stay in memory.
 *   ids, weight (n)   borrowed
 *   record            16 hex digits, borrowed
 *   locale            its tag, "" for none; at most 65,535 different ones; borrowed
 * Errors   FMP_E_RANGE: n not 1..max_tokens, an id not below vocab_size, a weight negative or not finite, a first weight
 *          other than 0, a record id of another form, too many locales; FMP_E_IO. After an error: free the writer.
 */
FMP_MUST_USE fmp_status fmp_tokens_append(fmp_tokens_writer *w, const uint32_t *ids, const float *weight, uint32_t n,
                                          const char *record, const char *locale, fmp_err *err);
/*
 * fmp_tokens_finish: pack the segments into bins and complete the files. pack: false gives each segment a bin of its
 * own. The bytes are a function of the info and the segments appended, in order; locales are numbered in byte order.
 * meta.json: counts in all and by locale, with tokens that have a weight; "length": smallest, largest, mean and
 * percentiles of the segments (the p-th is the smallest length that p % of the segments do not exceed); "lengths":
 * their histogram by powers of two.
 */
FMP_MUST_USE fmp_status fmp_tokens_finish(fmp_tokens_writer *w, bool pack, fmp_err *err);
/* Also after an error or without finish; the folder is left as it is. NULL is allowed. */
void fmp_tokens_writer_free(fmp_tokens_writer *w);

#ifdef __cplusplus
}
#endif
#endif
