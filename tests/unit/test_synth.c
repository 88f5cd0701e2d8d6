/* links: fmbase */
/*
 * The generator of synth.chat: its tables are whole, its corpora are apart, and what it claims is in the
 * user's text is. The plugin's sources are included, because a plugin shows nothing but its entry.
 */
#include "../../plugins/synth_chat/synth.c"
#include "../../plugins/synth_chat/synth_de.c"
#include "../../plugins/synth_chat/synth_en.c"
#include "../../plugins/synth_chat/synth_es.c"
#include "../../plugins/synth_chat/synth_fr.c"
#include "../../plugins/synth_chat/synth_ja.c"
#include "../../plugins/synth_chat/synth_pt.c"
#include "../../plugins/synth_chat/synth_text.c"
#include "../../plugins/synth_chat/synth_tools.c"
#include "../../plugins/synth_chat/synth_zh.c"

#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

enum { N_DOCS = 4000, N_ASKED = SYNTH_N_TOOLS + SYNTH_N_FORMS };

static cJSON *make(synth_corpus corpus, bool later, uint64_t seed, uint64_t index)
{
    synth_options opt = {.seed = seed, .corpus = corpus, .later = later};
    cJSON *doc = NULL;
    fmp_err err = FMP_ERR_INIT;
    assert_int_equal(synth_conversation(&opt, index, &doc, &err), FMP_OK);
    return doc;
}

static const synth_lang *lang_of(const cJSON *doc)
{
    for (int i = 0; i < SYNTH_N_LOCALES; i++) {
        if (strcmp(langs[i]->locale, fmp_json_str(doc, "locale", "")) == 0) { return langs[i]; }
    }
    fail_msg("unknown locale '%s'", fmp_json_str(doc, "locale", ""));
    return NULL;
}

static const char *kind_of(const cJSON *doc)
{
    return fmp_json_str(fmp_json_get(doc, "meta"), "kind", "");
}

static int intent_of(const cJSON *doc)
{
    const char *name = fmp_json_str(fmp_json_get(doc, "meta"), "intent", "");
    for (int i = 0; i < SYNTH_N_INTENTS; i++) {
        if (strcmp(synth_forms[i].name, name) == 0) { return i; }
    }
    return -1;
}

static const cJSON *message_of(const cJSON *doc, const char *role)
{
    const cJSON *message;
    cJSON_ArrayForEach(message, fmp_json_get(doc, "messages"))
    {
        if (strcmp(fmp_json_str(message, "role", ""), role) == 0) { return message; }
    }
    return NULL;
}

/* The arguments of the call or the JSON answer: a fresh tree; NULL where the conversation has neither. */
static cJSON *arguments_of(const cJSON *doc)
{
    const cJSON *message = message_of(doc, "assistant"), *calls = fmp_json_get(message, "tool_calls");
    if (calls) {
        return cJSON_Duplicate(fmp_json_get(fmp_json_get(calls->child, "function"), "arguments"), true);
    }
    if (strcmp(kind_of(doc), "answer") != 0) { return NULL; }
    cJSON *answer = NULL;
    const char *text = fmp_json_str(message, "content", "");
    assert_int_equal(fmp_json_parse(text, strlen(text), NULL, &answer, NULL), FMP_OK);
    return answer;
}

/* ---------------------------------------------------------------------------------------------- tables */

static int count(const char *const *list)
{
    int n = 0;
    while (list[n]) {
        n++;
    }
    return n;
}

static void check_phrasing(const synth_lang *lang, const synth_form *form, const char *phrasing)
{
    synth_value values[SYNTH_MAX_FIELDS] = {{.number = 1}, {.number = 2}, {.number = 3}};
    fmp_buf out = {0};
    for (int i = 0; i < form->n_fields; i++) {
        snprintf(values[i].text, sizeof values[i].text, "<%d>", i);
    }
    synth_fill(phrasing, lang, form, values, &out);
    if (strpbrk(out.data, "{}")) {
        fail_msg("%s %s: unknown slot in '%s'", lang->locale, form->name, phrasing);
    }
    for (int i = 0; i < form->n_fields; i++) {
        synth_slot slot = form->fields[i].slot;
        const char *want = slot == SLOT_ROOM  ? lang->rooms[values[i].number].room
                           : slot == SLOT_DAY ? lang->days[values[i].number].day
                                              : values[i].text;
        /* The first letter of a room or day may be a capital. */
        if (!strstr(out.data, slot == SLOT_ROOM || slot == SLOT_DAY ? want + 1 : want)) {
            fail_msg("%s %s: no {%s} in '%s'", lang->locale, form->name, form->fields[i].name, phrasing);
        }
    }
    fmp_buf_free(&out);
}

static void every_phrasing_has_every_slot_and_no_other(void **state)
{
    (void)state;
    for (int l = 0; l < SYNTH_N_LOCALES; l++) {
        for (int i = 0; i < SYNTH_N_INTENTS; i++) {
            const synth_phrases *p = &langs[l]->phrases[i];
            for (int k = 0; p->train[k]; k++) {
                check_phrasing(langs[l], &synth_forms[i], p->train[k]);
            }
            for (int k = 0; p->held[k]; k++) {
                check_phrasing(langs[l], &synth_forms[i], p->held[k]);
            }
            for (int k = 0; p->confirm[k]; k++) {
                check_phrasing(langs[l], &synth_forms[i], p->confirm[k]);
            }
            for (int k = 0; p->more[k]; k++) {
                check_phrasing(langs[l], &synth_forms[i], p->more[k]);
            }
            if (i < N_ASKED) {
                assert_int_equal(count(p->train), 9);
                assert_int_equal(count(p->held), 3);
                assert_int_equal(count(p->confirm), 4);
            }
        }
    }
}

static void no_phrasing_is_there_twice(void **state)
{
    (void)state;
    for (int l = 0; l < SYNTH_N_LOCALES; l++) {
        const char *seen[SYNTH_N_INTENTS * 20];
        int n = 0;
        for (int i = 0; i < SYNTH_N_INTENTS; i++) {
            const synth_phrases *p = &langs[l]->phrases[i];
            for (int k = 0; p->train[k]; k++) {
                seen[n++] = p->train[k];
            }
            for (int k = 0; p->held[k]; k++) {
                seen[n++] = p->held[k];
            }
            for (int k = 0; p->more[k]; k++) {
                seen[n++] = p->more[k];
            }
        }
        for (int a = 0; a < n; a++) {
            for (int b = 0; b < a; b++) {
                if (strcmp(seen[a], seen[b]) == 0) { fail_msg("%s: twice '%s'", langs[l]->locale, seen[a]); }
            }
        }
        for (int a = 0; langs[l]->open[a]; a++) {
            for (int b = 0; langs[l]->open_held[b]; b++) {
                assert_string_not_equal(langs[l]->open[a], langs[l]->open_held[b]);
            }
        }
    }
}

static void every_pool_has_enough_of_both_parts_and_nothing_twice(void **state)
{
    (void)state;
    for (int l = 0; l < SYNTH_N_LOCALES; l++) {
        for (int p = 0; p < SYNTH_N_POOLS; p++) {
            const char *const *pool = langs[l]->pools[p];
            int n = count(pool), held = 0;
            for (int i = 0; i < n; i++) {
                held += synth_is_held(pool[i]);
                assert_true(strlen(pool[i]) < sizeof((synth_value *)0)->text);
                for (int k = 0; k < i; k++) {
                    if (strcmp(pool[i], pool[k]) == 0) {
                        fail_msg("%s pool %d: twice '%s'", langs[l]->locale, p, pool[i]);
                    }
                }
            }
            if (n < 24 || held < 3 || held * 2 > n) {
                fail_msg("%s pool %d: %d of %d held out", langs[l]->locale, p, held, n);
            }
        }
    }
}

/* ------------------------------------------------------------------------------------ one conversation */

static void an_index_has_one_text_and_another_seed_another(void **state)
{
    (void)state;
    int other = 0;
    for (uint64_t i = 0; i < 300; i++) {
        synth_corpus corpus = (synth_corpus)(i % 3);
        cJSON *a = make(corpus, false, 7, i), *b = make(corpus, false, 7, i), *c = make(corpus, false, 8, i);
        char *text_a = fmp_json_text(a, FMP_JSON_COMPACT), *text_b = fmp_json_text(b, FMP_JSON_COMPACT);
        assert_string_equal(text_a, text_b);
        other += !fmp_json_equal(a, c);
        free(text_a);
        free(text_b);
        cJSON_Delete(a);
        cJSON_Delete(b);
        cJSON_Delete(c);
    }
    assert_true(other > 250);
}

static bool declared_tool(const cJSON *doc, const char *name)
{
    const cJSON *tool;
    cJSON_ArrayForEach(tool, fmp_json_get(doc, "tools"))
    {
        if (strcmp(fmp_json_str(fmp_json_get(tool, "function"), "name", ""), name) == 0) { return true; }
    }
    return false;
}

static void check_roles(const cJSON *doc)
{
    static const char *const cycle[] = {"user", "assistant", "tool", "assistant"};
    static const char *const plain[] = {"user", "assistant"};
    static const char *const noted_roles[] = {"system", "user", "assistant"};
    const char *kind = kind_of(doc);
    bool is_cycle = strcmp(kind, "cycle") == 0, is_note = strcmp(kind, "note") == 0;
    const char *const *want = is_cycle ? cycle : is_note ? noted_roles : plain;
    int n = 0;
    const cJSON *message;
    cJSON_ArrayForEach(message, fmp_json_get(doc, "messages"))
    {
        assert_string_equal(fmp_json_str(message, "role", ""), want[n++]);
        assert_true(*fmp_json_str(message, "content", "") != '\0' || fmp_json_get(message, "tool_calls"));
    }
    assert_int_equal(n, is_cycle ? 4 : is_note ? 3 : 2);
}

static void roles_alternate_and_calls_are_of_declared_tools(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < N_DOCS; i++) {
        cJSON *doc = make((synth_corpus)(i % 3), i % 2, 3, i);
        check_roles(doc);
        const cJSON *calls = fmp_json_get(message_of(doc, "assistant"), "tool_calls"),
                    *tools = fmp_json_get(doc, "tools");
        if (calls) {
            assert_true(declared_tool(doc, fmp_json_str(fmp_json_get(calls->child, "function"), "name", "")));
        }
        if (tools) {
            assert_int_equal(cJSON_GetArraySize(tools), 2);
            assert_false(fmp_json_equal(tools->child, tools->child->next));
        }
        cJSON_Delete(doc);
    }
}

static bool one_of(const char *text, const char *const *ids, int n)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(ids[i], text) == 0) { return true; }
    }
    return false;
}

static void check_field(const synth_field *field, const cJSON *value, const char *user)
{
    char digits[16];
    if (field->slot == SLOT_ROOM) {
        assert_true(cJSON_IsString(value) && one_of(value->valuestring, synth_room_ids, SYNTH_N_ROOMS));
    } else if (field->slot == SLOT_DAY) {
        assert_true(cJSON_IsString(value) && one_of(value->valuestring, synth_day_ids, SYNTH_N_DAYS));
    } else if (field->slot == SLOT_NUMBER) {
        assert_true(cJSON_IsNumber(value) && value->valueint >= field->low && value->valueint <= field->high);
        snprintf(digits, sizeof digits, "%d", value->valueint);
        assert_non_null(strstr(user, digits));
    } else {
        assert_true(cJSON_IsString(value));
        if (!strstr(user, value->valuestring)) { fail_msg("'%s' is not in '%s'", value->valuestring, user); }
    }
}

static void arguments_stand_in_the_users_text_in_declared_order(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < N_DOCS; i++) {
        cJSON *doc = make(i % 2 ? SYNTH_ADAPT : SYNTH_HELDOUT, false, 5, i),
              *arguments_tree = arguments_of(doc);
        if (arguments_tree) {
            const synth_form *form = &synth_forms[intent_of(doc)];
            const cJSON *value = arguments_tree->child;
            for (int f = 0; f < form->n_fields; f++, value = value->next) {
                assert_non_null(value);
                assert_string_equal(value->string, form->fields[f].name);
                check_field(&form->fields[f], value, fmp_json_str(message_of(doc, "user"), "content", ""));
            }
            assert_null(value);
        }
        cJSON_Delete(arguments_tree);
        cJSON_Delete(doc);
    }
}

static void base_never_shows_a_call_or_a_json_answer(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < N_DOCS; i++) {
        cJSON *doc = make(SYNTH_BASE, i % 2, 11, i);
        const cJSON *answer = message_of(doc, "assistant");
        assert_null(fmp_json_get(answer, "tool_calls"));
        assert_null(strpbrk(fmp_json_str(answer, "content", ""), "{}[]"));
        cJSON_Delete(doc);
    }
}

/* ---------------------------------------------------------------------------------------------- held out */

/* Is `text` (as this locale spells it) a value of the pool, and of which part? */
static bool in_part(const synth_lang *lang, synth_pool pool, const char *text, bool held)
{
    synth_value value;
    for (const char *const *v = lang->pools[pool]; *v; v++) {
        set_text(&value, lang, *v);
        if (synth_is_held(*v) == held && strcmp(value.text, text) == 0) { return true; }
    }
    return false;
}

static void check_part(const synth_lang *lang, const synth_field *field, const char *text, bool held)
{
    int hour, minute;
    switch (field->slot) {
    case SLOT_ROOM:
    case SLOT_DAY: return;
    case SLOT_POOL: /* a training value may be made up, so it is in neither part */
        if (in_part(lang, field->pool, text, true) != held) {
            fail_msg("%s: '%s' is in the wrong part", lang->locale, text);
        }
        return;
    case SLOT_TIME:
        assert_int_equal(sscanf(text, "%d:%d", &hour, &minute), 2);
        assert_int_equal((hour + minute / 5) % 4 == 3, held);
        return;
    case SLOT_PHONE: assert_int_equal(strtol(text + 4, NULL, 10) % 4 == 3, held); return;
    case SLOT_NUMBER: assert_int_equal(strtol(text, NULL, 10) % 4 == 3, held); return;
    }
}

static void check_arguments_part(const cJSON *doc, bool held)
{
    char digits[16];
    cJSON *tree = arguments_of(doc);
    const synth_form *form = tree ? &synth_forms[intent_of(doc)] : NULL;
    const cJSON *value = tree ? tree->child : NULL;
    for (int f = 0; value; f++, value = value->next) {
        snprintf(digits, sizeof digits, "%d", value->valueint);
        check_part(lang_of(doc), &form->fields[f], cJSON_IsString(value) ? value->valuestring : digits, held);
    }
    cJSON_Delete(tree);
}

static void every_value_is_from_its_corpus_part(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < N_DOCS; i++) {
        cJSON *train = make(SYNTH_ADAPT, false, 13, i), *held = make(SYNTH_HELDOUT, false, 13, i);
        check_arguments_part(train, false);
        check_arguments_part(held, true);
        cJSON_Delete(train);
        cJSON_Delete(held);
    }
}

/* `value` in `text`, and not as a piece of a longer word of a script that has spaces. */
static bool stands_in(const char *text, const char *value)
{
    for (const char *at = strstr(text, value); at; at = strstr(at + 1, value)) {
        if ((unsigned char)value[0] >= 0xE0) { return true; }
        if ((at == text || !is_letter(at[-1])) && !is_letter(at[strlen(value)])) { return true; }
    }
    return false;
}

/*
 * Anywhere in the text, not only as a value. What money is spent on and what is ordered are everyday words
 * that other sentences need too, and a value of two ideographs may arise between two words: these are tested
 * as values only, above.
 */
static void check_text_has_no_held_value(const cJSON *doc)
{
    const synth_lang *lang = lang_of(doc);
    char *text = fmp_json_text(fmp_json_get(doc, "messages"), FMP_JSON_COMPACT);
    for (int p = 0; p < SYNTH_N_POOLS; p++) {
        if (p == SYNTH_ITEMS || p == SYNTH_PRODUCTS) { continue; }
        for (const char *const *v = lang->pools[p]; *v; v++) {
            bool short_ideographs = (unsigned char)(*v)[0] >= 0xE0 && strlen(*v) < 9;
            if (synth_is_held(*v) && !short_ideographs && stands_in(text, *v)) {
                fail_msg("%s: held-out '%s' is in %s", lang->locale, *v, text);
            }
        }
    }
    free(text);
}

static void no_held_out_value_is_in_a_training_text(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < N_DOCS; i++) {
        /* base 1.1 has read the names of the world, as base models have; numbers and times stay apart there too */
        cJSON *base_doc = make(SYNTH_BASE, false, 17, i), *adapt_doc = make(SYNTH_ADAPT, false, 17, i);
        check_text_has_no_held_value(base_doc);
        check_text_has_no_held_value(adapt_doc);
        cJSON_Delete(base_doc);
        cJSON_Delete(adapt_doc);
    }
}

static void held_out_comes_round_every_intent_and_locale_once_in_120(void **state)
{
    (void)state;
    int seen[SYNTH_N_LOCALES][N_ASKED] = {{0}};
    for (uint64_t i = 0; i < SYNTH_N_LOCALES * N_ASKED; i++) {
        cJSON *doc = make(SYNTH_HELDOUT, false, 19, i);
        const synth_lang *lang = lang_of(doc);
        int l = 0;
        while (langs[l] != lang) {
            l++;
        }
        seen[l][intent_of(doc)]++;
        cJSON_Delete(doc);
    }
    for (int l = 0; l < SYNTH_N_LOCALES; l++) {
        for (int i = 0; i < N_ASKED; i++) {
            assert_int_equal(seen[l][i], 1);
        }
    }
}

static void only_version_1_1_of_base_speaks_about_timers_and_weather(void **state)
{
    (void)state;
    int earlier = 0, later = 0;
    for (uint64_t i = 0; i < 2000; i++) {
        cJSON *a = make(SYNTH_BASE, false, 23, i), *b = make(SYNTH_BASE, true, 23, i),
              *c = make(SYNTH_ADAPT, true, 23, i);
        earlier += intent_of(a) >= N_ASKED || intent_of(c) >= N_ASKED;
        later += intent_of(b) >= N_ASKED;
        cJSON_Delete(a);
        cJSON_Delete(b);
        cJSON_Delete(c);
    }
    assert_int_equal(earlier, 0);
    assert_true(later > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_phrasing_has_every_slot_and_no_other),
        cmocka_unit_test(no_phrasing_is_there_twice),
        cmocka_unit_test(every_pool_has_enough_of_both_parts_and_nothing_twice),
        cmocka_unit_test(an_index_has_one_text_and_another_seed_another),
        cmocka_unit_test(roles_alternate_and_calls_are_of_declared_tools),
        cmocka_unit_test(arguments_stand_in_the_users_text_in_declared_order),
        cmocka_unit_test(base_never_shows_a_call_or_a_json_answer),
        cmocka_unit_test(every_value_is_from_its_corpus_part),
        cmocka_unit_test(no_held_out_value_is_in_a_training_text),
        cmocka_unit_test(held_out_comes_round_every_intent_and_locale_once_in_120),
        cmocka_unit_test(only_version_1_1_of_base_speaks_about_timers_and_weather),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
