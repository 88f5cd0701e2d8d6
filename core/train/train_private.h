/* train_private.h: the loop's state, shared with its checkpoints. */
#ifndef FMP_TRAIN_PRIVATE_H
#define FMP_TRAIN_PRIVATE_H

#include <fmpipe/json.h>
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

typedef struct train_loop {
    const fmp_task *task;
    const fmp_train_config *config;
    fmp_model *model;
    fmp_adapter *adapter;
    fmp_trainer *trainer;
    const fmp_tokens *train, *eval;
    uint64_t n_steps, step; /* step: updates done */
    uint64_t n_bins_total;
    uint32_t *order;        /* (bins) permutation of `order_epoch` */
    uint64_t order_epoch;
    /* One micro-batch. */
    uint32_t *id, *seg;
    float *weight;
    uint32_t *segment_of;   /* index in the token artifact */
    fmp_loss *seg_loss;
    size_t max_tokens, max_segments;
    /* What a checkpoint carries beside the trainer. */
    curve loss, eval_loss;
    double best_eval, first_loss, last_loss; /* last_loss: mean of the last logged interval, for people */
    uint64_t best_step, n_tokens, n_labels;
    uint32_t n_worse, n_not_finite;
    double *locale_nll, *locale_weight; /* (locales) since the last log */
    double interval_nll, interval_weight;
    double tail_nll, tail_weight; /* since the last multiple of ten steps: the loss at the end, whatever log_every is */
} train_loop;

bool curve_add(curve *c, uint64_t step, double value);

/* State of step 0, but for memory that is kept. */
void train_loop_restart(train_loop *t);

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
