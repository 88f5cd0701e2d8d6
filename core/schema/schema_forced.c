/*
 * Which bytes of an answer were no choice. The text is walked along the schema; each part of a schema (its
 * own keywords, a $ref, each allOf member, the group of anyOf branches) gives a map of the bytes it forces
 * and where, if anywhere, the text leaves it. Parts that hold together force what any of them forces;
 * alternatives force what all of them force that are still possible at that byte. Each step may only lose
 * forced bytes, never invent one. Read walk_node last.
 */
#include "schema_private.h"

#include <stdlib.h>

enum { MAX_LITERALS = 4096 };

/* Where a walk got to. */
typedef struct outcome {
    size_t end; /* just behind the value; where `dead`, the byte that could not have been written */
    bool dead;
    bool open; /* the value could have gone on here (a number): what follows is not forced */
} outcome;

typedef struct walker {
    const fmp_schema *s;
    const char *text;
    size_t len, steps;
    unsigned depth, flags;
    uint8_t *forced;  /* (len) of the part being walked */
    fmp_arena *arena; /* scratch */
    fmp_status status;
    fmp_err *err;
} walker;

/* Texts that could stand at one place, each whole. */
typedef struct literals {
    const char **item;
    size_t n;
} literals;

static outcome walk_node(walker *w, const schema_node *n, size_t at, bool choice);

static outcome died(size_t at)
{
    return (outcome){at, true, false};
}

static outcome give_up(walker *w, const char *what)
{
    if (w->status == FMP_OK) {
        w->status = fmp_fail(w->err, FMP_E_RANGE, "the text is %s to walk along this schema", what);
    }
    return died(0);
}

static bool step(walker *w, size_t n)
{
    w->steps += n;
    if (w->steps > MAX_STEPS) { (void)give_up(w, "too costly (more than 4 million steps)"); }
    return w->status == FMP_OK;
}

/* ---------------------------------------------------------------------------------------------- literals */

/*
 * The text from `at` against candidate literals: byte by byte, those that agree stay. Forced where all that
 * stay have the same byte and none ends there. choice: the first byte is not forced whatever they say.
 * *which: the one that matched.
 */
static outcome walk_literals(walker *w, literals all, size_t at, bool choice, size_t *which)
{
    size_t n = all.n, pos = 0, ended = SIZE_MAX;
    size_t *alive = fmp_arena_take(w->arena, (n + 1) * sizeof *alive);
    if (fmp_arena_ok(w->arena, w->err) != FMP_OK) {
        w->status = FMP_E_NOMEM;
        return died(at);
    }
    for (size_t i = 0; i < n; i++) {
        alive[i] = i;
    }
    for (;; pos++) {
        bool same = true;
        size_t kept = 0;
        ended = SIZE_MAX;
        if (!step(w, n + 1)) { return died(at); }
        for (size_t i = 0; i < n; i++) {
            const char *t = all.item[alive[i]];
            if (!t[pos]) { ended = ended == SIZE_MAX ? alive[i] : ended; }
            same = same && t[pos] == all.item[alive[0]][pos];
        }
        char here = at + pos < w->len ? w->text[at + pos] : '\0';
        for (size_t i = 0; i < n; i++) {
            if (here && all.item[alive[i]][pos] == here) { alive[kept++] = alive[i]; }
        }
        if (kept == 0) {
            *which = ended;
            return ended == SIZE_MAX ? died(at + pos) : (outcome){at + pos, false, n > 1 && !same};
        }
        w->forced[at + pos] = same && !(choice && pos == 0);
        n = kept;
    }
}

static literals value_literals(walker *w, const cJSON *const *values, size_t n)
{
    literals out = {fmp_arena_take(w->arena, (n + 1) * sizeof(char *)), 0};
    fmp_buf text = {0};
    for (size_t i = 0; i < n && fmp_arena_ok(w->arena, NULL) == FMP_OK; i++) {
        text.len = 0;
        fmp_json_print(values[i], FMP_JSON_SPACED, &text);
        bool again = false;
        for (size_t k = 0; k < out.n; k++) {
            again = again || strcmp(out.item[k], text.data) == 0;
        }
        if (!text.failed && !again) { out.item[out.n++] = fmp_arena_strndup(w->arena, text.data, text.len); }
    }
    if (text.failed) { w->status = fmp_fail(w->err, FMP_E_NOMEM, "out of memory"); }
    fmp_buf_free(&text);
    return out;
}

/* enum and const, where there are any: those values that the type allows. */
static outcome walk_values(walker *w, const schema_node *n, size_t at, bool choice)
{
    size_t room = 0, count = 0, which;
    for (const cJSON *m = n->enum_values ? n->enum_values->child : NULL; m; m = m->next) {
        room++;
    }
    const cJSON **values = fmp_arena_take(w->arena, (room + 1) * sizeof *values);
    if (room > MAX_LITERALS) { return give_up(w, "too costly (more than 4096 enum values)"); }
    if (fmp_arena_ok(w->arena, w->err) != FMP_OK) {
        w->status = FMP_E_NOMEM;
        return died(at);
    }
    if (n->const_value) {
        values[count++] = n->const_value;
    } else {
        for (const cJSON *m = n->enum_values->child; m; m = m->next) {
            if (schema_type_of(m) & n->types) { values[count++] = m; }
        }
    }
    return walk_literals(w, value_literals(w, values, count), at, choice, &which);
}

/* ---------------------------------------------------------------------------------------------- scalars */

static outcome walk_string(walker *w, size_t at, bool choice)
{
    if (at >= w->len || w->text[at] != '"') { return died(at); }
    w->forced[at] = !choice;
    for (size_t i = at + 1; i < w->len; i++) {
        if (w->text[i] == '\\') {
            i++;
        } else if (w->text[i] == '"') {
            return (outcome){i + 1, false, false};
        }
    }
    return died(w->len);
}

static outcome walk_number(walker *w, size_t at)
{
    size_t i = at;
    while (i < w->len && w->text[i] && strchr("+-.0123456789eE", w->text[i])) {
        i++;
    }
    return i == at ? died(at) : (outcome){i, false, true};
}

static outcome walk_word(walker *w, const char *word, size_t at, bool choice)
{
    size_t which;
    literals one = {&word, 1};
    return walk_literals(w, one, at, choice, &which);
}

/* Where the JSON value that begins at `at` ends, judged by its outline only. */
static size_t extent(const walker *w, size_t at)
{
    size_t i = at, depth = 0;
    if (at < w->len && w->text[at] && !strchr("{[\"", w->text[at])) {
        return at + strcspn(w->text + at, ",]} \t\r\n");
    }
    while (i < w->len) {
        char c = w->text[i++];
        if (c == '"') {
            while (i < w->len && w->text[i] != '"') {
                i += w->text[i] == '\\' ? 2 : 1;
            }
            i++;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            depth -= depth > 0;
        }
        if (depth == 0) { break; }
    }
    return i < w->len ? i : w->len;
}

/* ---------------------------------------------------------------------------------------------- arrays */

static outcome walk_array(walker *w, const schema_node *n, size_t at, bool choice)
{
    outcome item = {0};
    w->forced[at] = !choice;
    size_t pos = at + 1;
    for (uint64_t i = 0; step(w, 1) && pos < w->len; i++) {
        const schema_node *next = i < n->prefix.n ? n->prefix.item[i] : n->items;
        bool can_close = i >= n->min_items, can_go_on = i < n->max_items && !(next && next->never),
             first = i == 0;
        char c = w->text[pos];
        if (c == ']') {
            w->forced[pos] = !can_go_on && !item.open;
            return can_close ? (outcome){pos + 1, false, false} : died(pos);
        }
        if (!can_go_on) { return died(pos); }
        if (!first) {
            if (c != ',') { return died(pos); }
            w->forced[pos++] = !can_close && !item.open;
            if (pos >= w->len || w->text[pos] != ' ') { return died(pos); }
            w->forced[pos++] = true;
        }
        item = walk_node(w, next, pos, first && can_close);
        if (item.dead) { return item; }
        pos = item.end;
    }
    return died(w->len);
}

/* ---------------------------------------------------------------------------------------------- objects */

/* ', "name": ' for each declared property; what may stand first in the object begins two bytes later. */
static const char **key_texts(walker *w, const schema_node *n)
{
    const char **out = fmp_arena_take(w->arena, (n->n_props + 1) * sizeof *out);
    fmp_buf text = {0};
    cJSON name = {0};
    name.type = cJSON_String;
    for (size_t i = 0; i < n->n_props && fmp_arena_ok(w->arena, NULL) == FMP_OK; i++) {
        text.len = 0;
        name.valuestring = (char *)(uintptr_t)n->props[i].name;
        fmp_buf_puts(&text, ", ");
        fmp_json_print(&name, FMP_JSON_SPACED, &text);
        fmp_buf_puts(&text, ": ");
        if (!text.failed) { out[i] = fmp_arena_strndup(w->arena, text.data, text.len); }
    }
    if (text.failed || fmp_arena_ok(w->arena, NULL) != FMP_OK) {
        w->status = fmp_fail(w->err, FMP_E_NOMEM, "out of memory");
    }
    fmp_buf_free(&text);
    return out;
}

/*
 * Declared keys only, in order: one of those up to the next required one, or the end. *prop: n_props where it
 * is the end.
 */
static outcome walk_declared_key(walker *w, const schema_node *n, const char **keys, size_t next, bool first,
                                 bool choice, size_t pos, size_t *prop)
{
    size_t i = next, which = 0;
    bool required = false;
    literals all = {fmp_arena_take(w->arena, (n->n_props + 2) * sizeof(char *)), 0};
    if (fmp_arena_ok(w->arena, w->err) != FMP_OK) {
        w->status = FMP_E_NOMEM;
        return died(pos);
    }
    for (; i < n->n_props && !required; i++) {
        all.item[all.n++] = keys[i] + (first ? 2 : 0);
        required = n->props[i].required;
    }
    if (!required) { all.item[all.n++] = "}"; }
    outcome out = walk_literals(w, all, pos, choice, &which);
    *prop = next + which >= i ? n->n_props : next + which;
    return out;
}

/* Any key may come: only the punctuation around it is forced. */
static outcome walk_free_key(walker *w, const schema_node *n, bool can_close, bool first, bool choice,
                             size_t pos, bool *closed, cJSON **key)
{
    (void)n;
    *closed = pos < w->len && w->text[pos] == '}';
    if (*closed) { return can_close ? (outcome){pos + 1, false, false} : died(pos); }
    if (!first) {
        if (pos >= w->len || w->text[pos] != ',') { return died(pos); }
        w->forced[pos++] = !can_close && !choice;
        if (pos >= w->len || w->text[pos] != ' ') { return died(pos); }
        w->forced[pos++] = true;
    }
    outcome out = walk_string(w, pos, first && can_close);
    if (out.dead) { return out; }
    if (fmp_json_parse(w->text + pos, out.end - pos, NULL, key, NULL) != FMP_OK) { return died(pos); }
    return walk_word(w, ": ", out.end, false);
}

static const schema_node *node_for_key(walker *w, const schema_node *n, const char *key)
{
    const schema_prop *prop = schema_find_prop(n, key);
    if (prop) { return prop->schema; }
    for (size_t i = 0; i < n->n_patterns; i++) {
        if (schema_match(w->s, &n->patterns[i], key) > 0) { return n->patterns[i].schema; }
    }
    return n->additional;
}

static outcome walk_open_object(walker *w, const schema_node *n, size_t pos)
{
    outcome value = {0};
    size_t missing = 0;
    for (size_t i = 0; i < n->n_props; i++) {
        missing += n->props[i].required;
    }
    for (bool first = true; step(w, 1); first = false) {
        bool closed;
        cJSON *key = NULL;
        outcome out = walk_free_key(w, n, missing == 0, first, value.open, pos, &closed, &key);
        if (out.dead || closed) {
            cJSON_Delete(key);
            return out;
        }
        const schema_prop *prop = schema_find_prop(n, key->valuestring);
        missing -= prop && prop->required && missing > 0;
        const schema_node *node = node_for_key(w, n, key->valuestring);
        cJSON_Delete(key);
        value = walk_node(w, node, out.end, false);
        if (value.dead) { return value; }
        pos = value.end;
    }
    return died(pos);
}

static outcome walk_closed_object(walker *w, const schema_node *n, size_t pos)
{
    outcome value = {0};
    const char **keys = key_texts(w, n);
    size_t next = 0, prop;
    for (bool first = true; step(w, 1); first = false) {
        outcome out = walk_declared_key(w, n, keys, next, first, value.open, pos, &prop);
        if (out.dead || prop == n->n_props) { return out; }
        next = prop + 1;
        value = walk_node(w, n->props[prop].schema, out.end, false);
        if (value.dead) { return value; }
        pos = value.end;
    }
    return died(pos);
}

/* --------------------------------------------------------------------------------------------- one schema */

/* How many different first bytes the types allow (2: several). */
static int first_bytes(unsigned types)
{
    int n = types & (TYPE_BOOLEAN | TYPE_NUMBER | TYPE_INTEGER) ? 2 : 0;
    for (unsigned bit = TYPE_NULL; bit <= TYPE_OBJECT; bit <<= 1) {
        n += (types & bit) != 0;
    }
    return n;
}

static outcome walk_typed(walker *w, const schema_node *n, size_t at, bool choice)
{
    char c = at < w->len ? w->text[at] : '\0';
    bool any = choice || first_bytes(n->types) > 1;
    unsigned allowed = n->types;
    switch (c) {
    case '{':
        if (!(allowed & TYPE_OBJECT)) { return died(at); }
        w->forced[at] = !any;
        return n->n_patterns == 0 && (!n->open || w->flags & FMP_FORCED_CLOSED) &&
                       (n->n_props > 0 || !n->open)
                   ? walk_closed_object(w, n, at + 1)
                   : walk_open_object(w, n, at + 1);
    case '[': return allowed & TYPE_ARRAY ? walk_array(w, n, at, any) : died(at);
    case '"': return allowed & TYPE_STRING ? walk_string(w, at, any) : died(at);
    case 't': return allowed & TYPE_BOOLEAN ? walk_word(w, "true", at, any) : died(at);
    case 'f': return allowed & TYPE_BOOLEAN ? walk_word(w, "false", at, any) : died(at);
    case 'n': return allowed & TYPE_NULL ? walk_word(w, "null", at, any) : died(at);
    default: return allowed & (TYPE_NUMBER | TYPE_INTEGER) ? walk_number(w, at) : died(at);
    }
}

/* The keywords that stand in `n` itself. */
static outcome walk_own(walker *w, const schema_node *n, size_t at, bool choice)
{
    return n->enum_values || n->const_value ? walk_values(w, n, at, choice) : walk_typed(w, n, at, choice);
}

/* Copies the walked bytes [at, end) out and clears them for the next part. */
static uint8_t *take_part(walker *w, size_t at, size_t end)
{
    uint8_t *part = fmp_arena_take(w->arena, end - at + 1);
    if (fmp_arena_ok(w->arena, w->err) != FMP_OK) {
        w->status = FMP_E_NOMEM;
        return NULL;
    }
    memcpy(part, w->forced + at, end - at);
    memset(w->forced + at, 0, end - at);
    return part;
}

/*
 * Alternatives: a byte is forced if every branch that the text has not left before it forces it. A branch
 * that is left at that byte wanted another one; one left right behind the value wanted more.
 */
static outcome walk_any(walker *w, const schema_list *list, size_t at, size_t end, bool choice)
{
    outcome all = {at, true, false};
    uint8_t *sum = fmp_arena_take_zero(w->arena, end - at + 1, 1);
    uint8_t *seen = fmp_arena_take_zero(w->arena, end - at + 1, 1);
    if (fmp_arena_ok(w->arena, w->err) != FMP_OK) {
        w->status = FMP_E_NOMEM;
        return died(at);
    }
    memset(sum, 1, end - at);
    for (size_t i = 0; i < list->n && step(w, end - at); i++) {
        outcome one = walk_node(w, list->item[i], at, choice);
        uint8_t *part = take_part(w, at, end);
        if (!part) { return died(at); }
        size_t stop = one.dead && one.end < end ? one.end + 1 : end;
        for (size_t p = at; p < stop; p++) {
            seen[p - at] = 1;
            sum[p - at] = sum[p - at] && part[p - at] && !(one.dead && p == one.end);
        }
        all.open = all.open || one.open || (one.dead && one.end == end);
        all.dead = all.dead && one.dead;
        all.end = one.end > all.end ? one.end : all.end;
    }
    for (size_t p = at; p < end; p++) {
        w->forced[p] = sum[p - at] && seen[p - at];
    }
    return all;
}

/* Parts that hold together: what any of them forces is forced; the text must follow all of them. */
static void join(walker *w, outcome one, size_t at, size_t end, uint8_t *sum, outcome *all)
{
    for (size_t p = at; p < end; p++) {
        sum[p - at] = sum[p - at] || w->forced[p];
        w->forced[p] = 0;
    }
    if (one.dead && (!all->dead || one.end < all->end)) { all->end = one.end; }
    all->dead = all->dead || one.dead;
    all->open = all->open && one.open;
}

static bool says_nothing(const schema_node *n)
{
    return n->types == TYPE_ANY && !n->enum_values && !n->const_value && n->n_props == 0 && !n->items &&
           n->prefix.n == 0 && n->open && !n->additional && n->n_patterns == 0 && n->min_items == 0 &&
           n->max_items == UINT64_MAX;
}

static outcome walk_parts(walker *w, const schema_node *n, size_t at, size_t end, bool choice)
{
    bool more = n->ref || n->all_of.n > 0 || n->any_of.n > 0 || n->one_of.n > 0;
    if (!more) { return walk_own(w, n, at, choice); }
    outcome all = {end, false, true};
    uint8_t *sum = fmp_arena_take_zero(w->arena, end - at + 1, 1);
    if (fmp_arena_ok(w->arena, w->err) != FMP_OK) {
        w->status = FMP_E_NOMEM;
        return died(at);
    }
    if (!says_nothing(n)) { join(w, walk_own(w, n, at, choice), at, end, sum, &all); }
    if (n->ref) { join(w, walk_node(w, n->ref, at, choice), at, end, sum, &all); }
    for (size_t i = 0; i < n->all_of.n; i++) {
        join(w, walk_node(w, n->all_of.item[i], at, choice), at, end, sum, &all);
    }
    if (n->any_of.n > 0) { join(w, walk_any(w, &n->any_of, at, end, choice), at, end, sum, &all); }
    if (n->one_of.n > 0) { join(w, walk_any(w, &n->one_of, at, end, choice), at, end, sum, &all); }
    memcpy(w->forced + at, sum, end - at);
    return all;
}

/*
 * The value at `at` under `n` (NULL: anything). choice: something else than this value could have come here.
 */
static outcome walk_node(walker *w, const schema_node *n, size_t at, bool choice)
{
    static const schema_node anything = {.types = TYPE_ANY, .open = true, .max_items = UINT64_MAX};
    if (!n || (n->source && cJSON_IsTrue(n->source))) { n = &anything; }
    if (n->never || w->status != FMP_OK || at >= w->len) { return died(at); }
    if (w->depth == MAX_VALIDATE_DEPTH) { return give_up(w, "too deep (512 schemas within each other)"); }
    size_t end = extent(w, at);
    if (!step(w, (end - at) / 16 + 1)) { return died(at); }
    w->depth++;
    outcome out = walk_parts(w, n, at, end, choice);
    w->depth--;
    if (!out.dead && out.end != end) { return died(out.end); }
    return out;
}

/* ---------------------------------------------------------------------------------------------- result */

static fmp_status to_ranges(const uint8_t *forced, size_t len, fmp_arena *arena, fmp_byte_range **ranges,
                            size_t *n_ranges, fmp_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        n += forced[i] && (i == 0 || !forced[i - 1]);
    }
    *ranges = fmp_arena_take(arena, (n + 1) * sizeof **ranges);
    FMP_TRY(fmp_arena_ok(arena, err));
    n = 0;
    for (size_t i = 0; i < len; i++) {
        if (!forced[i]) { continue; }
        if (i == 0 || !forced[i - 1]) { (*ranges)[n++].begin = i; }
        (*ranges)[n - 1].end = i + 1;
    }
    *n_ranges = n;
    return FMP_OK;
}

static fmp_status walk_text(walker *w, const schema_node *root)
{
    outcome out = walk_node(w, root, 0, false);
    if (w->status != FMP_OK) { return w->status; }
    if (!out.dead && out.end == w->len) { return FMP_OK; }
    fmp_fail(
        w->err, FMP_E_DATA,
        "byte %zu: expected text that a decoder constrained by this schema could write, found other text",
        out.end);
    return w->err ? fmp_err_at(w->err, NULL, 0, 0, out.end) : FMP_E_DATA;
}

fmp_status fmp_schema_forced(const fmp_schema *schema, const char *text, size_t len, unsigned flags,
                             fmp_arena *arena, fmp_byte_range **ranges, size_t *n_ranges, fmp_err *err)
{
    *ranges = NULL;
    *n_ranges = 0;
    if (len >= 16u << 20) {
        return fmp_fail(err, FMP_E_RANGE, "expected at most 16 MiB of text, found %zu bytes", len);
    }
    walker w = {.s = schema, .len = len, .flags = flags, .err = err};
    w.arena = fmp_arena_new(512u << 20);
    char *copy = fmp_arena_strndup(w.arena, text, len); /* ends in NUL: looking one byte ahead is safe */
    w.text = copy;
    w.forced = fmp_arena_take_zero(w.arena, len + 1, 1);
    fmp_status status = fmp_arena_ok(w.arena, err);
    if (status == FMP_OK) { status = walk_text(&w, schema->root); }
    if (status == FMP_OK) { status = to_ranges(w.forced, len, arena, ranges, n_ranges, err); }
    fmp_arena_free(w.arena);
    return status;
}
