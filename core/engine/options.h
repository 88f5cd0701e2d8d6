/*
 * options.h: one checker for stage options, whether they come from a pipeline file, from --set or as JSON.
 */
#ifndef FMP_ENGINE_OPTIONS_H
#define FMP_ENGINE_OPTIONS_H

#include "yaml_tree.h"

/* Fill the first part, call fmp_options_resolve, take the results. */
typedef struct fmp_option_check {
    const fmp_option *table; /* ended by a NULL name; NULL: no options                                    */
    const char *use;         /* stage name for messages; NULL: none                                       */
    fmp_mark mark;           /* of the stage: missing options are reported here                            */
    const char *base_dir;    /* absolute; of paths in defaults and in nodes without a folder of their own  */
    fmp_arena *arena;        /* holds marks, files and texts                                              */
    fmp_diags *diags;
    /* Content digest of a file or folder for key_values; NULL: digests stay "". */
    fmp_status (*digest)(void *arg, const char *path, char hex[65], fmp_err *err);
    void *digest_arg;
    /* results */
    cJSON *values;     /* every option, defaults applied, nested, in the table's order.    returned */
    cJSON *key_values; /* the same without what does not affect the output; paths as
                                  "sha256:<hex>".                                                  returned */
    fmp_option_mark *marks;
    size_t n_marks, cap_marks;
    fmp_file_input *files;
    size_t n_files, cap_files;
} fmp_option_check;

/* Every problem goes to check->diags. `given` NULL: defaults only. */
void fmp_options_resolve(fmp_option_check *check, const fmp_yaml *given);

/* "http://...": true for anything that looks like a URL. */
bool fmp_is_url(const char *text);
/* `text` as an absolute path: itself, or below `dir`. In `arena`. */
const char *fmp_absolute_path(fmp_arena *arena, const char *dir, const char *text);

#endif
