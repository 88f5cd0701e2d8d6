/* links: fmbase fmtext */
/*
 * Properties that hold for every chat template: the templates that ship, and the real ones of the shared
 * data where they are at hand. Provenance names the bytes it says, no user text becomes a control token,
 * and what is learned begins where the model would begin.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fmpipe/chat.h>
#include <fmpipe/fs.h>
#include <fmpipe/json.h>

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_TEMPLATES = 200, MAX_ROWS = 24 };

static char root[] = "/tmp/fmp-test-corpus-XXXXXX";
static char *templates[MAX_TEMPLATES];
static size_t n_templates;
static cJSON *rows[MAX_ROWS];
static size_t n_rows;
static fmp_chat_result r;

/* Control tokens of many families; <tool_call> and <think> are made markup without being special. */
static const char *const controls[] = {"<|im_end|>",
                                       "<|im_start|>",
                                       "</s>",
                                       "<s>",
                                       "<|eot_id|>",
                                       "<|start_header_id|>",
                                       "<|end_header_id|>",
                                       "<|eom_id|>",
                                       "<turn_end>",
                                       "<turn_start>",
                                       "<|end|>",
                                       "<|user|>",
                                       "<|assistant|>",
                                       "<end_of_turn>",
                                       "<start_of_turn>",
                                       "[INST]",
                                       "[/INST]",
                                       "[TOOL_CALLS]",
                                       "<|endoftext|>",
                                       "<|END_OF_TURN_TOKEN|>",
                                       "<｜end▁of▁sentence｜>",
                                       "<|call|>",
                                       "<tool_call>",
                                       "<think>"};
enum { N_CONTROLS = sizeof controls / sizeof controls[0], N_SPECIAL = N_CONTROLS - 2 };

/* ---------------------------------------------------------------------------------------------- set up */

static fmp_status next_text(void *arg, const char **text, size_t *len, fmp_err *err)
{
    static const char some[] =
        "Find me a restaurant in San Jose. {\"name\": \"FindRestaurants\", \"city\": \"San Jose\"}";
    size_t *i = arg;
    (void)err;
    *text = *i < 20 ? some : NULL;
    *len = sizeof some - 1;
    ++*i;
    return FMP_OK;
}

/* The last two of `controls` lose their special mark. */
static int unmark(void)
{
    cJSON *json = NULL, *token;
    fmp_err err = FMP_ERR_INIT;
    char *path = fmp_path_join(root, "tokenizer.json");
    if (fmp_json_load(path, NULL, &json, &err) != FMP_OK) { return -1; }
    cJSON_ArrayForEach(token, fmp_json_get(json, "added_tokens"))
    {
        const char *text = fmp_json_str(token, "content", "");
        bool mark = strcmp(text, "<tool_call>") == 0 || strcmp(text, "<think>") == 0;
        if (mark) { cJSON_ReplaceItemInObjectCaseSensitive(token, "special", cJSON_CreateFalse()); }
    }
    char *text = fmp_json_text(json, FMP_JSON_COMPACT);
    int failed = fmp_write_file(path, text, strlen(text), &err) != FMP_OK;
    cJSON_Delete(json);
    free(text);
    free(path);
    return failed ? -1 : 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void find_templates(const char *dir)
{
    DIR *d = opendir(dir);
    if (!d) { return; }
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        size_t n = strlen(e->d_name);
        char *path = fmp_path_join(dir, e->d_name);
        if (e->d_name[0] != '.' && e->d_type == DT_DIR) { find_templates(path); }
        if (n > 6 && strcmp(e->d_name + n - 6, ".jinja") == 0 && n_templates < MAX_TEMPLATES) {
            templates[n_templates++] = path;
        } else {
            free(path);
        }
    }
    closedir(d);
}

/* Call arguments as values: the form in which conversations are held. */
static void open_arguments(cJSON *row)
{
    cJSON *message, *call;
    cJSON_ArrayForEach(message, fmp_json_get(row, "messages"))
    {
        cJSON_ArrayForEach(call, fmp_json_get(message, "tool_calls"))
        {
            cJSON *f = cJSON_GetObjectItemCaseSensitive(call, "function"), *value = NULL;
            const char *text = fmp_json_str(f, "arguments", NULL);
            if (!text || fmp_json_parse(text, strlen(text), NULL, &value, NULL) != FMP_OK) { continue; }
            cJSON_ReplaceItemInObjectCaseSensitive(f, "arguments", value);
        }
    }
}

static void read_rows(const char *path)
{
    fmp_buf text = {0};
    if (fmp_read_file(path, 0, &text, NULL) != FMP_OK) { return; }
    for (char *at = text.data, *end; n_rows < MAX_ROWS && (end = strchr(at, '\n')) != NULL; at = end + 1) {
        cJSON *row = NULL;
        if (fmp_json_parse(at, (size_t)(end - at), NULL, &row, NULL) != FMP_OK) { break; }
        open_arguments(row);
        rows[n_rows++] = row;
    }
    fmp_buf_free(&text);
}

static int set_up(void **state)
{
    const char *shared = getenv("FMP_SHARED_DATA"), *name;
    fmp_err err = FMP_ERR_INIT;
    size_t i = 0;
    char path[4096];
    (void)state;
    fmp_tok_train_options o = {
        .vocab_size = 700, .special = controls, .n_special = N_CONTROLS, .bos = "<s>", .eos = "<|im_end|>"};
    fmp_json_install_hooks();
    if (!mkdtemp(root) || fmp_tokenizer_train(&o, next_text, &i, root, &err) != FMP_OK || unmark() != 0) {
        return -1;
    }
    for (i = 0; (name = fmp_template_builtin_name(i)) != NULL; i++) {
        templates[n_templates++] = strdup(name);
    }
    if (shared) {
        snprintf(path, sizeof path, "%s/chat-templates", shared);
        find_templates(path);
        qsort(templates, n_templates, sizeof *templates, by_name);
        snprintf(path, sizeof path, "%s/sgd/dev.openai.jsonl", shared);
        read_rows(path);
    } else {
        print_message("the real templates and rows are left out: FMP_SHARED_DATA is not set\n");
    }
    return fmp_chat_result_init(&r, &err) == FMP_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_templates; i++) {
        free(templates[i]);
    }
    for (size_t i = 0; i < n_rows; i++) {
        cJSON_Delete(rows[i]);
    }
    fmp_chat_result_free(&r);
    return fmp_remove_tree(root, NULL) == FMP_OK ? 0 : -1;
}

static fmp_chat *open_chat(const char *template_)
{
    static const char *const stops[] = {
        "</s>",    "<|eot_id|>",           "<|eom_id|>",    "<turn_end>",
        "<|end|>", "<end_of_turn>",        "<|endoftext|>", "<|END_OF_TURN_TOKEN|>",
        "<|eos|>", "<｜end▁of▁sentence｜>"};
    const fmp_chat_open_options o = {
        .template_ = template_, .stops = stops, .n_stops = sizeof stops / sizeof stops[0]};
    fmp_chat *chat = NULL;
    fmp_err err = FMP_ERR_INIT;
    if (fmp_chat_open_with(root, &o, &chat, &err) != FMP_OK) { fail_msg("%s: %s", template_, err.message); }
    return chat;
}

static cJSON *parse(const char *text)
{
    cJSON *doc = NULL;
    fmp_err err = FMP_ERR_INIT;
    if (fmp_json_parse(text, strlen(text), NULL, &doc, &err) != FMP_OK) { fail_msg("%s", err.message); }
    return doc;
}

static bool fact(const fmp_chat *chat, const char *name)
{
    cJSON *facts = fmp_chat_facts(chat);
    bool yes = cJSON_IsTrue(fmp_json_get(facts, name));
    cJSON_Delete(facts);
    return yes;
}

/* ---------------------------------------------------------------------------------------------- provenance */

/* The value at a path such as messages[3].tool_calls[0].function.name; NULL: not to be found. */
static const cJSON *value_at(const cJSON *doc, const char *path)
{
    char name[256];
    while (doc && *path) {
        size_t n = strcspn(path, ".[");
        if (n > 0 && n < sizeof name) {
            memcpy(name, path, n);
            name[n] = 0;
            doc = fmp_json_get(doc, name);
            path += n;
        } else if (*path == '.') {
            path++;
        } else if (path[1] == '"') {
            return NULL;
        } else {
            doc = cJSON_GetArrayItem(doc, (int)strtol(path + 1, NULL, 10));
            path = strchr(path, ']') + 1;
        }
    }
    return doc;
}

static void assert_spans_tell_the_truth(const cJSON *doc, const char *name)
{
    size_t at = 0;
    for (size_t i = 0; i < r.rendered.n_spans; i++) {
        const fmp_span *s = &r.rendered.spans[i];
        if (s->begin != at || s->end <= s->begin) { fail_msg("%s: span %zu does not follow on", name, i); }
        at = s->end;
        if (s->kind != FMP_SPAN_INPUT || s->src == FMP_SPAN_NO_SRC) { continue; }
        const char *path = r.rendered.paths[s->path];
        const cJSON *value = value_at(doc, path);
        bool exchanged =
            strstr(path, "].id") || strstr(path, ".tool_call_id"); /* some templates want other ids */
        if (!cJSON_IsString(value) || exchanged) { continue; }
        size_t len = s->end - s->begin;
        if (s->src + len > strlen(value->valuestring) ||
            memcmp(value->valuestring + s->src, r.rendered.text.data + s->begin, len) != 0) {
            fail_msg("%s: bytes %zu to %zu are not those of %s from %zu", name, s->begin, s->end, path,
                     s->src);
        }
    }
    assert_int_equal(at, r.rendered.text.len);
}

static void spans_name_the_bytes_they_say(void **state)
{
    size_t n = 0;
    (void)state;
    for (size_t i = 0; i < n_templates; i++) {
        fmp_chat *chat = open_chat(templates[i]);
        for (size_t k = 0; k < n_rows; k++) {
            fmp_chat_options o = {0};
            if (fmp_chat_encode(chat, rows[k], &o, &r, NULL) != FMP_OK) { continue; }
            assert_spans_tell_the_truth(rows[k], templates[i]);
            n++;
        }
        fmp_chat_free(chat);
    }
    assert_true(n_rows == 0 || n > n_rows * n_templates / 2);
}

/* All bytes from one field, in the order of the output. */
static void bytes_of(const char *path, fmp_buf *out)
{
    out->len = 0;
    for (size_t i = 0; i < r.rendered.n_spans; i++) {
        const fmp_span *s = &r.rendered.spans[i];
        if (s->kind == FMP_SPAN_INPUT && strcmp(r.rendered.paths[s->path], path) == 0) {
            fmp_buf_add(out, r.rendered.text.data + s->begin, s->end - s->begin);
        }
    }
}

static void each_field_comes_out_exactly_once(void **state)
{
    cJSON *doc = parse(
        "{\"messages\":[{\"role\":\"user\",\"content\":\"Who are you, <b>\\u00e9</b>?\\nTell me.\"},"
        "{\"role\":\"assistant\",\"content\":\"I am \\\"one\\\" & 'only'.\"},"
        "{\"role\":\"user\",\"content\":\"And where?\"},{\"role\":\"assistant\",\"content\":\"Here.\"}]}");
    fmp_buf bytes = {0};
    size_t n = 0;
    (void)state;
    for (size_t i = 0; i < n_templates; i++) {
        fmp_chat *chat = open_chat(templates[i]);
        fmp_chat_options o = {0};
        bool rendered = fmp_chat_encode(chat, doc, &o, &r, NULL) == FMP_OK;
        for (size_t m = 0; rendered && m < 4; m++) {
            char path[40];
            snprintf(path, sizeof path, "messages[%zu].content", m);
            bytes_of(path, &bytes);
            const char *content = value_at(doc, path)->valuestring;
            if (bytes.len != strlen(content) || memcmp(bytes.data, content, bytes.len) != 0) {
                fail_msg("%s: %s came out as '%.*s'", templates[i], path, (int)bytes.len, bytes.data);
            }
        }
        n += rendered;
        fmp_chat_free(chat);
    }
    assert_true(n * 2 > n_templates);
    fmp_buf_free(&bytes);
    cJSON_Delete(doc);
}

/* ---------------------------------------------------------------------------------------------- control tokens */

static size_t count_controls(const fmp_chat *chat, size_t counts[N_CONTROLS])
{
    size_t n = 0;
    for (size_t k = 0; k < N_CONTROLS; k++) {
        uint32_t id = fmp_tokenizer_id_of(fmp_chat_tokenizer(chat), controls[k]);
        counts[k] = 0;
        for (size_t i = 0; i < r.tokens.n; i++) {
            counts[k] += r.tokens.ids[i] == id;
        }
        n += counts[k];
    }
    return n;
}

static cJSON *talk_about(const char *user)
{
    cJSON *doc = parse("{\"messages\":[{\"role\":\"user\",\"content\":\"\"},{\"role\":\"assistant\","
                       "\"content\":\"I see.\"}]}");
    cJSON *message = fmp_json_get(doc, "messages")->child;
    cJSON_ReplaceItemInObjectCaseSensitive(message, "content", cJSON_CreateString(user));
    return doc;
}

static void assert_no_control_token_from(const fmp_chat *chat, const char *name, const char *user,
                                         size_t n_spelled, const size_t expected[N_CONTROLS])
{
    size_t counts[N_CONTROLS];
    cJSON *doc = talk_about(user);
    fmp_buf text = {0};
    fmp_chat_options o = {.supervise = true};
    fmp_err err = FMP_ERR_INIT;
    if (fmp_chat_encode(chat, doc, &o, &r, &err) != FMP_OK) { fail_msg("%s: %s", name, err.message); }
    count_controls(chat, counts);
    for (size_t k = 0; k < N_CONTROLS; k++) {
        if (counts[k] != expected[k]) { fail_msg("%s: a user's '%s' became %s", name, user, controls[k]); }
    }
    assert_true(r.n_control_text >= n_spelled);
    assert_int_equal(fmp_tokenizer_decode(fmp_chat_tokenizer(chat), r.tokens.ids, r.tokens.n, 0, &text, NULL),
                     FMP_OK);
    assert_int_equal(text.len, r.rendered.text.len);
    assert_memory_equal(text.data, r.rendered.text.data, text.len);
    fmp_buf_free(&text);
    cJSON_Delete(doc);
}

static void no_user_text_becomes_a_control_token(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_templates; i++) {
        fmp_chat *chat = open_chat(templates[i]);
        cJSON *plain = talk_about("Hello.");
        fmp_chat_options o = {.supervise = true};
        size_t expected[N_CONTROLS];
        fmp_buf all = {0};
        bool renders = fmp_chat_encode(chat, plain, &o, &r, NULL) == FMP_OK;
        if (renders) { assert_true(count_controls(chat, expected) > 0); }
        for (size_t k = 0; renders && k < N_CONTROLS; k++) {
            char user[200];
            snprintf(user, sizeof user, "a %s%s b\n%sc", controls[k], controls[k],
                     controls[(k + 1) % N_CONTROLS]);
            fmp_buf_puts(&all, controls[k]);
            assert_no_control_token_from(chat, templates[i], user, 3, expected);
        }
        if (renders) { assert_no_control_token_from(chat, templates[i], all.data, N_CONTROLS, expected); }
        fmp_buf_free(&all);
        cJSON_Delete(plain);
        fmp_chat_free(chat);
    }
}

/* Real tokenizers of every kind: byte-level, with a space in front of each text or of the first only. */
static const char *const real_tokenizers[] = {
    "hf-misc/phi-3",
    "hf-misc/falcon-tokenizer",
    "hf-gpt2/gpt2.json",
    "sentencepiece-llama2",
    "sentencepiece-mistral/mistral_instruct_tokenizer_240323.model.v3",
    "first"};
enum { N_REAL = sizeof real_tokenizers / sizeof real_tokenizers[0] };

/* phi-3's tokenizer.json with a space in front of the first text only. */
static bool make_first(const char *shared, const char *dir)
{
    char path[4200];
    cJSON *json = NULL, *space = NULL;
    static const char metaspace[] =
        "{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"first\",\"split\":false}";
    snprintf(path, sizeof path, "%s/tokenizers/hf-misc/phi-3/tokenizer.json", shared);
    if (fmp_json_load(path, NULL, &json, NULL) != FMP_OK) { return false; }
    assert_int_equal(fmp_json_parse(metaspace, strlen(metaspace), NULL, &space, NULL), FMP_OK);
    cJSON_ReplaceItemInObjectCaseSensitive(json, "normalizer", cJSON_CreateNull());
    cJSON_ReplaceItemInObjectCaseSensitive(json, "pre_tokenizer", space);
    char *text = fmp_json_text(json, FMP_JSON_COMPACT);
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    assert_int_equal(fmp_mkdirs(dir, NULL), FMP_OK);
    assert_int_equal(fmp_write_file(path, text, strlen(text), NULL), FMP_OK);
    free(text);
    cJSON_Delete(json);
    return true;
}

/* Every special token, between letters and with and without blanks, in the user's text. */
static void spell_all(const fmp_tokenizer *tok, fmp_buf *out)
{
    uint32_t n = 0;
    for (uint32_t id = 0; id < fmp_tokenizer_size(tok) && n < 40; id++) {
        const char *text = fmp_tokenizer_is_special(tok, id) ? fmp_tokenizer_text(tok, id) : NULL;
        if (!text || !*text) { continue; }
        fmp_buf_printf(out, "a%sb %s %s%s", text, text, text, text);
        n++;
    }
    for (size_t k = 0; k < N_CONTROLS; k++) {
        fmp_buf_puts(out, controls[k]);
    }
}

static size_t count_special(const fmp_chat *chat)
{
    size_t n = 0;
    for (size_t i = 0; i < r.tokens.n; i++) {
        n += fmp_tokenizer_is_special(fmp_chat_tokenizer(chat), r.tokens.ids[i]);
    }
    return n;
}

/* A user's spellings add no special token, whatever the tokenizer, and no byte is lost. */
static void check_spellings(const fmp_chat *chat, const char *name)
{
    fmp_chat_options o = {0};
    fmp_buf spelled = {0};
    cJSON *plain = talk_about("Hello.");
    spell_all(fmp_chat_tokenizer(chat), &spelled);
    if (fmp_chat_encode(chat, plain, &o, &r, NULL) == FMP_OK) {
        size_t expected = count_special(chat);
        cJSON *doc = talk_about(spelled.data);
        fmp_err err = FMP_ERR_INIT;
        if (fmp_chat_encode(chat, doc, &o, &r, &err) != FMP_OK) { fail_msg("%s: %s", name, err.message); }
        if (count_special(chat) != expected) {
            fail_msg("%s: %zu special tokens, expected %zu", name, count_special(chat), expected);
        }
        assert_int_equal(r.tokens.end[r.tokens.n - 1], r.rendered.text.len);
        cJSON_Delete(doc);
    }
    fmp_buf_free(&spelled);
    cJSON_Delete(plain);
}

static void no_user_text_becomes_a_control_token_of_any_tokenizer(void **state)
{
    static const char *const stops[] = {"<|im_end|>", "</s>"};
    const char *shared = getenv("FMP_SHARED_DATA");
    char dir[2048], name[4300];
    size_t n = 0;
    (void)state;
    if (!shared) { skip(); }
    for (size_t k = 0; k < N_REAL; k++) {
        bool own = strcmp(real_tokenizers[k], "first") == 0;
        snprintf(dir, sizeof dir, "%s%s/%s", own ? root : shared, own ? "" : "/tokenizers",
                 real_tokenizers[k]);
        if (own ? !make_first(shared, dir) : !fmp_path_exists(dir)) { continue; }
        for (size_t i = 0; i < n_templates; i++) {
            const fmp_chat_open_options o = {.template_ = templates[i], .stops = stops, .n_stops = 2};
            fmp_chat *chat = NULL;
            fmp_err err = FMP_ERR_INIT;
            if (i % N_REAL != k % N_REAL && i > 4) { continue; } /* five with every one, each with some one */
            if (fmp_chat_open_with(dir, &o, &chat, &err) != FMP_OK) {
                if (strstr(err.message, "names no token that ends a turn")) { continue; }
                fail_msg("%s: %s", dir, err.message);
            }
            snprintf(name, sizeof name, "%s with %s", templates[i], dir);
            check_spellings(chat, name);
            fmp_chat_free(chat);
            n++;
        }
    }
    assert_true(n > 20);
}

/* ---------------------------------------------------------------------------------------------- the mask */

static void the_quick_way_to_a_mask_gives_the_exact_mask(void **state)
{
    size_t n = 0;
    (void)state;
    for (size_t i = 0; i < n_templates; i++) {
        fmp_chat *chat = open_chat(templates[i]);
        for (size_t k = 0; k < n_rows; k++) {
            fmp_chat_options quick = {.supervise = true}, exact = {.supervise = true, .check_past = true};
            if (fmp_chat_encode(chat, rows[k], &quick, &r, NULL) != FMP_OK) {
                assert_int_not_equal(fmp_chat_encode(chat, rows[k], &exact, &r, NULL), FMP_OK);
                continue;
            }
            float *weight = malloc(r.tokens.n * sizeof *weight);
            assert_non_null(weight);
            memcpy(weight, r.weight, r.tokens.n * sizeof *weight);
            assert_int_equal(fmp_chat_encode(chat, rows[k], &exact, &r, NULL), FMP_OK);
            if (memcmp(weight, r.weight, r.tokens.n * sizeof *weight) != 0) {
                fail_msg("%s, row %zu", templates[i], k + 1);
            }
            free(weight);
            n++;
        }
        fmp_chat_free(chat);
    }
    if (n_rows == 0) { skip(); }
    assert_true(n > n_rows * 10);
}

/* The supervised tokens of the last turn are those behind the prompt that inference uses. */
static void assert_turn_is_learned_after_its_prompt(const fmp_chat *chat, const cJSON *row, size_t message,
                                                    const char *name)
{
    fmp_chat_options ask = {.n_messages = message, .generation_prompt = true}, learn = {.supervise = true};
    fmp_err err = FMP_ERR_INIT;
    assert_int_equal(fmp_chat_encode(chat, row, &ask, &r, &err), FMP_OK);
    fmp_buf prompt = {0};
    fmp_buf_add(&prompt, r.rendered.text.data, r.rendered.text.len);
    fmp_status status = fmp_chat_encode_turn(chat, row, &learn, message, &r, &err);
    bool refused = status == FMP_E_MISMATCH || status == FMP_E_DATA;
    if (refused || (status == FMP_OK && r.n_rewritten > 0)) { /* told, not trained unsaid */
        fmp_buf_free(&prompt);
        return;
    }
    if (status != FMP_OK) { fail_msg("%s: %s", name, err.message); }
    assert_spans_tell_the_truth(row, name);
    assert_true(r.rendered.text.len > prompt.len &&
                memcmp(r.rendered.text.data, prompt.data, prompt.len) == 0);
    size_t learned = 0;
    for (size_t i = 0; i < r.tokens.n; i++) {
        if (r.weight[i] > 0 && r.tokens.begin[i] < prompt.len) {
            fail_msg("%s: a token of the prompt is learned", name);
        }
        learned += r.weight[i] > 0;
    }
    assert_int_equal(learned, r.n_supervised);
    fmp_buf_free(&prompt);
}

/* Templates whose every turn of such data can be learned alone, as inference sees it. */
static bool learns_every_turn(const char *name)
{
    static const char *const of[] = {"Nemo", "Hermes",  "Qwen",           "Llama-3",
                                     "r7b",  "fm-chat", "adapter-toolkit"};
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        if (strstr(name, of[i]) && !strstr(name, "DeepSeek")) { return true; }
    }
    return false;
}

static void templates_that_rewrite_their_past_can_be_learned_turn_by_turn(void **state)
{
    fmp_arena *arena = fmp_arena_new(0);
    size_t n_learned = 0;
    (void)state;
    for (size_t i = 0; i < n_templates; i++) {
        fmp_chat *chat = open_chat(templates[i]);
        for (size_t k = 0; k < n_rows && k < 6 && learns_every_turn(templates[i]); k++) {
            fmp_chat_options o = {.supervise = true};
            fmp_err err = FMP_ERR_INIT;
            size_t *turns, n;
            if (strstr(templates[i], "firefunction")) { break; } /* needs a variable */
            assert_int_equal(fmp_chat_turns(rows[k], &o, arena, &turns, &n, NULL), FMP_OK);
            for (size_t t = 0; t < n; t++, n_learned++) {
                fmp_status status = fmp_chat_encode_turn(chat, rows[k], &o, turns[t], &r, &err);
                if (status != FMP_OK || r.n_rewritten > 0) {
                    fail_msg("%s, row %zu, message %zu: %s", templates[i], k + 1, turns[t], err.message);
                }
            }
        }
        fmp_chat_free(chat);
    }
    fmp_arena_free(arena);
    if (n_rows == 0) { skip(); }
    assert_true(n_learned > 200);
}

static void a_turn_is_learned_after_the_prompt_of_inference(void **state)
{
    fmp_arena *arena = fmp_arena_new(0);
    (void)state;
    for (size_t i = 0; i < n_templates; i++) {
        fmp_chat *chat = open_chat(templates[i]);
        for (size_t k = 0; k < n_rows && k < 4; k++) {
            fmp_chat_options o = {.supervise = true};
            size_t *turns, n;
            if (fmp_chat_encode(chat, rows[k], &o, &r, NULL) != FMP_OK) { continue; }
            assert_int_equal(fmp_chat_turns(rows[k], &o, arena, &turns, &n, NULL), FMP_OK);
            assert_true(n > 0);
            for (size_t t = 0; t < n; t++) {
                assert_turn_is_learned_after_its_prompt(chat, rows[k], turns[t], templates[i]);
            }
        }
        fmp_chat_free(chat);
    }
    fmp_arena_free(arena);
    if (n_rows == 0) { skip(); }
}

/* A template that keeps its past: the whole conversation and its turns one by one learn the same tokens. */
static void where_the_past_stays_turns_add_up_to_the_conversation(void **state)
{
    fmp_arena *arena = fmp_arena_new(0);
    (void)state;
    for (size_t i = 0; i < n_templates; i++) {
        fmp_chat *chat = open_chat(templates[i]);
        for (size_t k = 0; k < n_rows && k < 3 && !fact(chat, "rewrites_past"); k++) {
            fmp_chat_options o = {.supervise = true, .check_past = true};
            size_t *turns, n, sum = 0;
            if (fmp_chat_encode(chat, rows[k], &o, &r, NULL) != FMP_OK) { continue; }
            size_t whole = r.n_supervised;
            assert_int_equal(r.n_rewritten, 0);
            assert_int_equal(fmp_chat_turns(rows[k], &o, arena, &turns, &n, NULL), FMP_OK);
            for (size_t t = 0; t < n; t++) {
                fmp_err err = FMP_ERR_INIT;
                if (fmp_chat_encode_turn(chat, rows[k], &o, turns[t], &r, &err) != FMP_OK) {
                    fail_msg("%s: %s", templates[i], err.message);
                }
                sum += r.n_supervised;
            }
            if (sum != whole) {
                fail_msg("%s, row %zu: %zu tokens in turns, %zu in one", templates[i], k + 1, sum, whole);
            }
        }
        fmp_chat_free(chat);
    }
    fmp_arena_free(arena);
    if (n_rows == 0) { skip(); }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_name_the_bytes_they_say),
        cmocka_unit_test(each_field_comes_out_exactly_once),
        cmocka_unit_test(no_user_text_becomes_a_control_token),
        cmocka_unit_test(no_user_text_becomes_a_control_token_of_any_tokenizer),
        cmocka_unit_test(the_quick_way_to_a_mask_gives_the_exact_mask),
        cmocka_unit_test(a_turn_is_learned_after_the_prompt_of_inference),
        cmocka_unit_test(templates_that_rewrite_their_past_can_be_learned_turn_by_turn),
        cmocka_unit_test(where_the_past_stays_turns_add_up_to_the_conversation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
