/*
 * help.c: help, version and completion, made from the tables in commands.c and from the stages' own tables.
 */
#include "cli.h"

const fmp_command *fmp_command_find(const char *name)
{
    for (const fmp_command *c = fmp_commands; c->name; c++) {
        if (strcmp(c->name, name) == 0) { return c; }
    }
    return NULL;
}

static void print_options(const fmp_cli_option *options)
{
    for (; options && options->name; options++) {
        char left[64], letter[8] = "   ";
        if (options->letter) { snprintf(letter, sizeof letter, "-%c,", options->letter); }
        snprintf(left, sizeof left, "%s --%s%s%s", letter, options->name, options->value ? " " : "",
                 options->value ? options->value : "");
        fmp_outf("  %-22s %s\n", left, options->help);
    }
}

void fmp_help_print(const fmp_command *command)
{
    if (command) {
        fmp_outf("fmpipe %s: %s\n\nusage: fmpipe %s %s\n", command->name, command->summary, command->name,
                 command->operands);
        if (command->details) { fmp_outf("%s", command->details); }
        if (command->options) { fmp_outf("\noptions:\n"); }
        print_options(command->options);
        fmp_outf("\noptions of every command:\n");
    } else {
        fmp_outf("fmpipe " FMP_VERSION
                 ": pipelines that turn conversations into adapters for language models\n\n"
                 "usage: fmpipe COMMAND [OPTIONS] [ARGUMENTS]\n\ncommands:\n");
        for (const fmp_command *c = fmp_commands; c->name; c++) {
            fmp_outf("  %-12s %s\n", c->name, c->summary);
        }
        fmp_outf("\noptions:\n");
    }
    print_options(fmp_global_options);
}

int fmp_cmd_version(fmp_cli *cli)
{
    if (!cli->json) {
        fmp_outf("fmpipe " FMP_VERSION ", plugin ABI %d.%d\n", FMP_ABI_MAJOR, FMP_ABI_MINOR);
        return 0;
    }
    cJSON *line = cJSON_CreateObject();
    cJSON_AddNumberToObject(line, "v", 1);
    cJSON_AddStringToObject(line, "version", FMP_VERSION);
    cJSON_AddNumberToObject(line, "abi_major", FMP_ABI_MAJOR);
    cJSON_AddNumberToObject(line, "abi_minor", FMP_ABI_MINOR);
    fmp_out_json(line);
    return 0;
}

/* ---- stages ---- */

typedef void (*stage_visitor)(const fmp_stage_info *stage, void *arg);

/* All stages of all plugins, in the registry's order. */
static int each_stage(fmp_cli *cli, stage_visitor visit, void *arg)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_registry *registry = NULL;
    const fmp_plugin_info *const *plugins = NULL;
    size_t n = 0;
    fmp_status status = fmp_registry_new(NULL, &registry, &err);
    if (status == FMP_OK) { status = fmp_registry_list(registry, &plugins, &n, &err); }
    for (size_t i = 0; status == FMP_OK && i < n; i++) {
        for (size_t k = 0; k < plugins[i]->n_stages; k++) {
            visit(&plugins[i]->stages[k], arg);
        }
    }
    fmp_registry_free(registry);
    return status == FMP_OK ? 0 : fmp_cli_fail(cli, &err);
}

static void list_stage(const fmp_stage_info *stage, void *arg)
{
    static const char *const kinds[] = {"?", "source", "map", "sink", "gather", "task"};
    const fmp_cli *cli = arg;
    if (!cli->json) {
        fmp_outf("  %-20s %-7s %s\n", stage->name, kinds[stage->kind <= FMP_TASK ? stage->kind : 0],
                 stage->summary);
        return;
    }
    cJSON *line = cJSON_CreateObject();
    cJSON_AddNumberToObject(line, "v", 1);
    cJSON_AddStringToObject(line, "stage", stage->name);
    cJSON_AddStringToObject(line, "kind", kinds[stage->kind <= FMP_TASK ? stage->kind : 0]);
    cJSON_AddStringToObject(line, "summary", stage->summary);
    fmp_out_json(line);
}

static int help_stage(fmp_cli *cli, const char *name)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_registry *registry = NULL;
    const fmp_stage_info *stage = NULL;
    fmp_status status = fmp_registry_new(NULL, &registry, &err);
    if (status == FMP_OK) { status = fmp_registry_find(registry, name, ".", &stage, &err); }
    if (status == FMP_OK) {
        fmp_buf text = {0};
        fmp_stage_help(stage, &text);
        if (text.len > 0) { fmp_out(text.data, text.len); }
        fmp_buf_free(&text);
    }
    fmp_registry_free(registry);
    return status == FMP_OK ? 0 : fmp_cli_fail(cli, &err);
}

int fmp_cmd_help(fmp_cli *cli)
{
    const char *topic = cli->n_operands > 0 ? cli->operands[0] : NULL;
    const fmp_command *command = topic ? fmp_command_find(topic) : NULL;
    if (!topic || command) {
        fmp_help_print(command);
        return 0;
    }
    if (strcmp(topic, "stages") == 0) { return each_stage(cli, list_stage, cli); }
    if (strpbrk(topic, "./")) { return help_stage(cli, topic); }
    return fmp_cli_usage(cli, "a stage's name has a dot: fmpipe help stages lists them", "no help on '%.60s'",
                         topic);
}

static void add_markdown(const fmp_stage_info *stage, void *arg)
{
    fmp_stage_markdown(stage, arg);
}

int fmp_cmd_docs(fmp_cli *cli)
{
    fmp_buf text = {0};
    fmp_buf_puts(&text, "# Stages\n\nMade by `fmpipe docs` from the plugins' own tables; do not edit.\n");
    int code = each_stage(cli, add_markdown, &text);
    if (code == 0) { fmp_out(text.data, text.len); }
    fmp_buf_free(&text);
    return code;
}

/* ---- completion ---- */

static void add_words(fmp_buf *out, const fmp_cli_option *options)
{
    for (; options && options->name; options++) {
        fmp_buf_printf(out, " --%s", options->name);
    }
}

int fmp_cmd_completion(fmp_cli *cli)
{
    if (strcmp(cli->operands[0], "bash") != 0) {
        return fmp_cli_usage(cli, NULL, "expected bash, found '%.40s'", cli->operands[0]);
    }
    fmp_buf out = {0};
    fmp_buf_puts(
        &out, "_fmpipe() {\n    local word=${COMP_WORDS[COMP_CWORD]} command= words=\n"
              "    local i\n    for ((i = 1; i < COMP_CWORD; i++)); do\n"
              "        case ${COMP_WORDS[i]} in -*) ;; *) command=${COMP_WORDS[i]}; break ;; esac\n    done\n"
              "    case $command in\n    '') words='");
    for (const fmp_command *c = fmp_commands; c->name; c++) {
        fmp_buf_printf(&out, "%s ", c->name);
    }
    add_words(&out, fmp_global_options);
    fmp_buf_puts(&out, "' ;;\n");
    for (const fmp_command *c = fmp_commands; c->name; c++) {
        fmp_buf_printf(&out, "    %s) words='", c->name);
        for (const char *p = c->operands; *p;) { /* the lower-case words are literal choices */
            size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyz");
            if (n > 0) { fmp_buf_printf(&out, "%.*s ", (int)n, p); }
            p += n + (p[n] != '\0');
        }
        add_words(&out, c->options);
        add_words(&out, fmp_global_options);
        fmp_buf_puts(&out, "' ;;\n");
    }
    fmp_buf_puts(&out, "    esac\n    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
                       "    [[ $word == -* ]] || COMPREPLY+=($(compgen -f -- \"$word\"))\n}\n"
                       "complete -o filenames -F _fmpipe fmpipe\n");
    if (!out.failed) { fmp_out(out.data, out.len); }
    fmp_buf_free(&out);
    return 0;
}
