/*
 * golden.h: a few conversations with the exact text and token ids that training saw, kept beside what was
 * trained.
 *
 * An adapter is only as good as the tokenizer and chat template in front of it. Whoever serves one can
 * render and encode these conversations and compare byte for byte; fmpipe does so before it evaluates or
 * exports.
 *
 * golden.json   {"format": "fmpipe.golden/1", "tokenizer_digest", "template_digest", "template",
 *                "variables"?, "stops"?, "now"?,
 *                "pairs": [{"messages", "tools"?, "response_format"?, "text", "ids"}]}
 *   template    "model": the base model's own; "own": another one, which lies beside as chat_template.jinja
 *   stops       more texts that end an assistant turn
 *   variables   more variables of the template          now   what strftime_now() saw, seconds since 1970
 *   text        the rendering without a generation prompt          ids   its tokens, special tokens included
 */
#ifndef FMPIPE_GOLDEN_H
#define FMPIPE_GOLDEN_H

#include <fmpipe/chat.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FMP_GOLDEN_FILE "golden.json"

/* ---- choosing and writing ---- */
typedef struct fmp_golden fmp_golden;

/* n: how many are kept, at most 64.                                              returned; fmp_golden_free */
FMP_MUST_USE fmp_status fmp_golden_new(size_t n, fmp_golden **out, fmp_err *err);
void fmp_golden_free(fmp_golden *golden);
/*
 * Place of a conversation in the choice, from the SHA-256 of its rendered text: the lowest are kept, so the
 * choice is a function of the conversations and not of their order. Texts above 16 KiB come after all
 * others; UINT64_MAX, which is never kept, is the rank of those above 1 MiB.
 */
uint64_t fmp_golden_rank(const char *text, size_t len);
/* True if a conversation of this rank would be kept now; equal ranks count once. */
bool fmp_golden_wants(const fmp_golden *golden, uint64_t rank);
/*
 * fmp_golden_add: render and encode `doc`, and keep it in place of the one with the highest rank.
 *   doc      canonical conversation; copied without its notes for training ("fmp", "weight")
 *   result   working memory
 * Errors   those of fmp_chat_encode.
 */
FMP_MUST_USE fmp_status fmp_golden_add(fmp_golden *golden, const fmp_chat *chat, const cJSON *doc,
                                       uint64_t rank, fmp_chat_result *result, fmp_err *err);
/* dir/golden.json, in order of rank. opened: how `chat` was opened; its template_ NULL: the model's own. */
FMP_MUST_USE fmp_status fmp_golden_write(const fmp_golden *golden, const fmp_chat *chat,
                                         const fmp_chat_open_options *opened, const char *dir, fmp_err *err);
/*
 * fmp_golden_copy: golden.json from one artifact to what is made from it, with the template if it is an own
 * one. from: a folder without golden.json is no error. What is in `to` already stays.
 */
FMP_MUST_USE fmp_status fmp_golden_copy(const char *from, const char *to, fmp_err *err);

/* ---- checking ---- */
typedef enum fmp_golden_strictness {
    FMP_GOLDEN_TEXTS = 0,  /* texts and ids                                                        */
    FMP_GOLDEN_DIGESTS = 1 /* also the digests: a difference that no golden conversation shows counts */
} fmp_golden_strictness;

/*
 * fmp_golden_check: every conversation of dir/golden.json gives the text and the ids that it says.
 *   n_pairs   how many there are; may be NULL
 * Errors   FMP_E_MISMATCH, which begins "the chat template" or "the tokenizer" and tells the conversation,
 *          the byte or token, expected and found; FMP_E_DATA for a file of another form; FMP_E_IO.
 */
FMP_MUST_USE fmp_status fmp_golden_check(const fmp_chat *chat, const char *dir,
                                         fmp_golden_strictness strictness, size_t *n_pairs, fmp_err *err);
/*
 * fmp_golden_open_chat: the model's tokenizer, and the template that `trained_dir` was trained with,
 * checked against its golden.json with FMP_GOLDEN_DIGESTS.
 *   trained_dir   an adapter's folder; NULL, or one without golden.json: as fmp_chat_open(model_dir, NULL)
 *   out           returned; fmp_chat_free
 */
FMP_MUST_USE fmp_status fmp_golden_open_chat(const char *model_dir, const char *trained_dir, fmp_chat **out,
                                             fmp_err *err);

#ifdef __cplusplus
}
#endif
#endif
