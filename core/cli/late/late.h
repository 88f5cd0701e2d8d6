/*
 * late.h: entry points of the late module, which main.c finds by name, and what its files share.
 */
#ifndef FMP_CLI_LATE_H
#define FMP_CLI_LATE_H

#include "cli.h"

#include <fmpipe/token_view.h>

int fmp_late_tokenizer(fmp_cli *cli);
int fmp_late_inspect_tokens(fmp_cli *cli);

/* tokenizer_learn.c: `tokenizer train`; returns an exit code. */
int fmp_tokenizer_learn(const fmp_cli *cli);

#endif
