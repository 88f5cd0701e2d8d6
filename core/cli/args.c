/*
 * args.c: the command line to an fmp_cli. Options may stand before and after the command and its operands.
 */
#include "cli_private.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static fmp_cli current;

const fmp_cli *fmp_cli_current(void)
{
    return &current;
}

fmp_cli *fmp_cli_init_(void)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    current.store_dir = ".fmpipe";
    current.runs_dir = "runs";
    current.terminal = isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
    current.color = current.terminal && !(no_color && *no_color);
    return &current;
}

const char *fmp_cli_option_value(const fmp_cli *cli, const char *name)
{
    const char *value = NULL;
    for (size_t i = 0; i < cli->n_given; i++) {
        if (strcmp(cli->given[i].name, name) == 0) { value = cli->given[i].value; }
    }
    return value;
}

static bool word_in(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = words; *p; p += strcspn(p, " "), p += *p == ' ') {
        if (strcspn(p, " ") == n && memcmp(p, word, n) == 0) { return true; }
    }
    return false;
}

bool fmp_cli_only(const fmp_cli *cli, const char *what, const char *allowed)
{
    for (size_t i = 0; i < cli->n_given; i++) {
        const char *name = cli->given[i].name;
        for (const fmp_cli_option *o = cli->command->options; o && o->name; o++) {
            if (strcmp(o->name, name) != 0 || word_in(allowed, name)) { continue; }
            fmp_cli_usage(cli, NULL, "%s takes no --%s", what, name);
            return false;
        }
    }
    return true;
}

bool fmp_cli_number(const fmp_cli *cli, const char *option, uint64_t max, uint64_t *out)
{
    const char *text = fmp_cli_option_value(cli, option);
    if (!text) { return true; }
    errno = 0;
    char *end = NULL;
    unsigned long long n = strtoull(text, &end, 10);
    bool digits = *text && text[strspn(text, "0123456789")] == '\0';
    if (digits && errno == 0 && n <= max) {
        *out = n;
        return true;
    }
    fmp_cli_usage(cli, NULL, "--%s: expected a number from 0 to %" PRIu64 ", found '%s'", option, max, text);
    return false;
}

/* ---- one option ---- */

static const fmp_cli_option *find_in(const fmp_cli_option *table, const char *name, size_t len, char letter)
{
    for (; table && table->name; table++) {
        if (letter ? table->letter == letter
                   : strlen(table->name) == len && memcmp(table->name, name, len) == 0) {
            return table;
        }
    }
    return NULL;
}

static const fmp_cli_option *find_option(const fmp_cli *cli, const char *name, size_t len, char letter)
{
    const fmp_cli_option *o = find_in(fmp_global_options, name, len, letter);
    return o || !cli->command ? o : find_in(cli->command->options, name, len, letter);
}

static int unknown_option(const fmp_cli *cli, const char *arg)
{
    const char *names[64];
    size_t n = 0;
    for (const fmp_cli_option *o = fmp_global_options; o->name && n < 63; o++) {
        names[n++] = o->name;
    }
    const fmp_cli_option *own = cli->command ? cli->command->options : NULL;
    for (; own && own->name && n < 63; own++) {
        names[n++] = own->name;
    }
    names[n] = NULL;
    char word[64], hint[96];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(arg, "="), arg);
    const char *near = fmp_nearest_name(word + strspn(word, "-"), names);
    if (near) { snprintf(hint, sizeof hint, "did you mean '--%s'?", near); }
    return fmp_cli_usage(cli, near ? hint : NULL, "unknown option '%s'", word);
}

/* Lists go to their own arrays, everything else to `given`. */
static int keep_option(fmp_cli *cli, const fmp_cli_option *o, const char *value)
{
    size_t *n = strcmp(o->name, "force") == 0 ? &cli->n_force
                : strcmp(o->name, "set") == 0 ? &cli->n_sets
                                              : &cli->n_given;
    if (*n == FMP_CLI_MAX_GIVEN) { return fmp_cli_usage(cli, NULL, "too many options --%s", o->name); }
    if (n == &cli->n_force) {
        cli->force[(*n)++] = value;
    } else if (n == &cli->n_sets) {
        cli->sets[(*n)++].text = value;
    } else {
        cli->given[*n].name = o->name;
        cli->given[(*n)++].value = value;
    }
    return 0;
}

/* argv[*i] is an option; *i moves over its value. */
static int read_option(fmp_cli *cli, int argc, char **argv, int *i)
{
    const char *arg = argv[*i], *equals = strchr(arg, '=');
    bool is_long = arg[1] == '-';
    size_t len = is_long ? (equals ? (size_t)(equals - arg) - 2 : strlen(arg) - 2) : 0;
    const fmp_cli_option *o = NULL;
    if (is_long) { o = find_option(cli, arg + 2, len, 0); }
    if (!is_long && arg[2] == '\0') { o = find_option(cli, NULL, 0, arg[1]); }
    if (!o) { return unknown_option(cli, arg); }
    if (!o->value) {
        if (is_long && equals) { return fmp_cli_usage(cli, NULL, "--%s takes no value", o->name); }
        return keep_option(cli, o, "");
    }
    if (is_long && equals) { return keep_option(cli, o, equals + 1); }
    if (*i + 1 >= argc) { return fmp_cli_usage(cli, NULL, "--%s needs a value (%s)", o->name, o->value); }
    return keep_option(cli, o, argv[++*i]);
}

static int read_command(fmp_cli *cli, const char *name)
{
    cli->command = fmp_command_find(name);
    if (cli->command) { return 0; }
    const char *names[64];
    size_t n = 0;
    for (const fmp_command *c = fmp_commands; c->name && n < 63; c++) {
        names[n++] = c->name;
    }
    names[n] = NULL;
    char hint[96];
    const char *near = fmp_nearest_name(name, names);
    if (near) { snprintf(hint, sizeof hint, "did you mean '%s'?", near); }
    return fmp_cli_usage(cli, near ? hint : "fmpipe help lists the commands", "unknown command '%.60s'",
                         name);
}

/* The global switches that were given become fields. */
static int lift(fmp_cli *cli)
{
    uint64_t threads = 0;
    const char *store = fmp_cli_option_value(cli, "store"), *runs = fmp_cli_option_value(cli, "runs");
    cli->json = fmp_cli_option_value(cli, "json") != NULL;
    cli->verbose = fmp_cli_option_value(cli, "verbose") != NULL;
    cli->quiet = fmp_cli_option_value(cli, "quiet") != NULL;
    if (fmp_cli_option_value(cli, "no-color")) { cli->color = false; }
    if (store) { cli->store_dir = store; }
    if (runs) { cli->runs_dir = runs; }
    if (!fmp_cli_number(cli, "threads", 1024, &threads)) { return FMP_EXIT_USAGE; }
    cli->n_threads = (uint32_t)threads;
    return 0;
}

static int check_operands(const fmp_cli *cli)
{
    const fmp_command *c = cli->command;
    if (fmp_cli_option_value(cli, "help") || !c || c->run_raw) { return 0; }
    if (cli->n_operands < c->min_operands) {
        return fmp_cli_usage(cli, NULL, "%s: expected %s", c->name, c->operands);
    }
    if (cli->n_operands > c->max_operands) {
        return fmp_cli_usage(cli, NULL, "%s: expected %s%s, found '%.60s' as well", c->name,
                             *c->operands ? "" : "nothing", c->operands, cli->operands[c->max_operands]);
    }
    return 0;
}

int fmp_cli_parse_(fmp_cli *cli, int argc, char **argv, int *raw_at)
{
    bool only_operands = false;
    *raw_at = argc;
    for (int i = 1; i < argc; i++) {
        int code = 0;
        if (!only_operands && strcmp(argv[i], "--") == 0) {
            only_operands = true;
        } else if (!only_operands && strcmp(argv[i], "--version") == 0 && !cli->command) {
            code = read_command(cli, "version");
        } else if (!only_operands && argv[i][0] == '-' && argv[i][1] != '\0') {
            code = read_option(cli, argc, argv, &i);
        } else if (!cli->command) {
            code = read_command(cli, argv[i]);
            if (cli->command && cli->command->run_raw) {
                *raw_at = i;
                break;
            }
        } else if (cli->n_operands == FMP_CLI_MAX_GIVEN) {
            code = fmp_cli_usage(cli, NULL, "too many arguments");
        } else {
            cli->operands[cli->n_operands++] = argv[i];
        }
        if (code != 0) { return code; }
    }
    int code = lift(cli);
    return code != 0 ? code : check_operands(cli);
}
