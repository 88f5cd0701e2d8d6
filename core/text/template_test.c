/*
 * template_test.c: Jinja's tests, the words after "is".
 */
#include "template_impl.h"

#define ARG(i) (c->arg[i])

static bool is_sequence(const tpl_val *v)
{
    if (v->type == T_SEQ) { return v->u.q->kind <= Q_TUPLE || v->u.q->kind == Q_RANGE; }
    return v->type == T_STR || v->type == T_DICT || v->type == T_UNDEFINED;
}

static bool is_iterable(const tpl_val *v)
{
    return v->type == T_SEQ || v->type == T_STR || v->type == T_DICT || v->type == T_UNDEFINED ||
           v->type == T_LOOP;
}

static bool is_callable(const tpl_val *v)
{
    return (v->type >= T_MACRO && v->type <= T_LOOP) || v->type == T_JOINER || v->type == T_UNDEFINED;
}

static bool of_type(const char *test, const tpl_val *v)
{
    static const struct {
        const char *test;
        tpl_type type;
    } simple[] = {
        {"none", T_NONE}, {"string", T_STR}, {"boolean", T_BOOL}, {"float", T_FLOAT}, {"mapping", T_DICT}};
    for (size_t i = 0; i < sizeof simple / sizeof *simple; i++) {
        if (strcmp(test, simple[i].test) == 0) { return v->type == simple[i].type; }
    }
    if (strcmp(test, "defined") == 0) { return v->type != T_UNDEFINED; }
    if (strcmp(test, "undefined") == 0) { return v->type == T_UNDEFINED; }
    if (strcmp(test, "true") == 0) { return v->type == T_BOOL && v->u.b; }
    if (strcmp(test, "false") == 0) { return v->type == T_BOOL && !v->u.b; }
    if (strcmp(test, "integer") == 0) { return v->type == T_INT || v->type == T_BIG; }
    if (strcmp(test, "number") == 0) { return tpl_is_number(v); }
    if (strcmp(test, "sequence") == 0) { return is_sequence(v); }
    if (strcmp(test, "iterable") == 0) { return is_iterable(v); }
    if (strcmp(test, "callable") == 0) { return is_callable(v); }
    return v->type == T_STR && v->flag; /* escaped */
}

static fmp_status t_type(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    (void)rt;
    *out = tpl_bool(of_type(c->fn->name, &c->self));
    return FMP_OK;
}

static fmp_status t_equal(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    bool same;
    FMP_TRY(tpl_equal(rt, &c->self, ARG(0), &same));
    *out = tpl_bool(same != (c->fn->name[0] == 'n' || c->fn->name[0] == '!'));
    return FMP_OK;
}

/* lt, le, gt, ge and their other names */
static fmp_status t_order(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const char *name = c->fn->name;
    bool less = name[0] == 'l' || name[0] == '<',
         equal = strcmp(name, "le") == 0 || strcmp(name, "ge") == 0 || name[1] == '=';
    int cmp;
    FMP_TRY(tpl_order(rt, &c->self, ARG(0), &cmp));
    *out = tpl_bool((equal && cmp == 0) || (less ? cmp < 0 : cmp > 0));
    return FMP_OK;
}

static fmp_status t_in(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    bool yes;
    FMP_TRY(tpl_contains(rt, ARG(0), &c->self, &yes));
    *out = tpl_bool(yes);
    return FMP_OK;
}

static fmp_status t_divisible(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_val two = tpl_int(2), rest;
    FMP_TRY(tpl_binary(rt, OP_MOD, &c->self, c->fn->name[0] == 'd' ? ARG(0) : &two, &rest));
    *out = tpl_bool(tpl_as_double(&rest) == (c->fn->name[0] == 'o' ? 1.0 : 0.0));
    return FMP_OK;
}

static fmp_status t_case(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_str upper = {"isupper", 7, 0, NULL, {0, 0, 0}}, lower = {"islower", 7, 0, NULL, {0, 0, 0}};
    tpl_val s;
    tpl_args none = {0};
    bool forbidden;
    FMP_TRY(tpl_to_str(rt, &c->self, &s));
    const tpl_builtin *method = tpl_find_method(&s, c->fn->name[0] == 'u' ? &upper : &lower, &forbidden);
    return tpl_invoke(rt, "method", method, &s, &none, out);
}

static fmp_status t_sameas(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    bool same = c->self.type == ARG(0)->type;
    if (same && (c->self.type == T_BOOL || c->self.type == T_INT)) {
        FMP_TRY(tpl_equal(rt, &c->self, ARG(0), &same));
    } else if (same && c->self.type != T_NONE) {
        same = c->self.u.d == ARG(0)->u.d;
    }
    *out = tpl_bool(same);
    return FMP_OK;
}

static fmp_status t_known(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_val s;
    FMP_TRY(tpl_to_str(rt, &c->self, &s));
    *out = tpl_bool((c->fn->name[0] == 'f' ? tpl_find_filter(s.u.s) : tpl_find_test(s.u.s)) != NULL);
    return FMP_OK;
}

static const tpl_builtin tests[] = {
    {"boolean", "", 0, t_type},
    {"callable", "", 0, t_type},
    {"defined", "", 0, t_type},
    {"escaped", "", 0, t_type},
    {"false", "", 0, t_type},
    {"float", "", 0, t_type},
    {"integer", "", 0, t_type},
    {"iterable", "", 0, t_type},
    {"mapping", "", 0, t_type},
    {"none", "", 0, t_type},
    {"number", "", 0, t_type},
    {"sequence", "", 0, t_type},
    {"string", "", 0, t_type},
    {"true", "", 0, t_type},
    {"undefined", "", 0, t_type},
    {"!=", "other", 1, t_equal},
    {"==", "other", 1, t_equal},
    {"eq", "other", 1, t_equal},
    {"equalto", "other", 1, t_equal},
    {"ne", "other", 1, t_equal},
    {"<", "other", 1, t_order},
    {"<=", "other", 1, t_order},
    {">", "other", 1, t_order},
    {">=", "other", 1, t_order},
    {"ge", "other", 1, t_order},
    {"greaterthan", "other", 1, t_order},
    {"gt", "other", 1, t_order},
    {"le", "other", 1, t_order},
    {"lessthan", "other", 1, t_order},
    {"lt", "other", 1, t_order},
    {"in", "seq", 1, t_in},
    {"divisibleby", "num", 1, t_divisible},
    {"even", "", 0, t_divisible},
    {"odd", "", 0, t_divisible},
    {"lower", "", 0, t_case},
    {"upper", "", 0, t_case},
    {"sameas", "other", 1, t_sameas},
    {"filter", "", 0, t_known},
    {"test", "", 0, t_known},
};

const tpl_builtin *tpl_find_test(const tpl_str *name)
{
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (tpl_str_is(name, tests[i].name)) { return &tests[i]; }
    }
    return NULL;
}
