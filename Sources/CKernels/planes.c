/* Planes beside tokens: gates over rows, vectors over channels, runs of channels side by side, changes of size and of layout.
 */
#include "include/ckernels_planes.h"
#include "kernels.h"

typedef struct {
    const ck_kernels *kernels;
    const float *x, *y;
    float *out;
    int64_t n, chunk;                   /* rows, planes or runs in all, and those of a task */
    int64_t width, stride, other;       /* of a row or run */
    int64_t h, w, out_h, out_w, blocks; /* of a plane */
} job;

/* The part [from, to) that falls to a task. */
#define PART                \
    const job *j = context; \
    (void)thread;           \
    int64_t from = index * j->chunk, to = ck_min(from + j->chunk, j->n)

/* Tasks of about `elements` elements, `each` of them in one of the n. */
static void run(ck_pool *pool, job *j, int64_t each, int64_t elements, ck_task task) {
    if (j->n <= 0 || each <= 0) return;
    j->kernels = ck_active();
    j->chunk = ck_max(1, elements / each);
    ck_run(pool, ck_ceil_div(j->n, j->chunk), task, j);
}

/* ---- gates ---- */

static void geglu_task(void *context, int64_t index, int32_t thread) {
    PART;
    for (int64_t r = from; r < to; r++) {
        const float *value = j->x + 2 * r * j->width;
        j->kernels->gated_row(CK_ACT_GELU_ERF, value + j->width, value, j->out + r * j->width, j->width);
    }
}
void ck_geglu(ck_pool *pool, const float *x, float *out, int64_t rows, int64_t width) {
    job j = {.x = x, .out = out, .n = rows, .width = width};
    run(pool, &j, width, CK_CHUNK_MATH, geglu_task);
}

static void geglu_backward_task(void *context, int64_t index, int32_t thread) {
    PART;
    for (int64_t r = from; r < to; r++) {
        const float *value = j->x + 2 * r * j->width, *gate = value + j->width, *g = j->y + r * j->width;
        float *dvalue = j->out + 2 * r * j->width, *dgate = dvalue + j->width;
        j->kernels->gated_row(CK_ACT_GELU_ERF, gate, g, dvalue, j->width);
        j->kernels->gated_row_backward(g, NULL, value, dgate, NULL, j->width);
        j->kernels->activation_backward(CK_ACT_GELU_ERF, gate, dgate, dgate, j->width);
    }
}
void ck_geglu_backward(ck_pool *pool, const float *x, const float *g, float *dx, int64_t rows, int64_t width) {
    job j = {.x = x, .y = g, .out = dx, .n = rows, .width = width};
    run(pool, &j, width, CK_CHUNK_MATH, geglu_backward_task);
}

/* ---- channels: `other` is the number of channels, `width` the area ---- */

static void add_channels_task(void *context, int64_t index, int32_t thread) {
    PART;
    for (int64_t p = from; p < to; p++) {
        float add = j->y[p / j->other * j->stride + p % j->other];
        /* Times 1: the sum alone is rounded. */
        j->kernels->affine(j->x + p * j->width, j->out + p * j->width, j->width, 0, 1, add, CK_ACT_NONE);
    }
}
void ck_add_channels(ck_pool *pool, const float *x, const float *v, int64_t v_stride, float *out, int64_t batch,
                     int64_t channels, int64_t area) {
    job j = {.x = x, .y = v, .out = out, .n = batch * channels, .width = area, .stride = v_stride, .other = channels};
    run(pool, &j, area, CK_CHUNK, add_channels_task);
}

static void plane_sums_task(void *context, int64_t index, int32_t thread) {
    PART;
    for (int64_t p = from; p < to; p++) {
        double sum = 0, squares = 0;
        j->kernels->sums(j->x + p * j->width, j->width, &sum, &squares);
        j->out[p] = (float)sum;
    }
}
void ck_plane_sums(ck_pool *pool, const float *x, float *out, int64_t planes, int64_t area) {
    job j = {.x = x, .out = out, .n = planes, .width = area};
    run(pool, &j, area, CK_CHUNK, plane_sums_task);
}

/* A run is cut into `blocks` parts: there may be few and long ones. */
static void copy_runs_task(void *context, int64_t index, int32_t thread) {
    const job *j = context;
    (void)thread;
    int64_t run = index / j->blocks, from = index % j->blocks * CK_CHUNK, count = ck_min(CK_CHUNK, j->width - from);
    memcpy(j->out + run * j->other + from, j->x + run * j->stride + from, (size_t)count * sizeof *j->out);
}
void ck_copy_runs(ck_pool *pool, const float *x, int64_t x_stride, float *out, int64_t out_stride, int64_t rows, int64_t n) {
    job j = {.x = x, .out = out, .width = n, .stride = x_stride, .other = out_stride, .blocks = ck_ceil_div(n, CK_CHUNK)};
    ck_run(pool, rows * j.blocks, copy_runs_task, &j);
}

/* ---- size ---- */

/* In f32 as torch does: the pixels that odd sizes read depend on it. */
static int64_t nearest(int64_t i, float scale, int64_t size) { return ck_min((int64_t)((float)i * scale), size - 1); }

static void resize_task(void *context, int64_t index, int32_t thread) {
    PART;
    float down = (float)j->h / (float)j->out_h, across = (float)j->w / (float)j->out_w;
    for (int64_t p = from; p < to; p++) {
        float *out = j->out + p * j->out_h * j->out_w;
        for (int64_t y = 0; y < j->out_h; y++) {
            const float *line = j->x + (p * j->h + nearest(y, down, j->h)) * j->w;
            for (int64_t i = 0; i < j->out_w; i++) out[y * j->out_w + i] = line[nearest(i, across, j->w)];
        }
    }
}
void ck_resize_nearest(ck_pool *pool, const float *x, float *out, int64_t planes, int64_t h, int64_t w, int64_t out_h,
                       int64_t out_w) {
    job j = {.x = x, .out = out, .n = planes, .h = h, .w = w, .out_h = out_h, .out_w = out_w};
    run(pool, &j, out_h * out_w, CK_CHUNK_MATH, resize_task);
}

static void resize_backward_task(void *context, int64_t index, int32_t thread) {
    PART;
    float down = (float)j->h / (float)j->out_h, across = (float)j->w / (float)j->out_w;
    for (int64_t p = from; p < to; p++) {
        float *dx = j->out + p * j->h * j->w;
        memset(dx, 0, (size_t)(j->h * j->w) * sizeof *dx);
        for (int64_t y = 0; y < j->out_h; y++) {
            const float *line = j->x + (p * j->out_h + y) * j->out_w;
            float *sums = dx + nearest(y, down, j->h) * j->w;
            for (int64_t i = 0; i < j->out_w; i++) sums[nearest(i, across, j->w)] += line[i];
        }
    }
}
void ck_resize_nearest_backward(ck_pool *pool, const float *g, float *dx, int64_t planes, int64_t h, int64_t w, int64_t out_h,
                                int64_t out_w) {
    job j = {.x = g, .out = dx, .n = planes, .h = h, .w = w, .out_h = out_h, .out_w = out_w};
    run(pool, &j, ck_max(h * w, out_h * out_w), CK_CHUNK_MATH, resize_backward_task);
}

/* ---- layout ---- */

/* Squares of 16 lines of 16 floats, as in ck_transpose. */
enum { BLOCK = 16 };
static void transpose_add_task(void *context, int64_t index, int32_t thread) {
    const job *j = context;
    (void)thread;
    int64_t batch = index / j->blocks, r0 = index % j->blocks * BLOCK, r1 = ck_min(r0 + BLOCK, j->h);
    const float *x = j->x + batch * j->h * j->w, *add = j->y + batch * j->h * j->w;
    float *out = j->out + batch * j->h * j->w;
    for (int64_t c0 = 0; c0 < j->w; c0 += BLOCK) {
        int64_t c1 = ck_min(c0 + BLOCK, j->w);
        for (int64_t c = c0; c < c1; c++)
            for (int64_t r = r0; r < r1; r++) out[c * j->h + r] = x[r * j->w + c] + add[c * j->h + r];
    }
}
void ck_transpose_add(ck_pool *pool, const float *x, const float *add, float *out, int64_t batch, int64_t rows, int64_t cols) {
    job j = {.x = x, .y = add, .out = out, .h = rows, .w = cols, .blocks = ck_ceil_div(rows, BLOCK)};
    ck_run(batch * rows * cols >= CK_CHUNK_MATH ? pool : NULL, batch * j.blocks, transpose_add_task, &j);
}
