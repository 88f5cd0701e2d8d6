/* plugin_new.h: `fmpipe plugin new`: a plugin folder from the template that is built into the program. */
#ifndef FMP_CLI_PLUGIN_NEW_H
#define FMP_CLI_PLUGIN_NEW_H

#include "cli.h"

/*
 * Write the folder for `name` ("shout": stage my.shout; "acme.shout": stage acme.shout, folder acme_shout)
 * below the current one. folder: 128 bytes, set to its name. Errors  FMP_E_USAGE a bad name; FMP_E_IO it
 * exists already, or cannot be written.
 */
FMP_MUST_USE fmp_status fmp_plugin_new(const char *name, char folder[128], fmp_err *err);

#endif
