/* MinHash signatures, banding and clusters; see minhash.h. */
#include "minhash.h"

#include <fmpipe/fs.h>

#include <math.h>
#include <stdlib.h>
#include <unicode/uchar.h>
#include <unicode/utf8.h>

enum { MAX_GRAM = 16, MAX_PERM = 512 };

/* SplitMix64's finaliser (Steele, Lea & Flood 2014): spreads every input bit over the word. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void take_shingle(uint64_t h, uint32_t n_perm, const uint64_t *odd, uint32_t *sig)
{
    for (uint32_t i = 0; i < n_perm; i++) {
        uint32_t v = (uint32_t)((h * odd[i]) >> 32); /* multiply-shift, Dietzfelbinger et al. 1997 */
        sig[i] = v < sig[i] ? v : sig[i];
    }
}

void minhash_signature(const char *text, size_t len, uint32_t n_gram, uint32_t n_perm, uint64_t seed,
                       uint32_t *sig)
{
    uint64_t odd[MAX_PERM], ring[MAX_GRAM];
    uint32_t filled = 0;
    bool space = true, any = false;
    for (uint32_t i = 0; i < n_perm; i++) {
        odd[i] = fmp_rng_u64(seed, 0x6d696e68617368u, i) | 1u;
        sig[i] = UINT32_MAX;
    }
    for (int32_t at = 0, end = (int32_t)len; at < end;) {
        UChar32 c;
        U8_NEXT((const uint8_t *)text, at, end, c);
        if (c < 0 || u_isUWhiteSpace(c)) {
            if (space) { continue; }
            c = ' ';
        }
        space = c == ' ';
        memmove(ring, ring + 1, sizeof ring - sizeof ring[0]);
        ring[n_gram - 1] = (uint64_t)u_tolower(c);
        if (++filled < n_gram) { continue; }
        uint64_t h = seed;
        for (uint32_t k = 0; k < n_gram; k++) {
            h = mix(h ^ ring[k]) + 0x9e3779b97f4a7c15u;
        }
        take_shingle(h, n_perm, odd, sig);
        any = true;
    }
    if (!any) {
        uint64_t h = seed ^ filled;
        for (uint32_t k = n_gram - filled; k < n_gram; k++) {
            h = mix(h ^ ring[k]) + 0x9e3779b97f4a7c15u;
        }
        take_shingle(h, n_perm, odd, sig);
    }
}

double minhash_similarity(const uint32_t *a, const uint32_t *b, uint32_t n_perm)
{
    uint32_t equal = 0;
    for (uint32_t i = 0; i < n_perm; i++) {
        equal += a[i] == b[i];
    }
    return (double)equal / n_perm;
}

uint32_t minhash_rows(uint32_t n_perm, double threshold)
{
    uint32_t best = 1;
    double least = INFINITY;
    for (uint32_t r = 1; r <= n_perm; r++) {
        double bands = (double)(n_perm / r), miss = 0, alarm = 0;
        for (int k = 0; k < 100; k++) {
            double s = (k + 0.5) / 100, caught = 1 - pow(1 - pow(s, (double)r), bands);
            if (s < threshold) {
                alarm += caught; /* only costs a comparison */
            } else {
                miss += 1 - caught; /* loses a duplicate: weighs ten times */
            }
        }
        if (alarm + 10 * miss < least) {
            least = alarm + 10 * miss;
            best = r;
        }
    }
    return best;
}

static uint32_t root_of(uint32_t *parent, uint32_t i)
{
    while (parent[i] != i) {
        parent[i] = parent[parent[i]];
        i = parent[i];
    }
    return i;
}

/* The lower index stays the root, so the result does not depend on the order of joins. */
static void join(uint32_t *parent, uint32_t a, uint32_t b)
{
    a = root_of(parent, a);
    b = root_of(parent, b);
    if (a < b) {
        parent[b] = a;
    } else {
        parent[a] = b;
    }
}

typedef struct band_entry {
    uint64_t hash;
    uint32_t index;
} band_entry;

static int by_hash(const void *a, const void *b)
{
    const band_entry *x = a, *y = b;
    if (x->hash != y->hash) { return x->hash < y->hash ? -1 : 1; }
    return x->index < y->index ? -1 : x->index > y->index;
}

fmp_status minhash_cluster(const uint32_t *sigs, size_t n, uint32_t n_perm, double threshold,
                           uint32_t *cluster_of, fmp_err *err)
{
    uint32_t rows = minhash_rows(n_perm, threshold);
    band_entry *entry = malloc((n ? n : 1) * sizeof *entry);
    if (!entry) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for %zu records", n); }
    for (size_t i = 0; i < n; i++) {
        cluster_of[i] = (uint32_t)i;
    }
    for (uint32_t band = 0; band + rows <= n_perm; band += rows) {
        for (size_t i = 0; i < n; i++) {
            uint64_t h = band;
            for (uint32_t k = 0; k < rows; k++) {
                h = mix(h ^ sigs[i * n_perm + band + k]) + 0x9e3779b97f4a7c15u;
            }
            entry[i] = (band_entry){h, (uint32_t)i};
        }
        qsort(entry, n, sizeof *entry, by_hash);
        for (size_t i = 1, first = 0; i < n; i++) {
            if (entry[i].hash != entry[first].hash) {
                first = i;
                continue;
            }
            const uint32_t *mine = sigs + (size_t)entry[i].index * n_perm;
            uint32_t others[2] = {entry[first].index, entry[i - 1].index};
            for (int k = 0; k < 2; k++) {
                if (minhash_similarity(mine, sigs + (size_t)others[k] * n_perm, n_perm) >= threshold) {
                    join(cluster_of, entry[i].index, others[k]);
                }
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        cluster_of[i] = root_of(cluster_of, (uint32_t)i);
    }
    free(entry);
    return FMP_OK;
}
