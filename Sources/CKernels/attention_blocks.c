/* Attention to so many keys that a tile's scores, or what is packed of keys and values, would not stay in a cache: keys in
 * blocks of a size that is a function of theirs alone, all queries of a task for each. The largest score and the sum of a row
 * go along, and its output shrinks whenever a larger score comes. Memory does not grow with the number of keys. Keys that
 * groups share are packed once for all groups of a task. */
#include "kernels.h"

enum {
    FROM_KEYS = 1536,         /* fewer go in one block */
    FROM_SHARED = 512,        /* fewer own and shared keys take longer in two blocks than in one */
    BLOCK_FLOATS = 96 * 1024, /* of keys, and of values, that are packed at once */
    MIN_BLOCK = 256,
    MAX_BLOCK = 1024,         /* keys */
    SCORE_FLOATS = 64 * 1024, /* of a tile */
    MIN_ROWS = 256,           /* of a task: fewer do not repay packing the keys again */
    TASKS_PER_THREAD = 6,     /* so that threads finish together when one is interrupted */
    NARROW_HEAD = 128,        /* rows of queries so short, far apart, are fetched side by side first */
};

typedef struct {
    const ck_attention_args *args;
    const ck_kernels *kernels;
    int64_t groups, together;   /* groups; of a task */
    int64_t own, shared, block; /* keys of a group and shared ones at once; the more of both */
    int64_t parts, rows;        /* tasks of a group; queries of a group in a task */
    int64_t query_floats;       /* of a tile, when they are fetched */
    size_t scratch_floats;
} plan;

/* What a thread has in its scratch. */
typedef struct {
    float *keys, *values, *scores, *queries, *largest, *sums;
} room;

static int32_t has_many_keys(const ck_attention_args *a) {
    return a->shared > 0 ? a->keys + a->shared >= FROM_SHARED : a->keys >= FROM_KEYS;
}

int32_t ck_attention_in_blocks(const ck_attention_args *a) {
    return has_many_keys(a) && !a->bias && !a->table && ck_gemm_current() == CK_GEMM_OWN;
}

static int64_t block_keys(int64_t keys, int64_t head_dim) {
    int64_t most = ck_min(MAX_BLOCK, ck_max(MIN_BLOCK, BLOCK_FLOATS / head_dim / MIN_BLOCK * MIN_BLOCK));
    int64_t blocks = ck_ceil_div(ck_max(keys, 1), most);
    return ck_round_up(ck_ceil_div(keys, blocks), CK_STRIP);
}

/* Queries at once, a multiple of every register tile. */
static int64_t tile_rows(int64_t block) { return SCORE_FLOATS / ck_max(block, MIN_BLOCK) / 24 * 24; }

static plan make_plan(int32_t threads, const ck_attention_args *a) {
    plan p = {.args = a, .kernels = ck_active(), .groups = ck_max(a->groups, 1), .together = 1};
    p.own = block_keys(a->keys, a->head_dim), p.shared = block_keys(ck_max(a->shared, 0), a->head_dim);
    p.block = ck_max(p.own, p.shared);
    int64_t problems = ck_max(a->batch * a->heads, 1), tasks = (int64_t)threads * TASKS_PER_THREAD;
    if (a->shared > 0)
        p.together = threads > 1 ? ck_ceil_div(p.groups, ck_min(p.groups, ck_ceil_div(tasks, problems))) : p.groups;
    int64_t wanted = ck_ceil_div(tasks, problems * ck_ceil_div(p.groups, p.together));
    p.parts = threads > 1 ? ck_max(1, ck_min(wanted, a->queries / MIN_ROWS)) : 1;
    p.rows = ck_round_up(ck_ceil_div(a->queries, p.parts), 24);
    p.parts = ck_ceil_div(a->queries, p.rows);
    int64_t tile = tile_rows(0), packed = p.block * a->head_dim + ck_round_up(a->head_dim, CK_STRIP) * p.block;
    p.query_floats = a->head_dim <= NARROW_HEAD ? tile * a->head_dim : 0;
    p.scratch_floats = (size_t)(packed + ck_max(tile * MIN_BLOCK, tile_rows(p.block) * p.block) + p.query_floats +
                                2 * ck_round_up(p.together * p.rows, 16));
    return p;
}

/* A block's keys and values, packed in the order of ck_pack_matrix. */
static void pack(const plan *p, const float *k, int64_t k_row, const float *v, int64_t v_row, int64_t count, const room *to) {
    int64_t head_dim = p->args->head_dim, depth = ck_gemm_depth(head_dim), padded = ck_round_up(count, CK_STRIP);
    for (int64_t i = 0; i < head_dim; i += depth)
        p->kernels->pack_rows(CK_F32, k + i, k_row, count, ck_min(depth, head_dim - i), to->keys + i * padded);
    depth = ck_gemm_depth(count), padded = ck_round_up(head_dim, CK_STRIP);
    for (int64_t i = 0; i < count; i += depth)
        p->kernels->pack_cols(v + i * v_row, v_row, head_dim, ck_min(depth, count - i), to->values + i * padded);
}

/* What `rows` queries of a group have seen of one more block: the first one, or not. `bias`, or null, is added to the scaled
 * scores. */
static void attend(const plan *p, const room *r, int64_t count, const float *q, float *out, int64_t rows, int64_t stats,
                   const float *bias, int32_t is_first) {
    const ck_attention_args *a = p->args;
    const float scale = a->scale * 1.44269504088896341f; /* powers of two take fewer steps */
    int64_t block = ck_round_up(count, CK_STRIP), step = tile_rows(block);
    for (int64_t from = 0; from < rows; from += step) {
        int64_t tile = ck_min(step, rows - from), lda = a->q_row;
        const float *queries = q + from * a->q_row;
        float *to = out + from * a->out_row;
        if (p->query_floats > 0 && a->q_row > a->head_dim) {
            for (int64_t i = 0; i < tile; i++)
                memcpy(r->queries + i * a->head_dim, queries + i * a->q_row, (size_t)a->head_dim * sizeof *queries);
            queries = r->queries, lda = a->head_dim;
        }
        ck_gemm_args product = {.a = queries,
                                .lda = lda,
                                .b = r->keys,
                                .ldb = count,
                                .dtype = CK_F32,
                                .form = CK_B_PACKED,
                                .c = r->scores,
                                .ldc = block,
                                .m = tile,
                                .n = count,
                                .k = a->head_dim,
                                .panel = block};
        ck_gemm(p->kernels, &product);
        for (int64_t i = 0; i < tile; i++) {
            float *row = r->scores + i * block;
            if (bias) p->kernels->axpby(1, row, 1 / a->scale, bias, row, count);
            float factor =
                p->kernels->softmax_block(row, count, scale, &r->largest[stats + from + i], &r->sums[stats + from + i]);
            if (!is_first && factor != 1) p->kernels->scale_row(to + i * a->out_row, a->head_dim, factor);
        }
        product = (ck_gemm_args){.a = r->scores,
                                 .lda = block,
                                 .b = r->values,
                                 .ldb = a->head_dim,
                                 .dtype = CK_F32,
                                 .form = CK_B_PACKED,
                                 .c = to,
                                 .ldc = a->out_row,
                                 .m = tile,
                                 .n = a->head_dim,
                                 .k = count,
                                 .panel = ck_round_up(a->head_dim, CK_STRIP),
                                 .accumulate = !is_first};
        ck_gemm(p->kernels, &product);
    }
}

static void part_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_attention_args *a = p->args;
    int64_t cuts = ck_ceil_div(p->groups, p->together), first = index % p->parts * p->rows, problem = index / p->parts;
    int64_t rows = ck_min(p->rows, a->queries - first), from = problem % cuts * p->together;
    int64_t groups = ck_min(p->together, p->groups - from), head = problem / cuts % a->heads, batch = problem / cuts / a->heads;
    int64_t at = head * a->head_dim;
    room r = {.keys = (float *)a->scratch + (size_t)thread * p->scratch_floats};
    r.values = r.keys + p->block * a->head_dim;
    r.scores = r.values + ck_round_up(a->head_dim, CK_STRIP) * p->block;
    r.queries = r.scores + ck_max(tile_rows(0) * MIN_BLOCK, tile_rows(p->block) * p->block);
    r.largest = r.queries + p->query_floats, r.sums = r.largest + ck_round_up(p->together * p->rows, 16);
    for (int64_t i = 0; i < groups * rows; i++) r.largest[i] = -__builtin_inff(), r.sums[i] = 0;
    const float *q = a->q + batch * a->q_batch + from * a->q_group + first * a->q_row + at;
    float *out = a->out + batch * a->out_batch + from * a->out_group + first * a->out_row + at;
    for (int64_t g = 0; g < groups; g++) {
        const float *k = a->k + batch * a->k_batch + (from + g) * a->k_group + at;
        const float *v = a->v + batch * a->v_batch + (from + g) * a->v_group + at;
        for (int64_t key = 0; key < a->keys; key += p->own) {
            int64_t count = ck_min(p->own, a->keys - key);
            pack(p, k + key * a->k_row, a->k_row, v + key * a->v_row, a->v_row, count, &r);
            attend(p, &r, count, q + g * a->q_group, out + g * a->out_group, rows, g * rows, NULL, key == 0);
        }
    }
    const float *k = a->shared_k + batch * a->shared_k_batch + at, *v = a->shared_v + batch * a->shared_v_batch + at;
    for (int64_t key = 0; key < a->shared; key += p->shared) {
        int64_t count = ck_min(p->shared, a->shared - key);
        pack(p, k + key * a->shared_k_row, a->shared_k_row, v + key * a->shared_v_row, a->shared_v_row, count, &r);
        for (int64_t g = 0; g < groups; g++) {
            const float *bias = a->shared_bias ? a->shared_bias + (from + g) * a->shared_bias_group + key : NULL;
            attend(p, &r, count, q + g * a->q_group, out + g * a->out_group, rows, g * rows, bias, key == 0 && a->keys <= 0);
        }
    }
    for (int64_t g = 0; g < groups; g++)
        for (int64_t i = 0; i < rows; i++)
            p->kernels->scale_row(out + g * a->out_group + i * a->out_row, a->head_dim, 1 / r.sums[g * rows + i]);
}

void ck_attention_blocks(ck_pool *pool, const ck_attention_args *args) {
    plan p = make_plan(ck_pool_threads(pool), args);
    ck_run(pool, args->batch * args->heads * ck_ceil_div(p.groups, p.together) * p.parts, part_task, &p);
}

size_t ck_attention_blocks_scratch(int32_t threads, const ck_attention_args *args) {
    if (!has_many_keys(args) || args->head_dim <= 0) return 0;
    return (size_t)ck_max(threads, 1) * make_plan(threads, args).scratch_floats * sizeof(float);
}
