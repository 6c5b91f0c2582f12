/* Normalisation of one row or one group. Sums run in fixed lanes, so their order depends on the length alone. */

INLINE vf row_term(vf sum, const float *x, float center, int32_t squared) {
#pragma clang fp contract(fast)
    vf d = v_load(x) - center;
    return squared ? sum + d * d : sum + d;
}

INLINE float row_sum(const float *x, int64_t n, float center, int32_t squared) {
#pragma clang fp contract(fast)
    vf s0 = v_splat(0), s1 = s0, s2 = s0, s3 = s0;
    int64_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        s0 = row_term(s0, x + i, center, squared);
        s1 = row_term(s1, x + i + LANES, center, squared);
        s2 = row_term(s2, x + i + 2 * LANES, center, squared);
        s3 = row_term(s3, x + i + 3 * LANES, center, squared);
    }
    for (; i + LANES <= n; i += LANES) s0 = row_term(s0, x + i, center, squared);
    float tail = 0;
    for (; i < n; i++) {
        float d = x[i] - center;
        tail = squared ? tail + d * d : tail + d;
    }
    return v_sum((s0 + s1) + (s2 + s3)) + tail;
}

INLINE void layer_norm_apply(int32_t affine_row, int32_t modulate, const ck_layer_norm_args *a, const float *x,
                             float *out, const float *shift, const float *scale, float mean, float inverse) {
#pragma clang fp contract(fast)
    int64_t i = 0, n = a->width;
    for (; i < n; i += LANES) {
        int64_t left = n - i;
        int32_t whole = left >= LANES;
#define TAKE(P) (whole ? v_load((P) + i) : v_load_part((P) + i, left))
        vf h = (TAKE(x) - mean) * inverse;
        if (affine_row & 1) h = h * TAKE(a->weight);
        if (affine_row & 2) h = h + TAKE(a->bias);
        if (modulate & 1) h = h * (TAKE(scale) + 1.0f);
        if (modulate & 2) h = h + TAKE(shift);
#undef TAKE
        if (whole) v_store(out + i, h);
        else v_store_part(out + i, h, left);
    }
}

static void layer_norm_row(const ck_layer_norm_args *a, int64_t row) {
    const float *x = a->x + row * a->width;
    float *out = a->out + row * a->width;
    float width = (float)a->width;
    float mean = row_sum(x, a->width, 0.0f, 0) / width;
    float variance = row_sum(x, a->width, mean, 1) / width;
    float inverse = 1.0f / __builtin_sqrtf(variance + a->eps);
    int64_t sample = a->rows_per_sample > 0 ? row / a->rows_per_sample : 0;
    const float *shift = a->shift ? a->shift + sample * a->mod_stride : 0;
    const float *scale = a->scale ? a->scale + sample * a->mod_stride : 0;
    int32_t affine_row = (a->weight ? 1 : 0) | (a->bias ? 2 : 0);
    int32_t modulate = (scale ? 1 : 0) | (shift ? 2 : 0);
    /* The two common forms get loops of their own. */
    if (affine_row == 0 && modulate == 3) layer_norm_apply(0, 3, a, x, out, shift, scale, mean, inverse);
    else if (affine_row == 3 && modulate == 0) layer_norm_apply(3, 0, a, x, out, shift, scale, mean, inverse);
    else layer_norm_apply(affine_row, modulate, a, x, out, shift, scale, mean, inverse);
}

static void sums(const float *x, int64_t n, double *sum, double *sum_of_squares) {
#pragma clang fp contract(fast)
    vd s0 = (vd)(0.0), s1 = s0, q0 = s0, q1 = s0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf v = v_load(x + i);
        vd a = __builtin_convertvector(v.lo, vd), b = __builtin_convertvector(v.hi, vd);
        s0 += a;
        s1 += b;
        q0 += a * a;
        q1 += b * b;
    }
    double s = 0, q = 0;
    for (; i < n; i++) {
        double a = x[i];
        s += a;
        q += a * a;
    }
    *sum = v_sum_double(s0 + s1) + s;
    *sum_of_squares = v_sum_double(q0 + q1) + q;
}

INLINE vf v_affine(vf x, float center, float factor, float offset) {
#pragma clang fp contract(fast)
    return (x - center) * factor + offset;
}
INLINE void affine_array(int32_t act, const float *x, float *out, int64_t n, float center, float factor,
                         float offset) {
    FOR_EACH(x, out, n, v_activate(act, v_affine(v, center, factor, offset)));
}
static void affine(const float *x, float *out, int64_t n, float center, float factor, float offset, int32_t act) {
    WITH_ACTIVATION(act, affine_array, x, out, n, center, factor, offset)
}
