/*
 * train.h: the training loop that train.lora and train.full share: data order, schedule, evaluation, checkpoints.
 *
 * Order        Packed rows ("bins") in the permutation of (seed, epoch); step s takes the next `batch` of them. Everything
 *              about the data is therefore a function of (seed, step): nothing of it is stored.
 * Loss         A step's loss is a sum over its supervised tokens, divided once by their total weight, so that splitting a
 *              batch changes nothing.
 * Checkpoints  In task->work_dir, written beside and renamed: trained weights, moments, step, and the curve so far. A run
 *              that was stopped or killed continues with the bits of an uninterrupted one. A damaged one is reported and the
 *              one before it used.
 */
#ifndef FMPIPE_TRAIN_H
#define FMPIPE_TRAIN_H

#include <fmpipe/model.h>
#include <fmpipe/plugin.h>
#include <fmpipe/tokens.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fmp_train_config {
    double epochs;
    uint64_t max_steps; /* 0: as many as the epochs have */
    uint32_t batch;     /* packed rows an optimizer step */
    enum { FMP_SCHEDULE_COSINE, FMP_SCHEDULE_LINEAR, FMP_SCHEDULE_CONSTANT } schedule;
    double learning_rate, warmup, min_lr; /* warmup: fraction of the steps; min_lr: fraction of learning_rate at the end */
    float weight_decay, clip_norm, beta1, beta2, eps;
    size_t memory_bytes; /* of the whole process, what files back aside; 0: no bound */
    uint32_t eval_every, log_every, checkpoint_every, patience;
    bool keep_best;
    bool bf16;
} fmp_train_config;

/* The option rows of both stages. */
#define FMP_TRAIN_OPTIONS(lr, wd)                                                                                      \
    {.name = "epochs", .type = FMP_OPT_FLOAT, .def = "2", .unit = "epochs", .min = 0.001, .max = 10000,                 \
     .help = "Passes over the training data."},                                                                         \
    {.name = "max_steps", .type = FMP_OPT_INT, .def = "0", .unit = "steps", .min = 0, .max = 1e9,                       \
     .help = "Stop after so many optimizer steps; 0: when the epochs are done."},                                       \
    {.name = "batch", .type = FMP_OPT_INT, .def = "4", .unit = "packed rows", .min = 1, .max = 65536,                   \
     .help = "Packed rows for one optimizer step; they run one after another and count as one batch."},                 \
    {.name = "learning_rate", .type = FMP_OPT_FLOAT, .def = lr, .min = 1e-9, .max = 1, .help = "Highest learning rate."}, \
    {.name = "schedule", .type = FMP_OPT_ENUM, .def = "cosine", .choices = "cosine|linear|constant",                    \
     .help = "Course of the learning rate after the warm-up."},                                                         \
    {.name = "warmup", .type = FMP_OPT_FLOAT, .def = "0.05", .unit = "fraction", .min = 0, .max = 1,                    \
     .help = "Share of the steps over which the learning rate rises; the first step is not zero."},                     \
    {.name = "min_lr", .type = FMP_OPT_FLOAT, .def = "0", .unit = "fraction", .min = 0, .max = 1,                       \
     .help = "Learning rate at the end, as a fraction of the highest."},                                                \
    {.name = "weight_decay", .type = FMP_OPT_FLOAT, .def = wd, .min = 0, .max = 10,                                     \
     .help = "Decoupled weight decay of matrices (AdamW)."},                                                            \
    {.name = "clip_norm", .type = FMP_OPT_FLOAT, .def = "1", .min = 0, .max = 1e6,                                      \
     .help = "Largest global gradient norm; 0: no clipping."},                                                          \
    {.name = "beta1", .type = FMP_OPT_FLOAT, .def = "0.9", .min = 0, .max = 0.9999, .help = "AdamW: decay of the mean."}, \
    {.name = "beta2", .type = FMP_OPT_FLOAT, .def = "0.999", .min = 0, .max = 0.99999,                                  \
     .help = "AdamW: decay of the mean square."},                                                                       \
    {.name = "precision", .type = FMP_OPT_ENUM, .def = "f32", .choices = "f32|bf16",                                    \
     .help = "Operands of matrix products; sums and everything else are f32."},                                         \
    {.name = "memory", .type = FMP_OPT_SIZE, .def = "0", .unit = "bytes", .min = 0, .max = 1e15,                        \
     .flags = FMP_OPT_COSMETIC,                                                                                         \
     .help = "Memory that training may take: activations that do not fit are computed again; 0: no bound. The result " \
             "is the same."},                                                                                           \
    {.name = "eval_every", .type = FMP_OPT_INT, .def = "0", .unit = "steps", .min = 0, .max = 1e9,                      \
     .help = "Evaluate every so many steps; 0: at the end only."},                                                      \
    {.name = "log_every", .type = FMP_OPT_INT, .def = "10", .unit = "steps", .min = 1, .max = 1e9,                      \
     .flags = FMP_OPT_COSMETIC, .help = "Note the loss every so many steps."},                                          \
    {.name = "checkpoint_every", .type = FMP_OPT_INT, .def = "200", .unit = "steps", .min = 0, .max = 1e9,              \
     .flags = FMP_OPT_COSMETIC, .help = "Save a checkpoint every so many steps; 0: only when stopped."},                \
    {.name = "patience", .type = FMP_OPT_INT, .def = "0", .unit = "evaluations", .min = 0, .max = 1e6,                  \
     .help = "Stop after so many evaluations without a better loss; 0: never."},                                        \
    {.name = "keep", .type = FMP_OPT_ENUM, .def = "last", .choices = "last|best",                                       \
     .help = "Which weights are the result: after the last step, or of the best evaluation."}

/* From checked option values. */
void fmp_train_config_read(const cJSON *values, fmp_train_config *out);

typedef struct fmp_train_result {
    uint64_t steps, resumed_from, n_tokens, n_labels;
    double first_loss, last_loss; /* of the first step; mean since the last multiple of ten steps */
    double eval_loss;             /* NAN without evaluation data */
    double seconds, tokens_per_second;       /* of this process's steps */
    double peak_share;            /* of the matrix products that were measured before the first step; NAN: unknown */
    bool stopped_early;           /* patience ended it */
} fmp_train_result;

/* "48 steps · loss 2.712 → 0.402 · eval 0.512 · 9031 tok/s · 61 % of peak": the end of a stage's line. */
void fmp_train_outcome(const fmp_train_result *result, char *text, size_t size);

/* The task's input at `port`, or NULL if it is not connected. */
const fmp_input *fmp_task_input(const fmp_task *task, const char *port);

/*
 * fmp_train_provenance: what a trained artifact is made from and fits, written as `dir`/fmpipe.json: base name and digest,
 * tokenizer and template digests, token artifact, steps and losses. Paths and times are not in it. Beside it the golden
 * conversations of the token artifact (golden.h).
 */
FMP_MUST_USE fmp_status fmp_train_provenance(const fmp_task *task, const fmp_tokens *tokens, const char *kind,
                                             const char *base_name, const fmp_train_result *result, const char *dir,
                                             fmp_err *err);

/* Name of a model folder: `_name_or_path` of its config.json if that is a plain name, else the folder's own name. */
FMP_MUST_USE fmp_status fmp_model_folder_name(const char *dir, char *name, size_t size, fmp_err *err);

/* FMP_E_MISMATCH unless the model folder's tokenizer.json is the one the tokens were made with. */
FMP_MUST_USE fmp_status fmp_train_check_tokenizer(const fmp_tokens *tokens, const char *model_dir, fmp_err *err);

/*
 * fmp_train_run: train `adapter`, or with NULL all of `model`, on train; evaluate on eval (may be NULL).
 * Before the first step it says what memory the process will take. Then it reports, through the host, progress; points
 * ("loss", "loss.LOCALE", "loss.source.SOURCE", "lr", "grad_norm", "tokens_per_second", "peak_share", "memory_bytes",
 * "eval_loss", "eval_loss.LOCALE"); the facts "loss_curve", "eval_curve", "memory_estimate_bytes", "memory_most_bytes",
 * "loss_by_locale", "loss_by_source", "eval_loss_by_locale" (what was reported last), "recomputed_layers", "all_parameters",
 * "trained_parameters", "peak_gflops", "peak_share", "stopped_early_at", "twin_tokens".
 * An adapter's base is warned of where it scores supervised tokens by the same row.
 * Errors   FMP_E_CANCELLED after a stop request, with a checkpoint saved; FMP_E_FAILED when loss or gradient were not finite
 *          in 4 steps, naming step and records; what trainer and files raise.
 */
FMP_MUST_USE fmp_status fmp_train_run(const fmp_task *task, const fmp_train_config *config, fmp_model *model,
                                      fmp_adapter *adapter, const fmp_tokens *train, const fmp_tokens *eval,
                                      fmp_train_result *result, fmp_err *err);

#ifdef __cplusplus
}
#endif
#endif
