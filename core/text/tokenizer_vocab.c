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
    for (unsigned b = 0; b < byte; b++) {
        c += !is_own_char(b);
    }
    return c;
}

int tk_byte_of_char(uint32_t c)
{
    if (c < 0x100) { return is_own_char(c) ? (int)c : -1; }
    if (c >= 0x144) { return -1; }
    if (c < 0x121) { return (int)(c - 0x100); }        /* bytes 00..20 */
    if (c < 0x143) { return (int)(c - 0x121) + 0x7F; } /* bytes 7F..A0 */
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

#define FREE_SLOT UINT64_MAX

static inline uint64_t slot_tag(uint64_t hash)
{
    return hash & UINT64_C(0xFFFFFFFF00000000);
}

static inline bool has_text(const fmp_tokenizer *tok, uint64_t slot, const char *text, size_t len)
{
    const tk_token *t = &tok->tokens[(uint32_t)slot];
    return t->text_len == len && memcmp(t->text, text, len) == 0;
}

/* The slot where a text's id is, or would be. */
static inline size_t text_slot(const fmp_tokenizer *tok, uint64_t hash, const char *text, size_t len)
{
    size_t i = (size_t)hash & tok->by_text_mask;
    while (tok->by_text[i] != FREE_SLOT) {
        if (slot_tag(tok->by_text[i]) == slot_tag(hash) && has_text(tok, tok->by_text[i], text, len)) {
            break;
        }
        i = (i + 1) & tok->by_text_mask;
    }
    return i;
}

uint32_t tk_find(const fmp_tokenizer *tok, const char *text, size_t len)
{
    return (uint32_t)tok->by_text[text_slot(tok, tk_hash(text, len), text, len)];
}

/* In rounds over all keys: fetch the slots, then the tokens they name, then the texts; only then compare. */
void tk_find_many(const fmp_tokenizer *tok, const tk_key *keys, size_t n, uint32_t *ids)
{
    uint64_t hash[TK_MANY];
    for (size_t k = 0; k < n; k++) {
        hash[k] = tk_hash(keys[k].s, keys[k].len);
        __builtin_prefetch(&tok->by_text[(size_t)hash[k] & tok->by_text_mask]);
    }
    for (size_t k = 0; k < n; k++) {
        size_t i = (size_t)hash[k] & tok->by_text_mask;
        while (tok->by_text[i] != FREE_SLOT && slot_tag(tok->by_text[i]) != slot_tag(hash[k])) {
            i = (i + 1) & tok->by_text_mask;
        }
        ids[k] = (uint32_t)tok->by_text[i];
        if (ids[k] != FMP_TOKEN_NONE) { __builtin_prefetch(&tok->tokens[ids[k]]); }
    }
    for (size_t k = 0; k < n; k++) {
        if (ids[k] != FMP_TOKEN_NONE) { __builtin_prefetch(tok->tokens[ids[k]].text); }
    }
    for (size_t k = 0; k < n; k++) {
        if (ids[k] != FMP_TOKEN_NONE) {
            ids[k] = (uint32_t)tok->by_text[text_slot(tok, hash[k], keys[k].s, keys[k].len)];
        }
    }
}

fmp_status tk_vocab_init(fmp_tokenizer *tok, size_t size, fmp_err *err)
{
    size_t slots = 16;
    while (slots < size * 2) {
        slots *= 2;
    }
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

static fmp_status set_text(fmp_tokenizer *tok, const char *text, size_t len, uint32_t id, size_t slot,
                           fmp_err *err)
{
    tok->tokens[id].text = fmp_arena_strndup(tok->arena, text, len);
    FMP_TRY(fmp_arena_ok(tok->arena, err));
    tok->tokens[id].text_len = (uint32_t)len;
    tok->by_text[slot] = slot_tag(tk_hash(text, len)) | id;
    return FMP_OK;
}

fmp_status tk_vocab_add(fmp_tokenizer *tok, const char *text, size_t len, uint32_t id, const char *where,
                        fmp_err *err)
{
    const tk_token *t = &tok->tokens[id];
    size_t slot = text_slot(tok, tk_hash(text, len), text, len);
    int shown = (int)(len < 60 ? len : 60);
    if (t->text) {
        return fmp_fail(err, FMP_E_DATA, "%s: id %u is used twice, by \"%.60s\" and \"%.*s\"", where, id,
                        t->text, shown, text);
    }
    if (tok->by_text[slot] != FREE_SLOT) {
        return fmp_fail(err, FMP_E_DATA, "%s: token \"%.*s\" occurs twice", where, shown, text);
    }
    return set_text(tok, text, len, id, slot, err);
}

fmp_status tk_vocab_put(fmp_tokenizer *tok, const char *text, size_t len, uint32_t id, fmp_err *err)
{
    return set_text(tok, text, len, id, text_slot(tok, tk_hash(text, len), text, len), err);
}

fmp_status tk_merges_init(fmp_tokenizer *tok, size_t n, fmp_err *err)
{
    unsigned bits = 4;
    while (((size_t)1 << bits) < n * 2) {
        bits++;
    }
    size_t slots = (size_t)1 << bits;
    tok->merges = fmp_arena_take(tok->arena, slots * sizeof *tok->merges);
    FMP_TRY(fmp_arena_ok(tok->arena, err));
    memset(tok->merges, 0xFF, slots * sizeof *tok->merges);
    tok->merge_mask = slots - 1;
    tok->merge_shift = 64 - bits;
    return FMP_OK;
}

static inline size_t merge_slot(const fmp_tokenizer *tok, uint32_t left, uint32_t right)
{
    uint64_t key = (uint64_t)left << 32 | right;
    return (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> tok->merge_shift);
}

bool tk_merge_add(fmp_tokenizer *tok, uint32_t left, uint32_t right, uint32_t rank, uint32_t id)
{
    uint64_t key = (uint64_t)left << 32 | right;
    size_t i = merge_slot(tok, left, right);
    while (tok->merges[i].key != UINT64_MAX) {
        if (tok->merges[i].key == key) { return false; }
        i = (i + 1) & tok->merge_mask;
    }
    tok->merges[i] = (tk_merge){key, rank, id};
    return true;
}

/* With a prefix of characters inside words, the right token loses it when it is joined to a left one. */
static uint32_t find_made(const fmp_tokenizer *tok, const char *s, size_t a_len, size_t len)
{
    size_t skip = tok->inner_prefix ? strlen(tok->inner_prefix) : 0;
    char made[4096];
    if (skip == 0 || len - a_len < skip || len > sizeof made) { return tk_find(tok, s, len); }
    memcpy(made, s, a_len);
    memcpy(made + a_len, s + a_len + skip, len - a_len - skip);
    return tk_find(tok, made, len - skip);
}

static fmp_status merge_put(fmp_tokenizer *tok, const char *s, size_t a_len, size_t len, uint32_t rank,
                            const uint32_t ids[3], fmp_err *err)
{
    uint32_t left = ids[0], right = ids[1], made = tok->inner_prefix ? find_made(tok, s, a_len, len) : ids[2];
    int a = (int)(a_len < 60 ? a_len : 60), b = (int)(len - a_len < 60 ? len - a_len : 60);
    if (left == FMP_TOKEN_NONE || right == FMP_TOKEN_NONE || made == FMP_TOKEN_NONE) {
        return fmp_fail(err, FMP_E_DATA,
                        "model.merges[%u]: \"%.*s\", \"%.*s\" and both joined must be in model.vocab", rank,
                        a, s, b, s + a_len);
    }
    if (tok->special[made]) { return FMP_OK; }
    if (!tk_merge_add(tok, left, right, rank, made)) {
        return fmp_fail(err, FMP_E_DATA, "model.merges[%u]: \"%.*s\" and \"%.*s\" are merged twice", rank, a,
                        s, b, s + a_len);
    }
    return FMP_OK;
}

fmp_status tk_merges_flush(fmp_tokenizer *tok, tk_merge_batch *batch, fmp_err *err)
{
    tk_key keys[3 * TK_BATCH] = {{NULL, 0}};
    uint32_t ids[3 * TK_BATCH], n = batch->n;
    FMP_TRY(fmp_buf_ok(&batch->text, err));
    for (uint32_t i = 0; i < n; i++) {
        const char *s = batch->text.data + batch->at[i];
        size_t a_len = batch->a_len[i], len = batch->at[i + 1] - batch->at[i];
        keys[3 * i] = (tk_key){s, a_len};
        keys[3 * i + 1] = (tk_key){s + a_len, len - a_len};
        keys[3 * i + 2] = (tk_key){s, len};
    }
    tk_find_many(tok, keys, 3 * (size_t)n, ids);
    for (uint32_t i = 0; i < n; i++) {
        __builtin_prefetch(&tok->merges[merge_slot(tok, ids[3 * i], ids[3 * i + 1])], 1);
    }
    for (uint32_t i = 0; i < n; i++) {
        FMP_TRY(merge_put(tok, keys[3 * i].s, keys[3 * i].len, keys[3 * i + 2].len, batch->rank++,
                          ids + 3 * (size_t)i, err));
    }
    batch->n = 0;
    batch->text.len = 0;
    return FMP_OK;
}

fmp_status tk_merge_texts(fmp_tokenizer *tok, tk_merge_batch *batch, tk_key a, tk_key b, fmp_err *err)
{
    batch->at[batch->n] = batch->text.len;
    batch->a_len[batch->n] = a.len;
    fmp_buf_add(&batch->text, a.s, a.len);
    if (b.len > 0) { fmp_buf_add(&batch->text, b.s, b.len); }
    batch->at[++batch->n] = batch->text.len;
    return batch->n == TK_BATCH ? tk_merges_flush(tok, batch, err) : FMP_OK;
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

/* A WordPiece token as it stands inside a text: a space before it unless it goes on with a word. */
static void join_word(const tk_decode_plan *plan, const tk_token *t, fmp_buf *out, fmp_buf *scratch)
{
    static const char *const joined[][2] = {
        {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
        {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    size_t skip = strlen(plan->word_prefix);
    out->len = 0;
    if (skip > 0 && t->text_len >= skip && memcmp(t->text, plan->word_prefix, skip) == 0) {
        fmp_buf_add(out, t->text + skip, t->text_len - skip);
    } else {
        fmp_buf_putc(out, ' ');
        fmp_buf_add(out, t->text, t->text_len);
    }
    for (size_t i = 0; plan->cleanup && i < sizeof joined / sizeof *joined; i++) {
        replace_all(out, scratch, joined[i][0], joined[i][1]);
    }
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
    if (plan->word_suffix) { replace_all(out, scratch, plan->word_suffix, " "); }
    if (plan->word_prefix) { join_word(plan, t, out, scratch); }
    int byte = plan->byte_fallback && !out->failed ? fallback_byte(out->data, out->len) : -1;
    if (byte >= 0) {
        out->len = 0;
        fmp_buf_putc(out, (char)byte);
    }
}

fmp_status tk_vocab_bytes(fmp_tokenizer *tok, fmp_err *err)
{
    fmp_buf bytes = {0}, scratch = {0};
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
        if (tok->decode.word_prefix) { continue; } /* a space stands before it as before any word */
        if (!tok->in_model[tok->added[i].id] || tok->added[i].special) {
            t->bytes = t->text; /* an added token stands for its own text, whatever alphabet the model has */
            t->bytes_len = t->text_len;
        }
    }
    if (tok->decode.unk_text) {
        tok->tokens[tok->unk_model].bytes = tok->decode.unk_text;
        tok->tokens[tok->unk_model].bytes_len = (uint32_t)strlen(tok->decode.unk_text);
    }
    fmp_status status = fmp_buf_ok(&bytes, err);
    if (status == FMP_OK) { status = fmp_buf_ok(&scratch, err); }
    fmp_buf_free(&bytes);
    fmp_buf_free(&scratch);
    return status != FMP_OK ? status : fmp_arena_ok(tok->arena, err);
}
