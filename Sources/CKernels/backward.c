/* Backward passes around the matrix products. Sums over rows go through partial sums of fixed chunks of rows, or through
 * one task for each range of columns, so that they do not depend on the number of threads. */
#include "kernels.h"

enum { CHUNK_ROWS = 32, COLUMNS = 256, VECTORS = 4 /* shift, scale, weight, bias */ };

typedef struct {
    const ck_kernels *kernels;
    const float *x, *y, *g, *gate;
    float *out, *sums;
    int64_t n, chunk, rows, width, stride, sum_stride, rows_per_sample, chunks;
    int32_t code, accumulate;
} job;

#define TASK(NAME) static void NAME(void *context, int64_t index, int32_t thread)

/* ---- element by element ---- */

TASK(activation_task) {
    const job *j = context;
    (void)thread;
    int64_t from = index * j->chunk, count = ck_min(j->chunk, j->n - from);
    j->kernels->activation_backward(j->code, j->x + from, j->g + from, j->out + from, count);
}
void ck_activation_backward(ck_pool *pool, int32_t act, const float *x, const float *g, float *out, int64_t n) {
    job j = {.kernels = ck_active(), .x = x, .g = g, .out = out, .n = n, .chunk = CK_CHUNK_MATH, .code = act};
    ck_run(pool, ck_ceil_div(n, j.chunk), activation_task, &j);
}

/* ---- sums over rows: a task has some columns of some sample ---- */

TASK(column_task) {
    const job *j = context;
    (void)thread;
    int64_t from = index * COLUMNS, count = ck_min(COLUMNS, j->width - from);
    if (!j->accumulate) memset(j->out + from, 0, (size_t)count * sizeof(float));
    for (int64_t r = 0; r < j->rows; r++) j->kernels->add(j->out + from, j->x + r * j->stride + from, j->out + from, count);
}
void ck_column_sums(ck_pool *pool, const float *x, int64_t rows, int64_t width, int64_t ldx, int32_t accumulate, float *out) {
    job j = {.kernels = ck_active(), .x = x, .out = out, .rows = rows, .width = width, .stride = ldx, .accumulate = accumulate};
    ck_run(rows * width > CK_CHUNK ? pool : NULL, ck_ceil_div(width, COLUMNS), column_task, &j);
}

TASK(gated_task) {
    const job *j = context;
    (void)thread;
    int64_t cuts = ck_ceil_div(j->width, COLUMNS), sample = index / cuts;
    int64_t from = index % cuts * COLUMNS, count = ck_min(COLUMNS, j->width - from);
    float *sum = j->sums ? j->sums + sample * j->sum_stride + from : NULL;
    if (sum) memset(sum, 0, (size_t)count * sizeof(float));
    int64_t last = ck_min(j->rows, (sample + 1) * j->rows_per_sample);
    for (int64_t r = sample * j->rows_per_sample; r < last; r++) {
        int64_t at = r * j->width + from;
        j->kernels->gated_row_backward(j->g + at, j->y + at, j->gate + sample * j->stride + from, j->out ? j->out + at : NULL,
                                       sum, count);
    }
}
void ck_gated_add_backward(ck_pool *pool, const float *g, const float *a, const float *gate, int64_t gate_stride, float *da,
                           float *dgate, int64_t dgate_stride, int64_t rows, int64_t width, int64_t rows_per_sample) {
    job j = {.kernels = ck_active(),
             .g = g,
             .y = a,
             .gate = gate,
             .stride = gate_stride,
             .out = da,
             .sums = dgate,
             .sum_stride = dgate_stride,
             .rows = rows,
             .width = width,
             .rows_per_sample = ck_max(rows_per_sample, 1)};
    int64_t samples = ck_ceil_div(rows, j.rows_per_sample);
    ck_run(rows * width > CK_CHUNK ? pool : NULL, samples * ck_ceil_div(width, COLUMNS), gated_task, &j);
}

/* ---- layer norm: chunks of rows, then their sums ---- */

typedef struct {
    const ck_layer_norm_backward_args *args;
    const ck_kernels *kernels;
    float *partial; /* [chunks][VECTORS][width] */
    int64_t chunks_per_sample, samples;
} norm_plan;

static int64_t rows_of_sample(const ck_layer_norm_args *a) { return a->rows_per_sample > 0 ? a->rows_per_sample : a->rows; }

TASK(norm_chunk_task) {
    const norm_plan *p = context;
    const ck_layer_norm_backward_args *args = p->args;
    (void)thread;
    int64_t per_sample = rows_of_sample(&args->norm), sample = index / p->chunks_per_sample;
    int64_t first = sample * per_sample + index % p->chunks_per_sample * CHUNK_ROWS;
    int64_t last = ck_min(ck_min(first + CHUNK_ROWS, (sample + 1) * per_sample), args->norm.rows);
    float *partial = p->partial + index * VECTORS * args->norm.width;
    memset(partial, 0, (size_t)(VECTORS * args->norm.width) * sizeof(float));
    ck_norm_sums sums = {
        .shift = args->dshift ? partial : NULL,
        .scale = args->dscale ? partial + args->norm.width : NULL,
        .weight = args->dweight ? partial + 2 * args->norm.width : NULL,
        .bias = args->dbias ? partial + 3 * args->norm.width : NULL,
    };
    for (int64_t row = first; row < last; row++) p->kernels->layer_norm_row_backward(args, row, &sums);
}

static void add_partials(const norm_plan *p, int64_t first, int64_t count, int64_t vector, int32_t accumulate, float *out) {
    int64_t width = p->args->norm.width;
    if (!accumulate) memset(out, 0, (size_t)width * sizeof(float));
    for (int64_t c = first; c < first + count; c++)
        p->kernels->add(out, p->partial + (c * VECTORS + vector) * width, out, width);
}

void ck_layer_norm_backward(ck_pool *pool, const ck_layer_norm_backward_args *args) {
    if (args->norm.width <= 0 || args->norm.rows <= 0) return;
    norm_plan p = {.args = args, .kernels = ck_active(), .partial = args->scratch};
    p.chunks_per_sample = ck_ceil_div(rows_of_sample(&args->norm), CHUNK_ROWS);
    p.samples = ck_ceil_div(args->norm.rows, rows_of_sample(&args->norm));
    int64_t chunks = p.samples * p.chunks_per_sample;
    ck_run(args->norm.rows * args->norm.width > CK_CHUNK_MATH ? pool : NULL, chunks, norm_chunk_task, &p);
    for (int64_t s = 0; s < p.samples; s++) {
        int64_t first = s * p.chunks_per_sample;
        if (args->dshift) add_partials(&p, first, p.chunks_per_sample, 0, 0, args->dshift + s * args->dmod_stride);
        if (args->dscale) add_partials(&p, first, p.chunks_per_sample, 1, 0, args->dscale + s * args->dmod_stride);
    }
    if (args->dweight) add_partials(&p, 0, chunks, 2, args->accumulate, args->dweight);
    if (args->dbias) add_partials(&p, 0, chunks, 3, args->accumulate, args->dbias);
}

size_t ck_layer_norm_backward_scratch(int32_t threads, int64_t rows, int64_t width, int64_t rows_per_sample) {
    (void)threads;
    int64_t each = ck_max(rows_per_sample > 0 ? rows_per_sample : rows, 1);
    return (size_t)(ck_ceil_div(rows, each) * ck_ceil_div(each, CHUNK_ROWS) * VECTORS * width) * sizeof(float);
}

/* ---- mixtures ---- */

TASK(mix_task) {
    const job *j = context;
    (void)thread;
    int64_t group = index / j->chunks, from = index % j->chunks * CK_CHUNK, count = ck_min(CK_CHUNK, j->n - from);
    int64_t at = group * j->n + from;
    j->kernels->mix(j->x + at, j->y + at, j->gate[group], j->out + at, count);
}
void ck_mix(ck_pool *pool, const float *a, const float *b, const float *w, float *out, int64_t groups, int64_t n) {
    job j = {.kernels = ck_active(), .x = a, .y = b, .gate = w, .out = out, .n = n, .chunks = ck_ceil_div(n, CK_CHUNK)};
    ck_run(pool, groups * j.chunks, mix_task, &j);
}

enum { MAX_PARTS = 512 };

typedef struct {
    const ck_kernels *kernels;
    const float *g, *a, *b, *add;
    float *da, *db, w;
    int64_t n, part;
    double sums[MAX_PARTS];
} mix_group;

TASK(mix_backward_task) {
    mix_group *m = context;
    (void)thread;
    int64_t at = index * m->part, count = ck_min(m->part, m->n - at);
    m->sums[index] = m->kernels->mix_backward(m->g + at, m->a + at, m->b + at, m->w, m->add ? m->add + at : NULL,
                                              m->da ? m->da + at : NULL, m->db ? m->db + at : NULL, count);
}
void ck_mix_backward(ck_pool *pool, const float *g, const float *a, const float *b, const float *w, const float *add, float *dw,
                     float *da, float *db, int64_t groups, int64_t n) {
    for (int64_t i = 0, at = 0; i < groups; i++, at += n) {
        mix_group m = {.kernels = ck_active(),
                       .g = g + at,
                       .a = a + at,
                       .b = b + at,
                       .add = add ? add + at : NULL,
                       .da = da ? da + at : NULL,
                       .db = db ? db + at : NULL,
                       .w = w[i],
                       .n = n};
        m.part = ck_max(CK_CHUNK, ck_round_up(ck_ceil_div(n, MAX_PARTS), 16));
        int64_t parts = ck_ceil_div(n, m.part);
        ck_run(pool, parts, mix_backward_task, &m);
        double sum = 0;
        for (int64_t p = 0; p < parts; p++) sum += m.sums[p];
        if (dw) dw[i] = (float)sum;
    }
}
