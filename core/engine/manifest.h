/*
 * manifest.h: what a plugin says of itself, as data: read from its ELF note without running any of its code.
 *
 * The JSON form (schemas/plugin-manifest.schema.json) is the one source; the structs here are its parsed
 * form, with the public ABI's own types for options and ports, so that the option checker needs one
 * representation only.
 */
#ifndef FMP_ENGINE_MANIFEST_H
#define FMP_ENGINE_MANIFEST_H

#include <fmpipe/json.h>
#include <fmpipe/plugin.h>

typedef struct fmp_stage_info {
    const char *name;
    uint32_t version;
    fmp_stage_kind kind;
    uint32_t flags;
    const char *summary;
    const fmp_port *inputs, *outputs; /* never NULL; ended by a NULL name */
    const fmp_option *options;        /* never NULL; ended by a NULL name */
    const struct fmp_plugin_info *plugin;
} fmp_stage_info;

typedef struct fmp_plugin_info {
    char *path;      /* absolute                                               */
    char digest[65]; /* SHA-256 of the file's bytes                            */
    char *name, *version, *license;
    uint32_t abi_major, abi_minor_needed;
    size_t n_stages;
    fmp_stage_info *stages;
    cJSON *json;      /* the manifest as read                                   */
    fmp_arena *arena; /* holds everything above                                 */
    void *loaded;     /* host.c's: the dlopen'ed descriptor, once needed        */
} fmp_plugin_info;

/* Descriptor of a loaded plugin -> manifest JSON (canonical, sorted, compact).  returned; heap */
cJSON *fmp_manifest_from_descriptor(const fmp_plugin *plugin);
/* Manifest JSON -> info (arena-owned). Checks everything: hostile input. */
FMP_MUST_USE fmp_status fmp_manifest_parse(const char *json, size_t len, fmp_plugin_info *out, fmp_err *err);

#endif
