/* links: fmbase fmtext */
/* What results alone do not show: which neighbours stay apart, where errors lie, what patterns become. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../core/text/tokenizer_impl.h"

#define SPLIT(regex)                                                                                         \
    "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex                                 \
    "\"},\"behavior\":\"Isolated\"},"                                                                        \
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}"

static fmp_tokenizer *parse(const char *text)
{
    fmp_tokenizer *tok = NULL;
    fmp_err err = FMP_ERR_INIT;
    if (fmp_tokenizer_parse(text, strlen(text), "test", &tok, &err) != FMP_OK) {
        fail_msg("%s", err.message);
    }
    return tok;
}

/* Of merges of equal rank the left one comes first: aaa is aa a, and aaaa is aa aa. */
static void equal_merges_fire_from_left_to_right(void **state)
{
    (void)state;
    enum { A, B, AA, BA, BAA };
    fmp_tokenizer *tok =
        parse("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"aa\":2,\"ba\":3,\"baa\":4},"
              "\"merges\":[\"a a\",\"b a\",\"b aa\"]}}");
    assert_non_null(tok->index);
    assert_false(tk_index_pair(tok, A, A));
    assert_true(tk_index_pair(tok, AA, A));
    assert_false(tk_index_pair(tok, A, AA));
    assert_true(tk_index_pair(tok, AA, AA));
    assert_true(tk_index_pair(tok, A, B));
    assert_false(tk_index_pair(tok, BA, A)); /* a a came before b a */
    assert_false(tk_index_pair(tok, B, AA));
    assert_true(tk_index_pair(tok, BAA, AA));
    assert_false(tk_index_pair(tok, BAA, A) && !tk_index_pair(tok, AA, A)); /* as its last part does */
    fmp_tokenizer_free(tok);
}

/* A walk finds its way without falling back to merging, in a word that makes it step back. */
static void a_word_is_walked_to_its_end(void **state)
{
    (void)state;
    fmp_tokenizer *tok =
        parse("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"bc\":3,\"ab\":4,\"aa\":5},"
              "\"merges\":[\"b c\",\"a b\",\"a a\"]}}");
    fmp_tok_scratch *s = fmp_tok_scratch_new();
    static const char word[] = "aaabcaaab";
    static const uint32_t expected[] = {5, 0, 3, 5, 4};
    bool done = false;
    fmp_token_list list = {0};
    tk_scratch_for(s, tok);
    assert_int_equal(fmp_tokenizer_encode(tok, s, word, strlen(word), 0, &list, NULL), FMP_OK);
    assert_int_equal(list.n, 5);
    assert_memory_equal(list.ids, expected, sizeof expected);
    s->n = 0;
    assert_int_equal(tk_walk_word(tok, s, word, strlen(word), &done, NULL), FMP_OK);
    assert_true(done);
    assert_int_equal(s->n, 5);
    assert_memory_equal(s->ids, expected, sizeof expected);
    fmp_token_list_free(&list);
    fmp_tok_scratch_free(s);
    fmp_tokenizer_free(tok);
}

/* Vocabulary and merges are cut out before the rest is parsed, which must not show in messages. */
static void an_error_behind_the_vocabulary_has_its_place_in_the_file(void **state)
{
    (void)state;
    static const char text[] =
        "{\"model\":{\"vocab\":{\n \"a\":0,\n \"\\\\\\\"{[\":1},\n\"merges\":[\n]},\n \"decoder\":?}";
    fmp_tokenizer *tok = NULL;
    fmp_err err = FMP_ERR_INIT;
    assert_int_equal(fmp_tokenizer_parse(text, strlen(text), "test", &tok, &err), FMP_E_DATA);
    assert_int_equal(err.line, 6);
    assert_int_equal(err.offset, strchr(text, '?') - text);
}

static void assert_words(const char *file, const char *text, const char *expected)
{
    fmp_tokenizer *tok = parse(file);
    fmp_tok_scratch *s = fmp_tok_scratch_new();
    tk_view v = {text, strlen(text), NULL, 0};
    fmp_buf words = {0};
    assert_int_equal(tk_split_all(tok, s, &v, NULL), FMP_OK);
    for (size_t i = 0; i < s->words.n; i++) {
        if (i > 0) { fmp_buf_putc(&words, '|'); }
        fmp_buf_add(&words, v.s + s->words.v[i].begin, s->words.v[i].end - s->words.v[i].begin);
    }
    assert_string_equal(words.data, expected);
    fmp_buf_free(&words);
    fmp_tok_scratch_free(s);
    fmp_tokenizer_free(tok);
}

static void classes_inside_classes_mean_what_they_mean_in_oniguruma(void **state)
{
    (void)state;
    assert_words(SPLIT("[\\\\p{L}&&[^x-z]]+"), "abxab", "ab|x|ab");
    assert_words(SPLIT(" ?[^(\\\\s|[.,])]+"), "a(b. c|d", "a|(|b|.| c|||d");
    assert_words(SPLIT("[a[bc]d]+"), "xabcdx", "x|abcd|x");
    assert_words(SPLIT("[]a]+"), "x]ax", "x|]a|x");
    /* a mark that several scripts share belongs to none by name */
    assert_words(SPLIT("\\\\p{Han}+"), "a\xE6\xBC\xA2\xE3\x80\x82", "a|\xE6\xBC\xA2|\xE3\x80\x82");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_merges_fire_from_left_to_right),
        cmocka_unit_test(a_word_is_walked_to_its_end),
        cmocka_unit_test(an_error_behind_the_vocabulary_has_its_place_in_the_file),
        cmocka_unit_test(classes_inside_classes_mean_what_they_mean_in_oniguruma),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
