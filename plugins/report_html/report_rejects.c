/*
 * What the run's rejected.jsonl says beyond the manifest: how many refused rows of each locale, and the
 * first few of them. The file is this very run's, written by the engine; a row in it is whatever the input
 * held.
 */
#include "report.h"

#include <fmpipe/fs.h>

#include <errno.h>
#include <stdlib.h>

enum { MAX_EXAMPLES = 8, MAX_TAG = 40, MAX_TAGS = 1000 };

static const char unknown[] = "(unknown)";

/* The row's own locale: rows that are not JSON, or say none, have no tag. */
static void count_locale(cJSON *by_locale, const char *row)
{
    cJSON *doc = NULL;
    if (row && fmp_json_parse(row, strlen(row), NULL, &doc, NULL) != FMP_OK) { doc = NULL; }
    const char *tag = fmp_json_str(doc, "locale", unknown);
    if (!*tag || strlen(tag) >= MAX_TAG) { tag = unknown; }
    cJSON *known = cJSON_GetObjectItemCaseSensitive(by_locale, tag);
    if (known) {
        cJSON_SetNumberValue(known, known->valuedouble + 1);
    } else if (cJSON_GetArraySize(by_locale) < MAX_TAGS) {
        cJSON_AddNumberToObject(by_locale, tag, 1);
    }
    cJSON_Delete(doc);
}

static void add_example(cJSON *examples, const cJSON *line)
{
    static const char *const copied[] = {"stage", "file", "line", "reason", "message"};
    if (cJSON_GetArraySize(examples) >= MAX_EXAMPLES) { return; }
    cJSON *row = cJSON_CreateObject();
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++) {
        const cJSON *value = fmp_json_get(line, copied[i]);
        if (value) { cJSON_AddItemToObject(row, copied[i], cJSON_Duplicate(value, true)); }
    }
    cJSON_AddItemToArray(examples, row);
}

fmp_status report_rejects(const char *path, cJSON **out, fmp_err *err)
{
    static const fmp_json_limits any = {.max_bytes = (size_t)1 << 31, .allow_duplicates = true};
    FILE *in = fopen(path, "re");
    if (!in) { return fmp_fail(err, FMP_E_IO, "cannot open %s: %s", path, strerror(errno)); }
    *out = cJSON_CreateObject();
    cJSON *by_locale = cJSON_AddObjectToObject(*out, "by_locale"),
          *examples = cJSON_AddArrayToObject(*out, "examples");
    char *text = NULL;
    size_t cap = 0;
    ssize_t len;
    fmp_status status = examples ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    while (status == FMP_OK && (len = getline(&text, &cap, in)) > 0) {
        cJSON *line = NULL;
        status = fmp_json_parse(text, (size_t)len, &any, &line, err);
        if (status != FMP_OK) { break; }
        count_locale(by_locale, fmp_json_str(line, "row", NULL));
        add_example(examples, line);
        cJSON_Delete(line);
    }
    if (status == FMP_OK && ferror(in)) { status = fmp_fail(err, FMP_E_IO, "cannot read %s", path); }
    if (status != FMP_OK) {
        fmp_err_note(err, "while reading %s", path);
        cJSON_Delete(*out);
        *out = NULL;
    }
    free(text);
    (void)fclose(in);
    return status;
}
