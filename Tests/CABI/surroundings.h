/* What the programs about odd surroundings share: a session whose samples are known, and children that may come to harm. */
#ifndef SURROUNDINGS_H
#define SURROUNDINGS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/* Each program uses some of these. */
#define SHARED __attribute__((unused)) static

enum { N = 2 * TINY_STATE };

static da_model model;
static da_session session;
static float expected[N];

SHARED void begin(void) {
    model = check_model();
    session = check_session(model, NULL, 2);
    STATUS(DA_OK, check_sample(session, check_request, expected));
}

/* Samples once more and compares; `what` says under which circumstances. */
SHARED void same(const char *what) {
    float found[N];
    STATUS(DA_OK, check_sample(session, check_request, found));
    CHECK(!memcmp(found, expected, sizeof found), "%s: other values", what);
}

SHARED void child_starts_afresh(void) {
    da_model own = check_model();
    da_session made = check_session(own, NULL, 2);
    float found[N];
    STATUS(DA_OK, check_sample(made, check_request, found));
    STATUS(DA_OK, da_session_close(made));
    STATUS(DA_OK, da_model_close(own));
}

/* Runs `body` in a child and expects exit code 0 within seconds. */
SHARED void in_child(const char *what, void (*body)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(20); /* a deadlock becomes a failure */
        int before = checks_failed;
        body();
        _exit(checks_failed == before ? 0 : 1);
    }
    int end = -1;
    while (waitpid(child, &end, 0) < 0 && errno == EINTR) {
    }
    CHECK(WIFEXITED(end) && WEXITSTATUS(end) == 0, "%s: the child ends with %x", what, (unsigned)end);
}

#endif
