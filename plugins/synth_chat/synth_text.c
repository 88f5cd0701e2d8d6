/*
 * Choices, values and sentences. Every choice is a counter-based random number, so a conversation depends on
 * its seed and index alone. Read synth_values first: it decides what is copied from where.
 */
#include "synth_tables.h"

#include <fmpipe/fs.h>

size_t synth_below(synth_draw *d, size_t n)
{
    return (size_t)fmp_rng_below(d->seed, d->stream, d->next++, n);
}

const char *synth_pick(synth_draw *d, const char *const *list)
{
    size_t n = 0;
    while (list[n]) {
        n++;
    }
    return list[synth_below(d, n)];
}

/* FNV-1a, 64 bits; the high half is well mixed even for short texts. */
bool synth_is_held(const char *value)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (const char *p = value; *p; p++) {
        h = (h ^ (unsigned char)*p) * 0x100000001b3u;
    }
    return ((h ^ h >> 32) * 0x9E3779B97F4A7C15u >> 60) % 4 == 3;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80;
}

/* Append `text` with the words that this locale spells otherwise put in its spelling. */
static void add_swapped(const synth_lang *lang, const char *text, size_t len, fmp_buf *out)
{
    for (size_t i = 0; i < len;) {
        size_t word = 0;
        while (i + word < len && is_letter(text[i + word])) {
            word++;
        }
        if (word == 0) {
            fmp_buf_putc(out, text[i++]);
            continue;
        }
        const synth_pair *pair = lang->swap;
        while (pair && pair->a && (strlen(pair->a) != word || memcmp(pair->a, text + i, word) != 0)) {
            pair++;
        }
        if (pair && pair->a) {
            fmp_buf_puts(out, pair->b);
        } else {
            fmp_buf_add(out, text + i, word);
        }
        i += word;
    }
}

static void set_text(synth_value *value, const synth_lang *lang, const char *text)
{
    fmp_buf swapped = {0};
    add_swapped(lang, text, strlen(text), &swapped);
    snprintf(value->text, sizeof value->text, "%s", swapped.data ? swapped.data : "");
    fmp_buf_free(&swapped);
}

/* A number in low..high from its part; every fourth one is held out. */
static int number(synth_draw *d, int low, int high, bool held)
{
    int v = low + (int)synth_below(d, (size_t)(high - low + 1));
    while ((v % 4 == 3) != held) {
        v = v < high ? v + 1 : low;
    }
    return v;
}

static void clock_time(synth_draw *d, bool held, synth_value *value)
{
    int hour, five;
    do {
        hour = 6 + (int)synth_below(d, 17);
        five = (int)synth_below(d, 12);
    } while (((hour + five) % 4 == 3) != held);
    snprintf(value->text, sizeof value->text, "%02d:%02d", hour, five * 5);
}

static bool value_in_part(const char *value, synth_part part)
{
    return part == SYNTH_ANY_VALUE || synth_is_held(value) == (part == SYNTH_HELD_VALUE);
}

/* A value of the pool's part that is not `other`. */
static void from_pool(synth_draw *d, const synth_lang *lang, synth_pool pool, synth_part part, const char *other,
                      synth_value *value)
{
    const char *const *list = lang->pools[pool];
    size_t n = 0;
    for (size_t i = 0; list[i]; i++) {
        n += value_in_part(list[i], part);
    }
    do {
        size_t k = synth_below(d, n), i = 0;
        for (;; i++) {
            if (value_in_part(list[i], part) && k-- == 0) { break; }
        }
        set_text(value, lang, list[i]);
    } while (other && strcmp(value->text, other) == 0);
}

/* -------------------------------------------------------------------------------------- drawn values */

static bool in_a_pool(const synth_lang *lang, const char *text)
{
    for (int p = 0; p < SYNTH_N_POOLS; p++) {
        for (const char *const *v = lang->pools[p]; *v; v++) {
            if (strcmp(*v, text) == 0) { return true; }
        }
    }
    return false;
}

/* Bytes of the first n characters of text, stopping at a space. */
static size_t head_bytes(const char *text, size_t n)
{
    size_t at = 0;
    while (text[at] && text[at] != ' ' && (n > 0 || ((unsigned char)text[at] & 0xC0) == 0x80)) {
        n -= ((unsigned char)text[at] & 0xC0) != 0x80;
        at++;
    }
    return at;
}

/* Where the last n characters of text begin, stopping at a space. */
static const char *tail_of(const char *text, size_t n)
{
    const char *at = text + strlen(text);
    while (at > text && at[-1] != ' ' && n > 0) {
        at--;
        n -= ((unsigned char)*at & 0xC0) != 0x80;
    }
    return at;
}

/* The head of one training value and the tail of another: looks like a word of the language, and is none. */
static size_t spliced_word(synth_draw *d, const synth_lang *lang, char *out, size_t size)
{
    synth_value head, tail;
    size_t most = (unsigned char)lang->syllables[0][0] < 0x80 ? 4 : 2;
    from_pool(d, lang, (synth_pool)synth_below(d, SYNTH_N_POOLS), SYNTH_TRAIN_VALUE, NULL, &head);
    from_pool(d, lang, (synth_pool)synth_below(d, SYNTH_N_POOLS), SYNTH_TRAIN_VALUE, NULL, &tail);
    size_t n = head_bytes(head.text, 1 + synth_below(d, most));
    return (size_t)snprintf(out, size, "%.*s%s", (int)n, head.text, tail_of(tail.text, 1 + synth_below(d, most)));
}

static size_t syllable_word(synth_draw *d, const synth_lang *lang, char *out, size_t size)
{
    size_t used = 0;
    for (size_t n = 2 + synth_below(d, 2); n > 0 && used < size; n--) {
        used += (size_t)snprintf(out + used, size - used, "%s", synth_pick(d, lang->syllables));
    }
    return used;
}

/* Words that are in no pool; a real value, which might be a held-out one, is drawn again. */
static void made_up_words(synth_draw *d, const synth_lang *lang, size_t n_words, bool capital,
                          synth_value *value)
{
    const char *space = (unsigned char)lang->syllables[0][0] < 0x80 ? " " : "";
    do {
        size_t used = 0, size = sizeof value->text;
        for (size_t w = 0; w < n_words && used + 1 < size; w++) {
            if (w > 0) { used += (size_t)snprintf(value->text + used, size - used, "%s", space); }
            used += synth_below(d, 3) == 0 ? syllable_word(d, lang, value->text + used, size - used)
                                           : spliced_word(d, lang, value->text + used, size - used);
        }
        if (capital && value->text[0] >= 'a' && value->text[0] <= 'z') { value->text[0] -= 'a' - 'A'; }
    } while (in_a_pool(lang, value->text) || synth_is_held(value->text));
}

static void made_up_value(synth_draw *d, const synth_lang *lang, synth_pool pool, synth_value *value)
{
    bool thing = pool == SYNTH_ITEMS || pool == SYNTH_PRODUCTS,
         one = thing || pool == SYNTH_NAMES || pool == SYNTH_CITIES;
    made_up_words(d, lang, one ? 1 : 1 + synth_below(d, 3), !thing, value);
}

void synth_values(synth_draw *d, const synth_lang *lang, const synth_form *form, synth_part part,
                  size_t made_up_percent, synth_value *values)
{
    bool held = part == SYNTH_HELD_VALUE;
    for (int i = 0; i < form->n_fields; i++) {
        const synth_field *field = &form->fields[i];
        synth_value *value = &values[i];
        bool second =
            i > 0 && field->slot == SLOT_POOL && field[-1].slot == SLOT_POOL && field[-1].pool == field->pool;
        value->number = 0;
        switch (field->slot) {
        case SLOT_ROOM:
            value->number = (int)synth_below(d, SYNTH_N_ROOMS);
            snprintf(value->text, sizeof value->text, "%s", synth_room_ids[value->number]);
            break;
        case SLOT_DAY:
            value->number = (int)synth_below(d, SYNTH_N_DAYS);
            snprintf(value->text, sizeof value->text, "%s", synth_day_ids[value->number]);
            break;
        case SLOT_TIME: clock_time(d, held, value); break;
        case SLOT_PHONE:
            snprintf(value->text, sizeof value->text, "555-%04d", number(d, 0, 9999, held));
            break;
        case SLOT_NUMBER:
            value->number = number(d, field->low, field->high, held);
            snprintf(value->text, sizeof value->text, "%d", value->number);
            break;
        case SLOT_POOL:
            if (synth_below(d, 100) < made_up_percent) {
                made_up_value(d, lang, field->pool, value);
            } else {
                from_pool(d, lang, field->pool, part, second ? values[i - 1].text : NULL, value);
            }
            break;
        }
    }
}

void synth_any_value(synth_draw *d, const synth_lang *lang, synth_value *value)
{
    size_t kind = synth_below(d, 10);
    value->number = 0;
    if (kind < 6) {
        made_up_words(d, lang, 1, synth_below(d, 2) == 0, value);
    } else if (kind < 8) {
        from_pool(d, lang, (synth_pool)synth_below(d, SYNTH_N_POOLS), SYNTH_TRAIN_VALUE, NULL, value);
    } else if (kind < 9) {
        snprintf(value->text, sizeof value->text, "%d", (int)synth_below(d, synth_below(d, 2) ? 100 : 10000));
    } else {
        clock_time(d, false, value);
    }
}

/* ---------------------------------------------------------------------------------------------- sentences */

/* What stands for slot name[0..len) in a sentence; NULL: no such slot. */
static const char *surface(const char *name, size_t len, const synth_lang *lang, const synth_form *form,
                           const synth_value *values)
{
    for (int i = 0; i < form->n_fields; i++) {
        const synth_field *field = &form->fields[i];
        const synth_room *room = &lang->rooms[field->slot == SLOT_ROOM ? values[i].number : 0];
        const synth_day *day = &lang->days[field->slot == SLOT_DAY ? values[i].number : 0];
        bool exact = strlen(field->name) == len && memcmp(field->name, name, len) == 0;
        if (field->slot == SLOT_ROOM) {
            if (exact) { return room->room; }
            if (len == 6 && memcmp(name, "inroom", 6) == 0) { return room->in; }
            if (len == 6 && memcmp(name, "ofroom", 6) == 0) { return room->of; }
        } else if (field->slot == SLOT_DAY) {
            if (exact) { return day->day; }
            if (len == 5 && memcmp(name, "onday", 5) == 0) { return day->on; }
        } else if (exact) {
            return values[i].text;
        }
    }
    return NULL;
}

/* A room or a day, which is not copied, begins a sentence with a capital. */
static void capitalise(const synth_form *form, const char *slot, char *first)
{
    for (int i = 0; i < form->n_fields; i++) {
        bool own_word = form->fields[i].slot == SLOT_ROOM || form->fields[i].slot == SLOT_DAY;
        if (own_word && strncmp(slot, form->fields[i].name, strlen(form->fields[i].name)) == 0 &&
            *first >= 'a' && *first <= 'z') {
            *first -= 'a' - 'A';
        }
    }
}

void synth_fill(const char *phrasing, const synth_lang *lang, const synth_form *form,
                const synth_value *values, fmp_buf *out)
{
    const char *whole_phrasing = phrasing;
    while (*phrasing) {
        const char *open = strchr(phrasing, '{'), *close = open ? strchr(open, '}') : NULL;
        if (!close) {
            add_swapped(lang, phrasing, strlen(phrasing), out);
            return;
        }
        const char *text = surface(open + 1, (size_t)(close - open) - 1, lang, form, values);
        add_swapped(lang, phrasing, (size_t)(open - phrasing), out);
        /* A slot that the intent does not have stays as written: the tables' test looks for braces. */
        if (text) {
            size_t at = out->len;
            add_swapped(lang, text, strlen(text), out);
            if (open == whole_phrasing && !out->failed) { capitalise(form, open + 1, out->data + at); }
        } else {
            fmp_buf_add(out, open, (size_t)(close - open) + 1);
        }
        phrasing = close + 1;
    }
}

void synth_put(const char *phrasing, const char *slot, const char *text, fmp_buf *out)
{
    const char *at = strstr(phrasing, slot);
    size_t before = at ? (size_t)(at - phrasing) : strlen(phrasing);
    fmp_buf_add(out, phrasing, before);
    if (at) {
        fmp_buf_puts(out, text);
        fmp_buf_puts(out, at + strlen(slot));
    }
}
