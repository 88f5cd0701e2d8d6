/* links: fmengine fmbase */
/* fuzz_yaml.c: any bytes give a tree or at least one diagnostic; both can be printed. */
#include "fuzz.h"

#include <fmpipe/json.h>
#include <stdlib.h>
#include <yaml_tree.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fmp_arena *arena = fmp_arena_new(0);
    fmp_diags diags = {0};
    fmp_yaml *root = NULL;
    fmp_buf text = {0};
    fmp_json_install_hooks();
    fmp_status status =
        fmp_yaml_parse((const char *)data, size, "fuzz.yaml", "/", arena, &root, &diags, NULL);
    if ((status == FMP_OK) != (diags.n_errors == 0)) { abort(); }
    fmp_diags_print(&diags, true, &text);
    cJSON *json = NULL;
    if (status == FMP_OK && fmp_yaml_to_json(root, &json, NULL) == FMP_OK) {
        fmp_json_print(json, FMP_JSON_PRETTY, &text);
        cJSON_Delete(json);
    }
    fmp_buf_free(&text);
    fmp_diags_free(&diags);
    fmp_arena_free(arena);
    return 0;
}
