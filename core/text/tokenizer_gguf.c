/*
 * tokenizer_gguf.c: the vocabulary in a GGUF file's metadata to an fmp_tokenizer. Start reading at tk_read_gguf().
 *
 * The kinds, by tokenizer.ggml.model: gpt2 (byte-level BPE), llama (SentencePiece BPE), t5 (SentencePiece Unigram), bert
 * (WordPiece with a mark before words instead of one inside). Text is treated as llama.cpp treats it, which is where such
 * files come from and what their published ids are of: control tokens where asked for, user-defined ones always, and the
 * text between them each with its own space in front, where the model wants one.
 * The file is hostile until checked: every length against the bytes left, every array against every other.
 * Source   the GGUF specification, versions 2 and 3; llama.cpp, February 2025.
 */
#include "tokenizer_impl.h"

#include <math.h>
#include <stdlib.h>

#define META     "\xE2\x96\x81"
#define MAX_KEYS 65536u

enum { T_U8, T_I8, T_U16, T_I16, T_U32, T_I32, T_F32, T_BOOL, T_STRING, T_ARRAY, T_U64, T_I64, T_F64, T_END };
enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 };

static const uint8_t type_size[T_END] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

typedef struct cursor {
    const unsigned char *p;
    size_t len, at;
} cursor;

typedef struct text {
    const char *s;
    size_t len;
} text;

/* A value: an array's elements, or one, lie at p. */
typedef struct value {
    const unsigned char *p;
    size_t n, size_bytes;
    uint32_t type;
    bool array, found;
} value;

static fmp_status cut_off(const cursor *c, const char *what, uint64_t need, fmp_err *err)
{
    fmp_status status = fmp_fail(err, FMP_E_DATA, "GGUF: %s at byte %zu needs %llu bytes, %zu are left", what,
                                 c->at, (unsigned long long)need, c->len - c->at);
    (void)fmp_err_at(err, NULL, 0, 0, c->at);
    return status;
}

static fmp_status get_uint(cursor *c, size_t n, const char *what, uint64_t *out, fmp_err *err)
{
    if (n > c->len - c->at) { return cut_off(c, what, n, err); }
    *out = 0;
    for (size_t i = 0; i < n; i++) {
        *out |= (uint64_t)c->p[c->at + i] << (8 * i);
    }
    c->at += n;
    return FMP_OK;
}

static fmp_status get_text(cursor *c, const char *what, text *out, fmp_err *err)
{
    uint64_t len = 0;
    FMP_TRY(get_uint(c, 8, what, &len, err));
    if (len > c->len - c->at) { return cut_off(c, what, len, err); }
    *out = (text){(const char *)c->p + c->at, (size_t)len};
    c->at += (size_t)len;
    return FMP_OK;
}

/* n values of one type; strings one after the other. */
static fmp_status get_elements(cursor *c, uint32_t type, uint64_t n, value *out, fmp_err *err)
{
    size_t begin = c->at, size = 0;
    text ignored;
    *out = (value){.p = c->p + c->at, .type = type, .found = true};
    if (type >= T_END || type == T_ARRAY) {
        return fmp_fail(err, type == T_ARRAY ? FMP_E_UNSUPPORTED : FMP_E_DATA,
                        "GGUF: value type %u at byte %zu", type, c->at);
    }
    if (n > (c->len - c->at) / (type == T_STRING ? 8 : type_size[type])) {
        return cut_off(c, "an array", n, err);
    }
    if (type == T_STRING) {
        for (uint64_t i = 0; i < n; i++) {
            FMP_TRY(get_text(c, "a string", &ignored, err));
        }
        size = c->at - begin;
    } else {
        size = (size_t)n * type_size[type];
        c->at += size;
    }
    out->n = (size_t)n;
    out->size_bytes = size;
    return FMP_OK;
}

static fmp_status get_value(cursor *c, value *out, fmp_err *err)
{
    uint64_t type = 0, n = 0;
    FMP_TRY(get_uint(c, 4, "a value's type", &type, err));
    if (type != T_ARRAY) { return get_elements(c, (uint32_t)type, 1, out, err); }
    FMP_TRY(get_uint(c, 4, "an array's type", &type, err));
    FMP_TRY(get_uint(c, 8, "an array's length", &n, err));
    FMP_TRY(get_elements(c, (uint32_t)type, n, out, err));
    out->array = true;
    return FMP_OK;
}

/* ---- the metadata that says what the tokenizer is ---- */
enum {
    K_MODEL,
    K_PRE,
    K_TOKENS,
    K_SCORES,
    K_TYPES,
    K_MERGES,
    K_BOS,
    K_EOS,
    K_UNK,
    K_PAD,
    K_SEP,
    K_CLS,
    K_ADD_BOS,
    K_ADD_EOS,
    K_ADD_SEP,
    K_PREFIX_SPACE,
    K_EXTRA_SPACES,
    K_CHARSMAP,
    K_ARCHITECTURE,
    K_NAME,
    N_KEYS
};

static const char *const key_names[N_KEYS] = {
    [K_MODEL] = "tokenizer.ggml.model",
    [K_PRE] = "tokenizer.ggml.pre",
    [K_TOKENS] = "tokenizer.ggml.tokens",
    [K_SCORES] = "tokenizer.ggml.scores",
    [K_TYPES] = "tokenizer.ggml.token_type",
    [K_MERGES] = "tokenizer.ggml.merges",
    [K_BOS] = "tokenizer.ggml.bos_token_id",
    [K_EOS] = "tokenizer.ggml.eos_token_id",
    [K_UNK] = "tokenizer.ggml.unknown_token_id",
    [K_PAD] = "tokenizer.ggml.padding_token_id",
    [K_SEP] = "tokenizer.ggml.seperator_token_id",
    [K_CLS] = "tokenizer.ggml.cls_token_id",
    [K_ADD_BOS] = "tokenizer.ggml.add_bos_token",
    [K_ADD_EOS] = "tokenizer.ggml.add_eos_token",
    [K_ADD_SEP] = "tokenizer.ggml.add_sep_token",
    [K_PREFIX_SPACE] = "tokenizer.ggml.add_space_prefix",
    [K_EXTRA_SPACES] = "tokenizer.ggml.remove_extra_whitespaces",
    [K_CHARSMAP] = "tokenizer.ggml.precompiled_charsmap",
    [K_ARCHITECTURE] = "general.architecture",
    [K_NAME] = "general.name",
};

typedef struct gguf {
    value v[N_KEYS];
    size_t n; /* tokens */
    /* by token, in the tokenizer's arena */
    uint8_t *type, *takes_part;
    float *score;
} gguf;

static fmp_status read_head(cursor *c, uint64_t *n_keys, fmp_err *err)
{
    uint64_t version = 0, n_tensors = 0;
    if (c->len < 4 || memcmp(c->p, "GGUF", 4) != 0) {
        return fmp_fail(err, FMP_E_DATA, "expected a GGUF file");
    }
    c->at = 4;
    FMP_TRY(get_uint(c, 4, "the version", &version, err));
    if (version != 2 && version != 3) {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "GGUF: expected version 2 or 3, little-endian, found %llu",
                        (unsigned long long)version);
    }
    FMP_TRY(get_uint(c, 8, "the number of tensors", &n_tensors, err));
    FMP_TRY(get_uint(c, 8, "the number of keys", n_keys, err));
    if (*n_keys > MAX_KEYS) {
        return fmp_fail(err, FMP_E_RANGE, "GGUF: expected at most %u keys, found %llu", MAX_KEYS,
                        (unsigned long long)*n_keys);
    }
    return FMP_OK;
}

static fmp_status read_metadata(cursor *c, gguf *g, fmp_err *err)
{
    uint64_t n_keys = 0;
    FMP_TRY(read_head(c, &n_keys, err));
    for (uint64_t i = 0; i < n_keys; i++) {
        text key;
        value v;
        FMP_TRY(get_text(c, "a key", &key, err));
        FMP_TRY(get_value(c, &v, err));
        for (unsigned k = 0; k < N_KEYS; k++) {
            if (strlen(key_names[k]) != key.len || memcmp(key_names[k], key.s, key.len) != 0) { continue; }
            if (g->v[k].found) {
                return fmp_fail(err, FMP_E_DATA, "GGUF: key %s occurs twice", key_names[k]);
            }
            g->v[k] = v;
        }
    }
    return FMP_OK;
}

static fmp_status wrong_type(unsigned key, const char *expected, const value *v, fmp_err *err)
{
    return fmp_fail(err, FMP_E_DATA, "%s: expected %s, found %s%s%u", key_names[key], expected,
                    v->found ? (v->array ? "an array of type " : "type ") : "nothing", v->found ? "" : " ",
                    v->type);
}

/* A short text, or `fallback` where the key is absent. */
static fmp_status want_name(const gguf *g, unsigned key, const char *fallback, char *out, size_t room,
                            fmp_err *err)
{
    const value *v = &g->v[key];
    snprintf(out, room, "%s", fallback);
    if (!v->found) { return FMP_OK; }
    if (v->array || v->type != T_STRING) { return wrong_type(key, "a string", v, err); }
    size_t len = v->size_bytes - 8;
    if (len >= room || memchr(v->p + 8, '\0', len) ||
        fmp_utf8_invalid_at((const char *)v->p + 8, len) < len) {
        return fmp_fail(err, FMP_E_DATA, "%s: expected a text of less than %zu bytes", key_names[key], room);
    }
    memcpy(out, v->p + 8, len);
    out[len] = '\0';
    return FMP_OK;
}

static fmp_status want_flag(const gguf *g, unsigned key, bool fallback, bool *out, fmp_err *err)
{
    const value *v = &g->v[key];
    *out = fallback;
    if (!v->found) { return FMP_OK; }
    if (v->array || v->type != T_BOOL || v->p[0] > 1) { return wrong_type(key, "a boolean", v, err); }
    *out = v->p[0] == 1;
    return FMP_OK;
}

static fmp_status want_token(const gguf *g, unsigned key, uint32_t fallback, uint32_t *out, fmp_err *err)
{
    const value *v = &g->v[key];
    *out = fallback < g->n ? fallback : FMP_TOKEN_NONE;
    if (!v->found) { return FMP_OK; }
    if (v->array || (v->type != T_U32 && v->type != T_I32)) {
        return wrong_type(key, "a 32-bit number", v, err);
    }
    uint32_t id =
        (uint32_t)v->p[0] | (uint32_t)v->p[1] << 8 | (uint32_t)v->p[2] << 16 | (uint32_t)v->p[3] << 24;
    if (id == UINT32_MAX) {
        *out = FMP_TOKEN_NONE;
        return FMP_OK;
    }
    if (id >= g->n) {
        return fmp_fail(err, FMP_E_RANGE, "%s: expected an id below %zu, found %u", key_names[key], g->n, id);
    }
    *out = id;
    return FMP_OK;
}

/* ---- tokens ---- */
static fmp_status check_array(const gguf *g, unsigned key, uint32_t a, uint32_t b, size_t n, fmp_err *err)
{
    const value *v = &g->v[key];
    if (!v->array || (v->type != a && v->type != b)) { return wrong_type(key, "another array", v, err); }
    if (n != SIZE_MAX && v->n != n) {
        return fmp_fail(err, FMP_E_DATA, "%s: expected %zu values, one for each token, found %zu",
                        key_names[key], n, v->n);
    }
    return FMP_OK;
}

static uint32_t u32_at(const value *v, size_t i)
{
    const unsigned char *p = v->p + 4 * i;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static fmp_status read_types(fmp_tokenizer *tok, gguf *g, fmp_err *err)
{
    g->type = fmp_arena_take_zero(tok->arena, g->n, 1);
    g->takes_part = fmp_arena_take_zero(tok->arena, g->n, 1);
    g->score = fmp_arena_take_zero(tok->arena, g->n, sizeof *g->score);
    FMP_TRY(fmp_arena_ok(tok->arena, err));
    memset(g->type, NORMAL, g->n);
    if (g->v[K_TYPES].found) { FMP_TRY(check_array(g, K_TYPES, T_I32, T_U32, g->n, err)); }
    if (g->v[K_SCORES].found) { FMP_TRY(check_array(g, K_SCORES, T_F32, T_F32, g->n, err)); }
    for (size_t i = 0; i < g->n; i++) {
        if (g->v[K_TYPES].found) {
            uint32_t type = u32_at(&g->v[K_TYPES], i);
            if (type > BYTE) {
                return fmp_fail(err, FMP_E_DATA, "%s: token %zu: unknown type %u", key_names[K_TYPES], i,
                                type);
            }
            g->type[i] = type == 0 ? NORMAL : (uint8_t)type;
        }
        if (g->v[K_SCORES].found) {
            uint32_t bits = u32_at(&g->v[K_SCORES], i);
            memcpy(&g->score[i], &bits, sizeof bits);
            if (!isfinite(g->score[i])) {
                return fmp_fail(err, FMP_E_DATA, "%s: token %zu: expected a finite number",
                                key_names[K_SCORES], i);
            }
        }
    }
    return FMP_OK;
}

/* A text that another token has already stays the later one's, as in llama.cpp. */
static fmp_status put_tokens(fmp_tokenizer *tok, gguf *g, fmp_err *err)
{
    cursor c = {g->v[K_TOKENS].p, g->v[K_TOKENS].size_bytes, 0};
    size_t n_found = 0;
    FMP_TRY(tk_vocab_init(tok, g->n, err));
    for (uint32_t id = 0; id < g->n; id++) {
        text t;
        FMP_TRY(get_text(&c, "a token", &t, err));
        if (fmp_utf8_invalid_at(t.s, t.len) < t.len) {
            return fmp_fail(err, FMP_E_DATA, "%s: token %u: expected UTF-8", key_names[K_TOKENS], id);
        }
        FMP_TRY(tk_vocab_put(tok, t.s, t.len, id, err));
        uint8_t type = g->type[id];
        tok->in_model[id] = type != CONTROL;
        g->takes_part[id] = type == NORMAL || type == USER_DEFINED || type == UNUSED;
        n_found += type == CONTROL || type == UNKNOWN || type == USER_DEFINED;
    }
    FMP_TRY(tk_added_init(tok, n_found, err));
    return FMP_OK;
}

/* Phi-3 takes white space away after its tokens in <|...|>, and after </s>. */
static bool takes_space(const gguf *g, const tk_token *t, fmp_err *err)
{
    char arch[64], name[256];
    if (want_name(g, K_ARCHITECTURE, "", arch, sizeof arch, err) != FMP_OK) { return false; }
    if (want_name(g, K_NAME, "", name, sizeof name, err) != FMP_OK) { return false; }
    bool phi3 = strcmp(arch, "phi3") == 0 || strstr(name, "phi-3") || strstr(name, "Phi-3");
    if (!phi3 || strcmp(t->text, "<|endoftext|>") == 0) { return false; }
    return strcmp(t->text, "</s>") == 0 || (t->text_len > 4 && memcmp(t->text, "<|", 2) == 0);
}

static void put_found(fmp_tokenizer *tok, const gguf *g)
{
    for (uint32_t id = 0; id < g->n; id++) {
        uint8_t type = g->type[id];
        bool special = type == CONTROL || type == UNKNOWN;
        if (!special && type != USER_DEFINED) { continue; }
        tk_added_put(tok, id, special, false, takes_space(g, &tok->tokens[id], NULL));
    }
}

/* ---- the four kinds ---- */
static fmp_status make_spm(fmp_tokenizer *tok, gguf *g, fmp_err *err)
{
    tk_norm *step = NULL;
    uint32_t *rank = NULL;
    bool prefix = true;
    FMP_TRY(want_flag(g, K_PREFIX_SPACE, true, &prefix, err));
    FMP_TRY(tk_add_norm(tok, TK_NORM_SPM, "GGUF", &step, err));
    step->spm = (tk_spm_rules){.dummy_prefix = prefix, .escape_spaces = true};
    tok->model = TK_BPE;
    tok->byte_fallback = tok->decode.byte_fallback = tok->fuse_unk = true;
    tk_fill_bytes(tok);
    FMP_TRY(tk_ranks_of_scores(tok, g->score, g->takes_part, &rank, err));
    FMP_TRY(tk_merges_of_ranks(tok, rank, err));
    tk_decode_meta(tok, META);
    tok->decode.strip = ' ';
    tok->decode.n_strip = prefix;
    return FMP_OK;
}

static fmp_status make_ugm(fmp_tokenizer *tok, gguf *g, fmp_err *err)
{
    tk_norm *step = NULL;
    const value *map = &g->v[K_CHARSMAP];
    bool prefix = false, extra = false;
    FMP_TRY(want_flag(g, K_PREFIX_SPACE, false, &prefix, err));
    FMP_TRY(want_flag(g, K_EXTRA_SPACES, false, &extra, err));
    FMP_TRY(tk_add_norm(tok, TK_NORM_SPM, "GGUF", &step, err));
    step->spm = (tk_spm_rules){.dummy_prefix = prefix, .remove_extra_spaces = extra, .escape_spaces = true};
    if (map->found) {
        FMP_TRY(check_array(g, K_CHARSMAP, T_U8, T_I8, SIZE_MAX, err));
        FMP_TRY(tk_charsmap_open(tok, (const char *)map->p, map->n, key_names[K_CHARSMAP], &step->map, err));
    }
    tok->model = TK_UNIGRAM;
    tok->word.single = tok->fuse_unk = true;
    tok->word.score = fmp_arena_take_zero(tok->arena, g->n, sizeof *tok->word.score);
    FMP_TRY(fmp_arena_ok(tok->arena, err));
    for (size_t i = 0; i < g->n; i++) {
        tok->word.score[i] = g->type[i] == USER_DEFINED ? 0.0 : (double)g->score[i];
        g->takes_part[i] = g->type[i] == NORMAL ? 1 : g->type[i] == USER_DEFINED ? 2 : 0;
    }
    tk_decode_meta(tok, META);
    tok->decode.strip = ' ';
    tok->decode.n_strip = extra ? UINT32_MAX : prefix;
    tok->decode.strip_on = extra;
    return tk_unigram_init(tok, g->takes_part, err);
}

static fmp_status make_wpm(fmp_tokenizer *tok, const gguf *g, fmp_err *err)
{
    (void)g;
    FMP_TRY(tk_add_chars(tok, tk_chars_base, "GGUF", err));
    FMP_TRY(tk_add_chars(tok, tk_chars_wpm, "GGUF", err));
    FMP_TRY(tk_add_pattern(tok, " ", true, TK_REMOVED, false, "GGUF", err));
    tok->model = TK_WORDPIECE;
    tok->word.begin = META;
    tok->word.max_chars = 1u << 20;
    tk_decode_meta(tok, META);
    tok->decode.strip = ' ';
    tok->decode.n_strip = 1;
    return tk_wordpiece_init(tok, "", err);
}

static fmp_status put_merges(fmp_tokenizer *tok, const gguf *g, fmp_err *err)
{
    const value *v = &g->v[K_MERGES];
    FMP_TRY(check_array(g, K_MERGES, T_STRING, T_STRING, SIZE_MAX, err));
    if (v->n > TK_MAX_TOKENS) {
        return fmp_fail(err, FMP_E_RANGE, "%s: expected at most %zu, found %zu", key_names[K_MERGES],
                        TK_MAX_TOKENS, v->n);
    }
    cursor c = {v->p, v->size_bytes, 0};
    tk_merge_batch batch = {.n = 0};
    fmp_status status = FMP_OK;
    for (size_t i = 0; i < v->n && status == FMP_OK; i++) {
        text t;
        status = get_text(&c, "a merge", &t, err);
        if (status != FMP_OK) { break; }
        const char *space =
            t.len > 1 ? memchr(t.s + 1, ' ', t.len - 1) : NULL; /* a token may begin with a space */
        size_t a = space ? (size_t)(space - t.s) : 0, b = space ? t.len - a - 1 : 0;
        status = tk_merge_texts(tok, &batch, (tk_key){t.s, a}, (tk_key){space ? space + 1 : "", b}, err);
    }
    if (status == FMP_OK) { status = tk_merges_end(tok, &batch, err); }
    fmp_buf_free(&batch.text);
    return status;
}

static fmp_status make_bpe(fmp_tokenizer *tok, const gguf *g, unsigned *flags, fmp_err *err)
{
    char pre[64];
    FMP_TRY(want_name(g, K_PRE, "default", pre, sizeof pre, err));
    tok->model = TK_BPE;
    tok->byte_level = tok->decode.byte_level = true;
    FMP_TRY(tk_gguf_pre(tok, pre, flags, err));
    tok->ignore_merges = (*flags & TK_PRE_IGNORE_MERGES) != 0;
    tok->unk_model = FMP_TOKEN_NONE;
    tk_fill_bytes(tok);
    return put_merges(tok, g, err);
}

typedef struct defaults {
    const char *model;
    uint32_t bos, eos, unk;
    bool add_bos, add_eos, add_sep;
} defaults;

static const defaults kinds[] = {
    {"llama", 1, 2, 0, true, false, false},
    {"gpt2", 11, 11, FMP_TOKEN_NONE, false, false, false},
    {"bert", 101, FMP_TOKEN_NONE, 100, true, false, true},
    {"t5", FMP_TOKEN_NONE, 1, 2, false, true, false},
};

static fmp_status find_kind(const gguf *g, const defaults **out, fmp_err *err)
{
    char model[64];
    if (!g->v[K_MODEL].found || !g->v[K_TOKENS].found) {
        return fmp_fail(err, FMP_E_DATA, "GGUF: expected %s and %s, found a file without a vocabulary",
                        key_names[K_MODEL], key_names[K_TOKENS]);
    }
    FMP_TRY(want_name(g, K_MODEL, "", model, sizeof model, err));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].model, model) == 0) {
            *out = &kinds[i];
            return FMP_OK;
        }
    }
    return fmp_fail(err, FMP_E_UNSUPPORTED,
                    "%s: vocabulary \"%s\" is not supported; llama, gpt2, bert and t5 are",
                    key_names[K_MODEL], model);
}

static fmp_status fill(fmp_tokenizer *tok, gguf *g, const defaults *d, fmp_err *err)
{
    uint32_t cls = 0, sep = 0;
    bool add_bos = false, add_eos = false, add_sep = false;
    unsigned flags = 0;
    FMP_TRY(read_types(tok, g, err));
    FMP_TRY(want_token(g, K_BOS, d->bos, &tok->bos, err));
    FMP_TRY(want_token(g, K_EOS, d->eos, &tok->eos, err));
    FMP_TRY(want_token(g, K_UNK, d->unk, &tok->unk, err));
    FMP_TRY(want_token(g, K_PAD, FMP_TOKEN_NONE, &tok->pad, err));
    FMP_TRY(want_token(g, K_CLS, tok->bos, &cls, err));
    FMP_TRY(want_token(g, K_SEP, d->add_sep ? 102 : FMP_TOKEN_NONE, &sep, err));
    FMP_TRY(put_tokens(tok, g, err));
    put_found(tok, g);
    tok->unk_model = tok->unk;
    if (d == &kinds[0]) { FMP_TRY(make_spm(tok, g, err)); }
    if (d == &kinds[1]) { FMP_TRY(make_bpe(tok, g, &flags, err)); }
    if (d == &kinds[2]) { FMP_TRY(make_wpm(tok, g, err)); }
    if (d == &kinds[3]) { FMP_TRY(make_ugm(tok, g, err)); }
    FMP_TRY(want_flag(g, K_ADD_BOS, d->add_bos || (flags & TK_PRE_BOS), &add_bos, err));
    FMP_TRY(want_flag(g, K_ADD_EOS, d->add_eos, &add_eos, err));
    FMP_TRY(want_flag(g, K_ADD_SEP, d->add_sep || (flags & TK_PRE_SEP), &add_sep, err));
    bool wpm = d == &kinds[2];
    FMP_TRY(tk_put_template(tok, add_bos, wpm ? cls : tok->bos, add_eos || add_sep,
                            add_sep && sep != FMP_TOKEN_NONE ? sep : tok->eos, err));
    return tk_complete(tok, err);
}

fmp_status tk_read_gguf(fmp_tokenizer *tok, const char *text_, size_t len, size_t *used, fmp_err *err)
{
    cursor c = {(const unsigned char *)text_, len, 0};
    gguf g = {.n = 0};
    const defaults *d = NULL;
    FMP_TRY(read_metadata(&c, &g, err));
    *used = c.at;
    FMP_TRY(find_kind(&g, &d, err));
    FMP_TRY(check_array(&g, K_TOKENS, T_STRING, T_STRING, SIZE_MAX, err));
    g.n = g.v[K_TOKENS].n;
    if (g.n == 0 || g.n > TK_MAX_TOKENS) {
        return fmp_fail(err, FMP_E_RANGE, "%s: expected 1 to %zu tokens, found %zu", key_names[K_TOKENS],
                        TK_MAX_TOKENS, g.n);
    }
    return fill(tok, &g, d, err);
}

fmp_status tk_gguf_head(const char *data, size_t len, size_t *used, fmp_err *err)
{
    cursor c = {(const unsigned char *)data, len, 0};
    gguf g = {.n = 0};
    FMP_TRY(read_metadata(&c, &g, err));
    *used = c.at;
    return FMP_OK;
}

fmp_status tk_gguf_texts(const char *data, size_t len, const char *prefix, tk_gguf_text take, void *arg,
                         fmp_err *err)
{
    cursor c = {(const unsigned char *)data, len, 0};
    size_t n = strlen(prefix);
    uint64_t n_keys = 0;
    FMP_TRY(read_head(&c, &n_keys, err));
    for (uint64_t i = 0; i < n_keys; i++) {
        text key, found;
        value v;
        FMP_TRY(get_text(&c, "a key", &key, err));
        FMP_TRY(get_value(&c, &v, err));
        if (v.type != T_STRING || v.array || key.len < n || memcmp(key.s, prefix, n) != 0) { continue; }
        cursor at = {v.p, v.size_bytes, 0};
        FMP_TRY(get_text(&at, "a text", &found, err));
        FMP_TRY(take(arg, key.s + n, key.len - n, found.s, found.len, err));
    }
    return FMP_OK;
}
