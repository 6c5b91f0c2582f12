/* Weights as whole numbers: k lines of CK_STRIP floats, one column each row of the matrix, as pack_rows makes them. */

/* Without their sign the bits of floats are in the order of their magnitudes, infinity and NaN behind all numbers. */
static void strip_largest(const float *lines, int64_t k, int32_t *largest) {
    for (int q = 0; q < STRIP_REGISTERS; q++) {
        vi most;
        memcpy(&most, largest + q * LANES, sizeof most);
        for (int64_t p = 0; p < k; p++) {
            vi bits = v_bits(v_abs(v_load(lines + p * CK_STRIP + q * LANES)));
            most = bits > most ? bits : most;
        }
        memcpy(largest + q * LANES, &most, sizeof most);
    }
}

/* Quotients are at most 127 and a rounding; adding and taking away 1.5 * 2^23 rounds them to nearest even. NaN gives 0. */
static void strip_quantised(const float *lines, int64_t k, const float *divisors, int8_t *to) {
    for (int q = 0; q < STRIP_REGISTERS; q++) {
        const vf divisor = v_load(divisors + q * LANES);
        for (int64_t p = 0; p < k; p++) {
            vf x = v_load(lines + p * CK_STRIP + q * LANES) / divisor;
            x = x == x ? x : v_splat(0);
            vb b = __builtin_convertvector((x + 0x1.8p23f) - 0x1.8p23f, vb);
            memcpy(to + p * CK_STRIP + q * LANES, &b, sizeof b);
        }
    }
}
