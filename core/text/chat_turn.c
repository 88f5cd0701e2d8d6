/*
 * chat_turn.c: one turn as an example of its own (`expand: per_turn`): the prompt of inference, and behind it what
 * the model gives.
 *
 * Most templates render messages[0..i] as just that. Where one renders the past otherwise once the answer is
 * there, the answer is taken from that rendering and put behind the prompt; where it writes no end behind
 * tool calls, the end of its other turns is. Read fmp_chat_mask in chat_template.h first.
 */
#include "chat_impl.h"

/* Spans of a text that is put together from pieces of renderings; their paths follow one another. */
typedef struct joined {
    fmp_buf text;
    fmp_span *spans;
    size_t n_spans, n_paths;
    const char **paths;
} joined;

/* Append bytes [begin, end) of a rendering. */
static void join_piece(joined *j, const fmp_rendered *from, size_t begin, size_t end)
{
    size_t at = j->text.len;
    for (size_t i = 0; i < from->n_spans; i++) {
        fmp_span s = from->spans[i];
        if (s.end <= begin || s.begin >= end) { continue; }
        size_t cut = s.begin < begin ? begin - s.begin : 0;
        if (s.src != FMP_SPAN_NO_SRC) { s.src += cut; }
        if (s.path != FMP_SPAN_NO_PATH) { s.path += (uint32_t)j->n_paths; }
        s.begin = at + (s.begin + cut - begin);
        s.end = at + ((s.end < end ? s.end : end) - begin);
        j->spans[j->n_spans++] = s;
    }
    for (size_t i = 0; i < from->n_paths; i++) {
        j->paths[j->n_paths++] = from->paths[i];
    }
    fmp_buf_add(&j->text, from->text.data, end);
    if (begin > 0 && !j->text.failed) {
        memmove(j->text.data + at, j->text.data + at + begin, end - begin);
        j->text.len -= begin;
    }
}

static void join_text(joined *j, const char *text)
{
    j->spans[j->n_spans++] = (fmp_span){.begin = j->text.len,
                                        .end = j->text.len + strlen(text),
                                        .src = FMP_SPAN_NO_SRC,
                                        .path = FMP_SPAN_NO_PATH,
                                        .kind = FMP_SPAN_LITERAL};
    fmp_buf_puts(&j->text, text);
}

/* The text of `rendered` becomes the joined one. */
static fmp_status take_joined(joined *j, fmp_rendered *rendered, fmp_err *err)
{
    fmp_status status = fmp_buf_ok(&j->text, err);
    if (status != FMP_OK) {
        fmp_buf_free(&j->text);
        return status;
    }
    fmp_buf_free(&rendered->text);
    rendered->text = j->text;
    rendered->spans = j->spans;
    rendered->n_spans = j->n_spans;
    rendered->paths = j->paths;
    rendered->n_paths = j->n_paths;
    return FMP_OK;
}

fmp_status chat_join_turn(const fmp_chat *chat, const cJSON *context, fmp_chat_mask_result *found,
                          fmp_chat_result *r, fmp_err *err)
{
    joined j = {0};
    fmp_mask_range *range = found->n_ranges == 1 ? &found->ranges[0] : NULL;
    if (!range || (!found->joins && !found->open)) { return FMP_OK; }
    if (found->open && !chat->turn_end) {
        return fmp_fail(err, FMP_E_DATA, "template '%s' writes no end-of-turn text behind messages[%zu]",
                        fmp_template_name(chat->tmpl), range->message);
    }
    const tpl_overrides prompt = {.n_messages = range->message, .prompt = true, .set_prompt = true};
    if (found->joins) { FMP_TRY(tpl_render(chat->tmpl, context, &chat->render, &prompt, &r->prompt, err)); }
    const fmp_rendered *from = found->joins ? &r->prompt : &r->rendered;
    size_t head = found->joins ? from->text.len : range->begin;
    j.spans = fmp_arena_take(r->arena, (from->n_spans + r->rendered.n_spans + 1) * sizeof *j.spans);
    j.paths = fmp_arena_take(r->arena, (from->n_paths + r->rendered.n_paths + 1) * sizeof *j.paths);
    FMP_TRY(fmp_arena_ok(r->arena, err));
    join_piece(&j, from, 0, head);
    join_piece(&j, &r->rendered, range->begin, range->end);
    if (found->open) { join_text(&j, chat->turn_end); }
    *range = (fmp_mask_range){.begin = head, .end = j.text.len, .message = range->message};
    r->n_closed += found->open;
    return take_joined(&j, &r->rendered, err);
}
