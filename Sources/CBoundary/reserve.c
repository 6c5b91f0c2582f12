/* Memory for small objects when the system has none left.
 *
 * Tensors are refused with a status, but Swift's runtime ends the process when an object, an array or a string gets no memory.
 * So libdiffaccel.so is linked with its references to malloc and its kin wrapped (see Package.swift), and what the system
 * refuses comes from here: enough to carry a call on to its next tensor, which is refused in order. Test bundles are linked
 * without the wrapping and do not have this file. */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { RESERVE = 4 << 20, LARGEST = 1 << 20, GRAIN = 16 };

/* Blocks stand one behind the other, each with a header in front; `size` counts the header too. */
struct block {
    uint32_t size, used;
    uint64_t padding;
};

static _Alignas(GRAIN) unsigned char reserve[RESERVE];
static _Atomic int32_t owner; /* the process that walks the blocks; one that forked meanwhile is no obstacle */

static void lock(void) {
    int32_t self = (int32_t)getpid();
    for (;;) {
        int32_t found = 0;
        if (atomic_compare_exchange_weak(&owner, &found, self)) return;
        if (found != 0 && found != self && atomic_compare_exchange_weak(&owner, &found, self)) return;
        sched_yield();
    }
}
static void unlock(void) { atomic_store(&owner, 0); }

static int is_reserved(const void *pointer) {
    uintptr_t at = (uintptr_t)pointer, from = (uintptr_t)reserve;
    return at >= from && at < from + RESERVE;
}

static struct block *header(const void *pointer) {
    return (struct block *)(uintptr_t)((uintptr_t)pointer - sizeof(struct block));
}
static size_t capacity(const void *pointer) { return header(pointer)->size - sizeof(struct block); }

/* First fit; free neighbours become one on the way. The first block is made on the first walk. */
static void *take(size_t bytes) {
    if (bytes > LARGEST) return NULL;
    uint32_t size = (uint32_t)((bytes + GRAIN - 1) / GRAIN * GRAIN + sizeof(struct block));
    void *found = NULL;
    lock();
    struct block *block = (struct block *)(void *)reserve;
    if (block->size == 0) block->size = RESERVE;
    for (uint32_t at = 0; at < RESERVE && !found; at += block->size) {
        block = (struct block *)(void *)(reserve + at);
        if (block->used) continue;
        while (at + block->size < RESERVE) {
            struct block *next = (struct block *)(void *)(reserve + at + block->size);
            if (next->used) break;
            block->size += next->size;
        }
        if (block->size < size) continue;
        if (block->size - size > sizeof(struct block)) {
            struct block *rest = (struct block *)(void *)(reserve + at + size);
            rest->size = block->size - size;
            rest->used = 0;
            block->size = size;
        }
        block->used = 1;
        found = block + 1;
    }
    unlock();
    return found;
}

static void give_back(void *pointer) {
    lock();
    header(pointer)->used = 0;
    unlock();
}

/* ---- what the linker puts in the place of the C library's functions ----------------------------------------------- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *pointer, size_t size);
void __real_free(void *pointer);
size_t __real_malloc_usable_size(void *pointer);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *pointer, size_t size);
void __wrap_free(void *pointer);
size_t __wrap_malloc_usable_size(void *pointer);

void *__wrap_malloc(size_t size) {
    void *made = __real_malloc(size);
    return made ? made : take(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    void *made = __real_calloc(count, size);
    size_t bytes;
    if (made || __builtin_mul_overflow(count, size, &bytes)) return made;
    made = take(bytes);
    return made ? memset(made, 0, bytes) : NULL;
}

void *__wrap_realloc(void *pointer, size_t size) {
    if (!pointer) return __wrap_malloc(size);
    if (is_reserved(pointer)) {
        size_t before = capacity(pointer);
        void *moved = __wrap_malloc(size);
        if (!moved) return NULL;
        memcpy(moved, pointer, before < size ? before : size);
        give_back(pointer);
        return moved;
    }
    void *moved = __real_realloc(pointer, size);
    if (moved || size == 0) return moved;
    size_t before = __real_malloc_usable_size(pointer);
    moved = take(size);
    if (!moved) return NULL;
    memcpy(moved, pointer, before < size ? before : size);
    __real_free(pointer);
    return moved;
}

void __wrap_free(void *pointer) {
    if (is_reserved(pointer)) give_back(pointer);
    else __real_free(pointer);
}

size_t __wrap_malloc_usable_size(void *pointer) {
    return is_reserved(pointer) ? capacity(pointer) : __real_malloc_usable_size(pointer);
}
