/* Element-wise functions: arrays cut into chunks, rows into blocks. */
#include "kernels.h"

#include <stdatomic.h>

/* What all tasks here need; each function uses some of it. */
typedef struct {
    const ck_kernels *kernels;
    const float *x, *y, *gate;
    const void *source;
    void *out;
    int64_t n, chunk, width, stride, rows_per_sample;
    float alpha, beta;
    int32_t code; /* activation or dtype */
    _Atomic int32_t failed;
} job;

#define TASK(NAME) static void NAME(void *context, int64_t index, int32_t thread)
/* The part [from, from + count) that falls to this task. */
#define PART          \
    job *j = context; \
    (void)thread;     \
    int64_t from = index * j->chunk, count = ck_min(j->chunk, j->n - from)

static void run(ck_pool *pool, job *j, ck_task task) {
    j->kernels = ck_active();
    ck_run(pool, ck_ceil_div(j->n, j->chunk), task, j);
}

TASK(to_f32_task) {
    PART;
    j->kernels->to_f32(j->code, ck_at(j->source, j->code, from), (float *)j->out + from, count);
}
void ck_to_f32(ck_pool *pool, int32_t dtype, const void *src, float *dst, int64_t n) {
    job j = {.source = src, .out = dst, .n = n, .chunk = CK_CHUNK, .code = dtype};
    run(pool, &j, to_f32_task);
}

TASK(from_f32_task) {
    PART;
    j->kernels->from_f32(j->code, j->x + from, (char *)j->out + from * ck_type_size(j->code), count);
}
void ck_from_f32(ck_pool *pool, int32_t dtype, const float *src, void *dst, int64_t n) {
    job j = {.x = src, .out = dst, .n = n, .chunk = CK_CHUNK, .code = dtype};
    run(pool, &j, from_f32_task);
}

TASK(activation_task) {
    PART;
    j->kernels->activation(j->code, j->x + from, (float *)j->out + from, count);
}
void ck_activation(ck_pool *pool, int32_t act, const float *x, float *out, int64_t n) {
    job j = {.x = x, .out = out, .n = n, .chunk = CK_CHUNK_MATH, .code = act};
    run(pool, &j, activation_task);
}

TASK(add_task) {
    PART;
    j->kernels->add(j->x + from, j->y + from, (float *)j->out + from, count);
}
void ck_add(ck_pool *pool, const float *a, const float *b, float *out, int64_t n) {
    job j = {.x = a, .y = b, .out = out, .n = n, .chunk = CK_CHUNK};
    run(pool, &j, add_task);
}

TASK(axpby_task) {
    PART;
    j->kernels->axpby(j->alpha, j->x + from, j->beta, j->y + from, (float *)j->out + from, count);
}
void ck_axpby(ck_pool *pool, float alpha, const float *x, float beta, const float *y, float *out, int64_t n) {
    job j = {.x = x, .y = y, .out = out, .n = n, .chunk = CK_CHUNK, .alpha = alpha, .beta = beta};
    run(pool, &j, axpby_task);
}

TASK(finite_task) {
    PART;
    if (!j->kernels->all_finite(j->x + from, count)) atomic_store_explicit(&j->failed, 1, memory_order_relaxed);
}
int32_t ck_all_finite(ck_pool *pool, const float *x, int64_t n) {
    job j = {.x = x, .n = n, .chunk = CK_CHUNK};
    run(pool, &j, finite_task);
    return !atomic_load_explicit(&j.failed, memory_order_relaxed);
}

/* ---- rows: here n and chunk count rows ---- */

static int64_t row_chunk(int64_t elements, int64_t width) { return ck_max(1, elements / ck_max(width, 1)); }

TASK(softmax_task) {
    PART;
    for (int64_t r = from; r < from + count; r++)
        j->kernels->softmax_row(j->x + r * j->width, (float *)j->out + r * j->width, j->width);
}
void ck_softmax_rows(ck_pool *pool, const float *x, float *out, int64_t rows, int64_t width) {
    job j = {.x = x, .out = out, .n = rows, .chunk = row_chunk(CK_CHUNK_MATH, width), .width = width};
    run(pool, &j, softmax_task);
}

TASK(gated_add_task) {
    PART;
    for (int64_t r = from; r < from + count; r++)
        j->kernels->multiply_add(j->x + r * j->width, j->y + r * j->width, j->gate + r / j->rows_per_sample * j->stride,
                                 (float *)j->out + r * j->width, j->width);
}
void ck_gated_add(ck_pool *pool, const float *x, const float *a, const float *gate, int64_t gate_stride, float *out,
                  int64_t rows, int64_t width, int64_t rows_per_sample) {
    job j = {.x = x,
             .y = a,
             .gate = gate,
             .out = out,
             .n = rows,
             .chunk = row_chunk(CK_CHUNK, width),
             .width = width,
             .stride = gate_stride,
             .rows_per_sample = ck_max(rows_per_sample, 1)};
    run(pool, &j, gated_add_task);
}

/* `stride` here is the number of chunks in a row: a row is cut too, since there may be one long row only. */
TASK(add_rows_task) {
    job *j = context;
    (void)thread;
    int64_t from = index % j->stride * j->chunk, count = ck_min(j->chunk, j->width - from);
    int64_t at = index / j->stride * j->width + from;
    j->kernels->add(j->x + at, j->y + from, (float *)j->out + at, count);
}
void ck_add_rows(ck_pool *pool, const float *x, const float *table, float *out, int64_t batch, int64_t n) {
    job j = {.kernels = ck_active(),
             .x = x,
             .y = table,
             .out = out,
             .chunk = CK_CHUNK,
             .width = n,
             .stride = ck_ceil_div(n, CK_CHUNK)};
    ck_run(pool, batch * j.stride, add_rows_task, &j);
}
