/*
 * synth.chat: conversations from nothing, for the quickstart and for tests that need data of any size.
 *
 * fetch hands out ranges of indices, decode makes the conversations of a range; each is a function of the
 * seed and its index (synth.h), so the number of threads does not matter.
 */
#include "synth.h"

#include <fmpipe/plugin.h>

#include <stdlib.h>

enum { BLOCK_ROWS = 256 };

typedef struct synth_chat {
    const fmp_host *host;
    synth_options opt;
    uint64_t count, next;
} synth_chat;

static const fmp_option options[] = {
    {.name = "corpus",
     .type = FMP_OPT_ENUM,
     .def = "adapt",
     .choices = "base|adapt|heldout",
     .help = "base: plain conversations to train a small model from scratch, without tool calls and JSON "
             "answers. adapt: tool "
             "calls and JSON answers to train an adapter. heldout: the same to evaluate it, in phrasings and "
             "with values that "
             "the other two never use."},
    {.name = "version",
     .type = FMP_OPT_ENUM,
     .def = "1.0",
     .choices = "1.0|1.1",
     .help = "Version of the base corpus: 1.1 speaks about two more things and confirms in more ways. The "
             "other corpora "
             "are the same in both."},
    {.name = "count",
     .type = FMP_OPT_INT,
     .flags = FMP_OPT_REQUIRED,
     .unit = "conversations",
     .min = 1,
     .max = 1e9,
     .help = "How many. Locales go round; 120 held-out conversations are every intent in every locale once."},
    {.name = "seed",
     .type = FMP_OPT_INT,
     .min = 0,
     .max = 9007199254740991.0,
     .help = "Left out: the seed of the run, so that a run with another seed has other data."},
    {.name = NULL}};

static const fmp_port outputs[] = {
    {.name = "records", .type = FMP_PORT_RECORDS, .help = "Canonical conversations."}, {.name = NULL}};

static fmp_status chat_create(const fmp_host *host, void **self, fmp_err *err)
{
    synth_chat *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    s->host = host;
    *self = s;
    return FMP_OK;
}

static fmp_status chat_configure(void *self, const cJSON *values, fmp_err *err)
{
    synth_chat *s = self;
    const char *corpus = fmp_value_str(values, "corpus");
    s->opt.corpus = strcmp(corpus, "base") == 0    ? SYNTH_BASE
                    : strcmp(corpus, "adapt") == 0 ? SYNTH_ADAPT
                                                   : SYNTH_HELDOUT;
    s->opt.later = strcmp(fmp_value_str(values, "version"), "1.1") == 0;
    s->count = (uint64_t)fmp_value_int(values, "count");
    if (fmp_value(values, "seed")) {
        s->opt.seed = (uint64_t)fmp_value_int(values, "seed");
        return FMP_OK;
    }
    const fmp_ext_rng *rng = s->host->get_extension(s->host, FMP_EXT_RNG);
    if (!rng) {
        fmp_fail(err, FMP_E_CONFIG, "expected a seed: this host has no random numbers of its own");
        return fmp_err_hint(err, "set the option seed");
    }
    s->opt.seed = rng->u64(s->host, 0, 0);
    return FMP_OK;
}

static fmp_status chat_fetch(void *self, fmp_block *block, bool *more, fmp_err *err)
{
    (void)err;
    synth_chat *s = self;
    uint64_t left = s->count - s->next;
    block->len = 0;
    block->file = NULL;
    block->first_row = s->next;
    block->n_rows = left < BLOCK_ROWS ? left : BLOCK_ROWS;
    s->next += block->n_rows;
    *more = s->next < s->count;
    return FMP_OK;
}

static fmp_status chat_decode(void *self, const fmp_block *block, const fmp_call *call, fmp_err *err)
{
    const synth_chat *s = self;
    for (uint64_t i = 0; i < block->n_rows; i++) {
        fmp_origin origin = {.file = "", .line = block->first_row + i + 1};
        cJSON *doc;
        FMP_TRY(synth_conversation(&s->opt, block->first_row + i, &doc, err));
        FMP_TRY(call->emit_row(call, doc, &origin, err));
    }
    return FMP_OK;
}

static void chat_destroy(void *self)
{
    free(self);
}

static const fmp_stage stage = {
    FMP_STAGE_HEADER,
    .name = "synth.chat",
    .version = 1,
    .kind = FMP_SOURCE,
    .summary = "Make short conversations in eight locales: plain, with tool calls, with JSON answers.",
    .outputs = outputs,
    .options = options,
    .create = chat_create,
    .configure = chat_configure,
    .fetch = chat_fetch,
    .decode = chat_decode,
    .destroy = chat_destroy};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "synth-chat", .version = "0.1.0",
                                  .license = "Apache-2.0", .stages = stages};
FMP_PLUGIN_ENTRY(&plugin)
