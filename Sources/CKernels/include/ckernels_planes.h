/* Kernels for networks of planes and tokens side by side, such as the U-Net of Stable Diffusion: gates, channels, changes of size
 * and of layout. The contract is that of ckernels.h. */
#ifndef CKERNELS_PLANES_H
#define CKERNELS_PLANES_H

#include "ckernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- gates (planes.c) ---- */
/* out[r,:] = x[r, :width] * gelu(x[r, width:]) with the normal distribution function; x is [rows, 2*width]. */
void ck_geglu(ck_pool *pool, const float *x, float *out, int64_t rows, int64_t width);
/* Its backward for the gradient g [rows, width] of the output: dx [rows, 2*width]. */
void ck_geglu_backward(ck_pool *pool, const float *x, const float *g, float *dx, int64_t rows, int64_t width);

/* ---- channels (planes.c) ---- */
/* out[b,c,:] = x[b,c,:] + v[b*v_stride + c] over [batch, channels, area]. out may be x. */
void ck_add_channels(ck_pool *pool, const float *x, const float *v, int64_t v_stride, float *out, int64_t batch,
                     int64_t channels, int64_t area);
/* out[p] = the sum of the `area` elements of plane p, in double. */
void ck_plane_sums(ck_pool *pool, const float *x, float *out, int64_t planes, int64_t area);
/* `rows` runs of n elements from x, x_stride apart, to out, out_stride apart. */
void ck_copy_runs(ck_pool *pool, const float *x, int64_t x_stride, float *out, int64_t out_stride, int64_t rows, int64_t n);

/* ---- size and layout (planes.c) ---- */
/* `planes` images [h,w] to [out_h,out_w]: pixel i reads floor(i * (float)h/out_h), at most h - 1, as torch's nearest. */
void ck_resize_nearest(ck_pool *pool, const float *x, float *out, int64_t planes, int64_t h, int64_t w, int64_t out_h,
                       int64_t out_w);
/* Its backward: dx [planes, h, w] sums the g [planes, out_h, out_w] of the pixels that read it. */
void ck_resize_nearest_backward(ck_pool *pool, const float *g, float *dx, int64_t planes, int64_t h, int64_t w,
                                int64_t out_h, int64_t out_w);
/* out[b,c,r] = x[b,r,c] + add[b,c,r] for x [batch, rows, cols]. out may be add. */
void ck_transpose_add(ck_pool *pool, const float *x, const float *add, float *out, int64_t batch, int64_t rows, int64_t cols);

#ifdef __cplusplus
}
#endif
#endif
