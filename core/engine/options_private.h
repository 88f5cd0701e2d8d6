/* options_private.h: what options.c (names, tables, defaults), option_value.c (types) and option_path.c
 * (files) share. */
#ifndef FMP_ENGINE_OPTIONS_PRIVATE_H
#define FMP_ENGINE_OPTIONS_PRIVATE_H

#include "options.h"

/* One value being checked. `value` and `key` are heap nodes, both set on success. */
typedef struct fmp_value_check {
    fmp_option_check *check;
    const fmp_option *opt;
    const fmp_yaml *node;
    const char *path; /* "rules[2].pattern" */
    cJSON *value, *key;
} fmp_value_check;

/* All false after adding a diagnostic. */
bool fmp_value_check_(fmp_value_check *v);
bool fmp_value_check_path_(fmp_value_check *v);
bool fmp_value_check_paths_(fmp_value_check *v);
/* One map against a table: options and rows of a TABLE. Values and keys are added to the two objects. */
void fmp_table_check_(fmp_option_check *check, const fmp_option *table, const fmp_yaml *given,
                      const char *prefix, cJSON *values, cJSON *key_values);

/* "'path': expected ..." at the value. Returns false. */
FMP_PRINTF(2, 3) bool fmp_value_error_(fmp_value_check *v, const char *fmt, ...);
/* The string of a scalar node where one is wanted, or NULL. */
const char *fmp_node_string_(const fmp_yaml *node);

#endif
