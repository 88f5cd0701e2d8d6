/*
 * tokenizer_parts.c: the parts of tokenizer.json beside the model: normalizer, pre-tokenizer, decoder.
 *
 * Each is one step or a Sequence of steps, compiled into a flat list. What a kind or an option would do and fmpipe does
 * not is refused with its JSON path: a tokenizer that is nearly right trains a model that is quietly wrong.
 */
#include "tokenizer_impl.h"

#define DIGITS_PATTERN "\\p{N}"
#define PUNCTUATION_PATTERN "[\\x21-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\x7e\\p{P}]"

bool tk_is_null(const cJSON *node)
{
    return !node || cJSON_IsNull(node);
}

const char *tk_kind_name(const cJSON *node)
{
    if (!node) { return "nothing"; }
    if (cJSON_IsString(node)) { return "a string"; }
    if (cJSON_IsObject(node)) { return "an object"; }
    if (cJSON_IsArray(node)) { return "an array"; }
    if (cJSON_IsBool(node)) { return "a boolean"; }
    return cJSON_IsNull(node) ? "null" : "a number";
}

fmp_status tk_want_string(const cJSON *object, const char *key, const char *where, const char **out, fmp_err *err)
{
    const cJSON *node = fmp_json_get(object, key);
    if (!cJSON_IsString(node)) {
        return fmp_fail(err, FMP_E_DATA, "%s.%s: expected a string, found %s", where, key, tk_kind_name(node));
    }
    *out = node->valuestring;
    return FMP_OK;
}

fmp_status tk_want_bool(const cJSON *object, const char *key, bool fallback, const char *where, bool *out, fmp_err *err)
{
    const cJSON *node = fmp_json_get(object, key);
    *out = fallback;
    if (tk_is_null(node)) { return FMP_OK; }
    if (!cJSON_IsBool(node)) {
        return fmp_fail(err, FMP_E_DATA, "%s.%s: expected true or false, found %s", where, key, tk_kind_name(node));
    }
    *out = cJSON_IsTrue(node);
    return FMP_OK;
}

fmp_status tk_want_id(const cJSON *node, uint32_t max, const char *where, uint32_t *out, fmp_err *err)
{
    double value;
    if (!fmp_json_number(node, &value)) {
        return fmp_fail(err, FMP_E_DATA, "%s: expected a whole number, found %s", where, tk_kind_name(node));
    }
    if (!(value >= 0 && value <= max)) {
        return fmp_fail(err, FMP_E_RANGE, "%s: expected a whole number from 0 to %u, found %.17g", where, max, value);
    }
    *out = (uint32_t)value;
    if ((double)*out != value) {
        return fmp_fail(err, FMP_E_DATA, "%s: expected a whole number, found %.17g", where, value);
    }
    return FMP_OK;
}

static fmp_status unsupported(const char *what, const char *where, const char *found, const char *known, fmp_err *err)
{
    fmp_status status = fmp_fail(err, FMP_E_UNSUPPORTED, "%s.type: %s \"%s\" is not supported", where, what, found);
    (void)fmp_err_hint(err, "known here: %s", known);
    return status;
}

/* Run `step` on node itself, or on each member of a Sequence, whose array is called `list`. */
typedef fmp_status (*step_fn)(fmp_tokenizer *tok, const cJSON *node, const char *type, const char *where, fmp_err *err);

static fmp_status each_step(fmp_tokenizer *tok, const cJSON *node, const char *list, const char *where, unsigned depth,
                            step_fn step, fmp_err *err)
{
    const char *type = "";
    if (!cJSON_IsObject(node)) {
        return fmp_fail(err, FMP_E_DATA, "%s: expected an object or null, found %s", where, tk_kind_name(node));
    }
    FMP_TRY(tk_want_string(node, "type", where, &type, err));
    if (strcmp(type, "Sequence") != 0) { return step(tok, node, type, where, err); }
    const cJSON *array = fmp_json_get(node, list), *child;
    if (!cJSON_IsArray(array)) {
        return fmp_fail(err, FMP_E_DATA, "%s.%s: expected an array, found %s", where, list, tk_kind_name(array));
    }
    if (depth >= 4) { return fmp_fail(err, FMP_E_RANGE, "%s: sequences are nested more than 4 deep", where); }
    unsigned i = 0;
    cJSON_ArrayForEach(child, array)
    {
        char inner[160];
        snprintf(inner, sizeof inner, "%.120s.%s[%u]", where, list, i++);
        FMP_TRY(each_step(tok, child, list, inner, depth + 1, step, err));
    }
    return FMP_OK;
}

/* {"String": "..."} or {"Regex": "..."} */
static fmp_status parse_pattern(const cJSON *object, const char *where, const char **text, bool *literal, fmp_err *err)
{
    const cJSON *pattern = fmp_json_get(object, "pattern");
    const cJSON *string = fmp_json_get(pattern, "String"), *regex = fmp_json_get(pattern, "Regex");
    if (cJSON_IsString(string) == cJSON_IsString(regex)) {
        return fmp_fail(err, FMP_E_DATA, "%s.pattern: expected {\"String\": ...} or {\"Regex\": ...}, found %s", where,
                        tk_kind_name(pattern));
    }
    *literal = cJSON_IsString(string);
    *text = *literal ? string->valuestring : regex->valuestring;
    return FMP_OK;
}

static fmp_status too_many(const char *where, fmp_err *err)
{
    return fmp_fail(err, FMP_E_RANGE, "%s: more than %u steps", where, TK_MAX_STEPS);
}

/* ---- normalizer ---- */
static fmp_status parse_replace(fmp_tokenizer *tok, tk_norm *step, const cJSON *node, const char *where, fmp_err *err)
{
    const char *text = "", *pattern = "";
    bool literal = false;
    FMP_TRY(tk_want_string(node, "content", where, &text, err));
    FMP_TRY(parse_pattern(node, where, &pattern, &literal, err));
    step->text = fmp_arena_strdup(tok->arena, text);
    step->text_len = strlen(text);
    return tk_regex_compile(pattern, literal, where, &step->re, err);
}

static fmp_status normalizer_step(fmp_tokenizer *tok, const cJSON *node, const char *type, const char *where,
                                  fmp_err *err)
{
    static const struct { const char *name; tk_norm_kind kind; } kinds[] = {
        { "NFC", TK_NORM_NFC }, { "NFD", TK_NORM_NFD }, { "NFKC", TK_NORM_NFKC }, { "NFKD", TK_NORM_NFKD },
        { "Lowercase", TK_NORM_LOWERCASE }, { "Strip", TK_NORM_STRIP }, { "Prepend", TK_NORM_PREPEND },
        { "Replace", TK_NORM_REPLACE },
    };
    size_t k = 0;
    while (k < sizeof kinds / sizeof *kinds && strcmp(kinds[k].name, type) != 0) { k++; }
    if (k == sizeof kinds / sizeof *kinds) {
        return unsupported("normalizer", where, type,
                           "NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace, Sequence", err);
    }
    if (tok->n_norm == TK_MAX_STEPS) { return too_many(where, err); }
    tk_norm *step = &tok->norm[tok->n_norm++];
    step->kind = kinds[k].kind;
    if (step->kind == TK_NORM_REPLACE) { return parse_replace(tok, step, node, where, err); }
    if (step->kind == TK_NORM_STRIP) {
        FMP_TRY(tk_want_bool(node, "strip_left", true, where, &step->left, err));
        return tk_want_bool(node, "strip_right", true, where, &step->right, err);
    }
    if (step->kind == TK_NORM_PREPEND) {
        const char *text = "";
        FMP_TRY(tk_want_string(node, "prepend", where, &text, err));
        step->text = fmp_arena_strdup(tok->arena, text);
        step->text_len = strlen(text);
    }
    return FMP_OK;
}

fmp_status tk_parse_normalizer(fmp_tokenizer *tok, const cJSON *node, fmp_err *err)
{
    if (tk_is_null(node)) { return FMP_OK; }
    return each_step(tok, node, "normalizers", "normalizer", 0, normalizer_step, err);
}

/* ---- pre-tokenizer ---- */
static fmp_status add_split(fmp_tokenizer *tok, tk_split_kind kind, const char *where, tk_split **out, fmp_err *err)
{
    if (tok->n_split == TK_MAX_STEPS) { return too_many(where, err); }
    *out = &tok->split[tok->n_split++];
    (*out)->kind = kind;
    return FMP_OK;
}

static fmp_status add_regex(fmp_tokenizer *tok, const char *pattern, bool literal, tk_behavior behavior, bool invert,
                            const char *where, fmp_err *err)
{
    tk_split *step = NULL;
    FMP_TRY(add_split(tok, TK_SPLIT_REGEX, where, &step, err));
    step->behavior = behavior;
    step->invert = invert;
    return tk_regex_compile(pattern, literal, where, &step->re, err);
}

static fmp_status parse_behavior(const cJSON *node, const char *where, tk_behavior *out, fmp_err *err)
{
    static const struct { const char *name; tk_behavior behavior; } all[] = {
        { "Isolated", TK_ISOLATED }, { "Removed", TK_REMOVED }, { "MergedWithPrevious", TK_MERGED_PREVIOUS },
        { "MergedWithNext", TK_MERGED_NEXT }, { "Contiguous", TK_CONTIGUOUS },
    };
    const char *name = "";
    *out = TK_ISOLATED;
    FMP_TRY(tk_want_string(node, "behavior", where, &name, err));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i].name, name) == 0) {
            *out = all[i].behavior;
            return FMP_OK;
        }
    }
    return fmp_fail(err, FMP_E_DATA, "%s.behavior: expected Isolated, Removed, MergedWithPrevious, MergedWithNext or "
                                     "Contiguous, found \"%s\"", where, name);
}

/* The byte level maps bytes to characters; steps after it see those, so it leaves a mark that becomes a step then. */
static fmp_status byte_level_step(fmp_tokenizer *tok, const cJSON *node, const char *where, fmp_err *err)
{
    bool prefix = true, regex = true;
    tk_split *step = NULL;
    if (tok->byte_level) { return fmp_fail(err, FMP_E_UNSUPPORTED, "%s: a second ByteLevel is not supported", where); }
    FMP_TRY(tk_want_bool(node, "add_prefix_space", true, where, &prefix, err));
    FMP_TRY(tk_want_bool(node, "use_regex", true, where, &regex, err));
    if (prefix) { FMP_TRY(add_split(tok, TK_SPLIT_PREFIX_SPACE, where, &step, err)); }
    if (regex) { FMP_TRY(add_regex(tok, FMP_TOK_PATTERN_GPT2, false, TK_ISOLATED, false, where, err)); }
    tok->byte_level = true;
    return FMP_OK;
}

static fmp_status pre_tokenizer_step(fmp_tokenizer *tok, const cJSON *node, const char *type, const char *where,
                                     fmp_err *err)
{
    bool flag = false, literal = false;
    tk_behavior behavior = TK_ISOLATED;
    const char *pattern = "";
    tk_split *step = NULL;
    if (strcmp(type, "ByteLevel") == 0) { return byte_level_step(tok, node, where, err); }
    bool is_digits = strcmp(type, "Digits") == 0, is_punctuation = strcmp(type, "Punctuation") == 0;
    if (!is_digits && !is_punctuation && strcmp(type, "Split") != 0) {
        return unsupported("pre-tokenizer", where, type, "ByteLevel, Split, Digits, Punctuation, Sequence", err);
    }
    if (tok->byte_level && !tok->maps_bytes) {
        FMP_TRY(add_split(tok, TK_SPLIT_MAP_BYTES, where, &step, err));
        tok->maps_bytes = true;
    }
    if (is_digits) {
        FMP_TRY(tk_want_bool(node, "individual_digits", false, where, &flag, err));
        return add_regex(tok, DIGITS_PATTERN, false, flag ? TK_ISOLATED : TK_CONTIGUOUS, false, where, err);
    }
    if (is_punctuation) {
        if (fmp_json_get(node, "behavior")) { FMP_TRY(parse_behavior(node, where, &behavior, err)); }
        return add_regex(tok, PUNCTUATION_PATTERN, false, behavior, false, where, err);
    }
    FMP_TRY(parse_pattern(node, where, &pattern, &literal, err));
    FMP_TRY(parse_behavior(node, where, &behavior, err));
    FMP_TRY(tk_want_bool(node, "invert", false, where, &flag, err));
    return add_regex(tok, pattern, literal, behavior, flag, where, err);
}

fmp_status tk_parse_pre_tokenizer(fmp_tokenizer *tok, const cJSON *node, fmp_err *err)
{
    if (tk_is_null(node)) { return FMP_OK; }
    return each_step(tok, node, "pretokenizers", "pre_tokenizer", 0, pre_tokenizer_step, err);
}

/* ---- decoder ---- */
static fmp_status decoder_replace(fmp_tokenizer *tok, const cJSON *node, const char *where, fmp_err *err)
{
    const char *from = "", *to = "";
    bool literal = false;
    FMP_TRY(parse_pattern(node, where, &from, &literal, err));
    FMP_TRY(tk_want_string(node, "content", where, &to, err));
    if (!literal || from[0] == '\0') {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "%s.pattern: a decoder can replace a plain string only", where);
    }
    if (tok->decode.n_replace == TK_MAX_STEPS) { return too_many(where, err); }
    tok->decode.replace[tok->decode.n_replace].from = fmp_arena_strdup(tok->arena, from);
    tok->decode.replace[tok->decode.n_replace++].to = fmp_arena_strdup(tok->arena, to);
    return FMP_OK;
}

/* Strip after Fuse: at the start of the whole text. */
static fmp_status decoder_strip(fmp_tokenizer *tok, const cJSON *node, const char *where, fmp_err *err)
{
    const char *content = "";
    char inner[160];
    uint32_t start = 0, stop = 0;
    FMP_TRY(tk_want_string(node, "content", where, &content, err));
    snprintf(inner, sizeof inner, "%s.start", where);
    FMP_TRY(tk_want_id(fmp_json_get(node, "start"), 1024, inner, &start, err));
    snprintf(inner, sizeof inner, "%s.stop", where);
    FMP_TRY(tk_want_id(fmp_json_get(node, "stop"), 1024, inner, &stop, err));
    if (!tok->decode.fused || stop != 0 || strlen(content) != 1) {
        return fmp_fail(err, FMP_E_UNSUPPORTED,
                        "%s: Strip is supported after Fuse, for one ASCII character at the start", where);
    }
    tok->decode.strip = content[0];
    tok->decode.n_strip = start;
    return FMP_OK;
}

static fmp_status decoder_step(fmp_tokenizer *tok, const cJSON *node, const char *type, const char *where, fmp_err *err)
{
    if (strcmp(type, "Replace") == 0 && !tok->decode.byte_fallback && !tok->decode.byte_level) {
        return decoder_replace(tok, node, where, err);
    }
    if (strcmp(type, "Strip") == 0) { return decoder_strip(tok, node, where, err); }
    if (strcmp(type, "Fuse") == 0) {
        tok->decode.fused = true;
    } else if (strcmp(type, "ByteLevel") == 0 && tok->decode.n_replace == 0) {
        tok->decode.byte_level = true;
    } else if (strcmp(type, "ByteFallback") == 0) {
        tok->decode.byte_fallback = true;
    } else {
        return unsupported("decoder", where, type, "ByteLevel, ByteFallback, Fuse, Strip, Replace before them, Sequence",
                           err);
    }
    return FMP_OK;
}

fmp_status tk_parse_decoder(fmp_tokenizer *tok, const cJSON *node, fmp_err *err)
{
    tok->decode.byte_level = tok->byte_level && tk_is_null(node);
    if (tk_is_null(node)) { return FMP_OK; }
    return each_step(tok, node, "decoders", "decoder", 0, decoder_step, err);
}
