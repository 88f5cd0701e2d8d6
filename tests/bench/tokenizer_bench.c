/*
 * tokenizer_bench.c: MB/s of encoding on one thread, and the time to load.
 *
 * usage: tokenizer_bench TOKENIZER.json FILE... Each file is cut into pieces at the first line end behind
 * every 8 KiB, as tokenizer_bench.py cuts it for the peers. Prints tab-separated, first "load", seconds; then
 * for each file its path, bytes, tokens, seconds, SHA-256 of all ids. Times are processor time of the one
 * thread, the best of several rounds: what a busy machine disturbs least.
 */
#include <fmpipe/fs.h>
#include <fmpipe/tokenizer.h>

#include <stdlib.h>
#include <time.h>

#define ROUNDS      7
#define PIECE_BYTES 8192u

static void check(fmp_status status, const fmp_err *err)
{
    if (status == FMP_OK) { return; }
    fprintf(stderr, "tokenizer_bench: %s\n", err->message);
    exit(3);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static fmp_tokenizer *load_timed(const char *path)
{
    fmp_tokenizer *tok = NULL;
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        fmp_err err = FMP_ERR_INIT;
        fmp_tokenizer_free(tok);
        double t0 = now();
        check(fmp_tokenizer_load(path, &tok, &err), &err);
        double t = now() - t0;
        if (t < best) { best = t; }
    }
    printf("load\t%.6f\n", best);
    return tok;
}

static size_t piece_end(const fmp_buf *text, size_t at)
{
    if (text->len - at <= PIECE_BYTES) { return text->len; }
    const char *eol = memchr(text->data + at + PIECE_BYTES, '\n', text->len - at - PIECE_BYTES);
    return eol ? (size_t)(eol - text->data) + 1 : text->len;
}

static double encode_all(const fmp_tokenizer *tok, fmp_tok_scratch *scratch, const fmp_buf *text,
                         fmp_token_list *ids)
{
    fmp_err err = FMP_ERR_INIT;
    double t0 = now();
    ids->n = 0;
    for (size_t at = 0; at < text->len;) {
        size_t end = piece_end(text, at);
        check(fmp_tokenizer_encode(tok, scratch, text->data + at, end - at, FMP_TOK_PLAIN, ids, &err), &err);
        at = end;
    }
    return now() - t0;
}

static void bench_file(const fmp_tokenizer *tok, const char *path)
{
    fmp_buf text = {0};
    fmp_token_list ids = {0};
    fmp_err err = FMP_ERR_INIT;
    unsigned char digest[32];
    char hex[65];
    double best = 1e9;
    check(fmp_read_file(path, 0, &text, &err), &err);
    for (int round = 0; round < ROUNDS; round++) {
        fmp_tok_scratch *scratch =
            fmp_tok_scratch_new(); /* each round begins with a cold cache, as a run does */
        if (!scratch) { exit(3); }
        double t = encode_all(tok, scratch, &text, &ids);
        if (t < best) { best = t; }
        fmp_tok_scratch_free(scratch);
    }
    fmp_sha256_bytes(ids.ids, ids.n * sizeof *ids.ids, digest);
    fmp_hex(digest, sizeof digest, hex);
    printf("%s\t%zu\t%zu\t%.6f\t%s\n", path, text.len, ids.n, best, hex);
    fmp_token_list_free(&ids);
    fmp_buf_free(&text);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: tokenizer_bench TOKENIZER.json FILE...\n");
        return 2;
    }
    fmp_tokenizer *tok = load_timed(argv[1]);
    for (int i = 2; i < argc; i++) {
        bench_file(tok, argv[i]);
    }
    fmp_tokenizer_free(tok);
    return 0;
}
