/* Trainers and threads: one is used by one thread at a time and says so, also to its own callback; several learn side by side
 * with the bits of serial runs. */
#define _GNU_SOURCE
#include <pthread.h>

#include "learning.h"
#include "surroundings.h"

/* ---- a trainer at work ---- */

/* Every function but cancel says that the trainer is at work, or that it is no more. */
static void all_busy(da_trainer trainer, int32_t expected) {
    char text[16] = "untouched";
    size_t needed = 77;
    da_plan plan = (void *)&plan;
    STATUS(expected, da_trainer_run(trainer, 1, NULL, NULL));
    STATUS(expected, da_trainer_describe(trainer, text, sizeof text, &needed));
    STATUS(expected, da_trainer_evaluate(trainer, 1, text, sizeof text, &needed));
    STATUS(expected, da_trainer_save(trainer, in_place("never")));
    STATUS(expected, da_trainer_restore(trainer, in_place("there")));
    STATUS(expected, da_trainer_plan(trainer, &plan));
    CHECK(!plan, "a busy trainer gave a plan");
    STATUS(expected, da_trainer_export(trainer, in_place("never")));
    CHECK(!strcmp(text, "untouched") && needed == 77 && access(in_place("never"), F_OK), "a busy trainer writes");
}

struct caller {
    da_trainer own, other;
    int closes, closed;
};

static int32_t call_back(void *user, const da_training_event *event) {
    struct caller *caller = user;
    all_busy(caller->own, caller->closed ? DA_INVALID_HANDLE : DA_BUSY);
    STATUS(DA_OK, da_trainer_run(caller->other, 1, NULL, NULL));
    CHECK(described(caller->other, "step") == (double)event->step, "the other one is elsewhere");
    if (caller->closes && event->step == 3) {
        STATUS(DA_OK, da_trainer_close(caller->own));
        STATUS(DA_INVALID_HANDLE, da_trainer_cancel(caller->own));
        caller->closed = 1;
    }
    return 0;
}

static void test_callbacks(void) {
    for (size_t i = 0; i < RECIPES; i++) {
        if (recipes[i].steps == 1) continue;
        for (int closes = 0; closes < 2; closes++) {
            struct caller caller = {new_trainer(&recipes[i], STEPS, ""), new_trainer(&recipes[i], STEPS, ""), closes, 0};
            STATUS(DA_OK, da_trainer_save(caller.own, in_place("there")));
            STATUS(DA_OK, da_trainer_run(caller.own, 0, call_back, &caller));
            struct bytes other = state_of(caller.other);
            if (!closes) same_state(caller.own, other, recipes[i].name);
            STATUS(closes ? DA_INVALID_HANDLE : DA_OK, da_trainer_close(caller.own));
            STATUS(DA_OK, da_trainer_close(caller.other));
            free(other.data);
        }
    }
}

/* ---- side by side ---- */

static atomic_int running;

static int32_t note_start(void *user, const da_training_event *event) {
    (void)user, (void)event;
    running = 1;
    return 0;
}

static void *run_all(void *argument) {
    int32_t status = da_trainer_run(argument, 0, note_start, NULL);
    CHECK(status == DA_OK || status == DA_CANCELLED, "a run gives %s: %s", da_status_name(status), da_last_error());
    return (void *)(intptr_t)status;
}

static void test_second_thread(void) {
    da_trainer trainer = new_trainer(&recipes[12], 1000000, "");
    STATUS(DA_OK, da_trainer_save(trainer, in_place("there")));
    for (int round = 0; round < 10; round++) {
        pthread_t thread;
        void *status;
        running = 0;
        CHECK(!pthread_create(&thread, NULL, run_all, trainer), "no thread");
        while (!running) usleep(100);
        all_busy(trainer, DA_BUSY);
        STATUS(DA_OK, da_trainer_cancel(trainer));
        pthread_join(thread, &status);
        CHECK((intptr_t)status == DA_CANCELLED, "a stopped run gives %d", (int)(intptr_t)status);
        CHECK(described(trainer, "step") > 0, "nothing was made");
    }
    /* Closed while it works: the run ends as if nothing had been. */
    pthread_t thread;
    void *status;
    running = 0;
    CHECK(!pthread_create(&thread, NULL, run_all, trainer), "no thread");
    while (!running) usleep(100);
    STATUS(DA_OK, da_trainer_cancel(trainer));
    STATUS(DA_OK, da_trainer_close(trainer));
    pthread_join(thread, &status);
    CHECK((intptr_t)status == DA_CANCELLED, "a closed run gives %d", (int)(intptr_t)status);
}

static void *cancel_soon(void *argument) {
    usleep(20000);
    STATUS(DA_OK, da_trainer_cancel(argument));
    return NULL;
}

/* A measure is lasting work too. */
static void test_long_measures(void) {
    for (size_t i = 0; i < RECIPES; i++) {
        char text[512] = "untouched";
        da_trainer trainer = new_trainer(&recipes[i], STEPS, "");
        struct bytes before = state_of(trainer);
        pthread_t thread;
        CHECK(!pthread_create(&thread, NULL, cancel_soon, trainer), "no thread");
        STATUS(DA_CANCELLED, da_trainer_evaluate(trainer, 100000, text, sizeof text, NULL));
        pthread_join(thread, NULL);
        CHECK(!strcmp(text, "untouched"), "a stopped measure writes");
        same_state(trainer, before, "after a stopped measure");
        STATUS(DA_OK, da_trainer_close(trainer));
        free(before.data);
    }
}

static void test_side_by_side(void) {
    enum { TOGETHER = 5 };
    const int which[TOGETHER] = {0, 2, 4, 15, 17};
    struct bytes expected[TOGETHER];
    for (int i = 0; i < TOGETHER; i++) {
        da_trainer alone = new_trainer(&recipes[which[i]], 30, "");
        STATUS(DA_OK, da_trainer_run(alone, 0, NULL, NULL));
        expected[i] = state_of(alone);
        STATUS(DA_OK, da_trainer_close(alone));
    }
    for (int round = 0; round < 3; round++) {
        da_trainer trainers[TOGETHER];
        pthread_t threads[TOGETHER];
        for (int i = 0; i < TOGETHER; i++) trainers[i] = new_trainer(&recipes[which[i]], 30, "");
        for (int i = 0; i < TOGETHER; i++) CHECK(!pthread_create(&threads[i], NULL, run_all, trainers[i]), "no thread");
        same("beside trainers");
        for (int i = 0; i < TOGETHER; i++) {
            pthread_join(threads[i], NULL);
            same_state(trainers[i], expected[i], recipes[which[i]].name);
            STATUS(DA_OK, da_trainer_close(trainers[i]));
        }
    }
    for (int i = 0; i < TOGETHER; i++) free(expected[i].data);
}

int main(void) {
    begin();
    test_callbacks();
    test_second_thread();
    test_long_measures();
    test_side_by_side();
    same("at the end");
    STATUS(DA_OK, da_session_close(session));
    STATUS(DA_OK, da_model_close(model));
    return check_summary("training_threads");
}
