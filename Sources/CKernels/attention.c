/* Attention in query tiles: the scores of a tile stay in cache between the two products. The division by the sum of a
 * row is applied to its output, which is shorter than the row. */
#include "kernels.h"

enum { SCORE_FLOATS = 64 * 1024, MIN_TILE = 48, MAX_TILE = 1008, MAX_PANEL = 192 };

typedef struct {
    const ck_attention_args *args;
    const ck_kernels *kernels;
    int64_t tile, tiles;
    size_t scratch_floats, score_floats;
} plan;

/* A multiple of 24, and so of the register tiles of 6, 8 and 12 rows, unless all queries fit. */
static int64_t tile_rows(int64_t queries, int64_t keys) {
    int64_t rows = ck_min(MAX_TILE, ck_max(MIN_TILE, SCORE_FLOATS / ck_max(keys, 1) / 24 * 24));
    if (rows >= queries) return ck_max(queries, 1);
    int64_t tiles = ck_ceil_div(queries, rows);
    return ck_min(rows, ck_round_up(ck_ceil_div(queries, tiles), 24));
}

static size_t pack_floats(int64_t keys, int64_t head_dim) {
    size_t scores = ck_gemm_pack_floats(ck_min(keys, MAX_PANEL), head_dim);
    size_t values = ck_gemm_pack_floats(ck_min(head_dim, MAX_PANEL), keys);
    return scores > values ? scores : values;
}

/* 16 floats are one cache line: threads do not share any. */
static size_t score_floats(int64_t queries, int64_t keys) { return (size_t)ck_round_up(tile_rows(queries, keys) * keys, 16); }

static void tile_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_attention_args *a = p->args;
    int64_t tile = index % p->tiles, head = index / p->tiles % a->heads, batch = index / p->tiles / a->heads;
    int64_t from = tile * p->tile, rows = ck_min(p->tile, a->queries - from), at = head * a->head_dim;
    float *scores = (float *)a->scratch + (size_t)thread * p->scratch_floats;
    float *out = a->out + batch * a->out_batch + from * a->out_row + at;
    ck_gemm_args gemm = {
        .a = a->q + batch * a->q_batch + from * a->q_row + at,
        .lda = a->q_row,
        .b = a->k + batch * a->k_batch + at,
        .ldb = a->k_row,
        .dtype = CK_F32,
        .form = CK_B_ROWS,
        .c = scores,
        .ldc = a->keys,
        .m = rows,
        .n = a->keys,
        .k = a->head_dim,
        .panel = MAX_PANEL,
        .pack = scores + p->score_floats,
    };
    ck_gemm(p->kernels, &gemm);
    float inverse[MAX_TILE];
    for (int64_t r = 0; r < rows; r++) inverse[r] = p->kernels->softmax_weights(scores + r * a->keys, a->keys, a->scale);
    gemm.a = scores, gemm.lda = a->keys;
    gemm.b = a->v + batch * a->v_batch + at, gemm.ldb = a->v_row, gemm.form = CK_B_COLS;
    gemm.c = out, gemm.ldc = a->out_row;
    gemm.n = a->head_dim, gemm.k = a->keys;
    ck_gemm(p->kernels, &gemm);
    for (int64_t r = 0; r < rows; r++) p->kernels->scale_row(out + r * a->out_row, a->head_dim, inverse[r]);
}

void ck_attention(ck_pool *pool, const ck_attention_args *args) {
    if (args->queries <= 0 || args->head_dim <= 0) return;
    plan p = {.args = args, .kernels = ck_active()};
    p.tile = tile_rows(args->queries, args->keys);
    p.tiles = ck_ceil_div(args->queries, p.tile);
    p.score_floats = score_floats(args->queries, args->keys);
    p.scratch_floats = p.score_floats + pack_floats(args->keys, args->head_dim);
    ck_run(pool, args->batch * args->heads * p.tiles, tile_task, &p);
}

size_t ck_attention_scratch(int32_t threads, int64_t queries, int64_t keys, int64_t head_dim) {
    size_t each = score_floats(queries, keys) + pack_floats(keys, head_dim);
    return (size_t)ck_max(threads, 1) * each * sizeof(float);
}
