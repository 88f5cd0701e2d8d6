/*
 * template_eval.c: running the tree: expressions to values, statements to output.
 *
 * Scopes are Jinja's: the body of a loop, a macro, with, a block set and {% generation %} have variables of
 * their own; if has none. Reading walks outwards; setting never reaches out (that is what namespaces are
 * for).
 */
#include <math.h>
#include <stdlib.h>

#include "template_impl.h"

static fmp_status exec(tpl_rt *rt, tpl_frame *f, const tpl_node *n);

/* ---- variables ---- */

static tpl_val *find_var(tpl_rt *rt, tpl_frame *f, uint32_t name)
{
    for (; f; f = f->up) {
        for (uint32_t i = 0; i < f->n; i++) {
            if (f->names[i] == name) { return &f->vals[i]; }
        }
    }
    return &rt->globals[name];
}

static fmp_status set_var(tpl_rt *rt, tpl_frame *f, uint32_t name, const tpl_val *v)
{
    if (!f) {
        rt->globals[name] = *v;
        return FMP_OK;
    }
    for (uint32_t i = 0; i < f->n; i++) {
        if (f->names[i] == name) {
            f->vals[i] = *v;
            return FMP_OK;
        }
    }
    if (f->n == f->cap) {
        uint32_t cap = f->cap ? f->cap * 2 : 8;
        uint32_t *names;
        tpl_val *vals;
        TPL_TAKE(rt, names, cap);
        TPL_TAKE(rt, vals, cap);
        if (f->n) {
            memcpy(names, f->names, f->n * sizeof *names);
            memcpy(vals, f->vals, f->n * sizeof *vals);
        }
        f->names = names;
        f->vals = vals;
        f->cap = cap;
    }
    f->names[f->n] = name;
    f->vals[f->n++] = *v;
    return FMP_OK;
}

static fmp_status new_frame(tpl_rt *rt, tpl_frame *up, tpl_frame **out)
{
    tpl_frame *f;
    *out = NULL;
    TPL_TAKE(rt, f, 1);
    memset(f, 0, sizeof *f);
    f->up = up;
    *out = f;
    return FMP_OK;
}

static fmp_status assign(tpl_rt *rt, tpl_frame *f, const tpl_node *target, const tpl_val *v)
{
    if (target->kind == N_NAME) { return set_var(rt, f, target->name, v); }
    if (target->kind == N_ATTR) {
        const tpl_val *ns = find_var(rt, f, target->a->name);
        rt->at = target;
        if (ns->type != T_NAMESPACE) {
            return tpl_fail(rt, FMP_E_DATA, "cannot assign an attribute of a %s, only of a namespace",
                            tpl_type_name(ns));
        }
        return tpl_dict_put(rt, ns->u.d, &target->value, v);
    }
    const tpl_val *items;
    uint32_t n;
    rt->at = target;
    FMP_TRY(tpl_iterate(rt, v, &items, &n));
    if (n != target->n_kids) {
        return tpl_fail(rt, FMP_E_DATA, "expected %u values to unpack, found %u", target->n_kids, n);
    }
    for (uint32_t i = 0; i < n; i++) {
        FMP_TRY(assign(rt, f, target->kids[i], &items[i]));
    }
    return FMP_OK;
}

/* ---- operators ---- */

static fmp_status big_operand(tpl_rt *rt, const tpl_val *a, const tpl_val *b)
{
    if (a->type != T_BIG && b->type != T_BIG) { return FMP_OK; }
    return tpl_fail(rt, FMP_E_UNSUPPORTED, "arithmetic on an integer beyond 64 bits");
}

static int64_t int_of(const tpl_val *v)
{
    return v->type == T_BOOL ? (int64_t)v->u.b : v->u.i;
}

static fmp_status int_pow(tpl_rt *rt, int64_t x, int64_t y, tpl_val *out)
{
    int64_t r = 1;
    if (y < 0) {
        *out = tpl_float(pow((double)x, (double)y));
        return FMP_OK;
    }
    for (int64_t i = 0; i < y && r != 0 && !(x == 1 || (x == -1 && i > 1)); i++) {
        if (__builtin_mul_overflow(r, x, &r)) {
            return tpl_fail(rt, FMP_E_UNSUPPORTED, "an integer beyond 64 bits");
        }
    }
    if (x == -1) { r = y % 2 ? -1 : 1; }
    *out = tpl_int(r);
    return FMP_OK;
}

static fmp_status int_binary(tpl_rt *rt, tpl_op op, int64_t x, int64_t y, tpl_val *out)
{
    int64_t r = 0;
    bool overflow = false;
    if ((op == OP_DIV || op == OP_FLOORDIV || op == OP_MOD) && y == 0) {
        return tpl_fail(rt, FMP_E_DATA, "division by zero");
    }
    switch (op) {
    case OP_ADD: overflow = __builtin_add_overflow(x, y, &r); break;
    case OP_SUB: overflow = __builtin_sub_overflow(x, y, &r); break;
    case OP_MUL: overflow = __builtin_mul_overflow(x, y, &r); break;
    case OP_DIV: *out = tpl_float((double)x / (double)y); return FMP_OK;
    case OP_FLOORDIV:
        overflow = x == INT64_MIN && y == -1;
        if (!overflow) { r = x / y - (x % y != 0 && (x < 0) != (y < 0)); }
        break;
    case OP_MOD:
        r = y == -1 ? 0 : x % y;
        if (r != 0 && (r < 0) != (y < 0)) { r += y; }
        break;
    default: return int_pow(rt, x, y, out);
    }
    if (overflow) { return tpl_fail(rt, FMP_E_UNSUPPORTED, "an integer beyond 64 bits"); }
    *out = tpl_int(r);
    return FMP_OK;
}

/* Python's x // y: exact where floor(x / y) is not, since the remainder is. */
static double floor_div(double x, double y)
{
    double rest = fmod(x, y), q = (x - rest) / y;
    if (rest != 0.0 && (y < 0.0) != (rest < 0.0)) { q -= 1.0; }
    if (q == 0.0) { return copysign(0.0, x / y); }
    double whole = floor(q);
    return q - whole > 0.5 ? whole + 1.0 : whole;
}

static fmp_status float_binary(tpl_rt *rt, tpl_op op, double x, double y, tpl_val *out)
{
    double r;
    if ((op == OP_DIV || op == OP_FLOORDIV || op == OP_MOD) && y == 0.0) {
        return tpl_fail(rt, FMP_E_DATA, "division by zero");
    }
    switch (op) {
    case OP_ADD: r = x + y; break;
    case OP_SUB: r = x - y; break;
    case OP_MUL: r = x * y; break;
    case OP_DIV: r = x / y; break;
    case OP_FLOORDIV: r = floor_div(x, y); break;
    case OP_MOD:
        r = fmod(x, y);
        if (r == 0.0) { r = copysign(0.0, y); }
        if (r != 0.0 && (r < 0.0) != (y < 0.0)) { r += y; }
        break;
    default: r = pow(x, y); break;
    }
    *out = tpl_float(r);
    return FMP_OK;
}

static fmp_status repeat(tpl_rt *rt, const tpl_val *v, int64_t times, tpl_val *out)
{
    if (times < 0) { times = 0; }
    if (v->type == T_STR) {
        tpl_sink k = {0};
        if (v->u.s->len == 0) { times = 0; }
        FMP_TRY(tpl_step(rt, times > (int64_t)rt->max_output ? rt->max_output : (uint64_t)times));
        for (int64_t i = 0; i < times; i++) {
            FMP_TRY(tpl_sink_str(rt, &k, v->u.s));
        }
        return tpl_sink_done(rt, &k, out);
    }
    const tpl_val *items;
    uint32_t n;
    size_t total;
    FMP_TRY(tpl_iterate(rt, v, &items, &n));
    if (!fmp_mul_ok((size_t)times, n, &total)) {
        return tpl_fail(rt, FMP_E_RANGE, "a list of too many items");
    }
    FMP_TRY(tpl_step(rt, total));
    FMP_TRY(tpl_seq_new(rt, v->u.q->kind, total, out));
    for (size_t i = 0; i < total; i++) {
        out->u.q->items[i] = items[i % n];
    }
    return FMP_OK;
}

static fmp_status seq_concat(tpl_rt *rt, const tpl_val *a, const tpl_val *b, tpl_val *out)
{
    const tpl_val *x, *y;
    uint32_t nx, ny;
    FMP_TRY(tpl_iterate(rt, a, &x, &nx));
    FMP_TRY(tpl_iterate(rt, b, &y, &ny));
    FMP_TRY(tpl_seq_new(rt, a->u.q->kind, (size_t)nx + ny, out));
    if (nx) { memcpy(out->u.q->items, x, nx * sizeof *x); }
    if (ny) { memcpy(out->u.q->items + nx, y, ny * sizeof *y); }
    return FMP_OK;
}

/* str + str; a markup-safe side escapes the other */
static fmp_status str_plus(tpl_rt *rt, tpl_val a, tpl_val b, tpl_val *out)
{
    bool safe = a.flag || b.flag;
    if (safe && !a.flag) { FMP_TRY(tpl_str_escape(rt, &a, &a)); }
    if (safe && !b.flag) { FMP_TRY(tpl_str_escape(rt, &b, &b)); }
    FMP_TRY(tpl_str_concat(rt, &a, &b, out));
    out->flag = safe;
    return FMP_OK;
}

static bool is_list(const tpl_val *v)
{
    return v->type == T_SEQ && v->u.q->kind <= Q_TUPLE;
}

static bool is_int(const tpl_val *v)
{
    return v->type == T_INT || v->type == T_BOOL;
}

fmp_status tpl_binary(tpl_rt *rt, tpl_op op, const tpl_val *a, const tpl_val *b, tpl_val *out)
{
    static const char *const names[] = {"+", "-", "*", "/", "//", "%", "**"};
    if (op == OP_ADD && a->type == T_STR && b->type == T_STR) { return str_plus(rt, *a, *b, out); }
    if (a->type == T_UNDEFINED) { return tpl_fail_undefined(rt, a); }
    if (op == OP_MOD && a->type == T_STR) { return tpl_format_percent(rt, a->u.s, b, out); }
    if (b->type == T_UNDEFINED) { return tpl_fail_undefined(rt, b); }
    if (tpl_is_number(a) && tpl_is_number(b)) {
        FMP_TRY(big_operand(rt, a, b));
        if (is_int(a) && is_int(b)) { return int_binary(rt, op, int_of(a), int_of(b), out); }
        return float_binary(rt, op, tpl_as_double(a), tpl_as_double(b), out);
    }
    if (op == OP_ADD && is_list(a) && is_list(b) && a->u.q->kind == b->u.q->kind) {
        return seq_concat(rt, a, b, out);
    }
    if (op == OP_MUL && (a->type == T_STR || is_list(a)) && is_int(b)) {
        return repeat(rt, a, int_of(b), out);
    }
    if (op == OP_MUL && is_int(a) && (b->type == T_STR || is_list(b))) {
        return repeat(rt, b, int_of(a), out);
    }
    return tpl_fail(rt, FMP_E_DATA, "unsupported operand types for %s: %s and %s", names[op],
                    tpl_type_name(a), tpl_type_name(b));
}

static fmp_status compare(tpl_rt *rt, tpl_op op, const tpl_val *a, const tpl_val *b, bool *out)
{
    int c;
    switch (op) {
    case OP_EQ: return tpl_equal(rt, a, b, out);
    case OP_NE:
        FMP_TRY(tpl_equal(rt, a, b, out));
        *out = !*out;
        return FMP_OK;
    case OP_IN: return tpl_contains(rt, b, a, out);
    case OP_NOT_IN:
        FMP_TRY(tpl_contains(rt, b, a, out));
        *out = !*out;
        return FMP_OK;
    default: break;
    }
    FMP_TRY(tpl_order(rt, a, b, &c));
    *out = op == OP_LT ? c < 0 : op == OP_LE ? c <= 0 : op == OP_GT ? c > 0 : c >= 0;
    return FMP_OK;
}

static fmp_status eval_compare(tpl_rt *rt, tpl_frame *f, const tpl_node *n, tpl_val *out)
{
    tpl_val a, b;
    bool yes = true;
    FMP_TRY(tpl_eval(rt, f, n->a, &a));
    for (uint32_t i = 0; yes && i < n->n_kids; i++) {
        FMP_TRY(tpl_eval(rt, f, n->kids[i], &b));
        rt->at = n;
        FMP_TRY(compare(rt, (tpl_op)n->ops[i], &a, &b, &yes));
        a = b;
    }
    *out = tpl_bool(yes);
    return FMP_OK;
}

/* ---- expressions ---- */

static fmp_status eval_items(tpl_rt *rt, tpl_frame *f, const tpl_node *n, tpl_val *out)
{
    FMP_TRY(tpl_seq_new(rt, n->kind == N_LIST ? Q_LIST : Q_TUPLE, n->n_kids, out));
    for (uint32_t i = 0; i < n->n_kids; i++) {
        FMP_TRY(tpl_eval(rt, f, n->kids[i], &out->u.q->items[i]));
    }
    return FMP_OK;
}

static fmp_status eval_dict(tpl_rt *rt, tpl_frame *f, const tpl_node *n, tpl_val *out)
{
    FMP_TRY(tpl_dict_new(rt, n->n_kids / 2, out));
    for (uint32_t i = 0; i + 1 < n->n_kids; i += 2) {
        tpl_val key, val;
        FMP_TRY(tpl_eval(rt, f, n->kids[i], &key));
        FMP_TRY(tpl_eval(rt, f, n->kids[i + 1], &val));
        FMP_TRY(tpl_dict_put(rt, out->u.d, &key, &val));
    }
    return FMP_OK;
}

static fmp_status eval_concat(tpl_rt *rt, tpl_frame *f, const tpl_node *n, tpl_val *out)
{
    tpl_sink k = {0};
    for (uint32_t i = 0; i < n->n_kids; i++) {
        tpl_val v;
        FMP_TRY(tpl_eval(rt, f, n->kids[i], &v));
        FMP_TRY(tpl_print(rt, &k, &v, false, 0));
    }
    return tpl_sink_done(rt, &k, out);
}

static fmp_status eval_slice(tpl_rt *rt, tpl_frame *f, const tpl_node *n, tpl_val *out)
{
    const tpl_node *part[3] = {n->b, n->c, n->d};
    tpl_val obj, v[3];
    FMP_TRY(tpl_eval(rt, f, n->a, &obj));
    for (int i = 0; i < 3; i++) {
        if (part[i]) { FMP_TRY(tpl_eval(rt, f, part[i], &v[i])); }
    }
    rt->at = n;
    return tpl_slice(rt, &obj, part[0] ? &v[0] : NULL, part[1] ? &v[1] : NULL, part[2] ? &v[2] : NULL, out);
}

/* The arguments given one by one, and then those of *list and **dict. */
static fmp_status eval_unpacked(tpl_rt *rt, tpl_frame *f, const tpl_node *n, tpl_args *args)
{
    tpl_val list = tpl_undefined(&tpl_empty, 255), dict = list, *pos, *names, *vals;
    const tpl_val *items = NULL;
    uint32_t n_items = 0, n_members = 0;
    if (n->b) { FMP_TRY(tpl_eval(rt, f, n->b, &list)); }
    if (n->c) { FMP_TRY(tpl_eval(rt, f, n->c, &dict)); }
    rt->at = n;
    if (n->c && dict.type != T_DICT) {
        return tpl_fail(rt, FMP_E_DATA, "expected a dict after **, found %s", tpl_type_name(&dict));
    }
    if (n->b) { FMP_TRY(tpl_iterate(rt, &list, &items, &n_items)); }
    if (n->c) { n_members = dict.u.d->n; }
    TPL_TAKE(rt, pos, args->n_pos + n_items + 1);
    TPL_TAKE(rt, names, args->n_kw + n_members + 1);
    TPL_TAKE(rt, vals, args->n_kw + n_members + 1);
    for (uint32_t i = 0; i < args->n_pos + n_items; i++) {
        pos[i] = i < args->n_pos ? args->pos[i] : items[i - args->n_pos];
    }
    for (uint32_t i = 0; i < args->n_kw + n_members; i++) {
        bool own = i < args->n_kw;
        uint32_t k = own ? i : i - args->n_kw;
        if (!own) { FMP_TRY(tpl_force(rt, &dict.u.d->vals[k])); }
        names[i] = own ? args->kw_names[k] : dict.u.d->keys[k];
        vals[i] = own ? args->kw_vals[k] : dict.u.d->vals[k];
        if (names[i].type != T_STR) { return tpl_fail(rt, FMP_E_DATA, "keywords must be strings"); }
    }
    *args = (tpl_args){pos, args->n_pos + n_items, names, vals, args->n_kw + n_members};
    return FMP_OK;
}

static fmp_status eval_args(tpl_rt *rt, tpl_frame *f, const tpl_node *n, tpl_args *args)
{
    tpl_val *v = NULL;
    if (n->n_kids > 0) { TPL_TAKE(rt, v, n->n_kids); }
    for (uint32_t i = 0; i < n->n_kids; i++) {
        FMP_TRY(tpl_eval(rt, f, n->kids[i], &v[i]));
    }
    *args = (tpl_args){v, n->n_pos, n->kw, v ? v + n->n_pos : NULL, n->n_kids - n->n_pos};
    return n->b || n->c ? eval_unpacked(rt, f, n, args) : FMP_OK;
}

static fmp_status eval_call(tpl_rt *rt, tpl_frame *f, const tpl_node *n, tpl_val *out)
{
    tpl_args args;
    tpl_val obj, fn;
    bool forbidden;
    if (n->a->kind == N_ATTR) { /* a method called at once need not be bound */
        FMP_TRY(tpl_eval(rt, f, n->a->a, &obj));
        const tpl_builtin *method = tpl_find_method(&obj, n->a->value.u.s, &forbidden);
        if (method) {
            FMP_TRY(eval_args(rt, f, n, &args));
            rt->at = n;
            return tpl_invoke(rt, "method", method, &obj, &args, out);
        }
        rt->at = n->a;
        FMP_TRY(tpl_get_attr(rt, &obj, n->a->value.u.s, &fn));
    } else {
        FMP_TRY(tpl_eval(rt, f, n->a, &fn));
    }
    FMP_TRY(eval_args(rt, f, n, &args));
    rt->at = n;
    return tpl_call_value(rt, &fn, &args, out);
}

/* A filter or test on a value already evaluated. */
static fmp_status apply(tpl_rt *rt, tpl_frame *f, const tpl_node *n, const tpl_val *v, tpl_val *out)
{
    tpl_args args;
    const char *what = n->kind == N_FILTER ? "filter" : "test";
    FMP_TRY(eval_args(rt, f, n, &args));
    rt->at = n;
    if (!n->fn) {
        return tpl_fail(rt, FMP_E_UNSUPPORTED, "unsupported %s '%.*s'", what, (int)n->value.u.s->len,
                        n->value.u.s->p);
    }
    return tpl_invoke(rt, what, n->fn, v, &args, out);
}

static fmp_status eval_unary(tpl_rt *rt, tpl_frame *f, const tpl_node *n, tpl_val *out)
{
    tpl_val v;
    FMP_TRY(tpl_eval(rt, f, n->a, &v));
    rt->at = n;
    if (n->kind == N_NOT) {
        *out = tpl_bool(!tpl_truth(&v));
        return FMP_OK;
    }
    if (v.type == T_UNDEFINED) { return tpl_fail_undefined(rt, &v); }
    FMP_TRY(big_operand(rt, &v, &v));
    if (v.type == T_FLOAT) {
        *out = tpl_float(n->kind == N_NEG ? -v.u.f : v.u.f);
        return FMP_OK;
    }
    if (!is_int(&v)) {
        return tpl_fail(rt, FMP_E_DATA, "bad operand type for unary operator: %s", tpl_type_name(&v));
    }
    return n->kind == N_NEG ? int_binary(rt, OP_SUB, 0, int_of(&v), out)
                            : int_binary(rt, OP_ADD, 0, int_of(&v), out);
}

static fmp_status eval_two(tpl_rt *rt, tpl_frame *f, const tpl_node *n, tpl_val *out)
{
    tpl_val a, b;
    FMP_TRY(tpl_eval(rt, f, n->a, &a));
    if (n->kind == N_AND || n->kind == N_OR) {
        *out = a;
        return tpl_truth(&a) == (n->kind == N_AND) ? tpl_eval(rt, f, n->b, out) : FMP_OK;
    }
    FMP_TRY(tpl_eval(rt, f, n->b, &b));
    rt->at = n;
    if (n->kind == N_ITEM) { return tpl_get_item(rt, &a, &b, out); }
    return tpl_binary(rt, (tpl_op)n->op, &a, &b, out);
}

static fmp_status eval_cond(tpl_rt *rt, tpl_frame *f, const tpl_node *n, tpl_val *out)
{
    tpl_val test;
    FMP_TRY(tpl_eval(rt, f, n->a, &test));
    if (tpl_truth(&test)) { return tpl_eval(rt, f, n->b, out); }
    if (n->c) { return tpl_eval(rt, f, n->c, out); }
    *out = tpl_undefined(&tpl_empty, 255);
    return FMP_OK;
}

static fmp_status eval_name(tpl_rt *rt, tpl_frame *f, const tpl_node *n, tpl_val *out)
{
    tpl_val *slot = find_var(rt, f, n->name);
    FMP_TRY(tpl_force(rt, slot));
    *out = *slot;
    return FMP_OK;
}

static fmp_status get_member(tpl_rt *rt, const tpl_val *obj, const tpl_str *name, tpl_val *out)
{
    tpl_val *slot = tpl_dict_get_text(obj->u.d, name->p, name->len);
    if (!slot) {
        *out = tpl_undefined(name, T_DICT);
        return FMP_OK;
    }
    FMP_TRY(tpl_force(rt, slot));
    *out = *slot;
    return FMP_OK;
}

static fmp_status eval_node(tpl_rt *rt, tpl_frame *f, const tpl_node *n, tpl_val *out)
{
    tpl_val a;
    switch ((tpl_kind)n->kind) {
    case N_CONST: *out = n->value; return FMP_OK;
    case N_NAME: return eval_name(rt, f, n, out);
    case N_LIST:
    case N_TUPLE: return eval_items(rt, f, n, out);
    case N_DICT: return eval_dict(rt, f, n, out);
    case N_ATTR:
        FMP_TRY(tpl_eval(rt, f, n->a, &a));
        rt->at = n;
        if (n->member && a.type == T_DICT) { return get_member(rt, &a, n->value.u.s, out); }
        return tpl_get_attr(rt, &a, n->value.u.s, out);
    case N_SLICE: return eval_slice(rt, f, n, out);
    case N_CALL: return eval_call(rt, f, n, out);
    case N_FILTER:
    case N_TEST: FMP_TRY(tpl_eval(rt, f, n->a, &a)); return apply(rt, f, n, &a, out);
    case N_CONCAT: return eval_concat(rt, f, n, out);
    case N_COMPARE: return eval_compare(rt, f, n, out);
    case N_NOT:
    case N_NEG:
    case N_POS: return eval_unary(rt, f, n, out);
    case N_COND: return eval_cond(rt, f, n, out);
    case N_ITEM:
    case N_BINARY:
    case N_AND:
    case N_OR: return eval_two(rt, f, n, out);
    default: return tpl_fail(rt, FMP_E_INTERNAL, "a statement where an expression belongs");
    }
}

fmp_status tpl_eval(tpl_rt *rt, tpl_frame *f, const tpl_node *n, tpl_val *out)
{
    rt->at = n;
    FMP_TRY(tpl_step(rt, 1));
    if (++rt->depth > TPL_MAX_RUN_DEPTH) {
        return tpl_fail(rt, FMP_E_RANGE, "recursion deeper than %u", TPL_MAX_RUN_DEPTH);
    }
    fmp_status st = eval_node(rt, f, n, out);
    rt->depth--;
    return st;
}

/* ---- statements ---- */

/* Run `body` with the output going to a string. */
static fmp_status capture(tpl_rt *rt, tpl_frame *f, const tpl_node *body, tpl_val *out)
{
    tpl_sink k = {0}, *outer = rt->sink;
    rt->sink = &k;
    fmp_status st = exec(rt, f, body);
    rt->sink = outer;
    FMP_TRY(st);
    return tpl_sink_done(rt, &k, out);
}

static fmp_status exec_if(tpl_rt *rt, tpl_frame *f, const tpl_node *n)
{
    for (uint32_t i = 0; i + 1 < n->n_kids; i += 2) {
        tpl_val test;
        FMP_TRY(tpl_eval(rt, f, n->kids[i], &test));
        if (tpl_truth(&test)) { return exec(rt, f, n->kids[i + 1]); }
    }
    return n->c ? exec(rt, f, n->c) : FMP_OK;
}

/* The items for which the loop's condition holds. */
static fmp_status filter_items(tpl_rt *rt, tpl_frame *f, const tpl_node *n, const tpl_val **items,
                               uint32_t *count)
{
    tpl_frame *own;
    tpl_val *kept;
    uint32_t n_kept = 0;
    FMP_TRY(new_frame(rt, f, &own));
    TPL_TAKE(rt, kept, *count);
    for (uint32_t i = 0; i < *count; i++) {
        tpl_val test;
        own->n = 0;
        FMP_TRY(assign(rt, own, n->a, &(*items)[i]));
        FMP_TRY(tpl_eval(rt, own, n->c, &test));
        if (tpl_truth(&test)) { kept[n_kept++] = (*items)[i]; }
    }
    *items = kept;
    *count = n_kept;
    return FMP_OK;
}

static fmp_status run_loop(tpl_rt *rt, tpl_frame *f, const tpl_node *n, const tpl_val *iterable)
{
    tpl_frame *own;
    const tpl_val *items;
    uint32_t count, whole_rounds = 0;
    tpl_loop *loop;
    rt->at = n->b;
    FMP_TRY(tpl_iterate(rt, iterable, &items, &count));
    if (n->c) { FMP_TRY(filter_items(rt, f, n, &items, &count)); }
    if (count == 0) { return n->e ? exec(rt, f, n->e) : FMP_OK; }
    FMP_TRY(new_frame(rt, f, &own));
    TPL_TAKE(rt, loop, 1);
    *loop = (tpl_loop){.items = items, .n = count, .depth = ++rt->loop_depth, .node = n, .frame = f};
    tpl_val loop_val = {.type = T_LOOP, .origin = ORIGIN_COMPUTED, .u.loop = loop};
    for (; loop->i < count; loop->i++) {
        FMP_TRY(tpl_step(rt, 1));
        own->n = 0;
        if (rt->tmpl->id_loop != UINT32_MAX) { FMP_TRY(set_var(rt, own, rt->tmpl->id_loop, &loop_val)); }
        FMP_TRY(assign(rt, own, n->a, &items[loop->i]));
        FMP_TRY(exec(rt, own, n->d));
        uint8_t jump = rt->jump;
        rt->jump = JUMP_NONE;
        whole_rounds += jump == JUMP_NONE;
        if (jump == JUMP_BREAK) { break; }
    }
    rt->loop_depth--;
    return n->e && whole_rounds == 0 ? exec(rt, f, n->e)
                                     : FMP_OK; /* as jinja2 has it: all rounds left early */
}

static fmp_status exec_for(tpl_rt *rt, tpl_frame *f, const tpl_node *n)
{
    tpl_val iterable;
    uint32_t depth = rt->loop_depth;
    FMP_TRY(tpl_eval(rt, f, n->b, &iterable));
    rt->loop_depth = 0; /* loop.depth counts recursion, not nesting */
    fmp_status st = run_loop(rt, f, n, &iterable);
    rt->loop_depth = depth;
    return st;
}

fmp_status tpl_call_loop(tpl_rt *rt, const tpl_loop *loop, const tpl_val *items, tpl_val *out)
{
    if (!loop->node->recursive) { return tpl_fail(rt, FMP_E_DATA, "the loop is not marked 'recursive'"); }
    if (++rt->depth > TPL_MAX_RUN_DEPTH) {
        return tpl_fail(rt, FMP_E_RANGE, "recursion deeper than %u", TPL_MAX_RUN_DEPTH);
    }
    tpl_sink k = {0}, *outer = rt->sink;
    rt->sink = &k;
    fmp_status st = run_loop(rt, loop->frame, loop->node, items);
    rt->sink = outer;
    rt->depth--;
    FMP_TRY(st);
    return tpl_sink_done(rt, &k, out);
}

static fmp_status apply_chain(tpl_rt *rt, tpl_frame *f, const tpl_node *chain, tpl_val *v)
{
    if (!chain) { return FMP_OK; }
    FMP_TRY(apply_chain(rt, f, chain->a, v));
    tpl_val in = *v;
    return apply(rt, f, chain, &in, v);
}

static fmp_status exec_capture(tpl_rt *rt, tpl_frame *f, const tpl_node *n)
{
    tpl_frame *own;
    tpl_val text;
    FMP_TRY(new_frame(rt, f, &own));
    FMP_TRY(capture(rt, own, n->d, &text));
    FMP_TRY(apply_chain(rt, f, n->c, &text));
    if (n->kind == S_SET_BLOCK) { return assign(rt, f, n->a, &text); }
    return tpl_print(rt, rt->sink, &text, false, 0);
}

static fmp_status exec_generation(tpl_rt *rt, tpl_frame *f, const tpl_node *n)
{
    tpl_frame *own;
    uint32_t outer = rt->generation;
    FMP_TRY(new_frame(rt, f, &own));
    rt->generation = ORIGIN_GENERATION;
    fmp_status st = exec(rt, own, n->d);
    rt->generation = outer;
    return st;
}

static fmp_status exec_with(tpl_rt *rt, tpl_frame *f, const tpl_node *n)
{
    tpl_frame *own;
    FMP_TRY(new_frame(rt, f, &own));
    for (uint32_t i = 0; i + 1 < n->n_kids; i += 2) {
        tpl_val v;
        FMP_TRY(tpl_eval(rt, f, n->kids[i + 1], &v));
        FMP_TRY(assign(rt, own, n->kids[i], &v));
    }
    return exec(rt, own, n->d);
}

static fmp_status new_macro(tpl_rt *rt, tpl_frame *f, const tpl_node *n, tpl_val *out)
{
    tpl_macro *m;
    TPL_TAKE(rt, m, 1);
    m->node = n;
    m->frame = f;
    *out = (tpl_val){.type = T_MACRO, .origin = ORIGIN_COMPUTED, .u.m = m};
    return FMP_OK;
}

/* {% call m(args) %}body{% endcall %}: m gets the body as the macro `caller`. */
static fmp_status exec_callblock(tpl_rt *rt, tpl_frame *f, const tpl_node *n)
{
    static const tpl_run run = {6, ORIGIN_LITERAL, SRC_NONE};
    static const tpl_str caller = {"caller", 6, 1, &run, {6, ORIGIN_LITERAL, SRC_NONE}};
    tpl_val fn, out, *names, *vals;
    tpl_args args;
    FMP_TRY(tpl_eval(rt, f, n->a->a, &fn));
    FMP_TRY(eval_args(rt, f, n->a, &args));
    TPL_TAKE(rt, names, args.n_kw + 1);
    TPL_TAKE(rt, vals, args.n_kw + 1);
    if (args.n_kw) {
        memcpy(names, args.kw_names, args.n_kw * sizeof *names);
        memcpy(vals, args.kw_vals, args.n_kw * sizeof *vals);
    }
    names[args.n_kw] = tpl_of_str(&caller);
    FMP_TRY(new_macro(rt, f, n, &vals[args.n_kw]));
    args.kw_names = names;
    args.kw_vals = vals;
    args.n_kw++;
    rt->at = n->a;
    FMP_TRY(tpl_call_value(rt, &fn, &args, &out));
    return tpl_print(rt, rt->sink, &out, false, 0);
}

static fmp_status exec_block(tpl_rt *rt, tpl_frame *f, const tpl_node *n)
{
    for (uint32_t i = 0; i < n->n_kids && rt->jump == JUMP_NONE; i++) {
        const tpl_node *s = n->kids[i];
        if (s->kind == S_TEXT) {
            const tpl_str *text = s->value.u.s;
            FMP_TRY(tpl_sink_add(rt, rt->sink, text->p, text->len, ORIGIN_LITERAL, SRC_NONE));
        } else {
            FMP_TRY(exec(rt, f, s));
        }
    }
    return FMP_OK;
}

static fmp_status exec_node(tpl_rt *rt, tpl_frame *f, const tpl_node *n)
{
    tpl_val v;
    switch ((tpl_kind)n->kind) {
    case S_BLOCK: return exec_block(rt, f, n);
    case S_OUTPUT:
        FMP_TRY(tpl_eval(rt, f, n->a, &v));
        rt->at = n->a;
        return tpl_print(rt, rt->sink, &v, false, 0);
    case S_IF: return exec_if(rt, f, n);
    case S_FOR: return exec_for(rt, f, n);
    case S_SET: FMP_TRY(tpl_eval(rt, f, n->b, &v)); return assign(rt, f, n->a, &v);
    case S_SET_BLOCK:
    case S_FILTER_BLOCK: return exec_capture(rt, f, n);
    case S_MACRO: FMP_TRY(new_macro(rt, f, n, &v)); return set_var(rt, f, n->name, &v);
    case S_CALLBLOCK: return exec_callblock(rt, f, n);
    case S_GENERATION: return exec_generation(rt, f, n);
    case S_WITH: return exec_with(rt, f, n);
    case S_BREAK:
    case S_CONTINUE: rt->jump = n->kind == S_BREAK ? JUMP_BREAK : JUMP_CONTINUE; return FMP_OK;
    default: return tpl_fail(rt, FMP_E_INTERNAL, "an expression where a statement belongs");
    }
}

static fmp_status exec(tpl_rt *rt, tpl_frame *f, const tpl_node *n)
{
    rt->at = n;
    FMP_TRY(tpl_step(rt, 1));
    if (++rt->depth > TPL_MAX_RUN_DEPTH) {
        return tpl_fail(rt, FMP_E_RANGE, "recursion deeper than %u", TPL_MAX_RUN_DEPTH);
    }
    fmp_status st = exec_node(rt, f, n);
    rt->depth--;
    return st;
}

/* ---- macros ---- */

/* Keyword arguments: to the parameter of that name, to `caller`, or to `kwargs`. */
static fmp_status bind_keywords(tpl_rt *rt, const tpl_node *n, const tpl_args *args, tpl_frame *f)
{
    const fmp_template *t = rt->tmpl;
    tpl_val rest;
    FMP_TRY(tpl_dict_new(rt, 0, &rest));
    for (uint32_t k = 0; k < args->n_kw; k++) {
        const tpl_str *name = args->kw_names[k].u.s;
        uint32_t i = 0;
        while (i < n->n_params && !tpl_str_eq(t->names[n->params[i]], name)) {
            i++;
        }
        if (i < n->n_params) {
            if (i < args->n_pos) {
                return tpl_fail(rt, FMP_E_DATA, "argument '%.*s' given twice", (int)name->len, name->p);
            }
            FMP_TRY(set_var(rt, f, n->params[i], &args->kw_vals[k]));
        } else if (tpl_str_is(name, "caller") && t->id_caller != UINT32_MAX) {
            FMP_TRY(set_var(rt, f, t->id_caller, &args->kw_vals[k]));
        } else if (t->id_kwargs != UINT32_MAX) {
            FMP_TRY(tpl_dict_put(rt, rest.u.d, &args->kw_names[k], &args->kw_vals[k]));
        } else {
            return tpl_fail(rt, FMP_E_DATA, "macro '%.*s' takes no argument '%.*s'", (int)n->value.u.s->len,
                            n->value.u.s->p, (int)name->len, name->p);
        }
    }
    return t->id_kwargs == UINT32_MAX ? FMP_OK : set_var(rt, f, t->id_kwargs, &rest);
}

static fmp_status bind_positional(tpl_rt *rt, const tpl_node *n, const tpl_args *args, tpl_frame *f)
{
    const fmp_template *t = rt->tmpl;
    uint32_t n_bound = args->n_pos < n->n_params ? args->n_pos : n->n_params;
    for (uint32_t i = 0; i < n_bound; i++) {
        FMP_TRY(set_var(rt, f, n->params[i], &args->pos[i]));
    }
    if (t->id_varargs != UINT32_MAX) {
        tpl_val rest;
        FMP_TRY(tpl_seq_new(rt, Q_TUPLE, args->n_pos - n_bound, &rest));
        for (uint32_t i = n_bound; i < args->n_pos; i++) {
            rest.u.q->items[i - n_bound] = args->pos[i];
        }
        return set_var(rt, f, t->id_varargs, &rest);
    }
    if (args->n_pos > n->n_params) {
        return tpl_fail(rt, FMP_E_DATA, "macro '%.*s' takes not more than %u arguments, found %u",
                        (int)n->value.u.s->len, n->value.u.s->p, n->n_params, args->n_pos);
    }
    return FMP_OK;
}

static bool is_set(const tpl_frame *f, uint32_t name)
{
    for (uint32_t i = 0; i < f->n; i++) {
        if (f->names[i] == name) { return true; }
    }
    return false;
}

fmp_status tpl_call_macro(tpl_rt *rt, const tpl_macro *m, const tpl_args *args, tpl_val *out)
{
    const tpl_node *n = m->node;
    tpl_frame *f;
    FMP_TRY(new_frame(rt, m->frame, &f));
    FMP_TRY(bind_positional(rt, n, args, f));
    FMP_TRY(bind_keywords(rt, n, args, f));
    for (uint32_t i = 0; i < n->n_params; i++) {
        uint32_t n_plain = n->n_params - n->n_defaults;
        tpl_val v = tpl_undefined(rt->tmpl->names[n->params[i]], 255);
        if (is_set(f, n->params[i])) { continue; }
        if (i >= n_plain) { FMP_TRY(tpl_eval(rt, f, n->defaults[i - n_plain], &v)); }
        FMP_TRY(set_var(rt, f, n->params[i], &v));
    }
    uint8_t jump = rt->jump;
    rt->jump = JUMP_NONE;
    FMP_TRY(capture(rt, f, n->d, out));
    rt->jump = jump;
    return FMP_OK;
}

fmp_status tpl_exec_root(tpl_rt *rt)
{
    return exec(rt, NULL, rt->tmpl->root);
}
