/*
 * Identity inside one document: "$id" opens a resource with a URI of its own, "$anchor" names a place in it,
 * "$ref" is resolved against the resource around it (RFC 3986). Nothing is ever fetched: a URI that no "$id"
 * of the document has is refused by name. Read schema_resolve last.
 */
#include "schema_private.h"

#include <stdlib.h>

/* ---------------------------------------------------------------------------------------------- URIs */

typedef struct span {
    const char *at;
    size_t len;
    bool there;
} span;

typedef struct uri_parts {
    span scheme, authority, path, query;
} uri_parts;

/* RFC 3986 appendix B, without the fragment. */
static uri_parts split_uri(const char *uri)
{
    uri_parts out = {0};
    const char *p = uri, *end = uri + strcspn(uri, "#");
    size_t n = strcspn(p, ":/?#");
    if (p[n] == ':' && n > 0) {
        out.scheme = (span){p, n, true};
        p += n + 1;
    }
    if (p[0] == '/' && p[1] == '/') {
        p += 2;
        n = strcspn(p, "/?#");
        out.authority = (span){p, n, true};
        p += n;
    }
    n = strcspn(p, "?#");
    out.path = (span){p, n, true};
    p += n;
    if (*p == '?') { out.query = (span){p + 1, (size_t)(end - p - 1), true}; }
    return out;
}

/* RFC 3986 5.2.4, in place. */
static size_t remove_dots(char *path, size_t len)
{
    size_t in = 0, out = 0;
    while (in < len) {
        size_t end = in + 1;
        while (end < len && path[end] != '/') {
            end++;
        }
        size_t n = end - in;
        bool last = end == len;
        if (path[in] == '/' && n == 2 && path[in + 1] == '.') {
            if (last) { path[out++] = '/'; }
        } else if (path[in] == '/' && n == 3 && path[in + 1] == '.' && path[in + 2] == '.') {
            while (out > 0 && path[--out] != '/') {}
            if (last) { path[out++] = '/'; }
        } else {
            memmove(path + out, path + in, n);
            out += n;
        }
        in = end;
    }
    return out;
}

static void add_span(fmp_buf *out, const char *before, span s, const char *after)
{
    if (!s.there) { return; }
    fmp_buf_puts(out, before);
    fmp_buf_add(out, s.at, s.len);
    fmp_buf_puts(out, after);
}

/* RFC 3986 5.2.2: `ref` seen from `base`, without its fragment; in the arena. */
static const char *resolve_uri(fmp_schema *s, const char *base, const char *ref)
{
    uri_parts b = split_uri(base), r = split_uri(ref);
    fmp_buf out = {0}, path = {0};
    bool own_path = r.scheme.there || r.authority.there;
    add_span(&out, "", r.scheme.there ? r.scheme : b.scheme, ":");
    add_span(&out, "//", own_path ? r.authority : b.authority, "");
    if (!own_path && r.path.len == 0) {
        fmp_buf_add(&path, b.path.at, b.path.len);
        if (!r.query.there) { r.query = b.query; }
    } else {
        if (!own_path && r.path.at[0] != '/') {
            size_t keep = b.path.len;
            while (keep > 0 && b.path.at[keep - 1] != '/') {
                keep--;
            }
            if (keep == 0 && b.authority.there) { fmp_buf_putc(&path, '/'); }
            fmp_buf_add(&path, b.path.at, keep);
        }
        fmp_buf_add(&path, r.path.at, r.path.len);
        if (path.data && !path.failed) { path.len = remove_dots(path.data, path.len); }
    }
    fmp_buf_add(&out, path.len > 0 ? path.data : "", path.len);
    add_span(&out, "?", r.query, "");
    const char *made = fmp_arena_strndup(s->arena, out.len > 0 ? out.data : "", out.len);
    fmp_buf_free(&out);
    fmp_buf_free(&path);
    return made;
}

/* ---------------------------------------------------------------------------------------------- paths */

const char *schema_path_join(fmp_schema *s, const char *path, const char *key)
{
    fmp_buf out = {0};
    fmp_buf_puts(&out, path);
    fmp_buf_putc(&out, '/');
    for (const char *p = key; *p; p++) {
        if (*p == '~') {
            fmp_buf_puts(&out, "~0");
        } else if (*p == '/') {
            fmp_buf_puts(&out, "~1");
        } else {
            fmp_buf_putc(&out, *p);
        }
    }
    const char *made = fmp_arena_strdup(s->arena, out.data ? out.data : "");
    fmp_buf_free(&out);
    return made;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') { return c - '0'; }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One token of a pointer in a URI fragment: %XX, then ~1 and ~0. */
static const char *pointer_token(fmp_schema *s, const char *p, size_t len)
{
    char *out = fmp_arena_take(s->arena, len + 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = p[i];
        if (c == '%' && len - i > 2 && hex_value(p[i + 1]) >= 0 && hex_value(p[i + 2]) >= 0) {
            c = (char)(hex_value(p[i + 1]) * 16 + hex_value(p[i + 2]));
            i += 2;
        } else if (c == '~' && len - i > 1 && (p[i + 1] == '0' || p[i + 1] == '1')) {
            c = p[++i] == '0' ? '~' : '/';
        }
        out[n++] = c;
    }
    out[n] = '\0';
    return out;
}

/* ---------------------------------------------------------------------------------------- ids and anchors */

const char *schema_base(fmp_schema *s, const cJSON *source, const char *base)
{
    const char *id = fmp_json_str(source, s->id_key, NULL);
    bool ignored = s->draft == FMP_SCHEMA_DRAFT7 && fmp_json_get(source, "$ref");
    return id && !ignored && id[0] != '#' ? resolve_uri(s, base, id) : base;
}

static fmp_status add_anchor(fmp_schema *s, const schema_resource *in, const char *name, fmp_err *err)
{
    if (!schema_grow((void **)&s->anchors, s->n_anchors, &s->anchors_cap, sizeof *s->anchors)) {
        return fmp_fail(err, FMP_E_NOMEM, "out of memory");
    }
    s->anchors[s->n_anchors++] = (schema_anchor){name, *in};
    return FMP_OK;
}

static fmp_status scan_node(fmp_schema *s, const cJSON *source, const char *base, const char *path,
                            fmp_err *err);

static fmp_status scan_members(fmp_schema *s, const cJSON *parent, const char *base, const char *path,
                               fmp_err *err)
{
    char index[24];
    size_t i = 0;
    for (const cJSON *m = parent->child; m; m = m->next, i++) {
        snprintf(index, sizeof index, "%zu", i);
        FMP_TRY(scan_node(s, m, base, schema_path_join(s, path, m->string ? m->string : index), err));
    }
    return FMP_OK;
}

static bool is_one_of(const char *word, const char *const *words)
{
    while (*words && strcmp(word, *words) != 0) {
        words++;
    }
    return *words != NULL;
}

static fmp_status scan_node(fmp_schema *s, const cJSON *source, const char *base, const char *path,
                            fmp_err *err)
{
    static const char *const maps[] = {"properties",       "patternProperties", "$defs", "definitions",
                                       "dependentSchemas", "dependencies",      NULL};
    static const char *const lists[] = {"allOf", "anyOf", "oneOf", "prefixItems", NULL};
    static const char *const schemas[] = {"items",
                                          "additionalItems",
                                          "contains",
                                          "additionalProperties",
                                          "propertyNames",
                                          "not",
                                          "if",
                                          "then",
                                          "else",
                                          NULL};
    if (!cJSON_IsObject(source)) { return FMP_OK; }
    const char *inside = schema_base(s, source, base);
    const schema_resource here = {inside, base, path, source};
    const char *id = fmp_json_str(source, s->id_key, NULL), *anchor = fmp_json_str(source, "$anchor", NULL);
    const char *dynamic =
        fmp_json_str(source, "$dynamicAnchor", NULL); /* to "$ref" an anchor like any other */
    if (inside != base || path[1] == '\0') {
        if (!schema_grow((void **)&s->resources, s->n_resources, &s->resources_cap, sizeof *s->resources)) {
            return fmp_fail(err, FMP_E_NOMEM, "out of memory");
        }
        s->resources[s->n_resources++] = here;
    }
    if (id && strchr(id, '#') && strchr(id, '#')[1]) {
        FMP_TRY(add_anchor(s, &here, strchr(id, '#') + 1, err));
    }
    if (anchor) { FMP_TRY(add_anchor(s, &here, anchor, err)); }
    if (dynamic) { FMP_TRY(add_anchor(s, &here, dynamic, err)); }
    for (const cJSON *m = source->child; m; m = m->next) {
        const char *at = schema_path_join(s, path, m->string);
        if ((cJSON_IsObject(m) && is_one_of(m->string, maps)) ||
            (cJSON_IsArray(m) && is_one_of(m->string, lists)) ||
            (cJSON_IsArray(m) && strcmp(m->string, "items") == 0)) {
            FMP_TRY(scan_members(s, m, inside, at, err));
        } else if (is_one_of(m->string, schemas)) {
            FMP_TRY(scan_node(s, m, inside, at, err));
        }
    }
    return FMP_OK;
}

fmp_status schema_scan(fmp_schema *s, fmp_err *err)
{
    FMP_TRY(scan_node(s, s->source, "", "#", err));
    return fmp_arena_ok(s->arena, err);
}

/* --------------------------------------------------------------------------------------------- references */

static const cJSON *array_item(const cJSON *array, const char *token)
{
    size_t index = 0;
    if (!*token || (token[0] == '0' && token[1])) { return NULL; }
    for (const char *p = token; *p; p++) {
        if (*p < '0' || *p > '9' || index > 1000000) { return NULL; }
        index = index * 10 + (size_t)(*p - '0');
    }
    const cJSON *m = array->child;
    while (m && index-- > 0) {
        m = m->next;
    }
    return m;
}

static fmp_status follow_pointer(fmp_schema *s, const char *ref, const char *pointer, const char *from,
                                 const cJSON **place, const char **path, const char **base, fmp_err *err)
{
    const cJSON *node = *place;
    while (*pointer == '/') {
        size_t n = strcspn(++pointer, "/");
        const char *token = pointer_token(s, pointer, n);
        *path = schema_path_join(s, *path, token);
        *base = schema_base(s, node, *base);
        node = cJSON_IsArray(node) ? array_item(node, token) : fmp_json_get(node, token);
        if (!node) {
            return fmp_fail(err, FMP_E_DATA,
                            "%s/$ref: expected a place in this schema, found '%s': there is no '%s'", from,
                            ref, *path);
        }
        pointer += n;
    }
    *place = node;
    return FMP_OK;
}

fmp_status schema_resolve(fmp_schema *s, const char *ref, const char *base, const char *from,
                          const cJSON **place, const char **path, const char **place_base, fmp_err *err)
{
    const char *uri = resolve_uri(s, base, ref), *fragment = strchr(ref, '#');
    const schema_resource *found = NULL;
    fragment = fragment ? fragment + 1 : "";
    for (size_t i = 0; i < s->n_resources && !found; i++) {
        if (strcmp(s->resources[i].uri, uri) == 0) { found = &s->resources[i]; }
    }
    if (!found) {
        return fmp_fail(err, FMP_E_UNSUPPORTED,
                        "%s/$ref: expected a place in this schema, found '%s', which is another document",
                        from, ref);
    }
    *place = found->root;
    *path = found->path;
    *place_base = found->outer;
    if (!*fragment) { return FMP_OK; }
    if (*fragment == '/') { return follow_pointer(s, ref, fragment, from, place, path, place_base, err); }
    for (size_t i = 0; i < s->n_anchors; i++) {
        const schema_anchor *a = &s->anchors[i];
        if (strcmp(a->at.uri, uri) == 0 && strcmp(a->name, fragment) == 0) {
            *place = a->at.root;
            *path = a->at.path;
            *place_base = a->at.outer;
            return FMP_OK;
        }
    }
    return fmp_fail(err, FMP_E_DATA,
                    "%s/$ref: expected a place in this schema, found '%s': there is no anchor '%s'", from,
                    ref, fragment);
}
