/* Two copies of the library in one process, as two plugins of a host bring them, and a copy that is opened and closed again.
 * Usage: copies path-of-libdiffaccel.so */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>

#include "check.h"
#include "process.h"

enum { N = 2 * TINY_STATE, ROUNDS = 100 };

/* The second copy's functions; the first copy's are those the program is linked with. */
static struct {
    int32_t (*model_open)(const char *, const da_model_options *, da_model *);
    int32_t (*model_close)(da_model);
    int32_t (*session_create)(da_model, da_plan, const da_session_options *, da_session *);
    int32_t (*session_run)(da_session, const char *, size_t, const da_tensor *, size_t, da_event_callback, void *, da_result *);
    int32_t (*session_close)(da_session);
    int32_t (*result_tensor)(da_result, const char *, da_tensor *);
    int32_t (*result_close)(da_result);
    const char *(*last_error)(void);
} second;

static void find(void *library, const char *name, void *function) {
    /* A cast between function and object pointers is no C; POSIX asks for this form. */
    *(void **)function = dlsym(library, name);
    CHECK(*(void **)function, "%s is not there", name);
}

static void find_all(void *library) {
    find(library, "da_model_open", &second.model_open);
    find(library, "da_model_close", &second.model_close);
    find(library, "da_session_create", &second.session_create);
    find(library, "da_session_run", &second.session_run);
    find(library, "da_session_close", &second.session_close);
    find(library, "da_result_tensor", &second.result_tensor);
    find(library, "da_result_close", &second.result_close);
    find(library, "da_last_error", &second.last_error);
}

/* A file of its own, or the loader would give the first copy again. */
static char copied[] = "/tmp/diffaccel-copy-XXXXXX";

static int copy(const char *path) {
    FILE *from = fopen(path, "rb"), *to = NULL;
    int file = mkstemp(copied);
    if (from && file >= 0) to = fdopen(file, "wb");
    if (!from || !to) return 0;
    static char block[1 << 16];
    int well = 1;
    for (size_t count; (count = fread(block, 1, sizeof block, from)) > 0;) well &= fwrite(block, 1, count, to) == count;
    fclose(from);
    return !fclose(to) && well;
}

static void sample_in_second(const float expected[N]) {
    da_model model = NULL;
    da_session session = NULL;
    da_result result = NULL;
    STATUS(DA_OK, second.model_open(tiny_checkpoint(), NULL, &model));
    STATUS(DA_OK, second.session_create(model, NULL, NULL, &session));
    STATUS(DA_OK, second.session_run(session, check_request, strlen(check_request), NULL, 0, NULL, NULL, &result));
    da_tensor view = {.struct_size = sizeof view};
    STATUS(DA_OK, second.result_tensor(result, "latents", &view));
    CHECK(view.data && view.bytes == N * sizeof(float) && !memcmp(view.data, expected, view.bytes),
          "the second copy gives other values");
    /* A handle of one copy is foreign to the other. */
    STATUS(DA_INVALID_HANDLE, da_model_close(model));
    STATUS(DA_INVALID_HANDLE, da_session_cancel(session));
    STATUS(DA_INVALID_HANDLE, da_session_close(session));
    STATUS(DA_INVALID_HANDLE, da_result_close(result));
    CHECK(!strcmp(second.last_error(), ""), "an error of one copy is told by the other: %s", second.last_error());
    STATUS(DA_OK, second.result_close(result));
    STATUS(DA_OK, second.session_close(session));
    STATUS(DA_OK, second.model_close(model));
}

static float expected[N];

static void *in_first(void *argument) {
    float found[N];
    for (int i = 0; i < 20; i++) {
        STATUS(DA_OK, check_sample(argument, check_request, found));
        CHECK(!memcmp(found, expected, sizeof found), "beside a second copy the first gives other values");
    }
    return NULL;
}
static void *in_second(void *unused) {
    for (int i = 0; i < 20; i++) sample_in_second(expected);
    return unused;
}

int main(int count, char **arguments) {
    if (count < 2 || !copy(arguments[1])) {
        fprintf(stderr, "usage: copies path-of-libdiffaccel.so\n");
        return 2;
    }
    da_model model = check_model();
    da_session session = check_session(model, NULL, 2);
    STATUS(DA_OK, check_sample(session, check_request, expected));
    void *library = dlopen(copied, RTLD_NOW | RTLD_LOCAL);
    CHECK(library, "the copy is not loaded: %s", dlerror());
    if (!library) return check_summary("copies");
    find_all(library);
    void *function = NULL;
    find(library, "da_version_string", &function);
    CHECK(function != dlsym(RTLD_DEFAULT, "da_version_string"), "the copy is the first library");
    sample_in_second(expected);

    /* Opened and closed again: the code stays mapped, and nothing more is. */
    struct held before = process_held();
    for (int i = 0; i < ROUNDS; i++) {
        CHECK(!dlclose(library), "dlclose: %s", dlerror());
        library = dlopen(copied, RTLD_NOW | RTLD_LOCAL);
        CHECK(library, "dlopen: %s", dlerror());
        if (!library) break;
        find_all(library);
        if (i % 10 == 0) sample_in_second(expected);
    }
    int threads = process_threads(before.threads);
    struct held after = process_held();
    CHECK(threads <= before.threads, "threads: %d, then %d", before.threads, threads);
    CHECK(after.files == before.files, "open files: %d, then %d", before.files, after.files);
    CHECK(after.mappings <= before.mappings + 2, "mappings: %d, then %d", before.mappings, after.mappings);

    pthread_t first_thread, second_thread;
    CHECK(!pthread_create(&first_thread, NULL, in_first, session), "no thread");
    CHECK(!pthread_create(&second_thread, NULL, in_second, NULL), "no thread");
    pthread_join(first_thread, NULL);
    pthread_join(second_thread, NULL);
    if (library) CHECK(!dlclose(library), "dlclose: %s", dlerror());
    STATUS(DA_OK, da_session_close(session));
    STATUS(DA_OK, da_model_close(model));
    unlink(copied);
    return check_summary("copies");
}
