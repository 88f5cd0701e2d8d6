/*
 * stage_docs.c: a stage's ports and option table for a person, as text and as Markdown.
 */
#include "cli.h"

static const char *const type_names[] = {"?",    "bool",  "int",  "float", "string", "enum", "size",
                                         "path", "paths", "list", "table", "map",    "any"};
static const char *const kind_names[] = {"?", "source", "map", "sink", "gather", "task"};

static const char *type_name(const fmp_option *o)
{
    size_t t = (size_t)o->type;
    return type_names[t < sizeof type_names / sizeof *type_names ? t : 0];
}

static const char *kind_name(const fmp_stage_info *s)
{
    return kind_names[s->kind >= FMP_SOURCE && s->kind <= FMP_TASK ? s->kind : 0];
}

/* "int, 1 … 1024 tokens" or "error | drop | split" */
static void add_values(fmp_buf *out, const fmp_option *o, const char *bar)
{
    if (o->type == FMP_OPT_ENUM && o->choices) {
        for (const char *c = o->choices; *c; c++) {
            if (*c == '|') {
                fmp_buf_puts(out, bar);
            } else {
                fmp_buf_putc(out, *c);
            }
        }
    } else {
        fmp_buf_puts(out, type_name(o));
    }
    if (o->min != 0 || o->max != 0) { fmp_buf_printf(out, ", %.15g … %.15g", o->min, o->max); }
    if (o->unit) { fmp_buf_printf(out, " %s", o->unit); }
}

static void add_default(fmp_buf *out, const fmp_option *o)
{
    if (o->flags & FMP_OPT_REQUIRED) {
        fmp_buf_puts(out, "required");
    } else if (o->def) {
        fmp_buf_puts(out, *o->def ? o->def : "\"\"");
    } else {
        fmp_buf_puts(out, "none");
    }
}

/* `text` in lines of at most `width` columns, each after the first indented. */
static void add_wrapped(fmp_buf *out, const char *text, size_t indent, size_t width)
{
    size_t column = 0;
    while (*text) {
        size_t n = strcspn(text, " ");
        if (column > 0 && column + 1 + n > width) {
            fmp_buf_printf(out, "\n%*s", (int)indent, "");
            column = 0;
        } else if (column > 0) {
            fmp_buf_putc(out, ' ');
            column++;
        }
        fmp_buf_add(out, text, n);
        column += n;
        text += n + strspn(text + n, " ");
    }
    fmp_buf_putc(out, '\n');
}

static void add_option(fmp_buf *out, const fmp_option *o, int depth)
{
    fmp_buf_printf(out, "%*s%s: ", 2 + 4 * depth, "", o->name);
    add_values(out, o, " | ");
    fmp_buf_puts(out, o->flags & FMP_OPT_REQUIRED ? " (" : " (default ");
    add_default(out, o);
    fmp_buf_puts(out, ")\n");
    if (o->help) {
        fmp_buf_printf(out, "%*s", 6 + 4 * depth, "");
        add_wrapped(out, o->help, (size_t)(6 + 4 * depth), 90);
    }
    for (const fmp_option *row = o->items; row && row->name; row++) {
        add_option(out, row, depth + 1);
    }
}

static void add_ports(fmp_buf *out, const char *title, const fmp_port *ports)
{
    if (!ports->name) { return; }
    fmp_buf_printf(out, "\n%s\n", title);
    for (; ports->name; ports++) {
        fmp_buf_printf(out, "  %s: %s%s%s  %s\n", ports->name, ports->type,
                       ports->flags & FMP_PORT_MANY ? ", one or more" : "",
                       ports->flags & FMP_PORT_OPTIONAL ? ", optional" : "", ports->help ? ports->help : "");
    }
}

void fmp_stage_help(const fmp_stage_info *stage, fmp_buf *out)
{
    fmp_buf_printf(out, "%s (%s): %s\n", stage->name, kind_name(stage), stage->summary);
    add_ports(out, "inputs", stage->inputs);
    add_ports(out, "outputs", stage->outputs);
    if (stage->options->name) { fmp_buf_puts(out, "\noptions\n"); }
    for (const fmp_option *o = stage->options; o->name; o++) {
        add_option(out, o, 0);
    }
}

/* ---- Markdown ---- */

static void add_cell(fmp_buf *out, const char *text)
{
    for (; text && *text; text++) {
        if (*text == '|') { fmp_buf_putc(out, '\\'); }
        fmp_buf_putc(out, *text == '\n' ? ' ' : *text);
    }
}

static void add_row(fmp_buf *out, const char *prefix, const fmp_option *o)
{
    fmp_buf_printf(out, "| `%s%s` | ", prefix, o->name);
    add_values(out, o, " \\| ");
    fmp_buf_puts(out, " | ");
    add_default(out, o);
    fmp_buf_puts(out, " | ");
    add_cell(out, o->help);
    fmp_buf_puts(out, o->flags & FMP_OPT_COSMETIC ? " Does not affect the result. |\n" : " |\n");
    char below[256];
    snprintf(below, sizeof below, "%s%s[].", prefix, o->name);
    for (const fmp_option *row = o->items; row && row->name; row++) {
        add_row(out, below, row);
    }
}

static void add_port_rows(fmp_buf *out, const char *title, const fmp_port *ports)
{
    for (; ports->name; ports++) {
        fmp_buf_printf(out, "* %s `%s`: %s%s%s. ", title, ports->name, ports->type,
                       ports->flags & FMP_PORT_MANY ? ", one or more" : "",
                       ports->flags & FMP_PORT_OPTIONAL ? ", optional" : "");
        fmp_buf_printf(out, "%s\n", ports->help ? ports->help : "");
    }
}

void fmp_stage_markdown(const fmp_stage_info *stage, fmp_buf *out)
{
    fmp_buf_printf(out, "\n## %s\n\n%s (%s, plugin `%s`)\n\n", stage->name, stage->summary, kind_name(stage),
                   stage->plugin ? stage->plugin->name : "");
    add_port_rows(out, "input", stage->inputs);
    add_port_rows(out, "output", stage->outputs);
    if (!stage->options->name) { return; }
    fmp_buf_puts(out, "\n| option | values | default | |\n|---|---|---|---|\n");
    for (const fmp_option *o = stage->options; o->name; o++) {
        add_row(out, "", o);
    }
}
