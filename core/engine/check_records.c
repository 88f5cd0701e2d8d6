/*
 * Conformance tests of what a map or sink does to records: kinds of input, order, threads, ownership, the
 * form of its output.
 */
#include "check_private.h"

#include <malloc.h>
#include <stdlib.h>

enum {
    MAX_DOCS = 16,
    THREADS = 8,
    MANY = 10000,
    WARM_UP = 1000,
    GROWTH_BYTES = 256 * 1024,
    MAX_NODES = 1 << 22
};

static bool same(const fmp_buf *a, const fmp_buf *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* ---- kinds of input ---- */

/* One of the suite's documents through a fresh instance; refusing it is a fair answer. */
static void try_document(check_context *c, const char *name)
{
    check_docs docs;
    fmp_buf out = {0};
    bool ready = fmp_check_docs_(c, &docs);
    fmp_trial *t = ready ? fmp_check_open_(c, 1, 1) : NULL;
    for (size_t i = 0; t && i < docs.n; i++) {
        if (strcmp(docs.name[i], name) == 0 && !fmp_check_one_(c, t, 0, docs.doc[i], name, &out)) { break; }
    }
    fmp_trial_close(t);
    fmp_check_docs_free_(&docs);
    fmp_buf_free(&out);
}

static void test_empty(check_context *c)
{
    try_document(c, "empty");
}
static void test_minimal(check_context *c)
{
    try_document(c, "minimal");
}
static void test_roles(check_context *c)
{
    try_document(c, "every_role");
}
static void test_unicode(check_context *c)
{
    try_document(c, "unicode");
}
static void test_control(check_context *c)
{
    try_document(c, "control");
}
static void test_no_text(check_context *c)
{
    try_document(c, "no_text");
}
static void test_huge(check_context *c)
{
    try_document(c, "huge");
}
static void test_long_word(check_context *c)
{
    try_document(c, "long_word");
}
static void test_deep(check_context *c)
{
    try_document(c, "deep_tools");
}

static void test_given(check_context *c)
{
    if (!c->options->record) {
        fmp_check_say_(c, FMP_CHECK_SKIP, "no record given; --record FILE:LINE gives one");
    }
    if (c->options->record) { try_document(c, "given"); }
}

static void test_meta(check_context *c)
{
    check_docs docs;
    fmp_buf out = {0};
    bool ready = fmp_check_docs_(c, &docs);
    fmp_trial *t = ready ? fmp_check_open_(c, 1, 1) : NULL;
    bool ok = t && fmp_check_one_(c, t, 0, docs.doc[5], "unknown_meta", &out);
    if (ok && out.len > 0 && strncmp(out.data, "reject ", 7) != 0 &&
        !strstr(out.data, "[1,2.50,12345678901234567890,null,true]")) {
        fmp_check_say_(c, FMP_CHECK_WARN,
                       "unknown members below meta are not kept as they were; copy with cJSON_Duplicate");
    }
    fmp_trial_close(t);
    fmp_check_docs_free_(&docs);
    fmp_buf_free(&out);
}

/* ---- same input, same output ---- */

/* All documents through a fresh instance. */
static bool run_all(check_context *c, const check_docs *docs, uint64_t seed, bool backwards, fmp_buf *out)
{
    fmp_trial *t = fmp_check_open_(c, seed, 1);
    bool ok = t && fmp_check_all_(c, t, docs, backwards, out);
    fmp_trial_close(t);
    return ok;
}

static void compare_all(check_context *c, const check_docs *docs, const fmp_buf *a, const fmp_buf *b,
                        const char *how)
{
    for (size_t i = 0; i < docs->n; i++) {
        if (!same(&a[i], &b[i])) {
            fmp_check_say_(c, FMP_CHECK_FAIL, "the record '%s' gave another result %s", docs->name[i], how);
        }
    }
}

static void run_twice(check_context *c, bool backwards, uint64_t second_seed, const char *how)
{
    check_docs docs;
    fmp_buf a[MAX_DOCS] = {{0}}, b[MAX_DOCS] = {{0}};
    if (fmp_check_docs_(c, &docs) && run_all(c, &docs, 1, false, a) &&
        run_all(c, &docs, second_seed, backwards, b)) {
        compare_all(c, &docs, a, b, how);
    }
    fmp_check_bufs_free_(a, MAX_DOCS);
    fmp_check_bufs_free_(b, MAX_DOCS);
    fmp_check_docs_free_(&docs);
}

static void test_same_twice(check_context *c)
{
    run_twice(c, false, 1, "the second time");
}
static void test_order(check_context *c)
{
    run_twice(c, true, 1, "when the records came in another order");
}

/* A record alone in an instance of its own gives what it gave among others. */
static void test_alone(check_context *c)
{
    check_docs docs;
    fmp_buf a[MAX_DOCS] = {{0}}, b[MAX_DOCS] = {{0}};
    bool ok = fmp_check_docs_(c, &docs) && run_all(c, &docs, 1, false, a);
    for (size_t i = 0; ok && i < docs.n; i++) {
        fmp_trial *t = fmp_check_open_(c, 1, 1);
        ok = t && fmp_check_one_(c, t, 0, docs.doc[i], docs.name[i], &b[i]);
        fmp_trial_close(t);
    }
    if (ok) { compare_all(c, &docs, a, b, "when it was alone: the stage remembers earlier records"); }
    fmp_check_bufs_free_(a, MAX_DOCS);
    fmp_check_bufs_free_(b, MAX_DOCS);
    fmp_check_docs_free_(&docs);
}

typedef struct threads_job {
    check_context *c;
    const check_docs *docs;
    fmp_trial *trial;
    fmp_buf (*out)[MAX_DOCS];
    bool ok[THREADS];
} threads_job;

static void thread_run(void *arg, size_t w)
{
    threads_job *job = arg;
    check_context mine = *job->c;
    fmp_check_result result = {0};
    mine.result = &result; /* one verdict a thread; the first failing one is copied below */
    job->ok[w] = true;
    for (size_t i = 0; i < job->docs->n && job->ok[w]; i++) {
        size_t k = (i + w) % job->docs->n;
        job->ok[w] = fmp_check_one_(&mine, job->trial, (uint32_t)w, job->docs->doc[k], job->docs->name[k],
                                    &job->out[w][k]);
    }
}

static void test_threads(check_context *c)
{
    check_docs docs;
    fmp_err err = FMP_ERR_INIT;
    fmp_pool *pool = NULL;
    fmp_buf alone[MAX_DOCS] = {{0}};
    fmp_buf(*out)[MAX_DOCS] = calloc(THREADS, sizeof *out);
    threads_job job = {.c = c, .docs = &docs, .out = out};
    bool ok = fmp_check_docs_(c, &docs) && out && run_all(c, &docs, 1, false, alone);
    if (ok && fmp_pool_new(THREADS, &pool, &err) == FMP_OK &&
        (job.trial = fmp_check_open_(c, 1, THREADS)) != NULL) {
        fmp_pool_for(pool, THREADS, thread_run, &job);
        for (size_t w = 0; w < THREADS; w++) {
            if (!job.ok[w]) {
                fmp_check_say_(c, FMP_CHECK_FAIL, "a record failed with %d threads and not with one",
                               THREADS);
            }
            compare_all(c, &docs, alone, out[w], "with eight threads at once");
        }
    }
    fmp_trial_close(job.trial);
    fmp_pool_free(pool);
    for (size_t w = 0; out && w < THREADS; w++) {
        fmp_check_bufs_free_(out[w], MAX_DOCS);
    }
    free(out);
    fmp_check_bufs_free_(alone, MAX_DOCS);
    fmp_check_docs_free_(&docs);
}

static const void *(*real_extension)(const fmp_host *host, const char *name);
static bool rng_asked;

static const void *watch_rng(const fmp_host *host, const char *name)
{
    rng_asked = rng_asked || strcmp(name, FMP_EXT_RNG) == 0;
    return real_extension(host, name);
}

/* Whether an instance asks for fmp.rng/1 at any time of a whole life (or fails, which has its own tests). */
static bool asks_for_rng(check_context *c, const check_docs *docs)
{
    const fmp_stage *stage = fmp_check_load_(c);
    fmp_trial *t = NULL;
    fmp_err err = FMP_ERR_INIT;
    fmp_buf out[MAX_DOCS] = {{0}};
    if (stage && fmp_trial_new(stage, 1, NULL, &t, &err) == FMP_OK) {
        real_extension = t->host->get_extension;
        t->host->get_extension = watch_rng;
        if (fmp_trial_open(t, c->values, 1, &err) == FMP_OK && !fmp_check_all_(c, t, docs, false, out)) {
            rng_asked = true;
        }
    }
    fmp_trial_close(t);
    fmp_check_bufs_free_(out, MAX_DOCS);
    return rng_asked;
}

static void test_seed(check_context *c)
{
    check_docs docs;
    fmp_buf a[MAX_DOCS] = {{0}}, b[MAX_DOCS] = {{0}};
    if (fmp_check_docs_(c, &docs) && !asks_for_rng(c, &docs) && run_all(c, &docs, 1, false, a) &&
        run_all(c, &docs, 2, false, b)) {
        compare_all(c, &docs, a, b, "with another seed, but the stage does not use fmp.rng/1");
    }
    fmp_check_bufs_free_(a, MAX_DOCS);
    fmp_check_bufs_free_(b, MAX_DOCS);
    fmp_check_docs_free_(&docs);
}

/* ---- ownership ---- */

static void test_input_untouched(check_context *c)
{
    check_docs docs;
    fmp_trial *t = NULL;
    bool ok = fmp_check_docs_(c, &docs) && (t = fmp_check_open_(c, 1, 1)) != NULL;
    for (size_t i = 0; ok && i < docs.n; i++) {
        fmp_buf before = {0}, after = {0}, out = {0};
        fmp_json_print(docs.doc[i], FMP_JSON_COMPACT, &before);
        ok = fmp_check_one_(c, t, 0, docs.doc[i], docs.name[i], &out);
        fmp_json_print(docs.doc[i], FMP_JSON_COMPACT, &after);
        if (ok && !same(&before, &after)) {
            fmp_check_say_(c, FMP_CHECK_FAIL, "it changed its input record '%s', which is const",
                           docs.name[i]);
        }
        fmp_buf_free(&before);
        fmp_buf_free(&after);
        fmp_buf_free(&out);
    }
    fmp_trial_close(t);
    fmp_check_docs_free_(&docs);
}

/* Input and arena of a call are overwritten after it; the next results must not show it. */
static void test_keeps_no_record(check_context *c)
{
    check_docs docs;
    fmp_buf fresh[MAX_DOCS] = {{0}}, later[MAX_DOCS] = {{0}};
    fmp_trial *t = NULL;
    bool ok = fmp_check_docs_(c, &docs) && run_all(c, &docs, 1, false, fresh) &&
              (t = fmp_check_open_(c, 1, 1)) != NULL;
    for (size_t i = 0; ok && i < docs.n; i++) {
        cJSON *copy = cJSON_Duplicate(docs.doc[i], true);
        ok = copy && fmp_check_one_(c, t, 0, copy, docs.name[i], &later[i]);
        for (cJSON *m = copy ? copy->child : NULL; m; m = m->next) {
            if (cJSON_IsString(m)) { memset(m->valuestring, '#', strlen(m->valuestring)); }
        }
        cJSON_Delete(copy);
    }
    if (ok) {
        compare_all(c, &docs, fresh, later,
                    "after the records before it were freed: it keeps pointers into them");
    }
    fmp_trial_close(t);
    fmp_check_bufs_free_(fresh, MAX_DOCS);
    fmp_check_bufs_free_(later, MAX_DOCS);
    fmp_check_docs_free_(&docs);
}

static void test_memory(check_context *c)
{
    check_docs docs;
    fmp_trial *t = NULL;
    size_t before = 0;
    bool ok = fmp_check_docs_(c, &docs) && (t = fmp_check_open_(c, 1, 1)) != NULL;
    for (int i = 0; ok && i < WARM_UP + MANY; i++) {
        fmp_buf out = {0};
        ok = fmp_check_one_(c, t, 0, docs.doc[i % 7], docs.name[i % 7], &out); /* the small ones */
        fmp_buf_free(&out);
        if (i == WARM_UP) { before = mallinfo2().uordblks + mallinfo2().hblkhd; }
    }
    size_t now = mallinfo2().uordblks + mallinfo2().hblkhd;
    if (ok && now > before + GROWTH_BYTES) {
        fmp_check_say_(c, FMP_CHECK_FAIL, "%zu bytes more in use after %d records", now - before, MANY);
    }
    fmp_trial_close(t);
    fmp_check_docs_free_(&docs);
}

/* ---- form of the output ---- */

/* Types, links, UTF-8; `left` bounds the walk, so that a cycle ends it. */
static const char *tree_fault(const cJSON *node, size_t *left, int depth)
{
    if (!node || *left == 0) { return node ? "a cycle, or too many nodes" : "a missing node"; }
    (*left)--;
    int type = node->type & 0xFF;
    if (depth > 500) { return "it is nested too deeply, or has a cycle"; }
    if (node->string && fmp_utf8_invalid_at(node->string, strlen(node->string)) != strlen(node->string)) {
        return "a key is no UTF-8";
    }
    if ((type == cJSON_String || type == cJSON_Raw) && !node->valuestring) { return "a string without text"; }
    if (type == cJSON_String &&
        fmp_utf8_invalid_at(node->valuestring, strlen(node->valuestring)) != strlen(node->valuestring)) {
        return "a string is no UTF-8";
    }
    double number;
    if (type == cJSON_Raw && !fmp_json_number(node, &number)) { return "a raw node that is no number"; }
    if (type == cJSON_Number && !(node->valuedouble - node->valuedouble == 0)) {
        return "a number that is not finite";
    }
    if (type != cJSON_Object && type != cJSON_Array) {
        bool known = type == cJSON_String || type == cJSON_Raw || type == cJSON_Number ||
                     type == cJSON_True || type == cJSON_False || type == cJSON_NULL;
        return known ? NULL : "a node without a type";
    }
    for (const cJSON *m = node->child; m; m = m->next) {
        if (type == cJSON_Object && !m->string) { return "an object member without a name"; }
        const char *fault = tree_fault(m, left, depth + 1);
        if (fault) { return fault; }
    }
    return NULL;
}

static const char *conversation_fault(const cJSON *doc)
{
    const cJSON *messages = fmp_json_get(doc, "messages"), *m;
    if (!cJSON_IsObject(doc)) { return "it is no object"; }
    if (!cJSON_IsArray(messages)) { return "'messages' is no list"; }
    cJSON_ArrayForEach(m, messages)
    {
        const cJSON *content = fmp_json_get(m, "content");
        if (!cJSON_IsObject(m) || !cJSON_IsString(fmp_json_get(m, "role"))) {
            return "a message has no 'role'";
        }
        if (content && !cJSON_IsString(content)) { return "a message's 'content' is no text"; }
    }
    const cJSON *tools = fmp_json_get(doc, "tools"), *locale = fmp_json_get(doc, "locale");
    if (tools && !cJSON_IsArray(tools)) { return "'tools' is no list"; }
    return locale && !cJSON_IsString(locale) ? "'locale' is no text" : NULL;
}

static void look_at_outputs(check_context *c, bool conversation)
{
    check_docs docs;
    fmp_trial *t = NULL;
    bool ok = fmp_check_docs_(c, &docs) && (t = fmp_check_open_(c, 1, 1)) != NULL;
    for (size_t i = 0; ok && i < docs.n; i++) {
        fmp_err err = FMP_ERR_INIT;
        fmp_arena *arena = fmp_arena_new(0);
        fmp_record record = {.struct_size = (uint32_t)sizeof record,
                             .id = "00000000000000c1",
                             .origin = {.file = "check", .line = 1},
                             .doc = docs.doc[i]};
        fmp_catch k;
        fmp_catch_begin(&k, t, arena, 0, &record);
        ok = fmp_catch_record(&k, &err) == FMP_OK;
        if (!ok) {
            fmp_check_say_(c, FMP_CHECK_FAIL, "the record '%s' failed: %s", docs.name[i], err.message);
        }
        for (size_t d = 0; ok && d < k.n_docs; d++) {
            size_t left = MAX_NODES;
            const char *fault =
                conversation ? conversation_fault(k.docs[d].doc) : tree_fault(k.docs[d].doc, &left, 0);
            if (fault) {
                fmp_check_say_(c, FMP_CHECK_FAIL, "what it makes of the record '%s': %s", docs.name[i],
                               fault);
            }
        }
        for (size_t r = 0; ok && r < k.n_rejects; r++) {
            if (!*k.rejects[r].reason || !*k.rejects[r].message) {
                fmp_check_say_(c, FMP_CHECK_FAIL, "a reject has no reason or no message");
            }
        }
        fmp_buf_free(&k.written);
        fmp_arena_free(arena);
    }
    fmp_trial_close(t);
    fmp_check_docs_free_(&docs);
}

static void test_tree(check_context *c)
{
    look_at_outputs(c, false);
}
static void test_conversation(check_context *c)
{
    look_at_outputs(c, true);
}

const check_test fmp_check_records_[] = {
    {"empty_conversation", "{\"messages\":[]} is handled", ON_RECORDS, true, test_empty},
    {"minimal_conversation", "one question, one answer", ON_RECORDS, true, test_minimal},
    {"every_role", "system, user, assistant, tool calls, tool, tools", ON_RECORDS, true, test_roles},
    {"unicode", "emoji, right-to-left, combining marks, line separators", ON_RECORDS, true, test_unicode},
    {"control_characters", "escapes and control characters in text", ON_RECORDS, true, test_control},
    {"no_text", "empty contents, empty tools, locale und", ON_RECORDS, true, test_no_text},
    {"huge_record", "1 MiB of text in one message", ON_RECORDS, true, test_huge},
    {"long_word", "200,000 letters without a space", ON_RECORDS, true, test_long_word},
    {"deep_tools_schema", "a tool schema nested 24 levels deep", ON_RECORDS, true, test_deep},
    {"given_record", "the record of --record", ON_RECORDS, true, test_given},
    {"unknown_meta_kept", "what it does not know it does not lose", ON_RECORDS, true, test_meta},
    {"same_input_same_output", "two instances agree", ON_RECORDS, true, test_same_twice},
    {"order_does_not_matter", "records backwards give the same results", ON_MAP, true, test_order},
    {"records_are_independent", "a record alone gives what it gave among others", ON_MAP, true, test_alone},
    {"eight_threads_agree_with_one", "process runs on many threads at once", ON_RECORDS, true, test_threads},
    {"seed_only_through_the_host", "randomness comes from fmp.rng/1", ON_RECORDS, true, test_seed},
    {"input_not_modified", "the record stays as it was", ON_RECORDS, true, test_input_untouched},
    {"keeps_no_record", "no pointer into an earlier record is used", ON_RECORDS, true, test_keeps_no_record},
    {"memory_does_not_grow", "10,000 records leave nothing behind", ON_RECORDS, true, test_memory},
    {"output_is_a_valid_tree", "node types, UTF-8, finite numbers, no cycles; rejects say why", ON_RECORDS,
     true, test_tree},
    {"output_is_a_conversation", "messages with roles and text", ON_MAP, true, test_conversation},
    {NULL, NULL, 0, false, NULL}};
