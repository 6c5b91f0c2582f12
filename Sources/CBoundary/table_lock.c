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
