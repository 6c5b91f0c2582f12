/* Convolutions along time by Winograd's transforms, four rows of four taps at a time: F(4, 4) with the points 0, +-1, +-2, 1/2 and
 * infinity. Denominators of the Lagrange polynomials stand with the weights, so every factor met here is exact. */

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

/* `rows` are those of a tile, n floats each; to: its points, `stride` apart. */
static void signal_take(const float *const *rows, int64_t n, float slope, float *to, int64_t stride) {
    vf d[7], t[7];
    int64_t c = 0;
    for (; c + LANES <= n; c += LANES) {
#pragma unroll
        for (int i = 0; i < 7; i++) d[i] = v_load(rows[i] + c);
        signal_points(d, v_splat(slope), t);
#pragma unroll
        for (int i = 0; i < 7; i++) v_store(to + i * stride + c, t[i]);
    }
    if (c == n) return;
#pragma unroll
    for (int i = 0; i < 7; i++) d[i] = v_load_part(rows[i] + c, n - c);
    signal_points(d, v_splat(slope), t);
#pragma unroll
    for (int i = 0; i < 7; i++) v_store_part(to + i * stride + c, t[i], n - c);
}

/* Sums of the points of a tile to its four rows. */
INLINE void signal_rows(const vf *s, vf *y) {
    vf sum = s[1] + s[2], difference = s[1] - s[2], sum2 = s[3] + s[4], difference2 = s[3] - s[4];
    y[0] = (s[0] + sum) + (sum2 + s[5]);
    y[1] = v_multiply_add(v_splat(0.5f), s[5], v_multiply_add(v_splat(2), difference2, difference));
    y[2] = v_multiply_add(v_splat(0.25f), s[5], v_multiply_add(v_splat(4), sum2, sum));
    y[3] = v_multiply_add(v_splat(0.125f), s[5], v_multiply_add(v_splat(8), difference2, difference)) + s[6];
}

/* out[i] = leaky((accumulate ? out[i] : 0) + row i + bias) for the first `count` rows of a tile, n floats each; points `stride` apart. */
static void signal_put(const ck_signal_sums *g) {
    const vf slope = v_splat(g->slope);
    vf s[7], y[4];
    int64_t c = 0;
    for (; c + LANES <= g->n; c += LANES) {
#pragma unroll
        for (int i = 0; i < 7; i++) s[i] = v_load(g->sums + i * g->stride + c);
        signal_rows(s, y);
        vf bias = g->bias ? v_load(g->bias + c) : v_splat(0);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (i >= g->count) break;
            vf v = y[i] + bias;
            if (g->accumulate) v += v_load(g->rows[i] + c);
            v_store(g->rows[i] + c, v_max(v, v * slope));
        }
    }
    if (c == g->n) return;
    const int64_t left = g->n - c;
#pragma unroll
    for (int i = 0; i < 7; i++) s[i] = v_load_part(g->sums + i * g->stride + c, left);
    signal_rows(s, y);
    vf bias = g->bias ? v_load_part(g->bias + c, left) : v_splat(0);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (i >= g->count) break;
        vf v = y[i] + bias;
        if (g->accumulate) v += v_load_part(g->rows[i] + c, left);
        v_store_part(g->rows[i] + c, v_max(v, v * slope), left);
    }
}
