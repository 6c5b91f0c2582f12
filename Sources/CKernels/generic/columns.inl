/* The weights of a softmax whose rows stand side by side, a row in each lane: nothing has to be summed across a register, and what comes out
 * is a strip of the second factor of the product with the values. */
static void softmax_columns(const float *lines, int64_t stride, int64_t n, float scale, float *largest, float *sums, float *factors,
                            float *to) {
    const float room = 8; /* as in softmax_block */
    for (int64_t c = 0; c < CK_STRIP; c += LANES) {
        const float *from = lines + c;
        vf best0 = v_splat(-__builtin_inff()), best1 = best0, before = v_load(largest + c), sum0 = v_splat(0), sum1 = sum0;
        int64_t i = 0;
        for (; i + 2 <= n; i += 2) {
            best0 = v_max(best0, v_load(from + i * stride) * scale);
            best1 = v_max(best1, v_load(from + (i + 1) * stride) * scale);
        }
        if (i < n) best0 = v_max(best0, v_load(from + i * stride) * scale);
        vf best = v_max(best0, best1);
        best = best <= before + room ? before : best;
        vf factor = v_exp2_weight(before - best);
#pragma clang loop unroll_count(2)
        for (i = 0; i + 2 <= n; i += 2) {
            vf e0 = v_exp2_weight(v_multiply_add(v_load(from + i * stride), v_splat(scale), -best));
            vf e1 = v_exp2_weight(v_multiply_add(v_load(from + (i + 1) * stride), v_splat(scale), -best));
            sum0 += e0, sum1 += e1;
            v_store(to + i / 2 * CK_STRIP + c, v_units(e0, e1));
        }
        if (i < n) {
            vf e = v_exp2_weight(v_multiply_add(v_load(from + i * stride), v_splat(scale), -best));
            sum0 += e;
            v_store(to + i / 2 * CK_STRIP + c, v_units(e, v_splat(0)));
        }
        v_store(largest + c, best);
        v_store(sums + c, v_multiply_add(v_load(sums + c), factor, sum0 + sum1));
        v_store(factors + c, factor);
    }
}

static void scale_columns(float *lines, int64_t stride, int64_t n, const float *factors) {
    for (int64_t c = 0; c < CK_STRIP; c += LANES) {
        vf factor = v_load(factors + c);
        for (int64_t i = 0; i < n; i++) v_store(lines + i * stride + c, v_load(lines + i * stride + c) * factor);
    }
}
