/*
 * tokenizer_vocab.c: the tables of a tokenizer: tokens by id and by text, merges by pair, bytes by token.
 *
 * GPT-2's byte-level alphabet gives each byte a printable character: bytes that are printable in Latin-1 stand for
 * themselves, the other 68 are U+0100, U+0101, ... in order of the byte. Files spell tokens in that alphabet.
 */
#include "tokenizer_impl.h"

#include <stdlib.h>

static bool is_own_char(unsigned byte)
{
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

uint32_t tk_char_of_byte(unsigned byte)
{
    if (is_own_char(byte)) { return byte; }
    uint32_t c = 0x100;
    for (unsigned b = 0; b < byte; b++) { c += !is_own_char(b); }
    return c;
}

int tk_byte_of_char(uint32_t c)
{
    if (c < 0x100) { return is_own_char(c) ? (int)c : -1; }
    if (c >= 0x144) { return -1; }
    if (c < 0x121) { return (int)(c - 0x100); }              /* bytes 00..20 */
    if (c < 0x143) { return (int)(c - 0x121) + 0x7F; }       /* bytes 7F..A0 */
    return 0xAD;
}

uint64_t tk_hash(const char *s, size_t len)
{
    uint64_t h = UINT64_C(0x9E3779B97F4A7C15) ^ len;
    while (len >= 8) {
        uint64_t w;
        memcpy(&w, s, 8);
        h = (h ^ w) * UINT64_C(0xFF51AFD7ED558CCD);
        h ^= h >> 32;
        s += 8;
        len -= 8;
    }
    uint64_t w = 0;
    memcpy(&w, s, len);
    h = (h ^ w) * UINT64_C(0xC4CEB9FE1A85EC53);
    h ^= h >> 29;
    h *= UINT64_C(0xFF51AFD7ED558CCD);
    return h ^ h >> 32;
}

uint32_t tk_find(const fmp_tokenizer *tok, const char *text, size_t len)
{
    size_t i = (size_t)tk_hash(text, len) & tok->by_text_mask;
    while (tok->by_text[i] != FMP_TOKEN_NONE) {
        const tk_token *t = &tok->tokens[tok->by_text[i]];
        if (t->text_len == len && memcmp(t->text, text, len) == 0) { return tok->by_text[i]; }
        i = (i + 1) & tok->by_text_mask;
    }
    return FMP_TOKEN_NONE;
}

fmp_status tk_vocab_init(fmp_tokenizer *tok, size_t size, fmp_err *err)
{
    size_t slots = 16;
    while (slots < size * 2) { slots *= 2; }
    tok->tokens = fmp_arena_take_zero(tok->arena, size, sizeof *tok->tokens);
    tok->special = fmp_arena_take_zero(tok->arena, size, 1);
    tok->in_model = fmp_arena_take_zero(tok->arena, size, 1);
    tok->by_text = fmp_arena_take(tok->arena, slots * sizeof *tok->by_text);
    FMP_TRY(fmp_arena_ok(tok->arena, err));
    tok->size = (uint32_t)size;
    tok->by_text_mask = slots - 1;
    memset(tok->by_text, 0xFF, slots * sizeof *tok->by_text);
    return FMP_OK;
}

fmp_status tk_vocab_add(fmp_tokenizer *tok, const char *text, uint32_t id, const char *where, fmp_err *err)
{
    size_t len = strlen(text);
    tk_token *t = &tok->tokens[id];
    if (t->text) {
        return fmp_fail(err, FMP_E_DATA, "%s: id %u is used twice, by \"%s\" and \"%s\"", where, id, t->text, text);
    }
    if (tk_find(tok, text, len) != FMP_TOKEN_NONE) {
        return fmp_fail(err, FMP_E_DATA, "%s: token \"%s\" occurs twice", where, text);
    }
    t->text = fmp_arena_strndup(tok->arena, text, len);
    FMP_TRY(fmp_arena_ok(tok->arena, err));
    t->text_len = (uint32_t)len;
    size_t i = (size_t)tk_hash(text, len) & tok->by_text_mask;
    while (tok->by_text[i] != FMP_TOKEN_NONE) { i = (i + 1) & tok->by_text_mask; }
    tok->by_text[i] = id;
    return FMP_OK;
}

fmp_status tk_merges_init(fmp_tokenizer *tok, size_t n, fmp_err *err)
{
    unsigned bits = 4;
    while (((size_t)1 << bits) < n * 2) { bits++; }
    size_t slots = (size_t)1 << bits;
    tok->merges = fmp_arena_take(tok->arena, slots * sizeof *tok->merges);
    FMP_TRY(fmp_arena_ok(tok->arena, err));
    memset(tok->merges, 0xFF, slots * sizeof *tok->merges);
    tok->merge_mask = slots - 1;
    tok->merge_shift = 64 - bits;
    return FMP_OK;
}

bool tk_merge_add(fmp_tokenizer *tok, uint32_t left, uint32_t right, uint32_t rank, uint32_t id)
{
    uint64_t key = (uint64_t)left << 32 | right;
    size_t i = (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> tok->merge_shift);
    while (tok->merges[i].key != UINT64_MAX) {
        if (tok->merges[i].key == key) { return false; }
        i = (i + 1) & tok->merge_mask;
    }
    tok->merges[i] = (tk_merge){ key, rank, id };
    return true;
}

/* "<0x0A>" to 10, anything else to -1. */
static int fallback_byte(const char *text, size_t len)
{
    static const char digits[] = "0123456789ABCDEF";
    if (len != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') { return -1; }
    const char *hi = memchr(digits, text[3], 16), *lo = memchr(digits, text[4], 16);
    return hi && lo ? (int)((hi - digits) * 16 + (lo - digits)) : -1;
}

/* A token of the byte alphabet to its bytes; false (nothing added) if a character is not of the alphabet. */
static bool unmap_bytes(const char *text, size_t len, fmp_buf *out)
{
    size_t start = out->len;
    for (size_t i = 0; i < len;) {
        int byte = tk_byte_of_char(tk_utf8_next(text, &i));
        if (byte < 0) {
            out->len = start;
            return false;
        }
        fmp_buf_putc(out, (char)byte);
    }
    return true;
}

static void replace_all(fmp_buf *text, fmp_buf *scratch, const char *from, const char *to)
{
    size_t n = strlen(from);
    scratch->len = 0;
    for (size_t i = 0; i < text->len;) {
        if (text->len - i >= n && memcmp(text->data + i, from, n) == 0) {
            fmp_buf_puts(scratch, to);
            i += n;
        } else {
            fmp_buf_putc(scratch, text->data[i++]);
        }
    }
    fmp_buf swap = *text;
    *text = *scratch;
    *scratch = swap;
}

static void token_bytes(const fmp_tokenizer *tok, const tk_token *t, fmp_buf *out, fmp_buf *scratch)
{
    const tk_decode_plan *plan = &tok->decode;
    out->len = 0;
    if (plan->byte_level && unmap_bytes(t->text, t->text_len, out)) { return; }
    fmp_buf_add(out, t->text, t->text_len);
    if (plan->byte_level) { return; }
    for (uint32_t i = 0; i < plan->n_replace; i++) {
        replace_all(out, scratch, plan->replace[i].from, plan->replace[i].to);
    }
    int byte = plan->byte_fallback && !out->failed ? fallback_byte(out->data, out->len) : -1;
    if (byte >= 0) {
        out->len = 0;
        fmp_buf_putc(out, (char)byte);
    }
}

fmp_status tk_vocab_bytes(fmp_tokenizer *tok, fmp_err *err)
{
    fmp_buf bytes = { 0 }, scratch = { 0 };
    for (uint32_t id = 0; id < tok->size; id++) {
        tk_token *t = &tok->tokens[id];
        if (!t->text) { continue; }
        token_bytes(tok, t, &bytes, &scratch);
        if (bytes.failed || scratch.failed) { break; }
        t->bytes = fmp_arena_strndup(tok->arena, bytes.data ? bytes.data : "", bytes.len);
        t->bytes_len = (uint32_t)bytes.len;
    }
    for (uint32_t i = 0; i < tok->n_added; i++) {
        tk_token *t = &tok->tokens[tok->added[i].id];
        if (!tok->in_model[tok->added[i].id] || tok->added[i].special) {
            t->bytes = t->text; /* an added token stands for its own text, whatever alphabet the model has */
            t->bytes_len = t->text_len;
        }
    }
    fmp_status status = fmp_buf_ok(&bytes, err);
    if (status == FMP_OK) { status = fmp_buf_ok(&scratch, err); }
    fmp_buf_free(&bytes);
    fmp_buf_free(&scratch);
    return status != FMP_OK ? status : fmp_arena_ok(tok->arena, err);
}
