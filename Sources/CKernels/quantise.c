/* Weights packed as whole numbers with a scale for each row of the matrix: a quarter of f32, half of f16 and bf16. The sums of
 * a product are scaled once, at its end, so that the kernels widen these weights as any others. */
#include "kernels.h"

#include <float.h>
#include <math.h>

enum { LINES = 64 }; /* so much of a strip passes through the stack */

typedef struct {
    const void *w;
    int8_t *packed;
    float *scales;
    const ck_kernels *kernels;
    int64_t n, k;
    int32_t dtype;
} plan;

/* What the elements of a row are multiples of, by the bits of its largest magnitude. */
static float scale_of(int32_t bits) {
    float largest;
    memcpy(&largest, &bits, sizeof largest);
    if (!isfinite(largest)) return NAN;
    /* Below, a quotient could be beyond 127. */
    return largest > 0 ? fmaxf(largest / 127, FLT_MIN) : 0;
}

static void strip_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    (void)thread;
    int64_t depth = ck_gemm_depth(p->k), padded = ck_round_up(p->n, CK_STRIP);
    int64_t first = index * CK_STRIP, columns = ck_min(CK_STRIP, p->n - first);
    int32_t largest[CK_STRIP] = {0};
    float lines[LINES * CK_STRIP], divisors[CK_STRIP];
    for (int64_t k = 0; k < p->k; k += LINES) {
        int64_t deep = ck_min(LINES, p->k - k);
        p->kernels->pack_rows(p->dtype, ck_at(p->w, p->dtype, first * p->k + k), p->k, columns, deep, lines);
        p->kernels->strip_largest(lines, deep, largest);
    }
    for (int64_t c = 0; c < CK_STRIP; c++) {
        float scale = scale_of(largest[c]);
        if (c < columns) p->scales[first + c] = scale;
        divisors[c] = scale > 0 ? scale : INFINITY; /* whatever the row holds, its elements are 0 */
    }
    for (int64_t k = 0; k < p->k; k += depth) {
        int64_t deep = ck_min(depth, p->k - k);
        int8_t *to = p->packed + k * padded + first * deep;
        for (int64_t q = 0; q < deep; q += LINES) {
            int64_t part = ck_min(LINES, deep - q);
            p->kernels->pack_rows(p->dtype, ck_at(p->w, p->dtype, first * p->k + k + q), p->k, columns, part, lines);
            p->kernels->strip_quantised(lines, part, divisors, to + q * CK_STRIP);
        }
    }
}

void ck_quantise_matrix(ck_pool *pool, int32_t dtype, const void *w, int64_t n, int64_t k, int8_t *packed, float *scales) {
    plan p = {.w = w, .packed = packed, .scales = scales, .kernels = ck_active(), .n = n, .k = k, .dtype = dtype};
    ck_run(pool, ck_ceil_div(n, CK_STRIP), strip_task, &p);
}
