#include "cboundary.h"

#include <pthread.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t registered = PTHREAD_ONCE_INIT;

static void before_fork(void) { pthread_mutex_lock(&mutex); }
static void after_fork(void) { pthread_mutex_unlock(&mutex); }
static void register_fork(void) { pthread_atfork(before_fork, after_fork, after_fork); }

void cb_table_lock(void) {
    pthread_once(&registered, register_fork);
    pthread_mutex_lock(&mutex);
}

void cb_table_unlock(void) { pthread_mutex_unlock(&mutex); }

uint64_t cb_first_generation(void) {
    /* Two copies of the library in a process stand on different pages. The odd factor scatters what is near. */
    uint64_t page = (uint64_t)(uintptr_t)&registered >> 12;
    uint64_t scattered = page * 0x9e3779b97f4a7c15u >> 28;
    return scattered ? scattered : 1;
}
