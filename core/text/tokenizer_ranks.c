/*
 * tokenizer_ranks.c: tiktoken's rank files: a line for each token, its bytes in base64 and its rank, which is its id.
 *
 * The file says neither how text is split nor which special tokens there are; both follow from which vocabulary it is, and
 * that from the number of its ranks. Two tokens merge if their bytes together are a token, in the order of its rank; a
 * word that is a token is taken whole.
 * Source   tiktoken's definitions of its encodings; Llama 3 and Qwen as their publishers load such files.
 */
#include "tokenizer_impl.h"
#include "tokenizer_patterns.h"

#include <stdlib.h>

#define CL100K                                                                                               \
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}| "                                    \
    "?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s"

typedef struct named {
    const char *text;
    uint32_t id;
} named;

/* Llama 3 and Kimi have 256 special tokens in a row behind the ranks: those named here, the others reserved. */
#define N_ROW 256u

static const struct family {
    const char *name;
    uint32_t n_ranks;
    const char *pattern;
    named special[34];
    const char *bos, *eos;
    const char *reserved; /* name of the others in the row, of which %u is the number */
    bool by_id;           /* that number is the token's id; else they are counted      */
} families[] = {
    {"gpt2", 50256, FMP_TOK_PATTERN_GPT2, {{"<|endoftext|>", 50256}}, NULL, "<|endoftext|>", NULL, false},
    {"p50k", 50280, FMP_TOK_PATTERN_GPT2, {{"<|endoftext|>", 50256}}, NULL, "<|endoftext|>", NULL, false},
    {"cl100k",
     100256,
     CL100K,
     {{"<|endoftext|>", 100257},
      {"<|fim_prefix|>", 100258},
      {"<|fim_middle|>", 100259},
      {"<|fim_suffix|>", 100260},
      {"<|endofprompt|>", 100276}},
     NULL,
     "<|endoftext|>",
     NULL,
     false},
    {"o200k",
     199998,
     O200K,
     {{"<|endoftext|>", 199999}, {"<|endofprompt|>", 200018}},
     NULL,
     "<|endoftext|>",
     NULL,
     false},
    {"llama3",
     128000,
     LLAMA3,
     {{"<|begin_of_text|>", 128000},
      {"<|end_of_text|>", 128001},
      {"<|finetune_right_pad_id|>", 128004},
      {"<|start_header_id|>", 128006},
      {"<|end_header_id|>", 128007},
      {"<|eom_id|>", 128008},
      {"<|eot_id|>", 128009},
      {"<|python_tag|>", 128010}},
     "<|begin_of_text|>",
     "<|end_of_text|>",
     "<|reserved_special_token_%u|>",
     false},
    {"kimi",
     163584,
     KIMI,
     {{"[BOS]", 163584},
      {"[EOS]", 163585},
      {"<|im_end|>", 163586},
      {"<|im_user|>", 163587},
      {"<|im_assistant|>", 163588},
      {"<|start_header_id|>", 163590},
      {"<|end_header_id|>", 163591},
      {"[EOT]", 163593},
      {"<|im_system|>", 163594},
      {"<|tool_calls_section_begin|>", 163595},
      {"<|tool_calls_section_end|>", 163596},
      {"<|tool_call_begin|>", 163597},
      {"<|tool_call_argument_begin|>", 163598},
      {"<|tool_call_end|>", 163599},
      {"<|im_middle|>", 163601},
      {"[UNK]", 163838},
      {"[PAD]", 163839}},
     "[BOS]",
     "[EOS]",
     "<|reserved_token_%u|>",
     true},
    {"qwen",
     151643,
     QWEN2,
     {{"<|endoftext|>", 151643}, {"<|im_start|>", 151644}, {"<|im_end|>", 151645}},
     NULL,
     "<|endoftext|>",
     NULL,
     false},
    {"qwen3.5",
     248044,
     QWEN35,
     {{"<|endoftext|>", 248044},
      {"<|im_start|>", 248045},
      {"<|im_end|>", 248046},
      {"<|object_ref_start|>", 248047},
      {"<|object_ref_end|>", 248048},
      {"<|box_start|>", 248049},
      {"<|box_end|>", 248050},
      {"<|quad_start|>", 248051},
      {"<|quad_end|>", 248052},
      {"<|vision_start|>", 248053},
      {"<|vision_end|>", 248054},
      {"<|vision_pad|>", 248055},
      {"<|image_pad|>", 248056},
      {"<|video_pad|>", 248057},
      {"<tool_call>", 248058},
      {"</tool_call>", 248059},
      {"<|fim_prefix|>", 248060},
      {"<|fim_middle|>", 248061},
      {"<|fim_suffix|>", 248062},
      {"<|fim_pad|>", 248063},
      {"<|repo_name|>", 248064},
      {"<|file_sep|>", 248065},
      {"<tool_response>", 248066},
      {"</tool_response>", 248067},
      {"<think>", 248068},
      {"</think>", 248069},
      {"<|audio_start|>", 248070},
      {"<|audio_end|>", 248071},
      {"<tts_pad>", 248072},
      {"<tts_text_bos>", 248073},
      {"<tts_text_eod>", 248074},
      {"<tts_text_bos_single>", 248075},
      {"<|audio_pad|>", 248076}},
     NULL,
     "<|endoftext|>",
     NULL,
     false},
};

/* ---- lines ---- */
typedef struct line {
    const char *code; /* base64 */
    size_t code_len;
    uint32_t rank;
} line;

/* The line at *at, which moves behind it; false: not of the form. A rank has at most seven digits. */
static bool next_line(const char *text, size_t len, size_t *at, line *out)
{
    size_t i = *at, digits = 0;
    while (i < len && text[i] > ' ') {
        i++;
    }
    *out = (line){text + *at, i - *at, 0};
    if (i == *at || i == len || text[i] != ' ') { return false; }
    for (i++; i < len && text[i] >= '0' && text[i] <= '9' && digits < 8; i++, digits++) {
        out->rank = out->rank * 10 + (uint32_t)(text[i] - '0');
    }
    if (i < len && text[i] == '\r') { i++; }
    if (digits == 0 || digits > 7 || (i < len && text[i] != '\n')) { return false; }
    *at = i < len ? i + 1 : i;
    return true;
}

bool tk_is_ranks(const char *text, size_t len)
{
    size_t at = 0;
    line first;
    fmp_buf bytes = {0};
    bool yes = next_line(text, len, &at, &first) && first.rank < TK_MAX_TOKENS &&
               tk_base64(first.code, first.code_len, "ranks", &bytes, NULL) == FMP_OK && bytes.len > 0;
    fmp_buf_free(&bytes);
    return yes;
}

static fmp_status bad_line(const char *text, size_t at, fmp_err *err)
{
    uint32_t number = 1;
    for (size_t i = 0; i < at; i++) {
        number += text[i] == '\n';
    }
    fmp_status status =
        fmp_fail(err, FMP_E_DATA, "tiktoken ranks: line %u: expected base64, a space and a rank below %zu",
                 number, TK_MAX_TOKENS);
    (void)fmp_err_at(err, NULL, number, 1, at);
    return status;
}

static fmp_status count_lines(const char *text, size_t len, uint32_t *n, uint32_t *max, fmp_err *err)
{
    line l;
    *n = *max = 0;
    for (size_t at = 0; at < len;) {
        size_t before = at;
        if (!next_line(text, len, &at, &l) || l.rank >= TK_MAX_TOKENS) { return bad_line(text, before, err); }
        if (l.rank > *max) { *max = l.rank; }
        ++*n;
    }
    return FMP_OK;
}

static fmp_status find_family(uint32_t n, uint32_t max, const struct family **out, fmp_err *err)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (families[i].n_ranks == n && max <= n) {
            *out = &families[i];
            return FMP_OK;
        }
    }
    fmp_status status = fmp_fail(err, FMP_E_UNSUPPORTED,
                                 "tiktoken ranks: a vocabulary of %u ranks is not known, and the "
                                 "file does not say how text is split",
                                 n);
    (void)fmp_err_hint(
        err, "known are gpt2 and r50k (50256), p50k (50280), cl100k (100256), o200k (199998), Llama 3 "
             "(128000), Kimi (163584), Qwen (151643) and Qwen 3.5 (248044); for others use the model's "
             "tokenizer.json");
    return status;
}

/* Tokens on their way into the vocabulary, spelled in GPT-2's alphabet as tokenizer.json does it. */
typedef struct spelled {
    fmp_buf text;
    size_t end[TK_AHEAD];
    uint32_t rank[TK_AHEAD], n;
} spelled;

static fmp_status spell_line(const fmp_tokenizer *tok, const line *l, fmp_buf *bytes, spelled *to,
                             fmp_err *err)
{
    bytes->len = 0;
    FMP_TRY(tk_base64(l->code, l->code_len, "tiktoken ranks", bytes, err));
    for (size_t i = 0; i < bytes->len; i++) {
        char utf8[4];
        fmp_buf_add(&to->text, utf8, tk_utf8_put(tok->char_of_byte[(unsigned char)bytes->data[i]], utf8));
    }
    FMP_TRY(fmp_buf_ok(&to->text, err));
    if (bytes->len == 0) { return fmp_fail(err, FMP_E_DATA, "tiktoken ranks: rank %u is empty", l->rank); }
    to->rank[to->n] = l->rank;
    to->end[to->n++] = to->text.len;
    return FMP_OK;
}

static fmp_status put_spelled(fmp_tokenizer *tok, spelled *all, uint32_t *rank, fmp_err *err)
{
    size_t at = 0;
    for (uint32_t i = 0; i < all->n; at = all->end[i++]) {
        tk_vocab_fetch(tok, all->text.data + at, all->end[i] - at);
    }
    at = 0;
    for (uint32_t i = 0; i < all->n; at = all->end[i++]) {
        uint32_t id = all->rank[i];
        FMP_TRY(tk_vocab_add(tok, all->text.data + at, all->end[i] - at, id, "tiktoken ranks", err));
        tok->in_model[id] = 1;
        rank[id] = id;
    }
    all->n = 0;
    all->text.len = 0;
    return FMP_OK;
}

static fmp_status put_ranks(fmp_tokenizer *tok, const char *text, size_t len, uint32_t *rank, fmp_err *err)
{
    fmp_buf bytes = {0};
    spelled some = {.n = 0};
    fmp_status status = FMP_OK;
    line l;
    for (size_t at = 0; at < len && status == FMP_OK && next_line(text, len, &at, &l);) {
        status = spell_line(tok, &l, &bytes, &some, err);
        if (status == FMP_OK && some.n == TK_AHEAD) { status = put_spelled(tok, &some, rank, err); }
    }
    if (status == FMP_OK) { status = put_spelled(tok, &some, rank, err); }
    fmp_buf_free(&bytes);
    fmp_buf_free(&some.text);
    return status;
}

static fmp_status put_special(fmp_tokenizer *tok, const char *text, uint32_t id, fmp_err *err)
{
    FMP_TRY(tk_vocab_add(tok, text, strlen(text), id, "tiktoken ranks", err));
    tk_added_put(tok, id, true, false, false);
    return FMP_OK;
}

static fmp_status put_specials(fmp_tokenizer *tok, const struct family *f, fmp_err *err)
{
    uint32_t counted = 0;
    FMP_TRY(tk_added_init(tok, N_ROW, err));
    for (const named *s = f->special; s->text; s++) {
        FMP_TRY(put_special(tok, s->text, s->id, err));
    }
    for (uint32_t id = f->n_ranks; f->reserved && id < f->n_ranks + N_ROW; id++) {
        char name[48];
        if (tok->tokens[id].text) { continue; }
        size_t before = (size_t)(strchr(f->reserved, '%') - f->reserved);
        snprintf(name, sizeof name, "%.*s%u%s", (int)before, f->reserved, f->by_id ? id : counted++,
                 f->reserved + before + 2);
        FMP_TRY(put_special(tok, name, id, err));
    }
    return FMP_OK;
}

fmp_status tk_read_ranks(fmp_tokenizer *tok, const char *text, size_t len, fmp_err *err)
{
    const struct family *f = NULL;
    uint32_t n = 0, max = 0;
    FMP_TRY(count_lines(text, len, &n, &max, err));
    FMP_TRY(find_family(n, max, &f, err));
    for (const named *s = f->special; s->text; s++) {
        max = s->id > max ? s->id : max;
    }
    if (f->reserved) { max = f->n_ranks + N_ROW - 1; }
    FMP_TRY(tk_vocab_init(tok, (size_t)max + 1, err));
    uint32_t *rank = fmp_arena_take(tok->arena, ((size_t)max + 1) * sizeof *rank);
    FMP_TRY(fmp_arena_ok(tok->arena, err));
    memset(rank, 0xFF, ((size_t)max + 1) * sizeof *rank);
    for (unsigned b = 0; b < 256; b++) {
        tok->char_of_byte[b] = (uint16_t)tk_char_of_byte(b);
    }
    FMP_TRY(put_ranks(tok, text, len, rank, err));
    FMP_TRY(put_specials(tok, f, err));
    tok->model = TK_BPE;
    tok->byte_level = tok->ignore_merges = tok->decode.byte_level = true;
    tk_fill_bytes(tok);
    FMP_TRY(tk_merges_of_ranks(tok, rank, err));
    FMP_TRY(tk_add_pattern(tok, f->pattern, false, TK_ISOLATED, false, "tiktoken ranks", err));
    tok->bos = f->bos ? fmp_tokenizer_id_of(tok, f->bos) : FMP_TOKEN_NONE;
    tok->eos = fmp_tokenizer_id_of(tok, f->eos);
    return tk_complete(tok, err);
}
