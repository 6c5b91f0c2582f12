/* What a process holds at this moment: memory, files, threads, mappings. */
#ifndef PROCESS_H
#define PROCESS_H

#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct held {
    long resident; /* bytes */
    int files, threads, mappings;
};

static inline int process_entries(const char *folder) {
    int count = 0;
    DIR *open = opendir(folder);
    for (struct dirent *entry; open && (entry = readdir(open));) count += entry->d_name[0] != '.';
    if (open) closedir(open);
    return count;
}

static inline struct held process_held(void) {
    struct held held = {0};
    long unused;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%ld %ld", &unused, &held.resident) != 2) held.resident = 0;
    if (file) fclose(file);
    held.resident *= sysconf(_SC_PAGESIZE);
    file = fopen("/proc/self/maps", "r");
    for (int c; file && (c = getc(file)) != EOF;) held.mappings += c == '\n';
    if (file) fclose(file);
    held.files = process_entries("/proc/self/fd");
    held.threads = process_entries("/proc/self/task");
    return held;
}

/* Bytes that the allocator has handed out. Chunks parked in a thread's cache count among them, and how many are parked is up to
 * the scheduler: run.sh turns these caches off (GLIBC_TUNABLES). Without that, and under a sanitizer, there is no count: 0. */
static inline long long process_allocated(void) {
    const char *tunables = getenv("GLIBC_TUNABLES");
    return tunables && strstr(tunables, "tcache_count=0") ? (long long)mallinfo2().uordblks : 0;
}

/* A joined thread's entry may outlive it for a moment: waits until there are `count` threads, or about a second. */
static inline int process_threads(int count) {
    for (int i = 0; i < 100 && process_entries("/proc/self/task") > count; i++) usleep(10000);
    return process_entries("/proc/self/task");
}

#endif
