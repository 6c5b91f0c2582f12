/* Settings of a trainer, or the head of a state. The first byte says which: 'r' and 'g' go before the head of a router's and of
 * gates' state, anything else before settings. What is accepted makes a step. Names of files are relative to the scratch
 * folder. */
#include "../fuzz.h"
#include "../weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT = 1 << 16, DATA = 1 << 14 };

static struct fuzz_file state_file;
static char config[1024];

/* A state's elements, behind a head of any kind. */
static struct {
    da_trainer trainer;
    uint8_t data[DATA];
    size_t size;
} learners[2];

static int32_t create(const char *text, size_t length, da_trainer *trainer) {
    da_model_options model;
    da_model_options_init(&model, sizeof model);
    model.config = config;
    da_trainer_options options;
    da_trainer_options_init(&options, sizeof options);
    options.threads = 1;
    options.memory_limit = 2 << 20;
    int32_t status = da_trainer_create("x.safetensors", text, length, &model, &options, trainer);
    fuzz_status(status, *trainer, 1);
    return status;
}

static void write_samples(void) {
    static const char head[] =
        "{\"labels\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,16]},\"latents\":{\"dtype\":\"F32\",\"shape\":[2,4,2,"
        "2],"
        "\"data_offsets\":[16,144]}} ";
    uint8_t image[512] = {0};
    uint64_t length = sizeof head - 1;
    memcpy(image, &length, 8);
    memcpy(image + 8, head, length);
    struct fuzz_file file = fuzz_create("d.safetensors");
    fuzz_write(&file, image, 8 + length + 144);
}

void fuzz_start(void) {
    static const char *const settings[2] = {
        "{\"method\":\"router\",\"trajectory\":\"own\",\"sampling_steps\":4,\"steps\":1000000,\"batch\":1}",
        "{\"method\":\"prune\",\"update\":\"gates\",\"pattern\":\"1:1\",\"steps\":1000000,\"batch\":1,\"data\":{\"path\":"
        "\"d.safetensors\"}}"};
    size_t size;
    uint8_t *image = tiny_transformer(&size);
    struct fuzz_file file = fuzz_create("x.safetensors");
    fuzz_write(&file, image, size);
    free(image);
    snprintf(config, sizeof config, "%s}", tiny_transformer_config);
    if (chdir(fuzz_folder())) exit(2);
    write_samples();
    state_file = fuzz_create("s");
    for (int i = 0; i < 2; i++) {
        uint64_t length = 0;
        fuzz_require(create(settings[i], strlen(settings[i]), &learners[i].trainer) == DA_OK, "good settings", 0);
        fuzz_require(da_trainer_save(learners[i].trainer, "good") == DA_OK, "a state", 0);
        FILE *saved = fopen("good", "rb");
        if (!saved || fread(&length, 8, 1, saved) != 1 || fseek(saved, (long)length, SEEK_CUR)) exit(2);
        learners[i].size = fread(learners[i].data, 1, DATA, saved);
        fclose(saved);
    }
}

static void restore(int which, const uint8_t *text, size_t length) {
    static uint8_t image[8 + TEXT + DATA];
    uint64_t stated = length;
    memcpy(image, &stated, 8);
    memcpy(image + 8, text, length);
    memcpy(image + 8 + length, learners[which].data, learners[which].size);
    fuzz_write(&state_file, image, 8 + length + learners[which].size);
    int32_t status = da_trainer_restore(learners[which].trainer, "s");
    fuzz_status(status, NULL, 0);
    if (status == DA_OK) fuzz_status(da_trainer_run(learners[which].trainer, 1, NULL, NULL), NULL, 0);
}

static void learn(const char *text, size_t length) {
    static char described[1 << 16];
    da_trainer trainer = NULL;
    da_plan plan = NULL;
    if (create(text, length, &trainer) != DA_OK) return;
    /* A state would be written wherever its name says. */
    if (!strstr(text, "state") && !strstr(text, "\\u")) fuzz_status(da_trainer_run(trainer, 1, NULL, NULL), NULL, 0);
    fuzz_status(da_trainer_describe(trainer, described, sizeof described, NULL), NULL, 0);
    int32_t status = da_trainer_plan(trainer, &plan);
    fuzz_status(status, plan, 1);
    if (plan) da_plan_close(plan);
    da_trainer_close(trainer);
}

void fuzz_input(const uint8_t *data, size_t size) {
    if (size < 2 || size - 1 > TEXT) return;
    if (data[0] == 'r' || data[0] == 'g') restore(data[0] == 'g', data + 1, size - 1);
    else learn(fuzz_text(data + 1, size - 1), size - 1);
}
