/* Backward passes and the optimiser. */
#include "table.h"

static void rounded(int64_t n, int64_t offset) {
    float *a = random_floats(2 * n, offset, 2), *b = random_floats(2 * n, 1, 2), *g = random_floats(2 * n, 2, 2),
          *out = floats(2 * n, 3), *exact = floats(2 * n, 0);
    float w[2] = {number(1), bits() % 2 ? 1 : 0};
    for (int64_t i = 0; i < 2 * n; i++) {
        float first = w[i / n] * a[i], second = (1 - w[i / n]) * b[i];
        exact[i] = w[i / n] == 1 ? a[i] : w[i / n] == 0 ? b[i] : first + second;
    }
    ck_mix(pool, a, b, w, out, 2, n);
    CHECK(same_bits(out, exact, 2 * n), "mix of %lld is not rounded after each product", (long long)n);
    float dw[2], *da = floats(2 * n, 1), *db = floats(2 * n, 2);
    ck_mix_backward(pool, g, a, b, w, a, dw, da, db, 2, n);
    int good = 1;
    for (int group = 0; group < 2; group++) {
        double sum = 0, size = 1;
        for (int64_t i = group * n; i < (group + 1) * n; i++) {
            sum += (double)g[i] * ((double)a[i] - b[i]), size += fabs((double)g[i] * ((double)a[i] - b[i]));
            good &=
                close_to(da[i], (double)w[group] * g[i], 1e-6) && close_to(db[i], a[i] + (1 - (double)w[group]) * g[i], 1e-6);
        }
        good &= fabs(dw[group] - sum) <= 1e-6 * size;
    }
    CHECK(good, "mix backward of %lld", (long long)n);
    for (int32_t kind = CK_ACT_NONE; kind <= CK_ACT_RELU; kind++) {
        ck_activation_backward(pool, kind, a, g, out, n);
        int close = 1;
        for (int64_t i = 0; i < n; i++) close &= close_to(out[i], g[i] * act_slope(kind, a[i]), 5e-6);
        CHECK(close, "activation %d backward of %lld", kind, (long long)n);
    }
    release("mix and activations");
}

/* torch's single-tensor AdamW: each operation rounded. */
static void adamw(int64_t n, int64_t offset) {
    float *p = random_floats(n, offset, 1), *m = random_floats(n, 1, 1), *v = random_floats(n, 2, 1),
          *g = random_floats(n, 3, 1);
    for (int64_t i = 0; i < n; i++) v[i] = fabsf(v[i]);
    float *wp = floats(n, 0), *wm = floats(n, 0), *wv = floats(n, 0);
    ck_adamw_args a = {p, m, v, g, n, 1e-3, 0.9, 0.999, 1e-8, 0.01, 7, 0.5f};
    float decay = (float)(1 - a.lr * a.weight_decay), size = (float)(a.lr / (1 - pow(0.9, 7))),
          root = (float)sqrt(1 - pow(0.999, 7));
    for (int64_t i = 0; i < n; i++) {
        float gradient = g[i] * 0.5f, step = gradient - m[i];
        step *= (float)(1 - 0.9);
        wm[i] = m[i] + step;
        float square = gradient * gradient;
        square *= (float)(1 - 0.999);
        float kept = v[i] * 0.999f;
        wv[i] = kept + square;
        float scaled = sqrtf(wv[i]) / root;
        scaled += (float)1e-8;
        float change = wm[i] / scaled;
        change *= size;
        float decayed = p[i] * decay;
        wp[i] = decayed - change;
    }
    ck_adamw(pool, &a);
    CHECK(same_bits(p, wp, n) && same_bits(m, wm, n) && same_bits(v, wv, n), "AdamW of %lld is not rounded as torch's",
          (long long)n);
    double *partial = bytes(ck_sum_squares_partials(n) * 8), sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)g[i] * g[i];
    CHECK(fabs(ck_sum_squares(pool, g, n, partial) - sum) <= 1e-9 * (1 + sum), "sum of squares of %lld", (long long)n);
    release("AdamW");
}

/* The gradient of the layer norm's output with g, by differences in double precision. */
static double norm_value(const double *x, int64_t width, const float *g, const float *weight, const float *bias,
                         const float *scale, const float *shift) {
    double mean = 0, variance = 0, value = 0;
    for (int64_t i = 0; i < width; i++) mean += x[i] / (double)width;
    for (int64_t i = 0; i < width; i++) variance += (x[i] - mean) * (x[i] - mean) / (double)width;
    for (int64_t i = 0; i < width; i++) {
        double h = (x[i] - mean) / sqrt(variance + 1e-5) * weight[i] + bias[i];
        value += g[i] * (h * (1 + (double)scale[i]) + shift[i]);
    }
    return value;
}

static void norm_backward(int64_t width) {
    enum { ROWS = 4 };
    float *x = random_floats(ROWS * width, 1, 3), *g = random_floats(ROWS * width, 2, 1), *weight = random_floats(width, 3, 1),
          *bias = random_floats(width, 0, 1);
    float *shift = random_floats(2 * width, 1, 1), *scale = random_floats(2 * width, 2, 1), *dx = floats(ROWS * width, 1),
          *dshift = floats(2 * width, 2);
    float *dscale = floats(2 * width, 3), *dweight = floats(width, 1), *dbias = floats(width, 2);
    ck_layer_norm_backward_args args = {{x, NULL, weight, bias, shift, scale, width, 2, ROWS, width, 1e-5f},
                                        g,
                                        NULL,
                                        dx,
                                        dshift,
                                        dscale,
                                        width,
                                        dweight,
                                        dbias,
                                        0,
                                        bytes((int64_t)ck_layer_norm_backward_scratch(ck_pool_threads(pool), ROWS, width, 2))};
    ck_layer_norm_backward(pool, &args);
    double *at = bytes(width * 8);
    int good = 1;
    for (int r = 0; r < ROWS; r++) {
        for (int64_t i = 0; i < width; i++) at[i] = x[r * width + i];
        const float *s = scale + r / 2 * width, *t = shift + r / 2 * width;
        for (int64_t i = 0; i < width; i += 1 + width / 7) {
            double own = at[i], h = 1e-5;
            at[i] = own + h;
            double above = norm_value(at, width, g + r * width, weight, bias, s, t);
            at[i] = own - h;
            double slope = (above - norm_value(at, width, g + r * width, weight, bias, s, t)) / (2 * h);
            at[i] = own;
            good &= close_to(dx[r * width + i], slope, width > 2 ? 1e-4 : 2e-2);
        }
    }
    CHECK(good, "layer norm backward of %lld", (long long)width);
    int sums = 1;
    for (int sample = 0; sample < 2; sample++)
        for (int64_t i = 0; i < width; i++)
            sums &=
                close_to(dshift[sample * width + i], (double)g[2 * sample * width + i] + g[(2 * sample + 1) * width + i], 1e-5);
    for (int64_t i = 0; i < width; i++) {
        double sum = 0;
        for (int r = 0; r < ROWS; r++) sum += g[r * width + i] * (1 + (double)scale[r / 2 * width + i]);
        sums &= close_to(dbias[i], sum, 1e-5);
    }
    CHECK(sums, "layer norm backward of %lld: shift and bias", (long long)width);
    float *total = floats(width, 1);
    ck_column_sums(pool, g, ROWS, width, width, 0, total);
    int columns = 1;
    for (int64_t i = 0; i < width; i++)
        columns &= close_to(total[i], (double)g[i] + g[width + i] + g[2 * width + i] + g[3 * width + i], 1e-5);
    CHECK(columns, "column sums of %lld", (long long)width);
    release("layer norm backward");
}

static void attention_backward(int64_t queries, int64_t keys, int64_t width) {
    int64_t row = width;
    float *q = random_floats(queries * row, 1, 1), *k = random_floats(keys * row, 2, 1), *v = random_floats(keys * row, 3, 1),
          *g = random_floats(queries * row, 0, 1);
    float *dq = floats(queries * row, 1), *dk = floats(keys * row, 2), *dv = floats(keys * row, 3);
    float scale = 1 / sqrtf((float)width);
    ck_attention_backward_args args = {
        .forward = {.q = q,
                    .k = k,
                    .v = v,
                    .q_batch = queries * row,
                    .q_row = row,
                    .k_batch = keys * row,
                    .k_row = row,
                    .v_batch = keys * row,
                    .v_row = row,
                    .out_batch = queries * row,
                    .out_row = row,
                    .batch = 1,
                    .heads = 1,
                    .queries = queries,
                    .keys = keys,
                    .head_dim = width,
                    .scale = scale},
        .g = g,
        .dq = dq,
        .dk = dk,
        .dv = dv,
        .scratch = bytes((int64_t)ck_attention_backward_scratch(ck_pool_threads(pool), queries, keys, width)),
    };
    ck_attention_backward(pool, &args);
    double *p = bytes(queries * keys * 8), *d = bytes(queries * keys * 8);
    for (int64_t t = 0; t < queries; t++) {
        double sum = 0, mean = 0;
        for (int64_t s = 0; s < keys; s++) {
            double score = 0;
            for (int64_t i = 0; i < width; i++) score += (double)q[t * row + i] * k[s * row + i];
            sum += p[t * keys + s] = exp(score * scale);
        }
        for (int64_t s = 0; s < keys; s++) {
            p[t * keys + s] /= sum, d[t * keys + s] = 0;
            for (int64_t i = 0; i < width; i++) d[t * keys + s] += (double)g[t * row + i] * v[s * row + i];
            mean += p[t * keys + s] * d[t * keys + s];
        }
        for (int64_t s = 0; s < keys; s++) d[t * keys + s] = p[t * keys + s] * (d[t * keys + s] - mean) * scale;
    }
    int good = 1;
    for (int64_t i = 0; i < width; i++) {
        for (int64_t t = 0; t < queries; t++) {
            double want = 0;
            for (int64_t s = 0; s < keys; s++) want += d[t * keys + s] * k[s * row + i];
            good &= close_to(dq[t * row + i], want, 2e-5);
        }
        for (int64_t s = 0; s < keys; s++) {
            double key = 0, value = 0;
            for (int64_t t = 0; t < queries; t++)
                key += d[t * keys + s] * q[t * row + i], value += p[t * keys + s] * g[t * row + i];
            good &= close_to(dk[s * row + i], key, 2e-5) && close_to(dv[s * row + i], value, 2e-5);
        }
    }
    CHECK(good, "attention backward %lld x %lld x %lld", (long long)queries, (long long)keys, (long long)width);
    release("attention backward");
}

void test_learning(void) {
    for (int c = 0; c < WIDTHS; c++) {
        for (int64_t offset = 0; offset < OFFSETS; offset++) rounded(widths[c], offset), adamw(widths[c], offset);
        norm_backward(widths[c]);
    }
    adamw(70000, 1);
    static const int64_t cases[][3] = {{1, 1, 1}, {3, 7, 5}, {16, 17, 16}, {33, 31, 8}, {65, 70, 24}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) attention_backward(cases[c][0], cases[c][1], cases[c][2]);
}
