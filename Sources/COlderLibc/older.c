/* The C library's functions in the form that glibc 2.27 has, so that what is built here runs on systems from 2018 on.
 *
 * glibc gave these a newer version when it moved libpthread and libdl into libc (2.34), dropped the old error handling of
 * mathematics (2.29, 2.35), or made stat a function of its own (2.33); a linker takes the newest. The older ones are in every
 * glibc since, with the same results. libdiffaccel.so and the command line are linked with their references to these names
 * wrapped (see Package.swift). Where glibc is older than 2.34, the functions of threads and of the loader are in libraries of
 * their own, so both ask for these by name; later ones have them empty. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <sys/stat.h>

/* The version that an architecture's first glibc gave. */
#if defined __x86_64__
#define FIRST        "GLIBC_2.2.5"
#define THREAD_NAMES "GLIBC_2.12"
#define AFFINITY     "GLIBC_2.3.4"
enum { STAT_VERSION = 1 };
#elif defined __aarch64__
#define FIRST        "GLIBC_2.17"
#define THREAD_NAMES FIRST
#define AFFINITY     FIRST
enum { STAT_VERSION = 0 };
#else
#error "the versions of this architecture's C library are not known: see objdump -T libc.so.6"
#endif

/* OLDER(VERSION, RESULT, NAME, PARAMETERS, ARGUMENTS): what `NAME` is in the linked code. */
#define OLDER(version, result, name, parameters, arguments) \
    result older_##name parameters;                         \
    __asm__(".symver older_" #name "," #name "@" version);  \
    result __wrap_##name parameters;                        \
    result __wrap_##name parameters { return older_##name arguments; }

OLDER(FIRST, double, exp, (double x), (x))
OLDER(FIRST, double, exp2, (double x), (x))
OLDER(FIRST, double, log, (double x), (x))
OLDER(FIRST, double, log2, (double x), (x))
OLDER(FIRST, double, pow, (double x, double y), (x, y))
OLDER(FIRST, float, hypotf, (float x, float y), (x, y))

OLDER(FIRST, int, pthread_create, (pthread_t * made, const pthread_attr_t *attributes, void *(*body)(void *), void *argument),
      (made, attributes, body, argument))
OLDER(FIRST, int, pthread_join, (pthread_t thread, void **result), (thread, result))
OLDER(FIRST, int, pthread_once, (pthread_once_t * once, void (*body)(void)), (once, body))
OLDER(FIRST, int, pthread_attr_setstacksize, (pthread_attr_t * attributes, size_t size), (attributes, size))
OLDER(FIRST, int, pthread_sigmask, (int how, const sigset_t *set, sigset_t *before), (how, set, before))
OLDER(FIRST, int, __pthread_key_create, (pthread_key_t * key, void (*end)(void *)), (key, end))
OLDER(THREAD_NAMES, int, pthread_setname_np, (pthread_t thread, const char *name), (thread, name))
OLDER(AFFINITY, int, pthread_getaffinity_np, (pthread_t thread, size_t size, cpu_set_t *set), (thread, size, set))
OLDER(FIRST, int, pthread_kill, (pthread_t thread, int signal), (thread, signal))
OLDER(FIRST, int, pthread_key_create, (pthread_key_t * key, void (*end)(void *)), (key, end))
OLDER(FIRST, int, pthread_setspecific, (pthread_key_t key, const void *value), (key, value))
OLDER(FIRST, int, pthread_mutexattr_init, (pthread_mutexattr_t * attributes), (attributes))
OLDER(FIRST, int, pthread_mutexattr_settype, (pthread_mutexattr_t * attributes, int type), (attributes, type))
OLDER(FIRST, int, pthread_mutexattr_destroy, (pthread_mutexattr_t * attributes), (attributes))
OLDER(FIRST, int, sem_init, (sem_t * semaphore, int shared, unsigned value), (semaphore, shared, value))
OLDER(FIRST, int, sem_destroy, (sem_t * semaphore), (semaphore))
OLDER(FIRST, int, sem_post, (sem_t * semaphore), (semaphore))
OLDER(FIRST, int, sem_wait, (sem_t * semaphore), (semaphore))
OLDER(FIRST, int, sem_timedwait, (sem_t * semaphore, const struct timespec *until), (semaphore, until))
OLDER(FIRST, sem_t *, sem_open, (const char *name, int flags, mode_t mode, unsigned value), (name, flags, mode, value))

OLDER(FIRST, void *, dlopen, (const char *path, int flags), (path, flags))
OLDER(FIRST, void *, dlsym, (void *library, const char *name), (library, name))
OLDER(FIRST, int, dladdr, (const void *address, Dl_info *info), (address, info))
OLDER(FIRST, char *, dlerror, (void), ())

/* ---- stat was a macro around these ---------------------------------------------------------------------------------- */

int __xstat(int version, const char *path, struct stat *status);
int __lxstat(int version, const char *path, struct stat *status);
int __fxstat(int version, int file, struct stat *status);
int __fxstatat(int version, int folder, const char *path, struct stat *status, int flags);

int __wrap_stat(const char *path, struct stat *status);
int __wrap_lstat(const char *path, struct stat *status);
int __wrap_fstat(int file, struct stat *status);
int __wrap_fstatat(int folder, const char *path, struct stat *status, int flags);

int __wrap_stat(const char *path, struct stat *status) { return __xstat(STAT_VERSION, path, status); }
int __wrap_lstat(const char *path, struct stat *status) { return __lxstat(STAT_VERSION, path, status); }
int __wrap_fstat(int file, struct stat *status) { return __fxstat(STAT_VERSION, file, status); }
int __wrap_fstatat(int folder, const char *path, struct stat *status, int flags) {
    return __fxstatat(STAT_VERSION, folder, path, status, flags);
}

/* ---- what there was nothing like --------------------------------------------------------------------------------------- */

/* Whether the C++ library may do without atomic instructions: it never does. */
extern char __wrap___libc_single_threaded;
char __wrap___libc_single_threaded = 0;

#ifdef DLFO_STRUCT_HAS_EH_DBASE
struct search {
    uintptr_t address;
    struct dl_find_object *found;
};

/* One object of the process: fills what the unwinder asks for when the address is in it. */
static int looks_into(struct dl_phdr_info *object, size_t size, void *context) {
    (void)size;
    struct search *search = context;
    uintptr_t start = UINTPTR_MAX, end = 0, table = 0;
    int inside = 0;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        uintptr_t from = object->dlpi_addr + part->p_vaddr, to = from + part->p_memsz;
        if (part->p_type == PT_GNU_EH_FRAME) table = from;
        if (part->p_type != PT_LOAD) continue;
        if (from < start) start = from;
        if (to > end) end = to;
        inside |= search->address >= from && search->address < to;
    }
    if (!inside) return 0;
    if (!table) return -1;
    *search->found =
        (struct dl_find_object){.dlfo_map_start = (void *)start, .dlfo_map_end = (void *)end, .dlfo_eh_frame = (void *)table};
    return 1;
}

int __wrap__dl_find_object(void *address, struct dl_find_object *found);
int __wrap__dl_find_object(void *address, struct dl_find_object *found) {
    struct search search = {(uintptr_t)address, found};
    return dl_iterate_phdr(looks_into, &search) == 1 ? 0 : -1;
}
#endif
