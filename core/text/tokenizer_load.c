/*
 * tokenizer_load.c: a tokenizer.json to an fmp_tokenizer. Start reading at build().
 *
 * The file is hostile until checked: every id against the number of tokens, every merge against the vocabulary,
 * every type. Merges whose result is a special token are left out, so that no text can be merged into one.
 */
#include "tokenizer_impl.h"

#include <fmpipe/fs.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>

/* Model kinds by name; a kind without a parser is known but not supported. */
typedef fmp_status (*model_fn)(fmp_tokenizer *tok, const cJSON *model, fmp_err *err);
static fmp_status parse_bpe(fmp_tokenizer *tok, const cJSON *model, fmp_err *err);

static const struct {
    const char *name;
    model_fn parse;
} model_kinds[] = { { "BPE", parse_bpe }, { "Unigram", NULL }, { "WordPiece", NULL }, { "WordLevel", NULL } };

static fmp_status must_be_off(const cJSON *model, const char *key, fmp_err *err)
{
    const cJSON *node = fmp_json_get(model, key);
    double value;
    bool off = tk_is_null(node) || (cJSON_IsString(node) && node->valuestring[0] == '\0') ||
               (fmp_json_number(node, &value) && value == 0);
    if (off) { return FMP_OK; }
    return fmp_fail(err, FMP_E_UNSUPPORTED, "model.%s: expected null, found a value; it is not supported", key);
}

/* Ids must be below this: a file cannot make us reserve far more rows than it has tokens. */
static uint32_t id_limit(size_t n_tokens)
{
    size_t limit = n_tokens + TK_MAX_ID_GAP;
    return (uint32_t)(limit < TK_MAX_TOKENS ? limit : TK_MAX_TOKENS);
}

/* Highest id of vocabulary and added tokens, checked; tells how many rows there are. */
static fmp_status count_ids(const cJSON *vocab, const cJSON *added, size_t *size, fmp_err *err)
{
    const cJSON *node;
    size_t n = 0;
    uint32_t id = 0, max = 0;
    cJSON_ArrayForEach(node, vocab) { n++; }
    cJSON_ArrayForEach(node, added) { n++; }
    if (n == 0 || n > TK_MAX_TOKENS) {
        return fmp_fail(err, FMP_E_RANGE, "model.vocab: expected 1 to %zu tokens, found %zu", TK_MAX_TOKENS, n);
    }
    uint32_t limit = id_limit(n);
    cJSON_ArrayForEach(node, vocab)
    {
        char where[96];
        snprintf(where, sizeof where, "model.vocab[\"%.60s\"]", node->string);
        FMP_TRY(tk_want_id(node, limit - 1, where, &id, err));
        if (id > max) { max = id; }
    }
    unsigned i = 0;
    cJSON_ArrayForEach(node, added)
    {
        char where[64];
        snprintf(where, sizeof where, "added_tokens[%u].id", i++);
        FMP_TRY(tk_want_id(fmp_json_get(node, "id"), limit - 1, where, &id, err));
        if (id > max) { max = id; }
    }
    *size = (size_t)max + 1;
    return FMP_OK;
}

static fmp_status parse_vocab(fmp_tokenizer *tok, const cJSON *vocab, fmp_err *err)
{
    const cJSON *node;
    cJSON_ArrayForEach(node, vocab)
    {
        uint32_t id = 0;
        FMP_TRY(tk_want_id(node, tok->size - 1, "model.vocab", &id, err));
        FMP_TRY(tk_vocab_add(tok, node->string, id, "model.vocab", err));
        tok->in_model[id] = 1;
    }
    return FMP_OK;
}

/* The two tokens of a merge, written "a b" or ["a", "b"]. */
static fmp_status merge_sides(const cJSON *node, const char *where, const char **a, size_t *a_len, const char **b,
                              fmp_err *err)
{
    if (cJSON_IsString(node)) {
        const char *space = strchr(node->valuestring, ' ');
        if (!space || strchr(space + 1, ' ')) {
            return fmp_fail(err, FMP_E_DATA, "%s: expected two tokens with one space between, found \"%.60s\"", where,
                            node->valuestring);
        }
        *a = node->valuestring;
        *a_len = (size_t)(space - node->valuestring);
        *b = space + 1;
        return FMP_OK;
    }
    const cJSON *first = cJSON_IsArray(node) ? node->child : NULL, *second = first ? first->next : NULL;
    if (!cJSON_IsString(first) || !cJSON_IsString(second) || second->next) {
        return fmp_fail(err, FMP_E_DATA, "%s: expected \"a b\" or [\"a\", \"b\"], found %s", where, tk_kind_name(node));
    }
    *a = first->valuestring;
    *a_len = strlen(first->valuestring);
    *b = second->valuestring;
    return FMP_OK;
}

static fmp_status parse_merge(fmp_tokenizer *tok, const cJSON *node, uint32_t rank, fmp_buf *joined, fmp_err *err)
{
    char where[48];
    const char *a = "", *b = "";
    size_t a_len = 0;
    snprintf(where, sizeof where, "model.merges[%u]", rank);
    FMP_TRY(merge_sides(node, where, &a, &a_len, &b, err));
    joined->len = 0;
    fmp_buf_add(joined, a, a_len);
    fmp_buf_puts(joined, b);
    FMP_TRY(fmp_buf_ok(joined, err));
    uint32_t left = tk_find(tok, a, a_len), right = tk_find(tok, b, strlen(b));
    uint32_t made = tk_find(tok, joined->data, joined->len);
    if (left == FMP_TOKEN_NONE || right == FMP_TOKEN_NONE || made == FMP_TOKEN_NONE) {
        return fmp_fail(err, FMP_E_DATA, "%s: \"%.*s\", \"%s\" and both joined must be in model.vocab", where,
                        (int)a_len, a, b);
    }
    if (tok->special[made]) { return FMP_OK; }
    if (!tk_merge_add(tok, left, right, rank, made)) {
        return fmp_fail(err, FMP_E_DATA, "%s: \"%.*s\" and \"%s\" are merged twice", where, (int)a_len, a, b);
    }
    return FMP_OK;
}

static fmp_status parse_merges(fmp_tokenizer *tok, const cJSON *merges, fmp_err *err)
{
    size_t n = 0;
    const cJSON *node;
    cJSON_ArrayForEach(node, merges) { n++; }
    if (n > TK_MAX_TOKENS) {
        return fmp_fail(err, FMP_E_RANGE, "model.merges: expected at most %zu, found %zu", TK_MAX_TOKENS, n);
    }
    FMP_TRY(tk_merges_init(tok, n, err));
    fmp_buf joined = { 0 };
    uint32_t rank = 0;
    fmp_status status = FMP_OK;
    cJSON_ArrayForEach(node, merges)
    {
        status = parse_merge(tok, node, rank++, &joined, err);
        if (status != FMP_OK) { break; }
    }
    fmp_buf_free(&joined);
    return status;
}

/* The token each byte starts as; a special token is none. */
static void fill_bytes(fmp_tokenizer *tok)
{
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        size_t len = tok->byte_level ? tk_utf8_put(tk_char_of_byte(b), text)
                                     : (size_t)snprintf(text, sizeof text, "<0x%02X>", b);
        uint32_t id = tk_find(tok, text, len);
        tok->byte_id[b] = id != FMP_TOKEN_NONE && tok->in_model[id] && !tok->special[id] ? id : FMP_TOKEN_NONE;
        tok->char_of_byte[b] = (uint16_t)tk_char_of_byte(b);
    }
}

static fmp_status parse_bpe(fmp_tokenizer *tok, const cJSON *model, fmp_err *err)
{
    const cJSON *merges = fmp_json_get(model, "merges"), *unk = fmp_json_get(model, "unk_token");
    FMP_TRY(must_be_off(model, "dropout", err));
    FMP_TRY(must_be_off(model, "continuing_subword_prefix", err));
    FMP_TRY(must_be_off(model, "end_of_word_suffix", err));
    FMP_TRY(tk_want_bool(model, "fuse_unk", false, "model", &tok->fuse_unk, err));
    FMP_TRY(tk_want_bool(model, "byte_fallback", false, "model", &tok->byte_fallback, err));
    FMP_TRY(tk_want_bool(model, "ignore_merges", false, "model", &tok->ignore_merges, err));
    if (!cJSON_IsArray(merges)) {
        return fmp_fail(err, FMP_E_DATA, "model.merges: expected an array, found %s", tk_kind_name(merges));
    }
    tok->unk_model = FMP_TOKEN_NONE;
    if (!tk_is_null(unk)) {
        if (!cJSON_IsString(unk)) {
            return fmp_fail(err, FMP_E_DATA, "model.unk_token: expected a string, found %s", tk_kind_name(unk));
        }
        tok->unk_model = fmp_tokenizer_id_of(tok, unk->valuestring);
        if (tok->unk_model == FMP_TOKEN_NONE) {
            return fmp_fail(err, FMP_E_DATA, "model.unk_token: \"%s\" is not a token", unk->valuestring);
        }
    }
    fill_bytes(tok);
    return parse_merges(tok, merges, err);
}

static fmp_status parse_added_one(fmp_tokenizer *tok, const cJSON *node, const char *where, tk_added *out, fmp_err *err)
{
    const char *content = "";
    FMP_TRY(tk_want_string(node, "content", where, &content, err));
    FMP_TRY(tk_want_id(fmp_json_get(node, "id"), tok->size - 1, where, &out->id, err));
    FMP_TRY(tk_want_bool(node, "special", false, where, &out->special, err));
    FMP_TRY(tk_want_bool(node, "single_word", false, where, &out->single_word, err));
    FMP_TRY(tk_want_bool(node, "lstrip", false, where, &out->lstrip, err));
    FMP_TRY(tk_want_bool(node, "rstrip", false, where, &out->rstrip, err));
    FMP_TRY(tk_want_bool(node, "normalized", !out->special, where, &out->normalized, err));
    if (content[0] == '\0') { return fmp_fail(err, FMP_E_DATA, "%s.content: expected some text, found \"\"", where); }
    uint32_t known = fmp_tokenizer_id_of(tok, content);
    if (known == FMP_TOKEN_NONE) {
        FMP_TRY(tk_vocab_add(tok, content, out->id, where, err));
    } else if (known != out->id) {
        return fmp_fail(err, FMP_E_DATA, "%s.id: token \"%s\" has id %u already, found %u", where, content, known,
                        out->id);
    }
    out->content = tok->tokens[out->id].text;
    out->len = tok->tokens[out->id].text_len;
    tok->special[out->id] = out->special;
    return FMP_OK;
}

static fmp_status parse_added(fmp_tokenizer *tok, const cJSON *added, fmp_err *err)
{
    size_t n = (size_t)cJSON_GetArraySize(added);
    const cJSON *node;
    if (n == 0) { return FMP_OK; }
    tok->added = fmp_arena_take_zero(tok->arena, n, sizeof *tok->added);
    uint8_t *seen = fmp_arena_take_zero(tok->arena, tok->size, 1);
    FMP_TRY(fmp_arena_ok(tok->arena, err));
    cJSON_ArrayForEach(node, added)
    {
        char where[64];
        snprintf(where, sizeof where, "added_tokens[%u]", tok->n_added);
        tk_added *out = &tok->added[tok->n_added++];
        FMP_TRY(parse_added_one(tok, node, where, out, err));
        if (seen[out->id]++) { return fmp_fail(err, FMP_E_DATA, "%s.id: id %u is used twice", where, out->id); }
    }
    return FMP_OK;
}

/* Tokens that are searched for in normalized text are normalized as well. */
static fmp_status normalize_added(fmp_tokenizer *tok, fmp_err *err)
{
    tk_matcher m = { 0 };
    tk_text a = { 0 }, b = { 0 };
    fmp_status status = tk_matcher_init(&m, err);
    for (uint32_t i = 0; i < tok->n_added && status == FMP_OK && tok->n_norm > 0; i++) {
        tk_added *t = &tok->added[i];
        tk_view in = { t->content, t->len, NULL, 0 }, out;
        if (!t->normalized) { continue; }
        status = tk_normalize(tok, &m, &in, &a, &b, &out, err);
        if (status == FMP_OK && out.s != in.s) {
            t->content = fmp_arena_strndup(tok->arena, out.s ? out.s : "", out.len);
            t->len = out.len;
        }
    }
    tk_matcher_free(&m);
    tk_text_free(&a);
    tk_text_free(&b);
    return status != FMP_OK ? status : fmp_arena_ok(tok->arena, err);
}

static fmp_status parse_model(fmp_tokenizer *tok, const cJSON *model, fmp_err *err)
{
    const cJSON *type = fmp_json_get(model, "type");
    if (!type && fmp_json_get(model, "merges")) { return parse_bpe(tok, model, err); } /* files before 0.13 */
    if (!cJSON_IsString(type)) {
        return fmp_fail(err, FMP_E_DATA, "model.type: expected a string, found %s", tk_kind_name(type));
    }
    for (size_t i = 0; i < sizeof model_kinds / sizeof *model_kinds; i++) {
        if (strcmp(model_kinds[i].name, type->valuestring) == 0 && model_kinds[i].parse) {
            return model_kinds[i].parse(tok, model, err);
        }
    }
    return fmp_fail(err, FMP_E_UNSUPPORTED, "model.type: tokenizer model \"%s\" is not supported; BPE is",
                    type->valuestring);
}

static fmp_status build(fmp_tokenizer *tok, const cJSON *root, fmp_err *err)
{
    const cJSON *model = fmp_json_get(root, "model"), *vocab = fmp_json_get(model, "vocab");
    const cJSON *added = fmp_json_get(root, "added_tokens");
    size_t size = 0;
    if (!cJSON_IsObject(root) || !cJSON_IsObject(model)) {
        return fmp_fail(err, FMP_E_DATA, "model: expected an object, found %s",
                        tk_kind_name(cJSON_IsObject(root) ? model : root));
    }
    if (!tk_is_null(added) && !cJSON_IsArray(added)) {
        return fmp_fail(err, FMP_E_DATA, "added_tokens: expected an array, found %s", tk_kind_name(added));
    }
    if (!cJSON_IsObject(vocab)) {
        const char *type = fmp_json_str(model, "type", "BPE");
        if (strcmp(type, "BPE") != 0) { return parse_model(tok, model, err); } /* names the kind */
        return fmp_fail(err, FMP_E_DATA, "model.vocab: expected an object, found %s", tk_kind_name(vocab));
    }
    FMP_TRY(tk_parse_normalizer(tok, fmp_json_get(root, "normalizer"), err));
    FMP_TRY(tk_parse_pre_tokenizer(tok, fmp_json_get(root, "pre_tokenizer"), err));
    FMP_TRY(tk_parse_decoder(tok, fmp_json_get(root, "decoder"), err));
    FMP_TRY(count_ids(vocab, added, &size, err));
    FMP_TRY(tk_vocab_init(tok, size, err));
    FMP_TRY(parse_vocab(tok, vocab, err));
    FMP_TRY(parse_added(tok, added, err));
    FMP_TRY(parse_model(tok, model, err));
    FMP_TRY(tk_parse_post(tok, fmp_json_get(root, "post_processor"), err));
    FMP_TRY(normalize_added(tok, err));
    FMP_TRY(tk_trie_new(tok, false, &tok->trie_raw, err));
    FMP_TRY(tk_trie_new(tok, true, &tok->trie_normalized, err));
    return tk_vocab_bytes(tok, err);
}

static fmp_status tokenizer_new(fmp_tokenizer **out, fmp_err *err)
{
    static atomic_uint_fast64_t serials = 1;
    fmp_tokenizer *tok = calloc(1, sizeof *tok);
    if (tok) { tok->arena = fmp_arena_new(0); }
    if (!tok || !tok->arena) {
        free(tok);
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for a tokenizer");
    }
    tok->serial = atomic_fetch_add(&serials, 1);
    tok->bos = tok->eos = tok->pad = tok->unk = FMP_TOKEN_NONE;
    *out = tok;
    return FMP_OK;
}

void fmp_tokenizer_free(fmp_tokenizer *tok)
{
    if (!tok) { return; }
    for (uint32_t i = 0; i < tok->n_norm; i++) { tk_regex_free(&tok->norm[i].re); }
    for (uint32_t i = 0; i < tok->n_split; i++) { tk_regex_free(&tok->split[i].re); }
    tk_trie_free(tok->trie_raw);
    tk_trie_free(tok->trie_normalized);
    fmp_arena_free(tok->arena);
    free(tok);
}

fmp_status fmp_tokenizer_parse(const char *text, size_t len, const char *name, fmp_tokenizer **out, fmp_err *err)
{
    fmp_json_limits limits = { .max_bytes = TK_MAX_FILE, .max_depth = 32 };
    unsigned char digest[32];
    cJSON *root = NULL;
    fmp_tokenizer *tok = NULL;
    fmp_arena *nodes = fmp_arena_new(0);
    if (!nodes) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a tokenizer"); }
    fmp_arena *outer = fmp_json_scope(nodes);
    fmp_status status = fmp_json_parse(text, len, &limits, &root, err);
    fmp_json_scope(outer);
    if (status == FMP_OK) { status = tokenizer_new(&tok, err); }
    if (status == FMP_OK) { status = build(tok, root, err); }
    fmp_arena_free(nodes);
    if (status != FMP_OK) {
        if (err && err->file[0] == '\0') { (void)fmp_err_at(err, name, err->line, err->column, err->offset); }
        (void)fmp_err_note(err, "while reading the tokenizer %s", name);
        fmp_tokenizer_free(tok);
        return status;
    }
    fmp_sha256_bytes(text, len, digest);
    fmp_hex(digest, sizeof digest, tok->digest);
    *out = tok;
    return FMP_OK;
}

/* "bos_token": "<s>" or {"content": "<s>", ...} */
static uint32_t named_token(const fmp_tokenizer *tok, const cJSON *root, const char *key)
{
    const cJSON *node = fmp_json_get(root, key);
    const char *text = cJSON_IsString(node) ? node->valuestring : fmp_json_str(node, "content", NULL);
    return text ? fmp_tokenizer_id_of(tok, text) : FMP_TOKEN_NONE;
}

/* The file that names bos, eos, pad, unk; what an earlier one named stays. */
static fmp_status read_names(fmp_tokenizer *tok, const char *folder, const char *file, fmp_err *err)
{
    char *path = fmp_path_join(folder, file);
    cJSON *root = NULL;
    if (!path) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a path"); }
    fmp_status status = FMP_OK;
    if (fmp_path_exists(path)) { status = fmp_json_load(path, NULL, &root, err); }
    free(path);
    if (status != FMP_OK || !root) { return status; }
    uint32_t *ids[] = { &tok->bos, &tok->eos, &tok->pad, &tok->unk };
    static const char *const keys[] = { "bos_token", "eos_token", "pad_token", "unk_token" };
    for (size_t i = 0; i < 4; i++) {
        if (*ids[i] == FMP_TOKEN_NONE) { *ids[i] = named_token(tok, root, keys[i]); }
    }
    cJSON_Delete(root);
    return FMP_OK;
}

/* Folder of a path, on the heap. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) { return strdup("."); }
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static fmp_status load_file(const char *file, const char *folder, fmp_tokenizer **out, fmp_err *err)
{
    fmp_buf text = { 0 };
    fmp_tokenizer *tok = NULL;
    fmp_status status = fmp_read_file(file, TK_MAX_FILE, &text, err);
    if (status == FMP_OK) { status = fmp_tokenizer_parse(text.data ? text.data : "", text.len, file, &tok, err); }
    fmp_buf_free(&text);
    if (status == FMP_OK) { status = read_names(tok, folder, "tokenizer_config.json", err); }
    if (status == FMP_OK) { status = read_names(tok, folder, "special_tokens_map.json", err); }
    if (status != FMP_OK) {
        fmp_tokenizer_free(tok);
        return status;
    }
    *out = tok;
    return FMP_OK;
}

fmp_status fmp_tokenizer_load(const char *path, fmp_tokenizer **out, fmp_err *err)
{
    struct stat st;
    bool is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    char *file = is_folder ? fmp_path_join(path, "tokenizer.json") : strdup(path);
    char *folder = is_folder ? strdup(path) : folder_of(path);
    fmp_status status = FMP_OK;
    if (!file || !folder) {
        status = fmp_fail(err, FMP_E_NOMEM, "out of memory for a path");
    } else {
        status = load_file(file, folder, out, err);
    }
    free(file);
    free(folder);
    return status;
}
