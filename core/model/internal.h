/*
 * internal.h: what the files of core/model share: parameters, layers, adapters, the workspace of a pass.
 *
 *   safetensors*.c  files           spec.c     config.json         model.c  parameters   model_save.c
 *   llama2c.c       its files       spec_json.c, rope.c: its parts and back
 *   adapter.c       LoRA            dora.c     its magnitudes      peft.c   its folders
 *   work.c          one arena       forward.c  layers, one pass    loss.c   head and cross-entropy, eval,
 *                   logits
 *   backward.c      gradients       trainer.c  one optimizer step  trainer_state.c  checkpoints
 *   generate.c      decoding        sample.c   the next token      kv_cache.c  what decoding keeps
 *   backend.c       the device that computes, and values that it and the host both hold
 *
 * An fmk_f32 * (fmk_u32 *, ...) is the device's memory: passed on, never followed. A float * is the host's.
 */
#ifndef FMP_MODEL_INTERNAL_H
#define FMP_MODEL_INTERNAL_H

#include <cjson/cJSON.h>
#include <fmk_backend.h>
#include <fmpipe/fs.h>
#include <fmpipe/model.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* What follows is not part of the library's interface. */
#pragma GCC visibility push(hidden)

/* backend.c: an open device and its one stream, kept by all that has memory on it. */
typedef struct fmp_device {
    const fmk_backend *be;
    fmk_device *dev;
    fmk_stream *q;
    unsigned n_users;
} fmp_device;
/* backend: NULL is "cpu"; a name, or a path with a '/'.                              returned; fmp_device_drop */
fmp_status fmp_device_open(const char *backend, int n_threads, fmp_device **out, fmp_err *err);
fmp_device *fmp_device_keep(fmp_device *d); /* one user more */
void fmp_device_drop(fmp_device *d);        /* NULL allowed */

/*
 * Values that host and device both hold: weights, adapters, the optimizer's state. Where the device can use the host's
 * memory they are one and nothing is copied. Zeroed: none.
 */
typedef struct fmp_mirror {
    float *host;  /* (n); a frozen weight's may be a read-only file */
    float *owned; /* host, if it is the mirror's to free            */
    fmk_f32 *dev; /* (n) */
    size_t n;
    bool shared; /* one memory */
    bool lent;   /* somebody outside may write to the host's until the device's change */
    enum { MIRROR_EQUAL, MIRROR_HOST, MIRROR_DEVICE } newer;
} fmp_mirror;
fmp_status fmp_mirror_of(fmp_device *d, const float *host, size_t n, fmp_mirror *out,
                         fmp_err *err);                                            /* borrowed */
fmp_status fmp_mirror_new(fmp_device *d, size_t n, fmp_mirror *out, fmp_err *err); /* zeros */
void fmp_mirror_free(fmp_device *d, fmp_mirror *m);
/* The device has the host's values, in the order of the stream; waits for nothing. */
void fmp_mirror_push(fmp_device *d, fmp_mirror *m);
/* The host has the device's values; waits for them. */
fmp_status fmp_mirror_pull(fmp_device *d, fmp_mirror *m, fmp_err *err);
/* After writing on one side. */
static inline void fmp_mirror_wrote_host(fmp_mirror *m)
{
    m->newer = MIRROR_HOST;
}
static inline void fmp_mirror_wrote_device(fmp_mirror *m)
{
    m->newer = MIRROR_DEVICE;
    m->lent = false;
}

/*
 * The seven linear layers of a decoder layer, in the order of their use. Fused weights stand in the place of the
 * first they hold: Q for Q, K, V and GATE for gate and up; the others' places are then empty, as are K and V of a
 * layer that reuses those of another.
 */
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
    fmp_mirror values;     /* of own, or of the file's values; none where only `packed` is computed with */
    fmk_packed *packed;    /* laid out for the device, or NULL */
} fmp_param;

/* A layer's parameters; NULL where the layer has none. */
typedef struct fmp_layer {
    fmp_param *norm1, *norm2; /* before attention and the feed-forward unit */
    fmp_param *post1, *post2; /* after them                                 */
    fmp_param *q_norm, *k_norm;
    fmp_param *w[N_PROJ], *b[N_PROJ];
} fmp_layer;

struct fmp_work;

struct fmp_model {
    fmp_model_spec spec;
    fmp_device *device;
    const fmk_backend *be; /* the device's, as is q */
    fmk_stream *q;
    fmp_precision precision;
    fmp_tensors *files;    /* NULL for a new model */
    char *config_text;     /* config.json as read, or NULL */
    bool text_part;        /* the files hold more than the decoder */
    char *generation_text; /* generation_config.json as read, or NULL */
    fmp_param *params;     /* (n_params) */
    size_t n_params;
    fmp_layer *layers;                   /* (L) */
    fmp_param *embed, *norm, *head;      /* head == embed when tied */
    bool trainable;                      /* weights change: all own f32, none packed */
    fmp_mirror rope_cos[2], rope_sin[2]; /* (rope_len, n_rotary/2) of each RoPE description in use */
    int64_t rope_len;
    struct fmp_work *work; /* of passes without gradients, kept for the next */
};

/* spec.c, spec_json.c */
fmp_status fmp_spec_from_json(const cJSON *config, fmp_model_spec *spec,
                              fmp_err *err); /* layers returned; free() */
fmp_status fmp_spec_default_layers(fmp_model_spec *spec, fmp_err *err);
fmp_status fmp_spec_check(const fmp_model_spec *spec, fmp_err *err);
cJSON *fmp_spec_to_json(const fmp_model_spec *spec, fmp_dtype dtype); /* NULL: out of memory */
/* What its family decides. */
void fmp_spec_set_family(fmp_model_spec *spec);
/* True if both describe the same layers and the same numbers. */
bool fmp_spec_same(const fmp_model_spec *a, const fmp_model_spec *b, uint32_t *layer);
static inline int64_t fmp_spec_rotary(const fmp_model_spec *s)
{
    return s->n_rotary ? s->n_rotary : s->head_size;
}

/* What a family is; a field of config.json that it does not have is not read, or refused if it is set. */
typedef struct fmp_family {
    const char *model_type, *architecture;
    bool qkv_bias;   /* always, whatever the file says               */
    bool bias_field; /* attention_bias is read                       */
    bool mlp_bias_field;
    bool qk_norm;
    bool always_window; /* sliding_window holds for all layers if set   */
    bool uniform;       /* transformers reads no layer_types: all layers are alike */
    bool nope_field;    /* no_rope_layers is read                       */
    bool tied;          /* when the file does not say                   */
    double rope_theta;  /* when the file has none                       */
    uint32_t head_size; /* when the file has none; 0: channels / heads  */
    double norm_eps;    /* when the file has none; 0: 1e-6              */
    bool gemma;         /* GELU, embedding times sqrt(C), gains from 1  */
    bool scale_field, attn_softcap_field, logit_softcap_field; /* query_pre_attn_scalar, ... are read */
    double attn_softcap, logit_softcap;                        /* when the file says nothing */
    uint32_t default_window;                                   /* when the file says nothing; 0: none */
    uint32_t window_period; /* every n-th layer sees all, the others a window, unless layer_types says */
    bool local_rope;        /* layers with a window have a RoPE base of their own */
    bool fused, qk_norm_whole;
    bool own; /* fmpipe's family: num_kv_shared_layers, use_qk_norm and rope_interleaved are read */
    fmp_norm_place norms;
} fmp_family;
const fmp_family *fmp_family_find(const char *model_type);

fmp_status fmp_config_uint(const cJSON *c, const char *key, int64_t fallback, uint32_t lo, uint32_t hi,
                           uint32_t *out, fmp_err *err);
fmp_status fmp_config_positive(const cJSON *c, const char *key, double fallback, double *out, fmp_err *err);
fmp_status fmp_config_bool(const cJSON *c, const char *key, bool fallback, bool *out, fmp_err *err);

/* spec_text.c: the text decoder of a model that also sees (Gemma 3, Mistral 3) */
bool fmp_config_has_text_part(const cJSON *config);
/* Its text_config with what that leaves out; only where the above holds. Returned; cJSON_Delete. */
fmp_status fmp_config_text_part(const cJSON *config, cJSON **out, fmp_err *err);
/* True for a tensor of the parts that are no decoder. */
bool fmp_tensor_is_of_vision(const char *name);
/* True if `found`, a name in such a model's files, is the decoder's tensor `wanted`. */
bool fmp_tensor_is_named(const char *found, const char *wanted);

/* rope.c */
fmp_status fmp_rope_read(const cJSON *config, const fmp_family *family, fmp_model_spec *s, fmp_err *err);
fmp_status fmp_rope_check(const fmp_model_spec *s, fmp_err *err);
/* Frequencies (n_rotary/2) for a text of n_tokens, and the factor on cosine and sine. */
void fmp_rope_frequencies(const fmp_model_spec *s, const fmp_rope_spec *rope, int64_t n_tokens, float *out,
                          float *attention_factor);
/* True where frequencies depend on the length of the text. */
static inline bool fmp_rope_by_length(const fmp_rope_spec *rope)
{
    return rope->kind == FMP_ROPE_DYNAMIC || rope->kind == FMP_ROPE_LONGROPE;
}

/* llama2c.c: true if the file begins like one of llama2.c's checkpoints. */
bool fmp_llama2c_is(const char *path);
fmp_status fmp_llama2c_spec(const char *path, fmp_model_spec *spec,
                            fmp_err *err); /* layers returned; free() */
fmp_status fmp_llama2c_open(const char *path, fmp_tensors **out, fmp_err *err);
/* Rows of Q and K from neighbouring pairs to halves: the two layouts of RoPE. out != in, both (heads*D,C) */
void fmp_rope_to_halves(int64_t n_heads, int64_t D, int64_t C, const float *in, float *out);

/* safetensors.c: an opened set of the tensors of one mapped file. map: taken, also on an error; tensors: copied */
fmp_status fmp_tensors_wrap(const char *path, fmp_map map, const fmp_tensor *tensors, size_t n,
                            fmp_tensors **out, fmp_err *err);

/* The pages of a tensor's size_bytes in its mapped file need not stay in memory: it was copied. */
void fmp_tensors_forget(const fmp_tensors *ts, const fmp_tensor *t, size_t size_bytes);

/* model.c */
const char *fmp_proj_path(const fmp_model_spec *s, fmp_proj p); /* "self_attn.q_proj" */
/* The list of tensors, without values; free with fmp_params_free. */
fmp_status fmp_params_make(fmp_model *m, fmp_err *err);
void fmp_params_free(fmp_model *m);
/* The host's values as f32: where the file holds them, or converted once and kept; what the device changed is fetched. */
fmp_status fmp_param_f32(fmp_model *m, fmp_param *p, const float **out, fmp_err *err);
/* True where its values are f32 in memory: fmp_param_f32 need not convert. */
bool fmp_param_is_f32(const fmp_param *p);
/* Rows id[i] of the host's values, as f32 (n,cols), wherever they lie: nothing is kept. */
void fmp_param_rows(const fmp_param *p, const uint32_t *id, size_t n, float *rows);
/* The device's, of a parameter that fmp_model_ready or _unfreeze has given some. */
static inline const fmk_f32 *fmp_param_view(const fmp_param *p)
{
    return p->values.dev;
}
/* Everything that a pass reads is on the device; head: the head's packed form too. */
fmp_status fmp_model_ready(fmp_model *m, bool head, fmp_err *err);
/* From now on the weights are owned, writable f32. */
fmp_status fmp_model_unfreeze(fmp_model *m, fmp_err *err);
/* RoPE tables for positions 0..n-1. */
fmp_status fmp_model_positions(fmp_model *m, int64_t n, fmp_err *err);
static inline size_t fmp_param_count(const fmp_param *p)
{
    return (size_t)p->rows * (size_t)p->cols;
}
static inline bool fmp_proj_has(const fmp_model *m, size_t l, fmp_proj p)
{
    return m->layers[l].w[p] != NULL;
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
    fmk_f32 *a, *b; /* (R,in), (out,R), in the adapter's block; NULL: this layer is not adapted */
    fmk_f32 *mag;   /* (out) DoRA's magnitudes, in the adapter's block; NULL: plain LoRA */
    /* (out) of what fmp_adapter_ready saw: mag / norm and 1 / norm of the rows of W + scale B A */
    fmk_f32 *gain, *inv_norm;
    double *base_sq; /* (out) squared norms of the base's rows, on the host and on the device */
    fmk_f64 *base_sq_dev;
    int64_t in, out;
} fmp_lora;

struct fmp_adapter {
    const fmp_model *model;
    fmp_device *device; /* kept */
    uint32_t rank;
    double alpha, dropout;
    bool rslora, dora;
    float scale;
    char **targets; /* as PEFT lists them: module names or full paths */
    size_t n_targets;
    fmp_lora *lora; /* (L*N_PROJ) */
    size_t n_lora;
    fmp_mirror *values; /* all A and B, then all magnitudes, one block */
    size_t n_values;
    struct fmp_dora *derived; /* what DoRA computes from the values; NULL without it */
};
/* Where the host has what the device has at x, inside the adapter's block. */
static inline float *fmp_adapter_host(const fmp_adapter *ad, const fmk_f32 *x)
{
    return ad->values->host + (x - ad->values->dev);
}
/* An adapter of zeros on the modules of `on` (L*N_PROJ flags); targets are copied. */
fmp_status fmp_adapter_alloc(const fmp_model *m, const fmp_adapter_options *o, const bool *on,
                             fmp_adapter **out, fmp_err *err);
fmp_status fmp_adapter_match(const fmp_model *m, const char *const *targets, size_t n, bool *on,
                             fmp_err *err);
/* out (out,in), the base's weight on the host, becomes the adapted one. */
fmp_status fmp_lora_merge(const fmp_adapter *ad, const fmp_lora *lora, float *out, fmp_err *err);

/* dora.c: without DoRA all do nothing but fmp_adapter_ready */
/* Room for what is derived, pointers of every fmp_lora set. */
fmp_status fmp_dora_new(fmp_adapter *ad, fmp_err *err);
void fmp_dora_free(fmp_adapter *ad);
/* Magnitudes of a fresh adapter: the norms of the base's rows, so that it changes nothing. */
fmp_status fmp_dora_start(fmp_model *m, fmp_adapter *ad, fmp_err *err);
/* The device has the values as they are now, and gain and inv_norm of every module fit them. */
fmp_status fmp_adapter_ready(fmp_model *m, const fmp_adapter *ad, fmp_err *err);
/* The values change, or may. */
void fmp_adapter_changed(const fmp_adapter *ad);
/* rows of out (out,in) scaled to the magnitudes (out), both the host's */
void fmp_dora_scale_rows(const fmp_lora *lora, const float *mag, float *out);
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

/* peft.c: "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"; 'M': "...lora_magnitude_vector".
   returned; free() */
char *fmp_peft_name(const fmp_model *m, size_t k, char which);

/*
 * Activations of one layer, each (T, .):
 *
 *   x_in -> n1 -> q_raw k_raw v -> (norm, rope) q k -> o -> (y1 ->) x_mid -> n2 -> gate up -> h -> (y2 ->) x_out
 *
 * q_raw == q and k_raw == k without QK-norm. y1, y2 only where a norm follows the output projection; no n1, n2
 * where none comes before. Fused projections make q, k, v, and gate, up, side by side in one row: see fmp_strides.
 * u[g] (T,n*R) is scale * input A^T of a group's n adapted projections.
 *
 * Training in bf16, the matrices of all sets are the same f32 memory, fmp_work.wide, and a layer keeps them in `kept`,
 * rounded: the backward pass reads them back. So it does after computing a layer again, which keeps bits the same
 * whatever is kept.
 */
typedef struct fmp_acts {
    fmk_f32 *n1, *rstd1, *q_raw, *k_raw, *q, *k, *v, *rq, *rk, *o, *lse;
    fmk_f32 *y1, *rstd_y1, *x_mid, *n2, *rstd2, *gate, *up, *h, *y2, *rstd_y2;
    fmk_f32 *u[N_GROUP];
    fmk_f32 *z[N_PROJ]; /* (T,out) DoRA: an adapted projection before its scaling */
    fmk_bf16 *kept;     /* (n_wide); NULL: the matrices are this set's own */
} fmp_acts;

/* From one row to the next of q, of k and v, of gate and up. */
typedef struct fmp_strides {
    int64_t q, kv, ff;
} fmp_strides;
static inline fmp_strides fmp_strides_of(const fmp_model_spec *s)
{
    int64_t HD = (int64_t)s->n_heads * s->head_size, GD = (int64_t)s->n_kv_heads * s->head_size, F = s->n_ff;
    return s->fused ? (fmp_strides){HD + 2 * GD, HD + 2 * GD, 2 * F} : (fmp_strides){HD, GD, F};
}

/* Keys and values (T,G*D) that later layers use again, and the sum of the gradients that come back from there. */
typedef struct fmp_lent {
    fmk_f32 *k, *v, *dk, *dv; /* NULL: no layer uses them again */
} fmp_lent;

typedef enum fmp_work_mode {
    WORK_FORWARD, /* no gradients: one set of activations, x in place */
    WORK_TRAIN    /* every layer keeps its input, the upper ones their activations */
} fmp_work_mode;

/* The host's side of what is uploaded for a pass, or comes back from it; each as long as its namesake in fmp_work. */
typedef struct fmp_staging {
    int32_t *pos, *slot, *rope_row;
    uint32_t *row, *label;
    float *w_lab, *nll;
    uint8_t *hit;
    float *rope_cos[2], *rope_sin[2];
    float *x; /* (T,C) where the embedding is read in its file */
} fmp_staging;

/* Everything a pass of up to T tokens needs, in one block on the device and a small one on the host. */
typedef struct fmp_work {
    fmp_device *device; /* kept */
    void *block, *staging_block;
    size_t size_bytes;      /* of block */
    int64_t T, most_tokens; /* as cut now; as the blocks allow */
    fmp_work_mode mode;
    size_t first, n_acts; /* layers below `first` keep nothing */
    size_t keep;    /* layers above it have activations of their own; it and those below share the first */
    fmp_acts *acts; /* (n_acts) */
    fmk_f32 *wide;  /* (n_wide) the matrices of every set whose `kept` is not NULL */
    int64_t n_wide;
    fmp_lent *lent; /* (L) */
    fmk_f32 **x;    /* (L+1) layer inputs; equal pointers where x is updated in place */
    fmp_staging staging;
    /* what the batch says, uploaded once: ids (T), segments (S+1), their keys (S), positions (T); for generation the
       cache's slot of each token (T), for its single new tokens what they see of it (T) */
    fmk_u32 *id, *seg, *seg_key;
    fmk_i32 *pos, *slot, *len;
    /* RoPE where frequencies depend on the length: a row for each token, (T,n_rotary/2); and 0 .. T-1 (T) */
    fmk_f32 *rope_cos[2], *rope_sin[2];
    fmk_i32 *rope_row;
    fmk_f32 *y; /* (T,C): what a norm after a projection made; its gradient */
    fmk_f32 *dx, *dn, *dh, *dgate, *dup, *d_o, *dq, *dk, *dv, *dq_raw, *dk_raw, *du;
    fmk_f32 *xd, *dz; /* (T, widest input) dropout; (T, widest output) DoRA */
    /* labelled rows */
    fmk_f32 *x_lab, *n_lab, *rstd_lab, *dn_lab, *dx_lab, *w_lab, *nll;
    fmk_u32 *row, *label;
    fmk_u8 *hit;
    size_t n_rows; /* of the pass at hand */
} fmp_work;

/*
 * first    the lowest layer with something to train
 * n_acts   sets of activations, 1 .. L - first: the layers that do not get one of their own are computed again
 *          by the backward pass (Chen et al. 2016)
 */
fmp_status fmp_work_new(const fmp_model *m, const fmp_adapter *ad, int64_t T, fmp_work_mode mode,
                        size_t first, size_t n_acts, fmp_work **out, fmp_err *err);
void fmp_work_free(fmp_work *w);
/* Cut anew for a pass of T tokens, at most as many as it was made for. */
void fmp_work_cut(const fmp_model *m, const fmp_adapter *ad, int64_t T, fmp_work *w);
size_t fmp_work_bytes(const fmp_model *m, const fmp_adapter *ad, int64_t T, fmp_work_mode mode, size_t first,
                      size_t n_acts);
/* Where layer l's activations are. */
static inline fmp_acts *fmp_work_acts(const fmp_work *w, size_t l)
{
    return &w->acts[l > w->keep ? l - w->keep : 0];
}
/* The model's own workspace for passes without gradients, at least T tokens and the adapter's rank. */
fmp_status fmp_work_shared(fmp_model *m, const fmp_adapter *ad, int64_t T, fmp_work **out, fmp_err *err);

/* kv_cache.c */
typedef struct fmp_kv_cache {
    size_t n_layers;
    fmp_device *device; /* the model's */
    void *block;        /* what all layers' rows lie in */
    fmk_dev_kv *layer;  /* (L) */
} fmp_kv_cache;
fmp_status fmp_kv_new(const fmp_model *m, fmp_cache_kind kind, int64_t n_slots, int64_t cap,
                      fmp_kv_cache *cache, fmp_err *err);
void fmp_kv_free(fmp_kv_cache *cache);
/* The first n_tokens tokens of slot `from` become slot `to`'s. */
void fmp_kv_move(fmp_kv_cache *cache, int64_t from, int64_t to, int64_t n_tokens);

/* forward.c */
typedef struct fmp_pass {
    fmp_model *m;
    const fmp_adapter *ad;
    fmp_work *w;
    int64_t T;
    size_t n_seg;
    const uint32_t *id, *seg, *seg_key; /* the host's; seg_key may be NULL */
    /* generation: where keys and values go; decode: row i is the new token of slot i, len[i] with itself */
    fmp_kv_cache *cache;
    const int32_t *slot_of_seg;
    const int32_t *len;
    /* training: gradients to be added to, by parameter, by LoRA (two for each), by magnitude; NULL: not trained */
    fmk_f32 **grad_param, **grad_lora, **grad_mag;
    const fmk_dev_drop *drop; /* dropout of what LoRA reads, all but its site; NULL: none */
} fmp_pass;

fmp_status fmp_batch_check(const fmp_model *m, const fmp_batch *b, fmp_err *err);
/* What the batch says goes to the device: positions count from each segment's start, or with len are len[i] - 1. */
void fmp_pass_begin(fmp_pass *p);
void fmp_pass_forward(fmp_pass *p); /* w->x[L] holds the last layer's output */
void fmp_layer_forward(fmp_pass *p, size_t l);
/* In bf16: the layer's activations, just computed, into its set. */
void fmp_layer_keep(fmp_pass *p, size_t l);
/* a->h of a layer's gate and up; the layers share it, so that the backward pass makes it again. */
void fmp_gate_forward(const fmp_pass *p, const fmp_acts *a);
/* y = norm of x, rows of C values by the gain g, and dx += its gradient, dg += unless NULL. */
void fmp_norm_forward(const fmp_model *m, int64_t T, int64_t C, const fmk_f32 *x, const fmp_param *g,
                      fmk_f32 *y, fmk_f32 *rstd);
void fmp_norm_backward(const fmp_model *m, int64_t T, int64_t C, const fmk_f32 *x, const fmp_param *g,
                       const fmk_f32 *rstd, const fmk_f32 *dy, fmk_f32 *dx, fmk_f32 *dg);
/* Where layer l's keys and values are. */
void fmp_pass_kv(const fmp_pass *p, size_t l, fmk_f32 **k, fmk_f32 **v);
/* RoPE of layer l in place, x (T, heads, D) with rows ld apart. */
void fmp_pass_rope(const fmp_pass *p, size_t l, int64_t heads, int64_t ld, bool inverse, fmk_f32 *x);
/* Layer l's attention as the kernels want it. */
fmk_dev_attn fmp_pass_attn(const fmp_pass *p, size_t l);
/* What the adapted projections of a group read instead of x (T,in): with dropout w->xd, filled here. */
const fmk_f32 *fmp_lora_source(fmp_pass *p, size_t l, fmp_group g, int64_t in, const fmk_f32 *x);
/* A group's projections as lora_fwd and lora_bwd want them; place: which of the group each is. */
typedef struct fmp_lora_group {
    fmk_dev_lora l;
    fmk_dev_lora_proj proj[FMK_LORA_MAX];
    int place[FMK_LORA_MAX];
} fmp_lora_group;
/* False where each product is computed apart: nothing adapted, f32, DoRA, weights in training, or oneDNN. */
bool fmp_lora_shared(const fmp_pass *p, size_t l, fmp_group g, const fmk_f32 *x, fmp_lora_group *out);
/* The pass's dropout for one group of one layer. */
static inline fmk_dev_drop fmp_drop_at(const fmp_pass *p, size_t l, fmp_group g)
{
    fmk_dev_drop d = *p->drop;
    d.site = (uint32_t)(l * N_GROUP + (size_t)g);
    return d;
}
/* y (n,V) = x (n,C) head^T */
void fmp_head_forward(fmp_model *m, int64_t n, const fmk_f32 *x, fmk_f32 *y);
bool fmp_model_is_bf16(const fmp_model *m);

/* backward.c: from w->dx = d loss / d x[L] down to layer w->first */
void fmp_pass_backward(fmp_pass *p);

/* loss.c */
/*
 * Head and cross-entropy of the labelled rows after a forward pass: w->n_rows of them. grad_scale: with
 * gradients, w->dx is set.
 */
void fmp_pass_loss(fmp_pass *p, const float *weight, bool want_grad, float grad_scale);
/* Waits for the pass and sums its losses; seg_loss may be NULL. */
fmp_status fmp_pass_sums(fmp_pass *p, fmp_loss *loss, fmp_loss *seg_loss, fmp_err *err);

/* sample.c: the next token of logits (V); scratch (V) pairs. */
typedef struct fmp_candidate {
    float logit;
    uint32_t id;
} fmp_candidate;
uint32_t fmp_sample_token(const fmp_generate_options *o, uint64_t stream, uint64_t position, int64_t V,
                          const float *logits, fmp_candidate *scratch);

#pragma GCC visibility pop

#endif
