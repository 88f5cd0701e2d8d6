/*
 * segment_private.h: one segment's state; see segment.c for the threads and segment_block.c for what happens
 * to a block.
 */
#ifndef FMP_ENGINE_SEGMENT_PRIVATE_H
#define FMP_ENGINE_SEGMENT_PRIVATE_H

#include "engine.h"

/* Growable in the block's arena. */
typedef struct fmp_items {
    fmp_item *v;
    size_t n, cap;
} fmp_items;

/* A refused record of a block, in the arena. */
typedef struct fmp_seg_refusal {
    fmp_refusal r;
    size_t stage;
    struct fmp_seg_refusal *next;
} fmp_seg_refusal;

/* What one stage did with one block. */
typedef struct fmp_seg_tally {
    uint64_t n_in, n_out, n_rejected;
    fmp_tally counts, reasons; /* in the arena */
    fmp_buf rejects;           /* heap, kept from block to block */
    double busy_seconds;
} fmp_seg_tally;

/* A block on its way: raw rows, arena, results. At most 2 × threads + 2 of them exist. */
typedef struct fmp_slot {
    fmp_block block; /* first: grow() gets a pointer to it */
    fmp_buf text;    /* the rows, for a segment that reads an artifact */
    char *heap;      /* the rows, for a source: what block.data points to */
    size_t heap_cap;
    uint64_t seq;
    uint32_t file;         /* of block.file in the segment's table */
    const char *file_name; /* of block.file as the user wrote it; "" for generated records */
    char source
        [96]; /* what ids are made of: the digest of block.file, or the stage's key for generated records */
    fmp_arena *arena;
    cJSON **heap_docs; /* documents that a plugin made outside the arena: deleted with the block */
    size_t n_heap_docs, cap_heap_docs;
    fmp_seg_tally *tallies;
    fmp_seg_refusal *first_refusal, **last_refusal;
    fmp_buf out;
    fmp_status status;
    size_t bad_stage; /* which stage `status` is from */
    fmp_err err;
    bool used, done;
} fmp_slot;

typedef struct fmp_segment {
    fmp_engine *e;
    fmp_live *lives;
    size_t n;
    bool has_source, has_sink;
    fmp_records in; /* where there is no source */
    fmp_file_table files;
    fmp_file_writer writer;
    pthread_mutex_t fetch_lock; /* one fetch at a time; taken before `lock` */
    pthread_mutex_t lock;       /* slots, sequence numbers, flags */
    pthread_cond_t freed;
    fmp_slot *slots;
    size_t n_slots;
    uint64_t next_fetch, next_commit;
    bool ended;      /* nothing more to fetch */
    bool committing; /* a thread is in commit */
    /* only in commit: */
    bool over_limit; /* a policy is broken: no more output, some more problems */
    uint64_t bytes_after_limit;
    fmp_status status;
    fmp_err err;
} fmp_segment;

/* Everything that happens to a block between fetch and commit. Any thread. */
void fmp_segment_process(fmp_segment *seg, fmp_slot *slot, uint32_t worker);

#endif
