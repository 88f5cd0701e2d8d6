/*
 * Tokens that a frozen base cannot tell apart. A token that its training never met keeps the row it was made with, and such
 * rows are often copies of each other: two tokens with one row get one score, whatever an adapter does to the layers before.
 *
 * Rows are the same here if they differ by less than TOLERANCE of the median row's length. To find them without comparing
 * each with each, every row is projected on N_AXES random directions of length 1: projections differ by no more than the
 * rows do. Sorted by the first, only neighbours whose other projections agree are compared in full.
 */
#include "train_private.h"

#include <fmpipe/fs.h>
#include <fmpipe/tokenizer.h>

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define TOLERANCE 1e-3
enum { N_AXES = 6, BLOCK = 256, TOKENS_TOLD = 4, LONGEST_TOLD = 32, TOKENS_KEPT = 64 };

typedef struct twin_row {
    uint32_t id;
    uint32_t leader; /* the id that stands for all with this row */
    uint64_t count;  /* how often it is supervised               */
    double length;
    float at[N_AXES];
} twin_row;

typedef struct twin_search {
    fmp_model *model;
    size_t C, n;
    twin_row *row; /* (n) */
    float *axis;   /* (N_AXES, C), each of length 1 */
    float *block;  /* (BLOCK, C) */
    double bound;  /* rows closer than this are the same */
} twin_search;

/* One row for each token that has a weight somewhere. */
static fmp_status count_supervised(const fmp_tokens *tokens, uint32_t V, twin_search *s, fmp_err *err)
{
    uint64_t *count = calloc(V, sizeof *count);
    if (!count) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for counts of %u tokens", V); }
    for (uint64_t i = 0; i < tokens->n_tokens; i++) {
        if (tokens->weight[i] > 0.0f && tokens->ids[i] < V) { s->n += count[tokens->ids[i]]++ == 0; }
    }
    s->row = calloc(s->n + 1, sizeof *s->row);
    size_t n = 0;
    for (uint32_t id = 0; s->row && id < V; id++) {
        if (count[id] > 0) { s->row[n++] = (twin_row){.id = id, .leader = id, .count = count[id]}; }
    }
    free(count);
    return s->row ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for %zu tokens", s->n);
}

static void make_axes(twin_search *s)
{
    for (int k = 0; k < N_AXES; k++) {
        float *axis = s->axis + (size_t)k * s->C;
        for (size_t c = 0; c < s->C; c++) {
            float sign = fmp_rng_below(1, (uint64_t)k, c, 2) ? 1.0f : -1.0f;
            axis[c] = sign / sqrtf((float)s->C);
        }
    }
}

static void project(const twin_search *s, const float *values, twin_row *row)
{
    double sum[N_AXES] = {0}, square = 0.0;
    for (size_t c = 0; c < s->C; c++) {
        square += (double)values[c] * (double)values[c];
        for (int k = 0; k < N_AXES; k++) {
            sum[k] += (double)values[c] * (double)s->axis[(size_t)k * s->C + c];
        }
    }
    row->length = sqrt(square);
    for (int k = 0; k < N_AXES; k++) {
        row->at[k] = (float)sum[k];
    }
}

static fmp_status project_all(twin_search *s, fmp_err *err)
{
    uint32_t id[BLOCK];
    for (size_t first = 0; first < s->n; first += BLOCK) {
        size_t n = s->n - first < BLOCK ? s->n - first : BLOCK;
        for (size_t i = 0; i < n; i++) {
            id[i] = s->row[first + i].id;
        }
        FMP_TRY(fmp_model_score_rows(s->model, id, n, s->block, err));
        for (size_t i = 0; i < n; i++) {
            project(s, s->block + i * s->C, &s->row[first + i]);
        }
    }
    return FMP_OK;
}

static int by_length(const void *a, const void *b)
{
    double x = ((const twin_row *)a)->length, y = ((const twin_row *)b)->length;
    return (x > y) - (x < y);
}

static int by_place(const void *a, const void *b)
{
    const twin_row *x = a, *y = b;
    if (x->at[0] != y->at[0]) { return x->at[0] < y->at[0] ? -1 : 1; }
    return (x->id > y->id) - (x->id < y->id);
}

static int by_group(const void *a, const void *b)
{
    const twin_row *x = a, *y = b;
    if (x->leader != y->leader) { return x->leader < y->leader ? -1 : 1; }
    return (x->id > y->id) - (x->id < y->id);
}

static bool may_be_same(const twin_search *s, const twin_row *a, const twin_row *b)
{
    for (int k = 1; k < N_AXES; k++) {
        if (!(fabs((double)a->at[k] - (double)b->at[k]) <= s->bound)) { return false; }
    }
    return true;
}

static fmp_status are_same(const twin_search *s, uint32_t a, uint32_t b, bool *same, fmp_err *err)
{
    const uint32_t id[] = {a, b};
    double sum = 0.0;
    FMP_TRY(fmp_model_score_rows(s->model, id, 2, s->block, err));
    for (size_t c = 0; c < s->C; c++) {
        double d = (double)s->block[c] - (double)s->block[s->C + c];
        sum += d * d;
    }
    *same = sqrt(sum) <= s->bound;
    return FMP_OK;
}

/* A row that is the same as one before it gets that one's leader: copies of one row cost one comparison each. */
static fmp_status find_same(twin_search *s, fmp_err *err)
{
    for (size_t i = 0; i < s->n; i++) {
        for (size_t k = i; k-- > 0 && (double)s->row[i].at[0] - (double)s->row[k].at[0] <= s->bound;) {
            bool same = false;
            if (!may_be_same(s, &s->row[k], &s->row[i])) { continue; }
            FMP_TRY(are_same(s, s->row[k].id, s->row[i].id, &same, err));
            if (!same) { continue; }
            s->row[i].leader = s->row[k].leader;
            break;
        }
    }
    return FMP_OK;
}

/* ---- what is told ---- */

static bool has_twin(const twin_search *s, size_t i)
{
    return (i > 0 && s->row[i - 1].leader == s->row[i].leader) ||
           (i + 1 < s->n && s->row[i + 1].leader == s->row[i].leader);
}

static cJSON *twins_fact(const twin_search *s, const fmp_tokenizer *tok, fmp_buf *told, size_t *n)
{
    cJSON *list = cJSON_CreateArray();
    *n = 0;
    for (size_t i = 0; i < s->n; i++) {
        const twin_row *row = &s->row[i];
        if (!has_twin(s, i)) { continue; }
        const char *text = tok && row->id < fmp_tokenizer_size(tok) ? fmp_tokenizer_text(tok, row->id) : NULL;
        if (!text) { text = ""; }
        if (++*n <= TOKENS_TOLD) {
            fmp_buf_printf(told, "%s'%s' (id %" PRIu32 ", %" PRIu64 " times)", told->len ? ", " : "",
                           strlen(text) <= LONGEST_TOLD ? text : "…", row->id, row->count);
        }
        if (*n > TOKENS_KEPT) { continue; }
        cJSON *item = cJSON_CreateObject();
        cJSON_AddNumberToObject(item, "id", row->id);
        cJSON_AddStringToObject(item, "text", text);
        cJSON_AddNumberToObject(item, "supervised", (double)row->count);
        cJSON_AddNumberToObject(item, "same_as", row->leader);
        cJSON_AddItemToArray(list, item);
    }
    if (*n > TOKENS_TOLD) { fmp_buf_printf(told, ", and %zu more", *n - TOKENS_TOLD); }
    return list;
}

static void tell(const train_loop *t, const twin_search *s)
{
    const fmp_input *base = fmp_task_input(t->task, "model");
    fmp_tokenizer *tok = NULL;
    fmp_err ignored = FMP_ERR_INIT; /* ids are told without it */
    fmp_buf told = {0};
    size_t n = 0;
    if (base && fmp_tokenizer_load(base->path, &tok, &ignored) != FMP_OK) { tok = NULL; }
    cJSON *list = twins_fact(s, tok, &told, &n);
    if (n > 0 && !told.failed) {
        train_log(t, FMP_LOG_WARNING,
                  "%zu supervised tokens have the same row in the base's head as another of them, so no "
                  "adapter can "
                  "tell them apart (a base that was never trained on them is like that): %s",
                  n, told.data);
        train_fact(t, "twin_tokens", list);
    } else {
        cJSON_Delete(list);
    }
    fmp_buf_free(&told);
    fmp_tokenizer_free(tok);
}

static fmp_status search(twin_search *s, fmp_err *err)
{
    s->axis = malloc(N_AXES * s->C * sizeof *s->axis);
    s->block = malloc(BLOCK * s->C * sizeof *s->block);
    if (!s->axis || !s->block) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for rows of %zu", s->C); }
    make_axes(s);
    FMP_TRY(project_all(s, err));
    qsort(s->row, s->n, sizeof *s->row, by_length);
    s->bound = TOLERANCE * s->row[s->n / 2].length;
    qsort(s->row, s->n, sizeof *s->row, by_place);
    FMP_TRY(find_same(s, err));
    qsort(s->row, s->n, sizeof *s->row, by_group);
    return FMP_OK;
}

fmp_status train_warn_of_twins(const train_loop *t, fmp_err *err)
{
    const fmp_model_spec *spec = fmp_model_get_spec(t->model);
    twin_search s = {.model = t->model, .C = spec->n_channels};
    fmp_status status = count_supervised(t->train, spec->vocab_size, &s, err);
    if (status == FMP_OK && s.n > 1) {
        status = search(&s, err);
        if (status == FMP_OK) { tell(t, &s); }
    }
    free(s.row);
    free(s.axis);
    free(s.block);
    return status;
}
