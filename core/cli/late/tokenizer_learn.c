/*
 * tokenizer_learn.c: `fmpipe tokenizer train`: a byte-level BPE vocabulary from text or .jsonl files.
 *
 * A text file is given to the trainer in blocks of about 4 MiB that end at a line's end; of a .jsonl row,
 * the field --field, or the content of every message. To learn from conversations as a chat template
 * renders them, use the stage tokenizer.train.
 */
#include "late.h"

#include <fmpipe/tokenizer.h>

#include <errno.h>
#include <stdlib.h>

enum { BLOCK = 4 << 20, MAX_SPECIAL = 256 };

typedef struct feed {
    const fmp_cli *cli;
    const char *field;
    size_t next_file;
    FILE *in;
    const char *path;
    bool jsonl;
    fmp_buf block; /* of a text file: the block, and behind it the start of the next one */
    size_t given;  /* bytes of `block` handed out already                              */
    char *line;
    size_t line_cap;
    uint32_t number;
    cJSON *row;
    const cJSON *message; /* the next one of the row, or NULL */
    uint64_t n_texts, n_bytes;
} feed;

static fmp_status cannot_read(const feed *f, fmp_err *err)
{
    (void)fmp_fail(err, FMP_E_IO, "cannot read the file: %s", strerror(errno));
    return fmp_err_at(err, f->path, 0, 0, UINT64_MAX);
}

static fmp_status open_next(feed *f, fmp_err *err)
{
    f->path = f->cli->operands[f->next_file++];
    size_t n = strlen(f->path);
    f->jsonl = n > 6 && strcmp(f->path + n - 6, ".jsonl") == 0;
    f->number = 0;
    f->given = f->block.len = 0;
    f->in = fopen(f->path, "re");
    return f->in ? FMP_OK : cannot_read(f, err);
}

static void close_file(feed *f)
{
    if (f->in) { fclose(f->in); }
    f->in = NULL;
}

/* *text NULL: the end of the file. */
static fmp_status next_block(feed *f, const char **text, size_t *len, fmp_err *err)
{
    *text = NULL;
    if (f->given > 0) { /* what was left behind the last line's end moves to the front */
        f->block.len -= f->given;
        memmove(f->block.data, f->block.data + f->given, f->block.len);
        f->given = 0;
    }
    size_t at = f->block.len,
           n = at < BLOCK ? BLOCK - at : BLOCK; /* a line longer than a block: the block grows */
    char *to = fmp_buf_grow(&f->block, n);
    FMP_TRY(fmp_buf_ok(&f->block, err));
    size_t got = fread(to, 1, n, f->in);
    if (got < n && ferror(f->in)) { return cannot_read(f, err); }
    f->block.len = at + got;
    size_t end = f->block.len;
    while (got == n && end > 0 && f->block.data[end - 1] != '\n') {
        end--;
    }
    if (got == n && end == 0) { return next_block(f, text, len, err); }
    if (end == 0) { return FMP_OK; }
    *text = f->block.data;
    *len = f->given = end;
    return FMP_OK;
}

static fmp_status bad_row(const feed *f, fmp_err *err)
{
    (void)fmp_fail(err, FMP_E_DATA, "expected an object with a text '%s', or with messages", f->field);
    (void)fmp_err_at(err, f->path, f->number, 1, UINT64_MAX);
    return fmp_err_hint(err, "name the member that holds the text with --field");
}

/* Parses the next row into f->row; *done at the end of the file. */
static fmp_status next_row(feed *f, bool *done, fmp_err *err)
{
    ssize_t n;
    do {
        n = getline(&f->line, &f->line_cap, f->in);
        f->number++;
    } while (n > 0 && strspn(f->line, " \t\r\n") == (size_t)n);
    *done = n < 0;
    if (n < 0) { return ferror(f->in) ? cannot_read(f, err) : FMP_OK; }
    cJSON_Delete(f->row);
    f->row = NULL;
    if (fmp_json_parse(f->line, (size_t)n, NULL, &f->row, err) != FMP_OK) {
        uint32_t column = err ? err->column : 0;
        return fmp_err_at(err, f->path, f->number, column, UINT64_MAX);
    }
    return FMP_OK;
}

static fmp_status next_json_text(feed *f, const char **text, fmp_err *err)
{
    *text = NULL;
    for (bool done = false; !*text;) {
        for (; f->message && !*text; f->message = f->message->next) {
            *text = fmp_json_str(f->message, "content", NULL);
        }
        if (*text) { return FMP_OK; }
        FMP_TRY(next_row(f, &done, err));
        if (done) { return FMP_OK; }
        const cJSON *messages = cJSON_IsArray(f->row) ? f->row : fmp_json_get(f->row, "messages");
        *text = fmp_json_str(f->row, f->field, NULL);
        f->message = *text || !cJSON_IsArray(messages) ? NULL : messages->child;
        if (!*text && !cJSON_IsArray(messages)) { return bad_row(f, err); }
    }
    return FMP_OK;
}

static fmp_status next_text(void *arg, const char **text, size_t *len, fmp_err *err)
{
    feed *f = arg;
    *text = NULL;
    for (;;) {
        if (!f->in) {
            if (f->next_file == f->cli->n_operands) { return FMP_OK; }
            FMP_TRY(open_next(f, err));
        }
        FMP_TRY(f->jsonl ? next_json_text(f, text, err) : next_block(f, text, len, err));
        if (*text) { break; }
        close_file(f);
    }
    if (f->jsonl) { *len = strlen(*text); }
    f->n_texts++;
    f->n_bytes += *len;
    return FMP_OK;
}

static const char *pattern_of(const fmp_cli *cli)
{
    const char *name = fmp_cli_option_value(cli, "pattern");
    if (!name || strcmp(name, "fm") == 0) { return FMP_TOK_PATTERN_FM; }
    return strcmp(name, "gpt2") == 0 ? FMP_TOK_PATTERN_GPT2 : name;
}

static void report(const feed *f, const char *dir, const char *text)
{
    char texts[32], bytes[32];
    if (f->cli->json) {
        cJSON *line = cJSON_CreateObject();
        cJSON_AddNumberToObject(line, "v", 1);
        cJSON_AddStringToObject(line, "event", "tokenizer.train");
        cJSON_AddStringToObject(line, "dir", dir);
        cJSON_AddStringToObject(line, "sha256", text);
        cJSON_AddNumberToObject(line, "texts", (double)f->n_texts);
        cJSON_AddNumberToObject(line, "bytes", (double)f->n_bytes);
        fmp_out_json(line);
        return;
    }
    fmp_outf("%s/tokenizer.json from %s of text in %s pieces · sha256:%.12s\n", dir,
             fmp_human_bytes((double)f->n_bytes, bytes), fmp_group_digits(f->n_texts, texts), text);
}

static fmp_status learn(feed *f, const fmp_tok_train_options *o, const char *dir, fmp_err *err)
{
    fmp_tokenizer *tok = NULL;
    fmp_status status = fmp_tokenizer_train(o, next_text, f, dir, err);
    if (status == FMP_OK) { status = fmp_tokenizer_load(dir, &tok, err); } /* what was written reads back */
    if (status == FMP_OK) { report(f, dir, fmp_tokenizer_digest(tok)); }
    fmp_tokenizer_free(tok);
    return status;
}

int fmp_tokenizer_learn(const fmp_cli *cli)
{
    uint64_t vocab_size = 4096, min_count = 2;
    const char *dir = fmp_cli_option_value(cli, "out"), *special[MAX_SPECIAL];
    fmp_err err = FMP_ERR_INIT;
    fmp_tok_train_options o = {.special = special, .pattern = pattern_of(cli)};
    feed f = {.cli = cli, .field = fmp_cli_option_value(cli, "field"), .next_file = 1};
    if (!f.field) { f.field = "text"; }
    if (!dir) { return fmp_cli_usage(cli, NULL, "tokenizer train needs --out DIR"); }
    for (size_t i = 0; i < cli->n_given; i++) {
        if (strcmp(cli->given[i].name, "special-token") != 0) { continue; }
        if (o.n_special == MAX_SPECIAL) {
            return fmp_cli_usage(cli, NULL, "expected at most %d special tokens", MAX_SPECIAL);
        }
        special[o.n_special++] = cli->given[i].value;
    }
    if (!fmp_cli_number(cli, "vocab-size", 1000000, &vocab_size) ||
        !fmp_cli_number(cli, "min-count", 1000000000, &min_count)) {
        return FMP_EXIT_USAGE;
    }
    o.vocab_size = (uint32_t)vocab_size;
    o.min_count = min_count;
    o.bos = fmp_cli_option_value(cli, "bos");
    o.eos = fmp_cli_option_value(cli, "eos");
    o.pad = fmp_cli_option_value(cli, "pad");
    fmp_status status = learn(&f, &o, dir, &err);
    close_file(&f);
    fmp_buf_free(&f.block);
    free(f.line);
    cJSON_Delete(f.row);
    return status == FMP_OK ? 0 : fmp_cli_fail(cli, &err);
}
