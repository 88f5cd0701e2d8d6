/*
 * template_tree.c: the parser's ground floor: looking at tokens, making nodes, interning names.
 *
 * The height of the tree is bounded while it is built (tpl_adopt, tpl_enter), so that parsing it and
 * evaluating it by recursion are both safe. Everything lies in the template's arena.
 */
#include "template_parse.h"

const char *tpl_tok_text(const tpl_parser *p, const tpl_tok *k, char *room, size_t size)
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

fmp_status tpl_unexpected(tpl_parser *p, const char *expected)
{
    char room[64];
    return P_FAIL(p, p->tok, "expected %s, found %s", expected, tpl_tok_text(p, p->tok, room, sizeof room));
}

bool tpl_is_op(const tpl_parser *p, const char *op)
{
    return p->tok->kind == K_OP && strcmp(p->tok->op, op) == 0;
}

bool tpl_is_word(const tpl_parser *p, const char *word)
{
    size_t n = strlen(word);
    return p->tok->kind == K_NAME && p->tok->end - p->tok->begin == n &&
           memcmp(p->t->source + p->tok->begin, word, n) == 0;
}

bool tpl_skip_op(tpl_parser *p, const char *op)
{
    bool yes = tpl_is_op(p, op);
    if (yes) { p->tok++; }
    return yes;
}

bool tpl_skip_word(tpl_parser *p, const char *word)
{
    bool yes = tpl_is_word(p, word);
    if (yes) { p->tok++; }
    return yes;
}

fmp_status tpl_expect_op(tpl_parser *p, const char *op)
{
    if (tpl_skip_op(p, op)) { return FMP_OK; }
    char want[8];
    snprintf(want, sizeof want, "'%s'", op);
    return tpl_unexpected(p, want);
}

fmp_status tpl_expect_end(tpl_parser *p, tpl_tok_kind kind)
{
    if (p->tok->kind != kind) { return tpl_unexpected(p, kind == K_BLOCK_END ? "'%}'" : "'}}'"); }
    p->tok++;
    return FMP_OK;
}

/* Source and tree are bounded, so the arena (without a cap) fails only when the machine is out of memory. */
void *tpl_parse_take(tpl_parser *p, size_t size)
{
    void *m = fmp_arena_take(p->t->arena, size);
    if (fmp_arena_ok(p->t->arena, p->err) != FMP_OK) { return NULL; }
    memset(m, 0, size);
    return m;
}

fmp_status tpl_new_node(tpl_parser *p, tpl_kind kind, const tpl_tok *at, tpl_node **out)
{
    tpl_node *n = tpl_parse_take(p, sizeof *n);
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
fmp_status tpl_adopt(tpl_parser *p, tpl_node *n, const tpl_node *child)
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

fmp_status tpl_enter(tpl_parser *p)
{
    if (++p->depth <= TPL_MAX_PARSE_DEPTH) { return FMP_OK; }
    (void)P_FAIL(p, p->tok, "nesting deeper than %u", TPL_MAX_PARSE_DEPTH);
    if (p->err) { p->err->code = FMP_E_RANGE; }
    return FMP_E_RANGE;
}

fmp_status tpl_list_add(tpl_parser *p, tpl_node_list *l, tpl_node *n)
{
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? l->cap * 2 : 4;
        tpl_node **v = tpl_parse_take(p, cap * sizeof(*v));
        if (!v) { return FMP_E_NOMEM; }
        if (l->n) { memcpy(v, l->v, l->n * sizeof(*v)); }
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = n;
    return FMP_OK;
}

fmp_status tpl_set_kids(tpl_parser *p, tpl_node *n, const tpl_node_list *l)
{
    n->kids = l->v;
    n->n_kids = l->n;
    for (uint32_t i = 0; i < l->n; i++) {
        FMP_TRY(tpl_adopt(p, n, l->v[i]));
    }
    return tpl_adopt(p, n, NULL);
}

/* A constant string of the template: literal bytes. */
fmp_status tpl_const_str(tpl_parser *p, const char *text, size_t len, tpl_val *out)
{
    tpl_str *s = tpl_parse_take(p, sizeof *s);
    if (!s) { return FMP_E_NOMEM; }
    s->p = text;
    s->len = (uint32_t)len;
    s->n_runs = len > 0;
    s->one = (tpl_run){(uint32_t)len, ORIGIN_LITERAL, SRC_NONE};
    s->runs = &s->one;
    *out = tpl_of_str(s);
    return FMP_OK;
}

fmp_status tpl_name_str(tpl_parser *p, const tpl_tok *k, tpl_val *out)
{
    return tpl_const_str(p, p->t->source + k->begin, k->end - k->begin, out);
}

static fmp_status intern(tpl_parser *p, const char *text, size_t len, uint32_t *id)
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
        const tpl_str **v = tpl_parse_take(p, cap * sizeof *v);
        if (!v) { return FMP_E_NOMEM; }
        if (t->n_names) { memcpy(v, t->names, t->n_names * sizeof *v); }
        t->names = v;
        p->cap_names = cap;
    }
    tpl_val s;
    FMP_TRY(tpl_const_str(p, text, len, &s));
    t->names[t->n_names] = s.u.s;
    *id = t->n_names++;
    return FMP_OK;
}

fmp_status tpl_intern(tpl_parser *p, const tpl_tok *k, uint32_t *id)
{
    return intern(p, p->t->source + k->begin, k->end - k->begin, id);
}
