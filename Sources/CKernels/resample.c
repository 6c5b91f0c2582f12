/* Resampling of square planes. Token maps are small (at most some dozen pixels a side): taps and weights are worked out per
 * row and column, the sums are plain loops. Order of sums and float32 weights are those of torch's CPU code. */
#include "include/ckernels_scales.h"
#include "kernels.h"

#include <math.h>

typedef struct {
    const float *x;
    float *out;
    int64_t from, to;
} job;

/* Up to this many outputs another thread is not worth waking. */
static ck_pool *worthwhile(ck_pool *pool, int64_t outputs) { return outputs >= 4096 ? pool : NULL; }

/* The four taps of output i and their weights. */
static void cubic_taps(int64_t i, int64_t from, int64_t to, int64_t at[4], float w[4]) {
    const float a = -0.75f;
    float scale = (float)from / (float)to, real = scale * ((float)i + 0.5f) - 0.5f, floor = floorf(real), t = real - floor;
    float far0 = t + 1.0f, near1 = 1.0f - t, far1 = near1 + 1.0f;
    w[0] = ((a * far0 - 5.0f * a) * far0 + 8.0f * a) * far0 - 4.0f * a;
    w[1] = ((a + 2.0f) * t - (a + 3.0f)) * t * t + 1.0f;
    w[2] = ((a + 2.0f) * near1 - (a + 3.0f)) * near1 * near1 + 1.0f;
    w[3] = ((a * far1 - 5.0f * a) * far1 + 8.0f * a) * far1 - 4.0f * a;
    for (int64_t k = 0; k < 4; k++) at[k] = ck_min(ck_max((int64_t)floor - 1 + k, 0), from - 1);
}

static void bicubic_task(void *context, int64_t index, int32_t thread) {
    const job *j = context;
    (void)thread;
    int64_t y = index % j->to;
    const float *plane = j->x + index / j->to * j->from * j->from;
    float *out = j->out + index * j->to, wy[4], wx[4];
    int64_t ay[4], ax[4];
    cubic_taps(y, j->from, j->to, ay, wy);
    for (int64_t x = 0; x < j->to; x++) {
        cubic_taps(x, j->from, j->to, ax, wx);
        float sum = 0;
        for (int64_t r = 0; r < 4; r++) {
            const float *row = plane + ay[r] * j->from;
            float line = wx[0] * row[ax[0]] + wx[1] * row[ax[1]] + wx[2] * row[ax[2]] + wx[3] * row[ax[3]];
            sum += wy[r] * line;
        }
        out[x] = sum;
    }
}
void ck_resample_bicubic(ck_pool *pool, const float *x, float *out, int64_t planes, int64_t from, int64_t to) {
    job j = {.x = x, .out = out, .from = from, .to = to};
    ck_run(worthwhile(pool, planes * to * to), planes * to, bicubic_task, &j);
}

static void area_task(void *context, int64_t index, int32_t thread) {
    const job *j = context;
    (void)thread;
    int64_t y = index % j->to, y0 = y * j->from / j->to, y1 = ck_ceil_div((y + 1) * j->from, j->to);
    const float *plane = j->x + index / j->to * j->from * j->from;
    float *out = j->out + index * j->to;
    for (int64_t x = 0; x < j->to; x++) {
        int64_t x0 = x * j->from / j->to, x1 = ck_ceil_div((x + 1) * j->from, j->to);
        float sum = 0;
        for (int64_t r = y0; r < y1; r++)
            for (int64_t c = x0; c < x1; c++) sum += plane[r * j->from + c];
        out[x] = sum / (float)(y1 - y0) / (float)(x1 - x0);
    }
}
void ck_resample_area(ck_pool *pool, const float *x, float *out, int64_t planes, int64_t from, int64_t to) {
    job j = {.x = x, .out = out, .from = from, .to = to};
    ck_run(worthwhile(pool, planes * from * from), planes * to, area_task, &j);
}
