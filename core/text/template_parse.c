/*
 * template_parse.c: tokens to a syntax tree, by recursive descent along Jinja's own grammar (its precedence is not
 * quite Python's: "~" binds tighter than "+", filters bind tighter than everything but postfix operators).
 *
 * The height of the tree is bounded while it is built, so that evaluating it by recursion is safe. Names of
 * variables become small integers; filters and tests are looked up once, here. The tree lies in the template's arena.
 */
#include <math.h>
#include <stdlib.h>

#include "template_impl.h"

typedef struct parser {
    fmp_template *t;
    const tpl_tok *tok; /* the current token */
    uint32_t depth;     /* of the recursion  */
    uint32_t in_loop;
    uint32_t cap_names;
    fmp_err *err;
} parser;

/* A list of nodes while its length is unknown. */
typedef struct node_list {
    tpl_node **v;
    uint32_t n, cap;
} node_list;

static fmp_status parse_expr(parser *p, tpl_node **out);
static fmp_status parse_unary(parser *p, bool with_filter, tpl_node **out);
static fmp_status parse_tuple(parser *p, bool with_cond, bool in_parens, const char *stop, tpl_node **out);
static fmp_status parse_body(parser *p, const char *const *ends, tpl_node **out);

#define P_FAIL(p, tokp, ...)                                                                                           \
    tpl_syntax_error((p)->t->name, (p)->t->source, (p)->t->source_len, (tokp)->begin, (p)->err, __VA_ARGS__)

/* ---- small helpers ---- */

static const char *tok_text(const parser *p, const tpl_tok *k, char *room, size_t size)
{
    switch (k->kind) {
    case K_EOF: return "the end of the template";
    case K_BLOCK_END: return "'%}'";
    case K_VAR_END: return "'}}'";
    case K_TEXT: return "template text";
    default: break;
    }
    uint32_t n = k->end - k->begin;
    snprintf(room, size, "'%.*s%s'", (int)(n > 40 ? 40 : n), p->t->source + k->begin, n > 40 ? "..." : "");
    return room;
}

static fmp_status unexpected(parser *p, const char *expected)
{
    char room[64];
    return P_FAIL(p, p->tok, "expected %s, found %s", expected, tok_text(p, p->tok, room, sizeof room));
}

static bool is_op(const parser *p, const char *op)
{
    return p->tok->kind == K_OP && strcmp(p->tok->op, op) == 0;
}

static bool is_word(const parser *p, const char *word)
{
    size_t n = strlen(word);
    return p->tok->kind == K_NAME && p->tok->end - p->tok->begin == n &&
           memcmp(p->t->source + p->tok->begin, word, n) == 0;
}

static bool skip_op(parser *p, const char *op)
{
    bool yes = is_op(p, op);
    if (yes) { p->tok++; }
    return yes;
}

static bool skip_word(parser *p, const char *word)
{
    bool yes = is_word(p, word);
    if (yes) { p->tok++; }
    return yes;
}

static fmp_status expect_op(parser *p, const char *op)
{
    if (skip_op(p, op)) { return FMP_OK; }
    char want[8];
    snprintf(want, sizeof want, "'%s'", op);
    return unexpected(p, want);
}

static fmp_status expect_end(parser *p, tpl_tok_kind kind)
{
    if (p->tok->kind != kind) { return unexpected(p, kind == K_BLOCK_END ? "'%}'" : "'}}'"); }
    p->tok++;
    return FMP_OK;
}

/* Source and tree are bounded, so the arena (without a cap) fails only when the machine is out of memory. */
static void *take(parser *p, size_t size)
{
    void *m = fmp_arena_take(p->t->arena, size);
    if (fmp_arena_ok(p->t->arena, p->err) != FMP_OK) { return NULL; }
    memset(m, 0, size);
    return m;
}

static fmp_status new_node(parser *p, tpl_kind kind, const tpl_tok *at, tpl_node **out)
{
    tpl_node *n = take(p, sizeof *n);
    if (!n) { return FMP_E_NOMEM; }
    n->kind = (uint8_t)kind;
    n->line = at->line;
    n->column = at->column;
    n->src_begin = at->begin;
    n->src_end = at->end;
    *out = n;
    return FMP_OK;
}

/* Note that `child` hangs below `n`; the text of `n` reaches to the last token read. */
static fmp_status adopt(parser *p, tpl_node *n, const tpl_node *child)
{
    if (child && child->depth + 1u > n->depth) { n->depth = (uint16_t)(child->depth + 1u); }
    if (n->depth > TPL_MAX_PARSE_DEPTH) {
        (void)P_FAIL(p, p->tok, "nesting deeper than %u", TPL_MAX_PARSE_DEPTH);
        if (p->err) { p->err->code = FMP_E_RANGE; }
        return FMP_E_RANGE;
    }
    if (n->kind < S_BLOCK && p->tok[-1].end > n->src_end) { n->src_end = p->tok[-1].end; }
    return FMP_OK;
}

static fmp_status enter(parser *p)
{
    if (++p->depth <= TPL_MAX_PARSE_DEPTH) { return FMP_OK; }
    (void)P_FAIL(p, p->tok, "nesting deeper than %u", TPL_MAX_PARSE_DEPTH);
    if (p->err) { p->err->code = FMP_E_RANGE; }
    return FMP_E_RANGE;
}

static fmp_status list_add(parser *p, node_list *l, tpl_node *n)
{
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? l->cap * 2 : 4;
        tpl_node **v = take(p, cap * sizeof(*v));
        if (!v) { return FMP_E_NOMEM; }
        if (l->n) { memcpy(v, l->v, l->n * sizeof(*v)); }
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = n;
    return FMP_OK;
}

static fmp_status set_kids(parser *p, tpl_node *n, const node_list *l)
{
    n->kids = l->v;
    n->n_kids = l->n;
    for (uint32_t i = 0; i < l->n; i++) { FMP_TRY(adopt(p, n, l->v[i])); }
    return adopt(p, n, NULL);
}

/* A constant string of the template: literal bytes. */
static fmp_status const_str(parser *p, const char *text, size_t len, tpl_val *out)
{
    tpl_str *s = take(p, sizeof *s);
    if (!s) { return FMP_E_NOMEM; }
    s->p = text;
    s->len = (uint32_t)len;
    s->n_runs = len > 0;
    s->one = (tpl_run){ (uint32_t)len, ORIGIN_LITERAL, SRC_NONE };
    s->runs = &s->one;
    *out = tpl_of_str(s);
    return FMP_OK;
}

static fmp_status name_str(parser *p, const tpl_tok *k, tpl_val *out)
{
    return const_str(p, p->t->source + k->begin, k->end - k->begin, out);
}

static fmp_status intern(parser *p, const char *text, size_t len, uint32_t *id)
{
    fmp_template *t = p->t;
    for (uint32_t i = 0; i < t->n_names; i++) {
        if (t->names[i]->len == len && memcmp(t->names[i]->p, text, len) == 0) {
            *id = i;
            return FMP_OK;
        }
    }
    if (t->n_names == p->cap_names) {
        uint32_t cap = p->cap_names ? p->cap_names * 2 : 32;
        const tpl_str **v = take(p, cap * sizeof *v);
        if (!v) { return FMP_E_NOMEM; }
        if (t->n_names) { memcpy(v, t->names, t->n_names * sizeof *v); }
        t->names = v;
        p->cap_names = cap;
    }
    tpl_val s;
    FMP_TRY(const_str(p, text, len, &s));
    t->names[t->n_names] = s.u.s;
    *id = t->n_names++;
    return FMP_OK;
}

static fmp_status intern_tok(parser *p, const tpl_tok *k, uint32_t *id)
{
    return intern(p, p->t->source + k->begin, k->end - k->begin, id);
}

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
static fmp_status unescape(parser *p, const tpl_tok *k, char *out, size_t *out_len)
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
            for (i++; d < 3 && i < n && s[i] >= '0' && s[i] <= '7'; d++, i++) { cp = cp * 8 + (uint32_t)(s[i] - '0'); }
            o += tpl_utf8_put(cp, out + o);
        } else if (s[i + 1] == 'x' || s[i + 1] == 'u' || s[i + 1] == 'U') {
            if (!hex_escape(s, n, &i, out, &o)) { return P_FAIL(p, k, "malformed \\%c escape in a string", s[i + 1]); }
        } else {
            out[o++] = s[i++];
        }
    }
    *out_len = o;
    return FMP_OK;
}

/* Neighbouring strings are one string. */
static fmp_status parse_string(parser *p, tpl_node **out)
{
    const tpl_tok *first = p->tok;
    size_t room = 0, len = 0;
    for (const tpl_tok *k = first; k->kind == K_STRING; k++) { room += k->end - k->begin; }
    char *text = take(p, room);
    if (!text) { return FMP_E_NOMEM; }
    while (p->tok->kind == K_STRING) {
        size_t n;
        FMP_TRY(unescape(p, p->tok, text + len, &n));
        len += n;
        p->tok++;
    }
    FMP_TRY(new_node(p, N_CONST, first, out));
    FMP_TRY(const_str(p, text, len, &(*out)->value));
    return adopt(p, *out, NULL);
}

static fmp_status parse_number(parser *p, tpl_node **out)
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
    FMP_TRY(new_node(p, N_CONST, k, out));
    char *end;
    if (k->kind == K_FLOAT) {
        (*out)->value = tpl_float(strtod(text, &end));
        (*out)->value.origin = ORIGIN_COMPUTED;
        return FMP_OK;
    }
    int base = text[0] != '0' ? 10 : (text[1] | 0x20) == 'x' ? 16 : (text[1] | 0x20) == 'o' ? 8 : (text[1] | 0x20) == 'b' ? 2 : 10;
    const char *at = base == 10 ? text : text + 2;
    unsigned long long u = strtoull(at, &end, base);
    if (*end || end == at || (base == 10 && n > 18) || u > INT64_MAX) {
        return P_FAIL(p, k, "expected an integer of at most 18 digits, found '%s'", text);
    }
    (*out)->value = tpl_int((int64_t)u);
    return FMP_OK;
}

/* ---- primary expressions ---- */

static fmp_status parse_list(parser *p, tpl_node **out)
{
    const tpl_tok *open = p->tok++;
    node_list l = { 0 };
    while (!is_op(p, "]")) {
        tpl_node *item;
        if (l.n > 0) {
            FMP_TRY(expect_op(p, ","));
            if (is_op(p, "]")) { break; }
        }
        FMP_TRY(parse_expr(p, &item));
        FMP_TRY(list_add(p, &l, item));
    }
    FMP_TRY(expect_op(p, "]"));
    FMP_TRY(new_node(p, N_LIST, open, out));
    return set_kids(p, *out, &l);
}

static fmp_status parse_dict(parser *p, tpl_node **out)
{
    const tpl_tok *open = p->tok++;
    node_list l = { 0 };
    while (!is_op(p, "}")) {
        tpl_node *item;
        if (l.n > 0) {
            FMP_TRY(expect_op(p, ","));
            if (is_op(p, "}")) { break; }
        }
        FMP_TRY(parse_expr(p, &item));
        FMP_TRY(list_add(p, &l, item));
        FMP_TRY(expect_op(p, ":"));
        FMP_TRY(parse_expr(p, &item));
        FMP_TRY(list_add(p, &l, item));
    }
    FMP_TRY(expect_op(p, "}"));
    FMP_TRY(new_node(p, N_DICT, open, out));
    return set_kids(p, *out, &l);
}

static fmp_status parse_name(parser *p, tpl_node **out)
{
    static const char *const words[] = { "true", "True", "false", "False", "none", "None" };
    const tpl_tok *k = p->tok;
    for (size_t i = 0; i < 6; i++) {
        if (!is_word(p, words[i])) { continue; }
        p->tok++;
        FMP_TRY(new_node(p, N_CONST, k, out));
        (*out)->value = i < 4 ? tpl_bool(i < 2) : tpl_none();
        return FMP_OK;
    }
    p->tok++;
    FMP_TRY(new_node(p, N_NAME, k, out));
    return intern_tok(p, k, &(*out)->name);
}

static fmp_status parse_primary(parser *p, tpl_node **out)
{
    const tpl_tok *k = p->tok;
    if (k->kind == K_NAME) { return parse_name(p, out); }
    if (k->kind == K_STRING) { return parse_string(p, out); }
    if (k->kind == K_INT || k->kind == K_FLOAT) { return parse_number(p, out); }
    if (is_op(p, "[")) { return parse_list(p, out); }
    if (is_op(p, "{")) { return parse_dict(p, out); }
    if (!is_op(p, "(")) { return unexpected(p, "an expression"); }
    p->tok++;
    FMP_TRY(parse_tuple(p, true, true, ")", out));
    return expect_op(p, ")");
}

/* ---- postfix: attributes, items, calls, filters, tests ---- */

/* "(" arguments ")" into n->kids, n->kw */
static fmp_status parse_args(parser *p, tpl_node *n)
{
    node_list l = { 0 };
    tpl_val kw[64];
    uint32_t n_kw = 0;
    FMP_TRY(expect_op(p, "("));
    while (!is_op(p, ")")) {
        tpl_node *arg;
        if (l.n > 0) {
            FMP_TRY(expect_op(p, ","));
            if (is_op(p, ")")) { break; }
        }
        if (is_op(p, "*") || is_op(p, "**")) {
            (void)P_FAIL(p, p->tok, "unsupported: unpacking of arguments with '%s'", p->tok->op);
            if (p->err) { p->err->code = FMP_E_UNSUPPORTED; }
            return FMP_E_UNSUPPORTED;
        }
        bool named = p->tok->kind == K_NAME && p->tok[1].kind == K_OP && strcmp(p->tok[1].op, "=") == 0;
        if (named) {
            if (n_kw == 64) { return P_FAIL(p, p->tok, "more than 64 keyword arguments"); }
            FMP_TRY(name_str(p, p->tok, &kw[n_kw++]));
            p->tok += 2;
        } else if (n_kw > 0) {
            return unexpected(p, "a keyword argument after a keyword argument");
        }
        FMP_TRY(parse_expr(p, &arg));
        FMP_TRY(list_add(p, &l, arg));
    }
    p->tok++;
    n->n_pos = l.n - n_kw;
    if (n_kw > 0) {
        n->kw = take(p, n_kw * sizeof *kw);
        if (!n->kw) { return FMP_E_NOMEM; }
        memcpy(n->kw, kw, n_kw * sizeof *kw);
    }
    return set_kids(p, n, &l);
}

static fmp_status wrap(parser *p, tpl_kind kind, tpl_node *a, tpl_node **out)
{
    FMP_TRY(new_node(p, kind, p->tok, out));
    (*out)->a = a;
    (*out)->line = a->line;
    (*out)->column = a->column;
    (*out)->src_begin = a->src_begin;
    (*out)->src_end = a->src_end;
    return adopt(p, *out, a);
}

/* One part of a[...]: an expression or a slice. */
static fmp_status parse_subscript(parser *p, tpl_node *obj, tpl_node **out)
{
    tpl_node *part[3] = { NULL, NULL, NULL };
    int n = 0;
    bool slice = false;
    while (!is_op(p, "]") && !is_op(p, ",")) {
        if (skip_op(p, ":")) {
            slice = true;
            if (++n > 2) { return unexpected(p, "at most two ':' in a slice"); }
        } else if (part[n]) {
            return unexpected(p, "']'");
        } else {
            FMP_TRY(parse_expr(p, &part[n]));
        }
    }
    if (!slice && !part[0]) { return unexpected(p, "an index"); }
    if (is_op(p, ",")) { return unexpected(p, "']' (an index of several parts is not supported)"); }
    p->tok++;
    FMP_TRY(wrap(p, slice ? N_SLICE : N_ITEM, obj, out));
    (*out)->b = part[0];
    (*out)->c = part[1];
    (*out)->d = part[2];
    for (int i = 0; i < 3; i++) { FMP_TRY(adopt(p, *out, part[i])); }
    return FMP_OK;
}

static fmp_status parse_dot(parser *p, tpl_node *obj, tpl_node **out)
{
    p->tok++;
    const tpl_tok *k = p->tok;
    if (k->kind == K_NAME) {
        p->tok++;
        FMP_TRY(wrap(p, N_ATTR, obj, out));
        return name_str(p, k, &(*out)->value);
    }
    if (k->kind == K_INT) {
        tpl_node *index;
        FMP_TRY(parse_number(p, &index));
        FMP_TRY(wrap(p, N_ITEM, obj, out));
        (*out)->b = index;
        return FMP_OK;
    }
    return unexpected(p, "a name or a number after '.'");
}

static fmp_status parse_call(parser *p, tpl_node *callee, tpl_node **out)
{
    FMP_TRY(wrap(p, N_CALL, callee, out));
    return parse_args(p, *out);
}

/* The name after "|" or "is", which may be dotted. */
static fmp_status parse_dotted(parser *p, tpl_val *name)
{
    if (p->tok->kind != K_NAME) { return unexpected(p, "a name"); }
    const tpl_tok *first = p->tok++;
    while (is_op(p, ".") && p->tok[1].kind == K_NAME) { p->tok += 2; }
    return const_str(p, p->t->source + first->begin, p->tok[-1].end - first->begin, name);
}

static fmp_status parse_filter(parser *p, tpl_node *value, tpl_node **out)
{
    tpl_val name;
    FMP_TRY(parse_dotted(p, &name));
    if (value) {
        FMP_TRY(wrap(p, N_FILTER, value, out));
    } else {
        FMP_TRY(new_node(p, N_FILTER, p->tok - 1, out));
    }
    (*out)->value = name;
    (*out)->fn = tpl_find_filter(name.u.s);
    return is_op(p, "(") ? parse_args(p, *out) : adopt(p, *out, NULL);
}

static bool starts_test_arg(const parser *p)
{
    if (p->tok->kind == K_STRING || p->tok->kind == K_INT || p->tok->kind == K_FLOAT) { return true; }
    if (p->tok->kind == K_NAME) { return !is_word(p, "else") && !is_word(p, "or") && !is_word(p, "and") && !is_word(p, "if"); }
    return is_op(p, "[") || is_op(p, "{");
}

static fmp_status parse_postfix(parser *p, tpl_node **node);

static fmp_status parse_test(parser *p, tpl_node *value, tpl_node **out)
{
    p->tok++;
    bool negated = skip_word(p, "not");
    tpl_val name;
    FMP_TRY(parse_dotted(p, &name));
    FMP_TRY(wrap(p, N_TEST, value, out));
    (*out)->value = name;
    (*out)->fn = tpl_find_test(name.u.s);
    if (is_op(p, "(")) {
        FMP_TRY(parse_args(p, *out));
    } else if (starts_test_arg(p)) {
        if (is_word(p, "is")) { return unexpected(p, "no second 'is': tests cannot be chained"); }
        node_list l = { 0 };
        tpl_node *arg;
        FMP_TRY(parse_primary(p, &arg));
        FMP_TRY(parse_postfix(p, &arg));
        FMP_TRY(list_add(p, &l, arg));
        (*out)->n_pos = 1;
        FMP_TRY(set_kids(p, *out, &l));
    }
    if (negated) {
        tpl_node *test = *out;
        FMP_TRY(wrap(p, N_NOT, test, out));
    }
    return FMP_OK;
}

static fmp_status parse_postfix(parser *p, tpl_node **node)
{
    for (;;) {
        if (is_op(p, ".")) {
            FMP_TRY(parse_dot(p, *node, node));
        } else if (is_op(p, "[")) {
            p->tok++;
            FMP_TRY(parse_subscript(p, *node, node));
        } else if (is_op(p, "(")) {
            FMP_TRY(parse_call(p, *node, node));
        } else {
            return FMP_OK;
        }
    }
}

static fmp_status parse_filters(parser *p, tpl_node **node)
{
    for (;;) {
        if (skip_op(p, "|")) {
            FMP_TRY(parse_filter(p, *node, node));
        } else if (is_word(p, "is")) {
            FMP_TRY(parse_test(p, *node, node));
        } else if (is_op(p, "(")) {
            FMP_TRY(parse_call(p, *node, node));
        } else {
            return FMP_OK;
        }
    }
}

static fmp_status parse_unary(parser *p, bool with_filter, tpl_node **out)
{
    FMP_TRY(enter(p));
    if (is_op(p, "-") || is_op(p, "+")) {
        tpl_kind kind = is_op(p, "-") ? N_NEG : N_POS;
        const tpl_tok *k = p->tok++;
        tpl_node *a;
        FMP_TRY(parse_unary(p, false, &a));
        FMP_TRY(new_node(p, kind, k, out));
        (*out)->a = a;
        FMP_TRY(adopt(p, *out, a));
    } else {
        FMP_TRY(parse_primary(p, out));
    }
    FMP_TRY(parse_postfix(p, out));
    if (with_filter) { FMP_TRY(parse_filters(p, out)); }
    p->depth--;
    return FMP_OK;
}

/* ---- operators, loosest last ---- */

static fmp_status binary(parser *p, tpl_op op, tpl_node *a, tpl_node *b, tpl_node **out)
{
    FMP_TRY(wrap(p, N_BINARY, a, out));
    (*out)->op = (uint8_t)op;
    (*out)->b = b;
    return adopt(p, *out, b);
}

static fmp_status parse_pow(parser *p, tpl_node **out)
{
    FMP_TRY(parse_unary(p, true, out));
    while (skip_op(p, "**")) {
        tpl_node *b;
        FMP_TRY(parse_unary(p, true, &b));
        FMP_TRY(binary(p, OP_POW, *out, b, out));
    }
    return FMP_OK;
}

static fmp_status parse_product(parser *p, tpl_node **out)
{
    FMP_TRY(parse_pow(p, out));
    for (;;) {
        tpl_op op;
        if (is_op(p, "*")) {
            op = OP_MUL;
        } else if (is_op(p, "/")) {
            op = OP_DIV;
        } else if (is_op(p, "//")) {
            op = OP_FLOORDIV;
        } else if (is_op(p, "%")) {
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

static fmp_status parse_concat(parser *p, tpl_node **out)
{
    FMP_TRY(parse_product(p, out));
    if (!is_op(p, "~")) { return FMP_OK; }
    node_list l = { 0 };
    tpl_node *first = *out, *next;
    FMP_TRY(list_add(p, &l, first));
    while (skip_op(p, "~")) {
        FMP_TRY(parse_product(p, &next));
        FMP_TRY(list_add(p, &l, next));
    }
    FMP_TRY(wrap(p, N_CONCAT, first, out));
    return set_kids(p, *out, &l);
}

static fmp_status parse_sum(parser *p, tpl_node **out)
{
    FMP_TRY(parse_concat(p, out));
    while (is_op(p, "+") || is_op(p, "-")) {
        tpl_op op = is_op(p, "+") ? OP_ADD : OP_SUB;
        tpl_node *b;
        p->tok++;
        FMP_TRY(parse_concat(p, &b));
        FMP_TRY(binary(p, op, *out, b, out));
    }
    return FMP_OK;
}

/* The comparison operator at the current token, consumed; false if there is none. */
static bool comparison(parser *p, uint8_t *op)
{
    static const char *const text[] = { "==", "!=", "<", "<=", ">", ">=" };
    for (uint8_t i = 0; i < 6; i++) {
        if (skip_op(p, text[i])) {
            *op = (uint8_t)(OP_EQ + i);
            return true;
        }
    }
    if (skip_word(p, "in")) {
        *op = OP_IN;
        return true;
    }
    const tpl_tok *next = p->tok + 1;
    if (is_word(p, "not") && next->kind == K_NAME && next->end - next->begin == 2 &&
        memcmp(p->t->source + next->begin, "in", 2) == 0) {
        p->tok += 2;
        *op = OP_NOT_IN;
        return true;
    }
    return false;
}

static fmp_status parse_compare(parser *p, tpl_node **out)
{
    FMP_TRY(parse_sum(p, out));
    node_list l = { 0 };
    tpl_node *first = *out, *b;
    uint8_t ops[32];
    while (comparison(p, &ops[l.n])) {
        FMP_TRY(parse_sum(p, &b));
        FMP_TRY(list_add(p, &l, b));
        if (l.n == 32) { return P_FAIL(p, p->tok, "more than 31 comparisons in a chain"); }
    }
    if (l.n == 0) { return FMP_OK; }
    FMP_TRY(wrap(p, N_COMPARE, first, out));
    (*out)->ops = take(p, l.n);
    if (!(*out)->ops) { return FMP_E_NOMEM; }
    memcpy((*out)->ops, ops, l.n);
    return set_kids(p, *out, &l);
}

static fmp_status parse_not(parser *p, tpl_node **out)
{
    if (!is_word(p, "not")) { return parse_compare(p, out); }
    FMP_TRY(enter(p));
    const tpl_tok *k = p->tok++;
    tpl_node *a;
    FMP_TRY(parse_not(p, &a));
    FMP_TRY(new_node(p, N_NOT, k, out));
    (*out)->a = a;
    p->depth--;
    return adopt(p, *out, a);
}

static fmp_status parse_and(parser *p, tpl_node **out)
{
    FMP_TRY(parse_not(p, out));
    while (skip_word(p, "and")) {
        tpl_node *a = *out, *b;
        FMP_TRY(parse_not(p, &b));
        FMP_TRY(wrap(p, N_AND, a, out));
        (*out)->b = b;
        FMP_TRY(adopt(p, *out, b));
    }
    return FMP_OK;
}

static fmp_status parse_or(parser *p, tpl_node **out)
{
    FMP_TRY(parse_and(p, out));
    while (skip_word(p, "or")) {
        tpl_node *a = *out, *b;
        FMP_TRY(parse_and(p, &b));
        FMP_TRY(wrap(p, N_OR, a, out));
        (*out)->b = b;
        FMP_TRY(adopt(p, *out, b));
    }
    return FMP_OK;
}

static fmp_status parse_expr(parser *p, tpl_node **out)
{
    FMP_TRY(enter(p));
    FMP_TRY(parse_or(p, out));
    while (skip_word(p, "if")) {
        tpl_node *then = *out, *test, *other = NULL;
        FMP_TRY(parse_or(p, &test));
        if (skip_word(p, "else")) { FMP_TRY(parse_expr(p, &other)); }
        FMP_TRY(wrap(p, N_COND, then, out));
        (*out)->a = test;
        (*out)->b = then;
        (*out)->c = other;
        FMP_TRY(adopt(p, *out, test));
        FMP_TRY(adopt(p, *out, other));
    }
    p->depth--;
    return FMP_OK;
}

/* One expression, or a tuple if commas follow. `stop`: an operator or word that ends it, besides the tag's end. */
static fmp_status parse_tuple(parser *p, bool with_cond, bool in_parens, const char *stop, tpl_node **out)
{
    const tpl_tok *first = p->tok;
    node_list l = { 0 };
    bool comma = false;
    while (p->tok->kind != K_BLOCK_END && p->tok->kind != K_VAR_END && !(stop && (is_op(p, stop) || is_word(p, stop)))) {
        tpl_node *item;
        if (with_cond) {
            FMP_TRY(parse_expr(p, &item));
        } else {
            FMP_TRY(parse_or(p, &item));
        }
        FMP_TRY(list_add(p, &l, item));
        if (!skip_op(p, ",")) { break; }
        comma = true;
    }
    if (!comma && l.n == 1) {
        *out = l.v[0];
        return FMP_OK;
    }
    if (l.n == 0 && !in_parens) { return unexpected(p, "an expression"); }
    FMP_TRY(new_node(p, N_TUPLE, first, out));
    return set_kids(p, *out, &l);
}

/* ---- statements ---- */

/* a, b.c, (d, e): what set, for and with assign to. */
static fmp_status parse_target(parser *p, bool with_attr, tpl_node **out)
{
    FMP_TRY(enter(p));
    const tpl_tok *first = p->tok;
    node_list l = { 0 };
    bool comma = false;
    do {
        tpl_node *item;
        if (l.n > 0 && p->tok->kind != K_NAME && !is_op(p, "(")) { break; }
        if (skip_op(p, "(")) {
            FMP_TRY(parse_target(p, false, &item));
            FMP_TRY(expect_op(p, ")"));
        } else if (p->tok->kind != K_NAME) {
            return unexpected(p, "a name to assign to");
        } else {
            FMP_TRY(parse_name(p, &item));
            if (item->kind != N_NAME) { return P_FAIL(p, first, "a constant cannot be assigned to"); }
            if (with_attr && is_op(p, ".")) {
                FMP_TRY(parse_dot(p, item, &item));
                if (item->kind != N_ATTR) { return unexpected(p, "an attribute name"); }
            }
        }
        FMP_TRY(list_add(p, &l, item));
        if (!skip_op(p, ",")) { break; }
        comma = true;
    } while (!is_word(p, "in") && !is_op(p, "="));
    p->depth--;
    if (!comma) {
        *out = l.v[0];
        return FMP_OK;
    }
    FMP_TRY(new_node(p, N_TUPLE, first, out));
    return set_kids(p, *out, &l);
}

/* "name %}" of the tag that ended a body; the tag's name is the current token. */
static fmp_status end_tag(parser *p, const char *word)
{
    if (!skip_word(p, word)) { return unexpected(p, word); }
    return expect_end(p, K_BLOCK_END);
}

static fmp_status parse_if(parser *p, tpl_node **out)
{
    static const char *const ends[] = { "elif", "else", "endif", NULL };
    node_list l = { 0 };
    tpl_node *n, *x;
    FMP_TRY(new_node(p, S_IF, p->tok, &n));
    do {
        p->tok++;
        FMP_TRY(parse_tuple(p, false, false, NULL, &x));
        FMP_TRY(list_add(p, &l, x));
        FMP_TRY(expect_end(p, K_BLOCK_END));
        FMP_TRY(parse_body(p, ends, &x));
        FMP_TRY(list_add(p, &l, x));
    } while (is_word(p, "elif"));
    if (skip_word(p, "else")) {
        FMP_TRY(expect_end(p, K_BLOCK_END));
        FMP_TRY(parse_body(p, ends + 2, &n->c));
        FMP_TRY(adopt(p, n, n->c));
    }
    FMP_TRY(set_kids(p, n, &l));
    *out = n;
    return end_tag(p, "endif");
}

static fmp_status parse_for(parser *p, tpl_node **out)
{
    static const char *const ends[] = { "else", "endfor", NULL };
    tpl_node *n;
    FMP_TRY(new_node(p, S_FOR, p->tok++, &n));
    FMP_TRY(parse_target(p, false, &n->a));
    if (!skip_word(p, "in")) { return unexpected(p, "'in'"); }
    FMP_TRY(parse_tuple(p, false, false, "recursive", &n->b));
    if (skip_word(p, "if")) { FMP_TRY(parse_expr(p, &n->c)); }
    n->recursive = skip_word(p, "recursive");
    FMP_TRY(expect_end(p, K_BLOCK_END));
    p->in_loop++;
    FMP_TRY(parse_body(p, ends, &n->d));
    p->in_loop--;
    if (skip_word(p, "else")) {
        FMP_TRY(expect_end(p, K_BLOCK_END));
        FMP_TRY(parse_body(p, ends + 1, &n->e));
    }
    const tpl_node *below[] = { n->a, n->b, n->c, n->d, n->e };
    for (size_t i = 0; i < 5; i++) { FMP_TRY(adopt(p, n, below[i])); }
    *out = n;
    return end_tag(p, "endfor");
}

/* The chain of filters after "set x |" or "filter": each filter's value is the node below, the last has none. */
static fmp_status parse_filter_chain(parser *p, tpl_node **out)
{
    FMP_TRY(parse_filter(p, NULL, out));
    while (skip_op(p, "|")) { FMP_TRY(parse_filter(p, *out, out)); }
    return FMP_OK;
}

static fmp_status parse_set(parser *p, tpl_node **out)
{
    static const char *const ends[] = { "endset", NULL };
    tpl_node *n;
    FMP_TRY(new_node(p, S_SET, p->tok++, &n));
    *out = n;
    FMP_TRY(parse_target(p, true, &n->a));
    if (skip_op(p, "=")) {
        FMP_TRY(parse_tuple(p, true, false, NULL, &n->b));
        FMP_TRY(adopt(p, n, n->b));
        return expect_end(p, K_BLOCK_END);
    }
    n->kind = S_SET_BLOCK;
    if (skip_op(p, "|")) { FMP_TRY(parse_filter_chain(p, &n->c)); }
    FMP_TRY(expect_end(p, K_BLOCK_END));
    FMP_TRY(parse_body(p, ends, &n->d));
    FMP_TRY(adopt(p, n, n->d));
    return end_tag(p, "endset");
}

/* "(a, b=1)" of a macro or call block. */
static fmp_status parse_params(parser *p, tpl_node *n)
{
    node_list defaults = { 0 };
    uint32_t ids[64], count = 0;
    FMP_TRY(expect_op(p, "("));
    while (!is_op(p, ")")) {
        if (count > 0) {
            FMP_TRY(expect_op(p, ","));
            if (is_op(p, ")")) { break; }
        }
        if (p->tok->kind != K_NAME) { return unexpected(p, "a parameter name"); }
        if (count == 64) { return P_FAIL(p, p->tok, "more than 64 parameters"); }
        FMP_TRY(intern_tok(p, p->tok++, &ids[count++]));
        if (skip_op(p, "=")) {
            tpl_node *x;
            FMP_TRY(parse_expr(p, &x));
            FMP_TRY(list_add(p, &defaults, x));
            FMP_TRY(adopt(p, n, x));
        } else if (defaults.n > 0) {
            return unexpected(p, "a default value (an earlier parameter has one)");
        }
    }
    p->tok++;
    n->params = take(p, (count + 1) * sizeof *ids);
    if (!n->params) { return FMP_E_NOMEM; }
    memcpy(n->params, ids, count * sizeof *ids);
    n->n_params = count;
    n->defaults = defaults.v;
    n->n_defaults = defaults.n;
    return FMP_OK;
}

/* Parse a body in which break and continue do not reach an outer loop. */
static fmp_status parse_own_body(parser *p, const char *const *ends, tpl_node *n)
{
    uint32_t in_loop = p->in_loop;
    p->in_loop = 0;
    FMP_TRY(expect_end(p, K_BLOCK_END));
    FMP_TRY(parse_body(p, ends, &n->d));
    p->in_loop = in_loop;
    FMP_TRY(adopt(p, n, n->d));
    return end_tag(p, ends[0]);
}

static fmp_status parse_macro(parser *p, tpl_node **out)
{
    static const char *const ends[] = { "endmacro", NULL };
    FMP_TRY(new_node(p, S_MACRO, p->tok++, out));
    if (p->tok->kind != K_NAME) { return unexpected(p, "a macro name"); }
    FMP_TRY(name_str(p, p->tok, &(*out)->value));
    FMP_TRY(intern_tok(p, p->tok++, &(*out)->name));
    FMP_TRY(parse_params(p, *out));
    return parse_own_body(p, ends, *out);
}

static fmp_status parse_callblock(parser *p, tpl_node **out)
{
    static const char *const ends[] = { "endcall", NULL };
    FMP_TRY(new_node(p, S_CALLBLOCK, p->tok++, out));
    FMP_TRY(const_str(p, "caller", 6, &(*out)->value));
    if (is_op(p, "(")) { FMP_TRY(parse_params(p, *out)); }
    FMP_TRY(parse_unary(p, true, &(*out)->a));
    if ((*out)->a->kind != N_CALL) { return unexpected(p, "a macro call"); }
    FMP_TRY(adopt(p, *out, (*out)->a));
    return parse_own_body(p, ends, *out);
}

static fmp_status parse_filter_block(parser *p, tpl_node **out)
{
    static const char *const ends[] = { "endfilter", NULL };
    FMP_TRY(new_node(p, S_FILTER_BLOCK, p->tok++, out));
    FMP_TRY(parse_filter_chain(p, &(*out)->c));
    FMP_TRY(expect_end(p, K_BLOCK_END));
    FMP_TRY(parse_body(p, ends, &(*out)->d));
    FMP_TRY(adopt(p, *out, (*out)->d));
    return end_tag(p, "endfilter");
}

static fmp_status parse_generation(parser *p, tpl_node **out)
{
    static const char *const ends[] = { "endgeneration", NULL };
    FMP_TRY(new_node(p, S_GENERATION, p->tok++, out));
    return parse_own_body(p, ends, *out);
}

static fmp_status parse_with(parser *p, tpl_node **out)
{
    static const char *const ends[] = { "endwith", NULL };
    node_list l = { 0 };
    FMP_TRY(new_node(p, S_WITH, p->tok++, out));
    while (p->tok->kind != K_BLOCK_END) {
        tpl_node *x;
        if (l.n > 0) { FMP_TRY(expect_op(p, ",")); }
        FMP_TRY(parse_name(p, &x));
        FMP_TRY(list_add(p, &l, x));
        FMP_TRY(expect_op(p, "="));
        FMP_TRY(parse_expr(p, &x));
        FMP_TRY(list_add(p, &l, x));
    }
    p->tok++;
    FMP_TRY(parse_body(p, ends, &(*out)->d));
    FMP_TRY(set_kids(p, *out, &l));
    FMP_TRY(adopt(p, *out, (*out)->d));
    return end_tag(p, "endwith");
}

static fmp_status parse_jump(parser *p, tpl_kind kind, tpl_node **out)
{
    if (p->in_loop == 0) { return P_FAIL(p, p->tok, "'%s' outside of a loop", kind == S_BREAK ? "break" : "continue"); }
    FMP_TRY(new_node(p, kind, p->tok++, out));
    return expect_end(p, K_BLOCK_END);
}

static fmp_status unknown_statement(parser *p)
{
    static const char *const known[] = { "include", "import", "from", "extends", "block", "trans", "autoescape", "do", "debug" };
    char room[64];
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!is_word(p, known[i])) { continue; }
        (void)P_FAIL(p, p->tok, "unsupported statement '%s'", known[i]);
        if (p->err) { p->err->code = FMP_E_UNSUPPORTED; }
        return FMP_E_UNSUPPORTED;
    }
    return P_FAIL(p, p->tok, "expected a statement, found %s", tok_text(p, p->tok, room, sizeof room));
}

static fmp_status parse_statement(parser *p, tpl_node **out)
{
    if (is_word(p, "if")) { return parse_if(p, out); }
    if (is_word(p, "for")) { return parse_for(p, out); }
    if (is_word(p, "set")) { return parse_set(p, out); }
    if (is_word(p, "macro")) { return parse_macro(p, out); }
    if (is_word(p, "call")) { return parse_callblock(p, out); }
    if (is_word(p, "filter")) { return parse_filter_block(p, out); }
    if (is_word(p, "generation")) { return parse_generation(p, out); }
    if (is_word(p, "with")) { return parse_with(p, out); }
    if (is_word(p, "break")) { return parse_jump(p, S_BREAK, out); }
    if (is_word(p, "continue")) { return parse_jump(p, S_CONTINUE, out); }
    return unknown_statement(p);
}

static bool at_any(const parser *p, const char *const *words)
{
    for (; words && *words; words++) {
        if (is_word(p, *words)) { return true; }
    }
    return false;
}

/* Text, outputs and statements up to a tag named in `ends` (its name becomes the current token) or the end. */
static fmp_status parse_body(parser *p, const char *const *ends, tpl_node **out)
{
    FMP_TRY(enter(p));
    const tpl_tok *open = p->tok;
    node_list l = { 0 };
    FMP_TRY(new_node(p, S_BLOCK, p->tok, out));
    while (p->tok->kind != K_EOF) {
        const tpl_tok *k = p->tok++;
        tpl_node *n;
        if (k->kind == K_TEXT) {
            FMP_TRY(new_node(p, S_TEXT, k, &n));
            FMP_TRY(name_str(p, k, &n->value));
        } else if (k->kind == K_VAR_BEGIN) {
            FMP_TRY(new_node(p, S_OUTPUT, k, &n));
            FMP_TRY(parse_tuple(p, true, false, NULL, &n->a));
            FMP_TRY(expect_end(p, K_VAR_END));
            FMP_TRY(adopt(p, n, n->a));
        } else if (at_any(p, ends)) {
            p->depth--;
            return set_kids(p, *out, &l);
        } else {
            FMP_TRY(parse_statement(p, &n));
        }
        FMP_TRY(list_add(p, &l, n));
    }
    if (ends) {
        const char *last = ends[0];
        for (size_t i = 0; ends[i]; i++) { last = ends[i]; }
        return P_FAIL(p, open - 1, "expected '{%% %s %%}' for the block before it, found the end of the template", last);
    }
    p->depth--;
    return set_kids(p, *out, &l);
}

static uint32_t find_name(const fmp_template *t, const char *name)
{
    for (uint32_t i = 0; i < t->n_names; i++) {
        if (tpl_str_is(t->names[i], name)) { return i; }
    }
    return UINT32_MAX;
}

fmp_status tpl_parse(fmp_template *t, fmp_err *err)
{
    tpl_toks toks = { 0 };
    fmp_status st = tpl_lex(t->name, t->source, t->source_len, &toks, err);
    if (st == FMP_OK) {
        parser p = { .t = t, .tok = toks.v, .err = err };
        st = parse_body(&p, NULL, &t->root);
    }
    free(toks.v);
    t->id_loop = find_name(t, "loop");
    t->id_caller = find_name(t, "caller");
    t->id_varargs = find_name(t, "varargs");
    t->id_kwargs = find_name(t, "kwargs");
    return st;
}
