/*
 * The three corpora: which kind of conversation stands at an index, and how each kind is put together from
 * the language tables (synth_en.c and its sisters) and the intents (synth_tools.c). Read synth_conversation
 * first, at the end.
 */
#include "synth_tables.h"

#include <stdlib.h>

static const synth_lang *const langs[SYNTH_N_LOCALES] = {&synth_en_us, &synth_en_gb, &synth_de, &synth_fr,
                                                         &synth_es,    &synth_pt,    &synth_ja, &synth_zh};

/* Percent of the values that pools give, and of the words before a request. */
enum { MADE_UP_IN_BASE = 85, MADE_UP_IN_LATER_BASE = 60, MADE_UP_IN_ADAPT = 40, MADE_UP_OPENERS = 40 };

/* One conversation in the making. `failed` says at the end whether memory ran out on the way. */
typedef struct maker {
    synth_draw draw;
    const synth_lang *lang;
    bool held, later, adapting;
    synth_part part;
    size_t made_up_percent;
    cJSON *doc, *messages;
    const char *intent, *kind;
    synth_value values[SYNTH_MAX_FIELDS];
    fmp_buf text;
    bool failed;
} maker;

/* ---------------------------------------------------------------------------------------------- pieces */

static void put(maker *m, cJSON *object, const char *constant_key, cJSON *node)
{
    if (!node || !object || !cJSON_AddItemToObjectCS(object, constant_key, node)) {
        cJSON_Delete(node);
        m->failed = true;
    }
}

static void append(maker *m, cJSON *array, cJSON *node)
{
    if (!node || !array || !cJSON_AddItemToArray(array, node)) {
        cJSON_Delete(node);
        m->failed = true;
    }
}

static cJSON *say(maker *m, const char *role, const char *content)
{
    cJSON *message = cJSON_CreateObject();
    put(m, message, "role", cJSON_CreateString(role));
    put(m, message, "content", cJSON_CreateString(content));
    append(m, m->messages, message);
    return m->failed ? NULL : message;
}

/* Say what has been written to m->text, and empty it. */
static cJSON *say_text(maker *m, const char *role)
{
    m->failed = m->failed || m->text.failed;
    cJSON *message = say(m, role, m->text.data ? m->text.data : "");
    m->text.len = 0;
    if (m->text.data) { m->text.data[0] = '\0'; }
    return message;
}

/* Half of the requests have a word before them. In training that may be any word: it is never an argument. */
static void opener(maker *m)
{
    static const char *const after[] = {". ", ": ", "! ", ", ", NULL};
    if (synth_below(&m->draw, 2) == 0) { return; }
    if (m->held || synth_below(&m->draw, 100) >= MADE_UP_OPENERS) {
        fmp_buf_puts(&m->text, synth_pick(&m->draw, m->held ? m->lang->open_held : m->lang->open));
        return;
    }
    synth_value word;
    do {
        synth_any_value(&m->draw, m->lang, &word);
    } while (word.text[0] >= '0' && word.text[0] <= '9');
    fmp_buf_puts(&m->text, word.text);
    fmp_buf_puts(&m->text, synth_pick(&m->draw, after));
}

static const char *phrasing(maker *m, const synth_phrases *phrases)
{
    if (m->held) { return synth_pick(&m->draw, phrases->held); }
    bool more = m->adapting && phrases->more[0] && synth_below(&m->draw, 2) == 0;
    return synth_pick(&m->draw, more ? phrases->more : phrases->train);
}

/* The user's request for `intent`, with fresh values. */
static cJSON *request(maker *m, synth_intent intent)
{
    const synth_form *form = &synth_forms[intent];
    const synth_phrases *phrases = &m->lang->phrases[intent];
    m->intent = form->name;
    synth_values(&m->draw, m->lang, form, m->part, m->made_up_percent, m->values);
    opener(m);
    synth_fill(phrasing(m, phrases), m->lang, form, m->values, &m->text);
    return say_text(m, "user");
}

static void confirm(maker *m, synth_intent intent)
{
    const char *const *list = m->lang->phrases[intent].confirm;
    size_t n = 0;
    while (list[n] && (m->later || n < SYNTH_FIRST_CONFIRMATIONS)) {
        n++;
    }
    synth_fill(list[synth_below(&m->draw, n)], m->lang, &synth_forms[intent], m->values, &m->text);
    say_text(m, "assistant");
}

static cJSON *arguments(maker *m, synth_intent intent)
{
    const synth_form *form = &synth_forms[intent];
    cJSON *object = cJSON_CreateObject();
    for (int i = 0; i < form->n_fields; i++) {
        const synth_value *value = &m->values[i];
        put(m, object, form->fields[i].name,
            form->fields[i].slot == SLOT_NUMBER ? cJSON_CreateNumber(value->number)
                                                : cJSON_CreateString(value->text));
    }
    return object;
}

/* Two tools in random order, `sure` among them. */
static void declare_tools(maker *m, synth_intent sure)
{
    synth_intent other =
        (synth_intent)((sure + 1 + synth_below(&m->draw, SYNTH_N_TOOLS - 1)) % SYNTH_N_TOOLS);
    bool first = synth_below(&m->draw, 2) == 0;
    cJSON *tools = cJSON_CreateArray();
    append(m, tools, synth_tool(first ? sure : other));
    append(m, tools, synth_tool(first ? other : sure));
    put(m, m->doc, "tools", tools);
}

static synth_intent any_tool(maker *m)
{
    return (synth_intent)synth_below(&m->draw, SYNTH_N_TOOLS);
}

static synth_intent any_form(maker *m)
{
    return (synth_intent)(SYNTH_CONTACT + synth_below(&m->draw, SYNTH_N_FORMS));
}

static synth_intent any_intent(maker *m)
{
    return (synth_intent)synth_below(&m->draw, m->later ? SYNTH_N_INTENTS : SYNTH_SET_TIMER);
}

/* ---------------------------------------------------------------------------------------------- base */

static void small_talk(maker *m)
{
    size_t n = 0;
    while (m->lang->chat[n].a) {
        n++;
    }
    const synth_pair *pair = &m->lang->chat[synth_below(&m->draw, n)];
    m->kind = "prose";
    m->intent = "chat";
    say(m, "user", pair->a);
    say(m, "assistant", pair->b);
}

static void restated(maker *m)
{
    synth_intent intent = any_intent(m);
    m->kind = "prose";
    request(m, intent);
    confirm(m, intent);
}

/* The fields as "key: value" lines under their English names: what a call will carry, in nobody's syntax. */
static void noted(maker *m)
{
    synth_intent intent = any_intent(m);
    const synth_form *form = &synth_forms[intent];
    m->kind = "note";
    say(m, "system", "Reply with notes.");
    request(m, intent);
    for (int i = 0; i < form->n_fields; i++) {
        fmp_buf_printf(&m->text, "%s%s: %s", i ? "\n" : "", form->fields[i].name, m->values[i].text);
    }
    say_text(m, "assistant");
}

/* Declarations are there to be read, and the answer is prose all the same. */
static void declared_and_prose(maker *m)
{
    size_t kind = synth_below(&m->draw, 20);
    m->kind = "prose";
    if (kind < 4) {
        declare_tools(m, any_tool(m));
        small_talk(m);
    } else if (kind < 13) {
        synth_intent intent = any_tool(m);
        declare_tools(m, kind < 10 ? intent : any_tool(m));
        request(m, intent);
        confirm(m, intent);
    } else {
        synth_intent intent = any_form(m);
        cJSON *message = request(m, intent);
        put(m, message, "response_format", synth_response_format(intent));
        confirm(m, intent);
    }
}

enum { MAX_RECORD = 5 };

static bool is_number(const char *text)
{
    return text[0] && strspn(text, "0123456789") == strlen(text) && (text[0] != '0' || !text[1]);
}

typedef enum record_form { RECORD_LINES, RECORD_FLAT, RECORD_NESTED } record_form;

/*
 * The record of a reading question: lines, a flat JSON object of strings, or an object in an object with numbers. The last
 * is for version 1.1: a closing "}}" is one token, and a token that a base model has never read cannot be told from
 * others of its kind by any adapter.
 */
static void write_record(maker *m, const char *const *keys, const synth_value *values, size_t n,
                         record_form form)
{
    if (form == RECORD_LINES) {
        for (size_t i = 0; i < n; i++) {
            fmp_buf_printf(&m->text, "%s: %s\n", keys[i], values[i].text);
        }
        return;
    }
    cJSON *record = cJSON_CreateObject(), *fields = form == RECORD_NESTED ? cJSON_CreateObject() : record;
    for (size_t i = 0; i < n; i++) {
        bool number = form == RECORD_NESTED && is_number(values[i].text);
        cJSON *value = number ? cJSON_CreateNumber(strtod(values[i].text, NULL)) : cJSON_CreateString(values[i].text);
        if (!value || !fields || !cJSON_AddItemToObject(fields, keys[i], value)) {
            cJSON_Delete(value);
            m->failed = true;
        }
    }
    if (fields != record) { put(m, record, "record", fields); }
    if (!m->failed) { fmp_json_print(record, FMP_JSON_SPACED, &m->text); }
    fmp_buf_putc(&m->text, '\n');
    cJSON_Delete(record);
}

static void reading(maker *m)
{
    const char *keys[MAX_RECORD];
    synth_value values[MAX_RECORD];
    size_t n = 2 + synth_below(&m->draw, MAX_RECORD - 1), n_keys = 0;
    while (m->lang->keys[n_keys]) {
        n_keys++;
    }
    size_t first = synth_below(&m->draw, n_keys), step = 1 + synth_below(&m->draw, 2);
    for (size_t i = 0; i < n; i++) {
        keys[i] = m->lang->keys[(first + i * step) % n_keys];
        synth_any_value(&m->draw, m->lang, &values[i]);
    }
    size_t asked = synth_below(&m->draw, n);
    m->kind = "read";
    m->intent = "read";
    record_form form = synth_below(&m->draw, 2) == 0 ? RECORD_LINES : RECORD_FLAT;
    if (m->later && form == RECORD_FLAT && synth_below(&m->draw, 2) == 0) {
        form = RECORD_NESTED;
        if (synth_below(&m->draw, 2) == 0) {
            snprintf(values[n - 1].text, sizeof values[n - 1].text, "%d", (int)synth_below(&m->draw, 100));
        }
    }
    write_record(m, keys, values, n, form);
    synth_put(synth_pick(&m->draw, m->lang->ask), "{key}", keys[asked], &m->text);
    say_text(m, "user");
    say(m, "assistant", values[asked].text);
}

enum { MAX_ITEMS = 8 };

static void join(maker *m, const synth_value *items, size_t n, const char *between, fmp_buf *out)
{
    for (size_t i = 0; i < n; i++) {
        if (i) { fmp_buf_puts(out, between); }
        fmp_buf_puts(out, items[i].text);
    }
    m->failed = m->failed || out->failed;
}

static void repeating(maker *m)
{
    synth_value items[MAX_ITEMS];
    fmp_buf joined = {0};
    size_t n = 3 + synth_below(&m->draw, MAX_ITEMS - 2);
    bool list = synth_below(&m->draw, 3) == 0;
    for (size_t i = 0; i < n; i++) {
        synth_any_value(&m->draw, m->lang, &items[i]);
    }
    m->kind = "repeat";
    m->intent = "repeat";
    join(m, items, n, m->lang->comma, &joined);
    synth_put(synth_pick(&m->draw, list ? m->lang->list : m->lang->repeat), "{items}",
              joined.data ? joined.data : "", &m->text);
    fmp_buf_free(&joined);
    say_text(m, "user");
    join(m, items, n, list ? "\n" : m->lang->comma, &m->text);
    say_text(m, "assistant");
}

static void base(maker *m)
{
    size_t part = synth_below(&m->draw, 100);
    m->made_up_percent = m->later ? MADE_UP_IN_LATER_BASE : MADE_UP_IN_BASE;
    m->part = m->later ? SYNTH_ANY_VALUE : SYNTH_TRAIN_VALUE;
    if (part < 22) {
        restated(m);
    } else if (part < 46) {
        noted(m);
    } else if (part < 60) {
        declared_and_prose(m);
    } else if (part < 76) {
        reading(m);
    } else {
        repeating(m);
    }
}

/* ------------------------------------------------------------------------------------ adapt, held-out */

static void called(maker *m, synth_intent intent)
{
    m->kind = "call";
    declare_tools(m, intent);
    request(m, intent);
    cJSON *message = say(m, "assistant", "");
    cJSON *calls = cJSON_CreateArray(), *call = cJSON_CreateObject(), *function = cJSON_CreateObject();
    put(m, function, "name", cJSON_CreateString(synth_forms[intent].name));
    put(m, function, "arguments", arguments(m, intent));
    put(m, call, "type", cJSON_CreateString("function"));
    put(m, call, "function", function);
    append(m, calls, call);
    put(m, message, "tool_calls", calls);
}

static void answered(maker *m, synth_intent intent)
{
    cJSON *message = request(m, intent), *answer = arguments(m, intent);
    m->kind = "answer";
    put(m, message, "response_format", synth_response_format(intent));
    if (!m->failed) { fmp_json_print(answer, FMP_JSON_SPACED, &m->text); }
    cJSON_Delete(answer);
    say_text(m, "assistant");
}

static void adapt(maker *m)
{
    size_t part = synth_below(&m->draw, 100);
    m->made_up_percent = MADE_UP_IN_ADAPT;
    if (part < 60) {
        called(m, any_tool(m));
    } else if (part < 85) {
        answered(m, any_form(m));
    } else if (part < 93) {
        declare_tools(m, any_tool(m));
        small_talk(m);
    } else {
        synth_intent intent = any_tool(m);
        called(m, intent);
        m->kind = "cycle";
        say(m, "tool", "{\"status\": \"ok\"}");
        confirm(m, intent);
    }
}

/* Every intent in every locale comes round once in 120 conversations. */
static void heldout(maker *m, uint64_t index)
{
    synth_intent intent = (synth_intent)(index / SYNTH_N_LOCALES % (SYNTH_N_TOOLS + SYNTH_N_FORMS));
    m->held = true;
    m->part = SYNTH_HELD_VALUE;
    if (intent < SYNTH_CONTACT) {
        called(m, intent);
    } else {
        answered(m, intent);
    }
}

fmp_status synth_conversation(const synth_options *opt, uint64_t index, cJSON **out, fmp_err *err)
{
    maker m = {.draw = {opt->seed, (uint64_t)opt->corpus << 56 ^ index, 0},
               .lang = langs[index % SYNTH_N_LOCALES],
               .later = opt->later && opt->corpus == SYNTH_BASE,
               .adapting = opt->corpus == SYNTH_ADAPT,
               .doc = cJSON_CreateObject(),
               .messages = cJSON_CreateArray()};
    put(&m, m.doc, "messages", m.messages);
    if (!m.failed) {
        switch (opt->corpus) {
        case SYNTH_BASE: base(&m); break;
        case SYNTH_ADAPT: adapt(&m); break;
        case SYNTH_HELDOUT: heldout(&m, index); break;
        }
        cJSON *meta = cJSON_CreateObject();
        put(&m, meta, "intent", cJSON_CreateString(m.intent));
        put(&m, meta, "kind", cJSON_CreateString(m.kind));
        put(&m, m.doc, "locale", cJSON_CreateString(m.lang->locale));
        put(&m, m.doc, "meta", meta);
    }
    fmp_buf_free(&m.text);
    if (m.failed) {
        cJSON_Delete(m.doc);
        return fmp_fail(err, FMP_E_NOMEM, "out of memory");
    }
    *out = m.doc;
    return FMP_OK;
}
