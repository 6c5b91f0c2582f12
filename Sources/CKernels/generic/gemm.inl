/* The register tile of the matrix product: CK_TILE_ROWS rows of A, read in place or packed side by side, times two
 * registers' width of packed columns. Every element of the result is one chain of multiply-adds in the order of k, in full tiles and at the edges
 * alike: this is what makes a row's bits independent of the rows beside it.
 *
 * Packed strips are CK_STRIP columns wide on every instruction set, so that weights packed once fit all of them: narrow
 * registers take a strip in several tiles, wide ones take two strips in one. */
#define TILE_COLUMNS (2 * LANES)
enum {
    MOST_SUMS = 4 * CK_TILE_ROWS, /* registers of any tile */
    /* of k at once. Without fused multiply-adds each product takes a register, and none is left for a second step's loads. */
    TILE_STEPS = CK_FUSED ? 4 : 1,
};

/* Where a tile's sums go, and what is done with them on the way. */
typedef struct {
    float *c; int64_t ldc;
    int64_t columns; /* from the tile's first one on; may be more than it has */
    int32_t accumulate;
    const float *scale, *bias; /* for the last stretch of k, or null */
} tile_result;

typedef struct {
    const float *a; int64_t lda;
    const float *b0, *b1; /* where the two registers' columns begin; CK_STRIP apart from one k to the next */
    int64_t k;
    tile_result to;
} tile_args;

/* A rounded product: joined with the addition behind it here and not there, an element's bits would depend on its place in a tile. */
INLINE vf v_scaled(vf sum, vf scale) {
#pragma clang fp contract(off)
    return sum * scale;
}

/* A tile that ends within its registers: one function for all of these, which are many. */
static __attribute__((noinline)) void finish_part(const vf *sums, int rows, int registers, const tile_result *t) {
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

/* `sums` are rows of registers. They stay in registers only while every loop over them, here and in the tiles, is unrolled whole: one
 * that is not indexes them by a variable, which needs an address, and then each multiply-add of the tile takes its sum from the stack
 * and puts it back. So the part above gets a copy, made where a tile has such an edge. */
INLINE void finish(vf *sums, const int rows, const int registers, const tile_result *t) {
    if (t->columns < registers * LANES) {
        vf copy[MOST_SUMS];
#pragma unroll
        for (int i = 0; i < rows * registers; i++) copy[i] = sums[i];
        finish_part(copy, rows, registers, t);
        return;
    }
#define EACH_SUM(BODY)                               \
    _Pragma("unroll") for (int r = 0; r < rows; r++) \
        _Pragma("unroll") for (int q = 0; q < registers; q++) BODY
    float *c = t->c;
    const int64_t ldc = t->ldc;
    if (t->accumulate) EACH_SUM(sums[r * registers + q] += v_load(c + r * ldc + q * LANES);)
    if (t->scale) EACH_SUM(sums[r * registers + q] = v_scaled(sums[r * registers + q], v_load(t->scale + q * LANES));)
    if (t->bias) EACH_SUM(sums[r * registers + q] += v_load(t->bias + q * LANES);)
    EACH_SUM(v_store(c + r * ldc + q * LANES, sums[r * registers + q]);)
#undef EACH_SUM
}

INLINE void tile(const int rows, const int packed, const tile_args *t) {
#pragma clang fp contract(fast)
    const float *a = t->a, *b0 = t->b0, *b1 = t->b1;
    const int64_t lda = t->lda, k = t->k;
    vf s[2 * CK_TILE_ROWS];
#pragma unroll
    for (int i = 0; i < 2 * rows; i++) s[i] = v_splat(0);
    const float *groups[CK_TILE_ROWS / 4 + 1];
#pragma unroll
    for (int g = 0; g < (rows + 3) / 4; g++) groups[g] = a + 4 * g * lda;
    const int64_t lda3 = 3 * lda;
#pragma unroll TILE_STEPS
    for (int64_t p = 0; p < k; p++) {
        vf u = v_load(b0 + p * CK_STRIP), v = v_load(b1 + p * CK_STRIP);
#pragma unroll
        for (int g = 0; !packed && g < (rows + 3) / 4; g++) __asm__("" : "+r"(groups[g]));
#pragma unroll
        for (int r = 0; r < rows; r++) {
            vf x = v_splat(packed ? a[p * CK_TILE_ROWS + r] : groups[r / 4][(r % 4 == 3 ? lda3 : r % 4 * lda)]);
            s[2 * r] += x * u;
            s[2 * r + 1] += x * v;
        }
#pragma unroll
        for (int g = 0; !packed && g < (rows + 3) / 4; g++) groups[g]++;
    }
    finish(s, rows, 2, &t->to);
}

/* F of every number of rows that a tile can have. */
#if CK_TILE_ROWS == 6
#define EACH_ROW_COUNT(F) F(1) F(2) F(3) F(4) F(5) F(6)
#elif CK_TILE_ROWS == 8
#define EACH_ROW_COUNT(F) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8)
#else
#define EACH_ROW_COUNT(F) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12)
#endif

/* Functions of their own: inlined into one, the compiler joins what tiles of different sizes have in common, and spills for it. */
#define TILES(ROWS)                                                                             \
    static __attribute__((noinline)) void tile_##ROWS(const tile_args *t) { tile(ROWS, 0, t); } \
    static __attribute__((noinline)) void tile_packed_##ROWS(const tile_args *t) { tile(ROWS, 1, t); }
#define ENTRY(ROWS)        tile_##ROWS,
#define PACKED_ENTRY(ROWS) tile_packed_##ROWS,
EACH_ROW_COUNT(TILES)
typedef void (*tile_function)(const tile_args *);
static const tile_function tiles[CK_TILE_ROWS + 1] = {0, EACH_ROW_COUNT(ENTRY)};
static const tile_function packed_tiles[CK_TILE_ROWS + 1] = {0, EACH_ROW_COUNT(PACKED_ENTRY)};
#undef TILES
#undef ENTRY
#undef PACKED_ENTRY

/* Where the second register of a tile finds its columns. */
INLINE const float *second_register(const ck_panel_args *g, const float *b0, int64_t j) {
#if LANES < CK_STRIP
    (void)g, (void)j;
    return b0 + LANES;
#else
    return j + CK_STRIP < g->n ? b0 + CK_STRIP * g->k : b0;
#endif
}

INLINE tile_result result_at(const ck_panel_args *g, int64_t i, int64_t j) {
    return (tile_result){
        .c = g->c + i * g->ldc + j,
        .ldc = g->ldc,
        .columns = g->n - j,
        .accumulate = g->accumulate,
        .scale = g->scale ? g->scale + j : NULL,
        .bias = g->bias ? g->bias + j : NULL,
    };
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
                .to = result_at(g, i, j),
            };
            tiles[rows](&t);
        }
        if (g->act == CK_ACT_NONE) continue;
        for (int64_t r = i; r < i + rows; r++) activation(g->act, g->c + r * g->ldc, g->c + r * g->ldc, g->n);
    }
}
