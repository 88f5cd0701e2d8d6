/*
 * trainer_state.c: a trainer's state as trainer.safetensors and trainer.json.
 *
 * The JSON is written last and names the digest of the tensors, so that a half-written pair is told from a
 * whole one.
 */
#include "trainer.h"

#include <fmpipe/json.h>

#define STATE_FORMAT "fmpipe.trainer/1"

typedef struct state_files {
    char *tensors, *json;
} state_files;

static fmp_status name_files(const char *dir, state_files *f, fmp_err *err)
{
    f->tensors = fmp_path_join(dir, "trainer.safetensors");
    f->json = fmp_path_join(dir, "trainer.json");
    return f->tensors && f->json ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for a path");
}
static void free_files(state_files *f)
{
    free(f->tensors);
    free(f->json);
}

/* The three pieces of a trained tensor on the host: weight, first and second moment. */
static float *piece(const fmp_trainer *tr, const fmp_trained *t, int which)
{
    return which == 0 ? fmp_trained_host(t) : tr->state[which].host + t->at;
}
static char *piece_name(const fmp_trained *t, int which)
{
    char *name = NULL;
    return asprintf(&name, "%s.%s",
                    which == 0   ? "weight"
                    : which == 1 ? "m"
                                 : "v",
                    t->name) < 0
               ? NULL
               : name;
}

/* All of them are on the host. */
static fmp_status pull_all(const fmp_trainer *tr, fmp_err *err)
{
    FMP_TRY(fmp_trainer_pull(tr, err));
    FMP_TRY(fmp_mirror_pull(tr->m->device, &tr->state[1], err));
    return fmp_mirror_pull(tr->m->device, &tr->state[2], err);
}

/* What the host wrote goes to the device. */
static void push_all(fmp_trainer *tr)
{
    for (size_t i = 0; i < tr->n_tensors; i++) {
        fmp_mirror_wrote_host(tr->tensors[i].values);
    }
    for (size_t i = 0; i < tr->n_tensors; i++) {
        fmp_mirror_push(tr->m->device, tr->tensors[i].values);
    }
    for (int i = 1; i < 3; i++) {
        fmp_mirror_wrote_host(&tr->state[i]);
        fmp_mirror_push(tr->m->device, &tr->state[i]);
    }
}

static fmp_status save_tensors(const fmp_trainer *tr, const char *path, fmp_err *err)
{
    size_t n = 3 * tr->n_tensors;
    fmp_tensor_src *src = calloc(n, sizeof *src);
    fmp_status status = src ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for a checkpoint");
    for (size_t i = 0; i < n && status == FMP_OK; i++) {
        const fmp_trained *t = &tr->tensors[i / 3];
        src[i] = (fmp_tensor_src){.name = piece_name(t, (int)(i % 3)),
                                  .dtype = FMP_DTYPE_F32,
                                  .n_dims = 2,
                                  .shape = {(uint64_t)t->rows, (uint64_t)t->cols},
                                  .data = piece(tr, t, (int)(i % 3))};
        if (!src[i].name) { status = fmp_fail(err, FMP_E_NOMEM, "out of memory for a tensor's name"); }
    }
    if (status == FMP_OK) { status = fmp_tensors_write(path, src, n, err); }
    for (size_t i = 0; src && i < n; i++) {
        free((char *)src[i].name);
    }
    free(src);
    return status;
}

static fmp_status save_json(const fmp_trainer *tr, const state_files *f, fmp_err *err)
{
    char digest[65];
    FMP_TRY(fmp_sha256_file(f->tensors, digest, err));
    fmp_buf text = {0};
    fmp_buf_printf(&text,
                   "{\n  \"format\": \"" STATE_FORMAT "\",\n  \"kind\": \"%s\",\n  \"step\": %lld,\n"
                   "  \"tensors_sha256\": \"%s\"\n}\n",
                   tr->ad ? "lora" : "full", (long long)tr->step, digest);
    fmp_status status = fmp_buf_ok(&text, err);
    if (status == FMP_OK) { status = fmp_write_file(f->json, text.data, text.len, err); }
    fmp_buf_free(&text);
    return status;
}

fmp_status fmp_trainer_save(fmp_trainer *tr, const char *dir, fmp_err *err)
{
    state_files f = {0};
    if (tr->open) { return fmp_fail(err, FMP_E_USAGE, "a checkpoint inside a step"); }
    FMP_TRY(fmp_mkdirs(dir, err));
    FMP_TRY(pull_all(tr, err));
    fmp_status status = name_files(dir, &f, err);
    if (status == FMP_OK) { status = save_tensors(tr, f.tensors, err); }
    if (status == FMP_OK) { status = save_json(tr, &f, err); }
    free_files(&f);
    return status;
}

static fmp_status check_json(const fmp_trainer *tr, const state_files *f, int64_t *step, fmp_err *err)
{
    cJSON *state = NULL;
    char digest[65];
    FMP_TRY(fmp_json_load(f->json, NULL, &state, err));
    const char *kind = tr->ad ? "lora" : "full";
    double count = fmp_json_num(state, "step", -1.0);
    fmp_status status = FMP_OK;
    if (strcmp(fmp_json_str(state, "format", ""), STATE_FORMAT) != 0) {
        status = fmp_fail(err, FMP_E_MISMATCH, "'format': expected %s", STATE_FORMAT);
    } else if (strcmp(fmp_json_str(state, "kind", ""), kind) != 0) {
        status = fmp_fail(err, FMP_E_MISMATCH, "'kind': this trainer is '%s', the checkpoint '%.16s'", kind,
                          fmp_json_str(state, "kind", ""));
    } else if (!(count >= 0.0 && count < 1e15) || count != floor(count)) {
        status = fmp_fail(err, FMP_E_DATA, "'step': expected a whole number");
    } else if ((status = fmp_sha256_file(f->tensors, digest, err)) == FMP_OK &&
               strcmp(digest, fmp_json_str(state, "tensors_sha256", "")) != 0) {
        status = fmp_fail(err, FMP_E_MISMATCH,
                          "trainer.safetensors is not the file that was saved: SHA-256 %s", digest);
    }
    if (status != FMP_OK && status != FMP_E_IO) { (void)fmp_err_at(err, f->json, 0, 0, UINT64_MAX); }
    *step = status == FMP_OK ? (int64_t)count : 0;
    cJSON_Delete(state);
    return status;
}

/* All or nothing: every tensor is checked before the first is copied. */
static fmp_status load_tensors(fmp_trainer *tr, const fmp_tensors *ts, bool copy, fmp_err *err)
{
    for (size_t i = 0; i < 3 * tr->n_tensors; i++) {
        const fmp_trained *t = &tr->tensors[i / 3];
        char *name = piece_name(t, (int)(i % 3));
        if (!name) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a tensor's name"); }
        const fmp_tensor *from = fmp_tensors_find(ts, name);
        bool fits = from && from->dtype == FMP_DTYPE_F32 && from->n_dims == 2 &&
                    from->shape[0] == (uint64_t)t->rows && from->shape[1] == (uint64_t)t->cols;
        if (fits && copy) { fmp_tensor_to_f32(from, piece(tr, t, (int)(i % 3))); }
        fmp_status status =
            fits ? FMP_OK
                 : fmp_fail(err, FMP_E_MISMATCH, "tensor '%s' is missing or has another shape", name);
        free(name);
        FMP_TRY(status);
    }
    if (fmp_tensors_count(ts) != 3 * tr->n_tensors) {
        return fmp_fail(err, FMP_E_MISMATCH, "expected %zu tensors, found %zu", 3 * tr->n_tensors,
                        fmp_tensors_count(ts));
    }
    return FMP_OK;
}

fmp_status fmp_trainer_load(fmp_trainer *tr, const char *dir, fmp_err *err)
{
    state_files f = {0};
    fmp_tensors *ts = NULL;
    int64_t step = 0;
    fmp_status status = name_files(dir, &f, err);
    if (status == FMP_OK) { status = check_json(tr, &f, &step, err); }
    if (status == FMP_OK) { status = fmp_tensors_open(f.tensors, &ts, err); }
    if (status == FMP_OK) { status = load_tensors(tr, ts, false, err); }
    if (status == FMP_OK) { status = pull_all(tr, err); }
    if (status == FMP_OK) { status = load_tensors(tr, ts, true, err); }
    fmp_adapter_changed(tr->ad);
    if (status == FMP_OK) {
        push_all(tr);
        tr->step = step;
        tr->open = false;
    } else {
        (void)fmp_err_note(err, "while loading the checkpoint %s", dir);
    }
    fmp_tensors_close(ts);
    free_files(&f);
    return status;
}
