/* links: fmbase fmtext */
/*
 * Chat templates as they are found: what opening one finds out about it, which messages are learned under
 * each policy, turns one by one, templates that rewrite their past, and tokens that swallow white space.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fmpipe/chat.h>
#include <fmpipe/fs.h>
#include <fmpipe/json.h>

#include <stdlib.h>
#include <unistd.h>

static char root[] = "/tmp/fmp-test-turns-XXXXXX";
static fmp_chat_result r;
static fmp_arena *arena;

static const char *const specials[] = {"<s>",   "</s>",        "<|user|>", "<|assistant|>",
                                       "<pad>", "<tool_call>", "<wide>"};
enum { N_SPECIALS = sizeof specials / sizeof specials[0], EOS = 1, USER = 2, TOOL_CALL = 5, WIDE = 6 };

static fmp_status next_text(void *arg, const char **text, size_t *len, fmp_err *err)
{
    static const char some[] =
        "What is the weather in Paris? {\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}";
    size_t *i = arg;
    (void)err;
    *text = *i < 20 ? some : NULL;
    *len = sizeof some - 1;
    ++*i;
    return FMP_OK;
}

static void set_flag(cJSON *json, const char *content, const char *flag, bool value)
{
    cJSON *token;
    cJSON_ArrayForEach(token, fmp_json_get(json, "added_tokens"))
    {
        if (strcmp(fmp_json_str(token, "content", ""), content) != 0) { continue; }
        cJSON_ReplaceItemInObjectCaseSensitive(token, flag, cJSON_CreateBool(value));
    }
}

/* <tool_call> is an added token without being special, <wide> swallows the white space around it. */
static int make_tokenizer(void **state)
{
    fmp_err err = FMP_ERR_INIT;
    size_t i = 0;
    cJSON *json = NULL;
    (void)state;
    fmp_tok_train_options o = {.vocab_size = 330,
                               .special = specials,
                               .n_special = N_SPECIALS,
                               .bos = "<s>",
                               .eos = "</s>",
                               .pad = "<pad>"};
    fmp_json_install_hooks();
    if (!mkdtemp(root) || fmp_tokenizer_train(&o, next_text, &i, root, &err) != FMP_OK) { return -1; }
    char *path = fmp_path_join(root, "tokenizer.json");
    if (fmp_json_load(path, NULL, &json, &err) != FMP_OK) { return -1; }
    set_flag(json, "<tool_call>", "special", false);
    set_flag(json, "<wide>", "lstrip", true);
    set_flag(json, "<wide>", "rstrip", true);
    char *text = fmp_json_text(json, FMP_JSON_COMPACT);
    int failed = fmp_write_file(path, text, strlen(text), &err) != FMP_OK;
    free(text);
    free(path);
    cJSON_Delete(json);
    arena = fmp_arena_new(0);
    return failed || !arena || fmp_chat_result_init(&r, &err) != FMP_OK ? -1 : 0;
}

static int remove_tokenizer(void **state)
{
    (void)state;
    fmp_chat_result_free(&r);
    fmp_arena_free(arena);
    return fmp_remove_tree(root, NULL) == FMP_OK ? 0 : -1;
}

/* ---------------------------------------------------------------------------------------------- helpers */

static cJSON *parse(const char *text)
{
    cJSON *doc = NULL;
    fmp_err err = FMP_ERR_INIT;
    if (fmp_json_parse(text, strlen(text), NULL, &doc, &err) != FMP_OK) {
        fail_msg("%s in %s", err.message, text);
    }
    return doc;
}

static fmp_chat *open_with(const char *template_, fmp_chat_open_options o)
{
    char path[64];
    fmp_chat *chat = NULL;
    fmp_err err = FMP_ERR_INIT;
    snprintf(path, sizeof path, "%s/t.jinja", root);
    assert_int_equal(fmp_write_file(path, template_, strlen(template_), &err), FMP_OK);
    o.template_ = path;
    if (fmp_chat_open_with(root, &o, &chat, &err) != FMP_OK) { fail_msg("%s", err.message); }
    return chat;
}

static fmp_chat *open_text(const char *template_)
{
    return open_with(template_, (fmp_chat_open_options){0});
}

static fmp_status encode_status(const fmp_chat *chat, const char *text, fmp_chat_options o, fmp_err *err)
{
    cJSON *doc = parse(text);
    fmp_status status = fmp_chat_encode(chat, doc, &o, &r, err);
    cJSON_Delete(doc);
    return status;
}

static void encode(const fmp_chat *chat, const char *text, fmp_chat_options o)
{
    fmp_err err = FMP_ERR_INIT;
    if (encode_status(chat, text, o, &err) != FMP_OK) { fail_msg("%s", err.message); }
}

static void assert_rendered(const char *expected)
{
    fmp_buf text = {0};
    fmp_buf_add(&text, r.rendered.text.data, r.rendered.text.len);
    assert_string_equal(text.data, expected);
    fmp_buf_free(&text);
}

/* The learned texts, each run of supervised tokens followed by "|". */
static void assert_learned(const char *expected)
{
    fmp_buf text = {0};
    for (size_t i = 0; i < r.tokens.n; i++) {
        if (r.weight[i] <= 0) { continue; }
        fmp_buf_add(&text, r.rendered.text.data + r.tokens.begin[i], r.tokens.end[i] - r.tokens.begin[i]);
        if (i + 1 == r.tokens.n || r.weight[i + 1] <= 0) { fmp_buf_putc(&text, '|'); }
    }
    assert_string_equal(text.data ? text.data : "", expected);
    fmp_buf_free(&text);
}

static size_t count(uint32_t id)
{
    size_t n = 0;
    for (size_t i = 0; i < r.tokens.n; i++) {
        n += r.tokens.ids[i] == id;
    }
    return n;
}

static void assert_fact(const fmp_chat *chat, const char *name, const char *expected)
{
    cJSON *facts = fmp_chat_facts(chat);
    char *text = fmp_json_text(fmp_json_get(facts, name), FMP_JSON_COMPACT);
    if (!text || strcmp(text, expected) != 0) {
        fail_msg("%s: expected %s, found %s", name, expected, text ? text : "nothing");
    }
    free(text);
    cJSON_Delete(facts);
}

#define HEAD  "{% for m in messages %}"
#define TAIL  "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
#define PLAIN HEAD "<|{{ m.role }}|>{{ m.content }}</s>" TAIL

static const char four[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"sys\"},{\"role\":\"user\",\"content\":\"one\","
    "\"weight\":1},"
    "{\"role\":\"assistant\",\"content\":\"first\"},{\"role\":\"user\",\"content\":\"two\"},"
    "{\"role\":\"assistant\",\"content\":\"second\",\"weight\":0.5}]}";

/* ---------------------------------------------------------------------------------------------- policies */

static void policies_choose_the_messages(void **state)
{
    static const char *const roles[] = {"user", "system"};
    fmp_chat *chat = open_text(PLAIN);
    (void)state;
    encode(chat, four, (fmp_chat_options){.supervise = true});
    assert_learned("first</s>|second</s>|");
    encode(chat, four, (fmp_chat_options){.supervise = true, .policy = FMP_MASK_LAST});
    assert_learned("second</s>|");
    encode(chat, four,
           (fmp_chat_options){.supervise = true, .policy = FMP_MASK_ROLES, .roles = roles, .n_roles = 2});
    assert_learned("sys</s>|one</s>|two</s>|");
    encode(chat, four, (fmp_chat_options){.supervise = true, .policy = FMP_MASK_WEIGHT});
    assert_learned("one</s>|second</s>|");
    fmp_chat_free(chat);
}

static void weights_count_under_every_policy(void **state)
{
    static const char *const roles[] = {"assistant"};
    fmp_chat *chat = open_text(PLAIN);
    fmp_err err = FMP_ERR_INIT;
    (void)state;
    encode(chat, four,
           (fmp_chat_options){.supervise = true, .policy = FMP_MASK_ROLES, .roles = roles, .n_roles = 1});
    assert_learned("first</s>|second</s>|");
    assert_true(r.weight[r.tokens.n - 1] == 0.5f);
    assert_int_equal(encode_status(chat, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
                                   (fmp_chat_options){.supervise = true, .policy = FMP_MASK_WEIGHT}, &err),
                     FMP_E_DATA);
    assert_non_null(strstr(err.message, "no supervised token"));
    fmp_chat_free(chat);
}

/* ---------------------------------------------------------------------------------------------- turns */

static void turns_lists_what_the_policy_supervises(void **state)
{
    static const char silent[] =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\","
        "\"weight\":0},"
        "{\"role\":\"user\",\"content\":\"c\"},{\"role\":\"assistant\",\"content\":\"d\"}]}";
    cJSON *doc = parse(four), *quiet = parse(silent);
    fmp_chat_options o = {.supervise = true};
    size_t *turns, n;
    (void)state;
    assert_int_equal(fmp_chat_turns(doc, &o, arena, &turns, &n, NULL), FMP_OK);
    assert_int_equal(n, 2);
    assert_int_equal(turns[0], 2);
    assert_int_equal(turns[1], 4);
    o.policy = FMP_MASK_WEIGHT;
    assert_int_equal(fmp_chat_turns(doc, &o, arena, &turns, &n, NULL), FMP_OK);
    assert_int_equal(n, 2);
    assert_int_equal(turns[0], 1);
    o.policy = FMP_MASK_ALL;
    assert_int_equal(fmp_chat_turns(quiet, &o, arena, &turns, &n, NULL), FMP_OK);
    assert_int_equal(n, 1);
    assert_int_equal(turns[0], 3);
    cJSON_Delete(doc);
    cJSON_Delete(quiet);
}

/* Like Qwen3 and DeepSeek R1: the reasoning of earlier turns is dropped. */
#define FORGETS                                                                                              \
    HEAD "<|{{ m.role }}|>{% if m.role == 'assistant' and not loop.last %}{{ "                               \
         "m.content.split('</think>')[-1] }}"                                                                \
         "{% else %}{{ m.content }}{% endif %}</s>" TAIL
static const char thinking[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"one\"},{\"role\":"
                               "\"assistant\",\"content\":\"<think>hm</think>first\"},"
                               "{\"role\":\"user\",\"content\":\"two\"},{\"role\":\"assistant\",\"content\":"
                               "\"<think>so</think>second\"}]}";

static void a_forgetful_template_is_found_out(void **state)
{
    fmp_chat *forgets = open_text(FORGETS), *keeps = open_text(PLAIN);
    (void)state;
    assert_fact(forgets, "rewrites_past", "true");
    assert_fact(keeps, "rewrites_past", "false");
    encode(forgets, thinking, (fmp_chat_options){.supervise = true, .check_past = true});
    assert_learned("first</s>|<think>so</think>second</s>|");
    assert_int_equal(r.n_rewritten, 1); /* the first turn was written with its reasoning */
    encode(keeps, thinking, (fmp_chat_options){.supervise = true, .check_past = true});
    assert_int_equal(r.n_rewritten, 0);
    fmp_chat_free(forgets);
    fmp_chat_free(keeps);
}

static void per_turn_renders_each_turn_as_inference_saw_it(void **state)
{
    fmp_chat *chat = open_text(FORGETS);
    cJSON *doc = parse(thinking);
    fmp_chat_options o = {.supervise = true};
    (void)state;
    assert_int_equal(fmp_chat_encode_turn(chat, doc, &o, 1, &r, NULL), FMP_OK);
    assert_rendered("<|user|>one</s><|assistant|><think>hm</think>first</s>");
    assert_learned("<think>hm</think>first</s>|");
    assert_int_equal(fmp_chat_encode_turn(chat, doc, &o, 3, &r, NULL), FMP_OK);
    assert_rendered(
        "<|user|>one</s><|assistant|>first</s><|user|>two</s><|assistant|><think>so</think>second</s>");
    assert_learned("<think>so</think>second</s>|");
    cJSON_Delete(doc);
    fmp_chat_free(chat);
}

/* The prompt opens a thought that the full text does not have. */
#define FORCES                                                                                               \
    HEAD "<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}{% if add_generation_prompt "                       \
         "%}<|assistant|><think>\n{% endif %}"

static void a_prompt_that_opens_a_thought_is_not_answered_without_it(void **state)
{
    fmp_chat *chat = open_text(FORCES);
    cJSON *doc = parse(four);
    fmp_chat_options o = {.supervise = true};
    fmp_err err = FMP_ERR_INIT;
    (void)state;
    assert_int_equal(fmp_chat_encode_turn(chat, doc, &o, 2, &r, &err), FMP_OK);
    assert_rendered("<|system|>sys</s><|user|>one</s><|assistant|>first</s>");
    assert_learned("first</s>|");
    assert_int_equal(r.n_rewritten, 1); /* inference sees <think> in front of it */
    assert_int_equal(fmp_chat_encode(chat, doc, &o, &r, &err), FMP_OK);
    assert_learned("first</s>|second</s>|");
    assert_int_equal(r.n_rewritten, 2);
    cJSON_Delete(doc);
    fmp_chat_free(chat);
}

/* The bytes of the rendering that come from one field. */
static void assert_from(const char *path, const char *expected)
{
    fmp_buf bytes = {0};
    size_t at = 0;
    for (size_t i = 0; i < r.rendered.n_spans; i++) {
        const fmp_span *s = &r.rendered.spans[i];
        assert_int_equal(s->begin, at);
        at = s->end;
        if (s->kind == FMP_SPAN_INPUT && strcmp(r.rendered.paths[s->path], path) == 0) {
            fmp_buf_add(&bytes, r.rendered.text.data + s->begin, s->end - s->begin);
        }
    }
    assert_int_equal(at, r.rendered.text.len);
    assert_string_equal(bytes.data ? bytes.data : "", expected);
    fmp_buf_free(&bytes);
}

/* Like Mistral Nemo: the system message stands in front of the last message, if that is a user's. */
#define MOVES                                                                                                \
    "{% for m in messages %}{% if m.role == 'user' %}<|user|>{% if loop.last and messages[0].role == "       \
    "'system' %}{{ messages[0].content }}: {% endif %}{{ m.content }}<|assistant|>"                          \
    "{% elif m.role == 'assistant' %} {{ m.content }}</s>{% endif %}{% endfor %}"

static void per_turn_puts_the_answer_behind_the_prompt_of_inference(void **state)
{
    fmp_chat *chat = open_text(MOVES);
    cJSON *doc = parse(four);
    fmp_chat_options o = {.supervise = true};
    (void)state;
    assert_fact(chat, "rewrites_past", "false"); /* of what has no system message */
    assert_int_equal(fmp_chat_encode_turn(chat, doc, &o, 4, &r, NULL), FMP_OK);
    assert_rendered("<|user|>one<|assistant|> first</s><|user|>sys: two<|assistant|> second</s>");
    assert_learned(" second</s>|");
    assert_int_equal(r.n_rewritten, 0);
    assert_from("messages[0].content", "sys");
    assert_from("messages[2].content", "first");
    assert_from("messages[4].content", "second");
    assert_int_equal(fmp_chat_encode_turn(chat, doc, &o, 2, &r, NULL), FMP_OK);
    assert_rendered("<|user|>sys: one<|assistant|> first</s>");
    encode(chat, four, (fmp_chat_options){.supervise = true, .check_past = true});
    assert_int_equal(r.n_rewritten, 2);
    cJSON_Delete(doc);
    fmp_chat_free(chat);
}

/* Like DeepSeek R1: calls have no end. Like Command R+, with `behind`: something follows every conversation. */
#define ENDLESS(behind)                                                                                      \
    "{% for m in messages %}{% if m.role == 'tool' %}<wide>{{ m.content }}{% else %}<|{{ m.role }}|>"        \
    "{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% else %}</s>"      \
    "{% endfor %}{% endif %}{% endfor %}" behind "{% if add_generation_prompt %}<|assistant|>{% endif %}"
static const char calling[] =
    "{\"messages\":[{\"role\":\"user\",\"content\":\"one\"},{\"role\":\"assistant\",\"content\":\"\","
    "\"tool_calls\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}}]},"
    "{\"role\":\"tool\",\"content\":\"two\"},{\"role\":\"assistant\",\"content\":\"three\"}]}";

static void calls_without_an_end_name_what_follows_them(void **state)
{
    fmp_chat *chat = open_text(ENDLESS(""));
    fmp_err err = FMP_ERR_INIT;
    (void)state;
    assert_fact(chat, "ends_calls", "false");
    assert_int_equal(encode_status(chat, calling, (fmp_chat_options){.supervise = true}, &err), FMP_E_DATA);
    assert_non_null(strstr(err.message, "no end-of-turn text behind messages[1] (assistant): found"));
    assert_non_null(strstr(err.message, "<wide>"));
    assert_non_null(strstr(err.hint, "stops"));
    assert_non_null(strstr(err.hint, "expand: per_turn"));
    fmp_chat_free(chat);
}

static void calls_end_at_a_named_stop(void **state)
{
    static const char *const stops[] = {"<wide>"};
    fmp_chat *chat = open_with(ENDLESS(""), (fmp_chat_open_options){.stops = stops, .n_stops = 1});
    size_t n;
    (void)state;
    assert_fact(chat, "ends_calls", "true");
    encode(chat, calling, (fmp_chat_options){.supervise = true});
    assert_learned("{\"a\": 1}<wide>|three</s>|");
    const uint32_t *ids = fmp_chat_stops(chat, &n);
    assert_int_equal(n, 2); /* generation stops there, too */
    assert_int_equal(ids[1], WIDE);
    fmp_chat_free(chat);
}

static void per_turn_ends_calls_that_have_no_end(void **state)
{
    fmp_chat *chat = open_text(ENDLESS(""));
    cJSON *doc = parse(calling);
    fmp_chat_options o = {.supervise = true};
    (void)state;
    assert_int_equal(fmp_chat_encode_turn(chat, doc, &o, 1, &r, NULL), FMP_OK);
    assert_rendered("<|user|>one</s><|assistant|>{\"a\": 1}</s>");
    assert_learned("{\"a\": 1}</s>|");
    assert_int_equal(r.n_closed, 1);
    assert_int_equal(r.tokens.ids[r.tokens.n - 1], EOS);
    assert_int_equal(fmp_chat_encode_turn(chat, doc, &o, 3, &r, NULL), FMP_OK);
    assert_int_equal(r.n_closed, 0);
    cJSON_Delete(doc);
    fmp_chat_free(chat);
}

static void text_behind_the_conversation_is_no_part_of_a_call(void **state)
{
    static const char *const stops[] = {"<wide>"};
    fmp_chat *chat = open_text(ENDLESS("<wide>go on</s>"));
    fmp_chat *told =
        open_with(ENDLESS("<wide>go on</s>"), (fmp_chat_open_options){.stops = stops, .n_stops = 1});
    cJSON *doc = parse(calling);
    fmp_chat_options o = {.supervise = true};
    fmp_err err = FMP_ERR_INIT;
    (void)state;
    assert_int_equal(fmp_chat_encode_turn(chat, doc, &o, 1, &r, &err), FMP_E_DATA);
    assert_non_null(strstr(err.message, "found '<wide>go on"));
    assert_int_equal(fmp_chat_encode_turn(told, doc, &o, 1, &r, &err), FMP_OK);
    assert_rendered("<|user|>one</s><wide>go on</s><|assistant|>{\"a\": 1}<wide>");
    assert_learned("{\"a\": 1}<wide>|");
    assert_int_equal(fmp_chat_encode_turn(told, doc, &o, 3, &r, &err), FMP_OK);
    assert_learned("three</s>|");
    cJSON_Delete(doc);
    fmp_chat_free(chat);
    fmp_chat_free(told);
}

/* Like SmolLM3: what the prompt adds depends on what the system message says. */
static void a_prompt_that_depends_on_the_conversation_is_not_the_probed_one(void **state)
{
    static const char quiet[] =
        "{\"messages\":[{\"role\":\"system\",\"content\":\"/quiet\"},{\"role\":\"user\",\"content\":\"one\"},"
        "{\"role\":\"assistant\",\"content\":\"first\"},{\"role\":\"user\",\"content\":\"two\"},"
        "{\"role\":\"assistant\",\"content\":\"second\"}]}";
    fmp_chat *chat =
        open_text("{% set hush = messages and messages[0].content == '/quiet' %}" HEAD "<|{{ m.role }}|>"
                  "{% if hush and m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}</s>" TAIL
                  "{% if add_generation_prompt and hush %}<think></think>{% endif %}");
    (void)state;
    encode(chat, quiet, (fmp_chat_options){.supervise = true});
    assert_learned("first</s>|second</s>|"); /* the empty thought is the prompt's */
    encode(chat, four, (fmp_chat_options){.supervise = true});
    assert_learned("first</s>|second</s>|");
    fmp_chat_free(chat);
}

/* ---------------------------------------------------------------------------------------------- facts */

#define CALLED HEAD "<|{{ m.role }}|>{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ "
#define CLOSED " }}{% endfor %}</s>" TAIL
static const char call_talk[] =
    "{\"messages\":[{\"role\":\"user\",\"content\":\"go\"},{\"role\":\"assistant\",\"content\":\"\",\"tool_"
    "calls\":["
    "{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{\"x\":[1,true]}}}]}]}";

static void arguments_are_given_in_the_form_that_comes_out_whole(void **state)
{
    static const struct {
        const char *call, *arguments, *rendered;
    } cases[] = {
        {"c.function.arguments|tojson", "\"value\"",
         "<|user|>go</s><|assistant|><tool_call>{\"x\": [1, true]}</s>"},
        {"c.function.arguments", "\"text\"", "<|user|>go</s><|assistant|><tool_call>{\"x\": [1, true]}</s>"},
        {"c.function.arguments if c.function.arguments is string else c.function.arguments|tojson",
         "\"either\"", "<|user|>go</s><|assistant|><tool_call>{\"x\": [1, true]}</s>"},
        {"c.function.arguments.items()|map('join', '=')|join(' ')", "\"value\"",
         "<|user|>go</s><|assistant|><tool_call>x=[1, True]</s>"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[600];
        snprintf(text, sizeof text, "%s%s%s", CALLED, cases[i].call, CLOSED);
        fmp_chat *chat = open_text(text);
        assert_fact(chat, "arguments", cases[i].arguments);
        assert_fact(chat, "calls", i == 3 ? "\"other\"" : "\"json\"");
        encode(chat, call_talk, (fmp_chat_options){.supervise = true});
        assert_rendered(cases[i].rendered);
        fmp_chat_free(chat);
    }
}

static void arguments_as_text_become_a_value_where_a_value_is_wanted(void **state)
{
    static const char talk[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"go\"},{\"role\":"
                               "\"assistant\",\"content\":\"\",\"tool_calls\":["
                               "{\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\": [1,true]}\"}}]}]}";
    fmp_chat *value = open_text(CALLED "c.function.arguments|tojson" CLOSED);
    fmp_chat *text = open_text(CALLED "c.function.arguments" CLOSED);
    (void)state;
    encode(value, talk, (fmp_chat_options){.supervise = true});
    assert_rendered("<|user|>go</s><|assistant|><tool_call>{\"x\": [1, true]}</s>");
    encode(text, talk, (fmp_chat_options){.supervise = true});
    assert_rendered("<|user|>go</s><|assistant|><tool_call>{\"x\": [1,true]}</s>"); /* as it was */
    fmp_chat_free(value);
    fmp_chat_free(text);
}

static void absent_content_is_given_as_the_template_needs_it(void **state)
{
    static const char absent[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"go\"},{\"role\":"
                                 "\"assistant\",\"tool_calls\":[{\"function\":"
                                 "{\"name\":\"f\",\"arguments\":{}}}]}]}";
    /* "+" fails on what is no string */
    fmp_chat *chat = open_text(HEAD "{{ '<|' + m.role + '|>' + m.content }}{% for c in m.tool_calls or [] "
                                    "%}{{ c.function.arguments|tojson }}"
                                    "{% endfor %}</s>" TAIL);
    (void)state;
    assert_fact(chat, "empty_content", "[\"empty\"]");
    encode(chat, absent, (fmp_chat_options){.supervise = true});
    assert_rendered("<|user|>go</s><|assistant|>{}</s>");
    fmp_chat_free(chat);
}

static void ids_are_exchanged_where_a_template_wants_nine_letters(void **state)
{
    static const char talk[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"go\"},{\"role\":"
                               "\"assistant\",\"content\":\"\",\"tool_calls\":["
                               "{\"id\":\"call_a\",\"function\":{\"name\":\"f\",\"arguments\":{}}},"
                               "{\"function\":{\"name\":\"f\",\"arguments\":{}}}]},"
                               "{\"role\":\"tool\",\"content\":\"2nd\"},{\"role\":\"tool\",\"tool_call_id\":"
                               "\"call_a\",\"content\":\"1st\"}]}";
    fmp_chat *chat = open_text(
        HEAD "<|{{ m.role }}|>{{ m.content }}{% for c in m.tool_calls or [] %}"
             "{% if c.id is undefined or c.id|length != 9 %}{{ raise_exception('nine!') }}{% endif %}"
             "{{ c.function.arguments|tojson }}#{{ c.id }}{% endfor %}"
             "{% if m.role == 'tool' %}#{{ m.tool_call_id }}{% endif %}</s>" TAIL);
    (void)state;
    assert_fact(chat, "call_ids", "\"nine\"");
    encode(chat, talk, (fmp_chat_options){0});
    assert_rendered("<|user|>go</s><|assistant|>{}#call00000{}#call00001</s><|tool|>2nd#call00000</"
                    "s><|tool|>1st#call00000</s>");
    fmp_chat_free(chat);
}

static void a_template_without_its_stop_is_refused_before_any_row(void **state)
{
    fmp_chat *chat = open_text(HEAD "<|{{ m.role }}|>{{ m.content }}\n" TAIL),
             *refuses = open_text("{{ raise_exception('never') }}"), *good = open_text(PLAIN);
    const char *const stops[] = {"\n"};
    fmp_chat *named = open_with(HEAD "<|{{ m.role }}|>{{ m.content }}\n\n" TAIL,
                                (fmp_chat_open_options){.stops = stops, .n_stops = 1});
    fmp_err err = FMP_ERR_INIT;
    (void)state;
    assert_int_equal(fmp_chat_check(chat, &err), FMP_E_CONFIG);
    assert_non_null(
        strstr(err.message, "writes no stop text behind an assistant message: expected one of '</s>'"));
    assert_int_equal(fmp_chat_check(refuses, &err), FMP_E_CONFIG);
    assert_non_null(strstr(err.message, "refuses a plain conversation: never"));
    assert_int_equal(fmp_chat_check(good, &err), FMP_OK);
    assert_int_equal(fmp_chat_check(named, &err), FMP_OK);
    encode(named, four, (fmp_chat_options){.supervise = true});
    assert_learned("first\n|second\n|");
    fmp_chat_free(chat);
    fmp_chat_free(refuses);
    fmp_chat_free(good);
    fmp_chat_free(named);
}

static void variables_and_the_date_are_those_given(void **state)
{
    cJSON *variables = parse("{\"mood\":\"calm\"}"), *bad = parse("{\"messages\":[]}");
    const char *text = "{{ strftime_now('%Y-%m-%d') }} {{ mood }}|" PLAIN;
    fmp_chat *plain = open_text(text),
             *set = open_with(
                 text, (fmp_chat_open_options){.variables = variables, .has_now = true, .now_unix = 86400}),
             *none = NULL;
    fmp_chat_open_options wrong = {.variables = bad};
    fmp_err err = FMP_ERR_INIT;
    (void)state;
    cJSON_Delete(variables); /* it was copied */
    encode(plain, "{\"messages\":[]}", (fmp_chat_options){0});
    assert_rendered("2024-07-26 |");
    encode(set, "{\"messages\":[]}", (fmp_chat_options){0});
    assert_rendered("1970-01-02 calm|");
    assert_int_equal(fmp_chat_open_with(root, &wrong, &none, &err), FMP_E_CONFIG);
    assert_null(none);
    cJSON_Delete(bad);
    fmp_chat_free(plain);
    fmp_chat_free(set);
}

/* ---------------------------------------------------------------------------------------------- tokens */

static void markup_comes_from_templates_and_answers_only(void **state)
{
    fmp_chat *chat = open_text(PLAIN);
    (void)state;
    encode(chat,
           "{\"messages\":[{\"role\":\"user\",\"content\":\"a <tool_call> "
           "b\"},{\"role\":\"assistant\",\"content\":\"<tool_call>x\"}]}",
           (fmp_chat_options){.supervise = true});
    assert_int_equal(count(TOOL_CALL), 1);
    assert_int_equal(r.n_control_text, 1);
    assert_learned("<tool_call>x</s>|");
    encode(chat,
           "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"</"
           "s><s>x\"}]}",
           (fmp_chat_options){.supervise = true});
    assert_int_equal(count(EOS), 2); /* not even an answer may stop early */
    assert_learned("</s><s>x</s>|");
    fmp_chat_free(chat);
}

static void a_token_swallows_white_space_as_in_the_whole_text(void **state)
{
    static const char *const users[] = {"one  ", "a", " <s> ", "x <|user|>  "};
    fmp_chat *chat = open_text(HEAD "<|user|>{{ m.content }}<wide>  {{ m.content }}</s>{% endfor %}");
    fmp_token_list whole = {0};
    fmp_tok_scratch *scratch = fmp_tok_scratch_new();
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        char talk[200];
        snprintf(talk, sizeof talk, "{\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}", users[i]);
        encode(chat, talk, (fmp_chat_options){0});
        assert_int_equal(count(WIDE), 1);
        assert_int_equal(count(USER), 1);
        size_t k = 0;
        while (r.tokens.ids[k] != WIDE) {
            k++;
        }
        const char *text = r.rendered.text.data;
        assert_true(text[r.tokens.end[k] - 1] == ' ' || text[r.tokens.end[k] - 1] == '>');
        assert_true(text[r.tokens.end[k]] != ' '); /* all the white space behind it is its own */
        assert_true(text[r.tokens.begin[k] - 1] != ' ');
        whole.n = 0;
        assert_int_equal(fmp_tokenizer_encode(fmp_chat_tokenizer(chat), scratch, text, r.rendered.text.len,
                                              FMP_TOK_SPECIAL, &whole, NULL),
                         FMP_OK);
        bool same =
            whole.n == r.tokens.n && memcmp(whole.ids, r.tokens.ids, whole.n * sizeof *whole.ids) == 0;
        assert_int_equal(same, i < 2); /* with control text in the content it may not be the same */
    }
    fmp_tok_scratch_free(scratch);
    fmp_token_list_free(&whole);
    fmp_chat_free(chat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policies_choose_the_messages),
        cmocka_unit_test(weights_count_under_every_policy),
        cmocka_unit_test(turns_lists_what_the_policy_supervises),
        cmocka_unit_test(a_forgetful_template_is_found_out),
        cmocka_unit_test(per_turn_renders_each_turn_as_inference_saw_it),
        cmocka_unit_test(a_prompt_that_opens_a_thought_is_not_answered_without_it),
        cmocka_unit_test(per_turn_puts_the_answer_behind_the_prompt_of_inference),
        cmocka_unit_test(calls_without_an_end_name_what_follows_them),
        cmocka_unit_test(calls_end_at_a_named_stop),
        cmocka_unit_test(per_turn_ends_calls_that_have_no_end),
        cmocka_unit_test(text_behind_the_conversation_is_no_part_of_a_call),
        cmocka_unit_test(a_prompt_that_depends_on_the_conversation_is_not_the_probed_one),
        cmocka_unit_test(arguments_are_given_in_the_form_that_comes_out_whole),
        cmocka_unit_test(arguments_as_text_become_a_value_where_a_value_is_wanted),
        cmocka_unit_test(absent_content_is_given_as_the_template_needs_it),
        cmocka_unit_test(ids_are_exchanged_where_a_template_wants_nine_letters),
        cmocka_unit_test(a_template_without_its_stop_is_refused_before_any_row),
        cmocka_unit_test(variables_and_the_date_are_those_given),
        cmocka_unit_test(markup_comes_from_templates_and_answers_only),
        cmocka_unit_test(a_token_swallows_white_space_as_in_the_whole_text),
    };
    return cmocka_run_group_tests(tests, make_tokenizer, remove_tokenizer);
}
