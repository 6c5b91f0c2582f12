/* The C interface: the input is a program of up to 32 calls over four places for each kind of handle, which may hold a live
 * handle, a closed one, one of another kind or a random value. */
#include "api.h"
#include "../weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MODELS, PLANS, SESSIONS, RESULTS, KINDS, PLACES = 4, CALLS = 21 };

static char checkpoint[96], plan_path[96];
static void *handles[KINDS][PLACES];
static const char *const plans[] = {"{\"method\":\"l2c\",\"logits\":[[1,-1],[-3,2]]}",
                                    "{\"method\":\"l2c\",\"policy\":\"alternate\"}",
                                    "{\"method\":\"l2c\",\"policy\":\"random\",\"ratio\":0.5}",
                                    "{}",
                                    "{\"method\":\"l3c\"}",
                                    "{"};

static void put(const char *name, const void *data, size_t size) {
    struct fuzz_file file = fuzz_create(name);
    fuzz_write(&file, data, size);
}

void fuzz_start(void) {
    size_t size;
    char config[1024];
    snprintf(config, sizeof config, "%s}", tiny_transformer_config);
    snprintf(checkpoint, sizeof checkpoint, "%s/good", fuzz_folder());
    snprintf(plan_path, sizeof plan_path, "%s/plan.json", fuzz_folder());
    mkdir(checkpoint, 0700);
    uint8_t *image = tiny_transformer(&size);
    put("good/model.safetensors", image, size);
    put("good/config.json", config, strlen(config));
    free(image);
    fuzz_require(fuzz_open(checkpoint, NULL, NULL) == DA_OK, "the good transformer", 0);
}

/* A handle for `kind`: of its places most of the time. */
static void *handle(struct input *in, int kind) {
    uint8_t choice = in->left ? input_byte(in) : 0;
    if (choice % 16 == 15) return (void *)(uintptr_t)((uint64_t)input_byte(in) << (choice >> 4) * 4 | choice);
    if (choice % 16 == 14) kind = (choice >> 4) % KINDS;
    return handles[kind][choice >> 4 & 3];
}

/* Where the next handle of `kind` goes: what was there is closed first, so that nothing grows. */
static void **place(struct input *in, int kind) {
    void **place = &handles[kind][input_byte(in) % PLACES];
    if (kind == MODELS) da_model_close(*place);
    if (kind == PLANS) da_plan_close(*place);
    if (kind == SESSIONS) da_session_close(*place);
    if (kind == RESULTS) da_result_close(*place);
    return place;
}

static int32_t forward(struct input *in) {
    static float x[16], t[1], out[32];
    static int64_t y[1] = {1};
    union forward_options options;
    da_tensor inputs[4], outputs[2];
    input_forward_options(in, &options);
    input_tensor(in, &inputs[0], "x", DA_F32, x, sizeof x);
    input_tensor(in, &inputs[1], "t", DA_F32, t, sizeof t);
    input_tensor(in, &inputs[2], "y", DA_I64, y, sizeof y);
    inputs[3] = inputs[0];
    input_tensor(in, &outputs[0], "out", DA_F32, out, sizeof out);
    outputs[1] = outputs[0];
    size_t given = (size_t)(input_byte(in) % 16 ? 3 : input_byte(in) % 5),
           wanted = input_byte(in) % 16 ? 1 : input_byte(in) % 3;
    return da_model_forward(handle(in, MODELS), input_hostile(in) ? NULL : inputs, given, outputs, wanted,
                            input_hostile(in) ? NULL : &options.options);
}

static int32_t random_numbers(struct input *in) {
    static float numbers[64];
    static int64_t whole[64];
    uint8_t choice = input_byte(in);
    size_t count = choice & 1 ? choice % 65 : choice & 2 ? SIZE_MAX : ((size_t)1 << 40) + 1;
    void *out = choice & 4 ? NULL : choice & 8 ? (void *)whole : (void *)numbers;
    if (choice & 16) return da_random_permutation(5, count, choice & 4 ? NULL : whole);
    return (choice & 32 ? da_random_uniform : da_random_normal)(5, count, out);
}

static void call(struct input *in) {
    static char text[1 << 14];
    union model_options model_options;
    union session_options session_options;
    static struct request r;
    size_t needed = 0, capacity = input_byte(in) % 4 ? sizeof text : input_byte(in);
    char *buffer = capacity && input_byte(in) % 8 ? text : NULL;
    if (!buffer && capacity && input_byte(in) % 2) capacity = 0;
    da_tensor view = {.struct_size = sizeof view};
    void **to;
    switch (input_byte(in) % CALLS) {
        case 0:
            input_model_options(in, &model_options);
            to = place(in, MODELS);
            fuzz_status(
                da_model_open(input_text(in, checkpoint), input_hostile(in) ? NULL : &model_options.options, (da_model *)to),
                *to, 1);
            break;
        case 1: fuzz_status(da_model_describe(handle(in, MODELS), buffer, capacity, &needed), NULL, 0); break;
        case 2: fuzz_status(da_model_close(handle(in, MODELS)), NULL, 0); break;
        case 3: fuzz_status(forward(in), NULL, 0); break;
        case 4: {
            const char *json = plans[input_byte(in) % 6];
            to = place(in, PLANS);
            fuzz_status(da_plan_parse(json, strlen(json), (da_plan *)to), *to, 1);
            break;
        }
        case 5:
            to = place(in, PLANS);
            fuzz_status(da_plan_load(input_text(in, plan_path), (da_plan *)to), *to, 1);
            break;
        case 6: {
            void *one = handle(in, PLANS), *two = handle(in, PLANS);
            to = place(in, PLANS);
            fuzz_status(da_plan_stack(one, two, (da_plan *)to), *to, 1);
            break;
        }
        case 7:
            fuzz_status(da_plan_describe(handle(in, PLANS), handle(in, MODELS), (int32_t)input_integer(in, 3), buffer, capacity,
                                         &needed),
                        NULL, 0);
            break;
        case 8: fuzz_status(da_plan_save(handle(in, PLANS), input_hostile(in) ? "" : plan_path), NULL, 0); break;
        case 9: fuzz_status(da_plan_close(handle(in, PLANS)), NULL, 0); break;
        case 10: {
            input_session_options(in, &session_options);
            void *model = handle(in, MODELS), *plan = handle(in, PLANS);
            to = place(in, SESSIONS);
            fuzz_status(da_session_create(model, plan, input_hostile(in) ? NULL : &session_options.options, (da_session *)to),
                        *to, 1);
            break;
        }
        case 11:
            input_request(in, &r, 0);
            fuzz_status(
                da_session_estimate(handle(in, SESSIONS), r.json, r.length, r.tensors, r.count, buffer, capacity, &needed),
                NULL, 0);
            break;
        case 12:
        case 13: {
            input_request(in, &r, 1);
            void *session = handle(in, SESSIONS);
            to = place(in, RESULTS);
            fuzz_status(da_session_run(session, r.json, r.length, r.tensors, r.count, r.callback, &r.choice, (da_result *)to),
                        *to, 1);
            fuzz_kept_event();
            break;
        }
        case 14:
            /* Leaves the text of the last error alone. */
            fuzz_require(da_session_cancel(handle(in, SESSIONS)) <= 0, "cancel", 0);
            break;
        case 15: fuzz_status(da_session_close(handle(in, SESSIONS)), NULL, 0); break;
        case 16: fuzz_status(da_result_tensor(handle(in, RESULTS), input_text(in, "latents"), &view), NULL, 0); break;
        case 17: fuzz_status(da_result_stats(handle(in, RESULTS), buffer, capacity, &needed), NULL, 0); break;
        case 18: fuzz_status(da_result_close(handle(in, RESULTS)), NULL, 0); break;
        case 19: {
            da_event event = {.struct_size = (uint32_t)input_integer(in, sizeof event), .source = handle(in, RESULTS)};
            /* A longer struct would be read beyond ours. */
            if (event.struct_size > sizeof event) event.struct_size = 8;
            fuzz_require(da_event_tensor(&event, input_text(in, "latents"), &view) < 0, "a made-up event", 0);
            fuzz_require(da_event_describe(&event, buffer, capacity, &needed) < 0, "a made-up event", 0);
            break;
        }
        default: fuzz_status(random_numbers(in), NULL, 0); break;
    }
}

void fuzz_input(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    for (int i = 0; i < 32 && in.left; i++) call(&in);
    for (int kind = 0; kind < KINDS; kind++)
        for (int i = 0; i < PLACES; i++) place(&(struct input){(const uint8_t[]){(uint8_t)i}, 1}, kind);
    memset(handles, 0, sizeof handles);
}
