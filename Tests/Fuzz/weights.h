/* Safetensors images in memory, and the smallest networks. */
#ifndef WEIGHTS_H
#define WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

/* A file under construction; all elements are small numbers. */
struct weights {
    char header[32768];
    size_t length;
    size_t data;
};

/* Adds the f32 tensor `name`; extents end with 0. */
void weights_add(struct weights *weights, const char *name, const int *extents);

/* The finished file in a block of its own, to be freed, and its size. */
uint8_t *weights_finish(struct weights *weights, size_t *size);

/* A decoder of one level with four channels, and its config. */
uint8_t *tiny_autoencoder(size_t *size);
extern const char tiny_autoencoder_config[];

/* A diffusion transformer of one block with four channels, in the layout of the official code, and its config without the
 * closing brace, so that more members may follow. */
uint8_t *tiny_transformer(size_t *size);
/* The same as two shards, `part` 0 and 1, and the text of their index under the names s.safetensors and t.safetensors. */
uint8_t *tiny_transformer_shard(int part, size_t *size);
char *tiny_transformer_index(void);
extern const char tiny_transformer_config[];

#endif
