/* links: fmbase fmtext */
/* Tokenizers on real files of every kind in the shared data: published ids, round trips, one vocabulary in several formats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fmpipe/fs.h>
#include <fmpipe/json.h>
#include <fmpipe/tokenizer.h>

#include <stdlib.h>

/* A path in the shared data, or NULL with a message. */
static const char *shared(const char *name)
{
    static char path[512];
    const char *base = getenv("FMP_SHARED_DATA");
    snprintf(path, sizeof path, "%s/%s", base ? base : "", name);
    if (base && fmp_path_exists(path)) { return path; }
    print_message("skipped: FMP_SHARED_DATA has no %s\n", name);
    return NULL;
}

static fmp_tokenizer *load(const char *path)
{
    fmp_tokenizer *tok = NULL;
    fmp_err err = FMP_ERR_INIT;
    if (fmp_tokenizer_load(path, &tok, &err) != FMP_OK) { fail_msg("%s: %s", path, err.message); }
    return tok;
}

static void encode(const fmp_tokenizer *tok, const char *text, size_t len, unsigned flags,
                   fmp_token_list *out)
{
    fmp_tok_scratch *scratch = fmp_tok_scratch_new();
    fmp_err err = FMP_ERR_INIT;
    if (fmp_tokenizer_encode(tok, scratch, text, len, flags, out, &err) != FMP_OK) {
        fail_msg("%s", err.message);
    }
    fmp_tok_scratch_free(scratch);
}

/* ---- llama.cpp: texts between separators, a line of ids for each ---- */
#define SEPARATOR "\n__ggml_vocab_test__\n"

static size_t read_ids(char **line, uint32_t *ids, size_t room)
{
    size_t n = 0;
    char *p = *line;
    while (*p == ' ') {
        assert_true(n < room);
        ids[n++] = (uint32_t)strtoul(p, &p, 10);
    }
    *line = *p == '\n' ? p + 1 : p;
    return n;
}

static void check_llama_cpp(const char *name)
{
    char file[128];
    uint32_t ids[1024];
    fmp_buf in = {0}, out = {0};
    const char *path = shared(name);
    if (!path) { skip(); }
    fmp_tokenizer *tok = load(path);
    snprintf(file, sizeof file, "%s.inp", name);
    assert_int_equal(fmp_read_file(shared(file), 0, &in, NULL), FMP_OK);
    snprintf(file, sizeof file, "%s.out", name);
    assert_int_equal(fmp_read_file(shared(file), 0, &out, NULL), FMP_OK);
    size_t n_texts = 0;
    char *line = out.data;
    for (char *text = in.data; text; n_texts++) {
        char *end = strstr(text, SEPARATOR);
        size_t len = end ? (size_t)(end - text) : strlen(text), n = read_ids(&line, ids, 1024);
        fmp_token_list list = {0};
        encode(tok, text, len, FMP_TOK_PLAIN, &list);
        if (list.n != n || (n > 0 && memcmp(list.ids, ids, n * sizeof *ids) != 0)) {
            fail_msg("%s: text %zu: other ids", name, n_texts);
        }
        fmp_token_list_free(&list);
        text = end ? end + strlen(SEPARATOR) : NULL;
    }
    assert_true(n_texts > 40);
    fmp_buf_free(&in);
    fmp_buf_free(&out);
    fmp_tokenizer_free(tok);
}

static void gguf_vocabularies_give_the_ids_of_llama_cpp(void **state)
{
    (void)state;
    check_llama_cpp("llamacpp-vocab/ggml-vocab-gpt-2.gguf");
    check_llama_cpp("llamacpp-vocab/ggml-vocab-falcon.gguf");
    check_llama_cpp("llamacpp-vocab/ggml-vocab-llama-spm.gguf");
    check_llama_cpp("llamacpp-vocab/ggml-vocab-phi-3.gguf");
}

/* ---- goldens: {model: {case: {text, ids}}} ---- */
/* JSON here has no NUL, and one golden text has: it travels as U+E000, "\\ue000". Returns the text's length. */
static size_t put_back_nul(const char *text, char *out)
{
    size_t n = 0;
    for (; *text; n++) {
        bool nul = strncmp(text, "\xEE\x80\x80", 3) == 0;
        out[n] = nul ? '\0' : *text;
        text += nul ? 3 : 1;
    }
    return n;
}

static cJSON *load_golden(const char *path)
{
    fmp_buf text = {0};
    fmp_err err = FMP_ERR_INIT;
    cJSON *all = NULL;
    assert_int_equal(fmp_read_file(path, 0, &text, NULL), FMP_OK);
    for (char *p = text.data; (p = strstr(p, "\\u0000")) != NULL;) {
        memcpy(p, "\\ue000", 6);
    }
    if (fmp_json_parse(text.data, text.len, NULL, &all, &err) != FMP_OK) {
        fail_msg("%s: %s", path, err.message);
    }
    fmp_buf_free(&text);
    return all;
}

/* skip: how many ids in front are not the tokenizer's own doing (a bos that transformers adds). */
static void check_golden(const char *file, const char *golden, const char *model, unsigned flags,
                         int skip_ids)
{
    char text[8192];
    const char *path = shared(file);
    if (!path) { skip(); }
    fmp_tokenizer *tok = load(path);
    path = shared(golden);
    if (!path) { skip(); }
    cJSON *all = load_golden(path);
    const cJSON *one, *cases = fmp_json_get(all, model);
    size_t n_cases = 0;
    cJSON_ArrayForEach(one, cases)
    {
        const cJSON *ids = fmp_json_get(one, "ids");
        const char *spelled = fmp_json_str(one, "text", "");
        fmp_token_list list = {0};
        assert_true(strlen(spelled) < sizeof text);
        encode(tok, text, put_back_nul(spelled, text), flags, &list);
        bool same = (int)list.n == cJSON_GetArraySize(ids) - skip_ids;
        for (size_t k = 0; same && k < list.n; k++) {
            same = list.ids[k] == (uint32_t)cJSON_GetArrayItem(ids, (int)k + skip_ids)->valuedouble;
        }
        if (!same) { fail_msg("%s, %s: other ids", file, one->string); }
        fmp_token_list_free(&list);
        n_cases++;
    }
    assert_true(n_cases > 0);
    cJSON_Delete(all);
    fmp_tokenizer_free(tok);
}

static void one_vocabulary_in_every_format_gives_the_published_ids(void **state)
{
    (void)state;
    const unsigned special = FMP_TOK_SPECIAL, both = FMP_TOK_SPECIAL | FMP_TOK_TEMPLATE;
    check_golden("tokenizers/hf-gpt2/gpt2.json", "tokenizer-golden/gpt2.json", "Xenova/gpt2", special, 0);
    check_golden("tokenizers/openai-tiktoken/gpt2.tiktoken", "tokenizer-golden/gpt2.json", "Xenova/gpt2",
                 special, 0);
    check_golden("tokenizers/openai-gpt2/encoder.json", "tokenizer-golden/gpt2.json", "Xenova/gpt2", special,
                 0);
    check_golden("tokenizers/openai-gpt2", "tokenizer-golden/gpt2.json", "Xenova/gpt2", special, 0);
    check_golden("llamacpp-vocab/ggml-vocab-gpt-2.gguf", "tokenizer-golden/gpt2.json", "Xenova/gpt2", special,
                 0);
    check_golden("tokenizers/openai-tiktoken/cl100k_base.tiktoken", "tokenizer-golden/gpt2.json",
                 "Xenova/gpt-4", special, 0);
    check_golden("tokenizers/openai-tiktoken/o200k_base.tiktoken", "tokenizer-golden/gpt2.json",
                 "Xenova/gpt-4o", special, 0);
    check_golden("tokenizers/hf-misc/falcon-tokenizer/tokenizer.json", "tokenizer-golden/falcon.json",
                 "tiiuae/falcon-7b", special, 0);
    check_golden("llamacpp-vocab/ggml-vocab-llama-spm.gguf", "tokenizer-golden/llama.json",
                 "Xenova/llama-tokenizer", both, 0);
}

static void a_sentencepiece_model_gives_the_ids_of_its_tokenizer_json(void **state)
{
    (void)state;
    check_golden("tokenizers/sentencepiece-llama2/tokenizer.model", "tokenizer-golden/llama.json",
                 "Xenova/llama-tokenizer", FMP_TOK_PLAIN, 1);
    check_golden("tokenizers/hf-misc/phi-3/tokenizer.json", "tokenizer-golden/llama.json",
                 "Xenova/llama-tokenizer", FMP_TOK_PLAIN, 1);
}

/* ---- round trips ---- */
static void check_round_trip(const char *file, const char *sample, bool *any)
{
    const char *path = shared(file);
    if (!path) { return; }
    fmp_tokenizer *tok = load(path);
    fmp_token_list list = {0};
    fmp_buf whole = {0}, streamed = {0};
    fmp_tok_stream stream = {.started = false};
    encode(tok, sample, strlen(sample), FMP_TOK_PLAIN, &list);
    assert_int_equal(list.begin[0], 0);
    assert_int_equal(list.end[list.n - 1], strlen(sample));
    for (size_t i = 0; i < list.n; i++) {
        assert_false(fmp_tokenizer_is_special(tok, list.ids[i]));
        assert_int_equal(fmp_tok_stream_push(tok, &stream, list.ids[i], 0, &streamed, NULL), FMP_OK);
    }
    assert_int_equal(fmp_tok_stream_end(&stream, &streamed, NULL), FMP_OK);
    assert_int_equal(fmp_tokenizer_decode(tok, list.ids, list.n, 0, &whole, NULL), FMP_OK);
    if (strcmp(whole.data, sample) != 0) { fail_msg("%s: %s", file, whole.data); }
    assert_string_equal(streamed.data, sample);
    fmp_buf_free(&whole);
    fmp_buf_free(&streamed);
    fmp_token_list_free(&list);
    fmp_tokenizer_free(tok);
    *any = true;
}

static void texts_come_back_from_vocabularies_with_all_bytes(void **state)
{
    (void)state;
    static const char sample[] =
        "Caf\xC3\xA9 \xE6\x9D\xB1\xE4\xBA\xAC 42\n\n  {\"a\": [1, 2]} \xF0\x9F\x98\x80 <s>it's</s>.\t";
    static const char *const files[] = {
        "tokenizers/openai-tiktoken/o200k_base.tiktoken",
        "tokenizers/openai-tiktoken/p50k_base.tiktoken",
        "tokenizers/hf-gpt-neox-20b/20B_tokenizer.json",
        "tokenizers/hf-misc/phi-2",
        "tokenizers/hf-misc/phi-3",
        "tokenizers/sentencepiece-llama2",
        "tokenizers/sentencepiece-mistral/tokenizer.model.v1",
        "tokenizers/sentencepiece-mistral/mistral_instruct_tokenizer_240216.model.v2",
        "tokenizers/sentencepiece-mistral/mistral_instruct_tokenizer_240323.model.v3",
        "tokenizers/sentencepiece-mistral/mistral_instruct_tokenizer_241114.model.v7",
        "llamacpp-vocab/ggml-vocab-llama-spm.gguf",
        "llamacpp-vocab/ggml-vocab-gpt-2.gguf",
        "stories260k/tok512.bin",
    };
    bool any = false;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        check_round_trip(files[i], sample, &any);
    }
    if (!any) { skip(); }
}

/* Ids that sentencepiece 0.2.3 gives; the models have NFKC rules and unknown characters. */
static void unigram_models_normalize_and_choose_as_sentencepiece(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t ids[16];
        size_t n;
    } cases[] = {
        {"Hello world", {151, 88, 21, 887}, 4},
        {"  two  spaces ", {213, 273, 19, 135, 8}, 5},
        {"\xEF"
         "\xBC"
         "\xA1"
         "\xEF"
         "\xBC"
         "\xA2"
         "\xEF"
         "\xBC"
         "\xA3"
         " \xE2"
         "\x91"
         "\xA0"
         " \xEF"
         "\xAC"
         "\x81"
         "ne",
         {104, 540, 381, 4, 357, 706},
         6},
        {"I saw a girl with a telescope.", {9, 459, 11, 939, 44, 11, 4, 142, 82, 8, 28, 21, 132, 6}, 14},
        {"\xF0"
         "\x9F"
         "\x98"
         "\x80"
         "\xF0"
         "\x9F"
         "\x98"
         "\x80"
         " x\xE7"
         "\x8C"
         "\xAB"
         "\xE7"
         "\x8C"
         "\xAB"
         "y",
         {4, 0, 4, 297, 0, 34},
         6},
        {"", {0}, 0},
    };
    const char *path = shared("tokenizers/sentencepiece-google/python/test/test_model.model");
    if (!path) { skip(); }
    fmp_tokenizer *tok = load(path);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fmp_token_list list = {0};
        encode(tok, cases[i].text, strlen(cases[i].text), FMP_TOK_PLAIN, &list);
        assert_int_equal(list.n, cases[i].n);
        if (list.n > 0) { assert_memory_equal(list.ids, cases[i].ids, cases[i].n * sizeof *cases[i].ids); }
        fmp_token_list_free(&list);
    }
    fmp_tokenizer_free(tok);
}

/* The reference program's own encoding of its test prompt, after bos. */
static void llama2c_vocabularies_merge_by_score(void **state)
{
    (void)state;
    static const uint32_t ids[] = {1, 403, 407, 261,
                                   378}; /* <s> where the tokenizer's template is asked for */
    const char *path = shared("stories260k/tok512.bin");
    if (!path) { skip(); }
    fmp_tokenizer *tok = load(path);
    fmp_token_list list = {0};
    encode(tok, "Once upon a time", 16, FMP_TOK_PLAIN, &list);
    assert_int_equal(list.n, sizeof ids / sizeof *ids - 1);
    assert_memory_equal(list.ids, ids + 1, sizeof ids - sizeof *ids);
    list.n = 0;
    encode(tok, "Once upon a time", 16, FMP_TOK_TEMPLATE, &list);
    assert_int_equal(list.n, sizeof ids / sizeof *ids);
    assert_memory_equal(list.ids, ids, sizeof ids);
    assert_int_equal(fmp_tokenizer_bos(tok), 1);
    fmp_token_list_free(&list);
    fmp_tokenizer_free(tok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gguf_vocabularies_give_the_ids_of_llama_cpp),
        cmocka_unit_test(one_vocabulary_in_every_format_gives_the_published_ids),
        cmocka_unit_test(a_sentencepiece_model_gives_the_ids_of_its_tokenizer_json),
        cmocka_unit_test(texts_come_back_from_vocabularies_with_all_bytes),
        cmocka_unit_test(unigram_models_normalize_and_choose_as_sentencepiece),
        cmocka_unit_test(llama2c_vocabularies_merge_by_score),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
