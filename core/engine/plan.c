/*
 * plan.c: fmp_plan_make and fmp_explain, two views of the graph.
 */
#include "graph.h"

#include <stdlib.h>

#define STORE_DEFAULT ".fmpipe"

const char *fmp_store_dir_of(const fmp_run_options *o)
{
    return o->store_dir ? o->store_dir : STORE_DEFAULT;
}

fmp_status fmp_engine_load_stage(const fmp_run_options *o, const fmp_stage_info *info, const fmp_stage **out,
                                 fmp_err *err)
{
    return o->load ? o->load(o->load_arg, info, out, err) : fmp_plugin_load(info, out, err);
}

/* Store and graph, updated once. */
static fmp_status look(const fmp_pipeline *p, const fmp_run_options *o, fmp_store **store, fmp_graph **graph,
                       fmp_err *err)
{
    *graph = NULL;
    FMP_TRY(fmp_store_open(fmp_store_dir_of(o), store, err));
    fmp_status st = fmp_graph_new(p, o, *store, graph, err);
    if (st == FMP_OK) { st = fmp_graph_update(*graph, err); }
    if (st != FMP_OK) {
        fmp_graph_free(*graph);
        fmp_store_close(*store);
        *graph = NULL;
        *store = NULL;
    }
    return st;
}

/* Records that a stage will read, where every producer's result is known; -1: not known. */
static double input_records(const fmp_graph *g, size_t s)
{
    const fmp_stage_node *node = &g->p->stages[s];
    double n = 0.0;
    for (size_t i = 0; i < node->n_links; i++) {
        const fmp_link *link = &node->links[i];
        if (link->stage < 0) { continue; }
        const fmp_port *port = &g->p->stages[link->stage].info->outputs[link->out];
        const fmp_stage_state *from = &g->states[link->stage];
        if (strcmp(port->type, FMP_PORT_RECORDS) != 0) { continue; }
        if (!from->record || from->forced) { return -1.0; }
        double all = fmp_json_num(from->record, "out", -1.0);
        n += fmp_json_num(fmp_json_get(from->record, "out_by"), port->name, all);
    }
    return n;
}

/* From the last finished action under this stage's id, whatever its options and inputs were. */
static fmp_status estimate(const fmp_graph *g, size_t s, fmp_stage_plan *out, fmp_err *err)
{
    const fmp_stage_node *node = &g->p->stages[s];
    cJSON *last = NULL, *record = NULL;
    out->seconds = out->peak_bytes = -1.0;
    FMP_TRY(fmp_store_last(g->store, g->p->name, node->id, &last, err));
    bool same =
        last && strcmp(fmp_json_str(fmp_json_get(last, "preimage"), "stage", ""), node->info->name) == 0;
    fmp_status st = same ? fmp_store_action(g->store, fmp_json_str(last, "key", ""), &record, err) : FMP_OK;
    if (st == FMP_OK && record) {
        double before = fmp_json_num(record, "in", 0.0), now = input_records(g, s);
        out->seconds = fmp_json_num(record, "seconds", -1.0);
        out->peak_bytes = fmp_json_num(record, "peak_bytes", -1.0);
        if (before > 0.0 && now > 0.0 && out->seconds > 0.0) { out->seconds *= now / before; }
    }
    cJSON_Delete(last);
    cJSON_Delete(record);
    return st;
}

static fmp_status copy_plan(const fmp_graph *g, fmp_plan *plan, fmp_err *err)
{
    for (size_t s = 0; s < plan->n_stages; s++) {
        const fmp_stage_state *state = &g->states[s];
        fmp_stage_plan *out = &plan->stages[s];
        memcpy(out->key, state->key, sizeof out->key);
        out->action = g->units[state->unit].must_run ? FMP_ACTION_RUN : FMP_ACTION_CACHED;
        out->reason = fmp_arena_strdup(plan->arena, state->reason);
        out->detail = fmp_arena_strdup(plan->arena, state->detail);
        out->segment = (int)state->unit;
        out->known = state->known;
        out->resumes =
            out->action == FMP_ACTION_RUN && state->known && fmp_store_has_work(g->store, state->key);
        FMP_TRY(estimate(g, s, out, err));
    }
    return FMP_OK;
}

fmp_status fmp_plan_make(const fmp_pipeline *p, const fmp_run_options *o, fmp_plan **out, fmp_err *err)
{
    *out = NULL;
    fmp_store *store;
    fmp_graph *graph;
    FMP_TRY(look(p, o, &store, &graph, err));
    fmp_plan *plan = calloc(1, sizeof *plan);
    fmp_status st = FMP_OK;
    if (plan) { plan->arena = fmp_arena_new(0); }
    if (plan && plan->arena) {
        plan->n_stages = p->n_stages;
        plan->stages = fmp_arena_take_zero(plan->arena, p->n_stages + 1, sizeof *plan->stages);
        st = fmp_arena_ok(plan->arena, err);
        if (st == FMP_OK) { st = copy_plan(graph, plan, err); }
        if (st == FMP_OK) { st = fmp_arena_ok(plan->arena, err); }
    } else {
        st = fmp_fail(err, FMP_E_NOMEM, "out of memory for the plan");
    }
    if (st == FMP_OK) {
        *out = plan;
    } else {
        fmp_plan_free(plan);
    }
    fmp_graph_free(graph);
    fmp_store_close(store);
    return st;
}

void fmp_plan_free(fmp_plan *plan)
{
    if (!plan) { return; }
    fmp_arena_free(plan->arena);
    free(plan);
}

/* ------------------------------------------------------------------------------------------------ explain */

static cJSON *explain(const fmp_graph *g, size_t s, const cJSON *last)
{
    const fmp_stage_state *state = &g->states[s];
    const cJSON *before = fmp_json_get(last, "preimage");
    cJSON *out = cJSON_CreateObject();
    cJSON_AddStringToObject(out, "stage", g->p->stages[s].id);
    cJSON_AddStringToObject(out, "use", g->p->stages[s].info->name);
    cJSON_AddStringToObject(out, "action", g->units[state->unit].must_run ? "run" : "cached");
    cJSON_AddStringToObject(out, "reason", state->reason);
    cJSON_AddStringToObject(out, "detail", state->detail);
    cJSON_AddBoolToObject(out, "known", state->known);
    if (state->known) { cJSON_AddStringToObject(out, "key", state->key); }
    if (last) { cJSON_AddStringToObject(out, "last_key", fmp_json_str(last, "key", "")); }
    if (state->known) { cJSON_AddItemToObject(out, "now", cJSON_Duplicate(state->preimage, true)); }
    if (before) { cJSON_AddItemToObject(out, "last", cJSON_Duplicate(before, true)); }
    bool both = state->known && before;
    cJSON_AddItemToObject(out, "differences",
                          both ? fmp_key_differences(state->preimage, before) : cJSON_CreateArray());
    return out;
}

fmp_status fmp_explain(const fmp_pipeline *p, const fmp_run_options *o, const char *stage, cJSON **out,
                       fmp_err *err)
{
    *out = NULL;
    size_t s = 0;
    while (s < p->n_stages && strcmp(p->stages[s].id, stage) != 0) {
        s++;
    }
    if (s == p->n_stages) {
        return fmp_fail(err, FMP_E_USAGE, "expected the id of a stage of %s, found '%s'", p->file, stage);
    }
    fmp_store *store;
    fmp_graph *graph;
    FMP_TRY(look(p, o, &store, &graph, err));
    cJSON *last = NULL;
    fmp_status st = fmp_store_last(store, p->name, stage, &last, err);
    if (st == FMP_OK) {
        *out = explain(graph, s, last);
        if (!*out) { st = fmp_fail(err, FMP_E_NOMEM, "out of memory for the explanation"); }
    }
    cJSON_Delete(last);
    fmp_graph_free(graph);
    fmp_store_close(store);
    return st;
}
