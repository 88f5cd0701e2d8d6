/*
 * json_print.c: cJSON trees to text.
 *
 * Strings are scanned for what must be escaped and copied in runs; the escapes are those of Python's
 * json module with ensure_ascii off, so texts can be compared across the two. A cJSON_Raw node goes
 * out as it is.
 */
#include "json_private.h"

#include <math.h>
#include <stdlib.h>

typedef struct printer {
    fmp_buf *out;
    unsigned style; /* without the flag */
    bool sorted;
    unsigned depth;
} printer;

static size_t integer_text(int64_t value, char *out)
{
    char digits[24];
    size_t n = 0, len = 0;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        digits[n++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0) { out[len++] = '-'; }
    while (n > 0) {
        out[len++] = digits[--n];
    }
    out[len] = '\0';
    return len;
}

size_t fmp_json_number_text_(double value, char out[JSON_NUMBER_TEXT_BYTES])
{
    if (!isfinite(value)) {
        memcpy(out, "null", 5);
        return 4;
    }
    if (value == 0.0 && signbit(value)) {
        memcpy(out, "-0", 3);
        return 2;
    }
    if (fabs(value) <= 0x1p53 && value == trunc(value)) { return integer_text((int64_t)value, out); }
    int n = snprintf(out, JSON_NUMBER_TEXT_BYTES, "%.15g", value);
    if (strtod(out, NULL) != value) { n = snprintf(out, JSON_NUMBER_TEXT_BYTES, "%.17g", value); }
    return (size_t)n;
}

static void put_escape(fmp_buf *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char text[7] = "\\u00";
    const char *from = "\"\\\b\f\n\r\t";
    const char *to = "\"\\bfnrt";
    const char *hit = c ? strchr(from, c) : NULL;
    if (hit) {
        text[1] = to[hit - from];
        fmp_buf_add(out, text, 2);
        return;
    }
    text[4] = hex[c >> 4];
    text[5] = hex[c & 15];
    fmp_buf_add(out, text, 6);
}

static void put_string(fmp_buf *out, const char *text)
{
    if (!text) { text = ""; }
    size_t len = strlen(text);
    const char *end = text + len;
    size_t room;
    char *to = fmp_add_ok(len, 2, &room) ? fmp_buf_grow(out, room) : NULL;
    if (!to) {
        out->failed = true;
        return;
    }
    *to = '"';
    out->len++;
    for (const char *p = text;; p++) {
        bool non_ascii = false;
        const char *stop = json_scan_body(p, end, &non_ascii);
        fmp_buf_add(out, p, (size_t)(stop - p));
        if (stop == end) { break; }
        put_escape(out, (unsigned char)*stop);
        p = stop;
    }
    fmp_buf_putc(out, '"');
}

static void put_line(const printer *pr)
{
    size_t indent = (size_t)pr->depth * 2;
    char *to = fmp_buf_grow(pr->out, indent + 1);
    if (!to) { return; }
    to[0] = '\n';
    memset(to + 1, ' ', indent);
    pr->out->len += indent + 1;
}

static void put_node(printer *pr, const cJSON *node);

static void put_member(printer *pr, const cJSON *node, bool is_object, bool is_first)
{
    if (!is_first) { fmp_buf_add(pr->out, ", ", pr->style == FMP_JSON_SPACED ? 2 : 1); }
    if (pr->style == FMP_JSON_PRETTY) { put_line(pr); }
    if (is_object) {
        put_string(pr->out, node->string);
        fmp_buf_add(pr->out, ": ", pr->style == FMP_JSON_COMPACT ? 1 : 2);
    }
    put_node(pr, node);
}

static void put_sorted(printer *pr, const cJSON *object)
{
    size_t n = fmp_json_count_(object);
    json_member *list = calloc(n, sizeof *list);
    if (!list) {
        pr->out->failed = true;
        return;
    }
    fmp_json_sort_members_(object, list, n);
    for (size_t i = 0; i < n; i++) {
        put_member(pr, list[i].node, true, i == 0);
    }
    free(list);
}

static void put_container(printer *pr, const cJSON *node)
{
    bool is_object = cJSON_IsObject(node);
    fmp_buf_putc(pr->out, is_object ? '{' : '[');
    if (node->child && ++pr->depth > JSON_TREE_DEPTH_MAX) {
        pr->out->failed = true;
        return;
    }
    if (node->child) {
        if (is_object && pr->sorted) {
            put_sorted(pr, node);
        } else {
            for (const cJSON *c = node->child; c; c = c->next) {
                put_member(pr, c, is_object, c == node->child);
            }
        }
        pr->depth--;
        if (pr->style == FMP_JSON_PRETTY) { put_line(pr); }
    }
    fmp_buf_putc(pr->out, is_object ? '}' : ']');
}

static void put_node(printer *pr, const cJSON *node)
{
    char number[JSON_NUMBER_TEXT_BYTES];
    if (pr->out->failed) { return; }
    switch (node->type & 0xFF) {
    case cJSON_False: fmp_buf_add(pr->out, "false", 5); break;
    case cJSON_True: fmp_buf_add(pr->out, "true", 4); break;
    case cJSON_Number: fmp_buf_add(pr->out, number, fmp_json_number_text_(node->valuedouble, number)); break;
    case cJSON_String: put_string(pr->out, node->valuestring); break;
    case cJSON_Raw: fmp_buf_puts(pr->out, node->valuestring ? node->valuestring : "null"); break;
    case cJSON_Array:
    case cJSON_Object: put_container(pr, node); break;
    default: fmp_buf_add(pr->out, "null", 4); break;
    }
}

void fmp_json_print(const cJSON *node, unsigned style, fmp_buf *out)
{
    printer pr = {
        .out = out, .style = style & ~(unsigned)FMP_JSON_SORTED, .sorted = (style & FMP_JSON_SORTED) != 0};
    if (node) {
        put_node(&pr, node);
    } else {
        fmp_buf_add(out, "null", 4);
    }
}

char *fmp_json_text(const cJSON *node, unsigned style)
{
    fmp_buf out = {0};
    fmp_json_print(node, style, &out);
    if (out.failed) { fmp_buf_free(&out); }
    return out.data;
}
