/* Tokens from rows of logits, one task per row. */
#include "kernels.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef struct {
    const void *args;
    const ck_kernels *kernels;
    _Atomic int32_t failed;
} plan;

static void gumbel_task(void *context, int64_t row, int32_t thread) {
    plan *p = context;
    const ck_gumbel_rows_args *a = p->args;
    (void)thread;
    const float *x = a->logits + row * a->n;
    float best;
    int64_t token = p->kernels->best(x, a->n, &best);
    if (token < 0) {
        atomic_store_explicit(&p->failed, 1, memory_order_relaxed);
        return;
    }
    if (a->u) {
        /* exp(logit) / (-ln u)^temperature in its logarithmic form, which does not overflow. */
        const double *u = a->u + row * a->n;
        double highest = -INFINITY;
        for (int64_t i = 0; i < a->n; i++) {
            double score = (double)x[i] - a->temperature * log(-log(u[i]));
            if (score > highest) highest = score, token = i;
        }
    }
    a->tokens[row] = token;
    a->confidences[row] = exp((double)x[token] - (double)best) / p->kernels->exp_sum(x, a->n, best);
}

int32_t ck_gumbel_rows(ck_pool *pool, const ck_gumbel_rows_args *args) {
    plan p = {.args = args, .kernels = ck_active()};
    ck_run(pool, args->rows, gumbel_task, &p);
    return !atomic_load_explicit(&p.failed, memory_order_relaxed);
}

typedef struct {
    float value;
    int32_t index;
} entry;

static int descending(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static size_t row_bytes(int64_t n) {
    return (size_t)ck_round_up(2 * n, 16) * sizeof(float) + (size_t)ck_round_up(n, 16) * sizeof(entry);
}

/* Heapsort: qsort may allocate, and may end the process when it cannot. */
static void sift(entry *e, int64_t root, int64_t count) {
    for (int64_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && descending(&e[child], &e[child + 1]) < 0) child++;
        if (descending(&e[root], &e[child]) >= 0) return;
        entry t = e[root];
        e[root] = e[child];
        e[child] = t;
    }
}
static void sort(entry *e, int64_t count) {
    for (int64_t i = count / 2 - 1; i >= 0; i--) sift(e, i, count);
    for (int64_t last = count - 1; last > 0; last--) {
        entry t = e[0];
        e[0] = e[last];
        e[last] = t;
        sift(e, 0, last);
    }
}

/* The elements of x with at least `share` of the largest weight, sorted by value and then by index. */
static int64_t collect(const float *x, const float *weights, int64_t n, float share, entry *out) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        if (weights[i] >= share) out[count++] = (entry){x[i], (int32_t)i};
    sort(out, count);
    return count;
}

/* Shares to try: a sorted beginning is enough as soon as the cut falls inside it. */
static float next_share(float share) { return share > 1e-30f ? share * (1.0f / 64) : 0; }

/* Removes what lies behind the first entry that takes the sum of probabilities past top_p. */
static void cut_by_probability(const ck_kernels *kernels, float *x, float *weights, int64_t n, float top_p, entry *sorted) {
    memcpy(weights, x, (size_t)n * sizeof *x);
    float inverse = kernels->softmax_weights(weights, n, 1.0f);
    for (float share = 1.0f / 64;; share = next_share(share)) {
        int64_t count = collect(x, weights, n, share, sorted), keep = 0;
        double sum = 0;
        /* The first is always kept; another is removed when what precedes it has passed top_p. */
        while (keep < count && !((float)sum > top_p)) sum += (double)(weights[sorted[keep++].index] * inverse);
        if (keep == count && share > 0) continue;
        if (keep == n) return;
        for (int64_t i = 0; i < keep; i++) weights[i] = x[sorted[i].index];
        for (int64_t i = 0; i < n; i++) x[i] = -FLT_MAX;
        for (int64_t i = 0; i < keep; i++) x[sorted[i].index] = weights[i];
        return;
    }
}

/* Removes what is smaller than the k-th largest. */
static void cut_by_rank(const ck_kernels *kernels, float *x, float *weights, int64_t n, int64_t k, entry *sorted) {
    if (k >= n) return;
    memcpy(weights, x, (size_t)n * sizeof *x);
    kernels->softmax_weights(weights, n, 1.0f);
    for (float share = 1.0f / 64;; share = next_share(share)) {
        int64_t count = collect(x, weights, n, share, sorted);
        if (count < k && share > 0) continue;
        float least = sorted[k - 1].value;
        for (int64_t i = 0; i < n; i++)
            if (x[i] < least) x[i] = -FLT_MAX;
        return;
    }
}

static void race_task(void *context, int64_t row, int32_t thread) {
    plan *p = context;
    const ck_race_rows_args *a = p->args;
    int64_t n = a->n;
    float *x = (float *)((char *)a->scratch + (size_t)thread * row_bytes(n)), *weights = x + n;
    entry *sorted = (entry *)(x + ck_round_up(2 * n, 16));
    const float *logits = a->logits + row * n;
    float best;
    if (p->kernels->best(logits, n, &best) < 0) {
        atomic_store_explicit(&p->failed, 1, memory_order_relaxed);
        return;
    }
    for (int64_t i = 0; i < n; i++) x[i] = a->temperature > 0 ? logits[i] / a->temperature : logits[i];
    if (a->top_p < 1) cut_by_probability(p->kernels, x, weights, n, a->top_p, sorted);
    if (a->top_k > 0) cut_by_rank(p->kernels, x, weights, n, a->top_k, sorted);
    int64_t token = p->kernels->best(x, n, &best);
    if (token < 0) {
        atomic_store_explicit(&p->failed, 1, memory_order_relaxed);
        return;
    }
    float inverse = p->kernels->softmax_weights(x, n, 1.0f);
    for (int64_t i = 0; i < n; i++) x[i] *= inverse;
    if (a->e) {
        const float *e = a->e + row * n;
        float highest = -1;
        for (int64_t i = 0; i < n; i++) {
            float ratio = x[i] / e[i];
            if (ratio > highest) highest = ratio, token = i;
        }
    }
    a->tokens[row] = token;
    if (a->confidence == CK_CONFIDENCE_MARGIN) {
        float first = 0, second = 0;
        for (int64_t i = 0; i < n; i++) {
            if (x[i] > first) second = first, first = x[i];
            else if (x[i] > second) second = x[i];
        }
        a->confidences[row] = first - second;
    } else if (a->confidence == CK_CONFIDENCE_ENTROPY) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            if (x[i] > 0) sum += (double)(x[i] * logf(x[i] + 1e-10f));
        a->confidences[row] = (float)sum;
    } else {
        a->confidences[row] = x[token];
    }
}

int32_t ck_race_rows(ck_pool *pool, const ck_race_rows_args *args) {
    plan p = {.args = args, .kernels = ck_active()};
    ck_run(pool, args->rows, race_task, &p);
    return !atomic_load_explicit(&p.failed, memory_order_relaxed);
}

size_t ck_race_rows_scratch(int32_t threads, int64_t n) { return (size_t)ck_max(threads, 1) * row_bytes(n); }
