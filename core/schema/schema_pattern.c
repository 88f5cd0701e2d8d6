/*
 * "pattern" and "patternProperties": ECMA 262 expressions run by PCRE2, with limits on every match, because
 * both the pattern and the text come from files. \d, \w and \s are ASCII's, $ is the very end, \u works; the
 * long names of Unicode categories are spelled as PCRE2 knows them.
 */
#include "schema_private.h"

static const struct {
    const char *name, *category;
} categories[] = {{"Letter", "L"},
                  {"Cased_Letter", "L&"},
                  {"Uppercase_Letter", "Lu"},
                  {"Lowercase_Letter", "Ll"},
                  {"Titlecase_Letter", "Lt"},
                  {"Modifier_Letter", "Lm"},
                  {"Other_Letter", "Lo"},
                  {"Mark", "M"},
                  {"Nonspacing_Mark", "Mn"},
                  {"Spacing_Mark", "Mc"},
                  {"Enclosing_Mark", "Me"},
                  {"Number", "N"},
                  {"Decimal_Number", "Nd"},
                  {"digit", "Nd"},
                  {"Letter_Number", "Nl"},
                  {"Other_Number", "No"},
                  {"Punctuation", "P"},
                  {"punct", "P"},
                  {"Symbol", "S"},
                  {"Math_Symbol", "Sm"},
                  {"Currency_Symbol", "Sc"},
                  {"Separator", "Z"},
                  {"Space_Separator", "Zs"},
                  {"Other", "C"},
                  {"Control", "Cc"},
                  {"cntrl", "Cc"},
                  {"Format", "Cf"}};

/* `name` (len) as PCRE2 spells it, NULL: as it is. "General_Category=" and "gc=" may stand in front. */
static const char *category_of(const char *name, size_t len)
{
    static const char *const prefixes[] = {"General_Category=", "gc="};
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(prefixes[i]);
        if (len > n && memcmp(name, prefixes[i], n) == 0) {
            name += n;
            len -= n;
        }
    }
    for (size_t i = 0; i < sizeof categories / sizeof categories[0]; i++) {
        if (strlen(categories[i].name) == len && memcmp(categories[i].name, name, len) == 0) {
            return categories[i].category;
        }
    }
    return NULL;
}

/* \p{Letter} -> \p{L}; everything else byte for byte. */
static void translate(const char *text, fmp_buf *out)
{
    for (const char *p = text; *p; p++) {
        fmp_buf_putc(out, *p);
        if (*p != '\\' || !p[1]) { continue; }
        fmp_buf_putc(out, *++p);
        if ((*p != 'p' && *p != 'P') || p[1] != '{') { continue; }
        size_t len = strcspn(p + 2, "}");
        const char *category = p[2 + len] ? category_of(p + 2, len) : NULL;
        if (!category) { continue; }
        fmp_buf_printf(out, "{%s}", category);
        p += 2 + len;
    }
}

static pcre2_code *compile_text(const char *text, size_t len, int *code, PCRE2_SIZE *at)
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context) { return NULL; }
    pcre2_set_max_pattern_length(context, 65536);
    pcre2_set_compile_extra_options(context, PCRE2_EXTRA_ALT_BSUX);
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)text, len,
                                         PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_ALLOW_EMPTY_CLASS |
                                             PCRE2_MATCH_UNSET_BACKREF | PCRE2_NEVER_BACKSLASH_C,
                                         code, at, context);
    pcre2_compile_context_free(context);
    /* Without JIT (no room, or a platform without it) matching is slower, not different. */
    if (compiled) { (void)pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); }
    return compiled;
}

fmp_status schema_pattern_compile(fmp_schema *s, const char *text, const char *path, schema_pattern *out,
                                  fmp_err *err)
{
    int code = PCRE2_ERROR_NOMEMORY;
    PCRE2_SIZE at = 0;
    PCRE2_UCHAR why[120];
    fmp_buf translated = {0};
    if (!schema_grow((void **)&s->codes, s->n_codes, &s->codes_cap, sizeof *s->codes)) {
        return fmp_fail(err, FMP_E_NOMEM, "out of memory");
    }
    translate(text, &translated);
    FMP_TRY(fmp_buf_ok(&translated, err));
    pcre2_code *compiled = compile_text(translated.data ? translated.data : "", translated.len, &code, &at);
    fmp_buf_free(&translated);
    if (!compiled) {
        pcre2_get_error_message(code, why, sizeof why);
        return fmp_fail(err, FMP_E_DATA, "%s: expected a regular expression, found '%s': %s at byte %zu",
                        path, text, (const char *)why, (size_t)at);
    }
    s->codes[s->n_codes++] = compiled;
    out->text = text;
    out->code = compiled;
    return FMP_OK;
}

int schema_match(const fmp_schema *s, const schema_pattern *pattern, const char *text)
{
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    if (!data) { return -1; }
    int code = pcre2_match(pattern->code, (PCRE2_SPTR)text, strlen(text), 0, 0, data, s->match);
    pcre2_match_data_free(data);
    return code >= 0 ? 1 : code == PCRE2_ERROR_NOMATCH ? 0 : -1;
}
