/*
 * synth_tables.h: the form of the language tables and the pieces that synth.c puts together.
 *
 * A phrasing holds slots by the names of the intent's fields: "Dim the {room} to {level} percent". A room
 * also comes as {inroom} ("in the kitchen") and {ofroom} ("of the kitchen"), a day as {onday} ("on Monday"),
 * for languages that inflect. Lists of strings end with NULL. About every fourth value of a pool is held
 * out, by a hash of its text, so that a city held out in one language is held out in all.
 */
#ifndef SYNTH_TABLES_H
#define SYNTH_TABLES_H

#include "synth.h"

typedef enum synth_intent {
    /* tools */
    SYNTH_SET_LIGHT,
    SYNTH_SET_HEATING,
    SYNTH_PLAY_MUSIC,
    SYNTH_SET_ALARM,
    SYNTH_CREATE_EVENT,
    SYNTH_SEND_MESSAGE,
    SYNTH_FIND_FLIGHT,
    SYNTH_BOOK_HOTEL,
    SYNTH_BOOK_TABLE,
    /* forms */
    SYNTH_CONTACT,
    SYNTH_EXPENSE,
    SYNTH_ORDER,
    SYNTH_APPOINTMENT,
    SYNTH_TRIP,
    SYNTH_PERSON,
    /* only spoken about, and only in version 1.1 of the base corpus */
    SYNTH_SET_TIMER,
    SYNTH_GET_WEATHER,
    SYNTH_N_INTENTS
} synth_intent;

enum {
    SYNTH_N_TOOLS = SYNTH_CONTACT,
    SYNTH_N_FORMS = SYNTH_SET_TIMER - SYNTH_CONTACT,
    SYNTH_N_ROOMS = 6,
    SYNTH_N_DAYS = 7,
    SYNTH_N_LOCALES = 8,
    SYNTH_MAX_FIELDS = 3,
    SYNTH_FIRST_CONFIRMATIONS = 3 /* those of version 1.0 */
};

typedef enum synth_pool {
    SYNTH_NAMES,
    SYNTH_CITIES,
    SYNTH_ARTISTS,
    SYNTH_RESTAURANTS,
    SYNTH_TITLES,
    SYNTH_ITEMS,    /* what money was spent on */
    SYNTH_PRODUCTS, /* what is ordered by the piece, in the plural where there is one */
    SYNTH_TEXTS,    /* messages of a few words */
    SYNTH_N_POOLS
} synth_pool;

typedef struct synth_phrases {
    const char *train[10];
    const char *held[4];
    const char *confirm[5]; /* every one restates all slots */
    const char *more[7];    /* further ones that only the adapter's training uses */
} synth_phrases;

typedef struct synth_room {
    const char *room, *in, *of;
} synth_room;

typedef struct synth_day {
    const char *day, *on;
} synth_day;

typedef struct synth_pair {
    const char *a, *b;
} synth_pair;

typedef struct synth_lang {
    const char *locale;
    const synth_room *rooms; /* (6) in the order of synth_room_ids */
    const synth_day *days;   /* (7) Monday first                   */
    const char *const *pools[SYNTH_N_POOLS];
    const synth_phrases *phrases; /* (SYNTH_N_INTENTS)                  */
    const char *const *open;      /* said before a request, with its white space */
    const char *const *open_held;
    const synth_pair *chat;       /* remark and answer outside every tool's reach; ends with {NULL, NULL} */
    const char *const *keys;      /* field labels of the reading questions */
    const char *const *ask;       /* "What is the {key}?"               */
    const char *const *repeat;    /* "Repeat: {items}"                  */
    const char *const *list;      /* "One per line: {items}"            */
    const char *const *syllables; /* of made-up words, in this language's script */
    const char *comma;            /* between repeated items             */
    const synth_pair *swap;       /* word here, word in this locale (en-GB); NULL: none */
} synth_lang;

extern const synth_lang synth_en_us, synth_en_gb, synth_de, synth_fr, synth_es, synth_pt, synth_ja, synth_zh;
extern const char *const synth_room_ids[SYNTH_N_ROOMS], *const synth_day_ids[SYNTH_N_DAYS];

/* ---- synth_tools.c: what each intent's fields are ---- */

typedef enum synth_slot { SLOT_ROOM, SLOT_DAY, SLOT_TIME, SLOT_PHONE, SLOT_NUMBER, SLOT_POOL } synth_slot;

typedef struct synth_field {
    const char *name; /* of the argument and of the slot */
    synth_slot slot;
    int low, high;   /* NUMBER: inclusive   */
    synth_pool pool; /* POOL                */
} synth_field;

typedef struct synth_form {
    const char *name;
    int n_fields;
    synth_field fields[SYNTH_MAX_FIELDS];
} synth_form;

extern const synth_form synth_forms[SYNTH_N_INTENTS];

/* The compact declaration of a tool; a form as a response_format. NULL: out of memory.   returned */
cJSON *synth_tool(synth_intent intent);
cJSON *synth_response_format(synth_intent intent);

/* ---- synth_text.c: choices, values, sentences ---- */

/* The numbers of one conversation, used one after the other. */
typedef struct synth_draw {
    uint64_t seed, stream, next;
} synth_draw;

size_t synth_below(synth_draw *d, size_t n);
const char *synth_pick(synth_draw *d, const char *const *list);
bool synth_is_held(const char *value);

typedef struct synth_value {
    char text[64]; /* as the user writes it; for a room or day its id */
    int number;    /* ROOM, DAY: index; NUMBER: value                 */
} synth_value;

/* Which values of the pools: those of training, those held out from the adapter, or all, as a base model has read. */
typedef enum synth_part { SYNTH_TRAIN_VALUE, SYNTH_HELD_VALUE, SYNTH_ANY_VALUE } synth_part;

/*
 * Values for the fields of an intent: all from the training part of the pools or all from the held-out part.
 * Of the values of pools, made_up_percent are made-up words instead: a model that has met each city hundreds
 * of times learns the cities by heart, one that meets words it cannot know learns to copy.
 */
void synth_values(synth_draw *d, const synth_lang *lang, const synth_form *form, synth_part part,
                  size_t made_up_percent, synth_value *values);
/* One value of any kind, from the training part. */
void synth_any_value(synth_draw *d, const synth_lang *lang, synth_value *value);
/* Append `phrasing` with its slots filled. */
void synth_fill(const char *phrasing, const synth_lang *lang, const synth_form *form,
                const synth_value *values, fmp_buf *out);
/* Append `phrasing` with `text` in place of `slot` ("{key}"). */
void synth_put(const char *phrasing, const char *slot, const char *text, fmp_buf *out);

#endif
