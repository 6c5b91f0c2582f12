/* What logits of tokens cost, and its gradient: one task for each row, in double precision. */
#include "kernels.h"

#include <math.h>

static float largest(const float *x, int64_t n) {
    float most = x[0];
    for (int64_t i = 1; i < n; i++) most = x[i] > most ? x[i] : most;
    return most;
}

/* ln of the sum of exp(x / temperature), and the sum of x / temperature itself where it is asked for. NaN stays NaN. */
static double log_sum(const float *x, int64_t n, double temperature, double *sum) {
    double most = largest(x, n) / temperature, exponentials = 0, plain = 0;
    for (int64_t i = 0; i < n; i++) {
        exponentials += exp(x[i] / temperature - most);
        plain += x[i];
    }
    if (sum) *sum = plain / temperature;
    return most + log(exponentials);
}

/* Adds to the gradient what the target costs: weight (p - target), the target smoothed. */
static double entropy(const ck_token_loss_args *a, const float *s, int64_t target, float *g) {
    double sum, whole = log_sum(s, a->width, 1, &sum), each = a->smoothing / (double)a->width;
    if (a->entropy_weight != 0) {
        for (int64_t i = 0; i < a->width; i++) g[i] += (float)(a->entropy_weight * (exp(s[i] - whole) - each));
        g[target] -= (float)(a->entropy_weight * (1 - a->smoothing));
    }
    return whole - (1 - a->smoothing) * s[target] - each * sum;
}

/* T^2 KL(teacher / T || student / T); its gradient is T (p - q). */
static double divergence(const ck_token_loss_args *a, const float *s, const float *t, float *g) {
    double temperature = a->temperature, cost = 0, weight = a->divergence_weight * temperature;
    double mine = log_sum(s, a->width, temperature, NULL), theirs = log_sum(t, a->width, temperature, NULL);
    for (int64_t i = 0; i < a->width; i++) {
        double p = s[i] / temperature - mine, q = t[i] / temperature - theirs, share = exp(q);
        /* A code that the teacher excludes costs nothing, however unlikely it is. */
        if (share > 0 || isnan(share)) cost += share * (q - p);
        if (weight != 0) g[i] += (float)(weight * (exp(p) - share));
    }
    return temperature * temperature * cost;
}

typedef struct {
    const ck_token_loss_args *args;
} job;

static void loss_task(void *context, int64_t row, int32_t thread) {
    const ck_token_loss_args *a = ((const job *)context)->args;
    (void)thread;
    const float *s = a->student + row * a->width;
    float *g = a->gradient + row * a->width;
    memset(g, 0, (size_t)a->width * sizeof *g);
    a->divergence[row] = a->teacher ? divergence(a, s, a->teacher + row * a->width, g) : 0;
    a->entropy[row] = entropy(a, s, a->targets[row], g);
}

void ck_token_loss(ck_pool *pool, const ck_token_loss_args *args) {
    job j = {.args = args};
    ck_run(args->rows * args->width > CK_CHUNK_MATH ? pool : NULL, args->rows, loss_task, &j);
}
