/*
 * event.h: what a run tells the world while it works: events for the CLI, log.txt, metrics.jsonl.
 *
 * All functions may be called on any thread; events leave one at a time. Progress is cut to ten a second for
 * each run.
 */
#ifndef FMP_ENGINE_EVENT_H
#define FMP_ENGINE_EVENT_H

#include "run.h"
#include <fmpipe/fs.h>

typedef struct fmp_emitter fmp_emitter;

/* run_dir: where log.txt and metrics.jsonl go; events may be NULL.                      returned;
   fmp_emitter_free */
FMP_MUST_USE fmp_status fmp_emitter_new(const fmp_events *events, const char *run_dir, bool verbose,
                                        fmp_emitter **out, fmp_err *err);
/* FMP_E_IO if a line of log.txt or metrics.jsonl could not be written. */
FMP_MUST_USE fmp_status fmp_emitter_free(fmp_emitter *e, fmp_err *err);

/* A fresh event on the heap, whatever the thread's JSON scope: {"event":name,"stage":stage}; stage may be
   NULL. */
cJSON *fmp_event_new(const char *name, const char *stage);
/* `event` taken. */
void fmp_emit(fmp_emitter *e, cJSON *event);
/* A line of log.txt; an event too if it is a warning or the run is verbose. stage may be NULL. */
void fmp_emit_log(fmp_emitter *e, const char *stage, fmp_log_level level, const char *text);
void fmp_emit_point(fmp_emitter *e, const char *stage, const char *series, uint64_t step, double value);
void fmp_emit_progress(fmp_emitter *e, const char *stage, uint64_t done, uint64_t total, const char *unit,
                       const char *text);

#endif
