/*
 * option_path.c: options that name files: existence, globs, content digests.
 *
 * A path is relative to the file it is written in. What enters the cache key is the content's digest, never
 * the path.
 */
#include "options_private.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>

bool fmp_is_url(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");
    return n > 1 && strncmp(text + n, "://", 3) == 0;
}

const char *fmp_absolute_path(fmp_arena *arena, const char *dir, const char *text)
{
    if (text[0] == '/') { return fmp_arena_strdup(arena, text); }
    while (text[0] == '.' && text[1] == '/') {
        text += 2;
        while (*text == '/') {
            text++;
        }
    }
    if (strcmp(text, ".") == 0) { return fmp_arena_strdup(arena, dir); }
    return fmp_arena_printf(arena, "%s%s%s", dir, strcmp(dir, "/") == 0 ? "" : "/", text);
}

static const char *dir_of(const fmp_value_check *v)
{
    return v->node->dir ? v->node->dir : v->check->base_dir;
}

/* The path text of a scalar, or NULL after a diagnostic. */
static const char *path_text(fmp_value_check *v)
{
    char found[96];
    const char *text = fmp_node_string_(v->node);
    if (!text || !*text) {
        fmp_value_error_(v, "expected a path, found %s",
                         text ? "an empty string" : fmp_yaml_describe(v->node, found));
        return NULL;
    }
    if (fmp_is_url(text)) {
        fmp_value_error_(v, "expected a local path, found the URL '%.80s'", text);
        fmp_diags_hint(v->check->diags, "fmpipe reads local files; fetch it first and name the file");
        return NULL;
    }
    return text;
}

static bool add_file(fmp_value_check *v, const char *path, const char *shown, char digest[65])
{
    fmp_option_check *c = v->check;
    digest[0] = '\0';
    fmp_err err = FMP_ERR_INIT;
    if (c->digest && c->digest(c->digest_arg, path, digest, &err) != FMP_OK) {
        return fmp_value_error_(v, "%s", err.message);
    }
    if (c->n_files == c->cap_files) {
        size_t cap = c->cap_files ? c->cap_files * 2 : 8;
        fmp_file_input *files = fmp_arena_take(c->arena, cap * sizeof *files);
        if (c->n_files > 0) { memcpy(files, c->files, c->n_files * sizeof *files); }
        c->files = files;
        c->cap_files = cap;
    }
    fmp_file_input *file = &c->files[c->n_files++];
    *file = (fmp_file_input){.option = v->path, .path = path, .shown = shown};
    memcpy(file->digest, digest, 65);
    return true;
}

static cJSON *digest_node(const char digest[65])
{
    char text[80];
    snprintf(text, sizeof text, "sha256:%s", digest);
    return cJSON_CreateString(text);
}

static bool is_readable_kind(fmp_value_check *v, const char *path, const char *shown)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) {
            fmp_value_error_(v, "expected a file or folder, found nothing at '%.120s'", shown);
            fmp_diags_hint(v->check->diags,
                           "paths are relative to the file they are written in; looked for %s", path);
            return false;
        }
        return fmp_value_error_(v, "cannot look at '%.120s': %s", shown, strerror(errno));
    }
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) { return true; }
    return fmp_value_error_(v, "expected a file or folder, found something else at '%.120s'", shown);
}

bool fmp_value_check_path_(fmp_value_check *v)
{
    const char *text = path_text(v);
    if (!text) { return false; }
    const char *path = fmp_absolute_path(v->check->arena, dir_of(v), text);
    char digest[65] = "";
    if (!(v->opt->flags & FMP_OPT_OUTPUT)) {
        if (!is_readable_kind(v, path, text)) { return false; }
        if (!add_file(v, path, fmp_arena_strdup(v->check->arena, text), digest)) { return false; }
    }
    v->value = cJSON_CreateString(path);
    v->key = digest_node(digest);
    return v->value && v->key;
}

/* ---- PATHS ---- */

static int byte_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* `dir` with the characters that glob treats as a pattern escaped. */
static void add_escaped_dir(fmp_buf *out, const char *dir)
{
    for (; *dir; dir++) {
        if (strchr("*?[]\\", *dir)) { fmp_buf_putc(out, '\\'); }
        fmp_buf_putc(out, *dir);
    }
}

static bool already_matched(fmp_value_check *v, const char *path)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, v->value)
    {
        if (strcmp(item->valuestring, path) == 0) { return true; }
    }
    return false;
}

static bool add_match(fmp_value_check *list, fmp_value_check *v, const char *path, const char *shown)
{
    char digest[65];
    if (already_matched(list, path)) {
        fmp_value_error_(v, "'%.120s' is named twice; a file is read once", shown);
        fmp_diags_hint(v->check->diags, "remove one of the patterns");
        return false;
    }
    if (!is_readable_kind(v, path, shown) || !add_file(v, path, shown, digest)) { return false; }
    cJSON_AddItemToArray(list->value, cJSON_CreateString(path));
    cJSON_AddItemToArray(list->key, digest_node(digest));
    return true;
}

static bool add_glob(fmp_value_check *list, fmp_value_check *v, const char *text)
{
    fmp_arena *arena = v->check->arena;
    const char *dir = dir_of(v), *whole = fmp_absolute_path(arena, dir, text);
    /* A name that exists as it stands is taken literally, brackets and all. */
    struct stat st;
    if (stat(whole, &st) == 0 || !strpbrk(text, "*?[")) {
        return add_match(list, v, whole, fmp_arena_strdup(arena, text));
    }
    fmp_buf pattern = {0};
    size_t relative = text[0] == '/' ? 0 : strlen(dir) + (strcmp(dir, "/") != 0);
    if (relative > 0) { add_escaped_dir(&pattern, dir); }
    fmp_buf_puts(&pattern, relative > 0 ? whole + strlen(dir) : whole);
    glob_t found = {0};
    bool failed = pattern.failed || glob(pattern.data, GLOB_NOSORT, NULL, &found) == GLOB_NOSPACE;
    bool ok = !failed;
    if (failed) { fmp_value_error_(v, "out of memory"); }
    if (ok && found.gl_pathc == 0) {
        ok = fmp_value_error_(v, "expected files, found none that match '%.120s'", text);
        fmp_diags_hint(v->check->diags, "paths are relative to the file they are written in; looked in %s",
                       dir);
    }
    if (found.gl_pathc > 1) { qsort(found.gl_pathv, found.gl_pathc, sizeof *found.gl_pathv, byte_order); }
    for (size_t i = 0; ok && i < found.gl_pathc; i++) {
        const char *path = fmp_arena_strdup(arena, found.gl_pathv[i]);
        ok = add_match(list, v, path, path + relative);
    }
    globfree(&found);
    fmp_buf_free(&pattern);
    return ok;
}

bool fmp_value_check_paths_(fmp_value_check *v)
{
    const fmp_yaml *n = v->node;
    bool many = n->kind == FMP_YAML_LIST;
    v->value = cJSON_CreateArray();
    v->key = cJSON_CreateArray();
    bool ok = v->value && v->key;
    for (size_t i = 0; i < (many ? n->n : 1); i++) {
        fmp_value_check item = *v;
        item.node = many ? n->items[i] : n;
        if (many) { item.path = fmp_arena_printf(v->check->arena, "%s[%zu]", v->path, i); }
        const char *text = path_text(&item);
        ok = text && add_glob(v, &item, text) && ok;
    }
    if (many && n->n == 0 && (v->opt->flags & FMP_OPT_REQUIRED)) {
        ok = fmp_value_error_(v, "expected at least one path, found an empty list");
    }
    if (ok) { return true; }
    cJSON_Delete(v->value);
    cJSON_Delete(v->key);
    return false;
}
