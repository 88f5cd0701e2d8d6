/* links: fmtext fmbase */
/*
 * fuzz_tokens.c: any bytes as a token artifact; everything of what opens is read. The input is a byte that
 * says how long meta.json is (in 16 bytes), meta.json, and tokens.bin; where tokens.bin begins with the
 * magic, the header's check digits are made to fit, so that the checks behind them are reached. records.bin
 * has the length that belongs to it.
 */
#include "fuzz.h"

#include <fmpipe/fs.h>
#include <fmpipe/tokens.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[] = "/tmp/fmp-fuzz-tokens-XXXXXX";

static void remove_dir(void)
{
    if (fmp_remove_tree(dir, NULL) != FMP_OK) { fprintf(stderr, "cannot remove %s\n", dir); }
}

static void put(const char *name, const void *data, size_t len)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    if (!file || (len > 0 && fwrite(data, 1, len, file) != len) || fclose(file) != 0) { abort(); }
}

/* Every value that a trainer would use. */
static uint64_t read_all(const fmp_tokens *t)
{
    uint64_t sum = 0;
    for (uint32_t b = 0; b < t->n_bins; b++) {
        uint64_t in_bin = 0;
        for (uint32_t k = t->bin_begin[b]; k < t->bin_begin[b + 1]; k++) {
            uint32_t s = t->bin_seg[k];
            in_bin += t->seg_begin[s + 1] - t->seg_begin[s];
            sum += (unsigned char)t->locales[t->locale[s]][0] +
                   (unsigned char)t->record[(size_t)s * FMP_TOKENS_RECORD];
            for (uint64_t i = t->seg_begin[s]; i < t->seg_begin[s + 1]; i++) {
                if (t->ids[i] >= t->vocab_size || !(t->weight[i] >= 0)) { abort(); }
                sum += t->ids[i];
            }
        }
        if (in_bin > t->bin_size) { abort(); }
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint64_t sink;
    if (strcmp(dir + sizeof dir - 7, "XXXXXX") == 0) {
        if (!mkdtemp(dir)) { abort(); }
        (void)atexit(remove_dir);
    }
    if (size == 0 || size > 1 << 20) { return 0; }
    size_t n_meta = (size_t)data[0] * 16 < size - 1 ? (size_t)data[0] * 16 : size - 1,
           n_bin = size - 1 - n_meta;
    uint8_t *bin = malloc(n_bin + 64), digest[32];
    uint64_t n_segments = 0;
    if (!bin) { abort(); }
    memset(bin, 0, n_bin + 64);
    memcpy(bin, data + 1 + n_meta, n_bin);
    if (n_bin >= 64 && memcmp(bin, "FMPTOKS", 8) == 0) {
        fmp_sha256_bytes(bin, 56, digest);
        memcpy(bin + 56, digest, 8);
        memcpy(&n_segments, bin + 24, 8);
    }
    put("tokens.bin", bin, n_bin);
    put("meta.json", data + 1, n_meta);
    size_t n_records = n_segments < 4096 ? (size_t)n_segments * FMP_TOKENS_RECORD : 0;
    char *records = malloc(n_records + 1);
    if (!records) { abort(); }
    memset(records, 'a', n_records);
    put("records.bin", records, n_records);
    fmp_err err = FMP_ERR_INIT;
    fmp_tokens tokens;
    if (fmp_tokens_open(dir, &tokens, &err) == FMP_OK) {
        sink += read_all(&tokens);
        fmp_tokens_close(&tokens);
    } else if (!*err.message) {
        abort();
    }
    free(records);
    free(bin);
    return 0;
}
