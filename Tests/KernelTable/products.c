/* Products: linear layers of every type, form and layout, attention, convolution. */
#include "grouped.h"

static const int64_t row_counts[] = {1, 2, 3, 5, 6, 7, 8, 9, 11, 12, 13, 24, 31, 61, 150};
static const int64_t depths[] = {1, 3, 8, 17, 64, 300};
enum { ROW_COUNTS = sizeof row_counts / sizeof *row_counts, DEPTHS = sizeof depths / sizeof *depths };

/* Weights in `type`, and the floats they stand for. */
static void *typed(const float *from, int32_t type, int64_t count, float *exact) {
    void *to = bytes(count * (type == CK_F32 ? 4 : 2));
    ck_from_f32(NULL, type, from, to, count);
    ck_to_f32(NULL, type, to, exact, count);
    return to;
}

struct layer {
    int64_t m, n, k;
    const float *x, *exact, *bias, *scales;
    int32_t act;
};

/* Sums of products differ by their order and by what is fused: by a part of the sum of magnitudes. */
static int agrees(const struct layer *l, const float *y, int64_t ldy) {
    for (int64_t i = 0; i < l->m; i++)
        for (int64_t j = 0; j < l->n; j++) {
            double sum = 0, size = 0;
            for (int64_t p = 0; p < l->k; p++) {
                double product = (double)l->x[i * l->k + p] * l->exact[j * l->k + p];
                sum += product, size += fabs(product);
            }
            if (l->scales) sum *= l->scales[j], size *= l->scales[j];
            if (l->bias) sum += l->bias[j];
            double want = act(l->act, sum), error = fabs(y[i * ldy + j] - want);
            if (!(error <= 4e-6 * (size + fabs(sum) + 1))) return 0;
        }
    return 1;
}

static void one_layer(int64_t m, int64_t n, int64_t k, int32_t type, int32_t rows, int32_t layout) {
    int64_t ldy = n + 3;
    float *x = random_floats(m * k, 1, 1), *w = random_floats(n * k, 2, 1), *exact = floats(n * k, 0),
          *bias = random_floats(n, 3, 1);
    float *scales = NULL, *y = floats((m - 1) * ldy + n, 1), *alone = floats(n, 2);
    void *weights;
    if (type == CK_I8) {
        scales = floats(n, 1);
        weights = bytes(ck_packed_count(n, k));
        ck_quantise_matrix(pool, CK_F32, w, n, k, weights, scales);
        for (int64_t j = 0; j < n; j++)
            for (int64_t p = 0; p < k; p++) exact[j * k + p] = rintf(w[j * k + p] / scales[j]);
    } else {
        weights = typed(w, type, n * k, exact);
        if (layout == CK_PACKED) {
            void *packed = bytes(ck_packed_count(n, k) * (type == CK_F32 ? 4 : 2));
            ck_pack_matrix(pool, type, weights, n, k, packed);
            weights = packed;
        }
    }
    int32_t kind = (int32_t)(bits() % 4);
    size_t scratch = ck_linear_scratch(ck_pool_threads(pool), k, type, rows, layout);
    ck_linear_args args = {
        x,    k,      weights, type, bits() % 2 ? bias : NULL, y, ldy, m, n, k, kind, scratch ? bytes((int64_t)scratch) : NULL,
        rows, layout, scales};
    ck_linear(pool, &args);
    struct layer layer = {m, n, k, x, exact, args.bias, scales, kind};
    CHECK(agrees(&layer, y, ldy), "linear %lld x %lld x %lld, type %d, rows %d, layout %d, activation %d", (long long)m,
          (long long)n, (long long)k, type, rows, layout, kind);
    int64_t row = (int64_t)(bits() % (uint64_t)m);
    args.x = x + row * k, args.y = alone, args.m = 1;
    ck_linear(NULL, &args);
    CHECK(same_bits(alone, y + row * ldy, n), "linear %lld x %lld x %lld, type %d: a row alone has other bits", (long long)m,
          (long long)n, (long long)k, type);
    release("linear");
}

void test_products(void) {
    for (int r = 0; r < ROW_COUNTS; r++)
        for (int c = 0; c < WIDTHS - 2; c++) {
            int64_t m = row_counts[r], n = widths[c], k = depths[bits() % DEPTHS];
            for (int32_t type = CK_F32; type <= CK_BF16; type++) {
                one_layer(m, n, k, type, CK_ROWS_OF_MATRIX, CK_ROW_MAJOR);
                one_layer(m, n, k, type, CK_ROWS_OF_MATRIX, CK_PACKED);
                one_layer(m, n, k, type, CK_ROWS_ARE_VECTORS, CK_ROW_MAJOR);
            }
            one_layer(m, n, k, CK_I8, CK_ROWS_OF_MATRIX, CK_PACKED);
        }
    for (int form = 0; form < 4; form++)
        for (int c = 0; c < WIDTHS; c++) {
            int64_t m = row_counts[bits() % ROW_COUNTS], n = widths[c], k = depths[bits() % DEPTHS];
            float *a = random_floats(m * k, 1, 1), *b = random_floats(n * k, 3, 1), *out = random_floats(m * n, 2, 1),
                  *before = floats(m * n, 0);
            memcpy(before, out, (size_t)(m * n) * 4);
            int32_t a_form = form & 1, b_form = form >> 1, adds = (int32_t)(bits() % 2);
            ck_product_args args = {a,
                                    a_form ? m : k,
                                    a_form,
                                    b,
                                    b_form ? n : k,
                                    b_form,
                                    out,
                                    n,
                                    m,
                                    n,
                                    k,
                                    adds,
                                    bytes((int64_t)ck_product_scratch(ck_pool_threads(pool), m, n, k))};
            ck_product(pool, &args);
            int good = 1;
            for (int64_t i = 0; i < m; i++)
                for (int64_t j = 0; j < n; j++) {
                    double sum = adds ? before[i * n + j] : 0, size = 1;
                    for (int64_t p = 0; p < k; p++) {
                        double product = (double)a[a_form ? p * m + i : i * k + p] * b[b_form ? p * n + j : j * k + p];
                        sum += product, size += fabs(product);
                    }
                    good &= fabs(out[i * n + j] - sum) <= 4e-6 * size;
                }
            CHECK(good, "product of form %d, %lld x %lld x %lld", form, (long long)m, (long long)n, (long long)k);
            release("product");
        }
}

static void one_attention(int64_t queries, int64_t keys, int64_t width, int64_t groups, int64_t shared, int biased) {
    int64_t batch = 2, heads = 2, row = heads * width, turns = groups ? groups : 1, all = keys + shared;
    ck_attention_args args = random_groups(&(grouped_sizes){batch, heads, queries, keys, width, groups, shared});
    const float *q = args.q, *k = args.k, *v = args.v, *more_k = args.shared_k, *more_v = args.shared_v;
    float *bias = random_floats(batch * keys, 1, 3), *out = args.out;
    for (int64_t s = 0; s < keys; s++)
        if (s % 3) bias[s] = -INFINITY; /* the first sample; the second sees but one key */
    for (int64_t s = 1; s < keys; s++) bias[keys + s] = -INFINITY;
    args.bias = biased ? bias : NULL, args.bias_batch = keys;
    args.scratch = bytes((int64_t)ck_attention_scratch(ck_pool_threads(pool), &args));
    ck_attention(pool, &args);
    int good = 1;
    double *p = bytes(all * 8);
    for (int64_t at = 0; at < batch * turns * heads * queries; at++) {
        int64_t t = at % queries, h = at / queries % heads, g = at / queries / heads % turns, b = at / queries / heads / turns;
        const float *query = q + ((b * queries + t) * turns + g) * row + h * width;
        double largest = -INFINITY, sum = 0;
        for (int64_t s = 0; s < all; s++) {
            const float *key = s < keys ? k + ((b * keys + s) * turns + g) * row : more_k + (b * shared + s - keys) * row;
            p[s] = 0;
            for (int64_t d = 0; d < width; d++) p[s] += (double)query[d] * key[h * width + d];
            p[s] = p[s] * args.scale + (biased && s < keys ? bias[b * keys + s] : 0);
            largest = fmax(largest, p[s]);
        }
        for (int64_t s = 0; s < all; s++) sum += p[s] = exp(p[s] - largest);
        for (int64_t d = 0; d < width; d++) {
            double want = 0;
            for (int64_t s = 0; s < all; s++) {
                const float *value = s < keys ? v + ((b * keys + s) * turns + g) * row : more_v + (b * shared + s - keys) * row;
                want += p[s] / sum * value[h * width + d];
            }
            good &= close_to(out[((b * queries + t) * turns + g) * row + h * width + d], want, 2e-5);
        }
    }
    CHECK(good, "attention %lld x %lld + %lld x %lld, %lld groups%s", (long long)queries, (long long)keys, (long long)shared,
          (long long)width, (long long)groups, biased ? ", biased" : "");
    if (!shared && groups && !biased) { /* a group has the bits of a call of its own, one group those of no groups */
        float *alone = floats(batch * turns * queries * row, 1);
        for (int64_t g = 0; g < groups; g++) {
            ck_attention_args one = args;
            one.q += g * row, one.k += g * row, one.v += g * row, one.out = alone + g * row, one.groups = 0;
            ck_attention(pool, &one);
        }
        CHECK(same_bits(out, alone, batch * turns * queries * row), "bits of %lld groups", (long long)groups);
    }
    release("attention");
}

void test_attention(void) {
    static const int64_t cases[][3] = {{1, 1, 1},    {3, 5, 7},    {16, 16, 16}, {17, 33, 64},  {64, 64, 72},
                                       {65, 100, 8}, {1, 130, 32}, {130, 3, 20}, {50, 1700, 24}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        int64_t queries = cases[c][0], keys = cases[c][1], width = cases[c][2];
        one_attention(queries, keys, width, 0, 0, 0);
        one_attention(queries, keys, width, 0, 0, 1);
        one_attention(queries, keys, width, 1, 0, 0);
        one_attention(queries, keys, width, 3, 0, 0);
        one_attention(queries, keys, width, 3, 1 + keys / 3, 0);
        one_attention(queries, keys, width, 2, 17, 1);
        one_attention(queries, 0, width, 2, keys, 0);
    }
    one_attention(80, 900, 12, 2, 450, 0); /* several tiles: packed whole, and panel by panel */
    one_attention(150, 300, 300, 2, 310, 0);
    one_attention(80, 900, 12, 0, 0, 1);
}

void test_convolution(void) {
    for (int round = 0; round < 24; round++) {
        int64_t in = widths[bits() % 9], outs = widths[bits() % 11], h = 3 + (int64_t)(bits() % 9),
                w = 3 + (int64_t)(bits() % 20);
        int64_t side = bits() % 2 ? 3 : 1, stride = 1 + (int64_t)(bits() % 2), up = stride == 1 ? 1 + (int64_t)(bits() % 2) : 1,
                pad = side / 2;
        int64_t oh = (h * up + 2 * pad - side) / stride + 1, ow = (w * up + 2 * pad - side) / stride + 1, batch = 2;
        float *x = random_floats(batch * in * h * w, 1, 1), *weight = random_floats(outs * in * side * side, 2, 1),
              *bias = random_floats(outs, 0, 1);
        float *add = random_floats(batch * outs * oh * ow, 3, 1), *out = floats(batch * outs * oh * ow, 1);
        static const int32_t forms[] = {CK_CONV_DIRECT, CK_CONV_F2, CK_CONV_F4};
        int32_t form = side == 3 && stride == 1 ? forms[bits() % 3] : CK_CONV_DIRECT;
        ck_conv2d_args args = {.x = x,
                               .w = weight,
                               .dtype = CK_F32,
                               .bias = bias,
                               .add = bits() % 2 ? add : NULL,
                               .out = out,
                               .batch = batch,
                               .in_channels = in,
                               .h = h,
                               .width = w,
                               .out_channels = outs,
                               .out_h = oh,
                               .out_w = ow,
                               .kh = side,
                               .kw = side,
                               .stride = stride,
                               .pad_top = pad,
                               .pad_left = pad,
                               .upsample = up,
                               .form = form};
        args.scratch = bytes((int64_t)ck_conv2d_scratch(ck_pool_threads(pool), &args));
        ck_conv2d(pool, &args);
        int good = 1;
        for (int64_t b = 0; b < batch; b++)
            for (int64_t o = 0; o < outs; o++)
                for (int64_t r = 0; r < oh; r++)
                    for (int64_t c = 0; c < ow; c++) {
                        int64_t at = ((b * outs + o) * oh + r) * ow + c;
                        double want = bias[o] + (args.add ? add[at] : 0), size = 1;
                        for (int64_t i = 0; i < in * side * side; i++) {
                            int64_t y = r * stride + i / side % side - pad, z = c * stride + i % side - pad;
                            if (y < 0 || z < 0 || y >= h * up || z >= w * up) continue;
                            double product = (double)weight[o * in * side * side + i] *
                                             x[((b * in + i / side / side) * h + y / up) * w + z / up];
                            want += product, size += fabs(product);
                        }
                        good &= fabs(out[at] - want) <= 4e-6 * size;
                    }
        CHECK(good, "convolution %lld -> %lld of %lld x %lld, side %lld, form %d", (long long)in, (long long)outs, (long long)h,
              (long long)w, (long long)side, form);
        release("convolution");
    }
}
