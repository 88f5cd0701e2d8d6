/* links: fmbase fmtext */
/* Tokenizers: exact ids on real files, no injection, offsets, hostile files, training. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fmpipe/fs.h>
#include <fmpipe/json.h>
#include <fmpipe/tokenizer.h>

#include <stdlib.h>
#include <unistd.h>

static char root[] = "/tmp/fmp-test-tokenizer-XXXXXX";

static int make_root(void **state)
{
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    return fmp_remove_tree(root, NULL) == FMP_OK ? 0 : -1;
}

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
    if (fmp_tokenizer_load(path, &tok, &err) != FMP_OK) { fail_msg("%s", err.message); }
    return tok;
}

static void encode(const fmp_tokenizer *tok, const char *text, unsigned flags, fmp_token_list *out)
{
    fmp_tok_scratch *scratch = fmp_tok_scratch_new();
    fmp_err err = FMP_ERR_INIT;
    if (fmp_tokenizer_encode(tok, scratch, text, strlen(text), flags, out, &err) != FMP_OK) {
        fail_msg("%s", err.message);
    }
    fmp_tok_scratch_free(scratch);
}

static void assert_partition(const fmp_token_list *list, size_t len)
{
    uint32_t at = 0;
    for (size_t i = 0; i < list->n; i++) {
        assert_int_equal(list->begin[i], at);
        assert_true(list->end[i] >= at);
        at = list->end[i];
    }
    assert_int_equal(at, len);
}

/* ---- small tokenizers made here ---- */
#define ADDED                                                                                                \
    "[{\"id\":6,\"content\":\"<s>\",\"special\":true,\"normalized\":false},"                                 \
    "{\"id\":7,\"content\":\"<x>\",\"special\":false,\"normalized\":false,\"lstrip\":true}]"
#define FILE_OF(norm, pre, model)                                                                            \
    "{\"added_tokens\":" ADDED ",\"normalizer\":" norm ",\"pre_tokenizer\":" pre ",\"post_processor\":null," \
    "\"decoder\":null,\"model\":" model "}"
#define MODEL                                                                                                \
    "{\"type\":\"BPE\",\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"a\":1,\"b\":2,\"ab\":3,\"<\":4,\"<s\":5,\"<" \
    "s>\":6,"                                                                                                \
    "\"s\":8,\">\":9,\"s>\":10,\" \":11,\"\xC3\xA9\":12},\"merges\":[\"a b\",\"< s\",[\"<s\",\">\"],\"s "    \
    ">\"]}"

static fmp_tokenizer *parse(const char *text)
{
    fmp_tokenizer *tok = NULL;
    fmp_err err = FMP_ERR_INIT;
    if (fmp_tokenizer_parse(text, strlen(text), "test", &tok, &err) != FMP_OK) {
        fail_msg("%s", err.message);
    }
    return tok;
}

static void assert_ids(const fmp_tokenizer *tok, const char *text, unsigned flags, size_t n,
                       const uint32_t *ids)
{
    fmp_token_list list = {0};
    encode(tok, text, flags, &list);
    assert_int_equal(list.n, n);
    if (n > 0) { assert_memory_equal(list.ids, ids, n * sizeof *ids); }
    fmp_token_list_free(&list);
}

static void special_tokens_never_come_out_of_plain_text(void **state)
{
    (void)state;
    fmp_tokenizer *tok = parse(FILE_OF("null", "null", MODEL));
    assert_true(fmp_tokenizer_is_special(tok, 6));
    assert_ids(tok, "a<s>ab", FMP_TOK_SPECIAL, 3, (const uint32_t[]){1, 6, 3});
    assert_ids(tok, "a<s>ab", FMP_TOK_PLAIN, 4,
               (const uint32_t[]){1, 5, 9, 3}); /* merges "< s", never "<s >" */
    assert_ids(tok, "a <x>b", FMP_TOK_PLAIN, 3,
               (const uint32_t[]){1, 7, 2}); /* not special: recognised     */
    fmp_tokenizer_free(tok);
}

static void offsets_follow_normalization_back_to_the_input(void **state)
{
    (void)state;
    fmp_tokenizer *tok = parse(FILE_OF("{\"type\":\"NFC\"}", "null", MODEL));
    fmp_token_list list = {0};
    encode(tok, "ae\xCC\x81 b", FMP_TOK_PLAIN, &list); /* e + combining acute becomes one character */
    static const uint32_t ids[] = {1, 12, 11, 2}, end[] = {1, 4, 5, 6};
    assert_int_equal(list.n, 4);
    assert_memory_equal(list.ids, ids, sizeof ids);
    assert_memory_equal(list.end, end, sizeof end);
    assert_partition(&list, 6);
    fmp_token_list_free(&list);
    fmp_tokenizer_free(tok);
}

static void split_behaviors_place_matches_as_named(void **state)
{
    (void)state;
#define SPLIT(b) "{\"type\":\"Split\",\"pattern\":{\"String\":\"b\"},\"behavior\":\"" b "\",\"invert\":false}"
    static const struct {
        const char *file;
        size_t n;
        uint32_t ids[6];
    } cases[] = {
        {FILE_OF("null", SPLIT("Isolated"), MODEL), 4, {1, 2, 2, 1}},
        {FILE_OF("null", SPLIT("Removed"), MODEL), 2, {1, 1}},
        {FILE_OF("null", SPLIT("MergedWithPrevious"), MODEL), 3, {3, 2, 1}},
        {FILE_OF("null", SPLIT("MergedWithNext"), MODEL), 4, {1, 2, 2, 1}},
        {FILE_OF("null", SPLIT("Contiguous"), MODEL), 4, {1, 2, 2, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fmp_tokenizer *tok = parse(cases[i].file);
        assert_ids(tok, "abba", FMP_TOK_PLAIN, cases[i].n, cases[i].ids);
        fmp_tokenizer_free(tok);
    }
}

static void files_that_lie_are_refused_with_the_place(void **state)
{
    (void)state;
#define BPE(vocab, merges) "{\"model\":{\"type\":\"BPE\",\"vocab\":" vocab ",\"merges\":" merges "}}"
    static const struct {
        const char *text;
        fmp_status status;
        const char *message;
    } bad[] = {
        {"[]", FMP_E_DATA, "model: expected an object"},
        {"{\"model\":{\"type\":\"Bigram\",\"vocab\":{}}}", FMP_E_UNSUPPORTED,
         "model \"Bigram\" is not supported"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":{}}}", FMP_E_DATA,
         "model.vocab: expected an array, found an object"},
        {BPE("[]", "[]"), FMP_E_DATA, "model.vocab: expected an object, found an array"},
        {BPE("{}", "[]"), FMP_E_RANGE, "model.vocab: expected 1 to"},
        {BPE("{\"a\":-1}", "[]"), FMP_E_RANGE, "model.vocab[\"a\"]: expected a whole number"},
        {BPE("{\"a\":0.5}", "[]"), FMP_E_DATA, "expected a whole number, found 0.5"},
        {BPE("{\"a\":4000000000}", "[]"), FMP_E_RANGE, "found 4000000000"},
        {BPE("{\"a\":\"0\"}", "[]"), FMP_E_DATA, "found a string"},
        {BPE("{\"a\":0,\"b\":0}", "[]"), FMP_E_DATA, "id 0 is used twice"},
        {BPE("{\"a\":0}", "{}"), FMP_E_DATA, "model.merges: expected an array"},
        {BPE("{\"a\":0}", "[\"a a\"]"), FMP_E_DATA, "model.merges[0]"},
        {BPE("{\"a\":0,\"aa\":1}", "[\"a a\",\"a a\"]"), FMP_E_DATA, "merged twice"},
        {BPE("{\"a\":0}", "[\"aa\"]"), FMP_E_DATA, "one space between"},
        {BPE("{\"a\":0}", "[[\"a\"]]"), FMP_E_DATA, "model.merges[0]: expected"},
        {"{\"model\":{\"type\":\"BPE\",\"dropout\":0.1,\"vocab\":{\"a\":0},\"merges\":[]}}",
         FMP_E_UNSUPPORTED, "model.dropout"},
        {"{\"normalizer\":{\"type\":\"Magic\"},\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}",
         FMP_E_UNSUPPORTED, "normalizer.type"},
        {"{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"UnicodeScripts\"}]},"
         "\"model\":{\"vocab\":{\"a\":0},"
         "\"merges\":[]}}",
         FMP_E_UNSUPPORTED, "pre_tokenizer.pretokenizers[0].type"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"},"
         "\"model\":{\"vocab\":"
         "{\"a\":0},\"merges\":[]}}",
         FMP_E_DATA, "does not compile"},
        {"{\"added_tokens\":[{\"id\":1,\"content\":\"x\"},{\"id\":1,\"content\":\"y\"}],\"model\":{\"vocab\":"
         "{\"a\":0},"
         "\"merges\":[]}}",
         FMP_E_DATA, "id 1 is used twice"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a&&[b]]\"},\"behavior\":"
         "\"Isolated\"},"
         "\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}",
         FMP_E_UNSUPPORTED, "at byte 2 of the pattern"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a[^b]]\"},\"behavior\":"
         "\"Isolated\"},"
         "\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}",
         FMP_E_UNSUPPORTED, "at byte 2 of the pattern"},
        {"{\"added_tokens\":[{\"id\":5,\"content\":\"a\"}],\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}",
         FMP_E_DATA, "has id 0 already"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fmp_tokenizer *tok = NULL;
        fmp_err err = FMP_ERR_INIT;
        fmp_status status = fmp_tokenizer_parse(bad[i].text, strlen(bad[i].text), "bad.json", &tok, &err);
        if (status != bad[i].status || !strstr(err.message, bad[i].message)) {
            fail_msg("%s: status %d, %s", bad[i].text, (int)status, err.message);
        }
    }
}

static void streams_hold_back_unfinished_characters(void **state)
{
    (void)state;
    fmp_tokenizer *tok = parse(
        "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"model\":{\"type\":\"BPE\","
        "\"vocab\":{\"\xC3\x83\":0,\"\xC2\xA9\":1,\"a\":2},\"merges\":[]}}"); /* bytes C3, A9, 61 */
    fmp_tok_stream st = {0};
    fmp_buf out = {0};
    assert_int_equal(fmp_tok_stream_push(tok, &st, 0, 0, &out, NULL), FMP_OK);
    assert_int_equal(out.len, 0);
    assert_int_equal(fmp_tok_stream_push(tok, &st, 1, 0, &out, NULL), FMP_OK);
    assert_string_equal(out.data, "\xC3\xA9");
    assert_int_equal(fmp_tok_stream_push(tok, &st, 0, 0, &out, NULL), FMP_OK);
    assert_int_equal(fmp_tok_stream_push(tok, &st, 2, 0, &out, NULL), FMP_OK);
    assert_int_equal(fmp_tok_stream_push(tok, &st, 0, 0, &out, NULL), FMP_OK);
    assert_int_equal(fmp_tok_stream_end(&st, &out, NULL), FMP_OK);
    assert_string_equal(out.data, "\xC3\xA9\xEF\xBF\xBD"
                                  "a\xEF\xBF\xBD");
    assert_int_equal(fmp_tok_stream_push(tok, &st, 3, 0, &out, NULL), FMP_E_RANGE);
    fmp_buf_free(&out);
    fmp_tokenizer_free(tok);
}

/* ---- training ---- */
typedef struct texts {
    const char *const *v;
    size_t n, i;
} texts;

static fmp_status next_text(void *arg, const char **text, size_t *len, fmp_err *err)
{
    texts *t = arg;
    (void)err;
    *text = t->i < t->n ? t->v[t->i] : NULL;
    *len = *text ? strlen(*text) : 0;
    t->i++;
    return FMP_OK;
}

static const char *const special[] = {"<|pad|>", "<|end|>"};

static const char *train(const char *name, const char *const *v, size_t n, const char *pattern, uint32_t size)
{
    static char dir[128];
    texts t = {v, n, 0};
    fmp_err err = FMP_ERR_INIT;
    fmp_tok_train_options o = {.vocab_size = size,
                               .special = special,
                               .n_special = 2,
                               .pattern = pattern,
                               .eos = special[1],
                               .pad = special[0]};
    snprintf(dir, sizeof dir, "%s/%s", root, name);
    if (fmp_tokenizer_train(&o, next_text, &t, dir, &err) != FMP_OK) { fail_msg("%s", err.message); }
    return dir;
}

static const char *const sample[] = {
    "the cat sat on the mat, it's 42 degrees!\r\n\r\n  then the\tcat's hat<|end|>",
    "L'\xC3\xA9t\xC3\xA9 arrive\xE2\x80\xA6 \xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E "
    "\xF0\x9F\x91\x8D\xF0\x9F\x8F\xBD 2024",
    "don't WE'LL   \n x = {\"a\": [1, 23]};\xC2\xA0\xC5\xBF",
};

static void a_trained_tokenizer_loads_and_round_trips(void **state)
{
    (void)state;
    fmp_tokenizer *tok = load(train("a", sample, 3, NULL, 300));
    assert_int_equal(fmp_tokenizer_size(tok), 300);
    assert_int_equal(fmp_tokenizer_eos(tok), 1);
    assert_int_equal(fmp_tokenizer_pad(tok), 0);
    for (size_t i = 0; i < 3; i++) {
        for (unsigned flags = 0; flags < 2; flags++) {
            fmp_token_list list = {0};
            fmp_buf text = {0};
            encode(tok, sample[i], flags, &list);
            assert_partition(&list, strlen(sample[i]));
            assert_int_equal(fmp_tokenizer_decode(tok, list.ids, list.n, 0, &text, NULL), FMP_OK);
            assert_string_equal(text.data, sample[i]);
            bool any_special = false;
            for (size_t k = 0; k < list.n; k++) {
                any_special = any_special || fmp_tokenizer_is_special(tok, list.ids[k]);
            }
            assert_int_equal(any_special, i == 0 && flags == FMP_TOK_SPECIAL);
            fmp_buf_free(&text);
            fmp_token_list_free(&list);
        }
    }
    fmp_tokenizer_free(tok);
}

static void training_does_not_depend_on_the_order_of_texts(void **state)
{
    (void)state;
    const char *const turned[] = {sample[2], sample[0], sample[1]};
    char first[65], second[65];
    assert_int_equal(fmp_sha256_tree(train("b", sample, 3, NULL, 290), first, NULL), FMP_OK);
    assert_int_equal(fmp_sha256_tree(train("c", turned, 3, NULL, 290), second, NULL), FMP_OK);
    assert_string_equal(first, second);
}

/* Random text from the characters where patterns differ. */
static size_t random_text(uint64_t seed, char *out)
{
    static const char *const chars[] = {" ",
                                        " ",
                                        "\n",
                                        "\r",
                                        "\t",
                                        "'",
                                        "'s",
                                        "'LL",
                                        "a",
                                        "Z",
                                        "7",
                                        "12",
                                        ".",
                                        "!?",
                                        "\xC3\xA9",
                                        "\xE3\x81\x82",
                                        "\xC2\xA0",
                                        "\xC5\xBF",
                                        "\xC2\xBD",
                                        "\xF0\x9F\x91\x8D",
                                        "\xE2\x80\xA8",
                                        "\xE1\xA0\x8E",
                                        "\xCC\x81",
                                        "_",
                                        "re"};
    size_t n = 0, count = 1 + (size_t)fmp_rng_below(1, seed, 0, 60);
    for (size_t i = 0; i < count; i++) {
        const char *c = chars[fmp_rng_below(1, seed, i + 1, sizeof chars / sizeof *chars)];
        memcpy(out + n, c, strlen(c));
        n += strlen(c);
    }
    out[n] = '\0';
    return n;
}

/* A pattern in (?:...) is not known by name, so PCRE2 runs it: both must give the same ids. */
static void hand_written_scanners_agree_with_the_patterns(void **state)
{
    (void)state;
#define NOCASE "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define REST   "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
    static const char *const pairs[][2] = {
        {FMP_TOK_PATTERN_GPT2, "(?:" FMP_TOK_PATTERN_GPT2 ")"},
        {NOCASE "\\p{N}" REST, "(?:" NOCASE "\\p{N}" REST ")"},
        {NOCASE "\\p{N}{1,3}" REST, "(?:" NOCASE "\\p{N}{1,3}" REST ")"},
    };
    char *text[400];
    for (size_t i = 0; i < 400; i++) {
        text[i] = malloc(512);
        (void)random_text(i, text[i]);
    }
    for (size_t p = 0; p < 3; p++) {
        fmp_tokenizer *fast = load(train("fast", (const char *const *)text, 400, pairs[p][0], 600));
        fmp_tokenizer *slow = load(train("slow", (const char *const *)text, 400, pairs[p][1], 600));
        for (size_t i = 0; i < 400; i++) {
            fmp_token_list a = {0}, b = {0};
            char fresh[512];
            (void)random_text(1000 + i, fresh);
            encode(fast, fresh, 0, &a);
            encode(slow, fresh, 0, &b);
            assert_int_equal(a.n, b.n);
            assert_memory_equal(a.ids, b.ids, a.n * sizeof *a.ids);
            fmp_token_list_free(&a);
            fmp_token_list_free(&b);
        }
        fmp_tokenizer_free(fast);
        fmp_tokenizer_free(slow);
    }
    for (size_t i = 0; i < 400; i++) {
        free(text[i]);
    }
}

/* ---- real files ---- */
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

static cJSON *load_golden(const char *path, const char *model)
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
    cJSON *cases = cJSON_DetachItemFromObjectCaseSensitive(all, model);
    cJSON_Delete(all);
    fmp_buf_free(&text);
    assert_non_null(cases);
    return cases;
}

static void check_golden(const fmp_tokenizer *tok, const cJSON *one)
{
    char text[8192];
    const char *spelled = fmp_json_str(one, "text", "");
    const cJSON *ids = fmp_json_get(one, "ids"), *id;
    fmp_token_list list = {0};
    fmp_tok_scratch *scratch = fmp_tok_scratch_new();
    size_t k = 0;
    assert_true(strlen(spelled) < sizeof text);
    size_t len = put_back_nul(spelled, text);
    assert_int_equal(fmp_tokenizer_encode(tok, scratch, text, len, FMP_TOK_SPECIAL, &list, NULL), FMP_OK);
    bool same = list.n == (size_t)cJSON_GetArraySize(ids);
    cJSON_ArrayForEach(id, ids)
    {
        same = same && list.ids[k++] == (uint32_t)id->valuedouble;
    }
    if (!same) { fail_msg("%s: other ids", one->string); }
    fmp_tok_scratch_free(scratch);
    fmp_token_list_free(&list);
}

static void golden_ids_match(const char *file, const char *golden, const char *model)
{
    const char *path = shared(file);
    if (!path) { skip(); }
    fmp_tokenizer *tok = load(path);
    path = shared(golden);
    cJSON *cases = path ? load_golden(path, model) : NULL;
    const cJSON *one;
    cJSON_ArrayForEach(one, cases)
    {
        check_golden(tok, one);
    }
    bool any = cJSON_GetArraySize(cases) > 0;
    cJSON_Delete(cases);
    fmp_tokenizer_free(tok);
    if (!path) { skip(); }
    assert_true(any);
}

static void gpt2_gives_the_published_ids(void **state)
{
    (void)state;
    golden_ids_match("tokenizers/hf-gpt2/gpt2.json", "tokenizer-golden/gpt2.json", "Xenova/gpt2");
}

static void falcon_gives_the_published_ids(void **state)
{
    (void)state;
    golden_ids_match("tokenizers/hf-misc/falcon-tokenizer/tokenizer.json", "tokenizer-golden/falcon.json",
                     "tiiuae/falcon-7b");
}

static fmp_status whole_file(void *arg, const char **text, size_t *len, fmp_err *err)
{
    fmp_buf *buf = arg;
    (void)err;
    *text = buf->len > 0 ? buf->data : NULL;
    *len = buf->len;
    buf->len = 0;
    return FMP_OK;
}

static void training_makes_the_reference_merges(void **state)
{
    (void)state;
    static const char *const end[] = {"<|endoftext|>"};
    fmp_tok_train_options o = {
        .vocab_size = 500, .special = end, .n_special = 1, .pattern = FMP_TOK_PATTERN_GPT2};
    fmp_buf corpus = {0}, expected = {0}, made = {0};
    char dir[128], file[160];
    cJSON *root_node = NULL;
    const char *path = shared("tokenizers/bpe-training-cs336/corpus.en");
    if (!path) { skip(); }
    assert_int_equal(fmp_read_file(path, 0, &corpus, NULL), FMP_OK);
    path = shared("tokenizers/bpe-training-cs336/train-bpe-reference-merges.txt");
    assert_non_null(path);
    assert_int_equal(fmp_read_file(path, 0, &expected, NULL), FMP_OK);
    snprintf(dir, sizeof dir, "%s/reference", root);
    snprintf(file, sizeof file, "%s/tokenizer.json", dir);
    assert_int_equal(fmp_tokenizer_train(&o, whole_file, &corpus, dir, NULL), FMP_OK);
    assert_int_equal(fmp_json_load(file, NULL, &root_node, NULL), FMP_OK);
    const cJSON *merge;
    cJSON_ArrayForEach(merge, fmp_json_get(fmp_json_get(root_node, "model"), "merges"))
    {
        fmp_buf_printf(&made, "%s%s", made.len ? "\n" : "", merge->valuestring);
    }
    while (expected.len > 0 && expected.data[expected.len - 1] == '\n') {
        expected.data[--expected.len] = '\0';
    }
    assert_string_equal(made.data, expected.data);
    cJSON_Delete(root_node);
    fmp_buf_free(&corpus);
    fmp_buf_free(&expected);
    fmp_buf_free(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(special_tokens_never_come_out_of_plain_text),
        cmocka_unit_test(offsets_follow_normalization_back_to_the_input),
        cmocka_unit_test(split_behaviors_place_matches_as_named),
        cmocka_unit_test(files_that_lie_are_refused_with_the_place),
        cmocka_unit_test(streams_hold_back_unfinished_characters),
        cmocka_unit_test(a_trained_tokenizer_loads_and_round_trips),
        cmocka_unit_test(training_does_not_depend_on_the_order_of_texts),
        cmocka_unit_test(hand_written_scanners_agree_with_the_patterns),
        cmocka_unit_test(gpt2_gives_the_published_ids),
        cmocka_unit_test(falcon_gives_the_published_ids),
        cmocka_unit_test(training_makes_the_reference_merges),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
