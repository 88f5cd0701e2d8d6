/*
 * output.c: stdout, stderr, diagnostics and exit codes. The only file that writes to a terminal.
 */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static bool reader_gone, output_lost;

static void write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EINTR) { continue; }
        if (n < 0) {
            if (fd == STDOUT_FILENO && errno == EPIPE) { reader_gone = true; }
            if (fd == STDOUT_FILENO && errno != EPIPE) { output_lost = true; }
            return;
        }
        text += n;
        len -= (size_t)n;
    }
}

void fmp_out(const char *text, size_t len)
{
    if (!reader_gone) { write_all(STDOUT_FILENO, text, len); }
}

bool fmp_out_complete(void)
{
    return !output_lost;
}

FMP_PRINTF(2, 0) static void vprint(int fd, const char *fmt, va_list ap)
{
    char *text = NULL;
    int n = vasprintf(&text, fmt, ap);
    if (n < 0) { return; }
    if (fd == STDOUT_FILENO) {
        fmp_out(text, (size_t)n);
    } else {
        write_all(fd, text, (size_t)n);
    }
    free(text);
}

void fmp_outf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vprint(STDOUT_FILENO, fmt, ap);
    va_end(ap);
}

void fmp_errf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vprint(STDERR_FILENO, fmt, ap);
    va_end(ap);
}

void fmp_out_json(cJSON *line)
{
    if (!line) { return; }
    fmp_buf text = {0};
    fmp_json_print(line, FMP_JSON_COMPACT, &text);
    fmp_buf_putc(&text, '\n');
    if (!text.failed) { fmp_out(text.data, text.len); }
    fmp_buf_free(&text);
    cJSON_Delete(line);
}

int fmp_exit_code(fmp_status status)
{
    switch (status) {
    case FMP_OK: return 0;
    case FMP_E_FAILED: return 1;
    case FMP_E_USAGE: return FMP_EXIT_USAGE;
    case FMP_E_CONFIG:
    case FMP_E_DATA:
    case FMP_E_RANGE:
    case FMP_E_UNSUPPORTED: return 3;
    case FMP_E_PLUGIN: return 4;
    case FMP_E_MISMATCH: return 5;
    case FMP_E_IO:
    case FMP_E_NOMEM: return 74;
    case FMP_E_CANCELLED: return 75;
    case FMP_E_INTERNAL: break;
    }
    return 70;
}

void fmp_cli_diags(const fmp_cli *cli, const fmp_diags *diags)
{
    if (cli->json) {
        for (size_t i = 0; i < diags->n; i++) {
            fmp_out_json(fmp_diag_json(&diags->items[i]));
        }
        return;
    }
    fmp_buf text = {0};
    fmp_diags_print(diags, cli->color, &text);
    if (text.len > 0) { write_all(STDERR_FILENO, text.data, text.len); }
    fmp_buf_free(&text);
}

int fmp_cli_fail(const fmp_cli *cli, const fmp_err *err)
{
    fmp_diags diags = {0};
    fmp_diags_add(&diags, FMP_SEV_ERROR, err, 1);
    fmp_cli_diags(cli, &diags);
    fmp_diags_free(&diags);
    return fmp_exit_code((fmp_status)err->code);
}

int fmp_cli_usage(const fmp_cli *cli, const char *hint, const char *fmt, ...)
{
    fmp_err err = FMP_ERR_INIT;
    err.code = FMP_E_USAGE;
    va_list ap;
    va_start(ap, fmt);
    fmp_err_vset_(&err, fmt, ap);
    va_end(ap);
    if (hint) { fmp_err_hint(&err, "%s", hint); }
    fmp_cli_fail(cli, &err);
    if (!cli->json && cli->command) {
        fmp_errf("usage: fmpipe %s %s\n", cli->command->name, cli->command->operands);
    }
    return FMP_EXIT_USAGE;
}

/* ---- words ---- */

const char *fmp_group_digits(uint64_t n, char out[32])
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, n), k = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) { out[k++] = ','; }
        out[k++] = digits[i];
    }
    out[k] = '\0';
    return out;
}

const char *fmp_human_bytes(double bytes, char out[32])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    size_t u = 0;
    while (bytes >= 1000 && u + 1 < sizeof units / sizeof *units) {
        bytes /= 1000;
        u++;
    }
    snprintf(out, 32, bytes < 10 && u > 0 ? "%.1f %s" : "%.0f %s", bytes, units[u]);
    return out;
}

size_t fmp_text_columns(const char *text)
{
    size_t columns = 0;
    while (*text) {
        if (text[0] == '\033' && text[1] == '[') {
            text += strcspn(text, "mK");
            text += *text != '\0';
            continue;
        }
        columns += ((unsigned char)*text & 0xC0) != 0x80;
        text++;
    }
    return columns;
}

void fmp_buf_padded(fmp_buf *out, const char *text, size_t width)
{
    fmp_buf_puts(out, text);
    for (size_t n = fmp_text_columns(text); n < width; n++) {
        fmp_buf_putc(out, ' ');
    }
}

void fmp_buf_safe(fmp_buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7F) {
            fmp_buf_printf(out, "\\x%02x", c);
        } else {
            fmp_buf_putc(out, *text);
        }
    }
}
