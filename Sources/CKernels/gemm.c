/* Serial matrix product over packed panels. Ours rather than a BLAS because a row must have the same bits whatever rows
 * are beside it, because weights are converted while they are packed, and because bias and activation go on while the
 * tile is warm. */
#include "kernels.h"

/* A strip of this depth and one register tile of A stay in the first-level cache. */
enum { MAX_DEPTH = 384, MAX_STRIP = 32 };

int64_t ck_gemm_depth(int64_t k) {
    int64_t blocks = ck_ceil_div(k, MAX_DEPTH);
    return blocks <= 1 ? k : ck_round_up(ck_ceil_div(k, blocks), 8);
}

size_t ck_gemm_pack_floats(int64_t n, int64_t k) { return (size_t)(ck_round_up(n, MAX_STRIP) * ck_min(k, MAX_DEPTH)); }

void ck_gemm(const ck_kernels *kernels, const ck_gemm_args *g) {
    if (ck_gemm_current() == CK_GEMM_OPENBLAS && ck_gemm_blas(kernels, g)) return;
    int64_t depth = ck_gemm_depth(g->k);
    for (int64_t j = 0; j < g->n; j += g->panel) {
        int64_t columns = ck_min(g->panel, g->n - j);
        int64_t p = 0;
        do { /* k = 0 still writes act(bias) */
            int64_t deep = ck_min(depth, g->k - p);
            if (g->b_rows) kernels->pack_rows(g->dtype, ck_at(g->b, g->dtype, j * g->ldb + p), g->ldb, columns, deep, g->pack);
            else kernels->pack_cols((const float *)g->b + p * g->ldb + j, g->ldb, columns, deep, g->pack);
            kernels->gemm_panel(g->a + p, g->lda, g->pack, g->c + j, g->ldc, g->m, columns, deep, p > 0, p + deep >= g->k,
                                g->bias ? g->bias + j : NULL, g->act);
            p += deep;
        } while (p < g->k);
    }
}
