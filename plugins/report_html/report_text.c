/*
 * Letters and numbers of the report. Every text that comes from data passes through put_text: what a
 * conversation holds must neither become markup nor change how the text around it is shown.
 */
#include "report.h"

#include <math.h>
#include <stdlib.h>

/* Length in bytes of the UTF-8 sequence at text[0..len), 0 if it is invalid; *code is its code point. */
static size_t decode(const char *text, size_t len, uint32_t *code)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (n > len || fmp_utf8_invalid_at(text, n) < n) { return 0; }
    *code = n == 1 ? p[0] : p[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++) {
        *code = *code << 6 | (p[i] & 0x3Fu);
    }
    return n;
}

static const char *entity(uint32_t code)
{
    switch (code) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    default: return NULL;
    }
}

/* Characters that show nothing, or change the direction or order of what is around them. */
static bool is_hidden(uint32_t c)
{
    return (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7F && c <= 0x9F) || c == 0x061C ||
           (c >= 0x200B && c <= 0x200F && c != 0x200D) || (c >= 0x2028 && c <= 0x202E) ||
           (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB) ||
           (c >= 0xE0000 && c <= 0xE007F) || (c & 0xFFFE) == 0xFFFE;
}

void put_text(fmp_buf *out, const char *text)
{
    size_t len = text ? strlen(text) : 0;
    for (size_t at = 0; at < len;) {
        uint32_t code = 0;
        size_t n = decode(text + at, len - at, &code);
        const char *named = n > 0 ? entity(code) : "\xEF\xBF\xBD";
        if (named) {
            fmp_buf_puts(out, named);
        } else if (is_hidden(code)) {
            fmp_buf_printf(out, "<span class=\"hid\">U+%04X</span>", (unsigned)code);
        } else {
            fmp_buf_add(out, text + at, n);
        }
        at += n > 0 ? n : 1;
    }
}

void put_value(fmp_buf *out, const cJSON *node)
{
    if (cJSON_IsString(node)) {
        put_text(out, node->valuestring);
        return;
    }
    char *text = fmp_json_text(node, FMP_JSON_SPACED);
    if (!text) { out->failed = true; }
    put_text(out, text);
    free(text);
}

void put_count(fmp_buf *out, double n)
{
    char digits[32];
    int len = snprintf(digits, sizeof digits, "%.0f", n);
    if (!(fabs(n) < 1e18) || len < 0 || (size_t)len >= sizeof digits) {
        fmp_buf_printf(out, "%g", n);
        return;
    }
    int begin = digits[0] == '-';
    for (int i = 0; i < len; i++) {
        if (i > begin && (len - i) % 3 == 0) { fmp_buf_putc(out, ','); }
        fmp_buf_putc(out, digits[i]);
    }
}

void put_percent(fmp_buf *out, double fraction)
{
    fmp_buf_printf(out, "%.1f%%", 100 * fraction);
}

void put_number(fmp_buf *out, double value)
{
    fmp_buf_printf(out, fabs(value) >= 0.1 && fabs(value) < 1000 ? "%.3f" : "%.4g", value);
}

void put_seconds(fmp_buf *out, double seconds)
{
    double whole = floor(seconds + 0.5);
    if (seconds < 60) {
        fmp_buf_printf(out, seconds < 10 ? "%.1f s" : "%.0f s", seconds);
    } else if (seconds < 3600) {
        fmp_buf_printf(out, "%.0f min %02.0f s", floor(whole / 60), fmod(whole, 60));
    } else {
        fmp_buf_printf(out, "%.0f h %02.0f min", floor(whole / 3600), floor(fmod(whole, 3600) / 60));
    }
}

void put_bytes(fmp_buf *out, double bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    size_t unit = 0;
    while (bytes >= 1000 && unit + 1 < sizeof units / sizeof *units) {
        bytes /= 1000;
        unit++;
    }
    fmp_buf_printf(out, unit == 0 || bytes >= 100 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

bool finite_number(const cJSON *node, double *value)
{
    return node && fmp_json_number(node, value) && isfinite(*value);
}

double count_of(const cJSON *object, const char *key)
{
    double n = 0;
    return finite_number(fmp_json_get(object, key), &n) && n > 0 ? n : 0;
}

const cJSON *object_at(const cJSON *object, const char *key)
{
    const cJSON *member = fmp_json_get(object, key);
    return cJSON_IsObject(member) ? member : NULL;
}
