/* What the fuzz targets share: a folder in memory, files in it, and what every call must keep to. */
#ifndef FUZZ_H
#define FUZZ_H

#include <diffaccel.h>
#include <stddef.h>
#include <stdint.h>

/* Each target has these two: what is needed once, and one input. */
void fuzz_start(void);
void fuzz_input(const uint8_t *data, size_t size);

/* A file in the scratch folder that stays open: rewriting it takes two system calls. */
struct fuzz_file {
    int descriptor;
    char path[96];
};

/* The scratch folder, in /dev/shm where there is one; removed when the process ends well. */
const char *fuzz_folder(void);

/* Makes the empty file `name` (which may begin with the name of a folder made before) in the scratch folder. */
struct fuzz_file fuzz_create(const char *name);

/* Gives the file these contents. */
void fuzz_write(const struct fuzz_file *file, const void *data, size_t size);

/* The input as text that ends with a NUL; valid until the next call. At most 64 KiB. */
const char *fuzz_text(const uint8_t *data, size_t size);

/* Stops the process, with the input kept by libFuzzer, unless `holds`. */
void fuzz_require(int holds, const char *what, int32_t status);

/* What every call promises: a documented status that is no defect, a text exactly when it failed, and an out-parameter that
 * is null exactly when it failed. `out` is any non-null pointer for calls without one. */
void fuzz_status(int32_t status, const void *out, int has_out);

/* Opens the model, checks the call, closes it again; `family` and `config` may be null. Returns the status. */
int32_t fuzz_open(const char *path, const char *family, const char *config);

/* Describes the plan alone and for the model, and stacks it on itself; closes it. */
void fuzz_plan(da_plan plan, da_model model);

#endif
