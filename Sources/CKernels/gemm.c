/* Serial matrix product over packed panels. Ours rather than a BLAS because a row must have the same bits whatever rows
 * are beside it, because weights are packed once and widened panel by panel, and because bias and activation go on while
 * the tile is warm. */
#include "kernels.h"

enum { MAX_TILE_COLUMNS = 32 }; /* of any instruction set */

/* Columns [j, j + columns) of rows [p, p + deep) of b as packed f32 strips. */
static const float *packed_panel(const ck_kernels *kernels, const ck_gemm_args *g, int64_t j, int64_t columns, int64_t p,
                                 int64_t deep) {
    switch (g->form) {
        case CK_B_ROWS:
            kernels->pack_rows(g->dtype, ck_at(g->b, g->dtype, j * g->ldb + p), g->ldb, columns, deep, g->pack);
            break;
        case CK_B_COLS: kernels->pack_cols((const float *)g->b + p * g->ldb + j, g->ldb, columns, deep, g->pack); break;
        default: {
            const void *at = ck_at(g->b, g->dtype, p * ck_round_up(g->ldb, CK_STRIP) + (g->first + j) * deep);
            if (g->dtype == CK_F32) return at;
            kernels->strips_to_f32(g->dtype, at, g->pack, ck_ceil_div(columns, CK_STRIP) * deep);
        }
    }
    return g->pack;
}

void ck_gemm(const ck_kernels *kernels, const ck_gemm_args *g) {
    if (ck_gemm_current() == CK_GEMM_OPENBLAS && !g->accumulate && ck_gemm_blas(kernels, g)) return;
    int64_t depth = ck_gemm_depth(g->k);
    for (int64_t j = 0; j < g->n; j += g->panel) {
        int64_t columns = ck_min(g->panel, g->n - j);
        int64_t p = 0;
        do { /* k = 0 still writes act(bias) */
            int64_t deep = ck_min(depth, g->k - p);
            int32_t last = p + deep >= g->k;
            ck_panel_args panel = {
                .a = g->a + p,
                .lda = g->lda,
                .packed = packed_panel(kernels, g, j, columns, p, deep),
                .c = g->c + j,
                .ldc = g->ldc,
                .m = g->m,
                .n = columns,
                .k = deep,
                .accumulate = p > 0 || g->accumulate,
                .act = last ? g->act : CK_ACT_NONE,
                .scale = last && g->scale ? g->scale + j : NULL,
                .bias = last && g->bias ? g->bias + j : NULL,
            };
            kernels->gemm_panel(&panel);
            p += deep;
        } while (p < g->k);
    }
}

size_t ck_gemm_block_floats(const ck_kernels *kernels, int64_t k) {
    return (size_t)(ck_min(ck_ceil_div(k, kernels->unit), CK_MAX_DEPTH) * (kernels->block_rows + MAX_TILE_COLUMNS));
}

int64_t ck_gemm_rows_floats(const ck_kernels *kernels, int64_t m, int64_t k) {
    return ck_round_up(m, kernels->gemm_rows) * ck_min(ck_ceil_div(k, kernels->unit), CK_MAX_DEPTH);
}

void ck_gemm_block(const ck_kernels *kernels, const ck_gemm_args *g) {
    const int64_t unit = kernels->unit, units = ck_ceil_div(g->k, unit), depth = ck_gemm_depth(units);
    const int32_t widens = g->dtype != CK_F32 && g->dtype != CK_PAIRS;
    int64_t padded = ck_round_up(g->ldb, CK_STRIP);
    /* A tile's columns of widened weights at a time: more would not stay in the first-level cache. */
    int64_t step = widens ? kernels->gemm_columns : g->n;
    float *widened = g->pack + ck_min(units, CK_MAX_DEPTH) * kernels->block_rows;
    for (int64_t p = 0; p < units; p += depth) {
        int64_t deep = ck_min(depth, units - p);
        int32_t last = p + deep >= units;
        if (g->a_columns) kernels->pack_block_columns(g->a + p * g->lda, g->lda, g->m, deep, g->pack);
        else kernels->pack_block(g->a + p * unit, g->lda, g->m, ck_min(deep * unit, g->k - p * unit), g->pack);
        for (int64_t j = 0; j < g->n; j += step) {
            int64_t columns = ck_min(step, g->n - j);
            const void *at = ck_at(g->b, g->dtype, p * padded + (g->first + j) * deep), *next = NULL;
            if (j + step < g->n) next = ck_at(at, g->dtype, columns * deep);
            else if (!last) next = ck_at(g->b, g->dtype, (p + deep) * padded + g->first * ck_min(depth, units - p - deep));
            if (widens) kernels->strips_to_f32(g->dtype, at, widened, ck_ceil_div(columns, CK_STRIP) * deep);
            ck_panel_args block = {
                .a = g->pack,
                .packed = widens ? widened : at,
                .c = g->c + j,
                .ldc = g->ldc,
                .m = g->m,
                .n = columns,
                .k = deep,
                .accumulate = p > 0 || g->accumulate,
                .act = last ? g->act : CK_ACT_NONE,
                .scale = last && g->scale ? g->scale + j : NULL,
                .bias = last && g->bias ? g->bias + j : NULL,
                .next = next,
                .next_bytes = next ? kernels->gemm_columns * deep * ck_type_size(g->dtype) : 0,
            };
            kernels->gemm_block(&block);
        }
    }
}
