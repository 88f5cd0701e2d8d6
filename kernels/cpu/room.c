/*
 * room.c: memory for packed weights, cut one after another from large blocks.
 *
 * A token of a single text reads every weight once, end to end. Pages of 2 MiB make that reading up to half faster:
 * fewer look-ups of addresses, and no stop of the CPU's read-ahead every 4 KiB. Most matrices of a small model are
 * smaller than such a page, so they share blocks. A block lives as long as a weight lies in it.
 */
#include "internal.h"

#include <stdlib.h>
#include <sys/mman.h>

#define PAGE ((size_t)2 << 20)
#define BLOCK_SIZE                                                                                           \
    ((size_t)64 << 20) /* of address space; pages that nothing was cut from are never touched */

struct fmk_room {
    void *map;
    unsigned char *start; /* the first whole page of the mapping */
    size_t map_size, size, used, n_weights;
    fmk_room **cutter; /* what points here to cut from it, or NULL */
};

static fmk_room *new_room(size_t size)
{
    fmk_room *r = calloc(1, sizeof *r);
    if (!r) { return NULL; }
    *r = (fmk_room){.map_size = size + PAGE, .size = size};
    r->map =
        mmap(NULL, r->map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (r->map == MAP_FAILED) {
        free(r);
        return NULL;
    }
    r->start = (unsigned char *)r->map + (PAGE - (uintptr_t)r->map % PAGE) % PAGE;
    fmk_huge_pages(r->start, size);
    return r;
}

void fmk_room_leave(fmk_room **current)
{
    if (*current) { (*current)->cutter = NULL; }
    *current = NULL;
}

void fmk_room_drop(fmk_room *r)
{
    if (!r || --r->n_weights > 0) { return; }
    if (r->cutter) { *r->cutter = NULL; }
    munmap(r->map, r->map_size);
    free(r);
}

void *fmk_room_take(fmk_room **current, size_t count, size_t size_bytes, fmk_room **holder)
{
    size_t bytes = 0;
    *holder = NULL;
    if (!fmp_mul_ok(count, size_bytes, &bytes) || bytes > SIZE_MAX / 2 - PAGE) { return NULL; }
    bytes = (bytes + 127) / 64 * 64; /* a tile may read past the last panel, but not past its cache line */
    if (!*current || bytes > (*current)->size - (*current)->used) {
        size_t whole = (bytes + PAGE - 1) / PAGE * PAGE;
        fmk_room *fresh = new_room(whole > BLOCK_SIZE ? whole : BLOCK_SIZE);
        if (!fresh) { return NULL; }
        fmk_room_leave(current);
        fresh->cutter = current;
        *current = fresh;
    }
    fmk_room *r = *current;
    void *p = r->start + r->used;
    r->used += bytes;
    r->n_weights++;
    *holder = r;
    return p;
}
