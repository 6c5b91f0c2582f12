/* In the place of parts of Swift's runtime that belong to a program, not to a library in somebody else's.
 *
 * Three of the runtime's objects run code when they are loaded: the crash reporter looks for its program on the disk, sets up
 * its memory and may install signal handlers; the command line reads /proc/self/maps and searches the stack for the host's
 * arguments; the seeds of hash tables end the process where the system gives no random bytes. With their symbols defined here
 * the linker has no need of them. Weak, so that a runtime that asks for more of such an object still links:
 * Tests/CABI/interface.sh tells. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define IN_PLACE __attribute__((weak))

/* Backtrace.cpp: all zero stands for "off". Larger than the runtime's, of which one member is read. The function is for
 * reports. */
extern uint64_t _swift_backtraceSettings[64];
IN_PLACE uint64_t _swift_backtraceSettings[64] = {0};
_Bool _swift_backtrace_isThunkFunction(const char *name);
IN_PLACE _Bool _swift_backtrace_isThunkFunction(const char *name) { return name == NULL; }

/* The C++ library's cp-demangle.cc, 45 KB for names in the same reports. */
char *__cxa_demangle(const char *name, char *buffer, size_t *length, int *status);
IN_PLACE char *__cxa_demangle(const char *name, char *buffer, size_t *length, int *status) {
    (void)name, (void)buffer, (void)length;
    if (status) *status = -1;
    return NULL;
}

/* CommandLine.cpp: no arguments. */
char **_swift_stdlib_getUnsafeArgvArgc(int *count);
IN_PLACE char **_swift_stdlib_getUnsafeArgvArgc(int *count) {
    static char *none[] = {NULL};
    *count = 0;
    return none;
}

/* Random.cpp: seeds of hash tables. Without the system's random bytes, what differs from process to process. */
void swift_stdlib_random(void *buffer, size_t count);
IN_PLACE void swift_stdlib_random(void *buffer, size_t count) {
    enum { NONBLOCK = 1 };
    unsigned char *to = buffer;
    if (syscall(SYS_getrandom, to, count, NONBLOCK) == (long)count) return;
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t state = (uint64_t)(uintptr_t)&now ^ (uint64_t)(uintptr_t)buffer << 20 ^ (uint64_t)now.tv_nsec << 34 ^
                     (uint64_t)now.tv_sec ^ (uint64_t)getpid() << 48;
    for (size_t i = 0; i < count; i++) {
        state = (state ^ state >> 30) * 0xbf58476d1ce4e5b9u + 0x9e3779b97f4a7c15u;
        to[i] = (unsigned char)(state >> 56);
    }
}
