/* Kernels for language models: norms without a mean, rotary positions, attention over a full-length memory of keys and values,
 * and the choice of tokens from rows of logits. The contract is that of ckernels.h. */
#ifndef CKERNELS_LANGUAGE_H
#define CKERNELS_LANGUAGE_H

#include "ckernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- rows (language.c) ------------------------------------------------------------------------------------------ */

/* out = weight * (x / sqrt(mean(x^2) + eps)) per row of `width`. out may be x. */
void ck_rms_norm(ck_pool *pool, const float *x, const float *weight, float *out, int64_t rows, int64_t width, float eps);
/* The same in place for each of `heads` heads of `width` elements in a row, all with one weight; rows begin `stride` elements apart. */
void ck_rms_norm_heads(ck_pool *pool, float *x, int64_t stride, const float *weight, int64_t rows, int64_t heads, int64_t width,
                       float eps);
/* out[r,j] = act(x[r,j]) * x[r,width+j] for rows of 2*width. out must not alias x. */
void ck_gated(ck_pool *pool, int32_t act, const float *x, float *out, int64_t rows, int64_t width);
/* Row `index[i]` of x to row i of out. */
void ck_gather_rows(const float *x, const int64_t *index, float *out, int64_t n, int64_t width);
/* The same from a matrix [n,k] packed by ck_pack_matrix in `dtype`, or by ck_pack_pairs, as f32: embeddings that are also a head. */
void ck_packed_rows(int32_t dtype, const void *packed, const float *scales, int64_t n, int64_t k, const int64_t *index, float *out,
                    int64_t count);

/* ---- rotary positions and the memory of keys and values (memory.c) ----------------------------------------------- */

/* A stretch of rows that belong to one sequence: rows [first, first + count) of the projections, the position of each of them in
 * the sequence, and its memory. `keys` and `values` hold, for each key-value head, one matrix as ck_pack_matrix
 * writes it in f32: keys [length, head_dim], values [head_dim, length]. So no product has to pack anything. */
typedef struct {
    int64_t first, count;
    const int64_t *positions;
    int64_t length;     /* positions of the sequence */
    int64_t first_key;  /* no position attends to those before this one */
    int64_t rotation;   /* rotary position of a position: position - rotation */
    float *keys, *values;
} ck_memory_rows;

/* Elements of the keys, and of the values, of one sample. */
int64_t ck_memory_keys_count(int64_t length, int64_t head_dim, int64_t kv_heads);
int64_t ck_memory_values_count(int64_t length, int64_t head_dim, int64_t kv_heads);

typedef struct {
    const ck_memory_rows *samples;
    int64_t sample_count;
    int64_t heads, kv_heads, head_dim; /* heads is a multiple of kv_heads; head_dim is even */
    const float *cosines, *sines;      /* [positions, head_dim / 2]; every rotary position is inside */
    float *q;                          /* [rows, heads * head_dim], turned in place; or null */
    const float *kv;                   /* [rows, 2 * kv_heads * head_dim]: keys, then values; or null */
} ck_memory_store_args;
/* x1, x2 -> x1 cos - x2 sin, x2 cos + x1 sin over the halves of each head, for queries and keys; then keys and values to
 * their positions in the memory. */
void ck_memory_store(ck_pool *pool, const ck_memory_store_args *args);

typedef struct {
    const ck_memory_rows *samples;
    int64_t sample_count;
    int64_t heads, kv_heads, head_dim;
    const float *q; /* [rows, heads * head_dim] */
    float *out;     /* likewise; must not alias q */
    float scale;
    int64_t longest;     /* at least the length of every sample */
    int64_t most_rows;   /* at least the count of every sample */
    void *scratch;       /* ck_memory_attention_scratch bytes */
} ck_memory_attention_args;
/* softmax(scale q k^T) v of each row over all positions of its sequence's memory from first_key on. A row's bits depend on
 * neither the other rows nor the number of threads. */
void ck_memory_attention(ck_pool *pool, const ck_memory_attention_args *args);
size_t ck_memory_attention_scratch(int32_t threads, int64_t most_rows, int64_t longest);

/* ---- tokens from logits (tokens.c) -------------------------------------------------------------------------------- */

/* LLaDA. Per row of n logits: the token is the argmax of logit - temperature*ln(-ln u) in double precision (of the logit when
 * `u` is null), the lowest of equals; the confidence its probability under the softmax of the logits alone. Returns 0 when
 * a row holds NaN or plus infinity, or no finite logit. */
typedef struct {
    const float *logits;
    const double *u; /* [rows, n] in [0, 1), or null */
    int64_t rows, n;
    double temperature;
    int64_t *tokens;
    double *confidences;
} ck_gumbel_rows_args;
int32_t ck_gumbel_rows(ck_pool *pool, const ck_gumbel_rows_args *args);

/* Dream. Per row: logits / temperature (when positive); cut to the fewest largest whose probabilities pass top_p (the one that
 * passes included) when top_p < 1, then to the top_k largest when top_k > 0; p = softmax. The token is the argmax of p, or of
 * p/e when `e` is given; the confidence p of it, or the difference of the two largest p, or the sum of p ln(p + 1e-10). */
enum { CK_CONFIDENCE_PROBABILITY = 0, CK_CONFIDENCE_MARGIN = 1, CK_CONFIDENCE_ENTROPY = 2 };
typedef struct {
    const float *logits;
    const float *e; /* [rows, n], or null */
    int64_t rows, n;
    float temperature, top_p;
    int64_t top_k;
    int32_t confidence;
    int64_t *tokens;
    float *confidences;
    void *scratch; /* ck_race_rows_scratch bytes */
} ck_race_rows_args;
int32_t ck_race_rows(ck_pool *pool, const ck_race_rows_args *args);
size_t ck_race_rows_scratch(int32_t threads, int64_t n);

#ifdef __cplusplus
}
#endif
#endif
