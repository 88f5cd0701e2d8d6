/*
 * chat_weight.c: the loss weight of every token of an encoded conversation.
 *
 * Weights are a property of bytes first (the ranges of chat_mask.c, a message's own weight, bytes that a
 * schema forces) and of tokens second: a token has the weight of the range that holds all of it.
 */
#include "chat_impl.h"

#include <stdlib.h>

static fmp_status reserve_weights(fmp_chat_result *r, fmp_err *err)
{
    if (r->tokens.n > r->weight_cap) {
        float *w = realloc(r->weight, r->tokens.n * 2 * sizeof *w);
        if (!w) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
        r->weight = w;
        r->weight_cap = r->tokens.n * 2;
    }
    if (r->tokens.n > 0) { memset(r->weight, 0, r->tokens.n * sizeof *r->weight); }
    return FMP_OK;
}

/* The first token whose end lies beyond byte `at`; tokens are in byte order. */
static size_t token_after(const fmp_token_list *tokens, size_t at)
{
    size_t low = 0, high = tokens->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (tokens->end[mid] > at) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return low;
}

static void weigh_range(fmp_chat_result *r, size_t begin, size_t end, float weight)
{
    for (size_t i = token_after(&r->tokens, begin); i < r->tokens.n && r->tokens.begin[i] < end; i++) {
        if (r->tokens.begin[i] < begin || r->tokens.end[i] > end) {
            r->n_straddling++;
        } else {
            r->weight[i] = weight;
        }
    }
}

/* Bytes [begin, end) of a message's content, wherever its pieces went: the tokens wholly inside are
 * multiplied by `weight`. */
static void weigh_content(fmp_chat_result *r, const char *path, size_t begin, size_t end, float weight)
{
    for (size_t i = 0; i < r->rendered.n_spans; i++) {
        const fmp_span *s = &r->rendered.spans[i];
        if (s->kind != FMP_SPAN_INPUT || s->src == FMP_SPAN_NO_SRC ||
            strcmp(r->rendered.paths[s->path], path) != 0) {
            continue;
        }
        size_t from = begin > s->src ? begin : s->src, to = s->src + (s->end - s->begin);
        to = end < to ? end : to;
        if (from >= to) { continue; }
        size_t out_begin = s->begin + (from - s->src), out_end = s->begin + (to - s->src);
        for (size_t t = token_after(&r->tokens, out_begin); t < r->tokens.n && r->tokens.end[t] <= out_end;
             t++) {
            if (r->tokens.begin[t] >= out_begin && r->weight[t] > 0) { r->weight[t] *= weight; }
        }
    }
}

static bool is_offset(const cJSON *node, double *out)
{
    return fmp_json_number(node, out) && *out >= 0 && *out <= UINT32_MAX;
}

/* "fmp": {"forced": [[begin, end], …], "forced_weight": w} of one message. */
static fmp_status weigh_forced(fmp_chat_result *r, const cJSON *note, size_t index, fmp_err *err)
{
    const cJSON *given = fmp_json_get(note, "forced_weight"), *pair;
    double weight = 1.0, begin, end;
    char path[48];
    if (given && (!fmp_json_number(given, &weight) || !(weight >= 0 && weight <= 1000))) {
        return fmp_fail(err, FMP_E_DATA, "messages[%zu].fmp.forced_weight: expected a number from 0 to 1000",
                        index);
    }
    snprintf(path, sizeof path, "messages[%zu].content", index);
    cJSON_ArrayForEach(pair, fmp_json_get(note, "forced"))
    {
        if (!is_offset(cJSON_GetArrayItem(pair, 0), &begin) ||
            !is_offset(cJSON_GetArrayItem(pair, 1), &end) || end < begin) {
            return fmp_fail(err, FMP_E_DATA,
                            "messages[%zu].fmp.forced: expected pairs of byte offsets [begin, end]", index);
        }
        weigh_content(r, path, (size_t)begin, (size_t)end, (float)weight);
    }
    return FMP_OK;
}

/* Some message says of itself how much it counts. */
static bool has_weights(const cJSON *doc)
{
    const cJSON *m;
    cJSON_ArrayForEach(m, fmp_json_get(doc, "messages"))
    {
        if (fmp_json_get(m, "weight") || fmp_json_get(m, "fmp")) { return true; }
    }
    return false;
}

static fmp_status weigh_message(fmp_chat_result *r, const cJSON *message, const fmp_mask_range *range,
                                fmp_err *err)
{
    double weight = 1.0;
    const cJSON *node = fmp_json_get(message, "weight"), *note = fmp_json_get(message, "fmp");
    if (node && (!fmp_json_number(node, &weight) || !(weight >= 0 && weight <= 1000))) {
        return fmp_fail(err, FMP_E_DATA, "messages[%zu].weight: expected a number from 0 to 1000",
                        range->message);
    }
    weigh_range(r, range->begin, range->end, (float)weight);
    return note ? weigh_forced(r, note, range->message, err) : FMP_OK;
}

fmp_status chat_find_ranges(const fmp_chat *chat, const cJSON *doc, const cJSON *context,
                            const fmp_chat_options *o, size_t message, fmp_chat_result *r,
                            fmp_chat_mask_result *out, fmp_err *err)
{
    *out = (fmp_chat_mask_result){0};
    if (!o->supervise ||
        (o->all_text && !(o->context_weight > 0 && o->context_weight != 1.0f) && !has_weights(doc))) {
        return FMP_OK;
    }
    const fmp_chat_mask_options mask = {.policy = o->policy,
                                        .roles = o->roles,
                                        .n_roles = o->n_roles,
                                        .stops = (const char *const *)chat->stop_texts,
                                        .n_stops = chat->n_stop_texts,
                                        .render = chat->render,
                                        .tails = chat_tails(chat, doc),
                                        .only_one = message != SIZE_MAX,
                                        .one = message,
                                        .check_past = o->check_past,
                                        .trails = chat->facts.open_calls && chat->facts.trails};
    FMP_TRY(fmp_chat_mask(chat->tmpl, context, &r->rendered, &mask, r->arena, out, err));
    r->n_rewritten = out->n_rewritten;
    return FMP_OK;
}

static fmp_status weigh_ranges(const cJSON *doc, const fmp_chat_mask_result *found, fmp_chat_result *r,
                               fmp_err *err)
{
    const cJSON *m = fmp_json_get(doc, "messages") ? fmp_json_get(doc, "messages")->child : NULL;
    size_t at = 0;
    for (size_t i = 0; i < found->n_ranges; i++) {
        for (; at < found->ranges[i].message && m; at++) {
            m = m->next;
        }
        FMP_TRY(weigh_message(r, m, &found->ranges[i], err));
    }
    return FMP_OK;
}

fmp_status chat_supervise(const cJSON *doc, const fmp_chat_options *o, const fmp_chat_mask_result *found,
                          fmp_chat_result *r, fmp_err *err)
{
    FMP_TRY(reserve_weights(r, err));
    if (!o->supervise) { return FMP_OK; }
    if (o->all_text) {
        float context_weight = o->context_weight > 0 ? o->context_weight : 1.0f;
        for (size_t i = 1; i < r->tokens.n; i++) {
            r->weight[i] = context_weight;
        }
    }
    FMP_TRY(weigh_ranges(doc, found, r, err));
    if (r->tokens.n > 0) { r->weight[0] = 0.0f; } /* nothing comes before it to predict it from */
    for (size_t i = 0; i < r->tokens.n; i++) {
        r->n_supervised += r->weight[i] > 0;
    }
    if (r->n_supervised == 0) {
        return fmp_fail(err, FMP_E_DATA, "no supervised token: expected an assistant message to learn from");
    }
    return FMP_OK;
}

fmp_status fmp_chat_turns(const cJSON *doc, const fmp_chat_options *options, fmp_arena *arena, size_t **turns,
                          size_t *n_turns, fmp_err *err)
{
    const cJSON *messages = fmp_json_get(doc, "messages"), *m, *last = NULL;
    size_t i = 0, n = 0,
           *list = fmp_arena_take(arena, ((size_t)cJSON_GetArraySize(messages) + 1) * sizeof *list);
    double weight;
    *n_turns = 0;
    FMP_TRY(fmp_arena_ok(arena, err));
    cJSON_ArrayForEach(m, messages)
    {
        last = strcmp(fmp_json_str(m, "role", ""), "assistant") == 0 ? m : last;
    }
    cJSON_ArrayForEach(m, messages)
    {
        bool wanted = chat_is_wanted(m, options->policy, options->roles, options->n_roles, m == last);
        bool silent = fmp_json_number(fmp_json_get(m, "weight"), &weight) && weight == 0;
        if (wanted && !silent) { list[n++] = i; }
        i++;
    }
    *turns = list;
    *n_turns = n;
    return FMP_OK;
}
