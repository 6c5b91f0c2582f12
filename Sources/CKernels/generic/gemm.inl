/* The register tile of the matrix product and the packing it wants: CK_TILE_ROWS rows of A, read in place, times one
 * packed strip of two registers' width. Every element of the result is one chain of multiply-adds in the order of k,
 * in full tiles and at the edges alike: this is what makes a row's bits independent of the rows beside it. */
#define CK_STRIP (2 * LANES)

INLINE void tile(const int rows, const float *a, int64_t lda, const float *b, int64_t k, float *c, int64_t ldc,
                 int64_t columns, int32_t accumulate) {
#pragma clang fp contract(fast)
    vf s[CK_TILE_ROWS][2];
#pragma unroll
    for (int r = 0; r < rows; r++) s[r][0] = s[r][1] = v_splat(0);
#pragma unroll 4
    for (int64_t p = 0; p < k; p++) {
        vf b0 = v_load(b + p * CK_STRIP), b1 = v_load(b + p * CK_STRIP + LANES);
#pragma unroll
        for (int r = 0; r < rows; r++) {
            vf x = v_splat(a[r * lda + p]);
            s[r][0] += x * b0;
            s[r][1] += x * b1;
        }
    }
    if (columns == CK_STRIP) {
#pragma unroll
        for (int r = 0; r < rows; r++) {
            float *to = c + r * ldc;
            if (accumulate) {
                s[r][0] += v_load(to);
                s[r][1] += v_load(to + LANES);
            }
            v_store(to, s[r][0]);
            v_store(to + LANES, s[r][1]);
        }
        return;
    }
    for (int r = 0; r < rows; r++) {
        float t[CK_STRIP];
        v_store(t, s[r][0]);
        v_store(t + LANES, s[r][1]);
        for (int64_t j = 0; j < columns; j++) c[r * ldc + j] = accumulate ? t[j] + c[r * ldc + j] : t[j];
    }
}

#define TILE_FUNCTION(ROWS)                                                                                     \
    static __attribute__((noinline)) void tile_##ROWS(const float *a, int64_t lda, const float *b, int64_t k,   \
                                                      float *c, int64_t ldc, int64_t columns, int32_t more) {   \
        tile(ROWS, a, lda, b, k, c, ldc, columns, more);                                                        \
    }
TILE_FUNCTION(1) TILE_FUNCTION(2) TILE_FUNCTION(3) TILE_FUNCTION(4) TILE_FUNCTION(5) TILE_FUNCTION(6)
#if CK_TILE_ROWS >= 8
TILE_FUNCTION(7) TILE_FUNCTION(8)
#endif
#if CK_TILE_ROWS >= 12
TILE_FUNCTION(9) TILE_FUNCTION(10) TILE_FUNCTION(11) TILE_FUNCTION(12)
#endif
#undef TILE_FUNCTION

typedef void (*tile_function)(const float *, int64_t, const float *, int64_t, float *, int64_t, int64_t, int32_t);
static const tile_function tiles[CK_TILE_ROWS + 1] = {
    0, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6,
#if CK_TILE_ROWS >= 8
    tile_7, tile_8,
#endif
#if CK_TILE_ROWS >= 12
    tile_9, tile_10, tile_11, tile_12,
#endif
};

INLINE void finish_row(int32_t act, float *row, const float *bias, int64_t n) {
    int64_t i = 0;
    for (; i < n; i += LANES) {
        int64_t left = n - i;
        if (left >= LANES) {
            vf v = v_load(row + i);
            if (bias) v = v + v_load(bias + i);
            v_store(row + i, v_activate(act, v));
        } else {
            vf v = v_load_part(row + i, left);
            if (bias) v = v + v_load_part(bias + i, left);
            v_store_part(row + i, v_activate(act, v), left);
        }
    }
}

static void gemm_panel(const float *a, int64_t lda, const float *packed, float *c, int64_t ldc, int64_t m, int64_t n,
                       int64_t k, int32_t accumulate, int32_t finish, const float *bias, int32_t act) {
    for (int64_t i = 0; i < m; i += CK_TILE_ROWS) {
        int64_t rows = ck_min(CK_TILE_ROWS, m - i);
        for (int64_t j = 0; j < n; j += CK_STRIP)
            tiles[rows](a + i * lda, lda, packed + j * k, k, c + i * ldc + j, ldc, ck_min(CK_STRIP, n - j), accumulate);
        if (!finish || (!bias && act == CK_ACT_NONE)) continue;
        for (int64_t r = i; r < i + rows; r++) { WITH_ACTIVATION(act, finish_row, c + r * ldc, bias, n) }
    }
}

/* ---- packing ---- */

INLINE f4 load4_as(int32_t dtype, const void *p, int64_t i) {
    if (dtype == CK_F32) {
        f4 v;
        memcpy(&v, (const float *)p + i, sizeof v);
        return v;
    }
    h4 h;
    memcpy(&h, (const uint16_t *)p + i, sizeof h);
    if (dtype == CK_BF16) return (f4)(__builtin_convertvector(h, u4) << 16);
#if CK_HALF_HARDWARE
    typedef _Float16 half4 __attribute__((ext_vector_type(4)));
    return __builtin_convertvector((half4)h, f4);
#else
    return (f4){half_to_float(h.x), half_to_float(h.y), half_to_float(h.z), half_to_float(h.w)};
#endif
}

/* Four columns of LANES rows: lane group g of a register holds row 4g + i, so a transposition of 4 x 4 blocks inside
 * the groups puts LANES rows side by side without crossing between groups, which would cost more. */
#if LANES == 4
#define JOIN(V, I) V[I]
#define SHUFFLE(A, B, W, X, Y, Z) __builtin_shufflevector(A, B, W, X, (Y) + 4, (Z) + 4)
#elif LANES == 8
#define JOIN(V, I) __builtin_shufflevector(V[I], V[I + 4], 0, 1, 2, 3, 4, 5, 6, 7)
#define SHUFFLE(A, B, W, X, Y, Z) \
    __builtin_shufflevector(A, B, W, X, (Y) + 8, (Z) + 8, (W) + 4, (X) + 4, (Y) + 12, (Z) + 12)
#else
#define JOIN(V, I)                                                                                                 \
    __builtin_shufflevector(__builtin_shufflevector(V[I], V[I + 4], 0, 1, 2, 3, 4, 5, 6, 7),                       \
                            __builtin_shufflevector(V[I + 8], V[I + 12], 0, 1, 2, 3, 4, 5, 6, 7), 0, 1, 2, 3, 4, 5, \
                            6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define SHUFFLE(A, B, W, X, Y, Z)                                                                                   \
    __builtin_shufflevector(A, B, W, X, (Y) + 16, (Z) + 16, (W) + 4, (X) + 4, (Y) + 20, (Z) + 20, (W) + 8, (X) + 8, \
                            (Y) + 24, (Z) + 24, (W) + 12, (X) + 12, (Y) + 28, (Z) + 28)
#endif
INLINE void pack_four(int32_t dtype, const void *const *rows, int64_t p, float *to) {
    f4 v[LANES];
#pragma unroll
    for (int r = 0; r < LANES; r++) v[r] = load4_as(dtype, rows[r], p);
    vf a = JOIN(v, 0), b = JOIN(v, 1), c = JOIN(v, 2), d = JOIN(v, 3);
    vf ab_low = SHUFFLE(a, b, 0, 1, 0, 1), ab_high = SHUFFLE(a, b, 2, 3, 2, 3);
    vf cd_low = SHUFFLE(c, d, 0, 1, 0, 1), cd_high = SHUFFLE(c, d, 2, 3, 2, 3);
    v_store(to, SHUFFLE(ab_low, cd_low, 0, 2, 0, 2));
    v_store(to + CK_STRIP, SHUFFLE(ab_low, cd_low, 1, 3, 1, 3));
    v_store(to + 2 * CK_STRIP, SHUFFLE(ab_high, cd_high, 0, 2, 0, 2));
    v_store(to + 3 * CK_STRIP, SHUFFLE(ab_high, cd_high, 1, 3, 1, 3));
}
#undef JOIN
#undef SHUFFLE

INLINE void pack_rows_as(int32_t dtype, const void *b, int64_t ldb, int64_t n, int64_t k, float *packed) {
    for (int64_t j = 0; j < n; j += CK_STRIP, packed += k * CK_STRIP) {
        for (int64_t half = 0; half < CK_STRIP; half += LANES) {
            /* Missing columns repeat the last one: their results are never stored. */
            const void *rows[LANES];
            for (int r = 0; r < LANES; r++) rows[r] = ck_at(b, dtype, ck_min(j + half + r, n - 1) * ldb);
            int64_t p = 0;
            for (; p + 4 <= k; p += 4) pack_four(dtype, rows, p, packed + p * CK_STRIP + half);
            for (; p < k; p++)
                for (int r = 0; r < LANES; r++) packed[p * CK_STRIP + half + r] = load_as(dtype, rows[r], p);
        }
    }
}

static void pack_rows(int32_t dtype, const void *b, int64_t ldb, int64_t n, int64_t k, float *packed) {
    if (dtype == CK_F32) pack_rows_as(CK_F32, b, ldb, n, k, packed);
    else if (dtype == CK_F16) pack_rows_as(CK_F16, b, ldb, n, k, packed);
    else pack_rows_as(CK_BF16, b, ldb, n, k, packed);
}

static void pack_cols(const float *b, int64_t ldb, int64_t n, int64_t k, float *packed) {
    for (int64_t j = 0; j < n; j += CK_STRIP, packed += k * CK_STRIP) {
        int64_t columns = ck_min(CK_STRIP, n - j);
        for (int64_t p = 0; p < k; p++) {
            const float *from = b + p * ldb + j;
            float *to = packed + p * CK_STRIP;
            if (columns == CK_STRIP) {
                v_store(to, v_load(from));
                v_store(to + LANES, v_load(from + LANES));
            } else {
                for (int64_t i = 0; i < CK_STRIP; i++) to[i] = i < columns ? from[i] : 0.0f;
            }
        }
    }
}
