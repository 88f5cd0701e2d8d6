/*
 * schema_private.h: the compiled form of a schema, shared by the files of this folder.
 *
 * A schema object becomes one schema_node, made when it is first reached from the root, so that a "$ref"
 * cycle is a cycle of nodes. Nodes, names and paths live in the schema's arena; the source tree is a heap
 * copy that nodes point into.
 */
#ifndef SCHEMA_PRIVATE_H
#define SCHEMA_PRIVATE_H

#define PCRE2_CODE_UNIT_WIDTH 8

#include <fmpipe/schema.h>
#include <pcre2.h>

enum { MAX_SCHEMA_DEPTH = 128, MAX_VALIDATE_DEPTH = 512, MAX_STEPS = 4000000 };

enum {
    TYPE_NULL = 1,
    TYPE_BOOLEAN = 2,
    TYPE_INTEGER = 4,
    TYPE_NUMBER = 8,
    TYPE_STRING = 16,
    TYPE_ARRAY = 32,
    TYPE_OBJECT = 64,
    TYPE_ANY = 127
};

typedef struct schema_node schema_node;
typedef bool (*format_fn)(const char *text, size_t len);

typedef struct schema_list {
    schema_node **item;
    size_t n;
} schema_list;

typedef struct schema_prop {
    const char *name;
    schema_node *schema;
    bool required;
} schema_prop;

typedef struct schema_pattern {
    const char *text;
    const pcre2_code *code;
    schema_node *schema; /* NULL for "pattern" */
} schema_pattern;

/*
 * dependentRequired, dependentSchemas, dependencies: if `name` is there, so are `required`, and `schema`
 * holds.
 */
typedef struct schema_dependent {
    const char *name;
    const cJSON *required; /* array of strings, or NULL */
    schema_node *schema;   /* or NULL */
    const char *keyword;
} schema_dependent;

struct schema_node {
    const cJSON *source;
    const char *path; /* "#/properties/age" */
    const char *base; /* URI that "$ref" in here is relative to */
    bool never;       /* the schema `false` */
    bool open;        /* undeclared members may occur */
    unsigned types;   /* TYPE_*; TYPE_ANY without "type" */
    const cJSON *type, *enum_values, *const_value;

    const cJSON *minimum, *maximum, *exclusive_minimum, *exclusive_maximum,
        *multiple_of; /* numbers or NULL */
    uint64_t min_length, max_length, min_items, max_items, min_properties, max_properties, min_contains,
        max_contains;
    schema_pattern *pattern;
    format_fn format;
    const char *format_name;

    schema_list prefix;
    schema_node *items;        /* for what comes after `prefix` */
    const char *items_keyword; /* "items" or "additionalItems" */
    schema_node *contains;
    bool unique;

    schema_prop *props;    /* in canonical order */
    schema_prop **by_name; /* the same, sorted by name */
    size_t n_props;
    schema_pattern *patterns;
    size_t n_patterns;
    schema_node *additional, *names;
    const cJSON *required; /* array of strings, or NULL */
    schema_dependent *dependents;
    size_t n_dependents;

    schema_list all_of, any_of, one_of;
    schema_node *not_, *if_, *then_, *else_;
    const char *ref_text;
    schema_node *ref;
};

/* A place with an identity: a schema with a URI of its own, or one that an anchor names. */
typedef struct schema_resource {
    const char *uri;   /* base inside  */
    const char *outer; /* base around  */
    const char *path;
    const cJSON *root;
} schema_resource;

typedef struct schema_anchor {
    const char *name;
    schema_resource at;
} schema_anchor;

struct fmp_schema {
    fmp_arena *arena;
    cJSON *source;
    fmp_schema_draft draft;
    bool assert_formats;
    const char *id_key; /* "$id"; "id" for draft 4 and older */
    schema_node *root;
    schema_node **nodes;
    size_t n_nodes, nodes_cap;
    schema_resource *resources;
    size_t n_resources, resources_cap;
    schema_anchor *anchors;
    size_t n_anchors, anchors_cap;
    pcre2_code **codes; /* owned */
    size_t n_codes, codes_cap;
    pcre2_match_context *match;
};

/* Room for one more item of `size` bytes in *items. False: out of memory. */
bool schema_grow(void **items, size_t n, size_t *cap, size_t size);

/* ---- schema_refs.c ---- */
/* Find every "$id" and "$anchor" of the document. */
FMP_MUST_USE fmp_status schema_scan(fmp_schema *s, fmp_err *err);
/* The base URI inside `source`, given the one around it. */
const char *schema_base(fmp_schema *s, const cJSON *source, const char *base);
/* What `ref` means where the base is `base`: the place, its path and the base around it. */
FMP_MUST_USE fmp_status schema_resolve(fmp_schema *s, const char *ref, const char *base, const char *from,
                                       const cJSON **place, const char **path, const char **place_base,
                                       fmp_err *err);
/* path + "/" + key with ~ and / escaped, in the arena. */
const char *schema_path_join(fmp_schema *s, const char *path, const char *key);

/* ---- schema_compile.c ---- */
const schema_prop *schema_find_prop(const schema_node *node, const char *name);

/* ---- schema_number.c ---- */
bool schema_is_number(const cJSON *value);
bool schema_is_integer(const cJSON *value);
/* value is a multiple of divisor, in exact decimal arithmetic (beyond 19 digits: nearest doubles). */
bool schema_is_multiple(const cJSON *value, const cJSON *divisor);
/* -1, 0, 1; exact for numbers of up to 19 digits. */
int schema_compare(const cJSON *a, const cJSON *b);

/* ---- schema_format.c ---- */
format_fn schema_format_find(const char *name);

/* ---- schema_validate.c ---- */
unsigned schema_type_of(const cJSON *value);
/* valid at all? Used to choose branches. */
FMP_MUST_USE fmp_status schema_holds(const fmp_schema *s, const schema_node *node, const cJSON *value,
                                     bool *valid, fmp_err *err);

/* ---- schema_pattern.c ---- */
/* `text` outlives the schema; `path` is for the message. */
FMP_MUST_USE fmp_status schema_pattern_compile(fmp_schema *s, const char *text, const char *path,
                                               schema_pattern *out, fmp_err *err);
/* 1 match, 0 none, -1 a limit was hit. */
int schema_match(const fmp_schema *s, const schema_pattern *pattern, const char *text);

#endif
