/*
 * template_parse.h: what the three files of the template parser share: the parser's state, its tokens, its
 * nodes.
 *
 * Every function consumes what it names and leaves the parser at the next token; after an error the parser
 * is done.
 */
#ifndef FMP_TEMPLATE_PARSE_H
#define FMP_TEMPLATE_PARSE_H

#include "template_impl.h"

typedef struct tpl_parser {
    fmp_template *t;
    const tpl_tok *tok; /* the current token */
    uint32_t depth;     /* of the recursion  */
    uint32_t in_loop;
    uint32_t cap_names;
    fmp_err *err;
} tpl_parser;

/* A list of nodes while its length is unknown. */
typedef struct tpl_node_list {
    tpl_node **v;
    uint32_t n, cap;
} tpl_node_list;

#define P_FAIL(p, tokp, ...)                                                                                 \
    tpl_syntax_error((p)->t->name, (p)->t->source, (p)->t->source_len, (tokp)->begin, (p)->err, __VA_ARGS__)

/* ---- tokens and nodes (template_tree.c) ---- */
const char *tpl_tok_text(const tpl_parser *p, const tpl_tok *k, char *room, size_t size);
fmp_status tpl_unexpected(tpl_parser *p, const char *expected);
bool tpl_is_op(const tpl_parser *p, const char *op);
bool tpl_is_word(const tpl_parser *p, const char *word);
bool tpl_skip_op(tpl_parser *p, const char *op);
bool tpl_skip_word(tpl_parser *p, const char *word);
fmp_status tpl_expect_op(tpl_parser *p, const char *op);
fmp_status tpl_expect_end(tpl_parser *p, tpl_tok_kind kind);
void *tpl_parse_take(tpl_parser *p, size_t size);
fmp_status tpl_new_node(tpl_parser *p, tpl_kind kind, const tpl_tok *at, tpl_node **out);
fmp_status tpl_adopt(tpl_parser *p, tpl_node *n, const tpl_node *child);
fmp_status tpl_enter(tpl_parser *p);
fmp_status tpl_list_add(tpl_parser *p, tpl_node_list *l, tpl_node *n);
fmp_status tpl_set_kids(tpl_parser *p, tpl_node *n, const tpl_node_list *l);
fmp_status tpl_const_str(tpl_parser *p, const char *text, size_t len, tpl_val *out);
fmp_status tpl_name_str(tpl_parser *p, const tpl_tok *k, tpl_val *out);
fmp_status tpl_intern(tpl_parser *p, const tpl_tok *k, uint32_t *id);

/* ---- expressions (template_expr.c) ---- */
fmp_status tpl_parse_name(tpl_parser *p, tpl_node **out);
fmp_status tpl_parse_dot(tpl_parser *p, tpl_node *obj, tpl_node **out);
fmp_status tpl_parse_filter(tpl_parser *p, tpl_node *value, tpl_node **out);
fmp_status tpl_parse_unary(tpl_parser *p, bool with_filter, tpl_node **out);
fmp_status tpl_parse_or(tpl_parser *p, tpl_node **out);
fmp_status tpl_parse_expr(tpl_parser *p, tpl_node **out);
fmp_status tpl_parse_tuple(tpl_parser *p, bool with_cond, bool in_parens, const char *stop, tpl_node **out);

#endif
