/* Defined in the program, these functions come before those of the C library for everyone in the process. */
#define _GNU_SOURCE
#include "faults.h"

#include <diffaccel.h>
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>

#if defined(__clang__)
/* These functions are called before a sanitizer is ready for code of its making. */
#pragma clang attribute push(__attribute__((no_sanitize("address", "thread"))), apply_to = function)
#endif

struct fault {
    _Atomic int64_t asked, at;
    atomic_int lasting;
};

static struct fault allocation, thread;
static _Atomic int64_t given, live;
static _Atomic size_t threshold;

/* From the first call of `set` on: a sanitizer's own first blocks, before it is ready, must not be asked for their size. */
static atomic_int counting;
static void *library; /* where the library is loaded */

static void set(struct fault *fault, int64_t number, int lasting) {
    Dl_info info;
    if (!library && dladdr((const void *)(uintptr_t)da_version_string, &info)) library = info.dli_fbase;
    counting = 1;
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

/* A sanitizer cannot do without its own blocks: then only the library's are refused. Without one, everybody's are. */
static int may_refuse(const void *caller) {
    Dl_info of_caller;
    return !__interceptor_malloc || (dladdr(caller, &of_caller) && of_caller.dli_fbase == library);
}

static int refused_block(size_t size, const void *caller) {
    if (!atomic_load(&allocation.at) || size < atomic_load(&threshold) || !may_refuse(caller) || !refused(&allocation))
        return 0;
    errno = ENOMEM;
    return 1;
}

static void *counted(void *block) {
    if (block && counting) atomic_fetch_add(&live, (int64_t)malloc_usable_size(block));
    return block;
}

void *malloc(size_t size) { return refused_block(size, __builtin_return_address(0)) ? NULL : counted(SYSTEM(malloc)(size)); }

void *calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) bytes = SIZE_MAX;
    return refused_block(bytes, __builtin_return_address(0)) ? NULL : counted(SYSTEM(calloc)(count, size));
}

void *realloc(void *block, size_t size) {
    if (refused_block(size, __builtin_return_address(0))) return NULL;
    int64_t before = block && counting ? (int64_t)malloc_usable_size(block) : 0;
    void *moved = SYSTEM(realloc)(block, size);
    if (moved || !size) atomic_fetch_sub(&live, before);
    return counted(moved);
}

static void *aligned(size_t alignment, size_t size, const void *caller) {
    return refused_block(size, caller) ? NULL : counted(SYSTEM(memalign)(alignment, size));
}
void *memalign(size_t alignment, size_t size) { return aligned(alignment, size, __builtin_return_address(0)); }
void *aligned_alloc(size_t alignment, size_t size) { return aligned(alignment, size, __builtin_return_address(0)); }
int posix_memalign(void **block, size_t alignment, size_t size) {
    void *made = aligned(alignment, size, __builtin_return_address(0));
    if (!made) return ENOMEM;
    *block = made;
    return 0;
}

void free(void *block) {
    if (!block) return;
    if (counting) atomic_fetch_sub(&live, (int64_t)malloc_usable_size(block));
    SYSTEM(free)(block);
}

/* ---- threads ---- */

typedef int create_thread(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
create_thread __interceptor_pthread_create __attribute__((weak));

int pthread_create(pthread_t *made, const pthread_attr_t *attributes, void *(*body)(void *), void *argument) {
    if (refused(&thread)) return EAGAIN;
    create_thread *next = __interceptor_pthread_create;
    /* A cast between function and object pointers is no C; POSIX asks for this form. */
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
    return next(made, attributes, body, argument);
}

#if defined(__clang__)
#pragma clang attribute pop
#endif
