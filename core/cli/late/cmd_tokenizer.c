/*
 * cmd_tokenizer.c: `fmpipe tokenizer encode|decode|info|train|check`: a tokenizer at the command line,
 * exactly as the stages use it. train is in tokenizer_learn.c.
 */
#include "late.h"

#include <fmpipe/fs.h>
#include <fmpipe/golden.h>
#include <fmpipe/tokenizer.h>

#include <errno.h>
#include <stdlib.h>

#define MAX_INPUT ((size_t)512 << 20)

/* ---- stdin ---- */

static fmp_status read_all(fmp_buf *out, fmp_err *err)
{
    for (;;) {
        char *to = fmp_buf_grow(out, 65536);
        FMP_TRY(fmp_buf_ok(out, err));
        size_t n = fread(to, 1, 65536, stdin);
        out->len += n;
        out->data[out->len] = '\0';
        if (out->len > MAX_INPUT) {
            return fmp_fail(err, FMP_E_RANGE,
                            "expected at most 512 MiB on stdin; with --lines each line is a text");
        }
        if (n == 0) {
            return ferror(stdin) ? fmp_fail(err, FMP_E_IO, "cannot read stdin: %s", strerror(errno)) : FMP_OK;
        }
    }
}

/* Calls `each` with all of stdin, or with --lines for every line, without its line end. */
typedef fmp_status (*text_fn)(void *arg, char *text, size_t len, fmp_err *err);
static fmp_status for_each_text(const fmp_cli *cli, text_fn each, void *arg, fmp_err *err)
{
    if (!fmp_cli_option_value(cli, "lines")) {
        fmp_buf all = {0};
        fmp_status status = read_all(&all, err);
        if (status == FMP_OK) { status = each(arg, all.data, all.len, err); }
        fmp_buf_free(&all);
        return status;
    }
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    uint32_t number = 0;
    fmp_status status = FMP_OK;
    while (status == FMP_OK && (n = getline(&line, &cap, stdin)) >= 0) {
        number++;
        if (n > 0 && line[n - 1] == '\n') { line[--n] = '\0'; }
        status = each(arg, line, (size_t)n, err);
    }
    if (status == FMP_OK && ferror(stdin)) {
        status = fmp_fail(err, FMP_E_IO, "cannot read stdin: %s", strerror(errno));
    }
    free(line);
    if (status != FMP_OK && number > 0) { (void)fmp_err_note(err, "in line %u of stdin", number); }
    return status;
}

/* ---- encode ---- */

typedef struct encoder {
    const fmp_cli *cli;
    fmp_tokenizer *tok;
    fmp_tok_scratch *scratch;
    fmp_token_list list;
    unsigned flags;
    fmp_buf out;
} encoder;

static void add_numbers(fmp_buf *out, const uint32_t *numbers, size_t n, char separator)
{
    for (size_t i = 0; i < n; i++) {
        if (i > 0) { fmp_buf_putc(out, separator); }
        fmp_buf_printf(out, "%u", numbers[i]);
    }
}

static fmp_status add_json(encoder *e, fmp_err *err)
{
    fmp_buf_puts(&e->out, "{\"v\":1,\"ids\":[");
    add_numbers(&e->out, e->list.ids, e->list.n, ',');
    fmp_buf_puts(&e->out, "],\"offsets\":[");
    for (size_t i = 0; i < e->list.n; i++) {
        fmp_buf_printf(&e->out, "%s[%u,%u]", i > 0 ? "," : "", e->list.begin[i], e->list.end[i]);
    }
    fmp_buf_puts(&e->out, "],\"tokens\":[");
    for (size_t i = 0; i < e->list.n; i++) {
        const char *text = fmp_tokenizer_text(e->tok, e->list.ids[i]);
        cJSON *node = cJSON_CreateString(text ? text : "");
        if (i > 0) { fmp_buf_putc(&e->out, ','); }
        if (!node) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
        fmp_json_print(node, FMP_JSON_COMPACT, &e->out);
        cJSON_Delete(node);
    }
    fmp_buf_printf(&e->out, "],\"dropped_bytes\":%zu}\n", e->list.n_dropped);
    return FMP_OK;
}

static fmp_status encode_text(void *arg, char *text, size_t len, fmp_err *err)
{
    encoder *e = arg;
    e->list.n = 0;
    e->list.n_dropped = 0;
    e->out.len = 0;
    FMP_TRY(fmp_tokenizer_encode(e->tok, e->scratch, text ? text : "", len, e->flags, &e->list, err));
    if (e->cli->json) {
        FMP_TRY(add_json(e, err));
    } else {
        add_numbers(&e->out, e->list.ids, e->list.n, ' ');
        fmp_buf_putc(&e->out, '\n');
        if (e->list.n_dropped > 0) {
            fmp_errf("warning: %zu bytes have no token in this vocabulary and were left out\n",
                     e->list.n_dropped);
        }
    }
    FMP_TRY(fmp_buf_ok(&e->out, err));
    fmp_out(e->out.data, e->out.len);
    return FMP_OK;
}

static fmp_status encode(const fmp_cli *cli, fmp_tokenizer *tok, fmp_err *err)
{
    encoder e = {.cli = cli, .tok = tok, .scratch = fmp_tok_scratch_new()};
    if (fmp_cli_option_value(cli, "special")) { e.flags |= FMP_TOK_SPECIAL; }
    if (fmp_cli_option_value(cli, "add-special")) { e.flags |= FMP_TOK_TEMPLATE; }
    fmp_status status =
        e.scratch ? for_each_text(cli, encode_text, &e, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    fmp_tok_scratch_free(e.scratch);
    fmp_token_list_free(&e.list);
    fmp_buf_free(&e.out);
    return status;
}

/* ---- decode ---- */

typedef struct decoder {
    const fmp_cli *cli;
    const fmp_tokenizer *tok;
    unsigned flags;
    fmp_buf ids, out; /* ids: u32 */
} decoder;

/* Ids separated by spaces, commas or brackets. */
static fmp_status read_ids(const char *at, uint32_t size, fmp_buf *ids, fmp_err *err)
{
    static const char between[] = " \t\r\n,[]";
    ids->len = 0;
    for (size_t index = 1;; index++) {
        at += strspn(at, between);
        if (*at == '\0') { return fmp_buf_ok(ids, err); }
        size_t n = strspn(at, "0123456789"), word = strcspn(at, between);
        unsigned long long value = n > 0 && n < 11 ? strtoull(at, NULL, 10) : UINT64_MAX;
        if (n != word || value >= size) {
            return fmp_fail(err, FMP_E_DATA, "id %zu: expected a number below %u, found '%.*s'", index, size,
                            (int)(word < 40 ? word : 40), at);
        }
        uint32_t id = (uint32_t)value;
        fmp_buf_add(ids, &id, sizeof id);
        at += n;
    }
}

static void print_decoded(const decoder *d)
{
    fmp_buf shown = {0};
    cJSON *line = cJSON_CreateObject();
    const char *text = d->out.data ? d->out.data : "";
    fmp_token_view_text(text, 0, d->out.len, &shown);
    cJSON_AddNumberToObject(line, "v", 1);
    cJSON_AddStringToObject(line, "text", shown.data && !shown.failed ? shown.data : "");
    cJSON_AddBoolToObject(line, "valid_utf8", fmp_utf8_invalid_at(text, d->out.len) == d->out.len);
    fmp_out_json(line);
    fmp_buf_free(&shown);
}

static fmp_status decode_text(void *arg, char *text, size_t len, fmp_err *err)
{
    decoder *d = arg;
    d->out.len = 0;
    if (text && strlen(text) != len) {
        return fmp_fail(err, FMP_E_DATA, "expected token ids, found a NUL byte");
    }
    FMP_TRY(read_ids(text ? text : "", fmp_tokenizer_size(d->tok), &d->ids, err));
    if (d->ids.len > 0) {
        const uint32_t *ids = (const uint32_t *)(const void *)d->ids.data;
        FMP_TRY(fmp_tokenizer_decode(d->tok, ids, d->ids.len / sizeof *ids, d->flags, &d->out, err));
    }
    if (d->cli->json) {
        print_decoded(d);
        return FMP_OK;
    }
    if (fmp_cli_option_value(d->cli, "lines")) { fmp_buf_putc(&d->out, '\n'); }
    FMP_TRY(fmp_buf_ok(&d->out, err));
    if (d->out.len > 0) { fmp_out(d->out.data, d->out.len); }
    return FMP_OK;
}

static fmp_status decode(const fmp_cli *cli, fmp_tokenizer *tok, fmp_err *err)
{
    decoder d = {.cli = cli, .tok = tok};
    if (fmp_cli_option_value(cli, "skip-special")) { d.flags |= FMP_TOK_SKIP_SPECIAL; }
    fmp_status status = for_each_text(cli, decode_text, &d, err);
    fmp_buf_free(&d.ids);
    fmp_buf_free(&d.out);
    return status;
}

/* ---- info ---- */

typedef struct role {
    const char *name;
    uint32_t id;
} role;

enum { N_ROLES = 4 };

static void find_roles(const fmp_tokenizer *tok, role out[N_ROLES])
{
    out[0] = (role){"bos", fmp_tokenizer_bos(tok)};
    out[1] = (role){"eos", fmp_tokenizer_eos(tok)};
    out[2] = (role){"pad", fmp_tokenizer_pad(tok)};
    out[3] = (role){"unk", fmp_tokenizer_unk(tok)};
}

static void info_json(const char *path, const fmp_tokenizer *tok, uint32_t n_tokens)
{
    role roles[N_ROLES];
    cJSON *line = cJSON_CreateObject();
    find_roles(tok, roles);
    cJSON_AddNumberToObject(line, "v", 1);
    cJSON_AddStringToObject(line, "tokenizer", path);
    cJSON_AddStringToObject(line, "sha256", fmp_tokenizer_digest(tok));
    cJSON_AddNumberToObject(line, "size", fmp_tokenizer_size(tok));
    cJSON_AddNumberToObject(line, "tokens", n_tokens);
    for (int i = 0; i < N_ROLES; i++) {
        if (roles[i].id == FMP_TOKEN_NONE) { continue; }
        cJSON_AddNumberToObject(line, roles[i].name, roles[i].id);
    }
    cJSON *special = cJSON_AddArrayToObject(line, "special");
    for (uint32_t id = 0; id < fmp_tokenizer_size(tok); id++) {
        if (!fmp_tokenizer_is_special(tok, id)) { continue; }
        cJSON *one = cJSON_CreateObject();
        cJSON_AddNumberToObject(one, "id", id);
        cJSON_AddStringToObject(one, "text", fmp_tokenizer_text(tok, id));
        cJSON_AddItemToArray(special, one);
    }
    fmp_out_json(line);
}

static void info_text(const char *path, const fmp_tokenizer *tok, uint32_t n_tokens)
{
    enum { SHOWN = 40 };
    role roles[N_ROLES];
    char digits[32];
    uint32_t n_special = 0;
    fmp_buf out = {0};
    find_roles(tok, roles);
    fmp_buf_printf(&out, "tokenizer  %s\nsha256     %s\ntokens     %s", path, fmp_tokenizer_digest(tok),
                   fmp_group_digits(n_tokens, digits));
    if (fmp_tokenizer_size(tok) != n_tokens) {
        fmp_buf_printf(&out, " (ids up to %s)", fmp_group_digits(fmp_tokenizer_size(tok) - 1, digits));
    }
    fmp_buf_putc(&out, '\n');
    for (int i = 0; i < N_ROLES; i++) {
        const char *text = roles[i].id == FMP_TOKEN_NONE ? NULL : fmp_tokenizer_text(tok, roles[i].id);
        fmp_buf_printf(&out, "%-10s ", roles[i].name);
        if (text) { fmp_buf_printf(&out, "%-7u ", roles[i].id); }
        fmp_buf_safe(&out, text ? text : "none");
        fmp_buf_putc(&out, '\n');
    }
    for (uint32_t id = 0; id < fmp_tokenizer_size(tok); id++) {
        if (!fmp_tokenizer_is_special(tok, id) || n_special++ >= SHOWN) { continue; }
        fmp_buf_printf(&out, "%-10s %-7u ", n_special == 1 ? "special" : "", id);
        fmp_buf_safe(&out, fmp_tokenizer_text(tok, id));
        fmp_buf_putc(&out, '\n');
    }
    if (n_special > SHOWN) { fmp_buf_printf(&out, "%-10s … and %u more\n", "", n_special - SHOWN); }
    if (!out.failed) { fmp_out(out.data, out.len); }
    fmp_buf_free(&out);
}

static fmp_status info(const fmp_cli *cli, fmp_tokenizer *tok, fmp_err *err)
{
    const char *path = fmp_cli_option_value(cli, "tokenizer");
    uint32_t n_tokens = 0;
    (void)err;
    for (uint32_t id = 0; id < fmp_tokenizer_size(tok); id++) {
        n_tokens += fmp_tokenizer_text(tok, id) != NULL;
    }
    if (cli->json) {
        info_json(path, tok, n_tokens);
    } else {
        info_text(path, tok, n_tokens);
    }
    return FMP_OK;
}

/* ---- check ---- */

/* Where a template given by no option stands in a model's folder; NULL: nowhere that is looked at here. On the heap. */
static char *template_file(const char *model)
{
    static const char *const names[] = {"chat_template.jinja", "chat_template.json", "tokenizer_config.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = fmp_path_join(model, names[i]);
        if (path && fmp_path_exists(path)) { return path; }
        free(path);
    }
    return NULL;
}

/* Add which file an error of the comparison is about. */
static fmp_status name_file(const fmp_cli *cli, fmp_status status, fmp_err *err)
{
    const char *model = fmp_cli_option_value(cli, "tokenizer"),
               *given = fmp_cli_option_value(cli, "template");
    char *file = NULL;
    if (status != FMP_E_MISMATCH) { return status; }
    if (strncmp(err->message, "the tokenizer", strlen("the tokenizer")) == 0) {
        if (fmp_tokenizer_file(model, &file, NULL) != FMP_OK) { return status; }
    } else if (!given) {
        file = template_file(model);
    }
    if (file || given) { (void)fmp_err_note(err, "while comparing %s", file ? file : given); }
    free(file);
    return status;
}

/*
 * The golden conversations of an adapter or of tokens, and the digests there, against the tokenizer and template of a model
 * folder.
 */
static fmp_status check_golden(const fmp_cli *cli, fmp_err *err)
{
    const char *model = fmp_cli_option_value(cli, "tokenizer"), *golden = cli->operands[1];
    fmp_chat *chat = NULL;
    size_t n = 0;
    fmp_status status = fmp_chat_open(model, fmp_cli_option_value(cli, "template"), &chat, err);
    if (status == FMP_OK) { status = fmp_golden_check(chat, golden, FMP_GOLDEN_DIGESTS, &n, err); }
    fmp_chat_free(chat);
    if (status != FMP_OK) { return name_file(cli, status, err); }
    if (!cli->json) {
        fmp_outf("%zu golden conversation%s: same text, same ids\n", n, n == 1 ? "" : "s");
        return FMP_OK;
    }
    cJSON *line = cJSON_CreateObject();
    cJSON_AddNumberToObject(line, "v", 1);
    cJSON_AddStringToObject(line, "event", "tokenizer.check");
    cJSON_AddBoolToObject(line, "ok", true);
    cJSON_AddNumberToObject(line, "conversations", (double)n);
    fmp_out_json(line);
    return FMP_OK;
}

static int check(const fmp_cli *cli)
{
    fmp_err err = FMP_ERR_INIT;
    return check_golden(cli, &err) == FMP_OK ? 0 : fmp_cli_fail(cli, &err);
}

/* ---- dispatch ---- */

static const struct {
    const char *name;
    fmp_status (*with)(const fmp_cli *cli, fmp_tokenizer *tok, fmp_err *err); /* with the tokenizer loaded */
    int (*alone)(const fmp_cli *cli);
    bool needs_tokenizer;
    size_t min_operands, max_operands;
    const char *operands; /* for messages */
    const char *options;  /* that it reads */
} actions[] = {
    {"encode", encode, NULL, true, 1, 1, "no file: the text is read from stdin",
     "tokenizer lines special add-special"},
    {"decode", decode, NULL, true, 1, 1, "no file: the ids are read from stdin",
     "tokenizer lines skip-special"},
    {"info", info, NULL, true, 1, 1, "nothing more", "tokenizer"},
    {"check", NULL, check, true, 2, 2, "the folder of an adapter, or of tokens", "tokenizer template"},
    {"train", NULL, fmp_tokenizer_learn, false, 2, FMP_CLI_MAX_GIVEN, "text or .jsonl files",
     "out vocab-size special-token bos eos pad pattern min-count field"}};

static int run_action(const fmp_cli *cli, size_t i)
{
    const char *path = fmp_cli_option_value(cli, "tokenizer");
    fmp_err err = FMP_ERR_INIT;
    fmp_tokenizer *tok = NULL;
    if (cli->n_operands < actions[i].min_operands || cli->n_operands > actions[i].max_operands) {
        return fmp_cli_usage(cli, NULL, "tokenizer %s: expected %s", actions[i].name, actions[i].operands);
    }
    char what[32];
    snprintf(what, sizeof what, "tokenizer %s", actions[i].name);
    if (!fmp_cli_only(cli, what, actions[i].options)) { return FMP_EXIT_USAGE; }
    if (!path && actions[i].needs_tokenizer) {
        return fmp_cli_usage(cli, "give a tokenizer file, or the folder of a model",
                             "tokenizer %s needs --tokenizer PATH", actions[i].name);
    }
    if (actions[i].alone) { return actions[i].alone(cli); }
    fmp_status status = fmp_tokenizer_load(path, &tok, &err);
    if (status == FMP_OK) { status = actions[i].with(cli, tok, &err); }
    fmp_tokenizer_free(tok);
    return status == FMP_OK ? 0 : fmp_cli_fail(cli, &err);
}

int fmp_late_tokenizer(fmp_cli *cli)
{
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (strcmp(cli->operands[0], actions[i].name) == 0) { return run_action(cli, i); }
    }
    return fmp_cli_usage(cli, NULL, "expected encode, decode, info, train or check, found '%.40s'",
                         cli->operands[0]);
}
