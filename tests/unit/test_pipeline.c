/* links: fmengine fmbase */
/*
 * test_pipeline.c: pipeline files: merging, variables, --set, connections, seeds, digests. Stages come from
 * a table here.
 */
#include "pipeline_private.h"

#include <fmpipe/fs.h>
#include <setjmp.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define END                                                                                                  \
    {                                                                                                        \
        .name = NULL                                                                                         \
    }
static const fmp_port no_ports[] = {END};
static const fmp_port records[] = {{.name = "records", .type = FMP_PORT_RECORDS}, END};
static const fmp_port parts[] = {
    {.name = "train", .type = FMP_PORT_RECORDS}, {.name = "eval", .type = FMP_PORT_RECORDS}, END};
static const fmp_port many[] = {{.name = "records", .type = FMP_PORT_RECORDS, .flags = FMP_PORT_MANY}, END};
static const fmp_port tokens[] = {{.name = "tokens", .type = FMP_PORT_TOKENS}, END};
static const fmp_port train_in[] = {{.name = "tokens", .type = FMP_PORT_TOKENS},
                                    {.name = "model", .type = FMP_PORT_MODEL},
                                    {.name = "start", .type = FMP_PORT_ADAPTER, .flags = FMP_PORT_OPTIONAL},
                                    END};
static const fmp_port adapter[] = {{.name = "adapter", .type = FMP_PORT_ADAPTER}, END};
static const fmp_port any_in[] = {
    {.name = "things", .type = FMP_PORT_ANY, .flags = FMP_PORT_MANY | FMP_PORT_OPTIONAL}, END};
static const fmp_option none[] = {END};
static const fmp_option read_options[] = {
    {.name = "path", .type = FMP_OPT_PATHS, .flags = FMP_OPT_REQUIRED, .help = "Files."},
    {.name = "note", .type = FMP_OPT_STRING, .flags = FMP_OPT_COSMETIC, .help = "-"},
    END};
static const fmp_option train_options[] = {
    {.name = "rank", .type = FMP_OPT_INT, .def = "32", .min = 1, .max = 1024, .help = "-"},
    {.name = "rate", .type = FMP_OPT_FLOAT, .def = "0.001", .help = "-"},
    {.name = "label", .type = FMP_OPT_STRING, .help = "-"},
    {.name = "opt.kind", .type = FMP_OPT_STRING, .def = "adamw", .help = "-"},
    END};

static const fmp_stage_info stages[] = {
    {.name = "t.read", .kind = FMP_SOURCE, .inputs = no_ports, .outputs = records, .options = read_options},
    {.name = "t.map", .kind = FMP_MAP, .inputs = records, .outputs = records, .options = none},
    {.name = "t.split", .kind = FMP_GATHER, .inputs = records, .outputs = parts, .options = none},
    {.name = "t.mix", .kind = FMP_GATHER, .inputs = many, .outputs = records, .options = none},
    {.name = "t.write", .kind = FMP_SINK, .inputs = records, .outputs = no_ports, .options = none},
    {.name = "t.tokenize", .kind = FMP_TASK, .inputs = records, .outputs = tokens, .options = none},
    {.name = "t.train", .kind = FMP_TASK, .inputs = train_in, .outputs = adapter, .options = train_options},
    {.name = "t.report", .kind = FMP_TASK, .inputs = any_in, .outputs = no_ports, .options = none},
    {.name = NULL}};

static fmp_status find_stage(void *arg, const char *use, const char *base_dir, const fmp_stage_info **out,
                             fmp_err *err)
{
    (void)arg;
    (void)base_dir;
    for (const fmp_stage_info *s = stages; s->name; s++) {
        if (strcmp(s->name, use) == 0) {
            *out = s;
            return FMP_OK;
        }
    }
    return fmp_fail(err, FMP_E_CONFIG, "unknown stage '%s'", use);
}

static char folder[64];

static int enter_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/fmp-pipeline-XXXXXX");
    if (!mkdtemp(folder) || chdir(folder) != 0) { return -1; }
    return fmp_mkdirs("sub", NULL) == FMP_OK && fmp_mkdirs("base", NULL) == FMP_OK ? 0 : -1;
}

static int leave_folder(void **state)
{
    (void)state;
    return chdir("/") == 0 && fmp_remove_tree(folder, NULL) == FMP_OK ? 0 : -1;
}

static void put(const char *path, const char *text)
{
    assert_int_equal(fmp_write_file(path, text, strlen(text), NULL), FMP_OK);
}

typedef struct loaded {
    fmp_pipeline *p;
    fmp_diags diags;
    fmp_status status;
} loaded;

static loaded load_set(const char *path, const char *set, bool digest)
{
    loaded l = {0};
    fmp_stage_finder finder = {NULL, find_stage};
    fmp_set sets[1] = {{set}};
    l.status = fmp_pipeline_load_with(&finder, path, sets, set != NULL, digest, digest ? "store" : NULL, &l.p,
                                      &l.diags, NULL);
    return l;
}

static loaded load(const char *text)
{
    put("p.yaml", text);
    return load_set("p.yaml", NULL, false);
}

static void unload(loaded *l)
{
    fmp_pipeline_free(l->p);
    fmp_diags_free(&l->diags);
}

static void assert_ok(const loaded *l)
{
    if (l->diags.n > 0) {
        print_error("%u: %s\n", l->diags.items[0].err.line, l->diags.items[0].err.message);
    }
    assert_int_equal(l->status, FMP_OK);
    assert_non_null(l->p);
}

static void assert_problem(const char *text, uint32_t line, const char *message, const char *hint)
{
    loaded l = load(text);
    assert_int_equal(l.status, FMP_E_CONFIG);
    assert_null(l.p);
    bool found = false;
    for (size_t i = 0; i < l.diags.n; i++) {
        const fmp_err *err = &l.diags.items[i].err;
        found = found || (err->line == line && strcmp(err->message, message) == 0 &&
                          (!hint || strcmp(err->hint, hint) == 0));
    }
    for (size_t i = 0; !found && i < l.diags.n; i++) {
        print_error("%u: %s / %s\n", l.diags.items[i].err.line, l.diags.items[i].err.message,
                    l.diags.items[i].err.hint);
    }
    assert_true(found);
    unload(&l);
}

#define HEAD "fmpipe: 1\n"
#define READ "  - {id: read, use: t.read, with: {path: d.jsonl}}\n"

static void a_chain_needs_no_from(void **state)
{
    (void)state;
    put("d.jsonl", "x");
    loaded l = load(
        HEAD "name: q\nseed: 7\nbase: base\nstages:\n" READ
             "  - {id: m, use: t.map, seed: 9, on_bad: {limit: 3}}\n"
             "  - {id: s, use: t.split}\n  - {id: tok, use: t.tokenize}\n  - {id: train, use: t.train}\n");
    assert_ok(&l);
    assert_string_equal(l.p->name, "q");
    assert_int_equal(l.p->stages[0].n_links, 0);
    assert_int_equal(l.p->stages[2].links[0].stage, 1);
    assert_int_equal(l.p->stages[3].links[0].stage, 2);
    assert_int_equal(l.p->stages[3].links[0].out, 0);
    assert_int_equal(l.p->stages[1].seed, 9);
    assert_int_equal(l.p->stages[2].seed, 7);
    assert_int_equal(l.p->stages[1].on_bad, FMP_ON_BAD_LIMIT);
    assert_int_equal(l.p->stages[1].bad_limit, 3);
    /* tokens from the stage before, the model from base, start left open */
    assert_int_equal(l.p->stages[4].n_links, 2);
    assert_int_equal(l.p->stages[4].links[0].stage, 3);
    assert_int_equal(l.p->stages[4].links[1].stage, -1);
    assert_string_equal(l.p->stages[4].links[1].in->name, "model");
    unload(&l);
}

static void from_names_stages_ports_and_lists(void **state)
{
    (void)state;
    put("d.jsonl", "x");
    loaded l = load(HEAD "stages:\n" READ
                         "  - {id: s, use: t.split}\n  - {id: mix, use: t.mix, from: [s.eval, read, s]}\n"
                         "  - {id: tok, use: t.tokenize, from: {records: s.eval}}\n  - {id: rep, use: "
                         "t.report, from: [tok, mix]}\n");
    assert_ok(&l);
    const fmp_stage_node *mix = &l.p->stages[2];
    assert_int_equal(mix->n_links, 3);
    assert_int_equal(mix->links[0].stage, 1);
    assert_int_equal(mix->links[0].out, 1);
    assert_int_equal(mix->links[1].stage, 0);
    assert_int_equal(mix->links[2].out, 0);
    assert_int_equal(l.p->stages[3].links[0].out, 1);
    assert_int_equal(l.p->stages[4].n_links, 2);
    unload(&l);
}

static void wrong_connections_say_what_is_needed_and_given(void **state)
{
    (void)state;
    put("d.jsonl", "x");
    assert_problem(
        HEAD "base: base\nstages:\n" READ "  - {id: split, use: t.split}\n  - {id: train, use: t.train}\n", 6,
        "'train' needs tokens, 'split' gives records (train, eval)", "no stage above it gives tokens");
    assert_problem(HEAD "base: base\nstages:\n" READ
                        "  - {id: tok, use: t.tokenize}\n  - {id: train, use: t.train, from: read}\n",
                   6, "'train' needs tokens, 'read' gives records (records)",
                   "'tok' gives tokens: from: tok");
    assert_problem(HEAD "stages:\n" READ "  - {id: tok, use: t.tokenize}\n  - {id: train, use: t.train}\n", 5,
                   "'train' (t.train) needs model at its input 'model', which is not connected",
                   "name the base model's folder at the top of the file: base: FOLDER");
    assert_problem(HEAD "stages:\n" READ "  - {id: a, use: t.map, from: b}\n  - {id: b, use: t.map}\n", 4,
                   "expected a stage above this one, found 'b', which comes later", "move 'b' above 'a'");
    assert_problem(HEAD "stages:\n" READ "  - {id: a, use: t.map, from: a}\n", 4,
                   "'a' cannot take its own output", NULL);
    assert_problem(HEAD "stages:\n" READ "  - {id: a, use: t.map, from: raed}\n", 4, "unknown stage 'raed'",
                   "did you mean 'read'?");
    assert_problem(HEAD "stages:\n" READ "  - {id: s, use: t.split}\n  - {id: a, use: t.map, from: s.evl}\n",
                   5, "'s' has no output 'evl'; it gives records (train, eval)", "did you mean 's.eval'?");
    assert_problem(HEAD "stages:\n" READ "  - {id: a, use: t.map, from: [read, read]}\n", 4,
                   "input 'records' of 'a' takes one connection, found 2", NULL);
    assert_problem(HEAD "stages:\n" READ "  - {id: a, use: t.map, from: {recrods: read}}\n", 4,
                   "'a' (t.map) has no input 'recrods'", "did you mean 'records'?");
    assert_problem(HEAD "stages:\n" READ "  - {id: w, use: t.write}\n  - {id: a, use: t.map}\n", 5,
                   "'a' needs records, 'w' gives nothing", "'read' gives records: from: read");
    assert_problem(HEAD "stages:\n  - {id: a, use: t.map}\n", 3,
                   "'a' (t.map) needs records at its input 'records', which is not connected",
                   "no stage above it gives records");
    assert_problem(HEAD "stages:\n  - {id: read, use: t.read, from: x, with: {path: d.jsonl}}\n", 3,
                   "'read' (t.read) is a source: it has no input to connect", NULL);
}

static const char *value_text(const fmp_stage_node *s, const char *path)
{
    static char text[512];
    char *printed = fmp_json_text(fmp_value(s->values, path), FMP_JSON_COMPACT);
    snprintf(text, sizeof text, "%s", printed ? printed : "");
    free(printed);
    return text;
}

static void variables_keep_their_type_and_their_place(void **state)
{
    (void)state;
    put("d.jsonl", "x");
    loaded l = load(
        HEAD
        "vars:\n  rank: {type: int, default: 8}\n  d: {type: path, default: d.jsonl}\n  n: {type: string, "
        "default: '12'}\n"
        "base: base\nstages:\n  - {id: read, use: t.read, with: {path: \"${d}\"}}\n  - {id: tok, use: "
        "t.tokenize}\n"
        "  - id: train\n    use: t.train\n    with:\n      rank: ${rank}\n      label: a${n}-${rank}$${x}\n");
    assert_ok(&l);
    const fmp_stage_node *train = &l.p->stages[2];
    assert_string_equal(value_text(train, "rank"), "8");
    assert_string_equal(value_text(train, "label"), "\"a12-8${x}\"");
    assert_int_equal(fmp_option_where(train, "rank").line, 3);
    assert_int_equal(fmp_option_where(train, "label").line, 14);
    assert_int_equal(fmp_option_where(train, "rate").line, train->mark.line);
    unload(&l);
    assert_problem(HEAD "vars: {rank: {type: int, default: 8}}\nstages:\n" READ
                        "  - {id: m, use: t.map, seed: \"${rnk}\"}\n",
                   5, "unknown variable 'rnk'", "did you mean 'rank'?");
    assert_problem(HEAD "vars: {rank: {type: int, default: x}}\nstages:\n" READ, 2,
                   "variable 'rank': expected a value of type int, found the string 'x'", NULL);
    assert_problem(HEAD "vars: {rank: {type: int}}\nstages:\n" READ, 2,
                   "variable 'rank' has no default and was not set", "run with --set rank=VALUE");
}

static void set_values_meet_the_checks_of_the_file(void **state)
{
    (void)state;
    put("d.jsonl", "x");
    put("p.yaml",
        HEAD "vars: {rank: {type: int, default: 8}}\nbase: base\nstages:\n" READ
             "  - {id: tok, use: t.tokenize}\n  - {id: train, use: t.train, with: {rank: \"${rank}\"}}\n");
    static const struct {
        const char *set, *option, *value;
    } good[] = {{"rank=16", "rank", "16"},
                {"train.rank=4", "rank", "4"},
                {"train.label=12", "label", "\"12\""},
                {"train.opt.kind=[sgd]", "opt.kind", "\"[sgd]\""},
                {"train.rate=1e-2", "rate", "0.01"}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        loaded l = load_set("p.yaml", good[i].set, false);
        assert_ok(&l);
        assert_string_equal(value_text(&l.p->stages[2], good[i].option), good[i].value);
        unload(&l);
    }
    static const struct {
        const char *set, *message;
    } bad[] = {
        {"rank=x", "variable 'rank': expected a value of type int, found the string 'x'"},
        {"train.rank=0", "'rank': expected 1 … 1024, found 0"},
        {"train.rnk=1", "unknown option 'rnk' of stage 't.train'"},
        {"trian.rank=1", "expected STAGE.OPTION=VALUE, found no stage 'trian'"},
        {"rnk=1", "unknown variable 'rnk'"},
        {"rank", "expected NAME=VALUE"},
        {"seed=-1", "expected a seed, an integer from 0 to 18446744073709551615, found the integer -1"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        loaded l = load_set("p.yaml", bad[i].set, false);
        assert_int_equal(l.status, FMP_E_CONFIG);
        assert_string_equal(l.diags.items[0].err.message, bad[i].message);
        assert_int_equal(l.diags.items[0].err.line, 0);
        assert_memory_equal(l.diags.items[0].err.file, "--set ", 6);
        unload(&l);
    }
    loaded l = load_set("p.yaml", "seed=18446744073709551615", false);
    assert_ok(&l);
    assert_true(l.p->seed == UINT64_MAX);
    unload(&l);
}

static void extends_merges_maps_by_key_and_stages_by_id(void **state)
{
    (void)state;
    put("base/model.bin", "m");
    put("sub/d.jsonl", "x");
    put("sub/parent.yaml",
        HEAD "name: parent\nseed: 3\nbase: ../base\nvars: {rank: {type: int, default: 8}}\nstages:\n" READ
             "  - {id: tok, use: t.tokenize}\n  - {id: train, use: t.train, with: {rank: \"${rank}\", rate: "
             "0.5}}\n");
    put("child.yaml",
        HEAD "extends: sub/parent.yaml\nname: child\nvars: {rank: {default: 64}}\nstages:\n"
             "  - {id: train, with: {rate: 0.25}}\n  - {id: rep, use: t.report, from: train}\n");
    loaded l = load_set("child.yaml", NULL, false);
    assert_ok(&l);
    assert_string_equal(l.p->name, "child");
    assert_int_equal(l.p->seed, 3);
    assert_int_equal(l.p->n_stages, 4);
    assert_string_equal(value_text(&l.p->stages[2], "rank"), "64");
    assert_string_equal(value_text(&l.p->stages[2], "rate"), "0.25");
    /* what the parent wrote is relative to the parent's folder */
    char path[128];
    snprintf(path, sizeof path, "[\"%s/sub/d.jsonl\"]", folder);
    assert_string_equal(value_text(&l.p->stages[0], "path"), path);
    unload(&l);
}

static void an_extending_file_takes_stages_and_keys_away(void **state)
{
    (void)state;
    put("d.jsonl", "x");
    put("parent.yaml",
        HEAD "vars: {rank: {type: int, default: 8}, old: {default: 1}}\nstages:\n" READ
             "  - {id: first, use: t.map}\n  - {id: second, use: t.map, on_bad: skip}\n"
             "  - {id: tok, use: t.tokenize}\n  - {id: train, use: t.train, with: {rank: 8, rate: 0.5}}\n");
    put("child.yaml", HEAD "extends: parent.yaml\nbase: base\nvars: {old: ~}\nstages:\n"
                           "  - {id: first, remove: true}\n  - {id: second, on_bad: ~}\n"
                           "  - {id: train, with: {rate: null}}\n");
    put("base/model.bin", "m");
    loaded l = load_set("child.yaml", NULL, false);
    assert_ok(&l);
    assert_int_equal(l.p->n_stages, 4);
    assert_string_equal(l.p->stages[1].id, "second");
    assert_int_equal(l.p->stages[1].links[0].stage, 0); /* the chain closes over the gap */
    assert_int_equal(l.p->stages[1].on_bad, FMP_ON_BAD_FAIL);
    assert_string_equal(value_text(&l.p->stages[3], "rank"), "8");
    unload(&l);
    put("grandchild.yaml", HEAD "extends: child.yaml\nstages:\n  - {id: second, remove: true}\n"
                                "  - {id: first, remove: true}\n  - {id: tok, remove: yes}\n"
                                "  - {id: train, remove: true, on_bad: skip}\n");
    l = load_set("grandchild.yaml", NULL, false);
    assert_int_equal(l.status, FMP_E_CONFIG);
    assert_int_equal(l.diags.n_errors, 3);
    static const char *const messages[] = {"expected a stage of the extended file, found 'first'",
                                           "expected true, found the string 'yes'",
                                           "expected {id: STAGE, remove: true}, found other keys"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(l.diags.items[i].err.line, 5 + i);
        assert_string_equal(l.diags.items[i].err.message, messages[i]);
    }
    unload(&l);
}

static void extending_in_a_circle_is_refused(void **state)
{
    (void)state;
    put("a.yaml", HEAD "extends: b.yaml\n");
    put("b.yaml", HEAD "extends: a.yaml\n");
    loaded l = load_set("a.yaml", NULL, false);
    assert_int_equal(l.status, FMP_E_CONFIG);
    assert_string_equal(l.diags.items[0].err.message, "'a.yaml' extends itself, by way of other files");
    assert_string_equal(l.diags.items[0].err.file, "b.yaml");
    unload(&l);
    for (int i = 0; i < 9; i++) {
        char name[16], text[64];
        snprintf(name, sizeof name, "c%d.yaml", i);
        snprintf(text, sizeof text, HEAD "extends: c%d.yaml\n", i + 1);
        put(name, text);
    }
    l = load_set("c0.yaml", NULL, false);
    assert_int_equal(l.status, FMP_E_CONFIG);
    assert_string_equal(l.diags.items[0].err.message,
                        "expected at most 8 files that extend each other, found more");
    unload(&l);
}

static void all_problems_of_a_file_come_in_one_go_and_in_order(void **state)
{
    (void)state;
    loaded l =
        load(HEAD "nmae: x\nseed: -1\nbase: http://example.org/m\nstages:\n  - {id: Read, use: t.raed}\n"
                  "  - {id: m, use: t.map, on_bad: skp, isolation: none}\n  - {id: m, use: t.map, fron: m}\n "
                  " - use: t.map\n");
    assert_int_equal(l.status, FMP_E_CONFIG);
    static const uint32_t lines[] = {2, 3, 4, 6, 6, 7, 7, 8, 8, 9};
    for (size_t i = 0; i < l.diags.n && i < 10; i++) {
        assert_int_equal(l.diags.items[i].err.line, lines[i]);
    }
    assert_int_equal(l.diags.n, 10);
    unload(&l);
}

static void keys_hold_contents_instead_of_paths(void **state)
{
    (void)state;
    put("d.jsonl", "x");
    put("p.yaml", HEAD "stages:\n  - {id: read, use: t.read, with: {path: d.jsonl, note: hello}}\n");
    loaded l = load_set("p.yaml", NULL, true);
    assert_ok(&l);
    char *key = fmp_json_text(l.p->stages[0].key_values, FMP_JSON_COMPACT);
    assert_string_equal(
        key, "{\"path\":[\"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\"]}");
    free(key);
    assert_int_equal(l.p->stages[0].n_files, 1);
    assert_string_equal(l.p->stages[0].files[0].shown, "d.jsonl");
    unload(&l);
    /* another content, seen although nothing else changed */
    put("d.jsonl", "y");
    l = load_set("p.yaml", NULL, true);
    assert_ok(&l);
    assert_string_equal(l.p->stages[0].files[0].digest,
                        "a1fce4363854ff888cff4b8e7875d600c2682390412a8cf79b37d0b11148b0fa");
    unload(&l);
}

static void the_version_of_the_format_is_required(void **state)
{
    (void)state;
    assert_problem("stages: []\n", 1, "expected 'fmpipe: 1', the version of the format; it is missing", NULL);
    assert_problem("fmpipe: 2\nstages: []\n", 1,
                   "expected version 1 of the pipeline format, found the integer 2", NULL);
    assert_problem(HEAD, 1, "expected stages:, the list of stages; it is missing", NULL);
    assert_problem("- a\n", 1, "expected a pipeline (a map with fmpipe, stages, ...), found a list", NULL);
}

static void diagnostics_show_the_line_with_a_caret(void **state)
{
    (void)state;
    loaded l = load(HEAD "stages:\n  - {id: ä, use: t.map}\n\tx\n");
    assert_int_equal(l.status, FMP_E_CONFIG);
    unload(&l);
    l = load(HEAD "nmae: x\nstages: []\n");
    fmp_buf text = {0};
    fmp_diags_print(&l.diags, false, &text);
    static const char first[] =
        "p.yaml:2:1: error: unknown key 'nmae' of a pipeline\n    2 | nmae: x\n      | ^~~~\n"
        "  help: did you mean 'name'?\n";
    assert_memory_equal(text.data, first, sizeof first - 1);
    cJSON *json = fmp_diag_json(&l.diags.items[0]);
    char *line = fmp_json_text(json, FMP_JSON_COMPACT);
    assert_string_equal(
        line, "{\"v\":1,\"event\":\"diagnostic\",\"severity\":\"error\",\"file\":\"p.yaml\",\"line\":2,"
              "\"column\":1,\"span\":4,"
              "\"message\":\"unknown key 'nmae' of a pipeline\",\"hint\":\"did you mean 'name'?\"}");
    free(line);
    cJSON_Delete(json);
    fmp_buf_free(&text);
    unload(&l);
}

int main(void)
{
    fmp_json_install_hooks();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_needs_no_from),
        cmocka_unit_test(from_names_stages_ports_and_lists),
        cmocka_unit_test(wrong_connections_say_what_is_needed_and_given),
        cmocka_unit_test(variables_keep_their_type_and_their_place),
        cmocka_unit_test(set_values_meet_the_checks_of_the_file),
        cmocka_unit_test(extends_merges_maps_by_key_and_stages_by_id),
        cmocka_unit_test(an_extending_file_takes_stages_and_keys_away),
        cmocka_unit_test(extending_in_a_circle_is_refused),
        cmocka_unit_test(all_problems_of_a_file_come_in_one_go_and_in_order),
        cmocka_unit_test(keys_hold_contents_instead_of_paths),
        cmocka_unit_test(the_version_of_the_format_is_required),
        cmocka_unit_test(diagnostics_show_the_line_with_a_caret),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
