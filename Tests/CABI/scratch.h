/* A folder of the program's own, in memory where that is possible, which goes when the program ends (not when a child of it
 * does). */
#ifndef SCRATCH_H
#define SCRATCH_H

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch_path[64];
static pid_t scratch_owner;

static inline void remove_tree(const char *path) {
    DIR *stream = opendir(path);
    for (struct dirent *entry; stream && (entry = readdir(stream));) {
        char full[PATH_MAX];
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (snprintf(full, sizeof full, "%s/%s", path, entry->d_name) >= (int)sizeof full) continue;
        if (unlink(full)) remove_tree(full);
    }
    if (stream) closedir(stream);
    rmdir(path);
}

static inline void scratch_remove(void) {
    if (getpid() == scratch_owner) remove_tree(scratch_path);
}

static inline const char *scratch_folder(void) {
    if (scratch_path[0]) return scratch_path;
    strcpy(scratch_path, access("/dev/shm", W_OK) ? "/tmp/diffaccel-test-XXXXXX" : "/dev/shm/diffaccel-test-XXXXXX");
    if (!mkdtemp(scratch_path)) exit(2);
    scratch_owner = getpid();
    atexit(scratch_remove);
    return scratch_path;
}

#endif
