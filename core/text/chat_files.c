/*
 * chat_files.c: the text of a chat template, wherever a model keeps it.
 *
 * A model may have several: chat_template.jinja and additional_chat_templates/NAME.jinja, a list in
 * tokenizer_config.json, or tokenizer.chat_template and tokenizer.chat_template.NAME in a GGUF file. As
 * transformers does it, "tool_use" renders conversations with tools and "default" all others. Such a pair
 * becomes one text that chooses by itself: one digest, one file beside what is trained, and nobody
 * downstream has to know.
 */
#include "chat_impl.h"

#include "tokenizer_impl.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MOST_TEMPLATES = 64 };
#define MOST_BYTES ((size_t)4 << 20)

typedef struct named {
    char *name, *text;
} named;

typedef struct template_list {
    named v[MOST_TEMPLATES];
    size_t n;
} template_list;

static void list_free(template_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->v[i].name);
        free(l->v[i].text);
    }
    l->n = 0;
}

static fmp_status list_add(template_list *l, const char *name, size_t name_len, const char *text, size_t len,
                           fmp_err *err)
{
    if (l->n == MOST_TEMPLATES || len > MOST_BYTES) {
        return fmp_fail(err, FMP_E_RANGE, "expected at most %d chat templates of at most %zu bytes",
                        MOST_TEMPLATES, MOST_BYTES);
    }
    named *one = &l->v[l->n++];
    *one = (named){strndup(name, name_len), strndup(text, len)};
    return one->name && one->text ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

static const char *list_find(const template_list *l, const char *name)
{
    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->v[i].name, name) == 0) { return l->v[i].text; }
    }
    return NULL;
}

/* ---- files of Jinja ---- */

static fmp_status add_file(template_list *l, const char *path, const char *name, size_t name_len,
                           fmp_err *err)
{
    fmp_buf text = {0};
    fmp_status status = fmp_read_file(path, MOST_BYTES, &text, err);
    if (status == FMP_OK) { status = list_add(l, name, name_len, text.data ? text.data : "", text.len, err); }
    fmp_buf_free(&text);
    return status;
}

/* additional_chat_templates/NAME.jinja, in order of the names */
static fmp_status add_folder(template_list *l, const char *path, fmp_err *err)
{
    static const char end[] = ".jinja";
    struct dirent **entry = NULL;
    int n_entries = scandir(path, &entry, NULL, alphasort); /* -1: there is no such folder */
    fmp_status status = FMP_OK;
    for (int i = 0; i < n_entries; i++) {
        const char *name = entry[i]->d_name;
        size_t n = strlen(name), m = sizeof end - 1;
        if (status == FMP_OK && n > m && strcmp(name + n - m, end) == 0) {
            char *file = fmp_path_join(path, name);
            status = file ? add_file(l, file, name, n - m, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
            free(file);
        }
        free(entry[i]);
    }
    free(entry);
    return status;
}

/* chat_template of tokenizer_config.json: a text, or a list of {name, template}. */
static fmp_status add_config(template_list *l, const char *path, fmp_err *err)
{
    cJSON *json = NULL;
    fmp_status status = fmp_path_exists(path) ? fmp_json_load(path, NULL, &json, err) : FMP_OK;
    const cJSON *node = fmp_json_get(json, "chat_template"), *row;
    const cJSON *list = cJSON_IsArray(node) ? node : NULL;
    if (status == FMP_OK && cJSON_IsString(node)) {
        status = list_add(l, "default", 7, node->valuestring, strlen(node->valuestring), err);
    }
    cJSON_ArrayForEach(row, list)
    {
        const char *name = fmp_json_str(row, "name", NULL), *text = fmp_json_str(row, "template", NULL);
        if (status == FMP_OK && name && text) {
            status = list_add(l, name, strlen(name), text, strlen(text), err);
        }
    }
    cJSON_Delete(json);
    return status;
}

/* ---- GGUF ---- */

static fmp_status take_gguf(void *arg, const char *key, size_t key_len, const char *text, size_t len,
                            fmp_err *err)
{
    if (key_len > 0 && *key != '.') { return FMP_OK; }
    if (memchr(text, '\0', len)) { return fmp_fail(err, FMP_E_DATA, "GGUF: a chat template has a NUL byte"); }
    return key_len == 0 ? list_add(arg, "default", 7, text, len, err)
                        : list_add(arg, key + 1, key_len - 1, text, len, err);
}

static fmp_status add_gguf(template_list *l, const char *path, fmp_err *err)
{
    fmp_map map = {0};
    FMP_TRY(fmp_map_file(path, &map, err));
    fmp_status status =
        tk_gguf_texts((const char *)map.data, map.len, "tokenizer.chat_template", take_gguf, l, err);
    fmp_unmap(&map);
    return status;
}

static bool is_gguf(const char *path)
{
    size_t n = strlen(path);
    return n > 5 && strcmp(path + n - 5, ".gguf") == 0;
}

/* ---- a model's templates ---- */

static fmp_status add_below(template_list *l, const char *dir, const char *name,
                            fmp_status (*add)(template_list *, const char *, fmp_err *), fmp_err *err)
{
    char *path = fmp_path_join(dir, name);
    fmp_status status = path ? add(l, path, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    free(path);
    return status;
}

static fmp_status add_default(template_list *l, const char *path, fmp_err *err)
{
    return fmp_path_exists(path) ? add_file(l, path, "default", 7, err) : FMP_OK;
}

/* The first of the places that has one: files, configuration, the only GGUF file. */
static fmp_status list_folder(template_list *l, const char *dir, fmp_err *err)
{
    char *only = NULL;
    FMP_TRY(add_below(l, dir, "chat_template.jinja", add_default, err));
    FMP_TRY(add_below(l, dir, "additional_chat_templates", add_folder, err));
    if (l->n == 0) { FMP_TRY(add_below(l, dir, "tokenizer_config.json", add_config, err)); }
    if (l->n > 0 || tk_only_file(dir, &only, NULL) != FMP_OK) { return FMP_OK; }
    fmp_status status = is_gguf(only) ? add_gguf(l, only, err) : FMP_OK;
    free(only);
    return status;
}

/* ---- choosing ---- */

static fmp_status no_such(const template_list *l, const char *what, const char *name, fmp_err *err)
{
    fmp_buf names = {0};
    for (size_t i = 0; i < l->n; i++) {
        fmp_buf_printf(&names, "%s%s", i > 0 ? ", " : "", l->v[i].name);
    }
    if (l->n == 0) {
        (void)fmp_fail(err, FMP_E_CONFIG, "'%s' has no chat template", what);
        (void)fmp_err_hint(err, "name one: a built-in template such as fm-chat, or a .jinja file");
    } else if (name) {
        (void)fmp_fail(err, FMP_E_CONFIG, "'%s' has no chat template '%s'; it has %s", what, name,
                       names.data ? names.data : "");
    } else {
        (void)fmp_fail(err, FMP_E_CONFIG, "'%s' has no chat template 'default'; it has %s", what,
                       names.data ? names.data : "");
        (void)fmp_err_hint(err, "choose one of them by its name");
    }
    fmp_buf_free(&names);
    return FMP_E_CONFIG;
}

/* A text that ends in a newline loses it when it is a whole template. */
static void put_whole(fmp_buf *out, const char *text)
{
    size_t n = strlen(text);
    if (n > 0 && text[n - 1] == '\n') { n--; }
    if (n > 0 && text[n - 1] == '\r') { n--; }
    fmp_buf_add(out, text, n);
}

/* One template for conversations with and without tools. "+" keeps the white space of both texts. */
static fmp_status join_pair(const char *plain, const char *tools, char **out, fmp_err *err)
{
    fmp_buf text = {0};
    fmp_buf_puts(&text, "{% if tools is defined and tools is not none +%}");
    put_whole(&text, tools);
    fmp_buf_puts(&text, "{%+ else +%}");
    put_whole(&text, plain);
    fmp_buf_puts(&text, "{%+ endif %}");
    fmp_status status = fmp_buf_ok(&text, err);
    if (status == FMP_OK) {
        *out = text.data;
    } else {
        fmp_buf_free(&text);
    }
    return status;
}

static fmp_status choose(const template_list *l, const char *what, const char *name, char **out, fmp_err *err)
{
    const char *text = list_find(l, name ? name : "default"), *tools = name ? NULL : list_find(l, "tool_use");
    if (!text) { return no_such(l, what, name, err); }
    if (tools) { return join_pair(text, tools, out, err); }
    *out = strdup(text);
    return *out ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

fmp_status fmp_chat_read_template(const char *what, const char *name, char **out, fmp_err *err)
{
    const char *builtin = fmp_template_builtin(what);
    struct stat st;
    template_list list = {.n = 0};
    fmp_status status;
    *out = NULL;
    if (builtin) {
        status = list_add(&list, "default", 7, builtin, strlen(builtin), err);
    } else if (stat(what, &st) == 0 && S_ISDIR(st.st_mode)) {
        status = list_folder(&list, what, err);
    } else if (is_gguf(what)) {
        status = add_gguf(&list, what, err);
    } else {
        status = add_file(&list, what, "default", 7, err);
    }
    if (status == FMP_OK) { status = choose(&list, what, name, out, err); }
    list_free(&list);
    return status;
}
