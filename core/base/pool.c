/*
 * pool.c: worker threads for loops whose iterations are independent.
 *
 * One word, `state`, says which job is announced, whether it can be joined, and how many workers are in it. A worker
 * joins by raising the number while the job is open, takes indices from one atomic counter and leaves when it finds
 * none left. The caller works too; then it closes the job and waits for the workers inside: only then may fn's
 * argument go away. A worker that wakes too late finds the job closed, and nobody has waited for it.
 *
 * Loops often follow one another within microseconds (the products of one token's layers), less than it takes to
 * wake a sleeping thread: so both sides first look again and again for a short while, and only then sleep. Not where
 * there are more threads than processors.
 */
#include <fmpipe/fs.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#define THREADS_MAX 1024
#define SPIN_ROUNDS 1500 /* about 30 microseconds */

#define JOB    ((uint64_t)1 << 32)
#define OPEN   ((uint64_t)1 << 31)
#define INSIDE (OPEN - 1)

struct fmp_pool {
    pthread_mutex_t lock;
    pthread_cond_t start;
    pthread_cond_t done;
    _Atomic uint64_t state; /* JOB * number of the job + OPEN + workers in it */
    atomic_bool stop;
    int n_asleep;       /* workers that wait for `start`, under the lock */
    bool caller_asleep; /* the caller waits for `done`, under the lock   */
    int n_workers;
    int spin_rounds;
    void (*fn)(void *arg, size_t i);
    void *arg;
    size_t n;
    atomic_size_t next;
    pthread_t workers[];
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void drain(fmp_pool *pool)
{
    size_t n = pool->n;
    for (;;) {
        size_t i = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (i >= n) { return; }
        pool->fn(pool->arg, i);
    }
}

static bool has_news(const fmp_pool *pool, uint64_t seen)
{
    return atomic_load_explicit(&pool->state, memory_order_acquire) / JOB != seen ||
           atomic_load_explicit(&pool->stop, memory_order_acquire);
}

static void wait_for_news(fmp_pool *pool, uint64_t seen)
{
    for (int i = 0; i < pool->spin_rounds; i++) {
        if (has_news(pool, seen)) { return; }
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    pool->n_asleep++;
    while (!has_news(pool, seen)) {
        pthread_cond_wait(&pool->start, &pool->lock);
    }
    pool->n_asleep--;
    pthread_mutex_unlock(&pool->lock);
}

/* Joins the announced job, *seen from now on; false: it is closed. */
static bool join(fmp_pool *pool, uint64_t *seen)
{
    uint64_t state = atomic_load_explicit(&pool->state, memory_order_relaxed);
    do {
        *seen = state / JOB;
        if (!(state & OPEN)) { return false; }
    } while (!atomic_compare_exchange_weak_explicit(&pool->state, &state, state + 1, memory_order_acquire,
                                                    memory_order_relaxed));
    return true;
}

static void leave(fmp_pool *pool)
{
    uint64_t before = atomic_fetch_sub_explicit(&pool->state, 1, memory_order_release);
    if (before & OPEN || (before & INSIDE) > 1) { return; }
    pthread_mutex_lock(&pool->lock);
    if (pool->caller_asleep) { pthread_cond_signal(&pool->done); }
    pthread_mutex_unlock(&pool->lock);
}

static void *worker_main(void *arg)
{
    fmp_pool *pool = arg;
    for (uint64_t seen = 0;;) {
        wait_for_news(pool, seen);
        if (atomic_load_explicit(&pool->stop, memory_order_acquire)) { return NULL; }
        if (join(pool, &seen)) {
            drain(pool);
            leave(pool);
        }
    }
}

static bool anyone_inside(const fmp_pool *pool)
{
    return (atomic_load_explicit(&pool->state, memory_order_acquire) & INSIDE) != 0;
}

static void close_job(fmp_pool *pool)
{
    atomic_fetch_and_explicit(&pool->state, ~OPEN, memory_order_acq_rel);
    for (int i = 0; i < pool->spin_rounds; i++) {
        if (!anyone_inside(pool)) { return; }
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    pool->caller_asleep = true;
    while (anyone_inside(pool)) {
        pthread_cond_wait(&pool->done, &pool->lock);
    }
    pool->caller_asleep = false;
    pthread_mutex_unlock(&pool->lock);
}

/* Processors this process may use. */
static int n_processors(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : THREADS_MAX;
}

/* Signals go to the thread that runs the command line, never to a worker. */
static int start_workers(fmp_pool *pool, int n)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = 0;
    while (rc == 0 && pool->n_workers < n) {
        rc = pthread_create(&pool->workers[pool->n_workers], NULL, worker_main, pool);
        if (rc == 0) { pool->n_workers++; }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

fmp_status fmp_pool_new(int n_threads, fmp_pool **out, fmp_err *err)
{
    *out = NULL;
    if (n_threads < 1 || n_threads > THREADS_MAX) {
        return fmp_fail(err, FMP_E_RANGE, "expected 1 to %d threads, found %d", THREADS_MAX, n_threads);
    }
    size_t n_workers = (size_t)n_threads - 1;
    fmp_pool *pool = calloc(1, sizeof *pool + n_workers * sizeof(pthread_t));
    if (!pool) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for a pool of %d threads", n_threads); }
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->start, NULL);
    pthread_cond_init(&pool->done, NULL);
    atomic_init(&pool->next, 0);
    atomic_init(&pool->state, 0);
    atomic_init(&pool->stop, false);
    pool->spin_rounds = n_threads <= n_processors() ? SPIN_ROUNDS : 0;
    int rc = start_workers(pool, (int)n_workers);
    if (rc != 0) {
        int started = pool->n_workers;
        fmp_pool_free(pool);
        return fmp_fail(err, FMP_E_NOMEM, "cannot start worker thread %d of %zu: %s", started + 1, n_workers,
                        strerror(rc));
    }
    *out = pool;
    return FMP_OK;
}

void fmp_pool_free(fmp_pool *pool)
{
    if (!pool) { return; }
    pthread_mutex_lock(&pool->lock);
    atomic_store_explicit(&pool->stop, true, memory_order_release);
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->n_workers; i++) {
        pthread_join(pool->workers[i], NULL);
    }
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->start);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

int fmp_pool_threads(const fmp_pool *pool)
{
    return pool ? pool->n_workers + 1 : 1;
}

void fmp_pool_for(fmp_pool *pool, size_t n, void (*fn)(void *arg, size_t i), void *arg)
{
    if (!pool || pool->n_workers == 0 || n <= 1) {
        for (size_t i = 0; i < n; i++) {
            fn(arg, i);
        }
        return;
    }
    pool->fn = fn;
    pool->arg = arg;
    pool->n = n;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add_explicit(&pool->state, JOB + OPEN, memory_order_release);
    if (pool->n_asleep > 0) { pthread_cond_broadcast(&pool->start); }
    pthread_mutex_unlock(&pool->lock);
    drain(pool);
    close_job(pool);
}
