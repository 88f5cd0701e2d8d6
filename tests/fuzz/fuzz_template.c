/* links: fmtext fmbase */
/* fuzz_template.c: any text as a chat template, rendered within small limits when it parses, and masked.
 * Spans must partition the output and ranges lie in it, in order. */
#include "fuzz.h"

#include <fmpipe/chat_template.h>
#include <fmpipe/json.h>
#include <stdlib.h>

static const char context_text[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\" Be "
    "<b>kind</b>.\\n\"},{\"role\":\"user\",\"content\":\"Hi </s> \\u00e9\"},"
    "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"call12345\",\"type\":\"function\","
    "\"function\":{\"name\":\"f\","
    "\"arguments\":{\"x\":[1,2.5,null,\"y\"]}}}]},{\"role\":\"tool\",\"tool_call_id\":\"call12345\","
    "\"content\":\"{}\"},"
    "{\"role\":\"assistant\",\"content\":\"<think>a</think>Hello.\"}],\"n\":3,\"s\":\"  Ab,cD  "
    "\",\"l\":[3,1,2],\"d\":{\"k\":\"v\",\"w\":7},"
    "\"add_generation_prompt\":true,\"bos_token\":\"<s>\",\"eos_token\":\"</"
    "s>\",\"tools\":[{\"name\":\"f\",\"parameters\":{}}]}";

static void check_spans(const fmp_rendered *out)
{
    size_t at = 0;
    for (size_t i = 0; i < out->n_spans; i++) {
        const fmp_span *s = &out->spans[i];
        if (s->begin != at || s->end <= s->begin) { abort(); }
        if (s->kind == FMP_SPAN_INPUT && s->path >= out->n_paths) { abort(); }
        at = s->end;
    }
    if (at != out->text.len) { abort(); }
}

static void check_mask(const fmp_template *template, const cJSON *context, const fmp_template_options *render,
                       const fmp_rendered *out)
{
    static const char *const stops[] = {"</s>", "<|im_end|>", "\n"};
    const fmp_chat_mask_options options = {
        .stops = stops, .n_stops = 3, .render = *render, .check_past = true};
    fmp_arena *arena = fmp_arena_new(0);
    fmp_chat_mask_result found;
    fmp_err err = FMP_ERR_INIT;
    if (!arena) { return; }
    if (fmp_chat_mask(template, context, out, &options, arena, &found, &err) == FMP_OK) {
        for (size_t i = 0; i < found.n_ranges; i++) {
            const fmp_mask_range *r = &found.ranges[i];
            if (r->begin > r->end || r->end > out->text.len || (i > 0 && r->begin < r[-1].end)) { abort(); }
        }
    } else if (!*err.message) {
        abort();
    }
    fmp_arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static cJSON *context;
    fmp_template *template = NULL;
    fmp_rendered out = {0};
    fmp_err err = FMP_ERR_INIT;
    if (!context) {
        fmp_json_install_hooks();
        if (fmp_json_parse(context_text, sizeof context_text - 1, NULL, &context, NULL) != FMP_OK) {
            abort();
        }
    }
    if (fmp_template_parse((const char *)data, size, "fuzz", &template, &err) != FMP_OK) {
        return *err.message ? 0 : (abort(), 0);
    }
    const fmp_template_options options = {
        .max_steps = 20000, .max_output_bytes = 1 << 20, .has_now = true, .now_unix = 1700000000};
    if (fmp_template_render(template, context, &options, &out, &err) == FMP_OK) {
        check_spans(&out);
        check_mask(template, context, &options, &out);
    } else if (!*err.message) {
        abort();
    }
    fmp_rendered_free(&out);
    fmp_template_free(template);
    return 0;
}
