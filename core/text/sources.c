/*
 * sources.c: the sources of a token artifact's segments; sources.h has the format. A list of names is searched from
 * its end backwards, since records of one source usually follow each other.
 */
#include <fmpipe/fs.h>
#include <fmpipe/json.h>
#include <fmpipe/sources.h>

#include <stdlib.h>

#define FORMAT "fmpipe.sources/1"

static fmp_status no_memory(fmp_err *err)
{
    return fmp_fail(err, FMP_E_NOMEM, "out of memory for the sources of segments");
}

void fmp_sources_free(fmp_sources *s)
{
    for (uint32_t i = 0; i < s->n; i++) {
        free(s->names[i]);
    }
    free(s->names);
    free(s->of);
    *s = (fmp_sources){0};
}

/* ---- collecting ---- */

static bool add_name(fmp_sources *s, const char *name)
{
    char **names = realloc(s->names, ((size_t)s->n + 1) * sizeof *names);
    if (!names) { return false; }
    s->names = names;
    s->names[s->n] = strdup(name);
    if (!s->names[s->n]) { return false; }
    s->n++;
    return true;
}

/* Index of the name, which is added; UINT32_MAX when out of memory. */
static uint32_t name_index(fmp_sources *s, const char *name)
{
    for (uint32_t i = s->n; i-- > 0;) {
        if (strcmp(s->names[i], name) == 0) { return i; }
    }
    if (s->n == FMP_SOURCES_MOST) { return name_index(s, "other"); }
    bool last = s->n == FMP_SOURCES_MOST - 1;
    return add_name(s, last ? "other" : name) ? s->n - 1 : UINT32_MAX;
}

fmp_status fmp_sources_add(fmp_sources *s, const cJSON *doc, fmp_err *err)
{
    uint32_t index = name_index(s, fmp_json_str(fmp_json_get(doc, "meta"), "source", ""));
    if (index == UINT32_MAX) { return no_memory(err); }
    if (s->n_segments == s->cap) {
        uint64_t cap = s->cap ? 2 * s->cap : 1024;
        uint16_t *of = realloc(s->of, cap * sizeof *of);
        if (!of) { return no_memory(err); }
        s->of = of;
        s->cap = cap;
    }
    s->of[s->n_segments++] = (uint16_t)index;
    return FMP_OK;
}

/* ---- the files ---- */

typedef struct paths {
    char *json, *bin;
} paths;

static fmp_status name_files(const char *dir, paths *p, fmp_err *err)
{
    p->json = fmp_path_join(dir, "sources.json");
    p->bin = fmp_path_join(dir, "sources.bin");
    return p->json && p->bin ? FMP_OK : no_memory(err);
}

static void free_paths(paths *p)
{
    free(p->json);
    free(p->bin);
}

static fmp_status write_json(const fmp_sources *s, const char *path, fmp_err *err)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "format", FORMAT);
    cJSON_AddNumberToObject(json, "segments", (double)s->n_segments);
    cJSON *names = cJSON_AddArrayToObject(json, "sources");
    for (uint32_t i = 0; i < s->n; i++) {
        cJSON_AddItemToArray(names, cJSON_CreateString(s->names[i]));
    }
    char *text = fmp_json_text(json, FMP_JSON_PRETTY);
    fmp_status status = text ? fmp_write_file(path, text, strlen(text), err) : no_memory(err);
    free(text);
    cJSON_Delete(json);
    return status;
}

fmp_status fmp_sources_write(const fmp_sources *s, const char *dir, fmp_err *err)
{
    if (s->n == 0 || (s->n == 1 && *s->names[0] == '\0')) { return FMP_OK; }
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "sources.bin is the array as it is");
    paths p = {0};
    fmp_status status = name_files(dir, &p, err);
    if (status == FMP_OK) { status = fmp_write_file(p.bin, s->of, s->n_segments * sizeof *s->of, err); }
    if (status == FMP_OK) { status = write_json(s, p.json, err); }
    free_paths(&p);
    return status;
}

static fmp_status read_names(const cJSON *json, uint64_t n_segments, fmp_sources *out, fmp_err *err)
{
    const cJSON *names = fmp_json_get(json, "sources"), *name;
    if (strcmp(fmp_json_str(json, "format", ""), FORMAT) != 0) {
        return fmp_fail(err, FMP_E_DATA, "expected the format " FORMAT);
    }
    if (fmp_json_num(json, "segments", -1) != (double)n_segments) {
        return fmp_fail(err, FMP_E_DATA, "expected %llu segments", (unsigned long long)n_segments);
    }
    int n = cJSON_GetArraySize(names);
    if (!cJSON_IsArray(names) || n < 1 || n > FMP_SOURCES_MOST) {
        return fmp_fail(err, FMP_E_DATA, "'sources': expected 1 to %d names", FMP_SOURCES_MOST);
    }
    cJSON_ArrayForEach(name, names)
    {
        if (!cJSON_IsString(name)) { return fmp_fail(err, FMP_E_DATA, "'sources': expected names"); }
        if (!add_name(out, name->valuestring)) { return no_memory(err); }
    }
    return FMP_OK;
}

static fmp_status read_indexes(const char *path, uint64_t n_segments, fmp_sources *out, fmp_err *err)
{
    fmp_buf file = {0};
    FMP_TRY(fmp_read_file(path, 0, &file, err));
    if (file.len / sizeof *out->of != n_segments || file.len % sizeof *out->of != 0) {
        fmp_buf_free(&file);
        return fmp_fail(err, FMP_E_DATA, "expected %llu numbers of 2 bytes, found %zu bytes",
                        (unsigned long long)n_segments, file.len);
    }
    out->of = (uint16_t *)(void *)file.data; /* taken; the buffer is from malloc */
    out->n_segments = out->cap = n_segments;
    for (uint64_t i = 0; i < n_segments; i++) {
        if (out->of[i] >= out->n) {
            return fmp_fail(err, FMP_E_DATA, "segment %llu: expected a source below %u, found %u",
                            (unsigned long long)i, out->n, out->of[i]);
        }
    }
    return FMP_OK;
}

fmp_status fmp_sources_read(const char *dir, uint64_t n_segments, fmp_sources *out, fmp_err *err)
{
    paths p = {0};
    cJSON *json = NULL;
    *out = (fmp_sources){0};
    fmp_status status = name_files(dir, &p, err);
    if (status == FMP_OK && fmp_path_exists(p.json)) {
        status = fmp_json_load(p.json, NULL, &json, err);
        if (status == FMP_OK) { status = read_names(json, n_segments, out, err); }
        if (status == FMP_E_DATA) { (void)fmp_err_at(err, p.json, 0, 0, UINT64_MAX); }
        if (status == FMP_OK) {
            status = read_indexes(p.bin, n_segments, out, err);
            if (status == FMP_E_DATA) { (void)fmp_err_at(err, p.bin, 0, 0, UINT64_MAX); }
        }
    }
    cJSON_Delete(json);
    free_paths(&p);
    if (status != FMP_OK) { fmp_sources_free(out); }
    return status;
}
