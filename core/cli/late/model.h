/*
 * model.h: what the files of `fmpipe model` share. Each command returns an exit code.
 */
#ifndef FMP_CLI_MODEL_H
#define FMP_CLI_MODEL_H

#include "cli.h"

#include <fmpipe/model.h>

int fmp_late_model(fmp_cli *cli);
/* model_inspect.c */
int fmp_model_cmd_inspect(const fmp_cli *cli);
/* model_logits.c */
int fmp_model_cmd_logits(const fmp_cli *cli);

/* --threads and --precision; false after saying what is wrong. */
bool fmp_model_cmd_options(const fmp_cli *cli, fmp_model_options *out);

/*
 * model_tokenizer.c: tokenizer.json, tokenizer_config.json in `dir` from llama2.c's tokenizer file; dir NULL: the file is
 * only checked. n_vocab: the tokens the file must have.
 * Errors   FMP_E_DATA with the token that is wrong, FMP_E_IO.
 */
FMP_MUST_USE fmp_status fmp_llama2c_tokenizer(const char *path, uint32_t n_vocab, const char *dir,
                                              fmp_err *err);

#endif
