/* The plug-in's own thread: moves messages on while the program computes, sends signs of life and notes those of others.
 *
 * MPI implementations move large messages only inside their functions, and a rank that computes for minutes calls none. The
 * thread sleeps most of the time: a tenth of a millisecond between looks while messages are under way, else a tenth of a
 * second. */
#define _GNU_SOURCE
#include "shared.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

static const double period = 0.5; /* seconds between signs of life */

static pthread_t thread;
static pthread_cond_t wake;
static int is_running, stops, is_wanted;
static double *last_sign;
static MPI_Request *signs;
static char sign = 1, heard_sign;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void send_signs(void) {
    for (int rank = 0; rank < rank_count; rank++) {
        if (rank == own_rank) continue;
        int done = 1;
        /* One at a time: a rank that takes none gets no more. */
        if (signs[rank] != MPI_REQUEST_NULL) MPI_Test(&signs[rank], &done, MPI_STATUS_IGNORE);
        if (done && MPI_Isend(&sign, 1, MPI_BYTE, rank, 0, life, &signs[rank]) != MPI_SUCCESS) signs[rank] = MPI_REQUEST_NULL;
    }
}

static void note_signs(void) {
    int is_there = 0;
    MPI_Status status;
    while (MPI_Iprobe(MPI_ANY_SOURCE, 0, life, &is_there, &status) == MPI_SUCCESS && is_there) {
        if (MPI_Recv(&heard_sign, 1, MPI_BYTE, status.MPI_SOURCE, 0, life, MPI_STATUS_IGNORE) != MPI_SUCCESS) return;
        last_sign[status.MPI_SOURCE] = now();
    }
}

static void *live(void *unused) {
    (void)unused;
    double last = 0;
    pthread_mutex_lock(&lock);
    while (!stops) {
        double time = now();
        if (time - last >= period) {
            send_signs();
            release_told();
            last = time;
        }
        note_signs();
        if (requests_pending() > 0) {
            pthread_mutex_unlock(&lock);
            struct timespec moment = {0, 100000};
            nanosleep(&moment, NULL);
            pthread_mutex_lock(&lock);
        } else if (!is_wanted) {
            struct timespec until;
            clock_gettime(CLOCK_MONOTONIC, &until);
            until.tv_nsec += 100000000;
            if (until.tv_nsec >= 1000000000) {
                until.tv_sec++;
                until.tv_nsec -= 1000000000;
            }
            pthread_cond_timedwait(&wake, &lock, &until);
        }
        is_wanted = 0;
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

void wake_life(void) {
    is_wanted = 1;
    if (is_running && requests_pending() <= 1) pthread_cond_signal(&wake);
}

double silence_of(int32_t rank) {
    if (!is_joined() || rank < 0 || rank >= rank_count || rank == own_rank) return 0;
    pthread_mutex_lock(&lock);
    double seconds = now() - last_sign[rank];
    pthread_mutex_unlock(&lock);
    return seconds;
}

int start_life(void) {
    last_sign = calloc((size_t)rank_count, sizeof *last_sign);
    signs = calloc((size_t)rank_count, sizeof *signs);
    pthread_condattr_t attributes;
    if (!last_sign || !signs || pthread_condattr_init(&attributes) != 0) return 0;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&wake, &attributes);
    pthread_condattr_destroy(&attributes);
    for (int rank = 0; rank < rank_count; rank++) {
        last_sign[rank] = now();
        signs[rank] = MPI_REQUEST_NULL;
    }
    /* Signals are the program's own threads' business. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    is_running = pthread_create(&thread, NULL, live, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (is_running) pthread_setname_np(thread, "diffaccel-ranks");
    return is_running;
}

void stop_life(void) {
    if (!is_running) return;
    pthread_mutex_lock(&lock);
    stops = 1;
    pthread_cond_signal(&wake);
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
    is_running = 0;
}
