/*
 * chat_template.h: Jinja chat templates in which every output byte knows where it came from.
 *
 * The language is the one Hugging Face chat templates are written in: Jinja 2 as transformers'
 * apply_chat_template sets it up (trim_blocks, lstrip_blocks, no trailing newline, break and continue,
 * {% generation %}, an immutable sandbox, tojson = json.dumps(ensure_ascii=False), raise_exception,
 * strftime_now). The output is byte for byte that of Python's jinja2. On top of it comes provenance: each
 * output byte is template text, computed text, or a piece of one value of the context, named by its path.
 * Loss masks and the safe tokenisation of user text follow from it.
 */
#ifndef FMPIPE_CHAT_TEMPLATE_H
#define FMPIPE_CHAT_TEMPLATE_H

#include <cjson/cJSON.h>
#include <fmpipe/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fmp_template fmp_template;

/*
 * fmp_template_parse: source text to an immutable template.
 *   text (len)  borrowed; at most 4 MiB          name  for messages ("fm-chat", a path); borrowed
 *   out         returned; fmp_template_free
 * Errors   FMP_E_CONFIG with file (= name), line, column, expected and found; FMP_E_UNSUPPORTED for a Jinja
 *          construct that is not here (include, import, extends, block, trans, autoescape), by name;
 *          FMP_E_RANGE for nesting deeper than 200.
 * When     any thread. The template may be rendered by many threads at once.
 */
FMP_MUST_USE fmp_status fmp_template_parse(const char *text, size_t len, const char *name, fmp_template **out,
                                           fmp_err *err);
void fmp_template_free(fmp_template *tmpl);
/* The name given to parse. borrowed from the template */
const char *fmp_template_name(const fmp_template *tmpl);

/* What a render may use. {0} is valid: the default limits, and no clock. */
typedef struct fmp_template_options {
    uint64_t max_steps;      /* evaluations, loop rounds, and bytes handled / 64; 0: 5,000,000       */
    size_t max_output_bytes; /* also of every string on the way; 0: 16 MiB; at most 1 GiB            */
    size_t max_memory_bytes; /* of the render's arena; 0: 256 MiB                                    */
    bool has_now;            /* false: strftime_now() is an error: no output depends on a hidden clock */
    int64_t now_unix;        /* what strftime_now() sees: seconds since 1970, UTC                    */
} fmp_template_options;

/* LITERAL: the template's own text and string constants. COMPUTED: made by the template (counters, dates, the
 * punctuation of JSON of its own). INPUT: from the context value at `path`. */
typedef enum fmp_span_kind {
    FMP_SPAN_LITERAL = 0,
    FMP_SPAN_COMPUTED = 1,
    FMP_SPAN_INPUT = 2,
} fmp_span_kind;

#define FMP_SPAN_NO_PATH UINT32_MAX
#define FMP_SPAN_NO_SRC  SIZE_MAX

/*
 * One piece of the output with one origin. The spans partition the output: the first begins at 0, each
 * begins where the one before it ends, the last ends at text.len, none is empty, and neighbours are merged
 * where they have one origin and, in the input, follow on from each other.
 *
 * Paths are spelled messages[3].tool_calls[0].function.name; a key that is not an identifier is spelled
 * ["odd key"] with JSON escapes. A value printed as JSON or as Python text gives each leaf's bytes (quotes
 * included) the leaf's path; braces, commas, colons and keys have the path of their container. Keys taken
 * out by a loop have it too. `src` is known wherever the bytes are a verbatim piece of the string value; it
 * is FMP_SPAN_NO_SRC for bytes made from the value (a number, an escape sequence, changed case).
 */
typedef struct fmp_span {
    size_t begin, end; /* bytes of the output                                           */
    size_t src;        /* INPUT: offset of `begin` in the string value, FMP_SPAN_NO_SRC */
    uint32_t path;     /* INPUT: index into fmp_rendered.paths; else FMP_SPAN_NO_PATH   */
    uint8_t kind;      /* fmp_span_kind                                                 */
    bool generation;   /* rendered inside {% generation %}                              */
} fmp_span;

/*
 * A rendering. {0} before the first use; one object may be used for render after render (it keeps its
 * memory); everything it points to is valid until the next render into it or fmp_rendered_free.
 */
typedef struct fmp_rendered {
    fmp_buf text;
    const fmp_span *spans;
    size_t n_spans;
    const char *const *paths; /* in the order of their first byte in the output */
    size_t n_paths;
    fmp_arena *arena;
} fmp_rendered;
void fmp_rendered_free(fmp_rendered *rendered);
/* Index of the span that byte `at` of the text lies in; there is at least one span.        cost: log2(n_spans) */
size_t fmp_rendered_span_at(const fmp_rendered *rendered, size_t at);

/*
 * fmp_template_render: fill the template with the variables of `context` (an object: messages, tools,
 * add_generation_prompt, bos_token, eos_token, documents, ... whatever the template reads).
 *   context  borrowed, never changed      options  borrowed; NULL: {0}      out  see above
 * Errors   FMP_E_DATA where the template or the data is at fault, with the template's line and the
 *          expression: raise_exception (its message alone), an attribute of an undefined value, a wrong
 *          type, a method that would change a value (list.append, dict.update: the sandbox of transformers
 *          refuses them too), an attribute that starts with "__"; FMP_E_RANGE beyond a limit (steps, output,
 *          memory, recursion deeper than 1000); FMP_E_UNSUPPORTED for a filter, test, method or format that
 *          is not here, by name (found when it is used), and for integers beyond 64 bits in arithmetic.
 *          After an error `out` holds no text.
 * When     any thread; one `out` is used by one thread at a time.
 * Cost     about 8 us for a conversation of 700 bytes and a ChatML-like template.
 */
FMP_MUST_USE fmp_status fmp_template_render(const fmp_template *tmpl, const cJSON *context,
                                            const fmp_template_options *options, fmp_rendered *out,
                                            fmp_err *err);

/*
 * fmp_template_builtin: source text of a template that ships with fmpipe; NULL: there is none of that name.
 *   "fm-chat"          the template of the fm-tiny base model: <|system|> <|user|> <|assistant|> <|tool|>
 *                      turns closed by <|end|>; tools after <|tools|> in the system turn, calls after
 *                      <|call|>, a response schema after <|schema|> (a top-level response_format is
 *                      written into every user turn that has none of its own)
 *   "adapter-toolkit"  the turn form of the adapter training toolkit
 * fmp_template_builtin_name(i) lists the names; NULL at the end.
 */
const char *fmp_template_builtin(const char *name);
const char *fmp_template_builtin_name(size_t i);

/* ---- which bytes are trained ---- */

typedef enum fmp_mask_policy {
    FMP_MASK_ALL = 0,    /* every assistant message                              */
    FMP_MASK_LAST = 1,   /* the last assistant message of the conversation       */
    FMP_MASK_ROLES = 2,  /* every message whose role is one of `roles`           */
    FMP_MASK_WEIGHT = 3, /* every message with a "weight" above 0, whatever its role */
} fmp_mask_policy;

/* How a template leads over to an assistant's answer, as found by probing; see chat.h. */
typedef struct fmp_chat_tails fmp_chat_tails;

typedef struct fmp_chat_mask_options {
    fmp_mask_policy policy;
    const char *const *roles; /* (n_roles) FMP_MASK_ROLES                                            */
    size_t n_roles;
    const char *const *stops; /* texts that end an assistant turn ("<|im_end|>"); at least one       */
    size_t n_stops;
    fmp_template_options render; /* as used for the full rendering                                   */
    const fmp_chat_tails *tails; /* NULL: the prompt of every supervised message is rendered         */
    bool only_one;               /* supervise messages[one] only                                      */
    size_t one;
    bool check_past; /* count n_rewritten exactly: two more renders for each range       */
    bool trails;     /* a conversation that ends in tool calls is followed by text that is not theirs */
} fmp_chat_mask_options;

typedef struct fmp_mask_range {
    size_t begin, end; /* bytes of the rendered text            */
    size_t message;    /* index into messages                   */
} fmp_mask_range;

typedef struct fmp_chat_mask_result {
    fmp_mask_range *ranges; /* in order, never overlapping                                          */
    size_t n_ranges;
    size_t n_rewritten; /* ranges before which a model would have seen another text at inference    */
    /* only_one: */
    bool joins; /* the text begins otherwise than the prompt, but the prompt and the range put together are
                   what inference sees and gives; then n_rewritten is 0                             */
    bool open;  /* no stop text follows; the range ends where the message's text does               */
} fmp_chat_mask_result;

/*
 * fmp_chat_mask: the byte ranges of a rendering on which a model is trained, one per supervised message.
 *
 * The range of assistant message i
 *   begins where the model would begin. Let the prompt be the rendering of messages[:i] with
 *          add_generation_prompt = true. Where the full text begins with it, the range begins at its end. So
 *          the turn's header is not trained, while what the template writes after it (a call marker,
 *          `{"name": "`) is. Where the template rewrites its past, the full text is another one before this
 *          turn; then only the prompt's tail, the text behind the last byte of the message before, is looked
 *          for in the gap before message i: all of it, or as much of it as the gap has (up to a whole mark,
 *          and into what add_generation_prompt adds), or else that added text anywhere in the gap. Such a
 *          turn counts in n_rewritten: it is trained after a past that differs from what a model sees at
 *          that turn (see `expand: per_turn` in chat.h).
 *   ends   after the first stop text in template text behind its first byte. The stop text must come before
 *          any byte of another message. A spelled stop text inside content ends nothing.
 * With `only_one` no prompt need be how the text begins, and no stop text need follow: `joins` and `open` say
 * so. The text joins if the whole of what add_generation_prompt adds stands in front of the range.
 * A message that is left empty by its template still has its stop text as range. The range of a message of
 * another role begins at its first byte and ends after the stop text, or at its last byte if none follows.
 * {% generation %} marks are not used here: they are in the spans for who prefers them.
 *
 * With `tails`, only the last assistant prompt is rendered; where its tail is the one found by probing, the
 * other turns' are taken from there too.
 *
 *   rendered   the full rendering of `context` by `tmpl`; borrowed
 *   out        ranges returned in `arena`
 * Errors   FMP_E_MISMATCH if the place where an assistant message begins cannot be found (names template,
 *          message and offset); FMP_E_DATA if a supervised assistant message is not followed by a stop text
 *          (says what follows it) or has tool calls that the template leaves out, or messages is no array.
 *          Each names the message, for the caller to reject it.
 * When     any thread.       Cost  O(spans), and one more render (without tails: for each supervised
 *          message).
 */
FMP_MUST_USE fmp_status fmp_chat_mask(const fmp_template *tmpl, const cJSON *context,
                                      const fmp_rendered *rendered, const fmp_chat_mask_options *options,
                                      fmp_arena *arena, fmp_chat_mask_result *out, fmp_err *err);

#ifdef __cplusplus
}
#endif
#endif
