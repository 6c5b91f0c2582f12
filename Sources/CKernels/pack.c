/* Packing a weight matrix once, into the order in which the product reads it: blocks of ck_gemm_depth(k) along k, in each
 * block the strips one after the other, in each strip one line of CK_STRIP columns per k (ck_strip_place). So any panel of
 * columns is one stretch of memory per block, whatever its width. */
#include "kernels.h"

int64_t ck_gemm_depth(int64_t k) {
    int64_t blocks = ck_ceil_div(k, CK_MAX_DEPTH);
    return blocks <= 1 ? k : ck_round_up(ck_ceil_div(k, blocks), 8);
}

size_t ck_gemm_pack_floats(int64_t n, int64_t k) { return (size_t)(ck_round_up(n, CK_STRIP) * ck_min(k, CK_MAX_DEPTH)); }

typedef struct {
    const void *w;
    void *packed;
    const ck_kernels *kernels;
    int64_t n, k;
    int32_t dtype;
} plan;

int64_t ck_packed_count(int64_t n, int64_t k) { return ck_round_up(n, CK_STRIP) * k; }

/* Half-width elements keep their bits; a missing column repeats the last one, its results are never stored. */
static void pack_halves(int32_t dtype, const uint16_t *w, int64_t ldw, int64_t n, int64_t k, uint16_t *to) {
    const uint16_t *rows[CK_STRIP];
    for (int64_t c = 0; c < CK_STRIP; c++) rows[ck_strip_place(dtype, c)] = w + ck_min(c, n - 1) * ldw;
    for (int64_t p = 0; p < k; p++, to += CK_STRIP)
        for (int64_t c = 0; c < CK_STRIP; c++) to[c] = rows[c][p];
}

static void pairs_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    (void)thread;
    int64_t units = ck_ceil_div(p->k, 2), depth = ck_gemm_depth(units), padded = ck_round_up(p->n, CK_STRIP);
    int64_t first = index * CK_STRIP, columns = ck_min(CK_STRIP, p->n - first);
    for (int64_t u = 0; u < units; u += depth) {
        int64_t deep = ck_min(depth, units - u);
        const void *from = ck_at(p->w, p->dtype, first * p->k + 2 * u);
        float *to = (float *)p->packed + u * padded + first * deep;
        p->kernels->pack_rows(p->dtype, from, p->k, columns, ck_min(2 * deep, p->k - 2 * u), to);
    }
}

static void strip_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    (void)thread;
    int64_t depth = ck_gemm_depth(p->k), padded = ck_round_up(p->n, CK_STRIP);
    int64_t first = index * CK_STRIP, columns = ck_min(CK_STRIP, p->n - first);
    for (int64_t k = 0; k < p->k; k += depth) {
        int64_t deep = ck_min(depth, p->k - k), at = k * padded + first * deep;
        const void *from = ck_at(p->w, p->dtype, first * p->k + k);
        if (p->dtype == CK_F32) p->kernels->pack_rows(CK_F32, from, p->k, columns, deep, (float *)p->packed + at);
        else pack_halves(p->dtype, from, p->k, columns, deep, (uint16_t *)p->packed + at);
    }
}

void ck_pack_matrix(ck_pool *pool, int32_t dtype, const void *w, int64_t n, int64_t k, void *packed) {
    plan p = {.w = w, .packed = packed, .kernels = ck_active(), .n = n, .k = k, .dtype = dtype};
    ck_run(pool, ck_ceil_div(n, CK_STRIP), strip_task, &p);
}

void ck_pack_pairs(ck_pool *pool, int32_t dtype, const void *w, int64_t n, int64_t k, void *packed) {
    plan p = {.w = w, .packed = packed, .kernels = ck_active_pairs(), .n = n, .k = k, .dtype = dtype};
    ck_run(pool, ck_ceil_div(n, CK_STRIP), pairs_task, &p);
}

void ck_pack_factor_rows(const ck_kernels *kernels, const float *rows, int64_t ldb, int64_t n, int64_t k, float *to) {
    int64_t unit = kernels->unit, depth = ck_gemm_depth(ck_ceil_div(k, unit)) * unit, padded = ck_round_up(n, CK_STRIP);
    for (int64_t i = 0; i < k; i += depth)
        kernels->pack_rows(CK_F32, rows + i, ldb, n, ck_min(depth, k - i), to + i / unit * padded);
}

void ck_pack_factor_columns(const ck_kernels *kernels, const float *columns, int64_t ldb, int64_t n, int64_t k, float *to) {
    int64_t unit = kernels->unit, depth = ck_gemm_depth(ck_ceil_div(k, unit)) * unit, padded = ck_round_up(n, CK_STRIP);
    for (int64_t i = 0; i < k; i += depth)
        kernels->pack_cols(columns + i * ldb, ldb, n, ck_min(depth, k - i), to + i / unit * padded);
}

int64_t ck_factor_floats(const ck_kernels *kernels, int64_t n, int64_t k) {
    return ck_packed_count(n, ck_ceil_div(k, kernels->unit));
}
