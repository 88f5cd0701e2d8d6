/*
 * tokenizer.h: text to token ids and back, exactly as the Hugging Face `tokenizers` library does it, and the training
 * of new byte-level BPE vocabularies.
 *
 * Source   tokenizer.json (Hugging Face tokenizers 0.13 and later), model kind BPE, byte-level (GPT-2, Qwen, Llama 3,
 *          Falcon, SmolLM) or character-level with byte fallback (Llama 2, Phi-3). Parts that are not supported are
 *          refused by name with their JSON path, never passed over.
 *
 * Two differences from the library, both on purpose:
 *   - Some vocabularies have no token for some characters (Falcon: control characters) and no unk_token; the library
 *     drops those silently. The ids here are the same, and fmp_token_list counts what was dropped.
 *   - An id marked special never comes out of the model itself, only out of a recognised special token
 *     (FMP_TOK_SPECIAL) or the post-processor (FMP_TOK_TEMPLATE). Text from a user is encoded without these flags and
 *     therefore cannot inject a control token. The model's own unk_token is the one exception.
 */
#ifndef FMPIPE_TOKENIZER_H
#define FMPIPE_TOKENIZER_H

#include <fmpipe/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FMP_TOKEN_NONE UINT32_MAX

typedef struct fmp_tokenizer fmp_tokenizer;

/*
 * fmp_tokenizer_load: read a tokenizer.
 *   path   a tokenizer.json, or a folder that holds one; beside it, tokenizer_config.json and special_tokens_map.json
 *          are read for the bos, eos, pad and unk tokens when they exist.                                borrowed
 *   out    immutable from now on, may be used by any number of threads.        returned; fmp_tokenizer_free
 * Errors   FMP_E_IO; FMP_E_DATA with the JSON path, expected and found (wrong type, unknown token in a merge, an id used
 *          twice); FMP_E_RANGE (an id far beyond the number of tokens, more than 4,194,304 tokens, a file over 256 MiB);
 *          FMP_E_UNSUPPORTED for a kind of model, normalizer, pre-tokenizer, post-processor or decoder that is not here.
 * Cost     about 20 ns per byte of the file, mostly JSON; 50,000 tokens: 0.04 s.
 */
FMP_MUST_USE fmp_status fmp_tokenizer_load(const char *path, fmp_tokenizer **out, fmp_err *err);
/* The same from memory, without the files beside. `name` is for messages. text (len), name: borrowed */
FMP_MUST_USE fmp_status fmp_tokenizer_parse(const char *text, size_t len, const char *name, fmp_tokenizer **out,
                                            fmp_err *err);
void fmp_tokenizer_free(fmp_tokenizer *tok);

/* Highest id + 1, added tokens included: the rows an embedding table needs at least. */
uint32_t fmp_tokenizer_size(const fmp_tokenizer *tok);
/* SHA-256 of the bytes of tokenizer.json, 64 hex digits. borrowed */
const char *fmp_tokenizer_digest(const fmp_tokenizer *tok);
/* The token as the file spells it ("Ġthe"), or NULL for an id that no token has. borrowed */
const char *fmp_tokenizer_text(const fmp_tokenizer *tok, uint32_t id);
/* What the token decodes to (" the", perhaps a part of a UTF-8 sequence), or NULL. borrowed */
const char *fmp_tokenizer_bytes(const fmp_tokenizer *tok, uint32_t id, size_t *len);
/* The id of a token as the file spells it, or FMP_TOKEN_NONE. */
uint32_t fmp_tokenizer_id_of(const fmp_tokenizer *tok, const char *text);
/* An added token marked special. False for ids out of range. */
bool fmp_tokenizer_is_special(const fmp_tokenizer *tok, uint32_t id);
/* From the files beside tokenizer.json; FMP_TOKEN_NONE where they name none. */
uint32_t fmp_tokenizer_bos(const fmp_tokenizer *tok);
uint32_t fmp_tokenizer_eos(const fmp_tokenizer *tok);
uint32_t fmp_tokenizer_pad(const fmp_tokenizer *tok);
uint32_t fmp_tokenizer_unk(const fmp_tokenizer *tok);

/* ---- encoding ---- */
typedef enum fmp_tok_flags {
    FMP_TOK_PLAIN = 0,    /* special tokens in the text are text; other added tokens are recognised           */
    FMP_TOK_SPECIAL = 1,  /* special tokens in the text become their ids: only for text the program itself made */
    FMP_TOK_TEMPLATE = 2, /* add what the post-processor adds (bos, eos)                                        */
    FMP_TOK_SKIP_SPECIAL = 4 /* decoding: leave special tokens out                                             */
} fmp_tok_flags;

/*
 * Token ids and the bytes of the input they stand for. {0} is a valid empty list.
 *   ids, begin, end (n)   u32
 * begin[0] is 0 and begin[i] is end[i-1]: the ranges partition the input up to end[n-1]. Where a normalizer changed the
 * text, the first token made from a changed piece has all of the piece's input bytes and the others an empty range;
 * a token for nothing in the input (bos, an inserted space) has an empty range; input that a pre-tokenizer removes
 * belongs to the token after it.
 * n_dropped: bytes that no token stands for, over all texts appended (see the top of this file); normally 0.
 */
typedef struct fmp_token_list {
    uint32_t *ids;
    uint32_t *begin;
    uint32_t *end;
    size_t n;
    size_t cap;
    size_t n_dropped;
} fmp_token_list;

void fmp_token_list_free(fmp_token_list *list);

/*
 * Working memory of one encoding thread: buffers and a cache of recent words (1 MiB). Belongs to one tokenizer: when
 * given to another, it starts afresh. NULL when out of memory.                       returned; fmp_tok_scratch_free
 */
typedef struct fmp_tok_scratch fmp_tok_scratch;
fmp_tok_scratch *fmp_tok_scratch_new(void);
void fmp_tok_scratch_free(fmp_tok_scratch *scratch);

/*
 * fmp_tokenizer_encode: append the tokens of a text to `out`.
 *   text (len)  valid UTF-8, at most 512 MiB                                                            borrowed
 *   scratch     used by one thread at a time
 *   flags       fmp_tok_flags, or'ed
 *   out         offsets count from the start of this text; on an error `out` has the tokens it had before
 * Errors   FMP_E_DATA with the byte offset: invalid UTF-8; FMP_E_RANGE: text too long, or the pre-token pattern exceeded
 *          its match limit; FMP_E_NOMEM.
 * When     any thread; `tok` is only read.
 * Cost     O(len); a single word of w bytes O(w log w).
 */
FMP_MUST_USE fmp_status fmp_tokenizer_encode(const fmp_tokenizer *tok, fmp_tok_scratch *scratch, const char *text,
                                             size_t len, unsigned flags, fmp_token_list *out, fmp_err *err);

/* ---- decoding ---- */
/*
 * fmp_tokenizer_decode: append the exact bytes of the tokens to `out`; the result can be invalid UTF-8 when the ids are
 * not the tokens of a text. flags: 0 or FMP_TOK_SKIP_SPECIAL.
 * Errors   FMP_E_RANGE for an id that no token has; FMP_E_NOMEM.
 */
FMP_MUST_USE fmp_status fmp_tokenizer_decode(const fmp_tokenizer *tok, const uint32_t *ids, size_t n, unsigned flags,
                                             fmp_buf *out, fmp_err *err);

/*
 * Streaming and UTF-8-safe: each push appends whole characters only and keeps the rest; bytes that can no longer become
 * a character turn into U+FFFD, one for each maximal part (as the Unicode standard recommends, and Python's
 * errors="replace"). {0} is the start of a text.
 */
typedef struct fmp_tok_stream {
    unsigned char pending[4];
    uint8_t n_pending;
    bool started;
} fmp_tok_stream;

FMP_MUST_USE fmp_status fmp_tok_stream_push(const fmp_tokenizer *tok, fmp_tok_stream *stream, uint32_t id,
                                            unsigned flags, fmp_buf *out, fmp_err *err);
/* The end of the text: an unfinished character becomes U+FFFD; the stream is ready for the next text. */
FMP_MUST_USE fmp_status fmp_tok_stream_end(fmp_tok_stream *stream, fmp_buf *out, fmp_err *err);

/* ---- training ---- */
/*
 * What fm-tiny uses: a word is cut the same way wherever it stands, because neither a space nor a sign before it belongs to
 * it, and Han and kana go one by one. Copying a value from a sentence into JSON is then copying its tokens, which is what a
 * small model can learn; the price is a token for each space.
 */
#define FMP_TOK_CJK_ "[\\x{3040}-\\x{30FF}\\x{3400}-\\x{4DBF}\\x{4E00}-\\x{9FFF}]"
#define FMP_TOK_PATTERN_FM                                                                                             \
    FMP_TOK_CJK_ "|(?:(?!" FMP_TOK_CJK_ ")[\\p{L}\\p{M}])+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+|\\s"
/* GPT-2's pattern, the one a ByteLevel pre-tokenizer with use_regex has built in. */
#define FMP_TOK_PATTERN_GPT2                                                                                           \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

typedef struct fmp_tok_train_options {
    uint32_t vocab_size;         /* special tokens + 256 bytes + merges; fewer if the texts run out of pairs */
    const char *const *special;  /* (n_special) ids 0.., in this order; cut out of the texts     borrowed     */
    uint32_t n_special;
    const char *pattern;         /* NULL: FMP_TOK_PATTERN_FM                                     borrowed     */
    uint64_t min_count;          /* a pair must occur this often to be merged; 0: 1                           */
    const char *bos, *eos, *pad; /* for tokenizer_config.json, each one of `special` or NULL     borrowed     */
} fmp_tok_train_options;

/* One text after the other: *text (borrowed until the next call), or *text = NULL at the end. */
typedef fmp_status (*fmp_tok_text_fn)(void *arg, const char **text, size_t *len, fmp_err *err);

/*
 * fmp_tokenizer_train: learn byte-level BPE merges and write tokenizer.json and tokenizer_config.json into `dir`
 * (created if need be), in the layout that `tokenizers` and `transformers` load.
 * Each step merges the most frequent pair of neighbouring tokens; of equally frequent pairs the one whose bytes are
 * greatest (left token first, then right). The result depends on the multiset of texts only, not on their order.
 * Ids: special tokens, the 256 bytes in the order of their GPT-2 characters, merges.
 * Errors   FMP_E_RANGE: vocab_size below n_special + 256 or above 1,000,000; FMP_E_CONFIG: an empty or repeated special
 *          token, bos/eos/pad not among them, a pattern that does not compile; what `next` and the file system raise.
 * When     any thread.
 * Cost     O(text) for counting words, then about O(distinct words · word length) in all; memory for distinct words.
 * Source   Sennrich et al. 2016, on bytes (Radford et al. 2019).
 */
FMP_MUST_USE fmp_status fmp_tokenizer_train(const fmp_tok_train_options *options, fmp_tok_text_fn next, void *arg,
                                            const char *dir, fmp_err *err);

#ifdef __cplusplus
}
#endif
#endif
