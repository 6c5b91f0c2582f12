/* Who this process is, and when another one ends. */
#define _GNU_SOURCE
#include "cranks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void cr_host(char *text) {
    if (gethostname(text, CR_TEXT) != 0) snprintf(text, CR_TEXT, "?");
    text[CR_TEXT - 1] = 0;
}

void cr_machine(char *text) {
    char boot[64] = "";
    int source = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (source >= 0) {
        ssize_t count = read(source, boot, sizeof boot - 1);
        boot[count > 0 ? count : 0] = 0;
        boot[strcspn(boot, "\n")] = 0;
        close(source);
    }
    struct stat space;
    unsigned long long number = stat("/proc/self/ns/pid", &space) == 0 ? (unsigned long long)space.st_ino : 0;
    /* Where either is unknown, nobody is taken for a neighbour; nor where tests want ranks to be as if on machines of their
     * own. */
    if (!boot[0] || !number || getenv("DIFFACCEL_RANKS_APART")) snprintf(boot, sizeof boot, "?%ld", (long)getpid());
    snprintf(text, CR_TEXT, "%s/%llu", boot, number);
}

int32_t cr_process(void) { return (int32_t)getpid(); }

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

int32_t cr_watch(int32_t process) {
    long watch = syscall(SYS_pidfd_open, process, 0);
    if (watch >= 0) return (int32_t)watch;
    return errno == ESRCH ? -1 : -2;
}

/* How a process ended, as Linux 6.15 and later tell once its parent knows: its wait status, or -1. */
static int wait_status(int32_t watch) {
    struct {
        uint64_t mask, group;
        uint32_t numbers[11];
        int32_t status;
    } info;
    for (int attempt = 0; attempt < 10; attempt++) {
        memset(&info, 0, sizeof info);
        info.mask = 1 << 3;
        if (ioctl(watch, _IOWR(0xff, 11, info), &info) == 0 && (info.mask & 1 << 3)) return info.status;
        struct timespec moment = {0, 2000000};
        nanosleep(&moment, NULL);
    }
    return -1;
}

int32_t cr_ended(int32_t watch) {
    struct pollfd entry = {.fd = watch, .events = POLLIN};
    if (poll(&entry, 1, 0) != 1 || !(entry.revents & (POLLIN | POLLHUP))) return 0;
    int status = wait_status(watch);
    return status >= 0 && WIFSIGNALED(status) ? 1 + WTERMSIG(status) : 1;
}
