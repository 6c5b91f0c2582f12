/* Layer and group normalisation: one task per block of rows or per group. */
#include "kernels.h"

typedef struct {
    const void *args;
    const ck_kernels *kernels;
    int64_t rows; /* per task */
    float *factors;
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

typedef struct {
    double mean, inverse;
} statistics;

static statistics of_sums(const ck_group_norm_args *a, double sum, double squares, int64_t n) {
    double mean = sum / (double)n, variance = squares / (double)n - mean * mean;
    return (statistics){mean, 1.0 / __builtin_sqrt((variance > 0 || variance != variance ? variance : 0) + (double)a->eps)};
}

static statistics find_statistics(const plan *p, int64_t group) {
    const ck_group_norm_args *a = p->args;
    int64_t n = a->channels / a->groups * a->area;
    /* In double precision one pass is enough: squares of floats do not lose the variance. */
    double sum, squares;
    p->kernels->sums(a->x + group * n, n, &sum, &squares);
    return of_sums(a, sum, squares, n);
}

/* Center, factor and offset of a channel. */
static void find_factors(const ck_group_norm_args *a, statistics s, int64_t channel, float *to) {
    float center = (float)s.mean;
    double factor = s.inverse * (a->weight ? (double)a->weight[channel] : 1.0);
    /* What rounding took from the mean goes into the offset. */
    double offset = (a->bias ? (double)a->bias[channel] : 0.0) + ((double)center - s.mean) * factor;
    to[0] = center, to[1] = (float)factor, to[2] = (float)offset;
}

static void group_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_group_norm_args *a = p->args;
    (void)thread;
    int64_t channels = a->channels / a->groups, first = index % a->groups * channels, n = channels * a->area;
    statistics found = find_statistics(p, index);
    for (int64_t c = 0; c < channels; c++) {
        float own[3], *f = p->factors ? p->factors + (index * channels + c) * 3 : own;
        find_factors(a, found, first + c, f);
        if (p->factors) continue;
        int64_t at = index * n + c * a->area;
        p->kernels->affine(a->x + at, a->out + at, a->area, f[0], f[1], f[2], a->act);
    }
}

void ck_group_norm(ck_pool *pool, const ck_group_norm_args *args) { ck_group_norm_factors(pool, args, NULL); }

void ck_group_norm_factors(ck_pool *pool, const ck_group_norm_args *args, float *factors) {
    if (args->groups <= 0 || args->channels <= 0 || args->area <= 0) return;
    plan p = {.args = args, .kernels = ck_active(), .factors = factors};
    ck_run(pool, args->batch * args->groups, group_task, &p);
}

/* ---- in pieces ---- */

typedef struct {
    plan base;
    double *sums;
    const float *factors;
} piece_plan;

static void sums_task(void *context, int64_t index, int32_t thread) {
    const piece_plan *p = context;
    const ck_group_norm_args *a = p->base.args;
    (void)thread;
    int64_t n = a->channels / a->groups * a->area;
    double sum, squares;
    p->base.kernels->sums(a->x + index * n, n, &sum, &squares);
    p->sums[2 * index] += sum, p->sums[2 * index + 1] += squares;
}

void ck_group_norm_sums(ck_pool *pool, const ck_group_norm_args *args, double *sums) {
    if (args->groups <= 0 || args->channels <= 0 || args->area <= 0) return;
    piece_plan p = {.base = {.args = args, .kernels = ck_active()}, .sums = sums};
    ck_run(pool, args->batch * args->groups, sums_task, &p);
}

void ck_group_norm_sum_factors(const ck_group_norm_args *args, const double *sums, int64_t count, float *factors) {
    if (args->groups <= 0 || args->channels <= 0 || count <= 0) return;
    int64_t channels = args->channels / args->groups;
    for (int64_t group = 0; group < args->batch * args->groups; group++) {
        statistics found = of_sums(args, sums[2 * group], sums[2 * group + 1], count);
        for (int64_t c = 0; c < channels; c++)
            find_factors(args, found, group % args->groups * channels + c, factors + (group * channels + c) * 3);
    }
}

static void apply_task(void *context, int64_t index, int32_t thread) {
    const piece_plan *p = context;
    const ck_group_norm_args *a = p->base.args;
    const float *f = p->factors + index * 3;
    (void)thread;
    p->base.kernels->affine(a->x + index * a->area, a->out + index * a->area, a->area, f[0], f[1], f[2], a->act);
}

void ck_group_norm_apply(ck_pool *pool, const ck_group_norm_args *args, const float *factors) {
    if (args->channels <= 0 || args->area <= 0) return;
    piece_plan p = {.base = {.args = args, .kernels = ck_active()}, .factors = factors};
    ck_run(pool, args->batch * args->channels, apply_task, &p);
}

/* ---- backward ---- */

typedef struct {
    plan base;
    const float *g;
} backward_plan;

/* With d = g act'(z) weight and h = (x - mean) inverse: dx = inverse (d - the mean of d - h times the mean of d h) in each
 * group. */
static void group_backward_task(void *context, int64_t index, int32_t thread) {
    const backward_plan *p = context;
    const ck_group_norm_args *a = p->base.args;
    (void)thread;
    int64_t channels = a->channels / a->groups, first = index % a->groups * channels, n = channels * a->area;
    statistics found = find_statistics(&p->base, index);
    double sum = 0, product = 0;
    for (int64_t c = 0; c < channels; c++) {
        float f[3];
        find_factors(a, found, first + c, f);
        int64_t at = index * n + c * a->area;
        const float *x = a->x + at;
        float *dx = a->out + at;
        p->base.kernels->affine(x, dx, a->area, f[0], f[1], f[2], CK_ACT_NONE);
        p->base.kernels->activation_backward(a->act, dx, p->g + at, dx, a->area);
        double weight = a->weight ? (double)a->weight[first + c] : 1.0, own = 0, with = 0;
        for (int64_t i = 0; i < a->area; i++) own += (double)dx[i], with += (double)dx[i] * ((double)x[i] - found.mean);
        sum += weight * own, product += weight * with * found.inverse;
    }
    sum /= (double)n, product /= (double)n;
    for (int64_t c = 0; c < channels; c++) {
        int64_t at = index * n + c * a->area;
        const float *x = a->x + at;
        float *dx = a->out + at;
        double weight = a->weight ? (double)a->weight[first + c] : 1.0;
        for (int64_t i = 0; i < a->area; i++) {
            double h = ((double)x[i] - found.mean) * found.inverse;
            dx[i] = (float)(found.inverse * (weight * (double)dx[i] - sum - h * product));
        }
    }
}

void ck_group_norm_backward(ck_pool *pool, const ck_group_norm_args *args, const float *g) {
    if (args->groups <= 0 || args->channels <= 0 || args->area <= 0) return;
    backward_plan p = {.base = {.args = args, .kernels = ck_active()}, .g = g};
    ck_run(pool, args->batch * args->groups, group_backward_task, &p);
}
