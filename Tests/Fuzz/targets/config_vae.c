/* The config of an autoencoder, over weights of one level. */
#include "../fuzz.h"
#include "../weights.h"

#include <stdlib.h>

static struct fuzz_file file;

void fuzz_start(void) {
    size_t size;
    uint8_t *image = tiny_autoencoder(&size);
    file = fuzz_create("x.safetensors");
    fuzz_write(&file, image, size);
    free(image);
    fuzz_require(fuzz_open(file.path, NULL, tiny_autoencoder_config) == DA_OK, "the good autoencoder", 0);
}

void fuzz_input(const uint8_t *data, size_t size) { fuzz_open(file.path, "autoencoder_kl", fuzz_text(data, size)); }
