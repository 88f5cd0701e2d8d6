/*
 * base_params.c: how many values the weight files of a model folder hold, for the first line of a run.
 *
 * A safetensors file begins with the length of a JSON header, u64 little endian, and the header has the shape of every
 * tensor; so this costs the reading of headers. A folder without such files, or with a damaged one, has no number here: the
 * stage that opens it will say what is wrong.
 */
#include "engine.h"

#include <fmpipe/fs.h>

#include <dirent.h>
#include <stdlib.h>

enum { MOST_HEADER = 64 << 20 };

static bool is_weights(const char *name)
{
    static const char end[] = ".safetensors";
    size_t len = strlen(name);
    return len >= sizeof end && strcmp(name + len - (sizeof end - 1), end) == 0;
}

/* Of one tensor; false if it has no shape, or one that does not fit. */
static bool count_values(const cJSON *tensor, size_t *out)
{
    const cJSON *shape = fmp_json_get(tensor, "shape"), *size;
    size_t n = 1;
    if (!cJSON_IsArray(shape)) { return false; }
    cJSON_ArrayForEach(size, shape)
    {
        double v = -1.0;
        if (!fmp_json_number(size, &v) || !(v >= 0.0 && v < 1e15) || !fmp_mul_ok(n, (size_t)v, &n)) {
            return false;
        }
    }
    return fmp_add_ok(*out, n, out);
}

static bool count_file(const char *path, size_t *out)
{
    unsigned char head[8];
    uint64_t len = 0;
    FILE *f = fopen(path, "rb");
    if (!f) { return false; }
    bool ok = fread(head, 1, sizeof head, f) == sizeof head;
    for (int i = 7; ok && i >= 0; i--) {
        len = len << 8 | head[i];
    }
    ok = ok && len > 1 && len <= MOST_HEADER;
    char *text = ok ? malloc((size_t)len) : NULL;
    ok = text && fread(text, 1, (size_t)len, f) == len;
    (void)fclose(f);
    cJSON *json = NULL;
    fmp_err ignored = FMP_ERR_INIT;
    ok = ok && fmp_json_parse(text, (size_t)len, NULL, &json, &ignored) == FMP_OK;
    const cJSON *tensor;
    cJSON_ArrayForEach(tensor, json)
    {
        ok = ok && (strcmp(tensor->string, "__metadata__") == 0 || count_values(tensor, out));
    }
    cJSON_Delete(json);
    free(text);
    return ok;
}

uint64_t fmp_base_params(const char *dir)
{
    size_t n = 0;
    bool ok = true;
    DIR *folder = opendir(dir);
    for (struct dirent *entry; folder && ok && (entry = readdir(folder));) {
        if (!is_weights(entry->d_name)) { continue; }
        char *path = fmp_path_join(dir, entry->d_name);
        ok = path && count_file(path, &n);
        free(path);
    }
    if (folder) { (void)closedir(folder); }
    return ok ? n : 0;
}
