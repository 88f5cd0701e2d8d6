/*
 * jsonl_row.h: what the files of jsonl.read share while they bring one row to its canonical form.
 *
 * Places are linked spots on the stack and become text only when there is a fault: a good row formats
 * nothing.
 */
#ifndef JSONL_ROW_H
#define JSONL_ROW_H

#include "jsonl_canon.h"

/*
 * A place in the row: below `up`, the member `key`, or the element `index` where key is NULL. "" is
 * the row itself.
 */
typedef struct spot {
    const struct spot *up;
    const char *key;
    int index;
} spot;

typedef struct canon {
    const canon_options *opt;
    canon_problems *problems;
    const char *list; /* of the message list in the row: "messages", "conversations", "" for a bare array */
    cJSON *messages, *tools, *response_format, *locale, *meta;
    row_form form;   /* of this row; never FORM_AUTO */
    bool own_system; /* ShareGPT, Alpaca: messages[0] was the row's "system" */
    int n_history;   /* Alpaca: pairs before the instruction */
} canon;

/* A problem of the row; the first CANON_TOLD are kept, the others counted. `where` NULL: the whole row. */
FMP_PRINTF(4, 5) void fault(canon *c, const char *reason, const spot *where, const char *fmt, ...);
/*
 * "unknown key 'rol' in a message; did you mean 'role'?"; `up` is the place of the object that has the
 * key.
 */
void unknown_key(canon *c, const spot *up, const char *key, const char *what, const char *const *known);
/* The name at an edit distance of at most 2 (of at most 1 for words of four letters or fewer), or NULL. */
const char *nearest(const char *word, const char *const *names);
/* "a string", "null", "nothing" ...; static storage. */
const char *kind_of(const cJSON *node);
/* `text` in `out` with control characters and length made safe for a message; returns `out`. */
const char *quoted(char *out, size_t size, const char *text);

bool is_key(const cJSON *member, const char *key);
cJSON *move_out(cJSON *parent, cJSON *child);
/* `node` (taken; NULL: nothing happens) as a member; the key must outlive the document. */
void put(cJSON *object, const char *constant_key, cJSON *node);
void put_string(cJSON *object, const char *constant_key, const char *text);
/* A fault where *slot is set already. */
bool replace_once(canon *c, cJSON **slot, cJSON *node, const char *what, const spot *where);

/*
 * Tool calls and tools of any spelling (taken) -> canonical ones; what is wrong is a fault. canon_call
 * may give NULL.
 */
cJSON *canon_call(canon *c, cJSON *call, const spot *where);
cJSON *canon_calls(canon *c, cJSON *calls, const spot *where);
void take_tools(canon *c, cJSON *tools, const spot *where);
bool tool_declared(const cJSON *tools, const char *name);

/* The rules that every conversation must keep, over c->messages and c->tools. */
void check_rules(canon *c);

#endif
