/*
 * trainer.h: the trainer's insides, shared by trainer.c and trainer_state.c.
 */
#ifndef FMP_MODEL_TRAINER_H
#define FMP_MODEL_TRAINER_H

#include "internal.h"

/* One trained tensor: its values, and where its gradient and moments are in the trainer's blocks. */
typedef struct fmp_trained {
    char *name;
    float *w; /* (n), the adapter's or the model's */
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
    float *g, *mom1, *mom2;          /* (n_values) */
    float **grad_param, **grad_lora; /* into g, as fmp_pass wants them; one of the two is NULL */
    fmp_work *w;
    int64_t step;
    /* the running step */
    bool open;
    double total_weight;
    fmp_loss sum;
    uint64_t n_tokens;
};

#endif
