/*
 * template_lex.c: template source to tokens.
 *
 * White-space control happens here, as Jinja's lexer does it with trim_blocks and lstrip_blocks on: a tag's
 * "-" eats all white space on its side; the newline right after a block or comment is dropped ("+" keeps
 * it); blanks between the start of a line and a block or comment are dropped ("+" keeps them); {{ }} is left
 * alone. Inside a tag the end marker counts only where every bracket is closed, so that {{ {"a": {}} }}
 * reads as meant.
 */
#include <stdlib.h>

#include "template_impl.h"

typedef struct lexer {
    const char *name;
    const char *src;
    uint32_t len;
    uint32_t at;
    bool line_starting; /* the text before `at` ended with a newline that was consumed */
    tpl_toks *toks;
    fmp_err *err;
} lexer;

fmp_status tpl_syntax_error(const char *name, const char *src, uint32_t len, uint32_t at, fmp_err *err,
                            const char *fmt, ...)
{
    char text[600];
    uint32_t line = 1, column = 1;
    for (uint32_t i = 0; i < at && i < len; i++) {
        column++;
        if (src[i] == '\n') {
            line++;
            column = 1;
        }
    }
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)fmp_fail(err, FMP_E_CONFIG, "%s", text);
    (void)fmp_err_at(err, name, line, column, at);
    return FMP_E_CONFIG;
}

#define LEX_FAIL(lx, at, ...) tpl_syntax_error((lx)->name, (lx)->src, (lx)->len, (at), (lx)->err, __VA_ARGS__)

static fmp_status push(lexer *lx, tpl_tok_kind kind, uint32_t begin, uint32_t end, const char *op)
{
    tpl_toks *t = lx->toks;
    if (t->n == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 256;
        tpl_tok *v = realloc(t->v, cap * sizeof *v);
        if (!v) { return fmp_fail(lx->err, FMP_E_NOMEM, "out of memory"); }
        t->v = v;
        t->cap = cap;
    }
    tpl_tok *k = &t->v[t->n++];
    memset(k, 0, sizeof *k);
    k->kind = (uint8_t)kind;
    k->begin = begin;
    k->end = end;
    for (int i = 0; op && op[i] && i < 2; i++) {
        k->op[i] = op[i];
    }
    return FMP_OK;
}

/* Lines and columns of all tokens, in one pass, since tokens come in source order. */
static void place_tokens(lexer *lx)
{
    uint32_t line = 1, line_at = 0, at = 0;
    for (size_t i = 0; i < lx->toks->n; i++) {
        tpl_tok *k = &lx->toks->v[i];
        for (; at < k->begin; at++) {
            if (lx->src[at] == '\n') {
                line++;
                line_at = at + 1;
            }
        }
        k->line = line;
        k->column = k->begin - line_at + 1;
    }
}

static bool starts(const lexer *lx, uint32_t at, const char *text)
{
    size_t n = strlen(text);
    return lx->len - at >= n && memcmp(lx->src + at, text, n) == 0;
}

static uint32_t skip_space(const lexer *lx, uint32_t at)
{
    while (at < lx->len) {
        size_t n;
        uint32_t cp = tpl_utf8_get(lx->src + at, lx->len - at, &n);
        if (!tpl_is_space(cp)) { break; }
        at += (uint32_t)n;
    }
    return at;
}

static uint32_t rstrip(const lexer *lx, uint32_t begin, uint32_t end)
{
    while (end > begin) {
        uint32_t at = end - 1;
        while (at > begin && ((unsigned char)lx->src[at] & 0xC0) == 0x80) {
            at--;
        }
        size_t n;
        if (!tpl_is_space(tpl_utf8_get(lx->src + at, end - at, &n))) { break; }
        end = at;
    }
    return end;
}

/* The text [begin,end) before a tag with sign '-', '+' or 0: emit what white-space control leaves of it. */
static fmp_status push_text(lexer *lx, uint32_t begin, uint32_t end, char sign, bool is_variable)
{
    if (sign == '-') {
        end = rstrip(lx, begin, end);
    } else if (sign != '+' && !is_variable) {
        uint32_t line_at = end;
        while (line_at > begin && lx->src[line_at - 1] != '\n') {
            line_at--;
        }
        if ((line_at > begin || lx->line_starting) && skip_space(lx, line_at) >= end) { end = line_at; }
    }
    return end > begin ? push(lx, K_TEXT, begin, end, NULL) : FMP_OK;
}

/* After a tag that ended at `at`: "-" eats all white space, a block's end eats one newline unless "+". */
static void after_tag(lexer *lx, uint32_t at, char sign, bool is_variable)
{
    if (sign == '-') {
        at = skip_space(lx, at);
    } else if (!is_variable && sign != '+' && at < lx->len && lx->src[at] == '\n') {
        at++;
    }
    lx->line_starting = at > 0 && lx->src[at - 1] == '\n';
    lx->at = at;
}

static char sign_at(const lexer *lx, uint32_t at)
{
    return at < lx->len && (lx->src[at] == '-' || lx->src[at] == '+') ? lx->src[at] : 0;
}

static fmp_status lex_comment(lexer *lx, uint32_t open)
{
    for (uint32_t i = open + 2; i + 1 < lx->len; i++) {
        if (lx->src[i] == '#' && lx->src[i + 1] == '}') {
            char sign = i > open + 2 ? sign_at(lx, i - 1) : 0;
            after_tag(lx, i + 2, sign, false);
            return FMP_OK;
        }
    }
    return LEX_FAIL(lx, open,
                    "expected '#}' to end the comment that starts here, found the end of the template");
}

static bool is_name_byte(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9') ||
           (unsigned char)c >= 0x80;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static uint32_t digits(const lexer *lx, uint32_t at)
{
    while (at < lx->len &&
           (is_digit(lx->src[at]) || (lx->src[at] == '_' && at + 1 < lx->len && is_digit(lx->src[at + 1])))) {
        at++;
    }
    return at;
}

static fmp_status lex_number(lexer *lx)
{
    uint32_t begin = lx->at, at = begin;
    char x = at + 1 < lx->len ? (char)(lx->src[at + 1] | 0x20) : 0;
    if (lx->src[at] == '0' && (x == 'x' || x == 'o' || x == 'b')) {
        at += 2;
        while (at < lx->len && is_name_byte(lx->src[at], false)) {
            at++;
        }
        lx->at = at;
        return push(lx, K_INT, begin, at, NULL);
    }
    at = digits(lx, at);
    bool after_dot = begin > 0 && lx->src[begin - 1] == '.'; /* a.0.1 is two integers */
    bool is_float = false;
    if (!after_dot && at + 1 < lx->len && lx->src[at] == '.' && is_digit(lx->src[at + 1])) {
        at = digits(lx, at + 1);
        is_float = true;
    }
    if (!after_dot && at < lx->len && (lx->src[at] == 'e' || lx->src[at] == 'E')) {
        uint32_t e = at + 1;
        if (e < lx->len && (lx->src[e] == '+' || lx->src[e] == '-')) { e++; }
        if (e < lx->len && is_digit(lx->src[e])) {
            at = digits(lx, e);
            is_float = true;
        }
    }
    lx->at = at;
    return push(lx, is_float ? K_FLOAT : K_INT, begin, at, NULL);
}

static fmp_status lex_string(lexer *lx)
{
    uint32_t begin = lx->at;
    char quote = lx->src[begin];
    for (uint32_t i = begin + 1; i < lx->len; i++) {
        if (lx->src[i] == '\\') {
            i++;
        } else if (lx->src[i] == quote) {
            lx->at = i + 1;
            return push(lx, K_STRING, begin, i + 1, NULL);
        }
    }
    return LEX_FAIL(lx, begin,
                    "expected a closing %c for the string that starts here, found the end of the template",
                    quote);
}

static fmp_status lex_operator(lexer *lx, uint32_t *brackets)
{
    static const char *const two[] = {"==", "!=", "<=", ">=", "//", "**"};
    for (size_t i = 0; i < sizeof two / sizeof *two; i++) {
        if (starts(lx, lx->at, two[i])) {
            lx->at += 2;
            return push(lx, K_OP, lx->at - 2, lx->at, two[i]);
        }
    }
    char c = lx->src[lx->at];
    if (c == 0 || !strchr("+-/*%~[](){}<>=.:|,;", c)) {
        return LEX_FAIL(lx, lx->at, "expected an expression, found the character 0x%02x",
                        (unsigned)(unsigned char)c);
    }
    if (c == '(' || c == '[' || c == '{') { (*brackets)++; }
    if (c == ')' || c == ']' || c == '}') {
        if (*brackets == 0) { return LEX_FAIL(lx, lx->at, "unexpected '%c': no bracket is open here", c); }
        (*brackets)--;
    }
    char op[2] = {c, 0};
    lx->at++;
    return push(lx, K_OP, lx->at - 1, lx->at, op);
}

/* True if the tag ends at lx->at; the end marker may carry a sign. */
static bool at_tag_end(lexer *lx, bool is_variable, char *sign, uint32_t *after)
{
    uint32_t at = lx->at;
    *sign = 0;
    if (lx->src[at] == '-' || (lx->src[at] == '+' && !is_variable)) {
        *sign = lx->src[at];
        at++;
    }
    if (!starts(lx, at, is_variable ? "}}" : "%}")) { return false; }
    *after = at + 2;
    return true;
}

/* The inside of a tag, from behind its opening marker to behind its end. */
static fmp_status lex_inside(lexer *lx, uint32_t open, bool is_variable)
{
    uint32_t brackets = 0;
    for (;;) {
        lx->at = skip_space(lx, lx->at);
        if (lx->at >= lx->len) {
            return LEX_FAIL(lx, open,
                            "expected '%s' to end the tag that starts here, found the end of the template",
                            is_variable ? "}}" : "%}");
        }
        char sign;
        uint32_t after;
        if (brackets == 0 && at_tag_end(lx, is_variable, &sign, &after)) {
            FMP_TRY(push(lx, is_variable ? K_VAR_END : K_BLOCK_END, lx->at, after, NULL));
            after_tag(lx, after, sign, is_variable);
            return FMP_OK;
        }
        char c = lx->src[lx->at];
        if (is_name_byte(c, true)) {
            uint32_t begin = lx->at;
            while (lx->at < lx->len && is_name_byte(lx->src[lx->at], false)) {
                lx->at++;
            }
            FMP_TRY(push(lx, K_NAME, begin, lx->at, NULL));
        } else if (is_digit(c)) {
            FMP_TRY(lex_number(lx));
        } else if (c == '"' || c == '\'') {
            FMP_TRY(lex_string(lx));
        } else {
            FMP_TRY(lex_operator(lx, &brackets));
        }
    }
}

/* At "{% word %}" (white space and a leading sign allowed): the offset behind it and its closing sign. */
static bool match_word_tag(const lexer *lx, uint32_t at, const char *word, uint32_t *after, char *sign)
{
    if (!starts(lx, at, "{%")) { return false; }
    at += 2;
    if (sign_at(lx, at)) { at++; }
    at = skip_space(lx, at);
    if (!starts(lx, at, word)) { return false; }
    at = skip_space(lx, at + (uint32_t)strlen(word));
    *sign = sign_at(lx, at);
    if (*sign) { at++; }
    if (!starts(lx, at, "%}")) { return false; }
    *after = at + 2;
    return true;
}

/* {% raw %} text {% endraw %}: nothing inside is a tag. */
static fmp_status lex_raw(lexer *lx, uint32_t open, uint32_t after, char sign)
{
    after_tag(lx, after, sign, true); /* the newline behind {% raw %} stays */
    uint32_t begin = lx->at;
    for (uint32_t i = begin; i + 1 < lx->len; i++) {
        if (lx->src[i] == '{' && match_word_tag(lx, i, "endraw", &after, &sign)) {
            FMP_TRY(push_text(lx, begin, i, sign_at(lx, i + 2), false));
            after_tag(lx, after, sign, false);
            return FMP_OK;
        }
    }
    return LEX_FAIL(
        lx, open,
        "expected '{%% endraw %%}' for the raw block that starts here, found the end of the template");
}

static fmp_status lex_tag(lexer *lx, uint32_t text_at, uint32_t open)
{
    char kind = lx->src[open + 1];
    bool is_variable = kind == '{';
    char sign = sign_at(lx, open + 2), raw_sign;
    uint32_t after;
    FMP_TRY(push_text(lx, text_at, open, sign, is_variable));
    if (kind == '#') { return lex_comment(lx, open); }
    if (kind == '%' && match_word_tag(lx, open, "raw", &after, &raw_sign)) {
        return lex_raw(lx, open, after, raw_sign);
    }
    lx->at = open + 2 + (sign ? 1 : 0);
    FMP_TRY(push(lx, is_variable ? K_VAR_BEGIN : K_BLOCK_BEGIN, open, lx->at, NULL));
    return lex_inside(lx, open, is_variable);
}

fmp_status tpl_lex(const char *name, const char *src, uint32_t len, tpl_toks *toks, fmp_err *err)
{
    lexer lx = {name, src, len, 0, true, toks, err};
    while (lx.at < len) {
        uint32_t text_at = lx.at, open = lx.at;
        while (open < len && !(src[open] == '{' && open + 1 < len &&
                               (src[open + 1] == '{' || src[open + 1] == '%' || src[open + 1] == '#'))) {
            open++;
        }
        if (open >= len) {
            FMP_TRY(push(&lx, K_TEXT, text_at, len, NULL));
            break;
        }
        FMP_TRY(lex_tag(&lx, text_at, open));
    }
    FMP_TRY(push(&lx, K_EOF, len, len, NULL));
    place_tokens(&lx);
    return FMP_OK;
}
