/* Stopping a run at every step and from every side; afterwards the session gives the bits of a fresh one. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "check.h"

enum { N = 2 * TINY_STATE, STEPS = 6 };

static da_model model;
static const char *plans[] = {NULL, "{\"method\":\"l2c\",\"policy\":\"alternate\"}",
                              "{\"method\":\"l2c\",\"policy\":\"interval\",\"interval\":3}"};
static const char *samplers[] = {"ddim", "ddpm"};

static da_session new_session(const char *json) {
    da_plan plan = NULL;
    if (json) STATUS(DA_OK, da_plan_parse(json, strlen(json), &plan));
    da_session session = check_session(model, plan, 2);
    if (plan) STATUS(DA_OK, da_plan_close(plan));
    return session;
}

/* How a run is stopped at a step. */
struct stopper {
    da_session session;
    int step, calls, by_call;
    int32_t value;
};

static int32_t stop_at(void *user, const da_event *event) {
    struct stopper *stopper = user;
    stopper->calls++;
    if (event->step != stopper->step) return 0;
    if (!stopper->by_call) return stopper->value;
    STATUS(DA_OK, da_session_cancel(stopper->session));
    return 0;
}

static void test_every_step(void) {
    const int32_t values[] = {1, -1, 77, INT32_MIN, INT32_MAX, 256};
    for (size_t p = 0; p < 3; p++)
        for (size_t s = 0; s < 2; s++) {
            float expected[N], found[N];
            char request[128];
            snprintf(request, sizeof request, REQUEST(",\"steps\":6,\"guidance\":2,\"sampler\":\"%s\""), samplers[s]);
            da_session fresh = new_session(plans[p]);
            STATUS(DA_OK, check_sample(fresh, request, expected));
            STATUS(DA_OK, da_session_close(fresh));
            da_session session = new_session(plans[p]);
            for (int step = 1; step <= STEPS; step++)
                for (int by_call = 0; by_call < 2; by_call++) {
                    struct stopper stopper = {session, step, 0, by_call, values[step - 1]};
                    int32_t status = check_sample_with(session, request, NULL, 0, stop_at, &stopper, found);
                    /* A run that is told to stop after its last step may as well be complete. */
                    CHECK(status == DA_CANCELLED || (status == DA_OK && step == STEPS), "step %d: %s", step,
                          da_status_name(status));
                    CHECK(stopper.calls == step, "stopped at %d, the callback was called %d times", step, stopper.calls);
                    STATUS(DA_OK, check_sample(session, request, found));
                    CHECK(!memcmp(expected, found, sizeof expected), "after a stop at step %d the samples differ", step);
                }
            STATUS(DA_OK, da_session_close(session));
        }
}

/* ---- from another thread and from a signal handler ---- */

static da_session long_session;
static atomic_int running, steps, steps_at_stop;

static int32_t note_start(void *user, const da_event *event) {
    (void)user, (void)event;
    steps++;
    running = 1;
    return 0;
}

static void *cancel_soon(void *argument) {
    while (!running) usleep(100);
    usleep((useconds_t)(size_t)argument);
    STATUS(DA_OK, da_session_cancel(long_session));
    steps_at_stop = steps;
    return NULL;
}

static void on_alarm(int number) {
    (void)number;
    if (!running) {
        /* Too early on a slow machine: there is nothing to stop yet. */
        setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {0, 20000}}, NULL);
        return;
    }
    da_session_cancel(long_session);
    steps_at_stop = steps;
}

static void test_other_threads(void) {
    da_model larger = NULL;
    STATUS(DA_OK, da_model_open(larger_checkpoint(128, 6, 16), NULL, &larger));
    long_session = check_session(larger, NULL, 2);
    const char request[] = "{\"labels\":[1,2,3,4],\"seed\":3,\"steps\":1000}";
    da_result result = NULL;
    for (int round = 0; round < 20; round++) {
        running = steps = 0;
        pthread_t thread;
        if (round % 4 != 3) {
            CHECK(!pthread_create(&thread, NULL, cancel_soon, (void *)(size_t)(round * 1700)), "no thread");
        } else {
            signal(SIGALRM, on_alarm);
            ualarm(20000 + (useconds_t)round * 1000, 0);
        }
        STATUS(DA_CANCELLED, check_told(long_session, request, note_start, NULL, &result));
        CHECK(!result, "a cancelled run has a result");
        if (round % 4 != 3) pthread_join(thread, NULL);
        /* Steps are counted, not time: at most the one whose network had come to its end goes on to be told. */
        CHECK(steps - steps_at_stop <= 1, "%d steps are told after the stop", steps - steps_at_stop);
    }
    /* A cancellation without a run does nothing to the next one. */
    STATUS(DA_OK, da_session_cancel(long_session));
    STATUS(DA_OK, da_session_cancel(long_session));
    STATUS(DA_OK, check_run(long_session, REQUEST(",\"steps\":2"), &result));
    STATUS(DA_OK, da_result_close(result));
    STATUS(DA_OK, da_session_close(long_session));
    STATUS(DA_OK, da_model_close(larger));
}

/* At any moment of a run, on a model so small that every moment is met; then the bits of a run that was never stopped. */
static void *cancel_at_random(void *argument) {
    unsigned seed = *(unsigned *)argument;
    while (!running) {
    }
    for (volatile unsigned i = rand_r(&seed) % 200000; i > 0; i--) {
    }
    STATUS(DA_OK, da_session_cancel(long_session));
    return NULL;
}

static void test_random_moments(void) {
    float expected[N], found[N];
    int stopped = 0, complete = 0;
    long_session = new_session(plans[1]);
    STATUS(DA_OK, check_sample(long_session, check_request, expected));
    for (unsigned round = 0; round < 300; round++) {
        pthread_t thread;
        unsigned seed = round;
        running = 0;
        CHECK(!pthread_create(&thread, NULL, cancel_at_random, &seed), "no thread");
        int32_t status = check_sample_with(long_session, check_request, NULL, 0, note_start, NULL, found);
        CHECK(status == DA_OK || status == DA_CANCELLED, "a run that is stopped gives %s", da_status_name(status));
        if (status == DA_OK) CHECK(!memcmp(expected, found, sizeof found), "a complete run gives other values");
        status == DA_OK ? complete++ : stopped++;
        pthread_join(thread, NULL);
        STATUS(DA_OK, check_sample(long_session, check_request, found));
        CHECK(!memcmp(expected, found, sizeof found), "after a stop the samples differ");
    }
    CHECK(stopped > 0, "of 300 runs none was stopped");
    STATUS(DA_OK, da_session_close(long_session));
}

/* ---- what a callback may call ---- */

struct caller {
    da_session own, other;
    da_model model;
    float other_latents[N];
    int closes, closed;
};

static int32_t call_back(void *user, const da_event *event) {
    struct caller *caller = user;
    CHECK(event->struct_size == sizeof *event && event->steps == STEPS && event->step >= 1 && event->step <= STEPS,
          "event %d of %d", event->step, event->steps);
    da_tensor state = {.struct_size = sizeof state};
    STATUS(DA_OK, da_event_tensor(event, "latents", &state));
    CHECK(state.data && state.shape[0] == 2 && state.shape[1] == TINY_CHANNELS && state.shape[3] == TINY_SIDE, "state");
    da_result result = (void *)&result;
    size_t needed;
    char text[1 << 15];
    STATUS(DA_OK, da_event_describe(event, text, sizeof text, &needed));
    int computed = -1, reused = -1, skipped = -1;
    const char *sites = strstr(text, "\"computed\":");
    if (sites) sscanf(sites, "\"computed\":%d", &computed);
    if ((sites = strstr(text, "\"reused\":"))) sscanf(sites, "\"reused\":%d", &reused);
    if ((sites = strstr(text, "\"skipped\":"))) sscanf(sites, "\"skipped\":%d", &skipped);
    CHECK(computed + reused + skipped == TINY_SITES, "sites in %s", text);
    STATUS(caller->closed ? DA_INVALID_HANDLE : DA_BUSY, check_run(caller->own, check_request, &result));
    CHECK(!result, "a busy session gave a result");
    /* An estimate touches nothing of the run, so it may be answered. */
    int32_t status = check_estimate(caller->own, check_request, text, sizeof text, &needed);
    CHECK(status == (caller->closed ? DA_INVALID_HANDLE : DA_BUSY) || (status == DA_OK && !caller->closed), "estimate gives %s",
          da_status_name(status));
    STATUS(DA_OK, da_model_describe(caller->model, text, sizeof text, &needed));
    STATUS(DA_OK, check_sample(caller->other, check_request, caller->other_latents));
    if (caller->closes && !caller->closed) {
        /* The run ends normally or the session is busy, as the header has it; either way nothing breaks. */
        status = da_session_close(caller->own);
        CHECK(status == DA_OK || status == DA_BUSY, "closing gives %s", da_status_name(status));
        caller->closed = status == DA_OK;
    }
    return 0;
}

static void test_reentrancy(void) {
    for (int closes = 0; closes < 2; closes++) {
        float expected[N], found[N];
        struct caller caller = {
            .own = check_session(model, NULL, 2), .other = check_session(model, NULL, 1), .model = model, .closes = closes};
        STATUS(DA_OK, check_sample(caller.own, check_request, expected));
        STATUS(DA_OK, check_sample_with(caller.own, check_request, NULL, 0, call_back, &caller, found));
        CHECK(!memcmp(expected, found, sizeof found), "a busy callback changes the samples");
        STATUS(caller.closed ? DA_INVALID_HANDLE : DA_OK, da_session_close(caller.own));
        STATUS(DA_OK, da_session_close(caller.other));
    }
}

int main(void) {
    model = check_model();
    test_every_step();
    test_other_threads();
    test_random_moments();
    test_reentrancy();
    STATUS(DA_OK, da_model_close(model));
    return check_summary("cancel");
}
