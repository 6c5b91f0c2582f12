#include "api.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
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

static da_event kept;

int32_t fuzz_event(void *user, const da_event *event) {
    static const char *const names[] = {"latents", "preview", "sequences", "revealed", "latent", "", NULL, "\xff"};
    static char text[1024];
    uint8_t choice = *(const uint8_t *)user;
    size_t needed = 0;
    fuzz_require(event->struct_size == sizeof *event, "an event of another size", 0);
    fuzz_require(event->fraction >= 0 && event->fraction <= 1, "a fraction beyond the whole", 0);
    kept = *event;
    da_tensor view = {.struct_size = sizeof view};
    int32_t status = da_event_tensor(&kept, names[choice & 7], &view);
    fuzz_status(status, view.data, 1);
    status = da_event_describe(event, text, choice & 8 ? sizeof text : choice, &needed);
    fuzz_require(status == (needed <= (choice & 8 ? sizeof text : choice) ? DA_OK : DA_MORE), "an event's description", status);
    return choice & 1 ? (int32_t)choice - 128 : 0;
}

void fuzz_kept_event(void) {
    if (!kept.struct_size) return;
    da_tensor view = {.struct_size = sizeof view};
    fuzz_require(da_event_tensor(&kept, "latents", &view) == DA_INVALID_HANDLE, "an event that was kept", 0);
    fuzz_require(da_event_describe(&kept, NULL, 0, NULL) == DA_INVALID_HANDLE, "an event that was kept", 0);
}

/* A member of a JSON object: a word as a string or bare. */
static void member(struct input *input, struct request *r, const char *name, const char *value, int is_text) {
    size_t used = strlen(r->text);
    if (!value) return;
    const char *mark = is_text && !input_hostile(input) ? "\"" : "";
    snprintf(r->text + used, sizeof r->text - used, "%s\"%s\":%s%.6000s%s", used > 1 ? "," : "", name, mark, value, mark);
}

static void number(struct input *input, struct request *r, const char *name, double value) {
    char text[40];
    snprintf(text, sizeof text, "%.17g", value);
    member(input, r, name, isnan(value) ? "NaN" : isinf(value) ? value > 0 ? "Infinity" : "-Infinity" : text, 0);
}

static void integer(struct input *input, struct request *r, const char *name, int64_t sound) {
    char text[40];
    snprintf(text, sizeof text, "%lld", (long long)input_integer(input, sound));
    member(input, r, name, text, 0);
}

static void options(struct input *input, struct request *r, int bounded) {
    static const char *const spacings[] = {NULL, "even", "leading", "strided", "1,2", "ddim2", "2,2,2"};
    strcpy(r->text, "{");
    int64_t steps = input_integer(input, 2);
    number(input, r, "steps", (double)(bounded && steps > 8 ? 8 : steps));
    member(input, r, "sampler", input_text(input, input_byte(input) & 1 ? "ddpm" : "ddim"), 1);
    member(input, r, "spacing", input_text(input, spacings[input_byte(input) % 7]), 1);
    if (input_hostile(input)) number(input, r, "eta", input_number(input, 0));
    integer(input, r, "seed", 5);
    if (!input_hostile(input)) member(input, r, "labels", input_text(input, input_byte(input) & 1 ? "[1,2]" : "1"), 0);
    number(input, r, "guidance", input_number(input, 1.5));
    if (input_hostile(input)) integer(input, r, "guidance_channels", 3);
    if (input_hostile(input)) integer(input, r, "steps_offset", 0);
    if (input_hostile(input)) member(input, r, "decode", input_text(input, "false"), 0);
    if (input_hostile(input)) member(input, r, "tile", input_text(input, "auto"), 1);
    if (input_hostile(input)) member(input, r, input_text(input, "steps"), "2", 0);
    strcat(r->text, "}");
}

void input_request(struct input *input, struct request *r, int bounded) {
    static int64_t labels[4096];
    static float noise[4096 * 16];
    static const char *const names[] = {"labels", "noise", "step_noise", "sampler", "spacing", "labels", "prompt", "n"};
    memset(r, 0, sizeof *r);
    options(input, r, bounded);
    r->json = r->text;
    r->length = strlen(r->text);
    if (input_hostile(input)) r->length = (size_t)input_integer(input, 0) <= r->length ? r->length / 2 : SIZE_MAX;
    if (input_hostile(input)) r->json = NULL;
    labels[0] = input_integer(input, 1);
    noise[3] = (float)input_number(input, 1);
    uint8_t wanted = input_byte(input);
    for (size_t i = 0; i < 4; i++) {
        if (!(wanted >> i & 1)) continue;
        da_tensor *t = &r->array[r->count++];
        uint8_t which = input_hostile(input) ? input_byte(input) % 8 : (uint8_t)i;
        int text = which == 3 || which == 4 || which == 6;
        size_t size = text ? 1 : which % 5 == 0 ? 8 : 4, count = text ? 4 : which % 5 == 0 ? 2 : which == 2 ? 64 : 32;
        input_tensor(input, t, names[which],
                     text        ? DA_U8
                     : size == 8 ? DA_I64
                                 : DA_F32,
                     text        ? (void *)(uintptr_t) "ddpm"
                     : size == 8 ? (void *)labels
                                 : (void *)noise,
                     size * count);
        if (input_hostile(input)) continue;
        memset(t->shape, 0, sizeof t->shape);
        t->rank = 1;
        t->shape[0] = (int64_t)(t->bytes / size);
    }
    r->tensors = input_hostile(input) ? NULL : r->array;
    /* Never more than the array holds, but for counts that must be refused unread. */
    int64_t count = input_integer(input, (int64_t)r->count);
    if (count <= (int64_t)r->count || count > 64 || !r->tensors) r->count = (size_t)count;
    r->choice = input_byte(input);
    r->callback = r->choice & 2 ? fuzz_event : NULL;
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
