/* Rearrangements: patches, planes, transposition, images. Memory-bound, so plain loops over contiguous runs. */
#include "kernels.h"

typedef struct {
    const ck_kernels *kernels;
    const float *x;
    void *out;
    int64_t channels, grid_h, grid_w, p, rows, cols, blocks;
    float mul, add;
} job;

/* Below this many elements another thread is not worth waking. */
static ck_pool *worthwhile(ck_pool *pool, int64_t elements) { return elements >= CK_CHUNK_MATH ? pool : NULL; }

void ck_embedding(const void *table, int32_t dtype, const int64_t *index, float *out, int64_t n, int64_t width) {
    const ck_kernels *kernels = ck_active();
    for (int64_t i = 0; i < n; i++) kernels->to_f32(dtype, ck_at(table, dtype, index[i] * width), out + i * width, width);
}

/* One task: one row of patches. */
static void patchify_task(void *context, int64_t index, int32_t thread) {
    const job *j = context;
    (void)thread;
    int64_t p = j->p, gw = j->grid_w, gy = index % j->grid_h, b = index / j->grid_h, features = j->channels * p * p;
    float *out = (float *)j->out + index * gw * features;
    for (int64_t c = 0; c < j->channels; c++)
        for (int64_t dy = 0; dy < p; dy++) {
            const float *line = j->x + ((b * j->channels + c) * j->grid_h * p + gy * p + dy) * gw * p;
            float *to = out + (c * p + dy) * p;
            for (int64_t gx = 0; gx < gw; gx++)
                for (int64_t dx = 0; dx < p; dx++) to[gx * features + dx] = line[gx * p + dx];
        }
}
void ck_patchify(ck_pool *pool, const float *x, float *out, int64_t batch, int64_t channels, int64_t grid_h, int64_t grid_w,
                 int64_t p) {
    job j = {.x = x, .out = out, .channels = channels, .grid_h = grid_h, .grid_w = grid_w, .p = p};
    ck_run(worthwhile(pool, batch * channels * grid_h * grid_w * p * p), batch * grid_h, patchify_task, &j);
}

static void unpatchify_task(void *context, int64_t index, int32_t thread) {
    const job *j = context;
    (void)thread;
    int64_t p = j->p, gw = j->grid_w, gy = index % j->grid_h, b = index / j->grid_h, features = j->channels * p * p;
    const float *x = j->x + index * gw * features;
    for (int64_t c = 0; c < j->channels; c++)
        for (int64_t dy = 0; dy < p; dy++) {
            float *line = (float *)j->out + ((b * j->channels + c) * j->grid_h * p + gy * p + dy) * gw * p;
            const float *from = x + dy * p * j->channels + c;
            for (int64_t gx = 0; gx < gw; gx++)
                for (int64_t dx = 0; dx < p; dx++) line[gx * p + dx] = from[gx * features + dx * j->channels];
        }
}
void ck_unpatchify(ck_pool *pool, const float *x, float *out, int64_t batch, int64_t channels, int64_t grid_h, int64_t grid_w,
                   int64_t p) {
    job j = {.x = x, .out = out, .channels = channels, .grid_h = grid_h, .grid_w = grid_w, .p = p};
    ck_run(worthwhile(pool, batch * channels * grid_h * grid_w * p * p), batch * grid_h, unpatchify_task, &j);
}

/* The ways back: the same loops with the arrow turned. */
static void patchify_backward_task(void *context, int64_t index, int32_t thread) {
    const job *j = context;
    (void)thread;
    int64_t p = j->p, gw = j->grid_w, gy = index % j->grid_h, b = index / j->grid_h, features = j->channels * p * p;
    const float *g = j->x + index * gw * features;
    for (int64_t c = 0; c < j->channels; c++)
        for (int64_t dy = 0; dy < p; dy++) {
            float *line = (float *)j->out + ((b * j->channels + c) * j->grid_h * p + gy * p + dy) * gw * p;
            const float *from = g + (c * p + dy) * p;
            for (int64_t gx = 0; gx < gw; gx++)
                for (int64_t dx = 0; dx < p; dx++) line[gx * p + dx] = from[gx * features + dx];
        }
}
void ck_patchify_backward(ck_pool *pool, const float *g, float *out, int64_t batch, int64_t channels, int64_t grid_h,
                          int64_t grid_w, int64_t p) {
    job j = {.x = g, .out = out, .channels = channels, .grid_h = grid_h, .grid_w = grid_w, .p = p};
    ck_run(worthwhile(pool, batch * channels * grid_h * grid_w * p * p), batch * grid_h, patchify_backward_task, &j);
}

static void unpatchify_backward_task(void *context, int64_t index, int32_t thread) {
    const job *j = context;
    (void)thread;
    int64_t p = j->p, gw = j->grid_w, gy = index % j->grid_h, b = index / j->grid_h, features = j->channels * p * p;
    float *out = (float *)j->out + index * gw * features;
    for (int64_t c = 0; c < j->channels; c++)
        for (int64_t dy = 0; dy < p; dy++) {
            const float *line = j->x + ((b * j->channels + c) * j->grid_h * p + gy * p + dy) * gw * p;
            float *to = out + dy * p * j->channels + c;
            for (int64_t gx = 0; gx < gw; gx++)
                for (int64_t dx = 0; dx < p; dx++) to[gx * features + dx * j->channels] = line[gx * p + dx];
        }
}
void ck_unpatchify_backward(ck_pool *pool, const float *g, float *out, int64_t batch, int64_t channels, int64_t grid_h,
                            int64_t grid_w, int64_t p) {
    job j = {.x = g, .out = out, .channels = channels, .grid_h = grid_h, .grid_w = grid_w, .p = p};
    ck_run(worthwhile(pool, batch * channels * grid_h * grid_w * p * p), batch * grid_h, unpatchify_backward_task, &j);
}

void ck_embedding_backward(const float *g, const int64_t *index, float *table, int64_t n, int64_t width) {
    const ck_kernels *kernels = ck_active();
    for (int64_t i = 0; i < n; i++) kernels->add(table + index[i] * width, g + i * width, table + index[i] * width, width);
}

/* Squares of 16 lines of 16 floats: every cache line brought in is used whole. */
enum { BLOCK = 16 };
static void transpose_task(void *context, int64_t index, int32_t thread) {
    const job *j = context;
    (void)thread;
    int64_t batch = index / j->blocks, r0 = index % j->blocks * BLOCK, r1 = ck_min(r0 + BLOCK, j->rows);
    const float *x = j->x + batch * j->rows * j->cols;
    float *out = (float *)j->out + batch * j->rows * j->cols;
    for (int64_t c0 = 0; c0 < j->cols; c0 += BLOCK) {
        int64_t c1 = ck_min(c0 + BLOCK, j->cols);
        for (int64_t c = c0; c < c1; c++)
            for (int64_t r = r0; r < r1; r++) out[c * j->rows + r] = x[r * j->cols + c];
    }
}
void ck_transpose(ck_pool *pool, const float *x, float *out, int64_t batch, int64_t rows, int64_t cols) {
    job j = {.x = x, .out = out, .rows = rows, .cols = cols, .blocks = ck_ceil_div(rows, BLOCK)};
    ck_run(worthwhile(pool, batch * rows * cols), batch * j.blocks, transpose_task, &j);
}

static void upsample_task(void *context, int64_t index, int32_t thread) {
    const job *j = context;
    (void)thread;
    int64_t f = j->p, w = j->cols;
    float *out = (float *)j->out + index * j->rows * w * f * f;
    for (int64_t y = 0; y < j->rows; y++) {
        const float *from = j->x + (index * j->rows + y) * w;
        float *first = out + y * f * w * f;
        for (int64_t i = 0; i < w; i++)
            for (int64_t d = 0; d < f; d++) first[i * f + d] = from[i];
        for (int64_t d = 1; d < f; d++) memcpy(first + d * w * f, first, (size_t)(w * f) * sizeof *first);
    }
}
void ck_upsample_nearest(ck_pool *pool, const float *x, float *out, int64_t planes, int64_t h, int64_t w, int64_t factor) {
    job j = {.x = x, .out = out, .rows = h, .cols = w, .p = factor};
    ck_run(worthwhile(pool, planes * h * w * factor * factor), planes, upsample_task, &j);
}

static void to_u8_task(void *context, int64_t index, int32_t thread) {
    const job *j = context;
    (void)thread;
    int64_t y = index % j->rows, b = index / j->rows;
    for (int64_t c = 0; c < j->channels; c++)
        j->kernels->to_u8(j->x + ((b * j->channels + c) * j->rows + y) * j->cols,
                          (uint8_t *)j->out + index * j->cols * j->channels + c, j->cols, j->channels, j->mul, j->add);
}
void ck_to_u8_nhwc(ck_pool *pool, const float *x, uint8_t *out, int64_t batch, int64_t channels, int64_t h, int64_t w,
                   float mul, float add) {
    job j = {.kernels = ck_active(), .x = x, .out = out, .channels = channels, .rows = h, .cols = w, .mul = mul, .add = add};
    ck_run(worthwhile(pool, batch * channels * h * w), batch * h, to_u8_task, &j);
}
