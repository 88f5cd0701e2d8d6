/*
 * tokenizer_split.c: pre-tokenization in general: any sequence of splits, with the byte-level step anywhere in it.
 *
 * The usual case, one pattern whose matches and gaps are the words, does not come here: tokenizer_encode.c walks it
 * directly. A step that follows the byte level sees GPT-2's characters, so the text is really rewritten for it and
 * turned back into bytes at the end.
 */
#include "tokenizer_impl.h"

typedef struct match {
    size_t begin, end;
    bool is_match;
} match;

/* The last piece of `out` takes [begin, end) in; if there is none yet, the range becomes one. */
static void extend_last(tk_pieces *out, size_t first, const match *m)
{
    if (out->n > first) {
        out->v[out->n - 1].end = (uint32_t)m->end;
    } else {
        tk_piece_add(out, m->begin, m->end, FMP_TOKEN_NONE);
    }
}

/* One match or gap, in order, under the step's behavior; `previous` is whether the one before was a match. */
static void place(const tk_split *step, const match *m, bool previous, size_t first, tk_pieces *out)
{
    bool is_match = m->is_match != step->invert;
    switch (step->behavior) {
    case TK_ISOLATED: tk_piece_add(out, m->begin, m->end, FMP_TOKEN_NONE); return;
    case TK_REMOVED:
        if (!is_match) { tk_piece_add(out, m->begin, m->end, FMP_TOKEN_NONE); }
        return;
    case TK_CONTIGUOUS:
        if (is_match == previous) {
            extend_last(out, first, m);
        } else {
            tk_piece_add(out, m->begin, m->end, FMP_TOKEN_NONE);
        }
        return;
    case TK_MERGED_PREVIOUS:
        if (is_match && !previous) {
            extend_last(out, first, m);
        } else {
            tk_piece_add(out, m->begin, m->end, FMP_TOKEN_NONE);
        }
        return;
    case TK_MERGED_NEXT: return; /* placed by merge_next: the rule reads from right to left */
    }
}

/* `found` holds matches and gaps, id 1 for a match: a match joins what follows unless that is a match too. */
static void merge_next(const tk_pieces *found, bool invert, tk_pieces *out)
{
    bool keep = false;
    uint32_t begin = 0;
    for (size_t i = 0; i < found->n; i++) {
        const tk_piece *p = &found->v[i];
        if (!keep) { begin = p->begin; }
        bool is_match = (p->id == 1) != invert;
        bool next_is_match = i + 1 < found->n && (found->v[i + 1].id == 1) != invert;
        keep = is_match && i + 1 < found->n && !next_is_match;
        if (!keep) { tk_piece_add(out, begin, p->end, FMP_TOKEN_NONE); }
    }
}

/* Matches of the step's pattern in v and the gaps between them, none empty; id 1 for a match. */
static fmp_status find_all(const tk_split *step, tk_matcher *matcher, const tk_view *v, tk_pieces *found,
                           fmp_err *err)
{
    size_t done = 0, at = 0;
    found->n = 0;
    while (at < v->len) {
        bool hit = false;
        size_t begin = 0, end = 0;
        FMP_TRY(tk_regex_next(&step->re, matcher, v->s, v->len, at, &hit, &begin, &end, err));
        if (!hit) { break; }
        if (begin > done) { tk_piece_add(found, done, begin, 0); }
        if (end > begin) { tk_piece_add(found, begin, end, 1); }
        done = end;
        at = end;
        if (end == begin && at < v->len) { (void)tk_utf8_next(v->s, &at); }
    }
    if (done < v->len) { tk_piece_add(found, done, v->len, 0); }
    return FMP_OK;
}

static fmp_status split_piece(const tk_split *step, fmp_tok_scratch *s, const tk_view *text,
                              const tk_piece *piece, fmp_err *err)
{
    tk_view v = tk_view_cut(text, piece->begin, piece->end);
    size_t first = s->words_next.n;
    FMP_TRY(find_all(step, &s->matcher, &v, &s->found, err));
    bool previous = false;
    if (step->behavior == TK_MERGED_NEXT) { merge_next(&s->found, step->invert, &s->words_next); }
    for (size_t i = 0; i < s->found.n; i++) {
        const tk_piece *p = &s->found.v[i];
        match m = {p->begin, p->end, p->id == 1};
        place(step, &m, previous, first, &s->words_next);
        previous = m.is_match != step->invert;
    }
    for (size_t i = first; i < s->words_next.n; i++) {
        s->words_next.v[i].begin += piece->begin;
        s->words_next.v[i].end += piece->begin;
    }
    return FMP_OK;
}

/* Spaces become `meta`; one stands first, unless there is one already or the step says no. */
static void rewrite_meta(const tk_split *step, const tk_view *text, const tk_piece *piece, tk_text *out)
{
    size_t n = strlen(step->meta);
    bool there = text->s[piece->begin] == ' ' ||
                 (piece->end - piece->begin >= n && memcmp(text->s + piece->begin, step->meta, n) == 0);
    bool wanted = step->prepend == TK_PREPEND_ALWAYS ||
                  (step->prepend == TK_PREPEND_FIRST && tk_origin(text, piece->begin) == 0);
    if (wanted && !there) { tk_text_add(out, step->meta, n, tk_origin(text, piece->begin)); }
    for (size_t i = piece->begin; i < piece->end;) {
        const char *space = memchr(text->s + i, ' ', piece->end - i);
        size_t next = space ? (size_t)(space - text->s) : piece->end;
        tk_text_copy(out, text, i, next);
        if (space) { tk_text_add(out, step->meta, n, tk_origin(text, next + 1)); }
        i = next + (space != NULL);
    }
}

/* Rewrite each piece: with a space before it, with spaces made visible, or in GPT-2's characters. */
static void rewrite_piece(const tk_split *step, const tk_view *text, const tk_piece *piece, tk_text *out)
{
    tk_split_kind kind = step->kind;
    if (kind == TK_SPLIT_METASPACE) {
        rewrite_meta(step, text, piece, out);
        return;
    }
    if (kind == TK_SPLIT_PREFIX_SPACE) {
        if (text->s[piece->begin] != ' ') { tk_text_add(out, " ", 1, tk_origin(text, piece->begin)); }
        tk_text_copy(out, text, piece->begin, piece->end);
        return;
    }
    for (size_t i = piece->begin; i < piece->end; i++) {
        char utf8[4];
        size_t n = tk_utf8_put(tk_char_of_byte((unsigned char)text->s[i]), utf8);
        tk_text_add(out, utf8, n, tk_origin(text, i + 1));
    }
}

static void unmap_piece(const tk_view *text, const tk_piece *piece, tk_text *out)
{
    for (size_t i = piece->begin; i < piece->end;) {
        int byte = tk_byte_of_char(tk_utf8_next(text->s, &i));
        char c = (char)byte;
        tk_text_add(out, &c, 1, tk_origin(text, i));
    }
}

/* Run `step` (or, for NULL, the way back to bytes) over all pieces of *text into a fresh text. */
static void rewrite(const tk_split *step, fmp_tok_scratch *s, tk_view *text)
{
    tk_text *to = text->end_of && text->end_of == s->split_a.end_of ? &s->split_b : &s->split_a;
    to->len = 0;
    s->words_next.n = 0;
    for (size_t i = 0; i < s->words.n; i++) {
        size_t begin = to->len;
        if (!step) {
            unmap_piece(text, &s->words.v[i], to);
        } else {
            rewrite_piece(step, text, &s->words.v[i], to);
        }
        tk_piece_add(&s->words_next, begin, to->len, FMP_TOKEN_NONE);
    }
    *text = tk_view_of(to, text->base);
}

static void swap_words(fmp_tok_scratch *s)
{
    tk_pieces swap = s->words;
    s->words = s->words_next;
    s->words_next = swap;
}

fmp_status tk_split_all(const fmp_tokenizer *tok, fmp_tok_scratch *s, tk_view *text, fmp_err *err)
{
    s->words.n = 0;
    tk_piece_add(&s->words, 0, text->len, FMP_TOKEN_NONE);
    for (uint32_t k = 0; k < tok->n_split; k++) {
        const tk_split *step = &tok->split[k];
        s->words_next.n = 0;
        if (step->kind != TK_SPLIT_REGEX) {
            rewrite(step, s, text);
        } else {
            for (size_t i = 0; i < s->words.n; i++) {
                FMP_TRY(split_piece(step, s, text, &s->words.v[i], err));
            }
        }
        swap_words(s);
    }
    if (tok->maps_bytes) {
        rewrite(NULL, s, text);
        swap_words(s);
    }
    if (s->words.failed || s->words_next.failed || s->found.failed || s->split_a.failed ||
        s->split_b.failed) {
        return fmp_fail(err, FMP_E_NOMEM, "out of memory while splitting %zu bytes", text->len);
    }
    return FMP_OK;
}
