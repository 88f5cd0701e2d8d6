/*
 * show.c: what a person sees of a run.
 *
 * The header and the lines of cached stages are held back until a stage really runs: a run that finds
 * everything cached is one line. The line of the stage at work is rewritten in place on a terminal and
 * printed every ten seconds elsewhere. With --json none of this happens: each event is a line on stdout.
 */
#include "show.h"

#include <fmpipe/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW_SECONDS 0.08
#define LINE_SECONDS   10.0
#define BAR_CELLS      24

struct fmp_show {
    const fmp_cli *cli;
    const fmp_pipeline *p;
    size_t id_width, use_width;
    double begin, shown_at; /* fmp_now of the start and of the last live line */
    char working[80];       /* id of the stage of the live line   */
    double working_since;
    fmp_buf held; /* header and cached lines, while nothing has run */
    bool released, live_line;
    size_t n_cached;
    unsigned tick;
    cJSON *run_end; /* a copy of the engine's event */
    fmp_buf tables, artifacts;
    char run_dir[4096];
};

static const char *style(const fmp_show *s, const char *code)
{
    return s->cli->color ? code : "";
}

fmp_show *fmp_show_new(const fmp_cli *cli, const fmp_pipeline *p)
{
    fmp_show *s = calloc(1, sizeof *s);
    if (!s) { return NULL; }
    s->cli = cli;
    s->p = p;
    s->begin = s->shown_at = fmp_now();
    s->id_width = s->use_width = 4;
    for (size_t i = 0; i < p->n_stages; i++) {
        size_t id = strlen(p->stages[i].id), use = strlen(p->stages[i].info->name);
        if (id > s->id_width) { s->id_width = id; }
        if (use > s->use_width) { s->use_width = use; }
    }
    return s;
}

void fmp_show_free(fmp_show *s)
{
    if (!s) { return; }
    fmp_buf_free(&s->held);
    fmp_buf_free(&s->tables);
    fmp_buf_free(&s->artifacts);
    cJSON_Delete(s->run_end);
    free(s);
}

/* ---- lines ---- */

static void clear_live(fmp_show *s)
{
    if (s->live_line) { fmp_errf("\r\033[K"); }
    s->live_line = false;
}

static void print_line(fmp_show *s, const fmp_buf *line)
{
    if (s->cli->quiet || line->failed || line->len == 0) { return; }
    clear_live(s);
    fmp_errf("%s", line->data);
}

static void release(fmp_show *s)
{
    if (s->released) { return; }
    s->released = true;
    print_line(s, &s->held);
}

static void put_line(fmp_show *s, fmp_buf *line)
{
    if (s->released) {
        print_line(s, line);
    } else if (line->len > 0) {
        fmp_buf_add(&s->held, line->data, line->len);
    }
    fmp_buf_free(line);
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* "the last run, 20261121-a3f9, was stopped in 'train'; its 8 finished stages are kept, 'train' goes on …" */
static void add_resumed(fmp_buf *line, const cJSON *event)
{
    const cJSON *broken = fmp_json_get(event, "interrupted"), *resumed,
                *list = fmp_json_get(event, "resumes");
    const char *at = fmp_json_str(broken, "stage", "");
    double done = fmp_json_num(broken, "done", 0);
    bool goes_on = false;
    cJSON_ArrayForEach(resumed, list)
    {
        if (cJSON_IsString(resumed) && strcmp(resumed->valuestring, at) == 0) { goes_on = true; }
    }
    if (broken) {
        fmp_buf_printf(line, " the last run, %s, was %s", fmp_json_str(broken, "run", "?"),
                       fmp_json_bool(broken, "stopped", false) ? "stopped" : "killed");
        if (*at) { fmp_buf_printf(line, " in '%s'", at); }
        fmp_buf_printf(line, "; %.0f finished stage%s kept", done, done == 1 ? " is" : "s are");
        if (*at && !goes_on) { fmp_buf_printf(line, ", '%s' begins again", at); }
        fmp_buf_putc(line, '\n');
    }
    cJSON_ArrayForEach(resumed, list)
    {
        if (!cJSON_IsString(resumed)) { continue; }
        fmp_buf_printf(line, " '%s' goes on from what it had saved\n", resumed->valuestring);
    }
}

static void show_start(fmp_show *s, const cJSON *event)
{
    fmp_buf line = {0};
    fmp_buf_puts(&line, s->p->name);
    const char *base = fmp_json_str(event, "base", NULL), *digest = fmp_json_str(event, "base_digest", "");
    if (base) {
        fmp_buf_puts(&line, " · base ");
        fmp_buf_safe(&line, last_part(base));
        double params = fmp_json_num(event, "base_params", 0);
        const char *unit = params >= 1e9 ? "G" : "M";
        if (params > 0) {
            fmp_buf_printf(&line, " (%.3g %s parameters", params / (*unit == 'G' ? 1e9 : 1e6), unit);
        }
        if (*digest) { fmp_buf_printf(&line, "%ssha256:%.4s…", params > 0 ? ", " : " (", digest); }
        if (params > 0 || *digest) { fmp_buf_putc(&line, ')'); }
    }
    double threads = fmp_json_num(event, "threads", 0);
    fmp_buf_printf(&line, " · seed %" PRIu64, s->p->seed);
    if (threads > 0) { fmp_buf_printf(&line, " · %.0f thread%s", threads, threads == 1 ? "" : "s"); }
    const char *isa = fmp_json_str(event, "isa", "");
    fmp_buf_printf(&line, "%s%s", *isa ? " · " : "", isa);
    fmp_buf_printf(&line, " · run %s\n", fmp_json_str(event, "run", "?"));
    add_resumed(&line, event);
    fmp_buf_putc(&line, '\n');
    put_line(s, &line);
}

/* The stage's own counters, those of the first level: "explicit 3,610 · detected 390". */
static void add_counts(fmp_buf *out, const cJSON *counts)
{
    char digits[32];
    const cJSON *count;
    int shown = 0;
    cJSON_ArrayForEach(count, counts)
    {
        if (strchr(count->string, '.') || shown == 5) { continue; }
        fmp_buf_puts(out, out->len ? " · " : "");
        fmp_buf_safe(out, count->string);
        fmp_buf_printf(out, " %s",
                       fmp_group_digits((uint64_t)fmp_json_num(counts, count->string, 0), digits));
        shown++;
    }
}

/* What the stage said, else what it counted, else how many records went through; and what it refused,
 * always. */
static void add_summary(fmp_buf *out, const cJSON *event)
{
    char digits[32];
    const char *summary = fmp_json_str(event, "summary", NULL);
    double in = fmp_json_num(event, "in", 0), kept = fmp_json_num(event, "out", 0),
           refused = fmp_json_num(event, "rejected", 0);
    if (summary && *summary) {
        fmp_buf_safe(out, summary);
    } else {
        add_counts(out, fmp_json_get(event, "counts"));
        if (out->len == 0 && in > 0 && in == kept) {
            fmp_buf_printf(out, "%s records", fmp_group_digits((uint64_t)in, digits));
        }
        if (in != kept) {
            fmp_buf_printf(out, "%s%s in", out->len ? " · " : "", fmp_group_digits((uint64_t)in, digits));
            fmp_buf_printf(out, " · %s out", fmp_group_digits((uint64_t)kept, digits));
        }
    }
    if (refused > 0) {
        fmp_buf_printf(out, "%s%s rejected", out->len ? " · " : "",
                       fmp_group_digits((uint64_t)refused, digits));
    }
}

static void add_reason(fmp_show *s, fmp_buf *line, const char *reason)
{
    fmp_buf_puts(line, style(s, "\033[2m"));
    for (const char *p = reason; *p; p++) {
        bool argument = strchr(reason, '(') && p > strchr(reason, '(');
        fmp_buf_putc(line, *p >= 'A' && *p <= 'Z' && !argument ? (char)(*p - 'A' + 'a')
                           : *p == '_' && !argument            ? ' '
                                                               : *p);
    }
    fmp_buf_puts(line, style(s, "\033[0m"));
}

static void show_stage_end(fmp_show *s, const cJSON *event)
{
    const char *action = fmp_json_str(event, "action", "ran");
    bool cached = strcmp(action, "cached") == 0, failed = strcmp(action, "failed") == 0;
    bool stopped = strcmp(action, "stopped") == 0;
    fmp_buf line = {0}, summary = {0};
    s->n_cached += cached;
    if (!cached) { release(s); }
    fmp_buf_printf(&line, " %s%s%s ",
                   style(s, failed   ? "\033[31m"
                            : cached ? "\033[2m"
                                     : "\033[32m"),
                   cached    ? "="
                   : failed  ? "✗"
                   : stopped ? "■"
                             : "✓",
                   style(s, "\033[0m"));
    fmp_buf_padded(&line, fmp_json_str(event, "stage", "?"), s->id_width + 2);
    fmp_buf_padded(&line, fmp_json_str(event, "use", ""), s->use_width + 2);
    add_summary(&summary, event);
    fmp_buf_padded(&line, summary.len ? summary.data : "", 44);
    if (cached) { fmp_buf_puts(&line, "          cached"); }
    if (!cached) {
        fmp_buf_printf(&line, " %6.1f s  ", fmp_json_num(event, "seconds", 0));
        add_reason(s, &line, failed || stopped ? action : fmp_json_str(event, "reason", ""));
    }
    fmp_buf_putc(&line, '\n');
    put_line(s, &line);
    fmp_buf_free(&summary);
    s->working[0] = '\0';
}

/* ---- the live line ---- */

static size_t terminal_width(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40 ? size.ws_col : 80;
}

static void add_bar(fmp_buf *out, double share)
{
    int full = (int)(share * BAR_CELLS + 0.5);
    for (int i = 0; i < BAR_CELLS; i++) {
        fmp_buf_puts(out, i < full ? "━" : i == full ? "╸" : "─");
    }
}

static void add_progress(const fmp_show *s, fmp_buf *line, const cJSON *event, bool bar)
{
    double done = fmp_json_num(event, "done", 0), total = fmp_json_num(event, "total", 0);
    const char *unit = fmp_json_str(event, "unit", ""), *text = fmp_json_str(event, "text", "");
    char a[32], b[32];
    fmp_buf_safe(line, unit);
    fmp_buf_printf(line, "%s%s", *unit ? " " : "", fmp_group_digits(done > 0 ? (uint64_t)done : 0, a));
    if (total > 0) { fmp_buf_printf(line, "/%s", fmp_group_digits((uint64_t)total, b)); }
    fmp_buf_putc(line, ' ');
    if (bar && total > 0) {
        add_bar(line, done < total ? done / total : 1);
        fmp_buf_putc(line, ' ');
    }
    fmp_buf_safe(line, text);
    double spent = fmp_now() - s->working_since;
    if (total > done && done > 0 && spent > 1) {
        unsigned left = (unsigned)(spent / done * (total - done) + 0.5);
        fmp_buf_printf(line, "%s%u:%02u left", *text ? " · " : "", left / 60, left % 60);
    }
}

/* The first `columns` columns of `text`. */
static size_t cut_at(const char *text, size_t columns)
{
    size_t i = 0;
    for (; text[i]; i++) {
        if (((unsigned char)text[i] & 0xC0) != 0x80 && columns-- == 0) { break; }
    }
    return i;
}

static const char *use_of(const fmp_show *s, const char *id)
{
    for (size_t i = 0; i < s->p->n_stages; i++) {
        if (strcmp(s->p->stages[i].id, id) == 0) { return s->p->stages[i].info->name; }
    }
    return "";
}

/* Before the first unit is done: what a stage is about to do, a line that stays. */
static void show_intent(fmp_show *s, const char *stage, const char *text)
{
    fmp_buf line = {0};
    fmp_buf_puts(&line, "   ");
    fmp_buf_padded(&line, stage, s->id_width + 2);
    fmp_buf_padded(&line, use_of(s, stage), s->use_width + 2);
    fmp_buf_safe(&line, text);
    fmp_buf_putc(&line, '\n');
    release(s);
    put_line(s, &line);
}

static void show_progress(fmp_show *s, const cJSON *event)
{
    static const char *const spinner[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
    const char *stage = fmp_json_str(event, "stage", "?");
    double now = fmp_now();
    if (strcmp(s->working, stage) != 0) {
        snprintf(s->working, sizeof s->working, "%s", stage);
        s->working_since = now;
    }
    const char *text = fmp_json_str(event, "text", "");
    if (*text && !(fmp_json_num(event, "done", 0) > 0)) {
        show_intent(s, stage, text);
        return;
    }
    if (s->cli->quiet || now - s->shown_at < (s->cli->terminal ? REDRAW_SECONDS : LINE_SECONDS)) { return; }
    s->shown_at = now;
    release(s);
    fmp_buf line = {0};
    if (s->cli->terminal) {
        fmp_buf_printf(&line, " %s ", spinner[s->tick++ % 10]);
    } else {
        fmp_buf_puts(&line, "   ");
    }
    fmp_buf_padded(&line, stage, s->id_width + 2);
    if (terminal_width() >= 110) { fmp_buf_padded(&line, use_of(s, stage), s->use_width + 2); }
    add_progress(s, &line, event, s->cli->terminal);
    if (s->cli->terminal && !line.failed) {
        clear_live(s);
        fmp_errf("%.*s", (int)cut_at(line.data, terminal_width() - 1), line.data);
        s->live_line = true;
    } else if (!line.failed) {
        fmp_errf("%s\n", line.data);
    }
    fmp_buf_free(&line);
}

static void show_log(fmp_show *s, const cJSON *event)
{
    fmp_buf line = {0};
    const char *level = fmp_json_str(event, "level", "info"), *stage = fmp_json_str(event, "stage", NULL);
    fmp_buf_printf(&line, "%s: %s%s", level, stage ? stage : "", stage ? ": " : "");
    fmp_buf_safe(&line, fmp_json_str(event, "text", ""));
    fmp_buf_putc(&line, '\n');
    print_line(s, &line);
    fmp_buf_free(&line);
}

/* ---- tables and artifacts: the facts "table" and "artifacts" of a stage ---- */

/* A result's place for people: the run folder's link to the stage's output, and a file in it if the fact
 * names one. */
static void artifact_path(const fmp_show *s, const char *stage, const cJSON *a, fmp_buf *out)
{
    const char *file = fmp_json_str(a, "file", NULL), *port = fmp_json_str(a, "port", NULL);
    fmp_buf_printf(out, "%s/%s", s->run_dir, stage);
    if (port) { fmp_buf_printf(out, ".%s", port); }
    if (file) { fmp_buf_printf(out, "/%s", file); }
}

static void keep_artifacts(fmp_show *s, const char *stage, const cJSON *list)
{
    const cJSON *a;
    cJSON_ArrayForEach(a, list)
    {
        if (!cJSON_IsObject(a)) { continue; }
        fmp_buf_putc(&s->artifacts, ' ');
        fmp_buf_padded(&s->artifacts, fmp_json_str(a, "label", "artifact"), 10);
        fmp_buf path = {0};
        artifact_path(s, stage, a, &path);
        fmp_buf_padded(&s->artifacts, path.failed ? "" : path.data, 36);
        fmp_buf_free(&path);
        fmp_buf_putc(&s->artifacts, ' ');
        fmp_buf_safe(&s->artifacts, fmp_json_str(a, "note", ""));
        fmp_buf_putc(&s->artifacts, '\n');
    }
}

static void keep_facts(fmp_show *s, const cJSON *event)
{
    const cJSON *facts = fmp_json_get(event, "facts");
    fmp_show_table(fmp_json_get(facts, "table"), &s->tables);
    keep_artifacts(s, fmp_json_str(event, "stage", ""), fmp_json_get(facts, "artifacts"));
}

/* ---- events ---- */

static void event_to_json(const cJSON *event)
{
    cJSON *line = cJSON_CreateObject();
    cJSON_AddNumberToObject(line, "v", 1);
    const cJSON *member;
    cJSON_ArrayForEach(member, event)
    {
        cJSON *copy = cJSON_Duplicate(member, true);
        if (copy && !cJSON_AddItemToObject(line, member->string, copy)) { cJSON_Delete(copy); }
    }
    fmp_out_json(line);
}

void fmp_show_event(void *arg, const cJSON *event)
{
    fmp_show *s = arg;
    const char *name = fmp_json_str(event, "event", "");
    if (strcmp(name, "run.end") == 0) {
        cJSON_Delete(s->run_end);
        s->run_end = cJSON_Duplicate(event, true);
        return;
    }
    if (s->cli->json) {
        event_to_json(event);
        return;
    }
    if (strcmp(name, "run.start") == 0) {
        snprintf(s->run_dir, sizeof s->run_dir, "%s", fmp_json_str(event, "run_dir", ""));
        show_start(s, event);
    } else if (strcmp(name, "stage.start") == 0) {
        if (*fmp_json_str(event, "reason", "")) { release(s); }
    } else if (strcmp(name, "stage.progress") == 0) {
        show_progress(s, event);
    } else if (strcmp(name, "stage.end") == 0) {
        keep_facts(s, event);
        show_stage_end(s, event);
    } else if (strcmp(name, "log") == 0) {
        show_log(s, event);
    }
}

/* ---- the end ---- */

/* {"v":1,"event":"run.end","ok":…,"run_dir":…,"stages":[…]}: members and order are a promise to scripts. */
static void end_to_json(const fmp_show *s, bool ok, const char *run_dir)
{
    static const char *const numbers[] = {"in", "out", "rejected", "seconds"};
    cJSON *line = cJSON_CreateObject();
    cJSON_AddNumberToObject(line, "v", 1);
    cJSON_AddStringToObject(line, "event", "run.end");
    cJSON_AddBoolToObject(line, "ok", ok);
    cJSON_AddStringToObject(line, "run_dir", run_dir ? run_dir : "");
    cJSON *stages = cJSON_AddArrayToObject(line, "stages");
    const cJSON *stage;
    cJSON_ArrayForEach(stage, fmp_json_get(s->run_end, "stages"))
    {
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "id", fmp_json_str(stage, "id", ""));
        cJSON_AddStringToObject(row, "action", fmp_json_str(stage, "action", ""));
        cJSON_AddStringToObject(row, "reason", fmp_json_str(stage, "reason", ""));
        for (size_t i = 0; i < 4; i++) {
            cJSON_AddNumberToObject(row, numbers[i], fmp_json_num(stage, numbers[i], 0));
        }
        cJSON_AddItemToArray(stages, row);
    }
    fmp_out_json(line);
}

void fmp_show_end(fmp_show *s, bool ok, const char *run_dir, const char *same_as)
{
    if (s->cli->json) {
        end_to_json(s, ok, run_dir);
        return;
    }
    clear_live(s);
    double seconds = fmp_now() - s->begin;
    if (!ok) {
        release(s);
        return;
    }
    if (s->tables.len > 0 && s->released) { fmp_out(s->tables.data, s->tables.len); }
    if (!s->released) {
        fmp_outf("%s · %zu stage%s cached · %.2f s", s->p->name, s->n_cached, s->n_cached == 1 ? "" : "s",
                 seconds);
        if (same_as) { fmp_outf(" · same digests as run %s", same_as); }
        fmp_outf(" · %s\n", run_dir ? run_dir : "");
        return;
    }
    char peak[32];
    fmp_outf("\n");
    if (s->artifacts.len > 0) { fmp_out(s->artifacts.data, s->artifacts.len); }
    fmp_outf(" results   %s   look closer:  fmpipe inspect run\n", run_dir ? run_dir : "?");
    fmp_outf(
        " %.1f s, peak %s. Run it again: everything is cached. Try your own transform:  fmpipe plugin new "
        "my_transform\n",
        seconds, fmp_human_bytes((double)fmp_peak_rss(), peak));
}
