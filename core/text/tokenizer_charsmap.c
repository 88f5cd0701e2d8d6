/*
 * tokenizer_charsmap.c: SentencePiece's precompiled normalization rules, and its normalizer for white space.
 *
 * The same table is read in two ways. SentencePiece takes the longest rule at each place. Hugging Face goes by grapheme
 * cluster: one of at most five bytes is looked up whole, with the shortest rule that begins it, and replaced whole; other
 * clusters character by character. Files converted to tokenizer.json mean the second way, and ids differ now and then.
 * Source   sentencepiece_model.proto; Darts double arrays (Aoe 1989); Unicode Standard Annex 29 for clusters.
 */
#include "tokenizer_impl.h"

#include <stdlib.h>
#include <unicode/uchar.h>

#define META "\xE2\x96\x81"

fmp_status tk_charsmap_open(fmp_tokenizer *tok, const char *blob, size_t len, const char *where,
                            tk_charsmap *out, fmp_err *err)
{
    const unsigned char *p = (const unsigned char *)blob;
    *out = (tk_charsmap){0};
    if (len == 0) { return FMP_OK; }
    if (len < 4) { return fmp_fail(err, FMP_E_DATA, "%s: expected at least 4 bytes, found %zu", where, len); }
    size_t trie = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
    if (trie == 0 || trie % 4 != 0 || trie > len - 4) {
        return fmp_fail(err, FMP_E_DATA,
                        "%s: expected a trie of at most %zu bytes, a multiple of 4, found %zu", where,
                        len - 4, trie);
    }
    if (len - 4 == trie || blob[len - 1] != '\0') {
        return fmp_fail(err, FMP_E_DATA, "%s: expected texts that end in NUL after the trie of %zu bytes",
                        where, trie);
    }
    uint32_t *units = fmp_arena_take(tok->arena, trie);
    char *texts = fmp_arena_strndup(tok->arena, blob + 4 + trie, len - 4 - trie);
    FMP_TRY(fmp_arena_ok(tok->arena, err));
    for (size_t i = 0; i < trie / 4; i++) {
        const unsigned char *u = p + 4 + 4 * i;
        units[i] = (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
    }
    *out = (tk_charsmap){units, trie / 4, texts, len - 4 - trie};
    return FMP_OK;
}

static inline size_t unit_offset(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & 0x200u) >> 6);
}

/* The rule for a beginning of s[0..len), the longest or the shortest: its text, or NULL; *used: bytes of its key. */
static const char *rule_at(const tk_charsmap *map, const char *s, size_t len, bool shortest, size_t *used)
{
    const char *found = NULL;
    if (map->n_units == 0) { return NULL; }
    size_t at = unit_offset(map->units[0]);
    for (size_t i = 0; i < len; i++) {
        unsigned char b = (unsigned char)s[i];
        at ^= b;
        if (at >= map->n_units || (map->units[at] & 0x800000FFu) != b) { break; }
        uint32_t unit = map->units[at];
        at ^= unit_offset(unit);
        if (!(unit & 0x100u)) { continue; }
        size_t text = at < map->n_units ? map->units[at] & 0x7FFFFFFFu : SIZE_MAX;
        if (text >= map->texts_len) { break; }
        found = map->texts + text;
        *used = i + 1;
        if (shortest) { break; }
    }
    return found;
}

/* ---- grapheme clusters, as far as clusters of at most five bytes need them ---- */
static int cluster_kind(uint32_t c)
{
    return u_getIntPropertyValue((UChar32)c, UCHAR_GRAPHEME_CLUSTER_BREAK);
}

static bool is_control_kind(int kind)
{
    return kind == U_GCB_CR || kind == U_GCB_LF || kind == U_GCB_CONTROL;
}

/*
 * No cluster ends between two characters of these kinds. Rules that join characters of three bytes and more each
 * (Hangul, flags, Indic conjuncts) are left out: such a cluster is too long to be looked up whole. `pictures` is whether
 * a picture and a joiner stand before.
 */
static bool joins(int before, int after, bool pictures, uint32_t c)
{
    if (before == U_GCB_CR && after == U_GCB_LF) { return true; }
    if (is_control_kind(before) || is_control_kind(after)) { return false; }
    if (after == U_GCB_EXTEND || after == U_GCB_SPACING_MARK || after == U_GCB_ZWJ) { return true; }
    if (before == U_GCB_PREPEND) { return true; }
    return pictures && u_hasBinaryProperty((UChar32)c, UCHAR_EXTENDED_PICTOGRAPHIC);
}

static size_t cluster_end(const tk_view *v, size_t begin)
{
    size_t end = begin;
    uint32_t c = tk_utf8_next(v->s, &end);
    if (end < v->len && c < 0x80 && c != '\r' && (unsigned char)v->s[end] < 0x80) { return end; }
    int kind = cluster_kind(c);
    bool picture = u_hasBinaryProperty((UChar32)c, UCHAR_EXTENDED_PICTOGRAPHIC);
    while (end < v->len) {
        size_t next = end;
        uint32_t d = tk_utf8_next(v->s, &next);
        int after = cluster_kind(d);
        if (!joins(kind, after, picture && kind == U_GCB_ZWJ, d)) { break; }
        picture = (picture && (after == U_GCB_EXTEND || after == U_GCB_ZWJ)) ||
                  u_hasBinaryProperty((UChar32)d, UCHAR_EXTENDED_PICTOGRAPHIC);
        kind = after;
        end = next;
    }
    return end;
}

void tk_normalize_charsmap(const tk_charsmap *map, const tk_view *v, tk_text *out)
{
    for (size_t i = 0; i < v->len;) {
        size_t end = cluster_end(v, i), used = 0;
        const char *text = end - i < 6 ? rule_at(map, v->s + i, end - i, true, &used) : NULL;
        if (text) {
            tk_text_add(out, text, strlen(text), tk_origin(v, end));
            i = end;
        }
        while (i < end) {
            size_t next = i;
            (void)tk_utf8_next(v->s, &next);
            text = rule_at(map, v->s + i, next - i, true, &used);
            if (text) {
                tk_text_add(out, text, strlen(text), tk_origin(v, next));
            } else {
                tk_text_copy(out, v, i, next);
            }
            i = next;
        }
    }
}

/* ---- SentencePiece ---- */
/* What stands for v[at..): a rule's text, or the character itself, or a user-defined symbol. */
static size_t spm_next(const fmp_tokenizer *tok, const tk_norm *step, const tk_view *v, size_t at,
                       const char **text, size_t *text_len)
{
    size_t end = at;
    *text = v->s + at;
    if (tok->trie_keep && tk_trie_longest(tok->trie_keep, v->s, v->len, at, &end) != FMP_TOKEN_NONE) {
        *text_len = end - at;
        return end;
    }
    size_t used = 0;
    const char *rule = rule_at(&step->map, v->s + at, v->len - at, false, &used);
    if (rule) {
        *text = rule;
        *text_len = strlen(rule);
        return at + used;
    }
    end = at;
    (void)tk_utf8_next(v->s, &end);
    *text_len = end - at;
    return end;
}

static void spm_put(const tk_norm *step, const tk_view *v, size_t at, size_t end, const char *text,
                    size_t len, tk_text *out)
{
    uint32_t origin = tk_origin(v, end);
    if (text == v->s + at && len == end - at && !memchr(text, ' ', len)) {
        tk_text_copy(out, v, at, end);
        return;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] == ' ' && step->spm.escape_spaces) {
            tk_text_add(out, META, 3, origin);
        } else {
            tk_text_add(out, text + i, 1, origin);
        }
    }
}

/* Spaces at the end go; what they used up goes with them. */
static void spm_trim(const tk_norm *step, tk_text *out)
{
    const char *space = step->spm.escape_spaces ? META : " ";
    size_t n = strlen(space);
    while (out->len >= n && memcmp(out->s + out->len - n, space, n) == 0) {
        out->len -= n;
    }
}

void tk_normalize_spm(const fmp_tokenizer *tok, const tk_norm *step, const tk_view *v, tk_text *out)
{
    const tk_spm_rules *rules = &step->spm;
    const char *space = rules->escape_spaces ? META : " ", *text = NULL;
    size_t at = 0, len = 0;
    while (rules->remove_extra_spaces && at < v->len) {
        size_t end = spm_next(tok, step, v, at, &text, &len);
        if (len != 1 || text[0] != ' ') { break; }
        at = end;
    }
    if (at == v->len) { return; }
    if (rules->dummy_prefix && !rules->space_is_suffix) {
        tk_text_add(out, space, strlen(space), tk_origin(v, 0));
    }
    bool after_space = rules->remove_extra_spaces;
    while (at < v->len) {
        size_t end = spm_next(tok, step, v, at, &text, &len), skip = 0;
        while (after_space && skip < len && text[skip] == ' ') {
            skip++;
        }
        if (skip < len) {
            if (skip > 0) {
                for (size_t i = skip; i < len; i++) {
                    spm_put(step, v, at, end, text + i, 1, out);
                }
            } else {
                spm_put(step, v, at, end, text, len, out);
            }
            after_space = text[len - 1] == ' ';
        }
        after_space = after_space && rules->remove_extra_spaces;
        at = end;
    }
    if (rules->remove_extra_spaces) { spm_trim(step, out); }
    if (rules->dummy_prefix && rules->space_is_suffix) {
        tk_text_add(out, space, strlen(space), tk_origin(v, v->len));
    }
}
