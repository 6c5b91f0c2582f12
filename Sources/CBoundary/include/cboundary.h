/* What the C boundary needs and Swift does not have: a text per thread, a lock that survives fork(), and words that a
 * signal handler may write. */
#ifndef CBOUNDARY_H
#define CBOUNDARY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the calling thread's last error (last_error.c) --------------------------------------------------------------- */

enum { CB_ERROR_BYTES = 2056 };
void cb_error_set(const char *text, size_t length); /* cut to fit; length 0 clears */
const char *cb_error_text(void);                    /* never null; valid until the next cb_error_set on this thread */

/* ---- the handle table's lock (table_lock.c) ----------------------------------------------------------------------- */

/* Not recursive; held for moments. fork() waits for it, so that a child never inherits it locked. */
void cb_table_lock(void);
void cb_table_unlock(void);
/* Where this copy of the library begins to count generations, 1...2^36 - 1: a handle of another copy is not one of ours. */
uint64_t cb_first_generation(void);

/* ---- cancellation by handle (cancel_slots.c) ---------------------------------------------------------------------- */

enum { CB_SLOTS = 1 << 22 };
/* Makes `handle` the owner of `slot`; 0 when there was no memory. Under the table's lock. */
int32_t cb_cancel_open(uint32_t slot, uint64_t handle);
void cb_cancel_close(uint32_t slot); /* the slot has no owner any more */
/* Asks the owner of `slot` to stop: 1 when `handle` owns it, else 0. Safe in a signal handler. */
int32_t cb_cancel_request(uint32_t slot, uint64_t handle);
int32_t cb_cancel_requested(uint32_t slot, uint64_t handle); /* 1 when a request for exactly this handle stands */
void cb_cancel_clear(uint32_t slot, uint64_t handle);

/* ---- a word of the caller's that asks for a stop (cancel_slots.c) --------------------------------------------------- */

/* The word that another thread or a signal handler may be writing; 0 for null. */
int32_t cb_word(const int32_t *word);

#ifdef __cplusplus
}
#endif
#endif
