/* Linear layers of at most a few rows: bound by reading the weights, so each weight is read from memory once, converted
 * on the way, and used for all rows. Every result has two accumulators of LANES along k, whatever the number of rows. */

INLINE void dot_block(int32_t dtype, const int rows, const int columns, const ck_linear_args *a, const float *x,
                      float *y, int64_t j) {
    const int sums = rows * columns;
    const int64_t k = a->k, ldx = a->ldx;
    vf first[8], second[8];
#pragma unroll
    for (int i = 0; i < sums; i++) first[i] = second[i] = v_splat(0);
    int64_t p = 0;
    for (; p + 2 * LANES <= k; p += 2 * LANES) {
#pragma unroll
        for (int c = 0; c < columns; c++) {
            /* The columns that come next: one line of memory for each of this one. */
            const char *next = ck_at(a->w, dtype, (j + columns + c) * k + p);
#pragma unroll
            for (int64_t b = 0; b < 2 * LANES * ck_type_size(dtype); b += 64) __builtin_prefetch(next + b);
            vf w0 = v_load_as(dtype, a->w, (j + c) * k + p), w1 = v_load_as(dtype, a->w, (j + c) * k + p + LANES);
#pragma unroll
            for (int r = 0; r < rows; r++) {
                first[r * columns + c] = v_multiply_add(w0, v_load(x + r * ldx + p), first[r * columns + c]);
                second[r * columns + c] = v_multiply_add(w1, v_load(x + r * ldx + p + LANES), second[r * columns + c]);
            }
        }
    }
    if (p + LANES <= k) {
#pragma unroll
        for (int c = 0; c < columns; c++) {
            vf w = v_load_as(dtype, a->w, (j + c) * k + p);
#pragma unroll
            for (int r = 0; r < rows; r++) first[r * columns + c] = v_multiply_add(w, v_load(x + r * ldx + p), first[r * columns + c]);
        }
        p += LANES;
    }
    if (p < k) {
#pragma unroll
        for (int c = 0; c < columns; c++) {
            vf w = v_load_part_as(dtype, a->w, (j + c) * k + p, k - p);
#pragma unroll
            for (int r = 0; r < rows; r++)
                first[r * columns + c] = v_multiply_add(w, v_load_part(x + r * ldx + p, k - p), first[r * columns + c]);
        }
    }
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int c = 0; c < columns; c++)
            y[r * a->ldy + j + c] = v_sum(first[r * columns + c] + second[r * columns + c]) + (a->bias ? a->bias[j + c] : 0.0f);
}

/* Eight or so accumulators are what hides the latency of an addition: many rows, few columns or the reverse. Where there are 32
 * registers, four rows of two columns need fewer loads. */
#define DOT(TYPE, ROWS, COLUMNS)                                                                                                  \
    static __attribute__((noinline)) void dot_##TYPE##_##ROWS##_##COLUMNS(const ck_linear_args *a, const float *x, float *y,      \
                                                                          int64_t j) {                                            \
        dot_block(CK_##TYPE, ROWS, COLUMNS, a, x, y, j);                                                                          \
    }
#define DOTS(TYPE) DOT(TYPE, 1, 1) DOT(TYPE, 1, 2) DOT(TYPE, 1, 4) DOT(TYPE, 2, 1) DOT(TYPE, 2, 2) DOT(TYPE, 4, 1)
DOTS(F32) DOTS(F16) DOTS(BF16)
#if LANES == 16
DOT(F32, 4, 2) DOT(F16, 4, 2) DOT(BF16, 4, 2)
#define FOUR_ROWS(TYPE) {dot_##TYPE##_4_1, dot_##TYPE##_4_2}
enum { MOST_COLUMNS = 2, MOST_ROWS = 4 }; /* for four rows or more; for two columns */
#else
#define FOUR_ROWS(TYPE) {dot_##TYPE##_4_1}
enum { MOST_COLUMNS = 1, MOST_ROWS = 2 };
#endif
typedef void (*dot_function)(const ck_linear_args *a, const float *x, float *y, int64_t j);
/* By half of their rows, half of their columns. */
#define DOT_TABLE(TYPE)                                                                                                           \
    {{dot_##TYPE##_1_1, dot_##TYPE##_1_2, dot_##TYPE##_1_4}, {dot_##TYPE##_2_1, dot_##TYPE##_2_2}, FOUR_ROWS(TYPE)}
static const dot_function dots[3][3][3] = {[CK_F32] = DOT_TABLE(F32), [CK_F16] = DOT_TABLE(F16), [CK_BF16] = DOT_TABLE(BF16)};
#undef DOT
#undef DOTS
#undef FOUR_ROWS
#undef DOT_TABLE

static void dot_columns(const ck_linear_args *a, int64_t columns, int64_t j) {
    int64_t most = columns == 1 ? 4 : columns == 2 ? MOST_ROWS : 1;
    for (int64_t r = 0, rows; r < a->m; r += rows) {
        rows = most;
        while (rows > a->m - r) rows /= 2;
        dots[a->dtype][rows / 2][columns / 2](a, a->x + r * a->ldx, a->y + r * a->ldy, j);
    }
}

static void linear_rows(const ck_linear_args *a, int64_t j0, int64_t j1) {
    int64_t most = a->m == 1 ? 4 : a->m <= 3 ? 2 : MOST_COLUMNS;
    for (int64_t j = j0, columns; j < j1; j += columns) {
        columns = j + most <= j1 ? most : 1;
        dot_columns(a, columns, j);
    }
    if (a->act == CK_ACT_NONE) return;
    for (int64_t r = 0; r < a->m; r++)
        activation(a->act, a->y + r * a->ldy + j0, a->y + r * a->ldy + j0, j1 - j0);
}
