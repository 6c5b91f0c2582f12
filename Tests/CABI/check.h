/* Counting checks: a test program prints "name: N passed, N failed" and exits with 1 when something failed. */
#ifndef CHECK_H
#define CHECK_H

#include <diffaccel.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tiny_checkpoint.h"

/* Whether the program is built with a sanitizer, which takes address space, stack and time of its own. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static atomic_int checks_passed, checks_failed;

static inline void check_that(int holds, const char *file, int line, const char *format, ...) {
    if (holds) {
        checks_passed++;
        return;
    }
    /* Some thousand equal failures say no more than the first few. */
    if (checks_failed++ > 40) return;
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
}

/* CHECK(condition, "text", ...): counts, and tells what failed. */
#define CHECK(condition, ...) check_that((condition) != 0, __FILE__, __LINE__, __VA_ARGS__)

/* Checks that a call gives a status; the text of the failure is the library's. */
#define STATUS(expected, call)                                                                                       \
    do {                                                                                                             \
        int32_t status_found = (call), status_expected = (expected);                                                 \
        CHECK(status_found == status_expected, "%s gives %s (%s), expected %s", #call, da_status_name(status_found), \
              da_last_error(), da_status_name(status_expected));                                                     \
    } while (0)

static inline int check_summary(const char *name) {
    printf("%s: %d passed, %d failed\n", name, (int)checks_passed, (int)checks_failed);
    fflush(stdout);
    return checks_failed ? 1 : 0;
}

static inline da_model check_model(void) {
    da_model model = NULL;
    const char *path = tiny_checkpoint();
    CHECK(path != NULL, "the checkpoint cannot be written");
    STATUS(DA_OK, da_model_open(path, NULL, &model));
    return model;
}

static inline da_session check_session(da_model model, da_plan plan, int32_t threads) {
    da_session_options options;
    STATUS(DA_OK, da_session_options_init(&options, sizeof options));
    options.threads = threads;
    da_session session = NULL;
    STATUS(DA_OK, da_session_create(model, plan, &options, &session));
    return session;
}

/* JSON by a format of printf in which ' stands for a quotation mark; valid for the thread's next seven. */
__attribute__((format(printf, 1, 2))) static inline const char *quoted(const char *format, ...) {
    static _Thread_local char texts[8][512];
    static _Thread_local unsigned next;
    char *text = texts[next++ % 8];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof *texts, format, arguments);
    va_end(arguments);
    CHECK(length >= 0 && (size_t)length < sizeof *texts, "JSON of %d characters", length);
    for (char *c = text; *c; c++)
        if (*c == '\'') *c = '"';
    return text;
}

/* The labels of all requests here. */
static const int64_t check_labels[2] __attribute__((unused)) = {1, 2};

/* Six steps for two labels; what more is said of them stands behind REQUEST("...") in quotation marks of its own. */
#define REQUEST(members) "{\"labels\":[1,2],\"seed\":3" members "}"
static const char check_request[] __attribute__((unused)) = REQUEST(",\"steps\":6");

/* Runs a request without tensors and without an observer. */
static inline int32_t check_run(da_session session, const char *json, da_result *result) {
    return da_session_run(session, json, strlen(json), NULL, 0, NULL, NULL, result);
}

/* The same, told to `callback`. */
static inline int32_t check_told(da_session session, const char *json, da_event_callback callback, void *user,
                                 da_result *result) {
    return da_session_run(session, json, strlen(json), NULL, 0, callback, user, result);
}

/* Estimates a request without tensors. */
static inline int32_t check_estimate(da_session session, const char *json, char *buf, size_t capacity, size_t *needed) {
    return da_session_estimate(session, json, strlen(json), NULL, 0, buf, capacity, needed);
}

/* A tensor of the caller's, with the extents `shape` of which a negative one ends them. */
static inline da_tensor check_tensor(const char *name, int32_t dtype, const void *data, size_t bytes, const int64_t *shape) {
    da_tensor tensor = {.struct_size = sizeof tensor, .dtype = dtype, .name = name, .data = (void *)(uintptr_t)data};
    tensor.bytes = bytes;
    while (tensor.rank < DA_MAX_RANK && shape[tensor.rank] >= 0) {
        tensor.shape[tensor.rank] = shape[tensor.rank];
        tensor.rank++;
    }
    return tensor;
}
#define SHAPE(...) ((const int64_t[]){__VA_ARGS__, -1})

/* Samples with tensors and an observer, and copies the latents of two samples to `latents`; returns the status. */
static inline int32_t check_sample_with(da_session session, const char *json, const da_tensor *tensors, size_t count,
                                        da_event_callback callback, void *user, float latents[2 * TINY_STATE]) {
    da_result result = NULL;
    int32_t status = da_session_run(session, json, strlen(json), tensors, count, callback, user, &result);
    CHECK((status == DA_OK) == (result != NULL), "status %d and result %p do not fit", status, (void *)result);
    if (status != DA_OK) return status;
    da_tensor view = {.struct_size = sizeof view};
    STATUS(DA_OK, da_result_tensor(result, "latents", &view));
    CHECK(view.bytes == 2 * TINY_STATE * sizeof(float), "latents of %zu bytes", view.bytes);
    if (view.data && view.bytes == 2 * TINY_STATE * sizeof(float)) memcpy(latents, view.data, view.bytes);
    STATUS(DA_OK, da_result_close(result));
    return status;
}

static inline int32_t check_sample(da_session session, const char *json, float latents[2 * TINY_STATE]) {
    return check_sample_with(session, json, NULL, 0, NULL, NULL, latents);
}

/* Runs a request and copies the tensor `name` of its result into `out`, which has room for so many bytes; gives its bytes. */
static inline size_t check_copied(da_session session, const char *json, const da_tensor *tensors, size_t count,
                                  const char *name, void *out, size_t room) {
    da_result made = NULL;
    da_tensor view = {.struct_size = sizeof view};
    STATUS(DA_OK, da_session_run(session, json, strlen(json), tensors, count, NULL, NULL, &made));
    if (!made) return 0;
    STATUS(DA_OK, da_result_tensor(made, name, &view));
    CHECK(view.bytes <= room, "%s: %zu bytes", name, view.bytes);
    if (view.bytes <= room) memcpy(out, view.data, view.bytes);
    STATUS(DA_OK, da_result_close(made));
    return view.bytes;
}

#endif
