/*
 * minhash.h: near-duplicate search, apart from records and files so that it can be tested by itself.
 *
 * Source  Broder 1997 (resemblance by min-wise hashing); Leskovec, Rajaraman & Ullman, Mining of Massive
 * Datasets,
 *         section 3.4 (banding).
 */
#ifndef MINHASH_H
#define MINHASH_H

#include <fmpipe/err.h>

/*
 * minhash_signature: sig (n_perm) of the set of `n_gram` code-point shingles of text, lower-cased, runs of
 * white space as one space. A text shorter than a shingle is one shingle. Pure; any thread.   Cost  O(code
 * points * n_perm).
 */
void minhash_signature(const char *text, size_t len, uint32_t n_gram, uint32_t n_perm, uint64_t seed,
                       uint32_t *sig);

/*
 * Share of equal entries: an unbiased estimate of the Jaccard similarity, standard error <= 1 / (2
 * sqrt(n_perm)).
 */
double minhash_similarity(const uint32_t *a, const uint32_t *b, uint32_t n_perm);

/* Rows per band for a threshold: the split of n_perm whose S-curve (1 - (1 - s^r)^b) errs least around it. */
uint32_t minhash_rows(uint32_t n_perm, double threshold);

/*
 * minhash_cluster: cluster_of (n) = lowest index of the record's cluster; sigs (n, n_perm). In every band,
 * records with equal bands are compared with the first and the preceding one of their bucket; pairs of at
 * least `threshold` are joined. The result depends on the input only.   Cost  O(bands * n log n).
 */
FMP_MUST_USE fmp_status minhash_cluster(const uint32_t *sigs, size_t n, uint32_t n_perm, double threshold,
                                        uint32_t *cluster_of, fmp_err *err);

#endif
