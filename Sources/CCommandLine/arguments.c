#include "ccommandline.h"

#include <stddef.h>

static int count;
static char **arguments;

/* glibc gives constructors what it gives main. */
__attribute__((constructor)) static void keep(int argc, char **argv) {
    count = argc;
    arguments = argv;
}

int cc_argument_count(void) { return arguments ? count : 0; }
const char *cc_argument(int index) { return index >= 0 && index < cc_argument_count() ? arguments[index] : NULL; }
