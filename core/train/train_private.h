/* train_private.h: the loop's state, shared with its checkpoints. */
#ifndef FMP_TRAIN_PRIVATE_H
#define FMP_TRAIN_PRIVATE_H

#include <fmpipe/json.h>
#include <fmpipe/sources.h>
#include <fmpipe/train.h>

/* One point of a curve, kept so that a resumed run reports the whole of it. */
typedef struct curve_point {
    uint64_t step;
    double value;
} curve_point;

typedef struct curve {
    curve_point *items;
    size_t n, cap;
} curve;

/* Loss by some property of a segment: its locale, its source. */
typedef struct split_loss {
    uint32_t n;
    const char *const *names; /* (n) */
    const uint16_t *of;       /* of each segment of the training data; NULL: not known */
    double *nll, *weight;     /* (n) since the last log */
    double *last;             /* (n) the loss that was reported last; NAN: none yet */
} split_loss;

/* What the work costs, for people; none of it is part of a result. */
typedef struct train_cost {
    double peak_gflops;    /* of matrix products, measured before the first step */
    double flops, seconds; /* of this process's steps, evaluation aside */
    uint64_t n_tokens;
    double logged_flops, logged_seconds; /* as of the last log */
    uint64_t logged_tokens;
    size_t estimate_bytes,
        most_bytes; /* anonymous memory of the process: as announced; the most that was seen */
    uint32_t n_layers, n_recomputed;
    uint64_t n_params, n_trained; /* base and adapter; what gradients reach */
} train_cost;

typedef struct train_loop {
    const fmp_task *task;
    const fmp_train_config *config;
    fmp_model *model;
    fmp_adapter *adapter;
    fmp_trainer *trainer;
    const fmp_tokens *train, *eval;
    uint64_t n_steps, step; /* step: updates done */
    uint64_t n_bins_total;
    uint32_t *order; /* (bins) permutation of `order_epoch` */
    uint64_t order_epoch;
    /* One micro-batch. */
    uint32_t *id, *seg;
    float *weight;
    uint32_t *segment_of; /* index in the token artifact; names the segment's random numbers too */
    fmp_loss *seg_loss;
    size_t max_tokens, max_segments, longest;
    /* What a checkpoint carries beside the trainer. */
    curve loss, eval_loss;
    double best_eval, first_loss, last_loss; /* last_loss: mean of the last logged interval, for people */
    uint64_t best_step, n_tokens, n_labels;
    uint32_t n_worse, n_not_finite;
    fmp_sources sources; /* of the training data's segments */
    split_loss by_locale, by_source, eval_by_locale;
    double interval_nll, interval_weight;
    double tail_nll,
        tail_weight; /* since the last multiple of ten steps: the loss at the end, whatever log_every is */
    train_cost cost;
} train_loop;

bool curve_add(curve *c, uint64_t step, double value);

/* State of step 0, but for memory that is kept. */
void train_loop_restart(train_loop *t);
double train_rate_at(const train_loop *t, uint64_t step);

/* train_report.c: what the host hears */
FMP_PRINTF(3, 4) void train_log(const train_loop *t, fmp_log_level level, const char *fmt, ...);
/* A number that is not finite is no point of a series. */
void train_point(const train_loop *t, const char *series, uint64_t step, double value);
FMP_MUST_USE fmp_status split_take(split_loss *s, uint32_t n, const char *const *names, const uint16_t *of,
                                   fmp_err *err);
void split_add(split_loss *s, uint32_t segment, const fmp_loss *loss);
/* One point SERIES.NAME for each that has labels, which is its `last` then; sums are zero again. */
void split_report(const train_loop *t, split_loss *s, const char *series);
void split_clear(split_loss *s);
/* As split_take left it. */
void split_restart(split_loss *s);
void split_free(split_loss *s);
/* After a step: the points of an interval, where one ends. */
FMP_MUST_USE fmp_status train_log_interval(train_loop *t, const fmp_step *step, fmp_err *err);
void train_progress(const train_loop *t);
void train_replay_curves(const train_loop *t);
void train_facts(const train_loop *t);
/* `value` is taken. */
void train_fact(const train_loop *t, const char *name, cJSON *value);

/* train_twins.c */
/* A warning, and the fact "twin_tokens", if supervised tokens have the same row in the frozen head. */
FMP_MUST_USE fmp_status train_warn_of_twins(const train_loop *t, fmp_err *err);

/* train_memory.c */
/* Bytes of memory of this process that no file backs; 0 where the system does not say. */
size_t train_memory_now(void);
/*
 * Set options->memory_bytes so that config->memory_bytes holds for all of the process, and announce the estimate.
 * Errors   FMP_E_CONFIG where no plan fits, with the least that would.
 */
FMP_MUST_USE fmp_status train_plan_memory(train_loop *t, fmp_train_options *options, fmp_err *err);

enum { CHECKPOINT_NAME = 32 };
/* "ckpt-" and the step with zeros before it, so that byte order is the order of steps. */
void checkpoint_name(uint64_t step, char name[CHECKPOINT_NAME]);
/* Save under work_dir/NAME (a checkpoint_name, or "best"); older ckpt-* beyond two are removed. */
FMP_MUST_USE fmp_status checkpoint_save(train_loop *t, const char *name, fmp_err *err);
/* Newest valid ckpt-*; *found = false if there is none. Damaged ones are logged. */
FMP_MUST_USE fmp_status checkpoint_resume(train_loop *t, bool *found, fmp_err *err);
/* The trained weights of one checkpoint. */
FMP_MUST_USE fmp_status checkpoint_weights(train_loop *t, const char *name, fmp_err *err);

#endif
