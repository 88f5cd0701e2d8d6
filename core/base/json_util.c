/*
 * json_util.c: looking things up in trees and texts, comparing trees, checking UTF-8.
 */
#include "json_private.h"

#include <stdlib.h>

#define LOCAL_MEMBERS 32

const cJSON *fmp_json_get(const cJSON *object, const char *key)
{
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;
}

const char *fmp_json_str(const cJSON *object, const char *key, const char *fallback)
{
    const cJSON *node = fmp_json_get(object, key);
    return cJSON_IsString(node) && node->valuestring ? node->valuestring : fallback;
}

double fmp_json_num(const cJSON *object, const char *key, double fallback)
{
    double value;
    return fmp_json_number(fmp_json_get(object, key), &value) ? value : fallback;
}

bool fmp_json_bool(const cJSON *object, const char *key, bool fallback)
{
    const cJSON *node = fmp_json_get(object, key);
    return cJSON_IsBool(node) ? cJSON_IsTrue(node) : fallback;
}

/* ---- numbers held as text ---- */

/*
 * A JSON number as sign, digits (first and last not 0) and the power of ten of a point before the
 * first digit.
 */
typedef struct decimal {
    const char *digits; /* in the text; a point may lie among them */
    size_t n;           /* significant digits, points not counted; 0: zero */
    int64_t exponent;
    bool negative;
} decimal;

static const char *skip_digits(const char *p)
{
    while (*p >= '0' && *p <= '9') {
        p++;
    }
    return p;
}

/* The exponent behind 'e', clamped far beyond any length of text. */
static int64_t read_exponent(const char **pp)
{
    const int64_t clamp = INT64_MAX / 4;
    const char *p = *pp;
    bool negative = *p == '-';
    if (*p == '+' || *p == '-') { p++; }
    const char *first = p;
    int64_t value = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        value = value > clamp / 10 ? clamp : value * 10 + (*p - '0');
    }
    *pp = p == first ? first - 1 : p; /* no digit: leave something that is not the end */
    return negative ? -value : value;
}

static bool read_decimal(const char *text, decimal *out)
{
    const char *p = text;
    *out = (decimal){0};
    out->negative = *p == '-';
    p += out->negative;
    const char *whole = p;
    const char *point = skip_digits(p);
    if (point == whole || (*whole == '0' && point - whole > 1)) { return false; }
    const char *end = point;
    if (*point == '.') {
        end = skip_digits(point + 1);
        if (end == point + 1) { return false; }
    }
    int64_t exponent = 0;
    const char *rest = end;
    if (*rest == 'e' || *rest == 'E') {
        rest++;
        const char *before = rest;
        exponent = read_exponent(&rest);
        if (rest <= before) { return false; }
    }
    if (*rest != '\0') { return false; }
    const char *first = whole;
    while (first < end && (*first == '0' || *first == '.')) {
        first++;
    }
    const char *last = end;
    while (last > first && (last[-1] == '0' || last[-1] == '.')) {
        last--;
    }
    if (first == last) { return true; } /* zero, whose sign is not part of its value */
    out->digits = first;
    out->n = (size_t)(last - first) - (first < point && point < last);
    out->exponent = exponent + (first < point ? point - first : point + 1 - first);
    return true;
}

static bool decimal_equal(const decimal *a, const decimal *b)
{
    if (a->n != b->n) { return false; }
    if (a->n == 0) { return true; }
    if (a->negative != b->negative || a->exponent != b->exponent) { return false; }
    const char *p = a->digits, *q = b->digits;
    for (size_t i = 0; i < a->n; i++, p++, q++) {
        p += *p == '.';
        q += *q == '.';
        if (*p != *q) { return false; }
    }
    return true;
}

bool fmp_json_number(const cJSON *node, double *out)
{
    decimal d;
    if (cJSON_IsNumber(node)) {
        *out = node->valuedouble;
        return true;
    }
    if (!cJSON_IsRaw(node) || !node->valuestring || !read_decimal(node->valuestring, &d)) { return false; }
    *out = strtod(node->valuestring, NULL);
    return true;
}

/* ---- equality ---- */

size_t fmp_json_count_(const cJSON *container)
{
    size_t n = 0;
    for (const cJSON *c = container->child; c; c = c->next) {
        n++;
    }
    return n;
}

static const char *key_of(const cJSON *node)
{
    return node->string ? node->string : "";
}

static int member_order(const void *a, const void *b)
{
    const json_member *x = a, *y = b;
    int order = strcmp(key_of(x->node), key_of(y->node));
    return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

void fmp_json_sort_members_(const cJSON *object, json_member *list, size_t n)
{
    size_t i = 0;
    for (const cJSON *c = object->child; c && i < n; c = c->next, i++) {
        list[i] = (json_member){c, i};
    }
    qsort(list, i, sizeof *list, member_order);
}

static bool equal_at(const cJSON *a, const cJSON *b, unsigned depth);

static bool arrays_equal(const cJSON *a, const cJSON *b, unsigned depth)
{
    const cJSON *x = a->child, *y = b->child;
    for (; x && y; x = x->next, y = y->next) {
        if (!equal_at(x, y, depth)) { return false; }
    }
    return !x && !y;
}

static bool members_equal(const cJSON *a, const cJSON *b, json_member *list, size_t n, unsigned depth)
{
    fmp_json_sort_members_(a, list, n);
    fmp_json_sort_members_(b, list + n, n);
    for (size_t i = 0; i < n; i++) {
        const cJSON *x = list[i].node, *y = list[n + i].node;
        if (strcmp(key_of(x), key_of(y)) != 0 || !equal_at(x, y, depth)) { return false; }
    }
    return true;
}

static bool keys_in_same_order(const cJSON *a, const cJSON *b)
{
    const cJSON *x = a->child, *y = b->child;
    for (; x && y; x = x->next, y = y->next) {
        if (strcmp(key_of(x), key_of(y)) != 0) { return false; }
    }
    return !x && !y;
}

/* Out of memory counts as different: the answer that leads a caller to do the work again. */
static bool objects_equal(const cJSON *a, const cJSON *b, unsigned depth)
{
    if (keys_in_same_order(a, b)) { return arrays_equal(a, b, depth); }
    size_t n = fmp_json_count_(a);
    if (n != fmp_json_count_(b)) { return false; }
    json_member *list = calloc(n, 2 * sizeof *list);
    if (!list) { return false; }
    bool equal = members_equal(a, b, list, n, depth);
    free(list);
    return equal;
}

static bool is_numeric(const cJSON *node)
{
    double ignored;
    return fmp_json_number(node, &ignored);
}

/* Exact, not by rounding to double: 9007199254740993 is not 9007199254740992. */
static bool numbers_equal(const cJSON *a, const cJSON *b)
{
    char text[2][JSON_NUMBER_TEXT_BYTES];
    const cJSON *node[2] = {a, b};
    decimal d[2];
    if (cJSON_IsNumber(a) && cJSON_IsNumber(b)) { return a->valuedouble == b->valuedouble; }
    for (int i = 0; i < 2; i++) {
        const char *digits = node[i]->valuestring;
        if (cJSON_IsNumber(node[i])) {
            fmp_json_number_text_(node[i]->valuedouble, text[i]);
            digits = text[i];
        }
        if (!read_decimal(digits, &d[i])) { return false; }
    }
    return decimal_equal(&d[0], &d[1]);
}

static bool texts_equal(const cJSON *a, const cJSON *b)
{
    return a->valuestring && b->valuestring && strcmp(a->valuestring, b->valuestring) == 0;
}

static bool equal_at(const cJSON *a, const cJSON *b, unsigned depth)
{
    if (!a || !b || depth > JSON_TREE_DEPTH_MAX) { return false; }
    if (is_numeric(a) && is_numeric(b)) { return numbers_equal(a, b); }
    int type = a->type & 0xFF;
    if (type != (b->type & 0xFF)) { return false; }
    switch (type) {
    case cJSON_False:
    case cJSON_True:
    case cJSON_NULL: return true;
    case cJSON_String:
    case cJSON_Raw: return texts_equal(a, b);
    case cJSON_Array: return arrays_equal(a, b, depth + 1);
    case cJSON_Object: return objects_equal(a, b, depth + 1);
    default: return false;
    }
}

bool fmp_json_equal(const cJSON *a, const cJSON *b)
{
    return equal_at(a, b, 0);
}

/* ---- positions ---- */

static const char *skip_blank(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) {
        p++;
    }
    return p;
}

/* p is at the opening quote; returns behind the closing one, or end. */
static const char *skip_text(const char *p, const char *end)
{
    bool ignored = false;
    for (p++; p < end;) {
        p = json_scan_body(p, end, &ignored);
        if (p == end) { break; }
        if (*p == '"') { return p + 1; }
        p += *p == '\\' ? 2 : 1;
    }
    return end;
}

static const char *skip_value(const char *p, const char *end)
{
    size_t depth = 0;
    while (p < end) {
        char c = *p;
        if (c == '"') {
            p = skip_text(p, end);
        } else if (c == '{' || c == '[') {
            depth++;
            p++;
        } else if (c == '}' || c == ']') {
            if (depth == 0) { return p; }
            depth--;
            p++;
        } else if (depth == 0 && (c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r')) {
            return p;
        } else {
            p++;
            continue; /* within a number or a word, or between the members of something nested */
        }
        if (depth == 0) { return p; }
    }
    return end;
}

/*
 * Whether `path` goes on behind its first n bytes as a path does: with a member, an element, or not at
 * all.
 */
static bool path_breaks_at(const char *path, size_t n)
{
    return path[n] == '\0' || path[n] == '.' || path[n] == '[';
}

/* The value of the longest key that `path` begins with, so that keys with dots in them can be named too. */
static const char *enter_object(const char *p, const char *end, const char **path)
{
    const char *best = NULL;
    size_t best_n = 0;
    p = skip_blank(p + 1, end);
    while (p < end && *p == '"') {
        const char *key = p;
        const char *after = skip_text(p, end);
        cJSON *decoded = NULL;
        p = skip_blank(after, end);
        if (p < end && *p == ':') { p = skip_blank(p + 1, end); }
        fmp_arena *before = fmp_json_scope(NULL);
        if (fmp_json_parse(key, (size_t)(after - key), NULL, &decoded, NULL) == FMP_OK) {
            size_t n = strlen(decoded->valuestring);
            if (strncmp(decoded->valuestring, *path, n) == 0 && path_breaks_at(*path, n) &&
                (!best || n > best_n)) {
                best = p;
                best_n = n;
            }
        }
        cJSON_Delete(decoded);
        fmp_json_scope(before);
        p = skip_blank(skip_value(p, end), end);
        if (p < end && *p == ',') { p = skip_blank(p + 1, end); }
    }
    *path += best_n;
    return best;
}

static const char *enter_array(const char *p, const char *end, const char **path)
{
    const char *q = *path + 1;
    size_t index = 0;
    if (**path != '[' || *q < '0' || *q > '9') { return NULL; }
    for (; *q >= '0' && *q <= '9'; q++) {
        if (!fmp_mul_ok(index, 10, &index) || !fmp_add_ok(index, (size_t)(*q - '0'), &index)) { return NULL; }
    }
    if (*q != ']') { return NULL; }
    p = skip_blank(p + 1, end);
    for (size_t i = 0; i < index && p < end && *p != ']'; i++) {
        p = skip_blank(skip_value(p, end), end);
        if (p < end && *p == ',') { p = skip_blank(p + 1, end); }
    }
    *path = q + 1;
    return p < end && *p != ']' ? p : NULL;
}

bool fmp_json_locate(const char *text, size_t len, const char *path, size_t *offset)
{
    const char *end = text + len;
    const char *p = skip_blank(text, end);
    while (*path != '\0') {
        if (p == end) { return false; }
        if (*p == '{') {
            path += *path == '.';
            p = enter_object(p, end, &path);
        } else {
            p = *p == '[' ? enter_array(p, end, &path) : NULL;
        }
        if (!p) { return false; }
    }
    *offset = (size_t)(p - text);
    return p < end;
}

/* ---- UTF-8 ---- */

/* Length of the valid sequence at p (first byte above 0x7F), or 0. */
static size_t sequence_length(const unsigned char *p, size_t left)
{
    unsigned char c = p[0];
    if (c < 0xC2 || c > 0xF4) { return 0; }
    size_t n = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    if (left < n || (p[1] & 0xC0) != 0x80) { return 0; }
    if (n == 2) { return 2; }
    if ((p[2] & 0xC0) != 0x80) { return 0; }
    if (n == 3) {
        /* no overlong forms, no surrogates */
        return (c == 0xE0 && p[1] < 0xA0) || (c == 0xED && p[1] > 0x9F) ? 0 : 3;
    }
    if ((p[3] & 0xC0) != 0x80 || (c == 0xF0 && p[1] < 0x90) || (c == 0xF4 && p[1] > 0x8F)) { return 0; }
    return 4;
}

size_t fmp_utf8_invalid_at(const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t i = 0;
    while (i < len) {
        if (p[i] >= 0x80) {
            size_t n = sequence_length(p + i, len - i);
            if (n == 0) { return i; }
            i += n;
            continue;
        }
        uint64_t word = 0;
        while (len - i >= 8) {
            memcpy(&word, p + i, 8);
            if (word & 0x8080808080808080u) { break; }
            i += 8;
        }
        while (i < len && p[i] < 0x80) {
            i++;
        }
    }
    return len;
}
