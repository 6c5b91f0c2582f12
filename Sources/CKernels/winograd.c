/* 3 x 3 convolutions of stride 1 by Winograd's transforms: a point for each pixel of a tile's input, for each a row for each
 * channel and a column for each tile.
 *
 * Transforming weights in each call costs about six multiply-adds of a register for one weight, and its products as many as
 * there are tiles in 16th, times 36: little from some dozens of tiles on, and a quarter of the memory. */
#include "conv.h"

enum { CHANNELS = CK_MAX_DEPTH / CK_TAPS /* whose weights are widened and turned at once */ };

/* The input of a run's tiles in one channel. */
static ck_tile_lines input_lines(const ck_conv_plan *p, const ck_conv_run *r, int64_t channel) {
    const ck_conv2d_args *a = &p->a;
    int64_t at = r->image * a->in_channels + channel, up = a->upsample;
    ck_tile_lines lines = {
        .count = r->count,
        .x = r->x - a->pad_left,
        .width = a->width,
        .ahead = a->h * a->width, /* the next channel */
        .norm = a->norm ? a->norm + at * 3 : NULL,
        .up = (int32_t)up,
        .act = a->act,
    };
    for (int64_t i = 0; i < p->side; i++) {
        int64_t y = r->y - a->pad_top + i;
        if (y >= 0 && y < a->h * up) lines.lines[i] = a->x + (at * a->h + y / up) * a->width;
    }
    return lines;
}

void ck_winograd_input(const ck_conv_plan *p, int64_t from, int64_t to, int64_t first, int64_t last) {
    float tiles[CK_MAX_POINTS * CK_STRIP] = {0};
    ck_conv_run runs[CK_TAKEN_COLUMNS];
    int64_t counts[CK_TAKEN_COLUMNS / CK_STRIP], n = 0;
    for (int64_t strip = first; strip < last; strip += CK_STRIP)
        n += counts[(strip - first) / CK_STRIP] = ck_conv_runs(p, p->first + strip, ck_min(CK_STRIP, last - strip), runs + n);
    for (int64_t channel = from; channel < to; channel++) {
        int64_t block = channel / p->depth, deep = ck_min(p->depth, p->k - block * p->depth);
        float *at = p->panels + block * p->points * p->panel_floats + (channel - block * p->depth) * CK_STRIP;
        const ck_conv_run *r = runs;
        for (int64_t strip = first; strip < last; strip += CK_STRIP) {
            for (const ck_conv_run *end = r + counts[(strip - first) / CK_STRIP]; r < end; r++) {
                ck_tile_lines lines = input_lines(p, r, channel);
                p->kernels->winograd_take((int32_t)p->side, &lines, tiles + r->at);
            }
            p->kernels->winograd_input((int32_t)p->side, tiles, at + strip * deep, p->panel_floats);
        }
    }
}

void ck_winograd_weights(const ck_conv_plan *p, int64_t row, int64_t count, int64_t k0, int64_t deep, float *to, float *room) {
    int64_t tile = p->kernels->gemm_rows;
    float *lines = room + tile * CHANNELS * CK_TAPS;
    for (int64_t r = 0; r < count; r += tile, to += tile * deep) {
        for (int64_t c = 0; c < deep; c += CHANNELS) {
            int64_t channels = ck_min(CHANNELS, deep - c), at = (row + r) * p->k + k0 + c;
            int64_t next = c + CHANNELS < deep ? at + CHANNELS : ck_weights_after(p, row, count, r, k0, deep);
            ck_take_weights(p, at * CK_TAPS, ck_min(tile, count - r), channels * CK_TAPS, next * CK_TAPS, lines, room);
            p->kernels->winograd_weights((int32_t)p->side, lines, channels, to + c * tile, p->weight_floats);
        }
    }
}
