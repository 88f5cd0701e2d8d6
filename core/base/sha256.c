/*
 * sha256.c: SHA-256 by libcrypto's direct functions.
 *
 * They are used rather than EVP because they allocate nothing and cannot fail (a digest has no error
 * channel here), and because records are short: EVP's set-up costs as much as hashing 200 bytes. Both
 * reach the same SHA-NI code.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <fmpipe/fs.h>

#include <openssl/sha.h>
#include <stdlib.h>

struct fmp_sha256 {
    SHA256_CTX ctx;
};

fmp_sha256 *fmp_sha256_new(void)
{
    fmp_sha256 *h = malloc(sizeof *h);
    if (h) { SHA256_Init(&h->ctx); }
    return h;
}

void fmp_sha256_add(fmp_sha256 *h, const void *data, size_t len)
{
    if (len > 0) { SHA256_Update(&h->ctx, data, len); }
}

void fmp_sha256_end(fmp_sha256 *h, unsigned char digest[32])
{
    SHA256_Final(digest, &h->ctx);
    free(h);
}

void fmp_sha256_bytes(const void *data, size_t len, unsigned char digest[32])
{
    SHA256_CTX ctx;
    SHA256_Init(&ctx);
    if (len > 0) { SHA256_Update(&ctx, data, len); }
    SHA256_Final(digest, &ctx);
}

void fmp_hex(const unsigned char *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}
