/* The config of a diffusion transformer, over weights of one block. */
#include "../fuzz.h"
#include "../weights.h"

#include <stdlib.h>

static struct fuzz_file file;

void fuzz_start(void) {
    size_t size;
    uint8_t *image = tiny_transformer(&size);
    file = fuzz_create("x.safetensors");
    fuzz_write(&file, image, size);
    free(image);
}

void fuzz_input(const uint8_t *data, size_t size) { fuzz_open(file.path, "dit", fuzz_text(data, size)); }
