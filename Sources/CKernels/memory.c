/* The memory of keys and values, and attention over it. Both lie as ck_pack_matrix would write them, keys as columns of the
 * first product and values as columns of the second, so a stored row costs a scattered write and a query no packing at all. */
#include "kernels.h"

enum { SCORE_FLOATS = 64 * 1024, MIN_TILE = 24, MAX_TILE = 96 };

int64_t ck_memory_keys_count(int64_t length, int64_t head_dim, int64_t kv_heads) {
    return kv_heads * ck_round_up(ck_packed_count(length, head_dim), 16);
}
int64_t ck_memory_values_count(int64_t length, int64_t head_dim, int64_t kv_heads) {
    return kv_heads * ck_round_up(ck_packed_count(head_dim, length), 16);
}

typedef struct {
    const ck_memory_store_args *args;
    const ck_kernels *kernels;
} store_plan;

/* Element (row, k) of a matrix [n, depths] as packed: the first of `deep` lines that lie CK_STRIP apart. */
static int64_t packed_at(int64_t n, int64_t k, int64_t depth, int64_t row, int64_t column, int64_t *lines) {
    int64_t block = column / depth * depth, deep = ck_min(depth, k - block);
    *lines = deep - (column - block);
    return block * ck_round_up(n, CK_STRIP) + row / CK_STRIP * CK_STRIP * deep + (column - block) * CK_STRIP + row % CK_STRIP;
}

static void store_key(const ck_memory_rows *s, float *keys, int64_t position, const float *key, int64_t head_dim) {
    int64_t depth = ck_gemm_depth(head_dim), lines;
    for (int64_t d = 0; d < head_dim; d += lines) {
        float *to = keys + packed_at(s->length, head_dim, depth, position, d, &lines);
        for (int64_t i = 0; i < lines; i++) to[i * CK_STRIP] = key[d + i];
    }
}

static void store_value(const ck_memory_rows *s, float *values, int64_t position, const float *value, int64_t head_dim) {
    int64_t depth = ck_gemm_depth(s->length), block = position / depth * depth, deep = ck_min(depth, s->length - block);
    float *to = values + block * ck_round_up(head_dim, CK_STRIP) + (position - block) * CK_STRIP;
    for (int64_t d = 0; d < head_dim; d += CK_STRIP, to += CK_STRIP * deep)
        memcpy(to, value + d, (size_t)ck_min(CK_STRIP, head_dim - d) * sizeof *to);
}

/* One task: one head of queries, or one of keys and values, of all rows. */
static void store_task(void *context, int64_t index, int32_t thread) {
    const store_plan *p = context;
    const ck_memory_store_args *a = p->args;
    (void)thread;
    int64_t half = a->head_dim / 2, query_heads = a->q ? a->heads : 0, width = a->kv_heads * a->head_dim;
    for (int64_t n = 0; n < a->sample_count; n++) {
        const ck_memory_rows *s = a->samples + n;
        int64_t head = index - query_heads;
        for (int64_t i = 0; i < s->count; i++) {
            int64_t angle = ck_max(0, s->positions[i] - s->rotation);
            const float *cosines = a->cosines + angle * half, *sines = a->sines + angle * half;
            if (head < 0) {
                float *q = a->q + (s->first + i) * a->heads * a->head_dim + index * a->head_dim;
                p->kernels->rotate(q, cosines, sines, q, half);
                continue;
            }
            const float *kv = a->kv + (s->first + i) * 2 * width + head * a->head_dim;
            float *keys = s->keys + head * (ck_memory_keys_count(s->length, a->head_dim, 1));
            float *values = s->values + head * (ck_memory_values_count(s->length, a->head_dim, 1));
            float key[1024];
            if (a->head_dim <= 1024) {
                p->kernels->rotate(kv, cosines, sines, key, half);
                store_key(s, keys, s->positions[i], key, a->head_dim);
            }
            store_value(s, values, s->positions[i], kv + width, a->head_dim);
        }
    }
}

void ck_memory_store(ck_pool *pool, const ck_memory_store_args *args) {
    if (args->head_dim <= 0) return;
    store_plan p = {.args = args, .kernels = ck_active()};
    ck_run(pool, (args->q ? args->heads : 0) + (args->kv ? args->kv_heads : 0), store_task, &p);
}

typedef struct {
    const ck_memory_attention_args *args;
    const ck_kernels *kernels;
    int64_t tile, tiles;
    size_t score_floats;
} attention_plan;

static int64_t tile_rows(int64_t rows, int64_t keys) {
    int64_t most = ck_min(MAX_TILE, ck_max(MIN_TILE, SCORE_FLOATS / ck_max(keys, 1) / 24 * 24));
    return ck_max(1, ck_min(rows, most));
}

static void attention_task(void *context, int64_t index, int32_t thread) {
    const attention_plan *p = context;
    const ck_memory_attention_args *a = p->args;
    int64_t tile = index % p->tiles, head = index / p->tiles % a->heads;
    const ck_memory_rows *s = a->samples + index / p->tiles / a->heads;
    int64_t from = tile * p->tile, rows = ck_min(p->tile, s->count - from);
    if (rows <= 0) return;
    int64_t width = a->heads * a->head_dim, at = (s->first + from) * width + head * a->head_dim;
    int64_t kv_head = head / (a->heads / a->kv_heads);
    float *scores = (float *)a->scratch + (size_t)thread * p->score_floats;
    ck_gemm_args gemm = {
        .a = a->q + at,
        .lda = width,
        .b = s->keys + kv_head * ck_memory_keys_count(s->length, a->head_dim, 1),
        .ldb = s->length,
        .dtype = CK_F32,
        .form = CK_B_PACKED,
        .c = scores,
        .ldc = s->length,
        .m = rows,
        .n = s->length,
        .k = a->head_dim,
        .panel = ck_round_up(s->length, CK_STRIP),
    };
    ck_gemm(p->kernels, &gemm);
    float inverse[MAX_TILE];
    for (int64_t r = 0; r < rows; r++) {
        float *row = scores + r * s->length;
        memset(row, 0, (size_t)s->first_key * sizeof *row);
        inverse[r] = p->kernels->softmax_weights(row + s->first_key, s->length - s->first_key, a->scale);
    }
    float *out = a->out + at;
    gemm.a = scores, gemm.lda = s->length;
    gemm.b = s->values + kv_head * ck_memory_values_count(s->length, a->head_dim, 1), gemm.ldb = a->head_dim;
    gemm.c = out, gemm.ldc = width;
    gemm.n = a->head_dim, gemm.k = s->length, gemm.panel = ck_round_up(a->head_dim, CK_STRIP);
    ck_gemm(p->kernels, &gemm);
    for (int64_t r = 0; r < rows; r++) p->kernels->scale_row(out + r * width, a->head_dim, inverse[r]);
}

static size_t score_floats(int64_t rows, int64_t keys) { return (size_t)ck_round_up(tile_rows(rows, keys) * keys, 16); }

void ck_memory_attention(ck_pool *pool, const ck_memory_attention_args *args) {
    if (args->sample_count <= 0 || args->head_dim <= 0 || args->most_rows <= 0) return;
    attention_plan p = {.args = args, .kernels = ck_active()};
    p.tile = tile_rows(args->most_rows, args->longest);
    p.tiles = ck_ceil_div(args->most_rows, p.tile);
    p.score_floats = score_floats(args->most_rows, args->longest);
    ck_run(pool, args->sample_count * args->heads * p.tiles, attention_task, &p);
}

size_t ck_memory_attention_scratch(int32_t threads, int64_t most_rows, int64_t longest) {
    return (size_t)ck_max(threads, 1) * score_floats(most_rows, longest) * sizeof(float);
}
