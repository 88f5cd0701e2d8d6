/*
 * tokenizer_llama2c.c: the tokenizer.bin of llama2.c: the length of the longest token, then for each token its score (f32),
 * its length (i32) and its bytes, all little-endian, to the end of the file.
 *
 * It is a SentencePiece BPE vocabulary whose U+2581 was written as a space: ids 0, 1, 2 are <unk>, <s>, </s>, ids 3..258
 * the bytes. A text gets one space in front, as llama2.c does it.
 */
#include "tokenizer_impl.h"

#include <math.h>

#define N_FIXED 259u /* unknown, begin, end, bytes */

typedef struct record {
    float score;
    uint32_t len;
    const char *text;
} record;

static uint32_t get_u32(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The record at *at, which moves behind it; false where there is no whole one. */
static bool next_record(const char *text, size_t len, size_t *at, uint32_t max_len, record *out)
{
    if (len - *at < 8) { return false; }
    uint32_t bits = get_u32(text + *at);
    memcpy(&out->score, &bits, sizeof out->score);
    out->len = get_u32(text + *at + 4);
    if (out->len == 0 || out->len > max_len || out->len > len - *at - 8) { return false; }
    out->text = text + *at + 8;
    *at += 8 + (size_t)out->len;
    return isfinite(out->score);
}

/* Number of records if the whole file consists of them, else 0. */
static size_t count_records(const char *text, size_t len)
{
    uint32_t max_len = len >= 4 ? get_u32(text) : 0;
    size_t n = 0, at = 4;
    record r;
    if (max_len == 0 || max_len > 65536) { return 0; }
    while (at < len) {
        if (!next_record(text, len, &at, max_len, &r)) { return 0; }
        if (n == 3 && (r.len != 6 || memcmp(r.text, "<0x00>", 6) != 0)) { return 0; }
        n++;
    }
    return n > N_FIXED ? n : 0;
}

bool tk_is_llama2c(const char *text, size_t len)
{
    return count_records(text, len) > 0;
}

static fmp_status put_records(fmp_tokenizer *tok, const char *text, size_t len, float *score,
                              uint8_t *takes_part, fmp_err *err)
{
    static const char *const fixed[] = {"<unk>", "<s>", "</s>"};
    record r;
    size_t at = 4;
    for (uint32_t id = 0; id < tok->size && next_record(text, len, &at, get_u32(text), &r); id++) {
        const char *name = id < 3 ? fixed[id] : r.text; /* written with line ends around */
        size_t n = id < 3 ? strlen(name) : r.len;
        if (fmp_utf8_invalid_at(name, n) < n) {
            return fmp_fail(err, FMP_E_DATA, "llama2.c tokenizer: token %u: expected UTF-8", id);
        }
        FMP_TRY(tk_vocab_add(tok, name, n, id, "llama2.c tokenizer", err));
        tok->in_model[id] = id >= 3;
        score[id] = r.score;
        takes_part[id] = id >= N_FIXED;
    }
    return FMP_OK;
}

fmp_status tk_read_llama2c(fmp_tokenizer *tok, const char *text, size_t len, fmp_err *err)
{
    size_t n = count_records(text, len);
    tk_norm *step = NULL;
    uint32_t *rank = NULL;
    if (n == 0 || n > TK_MAX_TOKENS) {
        return fmp_fail(err, FMP_E_RANGE, "llama2.c tokenizer: %zu tokens", n);
    }
    FMP_TRY(tk_vocab_init(tok, n, err));
    float *score = fmp_arena_take_zero(tok->arena, n, sizeof *score);
    uint8_t *takes_part = fmp_arena_take_zero(tok->arena, n, 1);
    FMP_TRY(fmp_arena_ok(tok->arena, err));
    FMP_TRY(put_records(tok, text, len, score, takes_part, err));
    FMP_TRY(tk_added_init(tok, 3, err));
    for (uint32_t id = 0; id < 3; id++) {
        tk_added_put(tok, id, true, false, false);
    }
    tok->byte_fallback = tok->decode.byte_fallback = true;
    tok->unk_model = tok->unk = 0;
    tok->bos = 1;
    tok->eos = 2;
    tk_fill_bytes(tok);
    FMP_TRY(tk_add_norm(tok, TK_NORM_SPM, "llama2.c tokenizer", &step, err));
    step->spm = (tk_spm_rules){.dummy_prefix = true};
    FMP_TRY(tk_ranks_of_scores(tok, score, takes_part, &rank, err));
    FMP_TRY(tk_merges_of_ranks(tok, rank, err));
    tok->decode.strip = ' ';
    tok->decode.n_strip = 1;
    FMP_TRY(
        tk_put_template(tok, true, tok->bos, false, tok->eos, err)); /* llama2.c begins every text with <s> */
    return tk_complete(tok, err);
}
