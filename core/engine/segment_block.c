/*
 * segment_block.c: one block through decode, every map and encode, on one thread.
 *
 * The block goes through one stage after another (not record by record through all), so that a stage's code
 * and tables stay in the cache and its time is measured with two clock reads a block. Nothing here takes a
 * lock or the heap: items, documents, counts and refusals lie in the block's arena, the output text in its
 * buffer.
 */
#include "segment_private.h"

#include <stdlib.h>

/* The host's side of one stage's calls for one block. */
typedef struct seg_call {
    fmp_call pub; /* first: the ABI hands it back */
    fmp_segment *seg;
    fmp_slot *slot;
    size_t stage;
    fmp_items *out;
    const fmp_item *in; /* map, sink */
    uint32_t n_emitted; /* of `in`, or of the row `row_line` */
    uint64_t row_line;  /* source: the row that was emitted last */
    uint64_t n_rows;    /* source: rows of the block so far, for generated records */
    char row_id[17];
} seg_call;

static seg_call *call_of(const fmp_call *call)
{
    return call->impl;
}

static void *call_arena_take(const fmp_call *call, size_t size_bytes)
{
    fmp_arena *arena = call_of(call)->slot->arena;
    void *p = fmp_arena_take(arena, size_bytes);
    return fmp_arena_ok(arena, NULL) == FMP_OK ? p : NULL;
}

static void call_count(const fmp_call *call, const char *name, int64_t n)
{
    seg_call *c = call_of(call);
    fmp_tally_add(&c->slot->tallies[c->stage].counts, c->slot->arena, name, n);
}

/* ------------------------------------------------------------------------------------------------ emit */

static fmp_item *push_item(seg_call *c, fmp_err *err)
{
    fmp_items *items = c->out;
    if (items->n == items->cap) {
        size_t cap = items->cap ? 2 * items->cap : 512;
        fmp_item *v = fmp_arena_take(c->slot->arena, cap * sizeof *v);
        if (fmp_arena_ok(c->slot->arena, err) != FMP_OK) { return NULL; }
        if (items->n) { memcpy(v, items->v, items->n * sizeof *v); }
        items->v = v;
        items->cap = cap;
    }
    return &items->v[items->n++];
}

/* `doc` is ours from here on. In the arena it goes with it; on the heap it is deleted with the block. */
static fmp_status take_doc(fmp_slot *slot, cJSON *doc, fmp_err *err)
{
    if (!doc) { return fmp_fail(err, FMP_E_PLUGIN, "expected a document from the stage, found NULL"); }
    if (fmp_arena_owns(doc)) { return FMP_OK; }
    if (slot->n_heap_docs == slot->cap_heap_docs) {
        size_t cap = slot->cap_heap_docs ? 2 * slot->cap_heap_docs : 64;
        cJSON **grown = reallocarray(slot->heap_docs, cap, sizeof(cJSON *));
        if (!grown) {
            cJSON_Delete(doc);
            return fmp_fail(err, FMP_E_NOMEM, "out of memory for a document");
        }
        slot->heap_docs = grown;
        slot->cap_heap_docs = cap;
    }
    slot->heap_docs[slot->n_heap_docs++] = doc;
    return FMP_OK;
}

/* The id of the source row at `origin`, which is the same for each refusal and record of that row. */
static void row_id(seg_call *c, const fmp_origin *origin)
{
    bool generated = !c->slot->block.file || !origin || origin->line == 0;
    uint64_t index = generated ? c->slot->block.first_row + c->n_rows : origin->line - 1;
    bool again = !generated && origin->line == c->row_line;
    if (!again) {
        fmp_record_id(c->slot->source, index, c->row_id);
        c->row_line = generated ? 0 : origin->line;
        c->n_emitted = 0;
        c->n_rows++;
    }
}

static fmp_status emit_source(const fmp_call *call, cJSON *doc, const fmp_origin *origin, fmp_err *err)
{
    seg_call *c = call_of(call);
    FMP_TRY(take_doc(c->slot, doc, err));
    row_id(c, origin);
    fmp_item *item = push_item(c, err);
    if (!item) { return FMP_E_NOMEM; }
    *item = (fmp_item){.record = {.struct_size = (uint32_t)sizeof(fmp_record), .doc = doc},
                       .file = c->slot->file};
    if (origin) { item->record.origin = *origin; }
    item->record.origin.file = c->slot->file_name;
    memcpy(item->record.id, c->row_id, sizeof item->record.id);
    if (c->n_emitted) { fmp_record_id(c->row_id, c->n_emitted, item->record.id); }
    c->n_emitted++;
    return FMP_OK;
}

static fmp_status emit_source_plain(const fmp_call *call, cJSON *doc, fmp_err *err)
{
    return emit_source(call, doc, NULL, err);
}

static fmp_item *push_output(seg_call *c, fmp_err *err)
{
    fmp_item *item = push_item(c, err);
    if (!item) { return NULL; }
    *item = *c->in;
    if (c->n_emitted) { fmp_record_id(c->in->record.id, c->n_emitted, item->record.id); }
    c->n_emitted++;
    return item;
}

static fmp_status emit_map(const fmp_call *call, cJSON *doc, fmp_err *err)
{
    seg_call *c = call_of(call);
    if (doc == c->in->record.doc) { return push_output(c, err) ? FMP_OK : FMP_E_NOMEM; }
    FMP_TRY(take_doc(c->slot, doc, err));
    fmp_item *item = push_output(c, err);
    if (!item) { return FMP_E_NOMEM; }
    item->record.doc = doc;
    item->raw = NULL;
    item->raw_len = 0;
    return FMP_OK;
}

static fmp_status emit_row_map(const fmp_call *call, cJSON *doc, const fmp_origin *origin, fmp_err *err)
{
    (void)origin; /* a map's records come from where its input came from */
    return emit_map(call, doc, err);
}

static fmp_status call_pass(const fmp_call *call, fmp_err *err)
{
    return push_output(call_of(call), err) ? FMP_OK : FMP_E_NOMEM;
}

/* A callback that this kind of stage may not use. */
static fmp_status refuse(const fmp_call *call, const char *what, fmp_err *err)
{
    const seg_call *c = call_of(call);
    return fmp_fail(err, FMP_E_PLUGIN, "stage %s called %s, which its kind may not use",
                    c->seg->lives[c->stage].node->info->name, what);
}

static fmp_status no_emit(const fmp_call *call, cJSON *doc, fmp_err *err)
{
    if (!fmp_arena_owns(doc)) { cJSON_Delete(doc); }
    return refuse(call, "emit", err);
}

static fmp_status no_emit_row(const fmp_call *call, cJSON *doc, const fmp_origin *origin, fmp_err *err)
{
    (void)origin;
    return no_emit(call, doc, err);
}

static fmp_status no_pass(const fmp_call *call, fmp_err *err)
{
    return refuse(call, "pass", err);
}

static fmp_status no_write(const fmp_call *call, const void *data, size_t len, fmp_err *err)
{
    (void)data;
    (void)len;
    return refuse(call, "write", err);
}

static fmp_status call_write(const fmp_call *call, const void *data, size_t len, fmp_err *err)
{
    seg_call *c = call_of(call);
    c->n_emitted++;
    fmp_buf_add(&c->slot->out, data, len);
    return fmp_buf_ok(&c->slot->out, err);
}

/* ------------------------------------------------------------------------------------------------ reject */

/* The raw row of a record whose block is still here; else its document. */
static void find_row(const seg_call *c, fmp_refusal *r)
{
    const fmp_slot *slot = c->slot;
    if (c->seg->has_source) {
        uint64_t at = r->origin.offset - slot->block.offset;
        if (!slot->block.file || !r->origin.line || r->origin.offset < slot->block.offset ||
            at >= slot->block.len) {
            return;
        }
        const char *row = slot->block.data + at;
        const char *end = memchr(row, '\n', slot->block.len - (size_t)at);
        r->row = row;
        r->row_len = end ? (size_t)(end - row) : slot->block.len - (size_t)at;
        r->row_is_source = true;
    } else if (c->in && c->in->raw) {
        r->row = c->in->raw;
        r->row_len = c->in->raw_len;
    }
}

static fmp_status fill_refusal(seg_call *c, const fmp_reject *why, fmp_refusal *r, fmp_err *err)
{
    fmp_arena *arena = c->slot->arena;
    r->reason = fmp_arena_strdup(arena, why->reason ? why->reason : "unspecified");
    r->message = fmp_arena_strdup(arena, why->message ? why->message : "the stage gave no message");
    r->path = why->path ? fmp_arena_strdup(arena, why->path) : NULL;
    if (c->in) {
        memcpy(r->id, c->in->record.id, sizeof r->id);
        r->origin = c->in->record.origin;
    } else {
        row_id(c, &why->origin);
        memcpy(r->id, c->row_id, sizeof r->id);
        r->origin = why->origin;
        r->origin.file = c->slot->file_name;
        r->column = why->column;
        r->row = why->text;
        r->row_len = why->text ? why->text_len : 0;
        r->row_is_source = why->text != NULL;
    }
    if (!r->row) { find_row(c, r); }
    FMP_TRY(fmp_reject_more(why, arena, &r->more, &r->n_more, err));
    fmp_refusal_locate(r);
    return fmp_arena_ok(arena, err);
}

static fmp_status call_reject(const fmp_call *call, const fmp_reject *why, fmp_err *err)
{
    seg_call *c = call_of(call);
    fmp_slot *slot = c->slot;
    fmp_seg_tally *t = &slot->tallies[c->stage];
    fmp_seg_refusal *node = fmp_arena_take_zero(slot->arena, 1, sizeof *node);
    FMP_TRY(fmp_arena_ok(slot->arena, err));
    node->stage = c->stage;
    FMP_TRY(fill_refusal(c, why, &node->r, err));
    fmp_refusal_print(&node->r, &t->rejects);
    node->r.row = NULL; /* may be the plugin's own buffer; it is printed already */
    *slot->last_refusal = node;
    slot->last_refusal = &node->next;
    t->n_rejected++;
    fmp_tally_add(&t->reasons, slot->arena, node->r.reason, 1);
    return fmp_buf_ok(&t->rejects, err);
}

/* ------------------------------------------------------------------------------------------------ stages */

static seg_call make_call(fmp_segment *seg, fmp_slot *slot, size_t stage, uint32_t worker, fmp_items *out)
{
    fmp_stage_kind kind = seg->lives[stage].stage->kind;
    bool source = kind == FMP_SOURCE, map = kind == FMP_MAP;
    return (seg_call){
        .pub = {.struct_size = (uint32_t)sizeof(fmp_call),
                .worker = worker,
                .arena_take = call_arena_take,
                .emit = source ? emit_source_plain
                        : map  ? emit_map
                               : no_emit,
                .emit_row = source ? emit_source
                            : map  ? emit_row_map
                                   : no_emit_row,
                .pass = map ? call_pass : no_pass,
                .reject = call_reject,
                .write = kind == FMP_SINK ? call_write : no_write,
                .count = call_count},
        .seg = seg,
        .slot = slot,
        .stage = stage,
        .out = out,
    };
}

static fmp_status run_decode(fmp_segment *seg, fmp_slot *slot, uint32_t worker, fmp_items *out, fmp_err *err)
{
    fmp_live *live = &seg->lives[0];
    seg_call call = make_call(seg, slot, 0, worker, out);
    call.pub.impl = &call;
    call.row_line = UINT64_MAX;
    fmp_status st = live->stage->decode(live->self, &slot->block, &call.pub, err);
    fmp_seg_tally *t = &slot->tallies[0];
    t->n_in = out->n + t->n_rejected;
    t->n_out = out->n;
    return st;
}

/* The lines of a records artifact. */
static fmp_status run_parse(fmp_segment *seg, fmp_slot *slot, fmp_items *out, fmp_err *err)
{
    uint64_t number = slot->block.first_line;
    out->cap = 1;
    for (const char *p = slot->text.data, *end = p + slot->text.len; p < end; p++) {
        out->cap += *p == '\n';
    }
    out->v = fmp_arena_take(slot->arena, out->cap * sizeof *out->v);
    FMP_TRY(fmp_arena_ok(slot->arena, err));
    for (const char *p = slot->text.data, *end = p + slot->text.len; p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        FMP_TRY(fmp_records_parse(&seg->in, p, (size_t)(stop - p), number++, &out->v[out->n], err));
        out->n++;
        p = stop + 1;
    }
    return FMP_OK;
}

static fmp_status blame_record(const fmp_item *item, fmp_status st, fmp_err *err)
{
    if (!err->record[0]) { (void)snprintf(err->record, sizeof err->record, "%s", item->record.id); }
    if (!err->file[0] && item->record.origin.file && item->record.origin.file[0]) {
        uint64_t line = item->record.origin.line;
        (void)fmp_err_at(err, item->record.origin.file, line > UINT32_MAX ? UINT32_MAX : (uint32_t)line, 0,
                         item->record.origin.offset);
    }
    return st;
}

static fmp_status run_stage(fmp_segment *seg, fmp_slot *slot, size_t stage, uint32_t worker,
                            const fmp_items *in, fmp_items *out, fmp_err *err)
{
    fmp_live *live = &seg->lives[stage];
    fmp_seg_tally *t = &slot->tallies[stage];
    seg_call call = make_call(seg, slot, stage, worker, out);
    call.pub.impl = &call;
    fmp_status (*fn)(void *, const fmp_record *, const fmp_call *, fmp_err *) =
        live->stage->kind == FMP_SINK ? live->stage->encode : live->stage->process;
    t->n_in = in->n;
    for (size_t i = 0; i < in->n; i++) {
        call.in = &in->v[i];
        call.n_emitted = 0;
        fmp_status st = fn(live->self, &call.in->record, &call.pub, err);
        if (st != FMP_OK) {
            if (err->code == FMP_OK) { (void)fmp_fail(err, st, "the stage failed and gave no message"); }
            return blame_record(call.in, st, err);
        }
        t->n_out += live->stage->kind == FMP_SINK && call.n_emitted > 0;
    }
    if (live->stage->kind != FMP_SINK) { t->n_out = out->n; }
    return fmp_arena_ok(slot->arena, err);
}

static fmp_status print_items(fmp_slot *slot, const fmp_items *items, fmp_err *err)
{
    for (size_t i = 0; i < items->n; i++) {
        fmp_records_print(&items->v[i], items->v[i].file, &slot->out);
    }
    return fmp_buf_ok(&slot->out, err);
}

static fmp_status run_all(fmp_segment *seg, fmp_slot *slot, uint32_t worker, fmp_err *err)
{
    fmp_items items = {0};
    double before = fmp_now();
    slot->bad_stage = 0;
    FMP_TRY(seg->has_source ? run_decode(seg, slot, worker, &items, err) : run_parse(seg, slot, &items, err));
    for (size_t s = seg->has_source ? 1 : 0; s < seg->n; s++) {
        double now = fmp_now();
        slot->tallies[s ? s - 1 : 0].busy_seconds += now - before;
        before = now;
        fmp_items next = {.cap = items.n};
        next.v = fmp_arena_take(slot->arena, items.n * sizeof *next.v);
        FMP_TRY(fmp_arena_ok(slot->arena, err));
        slot->bad_stage = s;
        FMP_TRY(run_stage(seg, slot, s, worker, &items, &next, err));
        items = next;
    }
    fmp_status st = seg->has_sink ? FMP_OK : print_items(slot, &items, err);
    slot->tallies[seg->n - 1].busy_seconds += fmp_now() - before;
    return st;
}

void fmp_segment_process(fmp_segment *seg, fmp_slot *slot, uint32_t worker)
{
    fmp_arena *scope = fmp_json_scope(slot->arena);
    fmp_err_clear(&slot->err);
    slot->status = run_all(seg, slot, worker, &slot->err);
    fmp_json_scope(scope);
}
