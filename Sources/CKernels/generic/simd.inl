/* Vector types of CK_LANES floats, unaligned and partial loads, horizontal sums. A partial load fills with zeros and a
 * partial store writes only what exists, so the last elements of a row take the same instructions as all others and
 * an element's result does not depend on where in the array it lies. */
#define INLINE static inline __attribute__((always_inline))
#define LANES CK_LANES
#define STRIP_REGISTERS (CK_STRIP / LANES)

typedef float vf __attribute__((ext_vector_type(LANES)));
typedef int32_t vi __attribute__((ext_vector_type(LANES)));
typedef uint32_t vu __attribute__((ext_vector_type(LANES)));
typedef double vd __attribute__((ext_vector_type(LANES / 2))); /* as wide as vf */
typedef uint16_t vh __attribute__((ext_vector_type(LANES)));
typedef int8_t vb __attribute__((ext_vector_type(LANES)));
typedef float f4 __attribute__((ext_vector_type(4)));
typedef uint32_t u4 __attribute__((ext_vector_type(4)));
typedef uint16_t h4 __attribute__((ext_vector_type(4)));

INLINE vf v_load(const float *p) { vf v; memcpy(&v, p, sizeof v); return v; }
INLINE void v_store(float *p, vf v) { memcpy(p, &v, sizeof v); }
/* Never through an array on the stack: what is written element by element and read whole waits for every write. */
#if LANES == 16
INLINE __mmask16 v_first(int64_t n) { return (__mmask16)((1u << n) - 1); }
INLINE vf v_load_part(const float *p, int64_t n) { return (vf)_mm512_maskz_loadu_ps(v_first(n), p); }
INLINE void v_store_part(float *p, vf v, int64_t n) { _mm512_mask_storeu_ps(p, v_first(n), (__m512)v); }
#elif LANES == 8
INLINE __m256i v_first(int64_t n) { return (__m256i)((vi){0, 1, 2, 3, 4, 5, 6, 7} < (int32_t)n); }
INLINE vf v_load_part(const float *p, int64_t n) { return (vf)_mm256_maskload_ps(p, v_first(n)); }
INLINE void v_store_part(float *p, vf v, int64_t n) { _mm256_maskstore_ps(p, v_first(n), (__m256)v); }
#else
INLINE vf v_load_part(const float *p, int64_t n) {
    return (vf){n > 0 ? p[0] : 0, n > 1 ? p[1] : 0, n > 2 ? p[2] : 0, n > 3 ? p[3] : 0};
}
INLINE void v_store_part(float *p, vf v, int64_t n) {
    if (n > 0) p[0] = v.x;
    if (n > 1) p[1] = v.y;
    if (n > 2) p[2] = v.z;
    if (n > 3) p[3] = v.w;
}
#endif
/* Elements from ... to - 1 of p, which may lie outside of 0 ... LANES - 1, and zeros for the others; of v. */
#if LANES == 16
INLINE vi v_numbers(void) { return (vi){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }
#elif LANES == 8
INLINE vi v_numbers(void) { return (vi){0, 1, 2, 3, 4, 5, 6, 7}; }
#else
INLINE vi v_numbers(void) { return (vi){0, 1, 2, 3}; }
#endif
INLINE vi v_range(int64_t from, int64_t to) {
    int32_t least = (int32_t)(from < 0 ? 0 : from > LANES ? LANES : from), most = (int32_t)(to < 0 ? 0 : to > LANES ? LANES : to);
    vi number = v_numbers();
    return (number >= least) & (number < most);
}
INLINE vf v_between(vf v, int64_t from, int64_t to) { return (vf)((vi)v & v_range(from, to)); }
INLINE vf v_load_between(const float *p, int64_t from, int64_t to) {
    if (from <= 0 && to >= LANES) return v_load(p);
#if LANES == 16
    return (vf)_mm512_maskz_loadu_ps(_mm512_movepi32_mask((__m512i)v_range(from, to)), p);
#elif LANES == 8
    return (vf)_mm256_maskload_ps(p, (__m256i)v_range(from, to));
#else
    vf v = (vf)(0.0f);
    for (int i = 0; i < LANES; i++)
        if (i >= from && i < to) v[i] = p[i];
    return v;
#endif
}
INLINE vf v_splat(float x) { return (vf)(x); }
INLINE vi v_bits(vf v) { return (vi)v; }
INLINE vf v_float(vi v) { return (vf)v; }
/* a < b ? b : a keeps a NaN of `a`, as the selects below rely on. */
INLINE vf v_max(vf a, vf b) { return a < b ? b : a; }
INLINE vf v_min(vf a, vf b) { return a > b ? b : a; }
INLINE vf v_abs(vf a) { return v_float(v_bits(a) & 0x7fffffff); }

/* a * b + c, rounded once wherever there is an instruction for it. Left to the compiler, one function would have it and another of the
 * same sums not. */
INLINE vf v_multiply_add(vf a, vf b, vf c) {
#if CK_FUSED || defined(__aarch64__)
    return __builtin_elementwise_fma(a, b, c);
#else
#pragma clang fp contract(off)
    return a * b + c;
#endif
}

INLINE float v_sum(vf v) {
#if LANES == 16
    __typeof__(v.lo) w = v.lo + v.hi;
    f4 q = w.lo + w.hi;
#elif LANES == 8
    f4 q = v.lo + v.hi;
#else
    f4 q = v;
#endif
    return (q.x + q.z) + (q.y + q.w);
}
INLINE double v_sum_double(vd v) {
    double t[LANES / 2], total = 0;
    memcpy(t, &v, sizeof v);
    for (int i = 0; i < LANES / 2; i++) total += t[i];
    return total;
}
INLINE float v_max_lane(vf v) {
    float t[LANES];
    v_store(t, v);
    float best = t[0];
    for (int i = 1; i < LANES; i++) best = best < t[i] ? t[i] : best;
    return best;
}

/* Runs BODY, an expression of the vector `v` loaded from IN[i], into OUT[i]. Two vectors per turn hide latency. */
#define FOR_EACH(IN, OUT, N, BODY)                                                     \
    do {                                                                               \
        int64_t i_ = 0;                                                                \
        for (; i_ + 2 * LANES <= (N); i_ += 2 * LANES) {                               \
            vf first_, second_;                                                        \
            { vf v = v_load((IN) + i_); first_ = (BODY); }                             \
            { vf v = v_load((IN) + i_ + LANES); second_ = (BODY); }                    \
            v_store((OUT) + i_, first_);                                               \
            v_store((OUT) + i_ + LANES, second_);                                      \
        }                                                                              \
        if (i_ + LANES <= (N)) {                                                       \
            vf v = v_load((IN) + i_);                                                  \
            v_store((OUT) + i_, (BODY));                                               \
            i_ += LANES;                                                               \
        }                                                                              \
        if (i_ < (N)) {                                                                \
            vf v = v_load_part((IN) + i_, (N) - i_);                                   \
            v_store_part((OUT) + i_, (BODY), (N) - i_);                                \
        }                                                                              \
    } while (0)
