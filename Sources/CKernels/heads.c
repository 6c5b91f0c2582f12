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
