/*
 * tokenizer_json.c: Hugging Face's tokenizer.json to an fmp_tokenizer. Start reading at tk_read_json().
 *
 * The vocabulary and the merges are read straight from the text; everything else is a small JSON tree, in which these two
 * are empty. The file is hostile until checked: every id against the number of tokens, every merge against the vocabulary,
 * every type. Merges whose result is a special token are left out, so that no text can be merged into one.
 */
#include "tokenizer_impl.h"

#include <math.h>
#include <stdlib.h>

#define MAX_AFFIX 64u

/* A member of model.vocab; score is Unigram's. */
typedef struct entry {
    const char *text;
    size_t len;
    double score;
    uint32_t id;
} entry;

typedef struct reader {
    fmp_tokenizer *tok;
    const char *text;
    tk_json_range vocab, merges;
    entry *entries;
    size_t n, cap;
    uint32_t n_merges; /* read so far */
    fmp_buf left;      /* of a merge written as an array */
} reader;

/* An error of the scanner, in terms of the whole file. */
static fmp_status at_part(const char *what, fmp_status status, fmp_err *err)
{
    if (err && status == FMP_E_DATA) {
        char message[sizeof err->message];
        snprintf(message, sizeof message, "%s: %.600s", what, err->message);
        uint32_t line = err->line, column = err->column;
        uint64_t offset = err->offset;
        status = fmp_fail(err, FMP_E_DATA, "%s", message);
        (void)fmp_err_at(err, NULL, line, column, offset);
    }
    return status;
}

static fmp_status entry_add(reader *r, const entry *e, fmp_err *err)
{
    if (r->n == TK_MAX_TOKENS) {
        return fmp_fail(err, FMP_E_RANGE, "model.vocab: more than %zu tokens", TK_MAX_TOKENS);
    }
    if (r->n == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 4096;
        entry *entries = realloc(r->entries, cap * sizeof *entries);
        if (!entries) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for %zu tokens", cap); }
        r->entries = entries;
        r->cap = cap;
    }
    r->entries[r->n++] = *e;
    return FMP_OK;
}

/* A string of the file that stays: where it has escapes, a copy. */
static fmp_status kept_string(reader *r, tk_json *j, entry *e, fmp_err *err)
{
    FMP_TRY(tk_json_string(j, &e->text, &e->len, err));
    if (e->text == j->text.data) {
        e->text = fmp_arena_strndup(r->tok->arena, e->text, e->len);
        FMP_TRY(fmp_arena_ok(r->tok->arena, err));
    }
    return FMP_OK;
}

static fmp_status entry_id(tk_json *j, entry *e, fmp_err *err)
{
    double value = 0;
    char c = tk_json_peek(j);
    if (c != '-' && (c < '0' || c > '9')) {
        return fmp_fail(err, FMP_E_DATA, "model.vocab[\"%.*s\"]: expected a whole number, found %s",
                        (int)(e->len < 60 ? e->len : 60), e->text, c == '"' ? "a string" : "no number");
    }
    FMP_TRY(tk_json_number(j, &value, err));
    if (!(value >= 0 && value < TK_MAX_TOKENS)) {
        return fmp_fail(err, FMP_E_RANGE,
                        "model.vocab[\"%.*s\"]: expected a whole number from 0 to %zu, found %.17g",
                        (int)(e->len < 60 ? e->len : 60), e->text, TK_MAX_TOKENS - 1, value);
    }
    e->id = (uint32_t)value;
    if ((double)e->id != value) {
        return fmp_fail(err, FMP_E_DATA, "model.vocab[\"%.*s\"]: expected a whole number, found %.17g",
                        (int)(e->len < 60 ? e->len : 60), e->text, value);
    }
    return FMP_OK;
}

/* {"token": id, ...} */
static fmp_status scan_object(reader *r, tk_json *j, fmp_err *err)
{
    if (!tk_json_take(j, '{')) { return tk_json_fail(j, "an object", err); }
    if (tk_json_take(j, '}')) { return FMP_OK; }
    do {
        entry e = {.text = NULL};
        FMP_TRY(kept_string(r, j, &e, err));
        if (!tk_json_take(j, ':')) { return tk_json_fail(j, "':'", err); }
        FMP_TRY(entry_id(j, &e, err));
        FMP_TRY(entry_add(r, &e, err));
    } while (tk_json_take(j, ','));
    return tk_json_take(j, '}') ? FMP_OK : tk_json_fail(j, "',' or '}'", err);
}

/* [["piece", score], ...] */
static fmp_status scan_array(reader *r, tk_json *j, fmp_err *err)
{
    if (!tk_json_take(j, '[')) { return tk_json_fail(j, "an array", err); }
    if (tk_json_take(j, ']')) { return FMP_OK; }
    do {
        entry e = {.id = (uint32_t)r->n};
        if (!tk_json_take(j, '[')) { return tk_json_fail(j, "[\"piece\", score]", err); }
        FMP_TRY(kept_string(r, j, &e, err));
        if (!tk_json_take(j, ',')) { return tk_json_fail(j, "',' and a score", err); }
        FMP_TRY(tk_json_number(j, &e.score, err));
        if (!isfinite(e.score)) { return tk_json_fail(j, "a finite score before this", err); }
        if (!tk_json_take(j, ']')) { return tk_json_fail(j, "']'", err); }
        FMP_TRY(entry_add(r, &e, err));
    } while (tk_json_take(j, ','));
    return tk_json_take(j, ']') ? FMP_OK : tk_json_fail(j, "',' or ']'", err);
}

static fmp_status scan_vocab(reader *r, fmp_err *err)
{
    tk_json j = {.s = r->text, .len = r->vocab.end, .at = r->vocab.begin};
    fmp_status status = r->text[j.at] == '{' ? scan_object(r, &j, err) : scan_array(r, &j, err);
    if (status != FMP_OK && strncmp(err ? err->message : "", "model.", 6) != 0) {
        status = at_part("model.vocab", status, err);
    }
    fmp_buf_free(&j.text);
    return status;
}

/* Ids must be below this: a file cannot make us reserve far more rows than it has tokens. */
static uint32_t id_limit(size_t n_tokens)
{
    size_t limit = n_tokens + TK_MAX_ID_GAP;
    return (uint32_t)(limit < TK_MAX_TOKENS ? limit : TK_MAX_TOKENS);
}

/* Highest id of vocabulary and added tokens, checked; tells how many rows there are. */
static fmp_status count_ids(const reader *r, const cJSON *added, size_t *size, fmp_err *err)
{
    const cJSON *node;
    size_t n = r->n;
    uint32_t id = 0, max = 0;
    cJSON_ArrayForEach(node, added)
    {
        n++;
    }
    if (n == 0 || n > TK_MAX_TOKENS) {
        return fmp_fail(err, FMP_E_RANGE, "model.vocab: expected 1 to %zu tokens, found %zu", TK_MAX_TOKENS,
                        n);
    }
    uint32_t limit = id_limit(n);
    for (size_t i = 0; i < r->n; i++) {
        const entry *e = &r->entries[i];
        if (e->id >= limit) {
            return fmp_fail(err, FMP_E_RANGE,
                            "model.vocab[\"%.*s\"]: expected a whole number from 0 to %u, found %u",
                            (int)(e->len < 60 ? e->len : 60), e->text, limit - 1, e->id);
        }
        if (e->id > max) { max = e->id; }
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

/* Ask for the memory that the next entries go to. */
static void fetch_entries(const reader *r, size_t from)
{
    for (size_t i = from; i < r->n && i < from + TK_AHEAD; i++) {
        tk_vocab_fetch(r->tok, r->entries[i].text, r->entries[i].len);
    }
}

/* A Unigram vocabulary may have a piece twice: the last one counts. */
static fmp_status put_vocab(reader *r, bool unigram, fmp_err *err)
{
    fmp_tokenizer *tok = r->tok;
    if (unigram) {
        tok->word.score = fmp_arena_take_zero(tok->arena, tok->size, sizeof *tok->word.score);
        FMP_TRY(fmp_arena_ok(tok->arena, err));
    }
    for (size_t i = 0; i < r->n; i++) {
        const entry *e = &r->entries[i];
        if (i % TK_AHEAD == 0) { fetch_entries(r, i); }
        if (unigram) {
            FMP_TRY(tk_vocab_put(tok, e->text, e->len, e->id, err));
            tok->word.score[e->id] = e->score;
        } else {
            FMP_TRY(tk_vocab_add(tok, e->text, e->len, e->id, "model.vocab", err));
        }
        tok->in_model[e->id] = 1;
    }
    return FMP_OK;
}

/* ---- merges ---- */
static fmp_status must_be_off(const cJSON *model, const char *key, fmp_err *err)
{
    const cJSON *node = fmp_json_get(model, key);
    double value;
    bool off = tk_is_null(node) || (cJSON_IsString(node) && node->valuestring[0] == '\0') ||
               (fmp_json_number(node, &value) && value == 0);
    if (off) { return FMP_OK; }
    return fmp_fail(err, FMP_E_UNSUPPORTED, "model.%s: expected null, found a value; it is not supported",
                    key);
}

/* A merge, written "a b" or ["a", "b"]. */
static fmp_status read_merge(reader *r, tk_json *j, tk_merge_batch *batch, fmp_err *err)
{
    tk_key a = {NULL, 0}, b = {NULL, 0};
    if (tk_json_peek(j) == '"') {
        FMP_TRY(tk_json_string(j, &a.s, &a.len, err));
        const char *space = memchr(a.s, ' ', a.len);
        b.s = space ? space + 1 : NULL;
        b.len = space ? a.len - (size_t)(b.s - a.s) : 0;
        if (!space || memchr(b.s, ' ', b.len)) {
            return fmp_fail(err, FMP_E_DATA,
                            "model.merges[%u]: expected two tokens with one space between, found \"%.*s\"",
                            r->n_merges, (int)(a.len < 60 ? a.len : 60), a.s);
        }
        a.len = (size_t)(space - a.s);
        return tk_merge_texts(r->tok, batch, a, b, err);
    }
    if (!tk_json_take(j, '[')) { return tk_json_fail(j, "\"a b\" or [\"a\", \"b\"]", err); }
    FMP_TRY(tk_json_string(j, &a.s, &a.len, err));
    r->left.len = 0; /* the second string may take the place of the first */
    fmp_buf_add(&r->left, a.s, a.len);
    FMP_TRY(fmp_buf_ok(&r->left, err));
    if (!tk_json_take(j, ',')) { return tk_json_fail(j, "',' and a second token", err); }
    FMP_TRY(tk_json_string(j, &b.s, &b.len, err));
    if (!tk_json_take(j, ']')) { return tk_json_fail(j, "']' after two tokens", err); }
    return tk_merge_texts(r->tok, batch, (tk_key){r->left.data ? r->left.data : "", a.len}, b, err);
}

static fmp_status scan_merges(reader *r, tk_json *j, tk_merge_batch *batch, fmp_err *err)
{
    if (!tk_json_take(j, '[')) { return tk_json_fail(j, "an array", err); }
    if (tk_json_take(j, ']')) { return tk_merges_end(r->tok, batch, err); }
    do {
        if (r->n_merges == 2 * TK_MAX_TOKENS) {
            return fmp_fail(err, FMP_E_RANGE, "model.merges: expected at most %zu, found more",
                            2 * TK_MAX_TOKENS);
        }
        FMP_TRY(read_merge(r, j, batch, err));
        r->n_merges++;
    } while (tk_json_take(j, ','));
    if (!tk_json_take(j, ']')) { return tk_json_fail(j, "',' or ']'", err); }
    return tk_merges_end(r->tok, batch, err);
}

static fmp_status read_merges(reader *r, fmp_err *err)
{
    tk_json j = {.s = r->text, .len = r->merges.end, .at = r->merges.begin};
    tk_merge_batch batch = {.n = 0};
    char c = tk_json_peek(&j);
    if (r->merges.end == 0 || c != '[') {
        return fmp_fail(err, FMP_E_DATA, "model.merges: expected an array, found %s",
                        c == '{' ? "an object" : "something else");
    }
    fmp_status status = scan_merges(r, &j, &batch, err);
    if (status != FMP_OK && strncmp(err ? err->message : "", "model.", 6) != 0) {
        char where[48];
        snprintf(where, sizeof where, "model.merges[%u]", r->n_merges);
        status = at_part(where, status, err);
    }
    fmp_buf_free(&j.text);
    fmp_buf_free(&batch.text);
    fmp_buf_free(&r->left);
    return status;
}

/* ---- models ---- */
static fmp_status unk_by_name(fmp_tokenizer *tok, const cJSON *model, bool required, fmp_err *err)
{
    const cJSON *unk = fmp_json_get(model, "unk_token");
    if (tk_is_null(unk) && !required) { return FMP_OK; }
    if (!cJSON_IsString(unk)) {
        return fmp_fail(err, FMP_E_DATA, "model.unk_token: expected a string, found %s", tk_kind_name(unk));
    }
    tok->unk_model = fmp_tokenizer_id_of(tok, unk->valuestring);
    if (tok->unk_model == FMP_TOKEN_NONE) {
        return fmp_fail(err, FMP_E_DATA, "model.unk_token: \"%s\" is not a token", unk->valuestring);
    }
    return FMP_OK;
}

/* A short string that may be absent or empty: NULL then. */
static fmp_status affix(fmp_tokenizer *tok, const cJSON *model, const char *key, const char **out,
                        fmp_err *err)
{
    const char *text = "";
    *out = NULL;
    if (tk_is_null(fmp_json_get(model, key))) { return FMP_OK; }
    FMP_TRY(tk_want_string(model, key, "model", &text, err));
    if (strlen(text) > MAX_AFFIX) {
        return fmp_fail(err, FMP_E_RANGE, "model.%s: expected at most %u bytes, found %zu", key, MAX_AFFIX,
                        strlen(text));
    }
    if (text[0] != '\0') { *out = fmp_arena_strdup(tok->arena, text); }
    return fmp_arena_ok(tok->arena, err);
}

static fmp_status parse_bpe(reader *r, const cJSON *model, fmp_err *err)
{
    fmp_tokenizer *tok = r->tok;
    tok->model = TK_BPE;
    FMP_TRY(must_be_off(model, "dropout", err));
    FMP_TRY(affix(tok, model, "continuing_subword_prefix", &tok->inner_prefix, err));
    FMP_TRY(affix(tok, model, "end_of_word_suffix", &tok->word_suffix, err));
    FMP_TRY(tk_want_bool(model, "fuse_unk", false, "model", &tok->fuse_unk, err));
    FMP_TRY(tk_want_bool(model, "byte_fallback", false, "model", &tok->byte_fallback, err));
    FMP_TRY(tk_want_bool(model, "ignore_merges", false, "model", &tok->ignore_merges, err));
    FMP_TRY(unk_by_name(tok, model, false, err));
    if (tok->byte_level && (tok->inner_prefix || tok->word_suffix)) {
        /* spelled in the byte alphabet, such a vocabulary is one of characters */
        tk_split *step = NULL;
        if (!tok->maps_bytes) { FMP_TRY(tk_add_split(tok, TK_SPLIT_MAP_BYTES, "model", &step, err)); }
        tok->maps_bytes = tok->byte_level = false;
    }
    tk_fill_bytes(tok);
    return read_merges(r, err);
}

static fmp_status parse_unigram(reader *r, const cJSON *model, fmp_err *err)
{
    fmp_tokenizer *tok = r->tok;
    const cJSON *unk = fmp_json_get(model, "unk_id");
    tok->model = TK_UNIGRAM;
    tok->fuse_unk = true;
    FMP_TRY(tk_want_bool(model, "byte_fallback", false, "model", &tok->byte_fallback, err));
    if (!tk_is_null(unk)) {
        FMP_TRY(tk_want_id(unk, tok->size - 1, "model.unk_id", &tok->unk_model, err));
        if (!tok->in_model[tok->unk_model]) {
            return fmp_fail(err, FMP_E_DATA, "model.unk_id: no piece has id %u", tok->unk_model);
        }
    }
    tk_fill_bytes(tok);
    return tk_unigram_init(tok, tok->in_model, err);
}

static fmp_status parse_wordpiece(reader *r, const cJSON *model, fmp_err *err)
{
    fmp_tokenizer *tok = r->tok;
    const char *prefix = "##";
    tok->model = TK_WORDPIECE;
    tok->word.max_chars = 100;
    FMP_TRY(unk_by_name(tok, model, true, err));
    if (fmp_json_get(model, "continuing_subword_prefix")) {
        FMP_TRY(tk_want_string(model, "continuing_subword_prefix", "model", &prefix, err));
    }
    if (!tk_is_null(fmp_json_get(model, "max_input_chars_per_word"))) {
        FMP_TRY(tk_want_id(fmp_json_get(model, "max_input_chars_per_word"), 1u << 20,
                           "model.max_input_chars_per_word", &tok->word.max_chars, err));
    }
    return tk_wordpiece_init(tok, prefix, err);
}

static fmp_status parse_wordlevel(reader *r, const cJSON *model, fmp_err *err)
{
    r->tok->model = TK_WORDLEVEL;
    return unk_by_name(r->tok, model, false, err);
}

typedef struct model_kind {
    const char *name;
    bool array; /* its vocabulary is an array */
    fmp_status (*parse)(reader *r, const cJSON *model, fmp_err *err);
} model_kind;

static const model_kind model_kinds[] = {{"BPE", false, parse_bpe},
                                         {"Unigram", true, parse_unigram},
                                         {"WordPiece", false, parse_wordpiece},
                                         {"WordLevel", false, parse_wordlevel}};

/* Files from before 0.13 do not name their model. */
static const char *implied_kind(const reader *r, const cJSON *model)
{
    if (fmp_json_get(model, "merges")) { return "BPE"; }
    if (fmp_json_get(model, "unk_id") || (r->vocab.end > 0 && r->text[r->vocab.begin] == '[')) {
        return "Unigram";
    }
    return fmp_json_get(model, "max_input_chars_per_word") ? "WordPiece" : "WordLevel";
}

static fmp_status find_kind(const reader *r, const cJSON *model, const model_kind **out, fmp_err *err)
{
    const cJSON *type = fmp_json_get(model, "type"), *vocab = fmp_json_get(model, "vocab");
    if (type && !cJSON_IsString(type)) {
        return fmp_fail(err, FMP_E_DATA, "model.type: expected a string, found %s", tk_kind_name(type));
    }
    const char *name = type ? type->valuestring : implied_kind(r, model);
    for (size_t i = 0; i < sizeof model_kinds / sizeof *model_kinds; i++) {
        const model_kind *kind = &model_kinds[i];
        if (strcmp(kind->name, name) != 0) { continue; }
        if (r->vocab.end == 0 || (r->text[r->vocab.begin] == '[') != kind->array) {
            return fmp_fail(err, FMP_E_DATA, "model.vocab: expected %s, found %s",
                            kind->array ? "an array" : "an object", tk_kind_name(vocab));
        }
        *out = kind;
        return FMP_OK;
    }
    return fmp_fail(
        err, FMP_E_UNSUPPORTED,
        "model.type: tokenizer model \"%s\" is not supported; BPE, Unigram, WordPiece and WordLevel are",
        name);
}

/* ---- added tokens ---- */
static fmp_status parse_added_one(fmp_tokenizer *tok, const cJSON *node, const char *where, tk_added *out,
                                  fmp_err *err)
{
    const char *content = "";
    FMP_TRY(tk_want_string(node, "content", where, &content, err));
    FMP_TRY(tk_want_id(fmp_json_get(node, "id"), tok->size - 1, where, &out->id, err));
    FMP_TRY(tk_want_bool(node, "special", false, where, &out->special, err));
    FMP_TRY(tk_want_bool(node, "single_word", false, where, &out->single_word, err));
    FMP_TRY(tk_want_bool(node, "lstrip", false, where, &out->lstrip, err));
    FMP_TRY(tk_want_bool(node, "rstrip", false, where, &out->rstrip, err));
    FMP_TRY(tk_want_bool(node, "normalized", !out->special, where, &out->normalized, err));
    if (content[0] == '\0') {
        return fmp_fail(err, FMP_E_DATA, "%s.content: expected some text, found \"\"", where);
    }
    uint32_t known = fmp_tokenizer_id_of(tok, content);
    if (known == FMP_TOKEN_NONE) {
        FMP_TRY(tk_vocab_add(tok, content, strlen(content), out->id, where, err));
    } else if (known != out->id) {
        return fmp_fail(err, FMP_E_DATA, "%s.id: token \"%s\" has id %u already, found %u", where, content,
                        known, out->id);
    }
    out->content = tok->tokens[out->id].text;
    out->len = tok->tokens[out->id].text_len;
    tok->special[out->id] = out->special;
    return FMP_OK;
}

static fmp_status parse_added(fmp_tokenizer *tok, const cJSON *added, fmp_err *err)
{
    const cJSON *node;
    FMP_TRY(tk_added_init(tok, (size_t)cJSON_GetArraySize(added), err));
    uint8_t *seen = fmp_arena_take_zero(tok->arena, tok->size, 1);
    FMP_TRY(fmp_arena_ok(tok->arena, err));
    cJSON_ArrayForEach(node, added)
    {
        char where[64];
        snprintf(where, sizeof where, "added_tokens[%u]", tok->n_added);
        tk_added *out = &tok->added[tok->n_added++];
        FMP_TRY(parse_added_one(tok, node, where, out, err));
        if (seen[out->id]++) {
            return fmp_fail(err, FMP_E_DATA, "%s.id: id %u is used twice", where, out->id);
        }
    }
    return FMP_OK;
}

/* Tokens that are searched for in normalized text are normalized as well. */
static fmp_status normalize_added(fmp_tokenizer *tok, fmp_err *err)
{
    tk_matcher m = {0};
    tk_text a = {0}, b = {0};
    fmp_status status = tk_matcher_init(&m, err);
    for (uint32_t i = 0; i < tok->n_added && status == FMP_OK && tok->n_norm > 0; i++) {
        tk_added *t = &tok->added[i];
        tk_view in = {t->content, t->len, NULL, 0}, out;
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

static fmp_status build(reader *r, const cJSON *root, fmp_err *err)
{
    fmp_tokenizer *tok = r->tok;
    const cJSON *model = fmp_json_get(root, "model"), *added = fmp_json_get(root, "added_tokens");
    const model_kind *kind = NULL;
    size_t size = 0;
    if (!cJSON_IsObject(root) || !cJSON_IsObject(model)) {
        return fmp_fail(err, FMP_E_DATA, "model: expected an object, found %s",
                        tk_kind_name(cJSON_IsObject(root) ? model : root));
    }
    if (!tk_is_null(added) && !cJSON_IsArray(added)) {
        return fmp_fail(err, FMP_E_DATA, "added_tokens: expected an array, found %s", tk_kind_name(added));
    }
    FMP_TRY(find_kind(r, model, &kind, err));
    FMP_TRY(tk_parse_normalizer(tok, fmp_json_get(root, "normalizer"), err));
    FMP_TRY(tk_parse_pre_tokenizer(tok, fmp_json_get(root, "pre_tokenizer"), err));
    FMP_TRY(tk_parse_decoder(tok, fmp_json_get(root, "decoder"), err));
    FMP_TRY(scan_vocab(r, err));
    FMP_TRY(count_ids(r, added, &size, err));
    FMP_TRY(tk_vocab_init(tok, size, err));
    FMP_TRY(put_vocab(r, kind->array, err));
    FMP_TRY(parse_added(tok, added, err));
    FMP_TRY(kind->parse(r, model, err));
    FMP_TRY(tk_parse_post(tok, fmp_json_get(root, "post_processor"), err));
    FMP_TRY(normalize_added(tok, err));
    return tk_complete(tok, err);
}

/* The text without what lies in two parts, of each of which an empty array or object is left; returns its length. */
static size_t without(const char *text, size_t len, tk_json_range a, tk_json_range b, char *out)
{
    size_t at = 0, n = 0;
    if (b.end > 0 && b.begin < a.begin) {
        tk_json_range swap = a;
        a = b;
        b = swap;
    }
    const tk_json_range parts[] = {a, b};
    for (size_t i = 0; i < 2; i++) {
        if (parts[i].end == 0) { continue; }
        memcpy(out + n, text + at, parts[i].begin + 1 - at);
        n += parts[i].begin + 1 - at;
        at = parts[i].end - 1;
    }
    memcpy(out + n, text + at, len - at);
    return n + len - at;
}

/* The same with white space of the same lines instead, so that positions stay. */
static void blank(char *s, tk_json_range part)
{
    for (size_t i = part.begin + 1; part.end > 0 && i + 1 < part.end; i++) {
        if (s[i] != '\n') { s[i] = ' '; }
    }
}

/* All but the two large parts as a tree. An error's position is that in the whole text. */
static fmp_status parse_rest(const reader *r, size_t len, char *rest, cJSON **root, fmp_err *err)
{
    fmp_json_limits limits = {.max_bytes = TK_MAX_FILE, .max_depth = 32};
    if (r->vocab.end > 0) {
        fmp_err unused = FMP_ERR_INIT;
        size_t n = without(r->text, len, r->vocab, r->merges, rest);
        if (fmp_json_parse(rest, n, &limits, root, &unused) == FMP_OK) { return FMP_OK; }
    }
    memcpy(rest, r->text, len);
    blank(rest, r->vocab);
    blank(rest, r->merges);
    return fmp_json_parse(rest, len, &limits, root, err);
}

fmp_status tk_read_json(fmp_tokenizer *tok, const char *text, size_t len, fmp_err *err)
{
    reader r = {.tok = tok, .text = text};
    cJSON *root = NULL;
    fmp_arena *nodes = fmp_arena_new(0);
    char *rest = malloc(len + 1);
    if (!nodes || !rest) {
        fmp_arena_free(nodes);
        free(rest);
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for a tokenizer");
    }
    if (len <= TK_MAX_FILE && fmp_utf8_invalid_at(text, len) == len) {
        tk_json_model_parts(text, len, &r.vocab, &r.merges);
    }
    fmp_arena *outer = fmp_json_scope(nodes);
    fmp_status status = parse_rest(&r, len, rest, &root, err);
    fmp_json_scope(outer);
    if (status == FMP_OK) { status = build(&r, root, err); }
    fmp_arena_free(nodes);
    free(rest);
    free(r.entries);
    return status;
}
