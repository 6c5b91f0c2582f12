/* Attention in groups over a grid of times whose queries see all groups near them in time. */
#include "grouped.h"

enum { BATCH = 2, HEADS = 2 };

typedef struct {
    int64_t times, groups, width, shared, window;
    int own, hides;
} grid;

/* What query t of group g sees of the grid's tokens; shared ones stand behind them. */
static int sees(const grid *x, const float *hidden, int64_t t, int64_t g, int64_t token) {
    if (token >= x->times * x->groups) return 1;
    if (x->own && token % x->groups == g) return 1;
    int64_t distance = token / x->groups - t;
    return x->window > 0 && (distance < 0 ? -distance : distance) <= x->window && !(x->hides && isinf(hidden[token]));
}

static void one_grid(const grid *x) {
    int64_t tokens = x->times * x->groups, all = tokens + x->shared, row = HEADS * x->width;
    ck_attention_args args = random_groups(&(grouped_sizes){BATCH, HEADS, x->times, x->times, x->width, x->groups, x->shared});
    float *hidden = floats(tokens, 1), *out = args.out;
    for (int64_t i = 0; i < tokens; i++) hidden[i] = bits() % 4 ? 0 : -INFINITY;
    if (!x->own) args.keys = 0;
    args.window = x->window, args.window_bias = x->hides ? hidden : NULL;
    args.scratch = bytes((int64_t)ck_attention_scratch(ck_pool_threads(pool), &args));
    ck_attention(pool, &args);
    int good = 1;
    double *p = bytes(all * 8);
    for (int64_t at = 0; at < BATCH * HEADS * tokens; at++) {
        int64_t token = at % tokens, h = at / tokens % HEADS, b = at / tokens / HEADS;
        int64_t t = token / x->groups, g = token % x->groups;
        const float *query = args.q + (b * tokens + token) * row + h * x->width;
        double largest = -INFINITY, sum = 0;
        for (int64_t s = 0; s < all; s++) {
            const float *key =
                s < tokens ? args.k + (b * tokens + s) * row : args.shared_k + (b * x->shared + s - tokens) * row;
            p[s] = -INFINITY;
            if (!sees(x, hidden, t, g, s)) continue;
            p[s] = 0;
            for (int64_t d = 0; d < x->width; d++) p[s] += (double)query[d] * key[h * x->width + d];
            largest = fmax(largest, p[s] *= args.scale);
        }
        for (int64_t s = 0; s < all; s++) sum += p[s] = exp(p[s] - largest);
        for (int64_t d = 0; d < x->width; d++) {
            double want = 0;
            for (int64_t s = 0; s < all; s++) {
                if (p[s] == 0) continue;
                const float *value =
                    s < tokens ? args.v + (b * tokens + s) * row : args.shared_v + (b * x->shared + s - tokens) * row;
                want += p[s] / sum * value[h * x->width + d];
            }
            good &= close_to(out[(b * tokens + token) * row + h * x->width + d], want, 2e-5);
        }
    }
    CHECK(good, "window %lld of %lld x %lld, %lld shared, width %lld%s%s", (long long)x->window, (long long)x->times,
          (long long)x->groups, (long long)x->shared, (long long)x->width, x->own ? ", own" : "",
          x->hides ? ", some hidden" : "");
    float *alone = floats(BATCH * tokens * row, 1);
    args.out = alone;
    ck_attention(NULL, &args);
    CHECK(same_bits(out, alone, BATCH * tokens * row), "bits of a window of %lld on one thread", (long long)x->window);
    release("window");
}

void test_windows(void) {
    static const int64_t times[] = {1, 2, 5, 25, 60}, groups[] = {1, 2, 3, 8}, sides[] = {1, 2, 24, 1000};
    for (int t = 0; t < 5; t++)
        for (int g = 0; g < 4; g++)
            for (int s = 0; s < 4; s++)
                for (int own = 0; own < 2; own++) {
                    int64_t shared = own ? (int64_t)(bits() % 9) : s % 2 ? 0 : 7; /* without any, nothing may be hidden */
                    one_grid(&(grid){times[t], groups[g], widths[bits() % 11], shared, sides[s], own, own && bits() % 2});
                }
    one_grid(&(grid){330, 4, 8, 40, 150, 1, 1}); /* several tiles of times, each with more keys than a block */
    one_grid(&(grid){330, 4, 8, 0, 150, 0, 0});
    one_grid(&(grid){800, 2, 8, 10, 30, 1, 0});  /* several tasks for the times */
    one_grid(&(grid){50, 8, 200, 600, 3, 1, 0}); /* shared keys in blocks of their own */
}
