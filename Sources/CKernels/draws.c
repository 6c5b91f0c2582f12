/* From vectors to codes, and from logits to tokens. A row is one task; all orderings are of integers made from the bits of
 * floats, so that no value, not even NaN, can lead a search astray. */
#include "include/ckernels_scales.h"
#include "kernels.h"

#include <math.h>

typedef struct {
    const float *x, *y, *norms;
    const uint64_t *bits;
    float *out;
    int64_t *index, *kept;
    int64_t rows, width, count, top_k;
    double floor_p;
    float temperature, sharpness, tau;
    uint64_t *scratch;
    int64_t scratch_each;
} job;

#define TASK(NAME) static void NAME(void *context, int64_t row, int32_t thread)

/* Rows of this many elements in all are worth another thread. */
static ck_pool *worthwhile(ck_pool *pool, int64_t elements) { return elements >= 16384 ? pool : NULL; }

/* ---- codes ---- */

TASK(nearest_task) {
    const job *j = context;
    (void)thread;
    const float *x = j->x + row * j->width;
    float best = INFINITY;
    int64_t found = 0;
    for (int64_t v = 0; v < j->count; v++) {
        const float *t = j->y + v * j->width;
        float dot = 0;
        for (int64_t c = 0; c < j->width; c++) dot += x[c] * t[c];
        float distance = j->norms[v] - 2.0f * dot;
        if (distance < best) best = distance, found = v;
    }
    j->index[row] = found;
}
void ck_nearest_rows(ck_pool *pool, const float *x, const float *table, const float *norms, int64_t *index, int64_t rows,
                     int64_t count, int64_t width) {
    job j = {.x = x, .y = table, .norms = norms, .index = index, .count = count, .width = width};
    ck_run(worthwhile(pool, rows * count), rows, nearest_task, &j);
}

/* ---- truncation ---- */

/* Greater floats have greater keys. */
static uint32_t key_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

/* The key of the k-th largest of n, 1 <= k <= n: byte by byte from the top, counting among those that are left. */
static uint32_t kth_largest(const float *x, int64_t n, int64_t k, uint32_t *keys) {
    uint32_t found = 0;
    for (int64_t i = 0; i < n; i++) keys[i] = key_of(x[i]);
    for (int shift = 24; shift >= 0; shift -= 8) {
        int64_t counts[256] = {0}, left = 0;
        for (int64_t i = 0; i < n; i++) counts[keys[i] >> shift & 255]++;
        uint32_t byte = 255;
        while (byte > 0 && counts[byte] < k) k -= counts[byte--];
        found |= byte << shift;
        for (int64_t i = 0; i < n; i++) {
            keys[left] = keys[i];
            left += (keys[i] >> shift & 255) == byte;
        }
        n = left;
    }
    return found;
}

/* Sorts n values ascending by their upper halves, the keys, byte by byte from below; n more of room behind them. Equal keys
 * stay in their order. */
static uint64_t *sort_by_key(uint64_t *values, int64_t n) {
    uint64_t *from = values, *to = values + n;
    for (int shift = 32; shift < 64; shift += 8) {
        int64_t starts[256] = {0}, next = 0;
        for (int64_t i = 0; i < n; i++) starts[from[i] >> shift & 255]++;
        for (int b = 0; b < 256; b++) {
            int64_t count = starts[b];
            starts[b] = next;
            next += count;
        }
        for (int64_t i = 0; i < n; i++) to[starts[from[i] >> shift & 255]++] = from[i];
        uint64_t *swap = from;
        from = to, to = swap;
    }
    return from;
}

TASK(truncate_task) {
    const job *j = context;
    float *x = j->out + row * j->width;
    int64_t n = j->width, left = 0;
    uint64_t *pairs = j->scratch + thread * j->scratch_each;
    uint32_t threshold = j->top_k > 0 && j->top_k < n ? kth_largest(x, n, j->top_k, (uint32_t *)pairs) : 0;
    for (int64_t i = 0; i < n; i++) {
        if (key_of(x[i]) < threshold) x[i] = -INFINITY;
        if (x[i] != -INFINITY) pairs[left++] = (uint64_t)key_of(x[i]) << 32 | (uint64_t)i;
    }
    if (j->floor_p <= 1 && left > 1) {
        const uint64_t *sorted = sort_by_key(pairs, left);
        float best = x[(uint32_t)sorted[left - 1]], sum = 0;
        for (int64_t i = 0; i < left; i++) sum += expf(x[(uint32_t)sorted[i]] - best);
        double cumulative = 0;
        int64_t removed = 0;
        for (; removed < left - 1; removed++) {
            int64_t at = (uint32_t)sorted[removed];
            cumulative += expf(x[at] - best) / sum;
            if (!((float)cumulative <= (float)j->floor_p)) break;
            x[at] = -INFINITY;
        }
        left -= removed;
    }
    if (j->kept) j->kept[row] = left;
    if (j->temperature == 1.0f) return;
    for (int64_t i = 0; i < n; i++) x[i] = x[i] / j->temperature;
}
void ck_truncate_rows(ck_pool *pool, float *x, int64_t rows, int64_t width, int64_t top_k, double top_p, float temperature,
                      int64_t *kept, void *scratch) {
    job j = {.out = x, .width = width, .top_k = top_k, .temperature = temperature, .kept = kept, .scratch = scratch};
    j.floor_p = top_p > 0 ? 1.0 - top_p : 2.0;
    j.scratch_each = 2 * width;
    ck_run(worthwhile(pool, rows * width), rows, truncate_task, &j);
}
size_t ck_truncate_scratch(int32_t threads, int64_t width) {
    return (size_t)ck_max(threads, 1) * 2 * (size_t)width * sizeof(uint64_t);
}

/* ---- draws ---- */

static float largest(const float *x, int64_t n) {
    float best = -INFINITY;
    for (int64_t i = 0; i < n; i++) best = x[i] > best ? x[i] : best;
    return best;
}

static float sum_of_weights(const float *x, int64_t n, float best) {
    float sum = 0;
    for (int64_t i = 0; i < n; i++)
        if (x[i] != -INFINITY) sum += expf(x[i] - best);
    return sum;
}

enum { TIMES_CHUNK = 4096 };
TASK(times_task) {
    const job *j = context;
    (void)thread;
    int64_t end = ck_min((row + 1) * TIMES_CHUNK, j->count);
    for (int64_t i = row * TIMES_CHUNK; i < end; i++)
        j->out[i] = j->x[i] != -INFINITY ? (float)-log1p(-(double)j->bits[i] * 0x1p-53) : 1;
}
void ck_exponential_times(ck_pool *pool, const uint64_t *bits, const float *x, float *out, int64_t n) {
    job j = {.bits = bits, .x = x, .out = out, .count = n};
    ck_run(worthwhile(pool, n), ck_ceil_div(n, TIMES_CHUNK), times_task, &j);
}

TASK(race_task) {
    const job *j = context;
    (void)thread;
    const float *x = j->x + row * j->width, *q = j->y + row * j->width;
    float best = largest(x, j->width), sum = sum_of_weights(x, j->width, best), first = -1;
    int64_t found = 0;
    for (int64_t i = 0; i < j->width; i++) {
        if (x[i] == -INFINITY) continue;
        float speed = expf(x[i] - best) / sum / q[i];
        if (speed > first) first = speed, found = i;
    }
    j->index[row] = found;
}
void ck_race_codes(ck_pool *pool, const float *x, const float *q, int64_t *index, int64_t rows, int64_t width) {
    job j = {.x = x, .y = q, .index = index, .width = width};
    ck_run(worthwhile(pool, rows * width), rows, race_task, &j);
}

TASK(inverse_task) {
    const job *j = context;
    (void)thread;
    const float *x = j->x + row * j->width;
    float best = largest(x, j->width), sum = sum_of_weights(x, j->width, best);
    double cumulative = 0;
    int64_t found = 0;
    for (int64_t i = 0; i < j->width; i++) {
        if (x[i] == -INFINITY) continue;
        found = i;
        cumulative += expf(x[i] - best) / sum;
        if (cumulative > j->y[row]) break;
    }
    j->index[row] = found;
}
void ck_inverse_rows(ck_pool *pool, const float *x, const float *u, int64_t *index, int64_t rows, int64_t width) {
    job j = {.x = x, .y = u, .index = index, .width = width};
    ck_run(worthwhile(pool, rows * width), rows, inverse_task, &j);
}

TASK(gumbel_task) {
    const job *j = context;
    (void)thread;
    const float *x = j->x + row * j->width, *e = j->y + row * j->width;
    float *out = j->out + row * j->width;
    for (int64_t i = 0; i < j->width; i++) out[i] = x[i] == -INFINITY ? -INFINITY : (x[i] * j->sharpness - logf(e[i])) / j->tau;
    float best = largest(out, j->width), sum = sum_of_weights(out, j->width, best);
    for (int64_t i = 0; i < j->width; i++) out[i] = out[i] == -INFINITY ? 0 : expf(out[i] - best) / sum;
}
void ck_gumbel_codes(ck_pool *pool, const float *x, const float *e, float *out, int64_t rows, int64_t width, float sharpness,
                     float tau) {
    job j = {.x = x, .y = e, .out = out, .width = width, .sharpness = sharpness, .tau = tau};
    ck_run(worthwhile(pool, rows * width), rows, gumbel_task, &j);
}

enum { LEVELS_CHUNK = 16384 };
TASK(levels_task) {
    const job *j = context;
    (void)thread;
    int64_t end = ck_min((row + 1) * LEVELS_CHUNK, j->count);
    for (int64_t i = row * LEVELS_CHUNK; i < end; i++) {
        float value = j->x[i] > -1 ? j->x[i] : -1;
        value = value < 1 ? value : 1;
        j->out[i] = floorf((value + 1.0f) * 0.5f * 255.0f);
    }
}
void ck_floor_levels(ck_pool *pool, const float *x, float *out, int64_t n) {
    job j = {.x = x, .out = out, .count = n};
    ck_run(pool, ck_ceil_div(n, LEVELS_CHUNK), levels_task, &j);
}
