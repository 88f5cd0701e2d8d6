/*
 * cmd_render.c: `fmpipe render`: a chat template over a context, as Python's jinja2 and transformers would
 * write it, and on demand where each piece of the output came from; with --facts, what a template accepts.
 */
#include "cli.h"

#include <fmpipe/chat.h>
#include <fmpipe/fs.h>
#include <fmpipe/json.h>

#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

int fmp_late_render(fmp_cli *cli);

typedef struct rendering {
    const fmp_cli *cli;
    const char *what; /* --template */
    char *text;
    fmp_template *tmpl;
    cJSON *context;
    fmp_template_options options;
    fmp_rendered out;
} rendering;

/* ---- the context ---- */

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* bos_token and the like from a file of a model folder, unless the context has them. */
static fmp_status add_tokens(const char *dir, const char *name, cJSON *context, fmp_err *err)
{
    char *path = fmp_path_join(dir, name);
    cJSON *json = NULL;
    const cJSON *c;
    if (!path) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    fmp_status status = fmp_path_exists(path) ? fmp_json_load(path, NULL, &json, err) : FMP_OK;
    cJSON_ArrayForEach(c, json)
    {
        const char *text = cJSON_IsString(c) ? c->valuestring : fmp_json_str(c, "content", NULL);
        size_t n = strlen(c->string);
        bool token = n > 6 && strcmp(c->string + n - 6, "_token") == 0;
        if (token && text && !fmp_json_get(context, c->string)) {
            cJSON_AddStringToObject(context, c->string, text);
        }
    }
    cJSON_Delete(json);
    free(path);
    return status;
}

/* A row of messages alone is a context, too. */
static fmp_status read_context(rendering *r, const char *path, fmp_err *err)
{
    FMP_TRY(fmp_json_load(path, NULL, &r->context, err));
    if (cJSON_IsArray(r->context)) {
        cJSON *object = cJSON_CreateObject();
        if (!object) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
        cJSON_AddItemToObject(object, "messages", r->context);
        r->context = object;
    }
    if (!cJSON_IsObject(r->context)) {
        fmp_fail(err, FMP_E_DATA, "%s: expected an object of template variables, or an array of messages",
                 path);
        return fmp_err_hint(err, "for example {\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}");
    }
    if (fmp_cli_option_value(r->cli, "generation-prompt")) {
        cJSON_DeleteItemFromObjectCaseSensitive(r->context, "add_generation_prompt");
        cJSON_AddTrueToObject(r->context, "add_generation_prompt");
    }
    if (!is_folder(r->what)) { return FMP_OK; }
    FMP_TRY(add_tokens(r->what, "tokenizer_config.json", r->context, err));
    return add_tokens(r->what, "special_tokens_map.json", r->context, err);
}

static fmp_status read_date(rendering *r, fmp_err *err)
{
    const char *text = fmp_cli_option_value(r->cli, "date");
    struct tm day = {0};
    if (!text) { return FMP_OK; }
    const char *end = strptime(text, "%Y-%m-%d", &day);
    if (!end || *end) {
        return fmp_fail(err, FMP_E_USAGE, "--date: expected a day such as 2024-07-26, found '%s'", text);
    }
    r->options.has_now = true;
    r->options.now_unix = (int64_t)timegm(&day);
    return FMP_OK;
}

/* ---- output ---- */

static const char *kind_name(const fmp_span *s)
{
    return s->kind == FMP_SPAN_LITERAL ? "template" : s->kind == FMP_SPAN_COMPUTED ? "computed" : "input";
}

static void add_source(fmp_buf *line, const fmp_rendered *r, const fmp_span *s)
{
    fmp_buf_safe(line, s->kind == FMP_SPAN_INPUT ? r->paths[s->path] : kind_name(s));
    if (s->kind == FMP_SPAN_INPUT && s->src != FMP_SPAN_NO_SRC && s->src > 0) {
        fmp_buf_printf(line, " from %zu", s->src);
    }
    if (s->generation) { fmp_buf_puts(line, " (generation)"); }
}

/* A line for each span: bytes, source, text as a JSON string. */
static fmp_status print_spans(const fmp_rendered *r, fmp_err *err)
{
    fmp_buf out = {0};
    for (size_t i = 0; i < r->n_spans; i++) {
        const fmp_span *s = &r->spans[i];
        fmp_buf source = {0}, text = {0};
        add_source(&source, r, s);
        fmp_buf_add(&text, r->text.data + s->begin, s->end - s->begin);
        cJSON *string = cJSON_CreateString(text.data ? text.data : "");
        fmp_buf_printf(&out, "%7zu %7zu  ", s->begin, s->end);
        fmp_buf_padded(&out, source.data ? source.data : "", 40);
        fmp_buf_putc(&out, ' ');
        fmp_json_print(string, FMP_JSON_COMPACT, &out);
        fmp_buf_putc(&out, '\n');
        cJSON_Delete(string);
        fmp_buf_free(&source);
        fmp_buf_free(&text);
    }
    fmp_status status = fmp_buf_ok(&out, err);
    if (status == FMP_OK && out.data) { fmp_out(out.data, out.len); }
    fmp_buf_free(&out);
    return status;
}

static cJSON *span_json(const fmp_rendered *r, const fmp_span *s)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "begin", (double)s->begin);
    cJSON_AddNumberToObject(o, "end", (double)s->end);
    cJSON_AddStringToObject(o, "kind", kind_name(s));
    if (s->kind == FMP_SPAN_INPUT) {
        cJSON_AddStringToObject(o, "path", r->paths[s->path]);
        if (s->src != FMP_SPAN_NO_SRC) { cJSON_AddNumberToObject(o, "at", (double)s->src); }
    }
    if (s->generation) { cJSON_AddTrueToObject(o, "generation"); }
    return o;
}

static void print_json(const fmp_rendered *r, bool spans)
{
    cJSON *line = cJSON_CreateObject();
    cJSON_AddNumberToObject(line, "v", 1);
    cJSON_AddStringToObject(line, "text", r->text.data ? r->text.data : "");
    cJSON *list = spans ? cJSON_AddArrayToObject(line, "spans") : NULL;
    for (size_t i = 0; list && i < r->n_spans; i++) {
        cJSON_AddItemToArray(list, span_json(r, &r->spans[i]));
    }
    fmp_out_json(line);
}

/* ---- facts ---- */

static void print_facts(const fmp_cli *cli, cJSON *facts)
{
    const cJSON *c;
    if (cli->json) {
        cJSON_AddNumberToObject(facts, "v", 1);
        fmp_out_json(facts);
        return;
    }
    cJSON_ArrayForEach(c, facts)
    {
        fmp_buf line = {0};
        fmp_buf_padded(&line, c->string, 18);
        if (cJSON_IsString(c)) {
            fmp_buf_puts(&line, c->valuestring);
        } else if (cJSON_IsBool(c)) {
            fmp_buf_puts(&line, cJSON_IsTrue(c) ? "yes" : "no");
        } else {
            fmp_json_print(c, FMP_JSON_SPACED, &line);
        }
        fmp_buf_putc(&line, '\n');
        if (!line.failed) { fmp_out(line.data, line.len); }
        fmp_buf_free(&line);
    }
    cJSON_Delete(facts);
}

static fmp_status show_facts(const fmp_cli *cli, const char *what, fmp_err *err)
{
    fmp_chat *chat = NULL;
    bool folder = is_folder(what);
    const fmp_chat_open_options o = {.template_ = folder ? NULL : what,
                                     .template_name = fmp_cli_option_value(cli, "template-name")};
    FMP_TRY(fmp_chat_open_with(folder ? what : NULL, &o, &chat, err));
    cJSON *facts = fmp_chat_facts(chat);
    fmp_chat_free(chat);
    if (!facts) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    print_facts(cli, facts);
    return FMP_OK;
}

/* ---- the command ---- */

static fmp_status render(rendering *r, const char *context, fmp_err *err)
{
    bool spans = fmp_cli_option_value(r->cli, "provenance") != NULL;
    FMP_TRY(read_date(r, err));
    FMP_TRY(fmp_chat_read_template(r->what, fmp_cli_option_value(r->cli, "template-name"), &r->text, err));
    FMP_TRY(fmp_template_parse(r->text, strlen(r->text), r->what, &r->tmpl, err));
    FMP_TRY(read_context(r, context, err));
    FMP_TRY(fmp_template_render(r->tmpl, r->context, &r->options, &r->out, err));
    if (r->cli->json) {
        print_json(&r->out, spans);
        return FMP_OK;
    }
    if (spans) { return print_spans(&r->out, err); }
    if (r->out.text.data) { fmp_out(r->out.text.data, r->out.text.len); }
    return FMP_OK;
}

int fmp_late_render(fmp_cli *cli)
{
    const char *what = fmp_cli_option_value(cli, "template"), *context = fmp_cli_option_value(cli, "context");
    bool facts = fmp_cli_option_value(cli, "facts") != NULL;
    fmp_err err = FMP_ERR_INIT;
    if (!what) {
        return fmp_cli_usage(cli, "a .jinja file, the folder of a model, or fm-chat",
                             "render needs --template");
    }
    if (!context && !facts) {
        return fmp_cli_usage(cli, NULL, "render needs --context FILE.json, or --facts");
    }
    rendering r = {.cli = cli, .what = what};
    fmp_status status = facts ? show_facts(cli, what, &err) : render(&r, context, &err);
    fmp_rendered_free(&r.out);
    fmp_template_free(r.tmpl);
    cJSON_Delete(r.context);
    free(r.text);
    return status == FMP_OK ? 0 : fmp_cli_fail(cli, &err);
}
