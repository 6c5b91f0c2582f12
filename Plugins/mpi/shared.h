/* What the plug-in's files share. Every call of MPI after the start is made under `lock`: MPI_THREAD_SERIALIZED is enough. */
#ifndef SHARED_H
#define SHARED_H

#include "ranks_plugin.h"

#include <mpi.h>
#include <pthread.h>

extern pthread_mutex_t lock;
/* Of their own, so that no message of the host's program is mixed up with ours: tensors, control messages, signs of life. */
extern MPI_Comm data, control, life;
extern int own_rank, rank_count;

/* ---- requests.c ---- */
int32_t send_bytes(const void *bytes, int64_t count, int32_t to, int32_t tag);
int32_t receive_bytes(void *bytes, int64_t count, int32_t from, int32_t tag);
int32_t request_state(int32_t request, int64_t *count);
void withdraw_request(int32_t request);
int32_t message_waiting(int32_t from, int32_t *tag, int64_t *count);
int requests_pending(void); /* under the lock */

/* ---- control.c ---- */
int32_t tell(const void *bytes, int64_t count, int32_t to);
int64_t heard(int32_t *from, void *bytes, int64_t room);
void release_told(void); /* under the lock: frees what was sent; called now and then */

/* ---- life.c ---- */
int start_life(void);
void stop_life(void);
void wake_life(void); /* under the lock: there is something to move on */
double silence_of(int32_t rank);

/* ---- plugin.c ---- */
/* Notes why a call fails, and gives RANKS_FAILED: `code` is MPI's, or 0 when `what` says it all. */
int32_t fail(const char *what, int code);
/* Whether this is the process that joined; a child of fork() is not. */
int is_joined(void);

#endif
