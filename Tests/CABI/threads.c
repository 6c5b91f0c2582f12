/* Sessions in threads of their own over one model, one session in two threads, and handles that come and go. */
#define _GNU_SOURCE
#include <pthread.h>
#include <unistd.h>

#include "check.h"
#include "process.h"

enum { N = 2 * TINY_STATE, THREADS = 8, ROUNDS = 25, STORM = 100000 };

static da_model model;
static float expected[THREADS][N];

static const char *request_of(int index) {
    return quoted("{'labels':[1,2],'steps':6,'seed':%d,'sampler':'%s','guidance':%d}", index, index % 2 ? "ddpm" : "ddim",
                  1 + index);
}

static void *sample_in_thread(void *argument) {
    int index = (int)(size_t)argument;
    float found[N];
    for (int round = 0; round < ROUNDS; round++) {
        /* Weights of its own and shared ones by turns. */
        da_model own = round % 2 ? check_model() : NULL;
        da_session session = check_session(own ? own : model, NULL, 2);
        if (own) STATUS(DA_OK, da_model_close(own));
        for (int again = 0; again < 3; again++) {
            STATUS(DA_OK, check_sample(session, request_of(index), found));
            CHECK(!memcmp(found, expected[index], sizeof found), "thread %d gives other values than the serial run", index);
        }
        STATUS(DA_OK, da_session_close(session));
    }
    return NULL;
}

static void test_shared_model(void) {
    da_session session = check_session(model, NULL, 2);
    for (int i = 0; i < THREADS; i++) {
        STATUS(DA_OK, check_sample(session, request_of(i), expected[i]));
    }
    STATUS(DA_OK, da_session_close(session));
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) CHECK(!pthread_create(&threads[i], NULL, sample_in_thread, (void *)i), "no thread");
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

/* ---- one session, two threads ---- */

static da_session shared;

static void *second_thread(void *argument) {
    (void)argument;
    float found[N];
    size_t needed;
    /* An estimate touches nothing of the run, so it may be answered. */
    int32_t status = check_estimate(shared, check_request, NULL, 0, &needed);
    CHECK(status == DA_BUSY || status == DA_MORE, "estimate gives %s", da_status_name(status));
    STATUS(DA_BUSY, check_sample(shared, check_request, found));
    CHECK(*da_last_error(), "no text in the second thread");
    return NULL;
}

static int32_t start_second(void *user, const da_event *event) {
    (void)user, (void)event;
    pthread_t thread;
    CHECK(!pthread_create(&thread, NULL, second_thread, NULL), "no thread");
    pthread_join(thread, NULL);
    return 0;
}

static atomic_int finished, busy;

static void *hammer(void *argument) {
    (void)argument;
    float found[N];
    for (int i = 0; i < 25; i++) {
        int32_t status = check_sample(shared, request_of(0), found);
        CHECK(status == DA_OK || status == DA_BUSY, "status %s", da_status_name(status));
        if (status == DA_OK) CHECK(!memcmp(found, expected[0], sizeof found), "a contended session gives other values");
        status == DA_OK ? finished++ : busy++;
    }
    return NULL;
}

static void test_contention(void) {
    shared = check_session(model, NULL, 2);
    float found[N];
    STATUS(DA_OK, check_sample_with(shared, check_request, NULL, 0, start_second, NULL, found));
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) CHECK(!pthread_create(&threads[i], NULL, hammer, NULL), "no thread");
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    CHECK(finished > 0 && finished + busy == 25 * THREADS, "%d finished, %d busy", finished, busy);
    STATUS(DA_OK, da_session_close(shared));
}

/* ---- closing while another thread works ---- */

static void *close_shared(void *argument) {
    (void)argument;
    usleep(500);
    STATUS(DA_OK, da_session_close(shared));
    return NULL;
}

static void test_close_during_run(void) {
    float found[N];
    for (int i = 0; i < 50; i++) {
        shared = check_session(model, NULL, 2);
        pthread_t thread;
        CHECK(!pthread_create(&thread, NULL, close_shared, NULL), "no thread");
        int32_t status = check_sample(shared, request_of(0), found);
        CHECK(status == DA_OK || status == DA_INVALID_HANDLE, "status %s", da_status_name(status));
        if (status == DA_OK) CHECK(!memcmp(found, expected[0], sizeof found), "closing changes the values");
        pthread_join(thread, NULL);
    }
}

/* ---- handles that come and go ---- */

static void *storm(void *argument) {
    unsigned seed = (unsigned)(size_t)argument;
    for (int i = 0; i < STORM / THREADS / 2; i++) {
        da_plan plan = NULL, both = NULL;
        STATUS(DA_OK, da_plan_parse("{}", 2, &plan));
        if (i % 100 == 0) {
            da_session session = check_session(model, plan, 1 + (int32_t)(rand_r(&seed) % 3));
            if (rand_r(&seed) % 2) STATUS(DA_OK, da_session_cancel(session));
            STATUS(DA_OK, da_session_close(session));
            STATUS(DA_INVALID_HANDLE, da_session_cancel(session));
        }
        STATUS(DA_OK, da_plan_stack(plan, plan, &both));
        STATUS(DA_OK, da_plan_close(plan));
        STATUS(DA_INVALID_HANDLE, da_plan_close(plan));
        STATUS(DA_OK, da_plan_close(both));
    }
    return NULL;
}

static void test_storm(void) {
    struct held before = process_held();
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) CHECK(!pthread_create(&threads[i], NULL, storm, (void *)i), "no thread");
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    int left = process_threads(before.threads);
    CHECK(left <= before.threads, "threads: %d, then %d", before.threads, left);
    CHECK(process_held().files == before.files, "open files: %d, then %d", before.files, process_held().files);
}

/* A handle that another thread closes is closed for all. */
static void *close_for_all(void *argument) {
    STATUS(DA_OK, da_plan_close(argument));
    return NULL;
}

static void test_closed_by_another_thread(void) {
    for (int i = 0; i < 100; i++) {
        da_plan plan = NULL;
        pthread_t thread;
        STATUS(DA_OK, da_plan_parse("{}", 2, &plan));
        CHECK(!pthread_create(&thread, NULL, close_for_all, plan), "no thread");
        pthread_join(thread, NULL);
        STATUS(DA_INVALID_HANDLE, da_plan_close(plan));
    }
}

int main(void) {
    CHECK(process_held().threads == 1, "loading the library started threads");
    model = check_model();
    test_shared_model();
    test_contention();
    test_close_during_run();
    test_closed_by_another_thread();
    test_storm();
    STATUS(DA_OK, da_model_close(model));
    return check_summary("threads");
}
