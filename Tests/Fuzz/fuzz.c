#define _GNU_SOURCE
#include "fuzz.h"

#include "../CABI/scratch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXT_BYTES = 1 << 16 };

const char *fuzz_folder(void) { return scratch_folder(); }

struct fuzz_file fuzz_create(const char *name) {
    struct fuzz_file file;
    snprintf(file.path, sizeof file.path, "%s/%s", fuzz_folder(), name);
    file.descriptor = open(file.path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file.descriptor < 0) exit(2);
    return file;
}

void fuzz_write(const struct fuzz_file *file, const void *data, size_t size) {
    if (size && pwrite(file->descriptor, data, size, 0) != (ssize_t)size) exit(2);
    if (ftruncate(file->descriptor, (off_t)size)) exit(2);
}

const char *fuzz_text(const uint8_t *data, size_t size) {
    static char text[TEXT_BYTES + 1];
    if (size > TEXT_BYTES) size = TEXT_BYTES;
    memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

void fuzz_require(int holds, const char *what, int32_t status) {
    if (holds) return;
    fprintf(stderr, "%s: status %d (%s): %s\n", what, (int)status, da_status_name(status), da_last_error());
    abort();
}

void fuzz_status(int32_t status, const void *out, int has_out) {
    fuzz_require(status <= DA_MORE && status >= DA_NOT_FINITE, "a status of no meaning, or a defect", status);
    const char *text = da_last_error();
    /* Who stopped a run is told too, though it is no failure. */
    fuzz_require(status == DA_CANCELLED || (status < 0) == (text[0] != '\0'), "text and status do not fit", status);
    fuzz_require(strlen(text) <= 2048, "a text over 2 KiB", status);
    if (has_out) fuzz_require((status == DA_OK) == (out != NULL), "out-parameter and status do not fit", status);
}

int32_t fuzz_open(const char *path, const char *family, const char *config) {
    da_model model = NULL;
    da_model_options options;
    da_model_options_init(&options, sizeof options);
    options.family = family;
    options.config = config;
    options.memory_limit = 64 << 20;
    int32_t status = da_model_open(path, &options, &model);
    fuzz_status(status, model, 1);
    if (status == DA_OK) da_model_close(model);
    return status;
}

void fuzz_plan(da_plan plan, da_model model) {
    static char text[1 << 16];
    size_t needed = 0;
    da_plan stacked = NULL;
    fuzz_status(da_plan_describe(plan, NULL, 0, text, sizeof text, &needed), NULL, 0);
    fuzz_status(da_plan_describe(plan, model, 3, text, sizeof text, &needed), NULL, 0);
    fuzz_status(da_plan_stack(plan, plan, &stacked), stacked, 0);
    if (stacked) da_plan_close(stacked);
    da_plan_close(plan);
}

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count, (void)arguments;
    fuzz_start();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input(data, size);
    return 0;
}
