/*
 * template_parse.c: statements, and the way from a source to its tree. Filters and tests are looked up once,
 * while parsing; names of variables become small integers.
 */
#include <stdlib.h>

#include "template_parse.h"

static fmp_status parse_body(tpl_parser *p, const char *const *ends, tpl_node **out);

/* a, b.c, (d, e): what set, for and with assign to. */
static fmp_status parse_target(tpl_parser *p, bool with_attr, tpl_node **out)
{
    FMP_TRY(tpl_enter(p));
    const tpl_tok *first = p->tok;
    tpl_node_list l = {0};
    bool comma = false;
    do {
        tpl_node *item;
        if (l.n > 0 && p->tok->kind != K_NAME && !tpl_is_op(p, "(")) { break; }
        if (tpl_skip_op(p, "(")) {
            FMP_TRY(parse_target(p, false, &item));
            FMP_TRY(tpl_expect_op(p, ")"));
        } else if (p->tok->kind != K_NAME) {
            return tpl_unexpected(p, "a name to assign to");
        } else {
            FMP_TRY(tpl_parse_name(p, &item));
            if (item->kind != N_NAME) { return P_FAIL(p, first, "a constant cannot be assigned to"); }
            if (with_attr && tpl_is_op(p, ".")) {
                FMP_TRY(tpl_parse_dot(p, item, &item));
                if (item->kind != N_ATTR) { return tpl_unexpected(p, "an attribute name"); }
            }
        }
        FMP_TRY(tpl_list_add(p, &l, item));
        if (!tpl_skip_op(p, ",")) { break; }
        comma = true;
    } while (!tpl_is_word(p, "in") && !tpl_is_op(p, "="));
    p->depth--;
    if (!comma) {
        *out = l.v[0];
        return FMP_OK;
    }
    FMP_TRY(tpl_new_node(p, N_TUPLE, first, out));
    return tpl_set_kids(p, *out, &l);
}

/* "name %}" of the tag that ended a body; the tag's name is the current token. */
static fmp_status end_tag(tpl_parser *p, const char *word)
{
    if (!tpl_skip_word(p, word)) { return tpl_unexpected(p, word); }
    return tpl_expect_end(p, K_BLOCK_END);
}

static fmp_status parse_if(tpl_parser *p, tpl_node **out)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    tpl_node_list l = {0};
    tpl_node *n, *x;
    FMP_TRY(tpl_new_node(p, S_IF, p->tok, &n));
    do {
        p->tok++;
        FMP_TRY(tpl_parse_tuple(p, false, false, NULL, &x));
        FMP_TRY(tpl_list_add(p, &l, x));
        FMP_TRY(tpl_expect_end(p, K_BLOCK_END));
        FMP_TRY(parse_body(p, ends, &x));
        FMP_TRY(tpl_list_add(p, &l, x));
    } while (tpl_is_word(p, "elif"));
    if (tpl_skip_word(p, "else")) {
        FMP_TRY(tpl_expect_end(p, K_BLOCK_END));
        FMP_TRY(parse_body(p, ends + 2, &n->c));
        FMP_TRY(tpl_adopt(p, n, n->c));
    }
    FMP_TRY(tpl_set_kids(p, n, &l));
    *out = n;
    return end_tag(p, "endif");
}

static fmp_status parse_for(tpl_parser *p, tpl_node **out)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    tpl_node *n;
    FMP_TRY(tpl_new_node(p, S_FOR, p->tok++, &n));
    FMP_TRY(parse_target(p, false, &n->a));
    if (!tpl_skip_word(p, "in")) { return tpl_unexpected(p, "'in'"); }
    FMP_TRY(tpl_parse_tuple(p, false, false, "recursive", &n->b));
    if (tpl_skip_word(p, "if")) { FMP_TRY(tpl_parse_expr(p, &n->c)); }
    n->recursive = tpl_skip_word(p, "recursive");
    FMP_TRY(tpl_expect_end(p, K_BLOCK_END));
    p->in_loop++;
    FMP_TRY(parse_body(p, ends, &n->d));
    p->in_loop--;
    if (tpl_skip_word(p, "else")) {
        FMP_TRY(tpl_expect_end(p, K_BLOCK_END));
        FMP_TRY(parse_body(p, ends + 1, &n->e));
    }
    const tpl_node *below[] = {n->a, n->b, n->c, n->d, n->e};
    for (size_t i = 0; i < 5; i++) {
        FMP_TRY(tpl_adopt(p, n, below[i]));
    }
    *out = n;
    return end_tag(p, "endfor");
}

/* The filters after "set x |" or "filter": the value of each is the node below it; the innermost has none. */
static fmp_status parse_filter_chain(tpl_parser *p, tpl_node **out)
{
    FMP_TRY(tpl_parse_filter(p, NULL, out));
    while (tpl_skip_op(p, "|")) {
        FMP_TRY(tpl_parse_filter(p, *out, out));
    }
    return FMP_OK;
}

static fmp_status parse_set(tpl_parser *p, tpl_node **out)
{
    static const char *const ends[] = {"endset", NULL};
    tpl_node *n;
    FMP_TRY(tpl_new_node(p, S_SET, p->tok++, &n));
    *out = n;
    FMP_TRY(parse_target(p, true, &n->a));
    if (tpl_skip_op(p, "=")) {
        FMP_TRY(tpl_parse_tuple(p, true, false, NULL, &n->b));
        FMP_TRY(tpl_adopt(p, n, n->b));
        return tpl_expect_end(p, K_BLOCK_END);
    }
    n->kind = S_SET_BLOCK;
    if (tpl_skip_op(p, "|")) { FMP_TRY(parse_filter_chain(p, &n->c)); }
    FMP_TRY(tpl_expect_end(p, K_BLOCK_END));
    FMP_TRY(parse_body(p, ends, &n->d));
    FMP_TRY(tpl_adopt(p, n, n->d));
    return end_tag(p, "endset");
}

/* "(a, b=1)" of a macro or call block. */
static fmp_status parse_params(tpl_parser *p, tpl_node *n)
{
    tpl_node_list defaults = {0};
    uint32_t ids[64], count = 0;
    FMP_TRY(tpl_expect_op(p, "("));
    while (!tpl_is_op(p, ")")) {
        if (count > 0) {
            FMP_TRY(tpl_expect_op(p, ","));
            if (tpl_is_op(p, ")")) { break; }
        }
        if (p->tok->kind != K_NAME) { return tpl_unexpected(p, "a parameter name"); }
        if (count == 64) { return P_FAIL(p, p->tok, "more than 64 parameters"); }
        FMP_TRY(tpl_intern(p, p->tok++, &ids[count++]));
        if (tpl_skip_op(p, "=")) {
            tpl_node *x;
            FMP_TRY(tpl_parse_expr(p, &x));
            FMP_TRY(tpl_list_add(p, &defaults, x));
            FMP_TRY(tpl_adopt(p, n, x));
        } else if (defaults.n > 0) {
            return tpl_unexpected(p, "a default value (an earlier parameter has one)");
        }
    }
    p->tok++;
    n->params = tpl_parse_take(p, (count + 1) * sizeof *ids);
    if (!n->params) { return FMP_E_NOMEM; }
    memcpy(n->params, ids, count * sizeof *ids);
    n->n_params = count;
    n->defaults = defaults.v;
    n->n_defaults = defaults.n;
    return FMP_OK;
}

/* Parse a body in which break and continue do not reach an outer loop. */
static fmp_status parse_own_body(tpl_parser *p, const char *const *ends, tpl_node *n)
{
    uint32_t in_loop = p->in_loop;
    p->in_loop = 0;
    FMP_TRY(tpl_expect_end(p, K_BLOCK_END));
    FMP_TRY(parse_body(p, ends, &n->d));
    p->in_loop = in_loop;
    FMP_TRY(tpl_adopt(p, n, n->d));
    return end_tag(p, ends[0]);
}

static fmp_status parse_macro(tpl_parser *p, tpl_node **out)
{
    static const char *const ends[] = {"endmacro", NULL};
    FMP_TRY(tpl_new_node(p, S_MACRO, p->tok++, out));
    if (p->tok->kind != K_NAME) { return tpl_unexpected(p, "a macro name"); }
    FMP_TRY(tpl_name_str(p, p->tok, &(*out)->value));
    FMP_TRY(tpl_intern(p, p->tok++, &(*out)->name));
    FMP_TRY(parse_params(p, *out));
    return parse_own_body(p, ends, *out);
}

static fmp_status parse_callblock(tpl_parser *p, tpl_node **out)
{
    static const char *const ends[] = {"endcall", NULL};
    FMP_TRY(tpl_new_node(p, S_CALLBLOCK, p->tok++, out));
    FMP_TRY(tpl_const_str(p, "caller", 6, &(*out)->value));
    if (tpl_is_op(p, "(")) { FMP_TRY(parse_params(p, *out)); }
    FMP_TRY(tpl_parse_unary(p, true, &(*out)->a));
    if ((*out)->a->kind != N_CALL) { return tpl_unexpected(p, "a macro call"); }
    FMP_TRY(tpl_adopt(p, *out, (*out)->a));
    return parse_own_body(p, ends, *out);
}

static fmp_status parse_filter_block(tpl_parser *p, tpl_node **out)
{
    static const char *const ends[] = {"endfilter", NULL};
    FMP_TRY(tpl_new_node(p, S_FILTER_BLOCK, p->tok++, out));
    FMP_TRY(parse_filter_chain(p, &(*out)->c));
    FMP_TRY(tpl_expect_end(p, K_BLOCK_END));
    FMP_TRY(parse_body(p, ends, &(*out)->d));
    FMP_TRY(tpl_adopt(p, *out, (*out)->d));
    return end_tag(p, "endfilter");
}

static fmp_status parse_generation(tpl_parser *p, tpl_node **out)
{
    static const char *const ends[] = {"endgeneration", NULL};
    FMP_TRY(tpl_new_node(p, S_GENERATION, p->tok++, out));
    return parse_own_body(p, ends, *out);
}

static fmp_status parse_with(tpl_parser *p, tpl_node **out)
{
    static const char *const ends[] = {"endwith", NULL};
    tpl_node_list l = {0};
    FMP_TRY(tpl_new_node(p, S_WITH, p->tok++, out));
    while (p->tok->kind != K_BLOCK_END) {
        tpl_node *x;
        if (l.n > 0) { FMP_TRY(tpl_expect_op(p, ",")); }
        FMP_TRY(tpl_parse_name(p, &x));
        FMP_TRY(tpl_list_add(p, &l, x));
        FMP_TRY(tpl_expect_op(p, "="));
        FMP_TRY(tpl_parse_expr(p, &x));
        FMP_TRY(tpl_list_add(p, &l, x));
    }
    p->tok++;
    FMP_TRY(parse_body(p, ends, &(*out)->d));
    FMP_TRY(tpl_set_kids(p, *out, &l));
    FMP_TRY(tpl_adopt(p, *out, (*out)->d));
    return end_tag(p, "endwith");
}

static fmp_status parse_jump(tpl_parser *p, tpl_kind kind, tpl_node **out)
{
    if (p->in_loop == 0) {
        return P_FAIL(p, p->tok, "'%s' outside of a loop", kind == S_BREAK ? "break" : "continue");
    }
    FMP_TRY(tpl_new_node(p, kind, p->tok++, out));
    return tpl_expect_end(p, K_BLOCK_END);
}

static fmp_status unknown_statement(tpl_parser *p)
{
    static const char *const known[] = {"include", "import",     "from", "extends", "block",
                                        "trans",   "autoescape", "do",   "debug"};
    char room[64];
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!tpl_is_word(p, known[i])) { continue; }
        (void)P_FAIL(p, p->tok, "unsupported statement '%s'", known[i]);
        if (p->err) { p->err->code = FMP_E_UNSUPPORTED; }
        return FMP_E_UNSUPPORTED;
    }
    return P_FAIL(p, p->tok, "expected a statement, found %s", tpl_tok_text(p, p->tok, room, sizeof room));
}

static fmp_status parse_statement(tpl_parser *p, tpl_node **out)
{
    if (tpl_is_word(p, "if")) { return parse_if(p, out); }
    if (tpl_is_word(p, "for")) { return parse_for(p, out); }
    if (tpl_is_word(p, "set")) { return parse_set(p, out); }
    if (tpl_is_word(p, "macro")) { return parse_macro(p, out); }
    if (tpl_is_word(p, "call")) { return parse_callblock(p, out); }
    if (tpl_is_word(p, "filter")) { return parse_filter_block(p, out); }
    if (tpl_is_word(p, "generation")) { return parse_generation(p, out); }
    if (tpl_is_word(p, "with")) { return parse_with(p, out); }
    if (tpl_is_word(p, "break")) { return parse_jump(p, S_BREAK, out); }
    if (tpl_is_word(p, "continue")) { return parse_jump(p, S_CONTINUE, out); }
    return unknown_statement(p);
}

static bool at_any(const tpl_parser *p, const char *const *words)
{
    for (; words && *words; words++) {
        if (tpl_is_word(p, *words)) { return true; }
    }
    return false;
}

/* Text, outputs and statements, up to a tag named in `ends`, whose name becomes the current token. */
static fmp_status parse_body(tpl_parser *p, const char *const *ends, tpl_node **out)
{
    FMP_TRY(tpl_enter(p));
    const tpl_tok *open = p->tok;
    tpl_node_list l = {0};
    FMP_TRY(tpl_new_node(p, S_BLOCK, p->tok, out));
    while (p->tok->kind != K_EOF) {
        const tpl_tok *k = p->tok++;
        tpl_node *n;
        if (k->kind == K_TEXT) {
            FMP_TRY(tpl_new_node(p, S_TEXT, k, &n));
            FMP_TRY(tpl_name_str(p, k, &n->value));
        } else if (k->kind == K_VAR_BEGIN) {
            FMP_TRY(tpl_new_node(p, S_OUTPUT, k, &n));
            FMP_TRY(tpl_parse_tuple(p, true, false, NULL, &n->a));
            FMP_TRY(tpl_expect_end(p, K_VAR_END));
            FMP_TRY(tpl_adopt(p, n, n->a));
        } else if (at_any(p, ends)) {
            p->depth--;
            return tpl_set_kids(p, *out, &l);
        } else {
            FMP_TRY(parse_statement(p, &n));
        }
        FMP_TRY(tpl_list_add(p, &l, n));
    }
    if (ends) {
        const char *last = ends[0];
        for (size_t i = 0; ends[i]; i++) {
            last = ends[i];
        }
        return P_FAIL(p, open - 1,
                      "expected '{%% %s %%}' for the block before it, found the end of the template", last);
    }
    p->depth--;
    return tpl_set_kids(p, *out, &l);
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
    tpl_toks toks = {0};
    fmp_status st = tpl_lex(t->name, t->source, t->source_len, &toks, err);
    if (st == FMP_OK) {
        tpl_parser p = {.t = t, .tok = toks.v, .err = err};
        st = parse_body(&p, NULL, &t->root);
    }
    free(toks.v);
    t->id_loop = find_name(t, "loop");
    t->id_caller = find_name(t, "caller");
    t->id_varargs = find_name(t, "varargs");
    t->id_kwargs = find_name(t, "kwargs");
    return st;
}
