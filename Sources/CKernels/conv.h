/* Internal: what the forms of a convolution have in common (conv.c) and where they differ. Each makes of its input, for each of its
 * points, a matrix [depth, columns] that is packed as the second factor of a product; of its weights, block by block of output channels,
 * the first factors; and of the products the pixels of the output. The direct form has one point, a row for each tap of each channel, and
 * a column for each pixel of the output; Winograd's have a point for each pixel of a tile's input, a row for each channel, and a column
 * for each tile. */
#ifndef CK_CONV_INTERNAL_H
#define CK_CONV_INTERNAL_H

#include "kernels.h"

enum {
    CK_TAPS = 9,           /* of a 3 x 3 kernel */
    CK_MAX_POINTS = 36,
    CK_TAKEN_ROWS = 144,   /* of the matrices, that a task takes from the input; a multiple of CK_TAPS and 16 */
    CK_TAKEN_COLUMNS = 128 /* likewise: a stretch of each line of pixels */
};

typedef struct {
    ck_conv2d_args a;
    const ck_kernels *kernels, *products; /* of which table the products are */
    int64_t side, step, points;         /* pixels of a tile's input and output along a side, 1 when direct; its points */
    int64_t across, area, columns;      /* columns of a line of tiles, of an image, of all images */
    int64_t k, depth, blocks;           /* rows of the matrices; those of a block of them, as products have them; such blocks */
    int64_t unit;                       /* rows that stand side by side in the panels */
    int64_t group;                      /* columns at once */
    int64_t task_rows, task_columns;    /* output channels and columns of a task */
    int64_t panel_floats;               /* of the input's matrices: one point, one block of rows */
    int64_t weight_floats, sum_floats;  /* one point of a task's weights and products */
    float *panels, *own;
    size_t own_floats;                  /* of a thread */
    int64_t first, count;               /* the group's columns */
} ck_conv_plan;

/* Columns side by side in one line of an image: `at` from the beginning of what was asked for; y, x of the first one's output. */
typedef struct {
    int64_t at, count, image, y, x;
} ck_conv_run;

/* The runs of `count` columns from `first` on, at most as many as columns. */
int64_t ck_conv_runs(const ck_conv_plan *p, int64_t first, int64_t count, ck_conv_run *runs);

/* Rows [from, to) of the matrices for the group's columns [first, last), to the panels. */
void ck_gather_input(const ck_conv_plan *p, int64_t from, int64_t to, int64_t first, int64_t last);   /* conv_direct.c */
void ck_winograd_input(const ck_conv_plan *p, int64_t from, int64_t to, int64_t first, int64_t last); /* winograd.c */
/* The weights of `count` output channels from `row` on and of rows [k0, k0 + deep), as pack_block has them for each point. `room` is
 * ck_conv_room floats. */
void ck_gather_weights(const ck_conv_plan *p, int64_t row, int64_t count, int64_t k0, int64_t deep, float *to, float *room);
void ck_winograd_weights(const ck_conv_plan *p, int64_t row, int64_t count, int64_t k0, int64_t deep, float *to, float *room);
/* `count` weights of each of `rows` output channels from element `at` on, in f32, side by side; those from `next` on, if it is not
 * negative, are fetched meanwhile. */
void ck_take_weights(const ck_conv_plan *p, int64_t at, int64_t rows, int64_t count, int64_t next, float *to, float *room);
/* The row times `p->k` and column of the matrix of weights where a task goes on after the group of rows `r`; negative: it is done. */
int64_t ck_weights_after(const ck_conv_plan *p, int64_t row, int64_t count, int64_t r, int64_t k0, int64_t deep);

#endif
