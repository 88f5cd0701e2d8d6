/*
 * tokenizer_parts.c: the parts of tokenizer.json beside the model: normalizer, pre-tokenizer, decoder.
 *
 * Each is one step or a Sequence of steps, compiled into a flat list. What a kind or an option would do and fmpipe does
 * not is refused with its JSON path: a tokenizer that is nearly right trains a model that is quietly wrong.
 */
#include "tokenizer_impl.h"

/* The same with two characters that have become something else since. */
#define BERT_PUNCTUATION "[\\x{166d}\\x{111c9}]|" TK_PUNCTUATION_PATTERN

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

fmp_status tk_want_string(const cJSON *object, const char *key, const char *where, const char **out,
                          fmp_err *err)
{
    const cJSON *node = fmp_json_get(object, key);
    if (!cJSON_IsString(node)) {
        return fmp_fail(err, FMP_E_DATA, "%s.%s: expected a string, found %s", where, key,
                        tk_kind_name(node));
    }
    *out = node->valuestring;
    return FMP_OK;
}

fmp_status tk_want_bool(const cJSON *object, const char *key, bool fallback, const char *where, bool *out,
                        fmp_err *err)
{
    const cJSON *node = fmp_json_get(object, key);
    *out = fallback;
    if (tk_is_null(node)) { return FMP_OK; }
    if (!cJSON_IsBool(node)) {
        return fmp_fail(err, FMP_E_DATA, "%s.%s: expected true or false, found %s", where, key,
                        tk_kind_name(node));
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
        return fmp_fail(err, FMP_E_RANGE, "%s: expected a whole number from 0 to %u, found %.17g", where, max,
                        value);
    }
    *out = (uint32_t)value;
    if ((double)*out != value) {
        return fmp_fail(err, FMP_E_DATA, "%s: expected a whole number, found %.17g", where, value);
    }
    return FMP_OK;
}

static fmp_status unsupported(const char *what, const char *where, const char *found, const char *known,
                              fmp_err *err)
{
    fmp_status status =
        fmp_fail(err, FMP_E_UNSUPPORTED, "%s.type: %s \"%s\" is not supported", where, what, found);
    (void)fmp_err_hint(err, "known here: %s", known);
    return status;
}

/* Run `step` on node itself, or on each member of a Sequence, whose array is called `list`. */
typedef fmp_status (*step_fn)(fmp_tokenizer *tok, const cJSON *node, const char *type, const char *where,
                              fmp_err *err);

static fmp_status each_step(fmp_tokenizer *tok, const cJSON *node, const char *list, const char *where,
                            unsigned depth, step_fn step, fmp_err *err)
{
    const char *type = "";
    if (!cJSON_IsObject(node)) {
        return fmp_fail(err, FMP_E_DATA, "%s: expected an object or null, found %s", where,
                        tk_kind_name(node));
    }
    FMP_TRY(tk_want_string(node, "type", where, &type, err));
    if (strcmp(type, "Sequence") != 0) { return step(tok, node, type, where, err); }
    const cJSON *array = fmp_json_get(node, list), *child;
    if (!cJSON_IsArray(array)) {
        return fmp_fail(err, FMP_E_DATA, "%s.%s: expected an array, found %s", where, list,
                        tk_kind_name(array));
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
static fmp_status parse_pattern(const cJSON *object, const char *where, const char **text, bool *literal,
                                fmp_err *err)
{
    const cJSON *pattern = fmp_json_get(object, "pattern");
    const cJSON *string = fmp_json_get(pattern, "String"), *regex = fmp_json_get(pattern, "Regex");
    if (cJSON_IsString(string) == cJSON_IsString(regex)) {
        return fmp_fail(err, FMP_E_DATA,
                        "%s.pattern: expected {\"String\": ...} or {\"Regex\": ...}, found %s", where,
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
static fmp_status parse_replace(fmp_tokenizer *tok, tk_norm *step, const cJSON *node, const char *where,
                                fmp_err *err)
{
    const char *text = "", *pattern = "";
    bool literal = false;
    FMP_TRY(tk_want_string(node, "content", where, &text, err));
    FMP_TRY(parse_pattern(node, where, &pattern, &literal, err));
    step->text = fmp_arena_strdup(tok->arena, text);
    step->text_len = strlen(text);
    return tk_regex_compile(pattern, literal, where, &step->re, err);
}

fmp_status tk_add_norm(fmp_tokenizer *tok, tk_norm_kind kind, const char *where, tk_norm **out, fmp_err *err)
{
    if (tok->n_norm == TK_MAX_STEPS) { return too_many(where, err); }
    *out = &tok->norm[tok->n_norm++];
    (*out)->kind = kind;
    return FMP_OK;
}

fmp_status tk_add_chars(fmp_tokenizer *tok, tk_chars_fn chars, const char *where, fmp_err *err)
{
    tk_norm *step = NULL;
    FMP_TRY(tk_add_norm(tok, TK_NORM_CHARS, where, &step, err));
    step->chars = chars;
    return FMP_OK;
}

/* clean_text, handle_chinese_chars, strip_accents (if not said: as lowercase), lowercase. */
static fmp_status parse_bert(fmp_tokenizer *tok, const cJSON *node, const char *where, fmp_err *err)
{
    bool clean = true, cjk = true, lower = true, strip = true;
    tk_norm *step = NULL;
    FMP_TRY(tk_want_bool(node, "clean_text", true, where, &clean, err));
    FMP_TRY(tk_want_bool(node, "handle_chinese_chars", true, where, &cjk, err));
    FMP_TRY(tk_want_bool(node, "lowercase", true, where, &lower, err));
    FMP_TRY(tk_want_bool(node, "strip_accents", lower, where, &strip, err));
    if (clean) { FMP_TRY(tk_add_chars(tok, tk_chars_bert_clean, where, err)); }
    if (cjk) { FMP_TRY(tk_add_chars(tok, tk_chars_bert_cjk, where, err)); }
    if (strip) {
        FMP_TRY(tk_add_norm(tok, TK_NORM_NFD, where, &step, err));
        FMP_TRY(tk_add_chars(tok, tk_chars_no_mn, where, err));
    }
    return lower ? tk_add_norm(tok, TK_NORM_LOWERCASE, where, &step, err) : FMP_OK;
}

/* Value of a base64 digit, -1 for anything else. */
static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z') { return c - 'A'; }
    if (c >= 'a' && c <= 'z') { return c - 'a' + 26; }
    if (c >= '0' && c <= '9') { return c - '0' + 52; }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

fmp_status tk_base64(const char *text, size_t len, const char *where, fmp_buf *out, fmp_err *err)
{
    uint32_t bits = 0;
    unsigned n_bits = 0;
    size_t n = len;
    while (n > 0 && len - n < 2 && text[n - 1] == '=') {
        n--;
    }
    if (len % 4 != 0 || n % 4 == 1) {
        return fmp_fail(err, FMP_E_DATA, "%s: expected base64 in groups of four", where);
    }
    for (size_t i = 0; i < n; i++) {
        int digit = base64_digit(text[i]);
        if (digit < 0) {
            return fmp_fail(err, FMP_E_DATA, "%s: expected base64, found byte 0x%02X at %zu", where,
                            (unsigned char)text[i], i);
        }
        bits = bits << 6 | (uint32_t)digit;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            fmp_buf_putc(out, (char)(bits >> n_bits & 0xFF));
        }
    }
    return fmp_buf_ok(out, err);
}

static fmp_status parse_precompiled(fmp_tokenizer *tok, const cJSON *node, const char *where, fmp_err *err)
{
    const char *text = "";
    tk_norm *step = NULL;
    fmp_buf blob = {0};
    if (tk_is_null(fmp_json_get(node, "precompiled_charsmap"))) { return FMP_OK; }
    FMP_TRY(tk_want_string(node, "precompiled_charsmap", where, &text, err));
    FMP_TRY(tk_add_norm(tok, TK_NORM_CHARSMAP, where, &step, err));
    fmp_status status = tk_base64(text, strlen(text), where, &blob, err);
    if (status == FMP_OK) { status = tk_charsmap_open(tok, blob.data, blob.len, where, &step->map, err); }
    fmp_buf_free(&blob);
    return status;
}

static fmp_status parse_strip(tk_norm *step, const cJSON *node, const char *where, fmp_err *err)
{
    FMP_TRY(tk_want_bool(node, "strip_left", true, where, &step->left, err));
    return tk_want_bool(node, "strip_right", true, where, &step->right, err);
}

static fmp_status parse_prepend(fmp_tokenizer *tok, tk_norm *step, const cJSON *node, const char *where,
                                fmp_err *err)
{
    const char *text = "";
    FMP_TRY(tk_want_string(node, "prepend", where, &text, err));
    step->text = fmp_arena_strdup(tok->arena, text);
    step->text_len = strlen(text);
    return FMP_OK;
}

/* Kinds without options, the last three of one character at a time. */
static const struct norm_name {
    const char *name;
    tk_norm_kind kind;
    tk_chars_fn chars;
} norm_names[] = {
    {"NFC", TK_NORM_NFC, NULL},
    {"NFD", TK_NORM_NFD, NULL},
    {"NFKC", TK_NORM_NFKC, NULL},
    {"NFKD", TK_NORM_NFKD, NULL},
    {"Lowercase", TK_NORM_LOWERCASE, NULL},
    {"Strip", TK_NORM_STRIP, NULL},
    {"Prepend", TK_NORM_PREPEND, NULL},
    {"Replace", TK_NORM_REPLACE, NULL},
    {"StripAccents", TK_NORM_CHARS, tk_chars_no_marks},
    {"Nmt", TK_NORM_CHARS, tk_chars_nmt},
    {"ByteLevel", TK_NORM_CHARS, tk_chars_byte_level},
};

static fmp_status normalizer_step(fmp_tokenizer *tok, const cJSON *node, const char *type, const char *where,
                                  fmp_err *err)
{
    size_t k = 0, n = sizeof norm_names / sizeof *norm_names;
    tk_norm *step = NULL;
    if (strcmp(type, "BertNormalizer") == 0) { return parse_bert(tok, node, where, err); }
    if (strcmp(type, "Precompiled") == 0) { return parse_precompiled(tok, node, where, err); }
    while (k < n && strcmp(norm_names[k].name, type) != 0) {
        k++;
    }
    if (k == n) {
        return unsupported(
            "normalizer", where, type,
            "NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Prepend, Replace, BertNormalizer, "
            "Precompiled, Nmt, ByteLevel, Sequence",
            err);
    }
    FMP_TRY(tk_add_norm(tok, norm_names[k].kind, where, &step, err));
    step->chars = norm_names[k].chars;
    if (step->kind == TK_NORM_REPLACE) { return parse_replace(tok, step, node, where, err); }
    if (step->kind == TK_NORM_STRIP) { return parse_strip(step, node, where, err); }
    return step->kind == TK_NORM_PREPEND ? parse_prepend(tok, step, node, where, err) : FMP_OK;
}

fmp_status tk_parse_normalizer(fmp_tokenizer *tok, const cJSON *node, fmp_err *err)
{
    if (tk_is_null(node)) { return FMP_OK; }
    return each_step(tok, node, "normalizers", "normalizer", 0, normalizer_step, err);
}

/* ---- pre-tokenizer ---- */
fmp_status tk_add_split(fmp_tokenizer *tok, tk_split_kind kind, const char *where, tk_split **out,
                        fmp_err *err)
{
    if (tok->n_split == TK_MAX_STEPS) { return too_many(where, err); }
    *out = &tok->split[tok->n_split++];
    (*out)->kind = kind;
    return FMP_OK;
}

fmp_status tk_add_pattern(fmp_tokenizer *tok, const char *pattern, bool literal, tk_behavior behavior,
                          bool invert, const char *where, fmp_err *err)
{
    tk_split *step = NULL;
    FMP_TRY(tk_add_split(tok, TK_SPLIT_REGEX, where, &step, err));
    step->behavior = behavior;
    step->invert = invert;
    return tk_regex_compile(pattern, literal, where, &step->re, err);
}

static fmp_status parse_behavior(const cJSON *node, const char *where, tk_behavior *out, fmp_err *err)
{
    static const struct {
        const char *name;
        tk_behavior behavior;
    } all[] = {
        {"Isolated", TK_ISOLATED},
        {"Removed", TK_REMOVED},
        {"MergedWithPrevious", TK_MERGED_PREVIOUS},
        {"MergedWithNext", TK_MERGED_NEXT},
        {"Contiguous", TK_CONTIGUOUS},
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
    return fmp_fail(err, FMP_E_DATA,
                    "%s.behavior: expected Isolated, Removed, MergedWithPrevious, MergedWithNext or "
                    "Contiguous, found \"%s\"",
                    where, name);
}

/* The byte level maps bytes to characters; steps after it see those, so it leaves a mark that becomes a step then. */
static fmp_status byte_level_step(fmp_tokenizer *tok, const cJSON *node, const char *where, fmp_err *err)
{
    bool prefix = true, regex = true;
    tk_split *step = NULL;
    if (tok->byte_level) {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "%s: a second ByteLevel is not supported", where);
    }
    FMP_TRY(tk_want_bool(node, "add_prefix_space", true, where, &prefix, err));
    FMP_TRY(tk_want_bool(node, "use_regex", true, where, &regex, err));
    if (prefix) { FMP_TRY(tk_add_split(tok, TK_SPLIT_PREFIX_SPACE, where, &step, err)); }
    if (regex) { FMP_TRY(tk_add_pattern(tok, FMP_TOK_PATTERN_GPT2, false, TK_ISOLATED, false, where, err)); }
    tok->byte_level = true;
    return FMP_OK;
}

/* Steps after the byte level see GPT-2's characters. */
static fmp_status see_bytes(fmp_tokenizer *tok, const char *where, fmp_err *err)
{
    tk_split *step = NULL;
    if (!tok->byte_level || tok->maps_bytes) { return FMP_OK; }
    tok->maps_bytes = true;
    return tk_add_split(tok, TK_SPLIT_MAP_BYTES, where, &step, err);
}

/* prepend_scheme, or add_prefix_space in files from before 0.15. */
static fmp_status parse_scheme(const cJSON *node, const char *where, tk_prepend *out, fmp_err *err)
{
    const char *scheme = "always";
    bool prefix = true;
    FMP_TRY(tk_want_bool(node, "add_prefix_space", true, where, &prefix, err));
    if (!tk_is_null(fmp_json_get(node, "prepend_scheme"))) {
        FMP_TRY(tk_want_string(node, "prepend_scheme", where, &scheme, err));
    }
    *out = TK_PREPEND_ALWAYS;
    if (strcmp(scheme, "never") == 0 || !prefix) {
        *out = TK_PREPEND_NEVER;
    } else if (strcmp(scheme, "first") == 0) {
        *out = TK_PREPEND_FIRST;
    } else if (strcmp(scheme, "always") != 0) {
        return fmp_fail(err, FMP_E_DATA, "%s.prepend_scheme: expected always, first or never, found \"%s\"",
                        where, scheme);
    }
    return FMP_OK;
}

static fmp_status metaspace_char(fmp_tokenizer *tok, const cJSON *node, const char *where, const char **out,
                                 fmp_err *err)
{
    const char *text = "";
    FMP_TRY(tk_want_string(node, "replacement", where, &text, err));
    if (text[0] == '\0' || strlen(text) > 4) {
        return fmp_fail(err, FMP_E_DATA, "%s.replacement: expected one character, found \"%s\"", where, text);
    }
    *out = fmp_arena_strdup(tok->arena, text);
    return fmp_arena_ok(tok->arena, err);
}

static fmp_status metaspace_step(fmp_tokenizer *tok, const cJSON *node, const char *where, fmp_err *err)
{
    tk_split *step = NULL;
    const char *meta = "";
    tk_prepend prepend = TK_PREPEND_ALWAYS;
    bool split = true;
    FMP_TRY(metaspace_char(tok, node, where, &meta, err));
    FMP_TRY(parse_scheme(node, where, &prepend, err));
    FMP_TRY(tk_want_bool(node, "split", true, where, &split, err));
    FMP_TRY(tk_add_split(tok, TK_SPLIT_METASPACE, where, &step, err));
    step->meta = meta;
    step->prepend = prepend;
    return split ? tk_add_pattern(tok, meta, true, TK_MERGED_NEXT, false, where, err) : FMP_OK;
}

static fmp_status delimiter_step(fmp_tokenizer *tok, const cJSON *node, const char *where, fmp_err *err)
{
    const char *text = "";
    FMP_TRY(tk_want_string(node, "delimiter", where, &text, err));
    if (text[0] == '\0') {
        return fmp_fail(err, FMP_E_DATA, "%s.delimiter: expected one character, found \"\"", where);
    }
    return tk_add_pattern(tok, text, true, TK_REMOVED, false, where, err);
}

static fmp_status length_step(fmp_tokenizer *tok, const cJSON *node, const char *where, fmp_err *err)
{
    char inner[160], pattern[48];
    uint32_t n = 0;
    snprintf(inner, sizeof inner, "%.140s.length", where);
    FMP_TRY(tk_want_id(fmp_json_get(node, "length"), 60000, inner, &n, err));
    if (n == 0) { return fmp_fail(err, FMP_E_RANGE, "%s: expected 1 to 60000, found 0", inner); }
    snprintf(pattern, sizeof pattern, "(?s:.{1,%u})", n);
    return tk_add_pattern(tok, pattern, false, TK_ISOLATED, false, where, err);
}

static fmp_status digits_step(fmp_tokenizer *tok, const cJSON *node, const char *where, fmp_err *err)
{
    bool single = false;
    FMP_TRY(tk_want_bool(node, "individual_digits", false, where, &single, err));
    return tk_add_pattern(tok, TK_DIGITS_PATTERN, false, single ? TK_ISOLATED : TK_CONTIGUOUS, false, where,
                          err);
}

static fmp_status punctuation_step(fmp_tokenizer *tok, const cJSON *node, const char *where, fmp_err *err)
{
    tk_behavior behavior = TK_ISOLATED;
    if (fmp_json_get(node, "behavior")) { FMP_TRY(parse_behavior(node, where, &behavior, err)); }
    return tk_add_pattern(tok, TK_PUNCTUATION_PATTERN, false, behavior, false, where, err);
}

static fmp_status split_step(fmp_tokenizer *tok, const cJSON *node, const char *where, fmp_err *err)
{
    const char *pattern = "";
    bool literal = false, invert = false;
    tk_behavior behavior = TK_ISOLATED;
    FMP_TRY(parse_pattern(node, where, &pattern, &literal, err));
    FMP_TRY(parse_behavior(node, where, &behavior, err));
    FMP_TRY(tk_want_bool(node, "invert", false, where, &invert, err));
    return tk_add_pattern(tok, pattern, literal, behavior, invert, where, err);
}

/* Words and runs of signs. */
static fmp_status whitespace_step(fmp_tokenizer *tok, const cJSON *node, const char *where, fmp_err *err)
{
    (void)node;
    return tk_add_pattern(tok, "[\\w\\x{200c}\\x{200d}]+|[^\\w\\s\\x{200c}\\x{200d}]+", false, TK_REMOVED,
                          true, where, err);
}

static fmp_status whitespace_split_step(fmp_tokenizer *tok, const cJSON *node, const char *where,
                                        fmp_err *err)
{
    (void)node;
    return tk_add_pattern(tok, "\\s", false, TK_REMOVED, false, where, err);
}

static fmp_status bert_step(fmp_tokenizer *tok, const cJSON *node, const char *where, fmp_err *err)
{
    FMP_TRY(whitespace_split_step(tok, node, where, err));
    return tk_add_pattern(tok, BERT_PUNCTUATION, false, TK_ISOLATED, false, where, err);
}

static const struct split_name {
    const char *name;
    fmp_status (*parse)(fmp_tokenizer *tok, const cJSON *node, const char *where, fmp_err *err);
} split_names[] = {
    {"Split", split_step},
    {"Digits", digits_step},
    {"Punctuation", punctuation_step},
    {"Metaspace", metaspace_step},
    {"Whitespace", whitespace_step},
    {"WhitespaceSplit", whitespace_split_step},
    {"BertPreTokenizer", bert_step},
    {"CharDelimiterSplit", delimiter_step},
    {"FixedLength", length_step},
};

static fmp_status pre_tokenizer_step(fmp_tokenizer *tok, const cJSON *node, const char *type,
                                     const char *where, fmp_err *err)
{
    if (strcmp(type, "ByteLevel") == 0) { return byte_level_step(tok, node, where, err); }
    for (size_t i = 0; i < sizeof split_names / sizeof *split_names; i++) {
        if (strcmp(split_names[i].name, type) != 0) { continue; }
        FMP_TRY(see_bytes(tok, where, err));
        return split_names[i].parse(tok, node, where, err);
    }
    return unsupported(
        "pre-tokenizer", where, type,
        "ByteLevel, Split, Digits, Punctuation, Metaspace, Whitespace, WhitespaceSplit, BertPreTokenizer, "
        "CharDelimiterSplit, FixedLength, Sequence",
        err);
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
        return fmp_fail(err, FMP_E_UNSUPPORTED, "%s.pattern: a decoder can replace a plain string only",
                        where);
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

/* Metaspace: the first token loses the spaces it begins with. */
static fmp_status decoder_metaspace(fmp_tokenizer *tok, const cJSON *node, const char *where, fmp_err *err)
{
    const char *meta = "";
    tk_prepend prepend = TK_PREPEND_ALWAYS;
    FMP_TRY(metaspace_char(tok, node, where, &meta, err));
    FMP_TRY(parse_scheme(node, where, &prepend, err));
    if (tok->decode.n_replace == TK_MAX_STEPS) { return too_many(where, err); }
    tok->decode.replace[tok->decode.n_replace].from = meta;
    tok->decode.replace[tok->decode.n_replace++].to = " ";
    tok->decode.strip = ' ';
    tok->decode.n_strip = prepend == TK_PREPEND_NEVER ? 0 : UINT32_MAX;
    return FMP_OK;
}

static fmp_status decoder_wordpiece(fmp_tokenizer *tok, const cJSON *node, const char *where, fmp_err *err)
{
    const char *prefix = "##";
    if (fmp_json_get(node, "prefix")) { FMP_TRY(tk_want_string(node, "prefix", where, &prefix, err)); }
    FMP_TRY(tk_want_bool(node, "cleanup", true, where, &tok->decode.cleanup, err));
    tok->decode.word_prefix = fmp_arena_strdup(tok->arena, prefix);
    tok->decode.strip = ' ';
    tok->decode.n_strip = 1;
    return fmp_arena_ok(tok->arena, err);
}

static fmp_status decoder_suffix(fmp_tokenizer *tok, const cJSON *node, const char *where, fmp_err *err)
{
    const char *suffix = "</w>";
    if (fmp_json_get(node, "suffix")) { FMP_TRY(tk_want_string(node, "suffix", where, &suffix, err)); }
    if (suffix[0] == '\0') { return FMP_OK; }
    tok->decode.word_suffix = fmp_arena_strdup(tok->arena, suffix);
    return fmp_arena_ok(tok->arena, err);
}

static fmp_status decoder_step(fmp_tokenizer *tok, const cJSON *node, const char *type, const char *where,
                               fmp_err *err)
{
    tk_decode_plan *plan = &tok->decode;
    bool plain = !plan->byte_fallback && !plan->byte_level;
    if (strcmp(type, "Replace") == 0 && plain) { return decoder_replace(tok, node, where, err); }
    if (strcmp(type, "Strip") == 0) { return decoder_strip(tok, node, where, err); }
    if (strcmp(type, "Metaspace") == 0 && plain) { return decoder_metaspace(tok, node, where, err); }
    if (strcmp(type, "WordPiece") == 0 && plain && plan->n_replace == 0) {
        return decoder_wordpiece(tok, node, where, err);
    }
    if (strcmp(type, "BPEDecoder") == 0 && plain) { return decoder_suffix(tok, node, where, err); }
    if (strcmp(type, "Fuse") == 0) {
        plan->fused = true;
    } else if (strcmp(type, "ByteLevel") == 0 && plan->n_replace == 0) {
        plan->byte_level = true;
    } else if (strcmp(type, "ByteFallback") == 0) {
        plan->byte_fallback = true;
    } else {
        return unsupported(
            "decoder", where, type,
            "ByteLevel, ByteFallback, Fuse, Strip, Metaspace, WordPiece, BPEDecoder, Replace before them, "
            "Sequence",
            err);
    }
    return FMP_OK;
}

fmp_status tk_parse_decoder(fmp_tokenizer *tok, const cJSON *node, fmp_err *err)
{
    tok->decode.byte_level = tok->byte_level && tk_is_null(node);
    if (tk_is_null(node)) {
        if (!tok->byte_level) { tok->decode.word_prefix = ""; } /* tokens with a space between */
        tok->decode.strip = ' ';
        tok->decode.n_strip = !tok->byte_level;
        return FMP_OK;
    }
    return each_step(tok, node, "decoders", "decoder", 0, decoder_step, err);
}
