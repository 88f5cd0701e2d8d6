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
 *              rows of its batch (not so where oneDNN multiplies: bf16 on a CPU with AMX; fmp_model_numerics
 *              tells), and a generated text not on the other texts, anywhere.
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

/*
 * How RoPE's frequencies are stretched for longer texts than the model was first trained on.
 *   LINEAR    all by the factor                                                      (Chen et al. 2023)
 *   DYNAMIC   by a base that grows with the text, once it is longer than max_positions
 *   LLAMA3    low frequencies by the factor, high ones kept, between them blended
 *   YARN      the same by the number of turns in the original length                 (Peng et al. 2023)
 *   LONGROPE  each by its own factor, one list for short and one for long texts      (Ding et al. 2024)
 */
typedef enum fmp_rope_kind {
    FMP_ROPE_DEFAULT = 0,
    FMP_ROPE_LINEAR = 1,
    FMP_ROPE_LLAMA3 = 2,
    FMP_ROPE_DYNAMIC = 3,
    FMP_ROPE_YARN = 4,
    FMP_ROPE_LONGROPE = 5
} fmp_rope_kind;

#define FMP_MAX_ROTARY 256 /* largest head size */

typedef struct fmp_rope_spec {
    double theta; /* the base */
    fmp_rope_kind kind;
    double factor;                /* all but DEFAULT                                    */
    double low_freq, high_freq;   /* LLAMA3                                             */
    double beta_fast, beta_slow;  /* YARN: turns beyond which a frequency is kept, below which it is stretched */
    bool exact_bounds;            /* YARN: its bounds are not rounded to whole dimensions                      */
    double attention_factor;      /* YARN, LONGROPE: on cosine and sine; 0: 1           */
    uint32_t original_positions;  /* LLAMA3, YARN, LONGROPE: the length first trained on */
    float short_factor[FMP_MAX_ROTARY / 2], long_factor[FMP_MAX_ROTARY / 2]; /* LONGROPE: (n_rotary/2) */
} fmp_rope_spec;

/* What one decoder layer does. */
typedef struct fmp_layer_spec {
    uint32_t window;  /* 0: a token sees all before it; else at most `window` tokens, itself included */
    uint32_t kv_back; /* 0: keys and values of its own; n: those of the layer n before it             */
    bool rope;        /* false: no positional encoding (NoPE)    */
    uint8_t rope_set; /* which of the model's RoPE descriptions  */
    bool qk_norm;     /* RMSNorm on queries and keys             */
    bool qkv_bias, o_bias, mlp_bias;
} fmp_layer_spec;

/*
 * Where a layer's norms are, x being the residual stream, f attention or the feed-forward unit:
 *   PRE   x + f(norm(x))        BOTH  x + norm(f(norm(x)))        POST  x + norm(f(x))
 */
typedef enum fmp_norm_place { FMP_NORM_PRE = 0, FMP_NORM_BOTH = 1, FMP_NORM_POST = 2 } fmp_norm_place;
typedef enum fmp_activation { FMP_ACT_SILU = 0, FMP_ACT_GELU_TANH = 1 } fmp_activation; /* of the gated unit */

/*
 * A decoder, layer by layer: causal attention and a gated feed-forward unit, RMSNorm, tied or untied head.
 * Zero in a field that says so means the usual. What the family decides (the second part) is filled in by
 * fmp_spec_load and fmp_model_new, whatever the caller wrote.
 */
typedef struct fmp_model_spec {
    char model_type[32]; /* a family's name in config.json: fmp_model_families */
    uint32_t n_layers;   /* L */
    uint32_t n_channels, n_heads, n_kv_heads, head_size, n_ff, vocab_size; /* C H G D F V */
    uint32_t max_positions;
    double norm_eps;
    bool tied; /* the head is the embedding */
    fmp_rope_spec rope[2];
    uint32_t n_rotary;   /* values of a head that RoPE turns; 0: all */
    double attn_scale;   /* of the scores; 0: 1/sqrt(D)              */
    double attn_softcap; /* 0: none; else a score s becomes cap * tanh(s / cap) */
    double logit_softcap;
    int64_t bos_id, eos_id, pad_id; /* -1: none */
    fmp_layer_spec *layers;         /* (L); NULL for fmp_model_new: the family's usual layers */

    fmp_norm_place norms;
    fmp_activation activation;
    bool norm_plus_one;    /* a norm's gain is 1 + its weight                          */
    bool qk_norm_whole;    /* QK-norm over all heads at once, not each                 */
    bool fused;            /* one tensor for Q, K, V and one for gate and up           */
    bool rope_interleaved; /* RoPE turns neighbours (2i, 2i+1), not halves (i, i+D/2)  */
    double embed_scale;    /* on the embedding's rows; 0: 1                            */
} fmp_model_spec;

/* The families that can be opened, as config.json names them: "llama, mistral, ...". */
const char *fmp_model_families(void);
/*
 * fmp_spec_load: the description in a config.json, or in that of a folder, or in the header of a llama2.c file;
 * no weights are looked at.                                                     layers returned; fmp_spec_free
 * Errors   FMP_E_UNSUPPORTED names the field; FMP_E_DATA, FMP_E_RANGE.
 */
FMP_MUST_USE fmp_status fmp_spec_load(const char *path, fmp_model_spec *out, fmp_err *err);
/* The same of a config.json in memory; text: valid for the call, len bytes. */
FMP_MUST_USE fmp_status fmp_spec_parse(const char *text, size_t len, fmp_model_spec *out, fmp_err *err);
void fmp_spec_free(fmp_model_spec *spec);
/* Longest text: max_positions, but more where RoPE grows with the text. */
uint32_t fmp_spec_positions(const fmp_model_spec *spec);

typedef enum fmp_precision {
    FMP_PRECISION_F32 = 0,
    FMP_PRECISION_BF16 = 1 /* operands of matrix products are rounded to bf16, sums and all else stay f32 */
} fmp_precision;

typedef struct fmp_model_options {
    int n_threads; /* >= 1 */
    fmp_precision precision;
    /*
     * What computes: NULL is "cpu". A name (a-z, 0-9, _) is the file fmpipe_backend_NAME.so in fmpipe/backends/ beside
     * the library, anything with a '/' a path; kernels/include/fmk_backend.h says what is in it. Borrowed.
     */
    const char *backend;
} fmp_model_options;

typedef struct fmp_model fmp_model;
typedef struct fmp_adapter fmp_adapter;

/*
 * fmp_model_open: a Hugging Face folder (config.json, *.safetensors), or a llama2.c file.
 *                                                                                  returned; fmp_model_free
 * Errors   as fmp_tensors_open; FMP_E_UNSUPPORTED names the field of config.json; FMP_E_DATA names a tensor
 *          that is missing, of another shape, or unknown.
 * Cost     weights are laid out for the kernels at first use; the file stays mapped.
 */
FMP_MUST_USE fmp_status fmp_model_open(const char *dir, const fmp_model_options *options, fmp_model **out,
                                       fmp_err *err);
/*
 * fmp_model_new: random weights: normal(0, 0.02), o_proj and down_proj scaled by 1/sqrt(2L), gains 1, biases
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

/* Lay out all that a pass with frozen weights reads now, not at the first pass. */
FMP_MUST_USE fmp_status fmp_model_prepare(fmp_model *model, fmp_err *err);

const fmp_model_spec *fmp_model_get_spec(const fmp_model *model); /* borrowed */
uint64_t fmp_model_n_params(const fmp_model *model);              /* a tied head counts once */
/* The i-th tensor's name and shape, a vector having rows = 1; NULL beyond the last.            borrowed */
const char *fmp_model_tensor(const fmp_model *model, size_t i, uint64_t *rows, uint64_t *cols);
/*
 * fmp_model_score_rows: the rows by which the model scores tokens (of the embedding where the head is tied), as f32.
 *   id    (n)    u32   below vocab_size                               borrowed
 *   rows  (n,C)  f32                                                  written
 * Errors   FMP_E_NOMEM. Not while another call uses the model.
 */
FMP_MUST_USE fmp_status fmp_model_score_rows(fmp_model *model, const uint32_t *id, size_t n, float *rows, fmp_err *err);
/* SHA-256 of the shape and of every weight as f32: independent of file layout, 64 hex digits. */
FMP_MUST_USE fmp_status fmp_model_digest(fmp_model *model, char hex[65], fmp_err *err);
/* What computes ("fmk3 avx512 ..."), for manifests and cache keys.            borrowed from the model */
const char *fmp_model_numerics(const fmp_model *model);

/* The same without a model, for a cache key: all outside fmpipe's own bytes that decides a result's bits. */
FMP_MUST_USE fmp_status fmp_numerics_describe(char *line, size_t size, fmp_err *err);

/* ----------------------------------------------------------------------------------------------- adapters */

#define FMP_MAX_DROPOUT 0.95

typedef struct fmp_adapter_options {
    uint32_t rank; /* R, 1..1024 */
    double alpha;  /* scale = alpha / R, or alpha / sqrt(R) with rslora */
    bool rslora;
    bool dora;      /* the adapted weight's rows have learned magnitudes: (W + scale B A) * magnitude / norm */
    double dropout; /* 0 .. FMP_MAX_DROPOUT: share of the adapter's input that training leaves out */
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

/* Tensors and values of a model of this shape, and of an adapter on it (NULL: none); nothing is allocated for them. */
typedef struct fmp_model_size {
    uint64_t n_tensors, n_params;
    uint64_t n_lora_tensors, n_lora_params;
    uint64_t kv_values; /* keys and values that one token of a text keeps */
} fmp_model_size;
FMP_MUST_USE fmp_status fmp_spec_measure(const fmp_model_spec *spec, const fmp_adapter_options *adapter,
                                         fmp_model_size *out, fmp_err *err);
/*
 * fmp_adapter_load / _save: a PEFT folder, adapter_config.json and adapter_model.safetensors.
 *   base_name  what base_model_name_or_path says (NULL: "")
 * Errors   FMP_E_UNSUPPORTED names the PEFT option (rank_pattern, bias, modules_to_save, ...);
 *          FMP_E_MISMATCH names the tensor whose shape does not fit the base; FMP_E_DATA for a missing or
 *          unknown tensor.
 */
FMP_MUST_USE fmp_status fmp_adapter_load(fmp_model *model, const char *dir, fmp_adapter **out, fmp_err *err);
FMP_MUST_USE fmp_status fmp_adapter_save(const fmp_adapter *adapter, const char *dir, const char *base_name,
                                         fmp_dtype dtype, fmp_err *err);
void fmp_adapter_free(fmp_adapter *adapter);
/* Dropout of training from now on; a loaded adapter has what its folder says. */
FMP_MUST_USE fmp_status fmp_adapter_set_dropout(fmp_adapter *adapter, double dropout, fmp_err *err);
uint64_t fmp_adapter_n_params(const fmp_adapter *adapter);

/* ------------------------------------------------------------------------------------------------ batches */

/*
 * A packed micro-batch; all borrowed.
 *   id (T)      token ids
 *   weight (T)  weight of predicting id[t] from the tokens before it in its segment, >= 0; 0 for a segment's
 *               first
 *   seg (S+1)   offsets, seg[0] = 0, strictly ascending, seg[S] = T
 *   key (S)     names each segment's random numbers (dropout), whatever batch it is in; NULL: its number here
 */
typedef struct fmp_batch {
    size_t n_tokens, n_segments;
    const uint32_t *id;
    const float *weight; /* NULL where no loss is wanted: fmp_model_logits */
    const uint32_t *seg;
    const uint32_t *key;
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
    size_t max_segments, longest; /* for the plan: of one micro-batch, and of a segment; 0: one segment of max_tokens */
    size_t memory_bytes;     /* keep the activations of as many layers as fit into so many bytes with all that
                                the trainer takes, at least of one; 0: of all. Same bits. */
    uint64_t seed;           /* of dropout */
    bool evaluates;          /* fmp_model_eval runs between the steps: its workspace is part of the plan */
} fmp_train_options;

typedef struct fmp_step {
    double loss;      /* sum of weight * nll / total weight of the step   */
    double grad_norm; /* before clipping                                  */
    uint64_t n_tokens, n_labels;
    double flops; /* useful operations, multiply and add apart; what is computed again does not count */
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
/*
 * fmp_trainer_plan: what fmp_trainer_new and the steps after it will take: activations, gradients, optimizer, scratch
 * of the kernels, the weights of a model that is trained itself; not a frozen model's weights (fmp_model_prepare
 * takes those). And how it keeps within options->memory_bytes. SIZE_MAX if it cannot be counted.
 */
typedef struct fmp_memory_plan {
    size_t bytes, least_bytes; /* as planned; with one layer's activations kept */
    size_t n_layers, n_kept;   /* that have a backward pass; of these, not computed again */
} fmp_memory_plan;
void fmp_trainer_plan(const fmp_model *model, const fmp_adapter *adapter, const fmp_train_options *options,
                      fmp_memory_plan *plan);

/* Matrix products of the model's precision, with all its threads, in 10^9 operations a second: the best of 0.1 s. */
double fmp_model_measure_gflops(fmp_model *model);

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

/* The running step's gradient of the trained tensor `name`, (n), borrowed until begin; NULL: no such one, or a
 * device failed. */
const float *fmp_trainer_grad(const fmp_trainer *trainer, const char *name, size_t *n);
/*
 * The i-th trained tensor's name and values, to read or (in tests) to change until the step after; NULL beyond the last,
 * or where a device failed. A change counts from the next pass on.
 */
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

/* How keys and values of past tokens are kept: 4, 2, or 1 byte a value (and 4 for each head's row). */
typedef enum fmp_cache_kind { FMP_CACHE_F32 = 0, FMP_CACHE_BF16 = 1, FMP_CACHE_Q8 = 2 } fmp_cache_kind;
/* What they take, for n_tokens tokens over all texts at once; SIZE_MAX: more than can be counted. */
size_t fmp_cache_bytes(const fmp_model *model, fmp_cache_kind kind, size_t n_tokens);

/*
 * Called with each new token in the order of its text, texts of a batch interleaved, on the calling thread;
 * *end = true ends this text, an error everything.
 */
typedef fmp_status (*fmp_token_fn)(void *arg, size_t prompt, uint32_t id, bool *end, fmp_err *err);

/* The filters act in the order of the fields; each may be off. Definitions and sources: sample.c. */
typedef struct fmp_generate_options {
    size_t max_new_tokens;
    const uint32_t *stop; /* (n_stop) ids that end a text; the stop id itself is part of the output */
    size_t n_stop;
    float temperature; /* 0: greedy, ties to the lower id */
    uint32_t top_k;    /* 0: off; else the k most likely, ties to the lower id */
    float top_p;       /* 0 or 1: off; else the smallest set of tokens with at least this probability */
    float min_p;       /* 0: off; else tokens at least this share as likely as the most likely one */
    uint64_t seed;
    size_t max_batch; /* sequences decoded together; 0: 16 */
    fmp_cache_kind cache;
    fmp_token_fn on_token; /* NULL: none */
    void *on_token_arg;
} fmp_generate_options;

typedef struct fmp_generated {
    uint32_t *id; /* (n) new tokens, in the arena */
    size_t n;
    bool stopped; /* by a stop id */
    bool ended;   /* by on_token; neither: by max_new_tokens or the model's positions */
} fmp_generated;

/*
 * fmp_generate: continue every prompt. adapter may be NULL; it is applied beside the weights, not merged.
 *   out (n_prompts)   the caller's array; ids returned in `arena`
 * A text is a function of model, adapter, its prompt's ids and stream, and the options; of neither the other
 * prompts, their order, max_batch nor the number of threads.
 * Errors   FMP_E_DATA for an empty prompt or an id outside the vocabulary, and for logits that are not finite;
 *          FMP_E_RANGE for a prompt that fills the model's positions, or an option out of its range.
 * Cost     a prompt is one pass (the longest may take some MiB of activations for each 100 tokens); then every
 *          step reads all weights once, whatever the batch.
 */
FMP_MUST_USE fmp_status fmp_generate(fmp_model *model, const fmp_adapter *adapter, const fmp_prompt *prompts,
                                     size_t n_prompts, const fmp_generate_options *options, fmp_arena *arena,
                                     fmp_generated *out, fmp_err *err);

#ifdef __cplusplus
}
#endif
#endif
