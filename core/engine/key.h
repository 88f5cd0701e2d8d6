/*
 * key.h: what decides a stage's result, the digest of that, and in which point two of them differ.
 *
 * The preimage is a JSON object; the key is the SHA-256 of its typed, length-framed encoding, so that no two
 * different preimages encode alike:
 *
 *   {"format":1, "stage":"text.filter", "version":1, "plugin":"<sha256>", "options":{…},
 *    "inputs":{"records":["<sha256>"]},
 *    "seed":"7", "on_bad":"skip", "numeric_env":"…"}
 *
 * An input is the digest of a published object, "stream:<key>" for records that come straight from the stage
 * before, or "base:<sha256>" for the base model. Paths, times, thread counts, stage ids and the pipeline's
 * name are absent.
 */
#ifndef FMP_ENGINE_KEY_H
#define FMP_ENGINE_KEY_H

#include "pipeline.h"

#define FMP_KEY_FORMAT 1

/* inputs: {"role":["…"]}, taken. numeric_env: NULL where the stage is not numeric.    returned; heap;
   NULL: no memory */
cJSON *fmp_key_preimage(const fmp_stage_node *node, cJSON *inputs, const char *numeric_env);
/* Key of a preimage: 64 hex characters. */
FMP_MUST_USE fmp_status fmp_key_digest(const cJSON *preimage, char key[65], fmp_err *err);

/* Why a stage has to run: a stable word and a person's sentence, both in `arena`. */
typedef struct fmp_key_reason {
    const char *reason; /* "CONFIG(augment.rename)" */
    const char *detail; /* "option augment.rename changed (false → true)" */
} fmp_key_reason;
/*
 * The first difference of `now` and `last` (NULL: never run), in the order plugin, options, inputs, seed,
 * policy, numeric environment. reason NULL: they are equal.
 */
fmp_key_reason fmp_key_compare(const fmp_pipeline *p, const fmp_stage_node *node, const cJSON *now,
                               const cJSON *last, fmp_arena *arena);
/* [{"field":"options.augment.rename","last":false,"now":true}…]; an absent side is missing.
   returned; heap */
cJSON *fmp_key_differences(const cJSON *now, const cJSON *last);

#endif
