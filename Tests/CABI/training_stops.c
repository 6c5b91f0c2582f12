/* Whatever stops a training run - a callback, another thread, a signal handler, at any moment - the trainer stands after a
 * whole step, and going on gives the bits of a run that was never stopped. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include "learning.h"

/* ---- at every step ---- */

struct stopper {
    da_trainer trainer;
    int64_t step;
    int by_call;
};

static int32_t stop_at(void *user, const da_training_event *event) {
    struct stopper *stopper = user;
    if (event->step != stopper->step) return 0;
    if (!stopper->by_call) return stopper->step % 2 ? INT32_MIN : 1;
    STATUS(DA_OK, da_trainer_cancel(stopper->trainer));
    return 0;
}

static void test_every_step(void) {
    for (size_t i = 0; i < RECIPES; i++) {
        int steps = recipes[i].steps;
        struct bytes states[STEPS + 1];
        trace(&recipes[i], STEPS, states);
        for (int by_call = 0; by_call < 2; by_call++) {
            da_trainer trainer = new_trainer(&recipes[i], STEPS, "");
            for (int step = 1; step <= steps; step++) {
                struct stopper stopper = {trainer, step, by_call};
                int32_t status = da_trainer_run(trainer, 0, stop_at, &stopper);
                /* A run that is told to stop after its last step is complete. */
                CHECK(status == (step < steps ? DA_CANCELLED : DA_OK), "%s, step %d: %s", recipes[i].name, step,
                      da_status_name(status));
                same_state(trainer, states[step], recipes[i].name);
            }
            STATUS(DA_OK, da_trainer_close(trainer));
        }
        forget(states, STEPS + 1);
    }
}

/* ---- from outside, at any moment ---- */

static da_trainer running_trainer;
static atomic_int running;

static int32_t note_start(void *user, const da_training_event *event) {
    (void)user, (void)event;
    running = 1;
    return 0;
}

static void *cancel_at_random(void *argument) {
    unsigned seed = *(unsigned *)argument;
    while (!running) {
    }
    for (volatile unsigned i = (unsigned)rand_r(&seed) % 100000; i > 0; i--) {
    }
    da_trainer_cancel(running_trainer);
    return NULL;
}

static void on_alarm(int number) {
    (void)number;
    da_trainer_cancel(running_trainer);
}

/* Runs to the end of `steps` steps however often it is stopped, and compares with an uninterrupted run. */
static void stopped_everywhere(const struct recipe *recipe, int steps, int by_signal) {
    da_trainer plain = new_trainer(recipe, steps, "");
    STATUS(DA_OK, da_trainer_run(plain, 0, NULL, NULL));
    struct bytes expected = state_of(plain);
    STATUS(DA_OK, da_trainer_close(plain));
    int stops = 0;
    int32_t status = DA_CANCELLED;
    running_trainer = new_trainer(recipe, steps, "");
    for (unsigned round = 0; status == DA_CANCELLED && round < 3000; round++) {
        pthread_t thread;
        unsigned seed = round;
        running = 0;
        if (by_signal) {
            /* Ever later: a step that takes long, under a sanitizer on a busy machine, comes to its end too. */
            useconds_t soon = 1000 + round * 37 % 9000 + round * round / 100;
            setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {0, soon < 900000 ? soon : 900000}}, NULL);
        } else {
            CHECK(!pthread_create(&thread, NULL, cancel_at_random, &seed), "no thread");
        }
        status = da_trainer_run(running_trainer, 0, note_start, NULL);
        CHECK(status == DA_OK || status == DA_CANCELLED, "a run that is stopped gives %s: %s", da_status_name(status),
              da_last_error());
        running = 1;
        if (!by_signal) pthread_join(thread, NULL);
        stops += status == DA_CANCELLED;
    }
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {0, 0}}, NULL);
    CHECK(stops > 0 && status == DA_OK, "%s was stopped %d times and then gives %s", recipe->name, stops,
          da_status_name(status));
    same_state(running_trainer, expected, recipe->name);
    printf("%s, %s: stopped %d times in %d steps\n", recipe->name, by_signal ? "by signals" : "by a thread", stops, steps);
    STATUS(DA_OK, da_trainer_close(running_trainer));
    free(expected.data);
}

static void test_outside(void) {
    signal(SIGALRM, on_alarm);
    for (size_t i = 0; i < RECIPES; i++) {
        if (recipes[i].steps == 1) continue;
        stopped_everywhere(&recipes[i], 60, 0);
        stopped_everywhere(&recipes[i], 60, 1);
    }
    signal(SIGALRM, SIG_DFL);
}

int main(void) {
    test_every_step();
    test_outside();
    return check_summary("training_stops");
}
