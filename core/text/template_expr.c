/*
 * template_expr.c: expressions, by recursive descent along Jinja's own grammar. Its precedence is not quite
 * Python's: "~" binds tighter than "+", filters and tests bind tighter than everything but postfix operators.
 */
#include <stdlib.h>

#include "template_parse.h"

/* ---- literals ---- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') { return c - '0'; }
    if (c >= 'a' && c <= 'f') { return c - 'a' + 10; }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* \xHH, \uHHHH, \UHHHHHHHH after the backslash at s[*i]; advances *i behind it. */
static bool hex_escape(const char *s, size_t n, size_t *i, char *out, size_t *o)
{
    size_t want = s[*i + 1] == 'x' ? 2 : s[*i + 1] == 'u' ? 4 : 8;
    if (n - *i - 2 < want) { return false; }
    uint32_t cp = 0;
    for (size_t k = 0; k < want; k++) {
        int d = hex_value(s[*i + 2 + k]);
        if (d < 0) { return false; }
        cp = cp * 16 + (uint32_t)d;
    }
    if (cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) { return false; }
    *o += tpl_utf8_put(cp, out + *o);
    *i += 2 + want;
    return true;
}

/* The text between the quotes, escapes resolved as Python does; an unknown escape stays as it is. */
static fmp_status unescape(tpl_parser *p, const tpl_tok *k, char *out, size_t *out_len)
{
    static const char from[] = "ntrbfva\\'\"", to[] = "\n\t\r\b\f\v\a\\'\"";
    const char *s = p->t->source + k->begin + 1;
    size_t n = k->end - k->begin - 2, o = 0;
    for (size_t i = 0; i < n;) {
        const char *hit;
        if (s[i] != '\\' || i + 1 >= n) {
            out[o++] = s[i++];
        } else if (s[i + 1] == '\n') {
            i += 2;
        } else if ((hit = strchr(from, s[i + 1])) != NULL && *hit) {
            out[o++] = to[hit - from];
            i += 2;
        } else if (s[i + 1] >= '0' && s[i + 1] <= '7') {
            uint32_t cp = 0;
            size_t d = 0;
            for (i++; d < 3 && i < n && s[i] >= '0' && s[i] <= '7'; d++, i++) {
                cp = cp * 8 + (uint32_t)(s[i] - '0');
            }
            o += tpl_utf8_put(cp, out + o);
        } else if (s[i + 1] == 'x' || s[i + 1] == 'u' || s[i + 1] == 'U') {
            if (!hex_escape(s, n, &i, out, &o)) {
                return P_FAIL(p, k, "malformed \\%c escape in a string", s[i + 1]);
            }
        } else {
            out[o++] = s[i++];
        }
    }
    *out_len = o;
    return FMP_OK;
}

/* Neighbouring strings are one string. */
static fmp_status parse_string(tpl_parser *p, tpl_node **out)
{
    const tpl_tok *first = p->tok;
    size_t room = 0, len = 0;
    for (const tpl_tok *k = first; k->kind == K_STRING; k++) {
        room += k->end - k->begin;
    }
    char *text = tpl_parse_take(p, room);
    if (!text) { return FMP_E_NOMEM; }
    while (p->tok->kind == K_STRING) {
        size_t n = 0;
        FMP_TRY(unescape(p, p->tok, text + len, &n));
        len += n;
        p->tok++;
    }
    FMP_TRY(tpl_new_node(p, N_CONST, first, out));
    FMP_TRY(tpl_const_str(p, text, len, &(*out)->value));
    return tpl_adopt(p, *out, NULL);
}

static fmp_status parse_number(tpl_parser *p, tpl_node **out)
{
    const tpl_tok *k = p->tok++;
    char text[64];
    size_t n = 0;
    for (uint32_t i = k->begin; i < k->end; i++) {
        char c = p->t->source[i];
        if (c == '_') { continue; }
        if (n + 1 >= sizeof text) { return P_FAIL(p, k, "a number of more than 62 digits"); }
        text[n++] = c;
    }
    text[n] = 0;
    FMP_TRY(tpl_new_node(p, N_CONST, k, out));
    char *end;
    if (k->kind == K_FLOAT) {
        (*out)->value = tpl_float(strtod(text, &end));
        (*out)->value.origin = ORIGIN_COMPUTED;
        return FMP_OK;
    }
    char x = text[0] == '0' ? (char)(text[1] | 0x20) : 0;
    int base = x == 'x' ? 16 : x == 'o' ? 8 : x == 'b' ? 2 : 10;
    const char *at = base == 10 ? text : text + 2;
    if (base == 10 && text[0] == '0' && strspn(text, "0") != n) {
        return P_FAIL(p, k, "expected an integer without leading zeros, found '%s'", text);
    }
    unsigned long long u = strtoull(at, &end, base);
    if (*end || end == at || (base == 10 && n > 18) || u > INT64_MAX) {
        return P_FAIL(p, k, "expected an integer of at most 18 digits, found '%s'", text);
    }
    (*out)->value = tpl_int((int64_t)u);
    return FMP_OK;
}

/* ---- primary expressions ---- */

static fmp_status parse_list(tpl_parser *p, tpl_node **out)
{
    const tpl_tok *open = p->tok++;
    tpl_node_list l = {0};
    while (!tpl_is_op(p, "]")) {
        tpl_node *item;
        if (l.n > 0) {
            FMP_TRY(tpl_expect_op(p, ","));
            if (tpl_is_op(p, "]")) { break; }
        }
        FMP_TRY(tpl_parse_expr(p, &item));
        FMP_TRY(tpl_list_add(p, &l, item));
    }
    FMP_TRY(tpl_expect_op(p, "]"));
    FMP_TRY(tpl_new_node(p, N_LIST, open, out));
    return tpl_set_kids(p, *out, &l);
}

static fmp_status parse_dict(tpl_parser *p, tpl_node **out)
{
    const tpl_tok *open = p->tok++;
    tpl_node_list l = {0};
    while (!tpl_is_op(p, "}")) {
        tpl_node *item;
        if (l.n > 0) {
            FMP_TRY(tpl_expect_op(p, ","));
            if (tpl_is_op(p, "}")) { break; }
        }
        FMP_TRY(tpl_parse_expr(p, &item));
        FMP_TRY(tpl_list_add(p, &l, item));
        FMP_TRY(tpl_expect_op(p, ":"));
        FMP_TRY(tpl_parse_expr(p, &item));
        FMP_TRY(tpl_list_add(p, &l, item));
    }
    FMP_TRY(tpl_expect_op(p, "}"));
    FMP_TRY(tpl_new_node(p, N_DICT, open, out));
    return tpl_set_kids(p, *out, &l);
}

fmp_status tpl_parse_name(tpl_parser *p, tpl_node **out)
{
    static const char *const words[] = {"true", "True", "false", "False", "none", "None"};
    const tpl_tok *k = p->tok;
    for (size_t i = 0; i < 6; i++) {
        if (!tpl_is_word(p, words[i])) { continue; }
        p->tok++;
        FMP_TRY(tpl_new_node(p, N_CONST, k, out));
        (*out)->value = i < 4 ? tpl_bool(i < 2) : tpl_none();
        return FMP_OK;
    }
    p->tok++;
    FMP_TRY(tpl_new_node(p, N_NAME, k, out));
    return tpl_intern(p, k, &(*out)->name);
}

static fmp_status parse_primary(tpl_parser *p, tpl_node **out)
{
    const tpl_tok *k = p->tok;
    if (k->kind == K_NAME) { return tpl_parse_name(p, out); }
    if (k->kind == K_STRING) { return parse_string(p, out); }
    if (k->kind == K_INT || k->kind == K_FLOAT) { return parse_number(p, out); }
    if (tpl_is_op(p, "[")) { return parse_list(p, out); }
    if (tpl_is_op(p, "{")) { return parse_dict(p, out); }
    if (!tpl_is_op(p, "(")) { return tpl_unexpected(p, "an expression"); }
    p->tok++;
    FMP_TRY(tpl_parse_tuple(p, true, true, ")", out));
    return tpl_expect_op(p, ")");
}

/* ---- postfix: attributes, items, calls, filters, tests ---- */

/* "*" or "**" and an expression: n->b, n->c */
static fmp_status parse_unpacked(tpl_parser *p, tpl_node *n)
{
    bool named = tpl_is_op(p, "**");
    tpl_node **slot = named ? &n->c : &n->b;
    if (*slot || n->c) { return tpl_unexpected(p, "')' after unpacked arguments"); }
    p->tok++;
    FMP_TRY(tpl_parse_expr(p, slot));
    return tpl_adopt(p, n, *slot);
}

/* "(" arguments ")" into n->kids, n->kw, n->b, n->c */
static fmp_status parse_args(tpl_parser *p, tpl_node *n)
{
    tpl_node_list l = {0};
    tpl_val kw[64];
    uint32_t n_kw = 0;
    FMP_TRY(tpl_expect_op(p, "("));
    while (!tpl_is_op(p, ")")) {
        tpl_node *arg;
        if (l.n > 0 || n->b || n->c) {
            FMP_TRY(tpl_expect_op(p, ","));
            if (tpl_is_op(p, ")")) { break; }
        }
        if (tpl_is_op(p, "*") || tpl_is_op(p, "**")) {
            FMP_TRY(parse_unpacked(p, n));
            continue;
        }
        bool named = p->tok->kind == K_NAME && p->tok[1].kind == K_OP && strcmp(p->tok[1].op, "=") == 0;
        if (n->c || (n->b && !named)) { return tpl_unexpected(p, "')' after unpacked arguments"); }
        if (named) {
            if (n_kw == 64) { return P_FAIL(p, p->tok, "more than 64 keyword arguments"); }
            FMP_TRY(tpl_name_str(p, p->tok, &kw[n_kw++]));
            p->tok += 2;
        } else if (n_kw > 0) {
            return tpl_unexpected(p, "a keyword argument after a keyword argument");
        }
        FMP_TRY(tpl_parse_expr(p, &arg));
        FMP_TRY(tpl_list_add(p, &l, arg));
    }
    p->tok++;
    n->n_pos = l.n - n_kw;
    if (n_kw > 0) {
        n->kw = tpl_parse_take(p, n_kw * sizeof *kw);
        if (!n->kw) { return FMP_E_NOMEM; }
        memcpy(n->kw, kw, n_kw * sizeof *kw);
    }
    return tpl_set_kids(p, n, &l);
}

static fmp_status wrap(tpl_parser *p, tpl_kind kind, tpl_node *a, tpl_node **out)
{
    FMP_TRY(tpl_new_node(p, kind, p->tok, out));
    (*out)->a = a;
    (*out)->line = a->line;
    (*out)->column = a->column;
    (*out)->src_begin = a->src_begin;
    (*out)->src_end = a->src_end;
    return tpl_adopt(p, *out, a);
}

/* One part of a[...]: an expression or a slice. */
static fmp_status parse_subscript(tpl_parser *p, tpl_node *obj, tpl_node **out)
{
    tpl_node *part[3] = {NULL, NULL, NULL};
    int n = 0;
    bool slice = false;
    while (!tpl_is_op(p, "]") && !tpl_is_op(p, ",")) {
        if (tpl_skip_op(p, ":")) {
            slice = true;
            if (++n > 2) { return tpl_unexpected(p, "at most two ':' in a slice"); }
        } else if (part[n]) {
            return tpl_unexpected(p, "']'");
        } else {
            FMP_TRY(tpl_parse_expr(p, &part[n]));
        }
    }
    if (!slice && !part[0]) { return tpl_unexpected(p, "an index"); }
    if (tpl_is_op(p, ",")) { return tpl_unexpected(p, "']' (an index of several parts is not supported)"); }
    p->tok++;
    FMP_TRY(wrap(p, slice ? N_SLICE : N_ITEM, obj, out));
    (*out)->b = part[0];
    (*out)->c = part[1];
    (*out)->d = part[2];
    for (int i = 0; i < 3; i++) {
        FMP_TRY(tpl_adopt(p, *out, part[i]));
    }
    return FMP_OK;
}

fmp_status tpl_parse_dot(tpl_parser *p, tpl_node *obj, tpl_node **out)
{
    p->tok++;
    const tpl_tok *k = p->tok;
    if (k->kind == K_NAME) {
        p->tok++;
        FMP_TRY(wrap(p, N_ATTR, obj, out));
        FMP_TRY(tpl_name_str(p, k, &(*out)->value));
        (*out)->member = !tpl_is_dict_method((*out)->value.u.s);
        return FMP_OK;
    }
    if (k->kind == K_INT) {
        tpl_node *index;
        FMP_TRY(parse_number(p, &index));
        FMP_TRY(wrap(p, N_ITEM, obj, out));
        (*out)->b = index;
        return FMP_OK;
    }
    return tpl_unexpected(p, "a name or a number after '.'");
}

static fmp_status parse_call(tpl_parser *p, tpl_node *callee, tpl_node **out)
{
    FMP_TRY(wrap(p, N_CALL, callee, out));
    return parse_args(p, *out);
}

/* The name after "|" or "is", which may be dotted. */
static fmp_status parse_dotted(tpl_parser *p, tpl_val *name)
{
    if (p->tok->kind != K_NAME) { return tpl_unexpected(p, "a name"); }
    const tpl_tok *first = p->tok++;
    while (tpl_is_op(p, ".") && p->tok[1].kind == K_NAME) {
        p->tok += 2;
    }
    return tpl_const_str(p, p->t->source + first->begin, p->tok[-1].end - first->begin, name);
}

fmp_status tpl_parse_filter(tpl_parser *p, tpl_node *value, tpl_node **out)
{
    tpl_val name;
    FMP_TRY(parse_dotted(p, &name));
    if (value) {
        FMP_TRY(wrap(p, N_FILTER, value, out));
    } else {
        FMP_TRY(tpl_new_node(p, N_FILTER, p->tok - 1, out));
    }
    (*out)->value = name;
    (*out)->fn = tpl_find_filter(name.u.s);
    return tpl_is_op(p, "(") ? parse_args(p, *out) : tpl_adopt(p, *out, NULL);
}

static bool starts_test_arg(const tpl_parser *p)
{
    if (p->tok->kind == K_STRING || p->tok->kind == K_INT || p->tok->kind == K_FLOAT) { return true; }
    if (p->tok->kind == K_NAME) {
        return !tpl_is_word(p, "else") && !tpl_is_word(p, "or") && !tpl_is_word(p, "and");
    }
    return tpl_is_op(p, "[") || tpl_is_op(p, "{");
}

static fmp_status parse_postfix(tpl_parser *p, tpl_node **node);

static fmp_status parse_test(tpl_parser *p, tpl_node *value, tpl_node **out)
{
    p->tok++;
    bool negated = tpl_skip_word(p, "not");
    tpl_val name;
    FMP_TRY(parse_dotted(p, &name));
    FMP_TRY(wrap(p, N_TEST, value, out));
    (*out)->value = name;
    (*out)->fn = tpl_find_test(name.u.s);
    if (tpl_is_op(p, "(")) {
        FMP_TRY(parse_args(p, *out));
    } else if (starts_test_arg(p)) {
        if (tpl_is_word(p, "is")) { return tpl_unexpected(p, "no second 'is': tests cannot be chained"); }
        tpl_node_list l = {0};
        tpl_node *arg;
        FMP_TRY(parse_primary(p, &arg));
        FMP_TRY(parse_postfix(p, &arg));
        FMP_TRY(tpl_list_add(p, &l, arg));
        (*out)->n_pos = 1;
        FMP_TRY(tpl_set_kids(p, *out, &l));
    }
    if (negated) {
        tpl_node *test = *out;
        FMP_TRY(wrap(p, N_NOT, test, out));
    }
    return FMP_OK;
}

static fmp_status parse_postfix(tpl_parser *p, tpl_node **node)
{
    for (;;) {
        if (tpl_is_op(p, ".")) {
            FMP_TRY(tpl_parse_dot(p, *node, node));
        } else if (tpl_is_op(p, "[")) {
            p->tok++;
            FMP_TRY(parse_subscript(p, *node, node));
        } else if (tpl_is_op(p, "(")) {
            FMP_TRY(parse_call(p, *node, node));
        } else {
            return FMP_OK;
        }
    }
}

static fmp_status parse_filters(tpl_parser *p, tpl_node **node)
{
    for (;;) {
        if (tpl_skip_op(p, "|")) {
            FMP_TRY(tpl_parse_filter(p, *node, node));
        } else if (tpl_is_word(p, "is")) {
            FMP_TRY(parse_test(p, *node, node));
        } else if (tpl_is_op(p, "(")) {
            FMP_TRY(parse_call(p, *node, node));
        } else {
            return FMP_OK;
        }
    }
}

fmp_status tpl_parse_unary(tpl_parser *p, bool with_filter, tpl_node **out)
{
    FMP_TRY(tpl_enter(p));
    if (tpl_is_op(p, "-") || tpl_is_op(p, "+")) {
        tpl_kind kind = tpl_is_op(p, "-") ? N_NEG : N_POS;
        const tpl_tok *k = p->tok++;
        tpl_node *a;
        FMP_TRY(tpl_parse_unary(p, false, &a));
        FMP_TRY(tpl_new_node(p, kind, k, out));
        (*out)->a = a;
        FMP_TRY(tpl_adopt(p, *out, a));
    } else {
        FMP_TRY(parse_primary(p, out));
    }
    FMP_TRY(parse_postfix(p, out));
    if (with_filter) { FMP_TRY(parse_filters(p, out)); }
    p->depth--;
    return FMP_OK;
}

/* ---- operators, loosest last ---- */

static fmp_status binary(tpl_parser *p, tpl_op op, tpl_node *a, tpl_node *b, tpl_node **out)
{
    FMP_TRY(wrap(p, N_BINARY, a, out));
    (*out)->op = (uint8_t)op;
    (*out)->b = b;
    return tpl_adopt(p, *out, b);
}

static fmp_status parse_pow(tpl_parser *p, tpl_node **out)
{
    FMP_TRY(tpl_parse_unary(p, true, out));
    while (tpl_skip_op(p, "**")) {
        tpl_node *b;
        FMP_TRY(tpl_parse_unary(p, true, &b));
        FMP_TRY(binary(p, OP_POW, *out, b, out));
    }
    return FMP_OK;
}

static fmp_status parse_product(tpl_parser *p, tpl_node **out)
{
    FMP_TRY(parse_pow(p, out));
    for (;;) {
        tpl_op op;
        if (tpl_is_op(p, "*")) {
            op = OP_MUL;
        } else if (tpl_is_op(p, "/")) {
            op = OP_DIV;
        } else if (tpl_is_op(p, "//")) {
            op = OP_FLOORDIV;
        } else if (tpl_is_op(p, "%")) {
            op = OP_MOD;
        } else {
            return FMP_OK;
        }
        p->tok++;
        tpl_node *b;
        FMP_TRY(parse_pow(p, &b));
        FMP_TRY(binary(p, op, *out, b, out));
    }
}

static fmp_status parse_concat(tpl_parser *p, tpl_node **out)
{
    FMP_TRY(parse_product(p, out));
    if (!tpl_is_op(p, "~")) { return FMP_OK; }
    tpl_node_list l = {0};
    tpl_node *first = *out, *next;
    FMP_TRY(tpl_list_add(p, &l, first));
    while (tpl_skip_op(p, "~")) {
        FMP_TRY(parse_product(p, &next));
        FMP_TRY(tpl_list_add(p, &l, next));
    }
    FMP_TRY(wrap(p, N_CONCAT, first, out));
    return tpl_set_kids(p, *out, &l);
}

static fmp_status parse_sum(tpl_parser *p, tpl_node **out)
{
    FMP_TRY(parse_concat(p, out));
    while (tpl_is_op(p, "+") || tpl_is_op(p, "-")) {
        tpl_op op = tpl_is_op(p, "+") ? OP_ADD : OP_SUB;
        tpl_node *b;
        p->tok++;
        FMP_TRY(parse_concat(p, &b));
        FMP_TRY(binary(p, op, *out, b, out));
    }
    return FMP_OK;
}

/* The comparison operator at the current token, consumed; false if there is none. */
static bool comparison(tpl_parser *p, uint8_t *op)
{
    static const char *const text[] = {"==", "!=", "<", "<=", ">", ">="};
    for (uint8_t i = 0; i < 6; i++) {
        if (tpl_skip_op(p, text[i])) {
            *op = (uint8_t)(OP_EQ + i);
            return true;
        }
    }
    if (tpl_skip_word(p, "in")) {
        *op = OP_IN;
        return true;
    }
    const tpl_tok *next = p->tok + 1;
    if (tpl_is_word(p, "not") && next->kind == K_NAME && next->end - next->begin == 2 &&
        memcmp(p->t->source + next->begin, "in", 2) == 0) {
        p->tok += 2;
        *op = OP_NOT_IN;
        return true;
    }
    return false;
}

static fmp_status parse_compare(tpl_parser *p, tpl_node **out)
{
    FMP_TRY(parse_sum(p, out));
    tpl_node_list l = {0};
    tpl_node *first = *out, *b;
    uint8_t ops[32];
    while (comparison(p, &ops[l.n])) {
        FMP_TRY(parse_sum(p, &b));
        FMP_TRY(tpl_list_add(p, &l, b));
        if (l.n == 32) { return P_FAIL(p, p->tok, "more than 31 comparisons in a chain"); }
    }
    if (l.n == 0) { return FMP_OK; }
    FMP_TRY(wrap(p, N_COMPARE, first, out));
    (*out)->ops = tpl_parse_take(p, l.n);
    if (!(*out)->ops) { return FMP_E_NOMEM; }
    memcpy((*out)->ops, ops, l.n);
    return tpl_set_kids(p, *out, &l);
}

static fmp_status parse_not(tpl_parser *p, tpl_node **out)
{
    if (!tpl_is_word(p, "not")) { return parse_compare(p, out); }
    FMP_TRY(tpl_enter(p));
    const tpl_tok *k = p->tok++;
    tpl_node *a;
    FMP_TRY(parse_not(p, &a));
    FMP_TRY(tpl_new_node(p, N_NOT, k, out));
    (*out)->a = a;
    p->depth--;
    return tpl_adopt(p, *out, a);
}

static fmp_status parse_and(tpl_parser *p, tpl_node **out)
{
    FMP_TRY(parse_not(p, out));
    while (tpl_skip_word(p, "and")) {
        tpl_node *a = *out, *b;
        FMP_TRY(parse_not(p, &b));
        FMP_TRY(wrap(p, N_AND, a, out));
        (*out)->b = b;
        FMP_TRY(tpl_adopt(p, *out, b));
    }
    return FMP_OK;
}

fmp_status tpl_parse_or(tpl_parser *p, tpl_node **out)
{
    FMP_TRY(parse_and(p, out));
    while (tpl_skip_word(p, "or")) {
        tpl_node *a = *out, *b;
        FMP_TRY(parse_and(p, &b));
        FMP_TRY(wrap(p, N_OR, a, out));
        (*out)->b = b;
        FMP_TRY(tpl_adopt(p, *out, b));
    }
    return FMP_OK;
}

fmp_status tpl_parse_expr(tpl_parser *p, tpl_node **out)
{
    FMP_TRY(tpl_enter(p));
    FMP_TRY(tpl_parse_or(p, out));
    while (tpl_skip_word(p, "if")) {
        tpl_node *then = *out, *test, *other = NULL;
        FMP_TRY(tpl_parse_or(p, &test));
        if (tpl_skip_word(p, "else")) { FMP_TRY(tpl_parse_expr(p, &other)); }
        FMP_TRY(wrap(p, N_COND, then, out));
        (*out)->a = test;
        (*out)->b = then;
        (*out)->c = other;
        FMP_TRY(tpl_adopt(p, *out, test));
        FMP_TRY(tpl_adopt(p, *out, other));
    }
    p->depth--;
    return FMP_OK;
}

/* One expression, or a tuple if commas follow. `stop`: a further operator or word that ends it. */
fmp_status tpl_parse_tuple(tpl_parser *p, bool with_cond, bool in_parens, const char *stop, tpl_node **out)
{
    const tpl_tok *first = p->tok;
    tpl_node_list l = {0};
    bool comma = false;
    while (p->tok->kind != K_BLOCK_END && p->tok->kind != K_VAR_END &&
           !(stop && (tpl_is_op(p, stop) || tpl_is_word(p, stop)))) {
        tpl_node *item;
        if (with_cond) {
            FMP_TRY(tpl_parse_expr(p, &item));
        } else {
            FMP_TRY(tpl_parse_or(p, &item));
        }
        FMP_TRY(tpl_list_add(p, &l, item));
        if (!tpl_skip_op(p, ",")) { break; }
        comma = true;
    }
    if (!comma && l.n == 1) {
        *out = l.v[0];
        return FMP_OK;
    }
    if (l.n == 0 && !in_parens) { return tpl_unexpected(p, "an expression"); }
    FMP_TRY(tpl_new_node(p, N_TUPLE, first, out));
    return tpl_set_kids(p, *out, &l);
}
