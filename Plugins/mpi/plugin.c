/* libdiffaccel_mpi.so: ranks over the MPI that this is compiled with (see ranks_plugin.h, and shared.h for its threads). */
#define _GNU_SOURCE
#include "shared.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
MPI_Comm data = MPI_COMM_NULL, control = MPI_COMM_NULL, life = MPI_COMM_NULL;
int own_rank, rank_count;

static _Thread_local char reason[512];
static pid_t owner;
/* Whether MPI_Init was ours. */
static int is_ours;
static int has_left;

#ifdef OPEN_MPI
static const char *const own_launcher = "Open MPI's mpirun", *const other_launcher = "MPICH's mpirun";
static const char *const own_size = "OMPI_COMM_WORLD_SIZE", *const other_size = "PMI_SIZE";
static const char *const other_build = "make mpi MPI=mpich";
#else
static const char *const own_launcher = "MPICH's mpirun", *const other_launcher = "Open MPI's mpirun";
static const char *const own_size = "PMI_SIZE", *const other_size = "OMPI_COMM_WORLD_SIZE";
static const char *const other_build = "make mpi";
#endif

int32_t fail(const char *what, int code) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    if (code) MPI_Error_string(code, text, &length);
    snprintf(reason, sizeof reason, code ? "MPI: %s: %.400s" : "MPI: %s%.0s", what, text);
    return RANKS_FAILED;
}

static const char *failure(void) { return reason; }

int is_joined(void) {
    if (owner == getpid() && !has_left) return 1;
    fail(has_left ? "the ranks have parted" : owner ? "a child of fork() is none of the ranks" : "not joined", 0);
    return 0;
}

/* Processes that a launcher's variable speaks of; 0: none. */
static int launched(const char *variable) {
    const char *text = getenv(variable);
    return text ? atoi(text) : 0;
}

static int is_other_launcher(void) { return launched(other_size) > 1 && launched(own_size) == 0; }

/* Open MPI loads its parts as plug-ins that look up names in it. */
static void promote(void) {
#ifdef OPEN_MPI
    Dl_info library;
    if (dladdr((void *)(uintptr_t)&MPI_Init_thread, &library) && library.dli_fname)
        dlopen(library.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
#endif
}

/* Runs when MPI is finalised, by whoever does it: from then on nothing may call it. */
static int finalising(MPI_Comm comm, int key, void *value, void *state) {
    (void)comm, (void)key, (void)value, (void)state;
    stop_life();
    has_left = 1;
    return MPI_SUCCESS;
}

static int32_t open_mpi(void) {
    int initialised = 0, finalised = 0, level = MPI_THREAD_SINGLE, code = MPI_SUCCESS;
    MPI_Finalized(&finalised);
    if (finalised) return fail("it was finalised already in this process", 0);
    MPI_Initialized(&initialised);
    if (initialised) {
        MPI_Query_thread(&level);
        if (level < MPI_THREAD_SERIALIZED)
            return fail("the program initialised it for one thread: it has to ask MPI_Init_thread for MPI_THREAD_SERIALIZED",
                        0);
        return 0;
    }
    if (is_other_launcher()) {
        snprintf(reason, sizeof reason,
                 "this program was started by %s, and the plug-in was built for another MPI, which would see one process "
                 "alone: start it by "
                 "%s, or take the plug-in that \"%s\" builds",
                 other_launcher, own_launcher, other_build);
        return RANKS_FAILED;
    }
    promote();
    code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level);
    if (code != MPI_SUCCESS) return fail("initialising", code);
    is_ours = 1;
    if (level < MPI_THREAD_SERIALIZED) return fail("it was built without threads (MPI_THREAD_SERIALIZED)", 0);
    return 0;
}

static int duplicate(MPI_Comm *copy) {
    int code = MPI_Comm_dup(MPI_COMM_WORLD, copy);
    if (code == MPI_SUCCESS) code = MPI_Comm_set_errhandler(*copy, MPI_ERRORS_RETURN);
    return code;
}

static ranks_plugin plugin;

static int32_t join(int32_t *rank, int32_t *count) {
    if (owner && owner != getpid()) return fail("a child of fork() is none of the ranks", 0);
    if (has_left) return fail("the ranks have parted", 0);
    if (!owner) {
        if (open_mpi() != 0) return RANKS_FAILED;
        int code = duplicate(&data);
        if (code == MPI_SUCCESS) code = duplicate(&control);
        if (code == MPI_SUCCESS) code = duplicate(&life);
        if (code != MPI_SUCCESS) return fail("joining the ranks", code);
        MPI_Comm_rank(data, &own_rank);
        MPI_Comm_size(data, &rank_count);
        int started = launched("SLURM_STEP_NUM_TASKS");
        if (rank_count == 1 && started > 1) {
            snprintf(reason, sizeof reason,
                     "%d processes were started, but each is alone: the launcher does not speak to the MPI that the plug-in "
                     "was built with",
                     started);
            return RANKS_FAILED;
        }
        int *bound = NULL, is_known = 0, key = MPI_KEYVAL_INVALID;
        MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, (void *)&bound, &is_known);
        plugin.tag_bound = is_known ? *bound : 32767;
        if (MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, finalising, &key, NULL) == MPI_SUCCESS)
            MPI_Comm_set_attr(MPI_COMM_SELF, key, NULL);
        owner = getpid();
        if (!start_life()) return fail("no memory for a thread", 0);
    }
    *rank = own_rank;
    *count = rank_count;
    return 0;
}

static void leave(int32_t orderly) {
    if (owner != getpid() || has_left) return;
    stop_life();
    int finalised = 0;
    MPI_Finalized(&finalised);
    /* With a rank gone it would wait for ever. */
    if (orderly && is_ours && !finalised) MPI_Finalize();
    has_left = 1;
}

static const char *name(void) {
    static char text[MPI_MAX_LIBRARY_VERSION_STRING];
    if (!text[0]) {
        int length = 0;
        MPI_Get_library_version(text, &length);
        text[strcspn(text, ",\n")] = 0;
    }
    return text;
}

static ranks_plugin plugin = {
    .abi = RANKS_PLUGIN_ABI,
    .name = name,
    .join = join,
    .leave = leave,
    .send = send_bytes,
    .receive = receive_bytes,
    .state = request_state,
    .withdraw = withdraw_request,
    .waiting = message_waiting,
    .tell = tell,
    .heard = heard,
    .silence = silence_of,
    .failure = failure,
};

__attribute__((visibility("default"))) const ranks_plugin *diffaccel_ranks_plugin(void);
const ranks_plugin *diffaccel_ranks_plugin(void) { return &plugin; }
