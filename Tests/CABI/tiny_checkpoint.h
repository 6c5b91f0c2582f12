/* A tiny DiT checkpoint in a folder of its own, for tests that must not depend on files. */
#ifndef TINY_CHECKPOINT_H
#define TINY_CHECKPOINT_H

#include <stddef.h>

#define TINY_SIDE     8
#define TINY_CHANNELS 4
#define TINY_CLASSES  10
#define TINY_SITES    6
#define TINY_STATE    (TINY_CHANNELS * TINY_SIDE * TINY_SIDE)

/* Writes config.json and model.safetensors with pseudo-random weights to a new temporary folder. Returns its path, valid until
 * the process ends, when it is removed; null when writing fails. A second call returns the same folder. */
const char *tiny_checkpoint(void);

/* The same model with `depth` blocks of `width`, for runs that last. */
const char *larger_checkpoint(int width, int depth, int side);

#endif
