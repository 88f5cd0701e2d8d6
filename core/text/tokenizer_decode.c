/*
 * tokenizer_decode.c: tokens to text, exactly or as a stream of whole characters; and what a tokenizer can be asked.
 */
#include "tokenizer_impl.h"

uint32_t fmp_tokenizer_size(const fmp_tokenizer *tok)
{
    return tok->size;
}

const char *fmp_tokenizer_digest(const fmp_tokenizer *tok)
{
    return tok->digest;
}

const char *fmp_tokenizer_text(const fmp_tokenizer *tok, uint32_t id)
{
    return id < tok->size ? tok->tokens[id].text : NULL;
}

const char *fmp_tokenizer_bytes(const fmp_tokenizer *tok, uint32_t id, size_t *len)
{
    *len = id < tok->size ? tok->tokens[id].bytes_len : 0;
    return id < tok->size ? tok->tokens[id].bytes : NULL;
}

uint32_t fmp_tokenizer_id_of(const fmp_tokenizer *tok, const char *text)
{
    return tk_find(tok, text, strlen(text));
}

bool fmp_tokenizer_is_special(const fmp_tokenizer *tok, uint32_t id)
{
    return id < tok->size && tok->special[id];
}

uint32_t fmp_tokenizer_bos(const fmp_tokenizer *tok)
{
    return tok->bos;
}

uint32_t fmp_tokenizer_eos(const fmp_tokenizer *tok)
{
    return tok->eos;
}

uint32_t fmp_tokenizer_pad(const fmp_tokenizer *tok)
{
    return tok->pad;
}

uint32_t fmp_tokenizer_unk(const fmp_tokenizer *tok)
{
    return tok->unk;
}

/*
 * Bytes of one token; the first of a text loses the characters its decoder strips at the start. *held: a space follows
 * them if another token does.
 */
static fmp_status bytes_of(const fmp_tokenizer *tok, uint32_t id, unsigned flags, bool *started, bool *held,
                           const char **bytes, size_t *len, fmp_err *err)
{
    *len = 0;
    if (id >= tok->size || !tok->tokens[id].text) {
        return fmp_fail(err, FMP_E_RANGE, "expected a token id below %u, found %u, which no token has",
                        tok->size, id);
    }
    if ((flags & FMP_TOK_SKIP_SPECIAL) && tok->special[id]) { return FMP_OK; }
    *bytes = tok->tokens[id].bytes;
    *len = tok->tokens[id].bytes_len;
    if (tok->decode.word_suffix && *len > 0 && (*bytes)[*len - 1] == ' ') {
        *len -= 1;
        *held = true;
    }
    bool whole = tok->decode.unk_text && id == tok->unk_model;
    for (uint32_t k = 0;
         !*started && !whole && k<tok->decode.n_strip && * len> 0 && **bytes == tok->decode.strip; k++) {
        *bytes += 1;
        *len -= 1;
    }
    *started = *started || *len > 0 || !tok->decode.strip_on;
    return FMP_OK;
}

fmp_status fmp_tokenizer_decode(const fmp_tokenizer *tok, const uint32_t *ids, size_t n, unsigned flags,
                                fmp_buf *out, fmp_err *err)
{
    bool started = false, held = false;
    for (size_t i = 0; i < n; i++) {
        const char *bytes = "";
        size_t len = 0;
        bool before = held;
        held = false;
        FMP_TRY(bytes_of(tok, ids[i], flags, &started, &held, &bytes, &len, err));
        if (before && (len > 0 || held)) { fmp_buf_putc(out, ' '); }
        held = held || (before && len == 0);
        if (len > 0) { fmp_buf_add(out, bytes, len); }
    }
    return fmp_buf_ok(out, err);
}

/* Bytes the sequence beginning with `lead` has; 0: no sequence begins so. */
static unsigned sequence_len(unsigned char lead)
{
    if (lead < 0x80) { return 1; }
    if (lead < 0xC2) { return 0; }
    if (lead < 0xE0) { return 2; }
    if (lead < 0xF0) { return 3; }
    return lead < 0xF5 ? 4 : 0;
}

/* Whether byte c may stand at place k (1..3) after p[0] (RFC 3629: no overlong forms, no surrogates). */
static bool may_follow(const unsigned char *p, unsigned k, unsigned char c)
{
    if ((c & 0xC0) != 0x80) { return false; }
    if (k > 1) { return true; }
    switch (p[0]) {
    case 0xE0: return c >= 0xA0;
    case 0xED: return c < 0xA0;
    case 0xF0: return c >= 0x90;
    case 0xF4: return c < 0x90;
    default: return true;
    }
}

static void stream_byte(fmp_tok_stream *st, unsigned char c, fmp_buf *out)
{
    if (st->n_pending > 0 && !may_follow(st->pending, st->n_pending, c)) {
        fmp_buf_puts(out, "\xEF\xBF\xBD");
        st->n_pending = 0;
    }
    if (st->n_pending == 0 && sequence_len(c) == 0) {
        fmp_buf_puts(out, "\xEF\xBF\xBD");
        return;
    }
    st->pending[st->n_pending++] = c;
    if (st->n_pending == sequence_len(st->pending[0])) {
        fmp_buf_add(out, st->pending, st->n_pending);
        st->n_pending = 0;
    }
}

fmp_status fmp_tok_stream_push(const fmp_tokenizer *tok, fmp_tok_stream *stream, uint32_t id, unsigned flags,
                               fmp_buf *out, fmp_err *err)
{
    const char *bytes = "";
    size_t len = 0;
    bool before = stream->held;
    stream->held = false;
    FMP_TRY(bytes_of(tok, id, flags, &stream->started, &stream->held, &bytes, &len, err));
    if (before && (len > 0 || stream->held)) { stream_byte(stream, ' ', out); }
    stream->held = stream->held || (before && len == 0);
    for (size_t i = 0; i < len; i++) {
        stream_byte(stream, (unsigned char)bytes[i], out);
    }
    return fmp_buf_ok(out, err);
}

fmp_status fmp_tok_stream_end(fmp_tok_stream *stream, fmp_buf *out, fmp_err *err)
{
    if (stream->n_pending > 0) { fmp_buf_puts(out, "\xEF\xBF\xBD"); }
    *stream = (fmp_tok_stream){0};
    return fmp_buf_ok(out, err);
}
