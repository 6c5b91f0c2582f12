/* The matrix product over a block of A that is packed too, for matrices large enough to repay it. The strip of weights
 * stays in the first-level cache while all rows of the block, in the second-level one, pass by it: per multiply-add that
 * is a fifth of the traffic of the order in gemm.inl, which keeps the rows and lets the weights pass. */

#if LANES == 16
/* 16 units of four rows: the rows side by side for each, those of unit q, q + 4, q + 8 and q + 12 in line q. Blocks of 4 x 4 are
 * transposed where they lie, which is half of the instructions that four columns at a time would take. */
INLINE void transpose_fours(const float *const *rows, int64_t p, vf line[4]) {
#define PAIRS(A, B, X, Y)                                                                                                         \
    __builtin_shufflevector(A, B, X, (X) + 16, Y, (Y) + 16, (X) + 4, (X) + 20, (Y) + 4, (Y) + 20, (X) + 8, (X) + 24, (Y) + 8,     \
                            (Y) + 24, (X) + 12, (X) + 28, (Y) + 12, (Y) + 28)
#define JOINED(A, B, X)                                                                                                           \
    __builtin_shufflevector(A, B, X, (X) + 1, (X) + 16, (X) + 17, (X) + 4, (X) + 5, (X) + 20, (X) + 21, (X) + 8, (X) + 9,         \
                            (X) + 24, (X) + 25, (X) + 12, (X) + 13, (X) + 28, (X) + 29)
    vf a = v_load_units(rows[0] + p), b = v_load_units(rows[1] + p), c = v_load_units(rows[2] + p), d = v_load_units(rows[3] + p);
    vf ab_low = PAIRS(a, b, 0, 1), ab_high = PAIRS(a, b, 2, 3), cd_low = PAIRS(c, d, 0, 1), cd_high = PAIRS(c, d, 2, 3);
    line[0] = JOINED(ab_low, cd_low, 0), line[1] = JOINED(ab_low, cd_low, 2);
    line[2] = JOINED(ab_high, cd_high, 0), line[3] = JOINED(ab_high, cd_high, 2);
#undef PAIRS
#undef JOINED
}
#endif

/* Rows of A in groups of CK_TILE_ROWS, each group one line of CK_TILE_ROWS units per step of k. Missing rows repeat the last
 * one: their results are never stored. */
static void pack_block(const float *a, int64_t lda, int64_t m, int64_t k, float *to) {
    enum { FOURS = CK_TILE_ROWS / 4 };
    for (int64_t i = 0; i < m; i += CK_TILE_ROWS) {
        const float *rows[CK_TILE_ROWS];
        for (int r = 0; r < CK_TILE_ROWS; r++) rows[r] = a + ck_min(i + r, m - 1) * lda;
        int64_t p = 0;
#if LANES == 16
        for (; p + 16 * UNIT <= k; p += 16 * UNIT, to += 16 * CK_TILE_ROWS) {
#pragma unroll
            for (int r = 0; r < CK_TILE_ROWS * UNIT; r++)
                __builtin_prefetch(rows[r / UNIT] + CK_TILE_ROWS * lda + p + r % UNIT * 16);
#pragma unroll
            for (int g = 0; g < FOURS; g++) {
                vf line[4];
                transpose_fours(rows + 4 * g, p, line);
#pragma unroll
                for (int q = 0; q < 4; q++) {
                    f4 parts[4] = {line[q].lo.lo, line[q].lo.hi, line[q].hi.lo, line[q].hi.hi};
#pragma unroll
                    for (int i = 0; i < 4; i++) memcpy(to + (4 * i + q) * CK_TILE_ROWS + 4 * g, &parts[i], sizeof parts[i]);
                }
            }
        }
#endif
        for (; p + 4 * UNIT <= k; p += 4 * UNIT, to += 4 * CK_TILE_ROWS) {
            f4 v[CK_TILE_ROWS];
#pragma unroll
            for (int r = 0; r < CK_TILE_ROWS; r++) v[r] = load4_units(CK_F32, rows[r], p);
#pragma unroll
            for (int g = 0; g < FOURS; g++) {
                f4 *u = v + 4 * g;
                f4 ab_low = __builtin_shufflevector(u[0], u[1], 0, 4, 1, 5);
                f4 ab_high = __builtin_shufflevector(u[0], u[1], 2, 6, 3, 7);
                f4 cd_low = __builtin_shufflevector(u[2], u[3], 0, 4, 1, 5);
                f4 cd_high = __builtin_shufflevector(u[2], u[3], 2, 6, 3, 7);
                f4 line[4] = {__builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5),
                              __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
                              __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5),
                              __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
#pragma unroll
                for (int q = 0; q < 4; q++) memcpy(to + q * CK_TILE_ROWS + 4 * g, &line[q], sizeof line[q]);
            }
#if CK_TILE_ROWS % 4 == 2
            f4 *u = v + 4 * FOURS;
            f4 pairs[2] = {__builtin_shufflevector(u[0], u[1], 0, 4, 1, 5), __builtin_shufflevector(u[0], u[1], 2, 6, 3, 7)};
#pragma unroll
            for (int q = 0; q < 4; q++)
                memcpy(to + q * CK_TILE_ROWS + 4 * FOURS, (const float *)pairs + 2 * q, 2 * sizeof(float));
#endif
        }
        for (; p < k; p += UNIT, to += CK_TILE_ROWS)
            for (int r = 0; r < CK_TILE_ROWS; r++) to[r] = load_unit(CK_F32, rows[r], p, k);
    }
}

/* The same of a matrix that lies by columns: the rows of a group already stand side by side. */
#if CK_PAIRED
static void pack_block_columns(const float *a, int64_t lda, int64_t m, int64_t k, float *to) {
    for (int64_t p = 0; p < k; p += UNIT, to += CK_TILE_ROWS)
        for (int64_t i = 0; i < m; i += CK_TILE_ROWS)
            for (int64_t r = 0; r < CK_TILE_ROWS; r += LANES) { /* zeros for missing rows */
                int64_t there = ck_max(0, ck_min(m - i - r, LANES)), wide = ck_min(CK_TILE_ROWS - r, LANES);
                const float *from = a + p * lda + i + r;
                vf second = p + 1 < k ? v_load_part(from + lda, ck_min(there, wide)) : v_splat(0);
                v_store_part(to + i * UNITS(k) + r, v_units(v_load_part(from, ck_min(there, wide)), second), wide);
            }
}
#else
static void pack_block_columns(const float *a, int64_t lda, int64_t m, int64_t k, float *to) {
    for (int64_t i = 0; i < m; i += CK_TILE_ROWS) {
        int64_t rows = ck_min(CK_TILE_ROWS, m - i);
        for (int64_t p = 0; p < k; p++, to += CK_TILE_ROWS) {
            const float *from = a + p * lda + i;
            if (rows == CK_TILE_ROWS) memcpy(to, from, CK_TILE_ROWS * sizeof *to);
            else for (int r = 0; r < CK_TILE_ROWS; r++) to[r] = from[ck_min(r, rows - 1)];
        }
    }
}

#endif

/* Fetches the lines that a tile will write before they are asked for. */
INLINE void fetch_result(const tile_result *t, int64_t rows) {
    int64_t last = ck_min(t->columns, TILE_COLUMNS) - 1;
    for (int64_t r = 0; r < rows; r++) {
        __builtin_prefetch(t->c + r * t->ldc, 1);
        __builtin_prefetch(t->c + r * t->ldc + last, 1);
    }
}

/* An activation of a tile's results, the switch taken once for all of its rows. */
INLINE void activate_rows(int32_t act, float *c, int64_t ldc, int64_t rows, int64_t columns) {
    if (columns == TILE_COLUMNS) {
        for (int64_t r = 0; r < rows; r++, c += ldc) {
            vf first = v_activate(act, v_load(c)), second = v_activate(act, v_load(c + LANES));
            v_store(c, first);
            v_store(c + LANES, second);
        }
        return;
    }
    for (int64_t r = 0; r < rows; r++, c += ldc) activate_array(act, c, c, columns);
}
static void activation_of_tile(int32_t act, float *c, int64_t ldc, int64_t rows, int64_t columns) {
    WITH_ACTIVATION(act, activate_rows, c, ldc, rows, columns)
}

/* `a` is a block by pack_block. The tiles of a strip fetch what comes next, each its share, step by step: asked for at once, so many
 * lines would keep the tile's own waiting. */
static void gemm_block(const ck_panel_args *g) {
    int64_t strip = g->k * TILE_COLUMNS, steps = ck_max(ck_ceil_div(g->m, CK_TILE_ROWS) * g->k, 1);
    for (int64_t j = 0; j < g->n; j += TILE_COLUMNS) {
        const float *b0 = g->packed + j / CK_STRIP * CK_STRIP * g->k + j % CK_STRIP;
        int32_t last = j + TILE_COLUMNS >= g->n;
        const char *next = last ? g->next : (const char *)(b0 + strip);
        int64_t share = ck_ceil_div(last ? g->next_bytes : strip * (int64_t)sizeof(float), steps);
        if (!next) next = (const char *)b0, share = 0;
        for (int64_t i = 0; i < g->m; i += CK_TILE_ROWS) {
            int64_t rows = ck_min(CK_TILE_ROWS, g->m - i);
            tile_args t = {
                .a = g->a + i * g->k,
                .b0 = b0,
                .b1 = second_register(g, b0, j),
                .k = g->k,
                .next = next,
                .share = share,
                .to = result_at(g, i, j),
            };
            next += share * g->k;
            fetch_result(&t.to, rows);
            run_tile(1, rows, &t);
            if (g->act != CK_ACT_NONE) activation_of_tile(g->act, t.to.c, t.to.ldc, rows, ck_min(t.to.columns, TILE_COLUMNS));
        }
    }
}
