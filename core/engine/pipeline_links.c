/*
 * pipeline_links.c: which output goes into which input.
 *
 * A stage takes only from stages above it, so a cycle cannot be written. Ports are typed: whatever does not
 * fit is an error here, before anything runs.
 */
#include "pipeline_private.h"

typedef struct link_list {
    fmp_link *items;
    size_t n, cap;
} link_list;

typedef struct connector {
    fmp_loader *l;
    size_t index; /* of the consuming stage */
    fmp_stage_node *stage;
    link_list links;
} connector;

static void add_link(connector *c, const fmp_port *in, int stage, int out, const fmp_mark *mark)
{
    link_list *list = &c->links;
    if (list->n == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 8;
        fmp_link *items = fmp_arena_take(c->l->arena, cap * sizeof *items);
        if (list->n > 0) { memcpy(items, list->items, list->n * sizeof *items); }
        list->items = items;
        list->cap = cap;
    }
    list->items[list->n++] = (fmp_link){in, stage, out, *mark};
}

static bool is_linked(const connector *c, const fmp_port *in)
{
    for (size_t i = 0; i < c->links.n; i++) {
        if (c->links.items[i].in == in) { return true; }
    }
    return false;
}

static bool fits(const fmp_port *in, const fmp_port *out)
{
    return strcmp(in->type, FMP_PORT_ANY) == 0 || strcmp(in->type, out->type) == 0;
}

/* "records (train, eval), metrics (report)" */
static const char *list_outputs(fmp_arena *arena, const fmp_stage_info *info)
{
    fmp_buf text = {0};
    for (const fmp_port *o = info->outputs; o->name; o++) {
        bool same = o > info->outputs && strcmp(o->type, o[-1].type) == 0;
        bool ends = !o[1].name || strcmp(o[1].type, o->type) != 0;
        if (same) {
            fmp_buf_printf(&text, ", %s", o->name);
        } else {
            fmp_buf_printf(&text, "%s%s (%s", text.len ? ", " : "", o->type, o->name);
        }
        if (ends) { fmp_buf_putc(&text, ')'); }
    }
    const char *kept = fmp_arena_strdup(arena, text.len ? text.data : "nothing");
    fmp_buf_free(&text);
    return kept;
}

/* The nearest stage above that gives what `in` takes, as "id" or "id.port"; NULL: none. */
static const char *giver_of(const connector *c, const fmp_port *in)
{
    for (size_t i = c->index; i-- > 0;) {
        const fmp_stage_node *s = &c->l->p->stages[i];
        if (!s->info || !s->id[0]) { continue; }
        for (const fmp_port *o = s->info->outputs; o->name; o++) {
            if (!fits(in, o)) { continue; }
            return o == s->info->outputs ? s->id : fmp_arena_printf(c->l->arena, "%s.%s", s->id, o->name);
        }
    }
    return NULL;
}

static void hint_giver(connector *c, const fmp_port *in)
{
    const char *giver = giver_of(c, in);
    if (giver && in == c->stage->info->inputs) {
        fmp_diags_hint(c->l->diags, "'%s' gives %s: from: %s", giver, in->type, giver);
    } else if (giver) {
        fmp_diags_hint(c->l->diags, "'%s' gives %s: from: {%s: %s}", giver, in->type, in->name, giver);
    } else if (strcmp(in->type, FMP_PORT_MODEL) == 0) {
        fmp_diags_hint(c->l->diags, "name the base model's folder at the top of the file: base: FOLDER");
    } else {
        fmp_diags_hint(c->l->diags, "no stage above it gives %s", in->type);
    }
}

static void report_type(connector *c, const fmp_port *in, const fmp_stage_node *giver, const fmp_mark *mark)
{
    fmp_diags_error(c->l->diags, mark, "'%s' needs %s, '%s' gives %s", c->stage->id, in->type, giver->id,
                    list_outputs(c->l->arena, giver->info));
    hint_giver(c, in);
}

/* ---- names in from: ---- */

/* Index of the stage `id`, or -1 after a diagnostic. */
static int find_stage(connector *c, const char *id, const fmp_mark *mark)
{
    fmp_pipeline *p = c->l->p;
    const char **ids = fmp_arena_take(c->l->arena, (p->n_stages + 1) * sizeof *ids);
    size_t n = 0;
    for (size_t i = 0; i < p->n_stages; i++) {
        if (!p->stages[i].id[0]) { continue; }
        if (i < c->index) { ids[n++] = p->stages[i].id; }
        if (strcmp(p->stages[i].id, id) != 0) { continue; }
        if (i < c->index) { return (int)i; }
        fmp_diags_error(c->l->diags, mark,
                        i == c->index ? "'%s' cannot take its own output"
                                      : "expected a stage above this one, found '%s', which comes later",
                        id);
        if (i > c->index) { fmp_diags_hint(c->l->diags, "move '%s' above '%s'", id, c->stage->id); }
        return -1;
    }
    ids[n] = NULL;
    const char *near = fmp_nearest_name(id, ids);
    fmp_diags_error(c->l->diags, mark, "unknown stage '%.60s'", id);
    if (near) { fmp_diags_hint(c->l->diags, "did you mean '%s'?", near); }
    return -1;
}

static int find_output(connector *c, const fmp_stage_node *giver, const char *port, const fmp_mark *mark)
{
    const char *names[64];
    int n = 0;
    for (const fmp_port *o = giver->info->outputs; o->name && n < 63; o++) {
        if (strcmp(o->name, port) == 0) { return n; }
        names[n++] = o->name;
    }
    names[n] = NULL;
    fmp_diags_error(c->l->diags, mark, "'%s' has no output '%.60s'; it gives %s", giver->id, port,
                    list_outputs(c->l->arena, giver->info));
    const char *near = fmp_nearest_name(port, names);
    if (near) { fmp_diags_hint(c->l->diags, "did you mean '%s.%s'?", giver->id, near); }
    return -1;
}

/* Connect one "stage", "stage.port" or "base" to `in`. */
static void connect_name(connector *c, const fmp_port *in, const fmp_yaml *node)
{
    char found[96];
    if (node->failed) { return; }
    if (node->kind != FMP_YAML_STRING || !node->text[0]) {
        fmp_diags_error(c->l->diags, &node->mark, "expected STAGE or STAGE.PORT, found %s",
                        fmp_yaml_describe(node, found));
        return;
    }
    size_t len = strcspn(node->text, ".");
    const char *id = fmp_arena_strndup(c->l->arena, node->text, len);
    if (strcmp(node->text, "base") == 0) {
        if (!c->l->p->base_path) {
            fmp_diags_error(c->l->diags, &node->mark, "expected a base model, found none in this pipeline");
            fmp_diags_hint(c->l->diags, "name its folder at the top of the file: base: FOLDER");
        } else if (strcmp(in->type, FMP_PORT_MODEL) != 0 && strcmp(in->type, FMP_PORT_ANY) != 0) {
            fmp_diags_error(c->l->diags, &node->mark, "'%s' needs %s, base is a model", c->stage->id,
                            in->type);
        } else {
            add_link(c, in, -1, 0, &node->mark);
        }
        return;
    }
    int stage = find_stage(c, id, &node->mark);
    if (stage < 0 || !c->l->p->stages[stage].info) { return; }
    const fmp_stage_node *giver = &c->l->p->stages[stage];
    int out = node->text[len] == '.' ? find_output(c, giver, node->text + len + 1, &node->mark) : 0;
    if (out < 0) { return; }
    if (!giver->info->outputs[out].name || !fits(in, &giver->info->outputs[out])) {
        report_type(c, in, giver, &node->mark);
        return;
    }
    add_link(c, in, stage, out, &node->mark);
}

static void connect_port(connector *c, const fmp_port *in, const fmp_yaml *node)
{
    if (node->kind != FMP_YAML_LIST) {
        connect_name(c, in, node);
        return;
    }
    if (node->n != 1 && !(in->flags & FMP_PORT_MANY)) {
        fmp_diags_error(c->l->diags, &node->mark, "input '%s' of '%s' takes one connection, found %zu",
                        in->name, c->stage->id, node->n);
        return;
    }
    if (node->n == 0) {
        fmp_diags_error(c->l->diags, &node->mark, "expected at least one stage, found an empty list");
    }
    for (size_t i = 0; i < node->n; i++) {
        connect_name(c, in, node->items[i]);
    }
}

static void connect_map(connector *c, const fmp_yaml *map)
{
    const fmp_port *inputs = c->stage->info->inputs;
    const char *names[64];
    size_t n = 0;
    for (; inputs[n].name && n < 63; n++) {
        names[n] = inputs[n].name;
    }
    names[n] = NULL;
    for (size_t i = 0; i < map->n; i++) {
        size_t k = 0;
        while (k < n && strcmp(names[k], map->keys[i]->text) != 0) {
            k++;
        }
        if (k < n) { continue; }
        fmp_diags_error(c->l->diags, &map->keys[i]->mark, "'%s' (%s) has no input '%.60s'", c->stage->id,
                        c->stage->info->name, map->keys[i]->text);
        const char *near = fmp_nearest_name(map->keys[i]->text, names);
        if (near) { fmp_diags_hint(c->l->diags, "did you mean '%s'?", near); }
    }
    for (size_t k = 0; k < n; k++) {
        const fmp_yaml *node = fmp_yaml_get(map, inputs[k].name);
        if (node) { connect_port(c, &inputs[k], node); }
    }
}

/* ---- what nobody wrote down ---- */

/* The first output of the stage before goes into the first input. */
static void connect_chain(connector *c)
{
    const fmp_port *in = c->stage->info->inputs;
    if (!in->name) { return; }
    bool optional = (in->flags & FMP_PORT_OPTIONAL) != 0;
    bool from_base = strcmp(in->type, FMP_PORT_MODEL) == 0 && c->l->p->base_path;
    const fmp_stage_node *before = c->index > 0 ? &c->l->p->stages[c->index - 1] : NULL;
    if (before && !before->info) { /* reported already; as if it fitted */
        add_link(c, in, (int)c->index - 1, 0, &c->stage->mark);
        return;
    }
    const fmp_port *out = before ? before->info->outputs : NULL;
    if (out && out->name && fits(in, out)) {
        add_link(c, in, (int)c->index - 1, 0, &c->stage->mark);
    } else if (before && !optional && !from_base) {
        report_type(c, in, before, &c->stage->mark);
        add_link(c, in, (int)c->index - 1, 0, &c->stage->mark);
    }
}

static void connect_base(connector *c)
{
    if (!c->l->p->base_path) { return; }
    for (const fmp_port *in = c->stage->info->inputs; in->name; in++) {
        if (strcmp(in->type, FMP_PORT_MODEL) == 0 && !is_linked(c, in)) {
            add_link(c, in, -1, 0, &c->l->p->base_mark);
        }
    }
}

static void check_required(connector *c, const fmp_yaml *from, bool had_errors)
{
    for (const fmp_port *in = c->stage->info->inputs; in->name && !had_errors; in++) {
        if ((in->flags & FMP_PORT_OPTIONAL) || is_linked(c, in)) { continue; }
        fmp_diags_error(c->l->diags, from ? &from->mark : &c->stage->mark,
                        "'%s' (%s) needs %s at its input '%s', which is not connected", c->stage->id,
                        c->stage->info->name, in->type, in->name);
        hint_giver(c, in);
    }
}

static int port_order(const fmp_link *a, const fmp_link *b)
{
    return a->in < b->in ? -1 : a->in > b->in;
}

/* By port, and as written within a port. */
static void sort_links(link_list *list)
{
    for (size_t i = 1; i < list->n; i++) {
        fmp_link item = list->items[i];
        size_t k = i;
        for (; k > 0 && port_order(&item, &list->items[k - 1]) < 0; k--) {
            list->items[k] = list->items[k - 1];
        }
        list->items[k] = item;
    }
}

static void connect_stage(fmp_loader *l, size_t index)
{
    fmp_stage_node *s = &l->p->stages[index];
    const fmp_yaml *from = l->from[index];
    if (!s->info) { return; }
    connector c = {.l = l, .index = index, .stage = s};
    size_t errors_before = l->diags->n_errors;
    bool absent = !from || from->failed || from->kind == FMP_YAML_NULL;
    if (!absent && !s->info->inputs[0].name) {
        fmp_diags_error(l->diags, &from->mark, "'%s' (%s) is a source: it has no input to connect", s->id,
                        s->info->name);
    } else if (absent) {
        connect_chain(&c);
    } else if (from->kind == FMP_YAML_MAP) {
        connect_map(&c, from);
    } else {
        connect_port(&c, s->info->inputs, from);
    }
    connect_base(&c);
    check_required(&c, absent ? NULL : from, l->diags->n_errors > errors_before);
    sort_links(&c.links);
    s->links = c.links.items;
    s->n_links = c.links.n;
}

void fmp_pipeline_connect_(fmp_loader *l)
{
    for (size_t i = 0; i < l->p->n_stages; i++) {
        connect_stage(l, i);
    }
}
