/*
 * tokenizer_normal_quick.c: "this text is in NFC already", which nearly every text is, so that it need not be
 * copied.
 *
 * True only where every character may stand in NFC whatever is beside it (quick check "yes", combining class
 * 0: UAX #15, section 9); all other texts, some of them in NFC too, take the long way through
 * tokenizer_normal.c.
 */
#include "tokenizer_impl.h"

#include <pthread.h>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>

#define TABLE_CHARS 0x10000u

static uint64_t plain[TABLE_CHARS / 64]; /* bit c: character c is such a one */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool is_plain(uint32_t c)
{
    return u_getIntPropertyValue((UChar32)c, UCHAR_NFC_QUICK_CHECK) == UNORM_YES &&
           u_getCombiningClass((UChar32)c) == 0;
}

static void fill_table(void)
{
    for (uint32_t c = 0; c < TABLE_CHARS; c++) {
        if (is_plain(c)) { plain[c / 64] |= UINT64_C(1) << (c % 64); }
    }
}

bool tk_is_nfc(const char *s, size_t n)
{
    (void)pthread_once(&once, fill_table);
    for (size_t i = 0; i < n;) {
        uint64_t eight;
        if (n - i >= sizeof eight) {
            memcpy(&eight, s + i, sizeof eight);
            if (!(eight & UINT64_C(0x8080808080808080))) {
                i += sizeof eight;
                continue;
            }
        }
        uint32_t c = tk_utf8_next(s, &i);
        if (!(c < TABLE_CHARS ? tk_bit(plain, c) : is_plain(c))) { return false; }
    }
    return true;
}
