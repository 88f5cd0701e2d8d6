/*
 * synth.h: short made-up conversations in eight locales, as a pure function of where they stand.
 *
 * The texts are small on purpose: a base model of a few million parameters, trained from scratch in minutes,
 * can learn to read them, and an adapter can teach it what the base corpus never shows, tool calls and
 * answers in JSON.
 */
#ifndef SYNTH_H
#define SYNTH_H

#include <fmpipe/json.h>

typedef enum synth_corpus {
    SYNTH_BASE = 0,   /* pre-training: confirmations, notes, reading, repeating; no tool call, no JSON answer */
    SYNTH_ADAPT = 1,  /* adaptation: tool calls, JSON answers, small talk beside tools, full cycles           */
    SYNTH_HELDOUT = 2 /* evaluation: calls and JSON answers in phrasings and with values the others never use */
} synth_corpus;

typedef struct synth_options {
    uint64_t seed;
    synth_corpus corpus;
    bool later; /* base corpus only: the text of version 1.1, with two more intents and more confirmations */
} synth_options;

/*
 * synth_conversation: the `index`-th conversation of (seed, corpus, later), in canonical form:
 *   {"messages":[…],"tools":[…],"locale":"de-DE","meta":{"intent":"set_light","kind":"call"}}
 * kind: call (ends with the call), cycle (call, result, confirmation), answer (JSON text), prose, note,
 * read, repeat. Locales go round: conversation i is in locale i mod 8.
 *
 *   out   returned in the JSON scope (heap: free with cJSON_Delete)
 * Errors   FMP_E_NOMEM.
 * When     any thread; no state.
 */
FMP_MUST_USE fmp_status synth_conversation(const synth_options *opt, uint64_t index, cJSON **out,
                                           fmp_err *err);

#endif
