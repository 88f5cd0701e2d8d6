/*
 * chat.c: conversations to tokens. The template engine says which bytes are its own; only from there may a
 * control token come.
 *
 * The whole text is encoded with special tokens on, as transformers does it. If one of them turns out to
 * have been spelled by content, the text is encoded once more in parts, in which that spelling cannot be
 * recognised.
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

/* A token's spelling among its bytes: without the white space before and behind it that it swallowed. */
static void find_spelling(const fmp_chat *chat, const fmp_rendered *r, uint32_t id, uint32_t *begin,
                          uint32_t *end)
{
    size_t n = strlen(fmp_tokenizer_text(chat->tok, id)), len;
    while (*end - *begin > n && tpl_is_space(tpl_utf8_get(r->text.data + *begin, *end - *begin, &len))) {
        *begin += (uint32_t)len;
    }
    if (*end - *begin > n) { *end = *begin + (uint32_t)n; }
}

/* The least trusted byte of [begin, end). *span: a span at or before it, moved on. */
static int trust_of_bytes(const cJSON *doc, const fmp_rendered *r, size_t begin, size_t end, size_t *span)
{
    int least = TRUST_ALL;
    while (*span < r->n_spans && r->spans[*span].end <= begin) {
        ++*span;
    }
    for (size_t k = *span; k < r->n_spans && r->spans[k].begin < end; k++) {
        int trust = trust_of_span(doc, r, &r->spans[k]);
        least = trust < least ? trust : least;
    }
    return least;
}

/* ---------------------------------------------------------------------------------------------- encoding */

/* A recognised token that is no ordinary one. */
typedef struct found_token {
    uint32_t id, begin, end; /* all its bytes             */
    uint32_t spelled;        /* where its spelling begins */
    bool control, trusted;
} found_token;

static fmp_status find_tokens(const fmp_chat *chat, const cJSON *doc, fmp_chat_result *r, found_token **out,
                              size_t *n_found, fmp_err *err)
{
    size_t n = 0, span = 0;
    for (size_t i = 0; i < r->tokens.n; i++) {
        n += chat->token_kind[r->tokens.ids[i]] != CHAT_TOKEN_PLAIN;
    }
    found_token *list = fmp_arena_take(r->arena, (n + 1) * sizeof *list);
    FMP_TRY(fmp_arena_ok(r->arena, err));
    n = 0;
    for (size_t i = 0; i < r->tokens.n; i++) {
        uint8_t kind = chat->token_kind[r->tokens.ids[i]];
        uint32_t begin = r->tokens.begin[i], end = r->tokens.end[i];
        if (kind == CHAT_TOKEN_PLAIN || begin == end) { continue; }
        found_token t = {
            .id = r->tokens.ids[i], .begin = begin, .end = end, .control = kind == CHAT_TOKEN_CONTROL};
        find_spelling(chat, &r->rendered, t.id, &begin, &end);
        t.spelled = begin;
        t.trusted = trust_of_bytes(doc, &r->rendered, begin, end, &span) >= kind;
        list[n++] = t;
        r->n_control_text += !t.trusted;
    }
    *out = list;
    *n_found = n;
    return FMP_OK;
}

static fmp_status encode_piece(const fmp_chat *chat, fmp_chat_result *r, size_t begin, size_t end,
                               unsigned flags, fmp_err *err)
{
    size_t first = r->tokens.n;
    if (begin >= end) { return FMP_OK; }
    FMP_TRY(fmp_tokenizer_encode(chat->tok, r->scratch, r->rendered.text.data + begin, end - begin, flags,
                                 &r->tokens, err));
    for (size_t i = first; i < r->tokens.n; i++) {
        r->tokens.begin[i] += (uint32_t)begin;
        r->tokens.end[i] += (uint32_t)begin;
    }
    return FMP_OK;
}

/* A token of the template at its place: encoded alone, from its spelling. */
static fmp_status encode_token(const fmp_chat *chat, fmp_chat_result *r, const found_token *t, fmp_err *err)
{
    const char *text = fmp_tokenizer_text(chat->tok, t->id);
    size_t first = r->tokens.n;
    FMP_TRY(
        fmp_tokenizer_encode(chat->tok, r->scratch, text, strlen(text), FMP_TOK_SPECIAL, &r->tokens, err));
    if (r->tokens.n != first + 1 || r->tokens.ids[first] != t->id) {
        return fmp_fail(err, FMP_E_INTERNAL, "special token '%s' does not encode to its own id %u", text,
                        t->id);
    }
    r->tokens.begin[first] = t->begin;
    r->tokens.end[first] = t->end;
    return FMP_OK;
}

/* Some token was spelled by content. Special tokens are recognised where the template wrote them and nowhere
 * else; markup that PLAIN would recognise is cut in two, so that nothing does. */
static fmp_status encode_parts(const fmp_chat *chat, fmp_chat_result *r, const found_token *found, size_t n,
                               fmp_err *err)
{
    size_t at = 0;
    r->tokens.n = 0;
    for (size_t i = 0; i < n; i++) {
        const found_token *t = &found[i];
        if (t->control && t->trusted) {
            FMP_TRY(encode_piece(chat, r, at, t->begin, FMP_TOK_PLAIN, err));
            FMP_TRY(encode_token(chat, r, t, err));
            at = t->end;
        } else if (!t->control && !t->trusted) {
            FMP_TRY(encode_piece(chat, r, at, t->spelled + 1, FMP_TOK_PLAIN, err));
            at = t->spelled + 1;
        }
    }
    return encode_piece(chat, r, at, r->rendered.text.len, FMP_TOK_PLAIN, err);
}

static fmp_status encode_all(const fmp_chat *chat, const cJSON *doc, fmp_chat_result *r, fmp_err *err)
{
    found_token *found;
    size_t n;
    r->tokens.n = 0;
    if (r->rendered.text.len > UINT32_MAX / 2) {
        return fmp_fail(err, FMP_E_RANGE, "a rendered conversation of %zu bytes is too long",
                        r->rendered.text.len);
    }
    FMP_TRY(encode_piece(chat, r, 0, r->rendered.text.len, FMP_TOK_SPECIAL, err));
    FMP_TRY(find_tokens(chat, doc, r, &found, &n, err));
    return r->n_control_text > 0 ? encode_parts(chat, r, found, n, err) : FMP_OK;
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
    FMP_TRY(encode_all(chat, doc, r, err));
    return chat_supervise(chat, doc, context, o, message, r, err);
}

static fmp_status encode(const fmp_chat *chat, const cJSON *doc, const fmp_chat_options *o, size_t message,
                         fmp_chat_result *r, fmp_err *err)
{
    fmp_arena_reset(r->arena, 1u << 20);
    r->n_supervised = r->n_straddling = r->n_control_text = r->n_rewritten = 0;
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
