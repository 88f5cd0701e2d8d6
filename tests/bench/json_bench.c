/*
 * json_bench.c: MB/s of reading and printing JSON, over the rows of a JSONL file or over made-up chat
 * rows of 700 bytes.
 *
 * usage: json_bench [file.jsonl]
 * Prints the best of several rounds: the figure that a busy machine disturbs least.
 */
#include <fmpipe/fs.h>
#include <fmpipe/json.h>

#include <stdlib.h>

#define ROUNDS           7
#define MADE_ROWS        20000
#define ARENA_KEEP_BYTES ((size_t)4 << 20)

static void make_rows(fmp_buf *out)
{
    for (int i = 0; i < MADE_ROWS; i++) {
        fmp_buf_printf(
            out,
            "{\"id\": \"row-%06d\", \"messages\": [{\"role\": \"system\", \"content\": \"You answer briefly "
            "and "
            "politely, in the language of the question.\"}, {\"role\": \"user\", \"content\": \"What is the "
            "weather like in Lisbon tomorrow?\\nI leave at %d:30 and have \\\"no\\\" umbrella.\"}, ",
            i, i % 12);
        fmp_buf_puts(out, "{\"role\": \"assistant\", \"content\": \"Let me look that up for you.\", "
                          "\"tool_calls\": [{\"id\": "
                          "\"c1\", \"function\": {\"name\": \"get_weather\", \"arguments\": {\"city\": "
                          "\"Lisbon\", \"days\": 1}}}]"
                          "}, {\"role\": \"tool\", \"content\": \"18 degrees, light rain until noon, then "
                          "sun\"}, {\"role\": "
                          "\"assistant\", \"content\": \"Tomorrow it rains a little until noon, at 18 "
                          "degrees, and then the sun "
                          "comes out.\"}], \"locale\": \"en-GB\", \"weight\": 0.75}\n");
    }
}

static size_t each_row(const fmp_buf *text, fmp_arena *arena, fmp_buf *printed, double *parse_s,
                       double *print_s)
{
    size_t n_rows = 0;
    const char *end = text->data + text->len;
    for (const char *p = text->data; p < end; n_rows++) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        if (!eol) { eol = end; }
        cJSON *row;
        fmp_err err = FMP_ERR_INIT;
        double t0 = fmp_now();
        if (fmp_json_parse(p, (size_t)(eol - p), NULL, &row, &err) != FMP_OK) {
            fprintf(stderr, "row %zu: %s\n", n_rows + 1, err.message);
            exit(3);
        }
        double t1 = fmp_now();
        printed->len = 0;
        fmp_json_print(row, FMP_JSON_COMPACT, printed);
        *parse_s += t1 - t0;
        *print_s += fmp_now() - t1;
        fmp_arena_reset(arena, ARENA_KEEP_BYTES);
        p = eol + 1;
    }
    return n_rows;
}

int main(int argc, char **argv)
{
    fmp_buf text = {0}, printed = {0};
    fmp_err err = FMP_ERR_INIT;
    fmp_arena *arena = fmp_arena_new(0);
    double best_parse = 1e9, best_print = 1e9;
    size_t n_rows = 0;
    fmp_json_install_hooks();
    fmp_json_scope(arena);
    if (argc < 2) {
        make_rows(&text);
    } else if (fmp_read_file(argv[1], 0, &text, &err) != FMP_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 74;
    }
    for (int round = 0; round < ROUNDS; round++) {
        double parse_s = 0, print_s = 0;
        n_rows = each_row(&text, arena, &printed, &parse_s, &print_s);
        if (parse_s < best_parse) { best_parse = parse_s; }
        if (print_s < best_print) { best_print = print_s; }
    }
    double mb = (double)text.len / 1e6;
    printf("%zu rows, %.1f MB: parse %.0f MB/s, print %.0f MB/s\n", n_rows, mb, mb / best_parse,
           mb / best_print);
    fmp_json_scope(NULL);
    fmp_arena_free(arena);
    fmp_buf_free(&printed);
    fmp_buf_free(&text);
    return 0;
}
