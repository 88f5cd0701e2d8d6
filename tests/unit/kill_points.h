/*
 * kill_points.h: a process that kills itself at a named point of a training run.
 *
 * The points are calls that libfmtrain makes into other libraries: definitions of these functions that come before the
 * libraries' own, count, and call the real ones. test_train.c has them in the program; kill_at.c is a library for
 * LD_PRELOAD, so that the command line can be killed at the same points. Files count from the first micro-batch
 * on: what is written before belongs to other stages.
 */
#ifndef KILL_POINTS_H
#define KILL_POINTS_H

#include <dlfcn.h>
#include <fmpipe/fs.h>
#include <fmpipe/model.h>
#include <signal.h>

typedef enum point { NOWHERE, MICRO, END, ENDED, SAVE, WRITE, SYNC, RENAME, RENAMED, N_POINTS } point;

typedef struct kill_plan {
    point at;
    int n; /* the n-th time, from 1 */
} kill_plan;

static kill_plan plan;
static int reached[N_POINTS];

static void pass(point at)
{
    if (at >= WRITE && reached[MICRO] == 0) { return; }
    if (++reached[at] == plan.n && at == plan.at) { raise(SIGKILL); }
}

#define HOOK(type, name, params, args, before, after)                                                        \
    __attribute__((visibility("default"))) type name params                                                  \
    {                                                                                                        \
        static type(*real) params;                                                                           \
        if (!real) { *(void **)&real = dlsym(RTLD_NEXT, #name); }                                            \
        pass(before);                                                                                        \
        type result = real args;                                                                             \
        pass(after);                                                                                         \
        return result;                                                                                       \
    }

HOOK(fmp_status, fmp_trainer_micro,
     (fmp_trainer * trainer, const fmp_batch *batch, fmp_loss *loss, fmp_loss *seg_loss, fmp_err *err),
     (trainer, batch, loss, seg_loss, err), MICRO, NOWHERE)
HOOK(fmp_status, fmp_trainer_end, (fmp_trainer * trainer, float learning_rate, fmp_step *step, fmp_err *err),
     (trainer, learning_rate, step, err), END, ENDED)
HOOK(fmp_status, fmp_trainer_save, (fmp_trainer * trainer, const char *dir, fmp_err *err),
     (trainer, dir, err), SAVE, NOWHERE)
HOOK(fmp_status, fmp_write_file, (const char *path, const void *data, size_t len, fmp_err *err),
     (path, data, len, err), WRITE, NOWHERE)
HOOK(fmp_status, fmp_sync_tree, (const char *path, fmp_err *err), (path, err), SYNC, NOWHERE)
HOOK(int, rename, (const char *from, const char *to), (from, to), RENAME, RENAMED)
HOOK(int, renameat2, (int from_dir, const char *from, int to_dir, const char *to, unsigned flags),
     (from_dir, from, to_dir, to, flags), RENAME, RENAMED)

#endif
