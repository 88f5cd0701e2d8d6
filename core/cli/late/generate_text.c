/*
 * generate_text.c: a generated text as its tokens arrive: whole characters, cut before a stop text.
 *
 * A stop text may span tokens, and begin within one. So the end of the text that could be the beginning of a
 * stop text is held back; at the end of generation it is text after all.
 */
#include "generate.h"

static size_t longest(const gen_stops *stops)
{
    size_t most = 0;
    for (size_t i = 0; i < stops->n; i++) {
        size_t n = strlen(stops->text[i]);
        most = n > most ? n : most;
    }
    return most;
}

/* Where the first stop text begins that ends behind `from`; bytes.len: none does. */
static size_t find_stop(const gen_text *t, const gen_stops *stops, size_t from)
{
    size_t best = t->bytes.len, reach = longest(stops);
    size_t begin = from + 1 > reach ? from + 1 - reach : 0;
    for (size_t i = 0; i < stops->n; i++) {
        const char *hit =
            memmem(t->bytes.data + begin, t->bytes.len - begin, stops->text[i], strlen(stops->text[i]));
        size_t at = hit ? (size_t)(hit - t->bytes.data) : best;
        best = at < best ? at : best;
    }
    return best;
}

/* How many bytes at the end could be the beginning of a stop text. */
static size_t doubtful(const gen_text *t, const gen_stops *stops)
{
    size_t most = 0;
    for (size_t i = 0; i < stops->n; i++) {
        size_t n = strlen(stops->text[i]) - 1;
        for (n = n < t->bytes.len ? n : t->bytes.len; n > most; n--) {
            if (memcmp(t->bytes.data + t->bytes.len - n, stops->text[i], n) == 0) { most = n; }
        }
    }
    return most;
}

/* What came behind `before` is new. */
static fmp_status settle(gen_text *t, const gen_stops *stops, size_t before, fmp_err *err)
{
    FMP_TRY(fmp_buf_ok(&t->bytes, err));
    if (t->bytes.len == before) { return FMP_OK; }
    size_t stop = find_stop(t, stops, before);
    t->cut = stop < t->bytes.len;
    if (t->cut) {
        t->bytes.len = stop;
        t->bytes.data[stop] = '\0';
    }
    t->ready = t->cut ? stop : t->bytes.len - doubtful(t, stops);
    return FMP_OK;
}

fmp_status gen_text_push(gen_text *t, const fmp_tokenizer *tok, const gen_stops *stops, uint32_t id,
                         fmp_err *err)
{
    size_t before = t->bytes.len;
    if (t->cut) { return FMP_OK; }
    FMP_TRY(fmp_tok_stream_push(tok, &t->stream, id, 0, &t->bytes, err));
    return settle(t, stops, before, err);
}

fmp_status gen_text_end(gen_text *t, fmp_err *err)
{
    if (!t->cut) { FMP_TRY(fmp_tok_stream_end(&t->stream, &t->bytes, err)); }
    t->ready = t->bytes.len;
    return fmp_buf_ok(&t->bytes, err);
}

void gen_text_clear(gen_text *t)
{
    fmp_buf bytes = t->bytes;
    bytes.len = 0;
    if (bytes.data) { bytes.data[0] = '\0'; }
    *t = (gen_text){.bytes = bytes};
}

void gen_text_free(gen_text *t)
{
    fmp_buf_free(&t->bytes);
    *t = (gen_text){0};
}
