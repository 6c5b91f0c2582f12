/* What language models add: rotary positions, attention over a memory of keys and values, the choice of tokens. */
#include "table.h"

static void memory(int64_t length, int64_t width, int64_t heads, int64_t kv_heads, int64_t rows) {
    int64_t half = width / 2, kv_width = 2 * kv_heads * width;
    float *q = random_floats(rows * heads * width, 1, 1), *kv = random_floats(length * kv_width, 2, 1),
          *turned = floats(rows * heads * width, 0);
    float *cosines = floats(length * half, 1), *sines = floats(length * half, 2), *out = floats(rows * heads * width, 3);
    for (int64_t i = 0; i < length * half; i++) {
        double angle = (double)(i / half) * pow(100, -(double)(i % half) / (double)half);
        cosines[i] = (float)cos(angle), sines[i] = (float)sin(angle);
    }
    int64_t keys = ck_memory_keys_count(length, width, kv_heads), values = ck_memory_values_count(length, width, kv_heads),
            *positions = bytes(length * 8);
    int64_t first_key = length > 3 ? 2 : 0;
    ck_memory_rows sample = {0, length, positions, length, first_key, 0, floats(keys, 0), floats(values, 0)};
    memset(sample.keys, 0, (size_t)keys * 4), memset(sample.values, 0, (size_t)values * 4);
    for (int64_t i = 0; i < length; i++) positions[i] = i;
    ck_memory_store_args store = {&sample, 1, heads, kv_heads, width, cosines, sines, NULL, kv};
    ck_memory_store(pool, &store);
    /* The queries stand at the last positions. */
    memcpy(turned, q, (size_t)(rows * heads * width) * 4);
    for (int64_t i = 0; i < rows; i++) positions[i] = length - rows + i;
    sample.count = rows, store.kv = NULL, store.q = turned;
    ck_memory_store(pool, &store);
    ck_memory_attention_args args = {&sample,
                                     1,
                                     heads,
                                     kv_heads,
                                     width,
                                     turned,
                                     out,
                                     1 / sqrtf((float)width),
                                     length,
                                     rows,
                                     bytes((int64_t)ck_memory_attention_scratch(ck_pool_threads(pool), rows, length))};
    ck_memory_attention(pool, &args);
    int good = 1;
    double *p = bytes(length * 8), *a = bytes(width * 8);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t h = 0; h < heads; h++) {
            int64_t position = length - rows + r, other = h / (heads / kv_heads);
            const float *from = q + (r * heads + h) * width;
            for (int64_t i = 0; i < half; i++) {
                double c = cosines[position * half + i], s = sines[position * half + i];
                a[i] = from[i] * c - from[half + i] * s, a[half + i] = from[half + i] * c + from[i] * s;
                good &= close_to(turned[(r * heads + h) * width + i], a[i], 1e-6) &&
                        close_to(turned[(r * heads + h) * width + half + i], a[half + i], 1e-6);
            }
            double largest = -INFINITY, sum = 0;
            for (int64_t t = first_key; t < length; t++) {
                const float *key = kv + t * kv_width + other * width;
                p[t] = 0;
                for (int64_t i = 0; i < half; i++) {
                    double c = cosines[t * half + i], s = sines[t * half + i];
                    p[t] += a[i] * (key[i] * c - key[half + i] * s) + a[half + i] * (key[half + i] * c + key[i] * s);
                }
                largest = fmax(largest, p[t] /= sqrt((double)width));
            }
            for (int64_t t = first_key; t < length; t++) sum += p[t] = exp(p[t] - largest);
            for (int64_t i = 0; i < width; i++) {
                double want = 0;
                for (int64_t t = first_key; t < length; t++)
                    want += p[t] / sum * kv[t * kv_width + kv_heads * width + other * width + i];
                good &= close_to(out[(r * heads + h) * width + i], want, 2e-5);
            }
        }
    CHECK(good, "memory of %lld positions, %lld wide, %lld rows", (long long)length, (long long)width, (long long)rows);
    release("memory");
}

static void choices(int64_t n, int64_t offset) {
    enum { ROWS = 5 };
    float *x = random_floats(ROWS * n, offset, 8);
    int64_t tokens[ROWS], place = (int64_t)(bits() % (uint64_t)n);
    double confidences[ROWS];
    x[place] = 9;
    if (n > 2) x[n + 1] = x[n + 2] = 9; /* the first of equal ones */
    ck_gumbel_rows_args args = {x, NULL, ROWS, n, 0, tokens, confidences};
    CHECK(ck_gumbel_rows(pool, &args), "choice among %lld is refused", (long long)n);
    int good = 1;
    for (int r = 0; r < ROWS; r++) {
        int64_t best = 0;
        double sum = 0;
        for (int64_t i = 1; i < n; i++) best = x[r * n + i] > x[r * n + best] ? i : best;
        for (int64_t i = 0; i < n; i++) sum += exp((double)x[r * n + i] - x[r * n + best]);
        good &= tokens[r] == best && fabs(confidences[r] - 1 / sum) <= 2e-6;
    }
    CHECK(good, "choice among %lld", (long long)n);
    float *race = floats(ROWS, 0), *e = floats(ROWS * n, 1);
    for (int64_t i = 0; i < ROWS * n; i++) e[i] = 0.05f + fabsf(number(2));
    ck_race_rows_args dream = {x,
                               e,
                               ROWS,
                               n,
                               0.7f,
                               1,
                               0,
                               CK_CONFIDENCE_PROBABILITY,
                               tokens,
                               race,
                               bytes((int64_t)ck_race_rows_scratch(ck_pool_threads(pool), n))};
    CHECK(ck_race_rows(pool, &dream), "race among %lld is refused", (long long)n);
    int raced = 1;
    for (int r = 0; r < ROWS; r++) {
        double largest = -INFINITY, sum = 0, best = -1, found;
        for (int64_t i = 0; i < n; i++) largest = fmax(largest, x[r * n + i] / 0.7f);
        for (int64_t i = 0; i < n; i++) sum += exp(x[r * n + i] / 0.7f - largest);
        for (int64_t i = 0; i < n; i++) best = fmax(best, exp(x[r * n + i] / 0.7f - largest) / sum / e[r * n + i]);
        found = exp(x[r * n + tokens[r]] / 0.7f - largest) / sum;
        raced &= found / e[r * n + tokens[r]] >= best * (1 - 1e-5) && close_to(race[r], found, 1e-5);
    }
    CHECK(raced, "race among %lld", (long long)n);
    static const float odd[] = {NAN, INFINITY};
    for (int o = 0; o < 2; o++) {
        float kept = x[3 * n + n - 1];
        x[3 * n + n - 1] = odd[o];
        CHECK(!ck_gumbel_rows(pool, &args), "a row of %lld with %f has a choice", (long long)n, (double)odd[o]);
        x[3 * n + n - 1] = kept;
    }
    for (int64_t i = 0; i < n; i++) x[i] = -INFINITY;
    CHECK(!ck_gumbel_rows(pool, &args), "a row of %lld without a number has a choice", (long long)n);
    release("choices");
}

void test_language(void) {
    static const int64_t cases[][5] = {{1, 2, 1, 1, 1},   {5, 8, 2, 1, 3},    {17, 16, 4, 2, 17},
                                       {33, 64, 2, 2, 9}, {100, 24, 3, 1, 1}, {70, 128, 2, 1, 40}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        memory(cases[c][0], cases[c][1], cases[c][2], cases[c][3], cases[c][4]);
    for (int c = 0; c < WIDTHS; c++)
        for (int64_t offset = 0; offset < OFFSETS; offset++) choices(widths[c], offset);
    choices(5000, 1);
}
