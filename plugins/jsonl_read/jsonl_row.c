/* Faults, places and members of a row; see jsonl_row.h. */
#include "jsonl_row.h"

#include <stdarg.h>

/* "messages[3].role"; below a bare array "[3].role". */
static size_t print_spot(const spot *s, char *out, size_t size)
{
    size_t n = s->up ? print_spot(s->up, out, size) : 0;
    int need = s->key ? snprintf(out + n, size - n, "%s%s", n > 0 && *s->key ? "." : "", s->key)
                      : snprintf(out + n, size - n, "[%d]", s->index);
    if (need < 0 || (size_t)need < size - n) { return n + (size_t)(need < 0 ? 0 : need); }
    fmp_err_clip_(out, size, (int)size);
    return strlen(out);
}

void fault(canon *c, const char *reason, const spot *where, const char *fmt, ...)
{
    uint32_t at = c->problems->n++;
    if (at >= CANON_TOLD) { return; }
    canon_problem *problem = &c->problems->told[at];
    problem->reason = reason;
    problem->path[0] = '\0';
    if (where) { print_spot(where, problem->path, sizeof problem->path); }
    va_list ap;
    va_start(ap, fmt);
    int need = vsnprintf(problem->message, sizeof problem->message, fmt, ap);
    fmp_err_clip_(problem->message, sizeof problem->message, need);
    va_end(ap);
}

const char *kind_of(const cJSON *node)
{
    if (!node) { return "nothing"; }
    if (cJSON_IsString(node)) { return node->valuestring[0] ? "a string" : "an empty string"; }
    if (cJSON_IsObject(node)) { return "an object"; }
    if (cJSON_IsArray(node)) { return "an array"; }
    if (cJSON_IsNull(node)) { return "null"; }
    if (cJSON_IsBool(node)) { return "a boolean"; }
    return "a number";
}

const char *quoted(char *out, size_t size, const char *text)
{
    fmp_err_clip_(out, size, snprintf(out, size, "%s", text));
    for (char *p = out; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) { *p = '?'; }
    }
    return out;
}

bool is_key(const cJSON *member, const char *key)
{
    return member->string[0] == key[0] && strcmp(member->string, key) == 0;
}

cJSON *move_out(cJSON *parent, cJSON *child)
{
    return cJSON_DetachItemViaPointer(parent, child);
}

void put(cJSON *object, const char *constant_key, cJSON *node)
{
    if (node) { cJSON_AddItemToObjectCS(object, constant_key, node); }
}

void put_string(cJSON *object, const char *constant_key, const char *text)
{
    put(object, constant_key, cJSON_CreateString(text));
}

bool replace_once(canon *c, cJSON **slot, cJSON *node, const char *what, const spot *where)
{
    if (*slot) {
        fault(c, "given_twice", where, "%s is given twice; expected it in one place", what);
        return false;
    }
    *slot = node;
    return true;
}

/* ---------------------------------------------------------------------------------------------- keys */

const char *nearest(const char *word, const char *const *names)
{
    const char *best = NULL;
    size_t n = strlen(word), best_cost = n <= 4 ? 2 : 3;
    for (; n < 40 && *names; names++) {
        size_t m = strlen(*names), row[41];
        if (m > 39) { continue; }
        for (size_t j = 0; j <= m; j++) {
            row[j] = j;
        }
        for (size_t i = 1; i <= n; i++) {
            size_t diagonal = row[0];
            row[0] = i;
            for (size_t j = 1; j <= m; j++) {
                size_t up = row[j], swap = diagonal + (word[i - 1] != (*names)[j - 1]);
                size_t best_edit = (up < row[j - 1] ? up : row[j - 1]) + 1;
                row[j] = swap < best_edit ? swap : best_edit;
                diagonal = up;
            }
        }
        if (row[m] < best_cost) {
            best_cost = row[m];
            best = *names;
        }
    }
    return best;
}

void unknown_key(canon *c, const spot *up, const char *key, const char *what, const char *const *known)
{
    char word[64];
    spot where = {.up = up, .key = key};
    const char *near_name = nearest(key, known);
    quoted(word, sizeof word, key);
    if (near_name) {
        fault(c, "unknown_key", &where, "unknown key '%s' in %s; did you mean '%s'?", word, what, near_name);
    } else {
        fault(c, "unknown_key", &where, "unknown key '%s' in %s", word, what);
    }
}
