/*
 * tokenizer_unigram.c: the Unigram model: the pieces whose scores (logarithms of probabilities) add up to most.
 *
 * Viterbi from left to right: for each character, every piece that begins there offers its end a sum; the first of equal
 * offers stays. A character that no piece spells alone is unknown, ten below the lowest score. Where no piece reaches
 * across a place the best way must pass it, so what lies before is given out at once and memory stays small; the sum is
 * carried on, because rounding it differently could change a later choice.
 * Source   Kudo 2018. SentencePiece adds up in f32, Hugging Face in f64.
 */
#include "tokenizer_impl.h"

#include <math.h>
#include <stdlib.h>

#define UNKNOWN_PENALTY 10.0

fmp_status tk_unigram_init(fmp_tokenizer *tok, const uint8_t *takes_part, fmp_err *err)
{
    size_t n_bytes = 0;
    double least = INFINITY;
    for (uint32_t id = 0; id < tok->size; id++) {
        n_bytes += takes_part[id] ? tok->tokens[id].text_len : 0;
    }
    FMP_TRY(tk_words_new(n_bytes, &tok->word.words, err));
    for (uint32_t id = 0; id < tok->size; id++) {
        const tk_token *t = &tok->tokens[id];
        if (takes_part[id] == 1 && tok->word.score[id] < least) { least = tok->word.score[id]; }
        if (!takes_part[id] || tok->special[id] || t->text_len == 0) { continue; }
        FMP_TRY(tk_words_add(tok->word.words, t->text, t->text_len, id, err));
    }
    tok->word.unk_score = (isfinite(least) ? least : 0.0) - UNKNOWN_PENALTY;
    if (tok->word.single) { tok->word.unk_score = (double)((float)least - (float)UNKNOWN_PENALTY); }
    return FMP_OK;
}

static fmp_status paths_grow(fmp_tok_scratch *s, size_t n, fmp_err *err)
{
    if (n <= s->paths_cap) { return FMP_OK; }
    size_t cap = s->paths_cap ? s->paths_cap : 256;
    while (cap < n) {
        cap *= 2;
    }
    tk_path *paths = realloc(s->paths, cap * sizeof *paths);
    if (!paths) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a word of %zu bytes", n); }
    s->paths = paths;
    s->paths_cap = cap;
    return FMP_OK;
}

/*
 * A window of the word: paths[k] is the best way to byte base + k; offers reach up to byte `reach`. [unknown, unknown_end)
 * are unknown characters not yet given out: neighbours become one.
 */
typedef struct window {
    const fmp_tokenizer *tok;
    fmp_tok_scratch *s;
    const char *word;
    size_t base, reach;
    size_t unknown, unknown_end;
} window;

static fmp_status window_reach(window *w, size_t to, fmp_err *err)
{
    if (to <= w->reach) { return FMP_OK; }
    FMP_TRY(paths_grow(w->s, to - w->base + 1, err));
    for (size_t k = w->reach + 1; k <= to; k++) {
        w->s->paths[k - w->base].start = UINT32_MAX;
    }
    w->reach = to;
    return FMP_OK;
}

static void offer(window *w, size_t from, size_t to, uint32_t id, double score)
{
    tk_path *best = &w->s->paths[to - w->base];
    double sum = score + w->s->paths[from - w->base].score;
    if (w->tok->word.single) { sum = (double)(float)sum; }
    if (best->start != UINT32_MAX && !(sum > best->score)) { return; }
    *best = (tk_path){sum, id, (uint32_t)(from - w->base), 0};
}

/* All pieces that begin at `at`, and the unknown character where none is as long as the character. */
static fmp_status offer_all(window *w, size_t len, size_t at, size_t char_end, fmp_err *err)
{
    const tk_words *words = w->tok->word.words;
    uint32_t node = 0;
    bool alone = false;
    for (size_t end = at; end < len;) {
        node = tk_words_step(words, node, (unsigned char)w->word[end++]);
        if (node == 0) { break; }
        uint32_t id = tk_words_at(words, node);
        if (id == FMP_TOKEN_NONE) { continue; }
        FMP_TRY(window_reach(w, end, err));
        offer(w, at, end, id, w->tok->word.score[id]);
        alone = alone || end == char_end;
    }
    if (alone) { return FMP_OK; }
    FMP_TRY(window_reach(w, char_end, err));
    offer(w, at, char_end, FMP_TOKEN_NONE, w->tok->word.unk_score);
    return FMP_OK;
}

static fmp_status give_unknown(window *w, fmp_err *err)
{
    if (w->unknown == w->unknown_end) { return FMP_OK; }
    size_t begin = w->unknown;
    w->unknown = w->unknown_end;
    return tk_result_unknown(w->tok, w->s, w->word, begin, w->unknown_end, err);
}

/* Give out the best way through the window, which ends at `at`, and begin the next one there. */
static fmp_status window_close(window *w, size_t at, fmp_err *err)
{
    tk_path *paths = w->s->paths;
    uint32_t last = (uint32_t)(at - w->base);
    for (uint32_t k = last; k > 0; k = paths[k].start) {
        paths[paths[k].start].next = k;
    }
    for (uint32_t k = 0; k < last; k = paths[k].next) {
        const tk_path *piece = &paths[paths[k].next];
        size_t begin = w->base + k, end = w->base + paths[k].next;
        if (piece->id == FMP_TOKEN_NONE || piece->id == w->tok->unk_model) {
            if (w->unknown_end != begin) { FMP_TRY(give_unknown(w, err)); }
            if (w->unknown == w->unknown_end) { w->unknown = begin; }
            w->unknown_end = end;
            continue;
        }
        FMP_TRY(give_unknown(w, err));
        FMP_TRY(tk_result_grow(w->s, 1, err));
        tk_result_add(w->s, piece->id, end);
    }
    paths[0] = (tk_path){paths[last].score, FMP_TOKEN_NONE, 0, 0};
    w->base = w->reach = at;
    return FMP_OK;
}

fmp_status tk_unigram_word(const fmp_tokenizer *tok, fmp_tok_scratch *s, const char *word, size_t len,
                           fmp_err *err)
{
    window w = {.tok = tok, .s = s, .word = word};
    FMP_TRY(paths_grow(s, 1, err));
    s->paths[0] = (tk_path){0.0, FMP_TOKEN_NONE, 0, 0};
    for (size_t at = 0; at < len;) {
        size_t char_end = at;
        (void)tk_utf8_next(word, &char_end);
        FMP_TRY(offer_all(&w, len, at, char_end, err));
        at = char_end;
        if (w.reach == at) { FMP_TRY(window_close(&w, at, err)); }
    }
    return give_unknown(&w, err);
}
