/* Optimiser steps over whole parameters, in chunks. */
#include "kernels.h"

#include <math.h>

typedef struct {
    const ck_kernels *kernels;
    const ck_adamw_args *args;
    ck_adamw_factors factors;
    const float *x;
    float *out, decay, rest;
    double *partial;
    int64_t n;
} job;

enum { SUM_CHUNK = 1 << 16 };

static void adamw_task(void *context, int64_t index, int32_t thread) {
    const job *j = context;
    (void)thread;
    int64_t from = index * CK_CHUNK;
    j->kernels->adamw(j->args, &j->factors, from, ck_min(from + CK_CHUNK, j->n));
}

void ck_adamw(ck_pool *pool, const ck_adamw_args *a) {
    double correction1 = 1 - pow(a->beta1, (double)a->step), correction2 = 1 - pow(a->beta2, (double)a->step);
    job j = {.kernels = ck_active(), .args = a, .n = a->n};
    j.factors = (ck_adamw_factors){
        .decay = (float)(1 - a->lr * a->weight_decay),
        .beta1_rest = (float)(1 - a->beta1),
        .beta2 = (float)a->beta2,
        .beta2_rest = (float)(1 - a->beta2),
        .step_size = (float)(a->lr / correction1),
        .root = (float)sqrt(correction2),
        .eps = (float)a->eps,
        .gradient_scale = a->gradient_scale,
    };
    ck_run(pool, ck_ceil_div(a->n, CK_CHUNK), adamw_task, &j);
}

static void ema_task(void *context, int64_t index, int32_t thread) {
    const job *j = context;
    (void)thread;
    int64_t from = index * CK_CHUNK;
    j->kernels->axpby(j->decay, j->out + from, j->rest, j->x + from, j->out + from, ck_min(CK_CHUNK, j->n - from));
}

void ck_ema(ck_pool *pool, float *average, const float *p, int64_t n, float decay) {
    job j = {.kernels = ck_active(), .x = p, .out = average, .n = n, .decay = decay, .rest = (float)(1.0 - (double)decay)};
    ck_run(pool, ck_ceil_div(n, CK_CHUNK), ema_task, &j);
}

static void squares_task(void *context, int64_t index, int32_t thread) {
    const job *j = context;
    (void)thread;
    int64_t from = index * SUM_CHUNK;
    double sum;
    j->kernels->sums(j->x + from, ck_min(SUM_CHUNK, j->n - from), &sum, j->partial + index);
}

int64_t ck_sum_squares_partials(int64_t n) { return ck_max(1, ck_ceil_div(n, SUM_CHUNK)); }

double ck_sum_squares(ck_pool *pool, const float *x, int64_t n, double *partial) {
    job j = {.kernels = ck_active(), .x = x, .n = n, .partial = partial};
    int64_t chunks = ck_ceil_div(n, SUM_CHUNK);
    ck_run(pool, chunks, squares_task, &j);
    double sum = 0;
    for (int64_t i = 0; i < chunks; i++) sum += partial[i];
    return sum;
}

static void scale_task(void *context, int64_t index, int32_t thread) {
    const job *j = context;
    (void)thread;
    int64_t from = index * CK_CHUNK;
    j->kernels->axpby(j->decay, j->x + from, 0, j->x + from, j->out + from, ck_min(CK_CHUNK, j->n - from));
}

void ck_scale(ck_pool *pool, const float *x, float factor, float *out, int64_t n) {
    job j = {.kernels = ck_active(), .x = x, .out = out, .n = n, .decay = factor};
    ck_run(pool, ck_ceil_div(n, CK_CHUNK), scale_task, &j);
}
