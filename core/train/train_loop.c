/*
 * The training loop. Data order, learning rate and dropout are functions of the step, so the only state is the
 * trainer's and the curves. Read fmp_train_run at the end, then run_step.
 */
#include "train_private.h"

#include <fmpipe/fs.h>

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum { MAX_NOT_FINITE = 3, TAIL_STEPS = 10 };
static const double pi = 3.14159265358979323846;

void fmp_train_config_read(const cJSON *values, fmp_train_config *c)
{
    const char *schedule = fmp_value_str(values, "schedule");
    memset(c, 0, sizeof *c);
    c->epochs = fmp_value_num(values, "epochs");
    c->max_steps = (uint64_t)fmp_value_int(values, "max_steps");
    c->batch = (uint32_t)fmp_value_int(values, "batch");
    c->schedule = strcmp(schedule, "linear") == 0     ? FMP_SCHEDULE_LINEAR
                  : strcmp(schedule, "constant") == 0 ? FMP_SCHEDULE_CONSTANT
                                                      : FMP_SCHEDULE_COSINE;
    c->learning_rate = fmp_value_num(values, "learning_rate");
    c->warmup = fmp_value_num(values, "warmup");
    c->min_lr = fmp_value_num(values, "min_lr");
    c->weight_decay = (float)fmp_value_num(values, "weight_decay");
    c->clip_norm = (float)fmp_value_num(values, "clip_norm");
    c->beta1 = (float)fmp_value_num(values, "beta1");
    c->beta2 = (float)fmp_value_num(values, "beta2");
    c->eps = 1e-8f;
    c->memory_bytes = (size_t)fmp_value_int(values, "memory");
    c->eval_every = (uint32_t)fmp_value_int(values, "eval_every");
    c->log_every = (uint32_t)fmp_value_int(values, "log_every");
    c->checkpoint_every = (uint32_t)fmp_value_int(values, "checkpoint_every");
    c->patience = (uint32_t)fmp_value_int(values, "patience");
    c->keep_best = strcmp(fmp_value_str(values, "keep"), "best") == 0;
    c->bf16 = strcmp(fmp_value_str(values, "precision"), "bf16") == 0;
}

bool curve_add(curve *c, uint64_t step, double value)
{
    if (c->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 64;
        curve_point *items = realloc(c->items, cap * sizeof *items);
        if (!items) { return false; }
        c->items = items;
        c->cap = cap;
    }
    c->items[c->n++] = (curve_point){step, value};
    return true;
}

/* ------------------------------------------------------------------------------------- schedule and order */

double train_rate_at(const train_loop *t, uint64_t step)
{
    const fmp_train_config *c = t->config;
    double warm = floor(c->warmup * (double)t->n_steps), s = (double)step;
    if (s < warm) { return c->learning_rate * (s + 1) / warm; }
    double done = (s - warm) / ((double)t->n_steps - warm); /* < 1: the last step moves, too */
    double shape = c->schedule == FMP_SCHEDULE_COSINE   ? 0.5 * (1 + cos(pi * done))
                   : c->schedule == FMP_SCHEDULE_LINEAR ? 1 - done
                                                        : 1;
    return c->learning_rate * (c->min_lr + (1 - c->min_lr) * shape);
}

/* Bin at position g of all epochs: the permutation of (seed, epoch). */
static uint32_t bin_at(train_loop *t, uint64_t g)
{
    uint64_t epoch = g / t->train->n_bins;
    if (epoch != t->order_epoch) {
        fmp_rng_shuffle(t->task->seed, epoch, t->train->n_bins, t->order);
        t->order_epoch = epoch;
    }
    return t->order[g % t->train->n_bins];
}

/* ---------------------------------------------------------------------------------------------- batches */

static void load_bin(train_loop *t, const fmp_tokens *tokens, uint32_t bin, fmp_batch *batch)
{
    size_t n = 0, s = 0;
    for (uint32_t k = tokens->bin_begin[bin]; k < tokens->bin_begin[bin + 1]; k++, s++) {
        uint32_t segment = tokens->bin_seg[k];
        size_t begin = tokens->seg_begin[segment], len = tokens->seg_begin[segment + 1] - begin;
        memcpy(t->id + n, tokens->ids + begin, len * sizeof *t->id);
        memcpy(t->weight + n, tokens->weight + begin, len * sizeof *t->weight);
        t->seg[s] = (uint32_t)n;
        t->segment_of[s] = segment;
        n += len;
    }
    t->seg[s] = (uint32_t)n;
    *batch = (fmp_batch){.n_tokens = n,
                         .n_segments = s,
                         .id = t->id,
                         .weight = t->weight,
                         .seg = t->seg,
                         .key = t->segment_of};
}

static double bin_weight(const fmp_tokens *tokens, uint32_t bin)
{
    double sum = 0;
    for (uint32_t k = tokens->bin_begin[bin]; k < tokens->bin_begin[bin + 1]; k++) {
        uint32_t segment = tokens->bin_seg[k];
        for (size_t i = tokens->seg_begin[segment]; i < tokens->seg_begin[segment + 1]; i++) {
            sum += tokens->weight[i];
        }
    }
    return sum;
}

static void largest_bin(const fmp_tokens *tokens, size_t *n_tokens, size_t *n_segments, size_t *longest)
{
    for (uint32_t bin = 0; bin < tokens->n_bins; bin++) {
        size_t n = 0, s = tokens->bin_begin[bin + 1] - tokens->bin_begin[bin];
        for (uint32_t k = tokens->bin_begin[bin]; k < tokens->bin_begin[bin + 1]; k++) {
            uint32_t segment = tokens->bin_seg[k];
            size_t len = tokens->seg_begin[segment + 1] - tokens->seg_begin[segment];
            n += len;
            *longest = len > *longest ? len : *longest;
        }
        *n_tokens = n > *n_tokens ? n : *n_tokens;
        *n_segments = s > *n_segments ? s : *n_segments;
    }
}

/* Now, not at the first step that meets it. */
static fmp_status check_lengths(const train_loop *t, const fmp_tokens *tokens, fmp_err *err)
{
    uint32_t most = fmp_model_get_spec(t->model)->max_positions;
    for (uint64_t s = 0; s < tokens->n_segments; s++) {
        uint64_t n = tokens->seg_begin[s + 1] - tokens->seg_begin[s];
        if (n <= most) { continue; }
        fmp_fail(err, FMP_E_DATA, "record %.16s has %" PRIu64 " tokens, the model has positions for %u",
                 tokens->record + (size_t)s * FMP_TOKENS_RECORD, n, most);
        return fmp_err_hint(err, "set max_tokens of chat.tokenize to %u or less", most);
    }
    return FMP_OK;
}

static void note_losses(train_loop *t, const fmp_batch *batch)
{
    for (size_t s = 0; s < batch->n_segments; s++) {
        split_add(&t->by_locale, t->segment_of[s], &t->seg_loss[s]);
        split_add(&t->by_source, t->segment_of[s], &t->seg_loss[s]);
        t->interval_nll += t->seg_loss[s].nll;
        t->interval_weight += t->seg_loss[s].weight;
        t->tail_nll += t->seg_loss[s].nll;
        t->tail_weight += t->seg_loss[s].weight;
    }
}

/* "", or ", " and the id: as long as there is room, then once "and more". */
static void add_record(const train_loop *t, uint32_t segment, char *list, size_t size)
{
    static const char more[] = " and more";
    size_t used = strlen(list), room = size - used;
    if (used >= sizeof more - 1 && strcmp(list + used - (sizeof more - 1), more) == 0) { return; }
    if (room < FMP_TOKENS_RECORD + sizeof more + 2) {
        snprintf(list + used, room, "%s", more);
        return;
    }
    snprintf(list + used, room, "%s%.16s", used ? ", " : "",
             t->train->record + (size_t)segment * FMP_TOKENS_RECORD);
}

/* The records whose loss is not finite. */
static void name_culprits(const train_loop *t, const fmp_batch *batch, char *list, size_t size)
{
    for (size_t s = 0; s < batch->n_segments; s++) {
        if (!isfinite(t->seg_loss[s].nll)) { add_record(t, t->segment_of[s], list, size); }
    }
}

/* A gradient can be not finite where every loss is: all records of the rows may be the cause. */
static void name_rows(train_loop *t, uint64_t first, uint64_t end, char *list, size_t size)
{
    for (uint64_t g = first; g < end; g++) {
        uint32_t bin = bin_at(t, g);
        for (uint32_t k = t->train->bin_begin[bin]; k < t->train->bin_begin[bin + 1]; k++) {
            add_record(t, t->train->bin_seg[k], list, size);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- steps */

static fmp_status run_step(train_loop *t, fmp_step *step, fmp_err *err)
{
    char culprits[200] = "";
    uint64_t first = t->step * t->config->batch, end = first + t->config->batch;
    if (end > t->n_bins_total) { end = t->n_bins_total; }
    double weight = 0;
    if (t->step % TAIL_STEPS == 0) { t->tail_nll = t->tail_weight = 0; }
    for (uint64_t g = first; g < end; g++) {
        weight += bin_weight(t->train, bin_at(t, g));
    }
    if (!(weight > 0)) { /* rows without a label: nothing to learn, and nothing to divide by */
        *step = (fmp_step){.applied = true};
        t->step++;
        return FMP_OK;
    }
    FMP_TRY(fmp_trainer_begin(t->trainer, weight, err));
    for (uint64_t g = first; g < end; g++) {
        fmp_batch batch;
        fmp_loss loss;
        load_bin(t, t->train, bin_at(t, g), &batch);
        FMP_TRY(fmp_trainer_micro(t->trainer, &batch, &loss, t->seg_loss, err));
        if (!isfinite(loss.nll)) {
            name_culprits(t, &batch, culprits, sizeof culprits);
        } else {
            note_losses(t, &batch);
        }
    }
    FMP_TRY(fmp_trainer_end(t->trainer, (float)train_rate_at(t, t->step), step, err));
    if (!step->applied) {
        bool loss = *culprits != '\0';
        if (!loss) { name_rows(t, first, end, culprits, sizeof culprits); }
        t->n_not_finite++;
        train_log(t, FMP_LOG_WARNING,
                  "step %" PRIu64 ": the %s is not finite, the update was not applied; records %s", t->step,
                  loss ? "loss" : "gradient", culprits);
        if (t->n_not_finite > MAX_NOT_FINITE) {
            fmp_fail(err, FMP_E_FAILED,
                     "loss or gradient was not finite in %u steps, last in step %" PRIu64 " with records %s",
                     t->n_not_finite, t->step, culprits);
            return fmp_err_hint(err, "lower learning_rate, or look at the records named in the log");
        }
    }
    if (isnan(t->first_loss) &&
        t->interval_weight > 0) { /* not of an interval: log_every changes no result */
        t->first_loss = t->interval_nll / t->interval_weight;
    }
    t->n_tokens += step->n_tokens;
    t->n_labels += step->n_labels;
    t->step++;
    return FMP_OK;
}

/* The mean loss, and by locale as points. */
static fmp_status evaluate(train_loop *t, double *out, fmp_err *err)
{
    double nll = 0, weight = 0;
    split_clear(&t->eval_by_locale);
    for (uint32_t bin = 0; bin < t->eval->n_bins; bin++) {
        fmp_batch batch;
        fmp_loss loss = {0};
        load_bin(t, t->eval, bin, &batch);
        FMP_TRY(fmp_model_eval(t->model, t->adapter, &batch, &loss, t->seg_loss, err));
        for (size_t s = 0; s < batch.n_segments; s++) {
            split_add(&t->eval_by_locale, t->segment_of[s], &t->seg_loss[s]);
        }
        nll += loss.nll;
        weight += loss.weight;
    }
    split_report(t, &t->eval_by_locale, "eval_loss");
    *out = weight > 0 ? nll / weight : NAN;
    return FMP_OK;
}

static fmp_status evaluate_and_note(train_loop *t, fmp_err *err)
{
    double loss = NAN;
    FMP_TRY(evaluate(t, &loss, err));
    if (!isfinite(loss)) {
        train_log(t, FMP_LOG_WARNING, "step %" PRIu64 ": the evaluation loss is not finite", t->step);
        t->n_worse++;
        return FMP_OK;
    }
    if (!curve_add(&t->eval_loss, t->step, loss)) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    train_point(t, "eval_loss", t->step, loss);
    if (loss < t->best_eval) {
        t->best_eval = loss;
        t->best_step = t->step;
        t->n_worse = 0;
        if (t->config->keep_best) { return checkpoint_save(t, "best", err); }
    } else {
        t->n_worse++;
    }
    return FMP_OK;
}

static bool stop_requested(const train_loop *t)
{
    const fmp_ext_cancel *c = t->task->host->get_extension(t->task->host, FMP_EXT_CANCEL);
    return c && c->requested(t->task->host);
}

static fmp_status save_numbered(train_loop *t, fmp_err *err)
{
    char name[CHECKPOINT_NAME];
    checkpoint_name(t->step, name);
    return checkpoint_save(t, name, err);
}

static bool out_of_patience(const train_loop *t)
{
    return t->config->patience > 0 && t->n_worse >= t->config->patience;
}

static void note_memory(train_loop *t)
{
    size_t now = train_memory_now();
    if (now > t->cost.most_bytes) { t->cost.most_bytes = now; }
}

static fmp_status train_steps(train_loop *t, fmp_train_result *result, fmp_err *err)
{
    train_cost *cost = &t->cost;
    while (t->step < t->n_steps && !out_of_patience(t)) {
        fmp_step step;
        const fmp_train_config *c = t->config;
        double start = fmp_now();
        FMP_TRY(run_step(t, &step, err));
        cost->seconds += fmp_now() - start;
        cost->flops += step.flops;
        cost->n_tokens += step.n_tokens;
        note_memory(t);
        FMP_TRY(train_log_interval(t, &step, err));
        if (t->eval && c->eval_every > 0 && t->step % c->eval_every == 0 && t->step < t->n_steps) {
            FMP_TRY(evaluate_and_note(t, err));
        }
        train_progress(t);
        if (t->step < t->n_steps && stop_requested(t)) {
            FMP_TRY(save_numbered(t, err));
            fmp_fail(err, FMP_E_CANCELLED, "stopped after step %" PRIu64 " of %" PRIu64, t->step, t->n_steps);
            return fmp_err_hint(err, "run the same command again to go on from there");
        }
        if (c->checkpoint_every > 0 && t->step % c->checkpoint_every == 0 && t->step < t->n_steps) {
            FMP_TRY(save_numbered(t, err));
        }
    }
    result->seconds = cost->seconds;
    result->tokens_per_second = cost->seconds > 0 ? (double)cost->n_tokens / cost->seconds : 0;
    double most = cost->peak_gflops * 1e9 * cost->seconds;
    result->peak_share = most > 0 ? cost->flops / most : NAN;
    return FMP_OK;
}

/* ---------------------------------------------------------------------------------------------- set-up */

static fmp_status take_memory(train_loop *t, fmp_err *err)
{
    largest_bin(t->train, &t->max_tokens, &t->max_segments, &t->longest);
    if (t->eval) { largest_bin(t->eval, &t->max_tokens, &t->max_segments, &t->longest); }
    t->order = malloc(t->train->n_bins * sizeof *t->order);
    t->id = malloc(t->max_tokens * sizeof *t->id);
    t->weight = malloc(t->max_tokens * sizeof *t->weight);
    t->seg = malloc((t->max_segments + 1) * sizeof *t->seg);
    t->segment_of = malloc(t->max_segments * sizeof *t->segment_of);
    t->seg_loss = malloc(t->max_segments * sizeof *t->seg_loss);
    t->order_epoch = UINT64_MAX;
    if (!t->order || !t->id || !t->weight || !t->seg || !t->segment_of || !t->seg_loss) {
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for batches of %zu tokens", t->max_tokens);
    }
    FMP_TRY(split_take(&t->by_locale, t->train->n_locales, t->train->locales, t->train->locale, err));
    if (t->eval) {
        FMP_TRY(split_take(&t->eval_by_locale, t->eval->n_locales, t->eval->locales, t->eval->locale, err));
    }
    const fmp_input *input = fmp_task_input(t->task, "tokens");
    if (input) { FMP_TRY(fmp_sources_read(input->path, t->train->n_segments, &t->sources, err)); }
    return split_take(&t->by_source, t->sources.n, (const char *const *)t->sources.names, t->sources.of, err);
}

/* An option that would have no effect is a mistake. */
static fmp_status check_evaluation(const train_loop *t, fmp_err *err)
{
    const fmp_train_config *c = t->config;
    const char *option = c->keep_best ? "keep" : c->patience > 0 ? "patience" : "eval_every";
    if (!t->eval && (c->keep_best || c->patience > 0)) {
        fmp_fail(err, FMP_E_CONFIG, "%s needs tokens at the input 'eval'",
                 c->keep_best ? "keep: best" : "patience");
    } else if (t->eval && c->patience > 0 && c->eval_every == 0) {
        option = "patience";
        fmp_fail(err, FMP_E_CONFIG,
                 "patience counts evaluations, and without eval_every there is one, at the end");
    } else {
        return FMP_OK;
    }
    if (err) { snprintf(err->option, sizeof err->option, "%s", option); }
    return FMP_E_CONFIG;
}

static fmp_status plan_steps(train_loop *t, fmp_err *err)
{
    const fmp_train_config *c = t->config;
    t->n_bins_total = (uint64_t)llround(c->epochs * (double)t->train->n_bins);
    if (t->n_bins_total == 0) { t->n_bins_total = 1; }
    t->n_steps = (t->n_bins_total + c->batch - 1) / c->batch;
    if (c->max_steps > 0 && c->max_steps < t->n_steps) { t->n_steps = c->max_steps; }
    if (t->train->n_bins == 0) {
        fmp_fail(err, FMP_E_DATA, "there is nothing to train on: the token artifact has no packed rows");
        return fmp_err_hint(err, "look at the rejects of the stages before");
    }
    return check_evaluation(t, err);
}

static fmp_status make_trainer(train_loop *t, fmp_err *err)
{
    const fmp_train_config *c = t->config;
    fmp_train_options o = {.beta1 = c->beta1,
                           .beta2 = c->beta2,
                           .eps = c->eps,
                           .weight_decay = c->weight_decay,
                           .clip_norm = c->clip_norm,
                           .max_tokens = t->max_tokens,
                           .max_segments = t->max_segments,
                           .longest = t->longest,
                           .seed = t->task->seed,
                           .evaluates = t->eval != NULL};
    t->cost.n_params = fmp_model_n_params(t->model) + (t->adapter ? fmp_adapter_n_params(t->adapter) : 0);
    t->cost.n_trained = t->adapter ? fmp_adapter_n_params(t->adapter) : t->cost.n_params;
    if (t->adapter) {
        FMP_TRY(fmp_model_prepare(t->model, err));
        FMP_TRY(train_warn_of_twins(t, err));
    }
    t->cost.peak_gflops = fmp_model_measure_gflops(t->model);
    FMP_TRY(train_plan_memory(t, &o, err));
    return fmp_trainer_new(t->model, t->adapter, &o, &t->trainer, err);
}

static fmp_status finish(train_loop *t, fmp_train_result *result, fmp_err *err)
{
    result->eval_loss = NAN;
    bool noted = t->eval_loss.n > 0 &&
                 t->eval_loss.items[t->eval_loss.n - 1].step == t->step; /* when patience ended it */
    if (t->eval && !noted) { FMP_TRY(evaluate_and_note(t, err)); }
    if (t->eval && isfinite(t->best_eval) && t->config->keep_best && t->best_step != t->step) {
        FMP_TRY(checkpoint_weights(t, "best", err));
        result->eval_loss = t->best_eval;
    } else if (t->eval_loss.n > 0) {
        result->eval_loss = t->eval_loss.items[t->eval_loss.n - 1].value;
    }
    train_facts(t);
    result->steps = t->step;
    result->stopped_early = t->step < t->n_steps;
    result->n_tokens = t->n_tokens;
    result->n_labels = t->n_labels;
    result->first_loss = t->first_loss;
    result->last_loss = t->tail_weight > 0 ? t->tail_nll / t->tail_weight : NAN;
    return FMP_OK;
}

static fmp_status run_loop(train_loop *t, fmp_train_result *result, fmp_err *err)
{
    bool resumed = false;
    FMP_TRY(plan_steps(t, err));
    FMP_TRY(check_lengths(t, t->train, err));
    if (t->eval) { FMP_TRY(check_lengths(t, t->eval, err)); }
    FMP_TRY(take_memory(t, err));
    FMP_TRY(make_trainer(t, err));
    FMP_TRY(checkpoint_resume(t, &resumed, err));
    if (resumed) {
        result->resumed_from = t->step;
        train_replay_curves(t);
    }
    FMP_TRY(train_steps(t, result, err));
    return finish(t, result, err);
}

void train_loop_restart(train_loop *t)
{
    t->step = t->best_step = t->n_tokens = t->n_labels = 0;
    t->n_worse = t->n_not_finite = 0;
    t->best_eval = INFINITY;
    t->first_loss = t->last_loss = NAN;
    t->interval_nll = t->interval_weight = t->tail_nll = t->tail_weight = 0;
    t->loss.n = t->eval_loss.n = 0;
    split_restart(&t->by_locale);
    split_restart(&t->by_source);
    split_restart(&t->eval_by_locale);
}

fmp_status fmp_train_run(const fmp_task *task, const fmp_train_config *config, fmp_model *model,
                         fmp_adapter *adapter, const fmp_tokens *train, const fmp_tokens *eval,
                         fmp_train_result *result, fmp_err *err)
{
    train_loop t = {
        .task = task, .config = config, .model = model, .adapter = adapter, .train = train, .eval = eval};
    train_loop_restart(&t);
    memset(result, 0, sizeof *result);
    fmp_status status = run_loop(&t, result, err);
    fmp_trainer_free(t.trainer);
    free(t.order);
    free(t.id);
    free(t.weight);
    free(t.seg);
    free(t.segment_of);
    free(t.seg_loss);
    split_free(&t.by_locale);
    split_free(&t.by_source);
    split_free(&t.eval_by_locale);
    fmp_sources_free(&t.sources);
    free(t.loss.items);
    free(t.eval_loss.items);
    return status;
}
