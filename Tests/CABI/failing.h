/* What the programs about refused memory share: refusing each allocation or thread of a whole use, once and from then on. */
#ifndef FAILING_H
#define FAILING_H

#include "check.h"
#include "faults.h"

enum { LIMIT = 1000000, LARGE_BLOCK = 4096 };

static atomic_int refusals;
static int small_too; /* blocks of any size are refused */

/* One whole use of the library; returns whether all of it succeeded. */
static int use(void);

/* Called after each use with nothing refused any more: what was made is looked at and closed. */
static void settle(void);

/* Counts DA_NO_MEMORY; any other failure is one of the test too, but that libjansson goes on without a refused word:
 * a syntax error, or a tensor of another name. A failed call has made nothing. */
static int good(const char *what, int32_t status, int32_t success, const void *made) {
    CHECK(status == success || status == DA_NO_MEMORY || (small_too && (status == DA_FORMAT || status == DA_INCOMPATIBLE)),
          "%s gives %s: %s", what, da_status_name(status), da_last_error());
    if (status == success) return 1;
    refusals++;
    CHECK(!made, "%s failed and made %p", what, made);
    CHECK(*da_last_error(), "%s failed without a text", what);
    return 0;
}

static void fail_large(int64_t number, int lasting) { fail_allocation(number, lasting, LARGE_BLOCK); }
static void fail_any(int64_t number, int lasting) { fail_allocation(number, lasting, 0); }

static int whole(void) {
    int done = use();
    settle();
    return done;
}

/* Fails number 1, 1 + step, ... until a use comes to its end untouched; returns how many there were. */
static int64_t every(const char *what, void (*fail)(int64_t number, int lasting), int lasting, int64_t step) {
    CHECK(whole(), "a use without faults fails");
    int64_t number = 1;
    for (; number < LIMIT; number += step) {
        /* Twice: what this way out makes once and keeps is there after the first time. */
        int64_t before = 0, given = 0;
        for (int again = 0; again < 2; again++) {
            before = live_bytes();
            fail(number, lasting);
            use();
            given = faults_given();
            fail(0, 0);
            settle();
        }
        if (!given) break;
        int64_t left = live_bytes() - before;
        CHECK(left <= 0, "%s %lld%s leaves %lld bytes", what, (long long)number, lasting ? " and after" : "", (long long)left);
        if (number / step % 8 == 0) CHECK(whole(), "%s %lld: no use afterwards", what, (long long)number);
    }
    CHECK(whole(), "no use after the last fault");
    CHECK(number < LIMIT, "%s: no end after %d", what, LIMIT);
    printf("%s, %s: %lld of them refused, each %lldth\n", what, lasting ? "from then on" : "once", (long long)number - 1,
           (long long)step);
    return number - 1;
}

/* All of the above, each `step`-th of the blocks of any size. */
static void fail_everything(int64_t step) {
    fail_any(0, 0);
    /* What is made once and kept, such as tables, is made before anything is counted. */
    for (int i = 0; i < 20; i++) CHECK(whole(), "a first use fails");
    for (int lasting = 0; lasting < 2; lasting++) {
        CHECK(every("blocks of 4 KiB or more", fail_large, lasting, 1) > 50, "there are hardly any");
        CHECK(every("threads", fail_thread, lasting, 1) >= 2, "there are hardly any");
        small_too = 1;
        CHECK(every("blocks of any size", fail_any, lasting, step > 0 ? step : 1) > 1000, "there are hardly any");
        small_too = 0;
    }
}

#endif
