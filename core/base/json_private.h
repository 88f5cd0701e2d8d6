/*
 * json_private.h: what json_parse.c, json_print.c and json_util.c share.
 */
#ifndef FMP_BASE_JSON_PRIVATE_H
#define FMP_BASE_JSON_PRIVATE_H

#include <fmpipe/json.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/*
 * Trees built by plugins may be deeper than anything parsed, or cyclic by mistake: the same limit as
 * cJSON's own.
 */
#define JSON_TREE_DEPTH_MAX 10000

/* Longest text of a number below, its NUL included. */
#define JSON_NUMBER_TEXT_BYTES 32

/*
 * The text of a cJSON_Number: integers in ±2^53 as integers, else %.15g if that reads back as the same
 * value, else %.17g; "-0" for negative zero; "null" for what is not finite, as cJSON does. Returns the
 * length.
 */
size_t fmp_json_number_text_(double value, char out[JSON_NUMBER_TEXT_BYTES]);

typedef struct json_member {
    const cJSON *node;
    size_t index; /* among the members: keeps equal keys in their order */
} json_member;

/* Members of `object` by key bytes, then by position, into list[0..n). */
void fmp_json_sort_members_(const cJSON *object, json_member *list, size_t n);
size_t fmp_json_count_(const cJSON *container);

/*
 * First byte in p..end that a JSON string body cannot hold as it is (a quote, a backslash, a control),
 * or end. *non_ascii becomes true if a byte above 0x7F lies before it.
 */
static inline const char *json_scan_body(const char *p, const char *end, bool *non_ascii)
{
    unsigned high = 0;
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), last_control = _mm_set1_epi8(0x1F);
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash));
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(_mm_min_epu8(v, last_control), v));
        unsigned at = (unsigned)_mm_movemask_epi8(stop);
        unsigned top = (unsigned)_mm_movemask_epi8(v);
        if (at != 0) {
            unsigned n = (unsigned)__builtin_ctz(at);
            high |= top & ((1u << n) - 1);
            *non_ascii |= high != 0;
            return p + n;
        }
        high |= top;
        p += 16;
    }
#endif
    for (; p < end; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\' || c < 0x20) { break; }
        high |= c & 0x80u;
    }
    *non_ascii |= high != 0;
    return p;
}

#endif
