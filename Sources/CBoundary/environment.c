/* What code in the library sees of the environment: its own variables.
 *
 * Swift's runtime, linked in, would follow SWIFT_BACKTRACE, SWIFT_DEBUG_... and their like, which a host's user sets for
 * another program: it prints when the library is loaded, installs handlers of seven signals, loads libraries, changes how
 * hashes are seeded. The C++ library's allocator has such variables too. So libdiffaccel.so is linked with its references to
 * these names wrapped (see Package.swift). */
#include <stddef.h>
#include <string.h>

char *__real_getenv(const char *name);

char *__wrap_getenv(const char *name);
char *__wrap_secure_getenv(const char *name);

char *__wrap_getenv(const char *name) {
    static const char own[] = "DIFFACCEL_";
    return strncmp(name, own, sizeof own - 1) == 0 ? __real_getenv(name) : NULL;
}

/* Asked for only by code that is not ours. */
char *__wrap_secure_getenv(const char *name) {
    (void)name;
    return NULL;
}

static char *none[] = {NULL};
extern char **__wrap_environ, **__wrap___environ;
char **__wrap_environ = none;
char **__wrap___environ = none;

/* Nothing here reads the standard input; code that could is linked in. */
extern struct _IO_FILE *__wrap_stdin;
struct _IO_FILE *__wrap_stdin = NULL;
