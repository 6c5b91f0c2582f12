/* Internal: the functions that exist once per instruction set, and the helpers shared by the drivers.
 * The drivers (linear.c, attention.c, ...) cut the work into tasks; what a task does to one row or tile is here. */
#ifndef CK_KERNELS_INTERNAL_H
#define CK_KERNELS_INTERNAL_H

#include "include/ckernels.h"
#include "include/ckernels_language.h"
#include "include/ckernels_learning.h"

#include <string.h>

/* Columns of one packed strip, on every instruction set. A macro, as the preprocessor asks for it. */
#define CK_STRIP 16
/* Where a column of a strip lies in each of its lines. bf16 is folded: the columns of both halves share 32 bits by turns, so
 * that one load, a shift and a mask widen two registers, where widening them one by one takes units that multiply. */
static inline int64_t ck_strip_place(int32_t dtype, int64_t column) {
    return dtype == CK_BF16 ? column % (CK_STRIP / 2) * 2 + column / (CK_STRIP / 2) : column;
}

/* c[m,n] = act(((accumulate ? c : 0) + a[m,k] * packed) * scale + bias); k counts units where both are packed */
typedef struct {
    const float *a;
    int64_t lda;
    const float *packed;
    float *c;
    int64_t ldc;
    int64_t m, n, k;
    int32_t accumulate, act;
    const float *scale, *bias; /* or null */
    const void *next;          /* gemm_block only: fetched meanwhile, */
    int64_t next_bytes;        /* so much of it */
} ck_panel_args;

/* What the rows of a layer norm add to the gradients of its vectors. */
typedef struct {
    float *shift, *scale, *weight, *bias;
} ck_norm_sums;

/* An AdamW step's scalars, rounded where torch rounds them. */
typedef struct {
    float decay, beta1_rest, beta2, beta2_rest, step_size, root, eps, gradient_scale;
} ck_adamw_factors;

/* Where `count` tiles side by side find their input: lines[i] is line i of `width` pixels, each `up` (1 or 2) times, or null outside;
 * x the first pixel of the first tile, which may be outside too. */
typedef struct {
    const float *lines[6];
    int64_t count, x, width, ahead; /* so far on is what is fetched meanwhile */
    const float *norm;              /* center, factor, offset; or null */
    int32_t up, act;                /* CK_ACT_NONE or CK_ACT_SILU */
} ck_tile_lines;

/* What becomes of the sums of a tile of a signal (signal.inl), points `stride` apart: `count` rows of n floats, `step` apart. */
typedef struct {
    const float *sums;
    int64_t stride, n;
    const float *bias; /* or null */
    float *out;
    int64_t step;
    int32_t count, accumulate;
    float slope;
} ck_signal_sums;

struct ck_gemm_args;

typedef struct ck_kernels {
    int32_t isa;
    int32_t unit;         /* elements of k in 32 bits of a packed factor: 1, or 2 in a table of pairs of bf16 (units.inl) */
    int32_t gemm_rows;    /* rows of one register tile */
    int32_t gemm_columns; /* its columns, or those of a strip where these are more */
    int32_t block_rows;   /* most rows of ck_gemm_block: a multiple of 24, and so of 6, 8 and 12 */

    void (*to_f32)(int32_t dtype, const void *src, float *dst, int64_t n);
    void (*from_f32)(int32_t dtype, const float *src, void *dst, int64_t n);
    void (*strips_to_f32)(int32_t dtype, const void *src, float *dst, int64_t lines); /* lines of packed strips */

    /* Packed strips: strip s holds columns [s*CK_STRIP, (s+1)*CK_STRIP) of a k x n matrix, a line of CK_STRIP units for each unit of k. */
    void (*pack_rows)(int32_t dtype, const void *b, int64_t ldb, int64_t n, int64_t k, float *packed); /* b is [n,k] */
    void (*pack_cols)(const float *b, int64_t ldb, int64_t n, int64_t k, float *packed);               /* b is [k,n] */
    /* Of k lines of one strip: the bits of each column's largest magnitude, no less than what is there; whole numbers,
     * line/divisor. */
    void (*strip_largest)(const float *lines, int64_t k, int32_t *largest);
    void (*strip_quantised)(const float *lines, int64_t k, const float *divisors, int8_t *to);
    void (*gemm_panel)(const ck_panel_args *args);
    /* The same with `a` packed in groups of gemm_rows rows, one line of gemm_rows values per k. */
    void (*gemm_block)(const ck_panel_args *args);
    void (*pack_block)(const float *a, int64_t lda, int64_t m, int64_t k, float *to);
    void (*pack_block_columns)(const float *a, int64_t lda, int64_t m, int64_t k, float *to); /* a is [k,m] */
    /* Columns [j0, j1) of a linear layer of few rows. */
    void (*linear_rows)(const ck_linear_args *args, int64_t j0, int64_t j1);
    /* A product of some rows with CK_B_PACKED, the bits of the other ways: `a` holds, for each block of k, what few_pack made
     * of it; `lda`, `panel` and `pack` are not used. */
    void (*few_rows)(const struct ck_gemm_args *args);
    void (*few_pack)(const float *a, int64_t lda, int64_t m, int64_t k, float *to);

    void (*activation)(int32_t act, const float *x, float *out, int64_t n);
    void (*softmax_row)(const float *x, float *out, int64_t n);
    /* row = exp(scale*row - max(scale*row)); returns 1/sum. */
    float (*softmax_weights)(float *row, int64_t n, float scale);
    /* One block of a row that is weighed as 2^(scale*row - *largest): *largest, at first minus infinity, is brought up to the block's
     * largest where that passes it by more than a few, and *sum is that of all weights; returns what to multiply by what was summed
     * with the weights before. */
    float (*softmax_block)(float *row, int64_t n, float scale, float *largest, float *sum);
    /* The same for CK_STRIP rows side by side, element i of all of them in line i, lines `stride` apart, with the largest and the sum of
     * each; the weights as a strip of units, element by element. `factors`: what it returns, for each. */
    void (*softmax_columns)(const float *lines, int64_t stride, int64_t n, float scale, float *largest, float *sums, float *factors,
                            float *to);
    void (*scale_columns)(float *lines, int64_t stride, int64_t n, const float *factors); /* CK_STRIP of them, each by its factor */
    void (*scale_row)(float *row, int64_t n, float factor);
    void (*leaky)(const float *x, float *out, int64_t n, float slope); /* max(x, x*slope); out may be x */
    void (*add)(const float *a, const float *b, float *out, int64_t n);
    void (*axpby)(float alpha, const float *x, float beta, const float *y, float *out, int64_t n);
    void (*multiply_add)(const float *x, const float *a, const float *gate, float *out, int64_t n);
    int32_t (*all_finite)(const float *x, int64_t n);
    void (*to_u8)(const float *x, uint8_t *out, int64_t n, int64_t out_step, float mul, float add);

    void (*layer_norm_row)(const ck_layer_norm_args *args, int64_t row);
    void (*sums)(const float *x, int64_t n, double *sum, double *sum_of_squares);
    /* out = act((x - center)*factor + offset) */
    void (*affine)(const float *x, float *out, int64_t n, float center, float factor, float offset, int32_t act);

    /* 3 x 3 convolutions by tiles whose input has 4 or 6 pixels a side (winograd.inl). */
    void (*winograd_take)(int32_t side, const ck_tile_lines *lines, float *to);
    void (*winograd_input)(int32_t side, const float *d, float *to, int64_t stride);
    void (*winograd_weights)(int32_t side, const float *lines, int64_t k, float *to, int64_t stride);
    void (*winograd_result)(int32_t side, const float *sums, int64_t stride, int64_t ahead, float *lines);
    void (*every_other)(const float *from, float *out, int64_t n); /* out[i] = from[2 i] */
    void (*put_line)(const float *from, float bias, const float *add, float *out, int64_t n); /* out = (from + bias) + add */

    /* Signals by tiles (signal.inl). */
    void (*signal_take)(const float *const *rows, int64_t n, float slope, float *to, int64_t stride);
    void (*signal_put)(const ck_signal_sums *sums);

    void (*activation_backward)(int32_t act, const float *x, const float *g, float *out, int64_t n);
    /* da = g*gate, dgate += g*a; da or dgate may be null. */
    void (*gated_row_backward)(const float *g, const float *a, const float *gate, float *da, float *dgate, int64_t n);
    /* One row; what it adds to the sums of its chunk goes to those of `sums` that are not null. */
    void (*layer_norm_row_backward)(const ck_layer_norm_backward_args *args, int64_t row, const ck_norm_sums *sums);
    void (*mix)(const float *a, const float *b, float w, float *out, int64_t n);
    /* The sum of g*(a - b); da = w*g, db = add + (1-w)*g. da, db, add may be null. */
    double (*mix_backward)(const float *g, const float *a, const float *b, float w, const float *add, float *da, float *db,
                           int64_t n);
    /* row = p*(row - sum(p*row))*scale, with p the weights of a softmax before their division by 1/inverse. */
    void (*softmax_backward)(const float *p, float *row, int64_t n, float inverse, float scale);
    void (*adamw)(const ck_adamw_args *args, const ck_adamw_factors *factors, int64_t from, int64_t to);

    void (*rms_norm_row)(const float *x, const float *weight, float *out, int64_t n, float eps);
    /* act(gate)*up; out may be up. */
    void (*gated_row)(int32_t act, const float *gate, const float *up, float *out, int64_t n);
    /* x1 cos - x2 sin and x2 cos + x1 sin for the halves of n elements each; out may be x. */
    void (*rotate)(const float *x, const float *cosines, const float *sines, float *out, int64_t n);
    /* The largest element, the lowest of equals; its index, or -1 when an element is NaN or plus infinity or none is finite. */
    int64_t (*best)(const float *x, int64_t n, float *value);
    /* The sum of exp(x - best), best being the largest. */
    double (*exp_sum)(const float *x, int64_t n, float best);
} ck_kernels;

extern const ck_kernels ck_kernels_base;
/* Tables of products alone, of pairs of bf16: pack_rows, pack_cols, pack_block, pack_block_columns,
 * gemm_block, few_rows, few_pack, softmax_columns and scale_columns. */
extern const ck_kernels ck_pairs_base;
#if defined(__x86_64__)
extern const ck_kernels ck_kernels_avx2, ck_kernels_avx512, ck_pairs_avx512;
#elif defined(__aarch64__)
extern const ck_kernels ck_kernels_neon;
#endif

/* The chosen table (dispatch.c). */
const ck_kernels *ck_active(void);
/* That of the products of CK_PAIRS. */
const ck_kernels *ck_active_pairs(void);

/* ---- serial matrix product (gemm.c) ---- */

/* A strip of this depth and two register tiles of A stay in a first-level cache of 32 KiB (of 48 KiB where a tile is 32 columns
 * wide, but for the second tile), `block_rows` rows of it in a part of the second-level one that leaves room for the strips on
 * their way; a neighbour may use half of both. */
enum { CK_MAX_DEPTH = 256 };
/* Depth of a packed panel (pack.c). It is a function of k alone, so that a result never depends on how work was split. */
int64_t ck_gemm_depth(int64_t k);
/* Floats that hold a packed panel of n columns for depth k. */
size_t ck_gemm_pack_floats(int64_t n, int64_t k);

/* How the second factor of a product lies in memory. */
enum {
    CK_B_ROWS,   /* [n,k] in `dtype`, rows ldb apart: packed panel by panel while it is used */
    CK_B_COLS,   /* [k,n] in f32, rows ldb apart: likewise */
    CK_B_PACKED, /* by ck_pack_matrix in `dtype`, or ck_pack_pairs; `b` is its beginning, `ldb` its n, `first` the first column wanted */
};

/* c[m,n] = act(a[m,k] b scale + bias). Columns are taken in panels of at most `panel`, a multiple of CK_STRIP; `pack` holds
 * one, ck_gemm_pack_floats(panel, k), and is not needed for packed f32. `first` is a multiple of CK_STRIP. */
typedef struct ck_gemm_args {
    const float *a;
    int64_t lda;
    const void *b;
    int64_t ldb, first;
    int32_t dtype, form;
    float *c;
    int64_t ldc;
    int64_t m, n, k, panel;
    const float *scale, *bias; /* of the columns, or null; the scale for CK_I8 */
    int32_t act;
    int32_t accumulate; /* add to what c holds; not with a scale */
    int32_t a_columns;  /* ck_gemm_block only: a is [k,m] */
    float *pack;
} ck_gemm_args;
void ck_gemm(const ck_kernels *kernels, const ck_gemm_args *args);
/* The same bits for CK_B_PACKED and up to `block_rows` rows, which are packed too: for many columns. `panel` is not used;
 * `pack` holds ck_gemm_block_floats(kernels, k). The only way with a table of pairs, whose dtype is CK_PAIRS. */
void ck_gemm_block(const ck_kernels *kernels, const ck_gemm_args *args);
size_t ck_gemm_block_floats(const ck_kernels *kernels, int64_t k);
/* Packs a whole second factor in the order of ck_pack_matrix, or of ck_pack_pairs with a table of pairs: `rows` [n,k], or `columns` [k,n]. */
void ck_pack_factor_rows(const ck_kernels *kernels, const float *rows, int64_t ldb, int64_t n, int64_t k, float *to);
void ck_pack_factor_columns(const ck_kernels *kernels, const float *columns, int64_t ldb, int64_t n, int64_t k, float *to);
/* Floats that hold it. */
int64_t ck_factor_floats(const ck_kernels *kernels, int64_t n, int64_t k);
/* Floats for ck_gemm_block of up to `m` rows. */
int64_t ck_gemm_rows_floats(const ck_kernels *kernels, int64_t m, int64_t k);
/* The same through OpenBLAS (gemm_blas.c); 0 when the sizes are not for it. */
int32_t ck_gemm_blas(const ck_kernels *kernels, const ck_gemm_args *args);

/* ---- attention in pairs of bf16 (attention_pairs.c) ---- */

int32_t ck_attention_in_pairs(const ck_attention_args *args); /* whether it is for these */
void ck_attention_pairs(ck_pool *pool, const ck_attention_args *args);
size_t ck_attention_pairs_scratch(int32_t threads, const ck_attention_args *args); /* for these sizes in either precision */

/* ---- attention to many keys (attention_blocks.c) ---- */

int32_t ck_attention_in_blocks(const ck_attention_args *args); /* whether it is for these */
void ck_attention_blocks(ck_pool *pool, const ck_attention_args *args);
size_t ck_attention_blocks_scratch(int32_t threads, const ck_attention_args *args);

/* ---- small helpers ---- */

static inline int64_t ck_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t ck_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t ck_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t ck_round_up(int64_t a, int64_t b) { return ck_ceil_div(a, b) * b; }
static inline int64_t ck_type_size(int32_t dtype) {
    return dtype == CK_F32 || dtype == CK_PAIRS ? 4 : dtype == CK_I8 ? 1 : 2;
}
static inline const void *ck_at(const void *base, int32_t dtype, int64_t element) {
    return (const char *)base + element * ck_type_size(dtype);
}

/* Runs `task` over tasks; on the calling thread when there is nothing to share. */
static inline void ck_run(ck_pool *pool, int64_t tasks, ck_task task, void *context) {
    if (pool && tasks > 1) {
        ck_pool_run(pool, tasks, task, context);
        return;
    }
    for (int64_t i = 0; i < tasks; i++) task(context, i, 0);
}

/* Elements per task of cheap element-wise loops: large enough to hide the hand-over to another thread. */
enum { CK_CHUNK = 32768, CK_CHUNK_MATH = 8192 };

#endif
