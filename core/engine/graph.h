/*
 * graph.h: a pipeline's stages grouped into units, with what is known about each one's result. plan, run and
 * explain all look at this one picture; `run` updates it after each unit.
 *
 * A unit is a gather or task stage, or a segment: a chain of source, map and sink stages whose results in
 * between have one consumer each. Units are in file order of their first stage; a unit's inputs come from
 * units before it.
 */
#ifndef FMP_ENGINE_GRAPH_H
#define FMP_ENGINE_GRAPH_H

#include "key.h"
#include "run.h"
#include "store.h"

typedef struct fmp_unit {
    size_t *stages; /* indices, in the order records flow */
    size_t n;
    bool must_run;
    bool known; /* every input of it is: it can run now */
    int n_runs; /* in this process */
} fmp_unit;

typedef struct fmp_stage_state {
    size_t unit;
    bool known;  /* key and preimage are set                                    */
    bool forced; /* --force, and not run yet                                    */
    char key[65];
    cJSON *preimage;
    cJSON *record;      /* action record of `key`, NULL: none                          */
    const char *reason; /* why it must run; "" if it need not                          */
    const char *detail;
    char *numeric_env; /* NULL: not asked for yet                                     */
} fmp_stage_state;

typedef struct fmp_graph {
    const fmp_pipeline *p;
    const fmp_run_options *o;
    fmp_store *store;
    fmp_arena *arena;
    fmp_stage_state *states;
    fmp_unit *units;
    size_t n_units;
} fmp_graph;

/* Groups the stages. Errors  FMP_E_CONFIG for an unknown --force stage, FMP_E_UNSUPPORTED for a map with
   two inputs. */
FMP_MUST_USE fmp_status fmp_graph_new(const fmp_pipeline *p, const fmp_run_options *o, fmp_store *store,
                                      fmp_graph **out, fmp_err *err);
void fmp_graph_free(fmp_graph *g);
/* Keys, records, what must run and why, from what is in the store now. */
FMP_MUST_USE fmp_status fmp_graph_update(fmp_graph *g, fmp_err *err);
/* A stage's new action record. `record` taken. */
void fmp_graph_set_record(fmp_graph *g, size_t stage, cJSON *record);

/* Number of links that take this output. */
size_t fmp_graph_consumers(const fmp_pipeline *p, size_t stage, size_t port);
size_t fmp_graph_n_ports(const fmp_port *ports);
/* The object of an output, by the stage's action record; NULL: not known, or streamed. */
const char *fmp_graph_output(const fmp_graph *g, size_t stage, size_t port);
/* The store's folder by the options. */
const char *fmp_store_dir_of(const fmp_run_options *o);
/* A stage's callbacks: by the options' `load`, else from its plugin. */
FMP_MUST_USE fmp_status fmp_engine_load_stage(const fmp_run_options *o, const fmp_stage_info *info,
                                              const fmp_stage **out, fmp_err *err);
/* The link that brings a map's or sink's records. */
const fmp_link *fmp_graph_stream_link(const fmp_stage_node *node);

#endif
