/*
 * fuzz_tokenizer.h: any bytes as a tokenizer file of one kind; what loads encodes a text that begins with the file's own
 * bytes, and every id that comes out must decode. The targets differ in their corpora and in what they let through.
 */
#ifndef FMP_FUZZ_TOKENIZER_H
#define FMP_FUZZ_TOKENIZER_H

#include "fuzz.h"

#include <fmpipe/json.h>
#include <fmpipe/tokenizer.h>
#include <stdlib.h>

static inline void fuzz_encode(const fmp_tokenizer *tok, const char *text, size_t len, unsigned flags)
{
    fmp_tok_scratch *scratch = fmp_tok_scratch_new();
    fmp_token_list list = {0};
    fmp_buf back = {0};
    fmp_tok_stream stream = {.started = false};
    fmp_err err = FMP_ERR_INIT;
    if (!scratch) { abort(); }
    if (fmp_tokenizer_encode(tok, scratch, text, len, flags, &list, &err) == FMP_OK) {
        uint32_t at = 0;
        for (size_t i = 0; i < list.n; i++) {
            if (list.ids[i] >= fmp_tokenizer_size(tok) || list.begin[i] != at || list.end[i] < at) {
                abort();
            }
            at = list.end[i];
            if (fmp_tok_stream_push(tok, &stream, list.ids[i], flags, &back, &err) != FMP_OK) { abort(); }
        }
        if (at > len || fmp_tok_stream_end(&stream, &back, &err) != FMP_OK) { abort(); }
        if (fmp_utf8_invalid_at(back.data ? back.data : "", back.len) < back.len) { abort(); }
        back.len = 0;
        if (fmp_tokenizer_decode(tok, list.ids, list.n, 0, &back, &err) != FMP_OK) { abort(); }
    } else if (!*err.message) {
        abort();
    }
    fmp_buf_free(&back);
    fmp_token_list_free(&list);
    fmp_tok_scratch_free(scratch);
}

static inline int fuzz_tokenizer(const uint8_t *data, size_t size)
{
    static const char text[] = " Hello  w\xC3\xB6rld e\xCC\x81 \xE6\x9D\xB1\xE4\xBA\xAC\xEF\xBC\xA1 "
                               "<s>ab</s> 12\n\n\xF0\x9F\x98\x80 ##ing";
    fmp_err err = FMP_ERR_INIT;
    fmp_tokenizer *tok = NULL;
    if (fmp_tokenizer_parse((const char *)data, size, "fuzz", &tok, &err) != FMP_OK) {
        if (!*err.message) { abort(); }
        return 0;
    }
    size_t valid = fmp_utf8_invalid_at((const char *)data, size);
    fuzz_encode(tok, text, sizeof text - 1, FMP_TOK_PLAIN);
    fuzz_encode(tok, text, sizeof text - 1, FMP_TOK_SPECIAL | FMP_TOK_TEMPLATE);
    fuzz_encode(tok, (const char *)data, valid < 4096 ? valid : 0, FMP_TOK_SPECIAL);
    fmp_tokenizer_free(tok);
    return 0;
}

#endif
