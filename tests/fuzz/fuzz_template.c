/* links: fmtext fmbase */
/* fuzz_template.c: any text as a chat template, rendered within small limits when it parses. */
#include "fuzz.h"

#include <fmpipe/chat_template.h>
#include <fmpipe/json.h>
#include <stdlib.h>

static const char context_text[] =
    "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":\"Hello.\"}],"
    "\"add_generation_prompt\":true,\"bos_token\":\"<s>\",\"tools\":[{\"name\":\"f\",\"parameters\":{}}]}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static cJSON *context;
    fmp_template *template = NULL;
    fmp_rendered out = {0};
    fmp_err err = FMP_ERR_INIT;
    if (!context) {
        fmp_json_install_hooks();
        if (fmp_json_parse(context_text, sizeof context_text - 1, NULL, &context, NULL) != FMP_OK) { abort(); }
    }
    if (fmp_template_parse((const char *)data, size, "fuzz", &template, &err) != FMP_OK) {
        return *err.message ? 0 : (abort(), 0);
    }
    const fmp_template_options options = {.max_steps = 20000, .max_output_bytes = 1 << 20};
    if (fmp_template_render(template, context, &options, &out, &err) != FMP_OK && !*err.message) { abort(); }
    fmp_rendered_free(&out);
    fmp_template_free(template);
    return 0;
}
