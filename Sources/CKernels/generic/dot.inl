/* Linear layers of at most a few rows: bound by reading the weights, so each weight is read from memory once, converted
 * on the way, and used for all rows. Every result has two accumulators of LANES along k, whatever the number of rows. */

INLINE void dot_block(int32_t dtype, const int rows, const int columns, const ck_linear_args *a, const float *x,
                      float *y, int64_t j) {
#pragma clang fp contract(fast)
    vf s[4][4][2];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) s[r][c][0] = s[r][c][1] = v_splat(0);
    int64_t p = 0;
    for (; p + 2 * LANES <= a->k; p += 2 * LANES) {
#pragma unroll
        for (int c = 0; c < columns; c++) {
            vf w0 = v_load_as(dtype, a->w, (j + c) * a->k + p), w1 = v_load_as(dtype, a->w, (j + c) * a->k + p + LANES);
#pragma unroll
            for (int r = 0; r < rows; r++) {
                s[r][c][0] += w0 * v_load(x + r * a->ldx + p);
                s[r][c][1] += w1 * v_load(x + r * a->ldx + p + LANES);
            }
        }
    }
    for (; p < a->k; p += LANES) {
        int64_t left = a->k - p < LANES ? a->k - p : LANES;
        for (int c = 0; c < columns; c++) {
            vf w = v_load_part_as(dtype, a->w, (j + c) * a->k + p, left);
            for (int r = 0; r < rows; r++) s[r][c][0] += w * v_load_part(x + r * a->ldx + p, left);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            y[r * a->ldy + j + c] = v_sum(s[r][c][0] + s[r][c][1]) + (a->bias ? a->bias[j + c] : 0.0f);
}

/* Eight or so accumulators are what hides the latency of an addition: many rows, few columns or the reverse. */
INLINE void dot_columns(int32_t dtype, const int columns, const ck_linear_args *a, int64_t j) {
    int64_t r = 0;
    for (; columns == 1 && r + 4 <= a->m; r += 4)
        dot_block(dtype, 4, 1, a, a->x + r * a->ldx, a->y + r * a->ldy, j);
    for (; columns <= 2 && r + 2 <= a->m; r += 2)
        dot_block(dtype, 2, columns, a, a->x + r * a->ldx, a->y + r * a->ldy, j);
    for (; r < a->m; r++) dot_block(dtype, 1, columns, a, a->x + r * a->ldx, a->y + r * a->ldy, j);
}

INLINE void linear_rows_as(int32_t dtype, const ck_linear_args *a, int64_t j0, int64_t j1) {
    int64_t j = j0;
    if (a->m == 1) {
        for (; j + 4 <= j1; j += 4) dot_columns(dtype, 4, a, j);
    } else if (a->m <= 3) {
        for (; j + 2 <= j1; j += 2) dot_columns(dtype, 2, a, j);
    }
    for (; j < j1; j++) dot_columns(dtype, 1, a, j);
}

static void linear_rows(const ck_linear_args *a, int64_t j0, int64_t j1) {
    if (a->dtype == CK_F32) linear_rows_as(CK_F32, a, j0, j1);
    else if (a->dtype == CK_F16) linear_rows_as(CK_F16, a, j0, j1);
    else linear_rows_as(CK_BF16, a, j0, j1);
    if (a->act == CK_ACT_NONE) return;
    for (int64_t r = 0; r < a->m; r++)
        activation(a->act, a->y + r * a->ldy + j0, a->y + r * a->ldy + j0, j1 - j0);
}
