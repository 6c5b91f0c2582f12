/* Layer and group normalisation: one task per block of rows or per group. */
#include "kernels.h"

typedef struct {
    const void *args;
    const ck_kernels *kernels;
    int64_t rows; /* per task */
} plan;

static void layer_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_layer_norm_args *a = p->args;
    (void)thread;
    int64_t from = index * p->rows, to = ck_min(from + p->rows, a->rows);
    for (int64_t row = from; row < to; row++) p->kernels->layer_norm_row(a, row);
}

void ck_layer_norm(ck_pool *pool, const ck_layer_norm_args *args) {
    if (args->width <= 0) return;
    plan p = {.args = args, .kernels = ck_active(), .rows = ck_max(1, CK_CHUNK / args->width)};
    ck_run(pool, ck_ceil_div(args->rows, p.rows), layer_task, &p);
}

static void group_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_group_norm_args *a = p->args;
    (void)thread;
    int64_t channels = a->channels / a->groups, first = index % a->groups * channels, n = channels * a->area;
    const float *x = a->x + index * n;
    float *out = a->out + index * n;
    /* In double precision one pass is enough: squares of floats do not lose the variance. */
    double sum, squares;
    p->kernels->sums(x, n, &sum, &squares);
    double mean = sum / (double)n, variance = squares / (double)n - mean * mean;
    double inverse = 1.0 / __builtin_sqrt((variance > 0 || variance != variance ? variance : 0) + (double)a->eps);
    float center = (float)mean;
    for (int64_t c = 0; c < channels; c++) {
        double factor = inverse * (a->weight ? (double)a->weight[first + c] : 1.0);
        /* What rounding took from the mean goes into the offset. */
        double offset = (a->bias ? (double)a->bias[first + c] : 0.0) + ((double)center - mean) * factor;
        p->kernels->affine(x + c * a->area, out + c * a->area, a->area, center, (float)factor, (float)offset, a->act);
    }
}

void ck_group_norm(ck_pool *pool, const ck_group_norm_args *args) {
    if (args->groups <= 0 || args->channels <= 0 || args->area <= 0) return;
    plan p = {.args = args, .kernels = ck_active()};
    ck_run(pool, args->batch * args->groups, group_task, &p);
}
