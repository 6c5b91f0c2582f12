#include "api.h"

#include <float.h>
#include <math.h>
#include <string.h>

uint8_t input_byte(struct input *input) {
    if (!input->left) return 0;
    input->left--;
    return *input->data++;
}

int input_hostile(struct input *input) { return input_byte(input) % 8 == 7; }

int64_t input_integer(struct input *input, int64_t sound) {
    static const int64_t hostile[] = {0,
                                      1,
                                      -1,
                                      2,
                                      3,
                                      7,
                                      256,
                                      257,
                                      4096,
                                      4097,
                                      INT32_MAX,
                                      INT32_MIN,
                                      (int64_t)1 << 31,
                                      (int64_t)1 << 32,
                                      ((int64_t)1 << 62) + 1,
                                      INT64_MAX,
                                      INT64_MIN};
    if (!input_hostile(input)) return sound;
    return hostile[input_byte(input) % (sizeof hostile / sizeof *hostile)];
}

double input_number(struct input *input, double sound) {
    static const double hostile[] = {0, -0.0, 1, -1, NAN, INFINITY, -INFINITY, DBL_MAX, -DBL_MAX, DBL_MIN, 5e-324, 1e10, 1e-10};
    if (!input_hostile(input)) return sound;
    return hostile[input_byte(input) % (sizeof hostile / sizeof *hostile)];
}

const char *input_text(struct input *input, const char *sound) {
    static char long_text[5000];
    static const char *const hostile[] = {NULL,           "",       "x",  "/dev/null", "/",  "\xff\xfe", "\xc0\x80", "0,0",
                                          "1,1,1",        "1e9",    "-1", "ddim3",     "{}", "{\"a\":",  "[",        "null",
                                          "\xed\xa0\x80", long_text};
    if (!input_hostile(input)) return sound;
    memset(long_text, 'a', sizeof long_text - 1);
    return hostile[input_byte(input) % (sizeof hostile / sizeof *hostile)];
}

/* Makes the size of the struct hostile, and sets a byte behind it. */
static void size_of(struct input *input, uint8_t *bytes, uint32_t size) {
    if (!input_hostile(input)) return;
    static const int32_t changes[] = {-1, -4, 1, 8, 64, -100000, 0};
    uint8_t choice = input_byte(input);
    uint32_t stated = size + (uint32_t)changes[choice % 7];
    if (choice % 7 == 5) stated = choice & 8 ? 0 : UINT32_MAX;
    memcpy(bytes, &stated, sizeof stated);
    bytes[size + choice % 64] = input_byte(input);
}

void input_model_options(struct input *input, union model_options *made) {
    memset(made, 0, sizeof *made);
    da_model_options *o = &made->options;
    da_model_options_init(o, sizeof *o);
    o->widen = (int32_t)input_integer(input, 0);
    o->family = input_text(input, NULL);
    o->config = input_text(input, NULL);
    o->conventions = input_text(input, input_byte(input) & 1 ? "diffusers" : NULL);
    o->decoder = input_text(input, NULL);
    o->memory_limit = (uint64_t)input_integer(input, 0);
    o->follow_links = (int32_t)input_integer(input, 0);
    o->reserved = (int32_t)input_integer(input, 0);
    o->weights = input_text(input, input_byte(input) & 1 ? "int8" : NULL);
    size_of(input, made->bytes, sizeof *o);
}

void input_session_options(struct input *input, union session_options *made) {
    memset(made, 0, sizeof *made);
    da_session_options_init(&made->options, sizeof made->options);
    made->options.threads = (int32_t)input_integer(input, 1);
    made->options.memory_limit = (uint64_t)input_integer(input, 64 << 20);
    size_of(input, made->bytes, sizeof made->options);
}

void input_forward_options(struct input *input, union forward_options *made) {
    memset(made, 0, sizeof *made);
    da_forward_options_init(&made->options, sizeof made->options);
    made->options.threads = (int32_t)input_integer(input, 1);
    made->options.memory_limit = (uint64_t)input_integer(input, 64 << 20);
    size_of(input, made->bytes, sizeof made->options);
}

/* Cancels or goes on, and tries what a callback may not do. */
static int32_t on_event(void *user, const da_event *event) {
    uint8_t choice = *(const uint8_t *)user;
    fuzz_require(event->struct_size == sizeof *event, "an event of another size", 0);
    return choice & 1 ? (int32_t)choice - 128 : 0;
}

void input_request(struct input *input, union request *made, int bounded) {
    static int64_t labels[4096];
    static float noise[4096 * 16];
    static uint8_t choice;
    static const char *const spacings[] = {NULL, "even", "leading", "strided", "1,2", "ddim2", "2,2,2"};
    memset(made, 0, sizeof *made);
    da_request *r = &made->request;
    da_request_init(r, sizeof *r);
    r->steps = (int32_t)input_integer(input, 2);
    if (bounded && r->steps > 8) r->steps = 8;
    r->sampler = input_text(input, input_byte(input) & 1 ? "ddpm" : "ddim");
    r->spacing = input_text(input, spacings[input_byte(input) % 7]);
    r->eta = input_number(input, 0);
    r->seed = (uint64_t)input_integer(input, 5);
    r->label_count = 1 + input_byte(input) % 3;
    for (size_t i = 0; i < r->label_count; i++) labels[i] = input_integer(input, 1);
    r->labels = input_hostile(input) ? NULL : labels;
    /* Never more than the array holds, but for counts that must be refused unread. */
    int64_t count = input_integer(input, (int64_t)r->label_count);
    r->label_count = (size_t)count;
    r->guidance = input_number(input, 1.5);
    r->guidance_channels = (int32_t)input_integer(input, 0);
    r->steps_offset = (int32_t)input_integer(input, 0);
    r->decode = (int32_t)input_integer(input, 1);
    r->tile = (int32_t)input_integer(input, 0);
    if (input_hostile(input)) {
        r->noise = noise;
        r->noise_count = (size_t)input_integer(input, (int64_t)r->label_count * 16);
        noise[3] = (float)input_number(input, 1);
    }
    if (input_hostile(input)) {
        r->step_noise = noise;
        r->step_noise_count =
            (size_t)input_integer(input, r->label_count <= 4096 ? (int64_t)r->label_count * 16 * r->steps : 0);
        if (r->step_noise_count > sizeof noise / sizeof *noise) r->step_noise_count = 7;
    }
    choice = input_byte(input);
    r->callback = choice & 2 ? on_event : NULL;
    r->user = &choice;
    size_of(input, made->bytes, sizeof *r);
}

void input_tensor(struct input *input, da_tensor *made, const char *name, int32_t dtype, void *data, size_t bytes) {
    memset(made, 0, sizeof *made);
    made->struct_size = input_hostile(input) ? (uint32_t)input_integer(input, 0) : sizeof *made;
    /* A longer struct would be read beyond ours: what the caller states must be there. */
    if (made->struct_size > sizeof *made) made->struct_size = 8;
    made->name = input_text(input, name);
    made->dtype = (int32_t)input_integer(input, dtype);
    made->data = input_hostile(input) ? NULL : data;
    made->bytes = input_hostile(input) ? input_byte(input) % (bytes + 1) : bytes;
    made->reserved = (int32_t)input_integer(input, 0);
    made->rank = (int32_t)input_integer(input, dtype == DA_F32 && bytes > 16 ? 4 : 1);
    for (int i = 0; i < DA_MAX_RANK; i++) made->shape[i] = input_integer(input, i == 0 ? 1 : i == 1 ? 4 : i < 4 ? 2 : 0);
}
