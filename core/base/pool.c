/*
 * pool.c: worker threads for loops whose iterations are independent.
 *
 * A job is announced by raising `job` under the lock; each worker joins it once, takes indices from
 * one atomic counter and reports when it finds none left. The caller works too, then waits until every
 * worker has left the job: only then may fn's argument go away.
 */
#include <fmpipe/fs.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#define THREADS_MAX 1024

struct fmp_pool {
    pthread_mutex_t lock;
    pthread_cond_t start;
    pthread_cond_t done;
    uint64_t job; /* counts announced jobs */
    int n_busy;   /* workers that have not left the current job */
    int n_workers;
    bool stop;
    void (*fn)(void *arg, size_t i);
    void *arg;
    size_t n;
    atomic_size_t next;
    pthread_t workers[];
};

static void drain(fmp_pool *pool)
{
    size_t n = pool->n;
    for (;;) {
        size_t i = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (i >= n) { return; }
        pool->fn(pool->arg, i);
    }
}

static void *worker_main(void *arg)
{
    fmp_pool *pool = arg;
    uint64_t seen = 0;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->stop && pool->job == seen) {
            pthread_cond_wait(&pool->start, &pool->lock);
        }
        if (pool->stop) { break; }
        seen = pool->job;
        pthread_mutex_unlock(&pool->lock);
        drain(pool);
        pthread_mutex_lock(&pool->lock);
        if (--pool->n_busy == 0) { pthread_cond_signal(&pool->done); }
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
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
    pool->stop = true;
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
    pthread_mutex_lock(&pool->lock);
    pool->fn = fn;
    pool->arg = arg;
    pool->n = n;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    pool->n_busy = pool->n_workers;
    pool->job++;
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->lock);
    drain(pool);
    pthread_mutex_lock(&pool->lock);
    while (pool->n_busy > 0) {
        pthread_cond_wait(&pool->done, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
}
