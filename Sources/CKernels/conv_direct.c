/* The direct form of a convolution: a row for each tap of each channel, a column for each pixel of the output. */
#include "conv.h"

/* One run of one tap: source positions step by `stride` over the enlarged input. */
static void gather_run(const ck_conv_plan *p, const float *plane, int64_t iy, int64_t ix, float *to, int64_t count) {
    const ck_conv2d_args *a = &p->a;
    int64_t up = a->upsample, limit = a->width * up, i = 0;
    if (iy < 0 || iy >= a->h * up) {
        memset(to, 0, (size_t)count * sizeof *to);
        return;
    }
    const float *line = plane + iy / up * a->width;
    for (; i < count && ix < 0; i++, ix += a->stride) to[i] = 0;
    int64_t inside = ix < limit ? ck_min(count - i, ck_ceil_div(limit - ix, a->stride)) : 0;
    if (a->stride == 1 && up == 1) memcpy(to + i, line + ix, (size_t)inside * sizeof *to);
    else if (a->stride == 2 && up == 1) p->kernels->every_other(line + ix, to + i, inside);
    else if (up == 1)
        for (int64_t d = 0; d < inside; d++) to[i + d] = line[ix + d * a->stride];
    else
        for (int64_t d = 0; d < inside; d++) to[i + d] = line[(ix + d * a->stride) / up];
    for (i += inside; i < count; i++) to[i] = 0;
}

/* `rows` lines of CK_TAKEN_COLUMNS from row k0 on, to the panels in pairs. They are all of one block, whose depth is a multiple
 * of 16. */
static void put_pairs(const ck_conv_plan *p, const float *lines, int64_t k0, int64_t rows, int64_t first, int64_t last) {
    int64_t block = k0 / p->depth, row = k0 - block * p->depth;
    int64_t units = ck_ceil_div(ck_min(p->depth, p->k - block * p->depth), p->unit);
    float *at = p->panels + block * p->panel_floats + first * units + row / p->unit * CK_STRIP;
    for (int64_t q = 0; q < last - first; q += CK_STRIP)
        p->products->pack_cols(lines + q, CK_TAKEN_COLUMNS, CK_STRIP, rows, at + q * units);
}

void ck_gather_input(const ck_conv_plan *p, int64_t from, int64_t to, int64_t first, int64_t last) {
    const ck_conv2d_args *a = &p->a;
    /* Some rows at once: what was written a moment ago, and is read at other places, would have to wait. */
    enum { ROWS = 16 };
    float lines[ROWS][CK_TAKEN_COLUMNS] = {0};
    ck_conv_run runs[CK_TAKEN_COLUMNS];
    int64_t n = ck_conv_runs(p, p->first + first, last - first, runs);
    for (int64_t k0 = from; k0 < to; k0 += ROWS) {
        int64_t rows = ck_min(ROWS, to - k0);
        for (int64_t i = 0; i < rows; i++) {
            int64_t k = k0 + i, kx = k % a->kw, ky = k / a->kw % a->kh, channel = k / (a->kw * a->kh);
            for (const ck_conv_run *r = runs; r < runs + n; r++) {
                const float *plane = a->x + (r->image * a->in_channels + channel) * a->h * a->width;
                gather_run(p, plane, r->y * a->stride - a->pad_top + ky, r->x * a->stride - a->pad_left + kx, lines[i] + r->at,
                           r->count);
            }
        }
        if (p->unit > 1) {
            put_pairs(p, lines[0], k0, rows, first, last);
            continue;
        }
        for (int64_t i = 0; i < rows; i++) {
            int64_t k = k0 + i, block = k / p->depth, deep = ck_min(p->depth, p->k - block * p->depth);
            float *at = p->panels + block * p->panel_floats + first * deep + (k - block * p->depth) * CK_STRIP;
            for (int64_t q = 0; q < last - first; q += CK_STRIP) memcpy(at + q * deep, lines[i] + q, CK_STRIP * sizeof *at);
        }
    }
}

void ck_gather_weights(const ck_conv_plan *p, int64_t row, int64_t count, int64_t k0, int64_t deep, float *to, float *room) {
    int64_t tile = p->products->gemm_rows, units = ck_ceil_div(deep, p->unit);
    for (int64_t r = 0; r < count; r += tile, to += tile * units) {
        int64_t at = (row + r) * p->k + k0, next = ck_weights_after(p, row, count, r, k0, deep);
        ck_take_weights(p, at, ck_min(tile, count - r), deep, next, to, room);
    }
}
