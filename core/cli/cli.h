/*
 * cli.h: what the commands share: parsed arguments, output, diagnostics, exit codes.
 *
 * A command is one function, `int fmp_cmd_NAME(fmp_cli *cli)`, in a file cmd_*.c, and one row of the table
 * in commands.c, from which help, usage and completion come. It returns the exit code. Data goes to stdout,
 * progress and diagnostics to stderr; with --json everything is lines of JSON on stdout.
 */
#ifndef FMP_CLI_H
#define FMP_CLI_H

#include <pipeline.h>
#include <run.h>

#define FMP_EXIT_USAGE 2

typedef struct fmp_cli_option {
    const char *name;  /* "threads": written --threads; NULL ends a table */
    char letter;       /* 'v': -v; 0: none                                */
    const char *value; /* "N": takes a value; NULL: a switch              */
    const char *help;
} fmp_cli_option;

struct fmp_cli;
typedef struct fmp_command {
    const char *name;
    const char *operands;          /* "[PIPELINE]"                                                   */
    const char *summary;           /* one line, no full stop                                         */
    const char *details;           /* more lines for `help NAME`; NULL: none                         */
    const fmp_cli_option *options; /* beyond the global ones; NULL: none                    */
    size_t min_operands, max_operands;
    int (*run)(struct fmp_cli *cli);
    int (*run_raw)(int argc, char **argv); /* instead of run: arguments from the name on, unparsed */
    const char *late; /* instead of run: symbol `int NAME(fmp_cli *)` in the late module */
} fmp_command;

extern const fmp_command fmp_commands[];
/* main.c: call a function of the late module by name; returns its exit code. */
int fmp_cli_run_late(struct fmp_cli *cli, const char *symbol);
extern const fmp_cli_option fmp_global_options[];

enum { FMP_CLI_MAX_GIVEN = 256 };

typedef struct fmp_cli {
    const fmp_command *command;
    bool json, verbose, quiet;
    bool color;    /* on stderr */
    bool terminal; /* stderr is one */
    const char *store_dir, *runs_dir;
    uint32_t n_threads; /* 0: not given */
    const char *force[FMP_CLI_MAX_GIVEN];
    size_t n_force;
    fmp_set sets[FMP_CLI_MAX_GIVEN];
    size_t n_sets;
    const char *operands[FMP_CLI_MAX_GIVEN];
    size_t n_operands;
    struct {
        const char *name, *value;
    } given[FMP_CLI_MAX_GIVEN];
    size_t n_given;
} fmp_cli;

/* The arguments of this process, for code that gets argc and argv only (--json before the command's name). */
const fmp_cli *fmp_cli_current(void);
/* The value of a command's own option, "" for a switch, NULL if it was not given. */
const char *fmp_cli_option_value(const fmp_cli *cli, const char *name);
/* True if none of the command's own options was given but those in `allowed` ("lines special"); else false after
 * saying that `what` does not take it. */
bool fmp_cli_only(const fmp_cli *cli, const char *what, const char *allowed);
/* A whole number from 0 to max; false after saying what is wrong. */
bool fmp_cli_number(const fmp_cli *cli, const char *option, uint64_t max, uint64_t *out);

/* 0 none, 1 stop asked for. A second signal ends the process at once. */
extern volatile int fmp_cli_stop;

/* ---- output ---- */
void fmp_out(const char *text, size_t len); /* stdout; a reader that went away is no error */
FMP_PRINTF(1, 2) void fmp_outf(const char *fmt, ...);
FMP_PRINTF(1, 2) void fmp_errf(const char *fmt, ...); /* stderr */
void fmp_out_json(cJSON *line);                       /* one line of NDJSON; taken; NULL is ignored  */
/* False if something of stdout was lost for another reason than a reader that went away. */
bool fmp_out_complete(void);

/* The exit code of a status; the one place where this is decided. */
int fmp_exit_code(fmp_status status);
/* Show an error, return its exit code. */
int fmp_cli_fail(const fmp_cli *cli, const fmp_err *err);
FMP_PRINTF(3, 4) int fmp_cli_usage(const fmp_cli *cli, const char *hint, const char *fmt, ...);
void fmp_cli_diags(const fmp_cli *cli, const fmp_diags *diags);

/* ---- loading ---- */
typedef struct fmp_cli_pipeline {
    fmp_registry *registry;
    fmp_pipeline *pipeline;
    fmp_run_options options;
} fmp_cli_pipeline;
/* Load operand 0 (a file, or a folder with a pipeline.yaml; none: ./pipeline.yaml), showing every problem.
 * Returns an exit code; free in any case. */
int fmp_cli_load(const fmp_cli *cli, bool digest_files, fmp_cli_pipeline *out);
void fmp_cli_pipeline_free(fmp_cli_pipeline *p);
/* Show the problems of a pipeline file and, unless the status is FMP_OK, their number. Returns an exit
 * code. */
int fmp_cli_problems(const fmp_cli *cli, const char *path, const fmp_diags *diags, fmp_status status);

/* ---- words ---- */
/* "1,234,567" */
const char *fmp_group_digits(uint64_t n, char out[32]);
/* "412 MB" */
const char *fmp_human_bytes(double bytes, char out[32]);
/* Columns that UTF-8 text takes, ANSI sequences not counted. */
size_t fmp_text_columns(const char *text);
/* `text` and spaces up to `width` columns. */
void fmp_buf_padded(fmp_buf *out, const char *text, size_t width);
/* Text of others, with control characters escaped. */
void fmp_buf_safe(fmp_buf *out, const char *text);

/* ---- commands ---- */
int fmp_cmd_run(fmp_cli *cli);
int fmp_cmd_validate(fmp_cli *cli);
int fmp_cmd_plan(fmp_cli *cli);
int fmp_cmd_explain(fmp_cli *cli);
int fmp_cmd_schema(fmp_cli *cli);
int fmp_cmd_inspect(fmp_cli *cli);
int fmp_cmd_plugin(int argc, char **argv);
int fmp_cmd_runs(fmp_cli *cli);
int fmp_cmd_cache(fmp_cli *cli);
int fmp_cmd_completion(fmp_cli *cli);
int fmp_cmd_doctor(fmp_cli *cli);
int fmp_cmd_version(fmp_cli *cli);
int fmp_cmd_help(fmp_cli *cli);
int fmp_cmd_docs(fmp_cli *cli);

/* help.c: usage of the program (NULL) or of a command. */
void fmp_help_print(const fmp_command *command);
const fmp_command *fmp_command_find(const char *name);
/* stage_docs.c: one stage for a person; all of them as Markdown. */
void fmp_stage_help(const fmp_stage_info *stage, fmp_buf *out);
void fmp_stage_markdown(const fmp_stage_info *stage, fmp_buf *out);

#endif
