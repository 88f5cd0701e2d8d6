/* links: fmbase fmtext */
/* Tokenizer models and file formats on small files made here: what each part does, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fmpipe/fs.h>
#include <fmpipe/tokenizer.h>

#include <stdlib.h>

#define META "\xE2\x96\x81"

static fmp_tokenizer *parse(const void *bytes, size_t len)
{
    fmp_tokenizer *tok = NULL;
    fmp_err err = FMP_ERR_INIT;
    if (fmp_tokenizer_parse(bytes, len, "test", &tok, &err) != FMP_OK) { fail_msg("%s", err.message); }
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

static void assert_ids(const fmp_tokenizer *tok, const char *text, unsigned flags, size_t n,
                       const uint32_t *ids)
{
    fmp_token_list list = {0};
    encode(tok, text, flags, &list);
    bool same = list.n == n && (n == 0 || memcmp(list.ids, ids, n * sizeof *ids) == 0);
    for (size_t i = 0; !same && i < list.n; i++) {
        print_message("%u ", list.ids[i]);
    }
    if (!same) { fail_msg("\"%s\": other ids", text); }
    fmp_token_list_free(&list);
}
#define IDS(tok, text, flags, ...)                                                                           \
    assert_ids(tok, text, flags, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t),                       \
               (const uint32_t[]){__VA_ARGS__})

static void assert_decodes(const fmp_tokenizer *tok, const uint32_t *ids, size_t n, const char *expected)
{
    fmp_buf whole = {0}, streamed = {0};
    fmp_tok_stream stream = {.started = false};
    assert_int_equal(fmp_tokenizer_decode(tok, ids, n, 0, &whole, NULL), FMP_OK);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(fmp_tok_stream_push(tok, &stream, ids[i], 0, &streamed, NULL), FMP_OK);
    }
    assert_int_equal(fmp_tok_stream_end(&stream, &streamed, NULL), FMP_OK);
    assert_string_equal(whole.data, expected);
    assert_string_equal(streamed.data, expected);
    fmp_buf_free(&whole);
    fmp_buf_free(&streamed);
}
#define DECODES(tok, expected, ...)                                                                          \
    assert_decodes(tok, (const uint32_t[]){__VA_ARGS__},                                                     \
                   sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), expected)

/* ---- tokenizer.json ---- */
static void wordpiece_takes_the_longest_piece_or_none_of_the_word(void **state)
{
    (void)state;
    static const char file[] =
        "{\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
        "\"decoder\":"
        "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},\"model\":{\"type\":\"WordPiece\",\"unk_"
        "token\":\"[UNK]\","
        "\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":9,\"vocab\":{\"[UNK]\":0,\"un\":1,"
        "\"##aff\":2,"
        "\"##able\":3,\"##a\":4,\"cafe\":5,\"!\":6,\"\xE6\x9D\xB1\":7,\"\xE4\xBA\xAC\":8,\"aaaaaaaaaa\":9}}}";
    fmp_tokenizer *tok = parse(file, sizeof file - 1);
    IDS(tok, "UNaffable", 0, 1, 2, 3);
    IDS(tok, "unafford un!", 0, 0, 1, 6); /* no piece for "ord": the whole word is unknown */
    IDS(tok, "Caf\xC3\xA9\t\xE6\x9D\xB1\xE4\xBA\xAC", 0, 5, 7, 8); /* accents go, ideographs stand alone */
    IDS(tok, "aaaaaaaaaa", 0, 0);                                  /* ten characters, nine are allowed */
    DECODES(tok, "unaff cafe!", 1, 2, 5, 6);
    fmp_tokenizer_free(tok);
}

#define UNIGRAM(more)                                                                                        \
    "{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"" META                                     \
    "\"},\"decoder\":{\"type\":\"Metaspace\","                                                               \
    "\"replacement\":\"" META "\"},\"model\":{\"type\":\"Unigram\",\"unk_id\":0," more                       \
    "\"vocab\":[[\"<unk>\",0],[\"" META "\",-2],[\"a\",-3],[\"b\",-3],[\"ab\",-5.5],[\"" META                \
    "ab\",-8.5],[\"c\",-1],[\"bc\",-4],[\"<0xC3>\",-9],[\"<0xA9>\",-9]]}}"

static void unigram_takes_the_best_sum_and_the_first_of_equals(void **state)
{
    (void)state;
    fmp_tokenizer *tok = parse(UNIGRAM(""), strlen(UNIGRAM("")));
    IDS(tok, "ab", 0, 1, 4);     /* -7.5; together as one piece -8.5, as letters -8 */
    IDS(tok, "abc", 0, 1, 4, 6); /* -8.5 before a + bc, -9 */
    IDS(tok, "bc", 0, 1, 7);     /* b + c and bc are both -4: bc, which begins first, has offered first */
    IDS(tok, "a\xC3\xA9\xC3\xA9 b", 0, 1, 2, 0, 1, 3); /* unknown neighbours are one */
    DECODES(tok, "ab b", 1, 4, 1, 3);
    fmp_tokenizer_free(tok);
    tok = parse(UNIGRAM("\"byte_fallback\":true,"), strlen(UNIGRAM("\"byte_fallback\":true,")));
    IDS(tok, "\xC3\xA9", 0, 1, 8, 9);
    IDS(tok, "\xC3\xAA", 0, 1, 0); /* one of its bytes has no token */
    fmp_tokenizer_free(tok);
}

static void a_long_unknown_word_takes_linear_time(void **state)
{
    (void)state;
    size_t n = (size_t)1 << 20;
    char *text = malloc(n + 1);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++) {
        text[i] = "abx"[i % 3];
    }
    text[n] = '\0';
    fmp_tokenizer *tok = parse(UNIGRAM(""), strlen(UNIGRAM("")));
    fmp_token_list list = {0};
    encode(tok, text, 0, &list);
    assert_int_equal(list.n, 1 + n / 3 * 2 + n % 3);
    fmp_token_list_free(&list);
    fmp_tokenizer_free(tok);
    free(text);
}

static void marks_inside_and_at_the_end_of_words_are_part_of_tokens(void **state)
{
    (void)state;
    static const char file[] = "{\"pre_tokenizer\":{\"type\":\"Whitespace\"},\"decoder\":{\"type\":"
                               "\"BPEDecoder\",\"suffix\":\"</w>\"},\"model\":{"
                               "\"type\":\"BPE\",\"unk_token\":\"?\",\"end_of_word_suffix\":\"</"
                               "w>\",\"vocab\":{\"?\":0,\"a\":1,\"b</w>\":2,"
                               "\"ab</w>\":3,\"b\":4},\"merges\":[\"a b</w>\"]}}";
    fmp_tokenizer *tok = parse(file, sizeof file - 1);
    IDS(tok, "ab aba bb", 0, 3, 1, 4, 0, 4, 2);
    DECODES(tok, "ab b", 3, 2);
    fmp_tokenizer_free(tok);
}

static void words_without_a_decoder_have_spaces_between(void **state)
{
    (void)state;
    static const char file[] =
        "{\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"model\":{\"type\":\"WordLevel\","
        "\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"one\":1,\"two\":2}}}";
    fmp_tokenizer *tok = parse(file, sizeof file - 1);
    IDS(tok, "one  two three", 0, 1, 2, 0);
    DECODES(tok, "one two", 1, 2);
    fmp_tokenizer_free(tok);
}

/* ---- binary formats, written field by field ---- */
static void put_varint(fmp_buf *b, uint64_t n)
{
    for (; n > 127; n >>= 7) {
        fmp_buf_putc(b, (char)((n & 127) | 128));
    }
    fmp_buf_putc(b, (char)n);
}

static void put_bytes(fmp_buf *b, unsigned number, const void *data, size_t len)
{
    put_varint(b, number << 3 | 2);
    put_varint(b, len);
    fmp_buf_add(b, data, len);
}

static void put_piece(fmp_buf *b, const char *text, float score, unsigned type)
{
    fmp_buf piece = {0};
    put_bytes(&piece, 1, text, strlen(text));
    put_varint(&piece, 2 << 3 | 5);
    fmp_buf_add(&piece, &score, sizeof score);
    put_varint(&piece, 3 << 3);
    put_varint(&piece, type);
    put_bytes(b, 1, piece.data, piece.len);
    fmp_buf_free(&piece);
}

static void put_number(fmp_buf *b, unsigned number, uint64_t value)
{
    put_varint(b, number << 3);
    put_varint(b, value);
}

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5 };

static void put_model(fmp_buf *b, unsigned model_type, bool dummy_prefix)
{
    fmp_buf trainer = {0}, normalizer = {0};
    put_piece(b, "<unk>", 0, UNKNOWN);
    put_piece(b, "<s>", 0, CONTROL);
    put_piece(b, META, -3, NORMAL);
    put_piece(b, "a", -4, NORMAL);
    put_piece(b, "b", -5, NORMAL);
    put_piece(b, "ab", -2, NORMAL);
    put_piece(b, "ba", -1, NORMAL);
    put_piece(b, "<x>", 0, USER_DEFINED);
    put_number(&trainer, 3, model_type);
    put_number(&normalizer, 3, dummy_prefix);
    put_bytes(b, 2, trainer.data, trainer.len);
    put_bytes(b, 3, normalizer.data, normalizer.len);
    fmp_buf_free(&trainer);
    fmp_buf_free(&normalizer);
}

static void sentencepiece_bpe_merges_by_score_and_keeps_user_symbols(void **state)
{
    (void)state;
    fmp_buf b = {0};
    put_model(&b, 2, true);
    fmp_tokenizer *tok = parse(b.data, b.len);
    IDS(tok, "aba", 0, 2, 3, 6);               /* "ba" has the better score, though "ab" stands first */
    IDS(tok, "  ab  <x>b ", 0, 2, 5, 2, 7, 4); /* white space at the ends goes, inside it becomes one */
    IDS(tok, "zz<s>", 0, 2, 0); /* control symbols are text unless asked for; unknowns are one */
    IDS(tok, "<s>a", FMP_TOK_SPECIAL, 1, 2, 3);
    DECODES(tok, "ab \xE2\x81\x87 ", 2, 5, 0);
    assert_int_equal(fmp_tokenizer_bos(tok), 1);
    assert_true(fmp_tokenizer_is_special(tok, 1));
    fmp_tokenizer_free(tok);
    b.len = 0;
    put_model(&b, 1, false);
    tok = parse(b.data, b.len);
    IDS(tok, "aba", 0, 3, 6); /* a + ba is -5, ab + a is -6 */
    fmp_tokenizer_free(tok);
    fmp_buf_free(&b);
}

static void put_u32(fmp_buf *b, uint32_t n)
{
    fmp_buf_add(b, &n, sizeof n);
}

static void put_text(fmp_buf *b, const char *s)
{
    uint64_t n = strlen(s);
    fmp_buf_add(b, &n, sizeof n);
    fmp_buf_add(b, s, n);
}

static void put_array(fmp_buf *b, const char *key, uint32_t type, uint64_t n)
{
    put_text(b, key);
    put_u32(b, 9);
    put_u32(b, type);
    fmp_buf_add(b, &n, sizeof n);
}

/* A BERT vocabulary with `n_types` token types, which ought to be five. */
static void put_gguf(fmp_buf *b, uint32_t version, const char *model, uint64_t n_types)
{
    static const char *const tokens[] = {"[UNK]", META "hello", META "caf", "e", "[CLS]"};
    uint64_t none = 0, keys = 5;
    fmp_buf_puts(b, "GGUF");
    put_u32(b, version);
    fmp_buf_add(b, &none, sizeof none);
    fmp_buf_add(b, &keys, sizeof keys);
    put_text(b, "tokenizer.ggml.model");
    put_u32(b, 8);
    put_text(b, model);
    put_array(b, "tokenizer.ggml.tokens", 8, 5);
    for (size_t i = 0; i < 5; i++) {
        put_text(b, tokens[i]);
    }
    put_array(b, "tokenizer.ggml.token_type", 5, n_types);
    for (uint64_t i = 0; i < n_types; i++) {
        put_u32(b, i == 0 ? UNKNOWN : i == 4 ? CONTROL : NORMAL);
    }
    put_text(b, "tokenizer.ggml.unknown_token_id");
    put_u32(b, 4);
    put_u32(b, 0);
    put_text(b, "tokenizer.ggml.cls_token_id");
    put_u32(b, 4);
    put_u32(b, 4);
}

static void gguf_wordpiece_marks_the_start_of_words(void **state)
{
    (void)state;
    fmp_buf b = {0};
    put_gguf(&b, 3, "bert", 5);
    size_t metadata = b.len;
    fmp_buf_puts(&b, "tensors are not looked at");
    fmp_tokenizer *tok = parse(b.data, b.len), *alone = parse(b.data, metadata);
    IDS(tok, "Hello caf\xC3\xA9 [CLS]", 0, 1, 2, 3, 0, 0,
        0); /* brackets and CLS are words that no piece begins */
    IDS(tok, "hello[CLS]", FMP_TOK_SPECIAL | FMP_TOK_TEMPLATE, 4, 1, 4);
    assert_string_equal(fmp_tokenizer_digest(tok), fmp_tokenizer_digest(alone));
    fmp_tokenizer_free(tok);
    fmp_tokenizer_free(alone);
    fmp_buf_free(&b);
}

/* What the converter writes of a T5 vocabulary: scores, and white space taken together, with one in front. */
static void put_t5(fmp_buf *b)
{
    static const struct {
        const char *text;
        float score;
        uint32_t type;
    } pieces[] = {{"<pad>", 0, CONTROL}, {"</s>", 0, CONTROL},    {"<unk>", 0, UNKNOWN},
                  {META, -2, NORMAL},    {META "ab", -3, NORMAL}, {"a", -4, NORMAL},
                  {"b", -4, NORMAL},     {"ab", -9, NORMAL},      {"<extra>", 0, USER_DEFINED}};
    const uint64_t n = sizeof pieces / sizeof *pieces, none = 0, keys = 6;
    fmp_buf_puts(b, "GGUF");
    put_u32(b, 3);
    fmp_buf_add(b, &none, sizeof none);
    fmp_buf_add(b, &keys, sizeof keys);
    put_text(b, "tokenizer.ggml.model");
    put_u32(b, 8);
    put_text(b, "t5");
    put_array(b, "tokenizer.ggml.tokens", 8, n);
    for (uint64_t i = 0; i < n; i++) {
        put_text(b, pieces[i].text);
    }
    put_array(b, "tokenizer.ggml.scores", 6, n);
    for (uint64_t i = 0; i < n; i++) {
        fmp_buf_add(b, &pieces[i].score, sizeof pieces[i].score);
    }
    put_array(b, "tokenizer.ggml.token_type", 5, n);
    for (uint64_t i = 0; i < n; i++) {
        put_u32(b, pieces[i].type);
    }
    for (int i = 0; i < 2; i++) {
        put_text(b, i == 0 ? "tokenizer.ggml.add_space_prefix" : "tokenizer.ggml.remove_extra_whitespaces");
        put_u32(b, 7);
        fmp_buf_putc(b, 1);
    }
}

static void gguf_unigram_takes_white_space_together(void **state)
{
    (void)state;
    fmp_buf b = {0};
    put_t5(&b);
    fmp_tokenizer *tok = parse(b.data, b.len);
    IDS(tok, "  ab   ab ", 0, 4, 4);
    IDS(tok, "ba", 0, 3, 6, 5);
    IDS(tok, "ab<extra>ab</s>", 0, 4, 8, 4, 2); /* each piece of text has its space; </s> is unknown text */
    IDS(tok, "ab", FMP_TOK_TEMPLATE, 4, 1);
    fmp_tokenizer_free(tok);
    fmp_buf_free(&b);
}

/* The vocabulary of a file with tensors, kept without them, is the same tokenizer. */
static void a_gguf_vocabulary_is_copied_without_its_tensors(void **state)
{
    (void)state;
    char folder[] = "/tmp/fmpipe-test-XXXXXX", from[64], to[64];
    fmp_buf b = {0}, copy = {0};
    bool found = false;
    put_gguf(&b, 3, "bert", 5);
    size_t metadata = b.len;
    b.data[8] = 2;
    fmp_buf_puts(&b, "descriptions and data of two tensors");
    assert_non_null(mkdtemp(folder));
    snprintf(from, sizeof from, "%s/model.gguf", folder);
    snprintf(to, sizeof to, "%s/kept", folder);
    assert_int_equal(fmp_write_file(from, b.data, b.len, NULL), FMP_OK);
    assert_int_equal(fmp_mkdirs(to, NULL), FMP_OK);
    assert_int_equal(fmp_tokenizer_copy(folder, to, &found, NULL), FMP_OK);
    assert_true(found);
    fmp_tokenizer *whole = NULL, *kept = NULL;
    assert_int_equal(fmp_tokenizer_load(from, &whole, NULL), FMP_OK);
    assert_int_equal(fmp_tokenizer_load(to, &kept, NULL), FMP_OK);
    assert_string_equal(fmp_tokenizer_digest(whole), fmp_tokenizer_digest(kept));
    IDS(kept, "hello", 0, 1);
    snprintf(to, sizeof to, "%s/kept/tokenizer.gguf", folder);
    assert_int_equal(fmp_read_file(to, 0, &copy, NULL), FMP_OK);
    assert_int_equal(copy.len, metadata);
    assert_int_equal(copy.data[8], 0); /* no tensors */
    fmp_tokenizer_free(whole);
    fmp_tokenizer_free(kept);
    fmp_buf_free(&b);
    fmp_buf_free(&copy);
    assert_int_equal(fmp_remove_tree(folder, NULL), FMP_OK);
}

static void assert_refused(const fmp_buf *b, size_t len, fmp_status status, const char *message)
{
    fmp_tokenizer *tok = NULL;
    fmp_err err = FMP_ERR_INIT;
    fmp_status found = fmp_tokenizer_parse(b->data, len, "bad", &tok, &err);
    if (found != status || !strstr(err.message, message)) {
        fail_msg("%s: status %d, %s", message, (int)found, err.message);
    }
}

static void files_that_lie_are_refused_with_the_place(void **state)
{
    (void)state;
    fmp_buf b = {0};
    put_gguf(&b, 3, "bert", 4);
    assert_refused(&b, b.len, FMP_E_DATA, "tokenizer.ggml.token_type: expected 5 values");
    assert_refused(&b, 200, FMP_E_DATA, "are left");
    b.len = 0;
    put_gguf(&b, 1, "bert", 5);
    assert_refused(&b, b.len, FMP_E_UNSUPPORTED, "expected version 2 or 3");
    b.len = 0;
    put_gguf(&b, 3, "rwkv", 5);
    assert_refused(&b, b.len, FMP_E_UNSUPPORTED,
                   "vocabulary \"rwkv\" is not supported; llama, gpt2, bert and t5 are");
    b.len = 0;
    put_piece(&b, "<unk>", 0, UNKNOWN);
    put_piece(&b, "a", 0, 9);
    assert_refused(&b, b.len, FMP_E_DATA, "unknown type");
    b.len = 0;
    put_model(&b, 2, true);
    assert_refused(&b, b.len - 1, FMP_E_DATA, "goes beyond the end at byte");
    put_piece(&b, "a", 0, NORMAL);
    assert_refused(&b, b.len, FMP_E_DATA, "token \"a\" occurs twice");
    b.len = 0;
    put_model(&b, 2, true);
    put_piece(&b, "c", 0, UNUSED);
    assert_refused(&b, b.len, FMP_E_UNSUPPORTED, "piece 8 \"c\" is UNUSED");
    b.len = 0;
    fmp_buf_puts(&b, "SGU= 0\nbGw= 1\n");
    assert_refused(&b, b.len, FMP_E_UNSUPPORTED, "a vocabulary of 2 ranks is not known");
    fmp_buf_puts(&b, "b w 2\n");
    assert_refused(&b, b.len, FMP_E_DATA, "line 3: expected base64, a space and a rank");
    b.len = 0;
    fmp_buf_puts(&b, "what is this");
    assert_refused(&b, b.len, FMP_E_DATA, "a file of another kind");
    fmp_buf_free(&b);
}

/* Each rule makes eight letters of one: of twelve, 8^12 bytes would come. */
static void a_normalizer_that_blows_a_text_up_is_stopped(void **state)
{
    (void)state;
    fmp_buf json = {0};
    fmp_err err = FMP_ERR_INIT;
    fmp_token_list out = {0};
    fmp_buf_puts(&json, "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[");
    for (int i = 0; i < 12; i++) {
        fmp_buf_printf(&json,
                       "%s{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aaaaaaaa\"}",
                       i ? "," : "");
    }
    fmp_buf_puts(&json,
                 "]},\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"a\":1}}}");
    fmp_tokenizer *tok = parse(json.data, json.len);
    fmp_tok_scratch *scratch = fmp_tok_scratch_new();
    assert_int_equal(fmp_tokenizer_encode(tok, scratch, "b a", 3, 0, &out, &err), FMP_E_RANGE);
    assert_non_null(strstr(err.message, "normalizer"));
    assert_int_equal(fmp_tokenizer_encode(tok, scratch, "b", 1, 0, &out, &err), FMP_OK);
    assert_int_equal(out.n, 1);
    fmp_tok_scratch_free(scratch);
    fmp_token_list_free(&out);
    fmp_tokenizer_free(tok);
    fmp_buf_free(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wordpiece_takes_the_longest_piece_or_none_of_the_word),
        cmocka_unit_test(unigram_takes_the_best_sum_and_the_first_of_equals),
        cmocka_unit_test(a_long_unknown_word_takes_linear_time),
        cmocka_unit_test(marks_inside_and_at_the_end_of_words_are_part_of_tokens),
        cmocka_unit_test(words_without_a_decoder_have_spaces_between),
        cmocka_unit_test(sentencepiece_bpe_merges_by_score_and_keeps_user_symbols),
        cmocka_unit_test(gguf_wordpiece_marks_the_start_of_words),
        cmocka_unit_test(gguf_unigram_takes_white_space_together),
        cmocka_unit_test(a_gguf_vocabulary_is_copied_without_its_tensors),
        cmocka_unit_test(files_that_lie_are_refused_with_the_place),
        cmocka_unit_test(a_normalizer_that_blows_a_text_up_is_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
