/* Packing: columns of a k x n matrix in strips of CK_STRIP, each strip a line of CK_STRIP units for each step of k. */

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
    for (int r = 0; r < LANES; r++) v[r] = load4_units(dtype, rows[r], p * UNIT);
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

enum { LINE_FLOATS = 16 /* of a cache line */ };

INLINE void pack_rows_as(int32_t dtype, const void *b, int64_t ldb, int64_t n, int64_t k, float *packed) {
    const int64_t units = UNITS(k);
    for (int64_t j = 0; j < n; j += CK_STRIP, packed += units * CK_STRIP) {
        for (int64_t half = 0; half < CK_STRIP; half += LANES) {
            /* Missing columns repeat the last one: their results are never stored. */
            const void *rows[LANES];
            for (int r = 0; r < LANES; r++) rows[r] = ck_at(b, dtype, ck_min(j + half + r, n - 1) * ldb);
            const void *next = ck_at(rows[0], dtype, LANES * ldb); /* too far apart for the processor to foresee */
            int64_t p = 0;
            for (; (p + 4) * UNIT <= k; p += 4) {
                if (p * UNIT % LINE_FLOATS == 0)
                    for (int r = 0; r < LANES; r++) __builtin_prefetch(ck_at(next, dtype, r * ldb + p * UNIT));
                pack_four(dtype, rows, p, packed + p * CK_STRIP + half);
            }
            for (; p < units; p++)
                for (int r = 0; r < LANES; r++) packed[p * CK_STRIP + half + r] = load_unit(dtype, rows[r], p * UNIT, k);
        }
    }
}

static void pack_rows(int32_t dtype, const void *b, int64_t ldb, int64_t n, int64_t k, float *packed) {
    if (dtype == CK_F32) pack_rows_as(CK_F32, b, ldb, n, k, packed);
    else if (dtype == CK_F16) pack_rows_as(CK_F16, b, ldb, n, k, packed);
    else pack_rows_as(CK_BF16, b, ldb, n, k, packed);
}

static void pack_cols(const float *b, int64_t ldb, int64_t n, int64_t k, float *packed) {
    enum { AHEAD = 8 }; /* rows */
    const int64_t whole = n / CK_STRIP * CK_STRIP, units = UNITS(k);
    for (int64_t p = 0; p < units; p++) {
        const float *from = b + p * UNIT * ldb, *second = p * UNIT + 1 < k ? from + ldb : NULL;
        float *to = packed + p * CK_STRIP;
        int64_t j = 0;
        for (; j < whole; j += CK_STRIP, to += units * CK_STRIP) {
            __builtin_prefetch(from + AHEAD * ldb + j);
            if (UNIT > 1) __builtin_prefetch(from + (AHEAD + 1) * ldb + j);
            for (int64_t i = 0; i < CK_STRIP; i += LANES)
                v_store(to + i, v_units(v_load(from + j + i), second ? v_load(second + j + i) : v_splat(0)));
        }
        for (int64_t i = 0; j < n && i < CK_STRIP; i += LANES) {
            int64_t left = ck_max(0, ck_min(n - j - i, LANES));
            v_store(to + i, v_units(v_load_part(from + j + i, left), second ? v_load_part(second + j + i, left) : v_splat(0)));
        }
    }
}
