/*
 * tokenizer_post.c: the post-processor: which ids it puts before and after a single text.
 */
#include "tokenizer_impl.h"

#define MAX_TEMPLATE 256u

/* Ids in the order they are met, before and after the text. */
typedef struct placed {
    uint32_t prefix[MAX_TEMPLATE], suffix[MAX_TEMPLATE];
    uint32_t n_prefix, n_suffix;
} placed;

static fmp_status place_id(const fmp_tokenizer *tok, const cJSON *node, bool after, const char *where,
                           placed *p, fmp_err *err)
{
    uint32_t id = 0;
    FMP_TRY(tk_want_id(node, tok->size - 1, where, &id, err));
    if (!tok->tokens[id].text) { return fmp_fail(err, FMP_E_DATA, "%s: no token has id %u", where, id); }
    uint32_t *n = after ? &p->n_suffix : &p->n_prefix;
    if (*n == MAX_TEMPLATE) {
        return fmp_fail(err, FMP_E_RANGE, "%s: more than %u ids", where, MAX_TEMPLATE);
    }
    (after ? p->suffix : p->prefix)[(*n)++] = id;
    return FMP_OK;
}

/* {"SpecialToken": {"id": NAME}}: the ids that special_tokens lists under NAME. */
static fmp_status place_named(const fmp_tokenizer *tok, const cJSON *special, const cJSON *item, bool after,
                              const char *where, placed *p, fmp_err *err)
{
    const char *name = "";
    FMP_TRY(tk_want_string(item, "id", where, &name, err));
    const cJSON *ids = fmp_json_get(fmp_json_get(special, name), "ids"), *id;
    if (!cJSON_IsArray(ids)) {
        return fmp_fail(err, FMP_E_DATA, "%s: special_tokens has no ids for \"%s\"", where, name);
    }
    cJSON_ArrayForEach(id, ids)
    {
        FMP_TRY(place_id(tok, id, after, where, p, err));
    }
    return FMP_OK;
}

static fmp_status parse_template(const fmp_tokenizer *tok, const cJSON *node, const char *where, placed *p,
                                 fmp_err *err)
{
    const cJSON *single = fmp_json_get(node, "single"), *item;
    const cJSON *special = fmp_json_get(node, "special_tokens");
    bool after = false;
    if (!cJSON_IsArray(single)) {
        return fmp_fail(err, FMP_E_DATA, "%s.single: expected an array, found %s", where,
                        tk_kind_name(single));
    }
    cJSON_ArrayForEach(item, single)
    {
        const cJSON *token = fmp_json_get(item, "SpecialToken");
        if (token) {
            FMP_TRY(place_named(tok, special, token, after, where, p, err));
        } else if (fmp_json_get(item, "Sequence") && !after) {
            after = true;
        } else {
            return fmp_fail(err, FMP_E_UNSUPPORTED, "%s.single: expected special tokens around one Sequence",
                            where);
        }
    }
    if (!after) { return fmp_fail(err, FMP_E_DATA, "%s.single: expected a Sequence, found none", where); }
    return FMP_OK;
}

/* RobertaProcessing and BertProcessing: "cls": [text, id] before, "sep": [text, id] after. */
static fmp_status parse_cls_sep(const fmp_tokenizer *tok, const cJSON *node, const char *where, placed *p,
                                fmp_err *err)
{
    FMP_TRY(place_id(tok, cJSON_GetArrayItem(fmp_json_get(node, "cls"), 1), false, where, p, err));
    return place_id(tok, cJSON_GetArrayItem(fmp_json_get(node, "sep"), 1), true, where, p, err);
}

static fmp_status parse_step(const fmp_tokenizer *tok, const cJSON *node, const char *where, bool nested,
                             placed *p, fmp_err *err)
{
    const char *type = "";
    FMP_TRY(tk_want_string(node, "type", where, &type, err));
    if (strcmp(type, "ByteLevel") == 0) { return FMP_OK; } /* trims offsets only, and ours are exact */
    if (strcmp(type, "TemplateProcessing") == 0) { return parse_template(tok, node, where, p, err); }
    if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0) {
        return parse_cls_sep(tok, node, where, p, err);
    }
    const cJSON *list = fmp_json_get(node, "processors"), *child;
    if (strcmp(type, "Sequence") != 0 || nested || !cJSON_IsArray(list)) {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "%s.type: post-processor \"%s\" is not supported here", where,
                        type);
    }
    unsigned i = 0;
    cJSON_ArrayForEach(child, list)
    {
        char inner[128];
        snprintf(inner, sizeof inner, "%s.processors[%u]", where, i++);
        FMP_TRY(parse_step(tok, child, inner, true, p, err));
    }
    return FMP_OK;
}

fmp_status tk_parse_post(fmp_tokenizer *tok, const cJSON *node, fmp_err *err)
{
    placed p = {.n_prefix = 0};
    if (tk_is_null(node)) { return FMP_OK; }
    FMP_TRY(parse_step(tok, node, "post_processor", false, &p, err));
    tok->prefix = fmp_arena_take(tok->arena, (p.n_prefix + 1) * sizeof *tok->prefix);
    tok->suffix = fmp_arena_take(tok->arena, (p.n_suffix + 1) * sizeof *tok->suffix);
    FMP_TRY(fmp_arena_ok(tok->arena, err));
    memcpy(tok->prefix, p.prefix, p.n_prefix * sizeof *tok->prefix);
    memcpy(tok->suffix, p.suffix, p.n_suffix * sizeof *tok->suffix);
    tok->n_prefix = p.n_prefix;
    tok->n_suffix = p.n_suffix;
    return FMP_OK;
}
