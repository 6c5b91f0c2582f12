/* Rows of language models: one task per block of rows. */
#include "kernels.h"

typedef struct {
    const ck_kernels *kernels;
    const float *x, *weight;
    float *out;
    int64_t rows, width, chunk;
    float eps;
    int32_t act;
} job;

static void norm_task(void *context, int64_t index, int32_t thread) {
    const job *j = context;
    (void)thread;
    int64_t from = index * j->chunk, to = ck_min(from + j->chunk, j->rows);
    for (int64_t r = from; r < to; r++)
        j->kernels->rms_norm_row(j->x + r * j->width, j->weight, j->out + r * j->width, j->width, j->eps);
}

static void gated_task(void *context, int64_t index, int32_t thread) {
    const job *j = context;
    (void)thread;
    int64_t from = index * j->chunk, to = ck_min(from + j->chunk, j->rows);
    for (int64_t r = from; r < to; r++) {
        const float *gate = j->x + 2 * r * j->width;
        j->kernels->gated_row(j->act, gate, gate + j->width, j->out + r * j->width, j->width);
    }
}

static void run(ck_pool *pool, job *j, int64_t elements, ck_task task) {
    if (j->width <= 0 || j->rows <= 0) return;
    j->kernels = ck_active();
    j->chunk = ck_max(1, elements / j->width);
    ck_run(pool, ck_ceil_div(j->rows, j->chunk), task, j);
}

void ck_rms_norm(ck_pool *pool, const float *x, const float *weight, float *out, int64_t rows, int64_t width, float eps) {
    job j = {.x = x, .weight = weight, .out = out, .rows = rows, .width = width, .eps = eps};
    run(pool, &j, CK_CHUNK, norm_task);
}

typedef struct {
    const ck_kernels *kernels;
    float *x;
    const float *weight;
    int64_t stride, rows, heads, width, chunk;
    float eps;
} heads_job;

static void heads_task(void *context, int64_t index, int32_t thread) {
    const heads_job *j = context;
    (void)thread;
    int64_t from = index * j->chunk, to = ck_min(from + j->chunk, j->rows);
    for (int64_t r = from; r < to; r++) {
        float *row = j->x + r * j->stride;
        for (int64_t h = 0; h < j->heads; h++)
            j->kernels->rms_norm_row(row + h * j->width, j->weight, row + h * j->width, j->width, j->eps);
    }
}

void ck_rms_norm_heads(ck_pool *pool, float *x, int64_t stride, const float *weight, int64_t rows, int64_t heads, int64_t width,
                       float eps) {
    if (rows <= 0 || heads <= 0 || width <= 0) return;
    heads_job j = {.kernels = ck_active(),
                   .x = x,
                   .weight = weight,
                   .stride = stride,
                   .rows = rows,
                   .heads = heads,
                   .width = width,
                   .chunk = ck_max(1, CK_CHUNK / (heads * width)),
                   .eps = eps};
    ck_run(pool, ck_ceil_div(rows, j.chunk), heads_task, &j);
}

void ck_gated(ck_pool *pool, int32_t act, const float *x, float *out, int64_t rows, int64_t width) {
    job j = {.act = act, .x = x, .out = out, .rows = rows, .width = width};
    run(pool, &j, CK_CHUNK_MATH, gated_task);
}

void ck_gather_rows(const float *x, const int64_t *index, float *out, int64_t n, int64_t width) {
    for (int64_t i = 0; i < n; i++) memcpy(out + i * width, x + index[i] * width, (size_t)width * sizeof *out);
}

/* A row of what ck_pack_pairs wrote. */
static void paired_row(const ck_kernels *kernels, const uint16_t *packed, int64_t n, int64_t k, int64_t row, float *out) {
    int64_t units = ck_ceil_div(k, 2), depth = ck_gemm_depth(units), padded = ck_round_up(n, CK_STRIP);
    for (int64_t i = 0; i < k; i++) {
        int64_t block = i / 2 / depth * depth, deep = ck_min(depth, units - block);
        int64_t unit = block * padded + row / CK_STRIP * CK_STRIP * deep + (i / 2 - block) * CK_STRIP + row % CK_STRIP;
        kernels->to_f32(CK_BF16, packed + 2 * unit + i % 2, out + i, 1);
    }
}

void ck_packed_rows(int32_t dtype, const void *packed, const float *scales, int64_t n, int64_t k, const int64_t *index,
                    float *out, int64_t count) {
    const ck_kernels *kernels = ck_active();
    if (dtype == CK_PAIRS) {
        for (int64_t i = 0; i < count; i++) paired_row(kernels, packed, n, k, index[i], out + i * k);
        return;
    }
    int64_t depth = ck_gemm_depth(k), padded = ck_round_up(n, CK_STRIP);
    for (int64_t i = 0; i < count; i++) {
        int64_t strip = index[i] / CK_STRIP * CK_STRIP, column = ck_strip_place(dtype, index[i] % CK_STRIP);
        for (int64_t p = 0; p < k; p += depth) {
            int64_t deep = ck_min(depth, k - p), at = p * padded + strip * deep + column;
            for (int64_t q = 0; q < deep; q++)
                kernels->to_f32(dtype, ck_at(packed, dtype, at + q * CK_STRIP), out + i * k + p + q, 1);
        }
        if (scales) kernels->scale_row(out + i * k, k, scales[index[i]]);
    }
}
