/* Products of few rows with packed weights, which are widened on their way into the registers: bound by reading the weights, so
 * several strips are under way at once, whose chains of multiply-adds hide each other's latency. Every element is the chain of
 * gemm.inl, block of k by block of k, so its bits are those of the other ways. */
typedef struct {
    const float *a; int64_t lda;
    const void *packed; /* the strips of one block of k */
    int64_t deep;       /* lines of a strip */
    int64_t from, last; /* registers across all strips: the first one wanted, the last one there is */
    float *c; int64_t ldc;
    int64_t columns; /* from the first register on */
    int32_t accumulate;
    const float *scale, *bias; /* for the last block of k, or null */
} few_args;

/* What is done with the sums of a tile: once for all tiles, which are many and long. */
static __attribute__((noinline)) void few_finish(const vf *sums, int rows, int registers, const few_args *t) {
    for (int r = 0; r < rows; r++) {
        for (int q = 0; q < registers; q++) {
            int64_t first = q * LANES, left = t->columns - first;
            float *to = t->c + r * t->ldc + first;
            vf sum = sums[r * registers + q];
            if (left >= LANES) {
                if (t->accumulate) sum += v_load(to);
                if (t->scale) sum = v_scaled(sum, v_load(t->scale + first));
                if (t->bias) sum += v_load(t->bias + first);
                v_store(to, sum);
            } else if (left > 0) {
                if (t->accumulate) sum += v_load_part(to, left);
                if (t->scale) sum = v_scaled(sum, v_load_part(t->scale + first, left));
                if (t->bias) sum += v_load_part(t->bias + first, left);
                v_store_part(to, sum, left);
            }
        }
    }
}

INLINE void few_tile(int32_t dtype, const int rows, const int registers, const few_args *t) {
#pragma clang fp contract(fast)
    const int64_t deep = t->deep, lda = t->lda;
    const float *a = t->a;
    int64_t at[8];
    vf s[CK_TILE_ROWS][8];
#pragma unroll
    for (int q = 0; q < registers; q++) {
        int64_t index = ck_min(t->from + q, t->last);
        at[q] = index / STRIP_REGISTERS * CK_STRIP * deep + index % STRIP_REGISTERS * LANES;
    }
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int q = 0; q < registers; q++) s[r][q] = v_splat(0);
    for (int64_t p = 0; p < deep; p++) {
        vf u[8];
#pragma unroll
        for (int q = 0; q < registers; q++) u[q] = v_load_as(dtype, t->packed, at[q] + p * CK_STRIP);
#pragma unroll
        for (int r = 0; r < rows; r++) {
            vf x = v_splat(a[r * lda + p]);
#pragma unroll
            for (int q = 0; q < registers; q++) s[r][q] += x * u[q];
        }
    }
    vf sums[CK_TILE_ROWS * 8];
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int q = 0; q < registers; q++) sums[r * registers + q] = s[r][q];
    few_finish(sums, rows, registers, t);
}

/* Registers side by side by the number of rows: about a dozen sums in all. */
enum { FEW_ONE = 8, FEW_SOME = 4, FEW_MANY = 2 };

#define FEW_CASE(ROWS) case ROWS: few_tile(dtype, ROWS, FEW_MANY, t); break;
INLINE void few_rows_tile(int32_t dtype, int64_t rows, int64_t registers, const few_args *t) {
    if (registers == FEW_ONE) return few_tile(dtype, 1, FEW_ONE, t);
    if (registers == FEW_SOME) {
        if (rows == 1) few_tile(dtype, 1, FEW_SOME, t);
        else if (rows == 2) few_tile(dtype, 2, FEW_SOME, t);
        else few_tile(dtype, 3, FEW_SOME, t);
        return;
    }
    switch (rows) {
        FEW_CASE(1) FEW_CASE(2) FEW_CASE(3) FEW_CASE(4) FEW_CASE(5) FEW_CASE(6)
#if CK_TILE_ROWS >= 8
        FEW_CASE(7) FEW_CASE(8)
#endif
#if CK_TILE_ROWS >= 12
        FEW_CASE(9) FEW_CASE(10) FEW_CASE(11) FEW_CASE(12)
#endif
        default: break;
    }
}
#undef FEW_CASE

INLINE void few_rows_as(int32_t dtype, const ck_gemm_args *g) {
    int64_t depth = ck_gemm_depth(g->k), padded = ck_round_up(g->ldb, CK_STRIP);
    for (int64_t p = 0; p < g->k; p += depth) {
        int64_t deep = ck_min(depth, g->k - p);
        int32_t last = p + deep >= g->k;
        few_args t = {
            .lda = g->lda,
            .packed = ck_at(g->b, dtype, p * padded),
            .deep = deep,
            .last = padded / LANES - 1,
            .ldc = g->ldc,
            .accumulate = p > 0 || g->accumulate,
        };
        for (int64_t j = 0, registers; j < g->n; j += registers * LANES) {
            int64_t left = ck_ceil_div(g->n - j, LANES);
            registers = g->m == 1 && left >= FEW_ONE ? FEW_ONE : g->m <= 3 && left >= FEW_SOME ? FEW_SOME : FEW_MANY;
            t.from = (g->first + j) / LANES;
            t.columns = g->n - j;
            t.scale = last && g->scale ? g->scale + j : NULL;
            t.bias = last && g->bias ? g->bias + j : NULL;
            for (int64_t i = 0; i < g->m; i += CK_TILE_ROWS) {
                t.a = g->a + i * g->lda + p;
                t.c = g->c + i * g->ldc + j;
                few_rows_tile(dtype, ck_min(CK_TILE_ROWS, g->m - i), registers, &t);
            }
        }
    }
    if (g->act == CK_ACT_NONE) return;
    for (int64_t r = 0; r < g->m; r++) activation(g->act, g->c + r * g->ldc, g->c + r * g->ldc, g->n);
}

static void few_rows(const ck_gemm_args *g) {
    if (g->dtype == CK_F32) few_rows_as(CK_F32, g);
    else if (g->dtype == CK_F16) few_rows_as(CK_F16, g);
    else if (g->dtype == CK_I8) few_rows_as(CK_I8, g);
    else few_rows_as(CK_BF16, g);
}
