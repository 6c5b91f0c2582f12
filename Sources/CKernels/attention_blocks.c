/* Attention to so many keys that a tile's scores, or what is packed of keys and values, would not stay in a cache: keys in
 * blocks of a size that is a function of theirs alone, all queries of a task for each. The largest score and the sum of a row
 * go along, and its output shrinks whenever a larger score comes. Memory does not grow with the number of keys. */
#include "kernels.h"

enum {
    FROM_KEYS = 1536,         /* fewer go in one block */
    BLOCK_FLOATS = 96 * 1024, /* of keys, and of values, that are packed at once */
    MIN_BLOCK = 256,
    MAX_BLOCK = 1024,         /* keys */
    SCORE_FLOATS = 64 * 1024, /* of a tile */
    MIN_ROWS = 256,           /* of a task: fewer do not repay packing the keys again */
    TASKS_PER_THREAD = 6,     /* so that threads finish together when one is interrupted */
};

typedef struct {
    const ck_attention_args *args;
    const ck_kernels *kernels;
    int64_t groups, block, tile, parts, rows; /* keys at once; queries at once; tasks of a head; queries of a task */
    size_t scratch_floats;
} plan;

int32_t ck_attention_in_blocks(const ck_attention_args *a) {
    return a->keys >= FROM_KEYS && a->shared <= 0 && !a->bias && ck_gemm_current() == CK_GEMM_OWN;
}

static plan make_plan(int32_t threads, const ck_attention_args *a) {
    plan p = {.args = a, .kernels = ck_active(), .groups = ck_max(a->groups, 1)};
    int64_t most = ck_min(MAX_BLOCK, ck_max(MIN_BLOCK, BLOCK_FLOATS / a->head_dim / MIN_BLOCK * MIN_BLOCK));
    int64_t blocks = ck_ceil_div(a->keys, most);
    p.block = ck_round_up(ck_ceil_div(a->keys, blocks), CK_STRIP);
    p.tile = SCORE_FLOATS / p.block / 24 * 24;
    int64_t wanted = ck_ceil_div((int64_t)threads * TASKS_PER_THREAD, ck_max(a->batch * a->heads * p.groups, 1));
    p.parts = threads > 1 ? ck_max(1, ck_min(wanted, a->queries / MIN_ROWS)) : 1;
    p.rows = ck_round_up(ck_ceil_div(a->queries, p.parts), 24);
    p.parts = ck_ceil_div(a->queries, p.rows);
    int64_t packed = p.block * a->head_dim + ck_round_up(a->head_dim, CK_STRIP) * p.block;
    p.scratch_floats = (size_t)(packed + p.tile * p.block + ck_round_up(2 * p.rows, 16));
    return p;
}

/* The block's keys and values, packed in the order of ck_pack_matrix. */
static void pack(const plan *p, const float *k, const float *v, int64_t count, float *keys, float *values) {
    const ck_attention_args *a = p->args;
    int64_t depth = ck_gemm_depth(a->head_dim), padded = ck_round_up(count, CK_STRIP);
    for (int64_t i = 0; i < a->head_dim; i += depth)
        p->kernels->pack_rows(CK_F32, k + i, a->k_row, count, ck_min(depth, a->head_dim - i), keys + i * padded);
    depth = ck_gemm_depth(count), padded = ck_round_up(a->head_dim, CK_STRIP);
    for (int64_t i = 0; i < count; i += depth)
        p->kernels->pack_cols(v + i * a->v_row, a->v_row, a->head_dim, ck_min(depth, count - i), values + i * padded);
}

static void part_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_attention_args *a = p->args;
    int64_t first = index % p->parts * p->rows, rows = ck_min(p->rows, a->queries - first), problem = index / p->parts;
    int64_t group = problem % p->groups, head = problem / p->groups % a->heads, batch = problem / p->groups / a->heads;
    int64_t at = head * a->head_dim;
    float *keys = (float *)a->scratch + (size_t)thread * p->scratch_floats, *values = keys + p->block * a->head_dim;
    float *scores = values + ck_round_up(a->head_dim, CK_STRIP) * p->block;
    float *largest = scores + p->tile * p->block, *sums = largest + p->rows;
    const float scale = a->scale * 1.44269504088896341f; /* powers of two take fewer steps */
    const float *q = a->q + batch * a->q_batch + group * a->q_group + first * a->q_row + at;
    float *out = a->out + batch * a->out_batch + group * a->out_group + first * a->out_row + at;
    const float *k = a->k + batch * a->k_batch + group * a->k_group + at,
                *v = a->v + batch * a->v_batch + group * a->v_group + at;
    for (int64_t r = 0; r < rows; r++) largest[r] = -__builtin_inff(), sums[r] = 0;
    for (int64_t key = 0; key < a->keys; key += p->block) {
        int64_t count = ck_min(p->block, a->keys - key);
        pack(p, k + key * a->k_row, v + key * a->v_row, count, keys, values);
        for (int64_t from = 0; from < rows; from += p->tile) {
            int64_t tile = ck_min(p->tile, rows - from);
            float *to = out + from * a->out_row;
            ck_gemm_args product = {.a = q + from * a->q_row,
                                    .lda = a->q_row,
                                    .b = keys,
                                    .ldb = count,
                                    .dtype = CK_F32,
                                    .form = CK_B_PACKED,
                                    .c = scores,
                                    .ldc = p->block,
                                    .m = tile,
                                    .n = count,
                                    .k = a->head_dim,
                                    .panel = count};
            ck_gemm(p->kernels, &product);
            for (int64_t r = 0; r < tile; r++) {
                float factor =
                    p->kernels->softmax_block(scores + r * p->block, count, scale, &largest[from + r], &sums[from + r]);
                if (key > 0 && factor != 1) p->kernels->scale_row(to + r * a->out_row, a->head_dim, factor);
            }
            product = (ck_gemm_args){.a = scores,
                                     .lda = p->block,
                                     .b = values,
                                     .ldb = a->head_dim,
                                     .dtype = CK_F32,
                                     .form = CK_B_PACKED,
                                     .c = to,
                                     .ldc = a->out_row,
                                     .m = tile,
                                     .n = a->head_dim,
                                     .k = count,
                                     .panel = ck_round_up(a->head_dim, CK_STRIP),
                                     .accumulate = key > 0};
            ck_gemm(p->kernels, &product);
        }
    }
    for (int64_t r = 0; r < rows; r++) p->kernels->scale_row(out + r * a->out_row, a->head_dim, 1 / sums[r]);
}

void ck_attention_blocks(ck_pool *pool, const ck_attention_args *args) {
    plan p = make_plan(ck_pool_threads(pool), args);
    ck_run(pool, args->batch * args->heads * p.groups * p.parts, part_task, &p);
}

size_t ck_attention_blocks_scratch(int32_t threads, const ck_attention_args *args) {
    if (args->keys < FROM_KEYS || args->head_dim <= 0) return 0;
    return (size_t)ck_max(threads, 1) * make_plan(threads, args).scratch_floats * sizeof(float);
}
