/*
 * model_tokenizer.c: llama2.c's tokenizer file as tokenizer.json.
 *
 * The file has pieces with scores and no merges; a merge is any two pieces that together are a third, and the order of
 * merges is that of the thirds' scores: what SentencePiece's BPE does with a text, said in the words of tokenizer.json.
 * int32 longest piece, then for each piece f32 score, int32 length, bytes; a space is a space, <s> and </s> stand
 * between line ends, bytes are <0x00> .. <0xFF>.
 */
#include "model.h"

#include <fmpipe/fs.h>
#include <fmpipe/json.h>

#include <stdlib.h>

#define SPACE "\xE2\x96\x81" /* U+2581, SentencePiece's sign for a space */

typedef struct piece {
    char *text; /* as tokenizer.json spells it */
    float score;
    uint32_t id;
} piece;

typedef struct merge {
    float score;
    uint32_t id, left, right;
} merge;

typedef struct vocab {
    piece *piece;    /* (n) by id   */
    uint32_t *order; /* (n) by text */
    uint32_t n;
    merge *merge;
    size_t n_merges;
} vocab;

static void free_vocab(vocab *v)
{
    for (uint32_t i = 0; v->piece && i < v->n; i++) {
        free(v->piece[i].text);
    }
    free(v->piece);
    free(v->order);
    free(v->merge);
}

/* "\n<s>\n" is <s>; spaces get their sign. */
static char *spell(const char *bytes, size_t len)
{
    fmp_buf out = {0};
    bool control = len > 4 && bytes[0] == '\n' && bytes[1] == '<' && bytes[len - 1] == '\n';
    for (size_t i = control; i < len - control; i++) {
        if (bytes[i] == ' ') {
            fmp_buf_puts(&out, SPACE);
        } else {
            fmp_buf_putc(&out, bytes[i]);
        }
    }
    if (!out.data) { fmp_buf_puts(&out, ""); }
    return out.data;
}

static fmp_status read_pieces(const fmp_buf *file, uint32_t n, vocab *v, fmp_err *err)
{
    size_t at = 4;
    v->piece = calloc(n, sizeof *v->piece);
    v->order = calloc(n, sizeof *v->order);
    if (!v->piece || !v->order) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a vocabulary"); }
    for (v->n = 0; v->n < n; v->n++) {
        piece *p = &v->piece[v->n];
        int32_t len = 0;
        if (at > file->len || file->len - at < 8) {
            return fmp_fail(err, FMP_E_DATA, "it ends at token %u; the model has %u", v->n, n);
        }
        memcpy(&p->score, file->data + at, 4);
        memcpy(&len, file->data + at + 4, 4);
        at += 8;
        if (len < 0 || (size_t)len > file->len - at) {
            return fmp_fail(err, FMP_E_DATA, "token %u claims %d bytes; %zu are left", v->n, len,
                            file->len - at);
        }
        if (fmp_utf8_invalid_at(file->data + at, (size_t)len) != (size_t)len) {
            return fmp_fail(err, FMP_E_DATA, "token %u: expected UTF-8", v->n);
        }
        p->id = v->n;
        p->text = spell(file->data + at, (size_t)len);
        v->order[v->n] = v->n;
        if (!p->text) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a vocabulary"); }
        at += (size_t)len;
    }
    return at == file->len
               ? FMP_OK
               : fmp_fail(err, FMP_E_DATA, "it goes on after token %u; the model has %u", n - 1, n);
}

static int by_text(const void *a, const void *b, void *arg)
{
    const vocab *v = arg;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int order = strcmp(v->piece[x].text, v->piece[y].text);
    return order ? order : (x > y) - (x < y);
}

/* The lowest id with this text, or n. */
static uint32_t find(const vocab *v, const char *text, size_t len)
{
    uint32_t lo = 0, hi = v->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const char *other = v->piece[v->order[mid]].text;
        int order = strncmp(other, text, len);
        if (order < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    bool hit = lo < v->n && strlen(v->piece[v->order[lo]].text) == len &&
               memcmp(v->piece[v->order[lo]].text, text, len) == 0;
    return hit ? v->order[lo] : v->n;
}

/* The best first; of equal ones in order of ids. */
static int by_rank(const void *a, const void *b)
{
    const merge *x = a, *y = b;
    if (x->score != y->score) { return x->score > y->score ? -1 : 1; }
    if (x->id != y->id) { return x->id < y->id ? -1 : 1; }
    return (x->left > y->left) - (x->left < y->left);
}

static bool is_control(const char *text)
{
    size_t n = strlen(text);
    return n > 2 && text[0] == '<' && text[n - 1] == '>';
}

static fmp_status find_merges(vocab *v, fmp_err *err)
{
    size_t cap = 0;
    for (uint32_t i = 0; i < v->n; i++) {
        const char *text = v->piece[i].text;
        size_t len = strlen(text);
        if (is_control(text)) { continue; }
        for (size_t cut = 1; cut < len; cut++) {
            if (((unsigned char)text[cut] & 0xC0) == 0x80) { continue; } /* inside a character */
            uint32_t left = find(v, text, cut), right = find(v, text + cut, len - cut);
            if (left == v->n || right == v->n) { continue; }
            if (v->n_merges == cap) {
                cap = cap ? 2 * cap : 1024;
                merge *grown = realloc(v->merge, cap * sizeof *grown);
                if (!grown) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for merges"); }
                v->merge = grown;
            }
            v->merge[v->n_merges++] = (merge){v->piece[i].score, i, left, right};
        }
    }
    if (v->n_merges > 0) { qsort(v->merge, v->n_merges, sizeof *v->merge, by_rank); }
    return FMP_OK;
}

/* ---- tokenizer.json ---- */

static const char frame[] =
    "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,"
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"" SPACE "\"},"
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" SPACE "\"}]},"
    "\"pre_tokenizer\":null,"
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\","
    "\"type_id\":0}},"
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}}"
    ","
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":1}},"
    "{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],"
    "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[1],\"tokens\":[\"<s>\"]}}},"
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"" SPACE
    "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
    "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]},"
    "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":\"<unk>\",\"continuing_subword_prefix\":null,"
    "\"end_of_word_suffix\":null,\"fuse_unk\":true,\"byte_fallback\":true,\"ignore_merges\":false}}";

static const char config_text[] =
    "{\n  \"bos_token\": \"<s>\",\n  \"eos_token\": \"</s>\",\n  \"unk_token\": \"<unk>\",\n"
    "  \"clean_up_tokenization_spaces\": false,\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\"\n}\n";

static void add_specials(cJSON *json, const vocab *v)
{
    cJSON *list = cJSON_AddArrayToObject(json, "added_tokens");
    for (uint32_t id = 0; id < 3 && id < v->n; id++) {
        cJSON *token = cJSON_CreateObject();
        cJSON_AddNumberToObject(token, "id", id);
        cJSON_AddStringToObject(token, "content", v->piece[id].text);
        cJSON_AddBoolToObject(token, "single_word", false);
        cJSON_AddBoolToObject(token, "lstrip", false);
        cJSON_AddBoolToObject(token, "rstrip", false);
        cJSON_AddBoolToObject(token, "normalized", false);
        cJSON_AddBoolToObject(token, "special", true);
        cJSON_AddItemToArray(list, token);
    }
}

/* Lists are joined by hand: cJSON's append walks to the end of an object's members for every name. */
static cJSON *tokenizer_json(const vocab *v, fmp_err *err)
{
    cJSON *json = NULL;
    if (fmp_json_parse(frame, sizeof frame - 1, NULL, &json, err) != FMP_OK) { return NULL; }
    add_specials(json, v);
    cJSON *model = cJSON_GetObjectItemCaseSensitive(json, "model");
    cJSON *tokens = cJSON_AddObjectToObject(model, "vocab"),
          *merges = cJSON_AddArrayToObject(model, "merges");
    for (uint32_t i = 0; i < v->n; i++) {
        cJSON_AddNumberToObject(tokens, v->piece[i].text, i);
    }
    for (size_t i = 0; i < v->n_merges; i++) {
        cJSON *pair = cJSON_CreateArray();
        cJSON_AddItemToArray(pair, cJSON_CreateString(v->piece[v->merge[i].left].text));
        cJSON_AddItemToArray(pair, cJSON_CreateString(v->piece[v->merge[i].right].text));
        cJSON_AddItemToArray(merges, pair);
    }
    return json;
}

static fmp_status write_in(const char *dir, const char *name, const char *text, size_t len, fmp_err *err)
{
    char *path = fmp_path_join(dir, name);
    fmp_status status =
        path ? fmp_write_file(path, text, len, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    free(path);
    return status;
}

static fmp_status check_specials(const vocab *v, fmp_err *err)
{
    static const char *const names[] = {"<unk>", "<s>", "</s>"};
    for (uint32_t i = 0; i < 3; i++) {
        if (i >= v->n || strcmp(v->piece[i].text, names[i]) != 0) {
            return fmp_fail(err, FMP_E_DATA, "token %u: expected %s", i, names[i]);
        }
    }
    return FMP_OK;
}

fmp_status fmp_llama2c_tokenizer(const char *path, uint32_t n_vocab, const char *dir, fmp_err *err)
{
    fmp_buf file = {0}, text = {0};
    vocab v = {0};
    cJSON *json = NULL;
    fmp_status status = fmp_read_file(path, (size_t)256 << 20, &file, err);
    if (status == FMP_OK) { status = read_pieces(&file, n_vocab, &v, err); }
    if (status == FMP_OK) { status = check_specials(&v, err); }
    bool write = status == FMP_OK && dir;
    if (write) {
        qsort_r(v.order, v.n, sizeof *v.order, by_text, &v);
        status = find_merges(&v, err);
    }
    if (status != FMP_OK && status != FMP_E_IO) { (void)fmp_err_at(err, path, 0, 0, UINT64_MAX); }
    if (write && status == FMP_OK) { json = tokenizer_json(&v, err); }
    if (write && status == FMP_OK && !json) {
        status = fmp_fail(err, FMP_E_NOMEM, "out of memory for tokenizer.json");
    }
    if (json) {
        fmp_json_print(json, FMP_JSON_PRETTY, &text);
        fmp_buf_putc(&text, '\n');
        status = fmp_buf_ok(&text, err);
    }
    if (write && status == FMP_OK) { status = write_in(dir, "tokenizer.json", text.data, text.len, err); }
    if (write && status == FMP_OK) {
        status = write_in(dir, "tokenizer_config.json", config_text, sizeof config_text - 1, err);
    }
    cJSON_Delete(json);
    fmp_buf_free(&text);
    fmp_buf_free(&file);
    free_vocab(&v);
    return status;
}
