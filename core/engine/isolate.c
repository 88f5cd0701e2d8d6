/*
 * Isolation by process: a map stage in workers of this very program, so that a plugin that crashes, hangs
 * or scribbles over memory takes one worker with it and the run says on which record. One worker for each
 * of the engine's threads; the proxy's process() is called with a worker number and talks to that worker
 * alone, so no locks are needed.
 */
#include "isolate_private.h"

#include <fmpipe/fs.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_FRAME = 1 << 29, WORKER_FD = 3, MAX_PROBLEMS = 32 };

const fmp_json_limits fmp_frame_limits_ = {.max_bytes = MAX_FRAME, .max_depth = 1024};

typedef struct worker {
    pid_t pid; /* 0: not running */
    int fd;
    fmp_buf in, out;
} worker;

typedef struct isolated {
    fmp_stage proxy; /* what the engine calls; lives as long as the instance */
    const fmp_stage_info *info;
    const fmp_services *services;
    cJSON *values; /* heap copy */
    worker *workers;
    uint32_t n_workers;
    int timeout_s;
} isolated;

/* ---- frames ---- */

fmp_status fmp_frame_send_(int fd, const char *data, size_t len, fmp_err *err)
{
    unsigned char head[4] = {(unsigned char)len, (unsigned char)(len >> 8), (unsigned char)(len >> 16),
                             (unsigned char)(len >> 24)};
    if (len > MAX_FRAME) {
        return fmp_fail(err, FMP_E_RANGE, "a frame of %zu bytes is longer than %d", len, MAX_FRAME);
    }
    for (size_t done = 0; done < sizeof head + len;) {
        size_t in_head = done < sizeof head ? done : sizeof head, in_data = done - in_head;
        struct iovec parts[2] = {{head + in_head, sizeof head - in_head},
                                 {(char *)(uintptr_t)data + in_data, len - in_data}};
        const struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) { continue; }
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return fmp_fail(err, FMP_E_CANCELLED, "not read in time");
        }
        if (n < 0) { return fmp_fail(err, FMP_E_IO, "sending to the worker: %s", strerror(errno)); }
        done += (size_t)n;
    }
    return FMP_OK;
}

/* Exactly `len` bytes, or fewer at the end of the stream; *got says how many. The socket's own timeout
 * bounds each wait. */
static fmp_status receive(int fd, char *to, size_t len, size_t *got, fmp_err *err)
{
    *got = 0;
    while (*got < len) {
        ssize_t n = recv(fd, to + *got, len - *got, 0);
        if (n < 0 && errno == EINTR) { continue; }
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return fmp_fail(err, FMP_E_CANCELLED, "no answer in time");
        }
        if (n < 0) { return fmp_fail(err, FMP_E_IO, "receiving from the worker: %s", strerror(errno)); }
        if (n == 0) { return FMP_OK; }
        *got += (size_t)n;
    }
    return FMP_OK;
}

fmp_status fmp_frame_receive_(int fd, fmp_buf *in, size_t *n_read, fmp_err *err)
{
    unsigned char head[4];
    *n_read = 0;
    in->len = 0;
    size_t got;
    FMP_TRY(receive(fd, (char *)head, sizeof head, &got, err));
    if (got == 0) { return FMP_OK; }
    size_t len = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
    if (got < sizeof head || len == 0) { return fmp_fail(err, FMP_E_IO, "a frame was broken off"); }
    if (len > MAX_FRAME) {
        return fmp_fail(err, FMP_E_RANGE, "a frame of %zu bytes is longer than %d", len, MAX_FRAME);
    }
    char *to = fmp_buf_grow(in, len);
    FMP_TRY(fmp_buf_ok(in, err));
    FMP_TRY(receive(fd, to, len, &got, err));
    if (got < len) {
        return fmp_fail(err, FMP_E_IO, "a frame was broken off after %zu of %zu bytes", got, len);
    }
    in->len = len;
    *n_read = len;
    return FMP_OK;
}

int fmp_worker_seconds_(void)
{
    const char *text = getenv("FMPIPE_WORKER_TIMEOUT");
    long seconds = text ? strtol(text, NULL, 10) : 0;
    return seconds > 0 && seconds < 86400 ? (int)seconds : FMP_WORKER_SECONDS;
}

/* ---------------------------------------------------------------------------------------------- worker
 * processes */

extern char **environ;

/* A worker on the other end of w->fd, whose answers are waited for `timeout_s` seconds. */
static fmp_status spawn_worker(worker *w, int timeout_s, fmp_err *err)
{
    int ends[2];
    char fd_text[16];
    posix_spawn_file_actions_t actions;
    snprintf(fd_text, sizeof fd_text, "%d", WORKER_FD);
    char *argv[] = {"fmpipe", "--stage-worker", fd_text, NULL};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        return fmp_fail(err, FMP_E_IO, "socketpair: %s", strerror(errno));
    }
    int code = posix_spawn_file_actions_init(&actions);
    if (code == 0) {
        code = posix_spawn_file_actions_adddup2(&actions, ends[1], WORKER_FD);
        if (code == 0) { code = posix_spawn(&w->pid, "/proc/self/exe", &actions, NULL, argv, environ); }
        posix_spawn_file_actions_destroy(&actions);
    }
    close(ends[1]);
    if (code != 0) {
        close(ends[0]);
        w->pid = 0;
        return fmp_fail(err, FMP_E_IO, "cannot start a worker process: %s", strerror(code));
    }
    w->fd = ends[0];
    const struct timeval limit = {.tv_sec = timeout_s};
    if (setsockopt(w->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
        setsockopt(w->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0) {
        return fmp_fail(err, FMP_E_IO, "setting a time limit: %s", strerror(errno));
    }
    return FMP_OK;
}

/* End of the stream, then two seconds to leave, then force. Returns the wait status. */
static int end_worker(worker *w, bool at_once)
{
    int state = 0;
    if (w->pid == 0) { return 0; }
    close(w->fd);
    if (at_once) { kill(w->pid, SIGKILL); }
    for (int i = 0; i < 200; i++) {
        pid_t done = waitpid(w->pid, &state, WNOHANG);
        if (done == w->pid || (done < 0 && errno != EINTR)) {
            w->pid = 0;
            return state;
        }
        poll(NULL, 0, 10);
    }
    kill(w->pid, SIGKILL);
    while (waitpid(w->pid, &state, 0) < 0 && errno == EINTR) {}
    w->pid = 0;
    return state;
}

/* What to say of a worker that gave no answer. `record` may be NULL. */
static fmp_status worker_died(const isolated *s, worker *w, const fmp_record *record, bool too_slow,
                              fmp_err *err)
{
    char how[128], where[320] = "";
    int state = end_worker(w, too_slow);
    if (too_slow) {
        snprintf(how, sizeof how, "gave no answer in %d s", s->timeout_s);
    } else if (WIFSIGNALED(state)) {
        const char *name = sigabbrev_np(WTERMSIG(state));
        snprintf(how, sizeof how, "crashed (SIG%s)", name ? name : "?");
    } else {
        snprintf(how, sizeof how, "ended its process with exit code %d", WEXITSTATUS(state));
    }
    if (record && record->origin.line > 0) {
        snprintf(where, sizeof where, " on record %s (%.240s:%" PRIu64 ")", record->id, record->origin.file,
                 record->origin.line);
    } else if (record) {
        snprintf(where, sizeof where, " on record %s", record->id);
    }
    fmp_fail(err, FMP_E_PLUGIN, "stage '%s' (%.200s, sha256:%.12s) %s%s", s->info->name,
             s->info->plugin->path, s->info->plugin->digest, how, where);
    if (err && record) {
        snprintf(err->record, sizeof err->record, "%s", record->id);
        fmp_err_hint(err, "'fmpipe plugin check %.120s --record %.160s:%" PRIu64 "' repeats it",
                     s->info->plugin->path, record->origin.file ? record->origin.file : "",
                     record->origin.line);
    }
    return FMP_E_PLUGIN;
}

static fmp_status error_from(const cJSON *answer, fmp_err *err)
{
    const cJSON *error = fmp_json_get(answer, "error");
    if (!error) { return FMP_OK; }
    double code = fmp_json_num(error, "code", FMP_E_PLUGIN);
    if (!(code >= FMP_E_USAGE && code <= FMP_E_INTERNAL)) { code = FMP_E_PLUGIN; }
    fmp_status status = fmp_fail(err, (fmp_status)code, "%s", fmp_json_str(error, "message", ""));
    if (err) {
        snprintf(err->option, sizeof err->option, "%s", fmp_json_str(error, "option", ""));
        snprintf(err->notes, sizeof err->notes, "%s", fmp_json_str(error, "notes", ""));
        if (*fmp_json_str(error, "hint", "")) { fmp_err_hint(err, "%s", fmp_json_str(error, "hint", "")); }
    }
    return status;
}

/* One request and its answer, parsed into the thread's JSON scope (heap without one: *answer is then the
 * caller's). */
static fmp_status ask(isolated *s, worker *w, const fmp_record *record, cJSON **answer, fmp_err *err)
{
    size_t n = 0;
    fmp_err why = FMP_ERR_INIT;
    *answer = NULL;
    FMP_TRY(fmp_buf_ok(&w->out, err));
    if (w->pid == 0) {
        return fmp_fail(err, FMP_E_PLUGIN, "stage '%s': this worker has ended", s->info->name);
    }
    fmp_status status = fmp_frame_send_(w->fd, w->out.data, w->out.len, &why);
    if (status == FMP_E_RANGE) { /* our own doing: the worker is well */
        if (err) { *err = why; }
        return status;
    }
    if (status == FMP_OK) { status = fmp_frame_receive_(w->fd, &w->in, &n, &why); }
    if (status == FMP_E_NOMEM) {
        if (err) { *err = why; }
        return status;
    }
    if (status != FMP_OK || n == 0) { return worker_died(s, w, record, status == FMP_E_CANCELLED, err); }
    status = fmp_json_parse(w->in.data, w->in.len, &fmp_frame_limits_, answer, &why);
    if (status != FMP_OK) {
        return fmp_fail(err, FMP_E_PLUGIN, "stage '%s': its worker sent a damaged answer: %.200s",
                        s->info->name, why.message);
    }
    status = error_from(*answer, err);
    return status;
}

/* ---------------------------------------------------------------------------------------------- the proxy's
 * life */

static fmp_status iso_configure(void *self, const cJSON *values, fmp_err *err)
{
    isolated *s = self;
    fmp_arena *scope = fmp_json_scope(NULL);
    s->values = cJSON_Duplicate(values, true);
    fmp_json_scope(scope);
    return s->values ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

static void replay_log(const isolated *s, const cJSON *answer)
{
    const cJSON *line;
    cJSON_ArrayForEach(line, fmp_json_get(answer, "log"))
    {
        const cJSON *level = cJSON_GetArrayItem(line, 0), *text = cJSON_GetArrayItem(line, 1);
        if (s->services->log && cJSON_IsNumber(level) && cJSON_IsString(text)) {
            s->services->log(s->services->arg, (fmp_log_level)level->valueint, text->valuestring);
        }
    }
}

static fmp_status open_worker(isolated *s, worker *w, fmp_err *err)
{
    char seed[24];
    cJSON *answer = NULL;
    fmp_arena *scope = fmp_json_scope(NULL);
    cJSON *request = cJSON_CreateObject();
    snprintf(seed, sizeof seed, "%" PRIu64, s->services->seed);
    cJSON_AddStringToObject(request, "op", "open");
    cJSON_AddStringToObject(request, "path", s->info->plugin->path);
    cJSON_AddStringToObject(request, "digest", s->info->plugin->digest);
    cJSON_AddStringToObject(request, "stage", s->info->name);
    cJSON_AddStringToObject(request, "seed", seed);
    cJSON_AddItemReferenceToObject(request, "values", s->values);
    w->out.len = 0;
    fmp_json_print(request, FMP_JSON_COMPACT, &w->out);
    cJSON_Delete(request);
    fmp_status status = spawn_worker(w, s->timeout_s, err);
    if (status == FMP_OK) { status = ask(s, w, NULL, &answer, err); }
    if (status == FMP_OK) { replay_log(s, answer); }
    cJSON_Delete(answer);
    fmp_json_scope(scope);
    return status;
}

static fmp_status iso_start(void *self, uint32_t n_workers, fmp_err *err)
{
    isolated *s = self;
    s->workers = calloc(n_workers, sizeof *s->workers);
    if (!s->workers) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    s->n_workers = n_workers;
    for (uint32_t i = 0; i < n_workers; i++) {
        if (open_worker(s, &s->workers[i], err) != FMP_OK) {
            fmp_err_note(err, "while starting stage '%s' in a process of its own", s->info->name);
            return err ? (fmp_status)err->code : FMP_E_PLUGIN;
        }
    }
    return FMP_OK;
}

static void print_request(worker *w, const fmp_record *record)
{
    cJSON *head = cJSON_CreateObject();
    cJSON_AddStringToObject(head, "op", "record");
    cJSON_AddStringToObject(head, "id", record->id);
    cJSON_AddStringToObject(head, "file", record->origin.file ? record->origin.file : "");
    cJSON_AddNumberToObject(head, "line", (double)record->origin.line);
    cJSON_AddNumberToObject(head, "offset", (double)record->origin.offset);
    w->out.len = 0;
    fmp_json_print(head, FMP_JSON_COMPACT, &w->out);
    if (w->out.len > 0) { w->out.len--; } /* the closing brace, for one more member */
    fmp_buf_puts(&w->out, ",\"doc\":");
    fmp_json_print(record->doc, FMP_JSON_COMPACT, &w->out);
    fmp_buf_putc(&w->out, '}');
    cJSON_Delete(head);
}

static fmp_status replay_reject(const cJSON *row, const fmp_call *call, fmp_err *err)
{
    fmp_problem more[MAX_PROBLEMS];
    fmp_reject why = {.struct_size = (uint32_t)sizeof why,
                      .reason = fmp_json_str(row, "reason", "rejected"),
                      .message = fmp_json_str(row, "message", ""),
                      .path = fmp_json_str(row, "path", NULL),
                      .more = more};
    const cJSON *item;
    cJSON_ArrayForEach(item, fmp_json_get(row, "more"))
    {
        if (why.n_more == MAX_PROBLEMS) { break; }
        more[why.n_more++] = (fmp_problem){.reason = fmp_json_str(item, "reason", "rejected"),
                                           .message = fmp_json_str(item, "message", ""),
                                           .path = fmp_json_str(item, "path", NULL)};
    }
    return call->reject(call, &why, err);
}

static fmp_status replay(const isolated *s, cJSON *answer, const fmp_call *call, fmp_err *err)
{
    cJSON *docs = cJSON_GetObjectItemCaseSensitive(answer, "docs");
    const cJSON *item;
    replay_log(s, answer);
    cJSON_ArrayForEach(item, fmp_json_get(answer, "counts"))
    {
        if (cJSON_IsNumber(item)) { call->count(call, item->string, (int64_t)item->valuedouble); }
    }
    while (docs && docs->child) {
        cJSON *doc = cJSON_DetachItemFromArray(docs, 0);
        if (cJSON_IsNull(doc)) {
            FMP_TRY(call->pass(call, err));
        } else {
            FMP_TRY(call->emit(call, doc, err));
        }
    }
    cJSON_ArrayForEach(item, fmp_json_get(answer, "rejects"))
    {
        FMP_TRY(replay_reject(item, call, err));
    }
    return FMP_OK;
}

static fmp_status iso_process(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err)
{
    isolated *s = self;
    cJSON *answer = NULL;
    if (call->worker >= s->n_workers) {
        return fmp_fail(err, FMP_E_INTERNAL, "worker %u of %u", call->worker, s->n_workers);
    }
    worker *w = &s->workers[call->worker];
    print_request(w, record);
    FMP_TRY(ask(s, w, record, &answer, err));
    return replay(s, answer, call, err); /* the answer's nodes lie in the batch's arena */
}

/* Numbers of several workers add up; of anything else the first worker's stands. */
static fmp_status merge_facts(cJSON *into, const cJSON *facts, fmp_err *err)
{
    const cJSON *fact;
    cJSON_ArrayForEach(fact, facts)
    {
        cJSON *have = cJSON_GetObjectItemCaseSensitive(into, fact->string);
        if (have && cJSON_IsNumber(have) && cJSON_IsNumber(fact)) {
            cJSON_SetNumberValue(have, have->valuedouble + fact->valuedouble);
        } else if (!have) {
            cJSON *copy = cJSON_Duplicate(fact, true);
            if (!copy || !cJSON_AddItemToObject(into, fact->string, copy)) {
                return fmp_fail(err, FMP_E_NOMEM, "out of memory");
            }
        }
    }
    return FMP_OK;
}

static fmp_status finish_worker(isolated *s, worker *w, cJSON *facts, fmp_err *err)
{
    cJSON *answer = NULL;
    const cJSON *item;
    w->out.len = 0;
    fmp_buf_puts(&w->out, "{\"op\":\"finish\"}");
    fmp_status status = ask(s, w, NULL, &answer, err);
    if (status == FMP_OK) {
        replay_log(s, answer);
        cJSON_ArrayForEach(item, fmp_json_get(answer, "counts"))
        {
            if (s->services->count && cJSON_IsNumber(item)) {
                s->services->count(s->services->arg, item->string, (int64_t)item->valuedouble);
            }
        }
        const char *summary = fmp_json_str(answer, "summary", NULL);
        if (summary && s->n_workers == 1 && s->services->summary) {
            s->services->summary(s->services->arg, summary);
        }
        status = merge_facts(facts, fmp_json_get(answer, "facts"), err);
    }
    cJSON_Delete(answer);
    return status;
}

static fmp_status iso_finish(void *self, fmp_err *err)
{
    isolated *s = self;
    fmp_arena *scope = fmp_json_scope(NULL);
    cJSON *facts = cJSON_CreateObject();
    fmp_status status = facts ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    for (uint32_t i = 0; i < s->n_workers && status == FMP_OK; i++) {
        status = finish_worker(s, &s->workers[i], facts, err);
    }
    while (status == FMP_OK && facts->child && s->services->fact) {
        cJSON *fact = cJSON_DetachItemViaPointer(facts, facts->child);
        s->services->fact(s->services->arg, fact->string, fact);
    }
    cJSON_Delete(facts);
    fmp_json_scope(scope);
    return status;
}

static void iso_destroy(void *self)
{
    isolated *s = self;
    for (uint32_t i = 0; i < s->n_workers; i++) {
        (void)end_worker(&s->workers[i], false);
        fmp_buf_free(&s->workers[i].in);
        fmp_buf_free(&s->workers[i].out);
    }
    free(s->workers);
    fmp_arena *scope = fmp_json_scope(NULL);
    cJSON_Delete(s->values);
    fmp_json_scope(scope);
    free(s);
}

fmp_status fmp_isolated_stage(const fmp_stage_info *info, const fmp_services *services,
                              const fmp_stage **proxy, void **self, fmp_err *err)
{
    if (info->kind != FMP_MAP) {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "only map stages run in a process of their own; '%s' is none",
                        info->name);
    }
    isolated *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    s->info = info;
    s->services = services;
    s->timeout_s = fmp_worker_seconds_();
    s->proxy = (fmp_stage){FMP_STAGE_HEADER,           .name = info->name,       .version = info->version,
                           .kind = info->kind,         .flags = info->flags,     .summary = info->summary,
                           .inputs = info->inputs,     .outputs = info->outputs, .options = info->options,
                           .configure = iso_configure, .start = iso_start,       .process = iso_process,
                           .finish = iso_finish,       .destroy = iso_destroy};
    *proxy = &s->proxy;
    *self = s;
    return FMP_OK;
}
