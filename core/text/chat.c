/*
 * Conversations to tokens. The template engine says which bytes are its own; only there may a special token be recognised.
 * The mask comes from the same provenance, so weights are a property of bytes first and of tokens second.
 */
#include <fmpipe/chat.h>

#include <fmpipe/fs.h>
#include <fmpipe/json.h>

#include <stdlib.h>

enum { MAX_STOPS = 16 };

typedef struct special_token {
    uint32_t id;
    size_t len;
    const char *text; /* borrowed from the tokenizer */
} special_token;

struct fmp_chat {
    fmp_tokenizer *tok;
    fmp_template *tmpl;
    char *text;
    char digest[65];
    uint32_t stops[MAX_STOPS];
    const char *stop_texts[MAX_STOPS];
    size_t n_stops;
    special_token *special; /* longest first */
    size_t n_special;
    bool first_byte[256];   /* some special token begins with it */
};

/* ---------------------------------------------------------------------------------------------- opening */

static fmp_status add_stop(fmp_chat *chat, uint32_t id, fmp_err *err)
{
    const char *text = fmp_tokenizer_text(chat->tok, id);
    for (size_t i = 0; i < chat->n_stops; i++) {
        if (chat->stops[i] == id) { return FMP_OK; }
    }
    if (!text || chat->n_stops == MAX_STOPS) { return fmp_fail(err, FMP_E_DATA, "stop token %u is not in the tokenizer", id); }
    chat->stops[chat->n_stops] = id;
    chat->stop_texts[chat->n_stops++] = text;
    return FMP_OK;
}

static fmp_status find_stops(fmp_chat *chat, const char *dir, fmp_err *err)
{
    if (fmp_tokenizer_eos(chat->tok) != FMP_TOKEN_NONE) { FMP_TRY(add_stop(chat, fmp_tokenizer_eos(chat->tok), err)); }
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
    if (status == FMP_OK && chat->n_stops == 0) {
        fmp_fail(err, FMP_E_CONFIG, "the tokenizer of '%s' names no token that ends a turn", dir);
        return fmp_err_hint(err, "give eos_token in tokenizer_config.json or eos_token_id in generation_config.json");
    }
    return status;
}

static int longest_first(const void *a, const void *b)
{
    const special_token *x = a, *y = b;
    if (x->len != y->len) { return x->len > y->len ? -1 : 1; }
    return x->id < y->id ? -1 : x->id > y->id;
}

static fmp_status find_special(fmp_chat *chat, fmp_err *err)
{
    size_t n = 0;
    for (uint32_t id = 0; id < fmp_tokenizer_size(chat->tok); id++) { n += fmp_tokenizer_is_special(chat->tok, id); }
    chat->special = calloc(n + 1, sizeof *chat->special);
    if (!chat->special) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for %zu special tokens", n); }
    for (uint32_t id = 0; id < fmp_tokenizer_size(chat->tok); id++) {
        const char *text = fmp_tokenizer_is_special(chat->tok, id) ? fmp_tokenizer_text(chat->tok, id) : NULL;
        if (!text || !*text) { continue; }
        chat->special[chat->n_special++] = (special_token){id, strlen(text), text};
        chat->first_byte[(unsigned char)text[0]] = true;
    }
    qsort(chat->special, chat->n_special, sizeof *chat->special, longest_first);
    return FMP_OK;
}

/* chat_template of tokenizer_config.json: a text, or a list of {name, template} with one named "default". */
static fmp_status template_from_config(const char *dir, char **out, fmp_err *err)
{
    char *path = fmp_path_join(dir, "tokenizer_config.json");
    if (!path) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    cJSON *json = NULL;
    fmp_status status = fmp_path_exists(path) ? fmp_json_load(path, NULL, &json, err) : FMP_OK;
    const cJSON *node = fmp_json_get(json, "chat_template"), *row;
    const char *text = cJSON_IsString(node) ? node->valuestring : NULL;
    const cJSON *list = cJSON_IsArray(node) ? node : NULL;
    cJSON_ArrayForEach(row, list)
    {
        if (strcmp(fmp_json_str(row, "name", ""), "default") == 0) { text = fmp_json_str(row, "template", NULL); }
    }
    *out = text ? strdup(text) : NULL;
    if (text && !*out) { status = fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    cJSON_Delete(json);
    free(path);
    return status;
}

static fmp_status read_text(const char *path, char **out, fmp_err *err)
{
    fmp_buf buf = {0};
    fmp_status status = fmp_read_file(path, 4u << 20, &buf, err);
    if (status != FMP_OK) {
        fmp_buf_free(&buf);
        return status;
    }
    *out = buf.data ? buf.data : strdup("");
    return *out ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

static fmp_status find_template(const char *dir, const char *wanted, char **out, fmp_err *err)
{
    if (wanted) {
        const char *builtin = fmp_template_builtin(wanted);
        if (!builtin) { return read_text(wanted, out, err); }
        *out = strdup(builtin);
        return *out ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    }
    char *path = fmp_path_join(dir, "chat_template.jinja");
    if (!path) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    fmp_status status = fmp_path_exists(path) ? read_text(path, out, err) : template_from_config(dir, out, err);
    free(path);
    if (status == FMP_OK && !*out) {
        fmp_fail(err, FMP_E_CONFIG, "'%s' has no chat template", dir);
        return fmp_err_hint(err, "name one: a built-in template such as fm-chat, or a .jinja file");
    }
    return status;
}

static fmp_status open_into(fmp_chat *chat, const char *dir, const char *wanted, fmp_err *err)
{
    unsigned char digest[32];
    FMP_TRY(fmp_tokenizer_load(dir, &chat->tok, err));
    FMP_TRY(find_template(dir, wanted, &chat->text, err));
    fmp_sha256_bytes(chat->text, strlen(chat->text), digest);
    fmp_hex(digest, 32, chat->digest);
    FMP_TRY(fmp_template_parse(chat->text, strlen(chat->text), wanted ? wanted : "chat_template", &chat->tmpl, err));
    FMP_TRY(find_stops(chat, dir, err));
    return find_special(chat, err);
}

fmp_status fmp_chat_open(const char *dir, const char *template_, fmp_chat **out, fmp_err *err)
{
    fmp_chat *chat = calloc(1, sizeof *chat);
    if (!chat) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    fmp_status status = open_into(chat, dir, template_, err);
    if (status != FMP_OK) {
        fmp_chat_free(chat);
        return status;
    }
    *out = chat;
    return FMP_OK;
}

void fmp_chat_free(fmp_chat *chat)
{
    if (!chat) { return; }
    fmp_template_free(chat->tmpl);
    fmp_tokenizer_free(chat->tok);
    free(chat->special);
    free(chat->text);
    free(chat);
}

const fmp_tokenizer *fmp_chat_tokenizer(const fmp_chat *chat) { return chat->tok; }
const char *fmp_chat_template_text(const fmp_chat *chat) { return chat->text; }
const char *fmp_chat_template_digest(const fmp_chat *chat) { return chat->digest; }

const uint32_t *fmp_chat_stops(const fmp_chat *chat, size_t *n)
{
    *n = chat->n_stops;
    return chat->stops;
}

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

/* ---------------------------------------------------------------------------------------------- rendering */

/* A view of `node` for the template, which only reads. */
static cJSON *view(const cJSON *node)
{
    if (!node) { return cJSON_CreateNull(); }
    cJSON *v = cJSON_CreateNull();
    if (v) {
        v->type = (node->type & 0xFF) | cJSON_IsReference;
        v->child = node->child;
        v->valuestring = node->valuestring;
        v->valuedouble = node->valuedouble;
        v->valueint = node->valueint;
    }
    return v;
}

static const char *token_text(const fmp_chat *chat, uint32_t id)
{
    const char *text = id == FMP_TOKEN_NONE ? NULL : fmp_tokenizer_text(chat->tok, id);
    return text ? text : "";
}

/* What transformers passes to a template: messages, tools, documents, add_generation_prompt, bos_token, eos_token. */
static cJSON *make_context(const fmp_chat *chat, const cJSON *doc, const fmp_chat_options *o)
{
    cJSON *context = cJSON_CreateObject(), *messages = cJSON_CreateArray();
    const cJSON *m;
    size_t n = 0;
    cJSON_ArrayForEach(m, fmp_json_get(doc, "messages"))
    {
        if (o->n_messages > 0 && n == o->n_messages) { break; }
        cJSON_AddItemToArray(messages, view(m));
        n++;
    }
    cJSON_AddItemToObjectCS(context, "messages", messages);
    cJSON_AddItemToObjectCS(context, "tools", view(fmp_json_get(doc, "tools")));
    cJSON_AddItemToObjectCS(context, "documents", cJSON_CreateNull());
    if (fmp_json_get(doc, "response_format")) {
        cJSON_AddItemToObjectCS(context, "response_format", view(fmp_json_get(doc, "response_format")));
    }
    cJSON_AddItemToObjectCS(context, "add_generation_prompt", cJSON_CreateBool(o->generation_prompt));
    cJSON_AddItemToObjectCS(context, "bos_token", cJSON_CreateString(token_text(chat, fmp_tokenizer_bos(chat->tok))));
    cJSON_AddItemToObjectCS(context, "eos_token", cJSON_CreateString(token_text(chat, fmp_tokenizer_eos(chat->tok))));
    return context;
}

/* ---------------------------------------------------------------------------------------------- encoding */

static const special_token *special_at(const fmp_chat *chat, const char *text, size_t len)
{
    if (len == 0 || !chat->first_byte[(unsigned char)text[0]]) { return NULL; }
    for (size_t i = 0; i < chat->n_special; i++) {
        const special_token *s = &chat->special[i];
        if (s->len <= len && memcmp(s->text, text, s->len) == 0) { return s; }
    }
    return NULL;
}

static fmp_status encode_piece(const fmp_chat *chat, fmp_chat_result *r, size_t begin, size_t end, fmp_err *err)
{
    size_t first = r->tokens.n;
    if (begin == end) { return FMP_OK; }
    FMP_TRY(fmp_tokenizer_encode(chat->tok, r->scratch, r->rendered.text.data + begin, end - begin, FMP_TOK_PLAIN, &r->tokens, err));
    for (size_t i = first; i < r->tokens.n; i++) {
        r->tokens.begin[i] += (uint32_t)begin;
        r->tokens.end[i] += (uint32_t)begin;
    }
    return FMP_OK;
}

static fmp_status encode_special(const fmp_chat *chat, fmp_chat_result *r, const special_token *s, size_t at, fmp_err *err)
{
    size_t first = r->tokens.n;
    FMP_TRY(fmp_tokenizer_encode(chat->tok, r->scratch, s->text, s->len, FMP_TOK_SPECIAL, &r->tokens, err));
    if (r->tokens.n != first + 1 || r->tokens.ids[first] != s->id) {
        return fmp_fail(err, FMP_E_INTERNAL, "special token '%s' does not encode to its own id %u", s->text, s->id);
    }
    r->tokens.begin[first] = (uint32_t)at;
    r->tokens.end[first] = (uint32_t)(at + s->len);
    return FMP_OK;
}

/* The roles everybody knows; some templates spell a control token with one: '<|' + message.role + '|>'. */
static bool is_known_role(const fmp_rendered *rendered, const fmp_span *span, const char *path)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool", "developer", "function"};
    size_t len = span->end - span->begin, n = strlen(path);
    if (strncmp(path, "messages[", 9) != 0 || n < 6 || strcmp(path + n - 6, "].role") != 0) { return false; }
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (strlen(roles[i]) == len && memcmp(rendered->text.data + span->begin, roles[i], len) == 0) { return true; }
    }
    return false;
}

/* Text that no user wrote: the template's own, the token spellings that make_context gave it, and roles. */
static bool is_trusted(const fmp_rendered *rendered, const fmp_span *span)
{
    if (span->kind != FMP_SPAN_INPUT) { return true; }
    const char *path = rendered->paths[span->path];
    return strcmp(path, "bos_token") == 0 || strcmp(path, "eos_token") == 0 || is_known_role(rendered, span, path);
}

static fmp_status encode_all(const fmp_chat *chat, fmp_chat_result *r, fmp_err *err)
{
    const char *text = r->rendered.text.data;
    size_t piece = 0, len = r->rendered.text.len;
    r->tokens.n = 0;
    if (len > UINT32_MAX / 2) { return fmp_fail(err, FMP_E_RANGE, "a rendered conversation of %zu bytes is too long", len); }
    for (size_t i = 0; i < r->rendered.n_spans;) {
        /* One run of template text, which may lie in several spans. */
        size_t begin = r->rendered.spans[i].begin, k = i;
        bool trusted = is_trusted(&r->rendered, &r->rendered.spans[i]);
        while (k < r->rendered.n_spans && is_trusted(&r->rendered, &r->rendered.spans[k]) == trusted) { k++; }
        size_t end = r->rendered.spans[k - 1].end;
        for (size_t at = begin; at < end;) {
            const special_token *s = special_at(chat, text + at, end - at);
            if (s && trusted) {
                FMP_TRY(encode_piece(chat, r, piece, at, err));
                FMP_TRY(encode_special(chat, r, s, at, err));
                piece = at + s->len;
            } else if (s) {
                r->n_control_text++;
            }
            at += s ? s->len : 1;
        }
        i = k;
    }
    return encode_piece(chat, r, piece, len, err);
}

/* ---------------------------------------------------------------------------------------------- weights */

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

/* Bytes [begin, end) of a message's content, wherever its pieces went: the tokens wholly inside are multiplied by `weight`. */
static void weigh_content(fmp_chat_result *r, const char *path, size_t begin, size_t end, float weight)
{
    for (size_t i = 0; i < r->rendered.n_spans; i++) {
        const fmp_span *s = &r->rendered.spans[i];
        if (s->kind != FMP_SPAN_INPUT || s->src == FMP_SPAN_NO_SRC || strcmp(r->rendered.paths[s->path], path) != 0) { continue; }
        size_t from = begin > s->src ? begin : s->src, to = s->src + (s->end - s->begin);
        to = end < to ? end : to;
        if (from >= to) { continue; }
        size_t out_begin = s->begin + (from - s->src), out_end = s->begin + (to - s->src);
        for (size_t t = token_after(&r->tokens, out_begin); t < r->tokens.n && r->tokens.end[t] <= out_end; t++) {
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
        return fmp_fail(err, FMP_E_DATA, "messages[%zu].fmp.forced_weight: expected a number from 0 to 1000", index);
    }
    snprintf(path, sizeof path, "messages[%zu].content", index);
    cJSON_ArrayForEach(pair, fmp_json_get(note, "forced"))
    {
        if (!is_offset(cJSON_GetArrayItem(pair, 0), &begin) || !is_offset(cJSON_GetArrayItem(pair, 1), &end) || end < begin) {
            return fmp_fail(err, FMP_E_DATA, "messages[%zu].fmp.forced: expected pairs of byte offsets [begin, end]", index);
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

static fmp_status supervise(const fmp_chat *chat, const cJSON *doc, const cJSON *context, const fmp_chat_options *o, fmp_chat_result *r,
                            fmp_err *err)
{
    if (o->all_text) {
        float context_weight = o->context_weight > 0 ? o->context_weight : 1.0f;
        for (size_t i = 1; i < r->tokens.n; i++) { r->weight[i] = context_weight; }
        if (context_weight == 1.0f && !has_weights(doc)) { return FMP_OK; }
    }
    fmp_mask_range *ranges = NULL;
    size_t n = 0;
    fmp_chat_mask_options mask = {.policy = o->policy, .stops = chat->stop_texts, .n_stops = chat->n_stops};
    FMP_TRY(fmp_chat_mask(chat->tmpl, context, &r->rendered, &mask, r->arena, &ranges, &n, err));
    for (size_t i = 0; i < n; i++) {
        const cJSON *m = cJSON_GetArrayItem(fmp_json_get(doc, "messages"), (int)ranges[i].message);
        double weight = 1.0;
        const cJSON *node = fmp_json_get(m, "weight");
        if (node && (!fmp_json_number(node, &weight) || !(weight >= 0 && weight <= 1000))) {
            return fmp_fail(err, FMP_E_DATA, "messages[%zu].weight: expected a number from 0 to 1000", ranges[i].message);
        }
        weigh_range(r, ranges[i].begin, ranges[i].end, (float)weight);
        const cJSON *note = fmp_json_get(m, "fmp");
        if (note) { FMP_TRY(weigh_forced(r, note, ranges[i].message, err)); }
    }
    return FMP_OK;
}

static fmp_status encode_in_scope(const fmp_chat *chat, const cJSON *doc, const fmp_chat_options *o, fmp_chat_result *r, fmp_err *err)
{
    cJSON *context = make_context(chat, doc, o);
    FMP_TRY(fmp_arena_ok(r->arena, err));
    FMP_TRY(fmp_template_render(chat->tmpl, context, NULL, &r->rendered, err));
    FMP_TRY(encode_all(chat, r, err));
    FMP_TRY(reserve_weights(r, err));
    if (!o->supervise) { return FMP_OK; }
    FMP_TRY(supervise(chat, doc, context, o, r, err));
    if (r->tokens.n > 0) { r->weight[0] = 0.0f; } /* nothing comes before it to predict it from */
    for (size_t i = 0; i < r->tokens.n; i++) { r->n_supervised += r->weight[i] > 0; }
    if (r->n_supervised == 0) { return fmp_fail(err, FMP_E_DATA, "no supervised token: expected an assistant message to learn from"); }
    return FMP_OK;
}

fmp_status fmp_chat_encode(const fmp_chat *chat, const cJSON *doc, const fmp_chat_options *options, fmp_chat_result *result, fmp_err *err)
{
    fmp_arena_reset(result->arena, 1u << 20);
    result->n_supervised = result->n_straddling = result->n_control_text = 0;
    fmp_arena *outer = fmp_json_scope(result->arena);
    fmp_status status = encode_in_scope(chat, doc, options, result, err);
    fmp_json_scope(outer);
    return status;
}
