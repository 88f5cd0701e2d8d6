/*
 * tokenizer.h: text to token ids and back, exactly as the libraries do it that the files come from, and the training of
 * new byte-level BPE vocabularies.
 *
 * Models   byte-level and character-level BPE, Unigram, WordPiece, WordLevel; one encoder each, whatever the file.
 * Files    tokenizer.json (Hugging Face tokenizers 0.9 and later); SentencePiece .model; tiktoken ranks of gpt2, r50k,
 *          p50k, cl100k, o200k, Llama 3, Kimi, Qwen and Qwen 3.5; GGUF vocabularies llama, gpt2, bert and t5; llama2.c's tokenizer.bin;
 *          GPT-2's vocab.json with merges.txt. Parts that are not supported are refused by name with their place, never
 *          passed over.
 * Same ids as   tokenizers 0.23, sentencepiece 0.2.3, tiktoken 0.14, llama.cpp of February 2025; tests/parity compares.
 *
 * Differences from these libraries, all on purpose:
 *   - Some vocabularies have no token for some characters (Falcon: control characters) and no unk_token; the library
 *     drops those silently. The ids here are the same, and fmp_token_list counts what was dropped.
 *   - An id marked special (in SentencePiece and GGUF files a control piece) never comes out of the model itself, only out
 *     of a recognised special token (FMP_TOK_SPECIAL) or the template (FMP_TOK_TEMPLATE). Text from a user is encoded
 *     without these flags and therefore cannot inject a control token. The model's own unk_token is the one exception.
 *   - With FMP_TOK_SPECIAL the text between special tokens of a SentencePiece or GGUF vocabulary is normalized piece by
 *     piece, each with its own space in front where the model wants one, as llama.cpp does it.
 *   - An added token decodes to its own text. The tokenizers library runs that text through the decoder, and through the
 *     normalizer where it is marked normalized, which can change it (a U+2581 in it becomes a space).
 *   - GGUF vocabularies of kind bert treat text as llama.cpp does, which keeps marks that follow a letter by themselves.
 *   - Where a library's tables are of another version of Unicode than ICU's and PCRE2's here, characters newer than the
 *     older of the two may be split differently.
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
 * fmp_tokenizer_load: read a tokenizer, whose kind is told from its content.
 *   path   a file of one of the kinds above, or a folder with one: tokenizer.json if it is there, else tokenizer.model and
 *          its other usual names, else the only *.tiktoken, *.model, *.gguf or vocab.json. Beside the file,
 *          tokenizer_config.json and special_tokens_map.json are read for the bos, eos, pad and unk tokens that the file
 *          itself does not name.                                                                           borrowed
 *   out    immutable from now on, may be used by any number of threads.        returned; fmp_tokenizer_free
 * Errors   FMP_E_IO; FMP_E_DATA with the JSON path or the byte offset, expected and found (wrong type, unknown token in a
 *          merge, an id used twice, a length beyond the end); FMP_E_RANGE (an id far beyond the number of tokens, more than
 *          4,194,304 tokens, a file over 256 MiB, GGUF tensors not counted); FMP_E_UNSUPPORTED for a kind of model,
 *          normalizer, pre-tokenizer, post-processor, decoder or GGUF pre-tokenizer that is not here.
 * Cost     about 0.6 µs a token with its merge; vocabularies of ranks, whose merges are worked out, half as much again.
 */
FMP_MUST_USE fmp_status fmp_tokenizer_load(const char *path, fmp_tokenizer **out, fmp_err *err);
/* The file that fmp_tokenizer_load reads. On the heap, to be freed. */
FMP_MUST_USE fmp_status fmp_tokenizer_file(const char *path, char **out, fmp_err *err);
/* fmp_tokenizer_load from memory, without the files beside. `name` is for messages. text (len), name: borrowed */
FMP_MUST_USE fmp_status fmp_tokenizer_parse(const char *text, size_t len, const char *name,
                                            fmp_tokenizer **out, fmp_err *err);
void fmp_tokenizer_free(fmp_tokenizer *tok);

/*
 * fmp_tokenizer_copy: copy the files that a folder's tokenizer and chat template are read from, and generation_config.json
 * (stop tokens), into another folder; one that is there already stays. Of a .gguf, which may hold weights too, what
 * comes before its tensors, as tokenizer.gguf: the same tokenizer, digest and all.
 *   from, to   folders; `from` may also be a file, of which nothing but a .gguf is copied      borrowed
 *   found      whether a file with a vocabulary is in `to` now; or NULL
 * Errors   FMP_E_IO; FMP_E_NOMEM.
 */
FMP_MUST_USE fmp_status fmp_tokenizer_copy(const char *from, const char *to, bool *found, fmp_err *err);

/* Highest id + 1, added tokens included: the rows an embedding table needs at least. */
uint32_t fmp_tokenizer_size(const fmp_tokenizer *tok);
/* SHA-256 of the bytes of the file (GGUF: of all before the tensors' descriptions, as of none), 64 hex digits. borrowed */
const char *fmp_tokenizer_digest(const fmp_tokenizer *tok);
/* The token as the file spells it ("Ġthe", "▁the"), or NULL for an id that no token has; tiktoken's in GPT-2's alphabet. borrowed */
const char *fmp_tokenizer_text(const fmp_tokenizer *tok, uint32_t id);
/* What the token decodes to (" the", perhaps a part of a UTF-8 sequence), or NULL. borrowed */
const char *fmp_tokenizer_bytes(const fmp_tokenizer *tok, uint32_t id, size_t *len);
/* The id of a token as the file spells it, or FMP_TOKEN_NONE. */
uint32_t fmp_tokenizer_id_of(const fmp_tokenizer *tok, const char *text);
/* An added token marked special. False for ids out of range. */
bool fmp_tokenizer_is_special(const fmp_tokenizer *tok, uint32_t id);
/* From the file or those beside it; FMP_TOKEN_NONE where they name none. */
uint32_t fmp_tokenizer_bos(const fmp_tokenizer *tok);
uint32_t fmp_tokenizer_eos(const fmp_tokenizer *tok);
uint32_t fmp_tokenizer_pad(const fmp_tokenizer *tok);
uint32_t fmp_tokenizer_unk(const fmp_tokenizer *tok);

/* ---- encoding ---- */
typedef enum fmp_tok_flags {
    FMP_TOK_PLAIN = 0, /* special tokens in the text are text; other added tokens are recognised           */
    FMP_TOK_SPECIAL =
        1, /* special tokens in the text become their ids: only for text the program itself made */
    FMP_TOK_TEMPLATE =
        2, /* add what the post-processor adds (bos, eos)                                        */
    FMP_TOK_SKIP_SPECIAL =
        4 /* decoding: leave special tokens out                                             */
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
 * Working memory of one encoding thread: buffers and caches of recent words (1.3 MiB). Belongs to one tokenizer: when
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
 * Cost     O(len); a single word of w bytes O(w), or O(w log w) where it has to be merged, Unigram O(w · longest piece).
 */
FMP_MUST_USE fmp_status fmp_tokenizer_encode(const fmp_tokenizer *tok, fmp_tok_scratch *scratch,
                                             const char *text, size_t len, unsigned flags,
                                             fmp_token_list *out, fmp_err *err);
/*
 * fmp_tokenizer_encode_where: the same, but bytes [begin, end) that spell the added token `id` become that token only
 * where `allow` says so; else they are text, encoded with the text around them. For text of which only some may be trusted.
 *   allow   called for each such spelling, not always in the order of the text; NULL: all are allowed
 *   arg     handed to it                                                                                  borrowed
 */
typedef bool (*fmp_tok_allow)(void *arg, uint32_t id, size_t begin, size_t end);
FMP_MUST_USE fmp_status fmp_tokenizer_encode_where(const fmp_tokenizer *tok, fmp_tok_scratch *scratch,
                                                   const char *text, size_t len, unsigned flags,
                                                   fmp_tok_allow allow, void *arg, fmp_token_list *out,
                                                   fmp_err *err);

/* ---- decoding ---- */
/*
 * fmp_tokenizer_decode: append the exact bytes of the tokens to `out`; the result can be invalid UTF-8 when the ids are
 * not the tokens of a text. flags: 0 or FMP_TOK_SKIP_SPECIAL.
 * Errors   FMP_E_RANGE for an id that no token has; FMP_E_NOMEM.
 */
FMP_MUST_USE fmp_status fmp_tokenizer_decode(const fmp_tokenizer *tok, const uint32_t *ids, size_t n,
                                             unsigned flags, fmp_buf *out, fmp_err *err);

/*
 * Streaming and UTF-8-safe: each push appends whole characters only and keeps the rest; bytes that can no longer become
 * a character turn into U+FFFD, one for each maximal part (as the Unicode standard recommends, and Python's
 * errors="replace"). {0} is the start of a text.
 */
typedef struct fmp_tok_stream {
    unsigned char pending[4];
    uint8_t n_pending;
    bool started;
    bool held; /* a space that the next token brings out */
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
#define FMP_TOK_PATTERN_FM                                                                                   \
    FMP_TOK_CJK_ "|(?:(?!" FMP_TOK_CJK_ ")[\\p{L}\\p{M}])+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+|\\s"
/* GPT-2's pattern, the one a ByteLevel pre-tokenizer with use_regex has built in. */
#define FMP_TOK_PATTERN_GPT2                                                                                 \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

typedef struct fmp_tok_train_options {
    uint32_t vocab_size; /* special tokens + 256 bytes + merges; fewer if the texts run out of pairs */
    const char *const
        *special; /* (n_special) ids 0.., in this order; cut out of the texts     borrowed     */
    uint32_t n_special;
    const char *pattern; /* NULL: FMP_TOK_PATTERN_FM                                     borrowed     */
    uint64_t min_count;  /* a pair must occur this often to be merged; 0: 1                           */
    const char *bos, *eos,
        *pad; /* for tokenizer_config.json, each one of `special` or NULL     borrowed     */
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
FMP_MUST_USE fmp_status fmp_tokenizer_train(const fmp_tok_train_options *options, fmp_tok_text_fn next,
                                            void *arg, const char *dir, fmp_err *err);

#ifdef __cplusplus
}
#endif
#endif
