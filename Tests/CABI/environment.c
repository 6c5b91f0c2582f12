/* Odd surroundings: the library works in them, and leaves them as they were. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <limits.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "check.h"

enum { N = 2 * TINY_STATE };

static da_model model;
static da_session session;
static float expected[N];

/* Samples once more and compares; `what` says under which circumstances. */
static void same(const char *what) {
    da_request request = check_request();
    float found[N];
    STATUS(DA_OK, check_sample(session, &request, found));
    CHECK(!memcmp(found, expected, sizeof found), "%s: other values", what);
}

static void test_locale(void) {
    const char *names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "tr_TR.UTF-8", "C.UTF-8", "C"};
    for (size_t i = 0; i < 6; i++) {
        if (!setlocale(LC_ALL, names[i])) continue;
        char before[256];
        snprintf(before, sizeof before, "%s", setlocale(LC_ALL, NULL));
        da_plan plan = NULL;
        const char *json = "{\"method\":\"l2c\",\"policy\":\"random\",\"ratio\":0.5}";
        STATUS(DA_OK, da_plan_parse(json, strlen(json), &plan));
        char text[4096];
        size_t needed;
        STATUS(DA_OK, da_plan_describe(plan, NULL, 0, text, sizeof text, &needed));
        CHECK(strstr(text, "0.5"), "in %s the ratio is written as %s", names[i], text);
        STATUS(DA_OK, da_plan_close(plan));
        da_model again = NULL;
        STATUS(DA_OK, da_model_open(tiny_checkpoint(), NULL, &again));
        STATUS(DA_OK, da_model_close(again));
        same(names[i]);
        CHECK(!strcmp(before, setlocale(LC_ALL, NULL)), "the locale has changed");
    }
    setlocale(LC_ALL, "C");
    da_plan plan = NULL;
    const char *comma = "{\"method\":\"l2c\",\"policy\":\"random\",\"ratio\":0,5}";
    STATUS(DA_FORMAT, da_plan_parse(comma, strlen(comma), &plan));
}

static void test_floating_point(void) {
    const int modes[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
    for (int i = 0; i < 4; i++) {
        CHECK(!fesetround(modes[i]), "no rounding mode %d", i);
        same("rounding mode");
        CHECK(fegetround() == modes[i], "the rounding mode has changed");
        float numbers[20], before[20];
        fesetround(FE_TONEAREST);
        STATUS(DA_OK, da_random_normal(5, 20, before));
        fesetround(modes[i]);
        STATUS(DA_OK, da_random_normal(5, 20, numbers));
        CHECK(!memcmp(numbers, before, sizeof numbers), "random numbers depend on the rounding mode");
    }
    fesetround(FE_TONEAREST);
    feclearexcept(FE_ALL_EXCEPT);
    feraiseexcept(FE_OVERFLOW);
    same("raised exceptions");
    CHECK(fetestexcept(FE_ALL_EXCEPT) == FE_OVERFLOW, "exception flags have changed to %x",
          (unsigned)fetestexcept(FE_ALL_EXCEPT));
    feclearexcept(FE_ALL_EXCEPT);
    feenableexcept(FE_DIVBYZERO | FE_OVERFLOW | FE_INVALID);
    same("unmasked exceptions");
    da_model again = NULL;
    STATUS(DA_OK, da_model_open(tiny_checkpoint(), NULL, &again));
    STATUS(DA_OK, da_model_close(again));
    CHECK(fegetexcept() == (FE_DIVBYZERO | FE_OVERFLOW | FE_INVALID), "exception masks have changed");
    fedisableexcept(FE_ALL_EXCEPT);
#if defined(__x86_64__)
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040); /* flush to zero, denormals are zero */
    same("flush to zero");
    CHECK((_mm_getcsr() & 0x8040) == 0x8040, "flush to zero has changed");
    _mm_setcsr(before);
#endif
}

static void test_errno(void) {
    const int values[] = {0, 1, ENOENT, 12345, -1, INT_MAX};
    for (int i = 0; i < 6; i++) {
        da_model opened = NULL;
        da_plan plan = NULL;
        float number;
        errno = values[i];
        da_model_open("/no/such/folder", NULL, &opened);
        da_plan_parse("{", 1, &plan);
        da_random_normal(0, 1, &number);
        da_model_close(NULL);
        da_session_cancel(session);
        da_request request;
        da_request_init(&request, sizeof request);
        request.labels = check_labels, request.label_count = 2, request.steps = 2;
        da_result result = NULL;
        da_session_sample(session, &request, &result);
        da_result_close(result);
        CHECK(errno == values[i], "errno was %d and is %d", values[i], errno);
    }
    errno = 0;
}

/* ---- small stacks ---- */

static void *in_small_stack(void *argument) {
    (void)argument;
    char text[2048];
    size_t needed;
    da_model own = NULL;
    STATUS(DA_OK, da_model_open(tiny_checkpoint(), NULL, &own));
    da_plan plan = NULL;
    const char *json = "{\"method\":\"l2c\",\"policy\":\"interval\",\"interval\":2}";
    STATUS(DA_OK, da_plan_parse(json, strlen(json), &plan));
    STATUS(DA_OK, da_plan_describe(plan, own, 6, text, sizeof text, &needed));
    da_session small = check_session(own, NULL, 2);
    da_request request = check_request();
    float found[N];
    STATUS(DA_OK, check_sample(small, &request, found));
    CHECK(!memcmp(found, expected, sizeof found), "small stack: other values");
    STATUS(DA_MORE, da_session_estimate(small, &request, NULL, 0, &needed));
    static char nested[200000];
    memset(nested, '[', sizeof nested);
    da_plan refused = NULL;
    CHECK(da_plan_parse(nested, sizeof nested, &refused) < 0, "nesting is accepted");
    STATUS(DA_OK, da_session_close(small));
    STATUS(DA_OK, da_plan_close(plan));
    STATUS(DA_OK, da_model_close(own));
    return NULL;
}

/* ---- signals ---- */

static atomic_int ticks;
static void tick(int number) {
    (void)number;
    ticks++;
}

static void test_signals(void) {
    struct sigaction before[32], after[32];
    for (int i = 1; i < 32; i++) sigaction(i, NULL, &before[i]);
    signal(SIGALRM, tick);
    struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &often, NULL);
    for (int i = 0; i < 10; i++) same("signals at 1 kHz");
    setitimer(ITIMER_REAL, &never, NULL);
    signal(SIGALRM, SIG_DFL);
    for (int i = 1; i < 32; i++) {
        sigaction(i, NULL, &after[i]);
        CHECK(before[i].sa_handler == after[i].sa_handler, "the handler of signal %d has changed", i);
    }
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    for (int i = 1; i < 32; i++) CHECK(!sigismember(&blocked, i), "signal %d is blocked", i);
}

/* ---- fork ---- */

/* Runs `body` in a child and expects exit code 0 within seconds. */
static void in_child(const char *what, void (*body)(void)) {
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

static size_t stack_size;

static void use_small_stack(void) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_t thread;
    CHECK(!pthread_attr_setstacksize(&attributes, stack_size), "no stack of %zu bytes", stack_size);
    if (!pthread_create(&thread, &attributes, in_small_stack, NULL)) pthread_join(thread, NULL);
    else CHECK(0, "no thread with a stack of %zu bytes", stack_size);
    pthread_attr_destroy(&attributes);
}

/* In children: a stack that is passed kills the process. */
static void test_small_stacks(void) {
    const size_t sizes[] = {64 << 10, 128 << 10, 256 << 10, 1 << 20};
    for (int i = 0; i < 4; i++) {
        char what[64];
        stack_size = sizes[i];
        snprintf(what, sizeof what, "a stack of %zu KiB", sizes[i] >> 10);
        in_child(what, use_small_stack);
    }
}

static void child_uses_inherited(void) { same("inherited session"); }

static void child_starts_afresh(void) {
    da_model own = check_model();
    da_session made = check_session(own, NULL, 2);
    da_request request = check_request();
    float found[N];
    STATUS(DA_OK, check_sample(made, &request, found));
    STATUS(DA_OK, da_session_close(made));
    STATUS(DA_OK, da_model_close(own));
}

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
    for (int i = 0; i < 10; i++) {
        in_child("fork while another thread samples", child_starts_afresh);
        in_child("fork while another thread samples, its session", child_touches_busy);
    }
    STATUS(DA_OK, da_session_cancel(busy_session));
    pthread_join(thread, NULL);
    STATUS(DA_OK, da_session_close(busy_session));
    STATUS(DA_OK, da_model_close(larger));
}

/* ---- in children, since they cannot be undone ---- */

static void without_standard_streams(void) {
    close(0), close(1), close(2);
    child_starts_afresh();
    same("closed standard streams");
}

static void without_current_folder(void) {
    char folder[] = "/tmp/diffaccel-gone-XXXXXX";
    if (!mkdtemp(folder) || chdir(folder) || rmdir(folder)) _exit(2);
    child_starts_afresh();
    same("deleted working directory");
}

static void with_odd_umask(void) {
    umask(0777);
    child_starts_afresh();
    CHECK(umask(0) == 0777, "the umask has changed");
}

static void with_few_files(void) {
    struct rlimit few = {3, 3};
    setrlimit(RLIMIT_NOFILE, &few);
    da_model opened = NULL;
    STATUS(DA_IO, da_model_open(tiny_checkpoint(), NULL, &opened));
    CHECK(!opened, "a model without files");
    same("no more files");
}

static void with_little_memory(void) {
    struct rlimit little = {600u << 20, 600u << 20};
    setrlimit(RLIMIT_AS, &little);
    da_request request = check_request();
    static int64_t labels[4096];
    request.labels = labels;
    request.label_count = 4096;
    request.steps = 1;
    da_result result = NULL;
    int32_t status = da_session_sample(session, &request, &result);
    CHECK(status == DA_OK || status == DA_NO_MEMORY, "with little memory: %s", da_status_name(status));
    if (result) da_result_close(result);
    same("little memory");
}

static void prints_nothing(void) {
    int pipes[2];
    if (pipe(pipes)) _exit(2);
    dup2(pipes[1], 1), dup2(pipes[1], 2);
    fcntl(pipes[0], F_SETFL, O_NONBLOCK);
    child_starts_afresh();
    da_model opened = NULL;
    da_plan plan = NULL;
    da_model_open("/no/such/folder", NULL, &opened);
    da_plan_parse("{", 1, &plan);
    da_model_close(NULL);
    char text[64];
    ssize_t count = read(pipes[0], text, sizeof text);
    _exit(count > 0 ? 1 : 0);
}

int main(void) {
    /* The child uses a library that its parent has loaded but never called. */
    in_child("fork before the first use", child_starts_afresh);
    model = check_model();
    session = check_session(model, NULL, 2);
    da_request request = check_request();
    STATUS(DA_OK, check_sample(session, &request, expected));
    test_locale();
    test_floating_point();
    test_errno();
    test_small_stacks();
    test_signals();
    test_fork();
    in_child("closed standard streams", without_standard_streams);
    in_child("deleted working directory", without_current_folder);
    in_child("umask 777", with_odd_umask);
    in_child("no more files", with_few_files);
    in_child("little memory", with_little_memory);
    in_child("standard output", prints_nothing);
    same("at the end");
    STATUS(DA_OK, da_session_close(session));
    /* The model stays open: exit with live handles. */
    return check_summary("environment");
}
