/*
 * template_impl.h: what the files of the template engine share (private to core/text).
 *
 *   template_lex.c     source text      -> tokens, with Jinja's white-space control
 *   template_tree.c, template_expr.c, template_parse.c
 *                      tokens           -> syntax tree, in the template's arena, immutable from then on
 *   template_str.c     strings whose every byte knows its origin; all operations on them
 *   template_value.c   values: truth, equality, order, the lazy view of the cJSON context
 *   template_print.c   values as text and as JSON
 *   template_eval.c    statements and expressions
 *   template_call.c    attribute access, calls, methods, global functions; template_method.c: methods of
 *   strings template_filter.c, template_filter_text.c, template_pprint.c  filters; template_test.c: tests
 *   template_format.c  printf-style and brace formatting
 *   template.c         the public entries, spans and paths
 *   chat_mask.c        supervised byte ranges
 *
 * Everything made during a render lives in the render's arena; nothing is ever freed one by one. Values are
 * immutable (the sandbox forbids append, update, ...), so they are shared freely; only namespaces change.
 */
#ifndef FMP_TEMPLATE_IMPL_H
#define FMP_TEMPLATE_IMPL_H

#include <fmpipe/chat_template.h>

/* An origin says where bytes come from: two constants, else the index of a node in the path table. */
enum {
    ORIGIN_LITERAL = 0,
    ORIGIN_COMPUTED = 1,
    ORIGIN_ROOT = 2, /* the context object itself; its members follow */
};
#define ORIGIN_GENERATION 0x80000000u /* flag: rendered inside {% generation %} */
#define ORIGIN_MASK       0x7fffffffu
#define SRC_NONE          UINT32_MAX

#define TPL_MAX_PARSE_DEPTH 200u  /* nesting of expressions and blocks in the source        */
#define TPL_MAX_RUN_DEPTH   1000u /* nested evaluations, macro calls included                */
#define TPL_MAX_DATA_DEPTH  200u  /* nesting of a value being printed or compared            */
#define TPL_MAX_PARAMS      8u

/* Bytes from the previous run's end up to `end` have one origin; `src` is their offset in the source. */
typedef struct tpl_run {
    uint32_t end;
    uint32_t origin;
    uint32_t src;
} tpl_run;

typedef struct tpl_str {
    const char *p; /* not terminated */
    uint32_t len;
    uint32_t n_runs; /* 0 only for "" */
    const tpl_run *runs;
    tpl_run one; /* what `runs` points to when there is a single run */
} tpl_str;

typedef enum tpl_type {
    T_UNDEFINED,
    T_NONE,
    T_BOOL,
    T_INT,
    T_FLOAT,
    T_BIG, /* an integer of the input beyond 64 bits: printed as it came, no arithmetic */
    T_STR,
    T_SEQ,
    T_DICT,
    T_NAMESPACE,
    T_MACRO,
    T_METHOD, /* bound method */
    T_FUNCTION,
    T_LOOP,
    T_CYCLER,
    T_JOINER,
    T_LAZY, /* a member of an input container not looked at yet: never leaves its slot */
} tpl_type;

typedef struct tpl_val tpl_val;
typedef struct tpl_seq tpl_seq;
typedef struct tpl_dict tpl_dict;
typedef struct tpl_node tpl_node;
typedef struct tpl_macro tpl_macro;
typedef struct tpl_method tpl_method;
typedef struct tpl_loop tpl_loop;
typedef struct tpl_frame tpl_frame;
typedef struct tpl_builtin tpl_builtin;
typedef struct tpl_rt tpl_rt;

struct tpl_val {
    uint8_t type;    /* tpl_type                                                                          */
    uint8_t flag;    /* T_STR: 1 = markup-safe; T_UNDEFINED: type of the object that lacked it, 255 = none */
    uint32_t origin; /* of scalars and containers; strings carry theirs in runs                        */
    union {
        bool b;
        int64_t i;
        double f;
        const tpl_str *s; /* T_STR, T_BIG; T_UNDEFINED: the name                                       */
        tpl_seq *q;
        tpl_dict *d; /* T_DICT, T_NAMESPACE                                                            */
        tpl_macro *m;
        const tpl_method *bound;
        const tpl_builtin *fn;
        tpl_loop *loop;
        const cJSON *json; /* T_LAZY */
    } u;
};

typedef enum tpl_seq_kind { Q_LIST, Q_TUPLE, Q_GENERATOR, Q_KEYS, Q_VALUES, Q_ITEMS, Q_RANGE } tpl_seq_kind;

struct tpl_seq {
    tpl_val *items;
    uint32_t n;
    uint8_t kind;
    bool spent;    /* a generator that was iterated: now empty, as in Python */
    bool is_group; /* a pair of groupby: its members are also .grouper, .list */
    int64_t start; /* Q_RANGE: for printing; T_CYCLER: position               */
    int64_t stop;
    int64_t step;
};

struct tpl_dict {
    tpl_val *keys;
    tpl_val *vals;
    uint32_t n;
    uint32_t cap;
    uint32_t *index; /* open addressing over string keys, built when n is large; NULL before */
    uint32_t index_size;
};

struct tpl_macro {
    const tpl_node *node; /* S_MACRO or S_CALLBLOCK */
    tpl_frame *frame;     /* where it was defined    */
};

struct tpl_method {
    tpl_val self;
    const tpl_builtin *fn;
};

struct tpl_loop {
    const tpl_val *items;
    uint32_t n;
    uint32_t i;
    uint32_t depth;
    tpl_val last_changed; /* loop.changed() */
    bool has_changed;
    const tpl_node *node; /* the for statement, for recursive loops */
    tpl_frame *frame;
};

/* Variables of a scope; scopes inside the template's top level are small, so a list is searched. */
struct tpl_frame {
    tpl_frame *up;
    uint32_t *names;
    tpl_val *vals;
    uint32_t n;
    uint32_t cap;
};

typedef enum tpl_kind {
    N_CONST,
    N_NAME,
    N_LIST,
    N_TUPLE,
    N_DICT, /* kids: key, value, key, value ... */
    N_ATTR,
    N_ITEM,
    N_SLICE, /* a[b:c:d] */
    N_CALL,
    N_FILTER,
    N_TEST,
    N_BINARY,
    N_CONCAT,
    N_COMPARE, /* a, then kids with their operators in ops */
    N_AND,
    N_OR,
    N_NOT,
    N_NEG,
    N_POS,
    N_COND, /* b if a else c */
    S_BLOCK,
    S_TEXT,
    S_OUTPUT,
    S_IF,  /* kids: test, body, test, body ...; c: else */
    S_FOR, /* a: target, b: iterable, c: filter, d: body, e: else */
    S_SET,
    S_SET_BLOCK,
    S_MACRO,
    S_CALLBLOCK,
    S_FILTER_BLOCK,
    S_GENERATION,
    S_WITH,
    S_BREAK,
    S_CONTINUE,
} tpl_kind;

typedef enum tpl_op {
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_FLOORDIV,
    OP_MOD,
    OP_POW,
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_IN,
    OP_NOT_IN,
} tpl_op;

struct tpl_node {
    uint8_t kind;
    uint8_t op;
    uint16_t depth; /* height of the tree below, bounded by the parser */
    uint32_t line, column;
    uint32_t src_begin, src_end; /* the expression's text in the source */
    uint32_t name;               /* interned name: N_NAME, S_MACRO      */
    uint32_t n_kids;
    uint32_t n_pos; /* calls: kids[0..n_pos) positional, the rest named by kw      */
    bool recursive;
    bool member;   /* N_ATTR: no method has this name, so it can only be a member of the data */
    tpl_val value; /* N_CONST, S_TEXT; the attribute, filter, test or macro name */
    const tpl_builtin *fn;
    tpl_node *a, *b, *c, *d, *e; /* calls: b, c: what *b and **c unpack */
    tpl_node **kids;
    tpl_val *kw;      /* names of keyword arguments (n_kids - n_pos), as string values */
    uint8_t *ops;     /* N_COMPARE                                                     */
    uint32_t *params; /* S_MACRO, S_CALLBLOCK: interned names (n_params)               */
    uint32_t n_params;
    tpl_node **defaults; /* of the last n_defaults parameters */
    uint32_t n_defaults;
};

struct fmp_template {
    fmp_arena *arena;
    char *name;
    char *source; /* with newlines normalised */
    uint32_t source_len;
    tpl_node *root;
    const tpl_str **names; /* interned variable names */
    uint32_t n_names;
    uint32_t id_loop, id_caller, id_varargs, id_kwargs; /* UINT32_MAX: the template has no such name */
};

/* Evaluated arguments of a call. */
typedef struct tpl_args {
    const tpl_val *pos;
    uint32_t n_pos;
    const tpl_val *kw_names;
    const tpl_val *kw_vals;
    uint32_t n_kw;
} tpl_args;

/* A filter, test, method or function. `params`: its parameter names, or "*": it takes them as they are. */
typedef struct tpl_call {
    tpl_val self; /* the filtered value, the object of the method; undefined for functions */
    const tpl_args *args;
    const tpl_val *arg[TPL_MAX_PARAMS]; /* bound by name; NULL where not given */
    const tpl_builtin *fn;
} tpl_call;

typedef fmp_status (*tpl_fn)(tpl_rt *rt, const tpl_call *c, tpl_val *out);
struct tpl_builtin {
    const char *name;
    const char *params;
    uint32_t n_required;
    tpl_fn fn;
};

typedef struct tpl_path {
    uint32_t parent;
    uint32_t index; /* of an array element, when key is NULL */
    const char *key;
    const char *text; /* as spelled for the caller; NULL: not yet */
} tpl_path;

/* A break or continue on its way out to its loop. */
typedef enum tpl_jump { JUMP_NONE, JUMP_BREAK, JUMP_CONTINUE } tpl_jump;

/* Text under construction: bytes and their runs. */
typedef struct tpl_sink {
    char *p;
    size_t len, cap;
    tpl_run *runs;
    size_t n_runs, cap_runs;
} tpl_sink;

struct tpl_rt {
    const fmp_template *tmpl;
    fmp_arena *arena;
    char *bump; /* current chunk of the arena */
    size_t bump_left;
    fmp_err *err;
    const tpl_node *at; /* for error positions            */
    tpl_val *globals;   /* (n_names) top-level variables  */
    tpl_sink *sink;
    uint32_t generation; /* ORIGIN_GENERATION inside {% generation %}, else 0 */
    uint32_t depth;
    uint32_t loop_depth;
    uint8_t jump; /* a tpl_jump under way */
    uint64_t steps, max_steps;
    size_t max_output, max_memory, memory;
    bool has_now;
    int64_t now_unix;
    tpl_path *paths;
    size_t n_paths, cap_paths;
    const struct tpl_overrides *overrides;
};

/* ---- memory and errors (template_value.c) ---- */
void *tpl_take(tpl_rt *rt, size_t size); /* NULL: the error is raised already */
fmp_status tpl_fail(tpl_rt *rt, fmp_status code, const char *fmt, ...) FMP_PRINTF(3, 4);
fmp_status tpl_step(tpl_rt *rt, uint64_t cost);

/* Take `n` objects for `ptr` or leave with the status. */
#define TPL_TAKE(rt, ptr, n)                                                                                 \
    do {                                                                                                     \
        (ptr) = tpl_take((rt), sizeof *(ptr) * (size_t)(n));                                                 \
        if (!(ptr)) { return (fmp_status)(rt)->err->code; }                                                  \
    } while (0)

/* ---- strings (template_str.c) ---- */
fmp_status tpl_sink_add(tpl_rt *rt, tpl_sink *k, const char *p, size_t len, uint32_t origin, uint32_t src);
fmp_status tpl_sink_str(tpl_rt *rt, tpl_sink *k, const tpl_str *s);
fmp_status tpl_sink_slice(tpl_rt *rt, tpl_sink *k, const tpl_str *s, size_t begin, size_t end);
fmp_status tpl_sink_done(tpl_rt *rt, tpl_sink *k, tpl_val *out);
fmp_status tpl_str_new(tpl_rt *rt, const char *p, size_t len, uint32_t origin, uint32_t src, tpl_val *out);
fmp_status tpl_str_slice(tpl_rt *rt, const tpl_val *s, size_t begin, size_t end, tpl_val *out);
fmp_status tpl_str_concat(tpl_rt *rt, const tpl_val *a, const tpl_val *b, tpl_val *out);
uint32_t tpl_str_origin(const tpl_str *s); /* the one origin of all its bytes, else ORIGIN_COMPUTED */
bool tpl_str_is(const tpl_str *s, const char *text);
bool tpl_str_eq(const tpl_str *a, const tpl_str *b);
size_t tpl_str_find(const tpl_str *s, const tpl_str *needle, size_t from); /* SIZE_MAX: not there */
size_t tpl_utf8_len(const char *p, size_t left); /* bytes of the character at p, 1 for a stray byte */
uint32_t tpl_utf8_get(const char *p, size_t left, size_t *n);
size_t tpl_utf8_put(uint32_t cp, char out[4]);
size_t tpl_str_count(const tpl_str *s);              /* characters */
size_t tpl_str_byte_of(const tpl_str *s, size_t at); /* byte offset of character `at` */
bool tpl_is_space(uint32_t cp);
typedef enum tpl_case {
    CASE_UPPER,
    CASE_LOWER,
    CASE_TITLE,
    CASE_CAPITALIZE,
    CASE_TITLE_FILTER,
    CASE_SWAP
} tpl_case;
fmp_status tpl_str_case(tpl_rt *rt, const tpl_val *s, tpl_case how, tpl_val *out);
fmp_status tpl_str_strip(tpl_rt *rt, const tpl_val *s, const tpl_str *chars, bool left, bool right,
                         tpl_val *out);
fmp_status tpl_str_replace(tpl_rt *rt, const tpl_val *s, const tpl_str *old, const tpl_str *with, int64_t max,
                           tpl_val *out);
fmp_status tpl_str_split(tpl_rt *rt, const tpl_val *s, const tpl_str *sep, int64_t max, bool from_right,
                         tpl_val *out);
fmp_status tpl_str_splitlines(tpl_rt *rt, const tpl_val *s, bool keep, tpl_val *out);
fmp_status tpl_str_escape(tpl_rt *rt, const tpl_val *s, tpl_val *out);
fmp_status tpl_str_indent(tpl_rt *rt, const tpl_val *s, const tpl_str *by, bool first, bool blank,
                          tpl_val *out);
fmp_status tpl_str_pad(tpl_rt *rt, const tpl_val *s, size_t left, size_t right, char with, tpl_val *out);

/* ---- values (template_value.c) ---- */
extern const tpl_str tpl_empty;
tpl_val tpl_none(void);
tpl_val tpl_bool(bool b);
tpl_val tpl_int(int64_t i);
tpl_val tpl_float(double f);
tpl_val tpl_undefined(const tpl_str *name, uint8_t of_type);
tpl_val tpl_of_str(const tpl_str *s);
const char *tpl_type_name(const tpl_val *v);
fmp_status tpl_fail_undefined(tpl_rt *rt, const tpl_val *v);
fmp_status tpl_seq_new(tpl_rt *rt, tpl_seq_kind kind, size_t n, tpl_val *out); /* items not set */
fmp_status tpl_dict_new(tpl_rt *rt, size_t cap, tpl_val *out);
fmp_status tpl_dict_put(tpl_rt *rt, tpl_dict *d, const tpl_val *key, const tpl_val *val);
fmp_status tpl_dict_get(tpl_rt *rt, tpl_dict *d, const tpl_val *key, tpl_val **slot); /* slot NULL: absent */
tpl_val *tpl_dict_get_text(tpl_dict *d, const char *key, size_t len);
fmp_status tpl_force(tpl_rt *rt, tpl_val *slot); /* look at a T_LAZY slot */
fmp_status tpl_add_path(tpl_rt *rt, uint32_t parent, const char *key, uint32_t index, uint32_t *id);
bool tpl_truth(const tpl_val *v);
fmp_status tpl_equal(tpl_rt *rt, const tpl_val *a, const tpl_val *b, bool *out);
fmp_status tpl_order(tpl_rt *rt, const tpl_val *a, const tpl_val *b, int *out);
fmp_status tpl_contains(tpl_rt *rt, const tpl_val *box, const tpl_val *item, bool *out);
/* The elements of anything iterable; lazy members are resolved; a generator is used up by it. */
fmp_status tpl_iterate(tpl_rt *rt, const tpl_val *v, const tpl_val **items, uint32_t *n);
fmp_status tpl_length(tpl_rt *rt, const tpl_val *v, size_t *out);
bool tpl_is_number(const tpl_val *v);
double tpl_as_double(const tpl_val *v);
fmp_status tpl_to_int(tpl_rt *rt, const tpl_val *v, const char *what, int64_t *out);
fmp_status tpl_to_str(tpl_rt *rt, const tpl_val *v, tpl_val *out); /* Python's str() */
size_t tpl_float_repr(double f, char out[40]);

/* ---- printing (template_print.c) ---- */
typedef struct tpl_json_style {
    bool ensure_ascii, sort_keys, has_indent;
    const char *indent;
    size_t indent_len;
    const char *item_sep, *key_sep;
    size_t item_sep_len, key_sep_len;
} tpl_json_style;
fmp_status tpl_print(tpl_rt *rt, tpl_sink *k, const tpl_val *v, bool repr, uint32_t depth);
fmp_status tpl_print_json(tpl_rt *rt, tpl_sink *k, const tpl_val *v, const tpl_json_style *style,
                          uint32_t depth);

/* ---- filters of other files ---- */
fmp_status tpl_f_truncate(tpl_rt *rt, const tpl_call *c, tpl_val *out);
fmp_status tpl_f_wordwrap(tpl_rt *rt, const tpl_call *c, tpl_val *out);
fmp_status tpl_f_urlencode(tpl_rt *rt, const tpl_call *c, tpl_val *out);
fmp_status tpl_f_xmlattr(tpl_rt *rt, const tpl_call *c, tpl_val *out);
fmp_status tpl_f_striptags(tpl_rt *rt, const tpl_call *c, tpl_val *out);
fmp_status tpl_f_filesizeformat(tpl_rt *rt, const tpl_call *c, tpl_val *out);
fmp_status tpl_f_pprint(tpl_rt *rt, const tpl_call *c, tpl_val *out);
bool tpl_parse_float(const tpl_str *s, double *out); /* Python's float(text) */

/* ---- calls (template_call.c) ---- */
const tpl_builtin *tpl_find_filter(const tpl_str *name);
const tpl_builtin *tpl_find_test(const tpl_str *name);
const tpl_builtin *tpl_find_function(const tpl_str *name);
const tpl_builtin *tpl_find_method(const tpl_val *self, const tpl_str *name, bool *forbidden);
bool tpl_is_dict_method(const tpl_str *name); /* or a name that dicts refuse */
extern const tpl_builtin tpl_str_methods[];   /* ends with a row of NULLs (template_method.c) */
/* An argument as text or integer; a wrong type is an error that names the function. v NULL: the fallback. */
fmp_status tpl_str_arg(tpl_rt *rt, const tpl_call *c, const tpl_val *v, const tpl_str **out);
fmp_status tpl_int_arg(tpl_rt *rt, const tpl_call *c, const tpl_val *v, int64_t fallback, int64_t *out);
fmp_status tpl_invoke(tpl_rt *rt, const char *what, const tpl_builtin *fn, const tpl_val *self,
                      const tpl_args *args, tpl_val *out);
fmp_status tpl_call_value(tpl_rt *rt, const tpl_val *fn, const tpl_args *args, tpl_val *out);
fmp_status tpl_get_attr(tpl_rt *rt, const tpl_val *obj, const tpl_str *name, tpl_val *out);
fmp_status tpl_get_item(tpl_rt *rt, const tpl_val *obj, const tpl_val *key, tpl_val *out);
fmp_status tpl_slice(tpl_rt *rt, const tpl_val *obj, const tpl_val *start, const tpl_val *stop,
                     const tpl_val *step, tpl_val *out);
fmp_status tpl_format_percent(tpl_rt *rt, const tpl_str *fmt, const tpl_val *arg, tpl_val *out);
fmp_status tpl_format_braces(tpl_rt *rt, const tpl_str *fmt, const tpl_args *args, tpl_val *out);

/* ---- evaluation (template_eval.c) ---- */
fmp_status tpl_eval(tpl_rt *rt, tpl_frame *f, const tpl_node *n, tpl_val *out);
fmp_status tpl_exec_root(tpl_rt *rt);
fmp_status tpl_binary(tpl_rt *rt, tpl_op op, const tpl_val *a, const tpl_val *b, tpl_val *out);
fmp_status tpl_call_macro(tpl_rt *rt, const tpl_macro *m, const tpl_args *args, tpl_val *out);
fmp_status tpl_call_loop(tpl_rt *rt, const tpl_loop *loop, const tpl_val *items, tpl_val *out);

/* ---- lexing and parsing ---- */
typedef enum tpl_tok_kind {
    K_EOF,
    K_TEXT,
    K_BLOCK_BEGIN,
    K_BLOCK_END,
    K_VAR_BEGIN,
    K_VAR_END,
    K_NAME,
    K_STRING,
    K_INT,
    K_FLOAT,
    K_OP,
} tpl_tok_kind;

typedef struct tpl_tok {
    uint8_t kind;
    char op[3];          /* K_OP: its characters                               */
    uint32_t begin, end; /* in the source; K_STRING: with its quotes           */
    uint32_t line, column;
} tpl_tok;

typedef struct tpl_toks {
    tpl_tok *v;
    size_t n, cap;
} tpl_toks;

/* Tokens on the heap, `toks->v` to be freed by the caller also after an error. */
fmp_status tpl_lex(const char *name, const char *src, uint32_t len, tpl_toks *toks, fmp_err *err);
fmp_status tpl_syntax_error(const char *name, const char *src, uint32_t len, uint32_t at, fmp_err *err,
                            const char *fmt, ...) FMP_PRINTF(6, 7);
fmp_status tpl_parse(fmp_template *t, fmp_err *err);
/* Of a context, for one render. */
typedef struct tpl_overrides {
    size_t n_messages;       /* only so many messages; SIZE_MAX: all    */
    bool set_prompt, prompt; /* add_generation_prompt = prompt          */
    bool text_only;          /* the output has no spans: nobody asks    */
} tpl_overrides;
fmp_status tpl_render(const fmp_template *t, const cJSON *context, const fmp_template_options *options,
                      const tpl_overrides *overrides, fmp_rendered *out, fmp_err *err);

#endif
