/* A plan given as text, described alone and for a model. */
#include "../fuzz.h"
#include "../weights.h"

#include <stdio.h>
#include <stdlib.h>

static da_model model;

void fuzz_start(void) {
    size_t size;
    uint8_t *image = tiny_transformer(&size);
    struct fuzz_file file = fuzz_create("x.safetensors");
    fuzz_write(&file, image, size);
    free(image);
    char config[1024];
    snprintf(config, sizeof config, "%s}", tiny_transformer_config);
    da_model_options options;
    da_model_options_init(&options, sizeof options);
    options.config = config;
    fuzz_require(da_model_open(file.path, &options, &model) == DA_OK, "the good transformer", 0);
}

void fuzz_input(const uint8_t *data, size_t size) {
    da_plan plan = NULL;
    fuzz_status(da_plan_parse((const char *)data, size, &plan), plan, 1);
    if (plan) fuzz_plan(plan, model);
}
