/* fork: before the first use, with idle sessions and trainers, while other threads sample or learn; children and parents go on.
 */
#define _GNU_SOURCE
#include <pthread.h>

#include "learning.h"
#include "surroundings.h"

static void child_uses_inherited(void) { same("inherited session"); }

static void grandchild(void) { in_child("grandchild", child_uses_inherited); }

static da_session busy_session;
static atomic_int busy_started;

static int32_t note_busy(void *user, const da_event *event) {
    (void)user, (void)event;
    busy_started = 1;
    return 0;
}

static void *work(void *argument) {
    da_result result = NULL;
    STATUS(DA_CANCELLED, check_told(busy_session, argument, note_busy, NULL, &result));
    return NULL;
}

/* ---- a fork inside the event callback: both go on with the run ---- */

static pid_t forked;
static int32_t fork_once(void *user, const da_event *event) {
    (void)user, (void)event;
    if (forked < 0) forked = fork();
    if (forked == 0) alarm(20);
    return 0;
}

static void test_fork_in_callback(void) {
    float found[N];
    forked = -1;
    fflush(stdout);
    int32_t status = check_sample_with(session, check_request, NULL, 0, fork_once, NULL, found);
    int good = status == DA_OK && !memcmp(found, expected, sizeof found);
    if (forked == 0) _exit(good ? 0 : 1);
    CHECK(good, "after a fork in the callback: %s", da_status_name(status));
    int end = -1;
    waitpid(forked, &end, 0);
    CHECK(WIFEXITED(end) && WEXITSTATUS(end) == 0, "forked in the callback: the child ends with %x", (unsigned)end);
}

/* The session that another thread of the parent was using: any status will do, but no hang. */
static void child_touches_busy(void) {
    da_result result = NULL;
    int32_t status = check_run(busy_session, REQUEST(",\"steps\":1"), &result);
    CHECK(status <= DA_MORE && status > DA_INTERNAL, "a session in use during fork gives %s", da_status_name(status));
    if (result) da_result_close(result);
    da_session_cancel(busy_session);
    da_session_close(busy_session);
    child_starts_afresh();
}

static void test_fork(void) {
    for (int i = 0; i < 5; i++) {
        in_child("inherited session", child_uses_inherited);
        in_child("new session", child_starts_afresh);
        same("after fork");
    }
    in_child("child of a child", grandchild);
    da_model larger = NULL;
    STATUS(DA_OK, da_model_open(larger_checkpoint(128, 6, 16), NULL, &larger));
    busy_session = check_session(larger, NULL, 2);
    static char request[] = REQUEST(",\"steps\":1000");
    pthread_t thread;
    CHECK(!pthread_create(&thread, NULL, work, request), "no thread");
    while (!busy_started) usleep(1000);
    for (int i = 0; i < 25; i++) {
        in_child("fork while another thread samples", child_starts_afresh);
        in_child("fork while another thread samples, its session", child_touches_busy);
    }
    STATUS(DA_OK, da_session_cancel(busy_session));
    pthread_join(thread, NULL);
    STATUS(DA_OK, da_session_close(busy_session));
    STATUS(DA_OK, da_model_close(larger));
}

/* ---- trainers ---- */

static atomic_int learning;

static int32_t note_step(void *user, const da_training_event *event) {
    (void)user, (void)event;
    learning = 1;
    return 0;
}

static void *learn(void *argument) {
    STATUS(DA_CANCELLED, da_trainer_run(argument, 0, note_step, NULL));
    return NULL;
}

static da_trainer busy_trainer, idle_trainer;
static struct bytes idle_end;

static void child_learns(void) {
    da_trainer own = new_trainer(&recipes[4], STEPS, "");
    STATUS(DA_OK, da_trainer_run(own, 0, NULL, NULL));
    STATUS(DA_OK, da_trainer_close(own));
}

static void child_goes_on(void) {
    STATUS(DA_OK, da_trainer_run(idle_trainer, 0, NULL, NULL));
    char name[32];
    snprintf(name, sizeof name, "child-%d", (int)getpid());
    STATUS(DA_OK, da_trainer_save(idle_trainer, in_place(name)));
    struct bytes found = read_file(in_place(name));
    CHECK(same_bytes(found, idle_end), "a child learns something else");
    unlink(in_place(name));
}

/* The trainer that another thread of the parent was using: any status will do, but no hang. */
static void child_touches_trainer(void) {
    int32_t status = da_trainer_run(busy_trainer, 1, NULL, NULL);
    CHECK(status <= DA_MORE && status > DA_INTERNAL, "a trainer in use during fork gives %s", da_status_name(status));
    da_trainer_cancel(busy_trainer);
    da_trainer_close(busy_trainer);
    child_learns();
}

static void test_trainers(void) {
    idle_trainer = new_trainer(&recipes[12], STEPS, "");
    STATUS(DA_OK, da_trainer_run(idle_trainer, 2, NULL, NULL));
    da_trainer whole = new_trainer(&recipes[12], STEPS, "");
    STATUS(DA_OK, da_trainer_run(whole, 0, NULL, NULL));
    idle_end = state_of(whole);
    STATUS(DA_OK, da_trainer_close(whole));
    busy_trainer = new_trainer(&recipes[13], 1000000, "");
    pthread_t thread;
    learning = 0;
    CHECK(!pthread_create(&thread, NULL, learn, busy_trainer), "no thread");
    while (!learning) usleep(100);
    for (int i = 0; i < 10; i++) {
        in_child("a child's own trainer", child_learns);
        in_child("an inherited trainer", child_goes_on);
        in_child("a trainer in use", child_touches_trainer);
    }
    STATUS(DA_OK, da_trainer_cancel(busy_trainer));
    pthread_join(thread, NULL);
    STATUS(DA_OK, da_trainer_close(busy_trainer));
    STATUS(DA_OK, da_trainer_run(idle_trainer, 0, NULL, NULL));
    same_state(idle_trainer, idle_end, "after children");
    STATUS(DA_OK, da_trainer_close(idle_trainer));
    free(idle_end.data);
}

int main(void) {
    /* The child uses a library that its parent has loaded but never called. */
    in_child("fork before the first use", child_starts_afresh);
    begin();
    test_fork();
    for (int i = 0; i < 5; i++) test_fork_in_callback();
    test_trainers();
    same("at the end");
    STATUS(DA_OK, da_session_close(session));
    STATUS(DA_OK, da_model_close(model));
    return check_summary("fork");
}
