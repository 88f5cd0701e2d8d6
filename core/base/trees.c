/*
 * trees.c: whole folders: digest, removal, syncing, copying.
 *
 * All four walk the same way: from an open folder, by names relative to it (openat and its kin), in
 * byte order of the names. Removal never follows a symbolic link; nothing is decided by a path that
 * could have been swapped meanwhile.
 */
#include "files_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define TREE_DEPTH_MAX 256u
#define CHUNK_BYTES    ((size_t)1 << 16)

typedef struct name_list {
    char **names;
    size_t n;
    size_t cap;
} name_list;

static void names_free(name_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        free(list->names[i]);
    }
    free(list->names);
}

static bool names_add(name_list *list, char *name)
{
    if (!name) { return false; }
    if (list->n == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 16, bytes;
        char **names = fmp_mul_ok(cap, sizeof *names, &bytes) ? realloc(list->names, bytes) : NULL;
        if (!names) {
            free(name);
            return false;
        }
        list->names = names;
        list->cap = cap;
    }
    list->names[list->n++] = name;
    return true;
}

static int name_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static fmp_status list_entries(DIR *dir, const char *path, name_list *out, fmp_err *err)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) { break; }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) { continue; }
        if (!names_add(out, strdup(entry->d_name))) {
            errno = ENOMEM;
            return fmp_fs_fail_(err, "list", path);
        }
    }
    if (errno != 0) { return fmp_fs_fail_(err, "list", path); }
    if (out->n > 0) { qsort(out->names, out->n, sizeof *out->names, name_order); }
    return FMP_OK;
}

/* The names in the open folder `fd`, sorted; `fd` stays open. */
static fmp_status list_folder(int fd, const char *path, name_list *out, fmp_err *err)
{
    *out = (name_list){0};
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = own >= 0 ? fdopendir(own) : NULL;
    if (!dir) {
        fmp_status status = fmp_fs_fail_(err, "list", path);
        if (own >= 0) { close(own); }
        return status;
    }
    fmp_status status = list_entries(dir, path, out, err);
    closedir(dir);
    if (status != FMP_OK) {
        names_free(out);
        *out = (name_list){0};
    }
    return status;
}

/* `path` + "/" + name for messages and for the digest; the length to cut it back to is path->len before. */
static fmp_status path_push(fmp_buf *path, const char *name, fmp_err *err)
{
    if (path->len > 0 && path->data[path->len - 1] != '/') { fmp_buf_putc(path, '/'); }
    fmp_buf_puts(path, name);
    return fmp_buf_ok(path, err);
}

static void path_cut(fmp_buf *path, size_t len)
{
    path->len = len;
    path->data[len] = '\0';
}

static fmp_status path_start(fmp_buf *path, const char *text, fmp_err *err)
{
    fmp_buf_puts(path, text);
    return fmp_buf_ok(path, err);
}

static fmp_status unsupported_kind(fmp_err *err, const char *path)
{
    fmp_fail(err, FMP_E_UNSUPPORTED, "expected files and folders, found %s, which is neither", path);
    fmp_err_at(err, path, 0, 0, UINT64_MAX);
    return FMP_E_UNSUPPORTED;
}

static fmp_status too_deep(fmp_err *err, const char *path)
{
    fmp_fail(err, FMP_E_RANGE, "folders nested more than %u levels deep at %s", TREE_DEPTH_MAX, path);
    fmp_err_at(err, path, 0, 0, UINT64_MAX);
    return FMP_E_RANGE;
}

/* A walk over one tree: `visit` is called for every name below the open folder. */
typedef struct walk {
    fmp_buf path; /* of the entry in hand, as the user would write it */
    unsigned depth;
    fmp_err *err;
    fmp_status (*visit)(struct walk *w, int folder_fd, const char *name);
    void *state;
} walk;

static fmp_status walk_folder(walk *w, int fd)
{
    name_list list;
    if (w->depth >= TREE_DEPTH_MAX) { return too_deep(w->err, w->path.data); }
    FMP_TRY(list_folder(fd, w->path.data, &list, w->err));
    w->depth++;
    fmp_status status = FMP_OK;
    size_t len = w->path.len;
    for (size_t i = 0; status == FMP_OK && i < list.n; i++) {
        status = path_push(&w->path, list.names[i], w->err);
        if (status == FMP_OK) { status = w->visit(w, fd, list.names[i]); }
        if (!w->path.failed) { path_cut(&w->path, len); }
    }
    w->depth--;
    names_free(&list);
    return status;
}

/* Open the folder `name` below fd and walk it; links to folders are refused by O_NOFOLLOW. */
static fmp_status walk_into(walk *w, int fd, const char *name)
{
    int sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (sub < 0) { return fmp_fs_fail_(w->err, "open", w->path.data); }
    fmp_status status = walk_folder(w, sub);
    close(sub);
    return status;
}

/* ---- digest ---- */

typedef struct digest_state {
    fmp_sha256 *hash;
    name_list files; /* relative paths */
    size_t root_len; /* of the path of the tree, in walk.path */
} digest_state;

static void add_u64(fmp_sha256 *h, uint64_t value)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++) {
        bytes[i] = (unsigned char)(value >> (8 * i));
    }
    fmp_sha256_add(h, bytes, sizeof bytes);
}

/* Links to files count as the files they lead to: model caches are full of them. */
static fmp_status collect_entry(walk *w, int fd, const char *name)
{
    digest_state *s = w->state;
    struct stat st;
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return fmp_fs_fail_(w->err, "examine", w->path.data);
    }
    if (S_ISDIR(st.st_mode)) { return walk_into(w, fd, name); }
    if (S_ISLNK(st.st_mode) && fstatat(fd, name, &st, 0) != 0) {
        return fmp_fs_fail_(w->err, "follow", w->path.data);
    }
    if (!S_ISREG(st.st_mode)) { return unsupported_kind(w->err, w->path.data); }
    const char *relative = w->path.data + s->root_len;
    while (*relative == '/') {
        relative++;
    }
    if (!names_add(&s->files, strdup(relative))) {
        return fmp_fail(w->err, FMP_E_NOMEM, "out of memory while listing %s", w->path.data);
    }
    return FMP_OK;
}

static fmp_status digest_files(walk *w, int root, digest_state *s)
{
    for (size_t i = 0; i < s->files.n; i++) {
        const char *name = s->files.names[i];
        unsigned char digest[32];
        uint64_t size;
        FMP_TRY(path_push(&w->path, name, w->err));
        int fd = openat(root, name, O_RDONLY | O_CLOEXEC);
        if (fd < 0) { return fmp_fs_fail_(w->err, "open", w->path.data); }
        fmp_status status =
            fmp_fs_digest_(fd, digest, &size) ? FMP_OK : fmp_fs_fail_(w->err, "read", w->path.data);
        close(fd);
        FMP_TRY(status);
        path_cut(&w->path, s->root_len);
        add_u64(s->hash, strlen(name));
        fmp_sha256_add(s->hash, name, strlen(name));
        add_u64(s->hash, size);
        fmp_sha256_add(s->hash, digest, sizeof digest);
    }
    return FMP_OK;
}

fmp_status fmp_sha256_tree(const char *path, char hex[65], fmp_err *err)
{
    digest_state s = {.hash = fmp_sha256_new(), .root_len = strlen(path)};
    walk w = {.err = err, .visit = collect_entry, .state = &s};
    unsigned char digest[32] = {0};
    int fd = -1;
    fmp_status status = s.hash ? path_start(&w.path, path, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (status == FMP_OK) {
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        status = fd >= 0 ? walk_folder(&w, fd) : fmp_fs_fail_(err, "open the folder", path);
    }
    if (status == FMP_OK && s.files.n > 0) {
        /* Names were sorted folder by folder; "a-b" and "a/c" compare differently as whole paths. */
        qsort(s.files.names, s.files.n, sizeof *s.files.names, name_order);
        status = digest_files(&w, fd, &s);
    }
    if (s.hash) { fmp_sha256_end(s.hash, digest); }
    if (status == FMP_OK) { fmp_hex(digest, sizeof digest, hex); }
    if (fd >= 0) { close(fd); }
    names_free(&s.files);
    fmp_buf_free(&w.path);
    return status;
}

/* ---- removal ---- */

static fmp_status remove_entry(walk *w, int fd, const char *name)
{
    struct stat st;
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return fmp_fs_fail_(w->err, "examine", w->path.data);
    }
    int flags = 0;
    if (S_ISDIR(st.st_mode)) {
        FMP_TRY(walk_into(w, fd, name));
        flags = AT_REMOVEDIR;
    }
    if (unlinkat(fd, name, flags) != 0 && errno != ENOENT) {
        return fmp_fs_fail_(w->err, "remove", w->path.data);
    }
    return FMP_OK;
}

fmp_status fmp_remove_tree(const char *path, fmp_err *err)
{
    walk w = {.err = err, .visit = remove_entry};
    struct stat st;
    if (lstat(path, &st) != 0) { return errno == ENOENT ? FMP_OK : fmp_fs_fail_(err, "examine", path); }
    fmp_status status = path_start(&w.path, path, err);
    if (status == FMP_OK) { status = remove_entry(&w, AT_FDCWD, path); }
    fmp_buf_free(&w.path);
    return status;
}

/* ---- syncing ---- */

static fmp_status sync_entry(walk *w, int fd, const char *name)
{
    struct stat st;
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return fmp_fs_fail_(w->err, "examine", w->path.data);
    }
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) { return FMP_OK; }
    int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | (S_ISDIR(st.st_mode) ? O_DIRECTORY : 0);
    int sub = openat(fd, name, flags);
    if (sub < 0) { return fmp_fs_fail_(w->err, "open", w->path.data); }
    fmp_status status = S_ISDIR(st.st_mode) ? walk_folder(w, sub) : FMP_OK;
    if (status == FMP_OK && !fmp_fs_sync_(sub)) { status = fmp_fs_fail_(w->err, "sync", w->path.data); }
    close(sub);
    return status;
}

fmp_status fmp_sync_tree(const char *path, fmp_err *err)
{
    walk w = {.err = err, .visit = sync_entry};
    fmp_status status = path_start(&w.path, path, err);
    if (status == FMP_OK) { status = sync_entry(&w, AT_FDCWD, path); }
    fmp_buf_free(&w.path);
    return status;
}

/* ---- copying ---- */

typedef struct copy_state {
    int to_fd;           /* the folder that corresponds to the one being walked */
    const char *to_name; /* overrides the name at the top of the tree, NULL below */
    dev_t top_dev; /* the folder the copy begins with: meeting it on the way means copying into oneself */
    ino_t top_ino;
} copy_state;

/* Not an error: the kernel or the file system cannot do it this way for these two files. */
static bool try_other_way(int code)
{
    return code == EXDEV || code == EINVAL || code == ENOSYS || code == EOPNOTSUPP || code == ETXTBSY ||
           code == EBADF || code == EPERM;
}

static bool copy_by_hand(int from, int to)
{
    char chunk[CHUNK_BYTES];
    ssize_t n;
    while ((n = fmp_fs_read_(from, chunk, sizeof chunk)) > 0) {
        if (!fmp_fs_write_all_(to, chunk, (size_t)n)) { return false; }
    }
    return n == 0;
}

static bool copy_bytes(int from, int to)
{
    if (ioctl(to, FICLONE, from) == 0) { return true; }
    bool copied_any = false;
    for (;;) {
        ssize_t n = copy_file_range(from, NULL, to, NULL, (size_t)1 << 30, 0);
        if (n < 0 && errno == EINTR) { continue; }
        /* Some file systems report 0 at once for files that are not empty; reading settles it. */
        if (n == 0 || (n < 0 && !copied_any && try_other_way(errno))) { return copy_by_hand(from, to); }
        if (n < 0) { return false; }
        copied_any = true;
    }
}

static fmp_status copy_file(walk *w, int fd, const char *name, const char *to_name, mode_t mode)
{
    const copy_state *s = w->state;
    int from = openat(fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (from < 0) { return fmp_fs_fail_(w->err, "open", w->path.data); }
    fmp_status status = FMP_OK;
    int to = openat(s->to_fd, to_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0777);
    if (to < 0) {
        status = fmp_fs_fail_(w->err, "create the copy of", w->path.data);
    } else {
        if (!copy_bytes(from, to)) { status = fmp_fs_fail_(w->err, "copy", w->path.data); }
        if (close(to) != 0 && status == FMP_OK) {
            status = fmp_fs_fail_(w->err, "close the copy of", w->path.data);
        }
        if (status != FMP_OK) { unlinkat(s->to_fd, to_name, 0); }
    }
    close(from);
    return status;
}

static fmp_status copy_link(walk *w, int fd, const char *name, const char *to_name)
{
    const copy_state *s = w->state;
    char target[4096];
    ssize_t n = readlinkat(fd, name, target, sizeof target);
    if (n < 0) { return fmp_fs_fail_(w->err, "read the link", w->path.data); }
    if ((size_t)n == sizeof target) {
        errno = ENAMETOOLONG;
        return fmp_fs_fail_(w->err, "read the link", w->path.data);
    }
    target[n] = '\0';
    if (symlinkat(target, s->to_fd, to_name) != 0) {
        return fmp_fs_fail_(w->err, "create the copy of", w->path.data);
    }
    return FMP_OK;
}

/* The copy is made writable first, so that a folder without write permission can be filled. */
static fmp_status copy_folder(walk *w, int fd, const char *name, const char *to_name, mode_t mode)
{
    copy_state *s = w->state;
    const copy_state outer = *s;
    if (mkdirat(s->to_fd, to_name, (mode & 0777) | 0700) != 0) {
        return fmp_fs_fail_(w->err, "create the copy of", w->path.data);
    }
    int to = openat(s->to_fd, to_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (to < 0) { return fmp_fs_fail_(w->err, "open the copy of", w->path.data); }
    struct stat st = {.st_dev = outer.top_dev, .st_ino = outer.top_ino};
    fmp_status status = FMP_OK;
    if (outer.to_name && fstat(to, &st) != 0) {
        status = fmp_fs_fail_(w->err, "examine the copy of", w->path.data);
    }
    *s = (copy_state){.to_fd = to, .top_dev = st.st_dev, .top_ino = st.st_ino};
    if (status == FMP_OK) { status = walk_into(w, fd, name); }
    *s = outer;
    if (status == FMP_OK && (mode & 0700) != 0700 && fchmod(to, mode & 0777) != 0) {
        status = fmp_fs_fail_(w->err, "set the mode of the copy of", w->path.data);
    }
    close(to);
    return status;
}

static fmp_status copy_entry(walk *w, int fd, const char *name)
{
    const copy_state *s = w->state;
    const char *to_name = s->to_name ? s->to_name : name;
    struct stat st;
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return fmp_fs_fail_(w->err, "examine", w->path.data);
    }
    if (S_ISDIR(st.st_mode)) {
        if (!s->to_name && st.st_dev == s->top_dev && st.st_ino == s->top_ino) {
            errno = EINVAL;
            return fmp_fs_fail_(w->err, "copy into itself", w->path.data);
        }
        return copy_folder(w, fd, name, to_name, st.st_mode);
    }
    if (S_ISLNK(st.st_mode)) { return copy_link(w, fd, name, to_name); }
    if (S_ISREG(st.st_mode)) { return copy_file(w, fd, name, to_name, st.st_mode); }
    return unsupported_kind(w->err, w->path.data);
}

fmp_status fmp_copy_tree(const char *from, const char *to, fmp_err *err)
{
    copy_state s = {.to_fd = AT_FDCWD, .to_name = to};
    walk w = {.err = err, .visit = copy_entry, .state = &s};
    struct stat st;
    if (lstat(to, &st) == 0) {
        errno = EEXIST;
        return fmp_fs_fail_(err, "copy to", to);
    }
    fmp_status status = path_start(&w.path, from, err);
    if (status == FMP_OK) { status = copy_entry(&w, AT_FDCWD, from); }
    fmp_buf_free(&w.path);
    return status;
}
