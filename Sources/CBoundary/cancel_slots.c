#include "cboundary.h"

#include <stdatomic.h>
#include <stdlib.h>

/* A request names the handle, and its owner compares: a slot that was given to another session meanwhile is never
 * cancelled by mistake. Chunks are never freed, so a signal handler may follow a pointer at any time. */
typedef struct {
    _Atomic uint64_t owner;
    _Atomic uint64_t cancelled;
} slot_words;

enum { CHUNK = 1024 };
static _Atomic(slot_words *) chunks[CB_SLOTS / CHUNK];

static slot_words *find(uint32_t slot) {
    if (slot >= CB_SLOTS) return NULL;
    slot_words *chunk = atomic_load_explicit(&chunks[slot / CHUNK], memory_order_acquire);
    return chunk ? &chunk[slot % CHUNK] : NULL;
}

int32_t cb_cancel_open(uint32_t slot, uint64_t handle) {
    if (slot >= CB_SLOTS) return 0;
    if (!find(slot)) {
        slot_words *chunk = calloc(CHUNK, sizeof *chunk);
        if (!chunk) return 0;
        atomic_store_explicit(&chunks[slot / CHUNK], chunk, memory_order_release);
    }
    slot_words *words = find(slot);
    atomic_store(&words->cancelled, 0);
    atomic_store(&words->owner, handle);
    return 1;
}

void cb_cancel_close(uint32_t slot) {
    slot_words *words = find(slot);
    if (words) atomic_store(&words->owner, 0);
}

int32_t cb_cancel_request(uint32_t slot, uint64_t handle) {
    slot_words *words = find(slot);
    if (!words || handle == 0 || atomic_load(&words->owner) != handle) return 0;
    atomic_store(&words->cancelled, handle);
    return 1;
}

int32_t cb_cancel_requested(uint32_t slot, uint64_t handle) {
    slot_words *words = find(slot);
    return words && atomic_load_explicit(&words->cancelled, memory_order_acquire) == handle;
}

void cb_cancel_clear(uint32_t slot, uint64_t handle) {
    slot_words *words = find(slot);
    if (words) atomic_compare_exchange_strong(&words->cancelled, &handle, 0);
}

int32_t cb_word(const int32_t *word) { return word ? __atomic_load_n(word, __ATOMIC_ACQUIRE) : 0; }
