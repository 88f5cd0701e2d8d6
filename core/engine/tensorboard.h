/*
 * tensorboard.h: the points of a run as event files that TensorBoard reads, one folder for each stage that has
 * any: RUN/tensorboard.events/STAGE/events.out.tfevents.SECONDS.fmpipe.
 *
 * When     one call at a time (the emitter's lock).
 */
#ifndef FMP_ENGINE_TENSORBOARD_H
#define FMP_ENGINE_TENSORBOARD_H

#include <fmpipe/fs.h>

typedef struct fmp_tboard fmp_tboard;

/* run_dir is copied; nothing is made on disk before the first point.          returned; fmp_tboard_free
   NULL when out of memory. */
fmp_tboard *fmp_tboard_new(const char *run_dir);
/* A failed write is remembered, later points are dropped. */
void fmp_tboard_point(fmp_tboard *t, const char *stage, const char *series, uint64_t step, double value);
void fmp_tboard_flush(fmp_tboard *t);
/* 0, or the errno of the first write that failed. NULL is allowed. */
int fmp_tboard_free(fmp_tboard *t);

/* One record: the bytes of `data` between their length and their checksums, appended to out. */
void fmp_tboard_record(fmp_buf *out, const void *data, size_t len);
/* The Event message {wall_time, step, summary: {value: {tag, simple_value}}}, appended to out. */
void fmp_tboard_event(fmp_buf *out, double wall_time, uint64_t step, const char *tag, float value);

#endif
