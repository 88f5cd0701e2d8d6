/*
 * Conformance tests of an instance's life, and of what a plugin leaves behind in the process that hosts it.
 */
#include "check_private.h"

#include <fcntl.h>
#include <locale.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TIMES = 1000, GROWTH_BYTES = 256 * 1024, N_SIGNALS = 32 };

extern char **environ;

static void test_create_destroy(check_context *c)
{
    const fmp_stage *stage = fmp_check_load_(c);
    fmp_trial *t = NULL;
    fmp_err err = FMP_ERR_INIT;
    if (!stage) { return; }
    fmp_status status = fmp_trial_new(stage, 1, NULL, &t, &err);
    if (status == FMP_OK) { status = stage->create(t->host, &t->self, &err); }
    if (status != FMP_OK) { fmp_check_say_(c, FMP_CHECK_FAIL, "create failed: %s", err.message); }
    fmp_trial_close(t);
}

static const void *no_extension(const fmp_host *host, const char *name)
{
    (void)host, (void)name;
    return NULL;
}

/* On a host that offers nothing a stage may refuse to work; it may not crash. */
static void test_no_extensions(check_context *c)
{
    const fmp_stage *stage = fmp_check_load_(c);
    fmp_host host = {.struct_size = (uint32_t)sizeof host,
                     .abi_major = FMP_ABI_MAJOR,
                     .version = "bare",
                     .get_extension = no_extension};
    fmp_err err = FMP_ERR_INIT;
    void *self = NULL;
    if (!stage) { return; }
    fmp_status status = stage->create(&host, &self, &err);
    if (status == FMP_OK && c->values) { status = stage->configure(self, c->values, &err); }
    if (status != FMP_OK && !err.message[0]) {
        fmp_check_say_(c, FMP_CHECK_FAIL, "it failed without a message");
    }
    if (self) { stage->destroy(self); }
}

/* create, configure, start, destroy; false after a verdict. */
static bool one_life(check_context *c)
{
    fmp_trial *t = fmp_check_open_(c, 1, 1);
    fmp_trial_close(t);
    return t != NULL;
}

static void test_thousand_lives(check_context *c)
{
    for (int i = 0; i < 20; i++) {
        if (!one_life(c)) { return; }
    }
    size_t fds = fmp_check_entries_("/proc/self/fd"), bytes = mallinfo2().uordblks + mallinfo2().hblkhd;
    for (int i = 0; i < TIMES; i++) {
        if (!one_life(c)) { return; }
    }
    size_t fds_now = fmp_check_entries_("/proc/self/fd"),
           bytes_now = mallinfo2().uordblks + mallinfo2().hblkhd;
    if (fds_now > fds) {
        fmp_check_say_(c, FMP_CHECK_FAIL, "%zu files stayed open after %d instances", fds_now - fds, TIMES);
    }
    if (bytes_now > bytes + GROWTH_BYTES) {
        fmp_check_say_(c, FMP_CHECK_FAIL, "%zu bytes stayed allocated after %d instances", bytes_now - bytes,
                       TIMES);
    }
}

static void test_finish_without_records(check_context *c)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_trial *t = fmp_check_open_(c, 1, 4);
    if (t && fmp_trial_finish(t, &err) != FMP_OK) {
        fmp_check_say_(c, FMP_CHECK_FAIL, "finish failed: %s", err.message);
    }
    fmp_trial_close(t);
}

static void test_closes_files(check_context *c)
{
    if (!fmp_check_load_(c)) { return; } /* the loaded plugin itself keeps one */
    size_t before = fmp_check_entries_("/proc/self/fd");
    if (fmp_check_workload_(c) && fmp_check_entries_("/proc/self/fd") > before) {
        fmp_check_say_(c, FMP_CHECK_FAIL, "it leaves files open");
    }
}

static void test_ends_threads(check_context *c)
{
    size_t before = fmp_check_entries_("/proc/self/task");
    if (fmp_check_workload_(c) && fmp_check_entries_("/proc/self/task") > before) {
        fmp_check_say_(c, FMP_CHECK_FAIL, "threads of its own go on after destroy");
    }
}

static void test_prints_nothing(check_context *c)
{
    int fd = memfd_create("out", 0);
    struct stat st = {0};
    if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0) {
        fmp_check_say_(c, FMP_CHECK_SKIP, "the output cannot be caught here");
        return;
    }
    bool ok = fmp_check_workload_(c);
    fflush(NULL);
    if (ok && fstat(fd, &st) == 0 && st.st_size > 0) {
        char text[60] = "";
        ssize_t n = pread(fd, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = '\0';
        text[strcspn(text, "\n")] = '\0';
        fmp_check_say_(c, FMP_CHECK_FAIL, "it prints to the terminal: '%s'; use fmp.log/1", text);
    }
}

static void test_keeps_signals(check_context *c)
{
    struct sigaction before[N_SIGNALS], now;
    sigset_t mask, mask_now;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    for (int s = 1; s < N_SIGNALS; s++) {
        sigaction(s, NULL, &before[s]);
    }
    if (!fmp_check_workload_(c)) { return; }
    for (int s = 1; s < N_SIGNALS; s++) {
        if (sigaction(s, NULL, &now) == 0 && now.sa_handler != before[s].sa_handler) {
            fmp_check_say_(c, FMP_CHECK_FAIL, "it changed what signal %d (%s) does", s, strsignal(s));
        }
    }
    pthread_sigmask(SIG_SETMASK, NULL, &mask_now);
    for (int s = 1; s < N_SIGNALS; s++) {
        if (sigismember(&mask, s) != sigismember(&mask_now, s)) {
            fmp_check_say_(c, FMP_CHECK_FAIL, "it changed the signal mask");
        }
    }
}

static void test_keeps_locale(check_context *c)
{
    char before[512];
    snprintf(before, sizeof before, "%s", setlocale(LC_ALL, NULL));
    if (fmp_check_workload_(c) && strcmp(before, setlocale(LC_ALL, NULL)) != 0) {
        fmp_check_say_(c, FMP_CHECK_FAIL,
                       "it calls setlocale: numbers would be written differently from now on");
    }
}

static size_t environment_size(void)
{
    size_t n = 0;
    for (char **e = environ; e && *e; e++) {
        n += strlen(*e) + 1;
    }
    return n;
}

static void test_keeps_surroundings(check_context *c)
{
    char before[4096] = "", now[4096] = "";
    mode_t mask = umask(022);
    umask(mask);
    if (!getcwd(before, sizeof before)) { before[0] = '\0'; }
    size_t environment = environment_size();
    if (!fmp_check_workload_(c)) { return; }
    mode_t mask_now = umask(mask);
    if (!getcwd(now, sizeof now)) { now[0] = '\0'; }
    if (strcmp(before, now) != 0) { fmp_check_say_(c, FMP_CHECK_FAIL, "it changed the working folder"); }
    if (mask != mask_now) { fmp_check_say_(c, FMP_CHECK_FAIL, "it changed the umask"); }
    if (environment != environment_size()) {
        fmp_check_say_(c, FMP_CHECK_FAIL, "it changed the environment");
    }
}

const check_test fmp_check_life_[] = {
    {"create_then_destroy", "an instance that was never configured can go", ON_ALL, false,
     test_create_destroy},
    {"bare_host_is_survived", "missing host services give an error, no crash", ON_ALL, false,
     test_no_extensions},
    {"thousand_instances", "memory and open files do not grow", ON_ALL, true, test_thousand_lives},
    {"finish_without_records", "an empty input is a normal input", ON_RECORDS, true,
     test_finish_without_records},
    {"closes_files", "nothing it opened stays open", ON_ALL, true, test_closes_files},
    {"ends_threads", "no thread of its own outlives it", ON_ALL, true, test_ends_threads},
    {"prints_nothing", "standard output and error belong to the host", ON_ALL, true, test_prints_nothing},
    {"keeps_signals", "signal handlers and mask stay as they are", ON_ALL, true, test_keeps_signals},
    {"keeps_locale", "no setlocale", ON_ALL, true, test_keeps_locale},
    {"keeps_surroundings", "working folder, umask and environment stay", ON_ALL, true,
     test_keeps_surroundings},
    {NULL, NULL, 0, false, NULL}};
