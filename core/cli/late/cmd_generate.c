/*
 * cmd_generate.c: `fmpipe generate`: a model, with or without an adapter, continues a prompt, answers the
 * rows of a file, or talks. Prompts go through the model's chat template as in training and in
 * eval.adapter, so an answer here is an answer there; with --raw the text itself is continued.
 *
 * Read first: generate.h (a text as its tokens arrive), generate_rows.c (files).
 */
#include "generate.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- options ---- */

/* A decimal number from `least` to `most`; false after saying what is wrong. */
static bool read_real(const fmp_cli *cli, const char *option, double least, double most, float *out)
{
    const char *text = fmp_cli_option_value(cli, option);
    char *end = NULL;
    if (!text) { return true; }
    double x = strtod(text, &end);
    if (*text && *end == '\0' && x >= least && x <= most) {
        *out = (float)x;
        return true;
    }
    fmp_cli_usage(cli, NULL, "--%s: expected a number from %g to %g, found '%s'", option, least, most, text);
    return false;
}

/* One of `words`, its index in *out; false after saying what is wrong. */
static bool read_word(const fmp_cli *cli, const char *option, const char *const *words, int *out)
{
    const char *text = fmp_cli_option_value(cli, option);
    fmp_buf all = {0};
    for (int i = 0; words[i]; i++) {
        if (!text || strcmp(text, words[i]) == 0) {
            *out = text ? i : 0;
            fmp_buf_free(&all);
            return true;
        }
        fmp_buf_printf(&all, "%s%s", i ? ", " : "", words[i]);
    }
    fmp_cli_usage(cli, NULL, "--%s: expected one of %s, found '%s'", option, all.data ? all.data : "", text);
    fmp_buf_free(&all);
    return false;
}

static bool read_numbers(generator *g)
{
    const fmp_cli *cli = g->cli;
    uint64_t most = 256, top_k = 0, batch = 16;
    int cache = 0, precision = 0;
    if (!fmp_cli_number(cli, "max-new-tokens", 1048576, &most) ||
        !fmp_cli_number(cli, "top-k", 1048576, &top_k) ||
        !fmp_cli_number(cli, "seed", UINT64_MAX, &g->o.seed) || !fmp_cli_number(cli, "batch", 4096, &batch) ||
        !read_real(cli, "temperature", 0, 100, &g->o.temperature) ||
        !read_real(cli, "top-p", 0, 1, &g->o.top_p) || !read_real(cli, "min-p", 0, 1, &g->o.min_p) ||
        !read_word(cli, "cache", (const char *const[]){"f32", "bf16", "q8", NULL}, &cache) ||
        !read_word(cli, "precision", (const char *const[]){"f32", "bf16", NULL}, &precision)) {
        return false;
    }
    if (most == 0 || batch == 0) {
        fmp_cli_usage(cli, NULL, "--%s: expected 1 or more", most == 0 ? "max-new-tokens" : "batch");
        return false;
    }
    if (g->o.top_p == 0.0f && fmp_cli_option_value(cli, "top-p")) {
        g->o.top_p = FLT_MIN; /* the first alone; 0 would mean no such filter */
    }
    g->o.max_new_tokens = most;
    g->o.top_k = (uint32_t)top_k;
    g->o.max_batch = batch;
    g->o.cache = cache == 0 ? FMP_CACHE_F32 : cache == 1 ? FMP_CACHE_BF16 : FMP_CACHE_Q8;
    g->precision = precision == 0 ? FMP_PRECISION_F32 : FMP_PRECISION_BF16;
    return true;
}

static bool read_stops(generator *g)
{
    for (size_t i = 0; i < g->cli->n_given; i++) {
        if (strcmp(g->cli->given[i].name, "stop") != 0) { continue; }
        if (*g->cli->given[i].value == '\0') {
            fmp_cli_usage(g->cli, NULL, "--stop: expected a text, found an empty one");
            return false;
        }
        g->stop_text[g->stops.n++] = g->cli->given[i].value;
    }
    g->stops.text = g->stop_text;
    return true;
}

/* Without a temperature nothing is drawn, and a filter would be read for nothing. */
static int check_filters(const fmp_cli *cli)
{
    static const char *const filters[] = {"top-k", "top-p", "min-p"};
    for (size_t i = 0; i < 3 && !fmp_cli_option_value(cli, "temperature"); i++) {
        if (fmp_cli_option_value(cli, filters[i])) {
            return fmp_cli_usage(cli, "0 is the most likely token, 1 the model's own probabilities",
                                 "--%s chooses what is drawn from: it needs --temperature", filters[i]);
        }
    }
    return 0;
}

/* What is to be continued: exactly one of a prompt, a talk and a file. 0, or an exit code. */
static int read_options(generator *g)
{
    const fmp_cli *cli = g->cli;
    bool prompt = fmp_cli_option_value(cli, "prompt"), chat = fmp_cli_option_value(cli, "chat");
    g->raw = fmp_cli_option_value(cli, "raw");
    if (!fmp_cli_option_value(cli, "model")) {
        return fmp_cli_usage(cli, "a Hugging Face folder: config.json, *.safetensors, tokenizer.json",
                             "generate needs --model DIR");
    }
    if (prompt + chat + (cli->n_operands > 0) != 1) {
        return fmp_cli_usage(cli, "- reads rows from stdin",
                             "expected one of --prompt TEXT, --chat and a FILE of rows");
    }
    if (g->raw && (chat || fmp_cli_option_value(cli, "system") || fmp_cli_option_value(cli, "template"))) {
        return fmp_cli_usage(cli, NULL,
                             "--raw uses no chat template: it goes without --chat, --system and --template");
    }
    if (fmp_cli_option_value(cli, "tokenizer") && !g->raw) {
        return fmp_cli_usage(cli, NULL,
                             "--tokenizer goes with --raw: a chat template asks for the model's own");
    }
    if (!read_numbers(g) || !read_stops(g)) { return FMP_EXIT_USAGE; }
    return check_filters(cli);
}

/* ---- opening ---- */

static fmp_status add_stop(generator *g, uint32_t id, fmp_err *err)
{
    uint32_t *grown = realloc(g->stop_ids, (g->o.n_stop + 1) * sizeof *grown);
    if (!grown) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for the stop tokens"); }
    grown[g->o.n_stop++] = id;
    g->stop_ids = grown;
    g->o.stop = grown;
    return FMP_OK;
}

/* eos_token_id of generation_config.json: a number or several, as transformers stops at. */
static fmp_status add_generation_stops(generator *g, const char *dir, fmp_err *err)
{
    char *path = fmp_path_join(dir, "generation_config.json");
    cJSON *json = NULL;
    fmp_status status = path ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for a path");
    if (status == FMP_OK && fmp_path_exists(path)) { status = fmp_json_load(path, NULL, &json, err); }
    const cJSON *eos = fmp_json_get(json, "eos_token_id"), *one = cJSON_IsArray(eos) ? eos->child : eos;
    for (; status == FMP_OK && one; one = cJSON_IsArray(eos) ? one->next : NULL) {
        double id = -1.0;
        if (fmp_json_number(one, &id) && id >= 0.0 && id < (double)UINT32_MAX) {
            status = add_stop(g, (uint32_t)id, err);
        }
    }
    cJSON_Delete(json);
    free(path);
    return status;
}

static fmp_status open_raw(generator *g, const char *dir, fmp_err *err)
{
    const char *tokenizer = fmp_cli_option_value(g->cli, "tokenizer");
    int64_t eos = fmp_model_get_spec(g->model)->eos_id;
    FMP_TRY(fmp_tokenizer_load(tokenizer ? tokenizer : dir, &g->own_tok, err));
    g->tok = g->own_tok;
    if (eos >= 0) { FMP_TRY(add_stop(g, (uint32_t)eos, err)); }
    FMP_TRY(add_generation_stops(g, dir, err));
    uint32_t id = fmp_tokenizer_eos(g->tok);
    return id == FMP_TOKEN_NONE ? FMP_OK : add_stop(g, id, err);
}

static fmp_status open_texts(generator *g, const char *dir, fmp_err *err)
{
    if (g->raw) { return open_raw(g, dir, err); }
    size_t n = 0;
    FMP_TRY(fmp_chat_open(dir, fmp_cli_option_value(g->cli, "template"), &g->chat, err));
    const uint32_t *ids = fmp_chat_stops(g->chat, &n);
    for (size_t i = 0; i < n; i++) {
        FMP_TRY(add_stop(g, ids[i], err));
    }
    g->tok = fmp_chat_tokenizer(g->chat);
    return FMP_OK;
}

static fmp_status open_all(generator *g, fmp_err *err)
{
    const char *dir = fmp_cli_option_value(g->cli, "model"),
               *adapter = fmp_cli_option_value(g->cli, "adapter");
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    fmp_model_options o = {.n_threads =
                               g->cli->n_threads ? (int)g->cli->n_threads : (int)(cores > 0 ? cores : 1),
                           .precision = g->precision};
    g->arena = fmp_arena_new(0);
    g->scratch = fmp_tok_scratch_new();
    if (!g->arena || !g->scratch) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    FMP_TRY(fmp_chat_result_init(&g->encoded, err));
    FMP_TRY(fmp_model_open(dir, &o, &g->model, err));
    FMP_TRY(open_texts(g, dir, err));
    if (!adapter) { return FMP_OK; }
    fmp_status status = fmp_adapter_load(g->model, adapter, &g->adapter, err);
    return status == FMP_OK ? FMP_OK : fmp_err_note(err, "while opening adapter %s", adapter);
}

static void close_all(generator *g)
{
    for (size_t i = 0; i < g->n_texts; i++) {
        gen_text_free(&g->texts[i]);
    }
    free(g->texts);
    free(g->stop_ids);
    fmp_chat_result_free(&g->encoded);
    fmp_tok_scratch_free(g->scratch);
    fmp_tokenizer_free(g->own_tok);
    fmp_chat_free(g->chat);
    fmp_adapter_free(g->adapter);
    fmp_model_free(g->model);
    fmp_arena_free(g->arena);
}

/* ---- prompts ---- */

fmp_status gen_encode(generator *g, const cJSON *doc, const char *text, fmp_prompt *out, fmp_err *err)
{
    const fmp_token_list *list = &g->encoded.tokens;
    fmp_token_list plain = {0};
    fmp_status status;
    if (g->raw) {
        status = fmp_tokenizer_encode(g->tok, g->scratch, text, strlen(text), FMP_TOK_TEMPLATE, &plain, err);
        list = &plain;
    } else {
        const cJSON *messages = fmp_json_get(doc, "messages");
        size_t n = (size_t)cJSON_GetArraySize(messages);
        const cJSON *last = n > 0 ? cJSON_GetArrayItem(messages, (int)n - 1) : NULL;
        fmp_chat_options o = {.generation_prompt = true, .n_messages = n};
        if (last && strcmp(fmp_json_str(last, "role", ""), "assistant") == 0) { o.n_messages = n - 1; }
        status = o.n_messages > 0 ? fmp_chat_encode(g->chat, doc, &o, &g->encoded, err)
                                  : fmp_fail(err, FMP_E_DATA, "there is no message to answer");
    }
    size_t n = status == FMP_OK ? list->n : 0, most = fmp_model_get_spec(g->model)->max_positions;
    if (status == FMP_OK && n >= most) {
        status = fmp_fail(err, FMP_E_RANGE, "the prompt has %zu tokens; the model's positions end at %zu", n,
                          most);
    }
    if (status == FMP_OK && n == 0) {
        status = fmp_fail(err, FMP_E_DATA, "the prompt is empty: it has no token");
    }
    if (status == FMP_OK) {
        uint32_t *ids = fmp_arena_take(g->arena, n * sizeof *ids);
        status = fmp_arena_ok(g->arena, err);
        if (status == FMP_OK) { memcpy(ids, list->ids, n * sizeof *ids); }
        out->id = ids;
        out->n = n;
    }
    fmp_token_list_free(&plain);
    return status;
}

cJSON *gen_message(const char *role, const char *content)
{
    cJSON *m = cJSON_CreateObject();
    cJSON_AddStringToObject(m, "role", role);
    cJSON_AddStringToObject(m, "content", content);
    return m;
}

cJSON *gen_conversation(const generator *g, const char *user)
{
    const char *system = fmp_cli_option_value(g->cli, "system");
    cJSON *doc = cJSON_CreateObject(), *messages = cJSON_AddArrayToObject(doc, "messages");
    if (system) { cJSON_AddItemToArray(messages, gen_message("system", system)); }
    if (user) { cJSON_AddItemToArray(messages, gen_message("user", user)); }
    return doc;
}

/* ---- answers ---- */

/* Text of a model on a terminal: control characters, those beyond ASCII too, would be commands to it. */
static void put_for_terminal(const char *text, size_t len, fmp_buf *out)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i], next = i + 1 < len ? (unsigned char)text[i + 1] : 0;
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7F) {
            fmp_buf_printf(out, "\\x%02x", c);
        } else if (c == 0xC2 && next >= 0x80 && next < 0xA0) {
            fmp_buf_printf(out, "\\x%02x", next);
            i++;
        } else {
            fmp_buf_putc(out, (char)c);
        }
    }
}

/* What is new and certain of a text, on stdout. */
static void show_more(const generator *g, gen_text *t)
{
    const char *more = t->bytes.data + t->shown;
    size_t n = t->ready - t->shown;
    if (n == 0) { return; }
    t->shown = t->ready;
    if (g->cli->json) {
        char *copy = strndup(more, n);
        cJSON *line = cJSON_CreateObject();
        cJSON_AddNumberToObject(line, "v", 1);
        cJSON_AddStringToObject(line, "event", "text");
        cJSON_AddStringToObject(line, "text", copy ? copy : "");
        fmp_out_json(line);
        free(copy);
        return;
    }
    fmp_buf safe = {0};
    if (isatty(STDOUT_FILENO)) {
        put_for_terminal(more, n, &safe);
        if (!safe.failed) { fmp_out(safe.data, safe.len); }
    } else {
        fmp_out(more, n);
    }
    fmp_buf_free(&safe);
}

static bool is_stop(const generator *g, uint32_t id)
{
    for (size_t i = 0; i < g->o.n_stop; i++) {
        if (g->o.stop[i] == id) { return true; }
    }
    return false;
}

static fmp_status on_token(void *arg, size_t prompt, uint32_t id, bool *end, fmp_err *err)
{
    generator *g = arg;
    gen_text *t = &g->texts[prompt];
    if (is_stop(g, id)) { return FMP_OK; }
    FMP_TRY(gen_text_push(t, g->tok, &g->stops, id, err));
    if (g->stream) { show_more(g, t); }
    *end = t->cut || fmp_cli_stop;
    return FMP_OK;
}

static fmp_status take_texts(generator *g, size_t n, fmp_err *err)
{
    gen_text *grown = n > g->n_texts ? realloc(g->texts, n * sizeof *grown) : g->texts;
    if (!grown) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for %zu texts", n); }
    g->texts = grown;
    for (; g->n_texts < n; g->n_texts++) {
        g->texts[g->n_texts] = (gen_text){0};
    }
    for (size_t i = 0; i < n; i++) {
        gen_text_clear(&g->texts[i]);
    }
    return FMP_OK;
}

fmp_status gen_answer(generator *g, const fmp_prompt *prompts, size_t n, fmp_generated *out, fmp_err *err)
{
    double start = fmp_now();
    FMP_TRY(take_texts(g, n, err));
    g->o.on_token = on_token;
    g->o.on_token_arg = g;
    FMP_TRY(fmp_generate(g->model, g->adapter, prompts, n, &g->o, g->arena, out, err));
    for (size_t i = 0; i < n; i++) {
        FMP_TRY(gen_text_end(&g->texts[i], err));
        if (g->stream) { show_more(g, &g->texts[i]); }
        g->n_prompt_tokens += prompts[i].n;
        g->n_tokens += out[i].n;
    }
    g->n_answers += n;
    g->seconds += fmp_now() - start;
    return FMP_OK;
}

const char *gen_finish(const fmp_generated *answer, const gen_text *text)
{
    return answer->stopped || text->cut ? "stop" : answer->ended ? "interrupted" : "length";
}

cJSON *gen_event(uint64_t line, const char *id, const fmp_prompt *prompt, const fmp_generated *answer,
                 const gen_text *text)
{
    cJSON *event = cJSON_CreateObject();
    cJSON_AddNumberToObject(event, "v", 1);
    cJSON_AddStringToObject(event, "event", "answer");
    if (line > 0) { cJSON_AddNumberToObject(event, "line", (double)line); }
    if (id) { cJSON_AddStringToObject(event, "id", id); }
    cJSON_AddNumberToObject(event, "prompt_tokens", (double)prompt->n);
    cJSON_AddNumberToObject(event, "tokens", (double)answer->n);
    cJSON_AddStringToObject(event, "finish", gen_finish(answer, text));
    cJSON_AddStringToObject(event, "text", text->bytes.len > 0 ? text->bytes.data : "");
    return event;
}

/* ---- one prompt ---- */

static fmp_status answer_prompt(generator *g, fmp_err *err)
{
    const char *text = fmp_cli_option_value(g->cli, "prompt");
    cJSON *doc = g->raw ? NULL : gen_conversation(g, text);
    fmp_prompt prompt = {0};
    fmp_generated answer;
    fmp_status status = FMP_OK;
    if (fmp_utf8_invalid_at(text, strlen(text)) < strlen(text)) {
        status = fmp_fail(err, FMP_E_USAGE, "--prompt: the text is not valid UTF-8");
    }
    if (status == FMP_OK) { status = gen_encode(g, doc, text, &prompt, err); }
    cJSON_Delete(doc);
    FMP_TRY(status);
    g->stream = true;
    FMP_TRY(gen_answer(g, &prompt, 1, &answer, err));
    if (g->cli->json) {
        fmp_out_json(gen_event(0, NULL, &prompt, &answer, &g->texts[0]));
    } else {
        fmp_out("\n", 1);
    }
    return FMP_OK;
}

/* ---- talk ---- */

/* A line of stdin without its end; false at the end of input, or when asked to stop. */
static bool read_line(char **line, size_t *cap, size_t *len)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    if (isatty(STDIN_FILENO)) { /* a signal ends poll, but not getline */
        fmp_errf("> ");
        while (poll(&input, 1, -1) < 0 && errno == EINTR && !fmp_cli_stop) {}
        if (fmp_cli_stop) { return false; }
    }
    ssize_t n = getline(line, cap, stdin);
    if (n < 0) { return false; }
    *len = (size_t)n;
    while (*len > 0 && ((*line)[*len - 1] == '\n' || (*line)[*len - 1] == '\r')) {
        (*line)[--*len] = '\0';
    }
    return true;
}

/* One turn; when it cannot be asked, the history is as before. */
static fmp_status answer_turn(generator *g, cJSON *doc, const char *text, fmp_err *err)
{
    cJSON *messages = cJSON_GetObjectItemCaseSensitive(doc, "messages");
    fmp_prompt prompt = {.stream = g->n_answers};
    fmp_generated answer;
    cJSON_AddItemToArray(messages, gen_message("user", text));
    fmp_status status = gen_encode(g, doc, NULL, &prompt, err);
    if (status == FMP_OK) { status = gen_answer(g, &prompt, 1, &answer, err); }
    if (status != FMP_OK) {
        cJSON_DeleteItemFromArray(messages, cJSON_GetArraySize(messages) - 1);
        return status;
    }
    if (g->cli->json) {
        fmp_out_json(gen_event(0, NULL, &prompt, &answer, &g->texts[0]));
    } else {
        fmp_out("\n", 1);
    }
    cJSON_AddItemToArray(messages,
                         gen_message("assistant", g->texts[0].bytes.len > 0 ? g->texts[0].bytes.data : ""));
    fmp_cli_stop = 0; /* it has ended the answer; the talk goes on */
    fmp_arena_reset(g->arena, 1 << 20);
    return FMP_OK;
}

/* Of the talk only: too long, or not what the template takes. */
static bool can_go_on(fmp_status status)
{
    return status == FMP_E_RANGE || status == FMP_E_DATA;
}

static fmp_status talk(generator *g, fmp_err *err)
{
    cJSON *doc = gen_conversation(g, NULL);
    char *line = NULL;
    size_t cap = 0, len = 0;
    fmp_status status = FMP_OK;
    bool terminal = isatty(STDIN_FILENO);
    g->stream = true;
    if (terminal && !g->cli->quiet) {
        fmp_errf("/reset forgets what was said, /exit ends (so does Ctrl-D)\n");
    }
    while (status == FMP_OK && read_line(&line, &cap, &len)) {
        if (len == 0) { continue; }
        if (strcmp(line, "/exit") == 0) { break; }
        if (strcmp(line, "/reset") == 0) {
            cJSON_Delete(doc);
            doc = gen_conversation(g, NULL);
            continue;
        }
        status = memchr(line, '\0', len) || fmp_utf8_invalid_at(line, len) < len
                     ? fmp_fail(err, FMP_E_DATA, "what was typed is not valid UTF-8")
                     : answer_turn(g, doc, line, err);
        if (status == FMP_E_RANGE) { fmp_err_hint(err, "/reset forgets what was said"); }
        if (terminal && can_go_on(status)) {
            fmp_cli_fail(g->cli, err);
            status = FMP_OK;
        }
    }
    if (terminal && !g->cli->quiet) { fmp_errf("\n"); }
    free(line);
    cJSON_Delete(doc);
    return status;
}

/* ---- the command ---- */

static void say_speed(const generator *g)
{
    char a[32], b[32], c[32];
    if (g->cli->quiet || g->n_answers == 0) { return; }
    double rate = g->seconds > 0 ? (double)g->n_tokens / g->seconds : 0;
    if (g->cli->json) {
        cJSON *line = cJSON_CreateObject();
        cJSON_AddNumberToObject(line, "v", 1);
        cJSON_AddStringToObject(line, "event", "generate.end");
        cJSON_AddNumberToObject(line, "answers", (double)g->n_answers);
        cJSON_AddNumberToObject(line, "rejected", (double)g->n_rejected);
        cJSON_AddNumberToObject(line, "prompt_tokens", (double)g->n_prompt_tokens);
        cJSON_AddNumberToObject(line, "tokens", (double)g->n_tokens);
        snprintf(a, sizeof a, "%.3f", g->seconds);
        cJSON_AddRawToObject(line, "seconds", a);
        fmp_out_json(line);
        return;
    }
    fmp_errf("%s answer%s · prompts %s tokens · answers %s tokens · %.1f tokens/s\n",
             fmp_group_digits(g->n_answers, a), g->n_answers == 1 ? "" : "s",
             fmp_group_digits(g->n_prompt_tokens, b), fmp_group_digits(g->n_tokens, c), rate);
}

int fmp_late_generate(fmp_cli *cli)
{
    enum { INTERRUPTED = 130 };
    generator g = {.cli = cli};
    fmp_err err = FMP_ERR_INIT;
    int code = read_options(&g);
    if (code != 0) { return code; }
    fmp_status status = open_all(&g, &err);
    if (status == FMP_OK) {
        status = cli->n_operands > 0                 ? gen_rows(&g, cli->operands[0], &err)
                 : fmp_cli_option_value(cli, "chat") ? talk(&g, &err)
                                                     : answer_prompt(&g, &err);
    }
    if (status == FMP_OK) { say_speed(&g); }
    close_all(&g);
    if (status != FMP_OK) { return fmp_cli_fail(cli, &err); }
    return fmp_cli_stop ? INTERRUPTED : g.n_rejected > 0 ? fmp_exit_code(FMP_E_DATA) : 0;
}
