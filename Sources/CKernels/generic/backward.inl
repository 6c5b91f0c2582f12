/* Backward passes of rows and arrays. Sums run in fixed lanes, so their order depends on the length alone. */

/* d/dx of the activation. `act` is a constant wherever this is inlined. */
INLINE vf v_logistic(vf x) {
    vi e;
    vf p = v_exp_parts(v_max(v_min(-x, v_splat(89.0f)), v_splat(-87.0f)), &e);
    return 1.0f / (p * v_float((e + 127) << 23) + 1.0f);
}

INLINE vf v_activation_slope(int32_t act, vf x) {
#pragma clang fp contract(fast)
    switch (act) {
    case CK_ACT_SILU: {
        vf s = v_logistic(x);
        return s * (x * (1.0f - s) + 1.0f);
    }
    case CK_ACT_GELU_TANH: {
        /* x s(2u) with u = sqrt(2/pi) (x + 0.044715 x^3): s + x s (1 - s) 2 u'. Beyond 20 the slope is 0 or 1, and squares of x
         * could be infinite where 1 - s is 0. */
        vf y = v_max(v_min(x, v_splat(20.0f)), v_splat(-20.0f)), square = y * y;
        vf s = v_logistic(y * (square * 0.044715f + 1.0f) * 1.5957691216057308f);
        return s + y * s * (1.0f - s) * (square * 0.134145f + 1.0f) * 1.5957691216057308f;
    }
    case CK_ACT_GELU_ERF: {
        /* Phi(x) + x phi(x), Phi by the same approximation as the function. */
        vf a = v_min(v_abs(x), v_splat(20.0f)), z = a * 0.70710678118654752f;
        vf t = 1.0f / (z * 0.3275911f + 1.0f);
        vf p = t * 1.061405429f - 1.453152027f;
        p = p * t + 1.421413741f;
        p = p * t - 0.284496736f;
        p = p * t + 0.254829592f;
        vf bell = v_exp(-(z * z)), tail = 0.5f * (p * t) * bell;
        vf phi = x < 0.0f ? tail : 1.0f - tail;
        return phi + v_max(v_min(x, v_splat(20.0f)), v_splat(-20.0f)) * 0.3989422804014327f * bell;
    }
    case CK_ACT_GELU_QUICK: {
        vf s = v_logistic(x * 1.702f);
        return s * (x * 1.702f * (1.0f - s) + 1.0f);
    }
    case CK_ACT_RELU: return x > 0.0f ? v_splat(1.0f) : v_splat(0.0f);
    default: return v_splat(1.0f);
    }
}
INLINE void activation_slopes(int32_t act, const float *x, const float *g, float *out, int64_t n) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) v_store(out + i, v_load(g + i) * v_activation_slope(act, v_load(x + i)));
    if (i < n) v_store_part(out + i, v_load_part(g + i, n - i) * v_activation_slope(act, v_load_part(x + i, n - i)), n - i);
}
static void activation_backward(int32_t act, const float *x, const float *g, float *out, int64_t n) {
    WITH_ACTIVATION(act, activation_slopes, x, g, out, n)
}

static void gated_row_backward(const float *g, const float *a, const float *gate, float *da, float *dgate, int64_t n) {
#pragma clang fp contract(off)
    if (dgate) for (int64_t i = 0; i < n; i++) dgate[i] += g[i] * a[i];
    if (da) for (int64_t i = 0; i < n; i++) da[i] = g[i] * gate[i];
}

/* Sum of a[i]*b[i] in fixed lanes. */
INLINE float row_dot(const float *a, const float *b, int64_t n) {
#pragma clang fp contract(fast)
    vf s0 = v_splat(0), s1 = s0;
    int64_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        s0 += v_load(a + i) * v_load(b + i);
        s1 += v_load(a + i + LANES) * v_load(b + i + LANES);
    }
    float tail = 0;
    for (; i < n; i++) tail += a[i] * b[i];
    return v_sum(s0 + s1) + tail;
}

static void layer_norm_row_backward(const ck_layer_norm_backward_args *args, int64_t row, const ck_norm_sums *sums) {
#pragma clang fp contract(fast)
    const ck_layer_norm_args *a = &args->norm;
    int64_t n = a->width, sample = a->rows_per_sample > 0 ? row / a->rows_per_sample : 0;
    const float *x = a->x + row * n, *g = args->g + row * n;
    const float *scale = a->scale ? a->scale + sample * a->mod_stride : 0;
    float width = (float)n, mean = row_sum(x, n, 0.0f, 0) / width;
    float inverse = 1.0f / __builtin_sqrtf(row_sum(x, n, mean, 1) / width + a->eps);
    vf sum_g = v_splat(0), sum_gx = sum_g;
    for (int64_t i = 0; i < n; i += LANES) {
        int64_t left = n - i;
        int32_t whole = left >= LANES;
#define TAKE(P) (whole ? v_load((P) + i) : v_load_part((P) + i, left))
#define GIVE(P, V)                                   \
    do {                                             \
        if (whole) v_store((P) + i, V);              \
        else v_store_part((P) + i, V, left);         \
    } while (0)
        vf d = TAKE(g), h = (TAKE(x) - mean) * inverse;
        /* Lanes beyond the row hold g = 0, and so add nothing below. */
        vf affine_h = h;
        if (a->weight) affine_h = affine_h * TAKE(a->weight);
        if (a->bias) affine_h = affine_h + TAKE(a->bias);
        if (sums->shift) GIVE(sums->shift, TAKE(sums->shift) + d);
        if (sums->scale) GIVE(sums->scale, TAKE(sums->scale) + d * affine_h);
        if (scale) d = d * (TAKE(scale) + 1.0f);
        if (sums->bias) GIVE(sums->bias, TAKE(sums->bias) + d);
        if (sums->weight) GIVE(sums->weight, TAKE(sums->weight) + d * h);
        if (a->weight) d = d * TAKE(a->weight);
        sum_g += d;
        sum_gx += d * h;
    }
    if (!args->dx) return;
    float mean_g = v_sum(sum_g) / width, mean_gx = v_sum(sum_gx) / width;
    float *dx = args->dx + row * n;
    const float *add = args->add ? args->add + row * n : 0;
    for (int64_t i = 0; i < n; i += LANES) {
        int64_t left = n - i;
        int32_t whole = left >= LANES;
        vf d = TAKE(g), h = (TAKE(x) - mean) * inverse;
        if (scale) d = d * (TAKE(scale) + 1.0f);
        if (a->weight) d = d * TAKE(a->weight);
        vf out = (d - mean_g - h * mean_gx) * inverse;
        if (add) out = out + TAKE(add);
        GIVE(dx, out);
#undef TAKE
#undef GIVE
    }
}

static void mix(const float *a, const float *b, float w, float *out, int64_t n) {
#pragma clang fp contract(off)
    if (w == 1.0f || w == 0.0f) {
        const float *from = w == 1.0f ? a : b;
        if (from != out) memmove(out, from, (size_t)n * sizeof *out);
        return;
    }
    float rest = 1.0f - w;
    for (int64_t i = 0; i < n; i++) {
        float left = w * a[i], right = rest * b[i];
        out[i] = left + right;
    }
}

static double mix_backward(const float *g, const float *a, const float *b, float w, const float *add, float *da, float *db,
                           int64_t n) {
    float rest = 1.0f - w;
    vd s0 = (vd)(0.0), s1 = s0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf d = v_load(g + i) * (v_load(a + i) - v_load(b + i));
        s0 += __builtin_convertvector(d.lo, vd);
        s1 += __builtin_convertvector(d.hi, vd);
    }
    double sum = 0;
    for (; i < n; i++) sum += (double)(g[i] * (a[i] - b[i]));
    sum += v_sum_double(s0 + s1);
    if (da) for (int64_t j = 0; j < n; j++) da[j] = w * g[j];
    if (db && add) for (int64_t j = 0; j < n; j++) db[j] = add[j] + rest * g[j];
    else if (db) for (int64_t j = 0; j < n; j++) db[j] = rest * g[j];
    return sum;
}

static void softmax_backward(const float *p, float *row, int64_t n, float inverse, float scale) {
#pragma clang fp contract(fast)
    float dot = row_dot(p, row, n) * inverse, factor = inverse * scale;
    for (int64_t i = 0; i < n; i++) row[i] = p[i] * (row[i] - dot) * factor;
}
