/*
 * The template of transforms/template, built in as bytes, written with the plugin's names in it.
 */
#include "plugin_new.h"

#include <fmpipe/fs.h>

#include <stdlib.h>

#include "template_files.h"

/* "word" or "word.word", lower case; the parts become folder (with '_') and stage name. */
static fmp_status split_name(const char *name, char folder[128], char stage[128], fmp_err *err)
{
    size_t n = strlen(name);
    int dots = 0;
    bool ok = n > 0 && n < 60 && name[0] >= 'a' && name[0] <= 'z' && name[n - 1] != '.';
    for (size_t i = 0; i < n && ok; i++) {
        char c = name[i];
        dots += c == '.';
        ok = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || (c == '.' && name[i - 1] != '.');
    }
    if (!ok || dots > 1) {
        fmp_fail(err, FMP_E_USAGE, "expected a name in lower case, as 'shout' or 'acme.shout', found '%.60s'",
                 name);
        return FMP_E_USAGE;
    }
    snprintf(stage, 128, dots ? "%s" : "my.%s", name);
    snprintf(folder, 128, "%s", name);
    for (char *p = folder; *p; p++) {
        *p = *p == '.' ? '_' : *p;
    }
    return FMP_OK;
}

/* @NAME@ and @STAGE@ replaced. */
static void fill_in(const char *text, const char *name, const char *stage, fmp_buf *out)
{
    while (*text) {
        size_t n = strcspn(text, "@");
        fmp_buf_add(out, text, n);
        text += n;
        if (strncmp(text, "@NAME@", 6) == 0) {
            fmp_buf_puts(out, name);
            text += 6;
        } else if (strncmp(text, "@STAGE@", 7) == 0) {
            fmp_buf_puts(out, stage);
            text += 7;
        } else if (*text) {
            fmp_buf_putc(out, *text++);
        }
    }
}

static fmp_status write_one(const char *folder, const char *file, const char *text, const char *stage,
                            fmp_err *err)
{
    char path[320];
    fmp_buf content = {0};
    if (strcmp(file, "template.c") == 0) {
        snprintf(path, sizeof path, "%s/%s.c", folder, folder);
    } else {
        snprintf(path, sizeof path, "%s/%s", folder, file);
    }
    fill_in(text, folder, stage, &content);
    fmp_status status = fmp_buf_ok(&content, err);
    if (status == FMP_OK) { status = fmp_write_file(path, content.data, content.len, err); }
    fmp_buf_free(&content);
    return status;
}

fmp_status fmp_plugin_new(const char *name, char folder[128], fmp_err *err)
{
    char stage[128], cases[160];
    FMP_TRY(split_name(name, folder, stage, err));
    if (fmp_path_exists(folder)) {
        fmp_fail(err, FMP_E_IO, "'%s' exists already", folder);
        return fmp_err_hint(err, "choose another name, or remove it");
    }
    snprintf(cases, sizeof cases, "%s/cases", folder);
    FMP_TRY(fmp_mkdirs(cases, err));
    for (size_t i = 0; i < sizeof template_files / sizeof template_files[0]; i++) {
        FMP_TRY(write_one(folder, template_files[i].name, template_files[i].text, stage, err));
    }
    return FMP_OK;
}
