/* State files: one that is there is whole, whenever the process dies and when the disk is full; a run that goes on from it
 * loses no more than the steps since it was written, and comes to the bits of a run that was never stopped. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "learning.h"

/* ---- the death of the process ---- */

enum { KILLED_STEPS = 60, SAVE_EVERY = 3 };

static atomic_int *told; /* shared with the child: the last step told */

static int32_t tell(void *user, const da_training_event *event) {
    (void)user;
    atomic_store(told, (int)event->step);
    return 0;
}

static void learn_until_killed(const struct recipe *recipe, const char *more) {
    da_trainer trainer = new_trainer(recipe, KILLED_STEPS, more);
    int32_t status = da_trainer_run(trainer, 0, tell, NULL);
    _exit(status == DA_OK && !checks_failed ? 0 : 1);
}

static void test_killed(void) {
    const int which[] = {0, 2, 4, 12, 17};
    told = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(told != MAP_FAILED, "no shared memory");
    for (int i = 0; i < 5; i++) {
        const struct recipe *recipe = &recipes[which[i]];
        char more[512], path[192];
        strcpy(path, in_place("state"));
        unlink(path);
        snprintf(more, sizeof more, ",\"state\":\"%s\",\"save_every\":%d,\"resume\":true", path, SAVE_EVERY);
        da_trainer plain = new_trainer(recipe, KILLED_STEPS, "");
        STATUS(DA_OK, da_trainer_run(plain, 0, NULL, NULL));
        struct bytes expected = state_of(plain);
        STATUS(DA_OK, da_trainer_close(plain));
        int kills = 0, end = -1;
        unsigned seed = 17;
        for (int round = 0; round < 400; round++) {
            atomic_store(told, 0);
            fflush(stdout);
            pid_t child = fork();
            if (child == 0) {
                checks_failed = 0;
                learn_until_killed(recipe, more);
            }
            usleep((useconds_t)(5000 + rand_r(&seed) % (20000 + round * 2000)));
            kill(child, SIGKILL);
            while (waitpid(child, &end, 0) < 0 && errno == EINTR) {
            }
            int last = atomic_load(told);
            if (!access(path, F_OK)) {
                da_trainer reader = new_trainer(recipe, KILLED_STEPS, more);
                CHECK(described(reader, "step") > last - SAVE_EVERY, "%s: killed after step %d, saved %g", recipe->name, last,
                      described(reader, "step"));
                STATUS(DA_OK, da_trainer_close(reader));
            } else {
                CHECK(last < SAVE_EVERY, "%s: killed after step %d, nothing saved", recipe->name, last);
            }
            if (WIFEXITED(end)) break;
            kills++;
        }
        CHECK(kills > 0 && WIFEXITED(end) && WEXITSTATUS(end) == 0, "%s: killed %d times, ends with %x", recipe->name, kills,
              (unsigned)end);
        struct bytes found = read_file(path);
        CHECK(same_bytes(found, expected), "%s: killed %d times, another state at the end", recipe->name, kills);
        printf("%s: killed %d times in %d steps\n", recipe->name, kills, KILLED_STEPS);
        free(found.data), free(expected.data);
        /* What a dead process was writing is left under names of its own; nothing takes it for a state. */
        unlink(path);
    }
    munmap(told, 4096);
}

/* ---- a disk that is full ---- */

static int entries(void) {
    int count = 0;
    DIR *open = opendir(scratch_folder());
    for (struct dirent *entry; open && (entry = readdir(open));) count++;
    if (open) closedir(open);
    return count;
}

static void limit_files(rlim_t bytes) {
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    CHECK(!setrlimit(RLIMIT_FSIZE, &limit), "no limit");
}

static void test_full_disk(void) {
    signal(SIGXFSZ, SIG_IGN);
    const int which[] = {0, 5, 12, 16};
    for (int i = 0; i < 4; i++) {
        const struct recipe *recipe = &recipes[which[i]];
        struct bytes states[STEPS + 1];
        char more[512], path[192];
        trace(recipe, STEPS, states);
        strcpy(path, in_place("full"));
        snprintf(more, sizeof more, ",\"state\":\"%s\",\"save_every\":1", path);
        da_trainer trainer = new_trainer(recipe, STEPS, more);
        STATUS(DA_OK, da_trainer_run(trainer, 2, NULL, NULL));
        int before = entries();
        for (rlim_t room = 0; room < states[0].size; room += states[0].size / 3 + 1) {
            limit_files(room);
            STATUS(DA_IO, da_trainer_save(trainer, path));
            CHECK(strstr(da_last_error(), path), "the text is \"%s\"", da_last_error());
        }
        /* The step was made, its state was not written. */
        STATUS(DA_IO, da_trainer_run(trainer, 0, NULL, NULL));
        limit_files(100);
        if (recipe->exported) STATUS(DA_IO, da_trainer_export(trainer, in_place("no-room")));
        limit_files(RLIM_INFINITY);
        CHECK(described(trainer, "step") == 3, "%s: at step %g", recipe->name, described(trainer, "step"));
        struct bytes kept = read_file(path);
        CHECK(same_bytes(kept, states[2]), "%s: a full disk changes the state that was there", recipe->name);
        remove_tree(in_place("no-room"));
        CHECK(entries() == before, "%s: %d files become %d", recipe->name, before, entries());
        same_state(trainer, states[3], recipe->name);
        STATUS(DA_OK, da_trainer_run(trainer, 0, NULL, NULL));
        same_state(trainer, states[STEPS], recipe->name);
        STATUS(DA_OK, da_trainer_close(trainer));
        unlink(path);
        free(kept.data);
        forget(states, STEPS + 1);
    }
}

int main(void) {
    test_killed();
    test_full_disk();
    return check_summary("training_states");
}
