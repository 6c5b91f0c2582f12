/* fork: before the first use, with idle sessions, while other threads sample; children and parents go on. */
#define _GNU_SOURCE
#include <pthread.h>

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
    da_request *request = argument;
    da_result result = NULL;
    STATUS(DA_CANCELLED, da_session_sample(busy_session, request, &result));
    return NULL;
}

/* The session that another thread of the parent was using: any status will do, but no hang. */
static void child_touches_busy(void) {
    da_request request = check_request();
    request.steps = 1;
    da_result result = NULL;
    int32_t status = da_session_sample(busy_session, &request, &result);
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
    da_request request = check_request();
    request.steps = 1000;
    request.callback = note_busy;
    pthread_t thread;
    CHECK(!pthread_create(&thread, NULL, work, &request), "no thread");
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

int main(void) {
    /* The child uses a library that its parent has loaded but never called. */
    in_child("fork before the first use", child_starts_afresh);
    begin();
    test_fork();
    same("at the end");
    STATUS(DA_OK, da_session_close(session));
    STATUS(DA_OK, da_model_close(model));
    return check_summary("fork");
}
