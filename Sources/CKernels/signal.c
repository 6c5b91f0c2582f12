/* Convolutions of signals as products with overlapping rows (ckernels_signal.h). */
#include "include/ckernels_signal.h"
#include "kernels.h"

enum {
    PANEL = 192,         /* columns of weights at once: with the depth of a block they stay in the second-level cache */
    BLOCK_COLUMNS = 320, /* that repay packing the rows too */
    ROWS = 240,          /* of a task at most, a multiple of every register tile */
    MIN_ROWS = 48,
    TASKS_PER_THREAD = 6 /* so that threads finish together */
};

typedef struct {
    const ck_signal_args *args;
    const ck_kernels *kernels;
    int64_t each;             /* rows of a phase at most */
    int64_t rows, row_blocks; /* of a task; of a phase */
    int64_t panel, panels;
    int32_t blocks; /* by ck_gemm_block */
    size_t scratch_floats;
} plan;

static void product_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_signal_args *a = p->args;
    /* Rows first: threads work on one panel of weights at a time. */
    int64_t row = index % p->row_blocks * p->rows, phase = index / p->row_blocks % a->phases;
    int64_t column = index / p->row_blocks / a->phases * p->panel;
    int64_t rows = ck_min(p->rows, ck_ceil_div(a->rows - phase, a->phases) - row), columns = ck_min(p->panel, a->n - column);
    if (rows <= 0) return;
    float *out = a->out + (row * a->phases + phase) * a->out_row + column;
    ck_gemm_args product = {
        .a = a->x + phase * a->x_phase + row * a->x_row,
        .lda = a->x_row,
        .b = a->w,
        .ldb = a->n,
        .first = column,
        .dtype = CK_F32,
        .form = CK_B_PACKED,
        .c = out,
        .ldc = a->phases * a->out_row,
        .m = rows,
        .n = columns,
        .k = a->k,
        .panel = p->panel,
        .bias = a->bias ? a->bias + column : NULL,
        .accumulate = a->accumulate,
        .pack = (float *)a->scratch + (size_t)thread * p->scratch_floats,
    };
    if (p->blocks) ck_gemm_block(p->kernels, &product);
    else ck_gemm(p->kernels, &product);
    if (a->slope == 1) return;
    for (int64_t r = 0; r < rows; r++, out += product.ldc) p->kernels->leaky(out, out, columns, a->slope);
}

static size_t scratch_floats(int64_t n, int64_t k) {
    return n >= BLOCK_COLUMNS ? (size_t)ck_round_up((int64_t)ck_gemm_block_floats(ck_active(), k), 16) : 0;
}

void ck_signal(ck_pool *pool, const ck_signal_args *args) {
    if (args->rows <= 0 || args->n <= 0 || args->k <= 0 || args->phases <= 0) return;
    plan p = {.args = args, .kernels = ck_active()};
    p.blocks = args->n >= BLOCK_COLUMNS;
    p.scratch_floats = scratch_floats(args->n, args->k);
    p.each = ck_ceil_div(args->rows, args->phases);
    p.panel = p.blocks ? ck_round_up(ck_ceil_div(args->n, ck_ceil_div(args->n, 2 * BLOCK_COLUMNS)), 32)
                       : ck_round_up(ck_ceil_div(args->n, ck_ceil_div(args->n, PANEL)), CK_STRIP);
    p.panels = ck_ceil_div(args->n, p.panel);
    int64_t most = p.blocks ? p.kernels->block_rows : ROWS;
    int64_t wanted = ck_ceil_div((int64_t)ck_pool_threads(pool) * TASKS_PER_THREAD, args->phases * p.panels);
    int64_t cuts = ck_max(ck_ceil_div(p.each, most), ck_min(wanted, p.each / MIN_ROWS));
    p.rows = ck_min(most, ck_round_up(ck_ceil_div(p.each, ck_max(cuts, 1)), p.kernels->gemm_rows));
    p.row_blocks = ck_ceil_div(p.each, p.rows);
    ck_run(pool, p.row_blocks * args->phases * p.panels, product_task, &p);
}

size_t ck_signal_scratch(int32_t threads, int64_t n, int64_t k) {
    return (size_t)ck_max(threads, 1) * scratch_floats(n, k) * sizeof(float);
}

/* ---- rows ---- */

typedef struct {
    const ck_kernels *kernels;
    const float *x;
    float *out;
    int64_t rows, width, first, count, phases, each, part; /* rows of `out` in a task */
    float slope;
} rows_plan;

static void rows_task(void *context, int64_t index, int32_t thread) {
    const rows_plan *p = context;
    (void)thread;
    int64_t to = ck_min((index + 1) * p->part, p->phases * p->each);
    for (int64_t r = index * p->part; r < to;) {
        int64_t t = r % p->each * p->phases + r / p->each, from = p->first + t;
        float *out = p->out + r * p->width;
        /* Of one phase rows lie side by side, and are one stretch. */
        int64_t length = p->phases == 1 ? ck_min(to - r, from < 0 ? -from : from < p->rows ? p->rows - from : to - r) : 1;
        if (p->phases == 1) length = ck_min(length, ck_max(p->count - t, 1));
        size_t floats = (size_t)(length * p->width);
        if (t >= p->count || from < 0 || from >= p->rows) memset(out, 0, floats * sizeof *out);
        else if (p->slope == 1) memcpy(out, p->x + from * p->width, floats * sizeof *out);
        else p->kernels->leaky(p->x + from * p->width, out, (int64_t)floats, p->slope);
        r += length;
    }
}

void ck_signal_rows(ck_pool *pool, const float *x, int64_t rows, int64_t width, int64_t first, int64_t count, int64_t phases,
                    float slope, float *out) {
    if (count <= 0 || width <= 0 || phases <= 0) return;
    rows_plan p = {.kernels = ck_active(),
                   .x = x,
                   .out = out,
                   .rows = rows,
                   .width = width,
                   .first = first,
                   .count = count,
                   .phases = phases,
                   .each = ck_ceil_div(count, phases),
                   .slope = slope};
    p.part = ck_max(1, CK_CHUNK / width);
    ck_run(pool, ck_ceil_div(p.phases * p.each, p.part), rows_task, &p);
}
