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

#ifdef __cplusplus
}
#endif
#endif
