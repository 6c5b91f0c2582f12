/* The register tile of the matrix product: CK_TILE_ROWS rows of A, read in place or packed side by side, times two registers' width of
 * packed columns, or one where that holds the last of them. Every element of the result is one chain of multiply-adds in the order of
 * k, in full tiles and at the edges alike: this is what makes a row's bits independent of the rows beside it.
 *
 * Packed strips are CK_STRIP columns wide on every instruction set, so that weights packed once fit all of them: narrow
 * registers take a strip in several tiles, wide ones take two strips in one. A step of k is a unit of 32 bits (units.inl). */
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
    const char *next; /* packed rows only: what is fetched meanwhile, */
    int64_t share;    /* so many bytes of it per step of k */
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

INLINE void tile(const int rows, const int registers, const int packed, const tile_args *t) {
#pragma clang fp contract(fast)
    const float *a = t->a, *b0 = t->b0, *b1 = t->b1;
    const int64_t lda = t->lda, lda3 = 3 * lda, k = t->k;
    /* Rows in place: a pointer for every four, the others of which are reached through one stride and three of them. That it is unknown
     * where the pointers stand keeps the compiler from making one for each row, for which there are not enough registers. */
    const float *fours[(CK_TILE_ROWS + 3) / 4];
    const char *next = t->next;
    const int64_t share = t->share;
    vf sums[MOST_SUMS];
#pragma unroll
    for (int i = 0; i < (rows + 3) / 4; i++) fours[i] = a + 4 * i * lda;
#pragma unroll
    for (int i = 0; i < rows * registers; i++) sums[i] = v_splat(0);
#pragma unroll TILE_STEPS
    for (int64_t p = 0; p < k; p++) {
        if (packed) __builtin_prefetch(next + p * share, 0, 2);
        vf u = v_load(b0 + p * CK_STRIP), v = registers > 1 ? v_load(b1 + p * CK_STRIP) : u;
#pragma unroll
        for (int i = 0; !packed && i < (rows + 3) / 4; i++) __asm__("" : "+r"(fours[i]));
#pragma unroll
        for (int r = 0; r < rows; r++) {
            vf x = v_splat(packed ? a[p * CK_TILE_ROWS + r] : fours[r / 4][r % 4 == 3 ? lda3 : r % 4 * lda]);
            ADD_PRODUCT(sums[r * registers], x, u);
            if (registers > 1) ADD_PRODUCT(sums[r * registers + 1], x, v);
        }
#pragma unroll
        for (int i = 0; !packed && i < (rows + 3) / 4; i++) fours[i]++;
    }
    finish(sums, rows, registers, &t->to);
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
#define TILE(NAME, ROWS, REGISTERS, PACKED) \
    static __attribute__((noinline)) void NAME##_##ROWS(const tile_args *t) { tile(ROWS, REGISTERS, PACKED, t); }
#if CK_PAIRED
#define IN_PLACE(...) /* rows of pairs are packed ones */
#else
#define IN_PLACE(...) __VA_ARGS__
#endif
#define TILES(ROWS)                        \
    IN_PLACE(TILE(tile, ROWS, 2, 0))        \
    TILE(tile_packed, ROWS, 2, 1)           \
    IN_PLACE(TILE(tile_narrow, ROWS, 1, 0)) \
    TILE(tile_narrow_packed, ROWS, 1, 1)
#define WIDE_ENTRY(ROWS)          tile_##ROWS,
#define WIDE_PACKED_ENTRY(ROWS)   tile_packed_##ROWS,
#define NARROW_ENTRY(ROWS)        tile_narrow_##ROWS,
#define NARROW_PACKED_ENTRY(ROWS) tile_narrow_packed_##ROWS,
EACH_ROW_COUNT(TILES)
typedef void (*tile_function)(const tile_args *);
static const tile_function tiles[2][2][CK_TILE_ROWS + 1] = {
    IN_PLACE([0] = {{0, EACH_ROW_COUNT(WIDE_ENTRY)}, {0, EACH_ROW_COUNT(NARROW_ENTRY)}}, )
    [1] = {{0, EACH_ROW_COUNT(WIDE_PACKED_ENTRY)}, {0, EACH_ROW_COUNT(NARROW_PACKED_ENTRY)}},
};
#undef TILE
#undef TILES
#undef WIDE_ENTRY
#undef WIDE_PACKED_ENTRY
#undef NARROW_ENTRY
#undef NARROW_PACKED_ENTRY

/* The last columns take a tile of one register where that holds them. */
INLINE void run_tile(int packed, int64_t rows, const tile_args *t) { tiles[packed][t->to.columns <= LANES][rows](t); }

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

#if !CK_PAIRED
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
            run_tile(0, rows, &t);
        }
        if (g->act == CK_ACT_NONE) continue;
        for (int64_t r = i; r < i + rows; r++) activation(g->act, g->c + r * g->ldc, g->c + r * g->ldc, g->n);
    }
}
#endif
