/*
 * chat_bench.c: conversations a second from parsed record to token ids and loss weights (render, encode,
 * mask) on one thread.
 *
 * usage: chat_bench TOKENIZER.json TEMPLATE.jinja ROWS.jsonl
 * <|im_start|> and <|im_end|> are added to the tokenizer where it lacks them. Prints the best of several
 * rounds, and the parts: the rendering alone, and everything without the mask.
 */
#include <fmpipe/chat.h>
#include <fmpipe/fs.h>
#include <fmpipe/json.h>

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#define ROUNDS 7

static void check(fmp_status status, const fmp_err *err)
{
    if (status == FMP_OK) { return; }
    fprintf(stderr, "chat_bench: %s\n", err->message);
    exit(3);
}

static void add_token(cJSON *added, const char *text, int id)
{
    cJSON *t = cJSON_CreateObject(), *row;
    cJSON_ArrayForEach(row, added)
    {
        if (strcmp(fmp_json_str(row, "content", ""), text) == 0) {
            cJSON_Delete(t);
            return;
        }
    }
    cJSON_AddNumberToObject(t, "id", id);
    cJSON_AddStringToObject(t, "content", text);
    cJSON_AddTrueToObject(t, "special");
    static const char *const flags[] = {"single_word", "lstrip", "rstrip", "normalized"};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        cJSON_AddFalseToObject(t, flags[i]);
    }
    cJSON_AddItemToArray(added, t);
}

static void write_json(const char *dir, const char *name, const cJSON *json)
{
    fmp_err err = FMP_ERR_INIT;
    char *path = fmp_path_join(dir, name), *text = fmp_json_text(json, FMP_JSON_COMPACT);
    check(fmp_write_file(path, text, strlen(text), &err), &err);
    free(path);
    free(text);
}

/* A model folder's tokenizer files in `dir`. */
static void make_folder(const char *tokenizer, const char *dir)
{
    fmp_err err = FMP_ERR_INIT;
    cJSON *json = NULL, *config = cJSON_CreateObject();
    check(fmp_json_load(tokenizer, NULL, &json, &err), &err);
    cJSON *added = cJSON_GetObjectItemCaseSensitive(json, "added_tokens");
    int next = cJSON_GetArraySize(fmp_json_get(fmp_json_get(json, "model"), "vocab"));
    add_token(added, "<|im_start|>", next);
    add_token(added, "<|im_end|>", next + 1);
    cJSON_AddStringToObject(config, "eos_token", "<|im_end|>");
    write_json(dir, "tokenizer.json", json);
    write_json(dir, "tokenizer_config.json", config);
    cJSON_Delete(json);
    cJSON_Delete(config);
}

/* The rows of a JSONL file with call arguments as values: the form in which fmpipe holds conversations. */
static cJSON *read_rows(const char *path)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_buf text = {0};
    cJSON *rows = cJSON_CreateArray(), *row = NULL, *message, *call;
    check(fmp_read_file(path, 0, &text, &err), &err);
    for (char *at = text.data, *end; at < text.data + text.len; at = end + 1) {
        end = memchr(at, '\n', (size_t)(text.data + text.len - at));
        if (!end) { end = text.data + text.len; }
        check(fmp_json_parse(at, (size_t)(end - at), NULL, &row, &err), &err);
        cJSON_ArrayForEach(message, fmp_json_get(row, "messages"))
        {
            cJSON_ArrayForEach(call, fmp_json_get(message, "tool_calls"))
            {
                cJSON *f = cJSON_GetObjectItemCaseSensitive(call, "function"), *value = NULL;
                const char *given = fmp_json_str(f, "arguments", NULL);
                if (!given) { continue; }
                check(fmp_json_parse(given, strlen(given), NULL, &value, &err), &err);
                cJSON_ReplaceItemInObjectCaseSensitive(f, "arguments", value);
            }
        }
        cJSON_AddItemToArray(rows, row);
    }
    fmp_buf_free(&text);
    return rows;
}

typedef struct round_sum {
    size_t n_rows, n_tokens, n_supervised, n_text;
    double seconds;
} round_sum;

static round_sum encode_rows(const fmp_chat *chat, const cJSON *rows, const fmp_chat_options *o,
                             fmp_chat_result *r)
{
    round_sum sum = {0};
    fmp_err err = FMP_ERR_INIT;
    const cJSON *row;
    double t0 = fmp_now();
    cJSON_ArrayForEach(row, rows)
    {
        check(fmp_chat_encode(chat, row, o, r, &err), &err);
        sum.n_rows++;
        sum.n_tokens += r->tokens.n;
        sum.n_supervised += r->n_supervised;
        sum.n_text += r->rendered.text.len;
    }
    sum.seconds = fmp_now() - t0;
    return sum;
}

static double render_rows(const fmp_template *t, const cJSON *rows)
{
    fmp_rendered out = {0};
    fmp_err err = FMP_ERR_INIT;
    const cJSON *row;
    double t0 = fmp_now();
    cJSON_ArrayForEach(row, rows)
    {
        check(fmp_template_render(t, row, NULL, &out, &err), &err);
    }
    fmp_rendered_free(&out);
    return fmp_now() - t0;
}

static void measure(const fmp_chat *chat, const fmp_template *t, const cJSON *rows)
{
    const fmp_chat_options plain = {0}, masked = {.supervise = true};
    fmp_chat_result r;
    fmp_err err = FMP_ERR_INIT;
    round_sum best = {.seconds = 1e9};
    double render = 1e9, unmasked = 1e9;
    check(fmp_chat_result_init(&r, &err), &err);
    for (int i = 0; i < ROUNDS; i++) {
        round_sum now = encode_rows(chat, rows, &masked, &r);
        best = now.seconds < best.seconds ? now : best;
        double s = encode_rows(chat, rows, &plain, &r).seconds;
        unmasked = s < unmasked ? s : unmasked;
        s = render_rows(t, rows);
        render = s < render ? s : render;
    }
    fmp_chat_result_free(&r);
    double n = (double)best.n_rows;
    printf("%.0f conversations/s (%zu rows of %.1f kB, %zu tokens in all, %.0f %% of them supervised)\n",
           n / best.seconds, best.n_rows, (double)best.n_text / n / 1e3, best.n_tokens,
           100.0 * (double)best.n_supervised / (double)best.n_tokens);
    printf("%.1f us each: rendering %.1f, encoding %.1f, mask %.1f\n", 1e6 * best.seconds / n,
           1e6 * render / n, 1e6 * (unmasked - render) / n, 1e6 * (best.seconds - unmasked) / n);
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/fmp-chat-bench-XXXXXX";
    fmp_err err = FMP_ERR_INIT;
    fmp_chat *chat = NULL;
    fmp_template *t = NULL;
    fmp_json_install_hooks();
    if (argc != 4 || !mkdtemp(dir)) {
        fprintf(stderr, "usage: chat_bench TOKENIZER.json TEMPLATE.jinja ROWS.jsonl\n");
        return 2;
    }
    make_folder(argv[1], dir);
    fmp_status status = fmp_chat_open(dir, argv[2], &chat, &err);
    (void)!fmp_remove_tree(dir, NULL);
    check(status, &err);
    const char *text = fmp_chat_template_text(chat);
    check(fmp_template_parse(text, strlen(text), argv[2], &t, &err), &err);
    cJSON *rows = read_rows(argv[3]);
    measure(chat, t, rows);
    cJSON_Delete(rows);
    fmp_template_free(t);
    fmp_chat_free(chat);
    return 0;
}
