/*
 * backend_far.c: a backend for tests that is as unlike the host as one can be on a machine without another device: what
 * runs on it proves that nothing outside a backend assumes host memory or synchronous calls.
 *
 *   - its addresses are those of the `cpu` backend's memory plus FAR_AWAY: not canonical, so that to follow one crashes;
 *     an address that is not far away, given to an operation, aborts
 *   - new memory holds NaNs, and nothing is adopted
 *   - operations go into a queue and run on another thread: when somebody waits or many are there, now and then after
 *     a pause
 *   - what is downloaded reaches the host in `sync`, not before; until then its place holds NaNs
 *   - FAR_FAIL_SYNC=n or FAR_FAIL_ALLOC=n in the environment makes a device's n-th sync or allocation fail
 */
#include <dlfcn.h>
#include <fmk_backend.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define FAR_AWAY   ((uintptr_t)1 << 55)
#define POISON     0xFF /* four of them are a NaN, an index beyond everything, -1 */
#define ARGS_BYTES 512
#define QUEUE      512
#define MANY       128 /* operations for which the other thread begins unasked */
#define PAUSE_EACH 251 /* operations */

typedef void (*job_fn)(fmk_stream *near, const void *args);

typedef struct job {
    job_fn run;
    unsigned char args[ARGS_BYTES];
    void *payload; /* freed after the operation */
} job;

/* Bytes that the next sync hands to the host. */
typedef struct delivery {
    struct delivery *next;
    void *host;
    size_t bytes;
    unsigned char data[];
} delivery;

struct fmk_device {
    fmk_device *near;
    fmk_stream *open_stream; /* whose queue `free` waits for; tests open one */
    unsigned long n_syncs, n_allocs;
};

struct fmk_stream {
    fmk_device *device;
    fmk_stream *near;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    job jobs[QUEUE];
    size_t n_put, n_done; /* of all time */
    bool awaited, closing;
    delivery *first, **last; /* in order; the caller's thread only */
};

static const fmk_backend *cpu;

static void *far_of(const void *near)
{
    return near ? (void *)((uintptr_t)near + FAR_AWAY) : NULL;
}
static void *near_of(const void *far)
{
    if (!far) { return NULL; }
    if ((uintptr_t)far < FAR_AWAY) {
        fprintf(stderr, "backend far: %p is the host's address, not the device's\n", far);
        abort();
    }
    return (void *)((uintptr_t)far - FAR_AWAY);
}
#define N(p) near_of(p)

/* ---- the queue ---- */

static void pause_now_and_then(size_t n)
{
    const struct timespec some_time = {.tv_nsec = 20000};
    if (n % PAUSE_EACH == 0) { nanosleep(&some_time, NULL); }
}

static bool is_idle(const fmk_stream *q)
{
    size_t n = q->n_put - q->n_done;
    return !q->closing && (n == 0 || (n < MANY && !q->awaited));
}

static void *work(void *arg)
{
    fmk_stream *q = arg;
    pthread_mutex_lock(&q->lock);
    for (;;) {
        while (is_idle(q)) {
            pthread_cond_wait(&q->changed, &q->lock);
        }
        if (q->n_done == q->n_put) { break; }
        job *j = &q->jobs[q->n_done % QUEUE];
        pthread_mutex_unlock(&q->lock);
        pause_now_and_then(q->n_done);
        j->run(q->near, j->args);
        free(j->payload);
        pthread_mutex_lock(&q->lock);
        q->n_done++;
        if (q->n_done == q->n_put || q->n_put - q->n_done == QUEUE - 1) {
            pthread_cond_broadcast(&q->changed);
        }
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

static void put(fmk_stream *q, job_fn run, const void *args, size_t bytes, void *payload)
{
    if (bytes > ARGS_BYTES) { abort(); }
    pthread_mutex_lock(&q->lock);
    while (q->n_put - q->n_done == QUEUE) {
        pthread_cond_wait(&q->changed, &q->lock);
    }
    job *j = &q->jobs[q->n_put % QUEUE];
    j->run = run;
    j->payload = payload;
    memcpy(j->args, args, bytes);
    q->n_put++;
    if (q->n_put - q->n_done == MANY) { pthread_cond_broadcast(&q->changed); }
    pthread_mutex_unlock(&q->lock);
}

static void wait_idle(fmk_stream *q)
{
    pthread_mutex_lock(&q->lock);
    q->awaited = true;
    pthread_cond_broadcast(&q->changed);
    while (q->n_done != q->n_put) {
        pthread_cond_wait(&q->changed, &q->lock);
    }
    q->awaited = false;
    pthread_mutex_unlock(&q->lock);
}

/* ---- a device ---- */

static bool is_to_fail(const char *variable, unsigned long *count)
{
    const char *at = getenv(variable);
    return at && (*count)++ == strtoul(at, NULL, 10);
}

static fmp_status far_open(const fmk_device_options *o, fmk_device **out, fmp_err *err)
{
    *out = NULL;
    fmk_device *d = calloc(1, sizeof *d);
    if (!d) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a device"); }
    fmp_status status = cpu->open(o, &d->near, err);
    if (status != FMP_OK) {
        free(d);
        return status;
    }
    *out = d;
    return FMP_OK;
}
static void far_close(fmk_device *d)
{
    cpu->close(d->near);
    free(d);
}
static const char *far_describe(const fmk_device *d)
{
    (void)d;
    return "far";
}
static int64_t far_exact_rows(const fmk_device *d, bool bf16)
{
    return cpu->exact_rows(d->near, bf16);
}
static size_t far_matmul_scratch(const fmk_device *d, const fmk_mm *mm)
{
    return cpu->matmul_scratch(d->near, mm);
}
static size_t far_lora_scratch(const fmk_device *d, int64_t T, int64_t K, int64_t n, int64_t n_u)
{
    return cpu->lora_scratch(d->near, T, K, n, n_u);
}
static size_t far_xent_scratch(const fmk_device *d, int64_t n, int64_t C, int64_t V, bool bf16, bool packed)
{
    return cpu->xent_scratch(d->near, n, C, V, bf16, packed);
}
static size_t far_attn_scratch(const fmk_device *d, const fmk_dev_attn *a, int64_t longest)
{
    return cpu->attn_scratch(d->near, a, longest);
}

static fmp_status far_alloc(fmk_device *d, size_t bytes, void **out, fmp_err *err)
{
    void *near = NULL;
    *out = NULL;
    if (is_to_fail("FAR_FAIL_ALLOC", &d->n_allocs)) {
        return fmp_fail(err, FMP_E_NOMEM, "the far device has no room for %zu bytes", bytes);
    }
    FMP_TRY(cpu->alloc(d->near, bytes, &near, err));
    memset(near, POISON, bytes);
    *out = far_of(near);
    return FMP_OK;
}
static void far_free(fmk_device *d, void *memory)
{
    if (d->open_stream) { wait_idle(d->open_stream); }
    cpu->free(d->near, N(memory));
}
static void *far_adopt(fmk_device *d, const void *host, size_t bytes)
{
    (void)d;
    (void)host;
    (void)bytes;
    return NULL;
}
static fmp_status far_pack(fmk_device *d, int64_t n, int64_t K, const float *w, bool bf16, fmk_packed **out,
                           fmp_err *err)
{
    if (d->open_stream) { wait_idle(d->open_stream); } /* a device is used by one thread at a time */
    return cpu->pack(d->near, n, K, w, bf16, out, err);
}
static void far_packed_free(fmk_device *d, fmk_packed *w)
{
    if (d->open_stream) { wait_idle(d->open_stream); }
    cpu->packed_free(d->near, w);
}

/* ---- streams ---- */

static fmp_status far_stream_open(fmk_device *d, fmk_stream **out, fmp_err *err)
{
    *out = NULL;
    fmk_stream *q = calloc(1, sizeof *q);
    if (!q) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a stream"); }
    q->device = d;
    q->last = &q->first;
    fmp_status status = cpu->stream_open(d->near, &q->near, err);
    if (status != FMP_OK) {
        free(q);
        return status;
    }
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->changed, NULL);
    if (pthread_create(&q->thread, NULL, work, q) != 0) {
        cpu->stream_close(q->near);
        free(q);
        return fmp_fail(err, FMP_E_NOMEM, "cannot start a thread");
    }
    d->open_stream = q;
    *out = q;
    return FMP_OK;
}

/* With `keep`, what was downloaded reaches the host. */
static void deliver(fmk_stream *q, bool keep)
{
    while (q->first) {
        delivery *d = q->first;
        q->first = d->next;
        if (keep) { memcpy(d->host, d->data, d->bytes); }
        free(d);
    }
    q->last = &q->first;
}

static void far_stream_close(fmk_stream *q)
{
    pthread_mutex_lock(&q->lock);
    q->closing = true;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
    pthread_join(q->thread, NULL);
    deliver(q, false);
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->changed);
    cpu->stream_close(q->near);
    q->device->open_stream = NULL;
    free(q);
}

static fmp_status far_sync(fmk_stream *q, fmp_err *err)
{
    wait_idle(q);
    bool fails = is_to_fail("FAR_FAIL_SYNC", &q->device->n_syncs);
    deliver(q, !fails);
    if (fails) { return fmp_fail(err, FMP_E_IO, "the far device is gone"); }
    return cpu->sync(q->near, err);
}

typedef struct bytes_job {
    void *to;
    const void *from;
    size_t bytes;
} bytes_job;

static void run_copy(fmk_stream *near, const void *args)
{
    const bytes_job *j = args;
    (void)near;
    if (j->bytes > 0) { memcpy(j->to, j->from, j->bytes); }
}

static void far_upload(fmk_stream *q, void *to, const void *host, size_t bytes)
{
    void *copy = malloc(bytes + 1);
    if (!copy) { abort(); }
    if (bytes > 0) { memcpy(copy, host, bytes); }
    const bytes_job j = {N(to), copy, bytes};
    put(q, run_copy, &j, sizeof j, copy);
}

static void far_download(fmk_stream *q, void *host, const void *from, size_t bytes)
{
    delivery *d = malloc(sizeof *d + bytes);
    if (!d) { abort(); }
    *d = (delivery){.host = host, .bytes = bytes};
    *q->last = d;
    q->last = &d->next;
    if (bytes > 0) { memset(host, POISON, bytes); }
    const bytes_job j = {d->data, N(from), bytes};
    put(q, run_copy, &j, sizeof j, NULL);
}

/*
 * ---- operations ----
 * OP: far_NAME takes `params`, keeps `values` (near addresses) in a struct of `fields`, and another thread makes the
 * call of the `cpu` backend's with them.
 */
#define LIST(...) __VA_ARGS__
#define OP(name, params, fields, values, call)                                                               \
    typedef struct name##_job {                                                                              \
        fields                                                                                               \
    } name##_job;                                                                                            \
    static void run_##name(fmk_stream *near, const void *args)                                               \
    {                                                                                                        \
        const name##_job *j = args;                                                                          \
        cpu->name call;                                                                                      \
    }                                                                                                        \
    static void far_##name params                                                                            \
    {                                                                                                        \
        const name##_job j = {LIST values};                                                                  \
        put(q, run_##name, &j, sizeof j, NULL);                                                              \
    }

/* clang-format off */
OP(zero, (fmk_stream *q, void *to, size_t bytes),
   void *to; size_t bytes;, (N(to), bytes), (near, j->to, j->bytes))
OP(copy_rows, (fmk_stream *q, int64_t n, size_t row_bytes, const void *from, size_t from_stride, void *to, size_t to_stride),
   int64_t n; size_t row_bytes; const void *from; size_t from_stride; void *to; size_t to_stride;,
   (n, row_bytes, N(from), from_stride, N(to), to_stride),
   (near, j->n, j->row_bytes, j->from, j->from_stride, j->to, j->to_stride))

OP(matmul, (fmk_stream *q, const fmk_mm *mm, const fmk_f32 *a, const fmk_f32 *b, fmk_f32 *out),
   fmk_mm mm; const fmk_f32 *a; const fmk_f32 *b; fmk_f32 *out;, (*mm, N(a), N(b), N(out)),
   (near, &j->mm, j->a, j->b, j->out))
OP(matmul_packed, (fmk_stream *q, int64_t T, const fmk_f32 *x, const fmk_packed *w, float beta, fmk_f32 *y),
   int64_t T; const fmk_f32 *x; const fmk_packed *w; float beta; fmk_f32 *y;, (T, N(x), w, beta, N(y)),
   (near, j->T, j->x, j->w, j->beta, j->y))
OP(matmul_packed_bwd, (fmk_stream *q, int64_t T, const fmk_f32 *dy, const fmk_packed *w, float beta, fmk_f32 *dx),
   int64_t T; const fmk_f32 *dy; const fmk_packed *w; float beta; fmk_f32 *dx;, (T, N(dy), w, beta, N(dx)),
   (near, j->T, j->dy, j->w, j->beta, j->dx))

/* A group with its list of projections. */
typedef struct lora_group {
    fmk_dev_lora l;
    fmk_dev_lora_proj proj[FMK_LORA_MAX];
} lora_group;
static lora_group near_lora(const fmk_dev_lora *l)
{
    lora_group g = {.l = *l};
    g.l.x = N(l->x);
    g.l.x_lora = N(l->x_lora);
    g.l.a = N(l->a);
    for (int i = 0; i < l->n; i++) {
        const fmk_dev_lora_proj *p = &l->proj[i];
        g.proj[i] = (fmk_dev_lora_proj){p->w, N(p->b), p->column, p->add, N(p->y), N(p->dy), N(p->db)};
    }
    return g;
}
/* As it lies now. */
static fmk_dev_lora with_list(const lora_group *g)
{
    fmk_dev_lora l = g->l;
    l.proj = g->proj;
    return l;
}
OP(lora_fwd, (fmk_stream *q, const fmk_dev_lora *l, fmk_f32 *u),
   lora_group g; fmk_f32 *u;, (near_lora(l), N(u)), (near, (const fmk_dev_lora[]){with_list(&j->g)}, j->u))
OP(lora_bwd, (fmk_stream *q, const fmk_dev_lora *l, const fmk_f32 *u, fmk_f32 *da, fmk_f32 *dx, fmk_f32 *dx_lora),
   lora_group g; const fmk_f32 *u; fmk_f32 *da; fmk_f32 *dx; fmk_f32 *dx_lora;,
   (near_lora(l), N(u), N(da), N(dx), N(dx_lora)),
   (near, (const fmk_dev_lora[]){with_list(&j->g)}, j->u, j->da, j->dx, j->dx_lora))

OP(rmsnorm_fwd, (fmk_stream *q, int64_t T, int64_t C, float eps, float offset, const fmk_f32 *x, const fmk_f32 *g,
                 fmk_f32 *y, fmk_f32 *rstd),
   int64_t T; int64_t C; float eps; float offset; const fmk_f32 *x; const fmk_f32 *g; fmk_f32 *y; fmk_f32 *rstd;,
   (T, C, eps, offset, N(x), N(g), N(y), N(rstd)), (near, j->T, j->C, j->eps, j->offset, j->x, j->g, j->y, j->rstd))
OP(rmsnorm_bwd, (fmk_stream *q, int64_t T, int64_t C, float offset, const fmk_f32 *x, const fmk_f32 *g,
                 const fmk_f32 *rstd, const fmk_f32 *dy, fmk_f32 *dx, fmk_f32 *dg),
   int64_t T; int64_t C; float offset; const fmk_f32 *x; const fmk_f32 *g; const fmk_f32 *rstd; const fmk_f32 *dy;
   fmk_f32 *dx; fmk_f32 *dg;, (T, C, offset, N(x), N(g), N(rstd), N(dy), N(dx), N(dg)),
   (near, j->T, j->C, j->offset, j->x, j->g, j->rstd, j->dy, j->dx, j->dg))
OP(rope, (fmk_stream *q, int64_t T, int64_t n_heads, int64_t D, int64_t n_rot, int64_t ld, const fmk_i32 *pos,
          const fmk_f32 *cos_t, const fmk_f32 *sin_t, bool interleaved, bool inverse, fmk_f32 *x),
   int64_t T; int64_t n_heads; int64_t D; int64_t n_rot; int64_t ld; const fmk_i32 *pos; const fmk_f32 *cos_t;
   const fmk_f32 *sin_t; bool interleaved; bool inverse; fmk_f32 *x;,
   (T, n_heads, D, n_rot, ld, N(pos), N(cos_t), N(sin_t), interleaved, inverse, N(x)),
   (near, j->T, j->n_heads, j->D, j->n_rot, j->ld, j->pos, j->cos_t, j->sin_t, j->interleaved, j->inverse, j->x))

static fmk_dev_attn near_attn(const fmk_dev_attn *a)
{
    fmk_dev_attn near = *a;
    near.seg = N(a->seg);
    return near;
}
OP(attn_fwd, (fmk_stream *q, const fmk_dev_attn *a, const fmk_f32 *Q, const fmk_f32 *K, const fmk_f32 *V, fmk_f32 *o,
              fmk_f32 *lse),
   fmk_dev_attn a; const fmk_f32 *Q; const fmk_f32 *K; const fmk_f32 *V; fmk_f32 *o; fmk_f32 *lse;,
   (near_attn(a), N(Q), N(K), N(V), N(o), N(lse)), (near, &j->a, j->Q, j->K, j->V, j->o, j->lse))
OP(attn_bwd, (fmk_stream *q, const fmk_dev_attn *a, const fmk_f32 *Q, const fmk_f32 *K, const fmk_f32 *V,
              const fmk_f32 *o, const fmk_f32 *lse, const fmk_f32 *d_o, fmk_f32 *dQ, fmk_f32 *dK, fmk_f32 *dV),
   fmk_dev_attn a; const fmk_f32 *Q; const fmk_f32 *K; const fmk_f32 *V; const fmk_f32 *o; const fmk_f32 *lse;
   const fmk_f32 *d_o; fmk_f32 *dQ; fmk_f32 *dK; fmk_f32 *dV;,
   (near_attn(a), N(Q), N(K), N(V), N(o), N(lse), N(d_o), N(dQ), N(dK), N(dV)),
   (near, &j->a, j->Q, j->K, j->V, j->o, j->lse, j->d_o, j->dQ, j->dK, j->dV))

static fmk_dev_kv near_kv(const fmk_dev_kv *kv)
{
    fmk_dev_kv near = *kv;
    near.k = N(kv->k);
    near.v = N(kv->v);
    near.k_scale = N(kv->k_scale);
    near.v_scale = N(kv->v_scale);
    return near;
}
static fmk_dev_kv_attn near_kv_attn(const fmk_dev_kv_attn *a)
{
    fmk_dev_kv_attn near = *a;
    near.slot = N(a->slot);
    near.len = N(a->len);
    return near;
}
OP(kv_store, (fmk_stream *q, const fmk_dev_kv *kv, int64_t T, int64_t ld, const fmk_i32 *slot, const fmk_i32 *pos,
              const fmk_f32 *k, const fmk_f32 *v),
   fmk_dev_kv kv; int64_t T; int64_t ld; const fmk_i32 *slot; const fmk_i32 *pos; const fmk_f32 *k; const fmk_f32 *v;,
   (near_kv(kv), T, ld, N(slot), N(pos), N(k), N(v)), (near, &j->kv, j->T, j->ld, j->slot, j->pos, j->k, j->v))
OP(kv_attend, (fmk_stream *q, const fmk_dev_kv_attn *a, const fmk_dev_kv *kv, const fmk_f32 *Q, fmk_f32 *o),
   fmk_dev_kv_attn a; fmk_dev_kv kv; const fmk_f32 *Q; fmk_f32 *o;, (near_kv_attn(a), near_kv(kv), N(Q), N(o)),
   (near, &j->a, &j->kv, j->Q, j->o))

#define GLU(unit)                                                                                                      \
    OP(unit##_fwd, (fmk_stream *q, int64_t T, int64_t F, int64_t ld, const fmk_f32 *gate, const fmk_f32 *up, fmk_f32 *h), \
       int64_t T; int64_t F; int64_t ld; const fmk_f32 *gate; const fmk_f32 *up; fmk_f32 *h;,                          \
       (T, F, ld, N(gate), N(up), N(h)), (near, j->T, j->F, j->ld, j->gate, j->up, j->h))                              \
    OP(unit##_bwd, (fmk_stream *q, int64_t T, int64_t F, int64_t ld, const fmk_f32 *gate, const fmk_f32 *up,           \
                    const fmk_f32 *dh, fmk_f32 *dgate, fmk_f32 *dup),                                                  \
       int64_t T; int64_t F; int64_t ld; const fmk_f32 *gate; const fmk_f32 *up; const fmk_f32 *dh; fmk_f32 *dgate;    \
       fmk_f32 *dup;, (T, F, ld, N(gate), N(up), N(dh), N(dgate), N(dup)),                                             \
       (near, j->T, j->F, j->ld, j->gate, j->up, j->dh, j->dgate, j->dup))
GLU(swiglu)
GLU(geglu)

OP(embed_fwd, (fmk_stream *q, int64_t T, int64_t C, const fmk_f32 *E, const fmk_u32 *id, fmk_f32 *x),
   int64_t T; int64_t C; const fmk_f32 *E; const fmk_u32 *id; fmk_f32 *x;, (T, C, N(E), N(id), N(x)),
   (near, j->T, j->C, j->E, j->id, j->x))
OP(embed_bwd, (fmk_stream *q, int64_t T, int64_t C, int64_t V, const fmk_u32 *id, const fmk_f32 *dx, fmk_f32 *dE),
   int64_t T; int64_t C; int64_t V; const fmk_u32 *id; const fmk_f32 *dx; fmk_f32 *dE;, (T, C, V, N(id), N(dx), N(dE)),
   (near, j->T, j->C, j->V, j->id, j->dx, j->dE))
OP(scatter_rows, (fmk_stream *q, int64_t n, int64_t C, const fmk_f32 *x, const fmk_u32 *row, fmk_f32 *y),
   int64_t n; int64_t C; const fmk_f32 *x; const fmk_u32 *row; fmk_f32 *y;, (n, C, N(x), N(row), N(y)),
   (near, j->n, j->C, j->x, j->row, j->y))
OP(bias_fwd, (fmk_stream *q, int64_t T, int64_t n, const fmk_f32 *bias, bool add, fmk_f32 *y),
   int64_t T; int64_t n; const fmk_f32 *bias; bool add; fmk_f32 *y;, (T, n, N(bias), add, N(y)),
   (near, j->T, j->n, j->bias, j->add, j->y))
OP(bias_bwd, (fmk_stream *q, int64_t T, int64_t n, const fmk_f32 *dy, fmk_f32 *db),
   int64_t T; int64_t n; const fmk_f32 *dy; fmk_f32 *db;, (T, n, N(dy), N(db)), (near, j->T, j->n, j->dy, j->db))

OP(xent, (fmk_stream *q, int64_t n, int64_t C, int64_t V, const fmk_f32 *x, const fmk_f32 *E, const fmk_u32 *label,
          const fmk_f32 *weight, float grad_scale, float softcap, bool bf16, fmk_f32 *nll, fmk_u8 *hit, fmk_f32 *dx,
          fmk_f32 *dE),
   int64_t n; int64_t C; int64_t V; const fmk_f32 *x; const fmk_f32 *E; const fmk_u32 *label; const fmk_f32 *weight;
   float grad_scale; float softcap; bool bf16; fmk_f32 *nll; fmk_u8 *hit; fmk_f32 *dx; fmk_f32 *dE;,
   (n, C, V, N(x), N(E), N(label), N(weight), grad_scale, softcap, bf16, N(nll), N(hit), N(dx), N(dE)),
   (near, j->n, j->C, j->V, j->x, j->E, j->label, j->weight, j->grad_scale, j->softcap, j->bf16, j->nll, j->hit, j->dx,
    j->dE))
OP(xent_packed, (fmk_stream *q, int64_t n, const fmk_f32 *x, const fmk_packed *E, const fmk_u32 *label,
                 const fmk_f32 *weight, float grad_scale, float softcap, fmk_f32 *nll, fmk_u8 *hit, fmk_f32 *dx),
   int64_t n; const fmk_f32 *x; const fmk_packed *E; const fmk_u32 *label; const fmk_f32 *weight; float grad_scale;
   float softcap; fmk_f32 *nll; fmk_u8 *hit; fmk_f32 *dx;,
   (n, N(x), E, N(label), N(weight), grad_scale, softcap, N(nll), N(hit), N(dx)),
   (near, j->n, j->x, j->E, j->label, j->weight, j->grad_scale, j->softcap, j->nll, j->hit, j->dx))
OP(softcap_fwd, (fmk_stream *q, int64_t n, float cap, fmk_f32 *y),
   int64_t n; float cap; fmk_f32 *y;, (n, cap, N(y)), (near, j->n, j->cap, j->y))

static fmk_dev_drop near_drop(const fmk_dev_drop *d)
{
    fmk_dev_drop near = *d;
    near.seg = N(d->seg);
    near.seg_key = N(d->seg_key);
    return near;
}
OP(dropout, (fmk_stream *q, const fmk_dev_drop *drop, int64_t T, int64_t C, const fmk_f32 *x, bool add, fmk_f32 *y),
   fmk_dev_drop drop; int64_t T; int64_t C; const fmk_f32 *x; bool add; fmk_f32 *y;,
   (near_drop(drop), T, C, N(x), add, N(y)), (near, &j->drop, j->T, j->C, j->x, j->add, j->y))
OP(dora_fwd, (fmk_stream *q, int64_t T, int64_t n, const fmk_f32 *z, const fmk_f32 *g, const fmk_f32 *bias, bool add,
              fmk_f32 *y),
   int64_t T; int64_t n; const fmk_f32 *z; const fmk_f32 *g; const fmk_f32 *bias; bool add; fmk_f32 *y;,
   (T, n, N(z), N(g), N(bias), add, N(y)), (near, j->T, j->n, j->z, j->g, j->bias, j->add, j->y))
OP(dora_bwd, (fmk_stream *q, int64_t T, int64_t n, const fmk_f32 *z, const fmk_f32 *g, const fmk_f32 *inv_norm,
              const fmk_f32 *dy, fmk_f32 *dz, fmk_f32 *dmag),
   int64_t T; int64_t n; const fmk_f32 *z; const fmk_f32 *g; const fmk_f32 *inv_norm; const fmk_f32 *dy; fmk_f32 *dz;
   fmk_f32 *dmag;, (T, n, N(z), N(g), N(inv_norm), N(dy), N(dz), N(dmag)),
   (near, j->T, j->n, j->z, j->g, j->inv_norm, j->dy, j->dz, j->dmag))
OP(dora_gain, (fmk_stream *q, int64_t n, int64_t R, double s, const fmk_f64 *base_sq, const fmk_f32 *b,
               const fmk_f32 *aw, const fmk_f32 *baa, const fmk_f32 *mag, fmk_f32 *gain, fmk_f32 *inv_norm),
   int64_t n; int64_t R; double s; const fmk_f64 *base_sq; const fmk_f32 *b; const fmk_f32 *aw; const fmk_f32 *baa;
   const fmk_f32 *mag; fmk_f32 *gain; fmk_f32 *inv_norm;,
   (n, R, s, N(base_sq), N(b), N(aw), N(baa), N(mag), N(gain), N(inv_norm)),
   (near, j->n, j->R, j->s, j->base_sq, j->b, j->aw, j->baa, j->mag, j->gain, j->inv_norm))

OP(add, (fmk_stream *q, int64_t n, const fmk_f32 *x, fmk_f32 *y),
   int64_t n; const fmk_f32 *x; fmk_f32 *y;, (n, N(x), N(y)), (near, j->n, j->x, j->y))
OP(scale, (fmk_stream *q, int64_t n, float a, fmk_f32 *y),
   int64_t n; float a; fmk_f32 *y;, (n, a, N(y)), (near, j->n, j->a, j->y))
OP(narrow, (fmk_stream *q, int64_t n, const fmk_f32 *x, fmk_bf16 *y),
   int64_t n; const fmk_f32 *x; fmk_bf16 *y;, (n, N(x), N(y)), (near, j->n, j->x, j->y))
OP(widen, (fmk_stream *q, int64_t n, const fmk_bf16 *x, fmk_f32 *y),
   int64_t n; const fmk_bf16 *x; fmk_f32 *y;, (n, N(x), N(y)), (near, j->n, j->x, j->y))
OP(sum_squares, (fmk_stream *q, int64_t n, const fmk_f32 *x, fmk_f64 *sum),
   int64_t n; const fmk_f32 *x; fmk_f64 *sum;, (n, N(x), N(sum)), (near, j->n, j->x, j->sum))
OP(adamw, (fmk_stream *q, int64_t n, fmk_f32 *w, const fmk_f32 *g, fmk_f32 *m, fmk_f32 *v, float g_scale, float lr,
           float beta1, float beta2, float eps, float weight_decay, int64_t step),
   int64_t n; fmk_f32 *w; const fmk_f32 *g; fmk_f32 *m; fmk_f32 *v; float g_scale; float lr; float beta1; float beta2;
   float eps; float weight_decay; int64_t step;,
   (n, N(w), N(g), N(m), N(v), g_scale, lr, beta1, beta2, eps, weight_decay, step),
   (near, j->n, j->w, j->g, j->m, j->v, j->g_scale, j->lr, j->beta1, j->beta2, j->eps, j->weight_decay, j->step))
/* clang-format on */

#define MEMBER(name) .name = far_##name
static fmk_backend table = {
    .size = sizeof table,
    .abi = FMK_BACKEND_ABI,
    .name = "far",
    MEMBER(open),
    MEMBER(close),
    MEMBER(describe),
    MEMBER(exact_rows),
    MEMBER(matmul_scratch),
    MEMBER(lora_scratch),
    MEMBER(xent_scratch),
    MEMBER(attn_scratch),
    MEMBER(alloc),
    MEMBER(free),
    MEMBER(adopt),
    MEMBER(pack),
    MEMBER(packed_free),
    MEMBER(stream_open),
    MEMBER(stream_close),
    MEMBER(sync),
    MEMBER(upload),
    MEMBER(download),
    MEMBER(zero),
    MEMBER(copy_rows),
    MEMBER(matmul),
    MEMBER(matmul_packed),
    MEMBER(matmul_packed_bwd),
    MEMBER(lora_fwd),
    MEMBER(lora_bwd),
    MEMBER(rmsnorm_fwd),
    MEMBER(rmsnorm_bwd),
    MEMBER(rope),
    MEMBER(attn_fwd),
    MEMBER(attn_bwd),
    MEMBER(kv_store),
    MEMBER(kv_attend),
    MEMBER(swiglu_fwd),
    MEMBER(swiglu_bwd),
    MEMBER(geglu_fwd),
    MEMBER(geglu_bwd),
    MEMBER(embed_fwd),
    MEMBER(embed_bwd),
    MEMBER(scatter_rows),
    MEMBER(bias_fwd),
    MEMBER(bias_bwd),
    MEMBER(xent),
    MEMBER(xent_packed),
    MEMBER(softcap_fwd),
    MEMBER(dropout),
    MEMBER(dora_fwd),
    MEMBER(dora_bwd),
    MEMBER(dora_gain),
    MEMBER(add),
    MEMBER(scale),
    MEMBER(narrow),
    MEMBER(widen),
    MEMBER(sum_squares),
    MEMBER(adamw),
};

__attribute__((visibility("default"))) const fmk_backend *fmk_backend_table(void)
{
    void *object = dlopen(CPU_BACKEND, RTLD_NOW | RTLD_LOCAL);
    void *symbol = object ? dlsym(object, FMK_BACKEND_SYMBOL) : NULL;
    fmk_backend_fn get = NULL;
    memcpy(&get, &symbol, sizeof get);
    cpu = get ? get() : NULL;
#if defined(FAR_ABI)
    table.abi = FAR_ABI;
#elif defined(FAR_SIZE)
    table.size = FAR_SIZE;
#elif defined(FAR_HOLE)
    table.adamw = NULL;
#endif
    return cpu ? &table : NULL;
}
