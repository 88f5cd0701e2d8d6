/*
 * chat.h: a conversation to token ids and loss weights in one call: template, tokenizer and mask together,
 * so that nobody adds a second BOS, parses a user's text for control tokens, or trains what would not be
 * generated.
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
 *   dir        tokenizer.json and the files beside it; stop tokens: its eos_token, and eos_token_id of
 *              generation_config.json
 *   template_  NULL: the folder's own (see fmp_chat_read_template); else the name of a built-in one
 *              ("fm-chat") or the path of a file
 *   out        returned; fmp_chat_free
 * Errors   FMP_E_CONFIG: no template, no stop token, with what to do; else those of tokenizer.h and
 *          chat_template.h.
 */
FMP_MUST_USE fmp_status fmp_chat_open(const char *dir, const char *template_, fmp_chat **out, fmp_err *err);
/* The same with everything that is constant for a stage. {0} is valid. `dir` may be NULL with a template_:
 * there is no tokenizer then, only fmp_chat_facts and fmp_chat_check are of use. */
typedef struct fmp_chat_open_options {
    const char *template_;     /* as above                                       */
    const char *template_name; /* which of several templates; NULL: see fmp_chat_read_template */
    const char *const *stops;  /* (n_stops) more texts that end an assistant turn; one that is a token of its
                                 own is among fmp_chat_stops, too            */
    size_t n_stops;
    const cJSON *variables; /* object: more template variables (enable_thinking, ...); copied; NULL: none */
    bool has_now;           /* false: strftime_now() sees 2024-07-26: no output depends on a clock        */
    int64_t now_unix;       /* what strftime_now() sees                                                   */
} fmp_chat_open_options;
FMP_MUST_USE fmp_status fmp_chat_open_with(const char *dir, const fmp_chat_open_options *options,
                                           fmp_chat **out, fmp_err *err);
void fmp_chat_free(fmp_chat *chat);

/*
 * fmp_chat_read_template: the text of a template.
 *   what   a built-in name, a .jinja file, a .gguf file, or a model folder. Of a folder the first that it has:
 *          chat_template.jinja and additional_chat_templates/NAME.jinja; chat_template of
 *          tokenizer_config.json, a text or a list of {name, template}; its only .gguf file, of which
 *          tokenizer.chat_template and tokenizer.chat_template.NAME are read.
 *   name   which of several. NULL: "default"; if there is "tool_use", too, one text of both, of which that
 *          renders where the variable `tools` is given, as transformers chooses
 *   out    returned; free()
 * Errors   FMP_E_IO; FMP_E_DATA; FMP_E_CONFIG: there is none of that name (tells the names).
 */
FMP_MUST_USE fmp_status fmp_chat_read_template(const char *what, const char *name, char **out, fmp_err *err);
const fmp_tokenizer *fmp_chat_tokenizer(const fmp_chat *chat); /* borrowed */
const char *fmp_chat_template_text(const fmp_chat *chat);      /* borrowed */
const char *fmp_chat_template_digest(const fmp_chat *chat);    /* SHA-256, 64 hex digits; borrowed */
/* Ids that end a turn, n of them. borrowed */
const uint32_t *fmp_chat_stops(const fmp_chat *chat, size_t *n);

/*
 * fmp_chat_facts: what the template accepts, found out at opening by rendering small conversations.
 * An object:
 *   system, tools, tool_results, many_calls, generation_marks, ends_turn, ends_calls      true, false
 *   arguments        "value", "text", "either" or "none": in which forms call arguments come out whole; the
 *                    form is exchanged in fmp_chat_encode where it must be
 *   calls            "json" (one JSON text, equal to what went in), "other" notation, or "none"
 *   empty_content    which forms of no content beside tool calls it renders: a list of "empty", "null",
 *                    "absent"
 *   call_ids         "any", "needed" (missing ones are made up), or "nine" (those that are not nine letters
 *                    and digits are exchanged)
 *   rewrites_past    an earlier turn looks otherwise once the conversation goes on, so that
 *                    `expand: per_turn` gives other tokens
 *   ends_turn, ends_calls      a stop text follows a plain answer, a message of tool calls
 * Returned (cJSON_Delete), in the scope in force; NULL: out of memory.
 */
cJSON *fmp_chat_facts(const fmp_chat *chat);
/* FMP_E_CONFIG, with what to do, if a model cannot be trained with this template at all: it refuses a plain
 * conversation, or writes no text that ends an assistant turn. */
FMP_MUST_USE fmp_status fmp_chat_check(const fmp_chat *chat, fmp_err *err);

typedef struct fmp_chat_options {
    size_t n_messages;      /* render this many; 0: all                                                   */
    bool generation_prompt; /* end with what comes before an assistant's answer                           */
    bool supervise;         /* fill weight                                                                */
    bool all_text;          /* supervise everything but the first token: pre-training                     */
    float context_weight;   /* all_text: loss weight of what is no assistant turn, which has 1; 0: 1      */
    fmp_mask_policy policy;
    const char *const *roles; /* (n_roles) FMP_MASK_ROLES */
    size_t n_roles;
    bool check_past; /* count rewritten turns exactly: two more renders a supervised turn */
} fmp_chat_options;

/*
 * One thread's working memory, and the result of its last call.
 *   tokens          ids and the bytes of `rendered.text` each stands for
 *   weight (n)      loss weight of predicting the token; 0: not supervised. A message's "weight" multiplies
 *                   it; tokens inside its "fmp": {"forced": [[begin, end], …], "forced_weight": w} byte
 *                   ranges of the content get w.
 *   n_supervised    tokens with weight > 0
 *   n_straddling    tokens cut by a mask bound, left unsupervised
 *   n_control_text  control-token spellings found in content and encoded as plain text
 *   n_rewritten     supervised turns before which a model, when it was their turn, would have seen another
 *                   text than this one has (see fmp_chat_mask)
 *   n_closed        fmp_chat_encode_turn: 1 if the turn's end was added
 */
typedef struct fmp_chat_result {
    fmp_token_list tokens;
    float *weight;
    size_t weight_cap;
    size_t n_supervised, n_straddling, n_control_text, n_rewritten, n_closed;
    fmp_rendered rendered;
    fmp_rendered prompt; /* working memory of fmp_chat_encode_turn */
    fmp_arena *arena;
    fmp_tok_scratch *scratch;
} fmp_chat_result;

FMP_MUST_USE fmp_status fmp_chat_result_init(fmp_chat_result *result, fmp_err *err);
void fmp_chat_result_free(fmp_chat_result *result);

/*
 * fmp_chat_encode: render and encode one canonical conversation.
 *   doc   borrowed
 * The ids are those of encoding the whole text with special tokens on, as `transformers` does, except that no
 * control token ever comes out of content: where a message, a tool or a schema spells one, that spelling is
 * encoded as ordinary text. Added tokens that are spelled like markup without being special (<tool_call>,
 * <think>) may come out of the template and of assistant messages, nowhere else.
 * Errors   those of rendering; FMP_E_DATA "no supervised token" when supervise is set and nothing is;
 *          FMP_E_MISMATCH as fmp_chat_mask. All concern this conversation only.
 * When     any thread; one result is used by one thread at a time.
 */
FMP_MUST_USE fmp_status fmp_chat_encode(const fmp_chat *chat, const cJSON *doc,
                                        const fmp_chat_options *options, fmp_chat_result *result,
                                        fmp_err *err);

/*
 * `expand: per_turn`: one sequence for each supervised message, rendered as a model will see it when it is
 * that message's turn. For templates that rewrite their past (they drop earlier reasoning, or move tools to
 * the last user message).
 *
 * fmp_chat_turns lists the messages that the policy supervises, without those of weight 0 (returned in
 * `arena`). fmp_chat_encode_turn encodes messages[0..message], of which only the last is supervised:
 *   - the rendering of these messages, where it begins with the prompt of inference;
 *   - where the template writes the past otherwise once the answer is there, the prompt of inference with the
 *     answer's part of that rendering behind it, up to its stop text (provenance goes with the bytes);
 *   - where the prompt has text that the template never writes in front of an answer (an opened thought), the
 *     rendering as it is, and n_rewritten is 1.
 * Where the template writes no stop text behind tool calls, the one that it writes behind plain answers is
 * added (n_closed): a model that is not taught to stop does not stop.
 * Errors   FMP_E_MISMATCH: the place where the answer begins cannot be found (names template, message, offset
 *          and both texts there); else as fmp_chat_encode.
 */
FMP_MUST_USE fmp_status fmp_chat_turns(const cJSON *doc, const fmp_chat_options *options, fmp_arena *arena,
                                       size_t **turns, size_t *n_turns, fmp_err *err);
FMP_MUST_USE fmp_status fmp_chat_encode_turn(const fmp_chat *chat, const cJSON *doc,
                                             const fmp_chat_options *options, size_t message,
                                             fmp_chat_result *result, fmp_err *err);

#ifdef __cplusplus
}
#endif
#endif
