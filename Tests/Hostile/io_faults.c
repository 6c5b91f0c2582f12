/* System calls that fail: the k-th call of a kind gives an error, less than was asked for, or a signal's interruption, once or
 * from then on; for loading a plain, a sharded and a pipeline checkpoint, a plan with its router, and for saving a plan.
 *
 * A shared library calls the functions of the program it is loaded into when there are any of that name, so the ones below
 * stand between it and the system. */
#include "hostile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum kind { OPEN, STAT, READ, LIST, WRITE, SYNC, RENAME, KINDS };
static const char *const kind_names[] = {"open", "stat", "read", "list", "write", "sync", "rename"};

static struct {
    int armed;
    enum kind kind;
    int number;  /* the call that fails, from 1 */
    int lasting; /* and all after it */
    int error;   /* 0: the call moves half of what was asked for */
    int calls[KINDS];
    int given;
} fault;

/* Whether this call is the one to fail. */
static int fails(enum kind kind) {
    if (!fault.armed) return 0;
    int number = ++fault.calls[kind];
    if (kind != fault.kind || number < fault.number || (number > fault.number && !fault.lasting)) return 0;
    fault.given++;
    errno = fault.error;
    return 1;
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    int mode = va_arg(arguments, int);
    va_end(arguments);
    if (fails(OPEN)) return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    int mode = va_arg(arguments, int);
    va_end(arguments);
    if (fails(OPEN)) return -1;
    return (int)syscall(SYS_openat, folder, path, flags, mode);
}

int stat(const char *restrict path, struct stat *restrict status) {
    return fails(STAT) ? -1 : (int)syscall(SYS_newfstatat, AT_FDCWD, path, status, 0);
}

int fstat(int file, struct stat *status) { return fails(STAT) ? -1 : (int)syscall(SYS_fstat, file, status); }

int fstatat(int folder, const char *restrict path, struct stat *restrict status, int flags) {
    return fails(STAT) ? -1 : (int)syscall(SYS_newfstatat, folder, path, status, flags);
}

/* What these are called in glibc before 2.33, which the library asks for. */
int __xstat(int version, const char *path, struct stat *status);
int __fxstat(int version, int file, struct stat *status);
int __fxstatat(int version, int folder, const char *path, struct stat *status, int flags);
int __xstat(int version, const char *path, struct stat *status) { return version < 0 ? -1 : stat(path, status); }
int __fxstat(int version, int file, struct stat *status) { return version < 0 ? -1 : fstat(file, status); }
int __fxstatat(int version, int folder, const char *path, struct stat *status, int flags) {
    return version < 0 ? -1 : fstatat(folder, path, status, flags);
}

ssize_t pread(int file, void *target, size_t size, off_t offset) {
    if (fails(READ)) {
        if (fault.error) return -1;
        size /= 2;
    }
    return syscall(SYS_pread64, file, target, size, offset);
}

ssize_t write(int file, const void *source, size_t size) {
    if (fails(WRITE)) {
        if (fault.error) return -1;
        size /= 2;
    }
    return syscall(SYS_write, file, source, size);
}

int fsync(int file) { return fails(SYNC) ? -1 : (int)syscall(SYS_fsync, file); }

int renameat(int from, const char *old, int to, const char *new) {
    return fails(RENAME) ? -1 : (int)syscall(SYS_renameat, from, old, to, new);
}

DIR *fdopendir(int file) {
    static DIR *(*next)(int);
    if (!next) {
        extern void *dlsym(void *, const char *);
        *(void **)&next = dlsym((void *)-1, "fdopendir");
    }
    return fails(LIST) ? NULL : next(file);
}

struct dirent *readdir(DIR *stream) {
    static struct dirent *(*next)(DIR *);
    if (!next) {
        extern void *dlsym(void *, const char *);
        *(void **)&next = dlsym((void *)-1, "readdir");
    }
    return fails(LIST) ? NULL : next(stream);
}

/* ---- what is done under faults ---- */

static char paths[4][512], plan_path[512], saved_path[512];
static da_plan plan;

static int32_t open_model(const char *path) {
    da_model model = (da_model)(uintptr_t)1;
    int32_t status = da_model_open(path, NULL, &model);
    CHECK((status == DA_OK) == (model != NULL), "out-parameter and status do not fit");
    if (model) da_model_close(model);
    return status;
}

static int32_t plain(void) { return open_model(paths[0]); }
static int32_t sharded(void) { return open_model(paths[1]); }
static int32_t pipeline(void) { return open_model(paths[2]); }
static int32_t other_name(void) { return open_model(paths[3]); }

static int32_t load_plan(void) {
    da_plan loaded = (da_plan)(uintptr_t)1;
    int32_t status = da_plan_load(plan_path, &loaded);
    CHECK((status == DA_OK) == (loaded != NULL), "out-parameter and status do not fit");
    if (loaded) da_plan_close(loaded);
    return status;
}

static int32_t save_plan(void) { return da_plan_save(plan, saved_path); }

static int descriptors(void) {
    int count = 0;
    for (int file = 0; file < 256; file++) count += fcntl(file, F_GETFD) >= 0;
    return count;
}

/* Entries of the folder that plans are saved to: a failed save leaves nothing behind. */
static int entries(void) {
    int count = 0;
    DIR *stream = opendir(paths[0]);
    while (stream && readdir(stream)) count++;
    if (stream) closedir(stream);
    return count;
}

/* Fails call after call until a run meets no fault. `survives`: such a fault must not be noticed at all. */
static int every_call(const char *name, int32_t (*work)(void), enum kind kind, int error, int lasting, int survives) {
    int number = 1, files = descriptors(), names = entries();
    for (; number < 10000; number++) {
        memset(&fault, 0, sizeof fault);
        fault.kind = kind, fault.number = number, fault.lasting = lasting, fault.error = error, fault.armed = 1;
        int32_t status = work();
        fault.armed = 0;
        if (!fault.given) {
            CHECK(status == DA_OK, "%s without a fault: %s", name, da_last_error());
            break;
        }
        if (survives)
            CHECK(status == DA_OK, "%s, %s %d interrupted or short: %s", name, kind_names[kind], number, da_last_error());
        else
            CHECK(status == DA_IO && strstr(da_last_error(), hostile_folder()), "%s, %s %d fails with %d: %s: %s", name,
                  kind_names[kind], number, error, da_status_name(status), da_last_error());
        CHECK(entries() == names, "%s, %s %d: a file is left behind", name, kind_names[kind], number);
        CHECK(descriptors() == files, "%s, %s %d: a descriptor is lost", name, kind_names[kind], number);
        CHECK(work() == DA_OK, "%s, again after %s %d: %s", name, kind_names[kind], number, da_last_error());
    }
    return number - 1;
}

static void put(const char *name, const void *data, size_t size) { hostile_write(name, data, size); }

static void prepare(void) {
    static const char *const names[] = {"plain", "sharded", "pipeline", "other"};
    char config[1024], path[600];
    size_t size;
    for (int i = 0; i < 4; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%s", hostile_folder(), names[i]);
        mkdir(paths[i], 0700);
    }
    snprintf(path, sizeof path, "%s/transformer", paths[2]);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/vae", paths[2]);
    mkdir(path, 0700);
    snprintf(config, sizeof config, "%s}", tiny_transformer_config);
    put("plain/config.json", config, strlen(config));
    put("sharded/config.json", config, strlen(config));
    put("other/config.json", config, strlen(config));
    put("pipeline/transformer/config.json", config, strlen(config));
    put("pipeline/model_index.json", "{}", 2);
    put("pipeline/vae/config.json", tiny_autoencoder_config, strlen(tiny_autoencoder_config));
    uint8_t *image = tiny_transformer(&size);
    put("plain/model.safetensors", image, size);
    put("other/net.safetensors", image, size);
    put("pipeline/transformer/diffusion_pytorch_model.safetensors", image, size);
    image = tiny_autoencoder(&size);
    put("pipeline/vae/diffusion_pytorch_model.safetensors", image, size);
    for (int part = 0; part < 2; part++) {
        image = tiny_transformer_shard(part, &size);
        put(part ? "sharded/t.safetensors" : "sharded/s.safetensors", image, size);
    }
    char *index = tiny_transformer_index();
    put("sharded/model.safetensors.index.json", index, strlen(index));
    put("plain/plan.json", "{\"method\":\"l2c\",\"router\":\"router.json\"}", 39);
    put("plain/router.json", "{\"logits\":[[1,2]]}", 18);
    snprintf(plan_path, sizeof plan_path, "%s/plain/plan.json", hostile_folder());
    snprintf(saved_path, sizeof saved_path, "%s/plain/saved.json", hostile_folder());
    CHECK(da_plan_parse("{\"logits\":[[1,2]]}", 18, &plan) == DA_OK, "a plan: %s", da_last_error());
    CHECK(save_plan() == DA_OK, "the plan cannot be saved: %s", da_last_error());
}

int main(void) {
    static const struct {
        const char *name;
        int32_t (*work)(void);
    } all[] = {{"plain", plain},           {"sharded", sharded},       {"pipeline", pipeline},
               {"other name", other_name}, {"load a plan", load_plan}, {"save a plan", save_plan}};
    int faults = 0;
    prepare();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (enum kind kind = OPEN; kind < KINDS; kind++)
            for (int lasting = 0; lasting < 2; lasting++)
                faults += every_call(all[i].name, all[i].work, kind, kind == WRITE ? ENOSPC : EIO, lasting, 0);
        faults += every_call(all[i].name, all[i].work, OPEN, EMFILE, 0, 0);
        faults += every_call(all[i].name, all[i].work, STAT, EACCES, 0, 0);
        faults += every_call(all[i].name, all[i].work, OPEN, EINTR, 0, 1);
        faults += every_call(all[i].name, all[i].work, READ, EINTR, 0, 1);
        faults += every_call(all[i].name, all[i].work, READ, 0, 0, 1);
        faults += every_call(all[i].name, all[i].work, WRITE, EINTR, 0, 1);
        faults += every_call(all[i].name, all[i].work, WRITE, 0, 0, 1);
    }
    printf("faults given: %d\n", faults);
    CHECK(faults >= 300, "only %d faults could be given", faults);
    return hostile_summary("io_faults");
}
