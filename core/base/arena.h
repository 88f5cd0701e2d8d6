/*
 * arena.h: the inside of fmp_arena, for the files of core/base that take memory in their inner loop.
 */
#ifndef FMP_BASE_ARENA_H
#define FMP_BASE_ARENA_H

#include <fmpipe/mem.h>

#if defined(__SANITIZE_ADDRESS__)
#define FMP_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FMP_ASAN 1
#endif
#endif

#ifdef FMP_ASAN
#include <sanitizer/asan_interface.h>
#define ARENA_POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define ARENA_UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#define ARENA_REDZONE        16u
#else
#define ARENA_POISON(p, n)   ((void)(p), (void)(n))
#define ARENA_UNPOISON(p, n) ((void)(p), (void)(n))
#define ARENA_REDZONE        0u
#endif

#define ARENA_ALIGN 16u

/* The head of a run of memory, used or free; the payload follows at once (16 bytes on). */
typedef struct arena_block {
    struct arena_block *next;
    size_t size_bytes; /* of the whole run, this head included */
} arena_block;

struct fmp_arena {
    char *cur; /* cur..end: what is left of the block in use */
    char *end;
    size_t used_bytes;
    size_t limit_bytes; /* SIZE_MAX: no cap */
    bool failed;
    arena_block *blocks; /* in use, any order */
    arena_block *spare;  /* kept by the last reset */
};

/* When the current block has no room, or the request is refused. Never NULL. */
void *fmp_arena_take_slow_(fmp_arena *arena, size_t size_bytes);

static inline void *arena_take(fmp_arena *a, size_t size_bytes)
{
    /* A request of 0 still gets an address of its own; one near SIZE_MAX wraps to less than it asked for. */
    size_t need = (size_bytes + (size_bytes == 0) + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    size_t step = need + ARENA_REDZONE;
    if (need < size_bytes || step < need || step > (size_t)(a->end - a->cur) ||
        need > a->limit_bytes - a->used_bytes) {
        return fmp_arena_take_slow_(a, size_bytes);
    }
    char *p = a->cur;
    a->cur += step;
    a->used_bytes += need;
    ARENA_UNPOISON(p, size_bytes);
    return p;
}

#endif
