/*
 * chat_impl.h: what the files behind chat.h share (private to core/text).
 *
 *   chat_files.c   the text of a template, wherever a model keeps it
 *   chat_open.c    template, tokenizer and stop tokens
 *   chat_probe.c   what a template accepts, found out by rendering small conversations
 *   chat_context.c the variables a template sees
 *   chat.c         rendering and encoding a conversation
 *   chat_weight.c  loss weights of its tokens
 *   chat_turn.c    one turn as an example of its own
 *   chat_mask.c    supervised byte ranges (chat_template.h)
 */
#ifndef FMP_CHAT_IMPL_H
#define FMP_CHAT_IMPL_H

#include <fmpipe/chat.h>
#include <fmpipe/fs.h>
#include <fmpipe/json.h>

#include "template_impl.h"

enum { CHAT_MAX_STOPS = 16 };

/* What a token may be made from. */
enum {
    CHAT_TOKEN_PLAIN = 0,
    CHAT_TOKEN_MARK = 1,    /* an added token spelled like markup, not marked special: <tool_call>, <think> */
    CHAT_TOKEN_CONTROL = 2, /* marked special                                                               */
};

/* Forms of the content of a message that has tool calls only. */
enum { CHAT_CONTENT_EMPTY, CHAT_CONTENT_NULL, CHAT_CONTENT_ABSENT, CHAT_N_CONTENTS };

typedef struct chat_facts {
    bool conversation;             /* [user, assistant] renders                                     */
    bool system;                   /* a system message comes out                                    */
    bool tools;                    /* tool declarations come out                                    */
    bool tool_results;             /* a message of role tool comes out after a call                 */
    bool many_calls;               /* two calls in one message                                      */
    bool value_arguments;          /* arguments given as a JSON value come out whole                */
    bool text_arguments;           /* arguments given as JSON text do                               */
    bool json_calls;               /* ... as one JSON text, equal to what went in                   */
    bool generation_marks;         /* {% generation %}                                              */
    bool ends_turn;                /* a stop text follows an assistant message                      */
    bool rewrites_past;            /* an earlier turn looks otherwise once the conversation goes on */
    bool open_calls;               /* no stop text follows a message of tool calls                  */
    bool trails;                   /* ... and behind the last message stands text that is not its   */
    bool content[CHAT_N_CONTENTS]; /* renders beside tool calls as an empty text does       */
    bool needs_ids;                /* a call without an id is refused                               */
    bool nine_ids;                 /* so is one whose id is not of nine letters and digits          */
    char refusal[200];             /* why not `conversation`                                        */
} chat_facts;

/* Text between the last byte of a message and where the assistant's answer begins, by the role before it. */
enum { CHAT_AFTER_USER, CHAT_AFTER_TOOL, CHAT_AFTER_SYSTEM, CHAT_N_AFTER };
struct fmp_chat_tails {
    char *after[CHAT_N_AFTER]; /* NULL: not known */
};

struct fmp_chat {
    fmp_tokenizer *tok;
    fmp_template *tmpl;
    char *text;
    char digest[65];
    fmp_template_options render;
    cJSON *variables; /* on the heap; NULL: none */
    uint32_t stops[CHAT_MAX_STOPS];
    size_t n_stops;
    char *stop_texts[CHAT_MAX_STOPS]; /* of the stops, then those the caller named */
    size_t n_stop_texts;
    char *turn_end;      /* the stop text behind a plain answer; NULL: there is none                */
    uint8_t *token_kind; /* (vocabulary) CHAT_TOKEN_*                               */
    chat_facts facts;
    fmp_chat_tails tails[2]; /* without and with tool declarations */
};

/* chat_context.c: the context of a render, in the scope's arena; messages are views of the document's. */
cJSON *chat_context(const fmp_chat *chat, const cJSON *doc, size_t n_messages, bool generation_prompt);
/* chat_probe.c; tails for a conversation with or without tool declarations */
const fmp_chat_tails *chat_tails(const fmp_chat *chat, const cJSON *doc);
fmp_status chat_probe(fmp_chat *chat, fmp_err *err);
/* chat_weight.c: the supervised ranges of a rendered conversation, then the weights of its tokens once it is
 * encoded. message SIZE_MAX: by policy. */
fmp_status chat_find_ranges(const fmp_chat *chat, const cJSON *doc, const cJSON *context,
                            const fmp_chat_options *o, size_t message, fmp_chat_result *r,
                            fmp_chat_mask_result *out, fmp_err *err);
fmp_status chat_supervise(const cJSON *doc, const fmp_chat_options *o, const fmp_chat_mask_result *found,
                          fmp_chat_result *r, fmp_err *err);
/* chat_turn.c: the text of one turn put together where it does not come out as one. */
fmp_status chat_join_turn(const fmp_chat *chat, const cJSON *context, fmp_chat_mask_result *found,
                          fmp_chat_result *r, fmp_err *err);
/* chat_mask.c: is a message supervised under the policy; `last`: it is the last assistant message. */
bool chat_is_wanted(const cJSON *message, fmp_mask_policy policy, const char *const *roles, size_t n_roles,
                    bool last);

#endif
