/*
 * internal.h: what the files of core/model share: parameters, layers, adapters, the workspace of a pass.
 *
 *   safetensors*.c  files           spec.c     config.json         model.c  parameters   model_save.c
 *   adapter.c       LoRA            peft.c     its folders
 *   work.c          one arena       forward.c  layers, one pass    loss.c   head and cross-entropy, eval,
 *                   logits
 *   backward.c      gradients       trainer.c  one optimizer step  trainer_state.c  checkpoints
 *   generate.c      decoding        sample.c   the next token
 */
#ifndef FMP_MODEL_INTERNAL_H
#define FMP_MODEL_INTERNAL_H

#include <cjson/cJSON.h>
#include <fmk.h>
#include <fmpipe/fs.h>
#include <fmpipe/model.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* What follows is not part of the library's interface. */
#pragma GCC visibility push(hidden)

/* The seven linear layers of a decoder layer, in the order of their use. */
typedef enum fmp_proj { PROJ_Q, PROJ_K, PROJ_V, PROJ_O, PROJ_GATE, PROJ_UP, PROJ_DOWN, N_PROJ } fmp_proj;

/* Those that read the same input. */
typedef enum fmp_group { GROUP_QKV, GROUP_O, GROUP_GATE_UP, GROUP_DOWN, N_GROUP } fmp_group;
static const fmp_proj fmp_group_first[N_GROUP + 1] = {PROJ_Q, PROJ_O, PROJ_GATE, PROJ_DOWN, N_PROJ};

/* One tensor: (rows, cols), or a vector of `cols` values with rows = 1. */
typedef struct fmp_param {
    char *name;
    int64_t rows, cols;
    bool is_matrix;
    const fmp_tensor *src; /* in the mapped files, or NULL */
    float *own;            /* f32 values, owned; or NULL: see fmp_param_f32 */
    fmk_packed *packed;    /* laid out for the kernels, or NULL */
} fmp_param;

/* A layer's parameters; NULL where the layer has none. */
typedef struct fmp_layer {
    fmp_param *norm1, *norm2, *q_norm, *k_norm;
    fmp_param *w[N_PROJ], *b[N_PROJ];
} fmp_layer;

struct fmp_work;

struct fmp_model {
    fmp_model_spec spec;
    fmk_ctx *ctx;
    fmp_precision precision;
    fmp_tensors *files;    /* NULL for a new model */
    char *config_text;     /* config.json as read, or NULL */
    char *generation_text; /* generation_config.json as read, or NULL */
    fmp_param *params;     /* (n_params) */
    size_t n_params;
    fmp_layer *layers;              /* (L) */
    fmp_param *embed, *norm, *head; /* head == embed when tied */
    bool trainable;                 /* weights change: all own f32, none packed */
    float *rope_cos, *rope_sin;     /* (rope_len, D/2) */
    int64_t rope_len;
    struct fmp_work *work; /* of passes without gradients, kept for the next */
};

/* spec.c */
fmp_status fmp_spec_from_json(const cJSON *config, fmp_model_spec *spec,
                              fmp_err *err); /* layers returned; free() */
fmp_status fmp_spec_default_layers(fmp_model_spec *spec, fmp_err *err);
fmp_status fmp_spec_check(const fmp_model_spec *spec, fmp_err *err);
cJSON *fmp_spec_to_json(const fmp_model_spec *spec, fmp_dtype dtype); /* NULL: out of memory */

/* model.c */
const char *fmp_proj_path(fmp_proj p); /* "self_attn.q_proj" */
/* Values as f32: where the file holds them, or converted once and kept. */
fmp_status fmp_param_f32(fmp_param *p, const float **out, fmp_err *err);
/* Values that fmp_param_f32 has made ready. */
const float *fmp_param_view(const fmp_param *p);
/* Everything that a pass reads is laid out; head: the head's packed form too. */
fmp_status fmp_model_ready(fmp_model *m, bool head, fmp_err *err);
/* From now on the weights are owned, writable f32. */
fmp_status fmp_model_unfreeze(fmp_model *m, fmp_err *err);
/* RoPE tables for positions 0..n-1. */
fmp_status fmp_model_positions(fmp_model *m, int64_t n, fmp_err *err);
static inline size_t fmp_param_count(const fmp_param *p)
{
    return (size_t)p->rows * (size_t)p->cols;
}
static inline int64_t fmp_proj_in(const fmp_model *m, size_t l, fmp_proj p)
{
    return m->layers[l].w[p]->cols;
}
static inline int64_t fmp_proj_out(const fmp_model *m, size_t l, fmp_proj p)
{
    return m->layers[l].w[p]->rows;
}

/*
 * adapter.c. The A matrices of a group lie one after another, then its B matrices: the n adapted projections
 * of a group share one product with their input, by an A of (n*R,in).
 */
typedef struct fmp_lora {
    float *a, *b; /* (R,in), (out,R), in the adapter's block; NULL: this layer is not adapted */
    int64_t in, out;
} fmp_lora;

struct fmp_adapter {
    const fmp_model *model;
    uint32_t rank;
    double alpha;
    bool rslora;
    float scale;
    char **targets; /* as PEFT lists them: module names or full paths */
    size_t n_targets;
    fmp_lora *lora; /* (L*N_PROJ) */
    size_t n_lora;
    float *values; /* all A and B, one block */
    size_t n_values;
};
/* An adapter of zeros on the modules of `on` (L*N_PROJ flags); targets are copied. */
fmp_status fmp_adapter_alloc(const fmp_model *m, const fmp_adapter_options *o, const bool *on,
                             fmp_adapter **out, fmp_err *err);
fmp_status fmp_adapter_match(const fmp_model *m, const char *const *targets, size_t n, bool *on,
                             fmp_err *err);
/* out (out,in) += scale B A */
void fmp_lora_add(fmk_ctx *ctx, const fmp_adapter *ad, const fmp_lora *lora, float *out, float *tmp);
/* The adapted projections of a group: how many, and the first; 0 without an adapter. */
static inline int64_t fmp_group_count(const fmp_adapter *ad, size_t l, fmp_group g, size_t *first)
{
    int64_t n = 0;
    for (size_t p = fmp_group_first[g]; ad && p < (size_t)fmp_group_first[g + 1]; p++) {
        if (!ad->lora[l * N_PROJ + p].a) { continue; }
        if (n++ == 0 && first) { *first = l * N_PROJ + p; }
    }
    return n;
}
static inline const fmp_lora *fmp_adapter_at(const fmp_adapter *ad, size_t l, fmp_proj p)
{
    const fmp_lora *lora = ad ? &ad->lora[l * N_PROJ + (size_t)p] : NULL;
    return lora && lora->a ? lora : NULL;
}

/* peft.c: "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight". returned; free() */
char *fmp_peft_name(size_t k, char which);

/*
 * Activations of one layer, each (T, .):
 *
 *   x_in -> n1 -> q_raw k_raw v -> (norm, rope) q k -> o -> x_mid -> n2 -> gate up -> h -> x_out
 *
 * q_raw == q and k_raw == k without QK-norm. u[g] (T,n*R) is scale * input A^T of a group's n adapted
 * projections.
 */
typedef struct fmp_acts {
    float *n1, *rstd1, *q_raw, *k_raw, *q, *k, *v, *rq, *rk, *o, *lse;
    float *x_mid, *n2, *rstd2, *gate, *up, *h;
    float *u[N_GROUP];
} fmp_acts;

typedef enum fmp_work_mode {
    WORK_FORWARD,  /* no gradients: one set of activations, x in place */
    WORK_KEEP,     /* every layer from the first trained one keeps its activations */
    WORK_RECOMPUTE /* layers keep their input only */
} fmp_work_mode;

/* Everything a pass of up to T tokens needs, in one block. */
typedef struct fmp_work {
    void *block;
    size_t size_bytes;
    int64_t T;
    fmp_work_mode mode;
    size_t first, n_acts; /* layers below `first` keep nothing */
    fmp_acts *acts;       /* (n_acts) */
    float **x;            /* (L+1) layer inputs; equal pointers where x is updated in place */
    int32_t *pos;
    float *dx, *dn, *dh, *dgate, *dup, *d_o, *dq, *dk, *dv, *dq_raw, *dk_raw, *du;
    /* labelled rows */
    float *x_lab, *n_lab, *rstd_lab, *dn_lab, *dx_lab, *w_lab, *nll;
    uint32_t *row, *label;
    uint8_t *hit;
} fmp_work;

/* first: the lowest layer with something to train. */
fmp_status fmp_work_new(const fmp_model *m, const fmp_adapter *ad, int64_t T, fmp_work_mode mode,
                        size_t first, fmp_work **out, fmp_err *err);
void fmp_work_free(fmp_work *w);
size_t fmp_work_bytes(const fmp_model *m, const fmp_adapter *ad, int64_t T, fmp_work_mode mode, size_t first);
/* Where layer l's activations are. */
static inline fmp_acts *fmp_work_acts(const fmp_work *w, size_t l)
{
    return &w->acts[w->mode == WORK_KEEP && l >= w->first ? l - w->first : 0];
}
/* The model's own workspace for passes without gradients, at least T tokens and the adapter's rank. */
fmp_status fmp_work_shared(fmp_model *m, const fmp_adapter *ad, int64_t T, fmp_work **out, fmp_err *err);

/* forward.c */
typedef struct fmp_kv_cache {
    int64_t n_slots, cap; /* k[l], v[l]: (n_slots, cap, G, D) */
    float **k, **v;       /* (L) */
} fmp_kv_cache;

typedef struct fmp_pass {
    fmp_model *m;
    const fmp_adapter *ad;
    fmp_work *w;
    int64_t T;
    size_t n_seg;
    const uint32_t *id, *seg;
    /* generation: where keys and values go; decode: row i is the new token of slot i, len[i] with itself */
    fmp_kv_cache *cache;
    const int32_t *slot_of_seg;
    const int32_t *len;
    /* training: gradients to be added to, by parameter and by LoRA (two for each); NULL: not trained */
    float **grad_param, **grad_lora;
} fmp_pass;

fmp_status fmp_batch_check(const fmp_model *m, const fmp_batch *b, fmp_err *err);
void fmp_pass_positions(fmp_pass *p); /* w->pos from the segments */
void fmp_pass_forward(fmp_pass *p);   /* w->x[L] holds the last layer's output */
void fmp_layer_forward(fmp_pass *p, size_t l);
/* y (n,V) = x (n,C) head^T */
void fmp_head_forward(fmp_model *m, int64_t n, const float *x, float *y);
bool fmp_model_is_bf16(const fmp_model *m);

/* backward.c: from w->dx = d loss / d x[L] down to layer w->first */
void fmp_pass_backward(fmp_pass *p);

/* loss.c */
/*
 * Head and cross-entropy of the labelled rows after a forward pass. grad_scale: with gradients, w->dx is set.
 * Returns the sums; seg_loss may be NULL.
 */
void fmp_pass_loss(fmp_pass *p, const float *weight, bool want_grad, float grad_scale, fmp_loss *loss,
                   fmp_loss *seg_loss);

/* sample.c: the next token of logits (V); scratch (V) pairs. */
typedef struct fmp_candidate {
    float logit;
    uint32_t id;
} fmp_candidate;
uint32_t fmp_sample_token(const fmp_generate_options *o, uint64_t stream, uint64_t position, int64_t V,
                          const float *logits, fmp_candidate *scratch);

#pragma GCC visibility pop

#endif
