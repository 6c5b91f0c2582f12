/* The index of a sharded checkpoint, over two good shards and one that is cut off. */
#include "../fuzz.h"
#include "../weights.h"

#include <stdlib.h>

static struct fuzz_file file;

static void shard(const char *name, const char *const *tensors, size_t cut) {
    struct weights weights = {.length = 0};
    for (; *tensors; tensors++) weights_add(&weights, *tensors, (int[]){1, 0});
    size_t size;
    uint8_t *image = weights_finish(&weights, &size);
    struct fuzz_file made = fuzz_create(name);
    fuzz_write(&made, image, size - cut);
    free(image);
}

void fuzz_start(void) {
    file = fuzz_create("model.safetensors.index.json");
    shard("s.safetensors", (const char *const[]){"a", NULL}, 0);
    shard("t.safetensors", (const char *const[]){"b", "c", NULL}, 0);
    shard("u.safetensors", (const char *const[]){"d", NULL}, 1);
}

void fuzz_input(const uint8_t *data, size_t size) {
    fuzz_write(&file, data, size);
    fuzz_require(fuzz_open(fuzz_folder(), NULL, NULL) != DA_OK, "a model without a config", DA_OK);
}
