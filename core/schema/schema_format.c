/*
 * "format" as assertions: the formats people put into tool and answer schemas, by their RFCs. A format that
 * is not in the table never rejects.
 */
#include "schema_private.h"

#include <stdlib.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_alnum(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* `n` digits at text[at] as a number, or -1. */
static int digits_at(const char *text, size_t len, size_t at, size_t n)
{
    int v = 0;
    if (at > len || len - at < n) { return -1; }
    for (size_t i = 0; i < n; i++) {
        if (!is_digit(text[at + i])) { return -1; }
        v = v * 10 + (text[at + i] - '0');
    }
    return v;
}

/* RFC 3339 full-date. */
static bool is_date(const char *t, size_t len)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (len != 10 || t[4] != '-' || t[7] != '-') { return false; }
    int y = digits_at(t, len, 0, 4), m = digits_at(t, len, 5, 2), d = digits_at(t, len, 8, 2);
    if (y < 0 || m < 1 || m > 12 || d < 1) { return false; }
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return d <= days[m - 1] + (m == 2 && leap);
}

/* RFC 3339 full-time; a leap second only where it is 23:59:60 in UTC. */
static bool is_time(const char *t, size_t len)
{
    if (len < 9 || t[2] != ':' || t[5] != ':') { return false; }
    int h = digits_at(t, len, 0, 2), m = digits_at(t, len, 3, 2), s = digits_at(t, len, 6, 2), shift = 0;
    if (h < 0 || h > 23 || m < 0 || m > 59 || s < 0 || s > 60) { return false; }
    size_t at = 8;
    if (t[at] == '.') {
        size_t first = ++at;
        while (at < len && is_digit(t[at])) {
            at++;
        }
        if (at == first) { return false; }
    }
    if (at == len) { return false; }
    if (t[at] == 'Z' || t[at] == 'z') {
        if (at + 1 != len) { return false; }
    } else if (t[at] == '+' || t[at] == '-') {
        int zh = digits_at(t, len, at + 1, 2), zm = digits_at(t, len, at + 4, 2);
        if (len != at + 6 || t[at + 3] != ':' || zh < 0 || zh > 23 || zm < 0 || zm > 59) { return false; }
        shift = (t[at] == '+' ? -1 : 1) * (zh * 60 + zm);
    } else {
        return false;
    }
    return s < 60 || (h * 60 + m + shift + 2880) % 1440 == 23 * 60 + 59;
}

static bool is_date_time(const char *t, size_t len)
{
    return len > 11 && (t[10] == 'T' || t[10] == 't') && is_date(t, 10) && is_time(t + 11, len - 11);
}

/* RFC 1123: labels of letters, digits and inner hyphens. */
static bool is_hostname(const char *t, size_t len)
{
    size_t start = 0;
    if (len == 0 || len > 253) { return false; }
    for (size_t i = 0; i <= len; i++) {
        if (i < len && t[i] != '.') {
            if (!is_alnum(t[i]) && t[i] != '-') { return false; }
            continue;
        }
        size_t n = i - start;
        if (n == 0 || n > 63 || t[start] == '-' || t[i - 1] == '-') { return false; }
        if (n >= 4 && t[start + 2] == '-' && t[start + 3] == '-' && (t[start] | 0x20) != 'x') {
            return false;
        }
        start = i + 1;
    }
    return true;
}

/* RFC 2673 dotted quad: no leading zeros. */
static bool is_ipv4(const char *t, size_t len)
{
    int parts = 0, digits = 0, value = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && is_digit(t[i])) {
            if (digits > 0 && value == 0) { return false; }
            value = value * 10 + (t[i] - '0');
            if (++digits > 3 || value > 255) { return false; }
        } else if ((i == len || t[i] == '.') && digits > 0) {
            parts++;
            digits = value = 0;
        } else {
            return false;
        }
    }
    return parts == 4;
}

/* RFC 4291 section 2.2. */
static bool is_ipv6(const char *t, size_t len)
{
    int groups = 0;
    bool gap = false;
    size_t i = 0;
    if (len >= 2 && t[0] == ':' && t[1] == ':') {
        gap = true;
        i = 2;
    }
    while (i < len) {
        size_t start = i;
        while (i < len && i - start < 4 && is_hex(t[i])) {
            i++;
        }
        if (i < len && t[i] == '.') {
            if (!is_ipv4(t + start, len - start)) { return false; }
            groups += 2;
            i = len;
            break;
        }
        if (i == start) { return false; }
        groups++;
        if (i == len) { break; }
        if (t[i++] != ':') { return false; }
        if (i == len) { return false; }
        if (t[i] == ':') {
            if (gap) { return false; }
            gap = true;
            i++;
        }
    }
    return gap ? groups <= 7 : groups == 8;
}

static bool is_uuid(const char *t, size_t len)
{
    if (len != 36) { return false; }
    for (size_t i = 0; i < len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? t[i] != '-' : !is_hex(t[i])) { return false; }
    }
    return true;
}

/* RFC 5321 mailbox: dot-atom or quoted local part; a host name or an address literal. */
static bool is_email(const char *t, size_t len)
{
    size_t at = len;
    while (at > 0 && t[at - 1] != '@') {
        at--;
    }
    if (at < 2 || at == len) { return false; }
    const char *host = t + at;
    size_t local = at - 1, host_len = len - at;
    if (t[0] == '"') {
        if (local < 2 || t[local - 1] != '"') { return false; }
        for (size_t i = 1; i + 1 < local; i++) {
            if (t[i] == '\\') {
                i++;
            } else if (t[i] == '"' || (unsigned char)t[i] < 0x20) {
                return false;
            }
        }
    } else {
        for (size_t i = 0; i < local; i++) {
            bool dot_ok = i > 0 && i + 1 < local && t[i - 1] != '.';
            if (t[i] == '.' ? !dot_ok : !is_alnum(t[i]) && !strchr("!#$%&'*+-/=?^_`{|}~", t[i])) {
                return false;
            }
        }
    }
    if (host[0] == '[' && host[host_len - 1] == ']') {
        if (host_len > 7 && memcmp(host, "[IPv6:", 6) == 0) { return is_ipv6(host + 6, host_len - 7); }
        return is_ipv4(host + 1, host_len - 2);
    }
    return is_hostname(host, host_len);
}

static bool uri_chars(const char *t, size_t len, const char *also)
{
    for (size_t i = 0; i < len; i++) {
        if (t[i] == '%') {
            if (len - i < 3 || !is_hex(t[i + 1]) || !is_hex(t[i + 2])) { return false; }
            i += 2;
        } else if (!t[i] || (!is_alnum(t[i]) && !strchr("-._~!$&'()*+,;=:", t[i]) && !strchr(also, t[i]))) {
            return false;
        }
    }
    return true;
}

/* RFC 3986 authority: [userinfo@] host [:port]. */
static bool is_authority(const char *t, size_t len)
{
    const char *at = memchr(t, '@', len);
    if (at) {
        if (!uri_chars(t, (size_t)(at - t), "")) { return false; }
        len -= (size_t)(at + 1 - t);
        t = at + 1;
    }
    size_t host = 0;
    if (len > 0 && t[0] == '[') {
        const char *end = memchr(t, ']', len);
        if (!end || !is_ipv6(t + 1, (size_t)(end - t) - 1)) { return false; }
        host = (size_t)(end + 1 - t);
    } else {
        while (host < len && t[host] != ':') {
            host++;
        }
        if (!uri_chars(t, host, "")) { return false; }
    }
    if (host < len && t[host] != ':') { return false; }
    for (size_t i = host + 1; i < len; i++) {
        if (!is_digit(t[i])) { return false; }
    }
    return true;
}

/* RFC 3986, with a scheme. */
static bool is_uri(const char *t, size_t len)
{
    size_t i = 0;
    while (i < len && (is_alnum(t[i]) || (i > 0 && strchr("+-.", t[i])))) {
        i++;
    }
    if (i == 0 || is_digit(t[0]) || i == len || t[i] != ':') { return false; }
    i++;
    const char *hash = memchr(t + i, '#', len - i);
    size_t end = hash ? (size_t)(hash - t) : len;
    if (hash && !uri_chars(hash + 1, len - end - 1, "/?@")) { return false; }
    if (end - i >= 2 && t[i] == '/' && t[i + 1] == '/') {
        size_t stop = i += 2;
        while (stop < end && t[stop] != '/' && t[stop] != '?') {
            stop++;
        }
        if (!is_authority(t + i, stop - i)) { return false; }
        i = stop;
    }
    return uri_chars(t + i, end - i, "/?@");
}

format_fn schema_format_find(const char *name)
{
    static const struct {
        const char *name;
        format_fn check;
    } formats[] = {{"date", is_date},   {"time", is_time}, {"date-time", is_date_time},
                   {"email", is_email}, {"uuid", is_uuid}, {"uri", is_uri},
                   {"ipv4", is_ipv4},   {"ipv6", is_ipv6}, {"hostname", is_hostname}};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(formats[i].name, name) == 0) { return formats[i].check; }
    }
    return NULL;
}
