/* States of learning: a good file with one thing changed. What is refused leaves the trainer as it was; what is accepted can be
 * gone on from. */
#include "hostile.h"

#define ROUTER   "{\"method\":\"router\",\"trajectory\":\"own\",\"sampling_steps\":4,\"steps\":1000,\"batch\":1}"
#define GATES    "{\"method\":\"prune\",\"update\":\"lora\",\"rank\":1,\"pattern\":\"1:1\",\"steps\":1000,\"batch\":1,\"data\":%s}"
#define RULE     "{\"method\":\"prune\",\"rule\":\"change\",\"keep_count\":1,\"steps\":1000,\"batch\":1,\"data\":%s}"
#define FINETUNE "{\"method\":\"finetune\",\"steps\":1000,\"batch\":1,\"data\":%s}"

/* The first `find` of the head becomes `replace`. */
struct change {
    const char *id, *find, *replace;
    int32_t status;
    const char *part;
};

static const struct change of_all[] = {
    {"spaces", "\"F32\"", " \"F32\"", DA_OK, ""},
    {"another format", "learning state 1", "learning state 2", DA_FORMAT, "no saved state"},
    {"no format", "\"format\"", "\"formal\"", DA_FORMAT, "no saved state"},
    {"no method", "\"method\":\"", "\"metod\":\"", DA_FORMAT, "no saved state"},
    {"another method", "\"method\":\"", "\"method\":\"x", DA_INCOMPATIBLE, "the state is one of \"x"},
    {"no step", "\"step\":\"", "\"stop\":\"", DA_FORMAT, "no saved state"},
    {"a step below zero", "\"step\":\"", "\"step\":\"-", DA_FORMAT, "no saved state"},
    {"a broken step", "\"step\":\"", "\"step\":\"0.", DA_FORMAT, "no saved state"},
    {"a step with a space", "\"step\":\"", "\"step\":\" ", DA_FORMAT, "no saved state"},
    {"a step beyond numbers", "\"step\":\"", "\"step\":\"9223372036854775807", DA_FORMAT, "no saved state"},
    {"a step beyond the last", "\"step\":\"", "\"step\":\"922337203685477580", DA_INCOMPATIBLE, "this run has 1000"},
    {"no settings", "\"settings\"", "\"setting\"", DA_FORMAT, ""},
    {"settings that are none", "\"settings\":\"{", "\"settings\":\"", DA_FORMAT, "JSON"},
    {"settings of another seed", "\\\"seed\\\":\\\"0", "\\\"seed\\\":\\\"1", DA_INCOMPATIBLE, "another \"seed\""},
    {"settings of another batch", "\\\"batch\\\":1", "\\\"batch\\\":2", DA_INCOMPATIBLE, "another \"batch\""},
    {"settings without batch", "\\\"batch\\\"", "\\\"bath\\\"", DA_INCOMPATIBLE, "another \"batch\""},
    {"no integers", "\"integers\"", "\"integer\"", DA_FORMAT, ""},
    {"integers that are none", "\"integers\":\"{", "\"integers\":\"", DA_FORMAT, "JSON"},
    {"a tensor of integers", "\"F32\"", "\"I32\"", DA_FORMAT, "must be F32"},
    {"a tensor of halves", "\"F32\"", "\"F16\"", DA_FORMAT, "needs"},
    {"a shape that wraps", "\"shape\":[", "\"shape\":[4611686018427387904,4,", DA_FORMAT, "shape"},
    {"a larger shape", "\"shape\":[", "\"shape\":[2,", DA_FORMAT, "needs"},
    {"another rank", "\"shape\":[", "\"shape\":[1,", DA_OK, ""},
    {"metadata of numbers", "\"step\":\"", "\"x\":1,\"step\":\"", DA_FORMAT, "__metadata__"},
};

static const struct change of_weights[] = {
    {"no value", "final_layer.linear.bias/value", "final_layer.linear.bias/valu", DA_FORMAT,
     "no value of \"final_layer.linear.bias\""},
    {"no moment", "final_layer.linear.bias/second", "final_layer.linear.bias/secon", DA_FORMAT, "no second of"},
    {"no average", "pos", "pas", DA_OK, ""},
    {"no count", "optimiser.steps", "optimiser.stops", DA_FORMAT, "no step count"},
    {"an empty count", "optimiser.steps\\\":[", "x\\\":[1],\\\"optimiser.steps\\\":[],\\\"y\\\":[", DA_FORMAT, "no step count"},
    {"a count below zero", "optimiser.steps\\\":[", "optimiser.steps\\\":[-", DA_FORMAT, "optimiser.steps"},
    {"a broken count", "optimiser.steps\\\":[", "optimiser.steps\\\":[0.", DA_FORMAT, "optimiser.steps"},
    {"the largest count", "optimiser.steps\\\":[", "optimiser.steps\\\":[9223372036854775807,", DA_OK, ""},
    {"a count beyond", "optimiser.steps\\\":[", "optimiser.steps\\\":[9223372036854775808,", DA_FORMAT, ""},
    {"a count of text", "optimiser.steps\\\":[", "optimiser.steps\\\":[\\\"1\\\",", DA_FORMAT, "optimiser.steps"},
    {"a count that is no list", "optimiser.steps\\\":", "optimiser.steps\\\":1,\\\"x\\\":", DA_FORMAT, "optimiser.steps"},
};

static const struct change of_router[] = {
    {"no logits", "\"logits\"", "\"logit\"", DA_FORMAT, "no \"logits\""},
    {"no moments", "\"moments.first\"", "\"moments.fist\"", DA_FORMAT, "no \"moments.first\""},
    {"no counts", "moments.steps", "moments.stops", DA_FORMAT, "step counts of \"moments\""},
    {"a count too many", "moments.steps\\\":[", "moments.steps\\\":[0,", DA_FORMAT, "step counts of \"moments\""},
    {"no trajectory", "\"trajectory\":{", "\"trajectary\":{", DA_FORMAT, "no tensor \"trajectory\""},
    {"no position", "trajectory.position", "trajectory.positon", DA_FORMAT, "no trajectory"},
    {"a position beyond", "trajectory.position\\\":[", "trajectory.position\\\":[7,", DA_FORMAT, "no trajectory"},
    {"the largest position", "trajectory.position\\\":[", "trajectory.position\\\":[9223372036854775807,", DA_FORMAT,
     "no trajectory"},
    {"labels beyond", "trajectory.labels\\\":[", "trajectory.labels\\\":[3],\\\"x\\\":[", DA_FORMAT, "no trajectory"},
    {"the largest label", "trajectory.labels\\\":[", "trajectory.labels\\\":[9223372036854775807],\\\"x\\\":[", DA_FORMAT,
     "no trajectory"},
    {"many labels", "trajectory.labels\\\":[", "trajectory.labels\\\":[0,0,0],\\\"x\\\":[", DA_FORMAT, "no trajectory"},
};

static const struct change of_gates[] = {
    {"no gates", "\"gates\"", "\"gate\"", DA_FORMAT, "no \"gates\""},
    {"no average of gates", "\"gates.average\"", "\"gates.averages\"", DA_FORMAT, "no \"gates.average\""},
    {"no moments of gates", "gates.moments.second", "gates.moments.third", DA_FORMAT, "no \"gates.moments.second\""},
    {"no counts of gates", "gates.moments.steps", "gates.moments.stops", DA_FORMAT, "step counts of \"gates.moments\""},
};

static const struct change of_rule[] = {{"no sums", "\"sums\"", "\"some\"", DA_FORMAT, "no \"sums\""}};

static uint8_t *good;
static size_t good_size, head_size;

/* Writes the good state with a change, its stated length made to fit. */
static const char *write_changed(const struct change *c, size_t *size) {
    char *head = malloc(head_size + 1);
    memcpy(head, good + 8, head_size);
    head[head_size] = 0;
    char *at = strstr(head, c->find);
    CHECK(at != NULL, "%s: no %s in %s", c->id, c->find, head);
    if (!at) at = head;
    size_t before = (size_t)(at - head), cut = strlen(c->find), put = strlen(c->replace);
    uint64_t length = head_size - cut + put;
    uint8_t *image = malloc(good_size + put + 8);
    memcpy(image, &length, 8);
    memcpy(image + 8, head, before);
    memcpy(image + 8 + before, c->replace, put);
    memcpy(image + 8 + before + put, good + 8 + before + cut, good_size - 8 - before - cut);
    *size = good_size - cut + put;
    const char *path = hostile_write("x.state", image, *size);
    free(image), free(head);
    return path;
}

static void table(const struct change *changes, size_t count, da_trainer trainer) {
    for (size_t i = 0; i < count; i++) {
        size_t size;
        const char *path = write_changed(&changes[i], &size);
        hostile_restore(changes[i].id, trainer, path, size, changes[i].status,
                        changes[i].part[0] ? changes[i].part : "x.state");
    }
}

/* Bytes that are cut, too many, or no numbers. */
static void contents(da_trainer trainer) {
    uint8_t *image = malloc(good_size + 64);
    memcpy(image, good, good_size);
    memset(image + good_size, 0, 64);
    for (size_t cut = 0; cut < good_size; cut = cut * 2 + 1)
        hostile_restore("cut", trainer, hostile_write("x.state", image, cut), good_size, DA_FORMAT, "x.state");
    hostile_restore("cut by one", trainer, hostile_write("x.state", image, good_size - 1), good_size, DA_FORMAT, "x.state");
    hostile_restore("too long", trainer, hostile_write("x.state", image, good_size + 64), good_size, DA_FORMAT, "x.state");
    const uint32_t odd[] = {0x7fc00000, 0xffc00000, 0x7f800000, 0xff800000, 0x7f800001};
    for (int i = 0; i < 5; i++)
        for (size_t at = 8 + head_size; at + 4 <= good_size; at += (good_size - 8 - head_size) / 36 * 4 + 4) {
            memcpy(image, good, good_size);
            memcpy(image + at, &odd[i], 4);
            hostile_restore("no number", trainer, hostile_write("x.state", image, good_size), good_size, DA_NOT_FINITE,
                            "holds NaN or infinity");
        }
    free(image);
}

static void all(const char *settings, const struct change *changes, size_t count) {
    int32_t status;
    da_trainer trainer = hostile_new_trainer(settings, &status);
    CHECK(status == DA_OK && da_trainer_run(trainer, 1, NULL, NULL) == DA_OK, "%s: %s", settings, da_last_error());
    const char *path = hostile_write("good.state", "", 0);
    CHECK(da_trainer_save(trainer, path) == DA_OK, "saving: %s", da_last_error());
    FILE *file = fopen(path, "rb");
    good = malloc(1 << 20);
    good_size = file ? fread(good, 1, 1 << 20, file) : 0;
    uint64_t length = 0;
    memcpy(&length, good, 8);
    head_size = (size_t)length;
    if (file) fclose(file);
    hostile_restore("good", trainer, path, good_size, DA_OK, "");
    table(of_all, sizeof of_all / sizeof *of_all, trainer);
    table(changes, count, trainer);
    contents(trainer);
    CHECK(da_trainer_close(trainer) == DA_OK, "closing");
    free(good);
    hostile_remove("x.state");
}

#define ALL(settings, changes) all(settings, changes, sizeof changes / sizeof *changes)

void cases_states(void) {
    static const char head[] =
        "{\"labels\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,16]},\"latents\":{\"dtype\":\"F32\",\"shape\":[2,4,2,"
        "2],"
        "\"data_offsets\":[16,144]}}";
    size_t size;
    uint8_t *image = hostile_image(head, strlen(head), strlen(head), 144, &size);
    memset(image + size - 144, 0, 16);
    char data[256], settings[1024];
    snprintf(data, sizeof data, "{\"path\":\"%s\"}", hostile_write("data", image, size));
    free(image);
    ALL(ROUTER, of_router);
    snprintf(settings, sizeof settings, FINETUNE, data);
    ALL(settings, of_weights);
    snprintf(settings, sizeof settings, GATES, data);
    ALL(settings, of_gates);
    snprintf(settings, sizeof settings, RULE, data);
    ALL(settings, of_rule);
}
