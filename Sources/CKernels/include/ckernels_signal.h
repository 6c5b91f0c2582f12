/* Kernels for signals: rows in time of so many channels, [rows, width]. A convolution along time is a product of weights with rows that
 * overlap: the window of a row is what lies from that row on, so nothing is unfolded. One whose taps are `dilation` rows apart is as many
 * convolutions side by side, of the rows that have the same remainder: its phases. The contract is that of ckernels.h. */
#ifndef CKERNELS_SIGNAL_H
#define CKERNELS_SIGNAL_H

#include "ckernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Rows [first, first + count) of x, which has `rows` of them and zeros before and after, phase by phase: row t goes to row t/phases of
 * phase t%phases (t from 0 on), and each phase has ceil(count/phases) rows in `out`, of which those past the end are zeros. Elements below
 * 0 are multiplied by `slope`, 0...1. */
void ck_signal_rows(ck_pool *pool, const float *x, int64_t rows, int64_t width, int64_t first, int64_t count, int64_t phases,
                    float slope, float *out);

/* out[t,:] = leaky((accumulate ? out[t,:] : 0) + window(t) w^T + bias) for t < rows, where the window of row t is the k floats from
 * x + t%phases*x_phase + t/phases*x_row on, `w` is [n, k] in f32 by ck_pack_matrix, and results below 0 are multiplied by `slope`. Rows of
 * `out` are out_row apart. out must not alias x. A row's bits depend neither on the others nor on the number of threads. `scratch`:
 * ck_signal_scratch bytes. */
typedef struct {
    const float *x;
    int64_t x_row, x_phase, phases;
    const float *w;
    const float *bias; /* [n] or null */
    float *out;
    int64_t out_row;
    int64_t rows, n, k;
    int32_t accumulate;
    float slope; /* 0...1; 1: none */
    void *scratch;
} ck_signal_args;
void ck_signal(ck_pool *pool, const ck_signal_args *args);
size_t ck_signal_scratch(int32_t threads, int64_t n, int64_t k);

/* ---- by tiles (signal_tiles.c) ---- */

/* The same convolution by Winograd's transform F(4, 4): each tile of CK_SIGNAL_TILE rows and as many taps takes CK_SIGNAL_POINTS
 * multiplications in place of 16, with about three times the rounding error. A row's bits depend on its place in its tile and on all rows
 * that the tile sees, which are more than its own: those of CK_SIGNAL_TILE * groups + 3 rows, where direct sums see `taps`. */
enum { CK_SIGNAL_TILE = 4, CK_SIGNAL_POINTS = 7 };

/* Groups of CK_SIGNAL_TILE taps, the last of them filled up with zeros. */
static inline int64_t ck_signal_groups(int64_t taps) { return (taps + CK_SIGNAL_TILE - 1) / CK_SIGNAL_TILE; }
/* Whether it is the faster one. */
int32_t ck_signal_tiles_worth(int64_t n, int64_t inputs, int64_t taps);
/* Floats that hold the transformed weights. */
int64_t ck_signal_tiles_count(int64_t n, int64_t inputs, int64_t taps);
/* Transforms and packs w [n, taps, inputs]. */
void ck_signal_tiles_pack(ck_pool *pool, const float *w, int64_t n, int64_t inputs, int64_t taps, float *packed);

/* out[t,:] = leaky((accumulate ? out[t,:] : 0) + sum over taps of w[:,tap,:] leaky(x[first + t + tap*dilation,:]) + bias) for t < rows,
 * with zeros outside of x, which has x_rows rows of `inputs` side by side; elements below 0 are multiplied by x_slope, results by `slope`.
 * A tile is made of rows `dilation` apart, the first of them at multiples of CK_SIGNAL_TILE * dilation from t = 0 on and the rows behind
 * each. `w` is by ck_signal_tiles_pack. Rows of `out`, which must not alias x, are out_row apart. The bits do not depend on the number
 * of threads. `scratch`: ck_signal_tiles_scratch bytes. */
typedef struct {
    const float *x;
    int64_t x_rows, inputs, first, taps, dilation;
    float x_slope; /* 0...1; 1: none */
    const float *w;
    const float *bias; /* [n] or null */
    float *out;
    int64_t out_row;
    int64_t rows, n;
    int32_t accumulate;
    float slope; /* 0...1; 1: none */
    void *scratch;
} ck_signal_tiles_args;
void ck_signal_tiles(ck_pool *pool, const ck_signal_tiles_args *args);
size_t ck_signal_tiles_scratch(int32_t threads, const ck_signal_tiles_args *args);

#ifdef __cplusplus
}
#endif
#endif
