/*
 * event.c: one lock around the CLI's callback, the run's two line files and its event files.
 *
 * Events are made on the heap even on a worker whose JSON scope is a batch's arena: the receiver may outlive
 * the batch.
 */
#include "event.h"
#include "tensorboard.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define PROGRESS_SECONDS 0.1
#define FLUSH_BYTES      65536

typedef struct line_file {
    int fd;
    fmp_buf pending;
    int failed; /* errno of the first failed write */
} line_file;

struct fmp_emitter {
    const fmp_events *events;
    bool verbose;
    pthread_mutex_t lock;
    double next_progress;
    line_file log, metrics;
    fmp_tboard *tboard; /* the points of metrics once more */
};

static void flush(line_file *f)
{
    const char *p = f->pending.data;
    size_t left = f->pending.len;
    while (left > 0 && !f->failed) {
        ssize_t n = write(f->fd, p, left);
        if (n < 0 && errno == EINTR) { continue; }
        if (n < 0) {
            f->failed = errno;
            break;
        }
        p += n;
        left -= (size_t)n;
    }
    f->pending.len = 0;
}

static fmp_status open_lines(const char *dir, const char *name, line_file *out, fmp_err *err)
{
    char *path = fmp_path_join(dir, name);
    if (!path) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for %s", name); }
    out->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    int why = errno;
    fmp_status st =
        out->fd >= 0 ? FMP_OK : fmp_fail(err, FMP_E_IO, "cannot create %s: %s", path, strerror(why));
    free(path);
    return st;
}

fmp_status fmp_emitter_new(const fmp_events *events, const char *run_dir, bool verbose, fmp_emitter **out,
                           fmp_err *err)
{
    *out = NULL;
    fmp_emitter *e = calloc(1, sizeof *e);
    if (!e) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for the run's events"); }
    e->events = events;
    e->verbose = verbose;
    e->log.fd = e->metrics.fd = -1;
    pthread_mutex_init(&e->lock, NULL);
    fmp_status st = open_lines(run_dir, "log.txt", &e->log, err);
    if (st == FMP_OK) { st = open_lines(run_dir, "metrics.jsonl", &e->metrics, err); }
    e->tboard = fmp_tboard_new(run_dir);
    if (st == FMP_OK && !e->tboard) { st = fmp_fail(err, FMP_E_NOMEM, "out of memory for the run's events"); }
    if (st != FMP_OK) {
        fmp_status closed = fmp_emitter_free(e, NULL);
        (void)closed;
        return st;
    }
    *out = e;
    return FMP_OK;
}

static int close_lines(line_file *f)
{
    if (f->fd < 0) { return 0; }
    flush(f);
    if (close(f->fd) != 0 && !f->failed) { f->failed = errno; }
    fmp_buf_free(&f->pending);
    return f->failed;
}

fmp_status fmp_emitter_free(fmp_emitter *e, fmp_err *err)
{
    if (!e) { return FMP_OK; }
    int log = close_lines(&e->log), metrics = close_lines(&e->metrics), tboard = fmp_tboard_free(e->tboard);
    pthread_mutex_destroy(&e->lock);
    free(e);
    if (!log && !metrics && !tboard) { return FMP_OK; }
    return fmp_fail(err, FMP_E_IO, "cannot write the run's %s: %s",
                    log       ? "log.txt"
                    : metrics ? "metrics.jsonl"
                              : "tensorboard.events",
                    strerror(log       ? log
                             : metrics ? metrics
                                       : tboard));
}

cJSON *fmp_event_new(const char *name, const char *stage)
{
    fmp_arena *scope = fmp_json_scope(NULL);
    cJSON *event = cJSON_CreateObject();
    cJSON_AddStringToObject(event, "event", name);
    if (stage) { cJSON_AddStringToObject(event, "stage", stage); }
    fmp_json_scope(scope);
    return event;
}

static void deliver(fmp_emitter *e, cJSON *event)
{
    if (event && e->events && e->events->event) { e->events->event(e->events->arg, event); }
    cJSON_Delete(event);
}

void fmp_emit(fmp_emitter *e, cJSON *event)
{
    fmp_arena *scope = fmp_json_scope(NULL);
    pthread_mutex_lock(&e->lock);
    deliver(e, event);
    pthread_mutex_unlock(&e->lock);
    fmp_json_scope(scope);
}

static cJSON *log_event(const char *stage, const char *level, const char *text)
{
    cJSON *event = fmp_event_new("log", stage);
    cJSON_AddStringToObject(event, "level", level);
    cJSON_AddStringToObject(event, "text", text);
    return event;
}

void fmp_emit_log(fmp_emitter *e, const char *stage, fmp_log_level level, const char *text)
{
    static const char *const names[] = {"debug", "info", "warning"};
    const char *name = names[level > FMP_LOG_WARNING ? FMP_LOG_WARNING : level];
    fmp_arena *scope = fmp_json_scope(NULL);
    pthread_mutex_lock(&e->lock);
    fmp_buf_printf(&e->log.pending, "%s: %s: ", name, stage ? stage : "run");
    for (const char *p = text; *p; p++) {
        fmp_buf_putc(&e->log.pending, (unsigned char)*p < 0x20 ? ' ' : *p);
    }
    fmp_buf_putc(&e->log.pending, '\n');
    flush(&e->log);
    if (level >= FMP_LOG_WARNING || e->verbose) { deliver(e, log_event(stage, name, text)); }
    pthread_mutex_unlock(&e->lock);
    fmp_json_scope(scope);
}

void fmp_emit_point(fmp_emitter *e, const char *stage, const char *series, uint64_t step, double value)
{
    fmp_arena *scope = fmp_json_scope(NULL);
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "stage", stage);
    cJSON_AddStringToObject(line, "series", series);
    cJSON_AddNumberToObject(line, "step", (double)step);
    if (isfinite(value)) {
        cJSON_AddNumberToObject(line, "value", value);
    } else { /* JSON has no word for these numbers */
        cJSON_AddStringToObject(line, "value", isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
    }
    pthread_mutex_lock(&e->lock);
    fmp_json_print(line, FMP_JSON_COMPACT, &e->metrics.pending);
    fmp_buf_putc(&e->metrics.pending, '\n');
    if (e->metrics.pending.len >= FLUSH_BYTES) { flush(&e->metrics); }
    fmp_tboard_point(e->tboard, stage, series, step, value);
    pthread_mutex_unlock(&e->lock);
    cJSON_Delete(line);
    fmp_json_scope(scope);
}

void fmp_emit_progress(fmp_emitter *e, const char *stage, uint64_t done, uint64_t total, const char *unit,
                       const char *text)
{
    double now = fmp_now();
    fmp_arena *scope = fmp_json_scope(NULL);
    pthread_mutex_lock(&e->lock);
    if (now >= e->next_progress || (done == 0 && text)) {
        e->next_progress = now + PROGRESS_SECONDS;
        flush(&e->metrics); /* whoever follows the run sees its points, too */
        fmp_tboard_flush(e->tboard);
        cJSON *event = fmp_event_new("stage.progress", stage);
        cJSON_AddNumberToObject(event, "done", (double)done);
        cJSON_AddNumberToObject(event, "total", (double)total);
        if (unit) { cJSON_AddStringToObject(event, "unit", unit); }
        if (text) { cJSON_AddStringToObject(event, "text", text); }
        deliver(e, event);
    }
    pthread_mutex_unlock(&e->lock);
    fmp_json_scope(scope);
}
