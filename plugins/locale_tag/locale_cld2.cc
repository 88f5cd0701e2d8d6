// CLD2 has a C++ interface only; this is the one place that sees it.
#include "locale_tag.h"

#include <cstdio> // before CLD2's header, which uses FILE without including it

#include <cld2/public/compact_lang_det.h>
#include <cld2/public/encodings.h>

extern "C" double locale_detect(const char *text, size_t len, char *tag, size_t size)
{
    CLD2::CLDHints hints = {nullptr, nullptr, CLD2::UNKNOWN_ENCODING, CLD2::UNKNOWN_LANGUAGE};
    CLD2::Language best[3];
    int percent[3], text_bytes = 0, valid_prefix = 0;
    double score[3];
    bool reliable = false;
    const int take = len > 32768 ? 32768 : static_cast<int>(len);
    CLD2::ExtDetectLanguageSummaryCheckUTF8(text, take, true, &hints, 0, best, percent, score, nullptr,
                                            &text_bytes, &reliable, &valid_prefix);
    if (valid_prefix < take) { // the cut fell inside a character: look at the whole characters only
        CLD2::ExtDetectLanguageSummary(text, valid_prefix, true, &hints, 0, best, percent, score, nullptr,
                                       &text_bytes, &reliable);
    }
    if (best[0] == CLD2::UNKNOWN_LANGUAGE || text_bytes == 0) {
        tag[0] = '\0';
        return 0.0;
    }
    std::snprintf(tag, size, "%s", CLD2::LanguageCode(best[0]));
    return percent[0] / 100.0 * (reliable ? 1.0 : 0.5);
}
