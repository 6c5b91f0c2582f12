/* Kernels for learning: products of any orientation, backward passes, the optimiser. The contract is that of ckernels.h. */
#ifndef CKERNELS_LEARNING_H
#define CKERNELS_LEARNING_H

#include "ckernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- products of any orientation (product.c) ---- */
enum { CK_BY_ROWS = 0, CK_BY_COLUMNS = 1 };
/* c[m,n] = (accumulate ? c : 0) + a b, all f32. a is [m,k] (CK_BY_ROWS) or [k,m] (CK_BY_COLUMNS), rows lda apart; b is [n,k]
 * (CK_BY_ROWS: the form of a linear layer's weights) or [k,n] (CK_BY_COLUMNS), rows ldb apart. c must not alias a or b. */
typedef struct {
    const float *a;
    int64_t lda;
    int32_t a_form;
    const float *b;
    int64_t ldb;
    int32_t b_form;
    float *c;
    int64_t ldc;
    int64_t m, n, k;
    int32_t accumulate;
    void *scratch;
} ck_product_args;
void ck_product(ck_pool *pool, const ck_product_args *args);
size_t ck_product_scratch(int32_t threads, int64_t m, int64_t n, int64_t k);

/* ---- backward passes (backward.c, attention_backward.c) ---- */
/* out[j] = (accumulate ? out[j] : 0) + sum over rows of x[r,j] */
void ck_column_sums(ck_pool *pool, const float *x, int64_t rows, int64_t width, int64_t ldx, int32_t accumulate, float *out);
/* Backward of ck_activation: out = g * act'(x). out may be g or x. All CK_ACT_*. */
void ck_activation_backward(ck_pool *pool, int32_t act, const float *x, const float *g, float *out, int64_t n);
/* Backward of ck_gated_add (y = x + gate a): da = g * gate; dgate[s,:] = sum over the rows of sample s of g * a (rows of dgate
 * dgate_stride apart). da or dgate may be null. da may be g. */
void ck_gated_add_backward(ck_pool *pool, const float *g, const float *a, const float *gate, int64_t gate_stride, float *da,
                           float *dgate, int64_t dgate_stride, int64_t rows, int64_t width, int64_t rows_per_sample);
/* Backward of ck_layer_norm for its gradient g of the output: dx = (add ? add : 0) + the gradient of x; dshift, dscale
 * [samples] rows dmod_stride apart (written); dweight, dbias [width] (written, or added to with `accumulate`). Any of the out
 * pointers may be null; dx may be add. The statistics are computed again from x. */
typedef struct {
    ck_layer_norm_args norm; /* the forward's arguments; norm.out is not used */
    const float *g;
    const float *add;
    float *dx;
    float *dshift;
    float *dscale;
    int64_t dmod_stride;
    float *dweight;
    float *dbias;
    int32_t accumulate;
    void *scratch;
} ck_layer_norm_backward_args;
void ck_layer_norm_backward(ck_pool *pool, const ck_layer_norm_backward_args *args);
size_t ck_layer_norm_backward_scratch(int32_t threads, int64_t rows, int64_t width, int64_t rows_per_sample);
/* Backward of ck_group_norm for the gradient g of the output: args->out is the gradient of x. The statistics are computed again. It
 * must not alias x or g. */
void ck_group_norm_backward(ck_pool *pool, const ck_group_norm_args *args, const float *g);
/* out = w a + (1 - w) b over `groups` groups of n elements, one weight each; each product and the sum rounded; a weight of
 * exactly 1 copies a, of exactly 0 copies b. out may be a or b. */
void ck_mix(ck_pool *pool, const float *a, const float *b, const float *w, float *out, int64_t groups, int64_t n);
/* Backward: dw[i] = sum of g (a - b) over group i (summed in double), da = w g, db = (add ? add : 0) + (1 - w) g. dw, da, db
 * may be null. */
void ck_mix_backward(ck_pool *pool, const float *g, const float *a, const float *b, const float *w, const float *add, float *dw,
                     float *da, float *db, int64_t groups, int64_t n);
/* Backward of ck_attention: `forward` as there, without groups, shared keys and bias (out may be null: the probabilities are
 * computed again tile by tile), `g` the gradient of out, laid out as it (out_batch, out_row); dq, dk, dv are written, laid out
 * as q, k, v (so that the three parts of a fused [T,3,H,dh] gradient are filled in place). */
typedef struct {
    ck_attention_args forward;
    const float *g;
    float *dq, *dk, *dv;
    void *scratch;
} ck_attention_backward_args;
void ck_attention_backward(ck_pool *pool, const ck_attention_backward_args *args);
size_t ck_attention_backward_scratch(int32_t threads, int64_t queries, int64_t keys, int64_t head_dim);
/* table[index[i],:] += g[i,:], in the order of i; indices are in range. */
void ck_embedding_backward(const float *g, const int64_t *index, float *table, int64_t n, int64_t width);
/* Backward of ck_patchify and ck_unpatchify are each other's forward only up to the order of features; these undo exactly:
 * tokens [batch, gh*gw, channels*p*p] in order (channel, dy, dx) back to the image, and an image to tokens in order (dy, dx,
 * channel). */
void ck_patchify_backward(ck_pool *pool, const float *g, float *out, int64_t batch, int64_t channels, int64_t grid_h,
                          int64_t grid_w, int64_t p);
void ck_unpatchify_backward(ck_pool *pool, const float *g, float *out, int64_t batch, int64_t channels, int64_t grid_h,
                            int64_t grid_w, int64_t p);

/* ---- losses of tokens (token_loss.c) ---- */
/* For each row of logits [rows, width], width at least 1: entropy[r] = -sum of target ln softmax(s), the target being 1 -
 * smoothing at targets[r] (in range) plus smoothing / width everywhere; divergence[r] = T^2 KL(softmax(t / T) || softmax(s /
 * T)), 0 where there is no teacher. The gradient of divergence_weight divergence + entropy_weight entropy of each row is
 * written to `gradient`. */
typedef struct {
    const float *student;
    const float *teacher; /* or null */
    const int64_t *targets;
    int64_t rows, width;
    double temperature, smoothing, divergence_weight, entropy_weight;
    float *gradient;
    double *divergence, *entropy;
} ck_token_loss_args;
void ck_token_loss(ck_pool *pool, const ck_token_loss_args *args);

/* ---- optimisation (optimiser.c) ---- */
/* torch.optim.AdamW, one step numbered `step` (1-based): with g' = gradient_scale g: p -= lr wd p; m = b1 m + (1-b1) g'; v = b2
 * v + (1-b2) g'^2; p -= lr/(1-b1^step) m / (sqrt(v)/sqrt(1-b2^step) + eps); operation order and rounding as torch's
 * single-tensor code. */
typedef struct {
    float *p, *m, *v;
    const float *g;
    int64_t n;
    double lr, beta1, beta2, eps, weight_decay;
    int64_t step;
    float gradient_scale;
} ck_adamw_args;
void ck_adamw(ck_pool *pool, const ck_adamw_args *args);
void ck_ema(ck_pool *pool, float *average, const float *p, int64_t n,
            float decay); /* average = decay average + (1 - decay) p */
double ck_sum_squares(ck_pool *pool, const float *x, int64_t n,
                      double *partial); /* partial: ck_sum_squares_partials(n) doubles of scratch */
int64_t ck_sum_squares_partials(int64_t n);
void ck_scale(ck_pool *pool, const float *x, float factor, float *out, int64_t n);

#ifdef __cplusplus
}
#endif
#endif
