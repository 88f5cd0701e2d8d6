/*
 * generate.h: what the files of `fmpipe generate` share: a text as its tokens arrive, and the generator
 * behind all of its forms.
 */
#ifndef FMP_CLI_GENERATE_H
#define FMP_CLI_GENERATE_H

#include "cli.h"

#include <fmpipe/chat.h>
#include <fmpipe/fs.h>
#include <fmpipe/json.h>
#include <fmpipe/model.h>

/*
 * A generated text. {0} is an empty one. It ends before the first of the stop texts; what might become one is
 * not `ready` until it cannot.
 */
typedef struct gen_text {
    fmp_tok_stream stream;
    fmp_buf bytes; /* whole characters                                     */
    size_t ready;  /* bytes that belong to the text whatever follows       */
    size_t shown;  /* the caller's mark, 0 at first: bytes already printed */
    bool cut;      /* a stop text came; `bytes` ends before it             */
} gen_text;

/* Texts that end an answer; borrowed, none of them empty. */
typedef struct gen_stops {
    const char *const *text;
    size_t n;
} gen_stops;

/* One more token; text->cut tells whether the text is over. */
FMP_MUST_USE fmp_status gen_text_push(gen_text *text, const fmp_tokenizer *tok, const gen_stops *stops,
                                      uint32_t id, fmp_err *err);
/* No more tokens: everything is ready. */
FMP_MUST_USE fmp_status gen_text_end(gen_text *text, fmp_err *err);
/* An empty text again, its memory kept. */
void gen_text_clear(gen_text *text);
void gen_text_free(gen_text *text);

typedef struct generator {
    const fmp_cli *cli;
    fmp_model *model;
    fmp_adapter *adapter; /* NULL: the model alone */
    fmp_chat *chat;       /* NULL: raw */
    fmp_tokenizer *own_tok;
    const fmp_tokenizer *tok;
    fmp_tok_scratch *scratch;
    fmp_chat_result encoded;
    fmp_arena *arena; /* of the prompts and answers in hand */
    fmp_generate_options o;
    fmp_precision precision;
    uint32_t *stop_ids;
    gen_stops stops;
    const char *stop_text[FMP_CLI_MAX_GIVEN];
    bool raw;    /* prompts are texts to be continued, not messages */
    bool stream; /* show texts while they come */
    gen_text *texts;
    size_t n_texts;
    uint64_t n_answers, n_rejected, n_prompt_tokens, n_tokens;
    double seconds;
} generator;

/* A conversation, a last assistant message left out, or, raw, a text: its ids, in the arena. */
FMP_MUST_USE fmp_status gen_encode(generator *g, const cJSON *doc, const char *text, fmp_prompt *out,
                                   fmp_err *err);
/* All texts are complete in g->texts afterwards. */
FMP_MUST_USE fmp_status gen_answer(generator *g, const fmp_prompt *prompts, size_t n, fmp_generated *out,
                                   fmp_err *err);
/* Why a text ended: "stop", "length" or "interrupted". */
const char *gen_finish(const fmp_generated *answer, const gen_text *text);
/* The line of JSON of an answer; line, id: of its row, or 0 and NULL.                returned */
cJSON *gen_event(uint64_t line, const char *id, const fmp_prompt *prompt, const fmp_generated *answer,
                 const gen_text *text);
/* A message; a conversation of --system and, unless NULL, what a user says.          returned */
cJSON *gen_message(const char *role, const char *content);
cJSON *gen_conversation(const generator *g, const char *user);
/* generate_rows.c: every row of a file ("-": stdin). */
FMP_MUST_USE fmp_status gen_rows(generator *g, const char *path, fmp_err *err);

int fmp_late_generate(fmp_cli *cli);

#endif
