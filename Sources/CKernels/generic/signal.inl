/* Convolutions along time by Winograd's transforms, four rows of four taps at a time: F(4, 4) with the points 0, +-1, +-2, 1/2 and
 * infinity. Denominators of the Lagrange polynomials stand with the weights, so every factor met here is exact. */

/* Registers of columns, of which `left` are there where that is not 0. */
INLINE vf load_columns(const float *p, int64_t left) { return left ? v_load_part(p, left) : v_load(p); }

/* Rows j ... j + 6 of a tile, rectified, to its points. */
INLINE void signal_points(vf *d, vf slope, vf *t) {
    vf e[6]; /* what all finite points but 1/2 have in common: times x - 1/2 */
#pragma unroll
    for (int i = 0; i < 7; i++) d[i] = v_max(d[i], d[i] * slope);
#pragma unroll
    for (int i = 0; i < 6; i++) e[i] = v_multiply_add(v_splat(-0.5f), d[i], d[i + 1]);
    vf even = v_multiply_add(v_splat(-4), e[2], e[4]), odd = v_multiply_add(v_splat(-4), e[1], e[3]);
    vf even2 = e[4] - e[2], odd2 = e[3] - e[1];
    t[0] = v_multiply_add(v_splat(4), e[0], v_multiply_add(v_splat(-5), e[2], e[4]));
    t[1] = even + odd;
    t[2] = even - odd;
    t[3] = v_multiply_add(v_splat(2), odd2, even2);
    t[4] = v_multiply_add(v_splat(-2), odd2, even2);
    t[5] = v_multiply_add(v_splat(4), d[1], v_multiply_add(v_splat(-5), d[3], d[5]));
    t[6] = v_multiply_add(v_splat(4), e[1], v_multiply_add(v_splat(-5), e[3], e[5]));
}

/* Columns from c on of the points of a tile; `left` of them where that is not 0. */
INLINE void take_points(const float *const *rows, int64_t c, int64_t left, float slope, float *to, int64_t stride) {
    vf d[7], t[7];
#pragma unroll
    for (int i = 0; i < 7; i++) d[i] = load_columns(rows[i] + c, left);
    signal_points(d, v_splat(slope), t);
#pragma unroll
    for (int i = 0; i < 7; i++, to += stride) {
        if (left) v_store_part(to + c, t[i], left);
        else v_store(to + c, t[i]);
    }
}

/* `rows` are those of a tile, n floats each; to: its points, `stride` apart. */
static void signal_take(const float *const *rows, int64_t n, float slope, float *to, int64_t stride) {
    int64_t c = 0;
    for (; c + LANES <= n; c += LANES) take_points(rows, c, 0, slope, to, stride);
    if (c < n) take_points(rows, c, n - c, slope, to, stride);
}

/* Sums of the points of a tile to its four rows. */
INLINE void signal_rows(const vf *s, vf *y) {
    vf sum = s[1] + s[2], difference = s[1] - s[2], sum2 = s[3] + s[4], difference2 = s[3] - s[4];
    y[0] = (s[0] + sum) + (sum2 + s[5]);
    y[1] = v_multiply_add(v_splat(0.5f), s[5], v_multiply_add(v_splat(2), difference2, difference));
    y[2] = v_multiply_add(v_splat(0.25f), s[5], v_multiply_add(v_splat(4), sum2, sum));
    y[3] = v_multiply_add(v_splat(0.125f), s[5], v_multiply_add(v_splat(8), difference2, difference)) + s[6];
}

/* Columns from c on of a tile's first `count` rows; `left` of them where that is not 0. */
INLINE void put_rows(const ck_signal_sums *g, int64_t c, int64_t left) {
    const int64_t stride = g->stride, step = g->step;
    const float *low = g->sums + c, *high = low + 3 * stride, *last = high + 3 * stride;
    vf s[7] = {load_columns(low, left),  load_columns(low + stride, left),  load_columns(low + 2 * stride, left),
               load_columns(high, left), load_columns(high + stride, left), load_columns(high + 2 * stride, left),
               load_columns(last, left)};
    vf y[4], bias = g->bias ? load_columns(g->bias + c, left) : v_splat(0);
    float *out = g->out + c;
    signal_rows(s, y);
#pragma unroll
    for (int i = 0; i < 4; i++, out += step) {
        if (i >= g->count) break;
        vf v = y[i] + bias;
        if (g->accumulate) v += load_columns(out, left);
        v = v_max(v, v * g->slope);
        if (left) v_store_part(out, v, left);
        else v_store(out, v);
    }
}

/* out[i] = leaky((accumulate ? out[i] : 0) + row i + bias). */
static void signal_put(const ck_signal_sums *g) {
    int64_t c = 0;
    for (; c + LANES <= g->n; c += LANES) put_rows(g, c, 0);
    if (c < g->n) put_rows(g, c, g->n - c);
}
