/*
 * spec_text.c: the text decoder of a model that also sees: its config.json under text_config, its tensors under a prefix.
 *
 * Published files have in text_config only what differs from the class's defaults, so these are filled in. The ids of the outer
 * object hold where text_config is silent; its tie_word_embeddings holds in any case, because the head is the outer
 * model's. The rest of such a model, its vision tower and what leads from there to the decoder, has no place here and is
 * passed over by name.
 */
#include "internal.h"

#include <fmpipe/json.h>

typedef struct whole {
    const char *model_type, *text_type;
    const char *defaults; /* of the text decoder's class, for what any of its files may leave out */
} whole;

static const whole wholes[] = {
    {"gemma3", "gemma3_text",
     "{\"vocab_size\":262208,\"hidden_size\":2304,\"intermediate_size\":9216,\"num_hidden_layers\":26,"
     "\"num_attention_heads\":8,\"num_key_value_heads\":4,\"max_position_embeddings\":131072}"},
    {"mistral3", "mistral",
     "{\"vocab_size\":32000,\"hidden_size\":4096,\"intermediate_size\":14336,\"num_hidden_layers\":32,"
     "\"num_attention_heads\":32,\"num_key_value_heads\":8,\"max_position_embeddings\":131072}"},
};

static const whole *find_whole(const cJSON *config)
{
    const char *type = fmp_json_str(config, "model_type", "");
    for (size_t i = 0; i < sizeof wholes / sizeof *wholes; i++) {
        if (strcmp(wholes[i].model_type, type) == 0) { return &wholes[i]; }
    }
    return NULL;
}

bool fmp_config_has_text_part(const cJSON *config)
{
    return find_whole(config) != NULL && cJSON_IsObject(fmp_json_get(config, "text_config"));
}

/* Members of `from` that `to` does not have. */
static void add_missing(cJSON *to, const cJSON *from, const char *const *only)
{
    const cJSON *member;
    cJSON_ArrayForEach(member, from)
    {
        bool wanted = only == NULL;
        for (size_t i = 0; only && only[i] && !wanted; i++) {
            wanted = strcmp(only[i], member->string) == 0;
        }
        if (!wanted || fmp_json_get(to, member->string)) { continue; }
        cJSON *copy = cJSON_Duplicate(member, true);
        if (copy && !cJSON_AddItemToObject(to, member->string, copy)) { cJSON_Delete(copy); }
    }
}

fmp_status fmp_config_text_part(const cJSON *config, cJSON **out, fmp_err *err)
{
    static const char *const shared[] = {
        "bos_token_id", "eos_token_id", "pad_token_id", "torch_dtype", "dtype", "quantization_config", NULL};
    static const char *const head[] = {"tie_word_embeddings", NULL};
    const whole *w = find_whole(config);
    const cJSON *text = fmp_json_get(config, "text_config");
    const char *type = fmp_json_str(text, "model_type", w->text_type);
    *out = NULL;
    if (strcmp(type, w->text_type) != 0) {
        return fmp_fail(err, FMP_E_UNSUPPORTED,
                        "'text_config.model_type' of a '%s' model: expected %s, found '%.64s'", w->model_type,
                        w->text_type, type);
    }
    cJSON *part = cJSON_Duplicate(text, true), *defaults = NULL;
    fmp_status status = part ? fmp_json_parse(w->defaults, strlen(w->defaults), NULL, &defaults, err)
                             : fmp_fail(err, FMP_E_NOMEM, "out of memory for a configuration");
    if (status == FMP_OK) {
        if (fmp_json_get(config, head[0])) { cJSON_DeleteItemFromObjectCaseSensitive(part, head[0]); }
        add_missing(part, config, head);
        add_missing(part, config, shared);
        add_missing(part, defaults, NULL);
        if (!fmp_json_get(part, "model_type")) { cJSON_AddStringToObject(part, "model_type", w->text_type); }
        *out = part;
    } else {
        cJSON_Delete(part);
    }
    cJSON_Delete(defaults);
    return status;
}

/* ---- tensors ---- */

static bool starts_with(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

bool fmp_tensor_is_of_vision(const char *name)
{
    static const char *const parts[] = {"vision_tower.", "multi_modal_projector.", "vision_model."};
    const char *inner = starts_with(name, "model.") ? name + strlen("model.") : name;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (starts_with(inner, parts[i])) { return true; }
    }
    return false;
}

bool fmp_tensor_is_named(const char *found, const char *wanted)
{
    static const char old[] = "language_model.", now[] = "model.language_model.";
    if (starts_with(found, now)) { /* model.language_model.layers.0 is model.layers.0 */
        return starts_with(wanted, "model.") &&
               strcmp(found + sizeof now - 1, wanted + strlen("model.")) == 0;
    }
    return strcmp(starts_with(found, old) ? found + sizeof old - 1 : found, wanted) == 0;
}
