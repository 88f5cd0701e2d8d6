/*
 * key.c: the action key and the reason for a miss.
 *
 * cJSON's printed text is never hashed: the tree is walked, keys in byte order, each value preceded by its
 * type and each text by its length.
 */
#include "key.h"

#include <fmpipe/fs.h>
#include <stdlib.h>

#define DEPTH_MAX   128
#define SHOWN_BYTES 60

/* ----------------------------------------------------------------------------------------------- preimage */

static cJSON *policy_json(const fmp_stage_node *node)
{
    if (node->on_bad == FMP_ON_BAD_SKIP) { return cJSON_CreateString("skip"); }
    if (node->on_bad == FMP_ON_BAD_FAIL) { return cJSON_CreateString("fail"); }
    cJSON *policy = cJSON_CreateObject();
    cJSON_AddNumberToObject(policy, "limit", (double)node->bad_limit);
    return policy;
}

cJSON *fmp_key_preimage(const fmp_stage_node *node, cJSON *inputs, const char *numeric_env)
{
    char seed[24];
    (void)snprintf(seed, sizeof seed, "%" PRIu64, node->seed); /* text: a u64 does not fit a JSON number */
    cJSON *preimage = cJSON_CreateObject();
    cJSON *options = node->key_values ? cJSON_Duplicate(node->key_values, true) : cJSON_CreateObject();
    cJSON_AddNumberToObject(preimage, "format", FMP_KEY_FORMAT);
    cJSON_AddStringToObject(preimage, "stage", node->info->name);
    cJSON_AddNumberToObject(preimage, "version", node->info->version);
    cJSON_AddStringToObject(preimage, "plugin", node->info->plugin->digest);
    cJSON_AddItemToObject(preimage, "inputs", inputs);
    cJSON_AddItemToObject(preimage, "options", options);
    cJSON_AddStringToObject(preimage, "seed", seed);
    if (node->info->kind != FMP_TASK) { cJSON_AddItemToObject(preimage, "on_bad", policy_json(node)); }
    if (numeric_env) { cJSON_AddStringToObject(preimage, "numeric_env", numeric_env); }
    return preimage;
}

static void add_framed(fmp_sha256 *h, char type, const char *text)
{
    unsigned char head[9] = {(unsigned char)type};
    uint64_t len = strlen(text);
    for (int i = 0; i < 8; i++) {
        head[1 + i] = (unsigned char)(len >> (8 * i));
    }
    fmp_sha256_add(h, head, sizeof head);
    fmp_sha256_add(h, text, (size_t)len);
}

static void add_count(fmp_sha256 *h, char type, uint64_t n)
{
    unsigned char head[9] = {(unsigned char)type};
    for (int i = 0; i < 8; i++) {
        head[1 + i] = (unsigned char)(n >> (8 * i));
    }
    fmp_sha256_add(h, head, sizeof head);
}

static int by_key(const void *a, const void *b)
{
    const cJSON *const *x = a, *const *y = b;
    return strcmp((*x)->string, (*y)->string);
}

static bool encode(fmp_sha256 *h, const cJSON *node, int depth);

static bool encode_object(fmp_sha256 *h, const cJSON *node, int depth)
{
    size_t n = 0;
    const cJSON *member;
    cJSON_ArrayForEach(member, node)
    {
        n++;
    }
    const cJSON **members = calloc(n ? n : 1, sizeof *members);
    if (!members) { return false; }
    n = 0;
    cJSON_ArrayForEach(member, node)
    {
        members[n++] = member;
    }
    if (n > 1) { qsort(members, n, sizeof *members, by_key); }
    add_count(h, 'O', n);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        add_framed(h, 'K', members[i]->string);
        ok = encode(h, members[i], depth + 1);
    }
    free(members);
    return ok;
}

static bool encode(fmp_sha256 *h, const cJSON *node, int depth)
{
    if (depth > DEPTH_MAX) { return false; }
    if (cJSON_IsObject(node)) { return encode_object(h, node, depth); }
    if (cJSON_IsArray(node)) {
        const cJSON *item;
        add_count(h, 'A', (uint64_t)cJSON_GetArraySize(node));
        cJSON_ArrayForEach(item, node)
        {
            if (!encode(h, item, depth + 1)) { return false; }
        }
        return true;
    }
    if (cJSON_IsString(node)) {
        add_framed(h, 'S', node->valuestring);
    } else if (cJSON_IsNumber(node)) {
        char text[40];
        (void)snprintf(text, sizeof text, "%.17g", node->valuedouble);
        add_framed(h, 'N', text);
    } else if (cJSON_IsRaw(node)) {
        add_framed(h, 'R', node->valuestring);
    } else {
        add_count(h, cJSON_IsTrue(node) ? 'T' : cJSON_IsFalse(node) ? 'F' : 'Z', 0);
    }
    return true;
}

fmp_status fmp_key_digest(const cJSON *preimage, char key[65], fmp_err *err)
{
    unsigned char sum[32];
    fmp_sha256 *h = fmp_sha256_new();
    if (!h) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for an action key"); }
    bool ok = encode(h, preimage, 0);
    fmp_sha256_end(h, sum);
    fmp_hex(sum, sizeof sum, key);
    return ok ? FMP_OK
              : fmp_fail(err, FMP_E_RANGE, "expected option values at most %d levels deep", DEPTH_MAX);
}

/* -------------------------------------------------------------------------------------------- differences */

typedef struct difference {
    char path[256]; /* "options.augment.rename" */
    const cJSON *now, *last;
} difference;

typedef void (*difference_fn)(void *arg, const difference *d);

static void walk(const char *path, const cJSON *now, const cJSON *last, int depth, difference_fn fn,
                 void *arg);

static void walk_object(const char *path, const cJSON *now, const cJSON *last, int depth, difference_fn fn,
                        void *arg)
{
    char child[256];
    const cJSON *m;
    cJSON_ArrayForEach(m, now)
    {
        (void)snprintf(child, sizeof child, "%s%s%s", path, *path ? "." : "", m->string);
        walk(child, m, fmp_json_get(last, m->string), depth + 1, fn, arg);
    }
    cJSON_ArrayForEach(m, last)
    {
        if (fmp_json_get(now, m->string)) { continue; }
        (void)snprintf(child, sizeof child, "%s%s%s", path, *path ? "." : "", m->string);
        walk(child, NULL, m, depth + 1, fn, arg);
    }
}

static void walk(const char *path, const cJSON *now, const cJSON *last, int depth, difference_fn fn,
                 void *arg)
{
    if (now && last && fmp_json_equal(now, last)) { return; }
    if (depth < DEPTH_MAX && cJSON_IsObject(now) && cJSON_IsObject(last)) {
        walk_object(path, now, last, depth, fn, arg);
        return;
    }
    if (depth < DEPTH_MAX && cJSON_IsArray(now) && cJSON_IsArray(last) &&
        cJSON_GetArraySize(now) == cJSON_GetArraySize(last)) {
        const cJSON *a = now->child, *b = last->child;
        for (size_t i = 0; a && b; i++, a = a->next, b = b->next) {
            char child[256];
            (void)snprintf(child, sizeof child, "%s[%zu]", path, i);
            walk(child, a, b, depth + 1, fn, arg);
        }
        return;
    }
    difference d = {.now = now, .last = last};
    (void)snprintf(d.path, sizeof d.path, "%s", path);
    fn(arg, &d);
}

static void add_difference(void *arg, const difference *d)
{
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "field", d->path);
    if (d->last) { cJSON_AddItemToObject(row, "last", cJSON_Duplicate(d->last, true)); }
    if (d->now) { cJSON_AddItemToObject(row, "now", cJSON_Duplicate(d->now, true)); }
    cJSON_AddItemToArray(arg, row);
}

cJSON *fmp_key_differences(const cJSON *now, const cJSON *last)
{
    cJSON *rows = cJSON_CreateArray();
    if (rows) { walk("", now, last, 0, add_difference, rows); }
    return rows;
}

/* ------------------------------------------------------------------------------------------------ reasons */

typedef struct compare {
    const fmp_pipeline *p;
    const fmp_stage_node *node;
    fmp_arena *arena;
    fmp_key_reason found;
} compare;

/* A value as one short text; long ones are cut at a character. */
static const char *shown(fmp_arena *arena, const cJSON *value)
{
    if (!value) { return "absent"; }
    fmp_buf text = {0};
    fmp_json_print(value, FMP_JSON_COMPACT, &text);
    const char *out = "?";
    if (!text.failed && text.data) {
        size_t n = text.len;
        if (n > SHOWN_BYTES) {
            n = SHOWN_BYTES;
            while (n > 0 && ((unsigned char)text.data[n] & 0xC0) == 0x80) {
                n--;
            }
        }
        out = fmp_arena_printf(arena, "%.*s%s", (int)n, text.data, n < text.len ? "…" : "");
    }
    fmp_buf_free(&text);
    return out;
}

static bool is_digest(const cJSON *value)
{
    return cJSON_IsString(value) && strlen(value->valuestring) == 64 &&
           strspn(value->valuestring, "0123456789abcdef") == 64;
}

static void first_option(void *arg, const difference *d)
{
    compare *c = arg;
    if (c->found.reason) { return; }
    for (size_t i = 0; i < c->node->n_files; i++) {
        const char *option = c->node->files[i].option;
        size_t n = strlen(option);
        bool inside =
            strncmp(d->path, option, n) == 0 && (!d->path[n] || d->path[n] == '[' || d->path[n] == '.');
        if (inside && (is_digest(d->now) || is_digest(d->last) || cJSON_IsArray(d->now))) {
            c->found.reason = fmp_arena_printf(c->arena, "INPUT(%s)", option);
            c->found.detail = fmp_arena_printf(c->arena, "the files of option %s changed", option);
            return;
        }
    }
    c->found.reason = fmp_arena_printf(c->arena, "CONFIG(%s)", d->path);
    c->found.detail = fmp_arena_printf(c->arena, "option %s changed (%s → %s)", d->path,
                                       shown(c->arena, d->last), shown(c->arena, d->now));
}

static const char *producer_of(const compare *c, const char *role)
{
    for (size_t i = 0; i < c->node->n_links; i++) {
        const fmp_link *link = &c->node->links[i];
        if (strcmp(link->in->name, role) == 0 && link->stage >= 0) { return c->p->stages[link->stage].id; }
    }
    return "the base model";
}

static bool names_base(const cJSON *digests)
{
    const cJSON *digest;
    cJSON_ArrayForEach(digest, digests)
    {
        if (cJSON_IsString(digest) && strncmp(digest->valuestring, "base:", 5) == 0) { return true; }
    }
    return false;
}

static void compare_inputs(compare *c, const cJSON *now, const cJSON *last)
{
    const cJSON *role;
    cJSON_ArrayForEach(role, now)
    {
        const cJSON *before = fmp_json_get(last, role->string);
        if (before && fmp_json_equal(role, before)) { continue; }
        if (names_base(role) && (!before || names_base(before))) {
            c->found = (fmp_key_reason){"BASE_MODEL", "the base model changed"};
            return;
        }
        c->found.reason = fmp_arena_printf(c->arena, "INPUT(%s)", role->string);
        c->found.detail =
            fmp_arena_printf(c->arena, "its input from '%s' changed", producer_of(c, role->string));
        return;
    }
    cJSON_ArrayForEach(role, last)
    {
        if (fmp_json_get(now, role->string)) { continue; }
        c->found.reason = fmp_arena_printf(c->arena, "INPUT(%s)", role->string);
        c->found.detail = fmp_arena_printf(c->arena, "its input %s is no longer connected", role->string);
        return;
    }
}

static bool same(const cJSON *now, const cJSON *last, const char *field)
{
    const cJSON *a = fmp_json_get(now, field), *b = fmp_json_get(last, field);
    return (!a && !b) || (a && b && fmp_json_equal(a, b));
}

static void compare_plugin(compare *c, const cJSON *now, const cJSON *last)
{
    c->found.reason = "PLUGIN";
    if (!same(now, last, "stage")) {
        c->found.detail = fmp_arena_printf(c->arena, "stage %s took the place of %s",
                                           fmp_json_str(now, "stage", "?"), fmp_json_str(last, "stage", "?"));
    } else if (!same(now, last, "version")) {
        c->found.detail = fmp_arena_printf(c->arena, "stage version changed (%.0f → %.0f)",
                                           fmp_json_num(last, "version", 0), fmp_json_num(now, "version", 0));
    } else if (!same(now, last, "plugin")) {
        c->found.detail = fmp_arena_printf(c->arena, "plugin %s changed (sha256:%.8s… → %.8s…)",
                                           c->node->info->plugin->name, fmp_json_str(last, "plugin", ""),
                                           fmp_json_str(now, "plugin", ""));
    } else {
        c->found.detail = "the engine's cache format changed";
    }
}

fmp_key_reason fmp_key_compare(const fmp_pipeline *p, const fmp_stage_node *node, const cJSON *now,
                               const cJSON *last, fmp_arena *arena)
{
    compare c = {.p = p, .node = node, .arena = arena};
    if (!last) { return (fmp_key_reason){"NEW", "it has not run before"}; }
    if (!same(now, last, "stage") || !same(now, last, "version") || !same(now, last, "plugin") ||
        !same(now, last, "format")) {
        compare_plugin(&c, now, last);
        return c.found;
    }
    walk("", fmp_json_get(now, "options"), fmp_json_get(last, "options"), 0, first_option, &c);
    if (!c.found.reason) { compare_inputs(&c, fmp_json_get(now, "inputs"), fmp_json_get(last, "inputs")); }
    if (!c.found.reason && !same(now, last, "seed")) {
        c.found = (fmp_key_reason){"SEED", fmp_arena_printf(arena, "seed changed (%s → %s)",
                                                            fmp_json_str(last, "seed", "?"),
                                                            fmp_json_str(now, "seed", "?"))};
    }
    if (!c.found.reason && !same(now, last, "on_bad")) {
        const char *was = shown(arena, fmp_json_get(last, "on_bad"));
        c.found =
            (fmp_key_reason){"CONFIG(on_bad)", fmp_arena_printf(arena, "policy on_bad changed (%s → %s)", was,
                                                                shown(arena, fmp_json_get(now, "on_bad")))};
    }
    if (!c.found.reason && !same(now, last, "numeric_env")) {
        c.found = (fmp_key_reason){"NUMERIC_ENV",
                                   fmp_arena_printf(arena, "the numeric environment changed (%s → %s)",
                                                    fmp_json_str(last, "numeric_env", "none"),
                                                    fmp_json_str(now, "numeric_env", "none"))};
    }
    return c.found;
}
