/* 3 x 3 convolutions of stride 1 by Winograd's transforms. Tiles of all images form one sequence, of which a group at a time is
 * transformed: for each point of a tile a matrix [channels, tiles], packed as the second factor of a product. Then blocks of output
 * channels, each on one thread: their weights transformed, a product for every point, the results transformed back to pixels. So
 * nothing as large as an image is ever there, the weights stay as the checkpoint has them and are read once for each group.
 *
 * Transforming weights in each call costs about six multiply-adds of a register for one weight, and its product as many as there
 * are tiles in 16th, times 36: little from some dozens of tiles on, and a quarter of the memory. */
#include "kernels.h"

enum {
    GROUP_FLOATS = 6 * 1024 * 1024, /* of the transformed tiles of a group, which a third-level cache should hold */
    MAX_GROUP = 1024,               /* tiles */
    PADDING = 16,                   /* floats behind each point's matrix, so that they do not all fall on the same lines of a cache */
    MAX_SIDE = 6,
    MAX_POINTS = MAX_SIDE * MAX_SIDE,
    TAPS = 9,
    CHANNELS = 16,         /* whose tiles make a task; of weights that are widened and turned at once */
    MAX_BLOCK = 96,        /* output channels */
    TASK_TILES = 8 * CK_STRIP, /* likewise: a stretch of each line */
    WEIGHT_COST = 200,     /* transforming a weight, in multiply-adds of a lane */
};

typedef struct {
    ck_conv2d_args a;
    const ck_kernels *kernels;
    int64_t side, step, points; /* of a tile's input; of its output; side * side */
    int64_t tiles_x, tiles_y, tiles;
    int64_t group;              /* tiles at once, a multiple of CK_STRIP */
    int64_t depth, blocks;      /* of the input channels */
    int64_t rows, columns;      /* output channels and tiles of a task */
    int64_t panel_floats;       /* one point of one block of channels */
    int64_t weight_floats;      /* likewise, of the weights of a task */
    int64_t sum_floats;         /* one point of a task's products */
    float *panels, *own;
    size_t own_floats;          /* of a thread */
    int64_t first, count;       /* the group's tiles */
} plan;

/* Tiles side by side in one line of tiles, `at` from the beginning of their strip. */
typedef struct {
    int64_t at, count, image, y, x; /* y, x: of the first tile's output */
} run;

static int64_t list_runs(const plan *p, int64_t first, int64_t count, run *runs) {
    int64_t n = 0, area = p->tiles_x * p->tiles_y;
    for (int64_t at = 0; at < count; n++) {
        int64_t image = (first + at) / area, tile = (first + at) % area, x = tile % p->tiles_x;
        int64_t length = ck_min(count - at, p->tiles_x - x);
        runs[n] = (run){at, length, image, tile / p->tiles_x * p->step, x * p->step};
        at += length;
    }
    return n;
}

/* The input of a run's tiles in one channel. */
static ck_tile_lines input_lines(const plan *p, const run *r, int64_t channel) {
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

static void input_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_conv2d_args *a = &p->a;
    (void)thread;
    float tiles[MAX_POINTS * CK_STRIP] = {0};
    int64_t parts = ck_ceil_div(p->count, TASK_TILES);
    int64_t from = index / parts * CHANNELS, to = ck_min(from + CHANNELS, a->in_channels);
    int64_t first = index % parts * TASK_TILES, last = ck_min(first + TASK_TILES, p->count);
    run runs[TASK_TILES];
    int64_t counts[TASK_TILES / CK_STRIP], n = 0;
    for (int64_t strip = first; strip < last; strip += CK_STRIP)
        n += counts[(strip - first) / CK_STRIP] = list_runs(p, p->first + strip, ck_min(CK_STRIP, last - strip), runs + n);
    for (int64_t channel = from; channel < to; channel++) {
        int64_t block = channel / p->depth, deep = ck_min(p->depth, a->in_channels - block * p->depth);
        float *at = p->panels + block * p->points * p->panel_floats + (channel - block * p->depth) * CK_STRIP;
        const run *r = runs;
        for (int64_t strip = first; strip < last; strip += CK_STRIP) {
            for (const run *end = r + counts[(strip - first) / CK_STRIP]; r < end; r++) {
                ck_tile_lines lines = input_lines(p, r, channel);
                p->kernels->winograd_take((int32_t)p->side, &lines, tiles + r->at);
            }
            p->kernels->winograd_input((int32_t)p->side, tiles, at + strip * deep, p->panel_floats);
        }
    }
}

/* The weights of output channels [first, first + count) and input channels [k0, k0 + deep): for each point as pack_block has them. */
static void take_weights(const plan *p, int64_t first, int64_t count, int64_t k0, int64_t deep, float *to, float *room) {
    const ck_conv2d_args *a = &p->a;
    int64_t tile = p->kernels->gemm_rows, k = a->in_channels * TAPS;
    float *wide = room + tile * CHANNELS * TAPS + 16;
    for (int64_t r = 0; r < count; r += tile, to += tile * deep) {
        int64_t rows = ck_min(tile, count - r);
        for (int64_t c = 0; c < deep; c += CHANNELS) {
            int64_t taps = ck_min(CHANNELS, deep - c) * TAPS, at = (first + r) * k + (k0 + c) * TAPS, lda = k;
            const float *from = (const float *)a->w + at;
            if (a->dtype != CK_F32) {
                for (int64_t i = 0; i < rows; i++)
                    p->kernels->to_f32(a->dtype, ck_at(a->w, a->dtype, at + i * k), wide + i * taps, taps);
                from = wide, lda = taps;
            }
            p->kernels->pack_block(from, lda, rows, taps, room);
            p->kernels->winograd_weights((int32_t)p->side, room, taps / TAPS, to + c * tile, p->weight_floats);
        }
    }
}

/* Pixels of one output channel and strip of tiles to their place. */
static void put(const plan *p, const float *lines, int64_t channel, const run *runs, int64_t n) {
    const ck_conv2d_args *a = &p->a;
    for (const run *r = runs; r < runs + n; r++) {
        int64_t width = ck_min(r->count * p->step, a->out_w - r->x), height = ck_min(p->step, a->out_h - r->y);
        float bias = a->bias ? a->bias[channel] : 0.0f;
        if (a->vectors) bias += a->vectors[r->image * a->vector_stride + channel];
        for (int64_t i = 0; i < height; i++) {
            int64_t at = ((r->image * a->out_channels + channel) * a->out_h + r->y + i) * a->out_w + r->x;
            const float *from = lines + (i * CK_STRIP + r->at) * p->step;
            p->kernels->put_line(from, bias, a->add ? a->add + at : NULL, a->out + at, width);
        }
    }
}

static void block_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_conv2d_args *a = &p->a;
    int64_t row_blocks = ck_ceil_div(a->out_channels, p->rows);
    int64_t row = index % row_blocks * p->rows, rows = ck_min(p->rows, a->out_channels - row);
    int64_t column = index / row_blocks * p->columns, columns = ck_min(p->columns, p->count - column);
    float *weights = p->own + (size_t)thread * p->own_floats, *sums = weights + p->points * p->weight_floats;
    float *room = sums + p->points * p->sum_floats;
    int64_t line = p->columns + PADDING;
    for (int64_t block = 0; block < p->blocks; block++) {
        int64_t k0 = block * p->depth, deep = ck_min(p->depth, a->in_channels - k0);
        take_weights(p, row, rows, k0, deep, weights, room);
        for (int64_t point = 0; point < p->points; point++) {
            const float *packed = p->panels + (block * p->points + point) * p->panel_floats + column * deep;
            ck_panel_args panel = {
                .a = weights + point * p->weight_floats,
                .packed = packed,
                .c = sums + point * p->sum_floats,
                .ldc = line,
                .m = rows,
                .n = columns,
                .k = deep,
                .accumulate = block > 0,
                .act = CK_ACT_NONE,
                .next = packed + p->panel_floats,
                .next_bytes = point + 1 < p->points ? p->kernels->gemm_columns * deep * (int64_t)sizeof(float) : 0,
            };
            p->kernels->gemm_block(&panel);
        }
    }
    float lines[4 * 4 * CK_STRIP];
    for (int64_t strip = 0; strip < columns; strip += CK_STRIP) {
        run runs[CK_STRIP];
        int64_t n = list_runs(p, p->first + column + strip, ck_min(CK_STRIP, columns - strip), runs);
        for (int64_t r = 0; r < rows; r++) {
            p->kernels->winograd_result((int32_t)p->side, sums + r * line + strip, p->sum_floats, 2 * line, lines);
            put(p, lines, row + r, runs, n);
        }
    }
}

/* Cuts a group into tasks, so that threads finish together and neither the weights are transformed too often nor the tiles fetched
 * for too few of them. No element's bits depend on it. */
static void cut(plan *p, int32_t threads) {
    int64_t tile = p->kernels->gemm_rows, best = INT64_MAX;
    for (int64_t rows = ck_round_up(24, tile); rows <= MAX_BLOCK; rows += tile) {
        for (int64_t cuts = 1; cuts <= 8; cuts *= 2) {
            int64_t columns = ck_round_up(ck_ceil_div(p->group, cuts), 2 * CK_STRIP);
            if (cuts > 1 && columns < 4 * CK_STRIP) break;
            int64_t tasks = ck_ceil_div(p->a.out_channels, rows) * ck_ceil_div(p->group, columns);
            int64_t each = rows * (p->points * columns + WEIGHT_COST) + p->points * columns * 4;
            /* The last round of tasks is as short as half a task on the average. */
            int64_t cost = ck_max(ck_ceil_div(tasks, threads) * each, 1);
            if (cost < best) best = cost, p->rows = rows, p->columns = columns;
        }
    }
}

static plan make_plan(int32_t threads, const ck_conv2d_args *args) {
    plan p = {.a = *args, .kernels = ck_active(), .side = args->form};
    p.step = p.side - 2, p.points = p.side * p.side;
    p.tiles_x = ck_ceil_div(args->out_w, p.step), p.tiles_y = ck_ceil_div(args->out_h, p.step);
    p.tiles = args->batch * p.tiles_x * p.tiles_y;
    p.depth = ck_gemm_depth(args->in_channels), p.blocks = ck_ceil_div(args->in_channels, p.depth);
    int64_t most = ck_max(2 * CK_STRIP, GROUP_FLOATS / (p.points * args->in_channels) / (2 * CK_STRIP) * (2 * CK_STRIP));
    int64_t groups = ck_ceil_div(p.tiles, ck_min(most, MAX_GROUP));
    p.group = ck_round_up(ck_ceil_div(p.tiles, ck_max(groups, 1)), CK_STRIP);
    cut(&p, ck_max(threads, 1));
    p.panel_floats = p.depth * p.group + PADDING;
    p.weight_floats = ck_round_up(p.rows, p.kernels->gemm_rows) * p.depth + PADDING;
    p.sum_floats = p.rows * (p.columns + PADDING) + PADDING;
    p.own_floats = (size_t)(p.points * (p.weight_floats + p.sum_floats) + 2 * p.kernels->gemm_rows * CHANNELS * TAPS + 32);
    return p;
}

void ck_winograd(ck_pool *pool, const ck_conv2d_args *args) {
    int32_t threads = ck_pool_threads(pool);
    plan p = make_plan(threads, args);
    p.panels = args->scratch;
    p.own = p.panels + p.blocks * p.points * p.panel_floats;
    for (p.first = 0; p.first < p.tiles; p.first += p.group) {
        p.count = ck_min(p.group, p.tiles - p.first);
        ck_run(pool, ck_ceil_div(p.count, TASK_TILES) * ck_ceil_div(args->in_channels, CHANNELS), input_task, &p);
        ck_run(pool, ck_ceil_div(args->out_channels, p.rows) * ck_ceil_div(p.count, p.columns), block_task, &p);
    }
}

size_t ck_winograd_scratch(int32_t threads, const ck_conv2d_args *args) {
    plan p = make_plan(threads, args);
    return ((size_t)(p.blocks * p.points * p.panel_floats) + (size_t)ck_max(threads, 1) * p.own_floats) * sizeof(float);
}

/* Costs of one sample in multiply-adds of a lane, as measured where two registers of 16 lanes begin each cycle: a gathered or
 * transformed pixel costs as much as some products. */
static int64_t form_cost(const ck_conv2d_args *a, int32_t form) {
    int64_t in = a->in_channels, out = a->out_channels, rows = ck_round_up(out, 4);
    if (form == CK_CONV_DIRECT) {
        int64_t columns = ck_round_up(a->out_h * a->out_w, CK_STRIP);
        return columns * in * TAPS * (rows + 8);
    }
    int64_t step = form - 2, points = form * form;
    int64_t tiles = ck_ceil_div(a->out_h, step) * ck_ceil_div(a->out_w, step), columns = ck_round_up(tiles, CK_STRIP);
    int64_t products = columns * points * in * rows * 9 / 8, weights = in * out * points * 8;
    if (columns == CK_STRIP) products = products * 3 / 2; /* half a tile of registers: as many values of the rows for it */
    return products + weights + columns * points * (12 * in + 20 * rows);
}

int32_t ck_conv2d_form(const ck_conv2d_args *args, int32_t transforms_only) {
    if (args->kh != 3 || args->kw != 3 || args->stride != 1) return CK_CONV_DIRECT;
    int32_t best = form_cost(args, CK_CONV_F4) < form_cost(args, CK_CONV_F2) ? CK_CONV_F4 : CK_CONV_F2;
    return transforms_only || form_cost(args, best) < form_cost(args, CK_CONV_DIRECT) ? best : CK_CONV_DIRECT;
}
