/*
 * tokenizer_probe.c: encode or decode through libfmtext for tokenizer_parity.py, framed so that any text passes.
 * Usage: tokenizer_probe PATH encode FLAGS < texts      each: u32 length, bytes      > each: u32 count, u32 ids
 *        tokenizer_probe PATH decode FLAGS < ids        each: u32 count, u32 ids     > each: u32 length, bytes
 *        tokenizer_probe PATH load                      the fastest of five loads in milliseconds, and the size
 */
#include <fmpipe/fs.h>
#include <fmpipe/tokenizer.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const fmp_err *err)
{
    fprintf(stderr, "%s\n%s%s", err->message, err->hint, *err->hint ? "\n" : "");
    return 1;
}

/* One framed item into `buf` (unit bytes each); false at the end of the input. */
static bool read_item(fmp_buf *buf, size_t unit, uint32_t *n)
{
    buf->len = 0;
    if (fread(n, sizeof *n, 1, stdin) != 1) { return false; }
    char *room = fmp_buf_grow(buf, (size_t)*n * unit + 1);
    return room && fread(room, unit, *n, stdin) == *n;
}

static int encode(const fmp_tokenizer *tok, unsigned flags)
{
    fmp_tok_scratch *scratch = fmp_tok_scratch_new();
    fmp_token_list list = {0};
    fmp_buf buf = {0};
    fmp_err err = FMP_ERR_INIT;
    for (uint32_t n; read_item(&buf, 1, &n);) {
        list.n = 0;
        if (fmp_tokenizer_encode(tok, scratch, buf.data, n, flags, &list, &err) != FMP_OK) {
            return fail(&err);
        }
        uint32_t count = (uint32_t)list.n;
        for (size_t i = 0; i < list.n; i++) {
            if (list.begin[i] != (i ? list.end[i - 1] : 0) || list.end[i] < list.begin[i] ||
                list.end[i] > n) {
                fprintf(stderr, "offsets do not lie end to end at token %zu\n", i);
                return 1;
            }
        }
        (void)fwrite(&count, sizeof count, 1, stdout);
        (void)fwrite(list.ids, sizeof *list.ids, list.n, stdout);
    }
    fmp_buf_free(&buf);
    fmp_token_list_free(&list);
    fmp_tok_scratch_free(scratch);
    return 0;
}

static int decode(const fmp_tokenizer *tok, unsigned flags)
{
    fmp_buf buf = {0}, out = {0};
    fmp_err err = FMP_ERR_INIT;
    for (uint32_t n; read_item(&buf, sizeof(uint32_t), &n);) {
        out.len = 0;
        if (fmp_tokenizer_decode(tok, (const uint32_t *)(const void *)buf.data, n, flags, &out, &err) !=
            FMP_OK) {
            return fail(&err);
        }
        uint32_t len = (uint32_t)out.len;
        (void)fwrite(&len, sizeof len, 1, stdout);
        if (len > 0) { (void)fwrite(out.data, 1, len, stdout); }
    }
    fmp_buf_free(&buf);
    fmp_buf_free(&out);
    return 0;
}

static int time_load(const char *path)
{
    double best = 1e9;
    uint32_t size = 0;
    for (int i = 0; i < 5; i++) {
        fmp_tokenizer *tok = NULL;
        fmp_err err = FMP_ERR_INIT;
        double start = fmp_now();
        if (fmp_tokenizer_load(path, &tok, &err) != FMP_OK) { return fail(&err); }
        double took = fmp_now() - start;
        best = took < best ? took : best;
        size = fmp_tokenizer_size(tok);
        fmp_tokenizer_free(tok);
    }
    printf("%.1f %u\n", best * 1e3, size);
    return 0;
}

int main(int argc, char **argv)
{
    fmp_tokenizer *tok = NULL;
    fmp_err err = FMP_ERR_INIT;
    if (argc == 3 && strcmp(argv[2], "load") == 0) { return time_load(argv[1]); }
    if (argc != 4) {
        fprintf(stderr, "usage: tokenizer_probe PATH encode|decode FLAGS, or PATH load\n");
        return 2;
    }
    if (fmp_tokenizer_load(argv[1], &tok, &err) != FMP_OK) { return fail(&err); }
    unsigned flags = (unsigned)strtoul(argv[3], NULL, 10);
    int result = strcmp(argv[2], "encode") == 0 ? encode(tok, flags) : decode(tok, flags);
    fmp_tokenizer_free(tok);
    return result;
}
