/*
 * store.h: the content-addressed folder (--store, default .fmpipe) that holds results between runs.
 *
 *   objects/<digest>/object.json   {"type":…,"files":[{"path","size","sha256"}…]}; the digest is its SHA-256
 *   objects/<digest>/data/…        the artifact itself: what stages read and runs link to; read-only files
 *   actions/<key>.json             what a stage made with that key: preimage, outputs, counts, facts
 *   actions/<key>.rejects.jsonl    its refused records, if any
 *   last/<pipeline>/<stage>.json   key and preimage of the last finished action: what `explain` compares with
 *   work/<key>/                    private folder of a resumable task; survives a crash
 *   tmp/<random>/                  unpublished; flocked by its maker, swept by a later open once that is gone
 *   lock                           runs hold it shared, gc holds it exclusively
 *
 * A result appears by one rename of a complete, synced folder. Renaming onto an existing object means that it
 * is there already: equal name, equal bytes. When: each function on any thread, one thread at a time per
 * store.
 */
#ifndef FMP_ENGINE_STORE_H
#define FMP_ENGINE_STORE_H

#include <fmpipe/fs.h>
#include <fmpipe/json.h>

typedef struct fmp_store fmp_store;

/* Makes the folder if needed, takes the shared lock, sweeps abandoned tmp folders.     returned;
   fmp_store_close */
FMP_MUST_USE fmp_status fmp_store_open(const char *dir, fmp_store **out, fmp_err *err);
void fmp_store_close(fmp_store *store);
const char *fmp_store_dir(const fmp_store *store); /* absolute; borrowed */

/* ---- unpublished results ---- */
typedef struct fmp_store_tmp {
    char *path; /* the folder; heap                */
    char *data; /* path/data, exists, empty; heap  */
    int lock;   /* descriptor that holds the flock */
} fmp_store_tmp;
FMP_MUST_USE fmp_status fmp_store_tmp_new(fmp_store *store, fmp_store_tmp *out, fmp_err *err);
/* Removes what was not published. Safe on {0}, and after publishing. */
void fmp_store_tmp_drop(fmp_store_tmp *tmp);

/* A file whose digest the writer computed on the way, so that publishing need not read it again. */
typedef struct fmp_store_file {
    const char *path; /* relative to data/ */
    uint64_t size_bytes;
    char digest[65];
} fmp_store_file;
/*
 * fmp_store_publish: tmp->data becomes objects/<digest>/data.
 *   known (n_known)   files already hashed; borrowed
 * Errors   FMP_E_PLUGIN if the tree holds anything but regular files and folders; FMP_E_IO.
 * Cost     one read of every file that is not in `known`, one fsync of each.
 */
FMP_MUST_USE fmp_status fmp_store_publish(fmp_store *store, fmp_store_tmp *tmp, const char *type,
                                          const fmp_store_file *known, size_t n_known, char digest[65],
                                          fmp_err *err);

/* ---- published results ---- */
typedef enum fmp_store_check {
    FMP_CHECK_SIZES = 0,  /* the object's own listing, and every file's size             */
    FMP_CHECK_SMALL = 1,  /* and the digests of files below 64 MiB                       */
    FMP_CHECK_DIGESTS = 2 /* and all digests (--verify-store)                            */
} fmp_store_check;
/*
 * The data folder of an object that passes `check`.   *data returned; free(). data may be NULL.
 * Errors   FMP_E_MISMATCH: not there, or damaged; the message says which.
 */
FMP_MUST_USE fmp_status fmp_store_object(const fmp_store *store, const char *digest, fmp_store_check check,
                                         char **data, fmp_err *err);
/* Take a damaged object out of the way; not there is no error. */
FMP_MUST_USE fmp_status fmp_store_drop(fmp_store *store, const char *digest, fmp_err *err);

/* The action record of `key`, or *out = NULL if there is none or it is damaged.        returned; heap */
FMP_MUST_USE fmp_status fmp_store_action(const fmp_store *store, const char *key, cJSON **out, fmp_err *err);
/* `rejects` (borrowed): file to move in as the action's refused records, or NULL.   */
FMP_MUST_USE fmp_status fmp_store_put_action(fmp_store *store, const char *key, const cJSON *record,
                                             const char *rejects, fmp_err *err);
char *fmp_store_rejects_path(const fmp_store *store, const char *key); /* returned; free() */

/* {"key":…,"preimage":…} of the last finished action, or NULL.                         returned; heap */
FMP_MUST_USE fmp_status fmp_store_last(const fmp_store *store, const char *pipeline, const char *stage,
                                       cJSON **out, fmp_err *err);
FMP_MUST_USE fmp_status fmp_store_put_last(fmp_store *store, const char *pipeline, const char *stage,
                                           const char *key, const cJSON *preimage, fmp_err *err);

/*
 * The work folder of `key`, locked: two runs never work in one. Waits for another run that holds it, until
 * *stop.
 *   *path returned; free()   *lock: close() it to let go   *waited: another run was in it
 */
FMP_MUST_USE fmp_status fmp_store_work(fmp_store *store, const char *key, const volatile int *stop,
                                       char **path, int *lock, bool *waited, fmp_err *err);

/* Has a stopped or killed task left something there to go on from? */
bool fmp_store_has_work(const fmp_store *store, const char *key);

/* ---- housekeeping (`fmpipe cache`) ---- */
/* [{"key","stage","out","bytes","outputs":[digest…],"last":bool}…], newest first.      returned; heap */
FMP_MUST_USE fmp_status fmp_store_list(const char *dir, cJSON **out, fmp_err *err);

typedef struct fmp_gc_options {
    size_t keep; /* newest action records that stay, beside the ones in last/; 0: only those in last/ */
    uint32_t
        work_days; /* unfinished work folders older than this go; 0: 30                                 */
    bool dry_run;
} fmp_gc_options;
typedef struct fmp_gc_result {
    size_t n_actions, n_objects, n_work; /* removed */
    uint64_t bytes;
} fmp_gc_result;
/* Removes what no kept action names. Errors  FMP_E_FAILED while a run uses the store. */
FMP_MUST_USE fmp_status fmp_store_gc(const char *dir, const fmp_gc_options *options, fmp_gc_result *out,
                                     fmp_err *err);

#endif
