/* What the programs about learning share: data written by the program, settings of every method on the tiny model, and states
 * as bytes, which say everything that later steps depend on. */
#ifndef LEARNING_H
#define LEARNING_H

#include "tiny_var.h"

enum { SAMPLES = 10, BATCH = 3, STEPS = 6, TEXT = 8192 };

/* A method: settings without data, steps and seed. */
struct recipe {
    const char *name, *settings;
    int teacher;  /* whether it needs one */
    int plan;     /* what was learned is a plan */
    int exported; /* or, also, a checkpoint */
    int steps;    /* of the whole training */
};

static const struct recipe recipes[] = {
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
    {"a drafter", "\"method\":\"specialise\",\"role\":\"drafter\",\"draft_scales\":2,\"recompute\":true", 0, 0, 1, STEPS},
    {"a refiner", "\"method\":\"specialise\",\"role\":\"refiner\",\"draft_scales\":1,\"label_dropout\":0.2", 1, 0, 1, STEPS},
};
enum { RECIPES = sizeof recipes / sizeof *recipes };

/* ---- data ---- */

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

/* Tokens and labels for the VAR, as members of the settings' data. */
SHARED const char *token_data(void) {
    static char members[512];
    static int64_t tokens[SAMPLES * VAR_TOKENS], labels[SAMPLES];
    if (members[0]) return members;
    for (int i = 0; i < SAMPLES * VAR_TOKENS; i++) tokens[i] = i * 7 % VAR_CODES;
    for (int i = 0; i < SAMPLES; i++) labels[i] = i % (VAR_CLASSES + 1);
    const char *first = write_npy("tokens.npy", "<i8", "(10, 14)", tokens, sizeof tokens);
    const char *second = write_npy("token-labels.npy", "<i8", "(10,)", labels, sizeof labels);
    snprintf(members, sizeof members, "\"tokens\":\"%s\",\"labels\":\"%s\"", first, second);
    return members;
}

/* ---- trainers ---- */

/* Whether the recipe is one of the tiny VAR, learned from tokens. */
SHARED int of_tokens(const struct recipe *recipe) { return strstr(recipe->settings, "specialise") != NULL; }

/* What the recipe is about. */
SHARED const char *model_of(const struct recipe *recipe) {
    static char var[192];
    if (!of_tokens(recipe)) return tiny_checkpoint();
    if (!var[0]) strcpy(var, write_var("tiny-var", 16, 3, VAR_CODES, 1));
    return var;
}

/* The settings of `recipe` with the data above and `more` members (such as ",\"state\":...") at their end. */
SHARED const char *settings_of(const struct recipe *recipe, int steps, const char *more) {
    static char text[TEXT];
    char teacher[256] = "", data[512];
    if (recipe->teacher) snprintf(teacher, sizeof teacher, ",\"teacher\":\"%s\"", model_of(recipe));
    if (of_tokens(recipe)) snprintf(data, sizeof data, "%s", token_data());
    else snprintf(data, sizeof data, "\"path\":\"%s\"", learning_data());
    snprintf(text, sizeof text, "{%s%s,\"data\":{%s},\"steps\":%d,\"batch\":%d,\"seed\":5%s}", recipe->settings, teacher, data,
             steps, BATCH, more);
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

/* The same of the tiny DiT, and of a recipe's model. */
SHARED int32_t try_trainer(const char *settings, int32_t threads, uint64_t limit, da_trainer *made) {
    return try_trainer_of(tiny_checkpoint(), settings, threads, limit, made);
}
SHARED int32_t try_recipe(const struct recipe *recipe, int steps, int32_t threads, uint64_t limit, da_trainer *made) {
    return try_trainer_of(model_of(recipe), settings_of(recipe, steps, ""), threads, limit, made);
}

SHARED da_trainer new_trainer(const struct recipe *recipe, int steps, const char *more) {
    da_trainer made = NULL;
    int32_t status = try_trainer_of(model_of(recipe), settings_of(recipe, steps, more), 2, 0, &made);
    CHECK(status == DA_OK, "%s: %s: %s", recipe->name, da_status_name(status), da_last_error());
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
SHARED void trace(const struct recipe *recipe, int steps, struct bytes *states) {
    da_trainer trainer = new_trainer(recipe, steps, "");
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
