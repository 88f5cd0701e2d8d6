/* links: fmbase */
/*
 * fuzz_json.c: any bytes are refused or parsed; what was parsed prints to a text that parses to an equal value, and
 * that prints to the same bytes.
 */
#include "fuzz.h"

#include <fmpipe/json.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const fmp_json_limits limits = {.max_depth = 100};
    cJSON *once = NULL, *twice = NULL;
    fmp_json_install_hooks();
    if (fmp_json_parse((const char *)data, size, &limits, &once, NULL) != FMP_OK) { return 0; }
    fmp_buf first = {0}, second = {0};
    fmp_json_print(once, FMP_JSON_COMPACT, &first);
    if (fmp_json_parse(first.data, first.len, &limits, &twice, NULL) != FMP_OK) { abort(); }
    fmp_json_print(twice, FMP_JSON_COMPACT, &second);
    if (!fmp_json_equal(once, twice)) { abort(); }
    if (first.len != second.len || memcmp(first.data, second.data, first.len) != 0) { abort(); }
    fmp_buf_free(&first);
    fmp_buf_free(&second);
    cJSON_Delete(once);
    cJSON_Delete(twice);
    return 0;
}
