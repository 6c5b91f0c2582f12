/* Defined in the program, these functions come before those of the C library for everyone in the process. */
#define _GNU_SOURCE
#include "faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>

struct fault {
    _Atomic int64_t asked, at;
    atomic_int lasting;
};

static struct fault allocation, thread;
static _Atomic int64_t given, live;
static _Atomic size_t threshold;

static void set(struct fault *fault, int64_t number, int lasting) {
    atomic_store(&fault->at, 0);
    atomic_store(&given, 0);
    atomic_store(&fault->asked, 0);
    atomic_store(&fault->lasting, lasting);
    atomic_store(&fault->at, number);
}
void fail_allocation(int64_t number, int lasting, size_t smallest) {
    atomic_store(&threshold, smallest);
    set(&allocation, number, lasting);
}
void fail_thread(int64_t number, int lasting) { set(&thread, number, lasting); }
int64_t faults_given(void) { return atomic_load(&given); }
int64_t live_bytes(void) { return atomic_load(&live); }

static int refused(struct fault *fault) {
    int64_t at = atomic_load(&fault->at);
    if (!at) return 0;
    int64_t number = atomic_fetch_add(&fault->asked, 1) + 1;
    if (fault->lasting ? number < at : number != at) return 0;
    atomic_fetch_add(&given, 1);
    return 1;
}

/* ---- memory: the C library's functions under their other names, or a sanitizer's when there is one ---- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *block);
void *__interceptor_malloc(size_t size) __attribute__((weak));
void *__interceptor_calloc(size_t count, size_t size) __attribute__((weak));
void *__interceptor_realloc(void *block, size_t size) __attribute__((weak));
void *__interceptor_memalign(size_t alignment, size_t size) __attribute__((weak));
void __interceptor_free(void *block) __attribute__((weak));

#define SYSTEM(name) (__interceptor_##name ? __interceptor_##name : __libc_##name)

static int refused_block(size_t size) {
    if (size < atomic_load(&threshold) || !refused(&allocation)) return 0;
    errno = ENOMEM;
    return 1;
}

static void *counted(void *block) {
    if (block) atomic_fetch_add(&live, (int64_t)malloc_usable_size(block));
    return block;
}

void *malloc(size_t size) { return refused_block(size) ? NULL : counted(SYSTEM(malloc)(size)); }

void *calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) bytes = SIZE_MAX;
    return refused_block(bytes) ? NULL : counted(SYSTEM(calloc)(count, size));
}

void *realloc(void *block, size_t size) {
    if (refused_block(size)) return NULL;
    int64_t before = block ? (int64_t)malloc_usable_size(block) : 0;
    void *moved = SYSTEM(realloc)(block, size);
    if (moved || !size) atomic_fetch_sub(&live, before);
    return counted(moved);
}

static void *aligned(size_t alignment, size_t size) {
    return refused_block(size) ? NULL : counted(SYSTEM(memalign)(alignment, size));
}
void *memalign(size_t alignment, size_t size) { return aligned(alignment, size); }
void *aligned_alloc(size_t alignment, size_t size) { return aligned(alignment, size); }
int posix_memalign(void **block, size_t alignment, size_t size) {
    void *made = aligned(alignment, size);
    if (!made) return ENOMEM;
    *block = made;
    return 0;
}

void free(void *block) {
    if (!block) return;
    atomic_fetch_sub(&live, (int64_t)malloc_usable_size(block));
    SYSTEM(free)(block);
}

/* ---- threads ---- */

int pthread_create(pthread_t *made, const pthread_attr_t *attributes, void *(*body)(void *), void *argument) {
    typedef int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (refused(&thread)) return EAGAIN;
    create next;
    /* A cast between function and object pointers is no C; POSIX asks for this form. */
    *(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
    return next(made, attributes, body, argument);
}
