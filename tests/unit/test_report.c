/* links: fmbase */
/*
 * The report page: whatever a manifest holds, the page is well-formed, shows every text as text and loads
 * nothing. The plugin's sources are included, because a plugin shows nothing but its entry. `test_report
 * --page FILE` writes the fixture's page, which tests/cli/report_chromium.sh looks at in a browser.
 */
#include "../../plugins/report_html/report_data.c"
#include "../../plugins/report_html/report_page.c"
#include "../../plugins/report_html/report_rejects.c"
#include "../../plugins/report_html/report_runs.c"
#include "../../plugins/report_html/report_style.c"
#include "../../plugins/report_html/report_svg.c"
#include "../../plugins/report_html/report_text.c"
#include "../../plugins/report_html/report_tokens.c"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static cJSON *fixture(void)
{
    const char *root = getenv("FMP_SOURCE_DIR");
    char *path = fmp_path_join(root ? root : ".", "tests/data/report_manifest.json");
    cJSON *manifest = NULL;
    fmp_err err = FMP_ERR_INIT;
    if (fmp_json_load(path, NULL, &manifest, &err) != FMP_OK) { fail_msg("%s", err.message); }
    free(path);
    return manifest;
}

/* The page of `manifest` (taken) with a limit of examples; free(). */
static char *page_of(cJSON *manifest, const cJSON *rejects, size_t max_examples)
{
    report_options o = {.title = NULL, .note = "A note with <b>markup</b>.", .max_examples = max_examples};
    fmp_buf page = {0};
    fmp_err err = FMP_ERR_INIT;
    assert_int_equal(report_page(manifest, rejects, &o, &page, &err), FMP_OK);
    cJSON_Delete(manifest);
    return page.data;
}

/* ---- a small reader of markup: every tag is closed in order, attributes are quoted, text holds no stray
 * character ---- */

static bool is_void(const char *name, size_t n)
{
    static const char *const names[] = {"meta", "br"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i]) == n && memcmp(name, names[i], n) == 0) { return true; }
    }
    return false;
}

/* Past the attributes of a start tag to its '>'. */
static const char *skip_attributes(const char *p)
{
    while (*p != '>' && *p != '/') {
        assert_int_equal(*p, ' ');
        p++;
        size_t n = strcspn(p, "= >/\"<");
        assert_true(n > 0);
        p += n;
        assert_int_equal(*p, '=');
        assert_int_equal(p[1], '"');
        p += 2;
        n = strcspn(p, "\"<");
        assert_int_equal(p[n], '"');
        p += n + 1;
    }
    return p;
}

static void assert_well_formed(const char *page)
{
    struct {
        const char *name;
        size_t n;
    } open[64];
    size_t depth = 0;
    const char *p = strchr(page, '\n'); /* after the document type */
    for (p = p + strcspn(p, "<"); *p; p += strcspn(p, "<")) {
        bool closing = p[1] == '/';
        const char *name = p + 1 + closing;
        size_t n = strcspn(name, " />");
        if (closing) {
            assert_true(depth > 0);
            depth--;
            if (open[depth].n != n || memcmp(open[depth].name, name, n) != 0) {
                fail_msg("expected </%.*s>, found </%.*s>", (int)open[depth].n, open[depth].name, (int)n,
                         name);
            }
            p = name + n;
            continue;
        }
        p = skip_attributes(name + n);
        if (*p == '/' || is_void(name, n)) { continue; }
        assert_true(depth < 64);
        open[depth].name = name;
        open[depth++].n = n;
    }
    assert_int_equal(depth, 0);
}

/* No element or attribute that fetches or runs anything; what data says appears as text only. */
static void assert_self_contained(const char *page)
{
    static const char *const refused[] = {
        "<script", "<link", "<img",  "<iframe",     "<object",   "<embed",   "<form",
        "@import", "url(",  " src=", " onerror=\"", " onclick=", "href=\"h", "javascript:"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const char *found = strstr(page, refused[i]);
        if (found && strcmp(refused[i], " src=") == 0 && strncmp(found, " src=&quot;", 11) == 0) { continue; }
        if (found) { fail_msg("found %.60s", found); }
    }
}

/* ---------------------------------------------------------------------------------------------- tests */

static void page_is_well_formed_and_loads_nothing(void **state)
{
    (void)state;
    char *page = page_of(fixture(), NULL, 12);
    assert_well_formed(page);
    assert_self_contained(page);
    assert_int_equal(fmp_utf8_invalid_at(page, strlen(page)), strlen(page));
    free(page);
}

static void headline_is_the_tool_call_match_before_and_after(void **state)
{
    (void)state;
    char *page = page_of(fixture(), NULL, 12);
    assert_non_null(
        strstr(page, "Tool calls that are exactly right</h2><p class=\"big\"><span class=\"was\">0.5%</span>"
                     "<span class=\"arrow\"> → </span><span class=\"now\">89.6%</span>"));
    assert_non_null(strstr(
        page, "on 160 evaluation questions in 8 locales; with 95% confidence between 83.9% and 93.4%."));
    free(page);
}

static void base_model_alone_is_one_value(void **state)
{
    (void)state;
    cJSON *m = fixture(), *stage, *row, *pair;
    cJSON_ArrayForEach(stage, cJSON_GetObjectItemCaseSensitive(m, "stages"))
    {
        cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(
                                    cJSON_GetObjectItemCaseSensitive(stage, "facts"), "evaluation"))
        {
            cJSON_ArrayForEach(pair, row)
            {
                cJSON_DeleteItemFromArray(pair, 1);
            }
        }
    }
    char *page = page_of(m, NULL, 12);
    assert_well_formed(page);
    assert_non_null(strstr(page, "<p class=\"big\"><span class=\"now\">0.5%</span></p><p class=\"soft\">The "
                                 "base model alone, on 160"));
    free(page);
}

static void tokens_that_the_base_cannot_tell_apart_are_named(void **state)
{
    (void)state;
    char *page = page_of(fixture(), NULL, 12);
    assert_non_null(strstr(page, "<strong>No adapter can tell these supervised tokens apart</strong>"));
    assert_non_null(
        strstr(page, "<code>&lt;|a|&gt;</code> (id 5, 120 times), <code>b</code> (id 6, 7 times).</p>"));
    free(page);
}

static void losses_by_locale_and_source_are_shown(void **state)
{
    (void)state;
    char *page = page_of(fixture(), NULL, 12);
    assert_non_null(strstr(page, "Locale</th>"));
    assert_non_null(
        strstr(page, ">de-DE</th><td role=\"cell\" class=\"n\" data-label=\"Last training loss\">2.500</td>"));
    assert_non_null(strstr(page, "data-label=\"Evaluation loss\">2.875</td>"));
    assert_non_null(
        strstr(page, ">fr-FR</th><td role=\"cell\" class=\"n\" data-label=\"Last training loss\"></td>"));
    assert_non_null(strstr(page, ">a/b &lt;i&gt;</th>"));
    free(page);
}

static void markup_in_data_is_shown_as_text(void **state)
{
    (void)state;
    char *page = page_of(fixture(), NULL, 12);
    assert_non_null(strstr(page, "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; &#39;quotes&#39;"));
    assert_non_null(strstr(page, "&lt;/textarea&gt;&lt;style&gt;"));
    assert_non_null(strstr(page, "A note with &lt;b&gt;markup&lt;/b&gt;."));
    free(page);
}

static void control_and_direction_characters_are_named(void **state)
{
    (void)state;
    fmp_buf out = {0};
    put_text(&out, "a\x07\xE2\x80\xAE"
                   "b\xFF\n\xC3\xA9");
    assert_string_equal(
        out.data,
        "a<span class=\"hid\">U+0007</span><span class=\"hid\">U+202E</span>b\xEF\xBF\xBD\n\xC3\xA9");
    fmp_buf_free(&out);
}

static void hostile_names_do_not_leave_their_place(void **state)
{
    (void)state;
    static const char evil[] = "\"></title><script>x()</script>'&";
    cJSON *m = fixture();
    cJSON *stage = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(m, "stages"), 0);
    static const char *const texts[] = {"id", "use", "action", "detail", "summary", "plugin", "numeric_env"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cJSON_DeleteItemFromObjectCaseSensitive(stage, texts[i]);
        cJSON_AddStringToObject(stage, texts[i], evil);
    }
    cJSON_AddNumberToObject(cJSON_GetObjectItemCaseSensitive(stage, "rejected_by"), evil, 3);
    cJSON_AddStringToObject(cJSON_GetObjectItemCaseSensitive(stage, "options"), evil, evil);
    cJSON_ReplaceItemInObjectCaseSensitive(cJSON_GetObjectItemCaseSensitive(m, "pipeline"), "name",
                                           cJSON_CreateString(evil));
    char *page = page_of(m, NULL, 12);
    assert_well_formed(page);
    assert_self_contained(page);
    free(page);
}

static void replace_members(cJSON *object, const char *const *names, const cJSON *value)
{
    for (; *names; names++) {
        if (!cJSON_GetObjectItemCaseSensitive(object, *names)) { continue; }
        cJSON_DeleteItemFromObjectCaseSensitive(object, *names);
        cJSON_AddItemToObject(object, *names, cJSON_Duplicate(value, true));
    }
}

/* Members are of another type than they should be; an empty manifest. */
static void any_manifest_gives_a_page(void **state)
{
    (void)state;
    static const char *const wrong[] = {"null", "[[]]", "{\"rows\":[1],\"counts\":[\"x\",-1,1e400]}",
                                        "\"text\"", "-1e300"};
    cJSON *all = fixture();
    for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++) {
        cJSON *m = cJSON_Duplicate(all, true), *stage, *value = NULL;
        assert_int_equal(fmp_json_parse(wrong[w], strlen(wrong[w]), NULL, &value, NULL), FMP_OK);
        cJSON_ArrayForEach(stage, cJSON_GetObjectItemCaseSensitive(m, "stages"))
        {
            replace_members(stage,
                            (const char *const[]){"in", "out_by", "rejected_by", "counts", "inputs",
                                                  "seconds", "options", NULL},
                            value);
            replace_members(cJSON_GetObjectItemCaseSensitive(stage, "facts"),
                            (const char *const[]){"evaluation", "examples", "loss_curve", "eval_curve",
                                                  "histogram", "by_locale", "by_stratum", "token_view", NULL},
                            value);
        }
        char *page = page_of(m, value, 12);
        assert_well_formed(page);
        free(page);
        cJSON_Delete(value);
    }
    cJSON_Delete(all);
    char *page = page_of(cJSON_CreateObject(), NULL, 12);
    assert_well_formed(page);
    free(page);
}

static void tokens_show_what_is_learned_and_where_it_is_from(void **state)
{
    (void)state;
    char *page = page_of(fixture(), NULL, 12);
    assert_non_null(strstr(page, "<span class=\"tk-l\">ok</span><span class=\"tk-l\">&lt;|end|&gt;</span>"));
    assert_non_null(strstr(page, "<span class=\"tk-f\">{&quot;</span>"));
    assert_non_null(strstr(page, "<span class=\"tk-i\">&lt;b&gt;Hel</span>"));
    assert_non_null(strstr(page, "<td class=\"n\">268</td><td><code class=\"tk-f\">{&quot;</code></td><td "
                                 "class=\"n\">0.1</td><td><code>messages[1].content</code></td>"));
    free(page);
}

/* Sources that are not there, rows of another shape. */
static void a_token_view_of_any_shape_gives_a_page(void **state)
{
    (void)state;
    static const char *const views[] = {
        "[{}]", "[{\"tokens\":[[]]}]", "[{\"tokens\":[[1,2,3,4,5]],\"sources\":[7]}]",
        "[{\"tokens\":[[1,\"a\",\"odd\",1,-1],[1,\"a\",\"learned\",1,1e300],[null]],\"sources\":{}}]"};
    for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
        cJSON *m = fixture(), *stage, *value = NULL;
        assert_int_equal(fmp_json_parse(views[i], strlen(views[i]), NULL, &value, NULL), FMP_OK);
        cJSON_ArrayForEach(stage, cJSON_GetObjectItemCaseSensitive(m, "stages"))
        {
            replace_members(cJSON_GetObjectItemCaseSensitive(stage, "facts"),
                            (const char *const[]){"token_view", NULL}, value);
        }
        char *page = page_of(m, NULL, 12);
        assert_well_formed(page);
        free(page);
        cJSON_Delete(value);
    }
}

static void examples_are_limited_and_the_same_manifest_gives_the_same_bytes(void **state)
{
    (void)state;
    char *one = page_of(fixture(), NULL, 2), *again = page_of(fixture(), NULL, 2);
    assert_string_equal(one, again);
    assert_non_null(strstr(one, "1f0c3a5577aa0002"));
    assert_null(strstr(one, "1f0c3a5577aa0003"));
    free(one);
    free(again);
}

static void rejects_are_counted_by_the_locale_of_the_row(void **state)
{
    (void)state;
    static const char lines[] =
        "{\"stage\":\"read\",\"id\":\"1\",\"file\":\"a<b.jsonl\",\"line\":3,\"reason\":\"role\",\"message\":"
        "\"m\",\"row\":\"{\\\"locale\\\":\\\"de-DE\\\"}\"}\n"
        "{\"stage\":\"read\",\"id\":\"2\",\"reason\":\"json_syntax\",\"message\":\"m\",\"row\":\"{"
        "\\\"locale\\\":\\\"de\"}\n"
        "{\"stage\":\"read\",\"id\":\"3\",\"reason\":\"role\",\"message\":\"m\",\"row\":\"{\\\"locale\\\":"
        "\\\"de-DE\\\"}\"}\n";
    char path[] = "report_rejects_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, lines, sizeof lines - 1), sizeof lines - 1);
    close(fd);
    cJSON *rejects = NULL;
    fmp_err err = FMP_ERR_INIT;
    assert_int_equal(report_rejects(path, &rejects, &err), FMP_OK);
    unlink(path);
    assert_int_equal(count_of(fmp_json_get(rejects, "by_locale"), "de-DE"), 2);
    assert_int_equal(count_of(fmp_json_get(rejects, "by_locale"), "(unknown)"), 1);
    char *page = page_of(fixture(), rejects, 0);
    assert_well_formed(page);
    assert_non_null(strstr(page, "a&lt;b.jsonl:3"));
    assert_null(strstr(page, "id=\"examples\""));
    free(page);
    cJSON_Delete(rejects);
}

static void numbers_read_well(void **state)
{
    (void)state;
    fmp_buf out = {0};
    put_count(&out, 1234567);
    fmp_buf_putc(&out, '|');
    put_count(&out, 999);
    fmp_buf_putc(&out, '|');
    put_seconds(&out, 192.4);
    fmp_buf_putc(&out, '|');
    put_seconds(&out, 3723);
    fmp_buf_putc(&out, '|');
    put_percent(&out, 0.7333);
    fmp_buf_putc(&out, '|');
    put_bytes(&out, 25276502016.0);
    assert_string_equal(out.data, "1,234,567|999|3 min 12 s|1 h 02 min|73.3%|25.3 GB");
    fmp_buf_free(&out);
}

static int write_fixture_page(const char *path)
{
    fmp_err err = FMP_ERR_INIT;
    char *page = page_of(fixture(), NULL, 12);
    fmp_status status = fmp_write_file(path, page, strlen(page), &err);
    free(page);
    return status == FMP_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--page") == 0) { return write_fixture_page(argv[2]); }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_is_well_formed_and_loads_nothing),
        cmocka_unit_test(headline_is_the_tool_call_match_before_and_after),
        cmocka_unit_test(base_model_alone_is_one_value),
        cmocka_unit_test(tokens_that_the_base_cannot_tell_apart_are_named),
        cmocka_unit_test(losses_by_locale_and_source_are_shown),
        cmocka_unit_test(markup_in_data_is_shown_as_text),
        cmocka_unit_test(control_and_direction_characters_are_named),
        cmocka_unit_test(hostile_names_do_not_leave_their_place),
        cmocka_unit_test(any_manifest_gives_a_page),
        cmocka_unit_test(tokens_show_what_is_learned_and_where_it_is_from),
        cmocka_unit_test(a_token_view_of_any_shape_gives_a_page),
        cmocka_unit_test(examples_are_limited_and_the_same_manifest_gives_the_same_bytes),
        cmocka_unit_test(rejects_are_counted_by_the_locale_of_the_row),
        cmocka_unit_test(numbers_read_well)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
