/*
 * pipeline_file.c: one pipeline file and those it extends, read and merged into one tree.
 *
 * Merging is by key for maps and by id for the list of stages; the extending file wins. There a null takes a
 * key away, and {id: X, remove: true} a stage. Every node keeps the mark and the folder of the file it was
 * written in, so that errors and relative paths stay right after merging.
 */
#include "pipeline_private.h"

#include <errno.h>
#include <fmpipe/fs.h>
#include <libgen.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_CHAIN = 8 };

typedef struct chain {
    struct {
        dev_t dev;
        ino_t ino;
        const char *path;
    } file[MAX_CHAIN];
    int n;
} chain;

static const char *folder_of(fmp_arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) { return "."; }
    return slash == path ? "/" : fmp_arena_strndup(arena, path, (size_t)(slash - path));
}

static const char *absolute_folder(fmp_arena *arena, const char *path)
{
    char *real = realpath(folder_of(arena, path), NULL);
    const char *kept = real ? fmp_arena_strdup(arena, real) : NULL;
    free(real);
    return kept;
}

/* ---- merging ---- */

static fmp_yaml *merge(fmp_arena *arena, fmp_yaml *base, fmp_yaml *over, bool top);

static fmp_yaml *stage_with_id(const fmp_yaml *list, const char *id, size_t *index)
{
    for (size_t i = 0; id && i < list->n; i++) {
        const fmp_yaml *other = fmp_yaml_get(list->items[i], "id");
        if (other && other->text && strcmp(other->text, id) == 0) {
            *index = i;
            return list->items[i];
        }
    }
    return NULL;
}

/* {id: X, remove: true} and nothing else; pipeline.c reports any other use of the key. */
static bool removes(const fmp_yaml *stage)
{
    const fmp_yaml *remove = fmp_yaml_get(stage, "remove");
    return remove && remove->kind == FMP_YAML_BOOL && remove->truth && stage->n == 2;
}

static void drop_item(fmp_yaml *list, size_t at)
{
    list->n--;
    memmove(list->items + at, list->items + at + 1, (list->n - at) * sizeof *list->items);
    if (list->keys) { memmove(list->keys + at, list->keys + at + 1, (list->n - at) * sizeof *list->keys); }
}

static fmp_yaml *merge_stages(fmp_arena *arena, fmp_yaml *base, fmp_yaml *over)
{
    fmp_yaml *merged = fmp_arena_take(arena, sizeof *merged);
    *merged = *over;
    merged->items = fmp_arena_take(arena, (base->n + over->n + 1) * sizeof *merged->items);
    merged->n = base->n;
    if (base->n > 0) { memcpy(merged->items, base->items, base->n * sizeof *merged->items); }
    size_t n_base = base->n; /* of merged's items: those that the extended file gave */
    for (size_t i = 0; i < over->n; i++) {
        const fmp_yaml *id = fmp_yaml_get(over->items[i], "id");
        size_t at = 0;
        fmp_yaml *same = stage_with_id(merged, id ? id->text : NULL, &at);
        if (same && at < n_base && removes(over->items[i])) {
            drop_item(merged, at);
            n_base--;
        } else if (same && at < n_base) {
            merged->items[at] = merge(arena, merged->items[at], over->items[i], false);
        } else {
            merged->items[merged->n++] = over->items[i];
        }
    }
    return merged;
}

static size_t key_index(const fmp_yaml *map, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(map->keys[i]->text, key) == 0) { return i; }
    }
    return SIZE_MAX;
}

static fmp_yaml *merge(fmp_arena *arena, fmp_yaml *base, fmp_yaml *over, bool top)
{
    if (base->kind != FMP_YAML_MAP || over->kind != FMP_YAML_MAP) { return over; }
    fmp_yaml *merged = fmp_arena_take(arena, sizeof *merged);
    *merged = *over;
    merged->items = fmp_arena_take(arena, (base->n + over->n + 1) * sizeof *merged->items);
    merged->keys = fmp_arena_take(arena, (base->n + over->n + 1) * sizeof *merged->keys);
    merged->n = base->n;
    if (base->n > 0) {
        memcpy(merged->items, base->items, base->n * sizeof *merged->items);
        memcpy(merged->keys, base->keys, base->n * sizeof *merged->keys);
    }
    for (size_t i = 0; i < over->n; i++) {
        fmp_yaml *value = over->items[i];
        size_t at = key_index(merged, merged->n, over->keys[i]->text);
        if (at != SIZE_MAX && value->kind == FMP_YAML_NULL) {
            drop_item(merged, at);
            continue;
        }
        if (at != SIZE_MAX) {
            fmp_yaml *old = merged->items[at];
            bool lists = old->kind == FMP_YAML_LIST && value->kind == FMP_YAML_LIST;
            bool stages = top && lists && strcmp(over->keys[i]->text, "stages") == 0;
            value = stages ? merge_stages(arena, old, value) : merge(arena, old, value, false);
        } else {
            at = merged->n++;
        }
        merged->items[at] = value;
        merged->keys[at] = over->keys[i];
    }
    return merged;
}

/* ---- reading ---- */

static void check_version(fmp_loader *l, const fmp_yaml *root)
{
    const fmp_yaml *version = fmp_yaml_get(root, "fmpipe");
    char found[96];
    if (!version) {
        fmp_mark mark = root->mark;
        fmp_diags_error(l->diags, &mark, "expected 'fmpipe: 1', the version of the format; it is missing");
        fmp_diags_hint(l->diags, "begin the file with the line fmpipe: 1");
    } else if (version->kind != FMP_YAML_INT || strcmp(version->digits, "1") != 0) {
        fmp_diags_error(l->diags, &version->mark, "expected version 1 of the pipeline format, found %s",
                        fmp_yaml_describe(version, found));
    }
}

static bool enter(fmp_loader *l, chain *c, const char *path, const fmp_mark *mark)
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) {
        const char *why = errno == ENOENT ? "there is no such file" : strerror(errno);
        if (stat(path, &st) == 0) { why = "it is not a file"; }
        fmp_diags_error(l->diags, mark, "expected a pipeline file at '%.200s': %s", path, why);
        return false;
    }
    for (int i = 0; i < c->n; i++) {
        if (c->file[i].dev != st.st_dev || c->file[i].ino != st.st_ino) { continue; }
        fmp_diags_error(l->diags, mark, "'%.200s' extends itself%s", path,
                        i + 1 < c->n ? ", by way of other files" : "");
        return false;
    }
    if (c->n == MAX_CHAIN) {
        fmp_diags_error(l->diags, mark, "expected at most %d files that extend each other, found more",
                        MAX_CHAIN);
        return false;
    }
    c->file[c->n].dev = st.st_dev;
    c->file[c->n].ino = st.st_ino;
    c->file[c->n++].path = path;
    return true;
}

static fmp_status read_chain(fmp_loader *l, chain *c, const char *path, const fmp_mark *mark,
                             fmp_yaml **root);

/* The file that `root` extends, merged under it. */
static fmp_status read_extended(fmp_loader *l, chain *c, const char *path, fmp_yaml **root)
{
    const fmp_yaml *extends = fmp_yaml_get(*root, "extends");
    char found[96];
    if (!extends) { return FMP_OK; }
    if (extends->kind != FMP_YAML_STRING || !extends->text[0]) {
        fmp_diags_error(l->diags, &extends->mark, "expected the path of a pipeline file, found %s",
                        fmp_yaml_describe(extends, found));
        return FMP_OK;
    }
    if (fmp_is_url(extends->text)) {
        fmp_diags_error(l->diags, &extends->mark, "expected a local file, found the URL '%.80s'",
                        extends->text);
        fmp_diags_hint(l->diags, "fmpipe reads local files; fetch it first and name the file");
        return FMP_OK;
    }
    const char *folder = folder_of(l->arena, path);
    const char *below = strcmp(folder, ".") == 0 && path[0] != '.'
                            ? fmp_arena_strdup(l->arena, extends->text)
                            : fmp_absolute_path(l->arena, folder, extends->text);
    fmp_yaml *base = NULL;
    FMP_TRY(read_chain(l, c, below, &extends->mark, &base));
    *root = base ? merge(l->arena, base, *root, true) : NULL;
    return FMP_OK;
}

static fmp_status read_chain(fmp_loader *l, chain *c, const char *path, const fmp_mark *mark, fmp_yaml **root)
{
    *root = NULL;
    if (!enter(l, c, path, mark)) { return FMP_OK; }
    fmp_buf text = {0};
    fmp_status status = fmp_read_file(path, (size_t)64 << 20, &text, l->err);
    const char *dir = status == FMP_OK ? absolute_folder(l->arena, path) : NULL;
    if (status == FMP_OK && !dir) {
        status = fmp_fail(l->err, FMP_E_IO, "cannot find the folder of %s", path);
    }
    if (status == FMP_OK) {
        fmp_status parsed =
            fmp_yaml_parse(text.data ? text.data : "", text.len, path, dir, l->arena, root, l->diags, l->err);
        if (parsed != FMP_OK && parsed != FMP_E_CONFIG) { status = parsed; }
    }
    fmp_buf_free(&text);
    FMP_TRY(status);
    if (!*root) { return FMP_OK; }
    if ((*root)->kind != FMP_YAML_MAP) {
        char found[96];
        fmp_diags_error(l->diags, &(*root)->mark,
                        "expected a pipeline (a map with fmpipe, stages, ...), found %s",
                        fmp_yaml_describe(*root, found));
        *root = NULL;
        return FMP_OK;
    }
    check_version(l, *root);
    return read_extended(l, c, path, root);
}

fmp_status fmp_pipeline_read_(fmp_loader *l, const char *path, fmp_yaml **root)
{
    chain c = {.n = 0};
    fmp_mark mark = {path, 0, 0, 1};
    return read_chain(l, &c, path, &mark, root);
}
