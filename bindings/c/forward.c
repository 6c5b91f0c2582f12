/* Evaluates the raw network of a class-conditional DiT on noise and prints statistics of what comes out.
 *
 *   forward MODEL CHANNELS SIDE [SAMPLES]        for example: forward Models/fashion-dit 1 28 4
 *
 * Build: cc forward.c -o forward $(pkg-config --cflags --libs diffaccel) -lm
 */
#include <diffaccel.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static da_tensor tensor(const char *name, int32_t dtype, void *data, size_t bytes) {
    da_tensor t = {0};
    t.struct_size = sizeof t;
    t.name = name;
    t.dtype = dtype;
    t.data = data;
    t.bytes = bytes;
    return t;
}

static void print_statistics(const da_tensor *out) {
    const float *values = out->data;
    const size_t count = out->bytes / sizeof *values;
    double sum = 0, squares = 0, least = INFINITY, most = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        sum += values[i];
        squares += (double)values[i] * values[i];
        least = fmin(least, values[i]);
        most = fmax(most, values[i]);
    }
    const double mean = sum / (double)count;
    printf("out [%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 "]: mean %.5f, deviation %.5f, from %.5f to %.5f\n",
           out->shape[0], out->shape[1], out->shape[2], out->shape[3], mean,
           sqrt(fmax(0, squares / (double)count - mean * mean)), least, most);
}

/* Fills the inputs, asks how large the output is, and computes it. */
static int32_t forward(da_model model, const int64_t shape[4], float *x, float *t, int64_t *y) {
    const size_t n = (size_t)shape[0], count = n * (size_t)(shape[1] * shape[2] * shape[3]);
    int32_t status = da_random_normal(0, count, x);
    for (size_t i = 0; i < n; i++) {
        t[i] = (float)(999 * i / n);
        y[i] = (int64_t)(i % 10);
    }
    da_tensor inputs[3] = {tensor("x", DA_F32, x, count * sizeof *x), tensor("t", DA_F32, t, n * sizeof *t),
                           tensor("y", DA_I64, y, n * sizeof *y)};
    inputs[0].rank = 4;
    for (int i = 0; i < 4; i++) inputs[0].shape[i] = shape[i];
    inputs[1].rank = inputs[2].rank = 1;
    inputs[1].shape[0] = inputs[2].shape[0] = shape[0];

    da_tensor out = tensor("out", DA_F32, NULL, 0);
    if (status == DA_OK) status = da_model_forward(model, inputs, 3, &out, 1, NULL); /* no buffer yet: only the size */
    if (status != DA_OK) return status;
    out.data = malloc(out.bytes);
    if (!out.data) return DA_NO_MEMORY;
    status = da_model_forward(model, inputs, 3, &out, 1, NULL);
    if (status == DA_OK) print_statistics(&out);
    free(out.data);
    return status;
}

int main(int count, char **words) {
    int64_t n = count > 4 ? atoi(words[4]) : 2, channels = count > 3 ? atoi(words[2]) : 0,
            side = count > 3 ? atoi(words[3]) : 0;
    if (n < 1 || n > 4096 || channels < 1 || channels > 64 || side < 1 || side > 1024) {
        fprintf(stderr, "usage: %s MODEL CHANNELS SIDE [SAMPLES]\n", words[0]);
        return 2;
    }
    const int64_t shape[4] = {n, channels, side, side};
    float *x = malloc((size_t)(n * channels * side * side) * sizeof *x), *t = malloc((size_t)n * sizeof *t);
    int64_t *y = malloc((size_t)n * sizeof *y);
    da_model model = NULL;
    int32_t status = x && t && y ? da_model_open(words[1], NULL, &model) : DA_NO_MEMORY;
    if (status == DA_OK) status = forward(model, shape, x, t, y);
    if (status != DA_OK) fprintf(stderr, "forward: %s: %s\n", da_status_name(status), da_last_error());
    da_model_close(model);
    free(x);
    free(t);
    free(y);
    return status == DA_OK ? 0 : 1;
}
