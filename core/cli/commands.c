/*
 * commands.c: the table of commands and of global options. Help, usage and completion are made from it.
 */
#include "cli.h"

const fmp_cli_option fmp_global_options[] = {
    { "json", 0, NULL, "lines of JSON on stdout instead of text" },
    { "store", 0, "DIR", "where results are kept between runs (default: .fmpipe)" },
    { "runs", 0, "DIR", "where run folders go (default: runs)" },
    { "threads", 0, "N", "threads to use (default: all cores; no result depends on it)" },
    { "force", 0, "STAGE", "run this stage even if its result is known; may be repeated" },
    { "set", 0, "K=V", "set a variable, seed, base or STAGE.OPTION; may be repeated" },
    { "verify-store", 0, NULL, "check the digest of every stored result that is used" },
    { "verbose", 'v', NULL, "show log lines" },
    { "quiet", 'q', NULL, "show errors and results only" },
    { "no-color", 0, NULL, "no colours (as does the environment variable NO_COLOR)" },
    { "help", 'h', NULL, "this help" },
    { NULL, 0, NULL, NULL },
};

static const fmp_cli_option schema_options[] = {
    { "markdown", 0, NULL, "the reference of all stages as Markdown instead" },
    { NULL, 0, NULL, NULL },
};

static const fmp_cli_option cache_options[] = {
    { "keep", 0, "N", "gc: keep this many of the newest results beside those of the last runs (default: 100)" },
    { "dry-run", 0, NULL, "gc: say what would go, remove nothing" },
    { NULL, 0, NULL, NULL },
};

#define PIPELINE_NOTE "PIPELINE is a file, or a folder with a pipeline.yaml in it; without one, ./pipeline.yaml.\n"

/* One row a command. */
const fmp_command fmp_commands[] = {
    { .name = "run", .operands = "[PIPELINE]", .summary = "run a pipeline; what is already known is not done again",
      .details = PIPELINE_NOTE "Interrupt it once to stop after the step in hand; run it again to go on.\n",
      .max_operands = 1, .run = fmp_cmd_run },
    { .name = "validate", .operands = "[PIPELINE]", .summary = "check a pipeline file without reading its data",
      .details = PIPELINE_NOTE, .max_operands = 1, .run = fmp_cmd_validate },
    { .name = "plan", .operands = "[PIPELINE]", .summary = "say what a run would do, and why",
      .details = PIPELINE_NOTE, .max_operands = 1, .run = fmp_cmd_plan },
    { .name = "explain", .operands = "[PIPELINE] STAGE", .summary = "what differs from the last time this stage ran",
      .details = PIPELINE_NOTE, .min_operands = 1, .max_operands = 2, .run = fmp_cmd_explain },
    { .name = "inspect", .operands = "run [DIR]", .summary = "look at a finished run",
      .details = "DIR is a run folder; without one, the latest.\n", .min_operands = 1, .max_operands = 2,
      .run = fmp_cmd_inspect },
    { .name = "plugin", .operands = "list|inspect|new|check ...", .summary = "plugins: list, look at, begin, test",
      .run_raw = fmp_cmd_plugin },
    { .name = "runs", .operands = "[list]", .summary = "list the runs", .max_operands = 1, .run = fmp_cmd_runs },
    { .name = "cache", .operands = "list|gc", .summary = "results kept between runs: list them, remove old ones",
      .options = cache_options, .min_operands = 1, .max_operands = 1, .run = fmp_cmd_cache },
    { .name = "schema", .operands = "", .summary = "print the JSON Schema of pipeline files, for editors",
      .options = schema_options, .run = fmp_cmd_schema },
    { .name = "docs", .operands = "", .summary = "print the reference of all stages as Markdown", .run = fmp_cmd_docs },
    { .name = "completion", .operands = "bash", .summary = "print a completion script for the shell",
      .details = "Use it with:  source <(fmpipe completion bash)\n", .min_operands = 1, .max_operands = 1,
      .run = fmp_cmd_completion },
    { .name = "doctor", .operands = "", .summary = "check libraries, processor, plugins and folders", .run = fmp_cmd_doctor },
    { .name = "version", .operands = "", .summary = "print the version", .run = fmp_cmd_version },
    { .name = "help", .operands = "[COMMAND | stages | STAGE]", .summary = "help on a command, or on a stage and its options",
      .max_operands = 1, .run = fmp_cmd_help },
    { .name = NULL },
};
