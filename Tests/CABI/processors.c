/* How many threads "one per processor" are: affinity, quotas of control groups, read anew for each session; and what the
 * threads are like. */
#include "surroundings.h"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>

/* Processors that the library counts. */
static int counted(void) {
    static char text[1 << 16];
    size_t needed;
    STATUS(DA_OK, da_library_describe(text, sizeof text, &needed));
    const char *at = strstr(text, "\"processors\":");
    CHECK(at, "no processors in %s", text);
    return at ? atoi(at + 13) : -1;
}

/* Threads of a new session that asks for one per processor, as its result tells. */
static int taken(void) {
    da_session fresh = check_session(model, NULL, 0);
    da_result result = NULL;
    STATUS(DA_OK, check_run(fresh, check_request, &result));
    static char text[1 << 16];
    size_t needed;
    STATUS(DA_OK, da_result_stats(result, text, sizeof text, &needed));
    const char *at = strstr(text, "\"threads\":");
    CHECK(at, "no threads in the result's figures");
    STATUS(DA_OK, da_result_close(result));
    STATUS(DA_OK, da_session_close(fresh));
    return at ? atoi(at + 10) : -1;
}

static void expect(int processors, const char *what) {
    int seen = counted(), threads = taken();
    CHECK(seen == processors, "%s: %d processors, expected %d", what, seen, processors);
    CHECK(threads == processors, "%s: %d threads, expected %d", what, threads, processors);
}

static int online(void) { return (int)sysconf(_SC_NPROCESSORS_ONLN); }

/* As many as this machine lets the process have, before anything is taken from it. */
static int all;

static void test_affinity(void) {
    cpu_set_t before, one;
    CPU_ZERO(&one);
    CHECK(!sched_getaffinity(0, sizeof before, &before), "no affinity");
    CHECK(all <= CPU_COUNT(&before) && all <= online(), "%d of %d processors", all, CPU_COUNT(&before));
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
    for (int round = 0; round < 3; round++) {
        CHECK(!sched_setaffinity(0, sizeof one, &one), "no affinity to one processor");
        expect(1, "one processor allowed");
        CHECK(!sched_setaffinity(0, sizeof before, &before), "no affinity to all");
        expect(all, "all processors allowed again");
    }
    same("after changes of affinity");
}

/* ---- control groups, where the test may make one ---- */

static char group[256];

static int write_in(const char *name, const char *text) {
    char path[320];
    snprintf(path, sizeof path, "%s/%s", group, name);
    FILE *file = fopen(path, "w");
    if (!file) return 0;
    int well = fputs(text, file) >= 0;
    return !fclose(file) && well;
}

/* A process that is to be limited enters a group of its own. */
static void child_in_group(void) {
    char self[32];
    snprintf(self, sizeof self, "%d", (int)getpid());
    CHECK(write_in("cgroup.procs", self), "cannot enter %s", group);
    char path[320];
    snprintf(path, sizeof path, "%s/cpu.max", group);
    int second = !access(path, F_OK);
    const char *name = second ? "cpu.max" : "cpu.cfs_quota_us";
    static const struct {
        const char *quota, *text;
        int processors;
    } cases[] = {{"50000", "50000 100000", 1},
                 {"150000", "150000 100000", 2},
                 {"-1", "max 100000", 256},
                 {"100000", "100000 100000", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK(write_in(name, second ? cases[i].text : cases[i].quota), "no quota %s", cases[i].text);
        expect(cases[i].processors < all ? cases[i].processors : all, cases[i].text);
    }
}

static void test_groups(void) {
    const char *places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"};
    for (int i = 0; i < 3; i++) {
        snprintf(group, sizeof group, "%s/diffaccel-test-%d", places[i], (int)getpid());
        if (mkdir(group, 0755)) continue;
        char limit[320];
        snprintf(limit, sizeof limit, "%s/%s", group, i == 0 ? "cpu.max" : "cpu.cfs_quota_us");
        int limited = !access(limit, W_OK);
        if (limited) in_child("in a group with a quota", child_in_group);
        for (int wait = 0; rmdir(group) && wait < 100; wait++) usleep(10000);
        if (limited) return;
    }
    fprintf(stderr, "processors: no control group with a quota can be made here; not tried\n");
}

/* ---- without the system's files ---- */

static void child_in_empty_root(void) {
    char root[] = "/tmp/diffaccel-root-XXXXXX";
    if (!mkdtemp(root) || chroot(root) || chdir("/")) return; /* needs root's rights */
    int processors = counted();
    CHECK(processors >= 1 && processors <= 256, "%d processors without /proc and /sys", processors);
    da_session fresh = check_session(model, NULL, 0);
    float found[N];
    STATUS(DA_OK, check_sample(fresh, check_request, found));
    CHECK(!memcmp(found, expected, sizeof found), "without /proc and /sys: other values");
    da_model missing = NULL;
    STATUS(DA_IO, da_model_open("/no/such/folder", NULL, &missing));
}

/* ---- what workers are like ---- */

static unsigned long long blocked_in(const char *task) {
    char path[300], line[256];
    unsigned long long blocked = 0;
    snprintf(path, sizeof path, "/proc/self/task/%s/status", task);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "SigBlk: %llx", &blocked) == 1) break;
    if (file) fclose(file);
    return blocked;
}

static int named_workers(int check_masks) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    static const int hosts[] = {SIGHUP, SIGINT, SIGTERM, SIGALRM, SIGPROF, SIGCHLD, SIGUSR1, SIGUSR2, SIGPIPE, SIGWINCH};
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        char path[300], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        FILE *file = fopen(path, "r");
        if (!file) continue;
        if (fgets(name, sizeof name, file) && !strcmp(name, "diffaccel\n")) count++;
        fclose(file);
        if (strcmp(name, "diffaccel\n") || !check_masks) continue;
        unsigned long long blocked = blocked_in(task->d_name);
        for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
            CHECK(!(blocked >> (faults[i] - 1) & 1), "a worker blocks signal %d, a fault of its own", faults[i]);
        for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++)
            CHECK(blocked >> (hosts[i] - 1) & 1, "a worker takes the host's signal %d", hosts[i]);
    }
    if (tasks) closedir(tasks);
    return count;
}

static void test_workers(void) {
    da_session fresh = check_session(model, NULL, 3);
    float found[N];
    sigset_t usual, before;
    sigemptyset(&usual);
    sigaddset(&usual, SIGUSR1);
    pthread_sigmask(SIG_SETMASK, &usual, &before);
    STATUS(DA_OK, check_sample(fresh, check_request, found));
    sigset_t now;
    pthread_sigmask(SIG_SETMASK, &before, &now);
    for (int i = 1; i < 32; i++) CHECK(sigismember(&now, i) == (i == SIGUSR1), "the caller's mask of signal %d has changed", i);
    int workers = 0; /* a thread that was just made may not have run yet */
    for (int wait = 0; wait < 200 && (workers = named_workers(0)) < 3; wait++) usleep(5000);
    CHECK(workers == 3, "%d threads are called diffaccel, expected 3", workers); /* and one of the first session */
    named_workers(1);
    STATUS(DA_OK, da_session_close(fresh));
}

int main(void) {
    begin();
    all = counted();
    test_affinity();
    test_groups();
    in_child("an empty root", child_in_empty_root);
    test_workers();
    STATUS(DA_OK, da_session_close(session));
    STATUS(DA_OK, da_model_close(model));
    return check_summary("processors");
}
