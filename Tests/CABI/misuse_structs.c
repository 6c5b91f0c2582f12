/* Structs of the wrong size, with tails from the future, and at odd addresses. */
#include "misuse.h"

enum { N = 2 * TINY_STATE };

static const uint32_t wrong_sizes[] = {0, 1, 3, 4, 8, 65537, 100000, 1u << 31, UINT32_MAX};

/* One struct: its size, how it is filled, and a call that reads or fills it. */
struct kind {
    const char *name;
    uint32_t size;
    int32_t (*init)(void *memory, uint32_t size);
    int32_t (*use)(void *memory);
};

static int32_t init_model(void *m, uint32_t size) { return da_model_options_init(m, size); }
static int32_t init_session(void *m, uint32_t size) { return da_session_options_init(m, size); }
static int32_t init_forward(void *m, uint32_t size) { return da_forward_options_init(m, size); }
static int32_t init_trainer(void *m, uint32_t size) { return da_trainer_options_init(m, size); }
static int32_t init_tensor(void *m, uint32_t size) {
    if (size < sizeof(da_tensor) || size > 65536) return DA_INVALID_ARGUMENT; /* it has no _init function */
    da_tensor labels = check_tensor("labels", DA_I64, check_labels, sizeof check_labels, SHAPE(2));
    labels.struct_size = size;
    memset(m, 0, size);
    memcpy(m, &labels, sizeof labels);
    return DA_OK;
}

static int32_t use_model(void *m) {
    da_model made = (void *)&made;
    int32_t status = da_model_open(tiny_checkpoint(), m, &made);
    CHECK((status == DA_OK) == (made != NULL), "open gives %d and %p", status, (void *)made);
    if (made) STATUS(DA_OK, da_model_close(made));
    return status;
}
static int32_t use_session(void *m) {
    da_session made = (void *)&made;
    int32_t status = da_session_create(model, plan, m, &made);
    CHECK((status == DA_OK) == (made != NULL), "create gives %d and %p", status, (void *)made);
    if (made) STATUS(DA_OK, da_session_close(made));
    return status;
}
static int32_t use_forward(void *m) {
    static float x[TINY_STATE], t[1] = {10};
    static int64_t y[1] = {1};
    da_tensor output = {.struct_size = sizeof output, .name = "out"};
    const da_tensor inputs[3] = {{sizeof *inputs, DA_F32, "x", x, sizeof x, 4, 0, {1, TINY_CHANNELS, TINY_SIDE, TINY_SIDE}},
                                 {sizeof *inputs, DA_F32, "t", t, sizeof t, 1, 0, {1}},
                                 {sizeof *inputs, DA_I64, "y", y, sizeof y, 1, 0, {1}}};
    return da_model_forward(model, inputs, 3, &output, 1, m);
}
static int32_t use_trainer(void *m) {
    da_trainer made = (void *)&made;
    size_t needed = 0;
    int32_t estimated =
        da_trainer_estimate(tiny_checkpoint(), misuse_settings, strlen(misuse_settings), NULL, m, NULL, 0, &needed);
    int32_t status = da_trainer_create(tiny_checkpoint(), misuse_settings, strlen(misuse_settings), NULL, m, &made);
    CHECK(status == (estimated == DA_MORE ? DA_OK : estimated), "create gives %s, estimate %s", da_status_name(status),
          da_status_name(estimated));
    CHECK((status == DA_OK) == (made != NULL), "create gives %d and %p", status, (void *)made);
    if (made) STATUS(DA_OK, da_trainer_close(made));
    return status;
}
/* The model's options, as a trainer reads them. */
static int32_t use_model_to_learn(void *m) {
    da_trainer made = (void *)&made;
    int32_t status = da_trainer_create(tiny_checkpoint(), misuse_settings, strlen(misuse_settings), m, NULL, &made);
    CHECK((status == DA_OK) == (made != NULL), "create gives %d and %p", status, (void *)made);
    if (made) STATUS(DA_OK, da_trainer_close(made));
    return status;
}
/* A tensor of a request. */
static int32_t use_tensor(void *m) {
    static const char json[] = "{\"steps\":6,\"seed\":3}";
    float latents[N];
    size_t needed;
    int32_t estimated = da_session_estimate(session, json, sizeof json - 1, m, 1, NULL, 0, &needed);
    int32_t status = check_sample_with(session, json, m, 1, NULL, NULL, latents);
    CHECK(status == (estimated == DA_MORE ? DA_OK : estimated), "run gives %s, estimate %s", da_status_name(status),
          da_status_name(estimated));
    return status;
}

static const struct kind kinds[] = {{"da_model_options", sizeof(da_model_options), init_model, use_model},
                                    {"da_session_options", sizeof(da_session_options), init_session, use_session},
                                    {"da_forward_options", sizeof(da_forward_options), init_forward, use_forward},
                                    {"da_trainer_options", sizeof(da_trainer_options), init_trainer, use_trainer},
                                    {"da_model_options of a trainer", sizeof(da_model_options), init_model, use_model_to_learn},
                                    {"da_tensor of a request", sizeof(da_tensor), init_tensor, use_tensor}};

static _Alignas(16) unsigned char memory[70000];

/* Sizes of earlier releases: members that such a host does not know have their defaults. */
static const struct {
    const char *name;
    uint32_t size;
} earlier[] = {{"da_model_options", 56},  {"da_model_options of a trainer", 56},
               {"da_model_options", 64},  {"da_model_options of a trainer", 64},
               {"da_model_options", 72},  {"da_model_options of a trainer", 72},
               {"da_session_options", 16}};

static int was_released(const struct kind *kind, uint32_t size) {
    for (size_t i = 0; i < COUNT(earlier); i++)
        if (!strcmp(earlier[i].name, kind->name) && earlier[i].size == size) return 1;
    return 0;
}

static void test_earlier_sizes(void) {
    for (size_t k = 0; k < COUNT(kinds); k++)
        for (size_t i = 0; i < COUNT(earlier); i++) {
            if (strcmp(earlier[i].name, kinds[k].name)) continue;
            uint32_t size = earlier[i].size;
            memset(memory, 0x55, sizeof memory);
            STATUS(DA_OK, kinds[k].init(memory, size));
            CHECK(memory[size] == 0x55, "%s of %u bytes: written behind", kinds[k].name, size);
            STATUS(DA_OK, kinds[k].use(memory));
        }
}

/* Shorter is refused. Longer must end in zeros: an option this library does not know is never ignored. */
static void test_struct_sizes(void) {
    for (size_t k = 0; k < COUNT(kinds); k++) {
        const struct kind *kind = &kinds[k];
        for (size_t i = 0; i < COUNT(wrong_sizes) + kind->size; i++) {
            uint32_t size = i < COUNT(wrong_sizes) ? wrong_sizes[i] : (uint32_t)(i - COUNT(wrong_sizes));
            if (was_released(kind, size)) continue;
            memset(memory, 0x55, sizeof memory);
            STATUS(DA_INVALID_ARGUMENT, kind->init(memory, size));
            for (size_t at = 0; at < sizeof memory; at++)
                if (memory[at] != 0x55) {
                    CHECK(0, "%s of %u bytes: a refused _init writes", kind->name, size);
                    break;
                }
            STATUS(DA_OK, kind->init(memory, kind->size));
            memcpy(memory, &size, sizeof size);
            STATUS(DA_INVALID_ARGUMENT, kind->use(memory));
        }
        for (uint32_t extra = 1; kind->size + extra <= 65536; extra = 2 * extra + 5) {
            uint32_t size = kind->size + extra;
            memset(memory, 0xee, sizeof memory);
            STATUS(DA_OK, kind->init(memory, size));
            uint32_t written;
            memcpy(&written, memory, sizeof written);
            CHECK(written == size && !memory[size - 1] && memory[size] == 0xee, "%s of %u bytes is not filled to its end",
                  kind->name, size);
            int32_t status = kind->use(memory);
            CHECK(status == DA_OK, "%s of %u bytes: %s", kind->name, size, da_last_error());
            /* Any one byte of the tail. */
            for (uint32_t at = kind->size; at < size; at += 1 + extra / 3) {
                memory[at] = 1;
                STATUS(DA_UNSUPPORTED, kind->use(memory));
                memory[at] = 0;
            }
        }
    }
}

/* C hosts have packed structs and byte buffers: every struct is read wherever it stands. */
static void test_odd_addresses(void) {
    for (size_t k = 0; k < COUNT(kinds); k++)
        for (int shift = 1; shift < 16; shift++) {
            memset(memory, 0x55, sizeof memory);
            STATUS(DA_OK, kinds[k].init(memory + shift, kinds[k].size));
            STATUS(DA_OK, kinds[k].use(memory + shift));
            CHECK(memory[shift - 1] == 0x55 && memory[shift + kinds[k].size] == 0x55, "%s: written beside", kinds[k].name);
        }
}

/* A view is filled up to the length this library knows, and keeps what the caller said of its size. */
static void test_views(void) {
    for (size_t i = 0; i < COUNT(wrong_sizes); i++) {
        da_tensor view = {.struct_size = wrong_sizes[i]};
        STATUS(DA_INVALID_ARGUMENT, da_result_tensor(result, "latents", &view));
        CHECK(!view.data && view.struct_size == wrong_sizes[i], "a refused view is filled");
    }
    for (uint32_t extra = 0; extra < 300; extra += 23) {
        uint32_t size = sizeof(da_tensor) + extra;
        memset(memory, 0, sizeof memory);
        memcpy(memory, &size, sizeof size);
        memory[size] = 0x55;
        STATUS(DA_OK, da_result_tensor(result, "latents", (da_tensor *)(void *)memory));
        da_tensor view;
        memcpy(&view, memory, sizeof view);
        CHECK(view.struct_size == size && view.data && view.bytes == N * sizeof(float) && view.rank == 4, "a view of %u bytes",
              size);
        for (uint32_t at = sizeof view; at < size; at++) CHECK(!memory[at], "byte %u behind the view is written", at);
        CHECK(memory[size] == 0x55, "written behind the view");
    }
    /* The view of one tensor may be the struct that described another. */
    da_tensor view = {.struct_size = sizeof view};
    STATUS(DA_OK, da_result_tensor(result, "latents", &view));
    STATUS(DA_INVALID_ARGUMENT, da_result_tensor(result, "no such tensor", &view));
}

/* Arrays of structs from a newer header: elements are as far apart as the first one says. */
static void test_longer_array_elements(void) {
    static float x[TINY_STATE], t[1] = {10}, out[2 * TINY_STATE], expected[2 * TINY_STATE];
    static int64_t y[1] = {1};
    struct longer {
        da_tensor tensor;
        int64_t of_the_future[3];
    };
    STATUS(DA_OK, da_random_normal(1, TINY_STATE, x));
    struct longer inputs[3] = {
        {.tensor = {sizeof *inputs, DA_F32, "x", x, sizeof x, 4, 0, {1, TINY_CHANNELS, TINY_SIDE, TINY_SIDE}}},
        {.tensor = {sizeof *inputs, DA_F32, "t", t, sizeof t, 1, 0, {1}}},
        {.tensor = {sizeof *inputs, DA_I64, "y", y, sizeof y, 1, 0, {1}}}};
    da_tensor plain[3] = {inputs[0].tensor, inputs[1].tensor, inputs[2].tensor};
    for (int i = 0; i < 3; i++) plain[i].struct_size = sizeof *plain;
    da_tensor output = {.struct_size = sizeof output, .name = "out", .data = expected, .bytes = sizeof expected};
    STATUS(DA_OK, da_model_forward(model, plain, 3, &output, 1, NULL));
    output.data = out;
    STATUS(DA_OK, da_model_forward(model, &inputs[0].tensor, 3, &output, 1, NULL));
    CHECK(!memcmp(out, expected, sizeof out), "longer tensors give other values");
    inputs[1].of_the_future[2] = 1;
    STATUS(DA_UNSUPPORTED, da_model_forward(model, &inputs[0].tensor, 3, &output, 1, NULL));
    inputs[1].of_the_future[2] = 0;
    /* Elements of two lengths in one array fit no header. */
    inputs[1].tensor.struct_size = sizeof(da_tensor);
    STATUS(DA_INVALID_ARGUMENT, da_model_forward(model, &inputs[0].tensor, 3, &output, 1, NULL));
}

int main(void) {
    if (!misuse_begin()) return check_summary("misuse_structs");
    test_struct_sizes();
    test_earlier_sizes();
    test_odd_addresses();
    test_views();
    test_longer_array_elements();
    return misuse_end("misuse_structs");
}
