/*
 * Renaming walks a schema through its applicators, so that data in enum, const and default, and a property
 * that happens to be called "properties", are left alone. Whether a renamed answer still holds is checked by
 * the caller.
 */
#include "guide_augment.h"

#include <stdlib.h>

static bool in_words(const char *word, const char *const *words)
{
    while (*words && strcmp(*words, word) != 0) {
        words++;
    }
    return *words != NULL;
}

static const char *const map_keys[] = {"properties",       "$defs", "definitions", "patternProperties",
                                       "dependentSchemas", NULL};
static const char *const list_keys[] = {"anyOf", "allOf", "oneOf", "prefixItems", "items", NULL};
static const char *const schema_keys[] = {"items",
                                          "additionalProperties",
                                          "additionalItems",
                                          "contains",
                                          "propertyNames",
                                          "not",
                                          "if",
                                          "then",
                                          "else",
                                          NULL};

/* True if the members of `value`, a keyword of a schema, are schemas themselves. */
static bool holds_schemas(const cJSON *value)
{
    return value->string && ((cJSON_IsObject(value) && in_words(value->string, map_keys)) ||
                             (cJSON_IsArray(value) && in_words(value->string, list_keys)));
}

static bool is_schema(const cJSON *value)
{
    return cJSON_IsObject(value) && value->string && in_words(value->string, schema_keys);
}

/* ---------------------------------------------------------------------------------------------- names */

static const char *new_name_of(const guide_names *names, const char *name)
{
    for (size_t i = 0; i < names->n; i++) {
        if (strcmp(names->item[i].old_name, name) == 0) { return names->item[i].new_name; }
    }
    return NULL;
}

static bool collect(const cJSON *schema, guide_names *names)
{
    for (const cJSON *m = cJSON_IsObject(schema) ? schema->child : NULL; m; m = m->next) {
        if (is_schema(m) && !collect(m, names)) { return false; }
        for (const cJSON *one = holds_schemas(m) ? m->child : NULL; one; one = one->next) {
            if (!collect(one, names)) { return false; }
            if (strcmp(m->string, "properties") != 0 || new_name_of(names, one->string)) { continue; }
            if (names->n == GUIDE_MAX_NAMES) { return false; }
            names->item[names->n++].old_name = one->string;
        }
    }
    return true;
}

/* Two to four syllables, "ba" to "zu": a word that means nothing and is a few tokens long. */
static void draw_word(char *out, size_t size, const fmp_host *host, const fmp_ext_rng *rng, uint64_t stream,
                      uint64_t *at)
{
    static const char consonants[] = "bdfgklmnprstvz", vowels[] = "aeiou";
    size_t n = 2 + (size_t)rng->below(host, stream, (*at)++, 3), len = 0;
    for (size_t i = 0; i < n && len + 3 < size; i++) {
        out[len++] = consonants[rng->below(host, stream, (*at)++, sizeof consonants - 1)];
        out[len++] = vowels[rng->below(host, stream, (*at)++, sizeof vowels - 1)];
    }
    out[len] = '\0';
}

static bool taken(const guide_names *names, size_t upto, const char *word)
{
    for (size_t i = 0; i < upto; i++) {
        if (strcmp(names->item[i].new_name, word) == 0) { return true; }
    }
    return new_name_of(names, word) != NULL;
}

bool guide_names_make(const cJSON *schema, const fmp_host *host, const fmp_ext_rng *rng, uint64_t stream,
                      guide_names *names)
{
    uint64_t at = 16; /* the first numbers of the stream decide whether to rename at all */
    names->n = 0;
    if (!collect(schema, names)) { return false; }
    for (size_t i = 0; i < names->n; i++) {
        char *word = names->item[i].new_name;
        do {
            draw_word(word, sizeof names->item[i].new_name, host, rng, stream, &at);
        } while (taken(names, i, word));
    }
    return true;
}

/* ---------------------------------------------------------------------------------------------- trees */

/* Adds `value` (taken) as a member, or as an item where `key` is NULL. */
static bool add(cJSON *parent, const char *key, cJSON *value)
{
    if (value && (key ? cJSON_AddItemToObject(parent, key, value) : cJSON_AddItemToArray(parent, value))) {
        return true;
    }
    cJSON_Delete(value);
    return false;
}

static cJSON *whole(cJSON *node, bool ok)
{
    if (ok) { return node; }
    cJSON_Delete(node);
    return NULL;
}

static cJSON *rename_strings(const cJSON *list, const guide_names *names)
{
    cJSON *out = cJSON_CreateArray();
    bool ok = out != NULL;
    for (const cJSON *m = list->child; m && ok; m = m->next) {
        const char *name = cJSON_IsString(m) ? new_name_of(names, m->valuestring) : NULL;
        ok = add(out, NULL, name ? cJSON_CreateString(name) : cJSON_Duplicate(m, true));
    }
    return whole(out, ok);
}

static cJSON *rename_members(const cJSON *parent, const guide_names *names)
{
    cJSON *out = cJSON_IsArray(parent) ? cJSON_CreateArray() : cJSON_CreateObject();
    bool ok = out != NULL, properties = parent->string && strcmp(parent->string, "properties") == 0;
    for (const cJSON *m = parent->child; m && ok; m = m->next) {
        const char *name = properties ? new_name_of(names, m->string) : NULL;
        ok = add(out, name ? name : m->string, guide_rename_schema(m, names));
    }
    return whole(out, ok);
}

cJSON *guide_rename_schema(const cJSON *schema, const guide_names *names)
{
    if (!cJSON_IsObject(schema)) { return cJSON_Duplicate(schema, true); }
    cJSON *out = cJSON_CreateObject();
    bool ok = out != NULL;
    for (const cJSON *m = schema->child; m && ok; m = m->next) {
        cJSON *made;
        if (cJSON_IsArray(m) && (strcmp(m->string, "required") == 0 || strcmp(m->string, "x-order") == 0)) {
            made = rename_strings(m, names);
        } else if (holds_schemas(m)) {
            made = rename_members(m, names);
        } else {
            made = is_schema(m) ? guide_rename_schema(m, names) : cJSON_Duplicate(m, true);
        }
        ok = add(out, m->string, made);
    }
    return whole(out, ok);
}

cJSON *guide_rename_value(const cJSON *value, const guide_names *names)
{
    if (!cJSON_IsObject(value) && !cJSON_IsArray(value)) { return cJSON_Duplicate(value, true); }
    cJSON *out = cJSON_IsArray(value) ? cJSON_CreateArray() : cJSON_CreateObject();
    bool ok = out != NULL;
    for (const cJSON *m = value->child; m && ok; m = m->next) {
        const char *name = m->string ? new_name_of(names, m->string) : NULL;
        ok = add(out, name ? name : m->string, guide_rename_value(m, names));
    }
    return whole(out, ok);
}

void guide_drop_descriptions(cJSON *schema)
{
    if (!cJSON_IsObject(schema)) { return; }
    cJSON_DeleteItemFromObjectCaseSensitive(schema, "description");
    for (cJSON *m = schema->child; m; m = m->next) {
        if (is_schema(m)) { guide_drop_descriptions(m); }
        for (cJSON *one = holds_schemas(m) ? m->child : NULL; one; one = one->next) {
            guide_drop_descriptions(one);
        }
    }
}
