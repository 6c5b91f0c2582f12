/* Stands between the library and the C library's allocator: a shared library calls the functions of the program it is loaded
 * into when there are any of that name. Resident memory would not do: what is asked for and never touched does not show there.
 */
#include "meter.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *block);

static atomic_long held, highest, began;

static void add(long bytes) {
    long now = atomic_fetch_add(&held, bytes) + bytes, seen = atomic_load(&highest);
    while (now > seen && !atomic_compare_exchange_weak(&highest, &seen, now)) {
    }
}

static void *counted(void *block) {
    if (block) add((long)malloc_usable_size(block));
    return block;
}

long meter_start(void) {
    long now = atomic_load(&held);
    atomic_store(&highest, now);
    atomic_store(&began, now);
    return now;
}

long meter_peak(void) { return atomic_load(&highest) - atomic_load(&began); }

void *malloc(size_t size) { return counted(__libc_malloc(size)); }
void *calloc(size_t count, size_t size) { return counted(__libc_calloc(count, size)); }
void *memalign(size_t alignment, size_t size) { return counted(__libc_memalign(alignment, size)); }
void *aligned_alloc(size_t alignment, size_t size) { return counted(__libc_memalign(alignment, size)); }

int posix_memalign(void **block, size_t alignment, size_t size) {
    void *made = counted(__libc_memalign(alignment, size));
    if (!made) return ENOMEM;
    *block = made;
    return 0;
}

void *realloc(void *block, size_t size) {
    long before = block ? (long)malloc_usable_size(block) : 0;
    void *made = __libc_realloc(block, size);
    if (made || !size) add((made ? (long)malloc_usable_size(made) : 0) - before);
    return made;
}

void free(void *block) {
    int number = errno;
    if (block) add(-(long)malloc_usable_size(block));
    __libc_free(block);
    errno = number;
}

/* Mapped blocks count until the program ends: none is expected, so none may be large. */
void *mmap(void *address, size_t size, int protection, int flags, int descriptor, off_t offset) {
    void *made = (void *)syscall(SYS_mmap, address, size, protection, flags, descriptor, offset);
    if (made != MAP_FAILED) add((long)size);
    return made;
}
