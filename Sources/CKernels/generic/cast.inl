/* float16, bfloat16 and int8 to float32, and the first two back. Where there are no instructions, integer arithmetic that vectorises and
 * gives the same bits, NaN payloads included. */

INLINE uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
INLINE float float_of(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }

INLINE float half_to_float(uint16_t h) {
    /* Exponent and mantissa moved into place, then multiplied by 2^112: right for normal and subnormal numbers. */
    uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13;
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t finite = bits_of(float_of(magnitude) * 0x1p112f);
    uint32_t special = magnitude | 0x7f800000u | (magnitude > 0x0f800000u ? 0x00400000u : 0u);
    return float_of(sign | (magnitude >= 0x0f800000u ? special : finite));
}

INLINE uint16_t float_to_half(float x) {
    uint32_t u = bits_of(x), sign = (u >> 16) & 0x8000u;
    u &= 0x7fffffffu;
    /* Below 2^-14 the addition of a half aligns the mantissa and rounds it to nearest even. */
    uint32_t small = bits_of(float_of(u) + 0.5f) - 0x3f000000u;
    uint32_t normal = (u - 0x38000000u + 0xfffu + ((u >> 13) & 1u)) >> 13;
    uint32_t special = u > 0x7f800000u ? (0x7e00u | ((u >> 13) & 0x3ffu)) : 0x7c00u;
    uint32_t value = u < 0x38800000u ? small : normal;
    value = u >= 0x477ff000u ? special : value;
    return (uint16_t)(sign | value);
}

INLINE uint16_t float_to_brain(float x) {
    uint32_t u = bits_of(x);
    uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? ((u >> 16) | 0x40u) : rounded);
}

/* The same for one register; `dtype` is a constant wherever these are inlined. */
INLINE vf v_load_as(int32_t dtype, const void *p, int64_t i) {
    if (dtype == CK_F32 || dtype == CK_PAIRS) return v_load((const float *)p + i);
    if (dtype == CK_I8) {
        vb b;
        memcpy(&b, (const int8_t *)p + i, sizeof b);
        return __builtin_convertvector(b, vf);
    }
    vh h;
    memcpy(&h, (const uint16_t *)p + i, sizeof h);
    if (dtype == CK_BF16) return (vf)(__builtin_convertvector(h, vu) << 16);
#if CK_HALF_HARDWARE
    typedef _Float16 vhalf __attribute__((ext_vector_type(LANES)));
    return __builtin_convertvector((vhalf)h, vf);
#else
    vu magnitude = __builtin_convertvector(h & (uint16_t)0x7fff, vu) << 13;
    vu sign = __builtin_convertvector(h & (uint16_t)0x8000, vu) << 16;
    vu finite = (vu)((vf)magnitude * 0x1p112f);
    vu quiet = magnitude > 0x0f800000u ? (vu)(0x00400000u) : (vu)(0u);
    vu value = magnitude >= 0x0f800000u ? (magnitude | 0x7f800000u | quiet) : finite;
    return (vf)(sign | value);
#endif
}

INLINE float load_as(int32_t dtype, const void *p, int64_t i) {
    if (dtype == CK_F32) return ((const float *)p)[i];
    if (dtype == CK_I8) return ((const int8_t *)p)[i];
    uint16_t h = ((const uint16_t *)p)[i];
    if (dtype == CK_BF16) return float_of((uint32_t)h << 16);
#if CK_HALF_HARDWARE
    _Float16 half;
    memcpy(&half, &h, sizeof half);
    return half;
#else
    return half_to_float(h);
#endif
}

/* The first n elements from i on, zeros behind them. The narrow ones by a function: inlined, its loop would put all sums of the loop
 * around it on the stack. */
static __attribute__((noinline)) vf v_load_part_narrow(int32_t dtype, const void *p, int64_t i, int64_t n) {
    uint16_t line[LANES] = {0};
    memcpy(line, ck_at(p, dtype, i), (size_t)(n * ck_type_size(dtype)));
    if (dtype == CK_F16) return v_load_as(CK_F16, line, 0);
    return dtype == CK_I8 ? v_load_as(CK_I8, line, 0) : v_load_as(CK_BF16, line, 0);
}
INLINE vf v_load_part_as(int32_t dtype, const void *p, int64_t i, int64_t n) {
    return dtype == CK_F32 ? v_load_part((const float *)p + i, n) : v_load_part_narrow(dtype, p, i, n);
}

INLINE void widen(int32_t dtype, const void *src, float *dst, int64_t n) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) v_store(dst + i, v_load_as(dtype, src, i));
    for (; i < n; i++) dst[i] = load_as(dtype, src, i);
}

static void to_f32(int32_t dtype, const void *src, float *dst, int64_t n) {
    if (dtype == CK_F32) memcpy(dst, src, (size_t)n * 4);
    else if (dtype == CK_F16) widen(CK_F16, src, dst, n);
    else if (dtype == CK_I8) widen(CK_I8, src, dst, n);
    else widen(CK_BF16, src, dst, n);
}

/* Register q of a line of a packed strip, `at` being where the line begins (ck_strip_place). `dtype` and q are constants wherever this
 * is inlined. */
INLINE vf v_load_line(int32_t dtype, const void *packed, int64_t at, int64_t q) {
    if (dtype != CK_BF16) return v_load_as(dtype, packed, at + q * LANES);
    const uint16_t *line = (const uint16_t *)packed + at;
#if LANES < CK_STRIP
    vu pairs;
    memcpy(&pairs, line + q % (STRIP_REGISTERS / 2) * 2 * LANES, sizeof pairs);
    return q < STRIP_REGISTERS / 2 ? (vf)(pairs << 16) : (vf)(pairs & 0xffff0000u);
#else
    typedef uint32_t vpairs __attribute__((ext_vector_type(LANES / 2)));
    vpairs pairs;
    memcpy(&pairs, line, sizeof pairs);
    vu both;
    both.lo = pairs << 16;
    both.hi = pairs & 0xffff0000u;
    return (vf)both;
#endif
}

static void strips_to_f32(int32_t dtype, const void *src, float *dst, int64_t lines) {
    if (dtype != CK_BF16) {
        to_f32(dtype, src, dst, lines * CK_STRIP);
        return;
    }
    for (int64_t at = 0; at < lines * CK_STRIP; at += CK_STRIP)
#pragma unroll
        for (int q = 0; q < STRIP_REGISTERS; q++) v_store(dst + at + q * LANES, v_load_line(CK_BF16, src, at, q));
}

static void from_f32(int32_t dtype, const float *src, void *dst, int64_t n) {
    uint16_t *out = dst;
    int64_t i = 0;
    if (dtype == CK_F32) {
        memcpy(dst, src, (size_t)n * 4);
    } else if (dtype == CK_BF16) {
        for (; i < n; i++) out[i] = float_to_brain(src[i]);
    } else {
#if CK_HALF_HARDWARE
        typedef _Float16 vhalf __attribute__((ext_vector_type(LANES)));
        for (; i + LANES <= n; i += LANES) {
            vhalf h = __builtin_convertvector(v_load(src + i), vhalf);
            memcpy(out + i, &h, sizeof h);
        }
#endif
        for (; i < n; i++) out[i] = float_to_half(src[i]);
    }
}
