/*
 * Memory of a training run: the estimate that is announced before the first step, and what the process has.
 *
 * Both count memory that no file backs (VmData would count what is reserved and never touched): the mapped model
 * and token files can be dropped by the system at any time.
 */
#include "train_private.h"

#include <fmpipe/fs.h>

#include <malloc.h>
#include <stdlib.h>

size_t train_memory_now(void)
{
    static const char key[] = "\nRssAnon:";
    fmp_buf text = {0};
    fmp_err err = FMP_ERR_INIT;
    size_t kib = 0;
    if (fmp_read_file("/proc/self/status", (size_t)1 << 16, &text, &err) == FMP_OK && text.data) {
        const char *line = strstr(text.data, key);
        if (line) { kib = strtoull(line + sizeof key - 1, NULL, 10); }
    }
    fmp_buf_free(&text);
    return kib * 1024;
}

static double mib(size_t bytes)
{
    return (double)bytes / 1048576.0;
}

static size_t sum(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

/* Rows, losses and order of the loop itself. */
static size_t loop_bytes(const train_loop *t)
{
    return t->train->n_bins * sizeof *t->order + t->max_tokens * (sizeof *t->id + sizeof *t->weight) +
           t->max_segments * (sizeof *t->seg + sizeof *t->segment_of + sizeof *t->seg_loss);
}

/* "1.2 M", with a space before what follows. */
static const char *short_count(uint64_t n, char out[24])
{
    static const char *const units[] = {"", " k", " M", " G"};
    double v = (double)n;
    int unit = 0;
    while (v >= 999.5 && unit < 3) {
        v /= 1000.0;
        unit++;
    }
    snprintf(out, 24, "%.3g%s", v, units[unit]);
    return out;
}

static void announce(const train_loop *t, const fmp_memory_plan *plan)
{
    const fmp_ext_progress *p = t->task->host->get_extension(t->task->host, FMP_EXT_PROGRESS);
    char text[192], how[96] = "", a[24], b[24];
    if (t->cost.n_recomputed > 0) {
        snprintf(how, sizeof how, ", activations of %zu of %zu layers kept", plan->n_kept, plan->n_layers);
    }
    snprintf(text, sizeof text, "takes about %.0f MiB%s · trains %s of %s parameters",
             mib(t->cost.estimate_bytes), how, short_count(t->cost.n_trained, a),
             short_count(t->cost.n_params, b));
    train_log(t, FMP_LOG_INFO, "training %s; %llu steps of up to %u rows of %zu tokens", text,
              (unsigned long long)t->n_steps, t->config->batch, t->max_tokens);
    if (p) { p->update(t->task->host, 0, t->n_steps, "steps", text); }
}

fmp_status train_plan_memory(train_loop *t, fmp_train_options *o, fmp_err *err)
{
#ifdef __GLIBC__
    malloc_trim(0); /* what earlier stages gave back is neither theirs nor ours: it would be counted twice */
#endif
    const size_t budget = t->config->memory_bytes, now = sum(train_memory_now(), loop_bytes(t));
    fmp_memory_plan plan;
    o->memory_bytes = budget == 0 ? 0 : budget > now ? budget - now : 1;
    fmp_trainer_plan(t->model, t->adapter, o, &plan);
    t->cost.estimate_bytes = sum(now, plan.bytes);
    t->cost.n_layers = (uint32_t)plan.n_layers;
    t->cost.n_recomputed = (uint32_t)(plan.n_layers - plan.n_kept);
    if (budget > 0 && t->cost.estimate_bytes > budget) {
        fmp_fail(err, FMP_E_CONFIG, "training takes at least %.0f MiB, memory allows %.1f",
                 mib(sum(now, plan.least_bytes)) + 0.5, mib(budget));
        if (err) { snprintf(err->option, sizeof err->option, "memory"); }
        return fmp_err_hint(
            err, "a smaller bin_size of chat.tokenize takes less, as do a lower rank and fewer targets");
    }
    announce(t, &plan);
    return FMP_OK;
}
