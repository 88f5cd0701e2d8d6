/*
 * run.c: a run. Update the graph, try the options of what must run, then run the first unit that must, and
 * again, until nothing must.
 *
 * Looking again after every unit is what makes the rest simple: a unit whose new result equals the old one
 * leaves those behind it cached; an input that turns out damaged is dropped, and its producer is then simply
 * the next unit that must run. Published results and action records are whole or absent, so a run that is
 * killed anywhere is continued by starting it again.
 */
#include "run_folder.h"

#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define RUNS_DEFAULT  "runs"
#define UNIT_RUNS_MAX 4

typedef struct run {
    fmp_engine e;
    fmp_run_folder folder;
    fmp_graph *g;
    bool *announced; /* by stage: its end has been told */
    double begin;
    fmp_broken_run broken;
    bool is_broken;
} run;

/* ------------------------------------------------------------------------------------------------ events */

static void tell_start(const run *r, size_t s)
{
    const fmp_stage_state *state = &r->g->states[s];
    cJSON *event = fmp_event_new("stage.start", r->e.p->stages[s].id);
    cJSON_AddStringToObject(event, "use", r->e.p->stages[s].info->name);
    cJSON_AddStringToObject(event, "reason", state->reason);
    cJSON_AddStringToObject(event, "detail", state->detail);
    fmp_emit(r->e.emit, event);
}

static void tell_end(const run *r, size_t s, const char *action, const cJSON *record)
{
    static const char *const copied[] = {"in",      "out",     "out_by", "rejected", "rejected_by",
                                         "seconds", "summary", "counts", "facts",    "outputs"};
    const fmp_stage_state *state = &r->g->states[s];
    cJSON *event = fmp_event_new("stage.end", r->e.p->stages[s].id);
    cJSON_AddStringToObject(event, "use", r->e.p->stages[s].info->name);
    cJSON_AddStringToObject(event, "action", action);
    cJSON_AddStringToObject(event, "reason", state->reason);
    cJSON_AddStringToObject(event, "detail", state->detail);
    for (size_t i = 0; record && i < sizeof copied / sizeof *copied; i++) {
        const cJSON *value = fmp_json_get(record, copied[i]);
        if (value) { cJSON_AddItemToObject(event, copied[i], cJSON_Duplicate(value, true)); }
    }
    fmp_emit(r->e.emit, event);
}

/* The widest instruction set that numeric libraries choose by, in a word; "" if none of these. */
static const char *instruction_set(const cJSON *machine)
{
    static const struct {
        const char *feature, *word;
    } sets[] = {{"amx_bf16", "amx-bf16"},
                {"avx512_bf16", "avx512-bf16"},
                {"avx512_vnni", "avx512-vnni"},
                {"avx512f", "avx512"},
                {"avx2", "avx2"},
                {"sve", "sve"},
                {"bf16", "neon-bf16"},
                {"asimd", "neon"}};
    const cJSON *feature, *features = fmp_json_get(machine, "cpu_features");
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        cJSON_ArrayForEach(feature, features)
        {
            if (cJSON_IsString(feature) && strcmp(feature->valuestring, sets[i].feature) == 0) {
                return sets[i].word;
            }
        }
    }
    return "";
}

/* What the newest run of this pipeline left undone, and what can be gone on with. */
static void add_broken(const run *r, cJSON *event)
{
    if (r->is_broken) {
        cJSON *broken = cJSON_AddObjectToObject(event, "interrupted");
        cJSON_AddStringToObject(broken, "run", r->broken.id);
        cJSON_AddBoolToObject(broken, "stopped", r->broken.stopped);
        cJSON_AddStringToObject(broken, "stage", r->broken.stage);
        cJSON_AddNumberToObject(broken, "done", (double)r->broken.n_done);
    }
    cJSON *resumes = cJSON_AddArrayToObject(event, "resumes");
    for (size_t s = 0; s < r->e.p->n_stages; s++) {
        const fmp_stage_state *state = &r->g->states[s];
        if (!r->g->units[state->unit].must_run || !state->known) { continue; }
        if (!fmp_store_has_work(r->e.store, state->key)) { continue; }
        cJSON_AddItemToArray(resumes, cJSON_CreateString(r->e.p->stages[s].id));
    }
}

static void tell_run_start(const run *r)
{
    const cJSON *machine = fmp_json_get(r->e.manifest, "machine");
    const fmp_pipeline *p = r->e.p;
    cJSON *event = fmp_event_new("run.start", NULL);
    cJSON_AddStringToObject(event, "run", r->folder.id);
    cJSON_AddStringToObject(event, "run_dir", r->folder.path);
    cJSON_AddStringToObject(event, "pipeline", p->name);
    cJSON_AddStringToObject(event, "file", p->file);
    if (p->base_path) {
        cJSON_AddStringToObject(event, "base", p->base_shown);
        cJSON_AddStringToObject(event, "base_digest", p->base_digest);
        uint64_t n = fmp_base_params(p->base_path);
        if (n > 0) { cJSON_AddNumberToObject(event, "base_params", (double)n); }
    }
    cJSON_AddNumberToObject(event, "seed", (double)p->seed);
    cJSON_AddNumberToObject(event, "threads", fmp_pool_threads(r->e.pool));
    cJSON_AddStringToObject(event, "cpu", fmp_json_str(machine, "cpu", ""));
    cJSON_AddStringToObject(event, "isa", instruction_set(machine));
    cJSON_AddNumberToObject(event, "stages", (double)p->n_stages);
    add_broken(r, event);
    fmp_emit(r->e.emit, event);
}

static void tell_run_end(const run *r, bool ok)
{
    static const char *const copied[] = {"id", "action", "reason", "in", "out", "rejected", "seconds"};
    cJSON *event = fmp_event_new("run.end", NULL);
    cJSON_AddBoolToObject(event, "ok", ok);
    cJSON_AddStringToObject(event, "run_dir", r->folder.path);
    cJSON *stages = cJSON_AddArrayToObject(event, "stages");
    const cJSON *stage;
    cJSON_ArrayForEach(stage, fmp_json_get(r->e.manifest, "stages"))
    {
        cJSON *row = cJSON_CreateObject();
        for (size_t i = 0; i < sizeof copied / sizeof *copied; i++) {
            const cJSON *value = fmp_json_get(stage, copied[i]);
            if (value) { cJSON_AddItemToObject(row, copied[i], cJSON_Duplicate(value, true)); }
        }
        cJSON_AddItemToArray(stages, row);
    }
    fmp_emit(r->e.emit, event);
}

/* ------------------------------------------------------------------------------------------ a stage's end */

/* Told, counted and remembered: the stage's result is `record`. Refused records come from the store either
   way. */
static fmp_status conclude(run *r, size_t s, const char *action, fmp_err *err)
{
    const fmp_stage_state *state = &r->g->states[s];
    const fmp_stage_node *node = &r->e.p->stages[s];
    if (!r->announced[s] && fmp_json_num(state->record, "rejected", 0.0) > 0.0) {
        char *path = fmp_store_rejects_path(r->e.store, state->key);
        fmp_status st = FMP_OK;
        if (path && fmp_path_exists(path)) { st = fmp_run_folder_rejects(&r->folder, node->id, path, err); }
        free(path);
        FMP_TRY(st);
    }
    r->announced[s] = true;
    fmp_run_manifest_stage(r->e.manifest, r->g, s, action, state->record);
    tell_end(r, s, action, state->record);
    return fmp_store_put_last(r->e.store, r->e.p->name, node->id, state->key, state->preimage, err);
}

static fmp_status announce_cached(run *r, size_t before_unit, fmp_err *err)
{
    for (size_t s = 0; s < r->e.p->n_stages; s++) {
        if (r->announced[s] || r->g->states[s].unit >= before_unit ||
            r->g->units[r->g->states[s].unit].must_run) {
            continue;
        }
        tell_start(r, s);
        FMP_TRY(conclude(r, s, "cached", err));
    }
    return FMP_OK;
}

/* A failed unit: what is known of its stages, and the records they refused. "failed" is the one to blame. */
static void conclude_failed(run *r, const fmp_unit *unit, fmp_live *lives, fmp_status why)
{
    bool blamed = false;
    for (size_t i = 0; i < unit->n; i++) {
        blamed = blamed || lives[i].blamed;
    }
    for (size_t i = 0; i < unit->n; i++) {
        size_t s = unit->stages[i];
        fmp_live *live = &lives[i];
        const char *action = why == FMP_E_CANCELLED || (blamed && !live->blamed) ? "stopped" : "failed";
        fmp_status st = live->e ? fmp_live_spool_end(live, NULL) : FMP_OK;
        if (live->e && st == FMP_OK && live->spool_path) {
            st = fmp_run_folder_rejects(&r->folder, live->node->id, live->spool_path, NULL);
        }
        if (st != FMP_OK) {
            fmp_emit_log(r->e.emit, r->e.p->stages[s].id, FMP_LOG_WARNING,
                         "its refused records could not be written");
        }
        cJSON *record =
            live->e ? fmp_live_record(live, r->g->states[s].preimage, cJSON_CreateObject(), false) : NULL;
        r->announced[s] = true;
        fmp_run_manifest_stage(r->e.manifest, r->g, s, action, record);
        tell_end(r, s, action, record);
        cJSON_Delete(record);
    }
}

/* ------------------------------------------------------------------------------------------------ inputs */

/*
 * The data folder of one published input. A damaged one is dropped and *again set: the graph, updated, then
 * has its producer run first.
 */
static fmp_status open_input(run *r, const fmp_link *link, char **data, bool *again, fmp_err *err)
{
    const char *digest = fmp_graph_output(r->g, (size_t)link->stage, (size_t)link->out);
    fmp_store_check check = r->e.o->verify_store ? FMP_CHECK_DIGESTS : FMP_CHECK_SMALL;
    fmp_status st = fmp_store_object(r->e.store, digest, check, data, err);
    if (st != FMP_E_MISMATCH) { return st; }
    char text[sizeof err->message + 64];
    (void)snprintf(text, sizeof text, "%s; it is made again", err->message);
    fmp_emit_log(r->e.emit, r->e.p->stages[link->stage].id, FMP_LOG_WARNING, text);
    fmp_err_clear(err);
    *again = true;
    return fmp_store_drop(r->e.store, digest, err);
}

/* --------------------------------------------------------------------------------------------- publishing */

static const char *type_of(const fmp_stage_node *node, size_t port)
{
    return port < fmp_graph_n_ports(node->info->outputs) ? node->info->outputs[port].type : FMP_PORT_PACKAGE;
}

/* A stage that streams now may have published with the same key before: that result still stands. */
static cJSON *kept_outputs(const fmp_stage_state *state)
{
    const cJSON *outputs = fmp_json_get(state->record, "outputs");
    return outputs ? cJSON_Duplicate(outputs, true) : cJSON_CreateObject();
}

static fmp_status put_record(run *r, size_t s, fmp_live *live, cJSON *outputs, bool streamed, fmp_err *err)
{
    const fmp_stage_state *state = &r->g->states[s];
    cJSON *record = fmp_live_record(live, state->preimage, outputs, streamed);
    fmp_status st = record ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for an action record");
    if (st == FMP_OK) { st = fmp_store_put_action(r->e.store, state->key, record, live->spool_path, err); }
    if (st != FMP_OK) {
        cJSON_Delete(record);
        return st;
    }
    fmp_graph_set_record(r->g, s, record);
    return FMP_OK;
}

/* ----------------------------------------------------------------------------------------------- segments */

static fmp_status publish_segment(run *r, const fmp_unit *unit, fmp_live *lives, fmp_store_tmp *tmp,
                                  const fmp_segment_output *out, fmp_err *err)
{
    size_t last = unit->stages[unit->n - 1];
    const fmp_stage_node *node = &r->e.p->stages[last];
    const char *port = fmp_graph_n_ports(node->info->outputs) ? node->info->outputs[0].name : "file";
    char digest[65];
    FMP_TRY(fmp_store_publish(r->e.store, tmp, type_of(node, 0), &out->file, 1, digest, err));
    for (size_t i = 0; i + 1 < unit->n; i++) {
        size_t s = unit->stages[i];
        FMP_TRY(put_record(r, s, &lives[i], kept_outputs(&r->g->states[s]), true, err));
    }
    cJSON *outputs = cJSON_CreateObject();
    cJSON_AddStringToObject(outputs, port, digest);
    return put_record(r, last, &lives[unit->n - 1], outputs, false, err);
}

static fmp_status run_segment(run *r, const fmp_unit *unit, fmp_live *lives, bool *again, fmp_err *err)
{
    const fmp_link *link = fmp_graph_stream_link(&r->e.p->stages[unit->stages[0]]);
    char *input = NULL;
    if (link) { FMP_TRY(open_input(r, link, &input, again, err)); }
    if (*again) { return FMP_OK; }
    fmp_store_tmp tmp;
    fmp_segment_output out = {0};
    fmp_status st = fmp_store_tmp_new(r->e.store, &tmp, err);
    if (st == FMP_OK) { st = fmp_segment_run(&r->e, lives, unit->n, input, tmp.data, &out, err); }
    if (st == FMP_OK) { st = publish_segment(r, unit, lives, &tmp, &out, err); }
    fmp_store_tmp_drop(&tmp);
    free((char *)(uintptr_t)out.file.path);
    free(input);
    return st;
}

/* ------------------------------------------------------------------------------------------- gather, task */

typedef struct task_folders {
    fmp_input *inputs;
    size_t n_inputs;
    fmp_output *outputs;
    fmp_store_tmp *tmps;
    fmp_store_file *known;
    size_t n_outputs;
    char *work;
    int work_lock;
    cJSON *no_facts;
} task_folders;

static void free_folders(task_folders *f)
{
    for (size_t i = 0; f->inputs && i < f->n_inputs; i++) {
        free((char *)(uintptr_t)f->inputs[i].path);
    }
    for (size_t i = 0; f->tmps && i < f->n_outputs; i++) {
        fmp_store_tmp_drop(&f->tmps[i]);
    }
    free(f->inputs);
    free(f->outputs);
    free(f->tmps);
    free(f->known);
    free(f->work);
    if (f->work_lock >= 0) { close(f->work_lock); }
    cJSON_Delete(f->no_facts);
}

static fmp_status add_input(run *r, const fmp_link *link, task_folders *f, bool *again, fmp_err *err)
{
    const fmp_pipeline *p = r->e.p;
    fmp_input *in = &f->inputs[f->n_inputs];
    *in = (fmp_input){.struct_size = (uint32_t)sizeof *in, .port = link->in->name, .type = link->in->type};
    char *path = NULL;
    if (link->stage < 0) {
        path = strdup(p->base_path);
        in->stage = "base";
        in->type = FMP_PORT_MODEL;
        in->digest = p->base_digest;
        in->facts = f->no_facts;
        if (!path) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a path"); }
    } else {
        const cJSON *facts = fmp_json_get(r->g->states[link->stage].record, "facts");
        FMP_TRY(open_input(r, link, &path, again, err));
        if (*again) { return FMP_OK; }
        in->stage = p->stages[link->stage].id;
        in->type = p->stages[link->stage].info->outputs[link->out].type;
        in->digest = fmp_graph_output(r->g, (size_t)link->stage, (size_t)link->out);
        in->facts = facts ? facts : f->no_facts;
    }
    in->path = path;
    f->n_inputs++;
    return FMP_OK;
}

/* In the port table's order; connections of one port in the file's order. */
static fmp_status add_inputs(run *r, const fmp_stage_node *node, task_folders *f, bool *again, fmp_err *err)
{
    f->inputs = calloc(node->n_links + 1, sizeof *f->inputs);
    f->no_facts = cJSON_CreateObject();
    if (!f->inputs || !f->no_facts) {
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for stage '%s'", node->id);
    }
    for (const fmp_port *port = node->info->inputs; port && port->name; port++) {
        for (size_t i = 0; i < node->n_links && !*again; i++) {
            if (strcmp(node->links[i].in->name, port->name) != 0) { continue; }
            FMP_TRY(add_input(r, &node->links[i], f, again, err));
        }
    }
    return FMP_OK;
}

static fmp_status add_outputs(run *r, const fmp_stage_node *node, task_folders *f, fmp_err *err)
{
    size_t n = fmp_graph_n_ports(node->info->outputs);
    f->outputs = calloc(n + 1, sizeof *f->outputs);
    f->known = calloc(n + 1, sizeof *f->known);
    f->tmps = calloc(n + 1, sizeof *f->tmps);
    if (!f->outputs || !f->known || !f->tmps) {
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for stage '%s'", node->id);
    }
    for (size_t i = 0; i < n; i++) {
        FMP_TRY(fmp_store_tmp_new(r->e.store, &f->tmps[i], err));
        f->n_outputs++;
        f->outputs[i] = (fmp_output){.struct_size = (uint32_t)sizeof *f->outputs,
                                     .port = node->info->outputs[i].name,
                                     .type = node->info->outputs[i].type,
                                     .path = f->tmps[i].data};
    }
    return FMP_OK;
}

/* Another run may have done the same work while this one waited for the folder. */
static fmp_status enter_work(run *r, size_t s, task_folders *f, bool *again, fmp_err *err)
{
    fmp_stage_state *state = &r->g->states[s];
    bool waited = false;
    FMP_TRY(fmp_store_work(r->e.store, state->key, r->e.o->stop, &f->work, &f->work_lock, &waited, err));
    if (!waited || state->forced) { return FMP_OK; }
    cJSON *record = NULL;
    FMP_TRY(fmp_store_action(r->e.store, state->key, &record, err));
    if (!record) { return FMP_OK; }
    fmp_graph_set_record(r->g, s, record);
    *again = true;
    return FMP_OK;
}

static fmp_status publish_task(run *r, size_t s, fmp_live *live, task_folders *f, fmp_err *err)
{
    cJSON *outputs = cJSON_CreateObject();
    for (size_t i = 0; i < f->n_outputs; i++) {
        char digest[65];
        size_t n_known = f->known[i].path ? 1 : 0;
        fmp_status st = fmp_store_publish(r->e.store, &f->tmps[i], f->outputs[i].type, &f->known[i], n_known,
                                          digest, err);
        if (st != FMP_OK) {
            cJSON_Delete(outputs);
            return st;
        }
        cJSON_AddStringToObject(outputs, f->outputs[i].port, digest);
    }
    FMP_TRY(put_record(r, s, live, outputs, false, err));
    return fmp_remove_tree(f->work, err);
}

static fmp_status run_task(run *r, const fmp_unit *unit, fmp_live *live, bool *again, fmp_err *err)
{
    size_t s = unit->stages[0];
    const fmp_stage_node *node = &r->e.p->stages[s];
    task_folders f = {.work_lock = -1};
    fmp_status st = add_inputs(r, node, &f, again, err);
    if (st == FMP_OK && !*again) { st = enter_work(r, s, &f, again, err); }
    if (st == FMP_OK && !*again) {
        st = add_outputs(r, node, &f, err);
        if (st == FMP_OK) {
            st = fmp_task_run(live, f.inputs, f.n_inputs, f.outputs, f.n_outputs, f.work, f.known, err);
        }
        if (st == FMP_OK) { st = publish_task(r, s, live, &f, err); }
    }
    if (f.work) { (void)rmdir(f.work); } /* only if the stage left nothing to resume from */
    free_folders(&f);
    return st;
}

/* ------------------------------------------------------------------------------------------------ units */

static fmp_status run_unit(run *r, fmp_unit *unit, fmp_err *err)
{
    bool again = false;
    fmp_live *lives = calloc(unit->n, sizeof *lives);
    if (!lives) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a stage"); }
    /* On the disk before the work: the first pending stage is what a killed run was at. */
    fmp_status st = fmp_run_folder_manifest(&r->folder, r->e.manifest, err);
    for (size_t i = 0; st == FMP_OK && i < unit->n; i++) {
        size_t s = unit->stages[i];
        tell_start(r, s);
        st = fmp_live_init(&lives[i], &r->e, &r->e.p->stages[s], r->g->states[s].key, err);
    }
    fmp_stage_kind kind = r->e.p->stages[unit->stages[0]].info->kind;
    bool streams = kind == FMP_SOURCE || kind == FMP_MAP || kind == FMP_SINK;
    if (st == FMP_OK) {
        st = streams ? run_segment(r, unit, lives, &again, err) : run_task(r, unit, &lives[0], &again, err);
    }
    if (st != FMP_OK) { conclude_failed(r, unit, lives, st); }
    for (size_t i = 0; st == FMP_OK && !again && i < unit->n; i++) {
        st = conclude(r, unit->stages[i], "ran", err);
    }
    for (size_t i = 0; i < unit->n; i++) {
        fmp_live_free(&lives[i]);
    }
    free(lives);
    return st;
}

static fmp_unit *next_unit(const run *r)
{
    for (size_t u = 0; u < r->g->n_units; u++) {
        if (r->g->units[u].must_run && r->g->units[u].known) { return &r->g->units[u]; }
    }
    return NULL;
}

static fmp_status run_units(run *r, fmp_err *err)
{
    for (;;) {
        FMP_TRY(fmp_graph_update(r->g, err));
        fmp_unit *unit = next_unit(r);
        FMP_TRY(announce_cached(r, unit ? (size_t)(unit - r->g->units) : r->g->n_units, err));
        if (!unit) { break; }
        if (fmp_engine_stopping(&r->e)) {
            return fmp_fail(err, FMP_E_CANCELLED, "stopped before the next stage");
        }
        if (unit->n_runs++ >= UNIT_RUNS_MAX) {
            return fmp_fail(err, FMP_E_IO, "the results of stage '%s' keep vanishing from the store %s",
                            r->e.p->stages[unit->stages[0]].id, fmp_store_dir(r->e.store));
        }
        FMP_TRY(run_unit(r, unit, err));
        FMP_TRY(fmp_run_folder_manifest(&r->folder, r->e.manifest, err));
    }
    for (size_t s = 0; s < r->e.p->n_stages; s++) {
        if (!r->announced[s]) {
            return fmp_fail(err, FMP_E_INTERNAL, "stage '%s' was never run", r->e.p->stages[s].id);
        }
    }
    return FMP_OK;
}

/* ------------------------------------------------------------------------------------------------ results */

/* A result: nothing consumes it, or its kind is one that people take away. */
static bool is_result(const fmp_pipeline *p, size_t s, size_t port, const char *type)
{
    static const char *const wanted[] = {FMP_PORT_MODEL, FMP_PORT_ADAPTER, FMP_PORT_DRAFT, FMP_PORT_METRICS,
                                         FMP_PORT_PACKAGE};
    if (fmp_graph_consumers(p, s, port) == 0) { return true; }
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (strcmp(type, wanted[i]) == 0) { return true; }
    }
    return false;
}

static fmp_status link_result(run *r, size_t s, const char *port, const char *type, const char *digest,
                              bool only, fmp_err *err)
{
    const char *id = r->e.p->stages[s].id;
    char *data = NULL;
    char name[256];
    if (fmp_store_object(r->e.store, digest, FMP_CHECK_SIZES, &data, NULL) != FMP_OK) {
        return FMP_OK;
    } /* not kept */
    (void)snprintf(name, sizeof name, only ? "%s" : "%s.%s", id, port);
    fmp_status st = fmp_run_folder_link(&r->folder, name, data, err);
    free(data);
    FMP_TRY(st);
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "stage", id);
    cJSON_AddStringToObject(row, "port", port);
    cJSON_AddStringToObject(row, "type", type);
    cJSON_AddStringToObject(row, "sha256", digest);
    cJSON_AddStringToObject(row, "link", name);
    cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(r->e.manifest, "results"), row);
    return FMP_OK;
}

static fmp_status link_results(run *r, fmp_err *err)
{
    const fmp_pipeline *p = r->e.p;
    for (size_t s = 0; s < p->n_stages; s++) {
        const cJSON *output, *outputs = fmp_json_get(r->g->states[s].record, "outputs");
        const fmp_port *ports = p->stages[s].info->outputs;
        size_t n = fmp_graph_n_ports(ports);
        cJSON_ArrayForEach(output, outputs)
        {
            size_t port = 0;
            while (port < n && strcmp(ports[port].name, output->string) != 0) {
                port++;
            }
            const char *type = type_of(&p->stages[s], port);
            if (!cJSON_IsString(output) || !is_result(p, s, port, type)) { continue; }
            FMP_TRY(link_result(r, s, output->string, type, output->valuestring, n <= 1, err));
        }
    }
    return FMP_OK;
}

/* ------------------------------------------------------------------------------------------------ the run */

static int count_threads(const fmp_run_options *o)
{
    cpu_set_t set;
    if (o->n_threads) { return (int)o->n_threads; }
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

static fmp_status open_run(run *r, const fmp_events *events, fmp_err *err)
{
    const fmp_run_options *o = r->e.o;
    const fmp_pipeline *p = r->e.p;
    r->announced = calloc(p->n_stages + 1, sizeof *r->announced);
    if (!r->announced) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for the run"); }
    FMP_TRY(fmp_store_open(fmp_store_dir_of(o), &r->e.store, err));
    FMP_TRY(fmp_graph_new(p, o, r->e.store, &r->g, err));
    FMP_TRY(fmp_graph_update(r->g, err));
    FMP_TRY(fmp_preflight(r->g, r->e.diags, err));
    FMP_TRY(fmp_pool_new(count_threads(o), &r->e.pool, err));
    const char *runs_dir = o->runs_dir ? o->runs_dir : RUNS_DEFAULT;
    r->is_broken = fmp_run_folder_broken(runs_dir, p->name, &r->broken);
    FMP_TRY(fmp_run_folder_new(runs_dir, &r->folder, err));
    r->e.run_dir = r->folder.path;
    FMP_TRY(fmp_emitter_new(events, r->folder.path, o->verbose, &r->e.emit, err));
    FMP_TRY(fmp_run_manifest_new(p, o, r->folder.id, &r->e.manifest, err));
    return fmp_run_folder_manifest(&r->folder, r->e.manifest, err);
}

static fmp_status end_run(run *r, fmp_status st, fmp_err *err)
{
    const char *status = st == FMP_OK ? "ok" : st == FMP_E_CANCELLED ? "stopped" : "failed";
    fmp_run_manifest_end(r->e.manifest, status, fmp_now() - r->begin, st == FMP_OK ? NULL : err);
    fmp_err late = FMP_ERR_INIT;
    fmp_status written = fmp_run_folder_manifest(&r->folder, r->e.manifest, &late);
    if (written == FMP_OK) { written = fmp_run_folder_latest(&r->folder, &late); }
    tell_run_end(r, st == FMP_OK && written == FMP_OK);
    if (st == FMP_OK && written != FMP_OK && err) { *err = late; }
    return st == FMP_OK ? written : st;
}

fmp_status fmp_run(const fmp_pipeline *p, const fmp_run_options *o, const fmp_events *events,
                   fmp_diags *diags, fmp_run_result *out, fmp_err *err)
{
    fmp_err own = FMP_ERR_INIT;
    run r = {
        .e = {.p = p, .o = o, .diags = diags}, .folder = {.lock = -1, .rejected = -1}, .begin = fmp_now()};
    *out = (fmp_run_result){0};
    fmp_json_install_hooks();
    fmp_status st = open_run(&r, events, &own);
    if (st == FMP_OK) {
        tell_run_start(&r);
        st = run_units(&r, &own);
        if (st == FMP_OK) { st = link_results(&r, &own); }
        st = end_run(&r, st, &own);
    }
    fmp_status logged = fmp_emitter_free(r.e.emit, st == FMP_OK ? &own : NULL);
    if (st == FMP_OK) { st = logged; }
    out->ok = st == FMP_OK;
    (void)snprintf(out->run_id, sizeof out->run_id, "%s", r.folder.id);
    out->run_dir = r.folder.path ? strdup(r.folder.path) : NULL;
    out->manifest = r.e.manifest;
    fmp_graph_free(r.g);
    fmp_pool_free(r.e.pool);
    fmp_store_close(r.e.store);
    fmp_run_folder_free(&r.folder);
    free(r.announced);
    if (st != FMP_OK && err) { *err = own; }
    return st;
}

void fmp_run_result_free(fmp_run_result *result)
{
    free(result->run_dir);
    cJSON_Delete(result->manifest);
    *result = (fmp_run_result){0};
}
