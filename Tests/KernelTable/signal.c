/* Convolutions along time. */
#include "table.h"

/* Row t of a signal of `rows` rows, zeros outside, after the leaky rectifier; channel c. */
static double element(const float *x, int64_t rows, int64_t width, int64_t t, int64_t c, float slope) {
    if (t < 0 || t >= rows) return 0;
    float value = x[t * width + c];
    return value < 0 ? value * slope : value;
}

static void test_gathering(int64_t rows, int64_t width, int64_t phases) {
    float *x = random_floats(rows * width, 1, 2);
    static const float slopes[] = {1, 0.1f, 0};
    for (int64_t first = -7; first < rows + 3; first += 5) {
        int64_t count = 1 + (int64_t)(bits() % (uint64_t)(rows + 9)), each = (count + phases - 1) / phases;
        float slope = slopes[bits() % 3];
        float *out = floats(phases * each * width, 2);
        ck_signal_rows(pool, x, rows, width, first, count, phases, slope, out);
        int good = 1;
        for (int64_t r = 0; r < phases * each; r++) {
            int64_t t = r % each * phases + r / each;
            for (int64_t c = 0; c < width; c++) {
                double want = t < count ? element(x, rows, width, first + t, c, slope) : 0;
                good &= out[r * width + c] == (float)want;
            }
        }
        CHECK(good, "rows %lld + %lld of %lld x %lld in %lld phases", (long long)first, (long long)count, (long long)rows,
              (long long)width, (long long)phases);
    }
    release("signal rows");
}

/* A dilated convolution with zeros around the signal against its definition; and each row alone. */
static void test_one(int64_t rows, int64_t inputs, int64_t outputs, int64_t taps, int64_t dilation) {
    int64_t k = taps * inputs, reach = (taps - 1) * dilation, all = rows + reach, each = (all + dilation - 1) / dilation;
    float *x = random_floats(rows * inputs, 1, 1), *w = random_floats(outputs * k, 2, 1), *bias = random_floats(outputs, 3, 1);
    float *packed = floats(ck_packed_count(outputs, k), 0), *windows = floats(dilation * each * inputs, 1);
    int64_t row = outputs + 2, before = reach / 2;
    float *out = random_floats((rows - 1) * row + outputs, 1, 1), *old = floats((rows - 1) * row + outputs, 1);
    memcpy(old, out, (size_t)((rows - 1) * row + outputs) * 4);
    ck_pack_matrix(pool, CK_F32, w, outputs, k, packed);
    ck_signal_rows(pool, x, rows, inputs, -before, all, dilation, 0.1f, windows);
    float slope = bits() % 2 ? 1 : 0.25f;
    size_t scratch = ck_signal_scratch(ck_pool_threads(pool), outputs, k);
    ck_signal_args args = {windows,
                           inputs,
                           each * inputs,
                           dilation,
                           packed,
                           bits() % 2 ? bias : NULL,
                           out,
                           row,
                           rows,
                           outputs,
                           k,
                           (int32_t)(bits() % 2),
                           slope,
                           scratch ? bytes((int64_t)scratch) : NULL};
    ck_signal(pool, &args);
    int good = 1;
    for (int64_t t = 0; t < rows; t++)
        for (int64_t j = 0; j < outputs; j++) {
            double sum = args.accumulate ? old[t * row + j] : 0, size = 1;
            for (int64_t tap = 0; tap < taps; tap++)
                for (int64_t c = 0; c < inputs; c++) {
                    double product =
                        element(x, rows, inputs, t + tap * dilation - before, c, 0.1f) * w[j * k + tap * inputs + c];
                    sum += product, size += fabs(product);
                }
            if (args.bias) sum += bias[j];
            double want = sum < 0 ? sum * slope : sum;
            good &= fabs(out[t * row + j] - want) <= 4e-6 * size;
        }
    for (int64_t t = 0; t < rows; t++)
        for (int64_t j = outputs; j < row && t * row + j < (rows - 1) * row + outputs; j++)
            good &= out[t * row + j] == old[t * row + j];
    CHECK(good, "%lld rows of %lld to %lld, %lld taps of dilation %lld", (long long)rows, (long long)inputs, (long long)outputs,
          (long long)taps, (long long)dilation);
    /* One row alone, without threads. */
    int64_t t = (int64_t)(bits() % (uint64_t)rows);
    float *alone = floats(outputs, 2);
    memcpy(alone, old + t * row, (size_t)outputs * 4);
    args.x = windows + t % dilation * each * inputs + t / dilation * inputs;
    args.phases = 1, args.rows = 1, args.out = alone, args.out_row = outputs;
    ck_signal(NULL, &args);
    CHECK(same_bits(alone, out + t * row, outputs), "a row of %lld to %lld alone has other bits", (long long)inputs,
          (long long)outputs);
    release("signal");
}

void test_signals(void) {
    static const int64_t lengths[] = {1, 2, 5, 12, 13, 61, 130}, channels[] = {1, 2, 5, 16, 17, 33, 64};
    static const int64_t dilations[] = {1, 2, 3, 5};
    for (int l = 0; l < 7; l++)
        for (int64_t width = 1; width < 20; width += 3)
            for (int d = 0; d < 4; d++) test_gathering(lengths[l], width, dilations[d]);
    for (int l = 0; l < 7; l++)
        for (int c = 0; c < 7; c++)
            for (int64_t taps = 1; taps <= 11; taps += 2)
                test_one(lengths[l], channels[c], channels[bits() % 7], taps, dilations[bits() % 4]);
    /* More columns than repay packing rows, and more depth than a block has. */
    for (int d = 0; d < 4; d++) test_one(70, 40, 330 + d, 7, dilations[d]);
    test_one(300, 96, 700, 3, 1);
    test_one(9, 2, 650, 4, 1);
}
