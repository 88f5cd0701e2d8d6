/* cli_private.h: what main.c and args.c share. */
#ifndef FMP_CLI_PRIVATE_H
#define FMP_CLI_PRIVATE_H

#include "cli.h"

/* The process's one fmp_cli with its defaults. */
fmp_cli *fmp_cli_init_(void);
/* 0, or an exit code after saying what is wrong. *raw_at: index of a command that reads its own arguments,
 * else argc. */
int fmp_cli_parse_(fmp_cli *cli, int argc, char **argv, int *raw_at);

#endif
