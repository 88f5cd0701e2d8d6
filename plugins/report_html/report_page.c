/*
 * The page: frame, headline, evaluation, examples, training. report_data.c and report_runs.c make the other
 * sections. What the manifest does not hold is left out; nothing is estimated.
 */
#include "report.h"
#include "report_style.h"

#include <math.h>

enum { EXAMPLES_OPEN = 6, MAX_LOSS_ROWS = 200 };

/* A measure of the evaluation: the key of its [before, after] (or [base] alone) in a row of
 * facts.evaluation. */
typedef struct measure {
    const char *key, *count; /* count: the key of the number of questions behind it */
    const char *title, *headline;
    bool fraction; /* shown as a share, more is better; else a loss, less is better */
    bool column;   /* in the table by locale, not only among the tiles              */
} measure;

static const measure measures[] = {
    {"tool_exact", "n_calls", "Tool call exact", "Tool calls that are exactly right", true, true},
    {"tool_name", "n_calls", "Right tool", "Calls of the right tool", true, false},
    {"schema_valid", "n_answers", "Schema valid", "Answers that fit their schema", true, true},
    {"answer_exact", "n_answers", "Answer exact", "Answers that are exactly right", true, true},
    {"json_parses", "n_answers", "Answer is JSON", "Answers that are JSON", true, false},
    {"loss", "n", "Loss", "Loss on the evaluation data", false, true}};
enum { N_MEASURES = sizeof measures / sizeof *measures };

typedef struct change {
    double value[2];
    bool known[2];
} change;

static change change_of(const cJSON *row, const char *key)
{
    change c = {{0, 0}, {false, false}};
    const cJSON *pair = fmp_json_get(row, key);
    for (int i = 0; i < 2; i++) {
        c.known[i] = finite_number(cJSON_GetArrayItem(pair, i), &c.value[i]);
    }
    return c;
}

static void put_measure(fmp_buf *out, const measure *m, const change *c, int side)
{
    if (!c->known[side]) {
        fmp_buf_puts(out, "–");
    } else if (m->fraction) {
        put_percent(out, c->value[side]);
    } else {
        put_number(out, c->value[side]);
    }
}

static bool got_worse(const measure *m, const change *c)
{
    double gain = m->fraction ? c->value[1] - c->value[0] : c->value[0] - c->value[1];
    return c->known[0] && c->known[1] && gain < 0;
}

/* ---------------------------------------------------------------------------------------------- finding */

/* The last stage that has the fact: later evaluations and trainings are nearer to the result. */
static const cJSON *stage_with(const cJSON *manifest, const char *fact)
{
    const cJSON *stage, *found = NULL;
    cJSON_ArrayForEach(stage, fmp_json_get(manifest, "stages"))
    {
        if (fmp_json_get(fmp_json_get(stage, "facts"), fact)) { found = stage; }
    }
    return found;
}

static const cJSON *eval_rows(const cJSON *manifest)
{
    const cJSON *rows = fmp_json_get(fmp_json_get(stage_with(manifest, "evaluation"), "facts"), "evaluation");
    return cJSON_IsArray(rows) ? rows : NULL;
}

/* The row over all locales; a table of one row is its own. */
static const cJSON *total_row(const cJSON *rows)
{
    const cJSON *row;
    cJSON_ArrayForEach(row, rows)
    {
        if (strcmp(fmp_json_str(row, "locale", ""), "all") == 0) { return row; }
    }
    return cJSON_GetArraySize(rows) == 1 ? rows->child : NULL;
}

static const char *base_name(const cJSON *manifest)
{
    const cJSON *d;
    cJSON_ArrayForEach(d, fmp_json_get(fmp_json_get(manifest, "buildDefinition"), "resolvedDependencies"))
    {
        if (strcmp(fmp_json_str(d, "kind", ""), "base_model") == 0) { return fmp_json_str(d, "name", NULL); }
    }
    return NULL;
}

static const char *page_title(const cJSON *manifest, const report_options *o)
{
    return o->title ? o->title : fmp_json_str(fmp_json_get(manifest, "pipeline"), "name", "Run");
}

/* ---------------------------------------------------------------------------------------------- headline */

static void put_header(fmp_buf *out, const cJSON *manifest, const report_options *o)
{
    const cJSON *metadata = fmp_json_get(fmp_json_get(manifest, "runDetails"), "metadata");
    const char *base = base_name(manifest), *started = fmp_json_str(metadata, "startedOn", NULL);
    fmp_buf_puts(out, "<header><p class=\"eyebrow\">fmpipe run ");
    put_text(out, fmp_json_str(manifest, "run", ""));
    if (started) {
        fmp_buf_puts(out, " · ");
        put_text(out, started);
    }
    fmp_buf_puts(out, "</p><h1>");
    put_text(out, page_title(manifest, o));
    fmp_buf_puts(out, "</h1>");
    if (base) {
        fmp_buf_puts(out, "<p>Base model <strong>");
        put_text(out, base);
        fmp_buf_puts(out, "</strong></p>");
    }
    if (o->note && *o->note) {
        fmp_buf_puts(out, "<p class=\"note\">");
        put_text(out, o->note);
        fmp_buf_puts(out, "</p>");
    }
}

/* One value where there is no other: the base model was measured alone. */
static void put_big(fmp_buf *out, const measure *m, const change *c)
{
    fmp_buf_printf(out, "<section class=\"hero\" id=\"result\"><h2>%s</h2><p class=\"big\">", m->headline);
    if (c->known[1]) {
        fmp_buf_puts(out, "<span class=\"was\">");
        put_measure(out, m, c, 0);
        fmp_buf_puts(out, "</span><span class=\"arrow\"> → </span>");
    }
    fmp_buf_puts(out, "<span class=\"now\">");
    put_measure(out, m, c, c->known[1] ? 1 : 0);
    fmp_buf_puts(out, "</span></p>");
}

/* ", with 95% confidence between 84% and 93%": the interval of a share of n questions, Wilson 1927. */
static void put_interval(fmp_buf *out, double share, double n)
{
    const double z = 1.96, z2 = z * z;
    if (!(n > 0) || !(share >= 0 && share <= 1)) { return; }
    double middle = (share + z2 / (2 * n)) / (1 + z2 / n);
    double half = z / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n));
    fmp_buf_puts(out, "; with 95% confidence between ");
    put_percent(out, fmax(middle - half, 0));
    fmp_buf_puts(out, " and ");
    put_percent(out, fmin(middle + half, 1));
}

static bool put_eval_headline(fmp_buf *out, const cJSON *rows)
{
    const cJSON *total = total_row(rows);
    for (int i = 0; i < N_MEASURES; i++) {
        const measure *m = &measures[i];
        change c = change_of(total, m->key);
        double n = count_of(total, m->count);
        int n_locales = cJSON_GetArraySize(rows) - 1;
        if (!c.known[0]) { continue; }
        put_big(out, m, &c);
        fmp_buf_puts(out, c.known[1] ? "<p class=\"soft\">Base model, then with what was trained, on "
                                     : "<p class=\"soft\">The base model alone, on ");
        put_count(out, n);
        fmp_buf_puts(out, n == 1 ? " evaluation question" : " evaluation questions");
        if (n_locales > 1) { fmp_buf_printf(out, " in %d locales", n_locales); }
        if (m->fraction) { put_interval(out, c.value[c.known[1] ? 1 : 0], n); }
        fmp_buf_printf(out, ".%s</p></section>",
                       got_worse(m, &c) ? " <strong class=\"worse\">It got worse.</strong>" : "");
        return true;
    }
    return false;
}

/* First and last value of a curve fact. */
static bool curve_ends(const cJSON *points, change *out)
{
    int n = cJSON_GetArraySize(points);
    *out = (change){{0, 0}, {false, false}};
    if (n < 1) { return false; }
    out->known[0] = finite_number(cJSON_GetArrayItem(points->child, 1), &out->value[0]);
    out->known[1] = finite_number(cJSON_GetArrayItem(cJSON_GetArrayItem(points, n - 1), 1), &out->value[1]);
    return out->known[0] && out->known[1];
}

/* Without an evaluation: the loss, else how many records came through. */
static void put_headline(fmp_buf *out, const cJSON *manifest)
{
    static const measure loss = {.headline = "Training loss, first and last"};
    const cJSON *facts = fmp_json_get(stage_with(manifest, "loss_curve"), "facts"), *stage;
    change c;
    if (put_eval_headline(out, eval_rows(manifest))) { return; }
    if (curve_ends(fmp_json_get(facts, "loss_curve"), &c)) {
        put_big(out, &loss, &c);
        fmp_buf_puts(out, "<p class=\"soft\">No evaluation stage has run: this says how well the training "
                          "data is fitted, not how well "
                          "the model does its work.</p></section>");
        return;
    }
    double first = 0, last = 0, rejected = 0;
    cJSON_ArrayForEach(stage, fmp_json_get(manifest, "stages"))
    {
        if (first <= 0) { first = count_of(stage, "in"); }
        if (count_of(stage, "out") > 0) { last = count_of(stage, "out"); }
        rejected += count_of(stage, "rejected");
    }
    fmp_buf_puts(out, "<section class=\"hero\" id=\"result\"><h2>Conversations in and out</h2><p "
                      "class=\"big\"><span class=\"was\">");
    put_count(out, first);
    fmp_buf_puts(out, "</span><span class=\"arrow\"> → </span><span class=\"now\">");
    put_count(out, last);
    fmp_buf_puts(out, "</span></p><p class=\"soft\">");
    put_count(out, rejected);
    fmp_buf_puts(out, " rejected.</p></section>");
}

/* ---------------------------------------------------------------------------------------------- tiles */

static void open_tile(fmp_buf *out, const char *name)
{
    fmp_buf_printf(out, "<div><dt>%s</dt><dd>", name);
}

/* All measures but the first, which is the headline. */
static void put_eval_tiles(fmp_buf *out, const cJSON *total)
{
    bool headline = true;
    for (int i = 0; i < N_MEASURES; i++) {
        change c = change_of(total, measures[i].key);
        if (!c.known[0]) { continue; }
        if (!headline) {
            open_tile(out, measures[i].title);
            if (c.known[1]) {
                fmp_buf_puts(out, "<small>");
                put_measure(out, &measures[i], &c, 0);
                fmp_buf_puts(out, " →</small> ");
            }
            fmp_buf_printf(out, "<span%s>", got_worse(&measures[i], &c) ? " class=\"worse\"" : "");
            put_measure(out, &measures[i], &c, c.known[1] ? 1 : 0);
            fmp_buf_puts(out, "</span></dd></div>");
        }
        headline = false;
    }
}

static void put_tiles(fmp_buf *out, const cJSON *manifest)
{
    const cJSON *stage, *training = fmp_json_get(stage_with(manifest, "trained_parameters"), "facts");
    double rejected = 0, seconds = 0, read = 0;
    int n_cached = 0;
    cJSON_ArrayForEach(stage, fmp_json_get(manifest, "stages"))
    {
        bool cached = strcmp(fmp_json_str(stage, "action", ""), "cached") == 0;
        rejected += count_of(stage, "rejected");
        n_cached += cached;
        if (!cached) { seconds += count_of(stage, "seconds"); }
        if (cJSON_GetArraySize(fmp_json_get(stage, "inputs")) == 0) { read += count_of(stage, "in"); }
    }
    fmp_buf_puts(out, "<dl class=\"tiles\">");
    put_eval_tiles(out, total_row(eval_rows(manifest)));
    open_tile(out, "Conversations read");
    put_count(out, read);
    fmp_buf_puts(out, " <small>");
    put_count(out, rejected);
    fmp_buf_puts(out, " rejected</small></dd></div>");
    if (training) {
        open_tile(out, "Trained parameters");
        put_count(out, count_of(training, "trained_parameters"));
        fmp_buf_puts(out, "</dd></div>");
    }
    open_tile(out, "Time of the stages");
    put_seconds(out, seconds);
    if (n_cached > 0) { fmp_buf_printf(out, " <small>%d cached</small>", n_cached); }
    fmp_buf_puts(out, "</dd></div></dl>");
}

/* ----------------------------------------------------------------------------------------------
 * evaluation */

static void put_measure_cell(fmp_buf *out, const measure *m, const change *c)
{
    fmp_buf_printf(out, "<td role=\"cell\" data-label=\"%s\"><span class=\"pair\"><span class=\"was\">",
                   m->title);
    put_measure(out, m, c, 0);
    fmp_buf_puts(out, "</span>");
    if (c->known[1]) {
        fmp_buf_printf(out, " → <b%s>", got_worse(m, c) ? " class=\"worse\"" : "");
        put_measure(out, m, c, 1);
        fmp_buf_puts(out, "</b>");
    }
    fmp_buf_puts(out, "</span>");
    if (m->fraction && c->known[0]) { put_bar(out, c->value[0], "bar-before"); }
    if (m->fraction && c->known[1]) { put_bar(out, c->value[1], "bar-after"); }
    fmp_buf_puts(out, "</td>");
}

static void put_eval_row(fmp_buf *out, const cJSON *row, const bool shown[N_MEASURES])
{
    const char *locale = fmp_json_str(row, "locale", "");
    bool all = strcmp(locale, "all") == 0;
    fmp_buf_printf(out, "<tr role=\"row\"%s><th role=\"rowheader\" scope=\"row\">",
                   all ? " class=\"all\"" : "");
    put_text(out, all ? "All" : *locale ? locale : "(none)");
    fmp_buf_puts(out, "</th><td role=\"cell\" class=\"n\" data-label=\"Questions\">");
    put_count(out, count_of(row, "n"));
    fmp_buf_puts(out, "</td>");
    for (int i = 0; i < N_MEASURES; i++) {
        change c = change_of(row, measures[i].key);
        if (shown[i]) { put_measure_cell(out, &measures[i], &c); }
    }
    fmp_buf_puts(out, "</tr>");
}

static void section_eval(fmp_buf *out, const cJSON *manifest)
{
    const cJSON *rows = eval_rows(manifest), *row;
    bool shown[N_MEASURES] = {false};
    if (cJSON_GetArraySize(rows) == 0) { return; }
    cJSON_ArrayForEach(row, rows)
    {
        for (int i = 0; i < N_MEASURES; i++) {
            change c = change_of(row, measures[i].key);
            shown[i] = shown[i] || (measures[i].column && (c.known[0] || c.known[1]));
        }
    }
    fmp_buf_puts(
        out,
        "<section id=\"evaluation\"><h2>Before and after, by locale</h2><p class=\"legend flat\"><span><span "
        "class=\"swatch before\">"
        "</span>base model</span><span><span class=\"swatch after\"></span>with what was trained</span></p>"
        "<table role=\"table\" class=\"stack\"><thead role=\"rowgroup\"><tr role=\"row\">"
        "<th role=\"columnheader\" scope=\"col\">Locale</th><th role=\"columnheader\" scope=\"col\" "
        "class=\"n\">Questions</th>");
    for (int i = 0; i < N_MEASURES; i++) {
        if (shown[i]) {
            fmp_buf_printf(out, "<th role=\"columnheader\" scope=\"col\">%s</th>", measures[i].title);
        }
    }
    fmp_buf_puts(out, "</tr></thead><tbody role=\"rowgroup\">");
    cJSON_ArrayForEach(row, rows)
    {
        put_eval_row(out, row, shown);
    }
    fmp_buf_puts(out, "</tbody></table><p class=\"soft\">Exact: the same tool with the same arguments, as "
                      "JSON values, or the same answer. "
                      "A dash: there is no such question in the locale.</p></section>");
}

/* ---------------------------------------------------------------------------------------------- examples */

static void put_answer(fmp_buf *out, const cJSON *example, const char *key, const char *title,
                       const char *ok_key)
{
    const cJSON *value = fmp_json_get(example, key), *ok = ok_key ? fmp_json_get(example, ok_key) : NULL;
    if (!value) { return; }
    bool judged = cJSON_IsBool(ok), right = cJSON_IsTrue(ok);
    fmp_buf_printf(out, "<div%s><dt>%s%s</dt><dd><pre dir=\"auto\"%s>",
                   strcmp(key, "prompt") == 0 ? " class=\"wide\"" : "", title,
                   !judged ? ""
                   : right ? " <span class=\"chip good\">✓ right</span>"
                           : " <span class=\"chip bad\">✗ wrong</span>",
                   !judged ? ""
                   : right ? " class=\"good\""
                           : " class=\"bad\"");
    if (cJSON_IsString(value) && !*value->valuestring) {
        fmp_buf_puts(out, "<span class=\"soft\">(nothing)</span>");
    } else {
        put_value(out, value);
    }
    fmp_buf_puts(out, "</pre></dd></div>");
}

static void put_example(fmp_buf *out, const cJSON *example)
{
    const cJSON *before = fmp_json_get(example, "ok_base"), *after = fmp_json_get(example, "ok_adapter");
    fmp_buf_puts(out, "<article class=\"example\"><h3><span>");
    put_text(out, fmp_json_str(example, "locale", ""));
    fmp_buf_puts(out, "</span>");
    if (cJSON_IsBool(before) && cJSON_IsBool(after)) {
        bool was = cJSON_IsTrue(before), is = cJSON_IsTrue(after);
        fmp_buf_printf(out, "<span class=\"chip %s\">%s</span>", is ? "good" : "bad",
                       is    ? (was ? "right before and after" : "learned")
                       : was ? "lost"
                             : "still wrong");
    }
    fmp_buf_puts(out, "<code class=\"soft\">");
    put_text(out, fmp_json_str(example, "id", ""));
    fmp_buf_puts(out, "</code></h3><dl class=\"answers\">");
    put_answer(out, example, "prompt", "Prompt", NULL);
    put_answer(out, example, "expected", "Expected", NULL);
    put_answer(out, example, "base", "Base model", "ok_base");
    put_answer(out, example, "adapter", "With what was trained", "ok_adapter");
    fmp_buf_puts(out, "</dl></article>");
}

static const cJSON *examples_of(const cJSON *manifest)
{
    return fmp_json_get(fmp_json_get(stage_with(manifest, "examples"), "facts"), "examples");
}

static void section_examples(fmp_buf *out, const cJSON *manifest, size_t max)
{
    const cJSON *list = examples_of(manifest), *example;
    size_t n = (size_t)cJSON_GetArraySize(list), i = 0;
    if (n > max) { n = max; }
    if (n == 0) { return; }
    fmp_buf_puts(out, "<section id=\"examples\"><h2>Examples</h2><p class=\"soft\">Not a random sample: "
                      "wrong answers are shown more often than they "
                      "occur.</p>");
    cJSON_ArrayForEach(example, list)
    {
        if (i == n) { break; }
        if (i == EXAMPLES_OPEN) {
            fmp_buf_printf(out, "<details><summary>%zu more</summary>", n - EXAMPLES_OPEN);
        }
        put_example(out, example);
        i++;
    }
    fmp_buf_printf(out, "%s</section>", n > EXAMPLES_OPEN ? "</details>" : "");
}

/* ---------------------------------------------------------------------------------------------- training */

static void put_fact(fmp_buf *out, const cJSON *facts, const char *key, const char *title)
{
    if (!fmp_json_get(facts, key)) { return; }
    fmp_buf_printf(out, "<div><dt>%s</dt><dd>", title);
    put_count(out, count_of(facts, key));
    fmp_buf_puts(out, "</dd></div>");
}

/* Supervised tokens that the base cannot tell apart. */
static void put_twins(fmp_buf *out, const cJSON *list)
{
    const cJSON *token;
    if (cJSON_GetArraySize(list) == 0) { return; }
    fmp_buf_puts(out,
                 "<p><strong>No adapter can tell these supervised tokens apart</strong>, because the base "
                 "scores them by the same row: ");
    cJSON_ArrayForEach(token, list)
    {
        fmp_buf_puts(out, token == list->child ? "<code>" : ", <code>");
        put_text(out, fmp_json_str(token, "text", ""));
        fmp_buf_puts(out, "</code> (id ");
        put_count(out, count_of(token, "id"));
        fmp_buf_puts(out, ", ");
        put_count(out, count_of(token, "supervised"));
        fmp_buf_puts(out, " times)");
    }
    fmp_buf_puts(out, ".</p>");
}

/* The value of `name` in rows of [name, value], or NULL. */
static const cJSON *value_of(const cJSON *rows, const char *name)
{
    const cJSON *row;
    cJSON_ArrayForEach(row, rows)
    {
        const cJSON *key = cJSON_GetArrayItem(row, 0);
        if (cJSON_IsString(key) && strcmp(key->valuestring, name) == 0) { return cJSON_GetArrayItem(row, 1); }
    }
    return NULL;
}

static void put_loss_cell(fmp_buf *out, const char *label, const cJSON *value)
{
    double v = 0.0;
    fmp_buf_printf(out, "<td role=\"cell\" class=\"n\" data-label=\"%s\">", label);
    if (fmp_json_number(value, &v)) { put_number(out, v); }
    fmp_buf_puts(out, "</td>");
}

/* Losses by some property: of the last interval of steps, of the last evaluation. `eval` may be NULL. */
static void put_losses(fmp_buf *out, const char *what, const cJSON *train, const cJSON *eval)
{
    const cJSON *lists[] = {train, eval}, *row;
    bool has_eval = cJSON_GetArraySize(eval) > 0;
    int n = 0;
    if (cJSON_GetArraySize(train) == 0 && !has_eval) { return; }
    fmp_buf_printf(
        out,
        "<table role=\"table\" class=\"stack\"><thead role=\"rowgroup\"><tr role=\"row\"><th "
        "role=\"columnheader\" scope=\"col\">%s</th><th role=\"columnheader\" scope=\"col\" "
        "class=\"n\">Last training loss</th>%s</tr></thead><tbody role=\"rowgroup\">",
        what, has_eval ? "<th role=\"columnheader\" scope=\"col\" class=\"n\">Evaluation loss</th>" : "");
    for (int k = 0; k < 2; k++) {
        cJSON_ArrayForEach(row, lists[k])
        {
            const cJSON *name = cJSON_GetArrayItem(row, 0);
            if (!cJSON_IsString(name) || (k == 1 && value_of(train, name->valuestring))) { continue; }
            if (++n > MAX_LOSS_ROWS) { break; }
            fmp_buf_puts(out, "<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">");
            put_text(out, name->valuestring);
            fmp_buf_puts(out, "</th>");
            put_loss_cell(out, "Last training loss", value_of(train, name->valuestring));
            if (has_eval) { put_loss_cell(out, "Evaluation loss", value_of(eval, name->valuestring)); }
            fmp_buf_puts(out, "</tr>");
        }
    }
    fmp_buf_puts(out, "</tbody></table>");
    if (n > MAX_LOSS_ROWS) {
        fmp_buf_printf(out, "<p class=\"soft\">Only the first %d are shown.</p>", MAX_LOSS_ROWS);
    }
}

static void put_training(fmp_buf *out, const cJSON *stage)
{
    const cJSON *facts = fmp_json_get(stage, "facts");
    char label[256];
    change c;
    curve curves[] = {{"training data", "line-train", fmp_json_get(facts, "loss_curve")},
                      {"evaluation data", "line-eval", fmp_json_get(facts, "eval_curve")}};
    fmp_buf_puts(out, "<figure><figcaption>Loss of stage <strong>");
    put_text(out, fmp_json_str(stage, "id", ""));
    fmp_buf_puts(out, "</strong> by optimizer step: ");
    put_text(out, fmp_json_str(stage, "summary", ""));
    fmp_buf_puts(out, "</figcaption>");
    label[0] = '\0';
    if (curve_ends(curves[0].points, &c)) {
        snprintf(label, sizeof label, "Line chart of the loss: on the training data from %.4g to %.4g",
                 c.value[0], c.value[1]);
    }
    if (curve_ends(curves[1].points, &c)) {
        size_t used = strlen(label);
        snprintf(label + used, sizeof label - used, ", on the evaluation data from %.4g to %.4g", c.value[0],
                 c.value[1]);
    }
    put_curves(out, label, curves, 2);
    fmp_buf_puts(out, "</figure><dl class=\"facts\">");
    put_fact(out, facts, "trained_parameters", "Trained parameters");
    put_fact(out, facts, "all_parameters", "Base and adapter");
    put_fact(out, facts, "supervised_tokens", "Supervised tokens seen");
    put_fact(out, facts, "tokens_per_second", "Tokens a second");
    fmp_buf_puts(out, "</dl>");
    put_losses(out, "Locale", fmp_json_get(facts, "loss_by_locale"),
               fmp_json_get(facts, "eval_loss_by_locale"));
    put_losses(out, "Source", fmp_json_get(facts, "loss_by_source"), NULL);
    put_twins(out, fmp_json_get(facts, "twin_tokens"));
}

static void section_training(fmp_buf *out, const cJSON *manifest)
{
    const cJSON *stage;
    if (!stage_with(manifest, "loss_curve")) { return; }
    fmp_buf_puts(out, "<section id=\"training\"><h2>Training</h2>");
    cJSON_ArrayForEach(stage, fmp_json_get(manifest, "stages"))
    {
        if (fmp_json_get(fmp_json_get(stage, "facts"), "loss_curve")) { put_training(out, stage); }
    }
    fmp_buf_puts(out, "</section>");
}

/* ---------------------------------------------------------------------------------------------- page */

static void put_nav(fmp_buf *out, const cJSON *manifest, const report_options *o)
{
    fmp_buf_puts(out, "<nav aria-label=\"Sections\">");
    if (cJSON_GetArraySize(eval_rows(manifest)) > 0) {
        fmp_buf_puts(out, "<a href=\"#evaluation\">By locale</a>");
    }
    if (o->max_examples > 0 && cJSON_GetArraySize(examples_of(manifest)) > 0) {
        fmp_buf_puts(out, "<a href=\"#examples\">Examples</a>");
    }
    if (stage_with(manifest, "loss_curve")) { fmp_buf_puts(out, "<a href=\"#training\">Training</a>"); }
    fmp_buf_puts(out, "<a href=\"#data\">Data</a>");
    if (has_token_view(manifest)) { fmp_buf_puts(out, "<a href=\"#tokens\">Tokens</a>"); }
    fmp_buf_puts(out, "<a href=\"#stages\">What ran</a><a href=\"#settings\">Settings</a>"
                      "<a href=\"#origin\">Where it comes from</a></nav></header>");
}

fmp_status report_page(const cJSON *manifest, const cJSON *rejects, const report_options *o, fmp_buf *out,
                       fmp_err *err)
{
    /* The policy makes "nothing is loaded, nothing runs" a rule that the browser keeps. */
    fmp_buf_puts(out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
                      "'unsafe-inline'\">"
                      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                      "<meta name=\"color-scheme\" content=\"light dark\"><title>");
    put_text(out, page_title(manifest, o));
    fmp_buf_puts(out, " · fmpipe report</title><style>\n");
    for (size_t i = 0; report_style[i]; i++) {
        fmp_buf_puts(out, report_style[i]);
    }
    fmp_buf_puts(out, "</style></head>\n<body>");
    put_header(out, manifest, o);
    put_nav(out, manifest, o);
    fmp_buf_puts(out, "\n<main>");
    put_headline(out, manifest);
    put_tiles(out, manifest);
    section_eval(out, manifest);
    section_examples(out, manifest, o->max_examples);
    section_training(out, manifest);
    section_data(out, manifest, rejects);
    section_tokens(out, manifest);
    section_stages(out, manifest);
    section_settings(out, manifest);
    section_origin(out, manifest);
    fmp_buf_puts(out, "</main>\n<footer><p>Made by fmpipe ");
    put_text(out, fmp_json_str(fmp_json_get(fmp_json_get(manifest, "runDetails"), "builder"), "version", ""));
    fmp_buf_puts(
        out,
        ". This page loads nothing and runs nothing; it can be sent as it is.</p></footer></body></html>\n");
    return fmp_buf_ok(out, err);
}
