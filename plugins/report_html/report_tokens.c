/*
 * Two of the training conversations, token by token: what is learned, what is only read, and which field of
 * the input each token came from. The data is the fact `token_view` of the stage that made the tokens.
 */
#include "report.h"

enum { N_KINDS = 4 };

static const struct {
    const char *name, *css, *title;
} kinds[N_KINDS] = {{"template", "tk-t", "template"},
                    {"input", "tk-i", "input, only read"},
                    {"learned", "tk-l", "learned"},
                    {"forced", "tk-f", "learned, but forced by its schema"}};

static const char *kind_class(const char *name)
{
    for (int k = 0; k < N_KINDS; k++) {
        if (strcmp(kinds[k].name, name) == 0) { return kinds[k].css; }
    }
    return kinds[0].css;
}

/* One row of the fact: [id, text, kind, weight, source]. */
typedef struct token_row {
    double id, weight;
    const char *text, *kind, *source;
} token_row;

static const char *string_at(const cJSON *array, int i)
{
    const cJSON *node = cJSON_GetArrayItem(array, i);
    return cJSON_IsString(node) ? node->valuestring : "";
}

static token_row row_of(const cJSON *row, const cJSON *sources)
{
    token_row r = {.text = string_at(row, 1), .kind = string_at(row, 2), .source = ""};
    double source = -1;
    (void)finite_number(cJSON_GetArrayItem(row, 0), &r.id);
    (void)finite_number(cJSON_GetArrayItem(row, 3), &r.weight);
    if (finite_number(cJSON_GetArrayItem(row, 4), &source) && source >= 0 &&
        source < cJSON_GetArraySize(sources)) {
        r.source = string_at(sources, (int)source);
    }
    return r;
}

static void put_band(fmp_buf *out, const cJSON *tokens, const cJSON *sources)
{
    const cJSON *row;
    fmp_buf_puts(out, "<pre class=\"tk\" dir=\"auto\">");
    cJSON_ArrayForEach(row, tokens)
    {
        token_row r = row_of(row, sources);
        fmp_buf_printf(out, "<span class=\"%s\">", kind_class(r.kind));
        put_text(out, r.text);
        fmp_buf_puts(out, "</span>");
    }
    fmp_buf_puts(out, "</pre>");
}

static void put_token_rows(fmp_buf *out, const cJSON *tokens, const cJSON *sources)
{
    const cJSON *row;
    size_t i = 0;
    fmp_buf_puts(
        out, "<details><summary>Token by token</summary><table><thead><tr><th scope=\"col\" class=\"n\">"
             "Token</th><th scope=\"col\" class=\"n\">Id</th><th scope=\"col\">Text</th><th scope=\"col\" "
             "class=\"n\">Weight</th><th scope=\"col\">From</th></tr></thead><tbody>");
    cJSON_ArrayForEach(row, tokens)
    {
        token_row r = row_of(row, sources);
        fmp_buf_printf(out, "<tr><td class=\"n\">%zu</td><td class=\"n\">%.0f</td><td><code class=\"%s\">",
                       i++, r.id, kind_class(r.kind));
        put_text(out, r.text);
        fmp_buf_printf(out, "</code></td><td class=\"n\">%.6g</td><td><code>", r.weight);
        put_text(out, r.source);
        fmp_buf_puts(out, "</code></td></tr>");
    }
    fmp_buf_puts(out, "</tbody></table></details>");
}

static const cJSON *views_of(const cJSON *manifest)
{
    return fmp_json_get(fmp_json_get(training_tokens(manifest), "facts"), "token_view");
}

bool has_token_view(const cJSON *manifest)
{
    return cJSON_GetArraySize(views_of(manifest)) > 0;
}

void section_tokens(fmp_buf *out, const cJSON *manifest)
{
    const cJSON *views = views_of(manifest), *view;
    if (!has_token_view(manifest)) { return; }
    fmp_buf_puts(
        out, "<section id=\"tokens\"><h2>What the model learns from</h2><p class=\"soft\">Training "
             "conversations as the model sees them. It learns to write the coloured parts and only reads the "
             "rest.</p><p class=\"legend flat\">");
    for (int k = 0; k < N_KINDS; k++) {
        fmp_buf_printf(out, "<span><span class=\"swatch %s\"></span>%s</span>", kinds[k].css, kinds[k].title);
    }
    fmp_buf_puts(out, "</p>");
    cJSON_ArrayForEach(view, views)
    {
        const cJSON *tokens = fmp_json_get(view, "tokens"), *sources = fmp_json_get(view, "sources");
        fmp_buf_puts(out, "<article class=\"example\"><h3>Record <code class=\"soft\">");
        put_text(out, fmp_json_str(view, "record", ""));
        fmp_buf_puts(out, "</code></h3>");
        put_band(out, tokens, sources);
        put_token_rows(out, tokens, sources);
        fmp_buf_puts(out, "</article>");
    }
    fmp_buf_puts(out, "<p class=\"soft\">Any other conversation of the run: <code>fmpipe inspect tokens "
                      "RECORD</code></p></section>");
}
