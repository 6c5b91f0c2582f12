/* The raw network with inputs and outputs that do not fit. */
#include "misuse.h"

static float x_data[2 * TINY_STATE], t_data[2] = {10, 20};
static int64_t y_data[2] = {1, 2};

static void forward_inputs(da_tensor inputs[3]) {
    inputs[0] = (da_tensor){.struct_size = sizeof *inputs,
                            .name = "x",
                            .data = x_data,
                            .bytes = sizeof x_data,
                            .rank = 4,
                            .shape = {2, TINY_CHANNELS, TINY_SIDE, TINY_SIDE}};
    inputs[1] = (da_tensor){
        .struct_size = sizeof *inputs, .name = "t", .data = t_data, .bytes = sizeof t_data, .rank = 1, .shape = {2}};
    inputs[2] = (da_tensor){.struct_size = sizeof *inputs,
                            .name = "y",
                            .dtype = DA_I64,
                            .data = y_data,
                            .bytes = sizeof y_data,
                            .rank = 1,
                            .shape = {2}};
}

/* Runs a forward that may be refused; checks that nothing is written past the output. */
static int32_t try_forward(const char *what, long double value, const da_tensor inputs[3]) {
    static float data[4 * TINY_STATE + 16];
    for (size_t i = 0; i < COUNT(data); i++) data[i] = 1234.5f;
    da_tensor output = {.struct_size = sizeof output, .name = "out", .data = data, .bytes = 4 * TINY_STATE * sizeof(float)};
    int32_t status = da_model_forward(model, inputs, 3, &output, 1, NULL);
    CHECK(status <= DA_MORE && status > DA_INTERNAL, "forward, %s = %Lg: %s %s", what, value, da_status_name(status),
          da_last_error());
    for (size_t i = status == DA_OK ? 4 * TINY_STATE : 0; i < COUNT(data); i++)
        if (data[i] != 1234.5f) {
            CHECK(0, "forward, %s = %Lg (%s) wrote element %zu", what, value, da_status_name(status), i);
            break;
        }
    return status;
}

static void test_forward(void) {
    da_tensor inputs[3];
    forward_inputs(inputs);
    STATUS(DA_OK, da_random_normal(1, 2 * TINY_STATE, x_data));
    STATUS(DA_OK, try_forward("nothing", 0, inputs));
    for (int which = 0; which < 3; which++) {
        for (size_t i = 0; i < COUNT(hostile32); i++) {
            forward_inputs(inputs);
            if (hostile32[i] != inputs[which].dtype) {
                inputs[which].dtype = hostile32[i];
                int32_t status = try_forward("dtype", hostile32[i], inputs);
                CHECK(status < 0, "a wrong dtype is %s", da_status_name(status));
            }
            forward_inputs(inputs);
            if (hostile32[i] != inputs[which].rank) {
                inputs[which].rank = hostile32[i];
                CHECK(try_forward("rank", hostile32[i], inputs) < 0, "input %d of rank %d is accepted", which, hostile32[i]);
            }
        }
        for (size_t i = 0; i < COUNT(hostile64); i++) {
            forward_inputs(inputs);
            if (hostile64[i] != inputs[which].bytes) {
                inputs[which].bytes = (size_t)hostile64[i];
                CHECK(try_forward("bytes", (long double)hostile64[i], inputs) < 0, "wrong bytes are accepted");
            }
            for (int axis = 0; axis < (which ? 1 : 4); axis++) {
                forward_inputs(inputs);
                if (inputs[which].shape[axis] == (int64_t)hostile64[i]) continue;
                inputs[which].shape[axis] = (int64_t)hostile64[i];
                CHECK(try_forward("shape", (long double)hostile64[i], inputs) < 0, "a wrong shape is accepted");
            }
        }
        forward_inputs(inputs);
        inputs[which].data = NULL;
        CHECK(try_forward("null data", which, inputs) < 0, "null data is accepted");
        forward_inputs(inputs);
        const char *names[] = {NULL,
                               "",
                               "z",
                               "\xff",
                               "x",
                               "out",
                               "a name that is a good deal longer than any input of any network would ever be called"};
        for (size_t i = 0; i < COUNT(names); i++) {
            if (names[i] && inputs[which].name && !strcmp(names[i], "x") && which == 0) continue;
            inputs[which].name = names[i];
            STATUS(DA_INVALID_ARGUMENT, try_forward("name", (long double)i, inputs));
            forward_inputs(inputs);
        }
    }
    /* Shapes that are right in number but not in form. */
    forward_inputs(inputs);
    inputs[1].rank = 2;
    inputs[1].shape[1] = 1;
    STATUS(DA_SHAPE, try_forward("t of two dimensions", 2, inputs));
    forward_inputs(inputs);
    inputs[0].shape[1] = TINY_SIDE;
    inputs[0].shape[3] = TINY_CHANNELS;
    STATUS(DA_SHAPE, try_forward("channels last", 0, inputs));
    forward_inputs(inputs);
    const int64_t classes[] = {-1, TINY_CLASSES + 1, 1000, INT64_MAX, INT64_MIN, 1ll << 32};
    for (size_t i = 0; i < COUNT(classes); i++) {
        y_data[1] = classes[i];
        CHECK(try_forward("class", (long double)classes[i], inputs) < 0, "class %lld is accepted", (long long)classes[i]);
    }
    y_data[1] = 2;
    const float times[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, -1, 1e-42f, 1e9f};
    for (size_t i = 0; i < COUNT(times); i++) {
        t_data[1] = times[i];
        try_forward("t", times[i], inputs);
    }
    t_data[1] = 20;
    /* Output buffers. */
    static char data[4 * TINY_STATE * sizeof(float) + 64];
    const size_t whole = 4 * TINY_STATE * sizeof(float);
    da_tensor output = {.struct_size = sizeof output, .name = "out"};
    STATUS(DA_OK, da_model_forward(model, inputs, 3, &output, 1, NULL));
    CHECK(output.bytes == whole && output.rank == 4 && output.shape[1] == 2 * TINY_CHANNELS && output.dtype == DA_F32,
          "size query");
    for (size_t i = 0; i < COUNT(hostile64); i++) {
        if (hostile64[i] >= whole) continue;
        memset(data, 0x55, sizeof data);
        output = (da_tensor){.struct_size = sizeof output, .name = "out", .data = data, .bytes = (size_t)hostile64[i]};
        STATUS(DA_MORE, da_model_forward(model, inputs, 3, &output, 1, NULL));
        CHECK(output.bytes == whole, "needed bytes");
        for (size_t at = 0; at < sizeof data; at++)
            if (data[at] != 0x55) {
                CHECK(0, "a buffer that is too small is written to");
                break;
            }
    }
    static char odd[4 * TINY_STATE * sizeof(float) + 64];
    output = (da_tensor){.struct_size = sizeof output, .name = "out", .data = data, .bytes = whole};
    STATUS(DA_OK, da_model_forward(model, inputs, 3, &output, 1, NULL));
    output = (da_tensor){.struct_size = sizeof output, .name = "out", .data = odd + 1, .bytes = whole};
    static char odd_x[sizeof x_data + 1];
    memcpy(odd_x + 1, x_data, sizeof x_data);
    inputs[0].data = odd_x + 1;
    STATUS(DA_OK, da_model_forward(model, inputs, 3, &output, 1, NULL));
    CHECK(!memcmp(data, odd + 1, whole), "data at odd addresses give other values");
    /* The output may lie over an input: inputs are read before anything is written. */
    static float both[4 * TINY_STATE];
    memcpy(both, x_data, sizeof x_data);
    inputs[0].data = both;
    output = (da_tensor){.struct_size = sizeof output, .name = "out", .data = both, .bytes = whole};
    STATUS(DA_OK, da_model_forward(model, inputs, 3, &output, 1, NULL));
    CHECK(!memcmp(data, both, whole), "an output over the input gives other values");
    /* Counts and null arrays. */
    forward_inputs(inputs);
    const size_t counts[] = {0, 1, 2, 65, (size_t)1 << 31, (size_t)1 << 63, SIZE_MAX};
    for (size_t i = 0; i < COUNT(counts); i++) {
        output = (da_tensor){.struct_size = sizeof output, .name = "out"};
        int32_t status = da_model_forward(model, inputs, counts[i], &output, 1, NULL);
        STATUS(DA_INVALID_ARGUMENT, status);
        if (counts[i] != 1 && counts[i] != 2)
            STATUS(DA_INVALID_ARGUMENT, da_model_forward(model, inputs, 3, &output, counts[i], NULL));
    }
    STATUS(DA_INVALID_ARGUMENT, da_model_forward(model, NULL, 3, &output, 1, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_model_forward(model, inputs, 3, NULL, 1, NULL));
    for (size_t i = 0; i < COUNT(hostile32); i++) {
        da_forward_options options;
        STATUS(DA_OK, da_forward_options_init(&options, sizeof options));
        options.threads = hostile32[i];
        output = (da_tensor){.struct_size = sizeof output, .name = "out", .data = data, .bytes = whole};
        STATUS(hostile32[i] >= 0 && hostile32[i] <= 256 ? DA_OK : DA_INVALID_ARGUMENT,
               da_model_forward(model, inputs, 3, &output, 1, &options));
    }
    for (size_t i = 0; i < COUNT(hostile64); i++) {
        da_forward_options options;
        STATUS(DA_OK, da_forward_options_init(&options, sizeof options));
        options.memory_limit = hostile64[i];
        output = (da_tensor){.struct_size = sizeof output, .name = "out", .data = data, .bytes = whole};
        int32_t status = da_model_forward(model, inputs, 3, &output, 1, &options);
        CHECK(status == DA_OK || status == DA_OVER_BUDGET, "a limit of %llu gives %s", (unsigned long long)hostile64[i],
              da_status_name(status));
    }
}

int main(void) {
    if (!misuse_begin()) return check_summary("misuse_forward");
    test_forward();
    return misuse_end("misuse_forward");
}
