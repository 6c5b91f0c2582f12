/* Attention whose products are of pairs of bf16, where nothing is added to the scores: keys are the rows of the first product
 * and queries its columns, so that a query's scores stand in one lane, and their weights, as they are made, are the second
 * factor of the next. All that a tile of queries works on stays in the first-level cache; a block of keys and values is packed
 * once for all queries of a task. */
#include "kernels.h"

enum {
    TILE = 32,         /* queries: a register tile */
    CHUNK = 192,       /* keys: a multiple of every register tile; their scores with a tile take half of a first-level cache */
    STEP = 24,         /* keys: a multiple of every register tile */
    BLOCK = 5 * CHUNK, /* keys that are packed at once */
    MAX_HEAD = 512,    /* one block of a product's depth */
    MIN_ROWS = 256,    /* of a task: fewer do not repay packing the keys again */
    MAX_ROWS = 4096,   /* likewise: more would want room for their sums, and repay nothing */
    TASKS_PER_THREAD = 6, /* so that threads finish together when one is interrupted */
};

typedef float four __attribute__((ext_vector_type(4)));

typedef struct {
    const ck_attention_args *args;
    const ck_kernels *kernels;
    int64_t units, width; /* of a key; rows of values in whole tiles */
    int64_t block, chunk; /* the most keys that are packed, and seen, at once */
    int64_t parts, rows;
    size_t scratch_floats;
} plan;

/* What a thread has in its scratch. */
typedef struct {
    float *keys, *values, *queries, *scores, *weights, *sums_of_values, *largest, *sums;
} room;

/* By the sizes alone. */
static int32_t fits(const ck_attention_args *a) {
    return a->groups <= 1 && a->shared <= 0 && a->window <= 0 && a->keys > 0 && a->head_dim > 0 && a->head_dim <= MAX_HEAD;
}

int32_t ck_attention_in_pairs(const ck_attention_args *a) {
    return a->precision == CK_PAIRS && fits(a) && !a->bias && !a->table;
}

static plan make_plan(int32_t threads, const ck_attention_args *a) {
    plan p = {.args = a, .kernels = ck_active_pairs(), .block = ck_min(BLOCK, ck_round_up(a->keys, STEP))};
    p.chunk = ck_min(CHUNK, p.block);
    p.units = ck_ceil_div(a->head_dim, 2), p.width = ck_round_up(a->head_dim, p.kernels->gemm_rows);
    int64_t wanted = ck_ceil_div((int64_t)threads * TASKS_PER_THREAD, ck_max(a->batch * a->heads, 1));
    p.parts = threads > 1 ? ck_max(1, ck_min(wanted, a->queries / MIN_ROWS)) : 1;
    p.parts = ck_max(p.parts, ck_ceil_div(a->queries, MAX_ROWS));
    p.rows = ck_round_up(ck_ceil_div(a->queries, p.parts), TILE);
    p.parts = ck_ceil_div(a->queries, p.rows);
    p.scratch_floats = (size_t)(p.block * p.units + p.block / 2 * p.width + TILE * p.units + p.chunk * TILE +
                                p.chunk / 2 * TILE + a->head_dim * TILE + 2 * p.rows);
    p.scratch_floats = (size_t)ck_round_up((int64_t)p.scratch_floats, 16);
    return p;
}

/* to[c][r] = from[r][c] of `rows` by `columns`. */
static void turn(const float *from, int64_t line, float *to, int64_t to_line, int64_t rows, int64_t columns) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) {
        int64_t c = 0;
        for (; c + 4 <= columns; c += 4) {
            four v[4];
            for (int i = 0; i < 4; i++) memcpy(&v[i], from + (r + i) * line + c, sizeof v[i]);
            four ab_low = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5),
                 ab_high = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
            four cd_low = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5),
                 cd_high = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
            four turned[4] = {
                __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5), __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
                __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5), __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
            for (int i = 0; i < 4; i++) memcpy(to + (c + i) * to_line + r, &turned[i], sizeof turned[i]);
        }
        for (; c < columns; c++)
            for (int i = 0; i < 4; i++) to[c * to_line + r + i] = from[(r + i) * line + c];
    }
    for (; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) to[c * to_line + r] = from[r * line + c];
}

static void pack(const plan *p, const room *r, const float *k, const float *v, int64_t count) {
    const ck_attention_args *a = p->args;
    for (int64_t at = 0; at < count; at += CHUNK) {
        int64_t keys = ck_min(CHUNK, count - at);
        p->kernels->pack_block(k + at * a->k_row, a->k_row, keys, a->head_dim, r->keys + at * p->units);
        p->kernels->pack_block_columns(v + at * a->v_row, a->v_row, a->head_dim, keys, r->values + at / 2 * p->width);
    }
}

static int32_t all_ones(const float *factors) {
    int32_t differ = 0;
    for (int64_t c = 0; c < CK_STRIP; c++) differ |= factors[c] != 1;
    return !differ;
}

/* What a tile of `count` queries sees of `keys` packed keys; `largest` and `sums` are theirs. `is_first`: they have seen none
 * before. */
static void attend(const plan *p, const room *r, int64_t count, int64_t keys, int32_t is_first, float *largest, float *sums) {
    const ck_attention_args *a = p->args;
    const float scale = a->scale * 1.44269504088896341f; /* powers of two take fewer steps */
    int64_t columns = ck_round_up(count, CK_STRIP);
    for (int64_t at = 0; at < keys; at += CHUNK) {
        int64_t some = ck_min(CHUNK, keys - at), units = ck_ceil_div(some, 2);
        int32_t adds = !is_first || at > 0;
        ck_panel_args product = {.a = r->keys + at * p->units,
                                 .packed = r->queries,
                                 .c = r->scores,
                                 .ldc = TILE,
                                 .m = some,
                                 .n = columns,
                                 .k = p->units};
        p->kernels->gemm_block(&product);
        for (int64_t c = 0; c < columns; c += CK_STRIP) {
            float factors[CK_STRIP];
            p->kernels->softmax_columns(r->scores + c, TILE, some, scale, largest + c, sums + c, factors,
                                        r->weights + c * units);
            if (adds && !all_ones(factors)) p->kernels->scale_columns(r->sums_of_values + c, TILE, a->head_dim, factors);
        }
        product = (ck_panel_args){.a = r->values + at / 2 * p->width,
                                  .packed = r->weights,
                                  .c = r->sums_of_values,
                                  .ldc = TILE,
                                  .m = a->head_dim,
                                  .n = columns,
                                  .k = units,
                                  .accumulate = adds};
        p->kernels->gemm_block(&product);
    }
}

static void part_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_attention_args *a = p->args;
    int64_t first = index % p->parts * p->rows, head = index / p->parts % a->heads, batch = index / p->parts / a->heads;
    int64_t rows = ck_min(p->rows, a->queries - first), at = head * a->head_dim;
    room r = {.keys = (float *)a->scratch + (size_t)thread * p->scratch_floats};
    r.values = r.keys + p->block * p->units, r.queries = r.values + p->block / 2 * p->width;
    r.scores = r.queries + TILE * p->units, r.weights = r.scores + p->chunk * TILE;
    r.sums_of_values = r.weights + p->chunk / 2 * TILE;
    r.largest = r.sums_of_values + a->head_dim * TILE, r.sums = r.largest + p->rows;
    const float *q = a->q + batch * a->q_batch + first * a->q_row + at;
    const float *k = a->k + batch * a->k_batch + at, *v = a->v + batch * a->v_batch + at;
    float *out = a->out + batch * a->out_batch + first * a->out_row + at;
    for (int64_t i = 0; i < p->rows; i++) r.largest[i] = -__builtin_inff(), r.sums[i] = 0;
    for (int64_t key = 0; key < a->keys; key += p->block) {
        int64_t count = ck_min(p->block, a->keys - key);
        pack(p, &r, k + key * a->k_row, v + key * a->v_row, count);
        for (int64_t row = 0; row < rows; row += TILE) {
            int64_t tile = ck_min(TILE, rows - row);
            float *to = out + row * a->out_row;
            p->kernels->pack_rows(CK_F32, q + row * a->q_row, a->q_row, tile, a->head_dim, r.queries);
            if (key > 0) turn(to, a->out_row, r.sums_of_values, TILE, tile, a->head_dim);
            attend(p, &r, tile, count, key == 0, r.largest + row, r.sums + row);
            for (int64_t c = 0; c < tile && key + count >= a->keys; c += CK_STRIP) {
                float inverse[CK_STRIP];
                for (int64_t i = 0; i < CK_STRIP; i++) inverse[i] = 1 / r.sums[row + c + i];
                p->kernels->scale_columns(r.sums_of_values + c, TILE, a->head_dim, inverse);
            }
            turn(r.sums_of_values, TILE, to, a->out_row, a->head_dim, tile);
        }
    }
}

void ck_attention_pairs(ck_pool *pool, const ck_attention_args *args) {
    plan p = make_plan(ck_pool_threads(pool), args);
    ck_run(pool, args->batch * args->heads * p.parts, part_task, &p);
}

size_t ck_attention_pairs_scratch(int32_t threads, const ck_attention_args *args) {
    return fits(args) ? (size_t)ck_max(threads, 1) * make_plan(ck_max(threads, 1), args).scratch_floats * sizeof(float) : 0;
}
