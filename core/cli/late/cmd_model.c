/*
 * cmd_model.c: `fmpipe model inspect|convert|new|logits`: model files at the command line. inspect is in
 * model_inspect.c, logits in model_logits.c.
 */
#include "model.h"

#include <fmpipe/fs.h>
#include <fmpipe/json.h>
#include <fmpipe/tokenizer.h>

#include <stdlib.h>
#include <unistd.h>

bool fmp_model_cmd_options(const fmp_cli *cli, fmp_model_options *out)
{
    const char *precision = fmp_cli_option_value(cli, "precision");
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    *out =
        (fmp_model_options){.n_threads = cli->n_threads ? (int)cli->n_threads : (int)(cores > 0 ? cores : 1)};
    if (precision && strcmp(precision, "bf16") == 0) { out->precision = FMP_PRECISION_BF16; }
    if (!precision || out->precision == FMP_PRECISION_BF16 || strcmp(precision, "f32") == 0) { return true; }
    fmp_cli_usage(cli, NULL, "--precision: expected f32 or bf16, found '%s'", precision);
    return false;
}

/* --dtype of what is written; false after saying what is wrong. */
static bool read_dtype(const fmp_cli *cli, fmp_dtype *out)
{
    const char *name = fmp_cli_option_value(cli, "dtype");
    *out = name && strcmp(name, "bf16") == 0 ? FMP_DTYPE_BF16 : FMP_DTYPE_F32;
    if (!name || *out == FMP_DTYPE_BF16 || strcmp(name, "f32") == 0) { return true; }
    fmp_cli_usage(cli, NULL, "--dtype: expected f32 or bf16, found '%s'", name);
    return false;
}

static void say_written(const fmp_cli *cli, const fmp_model *m, const char *dir, const char *missing)
{
    char n[32];
    if (cli->json) {
        cJSON *line = cJSON_CreateObject();
        cJSON_AddNumberToObject(line, "v", 1);
        cJSON_AddStringToObject(line, "event", "model.written");
        cJSON_AddStringToObject(line, "path", dir);
        cJSON_AddStringToObject(line, "model_type", fmp_model_get_spec(m)->model_type);
        cJSON_AddNumberToObject(line, "params", (double)fmp_model_n_params(m));
        if (missing) { cJSON_AddStringToObject(line, "missing", missing); }
        fmp_out_json(line);
        return;
    }
    fmp_outf("wrote %s: %s, %s parameters\n", dir, fmp_model_get_spec(m)->model_type,
             fmp_group_digits(fmp_model_n_params(m), n));
    if (missing) { fmp_outf("missing: %s\n", missing); }
}

/* ---- new ---- */

/* The sizes given by options, as a config.json has them; false after saying what is wrong. */
static bool add_sizes(const fmp_cli *cli, cJSON *config)
{
    static const struct {
        const char *option, *key;
        uint64_t most;
    } sizes[] = {{"layers", "num_hidden_layers", 1024},
                 {"channels", "hidden_size", 65536},
                 {"heads", "num_attention_heads", 1024},
                 {"kv-heads", "num_key_value_heads", 1024},
                 {"head-size", "head_dim", 256},
                 {"ff", "intermediate_size", 1 << 20},
                 {"vocab", "vocab_size", 1 << 22},
                 {"positions", "max_position_embeddings", 1 << 24},
                 {"kv-shared", "num_kv_shared_layers", 1023}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t n = 0;
        if (!fmp_cli_option_value(cli, sizes[i].option)) { continue; }
        if (!fmp_cli_number(cli, sizes[i].option, sizes[i].most, &n)) { return false; }
        cJSON_DeleteItemFromObjectCaseSensitive(config, sizes[i].key);
        cJSON_AddNumberToObject(config, sizes[i].key, (double)n);
    }
    if (fmp_cli_option_value(cli, "tied")) {
        cJSON_DeleteItemFromObjectCaseSensitive(config, "tie_word_embeddings");
        cJSON_AddBoolToObject(config, "tie_word_embeddings", true);
    }
    return true;
}

/* A config.json, of a folder or a file; --family begins one of that family. returned; cJSON_Delete */
static fmp_status first_config(const fmp_cli *cli, cJSON **out, fmp_err *err)
{
    const char *path = fmp_cli_option_value(cli, "config"), *family = fmp_cli_option_value(cli, "family");
    if (path) {
        char *inside = fmp_path_join(path, "config.json");
        if (!inside) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a path"); }
        fmp_status status = fmp_json_load(fmp_path_exists(inside) ? inside : path, NULL, out, err);
        free(inside);
        return status;
    }
    *out = cJSON_CreateObject();
    if (!*out) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a configuration"); }
    cJSON_AddStringToObject(*out, "model_type", family ? family : "llama");
    cJSON_AddNumberToObject(*out, "max_position_embeddings", 2048);
    return FMP_OK;
}

static fmp_status spec_of(const cJSON *config, fmp_model_spec *spec, fmp_err *err)
{
    fmp_buf text = {0};
    fmp_json_print(config, FMP_JSON_COMPACT, &text);
    fmp_status status = fmp_buf_ok(&text, err);
    if (status == FMP_OK) { status = fmp_spec_parse(text.data, text.len, spec, err); }
    fmp_buf_free(&text);
    return status;
}

static int cmd_new(const fmp_cli *cli)
{
    fmp_err err = FMP_ERR_INIT;
    const char *dir = cli->n_operands > 1 ? cli->operands[1] : NULL;
    uint64_t seed = 0;
    fmp_dtype dtype;
    fmp_model_options o;
    if (!dir) { return fmp_cli_usage(cli, NULL, "new needs the folder to write"); }
    if (!fmp_cli_number(cli, "seed", UINT64_MAX, &seed) || !read_dtype(cli, &dtype) ||
        !fmp_model_cmd_options(cli, &o)) {
        return FMP_EXIT_USAGE;
    }
    cJSON *config = NULL;
    fmp_model_spec spec = {0};
    fmp_model *m = NULL;
    fmp_status status = first_config(cli, &config, &err);
    if (status == FMP_OK && !add_sizes(cli, config)) {
        cJSON_Delete(config);
        return FMP_EXIT_USAGE;
    }
    if (status == FMP_OK) { status = spec_of(config, &spec, &err); }
    if (status == FMP_OK) { status = fmp_model_new(&spec, seed, &o, &m, &err); }
    if (status == FMP_OK) { status = fmp_model_save(m, NULL, dir, dtype, &err); }
    if (status == FMP_OK) { say_written(cli, m, dir, NULL); }
    fmp_model_free(m);
    fmp_spec_free(&spec);
    cJSON_Delete(config);
    return status == FMP_OK ? 0 : fmp_cli_fail(cli, &err);
}

/* ---- convert ---- */

/* A tokenizer file that does not fit is told before gigabytes are written. */
static fmp_status check_tokenizer(const fmp_cli *cli, const fmp_model *m, fmp_err *err)
{
    const char *tokenizer = fmp_cli_option_value(cli, "tokenizer");
    return tokenizer ? fmp_llama2c_tokenizer(tokenizer, fmp_model_get_spec(m)->vocab_size, NULL, err)
                     : FMP_OK;
}

/* Tokenizer and template: copied from a folder; of a llama2.c file made from --tokenizer. */
static fmp_status convert_tokenizer(const fmp_cli *cli, const fmp_model *m, const char *from, const char *to,
                                    const char **missing, fmp_err *err)
{
    const char *tokenizer = fmp_cli_option_value(cli, "tokenizer");
    bool has = false;
    if (tokenizer) { return fmp_llama2c_tokenizer(tokenizer, fmp_model_get_spec(m)->vocab_size, to, err); }
    FMP_TRY(fmp_tokenizer_copy(from, to, &has, err));
    *missing = has ? NULL : "tokenizer.json; a llama2.c model's comes with --tokenizer tokenizer.bin";
    return FMP_OK;
}

static int cmd_convert(const fmp_cli *cli)
{
    fmp_err err = FMP_ERR_INIT;
    const char *adapter = fmp_cli_option_value(cli, "adapter"), *missing = NULL;
    fmp_dtype dtype;
    fmp_model_options o;
    if (cli->n_operands != 3) {
        return fmp_cli_usage(cli, NULL, "convert needs what to read and the folder to write");
    }
    if (!read_dtype(cli, &dtype) || !fmp_model_cmd_options(cli, &o)) { return FMP_EXIT_USAGE; }
    const char *from = cli->operands[1], *to = cli->operands[2];
    fmp_model *m = NULL;
    fmp_adapter *ad = NULL;
    fmp_status status = fmp_model_open(from, &o, &m, &err);
    if (status == FMP_OK && adapter) { status = fmp_adapter_load(m, adapter, &ad, &err); }
    if (status == FMP_OK) { status = check_tokenizer(cli, m, &err); }
    if (status == FMP_OK) { status = fmp_model_save(m, ad, to, dtype, &err); }
    if (status == FMP_OK) { status = convert_tokenizer(cli, m, from, to, &missing, &err); }
    if (status == FMP_OK) { say_written(cli, m, to, missing); }
    fmp_adapter_free(ad);
    fmp_model_free(m);
    return status == FMP_OK ? 0 : fmp_cli_fail(cli, &err);
}

int fmp_late_model(fmp_cli *cli)
{
    static const struct {
        const char *name;
        int (*run)(const fmp_cli *cli);
    } commands[] = {{"inspect", fmp_model_cmd_inspect},
                    {"convert", cmd_convert},
                    {"new", cmd_new},
                    {"logits", fmp_model_cmd_logits}};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(cli->operands[0], commands[i].name) == 0) { return commands[i].run(cli); }
    }
    return fmp_cli_usage(cli, NULL, "expected inspect, convert, new or logits, found '%.40s'",
                         cli->operands[0]);
}
