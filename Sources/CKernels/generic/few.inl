/* Products of some rows with packed weights, which are widened on their way into the registers: reading the weights takes as long
 * as multiplying them, so the next strip is fetched while the rows pass by this one. Every element is the chain of gemm.inl, block
 * of k by block of k, so its bits are those of the other ways. */
typedef struct {
    const float *a;     /* rows side by side */
    const void *packed; /* the strips of one block of k */
    int64_t deep;       /* lines of a strip */
    int64_t from; /* the first register wanted, counted across all strips */
    int64_t last; /* strip that there is */
    const char *next;   /* what is fetched meanwhile, */
    int64_t share;      /* so many bytes of it per line */
    tile_result to;
} few_args;

enum {
    FEW_REGISTERS = TILE_COLUMNS / LANES, /* of columns in a tile */
    WIDE_ROWS = 2,                        /* so few rows' sums would wait for one another: */
    WIDE = 2 * FEW_REGISTERS,             /* their tiles are wider */
    LINE = 64,                            /* bytes that are fetched at once */
};

/* What a tile reads, in registers. */
typedef struct {
    const void *strips[WIDE]; /* one for all registers that a strip has */
    const float *a;
    const char *next;
    int64_t share;
} few_stream;

/* One step of k. `within`: the first register's number in its strip, which is `from`'s remainder. */
INLINE void few_step(int32_t dtype, const int rows, const int registers, const int within, const few_stream *from, int64_t p,
                     vf *sums) {
#pragma clang fp contract(fast)
    vf u[WIDE];
    /* As many lines as this step reads: the share of one tile is all of them. */
#pragma unroll
    for (int64_t b = 0; b < registers * LANES * ck_type_size(dtype); b += LINE) __builtin_prefetch(from->next + p * from->share + b);
#pragma unroll
    for (int q = 0; q < registers; q++)
        u[q] = v_load_line(dtype, from->strips[q / STRIP_REGISTERS], p * CK_STRIP, (within + q) % STRIP_REGISTERS);
#pragma unroll
    for (int r = 0; r < rows; r++) {
        vf x = v_splat(from->a[p * CK_TILE_ROWS + r]);
#pragma unroll
        for (int q = 0; q < registers; q++) ADD_PRODUCT(sums[r * registers + q], x, u[q]);
    }
}

INLINE void few_tile(int32_t dtype, const int rows, const int registers, const int within, const few_args *t) {
    const int64_t deep = t->deep;
    few_stream from = {.a = t->a, .next = t->next, .share = t->share};
    vf sums[MOST_SUMS];
#pragma unroll
    for (int q = 0; q < registers; q += STRIP_REGISTERS) {
        int64_t strip = ck_min((t->from + q) / STRIP_REGISTERS, t->last);
        from.strips[q / STRIP_REGISTERS] = ck_at(t->packed, dtype, strip * CK_STRIP * deep);
    }
#pragma unroll
    for (int i = 0; i < rows * registers; i++) sums[i] = v_splat(0);
    /* Two steps at once, but where the compiler, seeing both, would hold more than there are registers. */
    const int steps = TILE_STEPS == 1 || (LANES == 8 && dtype == CK_F16 && rows == CK_TILE_ROWS) ? 1 : 2;
    int64_t p = 0;
    for (; p + steps <= deep; p += steps)
#pragma unroll
        for (int i = 0; i < steps; i++) few_step(dtype, rows, registers, within, &from, p + i, sums);
    if (p < deep) few_step(dtype, rows, registers, within, &from, p, sums);
    finish(sums, rows, registers, &t->to);
}

/* Where a strip is wider than a tile, a tile begins at its first register or at its middle. */
#define FEW_TILE(TYPE, ROWS)                                                           \
    static __attribute__((noinline)) void few_##TYPE##_##ROWS(const few_args *t) {     \
        if (STRIP_REGISTERS > FEW_REGISTERS && t->from % STRIP_REGISTERS)              \
            few_tile(CK_##TYPE, ROWS, FEW_REGISTERS, FEW_REGISTERS, t);                \
        else                                                                           \
            few_tile(CK_##TYPE, ROWS, ROWS <= WIDE_ROWS ? WIDE : FEW_REGISTERS, 0, t); \
    }
#if CK_PAIRED
#define FEW_TILES(ROWS) FEW_TILE(PAIRS, ROWS)
#else
#define FEW_TILES(ROWS) FEW_TILE(F32, ROWS) FEW_TILE(F16, ROWS) FEW_TILE(BF16, ROWS) FEW_TILE(I8, ROWS)
#endif
#define F32_ENTRY(ROWS)  few_F32_##ROWS,
#define F16_ENTRY(ROWS)  few_F16_##ROWS,
#define BF16_ENTRY(ROWS) few_BF16_##ROWS,
#define I8_ENTRY(ROWS)   few_I8_##ROWS,
#define PAIRS_ENTRY(ROWS) few_PAIRS_##ROWS,
EACH_ROW_COUNT(FEW_TILES)
typedef void (*few_function)(const few_args *);
static const few_function few_tiles[][CK_TILE_ROWS + 1] = {
#if CK_PAIRED
    [CK_PAIRS] = {0, EACH_ROW_COUNT(PAIRS_ENTRY)},
#else
    [CK_F32] = {0, EACH_ROW_COUNT(F32_ENTRY)},
    [CK_F16] = {0, EACH_ROW_COUNT(F16_ENTRY)},
    [CK_BF16] = {0, EACH_ROW_COUNT(BF16_ENTRY)},
    [CK_I8] = {0, EACH_ROW_COUNT(I8_ENTRY)},
#endif
};
#undef FEW_TILE
#undef FEW_TILES
#undef F32_ENTRY
#undef F16_ENTRY
#undef BF16_ENTRY
#undef I8_ENTRY
#undef PAIRS_ENTRY

/* Rows are shared out evenly among as few tiles as hold them: a tile of few rows leaves multipliers idle. So no tile but the only one
 * has WIDE_ROWS rows or fewer. */
static void few_pack(const float *a, int64_t lda, int64_t m, int64_t k, float *to) {
    int64_t tiles = ck_ceil_div(m, CK_TILE_ROWS);
    for (int64_t i = 0, rows; tiles > 0; i += rows, tiles--, to += CK_TILE_ROWS * UNITS(k)) {
        rows = ck_ceil_div(m - i, tiles);
        pack_block(a + i * lda, lda, rows, k, to);
    }
}

static void few_rows(const ck_gemm_args *g) {
    const int32_t dtype = g->dtype;
    const int64_t k = UNITS(g->k), depth = ck_gemm_depth(k);
    int64_t padded = ck_round_up(g->ldb, CK_STRIP), tiles = ck_ceil_div(g->m, CK_TILE_ROWS);
    int64_t registers = g->m <= WIDE_ROWS ? WIDE : FEW_REGISTERS, columns = registers * LANES;
    for (int64_t p = 0; p < k; p += depth) {
        int64_t deep = ck_min(depth, k - p);
        int32_t last = p + deep >= k;
        few_args t = {
            .packed = ck_at(g->b, dtype, p * padded),
            .deep = deep,
            .last = padded / CK_STRIP - 1,
            .share = ck_ceil_div(columns * ck_type_size(dtype), tiles),
            .to = {.ldc = g->ldc, .accumulate = p > 0 || g->accumulate},
        };
        for (int64_t j = 0; j < g->n; j += columns) {
            t.from = (g->first + j) / LANES;
            t.to.columns = g->n - j;
            t.to.scale = last && g->scale ? g->scale + j : NULL;
            t.to.bias = last && g->bias ? g->bias + j : NULL;
            t.a = g->a + p * tiles * CK_TILE_ROWS;
            t.next = ck_at(t.packed, dtype, (t.from + registers) / STRIP_REGISTERS * CK_STRIP * deep);
            for (int64_t i = 0, left = tiles, rows; left > 0; i += rows, left--) {
                rows = ck_ceil_div(g->m - i, left);
                t.to.c = g->c + i * g->ldc + j;
                few_tiles[dtype][rows](&t);
                t.a += CK_TILE_ROWS * deep;
                t.next += deep * t.share;
            }
        }
    }
    if (g->act == CK_ACT_NONE) return;
    for (int64_t r = 0; r < g->m; r++) activation(g->act, g->c + r * g->ldc, g->c + r * g->ldc, g->n);
}
