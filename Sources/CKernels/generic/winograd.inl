/* 3 x 3 convolutions by Winograd's transforms: F(2x2, 3x3) with the points 0, 1, -1 and F(4x4, 3x3) with 0, +-5/8, +-3/2, both with
 * infinity. Denominators of the Lagrange polynomials stand with the weights, so every factor met here but theirs is exact. With
 * 16 tiles side by side a transform is the same few steps for each register, whatever its width. */

enum { LINE_TAPS = 9 }; /* of a 3 x 3 kernel */

#define POINT_A   0.625f
#define POINT_B   1.5f
#define SQUARE_A  0.390625f
#define SQUARE_B  2.25f
#define SQUARES   2.640625f   /* the sum of both */
#define SQUARE_AB 0.87890625f /* their product */

/* `side` is 4 or 6 and a constant wherever these are inlined. One line of the transform of the input; of weights; of results. */
INLINE void input_line(const int side, const vf *d, vf *t) {
    if (side == 4) {
        t[0] = d[0] - d[2];
        t[1] = d[1] + d[2];
        t[2] = d[2] - d[1];
        t[3] = d[3] - d[1];
        return;
    }
    vf even_a = v_multiply_add(v_splat(-SQUARE_B), d[2], d[4]), odd_a = v_multiply_add(v_splat(-SQUARE_B), d[1], d[3]);
    vf even_b = v_multiply_add(v_splat(-SQUARE_A), d[2], d[4]), odd_b = v_multiply_add(v_splat(-SQUARE_A), d[1], d[3]);
    t[0] = v_multiply_add(v_splat(SQUARE_AB), d[0], v_multiply_add(v_splat(-SQUARES), d[2], d[4]));
    t[1] = v_multiply_add(v_splat(POINT_A), odd_a, even_a);
    t[2] = v_multiply_add(v_splat(-POINT_A), odd_a, even_a);
    t[3] = v_multiply_add(v_splat(POINT_B), odd_b, even_b);
    t[4] = v_multiply_add(v_splat(-POINT_B), odd_b, even_b);
    t[5] = v_multiply_add(v_splat(SQUARE_AB), d[1], v_multiply_add(v_splat(-SQUARES), d[3], d[5]));
}

INLINE void weight_line(const int side, const vf *g, vf *u) {
    if (side == 4) {
        vf even = (g[0] + g[2]) * 0.5f, odd = g[1] * 0.5f;
        u[0] = g[0];
        u[1] = even + odd;
        u[2] = even - odd;
        u[3] = g[2];
        return;
    }
    const double over_a = 1 / (2 * (double)SQUARE_A * ((double)SQUARE_A - SQUARE_B));
    const double over_b = 1 / (2 * (double)SQUARE_B * ((double)SQUARE_B - SQUARE_A));
    vf even_a = v_multiply_add(v_splat((float)(SQUARE_A * over_a)), g[2], g[0] * (float)over_a);
    vf even_b = v_multiply_add(v_splat((float)(SQUARE_B * over_b)), g[2], g[0] * (float)over_b);
    u[0] = g[0] * (float)(1 / (double)SQUARE_AB);
    u[1] = v_multiply_add(v_splat((float)(POINT_A * over_a)), g[1], even_a);
    u[2] = v_multiply_add(v_splat((float)(-POINT_A * over_a)), g[1], even_a);
    u[3] = v_multiply_add(v_splat((float)(POINT_B * over_b)), g[1], even_b);
    u[4] = v_multiply_add(v_splat((float)(-POINT_B * over_b)), g[1], even_b);
    u[5] = g[2];
}

INLINE void result_line(const int side, const vf *s, vf *y) {
    vf sum_a = s[1] + s[2], difference_a = s[1] - s[2];
    if (side == 4) {
        y[0] = s[0] + sum_a;
        y[1] = difference_a + s[3];
        return;
    }
    vf sum_b = s[3] + s[4], difference_b = s[3] - s[4];
    y[0] = s[0] + (sum_a + sum_b);
    y[1] = v_multiply_add(v_splat(POINT_A), difference_a, difference_b * POINT_B);
    y[2] = v_multiply_add(v_splat(SQUARE_A), sum_a, sum_b * SQUARE_B);
    y[3] = v_multiply_add(v_splat(POINT_A * SQUARE_A), difference_a,
                          v_multiply_add(v_splat(POINT_B * SQUARE_B), difference_b, s[5]));
}

/* d: [side][side][CK_STRIP], tiles side by side; to: their transforms, `stride` apart. */
INLINE void input_tiles(const int side, const float *d, float *to, int64_t stride) {
    for (int64_t half = 0; half < CK_STRIP; half += LANES) {
        vf rows[6 * 6], line[6], turned[6];
#pragma unroll
        for (int j = 0; j < side; j++) {
#pragma unroll
            for (int i = 0; i < side; i++) line[i] = v_load(d + (i * side + j) * CK_STRIP + half);
            input_line(side, line, turned);
#pragma unroll
            for (int i = 0; i < side; i++) rows[i * side + j] = turned[i];
        }
#pragma unroll
        for (int i = 0; i < side; i++) {
            input_line(side, rows + i * side, turned);
#pragma unroll
            for (int j = 0; j < side; j++) v_store(to + (i * side + j) * stride + half, turned[j]);
        }
    }
}
static void winograd_input(int32_t side, const float *d, float *to, int64_t stride) {
    if (side == 4) input_tiles(4, d, to, stride);
    else input_tiles(6, d, to, stride);
}

/* lines: [9 * k][CK_TILE_ROWS], by pack_block; to: k lines of CK_TILE_ROWS for each point, `stride` apart. Whole registers are read
 * and written, up to LANES floats past the last line: what comes behind is written later, or is room to spare. */
INLINE void weight_lines(const int side, const float *lines, int64_t k, float *to, int64_t stride) {
    for (int64_t p = 0; p < k; p++, lines += LINE_TAPS * CK_TILE_ROWS, to += CK_TILE_ROWS) {
        for (int64_t r = 0; r < CK_TILE_ROWS; r += LANES) {
            vf rows[6 * 3], line[3], turned[6];
#pragma unroll
            for (int j = 0; j < 3; j++) {
#pragma unroll
                for (int i = 0; i < 3; i++) line[i] = v_load(lines + (i * 3 + j) * CK_TILE_ROWS + r);
                weight_line(side, line, turned);
#pragma unroll
                for (int i = 0; i < side; i++) rows[i * 3 + j] = turned[i];
            }
#pragma unroll
            for (int i = 0; i < side; i++) {
                weight_line(side, rows + i * 3, turned);
#pragma unroll
                for (int j = 0; j < side; j++) v_store(to + (i * side + j) * stride + r, turned[j]);
            }
        }
    }
}
static void winograd_weights(int32_t side, const float *lines, int64_t k, float *to, int64_t stride) {
    if (side == 4) weight_lines(4, lines, k, to, stride);
    else weight_lines(6, lines, k, to, stride);
}

/* The elements of two registers by turns: of their lower and of their upper halves. */
#if LANES == 4
#define BY_TURNS(A, B, X) __builtin_shufflevector(A, B, X, (X) + 4, (X) + 1, (X) + 5)
#elif LANES == 8
#define BY_TURNS(A, B, X) \
    __builtin_shufflevector(A, B, X, (X) + 8, (X) + 1, (X) + 9, (X) + 2, (X) + 10, (X) + 3, (X) + 11)
#else
#define BY_TURNS(A, B, X)                                                                                                         \
    __builtin_shufflevector(A, B, X, (X) + 16, (X) + 1, (X) + 17, (X) + 2, (X) + 18, (X) + 3, (X) + 19, (X) + 4, (X) + 20,        \
                            (X) + 5, (X) + 21, (X) + 6, (X) + 22, (X) + 7, (X) + 23)
#endif
INLINE void store_by_turns(const int count, const vf *y, float *to) {
    if (count == 2) {
        v_store(to, BY_TURNS(y[0], y[1], 0));
        v_store(to + LANES, BY_TURNS(y[0], y[1], LANES / 2));
        return;
    }
    vf even = BY_TURNS(y[0], y[2], 0), odd = BY_TURNS(y[1], y[3], 0);
    v_store(to, BY_TURNS(even, odd, 0));
    v_store(to + LANES, BY_TURNS(even, odd, LANES / 2));
    even = BY_TURNS(y[0], y[2], LANES / 2), odd = BY_TURNS(y[1], y[3], LANES / 2);
    v_store(to + 2 * LANES, BY_TURNS(even, odd, 0));
    v_store(to + 3 * LANES, BY_TURNS(even, odd, LANES / 2));
}

/* The products of CK_STRIP tiles, points `stride` apart, to the lines of their results: side - 2 lines of CK_STRIP * (side - 2). Those
 * `ahead` are fetched meanwhile: so many places at once no processor foresees. */
INLINE void result_tiles(const int side, const float *sums, int64_t stride, int64_t ahead, float *lines) {
    const int out = side - 2;
    for (int64_t half = 0; half < CK_STRIP; half += LANES) {
        vf rows[4 * 6], line[6], turned[4];
#pragma unroll
        for (int j = 0; j < side; j++) {
#pragma unroll
            for (int i = 0; i < side; i++) {
                const float *from = sums + (i * side + j) * stride + half;
                __builtin_prefetch(from + ahead);
                line[i] = v_load(from);
            }
            result_line(side, line, turned);
#pragma unroll
            for (int i = 0; i < out; i++) rows[i * side + j] = turned[i];
        }
#pragma unroll
        for (int i = 0; i < out; i++) {
            result_line(side, rows + i * side, turned);
            store_by_turns(out, turned, lines + (i * CK_STRIP + half) * out);
        }
    }
}
static void winograd_result(int32_t side, const float *sums, int64_t stride, int64_t ahead, float *lines) {
    if (side == 4) result_tiles(4, sums, stride, ahead, lines);
    else result_tiles(6, sums, stride, ahead, lines);
}

/* Pixels to tiles, in registers all the way: a line that was written a moment ago and is read at other places would have to wait. */
#if LANES == 4
#define EVERY_OTHER(A, B, X) __builtin_shufflevector(A, B, X, (X) + 2, (X) + 4, (X) + 6)
#define BEHIND(A, B, X)      __builtin_shufflevector(A, B, 1, 2, 3, 4 + (X))
#define TWICE(A, X)          __builtin_shufflevector(A, A, 0, (X), 1, 1 + (X))
#elif LANES == 8
#define EVERY_OTHER(A, B, X) __builtin_shufflevector(A, B, X, (X) + 2, (X) + 4, (X) + 6, (X) + 8, (X) + 10, (X) + 12, (X) + 14)
#define BEHIND(A, B, X)      __builtin_shufflevector(A, B, 1, 2, 3, 4, 5, 6, 7, 8 + (X))
#define TWICE(A, X)          __builtin_shufflevector(A, A, 0, (X), 1, 1 + (X), 2, 2 + (X), 3, 3 + (X))
#else
#define EVERY_OTHER(A, B, X)                                                                                                      \
    __builtin_shufflevector(A, B, X, (X) + 2, (X) + 4, (X) + 6, (X) + 8, (X) + 10, (X) + 12, (X) + 14, (X) + 16, (X) + 18,        \
                            (X) + 20, (X) + 22, (X) + 24, (X) + 26, (X) + 28, (X) + 30)
#define BEHIND(A, B, X) __builtin_shufflevector(A, B, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 + (X))
#define TWICE(A, X)                                                                                                               \
    __builtin_shufflevector(A, A, 0, (X), 1, 1 + (X), 2, 2 + (X), 3, 3 + (X), 4, 4 + (X), 5, 5 + (X), 6, 6 + (X), 7, 7 + (X))
#endif

/* Pixels x ... x + LANES - 1 of a line, zeros outside. `norm` is 0: as they are, 1: normalised, 2: and SiLU. */
INLINE vf take_pixels(const int norm, const ck_tile_lines *l, const float *line, int64_t x) {
    const int64_t inside = l->width * l->up;
    vf v;
    if (l->up == 1) {
        __builtin_prefetch(line + x + l->ahead);
        v = v_load_between(line + x, -x, l->width - x);
    } else {
        int64_t from = x >> 1; /* also of those before the first */
        __builtin_prefetch(line + from + l->ahead);
        vf u = v_load_between(line + from, -from, l->width - from);
        v = x & 1 ? TWICE(u, 1) : TWICE(u, 0);
    }
    if (norm == 0) return v;
    v = v_affine(v, l->norm[0], l->norm[1], l->norm[2]);
    if (norm == 2) v = v_silu(v);
    return x >= 0 && x + LANES <= inside ? v : v_between(v, -x, inside - x);
}

/* to[i][j][t] is pixel (side - 2) t + j of line i. */
INLINE void take_tiles(const int side, const int norm, const ck_tile_lines *l, float *to) {
    const int step = side - 2;
    for (int64_t t = 0; t < l->count; t += LANES) {
        for (int i = 0; i < side; i++) {
            float *row = to + i * side * CK_STRIP + t;
            vf v[5], d[6];
#pragma unroll
            for (int q = 0; q <= step; q++)
                v[q] = l->lines[i] ? take_pixels(norm, l, l->lines[i], l->x + t * step + q * LANES) : v_splat(0);
            if (step == 2) {
                d[0] = EVERY_OTHER(v[0], v[1], 0), d[1] = EVERY_OTHER(v[0], v[1], 1);
            } else {
                vf even = EVERY_OTHER(v[0], v[1], 0), even2 = EVERY_OTHER(v[2], v[3], 0);
                vf odd = EVERY_OTHER(v[0], v[1], 1), odd2 = EVERY_OTHER(v[2], v[3], 1);
                d[0] = EVERY_OTHER(even, even2, 0), d[2] = EVERY_OTHER(even, even2, 1);
                d[1] = EVERY_OTHER(odd, odd2, 0), d[3] = EVERY_OTHER(odd, odd2, 1);
            }
            d[step] = BEHIND(d[0], v[step], 0), d[step + 1] = BEHIND(d[1], v[step], 1);
            if (l->count - t >= LANES)
#pragma unroll
                for (int j = 0; j < side; j++) v_store(row + j * CK_STRIP, d[j]);
            else
#pragma unroll
                for (int j = 0; j < side; j++) v_store_part(row + j * CK_STRIP, d[j], l->count - t);
        }
    }
}
/* Functions of their own, as the tiles of a product are: each keeps its constants in registers. */
#define TAKE(SIDE, NORM)                                                                                  \
    static __attribute__((noinline)) void take_##SIDE##_##NORM(const ck_tile_lines *l, float *to) { \
        take_tiles(SIDE, NORM, l, to);                                                                    \
    }
TAKE(4, 0) TAKE(4, 1) TAKE(4, 2) TAKE(6, 0) TAKE(6, 1) TAKE(6, 2)
#undef TAKE
static void winograd_take(int32_t side, const ck_tile_lines *l, float *to) {
    static void (*const takes[2][3])(const ck_tile_lines *, float *) = {{take_4_0, take_4_1, take_4_2}, {take_6_0, take_6_1, take_6_2}};
    takes[side == 6][!l->norm ? 0 : l->act == CK_ACT_SILU ? 2 : 1](l, to);
}

/* out[i] = from[2 i]; nothing behind from[2 (n - 1)] is read. */
static void every_other(const float *from, float *out, int64_t n) {
    int64_t i = 0;
    for (; i + LANES < n; i += LANES) v_store(out + i, EVERY_OTHER(v_load(from + 2 * i), v_load(from + 2 * i + LANES), 0));
    for (; i < n; i++) out[i] = from[2 * i];
}

/* out = (from + bias) + add, `add` an array or null. */
static void put_line(const float *from, float bias, const float *add, float *out, int64_t n) {
    if (!add) {
        FOR_EACH(from, out, n, v + bias);
        return;
    }
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) v_store(out + i, (v_load(from + i) + bias) + v_load(add + i));
    if (i < n) v_store_part(out + i, (v_load_part(from + i, n - i) + bias) + v_load_part(add + i, n - i), n - i);
}
