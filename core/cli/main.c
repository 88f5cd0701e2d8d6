/*
 * main.c: signals, arguments, dispatch. Commands are in commands.c; what they print with is in output.c.
 */
#include "cli_private.h"

#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

volatile int fmp_cli_stop;

/* First: finish the step in hand. Second: end at once; the store is in order at any moment. */
static void on_signal(int number)
{
    if (fmp_cli_stop) { _exit(128 + number); }
    fmp_cli_stop = 1;
}

static void install_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    action.sa_handler = SIG_IGN; /* a reader that goes away shows as EPIPE */
    sigaction(SIGPIPE, &action, NULL);
}

/* <program's folder>/../<libdir>/fmpipe/fmpipe-commands.so, for the installed program and in a build
 * folder. */
static void *open_late_module(char *path, size_t size)
{
    static const char *const libdirs[] = {FMP_LIBDIR, "lib"};
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    program[n > 0 ? n : 0] = '\0';
    const char *folder = dirname(program);
    for (size_t i = 0; i < sizeof libdirs / sizeof *libdirs; i++) {
        snprintf(path, size, "%s/../%s/fmpipe/fmpipe-commands.so", folder, libdirs[i]);
        if (access(path, R_OK) == 0) { return dlopen(path, RTLD_NOW | RTLD_LOCAL); }
    }
    return NULL;
}

int fmp_cli_run_late(fmp_cli *cli, const char *symbol_name)
{
    char path[PATH_MAX + 64];
    fmp_err err = FMP_ERR_INIT;
    void *module = open_late_module(path, sizeof path);
    int (*run)(fmp_cli *) = NULL;
    void *symbol = module ? dlsym(module, symbol_name) : NULL;
    memcpy(&run, &symbol, sizeof run);
    if (run) { return run(cli); }
    const char *why = dlerror();
    fmp_fail(&err, FMP_E_IO, "cannot load the command '%s' from %s: %s", cli->command->name, path,
             why ? why : "there is no such file");
    fmp_err_hint(&err, "this installation of fmpipe is incomplete: install it again");
    return fmp_cli_fail(cli, &err);
}

static int dispatch(fmp_cli *cli, int argc, char **argv, int raw_at)
{
    const fmp_command *c = cli->command;
    if (!c || fmp_cli_option_value(cli, "help")) {
        fmp_help_print(c);
        return !c && argc == 1 ? FMP_EXIT_USAGE : 0;
    }
    if (c->run_raw) { return c->run_raw(argc - raw_at, argv + raw_at); }
    return c->run ? c->run(cli) : fmp_cli_run_late(cli, c->late);
}

int main(int argc, char **argv)
{
    fmp_json_install_hooks();
    if (argc == 3 && strcmp(argv[1], "--stage-worker") == 0) {
        return fmp_stage_worker_main((int)strtol(argv[2], NULL, 10));
    }
    install_signals();
    fmp_cli *cli = fmp_cli_init_();
    int raw_at = argc;
    int code = fmp_cli_parse_(cli, argc, argv, &raw_at);
    if (code == 0) { code = dispatch(cli, argc, argv, raw_at); }
    if (!fmp_out_complete() && code == 0) {
        fmp_errf("error: cannot write all of the output\n");
        code = fmp_exit_code(FMP_E_IO);
    }
    return code;
}
