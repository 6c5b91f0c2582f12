/* Attention to so many keys that a tile's scores, or what is packed of keys and values, would not stay in a cache: keys in
 * blocks of a size that is a function of theirs alone, all queries of a task for each. The largest score and the sum of a row
 * go along, and its output shrinks whenever a larger score comes. Memory does not grow with the number of keys. Keys that
 * groups share are packed once for all groups of a task, and so are those around some times, of which each query sees a part.
 */
#include "kernels.h"

enum {
    FROM_KEYS = 1536,         /* fewer go in one block */
    FROM_SHARED = 512,        /* fewer own and shared keys take longer in two blocks than in one */
    BLOCK_FLOATS = 96 * 1024, /* of keys, and of values, that are packed at once */
    KEPT_FLOATS =
        144 * 1024, /* of a block of own and one of shared keys and values, which the second-level cache holds together */
    MIN_BLOCK = 256,
    MAX_BLOCK = 1024,         /* keys */
    SCORE_FLOATS = 64 * 1024, /* of a tile */
    MIN_ROWS = 256,           /* of a task: fewer do not repay packing the keys again */
    TASKS_PER_THREAD = 6,     /* so that threads finish together when one is interrupted */
    NARROW_HEAD = 128,        /* rows of queries so short, far apart, are fetched side by side first */
    TILE_STEP = 24,           /* queries: a multiple of every register tile */
    WINDOW_ROWS = 24,         /* times whose windows are taken together: more of them see more in vain, fewer pack more often */
    MAX_WINDOW_ROWS = 96,
};

typedef struct {
    const ck_attention_args *args;
    const ck_kernels *kernels, *products; /* of which table the two products are */
    int64_t groups, together;             /* groups; of a task */
    int64_t own, shared, near;            /* keys of a group, shared ones and those in windows at once */
    int64_t block;                        /* the most of them */
    int32_t keeps;                        /* shared keys and values are kept beside a group's own ones */
    int64_t window, times;                /* to either side of a query; whose windows are taken together */
    int64_t parts, rows;  /* tasks of a group; queries of a group in a task, whole tiles: bits do not depend on tasks */
    int64_t query_floats; /* of a tile, when they are fetched */
    int64_t row_floats;   /* of a tile's rows packed in pairs */
    size_t scratch_floats;
} plan;

/* What a thread has in its scratch. */
typedef struct {
    float *keys, *values, *kept_keys, *kept_values, *scores, *queries, *rows, *largest, *sums;
} room;

/* What queries see of the keys of a block: all, or those near them in time. */
typedef struct {
    const float *bias; /* added to the scaled scores with these keys, or null */
    int32_t by_time;
    int64_t group, time, token; /* of the queries; of the first of them; of the first key */
} sight;

/* Keys and values, packed. */
typedef struct {
    const float *keys, *values;
    int64_t count;
    sight see;
    int32_t is_first; /* of those that its queries see */
} block;

/* Queries of a group, and where in the task's their largest scores and sums stand. */
typedef struct {
    const float *q;
    float *out;
    int64_t rows, stats;
} queries;

static int32_t is_for_blocks(const ck_attention_args *a) {
    return a->window > 0 || (a->shared > 0 ? a->keys + a->shared >= FROM_SHARED : a->keys >= FROM_KEYS);
}

int32_t ck_attention_in_blocks(const ck_attention_args *a) {
    return a->window > 0 || (is_for_blocks(a) && !a->bias && !a->table && ck_gemm_current() == CK_GEMM_OWN);
}

static int64_t block_keys(int64_t keys, int64_t head_dim) {
    int64_t most = ck_min(MAX_BLOCK, ck_max(MIN_BLOCK, BLOCK_FLOATS / head_dim / MIN_BLOCK * MIN_BLOCK));
    int64_t blocks = ck_ceil_div(ck_max(keys, 1), most);
    return ck_round_up(ck_ceil_div(keys, blocks), CK_STRIP);
}

/* Queries at once. */
static int64_t tile_rows(int64_t block) { return SCORE_FLOATS / ck_max(block, MIN_BLOCK) / TILE_STEP * TILE_STEP; }

static plan make_plan(int32_t threads, const ck_attention_args *a) {
    plan p = {.args = a, .kernels = ck_active(), .groups = ck_max(a->groups, 1), .together = 1};
    p.products = a->precision == CK_PAIRS ? ck_active_pairs() : p.kernels;
    p.own = block_keys(a->keys, a->head_dim), p.shared = block_keys(ck_max(a->shared, 0), a->head_dim);
    p.window = ck_min(ck_max(a->window, 0), a->queries);
    p.times = ck_min(MAX_WINDOW_ROWS, ck_round_up(ck_max(p.window, 1), WINDOW_ROWS));
    p.near = p.window > 0 ? block_keys(p.groups * ck_min(a->queries, p.times + 2 * p.window), a->head_dim) : 0;
    p.block = ck_max(ck_max(p.own, p.shared), p.near);
    int64_t problems = ck_max(a->batch * a->heads, 1), tasks = (int64_t)threads * TASKS_PER_THREAD;
    if (a->shared > 0 || p.window > 0)
        p.together = threads > 1 ? ck_ceil_div(p.groups, ck_min(p.groups, ck_ceil_div(tasks, problems))) : p.groups;
    int64_t wanted = ck_ceil_div(tasks, problems * ck_ceil_div(p.groups, p.together));
    p.parts = threads > 1 ? ck_max(1, ck_min(wanted, a->queries / MIN_ROWS)) : 1;
    p.rows = ck_round_up(ck_ceil_div(a->queries, p.parts), p.window > 0 ? p.times : TILE_STEP);
    p.parts = ck_ceil_div(a->queries, p.rows);
    int64_t width = a->head_dim + ck_round_up(a->head_dim, CK_STRIP);
    p.keeps = a->keys > 0 && a->shared > 0 && a->shared <= p.shared && (p.own + p.shared) * width <= KEPT_FLOATS;
    int64_t tile = tile_rows(0), packed = (p.block + (p.keeps ? p.shared : 0)) * width;
    p.query_floats = a->head_dim <= NARROW_HEAD ? tile * a->head_dim : 0;
    /* Room in either precision, so that memory is known before that is. */
    p.row_floats = ck_max(ck_gemm_rows_floats(ck_active_pairs(), tile, ck_max(a->head_dim, MIN_BLOCK)),
                          ck_gemm_rows_floats(ck_active_pairs(), tile_rows(p.block), p.block));
    p.scratch_floats = (size_t)(packed + ck_max(tile * MIN_BLOCK, tile_rows(p.block) * p.block) + p.query_floats +
                                p.row_floats + 2 * ck_round_up(p.together * p.rows, 16));
    return p;
}

/* A block's keys and values, packed in the order of ck_pack_matrix. */
static void pack(const plan *p, const float *k, int64_t k_row, const float *v, int64_t v_row, int64_t count, float *keys,
                 float *values) {
    int64_t head_dim = p->args->head_dim;
    ck_pack_factor_rows(p->products, k, k_row, count, head_dim, keys);
    ck_pack_factor_columns(p->products, v, v_row, head_dim, count, values);
}

/* The weights of the keys that lie in the window of the query at `time`; 0 of the others. Returns what the row's output shrinks
 * by. */
static float weights_near(const plan *p, float *row, int64_t count, float scale, const sight *s, int64_t time, float *largest,
                          float *sum) {
    int64_t from = ck_max((time - p->window) * p->groups - s->token, 0);
    int64_t to = ck_min((time + p->window + 1) * p->groups - s->token, count);
    if (from >= to) {
        memset(row, 0, (size_t)count * sizeof *row);
        return 1;
    }
    memset(row, 0, (size_t)from * sizeof *row);
    memset(row + to, 0, (size_t)(count - to) * sizeof *row);
    if (s->bias) p->kernels->axpby(1, row + from, 1, s->bias + from, row + from, to - from);
    if (p->args->keys > 0) { /* its own group has been seen */
        int64_t ahead = (s->token + from) % p->groups;
        ahead = s->group >= ahead ? s->group - ahead : s->group - ahead + p->groups;
        for (int64_t i = from + ahead; i < to; i += p->groups) row[i] = -__builtin_inff();
    }
    return p->kernels->softmax_block(row + from, to - from, scale, largest, sum);
}

static void multiply(const plan *p, const room *r, ck_gemm_args *product) {
    if (p->products == p->kernels) {
        ck_gemm(p->kernels, product);
        return;
    }
    product->dtype = CK_PAIRS, product->pack = r->rows;
    ck_gemm_block(p->products, product);
}

/* What `rows` queries, their results in `out`, have seen of one more block; `stats` is where theirs stand. */
static void attend(const plan *p, const room *r, const block *b, const float *q, int64_t q_row, float *out, int64_t first,
                   int64_t rows, int64_t stats) {
    const ck_attention_args *a = p->args;
    const float scale = a->scale * 1.44269504088896341f; /* powers of two take fewer steps */
    int64_t width = ck_round_up(b->count, CK_STRIP);
    ck_gemm_args product = {.a = q,
                            .lda = q_row,
                            .b = b->keys,
                            .ldb = b->count,
                            .dtype = CK_F32,
                            .form = CK_B_PACKED,
                            .c = r->scores,
                            .ldc = width,
                            .m = rows,
                            .n = b->count,
                            .k = a->head_dim,
                            .panel = width};
    multiply(p, r, &product);
    for (int64_t i = 0; i < rows; i++) {
        float *row = r->scores + i * width, *largest = &r->largest[stats + i], *sum = &r->sums[stats + i];
        if (b->see.bias && !b->see.by_time) p->kernels->axpby(1, row, 1 / a->scale, b->see.bias, row, b->count);
        float factor = b->see.by_time ? weights_near(p, row, b->count, scale, &b->see, b->see.time + first + i, largest, sum)
                                      : p->kernels->softmax_block(row, b->count, scale, largest, sum);
        if (!b->is_first && factor != 1) p->kernels->scale_row(out + i * a->out_row, a->head_dim, factor);
    }
    product = (ck_gemm_args){.a = r->scores,
                             .lda = width,
                             .b = b->values,
                             .ldb = a->head_dim,
                             .dtype = CK_F32,
                             .form = CK_B_PACKED,
                             .c = out,
                             .ldc = a->out_row,
                             .m = rows,
                             .n = a->head_dim,
                             .k = b->count,
                             .panel = ck_round_up(a->head_dim, CK_STRIP),
                             .accumulate = !b->is_first};
    multiply(p, r, &product);
}

/* Queries tile by tile meet one block after the other; after the last one of all, `finishes`, results are divided by their
 * sums. */
static void attend_all(const plan *p, const room *r, const block *blocks, int32_t count, const queries *x, int32_t finishes) {
    const ck_attention_args *a = p->args;
    int64_t widest = 0;
    for (int32_t b = 0; b < count; b++) widest = ck_max(widest, ck_round_up(blocks[b].count, CK_STRIP));
    int64_t step = tile_rows(widest);
    for (int64_t from = 0; from < x->rows; from += step) {
        int64_t tile = ck_min(step, x->rows - from), q_row = a->q_row;
        const float *q = x->q + from * a->q_row;
        float *out = x->out + from * a->out_row;
        if (p->query_floats > 0 && a->q_row > a->head_dim && p->products == p->kernels) {
            for (int64_t i = 0; i < tile; i++)
                memcpy(r->queries + i * a->head_dim, q + i * a->q_row, (size_t)a->head_dim * sizeof *q);
            q = r->queries, q_row = a->head_dim;
        }
        for (int32_t b = 0; b < count; b++) attend(p, r, &blocks[b], q, q_row, out, from, tile, x->stats + from);
        for (int64_t i = 0; finishes && i < tile; i++)
            p->kernels->scale_row(out + i * a->out_row, a->head_dim, 1 / r->sums[x->stats + from + i]);
    }
}

/* What `rows` queries from time `first` on, of each of `groups` from group `from` on, see in their windows: the last blocks. */
static void attend_near(const plan *p, const room *r, const float *k, const float *v, const float *q, float *out, int64_t first,
                        int64_t rows, int64_t from, int64_t groups) {
    const ck_attention_args *a = p->args;
    for (int64_t row = 0; row < rows; row += p->times) {
        int64_t tile = ck_min(p->times, rows - row), time = first + row;
        int64_t begin = ck_max(time - p->window, 0) * p->groups, end = ck_min(time + tile + p->window, a->queries) * p->groups;
        for (int64_t key = begin; key < end; key += p->near) {
            int64_t count = ck_min(p->near, end - key);
            pack(p, k + key * a->k_group, a->k_group, v + key * a->v_group, a->v_group, count, r->keys, r->values);
            for (int64_t g = 0; g < groups; g++) {
                sight see = {a->window_bias ? a->window_bias + key : NULL, 1, from + g, time, key};
                block near = {r->keys, r->values, count, see, key == begin && a->keys <= 0 && a->shared <= 0};
                queries some = {q + g * a->q_group + row * a->q_row, out + g * a->out_group + row * a->out_row, tile,
                                g * rows + row};
                attend_all(p, r, &near, 1, &some, key + p->near >= end);
            }
        }
    }
}

/* A group's bias for shared keys from `key` on. */
static sight of_shared(const ck_attention_args *a, int64_t group, int64_t key) {
    return (sight){.bias = a->shared_bias ? a->shared_bias + group * a->shared_bias_group + key : NULL};
}

static void part_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_attention_args *a = p->args;
    int64_t cuts = ck_ceil_div(p->groups, p->together), first = index % p->parts * p->rows, problem = index / p->parts;
    int64_t rows = ck_min(p->rows, a->queries - first), from = problem % cuts * p->together;
    int64_t groups = ck_min(p->together, p->groups - from), head = problem / cuts % a->heads, batch = problem / cuts / a->heads;
    int64_t at = head * a->head_dim, values = ck_round_up(a->head_dim, CK_STRIP), kept = p->keeps ? p->shared : 0;
    room r = {.keys = (float *)a->scratch + (size_t)thread * p->scratch_floats};
    r.values = r.keys + p->block * a->head_dim, r.kept_keys = r.values + p->block * values;
    r.kept_values = r.kept_keys + kept * a->head_dim, r.scores = r.kept_values + kept * values;
    r.queries = r.scores + ck_max(tile_rows(0) * MIN_BLOCK, tile_rows(p->block) * p->block);
    r.rows = r.queries + p->query_floats;
    r.largest = r.rows + p->row_floats, r.sums = r.largest + ck_round_up(p->together * p->rows, 16);
    for (int64_t i = 0; i < groups * rows; i++) r.largest[i] = -__builtin_inff(), r.sums[i] = 0;
    const float *q = a->q + batch * a->q_batch + from * a->q_group + first * a->q_row + at;
    float *out = a->out + batch * a->out_batch + from * a->out_group + first * a->out_row + at;
    const float *shared_k = a->shared_k + batch * a->shared_k_batch + at,
                *shared_v = a->shared_v + batch * a->shared_v_batch + at;
    if (p->keeps) pack(p, shared_k, a->shared_k_row, shared_v, a->shared_v_row, a->shared, r.kept_keys, r.kept_values);
    for (int64_t g = 0; g < groups; g++) {
        const float *k = a->k + batch * a->k_batch + (from + g) * a->k_group + at;
        const float *v = a->v + batch * a->v_batch + (from + g) * a->v_group + at;
        queries all = {q + g * a->q_group, out + g * a->out_group, rows, g * rows};
        for (int64_t key = 0; key < a->keys; key += p->own) {
            int32_t is_last = key + p->own >= a->keys, joins = is_last && p->keeps;
            block blocks[2] = {{r.keys, r.values, ck_min(p->own, a->keys - key), {0}, key == 0},
                               {r.kept_keys, r.kept_values, a->shared, of_shared(a, from + g, 0), 0}};
            pack(p, k + key * a->k_row, a->k_row, v + key * a->v_row, a->v_row, blocks[0].count, r.keys, r.values);
            attend_all(p, &r, blocks, joins ? 2 : 1, &all, is_last && (joins || a->shared <= 0) && p->window <= 0);
        }
    }
    for (int64_t key = 0; !p->keeps && key < a->shared; key += p->shared) {
        int64_t count = ck_min(p->shared, a->shared - key);
        pack(p, shared_k + key * a->shared_k_row, a->shared_k_row, shared_v + key * a->shared_v_row, a->shared_v_row, count,
             r.keys, r.values);
        for (int64_t g = 0; g < groups; g++) {
            queries all = {q + g * a->q_group, out + g * a->out_group, rows, g * rows};
            block some = {r.keys, r.values, count, of_shared(a, from + g, key), key == 0 && a->keys <= 0};
            attend_all(p, &r, &some, 1, &all, key + p->shared >= a->shared && p->window <= 0);
        }
    }
    if (p->window > 0)
        attend_near(p, &r, a->k + batch * a->k_batch + at, a->v + batch * a->v_batch + at, q, out, first, rows, from, groups);
}

void ck_attention_blocks(ck_pool *pool, const ck_attention_args *args) {
    plan p = make_plan(ck_pool_threads(pool), args);
    ck_run(pool, args->batch * args->heads * ck_ceil_div(p.groups, p.together) * p.parts, part_task, &p);
}

size_t ck_attention_blocks_scratch(int32_t threads, const ck_attention_args *args) {
    if (!is_for_blocks(args) || args->head_dim <= 0) return 0;
    return (size_t)ck_max(threads, 1) * make_plan(threads, args).scratch_floats * sizeof(float);
}
