/*
 * model_probe.c: the model library on the command line, for comparison with transformers and PEFT
 * (model_parity.py, adapter_parity.py).
 *
 *   model_probe logits MODEL ADAPTER BATCH OUT             OUT: (T,V) raw f32
 *   model_probe grads  MODEL ADAPTER BATCH OUT [HOW]       OUT: safetensors, one flat tensor for each trained
 *                      one. HOW split: every segment a micro-batch of its own; dropout0: dropout set to 0
 *   model_probe train  MODEL ADAPTER BATCH STEPS LR OUT    a loss and a gradient norm per line; OUT: folder
 *   model_probe resave MODEL OUT
 *   model_probe merge  MODEL ADAPTER OUT                   OUT: the model with the adapter in its weights
 *   model_probe tokens MODEL CONVERSATIONS OUT             CONVERSATIONS: a JSON object a line; OUT: ids, a line
 *                                                          for each
 *
 * ADAPTER "-": none; grads and train then are those of all weights. BATCH: u32 T, u32 S, id (T), weight (T),
 * seg (S+1).
 */
#include <fmpipe/chat.h>
#include <fmpipe/fs.h>
#include <fmpipe/json.h>
#include <fmpipe/model.h>

#include <stdlib.h>

typedef struct probe {
    fmp_model *m;
    fmp_adapter *ad;
    fmp_buf file;
    fmp_batch batch;
    double total;
} probe;

static fmp_status load_batch(probe *p, const char *path, fmp_err *err)
{
    uint32_t head[2];
    FMP_TRY(fmp_read_file(path, 0, &p->file, err));
    if (p->file.len < sizeof head) { return fmp_fail(err, FMP_E_DATA, "%s is too short", path); }
    memcpy(head, p->file.data, sizeof head);
    if (p->file.len != sizeof head + 8 * (size_t)head[0] + 4 * ((size_t)head[1] + 1)) {
        return fmp_fail(err, FMP_E_DATA, "%s has another length than it says", path);
    }
    const void *id = p->file.data + sizeof head, *weight = (const char *)id + 4 * (size_t)head[0];
    const void *seg = (const char *)weight + 4 * (size_t)head[0];
    p->batch =
        (fmp_batch){.n_tokens = head[0], .n_segments = head[1], .id = id, .weight = weight, .seg = seg};
    for (size_t t = 0; t < p->batch.n_tokens; t++) {
        p->total += p->batch.weight[t];
    }
    return FMP_OK;
}

static fmp_status write_logits(probe *p, const char *out, fmp_err *err)
{
    size_t n = p->batch.n_tokens * fmp_model_get_spec(p->m)->vocab_size;
    float *logits = malloc(n * sizeof *logits);
    if (!logits) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for logits"); }
    fmp_status status = fmp_model_logits(p->m, p->ad, &p->batch, logits, err);
    if (status == FMP_OK) { status = fmp_write_file(out, logits, n * sizeof *logits, err); }
    free(logits);
    return status;
}

static fmp_status new_trainer(probe *p, fmp_trainer **out, fmp_err *err)
{
    const fmp_train_options o = {.weight_decay = 0.01f, .clip_norm = 1.0f, .max_tokens = p->batch.n_tokens};
    return fmp_trainer_new(p->m, p->ad, &o, out, err);
}

/* Each segment as a micro-batch of its own. */
static fmp_status micro_each(probe *p, fmp_trainer *tr, fmp_err *err)
{
    for (size_t s = 0; s < p->batch.n_segments; s++) {
        size_t begin = p->batch.seg[s];
        const uint32_t seg[] = {0, p->batch.seg[s + 1] - p->batch.seg[s]};
        const fmp_batch one = {.n_tokens = seg[1],
                               .n_segments = 1,
                               .id = p->batch.id + begin,
                               .weight = p->batch.weight + begin,
                               .seg = seg};
        FMP_TRY(fmp_trainer_micro(tr, &one, NULL, NULL, err));
    }
    return FMP_OK;
}

static fmp_status write_grads(probe *p, const char *out, const char *how, fmp_err *err)
{
    enum { MOST = 4096 };
    static fmp_tensor_src src[MOST];
    fmp_trainer *tr = NULL;
    if (strcmp(how, "dropout0") == 0) { FMP_TRY(fmp_adapter_set_dropout(p->ad, 0.0, err)); }
    FMP_TRY(new_trainer(p, &tr, err));
    fmp_status status = fmp_trainer_begin(tr, p->total, err);
    if (status == FMP_OK && strcmp(how, "split") == 0) {
        status = micro_each(p, tr, err);
    } else if (status == FMP_OK) {
        status = fmp_trainer_micro(tr, &p->batch, NULL, NULL, err);
    }
    size_t n = 0;
    for (const char *name; status == FMP_OK && n < MOST && (name = fmp_trainer_tensor(tr, n, NULL, NULL));
         n++) {
        size_t count = 0;
        const float *g = fmp_trainer_grad(tr, name, &count);
        src[n] =
            (fmp_tensor_src){.name = name, .dtype = FMP_DTYPE_F32, .n_dims = 1, .shape = {count}, .data = g};
    }
    if (status == FMP_OK) { status = fmp_tensors_write(out, src, n, err); }
    fmp_trainer_free(tr);
    return status;
}

static fmp_status train(probe *p, int steps, float lr, const char *out, fmp_err *err)
{
    fmp_trainer *tr = NULL;
    FMP_TRY(new_trainer(p, &tr, err));
    fmp_status status = FMP_OK;
    for (int i = 0; i < steps && status == FMP_OK; i++) {
        fmp_step step = {0};
        status = fmp_trainer_begin(tr, p->total, err);
        if (status == FMP_OK) { status = fmp_trainer_micro(tr, &p->batch, NULL, NULL, err); }
        if (status == FMP_OK) { status = fmp_trainer_end(tr, lr, &step, err); }
        printf("%.9g %.9g\n", step.loss, step.grad_norm);
    }
    fmp_trainer_free(tr);
    FMP_TRY(status);
    return p->ad ? fmp_adapter_save(p->ad, out, "base", FMP_DTYPE_F32, err)
                 : fmp_model_save(p->m, NULL, out, FMP_DTYPE_F32, err);
}

static fmp_status encode_line(const fmp_chat *chat, const char *line, size_t len, fmp_chat_result *r,
                              fmp_buf *out, fmp_err *err)
{
    const fmp_chat_options options = {0};
    cJSON *doc = NULL;
    FMP_TRY(fmp_json_parse(line, len, NULL, &doc, err));
    fmp_status status = fmp_chat_encode(chat, doc, &options, r, err);
    cJSON_Delete(doc);
    for (size_t i = 0; status == FMP_OK && i < r->tokens.n; i++) {
        fmp_buf_printf(out, "%s%u", i ? " " : "", r->tokens.ids[i]);
    }
    fmp_buf_putc(out, '\n');
    return status;
}

static fmp_status write_tokens(const char *dir, const char *conversations, const char *path, fmp_err *err)
{
    fmp_buf in = {0}, out = {0};
    fmp_chat *chat = NULL;
    fmp_chat_result r = {0};
    fmp_status status = fmp_read_file(conversations, 0, &in, err);
    if (status == FMP_OK) { status = fmp_chat_open(dir, NULL, &chat, err); }
    if (status == FMP_OK) { status = fmp_chat_result_init(&r, err); }
    for (size_t at = 0; status == FMP_OK && at < in.len;) {
        const char *end = memchr(in.data + at, '\n', in.len - at);
        size_t len = end ? (size_t)(end - in.data) - at : in.len - at;
        status = encode_line(chat, in.data + at, len, &r, &out, err);
        at += len + 1;
    }
    if (status == FMP_OK) { status = fmp_buf_ok(&out, err); }
    if (status == FMP_OK) { status = fmp_write_file(path, out.data ? out.data : "", out.len, err); }
    fmp_chat_result_free(&r);
    fmp_chat_free(chat);
    fmp_buf_free(&in);
    fmp_buf_free(&out);
    return status;
}

static fmp_status run(probe *p, int argc, char **argv, fmp_err *err)
{
    const fmp_model_options o = {.n_threads = 2, .precision = FMP_PRECISION_F32};
    if (argc < 4) { return fmp_fail(err, FMP_E_USAGE, "see the head of model_probe.c"); }
    if (strcmp(argv[1], "tokens") == 0 && argc == 5) { return write_tokens(argv[2], argv[3], argv[4], err); }
    FMP_TRY(fmp_model_open(argv[2], &o, &p->m, err));
    if (strcmp(argv[1], "resave") == 0) { return fmp_model_save(p->m, NULL, argv[3], FMP_DTYPE_F32, err); }
    if (strcmp(argv[3], "-") != 0) { FMP_TRY(fmp_adapter_load(p->m, argv[3], &p->ad, err)); }
    if (strcmp(argv[1], "merge") == 0 && argc == 5) {
        return fmp_model_save(p->m, p->ad, argv[4], FMP_DTYPE_F32, err);
    }
    if (argc < 6) { return fmp_fail(err, FMP_E_USAGE, "see the head of model_probe.c"); }
    FMP_TRY(load_batch(p, argv[4], err));
    if (strcmp(argv[1], "logits") == 0) { return write_logits(p, argv[5], err); }
    if (strcmp(argv[1], "grads") == 0) { return write_grads(p, argv[5], argc > 6 ? argv[6] : "", err); }
    if (strcmp(argv[1], "train") == 0 && argc == 8) {
        return train(p, (int)strtol(argv[5], NULL, 10), strtof(argv[6], NULL), argv[7], err);
    }
    return fmp_fail(err, FMP_E_USAGE, "see the head of model_probe.c");
}

int main(int argc, char **argv)
{
    fmp_err err = FMP_ERR_INIT;
    probe p = {0};
    fmp_json_install_hooks();
    fmp_status status = run(&p, argc, argv, &err);
    if (status != FMP_OK) { fprintf(stderr, "model_probe: %s %s\n", err.message, err.notes); }
    fmp_adapter_free(p.ad);
    fmp_model_free(p.m);
    fmp_buf_free(&p.file);
    return status == FMP_OK ? 0 : 1;
}
