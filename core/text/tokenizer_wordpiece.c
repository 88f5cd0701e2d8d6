/*
 * tokenizer_wordpiece.c: WordPiece (the longest piece that begins here, again and again) and WordLevel (whole words).
 *
 * Pieces inside a word carry a prefix in the vocabulary, "##"; looking for them begins at the trie node of that prefix.
 * Source   Schuster and Nakajima 2012, Devlin et al. 2019; "phantom space" vocabularies of GGUF files: llama.cpp's WPM.
 */
#include "tokenizer_impl.h"

static bool too_many_chars(const char *word, size_t len, uint32_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < len && n <= max; i++) {
        n += ((unsigned char)word[i] & 0xC0) != 0x80;
    }
    return n > max;
}

/* Longest piece from `node` on at word[at]; its end, or `at` if there is none. `node` is a place in the trie already. */
static size_t longest_piece(const tk_words *words, uint32_t node, const char *word, size_t len, size_t at,
                            uint32_t *id)
{
    size_t found = at;
    for (size_t end = at; end < len;) {
        node = tk_words_step(words, node, (unsigned char)word[end++]);
        if (node == 0) { break; }
        if (tk_words_at(words, node) != FMP_TOKEN_NONE) {
            *id = tk_words_at(words, node);
            found = end;
        }
    }
    return found;
}

/* The node that the text before each word leads to; false: no piece begins with that text. */
static bool node_of(const tk_words *words, const char *text, uint32_t *node)
{
    *node = 0;
    for (size_t i = 0; text[i] != '\0'; i++) {
        *node = tk_words_step(words, *node, (unsigned char)text[i]);
        if (*node == 0) { return false; }
    }
    return true;
}

fmp_status tk_wordpiece_init(fmp_tokenizer *tok, const char *prefix, fmp_err *err)
{
    size_t n_bytes = 0;
    for (uint32_t id = 0; id < tok->size; id++) {
        n_bytes += tok->tokens[id].text_len;
    }
    FMP_TRY(tk_words_new(n_bytes, &tok->word.words, err));
    for (uint32_t id = 0; id < tok->size; id++) {
        const tk_token *t = &tok->tokens[id];
        if (!tok->in_model[id] || tok->special[id] || t->text_len == 0) { continue; }
        FMP_TRY(tk_words_add(tok->word.words, t->text, t->text_len, id, err));
    }
    if (!node_of(tok->word.words, prefix, &tok->word.continues)) { tok->word.continues = FMP_TOKEN_NONE; }
    return FMP_OK;
}

static fmp_status unknown_word(const fmp_tokenizer *tok, fmp_tok_scratch *s, size_t len, fmp_err *err)
{
    s->n = 0;
    if (tok->unk_model == FMP_TOKEN_NONE) {
        s->dropped += len;
        return FMP_OK;
    }
    FMP_TRY(tk_result_grow(s, 1, err));
    tk_result_add(s, tok->unk_model, len);
    return FMP_OK;
}

fmp_status tk_wordpiece_word(const fmp_tokenizer *tok, fmp_tok_scratch *s, const char *word, size_t len,
                             fmp_err *err)
{
    const tk_words *words = tok->word.words;
    uint32_t node = 0;
    bool starts = node_of(words, tok->word.begin, &node);
    if (!starts || too_many_chars(word, len, tok->word.max_chars)) { return unknown_word(tok, s, len, err); }
    for (size_t at = 0; at < len;) {
        uint32_t id = FMP_TOKEN_NONE;
        size_t end = longest_piece(words, node, word, len, at, &id);
        if (end == at) { return unknown_word(tok, s, len, err); }
        FMP_TRY(tk_result_grow(s, 1, err));
        tk_result_add(s, id, end);
        node = tok->word.continues;
        at = end;
        if (node == FMP_TOKEN_NONE && at < len) { return unknown_word(tok, s, len, err); }
    }
    return FMP_OK;
}

/* End of the word at `at` in a text whose words begin, or end, with a mark; without a mark the whole is one word. */
static size_t word_end(const fmp_tokenizer *tok, const char *s, size_t len, size_t at)
{
    size_t n = strlen(tok->word.begin);
    if (n == 0) { return len; }
    for (size_t i = tok->word.mark_last ? at : at + 1; i + n <= len; i++) {
        if (memcmp(s + i, tok->word.begin, n) == 0) { return tok->word.mark_last ? i + n : i; }
    }
    return len;
}

/* A tokenizer.json has cut the text into words; a SentencePiece model gives all of it, and unknown neighbours are one. */
fmp_status tk_wordlevel_word(const fmp_tokenizer *tok, fmp_tok_scratch *s, const char *word, size_t len,
                             fmp_err *err)
{
    bool fuse = false;
    for (size_t at = 0; at < len;) {
        size_t end = word_end(tok, word, len, at);
        uint32_t id = tk_find(tok, word + at, end - at);
        bool known = id != FMP_TOKEN_NONE && !tok->special[id] && tok->in_model[id];
        if (!known && tok->unk_model == FMP_TOKEN_NONE) {
            s->dropped += end - at;
        } else if (!known && fuse && tok->fuse_unk) {
            s->ends[s->n - 1] = (uint32_t)end;
        } else {
            FMP_TRY(tk_result_grow(s, 1, err));
            tk_result_add(s, known ? id : tok->unk_model, end);
            fuse = !known;
        }
        at = end;
    }
    return FMP_OK;
}
