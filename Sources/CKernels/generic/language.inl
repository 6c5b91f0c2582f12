/* Rows of language models: norm without a mean, gated linear units, rotary positions, the largest of many logits. */

static void rms_norm_row(const float *x, const float *weight, float *out, int64_t n, float eps) {
    float mean = row_sum(x, n, 0.0f, 1) / (float)n;
    float inverse = 1.0f / __builtin_sqrtf(mean + eps);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) v_store(out + i, v_load(weight + i) * (v_load(x + i) * inverse));
    for (; i < n; i++) out[i] = weight[i] * (x[i] * inverse);
}

static void swiglu_row(const float *gate, const float *up, float *out, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) {
        int64_t left = n - i;
        if (left >= LANES) v_store(out + i, v_silu(v_load(gate + i)) * v_load(up + i));
        else v_store_part(out + i, v_silu(v_load_part(gate + i, left)) * v_load_part(up + i, left), left);
    }
}

static void rotate(const float *x, const float *cosines, const float *sines, float *out, int64_t n) {
#pragma clang fp contract(off)
    for (int64_t i = 0; i < n; i += LANES) {
        int64_t left = n - i;
        int32_t whole = left >= LANES;
#define TAKE(P) (whole ? v_load((P) + i) : v_load_part((P) + i, left))
        vf a = TAKE(x), b = TAKE(x + n), c = TAKE(cosines), s = TAKE(sines);
#undef TAKE
        vf first = a * c - b * s, second = b * c + a * s;
        if (whole) v_store(out + i, first), v_store(out + n + i, second);
        else v_store_part(out + i, first, left), v_store_part(out + n + i, second, left);
    }
}

static int64_t best_of(const float *x, int64_t n, float *value) {
    const float infinity = __builtin_inff();
    vf best0 = v_splat(-infinity), best1 = best0;
    vi bad = (vi)(0);
    int64_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        vf a = v_load(x + i), b = v_load(x + i + LANES);
        /* Not (a < infinity): NaN and plus infinity. */
        bad |= ~(a < infinity) | ~(b < infinity);
        best0 = v_max(best0, a);
        best1 = v_max(best1, b);
    }
    float best = v_max_lane(v_max(best0, best1));
    int32_t wrong = 0, lanes[LANES];
    memcpy(lanes, &bad, sizeof bad);
    for (int j = 0; j < LANES; j++) wrong |= lanes[j];
    for (; i < n; i++) {
        wrong |= !(x[i] < infinity);
        best = best < x[i] ? x[i] : best;
    }
    *value = best;
    if (wrong || !(best > -infinity)) return -1;
    for (i = 0; i < n; i++)
        if (x[i] == best) return i;
    return -1;
}

static double exp_sum(const float *x, int64_t n, float best) {
    vd low = (vd)(0.0), high = low;
    for (int64_t i = 0; i < n; i += LANES) {
        int64_t left = n - i;
        float line[LANES];
        vf e;
        if (left >= LANES) {
            e = v_exp_weight(v_load(x + i) - best);
        } else {
            v_store(line, v_exp_weight(v_load_part(x + i, left) - best));
            e = v_load_part(line, left);
        }
        low += __builtin_convertvector(e.lo, vd);
        high += __builtin_convertvector(e.hi, vd);
    }
    return v_sum_double(low + high);
}
