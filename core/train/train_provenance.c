/* What a trained artifact says of itself, and the checks that it fits what it is given. */
#include "train_private.h"

#include <fmpipe/fs.h>
#include <fmpipe/golden.h>
#include <fmpipe/tokenizer.h>

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

const fmp_input *fmp_task_input(const fmp_task *task, const char *port)
{
    for (size_t i = 0; i < task->n_inputs; i++) {
        if (strcmp(task->inputs[i].port, port) == 0) { return &task->inputs[i]; }
    }
    return NULL;
}

fmp_status fmp_model_folder_name(const char *dir, char *name, size_t size, fmp_err *err)
{
    char *path = fmp_path_join(dir, "config.json");
    cJSON *json = NULL;
    fmp_status status =
        path ? fmp_json_load(path, NULL, &json, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    free(path);
    const char *given = fmp_json_str(json, "_name_or_path", ""), *slash = strrchr(dir, '/');
    bool plain = *given && !strchr(given, '/') && given[0] != '.';
    snprintf(name, size, "%s", plain ? given : slash ? slash + 1 : dir);
    cJSON_Delete(json);
    return status;
}

/* The digest that fmp_tokenizer_digest gives; a tokenizer.json needs no parsing for that. */
static fmp_status tokenizer_digest(const char *dir, char digest[65], fmp_err *err)
{
    char *path = fmp_path_join(dir, "tokenizer.json");
    if (!path) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    bool plain = access(path, F_OK) == 0;
    fmp_status status = plain ? fmp_sha256_file(path, digest, err) : FMP_OK;
    free(path);
    if (plain) { return status; }
    fmp_tokenizer *tok = NULL;
    FMP_TRY(fmp_tokenizer_load(dir, &tok, err));
    snprintf(digest, 65, "%s", fmp_tokenizer_digest(tok));
    fmp_tokenizer_free(tok);
    return FMP_OK;
}

fmp_status fmp_train_check_tokenizer(const fmp_tokens *tokens, const char *model_dir, fmp_err *err)
{
    char digest[65];
    const char *wanted = tokens->tokenizer_digest;
    FMP_TRY(tokenizer_digest(model_dir, digest, err));
    if (strcmp(digest, wanted) == 0) { return FMP_OK; }
    fmp_fail(err, FMP_E_MISMATCH,
             "the tokens were made with another tokenizer (sha256:%.12s) than the model's (sha256:%.12s)",
             wanted, digest);
    return fmp_err_hint(err, "give chat.tokenize and the training stage the same model");
}

static void add_finite(cJSON *object, const char *key, double value)
{
    if (isfinite(value)) { cJSON_AddNumberToObject(object, key, value); }
}

fmp_status fmp_train_provenance(const fmp_task *task, const fmp_tokens *tokens, const char *kind,
                                const char *base_name, const fmp_train_result *result, const char *dir,
                                fmp_err *err)
{
    const fmp_input *base = fmp_task_input(task, "model"), *train = fmp_task_input(task, "tokens");
    char *path = fmp_path_join(dir, "fmpipe.json");
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "v", 1);
    cJSON_AddStringToObject(json, "kind", kind);
    if (base) {
        cJSON *node = cJSON_AddObjectToObject(json, "base");
        cJSON_AddStringToObject(node, "name", base_name);
        cJSON_AddStringToObject(node, "digest", base->digest);
    }
    cJSON_AddStringToObject(json, "tokenizer_digest", tokens->tokenizer_digest);
    cJSON_AddStringToObject(json, "template_digest", tokens->template_digest);
    if (train) { cJSON_AddStringToObject(json, "tokens_digest", train->digest); }
    cJSON_AddNumberToObject(json, "seed", (double)task->seed);
    cJSON_AddNumberToObject(json, "steps", (double)result->steps);
    cJSON_AddNumberToObject(json, "tokens", (double)result->n_tokens);
    cJSON_AddNumberToObject(json, "supervised_tokens", (double)result->n_labels);
    add_finite(json, "first_loss", result->first_loss);
    add_finite(json, "last_loss", result->last_loss);
    add_finite(json, "eval_loss", result->eval_loss);
    char *text = fmp_json_text(json, FMP_JSON_PRETTY);
    fmp_status status = path && text ? fmp_write_file(path, text, strlen(text), err)
                                     : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    free(text);
    free(path);
    cJSON_Delete(json);
    return status == FMP_OK && train ? fmp_golden_copy(train->path, dir, err) : status;
}
