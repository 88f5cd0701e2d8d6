/*
 * Language by script, for texts too short for CLD2: two words of kana are Japanese, whatever they say. Only
 * scripts that one widely used language writes are in the table; Han alone is taken as Chinese, with less
 * confidence.
 */
#include "locale_tag.h"

#include <stdint.h>
#include <stdio.h>
#include <unicode/uchar.h>
#include <unicode/uscript.h>
#include <unicode/utf8.h>

static const struct {
    UScriptCode script;
    const char *tag;
    double trust;
} table[] = {{USCRIPT_KATAKANA_OR_HIRAGANA, "ja", 1.0},
             {USCRIPT_HAN, "zh", 0.7},
             {USCRIPT_HANGUL, "ko", 1.0},
             {USCRIPT_THAI, "th", 1.0},
             {USCRIPT_GREEK, "el", 1.0},
             {USCRIPT_HEBREW, "he", 0.9},
             {USCRIPT_ARMENIAN, "hy", 1.0},
             {USCRIPT_GEORGIAN, "ka", 1.0},
             {USCRIPT_TAMIL, "ta", 1.0},
             {USCRIPT_TELUGU, "te", 1.0},
             {USCRIPT_GUJARATI, "gu", 1.0},
             {USCRIPT_GURMUKHI, "pa", 1.0},
             {USCRIPT_KANNADA, "kn", 1.0},
             {USCRIPT_MALAYALAM, "ml", 1.0},
             {USCRIPT_SINHALA, "si", 1.0},
             {USCRIPT_KHMER, "km", 1.0},
             {USCRIPT_LAO, "lo", 1.0},
             {USCRIPT_MYANMAR, "my", 0.9}};

enum { N_SCRIPTS = sizeof table / sizeof table[0], KANA = 0, HAN = 1 };

double locale_by_script(const char *text, size_t len, char *tag, size_t size)
{
    int64_t letters = 0, of[N_SCRIPTS] = {0};
    for (int32_t at = 0, end = (int32_t)len; at < end;) {
        UChar32 c;
        UErrorCode status = U_ZERO_ERROR;
        U8_NEXT((const uint8_t *)text, at, end, c);
        if (c < 0 || !u_isalpha(c)) { continue; }
        UScriptCode script = uscript_getScript(c, &status);
        if (script == USCRIPT_HIRAGANA || script == USCRIPT_KATAKANA) {
            script = USCRIPT_KATAKANA_OR_HIRAGANA;
        }
        letters++;
        for (int i = 0; i < N_SCRIPTS; i++) {
            of[i] += table[i].script == script;
        }
    }
    if (of[KANA] > 0) { /* Japanese writes Han characters too */
        of[KANA] += of[HAN];
        of[HAN] = 0;
    }
    int best = 0;
    for (int i = 1; i < N_SCRIPTS; i++) {
        best = of[i] > of[best] ? i : best;
    }
    if (letters < 2 || of[best] == 0) {
        tag[0] = '\0';
        return 0.0;
    }
    snprintf(tag, size, "%s", table[best].tag);
    return table[best].trust * (double)of[best] / (double)letters;
}
