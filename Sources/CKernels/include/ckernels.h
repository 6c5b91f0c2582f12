/* CKernels: everything that Swift cannot do itself. Kernels compiled once per instruction set and chosen at run
 * time, aligned allocation that can return nothing, and a worker pool.
 *
 * Contract of every compute function: pointers are valid for the sizes described, sizes are non-negative and were
 * checked by the caller (no function here validates or traps), tensors are row-major and contiguous unless a stride
 * is given (strides count elements), outputs may alias inputs only where it is said. A null pool means: run on the
 * calling thread. Work is split so that each output element is computed by one task in an order that does not depend
 * on the number of threads. */
#ifndef CKERNELS_H
#define CKERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- allocation (alloc.c) -------------------------------------------------------------------------------------- */

enum { CK_OK = 0, CK_NO_MEMORY = 1, CK_OVER_BUDGET = 2 };

/* A byte account shared by the blocks of one session (or of the process). Thread-safe. */
typedef struct ck_budget ck_budget;
ck_budget *ck_budget_create(uint64_t limit_bytes /* 0: no limit */);
void ck_budget_destroy(ck_budget *budget); /* after its last block was freed */
void ck_budget_set_limit(ck_budget *budget, uint64_t limit_bytes);
uint64_t ck_budget_limit(const ck_budget *budget);
uint64_t ck_budget_used(const ck_budget *budget);
uint64_t ck_budget_peak(const ck_budget *budget);
void ck_budget_reset_peak(ck_budget *budget);

/* 64-byte aligned, uninitialised (or filled with the poison byte). Null on failure with *status set. `budget` may be
 * null. `bytes` 0 gives a valid one-line block. */
void *ck_alloc(ck_budget *budget, size_t bytes, int32_t *status);
void ck_free(ck_budget *budget, void *block, size_t bytes); /* the same bytes as at allocation; null is ignored */

/* Test hooks. The n-th allocation from now (1-based) fails; with `sticky` all later ones too; n <= 0 turns it off. */
void ck_fault_set(int64_t n, int32_t sticky);
uint64_t ck_alloc_count(void);              /* allocations asked for since the process started */
void ck_set_poison(int32_t byte_or_minus1); /* fill new and freed blocks; -1 turns it off (default) */

/* ---- worker pool (pool.c) -------------------------------------------------------------------------------------- */

enum { CK_MAX_THREADS = 256 };

/* A fixed set of threads, started at the first parallel call, parked when idle, 2 MiB stacks, all signals blocked but those
 * that tell of their own faults. After fork() the child rebuilds it on first use. One run at a time per pool. */
typedef struct ck_pool ck_pool;
ck_pool *ck_pool_create(int32_t threads); /* 1...CK_MAX_THREADS, the caller included; null when out of memory */
void ck_pool_destroy(ck_pool *pool);
int32_t ck_pool_threads(const ck_pool *pool); /* 1 for null */
typedef void (*ck_task)(void *context, int64_t index, int32_t thread);
void ck_pool_run(ck_pool *pool, int64_t tasks, ck_task task, void *context);
/* Test hook: a pool that claims so many threads and has none. Work is cut as for them; the caller does all tasks, and `observe` is told
 * of each run, but those inside of others, afterwards. */
typedef void (*ck_observer)(void *context, int64_t tasks, double seconds);
ck_pool *ck_pool_create_dry(int32_t threads, ck_observer observe, void *context);

/* Processors that the calling thread may use now, 1...CK_MAX_THREADS: the least of those online, its affinity and the quota of its
 * control groups (processors.c). */
int32_t ck_processors(void);
/* What the quotas of this thread's control groups amount to, the least along the path, a fraction counting as one; 0: no limit.
 * `root` is put in front of /proc and of the places of mounts; tests have trees of their own. */
int64_t ck_processor_quota(const char *root);

/* Default floating-point environment (round to nearest, exceptions masked, denormals kept) for the calling thread. */
typedef struct {
    unsigned char opaque[64];
} ck_fpenv;
void ck_fpenv_enter(ck_fpenv *saved);
void ck_fpenv_leave(const ck_fpenv *saved);

/* ---- instruction sets (dispatch.c) ----------------------------------------------------------------------------- */

enum { CK_ISA_BASE = 0, CK_ISA_AVX2 = 1, CK_ISA_AVX512 = 2, CK_ISA_NEON = 3, CK_ISA_COUNT = 4 };
int32_t ck_isa_supported(int32_t isa); /* 1 when compiled in and this CPU has it */
int32_t ck_isa_current(void);          /* best supported, unless DIFFACCEL_ISA=base|avx2|avx512|neon said otherwise */
int32_t ck_isa_select(int32_t isa);    /* for tests: 1 when done, 0 when unsupported; not while kernels run */
const char *ck_isa_name(int32_t isa);
/* 1 when the current instruction set multiplies pairs of bf16 itself (x86-64: AVX512_BF16 beside AVX-512). Without it CK_PAIRS have the same
 * bits by way of f32, in several times the time of f32: the definition, for tests. */
int32_t ck_pairs_supported(void);

/* Who multiplies matrices: our packed kernels, or OpenBLAS, which is loaded for it (DIFFACCEL_GEMM=openblas, or select). */
enum { CK_GEMM_OWN = 0, CK_GEMM_OPENBLAS = 1 };
int32_t ck_gemm_current(void);
int32_t ck_gemm_select(int32_t backend); /* 1 when done, 0 when unavailable; not while kernels run */

/* ---- element types --------------------------------------------------------------------------------------------- */

/* CK_I8 is for packed weights only: whole numbers, each standing for itself times the scale of its column. So is CK_PAIRS: two inputs side
 * by side as bf16, with which activations are rounded to bf16 too (ck_pack_pairs). */
enum { CK_F32 = 0, CK_F16 = 1, CK_BF16 = 2, CK_I8 = 3, CK_PAIRS = 4 };
void ck_to_f32(ck_pool *pool, int32_t dtype, const void *src, float *dst, int64_t n);
void ck_from_f32(ck_pool *pool, int32_t dtype, const float *src, void *dst, int64_t n); /* rounds to nearest even */

/* ---- linear algebra (linear.c, gemm.c) -------------------------------------------------------------------------- */

enum {
    CK_ACT_NONE = 0,
    CK_ACT_GELU_TANH = 1,
    CK_ACT_GELU_ERF = 2,
    CK_ACT_SILU = 3,
    CK_ACT_GELU_QUICK = 4, /* x/(1 + exp(-1.702 x)) */
    CK_ACT_RELU = 5
};

/* What the rows of x are. The two kernels add in different orders, so whoever wants a row to have the same bits in any
 * batch says which one it is: rows of one sample's matrix, or one vector per sample. */
enum { CK_ROWS_OF_MATRIX = 0, CK_ROWS_ARE_VECTORS = 1 };

/* Weights of matrices can be packed once into the order in which the product reads them: [n,k] in `dtype` into
 * ck_packed_count(n, k) elements of the same type, the same for every instruction set. `packed` must not alias w. */
enum { CK_ROW_MAJOR = 0, CK_PACKED = 1 };
int64_t ck_packed_count(int64_t n, int64_t k);
void ck_pack_matrix(ck_pool *pool, int32_t dtype, const void *w, int64_t n, int64_t k, void *packed);

/* The same as CK_I8: ck_packed_count(n, k) bytes and scales [n]. scales[j] is the largest magnitude of row j over 127, at least
 * the smallest normal number, 0 for a row of zeros; elements are w/scale rounded to nearest, ties to even, so that |w -
 * element*scale| is at most half a scale (and the rounding of the division). A row with NaN or infinity has zeros and a scale
 * of NaN. */
void ck_quantise_matrix(ck_pool *pool, int32_t dtype, const void *w, int64_t n, int64_t k, int8_t *packed, float *scales);

/* The same as CK_PAIRS: ck_packed_count(n, (k + 1)/2) pairs of 4 bytes. Elements are rounded to nearest, ties to even; subnormal ones are
 * zeros. */
void ck_pack_pairs(ck_pool *pool, int32_t dtype, const void *w, int64_t n, int64_t k, void *packed);

/* y[m,n] = act(x[m,k] w[n,k]^T + bias[n]), with w in `dtype` and bias f32 or null; with CK_I8 act(scales[n] x w^T + bias).
 * Vectors stream the weights once and take them row-major; for matrices, weights that are not packed f32 are packed or widened
 * panel by panel into `scratch` (ck_linear_scratch bytes; may be null when that is 0). Packing changes no bits. With CK_PAIRS x is rounded
 * to bf16 on its way, products are exact and sums are in f32. Within each of
 * the two ways a row's bits depend on neither the other rows nor the number of threads. y must not alias x. */
typedef struct {
    const float *x;
    int64_t ldx;
    const void *w;
    int32_t dtype;
    const float *bias;
    float *y;
    int64_t ldy;
    int64_t m, n, k;
    int32_t act;
    void *scratch;
    int32_t rows;        /* CK_ROWS_* */
    int32_t layout;      /* CK_ROW_MAJOR, or CK_PACKED with CK_ROWS_OF_MATRIX */
    const float *scales; /* CK_I8: [n]; else null */
} ck_linear_args;
void ck_linear(ck_pool *pool, const ck_linear_args *args);
size_t ck_linear_scratch(int32_t threads, int64_t k, int32_t dtype, int32_t rows, int32_t layout);

/* softmax(scale q k^T + bias) v for each batch and head, queries in tiles so that scores stay in cache. Element (b,t,h,d) of
 * q is q[b*q_batch + t*q_row + h*head_dim + d]; k, v, out likewise, so a fused [T,3,H,dh] tensor needs no copy.
 * key count may differ from query count. `scratch`: ck_attention_scratch bytes.
 *
 * With groups above 1 there are so many attentions of `queries` to `keys` in a batch and head: group g begins g*q_group
 * elements further on, and k, v, out likewise. `shared` keys and values, [batch, shared, heads*head_dim] without groups, stand
 * behind a group's own ones in its softmax. bias, [batch, keys] or null, is added to the scaled products with a group's own
 * keys, and so is, before it, table[h*table_head + t*table_row + j] for query t and key j of head h, or null; each row keeps
 * one that is not minus infinity. Strides may be 0 (the same for all) or negative, so that a table of distances j-t needs no
 * copy for each query. shared_bias[g*shared_bias_group + j], or null, is added to those of group g with shared key j. Without
 * shared keys a group has the bits of a call of its own.
 *
 * With `window` above 0 rows are the tokens of a grid, time by time, neighbours k_group and v_group elements apart, and query t sees
 * besides those of times t-window ... t+window in all groups; not those of its own group, when `keys` is not 0. window_bias, [tokens]
 * of 0 and minus infinity or null, is added to the products with them. Not with bias or table. */
typedef struct {
    const float *q, *k, *v;
    float *out;
    int64_t q_batch, q_row, k_batch, k_row, v_batch, v_row, out_batch, out_row;
    int64_t batch, heads, queries, keys, head_dim;
    float scale;
    void *scratch;
    int64_t groups; /* 0 is 1 */
    int64_t q_group, k_group, v_group, out_group;
    const float *shared_k, *shared_v; /* not read when `shared` is 0 */
    int64_t shared_k_batch, shared_k_row, shared_v_batch, shared_v_row;
    int64_t shared;
    const float *bias;
    int64_t bias_batch;
    const float *table;
    int64_t table_head, table_row;
    const float *shared_bias;
    int64_t shared_bias_group;
    int64_t window;
    const float *window_bias;
    int32_t precision; /* CK_F32, or CK_PAIRS: both factors of both products as bf16, where keys and values fit a cache or go in blocks */
} ck_attention_args;
void ck_attention(ck_pool *pool, const ck_attention_args *args);
size_t ck_attention_scratch(int32_t threads, const ck_attention_args *args); /* reads the sizes alone */

/* ---- normalisation (norm.c) ------------------------------------------------------------------------------------- */

/* Per row: h = (x - mean)/sqrt(var + eps) (biased variance, two passes); h = h*weight + bias when given;
 * out = h*(1 + scale[s]) + shift[s] when given, s = row / rows_per_sample, at shift + s*mod_stride. out may be x. */
typedef struct {
    const float *x;
    float *out;
    const float *weight, *bias; /* [width] or null */
    const float *shift, *scale; /* [samples] rows of mod_stride, or null */
    int64_t mod_stride, rows_per_sample;
    int64_t rows, width;
    float eps;
} ck_layer_norm_args;
void ck_layer_norm(ck_pool *pool, const ck_layer_norm_args *args);

/* x, out: [batch, channels, area]; statistics per batch and group (double accumulation); then weight, bias
 * [channels], then `act`. channels is a multiple of groups. out may be x. */
typedef struct {
    const float *x;
    float *out;
    const float *weight, *bias;
    int64_t batch, channels, area, groups;
    float eps;
    int32_t act;
} ck_group_norm_args;
void ck_group_norm(ck_pool *pool, const ck_group_norm_args *args);
/* What is left to do to each channel, (x - center) * factor + offset: factors [batch, channels, 3] in this order. `out` and `act` are
 * not used. */
void ck_group_norm_factors(ck_pool *pool, const ck_group_norm_args *args, float *factors);
/* The same for an x that comes in pieces: each adds its sum and sum of squares to those of the groups, sums [batch, groups, 2]; then
 * `count` elements of each group are behind them. Finally what the factors say is done to a piece, and `act`. */
void ck_group_norm_sums(ck_pool *pool, const ck_group_norm_args *args, double *sums);
void ck_group_norm_sum_factors(const ck_group_norm_args *args, const double *sums, int64_t count, float *factors);
void ck_group_norm_apply(ck_pool *pool, const ck_group_norm_args *args, const float *factors);

/* ---- element-wise (elementwise.c) --------------------------------------------------------------------------------- */

void ck_activation(ck_pool *pool, int32_t act, const float *x, float *out, int64_t n);        /* out may be x */
void ck_softmax_rows(ck_pool *pool, const float *x, float *out, int64_t rows, int64_t width); /* out may be x */
void ck_add(ck_pool *pool, const float *a, const float *b, float *out, int64_t n);            /* out may be a or b */
/* out = alpha*x + beta*y, rounded after each product and the sum (no fused multiply-add). out may be x or y. */
void ck_axpby(ck_pool *pool, float alpha, const float *x, float beta, const float *y, float *out, int64_t n);
/* out[r,:] = x[r,:] + gate[s,:]*a[r,:], s = r / rows_per_sample, gate rows gate_stride apart. out may be x. */
void ck_gated_add(ck_pool *pool, const float *x, const float *a, const float *gate, int64_t gate_stride, float *out,
                  int64_t rows, int64_t width, int64_t rows_per_sample);
/* out[b,i] = x[b,i] + table[i] for `batch` rows of n. out may be x. */
void ck_add_rows(ck_pool *pool, const float *x, const float *table, float *out, int64_t batch, int64_t n);
/* 1 when every element is finite. */
int32_t ck_all_finite(ck_pool *pool, const float *x, int64_t n);

/* ---- layout (layout.c) --------------------------------------------------------------------------------------------- */

/* out[i,:] = table[index[i],:] as f32. Indices are in range. */
void ck_embedding(const void *table, int32_t dtype, const int64_t *index, float *out, int64_t n, int64_t width);
/* [batch, channels, grid_h*p, grid_w*p] -> [batch, grid_h*grid_w, channels*p*p], features in order (channel, dy, dx). */
void ck_patchify(ck_pool *pool, const float *x, float *out, int64_t batch, int64_t channels, int64_t grid_h, int64_t grid_w,
                 int64_t p);
/* [batch, grid_h*grid_w, p*p*channels] -> [batch, channels, grid_h*p, grid_w*p], features (dy, dx, channel). */
void ck_unpatchify(ck_pool *pool, const float *x, float *out, int64_t batch, int64_t channels, int64_t grid_h, int64_t grid_w,
                   int64_t p);
/* [batch, rows, cols] -> [batch, cols, rows]. */
void ck_transpose(ck_pool *pool, const float *x, float *out, int64_t batch, int64_t rows, int64_t cols);
/* Nearest-neighbour enlargement by an integer factor of `planes` images [h,w]. */
void ck_upsample_nearest(ck_pool *pool, const float *x, float *out, int64_t planes, int64_t h, int64_t w, int64_t factor);
/* u8[b,h,w,c] = round_half_even(clamp((x[b,c,h,w]*mul + add), 0, 255)) from f32 [batch, channels, h, w]. NaN gives 0. */
void ck_to_u8_nhwc(ck_pool *pool, const float *x, uint8_t *out, int64_t batch, int64_t channels, int64_t h, int64_t w,
                   float mul, float add);

/* ---- convolution (conv.c, winograd.c) ------------------------------------------------------------------------------- */

/* How a convolution is computed: as a product over gathered columns, or, 3 x 3 of stride 1 only, by Winograd's transforms F(2x2, 3x3)
 * with 16 of 36 multiplications and F(4x4, 3x3) with 36 of 144. Rounding errors are those of the direct form and twice those. */
enum { CK_CONV_DIRECT = 0, CK_CONV_F2 = 4, CK_CONV_F4 = 6 };

/* NCHW, weight [out_channels, in_channels, kh, kw] in `dtype`. The input is read as if enlarged by nearest neighbours `upsample` (1 or
 * 2) times first. Zero padding per side. When `add` is not null it is added to the result (same shape as out; may be out itself). out
 * must not alias x. `scratch`: ck_conv2d_scratch bytes. out_h = (h*upsample + pad_top + pad_bottom - kh)/stride + 1, out_w likewise.
 * A sample's bits depend neither on the batch nor on the number of threads. */
typedef struct {
    const float *x;
    const void *w;
    int32_t dtype;
    const float *bias;
    const float *add;
    float *out;
    int64_t batch, in_channels, h, width, out_channels, out_h, out_w;
    int64_t kh, kw, stride, pad_top, pad_left, upsample;
    void *scratch;
    int32_t form;         /* CK_CONV_* */
    int32_t act;          /* with `norm`: CK_ACT_NONE or CK_ACT_SILU */
    const float *norm;    /* by ck_group_norm_factors for x, or null: what is convolved is the norm of x, then act. Not direct. */
    const float *vectors; /* [batch] rows of out_channels, vector_stride apart, that are added to each pixel; or null */
    int64_t vector_stride;
    int32_t precision; /* CK_F32, or CK_PAIRS: the factors of the direct form's products as bf16; transforms stay f32 */
} ck_conv2d_args;
void ck_conv2d(ck_pool *pool, const ck_conv2d_args *args);
size_t ck_conv2d_scratch(int32_t threads, const ck_conv2d_args *args);
/* Which form takes the least time for one sample of these sizes, in either precision, by a model of costs; with transforms_only the direct one is for
 * windows alone that have no other. */
int32_t ck_conv2d_form(const ck_conv2d_args *args, int32_t transforms_only);

#ifdef __cplusplus
}
#endif
#endif
