/*
 * model.h: model files, the decoder, LoRA adapters, training and generation.
 *
 * Shape letters: T tokens of a packed batch, S its segments, C channels, H query heads, G key/value heads, D
 * head size, F feed-forward, V vocabulary, R LoRA rank, L layers. Matrices are row-major; a weight is
 * (out,in) as in Hugging Face files, and every tensor has its Hugging Face name.
 *
 * Packing      A batch is one row of T tokens cut into S segments. Attention never leaves a segment and
 *              positions restart in each, so packed and unpacked give the same numbers.
 * Determinism  Same inputs, same bits, for any number of threads. A row's result does not depend on the other
 *              rows of its batch, so neither does a generated text. (The latter not where oneDNN multiplies:
 *              bf16 on a CPU with AMX; fmp_model_numerics tells.)
 * When         A model, and what was made from it, is used by one thread at a time; its kernels use
 *              n_threads.
 */
#ifndef FMPIPE_MODEL_H
#define FMPIPE_MODEL_H

#include <fmpipe/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

/* -------------------------------------------------------------------------------------- safetensors files */

typedef enum fmp_dtype { FMP_DTYPE_F32 = 0, FMP_DTYPE_BF16 = 1, FMP_DTYPE_F16 = 2 } fmp_dtype;

#define FMP_TENSOR_MAX_DIMS 8

/* A tensor of an open file; everything is borrowed from the fmp_tensors. `data` may lie at any alignment. */
typedef struct fmp_tensor {
    const char *name;
    fmp_dtype dtype;
    uint32_t n_dims; /* 0: a scalar */
    uint64_t shape[FMP_TENSOR_MAX_DIMS];
    size_t n_values;
    const unsigned char *data;
} fmp_tensor;

typedef struct fmp_tensors fmp_tensors;

/*
 * fmp_tensors_open: map a .safetensors file, or, given a folder, its model.safetensors, else the shards that
 * its model.safetensors.index.json names.                                       returned; fmp_tensors_close
 * Errors   FMP_E_DATA with file and tensor: header longer than 16 MiB or the file, not JSON, duplicate names,
 *          a shape whose checked product differs from its bytes, ranges that overlap or leave holes, NaN or
 *          Inf; FMP_E_UNSUPPORTED for a dtype other than F32, F16, BF16; FMP_E_IO.
 * Cost     one pass over the data, for the NaN test.
 */
FMP_MUST_USE fmp_status fmp_tensors_open(const char *path, fmp_tensors **out, fmp_err *err);
void fmp_tensors_close(fmp_tensors *tensors);
size_t fmp_tensors_count(const fmp_tensors *tensors);
/* In byte order of the names. */
const fmp_tensor *fmp_tensors_at(const fmp_tensors *tensors, size_t i);
const fmp_tensor *fmp_tensors_find(const fmp_tensors *tensors, const char *name);
/* All values as f32, out (n_values). */
void fmp_tensor_to_f32(const fmp_tensor *tensor, float *out);

/* A tensor to be written: f32 in memory, stored as F32, or as BF16, rounded to nearest even. All borrowed. */
typedef struct fmp_tensor_src {
    const char *name;
    fmp_dtype dtype;
    uint32_t n_dims;
    uint64_t shape[FMP_TENSOR_MAX_DIMS];
    const float *data;
} fmp_tensor_src;

/*
 * fmp_tensors_write: a safetensors file with __metadata__ {"format":"pt"}, tensors in byte order of their
 * names; the same tensors give the same bytes. Written beside, synced, renamed. `src` is sorted in place.
 * Errors   FMP_E_DATA for a NaN or infinite value, with its tensor: nothing is written; FMP_E_IO.
 */
FMP_MUST_USE fmp_status fmp_tensors_write(const char *path, fmp_tensor_src *src, size_t n, fmp_err *err);

/* ------------------------------------------------------------------------------------------------- models */

typedef enum fmp_rope_kind { FMP_ROPE_DEFAULT = 0, FMP_ROPE_LINEAR = 1, FMP_ROPE_LLAMA3 = 2 } fmp_rope_kind;

/* What one decoder layer does. */
typedef struct fmp_layer_spec {
    uint32_t window; /* 0: a token sees all before it; else at most `window` tokens, itself included */
    bool rope;       /* false: no positional encoding (NoPE) */
    bool qk_norm;    /* RMSNorm on each query and key head   */
    bool qkv_bias, o_bias, mlp_bias;
} fmp_layer_spec;

/* A decoder: pre-norm layers of causal attention and SwiGLU, RMSNorm, tied or untied head. */
typedef struct fmp_model_spec {
    char model_type[32]; /* "llama", "mistral", "qwen2", "qwen3", "smollm3" */
    uint32_t n_layers;   /* L */
    uint32_t n_channels, n_heads, n_kv_heads, head_size, n_ff, vocab_size; /* C H G D F V */
    uint32_t max_positions;
    double norm_eps;
    bool tied; /* the head is the embedding */
    double rope_theta;
    fmp_rope_kind rope_kind;
    double rope_factor, rope_low_freq, rope_high_freq; /* LLAMA3: all; LINEAR: the factor */
    uint32_t rope_original_positions;                  /* LLAMA3 */
    int64_t bos_id, eos_id, pad_id;                    /* -1: none */
    fmp_layer_spec *layers; /* (L); NULL for fmp_model_new: plain full attention with RoPE */
} fmp_model_spec;

typedef enum fmp_precision {
    FMP_PRECISION_F32 = 0,
    FMP_PRECISION_BF16 = 1 /* operands of matrix products are rounded to bf16, sums and all else stay f32 */
} fmp_precision;

typedef struct fmp_model_options {
    int n_threads; /* >= 1 */
    fmp_precision precision;
} fmp_model_options;

typedef struct fmp_model fmp_model;
typedef struct fmp_adapter fmp_adapter;

/*
 * fmp_model_open: a Hugging Face folder (config.json, *.safetensors).              returned; fmp_model_free
 *   Llama, Mistral, Qwen2, Qwen3, SmolLM2 and SmolLM3 decoders.
 * Errors   as fmp_tensors_open; FMP_E_UNSUPPORTED names the field of config.json; FMP_E_DATA names a tensor
 *          that is missing, of another shape, or unknown.
 * Cost     weights are laid out for the kernels at first use; the file stays mapped.
 */
FMP_MUST_USE fmp_status fmp_model_open(const char *dir, const fmp_model_options *options, fmp_model **out,
                                       fmp_err *err);
/*
 * fmp_model_new: random weights: normal(0, 0.02), o_proj and down_proj scaled by 1/sqrt(2L), norms 1, biases
 * 0; a function of (seed, tensor name, index). `spec` is copied.                   returned; fmp_model_free
 */
FMP_MUST_USE fmp_status fmp_model_new(const fmp_model_spec *spec, uint64_t seed,
                                      const fmp_model_options *options, fmp_model **out, fmp_err *err);
/*
 * fmp_model_save: config.json, generation_config.json, model.safetensors (F32 or BF16) into `dir`, made if
 * absent.
 *   adapter   NULL, or merged into the weights: W + scale B A, in f32
 */
FMP_MUST_USE fmp_status fmp_model_save(fmp_model *model, const fmp_adapter *adapter, const char *dir,
                                       fmp_dtype dtype, fmp_err *err);
void fmp_model_free(fmp_model *model);

const fmp_model_spec *fmp_model_get_spec(const fmp_model *model); /* borrowed */
uint64_t fmp_model_n_params(const fmp_model *model);              /* a tied head counts once */
/* SHA-256 of the shape and of every weight as f32: independent of file layout, 64 hex digits. */
FMP_MUST_USE fmp_status fmp_model_digest(fmp_model *model, char hex[65], fmp_err *err);
/* What computes ("fmk1 avx512 ..."), for manifests and cache keys.            borrowed from the model */
const char *fmp_model_numerics(const fmp_model *model);

/* The same without a model, for a cache key: all outside fmpipe's own bytes that decides a result's bits. */
FMP_MUST_USE fmp_status fmp_numerics_describe(char *line, size_t size, fmp_err *err);

/* ----------------------------------------------------------------------------------------------- adapters */

typedef struct fmp_adapter_options {
    uint32_t rank; /* R, 1..1024 */
    double alpha;  /* scale = alpha / R, or alpha / sqrt(R) with rslora */
    bool rslora;
    /*
     * Which linear layers: a name is a full path or its tail ("q_proj", "mlp.up_proj"), or a glob of the
     * whole path ("model.layers.[0-3].self_attn.*"), or "all-linear" (all but the head).
     */
    const char *const *targets;
    size_t n_targets;
    uint64_t seed;
} fmp_adapter_options;

/*
 * fmp_adapter_new: PEFT's default start: A uniform in +-1/sqrt(in) (kaiming_uniform with a = sqrt 5), B zero,
 * so that the adapted model equals the base.                                     returned; fmp_adapter_free
 * Errors   FMP_E_CONFIG for a target that matches nothing, by name.
 */
FMP_MUST_USE fmp_status fmp_adapter_new(fmp_model *model, const fmp_adapter_options *options,
                                        fmp_adapter **out, fmp_err *err);
/*
 * fmp_adapter_load / _save: a PEFT folder, adapter_config.json and adapter_model.safetensors.
 *   base_name  what base_model_name_or_path says (NULL: "")
 * Errors   FMP_E_UNSUPPORTED names the PEFT option (DoRA, rank_pattern, bias, modules_to_save, ...);
 *          FMP_E_MISMATCH names the tensor whose shape does not fit the base; FMP_E_DATA for a missing or
 *          unknown tensor.
 */
FMP_MUST_USE fmp_status fmp_adapter_load(fmp_model *model, const char *dir, fmp_adapter **out, fmp_err *err);
FMP_MUST_USE fmp_status fmp_adapter_save(const fmp_adapter *adapter, const char *dir, const char *base_name,
                                         fmp_dtype dtype, fmp_err *err);
void fmp_adapter_free(fmp_adapter *adapter);
uint64_t fmp_adapter_n_params(const fmp_adapter *adapter);

/* ------------------------------------------------------------------------------------------------ batches */

/*
 * A packed micro-batch; all borrowed.
 *   id (T)      token ids
 *   weight (T)  weight of predicting id[t] from the tokens before it in its segment, >= 0; 0 for a segment's
 *               first
 *   seg (S+1)   offsets, seg[0] = 0, strictly ascending, seg[S] = T
 */
typedef struct fmp_batch {
    size_t n_tokens, n_segments;
    const uint32_t *id;
    const float *weight; /* NULL where no loss is wanted: fmp_model_logits */
    const uint32_t *seg;
} fmp_batch;

typedef struct fmp_loss {
    double nll;        /* sum of weight * -log p */
    double weight;     /* sum of weights         */
    uint64_t n_labels; /* tokens with weight > 0 */
    uint64_t n_hits;   /* of these, the label was the most likely token */
} fmp_loss;

/*
 * fmp_model_eval: forward only. adapter may be NULL. `loss` is overwritten.
 *   seg_loss (S)   the same by segment, or NULL
 * Errors   FMP_E_DATA for an id outside the vocabulary, a segment beyond max_positions, a bad weight, with
 *          its place.
 */
FMP_MUST_USE fmp_status fmp_model_eval(fmp_model *model, const fmp_adapter *adapter, const fmp_batch *batch,
                                       fmp_loss *loss, fmp_loss *seg_loss, fmp_err *err);
/* logits (T,V) of every position. */
FMP_MUST_USE fmp_status fmp_model_logits(fmp_model *model, const fmp_adapter *adapter, const fmp_batch *batch,
                                         float *logits, fmp_err *err);

/* ----------------------------------------------------------------------------------------------- training */

typedef struct fmp_train_options {
    float beta1, beta2, eps; /* AdamW; 0: 0.9, 0.999, 1e-8 */
    float weight_decay;      /* decoupled; matrices only: never norms or biases */
    float clip_norm;         /* of the global gradient norm; 0: no clipping     */
    size_t max_tokens;       /* of the largest micro-batch: memory is taken once, for this size */
    size_t memory_bytes;     /* activations beyond this are recomputed, not kept; 0: keep all. Same bits. */
} fmp_train_options;

typedef struct fmp_step {
    double loss;      /* sum of weight * nll / total weight of the step   */
    double grad_norm; /* before clipping                                  */
    uint64_t n_tokens, n_labels;
    int64_t step; /* updates applied so far                           */
    bool applied; /* false: loss or gradient was not finite; weights and optimizer are as before */
} fmp_step;

typedef struct fmp_trainer fmp_trainer;

/*
 * fmp_trainer_new: trains `adapter`, the base frozen; or, with adapter NULL, all weights of the model.
 * Model and adapter are borrowed until fmp_trainer_free and change with every step.
 */
FMP_MUST_USE fmp_status fmp_trainer_new(fmp_model *model, fmp_adapter *adapter,
                                        const fmp_train_options *options, fmp_trainer **out, fmp_err *err);
void fmp_trainer_free(fmp_trainer *trainer);
/* Bytes that fmp_trainer_new will take: activations, gradients, optimizer; not the model's weights. */
size_t fmp_trainer_memory(const fmp_model *model, const fmp_adapter *adapter,
                          const fmp_train_options *options);

/*
 * One optimizer step: begin with the sum of the weights of all its micro-batches, run each, end.
 * A micro-batch's gradients are summed in the order of the calls. fmp_trainer_micro overwrites loss and
 * seg_loss (either may be NULL); a segment with a non-finite loss shows there. An error from micro leaves the
 * step unusable: begin again. fmp_trainer_end returns FMP_OK also when the guard held the update back
 * (step->applied).
 */
FMP_MUST_USE fmp_status fmp_trainer_begin(fmp_trainer *trainer, double total_weight, fmp_err *err);
FMP_MUST_USE fmp_status fmp_trainer_micro(fmp_trainer *trainer, const fmp_batch *batch, fmp_loss *loss,
                                          fmp_loss *seg_loss, fmp_err *err);
FMP_MUST_USE fmp_status fmp_trainer_end(fmp_trainer *trainer, float learning_rate, fmp_step *step,
                                        fmp_err *err);

/* The running step's gradient of the trained tensor `name`, (n), borrowed until begin; NULL: no such one. */
const float *fmp_trainer_grad(const fmp_trainer *trainer, const char *name, size_t *n);
/* The i-th trained tensor's name and values, to read or (in tests) to change; NULL beyond the last. */
const char *fmp_trainer_tensor(fmp_trainer *trainer, size_t i, float **values, size_t *n);

/*
 * fmp_trainer_save / _load: trained weights, moments and step count as trainer.safetensors and trainer.json
 * in `dir` (made if absent). A trainer made with the same model, adapter shape and options continues from it
 * with the bits of an uninterrupted run.
 * Errors   FMP_E_MISMATCH if the state is of another kind or shape, or its file is not the one trainer.json
 *          names.
 */
FMP_MUST_USE fmp_status fmp_trainer_save(fmp_trainer *trainer, const char *dir, fmp_err *err);
FMP_MUST_USE fmp_status fmp_trainer_load(fmp_trainer *trainer, const char *dir, fmp_err *err);

/* --------------------------------------------------------------------------------------------- generation */

typedef struct fmp_prompt {
    const uint32_t *id; /* (n), n >= 1; borrowed */
    size_t n;
    uint64_t stream; /* names this prompt's random numbers; with it a sample does not depend on the batch */
} fmp_prompt;

typedef struct fmp_generate_options {
    size_t max_new_tokens;
    const uint32_t *stop; /* (n_stop) ids that end a text; the stop id itself is part of the output */
    size_t n_stop;
    float temperature; /* 0: greedy, ties to the lower id */
    uint32_t top_k;    /* 0: off */
    float top_p;       /* 0 or 1: off; else the smallest set of tokens with at least this probability */
    uint64_t seed;
    size_t max_batch; /* sequences decoded together; 0: 16 */
} fmp_generate_options;

typedef struct fmp_generated {
    uint32_t *id; /* (n) new tokens, in the arena */
    size_t n;
    bool stopped; /* by a stop id; else by max_new_tokens or the model's positions */
} fmp_generated;

/*
 * fmp_generate: continue every prompt. adapter may be NULL; it is applied beside the weights, not merged.
 *   out (n_prompts)   the caller's array; ids returned in `arena`
 * Errors   FMP_E_DATA for an empty prompt or an id outside the vocabulary; FMP_E_RANGE for one that fills the
 *          model's positions.
 */
FMP_MUST_USE fmp_status fmp_generate(fmp_model *model, const fmp_adapter *adapter, const fmp_prompt *prompts,
                                     size_t n_prompts, const fmp_generate_options *options, fmp_arena *arena,
                                     fmp_generated *out, fmp_err *err);

#ifdef __cplusplus
}
#endif
#endif
