/*
 * tokenizer_load.c: from a path to a tokenizer. The kind of file is read off its content, never off its name:
 * GGUF by its magic, JSON by its brace, tiktoken ranks by their first line, SentencePiece and llama2.c by their shape.
 *
 * In a folder tokenizer.json comes first; the other files are taken where it is absent. What stands beside a file
 * (tokenizer_config.json, special_tokens_map.json, added_tokens.json) names tokens and adds some, never changes any.
 */
#include "tokenizer_impl.h"

#include <fmpipe/fs.h>
#include <stdlib.h>
#include <sys/stat.h>

bool tk_is_gguf(const char *text, size_t len)
{
    return len >= 4 && memcmp(text, "GGUF", 4) == 0;
}

/* Only the head of a GGUF file is read; the others are read whole. */
static fmp_status too_long(size_t len, fmp_err *err)
{
    return fmp_fail(err, FMP_E_RANGE, "expected a tokenizer file of at most %zu bytes, found %zu",
                    TK_MAX_FILE, len);
}

static char first_sign(const char *text, size_t len)
{
    size_t i = 0;
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) { i = 3; }
    while (i < len && (text[i] == ' ' || text[i] == '\n' || text[i] == '\r' || text[i] == '\t')) {
        i++;
    }
    return i < len ? text[i] : '\0';
}

static fmp_status read_any(fmp_tokenizer *tok, const char *text, size_t len, size_t *used, fmp_err *err)
{
    *used = len;
    if (tk_is_gguf(text, len)) { return tk_read_gguf(tok, text, len, used, err); }
    if (len > TK_MAX_FILE) { return too_long(len, err); }
    char first = first_sign(text, len);
    if (first == '{' || first == '[') { return tk_read_json(tok, text, len, err); }
    if (tk_is_ranks(text, len)) { return tk_read_ranks(tok, text, len, err); }
    if (tk_is_llama2c(text, len)) { return tk_read_llama2c(tok, text, len, err); }
    if (tk_is_spm(text, len)) { return tk_read_spm(tok, text, len, err); }
    fmp_status status = fmp_fail(err, FMP_E_DATA, "expected a tokenizer, found a file of another kind");
    (void)fmp_err_hint(
        err, "read here are tokenizer.json, SentencePiece models, tiktoken ranks, GGUF and llama2.c files");
    return status;
}

/* A GGUF file without tensors has the same vocabulary, so their number does not count. */
static fmp_status set_digest(fmp_tokenizer *tok, const char *text, size_t len, fmp_err *err)
{
    static const char none[TK_GGUF_COUNT];
    unsigned char digest[32];
    fmp_sha256 *h = fmp_sha256_new();
    if (!h) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a digest"); }
    if (tk_is_gguf(text, len)) {
        const size_t behind = TK_GGUF_COUNT_AT + TK_GGUF_COUNT;
        fmp_sha256_add(h, text, TK_GGUF_COUNT_AT);
        fmp_sha256_add(h, none, sizeof none);
        fmp_sha256_add(h, text + behind, len - behind);
    } else {
        fmp_sha256_add(h, text, len);
    }
    fmp_sha256_end(h, digest);
    fmp_hex(digest, sizeof digest, tok->digest);
    return FMP_OK;
}

fmp_status fmp_tokenizer_parse(const char *text, size_t len, const char *name, fmp_tokenizer **out,
                               fmp_err *err)
{
    fmp_tokenizer *tok = NULL;
    size_t used = 0;
    FMP_TRY(tk_new(&tok, err));
    fmp_status status = read_any(tok, text, len, &used, err);
    if (status == FMP_OK) { status = set_digest(tok, text, used, err); }
    if (status != FMP_OK) {
        if (err && err->file[0] == '\0') { (void)fmp_err_at(err, name, err->line, err->column, err->offset); }
        (void)fmp_err_note(err, "while reading the tokenizer %s", name);
        fmp_tokenizer_free(tok);
        return status;
    }
    *out = tok;
    return FMP_OK;
}

/* ---- the files beside ---- */
/* "bos_token": "<s>" or {"content": "<s>", ...} */
static uint32_t named_token(const fmp_tokenizer *tok, const cJSON *root, const char *key)
{
    const cJSON *node = fmp_json_get(root, key);
    const char *text = cJSON_IsString(node) ? node->valuestring : fmp_json_str(node, "content", NULL);
    return text ? fmp_tokenizer_id_of(tok, text) : FMP_TOKEN_NONE;
}

static fmp_status load_beside(const char *folder, const char *file, cJSON **out, fmp_err *err)
{
    char *path = fmp_path_join(folder, file);
    *out = NULL;
    if (!path) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a path"); }
    fmp_status status = fmp_path_exists(path) ? fmp_json_load(path, NULL, out, err) : FMP_OK;
    free(path);
    return status;
}

/* What a SentencePiece model, which says nothing of it, gets around a text. */
static fmp_status read_template(fmp_tokenizer *tok, const cJSON *root, fmp_err *err)
{
    bool bos = false, eos = false;
    FMP_TRY(tk_want_bool(root, "add_bos_token", false, "tokenizer_config.json", &bos, err));
    FMP_TRY(tk_want_bool(root, "add_eos_token", false, "tokenizer_config.json", &eos, err));
    return tk_put_template(tok, bos, tok->bos, eos, tok->eos, err);
}

/* The file that names bos, eos, pad, unk. What the tokenizer's own file names stays. */
static fmp_status read_names(fmp_tokenizer *tok, const char *folder, const char *file, bool template,
                             fmp_err *err)
{
    cJSON *root = NULL;
    FMP_TRY(load_beside(folder, file, &root, err));
    uint32_t *ids[] = {&tok->bos, &tok->eos, &tok->pad, &tok->unk};
    static const char *const keys[] = {"bos_token", "eos_token", "pad_token", "unk_token"};
    for (size_t i = 0; root && i < 4; i++) {
        if (*ids[i] == FMP_TOKEN_NONE) { *ids[i] = named_token(tok, root, keys[i]); }
    }
    fmp_status status = root && template ? read_template(tok, root, err) : FMP_OK;
    cJSON_Delete(root);
    return status;
}

/* vocab.json and encoder.json need the merges beside them. */
static const char *merges_name(const char *file)
{
    const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;
    if (strcmp(name, "vocab.json") == 0) { return "merges.txt"; }
    return strcmp(name, "encoder.json") == 0 ? "vocab.bpe" : NULL;
}

static void finish_digest(fmp_tokenizer *tok, const fmp_map *a, const fmp_map *b)
{
    unsigned char digest[32];
    fmp_sha256 *h = fmp_sha256_new();
    if (!h) { return; }
    fmp_sha256_add(h, a->data, a->len);
    fmp_sha256_add(h, b->data, b->len);
    fmp_sha256_end(h, digest);
    fmp_hex(digest, sizeof digest, tok->digest);
}

static fmp_status read_pair(const char *file, const char *merges, fmp_tokenizer **out, fmp_err *err)
{
    fmp_map vocab = {0}, rules = {0};
    fmp_tokenizer *tok = NULL;
    fmp_status status = fmp_map_file(file, &vocab, err);
    if (status == FMP_OK) { status = fmp_map_file(merges, &rules, err); }
    if (status == FMP_OK && (vocab.len > TK_MAX_FILE || rules.len > TK_MAX_FILE)) {
        status = too_long(vocab.len > rules.len ? vocab.len : rules.len, err);
    }
    if (status == FMP_OK) { status = tk_new(&tok, err); }
    if (status == FMP_OK) {
        status = tk_read_pair(tok, vocab.data ? (const char *)vocab.data : "", vocab.len,
                              rules.data ? (const char *)rules.data : "", rules.len, err);
        if (status != FMP_OK) {
            (void)fmp_err_note(err, "while reading the tokenizer %s with %s", file, merges);
        }
    }
    if (status == FMP_OK) {
        finish_digest(tok, &vocab, &rules);
        *out = tok;
    } else {
        fmp_tokenizer_free(tok);
    }
    fmp_unmap(&vocab);
    fmp_unmap(&rules);
    return status;
}

static fmp_status read_file(const char *file, const char *folder, fmp_tokenizer **out, fmp_err *err)
{
    char *merges = merges_name(file) ? fmp_path_join(folder, merges_name(file)) : NULL;
    if (merges && fmp_path_exists(merges)) {
        fmp_status paired = read_pair(file, merges, out, err);
        free(merges);
        return paired;
    }
    free(merges);
    fmp_map map = {0};
    fmp_status status = fmp_map_file(file, &map, err);
    if (status != FMP_OK) { return status; }
    status = fmp_tokenizer_parse(map.data ? (const char *)map.data : "", map.len, file, out, err);
    fmp_unmap(&map);
    return status;
}

static fmp_status load_file(const char *file, const char *folder, fmp_tokenizer **out, fmp_err *err)
{
    fmp_tokenizer *tok = NULL;
    FMP_TRY(read_file(file, folder, &tok, err));
    fmp_status status = read_names(tok, folder, "tokenizer_config.json", tok->is_spm, err);
    if (status == FMP_OK) { status = read_names(tok, folder, "special_tokens_map.json", false, err); }
    if (status != FMP_OK) {
        fmp_tokenizer_free(tok);
        return status;
    }
    *out = tok;
    return FMP_OK;
}

/* ---- which file of a folder ---- */
static const char *const file_names[] = {"tokenizer.json",          "tokenizer.model", "spiece.model",
                                         "sentencepiece.bpe.model", "spm.model",       "tokenizer.bin",
                                         "tokenizer.gguf"};

/* The first of the usual names that is there, else the only *.tiktoken, *.model or *.gguf; on the heap. */
static fmp_status file_in(const char *folder, char **out, fmp_err *err)
{
    *out = NULL;
    for (size_t i = 0; i < sizeof file_names / sizeof *file_names; i++) {
        char *path = fmp_path_join(folder, file_names[i]);
        if (!path) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a path"); }
        if (fmp_path_exists(path)) {
            *out = path;
            return FMP_OK;
        }
        free(path);
    }
    return tk_only_file(folder, out, err);
}

/* Folder of a path, on the heap. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) { return strdup("."); }
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

fmp_status fmp_tokenizer_file(const char *path, char **out, fmp_err *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) { return file_in(path, out, err); }
    *out = strdup(path);
    return *out ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for a path");
}

fmp_status fmp_tokenizer_load(const char *path, fmp_tokenizer **out, fmp_err *err)
{
    char *file = NULL;
    FMP_TRY(fmp_tokenizer_file(path, &file, err));
    char *folder = folder_of(file);
    fmp_status status = folder ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for a path");
    if (status == FMP_OK) { status = load_file(file, folder, out, err); }
    free(file);
    free(folder);
    return status;
}
