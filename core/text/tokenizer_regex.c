/*
 * tokenizer_regex.c: pre-token patterns. Hugging Face writes them for Oniguruma; PCRE2 runs them here.
 *
 * The two agree on what these patterns use, except for \s and \w with Unicode: PCRE2's \s has U+180E and its
 * \w lacks combining marks. Both are therefore spelled out as explicit classes before compiling. What would
 * silently mean something else there (\h, (?m), {1,3}+, most classes inside classes) is refused. Every
 * match runs under limits, so no pattern and no text can hang or exhaust the stack.
 */
#include "tokenizer_impl.h"

#include <stdlib.h>

#define MATCH_LIMIT    50000000u
#define HEAP_LIMIT_KIB (64u << 10)
#define JIT_STACK_MAX  ((size_t)8 << 20)

/* Alphabetic marks, numbers that are letters, and circled letters, beside L, Nd and Pc */
#define WORD_SET                                                                                             \
    "\\p{L}\\p{M}\\p{Nl}\\p{Nd}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{"     \
    "1f170}-\\x{1f189}"

static fmp_status refuse(const char *what, const char *where, size_t at, fmp_err *err)
{
    return fmp_fail(err, FMP_E_UNSUPPORTED, "%s: %s at byte %zu of the pattern is not supported", where, what,
                    at);
}

/*
 * Scripts that patterns name. From 10.40 on \p{Han} in PCRE2 has the characters that several scripts share as well, which
 * Oniguruma's has not.
 */
static bool is_script(const char *name, size_t len)
{
    static const char names[] =
        " Han Hiragana Katakana Hangul Bopomofo Thai Lao Khmer Myanmar Latin Greek Cyrillic Arabic "
        "Hebrew Devanagari Bengali Tamil Armenian Georgian ";
    char spaced[24];
    if (PCRE2_MAJOR < 10 || (PCRE2_MAJOR == 10 && PCRE2_MINOR < 40) || len > sizeof spaced - 3) {
        return false;
    }
    snprintf(spaced, sizeof spaced, " %.*s ", (int)len, name);
    return strstr(names, spaced) != NULL;
}

/* One backslash sequence, p[0] == '\\'; returns its length in the source, 0 if it is refused. */
static size_t translate_escape(const char *p, bool in_class, fmp_buf *out)
{
    switch (p[1]) {
    case 's': fmp_buf_puts(out, in_class ? TK_SPACE_SET : "[" TK_SPACE_SET "]"); return 2;
    case 'w': fmp_buf_puts(out, in_class ? WORD_SET : "[" WORD_SET "]"); return 2;
    case 'S':
        if (in_class) { break; }
        fmp_buf_puts(out, "[^" TK_SPACE_SET "]");
        return 2;
    case 'W':
        if (in_class) { break; }
        fmp_buf_puts(out, "[^" WORD_SET "]");
        return 2;
    case '\0':
    case 'h':
    case 'H':
    case 'R':
    case 'X':
    case 'C':
    case 'K':
    case 'N':
    case 'O':
    case 'g':
    case 'y':
    case 'Y': return 0;
    default: break;
    }
    const char *brace = p[2] == '{' && strchr("pPx", p[1]) ? strchr(p, '}') : NULL; /* \p{L}, \x{2028} */
    size_t n = brace ? (size_t)(brace - p) + 1 : 2;
    if (brace && is_script(p + 3, (size_t)(brace - p) - 3)) {
        fmp_buf_printf(out, "\\%c{sc:%.*s}", p[1], (int)(brace - p) - 3, p + 3);
        return n;
    }
    fmp_buf_add(out, p, n);
    return n;
}

/* Inline flags with m: "dot matches line ends" in Oniguruma, something else in PCRE2. */
static bool has_flag_m(const char *p)
{
    if (p[0] != '(' || p[1] != '?') { return false; }
    size_t n = strspn(p + 2, "imsxn-");
    return n > 0 && memchr(p + 2, 'm', n) != NULL;
}

/* ---- classes ---- */
/* Length of the class that begins at p[0] == '[', those inside it included; 0: it does not end. */
static size_t class_len(const char *p)
{
    unsigned depth = 0;
    for (size_t i = 0; p[i] != '\0'; i++) {
        if (p[i] == '\\' && p[i + 1] != '\0') {
            i++;
        } else if (p[i] == '[') {
            depth++;
            if (p[i + 1] == '^') { i++; }
            if (p[i + 1] == ']') { i++; } /* right behind the bracket it stands for itself */
        } else if (p[i] == ']' && --depth == 0) {
            return i + 1;
        }
    }
    return 0;
}

/*
 * What stands between the brackets of a class, p[begin..end), with the members of classes inside it as its own. False, and
 * the offset in *at: not supported.
 */
static bool class_items(const char *p, size_t begin, size_t end, fmp_buf *out, size_t *at)
{
    size_t i = begin;
    for (bool first = true; i < end; first = false) {
        *at = i;
        if (p[i] == '\\') {
            size_t n = translate_escape(p + i, true, out);
            if (n == 0 || n > end - i) { return false; }
            i += n;
        } else if (p[i] == '[') {
            size_t n = class_len(p + i), last = i + n - 2;
            bool range = p[i + 1] == '-' || (p[last] == '-' && p[last - 1] != '\\');
            if (n < 3 || p[i + 1] == '^' || p[i + 1] == ':' || range) { return false; }
            if (!class_items(p, i + 1, i + n - 1, out, at)) { return false; }
            i += n;
        } else if (p[i] == '&' && p[i + 1] == '&') {
            return false;
        } else {
            if (p[i] == ']' && !first) { return false; }
            fmp_buf_putc(out, p[i++]);
        }
    }
    return true;
}

/* [members&&[^others]], which PCRE2 does not know: not one of the others, and a member. */
static bool class_without(const char *p, size_t n, size_t and, fmp_buf *out, size_t *at)
{
    size_t others = and+2;
    *at = and;
    if (p[1] == '^' || strncmp(p + others, "[^", 2) != 0 || class_len(p + others) != n - 1 - others) {
        return false;
    }
    fmp_buf_puts(out, "(?:(?![");
    if (!class_items(p, others + 2, n - 2, out, at)) { return false; }
    fmp_buf_puts(out, "])[");
    if (!class_items(p, 1, and, out, at)) { return false; }
    fmp_buf_puts(out, "])");
    return true;
}

/* The class at p; its length in the source, 0 if it is refused at *at. */
static size_t translate_class(const char *p, fmp_buf *out, size_t *at)
{
    size_t n = class_len(p), depth = 0;
    *at = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\\') {
            i++;
        } else if (p[i] == '[' || p[i] == ']') {
            depth += p[i] == '[' ? 1 : -(size_t)1;
        } else if (p[i] == '&' && p[i + 1] == '&' && depth == 1) {
            return class_without(p, n, i, out, at) ? n : 0;
        }
    }
    size_t begin = p[1] == '^' ? 2 : 1;
    if (n == 0) { return 0; }
    fmp_buf_add(out, p, begin);
    if (!class_items(p, begin, n - 1, out, at)) { return 0; }
    fmp_buf_putc(out, ']');
    return n;
}

static fmp_status translate(const char *pattern, const char *where, fmp_buf *out, fmp_err *err)
{
    for (size_t i = 0; pattern[i] != '\0';) {
        if (pattern[i] == '\\') {
            size_t n = translate_escape(pattern + i, false, out);
            if (n == 0) { return refuse("a backslash sequence", where, i, err); }
            i += n;
            continue;
        }
        if (pattern[i] == '[') {
            size_t at = 0, n = translate_class(pattern + i, out, &at);
            if (n == 0) { return refuse("what the class has", where, i + at, err); }
            i += n;
            continue;
        }
        if (pattern[i] == '}' && pattern[i + 1] == '+') { return refuse("'}+'", where, i, err); }
        if (has_flag_m(pattern + i)) { return refuse("'(?m'", where, i, err); }
        fmp_buf_putc(out, pattern[i++]);
    }
    return fmp_buf_ok(out, err);
}

fmp_status tk_regex_compile(const char *pattern, bool literal, const char *where, tk_regex *out, fmp_err *err)
{
    if (strlen(pattern) > TK_MAX_PATTERN) {
        return fmp_fail(err, FMP_E_RANGE, "%s: expected a pattern of at most %u bytes, found %zu", where,
                        TK_MAX_PATTERN, strlen(pattern));
    }
    fmp_buf text = {0};
    fmp_status status = FMP_OK;
    if (literal) {
        fmp_buf_puts(&text, pattern);
        status = fmp_buf_ok(&text, err);
    } else {
        status = translate(pattern, where, &text, err);
    }
    if (status != FMP_OK) { goto done; }
    uint32_t flags =
        PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C);
    int code;
    PCRE2_SIZE at;
    out->code = pcre2_compile((PCRE2_SPTR)(text.data ? text.data : ""), text.len, flags, &code, &at, NULL);
    if (!out->code) {
        PCRE2_UCHAR message[160];
        pcre2_get_error_message(code, message, sizeof message);
        status = fmp_fail(err, FMP_E_DATA, "%s: the pattern does not compile: %s (near byte %zu)", where,
                          (const char *)message, at);
        goto done;
    }
    /* Without JIT (no executable memory) the interpreter gives the same matches, slower. */
    (void)pcre2_jit_compile(out->code, PCRE2_JIT_COMPLETE);
    out->known = literal ? TK_PATTERN_OTHER : tk_pattern_find(pattern);
    out->scan = tk_scan_one(out->known);
    if (literal && text.len > 0) {
        out->literal = strdup(pattern);
        out->literal_len = text.len;
        if (!out->literal) { status = fmp_fail(err, FMP_E_NOMEM, "out of memory for a pattern"); }
    }
done:
    fmp_buf_free(&text);
    return status;
}

void tk_regex_free(tk_regex *re)
{
    pcre2_code_free(re->code);
    free(re->literal);
    re->code = NULL;
    re->literal = NULL;
}

fmp_status tk_matcher_init(tk_matcher *m, fmp_err *err)
{
    m->data = pcre2_match_data_create(1, NULL);
    m->context = pcre2_match_context_create(NULL);
    m->stack = pcre2_jit_stack_create((size_t)64 << 10, JIT_STACK_MAX, NULL);
    if (!m->data || !m->context) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for pattern matching"); }
    pcre2_set_match_limit(m->context, MATCH_LIMIT);
    pcre2_set_heap_limit(m->context, HEAP_LIMIT_KIB);
    if (m->stack) { pcre2_jit_stack_assign(m->context, NULL, m->stack); }
    return FMP_OK;
}

void tk_matcher_free(tk_matcher *m)
{
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    pcre2_jit_stack_free(m->stack);
}

fmp_status tk_regex_next(const tk_regex *re, tk_matcher *m, const char *s, size_t len, size_t at, bool *found,
                         size_t *begin, size_t *end, fmp_err *err)
{
    if (re->literal) {
        const char *hit = at <= len ? memmem(s + at, len - at, re->literal, re->literal_len) : NULL;
        *found = hit != NULL;
        *begin = hit ? (size_t)(hit - s) : 0;
        *end = *begin + re->literal_len;
        return FMP_OK;
    }
    int rc = pcre2_match(re->code, (PCRE2_SPTR)s, len, at, PCRE2_NO_UTF_CHECK, m->data, m->context);
    if (rc == PCRE2_ERROR_NOMATCH) {
        *found = false;
        return FMP_OK;
    }
    if (rc < 0) {
        PCRE2_UCHAR message[160];
        pcre2_get_error_message(rc, message, sizeof message);
        return fmp_fail(err, FMP_E_RANGE, "the tokenizer's pattern gave up after byte %zu: %s", at,
                        (const char *)message);
    }
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(m->data);
    *found = true;
    *begin = range[0];
    *end = range[1] < range[0] ? range[0] : range[1]; /* \K can move the start behind the end */
    return FMP_OK;
}

uint32_t tk_utf8_next(const char *s, size_t *i)
{
    const unsigned char *p = (const unsigned char *)s + *i;
    if (p[0] < 0x80) {
        *i += 1;
        return p[0];
    }
    if (p[0] < 0xE0) {
        *i += 2;
        return (uint32_t)(p[0] & 0x1F) << 6 | (p[1] & 0x3F);
    }
    if (p[0] < 0xF0) {
        *i += 3;
        return (uint32_t)(p[0] & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
    }
    *i += 4;
    return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3F) << 12 | (uint32_t)(p[2] & 0x3F) << 6 |
           (p[3] & 0x3F);
}

size_t tk_utf8_put(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}
