/* A memory allocator and a thread library that refuse on demand, between the test program and the system's. */
#ifndef FAULTS_H
#define FAULTS_H

#include <stddef.h>
#include <stdint.h>

/* From now on the `number`-th allocation of `smallest` bytes or more is refused (1: the next one); with `lasting` all after it
 * too. 0: none is. Starts counting anew. */
void fail_allocation(int64_t number, int lasting, size_t smallest);

/* The same for starting threads. */
void fail_thread(int64_t number, int lasting);

/* How many allocations or threads have been refused since the last call of fail_allocation or fail_thread. */
int64_t faults_given(void);

/* Bytes in blocks that have been allocated and not freed, by whomever in the process. */
int64_t live_bytes(void);

#endif
