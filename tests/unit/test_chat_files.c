/* links: fmbase fmtext */
/*
 * Where a model keeps its chat templates: beside its files, in a folder of several, in a list of
 * tokenizer_config.json, or in a GGUF file; and which of several renders a conversation.
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

static char root[] = "/tmp/fmp-test-templates-XXXXXX";
static char dir[64];

static int make_root(void **state)
{
    (void)state;
    fmp_json_install_hooks();
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    return fmp_remove_tree(root, NULL) == FMP_OK ? 0 : -1;
}

/* An empty model folder. */
static int new_folder(void **state)
{
    static int n;
    (void)state;
    snprintf(dir, sizeof dir, "%s/%d", root, n++);
    return fmp_mkdirs(dir, NULL) == FMP_OK ? 0 : -1;
}

static void put(const char *name, const void *data, size_t len)
{
    char *path = fmp_path_join(dir, name);
    assert_int_equal(fmp_write_file(path, data, len, NULL), FMP_OK);
    free(path);
}

static void put_text(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

/* What the template renders of {"x": 7}, and with "tools" in it. */
static void assert_renders(const char *what, const char *name, const char *plain, const char *with_tools)
{
    static const char *const contexts[] = {"{\"x\":7,\"tools\":null}", "{\"x\":7}", "{\"x\":7,\"tools\":[]}"};
    char *text = NULL;
    fmp_template *t = NULL;
    fmp_rendered r = {0};
    fmp_err err = FMP_ERR_INIT;
    if (fmp_chat_read_template(what, name, &text, &err) != FMP_OK ||
        fmp_template_parse(text, strlen(text), "t", &t, &err) != FMP_OK) {
        fail_msg("%s", err.message);
    }
    for (int i = 0; i < 3; i++) {
        cJSON *context = NULL;
        assert_int_equal(fmp_json_parse(contexts[i], strlen(contexts[i]), NULL, &context, NULL), FMP_OK);
        assert_int_equal(fmp_template_render(t, context, NULL, &r, &err), FMP_OK);
        assert_string_equal(r.text.data, i < 2 ? plain : with_tools);
        cJSON_Delete(context);
    }
    fmp_rendered_free(&r);
    fmp_template_free(t);
    free(text);
}

/* Every kind of white space at the ends, which must come out as from each alone. */
#define PLAIN "\n  plain {{ x }} \n{% if x %}\n  yes\n{% endif %}\n"
#define TOOLS "  {%- set y = x + 1 %}\ntools {{ y }}\n\n"
static const char plain_out[] = "\n  plain 7 \n  yes\n", tools_out[] = "tools 8\n";

static void a_list_in_the_configuration_has_one_for_tools(void **state)
{
    (void)state;
    put_text("tokenizer_config.json",
             "{\"chat_template\":[{\"name\":\"default\",\"template\":\"\\n  plain {{ x }} \\n{% if x %}\\n  "
             "yes\\n{% endif %}\\n\"},"
             "{\"name\":\"rag\",\"template\":\"rag {{ x }}\"},{\"name\":\"tool_use\",\"template\":"
             "\"  {%- set y = x + 1 %}\\ntools {{ y }}\\n\\n\"}]}");
    assert_renders(dir, NULL, plain_out, tools_out);
    assert_renders(dir, "default", plain_out, plain_out);
    assert_renders(dir, "tool_use", tools_out, tools_out);
    assert_renders(dir, "rag", "rag 7", "rag 7");
}

static void files_of_jinja_come_before_the_configuration(void **state)
{
    (void)state;
    put_text("tokenizer_config.json", "{\"chat_template\":\"old\"}");
    assert_renders(dir, NULL, "old", "old");
    put_text("chat_template.jinja", PLAIN);
    assert_renders(dir, NULL, plain_out, plain_out);
    char *more = fmp_path_join(dir, "additional_chat_templates");
    assert_int_equal(fmp_mkdirs(more, NULL), FMP_OK);
    free(more);
    put_text("additional_chat_templates/tool_use.jinja", TOOLS);
    put_text("additional_chat_templates/notes.txt", "no template");
    assert_renders(dir, NULL, plain_out, tools_out);
    assert_renders(dir, "default", plain_out, plain_out);
}

static void an_unknown_name_is_refused_with_those_there_are(void **state)
{
    char *text = NULL;
    fmp_err err = FMP_ERR_INIT;
    (void)state;
    put_text("tokenizer_config.json", "{\"chat_template\":[{\"name\":\"rag\",\"template\":\"r\"},"
                                      "{\"name\":\"tool_use\",\"template\":\"t\"}]}");
    assert_int_equal(fmp_chat_read_template(dir, "ragged", &text, &err), FMP_E_CONFIG);
    assert_non_null(strstr(err.message, "has no chat template 'ragged'; it has rag, tool_use"));
    assert_int_equal(fmp_chat_read_template(dir, NULL, &text, &err), FMP_E_CONFIG);
    assert_non_null(strstr(err.message, "'default'; it has rag, tool_use"));
    assert_null(text);
    assert_renders(dir, "rag", "r", "r");
}

/* ---------------------------------------------------------------------------------------------- GGUF */

static void put_number(fmp_buf *b, uint64_t value, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        fmp_buf_putc(b, (char)(value >> (8 * i)));
    }
}

static void put_string(fmp_buf *b, const char *text)
{
    put_number(b, strlen(text), 8);
    fmp_buf_puts(b, text);
}

static void put_pair(fmp_buf *b, const char *key, const char *text)
{
    put_string(b, key);
    put_number(b, 8, 4); /* a string */
    put_string(b, text);
}

static void head(fmp_buf *b, uint64_t n_keys)
{
    fmp_buf_puts(b, "GGUF");
    put_number(b, 3, 4);
    put_number(b, 0, 8);
    put_number(b, n_keys, 8);
}

static void a_gguf_file_has_them_in_its_metadata(void **state)
{
    fmp_buf b = {0};
    char path[96];
    (void)state;
    head(&b, 5);
    put_pair(&b, "general.name", "m");
    put_pair(&b, "tokenizer.chat_template.tool_use", TOOLS);
    put_pair(&b, "tokenizer.chat_template", PLAIN);
    put_pair(&b, "tokenizer.chat_template.rag", "rag {{ x }}");
    put_string(&b, "tokenizer.chat_templates");
    put_number(&b, 9, 4); /* an array of two strings */
    put_number(&b, 8, 4);
    put_number(&b, 2, 8);
    put_string(&b, "tool_use");
    put_string(&b, "rag");
    put("model.gguf", b.data, b.len);
    snprintf(path, sizeof path, "%s/model.gguf", dir);
    assert_renders(path, NULL, plain_out, tools_out);
    assert_renders(dir, NULL, plain_out, tools_out); /* the only one of the folder */
    assert_renders(dir, "rag", "rag 7", "rag 7");
    for (size_t n = 0; n < b.len; n++) { /* cut off anywhere: refused, never read beyond */
        char *text = NULL;
        put("model.gguf", b.data, n);
        assert_int_not_equal(fmp_chat_read_template(path, NULL, &text, NULL), FMP_OK);
    }
    fmp_buf_free(&b);
}

static void a_gguf_file_without_a_template_has_none(void **state)
{
    fmp_buf b = {0};
    fmp_err err = FMP_ERR_INIT;
    char *text = NULL;
    (void)state;
    head(&b, 1);
    put_pair(&b, "general.name", "m");
    put("model.gguf", b.data, b.len);
    assert_int_equal(fmp_chat_read_template(dir, NULL, &text, &err), FMP_E_CONFIG);
    assert_non_null(strstr(err.message, "has no chat template"));
    fmp_buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_list_in_the_configuration_has_one_for_tools, new_folder),
        cmocka_unit_test_setup(files_of_jinja_come_before_the_configuration, new_folder),
        cmocka_unit_test_setup(an_unknown_name_is_refused_with_those_there_are, new_folder),
        cmocka_unit_test_setup(a_gguf_file_has_them_in_its_metadata, new_folder),
        cmocka_unit_test_setup(a_gguf_file_without_a_template_has_none, new_folder),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
