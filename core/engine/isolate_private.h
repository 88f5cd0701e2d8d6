/*
 * isolate_private.h: the frames between an isolated stage's proxy (isolate.c) and its workers
 * (isolate_worker.c).
 *
 * A frame is a little-endian u32 length and that many bytes of JSON. The proxy asks, the worker answers
 * each request once:
 *   {"op":"open","path","digest","stage","seed":"7","values":{…}}   -> {"counts":{…},"log":[…]}
 *   {"op":"record","id","file","line","offset","doc":{…}}
 *                                -> {"docs":[{…}|null…],"rejects":[…],"counts":{…},"log":[…]}
 *   {"op":"finish"}              -> {"facts":{…},"summary":"…","counts":{…},"log":[…]}
 *   any of them                  -> {"error":{"code","message","option","hint","notes"}}
 * A null among "docs" is the input passed on. The end of the stream ends the worker.
 */
#ifndef FMP_ENGINE_ISOLATE_PRIVATE_H
#define FMP_ENGINE_ISOLATE_PRIVATE_H

#include "host.h"

enum { FMP_WORKER_SECONDS = 60 };
extern const fmp_json_limits fmp_frame_limits_;

/* Send len bytes as a frame. FMP_E_IO when the other side is gone. */
FMP_MUST_USE fmp_status fmp_frame_send_(int fd, const char *data, size_t len, fmp_err *err);
/*
 * Receive one frame into `in` (its old content is dropped). *n_read 0 and FMP_OK: the other side ended the
 * stream between frames. Errors   FMP_E_IO broken off; FMP_E_CANCELLED the socket's time limit is up;
 * FMP_E_RANGE longer than a frame may be.
 */
FMP_MUST_USE fmp_status fmp_frame_receive_(int fd, fmp_buf *in, size_t *n_read, fmp_err *err);
/* Seconds a worker may take for one record: FMPIPE_WORKER_TIMEOUT, else FMP_WORKER_SECONDS. */
int fmp_worker_seconds_(void);

#endif
