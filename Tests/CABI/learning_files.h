/* A folder for what the programs about learning write, and their files of data. */
#ifndef LEARNING_FILES_H
#define LEARNING_FILES_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <limits.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "scratch.h"

/* Each program uses some of these. */
#ifndef SHARED
#define SHARED __attribute__((unused)) static
#endif

/* ---- a folder of our own ---- */

/* The path of `name` in the folder; valid for the next 32 calls. */
SHARED const char *in_place(const char *name) {
    static char paths[32][192];
    static int next;
    char *path = paths[next++ % 32];
    snprintf(path, sizeof paths[0], "%s/%s", scratch_folder(), name);
    return path;
}

/* ---- data ---- */

/* A file of a head and elements. */
SHARED const char *write_data(const char *name, const void *head, size_t length, const void *data, size_t bytes) {
    const char *path = in_place(name);
    FILE *file = fopen(path, "wb");
    CHECK(file && fwrite(head, 1, length, file) == length && fwrite(data, 1, bytes, file) == bytes && !fclose(file), "no %s",
          path);
    return path;
}

/* An array in NumPy's format: a head of 128 bytes, then the elements. */
SHARED const char *write_npy(const char *name, const char *type, const char *shape, const void *data, size_t bytes) {
    char head[128];
    memset(head, ' ', sizeof head);
    memcpy(head, "\x93NUMPY\x01\x00\x76\x00", 10);
    char text[119];
    int count = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", type, shape);
    CHECK(count > 0 && count < 118, "a head of %d bytes", count);
    memcpy(head + 10, text, (size_t)count);
    head[127] = '\n';
    return write_data(name, head, sizeof head, data, bytes);
}

#endif
