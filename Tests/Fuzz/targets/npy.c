/* An array in NumPy's format as a trainer's data. Byte 0 chooses what it is (states or labels) and the version, byte 1 the
 * stated length of the head and how many bytes follow; the rest is the head's text. */
#include "../fuzz.h"
#include "../weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT = 1 << 16, DATA = 1024 };

static struct fuzz_file model_file, array_file, other_files[2];
static char config[1024], settings[2][512];

/* Makes a trainer with the array as states or labels, and a step when it could be made. */
static int32_t learn(int as_labels) {
    da_trainer trainer = NULL;
    da_model_options model;
    da_model_options_init(&model, sizeof model);
    model.config = config;
    da_trainer_options options;
    da_trainer_options_init(&options, sizeof options);
    options.threads = 1;
    options.memory_limit = 2 << 20;
    const char *text = settings[as_labels];
    int32_t status = da_trainer_create(model_file.path, text, strlen(text), &model, &options, &trainer);
    fuzz_status(status, trainer, 1);
    if (!trainer) return status;
    fuzz_status(da_trainer_run(trainer, 1, NULL, NULL), NULL, 0);
    da_trainer_close(trainer);
    return status;
}

/* A file of this version, with `tail` bytes behind the head. */
static void write_array(const struct fuzz_file *file, int version, uint32_t stated, const void *text, size_t length,
                        size_t tail) {
    static uint8_t image[12 + TEXT + DATA];
    size_t start = version == 1 ? 10 : 12;
    memcpy(image, "\x93NUMPY", 6);
    image[6] = (uint8_t)version;
    image[7] = 0;
    memcpy(image + 8, &stated, start - 8);
    memcpy(image + start, text, length);
    memset(image + start + length, 0, tail);
    fuzz_write(file, image, start + length + tail);
}

void fuzz_start(void) {
    static const char *const heads[2] = {"{'descr': '|u1', 'fortran_order': False, 'shape': (2,)}",
                                         "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 4, 2, 2)}"};
    size_t size;
    uint8_t *image = tiny_transformer(&size);
    model_file = fuzz_create("x.safetensors");
    fuzz_write(&model_file, image, size);
    free(image);
    snprintf(config, sizeof config, "%s}", tiny_transformer_config);
    array_file = fuzz_create("x.npy");
    for (int i = 0; i < 2; i++) {
        other_files[i] = fuzz_create(i ? "states.npy" : "labels.npy");
        write_array(&other_files[i], 1, (uint32_t)strlen(heads[i]), heads[i], strlen(heads[i]), i ? 32 : 2);
        snprintf(settings[i], sizeof settings[i],
                 "{\"method\":\"router\",\"sampling_steps\":2,\"steps\":1,\"batch\":1,\"data\":{\"latents\":\"%s\",\"labels\":"
                 "\"%s\"}}",
                 i ? other_files[1].path : array_file.path, i ? array_file.path : other_files[0].path);
        write_array(&array_file, 1, (uint32_t)strlen(heads[!i]), heads[!i], strlen(heads[!i]), 32);
        fuzz_require(learn(i) == DA_OK, "good data", 0);
    }
}

void fuzz_input(const uint8_t *data, size_t size) {
    if (size < 2 || size - 2 > TEXT) return;
    static const uint32_t lengths[] = {0, 65535, 65536, 1u << 31, UINT32_MAX};
    size_t length = size - 2, choice = data[1] >> 4;
    uint32_t stated = choice >= 11 ? lengths[choice - 11] : (uint32_t)length;
    write_array(&array_file, data[0] & 4 ? data[0] >> 3 : 1 + (data[0] >> 1 & 1), stated, data + 2, length,
                (size_t)(data[1] & 15) * 32);
    learn(data[0] & 1);
}
