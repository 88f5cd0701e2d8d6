/* links: fmbase fmtext */
/* Any merge list, however disordered, gives the tokens that merging pair by pair gives; no word is slow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fmpipe/fs.h>
#include <fmpipe/json.h>
#include <fmpipe/tokenizer.h>

#include <stdlib.h>

#define MAX_TOKENS 96
#define MAX_RULES  160
#define MAX_TEXT   400

/* A vocabulary made up: characters first, then what merges make. Tokens are at most 24 characters. */
typedef struct model {
    char token[MAX_TOKENS][80];
    struct {
        int left, right, made;
    } rule[MAX_RULES];
    int n_tokens, n_rules, n_chars;
    bool byte_level, ignore_merges, fallback;
} model;

static int find_token(const model *m, const char *text, size_t len)
{
    for (int i = 0; i < m->n_tokens; i++) {
        if (strlen(m->token[i]) == len && memcmp(m->token[i], text, len) == 0) { return i; }
    }
    return -1;
}

static uint64_t pick(uint64_t seed, uint64_t *count, uint64_t n)
{
    return fmp_rng_below(11, seed, (*count)++, n);
}

static void put_token(model *m, int at, const char *text)
{
    int n = snprintf(m->token[at], sizeof m->token[at], "%s", text);
    assert_true(n >= 0 && (size_t)n < sizeof m->token[at]);
}

/*
 * kind 0: as training makes them; 1: in any order; 2: as 0, but every other way to make a token is a merge
 * too.
 */
static void make_model(uint64_t seed, int kind, model *m)
{
    static const char *const ascii[] = {"a", "b", "c", "d"}, *const marked[] = {"\xE2\x96\x81", "a", "b",
                                                                                "\xC3\xA9"};
    uint64_t count = 0;
    *m = (model){.byte_level = seed % 2, .ignore_merges = seed % 5 == 0, .fallback = seed % 3 == 0};
    m->n_chars = 2 + (int)pick(seed, &count, 3);
    for (; m->n_tokens < m->n_chars; m->n_tokens++) {
        put_token(m, m->n_tokens, (m->byte_level ? ascii : marked)[m->n_tokens]);
    }
    int want = 4 + (int)pick(seed, &count, 40);
    for (int tries = 0; tries < 400 && m->n_rules < want && m->n_tokens < MAX_TOKENS; tries++) {
        char joined[160];
        int a = (int)pick(seed, &count, (uint64_t)m->n_tokens),
            b = (int)pick(seed, &count, (uint64_t)m->n_tokens);
        bool known = false;
        for (int i = 0; i < m->n_rules; i++) {
            known |= m->rule[i].left == a && m->rule[i].right == b;
        }
        if (known || strlen(m->token[a]) + strlen(m->token[b]) > 24) { continue; }
        snprintf(joined, sizeof joined, "%s%s", m->token[a], m->token[b]);
        int made = find_token(m, joined, strlen(joined));
        if (made >= 0 && kind == 0) { continue; }
        if (made < 0) { put_token(m, made = m->n_tokens++, joined); }
        m->rule[m->n_rules].left = a;
        m->rule[m->n_rules].right = b;
        m->rule[m->n_rules++].made = made;
    }
    for (int i = m->n_rules - 1; i > 0 && kind == 1; i--) {
        int j = (int)pick(seed, &count, (uint64_t)i + 1);
        __typeof__(m->rule[0]) swap = m->rule[i];
        m->rule[i] = m->rule[j];
        m->rule[j] = swap;
    }
}

/*
 * Tokens, then <unk>, then 256 bytes: in the byte alphabet where that is the kind, else <0xNN> if `fallback`.
 */
static fmp_tokenizer *load_model(const model *m)
{
    fmp_buf text = {0};
    fmp_tokenizer *tok = NULL;
    fmp_err err = FMP_ERR_INIT;
    fmp_buf_printf(
        &text,
        "{\"pre_tokenizer\":%s,\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"fuse_unk\":true,"
        "\"byte_fallback\":%s,\"ignore_merges\":%s,\"vocab\":{\"<unk>\":%d",
        m->byte_level ? "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}" : "null",
        m->fallback ? "true" : "false", m->ignore_merges ? "true" : "false", m->n_tokens);
    for (int i = 0; i < m->n_tokens; i++) {
        fmp_buf_printf(&text, ",\"%s\":%d", m->token[i], i);
    }
    for (int b = 0; b < 256 && m->fallback && !m->byte_level; b++) {
        fmp_buf_printf(&text, ",\"<0x%02X>\":%d", (unsigned)b, m->n_tokens + 1 + b);
    }
    fmp_buf_puts(&text, "},\"merges\":[");
    for (int i = 0; i < m->n_rules; i++) {
        fmp_buf_printf(&text, "%s[\"%s\",\"%s\"]", i ? "," : "", m->token[m->rule[i].left],
                       m->token[m->rule[i].right]);
    }
    fmp_buf_puts(&text, "]}}");
    if (fmp_tokenizer_parse(text.data, text.len, "made up", &tok, &err) != FMP_OK) {
        fail_msg("%s", err.message);
    }
    fmp_buf_free(&text);
    return tok;
}

static size_t char_len(const char *s)
{
    unsigned char b = (unsigned char)s[0];
    return b < 0x80 ? 1 : b < 0xE0 ? 2 : 3;
}

/* What one character starts as: ids and the offsets where they end. */
static size_t start_char(const model *m, const char *s, size_t at, size_t len, uint32_t *ids, uint32_t *ends,
                         size_t n)
{
    int id = find_token(m, s + at, len);
    uint32_t unk = (uint32_t)m->n_tokens;
    if (id >= 0) {
        ids[n] = (uint32_t)id;
        ends[n++] = (uint32_t)(at + len);
        return n;
    }
    for (size_t k = at; k < at + len && m->fallback && !m->byte_level; k++) {
        ids[n] = unk + 1 + (unsigned char)s[k];
        ends[n++] = (uint32_t)k + 1;
    }
    if (m->fallback && !m->byte_level) { return n; }
    if (n > 0 && ids[n - 1] == unk) { n--; }
    ids[n] = unk;
    ends[n++] = (uint32_t)(at + len);
    return n;
}

/*
 * Merging by the book: of all neighbouring pairs that can be merged the one of lowest rank, the leftmost of
 * these.
 */
static size_t merge_plainly(const model *m, const char *s, size_t len, uint32_t *ids, uint32_t *ends)
{
    size_t n = 0;
    int whole = find_token(m, s, len);
    if (m->ignore_merges && whole >= 0) {
        ids[0] = (uint32_t)whole;
        ends[0] = (uint32_t)len;
        return 1;
    }
    for (size_t at = 0; at < len;) {
        size_t step = m->byte_level ? 1 : char_len(s + at);
        n = start_char(m, s, at, step, ids, ends, n);
        at += step;
    }
    for (;;) {
        int best = m->n_rules;
        size_t where = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            for (int r = 0; r < best; r++) {
                if ((int)ids[i] == m->rule[r].left && (int)ids[i + 1] == m->rule[r].right) {
                    best = r;
                    where = i;
                }
            }
        }
        if (best == m->n_rules) { return n; }
        ids[where] = (uint32_t)m->rule[best].made;
        ends[where] = ends[where + 1];
        n--;
        memmove(ids + where + 1, ids + where + 2, (n - where - 1) * sizeof *ids);
        memmove(ends + where + 1, ends + where + 2, (n - where - 1) * sizeof *ends);
    }
}

static void check_text(const model *m, const fmp_tokenizer *tok, fmp_tok_scratch *scratch, const char *s,
                       size_t len)
{
    uint32_t ids[MAX_TEXT * 3], ends[MAX_TEXT * 3];
    fmp_token_list list = {0};
    fmp_err err = FMP_ERR_INIT;
    size_t n = merge_plainly(m, s, len, ids, ends);
    if (fmp_tokenizer_encode(tok, scratch, s, len, FMP_TOK_PLAIN, &list, &err) != FMP_OK) {
        fail_msg("%s", err.message);
    }
    if (list.n != n || memcmp(list.ids, ids, n * sizeof *ids) != 0 ||
        memcmp(list.end, ends, n * sizeof *ends) != 0) {
        print_message("text \"%.*s\"\nmerges:", (int)len, s);
        for (int i = 0; i < m->n_rules; i++) {
            print_message(" %s+%s", m->token[m->rule[i].left], m->token[m->rule[i].right]);
        }
        fail_msg("expected %zu tokens, found %zu, or others", n, list.n);
    }
    fmp_token_list_free(&list);
}

static void check_model(uint64_t seed, int kind)
{
    static const char *const stray[] = {"\xC3\xA9", "z", "\xE2\x96\x81", "\xE3\x81\xAE"};
    model m;
    make_model(seed, kind, &m);
    fmp_tokenizer *tok = load_model(&m);
    fmp_tok_scratch *scratch = fmp_tok_scratch_new();
    uint64_t count = 1000;
    for (int t = 0; t < 12; t++) {
        char text[MAX_TEXT * 3];
        size_t n = 0, n_chars = 1 + pick(seed, &count, t == 0 ? MAX_TEXT / 2 : 24);
        for (size_t i = 0; i < n_chars; i++) {
            bool odd = t % 3 == 2 && pick(seed, &count, 10) == 0;
            const char *c =
                odd ? stray[pick(seed, &count, 4)] : m.token[pick(seed, &count, (uint64_t)m.n_chars)];
            memcpy(text + n, c, strlen(c));
            n += strlen(c);
        }
        check_text(&m, tok, scratch, text, n);
    }
    for (int i = 0; i < m.n_tokens; i++) {
        check_text(&m, tok, scratch, m.token[i], strlen(m.token[i]));
    }
    fmp_tok_scratch_free(scratch);
    fmp_tokenizer_free(tok);
}

static void trained_merges_give_what_merging_gives(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 500; seed++) {
        check_model(seed, 0);
    }
}

static void disordered_merges_give_what_merging_gives(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 1000; seed++) {
        check_model(seed, 1);
    }
}

static void merges_of_every_pair_give_what_merging_gives(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 500; seed++) {
        check_model(seed, 2);
    }
}

/*
 * One word of 10 MB, of one character or of a few, must not take more than linear time, whatever the merges
 * are.
 */
static void a_word_of_ten_megabytes_is_encoded(void **state)
{
    (void)state;
    char *text = malloc((size_t)10 << 20);
    for (int kind = 0; kind < 2; kind++) {
        size_t len = (size_t)(kind == 0 ? 10 : 2) << 20;
        model m;
        make_model(7, kind, &m); /* byte-level, no whole words */
        fmp_tokenizer *tok = load_model(&m);
        fmp_tok_scratch *scratch = fmp_tok_scratch_new();
        for (int shape = 0; shape < 3; shape++) {
            fmp_token_list list = {0};
            for (size_t i = 0; i < len; i++) {
                text[i] =
                    shape == 0
                        ? 'a'
                        : (char)('a' + (shape == 1 ? i % 2 : fmp_rng_below(1, 2, i, (uint64_t)m.n_chars)));
            }
            assert_int_equal(fmp_tokenizer_encode(tok, scratch, text, len, FMP_TOK_PLAIN, &list, NULL),
                             FMP_OK);
            assert_int_equal(list.end[list.n - 1], len);
            fmp_token_list_free(&list);
        }
        fmp_tok_scratch_free(scratch);
        fmp_tokenizer_free(tok);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trained_merges_give_what_merging_gives),
        cmocka_unit_test(disordered_merges_give_what_merging_gives),
        cmocka_unit_test(merges_of_every_pair_give_what_merging_gives),
        cmocka_unit_test(a_word_of_ten_megabytes_is_encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
