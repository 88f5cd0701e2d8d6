/*
 * show_table.c: the table that a stage's fact "table" holds, for a terminal.
 *
 *   {"title", "columns": [name…], "rows": [[cell…]…], "note", "sides": ["base", "adapter"]}
 *
 * A cell "A → B" is a pair. With `sides` the column's name spans the pair and the sides' names stand below
 * it, so that the arrow is written once and figures of one side stand under each other.
 */
#include "show.h"

#define ARROW " → "

enum { MAX_COLUMNS = 16, CELL_BYTES = 128, GAP = 3 };

typedef struct column {
    size_t left, right; /* widest of each half; right 0: no pairs */
    size_t width;
} column;

typedef struct grid {
    column columns[MAX_COLUMNS];
    size_t n;
    const char *sides[2]; /* NULL: cells are printed as they are */
} grid;

static void cell_text(const cJSON *cell, char out[CELL_BYTES])
{
    if (cJSON_IsString(cell) || cJSON_IsRaw(cell)) {
        snprintf(out, CELL_BYTES, "%s", cell->valuestring);
    } else if (cJSON_IsNumber(cell)) {
        snprintf(out, CELL_BYTES, "%.6g", cell->valuedouble);
    } else {
        snprintf(out, CELL_BYTES, "%s", cJSON_IsBool(cell) ? (cJSON_IsTrue(cell) ? "yes" : "no") : "");
    }
}

/* The half behind the arrow, cut off `text`; NULL: it is no pair. */
static char *split_pair(const grid *g, char *text)
{
    char *arrow = g->sides[0] ? strstr(text, ARROW) : NULL;
    if (!arrow) { return NULL; }
    *arrow = '\0';
    return arrow + strlen(ARROW);
}

static void widen(size_t *width, const char *text)
{
    size_t n = fmp_text_columns(text);
    if (n > *width) { *width = n; }
}

static void measure_row(grid *g, const cJSON *row)
{
    char text[CELL_BYTES];
    const cJSON *cell;
    size_t c = 0;
    cJSON_ArrayForEach(cell, row)
    {
        if (c == g->n) { break; }
        column *col = &g->columns[c++];
        cell_text(cell, text);
        const char *second = split_pair(g, text);
        widen(second ? &col->left : &col->width, text);
        if (second) { widen(&col->right, second); }
    }
}

/* After all rows: a pair's halves and the names above them. */
static void settle(grid *g)
{
    for (size_t c = 0; c < g->n; c++) {
        column *col = &g->columns[c];
        if (col->right == 0) { continue; }
        widen(&col->left, g->sides[0]);
        widen(&col->right, g->sides[1]);
        size_t pair = col->left + fmp_text_columns(ARROW) + col->right;
        if (pair > col->width) { col->width = pair; }
        col->left += col->width - pair; /* a long name: its figures stay at the right */
    }
}

static void add_spaces(fmp_buf *out, size_t n)
{
    while (n-- > 0) {
        fmp_buf_putc(out, ' ');
    }
}

static void add_right(fmp_buf *out, const char *text, size_t width)
{
    size_t n = fmp_text_columns(text);
    if (n < width) { add_spaces(out, width - n); }
    fmp_buf_safe(out, text);
}

/* The first column names things and begins at the left; the others are figures. */
static void add_cell(fmp_buf *out, const char *text, size_t width, size_t c)
{
    if (c > 0) {
        add_right(out, text, width);
        return;
    }
    size_t n = fmp_text_columns(text);
    fmp_buf_safe(out, text);
    if (n < width) { add_spaces(out, width - n); }
}

static void add_row(const grid *g, const cJSON *row, fmp_buf *out)
{
    char text[CELL_BYTES];
    const cJSON *cell;
    size_t c = 0;
    fmp_buf_putc(out, ' ');
    cJSON_ArrayForEach(cell, row)
    {
        if (c == g->n) { break; }
        const column *col = &g->columns[c];
        cell_text(cell, text);
        const char *second = split_pair(g, text);
        add_spaces(out, c > 0 ? GAP : 0);
        if (second) {
            add_right(out, text, col->left);
            add_right(out, second, col->right + fmp_text_columns(ARROW));
        } else {
            add_cell(out, text, col->width, c);
        }
        c++;
    }
    fmp_buf_putc(out, '\n');
}

/* A column's name in the middle above its pair, or nothing where the name stands in the second line. */
static void add_spanning(const grid *g, const cJSON *names, fmp_buf *out)
{
    char text[CELL_BYTES];
    size_t behind = 1; /* spaces owed: none are left at the end of the line */
    for (size_t c = 0; c < g->n; c++) {
        const column *col = &g->columns[c];
        cell_text(cJSON_GetArrayItem(names, (int)c), text);
        behind += c > 0 ? GAP : 0;
        if (col->right == 0) {
            behind += col->width;
            continue;
        }
        size_t n = fmp_text_columns(text), before = (col->width - n) / 2;
        add_spaces(out, behind + before);
        fmp_buf_safe(out, text);
        behind = col->width - n - before;
    }
    fmp_buf_putc(out, '\n');
}

static void add_sides(const grid *g, const cJSON *names, fmp_buf *out)
{
    char text[CELL_BYTES];
    fmp_buf_putc(out, ' ');
    for (size_t c = 0; c < g->n; c++) {
        const column *col = &g->columns[c];
        add_spaces(out, c > 0 ? GAP : 0);
        if (col->right == 0) {
            cell_text(cJSON_GetArrayItem(names, (int)c), text);
            add_cell(out, text, col->width, c);
            continue;
        }
        add_right(out, g->sides[0], col->left);
        fmp_buf_puts(out, ARROW);
        add_right(out, g->sides[1], col->right);
    }
    fmp_buf_putc(out, '\n');
}

void fmp_show_table(const cJSON *table, fmp_buf *out)
{
    const cJSON *names = fmp_json_get(table, "columns"), *rows = fmp_json_get(table, "rows"), *row;
    const cJSON *sides = fmp_json_get(table, "sides");
    const char *title = fmp_json_str(table, "title", NULL), *note = fmp_json_str(table, "note", NULL);
    if (!cJSON_IsArray(names) || !cJSON_IsArray(rows)) { return; }
    grid g = {.n = (size_t)cJSON_GetArraySize(names)};
    if (g.n > MAX_COLUMNS) { g.n = MAX_COLUMNS; }
    if (cJSON_GetArraySize(sides) == 2 && cJSON_IsString(sides->child) &&
        cJSON_IsString(sides->child->next)) {
        g.sides[0] = sides->child->valuestring;
        g.sides[1] = sides->child->next->valuestring;
    }
    measure_row(&g, names);
    cJSON_ArrayForEach(row, rows)
    {
        measure_row(&g, row);
    }
    settle(&g);
    fmp_buf_putc(out, '\n');
    if (title) {
        fmp_buf_putc(out, ' ');
        fmp_buf_safe(out, title);
        fmp_buf_putc(out, '\n');
    }
    if (g.sides[0]) {
        add_spanning(&g, names, out);
        add_sides(&g, names, out);
    } else {
        add_row(&g, names, out);
    }
    cJSON_ArrayForEach(row, rows)
    {
        add_row(&g, row, out);
    }
    if (note) {
        fmp_buf_putc(out, ' ');
        fmp_buf_safe(out, note);
        fmp_buf_putc(out, '\n');
    }
}
