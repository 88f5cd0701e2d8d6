/* locale_tag.h: what the files of locale.tag share. */
#ifndef LOCALE_TAG_H
#define LOCALE_TAG_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * locale_detect: language of text[0..len) (valid UTF-8) by CLD2.
 *   tag  (size)  BCP-47 language, perhaps with script ("zh-Hant"); "" if none was found
 *   Returns the confidence, 0..1: the share of the text in that language, halved where CLD2 is not sure.
 * When     any thread. Source  CLD2's compact_lang_det.h.
 */
double locale_detect(const char *text, size_t len, char *tag, size_t size);

/*
 * locale_by_script: the same from the script alone, for texts that CLD2 finds too short. "" for scripts of
 * many languages.
 */
double locale_by_script(const char *text, size_t len, char *tag, size_t size);

/* Built-in system message of a language ("de", "zh-Hant"), or NULL. Static storage. */
const char *locale_message(const char *language, const char *script);

#ifdef __cplusplus
}
#endif
#endif
