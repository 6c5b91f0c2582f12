/* Products of any orientation, for gradients of linear layers. The second factor is packed whole, by all threads, into the
 * order in which the block kernel reads it: that costs one pass over it, and every block of rows then gains. */
#include "kernels.h"

enum { MIN_PANEL = 64, BLOCKS_PER_THREAD = 6, SMALL_WORK = 96 * 1024 };

typedef struct {
    const ck_product_args *args;
    const ck_kernels *kernels;
    float *packed, *blocks;
    int64_t rows, row_blocks, panel;
    size_t block_floats;
} plan;

static size_t packed_floats(int64_t n, int64_t k) { return (size_t)ck_round_up(ck_packed_count(n, k), 16); }

static void pack_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_product_args *a = p->args;
    (void)thread;
    int64_t depth = ck_gemm_depth(a->k), padded = ck_round_up(a->n, CK_STRIP);
    int64_t first = index * CK_STRIP, columns = ck_min(CK_STRIP, a->n - first);
    for (int64_t k = 0; k < a->k; k += depth) {
        int64_t deep = ck_min(depth, a->k - k);
        float *to = p->packed + k * padded + first * deep;
        if (a->b_form == CK_BY_ROWS) p->kernels->pack_rows(CK_F32, a->b + first * a->ldb + k, a->ldb, columns, deep, to);
        else p->kernels->pack_cols(a->b + k * a->ldb + first, a->ldb, columns, deep, to);
    }
}

static void block_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_product_args *a = p->args;
    int64_t row = index % p->row_blocks * p->rows, column = index / p->row_blocks * p->panel;
    ck_gemm_args gemm = {
        .a = a->a + (a->a_form == CK_BY_ROWS ? row * a->lda : row),
        .lda = a->lda,
        .a_columns = a->a_form == CK_BY_COLUMNS,
        .b = p->packed,
        .ldb = a->n,
        .first = column,
        .dtype = CK_F32,
        .form = CK_B_PACKED,
        .c = a->c + row * a->ldc + column,
        .ldc = a->ldc,
        .m = ck_min(p->rows, a->m - row),
        .n = ck_min(p->panel, a->n - column),
        .k = a->k,
        .accumulate = a->accumulate,
        .pack = p->blocks + (size_t)thread * p->block_floats,
    };
    ck_gemm_block(p->kernels, &gemm);
}

void ck_product(ck_pool *pool, const ck_product_args *args) {
    if (args->m <= 0 || args->n <= 0) return;
    if (args->k <= 0) {
        for (int64_t r = 0; r < args->m && !args->accumulate; r++) memset(args->c + r * args->ldc, 0, (size_t)args->n * 4);
        return;
    }
    ck_pool *helpers = args->m * args->n * args->k > SMALL_WORK ? pool : NULL;
    int32_t threads = ck_pool_threads(helpers);
    plan p = {.args = args, .kernels = ck_active(), .packed = args->scratch};
    p.blocks = p.packed + packed_floats(args->n, args->k);
    p.block_floats = ck_gemm_block_floats(p.kernels, args->k);
    /* Blocks of rows, as many as threads or a multiple, by panels; an element's bits do not depend on either cut. */
    int64_t wanted = ck_ceil_div(args->m, p.kernels->block_rows);
    if (args->m >= (int64_t)threads * 48) wanted = ck_round_up(wanted, threads);
    p.rows = ck_min(p.kernels->block_rows, ck_round_up(ck_ceil_div(args->m, wanted), p.kernels->gemm_rows));
    p.row_blocks = ck_ceil_div(args->m, p.rows);
    int64_t panels = ck_max(1, ck_min(ck_ceil_div((int64_t)threads * BLOCKS_PER_THREAD, p.row_blocks), args->n / MIN_PANEL));
    p.panel = ck_round_up(ck_ceil_div(args->n, threads > 1 ? panels : 1), 32);
    ck_run(helpers, ck_ceil_div(args->n, CK_STRIP), pack_task, &p);
    ck_run(helpers, p.row_blocks * ck_ceil_div(args->n, p.panel), block_task, &p);
}

size_t ck_product_scratch(int32_t threads, int64_t m, int64_t n, int64_t k) {
    (void)m;
    return (packed_floats(n, k) + (size_t)ck_max(threads, 1) * ck_gemm_block_floats(ck_active(), k)) * sizeof(float);
}
