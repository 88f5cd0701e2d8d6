/*
 * store_private.h: what store.c, store_object.c and store_gc.c share.
 */
#ifndef FMP_ENGINE_STORE_PRIVATE_H
#define FMP_ENGINE_STORE_PRIVATE_H

#include "store.h"

struct fmp_store {
    char *dir;
    int lock;
};

/* printf into a fresh heap string, or NULL with FMP_E_NOMEM in `err`. */
FMP_PRINTF(2, 3) char *fmp_store_path_(fmp_err *err, const char *fmt, ...);
/* 64 lowercase hex characters, nothing else: names from action records become paths. */
bool fmp_store_is_digest_(const char *text);
/* One component of a path: not empty, no '/', not "." or "..". */
bool fmp_store_is_name_(const char *text);
FMP_MUST_USE fmp_status fmp_store_sync_dir_(const char *path, fmp_err *err);
/* Sorted entries of a folder, without "." and "..": array of heap strings. *n = 0 where the folder is
   missing. */
FMP_MUST_USE fmp_status fmp_store_entries_(const char *path, char ***names, size_t *n, fmp_err *err);
void fmp_store_entries_free_(char **names, size_t n);

#endif
