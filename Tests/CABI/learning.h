/* What the programs about learning share: data written by the program, settings of every method on the tiny model, and states
 * as bytes, which say everything that later steps depend on. */
#ifndef LEARNING_H
#define LEARNING_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <limits.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

/* Each program uses some of these. */
#ifndef SHARED
#define SHARED __attribute__((unused)) static
#endif

enum { SAMPLES = 10, BATCH = 3, STEPS = 6, TEXT = 8192 };

/* A method: settings without data, steps and seed. */
struct lesson {
    const char *name, *settings;
    int teacher;  /* whether it needs one */
    int plan;     /* what was learned is a plan */
    int exported; /* or, also, a checkpoint */
    int steps;    /* of the whole training */
};

static const struct lesson lessons[] = {
    {"a router", "\"method\":\"router\",\"sampling_steps\":4,\"learning_rate\":0.05", 0, 1, 0, STEPS},
    {"a router of period 3",
     "\"method\":\"router\",\"sampling_steps\":7,\"period\":3,\"straight_through\":0.5,\"clamp\":0,\"cache_limit\":9000", 0, 1,
     0, STEPS},
    {"a router on its own way",
     "\"method\":\"router\",\"sampling_steps\":5,\"trajectory\":\"own\",\"guidance\":2,\"learning_rate\":0.05", 0, 1, 0, STEPS},
    {"gates alone", "\"method\":\"prune\",\"groups\":[[1,2],[1,1]],\"update\":\"gates\"", 0, 1, 1, STEPS},
    {"gates and updates", "\"method\":\"prune\",\"pattern\":\"2:3\",\"update\":\"lora\",\"rank\":2", 0, 1, 1, STEPS},
    {"gates and weights", "\"method\":\"prune\",\"pattern\":\"1:3\",\"update\":\"full\",\"recompute\":true", 0, 1, 1, STEPS},
    {"a list", "\"method\":\"prune\",\"rule\":\"index\",\"keep\":[0,2]", 0, 1, 1, 1},
    {"pairs", "\"method\":\"prune\",\"rule\":\"pairs\"", 0, 1, 1, 1},
    {"similarity", "\"method\":\"prune\",\"rule\":\"similarity\",\"keep_count\":2", 0, 1, 1, STEPS},
    {"change", "\"method\":\"prune\",\"rule\":\"change\",\"keep_count\":1,\"calibration\":\"noised\"", 0, 1, 1, STEPS},
    {"sensitivity", "\"method\":\"prune\",\"rule\":\"sensitivity\",\"keep_count\":2", 0, 1, 1, STEPS},
    {"chance", "\"method\":\"prune\",\"rule\":\"random\",\"keep_count\":2", 0, 1, 1, 1},
    {"weights", "\"method\":\"finetune\",\"warmup\":2,\"weight_decay\":0.01", 0, 0, 1, STEPS},
    {"weights from nothing", "\"method\":\"finetune\",\"start\":\"scratch\",\"recompute\":true", 0, 0, 1, STEPS},
    {"a teacher's outputs", "\"method\":\"finetune\",\"distillation\":\"logits\"", 1, 0, 1, STEPS},
    {"a teacher's blocks", "\"method\":\"finetune\",\"distillation\":\"masked\",\"layer_map\":[[0,0],[2,2]]", 1, 0, 1, STEPS},
};
enum { LESSONS = sizeof lessons / sizeof *lessons };

/* ---- a folder of our own ---- */

static char learning_place[64];
static pid_t learning_owner;

SHARED void remove_tree(const char *path) {
    DIR *stream = opendir(path);
    for (struct dirent *entry; stream && (entry = readdir(stream));) {
        char full[PATH_MAX];
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        snprintf(full, sizeof full, "%s/%s", path, entry->d_name);
        if (unlink(full)) remove_tree(full);
    }
    if (stream) closedir(stream);
    rmdir(path);
}

SHARED void learning_remove(void) {
    if (getpid() == learning_owner) remove_tree(learning_place);
}

/* The path of `name` in the folder; valid for the next eight calls. */
SHARED const char *in_place(const char *name) {
    static char paths[8][192];
    static int next;
    if (!learning_place[0]) {
        /* In memory where that is possible: every state and every export is flushed to its device. */
        strcpy(learning_place,
               access("/dev/shm", W_OK) ? "/tmp/diffaccel-learning-XXXXXX" : "/dev/shm/diffaccel-learning-XXXXXX");
        CHECK(mkdtemp(learning_place) != NULL, "no folder");
        learning_owner = getpid();
        atexit(learning_remove);
    }
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", learning_place, name);
    return path;
}

/* ---- data ---- */

/* A file of a head and elements. */
SHARED const char *write_data(const char *name, const void *head, size_t length, const void *data, size_t bytes) {
    const char *path = in_place(name);
    FILE *file = fopen(path, "wb");
    CHECK(file && fwrite(head, 1, length, file) == length && fwrite(data, 1, bytes, file) == bytes && !fclose(file), "no %s",
          path);
    return path;
}

/* An array in NumPy's format: a head of 128 bytes, then the elements. */
SHARED const char *write_npy(const char *name, const char *type, const char *shape, const void *data, size_t bytes) {
    char head[128];
    memset(head, ' ', sizeof head);
    memcpy(head, "\x93NUMPY\x01\x00\x76\x00", 10);
    char text[119];
    int count = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", type, shape);
    CHECK(count > 0 && count < 118, "a head of %d bytes", count);
    memcpy(head + 10, text, (size_t)count);
    head[127] = '\n';
    return write_data(name, head, sizeof head, data, bytes);
}

/* `count` samples as a safetensors file of f32 states and i64 labels. */
SHARED const char *write_samples(const char *name, const float *states, const int64_t *labels, int count) {
    char text[512], head[520];
    size_t bytes = (size_t)count * TINY_STATE * 4, length;
    length =
        (size_t)snprintf(text, sizeof text,
                         "{\"labels\":{\"dtype\":\"I64\",\"shape\":[%d],\"data_offsets\":[%zu,%zu]},\"latents\":{\"dtype\":"
                         "\"F32\",\"shape\":[%d,%d,%d,%d],\"data_offsets\":[0,%zu]}}",
                         count, bytes, bytes + (size_t)count * 8, count, TINY_CHANNELS, TINY_SIDE, TINY_SIDE, bytes);
    memset(head, ' ', sizeof head);
    memcpy(head + 8, text, length);
    uint64_t padded = (length + 7) / 8 * 8;
    memcpy(head, &padded, 8);
    char *both = malloc(bytes + (size_t)count * 8 + 1);
    if (!both) return NULL;
    memcpy(both, states, bytes);
    memcpy(both + bytes, labels, (size_t)count * 8);
    const char *path = write_data(name, head, 8 + padded, both, bytes + (size_t)count * 8);
    free(both);
    return path;
}

static float learning_states[SAMPLES * TINY_STATE];
static int64_t learning_labels[SAMPLES];

/* The data of most tests; written once. */
SHARED const char *learning_data(void) {
    static char path[192];
    if (path[0]) return path;
    STATUS(DA_OK, da_random_normal(8, SAMPLES * TINY_STATE, learning_states));
    for (int i = 0; i < SAMPLES; i++) learning_labels[i] = i * 7 % TINY_CLASSES;
    strcpy(path, write_samples("data.safetensors", learning_states, learning_labels, SAMPLES));
    return path;
}

/* ---- trainers ---- */

/* The settings of `lesson` with the data above and `more` members (such as ",\"state\":...") at their end. */
SHARED const char *settings_of(const struct lesson *lesson, int steps, const char *more) {
    static char text[TEXT];
    char teacher[256] = "";
    if (lesson->teacher) snprintf(teacher, sizeof teacher, ",\"teacher\":\"%s\"", tiny_checkpoint());
    snprintf(text, sizeof text, "{%s%s,\"data\":{\"path\":\"%s\"},\"steps\":%d,\"batch\":%d,\"seed\":5%s}", lesson->settings,
             teacher, learning_data(), steps, BATCH, more);
    return text;
}

/* Creates a trainer of `model` and gives the status; no trainer exactly when it failed. */
SHARED int32_t try_trainer_of(const char *model, const char *settings, int32_t threads, uint64_t limit, da_trainer *made) {
    da_trainer_options options;
    STATUS(DA_OK, da_trainer_options_init(&options, sizeof options));
    options.threads = threads;
    options.memory_limit = limit;
    *made = (void *)made;
    int32_t status = da_trainer_create(model, settings, strlen(settings), NULL, &options, made);
    CHECK((status == DA_OK) == (*made != NULL), "status %s and trainer %p", da_status_name(status), (void *)*made);
    return status;
}

/* The same of the tiny model. */
SHARED int32_t try_trainer(const char *settings, int32_t threads, uint64_t limit, da_trainer *made) {
    return try_trainer_of(tiny_checkpoint(), settings, threads, limit, made);
}

SHARED da_trainer new_trainer(const struct lesson *lesson, int steps, const char *more) {
    da_trainer made = NULL;
    int32_t status = try_trainer(settings_of(lesson, steps, more), 2, 0, &made);
    CHECK(status == DA_OK, "%s: %s: %s", lesson->name, da_status_name(status), da_last_error());
    return made;
}

/* A number of the trainer's description, the first one under `name`. */
SHARED double described(da_trainer trainer, const char *name) {
    static char text[1 << 20];
    char key[64];
    STATUS(DA_OK, da_trainer_describe(trainer, text, sizeof text, NULL));
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *found = strstr(text, key);
    CHECK(found != NULL, "no %s in %s", name, text);
    return found ? strtod(found + strlen(key), NULL) : -1;
}

/* ---- bytes ---- */

struct bytes {
    unsigned char *data;
    size_t size;
};

SHARED struct bytes read_file(const char *path) {
    struct bytes bytes = {NULL, 0};
    struct stat status;
    FILE *file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &status)) return bytes;
    bytes.size = (size_t)status.st_size;
    bytes.data = malloc(bytes.size + 1);
    if (!bytes.data || fread(bytes.data, 1, bytes.size, file) != bytes.size) bytes.size = 0;
    fclose(file);
    return bytes;
}

/* Everything that the trainer's next steps depend on. */
SHARED struct bytes state_of(da_trainer trainer) {
    const char *path = in_place("state-of");
    STATUS(DA_OK, da_trainer_save(trainer, path));
    struct bytes bytes = read_file(path);
    CHECK(bytes.size > 100, "a state of %zu bytes", bytes.size);
    unlink(path);
    return bytes;
}

SHARED int same_bytes(struct bytes a, struct bytes b) {
    return a.data && b.data && a.size == b.size && !memcmp(a.data, b.data, a.size);
}

/* Compares the trainer's state with `expected`. */
SHARED void same_state(da_trainer trainer, struct bytes expected, const char *what) {
    struct bytes now = state_of(trainer);
    CHECK(same_bytes(now, expected), "%s: another state (%zu bytes, %zu expected)", what, now.size, expected.size);
    free(now.data);
}

/* States of an uninterrupted run after 0...`steps` steps. */
SHARED void trace(const struct lesson *lesson, int steps, struct bytes *states) {
    da_trainer trainer = new_trainer(lesson, steps, "");
    states[0] = state_of(trainer);
    for (int step = 1; step <= steps; step++) {
        STATUS(DA_OK, da_trainer_run(trainer, 1, NULL, NULL));
        states[step] = state_of(trainer);
    }
    STATUS(DA_OK, da_trainer_close(trainer));
}

SHARED void forget(struct bytes *states, int count) {
    for (int i = 0; i < count; i++) free(states[i].data);
}

#endif
