/* Products of pairs of bf16 against their definition, bit for bit, whichever table makes them. */
#include "grouped.h"

/* ---- the definition ---- */

static float flushed(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x; }

/* Nearest bf16, ties to even; subnormal numbers are zeros. */
static float rounded(float x) {
    uint32_t u;
    x = flushed(x);
    memcpy(&u, &x, 4);
    if ((u & 0x7fffffffu) <= 0x7f800000u) u += 0x7fffu + (u >> 16 & 1);
    u &= 0xffff0000u;
    memcpy(&x, &u, 4);
    return flushed(x);
}

static int64_t depth_of(int64_t units) {
    int64_t blocks = (units + 255) / 256;
    return blocks <= 1 ? units : ((units + blocks - 1) / blocks + 7) / 8 * 8;
}

/* Block by block of k the chain of its pairs, of each the odd element first. */
static float defined(const float *x, const float *w, int64_t k) {
    int64_t units = (k + 1) / 2, depth = depth_of(units);
    float all = 0;
    for (int64_t u = 0; u < units; u += depth) {
        float sum = 0;
        for (int64_t p = u; p < u + depth && p < units; p++) {
            int64_t odd = 2 * p + 1; /* a zero behind the last */
            sum = flushed(fmaf(odd < k ? rounded(x[odd]) : 0, odd < k ? rounded(w[odd]) : 0, sum));
            sum = flushed(fmaf(rounded(x[2 * p]), rounded(w[2 * p]), sum));
        }
        all = u > 0 ? sum + all : sum;
    }
    return all;
}

static int same(float a, float b) { return memcmp(&a, &b, 4) == 0 || (a != a && b != b); }

/* ---- linear layers ---- */

/* Numbers of every size: sums that cancel, subnormal ones, products beyond both ends; now and then infinity. */
static float any_number(int wild) {
    if (!wild) return number(1);
    float x = ldexpf(number(1), (int)(bits() % 260) - 150);
    return bits() % 200 ? x : INFINITY;
}

static float *numbers(int64_t count, int wild) {
    float *at = floats(count, 1);
    for (int64_t i = 0; i < count; i++) at[i] = any_number(wild);
    return at;
}

static void one_layer(int64_t m, int64_t n, int64_t k, int32_t type, int wild) {
    float *x = numbers(m * k, wild), *w = numbers(n * k, wild), *bias = random_floats(n, 1, 1);
    float *exact = floats(n * k, 0), *y = floats(m * (n + 3), 2);
    void *stored = bytes(n * k * 4), *packed = bytes(ck_packed_count(n, (k + 1) / 2) * 4);
    ck_from_f32(NULL, type, w, stored, n * k);
    ck_to_f32(NULL, type, stored, exact, n * k);
    ck_pack_pairs(pool, type, stored, n, k, packed);
    size_t scratch = ck_linear_scratch(ck_pool_threads(pool), k, CK_PAIRS, CK_ROWS_OF_MATRIX, CK_PACKED);
    ck_linear_args args = {.x = x,
                           .ldx = k,
                           .w = packed,
                           .dtype = CK_PAIRS,
                           .y = y,
                           .ldy = n + 3,
                           .m = m,
                           .n = n,
                           .k = k,
                           .bias = bits() % 2 ? bias : NULL,
                           .scratch = bytes((int64_t)scratch),
                           .layout = CK_PACKED};
    ck_linear(pool, &args);
    int good = 1;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            float want = defined(x + i * k, exact + j * k, k);
            good &= same(y[i * (n + 3) + j], args.bias ? want + bias[j] : want);
        }
    CHECK(good, "pairs: linear %lld x %lld x %lld, type %d%s", (long long)m, (long long)n, (long long)k, type,
          wild ? ", numbers of every size" : "");
    release("linear of pairs");
}

static void test_layers(void) {
    static const int64_t long_ones[] = {31, 33, 64, 511, 512, 513, 514, 1025, 1600};
    for (int64_t m = 1; m <= 13; m++)
        for (int64_t n = 1; n <= 33; n += 1 + n / 5)
            for (int64_t k = 1; k <= 9; k++) one_layer(m, n, k, (int32_t)(bits() % 3), (int)(bits() % 2));
    for (size_t i = 0; i < sizeof long_ones / sizeof *long_ones; i++)
        for (int64_t m = 1; m < 160; m += 1 + m * 2)
            one_layer(m, widths[bits() % WIDTHS], long_ones[i], CK_F32, (int)(bits() % 2));
    one_layer(300, 352, 66, CK_F32, 0);
}

/* A row of the packed weights of a head that is the embedding too. */
static void test_rows_of_table(void) {
    for (int64_t k = 1; k < 1100; k += 1 + k / 2) {
        int64_t n = 37, index[] = {0, 36, 15, 16};
        float *w = random_floats(n * k, 0, 1), *out = floats(4 * k, 1);
        void *packed = bytes(ck_packed_count(n, (k + 1) / 2) * 4);
        ck_pack_pairs(pool, CK_F32, w, n, k, packed);
        ck_packed_rows(CK_PAIRS, packed, NULL, n, k, index, out, 4);
        int good = 1;
        for (int64_t i = 0; i < 4 * k; i++) good &= same(out[i], rounded(w[index[i / k] * k + i % k]));
        CHECK(good, "pairs: rows of a table of %lld", (long long)k);
        release("rows of pairs");
    }
}

/* ---- convolutions ---- */

static void one_convolution(int64_t in, int64_t out, int64_t side, int64_t kernel, int64_t stride) {
    int64_t pad = kernel / 2, size = (side + 2 * pad - kernel) / stride + 1, k = in * kernel * kernel;
    float *x = random_floats(2 * in * side * side, 1, 1), *w = random_floats(out * k, 0, 1),
          *y = floats(2 * out * size * size, 1);
    ck_conv2d_args args = {.x = x,
                           .w = w,
                           .out = y,
                           .batch = 2,
                           .in_channels = in,
                           .h = side,
                           .width = side,
                           .out_channels = out,
                           .out_h = size,
                           .out_w = size,
                           .kh = kernel,
                           .kw = kernel,
                           .stride = stride,
                           .pad_top = pad,
                           .pad_left = pad,
                           .upsample = 1,
                           .precision = CK_PAIRS};
    args.scratch = bytes((int64_t)ck_conv2d_scratch(ck_pool_threads(pool), &args));
    ck_conv2d(pool, &args);
    float *column = floats(k, 0);
    int good = 1;
    for (int64_t at = 0; at < 2 * out * size * size; at++) {
        int64_t ox = at % size, oy = at / size % size, o = at / size / size % out, image = at / size / size / out;
        for (int64_t i = 0; i < k; i++) {
            int64_t ix = ox * stride - pad + i % kernel, iy = oy * stride - pad + i / kernel % kernel, c = i / kernel / kernel;
            int inside = ix >= 0 && iy >= 0 && ix < side && iy < side;
            column[i] = inside ? x[((image * in + c) * side + iy) * side + ix] : 0;
        }
        good &= same(y[at], defined(column, w + o * k, k) + 0.0f);
    }
    CHECK(good, "pairs: convolution %lld -> %lld, %lld pixels, kernel %lld, stride %lld", (long long)in, (long long)out,
          (long long)side, (long long)kernel, (long long)stride);
    release("convolution of pairs");
}

/* ---- attention ---- */

/* Weights are rounded before they meet the values: by 2^-9 of each at most. */
static void one_attention(int64_t queries, int64_t keys, int64_t width, int64_t groups, int64_t shared) {
    int64_t heads = 2, row = heads * width, turns = groups ? groups : 1;
    ck_attention_args args = random_groups(&(grouped_sizes){2, heads, queries, keys, width, groups, shared});
    args.precision = CK_PAIRS;
    args.scratch = bytes((int64_t)ck_attention_scratch(ck_pool_threads(pool), &args));
    ck_attention(pool, &args);
    int good = 1;
    double *p = bytes((keys + shared) * 8);
    for (int64_t at = 0; at < 2 * turns * heads * queries; at++) {
        int64_t t = at % queries, h = at / queries % heads, g = at / queries / heads % turns, b = at / queries / heads / turns;
        const float *query = args.q + ((b * queries + t) * turns + g) * row + h * width;
        double largest = -INFINITY, sum = 0;
        for (int64_t s = 0; s < keys + shared; s++) {
            const float *key =
                s < keys ? args.k + ((b * keys + s) * turns + g) * row : args.shared_k + (b * shared + s - keys) * row;
            p[s] = 0;
            for (int64_t i = 0; i < width; i++) p[s] += (double)rounded(query[i]) * rounded(key[h * width + i]);
            p[s] *= args.scale, largest = fmax(largest, p[s]);
        }
        for (int64_t s = 0; s < keys + shared; s++) sum += p[s] = exp(p[s] - largest);
        for (int64_t i = 0; i < width; i++) {
            double want = 0, size = 0;
            for (int64_t s = 0; s < keys + shared; s++) {
                const float *value =
                    s < keys ? args.v + ((b * keys + s) * turns + g) * row : args.shared_v + (b * shared + s - keys) * row;
                want += p[s] * rounded(value[h * width + i]), size += p[s] * fabs(rounded(value[h * width + i]));
            }
            double got = args.out[((b * queries + t) * turns + g) * row + h * width + i];
            good &= fabs(got - want / sum) <= 0x1p-8 * size / sum + 1e-5;
        }
    }
    CHECK(good, "pairs: attention of %lld to %lld and %lld keys of %lld, %lld groups", (long long)queries, (long long)keys,
          (long long)shared, (long long)width, (long long)groups);
    release("attention of pairs");
}

void test_pairs(void) {
    test_layers();
    test_rows_of_table();
    one_convolution(3, 5, 7, 3, 1), one_convolution(1, 1, 3, 1, 1), one_convolution(17, 20, 9, 1, 1),
        one_convolution(20, 17, 9, 3, 2);
    one_convolution(65, 30, 8, 3, 1), one_convolution(129, 40, 5, 1, 1), one_convolution(30, 24, 12, 3, 1);
    one_attention(1, 1, 1, 0, 0), one_attention(3, 5, 7, 0, 0), one_attention(33, 17, 9, 0, 0),
        one_attention(70, 300, 40, 0, 0);
    one_attention(5, 1601, 16, 0, 0), one_attention(260, 1540, 8, 0, 0), one_attention(6, 5, 8, 4, 7),
        one_attention(9, 20, 16, 3, 600);
}
