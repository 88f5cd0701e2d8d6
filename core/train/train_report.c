/*
 * What a training run tells its host: points of series, curves, progress. Only what the checkpoints carry is the
 * same after a stop; speed and memory are of this process.
 */
#include "train_private.h"

#include <fmpipe/fs.h>

#include <math.h>
#include <stdlib.h>

enum { CURVE_FACT_POINTS = 240 };

void train_point(const train_loop *t, const char *series, uint64_t step, double value)
{
    const fmp_ext_metrics *m = t->task->host->get_extension(t->task->host, FMP_EXT_METRICS);
    if (m && isfinite(value)) { m->point(t->task->host, series, step, value); }
}

void train_fact(const train_loop *t, const char *name, cJSON *value)
{
    const fmp_ext_metrics *m = t->task->host->get_extension(t->task->host, FMP_EXT_METRICS);
    if (m) {
        m->fact(t->task->host, name, value);
    } else {
        cJSON_Delete(value);
    }
}

void train_log(const train_loop *t, fmp_log_level level, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    const fmp_ext_log *log = t->task->host->get_extension(t->task->host, FMP_EXT_LOG);
    if (log) { log->log(t->task->host, level, "%s", text); }
}

/* ------------------------------------------------------------------------------------- loss by a property */

fmp_status split_take(split_loss *s, uint32_t n, const char *const *names, const uint16_t *of, fmp_err *err)
{
    *s = (split_loss){.n = of ? n : 0, .names = names, .of = of};
    s->nll = calloc((size_t)s->n + 1, sizeof *s->nll);
    s->weight = calloc((size_t)s->n + 1, sizeof *s->weight);
    s->last = calloc((size_t)s->n + 1, sizeof *s->last);
    split_restart(s);
    return s->nll && s->weight && s->last ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

void split_free(split_loss *s)
{
    free(s->nll);
    free(s->weight);
    free(s->last);
}

void split_add(split_loss *s, uint32_t segment, const fmp_loss *loss)
{
    if (!s->of) { return; }
    s->nll[s->of[segment]] += loss->nll;
    s->weight[s->of[segment]] += loss->weight;
}

void split_clear(split_loss *s)
{
    for (uint32_t i = 0; s->nll && s->weight && i < s->n; i++) {
        s->nll[i] = s->weight[i] = 0;
    }
}

void split_restart(split_loss *s)
{
    split_clear(s);
    for (uint32_t i = 0; s->last && i < s->n; i++) {
        s->last[i] = NAN;
    }
}

void split_report(const train_loop *t, split_loss *s, const char *series)
{
    char name[160];
    for (uint32_t i = 0; i < s->n; i++) {
        if (!(s->weight[i] > 0)) { continue; }
        snprintf(name, sizeof name, "%s.%.96s", series, *s->names[i] ? s->names[i] : "none");
        s->last[i] = s->nll[i] / s->weight[i];
        train_point(t, name, t->step, s->last[i]);
    }
    split_clear(s);
}

/* ---------------------------------------------------------------------------------------------- intervals */

/* Share of what matrix products reach on this machine. */
static double peak_share(const train_loop *t, double flops, double seconds)
{
    double most = t->cost.peak_gflops * 1e9 * seconds;
    return most > 0 ? flops / most : NAN;
}

static void log_cost(train_loop *t)
{
    train_cost *c = &t->cost;
    double seconds = c->seconds - c->logged_seconds;
    if (seconds > 0) {
        train_point(t, "tokens_per_second", t->step, (double)(c->n_tokens - c->logged_tokens) / seconds);
        train_point(t, "peak_share", t->step, peak_share(t, c->flops - c->logged_flops, seconds));
    }
    train_point(t, "memory_bytes", t->step, (double)train_memory_now());
    c->logged_seconds = c->seconds;
    c->logged_flops = c->flops;
    c->logged_tokens = c->n_tokens;
}

fmp_status train_log_interval(train_loop *t, const fmp_step *step, fmp_err *err)
{
    if (t->step % t->config->log_every != 0 && t->step != t->n_steps && t->step != 1) { return FMP_OK; }
    double loss = t->interval_weight > 0 ? t->interval_nll / t->interval_weight : NAN;
    if (isfinite(loss)) {
        if (!curve_add(&t->loss, t->step, loss)) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
        train_point(t, "loss", t->step, loss);
        t->last_loss = loss;
    }
    train_point(t, "lr", t->step, train_rate_at(t, t->step - 1));
    train_point(t, "grad_norm", t->step, step->grad_norm);
    split_report(t, &t->by_locale, "loss");
    split_report(t, &t->by_source, "loss.source");
    log_cost(t);
    t->interval_nll = t->interval_weight = 0;
    return FMP_OK;
}

void train_progress(const train_loop *t)
{
    const fmp_ext_progress *p = t->task->host->get_extension(t->task->host, FMP_EXT_PROGRESS);
    const train_cost *c = &t->cost;
    char text[96];
    if (!p) { return; }
    int n = snprintf(text, sizeof text, "loss %.3f · %.0f tok/s", t->last_loss,
                     c->seconds > 0 ? (double)c->n_tokens / c->seconds : 0);
    double share = peak_share(t, c->flops, c->seconds);
    if (isfinite(share) && n > 0 && (size_t)n < sizeof text) {
        snprintf(text + n, sizeof text - (size_t)n, " · %.0f %% of peak", 100 * share);
    }
    p->update(t->task->host, t->step, t->n_steps, "steps", text);
}

/* A resumed run shows the whole of both curves. */
void train_replay_curves(const train_loop *t)
{
    for (size_t i = 0; i < t->loss.n; i++) {
        train_point(t, "loss", t->loss.items[i].step, t->loss.items[i].value);
    }
    for (size_t i = 0; i < t->eval_loss.n; i++) {
        train_point(t, "eval_loss", t->eval_loss.items[i].step, t->eval_loss.items[i].value);
    }
}

/* ---------------------------------------------------------------------------------------------- facts */

/* The curve as [[step, value], …], thinned to what a page can show; the last point always stays. */
static cJSON *curve_fact(const curve *c)
{
    cJSON *rows = cJSON_CreateArray();
    size_t stride = c->n / CURVE_FACT_POINTS + 1;
    for (size_t i = 0; i < c->n; i++) {
        if (i % stride != 0 && i + 1 != c->n) { continue; }
        cJSON *row = cJSON_CreateArray();
        cJSON_AddItemToArray(row, cJSON_CreateNumber((double)c->items[i].step));
        cJSON_AddItemToArray(row, cJSON_CreateNumber(c->items[i].value));
        cJSON_AddItemToArray(rows, row);
    }
    return rows;
}

/* [[name, loss], …] of those that have one. */
static void split_fact(const train_loop *t, const char *name, const split_loss *s)
{
    cJSON *rows = cJSON_CreateArray();
    for (uint32_t i = 0; i < s->n; i++) {
        if (!isfinite(s->last[i])) { continue; }
        cJSON *row = cJSON_CreateArray();
        cJSON_AddItemToArray(row, cJSON_CreateString(*s->names[i] ? s->names[i] : "none"));
        cJSON_AddItemToArray(row, cJSON_CreateNumber(s->last[i]));
        cJSON_AddItemToArray(rows, row);
    }
    if (cJSON_GetArraySize(rows) > 0) {
        train_fact(t, name, rows);
    } else {
        cJSON_Delete(rows);
    }
}

void train_facts(const train_loop *t)
{
    const train_cost *c = &t->cost;
    double share = peak_share(t, c->flops, c->seconds);
    train_fact(t, "loss_curve", curve_fact(&t->loss));
    if (t->eval_loss.n > 0) { train_fact(t, "eval_curve", curve_fact(&t->eval_loss)); }
    split_fact(t, "loss_by_locale", &t->by_locale);
    split_fact(t, "loss_by_source", &t->by_source);
    split_fact(t, "eval_loss_by_locale", &t->eval_by_locale);
    train_fact(t, "all_parameters", cJSON_CreateNumber((double)c->n_params));
    train_fact(t, "trained_parameters", cJSON_CreateNumber((double)c->n_trained));
    train_fact(t, "memory_estimate_bytes", cJSON_CreateNumber((double)c->estimate_bytes));
    train_fact(t, "memory_most_bytes", cJSON_CreateNumber((double)c->most_bytes));
    train_fact(t, "recomputed_layers", cJSON_CreateNumber(c->n_recomputed));
    train_fact(t, "peak_gflops", cJSON_CreateNumber(round(c->peak_gflops * 10) / 10));
    if (isfinite(share)) { train_fact(t, "peak_share", cJSON_CreateNumber(round(share * 1000) / 1000)); }
    if (t->step < t->n_steps) { train_fact(t, "stopped_early_at", cJSON_CreateNumber((double)t->step)); }
}

void fmp_train_outcome(const fmp_train_result *r, char *text, size_t size)
{
    char eval[48] = "", peak[48] = "";
    if (isfinite(r->eval_loss)) { snprintf(eval, sizeof eval, " · eval %.3f", r->eval_loss); }
    if (isfinite(r->peak_share)) { snprintf(peak, sizeof peak, " · %.0f %% of peak", 100 * r->peak_share); }
    snprintf(text, size, "%llu steps%s · loss %.3f → %.3f%s · %.0f tok/s%s%s", (unsigned long long)r->steps,
             r->stopped_early ? " (no longer better)" : "", r->first_loss, r->last_loss, eval,
             r->tokens_per_second, peak, r->resumed_from ? " · resumed" : "");
}
