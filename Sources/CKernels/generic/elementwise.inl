/* Loops over arrays and rows. Products and sums stay separate (contract off) where the contract of the public function
 * promises it or where a reference implementation rounds twice. */

INLINE void activate_array(int32_t act, const float *x, float *out, int64_t n) {
    FOR_EACH(x, out, n, v_activate(act, v));
}
static void activation(int32_t act, const float *x, float *out, int64_t n) {
    if (act == CK_ACT_NONE) {
        if (x != out) memcpy(out, x, (size_t)n * sizeof *x);
        return;
    }
    WITH_ACTIVATION(act, activate_array, x, out, n)
}

/* The largest of scale*x. A NaN may be lost, but it comes back through exp and the sum. */
INLINE float largest_scaled(const float *x, int64_t n, float scale) {
    vf best0 = v_splat(-__builtin_inff()), best1 = best0;
    int64_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        best0 = v_max(best0, v_load(x + i) * scale);
        best1 = v_max(best1, v_load(x + i + LANES) * scale);
    }
    float best = v_max_lane(v_max(best0, best1));
    for (; i < n; i++) best = best < x[i] * scale ? x[i] * scale : best;
    return best;
}

/* out = e^(scale*x - best), or with `base` 2 a power of that; their sum. */
INLINE vf v_weight(const int base, vf x, float scale, float best) {
    return base == 2 ? v_exp2_weight(v_multiply_add(x, v_splat(scale), v_splat(-best))) : v_exp_weight(x * scale - best);
}
INLINE float exp_weights(const int base, const float *x, float *out, int64_t n, float scale, float best) {
    vf sum0 = v_splat(0), sum1 = sum0;
    int64_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        vf e0 = v_weight(base, v_load(x + i), scale, best);
        vf e1 = v_weight(base, v_load(x + i + LANES), scale, best);
        v_store(out + i, e0);
        v_store(out + i + LANES, e1);
        sum0 += e0;
        sum1 += e1;
    }
    if (i + LANES <= n) {
        vf e = v_weight(base, v_load(x + i), scale, best);
        v_store(out + i, e);
        sum0 += e;
        i += LANES;
    }
    if (i < n) {
        vf e = v_weight(base, v_load_part(x + i, n - i), scale, best);
        v_store_part(out + i, e, n - i);
        sum0 += v_load_part(out + i, n - i);
    }
    return v_sum(sum0 + sum1);
}

static float softmax_weights_into(const float *x, float *out, int64_t n, float scale) {
    return 1.0f / exp_weights(0, x, out, n, scale, largest_scaled(x, n, scale));
}
static float softmax_block(float *row, int64_t n, float scale, float *largest, float *sum) {
    /* As long as weights stay below 2^8, the largest of the blocks before serves, and nothing has to shrink. */
    const float room = 8;
    float best = largest_scaled(row, n, scale), before = *largest;
    best = best <= before + room ? before : best;
    float factor = v_exp2_weight(v_splat(before - best))[0];
    *largest = best;
    *sum = *sum * factor + exp_weights(2, row, row, n, scale, best);
    return factor;
}
static float softmax_weights(float *row, int64_t n, float scale) { return softmax_weights_into(row, row, n, scale); }
static void scale_row(float *row, int64_t n, float factor) { FOR_EACH(row, row, n, v * factor); }
static void leaky(const float *x, float *out, int64_t n, float slope) {
    FOR_EACH(x, out, n, v_max(v, v * slope));
}
static void softmax_row(const float *x, float *out, int64_t n) {
    scale_row(out, n, softmax_weights_into(x, out, n, 1.0f));
}

static void add_arrays(const float *a, const float *b, float *out, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = a[i] + b[i];
}

static void axpby_arrays(float alpha, const float *x, float beta, const float *y, float *out, int64_t n) {
#pragma clang fp contract(off)
    for (int64_t i = 0; i < n; i++) {
        float left = alpha * x[i], right = beta * y[i];
        out[i] = left + right;
    }
}

static void multiply_add(const float *x, const float *a, const float *gate, float *out, int64_t n) {
#pragma clang fp contract(off)
    for (int64_t i = 0; i < n; i++) {
        float product = gate[i] * a[i];
        out[i] = x[i] + product;
    }
}

static int32_t all_finite(const float *x, int64_t n) {
    /* Exponent bits all set means infinity or NaN. */
    uint32_t bad = 0;
    for (int64_t i = 0; i < n; i++) bad |= (bits_of(x[i]) & 0x7f800000u) == 0x7f800000u;
    return !bad;
}

static void to_u8(const float *x, uint8_t *out, int64_t n, int64_t out_step, float mul, float add) {
#pragma clang fp contract(off)
    for (int64_t i = 0; i < n; i++) {
        float product = x[i] * mul, value = product + add;
        value = value > 0 ? value : 0; /* also NaN */
        value = value < 255 ? value : 255;
        /* Adding 2^23 rounds to the nearest integer, ties to even. */
        out[i * out_step] = (uint8_t)bits_of(value + 8388608.0f);
    }
}
