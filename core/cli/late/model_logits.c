/*
 * model_logits.c: `fmpipe model logits`: token ids in, a NumPy array out: logits (T,V), f32, of every position.
 *
 * Ids are numbers as `fmpipe tokenizer encode` prints them, each line a text of its own; or a JSON array of numbers,
 * or of such arrays; or a NumPy file of whole numbers, of which each row is a text. Texts do not see each other:
 * row t of the result belongs to the t-th token of all texts one after another.
 */
#include "model.h"

#include <fmpipe/fs.h>
#include <fmpipe/json.h>

#include <math.h>
#include <stdlib.h>

typedef struct texts {
    uint32_t *id, *seg; /* (n), (n_seg + 1) */
    size_t n, cap, n_seg, cap_seg;
} texts;

static fmp_status add_id(texts *t, double id, fmp_err *err)
{
    if (!(id >= 0.0 && id < 4294967295.0) || id != floor(id)) {
        return fmp_fail(err, FMP_E_DATA, "token %zu: expected a whole number of 0 to 2^32, found %g", t->n,
                        id);
    }
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 1024;
        uint32_t *grown = realloc(t->id, cap * sizeof *grown);
        if (!grown) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for token ids"); }
        t->id = grown;
        t->cap = cap;
    }
    t->id[t->n++] = (uint32_t)id;
    return FMP_OK;
}

/* The tokens since the last end are a text; none are none. */
static fmp_status end_text(texts *t, fmp_err *err)
{
    if (t->n_seg + 2 > t->cap_seg) {
        size_t cap = t->cap_seg ? 2 * t->cap_seg : 64;
        uint32_t *grown = realloc(t->seg, cap * sizeof *grown);
        if (!grown) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for texts"); }
        t->seg = grown;
        t->cap_seg = cap;
    }
    t->seg[0] = 0;
    if (t->n == t->seg[t->n_seg]) { return FMP_OK; }
    if (t->n > (size_t)1 << 24) { return fmp_fail(err, FMP_E_RANGE, "more than 2^24 tokens"); }
    t->seg[++t->n_seg] = (uint32_t)t->n;
    return FMP_OK;
}

/* ---- forms ---- */

static fmp_status read_lines(texts *t, const char *text, size_t len, fmp_err *err)
{
    unsigned line = 1;
    for (const char *p = text; p < text + len;) {
        if (*p == '\n') {
            FMP_TRY(end_text(t, err));
            line++;
        }
        if (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n' || *p == ',') {
            p++;
            continue;
        }
        char *end = NULL;
        double id = strtod(p, &end);
        if (end == p) {
            return fmp_fail(err, FMP_E_DATA, "line %u: expected token ids, found '%.20s'", line, p);
        }
        FMP_TRY(add_id(t, id, err));
        p = end;
    }
    return end_text(t, err);
}

static fmp_status read_json(texts *t, const fmp_buf *file, fmp_err *err)
{
    cJSON *all = NULL;
    FMP_TRY(fmp_json_parse(file->data, file->len, NULL, &all, err));
    fmp_status status = FMP_OK;
    for (const cJSON *node = all->child; node && status == FMP_OK; node = node->next) {
        double v = -1.0;
        if (cJSON_IsArray(node) != cJSON_IsArray(all->child)) {
            status = fmp_fail(err, FMP_E_DATA, "expected numbers, or arrays of numbers, not both");
            break;
        }
        if (!cJSON_IsArray(node)) {
            status = fmp_json_number(node, &v)
                         ? add_id(t, v, err)
                         : fmp_fail(err, FMP_E_DATA, "expected numbers, or arrays of numbers");
            continue;
        }
        for (const cJSON *item = node->child; item && status == FMP_OK; item = item->next) {
            status =
                fmp_json_number(item, &v) ? add_id(t, v, err) : fmp_fail(err, FMP_E_DATA, "expected numbers");
        }
        if (status == FMP_OK) { status = end_text(t, err); }
    }
    cJSON_Delete(all);
    return status == FMP_OK ? end_text(t, err) : status;
}

static double npy_value(const unsigned char *p, size_t bytes, bool is_signed)
{
    uint64_t v = 0;
    for (size_t i = bytes; i-- > 0;) {
        v = v << 8 | p[i];
    }
    bool negative = is_signed && bytes > 0 && (p[bytes - 1] & 0x80);
    return negative ? -1.0 : (double)v;
}

/* A NumPy file, version 1 or 2, of 1 or 2 dimensions, C order, little-endian whole numbers. */
static fmp_status read_npy(texts *t, const fmp_buf *file, fmp_err *err)
{
    const unsigned char *d = (const unsigned char *)file->data;
    size_t fixed = d[6] == 1 ? 10 : 12, header = d[8] | (size_t)d[9] << 8;
    if (d[6] > 1) { header |= (size_t)d[10] << 16 | (size_t)d[11] << 24; }
    if (header > 4096 || fixed + header > file->len) {
        return fmp_fail(err, FMP_E_DATA, "its NumPy header is cut");
    }
    char text[4097];
    memcpy(text, d + fixed, header);
    text[header] = '\0';
    const char *descr = strstr(text, "'descr': '"), *shape = strstr(text, "'shape': (");
    char sign = 0, kind = 0;
    unsigned bytes = 0;
    unsigned long long rows = 0, cols = 0;
    int n_dims = shape ? sscanf(shape + 10, "%llu, %llu", &rows, &cols) : 0;
    if (!descr || sscanf(descr + 10, "%c%c%u", &sign, &kind, &bytes) != 3 || (sign != '<' && sign != '|') ||
        (kind != 'i' && kind != 'u') || bytes < 1 || bytes > 8 || n_dims < 1 || strstr(text, "True")) {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "expected a NumPy array of whole numbers in C order");
    }
    if (n_dims == 1) {
        cols = rows;
        rows = 1;
    }
    size_t count = 0, size = 0;
    if (!fmp_mul_ok((size_t)rows, (size_t)cols, &count) || !fmp_mul_ok(count, bytes, &size) ||
        size != file->len - fixed - header) {
        return fmp_fail(err, FMP_E_DATA, "its NumPy shape does not fill the file");
    }
    for (size_t i = 0; i < count; i++) {
        FMP_TRY(add_id(t, npy_value(d + fixed + header + i * bytes, bytes, kind == 'i'), err));
        if ((i + 1) % cols == 0) { FMP_TRY(end_text(t, err)); }
    }
    return end_text(t, err);
}

static fmp_status read_texts(const char *path, texts *t, fmp_err *err)
{
    fmp_buf file = {0};
    FMP_TRY(fmp_read_file(path, (size_t)512 << 20, &file, err));
    size_t blank = file.len ? strspn(file.data, " \t\r\n") : 0;
    fmp_status status;
    if (file.len > 12 && memcmp(file.data, "\x93NUMPY", 6) == 0) {
        status = read_npy(t, &file, err);
    } else if (file.len > blank && file.data[blank] == '[') {
        status = read_json(t, &file, err);
    } else {
        status = read_lines(t, file.len ? file.data : "", file.len, err);
    }
    if (status == FMP_OK && t->n == 0) {
        status = fmp_fail(err, FMP_E_DATA, "expected token ids, found none");
    }
    if (status != FMP_OK) { (void)fmp_err_at(err, path, 0, 0, UINT64_MAX); }
    fmp_buf_free(&file);
    return status;
}

/* ---- result ---- */

/* NumPy format 1.0: magic, version, header length, a Python literal padded to a multiple of 64, the values. */
static fmp_status write_npy(const char *path, size_t rows, size_t cols, const float *values, fmp_err *err)
{
    fmp_buf out = {0};
    char header[128];
    int n = snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }",
                     rows, cols);
    size_t padded = (10 + (size_t)n + 1 + 63) / 64 * 64 - 10;
    const char start[10] = {
        '\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, (char)(padded & 0xFF), (char)(padded >> 8)};
    fmp_buf_add(&out, start, sizeof start);
    fmp_buf_puts(&out, header);
    while (out.len < 10 + padded - 1) {
        fmp_buf_putc(&out, ' ');
    }
    fmp_buf_putc(&out, '\n');
    fmp_buf_add(&out, values, rows * cols * sizeof *values);
    fmp_status status = fmp_buf_ok(&out, err);
    if (status == FMP_OK) { status = fmp_write_file(path, out.data, out.len, err); }
    fmp_buf_free(&out);
    return status;
}

static fmp_status compute(fmp_model *m, const fmp_adapter *ad, const texts *t, const char *out, fmp_err *err)
{
    size_t n = 0, V = fmp_model_get_spec(m)->vocab_size;
    const fmp_batch batch = {.n_tokens = t->n, .n_segments = t->n_seg, .id = t->id, .seg = t->seg};
    float *logits = fmp_mul_ok(t->n, V, &n) && n < SIZE_MAX / 8 ? malloc(n * sizeof *logits) : NULL;
    if (!logits) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for the logits of %zu tokens", t->n); }
    fmp_status status = fmp_model_logits(m, ad, &batch, logits, err);
    for (size_t i = 0; i < n && status == FMP_OK; i++) {
        if (isfinite(logits[i])) { continue; }
        (void)fmp_fail(err, FMP_E_DATA, "the logits of token %zu are not finite numbers", i / V);
        status = fmp_err_hint(err, "the model or the adapter is damaged, or its values overflow");
    }
    if (status == FMP_OK) { status = write_npy(out, t->n, V, logits, err); }
    free(logits);
    return status;
}

int fmp_model_cmd_logits(const fmp_cli *cli)
{
    fmp_err err = FMP_ERR_INIT;
    const char *dir = fmp_cli_option_value(cli, "model"), *adapter = fmp_cli_option_value(cli, "adapter");
    const char *tokens = fmp_cli_option_value(cli, "tokens"), *out = fmp_cli_option_value(cli, "out");
    fmp_model_options o;
    if (!dir || !tokens || !out || cli->n_operands != 1) {
        return fmp_cli_usage(cli, NULL, "logits needs --model DIR, --tokens FILE and --out FILE.npy");
    }
    if (!fmp_model_cmd_options(cli, &o)) { return FMP_EXIT_USAGE; }
    texts t = {0};
    fmp_model *m = NULL;
    fmp_adapter *ad = NULL;
    fmp_status status = read_texts(tokens, &t, &err);
    if (status == FMP_OK) { status = fmp_model_open(dir, &o, &m, &err); }
    if (status == FMP_OK && adapter) { status = fmp_adapter_load(m, adapter, &ad, &err); }
    if (status == FMP_OK) { status = compute(m, ad, &t, out, &err); }
    if (status == FMP_OK && cli->json) {
        cJSON *line = cJSON_CreateObject();
        cJSON_AddNumberToObject(line, "v", 1);
        cJSON_AddStringToObject(line, "event", "model.logits");
        cJSON_AddStringToObject(line, "path", out);
        cJSON_AddNumberToObject(line, "tokens", (double)t.n);
        cJSON_AddNumberToObject(line, "vocab", fmp_model_get_spec(m)->vocab_size);
        fmp_out_json(line);
    } else if (status == FMP_OK && !cli->quiet) {
        fmp_errf("wrote %s: logits (%zu, %u), f32\n", out, t.n, fmp_model_get_spec(m)->vocab_size);
    }
    fmp_adapter_free(ad);
    fmp_model_free(m);
    free(t.id);
    free(t.seg);
    return status == FMP_OK ? 0 : fmp_cli_fail(cli, &err);
}
