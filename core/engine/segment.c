/*
 * segment.c: streaming. Source, maps and sink of one chain over blocks of about 256 KiB, with bounded memory.
 *
 *   fetch (one at a time)  →  process a whole block (any thread)  →  commit (one at a time, in block order)
 *
 * Every thread does all three in turn, so there is no hand-over and no thread that only waits. A block's
 * number is given at fetch; what happens in commit depends on these numbers only, never on which thread was
 * faster: that is why the output, the counts and the first error are the same for any number of threads.
 * Back-pressure: a thread that wants to fetch waits for a free slot; slots become free in commit. It cannot
 * deadlock: a thread waits while it holds no block, and whoever finishes the oldest block commits it.
 */
#include "segment_private.h"

#include <stdlib.h>

#define BLOCK_BYTES       ((size_t)256 << 10)
#define ARENA_KEEP_BYTES  ((size_t)4 << 20)
#define BUFFER_KEEP_BYTES ((size_t)4 << 20)
#define BYTES_AFTER_LIMIT ((uint64_t)64 << 20)

/* ------------------------------------------------------------------------------------------------ slots */

static char *grow_block(fmp_block *block, size_t cap)
{
    fmp_slot *slot = (fmp_slot *)(void *)block;
    if (cap <= slot->heap_cap) { return slot->heap; }
    char *grown = realloc(slot->heap, cap);
    if (!grown) { return NULL; }
    slot->heap = grown;
    slot->heap_cap = cap;
    block->data = grown;
    block->cap = cap;
    return grown;
}

static fmp_status init_slots(fmp_segment *seg, fmp_err *err)
{
    seg->n_slots = 2 * (size_t)fmp_pool_threads(seg->e->pool) + 2;
    seg->slots = calloc(seg->n_slots, sizeof *seg->slots);
    bool ok = seg->slots != NULL;
    for (size_t i = 0; ok && i < seg->n_slots; i++) {
        fmp_slot *slot = &seg->slots[i];
        slot->arena = fmp_arena_new(0);
        slot->tallies = calloc(seg->n, sizeof *slot->tallies);
        slot->block.struct_size = (uint32_t)sizeof(fmp_block);
        slot->block.grow = grow_block;
        ok = slot->arena && slot->tallies;
        if (ok && seg->has_source) { ok = grow_block(&slot->block, BLOCK_BYTES) != NULL; }
    }
    return ok ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory for %zu blocks", seg->n_slots);
}

/* Documents that lie on the heap may hold nodes of the arena, so they go first. */
static void clear_slot(fmp_segment *seg, fmp_slot *slot)
{
    for (size_t i = 0; i < slot->n_heap_docs; i++) {
        cJSON_Delete(slot->heap_docs[i]);
    }
    slot->n_heap_docs = 0;
    fmp_arena_reset(slot->arena, ARENA_KEEP_BYTES);
    for (size_t s = 0; s < seg->n; s++) {
        fmp_buf rejects = slot->tallies[s].rejects;
        rejects.len = 0;
        slot->tallies[s] = (fmp_seg_tally){.rejects = rejects};
    }
    slot->first_refusal = NULL;
    slot->last_refusal = &slot->first_refusal;
    if (slot->out.cap > BUFFER_KEEP_BYTES) { fmp_buf_free(&slot->out); }
    if (slot->text.cap > BUFFER_KEEP_BYTES) { fmp_buf_free(&slot->text); }
    if (slot->heap_cap > BUFFER_KEEP_BYTES) {
        char *smaller = realloc(slot->heap, BLOCK_BYTES);
        if (smaller) {
            slot->heap = smaller;
            slot->heap_cap = BLOCK_BYTES;
        }
    }
    slot->out.len = 0;
    slot->status = FMP_OK;
    slot->block = (fmp_block){.struct_size = (uint32_t)sizeof(fmp_block),
                              .data = slot->heap,
                              .cap = slot->heap_cap,
                              .grow = grow_block};
}

static void free_slots(fmp_segment *seg)
{
    for (size_t i = 0; seg->slots && i < seg->n_slots; i++) {
        fmp_slot *slot = &seg->slots[i];
        for (size_t d = 0; d < slot->n_heap_docs; d++) {
            cJSON_Delete(slot->heap_docs[d]);
        }
        for (size_t s = 0; slot->tallies && s < seg->n; s++) {
            fmp_buf_free(&slot->tallies[s].rejects);
        }
        fmp_arena_free(slot->arena);
        free(slot->heap_docs);
        free(slot->tallies);
        free(slot->heap);
        fmp_buf_free(&slot->text);
        fmp_buf_free(&slot->out);
    }
    free(seg->slots);
}

/* ------------------------------------------------------------------------------------------------ fetch */

/* The pipeline's file that a source calls `path`: absolute, or as the user wrote it. */
static const fmp_file_input *find_file(const fmp_stage_node *node, const char *path)
{
    for (size_t i = 0; i < node->n_files; i++) {
        if (strcmp(node->files[i].path, path) == 0 || strcmp(node->files[i].shown, path) == 0) {
            return &node->files[i];
        }
    }
    return NULL;
}

/* Two files of equal content are told apart by how many of them came before: ids stay distinct. */
static void name_source(fmp_segment *seg, fmp_slot *slot)
{
    const char *digest = seg->files.digests[slot->file];
    size_t n_before = 0;
    for (size_t i = 0; i < slot->file; i++) {
        n_before += strcmp(seg->files.digests[i], digest) == 0;
    }
    if (n_before) {
        (void)snprintf(slot->source, sizeof slot->source, "%s#%zu", digest, n_before);
    } else {
        (void)snprintf(slot->source, sizeof slot->source, "%s", digest);
    }
}

static fmp_status name_file(fmp_segment *seg, fmp_slot *slot, fmp_err *err)
{
    const fmp_live *live = &seg->lives[0];
    slot->file = FMP_RECORDS_NO_FILE;
    slot->file_name = "";
    (void)snprintf(slot->source, sizeof slot->source, "%s", live->key);
    if (!slot->block.file) { return FMP_OK; }
    const fmp_file_input *file = find_file(live->node, slot->block.file);
    const char *name = file ? file->shown : slot->block.file;
    char digest[65] = "";
    if (file && file->digest[0]) {
        memcpy(digest, file->digest, sizeof digest);
    } else if (seg->files.n == 0 || strcmp(seg->files.names[seg->files.n - 1], name) != 0) {
        FMP_TRY(fmp_sha256_file(file ? file->path : slot->block.file, digest, err));
    }
    slot->file = fmp_file_table_add(&seg->files, name, digest, err);
    if (slot->file == FMP_RECORDS_NO_FILE) { return FMP_E_NOMEM; }
    slot->file_name = seg->files.names[slot->file];
    name_source(seg, slot);
    return FMP_OK;
}

static fmp_status fetch_block(fmp_segment *seg, fmp_slot *slot, bool *more, fmp_err *err)
{
    *more = false;
    if (fmp_engine_stopping(seg->e)) {
        return fmp_fail(err, FMP_E_CANCELLED, "stopped while reading records");
    }
    if (!seg->has_source) {
        uint64_t before = seg->in.line;
        FMP_TRY(fmp_records_fetch(&seg->in, BLOCK_BYTES, &slot->text, &slot->block.first_line, err));
        *more = slot->text.len > 0;
        if (!*more && before != seg->in.n) {
            return fmp_fail(err, FMP_E_DATA, "expected %" PRIu64 " records in %s, found %" PRIu64, seg->in.n,
                            seg->in.path, before);
        }
        return FMP_OK;
    }
    const fmp_live *live = &seg->lives[0];
    fmp_status st = live->stage->fetch(live->self, &slot->block, more, err);
    if (st != FMP_OK) {
        if (err->code == FMP_OK) { (void)fmp_fail(err, st, "the source failed and gave no message"); }
        const fmp_file_input *file = err->file[0] ? find_file(live->node, err->file) : NULL;
        if (file) { (void)snprintf(err->file, sizeof err->file, "%s", file->shown); }
        return st;
    }
    if (slot->block.len > slot->heap_cap) {
        return fmp_fail(err, FMP_E_PLUGIN, "expected a block of at most %zu bytes, found %zu", slot->heap_cap,
                        slot->block.len);
    }
    return name_file(seg, slot, err);
}

static fmp_slot *take_slot(fmp_segment *seg)
{
    fmp_slot *slot = NULL;
    pthread_mutex_lock(&seg->lock);
    while (!seg->ended && !slot) {
        for (size_t i = 0; i < seg->n_slots && !slot; i++) {
            if (!seg->slots[i].used) { slot = &seg->slots[i]; }
        }
        if (!slot) { pthread_cond_wait(&seg->freed, &seg->lock); }
    }
    if (seg->ended) { slot = NULL; }
    if (slot) {
        slot->used = true;
        slot->done = false;
        slot->seq = seg->next_fetch++;
    }
    pthread_mutex_unlock(&seg->lock);
    return slot;
}

/* The next block, or NULL: none is left. A failed fetch is a block too: its error waits for its turn in
   commit. */
static fmp_slot *fetch_next(fmp_segment *seg)
{
    pthread_mutex_lock(&seg->fetch_lock);
    fmp_slot *slot = take_slot(seg);
    if (slot) {
        bool more = false;
        clear_slot(seg, slot);
        fmp_err_clear(&slot->err);
        slot->bad_stage = 0;
        slot->status = fetch_block(seg, slot, &more, &slot->err);
        if (slot->status != FMP_OK || !more) {
            pthread_mutex_lock(&seg->lock);
            seg->ended = true;
            pthread_mutex_unlock(&seg->lock);
        }
    }
    pthread_mutex_unlock(&seg->fetch_lock);
    return slot;
}

/* ------------------------------------------------------------------------------------------------ commit */

static fmp_status commit_tallies(fmp_segment *seg, const fmp_slot *slot, fmp_err *err)
{
    for (size_t s = 0; s < seg->n; s++) {
        fmp_live *live = &seg->lives[s];
        const fmp_seg_tally *t = &slot->tallies[s];
        live->n_in += t->n_in;
        live->n_out += t->n_out;
        live->n_rejected += t->n_rejected;
        live->seconds += t->busy_seconds;
        pthread_mutex_lock(&live->lock);
        for (size_t i = 0; i < t->counts.n; i++) {
            fmp_tally_add(&live->counts, NULL, t->counts.items[i].name, t->counts.items[i].n);
        }
        pthread_mutex_unlock(&live->lock);
        for (size_t i = 0; i < t->reasons.n; i++) {
            fmp_tally_add(&live->reasons, NULL, t->reasons.items[i].name, t->reasons.items[i].n);
        }
        FMP_TRY(fmp_live_spool(live, t->rejects.data, t->rejects.len, err));
    }
    return FMP_OK;
}

/*
 * A broken policy does not end the segment at once: a person wants all problems of the file in one go. It
 * ends after 20 of them or 64 MiB more of input, both counted in block order.
 */
static void check_policy(fmp_segment *seg, const fmp_slot *slot)
{
    uint64_t problems = 0;
    if (seg->over_limit) { seg->bytes_after_limit += seg->has_source ? slot->block.len : slot->text.len; }
    for (size_t s = 0; s < seg->n; s++) {
        const fmp_live *live = &seg->lives[s];
        if (fmp_live_over_limit(live)) { seg->over_limit = true; }
        if (live->node->on_bad != FMP_ON_BAD_SKIP) { problems += live->n_rejected; }
    }
    if (seg->over_limit && (problems >= FMP_PROBLEMS_WANTED || seg->bytes_after_limit >= BYTES_AFTER_LIMIT)) {
        seg->status = FMP_E_DATA; /* the message comes from the policy, at the end */
    }
}

static void commit(fmp_segment *seg, fmp_slot *slot)
{
    if (seg->status != FMP_OK) { return; }
    if (slot->status != FMP_OK) {
        seg->status = slot->status;
        seg->err = slot->err;
        (void)fmp_live_blame(&seg->lives[slot->bad_stage], seg->status, &seg->err);
        return;
    }
    seg->status = commit_tallies(seg, slot, &seg->err);
    if (seg->status != FMP_OK) { return; }
    for (const fmp_seg_refusal *r = slot->first_refusal; r; r = r->next) {
        fmp_live_show(&seg->lives[r->stage], &r->r);
    }
    check_policy(seg, slot);
    if (seg->status != FMP_OK || seg->over_limit) { return; }
    seg->status = fmp_file_writer_add(&seg->writer, slot->out.data, slot->out.len, &seg->err);
    fmp_emit_progress(seg->e->emit, seg->lives[0].node->id, seg->lives[0].n_in,
                      seg->has_source ? 0 : seg->in.n, "records", NULL);
}

static fmp_slot *next_done(const fmp_segment *seg)
{
    for (size_t i = 0; i < seg->n_slots; i++) {
        fmp_slot *slot = &seg->slots[i];
        if (slot->used && slot->done && slot->seq == seg->next_commit) { return slot; }
    }
    return NULL;
}

static void finish_block(fmp_segment *seg, fmp_slot *slot)
{
    pthread_mutex_lock(&seg->lock);
    slot->done = true;
    if (!seg->committing) {
        seg->committing = true;
        for (fmp_slot *next; (next = next_done(seg)) != NULL;) {
            pthread_mutex_unlock(&seg->lock);
            commit(seg, next);
            pthread_mutex_lock(&seg->lock);
            if (seg->status != FMP_OK) { seg->ended = true; }
            next->used = false;
            seg->next_commit++;
            pthread_cond_broadcast(&seg->freed);
        }
        seg->committing = false;
    }
    pthread_mutex_unlock(&seg->lock);
}

static void work(void *arg, size_t worker)
{
    fmp_segment *seg = arg;
    for (fmp_slot *slot; (slot = fetch_next(seg)) != NULL;) {
        if (slot->status == FMP_OK) { fmp_segment_process(seg, slot, (uint32_t)worker); }
        finish_block(seg, slot);
    }
}

/* ------------------------------------------------------------------------------------------------ life */

static fmp_status open_stages(fmp_segment *seg, fmp_err *err)
{
    uint32_t n_workers = (uint32_t)fmp_pool_threads(seg->e->pool);
    for (size_t s = 0; s < seg->n; s++) {
        fmp_live *live = &seg->lives[s];
        FMP_TRY(fmp_live_open(live, NULL, NULL, err));
        if (!live->stage->start) { continue; }
        fmp_status st = live->stage->start(live->self, n_workers, err);
        if (st != FMP_OK) { return fmp_live_blame(live, st, err); }
    }
    return FMP_OK;
}

static fmp_status open_output(fmp_segment *seg, const char *data, fmp_segment_output *out, fmp_err *err)
{
    const fmp_live *last = &seg->lives[seg->n - 1];
    const char *name = "records.jsonl";
    if (seg->has_sink) {
        name = last->stage->file_name ? last->stage->file_name(last->self) : NULL;
        if (!name || !*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
            return fmp_fail(err, FMP_E_CONFIG, "expected a plain file name from stage '%s', found '%s'",
                            last->node->id, name ? name : "none");
        }
    }
    char *path = fmp_path_join(data, name);
    char *copy = strdup(name);
    out->file.path = copy;
    fmp_status st = path && copy ? fmp_file_writer_open(path, &seg->writer, err)
                                 : fmp_fail(err, FMP_E_NOMEM, "out of memory for %s", name);
    free(path);
    return st;
}

static fmp_status finish_stages(fmp_segment *seg, fmp_err *err)
{
    for (size_t s = 0; s < seg->n; s++) {
        fmp_live *live = &seg->lives[s];
        fmp_status st = live->stage->finish ? live->stage->finish(live->self, err) : FMP_OK;
        if (st != FMP_OK) { return fmp_live_blame(live, st, err); }
    }
    return FMP_OK;
}

/* The stages' shares of the segment's time, by how long each was at work. */
static void share_seconds(fmp_segment *seg, double wall)
{
    double busy = 0.0;
    for (size_t s = 0; s < seg->n; s++) {
        busy += seg->lives[s].seconds;
    }
    for (size_t s = 0; s < seg->n; s++) {
        seg->lives[s].seconds = busy > 0.0 ? wall * seg->lives[s].seconds / busy : 0.0;
    }
}

static fmp_status close_output(fmp_segment *seg, const char *data, fmp_segment_output *out, fmp_err *err)
{
    out->file.size_bytes = seg->writer.size_bytes + seg->writer.pending.len;
    FMP_TRY(fmp_file_writer_end(&seg->writer, out->file.digest, err));
    if (seg->has_sink) { return FMP_OK; }
    const fmp_file_table *files = seg->has_source ? &seg->files : &seg->in.files;
    return fmp_records_manifest(data, files, seg->lives[seg->n - 1].n_out, err);
}

static fmp_status stream(fmp_segment *seg, fmp_err *err)
{
    fmp_pool_for(seg->e->pool, (size_t)fmp_pool_threads(seg->e->pool), work, seg);
    for (size_t s = 0; s < seg->n; s++) {
        FMP_TRY(fmp_live_spool_end(&seg->lives[s], err));
    }
    for (size_t s = 0; seg->over_limit && s < seg->n; s++) {
        FMP_TRY(fmp_live_policy(&seg->lives[s], err));
    }
    if (seg->status != FMP_OK && err) { *err = seg->err; }
    return seg->status;
}

fmp_status fmp_segment_run(fmp_engine *e, fmp_live *lives, size_t n, const char *input, const char *data,
                           fmp_segment_output *out, fmp_err *err)
{
    fmp_segment seg = {
        .e = e, .lives = lives, .n = n, .has_source = !input, .in = {.fd = -1}, .writer = {.fd = -1}};
    fmp_err_clear(&seg.err);
    pthread_mutex_init(&seg.fetch_lock, NULL);
    pthread_mutex_init(&seg.lock, NULL);
    pthread_cond_init(&seg.freed, NULL);
    *out = (fmp_segment_output){0};
    double begin = fmp_now();
    fmp_status st = open_stages(&seg, err);
    if (st == FMP_OK) { seg.has_sink = lives[n - 1].stage->kind == FMP_SINK; }
    if (st == FMP_OK && input) { st = fmp_records_open(input, &seg.in, err); }
    if (st == FMP_OK) { st = open_output(&seg, data, out, err); }
    if (st == FMP_OK) { st = init_slots(&seg, err); }
    if (st == FMP_OK) { st = stream(&seg, err); }
    if (st == FMP_OK) { st = finish_stages(&seg, err); }
    if (st == FMP_OK) { st = close_output(&seg, data, out, err); }
    share_seconds(&seg, fmp_now() - begin);
    for (size_t s = 0; s < n; s++) {
        fmp_live_close(&lives[s]);
    }
    free_slots(&seg);
    fmp_records_close(&seg.in);
    fmp_file_table_free(&seg.files);
    fmp_file_writer_free(&seg.writer);
    pthread_cond_destroy(&seg.freed);
    pthread_mutex_destroy(&seg.lock);
    pthread_mutex_destroy(&seg.fetch_lock);
    return st;
}
