/* Tiny Stable Diffusion pipelines as diffusers saves them, written into the scratch folder. What they are made of stands in the
 * file that Python's tests use too (bindings/python/tests/data/stable_diffusion.json); numbers are drawn here. */
#ifndef PIPELINES_H
#define PIPELINES_H

#include <jansson.h>
#include <stddef.h>

/* Writes the pipeline of that name ("sd", "sdxl", "sd3") as the folder `name`, in place of what is there; gives its path. */
const char *pipeline_write(const char *name, const char *kind);

/* Folders of the pipeline's parts with what each holds: a part's name, or of a tokenizer what it pads with. */
json_t *pipeline_parts(const char *kind);

/* Writes the part called `part` ("unet", "vae", "clip", …) as the folder `name`, in place of what is there. */
void pipeline_part(const char *name, const char *part);

/* The configuration of a part, to be changed and released. */
json_t *pipeline_config(const char *part);

/* Writes vocab.json and merges.txt with `more` words beyond the 522 that the text encoders know, less when negative. */
void pipeline_tokenizer(const char *name, const char *padding, int more);

/* A LoRA file that updates every projection to keys of the part's attentions, under the names of PEFT. Gives its path. */
const char *pipeline_lora(const char *name, const char *part);

/* `json` as the file `name`, and its size. */
size_t pipeline_json(const char *name, json_t *json);

/* All bytes of the files of a pipeline. */
size_t pipeline_size(void);

#endif
