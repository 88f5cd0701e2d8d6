/*
 * What there is to ask for: nine tools, six forms, two intents that are only spoken about; their fields, and
 * their declarations, kept as short as a declaration can be because every token of a prompt costs training
 * time.
 */
#include "synth_tables.h"

#define ROOM                                                                                                 \
    {                                                                                                        \
        "room", SLOT_ROOM, 0, 0, SYNTH_NAMES                                                                 \
    }
#define DAY                                                                                                  \
    {                                                                                                        \
        "day", SLOT_DAY, 0, 0, SYNTH_NAMES                                                                   \
    }
#define TIME                                                                                                 \
    {                                                                                                        \
        "time", SLOT_TIME, 0, 0, SYNTH_NAMES                                                                 \
    }
#define PHONE                                                                                                \
    {                                                                                                        \
        "phone", SLOT_PHONE, 0, 0, SYNTH_NAMES                                                               \
    }
#define NUMBER(name, low, high)                                                                              \
    {                                                                                                        \
        name, SLOT_NUMBER, low, high, SYNTH_NAMES                                                            \
    }
#define FROM(name, pool)                                                                                     \
    {                                                                                                        \
        name, SLOT_POOL, 0, 0, pool                                                                          \
    }

const char *const synth_room_ids[SYNTH_N_ROOMS] = {"kitchen",     "bedroom", "bathroom",
                                                   "living_room", "office",  "hallway"};
const char *const synth_day_ids[SYNTH_N_DAYS] = {"monday", "tuesday",  "wednesday", "thursday",
                                                 "friday", "saturday", "sunday"};

const synth_form synth_forms[SYNTH_N_INTENTS] = {
    [SYNTH_SET_LIGHT] = {"set_light", 2, {ROOM, NUMBER("level", 5, 99)}},
    [SYNTH_SET_HEATING] = {"set_heating", 2, {ROOM, NUMBER("degrees", 12, 28)}},
    [SYNTH_PLAY_MUSIC] = {"play_music", 1, {FROM("artist", SYNTH_ARTISTS)}},
    [SYNTH_SET_ALARM] = {"set_alarm", 1, {TIME}},
    [SYNTH_CREATE_EVENT] = {"create_event", 3, {FROM("title", SYNTH_TITLES), DAY, TIME}},
    [SYNTH_SEND_MESSAGE] = {"send_message", 2, {FROM("to", SYNTH_NAMES), FROM("text", SYNTH_TEXTS)}},
    [SYNTH_FIND_FLIGHT] = {"find_flight", 2, {FROM("from", SYNTH_CITIES), FROM("to", SYNTH_CITIES)}},
    [SYNTH_BOOK_HOTEL] = {"book_hotel", 2, {FROM("city", SYNTH_CITIES), NUMBER("nights", 2, 21)}},
    [SYNTH_BOOK_TABLE] = {"book_table", 3, {FROM("name", SYNTH_RESTAURANTS), NUMBER("people", 2, 16), TIME}},
    [SYNTH_CONTACT] = {"contact", 3, {FROM("name", SYNTH_NAMES), FROM("city", SYNTH_CITIES), PHONE}},
    [SYNTH_EXPENSE] = {"expense", 2, {FROM("item", SYNTH_ITEMS), NUMBER("amount", 5, 199)}},
    [SYNTH_ORDER] = {"order", 2, {FROM("product", SYNTH_PRODUCTS), NUMBER("count", 2, 60)}},
    [SYNTH_APPOINTMENT] = {"appointment", 3, {FROM("name", SYNTH_NAMES), DAY, TIME}},
    [SYNTH_TRIP] = {"trip",
                    3,
                    {FROM("from", SYNTH_CITIES), FROM("to", SYNTH_CITIES), NUMBER("nights", 2, 21)}},
    [SYNTH_PERSON] = {"person",
                      3,
                      {FROM("name", SYNTH_NAMES), NUMBER("age", 18, 90), FROM("city", SYNTH_CITIES)}},
    [SYNTH_SET_TIMER] = {"set_timer", 1, {NUMBER("minutes", 2, 59)}},
    [SYNTH_GET_WEATHER] = {"get_weather", 2, {FROM("city", SYNTH_CITIES), DAY}},
};

/* Adds only what was made: the caller sees a missing piece through `ok`. */
static void add(bool *ok, cJSON *object, const char *constant_key, cJSON *node)
{
    if (!node || !object || !cJSON_AddItemToObjectCS(object, constant_key, node)) {
        cJSON_Delete(node);
        *ok = false;
    }
}

static cJSON *object_schema(const synth_form *form, bool *ok)
{
    cJSON *schema = cJSON_CreateObject(), *properties = cJSON_CreateObject(), *required = cJSON_CreateArray();
    for (int i = 0; i < form->n_fields; i++) {
        const synth_field *field = &form->fields[i];
        cJSON *property = cJSON_CreateObject(), *name = cJSON_CreateString(field->name);
        add(ok, property, "type", cJSON_CreateString(field->slot == SLOT_NUMBER ? "integer" : "string"));
        add(ok, properties, field->name, property);
        if (!name || !cJSON_AddItemToArray(required, name)) {
            cJSON_Delete(name);
            *ok = false;
        }
    }
    add(ok, schema, "type", cJSON_CreateString("object"));
    add(ok, schema, "properties", properties);
    add(ok, schema, "required", required);
    return schema;
}

static cJSON *whole(cJSON *node, bool ok)
{
    if (ok) { return node; }
    cJSON_Delete(node);
    return NULL;
}

cJSON *synth_tool(synth_intent intent)
{
    const synth_form *form = &synth_forms[intent];
    bool ok = true;
    cJSON *tool = cJSON_CreateObject(), *function = cJSON_CreateObject();
    add(&ok, function, "name", cJSON_CreateString(form->name));
    add(&ok, function, "parameters", object_schema(form, &ok));
    add(&ok, tool, "type", cJSON_CreateString("function"));
    add(&ok, tool, "function", function);
    return whole(tool, ok);
}

cJSON *synth_response_format(synth_intent intent)
{
    const synth_form *form = &synth_forms[intent];
    bool ok = true;
    cJSON *format = cJSON_CreateObject(), *inner = cJSON_CreateObject();
    add(&ok, inner, "name", cJSON_CreateString(form->name));
    add(&ok, inner, "schema", object_schema(form, &ok));
    add(&ok, format, "type", cJSON_CreateString("json_schema"));
    add(&ok, format, "json_schema", inner);
    return whole(format, ok);
}
