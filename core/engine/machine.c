/*
 * machine.c: the machine as the run's manifest names it.
 */
#include "run_folder.h"

#include <gnu/libc-version.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Features that decide which kernels a numeric library picks. */
static const char *const cpu_features[] = {
    "sse4_2",   "avx",         "avx2",        "fma",         "f16c",     "avx512f",  "avx512bw",
    "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
    "sha_ni",   "asimd",       "asimdhp",     "bf16",        "i8mm",     "sve"};

/* The value after "name<tabs>: " of the first such line; NULL if none. Ends in '\n'. */
static const char *find_line(const char *text, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = text; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL) {
        if (strncmp(p, name, n) != 0) { continue; }
        const char *colon = p + n + strspn(p + n, " \t");
        if (*colon == ':' || *colon == '=') { return colon + 1 + strspn(colon + 1, " \t\""); }
    }
    return NULL;
}

static void add_line(cJSON *out, const char *key, const char *text, const char *name)
{
    const char *value = text ? find_line(text, name) : NULL;
    char copy[256];
    if (!value) { return; }
    (void)snprintf(copy, sizeof copy, "%.*s", (int)strcspn(value, "\"\n"), value);
    cJSON_AddStringToObject(out, key, copy);
}

static bool has_word(const char *line, const char *word)
{
    size_t n = strlen(word), len = strcspn(line, "\n");
    for (size_t i = 0; i + n <= len; i++) {
        bool begins = i == 0 || line[i - 1] == ' ', ends = line[i + n] == ' ' || line[i + n] == '\n';
        if (begins && ends && strncmp(line + i, word, n) == 0) { return true; }
    }
    return false;
}

/* Files of /proc report no size, so they are read through a stream. */
static void read_proc(const char *path, fmp_buf *out)
{
    char chunk[4096];
    FILE *in = fopen(path, "re");
    if (!in) { return; }
    for (size_t n; out->len < ((size_t)1 << 20) && (n = fread(chunk, 1, sizeof chunk, in)) > 0;) {
        fmp_buf_add(out, chunk, n);
    }
    (void)fclose(in);
}

static void add_cpu(cJSON *machine)
{
    fmp_buf text = {0};
    cpu_set_t set;
    read_proc("/proc/cpuinfo", &text);
    add_line(machine, "cpu", text.data, "model name");
    cJSON *features = cJSON_AddArrayToObject(machine, "cpu_features");
    const char *flags = text.data ? find_line(text.data, "flags") : NULL;
    if (!flags && text.data) { flags = find_line(text.data, "Features"); }
    for (size_t i = 0; flags && i < sizeof cpu_features / sizeof *cpu_features; i++) {
        if (has_word(flags, cpu_features[i])) {
            cJSON_AddItemToArray(features, cJSON_CreateString(cpu_features[i]));
        }
    }
    fmp_buf_free(&text);
    int usable = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    cJSON_AddNumberToObject(machine, "cores", (double)sysconf(_SC_NPROCESSORS_ONLN));
    cJSON_AddNumberToObject(machine, "cores_usable", usable);
}

cJSON *fmp_machine_json(void)
{
    cJSON *machine = cJSON_CreateObject();
    struct utsname name;
    fmp_buf os = {0};
    add_cpu(machine);
    double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    cJSON_AddNumberToObject(machine, "memory_bytes", memory);
    read_proc("/etc/os-release", &os);
    add_line(machine, "os", os.data, "PRETTY_NAME");
    fmp_buf_free(&os);
    if (uname(&name) == 0) {
        cJSON_AddStringToObject(machine, "kernel", name.release);
        cJSON_AddStringToObject(machine, "architecture", name.machine);
    }
    cJSON *libraries = cJSON_AddObjectToObject(machine, "libraries");
    cJSON_AddStringToObject(libraries, "libc", gnu_get_libc_version());
    cJSON_AddStringToObject(libraries, "cjson", cJSON_Version());
    return machine;
}
