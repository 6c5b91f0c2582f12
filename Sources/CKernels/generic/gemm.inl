/* The register tile of the matrix product: CK_TILE_ROWS rows of A, read in place or packed side by side, times two
 * registers' width of packed columns. Every element of the result is one chain of multiply-adds in the order of k, in full tiles and at the edges
 * alike: this is what makes a row's bits independent of the rows beside it.
 *
 * Packed strips are CK_STRIP columns wide on every instruction set, so that weights packed once fit all of them: narrow
 * registers take a strip in several tiles, wide ones take two strips in one. */
#define TILE_COLUMNS (2 * LANES)

typedef struct {
    const float *a; int64_t lda;
    const float *b0, *b1; /* where the two registers' columns begin; CK_STRIP apart from one k to the next */
    int64_t k;
    float *c; int64_t ldc;
    int64_t columns;
    int32_t accumulate;
    const float *scale, *bias; /* for the last stretch of k, or null */
} tile_args;

/* A rounded product: joined with the addition behind it here and not there, an element's bits would depend on its place in a tile. */
INLINE vf v_scaled(vf sum, vf scale) {
#pragma clang fp contract(off)
    return sum * scale;
}
INLINE float scaled(float sum, float scale) {
#pragma clang fp contract(off)
    return sum * scale;
}

INLINE void tile(const int rows, const int packed, const tile_args *t) {
#pragma clang fp contract(fast)
    const float *a = t->a, *b0 = t->b0, *b1 = t->b1;
    const int64_t lda = t->lda, k = t->k;
    vf s[CK_TILE_ROWS][2];
#pragma unroll
    for (int r = 0; r < rows; r++) s[r][0] = s[r][1] = v_splat(0);
#pragma unroll 4
    for (int64_t p = 0; p < k; p++) {
        vf u = v_load(b0 + p * CK_STRIP), v = v_load(b1 + p * CK_STRIP);
#pragma unroll
        for (int r = 0; r < rows; r++) {
            vf x = v_splat(packed ? a[p * CK_TILE_ROWS + r] : a[r * lda + p]);
            s[r][0] += x * u;
            s[r][1] += x * v;
        }
    }
    if (t->columns == TILE_COLUMNS) {
        vf bias0 = v_splat(0), bias1 = bias0;
        if (t->bias) bias0 = v_load(t->bias), bias1 = v_load(t->bias + LANES);
#pragma unroll
        for (int r = 0; r < rows; r++) {
            float *to = t->c + r * t->ldc;
            if (t->accumulate) {
                s[r][0] += v_load(to);
                s[r][1] += v_load(to + LANES);
            }
            if (t->scale) {
                s[r][0] = v_scaled(s[r][0], v_load(t->scale));
                s[r][1] = v_scaled(s[r][1], v_load(t->scale + LANES));
            }
            if (t->bias) {
                s[r][0] += bias0;
                s[r][1] += bias1;
            }
            v_store(to, s[r][0]);
            v_store(to + LANES, s[r][1]);
        }
        return;
    }
    for (int r = 0; r < rows; r++) {
        float line[TILE_COLUMNS], *to = t->c + r * t->ldc;
        v_store(line, s[r][0]);
        v_store(line + LANES, s[r][1]);
        for (int64_t j = 0; j < t->columns; j++) {
            float value = t->accumulate ? line[j] + to[j] : line[j];
            if (t->scale) value = scaled(value, t->scale[j]);
            to[j] = t->bias ? value + t->bias[j] : value;
        }
    }
}

#define TILE_FUNCTION(ROWS)                                                                          \
    static __attribute__((noinline)) void tile_##ROWS(const tile_args *t) { tile(ROWS, 0, t); }      \
    static __attribute__((noinline)) void tile_packed_##ROWS(const tile_args *t) { tile(ROWS, 1, t); }
TILE_FUNCTION(1) TILE_FUNCTION(2) TILE_FUNCTION(3) TILE_FUNCTION(4) TILE_FUNCTION(5) TILE_FUNCTION(6)
#if CK_TILE_ROWS >= 8
TILE_FUNCTION(7) TILE_FUNCTION(8)
#endif
#if CK_TILE_ROWS >= 12
TILE_FUNCTION(9) TILE_FUNCTION(10) TILE_FUNCTION(11) TILE_FUNCTION(12)
#endif
#undef TILE_FUNCTION

typedef void (*tile_function)(const tile_args *);
#if CK_TILE_ROWS == 6
#define TILE_TABLE(P) {0, P##1, P##2, P##3, P##4, P##5, P##6}
#elif CK_TILE_ROWS == 8
#define TILE_TABLE(P) {0, P##1, P##2, P##3, P##4, P##5, P##6, P##7, P##8}
#else
#define TILE_TABLE(P) {0, P##1, P##2, P##3, P##4, P##5, P##6, P##7, P##8, P##9, P##10, P##11, P##12}
#endif
static const tile_function tiles[CK_TILE_ROWS + 1] = TILE_TABLE(tile_);
static const tile_function packed_tiles[CK_TILE_ROWS + 1] = TILE_TABLE(tile_packed_);
#undef TILE_TABLE

/* Where the second register of a tile finds its columns. */
INLINE const float *second_register(const ck_panel_args *g, const float *b0, int64_t j) {
#if LANES < CK_STRIP
    (void)g, (void)j;
    return b0 + LANES;
#else
    return j + CK_STRIP < g->n ? b0 + CK_STRIP * g->k : b0;
#endif
}

/* The rows of a tile get their bias in registers and their activation here, while they are in the first-level cache: an
 * activation takes longer than a load, and in registers it would be compiled once per number of rows. */
static void gemm_panel(const ck_panel_args *g) {
    for (int64_t i = 0; i < g->m; i += CK_TILE_ROWS) {
        int64_t rows = ck_min(CK_TILE_ROWS, g->m - i);
        for (int64_t j = 0; j < g->n; j += TILE_COLUMNS) {
            const float *b0 = g->packed + j / CK_STRIP * CK_STRIP * g->k + j % CK_STRIP;
            tile_args t = {
                .a = g->a + i * g->lda,
                .lda = g->lda,
                .b0 = b0,
                .b1 = second_register(g, b0, j),
                .k = g->k,
                .c = g->c + i * g->ldc + j,
                .ldc = g->ldc,
                .columns = ck_min(TILE_COLUMNS, g->n - j),
                .accumulate = g->accumulate,
                .scale = g->scale ? g->scale + j : NULL,
                .bias = g->bias ? g->bias + j : NULL,
            };
            tiles[rows](&t);
        }
        if (g->act == CK_ACT_NONE) continue;
        for (int64_t r = i; r < i + rows; r++) activation(g->act, g->c + r * g->ldc, g->c + r * g->ldc, g->n);
    }
}
