/* Finding and loading the plug-in for MPI. */
#define _GNU_SOURCE
#include "cranks.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

static const char file[] = "libdiffaccel_mpi.so";

/* Its path beside the file that this code is in; 0 when that is not known. */
static int beside(char *path, size_t room) {
    Dl_info here;
    if (!dladdr((void *)(uintptr_t)&cr_plugin_open, &here) || !here.dli_fname) return 0;
    const char *slash = strrchr(here.dli_fname, '/');
    int folder = slash ? (int)(slash - here.dli_fname) + 1 : 0;
    int length = snprintf(path, room, "%.*s%s", folder, here.dli_fname, file);
    return length > 0 && (size_t)length < room;
}

const ranks_plugin *cr_plugin_open(const char *path, char *text) {
    char found[PATH_MAX];
    text[0] = 0;
    if (!path && !getauxval(AT_SECURE)) path = getenv("DIFFACCEL_MPI_PLUGIN");
    if (!path || !path[0]) path = beside(found, sizeof found) ? found : file;
    if (strchr(path, '/') && access(path, F_OK) != 0) {
        snprintf(
            text, CR_TEXT,
            "%.200s: no such file. The plug-in for MPI is built by \"make mpi\" (\"make mpi MPI=mpich\" for MPICH) and stands "
            "beside libdiffaccel.so, or where mpi_plugin or DIFFACCEL_MPI_PLUGIN says",
            path);
        return NULL;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library) {
        const char *why = dlerror();
        snprintf(text, CR_TEXT, "the plug-in for MPI cannot be loaded: %.400s", why ? why : path);
        return NULL;
    }
    ranks_plugin_function give = (ranks_plugin_function)(uintptr_t)dlsym(library, RANKS_PLUGIN_FUNCTION);
    const ranks_plugin *plugin = give ? give() : NULL;
    if (!plugin) {
        snprintf(text, CR_TEXT, "%.300s: no plug-in for MPI", path);
    } else if (plugin->abi != RANKS_PLUGIN_ABI) {
        snprintf(text, CR_TEXT, "%.300s: made for another version of the library (interface %d, expected %d): build it anew",
                 path, (int)plugin->abi, (int)RANKS_PLUGIN_ABI);
        plugin = NULL;
    }
    return plugin;
}
