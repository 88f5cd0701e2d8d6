/* links: fmbase fmtext */
/*
 * Hand-written scanners cut the words that PCRE2 cuts: every character, random texts, real texts. Also: NFC.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../fuzz/scan_compare.h"

#include <fmpipe/fs.h>

static fmp_tok_scratch *scratch;

static int make_scratch(void **state)
{
    (void)state;
    scratch = fmp_tok_scratch_new();
    return scratch ? 0 : -1;
}

static int free_scratch(void **state)
{
    (void)state;
    fmp_tok_scratch_free(scratch);
    return 0;
}

static void assert_same_words(size_t which, const fmp_tokenizer *tok, const char *s, size_t n, size_t batch)
{
    size_t at = scan_differs_at(tok, scratch, s, n, batch);
    if (at == n) { return; }
    char hex[3 * 24 + 1] = "";
    for (size_t i = at; i < n && i < at + 24; i++) {
        snprintf(hex + 3 * (i - at), 4, "%02X ", (unsigned char)s[i]);
    }
    fail_msg("%s: words differ at byte %zu: %s", scan_cases[which].name, at, hex);
}

/* The character between letters, before one, alone, before a number, after signs. */
static void every_character_is_classed_as_pcre2_does(void **state)
{
    (void)state;
    char *text = malloc((size_t)0x24000 * 32);
    size_t n = 0;
    for (uint32_t c = 1; c < 0x110000; c += c < 0x20000 ? 1 : 251) {
        static const char *const around[] = {"a", "b A", " ", "1 ", "!", "\n"};
        if (c >= 0xD800 && c < 0xE000) { continue; }
        for (size_t k = 0; k < sizeof around / sizeof *around; k++) {
            n += tk_utf8_put(c, text + n);
            n += (size_t)snprintf(text + n, 8, "%s", around[k]);
        }
    }
    for (size_t i = 0; i < N_SCAN_CASES; i++) {
        fmp_tokenizer *tok = scan_case_load(i);
        assert_same_words(i, tok, text, n, 64);
        fmp_tokenizer_free(tok);
    }
    free(text);
}

/* Mostly characters that patterns treat differently; now and then any at all. */
static size_t random_text(uint64_t seed, size_t n_chars, char *out)
{
    static const char *const chars[] = {
        " ",
        " ",
        " ",
        "  ",
        "a",
        "e",
        "Z",
        "Q",
        "s",
        "t",
        "ll",
        "'",
        "'s",
        "'S",
        "'re",
        "'\xC5\xBF",
        "\n",
        "\r",
        "\r\n",
        "\t",
        "\xC2\xA0",
        "\xC2\x85",
        "\xE2\x80\xA8",
        "\xE3\x80\x80",
        "\xE1\xA0\x8E",
        "1",
        "2",
        "345",
        "\xC2\xB2",
        "\xC2\xBD",
        "\xD9\xA3",
        "\xE2\x85\xA7",
        "!",
        ".",
        "/",
        "/\n",
        "-",
        "$",
        "+",
        "~",
        "\xE2\x82\xAC",
        "\xE3\x83\xBB",
        "\xE3\x82\x99",
        "\xE3\x81\xAE",
        "\xE6\x97\xA5",
        "\xE3\x90\x80",
        "\xE9\xBE\xA6",
        "\xE3\x81\x80",
        "\xCC\x81",
        "\xC3\xA9",
        "\xC3\x89",
        "\xC7\x85",
        "\xCA\xB0",
        "\xD7\x90",
        "\xF0\x9F\x98\x80",
        "\xF0\x9D\x90\x80",
        "\xF0\xA0\x80\x80",
        "\x01",
        "\x7F",
        "\xE2\x80\x8D",
        "\xEF\xBF\xBD",
        "\xEF\xBC\x81",
        "\xF3\xA0\x80\x81",
        "abcdefghijklmnopqrst",
        "ABCDEFGHIJKLMNOPQRST",
    };
    size_t n = 0;
    for (size_t i = 0; i < n_chars; i++) {
        uint64_t pick = fmp_rng_below(7, seed, i, 24);
        if (pick == 0) {
            uint32_t c = (uint32_t)fmp_rng_below(8, seed, i, 0x110000);
            n += tk_utf8_put(c >= 0xD800 && c < 0xE000 ? 'x' : c, out + n);
            continue;
        }
        const char *c = chars[fmp_rng_below(9, seed, i, sizeof chars / sizeof *chars)];
        size_t len = strlen(c);
        memcpy(out + n, c, len);
        n += len;
    }
    return n;
}

static void random_texts_are_cut_the_same(void **state)
{
    (void)state;
    char *text = malloc(256 * 24);
    for (size_t i = 0; i < N_SCAN_CASES; i++) {
        fmp_tokenizer *tok = scan_case_load(i);
        for (uint64_t seed = 0; seed < 3000; seed++) {
            size_t n = random_text(seed, 1 + fmp_rng_below(6, seed, 0, seed % 8 == 0 ? 200 : 12), text);
            char *exact = malloc(n); /* so that a sanitizer sees a read behind the text */
            memcpy(exact, text, n);
            assert_same_words(i, tok, exact, n, 1 + seed % 64);
            free(exact);
        }
        fmp_tokenizer_free(tok);
    }
    free(text);
}

static void real_texts_are_cut_the_same(void **state)
{
    (void)state;
    static const char *const names[] = {"text/wagahaiwa_nekodearu.txt",
                                        "text/english-novels/Doyle_Hound_1902.txt",
                                        "text/french-novels/FRA00101_Adam.txt", "sgd/dev.openai.jsonl",
                                        "tokenizers/sentencepiece-google/data/nfkd.tsv"};
    const char *base = getenv("FMP_SHARED_DATA");
    size_t n_files = 0;
    for (size_t f = 0; base && f < sizeof names / sizeof *names; f++) {
        char path[512];
        fmp_buf text = {0};
        snprintf(path, sizeof path, "%s/%s", base, names[f]);
        if (!fmp_path_exists(path)) { continue; }
        assert_int_equal(fmp_read_file(path, 0, &text, NULL), FMP_OK);
        size_t n = text.len < 200000 ? text.len : 200000;
        while (n > 0 && n < text.len && ((unsigned char)text.data[n] & 0xC0) == 0x80) {
            n--;
        }
        for (size_t i = 0; i < N_SCAN_CASES; i++) {
            fmp_tokenizer *tok = scan_case_load(i);
            assert_same_words(i, tok, text.data, n, 64);
            fmp_tokenizer_free(tok);
        }
        fmp_buf_free(&text);
        n_files++;
    }
    if (n_files == 0) {
        print_message("skipped: FMP_SHARED_DATA has none of these texts\n");
        skip();
    }
}

/* Each of these is a run that a scanner could look through again and again: 4 MB would then take hours. */
static void no_text_is_slow(void **state)
{
    (void)state;
    static const char *const units[] = {" ",
                                        "\n ",
                                        "A",
                                        "\xE6\x97\xA5",
                                        "\xCC\x81"
                                        "A",
                                        "\xE3\x81\x80",
                                        "1",
                                        "\xC2\xB2",
                                        "!",
                                        "\x01",
                                        "'"};
    const size_t len = (size_t)4 << 20;
    char *text = malloc(len + 8);
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        size_t n = 0, unit = strlen(units[u]);
        while (n + unit <= len) {
            memcpy(text + n, units[u], unit);
            n += unit;
        }
        text[n++] = 'z';
        for (size_t i = 0; i < N_SCAN_CASES; i++) {
            fmp_tokenizer *tok = scan_case_load(i);
            tk_scan_state at = {0, 0};
            uint32_t ends[64];
            size_t k, last = 0;
            while ((k = tok->scan(text, n, &at, ends, 64)) > 0) {
                last = ends[k - 1];
            }
            assert_int_equal(last, n);
            fmp_tokenizer_free(tok);
        }
    }
    free(text);
}

static void texts_in_nfc_are_told_from_others(void **state)
{
    (void)state;
    static const char *const yes[] = {"", "plain text, long enough",
                                      "Kaffee \xC3\xA9 \xE6\x97\xA5\xE6\x9C\xAC",
                                      "\xEA\xB0\x80 \xF0\x9F\x98\x80"};
    static const char *const no[] = {"e\xCC\x81", "12345678e\xCC\x81", "\xE1\x84\x80\xE1\x85\xA1",
                                     "\xE0\xA5\x98", "\xF0\x9D\x85\x9E"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        assert_true(tk_is_nfc(yes[i], strlen(yes[i])));
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        assert_false(tk_is_nfc(no[i], strlen(no[i])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_character_is_classed_as_pcre2_does),
        cmocka_unit_test(random_texts_are_cut_the_same),
        cmocka_unit_test(real_texts_are_cut_the_same),
        cmocka_unit_test(no_text_is_slow),
        cmocka_unit_test(texts_in_nfc_are_told_from_others),
    };
    return cmocka_run_group_tests(tests, make_scratch, free_scratch);
}
