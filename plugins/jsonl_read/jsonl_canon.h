/*
 * jsonl_canon.h: one row of any accepted form -> the canonical conversation, or the reason why not.
 *
 * Canonical: {"messages":[{"role","content","tool_calls","tool_call_id","name","response_format","weight"}…],
 *             "tools":[{"type":"function","function":{"name","description","parameters"}}…],
 *             "response_format":…, "locale":…, "meta":{…}}, keys in this order, absent ones left out.
 */
#ifndef JSONL_CANON_H
#define JSONL_CANON_H

#include <fmpipe/json.h>

typedef enum row_form {
    FORM_AUTO,
    FORM_ARRAY,    /* [ {role, content}, … ], or {"any key": [ … ]}: the adapter-toolkit form   */
    FORM_MESSAGES, /* {"messages": […], …}                                                     */
    FORM_OPENAI,   /* the same with tools, functions, parallel_tool_calls                      */
    FORM_SHAREGPT, /* {"conversations": [{from, value}, …], "system", "tools"}                 */
    FORM_ALPACA    /* {"instruction", "input", "output", "system", "history"}                  */
} row_form;

typedef enum last_role { LAST_ASSISTANT, LAST_USER, LAST_ANY } last_role;

typedef struct canon_options {
    row_form form;
    last_role require_last;
    bool unknown_to_meta; /* unknown top-level keys go to meta.extra instead of being an error */
} canon_options;

typedef struct canon_problem {
    const char *reason; /* stable word, static storage */
    char path[160];     /* in the row as it was read; "" for the whole row */
    char message[480];
} canon_problem;

/* The first problems of a row, in document order, and how many there are. */
enum { CANON_TOLD = 8 };
typedef struct canon_problems {
    uint32_t n;
    canon_problem told[CANON_TOLD];
} canon_problems;

/*
 * canon_row: `row` (taken; its nodes are moved, not copied) -> canonical document in the JSON scope, or
 * NULL and `problems`. When     any thread. Cost  O(nodes); allocates only new objects.
 */
cJSON *canon_row(cJSON *row, const canon_options *opt, canon_problems *problems);

#endif
