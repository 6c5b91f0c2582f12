/* Single layers of an image network on the kernels of this library: a convolution, an attention. */
#include "../../Sources/CKernels/include/ckernels.h"

#include <stdlib.h>

/* One convolution, NCHW with `pad` on all sides; `form` is -1 for the one that the library chooses. Gives the form, -1 when out of
 * memory. */
int32_t layers_convolution(ck_pool *pool, const float *x, const void *w, int32_t dtype, const float *bias, float *out,
                           const int64_t *sizes, int32_t form) {
    enum { BATCH, IN, HEIGHT, WIDTH, OUT, KERNEL, STRIDE, UP };
    int64_t pad = sizes[KERNEL] / 2;
    ck_conv2d_args a = {
        .x = x,
        .w = w,
        .dtype = dtype,
        .bias = bias,
        .out = out,
        .batch = sizes[BATCH],
        .in_channels = sizes[IN],
        .h = sizes[HEIGHT],
        .width = sizes[WIDTH],
        .out_channels = sizes[OUT],
        .out_h = (sizes[HEIGHT] * sizes[UP] + 2 * pad - sizes[KERNEL]) / sizes[STRIDE] + 1,
        .out_w = (sizes[WIDTH] * sizes[UP] + 2 * pad - sizes[KERNEL]) / sizes[STRIDE] + 1,
        .kh = sizes[KERNEL],
        .kw = sizes[KERNEL],
        .stride = sizes[STRIDE],
        .pad_top = pad,
        .pad_left = pad,
        .upsample = sizes[UP],
    };
    a.form = form >= 0 ? form : ck_conv2d_form(&a, 0);
    size_t bytes = (ck_conv2d_scratch(ck_pool_threads(pool), &a) + 63) / 64 * 64;
    if (!(a.scratch = aligned_alloc(64, bytes))) return -1;
    ck_conv2d(pool, &a);
    free(a.scratch);
    return a.form;
}

/* Self-attention of rows [1, times * frequencies, heads * head_dim], time by time, each frequency to itself at all times and to the
 * `shared` rows that are given apart. 0 when out of memory. */
int32_t layers_frequencies(ck_pool *pool, const float *q, const float *k, const float *v, const float *shared_k,
                           const float *shared_v, float *out, const int64_t *sizes, float scale) {
    enum { HEADS, TIMES, FREQUENCIES, SHARED, HEAD_DIM };
    int64_t width = sizes[HEADS] * sizes[HEAD_DIM], row = width * sizes[FREQUENCIES], all = row * sizes[TIMES];
    ck_attention_args a = {
        .q = q,
        .k = k,
        .v = v,
        .out = out,
        .q_batch = all,
        .q_row = row,
        .k_batch = all,
        .k_row = row,
        .v_batch = all,
        .v_row = row,
        .out_batch = all,
        .out_row = row,
        .batch = 1,
        .heads = sizes[HEADS],
        .queries = sizes[TIMES],
        .keys = sizes[TIMES],
        .head_dim = sizes[HEAD_DIM],
        .scale = scale,
        .groups = sizes[FREQUENCIES],
        .q_group = width,
        .k_group = width,
        .v_group = width,
        .out_group = width,
        .shared_k = shared_k,
        .shared_v = shared_v,
        .shared_k_row = width,
        .shared_v_row = width,
        .shared = sizes[SHARED],
    };
    size_t bytes = (ck_attention_scratch(ck_pool_threads(pool), &a) + 63) / 64 * 64;
    if (!(a.scratch = aligned_alloc(64, bytes))) return 0;
    ck_attention(pool, &a);
    free(a.scratch);
    return 1;
}

/* Attention of rows [batch, queries, heads * head_dim] to [batch, keys, heads * head_dim]. 0 when out of memory. */
int32_t layers_attention(ck_pool *pool, const float *q, const float *k, const float *v, float *out, const int64_t *sizes, float scale) {
    enum { BATCH, HEADS, QUERIES, KEYS, HEAD_DIM };
    int64_t row = sizes[HEADS] * sizes[HEAD_DIM], queries = sizes[QUERIES] * row, keys = sizes[KEYS] * row;
    ck_attention_args a = {
        .q = q,
        .k = k,
        .v = v,
        .out = out,
        .q_batch = queries,
        .q_row = row,
        .k_batch = keys,
        .k_row = row,
        .v_batch = keys,
        .v_row = row,
        .out_batch = queries,
        .out_row = row,
        .batch = sizes[BATCH],
        .heads = sizes[HEADS],
        .queries = sizes[QUERIES],
        .keys = sizes[KEYS],
        .head_dim = sizes[HEAD_DIM],
        .scale = scale,
    };
    size_t bytes = (ck_attention_scratch(ck_pool_threads(pool), &a) + 63) / 64 * 64;
    if (!(a.scratch = aligned_alloc(64, bytes))) return 0;
    ck_attention(pool, &a);
    free(a.scratch);
    return 1;
}
