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

/* ---- tokens by text ---- */
static inline uint32_t load_u32(const char *s)
{
    uint32_t w;
    memcpy(&w, s, sizeof w);
    return w;
}

static inline uint64_t text_key(const char *s, size_t len)
{
    if (len > TK_SHORT) { return tk_hash(s, len); }
    if (len >= 4) { return (uint64_t)load_u32(s + len - 4) << 32 | load_u32(s); }
    if (len == 0) { return 0; }
    const unsigned char *b = (const unsigned char *)s;
    return (uint64_t)b[0] | (uint64_t)b[len / 2] << 8 | (uint64_t)b[len - 1] << 16;
}

/* Where the search for a text begins. */
static inline size_t first_slot(const fmp_tokenizer *tok, uint64_t key, size_t len)
{
    uint64_t h = (key ^ len) * UINT64_C(0x9E3779B97F4A7C15);
    h = (h ^ h >> 32) * UINT64_C(0xC4CEB9FE1A85EC53);
    return (size_t)(h >> 32) & tok->by_text_mask;
}

static inline bool is_slot_of(const fmp_tokenizer *tok, const tk_text_slot *slot, uint64_t key, const char *s,
                              size_t len)
{
    return slot->key == key && slot->len == len &&
           (len <= TK_SHORT || memcmp(tok->tokens[slot->id].text, s, len) == 0);
}

/* The slot where a text is, or would be, from slot i on. */
static inline tk_text_slot *text_slot(const fmp_tokenizer *tok, size_t i, uint64_t key, const char *s,
                                      size_t len)
{
    while (tok->by_text[i].id != FMP_TOKEN_NONE && !is_slot_of(tok, &tok->by_text[i], key, s, len)) {
        i = (i + 1) & tok->by_text_mask;
    }
    return &tok->by_text[i];
}

uint32_t tk_find(const fmp_tokenizer *tok, const char *text, size_t len)
{
    uint64_t key = text_key(text, len);
    return text_slot(tok, first_slot(tok, key, len), key, text, len)->id;
}

/* In rounds over all keys: ask for the slots, then for the tokens and texts that long ones are compared with. */
void tk_find_many(const fmp_tokenizer *tok, const tk_key *keys, size_t n, uint32_t *ids)
{
    uint64_t key[TK_MANY];
    size_t at[TK_MANY], some[TK_MANY], n_some = 0;
    for (size_t k = 0; k < n; k++) {
        key[k] = text_key(keys[k].s, keys[k].len);
        at[k] = first_slot(tok, key[k], keys[k].len);
        __builtin_prefetch(&tok->by_text[at[k]]);
        some[n_some] = k;
        n_some += keys[k].len > TK_SHORT;
    }
    for (size_t i = 0; i < n_some; i++) {
        const tk_text_slot *slot = &tok->by_text[at[some[i]]];
        if (slot->id != FMP_TOKEN_NONE) { __builtin_prefetch(&tok->tokens[slot->id]); }
    }
    for (size_t i = 0; i < n_some; i++) {
        const tk_text_slot *slot = &tok->by_text[at[some[i]]];
        if (slot->id != FMP_TOKEN_NONE) { __builtin_prefetch(tok->tokens[slot->id].text); }
    }
    for (size_t k = 0; k < n; k++) {
        ids[k] = text_slot(tok, at[k], key[k], keys[k].s, keys[k].len)->id;
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

void tk_vocab_fetch(const fmp_tokenizer *tok, const char *text, size_t len)
{
    __builtin_prefetch(&tok->by_text[first_slot(tok, text_key(text, len), len)], 1);
}

/* Where a text's entry is, or goes. */
static tk_text_slot *entry_slot(const fmp_tokenizer *tok, const char *text, size_t len)
{
    uint64_t key = text_key(text, len);
    return text_slot(tok, first_slot(tok, key, len), key, text, len);
}

static fmp_status set_text(fmp_tokenizer *tok, const char *text, size_t len, uint32_t id, tk_text_slot *slot,
                           fmp_err *err)
{
    tok->tokens[id].text = fmp_arena_strndup(tok->arena, text, len);
    FMP_TRY(fmp_arena_ok(tok->arena, err));
    tok->tokens[id].text_len = (uint32_t)len;
    *slot = (tk_text_slot){text_key(text, len), id, (uint32_t)len};
    return FMP_OK;
}

fmp_status tk_vocab_add(fmp_tokenizer *tok, const char *text, size_t len, uint32_t id, const char *where,
                        fmp_err *err)
{
    const tk_token *t = &tok->tokens[id];
    tk_text_slot *slot = entry_slot(tok, text, len);
    int shown = (int)(len < 60 ? len : 60);
    if (t->text) {
        return fmp_fail(err, FMP_E_DATA, "%s: id %u is used twice, by \"%.60s\" and \"%.*s\"", where, id,
                        t->text, shown, text);
    }
    if (slot->id != FMP_TOKEN_NONE) {
        return fmp_fail(err, FMP_E_DATA, "%s: token \"%.*s\" occurs twice", where, shown, text);
    }
    return set_text(tok, text, len, id, slot, err);
}

fmp_status tk_vocab_put(fmp_tokenizer *tok, const char *text, size_t len, uint32_t id, fmp_err *err)
{
    tk_text_slot *slot = entry_slot(tok, text, len);
    tok->has_twins |= slot->id != FMP_TOKEN_NONE;
    return set_text(tok, text, len, id, slot, err);
}

/* ---- merges ---- */
fmp_status tk_rule_add(fmp_tokenizer *tok, const tk_rule *rule, fmp_err *err)
{
    tk_rules *all = &tok->rules;
    if (all->n == all->cap) {
        size_t cap = all->cap ? all->cap * 2 : 4096;
        tk_rule *v = cap <= 16 * TK_MAX_TOKENS ? realloc(all->v, cap * sizeof *v) : NULL;
        if (!v) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for %zu merges", cap); }
        all->v = v;
        all->cap = cap;
    }
    all->v[all->n++] = *rule;
    return FMP_OK;
}

/* False if the pair is there already. */
static bool merge_add(fmp_tokenizer *tok, const tk_rule *r)
{
    uint64_t key = (uint64_t)r->left << 32 | r->right;
    size_t i = tk_merge_slot(tok, r->left, r->right);
    while (tok->merges[i].key != UINT64_MAX) {
        if (tok->merges[i].key == key) { return false; }
        i = (i + 1) & tok->merge_mask;
    }
    tok->merges[i] = (tk_merge){key, r->rank, r->id};
    return true;
}

fmp_status tk_merges_build(fmp_tokenizer *tok, tk_rule *twice, fmp_err *err)
{
    tk_rules *all = &tok->rules;
    unsigned bits = 4;
    while (((size_t)1 << bits) < all->n * 2) {
        bits++;
    }
    size_t slots = (size_t)1 << bits, kept = 0;
    tok->merges = fmp_arena_take(tok->arena, slots * sizeof *tok->merges);
    FMP_TRY(fmp_arena_ok(tok->arena, err));
    memset(tok->merges, 0xFF, slots * sizeof *tok->merges);
    tok->merge_mask = slots - 1;
    tok->merge_shift = 64 - bits;
    for (size_t i = 0; i < all->n; i++) {
        const tk_rule *ahead = &all->v[i + TK_AHEAD < all->n ? i + TK_AHEAD : i], r = all->v[i];
        tk_merge_fetch(tok, ahead->left, ahead->right);
        if (merge_add(tok, &r)) {
            all->v[kept++] = r;
        } else if (twice) {
            *twice = r;
            twice = NULL;
        }
    }
    all->n = kept;
    return FMP_OK;
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
                            uint32_t left, uint32_t right, uint32_t made, fmp_err *err)
{
    if (tok->inner_prefix) { made = find_made(tok, s, a_len, len); }
    if (left == FMP_TOKEN_NONE || right == FMP_TOKEN_NONE || made == FMP_TOKEN_NONE) {
        return fmp_fail(
            err, FMP_E_DATA, "model.merges[%u]: \"%.*s\", \"%.*s\" and both joined must be in model.vocab",
            rank, (int)(a_len < 60 ? a_len : 60), s, (int)(len - a_len < 60 ? len - a_len : 60), s + a_len);
    }
    return tok->special[made] ? FMP_OK : tk_rule_add(tok, &(tk_rule){left, right, rank, made}, err);
}

/*
 * The token a merge makes, where it is that of the merge before or the one after that: files mostly list merges in the
 * order of what they make. FMP_TOKEN_NONE: it has to be looked up.
 */
static uint32_t guess_made(const fmp_tokenizer *tok, uint32_t last, const char *text, size_t len)
{
    for (uint32_t id = last; last != FMP_TOKEN_NONE && id < tok->size && id <= last + 1; id++) {
        const tk_token *t = &tok->tokens[id];
        if (t->text && t->text_len == len && memcmp(t->text, text, len) == 0) { return id; }
    }
    return FMP_TOKEN_NONE;
}

static fmp_status flush(fmp_tokenizer *tok, tk_merge_batch *batch, fmp_err *err)
{
    tk_key keys[3 * TK_BATCH] = {{NULL, 0}};
    uint32_t ids[3 * TK_BATCH], made[TK_BATCH], n = batch->n;
    uint32_t last = tok->rules.n > 0 && !tok->has_twins ? tok->rules.v[tok->rules.n - 1].id : FMP_TOKEN_NONE;
    size_t n_keys = 2 * (size_t)n;
    FMP_TRY(fmp_buf_ok(&batch->text, err));
    for (uint32_t i = 0; i < n; i++) {
        const char *s = batch->text.data + batch->at[i];
        size_t a_len = batch->a_len[i], len = batch->at[i + 1] - batch->at[i];
        keys[2 * i] = (tk_key){s, a_len};
        keys[2 * i + 1] = (tk_key){s + a_len, len - a_len};
        made[i] = guess_made(tok, last, s, len);
        if (made[i] == FMP_TOKEN_NONE) {
            keys[n_keys++] = (tk_key){s, len};
        } else {
            last = made[i];
        }
    }
    tk_find_many(tok, keys, n_keys, ids);
    n_keys = 2 * (size_t)n;
    for (uint32_t i = 0; i < n; i++) {
        if (made[i] == FMP_TOKEN_NONE) { made[i] = ids[n_keys++]; }
        FMP_TRY(merge_put(tok, keys[2 * i].s, keys[2 * i].len, keys[2 * i].len + keys[2 * i + 1].len,
                          batch->rank++, ids[2 * i], ids[2 * i + 1], made[i], err));
    }
    batch->n = 0;
    batch->text.len = 0;
    return FMP_OK;
}

fmp_status tk_merges_end(fmp_tokenizer *tok, tk_merge_batch *batch, fmp_err *err)
{
    tk_rule twice = {.rank = UINT32_MAX};
    FMP_TRY(flush(tok, batch, err));
    FMP_TRY(tk_merges_build(tok, &twice, err));
    if (twice.rank == UINT32_MAX) { return FMP_OK; }
    return fmp_fail(err, FMP_E_DATA, "model.merges[%u]: \"%.60s\" and \"%.60s\" are merged twice", twice.rank,
                    tok->tokens[twice.left].text, tok->tokens[twice.right].text);
}

fmp_status tk_merge_texts(fmp_tokenizer *tok, tk_merge_batch *batch, tk_key a, tk_key b, fmp_err *err)
{
    batch->at[batch->n] = batch->text.len;
    batch->a_len[batch->n] = a.len;
    fmp_buf_add(&batch->text, a.s, a.len);
    if (b.len > 0) { fmp_buf_add(&batch->text, b.s, b.len); }
    batch->at[++batch->n] = batch->text.len;
    return batch->n == TK_BATCH ? flush(tok, batch, err) : FMP_OK;
}

/* "<0x0A>" to 10, anything else to -1. */
static int fallback_byte(const char *text, size_t len)
{
    static const char digits[] = "0123456789ABCDEF";
    if (len != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') { return -1; }
    const char *hi = memchr(digits, text[3], 16), *lo = memchr(digits, text[4], 16);
    return hi && lo ? (int)((hi - digits) * 16 + (lo - digits)) : -1;
}

bool tk_unmap(const char *text, size_t len, char *out, size_t *n)
{
    size_t k = 0;
    for (size_t i = 0; i < len;) {
        if (text[i] > 0x20 && text[i] < 0x7F) { /* stands for itself */
            out[k++] = text[i++];
            continue;
        }
        int byte = tk_byte_of_char(tk_utf8_next(text, &i));
        if (byte < 0) { return false; }
        out[k++] = (char)byte;
    }
    *n = k;
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
    fmp_buf_add(out, t->text, t->text_len);
    if (plan->byte_level) {
        if (out->failed || tk_unmap(t->text, t->text_len, out->data, &out->len)) { return; }
        out->len = 0;
        fmp_buf_add(out, t->text, t->text_len);
        return;
    }
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
