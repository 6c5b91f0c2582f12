/* What the products multiply at a step of k: units of 32 bits. A unit is a float; or, with CK_PAIRED, two elements of k as bf16, the
 * even one in the low half, behind an odd number of them a zero. So packing, tiles and strips are the same for both.
 *
 * A product of pairs is what AVX512_BF16's vdpbf16ps makes of it, as found by trying it: sum + odd*odd, rounded once, then + even*even,
 * rounded once, subnormal operands, sums and results taken as zeros of their sign whatever the control register says. Bodies without
 * the instruction do the same step by step, and their narrowing takes subnormals as zeros too. */
INLINE f4 load4_as(int32_t dtype, const void *p, int64_t i) {
    if (dtype == CK_F32) {
        f4 v;
        memcpy(&v, (const float *)p + i, sizeof v);
        return v;
    }
    h4 h;
    memcpy(&h, (const uint16_t *)p + i, sizeof h);
    if (dtype == CK_BF16) return (f4)(__builtin_convertvector(h, u4) << 16);
#if CK_HALF_HARDWARE
    typedef _Float16 half4 __attribute__((ext_vector_type(4)));
    return __builtin_convertvector((half4)h, f4);
#else
    return (f4){half_to_float(h.x), half_to_float(h.y), half_to_float(h.z), half_to_float(h.w)};
#endif
}

#if !CK_PAIRED
#define UNIT     1
#define UNITS(K) (K)
/* A macro, as a multiply-add is joined or not by what stands around it. */
#define ADD_PRODUCT(SUM, X, U) (SUM) += (X) * (U)

/* LANES units from p on, four from element i on, that from element i on; a register of units, element by element. */
INLINE vf v_load_units(const float *p) { return v_load(p); }
INLINE f4 load4_units(int32_t dtype, const void *p, int64_t i) { return load4_as(dtype, p, i); }
INLINE float load_unit(int32_t dtype, const void *p, int64_t i, int64_t k) {
    (void)k;
    return load_as(dtype, p, i);
}
INLINE vf v_units(vf first, vf second) {
    (void)second;
    return first;
}
#else
#define UNIT                   2
#define UNITS(K)               ck_ceil_div(K, 2)
#define ADD_PRODUCT(SUM, X, U) (SUM) = v_add_pairs(SUM, X, U)

/* Rounded to nearest, ties to even; subnormal numbers to zeros. */
INLINE uint32_t to_brain(float x) {
    uint32_t u = bits_of(x);
    return (u & 0x7f800000u) == 0 ? (u >> 16) & 0x8000u : float_to_brain(x);
}
INLINE float pair_of(float even, float odd) { return float_of(to_brain(even) | to_brain(odd) << 16); }

INLINE float load_unit(int32_t dtype, const void *p, int64_t i, int64_t k) {
    return pair_of(load_as(dtype, p, i), i + 1 < k ? load_as(dtype, p, i + 1) : 0.0f);
}

#if CK_BRAIN_HARDWARE
INLINE vf v_add_pairs(vf sum, vf x, vf u) { return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)x, (__m512bh)u); }
INLINE vf v_load_units(const float *p) { return (vf)_mm512_cvtne2ps_pbh((__m512)v_load(p + LANES), (__m512)v_load(p)); }
INLINE f4 load4_units(int32_t dtype, const void *p, int64_t i) {
    f4 low = load4_as(dtype, p, i), high = load4_as(dtype, p, i + 4);
    return (f4)_mm256_cvtneps_pbh((__m256)__builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE vf v_units(vf first, vf second) {
    typedef uint16_t vhalves __attribute__((ext_vector_type(2 * LANES)));
    vhalves both = (vhalves)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
    return (vf)__builtin_shufflevector(both, both, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25, 10, 26,
                                       11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
#else
INLINE vf v_flushed(vf v) {
    vu bits = (vu)v;
    return (bits & 0x7f800000u) == 0u ? (vf)(bits & 0x80000000u) : v;
}
/* One function for all tiles, whose time does not matter. */
static __attribute__((noinline)) vf v_add_pairs(vf sum, vf x, vf u) {
    vf x_odd = v_flushed((vf)((vu)x & 0xffff0000u)), u_odd = v_flushed((vf)((vu)u & 0xffff0000u));
    vf x_even = v_flushed((vf)((vu)x << 16)), u_even = v_flushed((vf)((vu)u << 16));
    sum = v_flushed(__builtin_elementwise_fma(x_odd, u_odd, v_flushed(sum)));
    return v_flushed(__builtin_elementwise_fma(x_even, u_even, sum));
}
INLINE vf v_load_units(const float *p) {
    vf units;
    for (int i = 0; i < LANES; i++) units[i] = pair_of(p[2 * i], p[2 * i + 1]);
    return units;
}
INLINE f4 load4_units(int32_t dtype, const void *p, int64_t i) {
    f4 low = load4_as(dtype, p, i), high = load4_as(dtype, p, i + 4);
    return (f4){pair_of(low.x, low.y), pair_of(low.z, low.w), pair_of(high.x, high.y), pair_of(high.z, high.w)};
}
INLINE vf v_units(vf first, vf second) {
    vf units;
    for (int i = 0; i < LANES; i++) units[i] = pair_of(first[i], second[i]);
    return units;
}
#endif
#endif
