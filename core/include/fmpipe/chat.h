/*
 * chat.h: a conversation to token ids and loss weights in one call: template, tokenizer and mask together, so that
 * nobody adds a second BOS, parses a user's text for control tokens, or trains what would not be generated.
 */
#ifndef FMPIPE_CHAT_H
#define FMPIPE_CHAT_H

#include <fmpipe/chat_template.h>
#include <fmpipe/tokenizer.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A model folder's tokenizer and chat template; immutable, for any number of threads. */
typedef struct fmp_chat fmp_chat;

/*
 * fmp_chat_open: read them from a Hugging Face folder.
 *   dir        tokenizer.json and the files beside it; stop tokens: its eos_token, and eos_token_id of generation_config.json
 *   template_  NULL: chat_template.jinja, else chat_template of tokenizer_config.json; else the name of a built-in one
 *              ("fm-chat") or the path of a file
 *   out        returned; fmp_chat_free
 * Errors   FMP_E_CONFIG: no template, no stop token, with what to do; else those of tokenizer.h and chat_template.h.
 */
FMP_MUST_USE fmp_status fmp_chat_open(const char *dir, const char *template_, fmp_chat **out, fmp_err *err);
void fmp_chat_free(fmp_chat *chat);
const fmp_tokenizer *fmp_chat_tokenizer(const fmp_chat *chat);   /* borrowed */
const char *fmp_chat_template_text(const fmp_chat *chat);        /* borrowed */
const char *fmp_chat_template_digest(const fmp_chat *chat);      /* SHA-256, 64 hex digits; borrowed */
/* Ids that end a turn, n of them. borrowed */
const uint32_t *fmp_chat_stops(const fmp_chat *chat, size_t *n);

typedef struct fmp_chat_options {
    size_t n_messages;      /* render this many; 0: all                                                   */
    bool generation_prompt; /* end with what comes before an assistant's answer                           */
    bool supervise;         /* fill weight                                                                */
    bool all_text;          /* supervise everything but the first token: pre-training                     */
    float context_weight;   /* all_text: loss weight of what is no assistant turn, which has 1; 0: 1      */
    fmp_mask_policy policy;
} fmp_chat_options;

/*
 * One thread's working memory, and the result of its last call.
 *   tokens          ids and the bytes of `rendered.text` each stands for
 *   weight (n)      loss weight of predicting the token; 0: not supervised. A message's "weight" multiplies it; tokens inside
 *                   its "fmp": {"forced": [[begin, end], …], "forced_weight": w} byte ranges of the content get w.
 *   n_supervised    tokens with weight > 0          n_straddling   tokens cut by a mask bound, left unsupervised
 *   n_control_text  control-token spellings found in content and encoded as plain text
 */
typedef struct fmp_chat_result {
    fmp_token_list tokens;
    float *weight;
    size_t weight_cap;
    size_t n_supervised, n_straddling, n_control_text;
    fmp_rendered rendered;
    fmp_arena *arena;
    fmp_tok_scratch *scratch;
} fmp_chat_result;

FMP_MUST_USE fmp_status fmp_chat_result_init(fmp_chat_result *result, fmp_err *err);
void fmp_chat_result_free(fmp_chat_result *result);

/*
 * fmp_chat_encode: render and encode one canonical conversation.
 *   doc   borrowed
 * The text is cut at special tokens that lie in template text only (a well-known role may be a part of one); everything
 * between them is encoded in one piece, as `transformers` would, with special tokens off.
 * Errors   those of rendering; FMP_E_DATA "no supervised token" when supervise is set and nothing is; FMP_E_MISMATCH as
 *          fmp_chat_mask. All concern this conversation only.
 * When     any thread; one result is used by one thread at a time.
 */
FMP_MUST_USE fmp_status fmp_chat_encode(const fmp_chat *chat, const cJSON *doc, const fmp_chat_options *options,
                                        fmp_chat_result *result, fmp_err *err);

#ifdef __cplusplus
}
#endif
#endif
