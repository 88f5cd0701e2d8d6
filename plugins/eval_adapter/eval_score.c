/* Judging answers and adding them up by locale; what a terminal and a report show of it. */
#include "eval_private.h"

#include <math.h>
#include <stdlib.h>

/* --------------------------------------------------------------------------------------------- one answer */

static fmp_status judge_call(question *q, int side, const char *style, fmp_err *err)
{
    fmp_toolcalls got = {0};
    fmp_call_score score;
    fmp_err why = FMP_ERR_INIT;
    const char *text = q->answer[side];
    if (fmp_toolcall_parse(text, strlen(text), style, &got, &why) != FMP_OK) {
        return FMP_OK;
    } /* no calls that could be right */
    q->parses[side] = got.calls && got.calls->child;
    fmp_status status = fmp_score_tool_calls(q->expected, got.calls, 0, &score, err);
    if (status == FMP_OK) {
        q->exact[side] = score.exact;
        q->name_ok[side] = score.n_expected > 0 && score.name_exact == score.n_expected && score.extra == 0;
    }
    cJSON_Delete(got.calls);
    return status;
}

static fmp_status judge_answer(question *q, int side, fmp_err *err)
{
    fmp_schema *schema = NULL;
    fmp_json_score score;
    const char *text = q->answer[side];
    if (q->schema) { FMP_TRY(fmp_schema_compile(q->schema, NULL, &schema, err)); }
    fmp_status status = fmp_score_json(q->expected, text, strlen(text), schema, &score, err);
    fmp_schema_free(schema);
    if (status == FMP_OK) {
        q->parses[side] = score.parses;
        q->valid[side] = score.valid;
        q->exact[side] = score.exact;
    }
    return status;
}

fmp_status exam_judge(question *q, int side, const char *style, fmp_err *err)
{
    return q->kind == ASK_CALL ? judge_call(q, side, style, err) : judge_answer(q, side, err);
}

/* ---------------------------------------------------------------------------------------------- totals */

static int by_locale(const void *a, const void *b)
{
    return strcmp(((const score_row *)a)->locale, ((const score_row *)b)->locale);
}

fmp_status table_make(const exam *e, score_table *out, fmp_err *err)
{
    out->n = 0;
    out->rows = calloc(e->n_samples + 2, sizeof *out->rows);
    if (!out->rows) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    for (size_t i = 0; i < e->n_samples; i++) {
        bool known = false;
        for (size_t k = 0; k < out->n && !known; k++) {
            known = strcmp(out->rows[k].locale, e->samples[i].locale) == 0;
        }
        if (!known) { out->rows[out->n++].locale = e->samples[i].locale; }
    }
    qsort(out->rows, out->n, sizeof *out->rows, by_locale);
    out->rows[out->n++].locale = "all";
    return FMP_OK;
}

score_row *table_row(const score_table *t, const char *locale)
{
    for (size_t i = 0; i + 1 < t->n; i++) {
        if (strcmp(t->rows[i].locale, locale) == 0) { return &t->rows[i]; }
    }
    return &t->rows[t->n - 1];
}

static void count_question(score_row *row, const question *q, int n_sides)
{
    row->n++;
    row->n_calls += q->kind == ASK_CALL;
    row->n_answers += q->kind == ASK_ANSWER;
    for (int side = 0; side < n_sides; side++) {
        if (q->kind == ASK_CALL) {
            row->call_exact[side] += q->exact[side];
            row->call_name[side] += q->name_ok[side];
        } else {
            row->parses[side] += q->parses[side];
            row->valid[side] += q->valid[side];
            row->answer_exact[side] += q->exact[side];
        }
    }
}

void table_count(const exam *e, score_table *t, int n_sides)
{
    for (size_t i = 0; i < e->n_questions; i++) {
        score_row *row = table_row(t, e->questions[i].locale), *all = &t->rows[t->n - 1];
        count_question(row, &e->questions[i], n_sides);
        if (row != all) { count_question(all, &e->questions[i], n_sides); }
    }
}

/* ---------------------------------------------------------------------------------------------- shown */

/* "0.0 % → 91.7 %" */
static void percent_cell(cJSON *row, const uint64_t part[N_SIDES], uint64_t whole, int n_sides)
{
    char text[64];
    if (whole == 0) {
        snprintf(text, sizeof text, "–");
    } else if (n_sides == 1) {
        snprintf(text, sizeof text, "%.1f %%", 100.0 * (double)part[BASE] / (double)whole);
    } else {
        snprintf(text, sizeof text, "%.1f %% → %.1f %%", 100.0 * (double)part[BASE] / (double)whole,
                 100.0 * (double)part[ADAPTED] / (double)whole);
    }
    cJSON_AddItemToArray(row, cJSON_CreateString(text));
}

static void loss_cell(cJSON *row, const score_row *r, int n_sides)
{
    char text[64] = "–";
    if (r->weight[BASE] > 0 && n_sides == 1) {
        snprintf(text, sizeof text, "%.2f", r->nll[BASE] / r->weight[BASE]);
    }
    if (r->weight[BASE] > 0 && n_sides == 2) {
        snprintf(text, sizeof text, "%.2f → %.2f", r->nll[BASE] / r->weight[BASE],
                 r->nll[ADAPTED] / r->weight[ADAPTED]);
    }
    cJSON_AddItemToArray(row, cJSON_CreateString(text));
}

/* Half width of the 95 % interval of a share, in points (Wilson would differ by tenths here). */
static double margin(uint64_t part, uint64_t whole)
{
    double p = whole > 0 ? (double)part / (double)whole : 0;
    return whole > 0 ? 196.0 * sqrt(p * (1 - p) / (double)whole) : 0;
}

cJSON *table_for_terminal(const score_table *t, int n_sides)
{
    static const char *const columns[] = {"locale",       "n",   "tool call exact", "schema valid",
                                          "answer exact", "loss"};
    cJSON *table = cJSON_CreateObject(), *head = cJSON_AddArrayToObject(table, "columns"),
          *rows = cJSON_AddArrayToObject(table, "rows");
    char text[96];
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        cJSON_AddItemToArray(head, cJSON_CreateString(columns[i]));
    }
    for (size_t i = 0; i < t->n; i++) {
        const score_row *r = &t->rows[i];
        cJSON *row = cJSON_CreateArray();
        cJSON_AddItemToArray(row, cJSON_CreateString(*r->locale ? r->locale : "(none)"));
        snprintf(text, sizeof text, "%llu", (unsigned long long)r->n);
        cJSON_AddItemToArray(row, cJSON_CreateString(text));
        percent_cell(row, r->call_exact, r->n_calls, n_sides);
        percent_cell(row, r->valid, r->n_answers, n_sides);
        percent_cell(row, r->answer_exact, r->n_answers, n_sides);
        loss_cell(row, r, n_sides);
        cJSON_AddItemToArray(rows, row);
    }
    const score_row *all = &t->rows[t->n - 1];
    snprintf(text, sizeof text, "tool call exact of all: ± %.1f points (95 %%)",
             margin(all->call_exact[n_sides - 1], all->n_calls));
    cJSON_AddStringToObject(table, "note", text);
    if (n_sides == 2) {
        static const char *const sides[] = {"base", "adapter"};
        cJSON_AddItemToObject(table, "sides", cJSON_CreateStringArray(sides, 2));
    }
    return table;
}

static void add_pair(cJSON *row, const char *key, const double value[N_SIDES], int n_sides)
{
    cJSON *pair = cJSON_AddArrayToObject(row, key);
    for (int side = 0; side < n_sides; side++) {
        cJSON_AddItemToArray(pair,
                             isfinite(value[side]) ? cJSON_CreateNumber(value[side]) : cJSON_CreateNull());
    }
}

static void add_share(cJSON *row, const char *key, const uint64_t part[N_SIDES], uint64_t whole, int n_sides)
{
    double value[N_SIDES];
    for (int side = 0; side < N_SIDES; side++) {
        value[side] = whole > 0 ? (double)part[side] / (double)whole : NAN;
    }
    add_pair(row, key, value, n_sides);
}

cJSON *table_as_data(const score_table *t, int n_sides)
{
    cJSON *rows = cJSON_CreateArray();
    for (size_t i = 0; i < t->n; i++) {
        const score_row *r = &t->rows[i];
        cJSON *row = cJSON_CreateObject();
        double loss[N_SIDES];
        for (int side = 0; side < N_SIDES; side++) {
            loss[side] = r->weight[side] > 0 ? r->nll[side] / r->weight[side] : NAN;
        }
        cJSON_AddStringToObject(row, "locale", r->locale);
        cJSON_AddNumberToObject(row, "n", (double)r->n);
        cJSON_AddNumberToObject(row, "n_calls", (double)r->n_calls);
        cJSON_AddNumberToObject(row, "n_answers", (double)r->n_answers);
        add_share(row, "tool_exact", r->call_exact, r->n_calls, n_sides);
        add_share(row, "tool_name", r->call_name, r->n_calls, n_sides);
        add_share(row, "json_parses", r->parses, r->n_answers, n_sides);
        add_share(row, "schema_valid", r->valid, r->n_answers, n_sides);
        add_share(row, "answer_exact", r->answer_exact, r->n_answers, n_sides);
        add_pair(row, "loss", loss, n_sides);
        cJSON_AddItemToArray(rows, row);
    }
    return rows;
}

static cJSON *one_example(const question *q, int n_sides)
{
    cJSON *row = cJSON_CreateObject();
    char *expected = fmp_json_text(q->expected, FMP_JSON_SPACED);
    cJSON_AddStringToObject(row, "id", q->record_id);
    cJSON_AddStringToObject(row, "locale", q->locale);
    cJSON_AddStringToObject(row, "kind", q->kind == ASK_CALL ? "call" : "answer");
    cJSON_AddStringToObject(row, "prompt", q->shown);
    cJSON_AddStringToObject(row, "expected", expected ? expected : "");
    cJSON_AddStringToObject(row, "base", q->answer[BASE]);
    cJSON_AddBoolToObject(row, "ok_base", q->exact[BASE]);
    if (n_sides == 2) {
        cJSON_AddStringToObject(row, "adapter", q->answer[ADAPTED]);
        cJSON_AddBoolToObject(row, "ok_adapter", q->exact[ADAPTED]);
    }
    free(expected);
    return row;
}

/* Half of them failures if there are that many, more if the rest do not fill `most`; evenly spread over
 * the questions. */
cJSON *examples(const exam *e, int n_sides, size_t most)
{
    cJSON *out = cJSON_CreateArray();
    size_t n_wrong = 0, want[2], given[2] = {0}, seen[2] = {0};
    int last = n_sides - 1;
    for (size_t i = 0; i < e->n_questions; i++) {
        n_wrong += !e->questions[i].exact[last];
    }
    size_t total[2] = {n_wrong, e->n_questions - n_wrong};
    size_t half = most - most / 2, right = total[1] < half ? total[1] : half;
    want[0] = n_wrong < most - right ? n_wrong : most - right;
    want[1] = total[1] < most - want[0] ? total[1] : most - want[0];
    for (size_t i = 0; i < e->n_questions; i++) {
        int ok = e->questions[i].exact[last];
        if (want[ok] > 0 && given[ok] < want[ok] && seen[ok] * want[ok] >= given[ok] * total[ok]) {
            cJSON_AddItemToArray(out, one_example(&e->questions[i], n_sides));
            given[ok]++;
        }
        seen[ok]++;
    }
    return out;
}
