/* eval_private.h: questions, answers and totals of eval.adapter. */
#ifndef EVAL_PRIVATE_H
#define EVAL_PRIVATE_H

#include <fmpipe/golden.h>
#include <fmpipe/json.h>
#include <fmpipe/model.h>
#include <fmpipe/plugin.h>
#include <fmpipe/schema.h>

typedef enum question_kind { ASK_CALL, ASK_ANSWER } question_kind;

/* Before and after: index 0 is the base model, 1 the adapted one. */
enum { BASE, ADAPTED, N_SIDES };

/* One thing the model is asked: the conversation up to an assistant turn. Everything lives in the run's arena. */
typedef struct question {
    question_kind kind;
    const char *record_id, *locale, *shown; /* shown: the last user message, for people */
    const uint32_t *prompt;
    size_t n_prompt;
    const cJSON *expected; /* calls, or the JSON value of the answer */
    const cJSON *schema;   /* of the answer; NULL: any JSON          */
    const char *answer[N_SIDES];
    bool exact[N_SIDES], parses[N_SIDES], valid[N_SIDES], name_ok[N_SIDES];
} question;

/* Tokens of a whole conversation, for the loss. */
typedef struct sample {
    const char *locale;
    const uint32_t *id;
    const float *weight;
    size_t n;
} sample;

typedef struct exam {
    const fmp_chat *chat;
    fmp_arena *arena;
    question *questions;
    size_t n_questions, cap_questions;
    sample *samples;
    size_t n_samples, cap_samples;
    size_t n_records, n_too_long;
    size_t max_tokens; /* of a prompt with its answer, or a conversation: the option, or the model's positions if fewer */
} exam;

/* Totals of one locale, or of all. */
typedef struct score_row {
    const char *locale;
    uint64_t n, n_calls, n_answers;
    uint64_t call_exact[N_SIDES], call_name[N_SIDES], parses[N_SIDES], valid[N_SIDES], answer_exact[N_SIDES];
    double nll[N_SIDES], weight[N_SIDES];
} score_row;

typedef struct score_table {
    score_row *rows; /* locales in byte order, "all" last */
    size_t n;
} score_table;

/* Judge answer text of one side. */
FMP_MUST_USE fmp_status exam_judge(question *q, int side, const char *style, fmp_err *err);

FMP_MUST_USE fmp_status table_make(const exam *e, score_table *out, fmp_err *err);
score_row *table_row(const score_table *t, const char *locale);
void table_count(const exam *e, score_table *t, int n_sides);
cJSON *table_for_terminal(const score_table *t, int n_sides);
cJSON *table_as_data(const score_table *t, int n_sides);
cJSON *examples(const exam *e, int n_sides, size_t most);

#endif
