/*
 * token_view.h: what one token of a conversation is to training, for people: its text, where the text came
 * from, and whether it is learned. The terminal (`fmpipe inspect tokens`) and the report show the same
 * thing from here.
 */
#ifndef FMPIPE_TOKEN_VIEW_H
#define FMPIPE_TOKEN_VIEW_H

#include <fmpipe/chat.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum fmp_view_kind {
    FMP_VIEW_TEMPLATE = 0, /* the template's own text                                                  */
    FMP_VIEW_INPUT = 1,    /* text of the conversation that is not learned                             */
    FMP_VIEW_LEARNED = 2,  /* has a loss weight                                                        */
    FMP_VIEW_FORCED = 3    /* part of a supervised answer, but its schema leaves a decoder no choice   */
} fmp_view_kind;

typedef struct fmp_token_view {
    uint32_t id;
    uint32_t begin, end; /* bytes of the rendered text                                                   */
    float weight;
    fmp_view_kind kind;
    const char *source; /* "template", "computed", or an input field such as messages[3].content; several, in
                            order, joined by " + "                                                       */
} fmp_token_view;

/* "template", "input", "learned", "forced". */
const char *fmp_view_kind_name(fmp_view_kind kind);

/*
 * fmp_token_views: one for each token of an encoded conversation.
 *   doc      the conversation that `result` was made from, for its messages' "fmp" notes      borrowed
 *   out      (result->tokens.n)                                                   returned in `arena`
 * When     any thread.         Cost  O(tokens · log spans).
 */
FMP_MUST_USE fmp_status fmp_token_views(const cJSON *doc, const fmp_chat_result *result, fmp_arena *arena,
                                        fmp_token_view **out, fmp_err *err);
/* Append bytes [begin, end) of a text; bytes that are no whole character there appear as \xNN. */
void fmp_token_view_text(const char *text, size_t begin, size_t end, fmp_buf *out);

/*
 * fmp_chat_setup_read: the options of chat.tokenize, as they are in a checked pipeline or in a run's
 * manifest, as options of fmp_chat_open_with and fmp_chat_encode.
 *   values   object; borrowed, and so are its strings and `variables`, for as long as the results are used
 *   arena    for lists
 * Errors   FMP_E_CONFIG with err->option.
 */
typedef struct fmp_chat_setup {
    fmp_chat_open_options open;
    fmp_chat_options encode; /* supervise set      */
    bool per_turn;           /* expand: per_turn   */
} fmp_chat_setup;
FMP_MUST_USE fmp_status fmp_chat_setup_read(const cJSON *values, fmp_arena *arena, fmp_chat_setup *out,
                                            fmp_err *err);

#ifdef __cplusplus
}
#endif
#endif
