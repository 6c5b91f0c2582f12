/* Kernels for generation scale by scale: resampling of token maps, split and normalised heads, draws. The contract is that of
 * ckernels.h. */
#ifndef CKERNELS_SCALES_H
#define CKERNELS_SCALES_H

#include "ckernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- resampling (resample.c) ---- */
/* `planes` images [from, from] to [to, to] as torch's bicubic interpolation (A = -0.75, align_corners and antialias off): taps
 * at floor((i + 0.5) from / to - 0.5) - 1 ... + 2, limited to the image. */
void ck_resample_bicubic(ck_pool *pool, const float *x, float *out, int64_t planes, int64_t from, int64_t to);
/* The same by the mean over rows and columns floor(i from / to) ... ceil((i + 1) from / to) - 1. */
void ck_resample_area(ck_pool *pool, const float *x, float *out, int64_t planes, int64_t from, int64_t to);

/* ---- heads (heads.c) ---- */
/* A fused projection [batch, tokens, 3, heads, head_dim] taken apart: queries to q [batch, tokens, heads * head_dim], keys and
 * values to rows `at` and on of k and v, whose samples are kv_batch floats apart. With `scale` [heads] queries and keys are
 * divided by their length (at least 1e-12) head by head, queries then multiplied by scale[head]. */
typedef struct {
    const float *qkv;
    float *q, *k, *v;
    const float *scale; /* or null */
    int64_t batch, tokens, heads, head_dim, kv_batch, at;
} ck_split_heads_args;
void ck_split_heads(ck_pool *pool, const ck_split_heads_args *args);

/* The same in place of [rows, 3, heads, head_dim]: queries and keys divided by their length, queries times scale[head], values
 * as they are; and its backward: dx for the gradient g of the output. out must not alias qkv, dx may be g. */
void ck_normalise_heads(ck_pool *pool, const float *qkv, const float *scale, float *out, int64_t rows, int64_t heads,
                        int64_t head_dim);
void ck_normalise_heads_backward(ck_pool *pool, const float *qkv, const float *scale, const float *g, float *dx, int64_t rows,
                                 int64_t heads, int64_t head_dim);
/* The gradient of `scale` there: out[head] = (accumulate ? out[head] : 0) + the sum over rows of g . q / |q|, in double. */
void ck_head_scales_backward(ck_pool *pool, const float *qkv, const float *g, float *out, int64_t rows, int64_t heads,
                             int64_t head_dim, int32_t accumulate);

/* ---- codes and draws (draws.c) ---- */
/* index[r] = the row of table [count, width] nearest to x[r, :]: the least |t|^2 - 2 x.t, the first of equal ones. `norms`
 * [count] are the |t|^2. */
void ck_nearest_rows(ck_pool *pool, const float *x, const float *table, const float *norms, int64_t *index, int64_t rows,
                     int64_t count, int64_t width);
/* Each row of x [rows, width], in place: entries below the top_k-th largest become -inf (ties stay; 0: all stay); then those
 * whose cumulative probability, from the smallest up, is at most 1 - top_p, but not the largest (0: all stay); then what is
 * left is divided by `temperature`. kept[r] is how many are left; kept may be null. No NaN. `scratch`: ck_truncate_scratch
 * bytes. */
void ck_truncate_rows(ck_pool *pool, float *x, int64_t rows, int64_t width, int64_t top_k, double top_p, float temperature,
                      int64_t *kept, void *scratch);
size_t ck_truncate_scratch(int32_t threads, int64_t width);
/* out[i] = -ln(1 - bits[i]/2^53) where x[i] is not -inf, else 1; bits below 2^53. */
void ck_exponential_times(ck_pool *pool, const uint64_t *bits, const float *x, float *out, int64_t n);
/* index[r] = argmax of p/q with p = softmax(x[r, :]) (the first of equal ones); q [rows, width] is read where x is not -inf. */
void ck_race_codes(ck_pool *pool, const float *x, const float *q, int64_t *index, int64_t rows, int64_t width);
/* index[r] = the first entry at which the running sum of softmax(x[r, :]) passes u[r]; the last one left when none does. */
void ck_inverse_rows(ck_pool *pool, const float *x, const float *u, int64_t *index, int64_t rows, int64_t width);
/* out = softmax((sharpness x - ln e) / tau) row by row; 0 where x is -inf, e is not read there. out may be e. */
void ck_gumbel_codes(ck_pool *pool, const float *x, const float *e, float *out, int64_t rows, int64_t width, float sharpness,
                    float tau);
/* out = floor(255 (min(max(x, -1), 1) + 1) / 2): what a cast of a picture to bytes leaves. out may be x. */
void ck_floor_levels(ck_pool *pool, const float *x, float *out, int64_t n);

#ifdef __cplusplus
}
#endif
#endif
