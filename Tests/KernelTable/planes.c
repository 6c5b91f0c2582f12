/* What U-Nets add: gates, vectors over channels, changes of size and of layout, the way back of a group norm. */
#include "table.h"

static void gates(int64_t rows, int64_t width) {
    float *x = random_floats(2 * rows * width, 1, 5), *g = random_floats(rows * width, 2, 1);
    float *out = floats(rows * width, 0), *dx = floats(2 * rows * width, 1);
    ck_geglu(pool, x, out, rows, width);
    ck_geglu_backward(pool, x, g, dx, rows, width);
    int good = 1, back = 1;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < width; i++) {
            double value = x[2 * r * width + i], gate = x[(2 * r + 1) * width + i], d = g[r * width + i];
            good &= close_to(out[r * width + i], value * act(CK_ACT_GELU_ERF, gate), 2e-6);
            back &= close_to(dx[2 * r * width + i], d * act(CK_ACT_GELU_ERF, gate), 2e-6);
            back &= close_to(dx[(2 * r + 1) * width + i], d * value * act_slope(CK_ACT_GELU_ERF, gate), 1e-5);
        }
    CHECK(good, "%lld gates of %lld", (long long)rows, (long long)width);
    CHECK(back, "the way back of %lld gates of %lld", (long long)rows, (long long)width);
    release("gates");
}

static void channels(int64_t batch, int64_t count, int64_t area) {
    int64_t n = batch * count * area, stride = count + 3;
    float *x = random_floats(n, 1, 2), *v = random_floats(batch * stride, 2, 2), *out = floats(n, 0),
          *sums = floats(batch * count, 1);
    ck_add_channels(pool, x, v, stride, out, batch, count, area);
    ck_plane_sums(pool, x, sums, batch * count, area);
    int good = 1, summed = 1;
    for (int64_t p = 0; p < batch * count; p++) {
        double sum = 0;
        for (int64_t i = 0; i < area; i++) {
            float want = x[p * area + i] + v[p / count * stride + p % count];
            good &= same_bits(&out[p * area + i], &want, 1);
            sum += x[p * area + i];
        }
        summed &= close_to(sums[p], sum, 1e-6);
    }
    CHECK(good && summed, "%lld x %lld channels of %lld", (long long)batch, (long long)count, (long long)area);
    float *wide = floats(batch * (count * area + 5), 2);
    ck_copy_runs(pool, x, count * area, wide + 5, count * area + 5, batch, count * area);
    int copied = 1;
    for (int64_t b = 0; b < batch; b++)
        copied &= same_bits(wide + b * (count * area + 5) + 5, x + b * count * area, count * area);
    CHECK(copied, "runs of %lld", (long long)(count * area));
    release("channels");
}

static void sizes(int64_t h, int64_t w, int64_t out_h, int64_t out_w) {
    enum { PLANES = 3 };
    float *x = random_floats(PLANES * h * w, 1, 2), *out = floats(PLANES * out_h * out_w, 2), *dx = floats(PLANES * h * w, 1);
    double *sums = bytes(PLANES * h * w * 8);
    memset(sums, 0, (size_t)(PLANES * h * w) * 8);
    ck_resize_nearest(pool, x, out, PLANES, h, w, out_h, out_w);
    ck_resize_nearest_backward(pool, out, dx, PLANES, h, w, out_h, out_w);
    int good = 1, back = 1;
    for (int64_t p = 0; p < PLANES; p++)
        for (int64_t y = 0; y < out_h; y++)
            for (int64_t i = 0; i < out_w; i++) {
                int64_t from = (p * h + y * h / out_h) * w + i * w / out_w, at = (p * out_h + y) * out_w + i;
                good &= same_bits(&out[at], &x[from], 1);
                sums[from] += out[at];
            }
    for (int64_t i = 0; i < PLANES * h * w; i++) back &= close_to(dx[i], sums[i], 1e-5);
    CHECK(good && back, "%lld x %lld to %lld x %lld", (long long)h, (long long)w, (long long)out_h, (long long)out_w);
    release("sizes");
}

static void layout(int64_t rows, int64_t cols) {
    float *x = random_floats(2 * rows * cols, 1, 2), *add = random_floats(2 * rows * cols, 2, 2),
          *out = floats(2 * rows * cols, 0);
    ck_transpose_add(pool, x, add, out, 2, rows, cols);
    int good = 1;
    for (int64_t b = 0; b < 2; b++)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < cols; c++) {
                int64_t at = (b * cols + c) * rows + r;
                float want = x[(b * rows + r) * cols + c] + add[at];
                good &= same_bits(&out[at], &want, 1);
            }
    CHECK(good, "%lld x %lld tokens as planes", (long long)rows, (long long)cols);
    release("layout");
}

static void norm_backward(int32_t kind, int64_t groups, int64_t each, int64_t area) {
    int64_t count = groups * each, n = each * area, batch = 2;
    float *x = random_floats(batch * count * area, 1, 3), *g = random_floats(batch * count * area, 2, 1);
    float *w = random_floats(count, 0, 1), *b = random_floats(count, 1, 1), *dx = floats(batch * count * area, 1);
    ck_group_norm_args args = {.x = x,
                               .out = dx,
                               .weight = w,
                               .bias = b,
                               .batch = batch,
                               .channels = count,
                               .area = area,
                               .groups = groups,
                               .eps = 1e-2f,
                               .act = kind};
    ck_group_norm_backward(pool, &args, g);
    int good = 1;
    double *d = bytes(n * 8), *hat = bytes(n * 8);
    for (int64_t s = 0; s < batch * groups; s++) {
        double mean = 0, variance = 0, sum = 0, product = 0;
        for (int64_t i = 0; i < n; i++) mean += x[s * n + i] / (double)n;
        for (int64_t i = 0; i < n; i++) variance += (x[s * n + i] - mean) * (x[s * n + i] - mean) / (double)n;
        double inverse = 1 / sqrt(variance + (double)args.eps);
        for (int64_t i = 0; i < n; i++) {
            int64_t c = s % groups * each + i / area;
            hat[i] = (x[s * n + i] - mean) * inverse;
            d[i] = g[s * n + i] * act_slope(kind, hat[i] * w[c] + b[c]) * w[c];
            sum += d[i] / (double)n, product += d[i] * hat[i] / (double)n;
        }
        for (int64_t i = 0; i < n; i++) good &= close_to(dx[s * n + i], inverse * (d[i] - sum - hat[i] * product), 2e-5);
    }
    CHECK(good, "the way back of a norm in %lld groups of %lld x %lld", (long long)groups, (long long)each, (long long)area);
    release("group norms");
}

void test_planes(void) {
    for (int c = 0; c < WIDTHS; c++) {
        gates(3, widths[c]);
        channels(2, 3, widths[c]);
        layout(widths[c], widths[WIDTHS - 1 - c]);
        norm_backward(c % 2 ? CK_ACT_SILU : CK_ACT_NONE, 1 + c % 3, 1 + c % 2, widths[c]);
    }
    gates(70, 300);
    channels(2, 5, 40000);
    layout(130, 200);
    for (int64_t size = 1; size < 8; size++) {
        sizes(size, size + 1, 2 * size, 2 * size + 2);
        sizes(size, size, 2 * size - 1, 2 * size);
        sizes(size, 3, 3 * size - 1, 5);
    }
    sizes(60, 70, 119, 140);
}
