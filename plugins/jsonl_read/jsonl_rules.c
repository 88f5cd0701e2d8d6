/*
 * The rules that every conversation must keep, whatever form its row had: order of roles, no empty
 * messages, only declared tools are called, the last role.
 */
#include "jsonl_row.h"

/*
 * Where in the row the canonical message i came from: `s` holds the spots. Not every form has
 * "messages[i]".
 */
static const spot *message_spot(const canon *c, int i, const char *tail, spot s[3])
{
    int k = i - c->own_system;
    s[0] = (spot){.key = c->list};
    s[1] = (spot){.up = &s[0], .index = k};
    s[2] = (spot){.up = &s[1], .key = tail};
    if (k < 0) {
        s[0].key = "system";
        return &s[0];
    }
    if (c->form == FORM_SHAREGPT) {
        s[2].key = strcmp(tail, "role") == 0 ? "from" : "value";
    } else if (c->form == FORM_ALPACA) {
        bool past = k < 2 * c->n_history;
        s[0].key = past ? "history" : k == 2 * c->n_history ? "instruction" : "output";
        s[1].index = k / 2;
        s[2] = (spot){.up = &s[1], .index = k % 2};
        return past ? &s[2] : &s[0];
    }
    return &s[2];
}

static void check_calls(canon *c, const cJSON *calls, int i)
{
    char word[64];
    spot s[3], call_at = {.up = message_spot(c, i, "tool_calls", s)};
    const cJSON *call;
    if (!c->tools) { return; }
    cJSON_ArrayForEach(call, calls)
    {
        const char *name = fmp_json_str(fmp_json_get(call, "function"), "name", "");
        if (!tool_declared(c->tools, name)) {
            fault(c, "tool_unknown", c->form == FORM_SHAREGPT ? call_at.up : &call_at,
                  "expected a call of one of the declared tools, found '%s'",
                  quoted(word, sizeof word, name));
        }
        call_at.index++;
    }
}

static void check_text(canon *c, const cJSON *m, const char *role, int i)
{
    spot s[3];
    const cJSON *content = fmp_json_get(m, "content"), *calls = fmp_json_get(m, "tool_calls");
    const char *text = cJSON_IsString(content) ? content->valuestring : NULL;
    size_t n = text ? strlen(text) : 1;
    if (n == 0 && strcmp(role, "assistant") == 0 && !calls) {
        fault(c, "assistant_empty", message_spot(c, i, "content", s),
              "expected text or tool calls, found an empty message");
    } else if (n == 0 && strcmp(role, "user") == 0) {
        fault(c, "user_empty", message_spot(c, i, "content", s), "expected text, found an empty message");
    } else if (n > 0 && text && strcmp(role, "system") == 0 && (text[0] == ' ' || text[n - 1] == ' ')) {
        fault(c, "system_space", message_spot(c, i, "content", s),
              "expected a system message without a space at its %s", text[0] == ' ' ? "beginning" : "end");
    }
}

/* `before` is the role of the message before, NULL at the start. */
static void check_order(canon *c, const char *role, const char *before, bool called_before, int i)
{
    spot s[3];
    const spot *where = message_spot(c, i, "role", s);
    if (strcmp(role, "system") == 0) {
        if (before) {
            fault(c, "system_not_first", where,
                  "a system message may only be the first, found one after '%s'", before);
        }
    } else if (strcmp(role, "tool") == 0) {
        if (!called_before) {
            fault(c, "tool_without_call", where,
                  "expected a tool result only after an assistant message with tool calls, found it after %s",
                  before ? before : "nothing");
        }
    } else if (before && strcmp(role, before) == 0) {
        fault(c, "role_repeated", where, "two '%s' messages in a row; expected roles to alternate", role);
    } else if (strcmp(role, "assistant") == 0) {
        if (!before || strcmp(before, "system") == 0) {
            fault(c, "role_order", where, "assistant message %s, expected a user message first",
                  before ? "directly after system" : "at the start");
        }
    } else if (before && strcmp(before, "tool") == 0) {
        fault(c, "role_order", where,
              "user message directly after a tool result, expected the assistant's answer first");
    }
}

void check_rules(canon *c)
{
    spot s[3], list_at = {.key = c->list};
    const char *before = NULL;
    bool called_before = false;
    int i = 0;
    for (const cJSON *m = c->messages->child; m; m = m->next, i++) {
        const char *role = m->child->valuestring; /* canon_message puts it first */
        const cJSON *calls = fmp_json_get(m, "tool_calls");
        check_order(c, role, before, called_before, i);
        check_text(c, m, role, i);
        if (calls) { check_calls(c, calls, i); }
        if (strcmp(role, "tool") != 0) { called_before = calls != NULL; }
        before = role;
    }
    if (i < 2) { fault(c, "too_few_messages", &list_at, "expected at least two messages, found %d", i); }
    const char *want = c->opt->require_last == LAST_USER ? "user" : "assistant";
    if (c->opt->require_last != LAST_ANY && before && strcmp(before, want) != 0) {
        fault(c, "last_role", message_spot(c, i - 1, "role", s),
              "expected the conversation to end with '%s', found '%s'", want, before);
    }
}
