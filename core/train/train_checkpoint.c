/*
 * Checkpoints: a folder with state/ (the trainer's files and loop.json) and checkpoint.json, made under
 * another name, synced and renamed. checkpoint.json is written last and holds the digest of state/, so a
 * folder that has a matching one is whole.
 */
#include "train_private.h"

#include <fmpipe/fs.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEEP = 2, LOOP_VERSION = 3 };

static void put_curve(cJSON *object, const char *key, const curve *c)
{
    cJSON *rows = cJSON_AddArrayToObject(object, key);
    for (size_t i = 0; i < c->n; i++) {
        cJSON *row = cJSON_CreateArray();
        cJSON_AddItemToArray(row, cJSON_CreateNumber((double)c->items[i].step));
        cJSON_AddItemToArray(row, cJSON_CreateNumber(c->items[i].value));
        cJSON_AddItemToArray(rows, row);
    }
}

static bool get_curve(const cJSON *object, const char *key, curve *c)
{
    const cJSON *row;
    c->n = 0;
    cJSON_ArrayForEach(row, fmp_json_get(object, key))
    {
        double step, value;
        if (!fmp_json_number(cJSON_GetArrayItem(row, 0), &step) ||
            !fmp_json_number(cJSON_GetArrayItem(row, 1), &value) || !curve_add(c, (uint64_t)step, value)) {
            return false;
        }
    }
    return true;
}

static void put_split(cJSON *object, const char *name, const split_loss *s)
{
    cJSON *node = cJSON_AddObjectToObject(object, name);
    cJSON *nll = cJSON_AddArrayToObject(node, "nll"), *weight = cJSON_AddArrayToObject(node, "weight"),
          *last = cJSON_AddArrayToObject(node, "last");
    for (uint32_t i = 0; i < s->n; i++) {
        cJSON_AddItemToArray(nll, cJSON_CreateNumber(s->nll[i]));
        cJSON_AddItemToArray(weight, cJSON_CreateNumber(s->weight[i]));
        cJSON_AddItemToArray(last,
                             isfinite(s->last[i]) ? cJSON_CreateNumber(s->last[i]) : cJSON_CreateNull());
    }
}

static fmp_status write_json(const char *dir, const char *name, const cJSON *json, fmp_err *err)
{
    char *path = fmp_path_join(dir, name), *text = fmp_json_text(json, FMP_JSON_PRETTY);
    fmp_status status = path && text ? fmp_write_file(path, text, strlen(text), err)
                                     : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    free(text);
    free(path);
    return status;
}

static void put_finite(cJSON *object, const char *key, double value)
{
    if (isfinite(value)) { cJSON_AddNumberToObject(object, key, value); }
}

static fmp_status write_loop(const train_loop *t, const char *state, fmp_err *err)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "v", LOOP_VERSION);
    cJSON_AddNumberToObject(json, "step", (double)t->step);
    cJSON_AddNumberToObject(json, "n_tokens", (double)t->n_tokens);
    cJSON_AddNumberToObject(json, "n_labels", (double)t->n_labels);
    put_finite(json, "first_loss", t->first_loss);
    put_finite(json, "last_loss", t->last_loss);
    cJSON_AddNumberToObject(json, "best_step", (double)t->best_step);
    put_finite(json, "best_eval", t->best_eval);
    cJSON_AddNumberToObject(json, "n_worse", t->n_worse);
    cJSON_AddNumberToObject(json, "n_not_finite", t->n_not_finite);
    cJSON_AddNumberToObject(json, "interval_nll", t->interval_nll);
    cJSON_AddNumberToObject(json, "interval_weight", t->interval_weight);
    cJSON_AddNumberToObject(json, "tail_nll", t->tail_nll);
    cJSON_AddNumberToObject(json, "tail_weight", t->tail_weight);
    put_split(json, "by_locale", &t->by_locale);
    put_split(json, "by_source", &t->by_source);
    put_split(json, "eval_by_locale", &t->eval_by_locale);
    put_curve(json, "loss", &t->loss);
    put_curve(json, "eval_loss", &t->eval_loss);
    fmp_status status = write_json(state, "loop.json", json, err);
    cJSON_Delete(json);
    return status;
}

static fmp_status write_seal(const char *dir, const char *state, fmp_err *err)
{
    char digest[65];
    FMP_TRY(fmp_sha256_tree(state, digest, err));
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "v", 1);
    cJSON_AddStringToObject(json, "state_digest", digest);
    fmp_status status = write_json(dir, "checkpoint.json", json, err);
    cJSON_Delete(json);
    return status;
}

static int newest_first(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*b)->d_name, (*a)->d_name);
}

static int is_checkpoint(const struct dirent *entry)
{
    return strncmp(entry->d_name, "ckpt-", 5) == 0;
}

/* Old ones go only after the new one is durable; so do damaged ones of later steps, which would count as
 * the newest. */
static void remove_old(const train_loop *t)
{
    struct dirent **entries = NULL;
    char newest[CHECKPOINT_NAME];
    int n = scandir(t->task->work_dir, &entries, is_checkpoint, newest_first), n_kept = 0;
    checkpoint_name(t->step, newest);
    for (int i = 0; i < n; i++) {
        bool kept = strcmp(entries[i]->d_name, newest) <= 0 && n_kept < KEEP;
        char *path = kept ? NULL : fmp_path_join(t->task->work_dir, entries[i]->d_name);
        n_kept += kept;
        fmp_err ignored = FMP_ERR_INIT; /* a checkpoint that stays costs space, nothing else */
        if (path && fmp_remove_tree(path, &ignored) != FMP_OK) { ignored.code = FMP_OK; }
        free(path);
        free(entries[i]);
    }
    free(entries);
}

void checkpoint_name(uint64_t step, char name[CHECKPOINT_NAME])
{
    snprintf(name, CHECKPOINT_NAME, "ckpt-%020" PRIu64, step);
}

/*
 * temp becomes final. One that is there changes places with it, so that there is no moment without: checkpoints need
 * the best weights beside them. What was there is at temp then.
 */
static fmp_status put_in_place(const char *temp, const char *final, fmp_err *err)
{
    if (fmp_path_exists(final)) {
        if (renameat2(AT_FDCWD, temp, AT_FDCWD, final, RENAME_EXCHANGE) == 0) { return FMP_OK; }
        FMP_TRY(fmp_remove_tree(final, err)); /* a file system that cannot */
    }
    if (rename(temp, final) == 0) { return FMP_OK; }
    return fmp_fail(err, FMP_E_IO, "rename '%s': %s", final, strerror(errno));
}

fmp_status checkpoint_save(train_loop *t, const char *name, fmp_err *err)
{
    char *final = fmp_path_join(t->task->work_dir, name), *temp = fmp_path_join(t->task->work_dir, "writing");
    char *state = temp ? fmp_path_join(temp, "state") : NULL;
    fmp_status status = final && state ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (status == FMP_OK) { status = fmp_remove_tree(temp, err); }
    if (status == FMP_OK) { status = fmp_mkdirs(state, err); }
    if (status == FMP_OK) { status = fmp_trainer_save(t->trainer, state, err); }
    if (status == FMP_OK) { status = write_loop(t, state, err); }
    if (status == FMP_OK) { status = write_seal(temp, state, err); }
    if (status == FMP_OK) { status = fmp_sync_tree(temp, err); }
    if (status == FMP_OK) { status = put_in_place(temp, final, err); }
    if (status == FMP_OK) { status = fmp_sync_tree(t->task->work_dir, err); }
    if (status == FMP_OK) { status = fmp_remove_tree(temp, err); }
    if (status == FMP_OK && strcmp(name, "best") != 0) { remove_old(t); }
    if (status != FMP_OK) { fmp_err_note(err, "while saving checkpoint %s", name); }
    free(final);
    free(temp);
    free(state);
    return status;
}

static fmp_status check_seal(const char *dir, const char *state, fmp_err *err)
{
    char digest[65], *path = fmp_path_join(dir, "checkpoint.json");
    cJSON *json = NULL;
    fmp_status status =
        path ? fmp_json_load(path, NULL, &json, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (status == FMP_OK) { status = fmp_sha256_tree(state, digest, err); }
    if (status == FMP_OK && strcmp(digest, fmp_json_str(json, "state_digest", "")) != 0) {
        status = fmp_fail(err, FMP_E_MISMATCH, "its files have another digest than checkpoint.json says");
    }
    cJSON_Delete(json);
    free(path);
    return status;
}

static bool get_count(const cJSON *object, const char *key, double most, double *out)
{
    return fmp_json_number(fmp_json_get(object, key), out) && *out >= 0 && *out <= most &&
           *out == floor(*out);
}

/* With or_null, null is NAN. */
static bool get_list(const cJSON *object, const char *key, uint32_t n, bool or_null, double *out)
{
    const cJSON *list = fmp_json_get(object, key);
    bool ok = cJSON_IsArray(list) && cJSON_GetArraySize(list) == (int)n;
    for (uint32_t i = 0; ok && i < n; i++) {
        const cJSON *node = cJSON_GetArrayItem(list, (int)i);
        out[i] = NAN;
        ok = (or_null && cJSON_IsNull(node)) || fmp_json_number(node, &out[i]);
    }
    return ok;
}

static bool get_split(const cJSON *object, const char *name, split_loss *s)
{
    const cJSON *node = fmp_json_get(object, name);
    return get_list(node, "nll", s->n, false, s->nll) && get_list(node, "weight", s->n, false, s->weight) &&
           get_list(node, "last", s->n, true, s->last);
}

/* Into the loop, which the caller empties again if this says no. */
static bool get_loop(train_loop *t, const cJSON *json)
{
    double step, n_tokens, n_labels, best_step, n_worse, n_not_finite;
    if (fmp_json_num(json, "v", 0) != LOOP_VERSION || !get_count(json, "step", (double)t->n_steps, &step) ||
        !get_count(json, "n_tokens", 1e15, &n_tokens) || !get_count(json, "n_labels", 1e15, &n_labels) ||
        !get_count(json, "best_step", (double)t->n_steps, &best_step) ||
        !get_count(json, "n_worse", 1e9, &n_worse) || !get_count(json, "n_not_finite", 1e9, &n_not_finite) ||
        !get_split(json, "by_locale", &t->by_locale) || !get_split(json, "by_source", &t->by_source) ||
        !get_split(json, "eval_by_locale", &t->eval_by_locale) || !get_curve(json, "loss", &t->loss) ||
        !get_curve(json, "eval_loss", &t->eval_loss)) {
        return false;
    }
    t->step = (uint64_t)step;
    t->n_tokens = (uint64_t)n_tokens;
    t->n_labels = (uint64_t)n_labels;
    t->best_step = (uint64_t)best_step;
    t->n_worse = (uint32_t)n_worse;
    t->n_not_finite = (uint32_t)n_not_finite;
    t->first_loss = fmp_json_num(json, "first_loss", NAN);
    t->last_loss = fmp_json_num(json, "last_loss", NAN);
    t->best_eval = fmp_json_num(json, "best_eval", INFINITY);
    t->interval_nll = fmp_json_num(json, "interval_nll", 0);
    t->interval_weight = fmp_json_num(json, "interval_weight", 0);
    t->tail_nll = fmp_json_num(json, "tail_nll", 0);
    t->tail_weight = fmp_json_num(json, "tail_weight", 0);
    return true;
}

/*
 * With keep: best, the weights of the best evaluation so far must still be there. A later evaluation may have
 * replaced them: the steps that are done again will, too.
 */
static fmp_status check_best(const train_loop *t, fmp_err *err)
{
    if (!t->config->keep_best || t->best_step == 0) { return FMP_OK; }
    char *dir = fmp_path_join(t->task->work_dir, "best"), *state = dir ? fmp_path_join(dir, "state") : NULL;
    fmp_status status = state ? check_seal(dir, state, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (status != FMP_OK) {
        fmp_err_note(err, "while looking for the best weights, of step %" PRIu64, t->best_step);
    }
    free(dir);
    free(state);
    return status;
}

/* The trainer comes last: fmp_trainer_load changes all or nothing, so a refused checkpoint leaves no
 * trace. */
static fmp_status read_checkpoint(train_loop *t, const char *dir, fmp_err *err)
{
    char *state = fmp_path_join(dir, "state"), *path = state ? fmp_path_join(state, "loop.json") : NULL;
    cJSON *json = NULL;
    fmp_status status = path ? check_seal(dir, state, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (status == FMP_OK) { status = fmp_json_load(path, NULL, &json, err); }
    if (status == FMP_OK && !get_loop(t, json)) {
        status = fmp_fail(err, FMP_E_DATA, "loop.json is not what this version writes");
    }
    if (status == FMP_OK) { status = check_best(t, err); }
    if (status == FMP_OK) { status = fmp_trainer_load(t->trainer, state, err); }
    if (status != FMP_OK) { train_loop_restart(t); }
    cJSON_Delete(json);
    free(path);
    free(state);
    return status;
}

fmp_status checkpoint_resume(train_loop *t, bool *found, fmp_err *err)
{
    const fmp_ext_log *log = t->task->host->get_extension(t->task->host, FMP_EXT_LOG);
    struct dirent **entries = NULL;
    int n = scandir(t->task->work_dir, &entries, is_checkpoint, newest_first);
    fmp_status status =
        n >= 0 ? FMP_OK
               : fmp_fail(err, FMP_E_IO, "cannot read folder '%s': %s", t->task->work_dir, strerror(errno));
    *found = false;
    for (int i = 0; i < n; i++) {
        char *dir = fmp_path_join(t->task->work_dir, entries[i]->d_name);
        fmp_err why = FMP_ERR_INIT;
        if (!dir) {
            status = fmp_fail(err, FMP_E_NOMEM, "out of memory");
        } else if (!*found && status == FMP_OK) {
            fmp_status read = read_checkpoint(t, dir, &why);
            *found = read == FMP_OK;
            if (read == FMP_E_NOMEM) { status = fmp_fail(err, FMP_E_NOMEM, "%s", why.message); }
            if (!*found && log) {
                log->log(t->task->host, FMP_LOG_WARNING, "checkpoint %s is not used: %s", entries[i]->d_name,
                         why.message);
            }
        }
        free(dir);
        free(entries[i]);
    }
    free(entries);
    return status;
}

fmp_status checkpoint_weights(train_loop *t, const char *name, fmp_err *err)
{
    char *dir = fmp_path_join(t->task->work_dir, name), *state = dir ? fmp_path_join(dir, "state") : NULL;
    fmp_status status =
        state ? fmp_trainer_load(t->trainer, state, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    free(dir);
    free(state);
    return status;
}
