/*
 * commands.c: the table of commands and of global options. Help, usage and completion are made from it.
 */
#include "cli.h"

const fmp_cli_option fmp_global_options[] = {
    {"json", 0, NULL, "lines of JSON on stdout instead of text"},
    {"store", 0, "DIR", "where results are kept between runs (default: .fmpipe)"},
    {"runs", 0, "DIR", "where run folders go (default: runs)"},
    {"threads", 0, "N", "threads to use (default: all cores; no result depends on it)"},
    {"force", 0, "STAGE", "run this stage even if its result is known; may be repeated"},
    {"set", 0, "K=V", "set a variable, seed, base or STAGE.OPTION; may be repeated"},
    {"verify-store", 0, NULL, "check the digest of every stored result that is used"},
    {"verbose", 'v', NULL, "show log lines"},
    {"quiet", 'q', NULL, "show errors and results only"},
    {"no-color", 0, NULL, "no colours (as does the environment variable NO_COLOR)"},
    {"help", 'h', NULL, "this help"},
    {NULL, 0, NULL, NULL},
};

static const fmp_cli_option schema_options[] = {
    {"markdown", 0, NULL, "the reference of all stages as Markdown instead"},
    {NULL, 0, NULL, NULL},
};

static const fmp_cli_option inspect_options[] = {
    {"run", 0, "DIR", "tokens: the run folder to look in (default: the latest)"},
    {"model", 0, "DIR", "tokens: read the row itself, with this folder's tokenizer and template"},
    {"template", 0, "NAME", "tokens: with --model, a built-in template or a .jinja file in place of its own"},
    {"supervise", 0, "WHAT", "tokens: with --model: assistant, last or all"},
    {"table", 0, NULL, "tokens: a line for each token, also on a terminal"},
    {NULL, 0, NULL, NULL},
};

static const fmp_cli_option tokenizer_options[] = {
    {"tokenizer", 0, "PATH", "the tokenizer: a file, or the folder of a model"},
    {"lines", 0, NULL, "encode, decode: every line is a text of its own"},
    {"special", 0, NULL, "encode: special tokens in the text become their ids"},
    {"add-special", 0, NULL, "encode: add what the tokenizer adds around a text (bos, eos)"},
    {"skip-special", 0, NULL, "decode: leave special tokens out"},
    {"template", 0, "NAME", "check: a built-in template or a .jinja file in place of the model's"},
    {"out", 0, "DIR", "train: where tokenizer.json goes"},
    {"vocab-size", 0, "N", "train: tokens in all (default: 4096)"},
    {"special-token", 0, "TEXT", "train: a special token, ids 0 and up in this order; may be repeated"},
    {"bos", 0, "TEXT", "train: the special token that begins a sequence"},
    {"eos", 0, "TEXT", "train: the one that ends a turn"},
    {"pad", 0, "TEXT", "train: the one that pads"},
    {"pattern", 0, "P", "train: how texts are cut into words: fm (default), gpt2, or a regular expression"},
    {"min-count", 0, "N", "train: fewest occurrences of a pair that is merged (default: 2)"},
    {"field", 0, "NAME", "train: member of a .jsonl row that holds its text (default: text)"},
    {NULL, 0, NULL, NULL},
};

static const fmp_cli_option render_options[] = {
    {"template", 0, "FILE", "a .jinja file, the folder of a model, a .gguf file, or a built-in template"},
    {"template-name", 0, "NAME", "which of a model's templates; left out: tool_use with tools, else default"},
    {"context", 0, "FILE", "a JSON object of the template's variables: messages, tools, ..."},
    {"generation-prompt", 0, NULL, "end with what comes before an assistant's answer"},
    {"provenance", 0, NULL, "a line for each piece of the output: its bytes, where it came from, its text"},
    {"date", 0, "DAY", "what strftime_now() sees, such as 2024-07-26"},
    {"facts", 0, NULL, "what the template accepts, found out by rendering small conversations"},
    {NULL, 0, NULL, NULL},
};

static const fmp_cli_option generate_options[] = {
    {"model", 0, "DIR", "the model: a Hugging Face folder, or a llama2.c file"},
    {"adapter", 0, "DIR", "a LoRA adapter for it: a PEFT folder"},
    {"prompt", 0, "TEXT", "answer this"},
    {"chat", 0, NULL, "talk: a line of stdin is what the user says"},
    {"system", 0, "TEXT", "system message before a prompt or a talk"},
    {"template", 0, "NAME", "a built-in chat template or a .jinja file in place of the model's"},
    {"raw", 0, NULL, "no chat template: continue the text itself"},
    {"tokenizer", 0, "PATH", "with --raw: in place of the model's, as for a llama2.c file"},
    {"max-new-tokens", 0, "N", "longest answer (default: 256)"},
    {"stop", 0, "TEXT", "end the answer before this text; may be repeated"},
    {"temperature", 0, "T", "0: always the most likely token (default); else draw, flatter with higher T"},
    {"top-k", 0, "N", "with --temperature: draw from the N most likely tokens"},
    {"top-p", 0, "P", "draw from the fewest tokens that together have this probability; 0: the first"},
    {"min-p", 0, "P", "draw from tokens at least this share as likely as the most likely one"},
    {"seed", 0, "N", "of the draws (default: 0); a row's draws depend on its line too, on nothing else"},
    {"batch", 0, "N", "texts generated together (default: 16); no answer depends on it"},
    {"precision", 0, "WORD", "operands of matrix products: f32 (default) or bf16"},
    {"cache", 0, "WORD", "how past keys and values are kept: f32 (default), bf16 or q8"},
    {NULL, 0, NULL, NULL},
};

static const fmp_cli_option model_options[] = {
    {"lora", 0, "R", "inspect: count a LoRA adapter of this rank on all linear layers too"},
    {"digest", 0, NULL, "inspect: digest of shape and weights, whatever the files' layout"},
    {"model", 0, "DIR", "logits: a Hugging Face folder, or a llama2.c file"},
    {"adapter", 0, "DIR", "logits: a PEFT folder beside it; convert: one merged into the weights"},
    {"tokens", 0, "FILE", "logits: ids, a text a line; or a JSON array, or a NumPy file"},
    {"out", 0, "FILE.npy", "logits: where (T,V) f32 goes"},
    {"precision", 0, "WORD", "logits: operands of matrix products: f32 (default) or bf16"},
    {"tokenizer", 0, "FILE", "convert: llama2.c's tokenizer file, to become tokenizer.json"},
    {"dtype", 0, "WORD", "convert, new: how weights are written: f32 (default) or bf16"},
    {"config", 0, "FILE", "new: a config.json, or a folder with one; the sizes below replace its own"},
    {"family", 0, "NAME", "new: llama (default), qwen3, gemma3_text, ...: model_type of config.json"},
    {"layers", 0, "N", "new: decoder layers"},
    {"channels", 0, "N", "new: width of the residual stream"},
    {"heads", 0, "N", "new: query heads"},
    {"kv-heads", 0, "N", "new: key and value heads (default: as many)"},
    {"head-size", 0, "N", "new: values of a head"},
    {"ff", 0, "N", "new: width of the feed-forward unit"},
    {"vocab", 0, "N", "new: vocabulary"},
    {"positions", 0, "N", "new: longest text (default: 2048)"},
    {"kv-shared", 0, "N",
     "new: last layers that use the keys and values of the layer before them (family fmpipe)"},
    {"tied", 0, NULL, "new: the head is the embedding"},
    {"seed", 0, "N", "new: of the weights (default: 0)"},
    {NULL, 0, NULL, NULL},
};

static const fmp_cli_option cache_options[] = {
    {"keep", 0, "N", "gc: keep this many of the newest results beside those of the last runs (default: 100)"},
    {"dry-run", 0, NULL, "gc: say what would go, remove nothing"},
    {NULL, 0, NULL, NULL},
};

#define PIPELINE_NOTE                                                                                        \
    "PIPELINE is a file, or a folder with a pipeline.yaml in it; without one, ./pipeline.yaml.\n"

/* One row a command. */
const fmp_command fmp_commands[] = {
    {.name = "run",
     .operands = "[PIPELINE]",
     .summary = "run a pipeline; what is already known is not done again",
     .details = PIPELINE_NOTE "Interrupt it once to stop after the step in hand; run it again to go on.\n",
     .max_operands = 1,
     .run = fmp_cmd_run},
    {.name = "validate",
     .operands = "[PIPELINE]",
     .summary = "check a pipeline file without reading its data",
     .details = PIPELINE_NOTE "No code of a plugin runs for it, so that a file from anywhere can be checked. "
                              "What only a plugin can judge\n"
                              "about its options, `fmpipe run` says before its first stage starts.\n",
     .max_operands = 1,
     .run = fmp_cmd_validate},
    {.name = "plan",
     .operands = "[PIPELINE]",
     .summary = "say what a run would do, and why",
     .details = PIPELINE_NOTE "Time and memory are those of the stage's last run, the time scaled by its "
                              "number of input records where\n"
                              "that is known now; — stands for a stage that has not run before.\n",
     .max_operands = 1,
     .run = fmp_cmd_plan},
    {.name = "explain",
     .operands = "[PIPELINE] STAGE",
     .summary = "what differs from the last time this stage ran",
     .details = PIPELINE_NOTE,
     .min_operands = 1,
     .max_operands = 2,
     .run = fmp_cmd_explain},
    {.name = "inspect",
     .operands = "run [DIR] | tokens RECORD|FILE[:LINE]|DIR",
     .summary = "look at a finished run, or at a conversation token by token",
     .details = "run: DIR is a run folder; without one, the latest.\n"
                "tokens: a record's id, a line of a data file, or a token artifact: which tokens it became, "
                "which of\n"
                "them are learned, and the field that each came from.\n",
     .options = inspect_options,
     .min_operands = 1,
     .max_operands = 2,
     .run = fmp_cmd_inspect},
    {.name = "tokenizer",
     .operands = "encode|decode|info|train|check [FILE...]",
     .summary = "text to token ids and back; learn a vocabulary",
     .details =
         "encode and decode read stdin and write stdout.\n"
         "train FILE...: text files, or .jsonl files with a text field or messages.\n"
         "check DIR: the golden conversations of an adapter against this tokenizer and its chat template.\n",
     .options = tokenizer_options,
     .min_operands = 1,
     .max_operands = FMP_CLI_MAX_GIVEN,
     .late = "fmp_late_tokenizer"},
    {.name = "render",
     .operands = "--template FILE --context FILE",
     .summary = "render a chat template; say where each byte came from",
     .details = "The text goes to stdout as it is, without a newline of its own.\n",
     .options = render_options,
     .late = "fmp_late_render"},
    {.name = "generate",
     .operands = "[FILE | -]",
     .summary = "let a model answer, with or without an adapter",
     .details = "With --model DIR and one of --prompt TEXT, --chat and FILE. The rows of FILE, or of stdin "
                "(-), have \"messages\" "
                "or a\n\"prompt\"; each answer is a line of JSON. A last message of the assistant is left "
                "out: it is what the "
                "model is to say.\n",
     .options = generate_options,
     .max_operands = 1,
     .late = "fmp_late_generate"},
    {.name = "model",
     .operands = "inspect PATH | convert PATH DIR | new DIR | logits",
     .summary = "model files: look, convert, make a random one, compute logits",
     .details = "PATH is a Hugging Face folder, its config.json (inspect), or a llama2.c file.\n",
     .options = model_options,
     .min_operands = 1,
     .max_operands = 3,
     .late = "fmp_late_model"},
    {.name = "plugin",
     .operands = "list|inspect|new|check ...",
     .summary = "plugins: list, look at, begin, test",
     .run_raw = fmp_cmd_plugin},
    {.name = "runs",
     .operands = "[list]",
     .summary = "list the runs",
     .max_operands = 1,
     .run = fmp_cmd_runs},
    {.name = "cache",
     .operands = "list|gc",
     .summary = "results kept between runs: list them, remove old ones",
     .options = cache_options,
     .min_operands = 1,
     .max_operands = 1,
     .run = fmp_cmd_cache},
    {.name = "schema",
     .operands = "",
     .summary = "print the JSON Schema of pipeline files, for editors",
     .options = schema_options,
     .run = fmp_cmd_schema},
    {.name = "docs",
     .operands = "",
     .summary = "print the reference of all stages as Markdown",
     .run = fmp_cmd_docs},
    {.name = "completion",
     .operands = "bash",
     .summary = "print a completion script for the shell",
     .details = "Use it with:  source <(fmpipe completion bash)\n",
     .min_operands = 1,
     .max_operands = 1,
     .run = fmp_cmd_completion},
    {.name = "doctor",
     .operands = "",
     .summary = "check libraries, processor, plugins and folders",
     .run = fmp_cmd_doctor},
    {.name = "version", .operands = "", .summary = "print the version", .run = fmp_cmd_version},
    {.name = "help",
     .operands = "[COMMAND | stages | STAGE]",
     .summary = "help on a command, or on a stage and its options",
     .max_operands = 1,
     .run = fmp_cmd_help},
    {.name = NULL},
};
