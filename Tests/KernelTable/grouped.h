/* Attention in groups that take turns, over random tensors. */
#ifndef GROUPED_H
#define GROUPED_H

#include "table.h"

typedef struct {
    int64_t batch, heads, queries, keys, width;
    int64_t groups; /* 0: none, which lies in memory like one */
    int64_t shared;
} grouped_sizes;

/* Row t of group g of sample b is row t*groups + g of the sample, of queries, keys, values and results; all groups share the
 * rows that `shared` counts. The scratch is not there yet. */
static inline ck_attention_args random_groups(const grouped_sizes *x) {
    int64_t turns = x->groups ? x->groups : 1, row = x->heads * x->width, step = turns * row;
    int64_t queries = x->queries * step, keys = x->keys * step, shared = x->shared * row;
    return (ck_attention_args){
        .q = random_floats(x->batch * queries, 1, 2),
        .k = random_floats(x->batch * keys, 2, 2),
        .v = random_floats(x->batch * keys, 3, 2),
        .out = floats(x->batch * queries, 1),
        .q_batch = queries,
        .q_row = step,
        .k_batch = keys,
        .k_row = step,
        .v_batch = keys,
        .v_row = step,
        .out_batch = queries,
        .out_row = step,
        .batch = x->batch,
        .heads = x->heads,
        .queries = x->queries,
        .keys = x->keys,
        .head_dim = x->width,
        .scale = 1 / sqrtf((float)x->width),
        .groups = x->groups,
        .q_group = row,
        .k_group = row,
        .v_group = row,
        .out_group = row,
        .shared_k = random_floats(x->batch * shared, 1, 2),
        .shared_v = random_floats(x->batch * shared, 0, 2),
        .shared_k_batch = shared,
        .shared_k_row = row,
        .shared_v_batch = shared,
        .shared_v_row = row,
        .shared = x->shared,
    };
}

#endif
