/*
 * tokens_golden.c: golden conversations: chosen by hash, written beside the tokens, compared wherever what
 * was trained is used. See golden.h for the file.
 *
 * The choice keeps the lowest ranks seen so far, so a million conversations cost a million hashes and a few
 * dozen copies.
 */
#include <fmpipe/golden.h>

#include "tokens_impl.h"

#include <fmpipe/fs.h>
#include <fmpipe/json.h>

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum { MAX_KEPT = 64, MAX_STOPS = 16, SMALL_TEXT = 16 << 10, LARGEST_TEXT = 1 << 20, SHOWN = 32, BEFORE = 8 };
#define FORMAT        "fmpipe.golden/1"
#define TEMPLATE_FILE "chat_template.jinja"

typedef struct kept {
    uint64_t rank;
    cJSON *pair; /* heap */
} kept;

struct fmp_golden {
    size_t n, max;
    kept items[MAX_KEPT]; /* by rank */
};

static fmp_status no_memory(fmp_err *err)
{
    return fmp_fail(err, FMP_E_NOMEM, "out of memory for the golden conversations");
}

/* ---- choosing ---- */

fmp_status fmp_golden_new(size_t n, fmp_golden **out, fmp_err *err)
{
    fmp_golden *g = calloc(1, sizeof *g);
    if (!g) { return no_memory(err); }
    g->max = n < MAX_KEPT ? n : MAX_KEPT;
    *out = g;
    return FMP_OK;
}

void fmp_golden_free(fmp_golden *g)
{
    if (!g) { return; }
    for (size_t i = 0; i < g->n; i++) {
        cJSON_Delete(g->items[i].pair);
    }
    free(g);
}

uint64_t fmp_golden_rank(const char *text, size_t len)
{
    unsigned char digest[32];
    uint64_t rank = 0;
    if (len > LARGEST_TEXT) { return UINT64_MAX; }
    fmp_sha256_bytes(text, len, digest);
    for (size_t i = 0; i < 8; i++) {
        rank = rank << 8 | digest[i];
    }
    rank >>= 1;
    return len > SMALL_TEXT ? (UINT64_C(1) << 63 | rank) - 1 : rank; /* never UINT64_MAX */
}

bool fmp_golden_wants(const fmp_golden *g, uint64_t rank)
{
    if (rank == UINT64_MAX || g->max == 0) { return false; }
    if (g->n == g->max && rank >= g->items[g->n - 1].rank) { return false; }
    for (size_t i = 0; i < g->n; i++) {
        if (g->items[i].rank == rank) { return false; }
    }
    return true;
}

/* Messages as a template reads them: without "fmp" and "weight", which are for the trainer. */
static cJSON *copy_messages(const cJSON *doc)
{
    cJSON *messages = cJSON_Duplicate(fmp_json_get(doc, "messages"), true), *m;
    cJSON_ArrayForEach(m, messages)
    {
        cJSON_DeleteItemFromObjectCaseSensitive(m, "fmp");
        cJSON_DeleteItemFromObjectCaseSensitive(m, "weight");
    }
    return messages;
}

static fmp_status make_pair(const fmp_chat *chat, const cJSON *doc, fmp_chat_result *r, cJSON *pair,
                            fmp_err *err)
{
    static const char *const others[] = {"tools", "response_format"};
    const fmp_chat_options plain = {0};
    cJSON_AddItemToObject(pair, "messages", copy_messages(doc));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const cJSON *value = fmp_json_get(doc, others[i]);
        if (value) { cJSON_AddItemToObject(pair, others[i], cJSON_Duplicate(value, true)); }
    }
    FMP_TRY(fmp_chat_encode(chat, pair, &plain, r, err));
    const char *text = r->rendered.text.data ? r->rendered.text.data : "";
    bool ok = cJSON_AddStringToObject(pair, "text", text) != NULL;
    cJSON *ids = cJSON_AddArrayToObject(pair, "ids");
    ok = ok && ids;
    for (size_t i = 0; i < r->tokens.n && ok; i++) {
        ok = cJSON_AddItemToArray(ids, cJSON_CreateNumber(r->tokens.ids[i]));
    }
    return ok ? FMP_OK : no_memory(err);
}

fmp_status fmp_golden_add(fmp_golden *g, const fmp_chat *chat, const cJSON *doc, uint64_t rank,
                          fmp_chat_result *r, fmp_err *err)
{
    if (!fmp_golden_wants(g, rank)) { return FMP_OK; }
    fmp_arena *outer = fmp_json_scope(NULL); /* pairs outlive the batch */
    cJSON *pair = cJSON_CreateObject();
    fmp_status status = pair ? make_pair(chat, doc, r, pair, err) : no_memory(err);
    if (status != FMP_OK) { cJSON_Delete(pair); }
    if (status == FMP_OK && g->n == g->max) { cJSON_Delete(g->items[--g->n].pair); }
    fmp_json_scope(outer);
    if (status != FMP_OK) { return status; }
    size_t at = g->n++;
    for (; at > 0 && g->items[at - 1].rank > rank; at--) {
        g->items[at] = g->items[at - 1];
    }
    g->items[at] = (kept){rank, pair};
    return FMP_OK;
}

/* ---- files ---- */

static fmp_status write_text(const char *dir, const char *name, const char *text, size_t len, fmp_err *err)
{
    char *path = fmp_path_join(dir, name);
    fmp_status status = path ? ts_write_file(path, text, len, err) : no_memory(err);
    free(path);
    return status;
}

static void add_stops(const fmp_chat_open_options *opened, fmp_buf *out)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < opened->n_stops; i++) {
        cJSON_AddItemToArray(list, cJSON_CreateString(opened->stops[i]));
    }
    if (opened->n_stops > 0) {
        fmp_buf_puts(out, " \"stops\":");
        fmp_json_print(list, FMP_JSON_COMPACT, out);
        fmp_buf_puts(out, ",\n");
    }
    cJSON_Delete(list);
}

fmp_status fmp_golden_write(const fmp_golden *g, const fmp_chat *chat, const fmp_chat_open_options *opened,
                            const char *dir, fmp_err *err)
{
    fmp_buf out = {0};
    fmp_buf_printf(
        &out, "{\"format\":\"" FORMAT "\",\n \"tokenizer_digest\":\"%s\",\n \"template_digest\":\"%s\",\n",
        fmp_tokenizer_digest(fmp_chat_tokenizer(chat)), fmp_chat_template_digest(chat));
    fmp_buf_printf(&out, " \"template\":\"%s\",\n", opened->template_ || opened->template_name ? "own" : "model");
    if (opened->variables) {
        fmp_buf_puts(&out, " \"variables\":");
        fmp_json_print(opened->variables, FMP_JSON_COMPACT, &out);
        fmp_buf_puts(&out, ",\n");
    }
    add_stops(opened, &out);
    if (opened->has_now) { fmp_buf_printf(&out, " \"now\":%" PRId64 ",\n", opened->now_unix); }
    fmp_buf_puts(&out, " \"pairs\":[");
    for (size_t i = 0; i < g->n; i++) {
        fmp_buf_puts(&out, i > 0 ? ",\n  " : "\n  ");
        fmp_json_print(g->items[i].pair, FMP_JSON_COMPACT, &out);
    }
    fmp_buf_puts(&out, "]}\n");
    fmp_status status = fmp_buf_ok(&out, err);
    if (status == FMP_OK) { status = write_text(dir, FMP_GOLDEN_FILE, out.data, out.len, err); }
    fmp_buf_free(&out);
    return status;
}

/* dir/name, or dir/tokenizer/name, whichever there is; *out NULL: neither. */
static fmp_status find_file(const char *dir, const char *name, char **out, fmp_err *err)
{
    char below[64];
    snprintf(below, sizeof below, "tokenizer/%s", name);
    const char *const places[] = {name, below};
    *out = NULL;
    for (size_t i = 0; i < 2 && !*out; i++) {
        char *path = fmp_path_join(dir, places[i]);
        if (!path) { return no_memory(err); }
        if (fmp_path_exists(path)) {
            *out = path;
        } else {
            free(path);
        }
    }
    return FMP_OK;
}

static fmp_status copy_file(const char *from_dir, const char *to_dir, const char *name, fmp_err *err)
{
    char *from = NULL, *to = fmp_path_join(to_dir, name);
    fmp_status status = to ? find_file(from_dir, name, &from, err) : no_memory(err);
    if (status == FMP_OK && from && !fmp_path_exists(to)) { status = fmp_copy_tree(from, to, err); }
    free(from);
    free(to);
    return status;
}

static fmp_status load(const char *dir, cJSON **out, fmp_err *err)
{
    char *path = fmp_path_join(dir, FMP_GOLDEN_FILE);
    *out = NULL;
    if (!path) { return no_memory(err); }
    fmp_status status = fmp_path_exists(path) ? fmp_json_load(path, NULL, out, err) : FMP_OK;
    if (*out && strcmp(fmp_json_str(*out, "format", ""), FORMAT) != 0) {
        (void)fmp_fail(err, FMP_E_DATA, "expected format \"" FORMAT "\", found \"%.40s\"",
                       fmp_json_str(*out, "format", ""));
        (void)fmp_err_at(err, path, 0, 0, UINT64_MAX);
        cJSON_Delete(*out);
        *out = NULL;
        status = FMP_E_DATA;
    }
    free(path);
    return status;
}

static bool has_own_template(const cJSON *golden)
{
    return strcmp(fmp_json_str(golden, "template", "model"), "own") == 0;
}

fmp_status fmp_golden_copy(const char *from, const char *to, fmp_err *err)
{
    cJSON *golden = NULL;
    FMP_TRY(load(from, &golden, err));
    fmp_status status = golden ? copy_file(from, to, FMP_GOLDEN_FILE, err) : FMP_OK;
    if (status == FMP_OK && has_own_template(golden)) { status = copy_file(from, to, TEMPLATE_FILE, err); }
    cJSON_Delete(golden);
    return status;
}

/* ---- checking ---- */

/* A short piece of a text around `at`, of whole characters and without line ends. */
static const char *piece_at(const char *text, size_t len, size_t at, char out[4 * SHOWN])
{
    size_t n = 0;
    if (at == len) { return "(the end)"; }
    at = at > BEFORE ? at - BEFORE : 0;
    while (at > 0 && at < len && ((unsigned char)text[at] & 0xC0) == 0x80) {
        at--;
    }
    size_t end = at + SHOWN < len ? at + SHOWN : len;
    while (end < len && end > at && ((unsigned char)text[end] & 0xC0) == 0x80) {
        end--;
    }
    for (; at < end; at++) {
        unsigned char c = (unsigned char)text[at];
        n += (size_t)(c < 0x20 ? snprintf(out + n, 5, "\\x%02x", c) : snprintf(out + n, 2, "%c", c));
    }
    out[n] = '\0';
    return out;
}

static fmp_status compare_text(const char *expected, const fmp_buf *found, size_t pair, fmp_err *err)
{
    char a[4 * SHOWN], b[4 * SHOWN];
    const char *text = found->data ? found->data : "";
    size_t len = strlen(expected), at = 0;
    while (at < len && at < found->len && expected[at] == text[at]) {
        at++;
    }
    if (at == len && at == found->len) { return FMP_OK; }
    return fmp_fail(
        err, FMP_E_MISMATCH,
        "the chat template is not the one that was trained with: golden conversation %zu, byte %zu: "
        "expected \"%s\", found \"%s\"",
        pair + 1, at, piece_at(expected, len, at, a), piece_at(text, found->len, at, b));
}

static const char *token_text(const fmp_chat *chat, uint32_t id)
{
    const char *text = fmp_tokenizer_text(fmp_chat_tokenizer(chat), id);
    return text ? text : "no token";
}

static fmp_status compare_ids(const fmp_chat *chat, const cJSON *expected, const fmp_token_list *found,
                              size_t pair, fmp_err *err)
{
    const cJSON *id = expected->child;
    char a[64] = "the end", b[64] = "the end";
    size_t i = 0;
    double wanted = -1;
    for (; id && i < found->n; id = id->next, i++) {
        if (!fmp_json_number(id, &wanted) || wanted != found->ids[i]) { break; }
    }
    if (!id && i == found->n) { return FMP_OK; }
    if (id && (!fmp_json_number(id, &wanted) || !(wanted >= 0 && wanted <= UINT32_MAX))) {
        return fmp_fail(err, FMP_E_DATA, "pairs[%zu].ids[%zu]: expected a token id", pair, i);
    }
    if (id) { snprintf(a, sizeof a, "%.0f (%.40s)", wanted, token_text(chat, (uint32_t)wanted)); }
    if (i < found->n) { snprintf(b, sizeof b, "%u (%.40s)", found->ids[i], token_text(chat, found->ids[i])); }
    return fmp_fail(err, FMP_E_MISMATCH,
                    "the tokenizer is not the one that was trained with: golden conversation %zu, token %zu: "
                    "expected %s, found %s",
                    pair + 1, i, a, b);
}

static fmp_status check_pair(const fmp_chat *chat, const cJSON *pair, size_t i, fmp_chat_result *r,
                             fmp_err *err)
{
    const fmp_chat_options plain = {0};
    const char *text = fmp_json_str(pair, "text", NULL);
    const cJSON *ids = fmp_json_get(pair, "ids");
    if (!text || !cJSON_IsArray(ids) || !cJSON_IsArray(fmp_json_get(pair, "messages"))) {
        return fmp_fail(err, FMP_E_DATA, "pairs[%zu]: expected messages, text and ids", i);
    }
    fmp_status status = fmp_chat_encode(chat, pair, &plain, r, err);
    if (status != FMP_OK) { return fmp_err_note(err, "while rendering golden conversation %zu", i + 1); }
    FMP_TRY(compare_text(text, &r->rendered.text, i, err));
    return compare_ids(chat, ids, &r->tokens, i, err);
}

static fmp_status check_digest(const char *what, const cJSON *golden, const char *key, const char *found,
                               fmp_err *err)
{
    const char *expected = fmp_json_str(golden, key, "");
    if (strcmp(expected, found) == 0) { return FMP_OK; }
    return fmp_fail(
        err, FMP_E_MISMATCH,
        "%s is not the one that was trained with: expected sha256:%.12s, found sha256:%.12s (the golden "
        "conversations do not show the difference)",
        what, expected, found);
}

static fmp_status check_all(const fmp_chat *chat, const cJSON *golden, fmp_golden_strictness strictness,
                            size_t *n, fmp_err *err)
{
    const cJSON *pairs = fmp_json_get(golden, "pairs"), *pair;
    fmp_chat_result r;
    if (!cJSON_IsArray(pairs)) { return fmp_fail(err, FMP_E_DATA, "pairs: expected an array"); }
    FMP_TRY(fmp_chat_result_init(&r, err));
    fmp_status status = FMP_OK;
    cJSON_ArrayForEach(pair, pairs)
    {
        if (status == FMP_OK) { status = check_pair(chat, pair, (*n)++, &r, err); }
    }
    fmp_chat_result_free(&r);
    if (status == FMP_OK && strictness == FMP_GOLDEN_DIGESTS) {
        const char *tokenizer = fmp_tokenizer_digest(fmp_chat_tokenizer(chat));
        status = check_digest("the tokenizer", golden, "tokenizer_digest", tokenizer, err);
        if (status == FMP_OK) {
            status = check_digest("the chat template", golden, "template_digest",
                                  fmp_chat_template_digest(chat), err);
        }
    }
    return status;
}

static fmp_status blame(const char *dir, fmp_status status, fmp_err *err)
{
    if (status == FMP_OK) { return FMP_OK; }
    if (status == FMP_E_MISMATCH) {
        (void)fmp_err_hint(err,
                           "use the tokenizer and the template of the base model that it was trained on, or "
                           "train again");
    }
    (void)fmp_err_note(err, "while checking %s/" FMP_GOLDEN_FILE, dir);
    return status;
}

fmp_status fmp_golden_check(const fmp_chat *chat, const char *dir, fmp_golden_strictness strictness,
                            size_t *n_pairs, fmp_err *err)
{
    size_t n = 0;
    cJSON *golden = NULL;
    FMP_TRY(load(dir, &golden, err));
    if (!golden) { return fmp_fail(err, FMP_E_IO, "there is no " FMP_GOLDEN_FILE " in %s", dir); }
    fmp_status status = check_all(chat, golden, strictness, &n, err);
    cJSON_Delete(golden);
    if (n_pairs) { *n_pairs = n; }
    return blame(dir, status, err);
}

static fmp_status open_and_check(const char *model_dir, const char *trained_dir, const cJSON *golden,
                                 fmp_chat **out, fmp_err *err)
{
    size_t n = 0;
    char *own = NULL;
    if (has_own_template(golden)) {
        FMP_TRY(find_file(trained_dir, TEMPLATE_FILE, &own, err));
        if (!own) {
            return fmp_fail(err, FMP_E_DATA,
                            "there is no " TEMPLATE_FILE " in %s, which was trained with one of its own",
                            trained_dir);
        }
    }
    double now = 0;
    fmp_chat_open_options o = {.template_ = own, .variables = fmp_json_get(golden, "variables")};
    o.has_now = fmp_json_number(fmp_json_get(golden, "now"), &now) && fabs(now) < 1e15;
    o.now_unix = o.has_now ? (int64_t)now : 0;
    if (o.variables && !cJSON_IsObject(o.variables)) { o.variables = NULL; }
    const char *stops[MAX_STOPS];
    const cJSON *stop;
    cJSON_ArrayForEach(stop, fmp_json_get(golden, "stops"))
    {
        if (cJSON_IsString(stop) && o.n_stops < MAX_STOPS) { stops[o.n_stops++] = stop->valuestring; }
    }
    o.stops = stops;
    fmp_status status = fmp_chat_open_with(model_dir, &o, out, err);
    free(own);
    if (status == FMP_OK) {
        status = blame(trained_dir, check_all(*out, golden, FMP_GOLDEN_DIGESTS, &n, err), err);
    }
    return status;
}

fmp_status fmp_golden_open_chat(const char *model_dir, const char *trained_dir, fmp_chat **out, fmp_err *err)
{
    cJSON *golden = NULL;
    *out = NULL;
    if (trained_dir) { FMP_TRY(load(trained_dir, &golden, err)); }
    if (!golden) { return fmp_chat_open(model_dir, NULL, out, err); }
    fmp_status status = open_and_check(model_dir, trained_dir, golden, out, err);
    cJSON_Delete(golden);
    if (status != FMP_OK) {
        fmp_chat_free(*out);
        *out = NULL;
    }
    return status;
}
