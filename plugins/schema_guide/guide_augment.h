/*
 * guide_augment.h: other names for the same answer. A model that always sees the same property names learns
 * the names; one that sees new ones learns to read the schema.
 */
#ifndef GUIDE_AUGMENT_H
#define GUIDE_AUGMENT_H

#include <fmpipe/json.h>
#include <fmpipe/plugin.h>

enum { GUIDE_MAX_NAMES = 512 };

/* Old and new property names of one record. */
typedef struct guide_names {
    struct {
        const char *old_name; /* borrowed from the schema */
        char new_name[24];
    } item[GUIDE_MAX_NAMES];
    size_t n;
} guide_names;

/*
 * Give every property that `schema` declares a made-up name: drawn from (stage seed, stream), none of them a
 * name the schema uses, no two alike. False if there are more than GUIDE_MAX_NAMES.
 */
bool guide_names_make(const cJSON *schema, const fmp_host *host, const fmp_ext_rng *rng, uint64_t stream,
                      guide_names *names);

/* The schema, or an answer, with the names replaced.         returned, NULL: out of memory */
cJSON *guide_rename_schema(const cJSON *schema, const guide_names *names);
cJSON *guide_rename_value(const cJSON *value, const guide_names *names);

/* Remove "description" from `schema` and all schemas below it, in place. */
void guide_drop_descriptions(cJSON *schema);

#endif
