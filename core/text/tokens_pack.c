/*
 * tokens_pack.c: best-fit decreasing in linear time.
 *
 * Room in a bin is a small whole number, so open bins are kept in one stack for each amount of room, and a
 * bitmap of a few levels finds the smallest amount that is enough. Samples come longest first, from a
 * counting sort.
 */
#include <fmpipe/tokens.h>

#define NONE     UINT32_MAX
#define WORDS(n) (((size_t)(n) + 63) / 64)

/* Set of numbers up to 2^24 with "smallest member not below x". */
typedef struct room_set {
    uint64_t *level[4]; /* level[0] has a bit a number; level[k + 1] a bit a non-empty word of level[k] */
} room_set;

static void set_add(room_set *set, size_t x)
{
    for (int k = 0; k < 4; k++, x /= 64) {
        set->level[k][x / 64] |= UINT64_C(1) << (x % 64);
    }
}

static void set_remove(room_set *set, size_t x)
{
    for (int k = 0; k < 4; k++, x /= 64) {
        set->level[k][x / 64] &= ~(UINT64_C(1) << (x % 64));
        if (set->level[k][x / 64] != 0) { return; }
    }
}

/* Smallest member >= x, or SIZE_MAX. size: numbers the set can hold. */
static size_t set_next(const room_set *set, size_t x, size_t size)
{
    size_t bound = size;
    for (int k = 0; k < 4; k++) {
        if (x >= bound) { return SIZE_MAX; }
        uint64_t bits = set->level[k][x / 64] >> (x % 64);
        if (bits) {
            x += (size_t)__builtin_ctzll(bits);
            for (; k > 0; k--) {
                x = x * 64 + (size_t)__builtin_ctzll(set->level[k - 1][x]);
            }
            return x;
        }
        x = x / 64 + 1;
        bound = WORDS(bound);
    }
    return SIZE_MAX;
}

static fmp_status check(const uint32_t *len, uint32_t n, uint32_t bin_size, fmp_err *err)
{
    if (bin_size == 0 || bin_size > FMP_TOKENS_MAX_BIN) {
        return fmp_fail(err, FMP_E_RANGE, "expected bins of 1 to %u tokens, found %u", FMP_TOKENS_MAX_BIN,
                        bin_size);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (len[i] == 0 || len[i] > bin_size) {
            return fmp_fail(err, FMP_E_RANGE, "sample %u: expected 1 to %u tokens, found %u", i, bin_size,
                            len[i]);
        }
    }
    return FMP_OK;
}

/* order (n): samples by length, longest first, equal ones in input order. start (bin_size + 2): scratch. */
static void sort_longest_first(const uint32_t *len, uint32_t n, uint32_t bin_size, uint32_t *start,
                               uint32_t *order)
{
    memset(start, 0, ((size_t)bin_size + 2) * sizeof *start);
    for (uint32_t i = 0; i < n; i++) {
        start[bin_size - len[i] + 1]++;
    }
    for (uint32_t k = 0; k <= bin_size; k++) {
        start[k + 1] += start[k];
    }
    for (uint32_t i = 0; i < n; i++) {
        order[start[bin_size - len[i]]++] = i;
    }
}

/* Number bins by their first sample in input order. */
static void renumber(uint32_t *bin_of, uint32_t n, uint32_t *new_number)
{
    uint32_t next = 0;
    for (uint32_t i = 0; i < n; i++) {
        new_number[i] = NONE;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (new_number[bin_of[i]] == NONE) { new_number[bin_of[i]] = next++; }
        bin_of[i] = new_number[bin_of[i]];
    }
}

fmp_status fmp_pack_best_fit(const uint32_t *len, uint32_t n, uint32_t bin_size, fmp_arena *arena,
                             uint32_t **bin_of, uint32_t *n_bins, fmp_err *err)
{
    FMP_TRY(check(len, n, bin_size, err));
    size_t rooms = (size_t)bin_size + 1, words = rooms;
    room_set open = {{NULL}};
    uint32_t *out = fmp_arena_take(arena, ((size_t)n + 1) * sizeof *out);
    fmp_arena *scratch = fmp_arena_new(0);
    if (!scratch) { return fmp_fail(err, FMP_E_NOMEM, "out of memory while packing %u samples", n); }
    uint32_t *order = fmp_arena_take(scratch, ((size_t)n + 1) * sizeof *order);
    uint32_t *below =
        fmp_arena_take(scratch, ((size_t)n + 1) * sizeof *below);       /* next bin of the same stack */
    uint32_t *top = fmp_arena_take(scratch, (rooms + 1) * sizeof *top); /* (rooms) bin, by room       */
    for (int k = 0; k < 4; k++, words = WORDS(words)) {
        open.level[k] = fmp_arena_take_zero(scratch, WORDS(words) + 1, sizeof(uint64_t));
    }
    fmp_status status = fmp_arena_ok(scratch, err);
    if (status == FMP_OK) { status = fmp_arena_ok(arena, err); }
    uint32_t bins = 0;
    if (status == FMP_OK) {
        sort_longest_first(len, n, bin_size, top, order);
        memset(top, 0xFF, (rooms + 1) * sizeof *top);
        for (uint32_t k = 0; k < n; k++) {
            uint32_t i = order[k];
            size_t room = set_next(&open, len[i], rooms);
            uint32_t bin = room == SIZE_MAX ? bins++ : top[room];
            if (room != SIZE_MAX) {
                top[room] = below[bin];
                if (top[room] == NONE) { set_remove(&open, room); }
            }
            size_t left = (room == SIZE_MAX ? bin_size : room) - len[i];
            below[bin] = top[left];
            top[left] = bin;
            set_add(&open, left);
            out[i] = bin;
        }
        renumber(out, n, below);
        *bin_of = out;
        *n_bins = bins;
    }
    fmp_arena_free(scratch);
    return status;
}
