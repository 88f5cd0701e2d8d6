/*
 * tokenizer_scanjson.c: reading JSON without building a tree, for vocabularies and merges: 250,000 members of one kind,
 * which as cJSON nodes would cost more than all the rest of loading.
 *
 * Values are read as strictly as fmp_json_parse reads them (RFC 8259); the caller has checked that the text is UTF-8.
 * Only "\u0000" is taken here, since texts have lengths.
 */
#include "tokenizer_impl.h"

#include <stdlib.h>

#define MAX_DEPTH 32

char tk_json_peek(tk_json *j)
{
    while (j->at < j->len &&
           (j->s[j->at] == ' ' || j->s[j->at] == '\n' || j->s[j->at] == '\t' || j->s[j->at] == '\r')) {
        j->at++;
    }
    return j->at < j->len ? j->s[j->at] : '\0';
}

bool tk_json_take(tk_json *j, char c)
{
    if (tk_json_peek(j) != c || j->at == j->len) { return false; }
    j->at++;
    return true;
}

fmp_status tk_json_fail(const tk_json *j, const char *expected, fmp_err *err)
{
    uint32_t line = 1, column = 1;
    size_t at = j->at < j->len ? j->at : j->len;
    for (size_t i = 0; i < at; i++) {
        column = j->s[i] == '\n' ? 1 : column + 1;
        line += j->s[i] == '\n';
    }
    fmp_status status;
    if (at == j->len) {
        status = fmp_fail(err, FMP_E_DATA, "expected %s, found the end of the text", expected);
    } else {
        unsigned char c = (unsigned char)j->s[at];
        status = c > 0x20 && c < 0x7F
                     ? fmp_fail(err, FMP_E_DATA, "expected %s, found '%c'", expected, c)
                     : fmp_fail(err, FMP_E_DATA, "expected %s, found byte 0x%02X", expected, c);
    }
    (void)fmp_err_at(err, NULL, line, column, at);
    return status;
}

/* Four hexadecimal digits at p; -1 if they are not. */
static int32_t hex4(const char *p, size_t left)
{
    int32_t value = 0;
    if (left < 4) { return -1; }
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'                     ? c - '0'
                    : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                             : -1;
        if (digit < 0) { return -1; }
        value = value << 4 | digit;
    }
    return value;
}

/* \uXXXX at the cursor (behind the u), with its second half if it is a surrogate. */
static fmp_status escaped_char(tk_json *j, fmp_err *err)
{
    char utf8[4];
    int32_t c = hex4(j->s + j->at, j->len - j->at);
    if (c < 0) { return tk_json_fail(j, "four hexadecimal digits after \\u", err); }
    j->at += 4;
    if (c >= 0xD800 && c <= 0xDFFF) {
        bool pair = c < 0xDC00 && j->len - j->at >= 6 && j->s[j->at] == '\\' && j->s[j->at + 1] == 'u';
        int32_t low = pair ? hex4(j->s + j->at + 2, j->len - j->at - 2) : -1;
        if (low < 0xDC00 || low > 0xDFFF) {
            return tk_json_fail(j, "the second half of a surrogate pair", err);
        }
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        j->at += 6;
    }
    fmp_buf_add(&j->text, utf8, tk_utf8_put((uint32_t)c, utf8));
    return FMP_OK;
}

static fmp_status escape(tk_json *j, fmp_err *err)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = j->at < j->len ? j->s[j->at] : '\0';
    if (c == 'u') {
        j->at++;
        return escaped_char(j, err);
    }
    const char *known = c != '\0' ? strchr(from, c) : NULL;
    if (!known) { return tk_json_fail(j, "an escape sequence", err); }
    fmp_buf_putc(&j->text, to[known - from]);
    j->at++;
    return FMP_OK;
}

/* Bytes at s[0..n) before the first quote, backslash or control character; eight at once. */
static inline size_t plain_run(const char *s, size_t n)
{
    const uint64_t ones = UINT64_MAX / 255;
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the lowest bit set is of the first byte");
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        uint64_t w;
        memcpy(&w, s + i, 8);
        uint64_t quote = w ^ ones * '"', slash = w ^ ones * '\\';
        uint64_t hit = ((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((w - ones * 0x20) & ~w);
        hit &= ones * 0x80;
        if (hit != 0) { return i + (size_t)__builtin_ctzll(hit) / 8; }
    }
    while (i < n && s[i] != '"' && s[i] != '\\' && (unsigned char)s[i] >= 0x20) {
        i++;
    }
    return i;
}

fmp_status tk_json_string(tk_json *j, const char **out, size_t *len, fmp_err *err)
{
    if (!tk_json_take(j, '"')) { return tk_json_fail(j, "a string", err); }
    size_t begin = j->at;
    j->text.len = 0;
    bool copied = false;
    for (;;) {
        j->at += plain_run(j->s + j->at, j->len - j->at);
        if (j->at == j->len || j->s[j->at] == '"') { break; }
        if (j->s[j->at] != '\\') { return tk_json_fail(j, "a character or an escape sequence", err); }
        fmp_buf_add(&j->text, j->s + begin, j->at - begin);
        j->at++;
        FMP_TRY(escape(j, err));
        begin = j->at;
        copied = true;
    }
    if (j->at == j->len) { return tk_json_fail(j, "the end of a string", err); }
    *out = j->s + begin;
    *len = j->at - begin;
    if (copied) {
        fmp_buf_add(&j->text, j->s + begin, j->at - begin);
        FMP_TRY(fmp_buf_ok(&j->text, err));
        *out = j->text.data;
        *len = j->text.len;
    }
    j->at++;
    return FMP_OK;
}

/* Length of the number at s[0..n) in JSON's grammar; 0 if there is none. */
static size_t number_len(const char *s, size_t n)
{
    size_t i = 0, digits = 0;
    if (i < n && s[i] == '-') { i++; }
    while (i < n && s[i] >= '0' && s[i] <= '9') {
        i++, digits++;
    }
    if (digits == 0 || (digits > 1 && s[i - digits] == '0')) { return 0; }
    if (i < n && s[i] == '.') {
        size_t before = ++i;
        while (i < n && s[i] >= '0' && s[i] <= '9') {
            i++;
        }
        if (i == before) { return 0; }
    }
    if (i < n && (s[i] == 'e' || s[i] == 'E')) {
        i++;
        if (i < n && (s[i] == '+' || s[i] == '-')) { i++; }
        size_t before = i;
        while (i < n && s[i] >= '0' && s[i] <= '9') {
            i++;
        }
        if (i == before) { return 0; }
    }
    return i;
}

fmp_status tk_json_number(tk_json *j, double *out, fmp_err *err)
{
    (void)tk_json_peek(j);
    size_t n = number_len(j->s + j->at, j->len - j->at);
    if (n == 0) { return tk_json_fail(j, "a number", err); }
    const char *s = j->s + j->at;
    uint32_t whole = 0;
    size_t i = 0;
    while (i < n && i < 9 && s[i] >= '0' && s[i] <= '9') {
        whole = whole * 10 + (uint32_t)(s[i++] - '0');
    }
    if (i == n) {
        *out = whole;
    } else {
        char text[64];
        if (n >= sizeof text) { return tk_json_fail(j, "a number of at most 63 characters", err); }
        memcpy(text, s, n);
        text[n] = '\0';
        *out = strtod(text, NULL);
    }
    j->at += n;
    return FMP_OK;
}

/* Behind the string at the cursor, whatever it holds; false: it does not end. */
static bool skip_string(tk_json *j)
{
    for (j->at++;; j->at++) {
        const char *quote = memchr(j->s + j->at, '"', j->len - j->at);
        if (!quote) { return false; }
        size_t end = (size_t)(quote - j->s), slashes = 0;
        while (end - slashes > j->at && j->s[end - slashes - 1] == '\\') {
            slashes++;
        }
        j->at = end;
        if (slashes % 2 == 0) { break; }
    }
    j->at++;
    return true;
}

/* What can follow a number or a word. */
static bool ends_word(char c)
{
    switch (c) {
    case '\0':
    case ',':
    case ':':
    case ']':
    case '}':
    case '[':
    case '{':
    case '"':
    case ' ':
    case '\t':
    case '\r':
    case '\n': return true;
    default: return false;
    }
}

/* Skip one value without looking into it closely; false where that cannot be done. */
static bool skip_value(tk_json *j)
{
    unsigned depth = 0;
    do {
        char c = tk_json_peek(j);
        if (j->at >= j->len) { return false; }
        if (c == '"') {
            if (!skip_string(j)) { return false; }
        } else if (c == '{' || c == '[') {
            j->at++;
            if (++depth > MAX_DEPTH) { return false; }
            continue;
        } else if (c == '}' || c == ']') {
            if (depth == 0) { return false; }
            j->at++;
            depth--;
        } else if (c == ',' || c == ':') {
            if (depth == 0) { return false; }
            j->at++;
            continue;
        } else {
            size_t before = j->at;
            while (j->at < j->len && !ends_word(j->s[j->at])) {
                j->at++;
            }
            if (j->at == before) { return false; }
        }
    } while (depth > 0);
    return true;
}

/* Go into the member `name` of the object at the cursor, which then stands before its value; note parts on the way. */
static bool walk_object(tk_json *j, bool is_model, tk_json_range *vocab, tk_json_range *merges)
{
    if (!tk_json_take(j, '{')) { return false; }
    if (tk_json_take(j, '}')) { return true; }
    do {
        const char *key;
        size_t len;
        if (tk_json_string(j, &key, &len, NULL) != FMP_OK) { return false; }
        bool model = !is_model && len == 5 && memcmp(key, "model", 5) == 0;
        tk_json_range *part = NULL;
        if (is_model && len == 5 && memcmp(key, "vocab", 5) == 0) { part = vocab; }
        if (is_model && len == 6 && memcmp(key, "merges", 6) == 0) { part = merges; }
        if (!tk_json_take(j, ':')) { return false; }
        char c = tk_json_peek(j);
        size_t begin = j->at;
        if (model && c == '{') {
            if (!walk_object(j, true, vocab, merges)) { return false; }
        } else if (!skip_value(j)) {
            return false;
        }
        if (part && (c == '{' || c == '[')) {
            if (part->end > 0) { return false; }
            *part = (tk_json_range){begin, j->at};
        }
    } while (tk_json_take(j, ','));
    return tk_json_take(j, '}');
}

void tk_json_model_parts(const char *s, size_t len, tk_json_range *vocab, tk_json_range *merges)
{
    tk_json j = {.s = s, .len = len};
    *vocab = *merges = (tk_json_range){0};
    if (!walk_object(&j, false, vocab, merges) || tk_json_peek(&j) != '\0' || j.at < len) {
        *vocab = *merges = (tk_json_range){0};
    }
    fmp_buf_free(&j.text);
}
