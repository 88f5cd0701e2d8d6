/*
 * Charts of the report as inline SVG. The drawing area stretches with the page (preserveAspectRatio="none",
 * strokes that do not scale); the axis labels are text beside it, so they keep their size from a phone to a
 * wide screen.
 */
#include "report.h"

#include <math.h>
#include <stdlib.h>

enum { WIDTH = 1000, HEIGHT = 300, MAX_TICKS = 12 };

typedef struct axis {
    double low, high, step;
} axis;

/* Round steps (1, 2 or 5 times a power of ten), about `wanted` of them over [low, high]. */
static double round_step(double span, double wanted)
{
    double raw = span / wanted, power = pow(10, floor(log10(raw))), part = raw / power;
    return power * (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10);
}

/* low and high become ticks when `snap`. A range too wide or too narrow for doubles gets one step. */
static axis make_axis(double low, double high, double wanted, bool snap)
{
    axis a = {low, high, high - low};
    if (!(high - low > fabs(high) * 1e-9) || !isfinite(high - low)) {
        a.low = low - 0.5;
        a.high = a.low + 1;
        a.step = 1;
        return a;
    }
    a.step = round_step(high - low, wanted);
    if (snap) {
        a.low = floor(low / a.step) * a.step;
        a.high = ceil(high / a.step) * a.step;
    }
    return a;
}

static double place(const axis *a, double value)
{
    return (value - a->low) / (a->high - a->low);
}

static void put_tick(fmp_buf *out, double value, double step)
{
    int digits = step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9);
    if (fabs(value) < step * 1e-6) { value = 0; }
    if (fabs(value) >= 1e6 || digits > 6) {
        fmp_buf_printf(out, "%g", value);
    } else if (digits == 0) {
        put_count(out, value);
    } else {
        fmp_buf_printf(out, "%.*f", digits, value);
    }
}

/* Labels of an axis; side "top" for y, counted downwards, or "left" for x. */
static void put_labels(fmp_buf *out, const axis *a, const char *side)
{
    bool down = strcmp(side, "top") == 0;
    fmp_buf_printf(out, "<div class=\"axis-%s\" aria-hidden=\"true\">", down ? "y" : "x");
    double first = ceil(a->low / a->step - 1e-9) * a->step;
    for (int i = 0; i < MAX_TICKS && first + i * a->step <= a->high + a->step * 1e-6; i++) {
        double value = first + i * a->step, at = place(a, value);
        fmp_buf_printf(out, "<span style=\"%s:%.2f%%\">", side, 100 * (down ? 1 - at : at));
        put_tick(out, value, a->step);
        fmp_buf_puts(out, "</span>");
    }
    fmp_buf_puts(out, "</div>");
}

static void put_grid(fmp_buf *out, const axis *y)
{
    double first = ceil(y->low / y->step - 1e-9) * y->step;
    for (int i = 0; i < MAX_TICKS && first + i * y->step <= y->high + y->step * 1e-6; i++) {
        double at = HEIGHT * (1 - place(y, first + i * y->step));
        fmp_buf_printf(out, "<path class=\"grid\" d=\"M0 %.1fH%d\"/>", at, WIDTH);
    }
}

static void open_plot(fmp_buf *out, const char *label, const axis *y)
{
    fmp_buf_puts(out, "<div class=\"plot\">");
    put_labels(out, y, "top");
    fmp_buf_printf(out, "<svg role=\"img\" viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\"><title>", WIDTH,
                   HEIGHT);
    put_text(out, label);
    fmp_buf_puts(out, "</title>");
    put_grid(out, y);
}

static void close_plot(fmp_buf *out, const axis *x, const char *unit)
{
    fmp_buf_puts(out, "</svg>");
    put_labels(out, x, "left");
    fmp_buf_printf(out, "<div class=\"axis-unit\">%s</div></div>", unit);
}

static bool point_of(const cJSON *row, double *x, double *y)
{
    const cJSON *first = cJSON_IsArray(row) ? row->child : NULL;
    return first && finite_number(first, x) && finite_number(first->next, y) && fabs(*x) < 1e15 &&
           fabs(*y) < 1e15;
}

/* Extent of all curves; false if there is no point. */
static bool extent(const curve *curves, size_t n, double low[2], double high[2])
{
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        const cJSON *row;
        cJSON_ArrayForEach(row, curves[i].points)
        {
            double at[2];
            if (!point_of(row, &at[0], &at[1])) { continue; }
            for (int k = 0; k < 2; k++) {
                low[k] = any ? fmin(low[k], at[k]) : at[k];
                high[k] = any ? fmax(high[k], at[k]) : at[k];
            }
            any = true;
        }
    }
    return any;
}

static void put_line(fmp_buf *out, const curve *c, const axis *x, const axis *y)
{
    const cJSON *row;
    size_t n = 0;
    double px, py;
    fmp_buf_printf(out, "<path class=\"%s\" d=\"", c->style);
    cJSON_ArrayForEach(row, c->points)
    {
        if (!point_of(row, &px, &py)) { continue; }
        fmp_buf_printf(out, "%s%.1f %.1f", n++ == 0 ? "M" : "L", WIDTH * place(x, px),
                       HEIGHT * (1 - place(y, py)));
    }
    fmp_buf_puts(out, "\"/>");
    if (n > 24) { return; }
    /* Few points are shown as dots: a line of no length with round ends stays round when the drawing is
     * stretched. */
    cJSON_ArrayForEach(row, c->points)
    {
        if (!point_of(row, &px, &py)) { continue; }
        fmp_buf_printf(out, "<path class=\"%s dot\" d=\"M%.1f %.1fh.01\"/>", c->style, WIDTH * place(x, px),
                       HEIGHT * (1 - place(y, py)));
    }
}

void put_curves(fmp_buf *out, const char *label, const curve *curves, size_t n)
{
    double low[2] = {0, 0}, high[2] = {0, 0};
    if (!extent(curves, n, low, high)) { return; }
    axis x = make_axis(low[0], high[0], 5, false), y = make_axis(low[1], high[1], 5, true);
    open_plot(out, label, &y);
    for (size_t i = 0; i < n; i++) {
        put_line(out, &curves[i], &x, &y);
    }
    close_plot(out, &x, "step");
    fmp_buf_puts(out, "<p class=\"legend\">");
    for (size_t i = 0; i < n; i++) {
        if (cJSON_GetArraySize(curves[i].points) == 0) { continue; }
        fmp_buf_printf(out,
                       "<span><svg class=\"key\" viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path "
                       "class=\"%s\" d=\"M0 4H24\"/></svg>%s</span>",
                       curves[i].style, curves[i].name);
    }
    fmp_buf_puts(out, "</p>");
}

void put_histogram(fmp_buf *out, const char *label, const cJSON *counts, double bucket)
{
    double highest = 0, n;
    int i = 0, used = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, counts)
    {
        i++;
        if (!finite_number(item, &n) || n <= 0 || n > 1e15) { continue; }
        highest = fmax(highest, n);
        used = i;
    }
    if (highest <= 0 || !(bucket > 0 && bucket < 1e12)) { return; }
    axis x = make_axis(0, used * bucket, 5, false),
         y = make_axis(0, fmax(highest, 4), 4, true); /* steps of whole conversations */
    open_plot(out, label, &y);
    i = 0;
    cJSON_ArrayForEach(item, counts)
    {
        if (i >= used) { break; }
        double width = (double)WIDTH / used;
        if (finite_number(item, &n) && n > 0 && n <= highest) {
            double height = HEIGHT * place(&y, n);
            fmp_buf_printf(out,
                           "<rect class=\"column\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
                           i * width + width * 0.06, HEIGHT - height, width * 0.88, height);
        }
        i++;
    }
    close_plot(out, &x, "tokens");
}

static double clamp(double fraction)
{
    return fraction > 0 ? fmin(fraction, 1) : 0;
}

void put_bar(fmp_buf *out, double fraction, const char *style)
{
    fmp_buf_printf(
        out,
        "<svg class=\"bar\" viewBox=\"0 0 100 1\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
        "<rect class=\"track\" width=\"100\" height=\"1\"/><rect class=\"%s\" width=\"%.1f\" "
        "height=\"1\"/></svg>",
        style, 100 * clamp(fraction));
}

void put_flow_bar(fmp_buf *out, double kept, double dropped, double rejected)
{
    double a = 100 * clamp(kept), b = 100 * clamp(dropped), c = 100 * clamp(rejected);
    if (c > 0 && c < 0.8) { c = 0.8; } /* a loss of any size can be seen */
    if (b > 0 && b < 0.8) { b = 0.8; }
    fmp_buf_printf(
        out,
        "<svg class=\"bar flow\" viewBox=\"0 0 100 1\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
        "<rect class=\"track\" width=\"100\" height=\"1\"/><rect class=\"bar-plain\" width=\"%.1f\" "
        "height=\"1\"/>"
        "<rect class=\"bar-dropped\" x=\"%.1f\" width=\"%.1f\" height=\"1\"/>"
        "<rect class=\"bar-rejected\" x=\"%.1f\" width=\"%.1f\" height=\"1\"/></svg>",
        a, a, b, a + b, c);
}
