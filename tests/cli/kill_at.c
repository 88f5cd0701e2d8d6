/*
 * kill_at.c: LD_PRELOAD=kill_at.so FMP_KILL_AT=POINT:N fmpipe run …  ends with SIGKILL when POINT is reached the N-th time.
 *
 *   micro    before a micro-batch            write    before a file
 *   end      before an optimizer's update    sync     before a folder is made durable
 *   ended    after it                        rename   before a rename
 *   save     before a checkpoint's tensors   renamed  after it
 *
 * For train_matrix.sh; what the points are: ../unit/kill_points.h.
 */
#include "../unit/kill_points.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

__attribute__((constructor)) static void read_plan(void)
{
    static const char *const names[N_POINTS] = {"",      "micro", "end",    "ended",  "save",
                                                "write", "sync",  "rename", "renamed"};
    const char *text = getenv("FMP_KILL_AT"), *colon = text ? strchr(text, ':') : NULL;
    for (int i = 1; colon && i < N_POINTS; i++) {
        if (strlen(names[i]) == (size_t)(colon - text) &&
            strncmp(names[i], text, (size_t)(colon - text)) == 0) {
            plan = (kill_plan){(point)i, (int)strtol(colon + 1, NULL, 10)};
        }
    }
    if (text && plan.n < 1) {
        (void)fprintf(stderr, "kill_at: expected FMP_KILL_AT=POINT:N, found '%s'\n", text);
        _exit(2);
    }
}
