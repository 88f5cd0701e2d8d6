/*
 * rng.c: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3; SC 2011).
 *
 * The key is the seed, the counter is (index, stream), low words first: a number depends on where it
 * is used and on nothing that happened before.
 */
#include <fmpipe/fs.h>

#include <math.h>

#define ROUNDS 10

__extension__ typedef unsigned __int128 u128;

typedef struct block {
    uint32_t w[4];
} block;

static block philox(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    block x = {{(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)}};
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * x.w[0];
        uint64_t b = (uint64_t)0xCD9E8D57u * x.w[2];
        x = (block){
            {(uint32_t)(b >> 32) ^ x.w[1] ^ k0, (uint32_t)b, (uint32_t)(a >> 32) ^ x.w[3] ^ k1, (uint32_t)a}};
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return x;
}

static uint64_t low64(block x)
{
    return (uint64_t)x.w[1] << 32 | x.w[0];
}

static uint64_t high64(block x)
{
    return (uint64_t)x.w[3] << 32 | x.w[2];
}

uint64_t fmp_rng_u64(uint64_t seed, uint64_t stream, uint64_t index)
{
    return low64(philox(seed, stream, index));
}

double fmp_rng_unit(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (double)(fmp_rng_u64(seed, stream, index) >> 11) * 0x1p-53;
}

/*
 * Lemire 2019, "Fast random integer generation in an interval". A rejected draw is repeated under
 * another key, not at the next index, which belongs to another use.
 */
uint64_t fmp_rng_below(uint64_t seed, uint64_t stream, uint64_t index, uint64_t n)
{
    u128 m = (u128)fmp_rng_u64(seed, stream, index) * n;
    if ((uint64_t)m < n) {
        uint64_t reject_below = (0 - n) % n;
        while ((uint64_t)m < reject_below) {
            seed += 0x9E3779B97F4A7C15u;
            m = (u128)fmp_rng_u64(seed, stream, index) * n;
        }
    }
    return (uint64_t)(m >> 64);
}

double fmp_rng_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    const double two_pi = 6.283185307179586476925;
    block x = philox(seed, stream, index);
    double u = (double)((low64(x) >> 11) + 1) * 0x1p-53; /* (0, 1]: its logarithm is finite */
    double v = (double)(high64(x) >> 11) * 0x1p-53;
    return sqrt(-2.0 * log(u)) * cos(two_pi * v);
}

void fmp_rng_shuffle(uint64_t seed, uint64_t epoch, size_t n, uint32_t *order)
{
    for (size_t i = 0; i < n; i++) {
        order[i] = (uint32_t)i;
    }
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)fmp_rng_below(seed, epoch, i - 1, i);
        uint32_t swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
}
