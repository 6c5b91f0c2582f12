/* How many processors the calling thread may use: the least of those that are online, those it is allowed to run on, and what
 * the quotas of its control groups amount to. What cannot be found out sets no limit. */
#define _GNU_SOURCE
#include "include/ckernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }

/* Through the system call, which fills as many words as this kernel has, unlike the library's set of 1024. */
static int64_t allowed(void) {
    unsigned long mask[1024];
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    int64_t count = 0;
    for (long i = 0; i < bytes / (long)sizeof *mask; i++) count += __builtin_popcountl(mask[i]);
    return count > 0 ? count : INT64_MAX;
}

/* ---- quotas of control groups: all texts are allocated, for stacks may be small ---- */

static FILE *open_in(const char *folder, const char *name) {
    char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, name) < 0) return NULL;
    FILE *file = fopen(path, "re");
    free(path);
    return file;
}

/* A line without its end in *line, which the caller frees; 0 behind the last one. */
static int next_line(FILE *file, char **line) {
    size_t capacity = 0;
    free(*line);
    *line = NULL;
    if (getline(line, &capacity, file) < 0) return 0;
    (*line)[strcspn(*line, "\n")] = '\0';
    return 1;
}

/* The first word of a file, a number, and the second; 0 for what is none ("max"). */
static void read_numbers(const char *folder, const char *name, int64_t *first, int64_t *second) {
    FILE *file = open_in(folder, name);
    if (!file) return;
    char line[128];
    if (fgets(line, sizeof line, file)) {
        char *rest = line;
        *first = strtoll(line, &rest, 10);
        if (rest == line) rest = line + strcspn(line, " ");
        *second = strtoll(rest, NULL, 10);
    }
    fclose(file);
}

/* The quota of the group whose folder this is, in the files of the second version or of the first. A fraction of a processor
 * counts as one. */
static int64_t quota_in(const char *folder) {
    int64_t quota = 0, period = 0, none;
    read_numbers(folder, "cpu.max", &quota, &period);
    if (quota <= 0) {
        read_numbers(folder, "cpu.cfs_quota_us", &quota, &none);
        read_numbers(folder, "cpu.cfs_period_us", &period, &none);
    }
    return quota > 0 && period > 0 ? (quota - 1) / period + 1 : INT64_MAX;
}

/* The least quota of the groups from `mount` down to `path` below it. */
static int64_t quota_along(const char *root, const char *mount, const char *path) {
    char *folder = NULL;
    if (asprintf(&folder, "%s%s%s", root, mount, path) < 0) return INT64_MAX;
    size_t top = strlen(root) + strlen(mount);
    int64_t least = quota_in(folder);
    for (size_t end = strlen(folder); end > top;) {
        while (end > top && folder[end - 1] != '/') end--;
        if (end > top) end--;
        folder[end] = '\0';
        least = lesser(least, quota_in(folder));
    }
    free(folder);
    return least;
}

/* In a list of words with commas between them. */
static int lists(const char *list, const char *word) {
    size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += length)
        if ((at == list || at[-1] == ',') && (at[length] == ',' || at[length] == '\0')) return 1;
    return 0;
}

/* The path of this thread's group in the second version's hierarchy, or in the first's that shares out processors; the caller
 * frees it. Null when there is none. */
static char *group_path(const char *root, int second) {
    FILE *file = open_in(root, "proc/thread-self/cgroup");
    if (!file) file = open_in(root, "proc/self/cgroup");
    if (!file) return NULL;
    char *line = NULL, *path = NULL;
    while (!path && next_line(file, &line)) {
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group || group[1] != '/') continue;
        *group = '\0';
        if (second ? controllers[1] == '\0' : lists(controllers + 1, "cpu")) path = strdup(group + 1);
    }
    free(line);
    fclose(file);
    return path;
}

/* Blanks and other separators are written as \040 in the list of mounts. "/" becomes nothing. */
static void unescape(char *text) {
    if (strcmp(text, "/") == 0) *text = '\0';
    char *to = text;
    for (const char *from = text; *from; to++) {
        int escaped = from[0] == '\\' && strspn(from + 1, "01234567") >= 3;
        *to = escaped ? (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + from[3] - '0') : *from;
        from += escaped ? 4 : 1;
    }
    *to = '\0';
}

/* Of one line of the list of mounts: the quota of the group there that this thread is in. What is mounted begins at `top` of
 * the hierarchy: a container sees its own group there, whatever its path is outside. */
static int64_t quota_of_mount(const char *root, char *line) {
    char *words[5] = {NULL}, *kind[3] = {NULL}, *rest = NULL, *tail = strstr(line, " - ");
    if (!tail) return INT64_MAX;
    *tail = '\0';
    for (int i = 0; i < 5; i++) words[i] = strtok_r(i == 0 ? line : NULL, " ", &rest);
    for (int i = 0; i < 3; i++) kind[i] = strtok_r(i == 0 ? tail + 3 : NULL, " ", &rest);
    if (!words[4] || !kind[0]) return INT64_MAX;
    int second = strcmp(kind[0], "cgroup2") == 0;
    if (!second && (strcmp(kind[0], "cgroup") != 0 || !kind[2] || !lists(kind[2], "cpu"))) return INT64_MAX;
    char *path = group_path(root, second), *top = words[3], *mount = words[4];
    if (!path) return INT64_MAX;
    unescape(top);
    unescape(mount);
    size_t shared = strlen(top);
    int inside = strncmp(path, top, shared) == 0 && (path[shared] == '/' || path[shared] == '\0') && !strstr(path, "/..");
    int64_t least = quota_along(root, mount, inside && strcmp(path, "/") != 0 ? path + shared : "");
    free(path);
    return least;
}

int64_t ck_processor_quota(const char *root) {
    FILE *file = open_in(root, "proc/self/mountinfo");
    if (!file) return 0;
    int64_t least = INT64_MAX;
    char *line = NULL;
    while (next_line(file, &line)) least = lesser(least, quota_of_mount(root, line));
    free(line);
    fclose(file);
    return least == INT64_MAX ? 0 : least;
}

int32_t ck_processors(void) {
    int64_t count = lesser(sysconf(_SC_NPROCESSORS_ONLN), allowed()), quota = ck_processor_quota("");
    if (quota > 0) count = lesser(count, quota);
    return (int32_t)(count < 1 ? 1 : count > CK_MAX_THREADS ? CK_MAX_THREADS : count);
}
