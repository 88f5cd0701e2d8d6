/*
 * tokenizer_gguf_pre.c: how the byte-level vocabularies of GGUF files split text: the file holds only a name.
 *
 * The patterns are those of the models' own tokenizer.json; a row is one or more steps, each cutting what the steps before
 * it left. A name that is not here is refused: another pattern gives other tokens for most texts.
 * Source   the tokenizer.json files of the models; llama.cpp (src/llama-vocab.cpp) for which name means which.
 */
#include "tokenizer_impl.h"
#include "tokenizer_patterns.h"

#define GPT2  FMP_TOK_PATTERN_GPT2
#define BLOOM " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+"
/* Han (one range of it), kana excluded; and what the file's authors wrote after it. */
#define DEEPSEEK_CJK "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+"
#define DEEPSEEK3                                                                                            \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "    \
    "?[\\p{P}\\p{S}]+"                                                                                       \
    "[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define DEEPSEEK_LETTERS                                                                                     \
    "\\s?[A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}\\x{" \
    "295}-\\x{2af}"                                                                                          \
    "\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-"   \
    "\\x{3a1}"                                                                                               \
    "\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{"  \
    "13f5}"                                                                                                  \
    "\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{"    \
    "1d79}-\\x{1d9a}"                                                                                        \
    "\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{"    \
    "1f59}\\x{1f5b}"                                                                                         \
    "\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{"     \
    "1fc6}-\\x{1fcc}"                                                                                        \
    "\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{"    \
    "2102}\\x{2107}"                                                                                         \
    "\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{212d}\\x{212f}" \
    "-\\x{2134}"                                                                                             \
    "\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}" \
    "-\\x{2ce4}"                                                                                             \
    "\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}\\x{"     \
    "a771}-\\x{a787}"                                                                                        \
    "\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{"    \
    "ff41}-\\x{ff5a}"                                                                                        \
    "\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{"    \
    "10cf2}"                                                                                                 \
    "\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}]+"
#define DEEPSEEK_SIGNS                                                                                       \
    "\\s?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+"

static const struct pre {
    const char *names; /* between spaces */
    unsigned flags;
    const char *patterns[7];
} table[] = {
    {" gpt-2 gpt2 mpt olmo jais trillion granite-docling phi-2 jina-es jina-de jina-v2-es jina-v2-de "
     "gigachat a.x-4.0 mellum ",
     0,
     {GPT2}},
    {" jina-v1-en jina-v2-code roberta-bpe ", TK_PRE_SEP, {GPT2}},
    {" llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 ",
     TK_PRE_IGNORE_MERGES | TK_PRE_BOS,
     {LLAMA3}},
    {" dbrx smaug-bpe chatglm-bpe glm4 ", 0, {LLAMA3}},
    {" qwen2 deepseek-r1-qwen kormo stablelm2 megrez hunyuan grok-2 solar-open ", 0, {QWEN2}},
    {" qwen35 ", 0, {QWEN35}},
    {" kimi-k2 ", 0, {KIMI}},
    {" starcoder refact command-r smollm codeshell exaone minerva-7b ", 0, {"\\p{N}", GPT2}},
    {" falcon ", 0, {"[\\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"}},
    {" default ", 0, {"[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
    {" deepseek-llm ", 0, {"[\\r\\n]", DEEPSEEK_LETTERS, DEEPSEEK_SIGNS, "\\s+$", DEEPSEEK_CJK, "\\p{N}"}},
    {" deepseek-coder ", 0, {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", DEEPSEEK_CJK, "\\p{N}"}},
    {" deepseek-v3 hunyuan-dense joyai-llm ",
     0,
     {"\\p{N}{1,3}", "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+", DEEPSEEK3}},
    {" poro-chat bloom gpt3-finnish ", 0, {BLOOM}},
    {" viking ", 0, {BLOOM, "\\p{N}"}},
    {" tekken ", TK_PRE_IGNORE_MERGES | TK_PRE_BOS, {TEKKEN}},
    {" gpt-4o llama4 kanana2 minimax-m2 ", 0, {O200K}},
    {" chameleon ",
     TK_PRE_BOS,
     {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )", "\\p{N}",
      "[\\p{P}!-/:-@\\[-`{-~]", GPT2}},
    {" superbpe ", 0, {"\\p{N}+", "(?=(\\d{3})+(?!\\d))"}},
    {" bailingmoe bailingmoe2 llada-moe ",
     0,
     {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
      "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}},
    {" seed-coder ",
     0,
     {CONTRACTION
      "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
};

static bool has_name(const char *names, const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || strchr(name, ' ')) { return false; }
    for (const char *at = strstr(names, name); at; at = strstr(at + 1, name)) {
        if (at > names && at[-1] == ' ' && at[n] == ' ') { return true; }
    }
    return false;
}

fmp_status tk_gguf_pre(fmp_tokenizer *tok, const char *name, unsigned *flags, fmp_err *err)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (!has_name(table[i].names, name)) { continue; }
        *flags = table[i].flags;
        for (size_t k = 0; k < 7 && table[i].patterns[k]; k++) {
            FMP_TRY(tk_add_pattern(tok, table[i].patterns[k], false, TK_ISOLATED, false, "tokenizer.ggml.pre",
                                   err));
        }
        return FMP_OK;
    }
    fmp_status status = fmp_fail(err, FMP_E_UNSUPPORTED,
                                 "tokenizer.ggml.pre: pre-tokenizer \"%.60s\" is not supported", name);
    (void)fmp_err_hint(err, "use the model's tokenizer.json, which spells its pre-tokenizer out");
    return status;
}
