/*
 * tokenizer_chars.c: normalizer steps that look at one character at a time, above all those of BERT.
 *
 * Each writes what takes the place of a character and says how many bytes that is: 0 leaves the character out.
 * Source   Devlin et al. 2019 (tokenization.py) and the Hugging Face normalizers of the same names; llama.cpp's WPM.
 */
#include "tokenizer_impl.h"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>

static size_t keep(uint32_t c, char *out)
{
    return tk_utf8_put(c, out);
}

static size_t space(char *out)
{
    out[0] = ' ';
    return 1;
}

static bool has_category(uint32_t c, uint32_t mask)
{
    return (U_MASK(u_charType((UChar32)c)) & mask) != 0;
}

bool tk_char_within(uint32_t c, unsigned version)
{
    UVersionInfo age;
    u_charAge((UChar32)c, age);
    return age[0] > 0 && age[0] <= version;
}

/* Categories of Unicode 8, as Hugging Face's BERT parts have them; newer characters are in none. */
static bool had_category(uint32_t c, uint32_t mask)
{
    if (c < 0x80) { return has_category(c, mask); }
    if (!tk_char_within(c, 8)) { return false; }
    if (c == 0xA9BD) { return (mask & U_GC_MC_MASK) != 0; } /* Mn today, as is the next */
    if (c == 0x111C9) { return (mask & U_GC_P_MASK) != 0; }
    if (c == 0x1734) { return (mask & U_GC_MN_MASK) != 0; }                /* Mc today */
    if (c == 0x1885 || c == 0x1886) { return (mask & U_GC_LO_MASK) != 0; } /* Mn today */
    return has_category(c, mask);
}

/* The blocks as both libraries have them: the last but two begins 256 characters late. */
bool tk_char_is_cjk(uint32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) ||
           (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

/* Control characters go, white space becomes a space. */
size_t tk_chars_bert_clean(uint32_t c, char *out)
{
    if (c == '\t' || c == '\n' || c == '\r') { return space(out); }
    if (c == 0 || c == 0xFFFD || had_category(c, U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK)) { return 0; }
    return u_isUWhiteSpace((UChar32)c) ? space(out) : keep(c, out);
}

/* Ideographs stand alone. */
size_t tk_chars_bert_cjk(uint32_t c, char *out)
{
    if (!tk_char_is_cjk(c)) { return keep(c, out); }
    out[0] = ' ';
    size_t n = 1 + tk_utf8_put(c, out + 1);
    out[n] = ' ';
    return n + 1;
}

size_t tk_chars_no_mn(uint32_t c, char *out)
{
    return had_category(c, U_GC_MN_MASK) ? 0 : keep(c, out);
}

size_t tk_chars_no_marks(uint32_t c, char *out)
{
    bool was_mark = c == 0x1CF2 || c == 0x1CF3; /* Lo today */
    return was_mark || (tk_char_within(c, 9) && has_category(c, U_GC_M_MASK)) ? 0 : keep(c, out);
}

/* The Nmt normalizer: some control characters go, others and odd spaces become a space. */
size_t tk_chars_nmt(uint32_t c, char *out)
{
    bool gone = (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F ||
                c == 0x9F;
    if (gone) { return 0; }
    bool blank = c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
                 (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF ||
                 c == 0xFFFD;
    return blank ? space(out) : keep(c, out);
}

/* Each byte of the character as GPT-2 spells it. */
size_t tk_chars_byte_level(uint32_t c, char *out)
{
    char utf8[4];
    size_t n = tk_utf8_put(c, utf8), made = 0;
    for (size_t i = 0; i < n; i++) {
        made += tk_utf8_put(tk_char_of_byte((unsigned char)utf8[i]), out + made);
    }
    return made;
}

/* The first character of the canonical decomposition; a mark that stands alone stays. */
size_t tk_chars_base(uint32_t c, char *out)
{
    UErrorCode code = U_ZERO_ERROR;
    const UNormalizer2 *nfd = unorm2_getNFDInstance(&code);
    UChar made[32];
    int32_t n = U_SUCCESS(code) ? unorm2_getDecomposition(nfd, (UChar32)c, made, 32, &code) : -1;
    if (U_FAILURE(code) || n <= 0) { return keep(c, out); }
    UChar32 first;
    int32_t i = 0;
    U16_NEXT(made, i, n, first);
    return keep((uint32_t)first, out);
}

/* llama.cpp before WordPiece: control characters go; white space becomes a space; signs and ideographs stand alone. */
size_t tk_chars_wpm(uint32_t c, char *out)
{
    if (u_isUWhiteSpace((UChar32)c)) { return space(out); }
    if (c == 0 || c == 0xFFFD || has_category(c, U_GC_C_MASK)) { return 0; }
    bool sign = has_category(c, U_GC_P_MASK) || (c < 0x7F && has_category(c, U_GC_S_MASK));
    uint32_t low = (uint32_t)u_tolower((UChar32)c);
    if (!sign && !tk_char_is_cjk(c)) { return keep(low, out); }
    out[0] = ' ';
    size_t n = 1 + tk_utf8_put(low, out + 1);
    out[n] = ' ';
    return n + 1;
}
