/* Sessions in threads of their own over one model, one session in two threads, and handles that come and go. */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <unistd.h>

#include "check.h"

enum { N = 2 * TINY_STATE, THREADS = 4, ROUNDS = 10 };

static da_model model;
static float expected[THREADS][N];

static da_request request_of(int index) {
    da_request request = check_request();
    request.seed = (uint64_t)index;
    request.sampler = index % 2 ? "ddpm" : "ddim";
    request.guidance = 1 + index;
    return request;
}

static void *sample_in_thread(void *argument) {
    int index = (int)(size_t)argument;
    da_request request = request_of(index);
    float found[N];
    for (int round = 0; round < ROUNDS; round++) {
        da_session session = check_session(model, NULL, 2);
        for (int again = 0; again < 3; again++) {
            STATUS(DA_OK, check_sample(session, &request, found));
            CHECK(!memcmp(found, expected[index], sizeof found), "thread %d gives other values than the serial run", index);
        }
        STATUS(DA_OK, da_session_close(session));
    }
    return NULL;
}

static void test_shared_model(void) {
    da_session session = check_session(model, NULL, 2);
    for (int i = 0; i < THREADS; i++) {
        da_request request = request_of(i);
        STATUS(DA_OK, check_sample(session, &request, expected[i]));
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
    da_request request = check_request();
    float found[N];
    size_t needed;
    /* An estimate touches nothing of the run, so it may be answered. */
    int32_t status = da_session_estimate(shared, &request, NULL, 0, &needed);
    CHECK(status == DA_BUSY || status == DA_MORE, "estimate gives %s", da_status_name(status));
    STATUS(DA_BUSY, check_sample(shared, &request, found));
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
    da_request request = request_of(0);
    float found[N];
    for (int i = 0; i < 50; i++) {
        int32_t status = check_sample(shared, &request, found);
        CHECK(status == DA_OK || status == DA_BUSY, "status %s", da_status_name(status));
        if (status == DA_OK) CHECK(!memcmp(found, expected[0], sizeof found), "a contended session gives other values");
        status == DA_OK ? finished++ : busy++;
    }
    return NULL;
}

static void test_contention(void) {
    shared = check_session(model, NULL, 2);
    da_request request = check_request();
    request.callback = start_second;
    float found[N];
    STATUS(DA_OK, check_sample(shared, &request, found));
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) CHECK(!pthread_create(&threads[i], NULL, hammer, NULL), "no thread");
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    CHECK(finished > 0 && finished + busy == 50 * THREADS, "%d finished, %d busy", finished, busy);
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
    da_request request = request_of(0);
    float found[N];
    for (int i = 0; i < 50; i++) {
        shared = check_session(model, NULL, 2);
        pthread_t thread;
        CHECK(!pthread_create(&thread, NULL, close_shared, NULL), "no thread");
        int32_t status = check_sample(shared, &request, found);
        CHECK(status == DA_OK || status == DA_INVALID_HANDLE, "status %s", da_status_name(status));
        if (status == DA_OK) CHECK(!memcmp(found, expected[0], sizeof found), "closing changes the values");
        pthread_join(thread, NULL);
    }
}

/* ---- handles that come and go ---- */

static void *storm(void *argument) {
    unsigned seed = (unsigned)(size_t)argument;
    for (int i = 0; i < 5000; i++) {
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

static int entries(const char *folder) {
    int count = 0;
    DIR *open = opendir(folder);
    for (struct dirent *entry; open && (entry = readdir(open));) count += entry->d_name[0] != '.';
    if (open) closedir(open);
    return count;
}

static long resident(void) {
    long pages = 0, unused;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%ld %ld", &unused, &pages) != 2) pages = 0;
    if (file) fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static void test_storm_and_leaks(void) {
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) CHECK(!pthread_create(&threads[i], NULL, storm, (void *)i), "no thread");
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    da_request request = request_of(0);
    float found[N];
    long memory = 0;
    int files = 0, tasks = 0;
    for (int i = 0; i < 600; i++) {
        if (i == 100) memory = resident(), files = entries("/proc/self/fd"), tasks = entries("/proc/self/task");
        da_model own = NULL;
        if (i % 10 == 0) STATUS(DA_OK, da_model_open(tiny_checkpoint(), NULL, &own));
        da_session session = check_session(own ? own : model, NULL, 2);
        STATUS(DA_OK, check_sample(session, &request, found));
        STATUS(DA_OK, da_session_close(session));
        if (own) STATUS(DA_OK, da_model_close(own));
    }
    CHECK(resident() - memory < 1 << 20, "500 sessions leave %ld bytes", resident() - memory);
    CHECK(entries("/proc/self/fd") == files, "open files: %d, then %d", files, entries("/proc/self/fd"));
    /* A closed session's threads may need a moment to end. */
    for (int i = 0; i < 100 && entries("/proc/self/task") > tasks; i++) usleep(10000);
    CHECK(entries("/proc/self/task") <= tasks, "threads: %d, then %d", tasks, entries("/proc/self/task"));
}

int main(void) {
    CHECK(entries("/proc/self/task") == 1, "loading the library started threads");
    model = check_model();
    test_shared_model();
    test_contention();
    test_close_during_run();
    test_storm_and_leaks();
    STATUS(DA_OK, da_model_close(model));
    return check_summary("threads");
}
