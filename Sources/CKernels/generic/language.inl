/* Rows of language models: norm without a mean, gated linear units, rotary positions, the largest of many logits. */

/* The sum of squares in the order in which torch sums a row on a CPU: eight lanes of four interleaved partial sums in a cascade of
 * four levels, then lane by lane; squares are rounded before they are added. A norm that differs in its last bits changes every
 * rounding behind it: with this order whole models come as close to the published results as those do to exact arithmetic. */
typedef float v8 __attribute__((ext_vector_type(8)));
enum { SUM_LEVELS = 4, SUM_PARTS = 4 };

static float sum_of_squares(const float *x, int64_t n) {
#pragma clang fp contract(off)
    int64_t vectors = n / 8, turns = vectors / SUM_PARTS, i = 0;
    const int64_t power = 4, step = 1 << power;
    v8 sums[SUM_LEVELS][SUM_PARTS];
    for (int j = 0; j < SUM_LEVELS; j++)
        for (int k = 0; k < SUM_PARTS; k++) sums[j][k] = (v8)(0.0f);
#define ADD_TURN                                                    \
    for (int k = 0; k < SUM_PARTS; k++) {                           \
        v8 v;                                                       \
        memcpy(&v, x + (i * SUM_PARTS + k) * 8, sizeof v);          \
        v8 square = v * v;                                          \
        sums[0][k] = sums[0][k] + square;                           \
    }
    while (i + step <= turns) {
        for (int64_t end = i + step; i < end; i++) { ADD_TURN }
        for (int j = 1; j < SUM_LEVELS; j++) {
            for (int k = 0; k < SUM_PARTS; k++) {
                sums[j][k] = sums[j][k] + sums[j - 1][k];
                sums[j - 1][k] = (v8)(0.0f);
            }
            if (i & ((step - 1) << (j * power))) break;
        }
    }
    for (; i < turns; i++) { ADD_TURN }
#undef ADD_TURN
    for (int j = 1; j < SUM_LEVELS; j++)
        for (int k = 0; k < SUM_PARTS; k++) sums[0][k] = sums[0][k] + sums[j][k];
    for (int64_t v = turns * SUM_PARTS; v < vectors; v++) {
        v8 value;
        memcpy(&value, x + v * 8, sizeof value);
        v8 square = value * value;
        sums[0][0] = sums[0][0] + square;
    }
    v8 lanes = ((sums[0][0] + sums[0][1]) + sums[0][2]) + sums[0][3];
    float total = 0;
    for (int64_t t = vectors * 8; t < n; t++) {
        float square = x[t] * x[t];
        total = total + square;
    }
    for (int j = 0; j < 8; j++) total = total + lanes[j];
    return total;
}

static void rms_norm_row(const float *x, const float *weight, float *out, int64_t n, float eps) {
#pragma clang fp contract(off)
    float mean = sum_of_squares(x, n) / (float)n;
    float inverse = 1.0f / __builtin_sqrtf(mean + eps);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) v_store(out + i, v_load(weight + i) * (v_load(x + i) * inverse));
    for (; i < n; i++) out[i] = weight[i] * (x[i] * inverse);
}

INLINE void gated_array(int32_t act, const float *gate, const float *up, float *out, int64_t n) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) v_store(out + i, v_activate(act, v_load(gate + i)) * v_load(up + i));
    if (i < n) v_store_part(out + i, v_activate(act, v_load_part(gate + i, n - i)) * v_load_part(up + i, n - i), n - i);
}
static void gated_row(int32_t act, const float *gate, const float *up, float *out, int64_t n) {
    WITH_ACTIVATION(act, gated_array, gate, up, out, n)
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
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf e = v_exp_weight(v_load(x + i) - best);
        low += __builtin_convertvector(e.lo, vd);
        high += __builtin_convertvector(e.hi, vd);
    }
    if (i < n) {
        float line[LANES];
        v_store(line, v_exp_weight(v_load_part(x + i, n - i) - best));
        vf e = v_load_part(line, n - i);
        low += __builtin_convertvector(e.lo, vd);
        high += __builtin_convertvector(e.hi, vd);
    }
    return v_sum_double(low + high);
}
