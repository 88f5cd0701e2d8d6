/*
 * preflight.c: every stage that is going to run, created, configured and destroyed before the first one
 * starts.
 *
 * What a plugin's own configure refuses (a name that may not hold a hyphen, two options that exclude each
 * other) would otherwise come to light when the stage's turn comes, after hours perhaps. All stages are
 * tried, so all problems are shown in one go. `validate` does not do this: it runs no plugin code, and
 * works on files that nobody trusts yet. Read live.c for how a stage is opened to work.
 */
#include "engine.h"
#include "trial.h"

/* The stage in a worker process: started there, since the worker configures it when it starts. */
static fmp_status try_isolated(const fmp_stage_node *node, fmp_trial *trial, fmp_err *err)
{
    const fmp_stage *proxy = NULL;
    void *self = NULL;
    fmp_status st = fmp_isolated_stage(node->info, &trial->services, &proxy, &self, err);
    if (st == FMP_OK) { st = proxy->configure(self, node->values, err); }
    if (st == FMP_OK) { st = proxy->start(self, 1, err); }
    if (self) { proxy->destroy(self); }
    return st;
}

static fmp_status try_here(const fmp_stage_node *node, fmp_trial *trial, fmp_err *err)
{
    const fmp_stage *stage = trial->stage;
    if (stage->create) { FMP_TRY(stage->create(trial->host, &trial->self, err)); }
    return stage->configure ? stage->configure(trial->self, node->values, err) : FMP_OK;
}

static fmp_status try_stage(const fmp_run_options *o, const fmp_stage_node *node, fmp_err *err)
{
    const fmp_stage *stage = NULL;
    fmp_trial *trial = NULL;
    if (!node->isolated) { FMP_TRY(fmp_engine_load_stage(o, node->info, &stage, err)); }
    fmp_status st = fmp_trial_new(stage, node->seed, NULL, &trial, err);
    if (st == FMP_OK) {
        fmp_task_tables(&trial->services.records, &trial->services.run);
        st = node->isolated ? try_isolated(node, trial, err) : try_here(node, trial, err);
    }
    fmp_trial_close(trial);
    return st;
}

fmp_status fmp_preflight(const fmp_graph *g, fmp_diags *diags, fmp_err *err)
{
    fmp_status first = FMP_OK;
    for (size_t s = 0; s < g->p->n_stages; s++) {
        if (!g->units[g->states[s].unit].must_run) { continue; }
        const fmp_stage_node *node = &g->p->stages[s];
        fmp_err why = FMP_ERR_INIT;
        fmp_status st = try_stage(g->o, node, &why);
        if (st == FMP_OK) { continue; }
        uint32_t span = fmp_live_place_option(node, st, &why);
        (void)fmp_err_note(&why, "while preparing stage '%s' (%s)", node->id, node->info->name);
        fmp_diags_add(diags, FMP_SEV_ERROR, &why, span);
        if (first != FMP_OK) { continue; }
        first = st;
        if (err) { *err = why; }
    }
    return first;
}
