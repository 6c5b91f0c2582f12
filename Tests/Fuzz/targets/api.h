/* Arguments for calls of the C interface, drawn from the input: mostly sound, now and then hostile. */
#ifndef API_H
#define API_H

#include "../fuzz.h"

/* The rest of the input; zeros once it is used up. */
struct input {
    const uint8_t *data;
    size_t left;
};

uint8_t input_byte(struct input *input);

/* Whether the next argument is to be hostile: one time in eight. */
int input_hostile(struct input *input);

/* `sound`, or a number at which code goes wrong. */
int64_t input_integer(struct input *input, int64_t sound);
double input_number(struct input *input, double sound);

/* `sound`, or a text that is empty, wrong, not UTF-8 or null. */
const char *input_text(struct input *input, const char *sound);

/* Option structs with 64 bytes behind them; struct_size may be wrong and the tail may hold something. */
union model_options {
    da_model_options options;
    uint8_t bytes[sizeof(da_model_options) + 64];
};
union session_options {
    da_session_options options;
    uint8_t bytes[sizeof(da_session_options) + 64];
};
union forward_options {
    da_forward_options options;
    uint8_t bytes[sizeof(da_forward_options) + 64];
};

/* The arguments of da_session_run and da_session_estimate: `tensors` may be null and `count` may promise more than there is. */
struct request {
    char text[8192];
    const char *json;
    size_t length, count;
    da_tensor array[5];
    const da_tensor *tensors;
    da_event_callback callback;
    uint8_t choice;
};

void input_model_options(struct input *input, union model_options *made);
void input_session_options(struct input *input, union session_options *made);
void input_forward_options(struct input *input, union forward_options *made);
/* `bounded`: the run must end soon, so there are at most 8 steps. */
void input_request(struct input *input, struct request *made, int bounded);

/* An event's `user` is a byte: whether it stops the run, and when. Looks at all of the event and keeps it. */
int32_t fuzz_event(void *user, const da_event *event);

/* Whatever event was kept is refused now. */
void fuzz_kept_event(void);

/* A tensor `name` of the sound shape over a buffer with room for it; anything may be hostile but the buffer's size. */
void input_tensor(struct input *input, da_tensor *made, const char *name, int32_t dtype, void *data, size_t bytes);

#endif
