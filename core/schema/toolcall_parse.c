/*
 * Tool calls out of generated text. What a model writes is nearly right more often than right, so every fault
 * says the byte where reading stopped and what was expected there. Each style is one function; read read_call
 * for what they share.
 */
#include "schema_private.h"

typedef struct reader {
    const char *text;
    size_t len, at;
    cJSON *calls;
    fmp_err *err;
} reader;

static fmp_status stop_at(reader *r, size_t offset, const char *what)
{
    char found[48] = "the end of the text";
    if (offset < r->len) {
        size_t n = r->len - offset < 24 ? r->len - offset : 24;
        while (n > 0 && offset + n < r->len && ((unsigned char)r->text[offset + n] & 0xC0) == 0x80) {
            n--;
        }
        snprintf(found, sizeof found, "'%.*s'%s", (int)n, r->text + offset, offset + n < r->len ? "..." : "");
    }
    fmp_fail(r->err, FMP_E_DATA, "byte %zu: expected %s, found %s", offset, what, found);
    return r->err ? fmp_err_at(r->err, NULL, 0, 0, offset) : FMP_E_DATA;
}

static void skip_space(reader *r)
{
    while (r->at < r->len && strchr(" \t\r\n", r->text[r->at]) && r->text[r->at]) {
        r->at++;
    }
}

static bool at_word(const reader *r, const char *word)
{
    size_t n = strlen(word);
    return r->len - r->at >= n && memcmp(r->text + r->at, word, n) == 0;
}

static bool take_word(reader *r, const char *word)
{
    if (!at_word(r, word)) { return false; }
    r->at += strlen(word);
    return true;
}

/* First occurrence from `from`, or `len`. */
static size_t find(const reader *r, size_t from, const char *word)
{
    size_t n = strlen(word);
    const char *hit = from < r->len ? memmem(r->text + from, r->len - from, word, n) : NULL;
    return hit ? (size_t)(hit - r->text) : r->len;
}

/* Where the object or array that begins here ends: brackets counted outside strings; `len` if it does not. */
static size_t extent(const reader *r)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = r->at; i < r->len; i++) {
        char c = r->text[i];
        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (--depth == 0) { return i + 1; }
        }
    }
    return r->len;
}

/* One JSON value that begins with `open`, from here. */
static fmp_status read_json(reader *r, const char *open, const char *what, cJSON **out)
{
    skip_space(r);
    if (r->at == r->len || !strchr(open, r->text[r->at])) { return stop_at(r, r->at, what); }
    size_t begin = r->at, end = extent(r);
    fmp_err why = FMP_ERR_INIT;
    fmp_status status = fmp_json_parse(r->text + begin, end - begin, NULL, out, &why);
    if (status == FMP_OK) {
        r->at = end;
        return FMP_OK;
    }
    size_t offset = why.offset > end - begin ? begin : begin + (size_t)why.offset;
    fmp_fail(r->err, status, "byte %zu: %s", offset, why.message);
    return r->err ? fmp_err_at(r->err, NULL, 0, 0, offset) : status;
}

/* ---------------------------------------------------------------------------------------------- one call */

static fmp_status call_fault(reader *r, size_t offset, const char *what)
{
    fmp_fail(r->err, FMP_E_DATA, "byte %zu: %s", offset, what);
    return r->err ? fmp_err_at(r->err, NULL, 0, 0, offset) : FMP_E_DATA;
}

/* {"name", "arguments"} as generated -> arguments an object; `call` taken. `offset`: where it stands. */
static fmp_status add_call(reader *r, cJSON *call, size_t offset)
{
    cJSON *value = NULL;
    const cJSON *name = fmp_json_get(call, "name"), *arguments = fmp_json_get(call, "arguments");
    fmp_status status = FMP_OK;
    if (!cJSON_IsObject(call) || !cJSON_IsString(name) || !name->valuestring[0]) {
        status =
            call_fault(r, offset, "expected a call {\"name\": \"...\", \"arguments\": {...}}, found no name");
    } else if (cJSON_IsString(arguments)) {
        fmp_err why = FMP_ERR_INIT;
        if (fmp_json_parse(arguments->valuestring, strlen(arguments->valuestring), NULL, &value, &why) !=
                FMP_OK ||
            !cJSON_IsObject(value)) {
            status = call_fault(r, offset,
                                "expected \"arguments\" to be an object or its JSON text, found other text");
        } else {
            cJSON_ReplaceItemInObjectCaseSensitive(call, "arguments", value);
            value = NULL;
        }
    } else if (!cJSON_IsObject(arguments)) {
        status =
            call_fault(r, offset, "expected \"arguments\" to be an object, found something else or nothing");
    }
    for (const cJSON *m = call->child; m && status == FMP_OK; m = m->next) {
        if (strcmp(m->string, "name") != 0 && strcmp(m->string, "arguments") != 0) {
            status = call_fault(r, offset,
                                "expected a call with the members name and arguments only, found another");
        }
    }
    cJSON_Delete(value);
    if (status == FMP_OK && cJSON_AddItemToArray(r->calls, call)) { return FMP_OK; }
    cJSON_Delete(call);
    return status == FMP_OK ? fmp_fail(r->err, FMP_E_NOMEM, "out of memory") : status;
}

static fmp_status read_call(reader *r)
{
    cJSON *call = NULL;
    skip_space(r);
    size_t offset = r->at;
    FMP_TRY(read_json(r, "{", "a call {\"name\": ...", &call));
    return add_call(r, call, offset);
}

/* ---------------------------------------------------------------------------------------------- styles */

static fmp_status read_fm_chat(reader *r, size_t *text_end)
{
    size_t end = find(r, 0, "<|end|>"), first = find(r, 0, "<|call|>");
    *text_end = first < end ? first : end;
    if (first >= end) { return FMP_OK; }
    r->at = first;
    while (take_word(r, "<|call|>")) {
        FMP_TRY(read_call(r));
        skip_space(r);
    }
    return r->at == r->len || at_word(r, "<|end|>")
               ? FMP_OK
               : stop_at(r, r->at, "<|call|>, <|end|> or the end of the text");
}

/* A fenced list of calls; a lone object counts as a list of one. */
static fmp_status read_fenced(reader *r)
{
    cJSON *list = NULL;
    skip_space(r);
    bool fence = take_word(r, "```");
    if (fence) { (void)(take_word(r, "json") || take_word(r, "JSON")); }
    skip_space(r);
    size_t offset = r->at;
    FMP_TRY(read_json(r, "[{", "a list of calls [{\"name\": ...", &list));
    if (cJSON_IsObject(list)) {
        FMP_TRY(add_call(r, list, offset));
    } else {
        fmp_status status = FMP_OK;
        for (cJSON *m = list->child; m && status == FMP_OK; m = list->child) {
            status = add_call(r, cJSON_DetachItemViaPointer(list, m), offset);
        }
        cJSON_Delete(list);
        if (status != FMP_OK) { return status; }
    }
    skip_space(r);
    if (fence && !take_word(r, "```")) { return stop_at(r, r->at, "the closing ```"); }
    skip_space(r);
    return FMP_OK;
}

static fmp_status read_toolkit(reader *r, size_t *text_end)
{
    r->at = *text_end = find(r, 0, "<executable_start>");
    while (r->at < r->len) {
        r->at += strlen("<executable_start>");
        FMP_TRY(read_fenced(r));
        if (!take_word(r, "<executable_end>")) { return stop_at(r, r->at, "<executable_end>"); }
        r->at = find(r, r->at, "<executable_start>");
    }
    return FMP_OK;
}

static fmp_status read_hermes(reader *r, size_t *text_end)
{
    r->at = *text_end = find(r, 0, "<tool_call>");
    while (r->at < r->len) {
        r->at += strlen("<tool_call>");
        FMP_TRY(read_call(r));
        skip_space(r);
        if (!take_word(r, "</tool_call>")) { return stop_at(r, r->at, "</tool_call>"); }
        r->at = find(r, r->at, "<tool_call>");
    }
    return FMP_OK;
}

fmp_status fmp_toolcall_parse(const char *text, size_t len, const char *style, fmp_toolcalls *out,
                              fmp_err *err)
{
    static const struct {
        const char *name;
        fmp_status (*read)(reader *r, size_t *text_end);
    } styles[] = {{"fm-chat", read_fm_chat}, {"toolkit", read_toolkit}, {"hermes", read_hermes}};
    reader r = {text, len, 0, NULL, err};
    size_t i = 0, n = sizeof styles / sizeof styles[0];
    *out = (fmp_toolcalls){0};
    while (i < n && strcmp(styles[i].name, style) != 0) {
        i++;
    }
    if (i == n) {
        return fmp_fail(err, FMP_E_CONFIG, "expected the style fm-chat, toolkit or hermes, found '%s'",
                        style);
    }
    r.calls = cJSON_CreateArray();
    if (!r.calls) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    fmp_status status = styles[i].read(&r, &out->text_len);
    if (status != FMP_OK) {
        cJSON_Delete(r.calls);
        return status;
    }
    while (out->text_len > 0 && strchr(" \t\r\n", text[out->text_len - 1]) && text[out->text_len - 1]) {
        out->text_len--;
    }
    out->calls = r.calls;
    return FMP_OK;
}
