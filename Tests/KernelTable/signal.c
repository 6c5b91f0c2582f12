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

/* Output j of row t of a convolution, and the magnitude of its weights: elements are below 1, and the errors of a tile's rows
 * are alike. */
static double row_sum(const ck_signal_tiles_args *a, const float *w, int64_t t, int64_t j, double *size) {
    double sum = 0;
    for (int64_t tap = 0; tap < a->taps; tap++)
        for (int64_t c = 0; c < a->inputs; c++) {
            double weight = w[(j * a->taps + tap) * a->inputs + c];
            sum += weight * element(a->x, a->x_rows, a->inputs, a->first + t + tap * a->dilation, c, a->x_slope);
            *size += fabs(weight);
        }
    return sum;
}

/* The tiled form against the definition; and tiles alone, of a piece of the signal, without threads. */
static void test_tiled(int64_t rows, int64_t inputs, int64_t outputs, int64_t taps, int64_t dilation) {
    static const float slopes[] = {1, 0.1f, 0};
    int64_t row = outputs + 2, count = (rows - 1) * row + outputs, x_rows = 1 + (int64_t)(bits() % (uint64_t)(rows + 9));
    float *x = random_floats(x_rows * inputs, 1, 1), *w = random_floats(outputs * taps * inputs, 2, 1);
    float *packed = floats(ck_signal_tiles_count(outputs, inputs, taps), 0), *bias = random_floats(outputs, 3, 1);
    float *out = random_floats(count, 1, 1), *old = floats(count, 1);
    memcpy(old, out, (size_t)count * 4);
    ck_signal_tiles_pack(pool, w, outputs, inputs, taps, packed);
    ck_signal_tiles_args args = {
        .x = x,
        .x_rows = x_rows,
        .inputs = inputs,
        .first = (int64_t)(bits() % 12) - 7,
        .taps = taps,
        .dilation = dilation,
        .x_slope = slopes[bits() % 3],
        .w = packed,
        .bias = bits() % 2 ? bias : NULL,
        .out = out,
        .out_row = row,
        .rows = rows,
        .n = outputs,
        .accumulate = (int32_t)(bits() % 2),
        .slope = slopes[bits() % 3],
    };
    args.scratch = bytes((int64_t)ck_signal_tiles_scratch(ck_pool_threads(pool), &args));
    ck_signal_tiles(pool, &args);
    int good = 1, untouched = 1;
    for (int64_t t = 0; t < rows; t++)
        for (int64_t j = 0; j < row && t * row + j < count; j++) {
            if (j >= outputs) {
                untouched &= out[t * row + j] == old[t * row + j];
                continue;
            }
            double size = 1, sum = row_sum(&args, w, t, j, &size);
            if (args.accumulate) sum += old[t * row + j];
            if (args.bias) sum += bias[j];
            double want = sum < 0 ? sum * args.slope : sum;
            good &= fabs(out[t * row + j] - want) <= 2e-6 * size;
        }
    CHECK(good, "%lld rows of %lld to %lld by tiles, %lld taps of dilation %lld", (long long)rows, (long long)inputs,
          (long long)outputs, (long long)taps, (long long)dilation);
    CHECK(untouched, "what is between rows of %lld by tiles", (long long)outputs);
    /* Some tiles, of the rows that they see. */
    int64_t unit = CK_SIGNAL_TILE * dilation, from = (int64_t)(bits() % (uint64_t)rows) / unit * unit;
    int64_t some = (rows - from < unit ? rows - from : unit),
            sees = unit + (ck_signal_groups(taps) * CK_SIGNAL_TILE - 1) * dilation;
    float *alone = floats((some - 1) * row + outputs, 2), *seen = floats(sees * inputs, 1);
    memcpy(alone, old + from * row, (size_t)((some - 1) * row + outputs) * 4);
    for (int64_t t = 0; t < sees; t++)
        for (int64_t c = 0; c < inputs; c++)
            seen[t * inputs + c] = (float)element(x, x_rows, inputs, args.first + from + t, c, 1);
    args.x = seen, args.x_rows = sees, args.first = 0, args.out = alone, args.rows = some;
    args.scratch = bytes((int64_t)ck_signal_tiles_scratch(1, &args));
    ck_signal_tiles(NULL, &args);
    int same = 1;
    for (int64_t t = 0; t < some; t++) same &= same_bits(alone + t * row, out + (from + t) * row, outputs);
    CHECK(same, "tiles of %lld to %lld alone have other bits", (long long)inputs, (long long)outputs);
    release("signal by tiles");
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
    for (int l = 0; l < 7; l++)
        for (int c = 0; c < 7; c++)
            for (int64_t taps = 1; taps <= 12; taps++)
                test_tiled(lengths[l], channels[c], channels[bits() % 7], taps, dilations[bits() % 4]);
    for (int d = 0; d < 4; d++) test_tiled(70, 40, 330 + d, 7, dilations[d]);
    test_tiled(1000, 8, 260, 5, 1); /* several tasks, each with several panels */
    test_tiled(900, 300, 40, 3, 2);
    test_tiled(30, 96, 700, 11, 1);
    CHECK(ck_signal_tiles_worth(512, 512, 3) && ck_signal_tiles_worth(64, 64, 11), "published sizes go by tiles");
    CHECK(!ck_signal_tiles_worth(64, 64, 2) && !ck_signal_tiles_worth(1, 32, 7) && !ck_signal_tiles_worth(64, 64, 255),
          "few taps, one channel and very many taps do not");
}
