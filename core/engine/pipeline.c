/*
 * pipeline.c: a pipeline file from text to checked stages: fields, stage lookup, options.
 *
 * The steps are in pipeline_private.h. None stops at the first problem: what a step cannot use it leaves
 * out, so that one look shows everything that is wrong. Read pipeline.h first for the format.
 */
#include "pipeline_private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_STAGES = 1000 };

void fmp_check_keys_(fmp_loader *l, const fmp_yaml *map, const char *const *keys, const char *what)
{
    for (size_t i = 0; i < map->n; i++) {
        const char *const *k = keys;
        while (*k && strcmp(*k, map->keys[i]->text) != 0) {
            k++;
        }
        if (*k) { continue; }
        fmp_diags_error(l->diags, &map->keys[i]->mark, "unknown key '%.60s' %s", map->keys[i]->text, what);
        const char *near = fmp_nearest_name(map->keys[i]->text, keys);
        if (near) { fmp_diags_hint(l->diags, "did you mean '%s'?", near); }
    }
}

static bool expected(fmp_loader *l, const fmp_yaml *node, const char *what)
{
    char found[96];
    fmp_diags_error(l->diags, &node->mark, "expected %s, found %s", what, fmp_yaml_describe(node, found));
    return false;
}

/* ---- fields of the file ---- */

static bool is_word(const char *text, bool letter_first)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    bool first = !letter_first || (text[0] >= 'a' && text[0] <= 'z');
    return n > 0 && n <= 64 && text[n] == '\0' && first;
}

/* "pipelines/My first.yaml" -> "my_first" */
static const char *name_of_file(fmp_arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *name = fmp_arena_strdup(arena, slash ? slash + 1 : path);
    name[strcspn(name, ".")] = '\0';
    if (strlen(name) > 64) { name[64] = '\0'; }
    for (char *c = name; *c; c++) {
        if (*c >= 'A' && *c <= 'Z') { *c = (char)(*c - 'A' + 'a'); }
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789_-", *c)) { *c = '_'; }
    }
    return *name ? name : "pipeline";
}

static void read_name(fmp_loader *l, const fmp_yaml *root)
{
    const fmp_yaml *node = fmp_yaml_get(root, "name");
    l->p->name = name_of_file(l->arena, l->p->file);
    if (!node || node->failed) { return; }
    const char *text = node->kind == FMP_YAML_STRING || node->verbatim ? node->text : NULL;
    if (text && is_word(text, false)) {
        l->p->name = text;
    } else {
        expected(l, node, "a name of the characters a-z, 0-9, _ and -");
    }
}

static uint64_t read_seed(fmp_loader *l, const fmp_yaml *map, uint64_t fallback)
{
    const fmp_yaml *node = fmp_yaml_get(map, "seed");
    if (!node || node->failed) { return fallback; }
    errno = 0;
    unsigned long long seed = node->kind == FMP_YAML_INT ? strtoull(node->digits, NULL, 10) : 0;
    if (node->kind != FMP_YAML_INT || node->digits[0] == '-' || errno != 0) {
        expected(l, node, "a seed, an integer from 0 to 18446744073709551615");
        return fallback;
    }
    return seed;
}

static void read_base(fmp_loader *l, const fmp_yaml *root)
{
    const fmp_yaml *node = fmp_yaml_get(root, "base");
    if (!node || node->failed || node->kind == FMP_YAML_NULL) { return; }
    const char *text = node->kind == FMP_YAML_STRING || node->verbatim ? node->text : NULL;
    if (!text || !*text) {
        expected(l, node, "the folder of a base model");
        return;
    }
    if (fmp_is_url(text)) {
        fmp_diags_error(l->diags, &node->mark, "expected a local folder, found the URL '%.80s'", text);
        fmp_diags_hint(l->diags, "fmpipe reads local files; fetch the model first and name its folder");
        return;
    }
    fmp_pipeline *p = l->p;
    p->base_mark = node->mark;
    p->base_shown = text;
    p->base_path = fmp_absolute_path(l->arena, node->dir ? node->dir : p->dir, text);
    struct stat st;
    if (stat(p->base_path, &st) != 0) {
        fmp_diags_error(l->diags, &node->mark, "expected a base model, found nothing at '%.120s'", text);
        fmp_diags_hint(l->diags, "paths are relative to the file they are written in; looked for %s",
                       p->base_path);
        return;
    }
    fmp_err err = FMP_ERR_INIT;
    if (l->digests && fmp_digests_get(l->digests, p->base_path, p->base_digest, &err) != FMP_OK) {
        fmp_diags_error(l->diags, &node->mark, "%s", err.message);
    }
}

/* ---- fields of a stage ---- */

static void read_id(fmp_loader *l, const fmp_yaml *node, size_t index)
{
    fmp_stage_node *s = &l->p->stages[index];
    const fmp_yaml *id = fmp_yaml_get(node, "id");
    s->mark = node->mark;
    s->id = "";
    if (!id) {
        fmp_diags_error(l->diags, &node->mark, "expected every stage to have an id, found one without");
        fmp_diags_hint(l->diags, "add id: NAME, by which other stages name it");
        return;
    }
    s->mark = id->mark;
    if (id->failed) { return; }
    if (id->kind != FMP_YAML_STRING || !is_word(id->text, true)) {
        expected(l, id, "an id: a letter, then letters, digits, _ or - (all lower case)");
        return;
    }
    if (strcmp(id->text, "base") == 0) {
        fmp_diags_error(l->diags, &id->mark, "expected another id, found 'base', which names the base model");
        return;
    }
    for (size_t i = 0; i < index; i++) {
        if (strcmp(l->p->stages[i].id, id->text) != 0) { continue; }
        const fmp_mark *first = &l->p->stages[i].mark;
        fmp_diags_error(l->diags, &id->mark,
                        "expected every id once, found '%s' again; it is also in %s:%u:%u", id->text,
                        first->file, first->line, first->column);
        return;
    }
    s->id = id->text;
}

static void read_use(fmp_loader *l, const fmp_yaml *node, fmp_stage_node *s)
{
    const fmp_yaml *use = fmp_yaml_get(node, "use");
    if (!use) {
        fmp_diags_error(l->diags, &node->mark, "expected use: STAGE, found a stage without it");
        fmp_diags_hint(l->diags, "fmpipe help stages lists the stages there are");
        return;
    }
    if (use->failed) { return; }
    if (use->kind != FMP_YAML_STRING || !use->text[0]) {
        expected(l, use, "the name of a stage, or a plugin file");
        return;
    }
    if (fmp_is_url(use->text)) {
        fmp_diags_error(l->diags, &use->mark,
                        "expected the name of a stage or a plugin file, found the URL '%.80s'", use->text);
        fmp_diags_hint(l->diags, "fmpipe reads local files; fetch it first and name the file");
        return;
    }
    fmp_err err = FMP_ERR_INIT;
    const char *dir = use->dir ? use->dir : l->p->dir;
    if (l->finder->find(l->finder->arg, use->text, dir, &s->info, &err) != FMP_OK) {
        s->info = NULL;
        fmp_err_at(&err, use->mark.file, use->mark.line, use->mark.column, UINT64_MAX);
        fmp_diags_add(l->diags, FMP_SEV_ERROR, &err, use->mark.span);
    }
}

static bool handles_records(const fmp_stage_info *info)
{
    if (info->kind == FMP_SOURCE || info->kind == FMP_MAP || info->kind == FMP_SINK) { return true; }
    for (const fmp_port *in = info->inputs; in->name; in++) {
        if (strcmp(in->type, FMP_PORT_RECORDS) == 0) { return true; }
    }
    return false;
}

static void read_limit(fmp_loader *l, const fmp_yaml *policy, fmp_stage_node *s)
{
    static const char *const keys[] = {"limit", NULL};
    fmp_check_keys_(l, policy, keys, "of on_bad");
    const fmp_yaml *limit = fmp_yaml_get(policy, "limit");
    errno = 0;
    s->on_bad = FMP_ON_BAD_LIMIT;
    if (limit && limit->kind == FMP_YAML_INT && limit->digits[0] != '-') {
        s->bad_limit = strtoull(limit->digits, NULL, 10);
    }
    if (!limit && policy->n == 0) {
        expected(l, policy, "fail, skip or {limit: N}");
    } else if (limit && (limit->kind != FMP_YAML_INT || limit->digits[0] == '-' || errno != 0)) {
        expected(l, limit, "a number of records");
    }
}

static void read_on_bad(fmp_loader *l, const fmp_yaml *node, fmp_stage_node *s)
{
    static const char *const words[] = {"fail", "skip", NULL};
    const fmp_yaml *policy = fmp_yaml_get(node, "on_bad");
    if (!policy || policy->failed || policy->kind == FMP_YAML_NULL) { return; }
    if (s->info && !handles_records(s->info)) {
        fmp_diags_error(l->diags, &policy->mark, "on_bad is for stages that handle records; '%s' does not",
                        s->info->name);
        return;
    }
    if (policy->kind == FMP_YAML_MAP) {
        read_limit(l, policy, s);
    } else if (policy->kind == FMP_YAML_STRING && strcmp(policy->text, "skip") == 0) {
        s->on_bad = FMP_ON_BAD_SKIP;
    } else if (policy->kind != FMP_YAML_STRING || strcmp(policy->text, "fail") != 0) {
        expected(l, policy, "fail, skip or {limit: N}");
        const char *near = policy->text ? fmp_nearest_name(policy->text, words) : NULL;
        if (near) { fmp_diags_hint(l->diags, "did you mean '%s'?", near); }
    }
}

static void read_isolation(fmp_loader *l, const fmp_yaml *node, fmp_stage_node *s)
{
    static const char *const words[] = {"inprocess", "process", NULL};
    const fmp_yaml *isolation = fmp_yaml_get(node, "isolation");
    if (!isolation || isolation->failed || isolation->kind == FMP_YAML_NULL) { return; }
    const char *text = isolation->kind == FMP_YAML_STRING ? isolation->text : "";
    s->isolated = strcmp(text, "process") == 0;
    if (!s->isolated && strcmp(text, "inprocess") != 0) {
        expected(l, isolation, "inprocess or process");
        const char *near = fmp_nearest_name(text, words);
        if (near) { fmp_diags_hint(l->diags, "did you mean '%s'?", near); }
    } else if (s->isolated && s->info && s->info->kind != FMP_MAP) {
        fmp_diags_error(l->diags, &isolation->mark, "isolation: process is for map stages; '%s' is none",
                        s->info->name);
    }
}

static fmp_status digest_file(void *arg, const char *path, char hex[65], fmp_err *err)
{
    return fmp_digests_get(arg, path, hex, err);
}

static void read_options(fmp_loader *l, const fmp_yaml *node, fmp_stage_node *s)
{
    if (!s->info) { return; }
    fmp_option_check check = {.table = s->info->options,
                              .use = s->info->name,
                              .mark = s->mark,
                              .base_dir = l->p->dir,
                              .arena = l->arena,
                              .diags = l->diags,
                              .digest = l->digests ? digest_file : NULL,
                              .digest_arg = l->digests};
    fmp_options_resolve(&check, fmp_yaml_get(node, "with"));
    s->values = check.values;
    s->key_values = check.key_values;
    s->marks = check.marks;
    s->n_marks = check.n_marks;
    s->files = check.files;
    s->n_files = check.n_files;
}

/* Merging took away what {id: X, remove: true} names; one that is still here is wrong. */
static void read_left_remove(fmp_loader *l, const fmp_yaml *node, fmp_stage_node *s)
{
    const fmp_yaml *remove = fmp_yaml_get(node, "remove"), *id = fmp_yaml_get(node, "id");
    s->id = "";
    s->mark = node->mark;
    if (remove->kind != FMP_YAML_BOOL || !remove->truth) {
        expected(l, remove, "true");
    } else if (node->n != 2 || !id) {
        fmp_diags_error(l->diags, &remove->mark, "expected {id: STAGE, remove: true}, found other keys");
    } else {
        fmp_diags_error(l->diags, &id->mark, "expected a stage of the extended file, found '%.60s'",
                        id->text ? id->text : "");
        fmp_diags_hint(l->diags, "remove: true takes away a stage of the file that extends: names");
    }
}

static void read_stage(fmp_loader *l, const fmp_yaml *node, size_t index)
{
    static const char *const keys[] = {"id", "use", "from", "on_bad", "isolation", "seed", "with", NULL};
    fmp_stage_node *s = &l->p->stages[index];
    if (node->kind != FMP_YAML_MAP) {
        s->id = "";
        s->mark = node->mark;
        if (!node->failed) { expected(l, node, "a stage: a map with id, use and with"); }
        return;
    }
    if (fmp_yaml_get(node, "remove")) {
        read_left_remove(l, node, s);
        return;
    }
    fmp_check_keys_(l, node, keys, "of a stage");
    read_id(l, node, index);
    read_use(l, node, s);
    read_on_bad(l, node, s);
    read_isolation(l, node, s);
    s->seed = read_seed(l, node, l->p->seed);
    l->from[index] = fmp_yaml_get(node, "from");
    read_options(l, node, s);
}

static void read_stages(fmp_loader *l, const fmp_yaml *root)
{
    const fmp_yaml *list = fmp_yaml_get(root, "stages");
    if (!list) {
        fmp_mark mark = root->mark;
        fmp_diags_error(l->diags, &mark, "expected stages:, the list of stages; it is missing");
        return;
    }
    if (list->failed) { return; }
    if (list->kind != FMP_YAML_LIST || list->n == 0) {
        expected(l, list, "a list of stages");
        return;
    }
    if (list->n > MAX_STAGES) {
        fmp_diags_error(l->diags, &list->mark, "expected at most %d stages, found %zu", MAX_STAGES, list->n);
        return;
    }
    l->p->stages = fmp_arena_take_zero(l->arena, list->n, sizeof *l->p->stages);
    l->from = fmp_arena_take_zero(l->arena, list->n, sizeof *l->from);
    for (size_t i = 0; i < list->n; i++) {
        l->p->n_stages = i + 1;
        read_stage(l, list->items[i], i);
    }
}

/* ---- loading ---- */

static fmp_status load(fmp_loader *l, const char *path, const fmp_set *sets, size_t n_sets)
{
    static const char *const keys[] = {"fmpipe", "name", "seed", "extends", "vars", "base", "stages", NULL};
    fmp_yaml *root = NULL;
    FMP_TRY(fmp_pipeline_read_(l, path, &root));
    if (!root) { return FMP_OK; }
    l->p->dir = root->dir;
    fmp_check_keys_(l, root, keys, "of a pipeline");
    fmp_pipeline_set_(l, root, sets, n_sets);
    fmp_pipeline_substitute_(l, root);
    read_name(l, root);
    l->p->seed = read_seed(l, root, 0);
    read_base(l, root);
    read_stages(l, root);
    fmp_pipeline_connect_(l);
    return fmp_arena_ok(l->arena, l->err);
}

static fmp_status loader_start(fmp_loader *l, const char *path, bool digest_files, const char *store_dir)
{
    l->arena = fmp_arena_new(0);
    l->p = l->arena ? fmp_arena_take_zero(l->arena, 1, sizeof *l->p) : NULL;
    if (!l->p || fmp_arena_ok(l->arena, NULL) != FMP_OK) {
        fmp_arena_free(l->arena);
        l->p = NULL;
        return fmp_fail(l->err, FMP_E_NOMEM, "out of memory while reading %s", path);
    }
    l->p->arena = l->arena;
    l->p->file = fmp_arena_strdup(l->arena, path);
    char *cwd = getcwd(NULL, 0);
    l->cwd = fmp_arena_strdup(l->arena, cwd ? cwd : "/");
    free(cwd);
    return digest_files ? fmp_digests_open(store_dir, &l->digests, l->err) : FMP_OK;
}

fmp_status fmp_pipeline_load_with(const fmp_stage_finder *finder, const char *path, const fmp_set *sets,
                                  size_t n_sets, bool digest_files, const char *store_dir, fmp_pipeline **out,
                                  fmp_diags *diags, fmp_err *err)
{
    *out = NULL;
    size_t errors_before = diags->n_errors;
    fmp_loader l = {.finder = finder, .diags = diags, .err = err};
    /* Option values live as long as the pipeline, not as long as the caller's JSON scope. */
    fmp_arena *scope = fmp_json_scope(NULL);
    fmp_status status = loader_start(&l, path, digest_files, store_dir);
    if (status == FMP_OK) { status = load(&l, l.p->file, sets, n_sets); }
    fmp_digests_close(l.digests);
    fmp_json_scope(scope);
    fmp_diags_sort(diags);
    size_t n_errors = diags->n_errors - errors_before;
    if (status == FMP_OK && n_errors > 0) {
        status = fmp_fail(err, FMP_E_CONFIG, "%s: %zu problem%s", path, n_errors, n_errors == 1 ? "" : "s");
    }
    if (status == FMP_OK) {
        *out = l.p;
    } else {
        fmp_pipeline_free(l.p);
    }
    return status;
}

static fmp_status find_in_registry(void *arg, const char *use, const char *base_dir,
                                   const fmp_stage_info **out, fmp_err *err)
{
    return fmp_registry_find(arg, use, base_dir, out, err);
}

fmp_status fmp_pipeline_load(const char *path, fmp_registry *reg, const fmp_set *sets, size_t n_sets,
                             bool digest_files, const char *store_dir, fmp_pipeline **out, fmp_diags *diags,
                             fmp_err *err)
{
    fmp_stage_finder finder = {reg, find_in_registry};
    return fmp_pipeline_load_with(&finder, path, sets, n_sets, digest_files, store_dir, out, diags, err);
}

void fmp_pipeline_free(fmp_pipeline *p)
{
    if (!p) { return; }
    for (size_t i = 0; i < p->n_stages; i++) {
        cJSON_Delete(p->stages[i].values);
        cJSON_Delete(p->stages[i].key_values);
    }
    fmp_arena_free(p->arena);
}

fmp_mark fmp_option_where(const fmp_stage_node *stage, const char *option_path)
{
    /* "rules[2].pattern", else "rules[2]", else "rules", else the stage */
    for (size_t len = strlen(option_path); len > 0; len--) {
        if (option_path[len] != '\0' && option_path[len] != '.' && option_path[len] != '[') { continue; }
        for (size_t i = 0; i < stage->n_marks; i++) {
            const char *path = stage->marks[i].path;
            if (strncmp(path, option_path, len) == 0 && !path[len]) { return stage->marks[i].mark; }
        }
    }
    return stage->mark;
}
