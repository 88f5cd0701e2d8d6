/*
 * model_inspect.c: `fmpipe model inspect`: what a model is, layer by layer, and how large, from its config.json
 * alone or with its weights.
 */
#include "model.h"

#include <fmpipe/fs.h>
#include <fmpipe/json.h>

#include <stdlib.h>
#include <sys/stat.h>

/* The same but for the distance to the same keys and values. */
static bool same_kind(const fmp_model_spec *s, uint32_t first, uint32_t l)
{
    fmp_layer_spec a = s->layers[first], b = s->layers[l];
    bool same_source = a.kv_back && b.kv_back && first - a.kv_back == l - b.kv_back;
    if (same_source) { b.kv_back = a.kv_back; }
    return a.window == b.window && a.kv_back == b.kv_back && a.rope == b.rope && a.rope_set == b.rope_set &&
           a.qk_norm == b.qk_norm && a.qkv_bias == b.qkv_bias && a.o_bias == b.o_bias &&
           a.mlp_bias == b.mlp_bias;
}

static void describe_layer(const fmp_model_spec *s, uint32_t l, fmp_buf *out)
{
    const fmp_layer_spec *layer = &s->layers[l];
    char digits[32];
    if (layer->window) {
        fmp_buf_printf(out, "window of %s tokens", fmp_group_digits(layer->window, digits));
    } else {
        fmp_buf_puts(out, "full attention");
    }
    if (!layer->rope) { fmp_buf_puts(out, ", no RoPE"); }
    if (layer->rope_set) { fmp_buf_printf(out, ", RoPE base %.10g", s->rope[1].theta); }
    if (layer->qk_norm) { fmp_buf_puts(out, s->qk_norm_whole ? ", QK-norm over all heads" : ", QK-norm"); }
    if (layer->kv_back) { fmp_buf_printf(out, ", keys and values of layer %u", l - layer->kv_back); }
    if (layer->qkv_bias) { fmp_buf_puts(out, layer->o_bias ? ", attention biases" : ", QKV biases"); }
    if (layer->mlp_bias) { fmp_buf_puts(out, ", feed-forward biases"); }
}

/* "0-4, 6-10, 12": the layers of the kind of layer `first` */
static void list_layers(const fmp_model_spec *s, uint32_t first, fmp_buf *out)
{
    for (uint32_t l = first; l < s->n_layers; l++) {
        if (!same_kind(s, first, l)) { continue; }
        uint32_t last = l;
        while (last + 1 < s->n_layers && same_kind(s, first, last + 1)) {
            last++;
        }
        fmp_buf_printf(out, l == last ? "%s%u" : "%s%u-%u", out->len ? ", " : "", l, last);
        l = last;
    }
}

/* Each kind of layer once, as a line, or as an object in `list`. */
static void each_kind(const fmp_model_spec *s, cJSON *list)
{
    for (uint32_t l = 0; l < s->n_layers; l++) {
        uint32_t before = 0;
        while (before < l && !same_kind(s, before, l)) {
            before++;
        }
        if (before < l) { continue; }
        fmp_buf what = {0}, which = {0};
        describe_layer(s, l, &what);
        list_layers(s, l, &which);
        if (list && !what.failed && !which.failed) {
            cJSON *kind = cJSON_CreateObject();
            cJSON_AddStringToObject(kind, "layers", which.data);
            cJSON_AddStringToObject(kind, "what", what.data);
            cJSON_AddItemToArray(list, kind);
        } else if (!what.failed && !which.failed) {
            fmp_outf(" layers     %s: %s\n", which.data, what.data);
        }
        fmp_buf_free(&what);
        fmp_buf_free(&which);
    }
}

static const char *rope_text(const fmp_model_spec *s, char out[96])
{
    static const char *const kinds[] = {"", ", linear", ", llama3", ", dynamic", ", yarn", ", longrope"};
    const fmp_rope_spec *r = &s->rope[0];
    int n = snprintf(out, 96, "base %.10g%s", r->theta, kinds[r->kind]);
    if (r->kind != FMP_ROPE_DEFAULT && n > 0 && n < 64) {
        n += snprintf(out + n, 96 - (size_t)n, " by %.4g", r->factor);
    }
    if (s->rope_interleaved && n > 0 && n < 80) { (void)snprintf(out + n, 96 - (size_t)n, ", interleaved"); }
    return out;
}

/* ---- weights ---- */

typedef struct weights {
    bool present;
    char digest[65];
} weights;

static fmp_status look_at_weights(const fmp_cli *cli, const char *path, weights *w, fmp_err *err)
{
    const fmp_model_options o = {.n_threads = 1};
    fmp_model *m = NULL;
    struct stat st;
    bool is_dir = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    char *single = fmp_path_join(path, "model.safetensors"),
         *index = fmp_path_join(path, "model.safetensors.index.json");
    bool has = is_dir && single && index && (fmp_path_exists(single) || fmp_path_exists(index));
    free(single);
    free(index);
    if (is_dir ? !has : strlen(path) > 5 && strcmp(path + strlen(path) - 5, ".json") == 0) { return FMP_OK; }
    FMP_TRY(fmp_model_open(path, &o, &m, err)); /* every name and shape, every value finite */
    w->present = true;
    fmp_status status = FMP_OK;
    if (fmp_cli_option_value(cli, "digest")) { status = fmp_model_digest(m, w->digest, err); }
    fmp_model_free(m);
    return status;
}

/* ---- output ---- */

static void print_text(const fmp_model_spec *s, const fmp_model_size *size, const weights *w,
                       const char *lora)
{
    char a[32], b[32], rope[96];
    fmp_outf("%s · %u layers · %u channels · %u heads of %u, %u for keys and values · feed-forward %u · "
             "vocabulary %s\n",
             s->model_type, s->n_layers, s->n_channels, s->n_heads, s->head_size, s->n_kv_heads, s->n_ff,
             fmp_group_digits(s->vocab_size, a));
    fmp_outf(" positions  %s, RoPE %s\n", fmp_group_digits(fmp_spec_positions(s), a), rope_text(s, rope));
    each_kind(s, NULL);
    fmp_outf(" parameters %s in %s tensors%s\n", fmp_group_digits(size->n_params, a),
             fmp_group_digits(size->n_tensors, b), s->tied ? ", the head is the embedding" : "");
    if (lora) {
        fmp_outf(" lora       %s in %s tensors, rank %s; with the model's %s\n",
                 fmp_group_digits(size->n_lora_params, a), fmp_group_digits(size->n_lora_tensors, b), lora,
                 fmp_group_digits(size->n_params + size->n_lora_params, (char[32]){0}));
    }
    fmp_outf(" cache      %s a token of text in f32\n", fmp_human_bytes((double)size->kv_values * 4.0, a));
    fmp_outf(" weights    %s\n", w->present ? "all there, of the right shapes, finite" : "none here");
    if (*w->digest) { fmp_outf(" digest     sha256:%s\n", w->digest); }
}

static void print_json(const fmp_model_spec *s, const fmp_model_size *size, const weights *w, bool lora)
{
    cJSON *line = cJSON_CreateObject();
    cJSON_AddNumberToObject(line, "v", 1);
    cJSON_AddStringToObject(line, "model_type", s->model_type);
    const struct {
        const char *name;
        double n;
    } sizes[] = {{"layers", s->n_layers},
                 {"channels", s->n_channels},
                 {"heads", s->n_heads},
                 {"kv_heads", s->n_kv_heads},
                 {"head_size", s->head_size},
                 {"ff", s->n_ff},
                 {"vocab", s->vocab_size},
                 {"positions", fmp_spec_positions(s)},
                 {"tensors", (double)size->n_tensors},
                 {"params", (double)size->n_params},
                 {"kv_values", (double)size->kv_values}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        cJSON_AddNumberToObject(line, sizes[i].name, sizes[i].n);
    }
    cJSON_AddBoolToObject(line, "tied", s->tied);
    if (lora) {
        cJSON_AddNumberToObject(line, "lora_tensors", (double)size->n_lora_tensors);
        cJSON_AddNumberToObject(line, "lora_params", (double)size->n_lora_params);
    }
    each_kind(s, cJSON_AddArrayToObject(line, "layer_kinds"));
    cJSON_AddBoolToObject(line, "weights", w->present);
    if (*w->digest) { cJSON_AddStringToObject(line, "digest", w->digest); }
    fmp_out_json(line);
}

int fmp_model_cmd_inspect(const fmp_cli *cli)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_model_spec spec;
    fmp_model_size size;
    weights w = {0};
    uint64_t rank = 0;
    if (cli->n_operands != 2) { return fmp_cli_usage(cli, NULL, "inspect needs one model"); }
    if (!fmp_cli_number(cli, "lora", 1024, &rank)) { return FMP_EXIT_USAGE; }
    const char *const targets[] = {"all-linear"};
    const fmp_adapter_options lora = {
        .rank = (uint32_t)rank, .alpha = 1.0, .targets = targets, .n_targets = 1};
    fmp_status status = fmp_spec_load(cli->operands[1], &spec, &err);
    if (status != FMP_OK) { return fmp_cli_fail(cli, &err); }
    status = fmp_spec_measure(&spec, rank ? &lora : NULL, &size, &err);
    if (status == FMP_OK) { status = look_at_weights(cli, cli->operands[1], &w, &err); }
    if (status == FMP_OK && cli->json) { print_json(&spec, &size, &w, rank > 0); }
    if (status == FMP_OK && !cli->json) {
        print_text(&spec, &size, &w, rank ? fmp_cli_option_value(cli, "lora") : NULL);
    }
    fmp_spec_free(&spec);
    return status == FMP_OK ? 0 : fmp_cli_fail(cli, &err);
}
