/* Which files the library opens, and how: seen from between it and the system. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "learning.h"

static char allowed[PATH_MAX]; /* the folder below which files may be opened */
static char also[PATH_MAX];    /* and another one, or empty */
static atomic_int watching, opened, written, outside, forbidden_writes, changed_names;
static char first_outside[PATH_MAX];

static int is_below(const char *path, const char *folder) {
    size_t length = strlen(folder);
    return length > 0 && !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

/* Below the folders, or what tells about the machine, or the seed of Swift's hash tables. */
static int is_allowed(const char *path) {
    return is_below(path, allowed) || is_below(path, also) || !strncmp(path, "/sys/", 5) || !strncmp(path, "/proc/", 6) ||
           !strcmp(path, "/dev/urandom");
}

/* The path that a name relative to a folder's descriptor stands for. */
static void absolute(int folder, const char *name, char path[PATH_MAX]) {
    char link[64], base[PATH_MAX / 2] = "";
    if (name[0] == '/' || folder == AT_FDCWD) {
        snprintf(path, PATH_MAX, "%s", name);
        return;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, base, sizeof base - 1);
    if (length > 0) base[length] = 0;
    snprintf(path, PATH_MAX, "%s/%.2000s", base, name);
}

static void note(int folder, const char *name, int flags) {
    if (!watching) return;
    char path[PATH_MAX];
    absolute(folder, name, path);
    opened++;
    if ((flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC)) {
        written++;
        /* A new file, never one that is there. */
        if (!(flags & O_EXCL)) forbidden_writes++;
    }
    if ((!is_allowed(path) || strstr(path, "/../")) && !outside++) snprintf(first_outside, sizeof first_outside, "%s", path);
}

/* The system's function. */
#define NEXT(name) (*(__typeof__(&name) *)&(void *){dlsym(RTLD_NEXT, #name)})

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    note(AT_FDCWD, path, flags);
    return NEXT(open)(path, flags, mode);
}
int openat(int folder, const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    note(folder, path, flags);
    return NEXT(openat)(folder, path, flags, mode);
}
FILE *fopen(const char *path, const char *mode) {
    note(AT_FDCWD, path, mode[0] == 'r' && !strchr(mode, '+') ? O_RDONLY : O_WRONLY | O_CREAT);
    return NEXT(fopen)(path, mode);
}
int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    if (watching) {
        note(from_folder, from, O_RDONLY);
        note(to_folder, to, O_RDONLY);
        changed_names++;
    }
    return NEXT(renameat)(from_folder, from, to_folder, to);
}

static void watch(const char *folder) {
    if (!realpath(folder, allowed)) CHECK(0, "no folder %s", folder);
    opened = written = outside = forbidden_writes = changed_names = 0;
    first_outside[0] = 0;
    watching = 1;
}
static void watched(const char *what, int writes) {
    watching = 0;
    CHECK(outside == 0, "%s: %d files outside are opened, first %s", what, (int)outside, first_outside);
    CHECK(written == writes && changed_names == writes, "%s: %d files opened for writing, %d renamed", what, (int)written,
          (int)changed_names);
    CHECK(forbidden_writes == 0, "%s: a file that is there is opened for writing", what);
}

/* ---- tests ---- */

static void test_read_only(void) {
    const char *path = tiny_checkpoint();
    float latents[2 * TINY_STATE];
    watch(path);
    da_model model = check_model();
    CHECK(opened >= 2, "the interposer has seen %d files", (int)opened);
    da_session session = check_session(model, NULL, 2);
    STATUS(DA_OK, check_sample(session, check_request, latents));
    STATUS(DA_OK, da_session_close(session));
    STATUS(DA_OK, da_model_close(model));
    watched("a whole use", 0);
}

static void write_text(const char *folder, const char *name, const char *text) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(text, file) >= 0 && !fclose(file), "cannot write %s", path);
}

/* Names inside files that lead out of the folder: to files that are there and whole, so that only the name can be why not. */
static void test_nothing_outside(void) {
    char folder[] = "/tmp/diffaccel-files-XXXXXX", shard[PATH_MAX], index[2 * PATH_MAX], link[PATH_MAX], config[PATH_MAX];
    CHECK(mkdtemp(folder), "no folder");
    const char *tiny = tiny_checkpoint(), *base = strrchr(tiny, '/') + 1;
    snprintf(config, sizeof config, "%s/config.json", tiny);
    char text[1024] = "";
    FILE *file = fopen(config, "r");
    CHECK(file && fread(text, 1, sizeof text - 1, file) > 0 && !fclose(file), "no config");
    write_text(folder, "config.json", text);
    const char *forms[] = {"../%s/model.safetensors",
                           "%s/model.safetensors",
                           "./../%s/model.safetensors",
                           "sub/../../%s/x",
                           "..\\\\%s\\\\x",
                           "../%s/model.safetensors\\u0000",
                           "/tmp/%s/../x",
                           "/tmp/%s/model.safetensors"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        snprintf(shard, sizeof shard, forms[i], base);
        snprintf(index, sizeof index, "{\"metadata\":{},\"weight_map\":{\"pos_embed\":\"%s\"}}", shard);
        write_text(folder, "model.safetensors.index.json", index);
        da_model model = (void *)&model;
        watch(folder);
        int32_t status = da_model_open(folder, NULL, &model);
        watched(shard, 0);
        CHECK(status < 0 && status > DA_INTERNAL && !model, "a shard named %s gives %s", shard, da_status_name(status));
    }
    /* A plan names its router file in the same way. */
    const char *routers[] = {"../%s/config.json", "/tmp/%s/config.json", "a/../../%s/config.json"};
    for (size_t i = 0; i < sizeof routers / sizeof *routers; i++) {
        snprintf(shard, sizeof shard, routers[i], base);
        snprintf(index, sizeof index, "{\"method\":\"l2c\",\"threshold\":0.5,\"router\":\"%s\"}", shard);
        write_text(folder, "plan.json", index);
        snprintf(link, sizeof link, "%s/plan.json", folder);
        da_plan plan = (void *)&plan;
        watch(folder);
        int32_t status = da_plan_load(link, &plan);
        watched(shard, 0);
        CHECK(status < 0 && status > DA_INTERNAL && !plan, "a router named %s gives %s", shard, da_status_name(status));
        unlink(link);
    }
    snprintf(link, sizeof link, "%s/model.safetensors.index.json", folder);
    unlink(link);
    /* A link out of the folder, where links are not asked for. */
    snprintf(link, sizeof link, "%s/model.safetensors", folder);
    snprintf(shard, sizeof shard, "%s/model.safetensors", tiny);
    CHECK(!symlink(shard, link), "no link");
    da_model model = NULL;
    int32_t status = da_model_open(folder, NULL, &model);
    CHECK(status < 0 && !model, "a link out of the folder gives %s", da_status_name(status));
    unlink(link);
    snprintf(link, sizeof link, "%s/config.json", folder);
    unlink(link);
    rmdir(folder);
}

static int entries(const char *folder) {
    int count = 0;
    DIR *open = opendir(folder);
    for (struct dirent *entry; open && (entry = readdir(open));) count += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    if (open) closedir(open);
    return count;
}

/* A file that is written appears whole and under its name, or not at all. */
static void test_atomic_writing(void) {
    char folder[] = "/tmp/diffaccel-files-XXXXXX", path[PATH_MAX], link[PATH_MAX];
    CHECK(mkdtemp(folder), "no folder");
    da_plan plan = NULL, again = NULL;
    const char *json = "{\"method\":\"l2c\",\"policy\":\"alternate\"}";
    STATUS(DA_OK, da_plan_parse(json, strlen(json), &plan));
    snprintf(path, sizeof path, "%s/plan.json", folder);
    for (int i = 0; i < 3; i++) {
        watch(folder);
        STATUS(DA_OK, da_plan_save(plan, path));
        watched("saving", 1);
        CHECK(entries(folder) == 1, "%d files are left", entries(folder));
    }
    STATUS(DA_OK, da_plan_load(path, &again));
    STATUS(DA_OK, da_plan_close(again));
    /* The target of a link is not written through. */
    snprintf(link, sizeof link, "%s/link.json", folder);
    write_text(folder, "precious", "kept");
    CHECK(!symlink("precious", link), "no link");
    da_plan_save(plan, link);
    snprintf(path, sizeof path, "%s/precious", folder);
    char text[16] = "";
    FILE *file = fopen(path, "r");
    CHECK(file && fread(text, 1, sizeof text - 1, file) == 4 && !strcmp(text, "kept"), "written through a link: \"%s\"", text);
    if (file) fclose(file);
    unlink(path), unlink(link);
    snprintf(path, sizeof path, "%s/plan.json", folder);
    unlink(path), rmdir(folder);
    /* What cannot be written leaves nothing behind. */
    STATUS(DA_IO, da_plan_save(plan, "/tmp/no-such-folder-of-diffaccel/plan.json"));
    STATUS(DA_OK, da_plan_close(plan));
}

/* Learning reads the checkpoint and the data, and writes the state and what is exported: new files, renamed into place. */
static void test_learning(void) {
    char more[512];
    const char *folder = in_place("exported");
    learning_data();
    strcpy(also, scratch_folder());
    snprintf(more, sizeof more, ",\"state\":\"%s\",\"save_every\":2", in_place("state"));
    watch(tiny_checkpoint());
    da_trainer trainer = new_trainer(&recipes[14], STEPS, more);
    watched("a new trainer", 0);
    watch(tiny_checkpoint());
    STATUS(DA_OK, da_trainer_run(trainer, 0, NULL, NULL));
    watched("learning", STEPS / 2);
    watch(tiny_checkpoint());
    char text[512];
    STATUS(DA_OK, da_trainer_evaluate(trainer, 1, text, sizeof text, NULL));
    STATUS(DA_OK, da_trainer_restore(trainer, in_place("state")));
    watched("measuring", 0);
    watch(tiny_checkpoint());
    STATUS(DA_OK, da_trainer_export(trainer, folder));
    watched("exporting", 2);
    STATUS(DA_OK, da_trainer_close(trainer));
    CHECK(entries(scratch_folder()) == 3, "%d files are left", entries(scratch_folder()));
    also[0] = 0;
}

int main(void) {
    test_read_only();
    test_nothing_outside();
    test_atomic_writing();
    test_learning();
    return check_summary("files");
}
