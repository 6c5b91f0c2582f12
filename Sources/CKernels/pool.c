/* Worker pool. A run is a counter from which threads take task numbers. Workers join a run only while it is open and
 * the caller waits only for those that joined, so a worker which the system has not scheduled delays no call. */
#define _GNU_SOURCE
#include "include/ckernels.h"

#include <fenv.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SPINS = 2000, STACK_BYTES = 2 << 20, LINE = 64 };

/* `state`: this bit while a run can be joined, and below it the number of workers inside. */
#define OPEN 0x80000000u

typedef struct {
    ck_pool *pool;
    pthread_t thread;
    int32_t index;
} worker;

struct ck_pool {
    /* On lines of their own: what all threads change while they work, what those that leave change, what those that wait read.
     */
    _Alignas(LINE) _Atomic int64_t next; /* the task to take */
    _Alignas(LINE) _Atomic uint32_t state;
    _Alignas(LINE) _Atomic uint32_t generation; /* counts runs; workers park on it */
    _Atomic int32_t stopping;
    _Alignas(LINE) _Atomic int32_t parked; /* workers about to sleep or asleep */
    _Atomic int32_t busy;                  /* a run is under way */
    _Alignas(LINE) int64_t tasks;          /* the run: written before it opens, read after joining */
    ck_task task;
    void *context;
    int32_t threads, started;
    pid_t pid; /* of the process that started the workers, 0 before */
    ck_observer observe;
    void *observer;
    worker workers[CK_MAX_THREADS];
};

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void sleep_on(_Atomic uint32_t *word, uint32_t value) {
    syscall(SYS_futex, (uint32_t *)word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}
static void wake(_Atomic uint32_t *word, int32_t threads) {
    syscall(SYS_futex, (uint32_t *)word, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
}

static void take_tasks(ck_pool *pool, int32_t thread) {
    int64_t tasks = pool->tasks;
    for (;;) {
        int64_t i = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (i >= tasks) return;
        pool->task(pool->context, i, thread);
    }
}

/* ---- workers ---- */

static int join_run(ck_pool *pool) {
    uint32_t state = atomic_load(&pool->state);
    while (state & OPEN)
        if (atomic_compare_exchange_weak(&pool->state, &state, state + 1)) return 1;
    return 0;
}

static void leave_run(ck_pool *pool) {
    if (atomic_fetch_sub(&pool->state, 1) == 1) wake(&pool->state, 1); /* closed and empty: the caller may sleep */
}

static uint32_t wait_for_run(ck_pool *pool, uint32_t seen) {
    for (int spin = 0; spin < SPINS; spin++) {
        uint32_t now = atomic_load(&pool->generation);
        if (now != seen) return now;
        relax();
    }
    atomic_fetch_add(&pool->parked, 1);
    uint32_t now;
    while ((now = atomic_load(&pool->generation)) == seen) sleep_on(&pool->generation, seen);
    atomic_fetch_sub(&pool->parked, 1);
    return now;
}

static void *worker_main(void *argument) {
    worker *self = argument;
    ck_pool *pool = self->pool;
    fesetenv(FE_DFL_ENV);                            /* threads inherit their creator's */
    pthread_setname_np(pthread_self(), "diffaccel"); /* from outside it would need a file of /proc */
    uint32_t seen = 0;
    while (!atomic_load(&pool->stopping)) {
        if (join_run(pool)) {
            seen = atomic_load(&pool->generation);
            take_tasks(pool, self->index);
            leave_run(pool);
        }
        seen = wait_for_run(pool, seen);
    }
    return NULL;
}

static void start_workers(ck_pool *pool) {
    /* A blocked fault would end the process without asking the host's handlers: crash reporters, sandboxes that answer system
     * calls. */
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    sigset_t all, before;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&all, faults[i]);
    pthread_attr_t attributes;
    pool->started = 0;
    if (pthread_attr_init(&attributes) != 0) return;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    /* Workers inherit the mask: the host's signals stay with the host's threads. */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int32_t i = 1; i < pool->threads; i++) {
        worker *w = &pool->workers[i];
        *w = (worker){.pool = pool, .index = i};
        if (pthread_create(&w->thread, &attributes, worker_main, w) != 0) break; /* fewer threads, same results */
        pool->started = i;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

/* ---- callers ---- */

static void reset(ck_pool *pool) {
    atomic_store(&pool->next, 0);
    atomic_store(&pool->state, 0);
    atomic_store(&pool->generation, 0);
    atomic_store(&pool->parked, 0);
    atomic_store(&pool->busy, 0);
    atomic_store(&pool->stopping, 0);
    pool->started = 0;
    pool->pid = 0;
}

ck_pool *ck_pool_create(int32_t threads) {
    ck_pool *pool = aligned_alloc(LINE, sizeof *pool);
    if (!pool) return NULL;
    pool->threads = threads < 1 ? 1 : threads > CK_MAX_THREADS ? CK_MAX_THREADS : threads;
    pool->observe = NULL;
    reset(pool);
    return pool;
}

ck_pool *ck_pool_create_dry(int32_t threads, ck_observer observe, void *context) {
    ck_pool *pool = ck_pool_create(threads);
    if (pool) pool->observe = observe, pool->observer = context;
    return pool;
}

int32_t ck_pool_threads(const ck_pool *pool) { return pool ? pool->threads : 1; }

static void run_serially(int64_t tasks, ck_task task, void *context) {
    for (int64_t i = 0; i < tasks; i++) task(context, i, 0);
}

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void run_dry(ck_pool *pool, int64_t tasks, ck_task task, void *context) {
    int32_t inside = atomic_exchange(&pool->busy, 1);
    double began = seconds_now();
    run_serially(tasks, task, context);
    if (inside) return;
    atomic_store(&pool->busy, 0);
    pool->observe(pool->observer, tasks, seconds_now() - began);
}

static void wait_until_empty(ck_pool *pool) {
    uint32_t inside = atomic_fetch_and(&pool->state, ~OPEN) & ~OPEN;
    for (int spin = 0; inside != 0 && spin < SPINS; spin++) {
        relax();
        inside = atomic_load(&pool->state);
    }
    while (inside != 0) {
        sleep_on(&pool->state, inside);
        inside = atomic_load(&pool->state);
    }
}

void ck_pool_run(ck_pool *pool, int64_t tasks, ck_task task, void *context) {
    if (pool && pool->observe) {
        run_dry(pool, tasks, task, context);
        return;
    }
    if (!pool || pool->threads == 1 || tasks <= 1) {
        run_serially(tasks, task, context);
        return;
    }
    /* Only the forking thread lives on in a child: whatever the workers were doing, they are gone. */
    pid_t pid = getpid();
    if (pool->pid != 0 && pool->pid != pid) reset(pool);
    if (atomic_exchange(&pool->busy, 1)) { /* called from a task */
        run_serially(tasks, task, context);
        return;
    }
    if (pool->pid == 0) {
        pool->pid = pid;
        start_workers(pool);
    }
    pool->tasks = tasks;
    pool->task = task;
    pool->context = context;
    atomic_store(&pool->next, 0);
    atomic_store(&pool->state, OPEN);
    atomic_fetch_add(&pool->generation, 1);
    if (atomic_load(&pool->parked) > 0) wake(&pool->generation, (int32_t)(tasks - 1 < INT_MAX ? tasks - 1 : INT_MAX));
    take_tasks(pool, 0);
    wait_until_empty(pool);
    atomic_store(&pool->busy, 0);
}

void ck_pool_destroy(ck_pool *pool) {
    if (!pool) return;
    if (pool->pid == getpid()) {
        atomic_store(&pool->stopping, 1);
        atomic_fetch_add(&pool->generation, 1);
        wake(&pool->generation, INT_MAX);
        for (int32_t i = 1; i <= pool->started; i++) pthread_join(pool->workers[i].thread, NULL);
    }
    free(pool);
}
