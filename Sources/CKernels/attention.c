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
    const ck_kernels *kernels;
    int64_t tile, tiles; /* rows of a tile; how many of them */
    int64_t parts;       /* tasks that share the tiles of a head */
    int32_t whole;       /* keys and values are packed before the first tile, not panel by panel in each */
    size_t scratch_floats, score_floats;
} plan;

/* A multiple of 24, and so of the register tiles of 6, 8 and 12 rows, unless all queries fit. */
static int64_t tile_rows(int64_t queries, int64_t keys) {
    int64_t rows = ck_min(MAX_TILE, ck_max(MIN_TILE, SCORE_FLOATS / ck_max(keys, 1) / 24 * 24));
    if (rows >= queries) return ck_max(queries, 1);
    int64_t tiles = ck_ceil_div(queries, rows);
    return ck_min(rows, ck_round_up(ck_ceil_div(queries, tiles), 24));
}

static int32_t packs_whole(int64_t queries, int64_t keys, int64_t head_dim) {
    return tile_rows(queries, keys) < queries && keys * head_dim <= WHOLE_FLOATS && ck_gemm_current() == CK_GEMM_OWN;
}
static size_t key_floats(int64_t keys, int64_t head_dim) { return (size_t)(ck_round_up(keys, CK_STRIP) * head_dim); }
static size_t value_floats(int64_t keys, int64_t head_dim) { return (size_t)(ck_round_up(head_dim, CK_STRIP) * keys); }

static size_t pack_floats(int64_t queries, int64_t keys, int64_t head_dim) {
    if (packs_whole(queries, keys, head_dim))
        return key_floats(keys, head_dim) + value_floats(keys, head_dim) + ck_gemm_block_floats(ck_active(), head_dim);
    size_t scores = ck_gemm_pack_floats(ck_min(keys, MAX_PANEL), head_dim);
    size_t values = ck_gemm_pack_floats(ck_min(head_dim, MAX_PANEL), keys);
    return scores > values ? scores : values;
}

/* 16 floats are one cache line: threads do not share any. */
static size_t score_floats(int64_t queries, int64_t keys) { return (size_t)ck_round_up(tile_rows(queries, keys) * keys, 16); }

/* Packs the second factors of both products, in the order of ck_pack_matrix. Behind them is room for a block of queries. */
static void pack_whole(const plan *p, ck_gemm_args *scores, ck_gemm_args *values, float *to) {
    const ck_attention_args *a = p->args;
    const float *keys = scores->b, *rows = values->b;
    int64_t depth = ck_gemm_depth(a->head_dim), padded = ck_round_up(a->keys, CK_STRIP);
    for (int64_t k = 0; k < a->head_dim; k += depth)
        p->kernels->pack_rows(CK_F32, keys + k, a->k_row, a->keys, ck_min(depth, a->head_dim - k), to + k * padded);
    scores->b = to, scores->ldb = a->keys, scores->form = CK_B_PACKED;
    to += key_floats(a->keys, a->head_dim);
    depth = ck_gemm_depth(a->keys), padded = ck_round_up(a->head_dim, CK_STRIP);
    for (int64_t k = 0; k < a->keys; k += depth)
        p->kernels->pack_cols(rows + k * a->v_row, a->v_row, a->head_dim, ck_min(depth, a->keys - k), to + k * padded);
    values->b = to, values->ldb = a->head_dim, values->form = CK_B_PACKED;
    scores->pack = to + value_floats(a->keys, a->head_dim);
}

static void part_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_attention_args *a = p->args;
    int64_t part = index % p->parts, head = index / p->parts % a->heads, batch = index / p->parts / a->heads;
    int64_t at = head * a->head_dim;
    float *buffer = (float *)a->scratch + (size_t)thread * p->scratch_floats, *pack = buffer + p->score_floats;
    ck_gemm_args scores = {
        .lda = a->q_row,
        .b = a->k + batch * a->k_batch + at,
        .ldb = a->k_row,
        .dtype = CK_F32,
        .form = CK_B_ROWS,
        .c = buffer,
        .ldc = a->keys,
        .n = a->keys,
        .k = a->head_dim,
        .panel = MAX_PANEL,
        .pack = pack,
    };
    ck_gemm_args values = {
        .a = buffer,
        .lda = a->keys,
        .b = a->v + batch * a->v_batch + at,
        .ldb = a->v_row,
        .dtype = CK_F32,
        .form = CK_B_COLS,
        .ldc = a->out_row,
        .n = a->head_dim,
        .k = a->keys,
        .panel = MAX_PANEL,
        .pack = pack,
    };
    if (p->whole) pack_whole(p, &scores, &values, pack);
    for (int64_t tile = p->tiles * part / p->parts; tile < p->tiles * (part + 1) / p->parts; tile++) {
        int64_t from = tile * p->tile, rows = ck_min(p->tile, a->queries - from);
        scores.a = a->q + batch * a->q_batch + from * a->q_row + at, scores.m = rows;
        values.c = a->out + batch * a->out_batch + from * a->out_row + at, values.m = rows;
        /* Queries are packed too where a block holds a tile of them, and registers are narrow: wide ones pass a row of keys in
         * so few tiles that it would not be repaid. Nor would it for scores, which meet head_dim columns only. */
        if (p->whole && p->kernels->gemm_columns < WIDE_COLUMNS && rows <= p->kernels->block_rows)
            ck_gemm_block(p->kernels, &scores);
        else ck_gemm(p->kernels, &scores);
        float inverse[MAX_TILE];
        for (int64_t r = 0; r < rows; r++) inverse[r] = p->kernels->softmax_weights(buffer + r * a->keys, a->keys, a->scale);
        ck_gemm(p->kernels, &values);
        for (int64_t r = 0; r < rows; r++) p->kernels->scale_row(values.c + r * a->out_row, a->head_dim, inverse[r]);
    }
}

void ck_attention(ck_pool *pool, const ck_attention_args *args) {
    if (args->queries <= 0 || args->head_dim <= 0) return;
    plan p = {.args = args, .kernels = ck_active()};
    p.tile = tile_rows(args->queries, args->keys);
    p.tiles = ck_ceil_div(args->queries, p.tile);
    p.whole = packs_whole(args->queries, args->keys, args->head_dim);
    int64_t wanted = ck_ceil_div((int64_t)ck_pool_threads(pool) * TASKS_PER_THREAD, ck_max(args->batch * args->heads, 1));
    p.parts = p.whole ? ck_min(p.tiles, wanted) : p.tiles;
    p.score_floats = score_floats(args->queries, args->keys);
    p.scratch_floats = p.score_floats + pack_floats(args->queries, args->keys, args->head_dim);
    ck_run(pool, args->batch * args->heads * p.parts, part_task, &p);
}

size_t ck_attention_scratch(int32_t threads, int64_t queries, int64_t keys, int64_t head_dim) {
    size_t each = score_floats(queries, keys) + pack_floats(queries, keys, head_dim);
    return (size_t)ck_max(threads, 1) * each * sizeof(float);
}
