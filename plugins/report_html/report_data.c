/*
 * The data sections: where records were lost, why, of which locale, how long the conversations are and how
 * much of them is supervised.
 */
#include "report.h"

enum { MAX_LOCALE_ROWS = 200 };

static const cJSON *facts_of(const cJSON *stage)
{
    return fmp_json_get(stage, "facts");
}

static const cJSON *first_with(const cJSON *manifest, const char *fact)
{
    const cJSON *stage;
    cJSON_ArrayForEach(stage, fmp_json_get(manifest, "stages"))
    {
        if (fmp_json_get(facts_of(stage), fact)) { return stage; }
    }
    return NULL;
}

static const cJSON *stage_named(const cJSON *manifest, const char *id)
{
    const cJSON *stage;
    cJSON_ArrayForEach(stage, fmp_json_get(manifest, "stages"))
    {
        if (strcmp(fmp_json_str(stage, "id", ""), id) == 0) { return stage; }
    }
    return NULL;
}

const cJSON *training_tokens(const cJSON *manifest)
{
    const cJSON *stage, *input, *found = NULL;
    cJSON_ArrayForEach(stage, fmp_json_get(manifest, "stages"))
    {
        if (!fmp_json_get(facts_of(stage), "loss_curve")) { continue; }
        cJSON_ArrayForEach(input, fmp_json_get(stage, "inputs"))
        {
            if (strcmp(fmp_json_str(input, "port", ""), "tokens") == 0) {
                found = stage_named(manifest, fmp_json_str(input, "stage", ""));
            }
        }
    }
    return fmp_json_get(facts_of(found), "histogram") ? found : first_with(manifest, "histogram");
}

/* ---------------------------------------------------------------------------------------------- flow */

/* Where the records of one stage went. Stages whose result is no records keep what they did not refuse or
 * leave out. */
typedef struct flow {
    double in, kept, dropped, rejected;
} flow;

bool makes_records(const cJSON *stage)
{
    const cJSON *outputs = object_at(stage, "outputs");
    bool streamed = !outputs || !outputs->child;
    return count_of(stage, "out") > 0 || streamed || fmp_json_get(outputs, "records") ||
           fmp_json_get(stage, "out_by");
}

static flow flow_of(const cJSON *stage)
{
    flow f = {
        .in = count_of(stage, "in"), .kept = count_of(stage, "out"), .rejected = count_of(stage, "rejected")};
    if (!makes_records(stage)) {
        f.dropped = count_of(facts_of(stage), "dropped_too_long");
        f.kept = f.in - f.rejected - f.dropped;
    } else {
        f.dropped = f.in - f.kept - f.rejected;
    }
    if (f.dropped < 0) { f.dropped = 0; } /* a stage may make more records than it gets */
    if (f.kept < 0) { f.kept = 0; }
    return f;
}

static void put_loss(fmp_buf *out, double n, const char *word)
{
    if (n <= 0) { return; }
    fmp_buf_puts(out, ", <strong>");
    put_count(out, n);
    fmp_buf_printf(out, " %s</strong>", word);
}

static void put_flow(fmp_buf *out, const cJSON *stage, double widest)
{
    const cJSON *part;
    flow f = flow_of(stage);
    fmp_buf_puts(out, "<li><div class=\"line\"><span><strong>");
    put_text(out, fmp_json_str(stage, "id", ""));
    fmp_buf_puts(out, "</strong> <span class=\"soft\">");
    put_text(out, fmp_json_str(stage, "use", ""));
    fmp_buf_puts(out, "</span></span><span>");
    put_count(out, f.in);
    fmp_buf_puts(out, " in → ");
    put_count(out, f.kept);
    fmp_buf_puts(out, makes_records(stage) ? " out" : " used");
    put_loss(out, f.dropped, "dropped");
    put_loss(out, f.rejected, "rejected");
    fmp_buf_puts(out, "</span></div>");
    put_flow_bar(out, f.kept / widest, f.dropped / widest, f.rejected / widest);
    if (cJSON_GetArraySize(object_at(stage, "out_by")) > 1) {
        const char *between = "<div class=\"soft\">";
        cJSON_ArrayForEach(part, object_at(stage, "out_by"))
        {
            fmp_buf_puts(out, between);
            put_text(out, part->string);
            fmp_buf_putc(out, ' ');
            put_count(out, count_of(object_at(stage, "out_by"), part->string));
            between = " · ";
        }
        fmp_buf_puts(out, "</div>");
    }
    fmp_buf_puts(out, "</li>");
}

static void put_flows(fmp_buf *out, const cJSON *manifest)
{
    const cJSON *stages = fmp_json_get(manifest, "stages"), *stage;
    double widest = 0;
    cJSON_ArrayForEach(stage, stages)
    {
        double in = count_of(stage, "in"), made = count_of(stage, "out");
        widest = in > widest ? in : widest;
        widest = made > widest ? made : widest;
    }
    if (widest <= 0) { return; }
    fmp_buf_puts(out, "<h3>Where conversations went</h3><p class=\"legend flat\"><span><span class=\"swatch "
                      "after\"></span>went on</span>"
                      "<span><span class=\"swatch dropped\"></span>dropped by a rule</span><span><span "
                      "class=\"swatch rejected\"></span>"
                      "rejected as unfit</span></p><ol class=\"flowlist\">");
    cJSON_ArrayForEach(stage, stages)
    {
        if (count_of(stage, "in") > 0) { put_flow(out, stage, widest); }
    }
    fmp_buf_puts(out, "</ol>");
}

/* ---------------------------------------------------------------------------------------------- rejects */

static void put_reason_rows(fmp_buf *out, const cJSON *stage, const cJSON *by, const char *kind)
{
    const cJSON *reason;
    cJSON_ArrayForEach(reason, by)
    {
        if (strncmp(reason->string, "locale.", 7) == 0) { continue; } /* in the table by locale */
        fmp_buf_puts(out, "<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">");
        put_text(out, fmp_json_str(stage, "id", ""));
        fmp_buf_printf(out, "</th><td role=\"cell\" data-label=\"What\">%s <code>", kind);
        put_text(out, reason->string);
        fmp_buf_puts(out, "</code></td><td role=\"cell\" class=\"n\" data-label=\"Number\">");
        put_count(out, count_of(by, reason->string));
        fmp_buf_puts(out, "</td></tr>");
    }
}

static bool has_reasons(const cJSON *by)
{
    const cJSON *reason;
    cJSON_ArrayForEach(reason, by)
    {
        if (strncmp(reason->string, "locale.", 7) != 0) { return true; }
    }
    return false;
}

static void put_reasons(fmp_buf *out, const cJSON *manifest)
{
    const cJSON *stages = fmp_json_get(manifest, "stages"), *stage;
    bool any = false;
    cJSON_ArrayForEach(stage, stages)
    {
        any = any || has_reasons(object_at(stage, "rejected_by")) || has_reasons(object_at(stage, "counts"));
    }
    if (!any) { return; }
    fmp_buf_puts(
        out,
        "<h3>Rejected and counted</h3><table role=\"table\"><thead role=\"rowgroup\"><tr role=\"row\">"
        "<th role=\"columnheader\" scope=\"col\">Stage</th><th role=\"columnheader\" scope=\"col\">What</th>"
        "<th role=\"columnheader\" scope=\"col\" class=\"n\">Number</th></tr></thead><tbody "
        "role=\"rowgroup\">");
    cJSON_ArrayForEach(stage, stages)
    {
        put_reason_rows(out, stage, object_at(stage, "rejected_by"), "rejected:");
        put_reason_rows(out, stage, object_at(stage, "counts"), "counted:");
    }
    fmp_buf_puts(out, "</tbody></table>");
}

static void put_reject_examples(fmp_buf *out, const cJSON *rejects)
{
    const cJSON *list = fmp_json_get(rejects, "examples"), *row;
    if (cJSON_GetArraySize(list) == 0) { return; }
    fmp_buf_puts(out, "<details><summary>The first rejected rows <span class=\"soft\">(all of them: "
                      "rejected.jsonl in the run's folder)</span>"
                      "</summary><ul>");
    cJSON_ArrayForEach(row, list)
    {
        fmp_buf_puts(out, "<li><code>");
        put_text(out, fmp_json_str(row, "file", ""));
        fmp_buf_putc(out, ':');
        put_count(out, count_of(row, "line"));
        fmp_buf_puts(out, "</code> ");
        put_text(out, fmp_json_str(row, "message", ""));
        fmp_buf_puts(out, " <span class=\"soft\">(");
        put_text(out, fmp_json_str(row, "stage", ""));
        fmp_buf_puts(out, ": ");
        put_text(out, fmp_json_str(row, "reason", ""));
        fmp_buf_puts(out, ")</span></li>");
    }
    fmp_buf_puts(out, "</ul></details>");
}

/* ---------------------------------------------------------------------------------------------- locales */

/* What is known of each locale, from three places. Any may be NULL. */
typedef struct locales {
    const cJSON *split, *tokens, *rejected;
    const char *names[MAX_LOCALE_ROWS];
    size_t n;
    bool truncated, has_test;
} locales;

static void add_names(locales *l, const cJSON *object)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, object)
    {
        size_t at = 0;
        while (at < l->n && strcmp(l->names[at], item->string) < 0) {
            at++;
        }
        if (at < l->n && strcmp(l->names[at], item->string) == 0) { continue; }
        l->truncated = l->truncated || l->n == MAX_LOCALE_ROWS;
        if (l->n == MAX_LOCALE_ROWS) { continue; }
        memmove(&l->names[at + 1], &l->names[at], (l->n - at) * sizeof *l->names);
        l->names[at] = item->string;
        l->n++;
    }
}

static void put_locale_cell(fmp_buf *out, const char *label, const cJSON *row, const char *key)
{
    fmp_buf_printf(out, "<td role=\"cell\" class=\"n\" data-label=\"%s\">", label);
    put_count(out, count_of(row, key));
    fmp_buf_puts(out, "</td>");
}

static void put_locale_row(fmp_buf *out, const locales *l, const char *name)
{
    const cJSON *split = fmp_json_get(l->split, name), *tokens = fmp_json_get(l->tokens, name);
    fmp_buf_puts(out, "<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">");
    put_text(out, name);
    fmp_buf_puts(out, "</th>");
    if (l->split) {
        put_locale_cell(out, "Train", split, "train");
        put_locale_cell(out, "Evaluation", split, "eval");
        if (l->has_test) { put_locale_cell(out, "Test", split, "test"); }
    }
    if (l->rejected) { put_locale_cell(out, "Rejected", l->rejected, name); }
    if (l->tokens) {
        double share = count_of(tokens, "supervised_share");
        put_locale_cell(out, "Training tokens", tokens, "tokens");
        fmp_buf_puts(out, "<td role=\"cell\" data-label=\"Supervised share\">");
        put_percent(out, share);
        put_bar(out, share, "bar-plain");
        fmp_buf_puts(out, "</td>");
    }
    fmp_buf_puts(out, "</tr>");
}

static void put_locale_head(fmp_buf *out, const locales *l)
{
    static const char head[] = "<th role=\"columnheader\" scope=\"col\" class=\"n\">%s</th>";
    fmp_buf_puts(
        out,
        "<h3>By locale</h3><table role=\"table\" class=\"stack\"><thead role=\"rowgroup\"><tr role=\"row\">"
        "<th role=\"columnheader\" scope=\"col\">Locale</th>");
    if (l->split) {
        fmp_buf_printf(out, head, "Train");
        fmp_buf_printf(out, head, "Evaluation");
        if (l->has_test) { fmp_buf_printf(out, head, "Test"); }
    }
    if (l->rejected) { fmp_buf_printf(out, head, "Rejected"); }
    if (l->tokens) {
        fmp_buf_printf(out, head, "Training tokens");
        fmp_buf_puts(out, "<th role=\"columnheader\" scope=\"col\">Supervised share</th>");
    }
    fmp_buf_puts(out, "</tr></thead><tbody role=\"rowgroup\">");
}

static void put_locales(fmp_buf *out, const cJSON *manifest, const cJSON *rejects)
{
    const cJSON *row;
    locales l = {.split = object_at(facts_of(first_with(manifest, "by_stratum")), "by_stratum"),
                 .tokens = object_at(facts_of(training_tokens(manifest)), "by_locale"),
                 .rejected = object_at(rejects, "by_locale")};
    if (cJSON_GetArraySize(l.rejected) == 0) { l.rejected = NULL; }
    add_names(&l, l.split);
    add_names(&l, l.tokens);
    add_names(&l, l.rejected);
    if (l.n == 0) { return; }
    cJSON_ArrayForEach(row, l.split)
    {
        l.has_test = l.has_test || count_of(row, "test") > 0;
    }
    put_locale_head(out, &l);
    for (size_t i = 0; i < l.n; i++) {
        put_locale_row(out, &l, l.names[i]);
    }
    fmp_buf_puts(out, "</tbody></table>");
    if (l.truncated) {
        fmp_buf_printf(out, "<p class=\"soft\">Only the first %d locales are shown.</p>", MAX_LOCALE_ROWS);
    }
}

/* ---------------------------------------------------------------------------------------------- lengths */

static void put_lengths(fmp_buf *out, const cJSON *manifest)
{
    const cJSON *stage = training_tokens(manifest), *facts = facts_of(stage),
                *histogram = fmp_json_get(facts, "histogram");
    double longest = count_of(histogram, "longest");
    char label[200];
    if (!histogram) { return; }
    fmp_buf_puts(out, "<h3>Lengths and supervision</h3><figure><figcaption>Conversations by their length in "
                      "tokens, stage <strong>");
    put_text(out, fmp_json_str(stage, "id", ""));
    fmp_buf_puts(out, "</strong>; the longest has ");
    put_count(out, longest);
    fmp_buf_puts(out, ".</figcaption>");
    snprintf(label, sizeof label, "Histogram of conversation lengths in tokens; the longest has %.0f",
             longest);
    put_histogram(out, label, fmp_json_get(histogram, "counts"), count_of(histogram, "bucket_tokens"));
    fmp_buf_puts(out, "</figure><dl class=\"facts\"><div><dt>Tokens</dt><dd>");
    put_count(out, count_of(facts, "tokens"));
    fmp_buf_puts(out, "</dd></div><div><dt>Supervised share</dt><dd>");
    put_percent(out, count_of(facts, "supervised_share"));
    fmp_buf_puts(out, "</dd></div><div><dt>Packed rows</dt><dd>");
    put_count(out, count_of(facts, "bins"));
    fmp_buf_puts(out, "</dd></div><div><dt>Rows filled to</dt><dd>");
    put_percent(out, count_of(facts, "fill"));
    fmp_buf_puts(out, "</dd></div></dl><p class=\"soft\">Supervised are the tokens that the model learns to "
                      "write; the others are only read. "
                      "The share is that of the training data.</p>");
}

void section_data(fmp_buf *out, const cJSON *manifest, const cJSON *rejects)
{
    fmp_buf_puts(out, "\n<section id=\"data\"><h2>Data</h2>");
    put_flows(out, manifest);
    put_reasons(out, manifest);
    put_reject_examples(out, rejects);
    put_locales(out, manifest, rejects);
    put_lengths(out, manifest);
    fmp_buf_puts(out, "</section>");
}
