/* Control messages: short, copied, received in the order of their arrival. */
#include "shared.h"

#include <stdlib.h>
#include <string.h>

typedef struct letter {
    struct letter *next;
    MPI_Request request;
    char bytes[];
} letter;

/* Sent, and not known to be gone. */
static letter *told;
/* The message that did not fit into the caller's room. */
static MPI_Message kept = MPI_MESSAGE_NULL;
static int kept_from, kept_count, is_kept;

void release_told(void) {
    letter **link = &told;
    while (*link) {
        letter *one = *link;
        int done = 0;
        /* A failed one is over too: its receiver is gone. */
        if (MPI_Test(&one->request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || done) {
            *link = one->next;
            free(one);
        } else {
            link = &one->next;
        }
    }
}

int32_t tell(const void *bytes, int64_t count, int32_t to) {
    if (!is_joined()) return RANKS_FAILED;
    if (count < 0 || count > INT32_MAX / 2) return fail("a control message of such a size", 0);
    letter *one = malloc(sizeof *one + (size_t)count);
    if (!one) return fail("no memory for a control message", 0);
    memcpy(one->bytes, bytes, (size_t)count);
    pthread_mutex_lock(&lock);
    release_told();
    int code = MPI_Isend(one->bytes, (int)count, MPI_BYTE, to, 0, control, &one->request);
    if (code == MPI_SUCCESS) {
        one->next = told;
        told = one;
        wake_life();
    }
    pthread_mutex_unlock(&lock);
    if (code == MPI_SUCCESS) return 0;
    free(one);
    return fail("sending a control message", code);
}

int64_t heard(int32_t *from, void *bytes, int64_t room) {
    if (!is_joined()) return RANKS_FAILED;
    pthread_mutex_lock(&lock);
    int code = MPI_SUCCESS;
    if (!is_kept) {
        MPI_Status status;
        code = MPI_Improbe(MPI_ANY_SOURCE, 0, control, &is_kept, &kept, &status);
        if (code != MPI_SUCCESS) is_kept = 0;
        if (is_kept) {
            MPI_Get_count(&status, MPI_BYTE, &kept_count);
            kept_from = status.MPI_SOURCE;
        }
    }
    int64_t count = is_kept ? kept_count : 0;
    *from = kept_from;
    if (is_kept && count <= room) {
        code = MPI_Mrecv(bytes, (int)count, MPI_BYTE, &kept, MPI_STATUS_IGNORE);
        is_kept = 0;
    }
    pthread_mutex_unlock(&lock);
    return code == MPI_SUCCESS ? count : fail("receiving a control message", code);
}
