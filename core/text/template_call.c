/*
 * template_call.c: attributes, items, slices, calls; the methods of dictionaries, lists and loops; the
 * functions a chat template may call.
 *
 * The sandbox is this file: an attribute is a member of the data or a method named in a table below, nothing
 * else. Methods that would change a value are refused, as in jinja2's ImmutableSandboxedEnvironment.
 */
#include <time.h>

#include "template_impl.h"

#define ARG(i) (c->arg[i])

/* ---- binding arguments ---- */

/* Offset of word `i` of a space-separated list and its length; false behind the last. */
static bool word_at(const char *list, uint32_t i, const char **word, size_t *len)
{
    for (; *list; list += *list == ' ') {
        size_t n = strcspn(list, " ");
        if (i-- == 0) {
            *word = list;
            *len = n;
            return true;
        }
        list += n;
    }
    return false;
}

static fmp_status bind_args(tpl_rt *rt, const tpl_builtin *fn, const tpl_args *args, tpl_call *c)
{
    const char *word;
    size_t len;
    if (strcmp(fn->params, "*") == 0) { return FMP_OK; }
    for (uint32_t i = 0; i < args->n_pos; i++) {
        if (i >= TPL_MAX_PARAMS || !word_at(fn->params, i, &word, &len)) {
            return tpl_fail(rt, FMP_E_DATA, "%s: too many arguments (%u)", fn->name, args->n_pos);
        }
        c->arg[i] = &args->pos[i];
    }
    for (uint32_t k = 0; k < args->n_kw; k++) {
        const tpl_str *name = args->kw_names[k].u.s;
        uint32_t i = 0;
        while (word_at(fn->params, i, &word, &len) && (len != name->len || memcmp(word, name->p, len) != 0)) {
            i++;
        }
        if (!word_at(fn->params, i, &word, &len)) {
            return tpl_fail(rt, FMP_E_DATA, "%s: unknown argument '%.*s'", fn->name, (int)name->len, name->p);
        }
        if (c->arg[i]) {
            return tpl_fail(rt, FMP_E_DATA, "%s: argument '%.*s' given twice", fn->name, (int)len, word);
        }
        c->arg[i] = &args->kw_vals[k];
    }
    for (uint32_t i = 0; i < fn->n_required; i++) {
        if (!c->arg[i] && word_at(fn->params, i, &word, &len)) {
            return tpl_fail(rt, FMP_E_DATA, "%s: missing argument '%.*s'", fn->name, (int)len, word);
        }
    }
    return FMP_OK;
}

fmp_status tpl_invoke(tpl_rt *rt, const char *what, const tpl_builtin *fn, const tpl_val *self,
                      const tpl_args *args, tpl_val *out)
{
    tpl_call c = {.self = self ? *self : tpl_none(), .args = args, .fn = fn};
    if (!fn->fn) { return tpl_fail(rt, FMP_E_UNSUPPORTED, "unsupported %s '%s'", what, fn->name); }
    FMP_TRY(tpl_step(rt, 1));
    FMP_TRY(bind_args(rt, fn, args, &c));
    return fn->fn(rt, &c, out);
}

fmp_status tpl_str_arg(tpl_rt *rt, const tpl_call *c, const tpl_val *v, const tpl_str **out)
{
    *out = &tpl_empty;
    if (v->type == T_STR) {
        *out = v->u.s;
        return FMP_OK;
    }
    if (v->type == T_UNDEFINED) { return tpl_fail_undefined(rt, v); }
    return tpl_fail(rt, FMP_E_DATA, "%s: expected a str argument, found %s", c->fn->name, tpl_type_name(v));
}

fmp_status tpl_int_arg(tpl_rt *rt, const tpl_call *c, const tpl_val *v, int64_t fallback, int64_t *out)
{
    *out = fallback;
    return v ? tpl_to_int(rt, v, c->fn->name, out) : FMP_OK;
}

/* ---- methods of dictionaries, lists, loops ---- */

/* items, keys, values */
static fmp_status dict_view(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_dict *d = c->self.u.d;
    char what = c->fn->name[0];
    FMP_TRY(tpl_step(rt, d->n));
    FMP_TRY(tpl_seq_new(rt, what == 'i' ? Q_ITEMS : what == 'k' ? Q_KEYS : Q_VALUES, d->n, out));
    out->origin = c->self.origin;
    for (uint32_t i = 0; i < d->n; i++) {
        tpl_val *slot = &out->u.q->items[i];
        if (what != 'k') { FMP_TRY(tpl_force(rt, &d->vals[i])); }
        if (what != 'i') {
            *slot = what == 'k' ? d->keys[i] : d->vals[i];
            continue;
        }
        FMP_TRY(tpl_seq_new(rt, Q_TUPLE, 2, slot));
        slot->origin = c->self.origin;
        slot->u.q->items[0] = d->keys[i];
        slot->u.q->items[1] = d->vals[i];
    }
    return FMP_OK;
}

static fmp_status dict_get(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_val *slot;
    FMP_TRY(tpl_dict_get(rt, c->self.u.d, ARG(0), &slot));
    if (!slot) {
        *out = ARG(1) ? *ARG(1) : tpl_none();
        return FMP_OK;
    }
    FMP_TRY(tpl_force(rt, slot));
    *out = *slot;
    return FMP_OK;
}

/* copy: values never change, so the value is its own copy */
static fmp_status same_value(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    (void)rt;
    *out = c->self;
    return FMP_OK;
}

static const tpl_builtin dict_methods[] = {
    {"items", "", 0, dict_view},  {"keys", "", 0, dict_view},
    {"values", "", 0, dict_view}, {"get", "key default", 1, dict_get},
    {"copy", "", 0, same_value},  {"fromkeys", "*", 0, NULL},
    {NULL, NULL, 0, NULL},
};
static const char dict_changers[] = " clear pop popitem setdefault update ";

/* index, count */
static fmp_status list_find(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_val *items;
    uint32_t n;
    int64_t hits = 0;
    bool count = c->fn->name[0] == 'c';
    FMP_TRY(tpl_iterate(rt, &c->self, &items, &n));
    for (uint32_t i = 0; i < n; i++) {
        bool same;
        FMP_TRY(tpl_equal(rt, &items[i], ARG(0), &same));
        hits += same;
        if (same && !count) {
            *out = tpl_int(i);
            return FMP_OK;
        }
    }
    if (!count) { return tpl_fail(rt, FMP_E_DATA, "index: the value is not in the list"); }
    *out = tpl_int(hits);
    return FMP_OK;
}

static const tpl_builtin list_methods[] = {
    {"index", "value", 1, list_find},
    {"count", "value", 1, list_find},
    {"copy", "", 0, same_value},
    {NULL, NULL, 0, NULL},
};
static const char list_changers[] = " append clear extend insert pop remove reverse sort ";

static fmp_status loop_cycle(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    if (c->args->n_pos == 0) { return tpl_fail(rt, FMP_E_DATA, "loop.cycle: no items for cycling given"); }
    *out = c->args->pos[c->self.u.loop->i % c->args->n_pos];
    return FMP_OK;
}

static fmp_status loop_changed(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_loop *loop = c->self.u.loop;
    tpl_val now;
    bool same = false;
    FMP_TRY(tpl_seq_new(rt, Q_TUPLE, c->args->n_pos, &now));
    if (c->args->n_pos) { memcpy(now.u.q->items, c->args->pos, c->args->n_pos * sizeof(tpl_val)); }
    if (loop->has_changed) { FMP_TRY(tpl_equal(rt, &now, &loop->last_changed, &same)); }
    loop->has_changed = true;
    loop->last_changed = now;
    *out = tpl_bool(!same);
    return FMP_OK;
}

static const tpl_builtin loop_methods[] = {
    {"cycle", "*", 0, loop_cycle},
    {"changed", "*", 0, loop_changed},
    {NULL, NULL, 0, NULL},
};

static fmp_status cycler_step(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_seq *q = c->self.u.q;
    (void)rt;
    if (c->fn->name[0] == 'r') {
        q->start = 0;
        *out = tpl_none();
        return FMP_OK;
    }
    *out = q->items[q->start];
    q->start = (q->start + 1) % q->n;
    return FMP_OK;
}

static const tpl_builtin cycler_methods[] = {
    {"next", "", 0, cycler_step},
    {"reset", "", 0, cycler_step},
    {NULL, NULL, 0, NULL},
};

static bool in_words(const char *words, const tpl_str *name)
{
    char padded[40];
    if (name->len > 32) { return false; }
    snprintf(padded, sizeof padded, " %.*s ", (int)name->len, name->p);
    return strstr(words, padded) != NULL;
}

static const tpl_builtin *find_in(const tpl_builtin *table, const tpl_str *name)
{
    for (; table->name; table++) {
        if (tpl_str_is(name, table->name)) { return table; }
    }
    return NULL;
}

const tpl_builtin *tpl_find_method(const tpl_val *self, const tpl_str *name, bool *forbidden)
{
    *forbidden = false;
    switch ((tpl_type)self->type) {
    case T_STR: return find_in(tpl_str_methods, name);
    case T_DICT: *forbidden = in_words(dict_changers, name); return find_in(dict_methods, name);
    case T_SEQ:
        if (self->u.q->kind > Q_TUPLE) { return NULL; }
        *forbidden = self->u.q->kind == Q_LIST && in_words(list_changers, name);
        return self->u.q->kind == Q_TUPLE && tpl_str_is(name, "copy") ? NULL : find_in(list_methods, name);
    case T_LOOP: return find_in(loop_methods, name);
    case T_CYCLER: return find_in(cycler_methods, name);
    default: return NULL;
    }
}

bool tpl_is_dict_method(const tpl_str *name)
{
    return (name->len > 1 && name->p[0] == '_') || in_words(dict_changers, name) ||
           find_in(dict_methods, name);
}

/* ---- attributes and items ---- */

static bool loop_attr(const tpl_loop *l, const tpl_str *name, tpl_val *out)
{
    static const tpl_str prev = {"previtem", 8, 0, NULL, {0, 0, 0}},
                         next = {"nextitem", 8, 0, NULL, {0, 0, 0}};
    if (tpl_str_is(name, "index")) {
        *out = tpl_int((int64_t)l->i + 1);
    } else if (tpl_str_is(name, "index0")) {
        *out = tpl_int(l->i);
    } else if (tpl_str_is(name, "revindex")) {
        *out = tpl_int((int64_t)l->n - l->i);
    } else if (tpl_str_is(name, "revindex0")) {
        *out = tpl_int((int64_t)l->n - l->i - 1);
    } else if (tpl_str_is(name, "first")) {
        *out = tpl_bool(l->i == 0);
    } else if (tpl_str_is(name, "last")) {
        *out = tpl_bool(l->i + 1 == l->n);
    } else if (tpl_str_is(name, "length")) {
        *out = tpl_int(l->n);
    } else if (tpl_str_is(name, "depth")) {
        *out = tpl_int(l->depth);
    } else if (tpl_str_is(name, "depth0")) {
        *out = tpl_int((int64_t)l->depth - 1);
    } else if (tpl_str_is(name, "previtem")) {
        *out = l->i > 0 ? l->items[l->i - 1] : tpl_undefined(&prev, 255);
    } else if (tpl_str_is(name, "nextitem")) {
        *out = l->i + 1 < l->n ? l->items[l->i + 1] : tpl_undefined(&next, 255);
    } else {
        return false;
    }
    return true;
}

static fmp_status bind_method(tpl_rt *rt, const tpl_val *self, const tpl_builtin *fn, tpl_val *out)
{
    tpl_method *m;
    TPL_TAKE(rt, m, 1);
    m->self = *self;
    m->fn = fn;
    *out = (tpl_val){.type = T_METHOD, .origin = ORIGIN_COMPUTED, .u.bound = m};
    return FMP_OK;
}

/* name, arguments, ... of a macro; *found false: it has no such attribute. */
static fmp_status macro_attr(tpl_rt *rt, const tpl_macro *m, const tpl_str *name, bool *found, tpl_val *out)
{
    const fmp_template *t = rt->tmpl;
    *found = true;
    if (tpl_str_is(name, "name")) {
        *out = m->node->kind == S_MACRO ? m->node->value : tpl_none();
    } else if (tpl_str_is(name, "arguments")) {
        FMP_TRY(tpl_seq_new(rt, Q_TUPLE, m->node->n_params, out));
        for (uint32_t i = 0; i < m->node->n_params; i++) {
            out->u.q->items[i] = tpl_of_str(t->names[m->node->params[i]]);
        }
    } else {
        *found = false;
    }
    return FMP_OK;
}

/* The attributes Python's getattr finds; *found false: there is none. */
static fmp_status own_attr(tpl_rt *rt, const tpl_val *obj, const tpl_str *name, bool *found, tpl_val *out)
{
    bool forbidden;
    *found = true;
    if (name->len >= 2 && name->p[0] == '_' && name->p[1] == '_') {
        return tpl_fail(rt, FMP_E_DATA, "access to attribute '%.*s' is not allowed in a template",
                        (int)(name->len > 60 ? 60 : name->len), name->p);
    }
    if (obj->type == T_MACRO) { return macro_attr(rt, obj->u.m, name, found, out); }
    if (obj->type == T_LOOP && loop_attr(obj->u.loop, name, out)) { return FMP_OK; }
    if (obj->type == T_CYCLER && tpl_str_is(name, "current")) {
        *out = obj->u.q->items[obj->u.q->start];
        return FMP_OK;
    }
    if (obj->type == T_SEQ && obj->u.q->is_group &&
        (tpl_str_is(name, "grouper") || tpl_str_is(name, "list"))) {
        *out = obj->u.q->items[name->p[0] == 'l'];
        return FMP_OK;
    }
    const tpl_builtin *fn = tpl_find_method(obj, name, &forbidden);
    if (forbidden) {
        return tpl_fail(rt, FMP_E_DATA, "'%s.%.*s' is not allowed: a template may not change its values",
                        tpl_type_name(obj), (int)name->len, name->p);
    }
    if (fn) { return bind_method(rt, obj, fn, out); }
    if (obj->type == T_NAMESPACE) {
        tpl_val *slot = tpl_dict_get_text(obj->u.d, name->p, name->len);
        if (slot) {
            *out = *slot;
            return FMP_OK;
        }
    }
    *found = false;
    return FMP_OK;
}

fmp_status tpl_get_attr(tpl_rt *rt, const tpl_val *obj, const tpl_str *name, tpl_val *out)
{
    bool found;
    if (obj->type == T_UNDEFINED) { return tpl_fail_undefined(rt, obj); }
    FMP_TRY(own_attr(rt, obj, name, &found, out));
    if (found) { return FMP_OK; }
    tpl_val *slot = obj->type == T_DICT ? tpl_dict_get_text(obj->u.d, name->p, name->len) : NULL;
    if (!slot) {
        *out = tpl_undefined(name, obj->type);
        return FMP_OK;
    }
    FMP_TRY(tpl_force(rt, slot));
    *out = *slot;
    return FMP_OK;
}

/* obj[i] of a list or string; *found false when out of range */
static fmp_status index_item(tpl_rt *rt, const tpl_val *obj, int64_t i, bool *found, tpl_val *out)
{
    *found = false;
    if (obj->type == T_STR) {
        const tpl_str *s = obj->u.s;
        if (i < 0) { i += (int64_t)tpl_str_count(s); }
        if (i < 0 || i >= (int64_t)s->len) { return FMP_OK; }
        size_t at = tpl_str_byte_of(s, (size_t)i);
        if (at >= s->len) { return FMP_OK; }
        *found = true;
        return tpl_str_slice(rt, obj, at, at + tpl_utf8_len(s->p + at, s->len - at), out);
    }
    const tpl_seq *q = obj->u.q;
    if (i < 0) { i += q->n; }
    if (i < 0 || i >= (int64_t)q->n) { return FMP_OK; }
    *found = true;
    FMP_TRY(tpl_force(rt, &q->items[i]));
    *out = q->items[i];
    return FMP_OK;
}

fmp_status tpl_get_item(tpl_rt *rt, const tpl_val *obj, const tpl_val *key, tpl_val *out)
{
    static const tpl_str item = {"item", 4, 0, NULL, {0, 0, 0}};
    bool found = false;
    if (obj->type == T_UNDEFINED) { return tpl_fail_undefined(rt, obj); }
    if (obj->type == T_DICT && key->type != T_DICT && !(key->type == T_SEQ && key->u.q->kind == Q_LIST)) {
        tpl_val *slot;
        FMP_TRY(tpl_dict_get(rt, obj->u.d, key, &slot));
        if (slot) {
            FMP_TRY(tpl_force(rt, slot));
            *out = *slot;
            return FMP_OK;
        }
    }
    bool indexable = obj->type == T_STR ||
                     (obj->type == T_SEQ && (obj->u.q->kind <= Q_TUPLE || obj->u.q->kind == Q_RANGE));
    if (indexable && (key->type == T_INT || key->type == T_BOOL)) {
        FMP_TRY(index_item(rt, obj, key->type == T_INT ? key->u.i : key->u.b, &found, out));
    } else if (key->type == T_STR) {
        FMP_TRY(own_attr(rt, obj, key->u.s, &found, out));
    }
    if (!found) { *out = tpl_undefined(key->type == T_STR ? key->u.s : &item, obj->type); }
    return FMP_OK;
}

/* Python's slice.indices(): where a slice of `n` elements starts and stops. */
static fmp_status slice_bounds(tpl_rt *rt, const tpl_val *v, int64_t n, int64_t step, bool is_start,
                               int64_t *out)
{
    int64_t low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n;
    if (!v || v->type == T_NONE) {
        *out = is_start == (step < 0) ? high : low;
        return FMP_OK;
    }
    FMP_TRY(tpl_to_int(rt, v, "slice", out));
    if (*out < 0) { *out += n; }
    if (*out < low) { *out = low; }
    if (*out > high) { *out = high; }
    return FMP_OK;
}

static fmp_status slice_str(tpl_rt *rt, const tpl_val *s, int64_t start, int64_t stop, int64_t step,
                            tpl_val *out)
{
    if (step == 1) {
        size_t begin = tpl_str_byte_of(s->u.s, (size_t)start);
        return tpl_str_slice(rt, s, begin, stop > start ? tpl_str_byte_of(s->u.s, (size_t)stop) : begin, out);
    }
    const tpl_val *chars;
    uint32_t n;
    tpl_sink k = {0};
    FMP_TRY(tpl_iterate(rt, s, &chars, &n));
    for (int64_t i = start; step > 0 ? i < stop : i > stop; i += step) {
        FMP_TRY(tpl_sink_str(rt, &k, chars[i].u.s));
    }
    return tpl_sink_done(rt, &k, out);
}

fmp_status tpl_slice(tpl_rt *rt, const tpl_val *obj, const tpl_val *start_v, const tpl_val *stop_v,
                     const tpl_val *step_v, tpl_val *out)
{
    int64_t start, stop, step = 1, count = 0;
    if (obj->type == T_UNDEFINED) { return tpl_fail_undefined(rt, obj); }
    bool is_seq = obj->type == T_SEQ && (obj->u.q->kind <= Q_TUPLE || obj->u.q->kind == Q_RANGE);
    if (obj->type != T_STR && !is_seq) {
        return tpl_fail(rt, FMP_E_DATA, "a value of type %s cannot be sliced", tpl_type_name(obj));
    }
    if (step_v && step_v->type != T_NONE) { FMP_TRY(tpl_to_int(rt, step_v, "slice", &step)); }
    if (step == 0) { return tpl_fail(rt, FMP_E_DATA, "slice step cannot be zero"); }
    if (step > INT32_MAX || step < -INT32_MAX) { step = step < 0 ? -INT32_MAX : INT32_MAX; }
    int64_t n = obj->type == T_STR ? (int64_t)tpl_str_count(obj->u.s) : obj->u.q->n;
    FMP_TRY(slice_bounds(rt, start_v, n, step, true, &start));
    FMP_TRY(slice_bounds(rt, stop_v, n, step, false, &stop));
    if (obj->type == T_STR) { return slice_str(rt, obj, start, stop, step, out); }
    if (step > 0 && stop > start) { count = (stop - start + step - 1) / step; }
    if (step < 0 && start > stop) { count = (start - stop - step - 1) / -step; }
    FMP_TRY(tpl_step(rt, (uint64_t)count));
    FMP_TRY(tpl_seq_new(rt, obj->u.q->kind == Q_TUPLE ? Q_TUPLE : Q_LIST, (size_t)count, out));
    out->origin = obj->origin;
    for (int64_t i = 0; i < count; i++) {
        tpl_val *slot = &obj->u.q->items[start + i * step];
        FMP_TRY(tpl_force(rt, slot));
        out->u.q->items[i] = *slot;
    }
    return FMP_OK;
}

/* ---- functions ---- */

static fmp_status fn_range(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    int64_t x[3] = {0, 0, 1};
    for (int i = 0; i < 3; i++) {
        FMP_TRY(tpl_int_arg(rt, c, ARG(i), x[i], &x[i]));
    }
    if (!ARG(1)) {
        x[1] = x[0];
        x[0] = 0;
    }
    if (x[2] == 0) { return tpl_fail(rt, FMP_E_DATA, "range: the step must not be zero"); }
    double count_f = ((double)x[1] - (double)x[0]) / (double)x[2];
    if (count_f > 100000.0) { return tpl_fail(rt, FMP_E_RANGE, "range: more than 100000 numbers"); }
    int64_t count = 0;
    for (int64_t v = x[0]; x[2] > 0 ? v < x[1] : v > x[1]; count++) {
        if (__builtin_add_overflow(v, x[2], &v)) { break; }
    }
    FMP_TRY(tpl_step(rt, (uint64_t)count));
    FMP_TRY(tpl_seq_new(rt, Q_RANGE, (size_t)count, out));
    for (int64_t i = 0; i < count; i++) {
        out->u.q->items[i] = tpl_int(x[0] + i * x[2]);
    }
    out->u.q->start = x[0];
    out->u.q->stop = x[1];
    out->u.q->step = x[2];
    return FMP_OK;
}

/* dict(...), namespace(...): from at most one mapping and keyword arguments */
static fmp_status fn_dict(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_args *a = c->args;
    FMP_TRY(tpl_dict_new(rt, 4, out));
    if (c->fn->name[0] == 'n') { out->type = T_NAMESPACE; }
    if (a->n_pos > 1) {
        return tpl_fail(rt, FMP_E_DATA, "%s: more than one positional argument", c->fn->name);
    }
    if (a->n_pos == 1 && a->pos[0].type == T_DICT) {
        tpl_dict *d = a->pos[0].u.d;
        for (uint32_t i = 0; i < d->n; i++) {
            FMP_TRY(tpl_force(rt, &d->vals[i]));
            FMP_TRY(tpl_dict_put(rt, out->u.d, &d->keys[i], &d->vals[i]));
        }
    } else if (a->n_pos == 1) {
        const tpl_val *items;
        uint32_t n;
        FMP_TRY(tpl_iterate(rt, &a->pos[0], &items, &n));
        for (uint32_t i = 0; i < n; i++) {
            if (items[i].type != T_SEQ || items[i].u.q->n != 2) {
                return tpl_fail(rt, FMP_E_DATA, "%s: expected pairs, found %s", c->fn->name,
                                tpl_type_name(&items[i]));
            }
            const tpl_val *pair;
            uint32_t two;
            FMP_TRY(tpl_iterate(rt, &items[i], &pair, &two));
            FMP_TRY(tpl_dict_put(rt, out->u.d, &pair[0], &pair[1]));
        }
    }
    for (uint32_t i = 0; i < a->n_kw; i++) {
        FMP_TRY(tpl_dict_put(rt, out->u.d, &a->kw_names[i], &a->kw_vals[i]));
    }
    return FMP_OK;
}

static fmp_status fn_raise(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    tpl_val text;
    (void)out;
    FMP_TRY(tpl_to_str(rt, ARG(0), &text));
    size_t len = strnlen(text.u.s->p, text.u.s->len < 500 ? text.u.s->len : 500);
    if (len == 0) { return tpl_fail(rt, FMP_E_DATA, "the template raised an exception without a message"); }
    return tpl_fail(rt, FMP_E_DATA, "%.*s", (int)len, text.u.s->p);
}

static fmp_status fn_strftime(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    const tpl_str *fmt;
    char format[128], text[512];
    struct tm tm;
    time_t now = (time_t)rt->now_unix;
    FMP_TRY(tpl_str_arg(rt, c, ARG(0), &fmt));
    if (!rt->has_now) {
        (void)tpl_fail(rt, FMP_E_DATA, "the template reads the clock (strftime_now), and no time was given");
        (void)fmp_err_hint(rt->err, "give a fixed time, so that the same input renders to the same bytes");
        return FMP_E_DATA;
    }
    if (fmt->len >= sizeof format || memchr(fmt->p, 0, fmt->len)) {
        return tpl_fail(rt, FMP_E_RANGE, "strftime_now: format too long");
    }
    memcpy(format, fmt->p, fmt->len);
    format[fmt->len] = 0;
    if (!gmtime_r(&now, &tm)) { return tpl_fail(rt, FMP_E_RANGE, "strftime_now: a time out of range"); }
    size_t n = strftime(text, sizeof text, format, &tm);
    tpl_sink k = {0};
    FMP_TRY(tpl_sink_add(rt, &k, text, n, ORIGIN_COMPUTED, SRC_NONE));
    return tpl_sink_done(rt, &k, out);
}

static fmp_status fn_cycler(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    if (c->args->n_pos == 0) { return tpl_fail(rt, FMP_E_DATA, "cycler: at least one item is needed"); }
    FMP_TRY(tpl_seq_new(rt, Q_LIST, c->args->n_pos, out));
    memcpy(out->u.q->items, c->args->pos, c->args->n_pos * sizeof(tpl_val));
    out->type = T_CYCLER;
    return FMP_OK;
}

static fmp_status fn_joiner(tpl_rt *rt, const tpl_call *c, tpl_val *out)
{
    static const tpl_run comma_run = {2, ORIGIN_COMPUTED, SRC_NONE};
    static const tpl_str comma = {", ", 2, 1, &comma_run, {2, ORIGIN_COMPUTED, SRC_NONE}};
    FMP_TRY(tpl_seq_new(rt, Q_LIST, 1, out));
    out->u.q->items[0] = ARG(0) ? *ARG(0) : tpl_of_str(&comma);
    out->type = T_JOINER;
    return FMP_OK;
}

static const tpl_builtin functions[] = {
    {"range", "start stop step", 1, fn_range},
    {"dict", "*", 0, fn_dict},
    {"namespace", "*", 0, fn_dict},
    {"raise_exception", "message", 1, fn_raise},
    {"strftime_now", "format", 1, fn_strftime},
    {"cycler", "*", 0, fn_cycler},
    {"joiner", "sep", 0, fn_joiner},
    {"lipsum", "*", 0, NULL},
    {NULL, NULL, 0, NULL},
};

const tpl_builtin *tpl_find_function(const tpl_str *name)
{
    return find_in(functions, name);
}

static fmp_status call_joiner(tpl_seq *q, tpl_val *out)
{
    *out = q->spent ? q->items[0] : tpl_of_str(&tpl_empty);
    q->spent = true;
    return FMP_OK;
}

fmp_status tpl_call_value(tpl_rt *rt, const tpl_val *fn, const tpl_args *args, tpl_val *out)
{
    switch ((tpl_type)fn->type) {
    case T_FUNCTION: return tpl_invoke(rt, "function", fn->u.fn, NULL, args, out);
    case T_METHOD: return tpl_invoke(rt, "method", fn->u.bound->fn, &fn->u.bound->self, args, out);
    case T_MACRO: return tpl_call_macro(rt, fn->u.m, args, out);
    case T_JOINER: return call_joiner(fn->u.q, out);
    case T_LOOP:
        if (args->n_pos != 1) { return tpl_fail(rt, FMP_E_DATA, "loop(...) takes one argument"); }
        return tpl_call_loop(rt, fn->u.loop, &args->pos[0], out);
    case T_UNDEFINED: return tpl_fail_undefined(rt, fn);
    default: return tpl_fail(rt, FMP_E_DATA, "'%s' object is not callable", tpl_type_name(fn));
    }
}
