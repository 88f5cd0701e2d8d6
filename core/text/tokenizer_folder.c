/*
 * tokenizer_folder.c: tokenizers that are not one file: GPT-2's pair of vocabulary and merges, and which file of a folder
 * is the tokenizer.
 */
#include "tokenizer_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fmpipe/fs.h>
#include <stdlib.h>

/* A merge a line, after a line that begins with "#version"; written as a JSON array of strings. */
static void merges_as_json(const char *s, size_t len, fmp_buf *out)
{
    bool first = true;
    fmp_buf_putc(out, '[');
    for (size_t at = 0; at < len;) {
        const char *end = memchr(s + at, '\n', len - at);
        size_t next = end ? (size_t)(end - s) : len, n = next - at;
        if (n > 0 && s[at + n - 1] == '\r') { n--; }
        bool comment = at == 0 && n >= 8 && memcmp(s, "#version", 8) == 0;
        if (n > 0 && !comment) {
            fmp_buf_puts(out, first ? "\"" : ",\"");
            for (size_t i = at; i < at + n; i++) {
                if (s[i] == '"' || s[i] == '\\') { fmp_buf_putc(out, '\\'); }
                fmp_buf_putc(out, s[i]);
            }
            fmp_buf_putc(out, '"');
            first = false;
        }
        at = next + 1;
    }
    fmp_buf_putc(out, ']');
}

/* GPT-2's one special token, where the vocabulary has it. */
static fmp_status mark_end(fmp_tokenizer *tok, fmp_err *err)
{
    static const char end[] = "<|endoftext|>";
    uint32_t id = fmp_tokenizer_id_of(tok, end);
    if (id == FMP_TOKEN_NONE) { return FMP_OK; }
    FMP_TRY(tk_added_init(tok, 1, err));
    tk_added_put(tok, id, true, false, false);
    tok->bos = tok->eos = tok->unk = id;
    return tk_trie_new(tok, false, &tok->trie_raw, err);
}

fmp_status tk_read_pair(fmp_tokenizer *tok, const char *vocab, size_t vocab_len, const char *merges,
                        size_t merges_len, fmp_err *err)
{
    fmp_buf text = {0};
    fmp_buf_puts(
        &text, "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"decoder\":{\"type\":"
               "\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":");
    fmp_buf_add(&text, vocab, vocab_len);
    fmp_buf_puts(&text, ",\"merges\":");
    merges_as_json(merges, merges_len, &text);
    fmp_buf_puts(&text, "}}");
    fmp_status status = fmp_buf_ok(&text, err);
    if (status == FMP_OK) { status = tk_read_json(tok, text.data, text.len, err); }
    if (status == FMP_OK) { status = mark_end(tok, err); }
    fmp_buf_free(&text);
    return status;
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n > m && strcmp(name + n - m, end) == 0;
}

/* Names that a tokenizer without a usual name may have; of several in one folder none is taken. */
static bool may_be_tokenizer(const char *name)
{
    return ends_with(name, ".tiktoken") || ends_with(name, ".model") || ends_with(name, ".gguf") ||
           strcmp(name, "vocab.json") == 0 || strcmp(name, "encoder.json") == 0;
}

fmp_status tk_only_file(const char *folder, char **out, fmp_err *err)
{
    char found[256] = "";
    unsigned n = 0;
    DIR *dir = opendir(folder);
    if (!dir) { return fmp_fail(err, FMP_E_IO, "cannot read the folder %s", folder); }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (!may_be_tokenizer(entry->d_name)) { continue; }
        n++;
        snprintf(found, sizeof found, "%s", entry->d_name);
    }
    (void)closedir(dir);
    if (n != 1) {
        fmp_status status = fmp_fail(err, FMP_E_IO, "%s: expected a tokenizer, found %s", folder,
                                     n == 0 ? "none" : "several files that may be one");
        (void)fmp_err_hint(
            err,
            "looked for tokenizer.json, tokenizer.model and one *.tiktoken, *.model, *.gguf or vocab.json; "
            "name the file itself");
        return status;
    }
    *out = fmp_path_join(folder, found);
    return *out ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for a path");
}

/* ---- copying ---- */

static bool is_one_of(const char *name, const char *const *names)
{
    while (*names && strcmp(name, *names) != 0) {
        names++;
    }
    return *names != NULL;
}

static bool has_vocabulary(const char *name)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer.bin", "vocab.json",
                                        "encoder.json",   "vocab.txt",     NULL};
    return is_one_of(name, names) || ends_with(name, ".model") || ends_with(name, ".tiktoken");
}

static bool stands_beside(const char *name)
{
    static const char *const names[] = {"tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "merges.txt",
                                        "vocab.bpe",
                                        "chat_template.jinja",
                                        "additional_chat_templates",
                                        "generation_config.json",
                                        NULL};
    return is_one_of(name, names);
}

static fmp_status copy_if_new(const char *from_dir, const char *to_dir, const char *name, fmp_err *err)
{
    char *from = fmp_path_join(from_dir, name), *to = fmp_path_join(to_dir, name);
    fmp_status status = from && to ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for a path");
    if (status == FMP_OK && !fmp_path_exists(to)) { status = fmp_copy_tree(from, to, err); }
    free(from);
    free(to);
    return status;
}

/* What stands before the tensors, as a GGUF file of none. */
static fmp_status copy_head(const fmp_map *from, const char *to_dir, fmp_err *err)
{
    size_t len = 0;
    FMP_TRY(tk_gguf_head((const char *)from->data, from->len, &len, err));
    char *to = fmp_path_join(to_dir, "tokenizer.gguf"), *head = malloc(len);
    fmp_status status = to && head ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for a vocabulary");
    if (status == FMP_OK && !fmp_path_exists(to)) {
        memcpy(head, from->data, len);
        memset(head + TK_GGUF_COUNT_AT, 0, TK_GGUF_COUNT);
        status = fmp_write_file(to, head, len, err);
    }
    free(to);
    free(head);
    return status;
}

static fmp_status copy_gguf(const char *file, const char *to, bool *found, fmp_err *err)
{
    fmp_map map = {0};
    FMP_TRY(fmp_map_file(file, &map, err));
    fmp_status status = FMP_OK;
    if (map.data && tk_is_gguf((const char *)map.data, map.len)) {
        status = copy_head(&map, to, err);
        *found = true;
        if (status != FMP_OK) { (void)fmp_err_note(err, "while copying the vocabulary of %s", file); }
    }
    fmp_unmap(&map);
    return status;
}

static fmp_status copy_folder(DIR *dir, const char *from, const char *to, bool *found, fmp_err *err)
{
    fmp_status status = FMP_OK;
    for (struct dirent *entry; status == FMP_OK && (entry = readdir(dir)) != NULL;) {
        bool vocabulary = has_vocabulary(entry->d_name);
        if (!vocabulary && !stands_beside(entry->d_name)) { continue; }
        status = copy_if_new(from, to, entry->d_name, err);
        *found |= vocabulary;
    }
    return status;
}

fmp_status fmp_tokenizer_copy(const char *from, const char *to, bool *found, fmp_err *err)
{
    bool any = false;
    char *file = NULL;
    DIR *dir = opendir(from);
    fmp_status status = FMP_OK;
    if (!dir && errno != ENOTDIR) {
        return fmp_fail(err, FMP_E_IO, "cannot read the folder %s: %s", from, strerror(errno));
    }
    if (dir) {
        status = copy_folder(dir, from, to, &any, err);
        (void)closedir(dir);
    }
    if (status == FMP_OK && !any && fmp_tokenizer_file(from, &file, NULL) == FMP_OK) {
        status = copy_gguf(file, to, &any, err);
    }
    free(file);
    if (found) { *found = any; }
    return status;
}
