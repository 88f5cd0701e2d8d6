/* links: fmbase fmmodel */
/*
 * test_text_part.c: the text decoder of a model that also sees: found under text_config, with what that leaves out, its tensors
 * under either prefix that files have; and what is refused.
 */
#include "model_test.h"

#include <fmpipe/fs.h>
#include <fmpipe/json.h>
#include <stdlib.h>
#include <unistd.h>

static const fmp_model_options options = {.n_threads = 1};
static char dir[64];

static char *in_dir(const char *name)
{
    char *path = fmp_path_join(dir, name);
    assert_non_null(path);
    return path;
}

static void write_text(const char *folder, const char *name, const char *text)
{
    fmp_err err = FMP_ERR_INIT;
    char *path = fmp_path_join(folder, name);
    OK(fmp_write_file(path, text, strlen(text), &err));
    free(path);
}

/* The folder's config.json as text_config of a `type`. */
static void wrap_config(const char *from, const char *to, const char *type, const char *inner_type)
{
    fmp_err err = FMP_ERR_INIT;
    cJSON *text = NULL, *outer = cJSON_CreateObject();
    char *path = fmp_path_join(from, "config.json");
    OK(fmp_json_load(path, NULL, &text, &err));
    if (inner_type) {
        cJSON_ReplaceItemInObjectCaseSensitive(text, "model_type", cJSON_CreateString(inner_type));
    }
    cJSON_ReplaceItemInObjectCaseSensitive(text, "tie_word_embeddings", cJSON_CreateFalse()); /* outer wins */
    cJSON_AddStringToObject(outer, "model_type", type);
    cJSON_AddTrueToObject(outer, "tie_word_embeddings");
    cJSON_AddItemToObject(outer, "text_config", text);
    cJSON_AddObjectToObject(outer, "vision_config");
    char *whole = fmp_json_text(outer, FMP_JSON_COMPACT);
    write_text(to, "config.json", whole);
    free(whole);
    free(path);
    cJSON_Delete(outer);
}

/* model.safetensors of `from` with other names, and two tensors of a vision tower. */
static void wrap_tensors(const char *from, const char *to, const char *prefix, const char *more)
{
    enum { MOST = 128 };
    static fmp_tensor_src src[MOST];
    static char names[MOST][128];
    static const float pixel[4] = {1, 2, 3, 4};
    fmp_err err = FMP_ERR_INIT;
    fmp_tensors *in = NULL;
    char *path = fmp_path_join(to, "model.safetensors");
    OK(fmp_tensors_open(from, &in, &err));
    size_t n = fmp_tensors_count(in);
    assert_true(n + 2 <= MOST);
    for (size_t i = 0; i < n; i++) {
        const fmp_tensor *t = fmp_tensors_at(in, i);
        bool inside = strncmp(prefix, "model.", 6) == 0 && strncmp(t->name, "model.", 6) == 0;
        (void)snprintf(names[i], sizeof names[i], "%s%s", prefix, t->name + (inside ? 6 : 0));
        src[i] = (fmp_tensor_src){
            .name = names[i], .dtype = FMP_DTYPE_F32, .n_dims = t->n_dims, .data = (const void *)t->data};
        memcpy(src[i].shape, t->shape, sizeof src[i].shape);
    }
    src[n++] =
        (fmp_tensor_src){.name = "vision_tower.patch.weight", .n_dims = 1, .shape = {4}, .data = pixel};
    src[n++] = (fmp_tensor_src){.name = more, .n_dims = 1, .shape = {4}, .data = pixel};
    src[n - 1].dtype = src[n - 2].dtype = FMP_DTYPE_F32;
    OK(fmp_tensors_write(path, src, n, &err));
    fmp_tensors_close(in);
    free(path);
}

static void digest_of(const char *folder, char hex[65])
{
    fmp_err err = FMP_ERR_INIT;
    fmp_model *m = NULL;
    OK(fmp_model_open(folder, &options, &m, &err));
    OK(fmp_model_digest(m, hex, &err));
    fmp_model_free(m);
}

static char *make_text_model(const char *family)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_model *m = NULL;
    fmp_model_spec spec = tiny_spec(family, 3, 48);
    spec.rope[1].theta = strncmp(family, "gemma", 5) == 0 ? 10000.0 : 0.0;
    char *folder = in_dir(family);
    OK(fmp_model_new(&spec, 7, &options, &m, &err));
    OK(fmp_model_save(m, NULL, folder, FMP_DTYPE_F32, &err));
    fmp_model_free(m);
    return folder;
}

static void the_decoder_inside_is_the_one_that_stands_alone(void **state)
{
    (void)state;
    static const char *const types[][2] = {{"gemma3", "gemma3_text"}, {"mistral3", "mistral"}};
    static const char *const prefixes[] = {"language_model.", "model.language_model.", ""};
    fmp_err err = FMP_ERR_INIT;
    for (int k = 0; k < 2; k++) {
        char *alone = make_text_model(types[k][1]), *whole = in_dir("whole"), *saved = in_dir("saved"),
             want[65], got[65];
        digest_of(alone, want);
        for (int i = 0; i < 3; i++) {
            OK(fmp_remove_tree(whole, &err));
            OK(fmp_mkdirs(whole, &err));
            wrap_config(alone, whole, types[k][0], NULL);
            wrap_tensors(alone, whole, prefixes[i],
                         i == 1 ? "model.multi_modal_projector.a" : "multi_modal_projector.a");
            digest_of(whole, got);
            assert_string_equal(want, got);
        }
        fmp_model *m = NULL; /* what is saved is the decoder alone */
        OK(fmp_remove_tree(saved, &err));
        OK(fmp_model_open(whole, &options, &m, &err));
        OK(fmp_model_save(m, NULL, saved, FMP_DTYPE_F32, &err));
        fmp_model_free(m);
        digest_of(saved, got);
        assert_string_equal(want, got);
        cJSON *config = NULL;
        char *path = fmp_path_join(saved, "config.json");
        OK(fmp_json_load(path, NULL, &config, &err));
        assert_string_equal(fmp_json_str(config, "model_type", ""), types[k][1]);
        assert_null(fmp_json_get(config, "text_config"));
        cJSON_Delete(config);
        free(path);
        free(alone);
        free(whole);
        free(saved);
    }
}

/* As the published file of Gemma 3 with 4 billion parameters says it. */
static void what_a_text_config_leaves_out_is_its_class_default(void **state)
{
    (void)state;
    static const char text[] =
        "{\"architectures\":[\"Gemma3ForConditionalGeneration\"],\"eos_token_id\":[1,106],\"model_type\":"
        "\"gemma3\","
        "\"text_config\":{\"hidden_size\":2560,\"intermediate_size\":10240,\"model_type\":\"gemma3_text\","
        "\"num_hidden_layers\":34,\"rope_scaling\":{\"factor\":8.0,\"rope_type\":\"linear\"},\"sliding_"
        "window\":1024},"
        "\"vision_config\":{\"hidden_size\":1152}}";
    fmp_err err = FMP_ERR_INIT;
    fmp_model_spec s;
    fmp_model_size size;
    OK(fmp_spec_parse(text, sizeof text - 1, &s, &err));
    assert_string_equal(s.model_type, "gemma3_text");
    assert_int_equal(s.n_heads, 8);
    assert_int_equal(s.n_kv_heads, 4);
    assert_int_equal(s.head_size, 256);
    assert_int_equal(s.max_positions, 131072);
    assert_int_equal(s.eos_id, 1);
    assert_true(s.tied);
    assert_int_equal(s.layers[4].window, 1024);
    assert_int_equal(s.layers[5].window, 0);
    OK(fmp_spec_measure(&s, NULL, &size, &err));
    assert_int_equal(size.n_params, 3880263168); /* 4.3 G with its vision tower */
    fmp_spec_free(&s);
}

static void other_models_that_see_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"{\"model_type\":\"llama4\",\"text_config\":{\"model_type\":\"llama4_text\"}}", "found 'llama4'"},
        {"{\"model_type\":\"gemma3\",\"text_config\":{\"model_type\":\"gemma3n_text\",\"hidden_size\":8}}",
         "expected gemma3_text, found 'gemma3n_text'"},
        {"{\"model_type\":\"gemma3\"}", "found 'gemma3'"},
        {"{\"model_type\":\"mistral3\",\"text_config\":{\"model_type\":\"mistral\"},\"quantization_config\":{"
         "\"bits\":4}}",
         "'quantization_config' is set"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fmp_err err = FMP_ERR_INIT;
        fmp_model_spec s;
        assert_int_equal(fmp_spec_parse(cases[i].text, strlen(cases[i].text), &s, &err), FMP_E_UNSUPPORTED);
        if (!strstr(err.message, cases[i].message)) { fail_msg("case %zu: %s", i, err.message); }
        fmp_spec_free(&s);
    }
}

static void a_tensor_of_neither_part_is_an_error(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    fmp_model *m = NULL;
    char *alone = make_text_model("gemma3_text"), *whole = in_dir("odd");
    OK(fmp_mkdirs(whole, &err));
    wrap_config(alone, whole, "gemma3", NULL);
    wrap_tensors(alone, whole, "language_model.", "audio_tower.weight");
    assert_int_equal(fmp_model_open(whole, &options, &m, &err), FMP_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "'audio_tower.weight' has no place"));
    free(alone);
    free(whole);
}

static int set_up(void **state)
{
    (void)state;
    fmp_json_install_hooks();
    (void)snprintf(dir, sizeof dir, "%s", "/tmp/fmp_test_text.XXXXXX");
    return mkdtemp(dir) ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    fmp_err err = FMP_ERR_INIT;
    return fmp_remove_tree(dir, &err) == FMP_OK ? 0 : 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_decoder_inside_is_the_one_that_stands_alone),
        cmocka_unit_test(what_a_text_config_leaves_out_is_its_class_default),
        cmocka_unit_test(other_models_that_see_are_refused_by_name),
        cmocka_unit_test(a_tensor_of_neither_part_is_an_error),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
