/*
 * Plugin files into memory: read once, hashed, checked as bytes, and only then run. The bytes that were
 * hashed are the bytes that are loaded: they go into a sealed memfd, and dlopen opens that. A loaded plugin
 * stays until the process ends, since code may still be on some thread's stack and unloading gains nothing.
 */
#include "elf_note.h"
#include "host.h"

#include <fmpipe/fs.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_PLUGIN_BYTES = 256 << 20, CHILD_SECONDS = 10, MAX_STAGES = 256 };

typedef struct loaded {
    char digest[65];
    const fmp_plugin *plugin;
    struct loaded *next;
} loaded;

static loaded *all_loaded;
static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;

static fmp_status read_image(const char *path, fmp_buf *image, char hex[65], fmp_err *err)
{
    unsigned char digest[32];
    FMP_TRY(fmp_read_file(path, MAX_PLUGIN_BYTES, image, err));
    fmp_sha256_bytes(image->data ? image->data : "", image->len, digest);
    fmp_hex(digest, 32, hex);
    return FMP_OK;
}

/* ---------------------------------------------------------------------------------------------- gates */

static fmp_status refuse(fmp_err *err, const char *path, const char *text)
{
    fmp_fail(err, FMP_E_PLUGIN, "plugin refused: %s", text);
    return fmp_err_at(err, path, 0, 0, UINT64_MAX);
}

/*
 * Each part of a run path must be $ORIGIN or a folder above it, where the preloaded libraries of this
 * installation lie. Anything else, an empty part (the current folder) above all, could bring in foreign
 * code.
 */
static bool runpath_ok(const char *runpath)
{
    if (!runpath || !*runpath) { return true; }
    for (const char *part = runpath;;) {
        if (strncmp(part, "$ORIGIN", 7) != 0) { return false; }
        for (part += 7; strncmp(part, "/..", 3) == 0; part += 3) {}
        if (*part == '\0') { return true; }
        if (*part++ != ':') { return false; }
    }
}

static fmp_status check_image(const fmp_buf *image, const char *path, fmp_elf_facts *out, fmp_err *err)
{
    fmp_elf_facts facts;
    char text[256];
    fmp_status status =
        fmp_elf_inspect((const unsigned char *)image->data, image->len, FMP_PLUGIN_SYMBOL, &facts, err);
    *out = facts;
    if (status != FMP_OK) { return fmp_err_at(err, path, 0, 0, UINT64_MAX); }
    if (!facts.has_entry) {
        return refuse(err, path,
                      "it does not export " FMP_PLUGIN_SYMBOL "; is FMP_PLUGIN_ENTRY in one source file?");
    }
    if (facts.extra_symbol) {
        snprintf(text, sizeof text,
                 "it exports '%.80s' beside its entry point; build with -fvisibility=hidden",
                 facts.extra_symbol);
        return refuse(err, path, text);
    }
    if (facts.text_relocations) { return refuse(err, path, "it has text relocations; build with -fPIC"); }
    if (!runpath_ok(facts.runpath)) {
        snprintf(text, sizeof text,
                 "its run path '%.80s' could load foreign libraries; expected none or one below $ORIGIN",
                 facts.runpath);
        return refuse(err, path, text);
    }
    return FMP_OK;
}

static bool has_callbacks(const fmp_stage *s)
{
    bool common = s->create && s->destroy;
    switch (s->kind) {
    case FMP_SOURCE: return common && s->fetch && s->decode;
    case FMP_MAP: return common && s->process;
    case FMP_SINK: return common && s->encode && s->file_name;
    case FMP_GATHER:
    case FMP_TASK: return common && s->run;
    }
    return false;
}

static fmp_status check_descriptor(const fmp_plugin *p, const char *path, fmp_err *err)
{
    char text[320];
    if (!p) { return refuse(err, path, FMP_PLUGIN_SYMBOL " returned NULL"); }
    if (p->struct_size < offsetof(fmp_plugin, layout) + sizeof p->layout) {
        return refuse(err, path, "its descriptor is too small to be one");
    }
    if (p->abi_major != FMP_ABI_MAJOR) {
        snprintf(text, sizeof text,
                 "it was built for ABI version %u, this program has version %d; build it again with this "
                 "version's headers",
                 p->abi_major, FMP_ABI_MAJOR);
        return refuse(err, path, text);
    }
    if (p->abi_minor_needed > FMP_ABI_MINOR) {
        snprintf(text, sizeof text, "it needs ABI %d.%u, this program has %d.%d; use a newer fmpipe",
                 FMP_ABI_MAJOR, p->abi_minor_needed, FMP_ABI_MAJOR, FMP_ABI_MINOR);
        return refuse(err, path, text);
    }
    if (p->struct_size > sizeof(fmp_plugin)) {
        snprintf(text, sizeof text, "its descriptor has %u bytes, this program knows %zu; use a newer fmpipe",
                 p->struct_size, sizeof(fmp_plugin));
        return refuse(err, path, text);
    }
    if (p->layout != FMP_LAYOUT || p->struct_size != sizeof(fmp_plugin)) {
        return refuse(err, path,
                      "its structs are laid out differently (another header or cJSON); build it again with "
                      "this version's headers");
    }
    if (p->option_size != sizeof(fmp_option) || p->port_size != sizeof(fmp_port)) {
        return refuse(err, path, "its option or port rows have another size");
    }
    if (!p->name || !p->version || !p->stages || !p->stages[0]) {
        return refuse(err, path, "its descriptor lacks a name, a version or stages");
    }
    for (size_t i = 0; p->stages[i]; i++) {
        const fmp_stage *s = p->stages[i];
        if (i == MAX_STAGES || s->struct_size != sizeof(fmp_stage) || !s->name) {
            return refuse(err, path, "a stage's descriptor has another size");
        }
        if (!has_callbacks(s)) {
            snprintf(text, sizeof text, "stage '%.60s' lacks a function that its kind needs", s->name);
            return refuse(err, path, text);
        }
    }
    return FMP_OK;
}

/* ---------------------------------------------------------------------------------------------- dlopen */

/* The image in a memfd that nobody can change any more. */
static fmp_status sealed_copy(const fmp_buf *image, const char *path, int *out, fmp_err *err)
{
    const char *slash = strrchr(path, '/');
    int fd = memfd_create(slash ? slash + 1 : path, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) { return fmp_fail(err, FMP_E_IO, "memfd_create: %s", strerror(errno)); }
    for (size_t done = 0; done < image->len;) {
        ssize_t n = write(fd, image->data + done, image->len - done);
        if (n < 0 && errno == EINTR) { continue; }
        if (n <= 0) {
            close(fd);
            return fmp_fail(err, FMP_E_IO, "copying plugin '%s' to memory: %s", path, strerror(errno));
        }
        done += (size_t)n;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0) {
        close(fd);
        return fmp_fail(err, FMP_E_IO, "sealing the copy of plugin '%s': %s", path, strerror(errno));
    }
    *out = fd;
    return FMP_OK;
}

/*
 * The libraries of this installation that the plugin needs (libfmtext ...), loaded by absolute path from
 * where this library lies: a plugin in a memfd has no $ORIGIN, and its needs are then met by the names
 * already loaded.
 */
static void preload_own_libraries(const fmp_elf_facts *facts)
{
    Dl_info self;
    char path[4096];
    if (dladdr((void *)(uintptr_t)preload_own_libraries, &self) == 0 || !self.dli_fname) { return; }
    const char *slash = strrchr(self.dli_fname, '/');
    for (size_t i = 0; slash && i < facts->n_needed; i++) {
        if (strncmp(facts->needed[i], "libfm", 5) != 0 || strchr(facts->needed[i], '/')) { continue; }
        int n = snprintf(path, sizeof path, "%.*s/%s", (int)(slash - self.dli_fname), self.dli_fname,
                         facts->needed[i]);
        if (n > 0 && (size_t)n < sizeof path && access(path, R_OK) == 0) {
            (void)dlopen(path, RTLD_NOW | RTLD_LOCAL); /* if it fails, the plugin that needs it says so */
        }
    }
}

/* One dlopen of the checked image; sets *out to the checked descriptor. */
static fmp_status open_image(const fmp_buf *image, const char *path, const fmp_plugin **out, fmp_err *err)
{
    char fd_path[64];
    Dl_info where;
    fmp_elf_facts facts;
    int fd = -1;
    FMP_TRY(check_image(image, path, &facts, err));
    FMP_TRY(sealed_copy(image, path, &fd, err));
    preload_own_libraries(&facts);
    snprintf(fd_path, sizeof fd_path, "/proc/self/fd/%d", fd);
    void *handle = dlopen(fd_path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        char text[600];
        snprintf(text, sizeof text, "the loader says: %s", dlerror());
        close(fd);
        return refuse(err, path, text);
    }
    /* fd stays open: the loader knows the object by this path, and a second plugin must not get the same
     * one. */
    union {
        void *object;
        fmp_plugin_fn fn;
    } entry = {.object = dlsym(handle, FMP_PLUGIN_SYMBOL)};
    if (!entry.object || dladdr(entry.object, &where) == 0 || !where.dli_fname ||
        strcmp(where.dli_fname, fd_path) != 0) {
        return refuse(err, path, FMP_PLUGIN_SYMBOL " belongs to another object");
    }
    const fmp_plugin *plugin = entry.fn();
    FMP_TRY(check_descriptor(plugin, path, err));
    *out = plugin;
    return FMP_OK;
}

static char *canonical_manifest(const fmp_plugin *plugin)
{
    cJSON *json = fmp_manifest_from_descriptor(plugin);
    char *text = json ? fmp_json_text(json, FMP_JSON_COMPACT | FMP_JSON_SORTED) : NULL;
    cJSON_Delete(json);
    return text;
}

/* The note is what validate and lock went by: it must say what the code says. */
static fmp_status check_note(const fmp_stage_info *info, const fmp_plugin *plugin, fmp_err *err)
{
    char *ours = canonical_manifest(plugin),
         *noted = fmp_json_text(info->plugin->json, FMP_JSON_COMPACT | FMP_JSON_SORTED);
    bool equal = ours && noted && strcmp(ours, noted) == 0;
    free(ours);
    free(noted);
    return equal ? FMP_OK
                 : refuse(err, info->plugin->path,
                          "its note and its code say different things; build it again");
}

static fmp_status load_locked(const fmp_stage_info *info, const fmp_plugin **out, fmp_err *err)
{
    for (loaded *l = all_loaded; l; l = l->next) {
        if (strcmp(l->digest, info->plugin->digest) == 0) {
            *out = l->plugin;
            return FMP_OK;
        }
    }
    fmp_buf image = {0};
    loaded *l = calloc(1, sizeof *l);
    fmp_status status = l ? read_image(info->plugin->path, &image, l->digest, err)
                          : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (status == FMP_OK && strcmp(l->digest, info->plugin->digest) != 0) {
        fmp_fail(err, FMP_E_MISMATCH,
                 "plugin '%s' changed after it was checked: expected sha256:%.12s, found sha256:%.12s",
                 info->plugin->path, info->plugin->digest, l->digest);
        status = fmp_err_hint(err, "run again");
    }
    if (status == FMP_OK) { status = open_image(&image, info->plugin->path, &l->plugin, err); }
    if (status == FMP_OK) { status = check_note(info, l->plugin, err); }
    fmp_buf_free(&image);
    if (status != FMP_OK) {
        free(l);
        return status;
    }
    l->next = all_loaded;
    all_loaded = l;
    *out = l->plugin;
    return FMP_OK;
}

fmp_status fmp_plugin_load(const fmp_stage_info *info, const fmp_stage **out, fmp_err *err)
{
    const fmp_plugin *plugin = NULL;
    pthread_mutex_lock(&load_lock);
    fmp_status status = load_locked(info, &plugin, err);
    pthread_mutex_unlock(&load_lock);
    for (size_t i = 0; status == FMP_OK && plugin->stages[i]; i++) {
        if (strcmp(plugin->stages[i]->name, info->name) == 0) {
            *out = plugin->stages[i];
            return FMP_OK;
        }
    }
    return status != FMP_OK
               ? status
               : fmp_fail(err, FMP_E_PLUGIN, "plugin '%s' has no stage '%s'", info->plugin->path, info->name);
}

const void *fmp_plugin_extension(const fmp_stage_info *info, const char *name)
{
    const fmp_plugin *plugin = NULL;
    pthread_mutex_lock(&load_lock);
    for (loaded *l = all_loaded; l; l = l->next) {
        if (strcmp(l->digest, info->plugin->digest) == 0) { plugin = l->plugin; }
    }
    pthread_mutex_unlock(&load_lock);
    return plugin && plugin->get_extension ? plugin->get_extension(name) : NULL;
}

/* ------------------------------------------------------------------------------------- manifests of files */

/* In the child: run the plugin's entry point and write its manifest, or the error's text behind a '!'. */
static void child_manifest(const fmp_buf *image, const char *path, int out)
{
    const fmp_plugin *plugin = NULL;
    fmp_err err = FMP_ERR_INIT;
    for (int number = 1; number < 32; number++) {
        signal(number, SIG_DFL);
    } /* the program's handlers are not for this child */
    alarm(CHILD_SECONDS);
    char *text = open_image(image, path, &plugin, &err) == FMP_OK ? canonical_manifest(plugin) : NULL;
    const char *head = text ? "{" : "!", *body = text ? text + 1 : err.message;
    ssize_t done = write(out, head, 1);
    for (size_t left = strlen(body); done > 0 && left > 0; left -= (size_t)done, body += done) {
        done = write(out, body, left);
    }
    _exit(done > 0 ? 0 : 1);
}

/* The descriptor's manifest, by way of a child process: a plugin that crashes or hangs takes only the
 * child with it. */
static fmp_status manifest_by_child(const fmp_buf *image, const char *path, fmp_buf *out, fmp_err *err)
{
    int ends[2], state = 0;
    char chunk[4096];
    if (pipe2(ends, O_CLOEXEC) != 0) { return fmp_fail(err, FMP_E_IO, "pipe: %s", strerror(errno)); }
    pid_t child = fork();
    if (child < 0) { return fmp_fail(err, FMP_E_IO, "fork: %s", strerror(errno)); }
    if (child == 0) {
        close(ends[0]);
        child_manifest(image, path, ends[1]);
    }
    close(ends[1]);
    for (;;) {
        ssize_t n = read(ends[0], chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) { continue; }
        if (n <= 0 || out->len > (4u << 20)) { break; }
        fmp_buf_add(out, chunk, (size_t)n);
    }
    close(ends[0]);
    while (waitpid(child, &state, 0) < 0 && errno == EINTR) {}
    if (WIFSIGNALED(state)) {
        char text[128];
        snprintf(text, sizeof text, "reading its descriptor ended with signal %d (%s)", WTERMSIG(state),
                 strsignal(WTERMSIG(state)));
        return refuse(err, path, text);
    }
    FMP_TRY(fmp_buf_ok(out, err));
    if (out->len == 0) { return refuse(err, path, "its descriptor could not be read"); }
    if (out->data[0] == '!') {
        fmp_fail(err, FMP_E_PLUGIN, "%s", out->data + 1);
        return fmp_err_at(err, path, 0, 0, UINT64_MAX);
    }
    return FMP_OK;
}

static fmp_status read_info(const char *path, fmp_plugin_info *info, fmp_err *err)
{
    const unsigned char *note = NULL;
    size_t note_len = 0;
    char digest[65];
    fmp_buf image = {0}, text = {0};
    fmp_status status = read_image(path, &image, digest, err);
    if (status == FMP_OK) {
        status = fmp_elf_find_note((const unsigned char *)image.data, image.len, &note, &note_len, err);
    }
    if (status == FMP_OK && !note) {
        status = manifest_by_child(&image, path, &text, err);
        note = (const unsigned char *)text.data;
        note_len = text.len;
    }
    if (status == FMP_OK) { status = fmp_manifest_parse((const char *)note, note_len, info, err); }
    if (status == FMP_OK) {
        memcpy(info->digest, digest, sizeof digest);
        info->path = fmp_arena_strdup(info->arena, path);
    } else if (err && !err->file[0]) {
        fmp_err_at(err, path, 0, 0, UINT64_MAX);
    }
    fmp_buf_free(&image);
    fmp_buf_free(&text);
    return status;
}

fmp_status fmp_plugin_read(const char *path, fmp_plugin_info **out, fmp_err *err)
{
    char *absolute = realpath(path, NULL);
    if (!absolute) {
        fmp_fail(err, errno == ENOENT ? FMP_E_PLUGIN : FMP_E_IO, "cannot open plugin '%s': %s", path,
                 strerror(errno));
        return err ? (fmp_status)err->code : FMP_E_PLUGIN;
    }
    fmp_plugin_info *info = calloc(1, sizeof *info);
    fmp_status status = info ? read_info(absolute, info, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    free(absolute);
    if (status != FMP_OK) {
        free(info);
        return status;
    }
    for (size_t i = 0; i < info->n_stages; i++) {
        info->stages[i].plugin = info;
    }
    *out = info;
    return FMP_OK;
}

void fmp_plugin_info_free(fmp_plugin_info *info)
{
    if (!info) { return; }
    fmp_arena_free(info->arena);
    free(info);
}

fmp_status fmp_plugin_write_note(const char *path, fmp_err *err)
{
    fmp_buf image = {0}, text = {0}, out = {0};
    char digest[65];
    fmp_status status = read_image(path, &image, digest, err);
    if (status == FMP_OK) { status = manifest_by_child(&image, path, &text, err); }
    if (status == FMP_OK) {
        status =
            fmp_elf_with_note((const unsigned char *)image.data, image.len, text.data, text.len, &out, err);
    }
    if (status == FMP_OK) { status = fmp_write_file(path, out.data, out.len, err); }
    fmp_buf_free(&image);
    fmp_buf_free(&text);
    fmp_buf_free(&out);
    return status;
}
