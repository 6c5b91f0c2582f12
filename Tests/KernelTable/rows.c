/* Element types, and what works on one row at a time. */
#include "table.h"

/* ---- element types: exact, by definition ---- */

static float half_value(uint16_t h) {
    int exponent = h >> 10 & 31, fraction = h & 1023;
    float magnitude = exponent == 31 ? (fraction ? NAN : INFINITY)
                      : exponent     ? ldexpf((float)(1024 + fraction), exponent - 25)
                                     : ldexpf((float)fraction, -24);
    return h >> 15 ? -magnitude : magnitude;
}
static float bfloat_value(uint16_t h) {
    uint32_t wide = (uint32_t)h << 16;
    float value;
    memcpy(&value, &wide, 4);
    return value;
}

/* The nearest of all 65536, the even one of two. */
static int is_nearest(float x, uint16_t got, float (*value)(uint16_t)) {
    float v = value(got);
    if (isnan(x) || isnan(v)) return isnan(x) && isnan(v);
    if (signbit(x) != signbit(v)) return 0;
    uint16_t magnitude = got & 0x7fff;
    /* Beyond the last number stands infinity, at the distance of one more step. */
    double own = isinf(v) ? 2 * (double)fabsf(value((uint16_t)(magnitude - 1))) - fabsf(value((uint16_t)(magnitude - 2)))
                          : fabsf(v),
           size = fabsf(x);
    if (isinf(x)) return isinf(v);
    double error = fabs(size - own);
    if (size > own && !isinf(v)) {
        double next = fabsf(value((uint16_t)(magnitude + 1)));
        if (isinf(next)) next = 2 * own - fabsf(value((uint16_t)(magnitude - 1)));
        return error < next - size || (error == next - size && magnitude % 2 == 0);
    }
    if (size < own) {
        double last = fabsf(value((uint16_t)(magnitude - 1)));
        return error < size - last || (error == size - last && magnitude % 2 == 0);
    }
    return 1;
}

static void test_type(int32_t type, float (*value)(uint16_t)) {
    uint16_t *all = bytes(65536 * 2);
    float *wide = floats(65536, 1);
    for (int i = 0; i < 65536; i++) all[i] = (uint16_t)i;
    ck_to_f32(pool, type, all, wide, 65536);
    int good = 1;
    for (int i = 0; i < 65536; i++) {
        float want = value((uint16_t)i);
        good &= isnan(want) ? isnan(wide[i]) : same_bits(&want, &wide[i], 1);
    }
    CHECK(good, "type %d is widened wrongly", type);
    enum { MANY = 40000 };
    float *from = floats(MANY, 2);
    uint16_t *to = bytes(MANY * 2);
    for (int i = 0; i < MANY; i++) {
        uint32_t pattern = (uint32_t)bits();
        /* Half of them near halves of steps. */
        if (i % 2) pattern = (pattern & ~0x1fffu) | (type == CK_F16 ? 0x1000 : 0x8000) | (i % 4 == 1 ? 0 : 1);
        if (i % 3 == 0) pattern = (pattern & 0x807fffffu) | (uint32_t)(100 + bits() % 50) << 23;
        memcpy(&from[i], &pattern, 4);
    }
    ck_from_f32(pool, type, from, to, MANY);
    int wrong = 0;
    for (int i = 0; i < MANY; i++) wrong += !is_nearest(from[i], to[i], value);
    CHECK(!wrong, "type %d is rounded wrongly %d times", type, wrong);
    for (int c = 0; c < WIDTHS; c++) {
        uint16_t *few = bytes(widths[c] * 2);
        float *back = floats(widths[c], c % OFFSETS);
        ck_from_f32(pool, type, from + c, few, widths[c]);
        ck_to_f32(pool, type, few, back, widths[c]);
        CHECK(!memcmp(few, to + c, (size_t)widths[c] * 2), "type %d: %lld elements give others", type, (long long)widths[c]);
    }
    release("element types");
}

static void test_quantised(int64_t n, int64_t k) {
    float *w = random_floats(n * k, 1, 3), *scales = floats(n, 2);
    if (n > 2) memset(w + k, 0, (size_t)k * 4);
    if (n > 4) w[3 * k] = NAN;
    int8_t *packed = bytes(ck_packed_count(n, k));
    ck_quantise_matrix(pool, CK_F32, w, n, k, packed, scales);
    float *rows = floats(n * k, 0);
    int64_t *index = bytes(n * 8);
    for (int64_t j = 0; j < n; j++) index[j] = j;
    ck_packed_rows(CK_I8, packed, scales, n, k, index, rows, n);
    int good = 1;
    for (int64_t j = 0; j < n; j++) {
        float largest = 0;
        int nan = 0;
        for (int64_t p = 0; p < k; p++) largest = fmaxf(largest, fabsf(w[j * k + p])), nan |= !isfinite(w[j * k + p]);
        good &= nan ? isnan(scales[j]) : scales[j] == largest / 127;
        for (int64_t p = 0; p < k && !nan; p++) {
            float want = largest > 0 ? rintf(w[j * k + p] / scales[j]) * scales[j] : 0;
            good &= rows[j * k + p] == want;
        }
    }
    CHECK(good, "eight-bit weights %lld x %lld", (long long)n, (long long)k);
    release("eight-bit weights");
}

void test_types(void) {
    test_type(CK_F16, half_value);
    test_type(CK_BF16, bfloat_value);
    for (int c = 0; c < WIDTHS; c++) test_quantised(widths[c], widths[bits() % WIDTHS]);
}

/* ---- rows ---- */

static void elementwise(int64_t n, int64_t offset) {
    float *x = random_floats(n, offset, 6), *y = random_floats(n, 1, 3), *out = floats(n, 2), *exact = floats(n, 0);
    for (int32_t kind = CK_ACT_NONE; kind <= CK_ACT_RELU; kind++) {
        ck_activation(pool, kind, x, out, n);
        int good = 1;
        for (int64_t i = 0; i < n; i++) good &= close_to(out[i], act(kind, x[i]), 2e-6);
        CHECK(good, "activation %d of %lld", kind, (long long)n);
    }
    float alpha = number(2), beta = number(2);
    for (int64_t i = 0; i < n; i++) {
        float first = alpha * x[i], second = beta * y[i];
        exact[i] = first + second;
    }
    ck_axpby(pool, alpha, x, beta, y, out, n);
    CHECK(same_bits(out, exact, n), "axpby of %lld is not rounded after each product", (long long)n);
    for (int64_t i = 0; i < n; i++) exact[i] = x[i] + y[i];
    ck_add(pool, x, y, out, n);
    CHECK(same_bits(out, exact, n), "add of %lld", (long long)n);
    for (int64_t i = 0; i < n; i++) exact[i] = x[i] * alpha;
    ck_scale(pool, x, alpha, out, n);
    CHECK(same_bits(out, exact, n), "scale of %lld", (long long)n);
    CHECK(ck_all_finite(pool, x, n), "all of %lld are finite", (long long)n);
    int64_t at = (int64_t)(bits() % (uint64_t)n);
    float kept = x[at];
    x[at] = bits() % 2 ? NAN : -INFINITY;
    CHECK(!ck_all_finite(pool, x, n), "not all of %lld are finite", (long long)n);
    x[at] = kept;
    uint8_t *levels = bytes(n);
    ck_to_u8_nhwc(pool, x, levels, 1, 1, 1, n, 40, 127.5f);
    int good = 1;
    for (int64_t i = 0; i < n; i++) {
        float v = x[i] * 40;
        v += 127.5f;
        good &= levels[i] == (uint8_t)rintf(fminf(fmaxf(v, 0), 255)) || fabsf(v - floorf(v) - 0.5f) < 1e-4f;
    }
    CHECK(good, "levels of %lld", (long long)n);
    float odd[8] = {NAN, INFINITY, -INFINITY, 3e9f, -3e9f, 0, 1e30f, -0.0f};
    uint8_t found[8], wanted[8] = {0, 255, 0, 255, 0, 0, 255, 0};
    ck_to_u8_nhwc(pool, odd, found, 1, 1, 1, 8, 1, 0);
    CHECK(!memcmp(found, wanted, 8), "levels of what is no number or beyond: %d %d %d %d %d", found[0], found[1], found[2],
          found[3], found[4]);
    release("element-wise");
}

static void norms(int64_t width, int64_t offset) {
    enum { ROWS = 3 };
    float *x = random_floats(ROWS * width, offset, 4), *out = floats(ROWS * width, 1), *weight = random_floats(width, 2, 1),
          *bias = random_floats(width, 3, 1);
    float *shift = random_floats(ROWS * width, 1, 1), *scale = random_floats(ROWS * width, 2, 1);
    ck_layer_norm_args args = {x, out, weight, bias, shift, scale, width, 1, ROWS, width, 1e-5f};
    ck_layer_norm(pool, &args);
    int good = 1, rms = 1, soft = 1, gated = 1;
    for (int r = 0; r < ROWS; r++) {
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < width; i++) mean += x[r * width + i] / (double)width;
        for (int64_t i = 0; i < width; i++) variance += pow(x[r * width + i] - mean, 2) / (double)width;
        for (int64_t i = 0; i < width; i++) {
            double h = (x[r * width + i] - mean) / sqrt(variance + 1e-5) * weight[i] + bias[i];
            good &=
                close_to(out[r * width + i], h * (1 + scale[r * width + i]) + shift[r * width + i], width > 2 ? 2e-5 : 1e-3);
        }
    }
    CHECK(good, "layer norm of %lld", (long long)width);
    ck_rms_norm(pool, x, weight, out, ROWS, width, 1e-6f);
    for (int r = 0; r < ROWS; r++) {
        double squares = 0;
        for (int64_t i = 0; i < width; i++) squares += (double)x[r * width + i] * x[r * width + i] / (double)width;
        for (int64_t i = 0; i < width; i++)
            rms &= close_to(out[r * width + i], weight[i] * x[r * width + i] / sqrt(squares + 1e-6), 1e-5);
    }
    CHECK(rms, "RMS norm of %lld", (long long)width);
    ck_softmax_rows(pool, x, out, ROWS, width);
    for (int r = 0; r < ROWS; r++) {
        double largest = -INFINITY, sum = 0;
        for (int64_t i = 0; i < width; i++) largest = fmax(largest, x[r * width + i]);
        for (int64_t i = 0; i < width; i++) sum += exp(x[r * width + i] - largest);
        for (int64_t i = 0; i < width; i++) soft &= close_to(out[r * width + i], exp(x[r * width + i] - largest) / sum, 1e-6);
    }
    CHECK(soft, "softmax of %lld", (long long)width);
    ck_gated_add(pool, x, shift, scale, width, out, ROWS, width, 1);
    for (int64_t i = 0; i < ROWS * width; i++) gated &= close_to(out[i], (double)x[i] + (double)scale[i] * shift[i], 1e-6);
    CHECK(gated, "gated add of %lld", (long long)width);
    float *twice = random_floats(ROWS * 2 * width, 1, 4);
    for (int32_t kind = CK_ACT_NONE; kind <= CK_ACT_RELU; kind++) {
        ck_gated(pool, kind, twice, out, ROWS, width);
        int good = 1;
        for (int64_t i = 0; i < ROWS * width; i++) {
            int64_t at = i / width * 2 * width + i % width;
            good &= close_to(out[i], act(kind, twice[at]) * twice[at + width], 4e-6);
        }
        CHECK(good, "gated unit %d of %lld", kind, (long long)width);
    }
    release("norms");
}

static void group_norm(int64_t channels, int64_t groups, int64_t area) {
    float *x = random_floats(2 * channels * area, 1, 3), *out = floats(2 * channels * area, 2),
          *weight = random_floats(channels, 0, 1), *bias = random_floats(channels, 1, 1);
    ck_group_norm_args args = {x, out, weight, bias, 2, channels, area, groups, 1e-6f, CK_ACT_SILU};
    ck_group_norm(pool, &args);
    int64_t size = channels / groups * area;
    int good = 1;
    for (int64_t g = 0; g < 2 * groups; g++) {
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < size; i++) mean += x[g * size + i] / (double)size;
        for (int64_t i = 0; i < size; i++) variance += pow(x[g * size + i] - mean, 2) / (double)size;
        for (int64_t i = 0; i < size; i++) {
            int64_t c = (g * size + i) / area % channels;
            double want = act(CK_ACT_SILU, (x[g * size + i] - mean) / sqrt(variance + 1e-6) * weight[c] + bias[c]);
            good &= close_to(out[g * size + i], want, size > 2 ? 1e-5 : 1e-3);
        }
    }
    CHECK(good, "group norm of %lld channels, %lld groups, area %lld", (long long)channels, (long long)groups, (long long)area);
    release("group norm");
}

void test_rows(void) {
    for (int c = 0; c < WIDTHS; c++)
        for (int64_t offset = 0; offset < OFFSETS; offset++) elementwise(widths[c], offset), norms(widths[c], offset);
    elementwise(70000, 1); /* more than one task */
    for (int c = 0; c < WIDTHS; c++) group_norm(4, 2, widths[c]);
}
