/* exp, the logistic function and the activations built on them, without branches. */

/* exp(x) = 2^exponent times the result. */
INLINE vf v_exp_parts(vf x, vi *exponent) {
#pragma clang fp contract(fast)
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer held in the low bits */
    vf t = x * 1.44269504088896341f + magic;
    vf n = t - magic;
    *exponent = v_bits(t) - v_bits(v_splat(magic));
    /* ln 2 in two parts, the first short enough for n*part to be exact without a fused multiply-add. */
    vf r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vf p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r;
    return p + 1.0f;
}

/* Relative error at most 2 ulp; overflows to infinity, underflows gradually, passes NaN on. */
INLINE vf v_exp(vf x) {
    vi e;
    vf p = v_exp_parts(v_max(v_min(x, v_splat(89.0f)), v_splat(-104.5f)), &e);
    /* 2^e as two factors: one alone would leave the range of exponents near both ends. */
    vi half = e >> 1;
    return p * v_float((half + 127) << 23) * v_float((e - half + 127) << 23);
}

/* The same for x <= 0 or NaN, with zero for what would be subnormal: weights of a softmax. */
INLINE vf v_exp_weight(vf x) {
    vi e;
    vf p = v_exp_parts(x, &e) * v_float((e + 127) << 23);
    return x < -87.3f ? v_splat(0.0f) : p;
}

/* 2^x for x <= 0 or NaN, with zero for what would be subnormal; relative error at most 1 ulp. Half of the steps of v_exp_weight. */
INLINE vf v_exp2_weight(vf x) {
    const float magic = 12582912.0f;
    vf t = x + magic, n = t - magic, r = x - n;
    vf p = v_multiply_add(v_splat(1.5461444855e-4f), r, v_splat(1.3400427997e-3f));
    p = v_multiply_add(p, r, v_splat(9.6180569381e-3f));
    p = v_multiply_add(p, r, v_splat(5.5503271520e-2f));
    p = v_multiply_add(p, r, v_splat(2.4022650719e-1f));
    p = v_multiply_add(p, r, v_splat(6.9314718246e-1f));
    p = v_multiply_add(p, r, v_splat(1.0f));
#if LANES == 16
    __mmask16 normal = _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ); /* also NaN */
    return (vf)_mm512_maskz_scalef_ps(normal, (__m512)p, (__m512)n);
#else
    vi e = v_bits(t) - v_bits(v_splat(magic));
    return x < -126.0f ? v_splat(0.0f) : p * v_float((e + 127) << 23);
#endif
}

/* x times the logistic function of t, t given negated. Below -87 the exponential is nothing beside 1, so it need not
 * underflow gradually, which would cost this processor a hundred times an ordinary product. */
INLINE vf v_times_logistic(vf x, vf minus_t) {
#pragma clang fp contract(fast)
    vi e;
    vf p = v_exp_parts(v_max(v_min(minus_t, v_splat(89.0f)), v_splat(-87.0f)), &e);
    return x / (p * v_float((e + 127) << 23) + 1.0f);
}

INLINE vf v_silu(vf x) { return v_times_logistic(x, -x); }

/* 0.5 x (1 + tanh u) is x times the logistic function of 2u: nothing cancels, small results keep their digits. */
INLINE vf v_gelu_tanh(vf x) {
#pragma clang fp contract(fast)
    vf u = x * (x * x * 0.044715f + 1.0f) * 0.7978845608028654f;
    return v_times_logistic(x, u * -2.0f);
}

/* 0.5 x erfc(-x/sqrt 2) = max(x, 0) - 0.5 |x| erfc(|x|/sqrt 2), with erfc after Abramowitz and Stegun 7.1.26
 * (absolute error 1.5e-7). |x| is cut at 20, where erfc is zero, so that infinity gives infinity. */
INLINE vf v_gelu_erf(vf x) {
#pragma clang fp contract(fast)
    vf a = v_min(v_abs(x), v_splat(20.0f));
    vf z = a * 0.70710678118654752f;
    vf t = 1.0f / (z * 0.3275911f + 1.0f);
    vf p = t * 1.061405429f - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    vf tail = a * 0.5f * (p * t) * v_exp(-(z * z));
    return (x < 0.0f ? v_splat(0.0f) : x) - tail;
}

/* The logistic function in place of the normal distribution's. */
INLINE vf v_gelu_quick(vf x) { return v_times_logistic(x, x * -1.702f); }

INLINE vf v_relu(vf x) { return x < 0.0f ? v_splat(0.0f) : x; }

/* `act` is a constant wherever this is inlined. */
INLINE vf v_activate(int32_t act, vf x) {
    switch (act) {
    case CK_ACT_GELU_TANH: return v_gelu_tanh(x);
    case CK_ACT_GELU_ERF: return v_gelu_erf(x);
    case CK_ACT_SILU: return v_silu(x);
    case CK_ACT_GELU_QUICK: return v_gelu_quick(x);
    case CK_ACT_RELU: return v_relu(x);
    default: return x;
    }
}

/* Calls F with the activation as a constant first argument. */
#define WITH_ACTIVATION(ACT, F, ...)                                             \
    switch (ACT) {                                                               \
    case CK_ACT_GELU_TANH: F(CK_ACT_GELU_TANH, __VA_ARGS__); break;              \
    case CK_ACT_GELU_ERF: F(CK_ACT_GELU_ERF, __VA_ARGS__); break;                \
    case CK_ACT_SILU: F(CK_ACT_SILU, __VA_ARGS__); break;                        \
    case CK_ACT_GELU_QUICK: F(CK_ACT_GELU_QUICK, __VA_ARGS__); break;            \
    case CK_ACT_RELU: F(CK_ACT_RELU, __VA_ARGS__); break;                        \
    default: F(CK_ACT_NONE, __VA_ARGS__); break;                                 \
    }
