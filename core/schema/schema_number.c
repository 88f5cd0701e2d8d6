/*
 * Numbers as JSON writes them: decimal, not binary. "multipleOf": 0.01 has no exact double, so divisibility
 * and order are decided on the decimal digits of the shortest text of each number.
 */
#include "schema_private.h"

#include <math.h>

/* (-1)^negative x digits x 10^exponent; digits has no trailing zero; zero is digits 0, exponent 0. */
typedef struct decimal {
    uint64_t digits;
    int64_t exponent;
    bool negative;
} decimal;

static void strip_zeros(decimal *d)
{
    if (d->digits == 0) {
        d->exponent = 0;
        d->negative = false;
    }
    while (d->digits != 0 && d->digits % 10 == 0) {
        d->digits /= 10;
        d->exponent++;
    }
}

/* False where the significant digits do not fit 64 bits or the exponent is absurd. */
static bool parse_decimal(const char *p, decimal *d)
{
    bool point = false, exponent_negative = false;
    int64_t exponent = 0;
    *d = (decimal){0};
    if (*p == '-') {
        d->negative = true;
        p++;
    }
    for (; (*p >= '0' && *p <= '9') || *p == '.'; p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        if (d->digits > (UINT64_MAX - 9) / 10) {
            if (*p != '0') { return false; }
            d->exponent += !point;
            continue;
        }
        d->digits = d->digits * 10 + (uint64_t)(*p - '0');
        d->exponent -= point;
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '+' || *p == '-') { exponent_negative = *p++ == '-'; }
        for (; *p >= '0' && *p <= '9'; p++) {
            exponent = exponent * 10 + (*p - '0');
            if (exponent > 100000) { return false; }
        }
    }
    if (*p) { return false; }
    d->exponent += exponent_negative ? -exponent : exponent;
    strip_zeros(d);
    return true;
}

/* False: not a number, or one that a decimal does not hold. */
static bool decimal_of(const cJSON *value, decimal *d)
{
    if (cJSON_IsRaw(value)) { return value->valuestring && parse_decimal(value->valuestring, d); }
    if (!cJSON_IsNumber(value)) { return false; }
    fmp_buf text = {0};
    fmp_json_print(value, FMP_JSON_COMPACT, &text);
    bool ok = !text.failed && text.data && parse_decimal(text.data, d);
    fmp_buf_free(&text);
    return ok;
}

bool schema_is_number(const cJSON *value)
{
    double ignored;
    return fmp_json_number(value, &ignored);
}

bool schema_is_integer(const cJSON *value)
{
    double v;
    decimal d;
    if (!fmp_json_number(value, &v)) { return false; }
    if (cJSON_IsNumber(value)) { return isfinite(v) && v == floor(v); }
    return decimal_of(value, &d) ? d.exponent >= 0 : isfinite(v) && v == floor(v) && fabs(v) < 0x1p53;
}

static uint64_t mod_mul(uint64_t a, uint64_t b, uint64_t m)
{
    /* 64 x 64 bits through doubling, as C11 has no 128-bit integer */
    uint64_t r = 0;
    a %= m;
    for (b %= m; b > 0; b >>= 1) {
        if (b & 1) { r = r >= m - a ? r - (m - a) : r + a; }
        a = a >= m - a ? a - (m - a) : a + a;
    }
    return r;
}

bool schema_is_multiple(const cJSON *value, const cJSON *divisor)
{
    decimal a, b;
    if (!decimal_of(value, &a) || !decimal_of(divisor, &b)) {
        double x, y;
        return fmp_json_number(value, &x) && fmp_json_number(divisor, &y) && isfinite(x) && y != 0 &&
               fmod(x, y) == 0;
    }
    if (a.digits == 0) { return true; }
    if (b.digits == 0) { return false; }
    if (a.exponent < b.exponent) { return false; } /* a.digits would have a factor 10 */
    uint64_t rest = a.digits % b.digits, ten = 10 % b.digits;
    for (uint64_t k = (uint64_t)(a.exponent - b.exponent); k > 0; k >>= 1) {
        if (k & 1) { rest = mod_mul(rest, ten, b.digits); }
        ten = mod_mul(ten, ten, b.digits);
    }
    return rest == 0;
}

static int digit_count(uint64_t v)
{
    int n = 1;
    while (v >= 10) {
        v /= 10;
        n++;
    }
    return n;
}

/* |a| against |b|, both not zero. */
static int compare_magnitude(decimal a, decimal b)
{
    int64_t a_top = a.exponent + digit_count(a.digits), b_top = b.exponent + digit_count(b.digits);
    if (a_top != b_top) { return a_top < b_top ? -1 : 1; }
    while (a.exponent > b.exponent && a.digits <= UINT64_MAX / 10) {
        a.digits *= 10;
        a.exponent--;
    }
    while (b.exponent > a.exponent && b.digits <= UINT64_MAX / 10) {
        b.digits *= 10;
        b.exponent--;
    }
    if (a.exponent != b.exponent) {
        return a.exponent > b.exponent ? 1 : -1;
    } /* scaled, it would pass 2^64: larger */
    return a.digits < b.digits ? -1 : a.digits > b.digits;
}

int schema_compare(const cJSON *left, const cJSON *right)
{
    decimal a, b;
    double x = 0, y = 0;
    if (!decimal_of(left, &a) || !decimal_of(right, &b)) {
        if (!fmp_json_number(left, &x) || !fmp_json_number(right, &y)) { return 0; }
        return x < y ? -1 : x > y;
    }
    int a_sign = a.digits == 0 ? 0 : a.negative ? -1 : 1, b_sign = b.digits == 0 ? 0 : b.negative ? -1 : 1;
    if (a_sign != b_sign) { return a_sign < b_sign ? -1 : 1; }
    return a_sign == 0 ? 0 : a_sign * compare_magnitude(a, b);
}
