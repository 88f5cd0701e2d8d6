/*
 * files_private.h: what files.c and trees.c share.
 */
#ifndef FMP_BASE_FILES_PRIVATE_H
#define FMP_BASE_FILES_PRIVATE_H

#include <fmpipe/fs.h>

/*
 * "cannot OPERATION PATH: reason" from errno; FMP_E_NOMEM for ENOMEM, else FMP_E_IO. `err->file`
 * becomes the path.
 */
fmp_status fmp_fs_fail_(fmp_err *err, const char *operation, const char *path);
/* All of data, whatever the system takes at a time. False with errno set. */
bool fmp_fs_write_all_(int fd, const void *data, size_t len);
/* Like read, but never interrupted. */
ssize_t fmp_fs_read_(int fd, void *data, size_t len);
/* fsync; a file system that cannot sync such a thing (EINVAL, ENOTSUP) is not an error. */
bool fmp_fs_sync_(int fd);
/* The digest of the rest of an open file, and its length. False with errno set. */
bool fmp_fs_digest_(int fd, unsigned char digest[32], uint64_t *len);

#endif
