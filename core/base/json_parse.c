/*
 * json_parse.c: strict RFC 8259 text to cJSON nodes in an arena or on the heap.
 *
 * No recursion: open containers are frames on a stack, so depth is a limit and not a crash. A node is
 * linked to its parent as soon as it exists, which is what makes cleaning up after an error one
 * cJSON_Delete. String bodies are scanned sixteen bytes at a time; UTF-8 is checked only where a byte
 * above 0x7F was seen on the way. Lines and columns are worked out only when there is an error to
 * report.
 */
#include "arena.h"
#include "json_private.h"

#include <fmpipe/fs.h>

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#define DEFAULT_MAX_BYTES ((size_t)64 << 20)
#define DEFAULT_MAX_DEPTH 64u
#define LOCAL_FRAMES      64u
#define PAIRWISE_KEYS_MAX 16u
#define EXACT_DIGITS      15 /* any decimal of so many digits survives the way through a double */
#define FOUND_BYTES       48
#define KEY_SHOWN_BYTES   64u

/* Keys of one large object. Hashes are seeded per process: a hostile file cannot choose its collisions. */
typedef struct key_slot {
    const char *key;
    size_t len;
    uint64_t hash;
} key_slot;

typedef struct key_set {
    key_slot *slots;
    size_t cap; /* a power of two */
    size_t n;
} key_set;

typedef struct frame {
    cJSON *node;
    cJSON *last;
    uint32_t n;
    uint64_t seen; /* a 64-bit Bloom filter of the keys */
    key_set keys;  /* beyond PAIRWISE_KEYS_MAX */
} frame;

typedef struct parser {
    const char *text;
    const char *p;
    const char *end;
    fmp_arena *arena; /* NULL: heap */
    cJSON *root;
    frame *frames;
    uint32_t n_frames;
    uint32_t cap_frames;
    uint32_t max_depth;
    bool allow_duplicates;
    fmp_err *err;
    frame local[LOCAL_FRAMES];
} parser;

/* ---- scope ---- */

static _Thread_local fmp_arena *scope;

fmp_arena *fmp_json_scope(fmp_arena *arena)
{
    fmp_arena *before = scope;
    scope = arena;
    return before;
}

static void *scope_malloc(size_t size)
{
    fmp_arena *arena = scope;
    if (!arena) { return malloc(size); }
    void *p = arena_take(arena, size);
    return arena->failed ? NULL : p;
}

static void scope_free(void *p)
{
    if (!fmp_arena_owns(p)) { free(p); }
}

void fmp_json_install_hooks(void)
{
    cJSON_Hooks hooks = {scope_malloc, scope_free};
    cJSON_InitHooks(&hooks);
}

static void *take(parser *ps, size_t size)
{
    if (!ps->arena) { return cJSON_malloc(size); }
    void *p = arena_take(ps->arena, size);
    return ps->arena->failed ? NULL : p;
}

/* ---- errors ---- */

/* Give `status`, just raised, the position of `where`. */
static fmp_status at(const parser *ps, const char *where, fmp_status status)
{
    uint32_t line = 1;
    const char *start = ps->text;
    for (const char *p = ps->text; p < where; p++) {
        if (*p == '\n') {
            line++;
            start = p + 1;
        }
    }
    fmp_err_at(ps->err, NULL, line, (uint32_t)(where - start) + 1, (uint64_t)(where - ps->text));
    return status;
}

/* Malformed at `where`. */
FMP_PRINTF(3, 4) static fmp_status wrong(const parser *ps, const char *where, const char *fmt, ...)
{
    char message[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    return at(ps, where, fmp_fail(ps->err, FMP_E_DATA, "%s", message));
}

static fmp_status no_memory(const parser *ps)
{
    if (ps->arena) { FMP_TRY(fmp_arena_ok(ps->arena, ps->err)); }
    return fmp_fail(ps->err, FMP_E_NOMEM, "out of memory while reading JSON");
}

static const char *found(const parser *ps, const char *p, char out[FOUND_BYTES])
{
    if (p >= ps->end) { return "the end of the text"; }
    unsigned char c = (unsigned char)*p;
    if (c > 0x20 && c < 0x7F) {
        snprintf(out, FOUND_BYTES, "'%c'", c);
    } else {
        snprintf(out, FOUND_BYTES, "byte 0x%02X", c);
    }
    return out;
}

static fmp_status expected(const parser *ps, const char *p, const char *what)
{
    char buf[FOUND_BYTES];
    return wrong(ps, p, "expected %s, found %s", what, found(ps, p, buf));
}

static bool starts_with(const char *p, const char *end, const char *word)
{
    size_t n = strlen(word);
    return (size_t)(end - p) >= n && memcmp(p, word, n) == 0;
}

static fmp_status not_a_value(const parser *ps, const char *p, const char *what)
{
    static const char *const words[] = {"NaN",  "Infinity", "-Infinity", "-NaN",
                                        "None", "True",     "False",     "undefined"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (starts_with(p, ps->end, words[i])) {
            return wrong(ps, p, "expected %s, found %s, which is not JSON", what, words[i]);
        }
    }
    if (p == ps->text && starts_with(p, ps->end, "\xEF\xBB\xBF")) {
        fmp_fail(ps->err, FMP_E_DATA, "expected %s, found a byte order mark (EF BB BF)", what);
        fmp_err_hint(ps->err, "save the file as UTF-8 without a byte order mark");
        return at(ps, p, FMP_E_DATA);
    }
    if (p < ps->end && *p == '\'') {
        return wrong(ps, p, "expected %s, found a single quote: JSON strings take \"", what);
    }
    return expected(ps, p, what);
}

/* ---- duplicate keys ---- */

static uint64_t hash_secret;
static pthread_once_t hash_once = PTHREAD_ONCE_INIT;

static void hash_seed(void)
{
    if (getrandom(&hash_secret, sizeof hash_secret, GRND_NONBLOCK) != (ssize_t)sizeof hash_secret) {
        hash_secret = (uint64_t)(uintptr_t)&hash_secret;
    }
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t hash_key(const char *key, size_t len)
{
    uint64_t h = hash_secret ^ mix(len ^ 0x9E3779B97F4A7C15u, hash_secret | 1);
    while (len > 0) {
        uint64_t word = 0;
        size_t n = len < 8 ? len : 8;
        memcpy(&word, key, n);
        h = mix(h ^ word, 0xD6E8FEB86659FD93u ^ hash_secret);
        key += n;
        len -= n;
    }
    return h ^ h >> 32;
}

/* The slot that holds the key, or the empty one where it belongs. */
static key_slot *slot_of(const key_set *set, const char *key, size_t len, uint64_t hash)
{
    size_t i = (size_t)hash & (set->cap - 1);
    for (;; i = (i + 1) & (set->cap - 1)) {
        key_slot *slot = &set->slots[i];
        if (!slot->key) { return slot; }
        if (slot->hash == hash && slot->len == len && memcmp(slot->key, key, len) == 0) { return slot; }
    }
}

static bool set_grow(key_set *set)
{
    key_set bigger = {.cap = set->cap ? set->cap * 2 : 4 * PAIRWISE_KEYS_MAX, .n = set->n};
    bigger.slots = calloc(bigger.cap, sizeof *bigger.slots);
    if (!bigger.slots) { return false; }
    for (size_t i = 0; i < set->cap; i++) {
        const key_slot *old = &set->slots[i];
        if (old->key) { *slot_of(&bigger, old->key, old->len, old->hash) = *old; }
    }
    free(set->slots);
    *set = bigger;
    return true;
}

/* False only when out of memory. */
static bool set_add(key_set *set, const char *key, size_t len, bool *fresh)
{
    if (set->n * 2 >= set->cap && !set_grow(set)) { return false; }
    uint64_t hash = hash_key(key, len);
    key_slot *slot = slot_of(set, key, len, hash);
    *fresh = slot->key == NULL;
    if (*fresh) {
        *slot = (key_slot){key, len, hash};
        set->n++;
    }
    return true;
}

static bool key_among_children(const frame *f, const char *key)
{
    for (const cJSON *c = f->node->child; c; c = c->next) {
        if (strcmp(c->string, key) == 0) { return true; }
    }
    return false;
}

static bool set_of_children(frame *f)
{
    pthread_once(&hash_once, hash_seed);
    bool fresh;
    for (const cJSON *c = f->node->child; c; c = c->next) {
        if (!set_add(&f->keys, c->string, strlen(c->string), &fresh)) { return false; }
    }
    return true;
}

static fmp_status check_key(parser *ps, frame *f, const char *key, size_t len, const char *where)
{
    bool fresh = true;
    if (f->n < PAIRWISE_KEYS_MAX) {
        unsigned first = (unsigned char)key[0], last = len > 0 ? (unsigned char)key[len - 1] : 0;
        uint64_t bit = (uint64_t)1 << ((len * 5 + first * 7 + last * 3) & 63);
        if (f->seen & bit) { fresh = !key_among_children(f, key); }
        f->seen |= bit;
    } else {
        if (f->n == PAIRWISE_KEYS_MAX && !set_of_children(f)) { return no_memory(ps); }
        if (!set_add(&f->keys, key, len, &fresh)) { return no_memory(ps); }
    }
    if (fresh) { return FMP_OK; }
    size_t shown = len < KEY_SHOWN_BYTES ? len : KEY_SHOWN_BYTES;
    while (shown < len && ((unsigned char)key[shown] & 0xC0) == 0x80) {
        shown--;
    } /* whole characters */
    return wrong(ps, where, "the key \"%.*s\" occurs twice in one object", (int)shown, key);
}

/* ---- strings ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') { return c - '0'; }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits at p, or -1. */
static int32_t hex4(const char *p, const char *end)
{
    if (end - p < 4) { return -1; }
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0) { return -1; }
        value = value << 4 | digit;
    }
    return value;
}

static char *put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xC0 | c >> 6);
        *out++ = (char)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        *out++ = (char)(0xE0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 0x3F));
        *out++ = (char)(0x80 | (c & 0x3F));
    } else {
        *out++ = (char)(0xF0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 0x3F));
        *out++ = (char)(0x80 | (c >> 6 & 0x3F));
        *out++ = (char)(0x80 | (c & 0x3F));
    }
    return out;
}

/* *pp is behind "\u"; leaves it behind the escape, or behind both halves of a pair. */
static fmp_status unescape_unicode(const parser *ps, const char **pp, const char *end, char **out)
{
    const char *p = *pp;
    const char *escape = p - 2;
    int32_t unit = hex4(p, end);
    if (unit < 0) { return wrong(ps, escape, "expected four hexadecimal digits after \\u"); }
    p += 4;
    uint32_t c = (uint32_t)unit;
    if (unit == 0) { return wrong(ps, escape, "found \\u0000: a NUL character cannot be held in a string"); }
    if (unit >= 0xD800 && unit <= 0xDFFF) {
        int32_t low = -1;
        if (unit <= 0xDBFF && end - p >= 6 && p[0] == '\\' && p[1] == 'u') { low = hex4(p + 2, end); }
        if (low < 0xDC00 || low > 0xDFFF) {
            return wrong(ps, escape,
                         "found the lone surrogate \\u%04x: expected a pair "
                         "\\ud800-\\udbff, \\udc00-\\udfff",
                         (unsigned)unit);
        }
        p += 6;
        c = 0x10000 + ((c - 0xD800) << 10) + ((uint32_t)low - 0xDC00);
    }
    *out = put_utf8(*out, c);
    *pp = p;
    return FMP_OK;
}

/* *pp is at a backslash. */
static fmp_status unescape(const parser *ps, const char **pp, const char *end, char **out)
{
    const char *p = *pp + 1;
    char c;
    switch (*p) { /* the scan that found the end of the string made sure of one byte here */
    case '"':
    case '\\':
    case '/': c = *p; break;
    case 'b': c = '\b'; break;
    case 'f': c = '\f'; break;
    case 'n': c = '\n'; break;
    case 'r': c = '\r'; break;
    case 't': c = '\t'; break;
    case 'u': *pp = p + 1; return unescape_unicode(ps, pp, end, out);
    default: {
        char buf[FOUND_BYTES];
        return wrong(ps, *pp,
                     "expected one of \" \\ / b f n r t u after a backslash, "
                     "found %s",
                     found(ps, p, buf));
    }
    }
    *(*out)++ = c;
    *pp = p + 1;
    return FMP_OK;
}

/* Copy p..end, which has no unescaped quote, to `out`; the result is never longer than the source. */
static fmp_status copy_unescaped(const parser *ps, const char *p, const char *end, char **out)
{
    char *to = *out;
    while (p < end) {
#if defined(__SSE2__)
        if (end - p >= 16) {
            __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
            unsigned mask = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
            _mm_storeu_si128((__m128i *)(void *)to, v);
            int n = mask ? __builtin_ctz(mask) : 16;
            p += n;
            to += n;
            if (!mask) { continue; }
        }
#endif
        if (*p == '\\') {
            FMP_TRY(unescape(ps, &p, end, &to));
        } else {
            *to++ = *p++;
        }
    }
    *out = to;
    return FMP_OK;
}

static fmp_status check_utf8(const parser *ps, const char *from, const char *to)
{
    size_t n = (size_t)(to - from);
    size_t bad = fmp_utf8_invalid_at(from, n);
    if (bad == n) { return FMP_OK; }
    return wrong(ps, from + bad,
                 "expected UTF-8, found an invalid sequence at byte 0x%02X "
                 "in a string",
                 (unsigned char)from[bad]);
}

/* ps->p is behind the opening quote; on success behind the closing one. */
static fmp_status parse_string(parser *ps, char **out, size_t *len)
{
    const char *start = ps->p;
    const char *p = start;
    bool escaped = false;
    for (;;) {
        bool non_ascii = false;
        const char *stop = json_scan_body(p, ps->end, &non_ascii);
        if (non_ascii) { FMP_TRY(check_utf8(ps, p, stop)); }
        p = stop;
        if (p == ps->end) {
            return wrong(ps, start - 1,
                         "expected the closing quote of the string that "
                         "begins here, found the end of the text");
        }
        if (*p == '"') { break; }
        if (*p != '\\') {
            return wrong(ps, p,
                         "expected an escape, found the control character 0x%02X as "
                         "it is in a string",
                         (unsigned char)*p);
        }
        escaped = true;
        p += 2;
        if (p >= ps->end) { return expected(ps, ps->end, "the rest of a string"); }
        if ((unsigned char)p[-1] >= 0x80 || (unsigned char)p[-1] < 0x20) {
            p--;
        } /* the scan judges this byte */
    }
    size_t n = (size_t)(p - start);
    char *text = take(ps, n + 1);
    if (!text) { return no_memory(ps); }
    *out = text; /* the caller owns it from here, whatever follows */
    char *end = text + n;
    text[0] = '\0';
    if (escaped) {
        end = text;
        fmp_status status = copy_unescaped(ps, start, p, &end);
        if (status != FMP_OK) {
            *end = '\0';
            return status;
        }
    } else {
        memcpy(text, start, n);
    }
    *end = '\0';
    *len = (size_t)(end - text);
    ps->p = p + 1;
    return FMP_OK;
}

/* ---- numbers ---- */

typedef struct number_text {
    const char *start;
    const char *end;
    uint64_t digits; /* the digits before the exponent as one integer, exact if n_digits <= 18 */
    int n_digits;
    int n_fraction;
    bool negative;
    bool has_exponent;
} number_text;

static const char *scan_digits(const char *p, const char *end, number_text *t)
{
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        if (t->n_digits < 18) { t->digits = t->digits * 10 + (uint64_t)(*p - '0'); }
        if (t->n_digits < INT_MAX) { t->n_digits++; }
    }
    return p;
}

static fmp_status scan_number(parser *ps, number_text *t)
{
    const char *p = ps->p;
    *t = (number_text){.start = p};
    if (*p == '-') {
        t->negative = true;
        p++;
    }
    if (p == ps->end || *p < '0' || *p > '9') {
        if (starts_with(ps->p, ps->end, "-I") || starts_with(ps->p, ps->end, "-N")) {
            return not_a_value(ps, ps->p, "a number");
        }
        return expected(ps, p, "a digit after '-'");
    }
    const char *first = p;
    p = scan_digits(p, ps->end, t);
    if (*first == '0' && p - first > 1) {
        return wrong(ps, first, "expected no digit after a leading zero, found '%c'", first[1]);
    }
    if (p < ps->end && *p == '.') {
        const char *point = p++;
        p = scan_digits(p, ps->end, t);
        if (p == point + 1) { return expected(ps, p, "a digit after the decimal point"); }
        t->n_fraction = p - point - 1 < INT_MAX ? (int)(p - point - 1) : INT_MAX;
    }
    if (p < ps->end && (*p == 'e' || *p == 'E')) {
        t->has_exponent = true;
        p++;
        if (p < ps->end && (*p == '+' || *p == '-')) { p++; }
        const char *exponent = p;
        while (p < ps->end && *p >= '0' && *p <= '9') {
            p++;
        }
        if (p == exponent) { return expected(ps, p, "a digit in the exponent"); }
    }
    t->end = p;
    ps->p = p;
    return FMP_OK;
}

/*
 * Whether the text is what fmp_json_number_text_ would print, judged from its shape alone: at most 15
 * digits, no trailing zero in the fraction, and not so small that %g would turn to an exponent. Both
 * operands of the division are exact, so its result is the nearest double.
 */
static bool plain_number(const number_text *t, double *value)
{
    static const double pow10[EXACT_DIGITS + 1] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                   1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    if (t->has_exponent || t->n_digits > EXACT_DIGITS || t->digits == 0) {
        *value = 0.0;
        return !t->has_exponent && t->n_digits == 1 && !t->negative;
    }
    if (t->n_fraction > 0 && (t->end[-1] == '0' || (double)t->digits * 1e4 < pow10[t->n_fraction])) {
        return false;
    }
    double magnitude = (double)t->digits / pow10[t->n_fraction];
    *value = t->negative ? -magnitude : magnitude;
    return true;
}

/* For every other shape: print and compare. */
static bool printed_number(const number_text *t, double *value)
{
    char text[JSON_NUMBER_TEXT_BYTES], again[JSON_NUMBER_TEXT_BYTES];
    size_t n = (size_t)(t->end - t->start);
    if (n >= sizeof text) { return false; }
    memcpy(text, t->start, n);
    text[n] = '\0';
    *value = strtod(text, NULL);
    return fmp_json_number_text_(*value, again) == n && memcmp(text, again, n) == 0;
}

static int saturated_int(double value)
{
    if (value >= INT_MAX) { return INT_MAX; }
    return value <= (double)INT_MIN ? INT_MIN : (int)value;
}

static fmp_status parse_number(parser *ps, cJSON *node)
{
    number_text t;
    double value;
    FMP_TRY(scan_number(ps, &t));
    if (plain_number(&t, &value) || printed_number(&t, &value)) {
        node->type = cJSON_Number;
        node->valuedouble = value;
        node->valueint = saturated_int(value);
        return FMP_OK;
    }
    size_t n = (size_t)(t.end - t.start);
    node->valuestring = take(ps, n + 1);
    if (!node->valuestring) { return no_memory(ps); }
    memcpy(node->valuestring, t.start, n);
    node->valuestring[n] = '\0';
    node->type = cJSON_Raw;
    return FMP_OK;
}

/* ---- structure ---- */

static void skip_space(parser *ps)
{
    while (ps->p < ps->end && (*ps->p == ' ' || *ps->p == '\n' || *ps->p == '\t' || *ps->p == '\r')) {
        ps->p++;
    }
}

static fmp_status push(parser *ps, cJSON *node, const char *where)
{
    if (ps->n_frames >= ps->max_depth) {
        return at(ps, where,
                  fmp_fail(ps->err, FMP_E_RANGE, "nested more than %u levels deep", ps->max_depth));
    }
    if (ps->n_frames == ps->cap_frames) {
        uint32_t cap = ps->cap_frames > UINT32_MAX / 2 ? UINT32_MAX : ps->cap_frames * 2;
        frame *frames = malloc((size_t)cap * sizeof *frames);
        if (!frames) { return no_memory(ps); }
        memcpy(frames, ps->frames, (size_t)ps->n_frames * sizeof *frames);
        if (ps->frames != ps->local) { free(ps->frames); }
        ps->frames = frames;
        ps->cap_frames = cap;
    }
    ps->frames[ps->n_frames++] = (frame){.node = node};
    return FMP_OK;
}

static void pop(parser *ps)
{
    frame *f = &ps->frames[--ps->n_frames];
    free(f->keys.slots);
    ps->p++;
}

static cJSON *new_node(parser *ps, char *key)
{
    cJSON *node = take(ps, sizeof *node);
    if (!node) { return NULL; }
    *node = (cJSON){.string = key};
    return node;
}

/* As the last child of the innermost container; the first child's prev is the last child, as cJSON has it. */
static void link_node(parser *ps, cJSON *node)
{
    if (ps->n_frames == 0) {
        ps->root = node;
        return;
    }
    frame *f = &ps->frames[ps->n_frames - 1];
    if (f->last) {
        f->last->next = node;
        node->prev = f->last;
    } else {
        f->node->child = node;
    }
    f->node->child->prev = node;
    f->last = node;
    f->n++;
}

static fmp_status parse_word(parser *ps, cJSON *node, const char *word, int type)
{
    if (!starts_with(ps->p, ps->end, word)) { return not_a_value(ps, ps->p, "a value"); }
    ps->p += strlen(word);
    node->type = type;
    node->valueint = type == cJSON_True;
    return FMP_OK;
}

static fmp_status parse_value(parser *ps, cJSON *node)
{
    const char *where = ps->p;
    if (where == ps->end) { return expected(ps, where, "a value"); }
    switch (*where) {
    case '{':
    case '[':
        node->type = *where == '{' ? cJSON_Object : cJSON_Array;
        ps->p++;
        return push(ps, node, where);
    case '"': {
        size_t len;
        ps->p++;
        node->type = cJSON_String;
        return parse_string(ps, &node->valuestring, &len);
    }
    case 't': return parse_word(ps, node, "true", cJSON_True);
    case 'f': return parse_word(ps, node, "false", cJSON_False);
    case 'n': return parse_word(ps, node, "null", cJSON_NULL);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9': return parse_number(ps, node);
    default: return not_a_value(ps, where, "a value");
    }
}

static void drop_text(const parser *ps, char *text)
{
    if (!ps->arena) { cJSON_free(text); }
}

/* "key" : of the next member, its key checked. */
static fmp_status parse_key(parser *ps, frame *f, char **key)
{
    size_t len = 0;
    const char *where = ps->p;
    if (where == ps->end || *where != '"') { return not_a_value(ps, where, "a key in double quotes"); }
    ps->p++;
    FMP_TRY(parse_string(ps, key, &len));
    if (!ps->allow_duplicates) { FMP_TRY(check_key(ps, f, *key, len, where)); }
    skip_space(ps);
    if (ps->p == ps->end || *ps->p != ':') { return expected(ps, ps->p, "':' after a key"); }
    ps->p++;
    skip_space(ps);
    return FMP_OK;
}

/* The next member of the innermost container, or its end. */
static fmp_status parse_member(parser *ps)
{
    frame *f = &ps->frames[ps->n_frames - 1];
    bool is_object = f->node->type == cJSON_Object;
    char closer = is_object ? '}' : ']';
    skip_space(ps);
    if (ps->p < ps->end && *ps->p == closer) {
        pop(ps);
        return FMP_OK;
    }
    if (f->n > 0) {
        if (ps->p == ps->end || *ps->p != ',') {
            return expected(ps, ps->p, is_object ? "',' or '}'" : "',' or ']'");
        }
        ps->p++;
        skip_space(ps);
        if (ps->p < ps->end && *ps->p == closer) {
            return wrong(ps, ps->p, "expected another member after ',', found '%c'", closer);
        }
    }
    char *key = NULL;
    fmp_status status = is_object ? parse_key(ps, f, &key) : FMP_OK;
    cJSON *node = status == FMP_OK ? new_node(ps, key) : NULL;
    if (!node) {
        drop_text(ps, key);
        return status != FMP_OK ? status : no_memory(ps);
    }
    link_node(ps, node);
    return parse_value(ps, node);
}

static fmp_status parse_text(parser *ps)
{
    skip_space(ps);
    cJSON *node = new_node(ps, NULL);
    if (!node) { return no_memory(ps); }
    link_node(ps, node);
    FMP_TRY(parse_value(ps, node));
    while (ps->n_frames > 0) {
        FMP_TRY(parse_member(ps));
    }
    skip_space(ps);
    if (ps->p != ps->end) { return expected(ps, ps->p, "nothing after the JSON value"); }
    return FMP_OK;
}

fmp_status fmp_json_parse(const char *text, size_t len, const fmp_json_limits *limits, cJSON **out,
                          fmp_err *err)
{
    static const fmp_json_limits defaults = {0};
    if (!limits) { limits = &defaults; }
    size_t max_bytes = limits->max_bytes ? limits->max_bytes : DEFAULT_MAX_BYTES;
    *out = NULL;
    if (len > max_bytes) {
        return fmp_fail(err, FMP_E_RANGE, "the JSON text has %zu bytes, more than the limit of %zu", len,
                        max_bytes);
    }
    if (!text) { text = ""; }
    parser ps; /* not cleared as a whole: the frames are 5 KB, and rows are small */
    ps.text = ps.p = text;
    ps.end = text + len;
    ps.arena = scope;
    ps.root = NULL;
    ps.frames = ps.local;
    ps.n_frames = 0;
    ps.cap_frames = LOCAL_FRAMES;
    ps.max_depth = limits->max_depth ? limits->max_depth : DEFAULT_MAX_DEPTH;
    ps.allow_duplicates = limits->allow_duplicates;
    ps.err = err;
    fmp_status status = parse_text(&ps);
    for (uint32_t i = 0; i < ps.n_frames; i++) {
        free(ps.frames[i].keys.slots);
    }
    if (ps.frames != ps.local) { free(ps.frames); }
    if (status == FMP_OK) {
        *out = ps.root;
    } else if (!ps.arena) {
        cJSON_Delete(ps.root);
    }
    return status;
}

fmp_status fmp_json_load(const char *path, const fmp_json_limits *limits, cJSON **out, fmp_err *err)
{
    fmp_buf text = {0};
    size_t max_bytes = limits && limits->max_bytes ? limits->max_bytes : DEFAULT_MAX_BYTES;
    *out = NULL;
    fmp_status status = fmp_read_file(path, max_bytes, &text, err);
    if (status == FMP_OK) {
        status = fmp_json_parse(text.data, text.len, limits, out, err);
        if (status != FMP_OK && err) { fmp_err_at(err, path, err->line, err->column, err->offset); }
    }
    fmp_buf_free(&text);
    return status;
}
