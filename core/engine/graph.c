/*
 * graph.c: units, keys and what must run.
 *
 * A forward pass computes each key whose inputs are known, and looks it up. A backward pass then decides what
 * must run: a unit without a record, or one whose object is gone although something that runs (or nobody: a
 * result) needs it. So a middle result that went missing is made again only if somebody is going to read it.
 */
#include "graph.h"

#include <stdlib.h>

size_t fmp_graph_n_ports(const fmp_port *ports)
{
    size_t n = 0;
    while (ports && ports[n].name) {
        n++;
    }
    return n;
}

size_t fmp_graph_consumers(const fmp_pipeline *p, size_t stage, size_t port)
{
    size_t n = 0;
    for (size_t s = stage + 1; s < p->n_stages; s++) {
        for (size_t i = 0; i < p->stages[s].n_links; i++) {
            const fmp_link *link = &p->stages[s].links[i];
            n += link->stage == (int)stage && link->out == (int)port;
        }
    }
    return n;
}

const fmp_link *fmp_graph_stream_link(const fmp_stage_node *node)
{
    fmp_stage_kind kind = node->info->kind;
    return (kind == FMP_MAP || kind == FMP_SINK) && node->n_links > 0 ? &node->links[0] : NULL;
}

/* ------------------------------------------------------------------------------------------------ units */

static bool joins_producer(const fmp_pipeline *p, const fmp_stage_node *node)
{
    const fmp_link *link = fmp_graph_stream_link(node);
    if (!link || link->stage < 0) { return false; }
    fmp_stage_kind kind = p->stages[link->stage].info->kind;
    return (kind == FMP_SOURCE || kind == FMP_MAP) &&
           fmp_graph_consumers(p, (size_t)link->stage, (size_t)link->out) == 1;
}

static fmp_status check_links(const fmp_stage_node *node, fmp_err *err)
{
    fmp_stage_kind kind = node->info->kind;
    if (kind != FMP_MAP && kind != FMP_SINK) { return FMP_OK; }
    if (node->n_links == 1 && node->links[0].stage >= 0) { return FMP_OK; }
    (void)fmp_fail(err, FMP_E_UNSUPPORTED, "expected one records input of stage '%s' (%s), found %zu",
                   node->id, node->info->name, node->n_links);
    return fmp_err_at(err, node->mark.file, node->mark.line, node->mark.column, UINT64_MAX);
}

static fmp_status group(fmp_graph *g, fmp_err *err)
{
    const fmp_pipeline *p = g->p;
    for (size_t s = 0; s < p->n_stages; s++) {
        const fmp_stage_node *node = &p->stages[s];
        FMP_TRY(check_links(node, err));
        if (joins_producer(p, node)) {
            g->states[s].unit = g->states[node->links[0].stage].unit;
        } else {
            g->states[s].unit = g->n_units++;
            g->units[g->states[s].unit].stages = fmp_arena_take(g->arena, p->n_stages * sizeof(size_t));
            FMP_TRY(fmp_arena_ok(g->arena, err));
        }
        fmp_unit *unit = &g->units[g->states[s].unit];
        unit->stages[unit->n++] = s;
    }
    return FMP_OK;
}

static fmp_status mark_forced(fmp_graph *g, fmp_err *err)
{
    for (size_t i = 0; i < g->o->n_force; i++) {
        bool found = false;
        for (size_t s = 0; s < g->p->n_stages; s++) {
            if (strcmp(g->p->stages[s].id, g->o->force[i]) != 0) { continue; }
            g->states[s].forced = found = true;
        }
        if (!found) {
            return fmp_fail(err, FMP_E_CONFIG, "expected the id of a stage after --force, found '%s'",
                            g->o->force[i]);
        }
    }
    return FMP_OK;
}

fmp_status fmp_graph_new(const fmp_pipeline *p, const fmp_run_options *o, fmp_store *store, fmp_graph **out,
                         fmp_err *err)
{
    *out = NULL;
    fmp_graph *g = calloc(1, sizeof *g);
    if (!g) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for the plan"); }
    *g = (fmp_graph){.p = p, .o = o, .store = store, .arena = fmp_arena_new(0)};
    g->states = calloc(p->n_stages + 1, sizeof *g->states);
    g->units = calloc(p->n_stages + 1, sizeof *g->units);
    fmp_status st =
        g->arena && g->states && g->units ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for the plan");
    if (st == FMP_OK) { st = group(g, err); }
    if (st == FMP_OK) { st = mark_forced(g, err); }
    if (st != FMP_OK) {
        fmp_graph_free(g);
        return st;
    }
    *out = g;
    return FMP_OK;
}

void fmp_graph_free(fmp_graph *g)
{
    if (!g) { return; }
    for (size_t s = 0; g->states && s < g->p->n_stages; s++) {
        cJSON_Delete(g->states[s].preimage);
        cJSON_Delete(g->states[s].record);
        free(g->states[s].numeric_env);
    }
    free(g->states);
    free(g->units);
    fmp_arena_free(g->arena);
    free(g);
}

void fmp_graph_set_record(fmp_graph *g, size_t stage, cJSON *record)
{
    cJSON_Delete(g->states[stage].record);
    g->states[stage].record = record;
    g->states[stage].forced = false;
}

/* ------------------------------------------------------------------------------------------------ keys */

const char *fmp_graph_output(const fmp_graph *g, size_t stage, size_t port)
{
    const cJSON *outputs = fmp_json_get(g->states[stage].record, "outputs");
    return fmp_json_str(outputs, g->p->stages[stage].info->outputs[port].name, NULL);
}

/* What stands in the preimage for one link; NULL: not known before the producer has run. */
static const char *link_digest(fmp_graph *g, size_t stage, const fmp_link *link)
{
    if (link->stage < 0) { return fmp_arena_printf(g->arena, "base:%s", g->p->base_digest); }
    const fmp_stage_state *from = &g->states[link->stage];
    if (!from->known) { return NULL; }
    if (from->unit == g->states[stage].unit) { return fmp_arena_printf(g->arena, "stream:%s", from->key); }
    if (from->forced) { return NULL; }
    return fmp_graph_output(g, (size_t)link->stage, (size_t)link->out);
}

static cJSON *inputs_json(fmp_graph *g, size_t stage)
{
    const fmp_stage_node *node = &g->p->stages[stage];
    cJSON *inputs = cJSON_CreateObject();
    for (size_t i = 0; i < node->n_links; i++) {
        const char *digest = link_digest(g, stage, &node->links[i]);
        if (!digest) {
            cJSON_Delete(inputs);
            return NULL;
        }
        cJSON *role = cJSON_GetObjectItemCaseSensitive(inputs, node->links[i].in->name);
        if (!role) { role = cJSON_AddArrayToObject(inputs, node->links[i].in->name); }
        cJSON_AddItemToArray(role, cJSON_CreateString(digest));
    }
    return inputs;
}

static fmp_status find_numeric_env(fmp_graph *g, size_t stage, fmp_err *err)
{
    const fmp_stage_info *info = g->p->stages[stage].info;
    const fmp_stage *loaded;
    char line[512] = "";
    if (g->states[stage].numeric_env || !(info->flags & FMP_STAGE_NUMERIC)) { return FMP_OK; }
    FMP_TRY(fmp_engine_load_stage(g->o, info, &loaded, err));
    const fmp_ext_numeric_env *env = g->o->extension
                                         ? g->o->extension(g->o->load_arg, info, FMP_EXT_NUMERIC_ENV)
                                         : fmp_plugin_extension(info, FMP_EXT_NUMERIC_ENV);
    if (env && env->describe) { FMP_TRY(env->describe(line, sizeof line, err)); }
    g->states[stage].numeric_env = strdup(line);
    return g->states[stage].numeric_env ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for the plan");
}

static fmp_status update_key(fmp_graph *g, size_t stage, fmp_err *err)
{
    fmp_stage_state *state = &g->states[stage];
    char before[65];
    memcpy(before, state->key, sizeof before);
    cJSON_Delete(state->preimage);
    state->preimage = NULL;
    state->known = false;
    state->reason = state->detail = "";
    cJSON *inputs = inputs_json(g, stage);
    if (inputs) {
        fmp_status st = find_numeric_env(g, stage, err);
        if (st != FMP_OK) {
            cJSON_Delete(inputs);
            return st;
        }
        state->preimage = fmp_key_preimage(&g->p->stages[stage], inputs, state->numeric_env);
        FMP_TRY(fmp_key_digest(state->preimage, state->key, err));
        state->known = true;
    } else {
        state->key[0] = '\0';
    }
    if (strcmp(before, state->key) == 0) { return FMP_OK; }
    cJSON_Delete(state->record);
    state->record = NULL;
    return state->known ? fmp_store_action(g->store, state->key, &state->record, err) : FMP_OK;
}

/* ------------------------------------------------------------------------------------------ what must run */

static bool is_hit(const fmp_graph *g, size_t stage)
{
    const fmp_stage_state *state = &g->states[stage];
    return state->known && state->record && !state->forced;
}

/* The first stage of the unit whose result is not there, or SIZE_MAX. */
static size_t first_miss(const fmp_graph *g, const fmp_unit *unit)
{
    for (size_t i = 0; i < unit->n; i++) {
        if (!is_hit(g, unit->stages[i])) { return unit->stages[i]; }
    }
    return SIZE_MAX;
}

/* Something that runs, and knows its inputs, reads this output; or it is one of the pipeline's results. */
static bool is_needed(const fmp_graph *g, size_t stage, size_t port)
{
    bool consumed = false;
    for (size_t s = stage + 1; s < g->p->n_stages; s++) {
        for (size_t i = 0; i < g->p->stages[s].n_links; i++) {
            const fmp_link *link = &g->p->stages[s].links[i];
            if (link->stage != (int)stage || link->out != (int)port) { continue; }
            consumed = true;
            if (g->states[s].known && g->units[g->states[s].unit].must_run) { return true; }
        }
    }
    return !consumed;
}

/* An output of the unit's last stage that is needed and not in the store? */
static bool lacks_output(const fmp_graph *g, const fmp_unit *unit)
{
    size_t last = unit->stages[unit->n - 1];
    const fmp_port *ports = g->p->stages[last].info->outputs;
    const cJSON *output, *outputs = fmp_json_get(g->states[last].record, "outputs");
    /* Streamed last time, not kept: nobody can even tell what would come after. */
    if (fmp_json_bool(g->states[last].record, "streamed", false) && !(outputs && outputs->child)) {
        return true;
    }
    cJSON_ArrayForEach(output, outputs)
    {
        size_t port = 0;
        while (ports && ports[port].name && strcmp(ports[port].name, output->string) != 0) {
            port++;
        }
        const char *digest = cJSON_IsString(output) ? output->valuestring : "";
        if (is_needed(g, last, port) &&
            fmp_store_object(g->store, digest, FMP_CHECK_SIZES, NULL, NULL) != FMP_OK) {
            return true;
        }
    }
    return false;
}

static void explain_unknown(fmp_graph *g, size_t stage)
{
    const fmp_stage_node *node = &g->p->stages[stage];
    fmp_stage_state *state = &g->states[stage];
    for (size_t i = 0; i < node->n_links; i++) {
        if (link_digest(g, stage, &node->links[i])) { continue; }
        state->reason = fmp_arena_printf(g->arena, "INPUT(%s)", node->links[i].in->name);
        state->detail = fmp_arena_printf(g->arena, "its input from '%s' may change",
                                         g->p->stages[node->links[i].stage].id);
        return;
    }
}

static fmp_status explain_stage(fmp_graph *g, size_t stage, size_t miss, fmp_err *err)
{
    const fmp_stage_node *node = &g->p->stages[stage];
    fmp_stage_state *state = &g->states[stage];
    if (state->forced) {
        state->reason = "FORCED";
        state->detail = "asked for by --force";
    } else if (!state->known) {
        explain_unknown(g, stage);
    } else if (state->record && miss != SIZE_MAX) {
        state->reason = fmp_arena_printf(g->arena, "STREAM(%s)", g->p->stages[miss].id);
        state->detail =
            fmp_arena_printf(g->arena, "its records stream to '%s', which has to run", g->p->stages[miss].id);
    } else {
        cJSON *last = NULL;
        FMP_TRY(fmp_store_last(g->store, g->p->name, node->id, &last, err));
        fmp_key_reason why =
            fmp_key_compare(g->p, node, state->preimage, fmp_json_get(last, "preimage"), g->arena);
        cJSON_Delete(last);
        state->reason = why.reason ? why.reason : "STORE";
        state->detail = why.reason ? why.detail : "its result is missing from the store or damaged";
        if (state->record) {
            state->reason = "STORE";
            state->detail = "its result is missing from the store or damaged";
        }
    }
    return fmp_arena_ok(g->arena, err);
}

static fmp_status explain_unit(fmp_graph *g, const fmp_unit *unit, fmp_err *err)
{
    size_t miss = first_miss(g, unit), last = unit->stages[unit->n - 1];
    for (size_t i = 0; i < unit->n; i++) {
        size_t stage = unit->stages[i];
        bool stored =
            miss == SIZE_MAX && stage != last; /* all hit: it is the last one's object that is gone */
        FMP_TRY(explain_stage(g, stage, stored ? last : miss, err));
    }
    return FMP_OK;
}

fmp_status fmp_graph_update(fmp_graph *g, fmp_err *err)
{
    for (size_t s = 0; s < g->p->n_stages; s++) {
        FMP_TRY(update_key(g, s, err));
    }
    for (size_t u = g->n_units; u-- > 0;) {
        fmp_unit *unit = &g->units[u];
        unit->known = true;
        for (size_t i = 0; i < unit->n; i++) {
            unit->known = unit->known && g->states[unit->stages[i]].known;
        }
        unit->must_run = first_miss(g, unit) != SIZE_MAX || lacks_output(g, unit);
    }
    for (size_t u = 0; u < g->n_units; u++) {
        if (g->units[u].must_run) { FMP_TRY(explain_unit(g, &g->units[u], err)); }
    }
    return fmp_arena_ok(g->arena, err);
}
