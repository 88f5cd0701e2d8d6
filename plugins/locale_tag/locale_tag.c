/*
 * locale.tag: the language and region of each conversation, as a canonical BCP-47 tag in `locale`.
 *
 * A tag that the record carries is canonicalised (ICU) and, where a set is allowed, matched to it by likely
 * subtags; a record without one is read by CLD2 (and, if too short for it, judged by its script); below the
 * confidence the default is used. Explicit tags repeat, so each worker keeps the last few with their
 * answers. Read resolve() first.
 */
#include "locale_tag.h"

#include <fmpipe/plugin.h>

#include <stdlib.h>
#include <unicode/uloc.h>

enum { TAG = 64, MAX_ALLOWED = 128, CACHE = 16, DETECT_BYTES = 8192 };

typedef enum mode { USE_AUTO, USE_EXPLICIT, USE_DETECT } mode;
typedef enum outside { OUTSIDE_REJECT, OUTSIDE_DEFAULT, OUTSIDE_KEEP } outside;

typedef struct resolved {
    char given[TAG], tag[TAG];
    enum { TAG_OK, TAG_INVALID, TAG_OUTSIDE } state;
} resolved;

/* One worker's memory of the last tags it resolved. */
typedef struct tag_cache {
    resolved entry[CACHE];
    unsigned next;
} tag_cache;

typedef struct allowed_tag {
    char tag[TAG], language[16], script[8], region[8]; /* of the maximised tag */
} allowed_tag;

typedef struct locale_tag {
    const fmp_host *host;
    mode use;
    outside outside;
    const char *field, *fallback;
    char fallback_tag[TAG];
    double min_confidence;
    allowed_tag allowed[MAX_ALLOWED];
    size_t n_allowed;
    bool add_system;
    const cJSON *messages;
    tag_cache *cache; /* one for each worker */
} locale_tag;

static const fmp_option options[] = {
    {.name = "field",
     .type = FMP_OPT_STRING,
     .def = "locale",
     .min = 1,
     .max = 200,
     .help = "Where a record says its locale: locale, or a path such as meta.lang."},
    {.name = "use",
     .type = FMP_OPT_ENUM,
     .def = "auto",
     .choices = "auto|explicit|detect",
     .help = "auto: the field if there, else detection. explicit: the field only. detect: the text only."},
    {.name = "min_confidence",
     .type = FMP_OPT_FLOAT,
     .def = "0.6",
     .unit = "fraction",
     .min = 0,
     .max = 1,
     .help = "Lowest confidence at which a detected language counts."},
    {.name = "default",
     .type = FMP_OPT_STRING,
     .min = 2,
     .max = 60,
     .help =
         "Tag of records whose locale is neither given nor detected. Left out: such records are rejected."},
    {.name = "allowed",
     .type = FMP_OPT_LIST,
     .def = "[]",
     .help = "Tags that may come out; a tag is matched to the nearest by likely subtags (en to en-US). "
             "Empty: any."},
    {.name = "outside",
     .type = FMP_OPT_ENUM,
     .def = "reject",
     .choices = "reject|default|keep",
     .help = "What becomes of a record whose locale matches none of allowed."},
    {.name = "system",
     .type = FMP_OPT_ENUM,
     .def = "none",
     .choices = "none|add_missing",
     .help = "add_missing: begin conversations that have no system message with one in their language."},
    {.name = "messages",
     .type = FMP_OPT_MAP,
     .help = "System messages by tag or language, before the built-in ones."},
    {.name = NULL}};

static const fmp_port inputs[] = {{.name = "records", .type = FMP_PORT_RECORDS, .help = "Conversations."},
                                  {.name = NULL}};
static const fmp_port outputs[] = {
    {.name = "records", .type = FMP_PORT_RECORDS, .help = "The same with `locale` set."}, {.name = NULL}};

/* ---------------------------------------------------------------------------------------------- tags */

/* Any spelling of a tag -> canonical BCP-47; false if it is none. */
static bool canonical_tag(const char *given, char *tag)
{
    char dashed[TAG], locale[ULOC_FULLNAME_CAPACITY], canonical[ULOC_FULLNAME_CAPACITY];
    UErrorCode status = U_ZERO_ERROR;
    int32_t used = 0;
    size_t n = strlen(given);
    if (n < 2 || n >= sizeof dashed) { return false; }
    for (size_t i = 0; i <= n; i++) {
        dashed[i] = given[i] == '_' ? '-' : given[i];
    }
    uloc_forLanguageTag(dashed, locale, (int32_t)sizeof locale, &used, &status);
    if (U_FAILURE(status) || status == U_STRING_NOT_TERMINATED_WARNING || used != (int32_t)n) {
        return false;
    }
    uloc_canonicalize(locale, canonical, (int32_t)sizeof canonical, &status);
    /* Well-formed is not enough: "english" is, and so is "xx". Of three letters ICU does not know all. */
    size_t language = strcspn(canonical, "_@");
    if (language > 3 || (language == 2 && !*uloc_getISO3Language(canonical))) { return false; }
    int32_t len = uloc_toLanguageTag(canonical, tag, TAG, true, &status);
    return U_SUCCESS(status) && status != U_STRING_NOT_TERMINATED_WARNING && len >= 2 &&
           strcmp(tag, "und") != 0;
}

static bool maximise(const char *tag, allowed_tag *out)
{
    char locale[ULOC_FULLNAME_CAPACITY], full[ULOC_FULLNAME_CAPACITY];
    UErrorCode status = U_ZERO_ERROR;
    uloc_forLanguageTag(tag, locale, (int32_t)sizeof locale, NULL, &status);
    uloc_addLikelySubtags(locale, full, (int32_t)sizeof full, &status);
    uloc_getLanguage(full, out->language, (int32_t)sizeof out->language, &status);
    uloc_getScript(full, out->script, (int32_t)sizeof out->script, &status);
    uloc_getCountry(full, out->region, (int32_t)sizeof out->region, &status);
    return U_SUCCESS(status) && status != U_STRING_NOT_TERMINATED_WARNING;
}

/* Nearest allowed tag: same region, else the first with the same language and script. */
static const allowed_tag *match(const locale_tag *s, const char *tag)
{
    allowed_tag full;
    const allowed_tag *best = NULL;
    if (!maximise(tag, &full)) { return NULL; }
    for (size_t i = 0; i < s->n_allowed; i++) {
        const allowed_tag *a = &s->allowed[i];
        if (strcmp(a->language, full.language) != 0 || strcmp(a->script, full.script) != 0) { continue; }
        if (strcmp(a->region, full.region) == 0) { return a; }
        if (!best) { best = a; }
    }
    return best;
}

static const resolved *resolve(const locale_tag *s, tag_cache *cache, const char *given)
{
    for (int i = 0; i < CACHE && *given; i++) { /* an empty entry is an empty string */
        if (strcmp(cache->entry[i].given, given) == 0) { return &cache->entry[i]; }
    }
    static const resolved too_long = {.state = TAG_INVALID};
    if (strlen(given) >= TAG) { return &too_long; }
    resolved *r = &cache->entry[cache->next++ % CACHE];
    snprintf(r->given, sizeof r->given, "%s", given);
    r->state = canonical_tag(given, r->tag) ? TAG_OK : TAG_INVALID;
    if (r->state == TAG_OK && s->n_allowed > 0) {
        const allowed_tag *a = match(s, r->tag);
        if (a) {
            memcpy(r->tag, a->tag, sizeof r->tag);
        } else {
            r->state = TAG_OUTSIDE;
        }
    }
    return r;
}

/* ---------------------------------------------------------------------------------------------- records */

static const char *text_of(const cJSON *message)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(message, "content"));
    return text ? text : "";
}

/* Up to DETECT_BYTES of what user and assistant say, cut between characters. */
static size_t gather_text(const cJSON *doc, char *out)
{
    size_t n = 0;
    const cJSON *m;
    cJSON_ArrayForEach(m, cJSON_GetObjectItemCaseSensitive(doc, "messages"))
    {
        const char *role = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(m, "role")),
                   *text = text_of(m);
        if (!role || (strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0)) { continue; }
        size_t len = strlen(text), room = DETECT_BYTES - 1 - n;
        if (len > room) {
            len = room;
            while (len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80) {
                len--;
            }
        }
        memcpy(out + n, text, len);
        n += len;
        if (n >= DETECT_BYTES - 1) { break; }
        out[n++] = '\n';
    }
    return n;
}

static const char *system_message(const locale_tag *s, const char *tag)
{
    allowed_tag full;
    const cJSON *own = s->messages ? cJSON_GetObjectItemCaseSensitive(s->messages, tag) : NULL;
    if (!maximise(tag, &full)) { return NULL; }
    if (!own && s->messages) { own = cJSON_GetObjectItemCaseSensitive(s->messages, full.language); }
    return cJSON_IsString(own) ? own->valuestring : locale_message(full.language, full.script);
}

static cJSON *with_locale(const locale_tag *s, const cJSON *doc, const char *tag, const fmp_call *call)
{
    cJSON *copy = cJSON_Duplicate(doc, true);
    if (!copy) { return NULL; }
    if (!cJSON_IsString(cJSON_GetObjectItemCaseSensitive(doc, "locale")) ||
        strcmp(cJSON_GetObjectItemCaseSensitive(doc, "locale")->valuestring, tag) != 0) {
        cJSON *meta =
            cJSON_DetachItemFromObjectCaseSensitive(copy, "meta"); /* keeps the canonical key order */
        cJSON_DeleteItemFromObjectCaseSensitive(copy, "locale");
        cJSON_AddStringToObject(copy, "locale", tag);
        if (meta) { cJSON_AddItemToObject(copy, "meta", meta); }
    }
    cJSON *messages = cJSON_GetObjectItemCaseSensitive(copy, "messages"),
          *first = messages ? messages->child : NULL;
    const char *role = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(first, "role"));
    bool wanted = s->add_system && role && strcmp(role, "system") != 0;
    const char *text = wanted ? system_message(s, tag) : NULL;
    if (wanted) { call->count(call, text ? "system_added" : "system_unknown", 1); }
    if (text) {
        cJSON *m = cJSON_CreateObject();
        cJSON_AddStringToObject(m, "role", "system");
        cJSON_AddStringToObject(m, "content", text);
        cJSON_InsertItemInArray(messages, 0, m);
    }
    return copy;
}

static fmp_status tag_as(const locale_tag *s, const fmp_record *record, const char *tag, const char *how,
                         const fmp_call *call, fmp_err *err)
{
    char counter[TAG + 16];
    snprintf(counter, sizeof counter, "locale.%s", tag);
    call->count(call, how, 1);
    call->count(call, counter, 1);
    const char *now = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(record->doc, "locale"));
    if (now && strcmp(now, tag) == 0 && !s->add_system) { return call->pass(call, err); }
    cJSON *doc = with_locale(s, record->doc, tag, call);
    return doc ? call->emit(call, doc, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

static fmp_status no_locale(const locale_tag *s, const fmp_record *record, const char *reason,
                            const char *message, const fmp_call *call, fmp_err *err)
{
    if (*s->fallback_tag) { return tag_as(s, record, s->fallback_tag, "default", call, err); }
    return fmp_reject_record(call, reason, NULL, message, err);
}

static fmp_status settle(const locale_tag *s, const fmp_record *record, const resolved *r, const char *how,
                         const fmp_call *call, fmp_err *err)
{
    char message[2 * TAG + 80];
    if (r->state == TAG_OK || (r->state == TAG_OUTSIDE && s->outside == OUTSIDE_KEEP)) {
        return tag_as(s, record, r->tag, how, call, err);
    }
    snprintf(message, sizeof message, "expected one of the allowed locales, found '%s'", r->tag);
    if (s->outside == OUTSIDE_DEFAULT) { return no_locale(s, record, "locale_outside", message, call, err); }
    return fmp_reject_record(call, "locale_outside", NULL, message, err);
}

/* CLD2's answer, or that of the script alone where it is surer. */
static double detect(const char *text, size_t len, char found[TAG])
{
    char by_script[TAG];
    double confidence = locale_detect(text, len, found, TAG), other = 0.0;
    if (confidence < 0.5) { other = locale_by_script(text, len, by_script, sizeof by_script); }
    if (other <= confidence) { return confidence; }
    memcpy(found, by_script, TAG);
    return other;
}

static fmp_status tag_process(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err)
{
    const locale_tag *s = self;
    tag_cache *cache = &s->cache[call->worker];
    const cJSON *node = s->use == USE_DETECT ? NULL : fmp_value(record->doc, s->field);
    char message[2 * TAG + 80], found[TAG];
    if (node && !cJSON_IsNull(node)) {
        const char *given = cJSON_IsString(node) ? node->valuestring : NULL;
        const resolved *r = given ? resolve(s, cache, given) : NULL;
        if (r && r->state != TAG_INVALID) { return settle(s, record, r, "explicit", call, err); }
        int need =
            snprintf(message, sizeof message, "expected a BCP-47 language tag such as en-US, found %s%s%s",
                     given ? "'" : "", given ? given : "no text", given ? "'" : "");
        fmp_err_clip_(message, sizeof message, need);
        return fmp_reject_record(call, "locale_invalid", s->field, message, err);
    }
    if (s->use == USE_EXPLICIT) {
        fmp_err_clip_(message, sizeof message,
                      snprintf(message, sizeof message, "the record has no '%s'", s->field));
        return no_locale(s, record, "locale_missing", message, call, err);
    }
    char *text = call->arena_take(call, DETECT_BYTES);
    if (!text) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    double confidence = detect(text, gather_text(record->doc, text), found);
    if (!*found || confidence < s->min_confidence) {
        snprintf(message, sizeof message,
                 "no language detected with confidence %.2f or more (best: %s at %.2f)", s->min_confidence,
                 *found ? found : "none", confidence);
        return no_locale(s, record, "locale_unknown", message, call, err);
    }
    const resolved *r = resolve(s, cache, found);
    if (r->state == TAG_INVALID) {
        return no_locale(s, record, "locale_unknown", "the detected language has no tag", call, err);
    }
    return settle(s, record, r, "detected", call, err);
}

/* ------------------------------------------------------------------------------------ life cycle */

static fmp_status bad_tag(fmp_err *err, const char *option, const char *tag)
{
    fmp_fail(err, FMP_E_CONFIG, "expected a BCP-47 language tag such as en-US, found '%s'", tag);
    if (err) { snprintf(err->option, sizeof err->option, "%s", option); }
    return FMP_E_CONFIG;
}

/* The default and the keys of `messages` are written by a person too: they are held to the same rules. */
static fmp_status check_tags(const locale_tag *s, fmp_err *err)
{
    char option[128], tag[TAG];
    const cJSON *own;
    bool in_allowed = s->n_allowed == 0;
    for (size_t i = 0; i < s->n_allowed; i++) {
        in_allowed = in_allowed || strcmp(s->allowed[i].tag, s->fallback_tag) == 0;
    }
    if (s->fallback && !in_allowed) {
        fmp_fail(err, FMP_E_CONFIG, "expected one of the allowed tags, found '%s'", s->fallback);
        if (err) { snprintf(err->option, sizeof err->option, "default"); }
        return FMP_E_CONFIG;
    }
    cJSON_ArrayForEach(own, s->messages)
    {
        snprintf(option, sizeof option, "messages.%.60s", own->string);
        if (!canonical_tag(own->string, tag)) { return bad_tag(err, option, own->string); }
        if (strcmp(tag, own->string) != 0 || !cJSON_IsString(own)) {
            fmp_fail(err, FMP_E_CONFIG,
                     cJSON_IsString(own) ? "expected the tag as '%s'" : "expected text for '%s'", tag);
            if (err) { snprintf(err->option, sizeof err->option, "%s", option); }
            return FMP_E_CONFIG;
        }
    }
    return FMP_OK;
}

static fmp_status tag_configure(void *self, const cJSON *values, fmp_err *err)
{
    locale_tag *s = self;
    const char *use = fmp_value_str(values, "use"), *outside_text = fmp_value_str(values, "outside");
    s->use = strcmp(use, "explicit") == 0 ? USE_EXPLICIT : strcmp(use, "detect") == 0 ? USE_DETECT : USE_AUTO;
    s->outside = strcmp(outside_text, "keep") == 0      ? OUTSIDE_KEEP
                 : strcmp(outside_text, "default") == 0 ? OUTSIDE_DEFAULT
                                                        : OUTSIDE_REJECT;
    s->field = fmp_value_str(values, "field");
    s->min_confidence = fmp_value_num(values, "min_confidence");
    s->add_system = strcmp(fmp_value_str(values, "system"), "add_missing") == 0;
    s->messages = fmp_value(values, "messages");
    s->fallback = fmp_value_str(values, "default");
    if (s->fallback && !canonical_tag(s->fallback, s->fallback_tag)) {
        return bad_tag(err, "default", s->fallback);
    }
    if (!s->fallback && s->outside == OUTSIDE_DEFAULT) {
        fmp_fail(err, FMP_E_CONFIG, "expected the option 'default' beside it, found none");
        if (err) { snprintf(err->option, sizeof err->option, "outside"); }
        return FMP_E_CONFIG;
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, fmp_value(values, "allowed"))
    {
        if (s->n_allowed == MAX_ALLOWED) {
            return fmp_fail(err, FMP_E_CONFIG, "expected at most %d allowed locales", MAX_ALLOWED);
        }
        allowed_tag *a = &s->allowed[s->n_allowed++];
        if (!canonical_tag(item->valuestring, a->tag) || !maximise(a->tag, a)) {
            char option[32];
            snprintf(option, sizeof option, "allowed[%zu]", s->n_allowed - 1);
            return bad_tag(err, option, item->valuestring);
        }
    }
    return check_tags(s, err);
}

static fmp_status tag_start(void *self, uint32_t n_workers, fmp_err *err)
{
    locale_tag *s = self;
    s->cache = calloc(n_workers, sizeof *s->cache);
    return s->cache ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

static fmp_status tag_create(const fmp_host *host, void **self, fmp_err *err)
{
    locale_tag *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    s->host = host;
    *self = s;
    return FMP_OK;
}

static void tag_destroy(void *self)
{
    free(((locale_tag *)self)->cache);
    free(self);
}

static const fmp_stage stage = {FMP_STAGE_HEADER,
                                .name = "locale.tag",
                                .version = 1,
                                .kind = FMP_MAP,
                                .summary = "Tag each conversation with its locale, given or detected.",
                                .inputs = inputs,
                                .outputs = outputs,
                                .options = options,
                                .create = tag_create,
                                .configure = tag_configure,
                                .start = tag_start,
                                .process = tag_process,
                                .destroy = tag_destroy};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "locale-tag", .version = "0.1.0",
                                  .license = "Apache-2.0", .stages = stages};
FMP_PLUGIN_ENTRY(&plugin)
