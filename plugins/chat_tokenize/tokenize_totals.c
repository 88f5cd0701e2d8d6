/*
 * What chat.tokenize knows at the end: counts in all and by locale, the histogram of lengths, and two
 * conversations token by token for the report.
 */
#include "tokenize.h"

#include <fmpipe/token_view.h>

#include <stdlib.h>

enum { MAX_LOCALES = 65535, VIEW_TOKENS = 400 };

void totals_free(totals *t)
{
    for (size_t i = 0; i < t->n_views; i++) {
        cJSON_Delete(t->views[i].tokens);
    }
    free(t->locale);
}

/* ---- counting ---- */

/* Where the tag is, or belongs. */
static size_t locale_place(const totals *t, const char *tag, bool *found)
{
    size_t low = 0, high = t->n_locales;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(t->locale[mid].tag, tag) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    *found = low < t->n_locales && strcmp(t->locale[low].tag, tag) == 0;
    return low;
}

static fmp_status locale_totals(totals *t, const char *tag, by_locale **out, fmp_err *err)
{
    bool found;
    by_locale key = {0};
    snprintf(key.tag, sizeof key.tag, "%s", tag);
    size_t at = locale_place(t, key.tag, &found);
    if (!found) {
        if (t->n_locales == MAX_LOCALES) {
            return fmp_fail(err, FMP_E_RANGE, "more than %d different locales", MAX_LOCALES);
        }
        by_locale *grown = realloc(t->locale, (t->n_locales + 1) * sizeof *grown);
        if (!grown) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
        t->locale = grown;
        memmove(grown + at + 1, grown + at, (t->n_locales - at) * sizeof *grown);
        grown[at] = key;
        t->n_locales++;
    }
    *out = &t->locale[at];
    return FMP_OK;
}

fmp_status totals_add(totals *t, const chat_tokenize *s, const fmp_record *record, const encoded *e,
                      const piece *p, fmp_err *err)
{
    by_locale *l = NULL;
    FMP_TRY(locale_totals(t, fmp_json_str(record->doc, "locale", ""), &l, err));
    for (size_t i = e->first; i < e->first + e->n; i++) {
        const sequence *q = &p->seqs[i];
        size_t bucket = (size_t)q->n * N_BUCKETS / ((size_t)s->max_tokens + 1);
        t->bucket[bucket]++;
        l->n_tokens += q->n;
        l->n_supervised += q->n_supervised;
        t->n_tokens += q->n;
        t->n_supervised += q->n_supervised;
    }
    t->longest = e->n_tokens > t->longest ? e->n_tokens : t->longest;
    t->n_split += e->is_split;
    t->n_unlearned += e->n_unlearned;
    t->n_too_long += e->n_too_long;
    t->n_sequences += e->n;
    t->n_records++;
    l->n_records++;
    return FMP_OK;
}

/* ---- conversations for the report ---- */

/* Index of a source in the list, which grows. */
static int source_index(cJSON *sources, const char *name)
{
    int i = 0;
    const cJSON *one;
    cJSON_ArrayForEach(one, sources)
    {
        if (strcmp(one->valuestring, name) == 0) { return i; }
        i++;
    }
    cJSON_AddItemToArray(sources, cJSON_CreateString(name));
    return i;
}

/* {"record", "sources": [name…], "tokens": [[id, text, kind, weight, source]…]} */
static cJSON *view_json(const fmp_record *record, const fmp_chat_result *r, const fmp_token_view *views)
{
    cJSON *out = cJSON_CreateObject(), *sources = cJSON_CreateArray(), *tokens = cJSON_CreateArray();
    fmp_buf text = {0};
    cJSON_AddStringToObject(out, "record", record->id);
    for (size_t i = 0; i < r->tokens.n; i++) {
        cJSON *row = cJSON_CreateArray();
        char weight[32];
        snprintf(weight, sizeof weight, "%.6g", (double)views[i].weight);
        text.len = 0;
        fmp_token_view_text(r->rendered.text.data, views[i].begin, views[i].end, &text);
        cJSON_AddItemToArray(row, cJSON_CreateNumber(views[i].id));
        cJSON_AddItemToArray(row, cJSON_CreateString(text.data && text.len > 0 ? text.data : ""));
        cJSON_AddItemToArray(row, cJSON_CreateString(fmp_view_kind_name(views[i].kind)));
        cJSON_AddItemToArray(row, cJSON_CreateRaw(weight));
        cJSON_AddItemToArray(row, cJSON_CreateNumber(source_index(sources, views[i].source)));
        cJSON_AddItemToArray(tokens, row);
    }
    cJSON_AddItemToObject(out, "sources", sources);
    cJSON_AddItemToObject(out, "tokens", tokens);
    fmp_buf_free(&text);
    return out;
}

fmp_status totals_view(totals *t, const chat_tokenize *s, const fmp_chat *chat, const fmp_record *record,
                       uint64_t rank, fmp_chat_result *r, fmp_err *err)
{
    fmp_token_view *views = NULL;
    bool full = t->n_views == N_VIEWS;
    if (full && rank >= t->views[N_VIEWS - 1].rank) { return FMP_OK; }
    if (t->n_views > 0 && rank == t->views[0].rank) { return FMP_OK; }
    FMP_TRY(fmp_chat_encode(chat, record->doc, &s->setup.encode, r, err));
    if (r->tokens.n > VIEW_TOKENS) { return FMP_OK; }
    fmp_arena *arena = fmp_arena_new(0), *outer = fmp_json_scope(NULL); /* it outlives the batch */
    fmp_status status = fmp_token_views(record->doc, r, arena, &views, err);
    cJSON *tokens = status == FMP_OK ? view_json(record, r, views) : NULL;
    if (full && tokens) { cJSON_Delete(t->views[--t->n_views].tokens); }
    fmp_json_scope(outer);
    fmp_arena_free(arena);
    if (!tokens) { return status; }
    size_t at = t->n_views++;
    for (; at > 0 && t->views[at - 1].rank > rank; at--) {
        t->views[at] = t->views[at - 1];
    }
    t->views[at] = (view){rank, tokens};
    return FMP_OK;
}

/* ---- facts ---- */

static double share(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0;
}

static cJSON *histogram(const chat_tokenize *s, const totals *t)
{
    cJSON *out = cJSON_CreateObject(), *counts = cJSON_CreateArray();
    for (int i = 0; i < N_BUCKETS; i++) {
        cJSON_AddItemToArray(counts, cJSON_CreateNumber((double)t->bucket[i]));
    }
    cJSON_AddNumberToObject(out, "bucket_tokens", ((double)s->max_tokens + 1) / N_BUCKETS);
    cJSON_AddNumberToObject(out, "longest", (double)t->longest);
    cJSON_AddItemToObject(out, "counts", counts);
    return out;
}

static cJSON *locale_shares(const totals *t)
{
    cJSON *out = cJSON_CreateObject();
    for (size_t i = 0; i < t->n_locales; i++) {
        const by_locale *l = &t->locale[i];
        cJSON *row = cJSON_AddObjectToObject(out, *l->tag ? l->tag : "(none)");
        cJSON_AddNumberToObject(row, "records", (double)l->n_records);
        cJSON_AddNumberToObject(row, "tokens", (double)l->n_tokens);
        cJSON_AddNumberToObject(row, "supervised_share", share(l->n_supervised, l->n_tokens));
    }
    return out;
}

/* 1234567 -> "1,234,567". */
static const char *grouped(uint64_t n, char *out, size_t size)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, n);
    size_t k = 0;
    for (int i = 0; i < len && k + 2 < size; i++) {
        if (i > 0 && (len - i) % 3 == 0) { out[k++] = ','; }
        out[k++] = digits[i];
    }
    out[k] = '\0';
    return out;
}

static void add_number(const chat_tokenize *s, const char *name, double value)
{
    s->metrics->fact(s->host, name, cJSON_CreateNumber(value));
}

static void report_views(totals *t, const chat_tokenize *s)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < t->n_views; i++) {
        cJSON_AddItemToArray(list, t->views[i].tokens);
        t->views[i].tokens = NULL;
    }
    s->metrics->fact(s->host, "token_view", list);
}

/* Turns that are learned after another past than a model will have seen. */
static void report_rewritten(const chat_tokenize *s, uint64_t n)
{
    const fmp_ext_log *log = s->host->get_extension(s->host, FMP_EXT_LOG);
    add_number(s, "rewritten_turns", (double)n);
    if (n > 0 && log) {
        log->log(
            s->host, FMP_LOG_WARNING,
            "%" PRIu64 " turns are learned after another past than a model will see at that turn, because %s",
            n,
            s->setup.per_turn ? "the chat template's prompt has text that it does not write in front of an "
                                "answer (fmpipe render --generation-prompt shows it)"
                              : "the chat template rewrites earlier turns; expand: per_turn makes a sequence "
                                "of each");
    }
}

void totals_report(totals *t, const chat_tokenize *s, const fmp_chat *chat, const fmp_tokens *made,
                   const piece *pieces, size_t n_pieces)
{
    char tokens[32], bins[32], size[32];
    uint64_t n_bins = made->n_bins, straddling = 0, control = 0, rewritten = 0, closed = 0;
    double fill = share(made->n_tokens, n_bins * s->bin_size);
    for (size_t i = 0; i < n_pieces; i++) {
        straddling += pieces[i].n_straddling;
        control += pieces[i].n_control_text;
        rewritten += pieces[i].n_rewritten;
        closed += pieces[i].n_closed;
    }
    add_number(s, "records", (double)t->n_records);
    add_number(s, "sequences", (double)t->n_sequences);
    add_number(s, "tokens", (double)t->n_tokens);
    add_number(s, "supervised_share", share(t->n_supervised, t->n_tokens));
    add_number(s, "bins", (double)n_bins);
    add_number(s, "fill", fill);
    s->metrics->fact(s->host, "histogram", histogram(s, t));
    s->metrics->fact(s->host, "by_locale", locale_shares(t));
    add_number(s, "split", (double)t->n_split);
    add_number(s, "dropped_too_long", (double)t->n_dropped);
    add_number(s, "sequences_too_long", (double)(t->n_too_long));
    add_number(s, "windows_without_labels", (double)t->n_unlearned);
    add_number(s, "straddling_tokens", (double)straddling);
    add_number(s, "control_text_neutralised", (double)control);
    report_rewritten(s, rewritten);
    if (s->setup.per_turn) { add_number(s, "ends_added", (double)closed); }
    s->metrics->fact(s->host, "template", fmp_chat_facts(chat));
    report_views(t, s);
    s->metrics->summary(s->host, "%s tokens · %.0f %% supervised · %s row%s of %s (%.0f %% full)",
                        grouped(t->n_tokens, tokens, sizeof tokens),
                        100 * share(t->n_supervised, t->n_tokens), grouped(n_bins, bins, sizeof bins),
                        n_bins == 1 ? "" : "s", grouped(s->bin_size, size, sizeof size), 100 * fill);
}
