/*
 * What the conformance tests share: loading, the documents they try, one record through an instance as text.
 */
#include "check_private.h"

#include <dirent.h>
#include <stdlib.h>

enum { LONG_TEXT = 1 << 20, DEEP = 24 };

const fmp_stage *fmp_check_load_(check_context *c)
{
    const fmp_stage *stage = NULL;
    fmp_err err = FMP_ERR_INIT;
    if (fmp_plugin_load(c->info, &stage, &err) != FMP_OK) {
        fmp_check_say_(c, FMP_CHECK_FAIL, "%s", err.message);
        return NULL;
    }
    return stage;
}

fmp_trial *fmp_check_open_(check_context *c, uint64_t seed, uint32_t n_workers)
{
    const fmp_stage *stage = fmp_check_load_(c);
    fmp_trial *t = NULL;
    fmp_err err = FMP_ERR_INIT;
    if (!stage) { return NULL; }
    fmp_status status = fmp_trial_new(stage, seed, NULL, &t, &err);
    if (status == FMP_OK) { status = fmp_trial_open(t, c->values, n_workers, &err); }
    if (status == FMP_OK) { return t; }
    fmp_trial_close(t);
    if (!c->options->with) {
        fmp_check_say_(c, FMP_CHECK_SKIP,
                       "it does not start with made-up option values (%.200s); give some with --with",
                       err.message);
    } else {
        fmp_check_say_(c, FMP_CHECK_FAIL, "it does not start: %s", err.message);
    }
    return NULL;
}

/* ---- documents ---- */

#define TURN(u, a)                                                                                           \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"" u "\"},{\"role\":\"assistant\",\"content\":\"" a "\"" \
    "}]"

/* Written texts; the three that are generated follow them. */
static const char *const texts[] = {
    TURN("Hi", "Hello.") "}",
    "{\"messages\":[]}",
    "{\"messages\":[{\"role\":\"system\",\"content\":\"Be "
    "brief.\"},{\"role\":\"user\",\"content\":\"Weather?\"},"
    "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\","
    "\"function\":"
    "{\"name\":\"weather\",\"arguments\":{\"city\":\"Oslo\",\"days\":3}}}]},"
    "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"{\\\"t\\\":-4}\"},"
    "{\"role\":\"assistant\",\"content\":\"Minus four.\"}],\"tools\":[{\"type\":\"function\",\"function\":"
    "{\"name\":\"weather\",\"parameters\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"}"
    ","
    "\"days\":{\"type\":\"integer\"}},\"required\":[\"city\"]}}}],\"response_format\":{\"type\":\"text\"},"
    "\"locale\":\"en-US\"}",
    TURN("\\ud83d\\ude00 e\\u0301 \\u05e9\\u05dc\\u05d5\\u05dd \\u0627\\u0644 "
         "\\ud83d\\udc69\\u200d\\ud83d\\udcbb \\u4f60\\u597d",
         "\\u00e9 \\u2028 \\ufeff \\uffff") ",\"locale\":\"he-IL\"}",
    TURN("a\\u0001b\\u001b[31mc\\u007f\\t\\r\\n\\b\\f", "\\\"\\\\\\/") "}",
    TURN("Meta", "Kept.") ",\"meta\":{\"source\":\"x\",\"unknown_\":{\"deep\":[1,2.50,12345678901234567890,"
                          "null,true]}}}",
    ("{\"messages\":[{\"role\":\"user\",\"content\":\"\"},{\"role\":\"assistant\",\"content\":\"\"}],"
     "\"tools\":[],\"locale\":\"und\"}")};

static const char *const names[] = {"minimal", "empty", "every_role", "unicode",    "control", "unknown_meta",
                                    "no_text", "huge",  "long_word",  "deep_tools", "given"};
enum { N_TEXTS = sizeof texts / sizeof texts[0], N_MAX = sizeof names / sizeof names[0] };

static void add_repeated(fmp_buf *out, const char *word, size_t bytes)
{
    for (size_t n = strlen(word); bytes >= n; bytes -= n) {
        fmp_buf_puts(out, word);
    }
}

static void print_generated(size_t which, fmp_buf *out)
{
    if (which == 2) {
        fmp_buf_puts(
            out,
            TURN(
                "Deep",
                "Yes.") ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"deep\",\"parameters\":");
        add_repeated(out, "{\"type\":\"object\",\"properties\":{\"p\":", DEEP * 35);
        fmp_buf_puts(out, "{\"type\":\"string\"}");
        add_repeated(out, "}}", DEEP * 2);
        fmp_buf_puts(out, "}}]}");
        return;
    }
    fmp_buf_puts(out, "{\"messages\":[{\"role\":\"user\",\"content\":\"");
    add_repeated(out, which == 0 ? "Many words in a row. " : "x", which == 0 ? LONG_TEXT : 200000);
    fmp_buf_puts(out, "\"},{\"role\":\"assistant\",\"content\":\"Done.\"}]}");
}

bool fmp_check_docs_(check_context *c, check_docs *out)
{
    fmp_err err = FMP_ERR_INIT;
    *out = (check_docs){.doc = calloc(N_MAX, sizeof *out->doc), .name = names};
    bool ok = out->doc != NULL;
    for (size_t i = 0; ok && i < N_TEXTS + 3; i++) {
        fmp_buf text = {0};
        if (i < N_TEXTS) {
            fmp_buf_puts(&text, texts[i]);
        } else {
            print_generated(i - N_TEXTS, &text);
        }
        ok = text.data && fmp_json_parse(text.data, text.len, NULL, &out->doc[out->n], &err) == FMP_OK;
        out->n += ok;
        fmp_buf_free(&text);
    }
    if (ok && c->options->record) {
        out->doc[out->n] = cJSON_Duplicate(c->options->record, true);
        ok = out->doc[out->n] != NULL;
        out->n += ok;
    }
    if (!ok) {
        fmp_check_say_(c, FMP_CHECK_FAIL, "the suite's own documents: %s",
                       err.message[0] ? err.message : "out of memory");
    }
    return ok;
}

void fmp_check_docs_free_(check_docs *docs)
{
    for (size_t i = 0; i < docs->n; i++) {
        cJSON_Delete(docs->doc[i]);
    }
    free(docs->doc);
}

/* ---- records ---- */

/* What a call gave, as text: passed and emitted documents, rejects, bytes. */
static void print_catch(const fmp_catch *k, fmp_buf *out)
{
    for (size_t i = 0; i < k->n_docs; i++) {
        fmp_json_print(k->docs[i].doc, FMP_JSON_COMPACT, out);
        fmp_buf_putc(out, '\n');
    }
    for (size_t i = 0; i < k->n_rejects; i++) {
        fmp_buf_printf(out, "reject %s: %s\n", k->rejects[i].reason, k->rejects[i].message);
    }
    fmp_buf_add(out, k->written.data, k->written.len);
}

bool fmp_check_one_(check_context *c, fmp_trial *t, uint32_t worker, const cJSON *doc, const char *name,
                    fmp_buf *out)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_arena *arena = fmp_arena_new(0);
    fmp_record record = {.struct_size = (uint32_t)sizeof record,
                         .id = "00000000000000c1",
                         .origin = {.file = "check", .line = 1},
                         .doc = doc};
    fmp_catch k;
    fmp_catch_begin(&k, t, arena, worker, &record);
    fmp_status status = fmp_catch_record(&k, &err);
    if (status == FMP_OK) {
        print_catch(&k, out);
    } else {
        fmp_check_say_(c, FMP_CHECK_FAIL, "the record '%s' failed: %s", name, err.message);
    }
    fmp_buf_free(&k.written);
    fmp_arena_free(arena);
    return status == FMP_OK;
}

bool fmp_check_all_(check_context *c, fmp_trial *t, const check_docs *docs, bool backwards, fmp_buf *out)
{
    for (size_t i = 0; i < docs->n; i++) {
        size_t k = backwards ? docs->n - 1 - i : i;
        if (!fmp_check_one_(c, t, 0, docs->doc[k], docs->name[k], &out[k])) { return false; }
    }
    return true;
}

void fmp_check_bufs_free_(fmp_buf *bufs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        fmp_buf_free(&bufs[i]);
    }
}

bool fmp_check_takes_records_(const fmp_stage_info *info)
{
    return info->kind == FMP_MAP || info->kind == FMP_SINK;
}

bool fmp_check_workload_(check_context *c)
{
    check_docs docs = {0};
    fmp_buf out[N_MAX] = {{0}};
    fmp_err err = FMP_ERR_INIT;
    fmp_trial *t = fmp_check_open_(c, 1, 1);
    bool ok = t != NULL;
    if (ok && fmp_check_takes_records_(c->info)) {
        ok = fmp_check_docs_(c, &docs) && fmp_check_all_(c, t, &docs, false, out);
        if (ok && fmp_trial_finish(t, &err) != FMP_OK) {
            fmp_check_say_(c, FMP_CHECK_FAIL, "finish failed: %s", err.message);
            ok = false;
        }
    }
    fmp_check_bufs_free_(out, N_MAX);
    fmp_check_docs_free_(&docs);
    fmp_trial_close(t);
    return ok;
}

size_t fmp_check_entries_(const char *dir)
{
    DIR *d = opendir(dir);
    size_t n = 0;
    while (d && readdir(d)) {
        n++;
    }
    if (d) { closedir(d); }
    return n;
}
