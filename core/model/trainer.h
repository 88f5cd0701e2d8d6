/*
 * trainer.h: the trainer's insides, shared by trainer.c and trainer_state.c.
 */
#ifndef FMP_MODEL_TRAINER_H
#define FMP_MODEL_TRAINER_H

#include "internal.h"

/* One trained tensor: its values, and where its gradient and moments are in the trainer's blocks. */
typedef struct fmp_trained {
    char *name;
    fmp_mirror *values; /* the adapter's or a parameter of the model's */
    fmk_f32 *w;         /* (n), in values */
    int64_t rows, cols;
    bool matrix;
    size_t at, n;
} fmp_trained;

struct fmp_trainer {
    fmp_model *m;
    fmp_adapter *ad; /* NULL: the whole model is trained */
    fmp_train_options o;
    fmp_trained *tensors;
    size_t n_tensors, n_values;
    fmp_mirror *state; /* (3): g, mom1, mom2 (n_values) */
    fmk_f32 *g, *mom1, *mom2;
    void *norm_sq; /* (1) f64 on the device */
    /* into g, as fmp_pass wants them; NULL where it is not what is trained */
    fmk_f32 **grad_param, **grad_lora, **grad_mag;
    fmp_work *w;
    int64_t step;
    /* the running step */
    bool open;
    double total_weight;
    fmp_loss sum;
    uint64_t n_tokens;
    double flops;
    fmk_dev_drop drop; /* of this step; p_65536 0: none */
};

#pragma GCC visibility push(hidden)
/* trainer.c: where the host has a tensor's values. */
static inline float *fmp_trained_host(const fmp_trained *t)
{
    return t->values->host + (t->w - t->values->dev);
}
/* The host has the trained values; waits. */
fmp_status fmp_trainer_pull(const fmp_trainer *tr, fmp_err *err);
/* trainer_cost.c */
size_t fmp_trainer_lowest(const fmp_adapter *ad); /* the lowest layer with something to train */
double fmp_trainer_flops(const fmp_trainer *tr, const fmp_batch *b, uint64_t n_labels);
#pragma GCC visibility pop

#endif
