/* links: fmbase fmtext */
/*
 * Golden conversations: the choice does not depend on the order, what was written is checked again, and a
 * changed tokenizer or template is refused by name. Token views: kinds and sources of tokens.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fmpipe/fs.h>
#include <fmpipe/golden.h>
#include <fmpipe/json.h>
#include <fmpipe/token_view.h>

#include <stdlib.h>

/* A token a letter, and one for each role and the end of a turn. `order`: the letters' ids count up in
 * this order. */
#define TOKENIZER(order)                                                                                     \
    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":0,\"content\":\"<u>\",\"special\":true},{\"id\":1,"      \
    "\"content\":\"<a>\","                                                                                   \
    "\"special\":true},{\"id\":2,\"content\":\"<e>\",\"special\":true}],\"model\":{\"type\":\"BPE\",\"unk_"  \
    "token\":\"<e>\","                                                                                       \
    "\"vocab\":{\"<u>\":0,\"<a>\":1,\"<e>\":2," order "},\"merges\":[]}}"
#define ABCD "\"a\":3,\"b\":4,\"c\":5,\"d\":6"
#define TEMPLATE                                                                                             \
    "{% for m in messages %}{% if m.role == 'user' %}<u>{% else %}<a>{% endif %}{{ m.content }}<e>{% "       \
    "endfor %}"                                                                                              \
    "{% if add_generation_prompt %}<a>{% endif %}"

static char root[] = "/tmp/fmp-test-golden-XXXXXX";

static void put_file(const char *dir, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, dir);
    assert_int_equal(fmp_mkdirs(path, NULL), FMP_OK);
    snprintf(path, sizeof path, "%s/%s/%s", root, dir, name);
    assert_int_equal(fmp_write_file(path, text, strlen(text), NULL), FMP_OK);
}

static void make_model(const char *dir, const char *tokenizer, const char *template_)
{
    put_file(dir, "tokenizer.json", tokenizer);
    put_file(dir, "tokenizer_config.json", "{\"eos_token\":\"<e>\"}");
    put_file(dir, "chat_template.jinja", template_);
}

static const char *at(const char *dir)
{
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", root, dir);
    return path;
}

static int make_root(void **state)
{
    (void)state;
    fmp_json_install_hooks();
    if (!mkdtemp(root)) { return -1; }
    make_model("model", TOKENIZER(ABCD), TEMPLATE);
    return 0;
}

static int remove_root(void **state)
{
    (void)state;
    return fmp_remove_tree(root, NULL) == FMP_OK ? 0 : -1;
}

static cJSON *conversation(const char *user, const char *answer)
{
    cJSON *doc = cJSON_CreateObject(), *messages = cJSON_AddArrayToObject(doc, "messages");
    const char *const texts[][2] = {{"user", user}, {"assistant", answer}};
    for (int i = 0; i < 2; i++) {
        cJSON *m = cJSON_CreateObject();
        cJSON_AddStringToObject(m, "role", texts[i][0]);
        cJSON_AddStringToObject(m, "content", texts[i][1]);
        cJSON_AddItemToArray(messages, m);
    }
    return doc;
}

static fmp_chat *open_model(const char *dir)
{
    fmp_chat *chat = NULL;
    fmp_err err = FMP_ERR_INIT;
    if (fmp_chat_open(at(dir), NULL, &chat, &err) != FMP_OK) { fail_msg("%s", err.message); }
    return chat;
}

/* Offers the conversations "a", "aa", "aaa", ... in some order; keeps n; writes to dir. */
static void write_golden(const fmp_chat *chat, size_t n_offered, size_t n, bool backwards, bool own,
                         const char *dir)
{
    fmp_golden *g = NULL;
    fmp_chat_result r;
    const fmp_chat_open_options opened = {.template_ = own ? "x" : NULL};
    assert_int_equal(fmp_golden_new(n, &g, NULL), FMP_OK);
    assert_int_equal(fmp_chat_result_init(&r, NULL), FMP_OK);
    for (size_t i = 0; i < n_offered; i++) {
        char text[64] = "";
        memset(text, 'a', 1 + (backwards ? n_offered - 1 - i : i));
        cJSON *doc = conversation(text, "bcd");
        uint64_t rank = fmp_golden_rank(text, strlen(text));
        assert_int_equal(fmp_golden_add(g, chat, doc, rank, &r, NULL), FMP_OK);
        assert_int_equal(fmp_golden_add(g, chat, doc, rank, &r, NULL),
                         FMP_OK); /* the same again changes nothing */
        cJSON_Delete(doc);
    }
    assert_int_equal(fmp_mkdirs(at(dir), NULL), FMP_OK);
    assert_int_equal(fmp_golden_write(g, chat, &opened, at(dir), NULL), FMP_OK);
    fmp_chat_result_free(&r);
    fmp_golden_free(g);
}

static void the_choice_does_not_depend_on_the_order(void **state)
{
    (void)state;
    char first[65], second[65];
    fmp_chat *chat = open_model("model");
    size_t n = 0;
    write_golden(chat, 40, 5, false, false, "forward");
    write_golden(chat, 40, 5, true, false, "backward");
    assert_int_equal(fmp_sha256_tree(at("forward"), first, NULL), FMP_OK);
    assert_int_equal(fmp_sha256_tree(at("backward"), second, NULL), FMP_OK);
    assert_string_equal(first, second);
    assert_int_equal(fmp_golden_check(chat, at("forward"), FMP_GOLDEN_DIGESTS, &n, NULL), FMP_OK);
    assert_int_equal(n, 5);
    fmp_chat_free(chat);
}

static void long_texts_come_last_and_huge_ones_never(void **state)
{
    (void)state;
    size_t n = (1 << 20) + 1;
    char *text = malloc(n);
    memset(text, 'a', n);
    assert_true(fmp_golden_rank(text, 16 << 10) < UINT64_C(1) << 63);
    assert_true(fmp_golden_rank(text, (16 << 10) + 1) >= (UINT64_C(1) << 63) - 1);
    assert_true(fmp_golden_rank(text, n) == UINT64_MAX);
    free(text);
}

/* A model against the golden conversations of "model". */
static void check_against(const char *model, fmp_golden_strictness strictness, fmp_status status,
                          const char *message)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_chat *chat = open_model(model);
    fmp_status found = fmp_golden_check(chat, at("golden"), strictness, NULL, &err);
    if (found != status || strncmp(err.message, message, strlen(message)) != 0) {
        fail_msg("expected %d %s, found %d %s", (int)status, message, (int)found, err.message);
    }
    fmp_chat_free(chat);
}

static void a_changed_tokenizer_or_template_is_refused_by_name(void **state)
{
    (void)state;
    fmp_chat *chat = open_model("model");
    write_golden(chat, 3, 8, false, false, "golden");
    fmp_chat_free(chat);
    make_model("other-ids", TOKENIZER("\"a\":3,\"b\":5,\"c\":4,\"d\":6"), TEMPLATE);
    make_model("other-text", TOKENIZER(ABCD), "{{ '' }}" TEMPLATE "\n{# c #}d");
    make_model("other-bytes", TOKENIZER(ABCD), TEMPLATE "{# a comment #}");
    make_model("other-spaces", TOKENIZER(ABCD) "\n", TEMPLATE);
    check_against("model", FMP_GOLDEN_DIGESTS, FMP_OK, "");
    check_against("other-ids", FMP_GOLDEN_TEXTS, FMP_E_MISMATCH,
                  "the tokenizer is not the one that was trained with: golden conversation 1, token ");
    check_against("other-text", FMP_GOLDEN_TEXTS, FMP_E_MISMATCH,
                  "the chat template is not the one that was trained with: golden conversation 1, byte ");
    check_against("other-bytes", FMP_GOLDEN_TEXTS, FMP_OK, "");
    check_against("other-bytes", FMP_GOLDEN_DIGESTS, FMP_E_MISMATCH, "the chat template is not the one");
    check_against("other-spaces", FMP_GOLDEN_TEXTS, FMP_OK, "");
    check_against("other-spaces", FMP_GOLDEN_DIGESTS, FMP_E_MISMATCH, "the tokenizer is not the one");
}

static void an_adapter_with_a_template_of_its_own_is_opened_with_it(void **state)
{
    (void)state;
    fmp_chat *chat = NULL;
    make_model("own", TOKENIZER(ABCD), "{{ '' }}" TEMPLATE "{# own #}");
    chat = open_model("own");
    write_golden(chat, 3, 8, false, true, "tokens");
    char digest[65];
    snprintf(digest, sizeof digest, "%s", fmp_chat_template_digest(chat));
    fmp_chat_free(chat);
    put_file("tokens/tokenizer", "chat_template.jinja", "{{ '' }}" TEMPLATE "{# own #}");
    assert_int_equal(fmp_mkdirs(at("adapter"), NULL), FMP_OK);
    assert_int_equal(fmp_golden_copy(at("tokens"), at("adapter"), NULL), FMP_OK);
    assert_int_equal(fmp_golden_open_chat(at("model"), at("adapter"), &chat, NULL), FMP_OK);
    assert_string_equal(fmp_chat_template_digest(chat), digest);
    fmp_chat_free(chat);
    assert_int_equal(fmp_golden_open_chat(at("model"), at("model"), &chat, NULL),
                     FMP_OK); /* no golden.json there */
    assert_string_not_equal(fmp_chat_template_digest(chat), digest);
    fmp_chat_free(chat);
    assert_int_equal(fmp_golden_open_chat(at("model"), NULL, &chat, NULL), FMP_OK);
    fmp_chat_free(chat);
}

static void a_golden_file_of_another_form_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{}",
        "[]",
        "{\"format\":\"fmpipe.golden/2\"}",
        "{\"format\":\"fmpipe.golden/1\"}",
        "{\"format\":\"fmpipe.golden/1\",\"pairs\":[1]}",
        "{\"format\":\"fmpipe.golden/1\",\"pairs\":[{\"messages\":{},\"text\":\"\",\"ids\":[]}]}",
        "{\"format\":\"fmpipe.golden/1\",\"pairs\":[{\"messages\":[],\"text\":\"\",\"ids\":[\"x\"]}]}",
        "{\"format\":\"fmpipe.golden/1\",\"pairs\":[{\"messages\":[],\"text\":\"\",\"ids\":[1e300]}]}"};
    fmp_chat *chat = open_model("model");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fmp_err err = FMP_ERR_INIT;
        put_file("bad", "golden.json", bad[i]);
        fmp_status status = fmp_golden_check(chat, at("bad"), FMP_GOLDEN_TEXTS, NULL, &err);
        if (status != FMP_E_DATA) { fail_msg("%s gave %d %s", bad[i], (int)status, err.message); }
    }
    fmp_chat_free(chat);
    assert_int_equal(fmp_golden_check(NULL, at("nowhere"), FMP_GOLDEN_TEXTS, NULL, NULL), FMP_E_IO);
}

/* ---- views ---- */

static void a_view_names_kind_and_source_of_each_token(void **state)
{
    (void)state;
    static const struct {
        fmp_view_kind kind;
        const char *source;
    } expected[] = {{FMP_VIEW_TEMPLATE, "template"},          {FMP_VIEW_INPUT, "messages[0].content"},
                    {FMP_VIEW_TEMPLATE, "template"},          {FMP_VIEW_TEMPLATE, "template"},
                    {FMP_VIEW_FORCED, "messages[1].content"}, {FMP_VIEW_LEARNED, "messages[1].content"},
                    {FMP_VIEW_FORCED, "messages[1].content"}, {FMP_VIEW_LEARNED, "template"}};
    fmp_chat *chat = open_model("model");
    fmp_chat_result r;
    fmp_token_view *views = NULL;
    fmp_arena *arena = fmp_arena_new(0);
    cJSON *doc = conversation("a", "bcd"), *note = NULL;
    const char *text = "{\"forced\":[[0,1],[2,3]],\"forced_weight\":0}";
    assert_int_equal(fmp_json_parse(text, strlen(text), NULL, &note, NULL), FMP_OK);
    cJSON_AddItemToObject(cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(doc, "messages"), 1), "fmp",
                          note);
    const fmp_chat_options o = {.supervise = true};
    assert_int_equal(fmp_chat_result_init(&r, NULL), FMP_OK);
    assert_int_equal(fmp_chat_encode(chat, doc, &o, &r, NULL), FMP_OK);
    assert_int_equal(fmp_token_views(doc, &r, arena, &views, NULL), FMP_OK);
    assert_int_equal(r.tokens.n, sizeof expected / sizeof *expected);
    for (size_t i = 0; i < r.tokens.n; i++) {
        assert_int_equal(views[i].kind, expected[i].kind);
        assert_string_equal(views[i].source, expected[i].source);
        assert_true(views[i].weight == r.weight[i] && views[i].id == r.tokens.ids[i]);
    }
    cJSON_Delete(doc);
    fmp_arena_free(arena);
    fmp_chat_result_free(&r);
    fmp_chat_free(chat);
}

static void a_part_of_a_character_is_shown_as_bytes(void **state)
{
    (void)state;
    static const char text[] = "a\xC3\xA9z"; /* a é z */
    fmp_buf out = {0};
    fmp_token_view_text(text, 0, 2, &out);
    fmp_token_view_text(text, 2, 4, &out);
    fmp_token_view_text(text, 1, 3, &out);
    assert_string_equal(out.data, "a\\xc3\\xa9z\xC3\xA9");
    fmp_buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_choice_does_not_depend_on_the_order),
        cmocka_unit_test(long_texts_come_last_and_huge_ones_never),
        cmocka_unit_test(a_changed_tokenizer_or_template_is_refused_by_name),
        cmocka_unit_test(an_adapter_with_a_template_of_its_own_is_opened_with_it),
        cmocka_unit_test(a_golden_file_of_another_form_is_refused),
        cmocka_unit_test(a_view_names_kind_and_source_of_each_token),
        cmocka_unit_test(a_part_of_a_character_is_shown_as_bytes),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
