/* Odd surroundings: the library works in them, and leaves them as they were. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <fenv.h>
#include <limits.h>
#include <locale.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "surroundings.h"

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
        da_result result = NULL;
        check_run(session, REQUEST(",\"steps\":2"), &result);
        da_result_close(result);
        CHECK(errno == values[i], "errno was %d and is %d", values[i], errno);
    }
    errno = 0;
}

/* What belongs to the whole process stays as it was. */
static void test_process(void) {
    extern char **environ;
    char folder[4096], after_folder[4096];
    struct rlimit limits[RLIM_NLIMITS], limit;
    int count = 0, after_count = 0;
    unsigned long sum = 0, after_sum = 0;
    for (char **at = environ; *at; at++, count++)
        for (char *c = *at; *c; c++) sum = sum * 31 + (unsigned char)*c;
    CHECK(getcwd(folder, sizeof folder), "no working directory");
    for (int i = 0; i < RLIM_NLIMITS; i++) getrlimit((__rlimit_resource_t)i, &limits[i]);
    mode_t mask = umask(027);
    child_starts_afresh();
    CHECK(umask(mask) == 027, "the umask has changed");
    for (char **at = environ; *at; at++, after_count++)
        for (char *c = *at; *c; c++) after_sum = after_sum * 31 + (unsigned char)*c;
    CHECK(count == after_count && sum == after_sum, "environment variables have changed");
    CHECK(getcwd(after_folder, sizeof folder) && !strcmp(folder, after_folder), "the working directory has changed");
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        getrlimit((__rlimit_resource_t)i, &limit);
        CHECK(limit.rlim_cur == limits[i].rlim_cur && limit.rlim_max == limits[i].rlim_max, "limit %d has changed", i);
    }
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
    signal(SIGPROF, tick);
    struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &often, NULL);
    setitimer(ITIMER_PROF, &often, NULL);
    for (int i = 0; i < 20 || (ticks < 20 && i < 10000); i++) same("signals at 1 kHz");
    CHECK(ticks >= 20, "only %d signals came", (int)ticks);
    da_model again = NULL;
    STATUS(DA_OK, da_model_open(tiny_checkpoint(), NULL, &again));
    STATUS(DA_OK, da_model_close(again));
    setitimer(ITIMER_REAL, &never, NULL);
    setitimer(ITIMER_PROF, &never, NULL);
    signal(SIGALRM, SIG_DFL);
    signal(SIGPROF, SIG_DFL);
    for (int i = 1; i < 32; i++) {
        sigaction(i, NULL, &after[i]);
        CHECK(before[i].sa_handler == after[i].sa_handler, "the handler of signal %d has changed", i);
    }
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    for (int i = 1; i < 32; i++) CHECK(!sigismember(&blocked, i), "signal %d is blocked", i);
}

/* ---- in children, since they cannot be undone ---- */

static void without_standard_streams(void) {
    close(0), close(1), close(2);
    child_starts_afresh();
    same("closed standard streams");
}

/* Files get the numbers of standard streams that are closed: nothing that others print may land in them. */
static atomic_int saving;
static void *print_on(void *unused) {
    while (saving)
        for (int stream = 1; stream <= 2; stream++)
            if (write(stream, "noise", 5) == 5) saving = -1;
    return unused;
}

static void saves_without_standard_streams(void) {
    const char *json = "{\"method\":\"l2c\",\"policy\":\"random\",\"ratio\":0.5}";
    da_plan plan = NULL;
    STATUS(DA_OK, da_plan_parse(json, strlen(json), &plan));
    char path[] = "/tmp/diffaccel-saved-XXXXXX";
    int file = mkstemp(path), kept = dup(2);
    close(file);
    close(0), close(1), close(2);
    saving = 1;
    pthread_t thread;
    int made = !pthread_create(&thread, NULL, print_on, NULL), noisy = 0;
    for (int i = 0; i < 50; i++) {
        STATUS(DA_OK, da_plan_save(plan, path));
        noisy |= saving < 0;
    }
    saving = 0;
    if (made) pthread_join(thread, NULL);
    dup2(kept, 2);
    CHECK(!noisy, "what others print lands in files that are written");
    da_plan again = NULL;
    STATUS(DA_OK, da_plan_load(path, &again));
    unlink(path);
}

/* What the header says of a callback that does not return. */
static jmp_buf outside;
static int32_t leaves(void *user, const da_event *event) {
    (void)user, (void)event;
    longjmp(outside, 1);
}
static void callback_does_not_return(void) {
    da_result result = NULL;
    if (!setjmp(outside)) {
        check_told(session, check_request, leaves, NULL, &result);
        CHECK(0, "the callback has returned");
    }
    STATUS(DA_BUSY, check_run(session, check_request, &result));
    STATUS(DA_BUSY, check_run(session, check_request, &result));
    child_starts_afresh();
    STATUS(DA_OK, da_session_close(session));
    STATUS(DA_INVALID_HANDLE, check_run(session, check_request, &result));
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
    static int64_t labels[4096];
    const da_tensor many = check_tensor("labels", DA_I64, labels, sizeof labels, SHAPE(4096));
    da_result result = NULL;
    int32_t status = da_session_run(session, "{\"steps\":1}", 11, &many, 1, NULL, NULL, &result);
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
    begin();
    test_locale();
    test_floating_point();
    test_errno();
    test_process();
    test_signals();
    in_child("closed standard streams", without_standard_streams);
    in_child("saving without standard streams", saves_without_standard_streams);
    in_child("deleted working directory", without_current_folder);
    in_child("umask 777", with_odd_umask);
    in_child("no more files", with_few_files);
    if (!SANITIZED) in_child("little memory", with_little_memory);
    if (!SANITIZED) in_child("a callback that does not return", callback_does_not_return);
    in_child("standard output", prints_nothing);
    same("at the end");
    STATUS(DA_OK, da_session_close(session));
    /* The model stays open: exit with live handles. */
    return check_summary("environment");
}
