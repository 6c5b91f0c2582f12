/* Messages of data: a table of MPI requests, which the library knows by number. */
#include "shared.h"

#include <stdlib.h>

typedef struct {
    MPI_Request request;
    int in_use, is_receive;
    int next_free;
} slot;

static slot *slots;
static int slot_count, first_free = -1, pending;

static int take_slot(void) {
    if (first_free < 0) {
        int wanted = slot_count ? slot_count * 2 : 64;
        slot *grown = realloc(slots, (size_t)wanted * sizeof *slots);
        if (!grown) return -1;
        slots = grown;
        for (int index = wanted - 1; index >= slot_count; index--) {
            slots[index] = (slot){MPI_REQUEST_NULL, 0, 0, first_free};
            first_free = index;
        }
        slot_count = wanted;
    }
    int index = first_free;
    first_free = slots[index].next_free;
    slots[index].in_use = 1;
    pending++;
    return index;
}

static void give_back(int index) {
    slots[index] = (slot){MPI_REQUEST_NULL, 0, 0, first_free};
    first_free = index;
    pending--;
}

int requests_pending(void) { return pending; }

static int32_t begin(int is_receive, void *bytes, int64_t count, int32_t other, int32_t tag) {
    if (!is_joined()) return RANKS_FAILED;
    if (count < 0 || count > INT32_MAX) return fail("a message of 2 GiB or more", 0);
    pthread_mutex_lock(&lock);
    int index = take_slot();
    int code = MPI_ERR_NO_MEM;
    if (index >= 0) {
        MPI_Request *request = &slots[index].request;
        slots[index].is_receive = is_receive;
        code = is_receive ? MPI_Irecv(bytes, (int)count, MPI_BYTE, other, tag, data, request)
                          : MPI_Isend(bytes, (int)count, MPI_BYTE, other, tag, data, request);
        if (code != MPI_SUCCESS) give_back(index);
        wake_life();
    }
    pthread_mutex_unlock(&lock);
    return code == MPI_SUCCESS ? index : fail(is_receive ? "receiving" : "sending", code);
}

int32_t send_bytes(const void *bytes, int64_t count, int32_t to, int32_t tag) {
    return begin(0, (void *)(uintptr_t)bytes, count, to, tag);
}

int32_t receive_bytes(void *bytes, int64_t count, int32_t from, int32_t tag) { return begin(1, bytes, count, from, tag); }

int32_t request_state(int32_t request, int64_t *count) {
    if (!is_joined()) return RANKS_FAILED;
    *count = 0;
    int32_t state = RANKS_PENDING;
    int code = MPI_SUCCESS, done = 0;
    pthread_mutex_lock(&lock);
    if (request < 0 || request >= slot_count || !slots[request].in_use) {
        pthread_mutex_unlock(&lock);
        return fail("no such request", 0);
    }
    MPI_Status status;
    code = MPI_Test(&slots[request].request, &done, &status);
    if (code == MPI_SUCCESS && done) {
        int is_withdrawn = 0, size = 0;
        if (slots[request].is_receive) {
            MPI_Test_cancelled(&status, &is_withdrawn);
            if (!is_withdrawn) MPI_Get_count(&status, MPI_BYTE, &size);
        }
        *count = size;
        state = is_withdrawn ? RANKS_WITHDRAWN : RANKS_DONE;
    }
    if (code != MPI_SUCCESS || done) give_back(request);
    pthread_mutex_unlock(&lock);
    return code == MPI_SUCCESS ? state : fail("a message", code);
}

void withdraw_request(int32_t request) {
    if (!is_joined()) return;
    pthread_mutex_lock(&lock);
    if (request >= 0 && request < slot_count && slots[request].in_use && slots[request].is_receive &&
        slots[request].request != MPI_REQUEST_NULL)
        MPI_Cancel(&slots[request].request);
    pthread_mutex_unlock(&lock);
}

int32_t message_waiting(int32_t from, int32_t *tag, int64_t *count) {
    if (!is_joined()) return RANKS_FAILED;
    int is_there = 0, size = 0;
    MPI_Status status;
    pthread_mutex_lock(&lock);
    int code = MPI_Iprobe(from, MPI_ANY_TAG, data, &is_there, &status);
    if (code == MPI_SUCCESS && is_there) {
        MPI_Get_count(&status, MPI_BYTE, &size);
        *tag = status.MPI_TAG;
        *count = size;
    }
    pthread_mutex_unlock(&lock);
    return code == MPI_SUCCESS ? is_there : fail("looking for messages", code);
}
