/*
 * chat_open.c: a model folder's tokenizer, chat template and stop tokens, as one fmp_chat.
 *
 * Everything a conversation does not change is settled here: which texts end a turn, which tokens may come
 * out of template text only, and (chat_probe.c) what the template accepts.
 */
#include "chat_impl.h"

#include "tokenizer_impl.h"

#include <stdlib.h>

/* 2024-07-26, the date that Llama 3's templates write where there is no clock. */
#define DEFAULT_NOW 1721952000

static fmp_status add_stop_text(fmp_chat *chat, const char *text, fmp_err *err)
{
    for (size_t i = 0; i < chat->n_stop_texts; i++) {
        if (strcmp(chat->stop_texts[i], text) == 0) { return FMP_OK; }
    }
    if (!*text || chat->n_stop_texts == CHAT_MAX_STOPS) {
        return fmp_fail(err, FMP_E_CONFIG, "expected 1 to %d stop texts, none of them empty", CHAT_MAX_STOPS);
    }
    char *copy = strdup(text);
    if (!copy) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    chat->stop_texts[chat->n_stop_texts++] = copy;
    return FMP_OK;
}

static fmp_status add_stop(fmp_chat *chat, uint32_t id, fmp_err *err)
{
    const char *text = fmp_tokenizer_text(chat->tok, id);
    for (size_t i = 0; i < chat->n_stops; i++) {
        if (chat->stops[i] == id) { return FMP_OK; }
    }
    if (!text || chat->n_stops == CHAT_MAX_STOPS) {
        return fmp_fail(err, FMP_E_DATA, "stop token %u is not in the tokenizer", id);
    }
    chat->stops[chat->n_stops++] = id;
    return add_stop_text(chat, text, err);
}

static fmp_status find_stops(fmp_chat *chat, const char *dir, fmp_err *err)
{
    if (fmp_tokenizer_eos(chat->tok) != FMP_TOKEN_NONE) {
        FMP_TRY(add_stop(chat, fmp_tokenizer_eos(chat->tok), err));
    }
    char *path = fmp_path_join(dir, "generation_config.json");
    if (!path) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    cJSON *json = NULL;
    fmp_status status = fmp_path_exists(path) ? fmp_json_load(path, NULL, &json, err) : FMP_OK;
    const cJSON *eos = fmp_json_get(json, "eos_token_id"), *one = cJSON_IsArray(eos) ? eos->child : eos;
    for (; status == FMP_OK && one; one = cJSON_IsArray(eos) ? one->next : NULL) {
        if (cJSON_IsNumber(one) && one->valuedouble >= 0 && one->valuedouble < UINT32_MAX) {
            status = add_stop(chat, (uint32_t)one->valuedouble, err);
        }
    }
    cJSON_Delete(json);
    free(path);
    if (status == FMP_OK && chat->n_stop_texts == 0) {
        fmp_fail(err, FMP_E_CONFIG, "the tokenizer of '%s' names no token that ends a turn", dir);
        return fmp_err_hint(
            err, "give eos_token in tokenizer_config.json or eos_token_id in generation_config.json");
    }
    return status;
}

/* A template without a tokenizer is probed with the texts that end a turn in common templates. */
static fmp_status common_stops(fmp_chat *chat, fmp_err *err)
{
    static const char *const texts[] = {"</s>",
                                        "<|im_end|>",
                                        "<|eot_id|>",
                                        "<|eom_id|>",
                                        "<|end|>",
                                        "<end_of_turn>",
                                        "<turn_end>",
                                        "<|endoftext|>",
                                        "<|eos|>",
                                        "<|return|>",
                                        "<|eot|>",
                                        "<|end_of_text|>",
                                        "<｜end▁of▁sentence｜>",
                                        "<|END_OF_TURN_TOKEN|>"};
    for (size_t i = 0; chat->n_stop_texts < CHAT_MAX_STOPS && i < sizeof texts / sizeof texts[0]; i++) {
        FMP_TRY(add_stop_text(chat, texts[i], err));
    }
    return FMP_OK;
}

static bool is_markup(const char *text)
{
    size_t n = strlen(text);
    return n > 2 && ((text[0] == '<' && text[n - 1] == '>') || (text[0] == '[' && text[n - 1] == ']'));
}

static fmp_status find_kinds(fmp_chat *chat, fmp_err *err)
{
    uint32_t size = fmp_tokenizer_size(chat->tok);
    chat->token_kind = calloc((size_t)size + 1, 1);
    if (!chat->token_kind) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for %u tokens", size); }
    for (uint32_t i = 0; i < chat->tok->n_added; i++) {
        const tk_added *a = &chat->tok->added[i];
        const char *text = fmp_tokenizer_text(chat->tok, a->id);
        if (!text || !*text) { continue; }
        chat->token_kind[a->id] = a->special        ? CHAT_TOKEN_CONTROL
                                  : is_markup(text) ? CHAT_TOKEN_MARK
                                                    : CHAT_TOKEN_PLAIN;
    }
    return FMP_OK;
}

/* The first n stop texts are the caller's: one that is a token of its own ends a generation, too. */
static fmp_status add_own_stops(fmp_chat *chat, size_t n, fmp_err *err)
{
    for (size_t i = 0; i < n && i < chat->n_stop_texts; i++) {
        uint32_t id = fmp_tokenizer_id_of(chat->tok, chat->stop_texts[i]);
        if (id != FMP_TOKEN_NONE && chat->token_kind[id] != CHAT_TOKEN_PLAIN) {
            FMP_TRY(add_stop(chat, id, err));
        }
    }
    return FMP_OK;
}

static fmp_status take_options(fmp_chat *chat, const fmp_chat_open_options *o, fmp_err *err)
{
    chat->render =
        (fmp_template_options){.has_now = true, .now_unix = o->has_now ? o->now_unix : DEFAULT_NOW};
    if (o->variables && !cJSON_IsObject(o->variables)) {
        return fmp_fail(err, FMP_E_CONFIG, "expected an object of template variables");
    }
    if (cJSON_HasObjectItem(o->variables, "messages") || cJSON_HasObjectItem(o->variables, "tools")) {
        return fmp_fail(err, FMP_E_CONFIG,
                        "template variables may not be named messages or tools: those come "
                        "from each conversation");
    }
    fmp_arena *outer = fmp_json_scope(NULL);
    chat->variables = o->variables ? cJSON_Duplicate(o->variables, true) : NULL;
    fmp_json_scope(outer);
    if (o->variables && !chat->variables) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    return FMP_OK;
}

static fmp_status open_into(fmp_chat *chat, const char *dir, const fmp_chat_open_options *o, fmp_err *err)
{
    unsigned char digest[32];
    FMP_TRY(take_options(chat, o, err));
    if (dir) { FMP_TRY(fmp_tokenizer_load(dir, &chat->tok, err)); }
    FMP_TRY(fmp_chat_read_template(o->template_ ? o->template_ : dir, o->template_name, &chat->text, err));
    fmp_sha256_bytes(chat->text, strlen(chat->text), digest);
    fmp_hex(digest, 32, chat->digest);
    FMP_TRY(fmp_template_parse(chat->text, strlen(chat->text), o->template_ ? o->template_ : "chat_template",
                               &chat->tmpl, err));
    for (size_t i = 0; i < o->n_stops; i++) {
        FMP_TRY(add_stop_text(chat, o->stops[i], err));
    }
    if (dir) {
        FMP_TRY(find_stops(chat, dir, err));
        FMP_TRY(find_kinds(chat, err));
        FMP_TRY(add_own_stops(chat, o->n_stops, err));
    } else {
        FMP_TRY(common_stops(chat, err));
    }
    return chat_probe(chat, err);
}

fmp_status fmp_chat_open_with(const char *dir, const fmp_chat_open_options *options, fmp_chat **out,
                              fmp_err *err)
{
    fmp_chat *chat = calloc(1, sizeof *chat);
    if (!chat) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    fmp_status status = open_into(chat, dir, options, err);
    if (status != FMP_OK) {
        fmp_chat_free(chat);
        return status;
    }
    *out = chat;
    return FMP_OK;
}

fmp_status fmp_chat_open(const char *dir, const char *template_, fmp_chat **out, fmp_err *err)
{
    const fmp_chat_open_options options = {.template_ = template_};
    return fmp_chat_open_with(dir, &options, out, err);
}

void fmp_chat_free(fmp_chat *chat)
{
    if (!chat) { return; }
    for (size_t i = 0; i < chat->n_stop_texts; i++) {
        free(chat->stop_texts[i]);
    }
    for (size_t i = 0; i < 2 * CHAT_N_AFTER; i++) {
        free(chat->tails[i / CHAT_N_AFTER].after[i % CHAT_N_AFTER]);
    }
    free(chat->turn_end);
    fmp_template_free(chat->tmpl);
    fmp_tokenizer_free(chat->tok);
    cJSON_Delete(chat->variables);
    free(chat->token_kind);
    free(chat->text);
    free(chat);
}

const fmp_tokenizer *fmp_chat_tokenizer(const fmp_chat *chat)
{
    return chat->tok;
}
const char *fmp_chat_template_text(const fmp_chat *chat)
{
    return chat->text;
}
const char *fmp_chat_template_digest(const fmp_chat *chat)
{
    return chat->digest;
}

const uint32_t *fmp_chat_stops(const fmp_chat *chat, size_t *n)
{
    *n = chat->n_stops;
    return chat->stops;
}
