/* Linear layers: a streaming kernel for vectors, packed panels for matrices. */
#include "kernels.h"

enum {
    MAX_PANEL = 192,         /* columns: one packed panel fits the second-level cache */
    MIN_BLOCK_PANEL = 320,   /* columns that repay packing the rows too */
    MIN_PANEL = 32,          /* a multiple of every strip width */
    MIN_ROWS = 24,           /* rows per task */
    MIN_ROWS_PACKING = 48,   /* fewer do not repay packing or widening the weights again */
    STREAMED = 1024 * 1024,  /* weights that do not stay in a cache from one use to the next, */
    STREAMED_ROWS = 60,      /* which at most so many rows take as they come */
    WIDENED_ROWS = 12,       /* narrower weights that do stay repay a panel of f32 for more than these */
    READING_ROWS = 3,        /* so few rows only wait for f32 weights, whatever the order */
    SMALL_WORK = 96 * 1024,  /* multiply-adds that are not worth waking a thread for */
    TASKS_PER_THREAD = 3,    /* so that threads finish together when one is interrupted */
    BLOCKS_PER_THREAD = 6,   /* likewise */
    STREAM_WORK = 64 * 1024, /* weights per task of the streaming kernel; multiply-adds per task of few rows */
};

typedef struct {
    const ck_linear_args *args;
    const ck_kernels *kernels;
    int64_t units; /* of k: each one element, or two */
    int64_t panel, rows, panels, row_blocks;
    int32_t blocks;   /* by ck_gemm_block */
    int64_t few_rows; /* by few_rows: all rows in whole tiles */
    size_t scratch_floats;
} plan;

static void rows_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    (void)thread;
    int64_t from = index * p->panel;
    p->kernels->linear_rows(p->args, from, ck_min(from + p->panel, p->args->n));
}

/* Both halves of a product of few rows: the rows side by side, block of k by block of k, then the panels of columns. */
static void few_pack_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_linear_args *a = p->args;
    (void)thread;
    int64_t unit = p->kernels->unit, depth = ck_gemm_depth(p->units) * unit, from = index * depth;
    float *to = (float *)a->scratch + from / unit * p->few_rows;
    p->kernels->few_pack(a->x + from, a->ldx, a->m, ck_min(depth, a->k - from), to);
}

static void few_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_linear_args *a = p->args;
    (void)thread;
    int64_t column = index * p->panel;
    ck_gemm_args gemm = {
        .a = a->scratch,
        .b = a->w,
        .ldb = a->n,
        .first = column,
        .dtype = a->dtype,
        .form = CK_B_PACKED,
        .c = a->y + column,
        .ldc = a->ldy,
        .m = a->m,
        .n = ck_min(p->panel, a->n - column),
        .k = a->k,
        .scale = a->scales ? a->scales + column : NULL,
        .bias = a->bias ? a->bias + column : NULL,
        .act = a->act,
    };
    p->kernels->few_rows(&gemm);
}

static void panel_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_linear_args *a = p->args;
    /* Rows first: threads work on one panel of weights at a time, which then comes from memory once for all of them. */
    int64_t row = index % p->row_blocks * p->rows, column = index / p->row_blocks * p->panel;
    int32_t packed = a->layout == CK_PACKED;
    ck_gemm_args gemm = {
        .a = a->x + row * a->ldx,
        .lda = a->ldx,
        .b = packed ? a->w : ck_at(a->w, a->dtype, column * a->k),
        .ldb = packed ? a->n : a->k,
        .first = packed ? column : 0,
        .dtype = a->dtype,
        .form = packed ? CK_B_PACKED : CK_B_ROWS,
        .c = a->y + row * a->ldy + column,
        .ldc = a->ldy,
        .m = ck_min(p->rows, a->m - row),
        .n = ck_min(p->panel, a->n - column),
        .k = a->k,
        .panel = p->panel,
        .scale = a->scales ? a->scales + column : NULL,
        .bias = a->bias ? a->bias + column : NULL,
        .act = a->act,
        .pack = (float *)a->scratch + (size_t)thread * p->scratch_floats,
    };
    if (p->blocks) ck_gemm_block(p->kernels, &gemm);
    else ck_gemm(p->kernels, &gemm);
}

/* Blocks of rows by wide panels: one block, or as many as threads or a multiple; 0 when there are too few columns for that. */
static int32_t cut_into_blocks(plan *p, int32_t threads) {
    const ck_linear_args *a = p->args;
    if (a->layout != CK_PACKED || a->k <= 0) return 0;
    if (a->dtype != CK_PAIRS && (a->m < MIN_ROWS_PACKING || a->n < MIN_BLOCK_PANEL)) return 0;
    int64_t row_blocks = ck_ceil_div(a->m, p->kernels->block_rows);
    if (row_blocks > 1 && a->m >= (int64_t)threads * MIN_ROWS_PACKING) row_blocks = ck_round_up(row_blocks, threads);
    int64_t panels = ck_max(1, ck_min((int64_t)threads * BLOCKS_PER_THREAD / row_blocks, a->n / MIN_BLOCK_PANEL));
    if (row_blocks == 1 && panels > threads) panels = panels / threads * threads;
    if (row_blocks * panels < threads && a->dtype != CK_PAIRS) return 0;
    p->rows = ck_round_up(ck_ceil_div(a->m, row_blocks), p->kernels->gemm_rows);
    p->row_blocks = ck_ceil_div(a->m, p->rows);
    p->panel = ck_round_up(ck_ceil_div(a->n, panels), MIN_PANEL);
    p->panels = ck_ceil_div(a->n, p->panel);
    return 1;
}

/* Whether few_rows is the fastest: weights come from memory, or widening them would not be repaid. */
static int32_t takes_few(const ck_linear_args *a) {
    if (a->layout != CK_PACKED || a->k <= 0 || a->m > STREAMED_ROWS) return 0;
    if (a->dtype == CK_PAIRS) return 1;
    if (ck_gemm_current() != CK_GEMM_OWN) return 0;
    if (a->dtype != CK_F32 && a->m <= WIDENED_ROWS) return 1;
    return a->m > READING_ROWS && a->n * a->k >= STREAMED;
}

/* Few rows: panels of columns, each as many weights as repay handing it to another thread. */
static void cut_for_few(plan *p, int32_t threads) {
    const ck_linear_args *a = p->args;
    p->few_rows = ck_round_up(a->m, p->kernels->gemm_rows);
    int64_t least = ck_round_up(ck_ceil_div(STREAM_WORK, p->units * a->m), MIN_PANEL);
    int64_t even = ck_round_up(ck_ceil_div(a->n, (int64_t)threads * BLOCKS_PER_THREAD), MIN_PANEL);
    p->panel = threads > 1 && a->m * a->n * a->k > SMALL_WORK ? ck_max(least, even) : a->n;
    p->panels = ck_ceil_div(a->n, p->panel);
}

/* Both cuts may depend on the number of threads: an element's bits do not depend on the tile it falls into. */
static void cut(plan *p, int32_t threads) {
    const ck_linear_args *a = p->args;
    int64_t wanted = threads > 1 && a->m * a->n * a->k > SMALL_WORK ? (int64_t)threads * TASKS_PER_THREAD : 1;
    int64_t even = ck_round_up(ck_ceil_div(a->n, wanted), MIN_PANEL);
    p->panel = ck_min(MAX_PANEL, even);
    p->panels = ck_ceil_div(a->n, p->panel);
    int64_t least = a->layout == CK_PACKED && a->dtype == CK_F32 ? MIN_ROWS : MIN_ROWS_PACKING;
    int64_t row_cuts = ck_max(1, ck_min(ck_ceil_div(wanted, p->panels), a->m / least));
    p->rows = ck_round_up(ck_ceil_div(a->m, row_cuts), p->kernels->gemm_rows);
    p->row_blocks = ck_ceil_div(a->m, p->rows);
}

static const ck_kernels *kernels_for(int32_t dtype) { return dtype == CK_PAIRS ? ck_active_pairs() : ck_active(); }

static size_t scratch_floats(int64_t k, int32_t dtype, int32_t layout) {
    if (dtype == CK_PAIRS) return ck_gemm_block_floats(ck_active_pairs(), k);
    size_t panel = layout == CK_PACKED && dtype == CK_F32 ? 0 : ck_gemm_pack_floats(MAX_PANEL, k);
    size_t block = layout == CK_PACKED ? ck_gemm_block_floats(ck_active(), k) : 0;
    return panel > block ? panel : block;
}

void ck_linear(ck_pool *pool, const ck_linear_args *args) {
    if (args->m <= 0 || args->n <= 0) return;
    plan p = {.args = args, .kernels = kernels_for(args->dtype)};
    p.units = ck_ceil_div(args->k, p.kernels->unit);
    if (args->rows == CK_ROWS_ARE_VECTORS) {
        int64_t columns = ck_max(4, ck_round_up(STREAM_WORK / ck_max(args->k, 1), 4));
        p.panel = args->m * args->n * args->k > SMALL_WORK ? columns : args->n;
        ck_run(pool, ck_ceil_div(args->n, p.panel), rows_task, &p);
        return;
    }
    p.scratch_floats = scratch_floats(args->k, args->dtype, args->layout);
    if (takes_few(args)) {
        cut_for_few(&p, ck_pool_threads(pool));
        ck_run(args->m * args->k > CK_CHUNK ? pool : NULL, ck_ceil_div(p.units, ck_gemm_depth(p.units)), few_pack_task, &p);
        ck_run(pool, p.panels, few_task, &p);
        return;
    }
    p.blocks = cut_into_blocks(&p, ck_pool_threads(pool));
    if (!p.blocks) cut(&p, ck_pool_threads(pool));
    ck_run(pool, p.panels * p.row_blocks, panel_task, &p);
}

size_t ck_linear_scratch(int32_t threads, int64_t k, int32_t dtype, int32_t rows, int32_t layout) {
    if (rows == CK_ROWS_ARE_VECTORS) return 0;
    size_t floats = (size_t)ck_max(threads, 1) * scratch_floats(k, dtype, layout);
    const ck_kernels *kernels = kernels_for(dtype);
    int64_t units = ck_ceil_div(ck_max(k, 0), kernels->unit);
    size_t few = layout == CK_PACKED ? (size_t)(units * ck_round_up(STREAMED_ROWS, kernels->gemm_rows)) : 0;
    return (floats > few ? floats : few) * sizeof(float);
}
