/*
 * arena.c: arenas over one reserved address range.
 *
 *   | run | run | free | run | ...   not yet handed out   ... | sink | guard |
 *   base                       fresh                        limit
 *
 * The range is reserved once without memory (PROT_NONE), so "is this arena memory?" is two
 * comparisons: that is how cJSON_Delete can be called on nodes of either kind. Runs are whole units of
 * 1 MiB. Free runs are kept in two lists in address order: warm ones (still backed by pages, at most
 * WARM_MAX_BYTES) and cold ones (pages given back). Requests that fail get the sink; writing past it
 * ends in the guard, never in somebody's data.
 */
#include "arena.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#define UNIT_BYTES      ((size_t)1 << 20)
#define PAGE_BYTES      ((size_t)4096)
#define SINK_BYTES      ((size_t)64 << 10)
#define RANGE_MAX_BYTES ((size_t)1 << 40)
#define RANGE_MIN_BYTES ((size_t)1 << 26)
#define WARM_MAX_BYTES  ((size_t)64 << 20)

static struct {
    pthread_once_t once;
    pthread_mutex_t lock; /* guards fresh, the lists and warm_bytes */
    _Atomic uintptr_t base;
    _Atomic uintptr_t end; /* of the whole range, sink and guard included */
    char *fresh;
    char *limit;
    char *sink;
    arena_block *warm;
    arena_block *cold;
    size_t warm_bytes;
} range = {.once = PTHREAD_ONCE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER};

/* Where no range can be had at all, arenas still need something to hand out. */
static char last_resort_sink[SINK_BYTES];

static void range_reserve(void)
{
    range.sink = last_resort_sink;
    for (size_t size = RANGE_MAX_BYTES; size >= RANGE_MIN_BYTES; size /= 2) {
        char *base = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base == MAP_FAILED) { continue; }
        char *limit = base + size - size / 8;
        if (mprotect(limit, SINK_BYTES, PROT_READ | PROT_WRITE) != 0) {
            munmap(base, size);
            continue;
        }
        range.fresh = base;
        range.limit = limit;
        range.sink = limit;
        atomic_store_explicit(&range.end, (uintptr_t)(base + size), memory_order_relaxed);
        atomic_store_explicit(&range.base, (uintptr_t)base, memory_order_relaxed);
        return;
    }
}

bool fmp_arena_owns(const void *p)
{
    uintptr_t at = (uintptr_t)p;
    return at >= atomic_load_explicit(&range.base, memory_order_relaxed) &&
           at < atomic_load_explicit(&range.end, memory_order_relaxed);
}

/* First fit; what is left over stays in the list. The pages of a run keep their state. */
static arena_block *list_take(arena_block **list, size_t size)
{
    for (arena_block **link = list; *link; link = &(*link)->next) {
        arena_block *run = *link;
        if (run->size_bytes < size) { continue; }
        if (run->size_bytes == size) {
            *link = run->next;
        } else {
            arena_block *rest = (arena_block *)(void *)((char *)run + size);
            ARENA_UNPOISON(rest, sizeof *rest);
            rest->next = run->next;
            rest->size_bytes = run->size_bytes - size;
            *link = rest;
        }
        run->size_bytes = size;
        return run;
    }
    return NULL;
}

/* Into address order, merged with its neighbours. */
static void list_put(arena_block **list, arena_block *run)
{
    arena_block *before = NULL;
    arena_block *after = *list;
    while (after && after < run) {
        before = after;
        after = after->next;
    }
    run->next = after;
    if (before) {
        before->next = run;
    } else {
        *list = run;
    }
    if (after && (char *)run + run->size_bytes == (char *)after) {
        run->size_bytes += after->size_bytes;
        run->next = after->next;
        ARENA_POISON(after, sizeof *after);
    }
    if (before && (char *)before + before->size_bytes == (char *)run) {
        before->size_bytes += run->size_bytes;
        before->next = run->next;
        ARENA_POISON(run, sizeof *run);
    }
}

static arena_block *range_extend(size_t size)
{
    if (size > (size_t)(range.limit - range.fresh)) { return NULL; }
    if (mprotect(range.fresh, size, PROT_READ | PROT_WRITE) != 0) { return NULL; }
    arena_block *run = (arena_block *)(void *)range.fresh;
    range.fresh += size;
    run->size_bytes = size;
    ARENA_POISON(run + 1, size - sizeof *run);
    return run;
}

/* A run of at least `need` payload bytes, or NULL. */
static arena_block *run_take(size_t need)
{
    size_t size;
    if (!fmp_add_ok(need, sizeof(arena_block) + UNIT_BYTES - 1, &size)) { return NULL; }
    size &= ~(UNIT_BYTES - 1);
    pthread_mutex_lock(&range.lock);
    arena_block *run = list_take(&range.warm, size);
    if (run) {
        range.warm_bytes -= size;
    } else {
        run = list_take(&range.cold, size);
    }
    if (!run) { run = range_extend(size); }
    pthread_mutex_unlock(&range.lock);
    return run;
}

static void run_give(arena_block *run)
{
    ARENA_POISON(run + 1, run->size_bytes - sizeof *run);
    pthread_mutex_lock(&range.lock);
    if (run->size_bytes <= WARM_MAX_BYTES - range.warm_bytes) {
        range.warm_bytes += run->size_bytes;
        list_put(&range.warm, run);
    } else {
        /* The head stays in memory; if the kernel refuses, the pages merely stay too. */
        (void)madvise((char *)run + PAGE_BYTES, run->size_bytes - PAGE_BYTES, MADV_DONTNEED);
        list_put(&range.cold, run);
    }
    pthread_mutex_unlock(&range.lock);
}

fmp_arena *fmp_arena_new(size_t limit_bytes)
{
    pthread_once(&range.once, range_reserve);
    fmp_arena *arena = calloc(1, sizeof *arena);
    if (arena) { arena->limit_bytes = limit_bytes ? limit_bytes : SIZE_MAX; }
    return arena;
}

static void give_all(arena_block *list)
{
    while (list) {
        arena_block *next = list->next;
        run_give(list);
        list = next;
    }
}

void fmp_arena_free(fmp_arena *arena)
{
    if (!arena) { return; }
    give_all(arena->blocks);
    give_all(arena->spare);
    free(arena);
}

void fmp_arena_reset(fmp_arena *arena, size_t keep_bytes)
{
    if (!arena) { return; }
    arena_block *lists[2] = {arena->spare, arena->blocks};
    arena->spare = NULL;
    for (int i = 0; i < 2; i++) {
        for (arena_block *b = lists[i], *next; b; b = next) {
            next = b->next;
            if (b->size_bytes > keep_bytes) {
                run_give(b);
                continue;
            }
            keep_bytes -= b->size_bytes;
            ARENA_POISON(b + 1, b->size_bytes - sizeof *b);
            b->next = arena->spare;
            arena->spare = b;
        }
    }
    arena->blocks = NULL;
    arena->cur = arena->end = NULL;
    arena->used_bytes = 0;
    arena->failed = false;
}

static void *sink_for(fmp_arena *arena)
{
    if (arena) { arena->failed = true; }
    pthread_once(&range.once, range_reserve);
    return range.sink;
}

static arena_block *next_block(fmp_arena *arena, size_t need)
{
    for (arena_block **link = &arena->spare; *link; link = &(*link)->next) {
        arena_block *b = *link;
        if (b->size_bytes - sizeof *b >= need) {
            *link = b->next;
            return b;
        }
    }
    return run_take(need);
}

void *fmp_arena_take_slow_(fmp_arena *arena, size_t size_bytes)
{
    size_t need;
    if (!fmp_add_ok(size_bytes, (size_bytes == 0) + ARENA_ALIGN - 1, &need)) { return sink_for(arena); }
    need &= ~(size_t)(ARENA_ALIGN - 1);
    size_t step = need + ARENA_REDZONE;
    if (step < need || need > arena->limit_bytes - arena->used_bytes) { return sink_for(arena); }
    arena_block *b = next_block(arena, step);
    if (!b) { return sink_for(arena); }
    b->next = arena->blocks;
    arena->blocks = b;
    char *p = (char *)(b + 1);
    char *rest = p + step;
    char *end = (char *)b + b->size_bytes;
    /* Go on in whichever block has more room, so one large request does not waste the current block. */
    if (end - rest > arena->end - arena->cur) {
        arena->cur = rest;
        arena->end = end;
    }
    arena->used_bytes += need;
    ARENA_UNPOISON(p, size_bytes);
    return p;
}

void *fmp_arena_take(fmp_arena *arena, size_t size_bytes)
{
    return arena ? arena_take(arena, size_bytes) : sink_for(NULL);
}

void *fmp_arena_take_zero(fmp_arena *arena, size_t count, size_t size_bytes)
{
    size_t total;
    if (!fmp_mul_ok(count, size_bytes, &total)) { return memset(sink_for(arena), 0, SINK_BYTES); }
    char *p = fmp_arena_take(arena, total);
    return memset(p, 0, p == range.sink && total > SINK_BYTES ? SINK_BYTES : total);
}

char *fmp_arena_strndup(fmp_arena *arena, const char *text, size_t len)
{
    size_t size;
    char *p = fmp_add_ok(len, 1, &size) ? fmp_arena_take(arena, size) : sink_for(arena);
    if (p == range.sink) {
        p[0] = '\0';
        return p;
    }
    if (len > 0) { memcpy(p, text, len); }
    p[len] = '\0';
    return p;
}

char *fmp_arena_strdup(fmp_arena *arena, const char *text)
{
    return fmp_arena_strndup(arena, text, strlen(text));
}

char *fmp_arena_printf(fmp_arena *arena, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int need = vsnprintf(NULL, 0, fmt, ap);
    char *p = need >= 0 ? fmp_arena_take(arena, (size_t)need + 1) : sink_for(arena);
    if (p == range.sink) {
        p[0] = '\0';
    } else {
        vsnprintf(p, (size_t)need + 1, fmt, again);
    }
    va_end(again);
    va_end(ap);
    return p;
}

fmp_status fmp_arena_ok(const fmp_arena *arena, fmp_err *err)
{
    if (arena && !arena->failed) { return FMP_OK; }
    if (arena && arena->limit_bytes != SIZE_MAX) {
        return fmp_fail(err, FMP_E_NOMEM, "out of memory: the limit is %zu bytes, %zu were in use",
                        arena->limit_bytes, arena->used_bytes);
    }
    return fmp_fail(err, FMP_E_NOMEM, "out of memory, with %zu bytes in use", arena ? arena->used_bytes : 0);
}

size_t fmp_arena_used(const fmp_arena *arena)
{
    return arena ? arena->used_bytes : 0;
}
