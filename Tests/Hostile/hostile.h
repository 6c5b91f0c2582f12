/* Hostile inputs through the C interface, each with the status and the words it must be answered with. */
#ifndef HOSTILE_H
#define HOSTILE_H

#include "../Fuzz/weights.h"
#include "meter.h"

#include <diffaccel.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* CHECK(condition, "text", ...): counts, for all files of a program together, and tells what failed. */
#define CHECK(condition, ...) hostile_check((condition) != 0, __FILE__, __LINE__, __VA_ARGS__)
void hostile_check(int holds, const char *file, int line, const char *format, ...);

/* Prints "name: N passed, N failed"; the program's exit code. */
int hostile_summary(const char *name);

/* `text` is what differs between the cases of one table; `part` must stand in the text of the failure and names the place:
 * file, tensor, byte or JSON path. For DA_OK `part` is not looked at. */
struct hostile {
    const char *id;
    const char *text;
    int data; /* bytes behind a safetensors header */
    int32_t status;
    const char *part;
};

/* The scratch folder, removed at exit. */
const char *hostile_folder(void);

/* Writes `size` bytes as the file `name` of the scratch folder; gives its path, valid for the next eight calls. */
const char *hostile_write(const char *name, const void *data, size_t size);
void hostile_remove(const char *name);

/* A safetensors file of this header, its true length or `stated`, and data; to be freed. */
uint8_t *hostile_image(const char *header, size_t length, uint64_t stated, size_t data, size_t *size);

/* Opens `path`; checks status, text, out-parameter and the memory asked for during the call, for input of `size` bytes; then
 * that a good model still opens. `family` and `config` may be null. */
void hostile_open(const char *id, const char *path, const char *family, const char *config, size_t size, int32_t status,
                  const char *part);

/* The same for a plan, from text or, when `path` is not null, from a file. */
void hostile_plan(const char *id, const char *path, const char *text, size_t length, size_t size, int32_t status,
                  const char *part);

/* The same for a trainer with these settings; what is made is used for one step. */
void hostile_trainer(const char *id, const char *settings, size_t size, int32_t status, const char *part);

/* The same for a state that `trainer` is asked to go on from. A refused one leaves the trainer as it was; an accepted one is
 * good for a step. */
void hostile_restore(const char *id, da_trainer trainer, const char *path, size_t size, int32_t status, const char *part);

/* A trainer of the smallest transformer; null and the status when there is none. */
da_trainer hostile_new_trainer(const char *settings, int32_t *status);

/* Judges a call that gave `found` and `out`, during which `peak` bytes were asked for: status and text, out-parameter, memory.
 */
void hostile_judge(const char *id, int32_t found, const void *out, long peak, size_t size, int32_t status, const char *part);

/* Makes `call`, which sets `found` and perhaps `out`, and judges it. */
#define HOSTILE_METERED(id, size, status, part, found, out, call)        \
    do {                                                                 \
        meter_start();                                                   \
        call;                                                            \
        long metered_peak = meter_peak();                                \
        hostile_judge(id, found, out, metered_peak, size, status, part); \
    } while (0)

/* How many inputs have been judged. */
int hostile_count(void);

/* The tables. */
void cases_safetensors(void);
void cases_numbers(void);
void cases_large(void);
void cases_shards(void);
void cases_places(void);
void cases_downloads(void);
void cases_configs(void);
void cases_schedulers(void);
void cases_plans(void);
void cases_options(void);
void cases_npy(void);
void cases_states(void);
void cases_pipelines(void);
void cases_prompts(void);

/* Numbers at which counts, lengths and offsets have gone wrong, as text. */
extern const char *const hostile_numbers[];

#endif
