/* Taking fused projections apart: one pass that normalises, scales and puts keys and values where later scales look for them.
 */
#include "include/ckernels_scales.h"
#include "kernels.h"

#include <math.h>

typedef struct {
    const ck_split_heads_args *args;
    const ck_kernels *kernels;
} job;

/* Copies one head, divided by its length and times `scale`. */
static void normalised(const ck_kernels *kernels, const float *from, float *to, int64_t n, float scale) {
    double sum, squares;
    kernels->sums(from, n, &sum, &squares);
    float length = sqrtf((float)squares);
    memcpy(to, from, (size_t)n * sizeof *to);
    kernels->scale_row(to, n, scale / (length > 1e-12f ? length : 1e-12f));
}

static void split_task(void *context, int64_t index, int32_t thread) {
    const job *j = context;
    const ck_split_heads_args *a = j->args;
    (void)thread;
    int64_t width = a->heads * a->head_dim, batch = index / a->tokens, token = index % a->tokens;
    const float *from = a->qkv + index * 3 * width;
    float *q = a->q + index * width, *k = a->k + batch * a->kv_batch + (a->at + token) * width;
    float *v = a->v + batch * a->kv_batch + (a->at + token) * width;
    memcpy(v, from + 2 * width, (size_t)width * sizeof *v);
    if (!a->scale) {
        memcpy(q, from, (size_t)width * sizeof *q);
        memcpy(k, from + width, (size_t)width * sizeof *k);
        return;
    }
    for (int64_t head = 0; head < a->heads; head++) {
        int64_t at = head * a->head_dim;
        normalised(j->kernels, from + at, q + at, a->head_dim, a->scale[head]);
        normalised(j->kernels, from + width + at, k + at, a->head_dim, 1.0f);
    }
}

void ck_split_heads(ck_pool *pool, const ck_split_heads_args *args) {
    job j = {.args = args, .kernels = ck_active()};
    int64_t rows = args->batch * args->tokens;
    ck_run(rows * args->heads * args->head_dim >= 16384 ? pool : NULL, rows, split_task, &j);
}

/* ---- for learning: the projection stays whole ---- */

typedef struct {
    const ck_kernels *kernels;
    const float *qkv, *scale, *g;
    float *out;
    int64_t rows, heads, head_dim;
    int32_t accumulate;
} whole;

static void normalise_task(void *context, int64_t row, int32_t thread) {
    const whole *w = context;
    (void)thread;
    int64_t n = w->head_dim, width = w->heads * n;
    const float *from = w->qkv + row * 3 * width;
    float *to = w->out + row * 3 * width;
    for (int64_t head = 0; head < w->heads; head++) {
        normalised(w->kernels, from + head * n, to + head * n, n, w->scale[head]);
        normalised(w->kernels, from + width + head * n, to + width + head * n, n, 1.0f);
    }
    memcpy(to + 2 * width, from + 2 * width, (size_t)width * sizeof *to);
}
void ck_normalise_heads(ck_pool *pool, const float *qkv, const float *scale, float *out, int64_t rows, int64_t heads,
                        int64_t head_dim) {
    whole w = {.kernels = ck_active(), .qkv = qkv, .scale = scale, .out = out, .heads = heads, .head_dim = head_dim};
    ck_run(rows * heads * head_dim >= 16384 ? pool : NULL, rows, normalise_task, &w);
}

/* y = s x/|x|: dx = s/|x| (g - x/|x| (x/|x| . g)) */
static void normalised_backward(const float *x, const float *g, float *dx, int64_t n, float scale) {
    double squares = 0, product = 0;
    for (int64_t i = 0; i < n; i++) squares += (double)x[i] * x[i], product += (double)x[i] * g[i];
    float length = sqrtf((float)squares);
    length = length > 1e-12f ? length : 1e-12f;
    float along = (float)(product / ((double)length * length)), factor = scale / length;
    for (int64_t i = 0; i < n; i++) dx[i] = factor * (g[i] - along * x[i]);
}
static void normalise_backward_task(void *context, int64_t row, int32_t thread) {
    const whole *w = context;
    (void)thread;
    int64_t n = w->head_dim, width = w->heads * n, at = row * 3 * width;
    for (int64_t head = 0; head < w->heads; head++) {
        int64_t q = at + head * n, k = q + width;
        normalised_backward(w->qkv + q, w->g + q, w->out + q, n, w->scale[head]);
        normalised_backward(w->qkv + k, w->g + k, w->out + k, n, 1.0f);
    }
    if (w->out != w->g) memcpy(w->out + at + 2 * width, w->g + at + 2 * width, (size_t)width * sizeof *w->out);
}
void ck_normalise_heads_backward(ck_pool *pool, const float *qkv, const float *scale, const float *g, float *dx, int64_t rows,
                                 int64_t heads, int64_t head_dim) {
    whole w = {.qkv = qkv, .scale = scale, .g = g, .out = dx, .heads = heads, .head_dim = head_dim};
    ck_run(rows * heads * head_dim >= 16384 ? pool : NULL, rows, normalise_backward_task, &w);
}

/* One task a head, all rows in order: the sum does not depend on the number of threads. */
static void scale_task(void *context, int64_t head, int32_t thread) {
    const whole *w = context;
    (void)thread;
    int64_t n = w->head_dim, stride = 3 * w->heads * n;
    double sum = 0;
    for (int64_t row = 0; row < w->rows; row++) {
        const float *q = w->qkv + row * stride + head * n, *g = w->g + row * stride + head * n;
        double squares = 0, product = 0;
        for (int64_t i = 0; i < n; i++) squares += (double)q[i] * q[i], product += (double)q[i] * g[i];
        float length = sqrtf((float)squares);
        sum += product / (length > 1e-12f ? length : 1e-12f);
    }
    w->out[head] = (w->accumulate ? w->out[head] : 0) + (float)sum;
}
void ck_head_scales_backward(ck_pool *pool, const float *qkv, const float *g, float *out, int64_t rows, int64_t heads,
                             int64_t head_dim, int32_t accumulate) {
    whole w = {.qkv = qkv, .g = g, .out = out, .rows = rows, .heads = heads, .head_dim = head_dim, .accumulate = accumulate};
    ck_run(rows * heads * head_dim >= 16384 ? pool : NULL, heads, scale_task, &w);
}
