/* One use of the library by a host that brings things of its own: see loading.sh, which compiles and runs it.
 * Usage: guest linked                     the program is linked with the library
 *        guest MODE LIBRARY [BEFORE...]   dlopen with "local", "global", "deep" or "lazy", after the libraries BEFORE, opened
 * globally Prints a line that stands for the bits of all results, and on stderr what loading has left behind. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>

#include <diffaccel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"
#include "tiny_checkpoint.h"

static uint64_t bits = 0xcbf29ce484222325u;
static void add(const void *from, size_t count) {
    const unsigned char *at = from;
    for (size_t i = 0; i < count; i++) bits = (bits ^ at[i]) * 0x100000001b3u;
}

/* What the host finds of the library: linked, or in what it has opened. */
static void *opened;
static void *find(const char *name) {
    void *found = dlsym(opened ? opened : RTLD_DEFAULT, name);
    if (!found) fprintf(stderr, "guest: %s: %s\n", name, dlerror()), exit(2);
    return found;
}
/* A cast between function and object pointers is no C; POSIX asks for this form. */
#define CALL(name) (*(__typeof__(&name) *)&(void *){find(#name)})

static void expect(int32_t status, int32_t wanted, const char *what) {
    if (status == wanted) return;
    fprintf(stderr, "guest: %s: %d %s\n", what, status, CALL(da_last_error)());
    exit(2);
}

static void use(void) {
    da_model model = NULL;
    da_session session = NULL;
    da_result result = NULL;
    da_plan plan = NULL;
    char text[1 << 14];
    size_t needed;
    const char *json = "{\"method\":\"l2c\",\"policy\":\"random\",\"ratio\":0.5}",
               *broken = "{\"method\":[1,{\"a\":\"\\u00e9\"}";
    expect(CALL(da_plan_parse)(json, strlen(json), &plan), DA_OK, "a plan");
    expect(CALL(da_plan_describe)(plan, NULL, 0, text, sizeof text, &needed), DA_OK, "describing a plan");
    add(text, needed);
    da_plan none = NULL;
    expect(CALL(da_plan_parse)(broken, strlen(broken), &none), DA_FORMAT, "a broken plan");
    add(CALL(da_last_error)(), strlen(CALL(da_last_error)()));
    expect(CALL(da_model_open)(tiny_checkpoint(), NULL, &model), DA_OK, "opening");
    expect(CALL(da_model_describe)(model, text, sizeof text, &needed), DA_OK, "describing");
    expect(CALL(da_session_create)(model, plan, NULL, &session), DA_OK, "a session");
    static const char request[] = "{\"labels\":[1,2],\"steps\":6,\"seed\":3}";
    expect(CALL(da_session_run)(session, request, sizeof request - 1, NULL, 0, NULL, NULL, &result), DA_OK, "sampling");
    da_tensor view = {.struct_size = sizeof view};
    expect(CALL(da_result_tensor)(result, "latents", &view), DA_OK, "latents");
    add(view.data, view.bytes);
    float normal[20];
    expect(CALL(da_random_normal)(5, 20, normal), DA_OK, "random numbers");
    add(normal, sizeof normal);
    expect(CALL(da_result_close)(result), DA_OK, "closing");
    expect(CALL(da_session_close)(session), DA_OK, "closing");
    expect(CALL(da_plan_close)(plan), DA_OK, "closing");
    expect(CALL(da_model_close)(model), DA_OK, "closing");
}

/* ---- loading starts nothing: no handler of a signal, no thread, no file that stays open ---- */

struct state {
    struct held held;
    int handlers, alternate;
};

static struct state state_now(void) {
    struct state state = {process_held(), 0, 0};
    stack_t stack;
    for (int i = 1; i < NSIG; i++) {
        struct sigaction action;
        state.handlers += !sigaction(i, NULL, &action) && action.sa_handler != SIG_DFL;
    }
    state.alternate = !sigaltstack(NULL, &stack) && !(stack.ss_flags & SS_DISABLE);
    return state;
}

static void left_behind(struct state before) {
    struct state after = state_now();
    if (after.handlers != before.handlers) fprintf(stderr, "guest: handlers of %d signals\n", after.handlers - before.handlers);
    if (after.alternate != before.alternate) fprintf(stderr, "guest: a stack for signals\n");
    if (after.held.threads != before.held.threads) fprintf(stderr, "guest: %d threads\n", after.held.threads);
    if (after.held.files != before.held.files)
        fprintf(stderr, "guest: files, %d, then %d\n", before.held.files, after.held.files);
}

int main(int count, char **arguments) {
    if (count < 2) return 2;
    const char *mode = arguments[1];
    for (int i = 3; i < count; i++)
        if (!dlopen(arguments[i], RTLD_NOW | RTLD_GLOBAL)) return fprintf(stderr, "guest: %s\n", dlerror()), 2;
    struct state before = state_now();
    if (strcmp(mode, "linked") != 0) {
        int flags = !strcmp(mode, "global") ? RTLD_NOW | RTLD_GLOBAL
                    : !strcmp(mode, "deep") ? RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND
                    : !strcmp(mode, "lazy") ? RTLD_LAZY | RTLD_LOCAL
                                            : RTLD_NOW | RTLD_LOCAL;
        opened = dlopen(arguments[2], flags);
        if (!opened) return fprintf(stderr, "guest: %s\n", dlerror()), 2;
    } else {
        before = (struct state){{.files = before.held.files, .threads = 1}, 0, 0};
    }
    left_behind(before);
    use();
    printf("%016llx\n", (unsigned long long)bits);
    return 0;
}
