/* Attention in query tiles: the scores of a tile stay in cache between the two products. The division by the sum of a
 * row is applied to its output, which is shorter than the row. */
#include "kernels.h"

enum {
    SCORE_FLOATS = 64 * 1024,  /* of a tile, beside what else the second-level cache holds */
    MIN_TILE = 48,             /* rows that repay packing keys and values for them */
    MAX_TILE = 1008,           /* a multiple of every register tile */
    MAX_PANEL = 192,           /* columns that are packed at once */
    WHOLE_FLOATS = 128 * 1024, /* of keys, and of values, that are packed once for all tiles */
    WIDE_COLUMNS = 32,         /* of a register tile */
    TASKS_PER_THREAD = 8,      /* so that threads finish together when one is interrupted */
};

typedef struct {
    const ck_attention_args *args;
    const ck_kernels *kernels, *products; /* of which table the two products are */
    int64_t groups, keys;                 /* keys of both segments */
    int64_t tile, tiles;                  /* rows of a tile; how many of them in a group */
    int64_t parts;                        /* tasks that share the tiles of a group */
    int32_t whole;                        /* keys and values are packed before the first tile, not panel by panel in each */
    size_t scratch_floats, score_floats;
} plan;

/* Keys and values that lie together, as the second factors of the two products. */
typedef struct {
    ck_gemm_args scores, values;
} segment;

/* A multiple of 24, and so of the register tiles of 6, 8 and 12 rows, unless all queries fit. */
static int64_t tile_rows(int64_t queries, int64_t keys) {
    int64_t rows = ck_min(MAX_TILE, ck_max(MIN_TILE, SCORE_FLOATS / ck_max(keys, 1) / 24 * 24));
    if (rows >= queries) return ck_max(queries, 1);
    int64_t tiles = ck_ceil_div(queries, rows);
    return ck_min(rows, ck_round_up(ck_ceil_div(queries, tiles), 24));
}

/* Whether products in pairs are for these: all keys and values of a head are packed for them. */
static int32_t pairs_fit(int64_t keys, int64_t head_dim) { return keys * head_dim <= 2 * WHOLE_FLOATS; }

static int32_t packs_whole(int64_t queries, int64_t keys, int64_t head_dim) {
    return tile_rows(queries, keys) < queries && keys * head_dim <= WHOLE_FLOATS && ck_gemm_current() == CK_GEMM_OWN;
}
static size_t whole_floats(const ck_kernels *products, int64_t keys, int64_t head_dim) {
    return (size_t)(ck_factor_floats(products, keys, head_dim) + ck_factor_floats(products, head_dim, keys));
}

static size_t panel_floats(int64_t keys, int64_t head_dim) {
    size_t scores = ck_gemm_pack_floats(ck_min(keys, MAX_PANEL), head_dim);
    size_t values = ck_gemm_pack_floats(ck_min(head_dim, MAX_PANEL), keys);
    return scores > values ? scores : values;
}

/* For products in pairs: everything packed, and room for the rows of a tile. */
static size_t paired_floats(int64_t queries, int64_t keys, int64_t shared, int64_t head_dim) {
    if (!pairs_fit(keys + shared, head_dim)) return 0;
    const ck_kernels *products = ck_active_pairs();
    int64_t rows = tile_rows(queries, keys + shared);
    return whole_floats(products, keys, head_dim) + whole_floats(products, shared, head_dim) +
           (size_t)ck_gemm_rows_floats(products, rows, ck_max(head_dim, ck_max(keys, shared)));
}

static size_t pack_floats(int64_t queries, int64_t keys, int64_t shared, int64_t head_dim) {
    const ck_kernels *products = ck_active();
    if (packs_whole(queries, keys + shared, head_dim))
        return whole_floats(products, keys, head_dim) + whole_floats(products, shared, head_dim) +
               ck_gemm_block_floats(products, head_dim);
    size_t own = panel_floats(keys, head_dim), more = shared > 0 ? panel_floats(shared, head_dim) : 0;
    return own > more ? own : more;
}

/* The same in either precision, so that memory is known before that is. */
static size_t room_floats(const ck_attention_args *a) {
    size_t plain = pack_floats(a->queries, a->keys, a->shared, a->head_dim);
    size_t paired = paired_floats(a->queries, a->keys, a->shared, a->head_dim);
    return plain > paired ? plain : paired;
}

/* 16 floats are one cache line: threads do not share any. */
static size_t score_floats(int64_t queries, int64_t keys) { return (size_t)ck_round_up(tile_rows(queries, keys) * keys, 16); }

/* The products of `count` keys and values whose scores stand from `column` on in the rows of a tile. */
static segment make_segment(const plan *p, const float *k, int64_t k_row, const float *v, int64_t v_row, int64_t count,
                            int64_t column, float *buffer) {
    const ck_attention_args *a = p->args;
    float *pack = buffer + p->score_floats;
    return (segment){
        .scores =
            {
                .lda = a->q_row,
                .b = k,
                .ldb = k_row,
                .dtype = CK_F32,
                .form = CK_B_ROWS,
                .c = buffer + column,
                .ldc = p->keys,
                .n = count,
                .k = a->head_dim,
                .panel = MAX_PANEL,
                .pack = pack,
            },
        .values =
            {
                .a = buffer + column,
                .lda = p->keys,
                .b = v,
                .ldb = v_row,
                .dtype = CK_F32,
                .form = CK_B_COLS,
                .ldc = a->out_row,
                .n = a->head_dim,
                .k = count,
                .panel = MAX_PANEL,
                .accumulate = column > 0,
                .pack = pack,
            },
    };
}

/* Packs the second factors of both products, in the order of ck_pack_matrix; returns what is free behind them. */
static float *pack_whole(const plan *p, segment *s, float *to) {
    int64_t count = s->scores.n, head_dim = s->scores.k;
    ck_pack_factor_rows(p->products, s->scores.b, s->scores.ldb, count, head_dim, to);
    s->scores.b = to, s->scores.ldb = count, s->scores.form = CK_B_PACKED;
    to += ck_factor_floats(p->products, count, head_dim);
    ck_pack_factor_columns(p->products, s->values.b, s->values.ldb, head_dim, count, to);
    s->values.b = to, s->values.ldb = head_dim, s->values.form = CK_B_PACKED;
    s->scores.dtype = s->values.dtype = p->products->unit > 1 ? CK_PAIRS : CK_F32;
    return to + ck_factor_floats(p->products, head_dim, count);
}

/* What is added to scores: of a query's own keys, and of shared ones. */
typedef struct {
    const float *table, *bias, *shared;
} addends;

/* `count` scores, scaled, plus what is not null. */
static void add_biases(const plan *p, float *row, int64_t count, const float *first, const float *second) {
    const ck_kernels *kernels = p->kernels;
    float scale = p->args->scale;
    if (!first && !second) kernels->scale_row(row, count, scale);
    else kernels->axpby(scale, row, 1, first ? first : second, row, count);
    if (first && second) kernels->axpby(1, row, 1, second, row, count);
}

/* The weights of one query, not yet divided by their sum; returns what to multiply by for that. */
static float weights(const plan *p, float *row, addends add) {
    const ck_attention_args *a = p->args;
    if (!add.table && !add.bias && !add.shared) return p->kernels->softmax_weights(row, p->keys, a->scale);
    add_biases(p, row, a->keys, add.table, add.bias);
    add_biases(p, row + a->keys, a->shared, add.shared, NULL);
    return p->kernels->softmax_weights(row, p->keys, 1);
}

static void part_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_attention_args *a = p->args;
    int64_t part = index % p->parts, group = index / p->parts % p->groups;
    int64_t head = index / p->parts / p->groups % a->heads, batch = index / p->parts / p->groups / a->heads;
    int64_t at = head * a->head_dim;
    float *buffer = (float *)a->scratch + (size_t)thread * p->scratch_floats;
    const float *q = a->q + batch * a->q_batch + group * a->q_group + at;
    const float *table = a->table ? a->table + head * a->table_head : NULL;
    addends add = {.bias = a->bias ? a->bias + batch * a->bias_batch : NULL,
                   .shared = a->shared_bias ? a->shared_bias + group * a->shared_bias_group : NULL};
    float *out = a->out + batch * a->out_batch + group * a->out_group + at;
    segment segments[2];
    int32_t count = 0;
    if (a->keys > 0 || a->shared <= 0)
        segments[count++] = make_segment(p, a->k + batch * a->k_batch + group * a->k_group + at, a->k_row,
                                         a->v + batch * a->v_batch + group * a->v_group + at, a->v_row, a->keys, 0, buffer);
    if (a->shared > 0)
        segments[count++] =
            make_segment(p, a->shared_k + batch * a->shared_k_batch + at, a->shared_k_row,
                         a->shared_v + batch * a->shared_v_batch + at, a->shared_v_row, a->shared, a->keys, buffer);
    if (p->whole) {
        float *behind = buffer + p->score_floats;
        for (int32_t s = 0; s < count; s++) behind = pack_whole(p, &segments[s], behind);
        for (int32_t s = 0; s < count; s++)
            segments[s].scores.pack = segments[s].values.pack = behind; /* for a block of rows */
    }
    for (int64_t tile = p->tiles * part / p->parts; tile < p->tiles * (part + 1) / p->parts; tile++) {
        int64_t from = tile * p->tile, rows = ck_min(p->tile, a->queries - from);
        float *tile_out = out + from * a->out_row;
        for (int32_t s = 0; s < count; s++) {
            ck_gemm_args *scores = &segments[s].scores;
            scores->a = q + from * a->q_row, scores->m = rows;
            /* Queries are packed too where a block holds a tile of them, and registers are narrow: wide ones pass a row of keys
             * in so few tiles that it would not be repaid. Nor would it for scores, which meet head_dim columns only. */
            if (p->products != p->kernels ||
                (p->whole && p->kernels->gemm_columns < WIDE_COLUMNS && rows <= p->kernels->block_rows))
                ck_gemm_block(p->products, scores);
            else ck_gemm(p->kernels, scores);
        }
        float inverse[MAX_TILE];
        for (int64_t r = 0; r < rows; r++) {
            add.table = table ? table + (from + r) * a->table_row : NULL;
            inverse[r] = weights(p, buffer + r * p->keys, add);
        }
        for (int32_t s = 0; s < count; s++) {
            segments[s].values.c = tile_out, segments[s].values.m = rows;
            if (p->products != p->kernels) ck_gemm_block(p->products, &segments[s].values);
            else ck_gemm(p->kernels, &segments[s].values);
        }
        for (int64_t r = 0; r < rows; r++) p->kernels->scale_row(tile_out + r * a->out_row, a->head_dim, inverse[r]);
    }
}

void ck_attention(ck_pool *pool, const ck_attention_args *args) {
    if (args->queries <= 0 || args->head_dim <= 0) return;
    if (ck_attention_in_pairs(args)) {
        ck_attention_pairs(pool, args);
        return;
    }
    if (ck_attention_in_blocks(args)) {
        ck_attention_blocks(pool, args);
        return;
    }
    plan p = {.args = args, .kernels = ck_active(), .groups = ck_max(args->groups, 1), .keys = args->keys + args->shared};
    p.tile = tile_rows(args->queries, p.keys);
    p.tiles = ck_ceil_div(args->queries, p.tile);
    p.products = args->precision == CK_PAIRS && pairs_fit(p.keys, args->head_dim) ? ck_active_pairs() : p.kernels;
    p.whole = p.products != p.kernels || packs_whole(args->queries, p.keys, args->head_dim);
    int64_t problems = args->batch * args->heads * p.groups;
    int64_t wanted = ck_ceil_div((int64_t)ck_pool_threads(pool) * TASKS_PER_THREAD, ck_max(problems, 1));
    p.parts = p.whole ? ck_min(p.tiles, wanted) : p.tiles;
    p.score_floats = score_floats(args->queries, p.keys);
    p.scratch_floats = p.score_floats + room_floats(args);
    ck_run(pool, problems * p.parts, part_task, &p);
}

size_t ck_attention_scratch(int32_t threads, const ck_attention_args *a) {
    size_t each = score_floats(a->queries, a->keys + a->shared) + room_floats(a);
    size_t one = (size_t)ck_max(threads, 1) * each * sizeof(float);
    size_t blocks = a->queries > 0 ? ck_attention_blocks_scratch(threads, a) : 0;
    size_t pairs = a->queries > 0 ? ck_attention_pairs_scratch(threads, a) : 0;
    if (one < blocks) one = blocks;
    return one > pairs ? one : pairs;
}
