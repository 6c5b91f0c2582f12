/* Backward of attention: one task for each sample and head, tile by tile of queries. The probabilities are computed
 * again, so that the forward pass keeps nothing but its inputs. Gradients of keys and values are summed transposed,
 * [head_dim, keys]: so every product has its second factor in an order that packs without strides. */
#include "kernels.h"

enum { SCORE_FLOATS = 24 * 1024, MIN_TILE = 24, MAX_TILE = 504, MAX_PANEL = 192 };

typedef struct {
    const ck_attention_backward_args *args;
    const ck_kernels *kernels;
    int64_t tile;
    size_t scratch_floats, score_floats, key_floats, row_floats;
} plan;

static int64_t tile_rows(int64_t queries, int64_t keys) {
    int64_t rows = ck_min(MAX_TILE, ck_max(MIN_TILE, SCORE_FLOATS / ck_max(keys, 1) / 24 * 24));
    return ck_max(1, ck_min(rows, queries));
}

static size_t line(int64_t floats) { return (size_t)ck_round_up(floats, 16); }

static size_t pack_floats(int64_t keys, int64_t head_dim, int64_t tile) {
    size_t scores = ck_gemm_pack_floats(ck_min(ck_round_up(keys, CK_STRIP), MAX_PANEL), ck_max(head_dim, tile));
    size_t values = ck_gemm_pack_floats(ck_min(ck_round_up(head_dim, CK_STRIP), MAX_PANEL), keys);
    return line((int64_t)(scores > values ? scores : values));
}

static plan make_plan(int64_t queries, int64_t keys, int64_t head_dim) {
    plan p = {.tile = tile_rows(queries, keys)};
    p.score_floats = line(p.tile * keys);
    p.key_floats = line(head_dim * keys);
    p.row_floats = line(head_dim * p.tile);
    p.scratch_floats = 2 * p.score_floats + 2 * p.key_floats + p.row_floats + pack_floats(keys, head_dim, p.tile);
    return p;
}

/* to[c, r] = from[r, c] */
static void transpose(const float *from, int64_t ld, int64_t rows, int64_t columns, float *to) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) to[c * rows + r] = from[r * ld + c];
}

static void head_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_attention_args *a = &p->args->forward;
    int64_t head = index % a->heads, batch = index / a->heads, d = a->head_dim, at = head * d, keys = a->keys;
    const float *q = a->q + batch * a->q_batch + at, *k = a->k + batch * a->k_batch + at, *v = a->v + batch * a->v_batch + at;
    const float *g = p->args->g + batch * a->out_batch + at;
    float *scores = (float *)p->args->scratch + (size_t)thread * p->scratch_floats;
    float *slopes = scores + p->score_floats, *dk = slopes + p->score_floats, *dv = dk + p->key_floats;
    float *turned = dv + p->key_floats, *pack = turned + p->row_floats;
    memset(dk, 0, 2 * p->key_floats * sizeof(float));
    for (int64_t from = 0; from < a->queries; from += p->tile) {
        int64_t rows = ck_min(p->tile, a->queries - from);
        const float *tile_q = q + from * a->q_row, *tile_g = g + from * a->out_row;
        ck_gemm_args gemm = {.dtype = CK_F32, .panel = MAX_PANEL, .pack = pack, .m = rows, .n = keys, .k = d, .ldc = keys};
        gemm.form = CK_B_ROWS;
        gemm.a = tile_q, gemm.lda = a->q_row, gemm.b = k, gemm.ldb = a->k_row, gemm.c = scores;
        ck_gemm(p->kernels, &gemm);
        gemm.a = tile_g, gemm.lda = a->out_row, gemm.b = v, gemm.ldb = a->v_row, gemm.c = slopes;
        ck_gemm(p->kernels, &gemm);
        for (int64_t r = 0; r < rows; r++) {
            float inverse = p->kernels->softmax_weights(scores + r * keys, keys, a->scale);
            p->kernels->softmax_backward(scores + r * keys, slopes + r * keys, keys, inverse, a->scale);
            p->kernels->scale_row(scores + r * keys, keys, inverse);
        }
        /* dQ = dS K */
        gemm.form = CK_B_COLS;
        gemm.a = slopes, gemm.lda = keys, gemm.b = k, gemm.ldb = a->k_row, gemm.n = d, gemm.k = keys;
        gemm.c = p->args->dq + batch * a->q_batch + from * a->q_row + at, gemm.ldc = a->q_row;
        ck_gemm(p->kernels, &gemm);
        /* dK^T += Q^T dS, dV^T += dO^T P */
        gemm.a = turned, gemm.lda = rows, gemm.m = d, gemm.n = keys, gemm.k = rows, gemm.ldb = keys, gemm.ldc = keys;
        gemm.accumulate = 1;
        transpose(tile_q, a->q_row, rows, d, turned);
        gemm.b = slopes, gemm.c = dk;
        ck_gemm(p->kernels, &gemm);
        transpose(tile_g, a->out_row, rows, d, turned);
        gemm.b = scores, gemm.c = dv;
        ck_gemm(p->kernels, &gemm);
    }
    float *out_k = p->args->dk + batch * a->k_batch + at, *out_v = p->args->dv + batch * a->v_batch + at;
    for (int64_t t = 0; t < keys; t++)
        for (int64_t c = 0; c < d; c++) {
            out_k[t * a->k_row + c] = dk[c * keys + t];
            out_v[t * a->v_row + c] = dv[c * keys + t];
        }
}

void ck_attention_backward(ck_pool *pool, const ck_attention_backward_args *args) {
    const ck_attention_args *a = &args->forward;
    if (a->queries <= 0 || a->keys <= 0 || a->head_dim <= 0) return;
    plan p = make_plan(a->queries, a->keys, a->head_dim);
    p.args = args;
    p.kernels = ck_active();
    ck_run(pool, a->batch * a->heads, head_task, &p);
}

size_t ck_attention_backward_scratch(int32_t threads, int64_t queries, int64_t keys, int64_t head_dim) {
    return (size_t)ck_max(threads, 1) * make_plan(queries, keys, head_dim).scratch_floats * sizeof(float);
}
