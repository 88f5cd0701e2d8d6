/*
 * chat.c: conversations to tokens. The template engine says which bytes are its own; only from there may a
 * control token come.
 *
 * The whole text is encoded with special tokens on, as transformers does it, except that each spelling of one
 * is asked about: one that content spelled, if only in part, stays text.
 */
#include "chat_impl.h"

#include <stdlib.h>

fmp_status fmp_chat_result_init(fmp_chat_result *result, fmp_err *err)
{
    memset(result, 0, sizeof *result);
    result->arena = fmp_arena_new(0);
    result->scratch = fmp_tok_scratch_new();
    if (result->arena && result->scratch) { return FMP_OK; }
    fmp_chat_result_free(result);
    return fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

void fmp_chat_result_free(fmp_chat_result *result)
{
    fmp_token_list_free(&result->tokens);
    fmp_rendered_free(&result->rendered);
    fmp_rendered_free(&result->prompt);
    fmp_tok_scratch_free(result->scratch);
    fmp_arena_free(result->arena);
    free(result->weight);
    memset(result, 0, sizeof *result);
}

/* ---------------------------------------------------------------------------------------------- trust */

/* How far the bytes of a span are trusted: whose tokens may come out of them. */
enum {
    TRUST_NONE = CHAT_TOKEN_PLAIN,  /* a user's, a tool's, a schema's text              */
    TRUST_ANSWER = CHAT_TOKEN_MARK, /* an assistant message: what a model itself writes */
    TRUST_ALL = CHAT_TOKEN_CONTROL, /* the template's own text                          */
};

/* The roles everybody knows; some templates spell a control token with one: '<|' + message.role + '|>'. */
static bool is_known_role(const char *role)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool", "developer", "function"};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (strcmp(role, roles[i]) == 0) { return true; }
    }
    return false;
}

static int trust_of_path(const cJSON *doc, const char *path)
{
    static const char *const tokens[] = {"bos_token", "eos_token", "unk_token", "pad_token"};
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        if (strcmp(path, tokens[i]) == 0) { return TRUST_ALL; }
    }
    if (strncmp(path, "messages[", 9) != 0) { return TRUST_NONE; }
    char *end;
    unsigned long i = strtoul(path + 9, &end, 10);
    const cJSON *message = i < INT32_MAX ? cJSON_GetArrayItem(fmp_json_get(doc, "messages"), (int)i) : NULL;
    const char *role = fmp_json_str(message, "role", "");
    if (strcmp(end, "].role") == 0) { return is_known_role(role) ? TRUST_ALL : TRUST_NONE; }
    return strcmp(role, "assistant") == 0 ? TRUST_ANSWER : TRUST_NONE;
}

static int trust_of_span(const cJSON *doc, const fmp_rendered *r, const fmp_span *span)
{
    return span->kind == FMP_SPAN_INPUT ? trust_of_path(doc, r->paths[span->path]) : TRUST_ALL;
}

/* ---------------------------------------------------------------------------------------------- encoding */

typedef struct truster {
    const fmp_chat *chat;
    const cJSON *doc;
    fmp_chat_result *r;
} truster;

/* A token may come out of bytes all of which are trusted enough for its kind. */
static bool is_trusted(void *arg, uint32_t id, size_t begin, size_t end)
{
    const truster *t = arg;
    const fmp_rendered *r = &t->r->rendered;
    int kind = t->chat->token_kind[id];
    if (kind == CHAT_TOKEN_PLAIN) { return true; }
    for (size_t k = fmp_rendered_span_at(r, begin); k < r->n_spans && r->spans[k].begin < end; k++) {
        if (trust_of_span(t->doc, r, &r->spans[k]) < kind) {
            t->r->n_control_text++;
            return false;
        }
    }
    return true;
}

static fmp_status encode_all(const fmp_chat *chat, const cJSON *doc, fmp_chat_result *r, fmp_err *err)
{
    truster t = {chat, doc, r};
    r->tokens.n = 0;
    if (r->rendered.text.len > UINT32_MAX / 2) {
        return fmp_fail(err, FMP_E_RANGE, "a rendered conversation of %zu bytes is too long",
                        r->rendered.text.len);
    }
    return fmp_tokenizer_encode_where(chat->tok, r->scratch,
                                      r->rendered.text.data ? r->rendered.text.data : "",
                                      r->rendered.text.len, FMP_TOK_SPECIAL, is_trusted, &t, &r->tokens, err);
}

/* ---------------------------------------------------------------------------------------------- conversations */

static fmp_status encode_in_scope(const fmp_chat *chat, const cJSON *doc, const fmp_chat_options *o,
                                  size_t message, fmp_chat_result *r, fmp_err *err)
{
    size_t n_messages = message == SIZE_MAX ? o->n_messages : message + 1;
    if (!chat->tok) { return fmp_fail(err, FMP_E_USAGE, "this chat was opened without a tokenizer"); }
    cJSON *context = chat_context(chat, doc, n_messages, o->generation_prompt);
    FMP_TRY(fmp_arena_ok(r->arena, err));
    FMP_TRY(fmp_template_render(chat->tmpl, context, &chat->render, &r->rendered, err));
    fmp_chat_mask_result found;
    FMP_TRY(chat_find_ranges(chat, doc, context, o, message, r, &found, err));
    if (message != SIZE_MAX) { FMP_TRY(chat_join_turn(chat, context, &found, r, err)); }
    FMP_TRY(encode_all(chat, doc, r, err));
    return chat_supervise(doc, o, &found, r, err);
}

static fmp_status encode(const fmp_chat *chat, const cJSON *doc, const fmp_chat_options *o, size_t message,
                         fmp_chat_result *r, fmp_err *err)
{
    fmp_arena_reset(r->arena, 1u << 20);
    r->n_supervised = r->n_straddling = r->n_control_text = r->n_rewritten = r->n_closed = 0;
    fmp_arena *outer = fmp_json_scope(r->arena);
    fmp_status status = encode_in_scope(chat, doc, o, message, r, err);
    fmp_json_scope(outer);
    return status;
}

fmp_status fmp_chat_encode(const fmp_chat *chat, const cJSON *doc, const fmp_chat_options *options,
                           fmp_chat_result *result, fmp_err *err)
{
    return encode(chat, doc, options, SIZE_MAX, result, err);
}

fmp_status fmp_chat_encode_turn(const fmp_chat *chat, const cJSON *doc, const fmp_chat_options *options,
                                size_t message, fmp_chat_result *result, fmp_err *err)
{
    return encode(chat, doc, options, message, result, err);
}
